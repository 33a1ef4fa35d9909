"""Sampling from a model multiplied by what is known, p(x) r(x), in model units."""

from inkwash.posterior.entrywise import Entrywise
from inkwash.posterior.evidence import EachKnown, Evidence, Linear
from inkwash.posterior.guidance import MomentMatching, PiGDM
from inkwash.posterior.method import Method
from inkwash.posterior.methods import METHODS, default_method
from inkwash.posterior.smc import SMC
from inkwash.posterior.steps import DPS, RePaint, StepProduct

__all__ = [
    "DPS",
    "METHODS",
    "SMC",
    "EachKnown",
    "Entrywise",
    "Evidence",
    "Linear",
    "Method",
    "MomentMatching",
    "PiGDM",
    "RePaint",
    "StepProduct",
    "default_method",
]
