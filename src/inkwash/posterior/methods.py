"""Methods by name, and the default method."""

from inkwash.core.config import MethodName
from inkwash.posterior.entrywise import Entrywise
from inkwash.posterior.guidance import MomentMatching, PiGDM
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.posterior.steps import DPS, RePaint, StepProduct
from inkwash.process.gaussian import Gaussian
from inkwash.process.process import Process
from inkwash.process.region import Region

METHODS: dict[MethodName, type[Method]] = {
    "moment-matching": MomentMatching,
    "repaint": RePaint,
    "smc": SMC,
    "pigdm": PiGDM,
    "dps": DPS,
    "step-product": StepProduct,
    "entrywise": Entrywise,
}
"""Methods by the name that the command line knows them by."""


def default_method(process: Process, region: Region | None = None) -> Method:
    """`MomentMatching()` for real numbers, and `SMC()` for others, and for ranges."""
    return MomentMatching() if isinstance(process, Gaussian) and region is None else SMC()
