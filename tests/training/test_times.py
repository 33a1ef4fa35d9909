"""Proposals of times: where they look, that they are unbiased, and that the learned ones learn the best density."""

import math
from collections import defaultdict, deque
from dataclasses import replace
from unittest import mock

import pytest
import scipy.stats
import torch
from bugs import bug
from hypothesis import given, settings, strategies as st
from oracles import F64, Straight, Vanishing, name_of, public, public_schedules, tensor

import inkwash as iw
from inkwash.training import times as propose
from inkwash.training.times import PROPOSALS, Times

VANISHING = Vanishing()
SCHEDULES = [*public_schedules(), VANISHING, Straight(9.0, -7.0)]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=name_of)


def random(seed=0):
    return torch.Generator().manual_seed(seed)


def tilted(name):
    """A proposal that is far from uniform, if it can be."""
    proposal = PROPOSALS[name]()
    if name == "loss-history":
        heights = 0.1 + torch.arange(100, dtype=F64).remainder(13)
        proposal.losses.copy_(heights[:, None].expand(100, 10))
        proposal.counts.fill_(10)
    if name == "log-snr-density":
        proposal.square.copy_((0.1 + torch.arange(32, dtype=F64).remainder(7)) ** 2)
    return proposal


UNBIASED = [name for name in PROPOSALS if name != "log-normal"]
FUNCTIONS = [(1, lambda t: t), (2, lambda t: t**2), (3, lambda t: t**3), (4, lambda t: t**4)]
"""A power (k + 1 times the k-th) and its integral from 0."""


def covered(name, schedule):
    """The part of (0, 1] where a proposal looks."""
    if name != "log-snr-density":
        return 0.0, 1.0
    return 0.001, float(schedule.time(-20.0)) if float(schedule.log_snr(1.0)) < -20 else 1.0


def test_every_proposal_is_tested():
    assert set(PROPOSALS.values()) == set(public(iw.training.Proposal))


@schedules
@pytest.mark.parametrize("name", PROPOSALS)
@given(st.integers(1, 200), st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_times_are_in_the_half_open_interval_and_weights_positive(schedule, name, count, seed):
    times = tilted(name).draw(count, schedule, random(seed))
    assert times.t.shape == times.weight.shape == (count,)
    assert times.t.dtype == times.weight.dtype == F64
    assert float(times.t.min()) > 0
    assert float(times.t.max()) <= 1
    assert float(times.weight.min()) > 0
    assert bool(times.weight.isfinite().all())


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_random_number_of_exactly_zero_is_not_time_zero(name):
    zeros = lambda shape, **options: torch.zeros(shape, dtype=options["dtype"])  # noqa: E731
    with mock.patch("torch.rand", zeros):
        t = PROPOSALS[name]().draw(5, SCHEDULES[0], random()).t
    assert 0 < float(t.min()) <= float(t.max()) <= 1


@given(st.integers(1, 300), st.integers(0, 2**32))
def test_low_discrepancy_has_one_time_in_each_stratum(count, seed):
    t = iw.training.LowDiscrepancy().draw(count, SCHEDULES[0], random(seed)).t
    strata = ((t - 1e-12) * count).floor().sort().values
    off = sum(int(k) != i for i, k in enumerate(strata))
    assert off <= 1  # the whole comb may straddle a boundary by rounding


def times_that_avoid_the_end(self, count, schedule, generator):
    t = torch.rand(count, generator=generator, dtype=torch.float64) ** 1.3
    return propose.Times(t.clamp(min=1e-9), torch.ones_like(t))


@bug("times not uniform", iw.training.LowDiscrepancy, "draw", times_that_avoid_the_end, name="low-discrepancy")
@pytest.mark.parametrize("name", ["uniform", "low-discrepancy", "loss-history"])
def test_each_time_of_a_batch_is_uniform(name):
    """Any position in the batch, over many batches: no time is preferred, and positions are exchangeable. A history of
    losses that has not seen every bin proposes uniformly."""
    batches = torch.stack([PROPOSALS[name]().draw(7, SCHEDULES[0], random(seed)).t for seed in range(600)])
    for position in range(7):
        assert scipy.stats.kstest(batches[:, position].numpy(), "uniform").pvalue > 0.001
    assert scipy.stats.kstest(batches.flatten().numpy(), "uniform").pvalue > 0.01


def test_stratified_times_lower_the_variance_of_a_mean():
    means = torch.stack(
        [iw.training.LowDiscrepancy().draw(16, SCHEDULES[0], random(seed)).t.mean() for seed in range(300)]
    )
    assert float(means.std()) < 0.3 * (1 / 12 / 16) ** 0.5
    assert float(means.mean()) == pytest.approx(0.5, abs=4 * float(means.std()) / 300**0.5)


DRAW_HISTORY = iw.training.LossHistory.draw


def with_weight(draw, weight):
    return lambda self, *given: (lambda times: replace(times, weight=weight(times.weight)))(draw(self, *given))


def constant_rate(schedule, t):
    return 20 * torch.ones_like(t)


@bug(
    "no weights for a history",
    iw.training.LossHistory,
    "draw",
    with_weight(DRAW_HISTORY, torch.ones_like),
    schedule=SCHEDULES[0],
    name="loss-history",
)
@bug(
    "weight without the rate of the log-SNR",
    propose,
    "log_snr_rate",
    constant_rate,
    schedule=SCHEDULES[0],
    name="log-snr-density",
)
@schedules
@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.slow_cases("LearnedSchedule")
def test_weighted_means_are_integrals_over_what_is_covered(schedule, name):
    """Of several functions of time, by proposals that are far from uniform."""
    times = tilted(name).draw(100_000, schedule, random())
    low, high = covered(name, schedule)
    for k, integral in FUNCTIONS:
        weighted = times.weight * k * times.t ** (k - 1)
        error = 5 * float(weighted.std()) / 100_000**0.5 if name == "uniform" else 2e-3
        assert float(weighted.mean()) == pytest.approx(integral(high) - integral(low), abs=error + 1e-9), k


def uncut(end):
    """Draws of a law that goes on beyond one of its ends, 0 or 1, and of which the rest is moved there."""

    def draw(self, count, schedule, generator):
        ends = [torch.special.ndtr((-0.5 * schedule.log_snr(t) - self.mean) / self.std) for t in (1e-3, 1.0)]
        ends[end] = torch.full_like(ends[end], float(end))
        normal = torch.special.ndtri(ends[0] + (ends[1] - ends[0]) * propose.comb(count, generator))
        t = schedule.time(-2 * (self.mean + self.std * normal)).clamp(1e-3, 1)
        return Times(t, torch.ones_like(t))

    return draw


@bug("not cut at time 1", iw.training.LogNormal, "draw", uncut(1), schedule=SCHEDULES[0], std=4.0)
@bug("not cut at the first time", iw.training.LogNormal, "draw", uncut(0), schedule=SCHEDULES[0], std=4.0)
@schedules
@pytest.mark.parametrize(("mean", "std"), [(-0.6, 0.8), (0.3, 4.0)], ids=["narrow", "wide"])
def test_log_normal_is_the_normal_cut_off_at_both_ends(schedule, mean, std):
    """The wide one has a tenth of its mass beyond each end of most schedules."""
    proposal = iw.training.LogNormal(mean, std)
    times = proposal.draw(4000, schedule, random())
    log_noise = -0.5 * schedule.log_snr(times.t)
    ends = [(-0.5 * float(schedule.log_snr(t)) - mean) / std for t in (1e-3, 1.0)]
    law = scipy.stats.truncnorm(*ends, loc=mean, scale=std)
    assert scipy.stats.kstest(log_noise.numpy(), law.cdf).statistic < 0.005  # a comb, not independent draws
    assert torch.equal(times.weight, torch.ones_like(times.t))


def test_by_default_it_is_the_law_that_edm_trains_with():
    """P_mean = -1.2 and P_std = 1.2 (Karras et al. 2022, table 1), where nothing of it is cut off."""
    schedule = Straight(40.0, -40.0)
    log_noise = -0.5 * schedule.log_snr(iw.training.LogNormal().draw(4000, schedule, random()).t)
    assert float(log_noise.mean()) == pytest.approx(-1.2, abs=0.01)
    assert float(log_noise.std()) == pytest.approx(1.2, abs=0.02)


# Learning


def mean_of_the_losses(self):
    root = self.losses.mean(1)
    if int(self.counts.min()) < self.losses.shape[1]:
        return torch.ones_like(root)
    return (1 - self.floor) * len(root) * root / root.sum() + self.floor


@bug("mean, not root mean square", iw.training.LossHistory, "density", mean_of_the_losses)
def test_a_history_is_the_root_mean_square_of_the_last_losses_of_each_bin():
    """Against lists of numbers, fed the same losses."""
    proposal, generator = iw.training.LossHistory(bins=5, keep=3, floor=0.01), random(1)
    kept = defaultdict(lambda: deque(maxlen=3))
    for _ in range(12):
        times = proposal.draw(16, SCHEDULES[0], generator)
        losses = (0.2 + 3 * times.t**2) * torch.rand(16, generator=generator, dtype=F64)
        proposal.learn(times, losses.float(), SCHEDULES[0])
        for t, loss in zip(times.t.tolist(), losses.tolist(), strict=True):
            kept[min(int(t * 5), 4)].append(loss)
    assert all(len(kept[i]) == 3 for i in range(5))
    roots = [math.sqrt(sum(v * v for v in kept[i]) / 3) for i in range(5)]
    expected = [0.99 * root / sum(roots) + 0.01 / 5 for root in roots]
    torch.testing.assert_close(proposal.density() / 5, tensor(expected), rtol=1e-6, atol=0)


def test_a_history_is_uniform_until_every_bin_has_its_fill():
    proposal = iw.training.LossHistory(bins=2, keep=2)
    early, late = Times(tensor([0.2] * 3), tensor([1.0] * 3)), Times(tensor([0.7]), tensor([1.0]))
    proposal.learn(early, tensor([9.0, 9.0, 9.0]), SCHEDULES[0])
    proposal.learn(late, tensor([1.0]), SCHEDULES[0])
    assert proposal.density().tolist() == [1, 1]
    proposal.learn(late, tensor([1.0]), SCHEDULES[0])
    assert proposal.density().tolist() == pytest.approx([0.999 * 1.8 + 0.001, 0.999 * 0.2 + 0.001])


def ends_of(schedule, first=0.001):
    return max(float(schedule.log_snr(1.0)), -20.0), float(schedule.log_snr(first))


def slope(schedule, t, h=1e-6):
    """|d log-SNR / dt|, by differences."""
    low, high = t - h, (t + h).clamp(max=1)
    return (schedule.log_snr(low) - schedule.log_snr(high)) / (high - low)


def gain_in_steps(schedule, t, bins=8):
    """A loss that adds a constant amount per unit of log-SNR within each of a few stretches."""
    low, high = ends_of(schedule)
    index = ((schedule.log_snr(t) - low) / (high - low) * bins).floor().clamp(0, bins - 1)
    return 0.05 + (index - 3) ** 2


def taught(schedule, noise=True, floor=1e-6):
    """A density over log-SNR that has seen losses of a known mean square."""
    proposal, generator = iw.training.LogSnrDensity(bins=8, floor=floor), random(2)
    for _ in range(600):
        times = proposal.draw(64, schedule, generator)
        scatter = 1 + 0.5 * torch.randn(64, generator=generator, dtype=F64) if noise else 1.0
        proposal.learn(times, gain_in_steps(schedule, times.t) * slope(schedule, times.t) * scatter, schedule)
    return proposal


smooth = pytest.mark.parametrize("schedule", [Straight(9.0, -7.0), VANISHING], ids=["straight", "vanishing"])


def density_of_mean_squares(self):
    return self.square / self.square.mean()


@bug(
    "density of mean squares, not of their roots",
    iw.training.LogSnrDensity,
    "density",
    density_of_mean_squares,
    schedule=VANISHING,
)
@smooth
def test_the_density_over_log_snr_becomes_the_root_mean_square(schedule):
    low, high = ends_of(schedule)
    middles = schedule.time(low + (high - low) * (torch.arange(8, dtype=F64) + 0.5) / 8)
    root = gain_in_steps(schedule, middles)  # the scatter has the same mean square everywhere
    torch.testing.assert_close(taught(schedule).density(), root / root.mean(), rtol=0.12, atol=1e-3)


def density_without_the_root(self):
    return (1 - self.floor) * self.square / self.square.mean() + self.floor


def learns_from_losses_per_time(self, times, losses, schedule):
    low, high = self._ends(schedule)
    index = propose._bin((schedule.log_snr(times.t) - low) / (high - low), len(self.square))
    new = self.square.scatter_reduce(0, index, losses.double() ** 2, "mean", include_self=False)
    seen = torch.zeros_like(self.square).index_fill_(0, index, 1.0)
    self.square += (1 - self.memory) * seen * (new - self.square)


@bug("density without the root", iw.training.LogSnrDensity, "density", density_without_the_root, schedule=VANISHING)
@bug(
    "losses per time, not per log-SNR",
    iw.training.LogSnrDensity,
    "learn",
    learns_from_losses_per_time,
    schedule=VANISHING,
)
@smooth
def test_with_the_best_density_the_weighted_loss_hardly_varies(schedule):
    """A loss that is a function of time alone is a constant once weighted; its mean stays the integral."""
    low, high = ends_of(schedule)

    def weighted(proposal):
        times = proposal.draw(4096, schedule, random(5))
        return gain_in_steps(schedule, times.t) * slope(schedule, times.t) * times.weight

    before, after = weighted(iw.training.LogSnrDensity(bins=8, floor=1e-6)), weighted(taught(schedule, noise=False))
    integral = (high - low) * float((0.05 + (torch.arange(8) - 3) ** 2).mean())
    assert float(after.mean()) == pytest.approx(integral, rel=1e-2)
    assert float(before.mean()) == pytest.approx(integral, rel=1e-2)
    assert float(after.std()) < 0.1 * float(before.std())


def test_a_history_lowers_the_variance_of_the_weighted_loss():
    proposal, generator, schedule = iw.training.LossHistory(bins=20), random(3), SCHEDULES[0]

    def loss(t):
        return (t * 20).floor() ** 2 + 1

    before = iw.training.Uniform().draw(4096, schedule, random(4))
    for _ in range(80):
        times = proposal.draw(64, schedule, generator)
        proposal.learn(times, loss(times.t), schedule)
    after = proposal.draw(4096, schedule, random(4))
    assert float((loss(after.t) * after.weight).std()) < 0.1 * float((loss(before.t) * before.weight).std())
    exact = sum(k**2 + 1 for k in range(20)) / 20
    assert float((loss(after.t) * after.weight).mean()) == pytest.approx(exact, rel=1e-2)


@schedules
@pytest.mark.parametrize("name", PROPOSALS)
@pytest.mark.slow_cases("LearnedSchedule")
def test_what_is_learned_survives_a_round_trip(schedule, name):
    old, new, generator = PROPOSALS[name](), PROPOSALS[name](), random(6)
    for _ in range(40):
        times = old.draw(64, schedule, generator)
        old.learn(times, torch.rand(64, generator=generator) * times.t.float() ** 2, schedule)
    new.load_state_dict({name: tensor.clone() for name, tensor in old.state_dict().items()})
    for first, second in ((old, new), (new, old)):
        a, b = first.draw(50, schedule, random(7)), second.draw(50, schedule, random(7))
        assert torch.equal(a.t, b.t)
        assert torch.equal(a.weight, b.weight)
        first.learn(a, torch.ones(50), schedule)
        second.learn(b, torch.ones(50), schedule)
    assert name not in ("loss-history", "log-snr-density") or old.state_dict()


def learns_from(start):
    """What a look adds up from, given what was known: for bins that were not looked at, this is all."""

    def learn(self, times, losses, schedule):
        low, high = self._ends(schedule)
        index = propose._bin((schedule.log_snr(times.t) - low) / (high - low), len(self.square))
        gained = (losses.double() * times.weight * self.density()[index]) ** 2
        include = start is torch.clone
        new = start(self.square).scatter_reduce(0, index, gained, "mean", include_self=include)
        self.square += (1 - self.memory) * (new - self.square)

    return learn


@bug("what was not looked at is forgotten", iw.training.LogSnrDensity, "learn", learns_from(torch.zeros_like))
@bug("the past counted as a look", iw.training.LogSnrDensity, "learn", learns_from(torch.clone))
def test_a_look_changes_the_bins_it_fell_into_by_the_share_that_is_not_memory():
    """A loss L adds L |dt / d log-SNR| per unit of log-SNR, here in units of all of its range."""
    proposal, schedule = iw.training.LogSnrDensity(bins=4, memory=0.9), Straight(9.0, -7.0)
    times = proposal.draw(200, schedule, random())
    early = (schedule.log_snr(times.t) > 5.1).nonzero()[:2, 0]
    looked, losses = Times(times.t[early], times.weight[early]), tensor([3.0, 5.0])
    proposal.learn(looked, losses, schedule)
    range_of_times = 1 - proposal.first
    assert proposal.square[:3].tolist() == [1, 1, 1]
    assert float(proposal.square[3]) == pytest.approx(0.9 + 0.1 * 17 * range_of_times**2, rel=1e-6)
