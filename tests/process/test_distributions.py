"""Densities, entropies, divergences and discretised masses agree with SciPy, 50-digit arithmetic and counting."""

import math

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from bugs import bug
from hypothesis import example, given, settings, strategies as st
from oracles import F64, tensor

import inkwash as iw
from inkwash.process import distributions
from inkwash.process.distributions import log_ndtr_difference

mpmath.mp.dps = 50
MEANS, STDS = st.floats(-5, 5), st.floats(0.01, 20)


def one(mean, std):
    return iw.process.Normal(tensor([[mean]]), tensor(std**2))


@given(MEANS, STDS, st.floats(-20, 20))
def test_log_density_agrees_with_scipy(mean, std, x):
    log_prob = float(one(mean, std).log_prob(tensor([[x]])))
    assert log_prob == pytest.approx(scipy.stats.norm.logpdf(x, mean, std), rel=1e-12, abs=1e-12)


@given(STDS)
def test_entropy_agrees_with_scipy(std):
    assert float(one(0.3, std).entropy()) == pytest.approx(scipy.stats.norm.entropy(0.3, std), abs=1e-12)


@given(MEANS, STDS, MEANS, STDS)
@settings(max_examples=40, deadline=None)
def test_divergence_is_the_mean_log_ratio(m1, s1, m2, s2):
    """Gauss-Hermite quadrature of SciPy's log-densities gives KL by definition, exactly since they are quadratic."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    x = m1 + s1 * nodes
    log_ratio = scipy.stats.norm.logpdf(x, m1, s1) - scipy.stats.norm.logpdf(x, m2, s2)
    expected = float(weights @ log_ratio / weights.sum())
    assert float(one(m1, s1).kl(one(m2, s2))) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def one_subtracted(self, other):
    log_ratio = self.var.log() - other.var.log()
    return 0.5 * (log_ratio.exp() - 1 - log_ratio + (self.mean - other.mean) ** 2 / other.var)


def entropy_subtracted(self, other):
    crossed = ((self.mean - other.mean) ** 2 + self.var) / other.var + other.var.log() + distributions.LOG_2PI
    return 0.5 * crossed - self.entry_entropy()


@bug("one subtracted from what is nearly one", iw.process.Normal, "entry_kl", one_subtracted, excess=1e-7)
@bug("entropies subtracted", iw.process.Normal, "entry_kl", entropy_subtracted, excess=1e-7)
@pytest.mark.parametrize("excess", [1e-1, 1e-4, 1e-7])
def test_divergence_of_nearly_equal_laws_keeps_its_digits(excess):
    """The KL of the variances v and v (1 + e) is about e^2 / 4, which must not drown in rounding."""
    mean, p_var, q_var = tensor([[0.0]]), tensor(0.7), tensor(0.7 * (1 + excess))
    ratio = mpmath.mpf(float(p_var)) / mpmath.mpf(float(q_var))
    exact = float((ratio - 1 - mpmath.log(ratio)) / 2)
    found = float(iw.process.Normal(mean, p_var).kl(iw.process.Normal(mean, q_var)))
    assert found == pytest.approx(exact, rel=1e-6, abs=0)


def test_events_add_up_and_scalars_broadcast():
    """A variance for each row, or one for all rows, equals the same variance repeated for each entry."""
    random = torch.Generator().manual_seed(0)
    mean, x, second_mean = (torch.randn(4, 2, 3, generator=random, dtype=F64) for _ in range(3))
    var = tensor([0.5, 1.0, 2.0, 3.0]).reshape(4, 1, 1)
    short, full = iw.process.Normal(mean, var), torch.distributions.Normal(mean, var.sqrt().expand_as(mean))
    second = torch.distributions.Normal(second_mean, tensor(1.5).sqrt().expand_as(mean))
    torch.testing.assert_close(short.log_prob(x), full.log_prob(x).sum((1, 2)))
    torch.testing.assert_close(short.entropy(), full.entropy().sum((1, 2)))
    kl = torch.distributions.kl_divergence(full, second).sum((1, 2))
    torch.testing.assert_close(short.kl(iw.process.Normal(second_mean, tensor(1.5))), kl)


def test_draws_follow_the_law():
    normal = iw.process.Normal(torch.full((4000, 1), 2.0, dtype=F64), tensor(0.25))
    drawn = normal.draw(torch.Generator().manual_seed(0)).flatten().numpy()
    assert scipy.stats.kstest(drawn, scipy.stats.norm(2.0, 0.5).cdf).pvalue > 0.01


def test_zero_variance_is_certainty():
    mean = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(iw.process.Normal(mean, torch.zeros(())).draw(torch.Generator()), mean)


LATTICES = [
    iw.process.Lattice(-1.0, 1.0, 2),
    iw.process.Lattice(-1.0, 1.0, 17),
    iw.process.Lattice(-1.0, 1.0, 256),
    iw.process.Lattice(0.0, 3.0, 4),
]


def masses(mean, std, lattice):
    values = lattice.values()
    return iw.process.DiscretizedNormal(torch.full_like(values, mean), tensor(std), lattice).entry_log_prob(values)


def exact_log_mass(mean, std, lattice, index):
    """The log-mass of a bin in 50 digits, as a difference of upper or of lower tails, whichever are small."""
    spacing = (mpmath.mpf(lattice.high) - lattice.low) / (lattice.levels - 1)
    edges = [lattice.low + (index + half) * spacing for half in (mpmath.mpf(-0.5), mpmath.mpf(0.5))]
    low, high = ((e - mpmath.mpf(mean)) / mpmath.mpf(std) / mpmath.sqrt(2) for e in edges)
    if index == 0:
        low = -mpmath.inf
    if index == lattice.levels - 1:
        high = mpmath.inf
    mirrored = (low, high) if low > 0 else (-high, -low)
    return float(mpmath.log((mpmath.erfc(mirrored[0]) - mpmath.erfc(mirrored[1])) / 2))


def tanh_difference(a, b):
    def cdf(z):
        return 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3)))

    return (cdf(b) - cdf(a)).clamp(min=1e-12).log()


def closed_edges(self, x):
    centre, half = x - self.mean, self.lattice.spacing / 2
    return distributions.log_ndtr_difference((centre - half) / self.std, (centre + half) / self.std)


@bug("tanh for the normal distribution", distributions, "log_ndtr_difference", tanh_difference)
@bug("bins closed at the ends", iw.process.DiscretizedNormal, "entry_log_prob", closed_edges)
@given(st.floats(-3, 3), st.floats(-8, 3), st.sampled_from(LATTICES))
@example(0.0, -5.0, LATTICES[2])  # the mean on the edge between two bins
@settings(max_examples=300, deadline=None)
def test_masses_sum_to_one_at_any_noise(mean, log10_std, lattice):
    std = 10**log10_std
    assert float(masses(mean, std, lattice).exp().sum()) == pytest.approx(1, abs=1e-12)


def difference_without_a_mirror(a, b):
    low, high = torch.special.log_ndtr(a), torch.special.log_ndtr(b)
    return high + torch.log(-torch.expm1(low - high))


WITHOUT_MIRROR = distributions, "log_ndtr_difference", difference_without_a_mirror


@bug("upper tail not mirrored", *WITHOUT_MIRROR, std=0.02, mean=-0.2, lattice=LATTICES[1])
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.levels))
@pytest.mark.parametrize("std", [0.02, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("mean", [-1.4, -0.2, 0.03, 0.98])
def test_masses_agree_with_fifty_digits_far_in_the_tails(mean, std, lattice):
    """Masses go down to e^-7000, where probabilities are zero in float64."""
    got = masses(mean, std, lattice)
    for index in range(0, lattice.levels, max(1, lattice.levels // 16)):
        assert math.isfinite(got[index])
        assert float(got[index]) == pytest.approx(exact_log_mass(mean, std, lattice, index), rel=1e-10, abs=1e-10)


@bug("upper tail not mirrored", *WITHOUT_MIRROR)
def test_masses_of_integers_agree_with_fifty_digits_far_in_both_tails():
    """Of columns with bins of their own, up to 60 standard deviations from the mean."""
    spacing, std, mean = [0.25, 1.0, 7.0], 0.4, -0.3
    x = tensor([[-12.0, -9.0, -21.0], [0.25, 0.0, 0.0], [6.0, 8.0, 21.0], [23.0, 20.0, 14.0]])
    law = iw.process.BinnedNormal(torch.full_like(x, mean), tensor(std), iw.process.Bins(tensor(spacing)))
    found = law.entry_log_prob(x)
    for row, values in zip(found.tolist(), x.tolist(), strict=True):
        for got, width, value in zip(row, spacing, values, strict=True):
            ends = [(mpmath.mpf(value) + s * mpmath.mpf(width) / 2 - mean) / std / mpmath.sqrt(2) for s in (-1, 1)]
            low, high = ends if ends[0] > 0 else (-ends[1], -ends[0])
            exact = mpmath.log((mpmath.erfc(low) - mpmath.erfc(high)) / 2)
            assert got == pytest.approx(float(exact), rel=1e-10, abs=1e-12)


@given(st.floats(-30, 30), st.floats(1e-3, 5))
@settings(max_examples=100, deadline=None)
def test_interval_masses_are_symmetric(a, width):
    left = log_ndtr_difference(tensor(a), tensor(a + width))
    right = log_ndtr_difference(tensor(-a - width), tensor(-a))
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


def test_draws_fall_into_bins_as_often_as_their_masses():
    lattice, mean, std, n = LATTICES[1], 0.83, 0.3, 20_000
    drawn = iw.process.DiscretizedNormal(torch.full((n, 1), mean, dtype=F64), tensor(std), lattice).draw(
        torch.Generator().manual_seed(0)
    )
    counts = np.bincount(lattice.index(drawn).long().flatten().numpy(), minlength=17)
    expected = n * masses(mean, std, lattice).exp().numpy()
    likely = expected > 5
    rest = [counts[~likely].sum()], [expected[~likely].sum()]
    test = scipy.stats.chisquare([*counts[likely], *rest[0]], [*expected[likely], *rest[1]])
    assert test.pvalue > 0.01


def test_log_probability_adds_masses_over_the_event():
    lattice = LATTICES[1]
    values = lattice.values()
    pairs = torch.cartesian_prod(values, values)
    law = iw.process.DiscretizedNormal(tensor([0.2, -0.9]).expand_as(pairs), tensor(0.4), lattice)
    assert float(law.log_prob(pairs).exp().sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.levels))
def test_lattice_values_and_indices_invert_each_other(lattice):
    values = lattice.values()
    assert torch.equal(lattice.index(values), torch.arange(lattice.levels, dtype=F64))
    nudged = values + 0.49 * lattice.spacing * tensor([1.0, -1.0]).repeat(lattice.levels)[: lattice.levels]
    assert torch.equal(lattice.index(nudged), lattice.index(values))
    assert (values[0], values[-1]) == (lattice.low, lattice.high)


def test_a_density_on_a_fine_lattice_is_density_times_spacing():
    lattice, normal = iw.process.Lattice(-5.0, 5.0, 10_001), iw.process.Normal(tensor([[0.2]]), tensor(0.5))
    x = lattice.values()[4000:6000:500, None]
    wide = iw.process.Normal(normal.mean.expand_as(x), normal.var)
    torch.testing.assert_close(
        wide.on(lattice).log_prob(x), wide.log_prob(x) + math.log(lattice.spacing), rtol=0, atol=1e-6
    )


LOGITS = st.floats(-40, 40)


def bits(*logits):
    return iw.process.Bits(tensor([logits]))


@given(LOGITS, LOGITS)
@settings(deadline=None)
def test_bits_agree_with_fifty_digits(a, b):
    p, q = (1 / (1 + mpmath.exp(-mpmath.mpf(logit))) for logit in (a, b))
    assert float(bits(a).log_prob(tensor([[1.0]]))) == pytest.approx(float(mpmath.log(p)), rel=1e-13)
    assert float(bits(a).log_prob(tensor([[0.0]]))) == pytest.approx(float(mpmath.log(1 - p)), rel=1e-13)
    entropy = -p * mpmath.log(p) - (1 - p) * mpmath.log(1 - p)
    assert float(bits(a).entropy()) == pytest.approx(float(entropy), rel=1e-12)
    kl = p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))
    assert float(bits(a).kl(bits(b))) == pytest.approx(float(kl), rel=1e-9, abs=1e-14)
    assert float(bits(a).mean) == pytest.approx(float(p), rel=1e-13)


def test_certain_bits_give_zero_or_infinity_but_never_nan():
    one, zero, sure, unsure = tensor([[1.0]]), tensor([[0.0]]), bits(math.inf), bits(0.4)
    assert float(sure.log_prob(one)) == 0
    assert float(sure.log_prob(zero)) == -math.inf
    assert float(sure.entropy()) == 0
    assert float(sure.kl(sure)) == 0
    assert float(sure.kl(bits(-math.inf))) == math.inf
    assert float(unsure.kl(sure)) == math.inf
    assert float(sure.kl(unsure)) == pytest.approx(-float(unsure.log_prob(one)))
    assert float(bits(-math.inf).kl(unsure)) == pytest.approx(-float(unsure.log_prob(zero)))
    for certain in (sure, bits(-math.inf)):
        assert torch.equal(certain.draw(torch.Generator()), certain.mean)


def test_the_divergence_from_certain_bits_has_a_gradient():
    logits = tensor([[0.4, -2.0]]).requires_grad_()
    bits(math.inf, -math.inf).kl(iw.process.Bits(logits)).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().sigmoid() - tensor([[1.0, 0.0]]))


def test_bits_of_an_event_add_up():
    logits, x = tensor([[0.3, -1.0], [2.0, 0.0]]), tensor([[1.0, 0.0], [0.0, 1.0]])
    ours, theirs, second = iw.process.Bits(logits), torch.distributions.Bernoulli(logits=logits), logits.flip(0)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).sum(1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(1))
    kl = torch.distributions.kl_divergence(theirs, torch.distributions.Bernoulli(logits=second)).sum(1)
    torch.testing.assert_close(ours.kl(iw.process.Bits(second)), kl)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_draws_of_bits_have_their_probabilities(dtype):
    n, logits = 20_000, torch.tensor([-3.0, 0.2, 1.5], dtype=dtype)
    drawn = iw.process.Bits(logits.expand(n, 3)).draw(torch.Generator().manual_seed(0))
    assert drawn.dtype == dtype
    assert set(drawn.unique().tolist()) == {0, 1}
    for column, p in zip(drawn.T, logits.sigmoid().tolist(), strict=True):
        assert scipy.stats.binomtest(int(column.sum()), n, p).pvalue > 0.01


def test_a_lattice_holds_only_its_values():
    lattice = iw.process.Lattice(-1.0, 1.0, 5)
    assert lattice.holds(lattice.values())
    for wrong in (0.25, 1.5, -1.5, math.nan, math.inf):
        assert not lattice.holds(tensor([0.5, wrong]))


# Probabilities of levels


def entropy_in_bits(self):
    return torch.special.entr(self.logits.softmax(-1)).sum(-1) / torch.log(torch.tensor(2.0))


@bug("entropy in bits", iw.process.Masses, "entry_entropy", entropy_in_bits)
def test_a_categorical_agrees_with_scipy():
    """Entropy, log-probability and mean of independent entries agree, whatever constant is added to the logits."""
    masses = np.random.default_rng(0).dirichlet([0.7] * 5, size=(4, 3))
    shift = tensor([[[7.0], [-300.0], [0.0]]])
    lattice = iw.process.Lattice(-1.0, 3.0, 5)
    law = iw.process.Masses(tensor(masses.tolist()).log() + shift, lattice)
    assert law.entropy().tolist() == pytest.approx(scipy.stats.entropy(masses, axis=-1).sum(1).tolist(), rel=1e-12)
    values = np.linspace(-1, 3, 5)
    np.testing.assert_allclose(law.mean.numpy(), masses @ values, rtol=1e-12, atol=1e-12)
    index = np.random.default_rng(1).integers(5, size=(4, 3))
    expected = np.log(np.take_along_axis(masses, index[..., None], -1)[..., 0])
    x = torch.from_numpy(values[index])
    np.testing.assert_allclose(law.entry_log_prob(x).numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(law.log_prob(x).numpy(), expected.sum(1), rtol=1e-10)


def test_an_impossible_level_has_no_mass_and_adds_no_entropy():
    law = iw.process.Masses(tensor([[[0.0, -math.inf, 0.0]]]), iw.process.Lattice(-1.0, 1.0, 3))
    assert float(law.entropy()) == pytest.approx(math.log(2))
    assert float(law.log_prob(tensor([[0.0]]))) == -math.inf
    assert float(law.mean) == 0
    drawn = iw.process.Masses(law.logits.expand(500, 1, 3), law.lattice).draw(torch.Generator().manual_seed(0))
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}


def draw_the_likeliest(self, generator):
    return self.lattice.values().to(self.logits)[self.logits.argmax(-1)]


def draw_with_gumbel_upside_down(self, generator):
    uniform = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64)
    return self.lattice.values().to(self.logits)[(self.logits + torch.log(-torch.log(uniform))).argmax(-1)]


@bug("always the likeliest level", iw.process.Masses, "draw", draw_the_likeliest, dtype=F64)
@bug("Gumbel noise upside down", iw.process.Masses, "draw", draw_with_gumbel_upside_down, dtype=F64)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_draws_of_levels_have_their_probabilities(dtype):
    n = 40_000
    masses = tensor([[0.1, 0.6, 0.05, 0.25], [0.4, 0.01, 0.29, 0.3]])
    lattice = iw.process.Lattice(0.0, 3.0, 4)
    drawn = iw.process.Masses(masses.log().to(dtype).expand(n, 2, 4), lattice).draw(torch.Generator().manual_seed(1))
    assert drawn.dtype == dtype
    for entry in range(2):
        counts = np.bincount(drawn[:, entry].long().numpy(), minlength=4)
        assert scipy.stats.chisquare(counts, n * masses[entry].numpy()).pvalue > 1e-4
    together = scipy.stats.contingency.crosstab(*drawn.long().T.numpy()).count
    assert scipy.stats.chi2_contingency(together).pvalue > 1e-4  # entries are independent


def test_a_uniform_number_next_to_one_is_not_rounded_to_one(monkeypatch):
    """In single precision it would be rounded, and with infinite Gumbel noise the unlikeliest level would win."""
    uniform = torch.full((1, 1, 3), 0.5, dtype=F64)
    uniform[..., 0] = 1 - 2.0**-53
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: uniform)
    law = iw.process.Masses(torch.tensor([[[-1e4, 0.0, -1e4]]]), iw.process.Lattice(-1.0, 1.0, 3))
    assert float(law.draw(torch.Generator())) == 0


# Mixtures of normal laws


def mixture(lattice=None, rows=1, seed=0):
    random = torch.Generator().manual_seed(seed)
    logits, means, spreads = (torch.randn(1, 2, 4, generator=random, dtype=F64) for _ in range(3))
    parts = (part.expand(rows, 2, 4) for part in (logits, means, (0.5 * spreads).exp()))
    return iw.process.NormalMixture(*parts, lattice)


def law_of(found):
    normals = torch.distributions.Normal(found.means, found.var.sqrt())
    return torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=found.logits), normals)


@bug("weights that sum to more than 1", torch.Tensor, "log_softmax", lambda self, dim: self)
def test_a_mixture_agrees_with_torch():
    found, x = mixture(), tensor([[0.3, -1.2]])
    torch.testing.assert_close(found.entry_log_prob(x), law_of(found).log_prob(x))
    torch.testing.assert_close(found.mean, law_of(found).mean)


def test_the_masses_of_a_mixture_are_differences_of_its_distribution_function():
    """The bins at the ends are open, so the masses sum to 1."""
    lattice = iw.process.Lattice(-2.0, 3.0, 11)
    values, found = lattice.values(), mixture().on(lattice)
    masses = torch.stack([found.entry_log_prob(value.expand(1, 2)) for value in values]).exp()
    edges = ((values[1:] + values[:-1]) / 2)[:, None, None].expand(10, 1, 2)
    below = torch.cat([torch.zeros(1, 1, 2), law_of(found).cdf(edges), torch.ones(1, 1, 2)])
    torch.testing.assert_close(masses, below.diff(dim=0))


def test_a_mixture_has_masses_for_integers_and_densities_beside_them():
    """The bin of an integer reaches half a spacing to either side."""
    x, reach = tensor([[0.3, -1.2]]), tensor([0.0, 0.25])
    found = mixture(iw.process.Bins(2 * reach)).entry_log_prob(x)
    density, mass = (
        law_of(mixture()).log_prob(x),
        (law_of(mixture()).cdf(x + reach) - law_of(mixture()).cdf(x - reach)).log(),
    )
    torch.testing.assert_close(found, torch.stack([density[:, 0], mass[:, 1]], 1))


@pytest.mark.parametrize("lattice", [None, iw.process.Lattice(-2.0, 3.0, 11)], ids=["density", "masses"])
def test_draws_of_a_mixture_have_its_distribution(lattice):
    found = mixture(lattice, rows=20000)
    drawn = found.draw(torch.Generator().manual_seed(1))
    for edge in (-1.25, 0.25, 1.75):  # edges of bins
        expected = law_of(mixture()).cdf(tensor(edge).expand(1, 2))[0]
        assert float(((drawn < edge).double().mean(0) - expected).abs().max()) < 4 * 0.5 / math.sqrt(20000)
    assert lattice is None or lattice.holds(drawn)
