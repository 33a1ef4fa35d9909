"""A network for tables, rows of numbers and categories, and for series: what they hold may be missing."""

import math
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, one_hot

_MANY = 64
"""Columns of more categories are embedded."""
_FEATURES = 32
"""Features of an embedded category."""
_OWN, _LEAST_ROWS = 1023, 5
"""The most categories of a column with an embedding of their own, and how often each of them must occur."""


class TableNet(nn.Module):
    r"""Gives a network numbers as they are and categories as one-hot states, and adds its output for the categories to
    their log-frequencies.

    Beside a number with periods P, such as a date with its week and its year, the network is given what is known of
    the phase $\varphi = 2\pi x/P$ at that noise level: the expectations of its sine and cosine,
    $e^{-(2\pi\sigma/P)^2/2}\sin(2\pi\alpha x_t/P)$ and the same with the cosine, for a normal x of variance 1. They
    vanish where the noise hides the phase.

    A column of many categories is embedded: the network is given some features in place of the indicators, and gives
    some features, whose products with those of the categories are the weights. Categories that are rare in the training
    part share one embedding: the network says how likely one of them is, and their frequencies say which.

    If cells may be missing, each column also has a flag for whether its cell is present, and a missing cell is shown as
    zeros. The channels of series are columns of numbers, with a flag for each place.

    Args:
        network: maps features `(B, sum(inputs))` and levels `(B,)`, with or without a condition, to
            `(B, sum(outputs))`; see `widths`.
        sizes: the number of categories of each column, 0 for a column of numbers.
        masked: whether noisy categories have an additional state, the mask.
        missing: whether cells may be missing.
        periods: the periods of each column in the units of its numbers; none by default. With periods, the levels are
            log-SNRs, and the noisy numbers variance-preserving.
    """

    log_prior: Tensor
    rates: Tensor

    def __init__(
        self,
        network: nn.Module,
        sizes: Sequence[int],
        masked: bool = False,
        missing: bool = False,
        periods: Sequence[Sequence[float]] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.missing = missing
        self.repeating = [column for column, some in enumerate(periods) for _ in some]
        rates = torch.tensor([2 * math.pi / period for some in periods for period in some])
        self.register_buffer("rates", rates, persistent=False)
        self.numbers = [column for column, size in enumerate(sizes) if size == 0]
        self.categories = [column for column, size in enumerate(sizes) if size > 0]
        self.sizes = [sizes[i] for i in self.categories]
        many = (Embedded(size, masked) if size > _MANY else None for size in self.sizes)
        self.embedded = nn.ModuleDict({str(i): each for i, each in zip(self.categories, many, strict=True) if each})
        self.states = [_FEATURES if size > _MANY else size + masked for size in self.sizes]
        self.weights = [_FEATURES if size > _MANY else size for size in self.sizes]
        owners = (column for column, count in zip(self.categories, self.states, strict=True) for _ in range(count))
        flags = range(len(sizes)) if missing else ()
        self.order = _order([*self.numbers, *owners, *flags, *self.repeating, *self.repeating])
        self.register_buffer("log_prior", torch.zeros(sum(self.sizes)))

    @staticmethod
    def widths(
        sizes: Sequence[int],
        masked: bool = False,
        missing: bool = False,
        spreads: bool = False,
        periods: Sequence[Sequence[float]] = (),
        odds: Sequence[int] = (),
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The number of input features of each column, and the number of outputs: those of the predictions for each
        column, then those of the spreads for each column, then the `odds` of numbers that recur for each column, if
        there are some, then those of the log-weights for each column, or of the features that give these."""
        waves = [2 * len(some) for some in periods or [()] * len(sizes)]
        states = [_FEATURES if size > _MANY else size + masked if size else 1 for size in sizes]
        inputs = tuple(count + missing + more for count, more in zip(states, waves, strict=True))
        predictions = tuple(int(size == 0) for size in sizes)
        weights = (_FEATURES if size > _MANY else size for size in sizes)
        return inputs, (*predictions, *(predictions if spreads else ()), *odds, *weights)

    def count(self, blocks: Iterable[Tensor]) -> None:
        """Set the log-frequencies, and which categories are rare, from blocks of rows `(N, D)`, NaN where a cell is
        missing. Half a row is added to the count of each category, or less where that would come to more than a
        twentieth of the rows."""
        counts = [torch.zeros(size, dtype=torch.float64) for size in self.sizes]
        for rows in blocks:
            for count, column in zip(counts, self.categories, strict=True):
                categories = rows[:, column]
                count += torch.bincount(categories[~categories.isnan()].long(), minlength=len(count))
        for column, count in zip(self.categories, counts, strict=True):
            if str(column) in self.embedded:
                cast(Embedded, self.embedded[str(column)]).sort(count)
        if counts:
            smooth = [count + min(0.5, 0.05 * float(count.sum()) / len(count)) for count in counts]
            self.log_prior.copy_(torch.cat([(count / count.sum()).log() for count in smooth]))

    def forward(self, x_t: Tensor, t: Tensor, present: Tensor | None = None, **condition: Tensor) -> Tensor:
        """Map noisy rows `(B, D)`, or series `(B, C, L)`, at levels `(B,)` to the predictions of the numbers, their
        spreads if the network gives them, and the log-weights of all categories.

        Args:
            x_t: numbers and states of categories.
            t: the noise levels.
            present: which cells are present, boolean, shaped as `x_t`; all of them by default.
            **condition: the condition of the network.

        Raises:
            TypeError: `present` is passed, but the network was made for complete rows.
        """
        if present is not None and not self.missing:
            raise TypeError("present: the network takes only complete rows")
        there = torch.ones_like(x_t) if present is None else present.to(x_t)
        columns = zip(self.categories, self.states, strict=True)
        states = [self._state(i, count, x_t[:, i].long()) * there[:, i, None] for i, count in columns]
        flags = [there] if self.missing else []
        shown = [(x_t * there)[:, self.numbers], *states, *flags, *self._waves(x_t, t, there)]
        output: Tensor = self.network(torch.cat(shown, 1)[:, self.order], t, **condition)
        if not self.categories:
            return output
        width = sum(self.weights)
        predictions, weights = output.tensor_split([output.shape[1] - width], 1)
        return torch.cat([predictions, self._log_weights(weights) + self.log_prior], 1)

    def _state(self, column: int, count: int, state: Tensor) -> Tensor:
        """What the network is given for the states `(B,)` of a column, `(B, count)`."""
        name = str(column)
        return cast(Tensor, self.embedded[name](state)) if name in self.embedded else one_hot(state, count)

    def _log_weights(self, weights: Tensor) -> Tensor:
        """What the network gives for the categories, as log-weights of all of them, `(B, sum(sizes))`."""
        if not self.embedded:
            return weights
        names, parts = map(str, self.categories), weights.split(self.weights, 1)
        each = zip(names, parts, strict=True)
        full = (cast(Embedded, self.embedded[n]).scores(part) if n in self.embedded else part for n, part in each)
        return torch.cat([*full], 1)

    def _waves(self, x_t: Tensor, log_snr: Tensor, there: Tensor) -> list[Tensor]:
        """The expected sines of the phases, then the cosines, each `(B, periods)`; 0 where a cell is missing."""
        if not self.repeating:
            return []
        alpha, var = log_snr[:, None].sigmoid().sqrt(), (-log_snr[:, None]).sigmoid()
        phase = self.rates * alpha * x_t[:, self.repeating]
        known = torch.exp(-0.5 * self.rates**2 * var) * there[:, self.repeating]
        return [known * phase.sin(), known * phase.cos()]


class Embedded(nn.Module):
    """Features of the categories of one column, from which the network reads a state and which its output is compared
    with.

    Args:
        size: the number of categories.
        masked: whether there is an additional state, the mask.
    """

    row: Tensor

    def __init__(self, size: int, masked: bool) -> None:
        super().__init__()
        rows = min(size, _OWN) + 1  # the last is that of all rare categories
        self.into = nn.Parameter(torch.randn(rows + masked, _FEATURES))
        self.out_of = nn.Parameter(torch.randn(rows, _FEATURES) / _FEATURES**0.5)
        row = torch.arange(size).clamp(max=rows - 1)
        self.register_buffer("row", torch.cat([row, torch.full((int(masked),), rows)]))

    def sort(self, count: Tensor) -> None:
        """Give the categories that occur most an embedding of their own, by how often each occurs, `(size,)`."""
        rare = len(self.out_of) - 1
        place = count.argsort(descending=True, stable=True).argsort()
        self.row[: len(count)] = torch.where(count >= _LEAST_ROWS, place, rare).clamp(max=rare)

    def forward(self, state: Tensor) -> Tensor:
        """The features of states `(B,)`, `(B, features)`."""
        return embedding(self.row[state], self.into)

    def scores(self, features: Tensor) -> Tensor:
        """How features `(B, features)` agree with those of each category, `(B, size)`."""
        size = len(self.row) - (len(self.into) - len(self.out_of))
        return (features @ self.out_of.T)[:, self.row[:size]]


def _order(columns: Sequence[int]) -> Tensor:
    """The permutation that sorts features by their columns and keeps the order within each column."""
    return torch.tensor(columns).argsort(stable=True)
