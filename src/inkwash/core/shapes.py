"""Helpers for shapes: broadcast a time over data, sum over event dimensions.

Data has shape `(B, *event)`; a time has shape `()` or `(B,)`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, np.dtype[Any]]


def as_time(t: float | Tensor, device: torch.device | None = None) -> Tensor:
    """A time as a float64 tensor; times stay exact even where data is float32."""
    return torch.as_tensor(t, dtype=torch.float64, device=device)


def over(coefficient: Tensor, x: Tensor) -> Tensor:
    """Shape a float64 coefficient `()`, `(B,)` or `(B, *event)` to multiply `x` `(B, *event)`, in the dtype of `x`.

    Analytic quantities are computed in float64; this function casts them, once, at the end.
    """
    trailing = (1,) * (x.ndim - 1)
    shaped = coefficient.reshape(-1, *trailing) if coefficient.ndim == 1 else coefficient
    return shaped.to(device=x.device, dtype=x.dtype)


def per_row(t: Tensor, x: Tensor) -> Tensor:
    """A time `()` or `(B,)`, repeated to give one for each row of `x`: shape `(B,)`."""
    return t.expand(x.shape[0])


def sum_event(x: Tensor, present: Tensor | None = None) -> Tensor:
    """Sum `(B, *event)` over the event dimensions, or only over the entries that are `present`: shape `(B,)`."""
    counted = x if present is None else torch.where(present, x, 0)
    return counted.reshape(len(counted), event_size(counted.shape[1:])).sum(dim=1)


def mean_event(x: Tensor, present: Tensor | None = None) -> Tensor:
    """`sum_event`, divided by the number of all entries, whether present or not: shape `(B,)`."""
    return sum_event(x, present) / event_size(x.shape[1:])


def to_array(x: Tensor) -> Array:
    """A tensor as an array of its type; NumPy lacks bfloat16 and float8, whose values float32 holds."""
    x = x.detach().cpu()
    is_lacking = x.is_floating_point() and x.dtype not in (torch.float16, torch.float32, torch.float64)
    return (x.float() if is_lacking else x).numpy()


def as_batch(x: Any) -> Any:
    """Turn one example into a batch of one."""
    return x[None] if isinstance(x, Tensor) else np.asarray(x)[None]


def in_turn(rows: Tensor, count: int) -> Tensor:
    """Repeat rows `(K, …)` in order until there are `count` of them, or keep only the first `count`."""
    return rows if len(rows) == count else rows[torch.arange(count, device=rows.device) % len(rows)]


def event_size(shape: Sequence[int]) -> int:
    """The number of entries in one example of `shape`."""
    return math.prod(shape)
