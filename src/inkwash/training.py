"""The training loop: one generator that yields after each step and its moving-average update.

Step k of a run is a pure function of the seed, k and the data: which examples, times and noise it uses does not depend
on what came before, so a resumed run needs nothing but the tensors of its state. With several processes each takes its
share of the same global batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.build import build_denoiser, build_network
from inkwash.checkpoint import require_same_tensors
from inkwash.config import Config, TrainConfig, chosen
from inkwash.data.transform import Array, Transform
from inkwash.distributions import standard_normal
from inkwash.errors import NonFiniteError
from inkwash.objective import Simple
from inkwash.randomness import Purpose, derived_seed, generator

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = 5
"""Non-finite steps in a row after which training halts."""


@dataclass(frozen=True)
class Examples:
    """The examples of one part of the split, in model units on demand.

    Args:
        data: all examples, data units.
        indices: those of this part.
        transform: data units to model units.
    """

    data: Array
    indices: Array
    transform: Transform

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: Array) -> Tensor:
        """Examples at `positions` of this part, model units."""
        return self.transform.to_model(self.data[self.indices[positions]])


@dataclass
class TrainState:
    """All that changes while training, and so all that a checkpoint holds.

    Args:
        network: the network in training.
        average: its moving average, what the model samples with.
        optimizer: AdamW over `network`.
        step: optimizer steps done, skipped ones included.
        skipped: steps whose loss or gradient was not finite, and which therefore changed nothing.
        seconds: time spent in training.
    """

    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, moving average and optimizer state, by name."""
        moments = {
            f"{kind}.{name}": self.optimizer.state[parameter][kind]
            for name, parameter in self.network.named_parameters()
            for kind in ("exp_avg", "exp_avg_sq", "step")
            if parameter in self.optimizer.state
        }
        return {"weights": self.network.state_dict(), "average": self.average.state_dict(), "optimizer": moments}

    def load(self, groups: dict[str, dict[str, Tensor]], where: str) -> None:
        """Take over the tensors of a checkpoint.

        Raises:
            CheckpointError: names, shapes or dtypes other than this state's.
        """
        if groups["optimizer"]:
            self._make_moments()
        for name, expected in self.tensors().items():
            require_same_tensors(groups[name], expected, where)
            for key, tensor in expected.items():
                tensor.copy_(groups[name][key])

    def _make_moments(self) -> None:
        for parameter in self.network.parameters():
            zeros = {kind: torch.zeros_like(parameter) for kind in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[parameter] = {**zeros, "step": torch.zeros((), device=parameter.device)}


@dataclass(frozen=True)
class Step:
    """What one step did.

    Args:
        step: steps done, this one included.
        loss: mean loss over the global batch; not finite if the step was skipped.
        grad_norm: norm of the gradient before clipping.
        learning_rate: of this step.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float

    @property
    def finite(self) -> bool:
        """Whether the step changed the weights."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def start(config: Config, transform: Transform, device: torch.device) -> TrainState:
    """The state before the first step of a resolved config."""
    network = build_network(config.network, transform.spec, config.train.seed).to(device)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        network.parameters(), betas=(0.9, 0.99), weight_decay=config.train.weight_decay, fused=True
    )
    return TrainState(network, average, optimizer)


def training(
    state: TrainState, examples: Examples, config: Config, accelerator: Accelerator, objective: Simple | None = None
) -> Iterator[Step]:
    """Train to the last step of the config, yielding after each step.

    Raises:
        NonFiniteError: `PATIENCE` steps in a row with a loss or gradient that is not finite.
    """
    objective = objective or Simple()
    denoiser = build_denoiser(config, accelerator.prepare(state.network).train())
    failures = 0
    while state.step < chosen(config.train.steps):
        rate = learning_rate(config.train, state.step)
        batch = draw_batch(state.step, examples, config.train, objective, accelerator)
        with _seeded(config.train.seed, state.step, accelerator):
            losses = objective.loss(denoiser, batch.x, batch.t, batch.eps)
        accelerator.backward(losses.mean())
        norm = accelerator.clip_grad_norm_(state.network.parameters(), config.train.clip_grad)
        loss = accelerator.reduce(losses.detach().mean(), reduction="mean")
        done = Step(state.step + 1, float(loss), float(norm), rate)
        if done.finite:
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            state.optimizer.step()
            _average(state, config.train.ema)
        failures = 0 if done.finite else failures + 1
        state.skipped += not done.finite
        state.optimizer.zero_grad()
        state.step += 1
        if failures == PATIENCE:
            bad = batch.indices[~losses.detach().isfinite().cpu().numpy()].tolist()
            got = (
                f"loss {done.loss:g}, gradient norm {done.grad_norm:g}, {PATIENCE} times in a row (examples {bad[:8]})"
            )
            raise NonFiniteError(f"step {done.step}", got, "finite numbers; try a lower train.learning_rate")
        yield done


@contextmanager
def _seeded(seed: int, step: int, accelerator: Accelerator) -> Iterator[None]:
    """Seed torch's own generators, which dropout draws from, for one process's share of a step."""
    device = accelerator.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derived_seed(seed, Purpose.DROPOUT, step, accelerator.process_index))
        yield


@dataclass(frozen=True)
class Batch:
    """This process's share of a global batch: `indices` into the data, clean `x`, times `t`, noise `eps`."""

    indices: Array
    x: Tensor
    t: Tensor
    eps: Tensor


def draw_batch(
    step: int, examples: Examples, config: TrainConfig, objective: Simple, accelerator: Accelerator
) -> Batch:
    """The batch of a step: a pure function of the seed, the step and the data, cut by process."""
    count = chosen(config.batch_size)
    positions = order(config.seed, step, count, len(examples))
    random = generator(config.seed, Purpose.TRAIN, step)
    t = objective.times(count, random)
    eps = standard_normal((count, *examples.transform.spec.shape), random)
    share = count // accelerator.num_processes
    mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    x = examples.take(positions[mine])
    device = accelerator.device
    return Batch(examples.indices[positions[mine]], x.to(device), t[mine].to(device), eps[mine].to(device))


def order(seed: int, step: int, count: int, examples: int) -> Array:
    """Which examples a step takes: `count` places of an endless run of epochs, each in an order of its own."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_epoch(seed, int(place // examples), examples)[place % examples] for place in places])


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, examples: int) -> Array:
    return np.random.default_rng(derived_seed(seed, Purpose.ORDER, epoch)).permutation(examples)


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rises linearly over the warm-up, falls linearly to zero at the end of the budget."""
    rise = min((step + 1) / max(config.warmup, 1), 1.0)
    return chosen(config.learning_rate) * rise * (1 - step / chosen(config.steps))


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    """Move the average towards the weights; young averages forget faster, so that they lose their random start."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for slow, fast in zip(state.average.parameters(), state.network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
