"""The estimator keeps scikit-learn's contract, and is right about a normal whose density is known."""

import io
import os
import pickle
import signal
from contextlib import ExitStack
from functools import lru_cache
from unittest import mock

import numpy as np
import pandas
import pytest
import torch
from bugs import bug
from faults import at_step, hooked
from oracles import GaussianData, exact_denoiser
from scipy.stats import bernoulli, betabinom, kstest, multivariate_normal, norm, poisson
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch.utils.data import TensorDataset

import inkwash as iw
from inkwash import sklearn as estimator
from inkwash.core.randomness import Slots, generator
from inkwash.data import frames, judge
from inkwash.likelihood import flow
from inkwash.model import diffusion as diffusion
from inkwash.posterior import complete as completion
from inkwash.sklearn import DiffusionDensity

MEAN, COV = np.array([3.0, -1.0]), np.array([[9.0, 1.2], [1.2, 0.5]])
STD = np.sqrt(np.diag(COV))
LAW = multivariate_normal(MEAN, COV)
TINY = {"steps": 12, "width": 8, "depth": 1, "batch_size": 16}
NAN = np.nan


def rows(n, seed=0):
    return LAW.rvs(n, random_state=seed)


def table(n=40):
    """A table with integers of 32 bits."""
    x = rows(n)
    return pandas.DataFrame({"a": x[:, 0], "b": np.rint(9 * x[:, 1]).astype(np.int32)}, index=range(5, 5 + n))


@lru_cache
def exact():
    """An estimator whose training, for once, has ended in the very law of the data."""
    whitened = GaussianData([0.0, 0.0], (COV / np.outer(STD, STD)).tolist())
    spec = iw.load_dataset(rows(40)).spec
    transform = iw.data.Transform(spec, tuple(MEAN.tolist()), tuple(STD.tolist()))
    model = iw.Diffusion(exact_denoiser(whitened, iw.KarrasSchedule(), "large"), (2,), transform)
    with mock.patch.object(estimator, "_model_of", return_value=model):
        return DiffusionDensity(**TINY).fit(rows(40))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        list,
        lambda x: TensorDataset(x, torch.arange(len(x))),
        lambda x: (row.float().numpy() for row in x),
    ],
    ids=["tensor", "list", "pairs", "generator"],
)
def test_objects_of_torch_are_fitted_as_their_array(wrap):
    """Tensors of bfloat16, lists and generators, of which the estimator learns what it learns of their array."""
    x = torch.from_numpy(rows(40)).bfloat16()
    plain, found = (DiffusionDensity(**TINY).fit(each) for each in (x.float().numpy(), wrap(x)))
    assert np.array_equal(found.score_samples(wrap(x)), plain.score_samples(x.float().numpy()))


def test_a_generator_is_read_once_for_all_that_a_fit_does():
    """Its rows are gone after the first look, and yet the outliers are those of their array."""
    x, detector = rows(40).astype(np.float32), DiffusionDensity(**TINY, contamination=0.2, density="bound")
    assert np.array_equal(detector.fit_predict(row for row in x), detector.fit_predict(x))


def test_a_fit_reads_a_frame_once():
    judged = mock.patch.object(frames, "as_raw", wraps=frames.as_raw)
    with judged as read:
        DiffusionDensity(**{**TINY, "steps": 1}).fit(table())
    assert read.call_count == 1


def people(n=60, seed=0):
    """A table of all types of columns, where cells are missing and where not."""
    random = np.random.default_rng(seed)
    town, given = random.integers(0, 3, n), random.random((6, n)) > 0.1
    size = pandas.Categorical.from_codes(town, ["small", "large", "huge", "none yet"], ordered=True)
    return pandas.DataFrame(
        {
            "zip": pandas.Series(np.array(["007", "12", "4000"])[town]).where(given[0]),
            "size": pandas.Series(size).where(given[1]),
            "stars": pandas.Categorical(random.integers(1, 5, n), [1, 2, 3, 4, 5]),
            "sick": pandas.Series(random.random(n) < 0.3),
            "member": pandas.Series(random.random(n) < 0.3).astype("boolean").where(given[2]),
            "age": pandas.Series(random.poisson(40 + 5 * town)).astype("Int64").where(given[3]),
            "visits": random.poisson(30, n).astype(np.int16),
            "income": np.where(given[4], 100 * town + 20 * random.standard_normal(n), NAN),
            "rate": random.standard_normal(n).astype(np.float32),
        }
    )


@lru_cache
def mixed():
    return DiffusionDensity(**TINY, density="bound").fit(people())


@lru_cache
def tiny():
    return DiffusionDensity(**TINY).fit(table())


def evaluating(steps=250, terms=100):
    """Numbers of steps and terms, by default those that the estimator takes."""
    return mock.patch.multiple(estimator, _STEPS=steps, TERMS=terms)


@pytest.fixture(scope="module", autouse=True)
def in_less_time():
    """Few rows take less time when there is less to fill up, and what is not known exactly in few steps."""
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(Slots, "rows", 256))
        patches.enter_context(evaluating(steps=10, terms=10))
        yield


# The contract of scikit-learn


@parametrize_with_checks(
    [DiffusionDensity(**TINY | {"steps": 2}), DiffusionDensity(**TINY | {"steps": 2}, contamination=0.1)]
)
def test_scikit_learn_agrees(estimator, check):
    """Flows in few steps: what is checked is that rows do not depend on each other, not what they are."""
    with mock.patch.object(flow, "Adaptive", return_value=iw.Fixed(2)):
        check(estimator)


def test_a_clone_is_another_one_of_the_same_parameters():
    again = clone(tiny().set_params(density="flow"))
    assert again.get_params() == tiny().get_params()
    with pytest.raises(NotFittedError):
        again.score(table())


def test_a_pipeline_scores_what_it_scales():
    scaled = make_pipeline(StandardScaler(), DiffusionDensity(**TINY)).fit(rows(40))
    scaled_rows = StandardScaler().fit(rows(40)).transform(rows(9, 1))
    assert np.array_equal(scaled.score_samples(rows(9, 1)), scaled[-1].score_samples(scaled_rows))


@pytest.mark.slow
def test_a_search_finds_the_better_of_two():
    """Untrained it is one normal, where there are two. With the numbers of NumPy that a search is often given."""
    x = np.random.default_rng(0).choice([-3.0, 5.0], size=(100, 1)) + rows(100)
    grid = {"steps": np.array([1, 200]), "learning_rate": np.logspace(-2, -2, 1)}
    search = GridSearchCV(DiffusionDensity(width=16, depth=1, dropout=0.0, density="bound"), grid, cv=2, refit=False)
    assert search.fit(x).best_params_["steps"] == 200


def test_columns_are_those_of_the_fit_in_their_order():
    with pytest.raises(ValueError, match="feature names should match"):
        tiny().score_samples(table()[["b", "a"]])
    assert tiny().feature_names_in_.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"density": "exact"}, "density: got 'exact'"),
        ({"steps": 0}, r"train.steps: got 0"),
        ({"width": 2.5}, r"network.width: got 2.5"),
        ({"dropout": 1.0}, r"network.dropout: got 1.0"),
        ({"random_state": -1}, r"train.seed: got -1"),
        ({"data_transform": "exp"}, r"data.transform: got 'exp'"),
        ({"contamination": 0.6}, r"contamination: got 0.6"),
        ({"bounds": ["observed"]}, r"data.bounds: got observed, need a table"),
    ],
)
def test_bad_parameters_are_named(bad, named):
    with pytest.raises(iw.ConfigError, match=f"^{named}"):
        DiffusionDensity(**TINY | bad).fit(rows(40))


@pytest.mark.parametrize("hole", [NAN, np.inf])
def test_what_was_never_missing_may_not_be_when_rows_are_scored(hole):
    """It may be when they are imputed; infinity may nowhere be."""
    holes = table(3).replace(table().iloc[1, 0], hole)
    with mock.patch.object(tiny(), "density", "bound"), pytest.raises(ValueError, match="column 'a'"):
        tiny().score_samples(holes)


def test_levels_that_do_not_occur_may_be_scored():
    """A categorical names them; order and type come back."""
    kind = pandas.CategoricalDtype([3, 2, 1], ordered=True)
    frame = pandas.DataFrame({"stars": pandas.Categorical([3, 1] * 30, dtype=kind), "x": np.arange(60.0)})
    density = DiffusionDensity(**TINY, density="bound").fit(frame)
    assert density.sample(5, random_state=0).dtypes.equals(frame.dtypes)
    new = pandas.DataFrame({"stars": pandas.Categorical([2, 3], dtype=kind), "x": [1.0, 2.0]})
    never, often = density.score_samples(new)
    assert -np.inf < never < often


# What is known of a normal


@evaluating()
def test_a_normal_has_its_density():
    x = rows(100, 1)
    assert np.abs(exact().score_samples(x) - LAW.logpdf(x)).max() < 1e-3
    assert exact().score(x) == pytest.approx(LAW.logpdf(x).mean(), abs=1e-3)


@bug("outliers of high density", estimator.np, "quantile", lambda x, share: np.percentile(x, 100 - 100 * share))
def test_outliers_are_the_rows_of_lowest_density():
    """A fifth of the rows of the fit, by the law of the data; there is no detector without a share."""
    x = rows(40)
    with mock.patch.object(estimator, "_model_of", return_value=exact().model_):
        detector = DiffusionDensity(**TINY, contamination=0.2)
        found = detector.fit_predict(x)
    assert np.array_equal(np.flatnonzero(found == -1), np.sort(LAW.logpdf(x).argsort()[:8]))
    assert detector.predict(MEAN + 9 * STD * [[0, 0], [1, -1]]).tolist() == [1, -1]
    assert not hasattr(exact(), "predict")
    assert is_outlier_detector(detector)
    assert not is_outlier_detector(exact())


@pytest.mark.slow
def test_a_threshold_of_held_out_rows_raises_so_many_false_alarms():
    """Whatever was learned: the number of new rows that score below the k-th lowest of n held-out ones is
    beta-binomial."""
    n, k, m = 199, 10, 400
    learned = DiffusionDensity(**TINY | {"steps": 200}, density="bound").fit(rows(100, 2))
    threshold = np.sort(learned.score_samples(rows(n, 3)))[k - 1]
    alarms = int((learned.score_samples(rows(m, 4)) < threshold).sum())
    low, high = betabinom(m, k, n + 1 - k).ppf([5e-4, 1 - 5e-4])
    assert low <= alarms <= high
    assert (learned.score_samples(MEAN + 9 * STD * [[1, -1]]) < threshold).all()


@evaluating()
def test_the_bound_of_a_normal_lies_a_little_below_its_density():
    x = rows(300, 1)
    below = clone(exact()).set_params(density="bound")
    below.__dict__ |= {k: v for k, v in vars(exact()).items() if k not in below.get_params()}
    gap = LAW.logpdf(x) - below.score_samples(x)
    error = gap.std() / len(x) ** 0.5
    assert -4 * error < gap.mean() < 4 * error + 0.1


@evaluating()
def test_samples_of_a_normal_are_normal():
    x = (exact().sample(768, random_state=0) - MEAN) @ np.linalg.inv(np.linalg.cholesky(COV)).T
    for entry in x.T:
        assert kstest(entry, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.1


@evaluating()
def test_missing_entries_of_a_normal_are_normal_given_the_rest():
    """Draws of what is missing are those of the normal given the rest."""
    x = np.array([[9.0, NAN], [NAN, -0.5], [1.0, 2.0], [NAN, NAN]])
    draws, there = np.stack(exact().impute(x, n=256, random_state=0)), ~np.isnan(x)
    assert (draws[:, there] == x[there]).all()
    for row, i, given in ((0, 1, 0), (1, 0, 1)):
        slope = COV[i, given] / COV[given, given]
        mean, var = MEAN[i] + slope * (x[row, given] - MEAN[given]), COV[i, i] - slope * COV[given, i]
        assert kstest((draws[:, row, i] - mean) / var**0.5, "norm").pvalue > 1e-3
    for i in range(2):
        assert kstest((draws[:, 3, i] - MEAN[i]) / STD[i], "norm").pvalue > 1e-3


@bug(
    "one noise for all rows imputed",
    completion,
    "generator",
    lambda seed, *key: generator(seed, key[0]),
)
def test_rows_are_imputed_apart():
    """Draws for one row say nothing of those for another, side by side or not."""
    few = mock.patch.object(Slots, "rows", 128)
    with few, evaluating(steps=20):
        draws = np.stack(exact().impute(np.array([[3.0, NAN]] * 3), n=256, random_state=0))
    assert np.abs(np.triu(np.corrcoef(draws[:, :, 1].T), 1)).max() < 0.25


def test_a_density_of_logarithms_is_that_of_the_data():
    """Log-normal numbers: the model is the normal of their logarithms before training, and stays near it."""
    z = np.random.default_rng(0).normal([1.0, -2.0], [0.5, 2.0], (1000, 2))
    found = DiffusionDensity(steps=5, width=8, depth=1, dropout=0.0, data_transform="log").fit(np.exp(z))
    with evaluating():
        score = found.score_samples(np.exp(z[:50]))
    expected = (norm([1.0, -2.0], [0.5, 2.0]).logpdf(z[:50]) - z[:50]).sum(1)
    assert np.abs(score - expected).mean() < 0.2
    with pytest.raises(iw.DataError, match=r"numbers > 0, for data\.transform log"):
        found.score_samples(-np.exp(z[:2]))


@pytest.mark.slow
def test_training_finds_a_normal():
    found = DiffusionDensity(steps=400, width=32, depth=2, dropout=0.0).fit(rows(1000))
    with evaluating():
        x, z = rows(100, 1), found.sample(1000, random_state=0)
    assert found.score(x) == pytest.approx(LAW.logpdf(x).mean(), abs=0.15)
    assert np.abs((z.mean(0) - MEAN) / STD).max() < 0.2
    assert np.abs(np.cov(z.T) - COV).max() < 0.2 * COV.max()


# Randomness


def test_a_seed_is_that_of_the_model():
    five = tiny().sample(5, random_state=3).to_numpy()
    assert np.array_equal(tiny().sample(9, random_state=3).to_numpy()[:5], five)
    assert np.array_equal(tiny().model_.sample(5, seed=3, steps=10), five)
    assert not np.array_equal(tiny().sample(5, random_state=4).to_numpy(), five)


def test_a_random_state_is_drawn_from():
    state = np.random.RandomState(0)
    a, b = tiny().sample(2, random_state=state), tiny().sample(2, random_state=state)
    assert not a.equals(b)
    assert a.equals(tiny().sample(2, random_state=np.random.RandomState(0)))


def test_a_fit_is_a_function_of_its_seed():
    draws = [DiffusionDensity(**TINY, random_state=seed).fit(rows(40)).sample(3, random_state=0) for seed in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


# What goes in comes out


def test_a_frame_comes_back_as_a_frame():
    drawn = tiny().sample(300, random_state=0)
    assert drawn.dtypes.equals(table().dtypes)
    holes = table(4).astype(float)
    holes.iloc[1, 0] = holes.iloc[2, 1] = NAN
    for filled in tiny().impute(holes, n=2, random_state=0):
        assert filled.columns.equals(holes.columns)
        assert filled.dtypes.equals(table().dtypes)
        assert filled.index.equals(holes.index)
        assert np.array_equal(filled.to_numpy()[holes.notna()], table(4).to_numpy()[holes.notna()])


TEXT_COLUMN = judge.text_column


def test_numbers_of_a_frame_stay_in_range_unless_they_are_free():
    ends = table()["a"].min(), table()["a"].max()
    for bounds, inside in ((None, True), (("free",), False)):
        drawn = DiffusionDensity(**TINY, bounds=bounds).fit(table()).sample(600, random_state=0)["a"]
        assert drawn.between(*ends).all() == inside


@bug("text that looks like numbers, as numbers", judge, "text_column", lambda *column, typed: TEXT_COLUMN(*column))
def test_text_that_looks_like_something_else_comes_back():
    """Text that looks like booleans or whole numbers comes back as it was."""
    texts = pandas.DataFrame({"zip": ["007", "12"] * 5, "on": ["true", "false"] * 5, "x": np.arange(10.0)})
    with evaluating(steps=2):
        (same,) = DiffusionDensity(**TINY | {"steps": 1}).fit(texts).impute(texts)
    pandas.testing.assert_frame_equal(same, texts)


def test_a_mixed_frame_comes_back_as_it_was():
    """Completed, with the cells it was given, and the types and categories of `fit`."""
    drawn = mixed().sample(50, random_state=0)
    new = people(6, seed=1).set_axis([*"abcdef"]).astype({"sick": object})
    new.loc["c", ["zip", "age", "sick"]] = None
    filled = mixed().impute(new, n=2, random_state=0)
    for each in (drawn, *filled):
        assert each.dtypes.equals(people().dtypes)
        assert each.notna().all(axis=None)
    assert set(drawn["zip"]) <= {"007", "12", "4000"}
    for each in filled:
        assert each.index.equals(new.index)
        assert (each.astype(object) == new.astype(object))[new.notna()].fillna(True).all(axis=None)
    assert not filled[0].equals(filled[1])


def test_categories_and_missing_values_only_have_the_bound():
    scores = mixed().score_samples(people(5))
    assert np.isfinite(scores).all()
    x = people(5).astype(object).where(people(5).notna(), None)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        assert np.array_equal(mixed().score_samples(x.to_numpy()), scores)
    holes = DiffusionDensity(**TINY).fit(with_holes(rows(40)))
    for found, x in ((clone(mixed()), people()), (clone(holes), with_holes(rows(40)))):
        with pytest.raises(iw.ConfigError, match=r"^density: got flow, need bound"):
            found.set_params(density="flow").fit(x).score_samples(x)
    assert np.isfinite(holes.score_samples(rows(5))).all()


def test_a_category_of_no_row_of_the_fit_is_refused_by_name():
    other = people(4).assign(zip="9999")
    with pytest.raises(iw.DataError, match=r"column 'zip', row 0: got '9999', need one of 007, 12, 4000"):
        mixed().score_samples(other)


def test_categories_alone_are_a_table():
    categories = people()[["size", "stars", "sick"]]
    assert DiffusionDensity(**TINY, density="bound").fit(categories).sample(3).dtypes.equals(categories.dtypes)


def with_holes(x, seed=0):
    return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, NAN, x)


def test_an_array_with_holes_is_trained_on_and_completed():
    x = with_holes(rows(40)).astype(np.float32)
    found = DiffusionDensity(**TINY, density="bound").fit(x)
    assert np.isfinite(found.score_samples(x)).all()
    (filled,) = found.impute(x)
    assert filled.dtype == x.dtype
    assert np.isfinite(filled).all()
    assert (filled == x)[~np.isnan(x)].all()


def test_a_search_takes_tables_with_holes():
    """Each fold knows all categories, since the type of the column does."""
    grid = GridSearchCV(DiffusionDensity(**TINY, density="bound"), {"width": [8, 16]}, cv=2, error_score="raise")
    found = grid.fit(people()[["size", "member", "income"]])
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert np.isfinite(found.score(people(9)[["size", "member", "income"]]))


def purchases_log_prob(frame):
    """Of the cells that are there, as the docstring of the built-in set has the law."""
    category = frame["kind"].map({"bread": 0, "cheese": 1, "fruit": 2, "wine": 3}).to_numpy()
    price = norm.logpdf(frame["price"], np.array([3, 9, 4, 14])[category], np.array([0.5, 1.5, 0.8, 3])[category])
    quantity = poisson.logpmf(frame["quantity"], np.array([30, 12, 60, 20])[category])
    member = bernoulli.logpmf(frame["member"].astype(float).fillna(0), np.array([0.3, 0.6, 0.5, 0.8])[category])
    known = np.nan_to_num(price) + np.where(frame["member"].isna(), 0, member)
    return np.log([0.4, 0.2, 0.3, 0.1])[category] + quantity + known


@pytest.mark.slow
def test_the_law_of_purchases_is_found():
    shop = iw.load_dataset("shop")
    frame = iw.data.to_frame(shop.spec, shop.data)
    found = DiffusionDensity(2000, width=64, depth=2, dropout=0.0, density="bound").fit(frame[:8000])
    with evaluating():
        score = found.score_samples(frame[8000:])
    truth = purchases_log_prob(frame[8000:])
    assert -0.4 < (score - truth).mean() < 3 * (score - truth).std() / len(truth) ** 0.5


def test_an_array_is_imputed_to_a_frame_without_an_index():
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        (filled,) = tiny().impute(np.array([[1.0, NAN]]))
    assert filled.dtypes.equals(table().dtypes)


def test_names_of_columns_need_not_be_text():
    named = table().set_axis([7, 8], axis=1)
    assert DiffusionDensity(**TINY).fit(named).sample(2).columns.tolist() == [7, 8]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "bool"])
def test_an_array_comes_back_in_its_type(dtype):
    x = (np.random.default_rng(0).normal(0.5, 1, size=(60, 2)) > 0.5).astype(dtype)
    assert DiffusionDensity(**TINY).fit(x).sample(20, random_state=0).dtype == dtype


@bug("the same of arrays", estimator, "_rounded", lambda data, dtype: np.trunc(data).clip(-1e6, 1e6).astype(dtype))
def test_whole_numbers_are_rounded_within_their_type():
    given = np.array([-0.6, 0.4, 0.6, 7.5, 300.0, 1e30])
    assert estimator._rounded(given, np.dtype("uint8")).tolist() == [0, 0, 1, 8, 255, 255]
    assert estimator._rounded(given, np.dtype("int64")).tolist() == [-1, 0, 1, 8, 300, 2**53]
    assert estimator._rounded(given, np.dtype("bool")).tolist() == [False, False, True, True, True, True]


# Runs and pickles


@pytest.mark.parametrize(("fitted", "data"), [(tiny, table), (mixed, people)])
def test_a_pickle_is_the_same_estimator(fitted, data):
    again = pickle.loads(pickle.dumps(fitted()))  # noqa: S301
    assert fitted().sample(4, random_state=1).equals(again.sample(4, random_state=1))
    assert np.array_equal(fitted().score_samples(data(4)), again.score_samples(data(4)))


def test_a_pickle_holds_no_module():
    """Unpickling needs nothing of torch, and of this package only the class of the estimator."""
    found = []

    class Listening(pickle.Unpickler):
        def find_class(self, module, name):
            found.append((module, name))
            return super().find_class(module, name)

    Listening(io.BytesIO(pickle.dumps(tiny()))).load()
    assert [each for each in found if each[0].partition(".")[0] in ("torch", "inkwash")] == [
        ("inkwash.sklearn", "DiffusionDensity")
    ]


@pytest.mark.parametrize("name", ["header.json", "average.safetensors", "manifest.json"])
def test_a_damaged_pickle_is_refused(name):
    content = pickle.dumps(tiny())
    place = content.index(tiny()._checkpoint[name]) + 40
    with pytest.raises(iw.CheckpointError):
        pickle.loads(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])  # noqa: S301


def test_a_run_is_resumed_where_it_was_stopped(tmp_path):
    there = DiffusionDensity(**TINY, out=tmp_path / "run")
    with hooked(at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(KeyboardInterrupt):
        there.fit(table())
    assert iw.Run(tmp_path / "run").header().step == 10
    x = there.fit(table()).sample(3, random_state=0)
    assert x.equals(tiny().sample(3, random_state=0))
    assert [line["step"] for line in iw.Run(tmp_path / "run").metrics()][-1] == 12
    with pytest.raises(iw.ConfigError, match=r"^data: got other data"):
        there.fit(table(30))


def test_nothing_is_left_behind_or_printed_unless_wanted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    DiffusionDensity(**TINY).fit(rows(40))
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    DiffusionDensity(**TINY, verbose=True).fit(rows(40))
    assert "training  12 steps of 16 examples" in capsys.readouterr().out


def test_every_row_but_one_is_trained_on(tmp_path):
    DiffusionDensity(**TINY, out=tmp_path).fit(rows(40))
    assert [len(part) for part in iw.Run(tmp_path).split()] == [39, 1]
    assert not any((tmp_path / name).exists() for name in ("samples", "samples.png", "summary.json"))


def test_torch_is_left_alone():
    before = torch.get_rng_state()
    tiny().sample(1)
    assert torch.equal(torch.get_rng_state(), before)


# Autoencoders


def test_an_autoencoder_is_a_density():
    """Its importance-sampled density is above its bound on average, and comes back from a pickle."""
    x = rows(60)
    found = DiffusionDensity(**TINY, model="vae").fit(x)
    again = pickle.loads(pickle.dumps(found))  # noqa: S301
    scores = found.score_samples(x)
    assert np.array_equal(again.score_samples(x), scores)
    bounds = found.set_params(density="bound").score_samples(x)
    assert np.isfinite(bounds).all()
    assert scores.mean() > bounds.mean() - 2 * (scores - bounds).std() / np.sqrt(len(x))
    assert found.sample(3, random_state=0).shape == (3, 2)
    assert np.array_equal(found.sample(2, random_state=0), found.sample(3, random_state=0)[:2])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "gan"}, r"^model: got 'gan', need diffusion or vae$"),
        ({"model": "vae", "density": "flow"}, r"^density: got 'flow', need importance or bound$"),
        ({"density": "importance"}, r"^density: got 'importance', need flow or bound$"),
        ({"model": "vae", "dropout": 0.1}, r"^dropout: got 0.1, need the default, for a vae"),
    ],
)
def test_what_a_kind_of_model_lacks_is_refused(parameters, message):
    with pytest.raises(iw.ConfigError, match=message):
        DiffusionDensity(**{**TINY, **parameters}).fit(rows(40))


def test_an_autoencoder_imputes_nothing():
    with pytest.raises(iw.ConfigError, match=r"^impute: got a VAE"):
        DiffusionDensity(**TINY, model="vae").fit(rows(40)).impute(np.array([[NAN, 1.0]]))
