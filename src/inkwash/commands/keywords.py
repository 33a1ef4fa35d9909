"""From the words of a command to the model that they name, and to the keywords of `Diffusion.sample`.

Where a command takes a run, it takes a local folder of a pipeline of diffusers, too, if it needs a model only.
"""

from __future__ import annotations

from pathlib import Path

from inkwash.bridges.diffusers import from_diffusers
from inkwash.bridges.pipelines import is_pipeline
from inkwash.commands.options import SamplingOptions
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError
from inkwash.core.shapes import Array
from inkwash.data.arrays import read_npy
from inkwash.data.condition import ConditionKeywords
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.training.decided import decided, with_sampling
from inkwash.training.run import StrPath, load


def named_model(name: StrPath, device: str = "cpu") -> Model:
    """The model of a run, or of a pipeline of diffusers; see `load` and `from_diffusers`.

    Raises:
        CheckpointError: neither of the two, or one that cannot be used.
    """
    return pipeline_model(name, device) if is_pipeline(name) else load(name, device)


def pipeline_model(name: StrPath, device: str = "cpu") -> Model:
    """The model of a pipeline in a folder.

    Raises:
        CheckpointError: a pipeline that cannot be used, among them those of latents, which need a number.
    """
    if (Path(name) / "vae").exists():
        need = "one of pixels; in Python, inkwash.from_diffusers(FOLDER, noise=…) takes it"
        raise CheckpointError(str(name), "a pipeline of latents", need)
    return from_diffusers(name, device=device)


def model_of(name: StrPath, options: SamplingOptions, display: Display) -> Model:
    """The model of a run, see `decided`, or of a pipeline, on the device and with the options that are asked for."""
    if is_pipeline(name):
        return with_sampling(pipeline_model(name, options.device), options.walk)
    return decided(name, options.walk, display, options.device)[0]


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
