"""Autoencoders and diffusion of their latents, from the command line to samples and evaluation."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import STEPS, at_step, digests, hooked, newest, run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.core.config import AutoencoderConfig, NetworkConfig, ProcessConfig
from inkwash.core.errors import RunInterrupted
from inkwash.model import VAE, LatentDiffusion
from inkwash.training.fit import fit
from inkwash.training.prepare import prepare
from inkwash.training.run import Run

FIRST = 5
"""Steps of the first of two stages."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Blurred images of two channels, with labels."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    x = random.normal(size=(100, 2, 1, 1)) + 0.3 * random.normal(size=(100, 2, 4, 4))
    np.savez(folder / "images.npz", x_train=x.astype(np.float32), y_train=np.arange(100) % 2)
    return folder / "images.npz"


def options(source, model, **autoencoder):
    """The smallest options of a model of some family."""
    found = tiny(source, monitor_every=4)
    sections = AutoencoderConfig(channels=3, width=8, **autoencoder)
    if model == "vae":
        return replace(found, model=model, autoencoder=sections, process=ProcessConfig(), network=NetworkConfig())
    return replace(found, model=model, autoencoder=sections)


KINDS = {
    "vae": {"model": "vae"},
    "two-stage": {"model": "latent", "steps": FIRST},
    "joint": {"model": "latent", "stages": "joint"},
}


@pytest.fixture(scope="module", params=KINDS)
def run(request, images, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        return fit(options(images, **KINDS[request.param]), tmp_path_factory.mktemp("families") / request.param)


@pytest.mark.usefixtures("quick")
@pytest.mark.quick_cases("two-stage")
def test_a_run_stopped_after_every_step_ends_as_if_never_stopped(run, images, tmp_path):
    """Also where one stage of training ends and the next begins."""
    config, cut = options(images, **KINDS[run.path.name]), tmp_path / run.path.name
    for step in range(1, STEPS):
        with hooked(at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
            fit(config, cut)
        assert newest(cut).name == f"step-{step:09d}"
    fit(config, cut)
    assert digests(cut) == digests(run.path)
    losses = [[line["loss"] for line in each.metrics()] for each in (Run(cut), run)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == STEPS


@pytest.mark.quick_cases("two-stage", "vae")
def test_a_model_is_of_its_family(run):
    model, config = run.model(), run.header().config
    assert isinstance(model, VAE if config.model == "vae" else LatentDiffusion)
    x = model.sample(3, seed=0)
    assert (x.shape, x.dtype) == ((3, 2, 4, 4), np.float32)
    assert np.array_equal(model.sample(2, seed=0, first=1), x[1:])
    bound = model.bound(x)
    assert bound.total.isfinite().all()
    assert (bound.entropy is None) == (config.model == "vae")
    summary = json.loads((run.path / "summary.json").read_text())["held_out_bound"]
    parts = [summary[part] or 0.0 for part in ("prior", "diffusion", "reconstruction", "entropy")]
    assert summary["total"] == pytest.approx(sum(parts))


@pytest.mark.quick_cases("two-stage")
def test_a_run_is_sampled_evaluated_and_inspected(run, tmp_path, capsys):
    steps = [] if run.path.name == "vae" else ["--steps", 4]
    assert run_cli(["sample", run.path, "-n", 3, "--seed", 2, "--out", tmp_path / "drawn", *steps]) == 0
    drawn = np.load(tmp_path / "drawn" / "samples.npy")
    keywords = {} if run.path.name == "vae" else {"steps": 4}
    assert np.array_equal(drawn, run.model().sample(3, seed=2, **keywords))
    bound = [] if run.path.name == "vae" else ["--bound-steps", 5]
    assert run_cli(["evaluate", run.path, "--examples", 10, *steps, *bound]) == 0
    found = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    assert found["importance"]["effective_draws"] > 0
    assert "importance sampling" in (run.path / "evaluation" / "report.html").read_text()
    assert run_cli(["inspect", run.path]) == 0
    assert run_cli(["inpaint", run.path, 0, "--hide", "left", "-n", 2, "--out", tmp_path / "in", *steps]) == 0
    known = np.load(tmp_path / "in" / "draws.npy")[..., 2:]
    assert np.array_equal(known[0], known[1])
    assert run_cli(["interpolate", run.path, 0, 1, "-n", 3, "--out", tmp_path / "between"]) == 0
    capsys.readouterr()


REFUSED = [
    (["relatives", 0], "relatives: got a "),
    (["evaluate", "--imputed", 3], "imputed: got a "),
    (["sample", "--variance", "analytic"], ": got "),
    (["sample", "--sampler", "ddim", "--grid", "learned", "--steps", 3], ": got "),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
@pytest.mark.quick_cases("two-stage")
def test_what_a_family_lacks_is_refused_in_one_line(run, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli([words[0], run.path, *words[1:]]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert message in shown
    assert shown.count("\n") == 1


def test_a_vae_has_no_walk_to_take_options(images, tmp_path, capsys):
    fit(replace(options(images, "vae"), train=replace(tiny(images).train, steps=1)), tmp_path / "vae", report=False)
    for words in (["--sampler", "ddim"], ["--steps", "3"], ["--label", "1"], ["--clip", "True"], ["--guidance", "2"]):
        assert run_cli(["sample", tmp_path / "vae", "--out", tmp_path / "drawn", *words]) == 2
        assert capsys.readouterr().err.startswith(f"error: {words[0]}: got ")


def test_latents_are_standardised_once_and_stay_as_they_are(images):
    """Over the examples trained on, z of the encoder has mean 0 and variance 1 in each channel; and the second stage
    leaves encoder and decoder alone."""
    from accelerate import Accelerator

    from inkwash.training.loop import training
    from inkwash.training.state import start

    prepared = prepare(options(images, **KINDS["two-stage"]))
    state = start(prepared.config, prepared.examples, torch.device("cpu"))
    steps = training(state, prepared.examples, prepared.config.train, Accelerator(cpu=True))
    for _ in range(FIRST + 1):
        next(steps)
    kept = {name: value.clone() for name, value in state.trained.autoencoder.state_dict().items()}
    list(steps)
    for networks in (state.trained, state.average):
        assert all(torch.equal(value, kept[name]) for name, value in networks.autoencoder.state_dict().items())
    law = state.average.autoencoder.encoding(prepared.examples.take(np.arange(len(prepared.examples))).double())
    mean, square = law.mean.mean((0, 2, 3)), (law.mean**2 + law.var).mean((0, 2, 3))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)
    torch.testing.assert_close(square, torch.ones_like(square), atol=1e-6, rtol=0)


def test_labels_are_a_condition_of_the_latents(images, tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    config = replace(options(images, **KINDS["two-stage"]), data=iw.DataConfig(labels="y_train"))
    model = fit(config, tmp_path / "run").model()
    x = model.sample(2, seed=0, label=[0, 1], steps=3)
    z, other = (model.latents.sample(2, seed=0, label=label, steps=3) for label in ([0, 1], [1, 0]))
    assert not torch.equal(z, other)
    assert model.bound(x, label=[0, 1], steps=3).total.isfinite().all()
