r"""The variational autoencoder: $p(x) = \int p(z)\,p(x \mid z)\,dz$, with an encoder to find the z that matter.

$-\log p(x) \le \mathrm{KL}(q(z \mid x) \,\|\, p(z)) + \mathbb E_q[-\log p(x \mid z)]$ (Kingma & Welling 2014, eq. 3).
The gap is $\mathrm{KL}(q(z \mid x) \,\|\, p(z \mid x))$: a better encoder closes it, and so does importance sampling
from the same encoder.

A diffusion model is a VAE whose encoder is fixed: its latent is the complete path of noisy data. Both have `sample`,
`bound` and `log_prob`.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError, DataError, NonFiniteError, require_integer
from inkwash.core.randomness import Purpose, Slots, derived_seed, generator, seed_of
from inkwash.core.shapes import event_size
from inkwash.likelihood.bound import Bound
from inkwash.nn.mlp import perceptron
from inkwash.posterior.evidence import Map
from inkwash.process.distributions import BinnedNormal, DiscretizedNormal, Lattice, Normal, standard_normal

Proposal = Literal["encoder", "prior"]


@dataclass(frozen=True)
class ImportanceEstimate:
    r"""An estimate of log p(x) from K draws of z: $\log\frac1K\sum_k w_k$ with $w = p(z)\,p(x \mid z)/r(z)$ for z drawn
    from a proposal r (Burda et al. 2016, eq. 8).

    Args:
        log_weights: $\log w_k$, `(K, B)`, float64.
    """

    log_weights: Tensor

    @property
    def value(self) -> Tensor:
        """The estimate, nats per example, `(B,)`. On average it is too low, by about `std_error**2 / 2`."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    @property
    def std_error(self) -> Tensor:
        """Standard error of `value` to first order, `(B,)`: that of the mean weight, over the mean; NaN for one draw.

        Do not trust it where `effective_draws` is small: the draws that matter may be missing.
        """
        draws = len(self.log_weights)
        spread = ((self._relative() - 1) ** 2).sum(0) / (draws - 1)
        return (spread / draws).sqrt()

    @property
    def effective_draws(self) -> Tensor:
        r"""$(\sum_k w_k)^2/\sum_k w_k^2$, `(B,)`: K for equal weights, and 1 where one draw outweighs all others."""
        return len(self.log_weights) / (self._relative() ** 2).mean(0)

    def _relative(self) -> Tensor:
        """Weights over their mean, `(K, B)`."""
        return (self.log_weights - self.value).exp()


class VAE(nn.Module):
    r"""$p(z) = \mathcal N(0, I)$, $p(x \mid z) = \mathcal N(\mu(z), \sigma^2 I)$ and
    $q(z \mid x) = \mathcal N(m(x), \mathrm{diag}\,s^2(x))$ (Kingma & Welling 2014, App. C.2).

    For data with levels p(x | z) is the mass that the normal law puts on the bin of each level.

    Args:
        encoder: a callable from x `(B, *event)` to m(x) and log s²(x) side by side, `(B, 2 * latent)`.
        decoder: a callable from z `(B, latent)` to the mean of x, `(B, *event)`.
        latent: number of entries of z.
        lattice: the values of discrete data; None for continuous data, whose decoder is a density.
        noise_var: $\sigma^2$; its initial value where it is learned.
        learn_noise: whether $\sigma^2$ is trained with the networks. Fix it if the decoder can reproduce continuous
            data exactly: their density would grow without bound.

    Raises:
        ConfigError: `latent` below 1, or `noise_var` not positive.
    """

    def __init__(
        self,
        encoder: Map,
        decoder: Map,
        latent: int,
        lattice: Lattice | None = None,
        noise_var: float = 0.1,
        learn_noise: bool = True,
    ) -> None:
        super().__init__()
        _require_at_least_one(latent=latent)
        if not 0 < noise_var < math.inf:
            raise ConfigError("noise_var", noise_var, "a number > 0")
        self.encoder, self.decoder = encoder, decoder
        self.latent, self.lattice = latent, lattice
        start = torch.tensor(math.log(noise_var), dtype=torch.float64)
        self.noise_log_var = nn.Parameter(start, requires_grad=learn_noise)
        self.eval()

    @property
    def noise_var(self) -> float:
        r"""$\sigma^2$ of the decoder."""
        return math.exp(self.noise_log_var.item())

    def prior(self, n: int, like: Tensor | None = None) -> Normal:
        """p(z) for `n` examples, in the dtype and on the device of `like`."""
        mean = torch.zeros(n, self.latent) if like is None else like.new_zeros(n, self.latent)
        return Normal(mean, mean.new_ones(()))

    def encoding(self, x: Tensor) -> Normal:
        """q(z | x), the output of the encoder for `x` `(B, *event)`.

        Raises:
            ConfigError: an encoder whose output is not `(B, 2 * latent)`.
        """
        code = _call(self.encoder, x)
        if code.shape != (len(x), 2 * self.latent):
            raise ConfigError(
                "encoder", f"output {tuple(code.shape)}", f"(B, 2 * latent) = {(len(x), 2 * self.latent)}"
            )
        mean, log_var = code.chunk(2, dim=1)
        return Normal(mean, log_var.exp())

    def decoding(self, z: Tensor) -> Normal | DiscretizedNormal | BinnedNormal:
        """p(x | z) for `z` `(B, latent)`."""
        mean = _call(self.decoder, z)
        normal = Normal(mean, self.noise_log_var.exp().to(mean.dtype))
        return normal if self.lattice is None else normal.on(self.lattice)

    @torch.no_grad()
    def sample(self, n: int, *, seed: int | None = None) -> Tensor:
        """Sample `n` examples `(n, *event)`: z from the prior, then x from p(x | z).

        Sample i of a seed is the same, bit for bit, whatever `n` is.

        Args:
            n: how many, at least 1.
            seed: any integer >= 0; None takes one from torch's global generator.

        Raises:
            ConfigError: a bad `n` or `seed`.
        """
        _require_at_least_one(n=n)
        seed = seed_of(seed)
        like = next(_parameters(self.decoder), torch.zeros((), device=self._device))
        samples = []
        for slot in Slots((self.latent,), like.device).of(n):
            random = generator(seed, Purpose.SAMPLE, slot.number)
            samples.append(self.decoding(self.prior(len(slot.places), like).draw(random)).draw(random))
        return torch.cat(samples)[:n]

    def loss(self, x: Tensor, random: torch.Generator) -> Tensor:
        """KL(q(z | x) ‖ p(z)) - log p(x | z) at one draw of z, `(B,)`: what training minimises."""
        q = self.encoding(x)
        return q.kl(self.prior(len(x), x)) - self._log_likelihood(x, q.draw(random))

    @torch.no_grad()
    def bound(self, x: Tensor, *, seed: int = 0, draws: int = 1) -> Bound:
        """The variational bound on -log p(x), nats per example, float64.

        Its parts are those of a diffusion model of one step: `prior` is KL(q(z | x) ‖ p(z)), `reconstruction` is
        E[-log p(x | z)], and `diffusion` between them is 0. The total is the mean of -log w (see `ImportanceEstimate`),
        and `reconstruction` is the total less the divergence, which is in closed form: if the encoder is the exact
        posterior, the total has no noise.

        Args:
            x: data, `(B, *event)`.
            seed: of the draws of z.
            draws: how many draws of z to average over, per example.

        Raises:
            DataError: no example, or entries that are not on the lattice.
            ConfigError: `draws` below 1, or networks whose outputs do not fit `x`.
        """
        x = self._checked(x, draws)
        total = -self._log_weights(x, seed, draws, "encoder").mean(0)
        kl = torch.cat([self.encoding(block).kl(self.prior(len(block), x)) for block in x.split(_rows(x))])
        return Bound(
            prior=kl,
            diffusion=torch.zeros_like(kl),
            reconstruction=total - kl,
            per_time=kl.new_zeros(len(x), 0),
            time_edges=torch.ones(1, dtype=torch.float64),
            dims=event_size(x.shape[1:]),
            levels=None if self.lattice is None else self.lattice.levels,
            lower=torch.full_like(kl, torch.nan),
            prior_log_prob=torch.full_like(kl, torch.nan),
        )

    @torch.no_grad()
    def log_prob(
        self, x: Tensor, *, seed: int = 0, draws: int = 100, proposal: Proposal = "encoder"
    ) -> ImportanceEstimate:
        """Estimate log p(x) by importance sampling, in float64 and on the log scale.

        Args:
            x: data, `(B, *event)`.
            seed: of the draws of z; with the encoder these are those of `bound`.
            draws: how many draws of z per example.
            proposal: the law of these draws: the "encoder", or the "prior" as in the definition of p(x). The narrower
                the noise of the decoder, the fewer z explain an x, and the more hopeless the prior becomes.

        Raises:
            DataError: no example, or entries that are not on the lattice.
            ConfigError: `draws` below 1, an unknown `proposal`, or networks whose outputs do not fit `x`.
        """
        x = self._checked(x, draws)
        if proposal not in get_args(Proposal):
            raise ConfigError("proposal", repr(proposal), "one of " + ", ".join(get_args(Proposal)))
        return ImportanceEstimate(self._log_weights(x, seed, draws, proposal))

    def _log_weights(self, x: Tensor, seed: int, draws: int, proposal: Proposal) -> Tensor:
        """Log-weights `(draws, B)`; each slot has noise of its own."""
        slots = enumerate(x.split(_rows(x)))
        return torch.cat(
            [self._slot_weights(block, generator(seed, Purpose.BOUND, i), draws, proposal) for i, block in slots], dim=1
        )

    def _slot_weights(self, x: Tensor, random: torch.Generator, draws: int, proposal: Proposal) -> Tensor:
        prior = self.prior(len(x), x)
        law = self.encoding(x) if proposal == "encoder" else prior
        rows = []
        for _ in range(draws):
            # noise for a full slot: that of an example must not depend on how many come after it
            noise = standard_normal((_rows(x), self.latent), random, like=x)[: len(x)]
            z = law.mean + law.std * noise
            rows.append(self._log_likelihood(x, z) + prior.log_prob(z) - law.log_prob(z))
        return torch.stack(rows)

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        decoding = self.decoding(z)
        if decoding.mean.shape != x.shape:
            raise ConfigError("decoder", f"output {tuple(decoding.mean.shape)}", f"the shape of x, {tuple(x.shape)}")
        return decoding.log_prob(x)

    def _checked(self, x: Tensor, draws: int = 1) -> Tensor:
        """`x` in float64 on the model's device.

        Raises:
            DataError: no example, or entries that are not on the lattice.
            ConfigError: `draws` below 1.
        """
        _require_at_least_one(draws=draws)
        if len(x) == 0:
            raise DataError("x", "no example", "at least one")
        x = x.to(device=self._device, dtype=torch.float64)
        lattice = self.lattice
        if lattice is not None:
            off = (lattice.low + lattice.index(x) * lattice.spacing - x).abs().max()
            if off > 1e-3 * lattice.spacing:
                raise DataError("x", f"a value {off:g} off the lattice", f"values of {lattice}")
        return x

    @property
    def _device(self) -> torch.device:
        return self.noise_log_var.device


def perceptron_vae(
    shape: Sequence[int],
    latent: int,
    *,
    width: int = 128,
    depth: int = 2,
    lattice: Lattice | None = None,
    noise_var: float = 0.1,
    learn_noise: bool = True,
    seed: int = 0,
) -> VAE:
    """An untrained `VAE` whose encoder and decoder are perceptrons.

    Args:
        shape: of one example.
        latent: number of entries of z.
        width: features of a hidden layer.
        depth: hidden layers of each network; 0 makes both linear.
        lattice: see `VAE`.
        noise_var: see `VAE`.
        learn_noise: see `VAE`.
        seed: of the weights.

    Raises:
        ConfigError: `latent` or `width` below 1, or `noise_var` not positive.
    """
    _require_at_least_one(latent=latent, width=width)
    size, hidden = event_size(shape), [width] * depth
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, Purpose.WEIGHTS))
        encoder = nn.Sequential(nn.Flatten(), perceptron(size, *hidden, 2 * latent))
        decoder = nn.Sequential(perceptron(latent, *hidden, size), nn.Unflatten(1, tuple(shape)))
    return VAE(encoder, decoder, latent, lattice, noise_var, learn_noise)


def fit_vae(
    vae: VAE, x: Tensor, *, steps: int = 2000, batch_size: int = 128, learning_rate: float = 1e-3, seed: int = 0
) -> VAE:
    """Train a copy of `vae` to minimise its bound on `x`, by Adam with a learning rate that falls to zero.

    The result is a pure function of the arguments; `vae` stays as it is.

    Args:
        vae: the start.
        x: data, `(N, *event)`, with the values that `vae` models.
        steps: optimizer steps.
        batch_size: examples per step, drawn with replacement.
        learning_rate: at the start.
        seed: of the batches and of the draws of z.

    Raises:
        DataError: see `VAE.bound`.
        ConfigError: `steps` or `batch_size` below 1, or a learning rate that is not positive.
        NonFiniteError: a loss that is NaN or infinite.
    """
    _require_at_least_one(steps=steps, batch_size=batch_size)
    if not 0 < learning_rate < math.inf:
        raise ConfigError("learning_rate", learning_rate, "a number > 0")
    vae = copy.deepcopy(vae).train()
    x = vae._checked(x).to(next(_parameters(vae.decoder), x).dtype)
    optimizer = torch.optim.Adam(vae.parameters(), learning_rate)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for step in range(steps):
        random = generator(seed, Purpose.TRAIN, step)
        batch = x[torch.randint(len(x), (batch_size,), generator=random)]
        loss = vae.loss(batch, random).mean()
        if not bool(loss.isfinite()):
            raise NonFiniteError(f"loss of step {step + 1}", loss.item(), "a finite number; lower learning_rate")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return vae.eval()


def _parameters(network: Map) -> Iterator[nn.Parameter]:
    return network.parameters() if isinstance(network, nn.Module) else iter(())


def _rows(x: Tensor) -> int:
    """Rows of a slot of examples."""
    return Slots(tuple(x.shape[1:]), x.device).rows


def _call(network: Map, x: Tensor) -> Tensor:
    """The output of a network, in the dtype of `x`; a network with parameters gets its input in theirs."""
    return network(x.to(next(_parameters(network), x).dtype)).to(x.dtype)


def _require_at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        require_integer(name, count)
