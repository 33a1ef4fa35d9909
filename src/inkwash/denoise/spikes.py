r"""`Spiked`: a prediction for numbers some of which recur.

Given the noisy row, an entry is one of its spikes $a_k$, or another number, whose estimate $\hat x_0$ is that of an
inner prediction. The network gives log-odds $\ell_k$ of the spikes and of another number, $k = 0$, beside what the
entry's own $x_t$ shows. Bayes' rule adds the latter in closed form, for another number as if its law were normal, with
the mean m and the standard deviation s of the other numbers of the column:
$w_k \propto e^{\ell_k}\,\mathcal N(x_t; \alpha a_k, \sigma^2)$ and
$w_0 \propto e^{\ell_0}\,\mathcal N(x_t; \alpha m, \alpha^2 s^2 + \sigma^2)$. Then
$\hat x = \sum_k w_k a_k + w_0\hat x_0$, which snaps to the spikes as the noise falls. The network may correct the
normal law, as it sees $x_t$ too; it starts from the frequencies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from inkwash.denoise.prediction import Guess, Prediction
from inkwash.process.distributions import Normal
from inkwash.process.gaussian import Noisy
from inkwash.process.spike_slab import SpikeSlab, same_number


class Spiked(nn.Module, Prediction):
    """What a network predicts for the entries of rows `(B, D)`: its output has D numbers for the inner prediction, then
    for each entry with spikes the log-odds of each and of another number, `(B, D + outputs)`.

    Args:
        inner: the prediction of other numbers.
        counts: how many spikes each entry has.
    """

    values: Tensor
    log_prior: Tensor
    centre: Tensor
    width: Tensor
    absent: Tensor
    source: Tensor

    def __init__(self, inner: Prediction, counts: Sequence[int]) -> None:
        super().__init__()
        self.inner = inner
        most, entries = max(counts), len(counts)
        self.register_buffer("values", torch.zeros(entries, most))
        self.register_buffer("log_prior", torch.zeros(entries, most + 1))
        self.register_buffer("centre", torch.zeros(entries))
        self.register_buffer("width", torch.ones(entries))
        absent = torch.arange(most) >= torch.tensor(counts)[:, None]
        self.register_buffer("absent", torch.cat([absent, torch.zeros(entries, 1, dtype=torch.bool)], 1), False)
        given = (~absent.all(1, keepdim=True) & ~self.absent).flatten()
        self.register_buffer("source", torch.where(given, given.cumsum(0) - 1, int(given.sum())), False)

    @staticmethod
    def outputs(counts: Sequence[int]) -> tuple[int, ...]:
        """How many outputs each entry has beside its inner prediction."""
        return tuple(count + 1 if count else 0 for count in counts)

    @property
    def needs_signal(self) -> bool:  # type: ignore[override]
        """Whether the inner output fails to determine x where no signal is left."""
        return self.inner.needs_signal

    def fit(self, values: Sequence[Tensor], blocks: Iterable[Tensor]) -> None:
        """Set the spikes, how often each occurs, and the mean and standard deviation of other numbers.

        Args:
            values: the spikes of each entry, model units.
            blocks: rows `(N, D)`, model units, NaN where an entry is missing.
        """
        for i, each in enumerate(values):
            self.values[i, : len(each)] = each.to(self.values)
        counts = torch.zeros(self.log_prior.shape, dtype=torch.float64)
        moments = torch.zeros(3, len(values), dtype=torch.float64)
        for block in blocks:
            x = block.double()
            match = same_number(x, self.values.double()) & ~self.absent[:, :-1]
            other = ~match.any(-1) & ~x.isnan()
            counts += torch.cat([match.sum(0), other.sum(0)[:, None]], 1)
            kept = torch.where(other, x, 0.0)
            moments += torch.stack([other.sum(0).double(), kept.sum(0), (kept**2).sum(0)])
        smooth = (counts + 0.5).masked_fill(self.absent, 0)
        self.log_prior.copy_((smooth / smooth.sum(1, keepdim=True)).log().masked_fill(self.absent, 0))
        number, total, squares = moments
        mean = total / number.clamp(min=1)
        var = squares / number.clamp(min=1) - mean**2
        self.centre.copy_(mean)
        self.width.copy_(torch.where(number > 1, var.clamp(min=1e-4).sqrt(), 1.0))

    def read(self, output: Tensor, noisy: Noisy) -> Guess:
        entries = len(self.centre)
        guess, logits = self.inner.read(output[:, :entries], noisy), self._logits(output[:, entries:], noisy)
        var = noisy.sigma**2 / (noisy.alpha**2 + noisy.sigma**2)
        law = SpikeSlab(logits, self.values.to(output), Normal(guess.x, var))
        return Guess(law.mean, noisy.eps_of(law.mean), spiked=law)

    def _logits(self, output: Tensor, noisy: Noisy) -> Tensor:
        """The log-probabilities of the spikes and of another number given all of the noisy row, up to a constant."""
        given = pad(output, (0, 1))[:, self.source].unflatten(1, self.absent.shape)  # 0 where there is no output
        prior = given + self.log_prior.to(output)
        away = (noisy.x_t[..., None] - noisy.alpha[..., None] * self.values.to(output)) / noisy.sigma[..., None]
        spikes = -0.5 * away**2 - noisy.sigma.log()[..., None]
        var = noisy.alpha**2 * self.width.to(output) ** 2 + noisy.sigma**2
        slab = -0.5 * ((noisy.x_t - noisy.alpha * self.centre.to(output)) ** 2 / var + var.log())
        return (prior + torch.cat([spikes, slab[..., None]], -1)).masked_fill(self.absent, -torch.inf)

    def input_scale(self, noisy: Noisy) -> Tensor | None:
        return self.inner.input_scale(noisy)
