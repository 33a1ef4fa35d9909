"""The Bernoulli process, and all that is built on it, agree with sums over every state of four bits."""

import math
from functools import reduce
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from closed_forms import enumerated_bound, kept
from oracles import (
    F64,
    FOUR_BITS,
    BitData,
    Heartbeat,
    entropy_of,
    exact_bit_denoiser,
    name_of,
    prescribed_bits,
    public_schedules,
    tensor,
)

import inkwash as iw
from inkwash.likelihood.bound import bound

PROCESSES = [iw.Bernoulli(s, rate) for s, rate in zip(public_schedules(), [0.3, 0.5, 0.8, 0.1] * 3, strict=False)]
PROCESSES.append(iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.2))
PAIRS = [(0.0, 0.003), (0.2, 0.21), (0.5, 0.5 + 1e-6), (0.1, 0.9), (0.7, 1.0), (0.0, 1.0)]
UNEVEN = tensor([1.0, 0.8, 0.75, 0.3, 0.04, 0.0])
STATES = FOUR_BITS.states
processes = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: name_of(p.schedule))
pairs = pytest.mark.parametrize(("s", "t"), PAIRS)


def table(law, states=STATES):
    """The matrix of probabilities of each state (columns) under the law of each row."""
    rows = [iw.process.Bits(logits.expand(len(states), -1)).log_prob(states) for logits in law.logits]
    return torch.stack(rows).exp()


# The process


@processes
@pairs
def test_marginals_and_transitions_are_products_of_two_by_two_matrices(process, s, t):
    marginal = FOUR_BITS.kernel(kept(process, 0.0, t), process.rate)
    transition = FOUR_BITS.kernel(kept(process, s, t), process.rate)
    torch.testing.assert_close(table(process.marginal(STATES, t)), marginal, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(table(process.transition(STATES, s, t)), transition, rtol=1e-8, atol=1e-12)


@processes
@pairs
def test_two_forward_steps_equal_one(process, s, t):
    direct, first = table(process.marginal(STATES, t)), table(process.marginal(STATES, s))
    torch.testing.assert_close(first @ table(process.transition(STATES, s, t)), direct, rtol=1e-11, atol=1e-14)


@processes
@pairs
def test_bayes_rule_holds(process, s, t):
    """q(x_s | x_t, x) q(x_t | x) = q(x_t | x_s) q(x_s | x) for all triples of states."""
    marginal, step = table(process.marginal(STATES, t)), table(process.transition(STATES, s, t))
    for i, x in enumerate(STATES):
        posterior = table(process.posterior(STATES, x.expand_as(STATES), s, t))
        at_s = table(process.marginal(x[None], s))
        torch.testing.assert_close(posterior * marginal[i, :, None], (step * at_s.T).T, rtol=1e-11, atol=1e-15)


@processes
def test_transitions_leave_the_prior_unchanged(process):
    """The prior has the rate of the process as its mean."""
    prior = table(process.prior((1, 4), like=STATES))
    torch.testing.assert_close(prior @ table(process.transition(STATES, 0.2, 0.6)), prior, rtol=1e-12, atol=0)
    assert float(process.prior((1, 4)).mean[0, 0]) == pytest.approx(process.rate, rel=1e-6)


def test_diffused_data_is_a_draw_from_the_marginal():
    process, n = PROCESSES[-1], 40_000
    x = STATES[6].expand(n, 4).float()
    noise = process.noise(x.shape, torch.Generator().manual_seed(0), like=x)
    assert noise.dtype == F64
    ones = process.diffuse(x, 0.6, noise)
    assert ones.dtype == torch.float32
    for count, p in zip(ones.sum(0), process.marginal(STATES[6:7], 0.6).mean[0], strict=True):
        assert scipy.stats.binomtest(int(count), n, float(p)).pvalue > 0.01


@processes
@pytest.mark.parametrize("t", [0.01, 0.5, 1.0])
def test_at_time_zero_the_posterior_is_the_data(process, t):
    x, x_t = STATES, STATES.flip(0)
    posterior = process.posterior(x_t, x, 0.0, t)
    assert torch.equal(posterior.mean, x)
    assert torch.equal(process.marginal(x, 0.0).mean, x)
    assert float(posterior.entropy().abs().max()) == 0
    near = process.posterior(x_t, x, 1e-9, t)
    assert 0 < float((near.mean - x).abs().max()) < 1e-3


@processes
@pairs
def test_the_reverse_kernel_sums_over_the_clean_bit(process, s, t):
    """With the exact denoiser, its mean is the true E[x_s | x_t], which the joint table of all states gives."""
    denoiser = exact_bit_denoiser(FOUR_BITS, process.schedule, process.rate)
    before = FOUR_BITS.probabilities @ FOUR_BITS.kernel(kept(process, 0.0, s), process.rate)
    joint = before[:, None] * FOUR_BITS.kernel(kept(process, s, t), process.rate)
    truth = (joint / joint.sum(0)).T @ STATES
    reverse = process.reverse(STATES, denoiser(STATES, t), s, t)
    torch.testing.assert_close(reverse.mean, truth, rtol=1e-8, atol=1e-12)


@processes
def test_the_decoder_is_the_reverse_kernel_to_time_zero(process):
    estimate = exact_bit_denoiser(FOUR_BITS, process.schedule, process.rate)(STATES, 0.04)
    decoder = process.decoder(STATES, estimate, UNEVEN, None)
    to_zero = process.reverse(STATES, estimate, 0.0, 0.04)
    torch.testing.assert_close(decoder.log_prob(STATES), to_zero.log_prob(STATES), rtol=1e-9, atol=1e-12)
    certain = process.posterior(STATES, STATES, 0.0, 0.04)
    torch.testing.assert_close(certain.kl(to_zero), -decoder.log_prob(STATES), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("s", [0.0, 0.3])
def test_a_certain_estimate_gives_the_posterior(s):
    process = PROCESSES[0]
    estimate = iw.process.BitEstimate((2 * STATES - 1) * math.inf, STATES.flip(0), tensor(0.6), process)
    reverse = process.reverse(estimate.x_t, estimate, s, 0.6)
    torch.testing.assert_close(reverse.logits, process.posterior(estimate.x_t, STATES, s, 0.6).logits)


@pytest.mark.parametrize(
    ("s", "h", "error"), [(0.4, 1e-3, 1e-11), (0.4, 1e-9, 1e-5), (1e-12, 1e-13, 1e-12), (0.999, 1e-9, 1e-7)]
)
def test_small_steps_keep_the_relative_precision_of_their_flips(s, h, error):
    """Under alpha^2 = 1 - t, a step of h draws a bit anew with probability h / (1 - s), computed in 50 digits."""
    process, t = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.2), s + h
    with mpmath.workdps(50):
        anew = (mpmath.mpf(t) - mpmath.mpf(s)) / (1 - mpmath.mpf(s))
        expected = float(mpmath.log(anew * mpmath.mpf(0.2)))
    flip = process.transition(tensor([[0.0]]), s, t).log_prob(tensor([[1.0]]))
    assert float(flip) == pytest.approx(expected, abs=error)


def test_each_row_can_have_its_own_time():
    process, x_t, x = PROCESSES[0], STATES[:5], STATES[5:10]
    s, t = tensor([0.0, 0.1, 0.2, 0.5, 0.9]), tensor([0.05, 0.2, 1.0, 0.6, 1.0])
    together = process.posterior(x_t, x, s, t).logits
    for i in range(len(s)):
        single = process.posterior(x_t[i : i + 1], x[i : i + 1], float(s[i]), float(t[i])).logits
        torch.testing.assert_close(together[i : i + 1], single)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_a_rate_that_is_certain_is_refused(rate):
    with pytest.raises(iw.ConfigError, match="rate: got"):
        iw.Bernoulli(iw.SohlDicksteinSchedule(), rate)


def test_options_for_real_numbers_are_refused():
    denoiser = exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.2)
    need = "got a Bernoulli process, need a Gaussian process"
    with pytest.raises(iw.ConfigError, match=f"sampler DDIM: {need}"):
        iw.Diffusion(denoiser, (4,)).sample(1, sampler=iw.DDIM(), steps=2)
    with pytest.raises(iw.ConfigError, match=f"clip: {need}"):
        iw.Clipped(denoiser)
    with pytest.raises(iw.ConfigError, match="lattice: got"):
        bound(denoiser, STATES, UNEVEN, iw.process.Lattice(-1.0, 1.0, 2))


# The bound


def integrated_bound(denoiser, data, times):
    """The library's bound of every state at every noisy state, weighted by its probability, without any sampling."""
    count, process = len(data.states), denoiser.process
    with prescribed_bits(data.states.repeat(count, 1)):
        result = bound(denoiser, data.states.repeat_interleave(count, 0), times)
    weights = [data.probabilities[:, None] * data.kernel(kept(process, 0.0, t), process.rate) for t in times[:-1]]
    weights = torch.stack([w.flatten() for w in weights], 1)
    diffusion = (weights[:, :-1] * result.per_time).sum(0)
    return float(result.prior @ weights[:, 0]), diffusion, float(result.reconstruction @ weights[:, -1])


@processes
@pytest.mark.parametrize("times", [UNEVEN, iw.uniform_grid(1), iw.uniform_grid(12)], ids=len)
def test_the_bound_equals_the_sum_over_all_states(process, times):
    prior, diffusion, reconstruction = integrated_bound(
        exact_bit_denoiser(FOUR_BITS, process.schedule, process.rate), FOUR_BITS, times
    )
    expected = enumerated_bound(FOUR_BITS, process, times)
    assert prior == pytest.approx(expected[0], abs=1e-10)
    torch.testing.assert_close(diffusion, expected[1], rtol=0, atol=1e-10)
    assert reconstruction == pytest.approx(expected[2], abs=1e-10)
    assert prior + float(diffusion.sum()) + reconstruction >= entropy_of(FOUR_BITS.probabilities) - 1e-12


def test_the_bound_with_sampled_noise_scatters_around_its_exact_value():
    process = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.3)
    result = bound(exact_bit_denoiser(FOUR_BITS, process.schedule, 0.3), FOUR_BITS.draw(4000), UNEVEN)
    prior, diffusion, reconstruction = enumerated_bound(FOUR_BITS, process, UNEVEN)
    total = prior + float(diffusion.sum()) + reconstruction
    assert float(result.total.mean()) == pytest.approx(total, abs=4 * float(result.std_error))
    assert float(result.std_error) < 0.02 * total


def test_the_bound_falls_to_the_entropy_on_finer_grids():
    """The gap comes from the dependence between the entries of a step, and halves with the step."""
    process = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.3)
    totals = []
    for steps in (32, 64, 128):
        prior, diffusion, reconstruction = enumerated_bound(FOUR_BITS, process, iw.uniform_grid(steps))
        totals.append(prior + float(diffusion.sum()) + reconstruction)
    gaps = [total - entropy_of(FOUR_BITS.probabilities) for total in totals]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[2] / gaps[1] == pytest.approx(0.5, abs=0.05)


def test_independent_bits_have_no_gap():
    """If the entries are independent, so are those of every step, and any grid is as good as the finest."""
    ones = [0.2, 0.9, 0.4]
    probabilities = reduce(torch.kron, [tensor([1 - p, p]) for p in ones])
    data, process = BitData(probabilities.tolist()), iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.5)
    parts = integrated_bound(exact_bit_denoiser(data, process.schedule, 0.5), data, UNEVEN)
    assert parts[0] + float(parts[1].sum()) + parts[2] == pytest.approx(entropy_of(data.probabilities), abs=1e-12)


@pytest.mark.parametrize("off", [0.8, 1.25])
def test_any_other_denoiser_has_a_larger_bound(off):
    process = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.3)
    exact = exact_bit_denoiser(FOUR_BITS, process.schedule, 0.3)
    wrong = iw.denoise.OddsDenoiser(lambda x_t, t: off * exact(x_t, t).logits, process)
    best, worse = (integrated_bound(d, FOUR_BITS, UNEVEN) for d in (exact, wrong))
    assert bool((worse[1] > best[1] + 1e-6).all())
    assert worse[2] > best[2] + 1e-6


# The sampler and the model


def propagated(denoiser, times):
    """The law of the sampler's result, in which the kernel of each step is a matrix over all states."""
    process = denoiser.process
    law = table(process.prior((1, 4), like=STATES))
    for t, s in pairwise(times):
        law = law @ table(process.reverse(STATES, denoiser(STATES, t), s, t))
    return law[0]


@pytest.mark.parametrize("times", [UNEVEN, iw.uniform_grid(1)], ids=len)
def test_samples_have_the_law_of_the_walk(times):
    denoiser, n = exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3), 20_000
    x = iw.Diffusion(denoiser, (4,)).sample(n, seed=1, times=times)
    assert set(x.unique().tolist()) == {0, 1}
    counts = np.bincount((x @ torch.tensor([8.0, 4, 2, 1])).long().numpy(), minlength=16)
    assert scipy.stats.chisquare(counts, n * propagated(denoiser, times).numpy()).pvalue > 0.01


def test_samples_approach_the_law_of_the_data_with_many_small_steps():
    denoiser = exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3)
    distance = [
        float((propagated(denoiser, iw.uniform_grid(n)) - FOUR_BITS.probabilities).abs().sum()) for n in (50, 100)
    ]
    assert distance[1] < 0.55 * distance[0] < 0.05


def test_every_state_of_a_walk_consists_of_bits():
    model = iw.Diffusion(exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3), (4,))
    walk = [x for _, x in model.trajectory(3, seed=0, steps=5)]
    assert set(torch.stack(walk).unique().tolist()) == {0, 1}
    assert torch.equal(model.sample(2, seed=0, steps=5), model.sample(3, seed=0, steps=5)[:2])


def test_the_bound_of_bits_has_bits_per_dim():
    model = iw.Diffusion(exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3), (4,), steps=5)
    single, double = model.bound(STATES.float()), model.bound(STATES)
    assert single.levels == 2
    torch.testing.assert_close(single.bits_per_dim, double.total / (4 * math.log(2)))


@pytest.mark.parametrize("wrong", [0.5, -1.0, 2.0, math.nan])
def test_data_other_than_bits_is_refused(wrong):
    model = iw.Diffusion(exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3), (4,))
    with pytest.raises(iw.DataError, match=r"x: got other values, need one of \[0.0, 1.0\]"):
        model.bound(tensor([[0.0, 1.0, 1.0, wrong]]))


@pytest.mark.parametrize(("levels", "got"), [(2, "Lattice"), (None, "continuous data")])
def test_a_transform_to_other_values_is_refused(levels, got):
    transform = iw.data.Transform(iw.data.DataSpec((4,), "ND", "float32", 0, 1, levels), (0.5,) * 4, (0.5,) * 4)
    denoiser = exact_bit_denoiser(FOUR_BITS, iw.SohlDicksteinSchedule(), 0.3)
    with pytest.raises(iw.ConfigError, match=f"transform: got {got}.*the values of a Bernoulli process"):
        iw.Diffusion(denoiser, (4,), transform)


# The binary heartbeat


HEARTBEAT, SLOW_BEAT = Heartbeat(rate=0.2), Heartbeat(rate=0.45)


@pytest.mark.parametrize("steps", [2, 20])
@pytest.mark.parametrize("beat", [HEARTBEAT, SLOW_BEAT], ids=["rate 0.2", "rate 0.45"])
def test_counts_per_phase_are_sufficient(beat, steps):
    """The sum of `Heartbeat` over counts equals that of the library's kernels at one state for each set of counts."""
    denoiser, times = heartbeat_denoiser(beat), iw.uniform_grid(steps)
    process, x_t = denoiser.process, beat.representatives()
    x = beat.beats[:1].expand_as(x_t)
    terms = []
    for t, s in pairwise(times):
        weights = beat.multiplicity * process.marginal(x, t).log_prob(x_t).exp()
        assert float(weights.sum()) == pytest.approx(1)
        terms.append(process.posterior(x_t, x, s, t).kl(process.reverse(x_t, denoiser(x_t, t), s, t)) @ weights)
    expected = [*beat.diffusion(steps), beat.reconstruction(steps)]
    torch.testing.assert_close(torch.stack(terms), tensor(expected), rtol=0, atol=1e-10)


def test_counts_give_the_posterior_over_the_five_beats():
    process, t = iw.Bernoulli(iw.SohlDicksteinSchedule(), 0.2), 0.6
    x_t = iw.process.Bits(torch.full((50, 20), -0.8, dtype=F64)).draw(torch.Generator().manual_seed(0))
    likelihoods = [process.marginal(beat.expand_as(x_t), t).log_prob(x_t) for beat in HEARTBEAT.beats]
    truth = torch.stack(likelihoods, 1).softmax(1) @ HEARTBEAT.beats
    torch.testing.assert_close(heartbeat_denoiser(HEARTBEAT)(x_t, t).x, truth)


def heartbeat_denoiser(beat):
    return iw.denoise.OddsDenoiser(beat.network, iw.Bernoulli(iw.SohlDicksteinSchedule(), beat.rate))


def test_the_bound_of_heartbeats_scatters_around_its_exact_value():
    result = bound(heartbeat_denoiser(HEARTBEAT), HEARTBEAT.beats.repeat(400, 1), iw.uniform_grid(40))
    exact = sum(HEARTBEAT.diffusion(40)) + HEARTBEAT.reconstruction(40)
    assert float(result.total.mean()) == pytest.approx(exact, abs=4 * float(result.std_error))
    assert float(result.std_error) < 0.02
    assert float(result.prior.abs().max()) == 0


def test_drawing_bits_independently_leaves_a_gap_that_closes_with_the_step():
    """The five beats hold log2(5) bits; the excess of the bound is due to dependence between the bits of a step."""
    gaps = [sum(HEARTBEAT.diffusion(n)) + HEARTBEAT.reconstruction(n) - math.log(5) for n in (40, 80, 160)]
    assert min(gaps) > 0
    assert gaps[2] / gaps[1] == pytest.approx(0.5, abs=0.02)


def test_samples_of_the_exact_model_are_heartbeats():
    x = iw.Diffusion(heartbeat_denoiser(HEARTBEAT), (20,), steps=200).sample(600, seed=0)
    counts = [int((x == beat).all(1).sum()) for beat in HEARTBEAT.beats]
    assert sum(counts) > 590
    assert scipy.stats.chisquare(counts).pvalue > 0.01
