"""inkwash: diffusion models as what they are, probability distributions.

Names are imported when first used, so that importing the package, or asking the command line for help, costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inkwash.config import (
        Config,
        DataConfig,
        DenoiserConfig,
        NetworkConfig,
        ProcessConfig,
        TrainConfig,
    )
    from inkwash.data import Dataset, DataSpec, Transform, load_dataset
    from inkwash.denoise import Clipped, Denoiser, Estimate
    from inkwash.distributions import DiscretizedNormal, Lattice, Normal
    from inkwash.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        InkwashError,
        NonFiniteError,
        RunInterrupted,
        RunInUseError,
        StorageError,
    )
    from inkwash.evaluation import evaluate
    from inkwash.fit import train
    from inkwash.flow import Dequantise, LogProb, flow_log_prob, immse_log_prob, transport
    from inkwash.gaussian import Gaussian
    from inkwash.likelihood import Bound
    from inkwash.model import Diffusion
    from inkwash.nn import MLP, UNet
    from inkwash.noise import CosineSchedule, LinearSchedule, Schedule, TabulatedSchedule, uniform_grid
    from inkwash.objective import Simple
    from inkwash.ode import Adaptive, Fixed, Solver
    from inkwash.process import Process
    from inkwash.run import Run, load
    from inkwash.sample import DDIM, Ancestral, Sampler

__version__ = "0.1.0"

_HOME = {
    "config": ("Config", "DataConfig", "DenoiserConfig", "NetworkConfig", "ProcessConfig", "TrainConfig"),
    "data": ("DataSpec", "Dataset", "Transform", "load_dataset"),
    "denoise": ("Clipped", "Denoiser", "Estimate"),
    "distributions": ("DiscretizedNormal", "Lattice", "Normal"),
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DataError",
        "InkwashError",
        "NonFiniteError",
        "RunInUseError",
        "RunInterrupted",
        "StorageError",
    ),
    "evaluation": ("evaluate",),
    "fit": ("train",),
    "flow": ("Dequantise", "LogProb", "flow_log_prob", "immse_log_prob", "transport"),
    "gaussian": ("Gaussian",),
    "likelihood": ("Bound",),
    "model": ("Diffusion",),
    "nn": ("MLP", "UNet"),
    "noise": ("CosineSchedule", "LinearSchedule", "Schedule", "TabulatedSchedule", "uniform_grid"),
    "objective": ("Simple",),
    "ode": ("Adaptive", "Fixed", "Solver"),
    "process": ("Process",),
    "run": ("Run", "load"),
    "sample": ("DDIM", "Ancestral", "Sampler"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'inkwash' has no attribute {name!r}")
    value = getattr(import_module(f"inkwash.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
