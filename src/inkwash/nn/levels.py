"""Networks for integer data, which give the log-odds of every entry's levels."""

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.nn.layers import zero

_CACHED = 1 << 18
"""Log-odds of levels that are computed at a time on a CPU, so that they stay in its cache."""


class LevelHead(nn.Module):
    """A shared linear map from features to log-odds of levels, added to the log-frequencies of each entry's levels. It
    starts as cosines of the level, of which the first features have the smoothest.

    Args:
        shape: the shape of an example, `(C, *size)`.
        levels: the number of levels, L.
        features: the number of features for each entry.
        outputs: the number of outputs for each entry, at least L; those beyond the levels are passed on unchanged.
    """

    log_prior: Tensor

    def __init__(self, shape: tuple[int, ...], levels: int, features: int, outputs: int | None = None) -> None:
        super().__init__()
        self.beyond = (outputs or levels) - levels
        self.linear = nn.Linear(features, levels + self.beyond, bias=False)
        order = torch.arange(1, features + 1)
        place = torch.linspace(0, math.pi, levels)[:, None]
        self.linear.weight.data[:levels] = torch.cos(place * order) / order.sqrt()
        self.register_buffer("log_prior", torch.full((*shape, levels), -math.log(levels)))

    def count(self, blocks: Iterable[Tensor]) -> None:
        """Set the log-frequencies from blocks of examples, given as level indices `(N, *shape)`. With few examples, the
        frequencies of an entry shrink towards those of all entries."""
        counts = torch.zeros_like(self.log_prior, dtype=torch.float64)
        for index in blocks:
            places = index.long().movedim(0, -1)
            counts.scatter_add_(-1, places, torch.ones_like(places, dtype=torch.float64))
        pooled = counts.flatten(0, -2).sum(0) + 1
        smooth = counts + 2 * pooled / pooled.sum()
        self.log_prior.copy_((smooth / smooth.sum(-1, keepdim=True)).log())

    def forward(self, features: Tensor, own: Tensor | None = None) -> Tensor:
        """Map features `(B, C * features, *size)`, those of a channel side by side, to `(B, *shape, outputs)`.

        Args:
            features: the features; with K + 1 further log-odds, the last K of a channel are weights of the first K.
            own: further log-odds of each example, `(B, C, levels, K + 1)`, for data with places. All entries of a
                channel share the last ones.
        """
        each = features.unflatten(1, (self.log_prior.shape[0], -1)).movedim(2, -1)
        if own is None:
            odds = self.linear(each)
        else:
            own = F.pad(own, (0, 0, 0, self.beyond))
            maps = torch.cat([self.linear.weight.expand(*own.shape[:2], -1, -1), own], -1)
            odds = (F.pad(each, (0, 1), value=1.0).flatten(2, -2) @ maps.mT).unflatten(2, each.shape[2:-1])
        return odds + F.pad(self.log_prior, (0, self.beyond))


def level_waves(levels: int) -> Tensor:
    """Sines and cosines of the number of a level, `(levels, waves)`: of periods of twice the range of the levels, once
    and two thirds, and of 2, 4, 8, … levels up to a quarter of the range."""
    number, periods = torch.arange(levels, dtype=torch.float64), [2 * (levels - 1) / k for k in (1, 2, 3)]
    periods += [2.0**k for k in range(2, levels.bit_length()) if 2**k <= levels / 4]
    angle = 2 * math.pi * (number - (levels - 1) / 2)[:, None] / torch.tensor(periods, dtype=torch.float64)
    parity = 1 - 2 * (number % 2)
    finest = [parity[:, None]] if levels > 3 else []  # the sine of period 2 is 0 everywhere
    return torch.cat([angle.sin(), angle.cos(), *finest], 1).float()


class LevelNet(nn.Module):
    r"""Adds the output of a network for the full example to the log-frequencies of each entry's levels.

    The network's input is the noisy data and, for each entry, the expectations of sines and cosines of its level, given
    only that entry. Bayes' rule with the known noise yields them, and they are of order one at every noise level. Their
    periods reach down to two levels, so that the network can tell neighbouring levels apart where the noise lets it
    (Kingma et al. 2021, §4.2, add such functions of the noisy data). A `LevelHead` turns the network's features into
    log-odds.

    An example often has few of the levels, or some more often than others have: a picture of another scanner, contrast
    or palette. With a `histogram`, the mean over the places of a channel of what each entry alone says about its level,
    $h_v$, is compared with how often the level occurs in the data, $f_v$:

    $$r_v = \log\frac{h_v + \kappa f_v}{(1 + \kappa) f_v}, \qquad \kappa \in \{0.1, 1\}.$$

    The network is given the expectation of r in each entry, and its output has the weight with which r is added to the
    log-odds there. Two layers make of r what all entries of the example add: which levels go with those that it has.

    Args:
        network: maps `(B, C * inputs, *size)` and levels `(B,)`, with or without a condition, to `(B, C * outputs,
            *size)`, with the numbers of `widths`; the channels that belong to a channel of the data lie side by side.
        shape: the shape of an example, `(C, *size)`.
        values: the values of the levels in model units, `(L,)`.
        features: the number of features that the network gives for each entry.
        outputs: the number of outputs for each entry, at least L; those beyond the levels are passed on unchanged.
        histogram: whether it compares the levels of an example with those of the data; only for data with places.
    """

    _SMOOTHING, _HIDDEN = (0.1, 1.0), 128
    values: Tensor
    waves: Tensor

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        values: Tensor,
        features: int,
        outputs: int,
        histogram: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.head = LevelHead(shape, len(values), features, outputs)
        self.common = self._layers(shape[0] * len(values)) if histogram else None
        self.register_buffer("values", values.float(), persistent=False)
        self.register_buffer("waves", level_waves(len(values)), persistent=False)

    @classmethod
    def widths(cls, levels: int, features: int, histogram: bool = False) -> tuple[int, int]:
        """How many channels the network is given and gives for each channel of data with so many levels."""
        ratios = len(cls._SMOOTHING) * histogram
        return 1 + level_waves(levels).shape[1] + ratios, features + ratios

    def _layers(self, levels: int) -> nn.Sequential:
        """From r of so many levels to common log-odds, which start at zero."""
        leave = zero(nn.Linear(self._HIDDEN, levels, bias=False))
        return nn.Sequential(nn.Linear(len(self._SMOOTHING) * levels, self._HIDDEN), nn.SiLU(), leave)

    def forward(self, x_t: Tensor, log_snr: Tensor, **condition: Tensor) -> Tensor:
        """Map variance-preserving noisy data `(B, *shape)` at log-SNRs `(B,)`, with or without a condition, to
        `(B, *shape, outputs)`."""
        usual = None if self.common is None else self.head.log_prior.softmax(-1).flatten(1, -2).mean(1)
        if x_t.device.type != "cpu" or torch.compiler.is_compiling():  # in a graph, the number of rows is open
            waves, *ratios = self._of_entries(x_t, log_snr, usual)
        else:
            rows = max(1, _CACHED // self.head.log_prior.numel())
            parts = zip(x_t.split(rows), log_snr.split(rows), strict=True)
            waves, *ratios = map(torch.cat, zip(*(self._of_entries(*part, usual) for part in parts), strict=True))
        shown = torch.cat([x_t[..., None], waves], -1).movedim(-1, 2).flatten(1, 2)
        features = self.network(shown, log_snr, **condition)
        return self.head(features, *map(self._with_common, ratios))

    def _of_entries(self, x_t: Tensor, log_snr: Tensor, usual: Tensor | None) -> tuple[Tensor, ...]:
        """What the noisy entries say alone: the expectations of the waves of each entry's level, `(B, *shape, waves)`;
        given the usual frequencies of levels, `(C, L)`, they end with those of r, which follows, `(B, C, L, K)`."""
        column = log_snr.reshape(-1, *(1,) * x_t.ndim)
        alpha, sigma = column.sigmoid().sqrt(), (-column).sigmoid().sqrt()
        away = (x_t[..., None] - alpha * self.values) / sigma
        logits = torch.addcmul(self.head.log_prior, away, away, value=-0.5)  # log p(level | its own noisy entry)
        weights = logits.softmax(-1)
        if usual is None:
            return (weights @ self.waves,)
        of_places = weights.flatten(2, -2)
        ratios = self._log_ratios(of_places.mean(2), usual)
        waves = torch.cat([self.waves.expand(*ratios.shape[:2], -1, -1), ratios], -1)
        return (of_places @ waves).unflatten(2, x_t.shape[2:]), ratios

    def _log_ratios(self, found: Tensor, usual: Tensor) -> Tensor:
        """r of each level, for each smoothing, `(B, C, L, K)`, where an example has its levels as often as `found`,
        `(B, C, L)`."""
        ratios = [(found + kappa * usual) / ((1 + kappa) * usual) for kappa in self._SMOOTHING]
        return torch.stack(ratios, -1).log()

    def _with_common(self, ratios: Tensor) -> Tensor:
        """r and the log-odds that the two layers make of it, `(B, C, L, K + 1)`."""
        layers = cast(nn.Sequential, self.common)
        common = layers(ratios.flatten(1)).unflatten(1, ratios.shape[1:3])
        return torch.cat([ratios, common[..., None]], -1)


class MixtureNet(nn.Module):
    r"""Adds the output of a network for the full example to a mixture of normal laws fitted to each entry.

    It is for integer data of many levels. The mixture has the same means and widths in every entry, closest where the
    data is, and the frequencies of each entry. The network's input is the noisy data and, for each entry, the
    expectations of a few sines and cosines of the number of the component, given only that entry. From the network's
    features come additions to the log-weights, as in a `LevelHead`, and moves and stretches of the components, in units
    of their widths.

    Args:
        network: as that of a `LevelNet`.
        shape: the shape of an example, `(C, *size)`.
        features: the number of features that the network gives for each entry.
        spread: whether there is one more output for each entry, which is passed on unchanged.
    """

    COMPONENTS, FREQUENCIES = 16, 4
    centres: Tensor
    widths: Tensor
    waves: Tensor

    def __init__(self, network: nn.Module, shape: tuple[int, ...], features: int, spread: bool = False) -> None:
        super().__init__()
        count = self.COMPONENTS
        self.network = network
        self.head = LevelHead(shape, count, features, 3 * count + spread)
        nn.init.zeros_(self.head.linear.weight.data[count : 3 * count])
        self.register_buffer("centres", torch.linspace(-1, 1, count))
        self.register_buffer("widths", torch.full((count,), 1.0 / count))
        angle = math.pi / 2 * torch.linspace(-1, 1, count)[:, None] * torch.arange(1, self.FREQUENCIES + 1)
        self.register_buffer("waves", torch.cat([angle.sin(), angle.cos()], 1), persistent=False)

    @classmethod
    def inputs_per_channel(cls) -> int:
        """The number of channels that the network is given for each channel of the data."""
        return 1 + 2 * cls.FREQUENCIES

    def fit(self, blocks: Callable[[], Iterable[Tensor]], spacing: float) -> None:
        r"""Place the components, and count how often each entry is nearest to each of them.

        Where the data has the density p, that of the components is proportional to $p^{1/3}$, which makes the mean
        squared distance from the data to the nearest one the least (Panter & Dite 1951).

        Args:
            blocks: the examples in model units, block by block; they are gone through twice.
            spacing: the distance between neighbouring levels.
        """
        some = torch.cat([block.flatten()[:: max(1, block.numel() // 4096)] for block in blocks()]).double()
        quantiles = torch.quantile(some, torch.linspace(0, 1, 513, dtype=torch.float64))
        needed = torch.cat([some.new_zeros(1), quantiles.diff().clamp(min=spacing).pow(2 / 3).cumsum(0)])
        at = torch.linspace(0, float(needed[-1]), self.COMPONENTS, dtype=torch.float64)
        after = torch.searchsorted(needed, at).clamp(min=1)
        share = (at - needed[after - 1]) / (needed[after] - needed[after - 1])
        centres = torch.lerp(quantiles[after - 1], quantiles[after], share)
        gaps = centres.diff().clamp(min=spacing)
        self.centres.copy_(centres)
        self.widths.copy_((torch.cat([gaps[:1], gaps]) + torch.cat([gaps, gaps[-1:]])) / 4)
        edges = ((centres[1:] + centres[:-1]) / 2).float()
        self.head.count(torch.bucketize(block, edges) for block in blocks())

    def forward(self, x_t: Tensor, log_snr: Tensor, **condition: Tensor) -> Tensor:
        """Map variance-preserving noisy data `(B, *shape)` at log-SNRs `(B,)`, with or without a condition, to
        `(B, *shape, 3 * COMPONENTS)`: log-weights up to a constant, means, and logarithms of widths."""
        column = log_snr.reshape(-1, *(1,) * x_t.ndim)
        alpha, var = column.sigmoid().sqrt(), column.sigmoid() * self.widths**2 + (-column).sigmoid()
        away = x_t[..., None] - alpha * self.centres
        logits = self.head.log_prior - 0.5 * (away**2 / var + var.log())  # log p(component | its own noisy entry)
        shown = torch.cat([x_t[..., None], logits.softmax(-1) @ self.waves], -1).movedim(-1, 2).flatten(1, 2)
        output = self.head(self.network(shown, log_snr, **condition))
        count = self.COMPONENTS
        logits, moves, stretches, rest = output.tensor_split((count, 2 * count, 3 * count), -1)
        return torch.cat([logits, self.centres + self.widths * moves, self.widths.log() + stretches, rest], -1)
