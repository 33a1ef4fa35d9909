"""Times proposed and losses expected, for data whose denoiser is known."""

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import F64, LINE, PLANE, cubature, exact_denoiser, name_of, public_schedules, tensor

import inkwash as iw

SCHEDULES = public_schedules()


def times(count, seed=0):
    return iw.Simple().times(count, torch.Generator().manual_seed(seed))


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_times_lie_in_the_half_open_interval_one_in_each_stratum(count, seed):
    t = times(count, seed)
    assert t.dtype == F64
    assert float(t.min()) > 0
    assert float(t.max()) <= 1
    strata = ((t - 1e-12) * count).floor().sort().values
    off = sum(int(k) != i for i, k in enumerate(strata))
    assert off <= 1  # the whole comb may straddle a boundary by rounding


def test_each_time_of_a_batch_is_uniform():
    check_times()


def check_times():
    """Any position in the batch, over many batches: no time is preferred, and positions are exchangeable."""
    batches = torch.stack([times(7, seed) for seed in range(600)])
    for position in range(7):
        assert scipy.stats.kstest(batches[:, position].numpy(), "uniform").pvalue > 0.001
    assert scipy.stats.kstest(batches.flatten().numpy(), "uniform").pvalue > 0.01


def test_stratified_times_lower_the_variance_of_a_mean():
    means = torch.stack([times(16, seed).mean() for seed in range(300)])
    assert float(means.std()) < 0.3 * (1 / 12 / 16) ** 0.5
    assert float(means.mean()) == pytest.approx(0.5, abs=4 * float(means.std()) / 300**0.5)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)
@pytest.mark.parametrize("data", [LINE, PLANE], ids=["line", "plane"])
@pytest.mark.parametrize("t", [0.01, 0.4, 1.0])
def test_the_exact_denoiser_is_left_with_the_error_nobody_can_avoid(schedule, data, t):
    check_expected_loss(schedule, data, t)


def check_expected_loss(schedule=SCHEDULES[0], data=PLANE, t=0.4):
    """E|eps - eps-hat|^2 / d = SNR mmse(SNR) / d, integrated exactly over data and noise."""
    z, eps = cubature(data.size)
    x = data.whiten_inverse(z)
    loss = iw.Simple().loss(exact_denoiser(data, schedule), x, torch.full((len(x),), t, dtype=F64), eps)
    snr = schedule.log_snr(t).exp()
    expected = float(snr * data.mmse(snr)) / data.size
    assert float(loss.mean()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("off", [0.9, 1.1])
def test_any_other_denoiser_loses_more(off):
    schedule = SCHEDULES[0]
    z, eps = cubature(2)
    x, t = PLANE.whiten_inverse(z), torch.full((8,), 0.4, dtype=F64)
    exact = exact_denoiser(PLANE, schedule)
    other = iw.Denoiser(lambda x_t, t: off * exact(x_t, t).eps, exact.process)
    assert float(iw.Simple().loss(other, x, t, eps).mean()) > 1.001 * float(iw.Simple().loss(exact, x, t, eps).mean())


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

    loss = iw.Simple().loss(iw.Denoiser(network, iw.Gaussian(schedule)), x, t, eps)
    assert loss.shape == (6,)
    assert float(loss.max()) < 1e-20


def test_the_loss_is_a_mean_over_entries_per_example():
    schedule = SCHEDULES[0]
    wrong = torch.arange(6, dtype=F64).reshape(2, 3)
    denoiser = iw.Denoiser(lambda x_t, t: wrong, iw.Gaussian(schedule))
    zero = torch.zeros(2, 3, dtype=F64)
    assert iw.Simple().loss(denoiser, zero, tensor([0.3, 0.6]), zero).tolist() == pytest.approx([5 / 3, 50 / 3])
