r"""Noise schedules give the scales of the signal and of the noise in $x_t = \alpha(t)\,x + \sigma(t)\,\epsilon$.

A time is a float in $[0, 1]$; 0 is data, 1 is noise. Everything here is float64, whatever the dtype of the data. Scales
have a relative error of 1e-12, and log-SNRs an absolute error of 1e-12, apart from the effect of the rounding of t.
No result is NaN: the log-SNR is $+\infty$ where there is no noise, and $-\infty$ where no signal is left.
"""

from collections.abc import Callable

from inkwash.core.config import ScheduleName
from inkwash.process.noise.closed import (
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

__all__ = [
    "LETTERS",
    "SCHEDULES",
    "CosineSchedule",
    "KarrasSchedule",
    "LearnedBetas",
    "LearnedSchedule",
    "LinearSchedule",
    "LogLinearSchedule",
    "RectifiedSchedule",
    "Schedule",
    "SohlDicksteinSchedule",
    "TabulatedSchedule",
    "VariancePreserving",
    "ZeroTerminalSchedule",
    "as_grid",
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
    "zero-terminal": lambda steps: ZeroTerminalSchedule(CosineSchedule(steps)),
    "learned-betas": LearnedBetas,
    "learned": lambda steps: LearnedSchedule(steps, learn_ends=True),
}
"""Schedules by the name that the command line knows them by, each made from a number of steps; those without a table
have the same scales whatever the number."""
