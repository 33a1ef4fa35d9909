"""Samplers: ways to walk along a grid of times from the prior to data."""

from inkwash.sample.posterior import DDIM, Ancestral
from inkwash.sample.sampler import Sampler

__all__ = ["DDIM", "SAMPLERS", "Ancestral", "Sampler"]

SAMPLERS: dict[str, type[Sampler]] = {"ancestral": Ancestral, "ddim": DDIM}
"""Samplers by the name the command line knows them by."""
