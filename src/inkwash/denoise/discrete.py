r"""Denoisers of discrete data: bits, categories, and rows of numbers and categories.

Of bits the network estimates $p(x_i = 1 \mid x_t)$ one by one; the optimal estimate is the true conditional
probability. The reverse kernel draws the entries of $x_s$ independently given $x_t$, which is exact only in the limit
of small steps.

Of categories the network says what it believes of each but for the noisy state of the entry itself, as log-weights
(see `inkwash.process.categorical`): a network that gives the log-frequencies is already the exact denoiser of
independent entries. In a mixed model the same network gives both the predictions of numbers and the log-weights of
categories.
"""

from typing import Any

from torch import Tensor, nn

from inkwash.core.shapes import as_time
from inkwash.denoise.denoiser import Denoiser, Network, NetworkDenoiser, Sight
from inkwash.denoise.prediction import Prediction
from inkwash.process.bernoulli import Bernoulli, BitEstimate
from inkwash.process.categorical import Categorical, CategoryEstimate, log_weights
from inkwash.process.gaussian import Noisy
from inkwash.process.mixed import Mixed, MixedEstimate
from inkwash.process.variance import ReverseVariance


class BitDenoiser(NetworkDenoiser):
    """A network that gives the log-odds of clean bits, with its process.

    Args:
        network: a callable `(x_t, t, **condition) -> logits` shaped like `x_t`; `t` comes with shape `(B,)`. A module
            with parameters is called in their dtype.
        process: the Bernoulli process.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", always zero.

    Raises:
        ConfigError: an unknown `sees`.
    """

    process: Bernoulli

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> BitEstimate:
        """The estimate at noisy bits `x_t` `(B, *event)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        return BitEstimate(self.ask(x_t, t, guidance, condition)[0], x_t, t, self.process)


class CategoryDenoiser(NetworkDenoiser):
    """A network that gives the log-weights of clean categories, with its process.

    Args:
        network: a callable `(x_t, t, **condition) -> (B, sum(sizes))`, the log-weights of the categories of the first
            entry, then of the second, …; `t` comes with shape `(B,)`. A module with parameters is called in their
            dtype.
        process: the process of categories.
        sees: what the network is given as `t`: the "time" itself, its "log_snr", or "nothing", always zero.

    Raises:
        ConfigError: an unknown `sees`.
    """

    process: Categorical

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> CategoryEstimate:
        """The estimate at noisy categories `x_t` `(B, D)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        output = self.ask(x_t, t, guidance, condition)[0]
        return CategoryEstimate(log_weights(self.process, output), x_t, t, self.process)


class MixedDenoiser(NetworkDenoiser):
    """A network that says of noisy numbers what it predicts, and of noisy categories their log-weights.

    Args:
        network: a callable `(x_t, t, **condition)` to one row for each example: the predictions of the numbers, then,
            where the variance asks for it, their spreads, then the log-weights of the categories, as of
            `CategoryDenoiser`.
        process: the process of both.
        predicts: what the predictions mean, as of `Denoiser`.
        variance: of the reverse step of numbers, likewise.
        sees: what the network is given as `t`, likewise; of a log-SNR it is that of the numbers.

    Raises:
        ConfigError: as `Denoiser`.
    """

    process: Mixed

    def __init__(
        self,
        network: Network,
        process: Mixed,
        predicts: str | Prediction = "eps",
        variance: str | ReverseVariance = "small",
        sees: Sight = "time",
    ) -> None:
        super().__init__(network, process, sees)
        self.numbers = Denoiser(nn.Identity(), process.numbers, predicts, variance, sees)

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> MixedEstimate:
        """The estimate at noisy rows `x_t` `(B, D)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        numbers, categories = self.process.parts(x_t)
        noisy = Noisy.at(numbers, as_time(t), self.process.numbers)
        shown = self.process.joined(self.numbers.shown(noisy), categories)
        output = self.ask(shown, noisy.t, guidance, condition)[0]
        said, weights = output.split(
            [output.shape[1] - sum(self.process.categories.sizes), sum(self.process.categories.sizes)], 1
        )
        of_categories = CategoryEstimate(
            log_weights(self.process.categories, weights), categories, noisy.t, self.process.categories
        )
        return MixedEstimate(self.numbers.read(*self.numbers.split(said), noisy), of_categories, self.process)
