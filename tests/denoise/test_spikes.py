"""Numbers that recur: Bayes' rule by brute force, the bound against the entropy, samples and flow."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from oracles import F64, tensor
from spiked import MEAN, SHARE, STD, model_of, network_of, prediction, rows, true_log_prob

import inkwash as iw
from inkwash.denoise.prediction import X
from inkwash.denoise.spikes import Spiked
from inkwash.process.distributions import Normal
from inkwash.process.gaussian import Gaussian
from inkwash.process.spike_slab import SpikeSlab

PROCESS = iw.Gaussian(iw.LogLinearSchedule(400, 9.2))


def without_noise(self, output, noisy):
    prior = torch.cat([self.log_prior[None, :, :-1], self.log_prior[None, :, -1:]], -1)
    return prior.expand(len(output), -1, -1).to(output)


@bug("no Bayes' rule", Spiked, "_logits", without_noise)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.8])
def test_estimates_are_those_of_bayes_rule_by_quadrature(t):
    """Over a grid of clean numbers: weights of prior and noise, without any formula of normal laws."""
    x_t = tensor([-1.2, -0.1, 0.02, 0.4, 2.0])
    alpha, sigma = float(PROCESS.schedule.alpha(t)), float(PROCESS.schedule.sigma(t))
    grid = np.linspace(MEAN - 9 * STD, MEAN + 9 * STD, 200_001)
    other = (1 - SHARE) * scipy.stats.norm(MEAN, STD).pdf(grid) * (grid[1] - grid[0])
    found = iw.Denoiser(network_of(PROCESS.schedule), PROCESS, prediction(), "large")(x_t[:, None], t)
    shares = found.spiked.logits.softmax(-1)[:, 0, 0]
    for i, noisy in enumerate(x_t.tolist()):
        seen, at_zero = (scipy.stats.norm(alpha * x, sigma).pdf(noisy) for x in (grid, 0.0))
        total = (other * seen).sum() + SHARE * at_zero
        assert float(shares[i]) == pytest.approx(SHARE * at_zero / total, rel=1e-5, abs=1e-12)
        assert float(found.x[i]) == pytest.approx((other * seen * grid).sum() / total, rel=1e-5, abs=1e-9)


@bug("a density alone", Gaussian, "decoder", lambda self, x_t, found, *of: Normal(found.x, found.spiked.slab.var))
def test_the_bound_is_the_entropy_but_for_little():
    """The exact model: its bound is above the truth, by no more than the large variance and the last noise cost."""
    x = rows(2000)
    gap = model_of().bound(x, terms=20, seed=0).total + true_log_prob(x)
    error = float(gap.std()) / len(x) ** 0.5
    assert -4 * error < float(gap.mean()) < 0.05 + 4 * error


@pytest.mark.parametrize("odds", [-3.0, 2.0])
def test_the_bound_of_a_wrong_model_is_above_the_entropy(odds):
    x = rows(1000)
    gap = model_of(odds).bound(x, terms=20, seed=0).total + true_log_prob(x)
    assert float(gap.mean()) > 4 * float(gap.std()) / len(x) ** 0.5


@bug("no draw", SpikeSlab, "last_draw", lambda self, random: self.mean, sampler=iw.Ancestral())
@pytest.mark.parametrize("sampler", [iw.Ancestral(), iw.DDIM()])
def test_samples_are_zero_as_often_as_the_data(sampler):
    """Where the sampler has no last draw, samples lie within what `to_data` moves to zero."""
    count = 2000
    x = model_of().sample(count, steps=80, sampler=sampler, seed=0)[:, 0]
    zero = x.abs() <= (0 if isinstance(sampler, iw.Ancestral) else 1e-3)
    assert float(zero.double().mean()) == pytest.approx(SHARE, abs=4 * math.sqrt(SHARE * (1 - SHARE) / count) + 0.01)
    others = x[~zero]
    assert float(others.mean()) == pytest.approx(MEAN, abs=5 * STD / len(others) ** 0.5)
    assert float(others.std()) == pytest.approx(STD, rel=0.12)


def test_the_flow_gives_a_bound_on_the_truth():
    x = rows(30)
    gap = model_of().log_prob(x, seed=0).value - true_log_prob(x)
    assert -0.15 < float(gap.mean()) < 0.1


@bug("other numbers among the spikes", Spiked, "fit", lambda self, values, blocks: None)
def test_what_is_fitted_is_how_often_spikes_occur_and_where_the_others_lie():
    x = torch.cat([rows(4000), 5 + torch.randn(4000, 1, dtype=F64, generator=torch.Generator().manual_seed(1))], 1)
    x[::7, 0] = torch.nan
    found = Spiked(X(), (1, 0))
    found.fit([tensor([0.0]), tensor([])], x.split(1000))
    assert found.log_prior[0].exp().tolist() == pytest.approx([SHARE, 1 - SHARE], abs=0.03)
    assert (float(found.centre[0]), float(found.width[0])) == pytest.approx((MEAN, STD), abs=0.1)
    guess = iw.Denoiser(lambda x_t, t: torch.zeros(len(x_t), 4), PROCESS, found)(torch.randn(3, 2), 0.5)
    assert bool((guess.spiked.logits.softmax(-1)[:, 1, -1] == 1).all())
