"""The training loop: what a step takes, what it does, and what never gets through it."""

import math
from dataclasses import replace
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bugs import bug
from faults import tiny
from steps import copied, levels_examples, same

from inkwash.core import randomness
from inkwash.core.config import ProcessConfig
from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.data.transform import fit_transform
from inkwash.training import loop as loop
from inkwash.training.averages import exponent
from inkwash.training.examples import Examples
from inkwash.training.loop import PATIENCE, _halved, _seeded, draw_batch, training
from inkwash.training.objective import Regression
from inkwash.training.resolve import resolve
from inkwash.training.state import start


class Poisoned(Regression):
    """An objective whose losses are spoilt at some of its calls, counted from 1."""

    def __init__(self, calls, value=math.nan, rows=slice(None)):
        super().__init__()
        self.calls, self.value, self.rows, self.count = set(calls), value, rows, 0

    def loss(self, *given, **named):
        losses = super().loss(*given, **named)
        self.count += 1
        if self.count in self.calls:
            spoilt = torch.zeros_like(losses)
            spoilt[self.rows] = self.value
            losses = losses + spoilt
        return losses


class SteepObjective(Regression):
    """An objective whose loss is finite but whose gradient is not, at one call."""

    def __init__(self, call):
        super().__init__()
        self.call, self.count = call, 0

    def loss(self, *given, **named):
        losses = super().loss(*given, **named)
        self.count += 1
        return losses if self.count != self.call else losses + (losses - losses.detach()).sqrt()


class Scarce(Regression):
    """An objective for which memory runs out at some of its calls, given their number, from 1, and their examples."""

    def __init__(self, runs_out):
        super().__init__()
        self.runs_out, self.count = runs_out, 0

    def loss(self, denoiser, x, t, noise, present):
        self.count += 1
        if self.runs_out(self.count, len(x)):
            raise torch.OutOfMemoryError("out of memory")
        return super().loss(denoiser, x, t, noise)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rows", [slice(None), 3])
def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(trainer, value, rows):
    state, steps, *_ = trainer(Poisoned({3, 5, 6}, value, rows), steps=8)
    before = copied(state)
    for done in steps:
        if done.step in (3, 5, 6):
            assert not done.finite
            assert same(copied(state), before)
        else:
            assert done.finite
            assert done.step == 1 or not same(copied(state), before)
        before = copied(state)
        assert all(tensor.isfinite().all() for tensor in before.values())
    assert (state.step, state.skipped) == (8, 3)


def test_a_gradient_that_is_not_finite_changes_nothing(trainer):
    state, steps, *_ = trainer(SteepObjective(4), steps=6)
    before = copied(state)
    for done in steps:
        if done.step == 4:
            assert math.isfinite(done.loss)
            assert not math.isfinite(done.grad_norm)
            assert same(copied(state), before)
        before = copied(state)
        assert all(tensor.isfinite().all() for tensor in before.values())
    assert state.skipped == 1


def test_a_skipped_step_leaves_no_gradient_behind(trainer):
    state, steps, *_ = trainer(SteepObjective(2), steps=4)
    for _ in steps:
        assert all(p.grad is None or not p.grad.any() for p in state.trained.parameters())


@pytest.mark.parametrize("rows", [slice(None), [1, 5]])
def test_training_halts_after_five_in_a_row_naming_step_and_examples(trainer, rows):
    calls = {1, 2, 3, 4, 6, *range(8, 99)}
    state, steps, config, examples = trainer(Poisoned(calls, rows=rows), steps=50)
    for done in steps:
        before = copied(state)
        if done.step == 11:
            break
    with pytest.raises(NonFiniteError) as caught:
        next(steps)
    assert caught.value.exit_code == 5
    assert same(copied(state), before)
    batch = draw_batch(replace(state, step=11), examples, config.train, Accelerator(cpu=True)).indices
    assert str(caught.value).startswith("step 12: got loss nan")
    assert f"(examples {batch[rows].tolist()})" in str(caught.value)
    assert PATIENCE == 5


def test_a_spoilt_weight_never_looks_like_training(trainer):
    state, steps, *_ = trainer(steps=50)
    next(steps)
    next(iter(state.trained.parameters())).data.view(-1)[0] = math.nan
    average = {name: tensor.clone() for name, tensor in state.average.state_dict().items()}
    with pytest.raises(NonFiniteError, match=r"^step 6: "):
        list(steps)
    assert same(average, state.average.state_dict())


def test_a_spoilt_example_is_named(loaded, trainer):
    spoilt = loaded.data.copy()
    spoilt[17] = np.inf
    _, _, config, examples = trainer(steps=1000, batch_size=40)
    broken = Examples(spoilt, examples.indices, examples.transform)
    state = start(config, examples, torch.device("cpu"))
    with pytest.raises(NonFiniteError, match=r"\(examples \[17\]\)"):
        list(training(state, broken, config.train, Accelerator(cpu=True)))


# What a step takes


READ = (*map(attrgetter, ("x", "times.t", "times.weight")), lambda batch: batch.noise[0])


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_processes_share_out_the_same_batch(trainer, processes):
    state, _, config, examples = trainer()

    def batch(index, of):
        place = SimpleNamespace(process_index=index, num_processes=of, device=torch.device("cpu"))
        return draw_batch(replace(state, step=5), examples, config.train, place)

    whole, shares = batch(0, 1), [batch(i, processes) for i in range(processes)]
    assert np.array_equal(whole.indices, np.concatenate([share.indices for share in shares]))
    for read in READ:
        assert torch.equal(read(whole), torch.cat([read(share) for share in shares]))
        assert all(torch.equal(share.all_times.t, whole.times.t) for share in shares)


def test_a_batch_moves_to_a_device_with_all_that_belongs_to_its_examples(trainer):
    state, _, config, examples = trainer()
    batch = draw_batch(state, examples, config.train, Accelerator(cpu=True))
    batch = replace(batch, condition={"label": torch.ones(8), "present": torch.ones(8, 2, dtype=torch.bool)})
    moved = batch.to(torch.device("meta"))
    tensors = [moved.x, *moved.noise, moved.times.t, moved.times.weight, *moved.condition.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.all_times is batch.all_times


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
def test_the_parts_of_a_batch_are_the_batch(trainer, rows):
    state, _, config, examples = trainer()
    batch = draw_batch(state, examples, config.train, Accelerator(cpu=True))
    batch = replace(batch, condition={"label": torch.arange(8)})
    parts = list(batch.parts(rows))
    assert max(len(part.x) for part in parts) == min(rows, 8)
    assert np.array_equal(np.concatenate([part.indices for part in parts]), batch.indices)
    for read in (*READ, lambda part: part.condition["label"]):
        assert torch.equal(torch.cat([read(part) for part in parts]), read(batch))


def test_steps_take_different_times_and_noise(trainer):
    state, _, config, examples = trainer()
    here = Accelerator(cpu=True)
    batches = [draw_batch(replace(state, step=step), examples, config.train, here) for step in range(3)]
    assert len({float(batch.noise[0].sum()) for batch in batches}) == 3
    assert len({float(batch.times.t.sum()) for batch in batches}) == 3


def test_no_two_steps_share_numbers(trainer, monkeypatch):
    """Times and noise, hidden labels and dropout: each step has a key of its own for each."""
    _, steps, *_ = trainer(steps=3)
    asked = []
    for module in (randomness, loop):
        noted = lambda *key: (asked.append(key), derived_seed(*key))[1]  # noqa: E731
        monkeypatch.setattr(module, "derived_seed", noted)
    list(steps)
    keys = [key for key in asked if key[1] != Purpose.ORDER]
    assert len(keys) == len(set(keys)) == 9


def test_dropout_differs_by_step_and_process_and_leaves_the_global_generator_alone():
    def drawn(step, process):
        with _seeded(0, step, SimpleNamespace(device=torch.device("cpu"), process_index=process)):
            return float(torch.rand(()))

    before = torch.get_rng_state()
    assert len({drawn(step, process) for step in range(3) for process in range(2)}) == 6
    assert torch.equal(torch.get_rng_state(), before)


# What a step does


def test_the_average_is_the_average_of_the_weights(trainer):
    """The widest average, whose exponent is near 0, is nearly the plain mean of the weights after each step."""
    state, steps, *_ = trainer(steps=30, ema=(0.28,))
    name = next(iter(state.trained.state_dict()))
    after = [state.trained.state_dict()[name].double().clone() for _ in steps]
    share = exponent(0.28)
    weights = np.array([t ** (share + 1) - (t - 1) ** (share + 1) for t in range(1, 31)])
    expected = sum(w * tensor for w, tensor in zip(weights / weights.sum(), after, strict=True))
    assert torch.allclose(state.average.state_dict()[name].double(), expected, rtol=1e-2, atol=1e-4)


def test_no_average_is_the_weights(trainer):
    state, steps, *_ = trainer(steps=3, ema=(0.0,))
    list(steps)
    assert same(dict(state.average.state_dict()), dict(state.trained.state_dict()))


def test_weight_decay_takes_its_share_of_the_network_alone():
    """From the same gradient: a step shrinks the parameters of the network by rate times decay, the schedule's not."""
    config = replace(tiny("x", learning_rate=0.01), process=ProcessConfig("learned", 10))
    state = start(resolve(config, levels_examples().transform.spec), levels_examples(), torch.device("cpu"))
    before = {f"weights/{name}": p.detach().clone() for name, p in state.trained.named_parameters()}
    (free, done), (decayed, _) = (
        one_step(levels_examples(), replace(config, train=replace(config.train, weight_decay=decay)))
        for decay in (0.0, 0.5)
    )
    for name, start_value in before.items():
        share = 0.0 if "schedule." in name else 0.5 * done.learning_rate
        torch.testing.assert_close(free[name] - decayed[name], share * start_value, rtol=1e-3, atol=1e-7)


@pytest.mark.slow
def test_training_lowers_the_loss(trainer):
    _, steps, *_ = trainer(steps=400, batch_size=32, learning_rate=1e-2, predicts="eps")
    losses = [done.loss for done in steps]
    assert np.mean(losses[-50:]) < 0.8 * np.mean(losses[:20])


def test_gradients_are_clipped_before_the_step(trainer):
    norms = []
    for clip in (1e-3, 1e3):
        state, steps, *_ = trainer(steps=1, clip_grad=clip)
        done = next(steps)
        first = [moment["exp_avg"] for moment in state.optimizer.state.values()]
        norms.append(torch.cat([moment.flatten() for moment in first]).norm().item() / (1 - 0.9))
        assert done.grad_norm > 1e-3
    assert norms[0] == pytest.approx(1e-3, rel=1e-2)
    assert norms[1] == pytest.approx(done.grad_norm, rel=1e-4)


def test_a_learned_schedule_moves_with_its_ends_and_its_shape(loaded):
    """Through the loop: the steps are finite and repeatable, the average follows, and log-SNR still falls."""
    config = replace(tiny(loaded.name, steps=12, learning_rate=0.05, ema=(0.1,)), process=ProcessConfig("learned", 100))
    config = resolve(config, loaded.spec)
    examples = Examples(loaded.data, np.arange(len(loaded.data)), fit_transform(loaded.spec, loaded.data))
    ended = []
    for _ in range(2):
        state = start(config, examples, torch.device("cpu"))
        before = copied(state)
        assert all(done.finite for done in training(state, examples, config.train, Accelerator(cpu=True)))
        ended.append(copied(state))
    assert same(*ended)
    moved = {name for name in before if "schedule." in name and not torch.equal(before[name], ended[0][name])}
    names = ("last", "log_range", "log_slopes", "biases", "log_heights")
    assert moved == {f"{group}/schedule.{name}" for group in ("weights", "average") for name in names}
    with torch.no_grad():
        assert bool((state.average.schedule.log_snr(torch.linspace(0, 1, 200)).diff() < 0).all())


@pytest.mark.slow
def test_a_weighted_loss_is_what_training_reports(trainer):
    """The mean of the losses times 1/p(t): at a learning rate of next to nothing, that of the objective's integral."""
    for times in ("uniform", "log-snr-density"):
        _, steps, *_ = trainer(objective="continuous", times=times, steps=300, batch_size=40, learning_rate=1e-9)
        losses = np.array([done.loss for done in steps])
        if times == "uniform":
            expected, error = losses.mean(), losses.std() / 300**0.5
    assert losses.mean() == pytest.approx(expected, abs=4 * (error + losses.std() / 300**0.5))


def test_a_proposal_learns_from_losses_without_their_weights(trainer, monkeypatch):
    state, steps, *_ = trainer(objective="continuous", times="log-snr-density", steps=3)
    noted = []
    monkeypatch.setattr(type(state.proposal), "learn", lambda self, times, losses, _: noted.append((times, losses)))
    for done in steps:
        times, losses = noted[-1]
        assert float((times.weight * losses).mean()) == pytest.approx(done.loss, rel=1e-6)
    assert len(noted) == 3


# A batch in parts


def one_step(examples, config):
    """What one step makes of a state, and what it says of itself."""
    config = resolve(config, examples.transform.spec)
    state = start(config, examples, torch.device("cpu"))
    done = next(training(state, examples, config.train, Accelerator(cpu=True)))
    return copied(state), done


def mean_of_the_means_of_parts(loss_of, batch, rows, step, seed, accelerator, scaler):
    parts = list(batch.parts(rows))
    losses = [loss_of(part) for part in parts]
    for loss, part in zip(losses, parts, strict=True):
        accelerator.backward((loss * part.times.weight.to(loss)).mean() / len(parts))
    return torch.cat(losses).detach()


@bug("mean of the means of parts", loop, "_backward", mean_of_the_means_of_parts, schedule="cosine", rows=3)
@pytest.mark.parametrize("schedule", ["cosine", "learned"])
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(schedule, rows):
    """Weighted times, parts of unequal size, a loss that takes a mean over its part: the same gradient of the whole."""
    config = replace(tiny("x", learning_rate=1e-3), process=ProcessConfig(schedule, 10))
    whole, done = one_step(levels_examples(), config)
    parts, again = one_step(levels_examples(), replace(config, train=replace(config.train, micro_batch_size=rows)))
    assert (again.loss, again.grad_norm) == pytest.approx((done.loss, done.grad_norm), rel=1e-4)
    for name in (name for name in whole if name.startswith("optimizer/exp_avg.")):
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("runs_out", "given", "left"),
    [
        (lambda call, size: size > 2, None, [4, 2]),
        (lambda call, size: call == 1, None, [4]),
        (lambda call, size: call == 2, 4, [2]),  # the gradient of the first part is there already
    ],
)
def test_out_of_memory_halves_the_part_and_ends_where_choosing_it_by_hand_does(trainer, runs_out, given, left):
    state, steps, *_ = trainer(Scarce(runs_out), steps=4, micro_batch_size=given)
    with pytest.warns(UserWarning, match="out of memory") as caught:
        assert all(done.finite for done in steps)
    words = "out of memory at step 1: training continues with {} examples at a time"
    assert [str(each.message) for each in caught] == [words.format(rows) for rows in left]
    by_hand, steps, *_ = trainer(Scarce(lambda call, size: False), steps=4, micro_batch_size=left[-1])
    list(steps)
    assert same(copied(state), copied(by_hand))


@pytest.mark.filterwarnings("ignore:out of memory")
def test_what_cannot_be_cut_is_refused(trainer):
    _, steps, *_ = trainer(Scarce(lambda call, size: True))
    with pytest.raises(ConfigError, match=r"^train\.micro_batch_size: got 1, and no memory for it at step 1"):
        next(steps)
    with pytest.raises(ConfigError, match=r"^train\.micro_batch_size: got 8, "):
        _halved(8, 1, SimpleNamespace(num_processes=2))
