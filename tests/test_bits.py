"""The denoiser of bits and its two losses, whose means and minima are known by summing over states."""

import math

import pytest
import torch
from oracles import (
    F64,
    FOUR_BITS,
    LINE,
    UNEVEN,
    SohlDicksteinSchedule,
    exact_bit_denoiser,
    exact_denoiser,
    tensor,
)
from test_bernoulli import enumerated_bound

import inkwash as iw
from inkwash.bits import cross_entropy, pair_loss
from inkwash.likelihood import bound

PROCESS = iw.Bernoulli(SohlDicksteinSchedule(), 0.3)
EXACT = exact_bit_denoiser(FOUR_BITS, PROCESS.schedule, 0.3)
TIMES = tensor([1.0, 0.6, 0.3, 0.1, 0.0])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# The denoiser


def test_the_estimate_is_a_probability():
    logits = tensor([[0.0, 800.0, -800.0, 1.0]])
    estimate = iw.BitDenoiser(lambda x_t, t: logits, PROCESS)(torch.ones(1, 4), 0.5)
    torch.testing.assert_close(estimate.x, torch.tensor([[0.5, 1.0, 0.0, 1 / (1 + math.exp(-1))]]))
    assert estimate.x.dtype == torch.float32
    assert estimate.process is PROCESS


@pytest.mark.parametrize("t", [0.25, tensor([0.25, 0.25, 0.5])])
def test_the_network_sees_what_it_is_told_to_see(t):
    seen = {}
    for sees in ("time", "log_snr"):

        def network(x_t, level, sees=sees, **condition):
            seen[sees] = level, condition
            return x_t

        iw.BitDenoiser(network, PROCESS, sees)(torch.ones(3, 2, dtype=F64), t, label=7)
    each = torch.as_tensor(t, dtype=F64).expand(3)
    torch.testing.assert_close(seen["time"][0], each)
    torch.testing.assert_close(seen["log_snr"][0], torch.log((1 - each) / each))
    assert seen["time"][1] == {"label": 7}


def test_a_network_is_called_in_the_type_of_its_parameters():
    network = iw.MLP(4, 8, 1)
    denoiser = iw.BitDenoiser(network, PROCESS, sees="log_snr")
    assert denoiser(FOUR_BITS.states, 1.0).logits.dtype == F64
    assert {p.dtype for p in denoiser.parameters()} == {torch.float32}


def test_an_unknown_sight_is_refused():
    with pytest.raises(iw.ConfigError, match="sees: got 'noise', need one of time, log_snr"):
        iw.BitDenoiser(lambda x_t, t: x_t, PROCESS, sees="noise")


# The losses


def near(loss, expected):
    """The mean of a loss per example, within four of its standard errors, which are small."""
    error = float(loss.std()) / math.sqrt(len(loss))
    assert float(loss.mean()) == pytest.approx(expected, abs=4 * error)
    assert error < 0.02 * expected


def test_the_pair_loss_is_the_bound_on_average():
    check_pair_loss()


def check_pair_loss():
    prior, diffusion, reconstruction = enumerated_bound(FOUR_BITS, PROCESS, TIMES)
    near(pair_loss(EXACT, FOUR_BITS.draw(60_000), TIMES, rng()), prior + float(diffusion.sum()) + reconstruction)


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_pair_loss_serves_real_numbers_too(variance):
    """Against the bound of the same data with all its terms."""
    x = LINE.whiten_inverse(torch.randn(20_000, 1, generator=rng(1), dtype=F64))
    denoiser, times = exact_denoiser(LINE, iw.LinearSchedule(), variance), UNEVEN
    every, one = bound(denoiser, x, times), pair_loss(denoiser, x, times, rng())
    error = math.hypot(float(every.std_error), float(one.std()) / math.sqrt(len(x)))
    assert float(one.mean()) == pytest.approx(float(every.total.mean()), abs=4 * error)


def test_the_cross_entropy_is_that_of_each_bit_given_the_noisy_ones():
    t = 0.4
    joint = FOUR_BITS.probabilities[:, None] * FOUR_BITS.kernel(1 - t, 0.3)
    p = (joint / joint.sum(0)).T @ FOUR_BITS.states
    entropy = torch.special.entr(p) + torch.special.entr(1 - p)
    x = FOUR_BITS.draw(20_000)
    near(cross_entropy(EXACT, x, torch.full((len(x),), t, dtype=F64), rng()), float(joint.sum(0) @ entropy.sum(1)))


@pytest.mark.parametrize("name", ["pair", "cross-entropy"])
def test_a_loss_is_least_at_the_truth(name):
    """Scale and shift of the exact log-odds: no slope at 1 and 0, and a slope towards them elsewhere."""
    check_slopes(name)


def check_slopes(name="pair"):
    for scale, shift, direction in ((1.0, 0.0, 0), (1.4, 0.5, 1), (0.6, -0.5, -1)):
        slopes = torch.stack([slope(name, scale, shift, seed) for seed in range(30)])
        error = slopes.std(0) / math.sqrt(30)
        if direction == 0:
            assert bool((slopes.mean(0).abs() < 4 * error).all())
        else:
            assert bool((direction * slopes.mean(0) > 4 * error).all())


def slope(name, scale, shift, seed):
    parameters = tensor([scale, shift]).requires_grad_()
    denoiser = iw.BitDenoiser(lambda x_t, t: parameters[0] * EXACT(x_t, t).logits + parameters[1], PROCESS)
    x = FOUR_BITS.draw(500, seed)
    random = rng(1000 + seed)
    t = 1 - torch.rand(len(x), generator=random, dtype=F64)
    loss = pair_loss(denoiser, x, TIMES, random) if name == "pair" else cross_entropy(denoiser, x, t, random)
    return torch.autograd.grad(loss.mean(), parameters)[0]


@pytest.mark.parametrize("variance", ["small", "large"])
def test_gradients_are_finite_at_the_first_step_of_real_numbers(variance):
    network = torch.nn.Linear(1, 1).double()
    denoiser = iw.Denoiser(lambda x_t, t: network(x_t), iw.Gaussian(iw.LinearSchedule()), "x", variance)
    x = torch.randn(64, 1, generator=rng(), dtype=F64)
    pair_loss(denoiser, x, UNEVEN, rng()).mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters())
