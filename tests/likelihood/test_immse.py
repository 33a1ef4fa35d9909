"""The second route to the log-density, by the error of the denoiser at every noise."""

import pytest
import torch
from bugs import bug
from flows import BLOBS, LINEAR, NOISE, drawn, kinds, points, three
from oracles import (
    PLANE,
    GaussianData,
    exact_denoiser,
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
