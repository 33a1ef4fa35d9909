"""Ways to draw from a product of a model with what is known; each by its own name."""

from inkwash.gaussian import Gaussian
from inkwash.posterior.bits import Entrywise
from inkwash.posterior.guide import MomentMatching, PiGDM
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.posterior.walk import DPS, RePaint, StepProduct
from inkwash.process import Process


def default_method(process: Process) -> Method:
    """What is drawn from a product with by default: `MomentMatching()` for real numbers, and `SMC()` for others."""
    return MomentMatching() if isinstance(process, Gaussian) else SMC()


__all__ = ["DPS", "SMC", "Entrywise", "Method", "MomentMatching", "PiGDM", "RePaint", "StepProduct"]
