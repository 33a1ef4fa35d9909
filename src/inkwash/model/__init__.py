"""The distribution that users hold: a model, its units, and its products with factors."""

from inkwash.model.diffusion import Diffusion
from inkwash.model.factors import Classifier, Condition, Measurement, Observed
from inkwash.model.grid_costs import GridCosts, bound_costs, trajectory_costs
from inkwash.model.operators import blur, crop, downsample, entries, grey
from inkwash.model.product import Factor, Population, Product
from inkwash.model.units import Units
from inkwash.model.vae import VAE, ImportanceEstimate, fit_vae, perceptron_vae
from inkwash.model.watch import Film

__all__ = [
    "VAE",
    "Classifier",
    "Condition",
    "Diffusion",
    "Factor",
    "Film",
    "GridCosts",
    "ImportanceEstimate",
    "Measurement",
    "Observed",
    "Population",
    "Product",
    "Units",
    "blur",
    "bound_costs",
    "crop",
    "downsample",
    "entries",
    "fit_vae",
    "grey",
    "perceptron_vae",
    "trajectory_costs",
]
