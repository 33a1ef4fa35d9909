"""Ways to draw from a product of a model with what is known; each by its own name."""

from inkwash.posterior.bits import Entrywise
from inkwash.posterior.guide import MomentMatching, PiGDM
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.posterior.walk import DPS, RePaint, StepProduct

__all__ = ["DPS", "SMC", "Entrywise", "Method", "MomentMatching", "PiGDM", "RePaint", "StepProduct"]
