r"""Denoisers of categories, and of numbers and categories together.

The network says of each category what it believes of it but for the noisy state of the entry itself, as log-weights
(see `inkwash.categorical`): a network that gives the log-frequencies is already the exact denoiser of independent
entries. In a mixed model the same network gives both the predictions of numbers and the log-weights of categories.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.categorical import Categorical
from inkwash.denoise import Denoiser, Estimate, Network, NetworkDenoiser, Sight
from inkwash.mixed import Mixed
from inkwash.prediction import Noisy, Prediction
from inkwash.shapes import as_time
from inkwash.variance import ReverseVariance


@dataclass(frozen=True)
class CodeEstimate:
    r"""What is believed of clean categories, given noisy ones.

    Args:
        log_weights: of each category, up to a constant, `(B, D, K)`; minus infinity for what an entry cannot be.
        x_t: the noisy categories, `(B, D)`.
        t: their time, `()` or `(B,)`, float64.
        process: the process that made the noise.
    """

    log_weights: Tensor
    x_t: Tensor
    t: Tensor
    process: Categorical

    @property
    def logits(self) -> Tensor:
        r"""$\log p(x = k \mid x_t)$ up to a constant, `(B, D, K)`."""
        return self.log_weights + self.process.evidence(self.x_t, self.process.schedule.log_snr(self.t))

    @property
    def x(self) -> Tensor:
        """The likeliest category of each entry, `(B, D)`: numbers of categories have no mean."""
        return self.logits.argmax(-1).to(self.x_t)


@dataclass(frozen=True)
class MixedEstimate:
    """What is believed of clean numbers and categories.

    Args:
        numbers: of the numbers.
        codes: of the categories.
        process: the process of both.
    """

    numbers: Estimate
    codes: CodeEstimate
    process: Mixed

    @property
    def x_t(self) -> Tensor:
        """The noisy row, `(B, D)`."""
        return self.process.joined(self.numbers.x_t, self.codes.x_t)

    @property
    def x(self) -> Tensor:
        """Estimates of the numbers, and the likeliest categories, `(B, D)`."""
        return self.process.joined(self.numbers.x, self.codes.x)


def log_weights(process: Categorical, output: Tensor) -> Tensor:
    """What a network says of all categories, `(B, sum(sizes))`, as log-weights `(B, D, K)`."""
    padded = output.new_full((len(output), *process.possible.shape), -torch.inf)
    padded[:, process.possible] = output
    return padded


class CodeDenoiser(NetworkDenoiser):
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

    def forward(self, x_t: Tensor, t: float | Tensor, *, guidance: float = 1.0, **condition: Any) -> CodeEstimate:
        """The estimate at noisy categories `x_t` `(B, D)` and time `t`, `()` or `(B,)`, in the dtype of `x_t`."""
        t = as_time(t)
        output = self.ask(x_t, t, guidance, condition)[0]
        return CodeEstimate(log_weights(self.process, output), x_t, t, self.process)


class MixedDenoiser(NetworkDenoiser):
    """A network that says of noisy numbers what it predicts, and of noisy categories their log-weights.

    Args:
        network: a callable `(x_t, t, **condition)` to one row for each example: the predictions of the numbers, then,
            where the variance asks for it, their spreads, then the log-weights of the categories as of `CodeDenoiser`.
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
        numbers, codes = self.process.parts(x_t)
        noisy = Noisy.at(numbers, as_time(t), self.process.numbers)
        shown = self.process.joined(self.numbers.shown(noisy), codes)
        output = self.ask(shown, noisy.t, guidance, condition)[0]
        said, weights = output.split(
            [output.shape[1] - sum(self.process.codes.sizes), sum(self.process.codes.sizes)], 1
        )
        of_codes = CodeEstimate(log_weights(self.process.codes, weights), codes, noisy.t, self.process.codes)
        return MixedEstimate(self.numbers.read(*self.numbers.split(said), noisy), of_codes, self.process)
