r"""The log-density as an integral of the mean squared error over the signal-to-noise ratio (Guo et al. 2005, I-MMSE).

$-\log p(x) = \frac d2\ln 2\pi e - \frac12\int_0^\infty \big[\frac d{1+\gamma} - \mathrm{mmse}(x, \gamma)\big]\,d\gamma$
holds pointwise for the optimal denoiser (Kong et al. 2023).
"""

import torch
from torch import Tensor

from inkwash.core.errors import require_integer
from inkwash.core.randomness import Purpose, slots_of
from inkwash.core.shapes import event_size, over, sum_event
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.likelihood.flow import _LOGISTIC_SCALE, _MAX_LOG_SNR, LogProb, _process
from inkwash.process.distributions import LOG_2PI, standard_normal
from inkwash.process.gaussian import Estimate


@torch.no_grad()
def immse_log_prob(denoiser: AnyDenoiser, x: Tensor, *, strata: int = 64, seed: int = 0) -> LogProb:
    r"""Log-density of data by the pointwise I-MMSE identity: a second route, without a flow.

    $-\log p(x) = \frac d2\ln 2\pi e - \frac12\int\big[d\,\mathrm{sigmoid}(\lambda) -
    \mathbb E\lVert\epsilon - \hat\epsilon\rVert^2\big]\,d\lambda$ over the log-SNR (Guo et al. 2005; Kong et al. 2023,
    eq. 9). It holds for the exact denoiser of continuous data; for any other denoiser its value is not the logarithm of
    a density.

    The integral is estimated from two samples in each of a number of strata of a logistic law of log-SNRs, each with
    noise of both signs. Below the range of the schedule, or log-SNR -20, the denoiser knows no more than the mean, and
    the rest is added in closed form; above log-SNR 20 the integrand falls as exp(-log-SNR) and is left out. The
    standard error comes from the two samples of each stratum, and is right in the mean square; but a few strata make up
    most of it, so that errors of three standard errors are more frequent than in normal numbers: about one in a hundred
    with 64 strata, and rarer with more.

    Args:
        denoiser: a denoiser of continuous data.
        x: model units, `(B, *event)`.
        strata: how many strata; the denoiser is evaluated four times in each.
        seed: of the log-SNRs and the noise.

    Raises:
        ConfigError: `strata` below 1.
    """
    require_integer("strata", strata)
    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    ends = _process(denoiser).schedule.log_snr(times).clamp(-_MAX_LOG_SNR, _MAX_LOG_SNR)
    values, errors = [], []
    for rows, random in slots_of(x, seed, Purpose.IMMSE):
        block = x[rows].double()
        pairs = torch.stack([_immse_pair(denoiser, block, ends, i, strata, random) for i in range(strata)])
        rest = _immse_rest(denoiser, block, ends[0], random)
        values.append((pairs.mean((0, 1)) + rest - event_size(x.shape[1:]) * (1 + LOG_2PI)) / 2)
        errors.append(((pairs[:, 0] - pairs[:, 1]) ** 2).sum(0).sqrt() / (4 * strata))
    evaluations = torch.full((len(x),), 4 * strata + 1)
    return LogProb(torch.cat(values)[: len(x)], torch.cat(errors)[: len(x)], evaluations)


def _immse_pair(
    denoiser: AnyDenoiser, x: Tensor, ends: Tensor, stratum: int, strata: int, random: torch.Generator
) -> Tensor:
    """Two independent estimates of the integral, from one of the strata, `(2, B)`."""
    return torch.stack([_immse_draw(denoiser, x, ends, stratum, strata, random) for _ in range(2)])


def _immse_draw(
    denoiser: AnyDenoiser, x: Tensor, ends: Tensor, stratum: int, strata: int, random: torch.Generator
) -> Tensor:
    """The integrand over the density of a random log-SNR, `(B,)`."""
    low, high = torch.sigmoid(ends / _LOGISTIC_SCALE)
    share = (stratum + torch.rand(len(x), generator=random, dtype=torch.float64)) / strata
    level = low + share * (high - low)
    log_snr = _LOGISTIC_SCALE * torch.logit(level)
    eps = standard_normal(x.shape, random, like=x)
    both = [_immse_integrand(denoiser, x, log_snr, sign * eps) for sign in (1, -1)]
    density = level * (1 - level) / _LOGISTIC_SCALE / (high - low)
    return (both[0] + both[1]) / 2 / density.to(x.device)


def _immse_integrand(denoiser: AnyDenoiser, x: Tensor, log_snr: Tensor, eps: Tensor) -> Tensor:
    r"""$d\,\alpha^2 - \lVert\epsilon - \hat\epsilon\rVert^2 + \alpha^4(\lVert\epsilon\rVert^2 - d)$ with
    $\alpha^2 = \mathrm{sigmoid}(\lambda)$. The last term has mean 0; with it, standard normal data leaves no noise."""
    error = sum_event((eps - _at_log_snr(denoiser, x, log_snr, eps).eps) ** 2)
    size, kept = event_size(x.shape[1:]), torch.sigmoid(log_snr).to(x.device)
    return size * kept - error + kept**2 * (sum_event(eps**2) - size)


def _immse_rest(denoiser: AnyDenoiser, x: Tensor, lowest: Tensor, random: torch.Generator) -> Tensor:
    """The integral below the log-SNR `lowest`, up to order 3/2 in its SNR: the estimate is constant there."""
    estimate = _at_log_snr(denoiser, x, lowest, standard_normal(x.shape, random, like=x))
    snr = lowest.exp().to(x.device)
    return event_size(x.shape[1:]) * torch.log1p(snr) - snr * sum_event((x - estimate.x) ** 2)


def _at_log_snr(denoiser: AnyDenoiser, x: Tensor, log_snr: Tensor, eps: Tensor) -> Estimate:
    schedule = _process(denoiser).schedule
    t = schedule.time(log_snr)
    return denoiser(over(schedule.alpha(t), x) * x + over(schedule.sigma(t), x) * eps, t)
