"""Bounds on the entropy of a reverse step hold for the true one, which is known for Gaussian data and mixtures."""

import math

import pytest
import torch
from oracles import (
    F64,
    FOUR_BITS,
    LINE,
    PLANE,
    POINT,
    TWO_PEAKS,
    BitData,
    GaussianData,
    MixtureData,
    condition,
    entropy_of,
    joint_covariance,
    name_of,
    public_schedules,
    survival,
    tensor,
)
from torch.distributions import MultivariateNormal

import inkwash as iw

COSINE = iw.Gaussian(iw.CosineSchedule())


class Straight(iw.process.Schedule):
    """x_t = (1 - t) x + t eps, whose total variance first falls and then rises again."""

    def alpha(self, t):
        return 1 - torch.as_tensor(t, dtype=F64)

    def sigma(self, t):
        return torch.as_tensor(t, dtype=F64)

    def log_snr(self, t):
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def time(self, log_snr):
        return torch.sigmoid(-torch.as_tensor(log_snr, dtype=F64) / 2)


class Exploding(Straight):
    """x_t = x + 3.3 t eps, whose total variance grows."""

    def alpha(self, t):
        return torch.ones_like(torch.as_tensor(t, dtype=F64))

    def sigma(self, t):
        return 3.3 * torch.as_tensor(t, dtype=F64)

    def time(self, log_snr):
        return torch.exp(-torch.as_tensor(log_snr, dtype=F64) / 2) / 3.3


schedules = pytest.mark.parametrize("schedule", [*public_schedules(), Straight(), Exploding()], ids=name_of)
PAIRS = [(0.0, 0.3), (0.001, 0.002), (0.25, 0.5), (0.1, 0.9), (0.62, 0.63), (0.5, 1.0)]
TIGHT = GaussianData([0.3, -0.2], [[0.5, 0.35], [0.35, 0.4]])
WIDE = GaussianData([0.5, -2.0], [[9.0, 3.0], [3.0, 25.0]])
NORMAL = GaussianData([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])
ALL = {"line": LINE, "plane": PLANE, "point": POINT, "tight": TIGHT, "wide": WIDE, "normal": NORMAL}
every_data = pytest.mark.parametrize("data", ALL.values(), ids=ALL)


def entropy(cov):
    return float(MultivariateNormal(torch.zeros(len(cov), dtype=F64), cov).entropy())


def moment_points(data):
    """The 2 d points mean ± sqrt(d λ) v, which have the mean and covariance of the data."""
    z = math.sqrt(data.size) * torch.eye(data.size, dtype=F64)
    return data.whiten_inverse(torch.cat([z, -z]))


def true_entropy(data, schedule, s, t):
    d = data.size
    joint = joint_covariance(data, schedule, s, t)
    if s == 0:  # x_s is x
        joint = joint[d:, d:]
        return entropy(condition(joint, slice(d, 2 * d), slice(0, d))[1])
    order = torch.cat([torch.arange(d), torch.arange(2 * d, 3 * d)])
    return entropy(condition(joint[order][:, order], slice(d, 2 * d), slice(0, d))[1])


@schedules
@every_data
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_the_truth_lies_between_the_bounds_where_the_premise_holds(schedule, data, s, t):
    bounds = iw.process.entropy_bounds(iw.Gaussian(schedule), s, t, moment_points(data))
    truth = true_entropy(data, schedule, s, t)
    assert float(bounds.lower) <= truth + 1e-9
    assert not bounds.holds or truth <= float(bounds.upper) + 1e-6


@schedules
@pytest.mark.parametrize(("s", "t"), PAIRS[1:])
def test_the_bounds_are_the_entropies_of_their_definition(schedule, s, t):
    """These are the entropies of x_s given x_t and x, and of x_t given x_s; the joint law gives both."""
    joint = joint_covariance(PLANE, schedule, s, t)
    x_s, x_t = slice(0, 2), slice(4, 6)
    bounds = iw.process.entropy_bounds(iw.Gaussian(schedule), s, t, moment_points(PLANE))
    assert float(bounds.lower) == pytest.approx(entropy(condition(joint, slice(2, 6), x_s)[1]), abs=1e-6)
    assert float(bounds.upper) == pytest.approx(entropy(condition(joint, x_s, x_t)[1]), abs=1e-6)


@pytest.mark.parametrize(("s", "t"), PAIRS[1:])
def test_a_point_attains_the_lower_bound_and_standard_normal_data_the_upper(s, t):
    for data, side in ((POINT, "lower"), (NORMAL, "upper")):
        bounds = iw.process.entropy_bounds(COSINE, s, t, moment_points(data))
        assert float(getattr(bounds, side)) == pytest.approx(true_entropy(data, COSINE.schedule, s, t), abs=1e-6)


@pytest.mark.parametrize(("s", "t"), PAIRS)
@pytest.mark.parametrize("var", [0.2, 0.98, 1.02, 30.0])
def test_for_round_data_the_upper_bound_holds_exactly_if_the_premise_does(s, t, var):
    data = GaussianData([0.0, 0.0, 0.0], (var * torch.eye(3)).tolist())
    bounds = iw.process.entropy_bounds(COSINE, s, t, moment_points(data))
    assert bounds.surprise == pytest.approx(1.5 * (math.log(2 * math.pi) + var))
    assert bounds.holds == (var < 1)
    assert (true_entropy(data, COSINE.schedule, s, t) <= float(bounds.upper)) == bounds.holds


@pytest.mark.parametrize("schedule", [iw.CosineSchedule(), Exploding()], ids=name_of)
def test_the_surprise_has_double_precision(schedule):
    bounds = iw.process.entropy_bounds(iw.Gaussian(schedule), 0.3, 0.4, torch.full((2, 3), 0.7))
    square = float(torch.tensor(0.7)) ** 2
    assert bounds.surprise == pytest.approx(1.5 * (math.log(2 * math.pi) + square), rel=1e-12)


def test_wide_data_breaks_the_upper_bound_and_the_premise():
    bounds = iw.process.entropy_bounds(COSINE, 0.3, 0.4, moment_points(WIDE))
    assert true_entropy(WIDE, COSINE.schedule, 0.3, 0.4) > float(bounds.upper) + 0.01
    assert not bounds.holds


def test_the_mean_counts_towards_the_second_moment():
    """The mean changes no entropy, but the premise depends on E|x|^2: it is sufficient, not necessary."""
    far = GaussianData([3.0, 0.0], TIGHT.cov.tolist())
    bounds = iw.process.entropy_bounds(COSINE, 0.3, 0.4, moment_points(far))
    assert bounds.surprise == pytest.approx(math.log(2 * math.pi) + 9.9 / 2)
    assert not bounds.holds
    assert iw.process.entropy_bounds(COSINE, 0.3, 0.4, moment_points(far) - tensor([3.0, 0.0])).holds


@schedules
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_data_at_the_limit_obeys_the_upper_bound(schedule, s, t):
    """If the total variance is not 1, the limit differs from d, but the bound must hold for round data of that size."""
    process = iw.Gaussian(schedule)
    var = float(iw.process.entropy_bounds(process, s, t, torch.zeros(1, 2)).limit) - math.log(2 * math.pi)
    if var <= 0:
        return
    data = GaussianData([0.0, 0.0], (var * torch.eye(2)).tolist())
    bounds = iw.process.entropy_bounds(process, s, t, moment_points(data))
    assert bounds.holds
    assert true_entropy(data, schedule, s, t) <= float(bounds.upper) + 1e-6


@pytest.mark.parametrize("schedule", [iw.LinearSchedule(), iw.CosineSchedule()], ids=name_of)
def test_if_the_total_variance_stays_one_the_limit_is_the_entropy_of_noise(schedule):
    """Standardised data therefore lies exactly at the limit, also on the finest grid."""
    grid, process = iw.uniform_grid(1000), iw.Gaussian(schedule)
    standard = torch.randn(5000, 7, generator=torch.Generator().manual_seed(0))
    standard = (standard - standard.mean(0)) / standard.std(0, correction=0)
    bounds = iw.process.entropy_bounds(process, grid[1:], grid[:-1], standard)
    torch.testing.assert_close(bounds.limit, torch.full((1000,), entropy(torch.eye(7, dtype=F64)), dtype=F64))
    assert bounds.holds


NARROW_PEAKS = MixtureData([0.4, 0.6], [GaussianData([-0.9], [[0.05]]), GaussianData([0.7], [[0.15]])])


@pytest.mark.parametrize("data", [NARROW_PEAKS, TWO_PEAKS], ids=["narrow", "two peaks"])
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_a_mixture_lies_between_the_bounds(data, s, t):
    """The truth is -E log q(x_s | x_t), by Bayes' rule from exact densities and by Monte Carlo."""
    n, schedule = 50_000, COSINE.schedule
    random = torch.Generator().manual_seed(0)
    part = torch.multinomial(data.log_weights.exp(), n, replacement=True, generator=random)
    mean, std = (torch.stack(v)[part] for v in zip(*((p.mean, p.cov[0].sqrt()) for p in data.parts), strict=True))
    x = mean + std * torch.randn(n, 1, dtype=F64, generator=random)
    x_s = COSINE.marginal(x, s).draw(random)
    step = COSINE.transition(x_s, s, t)
    x_t = step.draw(random)

    def log_prob(y, u):
        return data.marginal_log_prob(y, schedule.alpha(u), schedule.sigma(u))

    surprise = log_prob(x_t, t) - log_prob(x_s, s) - step.log_prob(x_t)
    truth, error = float(surprise.mean()), 4 * float(surprise.std()) / math.sqrt(n)
    bounds = iw.process.entropy_bounds(COSINE, s, t, x)
    assert bounds.holds == (data is NARROW_PEAKS)
    assert float(bounds.lower) <= truth + error
    assert not bounds.holds or truth <= float(bounds.upper) + error


def test_at_time_zero_the_lower_bound_is_minus_infinity():
    """There the posterior given the data is a point."""
    bounds = iw.process.entropy_bounds(COSINE, 0.0, 0.5, moment_points(PLANE))
    assert float(bounds.lower) == -math.inf
    assert float(bounds.upper) == pytest.approx(entropy(COSINE.schedule.sigma(0.5) ** 2 * torch.eye(2, dtype=F64)))


def test_many_pairs_give_the_bounds_of_each_pair():
    grid, x = iw.uniform_grid(8), moment_points(PLANE)
    bounds = iw.process.entropy_bounds(COSINE, grid[1:], grid[:-1], x)
    for k in range(8):
        one = iw.process.entropy_bounds(COSINE, grid[k + 1], grid[k], x)
        torch.testing.assert_close(torch.stack([bounds.lower[k], bounds.upper[k]]), torch.stack([one.lower, one.upper]))


@pytest.mark.parametrize(("s", "t"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.1, math.nan)])
def test_bad_times_are_refused(s, t):
    with pytest.raises(iw.ConfigError, match="s < t"):
        iw.process.entropy_bounds(COSINE, s, t, torch.zeros(2, 2))


def test_no_data_is_refused():
    with pytest.raises(iw.DataError, match="no example"):
        iw.process.entropy_bounds(COSINE, 0.1, 0.5, torch.zeros(0, 2))


# Bits

SHARES = [13, 1, 1, 5]
TWINS = BitData(SHARES)  # two bits that tend to agree, each 1 with the probability 0.3
FEW, MANY = (BitData([1 - mean, mean]) for mean in (0.1, 0.6))  # single bits
bit_schedules = pytest.mark.parametrize("schedule", [iw.SohlDicksteinSchedule(), iw.CosineSchedule()], ids=name_of)


def examples(data, count=20):
    """The states, repeated in proportion to their probabilities."""
    return data.states.repeat_interleave((count * data.probabilities).round().long(), 0)


def bit_tables(data, rate, schedule, s, t):
    """The joint probabilities P(x, x_s, x_t)."""
    kept_s, kept_t = survival(schedule, s), survival(schedule, t)
    first, step = data.kernel(kept_s, rate), data.kernel(kept_t / kept_s, rate)
    return data.probabilities[:, None, None] * first[:, :, None] * step


@bit_schedules
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.8])
@pytest.mark.parametrize(("s", "t"), PAIRS)
def test_the_bounds_of_bits_are_the_entropies_of_their_definition(schedule, rate, s, t):
    table = bit_tables(TWINS, rate, schedule, s, t)
    bounds = iw.process.entropy_bounds(iw.Bernoulli(schedule, rate), s, t, examples(TWINS))
    walk = table.sum(0)
    assert float(bounds.lower) == pytest.approx(entropy_of(table) - entropy_of(table.sum(1)), abs=1e-9)
    assert float(bounds.upper) == pytest.approx(entropy_of(walk) - entropy_of(walk.sum(1)), abs=1e-9)
    truth = entropy_of(walk) - entropy_of(walk.sum(0))
    assert float(bounds.lower) <= truth + 1e-9
    assert not bounds.holds or truth <= float(bounds.upper) + 1e-9


@bit_schedules
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("data", [FEW, MANY], ids=["few", "many"])
def test_for_a_bit_the_upper_bound_holds_exactly_if_the_premise_does(schedule, rate, flip, data):
    """This is so as long as its mean is not beyond 1 - rate; ones and zeros may be exchanged."""
    x, rate = (1 - examples(data), 1 - rate) if flip else (examples(data), rate)
    mean = BitData([float(1 - x.mean()), float(x.mean())])
    walk = bit_tables(mean, rate, schedule, 0.3, 0.6).sum(0)
    bounds = iw.process.entropy_bounds(iw.Bernoulli(schedule, rate), 0.3, 0.6, x)
    truth = entropy_of(walk) - entropy_of(walk.sum(0))
    assert (truth <= float(bounds.upper) + 1e-12) == bounds.holds


def test_dependent_bits_at_the_rate_lie_at_the_limit():
    x = examples(TWINS)
    bounds = iw.process.entropy_bounds(iw.Bernoulli(iw.CosineSchedule(), 0.3), 0.2, 0.6, x)
    assert bounds.surprise == pytest.approx(float(bounds.limit))
    assert bounds.holds
    assert not iw.process.entropy_bounds(iw.Bernoulli(iw.CosineSchedule(), 0.29), 0.2, 0.6, x).holds


def test_bits_can_have_any_shape():
    process, x = iw.Bernoulli(iw.CosineSchedule(), 0.2), FOUR_BITS.draw(7)
    flat, square = (iw.process.entropy_bounds(process, 0.2, 0.6, each) for each in (x, x.reshape(7, 1, 2, 2).float()))
    assert (float(flat.lower), float(flat.upper)) == (float(square.lower), float(square.upper))
    assert flat.surprise == square.surprise


def test_values_other_than_bits_are_refused():
    with pytest.raises(iw.DataError, match=r"x: got other values, need one of \[0.0, 1.0\]"):
        iw.process.entropy_bounds(iw.Bernoulli(iw.CosineSchedule()), 0.1, 0.5, torch.full((3, 2), -1.0))
