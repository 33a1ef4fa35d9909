"""Missing entries drawn given the others, against conditional laws in closed form."""

import math

import numpy as np
import pytest
import torch
from bugs import bug
from mixed_rows import MEANS, PROBABILITY, STD, model_of, rows
from oracles import F64, PLANE, exact_denoiser, exact_network, tensor

import inkwash as iw
from inkwash.core.randomness import generator
from inkwash.posterior import complete as completion, evidence

NAN = math.nan


def plane(**options):
    return iw.Diffusion(exact_denoiser(PLANE, iw.LinearSchedule()), (2,), dtype=F64, **options)


def given(row, known):
    """Mean and standard deviation of the other entry of the plane."""
    mean, cov = PLANE.mean, PLANE.cov
    other = 1 - known
    slope = float(cov[other, known] / cov[known, known])
    var = float(cov[other, other]) - slope * float(cov[known, other])
    return float(mean[other]) + slope * (row[known] - float(mean[known])), math.sqrt(var)


@bug(
    "every example known as the first one is",
    evidence.EachKnown,
    "known_of",
    lambda self, x: self.known[:1].expand(x.shape),
)
@pytest.mark.parametrize("n", [400, pytest.param(1500, marks=pytest.mark.slow)])
def test_each_row_has_the_conditional_law_of_a_normal(n):
    x = tensor([[2.0, NAN], [NAN, -0.5], [0.3, NAN], [NAN, NAN], [1.0, 4.0]])
    draws = plane().impute(x, n, seed=0, steps=30, sampler=iw.Heun(), method=iw.MomentMatching(floor=0.0))
    assert draws.shape == (n, 5, 2)
    for row, known in ((0, 0), (1, 1), (2, 0)):
        mean, std = given(x[row].tolist(), known)
        found = draws[:, row, 1 - known]
        assert float(found.mean()) == pytest.approx(mean, abs=4.5 * std / math.sqrt(n) + 0.02 * std)
        assert float(found.std()) == pytest.approx(std, rel=4.5 / math.sqrt(2 * n))
        assert (draws[:, row, known] == x[row, known]).all()
    free, error = draws[:, 3], 4.5 / math.sqrt(n)
    torch.testing.assert_close(free.mean(0), PLANE.mean, rtol=0, atol=1.3 * error)
    torch.testing.assert_close(free.T.cov(), PLANE.cov, rtol=1.3 * error, atol=0.9 * error)
    assert (draws[:, 4] == x[4]).all()


@pytest.mark.parametrize("method", [iw.SMC(), iw.RePaint(8, 4)], ids=["smc", "repaint"])
@pytest.mark.quick_cases("smc")
def test_other_methods_come_near_the_conditional_law(method):
    x = tensor([[2.0, NAN], [NAN, -0.5]])
    draws = plane().impute(x, 640, seed=0, steps=60, method=method)
    for row, known in ((0, 0), (1, 1)):
        mean, std = given(x[row].tolist(), known)
        assert float(draws[:, row, 1 - known].mean()) == pytest.approx(mean, abs=0.2 * std)
        assert float(draws[:, row, 1 - known].std()) == pytest.approx(std, rel=0.2)


@pytest.mark.parametrize("n", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_bits_are_drawn_given_the_others(n):
    """Against sums over all states of four bits."""
    from oracles import FOUR_BITS, exact_bit_denoiser

    schedule = iw.LinearSchedule()
    model = iw.Diffusion(exact_bit_denoiser(FOUR_BITS, schedule, 0.5), (4,), dtype=F64)
    x = tensor([[1.0, NAN, 0.0, NAN], [NAN, NAN, NAN, 1.0]])
    draws = model.impute(x, n, seed=0, steps=60)
    for row in range(2):
        known = ~x[row].isnan()
        weight = FOUR_BITS.probabilities * (FOUR_BITS.states[:, known] == x[row, known]).all(1)
        expected = (weight[:, None] * FOUR_BITS.states).sum(0) / weight.sum()
        assert (draws[:, row].mean(0) - expected).abs().max() < 4.5 * 0.5 / math.sqrt(n / 2) + 0.01


def test_draws_are_those_of_the_product_one_by_one():
    """Rows side by side have the same law as each alone: the two agree in mean and spread."""
    model, x = plane(), tensor([[2.0, NAN], [NAN, -0.5]])
    side = model.impute(x, 1000, seed=1, steps=40)
    for row, mask in ((0, [True, False]), (1, [False, True])):
        alone = (model * iw.Observed(mask, x[row].nan_to_num(0.0).numpy())).sample(1000, seed=2, steps=40)
        hidden = mask.index(False)
        ours, theirs = side[:, row, hidden], alone[:, hidden]
        error = float(theirs.std()) * math.sqrt(2 / 1000)
        assert float(ours.mean() - theirs.mean()) == pytest.approx(0, abs=4.5 * error)
        assert float(ours.std() / theirs.std()) == pytest.approx(1, abs=0.1)


def test_the_first_draws_do_not_depend_on_how_many_there_are(monkeypatch):
    monkeypatch.setattr(completion, "_MANY", 2)
    model, x = plane(), tensor([[2.0, NAN], [NAN, -0.5], [0.3, NAN]])
    most = model.impute(x, 7, seed=3, steps=5)
    for n in (1, 3):
        assert torch.equal(model.impute(x, n, seed=3, steps=5), most[:n])
    assert not torch.equal(model.impute(x, 7, seed=4, steps=5), most)


@bug("noise of the first group for all", completion, "generator", lambda *key: generator(*key[:2], 0, key[-1]))
@bug("noise of the first samples for all", completion, "generator", lambda *key: generator(*key[:-1], 0))
def test_examples_that_are_alike_have_noise_of_their_own(few_rows):
    """Whichever group they walk in, and in every walk of the group."""
    draws = plane().impute(tensor([[2.0, NAN]] * 5), 20, seed=0, steps=3)
    assert len(draws[..., 1].unique()) == 100


def test_complete_rows_are_given_back_and_cost_nothing():
    seen, schedule = [], iw.LinearSchedule()
    network = exact_network(PLANE, schedule)

    def counting(x_t, t):
        seen.append(len(x_t))
        return network(x_t, t)

    model = iw.Diffusion(iw.Denoiser(counting, iw.Gaussian(schedule), predicts="x", variance="small"), (2,), dtype=F64)
    holed = tensor([[2.0, NAN], [NAN, -0.5]])
    alone, cost = model.impute(holed, 3, seed=3, steps=5), sum(seen)
    whole = torch.arange(200.0, dtype=F64).reshape(-1, 2)
    among = model.impute(torch.cat([whole, holed[:1], whole, holed[1:]]), 3, seed=3, steps=5)
    assert sum(seen) == 2 * cost
    assert torch.equal(among[:, [100, 201]], alone)
    assert (among[:, :100] == whole).all()


@pytest.mark.parametrize("noise", ["uniform", "absorbing"])
@pytest.mark.quick_cases("absorbing")
@pytest.mark.parametrize("n", [250, pytest.param(750, marks=pytest.mark.slow)])
def test_rows_of_numbers_and_categories_have_their_conditional_law(noise, n):
    """The number given the category, and the category given the number."""
    value = 0.9
    draws = model_of(noise).impute(tensor([[2.0, NAN], [NAN, value]]), n, seed=0, steps=60)
    number, category = draws[:, 0, 1], draws[:, 1, 0]
    assert float(number.mean()) == pytest.approx(float(MEANS[2]), abs=4.5 * STD / math.sqrt(n) + 0.05)
    assert float(number.std()) == pytest.approx(STD, rel=4.5 / math.sqrt(2 * n))
    weight = PROBABILITY * torch.exp(-0.5 * ((value - MEANS) / STD) ** 2)
    expected = weight / weight.sum()
    share = torch.bincount(category.long(), minlength=3) / n
    assert ((share - expected).abs() < 4.5 * (expected * (1 - expected) / n).sqrt() + 0.03).all()


def test_arrays_keep_their_type_and_what_is_known():
    spec = iw.data.DataSpec((2,), "ND", "float32", -50.0, 50.0, None)
    model = iw.Diffusion(
        exact_denoiser(PLANE, iw.LinearSchedule()), (2,), iw.data.Transform(spec, (3.0, -5.0), (7.0, 0.2)), dtype=F64
    )
    x = np.array([[1.1, NAN], [NAN, -4.7]], np.float32)
    draws = model.impute(x, 3, seed=0, steps=5)
    assert draws.dtype == np.float32
    assert draws.shape == (3, 2, 2)
    assert (draws[:, 0, 0] == x[0, 0]).all()
    assert (draws[:, 1, 1] == x[1, 1]).all()
    assert np.isfinite(draws).all()


def test_bad_calls_are_refused():
    model, x = plane(), tensor([[2.0, NAN]])
    with pytest.raises(iw.ConfigError, match="n: got 0"):
        model.impute(x, 0)
    with pytest.raises(iw.ConfigError, match="method"):
        model.impute(x, 1, method=iw.DPS())
    with pytest.raises(iw.DataError, match="shape"):
        model.impute(tensor([[1.0, NAN, 2.0]]), 1)


def labelled():
    """Independent standard normal entries around -2 or 3, as the label says."""
    process, means = iw.Gaussian(iw.LinearSchedule()), tensor([0.5, -2.0, 3.0])

    def network(x_t, t, label=None):
        mean = means[torch.zeros(len(x_t), dtype=torch.long) if label is None else label][:, None]
        alpha, sigma = (getattr(process.schedule, name)(t)[:, None] for name in ("alpha", "sigma"))
        return sigma * (x_t - alpha * mean)

    denoiser = iw.Denoiser(network, process, variance="large")
    return iw.Diffusion(denoiser, (2,), dtype=F64, condition=iw.data.ConditionSpec(("low", "high")))


UNDER = completion.under


@bug(
    "labels of the first rows",
    completion,
    "under",
    lambda denoiser, condition, places: UNDER(denoiser, condition, slice(len(places))),
    method=iw.MomentMatching(),
)
@pytest.mark.parametrize("method", [iw.MomentMatching(), iw.SMC(), iw.RePaint(1, 1)], ids=["mm", "smc", "repaint"])
def test_each_example_is_drawn_under_its_own_label(method):
    """The first one lacks nothing, and is not drawn."""
    x = tensor([[1.0, 1.0], [1.0, NAN], [NAN, 1.0], [1.0, NAN]])
    draws = labelled().impute(x, 256, seed=0, steps=30, method=method, label=["high", "low", "high", "low"])
    for row, hidden, mean in ((1, 1, -2.0), (2, 0, 3.0), (3, 1, -2.0)):
        assert float(draws[:, row, hidden].mean()) == pytest.approx(mean, abs=0.3)


def test_examples_without_a_gap_come_back():
    x = tensor([[2.0, 1.0], [0.5, -0.5]])
    assert torch.equal(plane().impute(x, 3, seed=0, steps=5), x.expand(3, 2, 2))
    mixed = rows(2)
    assert torch.equal(model_of("absorbing").impute(mixed, 2, seed=0, steps=5), mixed.expand(2, -1, -1))


def test_a_product_of_a_mixed_model_is_drawn_as_its_imputation_is():
    model, x = model_of("absorbing"), tensor([[NAN, 1.5]])
    drawn = (model * iw.Observed([False, True], [0.0, 1.5])).sample(64, seed=0, steps=20)
    assert (drawn[:, 1] == 1.5).all()
    imputed = model.impute(x, 64, seed=0, steps=20)[:, 0]
    share = [torch.bincount(each[:, 0].long(), minlength=3) / 64 for each in (drawn, imputed)]
    assert (share[0] - share[1]).abs().max() < 0.3
