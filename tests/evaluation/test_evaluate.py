"""An evaluation reports what it measured, on the data of the run, and writes all it says."""

import json
import math
import shutil
from dataclasses import asdict, replace

import numpy as np
import pandas
import pytest
import torch
from bugs import bug
from faults import newest, run_cli, tiny, tree, without_pictures
from PIL import Image
from scipy.stats import ks_2samp

import inkwash as iw
from inkwash.core.config import EvaluateConfig, SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.options import to_json
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.data.condition import ConditionSpec
from inkwash.data.dataset import Dataset
from inkwash.data.pictures import grid, to_pixels
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.evaluation import calibration, metrics, subject
from inkwash.evaluation.calibration import coverage, crps, hide
from inkwash.evaluation.drift import drift
from inkwash.evaluation.evaluate import evaluate
from inkwash.evaluation.features import principal_components
from inkwash.evaluation.fidelity import fidelity
from inkwash.evaluation.memorisation import memorisation_test
from inkwash.evaluation.subject import subject_of
from inkwash.likelihood.ode import Adaptive
from inkwash.training import decided as deciding
from inkwash.training.fit import fit
from inkwash.training.prepare import split_indices
from inkwash.training.run import load

pytestmark = pytest.mark.usefixtures("quick_evaluation")
QUICK = EvaluateConfig(examples=16, bound_terms=4, sampling=SamplingConfig(steps=5))


def arrays(kind):
    random = np.random.default_rng(0)
    if kind == "points":
        return random.normal(size=(90, 2)).astype(np.float32)
    if kind == "vectors":
        return random.normal(size=(90, 4))
    return random.integers(0, 256, (90, 4, 5)).astype(np.uint8)


@pytest.fixture(scope="module", params=["points", "vectors", "images"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "data.npy", arrays(request.param))
    return fit(tiny(folder / "data.npy", steps=2), folder / "run", report=False)


@pytest.fixture(scope="module")
def result(run):
    return evaluate(run.path, QUICK)


def test_what_is_returned_is_what_is_written(run, result):
    assert json.loads((run.path / "evaluation" / "evaluation.json").read_text()) == result


def test_pictures_are_there(run, result):
    expected = {"bound_by_time.png", "samples.png"}
    expected |= {"neighbours.png"} if run.header().transform.spec.is_image else set()
    expected |= {"densities.png"} if run.header().transform.spec.shape == (2,) else set()
    assert {path.name for path in (run.path / "evaluation").glob("*.png")} == expected
    for name in expected:
        with Image.open(run.path / "evaluation" / name) as picture:
            picture.verify()


def test_the_bound_is_that_of_the_held_out_examples(run, result):
    data, (train_rows, held_rows) = run.dataset().data, run.split()
    for name, part in (("held_out", held_rows), ("train", train_rows)):
        stated = result["bound"][name]
        assert stated["examples"] == 16
        assert stated["total"] == pytest.approx(stated["prior"] + stated["diffusion"] + stated["reconstruction"])
        bound = load(run.path).bound(data[part[:16]])
        unit = 1.0 if bound.levels is None else 1 / (bound.dims * math.log(2))
        error = 6 * max(stated["std_error"], 1e-3)
        assert stated["total"] == pytest.approx(float(bound.total.mean()) * unit, abs=error)


def test_the_parts_by_time_add_up_to_the_diffusion_part(result):
    for name in ("held_out", "train"):
        assert sum(result["bound_by_time"][name]) == pytest.approx(result["bound"][name]["diffusion"], rel=1e-4)
        assert len(result["bound_by_time"]["time_edges"]) == len(result["bound_by_time"][name]) + 1


def test_the_log_density_is_that_of_continuous_held_out_data(run, result):
    if run.header().transform.spec.levels is not None:
        assert result["log_density"] is None
        return
    stated, held_out = result["log_density"], run.dataset().data[run.split()[1][:16]]
    exact = load(run.path).log_prob(held_out, solver=Adaptive(1e-5, 1e-5)).value
    assert stated["examples"] == 16
    assert stated["held_out"] == pytest.approx(float(exact.mean()), abs=0.05)
    assert stated["std_error"] == pytest.approx(float(exact.std()) / 4, rel=0.05, abs=0.01)
    assert stated["held_out"] > -result["bound"]["held_out"]["total"] - 6 * result["bound"]["held_out"]["std_error"]


def test_over_fitting_is_the_difference_of_the_bounds(result):
    held_out, train = result["bound"]["held_out"], result["bound"]["train"]
    assert result["overfitting"]["gap"] == pytest.approx(held_out["total"] - train["total"], rel=1e-3, abs=1e-4)
    error = math.hypot(held_out["std_error"], train["std_error"])
    assert result["overfitting"]["std_error"] == pytest.approx(error, rel=1e-4)


def test_an_untrained_model_does_not_look_like_a_copy(result):
    assert result["memorisation"]["copies"] == 0
    assert 0 < result["two_sample"]["p_value"] <= 1


def test_distances_stand_beside_their_floors(run, result):
    """By hand: components of training data that are not compared; the floor is that of training data."""
    model, data, (train_rows, held_rows) = load(run.path), run.dataset().data, run.split()
    known = model.to_model(data[train_rows]).numpy()
    of = principal_components(known[16:])
    samples, train, held_out = (
        of(x)
        for x in (
            model.to_model(model.sample(16, seed=0, steps=5)).numpy(),
            known[:16],
            model.to_model(data[held_rows[:16]]).numpy(),
        )
    )
    stated = result["fidelity"]["components"]
    assert stated["samples"] == asdict(fidelity(samples, held_out))
    assert stated["floor"] == asdict(fidelity(train, held_out))
    assert result["fidelity"].keys() == {"components"}
    assert stated["size"] == samples.shape[1]


def test_columns_of_vectors_are_compared_one_by_one_and_in_pairs(run, result):
    if run.header().transform.spec.is_image:
        assert result["columns"] is None
        return
    data, (train_rows, held_rows) = run.dataset().data, run.split()
    samples, held_out = load(run.path).sample(16, seed=0, steps=5), data[held_rows[:16]]
    for i, found in enumerate(result["columns"]["marginals"]):
        assert found["where"] == f"column {i}"
        assert found["samples"] == pytest.approx(ks_2samp(samples[:, i], held_out[:, i]).statistic)
        assert found["floor"] == pytest.approx(ks_2samp(data[train_rows[:16], i], held_out[:, i]).statistic)
    pairs = result["columns"]["associations"]
    for which, x in (("samples", samples), ("floor", data[train_rows[:16]])):
        difference = abs(np.corrcoef(x.T) - np.corrcoef(held_out.T))
        assert pairs[which]["largest_difference"] == pytest.approx(difference.max(), rel=1e-5)
        i, j = (int(name.split()[1]) for name in pairs[which]["pair"])
        assert difference[i, j] == pytest.approx(difference.max(), rel=1e-5)


def test_drift_is_that_of_each_channel_in_data_units(run, result):
    spec = run.header().transform.spec
    samples = spec.to_channels_first(load(run.path).sample(16, seed=0, steps=5)).astype(float)
    means = [move for move in result["drift"] if move["what"] == "mean"]
    assert [move["where"] for move in means] == [spec.entry_words(i) for i in range(spec.shape[0])]
    axes = (0, *range(2, samples.ndim))
    np.testing.assert_allclose([move["samples"] for move in means], samples.mean(axes))
    spreads = [move["samples"] for move in result["drift"] if move["what"] == "spread"]
    np.testing.assert_allclose(spreads, samples.std(axes))


def test_hidden_entries_are_imputed_and_scored_in_standard_deviations(run, result):
    """By hand, with only the scores of the module. Entries of images are hidden only if an option says so."""
    model, data, (train_rows, held_rows) = load(run.path), run.dataset().data, run.split()
    if run.header().transform.spec.is_image:
        assert result["imputation"] is None
        assert evaluate(run.path, replace(QUICK, imputed=2))["imputation"]["hidden"] == 2 * 6
        return
    x, train = data[held_rows[:16]].astype(float), data[train_rows].astype(float)
    hidden = hide(x, 0)
    draws = model.impute(np.where(hidden, np.nan, x), 64, seed=0, steps=calibration._IMPUTING_STEPS).astype(float)
    stated = result["imputation"]["model"]["numbers"]
    at = np.nonzero(hidden)
    by_hand = (crps(draws[:, *at], x[at]) / train.std(0)[at[1]]).mean()
    assert stated["crps"]["value"] == pytest.approx(by_hand)
    assert stated["coverage_90"]["value"] == pytest.approx(coverage(draws[:, *at], x[at], 0.9).mean())
    assert result["imputation"]["rows"] == 16
    assert 0.3 < result["imputation"]["independent"]["numbers"]["crps"]["value"] < 0.9  # of a normal law 0.56


def test_imputation_of_large_examples_is_refused_before_the_work(tmp_path, monkeypatch):
    run = trained_on(tmp_path, np.random.default_rng(0).integers(0, 256, (90, 16, 17)).astype(np.uint8))
    monkeypatch.setattr(subject, "draw_in_shares", None)
    with pytest.raises(ConfigError, match=r"^evaluate\.imputed: got 3, need 0: an example has 272 entries"):
        evaluate(run, replace(QUICK, imputed=3))


def test_features_of_ones_own_are_one_more_space(run):
    spec, seen = run.header().transform.spec, []
    if not spec.is_image:
        pytest.skip("one kind is enough")

    def features(x):
        seen.append(x.shape)
        return np.stack([x.reshape(len(x), -1).mean(1), x.reshape(len(x), -1).max(1)], 1)

    found = evaluate(run.path, QUICK, features=features)["fidelity"]["given"]
    model, data, (train_rows, held_rows) = load(run.path), run.dataset().data, run.split()
    sets = model.sample(16, seed=0, steps=5), data[train_rows[:16]], data[held_rows[:16]]
    assert seen == [(10, *spec.shape), *[(16, *spec.shape)] * 3]
    samples, train, held_out = (features(spec.to_channels_first(x)).astype(float) for x in sets)
    assert found == {
        "size": 2,
        "samples": asdict(fidelity(samples, held_out)),
        "floor": asdict(fidelity(train, held_out)),
    }
    assert "features given from Python" in (run.path / "evaluation" / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    "wrong", [lambda x: x.sum(), lambda x: np.full((len(x), 2), np.nan), lambda x: np.ones((3, 2))]
)
def test_features_of_another_shape_are_refused_before_the_work(run, wrong, monkeypatch):
    monkeypatch.setattr(subject, "draw_in_shares", None)
    with pytest.raises(ConfigError, match=r"^features: got an array of shape"):
        evaluate(run.path, QUICK, features=wrong)


def fifty(*options):
    return SamplingConfig(sampler="ancestral", steps=50)


@bug("the sampler is forgotten", deciding, "merged", fifty, run="vectors")
@pytest.mark.slow_cases("points")
def test_what_is_evaluated_is_what_the_options_say(run, tmp_path):
    """By hand: samples of that seed and walk, beside all that was trained on; the bound of that variance and grid."""
    steps = "inf" if run.header().transform.spec.is_image else 4
    copy = shutil.copytree(run.path, tmp_path / "run")
    sampling = SamplingConfig("dpm-solver", 4, "karras", "small", order=1, rho=3.0)
    result = evaluate(copy, replace(QUICK, seed=3, bound_steps=steps, bound_terms=3, sampling=sampling))
    model, data, (train_rows, held_rows) = load(run.path), run.dataset().data, run.split()
    drawn = model.sample(16, seed=3, sampler=iw.DPMSolver(1), grid=iw.KarrasGrid(3.0), steps=4)
    parts = drawn, data[train_rows], data[held_rows[:16]]
    samples, known, fresh = (model.to_model(x).numpy() for x in parts)
    copies = memorisation_test(samples, known, fresh)
    for name in ("sample_distance", "held_out_distance", "closer"):
        assert result["memorisation"][name] == pytest.approx(getattr(copies, name))
    assert result["two_sample"] == asdict(metrics.two_sample_test(samples, fresh, 3))
    edges = model.bound(data[:2], steps=math.inf if steps == "inf" else steps, terms=3).time_edges
    assert result["bound_by_time"]["time_edges"] == edges.tolist()
    assert result["sampling"] == to_json(sampling)
    inner = model.denoiser if isinstance(model.denoiser, iw.Denoiser) else model.denoiser.denoiser
    built = iw.Denoiser(inner.network, inner.process, inner.predicts, "small", inner.sees)
    small = model.with_denoiser(built if inner is model.denoiser else iw.Clipped(built))
    seed, steps = derived_seed(3, Purpose.EVALUATE), math.inf if steps == "inf" else steps
    bound = small.bound(parts[2], steps=steps, terms=3, seed=seed).mean()
    assert result["bound"]["held_out"]["total"] == pytest.approx(bound.total, rel=1e-12)


def test_a_run_decides_what_its_evaluation_leaves_open(tmp_path, capsys):
    np.save(tmp_path / "data.npy", arrays("vectors"))
    config = replace(tiny(tmp_path / "data.npy", steps=1), sampling=SamplingConfig("ddim", grid="karras", rho=3.0))
    run = fit(config, tmp_path / "run", report=False).path
    for refused in ({"order": 2}, {"sampler": "adams", "eta": 0.5}, {"variance": "learned"}, {"clip": True}):
        with pytest.raises(ConfigError, match=rf"^{[*refused][-1]}: got "):
            evaluate(run, replace(QUICK, sampling=SamplingConfig(**refused)))
    assert run_cli(["evaluate", run, "--steps", 0]) == 2
    assert capsys.readouterr().err.startswith("error: --steps: got 0, need an integer >= 1")
    assert not (run / "evaluation").exists()
    found = evaluate(run, replace(QUICK, sampling=SamplingConfig(steps=3), imputed=0))["sampling"]
    assert found == to_json(SamplingConfig("ddim", 3, "karras", rho=3.0))
    open_steps = deciding.decided(run, SamplingConfig("ancestral", grid="uniform"), Display(False), usual=subject.USUAL)
    assert (len(open_steps[0].plan().times), open_steps[1].steps) == (251, 250)


def test_the_samples_nearest_to_training_data_are_shown_over_it(run, result):
    spec = run.header().transform.spec
    if not spec.is_image:
        pytest.skip("only pictures have neighbours.png")
    samples, known = load(run.path).sample(16, seed=0, steps=5), run.dataset().data[run.split()[0]]
    distances = np.linalg.norm(samples[:, None].astype(float) - known[None], axis=(2, 3))
    closest = np.argsort(distances.min(1))[:12]
    shown = np.concatenate([samples[closest], known[distances.argmin(1)[closest]]])
    with Image.open(run.path / "evaluation" / "neighbours.png") as picture:
        assert np.array_equal(np.asarray(picture), grid(to_pixels(spec, shown), columns=12))


@pytest.mark.quick_cases("vectors")
def test_the_same_evaluation_gives_the_same_numbers_and_leaves_the_checkpoint_alone(run, result):
    before = tree(newest(run.path))
    assert evaluate(str(run.path), QUICK) == result
    assert tree(newest(run.path)) == before


@pytest.mark.parametrize(
    "config", [{"examples": 9}, {"examples": 0}, {"bound_terms": 0}, {"bound_steps": -1}, {"seed": -1}, {"imputed": -1}]
)
def test_bad_options_are_refused(run, config):
    with pytest.raises(ConfigError, match=r"^evaluate\."):
        evaluate(run.path, EvaluateConfig(**config))


def trained_on(folder, array):
    np.save(folder / "data.npy", array)
    return fit(tiny(folder / "data.npy", steps=1), folder / "run", report=False).path


def test_changed_and_missing_data_end_in_exit_3(tmp_path, capsys):
    run = trained_on(tmp_path, arrays("vectors"))
    array = arrays("vectors")
    array[0, 0] += 1
    np.save(tmp_path / "data.npy", array)
    assert run_cli(["evaluate", run]) == 3
    assert "data that has changed" in capsys.readouterr().err
    (tmp_path / "data.npy").unlink()
    assert run_cli(["evaluate", run]) == 3
    assert capsys.readouterr().err.startswith("error: data: got ")
    assert not (run / "evaluation").exists()


@pytest.mark.parametrize("count", [2, 12])
def test_too_little_data_to_test_is_reported_in_one_line(tmp_path, capsys, count):
    run = trained_on(tmp_path, np.random.default_rng(0).integers(0, 256, (count, 3, 3)).astype(np.uint8))
    assert run_cli(["evaluate", run, "--bound-terms", 2, "--steps", 2]) in (2, 3)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "need at least 10" in err


def test_the_command_says_where_the_report_is(tmp_path, capsys):
    run = trained_on(tmp_path, arrays("vectors"))
    assert run_cli(["evaluate", run, "--examples", 10, "--bound-terms", 3, "--steps", 3]) == 0
    printed = capsys.readouterr().out
    assert f"report        {run / 'evaluation'}" in printed
    assert "held out " in printed
    assert "log-density   held out " in printed
    result = json.loads((run / "evaluation" / "evaluation.json").read_text())
    assert f"{result['bound']['held_out']['total']:.3f}" in printed


@pytest.mark.parametrize("known", [0, 1])
def test_a_column_that_is_missing_in_the_held_out_part_is_no_obstacle(tmp_path, known):
    """Nor is a constant one beside it; what is written is JSON without NaN."""
    held_rows = split_indices(100, 0.2, 0)[1]
    x = np.random.default_rng(0).normal(5, 2, (100, 3))
    x[held_rows, 1], x[held_rows[known:], 2] = 4, np.nan
    pandas.DataFrame(x, columns=["a", "b", "c"]).to_csv(tmp_path / "data.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        run = fit(tiny(tmp_path / "data.csv", steps=1), tmp_path / "run")
    assert np.array_equal(run.split()[1], held_rows)
    result = evaluate(run.path, QUICK)
    assert json.loads((run.path / "evaluation" / "evaluation.json").read_text()) == result
    assert result["utility"] is None
    (mean,) = (moved for moved in result["drift"] if (moved["where"], moved["what"]) == ("column 'c'", "mean"))
    assert (mean["score"], mean["data"]) == (0, x[held_rows[0], 2] if known else None)


def subject_like(data, network, split, spec, given=None):
    """The model of a network that says what is expected of x in data units, and what an evaluation compares."""
    dataset = Dataset("data", data, spec, given=given)
    transform = Transform(spec, (0.0,) * spec.shape[0], (1.0,) * spec.shape[0])
    condition = ConditionSpec(given=given and Transform(given.spec, (0.0,) * 8, (1.0,) * 8))
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), predicts="x", variance="large")
    model = iw.Diffusion(denoiser, spec.shape, transform, condition=condition).with_options(steps=40)
    config = EvaluateConfig(examples=400)
    return subject_of(model, dataset, split, config, Display(shown=False))


def posterior_mean(x_t, t, mean, var):
    """Of x with normal entries."""
    schedule = iw.CosineSchedule()
    alpha, sigma = (s.float()[:, None] for s in (schedule.alpha(t), schedule.sigma(t)))
    return mean + var * alpha / (alpha**2 * var + sigma**2) * (x_t - alpha * mean)


SPLIT = np.arange(800), np.arange(800, 1600)


def test_samples_of_the_exact_conditional_law_are_no_closer_to_held_out_data_than_new_ones():
    """What is given says nearly all: under the conditions of the very examples they would be copies of these."""
    random = np.random.default_rng(0)
    given = random.normal(3, 2, (1600, 8)).astype(np.float32)
    data = given + random.normal(0, 0.01, given.shape).astype(np.float32)
    spec = DataSpec((8,), "ND", "float32", -20.0, 20.0, None)
    network = lambda x_t, t, given: posterior_mean(x_t, t, given, 1e-4)  # noqa: E731
    found = subject_like(data, network, SPLIT, spec, Dataset("given", given, spec))
    assert [len(part) for part in found.parts.compared] == [400] * 3
    assert np.abs(found.parts.samples - found.sampled_under["given"]).max() < 0.2
    copies = memorisation_test(found.space.samples, found.train, found.space.held_out)
    assert abs(copies.to_train - 0.5) < 4 * copies.to_train_std_error
    assert abs(copies.closer - 0.5) < 4 * copies.closer_std_error
    ours, floor = (fidelity(part, found.parts.held_out) for part in (found.parts.samples, found.parts.train))
    assert 0.4 < ours.frechet / floor.frechet < 2.5


def test_an_exact_model_of_gaps_that_depend_on_the_rest_does_not_drift():
    """The second entry is there where the first is around -2, and missing where that is around 5."""
    random = np.random.default_rng(0)
    there = random.random(1600) < 0.5
    data = random.normal([0, 1], 1, (1600, 2)) + np.where(there, -2, 5)[:, None] * [1, 0]
    data[~there, 1] = np.nan
    spec = DataSpec((2,), "ND", "float64", -20.0, 20.0, None, missing=(False, True))
    ones = torch.ones(1, 2, dtype=torch.bool)

    def network(x_t, t, present=ones):
        mean = torch.stack([torch.where(present[:, 1], -2.0, 5.0), torch.ones(len(present))], 1)
        return posterior_mean(x_t, t, mean, 1.0)

    found = subject_like(data, network, SPLIT, spec).parts
    assert np.array_equal(np.isnan(found.samples), np.isnan(data[1200:]))
    assert not any(moved.beyond for moved in drift(found.samples, found.held_out, "ab"))


def test_guidance_keeps_what_is_present():
    """With the condition and without it, the network sees the row as it is."""
    seen = []

    def network(x_t, t, present=None, label=None):
        seen.append((present, label is None))
        return x_t

    present, label = torch.tensor([[True, False]]), torch.tensor([1])
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), predicts="x")
    for guidance in (0, 2):
        denoiser(torch.ones(1, 2), 0.5, present=present, label=label, guidance=guidance)
    assert [unlabelled for _, unlabelled in seen] == [True, False, True]
    assert all(each is present for each, _ in seen)


def test_conditions_need_held_out_examples_of_their_own():
    x = np.random.default_rng(0).normal(size=(99, 8)).astype(np.float32)
    spec = DataSpec((8,), "ND", "float32", -9.0, 9.0, None)
    with pytest.raises(DataError, match="got 19 held-out examples, need at least 20"):
        subject_like(x, None, (np.arange(80), np.arange(80, 99)), spec, Dataset("given", x, spec))


def test_an_evaluation_does_not_hold_the_training_part(tmp_path, monkeypatch):
    """The forest of labels, the components and the columns drawn independently take only some rows."""
    monkeypatch.setattr(subject, "MOST_FITTED", 30)
    x = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    spec = DataSpec((8,), "ND", "float32", -9.0, 9.0, None)
    network = lambda x_t, t, given=None: x_t  # noqa: E731
    found = subject_like(x, network, (np.arange(340), np.arange(340, 400)), spec, Dataset("given", x, spec))
    assert len(found.parts.train) == 30
    assert np.array_equal(found.parts.fitted, x[:60])
    assert len(found.fitted_condition["given"]) == 60
    assert len(found.train) == 340
    np.testing.assert_array_equal(found.train[300:330], x[300:330])
