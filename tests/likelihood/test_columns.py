"""Likelihoods of rows: each column has the spacing of its own integers, and what is missing counts nowhere."""

import math
from unittest import mock

import pytest
import torch
from bugs import bug
from oracles import F64, UNEVEN, GaussianData, exact_denoiser, prescribed_noise, tensor

import inkwash as iw
from inkwash.likelihood import bound as likelihood, flow
from inkwash.likelihood.bound import bound

WITH_UNIFORM = flow._with_uniform


def noise_of_other_columns(denoiser, x, times, lattice, random):
    return WITH_UNIFORM(denoiser, x, times, iw.process.Bins(lattice.spacing.flip(0)), random)


@bug("uniform noise as wide as other columns need", flow, "_with_uniform", noise_of_other_columns)
def test_uniform_noise_is_as_wide_as_the_spacing_of_its_column():
    """A quarter of a cell above each integer, and nothing for the real number; then times the volume of the cell."""
    data = GaussianData([0.3, -0.6, 0.9], [[1.0, 0.4, 0.0], [0.4, 0.8, -0.2], [0.0, -0.2, 1.3]])
    x, spacing = tensor([[0.5, 0.1, -2.0], [1.0, -0.7, 2.0]]), tensor([0.5, 0.0, 2.0])
    denoiser, times = exact_denoiser(data, iw.RectifiedSchedule()), iw.uniform_grid(10)
    uniform, bins = iw.likelihood.Dequantise("uniform"), iw.process.Bins(spacing)
    with mock.patch("torch.rand", lambda shape, **options: torch.full(shape, 0.75, dtype=F64)):
        found = iw.likelihood.dequantised_log_prob(denoiser, x, times, bins, uniform)
    expected = data.log_prob(x + spacing / 4) + math.log(0.5) + math.log(2.0)
    torch.testing.assert_close(found.value, expected, rtol=0, atol=1e-3)


MEAN, VAR, NOISE = tensor([1.5, -0.7, 0.4]), tensor([2.0, 0.6, 0.1]), tensor([[0.7, -0.4, 1.2]])


def bound_of(x, columns, continuous=False):
    """The bound of the exact model of independent columns, each with noise of its own; a slice selects columns."""
    schedule, mean, var = iw.KarrasSchedule(sigma_max=3.0), MEAN[columns], VAR[columns]

    def network(x_t, t, present=None):
        alpha, sigma = (scale(t)[:, None] for scale in (schedule.alpha, schedule.sigma))
        return mean + alpha * var / (alpha**2 * var + sigma**2) * (x_t - alpha * mean)

    with prescribed_noise(NOISE[:, columns]):
        return bound(iw.Denoiser(network, iw.Gaussian(schedule), "x"), x[:, columns], UNEVEN, continuous=continuous)


def counting_all(law, figure):
    """A figure of a law that counts what is missing."""
    found = getattr(law, figure)
    return law, figure, lambda self, *x, **options: found(self, *x[: 1 if figure != "entropy" else 0])


@bug("entropies of what is missing counted", *counting_all(iw.process.Normal, "entropy"))
@bug("missing entries under the prior counted", *counting_all(iw.process.Normal, "log_prob"))
@bug("divergences of what is missing counted", likelihood, "sum_event", lambda each, present: each.sum(1))
@pytest.mark.parametrize("continuous", [False, True], ids=["grid", "continuous"])
def test_a_row_with_a_missing_entry_has_the_bound_of_a_shorter_row(continuous):
    """With every part of it, and Sohl-Dickstein's K, and the log-probability under the prior."""
    x = tensor([[0.9, 0.2, 0.3]])
    shorter = bound_of(x, slice(2), continuous)
    x[0, 2] = torch.nan
    whole = bound_of(x, slice(3), continuous)
    for name in ("prior", "diffusion", "reconstruction", "per_time", "lower", "prior_log_prob", "total"):
        torch.testing.assert_close(getattr(whole, name), getattr(shorter, name), rtol=1e-10, atol=1e-12)
