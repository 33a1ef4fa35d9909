"""Claims of the papers and study notes as experiments: what `inkwash papers NAME` runs.

An experiment is a module with `Options`, a frozen dataclass. A call of an object of it measures, writes JSON and PNG,
and says what was found. This list imports no experiment, so that the command line answers at once.
"""

from importlib import import_module
from typing import Any

EXPERIMENTS = {
    "path-loss": "One training loss estimated in three ways: same mean, at which variance and cost? (Note 003)",
    "cold": "Blur, pixelate or cover digits instead of adding noise, and restore them. (Bansal et al. 2022)",
    "products": "Multiply each step by what is known: where does it end, and what ends in the right place? (Note 002)",
    "questions": "What the study notes ask, one small measurement each. (Notes 000 to 004)",
    "table-2015": "The first diffusion models, and how far they are above their prior. (Sohl-Dickstein et al. 2015)",
    "table-ddpm": "Predict the mean or the noise; minimise the bound or a squared error. (Ho et al. 2020, Table 2)",
    "table-iddpm": "Linear or cosine schedule, learned variance, and fewer steps. (Nichol & Dhariwal 2021, Table 2)",
    "rate-distortion": "Progressive coding: bits spent by time, and the error of the guess. (Ho et al. 2020, fig. 5)",
}
"""Name to the question, and where the question comes from."""


def load_options(name: str) -> Any:
    """The options of the experiment `name`: a dataclass whose objects run the experiment when they are called."""
    return import_module(f"inkwash.commands.papers.{name.replace('-', '_')}").Options
