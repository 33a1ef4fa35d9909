"""A run stopped anywhere goes on as if nothing had happened, with other trainers and readers about."""

import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import (
    SAVE_EVERY,
    STEPS,
    Crash,
    at_step,
    count_operations,
    digests,
    fail_at,
    flip_bit,
    fork,
    hooked,
    newest,
    run_cli,
    tiny,
    train_words,
    tree,
    wait,
    wait_until,
)

import inkwash as iw
from inkwash.core.errors import RunInterrupted, StorageError
from inkwash.training import run as runs
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint
from inkwash.training.fit import fit
from inkwash.training.run import Run, load, read_header

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
pytestmark = pytest.mark.usefixtures("quick")


# Stopping and resuming


STOPS = [(number, step) for number in SIGNALS for step in (1, 2, 3, 7, 11)]
OFTEN = [(signal.SIGINT, 1), (signal.SIGTERM, 11)]


@pytest.mark.parametrize(
    ("number", "step"), [pytest.param(*stop, marks=() if stop in OFTEN else pytest.mark.slow) for stop in STOPS]
)
def test_a_signal_saves_and_the_same_command_resumes_bit_identically(data, finished_run, tmp_path, number, step):
    run = tmp_path / "run"
    with hooked(at_step(step, lambda: os.kill(os.getpid(), number))), pytest.raises(RunInterrupted) as caught:
        fit(tiny(data), run)
    assert caught.value.exit_code == SIGNALS[number]
    assert newest(run).name == f"step-{step:09d}"
    fit(tiny(data), run)
    assert digests(run) == digests(finished_run)


def test_a_run_stopped_after_every_step_ends_as_if_never_stopped(data, finished_run, tmp_path):
    run = tmp_path / "run"
    for step in range(1, STEPS):
        with hooked(at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
            fit(tiny(data), run)
        assert newest(run).name == f"step-{step:09d}"
    fit(tiny(data), run)
    assert digests(run) == digests(finished_run)
    assert [line["step"] for line in Run(run).metrics()] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in Run(run).metrics()] == [line["loss"] for line in Run(finished_run).metrics()]


def test_dropout_is_the_same_after_resuming(data, tmp_path):
    def dropping():
        config = tiny(data)
        return replace(config, network=replace(config.network, dropout=0.5))

    torch.manual_seed(0)
    fit(dropping(), tmp_path / "finished")
    torch.manual_seed(1)
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(dropping(), tmp_path / "cut")
    fit(dropping(), tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "finished")


@pytest.mark.filterwarnings("ignore:out of memory")
def test_a_run_short_of_memory_is_the_same_after_resuming_and_keeps_its_options(data, tmp_path, monkeypatch):
    original = iw.training.Regression.loss

    def loss(self, denoiser, x, *rest):
        if torch.is_grad_enabled() and len(x) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, denoiser, x, *rest)

    monkeypatch.setattr(iw.training.Regression, "loss", loss)
    fit(tiny(data), tmp_path / "finished")
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(tiny(data), tmp_path / "cut")
    run = fit(tiny(data), tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "finished")
    assert run.header().config.train.micro_batch_size == 8


def learning(data, tmp_path, kind):
    """Options of a run in which more than the weights is learned or measured."""
    if kind == "levels":
        np.save(tmp_path / "levels.npy", np.random.default_rng(1).binomial(4, 0.3, size=(40, 3)).astype(np.uint8))
        return replace(tiny(tmp_path / "levels.npy"), data=iw.DataConfig(levels=5))
    if kind == "analytic":
        return replace(tiny(data), denoiser=iw.DenoiserConfig(variance="analytic"))
    if kind == "schedule":
        return replace(tiny(data), process=iw.ProcessConfig("learned", 10))
    return replace(tiny(data, times="loss-history"), denoiser=iw.DenoiserConfig(variance="learned"))


@pytest.mark.parametrize("kind", ["levels", "analytic", "schedule", "learned"])
@pytest.mark.quick_cases("levels", "learned")
def test_what_is_learned_beside_the_weights_is_the_same_after_resuming(data, tmp_path, kind):
    config = learning(data, tmp_path, kind)
    fit(config, tmp_path / "finished")
    for step in (2, 5):  # counted from where the run stands: between checkpoints, and on one
        with hooked(at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
            fit(config, tmp_path / "cut")
    fit(config, tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "finished")
    lines = [[line["loss"] for line in Run(tmp_path / run).metrics()] for run in ("cut", "finished")]
    assert lines[0] == lines[1]
    groups = read_checkpoint(newest(tmp_path / "finished"), ("average", "proposal"))[1]
    changed = {
        "levels": lambda: (groups["proposal"]["square"] != 1).sum() > 16,
        "analytic": lambda: (groups["average"]["variance.log_error"].diff() != 0).all(),
        "schedule": lambda: groups["average"]["schedule.last"] != -5,
        "learned": lambda: groups["proposal"]["counts"].sum() == STEPS * 8,
    }
    assert changed[kind]()
    assert isinstance(load(tmp_path / "finished").sample(2, seed=0), np.ndarray)


def test_training_leaves_the_global_generators_alone(data, tmp_path):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fit(tiny(data), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def test_a_second_signal_leaves_at_once(data, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    def victim():
        with hooked(at_step(5, twice)):
            run_cli(train_words(data, tmp_path / "run"))

    began = time.monotonic()
    assert wait(fork(victim)) == 143
    assert time.monotonic() - began < 20
    assert newest(tmp_path / "run").name == "step-000000003"


def endless(data, run):
    """Train for longer than any test waits, saving often; exits as the command would."""
    sys.exit(run_cli(train_words(data, run, "--train.steps", 10**6, "--train.monitor-every", 10**6)))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_a_random_time_ends_within_five_seconds(data, tmp_path, number):
    run = tmp_path / "run"
    child = fork(lambda: endless(data, run), tmp_path / "log")
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    time.sleep(random.Random(number).uniform(0, 0.3))
    sent = time.monotonic()
    os.kill(child, number)
    assert wait(child) == SIGNALS[number]
    assert time.monotonic() - sent < 5
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert last.startswith("stopped at step ")
    assert last.endswith("and saved; the same command resumes")
    step = int(last.split()[3])
    assert newest(run).name == f"step-{step:09d}"
    assert read_header(run)[0].step == step


def long_words(data, run, kills):
    """The command of a run long enough for that many kills."""
    return train_words(data, run, "--train.steps", STEPS + 30 * kills)


def killed_at_random_times(data, run, kills, seed):
    """Train, killed again and again; how many kills struck while it ran."""
    chance, struck = random.Random(seed), 0
    words = long_words(data, run, kills)
    for _ in range(kills):
        before = len(Run(run).metrics())
        child = fork(lambda: sys.exit(run_cli(words)))
        target = before + chance.randrange(1, 12)
        wait_until(lambda target=target: len(Run(run).metrics()) >= target or finished(run), 30)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        struck += wait(child) == -signal.SIGKILL
        logged = max([line["step"] for line in Run(run).metrics()], default=0)
        assert read_header(run)[0].step >= logged - SAVE_EVERY
    assert run_cli(words) == 0
    return struck


def finished(run):
    return (run / "summary.json").exists()


def compare_after_kills(data, tmp_path, kills, seed):
    assert run_cli(long_words(data, tmp_path / "finished", kills)) == 0
    assert killed_at_random_times(data, tmp_path / "killed", kills, seed) == kills
    assert digests(tmp_path / "killed") == digests(tmp_path / "finished")


def test_kills_at_random_times_lose_at_most_one_interval_and_change_nothing(data, tmp_path):
    compare_after_kills(data, tmp_path, 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_twenty_kills_at_random_times_change_nothing(data, tmp_path, seed):
    compare_after_kills(data, tmp_path, 20, seed)


def test_a_crash_at_any_operation_is_resumed_from_bit_identically(data, finished_run, tmp_path):
    total = count_operations(lambda: fit(tiny(data), tmp_path / "probe"))
    for k in range(0, total, 23):
        run = tmp_path / f"{k}"
        with hooked(fail_at(k, Crash())), pytest.raises(Crash):
            fit(tiny(data), run)
        fit(tiny(data), run)
        assert digests(run) == digests(finished_run)


@pytest.mark.slow
def test_every_operation_may_fail(data, finished_run, tmp_path):
    total = count_operations(lambda: fit(tiny(data), tmp_path / "probe"))
    for k in range(total):
        for error, kind in ((Crash(), Crash), (OSError(28, "No space left on device"), StorageError)):
            run = tmp_path / f"{k}-{kind.__name__}"
            with hooked(fail_at(k, error)), pytest.raises(kind):
                fit(tiny(data), run)
            fit(tiny(data), run)
            assert digests(run) == digests(finished_run)


def test_the_finished_run_is_returned_untouched(data, copy):
    before = tree(copy)
    fit(tiny(data), copy)
    after = tree(copy)
    assert {k: v for k, v in after.items() if k != "metrics.jsonl"} == {
        k: v for k, v in before.items() if k != "metrics.jsonl"
    }
    assert [json.loads(v) for v in after["metrics.jsonl"].splitlines()] == Run(copy).metrics()


def test_a_damaged_newest_checkpoint_is_trained_again(data, finished_run, copy):
    flip_bit(newest(copy) / "optimizer.safetensors", 999)
    with pytest.warns(UserWarning, match=r"damaged optimizer\.safetensors.*using step-000000009 instead"):
        fit(tiny(data), copy)
    assert digests(copy) == digests(finished_run)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(copy)


def test_a_run_without_space_keeps_its_last_checkpoint(data, finished_run, tmp_path):
    run = tmp_path / "run"
    seen = []

    def full(operation, path):
        seen.append(path.name)
        if operation == "write" and any(".step-000000006.new" in part for part in path.parts):
            raise OSError(28, "No space left on device")

    with hooked(full):
        code = run_cli(train_words(data, run))
    assert code == 6
    assert read_header(run)[0].step == 3
    fit(tiny(data), run)
    assert digests(run) == digests(finished_run)


# Two trainers, and readers


def test_the_second_trainer_is_refused_and_the_first_unharmed(data, tmp_path, capsys):
    run = tmp_path / "run"
    child = fork(lambda: endless(data, run))
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    assert run_cli(train_words(data, run, "--train.steps", 10**6)) == 7
    assert capsys.readouterr().err == f"error: {run}: got a run that another trainer holds, need a free one\n"
    before = newest(run)
    wait_until(lambda: newest(run) > before)
    os.kill(child, signal.SIGTERM)
    assert wait(child) == 143
    read_header(run)


def test_loads_during_saves_never_fail_nor_warn(data, tmp_path):
    run = tmp_path / "run"
    child = fork(lambda: sys.exit(run_cli(train_words(data, run, "--train.steps", 10**6, "--train.save-every", 1))))
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    steps = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            while len(steps) < 100 or steps[-1] - steps[0] < 20:
                header, groups, _ = Run(run).restore()
                assert groups["weights"].keys() == groups["average"].keys()
                steps.append(header.step)
    finally:
        os.kill(child, signal.SIGKILL)
        wait(child)
    assert steps == sorted(steps)


def test_a_reader_overtaken_by_the_trainer_reads_the_newer_checkpoint(copy, monkeypatch):
    listed, moved = runs.list_checkpoints, []

    def overtaken(folder):
        found = listed(folder)
        if not moved:
            moved.append(shutil.move(found[0], found[0].with_name("step-000000099")))
            shutil.rmtree(found[1])
        return found

    monkeypatch.setattr(runs, "list_checkpoints", overtaken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(copy)[1].name == "step-000000099"
    assert moved
