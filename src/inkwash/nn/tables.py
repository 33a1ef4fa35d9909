"""A network for tables: rows of numbers and categories, in which cells may be missing."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class TableNet(nn.Module):
    """Gives a network numbers as they are and categories as one-hot states, and adds its output for the categories to
    their log-frequencies.

    If cells may be missing, each column also has a flag for whether its cell is present, and a missing cell is shown as
    zeros.

    Args:
        network: maps features `(B, sum(inputs))` and levels `(B,)`, with or without a condition, to
            `(B, sum(outputs))`; see `widths`.
        sizes: the number of categories of each column, 0 for a column of numbers.
        masked: whether noisy categories have an additional state, the mask.
        missing: whether cells may be missing.
    """

    log_prior: Tensor

    def __init__(self, network: nn.Module, sizes: Sequence[int], masked: bool = False, missing: bool = False) -> None:
        super().__init__()
        self.network = network
        self.missing = missing
        self.numbers = [column for column, size in enumerate(sizes) if size == 0]
        self.categories = [column for column, size in enumerate(sizes) if size > 0]
        self.sizes = [sizes[i] for i in self.categories]
        self.states = [size + masked for size in self.sizes]
        owners = (column for column, count in zip(self.categories, self.states, strict=True) for _ in range(count))
        self.order = _order([*self.numbers, *owners, *(range(len(sizes)) if missing else ())])
        self.register_buffer("log_prior", torch.zeros(sum(self.sizes)))

    @staticmethod
    def widths(
        sizes: Sequence[int], masked: bool = False, missing: bool = False, spreads: bool = False
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The number of input features of each column, and the number of outputs: those of the predictions for each
        column, then those of the spreads for each column, then those of the log-weights for each column."""
        inputs = tuple((size + masked if size else 1) + missing for size in sizes)
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
        shown = [(x_t * there)[:, self.numbers], *states, *([there] if self.missing else [])]
        output = self.network(torch.cat(shown, 1)[:, self.order], t, **condition)
        predictions, weights = output.tensor_split([output.shape[1] - len(self.log_prior)], 1)
        return torch.cat([predictions, weights + self.log_prior], 1)


def _order(columns: Sequence[int]) -> Tensor:
    """The permutation that sorts features by their columns and keeps the order within each column."""
    return torch.tensor(columns).argsort(stable=True)
