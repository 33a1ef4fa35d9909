"""The state of training: everything that changes, before the first step and after each."""

import copy
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.core.config import ResolvedConfig
from inkwash.denoise.denoiser import Denoiser, NetworkDenoiser
from inkwash.denoise.measure import measured_variance
from inkwash.nn.levels import LevelNet
from inkwash.nn.tables import TableNet
from inkwash.process.distributions import Lattice
from inkwash.process.variance import Analytic
from inkwash.training.build import build_denoiser, build_proposal, in_use
from inkwash.training.checkpoint import require_same_tensors
from inkwash.training.prepare import Examples
from inkwash.training.times import Proposal

MEASURED = 256
"""Most training examples that an analytic variance is measured on."""


@dataclass
class TrainState:
    """Everything that changes while training, and therefore everything that a checkpoint holds.

    Args:
        denoiser: the denoiser in training: its network, and whatever else of it is learned.
        average: the moving average of the denoiser, which the model samples with.
        proposal: which times training looks at, and what the proposal has learned.
        optimizer: AdamW over the parameters of `denoiser`.
        step: the number of steps done, including those that were skipped.
        skipped: the number of steps whose loss or gradient was not finite, and which therefore changed nothing.
        seconds: the time spent in training.
    """

    denoiser: NetworkDenoiser
    average: NetworkDenoiser
    proposal: Proposal
    optimizer: torch.optim.AdamW
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where the denoiser lives."""
        return next(self.denoiser.parameters()).device

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of weights, moving average, proposal and optimizer, by group and name."""
        moments = {
            f"{kind}.{name}": self.optimizer.state[parameter][kind]
            for name, parameter in self.denoiser.named_parameters()
            for kind in ("exp_avg", "exp_avg_sq", "step")
            if parameter in self.optimizer.state
        }
        modules = {"weights": self.denoiser, "average": self.average, "proposal": self.proposal}
        return {**{name: module.state_dict() for name, module in modules.items()}, "optimizer": moments}

    def load(self, groups: dict[str, dict[str, Tensor]], where: str) -> None:
        """Copy the tensors of a checkpoint into this state.

        Raises:
            CheckpointError: their names, shapes or dtypes are not those of this state.
        """
        if groups["optimizer"]:
            self._make_moments()
        for name, expected in self.tensors().items():
            require_same_tensors(groups[name], expected, where)
            for key, tensor in expected.items():
                tensor.copy_(groups[name][key])

    def _make_moments(self) -> None:
        for parameter in self.denoiser.parameters():
            zeros = {kind: torch.zeros_like(parameter) for kind in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {**zeros, "step": torch.zeros((), device=parameter.device)}


def start(config: ResolvedConfig, examples: Examples, device: torch.device) -> TrainState:
    """The state before the first step.

    Args:
        config: the options, all decided.
        examples: the examples to train on; networks for levels and tables start from their frequencies.
        device: where to train.
    """
    denoiser = build_denoiser(config, examples.transform.spec, examples.condition)
    if isinstance(denoiser.network, LevelNet):
        lattice = cast(Lattice, examples.transform.lattice)
        denoiser.network.head.count(lattice.index(block) for block in examples.blocks())
    elif isinstance(denoiser.network, TableNet):
        denoiser.network.count(examples.blocks())
    denoiser = denoiser.to(device)
    average = copy.deepcopy(denoiser).eval().requires_grad_(False)
    groups: list[dict[str, Any]] = [
        {"params": cast(nn.Module, denoiser.network).parameters(), "weight_decay": config.train.weight_decay}
    ]
    if isinstance(denoiser.schedule, nn.Module):
        groups.append({"params": denoiser.schedule.parameters(), "weight_decay": 0.0})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    return TrainState(denoiser, average, build_proposal(config), optimizer)


def measure_average(config: ResolvedConfig, state: TrainState, examples: Examples) -> None:
    """Measure what the averaged denoiser needs and training does not learn: the errors of an analytic variance."""
    average = state.average
    if isinstance(average, Denoiser) and isinstance(average.variance, Analytic):
        positions, used = np.arange(min(len(examples), MEASURED)), in_use(config, average)
        x, condition = examples.take(positions).to(state.device), examples.conditions(positions)
        measured = measured_variance(used, x, config.process.steps, condition, config.train.seed)
        average.variance.log_error.copy_(measured.log_error)
