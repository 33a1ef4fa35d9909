"""Families of models: what each decides, trains and makes."""

from inkwash.core.config import ModelName
from inkwash.training.families.diffusion import DiffusionFamily
from inkwash.training.families.family import AnyFamily

__all__ = ["FAMILIES", "AnyFamily", "DiffusionFamily"]

FAMILIES: dict[ModelName, AnyFamily] = {"diffusion": DiffusionFamily()}
"""Families by the name that the command line knows them by."""
