"""Losses expected of exact denoisers in closed form, and the bound as an integral of its pairs."""

import math
from dataclasses import replace

import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    LINE,
    PLANE,
    TERNARY,
    TOGETHER,
    cubature,
    exact_denoiser,
    exact_network,
    name_of,
    prescribed_noise,
    public_schedules,
    tensor,
    with_signal,
)

import inkwash as iw
from inkwash.core.shapes import mean_event, sum_event
from inkwash.likelihood.bound import bound
from inkwash.process import distributions
from inkwash.training import objective, times as propose
from inkwash.training.objective import REGRESSIONS, WEIGHTS

SCHEDULES = [s for s in with_signal(public_schedules()) if isinstance(s, iw.process.VariancePreserving)]
SIMPLE = iw.training.Regression()
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
datas = pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])


def slope(schedule, t, h=1e-7):
    """|d log-SNR / dt|, by differences."""
    return float((schedule.log_snr(t - h) - schedule.log_snr(t + h)) / (2 * h))


def expected(name, schedule, data, t):
    """The loss per entry that the exact denoiser is left with, from its mean squared error in x."""
    snr, sigma = float(schedule.log_snr(t).exp()), float(schedule.sigma(t))
    error = float(data.mmse(snr)) / data.size
    return {
        "simple": snr * error,
        "x": error,
        "v": error / sigma**2,  # v is -x / sigma plus what is known, where the variance is preserved
        "velocity": (snr**0.5 + 1) ** 2 * error,  # the velocity is -(alpha / sigma + 1) x plus what is known
        "score": snr * error / sigma**2,
        "min-snr": min(snr, 5) * error,
        "edm": (snr + 1) * error,
        "continuous": slope(schedule, t) * snr * error / 2,
    }[name]


def weights_with(name, weight):
    """The table of weights with one replaced."""
    return {**objective.WEIGHTS, name: weight}


def half(schedule, t):
    return torch.full_like(t, 0.5)


def fresh_target(self, denoiser, x, t, noise):
    x_t = denoiser.process.diffuse(x, t, noise)
    return ((noise.roll(1, 0) - denoiser(x_t, t).eps) ** 2).mean(1)


def snr(schedule, t):
    return schedule.log_snr(t).exp()


@bug(
    "rate without its half",
    objective,
    "WEIGHTS",
    weights_with("half-rate", propose.log_snr_rate),
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.4104,
    name="continuous",
)
@bug(
    "half rate forgotten",
    objective,
    "WEIGHTS",
    weights_with("half-rate", half),
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.4104,
    name="continuous",
)
@bug(
    "target is not the noise that was used",
    iw.training.Regression,
    "loss",
    fresh_target,
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.0137,
    name="min-snr",
)
@bug(
    "loss summed, not averaged",
    objective,
    "mean_event",
    sum_event,
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.0137,
    name="min-snr",
)
@bug(
    "SNR without a limit",
    objective,
    "WEIGHTS",
    weights_with("min-snr", snr),
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.0137,
    name="min-snr",
)
@bug(
    "EDM's weight without its one",
    objective,
    "WEIGHTS",
    weights_with("edm", snr),
    schedule=SCHEDULES[0],
    data=PLANE,
    t=0.4104,
    name="edm",
)
@schedules
@datas
@pytest.mark.parametrize("t", [0.0137, 0.4104, 0.9973])
@pytest.mark.parametrize("name", REGRESSIONS)
def test_the_exact_denoiser_is_left_with_the_error_nobody_can_avoid(schedule, data, t, name):
    """Integrated exactly over data and noise."""
    z, eps = cubature(data.size)
    x = data.whiten_inverse(z)
    objective = iw.training.Regression(*REGRESSIONS[name])
    loss = objective.loss(exact_denoiser(data, schedule), x, torch.full((len(x),), t, dtype=F64), eps)
    close = 1e-6 if name == "continuous" else 1e-9
    assert float(loss.detach().mean()) == pytest.approx(expected(name, schedule, data, t), rel=close)


@pytest.mark.parametrize("name", REGRESSIONS)
@pytest.mark.parametrize("off", [0.9, 1.1])
def test_any_other_denoiser_loses_more(name, off):
    schedule, objective = SCHEDULES[0], iw.training.Regression(*REGRESSIONS[name])
    z, eps = cubature(2)
    x, t = PLANE.whiten_inverse(z), torch.full((8,), 0.4, dtype=F64)
    exact = exact_denoiser(PLANE, schedule)
    other = iw.Denoiser(lambda x_t, t: off * exact(x_t, t).eps, exact.process)
    with torch.no_grad():
        losses = [float(objective.loss(denoiser, x, t, eps).mean()) for denoiser in (other, exact)]
    assert losses[0] > 1.001 * losses[1]


def test_an_oracle_of_the_noise_has_no_loss():
    """The noise that the network must find is the noise that was added, row by row and at the row's own time."""
    schedule = SCHEDULES[0]
    random = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, 6, 3, 4, generator=random, dtype=F64)
    t = tensor([0.05, 0.2, 0.4, 0.6, 0.8, 1.0])

    def network(x_t, seen):
        assert torch.equal(seen, t)
        alpha, sigma = (f(seen).reshape(6, 1, 1) for f in (schedule.alpha, schedule.sigma))
        return (x_t - alpha * x) / sigma

    for name in REGRESSIONS:
        objective = iw.training.Regression(*REGRESSIONS[name])
        loss = objective.loss(iw.Denoiser(network, iw.Gaussian(schedule)), x, t, eps)
        assert loss.shape == (6,)
        assert float(loss.detach().max()) < 1e-18


def test_the_loss_is_a_mean_over_entries_per_example():
    schedule = SCHEDULES[0]
    wrong = torch.arange(6, dtype=F64).reshape(2, 3)
    denoiser = iw.Denoiser(lambda x_t, t: wrong, iw.Gaussian(schedule))
    zero = torch.zeros(2, 3, dtype=F64)
    assert SIMPLE.loss(denoiser, zero, tensor([0.3, 0.6]), zero).tolist() == pytest.approx([5 / 3, 50 / 3])


DRAW_DENSITY = iw.training.LogSnrDensity.draw


def with_weight(draw, weight):
    return lambda self, *given: (lambda times: replace(times, weight=weight(times.weight)))(draw(self, *given))


@bug(
    "weight p for 1/p",
    iw.training.LogSnrDensity,
    "draw",
    with_weight(DRAW_DENSITY, torch.reciprocal),
    schedule=SCHEDULES[1],
    data=PLANE,
)
@schedules
@datas
def test_the_continuous_objective_is_half_the_integral_of_the_error_over_snr(schedule, data):
    """1/2 of the sum over eigenvalues of ln(1 + SNR eigenvalue), between the ends: by the proposal it is meant for."""
    first = 0.01
    times = iw.training.LogSnrDensity(first=first).draw(3000, schedule, torch.Generator().manual_seed(0))
    objective, denoiser = (
        iw.training.Regression(*REGRESSIONS["continuous"], first=first),
        exact_denoiser(data, schedule),
    )
    z, eps = cubature(data.size)
    losses = torch.zeros(3000, dtype=F64)
    for z_i, eps_i in zip(z, eps, strict=True):
        x = data.whiten_inverse(z_i[None]).expand(3000, -1)
        losses += objective.loss(denoiser, x, times.t, eps_i.expand(3000, -1)) / len(z)
    low, high = (float(schedule.log_snr(t).exp()) for t in (1.0, first))
    integral = 0.5 * float((torch.log1p(high * data.eigenvalues) - torch.log1p(low * data.eigenvalues)).sum())
    assert data.size * float((losses.detach() * times.weight).mean()) == pytest.approx(integral, rel=2e-3)


def test_before_its_first_time_the_continuous_objective_counts_nothing():
    objective = iw.training.Regression("eps", "half-rate", first=0.1)
    denoiser, t = iw.Denoiser(lambda x_t, t: x_t, iw.Gaussian(SCHEDULES[0])), tensor([0.099, 0.1, 0.2])
    x = torch.ones(3, 2, dtype=F64)
    loss = objective.loss(denoiser, x, t, torch.zeros_like(x))
    assert float(loss[0]) == 0
    assert float(loss[1:].min()) > 0


def test_before_its_first_time_the_bound_in_continuous_time_has_only_the_prior_and_the_decoder():
    """Which are the same for all times."""
    denoiser = iw.Denoiser(lambda x_t, t: 0.5 * x_t, iw.Gaussian(iw.LearnedSchedule(10)), "x")
    x, eps = torch.randn(2, 1, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    rows = [iw.training.ContinuousBound().loss(denoiser, x, tensor([t]), eps) for t in (0.03, 0.099, 0.101)]
    assert float(rows[0].detach()) == float(rows[1].detach()) < float(rows[2].detach()) - 0.1


@pytest.mark.parametrize(("field", "value"), [("compare", "y"), ("weight", "two")])
def test_unknown_names_are_refused(field, value):
    with pytest.raises(iw.ConfigError, match=rf"objective\.{field}: got '{value}', need one of"):
        iw.training.Regression(**{field: value})


def test_every_weight_and_comparison_has_a_name():
    assert {weight for _, weight in REGRESSIONS.values()} == set(WEIGHTS)
    assert {compare for compare, _ in REGRESSIONS.values()} == {"x", "eps", "v", "velocity", "score"}


# The bound by pairs


def spread_denoiser(schedule, variance, spread, data=PLANE, off=1.0):
    exact = exact_network(data, schedule)

    def network(x_t, t):
        return torch.cat([off * exact(x_t, t), spread * torch.ones_like(x_t)], 1)

    return iw.Denoiser(network, iw.Gaussian(schedule), "x", variance)


def integral_over_pairs(objective, denoiser, x, eps):
    """Mean over the T pairs, each looked at in its middle; `(B,)`, nats per example."""
    middles = (torch.arange(objective.steps, dtype=F64) + 0.5) / objective.steps
    losses = [objective.loss(denoiser, x, middle.expand(len(x)), eps) for middle in middles]
    return x[0].numel() * torch.stack(losses).mean(0)


TERM = iw.training.PairBound.term


def pairs_without_the_prior(self, denoiser, x, x_t, k, estimate, present):
    prior = denoiser.process.marginal(x, 1.0).kl(denoiser.process.prior(x.shape, like=x))
    return TERM(self, denoiser, x, x_t, k, estimate) - prior / x[0].numel()


def pairs_not_multiplied_by_their_number(self, denoiser, x, x_t, k, estimate, present):
    return TERM(self, denoiser, x, x_t, k, estimate) / self.steps


def no_decoder_for_the_first_pair(self, denoiser, x, x_t, k, estimate, present):
    return TERM(self, denoiser, x, x_t, k.clamp(min=2), estimate)


@bug(
    "pairs without the prior",
    iw.training.PairBound,
    "term",
    pairs_without_the_prior,
    schedule=SCHEDULES[0],
    kind="density",
    variance="small",
)
@bug(
    "one pair for all of them",
    iw.training.PairBound,
    "term",
    pairs_not_multiplied_by_their_number,
    schedule=SCHEDULES[0],
    kind="density",
    variance="small",
)
@bug(
    "no decoder for the first pair",
    iw.training.PairBound,
    "term",
    no_decoder_for_the_first_pair,
    schedule=SCHEDULES[0],
    kind="density",
    variance="small",
)
@schedules
@pytest.mark.parametrize("kind", ["density", "bins", "levels"])
@pytest.mark.parametrize("variance", ["small", "large", "learned", "free"])
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated")
def test_the_pairs_integrate_to_the_bound(schedule, kind, variance):
    """Row by row, with the same noise in every term: prior, diffusion and decoder of the same model."""
    steps = 6
    lattice = None if kind == "density" else TERNARY
    if kind == "levels":
        odds = TOGETHER.denoiser(schedule).network
        widened = lambda x_t, t: torch.cat([odds(x_t, t), 0.3 + 0 * x_t[..., None]], -1)  # noqa: E731
        network = widened if variance in ("learned", "free") else odds
        denoiser = iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Levels(TERNARY), variance)
    elif variance in ("learned", "free"):
        denoiser = spread_denoiser(schedule, variance, 0.3, off=0.8)
    else:
        denoiser = exact_denoiser(PLANE, schedule, variance)
    x = TOGETHER.points[:8] if lattice else PLANE.whiten_inverse(cubature(2)[0])
    eps = cubature(2)[1]
    with prescribed_noise(eps):
        whole = bound(denoiser, x, iw.uniform_grid(steps), lattice)
    by_pairs = integral_over_pairs(iw.training.PairBound(steps, lattice), denoiser, x, eps)
    torch.testing.assert_close(by_pairs, whole.total, rtol=1e-9, atol=1e-9)


def test_a_time_belongs_to_the_pair_that_ends_at_it_or_after():
    k = iw.training.PairBound(4).step_of(tensor([1e-9, 0.1, 0.25, 0.2501, 0.5, 0.75, 0.99, 1.0]))
    assert k.tolist() == [1, 1, 1, 2, 2, 3, 4, 4]


def at_the_time_itself(self, denoiser, x, t, noise):
    return ((x - denoiser(denoiser.process.diffuse(x, t, noise), t).x) ** 2).mean(1)


@bug("x for the mean", iw.training.MeanRegression, "loss", at_the_time_itself, schedule=SCHEDULES[0], k=3)
@schedules
@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_error_of_the_mean_is_that_of_x_times_its_share_in_the_mean(schedule, k):
    """By Bayes' rule for normal variables, x_s has precision 1/sigma_s² from x, which so has a known share in its mean.
    The last step ends at x itself."""
    z, eps = cubature(2)
    loss = iw.training.MeanRegression(5).loss(
        exact_denoiser(PLANE, schedule), PLANE.whiten_inverse(z), torch.full((8,), (k - 0.3) / 5, dtype=F64), eps
    )
    t, s = k / 5, (k - 1) / 5
    share = 1.0
    if k > 1:
        alpha, sigma, ratio = schedule.alpha(s), schedule.sigma(s), schedule.alpha(t) / schedule.alpha(s)
        kept_var = schedule.sigma(t) ** 2 - (ratio * sigma) ** 2
        share = float(alpha / sigma**2 / (1 / sigma**2 + ratio**2 / kept_var))
    error = float(PLANE.mmse(schedule.log_snr(t).exp())) / 2
    assert float(loss.detach().mean()) == pytest.approx(share**2 * error, rel=1e-9)


@pytest.mark.parametrize("variance", ["learned", "free"])
@pytest.mark.parametrize("lattice", [None, TERNARY], ids=["density", "bins"])
def test_the_gradient_in_the_spread_is_that_of_differences(variance, lattice):
    h = 1e-5
    objective = iw.training.PairBound(5, lattice)
    x = TOGETHER.points[:8] if lattice else PLANE.whiten_inverse(cubature(2)[0])
    eps, t = cubature(2)[1], torch.arange(1, 9, dtype=F64) / 8

    def loss(spread):
        return objective.loss(spread_denoiser(SCHEDULES[0], variance, spread, off=0.8), x, t, eps).sum()

    at = tensor(0.2).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(at), at)
    differences = (loss(tensor(0.2 + h)) - loss(tensor(0.2 - h))) / (2 * h)
    assert abs(float(gradient)) > 0.01
    assert float(gradient) == pytest.approx(float(differences), rel=1e-6)


def rounded_step(self, t):
    return (t * self.steps).floor().clamp(1, self.steps)


def hybrid_with_the_mean_free(self, denoiser, x, t, noise):
    k = self.bound.step_of(t)
    simple = iw.training.Regression().loss(denoiser, x, k / self.bound.steps, noise)
    return simple + self.share * self.bound.loss(denoiser, x, t, noise)


def hybrid_with_the_logits_free(self, denoiser, x, t, noise):
    k = self.bound.step_of(t)
    x_t = denoiser.process.diffuse(x, k / self.bound.steps, noise)
    estimate = denoiser(x_t, k / self.bound.steps)
    held = replace(estimate, x=estimate.x.detach(), eps=estimate.eps.detach())
    simple = ((noise - estimate.eps) ** 2).mean(1)
    return simple + self.share * self.bound.term(denoiser, x, x_t, k, held)


@bug("step rounded down", iw.training.PairBound, "step_of", rounded_step, by_level=False)
@bug("hybrid that trains the mean by the bound", iw.training.Hybrid, "loss", hybrid_with_the_mean_free, by_level=False)
@bug(
    "hybrid that trains the logits by the bound", iw.training.Hybrid, "loss", hybrid_with_the_logits_free, by_level=True
)
@pytest.mark.parametrize("by_level", [False, True], ids=["x", "levels"])
def test_the_hybrid_trains_the_mean_by_regression_and_the_spread_by_the_bound(by_level):
    """Its gradient in the mean is that of the regression alone, in the spread that of the bound, times its share."""
    steps = 5
    schedule = SCHEDULES[0]
    x, eps = TOGETHER.points[:8], cubature(2)[1]
    t = torch.arange(1, 9, dtype=F64) / 8
    k = (t * steps).ceil() / steps
    off, spread = tensor(0.8).requires_grad_(), tensor(0.2).requires_grad_()
    if by_level:
        odds = TOGETHER.denoiser(schedule).network

        def network(x_t, t):
            return torch.cat([off * odds(x_t, t), (spread + 0 * x_t)[..., None]], -1)

        denoiser = iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Levels(TERNARY), "learned")
    else:
        exact = exact_network(PLANE, schedule)

        def network(x_t, t):
            return torch.cat([off * exact(x_t, t), spread + 0 * x_t], 1)

        denoiser = iw.Denoiser(network, iw.Gaussian(schedule), "x", "learned")

    def gradients(objective, times):
        loss = objective.loss(denoiser, x, times, eps).sum()
        found = torch.autograd.grad(loss, (off, spread), allow_unused=True)
        return [0.0 if g is None else float(g) for g in found]

    pairs = iw.training.PairBound(steps, TERNARY)
    hybrid, simple, whole = gradients(iw.training.Hybrid(pairs, 0.01), t), gradients(SIMPLE, k), gradients(pairs, t)
    assert simple[1] == 0
    assert min(abs(simple[0]), abs(whole[0]), abs(whole[1])) > 1e-3
    assert hybrid == pytest.approx([simple[0], 0.01 * whole[1]], rel=1e-9)


def test_the_value_of_the_hybrid_is_the_sum():
    denoiser = spread_denoiser(SCHEDULES[0], "learned", 0.3, off=0.8)
    x, eps, t = PLANE.whiten_inverse(cubature(2)[0]), cubature(2)[1], torch.full((8,), 0.6, dtype=F64)
    parts = SIMPLE.loss(denoiser, x, t, eps) + 0.5 * iw.training.PairBound(5).loss(denoiser, x, t, eps)
    torch.testing.assert_close(iw.training.Hybrid(iw.training.PairBound(5), 0.5).loss(denoiser, x, t, eps), parts)
    assert math.isclose(iw.training.Hybrid().share, 0.001)


# Missing entries

OBJECTIVES = {
    **{name: iw.training.Regression(*REGRESSIONS[name]) for name in REGRESSIONS},
    "bound": iw.training.PairBound(20),
    "hybrid": iw.training.Hybrid(iw.training.PairBound(20), 0.5),
    "continuous bound": iw.training.ContinuousBound(),
}


def counting_all(of_event):
    return lambda x, present=None: of_event(x)


@bug("missing errors counted", objective, "mean_event", counting_all(mean_event), name="hybrid")
@bug("missing errors counted", objective, "mean_event", counting_all(mean_event), name="continuous bound")
@bug("missing densities counted", distributions, "sum_event", counting_all(sum_event), name="hybrid")
@bug("missing densities counted", distributions, "sum_event", counting_all(sum_event), name="continuous bound")
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_row_with_a_missing_entry_has_the_loss_of_a_shorter_row(name):
    """Of columns that know nothing of each other; a loss is a mean over all entries, present or not."""

    def network(x_t, t):
        return torch.cat([0.7 * x_t, 0.3 * torch.tanh(x_t)], 1)

    denoiser = iw.Denoiser(network, iw.Gaussian(iw.LearnedSchedule(20)), "x", "learned")
    x, noise = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    present, t = torch.tensor([True, True, False]).expand(5, 3), tensor([0.04, 0.2, 0.55, 0.8, 1.0])
    whole = OBJECTIVES[name].loss(denoiser, x, t, noise, present)
    shorter = OBJECTIVES[name].loss(denoiser, x[:, :2], t, noise[:, :2])
    torch.testing.assert_close(3 * whole, 2 * shorter)
