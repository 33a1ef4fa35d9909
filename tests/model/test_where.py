"""Conditions on columns: read as they are meant, met exactly, and samples of the law that they leave."""

import itertools
import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from mixed_rows import MEANS, PROBABILITY, STD, exact_mixed, process_of
from oracles import F64, PLANE_PEAKS, exact_denoiser
from scipy.stats import kstest, multivariate_normal, norm, truncnorm

import inkwash as iw
from inkwash.core.errors import ConfigError
from inkwash.core.randomness import Slots
from inkwash.data.bounds import Bounds
from inkwash.data.clock import Clock
from inkwash.data.columns import Column
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.data.where import read_where
from inkwash.posterior import smc
from inkwash.process import region
from inkwash.process.distributions import Normal

SHIP = {
    "Age": Column("float64"),
    "Fare, GBP": Column("float32"),
    "Kin": Column("int64"),
    "Sex": Column("str", ("female", "male")),
    "Class": Column("int64", ("1", "2", "3")),
}


def spec_of(columns):
    return DataSpec((len(columns),), "ND", "float64", -9.0, 99.0, None, columns)


def meeting(text, bounds=None):
    """Which of many rows of the ship meet conditions, as `read_where` has them."""
    rows = np.array([*itertools.product((29.5, 30, 30.5), (0, 7.25, 8), (0, 1, 2, 3), (0, 1), (0, 1, 2))])
    allowed = read_where(text, spec_of(SHIP), bounds or {})
    met = [
        np.isin(rows[:, i], list(each.categories))
        if each.categories is not None
        else (rows[:, i] >= each.low) & (rows[:, i] <= each.high)
        for i, each in allowed.items()
    ]
    return rows, np.all(met, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Age>30", lambda a, f, k, s, c: a > 30),
        (" Age <= 30 ,Kin>1,", lambda a, f, k, s, c: (a <= 30) & (k > 1)),
        ("Age=30, Sex=female", lambda a, f, k, s, c: (a == 30) & (s == 0)),
        ("Kin>0.5, Kin<3", lambda a, f, k, s, c: (k == 1) | (k == 2)),
        ("Kin>=1.5", lambda a, f, k, s, c: k >= 2),
        ('"Fare, GBP"<8', lambda a, f, k, s, c: f < 8),
        ("Class>=2", lambda a, f, k, s, c: c >= 1),
        ("Class in 1|3, Class!=1", lambda a, f, k, s, c: c == 2),
        ('Sex != "male"', lambda a, f, k, s, c: s == 0),
    ],
)
def test_conditions_are_read_as_they_are_meant(text, expected):
    rows, met = meeting(text)
    assert np.array_equal(met, expected(*rows.T))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "conditions such as"),
        ("Age", "conditions such as"),
        ('Sex="female', "conditions such as"),
        ("Agee>30", "'Agee', need one of the columns Age, Fare, GBP, Kin, Sex, Class"),
        ("Sex=woman", "where Sex: got 'woman', need one of female, male"),
        ("Sex>female", "=, != or in"),
        ("Age=old", "'Age = old', need Age with =, <, <=, > or >= and a number"),
        ("Age> , Sex=female", "got 'Age >', need Age with"),
        ("Age in 30|40", "and a number"),
        ("Age>30, Age<20", "got Age<20, need what Age can be here: 30 to 80"),
        ("Age>90", "got Age>90, need what Age can be here: 0.5 to 80"),
        ("Kin=1.5", "got Kin=1.5"),
        ("Sex=female, Sex=male", "got Sex=male, need what Sex can be here: female"),
    ],
)
def test_conditions_that_no_sample_meets_are_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        read_where(text, spec_of(SHIP), {"0": Bounds(0.5, 80.0)})


DAYS = Column("datetime64[D]", clock=Clock("D", 18262.0, 9.0))


def test_dates_and_truths_are_read_as_cells_are():
    """NumPy counts the days from 1970; truths of any capitals are one value."""
    spec = spec_of({"d": DAYS, "m": Column("bool", ("False", "True"))})
    tenth = int((np.datetime64("2020-01-10") - np.datetime64("1970-01-01")).astype(int))
    found = read_where("d>2020-01-10, d<=2020-02-01, m=true", spec, {})
    assert (found[0].low, found[0].high, found[1].only) == (tenth + 1, tenth + 22, 1.0)
    with pytest.raises(ConfigError, match=r"'d > 18300', need d with .* a time such as 2020-01-01"):
        read_where("d>18300", spec, {})
    with pytest.raises(ConfigError, match="what d can be here: 2020-01-10 to inf"):
        read_where("d<2020-01-05", spec, {"0": Bounds(float(tenth), None)})


@pytest.mark.parametrize("text", ["b>=0", "b>-1"])
def test_an_end_that_no_logarithm_reaches_changes_nothing(text):
    """All numbers of a model of logarithms lie above 0; none is 0 or below."""
    spec, units = spec_of({"b": Column("float64")}), numbers_model().units
    units = replace(units, shape=(1,), transform=Transform(spec, (0.0,), (1.0,), "log"))
    region = iw.Where(text).evidence(units).region
    assert (region.low.item(), region.high.item()) == (-math.inf, math.inf)
    with pytest.raises(ConfigError, match="what b can be here: 0 to inf"):
        iw.Where("b<=0").evidence(units)


@pytest.fixture(autouse=True)
def one_population(monkeypatch):
    monkeypatch.setattr(Slots, "rows", 800)


@bug("the wrong tail", region, "log_ndtr", lambda x: torch.special.log_ndtr(-x))
@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 0.5), (2.0, 40.0), (8.0, 8.5), (-math.inf, -6.0), (-math.inf, math.inf)]
)
def test_a_normal_law_between_two_ends_is_that_of_scipy(low, high):
    law = Normal(torch.tensor([0.3], dtype=F64, requires_grad=True), torch.tensor([0.49], dtype=F64))
    mean, log_mass = region.between(law, torch.tensor([low], dtype=F64), torch.tensor([high], dtype=F64))
    a, b = (low - 0.3) / 0.7, (high - 0.3) / 0.7
    flipped = (-b, -a) if a > 0 else (a, b)  # SciPy's differences of probabilities are exact in the lower tail
    assert mean.item() == pytest.approx(truncnorm(a, b, 0.3, 0.7).mean(), rel=1e-6)
    assert log_mass.exp().item() == pytest.approx(norm.cdf(flipped[1]) - norm.cdf(flipped[0]), rel=1e-9)
    assert bool(torch.autograd.grad(log_mass.sum(), law.mean)[0].isfinite())


def numbers_model():
    """Two numbers, a mixture of two normal laws, in data units that are not the model's."""
    transform = Transform(spec_of({"a": Column("float64"), "b": Column("float64")}), (10.0, 50.0), (2.0, 5.0))
    return iw.Diffusion(exact_denoiser(PLANE_PEAKS, iw.CosineSchedule(), "large"), (2,), transform, dtype=F64)


def unweighted(log_weight, count, generator):
    return torch.randperm(len(log_weight), generator=generator)[:count]


@bug("particles not weighed", smc, "_drawn", unweighted)
def test_numbers_within_a_range_follow_the_mixture_cut_to_it():
    """The first number of a mixture lies in a range that cuts through both of its parts: the law of each number by the
    exact law's many samples that lie there."""
    low, high = 9.0, 13.5
    x = (numbers_model() * iw.Where(f"a>{low}, a<={high}")).sample(800, seed=1, steps=50)
    assert ((x[:, 0] > low) & (x[:, 0] <= high)).all()
    random = np.random.default_rng(0)
    parts = [multivariate_normal(p.mean.numpy(), p.cov.numpy()) for p in PLANE_PEAKS.parts]
    counts = random.multinomial(200_000, PLANE_PEAKS.log_weights.exp().numpy())
    every = np.concatenate([p.rvs(n, random_state=random) for p, n in zip(parts, counts, strict=True)]) * (2, 5) + (
        10,
        50,
    )
    true = every[(every[:, 0] > low) & (every[:, 0] <= high)]
    for i in (0, 1):
        assert kstest(x[:, i], true[:, i]).statistic < 0.07
    assert kstest(every[:, 1], true[:, 1]).statistic > 0.14


def mixed_model():
    process = process_of()
    columns = {"kind": Column("str", ("a", "b", "c")), "size": Column("float64")}
    transform = Transform(spec_of(columns), (0.0, 20.0), (1.0, 4.0))
    denoiser = iw.denoise.MixedDenoiser(exact_mixed(process), process, variance="large")
    return iw.Diffusion(denoiser, (2,), transform, dtype=F64)


def anywhere(self, places):
    """The region of some places that leaves them open."""
    ends = torch.full((len(places),), math.inf, dtype=F64)
    return region.Region(-ends, ends, torch.ones((len(places), 3), dtype=torch.bool))


@bug("sets have no effect", region.Region, "of", anywhere)
def test_a_category_of_a_set_and_a_range_follow_the_exact_law():
    """Shares of the categories, and the law of the number, by the normal laws of both."""
    x = (mixed_model() * iw.Where("kind in a|c, size>21")).sample(800, seed=0, steps=50)
    assert set(x[:, 0]) == {0, 2}
    assert (x[:, 1] > 21).all()
    laws = [norm(20 + 4 * float(m), 4 * STD) for m in MEANS]
    mass = np.array([float(PROBABILITY[k]) * laws[k].sf(21) for k in (0, 2)])
    share = mass / mass.sum()
    assert np.mean(x[:, 0] == 0) == pytest.approx(share[0], abs=0.06)
    tail = lambda v: 1 - sum(float(PROBABILITY[k]) * laws[k].sf(v) for k in (0, 2)) / mass.sum()  # noqa: E731
    assert kstest(x[:, 1], tail).statistic < 0.08


def test_sets_of_categories_follow_the_enumerated_table():
    """Two dependent categories: of the rows of the table that meet the conditions, each has its share."""
    joint = torch.tensor([[0.20, 0.05, 0.05], [0.02, 0.28, 0.10], [0.15, 0.05, 0.10]], dtype=F64)
    process = iw.Categorical(iw.SohlDicksteinSchedule(), (3, 3), "absorbing")

    def network(x_t, t):
        other = (
            torch.cat([joint, joint.sum(0, keepdim=True)])[x_t[:, 0].long()],
            torch.cat([joint.T, joint.sum(1)[None]])[x_t[:, 1].long()],
        )
        return torch.cat([other[1], other[0]], 1).log()

    columns = {"row": Column("str", ("x", "y", "z")), "column": Column("str", ("u", "v", "w"))}
    transform = Transform(spec_of(columns), (0.0, 0.0), (1.0, 1.0))
    model = iw.Diffusion(iw.denoise.OddsDenoiser(network, process), (2,), transform, dtype=F64)
    x = (model * iw.Where("row!=y, column in v|w")).sample(800, seed=0, steps=50)
    found = np.array([np.sum((x[:, 0] == i) & (x[:, 1] == j)) for i in (0, 2) for j in (1, 2)])
    share = joint[[0, 2]][:, 1:].flatten().numpy()
    assert found.sum() == 800
    np.testing.assert_allclose(found / 800, share / share.sum(), atol=0.06)


def test_one_value_left_is_known_as_observed():
    """Bit for bit."""
    model, options = numbers_model(), {"seed": 0, "steps": 5}
    observed = (model * iw.Observed([True, False], [11.0, 0.0])).sample(3, **options)
    assert np.array_equal((model * iw.Where("a=11")).sample(3, **options), observed)
    assert np.array_equal((model * iw.Where("a>=11, a<=11")).sample(3, **options), observed)


@pytest.mark.parametrize(
    ("model", "others", "words"),
    [
        (numbers_model, [iw.Where("a>12"), iw.Where("a<11")], "exclude each other"),
        (numbers_model, [iw.Where("a>12"), iw.Observed([True, False], [11.0, 0.0])], "a known entry does not meet"),
        (mixed_model, [iw.Where("kind in a|b"), iw.Where("kind=c")], "a known entry does not meet"),
        (mixed_model, [iw.Where("kind in a|b"), iw.Where("kind=b, size>20")], None),
    ],
)
def test_factors_that_exclude_each_other_are_refused(model, others, words):
    with pytest.raises(ConfigError, match=words) if words else nullcontext():
        _ = model() * others[0] * others[1]


def test_methods_without_ranges_refuse_them():
    with pytest.raises(ConfigError, match="SMC, which takes ranges"):
        (numbers_model() * iw.Where("a>11")).sample(1, method=iw.PiGDM())


def test_rows_that_do_not_meet_the_conditions_are_impossible():
    product = numbers_model() * iw.Where("a>11")
    log_prob = product.unnormalised_log_prob(np.array([[10.0, 50.0], [12.0, 50.0]])).value
    assert log_prob.isfinite().tolist() == [False, True]
