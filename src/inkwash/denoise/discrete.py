r"""Denoisers of discrete data: bits, categories, and rows of numbers and categories.

For bits, the network estimates $p(x_i = 1 \mid x_t)$ for each entry i; the optimal estimate is the true conditional
probability. The reverse kernel draws the entries of $x_s$ independently given $x_t$, which is exact only in the limit
of small steps.

For categories, the network gives the log-weight of each category (see `inkwash.process.categorical`). The weights of
an entry leave out what the entry's own noisy state shows, which Bayes' rule then adds. A network that gives the
log-frequencies is therefore already the exact denoiser of independent entries. In a mixed model, a single network
gives both the predictions of the numbers and the log-weights of the categories.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.core.config import SightName
from inkwash.core.shapes import as_time
from inkwash.denoise.denoiser import Denoiser, Network, NetworkDenoiser
from inkwash.denoise.prediction import Prediction
from inkwash.process.gaussian import Estimate, Noisy
from inkwash.process.mixed import Mixed, MixedEstimate
from inkwash.process.process import AnyEstimate, Discrete
from inkwash.process.variance import ReverseVariance


class OddsDenoiser(NetworkDenoiser):
    """A network that gives the odds of clean bits or categories, with its process.

    Args:
        network: a callable `(x_t, t, **condition) -> odds`; `t` comes with shape `(B,)`. For bits, these are the
            log-odds of a 1, shaped like `x_t`. For categories, `(B, sum(sizes))`, they are the log-weights of the
            categories of the first entry, then of the second, and so on. A module with parameters is called in their
            dtype.
        process: the process of bits or of categories.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", which is always zero.

    Raises:
        ConfigError: `sees` is unknown.
    """

    process: Discrete

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> AnyEstimate:
        """The estimate at noisy data `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        return self.process.estimate(self.predict(x_t, t, guidance, condition)[0], x_t, t)


class MixedDenoiser(NetworkDenoiser):
    """A network that predicts numbers and gives the log-weights of categories, with their process.

    Args:
        network: a callable `(x_t, t, **condition)` that returns one row for each example: the predictions of the
            numbers, then their spreads if the variance needs them, then the log-weights of the categories in the order
            of `OddsDenoiser`.
        process: the mixed process.
        predicts: what the predictions of the numbers mean; see `Denoiser`.
        variance: that of the reverse step of the numbers; see `Denoiser`.
        sees: what the network is given as `t`; see `Denoiser`. "log_snr" is that of the numbers.

    Raises:
        ConfigError: as for `Denoiser`.
    """

    process: Mixed

    def __init__(
        self,
        network: Network,
        process: Mixed,
        predicts: str | Prediction = "eps",
        variance: str | ReverseVariance = "small",
        sees: SightName = "time",
    ) -> None:
        super().__init__(network, process, sees)
        self.numbers = Denoiser(nn.Identity(), process.numbers, predicts, variance, sees)

    @property
    def variance(self) -> ReverseVariance:
        """The variance of the reverse step of the numbers."""
        return self.numbers.variance

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> MixedEstimate:
        """The estimate at noisy rows `x_t` `(B, D)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        numbers, weights = self.both(x_t, t, guidance, condition)
        categories = self.process.categories.estimate(weights, self.process.parts(x_t)[1], t)
        return MixedEstimate(numbers, categories, self.process)

    def both(self, x_t: Tensor, t: Tensor, guidance: float, condition: Mapping[str, Any]) -> tuple[Estimate, Tensor]:
        """The estimate of the numbers, and the log-weights of the categories, in the order of `OddsDenoiser`."""
        numbers_t, categories_t = self.process.parts(x_t)
        noisy = Noisy.at(numbers_t, t, self.process.numbers)
        shown = self.process.joined(self.numbers.shown(noisy), categories_t)
        output, spread = self.predict(shown, t, guidance, condition)
        predictions, weights = self._parts(output)
        return self.numbers.read(predictions, spread, noisy), weights

    def split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        numbers, weights = self._parts(output)
        predictions, spread = self.numbers.split(numbers)
        return torch.cat([predictions, weights], 1), spread

    def _parts(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What belongs to the numbers, and the log-weights of the categories."""
        width = sum(self.process.categories.sizes)
        return output[:, :-width], output[:, -width:]
