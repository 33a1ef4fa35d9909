"""inkwash: diffusion models as what they are, probability distributions.

Names are imported when first used, so that importing the package, or asking the command line for help, costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inkwash.bernoulli import Bernoulli
    from inkwash.bits import BitDenoiser, BitEstimate
    from inkwash.categorical import Categorical
    from inkwash.codes import CodeDenoiser, CodeEstimate, MixedDenoiser, MixedEstimate
    from inkwash.config import Config, DataConfig, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
    from inkwash.data import Column, Dataset, DataSpec, Transform, from_frame, load_dataset, to_frame
    from inkwash.data.condition import Condition
    from inkwash.degrade import Blur, Cold, Mask, Pixelate, Restoration, Restorer, fit_starts
    from inkwash.denoise import Clipped, Denoiser, Estimate, Given, Thresholded
    from inkwash.distributions import BinnedNormal, Bins, Bits, DiscretizedNormal, Lattice, Masses, Normal
    from inkwash.entropy import EntropyBounds, entropy_bounds
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
    from inkwash.factor import Classifier, Evidence, Factor, Linear, Measurement, Observed, Told
    from inkwash.film import Film
    from inkwash.fit import train
    from inkwash.flow import Dequantise, LogProb, flow_log_prob, immse_log_prob, transport
    from inkwash.gaussian import Gaussian
    from inkwash.grid_costs import GridCosts, bound_costs, trajectory_costs
    from inkwash.likelihood import Bound
    from inkwash.mixed import Joint, Mixed
    from inkwash.model import Diffusion
    from inkwash.nn import (
        MLP,
        ColumnTransformer,
        DiT,
        GivenEmbedding,
        LabelEmbedding,
        LevelNet,
        TableNet,
        UNet,
        perceptron,
    )
    from inkwash.noise import (
        AngleGrid,
        CosineSchedule,
        Grid,
        KarrasGrid,
        KarrasSchedule,
        LearnedBetas,
        LearnedSchedule,
        LinearSchedule,
        LogLinearSchedule,
        LogSnrGrid,
        QuadraticGrid,
        RectifiedSchedule,
        Schedule,
        SohlDicksteinSchedule,
        TabulatedSchedule,
        UniformGrid,
        VariancePreserving,
        ZeroTerminalSchedule,
        from_log_snr,
        letter_table,
        to_log_snr,
        uniform_grid,
    )
    from inkwash.objective import ContinuousBound, Hybrid, MixedLoss, Objective, PairBound, Regression
    from inkwash.ode import Adaptive, Fixed, Solver
    from inkwash.operators import blur, crop, downsample, entries, grey
    from inkwash.posterior import DPS, SMC, Entrywise, Method, MomentMatching, PiGDM, RePaint, StepProduct
    from inkwash.prediction import Levels, Mean
    from inkwash.process import Process
    from inkwash.product import Population, Product
    from inkwash.propose import LogNormal, LogSnrDensity, LossHistory, LowDiscrepancy, Proposal, Uniform
    from inkwash.run import Run, load
    from inkwash.sample import (
        DDIM,
        IPNDM,
        Adams,
        Ancestral,
        AnnealedLangevin,
        DPMSolver,
        EulerMaruyama,
        Heun,
        PredictorCorrector,
        Sampler,
        SingleStep,
    )
    from inkwash.sklearn import DiffusionDensity
    from inkwash.vae import VAE, ImportanceEstimate, fit_vae, perceptron_vae
    from inkwash.variance import Analytic
    from inkwash.walk import State

__version__ = "0.1.0"

_HOME = {
    "bernoulli": ("Bernoulli",),
    "bits": (
        "BitDenoiser",
        "BitEstimate",
    ),
    "categorical": ("Categorical",),
    "codes": (
        "CodeDenoiser",
        "CodeEstimate",
        "MixedDenoiser",
        "MixedEstimate",
    ),
    "data.condition": ("Condition",),
    "config": (
        "Config",
        "DataConfig",
        "DenoiserConfig",
        "NetworkConfig",
        "ProcessConfig",
        "TrainConfig",
    ),
    "data": ("Column", "DataSpec", "Dataset", "Transform", "from_frame", "load_dataset", "to_frame"),
    "degrade": (
        "Blur",
        "Cold",
        "Mask",
        "Pixelate",
        "Restoration",
        "Restorer",
        "fit_starts",
    ),
    "denoise": (
        "Clipped",
        "Denoiser",
        "Estimate",
        "Thresholded",
        "Given",
    ),
    "distributions": (
        "BinnedNormal",
        "Bins",
        "Bits",
        "DiscretizedNormal",
        "Lattice",
        "Masses",
        "Normal",
    ),
    "entropy": (
        "EntropyBounds",
        "entropy_bounds",
    ),
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
    "film": ("Film",),
    "factor": (
        "Classifier",
        "Evidence",
        "Factor",
        "Linear",
        "Measurement",
        "Observed",
        "Told",
    ),
    "fit": ("train",),
    "flow": (
        "Dequantise",
        "LogProb",
        "flow_log_prob",
        "immse_log_prob",
        "transport",
    ),
    "gaussian": ("Gaussian",),
    "grid_costs": (
        "GridCosts",
        "bound_costs",
        "trajectory_costs",
    ),
    "likelihood": ("Bound",),
    "mixed": (
        "Joint",
        "Mixed",
    ),
    "model": ("Diffusion",),
    "nn": (
        "MLP",
        "ColumnTransformer",
        "DiT",
        "GivenEmbedding",
        "LabelEmbedding",
        "LevelNet",
        "TableNet",
        "UNet",
        "perceptron",
    ),
    "noise": (
        "AngleGrid",
        "CosineSchedule",
        "Grid",
        "KarrasGrid",
        "KarrasSchedule",
        "LearnedBetas",
        "LearnedSchedule",
        "LinearSchedule",
        "LogLinearSchedule",
        "LogSnrGrid",
        "QuadraticGrid",
        "RectifiedSchedule",
        "Schedule",
        "SohlDicksteinSchedule",
        "TabulatedSchedule",
        "UniformGrid",
        "VariancePreserving",
        "ZeroTerminalSchedule",
        "from_log_snr",
        "letter_table",
        "to_log_snr",
        "uniform_grid",
    ),
    "objective": (
        "ContinuousBound",
        "Hybrid",
        "MixedLoss",
        "Objective",
        "PairBound",
        "Regression",
    ),
    "ode": (
        "Adaptive",
        "Fixed",
        "Solver",
    ),
    "operators": (
        "blur",
        "crop",
        "downsample",
        "entries",
        "grey",
    ),
    "posterior": (
        "DPS",
        "SMC",
        "Entrywise",
        "Method",
        "MomentMatching",
        "PiGDM",
        "RePaint",
        "StepProduct",
    ),
    "prediction": (
        "Levels",
        "Mean",
    ),
    "process": ("Process",),
    "product": (
        "Population",
        "Product",
    ),
    "propose": (
        "LogNormal",
        "LogSnrDensity",
        "LossHistory",
        "LowDiscrepancy",
        "Proposal",
        "Uniform",
    ),
    "run": (
        "Run",
        "load",
    ),
    "sample": (
        "DDIM",
        "IPNDM",
        "Adams",
        "Ancestral",
        "AnnealedLangevin",
        "DPMSolver",
        "EulerMaruyama",
        "Heun",
        "PredictorCorrector",
        "Sampler",
        "SingleStep",
    ),
    "sklearn": ("DiffusionDensity",),
    "vae": (
        "VAE",
        "ImportanceEstimate",
        "fit_vae",
        "perceptron_vae",
    ),
    "variance": ("Analytic",),
    "walk": ("State",),
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
