"""Bounds of columns: exact densities between stated ends, samples within the observed ones, refusals."""

import numpy as np
import pandas
import pytest
import torch
from bugs import bug
from faults import run_cli, train_words, without_pictures
from oracles import F64, GaussianData, exact_denoiser
from scipy.stats import johnsonsb, kstest, lognorm, norm

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import Slots
from inkwash.data import curves
from inkwash.data.bounds import Bounds, find_bounds
from inkwash.data.clock import Clock
from inkwash.data.columns import Column
from inkwash.data.curves import Chained, Log, fit_quantiles
from inkwash.data.dataset import load_dataset
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform, fit_transform

MEAN, STD = -0.4, 1.3
LAWS = {
    "between": (Bounds(-2.0, 5.0, True, True), johnsonsb(-MEAN / STD, 1 / STD, -2.0, 7.0)),
    "above": (Bounds(-2.0, None, True, True), lognorm(STD, -2.0, np.exp(MEAN))),
}
"""Bounds, and the law of numbers whose curve between them leads to a normal law."""


def one_column(bounds, dtype="float64"):
    """A model of one column that knows its law: behind the curve of its bounds, if there is one, it is normal."""
    spec = DataSpec((1,), "ND", "float64", -9.0, 9.0, None, {"x": Column(dtype)})
    transform = Transform(spec, (MEAN,), (STD,), bounds={"0": bounds})
    return iw.Diffusion(exact_denoiser(GaussianData([0.0], [[1.0]]), iw.KarrasSchedule(), "large"), (1,), transform)


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch):
    """Which are filled up with copies where there are fewer."""
    monkeypatch.setattr(Slots, "rows", 250)


@bug("the slope of one end", curves.Log, "log_slope", lambda self, u: -u, name="between")
@bug("no slope", curves.Log, "log_slope", lambda self, u: 0 * u, name="above")
@pytest.mark.parametrize("name", LAWS)
def test_stated_bounds_keep_the_exact_density(name):
    """By SciPy's laws of numbers whose logarithms or log-odds are normal; samples are of that law."""
    bounds, law = LAWS[name]
    model, x = one_column(bounds), law.ppf(np.linspace(0.01, 0.99, 9))
    np.testing.assert_allclose(model.log_prob(x[:, None]).value, law.logpdf(x), atol=1e-4)
    samples = model.sample(1000, seed=0, steps=50)[:, 0]
    assert bounds.holds(samples).all()
    assert kstest(samples, law.cdf).pvalue > 1e-3


def test_below_is_above_from_the_other_side():
    x = torch.linspace(0.5, 40, 50, dtype=F64)
    torch.testing.assert_close(Log(None, -3.0).bend(-x - 3), -Log(3.0, None).bend(x + 3))


@bug("the first curve's slope left out", Chained, "log_slope", lambda self, u: self.second.log_slope(u))
@pytest.mark.parametrize(("low", "high"), [(-2.0, 5.0), (-2.0, None), (None, 5.0)])
def test_a_chain_of_curves_comes_back_and_knows_its_slope(low, high):
    """The slope by automatic differentiation."""
    x = torch.linspace(-1.9, 4.9, 80, dtype=F64)
    first = Log(low, high)
    curve = Chained(first, fit_quantiles(first.bend(x).numpy()))
    between = ((x[1:] + x[:-1]) / 2).requires_grad_()
    u = curve.bend(between)
    torch.testing.assert_close(curve.unbend(u), between, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(curve.log_slope(u), torch.autograd.grad(u.sum(), between)[0].log())


@bug("samples beyond the ends left there", Bounds, "clip", lambda self, data: data)
def test_samples_are_censored_and_the_density_between_the_ends_is_theirs():
    """Of a normal law: the mass beyond each end stands at it; what is left is the law itself, whose density the model
    reports there, and beyond."""
    low, high, law = MEAN - STD, MEAN + 0.5 * STD, norm(MEAN, STD)
    model = one_column(Bounds(low, high))
    samples = model.sample(2000, seed=0, steps=50)[:, 0]
    for end, mass in ((low, law.cdf(low)), (high, law.sf(high))):
        assert np.mean(samples == end) == pytest.approx(mass, abs=4 * np.sqrt(mass / 2000))
    inside = samples[(samples > low) & (samples < high)]
    assert kstest(inside, lambda x: (law.cdf(x) - law.cdf(low)) / (law.cdf(high) - law.cdf(low))).pvalue > 1e-3
    x = np.linspace(low - 2, high + 2, 5)
    np.testing.assert_allclose(model.log_prob(x[:, None]).value, law.logpdf(x), atol=1e-4)


def test_whole_numbers_are_moved_to_the_ends_after_rounding():
    samples = one_column(Bounds(-1.0, 1.0), "int64").sample(500, seed=0, steps=50)[:, 0]
    assert sorted(set(samples)) == [-1, 0, 1]


def people(n=60):
    """Ages inside any bounds that are stated, fares of which some are 0, and children."""
    random = np.random.default_rng(0)
    fare = np.where(random.random(n) < 0.2, 0.0, random.lognormal(3, 1, n))
    kin, port = 3 * random.integers(0, 9, n), random.choice(["S", "C"], n)
    return pandas.DataFrame({"Age": random.uniform(1, 80, n), "Fare": fare, "Kin": kin, "Port": port})


def bounds_of(*options, train=None):
    data = load_dataset(people())
    names = list(data.spec.columns)
    return {names[int(i)]: each for i, each in find_bounds(options or None, data.spec, data.data, train).items()}


def test_bounds_are_observed_unless_they_are_free_or_stated():
    """A number at an end has no logarithm: such a column is censored."""
    frame, half = people(), np.arange(30)
    assert bounds_of(train=half) == bounds_of("observed", train=half)
    ends = {name: (frame[name][:30].min(), frame[name][:30].max()) for name in ("Age", "Fare", "Kin")}
    assert {name: (each.low, each.high) for name, each in bounds_of(train=half).items()} == ends
    assert bounds_of("free") == {}
    stated = bounds_of("free", "Age=0:120", "Fare=0:", "Kin=:30")
    assert stated == {
        "Age": Bounds(0.0, 120.0, True, True),
        "Fare": Bounds(0.0, None, True, False),
        "Kin": Bounds(None, 30.0, True, False),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("Age",), "observed, free, or COLUMN=LOW:HIGH"),
        (("Age=:",), "COLUMN=LOW:HIGH"),
        (("Age=old:",), "COLUMN=LOW:HIGH"),
        (("Port=0:1",), "a column of numbers: Age, Fare, Kin"),
        (("Age=9:1",), "the smaller number first"),
        (("observed", "free"), "observed or free"),
        (("Age=0:50",), "numbers from 0 to 50, as data.bounds says"),
    ],
)
def test_bounds_that_do_not_fit_are_refused(options, words):
    with pytest.raises((ConfigError, DataError), match=words):
        bounds_of(*options)


@bug("new rows beyond the bounds let through", Bounds, "holds", lambda self, data: data == data)
def test_new_rows_beyond_stated_bounds_are_refused():
    data = load_dataset(people())
    transform = fit_transform(data.spec, data.data, bounds=["Age=0:120"])
    beyond = data.data[:2].copy()
    beyond[1, 0] = 0.0
    refused = ""
    try:
        transform.to_model(beyond)
    except DataError as error:
        refused = str(error)
    assert "column 'Age', row 1: got 0, need numbers between 0 and 120" in refused
    with pytest.raises(ConfigError, match="a table without"):
        fit_transform(load_dataset("swiss-roll").spec, np.zeros((9, 2)), bounds=["free"])


@pytest.mark.parametrize("kind", ["quantile", pytest.param("min-max", marks=pytest.mark.slow)])
def test_bounds_come_back_with_a_run(tmp_path, capsys, monkeypatch, kind):
    people().to_csv(tmp_path / "ship.csv", index=False)
    options = ("--data.transform", kind, "--data.bounds", "Age=0:120", "Fare=0:")
    words = train_words(tmp_path / "ship.csv", tmp_path / "run", *options)
    without_pictures(monkeypatch)
    assert run_cli(words) == 0
    said = capsys.readouterr().out
    assert "samples: Age between 0 and 120; Fare at least 0, ends included; other numbers within" in " ".join(
        said.split()
    )
    samples = iw.load(tmp_path / "run").sample(300, seed=0, steps=5)
    assert ((samples[:, 0] > 0) & (samples[:, 0] < 120) & (samples[:, 1] >= 0) & (samples[:, 2] <= 24)).all()


def test_bounds_of_times_are_written_as_their_cells():
    """NumPy counts the minutes from 1970; a time has colons of its own."""
    spec = DataSpec((1,), "ND", "float64", 0, 9e9, None, {"t": Column("datetime64[m]", clock=Clock("m", 2e7, 9e4))})
    ends = np.array(["2020-01-01T10:00", "2020-01-02T08:30"], "datetime64[m]").astype(float)
    option = "t=2020-01-01 10:00:2020-01-02 08:30"
    found = find_bounds([option], spec, ends[:, None], None)["0"]
    assert (found.low, found.high) == tuple(ends)
    with pytest.raises(DataError, match="2020-01-02T08:31, need times from 2020-01-01T10:00 to 2020-01-02T08:30"):
        find_bounds([option], spec, ends[:, None] + 1, None)
