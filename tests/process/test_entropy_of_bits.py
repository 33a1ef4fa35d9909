"""The bound in its form with entropies agrees with its definition as a sum over paths."""

import math
from itertools import pairwise, product

import pytest
import torch
from oracles import (
    BitData,
    GaussianData,
    Heartbeat,
    cubature,
    entropy_of,
    exact_bit_denoiser,
    exact_denoiser,
    prescribed_bits,
    prescribed_noise,
    tensor,
)

import inkwash as iw
from inkwash.likelihood.bound import bound

RATE = 0.3
TWINS = BitData([0.65, 0.05, 0.05, 0.25])  # two bits that tend to agree, each 1 with the probability of the rate
TIMES = tensor([1.0, 0.7, 0.3, 0.1, 0.0])
SCHEDULE = iw.SohlDicksteinSchedule()


def survival(s, t):
    return float((SCHEDULE.alpha(t) / SCHEDULE.alpha(s)) ** 2)


def sum_over_paths(data, rate):
    """E_q[log p(x_1) prod p(x_s | x_t) / q(x_t | x_s)] over all x, x_s, …; the last step is the forward kernel."""
    denoiser, times = exact_bit_denoiser(data, SCHEDULE, rate), TIMES.tolist()
    forward = [data.kernel(survival(s, t), rate) for t, s in pairwise(times)]
    prior, total = data.kernel(0.0, rate)[0], 0.0
    back = []
    for t, s in pairwise(times[:-1]):
        reverse = denoiser.process.reverse(data.states, denoiser(data.states, t), s, t)
        p = reverse.mean[:, None]
        back.append((p * data.states + (1 - p) * (1 - data.states)).prod(-1))
    back.append(forward[-1].T * prior / prior[:, None])  # q(x_t | x) π(x) / π(x_t)
    for path in product(range(len(data.states)), repeat=len(times)):  # from x_1 to x
        weight, log_ratio = data.probabilities[path[-1]], prior[path[0]].log()
        for k, (of_t, of_s) in enumerate(pairwise(path)):
            weight = weight * forward[k][of_s, of_t]
            log_ratio = log_ratio + back[k][of_t, of_s].log() - forward[k][of_s, of_t].log()
        total += float(weight * log_ratio)
    return total


def integrated_form(data, rate):
    """The mean of the library's K, in which every noisy state is weighted by its probability."""
    denoiser, count = exact_bit_denoiser(data, SCHEDULE, rate), len(data.states)
    x = data.states.repeat_interleave(count, 0)
    with prescribed_bits(data.states.repeat(count, 1)):
        result = bound(denoiser, x, TIMES)
    joint = [(data.probabilities[:, None] * data.kernel(survival(0.0, t), rate)).flatten() for t in TIMES[:-2]]
    diffusion = sum(float(w @ column) for w, column in zip(joint, result.per_time.T, strict=True))
    rest = result.lower + result.diffusion
    return float(rest @ joint[0]) - diffusion


def test_the_form_with_entropies_agrees_with_the_sum_over_paths():
    assert integrated_form(TWINS, RATE) == pytest.approx(sum_over_paths(TWINS, RATE), abs=1e-12)


def test_they_differ_if_ones_are_not_as_frequent_in_data_as_in_noise():
    """The difference is the change of the cross-entropy to the prior over the first step."""
    at_first = TWINS.probabilities @ TWINS.kernel(survival(0.0, 0.1), 0.45)
    change = float((at_first - TWINS.probabilities) @ TWINS.kernel(0.0, 0.45)[0].log())
    assert abs(change) > 0.005
    assert integrated_form(TWINS, 0.45) - sum_over_paths(TWINS, 0.45) == pytest.approx(change, abs=1e-12)


def test_the_form_with_entropies_is_below_the_log_probability():
    assert integrated_form(TWINS, RATE) < -entropy_of(TWINS.probabilities)


SPREAD = GaussianData([0.6, -0.4], [[1.1, 0.3], [0.3, 0.38]])  # E|x|^2 = 2 in two dimensions


@pytest.mark.parametrize("variance", ["small", "large"])
def test_for_real_numbers_the_form_is_the_bound_with_another_last_step(variance):
    """It is the mean of the bound with -log q(x_t | x) π(x) / π(x_t) as reconstruction; cubature is exact here."""
    schedule, times = iw.LinearSchedule(), tensor([1.0, 0.6, 0.2, 0.05, 0.0])
    z, eps = cubature(2)
    x, denoiser = SPREAD.whiten_inverse(z), exact_denoiser(SPREAD, schedule, variance)
    with prescribed_noise(eps):
        result = bound(denoiser, x, times)
        marginal = denoiser.process.marginal(x, 0.05)
        x_t = marginal.draw(torch.Generator())
    prior = denoiser.process.prior(x.shape, like=x)
    last = marginal.log_prob(x_t) + prior.log_prob(x) - prior.log_prob(x_t)
    expected = (-result.prior - result.diffusion + last).mean()
    assert float(result.lower.mean()) == pytest.approx(float(expected), abs=1e-9)


def test_the_heartbeat_of_the_paper():
    """With one step, K is that of pure noise; with many, it approaches -log2(5) bits from below."""
    beat, bit = Heartbeat(rate=0.2), math.log(2)
    denoiser = iw.denoise.OddsDenoiser(beat.network, iw.Bernoulli(SCHEDULE, 0.2))
    null = 20 * (0.2 * math.log2(0.2) + 0.8 * math.log2(0.8))
    one = bound(denoiser, beat.beats, tensor([1.0, 0.0]))
    assert float(one.prior_log_prob[0]) / bit == pytest.approx(null)
    assert float(one.lower[0]) / bit == pytest.approx(null)
    x = beat.beats.repeat(200, 1)
    many = bound(denoiser, x, iw.uniform_grid(60))
    exact = -sum(beat.diffusion(60)) - beat.conditional(1 - 1 / 60)
    assert float(many.lower.mean()) == pytest.approx(exact, abs=4 * float(many.diffusion.std()) / math.sqrt(len(x)))
    assert null < exact / bit < -math.log2(5)
