"""Schedules agree with 50-digit arithmetic, are monotonic, and invert exactly."""

import math

import mpmath
import numpy as np
import pytest
import torch
from betas import case, mpf
from bugs import bug
from hypothesis import given, settings, strategies as st
from oracles import F64, name_of, public_schedules, tensor, trained

import inkwash as iw
from inkwash.core.shapes import as_time
from inkwash.process.noise import steps as step_terms, tables
from inkwash.process.noise.grid import as_grid
from inkwash.process.noise.steps import transition_var

mpmath.mp.dps = 50
SCHEDULES = public_schedules()
PRESERVING = [s for s in SCHEDULES if isinstance(s, iw.process.VariancePreserving | iw.process.ZeroTerminalSchedule)]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)


def interpolated(betas):
    """alpha^2 and sigma^2 of a table; within a step, log alpha-bar is a straight line."""
    sums = [mpf(0)]
    for beta in betas:
        sums.append(sums[-1] + mpmath.log(1 - beta))

    def scales(t):
        k = min(int(mpmath.floor(t * len(betas))), len(betas) - 1)
        part = t * len(betas) - k
        log_alpha_bar = (1 - part) * sums[k] + part * sums[k + 1]
        return mpmath.exp(log_alpha_bar), -mpmath.expm1(log_alpha_bar)

    return scales


def table(kind):
    return lambda steps: (case(kind, steps)[0], interpolated(case(kind, steps)[1]))


def sohl_dickstein(steps):
    return iw.SohlDicksteinSchedule(), lambda t: (1 - t, t)


def log_linear(steps):
    first, last = mpf(13.3), mpf(-8)

    def scales(t):
        u = (t * steps - 1) / (mpf(steps) - 1)
        if u < 0:
            var = (t * steps) ** 2 / (1 + mpmath.exp(first))
            return 1 - var, var
        log_snr = (1 - u) * first + u * last
        return 1 / (1 + mpmath.exp(-log_snr)), 1 / (1 + mpmath.exp(log_snr))

    return iw.LogLinearSchedule(steps), scales


def rectified(steps):
    return iw.RectifiedSchedule(), lambda t: ((1 - t) ** 2, t**2)


def shifted(steps):
    """Times shifted as in Esser et al. (2024), eq. 23: u / (1 - u) is three times t / (1 - t)."""

    def scales(t):
        odds = 3 * t / (1 - t) if t < 1 else mpmath.inf
        return (1 / (1 + odds)) ** 2, (odds / (1 + odds)) ** 2 if t < 1 else mpf(1)

    return iw.RectifiedSchedule(3.0), scales


def down_to_nothing(steps):
    """Betas of which the last is 1: the square root of alpha-bar falls linearly from the one before it to 0."""
    base, scales = table("tabulated")(steps - 1)

    def ending(t):
        k = t * steps
        if k > steps - 1:
            alpha = mpmath.sqrt(scales(mpf(1))[0]) * (steps - k)
            return alpha**2, 1 - alpha**2
        return scales(k / (steps - 1))

    return iw.TabulatedSchedule((*base.betas, 1.0)), ending


def karras(steps):
    """The published list sigma_0 … sigma_{N-1}, 0 (Karras et al. 2022, eq. 5), for any time by i = N - t N."""
    low, high, rho, n = mpf(0.002), mpf(80), 7, mpf(steps)

    def scales(t):
        i = n - t * n
        root = high ** (mpf(1) / rho) + i / (n - 1) * (low ** (mpf(1) / rho) - high ** (mpf(1) / rho))
        return mpf(1), (root**rho if i <= n - 1 else low * t * n) ** 2

    return iw.KarrasSchedule(steps), scales


def geometric(steps):
    """The sequence whose neighbours have one ratio, which runs from 0.01 to 50 (Song & Ermon 2019, §4.2)."""
    ratio = (mpf(50) / mpf(0.01)) ** (1 / (mpf(steps) - 1))

    def scales(t):
        k = t * steps
        return mpf(1), (mpf(0.01) * (ratio ** (k - 1) if k >= 1 else k)) ** 2

    return iw.process.GeometricSchedule(steps), scales


def zero_terminal(kind):
    """Lin et al. (2023), Alg. 1, on the square roots of alpha-bar: a shift makes the last one 0, a scale keeps the 1 at
    time 0."""

    def make(steps):
        base, scales = table(kind)(steps)
        last = mpmath.sqrt(scales(mpf(1))[0])

        def shifted(t):
            alpha = (mpmath.sqrt(scales(t)[0]) - last) / (1 - last)
            return alpha**2, 1 - alpha**2

        return iw.process.ZeroTerminalSchedule(base), shifted

    return make


def learned_betas(steps):
    """Betas with trained logits, except for the first."""
    schedule = trained(iw.process.LearnedBetas(steps, 2e-4, iw.CosineSchedule(steps, max_beta=0.9)))
    betas = [mpf(2e-4)] + [1 / (1 + mpmath.exp(-mpf(v))) for v in schedule.logits.tolist()]
    return schedule, interpolated(betas)


def learned(steps):
    """Kingma et al. (2021), App. H, where the first layer is the identity."""
    schedule = trained(iw.LearnedSchedule(steps, learn_ends=True, width=5))
    names = ("log_slopes", "biases", "log_heights")
    weights = [[mpf(v) for v in getattr(schedule, name).tolist()] for name in names]
    last, range_ = mpf(schedule.last.item()), mpmath.exp(mpf(schedule.log_range.item()))

    def gamma_tilde(u):
        return u + sum(
            mpmath.exp(h) / (1 + mpmath.exp(-mpmath.exp(w) * u - b)) for w, b, h in zip(*weights, strict=True)
        )

    def scales(t):
        u = (t * steps - 1) / (mpf(steps) - 1)
        if u < 0:
            var = (t * steps) ** 2 / (1 + mpmath.exp(last + range_))
            return 1 - var, var
        share = (gamma_tilde(u) - gamma_tilde(mpf(0))) / (gamma_tilde(mpf(1)) - gamma_tilde(mpf(0)))
        gamma = -last - range_ + range_ * share
        return 1 / (1 + mpmath.exp(gamma)), 1 / (1 + mpmath.exp(-gamma))

    return schedule, scales


EXACT = {
    "linear": (table("linear"), (21, 100, 1000, 10000)),
    "cosine": (table("cosine"), (2, 100, 1000, 10000)),
    "tabulated": (table("tabulated"), (1, 100, 1000)),
    "log-linear": (log_linear, (2, 100, 1000, 10000)),
    "sohl-dickstein": (sohl_dickstein, (2, 100, 1000, 10000)),
    "rectified": (rectified, (2, 100, 1000, 10000)),
    "shifted": (shifted, (2, 100, 1000)),
    "down to nothing": (down_to_nothing, (2, 100, 1000)),
    "karras": (karras, (2, 100, 1000, 10000)),
    "geometric": (geometric, (2, 100, 1000, 10000)),
    "zero-terminal linear": (zero_terminal("linear"), (21, 100, 1000, 10000)),
    "zero-terminal": (zero_terminal("cosine"), (2, 100, 1000, 10000)),
    "learned betas": (learned_betas, (2, 100, 1000, 10000)),
    "learned log-SNR": (learned, (2, 100, 1000, 10000)),
}
EXACT_CASES = [(kind, steps) for kind, (_, all_steps) in EXACT.items() for steps in all_steps]
CASES = [("linear", t) for t in (21, 50, 1000, 10000)] + [("cosine", t) for t in (10, 21, 1000, 10000)]
CASES += [("tabulated", t) for t in (1, 10, 1000)]


def grid_indices(steps):
    """The indices of a grid, dense at both ends and sparse between."""
    return sorted(
        {*range(1, min(steps, 20) + 1), *range(max(1, steps - 20), steps + 1), *range(1, steps, 1 + steps // 50)}
    )


def test_every_public_schedule_has_an_exact_twin():
    made = {type(make(steps[0])[0]) for make, steps in EXACT.values()}
    assert made == {type(schedule) for schedule in SCHEDULES}
    assert {name for name in iw.process.SCHEDULES if not name.startswith("learned")} < set(EXACT)


def test_steps_are_those_of_the_table():
    t = torch.linspace(0, 1, 101, dtype=F64)
    for name in set(iw.process.SCHEDULES) & set(EXACT):
        make = iw.process.SCHEDULES[name]
        torch.testing.assert_close(make(100).log_snr(t), EXACT[name][0](100)[0].log_snr(t), rtol=0, atol=0)


def edm_one_index_late(self, t):
    low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
    return (low + as_time(t) * (high - low)) ** self.rho


def shifted_but_not_scaled(self, t):
    return self.base.alpha(t) - self.base.alpha(1.0)


@bug("EDM's list over N, not N - 1", iw.KarrasSchedule, "sigma", edm_one_index_late, kind="karras", steps=100)
@bug(
    "terminal signal taken off, the rest not scaled",
    iw.process.ZeroTerminalSchedule,
    "alpha",
    shifted_but_not_scaled,
    kind="zero-terminal linear",
    steps=100,
)
@pytest.mark.parametrize(("kind", "steps"), EXACT_CASES)
@pytest.mark.slow_cases("10000")
def test_scales_agree_with_fifty_digits_on_the_grid(kind, steps):
    """The expected values take t = k/T exactly, though the float t is rounded."""
    make, _ = EXACT[kind]
    schedule, scales = make(steps)
    k = grid_indices(steps)
    compare(schedule, torch.tensor(k, dtype=F64) / steps, [scales(mpf(i) / steps) for i in k])


def compare(schedule, t, exact, slack=0.0):
    """Check the relative errors of the scales, and the absolute errors of the log-SNR and of its inverse."""
    alpha = tensor([float(mpmath.sqrt(power)) for power, _ in exact])
    sigma = tensor([float(mpmath.sqrt(var)) for _, var in exact])
    log_snr = tensor([float(mpmath.log(power / var)) if power else -math.inf for power, var in exact])
    got_alpha, got_sigma, got_log_snr = schedule.alpha(t), schedule.sigma(t), schedule.log_snr(t)
    assert bool(((got_alpha - alpha).abs() <= (1e-12 + slack) * alpha).all())
    assert bool(((got_sigma - sigma).abs() <= (1e-12 + slack) * sigma).all())
    assert bool(((got_log_snr - log_snr).abs() <= 1e-12 + slack)[got_log_snr.isfinite()].all())
    assert torch.equal(got_log_snr == -math.inf, alpha == 0)
    torch.testing.assert_close(schedule.time(log_snr), t, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "steps"), EXACT_CASES)
@pytest.mark.slow_cases("10000")
def test_scales_agree_with_fifty_digits_off_the_grid(kind, steps):
    """This includes times next to both ends, where differences cancel. The time is exact as a float. A table may round
    it again when it counts steps, which matters only on the steepest steps."""
    make, _ = EXACT[kind]
    schedule, scales = make(steps)
    t = [1e-12, 1e-6, 0.3 / steps, 1.7 / steps, 0.1, 0.37, 0.5, 0.77, 1 - 0.4 / steps, 1 - 2**-30, 1 - 2**-44]
    t = tensor([u for u in t if u < 1])
    compare(schedule, t, [scales(mpf(u)) for u in t.tolist()], 2.0**-52 * steepness(schedule, t))


def steepness(schedule, t):
    """The slope of log alpha-bar within the steps of a table; 0 for a schedule without a table."""
    base = schedule.base if isinstance(schedule, iw.process.ZeroTerminalSchedule) else schedule
    return slope(base.log_alpha_bar, t).abs() if hasattr(base, "table") else torch.zeros_like(t)


def slope(f, t):
    """The derivative of f at each of the times t."""
    t = t.clone().requires_grad_(True)
    return torch.autograd.grad(f(t).sum(), t)[0]


LOG_ALPHA_BAR = tables._Tabulated.log_alpha_bar


def one_step_late(self, t):
    return LOG_ALPHA_BAR(self, (as_time(t) + 1 / (len(self._log_alpha_bar) - 1)).clamp(max=1))


@bug("beta for beta-tilde", step_terms, "posterior_var", step_terms.transition_var, kind="linear", steps=50)
@bug("time off by one grid step", tables._Tabulated, "log_alpha_bar", one_step_late, kind="linear", steps=50)
@pytest.mark.parametrize(("kind", "steps"), [c for c in CASES if c[1] > 1])
def test_neighbours_give_ddpms_letters(kind, steps):
    """The pair ((k-1)/T, k/T) gives beta_k and beta-tilde_k of Ho et al. (2020), here in 50 digits."""
    schedule, betas, bars = case(kind, steps)
    process = iw.Gaussian(schedule)
    k = grid_indices(steps)[1:]
    t = torch.tensor(k, dtype=F64) / steps
    s = (torch.tensor(k, dtype=F64) - 1) / steps
    beta = tensor([float(betas[i - 1]) for i in k])
    beta_tilde = tensor([float((1 - bars[i - 1]) / (1 - bars[i]) * betas[i - 1]) for i in k])
    zeros = torch.zeros(len(k), 1, dtype=F64)
    torch.testing.assert_close(process.transition(zeros, s, t).var[:, 0], beta, rtol=1e-9, atol=0)
    torch.testing.assert_close(process.posterior(zeros, zeros, s, t).var[:, 0], beta_tilde, rtol=1e-9, atol=0)


@schedules
@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_signal_falls_and_noise_rises_with_time(schedule, a, b):
    s, t = min(a, b), max(a, b)
    if t - s < 1e-9:
        return
    assert schedule.log_snr(s) > schedule.log_snr(t)
    assert schedule.alpha(s) >= schedule.alpha(t)
    assert schedule.sigma(s) < schedule.sigma(t)


@schedules
def test_schedules_are_continuous(schedule):
    """Halving the step halves the largest change, so there is no jump; there is none at time 1 either."""

    def largest_change(n):
        t = torch.linspace(1e-3, 1 - 1e-3, n + 1, dtype=F64)
        return max(float(f(t).diff().abs().max()) for f in (schedule.alpha, schedule.sigma, schedule.log_snr))

    coarse, fine = largest_change(20_000), largest_change(40_000)
    assert fine == pytest.approx(coarse / 2, rel=0.05)
    for scale in (schedule.alpha, schedule.sigma):
        assert float(scale(1 - 1e-14)) == pytest.approx(float(scale(1.0)), abs=1e-6)


@schedules
@given(st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_time_inverts_log_snr(schedule, t):
    assert float(schedule.time(schedule.log_snr(t))) == pytest.approx(t, abs=1e-12)


@schedules
@given(st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_log_snr_is_the_ratio_of_the_scales(schedule, t):
    alpha, sigma, log_snr = (float(f(t)) for f in (schedule.alpha, schedule.sigma, schedule.log_snr))
    if sigma == 0 or alpha == 0:
        assert log_snr == (math.inf if sigma == 0 else -math.inf)
    else:
        assert log_snr == pytest.approx(2 * (math.log(alpha) - math.log(sigma)), abs=1e-10)


@schedules
def test_no_scale_is_nan_and_no_slope_is_infinite(schedule):
    t = torch.cat([torch.logspace(-300, -3, 60, dtype=F64), torch.linspace(0.001, 0.999, 101, dtype=F64)])
    t = torch.cat([tensor([0.0]), t, 1 - torch.logspace(-3, -15, 20, dtype=F64), tensor([1.0])])
    for f in (schedule.alpha, schedule.sigma, schedule.log_snr):
        assert not bool(f(t).isnan().any())
    within = t[(t > 1e-150) & (t < 1)]
    for f in (schedule.alpha, schedule.sigma, schedule.log_snr):
        assert bool(slope(f, within).isfinite().all())
    assert bool((slope(schedule.log_snr, within) < 0).all())
    levels = tensor([-math.inf, -1e3, -50.0, 0.0, 50.0, 1e3, math.inf])
    times = schedule.time(levels)
    assert not bool(times.isnan().any())
    assert (float(times[0]), float(times[-1])) == (pytest.approx(1, abs=1e-12), 0)


@schedules
def test_slopes_are_those_of_finite_differences(schedule):
    """A continuous-time bound differentiates the log-SNR; the times of the differences lie away from kinks."""
    t, h = tensor([0.00021, 0.03141, 0.26181, 0.51231, 0.87071]), 1e-7
    for f in (schedule.alpha, schedule.sigma, schedule.log_snr):
        difference = (f(t + h) - f(t - h)) / (2 * h)
        torch.testing.assert_close(slope(f, t), difference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", PRESERVING, ids=name_of)
@given(st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_variance_is_preserved(schedule, t):
    assert float(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2) == pytest.approx(1, abs=1e-14)


@schedules
def test_bisection_finds_what_the_closed_inverse_finds(schedule):
    levels = schedule.log_snr(tensor([0.0, 1e-9, 1e-4, 0.02, 0.3, 0.8, 0.9999, 1.0]))
    torch.testing.assert_close(
        iw.process.Schedule.time(schedule, levels), schedule.time(levels), rtol=1e-11, atol=1e-14
    )


@schedules
def test_time_zero_is_data(schedule):
    assert (float(schedule.alpha(0.0)), float(schedule.sigma(0.0))) == (1.0, 0.0)


@schedules
def test_scales_do_not_depend_on_the_shape_or_type_of_times(schedule):
    t = torch.tensor([[0.1, 0.35], [0.6, 0.999]], dtype=F64)
    for method in (schedule.alpha, schedule.sigma, schedule.log_snr):
        scale = method(t)
        assert scale.dtype == F64
        assert torch.equal(scale, torch.stack([torch.stack([method(float(u)) for u in row]) for row in t]))


def test_each_step_of_sohl_dicksteins_schedule_removes_the_same_power():
    """That is, beta_k = 1/(T - k + 1) for any T."""
    for steps in (2, 10, 1000):
        grid = iw.uniform_grid(steps)
        beta = transition_var(iw.SohlDicksteinSchedule(), grid[1:], grid[:-1])
        torch.testing.assert_close(beta, 1 / torch.arange(1, steps + 1, dtype=F64), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("steps", "rho"), [(18, 7.0), (18, 2.5), (1000, 7.0)])
def test_the_grid_of_the_karras_schedule_is_edms_list(steps, rho):
    """The list is `t_steps` of the published sampler, which starts at sigma_max and ends in sigma_min and 0."""
    i = np.arange(steps)
    listed = (80 ** (1 / rho) + i / (steps - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    got = iw.KarrasSchedule(steps, rho=rho).sigma(iw.uniform_grid(steps)).numpy()
    np.testing.assert_allclose(got, np.append(listed, 0.0), rtol=1e-12)
    np.testing.assert_allclose(got[[0, -2]], [80, 0.002], rtol=1e-13)


@pytest.mark.parametrize("base", [iw.LinearSchedule(), iw.CosineSchedule(), iw.TabulatedSchedule((0.1, 0.3, 0.2))])
def test_zero_terminal_is_the_published_algorithm_except_for_the_first_entry(base):
    """Lin et al. (2023), Alg. 1, keeps the first entry of its list, and ours keeps the 1 before it."""
    betas = base.table().numpy()
    root = np.sqrt(np.cumprod(1 - betas))
    first, last = root[0], root[-1]
    published = (root - last) * first / (first - last)
    t = torch.arange(1, len(betas) + 1, dtype=F64) / len(betas)
    ours = iw.process.ZeroTerminalSchedule(base).alpha(t).numpy()
    np.testing.assert_allclose(ours[:-1] / published[:-1], ours[0] / published[0], rtol=1e-9)
    assert (ours[-1], published[-1]) == (0, 0)
    assert published[0] == pytest.approx(first)
    assert float(iw.process.ZeroTerminalSchedule(base).alpha(0.0)) == 1
    assert ours[0] / published[0] == pytest.approx((first - last) / (first * (1 - last)), rel=1e-12)


def test_coarse_linear_schedules_end_where_the_fine_one_does():
    """Betas scale with 1000/T, so the noise at the end hardly depends on T."""
    ends = [float(iw.LinearSchedule(steps).log_snr(1.0)) for steps in (200, 1000, 5000)]
    assert max(ends) - min(ends) < 0.05 * abs(ends[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: iw.LinearSchedule(0),
        lambda: iw.LinearSchedule(20),
        lambda: iw.LinearSchedule(1000, beta_start=0.0),
        lambda: iw.LinearSchedule(1000, beta_end=0.0),
        lambda: iw.LinearSchedule(2000, beta_start=1.0),
        lambda: iw.LinearSchedule(2000, beta_end=1.0),
        lambda: iw.LinearSchedule(1000, beta_end=math.nan),
        lambda: iw.CosineSchedule(0),
        lambda: iw.CosineSchedule(10, offset=-0.1),
        lambda: iw.CosineSchedule(10, offset=math.nan),
        lambda: iw.CosineSchedule(10, offset=math.inf),
        lambda: iw.CosineSchedule(10, max_beta=0.0),
        lambda: iw.CosineSchedule(10, max_beta=1.0),
        lambda: iw.TabulatedSchedule(()),
        lambda: iw.TabulatedSchedule((0.1, 0.0)),
        lambda: iw.TabulatedSchedule((1.0, 0.1)),
        lambda: iw.TabulatedSchedule((1.0,)),
        lambda: iw.TabulatedSchedule((math.nan,)),
        lambda: iw.KarrasSchedule(1),
        lambda: iw.KarrasSchedule(10, sigma_min=0.0),
        lambda: iw.KarrasSchedule(10, sigma_min=3.0, sigma_max=3.0),
        lambda: iw.KarrasSchedule(10, sigma_max=math.inf),
        lambda: iw.KarrasSchedule(10, sigma_min=math.inf, sigma_max=math.inf),
        lambda: iw.KarrasSchedule(10, rho=math.nan),
        lambda: iw.KarrasSchedule(10, rho=0.0),
        lambda: iw.KarrasSchedule(10, rho=math.inf),
        lambda: iw.process.LogLinearSchedule(1),
        lambda: iw.process.LogLinearSchedule(10, 3.0, 3.0),
        lambda: iw.process.LogLinearSchedule(10, math.inf, 3.0),
        lambda: iw.process.LogLinearSchedule(10, 3.0, -math.inf),
        lambda: iw.process.LearnedBetas(1),
        lambda: iw.process.LearnedBetas(10, beta_1=0.0),
        lambda: iw.process.LearnedBetas(10, beta_1=1.0),
        lambda: iw.LearnedSchedule(width=0),
        lambda: iw.process.ZeroTerminalSchedule(iw.KarrasSchedule()),
        lambda: iw.process.ZeroTerminalSchedule(iw.SohlDicksteinSchedule()),
        lambda: iw.LinearSchedule(100.5),
        lambda: iw.CosineSchedule(10.5),
        lambda: iw.uniform_grid(0),
        lambda: iw.uniform_grid(2.5),
        lambda: as_grid(10, torch.tensor([1.0, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([0.9, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.1]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.5, 0.5, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, 0.2, 0.5, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([1.0, math.nan, 0.0]), 5),
        lambda: as_grid(None, torch.tensor([[1.0, 0.0]]), 5),
        lambda: as_grid(None, torch.tensor([1.0]), 5),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(iw.ConfigError, match=r"got .*, need "):
        make()


def test_options_at_their_limits_are_accepted():
    assert iw.CosineSchedule(10, offset=0.0).steps == 10
    assert iw.LinearSchedule(21).steps == 21
    assert len(iw.uniform_grid(1)) == 2
    for schedule in (
        iw.KarrasSchedule(2),
        iw.process.LogLinearSchedule(2),
        iw.process.LearnedBetas(2, start=iw.CosineSchedule(2)),
    ):
        assert bool(schedule.log_snr(1.0) < schedule.log_snr(0.5))


def test_uniform_grids_visit_the_steps_of_a_table():
    """For any T, the grid of T steps visits each beta of a schedule of T steps once."""
    for steps in (3, 10, 49, 1000):
        schedule = iw.TabulatedSchedule(tuple(torch.linspace(0.01, 0.2, steps, dtype=F64).tolist()))
        grid = iw.uniform_grid(steps)
        beta = transition_var(schedule, grid[1:], grid[:-1]).flip(0)
        torch.testing.assert_close(beta, schedule.table(), rtol=1e-10, atol=0)


def test_a_grid_comes_from_its_times_or_from_a_number_of_steps():
    times = tensor([1.0, 0.3, 0.0])
    assert torch.equal(as_grid(None, times, 5), times)
    assert torch.equal(as_grid(4, None, 5), tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    assert len(as_grid(None, None, 5)) == 6
