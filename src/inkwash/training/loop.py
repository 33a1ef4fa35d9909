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

from inkwash.core.config import ResolvedTrainConfig
from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.core.randomness import Purpose, derived_seed, generator
from inkwash.core.shapes import Array
from inkwash.data.condition import hide
from inkwash.training.examples import Examples, with_present
from inkwash.training.lesson import Batch, Lesson
from inkwash.training.shards import full, is_sharded
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

    Args:
        state: where to start from; it changes with each step.
        examples: the examples to train on.
        config: the options, all decided.
        accelerator: this process and its device.

    Raises:
        ConfigError: memory ran out, and the batch cannot be cut any further.
        NonFiniteError: `PATIENCE` steps in a row had a loss or gradient that is not finite.
    """
    for number, stage in enumerate(state.stages):
        if state.step < stage.last:
            if number != state.number:
                state.begin(number, examples)
            yield from _stage(state, examples, config, accelerator)


def _stage(
    state: TrainState, examples: Examples, config: ResolvedTrainConfig, accelerator: Accelerator
) -> Iterator[Step]:
    """The steps that are left of the stage that a state is in."""
    stage, trained = state.stage, state.trained
    loss_of = _Loss(stage.lesson, trained)
    loss_of = (loss_of if is_sharded(trained) else accelerator.prepare(loss_of)).train()
    failures, rows = 0, config.micro_batch_size
    while state.step < stage.last:
        rate = learning_rate(config, state.step - stage.first, stage.last - stage.first)
        batch = draw_batch(state, examples, config, accelerator)
        while (losses := _backward(loss_of, batch, rows, state.step, config.seed, accelerator)) is None:
            rows = _halved(rows, state.step + 1, accelerator)
            state.optimizer.zero_grad()
        norm = full(accelerator.clip_grad_norm_(trained.parameters(), config.clip_grad))
        all_losses = accelerator.gather(losses)
        loss = (all_losses * batch.all_times.weight.to(all_losses)).mean()
        done = Step(state.step + 1, float(loss), float(norm), rate)
        if done.finite:
            _update_weights(state, rate, config.ema)
            stage.lesson.learn(trained, state.proposal, batch.all_times, all_losses.cpu())
        failures = 0 if done.finite else failures + 1
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
    loss_of: nn.Module, batch: Batch, rows: int, step: int, seed: int, accelerator: Accelerator
) -> Tensor | None:
    """Add the gradient of the weighted mean loss of a batch to that of the weights, `rows` examples at a time.

    Returns:
        The losses, `(B,)`, not weighted; None if memory ran out.
    """
    losses, parts = [], list(batch.parts(rows))
    try:
        with _seeded(seed, step, accelerator):
            for part in parts:
                with nullcontext() if part is parts[-1] else accelerator.no_sync(loss_of):
                    loss = loss_of(part)
                    accelerator.backward((loss * part.times.weight.to(loss)).sum() / len(batch.x))
                losses.append(loss.detach())
    except torch.OutOfMemoryError:
        return None  # from here, where nothing refers to the tensors of the attempt any more
    return torch.cat(losses)


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


def _update_weights(state: TrainState, rate: float, decay: float) -> None:
    """Take a step of the optimizer, and move the average towards the new weights."""
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    age = state.step - state.stage.first
    decay = min(decay, (1 + age) / (10 + age))  # a young average soon forgets its random start
    with torch.no_grad():
        for slow, fast in zip(state.average.parameters(), state.trained.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)


def _divergence(done: Step, indices: Array) -> NonFiniteError:
    """The error that ends training, after a step whose losses of the examples at `indices` were not finite."""
    numbers = f"loss {done.loss:g}, gradient norm {done.grad_norm:g}"
    got = f"{numbers}, {PATIENCE} times in a row (examples {indices[:8].tolist()})"
    return NonFiniteError(f"step {done.step}", got, "finite numbers; try a lower train.learning_rate")


@torch.no_grad()
def held_out_loss(config: ResolvedTrainConfig, state: TrainState, fresh: Proposal, held_out: Examples) -> float:
    """The loss of the averaged weights on at most 256 held-out examples, at times and noise that never change: those
    that a `fresh` proposal makes."""
    random, positions = generator(config.seed, Purpose.MONITOR), np.arange(min(len(held_out), _MONITORED))
    lesson, average = state.stage.lesson, state.average
    x, condition = with_present(held_out.take(positions), held_out.conditions(positions))
    times, noise = lesson.draw(average, fresh, tuple(x.shape), random)
    batch = Batch(held_out.indices[positions], x, times, noise, condition, times)
    losses = [lesson.loss(average, part.to(state.device)).cpu() for part in batch.parts(64)]
    return float((torch.cat(losses) * times.weight).mean())


def draw_batch(state: TrainState, examples: Examples, config: ResolvedTrainConfig, accelerator: Accelerator) -> Batch:
    """The batch of the next step: a pure function of the seed, the step, the data, the proposal and what is trained."""
    count = config.batch_size
    positions = order(config.seed, state.step, count, len(examples))
    random, shape = generator(config.seed, Purpose.TRAIN, state.step), (count, *examples.transform.spec.shape)
    times, noise = state.stage.lesson.draw(state.trained, state.proposal, shape, random)
    share = count // accelerator.num_processes
    mine = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    hidden = hidden_conditions(config, state.step)[mine]
    condition = {name: hide(value, hidden) for name, value in examples.conditions(positions[mine]).items()}
    x, condition = with_present(examples.take(positions[mine]), condition)
    own_times, own_noise = Times(times.t[mine], times.weight[mine]), tuple(each[mine] for each in noise)
    batch = Batch(examples.indices[positions[mine]], x, own_times, own_noise, condition, times)
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
