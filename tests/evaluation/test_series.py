"""Autocorrelation and spectrum against closed forms, another library and each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bugs import bug
from scipy import signal

import inkwash as iw
from inkwash.core.errors import ConfigError
from inkwash.data.dataset import load_dataset
from inkwash.evaluation import series
from inkwash.evaluation.series import autocorrelation, compare, spectrum
from inkwash.process.noise.steps import posterior_var

RADIUS, ANGLE = 0.95, np.pi / 5


AUTOCORRELATION = series.autocorrelation


def divided_by_the_length(x, lags):
    """By L, not by the L - k pairs there are."""
    found = AUTOCORRELATION(x, lags)
    return replace(found, value=found.value * (1 - found.at / x.shape[2]))


@bug("lags divided by the length", series, "autocorrelation", divided_by_the_length)
def test_the_autocorrelation_of_the_autoregression_is_the_known_one():
    """Damped sines that solve the recursion from 1 at lag 0."""
    found = series.autocorrelation(5 + 3 * load_dataset("ar2").data[:2000, None], 40)
    exact = [1.0, 2 * RADIUS * np.cos(ANGLE) / (1 + RADIUS**2)]
    for _ in range(39):
        exact.append(2 * RADIUS * np.cos(ANGLE) * exact[-1] - RADIUS**2 * exact[-2])
    score = (found.value[0, 1:] - exact[1:]) / found.std_error[0, 1:]
    assert found.value[0, 0] == pytest.approx(1)
    assert np.abs(score).max() < 4
    assert found.std_error[0, 1:].max() < 0.02


@pytest.mark.parametrize("of", [autocorrelation, spectrum])
def test_standard_errors_are_those_of_repeated_draws(of):
    """Over batches of independent series values scatter as the standard errors say."""
    found = [of(part) for part in np.split(load_dataset("ar2").data[:8000, None], 80)]
    scatter = np.std([each.value[0] for each in found], 0, ddof=1)
    stated = np.mean([each.std_error[0] for each in found], 0)
    assert np.allclose(scatter[1:], stated[1:], rtol=0.4)


def test_the_autocorrelation_does_not_wrap_round():
    """An impulse at the start and one at the end are L - 1 places apart, not next to each other."""
    x = np.zeros((2, 1, 8))
    x[:, :, [0, -1]] = 1
    centred = x[0, 0] - x.mean()
    products = [np.mean(centred[: 8 - k] * centred[k:]) for k in range(8)]
    assert np.allclose(autocorrelation(x, 7).value[0] * products[0], products)


def test_the_spectrum_is_that_of_another_library_and_adds_up_to_the_variance():
    x = 2 + np.random.default_rng(0).normal(size=(5, 3, 12)).cumsum(2)
    found = spectrum(x)
    centred = x - x.mean((0, 2), keepdims=True)
    at, each = signal.periodogram(centred, detrend=False, return_onesided=False)
    assert np.allclose(found.at, np.abs(at[:7]))
    assert np.allclose(found.value, each.mean(0)[:, :7])
    both = np.concatenate([found.value, found.value[:, 1:-1]], 1)
    assert np.allclose(both.mean(1), centred.var((0, 2)))


@pytest.mark.parametrize("of", [autocorrelation, spectrum])
def test_sets_of_one_law_differ_by_chance_and_others_by_more(of):
    data = load_dataset("ar2").data[:2000, None]
    alike = compare(of(data[:1000]), of(data[1000:]))
    other = compare(of(data[:1000].cumsum(2)), of(data[1000:]))
    assert alike.rms < 3 * alike.by_chance
    assert other.rms > 4 * other.by_chance


def test_a_constant_channel_goes_with_nothing_and_does_not_disturb_the_others():
    x = np.random.default_rng(0).integers(0, 9, (30, 2, 8))
    x[:, 1] = 7
    found, alone = autocorrelation(x), autocorrelation(x[:, :1])
    assert not found.value[1].any()
    assert not found.std_error[1].any()
    assert np.array_equal(found.value[:1], alone.value)
    assert np.array_equal(found.std_error[:1], alone.std_error)
    for of in (autocorrelation, spectrum):
        constant = of(x[:, 1:])
        assert compare(constant, constant) == series.Difference(0, 0)
        assert 0 < compare(of(x[:, :1]), constant).rms < np.inf


@pytest.mark.parametrize("lags", [-1, 4])
def test_lags_beyond_a_series_are_refused(lags):
    with pytest.raises(ConfigError, match="lags"):
        autocorrelation(np.ones((2, 1, 4)), lags)


@pytest.mark.parametrize("of", [autocorrelation, spectrum])
def test_one_series_is_refused(of):
    with pytest.raises(ConfigError, match="1 of them"):
        of(np.ones((1, 1, 4)))


def process_matrix(length, variance):
    """Covariance of an autoregression of order 1 with correlation 0.8."""
    at = torch.arange(length, dtype=torch.float64)
    return variance * 0.8 ** (at[:, None] - at).abs()


class Exact:
    """The noise that is to be expected in series from N(3, `process_matrix`) of variance 4."""

    def __init__(self, process, length):
        self.process, (self.values, self.axes) = process, torch.linalg.eigh(process_matrix(length, 4))

    def __call__(self, x_t, t):
        alpha, sigma = (s.double()[:, None] for s in (self.process.schedule.alpha(t), self.process.schedule.sigma(t)))
        seen = (x_t[:, 0].double() - 3 * alpha) @ self.axes
        return ((sigma * seen / (alpha**2 * self.values + sigma**2)) @ self.axes.T)[:, None].to(x_t)


def test_samples_of_the_exact_linear_score_have_the_law_of_the_process():
    process = iw.Gaussian(iw.CosineSchedule())
    model = iw.Diffusion(iw.Denoiser(Exact(process, 12), process, predicts="eps", sees="time"), shape=(1, 12))
    x = model.sample(2000, seed=0, sampler=iw.DPMSolver(2), steps=60).numpy()
    found = autocorrelation(x, 8)
    assert abs(x.mean() - 3) < 0.1
    assert abs(x.var() - 4) < 0.3
    assert np.abs((found.value[0, 1:] - 0.8 ** found.at[1:]) / found.std_error[0, 1:]).max() < 4


@pytest.mark.slow
def test_training_lowers_the_bound_of_a_series_to_its_entropy():
    """On a grid the small variance costs (rho - log(1 + rho)) / 2 more along each axis of the covariance, where
    rho = (snr_s - snr_t) mmse(snr_t): on the first steps rho is of order one, whatever the network. A decoder that is
    too narrow by a ratio costs as much for the ratio less one."""
    length, steps, matrix = 16, 200, process_matrix(16, 1)
    draws = torch.randn(4096, length, generator=torch.Generator().manual_seed(0)).double()
    x = (draws @ torch.linalg.cholesky(matrix).mT).float()[:, None]
    process, network = iw.Gaussian(iw.LinearSchedule()), trained_network(x)
    bounds = {
        name: iw.Diffusion(iw.Denoiser(network, process, variance=variance, sees="log_snr"), (1, length)).bound(
            x[:512], steps=many
        )
        for name, variance, many in (
            ("continuous", "large", np.inf),
            ("large", "large", steps),
            ("small", "small", steps),
        )
    }
    entropy = 0.5 * (length * np.log(2 * np.pi * np.e) + float(torch.logdet(matrix)))
    above = {name: float(bound.total.mean()) - entropy for name, bound in bounds.items()}
    times, axes = torch.linspace(1, 0, steps + 1, dtype=torch.float64), torch.linalg.eigvalsh(matrix)
    snr = process.schedule.log_snr(times[:-1]).exp()[:, None]
    mmse = axes / (1 + snr * axes)
    narrow = mmse[-1] / posterior_var(process.schedule, times[-2], times[-3]) - 1
    rho = torch.cat([snr.diff(dim=0) * mmse[:-1], narrow[None]])
    excess = float((rho - rho.log1p()).sum()) / 2
    print(f"entropy {entropy:.2f}; above it: {above}; excess of the small variance {excess:.2f} nats")
    assert -0.4 < above["continuous"] < 0.8
    assert -0.4 < above["large"] < 0.8
    assert above["small"] - above["continuous"] == pytest.approx(excess, abs=0.8)
    assert excess > 8


def trained_network(x, steps=600):
    """A U-Net for series, trained on the noise of `x`."""
    process, generator = iw.Gaussian(iw.LinearSchedule()), torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    network = iw.UNet(1, 16, (1, 2), 1, axes=1)
    denoiser = iw.Denoiser(network, process, sees="log_snr")
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        rows = x[torch.randint(len(x), (128,), generator=generator)]
        t = iw.training.LowDiscrepancy().draw(128, process.schedule, generator).t
        loss = iw.training.Regression("eps").loss(denoiser, rows, t, process.noise(rows.shape, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    return network.eval()
