"""Scores of draws against closed forms and sums, and draws of exact and of wrong laws."""

import itertools
import math

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import F64, PLANE, TOGETHER, exact_denoiser
from scipy.stats import norm

import inkwash as iw
from inkwash.evaluation import calibration
from inkwash.evaluation.calibration import hide, imputation_test, independent, score

NUMBERS, CATEGORIES = np.array([False]), np.array([True])
MEAN, STD = 3.0, 2.5


def expected_crps(mean, std, y):
    """Of a normal law (Gneiting & Raftery 2007, p. 367)."""
    z = (y - mean) / std
    return std * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))


@bug(
    "pairs of a draw with itself",
    calibration,
    "crps",
    lambda x, y: np.abs(x - y).mean(0) - np.abs(x[:, None] - x).mean((0, 1)) / 2,
    n=2,
)
@pytest.mark.parametrize("n", [2, 3, 40])
def test_crps_is_that_of_the_law_whatever_the_number_of_draws(n):
    y = np.array([3.0, 7.0, -4.0])
    draws = np.random.default_rng(0).normal(MEAN, STD, (n, 40_000, 3))
    each = calibration.crps(draws.reshape(n, -1), np.tile(y, 40_000)).reshape(-1, 3)
    error = each.std(0) / 200
    assert (abs(each.mean(0) - expected_crps(MEAN, STD, y)) < 4 * error).all()


@bug(
    "quantiles of few draws as of many",
    calibration,
    "coverage",
    lambda x, y, share: (abs(np.mean(x < y, 0) - 0.5) < share / 2) * 1.0,
    share=0.9,
    n=7,
)
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("n", [2, 7, 40])
def test_a_truth_of_the_law_of_the_draws_is_covered_as_stated(n, share):
    """Whichever of n + 1 numbers, with and without ties, is the truth: a sum over all of them."""
    for numbers in (np.random.default_rng(n).poisson(1.5, n + 1), np.random.default_rng(n).normal(3, 2, n + 1)):
        found = [calibration.coverage(np.delete(numbers, i)[:, None], numbers[i : i + 1], share) for i in range(n + 1)]
        assert np.mean(found) == pytest.approx(share)


def ends_count(weight):
    """How often a truth lies between two quantiles of its draws, where one that equals an end counts `weight`."""

    def replacement(draws, truth, share):
        low, high = np.quantile(draws, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return np.where((truth == low) | (truth == high), weight, (low < truth) & (truth < high))

    return replacement


@bug("a tie with an end counts half", calibration, "coverage", ends_count(0.5), share=0.9)
@bug("a tie with an end counts whole", calibration, "coverage", ends_count(1.0), share=0.9)
@bug("a tie with an end does not count", calibration, "coverage", ends_count(0.0), share=0.5)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_exact_draws_of_a_hidden_level_are_covered_as_stated(share):
    """A sum over all seen levels, all sets of four draws given the seen one, and all truths: most draws are equal."""
    joint, found = TOGETHER.log_probs.exp().reshape(3, 3).numpy(), 0.0
    for seen, (*draws, truth) in itertools.product(range(3), itertools.product(range(3), repeat=5)):
        law = joint[seen] / joint[seen].sum()
        weight = joint[seen].sum() * law[draws].prod() * law[truth]
        found += weight * calibration.coverage(np.array(draws)[:, None], np.array([truth]), share).item()
    assert found == pytest.approx(share)


def test_an_interval_too_narrow_or_too_wide_is_seen():
    random = np.random.default_rng(0)
    truth = random.normal(MEAN, STD, 4000)
    for wrong, compare in ((0.6, np.less), (1.6, np.greater)):
        draws = random.normal(MEAN, wrong * STD, (64, 4000))
        for share in (0.5, 0.9):
            exact = 2 * norm.cdf(wrong * norm.ppf((1 + share) / 2)) - 1
            found = calibration.coverage(draws, truth, share).mean()
            assert found == pytest.approx(exact, abs=0.035)
            assert compare(found, share)


@bug("a claim of a draw with itself", calibration, "_same", lambda x: (x[:, None] == x).sum(1) + 1)
def test_scores_of_categories_are_sums_over_all_draws():
    """Means over all outcomes of three draws, each with its probability, and over the truth, of another law."""
    p, law = np.array([0.5, 0.2, 0.3]), np.array([0.1, 0.7, 0.2])
    found = dict.fromkeys(calibration.CATEGORIES, 0.0)
    top = 0.0
    for *draws, y in itertools.product(range(3), repeat=4):
        weight = p[draws].prod() * law[y]
        counts = np.bincount(draws, minlength=3)
        top += weight * (counts[y] == counts.max()) / (counts == counts.max()).sum()
        for name, of in calibration.CATEGORIES.items():
            found[name] += weight * of(np.array(draws)[:, None], np.array([y])).item()
    assert found["brier"] == pytest.approx(sum(law[y] * ((p - np.eye(3)[y]) ** 2).sum() for y in range(3)))
    assert found["hit"] == pytest.approx(p @ law)
    assert found["claim"] == pytest.approx(p @ p)
    assert found["excess"] == pytest.approx(p @ p - p @ law)
    assert found["accuracy"] == pytest.approx(top)


@bug(
    "entries as rows",
    calibration,
    "row_mean",
    lambda values, rows: calibration.Mean(values.mean(), values.std(ddof=1) / len(values) ** 0.5),
)
def test_standard_errors_are_those_of_rows():
    """A row whose entries are one and the same number counts once."""
    values = np.random.default_rng(0).normal(MEAN, STD, 50)
    alone = calibration.row_mean(values, np.arange(50))
    assert (alone.value, alone.std_error) == pytest.approx((values.mean(), values.std(ddof=1) / math.sqrt(50)))
    thrice = calibration.row_mean(np.repeat(values, 3), np.repeat(np.arange(50) * 2, 3))
    assert (thrice.value, thrice.std_error) == pytest.approx((alone.value, alone.std_error))
    assert calibration.row_mean(values, np.zeros(50, int)).std_error is None


def test_what_is_hidden_is_a_share_of_what_is_there():
    x = np.random.default_rng(0).normal(size=(4000, 10))
    x[::2, 3:] = np.nan
    hidden = hide(x, 1)
    assert not hidden[np.isnan(x)].any()
    assert (hidden[1::2].sum(1) == 3).all()
    assert (hidden[::2].sum(1) == 1).all()
    assert abs(hidden[1::2].mean(0) - 0.3).max() < 4.5 * math.sqrt(0.21 / 2000)
    assert np.array_equal(hide(x[:7], 1), hidden[:7])
    assert not np.array_equal(hide(x, 2), hidden)


def test_independent_columns_are_drawn_from_what_training_has_of_them():
    random = np.random.default_rng(0)
    train = np.stack([random.normal(MEAN, STD, 20_000), random.choice(3, 20_000, p=[0.5, 0.2, 0.3])], 1)
    train[:9000, 0] = np.nan
    x = np.stack([random.normal(MEAN, STD, 2000), random.choice(3, 2000, p=[0.5, 0.2, 0.3])], 1)
    seen = np.where(np.arange(2000)[:, None] % 2 == [0, 1], np.nan, x)
    draws = independent(train, 0)(seen, 32)
    assert np.array_equal(np.broadcast_to(seen, draws.shape)[:, ~np.isnan(seen)], draws[:, ~np.isnan(seen)])
    found = score(draws, x, np.isnan(seen), np.array([STD, 1.0]), np.array([False, True]))
    crps = found["numbers"]["crps"]
    assert crps.value == pytest.approx(1 / math.sqrt(math.pi), abs=4 * crps.std_error)  # mean over the law itself
    assert found["numbers"]["coverage_90"].value == pytest.approx(
        0.9, abs=4 * found["numbers"]["coverage_90"].std_error
    )
    assert found["categories"]["hit"].value == pytest.approx(0.38, abs=4 * found["categories"]["hit"].std_error)
    assert found["categories"]["claim"].value == pytest.approx(0.38, abs=0.01)


def plane_rows(count):
    return PLANE.marginal(1.0, 0.0).sample((count,)).numpy()


@pytest.mark.slow
def test_the_draws_of_an_exact_model_are_calibrated_and_score_what_their_law_does():
    torch.manual_seed(0)
    model = iw.Diffusion(exact_denoiser(PLANE, iw.CosineSchedule()), (2,), dtype=F64)
    x, train = plane_rows(300), plane_rows(2000)

    def impute(seen, n):
        options = {"sampler": iw.DPMSolver(), "steps": 40, "method": iw.MomentMatching(floor=0.0)}
        return model.impute(torch.from_numpy(seen), n, seed=0, **options).numpy()

    unit = np.sqrt(np.diag(PLANE.cov))
    found = imputation_test(impute, x, train, unit, np.zeros(2, bool))
    assert (found.rows, found.hidden) == (300, 300)
    left = math.sqrt(1 - float(PLANE.cov[0, 1]) ** 2 / float(PLANE.cov.diag().prod()))  # of the spread, given the other
    for scores, spread in ((found.model, left), (found.independent, 1.0)):
        crps, half, most = scores["numbers"].values()
        assert crps.value == pytest.approx(spread / math.sqrt(math.pi), abs=4 * crps.std_error)
        assert half.value == pytest.approx(0.5, abs=4 * half.std_error)
        assert most.value == pytest.approx(0.9, abs=4 * most.std_error)
    assert found.model["numbers"]["crps"].value < 0.9 * found.independent["numbers"]["crps"].value

    def too_sure(seen, n):
        draws = impute(seen, n)
        return draws.mean(0) + 0.3 * (draws - draws.mean(0))

    sure = imputation_test(too_sure, x, train, unit, np.zeros(2, bool)).model["numbers"]
    exact = 2 * norm.cdf(0.3 * norm.ppf(0.95)) - 1
    assert sure["coverage_90"].value == pytest.approx(exact, abs=4 * sure["coverage_90"].std_error)
    assert sure["crps"].value > found.model["numbers"]["crps"].value
