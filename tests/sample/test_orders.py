"""Samplers converge with their orders, and Langevin steps to their stationary law."""

import math
from functools import lru_cache
from unittest import mock

import numpy as np
import pytest
import torch
from bugs import bug
from numpy.polynomial.legendre import leggauss
from oracles import (
    F64,
    LINE,
    PLANE,
    PLANE_PEAKS,
    Straight,
    exact_denoiser,
    last_moments,
    log_snr_grid,
    moments,
    tensor,
)

import inkwash as iw
from inkwash.process.distributions import standard_normal
from inkwash.sample import multistep, quadrature, stochastic
from inkwash.sample.quadrature import exponential_step

LINEAR = iw.LinearSchedule()
NODES, WEIGHTS = leggauss(40)
ORDERS = [
    (iw.DDIM(), 1),
    (iw.Heun(), 2),
    (iw.SingleStep(2), 2),
    (iw.SingleStep(3), 3),
    (iw.DPMSolver(1), 1),
    (iw.DPMSolver(2), 2),
    (iw.DPMSolver(3), 3),
    (iw.DPMSolver(1, corrector=True), 2),
    (iw.DPMSolver(2, corrector=True), 3),
    (iw.DPMSolver(3, corrector=True), 4),
    (iw.Adams(2, corrector=False), 2),
    (iw.Adams(4, corrector=False), 4),
    (iw.Adams(2), 3),
    (iw.Adams(3), 4),
    (iw.IPNDM(2), 2),
    (iw.IPNDM(3), 3),
    (iw.IPNDM(4), 4),
]
STRAIGHT = Straight(first=20.0, last=-16.0)
STOP = float(STRAIGHT.time(1.0))
"""A time amid the walk: at its end the leading errors of some solvers cancel on normal data."""


@lru_cache
def flow(data, start=-16.0):
    """Points at a log-SNR, and where the flow has taken them at the time to stop."""
    x_t = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=F64)
    begin = float(STRAIGHT.time(start))
    return x_t, iw.likelihood.transport(exact_denoiser(data, STRAIGHT), x_t, begin, STOP, solver=iw.Fixed(300))


def fitted_order(sampler, data, counts, start=-16.0):
    """Slope of log error over log step, on grids even in log-SNR from a start to the time to stop."""
    x_t, exact = flow(data, start)
    errors = []
    for steps in counts:
        times = STRAIGHT.time(torch.linspace(start, 1.0, steps + 1, dtype=F64))
        *_, (_, x) = sampler.trajectory(exact_denoiser(data, STRAIGHT), x_t, times, torch.Generator())
        errors.append(float((x - exact).pow(2).mean().sqrt()))
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


def of_order_one(x_t, now, then, seen, *rest):
    return exponential_step(x_t, now, then, seen[:1], *rest)


@bug("the order never rises", multistep, "exponential_step", of_order_one, sampler=iw.DPMSolver(2), order=2)
@pytest.mark.parametrize(("sampler", "order"), ORDERS, ids=str)
def test_the_error_falls_with_the_nominal_order(sampler, order):
    check_order(sampler, order)


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "order"), ORDERS, ids=str)
def test_the_error_falls_with_the_nominal_order_on_a_mixture(sampler, order):
    check_order(sampler, order, PLANE_PEAKS)


def check_order(sampler, order, data=PLANE):
    counts = (80, 160) if order < 4 else (160, 320)
    assert fitted_order(sampler, data, counts) == pytest.approx(order, abs=0.2)


LATE_STARTS = [
    (iw.DPMSolver(2), 2),
    (iw.DPMSolver(3), 3),
    (iw.DPMSolver(2, corrector=True), 3),
    (iw.DPMSolver(3, corrector=True), 3),
    (iw.Adams(3, corrector=False), 3),
    (iw.Adams(4, corrector=False), 3),
    (iw.Adams(2), 3),
    (iw.Adams(3), 3),
    (iw.Adams(4), 3),
    (iw.IPNDM(3), 2),
    (iw.IPNDM(4), 2),
]


def only_by_a_corrector(self, seen):
    return self.corrector


@bug("no start of order 2", multistep._Polynomial, "_repeats", only_by_a_corrector, sampler=iw.DPMSolver(3), order=3)
@bug("no start of order 2", multistep._Polynomial, "_repeats", only_by_a_corrector, sampler=iw.Adams(3, False), order=3)
@pytest.mark.parametrize(("sampler", "order"), LATE_STARTS, ids=str)
def test_the_order_of_a_walk_whose_first_step_counts_as_much_as_any(sampler, order):
    """From an SNR of one third, on grids so fine that the error of the start, if it is of a lower order, is the
    largest."""
    check_late_start(sampler, order, PLANE)


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "order"), LATE_STARTS, ids=str)
def test_the_order_of_a_walk_whose_first_step_counts_on_a_mixture(sampler, order):
    check_late_start(sampler, order, PLANE_PEAKS)


def check_late_start(sampler, order, data):
    assert fitted_order(sampler, data, (160, 320), -1.1) == pytest.approx(order, abs=0.2)


STOCHASTIC = [iw.Ancestral(), iw.DDIM(1.0), iw.DPMSolver(1, eta=1.0), iw.EulerMaruyama()]


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=str)
def test_moments_of_stochastic_steps_converge_with_order_one(sampler):
    schedule = Straight(first=16.0, last=-8.0)
    x_1 = LINE.marginal(schedule.alpha(1.0), schedule.sigma(1.0))
    errors = []
    for steps in (60, 120):
        times = log_snr_grid(schedule, steps, 1e-9)
        start = x_1.mean, x_1.covariance_matrix
        mean, cov = last_moments(sampler, exact_denoiser(LINE, schedule), times, *start)
        errors.append(float((mean - LINE.mean).abs() + (cov - LINE.cov).abs()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2)


CORRECT = stochastic.Corrected.correct


def langevin_of_half_the_noise(sampler, denoiser, x, t, generator):
    with mock.patch.object(stochastic, "standard_normal", lambda *a, like: standard_normal(*a, like=like) / 2**0.5):
        return CORRECT(sampler, denoiser, x, t, generator)


@bug("Langevin noise without its 2", stochastic.Corrected, "correct", langevin_of_half_the_noise, snr=0.5)
@pytest.mark.parametrize("snr", [0.3, 0.5])
def test_langevin_steps_settle_on_their_stationary_law(snr):
    """Along an axis of variance V at time t, steps of length a leave the variance V / (1 - a / (2 V)), and the mean."""
    t = 0.3
    denoiser, many = exact_denoiser(PLANE, LINEAR), iw.AnnealedLangevin(round(60 / snr**2), snr)
    settled = next(moments(many, denoiser, tensor([0.31, t, 0.0]), torch.ones(2, dtype=F64), torch.eye(2, dtype=F64)))
    alpha, sigma = LINEAR.alpha(t), LINEAR.sigma(t)
    length, variances = 2 * snr**2 * sigma**2, alpha**2 * PLANE.eigenvalues + sigma**2
    axes = PLANE.eigenvectors
    torch.testing.assert_close(settled[1], alpha * PLANE.mean, rtol=1e-8, atol=1e-8)
    stationary = variances / (1 - length / (2 * variances))
    torch.testing.assert_close(settled[2], axes @ torch.diag(stationary) @ axes.T, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("decay", [1e-8, 1e-3, 0.99, 1.01, 30.0])
def test_moments_of_the_exponential_kernel(decay):
    nodes = (1 + NODES) / 2
    exact = [decay * float((WEIGHTS / 2 * np.exp(-decay * (1 - nodes))) @ nodes**k) for k in range(4)]
    assert quadrature.exponential_moments(decay, 4) == pytest.approx(exact, rel=1e-13, abs=0)
