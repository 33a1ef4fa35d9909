"""The second route to the log-density, by the error of the denoiser at every noise."""

import pytest
import torch
from bugs import bug
from flows import BLOBS, LINEAR, NOISE, drawn, kinds, points, three
from oracles import (
    PLANE,
    GaussianData,
    MixtureData,
    Straight,
    exact_denoiser,
    name_of,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.likelihood import immse
from inkwash.likelihood.bound import bound

pytestmark = pytest.mark.usefixtures("slot")


@kinds
def test_the_bound_lies_above(data, wide_slots):
    x = points(data, drawn(300, 2, 4))
    denoiser = exact_denoiser(data, LINEAR, "large")
    above = (
        bound(denoiser, x, iw.uniform_grid(100)).total
        + iw.likelihood.flow_log_prob(denoiser, x, solver=iw.Fixed(16)).value
    )
    error = float(above.std() / len(x) ** 0.5)
    assert float(above.mean()) > -4 * error
    assert float(above.mean()) < 1


def integrand_without_the_signal(denoiser, x, log_snr, eps):
    kept = torch.sigmoid(log_snr).to(x.device)
    return IMMSE_INTEGRAND(denoiser, x, log_snr, eps) - (1 - kept) * x[0].numel() * kept


IMMSE_INTEGRAND = immse._immse_integrand


@bug(
    "signal counted short in the second route",
    immse,
    "_immse_integrand",
    integrand_without_the_signal,
    schedule=LINEAR,
    data=PLANE,
)
@three
@kinds
def test_the_second_route_leads_to_the_same_log_density(schedule, data, wide_slots):
    """Also in the mean over many points, where an error that is the same everywhere would show."""
    x = points(data, drawn(400, 2, 6))
    result = iw.likelihood.immse_log_prob(exact_denoiser(data, schedule), x, strata=64)
    error = result.value - data.log_prob(x)
    assert abs(float(error.sum())) < 4 * float(result.std_error.norm())
    assert float(error.norm() / result.std_error.norm()) == pytest.approx(1, abs=0.25)
    assert float((error / result.std_error).abs().max()) < 8
    assert float(result.std_error.mean()) < 0.3


def test_more_strata_make_the_error_smaller(wide_slots):
    x = points(BLOBS, drawn(400, 2, 6))
    few, many = (iw.likelihood.immse_log_prob(exact_denoiser(BLOBS, LINEAR), x, strata=n) for n in (16, 128))
    assert float(many.std_error.mean()) < 0.5 * float(few.std_error.mean())
    assert many.evaluations.tolist() == [4 * 128 + 1] * 400


@three
def test_the_second_route_is_sharp_for_standard_normal_data(schedule):
    """Next to nothing is left to chance there, so whatever is left out or wrong would show."""
    data = GaussianData([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    result = iw.likelihood.immse_log_prob(exact_denoiser(data, schedule), 2 * NOISE, strata=128)
    error = result.value - data.log_prob(2 * NOISE)
    assert float(error.norm()) < 3 * float(result.std_error.norm())
    assert float(error.abs().mean()) < 2e-3


@bug("what lies below the range left out", immse, "_immse_rest", lambda *args: 0.0)
def test_what_lies_below_the_range_of_the_schedule_counts():
    """A schedule that ends with an SNR of 0.01, at points so unlikely that this matters."""
    data = GaussianData([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
    x = tensor([[5.0, 5.0], [-4.0, 3.0]])
    result = iw.likelihood.immse_log_prob(exact_denoiser(data, iw.TabulatedSchedule((0.1,) * 44)), x, strata=256)
    torch.testing.assert_close(result.value, data.log_prob(x), rtol=0, atol=0.05)


def rest_to_first_order(denoiser, x, lowest, random):
    estimate = immse._at_log_snr(denoiser, x, lowest, torch.zeros_like(x))
    return lowest.exp() * (x[0].numel() - ((x - estimate.x) ** 2).sum(1))


@bug("what lies below the range to first order", immse, "_immse_rest", rest_to_first_order)
def test_where_the_range_ends_does_not_matter_if_the_estimate_is_constant_there(wide_slots):
    """A network that always says the same, in the mean over many rows: the range ends at an SNR of 1, or at none."""
    x, values = tensor([[0.2, 1.7]]).expand(500, 2), []
    for last in (0.0, -19.0):
        process = iw.Gaussian(Straight(first=1.0, last=last))
        denoiser = iw.Denoiser(lambda x_t, t: torch.full_like(x_t, 0.5), process, predicts="x")
        values.append(iw.likelihood.immse_log_prob(denoiser, x))
    error = torch.cat([each.std_error for each in values]).norm() / len(x)
    assert float(values[0].value.mean() - values[1].value.mean()) == pytest.approx(0, abs=4 * float(error))
    assert float(error) < 0.03


TWO = MixtureData([0.3, 0.7], [GaussianData([-2.0], [[0.25]]), GaussianData([1.0], [[0.09]])])
ERRORS = immse.immse_log_prob


def too_sure(*args, **options):
    result = ERRORS(*args, **options)
    return iw.likelihood.LogProb(result.value, result.std_error / 2**0.5, result.evaluations)


@bug(
    "two samples of a stratum counted as four", iw.likelihood, "immse_log_prob", too_sure, schedule=iw.CosineSchedule()
)
@pytest.mark.parametrize("schedule", public_schedules(), ids=name_of)
@pytest.mark.quick_cases("CosineSchedule")
def test_standard_errors_are_honest_at_every_point(schedule, wide_slots):
    check_standard_errors(schedule, 85)


@pytest.mark.slow
def test_standard_errors_are_honest_over_many_seeds(wide_slots):
    check_standard_errors(LINEAR, 1000)


def check_standard_errors(schedule, seeds):
    """Between the peaks, on them and in the tails, for as many seeds: the error has mean 0 and the size stated, and in
    units of its standard error it is a little wider than a normal number, since that is estimated too."""
    points = tensor([0.3, -2.0, 1.0, -0.5, 2.5, -4.0])
    x = points.repeat(seeds)[:, None]
    result = iw.likelihood.immse_log_prob(exact_denoiser(TWO, schedule), x)
    error, stated = (v.reshape(seeds, -1) for v in (result.value - TWO.log_prob(x), result.std_error))
    z, few = error / stated, seeds**-0.5
    assert bool((error.mean(0).abs() < 4 * few * stated.square().mean(0).sqrt()).all())
    ratio = error.square().mean(0) / stated.square().mean(0)
    assert float(ratio.mean().sqrt()) == pytest.approx(1, abs=4 * z.numel() ** -0.5)
    assert float(z.mean()) == pytest.approx(0, abs=0.1 + 4 * z.numel() ** -0.5)
    assert float(z.std()) == pytest.approx(1.1, abs=0.1 + 3 * z.numel() ** -0.5)
    assert float((z.abs() > 2.9).double().mean()) < 0.03
