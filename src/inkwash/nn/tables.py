"""A network for tables: rows of numbers and categories, in which cells may be missing."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class TableNet(nn.Module):
    r"""Gives a network numbers as they are and categories as one-hot states, and adds its output for the categories to
    their log-frequencies.

    Beside a number with periods P, such as a date with its week and its year, the network is given what is known of
    the phase $\varphi = 2\pi x/P$ at that noise level: the expectations of its sine and cosine,
    $e^{-(2\pi\sigma/P)^2/2}\sin(2\pi\alpha x_t/P)$ and the same with the cosine, for a normal x of variance 1. They
    vanish where the noise hides the phase.

    If cells may be missing, each column also has a flag for whether its cell is present, and a missing cell is shown as
    zeros.

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
        columns = torch.tensor(sizes)
        self.numbers, self.categories = (kind.nonzero()[:, 0].tolist() for kind in (columns == 0, columns > 0))
        self.sizes = [sizes[i] for i in self.categories]
        self.states = [size + masked for size in self.sizes]
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
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The number of input features of each column, and the number of outputs: those of the predictions for each
        column, then those of the spreads for each column, then those of the log-weights for each column."""
        waves = [2 * len(some) for some in periods or [()] * len(sizes)]
        states = [size + masked if size else 1 for size in sizes]
        inputs = tuple(count + missing + more for count, more in zip(states, waves, strict=True))
        predictions = tuple(int(size == 0) for size in sizes)
        return inputs, (*predictions, *(predictions if spreads else ()), *sizes)

    def count(self, blocks: Iterable[Tensor]) -> None:
        """Set the log-frequencies from blocks of rows `(N, D)`, NaN where a cell is missing; half a row is added to the
        count of each category."""
        counts = [torch.full((size,), 0.5, dtype=torch.float64) for size in self.sizes]
        for rows in blocks:
            for count, column in zip(counts, self.categories, strict=True):
                categories = rows[:, column]
                count += torch.bincount(categories[~categories.isnan()].long(), minlength=len(count))
        if counts:
            self.log_prior.copy_(torch.cat([(count / count.sum()).log() for count in counts]))

    def forward(self, x_t: Tensor, t: Tensor, present: Tensor | None = None, **condition: Tensor) -> Tensor:
        """Map noisy rows `(B, D)` at levels `(B,)` to the predictions of the numbers, their spreads if the network
        gives them, and the log-weights of all categories.

        Args:
            x_t: numbers and states of categories.
            t: the noise levels.
            present: which cells are present, boolean `(B, D)`; all of them by default.
            **condition: the condition of the network.

        Raises:
            TypeError: `present` is passed, but the network was made for complete rows.
        """
        if present is not None and not self.missing:
            raise TypeError("present: the network takes only complete rows")
        there = torch.ones_like(x_t) if present is None else present.to(x_t)
        columns = zip(self.categories, self.states, strict=True)
        states = [one_hot(x_t[:, i].long(), count) * there[:, i, None] for i, count in columns]
        flags = [there] if self.missing else []
        shown = [(x_t * there)[:, self.numbers], *states, *flags, *self._waves(x_t, t, there)]
        output = self.network(torch.cat(shown, 1)[:, self.order], t, **condition)
        predictions, weights = output.tensor_split([output.shape[1] - len(self.log_prior)], 1)
        return torch.cat([predictions, weights + self.log_prior], 1)

    def _waves(self, x_t: Tensor, log_snr: Tensor, there: Tensor) -> list[Tensor]:
        """The expected sines of the phases, then the cosines, each `(B, periods)`; 0 where a cell is missing."""
        if not self.repeating:
            return []
        alpha, var = log_snr[:, None].sigmoid().sqrt(), (-log_snr[:, None]).sigmoid()
        phase = self.rates * alpha * x_t[:, self.repeating]
        known = torch.exp(-0.5 * self.rates**2 * var) * there[:, self.repeating]
        return [known * phase.sin(), known * phase.cos()]


def _order(columns: Sequence[int]) -> Tensor:
    """The permutation that sorts features by their columns and keeps the order within each column."""
    return torch.tensor(columns).argsort(stable=True)
