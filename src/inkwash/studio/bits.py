"""Where the bits of an example are: by part, by time, by place, and beside those of held-out examples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor

from inkwash.core.config import SamplingConfig
from inkwash.core.options import Range, Seed
from inkwash.core.shapes import Array
from inkwash.data.spec import DataSpec
from inkwash.likelihood.bound import Bound
from inkwash.model.diffusion import Diffusion
from inkwash.model.model import Model
from inkwash.studio.subject import OWN, Subject

Part = dict[str, Any]
_COMPARED, _AVERAGED = 128, 32
"""How many held-out examples make the histogram, and the means by time."""
_STRETCHES = 8
_MOST_NUMBERS = 1 << 24
"""More numbers than these are not kept to compare the places of examples."""


@dataclass(frozen=True, kw_only=True)
class ByTime:
    """What each stretch of time adds to the bound, on average over held-out examples."""

    terms: Annotated[int, Range(4, 100)] = 20

    def answer(self, subject: Subject) -> Iterator[Part]:
        model = subject.model(SamplingConfig())
        found = model.bound(subject.held_out[:_AVERAGED], seed=0, **_terms(model, self.terms))
        yield {
            "times": found.time_edges.tolist(),
            "per_time": _in_unit(found, found.per_time.mean(0)),
            "unit": found.mean().unit,
            "examples": len(found.total),
        }


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Where the bits of an example are in time and place, and how its bound lies among those of held-out examples.

    `pixels` is a picture in place of a held-out example, as for inpainting.
    """

    example: Annotated[int, Range(0, 10**9)] = 0
    pixels: str | None = None
    terms: Annotated[int, Range(4, 100)] = 20
    seed: Seed = 0

    def answer(self, subject: Subject) -> Iterator[Part]:
        model = subject.model(SamplingConfig())
        x = subject.example(self.example) if self.pixels is None else subject.shown_by(self.pixels)
        options = {"seed": self.seed, **_terms(model, self.terms)}
        kept = {"entries": True} if isinstance(model, Diffusion) else {}
        own = model.bound(x[None], **options, **kept)
        mean = own.mean()
        yield {
            "total": mean.total,
            "unit": mean.unit,
            "parts": mean.parts,
            "times": own.time_edges.tolist(),
            "per_time": _in_unit(own, own.per_time[0]),
            "pictures": {} if subject.spec.columns else {"example": subject.sheet(x[None], 1)},
            "places": _places(own, subject.spec),
        }
        compared = subject.held_out[:_COMPARED]
        kept = kept if own.per_entry is not None and own.per_entry.numel() * len(compared) <= _MOST_NUMBERS else {}
        others = model.bound(compared, **options, **kept)
        every = _in_unit(others, others.total)
        yield {
            "others": every,
            "above": sum(each < mean.total for each in every) / len(every),
            "usual": None if others.per_entry is None else _of_places(others, subject.spec).mean(0).sum(0).tolist(),
            "files": {} if self.pixels is None else {OWN: subject.array(x)},
            "python": subject.python(self._python(subject, {**options, **({"entries": True} if kept else {})})),
        }

    def _python(self, subject: Subject, options: dict[str, Any]) -> str:
        words = "".join(f", {name}={value}" for name, value in options.items())
        if self.pixels is not None:
            return f"import numpy as np\nb = model.bound(np.load({OWN!r})[None]{words})"
        held_out = f"run = iw.Run({str(subject.path)!r})\nx = run.dataset().data[run.split()[1]]"
        return f"{held_out}\nb = model.bound(x[{self.example}:{self.example + 1}]{words})"


def _terms(model: Model, terms: int) -> dict[str, int]:
    return {"terms": terms} if model.steps > terms else {}


def _in_unit(bound: Bound, nats: Tensor) -> list[float]:
    """Nats per example in bits per dimension if the data has levels, as the mean of a bound is."""
    return cast(list[float], (nats if bound.levels is None else bound.in_bits_per_dim(nats)).tolist())


def _places(own: Bound, spec: DataSpec) -> Part | None:
    """What each place of an example adds, in all and by stretches of time; None if the model does not tell."""
    if own.per_entry is None:
        return None
    found = _of_places(own, spec)[0]
    inner = range(1, len(found) - 1)
    stretches = [each for each in np.array_split(inner, _STRETCHES) if len(each)]
    return {
        "unit": "nats" if own.levels is None else "bits",
        "names": [name for name, varies in zip(spec.columns or {}, spec.varies, strict=False) if varies],
        "all": found.sum(0).round(5).tolist(),
        "stretches": [
            {
                "start": float(own.time_edges[each[0] - 1]),
                "end": float(own.time_edges[each[-1]]),
                "places": found[each].sum(0).round(5).tolist(),
            }
            for each in stretches
        ],
        "last": found[-1].round(5).tolist(),
    }


def _of_places(bound: Bound, spec: DataSpec) -> Array:
    """What each part adds at each place, `(B, K + 2, *spec.size)`, or of vectors each entry: channels are summed. It is
    in bits for data with levels, and else in nats."""
    found = cast(Tensor, bound.per_entry) / (1 if bound.levels is None else math.log(2))
    return np.asarray((found.sum(2) if spec.size else found).to("cpu", torch.float64))
