"""Small models and examples of every kind of data, for the codec."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import inkwash as iw
from inkwash.codec import archive
from inkwash.codec.forms import form_of
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform

LAYOUTS = {"ND": 1, "NL": 1, "NCL": 2, "NLC": 2, "NHW": 2, "NHWC": 3, "NCHW": 3, "NDHW": 3, "NCDHW": 4}
"""Layouts of arrays, and how many axes an example has there."""


@dataclass(frozen=True)
class Blank:
    """A network that knows nothing; it is told apart by its number."""

    number: float = 0.0

    def __call__(self, x_t, t, **condition):
        return x_t * 0 + self.number


def model_of(spec, number=0.0, dtype=torch.float32):
    """A model of data of a kind, for which no scheme needs a network."""
    lattice = spec.lattice
    scale = 1.0 if lattice is None else (spec.high - spec.low) / (lattice.high - lattice.low)
    shift = 0.0 if lattice is None else spec.low - scale * lattice.low
    entries = spec.shape[0]
    transform = Transform(spec, (shift,) * entries, (scale,) * entries)
    denoiser = iw.Denoiser(Blank(number), iw.Gaussian(iw.LinearSchedule()))
    return iw.Diffusion(denoiser, spec.shape, transform, steps=10, dtype=dtype)


def shape_in_model(layout, sides):
    """Shape of an example in model units, whose sides in the data are these."""
    if layout.endswith("C"):
        return (sides[-1], *sides[:-1])
    return tuple(sides) if "C" in layout or layout == "ND" else (1, *sides)


def levels_spec(layout, sides, dtype, levels, low=0):
    return DataSpec(shape_in_model(layout, sides), layout, dtype, float(low), float(low + levels - 1), levels)


def real_spec(layout, sides, dtype):
    return DataSpec(shape_in_model(layout, sides), layout, dtype, -1.0, 1.0, None)


def coded(model, x, **options):
    """A file that is coded, even if the examples are shorter."""
    form, held = form_of(model.units, x)
    content = archive.Content(form, held, bytes(1 << 16), {"never": []})
    return archive.pack(model, content, iw.core.CodecConfig(**options))


def equal(a: Any, b: Any) -> bool:
    """Whether two objects are the same examples: type, shape, order of bytes, and every bit but those of NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
    if isinstance(a, np.ndarray):
        same_type = a.dtype.str == b.dtype.str and a.shape == b.shape
        return same_type and (np.where(a != a, b != b, a == b).all() and (np.signbit(a) == np.signbit(b))[a == a].all()
                              if a.dtype.kind == "f" else bool((a == b).all()))  # fmt: skip
    return bool(a.equals(b)) and list(a.columns) == list(b.columns) and list(a.dtypes) == list(b.dtypes)
