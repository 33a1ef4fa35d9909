"""`Where`: conditions on the columns of a table, as a factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from inkwash.core.shapes import Array
from inkwash.data.bounds import Bounds
from inkwash.data.transform import Transform
from inkwash.data.where import Allowed, read_where
from inkwash.model.factors import Observed
from inkwash.model.product import Factor
from inkwash.model.units import Units
from inkwash.posterior.evidence import Evidence, nothing
from inkwash.process.region import Region

_APART = 1e-6  # twice what counts as the same number in model units
_HALF = 0.5  # steps from a number to the end of its bin


@dataclass(frozen=True)
class Where(Factor):
    r"""Conditions that rows of a table meet: $r(x) = 1$ where all of them hold, else 0.

    `model * Where("Sex=female, Age>30")` samples $p(x \mid \text{Sex} = \text{female}, \text{Age} > 30)$. A number or a
    category that has only one value left is known, as with `Observed`; of the others, `SMC` samples those that are
    allowed. All samples meet the conditions exactly.

    Args:
        conditions: text, such as `Sex=female, Age>30, Embarked in S|C`. The signs are `=`, `<`, `<=`, `>` and `>=`; for
            categories `=`, `!=` and `in`, and if these are numbers the others too. Dates and durations are written as
            in the data: `Day>2024-12-31`. Names and values with a comma or a sign stand in double quotes.

    Raises:
        ConfigError: when it multiplies a model, one of other data than a table; text that is no condition; an unknown
            column or category; or conditions that no sample can meet.
    """

    conditions: str

    def evidence(self, units: Units) -> Evidence:
        allowed = self._allowed(units)
        open_ = {place: each for place, each in allowed.items() if each.only is None}
        found = nothing(units.shape, units.device)
        if len(open_) < len(allowed):
            found = Observed(*self.known(units)).evidence(units)
        return replace(found, region=_region(open_, units)) if open_ else found

    def known(self, units: Units) -> tuple[Array, Array]:
        """Mask and values of the entries that have one value left, in data units."""
        only = [allowed.only for allowed in self._each(units)]
        return np.array([value is not None for value in only]), np.array([value or 0.0 for value in only])

    def ends(self, units: Units) -> tuple[Array, Array]:
        each = self._each(units)
        return np.array([allowed.low for allowed in each]), np.array([allowed.high for allowed in each])

    def _each(self, units: Units) -> list[Allowed]:
        allowed = self._allowed(units)
        return [allowed.get(place, Allowed()) for place in range(len(units.spec.columns or ()))]

    def _allowed(self, units: Units) -> Mapping[int, Allowed]:
        return read_where(self.conditions, units.spec, {} if units.transform is None else _limits(units.transform))


def _limits(transform: Transform) -> dict[str, Bounds]:
    """What samples keep to, by the number of the column: their bounds, or where their logarithm ends."""
    logs = {str(i): Bounds(log.low, log.high, bent=True) for i, log in transform.logs.items()}
    return logs | transform.bounds


def _region(allowed: Mapping[int, Allowed], units: Units) -> Region:
    """What entries may be, in model units."""
    spec = units.spec
    ends, states = np.full((2, len(spec.sizes)), np.nan), np.ones((len(spec.sizes), max(spec.sizes)), bool)
    for place, each in allowed.items():
        if each.categories is None:
            half = _HALF * spec.steps[place]
            ends[:, place] = each.low - half, each.high + half
        else:
            states[place] = np.isin(np.arange(states.shape[1]), list(each.categories))
    low, high = units.to_model(np.where(np.isfinite(ends), ends, np.nan), missing=True).double()
    low, high = low.nan_to_num(-torch.inf), high.nan_to_num(torch.inf)
    _exclude_recurring(allowed, units.transform, low, high)
    return Region(low, high, torch.from_numpy(states).to(units.device))


def _exclude_recurring(allowed: Mapping[int, Allowed], transform: Transform | None, low: Tensor, high: Tensor) -> None:
    """Move ends away from the numbers that recur and lie just beyond them, such as the 0 of Rain>0, which float32 may
    not tell apart."""
    columns = [] if transform is None else [*(transform.spec.columns or {}).values()]
    for place, values in (transform.recurring if transform else {}).items():
        if place in allowed:
            data = np.array(columns[place].recurring)
            below, above = values[data < allowed[place].low].to(low), values[data > allowed[place].high].to(high)
            if len(below):
                low[place] = torch.maximum(low[place], below[-1] + _APART * (1 + below[-1].abs()))
            if len(above):
                high[place] = torch.minimum(high[place], above[0] - _APART * (1 + above[0].abs()))
