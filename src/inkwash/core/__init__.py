"""The ground: errors, options, randomness, files and machines; nothing here knows of diffusion."""

from inkwash.core.config import (
    CodecConfig,
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
    CodecError,
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
    "CodecConfig",
    "CodecError",
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
