"""From the options of a command to the model that it samples, and to the keywords of `Diffusion.sample`."""

from __future__ import annotations

from pathlib import Path

from inkwash.commands.options import SamplingOptions
from inkwash.core.display import Display
from inkwash.core.shapes import Array
from inkwash.data.arrays import read_npy
from inkwash.data.condition import ConditionKeywords
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.training.decided import decided
from inkwash.training.run import StrPath


def model_of(run: StrPath, options: SamplingOptions, display: Display) -> Model:
    """The model of a run, on the device and with the options that are asked for; see `decided`."""
    return decided(run, options.walk, display, options.device)[0]


def walk_options(options: SamplingOptions) -> WalkOptions:
    """Under what condition to walk.

    Raises:
        DataError: an unreadable file of conditions.
    """
    return {"label": options.label, "given": _given(options), "guidance": options.guidance}


def condition_keywords(options: SamplingOptions) -> ConditionKeywords:
    """Under what condition to sample.

    Raises:
        DataError: an unreadable file of conditions.
    """
    return {"label": options.label, "given": _given(options)}


def _given(options: SamplingOptions) -> Array | None:
    return None if options.given is None else read_npy(Path(options.given))
