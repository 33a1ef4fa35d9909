"""Families of models: what each decides, trains and makes."""

from inkwash.core.config import ModelName
from inkwash.training.families.diffusion import DiffusionFamily
from inkwash.training.families.family import AnyFamily
from inkwash.training.families.latent import LatentFamily
from inkwash.training.families.vae import VAEFamily

__all__ = ["FAMILIES", "AnyFamily", "DiffusionFamily", "LatentFamily", "VAEFamily"]

FAMILIES: dict[ModelName, AnyFamily] = {
    "diffusion": DiffusionFamily(),
    "vae": VAEFamily(),
    "latent": LatentFamily(),
}
"""Families by the name that the command line knows them by."""
