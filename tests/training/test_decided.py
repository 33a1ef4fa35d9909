"""What a run decides of sampling, later commands may decide otherwise, option by option; what is measured is kept."""

import json
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from bugs import bug
from faults import newest, resealed, run_cli, tiny, tree, without_pictures

import inkwash as iw
from inkwash.core.config import DataConfig, DenoiserConfig, ProcessConfig, SamplingConfig
from inkwash.core.display import Display
from inkwash.data import pictures
from inkwash.process.variance import Analytic
from inkwash.training import build as building, decided as deciding, kept_variance as keeping, reporter
from inkwash.training.decided import decided
from inkwash.training.fit import fit
from inkwash.training.run import Run, load
from inkwash.training.sampling import merged

pytestmark = pytest.mark.usefixtures("quick")


def model_of(run, display=None, **options):
    return decided(run, SamplingConfig(**options), display or Display(shown=False))[0]


def draw(model, **options):
    return np.asarray(model.sample(3, seed=4, **options))


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Options of a run on levels, which are not predicted: its estimates are clipped."""
    folder = tmp_path_factory.mktemp("levels")
    np.save(folder / "levels.npy", np.random.default_rng(1).binomial(4, 0.3, size=(40, 3)).astype(np.uint8))
    config = replace(tiny(folder / "levels.npy"), data=DataConfig(levels=5))
    return replace(config, denoiser=DenoiserConfig(predicts="v", variance="large"))


@pytest.fixture(scope="module")
def levels_run(levels, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        return fit(levels, tmp_path_factory.mktemp("run") / "run").path


@pytest.fixture
def own(levels_run, tmp_path):
    return shutil.copytree(levels_run, tmp_path / "own")


# Options of the run, and of later commands

FEW = SamplingConfig(steps=3)
DDIM_OF_RUN = SamplingConfig(sampler="ddim", steps=4, eta=0.5, grid="karras", rho=3.0)


@bug("options of the run come first", deciding, "merged", lambda config, base: merged(base, config))
@bug("the run's options are forgotten", building, "step_options", lambda config: {})
def test_options_of_a_command_come_before_those_of_the_run(levels, tmp_path):
    run = fit(replace(levels, sampling=DDIM_OF_RUN), tmp_path / "run", report=False).path
    model, ddim, karras = load(run), iw.DDIM(0.5), iw.KarrasGrid(3.0)
    plain = iw.Diffusion(model.denoiser, model.shape, model.transform, model.steps)
    assert np.array_equal(draw(model), draw(plain, sampler=ddim, steps=4, grid=karras))
    for options, expected in (
        ({}, {"sampler": ddim, "steps": 4, "grid": karras}),
        ({"steps": 2}, {"sampler": ddim, "steps": 2, "grid": karras}),
        ({"eta": 0.0}, {"sampler": iw.DDIM(), "steps": 4, "grid": karras}),
        ({"sampler": "adams"}, {"sampler": iw.Adams(), "steps": 4, "grid": karras}),
        ({"grid": "angle"}, {"sampler": ddim, "steps": 4, "grid": iw.AngleGrid()}),
        ({"sampler": "ancestral", "grid": "uniform", "steps": 3}, {"sampler": iw.Ancestral(), "steps": 3}),
    ):
        assert np.array_equal(draw(model_of(run, **options)), draw(plain, **expected))


def test_every_option_is_merged():
    """An option that is passed comes first; an open one is that of the run, if its sampler and grid have it."""
    config = SamplingConfig(sampler="heun", steps=7, clip=False, s_noise=1.5)
    found = merged(config, replace(DDIM_OF_RUN, variance="small", clip=True))
    assert found == replace(config, grid="karras", rho=3.0, variance="small")
    for option in fields(SamplingConfig):
        assert getattr(merged(config, SamplingConfig()), option.name) == getattr(config, option.name)
        assert getattr(merged(SamplingConfig(), DDIM_OF_RUN), option.name) == getattr(DDIM_OF_RUN, option.name)


def test_what_a_run_decides_is_how_its_pictures_are_drawn(levels, tmp_path, monkeypatch):
    """Those on the way take 50 steps of DDIM unless the run decides otherwise."""
    monkeypatch.setattr(reporter, "_PREVIEW_STEPS", 5)
    for sampling, expected in (
        (SamplingConfig(), {"sampler": iw.DDIM(), "steps": 5}),
        (SamplingConfig(steps=3), {"sampler": iw.DDIM(), "steps": 3}),
        (SamplingConfig(sampler="heun", grid="angle"), {"sampler": iw.Heun(), "steps": 5, "grid": iw.AngleGrid()}),
        (SamplingConfig(variance="small", sampler="ancestral"), {"sampler": iw.Ancestral(), "steps": 5}),
    ):
        drawn, folder = [], tmp_path / str(len(list(tmp_path.iterdir())))
        monkeypatch.setattr(pictures, "save_samples", lambda path, spec, data, drawn=drawn: drawn.append(data))
        run = fit(replace(levels, sampling=sampling), folder).path
        expected_model = load(run).with_options(**expected)
        last = expected_model.sample(2048, seed=0)
        assert any(np.array_equal(each, last) for each in drawn)


def test_the_command_line_decides_it_for_the_run(levels_run, levels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", levels.source, "--out", "run", "--data.levels", 5, "--process.steps", 10]
    small = ["--network.width", 8, "--network.depth", 1, "--train.steps", 1, "--denoiser.predicts", "v"]
    walk = ["--sampling.sampler", "ddim", "--sampling.steps", 4, "--sampling.clip", "False"]
    assert run_cli([*words, *small, *walk]) == 0
    assert Run("run").header().config.sampling == SamplingConfig("ddim", 4, clip=False)
    assert run_cli(["sample", "run", "-n", 3, "--seed", 4]) == 0
    model = load("run")
    assert isinstance(model.denoiser, iw.Denoiser)
    assert np.array_equal(np.load("samples/samples.npy"), model.sample(3, seed=4, sampler=iw.DDIM(), steps=4))


@pytest.mark.parametrize(
    ("config", "message"),
    {
        SamplingConfig(
            eta=0.5
        ): "sampling.eta: got 0.5, need a sampler or grid that has this option: --sampling.sampler ddim or dpm-solver",
        SamplingConfig(sampler="adams", rho=2.0): "sampling.rho: got 2.0, need a sampler or grid",
        SamplingConfig(sampler="dpm-solver", order=4): "sampler.order: got 4, need an integer from 1 to 3",
        SamplingConfig(grid="learned"): "sampling.grid: got learned, need another one; after training",
        SamplingConfig(variance="learned"): "sampling.variance: got learned, need small, large or analytic; or a",
        SamplingConfig(variance="analytic"): "sampling.variance: got analytic, need a measured one",
    }.items(),
)
def test_options_that_a_run_cannot_have_are_refused_before_anything_is_written(levels, tmp_path, config, message):
    with pytest.raises(iw.ConfigError, match=message):
        fit(replace(levels, sampling=config), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    {
        SamplingConfig(variance="small"): "sampling.variance: got small, need none: the reverse step of a Bernoulli",
        SamplingConfig(clip=True): "sampling.clip: got a Bernoulli process, need a Gaussian process",
        SamplingConfig(sampler="ddim"): "sampling.sampler ddim: got a Bernoulli process, need a Gaussian process",
    }.items(),
)
def test_options_that_bits_cannot_have_are_refused(tmp_path, config, message):
    np.save(tmp_path / "bits.npy", np.random.default_rng(0).integers(0, 2, (40, 6)).astype(np.uint8))
    bits = replace(
        tiny(tmp_path / "bits.npy"), data=DataConfig(levels=2), process=ProcessConfig("cosine", 10, "bernoulli")
    )
    with pytest.raises(iw.ConfigError, match=message):
        fit(replace(bits, sampling=config), tmp_path / "run")


def test_clipping_real_numbers_is_refused(data, tmp_path, copy, capsys):
    with pytest.raises(iw.ConfigError, match=r"sampling\.clip: got True, need false, or data with levels"):
        fit(replace(tiny(data), sampling=SamplingConfig(clip=True)), tmp_path / "run")
    before = tree(copy)
    for words, message in {
        ("--clip", "True"): "clip: got True, need false, or data with levels",
        ("--variance", "free"): "variance: got free, need small, large or analytic; or a network that was trained",
        ("--eta", 0.5): "eta: got 0.5, need a sampler or grid that has this option",
        ("--rho", 5): "rho: got 5.0, need a sampler or grid that has this option: --grid karras",
    }.items():
        assert run_cli(["sample", copy, "--out", tmp_path / "drawn", *words]) == 2
        assert f"error: --{message}" in capsys.readouterr().err
    assert tree(copy) == before
    assert not (tmp_path / "drawn").exists()


# The variance and the clipping of a run


@pytest.mark.parametrize("options", [{"variance": "small"}, {"clip": False}, {"variance": "small", "clip": False}])
def test_variance_and_clipping_are_those_of_a_model_built_so(levels_run, options):
    model, given = load(levels_run), options.get("clip", True)
    inner = model.denoiser.denoiser
    built = iw.Denoiser(inner.network, inner.process, inner.predicts, options.get("variance", "large"), inner.sees)
    expected = model.with_denoiser(iw.Clipped(built) if given else built)
    found = model_of(levels_run, **options)
    x = Run(levels_run).dataset().data[:5]
    assert torch.equal(found.bound(x).total, expected.bound(x).total)
    assert np.array_equal(draw(found), draw(expected))
    assert not torch.equal(found.bound(x).total, model.bound(x).total)


def unclipped(run, model, display, *, clipped):
    return keeping.kept_variance(run, model.with_options(clip=False), display, clipped=clipped)


@bug("measured on estimates of another kind", deciding, "kept_variance", unclipped)
def test_a_variance_measured_later_is_that_of_training_for_it(levels, levels_run, tmp_path, own):
    """Weights do not depend on the variance of such a run, so the table that a run for it saves is the same."""
    options = replace(levels.denoiser, variance="analytic")
    trained = fit(replace(levels, denoiser=options), tmp_path / "run", report=False).path
    expected, found = load(trained), model_of(own, variance="analytic")
    table = expected.denoiser.denoiser.variance
    assert isinstance(table, Analytic)
    torch.testing.assert_close(found.denoiser.variance.log_error, table.log_error, rtol=1e-9, atol=1e-9)
    x = Run(own).dataset().data[:5]
    torch.testing.assert_close(found.bound(x).total, expected.bound(x).total, rtol=1e-6, atol=1e-6)
    assert model_of(trained, variance="analytic").denoiser.denoiser.variance.log_error.equal(table.log_error)
    assert not (trained / "variances").exists()
    assert not model_of(trained, clip=False).denoiser.variance.log_error.allclose(table.log_error)
    assert {path.name for path in (trained / "variances").iterdir()} == {"unclipped.json"}


def test_a_variance_is_measured_once(own, capsys, monkeypatch):
    first = model_of(own, Display(), variance="analytic").denoiser.variance
    assert "clipped.json (measured on 32 training examples for step-000000012)" in capsys.readouterr().out
    before = tree(own)
    monkeypatch.setattr(keeping, "_measure", lambda *parts: 1 / 0)
    again = model_of(own, Display(), variance="analytic").denoiser.variance
    assert "clipped.json (measured earlier for step-000000012)" in capsys.readouterr().out
    assert tree(own) == before
    assert again.log_error.equal(first.log_error)
    kept = json.loads((own / "variances" / "clipped.json").read_bytes())
    for damage in ({**kept, "more": 1}, {**kept, "error": kept["error"][1:]}, {**kept, "error": [-1.0] * 32}):
        (own / "variances" / "clipped.json").write_text(resealed(json.dumps(damage)))
        with pytest.raises(iw.CheckpointError, match=r"clipped\.json"):
            model_of(own, variance="analytic")
    (own / "variances" / "clipped.json").write_text(resealed(json.dumps({**kept, "fingerprint": "another"})))
    with pytest.raises(ZeroDivisionError):  # more training makes it stale: it would be measured again
        model_of(own, variance="analytic")


def test_a_checkpoint_by_itself_has_no_place_for_a_variance(own, capsys):
    assert run_cli(["sample", newest(own), "--variance", "analytic"]) == 4
    assert "need a run" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"variance": "small"}, {"variance": "analytic", "clip": False}])
def test_a_learned_grid_is_that_of_the_model_as_it_is_used(own, options):
    plain, found = model_of(own, **options), model_of(own, **options, grid="learned", steps=3)
    x = Run(own).dataset().data[Run(own).split()[0]]
    expected = iw.model.bound_costs(plain, x, seed=0).grid(3)
    assert torch.equal(found.plan().times, expected)
    model_of(own, grid="learned", steps=3)
    word = "-small" if options == {"variance": "small"} else "-analytic-unclipped"
    assert {path.name for path in (own / "grids").iterdir()} == {"bound-3.json", f"bound-3{word}.json"}


COMMANDS = ["relatives 0", "interpolate 0 1 --t 0.5", "sample", "impute"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_samples_the_model_as_decided(own, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    gaps = np.array([[np.nan, 1, 2], [0, np.nan, np.nan]])
    np.save("gaps.npy", gaps)
    name, *more = command.split()
    words = [name, own, *(["gaps.npy"] if name == "impute" else more), "--seed", 5, "--out", "out"]
    assert run_cli([*words, "--variance", "small", "--clip", "False", "--sampler", "ancestral", "--steps", 3]) == 0
    model, x = load(own).with_options(variance="small", clip=False, steps=3), Run(own).dataset().data
    a, b = x[Run(own).split()[1][:2]]
    expected = {
        "sample": lambda: model.sample(64, seed=5),
        "relatives": lambda: [model.relatives(a, t, 8, seed=5) for t in (0.2, 0.4, 0.6, 0.8)],
        "interpolate": lambda: model.interpolate(a, b, 9, t=0.5, seed=5),
        "impute": lambda: model.impute(gaps, 20, seed=5),
    }
    files = {"sample": "samples", "relatives": "relatives", "interpolate": "interpolation", "impute": "completed"}
    assert np.array_equal(np.load(f"out/{files[name]}.npy"), expected[name]())
