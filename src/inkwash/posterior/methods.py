"""Methods by name, and the one that a product is sampled with by default."""

from inkwash.posterior.guidance import MomentMatching
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.process.gaussian import Gaussian
from inkwash.process.process import Process


def default_method(process: Process) -> Method:
    """The default: `MomentMatching()` for real numbers, and `SMC()` for others."""
    return MomentMatching() if isinstance(process, Gaussian) else SMC()
