"""Samplers: ways to walk along a grid of times from the prior to data."""

from inkwash.sample.multistep import IPNDM, Adams, DPMSolver
from inkwash.sample.posterior import DDIM, Ancestral
from inkwash.sample.sampler import Multistep, Sampler
from inkwash.sample.singlestep import Heun, SingleStep
from inkwash.sample.stochastic import AnnealedLangevin, EulerMaruyama, PredictorCorrector

__all__ = [
    "DDIM",
    "IPNDM",
    "SAMPLERS",
    "Adams",
    "Ancestral",
    "AnnealedLangevin",
    "DPMSolver",
    "EulerMaruyama",
    "Heun",
    "Multistep",
    "PredictorCorrector",
    "Sampler",
    "SingleStep",
]

SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "ddim": DDIM,
    "heun": Heun,
    "dpm-solver": DPMSolver,
    "single-step": SingleStep,
    "adams": Adams,
    "ipndm": IPNDM,
    "euler-maruyama": EulerMaruyama,
    "langevin": AnnealedLangevin,
    "predictor-corrector": PredictorCorrector,
}
"""Samplers by the name the command line knows them by."""
