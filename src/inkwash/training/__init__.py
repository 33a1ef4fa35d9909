"""Training: from options and data to a run on disk."""

from inkwash.training.objective import (
    ContinuousBound,
    Hybrid,
    MeanRegression,
    MixedLoss,
    Objective,
    PairBound,
    Regression,
    Restoration,
)
from inkwash.training.run import Run, is_run, load
from inkwash.training.times import LogNormal, LogSnrDensity, LossHistory, LowDiscrepancy, Proposal, Uniform

__all__ = [
    "ContinuousBound",
    "Hybrid",
    "LogNormal",
    "LogSnrDensity",
    "LossHistory",
    "LowDiscrepancy",
    "MeanRegression",
    "MixedLoss",
    "Objective",
    "PairBound",
    "Proposal",
    "Regression",
    "Restoration",
    "Run",
    "Uniform",
    "is_run",
    "load",
]
