"""The training loop: one generator that yields after each step and its update of the moving average.

Step k of a run is a pure function of the seed, k and the data: which examples, times and noise it uses does not depend
on what came before, so a run that resumes needs only the tensors of its state. If there are several processes, each
takes its share of the same global batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.core.randomness import Purpose, derived_seed, generator
from inkwash.core.resolved import ResolvedTrainConfig
from inkwash.core.shapes import Array
from inkwash.data.condition import hide
from inkwash.process.distributions import Lattice
from inkwash.training.ahead import Ahead
from inkwash.training.augment import augmented
from inkwash.training.engine import tuned
from inkwash.training.examples import Examples, with_present
from inkwash.training.lesson import Batch, Lesson
from inkwash.training.shares import full, is_sharded
from inkwash.training.state import TrainState
from inkwash.training.times import Proposal, Times

if TYPE_CHECKING:
    from accelerate import Accelerator

PATIENCE = 5
"""The number of non-finite steps in a row after which training halts."""
_MONITORED = 256


@dataclass(frozen=True)
class Step:
    """What one step did.

    Args:
        step: the number of steps done, including this one.
        loss: the mean loss over the global batch; it is not finite if the step was skipped.
        grad_norm: the norm of the gradient before clipping.
        learning_rate: the learning rate of this step.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float

    @property
    def finite(self) -> bool:
        """Whether the step changed the weights."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


def training(
    state: TrainState, examples: Examples, config: ResolvedTrainConfig, accelerator: Accelerator
) -> Iterator[Step]:
    """Train to the last step, stage by stage, and yield after each step and its update of the average.

    What a step takes of the data is read while the step before it is computed.

    Args:
        state: where to start from; it changes with each step.
        examples: the examples to train on.
        config: the options, all decided.
        accelerator: this process and its device.

    Raises:
        ConfigError: memory ran out, and the batch cannot be cut any further.
        NonFiniteError: `PATIENCE` steps in a row had a loss or gradient that is not finite.
    """
    with tuned(state.trained, config, accelerator.device):
        for number, stage in enumerate(state.stages):
            if state.step < stage.last:
                if number != state.number:
                    state.begin(number, examples)
                with Ahead(lambda step: read_share(examples, config, accelerator, step), stage.last) as shares:
                    yield from _stage(state, shares, examples, config, accelerator)


def _stage(
    state: TrainState,
    shares: Ahead[Share],
    examples: Examples,
    config: ResolvedTrainConfig,
    accelerator: Accelerator,
) -> Iterator[Step]:
    """The steps that are left of the stage that a state is in."""
    stage, trained = state.stage, state.trained
    loss_of = _Loss(stage.lesson, trained)
    loss_of = (loss_of if is_sharded(trained) else accelerator.prepare(loss_of)).train()
    failures, rows = 0, config.micro_batch_size
    while state.step < stage.last:
        rate = learning_rate(config, state.step - stage.first, stage.last - stage.first)
        batch = draw_batch(state, examples, config, accelerator, shares.take(state.step))
        while (losses := _backward(loss_of, batch, rows, state.step, config.seed, accelerator, state.scaler)) is None:
            rows = _halved(rows, state.step + 1, accelerator)
            state.optimizer.zero_grad()
        state.scaler.unscale_(state.optimizer)
        norm = full(accelerator.clip_grad_norm_(trained.parameters(), config.clip_grad))
        all_losses = accelerator.gather(losses)
        loss = (all_losses * batch.all_times.weight.to(all_losses)).mean()
        done = Step(state.step + 1, float(loss), float(norm), rate)
        if done.finite:
            _update_weights(state, rate)
            stage.lesson.learn(trained, state.proposal, batch.all_times, all_losses.cpu())
        failures = 0 if done.finite or _overflowed(done, state.scaler) else failures + 1
        state.scaler.update()
        state.skipped += not done.finite
        state.optimizer.zero_grad()
        state.step += 1
        if failures == PATIENCE:
            raise _divergence(done, batch.indices[~losses.isfinite().cpu().numpy()])
        yield done


class _Loss(nn.Module):
    """The loss as a module, so that several processes can share its gradient."""

    def __init__(self, lesson: Lesson[nn.Module], trained: nn.Module) -> None:
        super().__init__()
        self.lesson, self.trained = lesson, trained

    def forward(self, batch: Batch) -> Tensor:
        return self.lesson.loss(self.trained, batch)


def _backward(
    loss_of: nn.Module, batch: Batch, rows: int, step: int, seed: int, accelerator: Accelerator, scaler: GradScaler
) -> Tensor | None:
    """Add the scaled gradient of the weighted mean loss of a batch to that of the weights, `rows` examples at a time.

    Returns:
        The losses, `(B,)`, not weighted; None if memory ran out.
    """
    losses, parts = [], list(batch.parts(rows))
    try:
        with _seeded(seed, step, accelerator):
            for part in parts:
                with nullcontext() if part is parts[-1] else accelerator.no_sync(loss_of):
                    loss = loss_of(part)
                    weighted = (loss * part.times.weight.to(loss)).sum() / len(batch.x)
                    accelerator.backward(scaler.scale(weighted))
                losses.append(loss.detach())
    except torch.OutOfMemoryError:
        return None  # from here, where nothing refers to the tensors of the attempt any more
    return torch.cat(losses)


def _overflowed(done: Step, scaler: GradScaler) -> bool:
    """Whether a gradient that is not finite may come of a scale that is too large and is about to be halved."""
    return math.isfinite(done.loss) and scaler.is_enabled() and scaler.get_scale() > 1


def _halved(rows: int, step: int, accelerator: Accelerator) -> int:
    """How many examples to take at a time after memory did not suffice for `rows`."""
    if rows == 1 or accelerator.num_processes > 1:  # the other processes do not know that memory ran out here
        got = f"{rows}, and no memory for it at step {step}"
        raise ConfigError("train.micro_batch_size", got, "a smaller one, or a smaller network")
    warnings.warn(f"out of memory at step {step}: training continues with {rows // 2} examples at a time", stacklevel=2)
    return rows // 2


@contextmanager
def _seeded(seed: int, step: int, accelerator: Accelerator) -> Iterator[None]:
    """Seed torch's own generators, which dropout uses, for the share of one process in a step."""
    device = accelerator.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derived_seed(seed, Purpose.DROPOUT, step, accelerator.process_index))
        yield


def _update_weights(state: TrainState, rate: float) -> None:
    """Take a step of the optimizer at a rate, and move the averages towards the new weights."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.scaler.step(state.optimizer)
    state.averages.follow(state.trained, state.step + 1 - state.stage.first)


def _divergence(done: Step, indices: Array) -> NonFiniteError:
    """The error that ends training, after a step whose losses of the examples at `indices` were not finite."""
    numbers = f"loss {done.loss:g}, gradient norm {done.grad_norm:g}"
    got = f"{numbers}, {PATIENCE} times in a row (examples {indices[:8].tolist()})"
    return NonFiniteError(f"step {done.step}", got, "finite numbers; try a lower train.learning_rate")


@torch.no_grad()
def held_out_losses(config: ResolvedTrainConfig, state: TrainState, fresh: Proposal, held_out: Examples) -> list[float]:
    """The loss of every average of the weights on at most 256 held-out examples, at times and noise that never change:
    those that a `fresh` proposal makes."""
    random, positions = generator(config.seed, Purpose.MONITOR), np.arange(min(len(held_out), _MONITORED))
    lesson, averages = state.stage.lesson, state.averages.modules
    x, condition = with_present(held_out.take(positions), held_out.conditions(positions))
    times, noise = lesson.draw(averages[0], fresh, tuple(x.shape), random)
    batch = Batch(held_out.indices[positions], x, times, noise, condition, times)

    def loss(average: nn.Module) -> float:
        losses = [lesson.loss(average, part.to(state.device)).cpu() for part in batch.parts(64)]
        return float((torch.cat(losses) * times.weight).mean())

    return [loss(average) for average in averages]


@dataclass(frozen=True)
class Share:
    """What one process takes of the data in a step.

    Args:
        rows: which examples of the global batch.
        indices: where they lie in the data set.
        x: the examples, in model units, `(B, *event)`.
        condition: their conditions, by name; some are hidden.
    """

    rows: slice
    indices: Array
    x: Tensor
    condition: dict[str, Tensor]


def read_share(examples: Examples, config: ResolvedTrainConfig, accelerator: Accelerator, step: int) -> Share:
    """What this process takes of the data in the next step after `step` of them: a function of the seed and the step,
    and of nothing that a step changes."""
    share = config.batch_size // accelerator.num_processes
    rows = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    positions = order(config.seed, step, config.batch_size, len(examples))[rows]
    hidden = hidden_conditions(config, step)[rows]
    condition = {name: hide(value, hidden) for name, value in examples.conditions(positions).items()}
    values = examples.transform.lattice
    lattice = values if isinstance(values, Lattice) else None
    x, seen = augmented(examples.take(positions), lattice, config, step, rows)
    x, condition = with_present(x, condition | seen)
    return Share(rows, examples.indices[positions], x.pin_memory() if _is_gpu(accelerator) else x, condition)


def _is_gpu(accelerator: Accelerator) -> bool:
    """Whether data goes to a GPU, which fetches it from pinned memory while it computes."""
    return accelerator.device.type == "cuda"


def draw_batch(
    state: TrainState,
    examples: Examples,
    config: ResolvedTrainConfig,
    accelerator: Accelerator,
    share: Share | None = None,
) -> Batch:
    """The batch of the next step: a pure function of the seed, the step, the data, the proposal and what is trained.

    Args:
        state: the state before the step.
        examples: the examples to train on.
        config: the options.
        accelerator: this process and its device.
        share: what `read_share` returns for the step; by default it is read now.
    """
    mine = share or read_share(examples, config, accelerator, state.step)
    shape = (config.batch_size, *examples.transform.spec.shape)
    random = generator(config.seed, Purpose.TRAIN, state.step)
    times, noise = state.stage.lesson.draw(state.trained, state.proposal, shape, random)
    own_times, own_noise = Times(times.t[mine.rows], times.weight[mine.rows]), tuple(each[mine.rows] for each in noise)
    batch = Batch(mine.indices, mine.x, own_times, own_noise, mine.condition, times)
    return batch.to(accelerator.device)


def hidden_conditions(config: ResolvedTrainConfig, step: int) -> Tensor:
    """For which examples of a step's global batch the condition is hidden, bool `(B,)`."""
    random = generator(config.seed, Purpose.CONDITION, step)
    return torch.rand(config.batch_size, generator=random) < (config.condition_dropout or 0.0)


def order(seed: int, step: int, count: int, examples: int) -> Array:
    """Which examples a step takes: `count` places of an endless row of epochs, each in an order of its own."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_epoch(seed, int(place // examples), examples)[place % examples] for place in places])


@lru_cache(maxsize=2)
def _epoch(seed: int, epoch: int, examples: int) -> Array:
    return np.random.default_rng(derived_seed(seed, Purpose.ORDER, epoch)).permutation(examples)


def learning_rate(config: ResolvedTrainConfig, step: int, steps: int) -> float:
    """The learning rate after `step` of the `steps` of a stage: it rises linearly over the warm-up, and falls linearly
    to zero at the last step."""
    rise = min((step + 1) / max(config.warmup, 1), 1.0)
    return config.learning_rate * rise * (1 - step / steps)
