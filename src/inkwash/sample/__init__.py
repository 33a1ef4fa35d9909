"""Samplers, which walk along a grid of times from the prior to data."""

from inkwash.core.config import SamplerName
from inkwash.sample.ancestral import DDIM, Ancestral
from inkwash.sample.grids import GRIDS, AngleGrid, Grid, KarrasGrid, LogSnrGrid, QuadraticGrid, UniformGrid
from inkwash.sample.multistep import IPNDM, Adams, DPMSolver
from inkwash.sample.sampler import Multistep, Sampler
from inkwash.sample.singlestep import Heun, SingleStep
from inkwash.sample.stochastic import AnnealedLangevin, EulerMaruyama, PredictorCorrector
from inkwash.sample.walk import Plan, State, Stepwise, Walkable, Walker, Walking

__all__ = [
    "DDIM",
    "GRIDS",
    "IPNDM",
    "SAMPLERS",
    "Adams",
    "Ancestral",
    "AngleGrid",
    "AnnealedLangevin",
    "DPMSolver",
    "EulerMaruyama",
    "Grid",
    "Heun",
    "KarrasGrid",
    "LogSnrGrid",
    "Multistep",
    "Plan",
    "PredictorCorrector",
    "QuadraticGrid",
    "Sampler",
    "SingleStep",
    "State",
    "Stepwise",
    "UniformGrid",
    "Walkable",
    "Walker",
    "Walking",
]

SAMPLERS: dict[SamplerName, type[Sampler]] = {
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
"""Samplers by the name that the command line knows them by."""
