"""The network for many levels starts as the exact denoiser of independent entries, each of its fitted mixture."""

import numpy as np
import pytest
import torch
from bugs import bug
from oracles import Straight
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

import inkwash as iw
from inkwash.nn.levels import MixtureNet
from inkwash.nn.mlp import MLP

K = MixtureNet.COMPONENTS
TRUTH = MixtureSameFamily(
    Categorical(torch.tensor([0.6, 0.4])), Normal(torch.tensor([-0.5, 1.0]), torch.tensor([0.02, 1.0]))
)


def net(shape=(3,), features=5, spread=False, seed=0):
    torch.manual_seed(seed)
    inner = MLP(shape[0] * MixtureNet.inputs_per_channel(), 16, 2, outputs=shape[0] * features)
    return MixtureNet(inner, shape, features, spread)


def examples(n=4000, seed=0):
    """Draws from a narrow peak and a broad one."""
    random = torch.Generator().manual_seed(seed)
    narrow, broad = (std * torch.randn(n, 3, generator=random) + mean for std, mean in ((0.02, -0.5), (1.0, 1.0)))
    return torch.where(torch.rand(n, 3, generator=random) < 0.6, narrow, broad)


def fitted(**options):
    network = net(**options)
    network.fit(lambda: examples().split(999), 1e-3)
    return network


def test_components_are_densest_where_the_data_is():
    """Of uniform data they are equally far apart. Where data has the density p, the share of the components below a
    point is that of the integral of the cube root of p, from the least of the data to the largest."""
    even = net()
    even.fit(lambda: [torch.linspace(0, 1, 3000).reshape(-1, 3)], 1e-4)
    torch.testing.assert_close(even.centres, torch.linspace(0, 1, K), rtol=0, atol=1e-3)
    data = examples()
    grid = torch.linspace(float(data.min()), float(data.max()), 40001)
    below = TRUTH.log_prob(grid).div(3).exp().cumsum(0)
    for point in (-1.0, -0.56, -0.44, 0.0, 1.0, 2.0):
        expected = below[torch.searchsorted(grid, point)] / below[-1]
        assert float((fitted().centres < point).float().mean()) == pytest.approx(float(expected), abs=3 / K)


def far_too_wide(self, blocks, spacing):
    FIT(self, blocks, spacing)
    self.widths.mul_(20)


FIT = MixtureNet.fit


@bug("widths of many gaps", MixtureNet, "fit", far_too_wide)
def test_the_fitted_mixture_is_the_density_of_each_entry():
    """It costs less than a quarter of what the best normal law costs more than the law that the data was drawn from."""
    network, fresh = fitted(), examples(seed=1)
    law = MixtureSameFamily(Categorical(logits=network.head.log_prior), Normal(network.centres, network.widths))
    best = Normal(examples().mean(0), examples().std(0))
    found, usual = (float((TRUTH.log_prob(fresh) - each.log_prob(fresh)).mean()) for each in (law, best))
    assert 0 < found < usual / 4


def quadrature(law, x_t, alpha, sigma):
    """E[x | x_t] of a law for every entry, on a fine grid."""
    grid = torch.linspace(-6, 8, 40001, dtype=torch.float64)
    log = law.log_prob(grid) - 0.5 * ((x_t.double() - alpha * grid) / sigma) ** 2
    weights = (log - log.max()).exp()
    return float((weights * grid).sum() / weights.sum())


READ = iw.denoise.Mixture.read


def without_widths(self, output, noisy):
    logits, means, log_widths = output.chunk(3, -1)
    return READ(self, torch.cat([logits, means, log_widths - 9], -1), noisy)


@torch.no_grad()
@bug("points in place of laws", iw.denoise.Mixture, "read", without_widths, log_snr=2.0)
@pytest.mark.parametrize("log_snr", [-6.0, 2.0, 10.0])
def test_at_the_start_it_is_the_exact_denoiser_of_independent_entries(log_snr):
    network, schedule = fitted(), Straight()
    t = schedule.time(log_snr)
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    x_t = alpha * examples(2, 5) + sigma * torch.randn(2, 3, generator=torch.Generator().manual_seed(3))
    estimate = iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Mixture(), sees="log_snr")(x_t, t)
    for entry in range(3):
        parts = Normal(network.centres.double(), network.widths.double())
        law = MixtureSameFamily(Categorical(logits=network.head.log_prior[entry].double()), parts)
        for row in range(2):
            expected = quadrature(law, x_t[row, entry], alpha, sigma)
            assert float(estimate.x[row, entry]) == pytest.approx(expected, abs=2e-3 * max(sigma / alpha, 0.02))
    torch.testing.assert_close(alpha * estimate.x + sigma * estimate.eps, x_t, rtol=1e-4, atol=1e-4)


def test_moves_and_stretches_are_in_units_of_the_widths():
    class Ones(nn.Module):
        def forward(self, h, level):
            return torch.ones(len(h), 3 * 5)

    network = fitted()
    network.network = Ones()
    with torch.no_grad():
        network.head.linear.weight[K : 2 * K] = 2 / 5
        network.head.linear.weight[2 * K :] = np.log(3) / 5
    _, means, log_widths = network(torch.zeros(2, 3), torch.zeros(2)).chunk(3, -1)
    torch.testing.assert_close(means, (network.centres + 2 * network.widths).expand_as(means))
    torch.testing.assert_close(log_widths.exp(), (3 * network.widths).expand_as(means))


def test_the_spread_comes_last():
    network = fitted(spread=True)
    denoiser = iw.Denoiser(network, iw.Gaussian(iw.CosineSchedule()), iw.denoise.Mixture(), "learned", "log_snr")
    output = network(torch.zeros(2, 3), torch.zeros(2))
    assert torch.equal(denoiser(torch.zeros(2, 3), 0.5).spread.isfinite(), torch.ones(2, 3, dtype=torch.bool))
    assert output.shape == (2, 3, 3 * K + 1)
