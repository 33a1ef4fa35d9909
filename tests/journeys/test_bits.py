"""Two-level data as bits, from the command line to samples and evaluation: Bernoulli diffusion of a run."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, tree, without_pictures
from oracles import Heartbeat
from PIL import Image

import inkwash as iw
from inkwash.core.errors import RunInterrupted
from inkwash.training.fit import fit
from inkwash.training.run import Run

BITS = ("--process.kind", "bernoulli")


def vectors():
    random = np.random.default_rng(0)
    return random.integers(0, 2, (60, 1)).astype(bool) ^ (random.random((60, 6)) < 0.2)


DATA = {
    "bool images": (np.repeat(vectors(), 5, 1).reshape(60, 5, 6), ()),
    "whole numbers": (vectors().astype(np.float32), ("--data.levels", 2, "--process.rate", 0.3)),
}


@pytest.fixture(scope="module", params=DATA)
def run(request, tmp_path_factory):
    data, options = DATA[request.param]
    folder = tmp_path_factory.mktemp("bits")
    np.save(folder / "data.npy", data)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        words = train_words(folder / "data.npy", folder / "run", *BITS, *options, "--train.monitor-every", 6)
        assert run_cli([*words, "--train.batch-size", 16]) == 0
    return Run(folder / "run")


def test_the_choices_are_stored(run):
    process = json.loads((run.path / "config.json").read_text())["process"]
    transform = run.header().transform
    assert (process["kind"], process["rate"]) == ("bernoulli", 0.5 if transform.spec.is_image else 0.3)
    assert transform.describe().endswith("(2 levels) → {0, 1}")
    assert transform.lattice == iw.Bernoulli.lattice


def test_samples_are_like_the_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["sample", run.path, "-n", 8]) == 0
    samples, data = np.load("samples/samples.npy"), run.dataset().data
    assert (samples.dtype, samples.shape) == (data.dtype, (8, *data.shape[1:]))
    assert np.array_equal(np.unique(samples), np.unique(data))
    with Image.open("samples/samples.png") as picture:
        assert len(np.unique(np.asarray(picture))) == 2
    assert np.array_equal(samples[:3], run.model().sample(3, seed=0))


@pytest.mark.quick_cases("whole numbers")
def test_evaluation_knows_bits(run, capsys):
    assert run_cli(["evaluate", run.path, "--examples", 10, "--bound-terms", 3, "--steps", 3]) == 0
    result = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    assert result["bound"]["held_out"]["unit"] == "bits/dim"
    assert result["log_density"] is None
    assert 0 <= result["memorisation"]["closer"] <= 1
    assert "two-sample" in capsys.readouterr().out


def test_inspection_says_what_the_process_is(run, capsys):
    assert run_cli(["inspect", run.path]) == 0
    printed = capsys.readouterr().out
    assert '"kind": "bernoulli"' in printed
    assert "→ {0, 1}" in printed


@pytest.mark.parametrize("forged", ["kind", "rate", "shift"])
def test_a_header_of_another_process_is_refused(run, tmp_path, forged):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    header = json.loads((newest(copy) / "header.json").read_bytes())
    if forged == "shift":
        header["transform"]["shift"] = [0.5 for _ in header["transform"]["shift"]]
    else:
        header["config"]["process"][forged] = {"kind": "gaussian", "rate": 1.0}[forged]
    for path in (copy / "checkpoints").iterdir():
        rewrite(path, {"header.json": json.dumps(header).encode()})
    with pytest.raises(iw.CheckpointError, match="a header that does not fit"):
        iw.load(copy)


def test_what_only_real_numbers_have_is_refused(run):
    model, x = run.model(), run.dataset().data[:4]
    refused = {
        "sampler DDIM": lambda: model.sample(2, sampler=iw.DDIM()),
        "sampler PredictorCorrector": lambda: model.sample(2, sampler=iw.PredictorCorrector()),
        "flow": lambda: model.log_prob(x),
        "continuous": lambda: model.bound(x, steps=math.inf),
        "score": lambda: model.score(model.to_model(x), 0.5),
    }
    for named, action in refused.items():
        with pytest.raises(iw.ConfigError, match=f"^{named}: got a Bernoulli process, need a Gaussian process"):
            action()
    for action in (lambda: model.encode(x), lambda: model.decode(model.to_model(x).double())):
        with pytest.raises(iw.ConfigError, match=r"^flow: got a Bernoulli process"):
            action()


@pytest.mark.parametrize(
    ("words", "otherwise"),
    [
        ("sample RUN --sampler ddim --out RUN/drawn", "--sampler ancestral"),
        ("evaluate RUN --bound-steps inf", "a number of steps"),
    ],
)
def test_commands_that_only_real_numbers_have_write_nothing(run, words, otherwise, capsys):
    before = tree(run.path)
    assert run_cli(words.replace("RUN", str(run.path)).split()) == 2
    need = f"need a Gaussian process, or {otherwise}"
    assert capsys.readouterr().err.endswith(f"got a Bernoulli process, {need}\n")
    assert tree(run.path) == before


def test_a_stopped_run_goes_on_bit_identically(tmp_path, quick):
    np.save(tmp_path / "data.npy", DATA["bool images"][0])
    config = tiny(tmp_path / "data.npy")
    config = replace(config, process=replace(config.process, kind="bernoulli"))
    stop = at_step(7, lambda: os.kill(os.getpid(), signal.SIGINT))
    with hooked(stop), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "stopped")
    assert digests(fit(config, tmp_path / "stopped").path) == digests(fit(config, tmp_path / "finished").path)


def test_a_short_training_on_heartbeats_comes_between_what_is_possible_and_independent_bits(tmp_path, quick):
    """In nats: the truth log 5, the best bound of 20 steps, the bound, half of the 20 h(1/5) of independent bits."""
    run = iw.train(
        "heartbeat",
        tmp_path / "run",
        process=iw.ProcessConfig("sohl-dickstein", 20, "bernoulli"),
        network=iw.NetworkConfig(width=64, depth=1),
        train=iw.TrainConfig(150, 64, 5e-3, warmup=10, ema=(0.1,), monitor_every=1000),
    )
    beat = Heartbeat(rate=0.5)
    bound = run.model().bound(np.tile(beat.beats.numpy().astype(np.uint8), (100, 1)))
    best = sum(beat.diffusion(20)) + beat.reconstruction(20)
    assert math.log(5) < best < float(bound.total.mean()) + 3 * float(bound.std_error)
    independent = -20 * (0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert float(bound.total.mean()) < independent / 2
    samples = torch.from_numpy(run.model().sample(100, seed=0)).double()
    whole = (samples[:, None] == beat.beats).all(2).any(1).double().mean()
    assert float(whole) > 0.1  # of independent bits, less than one in 1000 would be a heartbeat
