"""Guided walks, against conditioned normal laws in closed form."""

from dataclasses import replace
from unittest import mock

import pytest
import sklearn.datasets
import torch
from bugs import bug
from oracles import (
    F64,
    PLANE,
    TOGETHER,
    Exploding,
    GaussianData,
    exact_denoiser,
    name_of,
    prescribed_noise,
    public,
    public_schedules,
    tensor,
)
from products import LINEAR, SPACE, real_model

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.model.product import gathered
from inkwash.posterior import guidance as guide, steps
from inkwash.posterior.guidance import Guided, lanczos
from inkwash.process import distributions

MATRIX = tensor([[1.0, -0.5, 2.0], [0.3, 1.0, 0.0]])
MEASURED = iw.Measurement(MATRIX, tensor([0.2, 1.1]), tensor([0.5, 0.1]))
SEEN = iw.Observed([False, True, False], 0.3)
PRECISION = tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
CENTRE = tensor([0.5, -1.0, 2.0])


def bowl(x):
    """A normal log-likelihood that all entries share in."""
    away = x - CENTRE.to(x)
    return -0.5 * ((away @ PRECISION.to(x)) * away).sum(1)


CURVED = iw.Classifier(bowl)
FACTORS = {
    "seen": SEEN,
    "measured": MEASURED,
    "exactly": iw.Measurement(MATRIX, tensor([0.2, 1.1]), 0.0),
    "curved": CURVED,
    "seen and measured": SEEN * MEASURED,
    "all": CURVED * SEEN * MEASURED,
}


def conditioned(data, names):
    """The law of normal data given the factors: each is a set of rows (B, b, S) with b ~ N(B x, S), taken in turn."""
    looks = {
        "seen": (tensor([[0.0, 1.0, 0.0]]), tensor([0.3]), tensor([[0.0]])),
        "measured": (MATRIX, tensor([0.2, 1.1]), torch.diag(tensor([0.25, 0.01]))),
        "exactly": (MATRIX, tensor([0.2, 1.1]), torch.zeros(2, 2, dtype=F64)),
        "curved": (torch.eye(3, dtype=F64), CENTRE, torch.linalg.inv(PRECISION)),
    }
    mean, cov = data.mean, data.cov
    for name in names:
        b_matrix, b, noise = looks[name]
        gain = cov @ b_matrix.T @ torch.linalg.inv(b_matrix @ cov @ b_matrix.T + noise)
        mean, cov = mean + gain @ (b - b_matrix @ mean), cov - gain @ b_matrix @ cov
    return GaussianData(mean.tolist(), ((cov + cov.T) / 2).tolist())


NAMES = {name: ("curved", "seen", "measured") if name == "all" else name.split(" and ") for name in FACTORS}


def guided(model, factor, method=None):
    return Guided(model.denoiser, gathered(model.units, factor.parts), method or iw.MomentMatching(floor=0.0))


LOOK = guide.Guided.look


def guidance_with_sign(self, x_t, t):
    plain, guided, local = LOOK(self, x_t, t)
    return plain, replace(guided, x=2 * plain.x - guided.x, eps=2 * plain.eps - guided.eps), local


def eps_kept(self, x_t, t):
    plain, guided, local = LOOK(self, x_t, t)
    return plain, replace(guided, eps=plain.eps), local


MEASURED_EVIDENCE = iw.Measurement.evidence


def noise_as_its_own_variance(self, model):
    evidence = MEASURED_EVIDENCE(self, model)
    return replace(evidence, measured=tuple(replace(m, var=m.var.sqrt()) for m in evidence.measured))


@bug("guidance with the wrong sign", guide.Guided, "look", guidance_with_sign, schedule=LINEAR, factor="all")
@bug("x of a product, eps kept", guide.Guided, "look", eps_kept, schedule=LINEAR, factor="all")
@bug("Jacobian forgotten", guide.Local, "cov", lambda self, v: self.gain * v, schedule=LINEAR, factor="all")
@bug(
    "covariance of unit data for all",
    guide.Local,
    "cov",
    lambda self, v: self.spread * v,
    schedule=LINEAR,
    factor="all",
)
@bug(
    "noise of the measurement not squared",
    iw.Measurement,
    "evidence",
    noise_as_its_own_variance,
    schedule=LINEAR,
    factor="all",
)
@pytest.mark.parametrize("schedule", public_schedules(), ids=name_of)
@pytest.mark.parametrize("factor", FACTORS)
def test_moment_matching_of_normal_data_is_the_exact_denoiser(factor, schedule):
    check_moments(factor, schedule)


def check_moments(factor="all", schedule=LINEAR, method=None, data=SPACE, rtol=1e-10):
    """At every time: the estimate of x and of eps, and so the score, are those of the conditioned law."""
    truth = exact_denoiser(conditioned(data, NAMES[factor]), schedule)
    denoiser = guided(real_model(data, schedule), FACTORS[factor], method)
    x_t = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64) + 0.5
    for t in (0.02, 0.3, 0.7, 0.95):
        got, expected = denoiser(x_t, t), truth(x_t, t)
        torch.testing.assert_close(got.x, expected.x, rtol=rtol, atol=1e-9)
        torch.testing.assert_close(got.eps, expected.eps, rtol=1e-8, atol=1e-8)
    t = tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    torch.testing.assert_close(denoiser(x_t, t).x, truth(x_t, t).x, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("schedule", [iw.RectifiedSchedule(), iw.process.ZeroTerminalSchedule(LINEAR)], ids=name_of)
def test_where_no_signal_is_left_the_estimate_is_the_conditioned_mean(schedule):
    got = guided(real_model(SPACE, schedule), FACTORS["all"])(torch.randn(4, 3, dtype=F64), 1.0)
    assert float(got.t) == 1
    torch.testing.assert_close(got.x, conditioned(SPACE, NAMES["all"]).mean.expand(4, 3), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("factor", ["measured", "curved"])
def test_as_many_iterations_as_numbers_are_exact(factor):
    check_moments(factor, method=iw.MomentMatching(3, floor=0.0), rtol=1e-7)


@pytest.mark.parametrize(("factor", "enough"), [("measured", 2), ("curved", 3)])
def test_as_many_iterations_are_taken_as_asked(factor, enough):
    x_t = torch.ones(2, 3, dtype=F64)
    truth = exact_denoiser(conditioned(SPACE, [factor]), LINEAR)(x_t, 0.5).x
    methods = [iw.MomentMatching(n, floor=0.0) for n in range(1, enough + 1)]
    errors = [float((guided(real_model(), FACTORS[factor], m)(x_t, 0.5).x - truth).abs().max()) for m in methods]
    assert min(errors[:-1]) > 1e-3
    assert errors[-1] < 1e-8


def test_what_is_measured_twice_without_noise_is_measured_once():
    """In single precision what the same measurement says in other units is not quite the same."""
    again = torch.cat([torch.eye(2, dtype=F64), tensor([[0.7, 0.0]])])
    once, twice = (iw.Measurement(rows @ MATRIX, rows @ tensor([0.2, 1.1]), 0.0) for rows in (again[:2], again))
    x_t = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    got, expected = (guided(real_model(), factor, iw.PiGDM())(x_t, 0.3).x for factor in (twice, once))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


FAINT = GaussianData(SPACE.mean.tolist(), (1e-4 * SPACE.cov).tolist())


@bug("eigenvalues that count as redundant too soon", guide, "LEAST", 1e-2, factor="exactly")
@pytest.mark.parametrize("factor", ["exactly", "seen"])
def test_without_a_floor_data_of_any_variance_is_matched_exactly(factor):
    """A ten-thousandth of the variance of standard normal data is still an uncertainty."""
    check_moments(factor, data=FAINT, rtol=1e-6)


@bug("eigenvalues that count as redundant too soon", guide, "LEAST", 1e-2)
def test_pseudo_inverse_guidance_takes_measurements_in_any_units():
    """On data of unit variance it is exact, also where a measurement is in units of which 300 are one of the data's."""
    data = GaussianData([0.9, -0.4, 1.3], torch.eye(3).tolist())
    scale = torch.diag(tensor([1.0, 1 / 300]))
    faint = iw.Measurement(scale @ MATRIX, scale @ tensor([0.2, 1.1]), 0.0)
    x_t = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    truth = exact_denoiser(conditioned(data, ["exactly"]), LINEAR)
    for t in (0.05, 0.5, 0.95):
        got = guided(real_model(data), faint, iw.PiGDM())(x_t, t).x
        torch.testing.assert_close(got, truth(x_t, t).x, rtol=1e-6, atol=1e-6)


def test_what_is_known_without_noise_is_known():
    check_moments("seen", method=iw.MomentMatching(1, floor=1e-3))


@bug(
    "directions of Lanczos that are not orthogonal",
    guide,
    "_beside",
    lambda basis, v: torch.nn.functional.normalize(v, dim=1),
)
def test_the_inverse_in_few_iterations_is_that_of_the_whole_matrix():
    """Seven numbers, four eigenvalues, one of them 0 and one below the floor: four iterations, or any more, are
    exact, and three are not."""
    least = 0.4
    basis = torch.linalg.qr(torch.randn(7, 7, generator=torch.Generator().manual_seed(1), dtype=F64))[0]
    values = tensor([3.0, 3.0, 1.7, 1.7, 0.2, 0.0, 0.0])
    b = torch.randn(5, 7, generator=torch.Generator().manual_seed(2), dtype=F64)
    b[3], b[4] = 0.0, basis[:, 2]
    expected = (b @ basis / values.clamp(min=least)) @ basis.T

    def found(iterations, rows=slice(None)):
        return lanczos(lambda v: v @ (basis * values) @ basis.T, b[rows], iterations, tensor(least))

    for iterations in (4, 5, 7, 9):
        torch.testing.assert_close(found(iterations), expected, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(found(3)[:3], expected[:3], rtol=1e-2)
    torch.testing.assert_close(found(1, [3, 4]), expected[3:], rtol=1e-9, atol=1e-12)


def test_four_iterations_do_for_half_of_a_digit():
    """Normal data with the mean and covariance of digits, 32 pixels known. The estimate is that of all 32 iterations to
    a tenth of the posterior's standard deviation, whatever the time, and nearer to the exact one than `PiGDM`'s."""
    pixels = torch.from_numpy(sklearn.datasets.load_digits().data) / 8 - 1
    law = GaussianData(pixels.mean(0).tolist(), (pixels.T.cov() + 1e-3 * torch.eye(64, dtype=F64)).tolist())
    values = law.whiten_inverse(torch.randn(1, 64, generator=torch.Generator().manual_seed(4), dtype=F64))[0]
    seen, model = torch.arange(64) % 8 < 4, real_model(law)
    gain = law.cov[~seen][:, seen] @ torch.linalg.inv(law.cov[seen][:, seen])
    mean = law.mean[~seen] + gain @ (values - law.mean)[seen]
    rest = GaussianData(mean.tolist(), (law.cov[~seen][:, ~seen] - gain @ law.cov[seen][:, ~seen]).tolist())
    x_t, times = 0.5 * torch.randn(4, 64, generator=torch.Generator().manual_seed(5), dtype=F64), (0.05, 0.2, 0.5, 0.8)

    def estimates(method):
        denoiser = guided(model, iw.Observed(seen, values), method)
        return torch.stack([denoiser(x_t, t).x[:, ~seen] for t in times]) / rest.cov.diag().sqrt()

    def off(method, expected):
        return (estimates(method) - expected).pow(2).mean((1, 2)).sqrt()

    whole = estimates(iw.MomentMatching(32))
    truth = exact_denoiser(rest, LINEAR)
    exact = torch.stack([truth(x_t[:, ~seen], t).x for t in times]) / rest.cov.diag().sqrt()
    assert off(iw.MomentMatching(), whole).max() < 0.1 < off(iw.MomentMatching(1), whole).max()
    assert (off(iw.MomentMatching(), exact) < off(iw.PiGDM(), exact)).all()


def test_what_is_measured_twice_is_measured_once():
    """Without a floor, and without noise: of two measurements that agree one is redundant."""
    twice = iw.Measurement(MATRIX[[0, 0, 1]], tensor([0.2, 0.2, 1.1]), 0.0)
    x_t = torch.ones(2, 3, dtype=F64)
    once, both = (guided(real_model(), factor)(x_t, 0.5).x for factor in (FACTORS["exactly"], twice))
    torch.testing.assert_close(both, once, rtol=1e-6, atol=1e-6)


def test_the_flow_of_a_product_ends_at_the_conditioned_law():
    """The flow of normal data is affine: points one standard deviation out along its axes go to the same of the
    product."""
    schedule, law = Exploding(0.002, 80.0), conditioned(SPACE, NAMES["measured"])
    start = law.marginal(1.0, schedule.sigma(1.0))
    corners = torch.cat([torch.zeros(1, 3), torch.eye(3)]).double() @ law.eigenvectors.T
    width = torch.linalg.cholesky(torch.diag(law.eigenvalues + schedule.sigma(1.0) ** 2))
    x_1 = start.mean + corners @ law.eigenvectors @ width @ law.eigenvectors.T
    with mock.patch.object(Slots, "rows", 4):
        got = iw.likelihood.transport(guided(real_model(SPACE, schedule), MEASURED), x_1, 1.0, 0.0)
    expected = law.mean + corners @ law.eigenvectors @ law.eigenvalues.sqrt().diag() @ law.eigenvectors.T
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)


LOG_TWIST = guide.log_twist


@bug(
    "variance of pseudo-inverse guidance without its root",
    guide,
    "log_twist",
    lambda spread, evidence, x: LOG_TWIST(spread**0.5, evidence, x),
)
def test_pseudo_inverse_guidance_is_exact_on_data_of_unit_variance():
    """The covariance it takes for granted is that of N(m, I), for whatever m."""
    check_moments("measured", method=iw.PiGDM(), data=GaussianData([0.9, -0.4, 1.3], torch.eye(3).tolist()))
    check_moments("measured", Exploding(), iw.PiGDM(), GaussianData([0.9, -0.4, 1.3], torch.eye(3).tolist()))


def log_twist_without_potentials(spread, evidence, x):
    return LOG_TWIST(spread, replace(evidence, potentials=()), x)


@bug("other factors forgotten", guide, "log_twist", log_twist_without_potentials)
def test_pseudo_inverse_guidance_is_exact_for_the_exponential_of_a_line():
    """Of any normal data: log r_t is that line of the estimate, and a constant. The product is normal data, moved."""
    slope = tensor([0.7, -1.1, 0.4])
    truth = exact_denoiser(GaussianData((SPACE.mean + SPACE.cov @ slope).tolist(), SPACE.cov.tolist()), LINEAR)
    x_t = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    for t in (0.1, 0.5, 0.9):
        got = guided(real_model(), iw.Classifier(lambda x: x @ slope), iw.PiGDM())(x_t, t)
        torch.testing.assert_close(got.x, truth(x_t, t).x)
        torch.testing.assert_close(got.eps, truth(x_t, t).eps)


HALF = GaussianData([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]])
LEFT = iw.Observed([True, False], [0.95, 0.0])


def mean_of(method, steps, sampler=None):
    """Mean of the second entry when the first is known: on normal data all steps are affine, so a walk without noise,
    from the mean of x_1, ends at the mean."""
    product = real_model(HALF) * LEFT
    with prescribed_noise(tensor(0.0)):
        return float(product.sample(1, seed=0, method=method, sampler=sampler, steps=steps)[0, 1])


def matched_step_by_step(self, denoiser, evidence, sampler):
    return steps.StepProduct().compose(denoiser, evidence, sampler)


@bug("moments matched one step at a time", iw.MomentMatching, "compose", matched_step_by_step)
def test_the_rule_of_the_notes_does_not_converge_to_the_product(few_rows):
    """0.8 times 0.95 is 0.76. Multiplying every step ends near 0.6, replacing known entries at 0.47, with many steps as
    with few; matching moments ends at 0.76."""
    far = [mean_of(method, steps) for method in (iw.posterior.StepProduct(), iw.RePaint(1, 1)) for steps in (60, 240)]
    assert far == pytest.approx([0.58, 0.58, 0.47, 0.47], abs=0.03)
    assert mean_of(iw.MomentMatching(), 100) == pytest.approx(0.76, abs=0.02)
    assert mean_of(iw.MomentMatching(), 20, iw.DDIM()) == pytest.approx(0.76, abs=0.02)


def test_repainting_approaches_the_product_as_its_repeats_grow(few_rows):
    errors = [0.76 - mean_of(iw.RePaint(repeats, 2), 40) for repeats in (1, 3, 8)]
    assert errors[0] > 1.5 * errors[1] > 1.5**2 * errors[2] > 0


def test_resampling_walks_each_stretch_as_often_as_it_says():
    """But for the step to time 0, which is taken once."""
    asked, denoiser = [], exact_denoiser(HALF, LINEAR)

    def counting(x_t, t):
        asked.append(float(t[0]))
        return denoiser.network(x_t, t)

    model = iw.Diffusion(iw.Denoiser(counting, denoiser.process, "x"), (2,), dtype=F64)
    times = [s for s, _ in (model * LEFT).trajectory(1, seed=0, steps=5, method=iw.RePaint(2, 2))]
    assert asked == pytest.approx([1, 0.8, 1, 0.8, 0.6, 0.4, 0.6, 0.4, 0.2])
    assert times == pytest.approx([0.8, 0.6, 0.4, 0.2, 0])


@bug("eigenvalues that count as redundant too soon", steps, "LEAST", 1e-2, unit=300.0)
@pytest.mark.parametrize("unit", [1.0, 300.0])
def test_a_measured_step_is_the_product_of_two_normal_laws(unit):
    """Mean and covariance of a multiplied step, by feeding it the noise of each basis vector, against conditioning."""
    model, size = real_model(), 5
    factor = iw.Measurement(MATRIX / unit, tensor([0.2, 1.1]) / unit, tensor([0.5, 0.1]) / unit)
    walker = iw.posterior.StepProduct().compose(model.denoiser, gathered(model.units, factor.parts), iw.Ancestral())
    x_t, t, s = torch.zeros(6, 3, dtype=F64), tensor(0.5), tensor(0.4)
    reverse = model.process.reverse(x_t, model.denoiser(x_t, t), s, t)
    law = GaussianData(reverse.mean[0].tolist(), (reverse.var * torch.eye(3)).tolist())
    expected = conditioned(law, ["measured"])
    draws = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
    parts = iter([draws[:, :3], draws[:, 3:]])
    with pytest.MonkeyPatch.context() as patch:
        for module in (distributions, steps):
            patch.setattr(module, "standard_normal", lambda shape, generator, like=None: next(parts))
        x_s = walker.sampler.step(model.denoiser, x_t, t, s, torch.Generator())
    torch.testing.assert_close(x_s[0], expected.mean)
    around = (x_s[1:] - x_s[0]).T
    torch.testing.assert_close(around @ around.T, expected.cov)


def test_a_step_times_the_exponential_of_a_line_is_moved_by_variance_times_slope():
    model, slope = real_model(), tensor([0.7, -1.1, 0.4])
    walker = iw.posterior.StepProduct().compose(
        model.denoiser, gathered(model.units, (iw.Classifier(lambda x: x @ slope),)), iw.Ancestral()
    )
    x_t, t, s = torch.ones(2, 3, dtype=F64), tensor(0.5), tensor(0.4)
    with prescribed_noise(tensor(0.0)):
        moved = walker.sampler.step(model.denoiser, x_t, t, s, torch.Generator())
    reverse = model.process.reverse(x_t, model.denoiser(x_t, t), s, t)
    torch.testing.assert_close(moved - reverse.mean, (reverse.var * slope).expand(2, 3))


def slope_at_the_start(self, denoiser, x_t, t, s, generator):
    reverse = denoiser.process.reverse(x_t, denoiser(x_t, t), s, t)
    return reverse.mean + reverse.var * guide.gradient(self.evidence.potential, x_t)


@bug("slope at the start of the step", steps._Multiplied, "step", slope_at_the_start)
def test_the_slope_is_that_at_the_mean_of_the_step():
    """Of a bowl, by finite differences; and one example does not feel the others."""
    model = real_model()
    walker = iw.posterior.StepProduct().compose(model.denoiser, gathered(model.units, CURVED.parts), iw.Ancestral())
    x_t, t, s = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=F64), tensor(0.5), tensor(0.3)
    with prescribed_noise(tensor(0.0)):
        moved = walker.sampler.step(model.denoiser, x_t, t, s, torch.Generator())
    reverse = model.process.reverse(x_t, model.denoiser(x_t, t), s, t)
    h = 1e-6 * torch.eye(3, dtype=F64)[:, None]
    slope = torch.stack([(bowl(reverse.mean + e) - bowl(reverse.mean - e)) / 2e-6 for e in h], 1)
    torch.testing.assert_close(moved - reverse.mean, reverse.var * slope, rtol=1e-6, atol=1e-8)


def squared_norm(self, denoiser, x_t, t, s, generator):
    def distance(x):
        return self.evidence.linear.residual(denoiser(x, t).x).square().sum(1)

    return self.inner(denoiser, x_t, t, s, generator) - self.options.scale * guide.gradient(distance, x_t)


@bug("norm squared", steps._Descended, "step", squared_norm)
def test_a_step_of_dps_goes_down_the_slope_of_the_distance():
    """Against finite differences of the distance of one example alone, in a batch of others."""
    scale = 0.7
    model = real_model()
    evidence = gathered(model.units, MEASURED.parts)
    walker = iw.DPS(scale).compose(model.denoiser, evidence, iw.DDIM())
    x_t = torch.randn(4, 3, generator=torch.Generator().manual_seed(3), dtype=F64)
    t, s = tensor(0.6), tensor(0.5)
    moved = walker.sampler.step(model.denoiser, x_t, t, s, torch.Generator()) - iw.DDIM().step(
        model.denoiser, x_t, t, s, torch.Generator()
    )

    def distance(x):
        return float((tensor([0.2, 1.1]) - MATRIX @ model.denoiser(x[None], 0.6).x[0]).square().sum().sqrt())

    for row, shift in zip(x_t, moved, strict=True):
        slope = [(distance(row + 1e-5 * e) - distance(row - 1e-5 * e)) / 2e-5 for e in torch.eye(3, dtype=F64)]
        torch.testing.assert_close(shift, -scale * tensor(slope), rtol=1e-6, atol=1e-8)


def real_methods():
    return [kind() for kind in public(iw.posterior.Method) if kind is not iw.posterior.Entrywise]


@pytest.mark.parametrize("method", real_methods(), ids=name_of)
def test_draws_have_the_precision_of_the_model_and_what_is_known(method, few_rows):
    model = iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,), dtype=torch.float32)
    x = (model * iw.Observed([True, False], 0.1)).sample(3, seed=0, steps=10, method=method)
    assert x.dtype == torch.float32
    assert bool((x[:, 0] == torch.tensor(0.1)).all())
    assert len(x[:, 1].unique()) == 3


def one_norm_for_all(self, denoiser, x_t, t, s, generator):
    def distance(x):
        return self.evidence.linear.residual(denoiser(x, t).x).norm()[None]

    return self.inner(denoiser, x_t, t, s, generator) - self.options.scale * guide.gradient(distance, x_t)


@bug("one distance over the batch", steps._Descended, "step", one_norm_for_all, method=iw.DPS())
@pytest.mark.parametrize("method", [iw.MomentMatching(), iw.MomentMatching(2), iw.PiGDM(), iw.DPS()], ids=str)
def test_the_guidance_of_one_example_does_not_depend_on_the_others(method):
    model = real_model()
    x_t = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    evidence = gathered(model.units, (SEEN * MEASURED).parts)
    walker = method.compose(model.denoiser, evidence, iw.DDIM())
    t, s = tensor(0.6), tensor(0.5)
    together = walker.sampler.step(walker.denoiser, x_t, t, s, torch.Generator())
    alone = torch.cat([walker.sampler.step(walker.denoiser, row[None], t, s, torch.Generator()) for row in x_t])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-11)


def test_a_product_says_nothing_of_levels():
    model, x_t = iw.Diffusion(TOGETHER.denoiser(LINEAR), (2,), dtype=F64), torch.ones(3, 2, dtype=F64)
    assert model.denoiser(x_t, 0.5).level_logits is not None
    assert guided(model, iw.Observed([True, False], 1.0))(x_t, 0.5).level_logits is None
