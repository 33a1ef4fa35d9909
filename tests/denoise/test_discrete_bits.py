"""The denoiser of bits, and its loss, whose mean and minimum follow from sums over all states."""

import math

import pytest
import torch
from closed_forms import enumerated_bound
from oracles import (
    F64,
    FOUR_BITS,
    exact_bit_denoiser,
    tensor,
)

import inkwash as iw

PROCESS = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.3)
EXACT = exact_bit_denoiser(FOUR_BITS, PROCESS.schedule, 0.3)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# The denoiser


def test_the_estimate_is_a_probability():
    logits = tensor([[0.0, 800.0, -800.0, 1.0]])
    estimate = iw.denoise.OddsDenoiser(lambda x_t, t: logits, PROCESS)(torch.ones(1, 4), 0.5)
    torch.testing.assert_close(estimate.x, torch.tensor([[0.5, 1.0, 0.0, 1 / (1 + math.exp(-1))]]))
    assert estimate.x.dtype == torch.float32
    assert estimate.process is PROCESS


@pytest.mark.parametrize("t", [0.25, tensor([0.25, 0.25, 0.5])])
def test_the_network_is_given_the_time_input_of_the_option(t):
    seen = {}
    for sees in ("time", "log_snr"):

        def network(x_t, level, sees=sees, **condition):
            seen[sees] = level, condition
            return x_t

        iw.denoise.OddsDenoiser(network, PROCESS, sees)(torch.ones(3, 2, dtype=F64), t, label=7)
    each = torch.as_tensor(t, dtype=F64).expand(3)
    torch.testing.assert_close(seen["time"][0], each)
    torch.testing.assert_close(seen["log_snr"][0], torch.log((1 - each) / each))
    assert seen["time"][1] == {"label": 7}


def test_a_network_is_called_in_the_type_of_its_parameters():
    network = iw.MLP(4, 8, 1)
    denoiser = iw.denoise.OddsDenoiser(network, PROCESS, sees="log_snr")
    assert denoiser(FOUR_BITS.states, 1.0).logits.dtype == F64
    assert {p.dtype for p in denoiser.parameters()} == {torch.float32}


def test_an_unknown_time_input_is_refused():
    with pytest.raises(iw.ConfigError, match="sees: got 'noise', need one of log_snr, time"):
        iw.denoise.OddsDenoiser(lambda x_t, t: x_t, PROCESS, sees="noise")


# Training on the bound

GRID = iw.uniform_grid(5)
OBJECTIVE = iw.training.PairBound(5)


def losses(denoiser, x, seed=1):
    """The loss of the bound at times and noise from a seed, nats per example."""
    random = rng(seed)
    times = iw.training.Uniform().draw(len(x), PROCESS.schedule, random)
    return 4 * OBJECTIVE.loss(denoiser, x, times.t, PROCESS.noise(x.shape, random))


def test_the_mean_loss_is_the_bound():
    prior, diffusion, reconstruction = enumerated_bound(FOUR_BITS, PROCESS, GRID)
    loss, expected = losses(EXACT, FOUR_BITS.draw(60_000)), prior + float(diffusion.sum()) + reconstruction
    error = float(loss.std()) / math.sqrt(len(loss))
    assert float(loss.mean()) == pytest.approx(expected, abs=4 * error)
    assert error < 0.02 * expected


def test_the_exact_log_odds_minimise_the_loss():
    """In a scale and a shift of the exact log-odds, the slope is zero at 1 and 0, and leads towards them elsewhere."""
    for scale, shift, direction in ((1.0, 0.0, 0), (1.4, 0.5, 1), (0.6, -0.5, -1)):
        slopes = torch.stack([slope(scale, shift, seed) for seed in range(30)])
        error = slopes.std(0) / math.sqrt(30)
        if direction == 0:
            assert bool((slopes.mean(0).abs() < 4 * error).all())
        else:
            assert bool((direction * slopes.mean(0) > 4 * error).all())


def slope(scale, shift, seed):
    parameters = tensor([scale, shift]).requires_grad_()
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: parameters[0] * EXACT(x_t, t).logits + parameters[1], PROCESS)
    return torch.autograd.grad(losses(denoiser, FOUR_BITS.draw(500, seed), 1000 + seed).mean(), parameters)[0]
