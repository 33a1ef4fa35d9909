"""The flow against closed forms: exact densities, exact codes, and identities that need no formula of the flow.

Two schedules of other kinds stand beside the public ones: one without a scaled signal and one that loses it all.
"""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from flows import BLOBS, LINEAR, NOISE, TIGHT, Exploding, Law, drawn, kinds, log_prob, points, schedules, three
from oracles import (
    F64,
    LINE,
    PLANE,
    GaussianData,
    exact_denoiser,
    tensor,
)
from torch import nn

import inkwash as iw
from inkwash.core.shapes import sum_event
from inkwash.likelihood import flow
from inkwash.likelihood.flow import _Trace, dequantised_log_prob

pytestmark = pytest.mark.usefixtures("slot")


@bug(
    "divergence forgotten",
    flow._Trace,
    "rates",
    lambda self, velocity, z, probes: 0 * sum_event(z)[:, None],
    schedule=LINEAR,
    data=PLANE,
)
@schedules
@kinds
@pytest.mark.slow_cases("LearnedSchedule", "LearnedBetas", "LogLinear", "Tabulated", "SohlDickstein")
def test_the_log_density_is_the_true_one(schedule, data):
    check_log_density(schedule, data)


def check_log_density(schedule=LINEAR, data=PLANE, t=0.0):
    x = float(schedule.alpha(t)) * points(data) + float(schedule.sigma(t)) * NOISE.flip(0)
    result = log_prob(data, schedule, x, t, solver=TIGHT)
    torch.testing.assert_close(result.value, Law(data, schedule, t).log_prob(x), rtol=0, atol=1e-6)
    assert result.std_error is None


def velocity_of_the_variance_preserving_alone(denoiser, z, angle):
    t = denoiser.process.schedule.time(-2 * angle.tan().log().clamp(-10, 10))
    return denoiser(z, t).v


LOG_PROBS = flow._log_probs


def log_probs_without_the_radius(denoiser, x_t, t, *rest):
    values, evaluations = LOG_PROBS(denoiser, x_t, t, *rest)
    ratio = torch.log(denoiser.process.scale(1.0) / denoiser.process.scale(t))
    return values - x_t[0].numel() * ratio, evaluations


@bug(
    "flow for one kind of schedule",
    flow,
    "_velocity",
    velocity_of_the_variance_preserving_alone,
    schedule=Exploding(),
    t=0.4,
)
@bug(
    "log-determinant of the last scale forgotten",
    flow,
    "_log_probs",
    log_probs_without_the_radius,
    schedule=Exploding(),
    t=0.4,
)
@three
@pytest.mark.parametrize("t", [1e-3, 0.4])
def test_so_it_is_at_any_time(schedule, t):
    check_log_density(schedule, PLANE, t)


def law_of_the_model(data, schedule):
    """Where the flow of Gaussian data takes the prior: along a principal axis of variance v, x - mean is
    sqrt(v / (alpha_1^2 v + sigma_1^2)) times x_1 - alpha_1 mean."""
    prior = iw.Gaussian(schedule).prior((1, data.size), like=tensor([0.0]))
    alpha, sigma = schedule.alpha(1.0), schedule.sigma(1.0)
    gain = (data.eigenvalues / (alpha**2 * data.eigenvalues + sigma**2)).sqrt()
    matrix = data.eigenvectors @ torch.diag(gain) @ data.eigenvectors.T
    mean = data.mean + matrix @ (prior.mean[0] - alpha * data.mean)
    return GaussianData(mean.tolist(), (matrix @ matrix * prior.var).tolist())


@schedules
@pytest.mark.slow_cases("LearnedSchedule")
def test_from_the_prior_it_is_that_of_the_model(schedule):
    x = points(PLANE)
    result = iw.likelihood.flow_log_prob(exact_denoiser(PLANE, schedule), x, solver=TIGHT)
    torch.testing.assert_close(result.value, law_of_the_model(PLANE, schedule).log_prob(x), rtol=1e-6, atol=1e-6)


def test_the_error_falls_with_the_tolerance():
    x = points(BLOBS)

    def error(tolerance):
        result = log_prob(BLOBS, LINEAR, x, solver=iw.Adaptive(tolerance, tolerance))
        return float((result.value - BLOBS.log_prob(x)).abs().max()), int(result.evaluations.sum())

    (coarse, few), (middle, more), (fine, most) = error(1e-3), error(1e-5), error(1e-7)
    assert coarse > 30 * middle > 900 * fine
    assert fine < 1e-5
    assert few < more < most


def test_fixed_steps_have_order_four():
    x = points(PLANE)

    def error(steps):
        return float((log_prob(PLANE, LINEAR, x, solver=iw.Fixed(steps)).value - PLANE.log_prob(x)).norm())

    assert math.log2(error(32) / error(64)) == pytest.approx(4, abs=0.2)


VELOCITY = flow._velocity


def velocity_twice_as_fast(denoiser, z, angle):
    return VELOCITY(denoiser, z, angle) * 2


@bug("flow at twice its speed", flow, "_velocity", velocity_twice_as_fast, schedule=LINEAR)
@schedules
@pytest.mark.slow_cases("LearnedSchedule")
def test_the_code_of_gaussian_data_is_a_known_map(schedule):
    """In y = x_t / alpha: y - mean grows by sqrt((v + w^2) / v) along a principal axis of variance v."""
    alpha, sigma = schedule.alpha(1.0), schedule.sigma(1.0)
    gain = ((alpha**2 * PLANE.eigenvalues + sigma**2) / PLANE.eigenvalues).sqrt()
    x = points(PLANE)
    expected = alpha * PLANE.mean + ((x - PLANE.mean) @ PLANE.eigenvectors * gain) @ PLANE.eigenvectors.T
    z = iw.likelihood.transport(exact_denoiser(PLANE, schedule), x, 0.0, 1.0, solver=TIGHT)
    torch.testing.assert_close(z, expected, rtol=1e-6, atol=1e-6)


@three
def test_a_code_leads_back_to_its_data(schedule):
    x, denoiser = points(BLOBS), exact_denoiser(BLOBS, schedule)
    z = iw.likelihood.transport(denoiser, x, 0.0, 1.0, solver=TIGHT)
    torch.testing.assert_close(iw.likelihood.transport(denoiser, z, 1.0, 0.0, solver=TIGHT), x, rtol=0, atol=1e-6)


def test_a_way_in_two_parts_is_one_way():
    x, denoiser = points(BLOBS), exact_denoiser(BLOBS, LINEAR)
    half = iw.likelihood.transport(denoiser, x, 0.0, 0.3, solver=TIGHT)
    whole = iw.likelihood.transport(denoiser, x, 0.0, 1.0, solver=TIGHT)
    torch.testing.assert_close(
        iw.likelihood.transport(denoiser, half, 0.3, 1.0, solver=TIGHT), whole, rtol=1e-6, atol=1e-6
    )


def test_codes_of_data_are_standard_normal(wide_slots):
    code = iw.likelihood.transport(exact_denoiser(BLOBS, LINEAR), points(BLOBS, drawn(500, 2, 0)), 0.0, 1.0)
    for entry in code.T:
        assert scipy.stats.kstest(entry.numpy(), "norm").pvalue > 1e-3
    assert abs(float(code.T.corrcoef()[0, 1])) < 4 / 500**0.5


def nonlinear(size, dtype=F64):
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(size + 1, 24), nn.Tanh(), nn.Linear(24, size)).to(dtype)

    def network(x_t, t):
        return net(torch.cat([x_t.flatten(1), t[:, None]], 1)).reshape(x_t.shape)

    return network


def nonlinear_denoiser(size, schedule=LINEAR, dtype=F64):
    """Of a network that sees log-SNR: as a function of time a tabulated schedule has kinks, on which solvers dwell."""
    network = nonlinear(size, dtype)

    def called(x_t, log_snr):
        return network(x_t.to(dtype), log_snr.to(dtype) / 10)

    return iw.Denoiser(called, iw.Gaussian(schedule), predicts="v", sees="log_snr")


@three
def test_the_log_density_is_that_of_the_map_whose_derivatives_are_taken_numerically(schedule):
    """Of any network, exact or not: log p(x) = log prior(x_1) + log |dx_1 / dx|, here by central differences."""
    denoiser, h, solver = nonlinear_denoiser(3, schedule), 1e-4, iw.Adaptive(1e-10, 1e-10)
    x = tensor([[0.4, -1.1, 0.3]])
    eye = torch.eye(3, dtype=F64)
    moved = iw.likelihood.transport(denoiser, torch.cat([x, x + h * eye, x - h * eye]), 0.0, 1.0, solver=solver)
    jacobian = (moved[1:4] - moved[4:]) / (2 * h)
    prior = denoiser.process.prior((1, 3), like=x).log_prob(moved[:1])
    result = iw.likelihood.flow_log_prob(denoiser, x, solver=TIGHT)
    torch.testing.assert_close(result.value, prior + torch.linalg.slogdet(jacobian)[1], rtol=1e-5, atol=1e-4)


def test_the_exact_divergence_is_the_trace_of_the_jacobian():
    network, t = nonlinear(12), torch.full((5,), 0.3, dtype=F64)
    z = torch.randn(5, 3, 2, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    trace = _Trace.of("exact", None, 12)
    leaf = z.clone().requires_grad_()
    rates = trace.rates(network(leaf, t), leaf, trace.draw(z, torch.Generator()))
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, t), z)
    expected = torch.stack([jacobian[i, ..., i, :, :, :].reshape(12, 12).trace() for i in range(5)])
    torch.testing.assert_close(rates, expected[:, None])


DIAGONAL = torch.linspace(0.2, 2.0, 6, dtype=F64)
MIXING = torch.linalg.qr(drawn(6, 6, 2))[0]
SIX = GaussianData([0.5] * 6, (MIXING @ torch.diag(DIAGONAL) @ MIXING.T).tolist())


def test_the_estimated_divergence_is_unbiased_and_knows_its_error(wide_slots):
    x = SIX.whiten_inverse(drawn(400, 6, 3))
    result = log_prob(SIX, LINEAR, x, divergence="hutchinson", probes=12, solver=iw.Fixed(16))
    in_errors = (result.value - SIX.log_prob(x)) / result.std_error
    assert abs(float(in_errors.mean())) < 4 / 400**0.5
    # a ratio to an error with 11 degrees of freedom has the variance 11 / 9
    assert float((in_errors**2).mean()) == pytest.approx(11 / 9, rel=0.3)


def test_more_probes_have_a_smaller_error(wide_slots):
    x = points(SIX, drawn(100, 6, 3))
    few, many = (
        log_prob(SIX, LINEAR, x, divergence="hutchinson", probes=k, solver=iw.Fixed(8)).std_error for k in (4, 16)
    )
    assert float(few.mean() / many.mean()) == pytest.approx(2, rel=0.15)
    one = log_prob(SIX, LINEAR, x, divergence="hutchinson", probes=1, solver=iw.Fixed(8))
    assert bool(one.std_error.isnan().all())
    assert bool(one.value.isfinite().all())


def test_the_divergence_is_exact_up_to_64_entries_and_estimated_beyond():
    def standard(size):
        denoiser = iw.Denoiser(lambda x_t, t: torch.zeros_like(x_t), iw.Gaussian(LINEAR), predicts="v")
        return iw.likelihood.flow_log_prob(denoiser, torch.zeros(1, size), solver=iw.Fixed(1))

    assert standard(64).std_error is None
    assert standard(65).std_error is not None
    torch.testing.assert_close(standard(65).value, tensor([-65 / 2 * math.log(2 * math.pi)]))


@pytest.mark.parametrize(
    "options",
    [{"divergence": "exact"}, {"divergence": "hutchinson", "probes": 2}],
    ids=["exact", "hutchinson"],
)
@pytest.mark.quick_cases("hutchinson")
def test_an_example_has_the_same_bits_whatever_stands_beside_it(options):
    """In single precision, over two slots, beside an example that needs many more steps."""
    torch.manual_seed(0)
    denoiser = iw.Denoiser(awake(iw.MLP(3, width=16, depth=1)), iw.Gaussian(LINEAR), sees="log_snr")
    x = torch.randn(40, 3)
    other = x.flip(0).clone()
    other[[3, 30]] = x[[3, 30]]
    other[4] = 30.0
    options = {"solver": iw.Adaptive(1e-2, 1e-2), **options}
    whole, others, part = (iw.likelihood.flow_log_prob(denoiser, each, **options) for each in (x, other, x[:4]))
    for name in ("value", "evaluations"):
        assert torch.equal(getattr(whole, name)[[3, 30]], getattr(others, name)[[3, 30]])
        assert torch.equal(getattr(whole, name)[:4], getattr(part, name))
    assert int(others.evaluations[4]) != int(whole.evaluations[4])


def test_codes_have_the_same_bits_whatever_stands_beside_them():
    denoiser, x = nonlinear_denoiser(2, dtype=torch.float32), points(PLANE)
    other = torch.cat([x[:2], 50 * x[2:]])
    codes = [iw.likelihood.transport(denoiser, each, 0.0, 1.0)[:2] for each in (x, other, x[:2])]
    assert torch.equal(codes[0], codes[1])
    assert torch.equal(codes[0], codes[2])


def test_signs_depend_on_the_seed_and_the_place():
    x = torch.full((3, 6), 0.3, dtype=F64)
    options = {"divergence": "hutchinson", "probes": 2, "solver": iw.Fixed(4)}
    a, b, c = (log_prob(SIX, LINEAR, x, seed=seed, **options).value for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert len(set(a.tolist())) > 1


LATTICE = iw.process.Lattice(-1.0, 1.0, 4)
PROBABILITIES = tensor([0.1, 0.2, 0.5, 0.2])


def levels_denoiser(predicts="x"):
    """The exact denoiser of one entry that takes each level with its probability: Bayes over the levels."""
    values = LATTICE.values()

    def network(x_t, t):
        alpha, sigma = LINEAR.alpha(t)[:, None], LINEAR.sigma(t)[:, None]
        log_joint = torch.distributions.Normal(alpha * values, sigma).log_prob(x_t) + PROBABILITIES.log()
        return log_joint.softmax(1) @ values[:, None]

    return iw.Denoiser(network, iw.Gaussian(LINEAR), predicts=predicts, variance="large")


def dequantised(denoiser, kind, draws=1, **options):
    options = {"solver": iw.Adaptive(1e-6, 1e-6), **options}
    x = LATTICE.values()[:, None]
    return dequantised_log_prob(
        denoiser, x, iw.uniform_grid(100), LATTICE, iw.likelihood.Dequantise(kind, draws), **options
    )


WITH_NOISE = flow._with_noise


def density_of_noise_forgotten(*args):
    x_t, t, gain = WITH_NOISE(*args)
    return x_t, t, torch.zeros_like(gain)


@bug("density of the noise added forgotten", flow, "_with_noise", density_of_noise_forgotten)
def test_levels_with_the_noise_of_the_process_have_their_log_mass():
    result = dequantised(levels_denoiser(), "noise", draws=3)
    torch.testing.assert_close(result.value, PROBABILITIES.log(), rtol=0, atol=0.005)
    assert float(result.value.exp().sum()) < 1 + 1e-3


@pytest.mark.slow
def test_levels_with_uniform_noise_have_the_mean_log_density_of_their_cells():
    """The model is Gaussian, so the mean over a cell is known by quadrature."""
    result = dequantised(exact_denoiser(LINE, LINEAR), "uniform", draws=40, solver=iw.Fixed(8))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    cells = LATTICE.values()[:, None] + LATTICE.spacing / 2 * tensor(nodes)
    expected = LINE.log_prob(cells.reshape(-1, 1)).reshape(cells.shape) @ tensor(weights) / 2 + math.log(
        LATTICE.spacing
    )
    assert float(((result.value - expected) / result.std_error).abs().max()) < 4
    assert float(result.std_error.max()) < 0.3


def test_one_draw_of_noise_cannot_tell_its_error():
    assert bool(dequantised(levels_denoiser(), "noise").std_error.isnan().all())


def awake(network):
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


def plane_model(transform=None, dtype=F64):
    return iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,), transform, dtype=dtype)


SHIFT, SCALE = (3.0, -20.0), (0.5, 8.0)


def no_log_det(self, x):
    return torch.zeros(len(x))


@bug("log-determinant of the data's units forgotten", iw.data.Transform, "log_det", no_log_det)
def test_the_log_density_is_in_data_units():
    """One model gets its data in two units: the log-densities differ as those of a map that is known."""
    spec = iw.data.DataSpec((2,), "ND", "float64", -50.0, 50.0, None)
    x = points(PLANE).float().double()
    data = np.asarray(SHIFT) + np.asarray(SCALE) * x.numpy()
    in_model_units = plane_model().log_prob(x).value
    in_data_units = plane_model(iw.data.Transform(spec, SHIFT, SCALE)).log_prob(data).value
    mean = tensor(SHIFT) + tensor(SCALE) * PLANE.mean
    stretched = torch.distributions.MultivariateNormal(mean, tensor(SCALE)[:, None] * PLANE.cov * tensor(SCALE))
    expected = stretched.log_prob(torch.as_tensor(data)) - PLANE.log_prob(x)
    torch.testing.assert_close(in_data_units - in_model_units, expected, rtol=0, atol=1e-4)


def levels_model():
    spec = iw.data.DataSpec((1,), "ND", "uint8", 0.0, 3.0, 4)
    return iw.Diffusion(levels_denoiser(), (1,), iw.data.Transform(spec, (1.5,), (1.5,)), steps=100, dtype=F64)


@pytest.mark.parametrize("kind", ["noise", "uniform"])
def test_beside_whole_numbers_real_ones_keep_the_density_of_their_unit(kind):
    """Of the same model of data in another unit, the density of the real number differs by it, the probability not."""
    columns = {"x": iw.data.Column("float64"), "count": iw.data.Column("int64")}
    spec = iw.data.DataSpec((2,), "ND", "float64", -50.0, 50.0, None, columns)

    def value(unit):
        transform = iw.data.Transform(spec, (0.0, 2.0), (unit, 4.0))
        model = iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,), transform, dtype=F64, steps=20)
        x = np.array([[0.25 * unit, 3.0], [-0.5 * unit, 1.0]])
        return model.log_prob(x, dequantise=iw.likelihood.Dequantise(kind), solver=iw.Fixed(8)).value

    torch.testing.assert_close(value(8.0) + math.log(8), value(1.0))


def test_a_model_of_levels_dequantises_by_itself():
    digits = np.arange(4, dtype=np.uint8)[:, None]
    result = levels_model().log_prob(digits, dequantise=iw.likelihood.Dequantise(draws=3))
    torch.testing.assert_close(result.value, PROBABILITIES.log(), rtol=0, atol=0.02)
    assert np.array_equal(levels_model().decode(levels_model().encode(digits)), digits)
    assert levels_model().decode(levels_model().encode(digits)).dtype == np.uint8


def test_codes_lead_back_to_data_units():
    spec = iw.data.DataSpec((2,), "ND", "float64", -50.0, 50.0, None)
    model = plane_model(iw.data.Transform(spec, SHIFT, SCALE))
    data = np.asarray(SHIFT) + np.asarray(SCALE) * points(PLANE).numpy()
    np.testing.assert_allclose(model.decode(model.encode(data, solver=TIGHT), solver=TIGHT), data, rtol=0, atol=1e-4)


def test_a_network_in_single_precision_is_close():
    x = points(PLANE)[:5]
    double, single = (
        iw.likelihood.flow_log_prob(nonlinear_denoiser(2, dtype=kind), x).value for kind in (F64, torch.float32)
    )
    torch.testing.assert_close(single, double, rtol=0, atol=1e-3)
    assert single.dtype == F64


def test_what_surrounds_the_call_does_not_matter():
    x, denoiser = points(PLANE)[:3], exact_denoiser(PLANE, LINEAR)
    plain = iw.likelihood.flow_log_prob(denoiser, x).value
    with torch.inference_mode():
        assert torch.equal(iw.likelihood.flow_log_prob(denoiser, x).value, plain)
    with torch.enable_grad():
        assert not iw.likelihood.flow_log_prob(denoiser, x.clone().requires_grad_()).value.requires_grad


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"divergence": "best"}, "divergence: got 'best', need one of auto, exact, hutchinson"),
        ({"probes": 3}, "probes: got 3, need divergence='hutchinson'"),
        ({"divergence": "exact", "probes": 3}, "probes: got 3"),
        ({"divergence": "hutchinson", "probes": 0}, "probes: got 0, need an integer >= 1"),
        ({"dequantise": iw.likelihood.Dequantise()}, "dequantise: got continuous data, need data with levels"),
        ({"solver": iw.Adaptive(1e-12, 1e-12, 20)}, "solver.max_evaluations: got 20"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(iw.ConfigError) as error:
        plane_model().log_prob(points(PLANE)[:2], **options)
    assert words in str(error.value)


@pytest.mark.parametrize(("kind", "draws"), [("normal", 1), ("noise", 0)])
def test_bad_dequantisation_is_refused(kind, draws):
    with pytest.raises(iw.ConfigError, match="dequantise"):
        iw.likelihood.Dequantise(kind, draws)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, x: model.log_prob(x),
        lambda model, x: model.encode(x),
        lambda model, x: model.decode(x),
        lambda model, x: iw.likelihood.immse_log_prob(model.denoiser, x),
    ],
    ids=["log_prob", "encode", "decode", "immse_log_prob"],
)
def test_bits_have_no_flow(ask):
    model = iw.Diffusion(iw.denoise.OddsDenoiser(lambda x_t, t: x_t, iw.Bernoulli(LINEAR)), (4,))
    with pytest.raises(iw.ConfigError, match="flow: got a Bernoulli process, need a Gaussian process"):
        ask(model, torch.zeros(2, 4))


def test_strata_and_shapes_are_checked():
    with pytest.raises(iw.ConfigError, match="strata"):
        iw.likelihood.immse_log_prob(exact_denoiser(PLANE, LINEAR), points(PLANE), strata=0)
    with pytest.raises(iw.DataError, match="z: got shape"):
        plane_model().decode(torch.zeros(2, 3))


def test_a_network_that_fails_is_an_error():
    denoiser = iw.Denoiser(lambda x_t, t: x_t * torch.nan, iw.Gaussian(LINEAR))
    with pytest.raises(iw.NonFiniteError):
        iw.likelihood.flow_log_prob(denoiser, points(PLANE))


@pytest.mark.parametrize("ask", [iw.likelihood.flow_log_prob, iw.likelihood.immse_log_prob])
def test_a_network_is_not_asked_beyond_a_log_snr_of_20(ask):
    """Also where the schedule leaves neither noise at one end nor signal at the other."""
    schedule, asked = iw.RectifiedSchedule(), []

    def network(x_t, t):
        asked.append(schedule.log_snr(t))
        return -x_t

    ask(iw.Denoiser(network, iw.Gaussian(schedule), "v"), tensor([[0.3, -1.0], [0.2, 2.0]]))
    log_snr = torch.cat(asked)
    assert float(log_snr.abs().max()) <= 20 + 1e-6
    assert float(log_snr.min()) < -15
    assert float(log_snr.max()) > 15


@pytest.mark.parametrize("kind", ["noise", "uniform"])
def test_dequantised_densities_are_functions_of_the_seed(kind):
    """Of two entries that depend on each other, so that the signs of the estimated divergence matter."""
    denoiser = iw.Denoiser(lambda x_t, t: torch.tanh(x_t + x_t.flip(1)), iw.Gaussian(LINEAR), "v")
    x = LATTICE.values()[:, None].expand(-1, 2)

    def value(seed):
        options = {"divergence": "hutchinson", "probes": 2, "solver": iw.Fixed(2), "seed": seed}
        spread = iw.likelihood.Dequantise(kind, 2)
        return dequantised_log_prob(denoiser, x, iw.uniform_grid(10), LATTICE, spread, **options).value

    assert torch.equal(value(0), value(0))
    assert not torch.equal(value(0), value(1))
