"""The training loop: one generator that yields after each step and its moving-average update.

Step k of a run is a pure function of the seed, k and the data: which examples, times and noise it uses does not depend
on what came before, so a resumed run needs nothing but the tensors of its state. With several processes each takes its
share of the same global batch.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.core.config import ResolvedConfig, ResolvedTrainConfig
from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.core.randomness import Purpose, derived_seed, generator
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionSpec, hide
from inkwash.data.rows import blocks, take
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, NetworkDenoiser
from inkwash.denoise.wrap import under
from inkwash.nn.levels import LevelNet
from inkwash.nn.tables import TableNet
from inkwash.process.distributions import Lattice
from inkwash.process.gaussian import require_gaussian
from inkwash.process.variance import Analytic
from inkwash.training.build import build_denoiser, build_objective, build_proposal
from inkwash.training.checkpoint import require_same_tensors
from inkwash.training.objective import Objective
from inkwash.training.times import Proposal, Times

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
        condition: what the network is told of an example.
        labels: the numbers of the classes of all examples, if it is told these.
        given: what is given of all examples, in its own units, if it is told that.
    """

    data: Array
    indices: Array
    transform: Transform
    condition: ConditionSpec = field(default_factory=ConditionSpec)
    labels: Array | None = None
    given: Array | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: Array) -> Tensor:
        """Examples at `positions` of this part, model units; NaN where an entry is missing."""
        return self.transform.to_model(take(self.data, self.indices[positions]))

    def told(self, positions: Array) -> dict[str, Tensor]:
        """What the network is told of the examples at `positions`, by name."""
        rows, told = self.indices[positions], {}
        if self.labels is not None:
            told["label"] = torch.from_numpy(self.labels[rows])
        if self.given is not None and self.condition.given is not None:
            told["given"] = self.condition.given.to_model(take(self.given, rows))
        return told

    def blocks(self) -> Iterator[Tensor]:
        """All examples in model units, block by block, in the order of the data; missing entries are NaN."""
        for block in blocks(self.data, np.sort(self.indices)):
            yield self.transform.to_model(block)


@dataclass
class TrainState:
    """All that changes while training, and so all that a checkpoint holds.

    Args:
        denoiser: the denoiser in training: its network, and what else of it is learned.
        average: its moving average, what the model samples with.
        proposal: where training looks, and what that has learned.
        optimizer: AdamW over `denoiser`.
        step: optimizer steps done, skipped ones included.
        skipped: steps whose loss or gradient was not finite, and which therefore changed nothing.
        seconds: time spent in training.
    """

    denoiser: NetworkDenoiser
    average: NetworkDenoiser
    proposal: Proposal
    optimizer: torch.optim.AdamW
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Weights, moving average, proposal and optimizer state, by name."""
        moments = {
            f"{kind}.{name}": self.optimizer.state[parameter][kind]
            for name, parameter in self.denoiser.named_parameters()
            for kind in ("exp_avg", "exp_avg_sq", "step")
            if parameter in self.optimizer.state
        }
        modules = {"weights": self.denoiser, "average": self.average, "proposal": self.proposal}
        return {**{name: module.state_dict() for name, module in modules.items()}, "optimizer": moments}

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
        for parameter in self.denoiser.parameters():
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


class _Loss(nn.Module):
    """An objective's loss as a module, so that several processes can share its gradient."""

    def __init__(self, objective: Objective, denoiser: NetworkDenoiser) -> None:
        super().__init__()
        self.objective, self.denoiser = objective, denoiser

    def forward(self, x: Tensor, t: Tensor, noise: Tensor, told: dict[str, Tensor]) -> Tensor:
        return denoising_loss(self.objective, self.denoiser, x, t, noise, told)


def denoising_loss(
    objective: Objective, denoiser: AnyDenoiser, x: Tensor, t: Tensor, noise: Tensor, told: dict[str, Tensor]
) -> Tensor:
    """An objective's loss per example, `(B,)`, of a denoiser that is told something of each; see `draw_batch`."""
    return objective.loss(under(denoiser, told, slice(None)), x, t, noise, told.get("present"))


def with_present(x: Tensor, told: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Examples with 0 in place of NaN, and what the network is told of them: also which entries are `present`, if some
    are missing."""
    gone = x.isnan()
    return (x.nan_to_num(0.0), {**told, "present": ~gone}) if bool(gone.any()) else (x, told)


def rows_of(told: dict[str, Tensor], rows: slice | Tensor) -> dict[str, Tensor]:
    """What a network is told of some rows of a batch."""
    return {name: value[rows] for name, value in told.items()}


def start(config: ResolvedConfig, examples: Examples, device: torch.device) -> TrainState:
    """The state before the first step of a resolved config."""
    denoiser = build_denoiser(config, examples.transform.spec, examples.condition)
    if isinstance(denoiser.network, LevelNet):
        lattice = cast(Lattice, examples.transform.lattice)
        denoiser.network.count(lattice.index(block) for block in examples.blocks())
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


def training(
    state: TrainState,
    examples: Examples,
    config: ResolvedConfig,
    accelerator: Accelerator,
    objective: Objective | None = None,
) -> Iterator[Step]:
    """Train to the last step of the config, yielding after each step.

    Raises:
        ConfigError: out of memory, and the batch cannot be cut any further.
        NonFiniteError: `PATIENCE` steps in a row with a loss or gradient that is not finite.
    """
    objective = objective or build_objective(config, examples.transform.lattice)
    loss_of = accelerator.prepare(_Loss(objective, state.denoiser)).train()
    failures, rows = 0, config.train.micro_batch_size
    while state.step < config.train.steps:
        rate = learning_rate(config.train, state.step)
        batch = draw_batch(state, examples, config.train, accelerator)
        while (losses := _losses(loss_of, batch, rows, state.step, config.train.seed, accelerator)) is None:
            rows = _half(rows, state.step + 1, accelerator)
            state.optimizer.zero_grad()
        norm = accelerator.clip_grad_norm_(state.denoiser.parameters(), config.train.clip_grad)
        seen = accelerator.gather(losses)
        done = Step(state.step + 1, float((seen * batch.all_times.weight.to(seen)).mean()), float(norm), rate)
        if done.finite:
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            state.optimizer.step()
            _average(state, config.train.ema)
            state.proposal.learn(batch.all_times, seen.cpu(), state.denoiser.process.schedule)
        failures = 0 if done.finite else failures + 1
        state.skipped += not done.finite
        state.optimizer.zero_grad()
        state.step += 1
        if failures == PATIENCE:
            bad = batch.indices[~losses.isfinite().cpu().numpy()].tolist()
            got = (
                f"loss {done.loss:g}, gradient norm {done.grad_norm:g}, {PATIENCE} times in a row (examples {bad[:8]})"
            )
            raise NonFiniteError(f"step {done.step}", got, "finite numbers; try a lower train.learning_rate")
        yield done


def _losses(
    loss_of: nn.Module, batch: Batch, rows: int, step: int, seed: int, accelerator: Accelerator
) -> Tensor | None:
    """Losses `(B,)` of a batch, `rows` examples at a time, the gradient of their weighted mean added to that of the
    weights; None if memory ran out."""
    losses = []
    try:
        with _seeded(seed, step, accelerator):
            for part in (slice(first, first + rows) for first in range(0, len(batch.x), rows)):
                told = rows_of(batch.told, part)
                loss = loss_of(batch.x[part], batch.times.t[part], batch.noise[part], told)
                accelerator.backward((loss * batch.times.weight[part].to(loss)).sum() / len(batch.x))
                losses.append(loss.detach())
    except torch.OutOfMemoryError:
        return None  # from here, where nothing refers to the tensors of the attempt any more
    return torch.cat(losses)


def _half(rows: int, step: int, accelerator: Accelerator) -> int:
    """How many examples to take at a time once memory does not suffice for `rows`."""
    if rows == 1 or accelerator.num_processes > 1:  # of several processes the others do not know
        got = f"{rows}, and no memory for it at step {step}"
        raise ConfigError("train.micro_batch_size", got, "a smaller one, or a smaller network")
    warnings.warn(f"out of memory at step {step}: goes on with {rows // 2} examples at a time", stacklevel=2)
    return rows // 2


@contextmanager
def _seeded(seed: int, step: int, accelerator: Accelerator) -> Iterator[None]:
    """Seed torch's own generators, which dropout draws from, for one process's share of a step."""
    device = accelerator.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derived_seed(seed, Purpose.DROPOUT, step, accelerator.process_index))
        yield


@dataclass(frozen=True)
class Batch:
    """This process's share of a global batch, and the times of all of it.

    Args:
        indices: into the data.
        x: clean examples, model units, `(B, *event)`.
        times: when each is looked at.
        noise: what each is noised with, `(B, *event)`.
        told: what the network is told of each, that of some hidden.
        all_times: the times of the global batch.
    """

    indices: Array
    x: Tensor
    times: Times
    noise: Tensor
    told: dict[str, Tensor]
    all_times: Times


def draw_batch(state: TrainState, examples: Examples, config: ResolvedTrainConfig, accelerator: Accelerator) -> Batch:
    """The batch of a step: a pure function of the seed, the step, the data and the proposal, cut by process."""
    count, process, device = config.batch_size, state.denoiser.process, accelerator.device
    positions = order(config.seed, state.step, count, len(examples))
    random = generator(config.seed, Purpose.TRAIN, state.step)
    times = state.proposal.draw(count, process.schedule, random)
    noise = process.noise((count, *examples.transform.spec.shape), random)
    share = count // accelerator.num_processes
    mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    own = Times(times.t[mine].to(device), times.weight[mine].to(device))
    hidden = hidden_conditions(config, state.step)[mine]
    told = {name: hide(value, hidden) for name, value in examples.told(positions[mine]).items()}
    x, told = with_present(examples.take(positions[mine]), told)
    return Batch(examples.indices[positions[mine]], x.to(device), own, noise[mine].to(device), told, times)


def hidden_conditions(config: ResolvedTrainConfig, step: int) -> Tensor:
    """Of which examples of a step's global batch nothing is told, bool `(B,)`."""
    random = generator(config.seed, Purpose.CONDITION, step)
    return torch.rand(config.batch_size, generator=random) < (config.condition_dropout or 0.0)


def order(seed: int, step: int, count: int, examples: int) -> Array:
    """Which examples a step takes: `count` places of an endless run of epochs, each in an order of its own."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_epoch(seed, int(place // examples), examples)[place % examples] for place in places])


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, examples: int) -> Array:
    return np.random.default_rng(derived_seed(seed, Purpose.ORDER, epoch)).permutation(examples)


def learning_rate(config: ResolvedTrainConfig, step: int) -> float:
    """Rises linearly over the warm-up, falls linearly to zero at the end of the budget."""
    rise = min((step + 1) / max(config.warmup, 1), 1.0)
    return config.learning_rate * rise * (1 - step / config.steps)


@torch.no_grad()
def measure_variance(table: Analytic, denoiser: AnyDenoiser, examples: Examples, seed: int) -> None:
    """Measure the errors of a denoiser that an analytic reverse variance needs, on at most 256 examples trained on,
    under their conditions if it takes them."""
    device, positions = table.log_snr.device, np.arange(min(len(examples), 256))
    x, told = with_present(examples.take(positions), examples.told(positions))
    x = x.to(device)
    process, random = require_gaussian(denoiser.process, "variance"), generator(seed, Purpose.VARIANCE)
    for i, t in enumerate(process.schedule.time(table.log_snr.cpu())):
        x_t = process.diffuse(x, t, process.noise(x.shape, random, like=x))
        error = (denoiser(x_t, t, **told).x - x).double() ** 2
        table.log_error[i] = error[told.get("present", ...)].mean().clamp(min=1e-30).log()


@torch.no_grad()
def _average(state: TrainState, decay: float) -> None:
    """Move the average towards the weights; young averages forget faster, so that they lose their random start."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for slow, fast in zip(state.average.parameters(), state.denoiser.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
