"""Denoisers: conversions between predictions, exact scores, clipping, types, and blind networks."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from bugs import bug
from hypothesis import given, settings, strategies as st
from oracles import (
    F64,
    LINE,
    PLANE,
    PLANE_PEAKS,
    TWO_PEAKS,
    condition,
    exact_denoiser,
    joint_covariance,
    name_of,
    public_schedules,
    tensor,
    with_signal,
)
from torch import nn

import inkwash as iw
from inkwash.core.shapes import over
from inkwash.denoise import prediction
from inkwash.denoise.prediction import NAMED
from inkwash.process.variance import Large

SCHEDULES = public_schedules()
PREDICTIONS = [name for name in NAMED if name != "F"]  # an estimate has no F; see test_prediction.py
TIMES = [0.02, 0.3, 0.75, 1.0]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
schedules_with_signal = pytest.mark.parametrize("schedule", with_signal(SCHEDULES), ids=name_of)
WITHOUT_SIGNAL = [s for s in SCHEDULES if s not in with_signal(SCHEDULES)]


def rows(seed, n=5, size=2):
    return torch.randn(n, size, generator=torch.Generator().manual_seed(seed), dtype=F64)


def denoiser_of(output, schedule, predicts):
    """A denoiser whose network returns `output` for any input."""
    return iw.Denoiser(lambda x_t, t: output, iw.Gaussian(schedule), predicts=predicts)


def v_with_sign(estimate):
    return -over(estimate.process.schedule.sigma(estimate.t), estimate.x) * estimate.x - estimate.eps


V_READ = prediction.V.read


def v_read_with_the_wrong_sign(self, output, noisy):
    return V_READ(self, -output, noisy)


def score_with_sign(estimate):
    return estimate.eps / over(estimate.process.schedule.sigma(estimate.t), estimate.eps)


def score_without_sigma(estimate):
    return -estimate.eps


def score_read_with_the_wrong_sign(self, output, noisy):
    return prediction.Eps().read(noisy.sigma * output, noisy)


def score_read_without_sigma(self, output, noisy):
    return prediction.Eps().read(-output, noisy)


def velocity_read_with_the_wrong_sign(self, output, noisy):
    return VELOCITY_READ(self, -output, noisy)


VELOCITY_READ = prediction.Velocity.read


def velocity_read_as_on_straight_lines(self, output, noisy):
    return prediction.Guess(noisy.x_t - noisy.sigma * output, noisy.x_t + noisy.alpha * output)


@bug(
    "velocity read with the wrong sign",
    prediction.Velocity,
    "read",
    velocity_read_with_the_wrong_sign,
    schedule=SCHEDULES[0],
    first="eps",
    second="velocity",
)
@bug(
    "velocity read as on straight lines",
    prediction.Velocity,
    "read",
    velocity_read_as_on_straight_lines,
    schedule=SCHEDULES[0],
    first="eps",
    second="velocity",
)
@bug("wrong v", iw.process.Estimate, "v", property(v_with_sign), schedule=SCHEDULES[0], first="eps", second="v")
@bug(
    "v read with the wrong sign",
    prediction.V,
    "read",
    v_read_with_the_wrong_sign,
    schedule=SCHEDULES[0],
    first="eps",
    second="v",
)
@bug(
    "sign of the score",
    iw.process.Estimate,
    "score",
    property(score_with_sign),
    schedule=SCHEDULES[0],
    first="score",
    second="x",
)
@bug(
    "score is the noise",
    iw.process.Estimate,
    "score",
    property(score_without_sigma),
    schedule=SCHEDULES[0],
    first="score",
    second="x",
)
@bug(
    "score read with the wrong sign",
    prediction.Score,
    "read",
    score_read_with_the_wrong_sign,
    schedule=SCHEDULES[0],
    first="score",
    second="x",
)
@bug(
    "score read as the noise",
    prediction.Score,
    "read",
    score_read_without_sigma,
    schedule=SCHEDULES[0],
    first="score",
    second="x",
)
@schedules_with_signal
@pytest.mark.parametrize("first", PREDICTIONS)
@pytest.mark.parametrize("second", PREDICTIONS)
@given(st.sampled_from(TIMES))
@settings(max_examples=4, deadline=None)
def test_every_prediction_converts_to_every_other_and_back(schedule, first, second, t):
    x_t, output = rows(0), rows(1)
    estimate = denoiser_of(output, schedule, first)(x_t, t)
    again = denoiser_of(getattr(estimate, second), schedule, second)(x_t, t)
    torch.testing.assert_close(getattr(estimate, first), output, rtol=1e-9, atol=1e-9)
    for name in PREDICTIONS:
        torch.testing.assert_close(getattr(again, name), getattr(estimate, name), rtol=1e-9, atol=1e-9)


@schedules_with_signal
@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_estimates_of_data_and_noise_add_up_to_the_noisy_data(schedule, predicts):
    x_t = rows(2)
    estimate = denoiser_of(rows(3), schedule, predicts)(x_t, 0.6)
    mixed = float(schedule.alpha(0.6)) * estimate.x + float(schedule.sigma(0.6)) * estimate.eps
    torch.testing.assert_close(mixed, x_t, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("schedule", WITHOUT_SIGNAL, ids=name_of)
def test_without_signal_at_time_one_a_network_must_predict_x_v_or_the_velocity(schedule):
    """These convert into each other also at time 1; the noise, which is all of x_t there, does not determine x."""
    x_t, output = rows(0), rows(1)
    for first, second in itertools.permutations(("x", "v", "velocity"), 2):
        estimate = denoiser_of(output, schedule, first)(x_t, 1.0)
        torch.testing.assert_close(denoiser_of(getattr(estimate, second), schedule, second)(x_t, 1.0).x, estimate.x)
        torch.testing.assert_close(estimate.eps, x_t)
    for predicts in ("eps", "score"):
        with pytest.raises(iw.ConfigError, match="need x, v or velocity"):
            denoiser_of(output, schedule, predicts)


@schedules
def test_noise_is_never_divided_by_a_vanishing_signal(schedule):
    """With hardly any signal left, sigma^2 times the score of a network that predicts any other is near -x_t."""
    x_t = rows(4)
    for predicts in ("x", "v", "velocity"):
        estimate = denoiser_of(torch.zeros_like(x_t), schedule, predicts)(x_t, 1.0)
        all_noise = schedule.sigma(1.0) ** 2 * estimate.score
        assert float((all_noise + x_t).abs().max()) < 0.05 + 3 * float(schedule.alpha(1.0))


def log_density(data, x_t, schedule, t):
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if data in (LINE, PLANE):
        return data.marginal(alpha, sigma).log_prob(x_t)
    return data.marginal_log_prob(x_t, alpha, sigma)


@schedules
@pytest.mark.parametrize("data", [LINE, PLANE, TWO_PEAKS, PLANE_PEAKS], ids=["line", "plane", "peaks", "plane peaks"])
@pytest.mark.parametrize("t", TIMES)
def test_the_exact_denoiser_gives_the_gradient_of_the_log_density(schedule, data, t):
    """This is Tweedie's formula; the gradient is PyTorch's, of its own density."""
    x_t = rows(5, size=data.size).requires_grad_()
    gradient = torch.autograd.grad(log_density(data, x_t, schedule, t).sum(), x_t)[0]
    with torch.no_grad():
        score = exact_denoiser(data, schedule)(x_t, t).score
    torch.testing.assert_close(score, gradient, rtol=1e-8, atol=1e-8)


@schedules
@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
@pytest.mark.parametrize(("s", "t"), [(0.0, 0.3), (0.2, 0.25), (0.4, 1.0)])
def test_the_exact_denoiser_gives_the_mean_of_the_past(schedule, data, s, t):
    """Estimate.mean(s) is E[x_s | x_t], which the joint normal law of the two gives."""
    x_t, d = rows(6, size=data.size), data.size
    gain, _ = condition(joint_covariance(data, schedule, s, t), slice(2 * d, 3 * d), slice(0, d))
    expected = schedule.alpha(s) * data.mean + (x_t - schedule.alpha(t) * data.mean) @ gain.T
    torch.testing.assert_close(exact_denoiser(data, schedule)(x_t, t).mean(s), expected, rtol=1e-8, atol=1e-8)


def x_clipped_eps_kept(self, x_t, t):
    estimate = self.denoiser(x_t, t)
    return replace(estimate, x=estimate.x.clamp(self.low, self.high))


@bug("eps kept after clipping", iw.Clipped, "forward", x_clipped_eps_kept)
def test_clipping_recomputes_the_noise():
    schedule = SCHEDULES[0]
    x_t = 3 * rows(8)
    free = exact_denoiser(PLANE, schedule)
    clipped = iw.Clipped(free, -0.5, 0.7)(x_t, 0.4)
    mixed = float(schedule.alpha(0.4)) * clipped.x + float(schedule.sigma(0.4)) * clipped.eps
    assert float(free(x_t, 0.4).x.abs().max()) > 0.7
    assert (float(clipped.x.min()), float(clipped.x.max())) == (-0.5, 0.7)
    torch.testing.assert_close(mixed, x_t, rtol=1e-12, atol=1e-12)
    assert torch.equal(clipped.x_t, x_t)


def thresholded_over_the_batch(self, x_t, t):
    estimate = self.denoiser(x_t, t)
    bound = estimate.x.abs().quantile(self.quantile).clamp(min=1)
    return estimate.with_x(estimate.x.clamp(-bound, bound) / bound)


@bug("one threshold for the batch", iw.Thresholded, "forward", thresholded_over_the_batch, quantile=0.5)
@pytest.mark.parametrize("quantile", [0.5, 0.9, 1.0])
def test_dynamic_thresholding(quantile):
    """At least the quantile's share of an example's entries lies within the bounds, in the same proportions as before,
    and the noise is the rest of x_t. An example within the bounds does not change, whatever the other examples are."""
    schedule, random = SCHEDULES[0], torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 25, generator=random, dtype=F64) * tensor([0.1, 1.0, 5.0])[:, None, None]
    x_t, t = torch.randn(3, 4, 25, generator=random, dtype=F64), 0.4
    plain = iw.Denoiser(lambda x_t, t: x[: len(x_t)], iw.Gaussian(schedule), predicts="x")
    got = iw.Thresholded(plain, quantile)(x_t, t)
    mixed = float(schedule.alpha(t)) * got.x + float(schedule.sigma(t)) * got.eps
    torch.testing.assert_close(mixed, x_t, rtol=1e-12, atol=1e-12)
    assert torch.equal(got.x[0], x[0])
    assert float(got.x.abs().max()) <= 1
    within = got.x[2].abs() < 1
    assert abs(int(within.sum()) - quantile * 100) <= 1
    ratios = got.x[2][within] / x[2][within]
    torch.testing.assert_close(ratios, ratios[0].expand_as(ratios), rtol=1e-12, atol=0)
    assert torch.equal(iw.Thresholded(plain, quantile)(x_t[:2], t).x, got.x[:2])


@pytest.mark.parametrize("quantile", [-0.1, 1.1, math.nan])
def test_a_bad_quantile_is_refused(quantile):
    with pytest.raises(iw.ConfigError, match=r"threshold\.quantile"):
        iw.Thresholded(exact_denoiser(PLANE, SCHEDULES[0]), quantile)


@pytest.mark.parametrize(("wrap", "where"), [(iw.Clipped, "clip"), (iw.Thresholded, "threshold")])
def test_bits_have_no_bounds_to_clip_to(wrap, where):
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(SCHEDULES[0]))
    with pytest.raises(iw.ConfigError, match=rf"^{where}: got a Bernoulli process, need a Gaussian process"):
        wrap(denoiser)


def test_data_lies_between_minus_one_and_one_unless_other_bounds_are_named():
    denoiser = denoiser_of(tensor([[-3.0, 0.5], [2.0, -0.2]]), SCHEDULES[0], "x")
    assert iw.Clipped(denoiser)(rows(3, 2), 0.5).x.tolist() == [[-1.0, 0.5], [1.0, -0.2]]


@pytest.mark.parametrize("predicts", ["eps", "score"])
def test_noise_without_signal_is_no_prediction(predicts):
    """Noise that is all there is says nothing of the data."""
    with pytest.raises(iw.ConfigError, match=f"^predicts: got '{predicts}', need x, v or velocity"):
        iw.Denoiser(lambda x_t, t: x_t, iw.Gaussian(iw.RectifiedSchedule()), predicts)


def test_clipping_does_not_change_estimates_in_range():
    x_t = 0.1 * rows(9)
    free = exact_denoiser(PLANE, SCHEDULES[0], "large")
    wide = iw.Clipped(free, -100, 100)(x_t, 0.4)
    torch.testing.assert_close(wide.x, free(x_t, 0.4).x)
    torch.testing.assert_close(wide.eps, free(x_t, 0.4).eps)
    assert isinstance(wide.variance, Large)


def test_times_stay_double_while_the_network_runs_in_its_own_precision():
    seen = []

    class Network(nn.Linear):
        def forward(self, x_t, t):
            seen.append((x_t.dtype, t.dtype, t.shape))
            return super().forward(x_t)

    x_t = rows(10)
    estimate = iw.Denoiser(Network(2, 2), iw.Gaussian(SCHEDULES[0]))(x_t, 0.5)
    assert seen == [(torch.float32, torch.float32, (5,))]
    assert estimate.t.dtype == F64
    assert estimate.x.dtype == estimate.eps.dtype == estimate.score.dtype == estimate.mean(0.1).dtype == F64


def test_a_callable_is_given_the_precision_of_the_data():
    seen = []

    def network(x_t, t):
        seen.append((x_t.dtype, t.dtype))
        return x_t

    denoiser = iw.Denoiser(network, iw.Gaussian(SCHEDULES[0]))
    denoiser(rows(11), 0.5)
    denoiser(rows(11).float(), 0.5)
    assert seen == [(F64, F64), (torch.float32, torch.float32)]


def test_the_network_can_be_given_the_log_snr():
    schedule, seen = SCHEDULES[0], []

    def network(x_t, level):
        seen.append(level)
        return x_t

    t = tensor([0.1, 0.4, 0.5, 0.9, 1.0])
    iw.Denoiser(network, iw.Gaussian(schedule), sees="log_snr")(rows(12), t)
    torch.testing.assert_close(schedule.time(seen[0]), t)


def test_each_row_can_have_its_own_time():
    x_t, t = rows(13), tensor([0.1, 0.4, 0.5, 0.9, 1.0])
    denoiser = exact_denoiser(PLANE, SCHEDULES[0])
    separate = torch.cat([denoiser(x_t[i : i + 1], float(t[i])).v for i in range(5)])
    torch.testing.assert_close(denoiser(x_t, t).v, separate)


def test_conditions_reach_the_network():
    seen = []

    def network(x_t, t, label):
        seen.append(label)
        return x_t

    iw.Clipped(iw.Denoiser(network, iw.Gaussian(SCHEDULES[0])))(rows(14), 0.5, label=3)
    assert seen == [3]


@pytest.mark.parametrize("option", ["predicts", "variance", "sees"])
def test_unknown_names_are_refused(option):
    with pytest.raises(iw.ConfigError, match=rf"{option}: got 'nonsense', need one of"):
        iw.Denoiser(lambda x_t, t: x_t, iw.Gaussian(SCHEDULES[0]), **{option: "nonsense"})


# Blind networks


def test_a_blind_network_is_given_no_noise_level():
    seen = []

    def network(x_t, level):
        seen.append((x_t, level))
        return x_t

    x_t, t = rows(15), tensor([0.1, 0.4, 0.5, 0.9, 1.0])
    iw.Denoiser(network, iw.Gaussian(SCHEDULES[0]), sees="nothing")(x_t, t)
    assert torch.equal(seen[0][0], x_t)
    assert torch.equal(seen[0][1], torch.zeros(5, dtype=F64))


def test_a_blind_network_cannot_predict_f_which_scales_its_input():
    with pytest.raises(iw.ConfigError, match="sees: got 'nothing', need another prediction than F"):
        iw.Denoiser(lambda x_t, t: x_t, iw.Gaussian(SCHEDULES[0]), "F", sees="nothing")


@pytest.mark.parametrize("schedule", [iw.LinearSchedule(), iw.CosineSchedule()], ids=name_of)
def test_with_log_snr_as_time_input_the_network_is_given_data_of_preserved_variance(schedule):
    """The input is scaled so that alpha² + sigma² = 1, whatever the scale of the schedule is."""

    class Doubled(type(schedule)):
        def alpha(self, t):
            return 2 * super().alpha(t)

        def sigma(self, t):
            return 2 * super().sigma(t)

    seen = []

    def network(x_t, level):
        seen.append(x_t)
        return x_t

    iw.Denoiser(network, iw.Gaussian(Doubled()), sees="log_snr")(2 * rows(16), 0.3)
    torch.testing.assert_close(seen[0], rows(16), rtol=1e-12, atol=1e-12)


BLIND_TIMES = (torch.arange(400, dtype=F64) + 0.5) / 400


def blind_eps(data, schedule):
    """E[eps | x_t] over the noise, and over uniform times in (0, 1] by the midpoint rule."""

    def network(x_t, level):
        total = torch.zeros_like(x_t)
        log_density = torch.stack([log_density_at(data, x_t, schedule, t) for t in BLIND_TIMES])
        for weight, t in zip(log_density.softmax(0), BLIND_TIMES, strict=True):
            alpha, sigma = schedule.alpha(t), schedule.sigma(t)
            total += weight[:, None] * (x_t - alpha * data.denoise(x_t, alpha, sigma)) / sigma
        return total

    return network


def log_density_at(data, x_t, schedule, t):
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if data is TWO_PEAKS:
        return data.marginal_log_prob(x_t, alpha, sigma)
    std = data.marginal(alpha, sigma).variance.sqrt()  # a diagonal covariance
    return torch.distributions.Normal(alpha * data.mean, std).log_prob(x_t).sum(1)


@pytest.mark.parametrize("data", [LINE, TWO_PEAKS], ids=["line", "peaks"])
def test_the_exact_blind_denoiser_minimises_the_loss(data):
    """Its error is uncorrelated with any function of x_t, and adding such a function increases the library's loss."""
    random, n, schedule = torch.Generator().manual_seed(0), 40_000, SCHEDULES[0]
    t = BLIND_TIMES[torch.randperm(n, generator=random) % 400]
    x = draws(data, n, random)
    eps = torch.randn(n, 1, generator=random, dtype=F64)
    x_t = schedule.alpha(t)[:, None] * x + schedule.sigma(t)[:, None] * eps
    grid = torch.linspace(float(x_t.min()), float(x_t.max()), 500, dtype=F64)
    table = blind_eps(data, schedule)(grid[:, None], None)[:, 0]

    def exact(x_t, level):
        assert not bool(level.any())
        place = ((x_t - grid[0]) / (grid[1] - grid[0])).clamp(0, 498.999)
        return torch.lerp(table[place.long()], table[place.long() + 1], place.frac())

    def loss(change):
        network = lambda x_t, level: exact(x_t, level) + change(x_t)  # noqa: E731
        denoiser = iw.Denoiser(network, iw.Gaussian(schedule), sees="nothing")
        return iw.training.Regression().loss(denoiser, x, t, eps)

    residual = eps - exact(x_t, torch.zeros(1))
    best = loss(torch.zeros_like)
    for h in (torch.ones_like, lambda y: y, torch.sin, lambda y: (y > 0.5).double(), lambda y: (2 * y).cos()):
        product = residual * h(x_t)
        assert abs(float(product.mean())) < 4 * float(product.std()) / n**0.5
        for amount in (-0.15, 0.15):
            assert float(loss(lambda y, a=amount, h=h: a * h(y)).mean()) > float(best.mean())
    shown = iw.training.Regression().loss(exact_denoiser(data, schedule), x, t, eps)
    assert float(best.mean()) > 1.05 * float(shown.mean())  # in one dimension blindness is costly


def draws(data, n, random):
    if data is LINE:
        return LINE.whiten_inverse(torch.randn(n, 1, generator=random, dtype=F64))
    which = torch.rand(n, generator=random, dtype=F64) < float(data.log_weights[0].exp())
    parts = [p.whiten_inverse(torch.randn(n, 1, generator=random, dtype=F64)) for p in data.parts]
    return torch.where(which[:, None], *parts)


@pytest.mark.slow
def test_in_many_dimensions_a_blind_denoiser_loses_little():
    """In many dimensions the data reveals the noise level, so the cost of blindness falls towards zero."""
    schedule, random, excess = SCHEDULES[0], torch.Generator().manual_seed(1), []
    for size in (1, 8, 64, 256):
        data = type(LINE)([0.8] * size, (0.3 * torch.eye(size)).tolist())
        x = data.whiten_inverse(torch.randn(500, size, generator=random, dtype=F64))
        t, eps = BLIND_TIMES[torch.arange(500) % 400], torch.randn(500, size, generator=random, dtype=F64)
        blind = iw.Denoiser(blind_eps(data, schedule), iw.Gaussian(schedule), sees="nothing")
        losses = [iw.training.Regression().loss(d, x, t, eps).mean() for d in (blind, exact_denoiser(data, schedule))]
        excess.append(float(losses[0] / losses[1] - 1))
    assert excess == sorted(excess, reverse=True)
    assert excess[0] > 0.1 > 0.02 > excess[-1] > 0
