"""What the questions of the page are about: a run, its model, its held-out examples, and pictures of both."""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data import pictures
from inkwash.data.examples import example_of
from inkwash.data.spec import DataSpec
from inkwash.model.model import Model
from inkwash.training.decided import decided
from inkwash.training.run import Header, Run
from inkwash.training.sampling import step_options

OWN = "example.npy"
"""The file of an example that the page sent."""
_ARRAY_BYTES = 4 << 20
"""An array beyond this size is not offered for download; the command makes it."""
_SPREAD = 3.0


@dataclass(frozen=True)
class Subject:
    """A run that is asked about.

    Args:
        path: its folder.
    """

    path: Path

    @cached_property
    def run(self) -> Run:
        """The run."""
        return Run(self.path)

    @cached_property
    def header(self) -> Header:
        """The header of its newest checkpoint."""
        return self.run.header()

    @property
    def spec(self) -> DataSpec:
        """What its examples are."""
        return self.header.transform.spec

    @cached_property
    def held_out(self) -> Array:
        """Its held-out examples, data units."""
        data = self.run.dataset().data
        return np.asarray(data[self.run.split()[1]])

    def example(self, number: int) -> Array:
        """A held-out example.

        Raises:
            DataError: there is none of this number.
        """
        if number >= len(self.held_out):
            raise DataError("example", number, f"0 to {len(self.held_out) - 1}, the held-out examples")
        return self.held_out[number]

    def shown_by(self, pixels: str) -> Array:
        """The example that a picture of the page shows, data units: its bytes in base64, row by row, channels last.

        Raises:
            ConfigError: the model is not of images, or the bytes are not those of one.
        """
        spec = self.spec
        if not spec.is_image:
            raise ConfigError("pixels", "a picture", f"a model of images, not of {spec.kind}")
        try:
            content = base64.b64decode(pixels, validate=True)
        except ValueError:
            raise ConfigError("pixels", "other text", "bytes in base64") from None
        channels = len(spec.varies)
        shape = spec.size if channels == 1 else (*spec.size, channels)
        if len(content) != np.prod(shape):
            raise ConfigError("pixels", f"{len(content)} bytes", f"{np.prod(shape)}, one for each pixel and channel")
        return example_of(np.frombuffer(content, np.uint8).reshape(shape), spec, "pixels")

    def model(self, walk: SamplingConfig) -> Model:
        """The model, with options of sampling as its own."""
        return _model(self.path, walk)

    def command(self, *words: Any, walk: SamplingConfig | None = None, **options: Any) -> str:
        """The command line that gives the same answer; an option that is None is left out."""
        name, *others = words
        every = {**options, **(asdict(walk) if walk else {})}
        flags = [each for option, value in every.items() if value is not None for each in _flag(option, value)]
        return typed(name, self.path, *others, *flags)

    def python(self, call: str, walk: SamplingConfig | None = None) -> str:
        """The same in Python."""
        options = {name: value for name, value in step_options(walk or SamplingConfig()).items() if value is not None}
        words = [f"{name}={_in_python(value)}" for name, value in options.items()]
        with_options = f".with_options({', '.join(words)})" if words else ""
        return f"import inkwash as iw\n\nmodel = iw.load({str(self.path)!r}){with_options}\n{call}"

    def sheet(self, data: Any, columns: int | None = None, among: Array | None = None) -> str:
        """Examples in data units as one picture."""
        return picture(pictures.sheet(self.spec, np.asarray(data), columns, among))

    def unit_sheet(self, z: Array) -> str:
        """Something of unit scale that has the data's shape, such as noise: -3 is shown as black, and 3 as white."""
        low, high = self.spec.shown
        share = (np.clip(z, -_SPREAD, _SPREAD) + _SPREAD) / (2 * _SPREAD)
        return self.sheet(self.spec.from_all_channels(low + share * (high - low)) if self.spec.size else z)

    def array(self, data: Any) -> str | None:
        """Examples as the bytes of an .npy file, in base64; None if they are many, or rows of a table."""
        array = np.asarray(data)
        if array.nbytes > _ARRAY_BYTES or array.dtype.kind == "O":
            return None
        return base64.b64encode(_npy(array)).decode()


@lru_cache(maxsize=4)
def _model(path: Path, walk: SamplingConfig) -> Model:
    return decided(path, walk, Display(shown=False))[0]


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def picture(pixels: Array) -> str:
    """Pixels as a PNG, in base64."""
    return base64.b64encode(pictures.png_of(pixels)).decode()


def _flag(option: str, value: Any) -> list[str]:
    name = option.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name}"]
    return ["-n" if name == "n" else f"--{name}", str(value)]


def _in_python(value: Any) -> str:
    """A sampler, a grid or a number as it is written in Python."""
    if not hasattr(value, "__dataclass_fields__"):
        return repr(value)
    words = [f"{each.name}={getattr(value, each.name)!r}" for each in fields(value)]
    return f"iw.{type(value).__name__}({', '.join(words)})"
