"""Diffusion of categories agrees with transition matrices and with sums over every state."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from bugs import bug
from oracles import F64, survival, tensor

import inkwash as iw
from inkwash.process import categorical

SIZES = (3, 2, 4)
UNIFORM = iw.Categorical(iw.CosineSchedule(), SIZES)
ABSORBING = iw.Categorical(iw.SohlDicksteinSchedule(), SIZES, "absorbing")
PAIRS = [(0.0, 0.003), (0.2, 0.21), (0.5, 0.5 + 1e-6), (0.1, 0.9), (0.7, 1.0), (0.0, 1.0)]
processes = pytest.mark.parametrize("process", [UNIFORM, ABSORBING], ids=["uniform", "absorbing"])
pairs = pytest.mark.parametrize(("s", "t"), PAIRS)


def states_of(process, column):
    """The states that an entry may have."""
    return SIZES[column] + (process.noise_kind == "absorbing")


def matrix(process, column, s, t):
    """The transition matrix of one entry, by definition: the row is the state at s, the column the state at t."""
    count, kept = states_of(process, column), float(survival(process.schedule, t) / survival(process.schedule, s))
    rates = torch.zeros(count, dtype=F64)
    if process.noise_kind == "absorbing":
        rates[-1] = 1
    else:
        rates[:] = 1 / count
    return kept * torch.eye(count, dtype=F64) + (1 - kept) * rates


def masses(law, row, column, count):
    return law.logits.softmax(-1)[row, column, :count]


def categories_of(column, categories):
    """Rows that have these categories in one column and 0 in the others."""
    x = torch.zeros(len(categories), len(SIZES), dtype=F64)
    x[:, column] = torch.as_tensor(categories, dtype=F64)
    return x


@processes
@pairs
def test_marginals_and_transitions_agree_with_the_transition_matrix(process, s, t):
    for column, size in enumerate(SIZES):
        states = states_of(process, column)
        for x, law, table in (
            (range(size), process.marginal(categories_of(column, range(size)), t), matrix(process, column, 0.0, t)),
            (
                range(states),
                process.transition(categories_of(column, range(states)), s, t),
                matrix(process, column, s, t),
            ),
        ):
            for row in x:
                torch.testing.assert_close(masses(law, row, column, states), table[row], rtol=1e-8, atol=1e-12)


@bug(
    "survival since time 0 for survival since s",
    categorical,
    "step_log_odds",
    lambda schedule, s, t: schedule.log_snr(t),
    process=UNIFORM,
    s=0.1,
    t=0.9,
)
@bug(
    "step back that forgets where it comes from",
    iw.Categorical,
    "evidence",
    lambda self, x_t, log_odds: torch.zeros(*x_t.shape, self.states.levels, dtype=x_t.dtype),
    process=UNIFORM,
    s=0.1,
    t=0.9,
)
@processes
@pairs
def test_bayes_rule_holds(process, s, t):
    for column, size in enumerate(SIZES):
        states = states_of(process, column)
        first, second = matrix(process, column, 0.0, s), matrix(process, column, s, t)
        total = first @ second
        for x, x_t in itertools.product(range(size), range(states)):
            if total[x, x_t] > 0:
                law = process.posterior(categories_of(column, [x_t]), categories_of(column, [x]), s, t)
                expected = first[x] * second[:, x_t] / total[x, x_t]
                torch.testing.assert_close(masses(law, 0, column, states), expected, rtol=1e-7, atol=1e-11)


def estimate_of(process, x_t, t, seed=0):
    weights = torch.randn(len(x_t), *process.possible.shape, dtype=F64, generator=torch.Generator().manual_seed(seed))
    return iw.process.CategoryEstimate(weights.masked_fill(~process.possible, -torch.inf), x_t, tensor(t), process)


REVERSE = iw.Categorical.reverse


def reverse_from_the_belief(self, x_t, estimate, s, t):
    return REVERSE(self, x_t, replace(estimate, log_weights=estimate.logits), s, t)


@bug("step back from the belief", iw.Categorical, "reverse", reverse_from_the_belief, process=UNIFORM, s=0.1, t=0.9)
@processes
@pairs
def test_the_reverse_step_is_the_sum_over_clean_categories(process, s, t):
    for column, size in enumerate(SIZES):
        states = states_of(process, column)
        x_t = categories_of(column, range(states))
        estimate = estimate_of(process, x_t, t)
        found, belief = process.reverse(x_t, estimate, s, t), estimate.logits.softmax(-1)
        reached = (matrix(process, column, 0.0, t)[:size] > 0).any(0)  # at time 1 absorbing noise reaches only the mask
        for row in reached.nonzero()[:, 0].tolist():
            expected = torch.zeros(states, dtype=F64)
            for x in range(size):
                share = belief[row, column, x]
                if share > 0:
                    law = process.posterior(x_t[row : row + 1], categories_of(column, [x]), s, t)
                    expected += share * masses(law, 0, column, states)
            torch.testing.assert_close(masses(found, row, column, states), expected, rtol=1e-7, atol=1e-11)


@processes
def test_the_belief_is_the_weights_times_the_likelihood(process):
    t, column = 0.6, 2
    states = states_of(process, column)
    x_t = categories_of(column, range(states))
    estimate = estimate_of(process, x_t, t)
    weight = estimate.log_weights.exp()[:, column, : SIZES[column]]
    likelihood = matrix(process, column, 0.0, t)[: SIZES[column]].mT
    expected = weight * likelihood / (weight * likelihood).sum(1, keepdim=True)
    torch.testing.assert_close(estimate.logits.softmax(-1)[:, column, : SIZES[column]], expected, rtol=1e-8, atol=1e-12)


@processes
def test_uniform_noise_becomes_a_draw_of_the_marginal(process):
    """With evenly spaced numbers in [0, 1) as noise, the frequency of each state is its probability."""
    count, t = 20_000, 0.45
    noise = ((torch.arange(count, dtype=F64) + 0.5) / count)[:, None].expand(count, 3)
    x = tensor([2.0, 1.0, 3.0]).expand(count, 3)
    drawn = process.diffuse(x, t, noise)
    law = process.marginal(x[:1], t)
    for column in range(3):
        states = states_of(process, column)
        share = torch.bincount(drawn[:, column].long(), minlength=states) / count
        torch.testing.assert_close(share.double(), masses(law, 0, column, states), rtol=0, atol=1.1 / count)


def test_two_categories_with_uniform_noise_are_bits():
    schedule = iw.LinearSchedule()
    bits, categories = iw.Bernoulli(schedule), iw.Categorical(schedule, (2, 2))
    x, x_t = tensor([[0.0, 1.0], [1.0, 1.0]]), tensor([[1.0, 1.0], [0.0, 1.0]])
    logits = tensor([[0.3, -1.2], [2.0, 0.1]])
    weights = torch.stack([torch.zeros_like(logits), logits], -1)
    estimate = iw.process.CategoryEstimate(weights, x_t, tensor(0.8), categories)
    belief = iw.process.BitEstimate(estimate.logits.diff(dim=-1)[..., 0], x_t, tensor(0.8), bits)
    for s in (0.0, 0.3):
        ours = categories.posterior(x_t, x, s, 0.8).kl(categories.reverse(x_t, estimate, s, 0.8))
        theirs = bits.posterior(x_t, x, s, 0.8).kl(bits.reverse(x_t, belief, s, 0.8))
        torch.testing.assert_close(ours, theirs)


def test_a_masked_entry_costs_the_revealed_share_of_its_cross_entropy():
    """Absorbing diffusion is masked language modelling with weights (Austin et al. 2021, App. A.3)."""
    s, t, x = 0.3, 0.8, tensor([[2.0, 0.0, 3.0]])
    x_t = tensor([[3.0, 2.0, 3.0]])  # masked, masked, unchanged
    estimate = estimate_of(ABSORBING, x_t, t)
    log_mass = estimate.log_weights.log_softmax(-1)
    revealed = (t - s) / t  # a = 1 - t
    expected = -revealed * (log_mass[0, 0, 2] + log_mass[0, 1, 0])
    found = ABSORBING.posterior(x_t, x, s, t).kl(ABSORBING.reverse(x_t, estimate, s, t))
    assert float(found[0]) == pytest.approx(float(expected), rel=1e-9)


@processes
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_gradients_are_finite_where_states_are_impossible(process, dtype):
    for s, t in PAIRS:
        x = tensor([[2.0, 1.0, 3.0]]).to(dtype)
        x_t = process.marginal(x, t).draw(torch.Generator().manual_seed(0))
        outputs = torch.randn(1, sum(SIZES), dtype=dtype).requires_grad_()
        weights = outputs.new_full((1, *process.possible.shape), -torch.inf)
        weights[:, process.possible] = outputs
        loss = process.posterior(x_t, x, s, t).kl(
            process.reverse(x_t, iw.process.CategoryEstimate(weights, x_t, tensor(t), process), s, t)
        )
        loss.sum().backward()
        assert loss.isfinite().all()
        assert outputs.grad.isfinite().all()


@processes
def test_the_last_marginal_is_the_prior(process):
    prior = process.prior((2, 3), like=torch.zeros(2, 3, dtype=F64))
    last = process.marginal(tensor([[0.0, 0.0, 0.0], [2.0, 1.0, 3.0]]), 1.0)
    assert float(last.kl(prior).max()) < 1e-3
    assert float(prior.entropy()[0]) == pytest.approx(
        0.0 if process is ABSORBING else sum(math.log(size) for size in SIZES), abs=1e-12
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: iw.Categorical(iw.LinearSchedule(), (2,), "masked"), "categories.noise: got 'masked'"),
        (lambda: iw.Categorical(iw.LinearSchedule(), ()), "categories.sizes"),
        (lambda: iw.Categorical(iw.LinearSchedule(), (3, 0)), "categories.sizes"),
        (lambda: iw.Categorical(iw.CosineSchedule(), (3,), "absorbing"), "categories.schedule: got CosineSchedule"),
    ],
)
def test_bad_processes_are_refused(make, words):
    with pytest.raises(iw.ConfigError, match=words):
        make()
