"""Training into a run: what is written, what is not, and how it ends when things go wrong."""

import json
import math
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import (
    GROUPS,
    STEPS,
    Crash,
    at_step,
    digests,
    hooked,
    newest,
    points,
    run_cli,
    tiny,
    train_words,
    without_pictures,
)
from PIL import Image

from inkwash.core.config import DataConfig, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.core.errors import ConfigError, NonFiniteError, RunInterrupted
from inkwash.core.options import to_json
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint
from inkwash.training.cost import Forecast
from inkwash.training.fit import fit, train
from inkwash.training.objective import Regression
from inkwash.training.run import load
from inkwash.training.state import TrainState


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return points(tmp_path_factory.mktemp("data") / "points.npy")


@pytest.fixture
def quick(monkeypatch):
    without_pictures(monkeypatch)


def without_a_trial(prepared, state, *given):
    return Forecast.unknown(prepared.config.train, state)


@pytest.fixture
def poison(monkeypatch):
    """A function that spoils the loss at some steps, counted from 1."""

    def spoil(steps, value=math.nan):
        original, count = Regression.loss, iter(range(1, 10**9))

        def loss(self, *given, **named):
            losses = original(self, *given, **named)
            return losses * value if torch.is_grad_enabled() and next(count) in steps else losses

        monkeypatch.setattr(Regression, "loss", loss)
        monkeypatch.setattr("inkwash.training.fit.announce_cost", without_a_trial)  # which evaluates losses as well

    return spoil


def tensors_of(run):
    """All tensors of all checkpoints of a run."""
    for path in list_checkpoints(run / "checkpoints"):
        for group in read_checkpoint(path, GROUPS)[1].values():
            yield from group.values()


# What is written


def test_a_run_holds_what_it_promises(data, tmp_path):
    run = fit(tiny(data, monitor_every=6), tmp_path / "run")
    assert run.path == tmp_path / "run"
    assert [path.name for path in list_checkpoints(run.checkpoints)] == ["step-000000012", "step-000000009"]
    for picture in ("samples.png", "curve.png", "samples/step-000000006.png", "samples/step-000000012.png"):
        with Image.open(run.path / picture) as image:
            image.verify()
    summary = json.loads((run.path / "summary.json").read_text())
    parts = summary["held_out_bound"]
    assert parts["total"] == pytest.approx(parts["prior"] + parts["diffusion"] + parts["reconstruction"], rel=1e-5)
    assert (parts["unit"], parts["examples"]) == ("nats", 8)
    header = run.header()
    assert (header.step, header.skipped, header.examples) == (STEPS, 0, 40)
    assert header.versions["torch"] == torch.__version__
    assert to_json(header.config) == json.loads((run.path / "config.json").read_text())


def test_the_stored_errors_are_those_of_the_model_that_is_loaded(tmp_path, quick):
    """An analytic variance is that of the denoiser that is sampled, which is clipped."""
    np.save(tmp_path / "levels.npy", np.random.default_rng(1).binomial(4, 0.3, size=(40, 3)).astype(np.uint8))
    config = replace(tiny(tmp_path / "levels.npy"), data=DataConfig(levels=5))
    run = fit(replace(config, denoiser=DenoiserConfig(predicts="eps", variance="analytic")), tmp_path / "run")
    model, x = load(run.path), run.dataset().data[run.split()[0]]
    again = [each.measured_variance(x, seed=config.train.seed) for each in (model, model.with_options(clip=False))]
    trained = model.denoiser.denoiser.variance
    torch.testing.assert_close(again[0].log_error, trained.log_error, rtol=1e-6, atol=1e-6)
    assert float((again[1].log_error - again[0].log_error).abs().max()) > 0.1


@pytest.mark.parametrize("options", [{"save_every": 1}, {"save_every": 100}, {"log_every": 7}, {"monitor_every": 2}])
def test_looking_and_saving_change_nothing(data, tmp_path, quick, options):
    fit(tiny(data), tmp_path / "a")
    fit(tiny(data, **options), tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_is_another_run(data, tmp_path, quick):
    for seed in (0, 1):
        fit(tiny(data, seed=seed), tmp_path / f"{seed}")
    assert digests(tmp_path / "0")["weights"] != digests(tmp_path / "1")["weights"]


def test_the_library_call_is_the_command(data, tmp_path, quick):
    options = TrainConfig(STEPS, 8, save_every=3, monitor_every=10**6, log_every=1)
    process, network = ProcessConfig("cosine", 10), NetworkConfig(width=8, depth=1, dropout=0.0)
    train(data, tmp_path / "a", process=process, network=network, train=options)
    assert run_cli(train_words(data, tmp_path / "b")) == 0
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_training_works_off_the_main_thread(data, tmp_path, quick):
    ends = []
    thread = threading.Thread(target=lambda: ends.append(fit(tiny(data), tmp_path / "run")))
    thread.start()
    thread.join()
    assert ends[0].header().step == STEPS


def test_signal_handlers_are_given_back(data, tmp_path, quick):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(tiny(data), tmp_path / "a")
    with hooked(at_step(2, lambda: os.kill(os.getpid(), signal.SIGTERM))), pytest.raises(RunInterrupted):
        fit(tiny(data), tmp_path / "b")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# Numbers that are not finite


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_few_bad_steps_are_skipped_counted_and_shown_as_null(data, tmp_path, quick, poison, value):
    poison({4, 5, 9}, value)
    run = fit(tiny(data), tmp_path / "run")
    assert run.header().skipped == 3
    assert [line["step"] for line in run.metrics() if line["loss"] is None] == [4, 5, 9]
    assert [line["skipped"] for line in run.metrics()] == [0, 0, 0, 1, 2, 2, 2, 2, 3, 3, 3, 3]
    assert all(bool(tensor.isfinite().all()) for tensor in tensors_of(run.path))
    assert b"NaN" not in run.metrics_file.read_bytes()


def test_skips_survive_a_stop(data, tmp_path, quick, poison):
    poison({2})
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(tiny(data), tmp_path / "run")
    assert fit(tiny(data), tmp_path / "run").header().skipped == 1


def test_five_bad_steps_end_in_exit_5_with_a_sound_checkpoint(data, tmp_path, poison, capsys):
    poison(set(range(8, 99)))
    assert run_cli(train_words(data, tmp_path / "run")) == 5
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("error: step 12: got loss nan")
    assert "5 times in a row (examples [" in err
    assert newest(tmp_path / "run").name == "step-000000009"
    assert all(bool(tensor.isfinite().all()) for tensor in tensors_of(tmp_path / "run"))
    assert np.isfinite(load(tmp_path / "run").sample(3, seed=0)).all()


def test_a_checkpoint_with_a_spoilt_weight_is_never_written(data, tmp_path, quick, monkeypatch):
    original = TrainState.tensors

    def spoilt(self):
        groups = original(self)
        if self.step == 6:
            next(iter(groups["average"].values())).view(-1)[0] = math.inf
        return groups

    monkeypatch.setattr(TrainState, "tensors", spoilt)
    with pytest.raises(NonFiniteError, match="step 6: "):
        fit(tiny(data), tmp_path / "run")
    assert [path.name for path in list_checkpoints(tmp_path / "run" / "checkpoints")] == [
        "step-000000003",
        "step-000000000",
    ]
    assert all(bool(tensor.isfinite().all()) for tensor in tensors_of(tmp_path / "run"))


def test_absurd_learning_rates_end_in_an_error_not_in_a_spoilt_run(data, tmp_path, quick):
    config = tiny(data, learning_rate=1e30, warmup=0, steps=40)
    with pytest.raises(NonFiniteError):
        fit(config, tmp_path / "run")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors_of(tmp_path / "run"))


# Places


def test_a_start_that_was_cut_before_the_first_checkpoint_can_be_repeated(data, tmp_path, quick):
    finished_run = fit(tiny(data), tmp_path / "finished").path
    for k in range(1, 30, 6):
        run, count = tmp_path / f"{k}", iter(range(10**6))

        def crash(operation, path, k=k, count=count):
            if next(count) == k:
                raise Crash

        with hooked(crash), pytest.raises(Crash):
            fit(tiny(data), run)
        assert fit(tiny(data), run).header().step == STEPS
        assert digests(run) == digests(finished_run)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "train.seed"),
        ({"steps": 13}, "train.steps"),
        ({"batch_size": 4}, "train.batch_size"),
        ({"save_every": 4}, "train.save_every"),
    ],
)
def test_a_run_does_not_go_on_with_other_options(data, tmp_path, quick, change, named):
    fit(tiny(data), tmp_path / "run")
    before = digests(tmp_path / "run")
    with pytest.raises(ConfigError, match=f"^{named}: got "):
        fit(tiny(data, **change), tmp_path / "run")
    assert digests(tmp_path / "run") == before


def test_digits_train_end_to_end(tmp_path):
    options = TrainConfig(2, 4)
    process, network = ProcessConfig("cosine", 10), NetworkConfig(width=8, depth=1)
    run = train("digits", tmp_path / "run", process=process, network=network, train=options)
    x = run.model().sample(3, seed=0, steps=5)
    assert (x.shape, x.dtype) == ((3, 1, 8, 8), np.uint8)
    assert x.max() <= 16
    assert run.header().transform.spec.levels == 17


def test_a_key_of_an_archive_is_part_of_the_run(tmp_path, quick):
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", a=random.normal(size=(20, 2)), b=random.normal(size=(20, 3)))
    run = train(
        tmp_path / "data.npz",
        tmp_path / "run",
        data=DataConfig(key="b"),
        process=ProcessConfig("cosine", 10),
        network=NetworkConfig(width=8, depth=1),
        train=TrainConfig(1, 4),
    )
    assert run.dataset().data.shape == (20, 3)
    assert run.model().sample(2, seed=0).shape == (2, 3)
