"""A process fixes the forward steps q from data to noise, and the family of the reverse steps p."""

from collections.abc import Callable

from inkwash.core.config import ScheduleName
from inkwash.process.bernoulli import Bernoulli, BitEstimate
from inkwash.process.categorical import Categorical, CategoryEstimate
from inkwash.process.cold import Cold, fit_starts
from inkwash.process.degradations import Blur, Mask, Pixelate
from inkwash.process.distributions import (
    BinnedNormal,
    Bins,
    Bits,
    DiscretizedNormal,
    Lattice,
    Masses,
    Normal,
    NormalMixture,
)
from inkwash.process.entropy import EntropyBounds, entropy_bounds
from inkwash.process.gaussian import Estimate, Gaussian
from inkwash.process.mixed import Joint, Mixed, MixedEstimate
from inkwash.process.noise.closed import (
    GeometricSchedule,
    KarrasSchedule,
    LogLinearSchedule,
    RectifiedSchedule,
    SohlDicksteinSchedule,
    ZeroTerminalSchedule,
)
from inkwash.process.noise.grid import as_grid, grid_from, uniform_grid
from inkwash.process.noise.learned import LearnedBetas, LearnedSchedule
from inkwash.process.noise.notation import LETTERS, from_log_snr, letter_table, to_log_snr
from inkwash.process.noise.schedule import Schedule, VariancePreserving
from inkwash.process.noise.tables import CosineSchedule, LinearSchedule, TabulatedSchedule
from inkwash.process.process import AnyEstimate, Process
from inkwash.process.variance import Analytic

__all__ = [
    "LETTERS",
    "SCHEDULES",
    "Analytic",
    "AnyEstimate",
    "Bernoulli",
    "BinnedNormal",
    "Bins",
    "BitEstimate",
    "Bits",
    "Blur",
    "Categorical",
    "CategoryEstimate",
    "Cold",
    "CosineSchedule",
    "DiscretizedNormal",
    "EntropyBounds",
    "Estimate",
    "Gaussian",
    "GeometricSchedule",
    "Joint",
    "KarrasSchedule",
    "Lattice",
    "LearnedBetas",
    "LearnedSchedule",
    "LinearSchedule",
    "LogLinearSchedule",
    "Mask",
    "Masses",
    "Mixed",
    "MixedEstimate",
    "Normal",
    "NormalMixture",
    "Pixelate",
    "Process",
    "RectifiedSchedule",
    "Schedule",
    "SohlDicksteinSchedule",
    "TabulatedSchedule",
    "VariancePreserving",
    "ZeroTerminalSchedule",
    "as_grid",
    "entropy_bounds",
    "fit_starts",
    "from_log_snr",
    "grid_from",
    "letter_table",
    "to_log_snr",
    "uniform_grid",
]

SCHEDULES: dict[ScheduleName, Callable[[int], Schedule]] = {
    "linear": LinearSchedule,
    "cosine": CosineSchedule,
    "log-linear": LogLinearSchedule,
    "sohl-dickstein": lambda steps: SohlDicksteinSchedule(),
    "rectified": lambda steps: RectifiedSchedule(),
    "karras": KarrasSchedule,
    "geometric": GeometricSchedule,
    "zero-terminal": lambda steps: ZeroTerminalSchedule(CosineSchedule(steps)),
    "learned-betas": LearnedBetas,
    "learned": lambda steps: LearnedSchedule(steps, learn_ends=True),
}
"""Schedules by the name that the command line knows them by, each made from a number of steps; those without a table
have the same scales whatever the number."""
