"""The law of numbers some of which recur: it is a law, draws follow it, and conditions cut it as they should."""

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from oracles import F64, tensor

from inkwash.process import spike_slab
from inkwash.process.distributions import Bins, Normal
from inkwash.process.spike_slab import SpikeSlab

LOGITS, VALUES = tensor([[[0.3, 0.9, -0.2]]]), tensor([[-1.0, 2.0]])
SHARE = LOGITS.softmax(-1).flatten()
MEAN, STD = 0.4, 1.3


def law(lattice=None, count=1):
    """The law of `count` rows of one entry each."""
    normal = Normal(torch.full((count, 1), MEAN, dtype=F64), tensor(STD**2))
    return SpikeSlab(LOGITS.expand(count, 1, 3), VALUES, normal).decoding(normal, lattice)


def test_probabilities_of_spikes_and_the_density_of_others_make_one():
    grid = torch.linspace(-12, 12, 20_000, dtype=F64)[:, None]
    density = law(count=len(grid)).entry_log_prob(grid).exp()[:, 0]
    spikes = law(count=2).entry_log_prob(tensor([[-1.0], [2.0]])).exp().flatten()
    torch.testing.assert_close(spikes, SHARE[:2])
    assert float(torch.trapezoid(density, grid[:, 0]) + spikes.sum()) == pytest.approx(1, abs=1e-6)


@bug("the mass of the slab left out at a spike", torch, "logaddexp", lambda spike, slab: spike)
def test_masses_of_integers_make_one():
    integers = torch.arange(-30.0, 31.0, dtype=F64)[:, None]
    masses = law(Bins(tensor([1.0])), 61).entry_log_prob(integers).exp()
    assert float(masses.sum()) == pytest.approx(1, abs=1e-12)
    bin_of = scipy.stats.norm(MEAN, STD).cdf(2.5) - scipy.stats.norm(MEAN, STD).cdf(1.5)
    assert float(masses[32]) == pytest.approx(float(SHARE[1] + SHARE[2] * bin_of), abs=1e-12)


@bug("no spike is drawn", SpikeSlab, "_picked", lambda self, k, others: others)
def test_draws_have_the_shares_and_the_moments():
    count = 20_000
    drawn = law(count=count).draw(torch.Generator().manual_seed(0))[:, 0]
    for value, share in zip(VALUES[0], SHARE, strict=False):
        error = float((share * (1 - share) / count).sqrt())
        assert float((drawn == value).double().mean()) == pytest.approx(float(share), abs=4 * error)
    others = drawn[~torch.isin(drawn, VALUES)]
    assert scipy.stats.kstest(others.numpy(), scipy.stats.norm(MEAN, STD).cdf).pvalue > 1e-3
    assert float(drawn.mean()) == pytest.approx(float(law().mean), abs=4 * float(drawn.std()) / count**0.5)


@bug(
    "spikes outside of the ends are kept",
    SpikeSlab,
    "index",
    lambda self, x: torch.zeros(x.shape, dtype=torch.int64),
    low=-0.5,
)
@pytest.mark.parametrize(("low", "high"), [(-0.5, 9.0), (-1.0, 1.5), (-np.inf, np.inf), (2.5, 3.0)])
def test_within_ends_it_is_that_of_the_draws_that_lie_there(low, high):
    count = 40_000
    drawn = law(count=count).draw(torch.Generator().manual_seed(1))[:, 0]
    inside = drawn[(drawn >= low) & (drawn <= high)]
    found, log_mass = law(count=2).within(tensor([low]), tensor([high]))
    share = len(inside) / count
    assert float(log_mass[0].exp()) == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5 + 1e-12)
    assert float(found.mean[0]) == pytest.approx(float(inside.mean()), abs=5 * float(inside.std()) / len(inside) ** 0.5)
    at_spikes = found.entry_log_prob(VALUES.T).exp().flatten()
    for i, value in enumerate(VALUES[0]):
        if low <= value <= high:
            assert float(at_spikes[i]) == pytest.approx(float((inside == value).double().mean()), abs=0.02)


@bug("spikes without tolerance", spike_slab, "_ROUNDING", -1.0)
def test_numbers_that_float32_rounded_are_the_same():
    values = tensor([[0.1, 1 / 3, 1234.567]])
    rounded = values.float().double()
    assert bool(torch.diagonal(spike_slab.same_number(rounded[0], values[0])).all())
    assert not bool(spike_slab.same_number(values[0] * (1 + 1e-5), values[0][:, None]).any())


def test_rows_of_a_law_are_the_laws_of_rows():
    logits = torch.randn(5, 1, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    means = torch.arange(5.0, dtype=F64)[:, None]
    every, some = SpikeSlab(logits, VALUES, Normal(means, means + 1)), torch.tensor([3, 1, 1])
    x = tensor([[0.3]]).expand(5, 1)
    torch.testing.assert_close(every.rows(some).log_prob(x[:3]), every.log_prob(x)[some])


@bug("the odds of the slab left out", torch.Tensor, "masked_fill", lambda self, mask, value: 0 * self)
def test_entropy_and_divergence_are_means_over_draws():
    count = 20_000
    one = law(count=count)
    other = SpikeSlab(one.logits.flip(-1), VALUES, Normal(one.slab.mean - 0.3, tensor(1.0)))
    x = one.draw(torch.Generator().manual_seed(3))
    log_prob, log_other = one.log_prob(x), other.log_prob(x)
    for draws, value in ((-log_prob, one.entropy()[0]), (log_prob - log_other, one.kl(other)[0])):
        assert float(draws.mean()) == pytest.approx(float(value), abs=4 * float(draws.std()) / count**0.5)
