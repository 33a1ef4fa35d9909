"""Samplers: ways to walk along a grid of times from the prior to data."""

from inkwash.sample.ancestral import Ancestral, DDIM
from inkwash.sample.grids import AngleGrid, GRIDS, Grid, KarrasGrid, LogSnrGrid, QuadraticGrid, UniformGrid
from inkwash.sample.multistep import Adams, DPMSolver, IPNDM
from inkwash.sample.sampler import Multistep, Sampler
from inkwash.sample.singlestep import Heun, SingleStep
from inkwash.sample.stochastic import AnnealedLangevin, EulerMaruyama, PredictorCorrector
from inkwash.sample.walk import State, Walk, Walkable

__all__ = [
    "Adams",
    "Ancestral",
    "AngleGrid",
    "AnnealedLangevin",
    "DDIM",
    "DPMSolver",
    "EulerMaruyama",
    "GRIDS",
    "Grid",
    "Heun",
    "IPNDM",
    "KarrasGrid",
    "LogSnrGrid",
    "Multistep",
    "PredictorCorrector",
    "QuadraticGrid",
    "SAMPLERS",
    "Sampler",
    "SingleStep",
    "State",
    "UniformGrid",
    "Walk",
    "Walkable",
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
