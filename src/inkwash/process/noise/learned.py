r"""Schedules with parameters: modules whose scales are differentiable in the parameters.

The parameters are float64. Any values of them give a valid schedule, with betas in (0, 1) and a falling log-SNR.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.shapes import as_time
from inkwash.process.noise.schedule import Schedule, VariancePreserving, log_alpha_bar_between, require_ends
from inkwash.process.noise.tables import LinearSchedule, find, read, running_sum


class LearnedBetas(VariancePreserving, nn.Module):
    r"""T betas: $\beta_1$ is fixed, and the others are trained, $\beta_k = \mathrm{sigmoid}(\theta_k)$ (Sohl-Dickstein
    et al. 2015, §2.4.1).

    $\beta_1$ is a small constant, because training could otherwise improve the bound by overfitting the last step to
    the data. Between the times k/T, $\log\bar\alpha$ is interpolated linearly, as in all tables of betas.

    Args:
        steps: T, at least 2.
        beta_1: the fixed $\beta_1$, in (0, 1).
        start: the schedule whose betas, from $\beta_2$ on, training starts from; `LinearSchedule(steps)` if None.
    """

    def __init__(self, steps: int = 1000, beta_1: float = 1e-4, start: Schedule | None = None) -> None:
        super().__init__()
        require_integer("schedule.steps", steps, least=2)
        if not 0 < beta_1 < 1:
            raise ConfigError("schedule.beta_1", beta_1, "a number between 0 and 1, both excluded")
        self.beta_1 = beta_1
        self.logits = nn.Parameter(_logits(LinearSchedule(steps) if start is None else start, steps))

    def table(self) -> Tensor:
        r"""The betas $\beta_1 … \beta_T$, float64, shape `(T,)`."""
        return torch.cat([self._first(self.beta_1), torch.sigmoid(self.logits.double())])

    def _first(self, value: float) -> Tensor:
        return torch.full((1,), value, dtype=torch.float64, device=self.logits.device)

    def _log_alpha_bar(self) -> Tensor:
        return running_sum(torch.cat([self._first(math.log1p(-self.beta_1)), logsigmoid(-self.logits.double())]))

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        return read(self._log_alpha_bar(), as_time(t))

    def time(self, log_snr: float | Tensor) -> Tensor:
        return find(self._log_alpha_bar(), logsigmoid(as_time(log_snr)))


@torch.no_grad()
def _logits(start: Schedule, steps: int) -> Tensor:
    r"""The logits of the betas $\beta_2 … \beta_T$ of a schedule on the uniform grid of T steps.

    With $\lambda$ the log-SNR, $\bar\alpha_k/\bar\alpha_{k-1} = 1 - \beta_k$ and
    $\beta_k = (1-\bar\alpha_k)(1 - e^{\lambda_k - \lambda_{k-1}})$.
    """
    log_snr = start.log_snr(torch.arange(1, steps + 1, dtype=torch.float64) / steps)
    log_beta = logsigmoid(-log_snr[1:]) + torch.log(-torch.expm1(log_snr.diff()))
    if not bool((torch.isfinite(log_beta) & (log_beta < 0)).all()):
        raise ConfigError("schedule.start", type(start).__name__, "a schedule that keeps some signal at time 1")
    return log_beta - torch.log(-torch.expm1(log_beta))


class LearnedSchedule(VariancePreserving, nn.Module):
    r"""A variance-preserving schedule whose log-SNR is a monotone network (Kingma et al. 2021, App. H).

    With $\gamma = -\log\mathrm{SNR}$ and $u = \frac{t - 1/T}{1 - 1/T}$ for $t \ge 1/T$:
    $\tilde\gamma(u) = u + \sum_i h_i\,\mathrm{sigmoid}(w_i u + b_i)$ with $h_i, w_i > 0$,
    $\gamma = \gamma_0 + (\gamma_1 - \gamma_0)
    \frac{\tilde\gamma(u) - \tilde\gamma(0)}{\tilde\gamma(1) - \tilde\gamma(0)}$, and
    $\alpha^2 = \mathrm{sigmoid}(-\gamma)$. The paper's first layer and last bias are left out, because the second layer
    and the rescaling absorb them. Below $t = 1/T$, $\sigma$ falls linearly to 0, so that time 0 is data.

    The bound in continuous time depends only on the end points. `inkwash.training.objective.ContinuousBound` therefore
    trains the end points to minimise the bound, and the shape to minimise the variance of its estimate. `PairBound`
    trains both to minimise the bound of T steps.

    Args:
        steps: T, at least 2; the end point $\gamma_0$ belongs to t = 1/T.
        log_snr_first: $-\gamma_0$, the log-SNR at t = 1/T with which training starts.
        log_snr_last: $-\gamma_1$, the log-SNR at t = 1 with which training starts; less than `log_snr_first`.
        learn_ends: whether to train the two end points too.
        width: the number of terms of the sum; the paper has 1024.
    """

    def __init__(
        self,
        steps: int = 1000,
        log_snr_first: float = 13.3,
        log_snr_last: float = -5.0,
        learn_ends: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        require_ends(steps, log_snr_first, log_snr_last)
        require_integer("schedule.width", width)
        self.steps = steps
        self.last = nn.Parameter(as_time(log_snr_last), requires_grad=learn_ends)
        self.log_range = nn.Parameter(as_time(log_snr_first - log_snr_last).log(), requires_grad=learn_ends)
        # The sigmoids have one slope, lie evenly over [0, 1], and have total height 1: the start is nearly linear in t.
        centres = (torch.arange(width, dtype=torch.float64) + 0.5) / width
        slope = 10.0
        self.log_slopes = nn.Parameter(torch.full_like(centres, math.log(slope)))
        self.biases = nn.Parameter(-slope * centres)
        self.log_heights = nn.Parameter(torch.full_like(centres, -math.log(width)))

    def shape(self) -> list[nn.Parameter]:
        """The parameters of the curve between its end points, which `last` and `log_range` set."""
        return [self.log_slopes, self.biases, self.log_heights]

    def log_alpha_bar(self, t: float | Tensor) -> Tensor:
        last, times = self.last.double(), as_time(t).to(self.last.device)
        first = last + self.log_range.double().exp()
        return log_alpha_bar_between(times, self.steps, first, last, self._share_left).to(as_time(t).device)

    def _share_left(self, u: Tensor) -> Tensor:
        """The share of the fall of the log-SNR that is left at u; it falls from exactly 1 at 0 to exactly 0 at 1."""
        start, stop = self._rise(torch.tensor([0.0, 1.0], dtype=torch.float64, device=u.device))
        return (stop - self._rise(u)) / (stop - start)

    def _rise(self, u: Tensor) -> Tensor:
        r"""$\tilde\gamma(u)$."""
        slopes, heights = self.log_slopes.double().exp(), self.log_heights.double().exp()
        return u + (torch.sigmoid(u[..., None] * slopes + self.biases.double()) * heights).sum(-1)
