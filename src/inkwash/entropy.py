r"""Sohl-Dickstein et al. (2015)'s way of writing the bound: with entropies.

Everything here is in nats per example. The bound $K \le \log p(x)$ is a log-likelihood, with the sign of the paper.
"""

import torch
from torch import Tensor

from inkwash.likelihood import Bound
from inkwash.process import Process


def entropy_form(result: Bound, process: Process, x: Tensor) -> Tensor:
    r"""$K = -\text{diffusion} + H_q(X_1 \mid x) - H_q(X_{\tau_1} \mid x) - H_p(X_1)$ (eq. 14), `(B,)`.

    The last step, to the data, is taken by the forward kernel, $p(x \mid x_{\tau_1}) = q(x_{\tau_1} \mid x)\,
    \pi(x)/\pi(x_{\tau_1})$ with the density $\pi$ of the prior (App. B.2, "edge effects"), not by the decoder. The mean
    of K over data is a bound where that of $\log\pi$ is the same for data as for noise: bits whose mean is the rate, or
    real numbers with $\mathbb E\lVert x\rVert^2 = d$. Elsewhere the cross-entropy of $x_t$ to the prior changes with t,
    and K is minus the bound of no model.

    Args:
        result: the bound of `x`, of which `diffusion` and the times are used.
        process: the process that it is the bound of.
        x: the data, `(B, *event)`.
    """
    x = x.double()
    noise = process.prior(x.shape, like=x).entropy()
    last, first = process.marginal(x, 1.0).entropy(), process.marginal(x, result.time_edges[-1]).entropy()
    return -result.diffusion + last - first - noise


def reverse_entropy_bounds(
    process: Process, x: Tensor, s: float | Tensor, t: float | Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    r"""Estimates, `(B,)` each, whose averages over data are a lower and an upper bound on $H_q(X_s \mid X_t)$ (eq. 24):

    $$ H_q(X_t \mid X_s) + H_q(X_s \mid X_0) - H_q(X_t \mid X_0) \;\le\; H_q(X_s \mid X_t) \;\le\; H_q(X_t \mid X_s). $$

    The lower one, the mean entropy of the posterior, always holds. The upper one needs $H_q(X_s) \le H_q(X_t)$: noise
    must not take entropy away, as it does where the data are more spread out than the prior.

    Args:
        process: the forward process.
        x: data, `(B, *event)`.
        s: the earlier time, after 0.
        t: the later time.
        generator: of one draw of $x_s$ per example, where the entropy of the transition depends on it.
    """
    x = x.double()
    marginal = process.marginal(x, s)
    upper = process.transition(marginal.draw(generator), s, t).entropy()
    return upper + marginal.entropy() - process.marginal(x, t).entropy(), upper
