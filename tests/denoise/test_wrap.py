"""What is decided about a trained denoiser by wrapping it, and what is measured of it: estimates that are known."""

import math

import pytest
import torch
from bugs import bug
from oracles import F64, name_of, tensor

import inkwash as iw
from inkwash.denoise.measure import measured_variance
from inkwash.denoise.wrap import Clipped, Conditioned, Thresholded, WithVariance, clipped, with_variance, without
from inkwash.process import Analytic
from inkwash.process.variance import SIMPLE

SCHEDULE = iw.CosineSchedule()
X_T = tensor([[0.5, -3.0], [2.0, 0.1]])
LATTICE = iw.process.Lattice(-1.0, 1.0, 5)


def denoiser(variance="large", network=lambda x_t, t: 2 * x_t):
    return iw.Denoiser(network, iw.Gaussian(SCHEDULE), "x", variance)


class Fixed:
    """A denoiser whose estimate is a function of noisy data, its signal and noise scales, and the condition."""

    process = iw.Gaussian(SCHEDULE)

    def __init__(self, x):
        self.x = x

    def __call__(self, x_t, t, **condition):
        estimate = denoiser()(x_t, t)
        return estimate.with_x(self.x(x_t, SCHEDULE.alpha(t), **condition).expand_as(x_t))


def data(rows):
    return torch.randn(rows, 3, dtype=F64, generator=torch.Generator().manual_seed(0))


def test_the_error_of_a_constant_is_the_mean_square_around_it_at_every_level():
    """More examples than are looked at in one go, some with missing entries, which do not count."""
    x = data(600)
    full = measured_variance(Fixed(lambda x_t, alpha: tensor(0.5)), x, 50)
    assert full.log_error.exp().tolist() == pytest.approx([float(((x - 0.5) ** 2).mean())] * len(full.log_snr))
    x[::3, 1] = torch.nan
    x[-1] = torch.nan
    seen = []

    def guess(x_t, alpha, present):
        seen.append(present)
        return tensor(0.5)

    partial = measured_variance(Fixed(guess), x, 50)
    assert partial.log_error.exp().tolist() == pytest.approx([float(((x - 0.5) ** 2).nanmean())] * len(full.log_snr))
    assert torch.equal(seen[0], ~x[:256].isnan())


def test_conditions_go_with_their_rows():
    """An estimate that the condition gives away has no error, down to the least that a table may hold."""
    x = data(300)
    found = measured_variance(Fixed(lambda x_t, alpha, given: given), x, 50, {"given": x})
    assert found.log_error.exp().tolist() == pytest.approx([1e-30] * len(found.log_snr))
    with pytest.raises(TypeError):
        measured_variance(Fixed(lambda x_t, alpha, given: given), x, 50)


def test_the_error_of_noisy_data_itself_is_that_of_the_noise():
    """x_t / alpha is off by sigma / alpha standard normal numbers; the table ends at the model's own first time."""
    found = measured_variance(Fixed(lambda x_t, alpha: x_t / alpha), data(512), 50)
    ratio = found.log_error.exp() * found.log_snr.exp()
    assert ratio.tolist() == pytest.approx([1.0] * len(ratio), abs=0.2)
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.03)
    assert float(found.log_snr[-1]) == pytest.approx(float(SCHEDULE.log_snr(1 / 50)))
    again, other = (measured_variance(Fixed(lambda x_t, alpha: x_t / alpha), data(512), 50, seed=s) for s in (0, 1))
    assert torch.equal(found.log_error, again.log_error)
    assert not torch.equal(found.log_error, other.log_error)
    with pytest.raises(iw.ConfigError, match=r"^variance: got a Bernoulli process"):
        measured_variance(iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(SCHEDULE)), data(5), 50)


@pytest.mark.parametrize("name", ["small", "large"])
def test_another_variance_is_that_of_the_estimate_and_no_more_changes(name):
    trained = denoiser("small")
    before, after = (made(X_T, 0.5) for made in (trained, with_variance(trained, name)))
    assert after.variance is SIMPLE[name]
    assert torch.equal(before.x, after.x)


def test_the_variance_of_training_needs_no_wrapper_and_others_replace_each_other():
    trained = denoiser("small")
    assert with_variance(trained, "small") is trained
    once = with_variance(trained, "large")
    assert isinstance(once, WithVariance)
    assert once.denoiser is trained
    assert with_variance(once, "small") is trained
    own = Analytic(tensor([-1.0, 1.0]), tensor([0.5, 0.2]))
    assert with_variance(once, own).denoiser is trained
    measured = denoiser(own)
    assert with_variance(measured, "analytic") is measured
    assert with_variance(with_variance(measured, "small"), "analytic") is measured
    below = with_variance(Clipped(trained), "large")
    assert isinstance(below.denoiser, Clipped)
    assert with_variance(below, "small")(X_T, 0.5).variance is SIMPLE["small"]
    assert with_variance(Fixed(lambda x_t, alpha: tensor(0.0)), "learned").variance is SIMPLE["learned"]


REFUSED = {
    "analytic": (denoiser(), "variance: got analytic, need a measured one"),
    "learned": (denoiser(), "variance: got learned, need small, large or analytic; or a network that was trained"),
    "free": (Clipped(denoiser("learned")), "variance: got free, need small, large or analytic"),
    "median": (denoiser(), "variance: got 'median', need one of small"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_variances_that_a_network_was_not_trained_for_are_refused(name):
    made, words = REFUSED[name]
    with pytest.raises(iw.ConfigError) as error:
        with_variance(made, name)
    assert str(error.value).startswith(words)
    with pytest.raises(iw.ConfigError, match=r"^here: got"):
        with_variance(made, name, "here")


def test_a_process_of_odds_has_no_variance():
    odds = iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(SCHEDULE))
    with pytest.raises(iw.ConfigError, match=r"^variance: got small, need none: .* of a Bernoulli process"):
        with_variance(odds, "small")


@bug("the variance is lost", WithVariance, "around", lambda self, denoiser: denoiser)
def test_clipping_is_of_the_last_range_that_was_decided():
    bare = denoiser()
    assert clipped(bare, False, LATTICE) is bare
    assert clipped(clipped(bare, True, LATTICE), False, None) is bare
    narrow, wide = clipped(bare, True, LATTICE), clipped(clipped(bare, True, LATTICE), (-4.0, 2.0), None)
    assert (narrow.low, narrow.high, narrow.denoiser is bare) == (-1.0, 1.0, True)
    assert wide(X_T, 0.5).x.tolist() == [[1.0, -4.0], [2.0, 0.2]]
    inner = clipped(with_variance(narrow, "small"), (-4.0, 2.0), None)
    assert inner(X_T, 0.5).x.tolist() == [[1.0, -4.0], [2.0, 0.2]]
    assert inner(X_T, 0.5).variance is SIMPLE["small"]


@pytest.mark.parametrize(
    ("clip", "words"), [(True, "false, or data with levels"), ((1.0, 1.0), "true, false, or a range")]
)
def test_a_range_that_is_none_is_refused(clip, words):
    for where in ("clip", "here"):
        with pytest.raises(iw.ConfigError, match=f"^{where}: got .*, need {words}"):
            clipped(denoiser(), clip, iw.process.Bins(torch.ones(2)), where)


def test_only_numbers_are_clipped():
    odds = iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(SCHEDULE))
    with pytest.raises(iw.ConfigError, match=r"^clip: got a Bernoulli process"):
        clipped(odds, False, None)


def test_one_kind_of_wrapper_goes_away_wherever_it_stands():
    bare = denoiser()
    wrapped = WithVariance(Clipped(Thresholded(Clipped(bare))), SIMPLE["small"])
    left = without(Clipped, wrapped)
    assert [type(each) for each in (left, left.denoiser)] == [WithVariance, Thresholded]
    assert left.denoiser.denoiser is bare
    assert without(Conditioned, bare) is bare
    kept = without(Thresholded, Clipped(Thresholded(bare), -2.0, 3.0))
    assert (kept.low, kept.high, kept.denoiser is bare) == (-2.0, 3.0, True)


@pytest.mark.parametrize("quantile", [-0.1, 1.1, math.nan], ids=name_of)
def test_a_quantile_is_between_0_and_1(quantile):
    with pytest.raises(iw.ConfigError, match=r"^threshold\.quantile: got"):
        Thresholded(denoiser(), quantile)
