"""A network and a process together give an estimate of the clean data, whatever the network predicts."""

from inkwash.denoise.cold import Restorer
from inkwash.denoise.denoiser import AnyDenoiser, Denoiser, NetworkDenoiser
from inkwash.denoise.discrete import MixedDenoiser, OddsDenoiser
from inkwash.denoise.prediction import Levels, Mean, Mixture, Prediction
from inkwash.denoise.wrap import Clipped, Conditioned, Thresholded, WithVariance

__all__ = [
    "AnyDenoiser",
    "Clipped",
    "Conditioned",
    "Denoiser",
    "Levels",
    "Mean",
    "MixedDenoiser",
    "Mixture",
    "NetworkDenoiser",
    "OddsDenoiser",
    "Prediction",
    "Restorer",
    "Thresholded",
    "WithVariance",
]
