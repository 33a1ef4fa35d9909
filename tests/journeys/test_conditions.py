"""Conditions in numbers and images, from closed forms to files, the command line and evaluation."""

import functools
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from answers import rows
from bugs import bug
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, without_pictures
from oracles import F64, GaussianData, Straight, tensor, trained
from straight import model_of, small_slots
from torch.nn import functional as F

import inkwash as iw
from inkwash import draw as drawing
from inkwash import evaluation, exhibits, nn
from inkwash import model as models
from inkwash import training as loop
from inkwash.build import build_model, resolve
from inkwash.data import fit_transform, load_dataset
from inkwash.display import Display
from inkwash.draw import draw_share
from inkwash.errors import RunInterrupted
from inkwash.fit import fit
from inkwash.metrics import two_sample_test
from inkwash.nn import unet
from inkwash.run import Run, load
from inkwash.training import Examples, draw_batch, start, training

SCHEDULE = Straight(9.0, -8.0)
MEAN, COV = (
    tensor([-1.0, 0.5, 3.0, -2.0]),
    tensor([[1.0, 0.3, 0.9, 0.2], [0.3, 0.6, 0.1, -0.7], [0.9, 0.1, 2.0, 0.4], [0.2, -0.7, 0.4, 1.5]]),
)
"""Of x, the first two, and what is given, the others: jointly normal."""
GAIN = torch.linalg.solve(COV[2:, 2:], COV[2:, :2]).T
WHOLE, LEFT = GaussianData(MEAN[:2].tolist(), COV[:2, :2].tolist()), COV[:2, :2] - GAIN @ COV[2:, :2]
UNITS = iw.Transform(iw.DataSpec((2,), "ND", "float32", -9.0, 9.0, None), (2.0, -1.0), (1.5, 0.4))
GIVEN = iw.Condition(given=UNITS)


def part(y):
    """The law of x given y."""
    return GaussianData((MEAN[:2] + GAIN @ (tensor(y) - MEAN[2:])).tolist(), LEFT.tolist())


def exact_network(x_t, t, given=None):
    alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
    if given is None:
        return WHOLE.denoise(x_t, alpha, sigma)
    y = given.double() * tensor(UNITS.scale) + tensor(UNITS.shift)
    away = (y - MEAN[2:]) @ GAIN.T
    return WHOLE_LESS.denoise(x_t - alpha * away, alpha, sigma) + away


WHOLE_LESS = GaussianData(MEAN[:2].tolist(), LEFT.tolist())


def exact_model():
    denoiser = iw.Denoiser(exact_network, iw.Gaussian(SCHEDULE), "x")
    return iw.Diffusion(denoiser, (2,), steps=30, dtype=F64, condition=GIVEN)


Y = np.array([[4.0, -3.0], [2.0, 0.5], [7.0, -6.0]])[[0, 1, 2, 2, 0, 1, 0]]


def values_as_they_are(self, given, count):
    return torch.from_numpy(given).float()


def labels_of_the_first_slot(slot, rows, count, first=0):
    return torch.arange(rows).clamp(max=count - 1)


@bug("given not standardised", iw.Condition, "values", values_as_they_are)
@bug("given of the first slot", models, "slot_places", labels_of_the_first_slot)
@small_slots()
def test_given_keep_their_examples():
    """What is asked under y is what the model of x given that y alone says, with the same noise; through the slots."""
    model, x = exact_model(), rows(5, n=7)
    for k in range(3):
        mine, alone = [i for i in range(7) if (Y[i] == Y[k]).all()], model_of(part(Y[k]))
        for ask in (
            lambda m, **given: m.bound(x, seed=3, terms=6, **given).total,
            lambda m, **given: m.log_prob(x, solver=iw.Fixed(4), **given).value,
            lambda m, **given: m.encode(x, solver=iw.Fixed(4), **given),
            lambda m, **given: m.decode(x, solver=iw.Fixed(4), **given),
            lambda m, **given: m.sample(7, seed=3, **given),
            lambda m, **given: m.sample_from(x, 0.6, seed=3, **given),
            lambda m, **given: m.score(x, 0.4, **given),
        ):
            assert torch.allclose(ask(model, given=Y)[mine], ask(alone)[mine], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("w", [0.4, 1.0, 2.5])
def test_guidance_is_a_power_of_what_the_condition_says(w):
    """The gradient of log p(x_t) + w log p(y | x_t), whose second term is the normal law of y given x_t."""
    x_t = rows(7, n=7).requires_grad_()
    alpha, sigma = SCHEDULE.alpha(0.75), SCHEDULE.sigma(0.75)
    var = alpha**2 * COV[:2, :2] + sigma**2 * torch.eye(2, dtype=F64)
    gain = torch.linalg.solve(var, alpha * COV[:2, 2:]).T
    seen = MEAN[2:] + (x_t - alpha * MEAN[:2]) @ gain.T
    law = torch.distributions.MultivariateNormal(seen, COV[2:, 2:] - gain @ (alpha * COV[:2, 2:]))
    (truth,) = torch.autograd.grad(
        (WHOLE.marginal(alpha, sigma).log_prob(x_t) + w * law.log_prob(tensor(Y))).sum(), x_t
    )
    assert torch.allclose(exact_model().score(x_t.detach(), 0.75, given=Y, guidance=w), truth, rtol=1e-5, atol=1e-5)


def test_without_a_condition_the_model_is_that_of_all_data():
    model = exact_model()
    assert torch.equal(model.sample(5, seed=3), model_of(WHOLE).sample(5, seed=3))
    assert torch.equal(model.sample(5, seed=3, given=Y[:5], guidance=0), model_of(WHOLE).sample(5, seed=3))


def test_a_condition_as_a_factor_goes_with_others():
    model, seen = exact_model(), iw.Observed(np.array([True, False]), np.array([0.3, 0.0]))
    alone = model * iw.Told(given=Y[0])
    assert torch.equal(alone.sample(5, seed=2), model.sample(5, seed=2, given=Y[0]))
    assert torch.equal(alone.sample(5, seed=2), model.sample(5, seed=2, given=np.repeat(Y[:1], 5, 0)))
    both, truth = (alone * seen).sample(9, seed=0), (model_of(part(Y[0])) * seen).sample(9, seed=0)
    assert torch.allclose(both, truth, atol=1e-5)


def test_one_given_serves_for_all_that_is_asked_of_one_example():
    model, a = exact_model(), rows(3, n=2)
    for draws in (model.relatives(a[0], 0.5, 4, seed=1, given=Y[0]), model.interpolate(*a, 4, t=0.5, given=Y[0])):
        assert draws.shape == (4, 2)
    assert torch.equal(
        model.relatives(a[0], 0.5, 4, seed=1, given=Y[:4])[0], model.relatives(a[0], 0.5, 1, seed=1, given=Y[0])[0]
    )


BOTH = iw.Condition(("left", "right"), UNITS)
BAD = {
    "another shape": (GIVEN, {"given": Y[:3, :1]}, r"given: got shape \(3, 1\), need shape \(2,\), one for all, or"),
    "too few": (GIVEN, {"given": Y[:2]}, r"given: got shape \(2, 2\), need .* or \(3, 2\), one for each of 3"),
    "not finite": (
        GIVEN,
        {"given": np.where(Y[:3] == 2, np.nan, Y[:3])},
        r"given\[1\]: got NaN or infinity, need finite",
    ),
    "text": (GIVEN, {"given": Y[:3].astype(str)}, "given: got values of type <U"),
    "no such condition": (iw.Condition(), {"given": Y[:3]}, "given: got values, need none: .* without given values"),
    "no labels": (GIVEN, {"label": "left"}, "label: got left, need none: .* without labels"),
    "one of two": (BOTH, {"given": Y[:3]}, "label: got nothing, need label and given together"),
    "the other": (BOTH, {"label": "left"}, "given: got nothing, need label and given together"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_given_is_refused(case):
    condition, options, message = BAD[case]
    model, x = iw.Diffusion(exact_model().denoiser, (2,), steps=3, dtype=F64, condition=condition), rows(0, n=3)
    for ask in (
        lambda **told: model.sample(3, **told),
        *(functools.partial(f, x) for f in (model.bound, model.encode)),
    ):
        with pytest.raises((iw.ConfigError, iw.DataError), match=f"^{message}"):
            ask(**options)


def test_a_likelihood_takes_no_guidance():
    with pytest.raises(TypeError, match="guidance"):
        exact_model().bound(rows(0), given=Y[0], guidance=2.0)


def test_levels_are_no_condition():
    spec = replace(UNITS.spec, low=0.0, high=4.0, levels=5)
    with pytest.raises(iw.ConfigError, match=r"condition.given: .* need real numbers"):
        iw.Condition(given=replace(UNITS, spec=spec)).check()


# Networks


def networks():
    """A network that takes vectors, and one that takes images, with what they may be given."""
    vector = iw.MLP(2, width=16, depth=2, condition={"given": lambda width: iw.GivenEmbedding(2, width)})
    image = iw.UNet(1, width=8, multipliers=(1,), blocks=1, attention=(False,), given=2)
    return (
        (trained(vector), rows(0).float(), (2,)),
        (trained(image), rows(0, size=16).float().view(6, 1, 4, 4), (2, 2, 2)),
    )


GIVEN_CHANNELS = unet.given_channels


def zeros_without_a_flag(given, channels, x_t):
    beside = GIVEN_CHANNELS(given, channels, x_t)
    return torch.cat([beside[:, :-1], torch.ones_like(beside[:, -1:])], dim=1)


def hidden_numbers_embedded(self, given):
    return self.layers(given.nan_to_num())


@bug("a hidden image as a black one", unet, "given_channels", zeros_without_a_flag)
@bug("hidden numbers embedded", iw.GivenEmbedding, "forward", hidden_numbers_embedded)
def test_nothing_is_not_zero():
    """Rows of NaN are to a network what leaving the condition out is; zeros, the mean of the data, are not."""
    for network, x_t, shape in networks():
        t, zeros = torch.zeros(6), torch.zeros(6, *shape)
        without, hidden, zero = network(x_t, t), network(x_t, t, given=zeros + torch.nan), network(x_t, t, given=zeros)
        assert torch.equal(without, hidden)
        assert not torch.allclose(without, zero, atol=1e-3)
        mixed = network(x_t, t, given=torch.cat([zeros[:3], zeros[3:] + torch.nan]))
        assert torch.allclose(mixed, torch.cat([zero[:3], without[3:]]), atol=1e-5)


def test_a_given_image_lies_where_its_pixels_are():
    """The Kronecker product with a block of ones puts each pixel over its block."""
    given = torch.arange(16.0).view(2, 2, 2, 2)
    beside = nn.layers.given_channels(given, 2, torch.zeros(2, 1, 4, 6))
    truth = torch.kron(given, torch.ones(1, 1, 2, 3))
    assert torch.equal(beside[:, :2], truth)
    assert torch.equal(beside[:, 2:], torch.ones(2, 1, 4, 6))


@small_slots()
def test_a_sample_depends_on_its_own_condition_alone():
    network, _, _ = networks()[0]
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), "v")
    model = iw.Diffusion(denoiser, (2,), steps=6, condition=GIVEN)
    few, many = (model.sample(n, seed=1, given=Y[:n], guidance=2.0) for n in (3, 7))
    others = model.sample(7, seed=1, given=[*Y[:3], *reversed(Y[3:])], guidance=2.0)
    assert torch.equal(few, many[:3])
    assert torch.equal(others[:3], many[:3])
    assert not torch.equal(others[3:], many[3:])


# Data


RANDOM = np.random.default_rng(4)
ANGLE = RANDOM.normal(3.0, 2.0, 100)
POINTS = np.stack([np.sin(ANGLE), 2 * ANGLE + 1], 1).astype(np.float32)
IMAGES = RANDOM.integers(0, 5, (100, 4, 6)).astype(np.uint8)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "data.npz"
    spoilt = ANGLE.copy()
    spoilt[17] = np.inf
    more = {
        "short": ANGLE[:-1],
        "spoilt": spoilt,
        "text": ANGLE.astype(str),
        "one": np.ones(100),
        "none": np.ones((100, 0)),
    }
    more |= {"image": IMAGES, "both": np.stack([ANGLE, ANGLE**2], 1), "things": ANGLE.astype(object)}
    np.savez(path, x_train=POINTS, angle=ANGLE, **more)
    return path


SPOILT = {
    "short": "condition short: got shape (99,), need numbers for each of 100 examples",
    "none": "condition none: got shape (100, 0)",
    "spoilt": "condition spoilt[17]: got inf, need finite numbers",
    "text": "condition text: got values of type <U",
    "one": "condition one, column 0: got the constant 1",
    "image": "condition image: got shape (100, 4, 6), need a number or vector for each vector",
    "things": "need a whole .npz file of numbers",
    "angel": "got 'angel', need the name of one of its arrays: x_train, angle",
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_condition_that_does_not_fit_is_refused_before_anything_is_written(npz, name, tmp_path, capsys):
    assert run_cli(train_words(npz, tmp_path / "run", "--data.condition", name)) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert SPOILT[name] in said
    assert not (tmp_path / "run").exists()


ELSEWHERE = {
    "train digits --data.condition y": (3, "data.condition: got 'y', need digit, as digits has"),
    "train diabetes --data.condition age,x": (3, "data.condition: got 'age,x', need age, sex, bmi"),
    "train DATA.npy --data.condition y": (3, "data.condition: got 'y', need the name of an .npy or IDX file beside"),
    "train digits --data.shrink 3": (3, "data.shrink: got 3, of a image 1x8x8"),
    "train wine --data.shrink 2": (3, "data.shrink: got 2, of a table row 13"),
    "train digits --data.condition digit --data.shrink 2": (2, "data.shrink: got 2, need no data.condition beside it"),
    "train digits --data.shrink 1": (2, "data.shrink: got 1, need an integer >= 2"),
}


@pytest.mark.parametrize("words", ELSEWHERE)
def test_conditions_where_there_are_none_are_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("DATA.npy", POINTS)
    code, message = ELSEWHERE[words]
    assert run_cli(words.split()) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "DATA.npy"]


def test_columns_of_a_table_become_the_condition():
    whole = load_dataset("diabetes")
    data = load_dataset("diabetes", iw.DataConfig(condition="progression,age"))
    names = list(whole.spec.columns)
    assert list(data.spec.columns) == [name for name in names if name not in ("progression", "age")]
    assert np.array_equal(data.given.data, whole.data[:, [names.index("progression"), names.index("age")]])
    assert np.array_equal(data.data, whole.data[:, 1:-1])
    one = load_dataset("diabetes", iw.DataConfig(condition="bmi"))
    assert np.array_equal(one.conditions(np.array([3, 1]))["given"], whole.data[[3, 1], 2])
    assert len({each.fingerprint() for each in (whole, data, one)}) == 3


def test_a_file_beside_holds_the_condition(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    for name, shape, kind in (
        ("same", (100, 4, 6), "image"),
        ("colour", (100, 4, 6, 3), "image"),
        ("v", (100, 4), "vector"),
    ):
        given = RANDOM.normal(size=shape)
        np.save(tmp_path / f"{name}.npy", given)
        data = load_dataset(tmp_path / "x.npy", iw.DataConfig(condition=f"{name}.npy"))
        assert np.array_equal(data.given.data, given)
        assert data.given.spec.kind == kind
    np.save(tmp_path / "odd.npy", np.zeros((100, 3, 6)))
    with pytest.raises(iw.DataError, match=r"condition odd.npy: got sides \(3, 6\), need sides that divide .*\(4, 6\)"):
        load_dataset(tmp_path / "x.npy", iw.DataConfig(condition="odd.npy"))


POOLS = {"NHW": F.avg_pool2d, "NHWC": F.avg_pool2d, "NL": F.avg_pool1d, "NDHW": F.avg_pool3d}


@pytest.mark.parametrize("layout", POOLS)
def test_shrunk_examples_are_means_over_blocks(layout, tmp_path):
    shape = {"NHW": (5, 4, 6), "NHWC": (5, 4, 6, 3), "NL": (5, 8), "NDHW": (5, 2, 4, 6)}[layout]
    x = RANDOM.normal(2.0, 3.0, shape)
    data = load_dataset(x, iw.DataConfig(layout=layout, shrink=2))
    first = torch.from_numpy(data.spec.to_channels_first(x))
    means = torch.from_numpy(data.given.spec.to_channels_first(data.given.data))
    torch.testing.assert_close(means.double(), POOLS[layout](first, 2), rtol=1e-6, atol=1e-6)


# Training


@functools.cache
def made_state():
    """A state before training, of examples on every second place, with labels too."""
    spec = iw.DataSpec((2,), "ND", "float32", -9.0, 19.0, None)
    given = fit_transform(iw.DataSpec((1,), "N", "float64", -9.0, 9.0, None), ANGLE, rows=np.arange(1, 100, 2))
    config = replace(
        tiny("points", batch_size=30, condition_dropout=0.3), data=iw.DataConfig(condition="angle", labels="l")
    )
    config, condition = resolve(config, spec), iw.Condition(("even", "odd"), given)
    labels = 1 + np.arange(100) // 2 % 2
    examples = Examples(POINTS, np.arange(1, 100, 2), fit_transform(spec, POINTS), condition, labels, ANGLE)
    return start(config, examples, torch.device("cpu")), examples, config


def batch_of(step, processes=1, index=0):
    first, examples, config = made_state()
    accelerator = SimpleNamespace(num_processes=processes, process_index=index, device=torch.device("cpu"))
    return draw_batch(replace(first, step=step), examples, config.train, accelerator)


TOLD = loop.Examples.told


def given_by_place_in_the_part(self, positions):
    return TOLD(self, positions) | {"given": self.condition.given.to_model(self.given[positions])}


def zero_for_hidden(value, hidden):
    return value.masked_fill(hidden.view(-1, *(1,) * (value.ndim - 1)), 0)


@bug("given of another example", loop.Examples, "told", given_by_place_in_the_part)
@bug("numbers hidden as zeros", loop, "hide", zero_for_hidden)
def test_each_example_keeps_what_is_given_of_it():
    """Each example has its own angle, found from where it lies, standardised by the training part; or nothing."""
    for step in range(6):
        batch, inside = batch_of(step), ANGLE[1::2]
        own = (((POINTS[batch.indices, 1] - 1) / 2 - inside.mean()) / inside.std())[:, None]
        given, hidden = batch.told["given"].numpy(), (batch.told["label"] == 0).numpy()
        assert np.array_equal(np.isnan(given[:, 0]), hidden)
        assert np.allclose(given[~hidden], own[~hidden], atol=1e-5)
        assert 0 < hidden.sum() < 30


def test_processes_share_the_conditions_of_one_batch():
    whole, parts = batch_of(4), [batch_of(4, 3, i) for i in range(3)]
    for name, value in whole.told.items():
        assert torch.equal(torch.cat([part.told[name] for part in parts]).nan_to_num(9), value.nan_to_num(9))


def trained_on(x, given, spec, steps=250, **parts):
    """A model trained on arrays, for as many steps."""
    speed = {"batch_size": 128, "learning_rate": 5e-3, "warmup": 10, "ema": 0.95, "condition_dropout": 0.2}
    config = replace(
        tiny("x", steps=steps, **speed), data=iw.DataConfig(condition="y"), denoiser=iw.DenoiserConfig("v")
    )
    config = resolve(replace(config, process=iw.ProcessConfig("cosine", 40), **parts), spec)
    kinds = {1: ("N", (1,)), 3: ("NHW", (1, *given.shape[1:]))}
    layout, shape = kinds[given.ndim]
    condition = iw.Condition(given=fit_transform(iw.DataSpec(shape, layout, "float64", -9.0, 9.0, None), given))
    examples = Examples(x, np.arange(len(x)), fit_transform(spec, x), condition, given=given)
    state = start(config, examples, torch.device("cpu"))
    assert all(done.finite for done in training(state, examples, config, Accelerator(cpu=True)))
    return build_model(config, examples.transform, state.average, condition)


def test_a_short_training_finds_the_conditional_mean_and_variance():
    """x = (sin y, 2 y + 1) + noise: both moments at a few y, and the information log p(x | y) - log p(x) is gained."""
    random = np.random.default_rng(0)
    y = random.normal(3.0, 2.0, 2000)
    law = lambda y: np.stack([np.sin(y), 2 * y + 1], 1)  # noqa: E731
    x = (law(y) + 0.5 * random.normal(size=(2000, 2))).astype(np.float32)
    model = trained_on(
        x, y, iw.DataSpec((2,), "ND", "float32", -30.0, 30.0, None), 450, network=iw.NetworkConfig(width=32, depth=2)
    )
    asked = np.array([1.0, 3.0, 5.0])
    draws = model.sample(900, seed=0, given=np.repeat(asked, 300)).reshape(3, 300, 2)
    assert np.abs(draws.mean(1) - law(asked)).max() < 0.3
    assert draws.std(1) == pytest.approx(0.5, abs=0.25)
    assert model.sample(300, seed=0)[:, 1].std() == pytest.approx(4.0, abs=1.0)
    gain = model.bound(x[:200]).total - model.bound(x[:200], given=y[:200]).total
    assert float(gain.mean()) > 1.5


def test_a_network_is_shown_the_image_of_its_example():
    """x is the image given, enlarged, and a little noise; without it no prediction has an error below the variance."""
    random = np.random.default_rng(0)
    given = random.normal(5.0, 2.0, (600, 2, 2))
    x = (np.kron(given, np.ones((2, 2))) + 0.2 * random.normal(size=(600, 4, 4))).astype(np.float32)
    network = iw.NetworkConfig(width=8, depth=1, multipliers=(1,), attention=(False,))
    model = trained_on(x, given, iw.DataSpec((1, 4, 4), "NHW", "float32", 0.0, 9.0, None), steps=150, network=network)
    draws = model.sample(60, seed=0, given=given[:60])
    assert np.mean((draws - x[:60]) ** 2) < 0.2 * x.var()
    assert np.mean((draws - np.roll(x[:60], 1, 0)) ** 2) > x.var()


@pytest.fixture(scope="module", params=["angle", "both", "shrink"])
def run(request, npz, tmp_path_factory):
    folder, name = tmp_path_factory.mktemp("given"), request.param
    np.save(folder / "images.npy", IMAGES)
    source, option = (folder / "images.npy", "--data.shrink") if name == "shrink" else (npz, "--data.condition")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        words = train_words(source, folder / "run", option, 2 if name == "shrink" else name)
        assert run_cli([*words, "--train.monitor-every", 6]) == 0
    return Run(folder / "run")


def test_a_run_stores_its_condition_fitted_on_the_training_part(run):
    transform, inside, given = run.model().condition.given, run.split()[0], run.dataset().given
    z = transform.to_model(given.data[inside]).double()
    axes = [0, *range(2, z.ndim)]
    assert torch.allclose(z.mean(axes), torch.zeros((), dtype=F64), atol=1e-6)
    assert torch.allclose(z.var(axes, correction=0), torch.ones((), dtype=F64), atol=1e-5)
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["held_out_bound"]["total"] != summary["held_out_given_condition_bound"]["total"]


def test_samples_are_drawn_for_what_is_given(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = run.dataset().given.data[:4]
    np.save("given.npy", given)
    assert run_cli(["sample", run.path, "-n", 4, "--given", "given.npy", "--guidance", 2.5, "--steps", 5]) == 0
    expected = run.model().sample(4, seed=0, given=given, guidance=2.5, steps=5)
    assert np.array_equal(np.load("samples/samples.npy"), expected)
    assert run_cli(["sample", run.path, "-n", 3, "--given", "given.npy", "--out", "other"]) == 3
    assert re.search(r"^error: given: got shape \(4,.*one for each of 3 examples", capsys.readouterr().err)
    assert run_cli(["inspect", run.path]) == 0
    assert re.search(r"\ncondition  (angle|both|shrink 2): ", capsys.readouterr().out)


def test_processes_share_what_is_given(run, monkeypatch):
    model, shares = load(run.path), []
    given = np.resize(run.dataset().given.data, (150, *model.condition.given.spec.data_shape))
    monkeypatch.setattr(drawing, "slot_rows", lambda *shape: 56)
    monkeypatch.setattr(models, "slot_rows", lambda *shape: 56)
    monkeypatch.setattr("accelerate.utils.gather_object", lambda share: shares.extend(share) or [np.zeros(0)])
    for index in range(2):
        place = SimpleNamespace(process_index=index, num_processes=2, is_main_process=index == 0)
        draw_share(model, 150, Display(shown=False), place, None, seed=3, steps=3, given=given)
    assert np.array_equal(np.concatenate(shares), model.sample(150, seed=3, steps=3, given=given))
    with pytest.raises(iw.DataError, match=r"one for each of 149 examples"):
        draw_share(model, 149, Display(shown=False), place, None, given=given)


def test_evaluation_asks_under_the_conditions_of_held_out_examples_that_are_not_compared(run, monkeypatch):
    monkeypatch.setattr(evaluation, "two_sample_test", lambda a, b, seed: two_sample_test(a, b, seed, shuffles=2))
    monkeypatch.setattr(exhibits, "_MAP_SIDE", 5)
    drawn = []
    monkeypatch.setattr(
        evaluation, "draw", lambda model, n, display, **told: drawn.append(told) or model.sample(n, **told)
    )
    assert run_cli(["evaluate", run.path, "--examples", 18, "--terms", 2, "--sampler-steps", 3]) == 0
    result = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    outside = run.split()[1]
    assert np.array_equal(drawn[0]["given"], run.dataset().given.data[outside[10:20]])
    assert result["bound"]["held_out"]["examples"] == 10
    assert result["bound"].keys() == {"held_out", "train", "held_out_given_condition"}
    assert result["labels"] is None


CHANGES = {
    "no condition": lambda header: header["condition"].update(given=None),
    "a short scale": lambda header: header["condition"]["given"]["scale"].append(1.0),
    "a scale of zero": lambda header: header["condition"]["given"].update(scale=[0.0]),
    "an unknown key": lambda header: header["condition"]["given"].update(extra=1),
    "levels": lambda header: header["condition"]["given"]["spec"].update(levels=2),
    "other sides": lambda header: header["condition"]["given"]["spec"].update(layout="NHW", shape=[1, 3, 5]),
    "text": lambda header: header["condition"].update(given="angle"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_header_of_another_condition_is_refused(run, tmp_path, change):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    header = json.loads((newest(copy) / "header.json").read_bytes())
    CHANGES[change](header)
    for path in (copy / "checkpoints").iterdir():
        rewrite(path, {"header.json": json.dumps(header).encode()})
    with pytest.raises(iw.CheckpointError, match="a header that does not fit"):
        iw.load(copy)


def test_a_stopped_run_goes_on_bit_identically(npz, tmp_path, quick):
    config = replace(tiny(npz, condition_dropout=0.3), data=iw.DataConfig(condition="both"))
    whole = fit(config, tmp_path / "whole").path
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "cut")
    assert digests(fit(config, tmp_path / "cut").path) == digests(whole)
    assert digests(fit(tiny(npz), tmp_path / "plain").path) != digests(whole)


def test_another_condition_is_other_data(tmp_path, quick):
    np.savez(tmp_path / "data.npz", x_train=POINTS, y=ANGLE)
    config = replace(tiny(tmp_path / "data.npz", steps=1), data=iw.DataConfig(condition="y"))
    fit(config, tmp_path / "run")
    np.savez(tmp_path / "data.npz", x_train=POINTS, y=np.roll(ANGLE, 1))
    with pytest.raises(iw.ConfigError, match="other data than before"):
        fit(config, tmp_path / "run")


def test_a_network_takes_images_by_the_function_that_is_tested():
    assert unet.given_channels is nn.layers.given_channels
