r"""Muon for the matrices of a network, and AdamW for everything else.

Muon (Jordan et al. 2024) takes a step along the orthogonal factor $UV^\top$ of the momentum $M = USV^\top$ of a matrix,
so that no direction is left behind because its gradients are small:

$$W \leftarrow (1 - \eta\lambda) W - 0.2\,\eta\sqrt{\max(m, n)}\; UV^\top,$$

where the matrix is m by n, and the scale makes the root mean square of a step what it usually is with AdamW, so that
both take the same learning rate $\eta$ and weight decay $\lambda$ (Liu et al. 2025, "Muon is scalable", eq. 4). A
convolution is the matrix of its output channels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn

from inkwash.nn.layers import Backbone
from inkwash.training.shares import as_shares, full

_MOMENTUM = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """One optimizer of both kinds of steps.

    Args:
        matrices: the weights with at least two axes that take steps of Muon; there may be none.
        groups: all that is trained, in groups as torch's optimizers take them.

    Attributes:
        state: for a matrix its `momentum_buffer`, and what torch's AdamW keeps for the others.
    """

    def __init__(self, matrices: set[nn.Parameter], groups: list[dict[str, Any]]) -> None:
        parts = [
            {**group, "params": members, "matrices": are_matrices}
            for group in groups
            for are_matrices in (True, False)
            if (members := [each for each in group["params"] if (each in matrices) == are_matrices])
        ]
        super().__init__(parts, {"lr": 0.0})
        others = [group for group in self.param_groups if not group["matrices"]]
        self._adam = torch.optim.AdamW(others, betas=(0.9, 0.99), fused=True) if others else None
        if self._adam:
            self._adam.state = self.state

    def make_state(self) -> None:
        """Begin the state of every parameter, for the numbers of a checkpoint."""
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {kind: torch.zeros_like(parameter) for kind in _kinds(group)}
                if not group["matrices"]:
                    self.state[parameter]["step"] = torch.zeros((), device=parameter.device)

    def nbytes(self) -> int:
        """Bytes of the gradients and of the state, apart from the numbers of steps."""
        return sum(p.nbytes * (1 + len(_kinds(group))) for group in self.param_groups for p in group["params"])

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Take a step of every parameter that has a gradient."""
        for group in self.param_groups:
            if group["matrices"]:
                for alike in _of_one_shape(group["params"]):
                    self._step(alike, group["lr"], group["weight_decay"])
        if self._adam:
            self._adam.step()

    def _step(self, alike: list[nn.Parameter], rate: float, decay: float) -> None:
        """Take a step of matrices of one shape."""
        factors = orthogonal(torch.stack([self._momentum(parameter) for parameter in alike]))
        scale = 0.2 * max(factors.shape[1:]) ** 0.5 * rate
        for parameter, factor in zip(alike, factors, strict=True):
            step = as_shares(factor.view(parameter.shape), parameter)
            parameter.mul_(1 - rate * decay).add_(step, alpha=-scale)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        """What the momentum of a matrix is about to be (Nesterov), as a matrix without shares."""
        state, gradient = self.state[parameter], cast(Tensor, parameter.grad)
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - _MOMENTUM)
        return full(gradient.lerp(momentum, _MOMENTUM)).flatten(1)


def _kinds(group: dict[str, Any]) -> tuple[str, ...]:
    """What is kept of each parameter of a group, of its shape."""
    return ("momentum_buffer",) if group["matrices"] else ("exp_avg", "exp_avg_sq")


def matrices_within(trained: nn.Module) -> set[nn.Parameter]:
    """The weights that take steps of Muon: the matrices of all networks proper within what is trained."""
    return {weight for part in trained.modules() if isinstance(part, Backbone) for weight in part.matrices()}


def _of_one_shape(parameters: list[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    """Those that have a gradient, by their shape."""
    alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            alike[parameter.shape].append(parameter)
    return alike.values()


def orthogonal(matrices: Tensor) -> Tensor:
    r"""About $UV^\top$ of matrices $USV^\top$, `(..., m, n)`: singular values that are not tiny beside the largest come
    to lie between 0.7 and 1.2.

    Five times the odd polynomial of degree five with the coefficients of Jordan et al. (2024), whose slope at 0 is
    large, maps the singular values towards 1.
    """
    x = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    first, third, fifth = _POLYNOMIAL
    for _ in range(_ROUNDS):
        square = x @ x.mT
        x = first * x + (third * square + fifth * square @ square) @ x
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x
