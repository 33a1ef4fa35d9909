"""The distribution that users hold: a model, its units, and its products with factors."""

from inkwash.model.autoencoder import Autoencoder, EntryNoise, LevelOdds, Output, SharedNoise, build_autoencoder
from inkwash.model.diffusion import Diffusion
from inkwash.model.factors import Classifier, Condition, Measurement, Observed
from inkwash.model.grid_costs import GridCosts, bound_costs, trajectory_costs
from inkwash.model.importance import ImportanceEstimate
from inkwash.model.latent import LatentDiffusion
from inkwash.model.latent_model import LatentModel, LatentProduct
from inkwash.model.model import Model
from inkwash.model.operators import blur, crop, downsample, entries, grey
from inkwash.model.product import Factor, Population, Product
from inkwash.model.trajectories import FlowTrajectories, flow_trajectories
from inkwash.model.units import Units
from inkwash.model.vae import VAE
from inkwash.model.watch import Film
from inkwash.model.where import Where

__all__ = [
    "VAE",
    "Autoencoder",
    "Classifier",
    "Condition",
    "Diffusion",
    "EntryNoise",
    "Factor",
    "Film",
    "FlowTrajectories",
    "GridCosts",
    "ImportanceEstimate",
    "LatentDiffusion",
    "LatentModel",
    "LatentProduct",
    "LevelOdds",
    "Measurement",
    "Model",
    "Observed",
    "Output",
    "Population",
    "Product",
    "SharedNoise",
    "Units",
    "Where",
    "blur",
    "bound_costs",
    "build_autoencoder",
    "crop",
    "downsample",
    "entries",
    "flow_trajectories",
    "grey",
    "trajectory_costs",
]
