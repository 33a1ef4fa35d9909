"""Curves of real numbers: inverses, slopes, densities in data units, and runs that are trained along them."""

import csv
import json
import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from faults import newest, rewrite, run_cli, tiny, train_words, without_pictures
from hypothesis import given, settings, strategies as st
from oracles import F64, GaussianData, exact_denoiser

import inkwash as iw
from inkwash.core.config import TransformKind
from inkwash.core.errors import NonFiniteError
from inkwash.core.options import from_json, to_json
from inkwash.data import curves, transform
from inkwash.data.curves import Quantiles, fit_quantiles
from inkwash.data.transform import fit_transform
from inkwash.training.fit import fit

KINDS = get_args(TransformKind)
kinds = pytest.mark.parametrize("kind", KINDS)
numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -2.5]), st.floats(-100, 100), st.floats(-1e6, 1e6), st.integers(-3, 3).map(float)
)


def skewed(n=300, seed=0):
    """Three columns of positive numbers, of lognormal, gamma and heavy-tailed law."""
    random = np.random.default_rng(seed)
    return np.stack([random.lognormal(3, 0.8, n), random.gamma(2, 5, n), 1 + random.pareto(1.5, n)], 1)


def fitted(kind, data, rows=None):
    return fit_transform(iw.load_dataset(data).spec, data, None, rows, kind)


@given(st.lists(numbers, min_size=2, max_size=80))
@settings(max_examples=60, deadline=None)
def test_quantiles_rise_and_come_back_on_all_real_numbers(values):
    data = np.array(values)
    if np.ptp(data) < 1e-6:
        return
    curve = fit_quantiles(data)
    curve.check("curve")
    reach = 10 * np.ptp(data)
    x = torch.linspace(data.min() - reach, data.max() + reach, 301, dtype=F64)
    u = curve.bend(x)
    assert bool((u.diff() > 0).all())
    torch.testing.assert_close(curve.unbend(u), x, rtol=1e-6, atol=1e-12 * reach)


ALONG, QUANTILE = curves._along, np.quantile


@bug(
    "quantiles cut at the ends", curves, "_along", lambda x, start, end: ALONG(x.clamp(start[0], start[-1]), start, end)
)
def test_beyond_the_ends_the_lines_go_on():
    """Beyond what was seen the quantile transform goes on as its first and last lines do."""
    curve = fit_quantiles(skewed()[:, 0])
    (first, *_, last), spread = curve.knots, curve.knots[-1] - curve.knots[0]
    x = torch.tensor([first - 1e3 * spread, first - 1, last + 1, last + 1e3 * spread], dtype=F64)
    torch.testing.assert_close(curve.unbend(curve.bend(x)), x, rtol=1e-9, atol=0)
    ends = curve.bend(torch.tensor([last, last + 1, last + 5], dtype=F64))
    assert float(ends[2] - ends[0]) == pytest.approx(5 * float(ends[1] - ends[0]))


def test_the_quantile_transform_makes_any_law_normal():
    """The shares of a known law below its numbers are those of the normal law below where these go."""
    law = torch.distributions.LogNormal(torch.tensor(3.0, dtype=F64), 0.8)
    x = torch.logspace(0.8, 1.9, 30, dtype=F64)
    curve = fit_quantiles(skewed(4000)[:, 0])
    found = torch.special.ndtr(curve.bend(x))
    torch.testing.assert_close(found, law.cdf(x), rtol=0, atol=2.5 / math.sqrt(4000))


@bug("two lines where there should be ten", curves, "_LEAST", 2)
@bug("the smallest of ten for the share 0", np, "quantile", lambda x, shares, method: QUANTILE(x, shares))
def test_the_k_th_of_ten_numbers_stands_for_the_share_between_its_neighbours():
    """Half of it is below: the ends stand for 1/20 and 19/20, and halfway between two numbers are k tenths."""
    data = np.random.default_rng(5).gamma(1.0, 2.0, 10)
    ordered, curve = np.sort(data), fit_quantiles(data)
    at = torch.from_numpy(np.concatenate([ordered[:1], (ordered[1:] + ordered[:-1]) / 2, ordered[-1:]]))
    shares = [0.05, *(k / 10 for k in range(1, 10)), 0.95]
    np.testing.assert_allclose(curve.bend(at), scipy.stats.norm.ppf(shares), rtol=1e-9, atol=1e-9)


def test_numbers_that_come_again_are_one_knot_at_the_mean_of_their_shares():
    data = np.concatenate([np.zeros(400), np.random.default_rng(0).uniform(1, 2, 600)])
    curve = fit_quantiles(data)
    assert curve.knots.count(0.0) == 1
    assert float(torch.special.ndtr(torch.tensor(curve.normal[0], dtype=F64))) == pytest.approx(0.2, abs=0.02)


@kinds
def test_data_comes_back_through_single_precision(kind):
    data = skewed()
    back = fitted(kind, data[:200]).to_data(fitted(kind, data[:200]).to_model(data))
    np.testing.assert_allclose(back, data, rtol=2e-6, atol=1e-6 * data.max() if kind != "log" else 0)


@kinds
def test_training_data_has_the_scale_that_is_promised(kind):
    x = fitted(kind, skewed()).to_model(skewed()).double()
    if kind == "min-max":
        assert x.amin(0).tolist() == pytest.approx([-1] * 3)
        assert x.amax(0).tolist() == pytest.approx([1] * 3)
    else:
        assert float(x.mean(0).abs().max()) < 1e-5
        assert float((x.var(0, correction=0) - 1).abs().max()) < 1e-5


@bug("the slope of a curve forgotten", curves.Log, "log_slope", lambda self, u: 0 * u, kind="log")
@kinds
def test_the_log_determinant_is_that_of_the_jacobian(kind):
    """The log-determinant is that of the matrix of the inverse map, by central differences and LU."""
    transform, step = fitted(kind, skewed()), 1e-6
    x = torch.tensor([[0.31, -1.27, 0.83], [-0.4, 2.2, 5.0], [-6.0, 0.1, 1.4]], dtype=F64)
    moved = step * torch.eye(3, dtype=F64)[:, None]
    columns = [(transform.real(x + each) - transform.real(x - each)) / (2 * step) for each in moved]
    expected = -torch.linalg.slogdet(torch.stack(columns, 1)).logabsdet
    torch.testing.assert_close(transform.log_det(x), expected, rtol=1e-6, atol=1e-6)


LOG_DET = transform.Transform.log_det


@bug(
    "volume of what is missing counted",
    transform.Transform,
    "log_det",
    lambda self, x: LOG_DET(self, x.nan_to_num(0.0)),
    kind="standard",
)
@kinds
def test_missing_cells_have_no_volume(kind):
    data = skewed()
    transform, x = fitted(kind, data), torch.tensor([[0.3, -0.2, 1.0]])
    single = [
        float(fitted(kind, data[:, [i]]).log_det(x[:, [i]])) for i in range(3)
    ]  # columns of the table by themselves
    gone = torch.tensor([[0.3, float("nan"), 1.0]])
    assert float(transform.log_det(x)) == pytest.approx(sum(single))
    assert float(transform.log_det(gone)) == pytest.approx(single[0] + single[2])
    assert np.isnan(transform.to_model(np.array([[2.0, np.nan, 3.0]]), missing=True).numpy()).tolist() == [
        [False, True, False]
    ]


NORMAL = GaussianData([0.3], [[0.8]])


def exact(transform):
    """The exact model of normal data behind a transform of one column."""
    return iw.Diffusion(exact_denoiser(NORMAL, iw.LinearSchedule()), (1,), transform, dtype=F64)


@bug("the slope of the inverse map", curves.Log, "log_slope", lambda self, u: u, kind="log")
@kinds
def test_the_density_integrates_to_one(kind):
    """The density in data units integrates to one: by midpoints of cells that end where the curve bends."""
    transform = fitted(kind, skewed()[:, :1])
    ends = transform.real(torch.linspace(-5, 6, 200, dtype=F64)[:, None])[:, 0]
    ends = torch.cat([ends, torch.tensor(transform.quantiles["0"].knots if kind == "quantile" else [], dtype=F64)])
    ends = ends.sort().values
    data = ((ends[1:] + ends[:-1]) / 2)[:, None].numpy()
    density = exact(transform).log_prob(data).value.exp()
    assert float((density * ends.diff()).sum()) == pytest.approx(1, abs=2e-3)


@kinds
def test_the_bound_and_its_parts_are_moved_as_the_density_is(kind):
    """For the same rows in either unit, the bound and the costs of grids differ by as much as the log-density."""
    data = skewed(24)[:, :1]
    transform = fitted(kind, skewed()[:, :1])
    bare, curved, x = exact(None), exact(transform), transform.to_model(data).double()
    gain = curved.log_prob(data).value - bare.log_prob(x).value
    bounds = curved.bound(data, steps=10), bare.bound(x, steps=10)
    torch.testing.assert_close(bounds[1].total - bounds[0].total, gain, rtol=0, atol=1e-4)
    for name in ("lower", "prior_log_prob"):
        torch.testing.assert_close(getattr(bounds[0], name) - getattr(bounds[1], name), gain, rtol=0, atol=1e-4)
    times = torch.linspace(1, 0, 6, dtype=F64)
    costs = [iw.model.bound_costs(model, y, candidates=times).fixed for model, y in ((curved, data), (bare, x))]
    assert costs[1] - costs[0] == pytest.approx(float(gain.mean()), abs=1e-4)


QUANTILES_OF = transform._quantiles


@bug(
    "quantiles of all the data",
    transform,
    "_quantiles",
    lambda spec, data, rows: QUANTILES_OF(spec, data, None),
    kind="quantile",
)
@kinds
def test_the_transform_is_fitted_on_the_training_part(kind):
    """What is not trained on changes nothing."""
    data, bare = skewed(), np.random.default_rng(1).permutation(300)[:200]
    spec, other = iw.load_dataset(data).spec, 1e3 * data
    other[bare] = data[bare]
    found, single = fit_transform(spec, other, None, bare, kind), fit_transform(spec, data[bare], None, None, kind)
    x = torch.linspace(-2, 2, 30, dtype=F64).reshape(10, 3)
    np.testing.assert_allclose(found.to_real(x), single.to_real(x), rtol=1e-9)


MOMENTS, ENDS = transform._moments, transform._ends


def zeros_for_missing(fit):
    return lambda curves, data, rows: fit(curves, np.nan_to_num(data), rows)


@bug("quantiles of zeros", transform, "_quantiles", zeros_for_missing(QUANTILES_OF), kind="quantile")
@bug("moments of zeros", transform, "_moments", zeros_for_missing(MOMENTS), kind="standard")
@bug("ends of zeros", transform, "_ends", zeros_for_missing(ENDS), kind="min-max")
@kinds
def test_the_transform_of_a_column_is_that_of_its_cells_that_are_there(kind):
    """Beside it stand whole numbers, which are standardised whatever becomes of the real ones."""
    real, whole = 50 + skewed()[:, 0], np.random.default_rng(3).poisson(9.0, 300).astype(float)
    gone, lost = np.random.default_rng(4).random((2, 300)) < 0.3
    columns = {"x": iw.data.Column("float64", missing=True), "n": iw.data.Column("int64", missing=True)}
    spec = iw.data.DataSpec((2,), "ND", "float64", 0.0, 1e4, None, columns)
    table = np.stack([np.where(gone, np.nan, real), np.where(lost, np.nan, whole)], 1)
    found, alone = fit_transform(spec, table, kind=kind), fitted(kind, real[~gone, None])
    np.testing.assert_allclose(found.to_model(table)[~gone, :1], alone.to_model(real[~gone, None]), atol=1e-5)
    n = found.to_model(table)[~lost, 1].double()
    assert (float(n.mean()), float(n.std(correction=0))) == pytest.approx((0, 1), abs=1e-5)


@kinds
def test_a_transform_comes_back_from_json(kind):
    transform = fitted(kind, skewed())
    again = from_json(iw.data.Transform, json.loads(json.dumps(to_json(transform))))
    again.check()
    assert again == transform


LINE = Quantiles((0.0, 1.0, 3.0), (-1.0, 0.0, 1.0))
BAD_QUANTILES = {
    "none": {},
    "of an entry that is none": {"0": LINE, "7": LINE},
    "one knot": {"0": Quantiles((0.0,), (1.0,))},
    "of two lengths": {"0": replace(LINE, normal=(-1.0, 1.0))},
    "falling": {"0": replace(LINE, knots=(0.0, 2.0, 1.0))},
    "level": {"0": replace(LINE, normal=(-1.0, 0.0, 0.0))},
    "vertical": {"0": replace(LINE, knots=(0.0, 5e-324, 3.0))},
}


@pytest.mark.parametrize("quantiles", BAD_QUANTILES.values(), ids=BAD_QUANTILES)
def test_quantiles_that_make_no_curve_are_refused(quantiles):
    spec = iw.load_dataset(skewed()[:, :1]).spec
    iw.data.Transform(spec, (0.0,), (1.0,), "quantile", {"0": LINE}).check()
    with pytest.raises(iw.ConfigError, match=r"transform\.quantiles"):
        iw.data.Transform(spec, (0.0,), (1.0,), "quantile", quantiles).check()
    with pytest.raises(iw.ConfigError, match=r"transform\.quantiles"):
        iw.data.Transform(spec, (0.0,), (1.0,), "log", {"0": LINE}).check()


def test_a_sample_too_large_for_its_type_is_refused():
    transform = fitted("log", skewed().astype(np.float32))
    with pytest.raises(NonFiniteError):
        transform.to_data(torch.tensor([[0.0, 0.0, 500.0]]))


def test_numbers_without_a_logarithm_are_refused_by_column():
    """It does not matter where they are: held out, or in later data."""
    data = skewed()
    transform = fitted("log", data)
    data[7, 2] = 0
    with pytest.raises(iw.DataError, match=r"column 2: got 0, need numbers > 0"):
        fitted("log", data, np.arange(100, 200))
    with pytest.raises(iw.DataError, match="column 2"):
        transform.to_model(data)


# Factors of a model whose map to data units is not affine

PLANE = GaussianData([0.4, -0.3], [[1.0, 0.6], [0.6, 0.9]])
bent = pytest.mark.parametrize("kind", ["log", "quantile"])


def plane(transform):
    return iw.Diffusion(exact_denoiser(PLANE, iw.LinearSchedule()), (2,), transform, steps=50, dtype=F64)


@bent
def test_what_is_known_says_the_same_in_either_unit(kind):
    """Draws given an entry are those of the model without a transform, there and back; the entry is what it was."""
    curved, bare = plane(fitted(kind, skewed()[:, :2])), plane(None)
    given, options = np.array([17.25, np.nan]), {"seed": 0, "steps": 5}
    known = curved.to_model(given[None], missing=True)[0].double()
    drawn = (curved * iw.Observed([True, False], given)).sample(6, **options)
    expected = (bare * iw.Observed([True, False], known.numpy())).sample(6, **options)
    completed = curved.impute(given[None], 6, **options)[:, 0], bare.impute(known[None], 6, **options)[:, 0]
    for data, x in ((drawn, expected), completed):
        assert (data[:, 0] == given[0]).all()
        torch.testing.assert_close(curved.to_model(data).double(), x.double(), rtol=0, atol=1e-5)


@bent
def test_a_classifier_works_in_data_units_and_a_measurement_refused(kind):
    """The gradient of log r with respect to the model's units, by differences."""
    model = plane(fitted(kind, skewed()[:, :2]))
    factor = iw.Classifier(lambda data: -((data[:, 0] * data[:, 1]).log() ** 2))
    potential, x = factor.evidence(model.units).potential, torch.tensor([[0.21, -0.63]], dtype=F64)
    gradient = iw.posterior.evidence.gradient(potential, x)
    steps = 1e-6 * torch.eye(2, dtype=F64)
    expected = (potential(x + steps) - potential(x - steps)) / 2e-6
    torch.testing.assert_close(gradient[0], expected, rtol=1e-5, atol=1e-7)
    with pytest.raises(iw.ConfigError, match=rf"data\.transform: got {kind}"):
        (model * iw.Measurement([[1.0, 1.0]], [3.0], 0.1)).sample(1)


def test_a_measurement_of_a_model_from_end_to_end_of_its_data_is_linear():
    model = plane(fitted("min-max", skewed()[:, :2]))
    draws = (model * iw.Measurement([[1.0, 2.0]], [60.0], 1e-3)).sample(6, seed=0, steps=20)
    np.testing.assert_allclose(draws @ [1.0, 2.0], 60.0, atol=0.1)


# Runs


def table(folder, least=1e-3):
    """Rows of a positive real number, an integer below zero, a category, and a real one with missing cells."""
    random = np.random.default_rng(0)
    price = np.maximum(random.lognormal(2, 1, 80), least)
    size = np.where(random.random(80) < 0.2, "", np.round(random.lognormal(0, 2, 80), 4).astype(str))
    size = np.where(size == "0.0", "0.1", size)
    cells = np.stack(
        [price.astype(str), random.integers(-90, -20, 80).astype(str), random.choice(["a", "b"], 80), size]
    )
    with (folder / "data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["price", "depth", "kind", "size"], *cells.T])
    return folder / "data.csv"


@pytest.mark.parametrize("kind", ["min-max", "quantile", "log"])
@pytest.mark.quick_cases("quantile")
def test_a_table_from_the_command_line_to_completion(kind, tmp_path, monkeypatch, capsys):
    without_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    options = ["--data.transform", kind, "--denoiser.predicts", "x", "--train.batch-size", 16]
    assert run_cli(train_words(table(tmp_path), "run", *options)) == 0
    printed = capsys.readouterr().out
    assert {"min-max": "[-1, 1] per", "quantile": "quantiles of", "log": "logarithms"}[kind] in printed
    assert "of whole numbers, mean 0" in printed
    run = iw.Run("run")
    transform, model, x = run.header().transform, run.model(), run.dataset().data
    assert transform.kind == kind
    assert set(transform.curves) == (set() if kind == "min-max" else {0, 3})
    assert torch.equal(model.to_model(x)[:, 1], iw.Run("run").model().to_model(x)[:, 1])
    assert model.bound(x[:5], terms=3).total.isfinite().all()
    drawn = (model * iw.Observed([False, True, False, False], [0, -40, 0, 0])).sample(
        3, method=iw.SMC(), seed=0, steps=3
    )
    assert drawn[:, 1].tolist() == [-40] * 3
    assert run_cli(["sample", "run", "-n", 5, "--steps", 5, "--out", "drawn"]) == 0
    assert run_cli(["impute", "run", "data.csv", "-n", 2, "--steps", 3, "--out", "done"]) == 0
    done, given = (iw.load_dataset(name).data for name in ("done/completed-001.csv", "data.csv"))
    assert np.array_equal(done[~np.isnan(given)], given[~np.isnan(given)])
    assert np.isfinite(done).all()


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path, capsys):
    words = train_words(table(tmp_path, least=-1e9), tmp_path / "run", "--data.transform", "log")
    (tmp_path / "data.csv").write_text((tmp_path / "data.csv").read_text() + "-2.5,-30,a,1.5\n")
    assert run_cli(words) == 3
    assert "column 'price': got -2.5, need numbers > 0" in capsys.readouterr().err
    assert run_cli(train_words("digits", tmp_path / "run", "--data.transform", "quantile")) == 2
    assert "data.transform: got quantile, need data with real numbers" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_header_of_another_transform_than_its_options_is_refused(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    np.save(tmp_path / "data.npy", skewed(60))
    config = tiny(tmp_path / "data.npy")
    run = fit(replace(config, data=replace(config.data, transform="quantile")), tmp_path / "run", report=False)
    text = (newest(run.path) / "header.json").read_text()
    plain = json.loads(text)
    assert run.model().log_prob(skewed(3)).value.isfinite().all()
    for change in ({"kind": "log"}, {"kind": "other"}, {"quantiles": {"0": {"knots": [0, 1]}}}):
        broken = {**plain, "transform": {**plain["transform"], **change}}
        rewrite(newest(run.path), {"header.json": json.dumps(broken).encode()})
        with pytest.raises(iw.CheckpointError, match="header"):
            iw.load(newest(run.path))
