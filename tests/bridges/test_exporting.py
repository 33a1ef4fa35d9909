"""Exported files return what the model does, in runtimes that know nothing of inkwash."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bugs import bug
from exportable import MODELS, STEPS, untrained, walked, write_data
from faults import run_cli, tiny

import inkwash as iw
from inkwash.bridges import exporting, portable, standalone
from inkwash.bridges.exporting import TARGETS, export
from inkwash.core.errors import ConfigError
from inkwash.training.fit import fit

COUNT = 2
DISCRETE = ("bits", "mixed", "categories")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exportable")
    write_data(folder)
    return folder


def exported(model, to, folder, **options):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="pip install 'inkwash[onnx]'")
        pytest.importorskip("onnxscript", reason="pip install 'inkwash[onnx]'")
    return export(model, to, folder / f"model{TARGETS[to].suffix}", **options)


def condition_of(model):
    """A condition for two examples, as arrays; nothing is given for the second."""
    condition = {}
    if model.condition.classes:
        condition["label"] = np.array([2, 0])
    if model.condition.given:
        values = np.random.default_rng(2).normal(size=(COUNT, *model.condition.given.spec.shape)).astype(np.float32)
        values[1] = np.nan
        condition["given"] = values
    return condition


@bug("noise comes with the scale of the signal", portable.Passed, "sigma", portable.Passed.alpha, name="mlp", to="onnx")
@pytest.mark.quick_cases("mlp")
@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", [name for name in MODELS if name not in DISCRETE])
def test_numpy_samples_with_an_exported_file_what_the_model_samples(name, to, home, tmp_path):
    model = untrained(home, name)
    done = exported(model, to, tmp_path)
    noise, condition = np.random.default_rng(1).normal(size=(COUNT, *model.shape)), condition_of(model)
    own, found = (
        walked(model, noise, **condition),
        standalone.sample(*standalone.load(done.files[0]), COUNT, STEPS, noise, **condition),
    )
    worst = np.abs(own - found).max()
    print(f"| {name} | {to} | {worst:.1e} | {done.difference:.1e} |")
    assert worst < 1e-4 * max(1, np.abs(own).max())
    assert np.abs(own).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_outputs_are_those_of_the_estimate(name, to, home, tmp_path):
    """At noisy data of every time, for one example and for more."""
    model = untrained(home, name)
    done = exported(model, to, tmp_path)
    denoise, about = standalone.load(done.files[0])
    for count in (1, 4):
        inputs = portable.example_inputs(model, count, seed=7)
        t = torch.linspace(1, model.steps, count).long() / model.steps
        outputs = dict(zip(about["outputs"], denoise(**{k: v.numpy() for k, v in inputs.items()}), strict=True))
        estimate = model.denoiser(inputs["x_t"], t)
        numbers, categories = getattr(estimate, "numbers", None), getattr(estimate, "categories", estimate)
        if name == "bits":
            assert np.allclose(outputs["log_odds"], estimate.logits, atol=1e-4)
        else:
            weights = categories.log_weights[:, categories.process.possible]
            assert np.allclose(outputs["log_weights"], weights, atol=1e-4)
        if numbers is not None:
            assert np.allclose(outputs["x"], numbers.x, atol=1e-4)
    with pytest.raises(ValueError, match="DDIM needs x and eps"):
        standalone.sample(denoise, about, 2, 10)


@pytest.mark.slow
@pytest.mark.parametrize("to", TARGETS)
def test_guidance_is_fixed_in_the_file(to, home, tmp_path):
    model = untrained(home, "levels, labels")
    done = exported(model, to, tmp_path, guidance=2.5)
    noise, label = np.random.default_rng(1).normal(size=(COUNT, *model.shape)), np.array([1, 3])
    found = standalone.sample(*standalone.load(done.files[0]), COUNT, STEPS, noise, label=label)
    assert np.abs(found - walked(model, noise, label=label, guidance=2.5)).max() < 1e-4
    assert np.abs(found - walked(model, noise, label=label)).max() > 1e-2
    none = walked(model, noise, label=0 * label, guidance=2.5)
    for without in ({}, {"label": 0 * label}, {"label": 0 * label - 1}):
        found = standalone.sample(*standalone.load(done.files[0]), COUNT, STEPS, noise, **without)
        assert np.abs(found - none).max() < 1e-4


@pytest.mark.filterwarnings("ignore:adapt")
@bug("-1 is the last class", portable, "class_number", lambda label: label, to="onnx")
@pytest.mark.parametrize("to", TARGETS)
def test_the_estimate_is_the_mean_of_the_class_and_minus_one_is_no_class(to, tmp_path):
    """Data at one point for each class, which the network knows; without a class it is at 0."""
    means = torch.tensor([[0.0, 0.0], [1.0, -1.0], [2.0, 3.0]])

    class Exact(torch.nn.Module):
        def forward(self, x_t, t, label=None):
            return (means[0] if label is None else torch.nn.functional.embedding(label, means)) + 0 * x_t

    model = iw.adapt(Exact(), iw.CosineSchedule(10), (2,), predicts="x", classes=("a", "b"))
    denoise, about = standalone.load(exported(model, to, tmp_path).files[0])
    row = {name: np.full(4, about["table"][name][5], np.float32) for name in ("alpha", "sigma", "level")}
    clean, _ = denoise(x_t=np.ones((4, 2), np.float32), **row, label=np.array([1, 2, 0, -1]))
    assert np.allclose(clean, means[[1, 2, 0, 0]])


def test_the_file_and_its_sampler_need_nothing_else(home, tmp_path):
    """A program without inkwash draws the model's levels, in data units; both files are copied elsewhere first."""
    model = untrained(home, "levels")
    done = export(model, "torch-export", tmp_path / "17-levels.pt2")
    for file in done.files:
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        file.rename(tmp_path / "elsewhere" / file.name)
    words = "from _17_levels_sampler import *; d, a = load('17-levels.pt2'); "
    words += "print(to_data(sample(d, a, 2, 10, seed=3), a).tolist())"
    barred = "import sys; sys.modules['inkwash'] = None; "
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", barred + words],
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        check=True,
    )
    noise = np.random.default_rng(3).standard_normal((2, *model.shape))
    own = model.transform.to_data(torch.from_numpy(walked(model, noise)))
    assert np.array_equal(model.transform.spec.to_channels_first(own), json.loads(done.stdout))


def test_the_page_shows_the_sampler_as_it_is():
    page = Path(__file__).parents[2] / "docs" / "models-for-elsewhere.md"
    assert f"```python\n{Path(standalone.__file__).read_text('utf-8')}```" in page.read_text("utf-8")


def test_an_onnx_file_is_in_order(home, tmp_path):
    """The checker of onnx says so; the number of examples is open, all is float32, and no weight lies elsewhere."""
    onnx = pytest.importorskip("onnx", reason="pip install 'inkwash[onnx]'")
    done = exported(untrained(home, "mlp"), "onnx", tmp_path)
    message = onnx.load(done.files[0], load_external_data=False)
    onnx.checker.check_model(message, full_check=True)
    assert {
        value.type.tensor_type.shape.dim[0].dim_param for value in (*message.graph.input, *message.graph.output)
    } == {"batch"}
    assert {value.type.tensor_type.elem_type for value in message.graph.input} == {onnx.TensorProto.FLOAT}
    assert not any(part.external_data for part in message.graph.initializer)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model_sampler.py"}


@pytest.fixture(scope="module")
def runs(home):
    for name, source, options in (("points", "vectors.npy", {}), ("latent", "pictures.npy", {"model": "latent"})):
        config = tiny(home / source, steps=2)
        fit(iw.Config(**{**vars(config), **options}), home / name)
    return home


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("points --to onnx --guidance 2", "error: --guidance: got 2"),
        ("points --to torch-export --out model.onnx", "error: --out: got model.onnx, need a file that ends in .pt2"),
        ("points --to diffusers --guidance 2", "error: --guidance: got 2.0, need none: the pipeline"),
        (
            "points --to diffusers --out points",
            "error: --out: got points, which is there, need an empty folder or a new",
        ),
        ("points --to diffusers --out .", "error: --out: got ., need the name of a folder, empty or new, which is not"),
        ("latent --to torch-export", "error: export: got a LatentDiffusion, need"),
        ("missing --to torch-export", "error: missing: got no such folder"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(words, line, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)
    assert run_cli(["export", *words.split()]) in (2, 4)
    assert line in (shown := capsys.readouterr().err)
    assert shown.count("\n") == 1


def test_a_missing_package_and_a_prediction_of_two_times_are_refused(home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"no package onnxscript, need pip install 'inkwash\[onnx\]'"):
        export(untrained(home, "mlp"), "onnx", tmp_path / "a.onnx")
    process = iw.Gaussian(iw.CosineSchedule(10))
    model = iw.Diffusion(iw.Denoiser(iw.MLP(2, 8, 1), process, iw.denoise.prediction.Mean(10)), (2,))
    with pytest.raises(ConfigError, match=r"denoiser\.predicts: got mean"):
        export(model, "torch-export", tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_parts_is_exported_as_it_is(tmp_path):
    """Two-dimensional normal data, whose exact denoiser is known, clipped."""
    schedule = iw.CosineSchedule(50)

    class Exact(torch.nn.Module):
        def forward(self, x_t, t):
            return x_t * torch.sqrt(torch.sigmoid(t))[:, None]

    denoiser = iw.Clipped(iw.Denoiser(Exact(), iw.Gaussian(schedule), "x", sees="log_snr"), -0.5, 0.5)
    done = export(iw.Diffusion(denoiser, (2,), steps=50), "torch-export", tmp_path / "normal.pt2")
    denoise, about = standalone.load(done.files[0])
    x_t = np.array([[0.3, -2.0]], np.float32)
    row = {name: np.array(about["table"][name][20:21], np.float32) for name in ("alpha", "sigma", "level")}
    clean, eps = denoise(x_t=x_t, **row)
    alpha, sigma = float(schedule.alpha(0.4)), float(schedule.sigma(0.4))
    known = np.clip(alpha * x_t, -0.5, 0.5)
    assert np.allclose(clean, known, atol=1e-6)
    assert np.allclose(eps, (x_t - alpha * known) / sigma, atol=1e-5)
    assert done.difference < 1e-6


def test_a_network_of_other_code_is_given_its_own_index(tmp_path):
    """Of 20 000 indices the last are beyond the largest log-SNR of a table; the network is exact for normal data."""
    schedule = iw.LinearSchedule(20000)
    var = torch.tensor([0.3, 2.0])

    class Exact(torch.nn.Module):
        def forward(self, x_t, index):
            alpha, sigma = (each[:, None] for each in self.scales(index))
            return sigma * x_t / (alpha**2 * var + sigma**2)

        def scales(self, index):
            steps = torch.linspace(0, 19999, 20000)
            near = torch.relu(1 - (index[:, None] - steps).abs())
            t = (steps.double() + 1) / 20000
            return near @ schedule.alpha(t).float(), near @ schedule.sigma(t).float()

    model = iw.adapt(Exact(), schedule, (2,), sees="timestep")
    denoise, about = standalone.load(export(model, "torch-export", tmp_path / "normal.pt2").files[0])
    noise = np.random.default_rng(1).normal(size=(COUNT, 2))
    assert np.allclose(standalone.sample(denoise, about, COUNT, STEPS, noise), walked(model, noise), atol=1e-4)
    assert about["table"]["level"][-1] == 19999
    for steps in (0, 20001):
        with pytest.raises(ValueError, match="need 1 to 20000"):
            standalone.sample(denoise, about, COUNT, steps, noise)


def test_a_network_that_cannot_be_traced_is_one_line(tmp_path, capfd):
    class Peeking(torch.nn.Module):
        def forward(self, x_t, t):
            return x_t if bool((t == 0).any()) else 2 * x_t

    model = iw.Diffusion(iw.Denoiser(Peeking(), iw.Gaussian(iw.CosineSchedule(10))), (2,))
    with pytest.raises(ConfigError, match=r"to: got torch-export, and a network that torch\.export refuses") as error:
        export(model, "torch-export", tmp_path / "a.pt2")
    assert "\n" not in str(error.value)
    assert str(error.value).partition(", need")[0].endswith(")")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_finite_must_be_the_same():
    own = torch.tensor([2.0, torch.inf, torch.nan])
    assert exporting._distance(own, own.clone()) == 0
    assert exporting._distance(own, torch.tensor([1.0, torch.inf, torch.nan])) == 0.5
    assert exporting._distance(own, torch.tensor([2.0, torch.inf, 0.0])) == torch.inf
    assert exporting._distance(own, torch.tensor([torch.nan, torch.inf, torch.nan])) == torch.inf
    assert exporting._distance(torch.zeros(1), torch.zeros(1)) == 0


def test_the_difference_is_that_of_another_file(home, tmp_path):
    """Against the file of other weights it is large."""
    model = untrained(home, "mlp")
    done = exported(model, "torch-export", tmp_path)
    other = untrained(home, "mlp")
    for parameter in other.denoiser.parameters():
        parameter.data *= 1.1
    assert done.difference < 1e-6
    assert exporting._difference(portable.Portable(other), other, done.files[0]) > 1e-2
