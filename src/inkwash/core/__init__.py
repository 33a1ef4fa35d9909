"""The ground: errors, options, randomness, files and machines; nothing here knows of diffusion."""

from inkwash.core.config import (
    Config,
    DataConfig,
    DenoiserConfig,
    EvaluateConfig,
    NetworkConfig,
    ProcessConfig,
    SamplingConfig,
    TrainConfig,
)
from inkwash.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    InkwashError,
    NonFiniteError,
    RunInterrupted,
    RunInUseError,
    StorageError,
)

__all__ = [
    "CheckpointError",
    "Config",
    "ConfigError",
    "DataConfig",
    "DataError",
    "DenoiserConfig",
    "EvaluateConfig",
    "InkwashError",
    "NetworkConfig",
    "NonFiniteError",
    "ProcessConfig",
    "RunInUseError",
    "RunInterrupted",
    "SamplingConfig",
    "StorageError",
    "TrainConfig",
]
