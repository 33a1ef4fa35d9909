r"""Moving averages of the weights, of several horizons at once (Karras et al. 2024, §3).

An average after t steps has weights $\propto \tau^\gamma$ on the steps $\tau \le t$: its horizon grows with training,
and a share of the training is its only parameter. The share is the standard deviation of those weights relative to t,
$\sigma_\mathrm{rel} = (\gamma + 1)^{1/2} (\gamma + 2)^{-1} (\gamma + 3)^{-1/2}$ (eq. 123).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

from numpy.polynomial import Polynomial
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def exponent(horizon: float) -> float:
    r"""$\gamma$ of an average of a horizon; infinite for the horizon 0, which is the weights themselves."""
    if horizon == 0:
        return math.inf
    equation = horizon**2 * Polynomial.fromroots([-2, -2, -3]) - Polynomial([1, 1])
    return float(equation.roots().real.max())


class Averages:
    r"""Averages of the weights of a module, which follow it step by step.

    $\theta \leftarrow \beta_t \theta + (1 - \beta_t) \theta_t$ with $\beta_t = (1 - 1/t)^{\gamma + 1}$ (eq. 127).

    Args:
        trained: what is trained; the averages start as its copies.
        horizons: the horizon of each average, in [0, 0.28].

    Attributes:
        modules: the averages, in the order of the horizons.
        used: the place of the one that the model samples with.
    """

    def __init__(self, trained: nn.Module, horizons: Sequence[float]) -> None:
        self.horizons = tuple(horizons)
        self.modules = tuple(copy.deepcopy(trained).eval().requires_grad_(False) for _ in self.horizons)
        self.used = 0
        self._exponents = [exponent(each) for each in self.horizons]

    @property
    def best(self) -> nn.Module:
        """The average in use."""
        return self.modules[self.used]

    @property
    def horizon(self) -> float:
        """The horizon of the average in use."""
        return self.horizons[self.used]

    def of(self, modules: Sequence[nn.Module]) -> Averages:
        """Averages of these horizons that have other modules, with numbers of their own."""
        made = copy.copy(self)
        made.modules = tuple(modules)
        return made

    def describe(self) -> str:
        """The horizon of the average in use, and all horizons."""
        return f"horizon {self.horizon:g} of {', '.join(f'{each:g}' for each in self.horizons)}"

    def follow(self, trained: nn.Module, step: int) -> None:
        """Move every average towards the weights after so many steps, at least 1."""
        new = list(trained.parameters())
        for module, gamma in zip(self.modules, self._exponents, strict=True):
            decay = math.exp((gamma + 1) * math.log1p(-1 / step)) if step > 1 and gamma < math.inf else 0.0
            get_ema_multi_avg_fn(decay)(list(module.parameters()), new, None)

    def choose(self, losses: Sequence[float]) -> None:
        """Choose the average of the least loss; losses that are not finite do not count."""
        finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
        if min(finite) < math.inf:
            self.used = finite.index(min(finite))

    def restart(self) -> None:
        """Make all averages equal to the first one, buffers included."""
        for module in self.modules[1:]:
            module.load_state_dict(self.modules[0].state_dict())
