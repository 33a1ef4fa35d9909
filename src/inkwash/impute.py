"""Missing entries drawn given the others: for each example the product of the model with what is known of it.

Examples that lack an entry are taken some at a time, side by side, each with entries of its own that are known, and so
many draws of each at a time: what is drawn for an example does not depend on how often it is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from inkwash.data.condition import guided
from inkwash.denoise import given as given_rows
from inkwash.errors import ConfigError, require_integer
from inkwash.factor import EachKnown
from inkwash.posterior import SMC, Method, MomentMatching, RePaint, default_method
from inkwash.randomness import Purpose, chosen_seed, generator, slot_rows
from inkwash.sample import Sampler
from inkwash.walk import end_of, walk

if TYPE_CHECKING:
    from inkwash.model import Diffusion

_FEW, _DRAWS = 8, 64
"""Draws of an example at a time: of many examples, and of few or where those of one are chosen among each other."""


def impute(
    model: Diffusion,
    x: Any,
    n: int,
    *,
    seed: int | None = None,
    method: Method | None = None,
    sampler: Sampler | None = None,
    label: Any = None,
    given: Any = None,
    guidance: float = 1.0,
    **way: Any,
) -> Any:
    """Draw what is NaN in examples `n` times, given the rest; `Diffusion.impute` says what is taken and given."""
    require_integer("n", n)
    method = method or default_method(model.process)
    if not isinstance(method, MomentMatching | RePaint | SMC):
        raise ConfigError("method", method, "MomentMatching, RePaint or SMC, which take several examples side by side")
    x = model.rows(x)
    model_x, seed, times = model.to_model(x, missing=True).double(), chosen_seed(seed), model.way(**way)[1]
    told = guided(model.condition.told(len(model_x), label, given), guidance)
    rows = slot_rows(model.shape, model.device)
    drawn = model_x.to(model.dtype).repeat(n, *[1] * model_x.ndim)
    incomplete = model_x.isnan().flatten(1).any(1).nonzero()[:, 0]
    several = min(rows, max(rows // max(len(incomplete), 1), _FEW), _DRAWS)
    draws = _DRAWS if isinstance(method, SMC) else several
    for group, places in enumerate(incomplete.split(max(rows // draws, 1)) if len(incomplete) else ()):
        part = model_x[places]
        evidence = EachKnown(~part.isnan(), part.nan_to_num(0.0))
        denoiser, walker = method.compose(given_rows(model.denoiser, told, places), evidence, sampler)
        ends = []
        for first in range(0, n, draws):
            random = generator(seed, Purpose.IMPUTE, group, first)
            like = torch.zeros((), dtype=model.dtype, device=model.device)
            x_1 = model.process.prior((draws * len(part), *model.shape), like=like).draw(random)
            x_0 = evidence.with_known(end_of(walk(denoiser, walker, x_1, times, random)).x_s)
            ends.append(x_0.unflatten(0, (draws, len(part))))
        drawn[:, places] = torch.cat(ends)[:n]
    return _as_given(x, model.to_data(drawn.flatten(0, 1)), n)


def _as_given(x: Any, drawn: Any, n: int) -> Any:
    """Draws, example by example within each of `n`, as `(n, B, …)`; what is given is put in as it is."""
    drawn = drawn.reshape(n, len(x), *drawn.shape[1:])
    if isinstance(drawn, Tensor):
        known = torch.as_tensor(x).to(drawn)
        return torch.where(known.isnan(), drawn, known)
    given = np.asarray(x, np.float64)
    return np.where(np.isnan(given), drawn, given).astype(drawn.dtype)
