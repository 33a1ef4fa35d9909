"""The network for integer data starts as the exact denoiser of independent entries."""

import math
from collections import Counter
from itertools import product

import pytest
import torch
from bugs import bug
from oracles import TERNARY, Straight, tensor
from torch import nn

import inkwash as iw
from inkwash.nn import levels
from inkwash.nn.levels import LevelHead, LevelNet, level_waves
from inkwash.nn.mlp import MLP
from inkwash.nn.unet import UNet

LATTICE = iw.process.Lattice(-1.0, 1.0, 4)
SHAPES = [(3,), (1, 4, 5), (3, 4, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
shapes_and_histograms = pytest.mark.parametrize(
    ("shape", "histogram"), [*((shape, False) for shape in SHAPES), *((shape, True) for shape in SHAPES[1:])], ids=str
)


def level_net(shape, outputs=4, features=5, seed=0, histogram=False):
    torch.manual_seed(seed)
    inputs, features_out = (shape[0] * width for width in LevelNet.widths(4, features, histogram))
    if len(shape) == 1:
        inner = MLP(inputs, 16, 2, outputs=features_out)
    else:
        inner = UNet(inputs, 8, (1,), 1, (False,), outputs=features_out)
    return LevelNet(inner, shape, LATTICE.values(), features, outputs, histogram)


def examples(shape, n, seed=0):
    """Level indices whose frequencies differ between entries; one level never occurs in the first entry."""
    random = torch.Generator().manual_seed(seed)
    index = torch.randint(4, (n, *shape), generator=random)
    first = (slice(None), *(0 for _ in shape))
    index[first] = index[first].clamp(max=2)
    return torch.minimum(index, torch.randint(4, shape, generator=random) + 1).clamp(max=3)


def moved(network, seed=1):
    """The network, moved away from its start so that every branch acts."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random)
    return network


def counted_without_prior(self, blocks):
    blocks, levels = list(blocks), range(self.log_prior.shape[-1])
    counts = torch.stack([sum((block == v).sum(0) for block in blocks) for v in levels], -1).double()
    self.log_prior.copy_((counts / counts.sum(-1, keepdim=True)).log())


@bug("frequencies without smoothing", LevelHead, "count", counted_without_prior, shape=(3, 4, 2))
@shapes
def test_frequencies_are_counted_for_each_entry_and_shrink_towards_the_pooled_ones(shape):
    """The expected values count one number after another; the pooled frequencies, plus one, weigh two examples."""
    index = examples(shape, 23)
    network = level_net(shape)
    network.head.count(iter(index.split(7)))
    pooled = Counter(index.flatten().tolist())
    prior = [(pooled[v] + 1) / (index.numel() + 4) for v in range(4)]
    for place in product(*map(range, shape)):
        counted = Counter(index[(slice(None), *place)].tolist())
        expected = [(counted[v] + 2 * prior[v]) / (23 + 2) for v in range(4)]
        assert network.head.log_prior[place].exp().tolist() == pytest.approx(expected, rel=1e-5)


def test_counting_again_starts_over():
    once, twice = level_net((3,)), level_net((3,))
    index = examples((3,), 9)
    once.head.count([index])
    twice.head.count([examples((3,), 50, seed=5)])
    twice.head.count([index])
    assert torch.equal(once.head.log_prior, twice.head.log_prior)


FORWARD = LevelHead.forward


def forward_without_the_log_prior(self, features, *own):
    output, levels = FORWARD(self, features, *own), self.log_prior.shape[-1]
    return torch.cat([output[..., :levels] - self.log_prior, output[..., levels:]], -1)


@bug("log-frequencies left out", LevelHead, "forward", forward_without_the_log_prior, shape=(3, 4, 2), log_snr=2.0)
@shapes_and_histograms
@pytest.mark.parametrize("log_snr", [-15.0, -1.0, 2.0, 12.0])
def test_at_the_start_it_is_the_exact_denoiser_of_independent_entries(shape, histogram, log_snr):
    """The expected value is Bayes' rule for each entry, in double precision."""
    index, schedule = examples(shape, 23), Straight()
    network = level_net(shape, histogram=histogram)
    network.head.count([index])
    t = schedule.time(log_snr)
    alpha, sigma, values = float(schedule.alpha(t)), float(schedule.sigma(t)), LATTICE.values()
    noise = torch.randn(index.shape, generator=torch.Generator().manual_seed(3))
    x_t = alpha * values[index].float() + sigma * noise
    estimate = iw.Denoiser(network, iw.Gaussian(schedule), iw.denoise.Levels(LATTICE), sees="log_snr")(x_t, t)
    likelihood = torch.distributions.Normal(alpha * values, sigma).log_prob(x_t.double()[..., None])
    posterior = (likelihood + network.head.log_prior.double()).softmax(-1)
    torch.testing.assert_close(estimate.x.double(), posterior @ values, rtol=0, atol=1e-4)


@shapes_and_histograms
@pytest.mark.parametrize("outputs", [4, 5])
def test_outputs_beyond_the_levels_are_passed_on_unchanged(shape, histogram, outputs):
    network = moved(level_net(shape, outputs, histogram=histogram))
    x_t, level = torch.randn(6, *shape), 5 * torch.randn(6)
    out = network(x_t, level)
    assert out.shape == (6, *shape, outputs)
    network.head.log_prior += 1.5
    torch.testing.assert_close(network(x_t, level)[..., :4], out[..., :4] + 1.5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(x_t, level)[..., 4:], out[..., 4:], rtol=1e-4, atol=1e-4)


def test_the_network_is_shown_the_posterior_of_each_entry():
    """Its inputs are expectations of sines and cosines of the level, given only that entry."""
    seen = []

    class Spy(nn.Module):
        def forward(self, h, level):
            seen.append(h)
            return torch.zeros(len(h), 2 * 5, *h.shape[2:])

    network = LevelNet(Spy(), (2, 1, 3), TERNARY.values(), 5, 3)
    network.head.count([torch.tensor([0, 1, 1, 2, 2, 2]).repeat(4).reshape(4, 2, 1, 3)])
    x_t, log_snr = torch.randn(3, 2, 1, 3), torch.tensor([-3.0, 1.0, 4.0])
    network(x_t, log_snr)
    alpha = log_snr.sigmoid().sqrt().double()
    values = TERNARY.values()
    h = seen[0].reshape(3, 2, 7, 1, 3)
    assert torch.equal(h[:, :, 0], x_t)
    for b, c, place in product(range(3), range(2), range(3)):
        y, prior = float(x_t[b, c, 0, place]), network.head.log_prior[c, 0, place].double()
        law = torch.distributions.Normal(alpha[b] * values, (1 - alpha[b] ** 2).sqrt())
        posterior = (law.log_prob(tensor(y)) + prior).softmax(-1)
        for k, wave in product(range(3), range(2)):
            angles = math.pi / 2 * (k + 1) * values
            expected = float(posterior @ (angles.sin() if wave == 0 else angles.cos()))
            assert float(h[b, c, 1 + 3 * wave + k, 0, place]) == pytest.approx(expected, abs=1e-4)


class HistogramSpy(nn.Module):
    """Keeps what it is given, and gives weights for the log-ratios only: 1, 2, 3, … in the order of its output."""

    def forward(self, h, level):
        self.seen = h
        weights = torch.arange(1.0, 1 + 2 * 2 * h[0, 0].numel()).reshape(2, 2, *h.shape[2:])
        features = torch.zeros(len(h), 2, 5, *h.shape[2:])
        return torch.cat([features, weights.expand(len(h), -1, -1, *h.shape[2:])], 2).flatten(1, 2)


def ratios_of_one_channel(posteriors, prior):
    """How often an example has each level beside how often it is usual, for both smoothings, in plain sums."""
    found, usual = (sum(each) / len(each) for each in (posteriors, prior))
    return [((found + k * usual) / ((1 + k) * usual)).log() for k in (0.1, 1.0)]


def without_smoothing(self, found, usual):
    return (found / usual).log()[..., None].expand(*found.shape, 2)


def over_all_channels(self, found, usual):
    return RATIOS(self, found.mean(1, keepdim=True).expand_as(found), usual)


RATIOS, LAST = LevelNet._log_ratios, torch.tensor([0, 0, 1])


@bug("levels that are counted without smoothing", LevelNet, "_log_ratios", without_smoothing)
@bug("levels that are counted over all channels", LevelNet, "_log_ratios", over_all_channels)
@bug("ratios that are not weighted", LevelHead, "forward", lambda self, h, own: FORWARD(self, h, own * LAST))
@bug("nothing in common", LevelHead, "forward", lambda self, h, own: FORWARD(self, h, own * (1 - LAST)))
def test_the_levels_of_an_example_are_compared_with_the_usual_ones():
    """The network sees the expected log-ratio of each entry, and weighs the ratios in its log-odds. Two layers, here a
    known matrix, add log-odds that depend on all ratios of the example."""
    network, mixing = LevelNet(HistogramSpy(), (2, 1, 3), TERNARY.values(), 5, 3, histogram=True), torch.randn(6, 12)
    network.common = nn.Linear(12, 6, bias=False)
    network.common.weight.data.copy_(mixing)
    network.head.count([torch.tensor([0, 1, 1, 2, 2, 2]).repeat(4).reshape(4, 2, 1, 3)])
    x_t, log_snr = torch.randn(3, 2, 1, 3), torch.tensor([-3.0, 1.0, 4.0])
    odds = network(x_t, log_snr)
    seen = network.network.seen.reshape(3, 2, 9, 3)
    alpha, values = log_snr.sigmoid().sqrt().double(), TERNARY.values()
    priors = network.head.log_prior[:, 0].double()
    for b in range(3):
        law = torch.distributions.Normal(alpha[b] * values, (1 - alpha[b] ** 2).sqrt())
        posteriors = [
            [(law.log_prob(tensor(x)) + p).softmax(-1) for x, p in zip(*each, strict=True)]
            for each in zip(x_t[b, :, 0].tolist(), priors, strict=True)
        ]
        ratios = [ratios_of_one_channel(*each) for each in zip(posteriors, priors.exp(), strict=True)]
        both = torch.stack([torch.stack(each, -1) for each in ratios])
        common = (mixing.double() @ both.flatten()).reshape(2, 3)
        for c, i in product(range(2), range(3)):
            expected = priors[c, i] + common[c]
            for k, ratio in enumerate(ratios[c]):
                assert float(seen[b, c, 7 + k, i]) == pytest.approx(float(posteriors[c][i] @ ratio), abs=1e-4)
                expected = expected + (1 + i + 3 * (k + 2 * c)) * ratio
            torch.testing.assert_close(odds[b, c, 0, i].double(), expected, rtol=1e-4, atol=1e-3)


def test_nothing_is_unusual_where_no_signal_is_left():
    network = LevelNet(HistogramSpy(), (2, 1, 3), TERNARY.values(), 5, 3, histogram=True)
    network.head.count([torch.tensor([0, 1, 1, 2, 2, 2]).repeat(4).reshape(4, 2, 1, 3)])
    odds = network(torch.randn(3, 2, 1, 3), torch.full((3,), -30.0))
    torch.testing.assert_close(odds, network.head.log_prior.expand_as(odds), rtol=0, atol=1e-4)


@pytest.mark.parametrize("levels", [4, 17, 256])
def test_waves_tell_neighbouring_levels_apart(levels):
    waves = level_waves(levels)
    assert len(waves) == levels
    assert float(waves.diff(dim=0).abs().amax(1).min()) == 2
    assert float((waves[:, None] - waves).abs().amax(-1).fill_diagonal_(2).min()) > 0.5


@shapes_and_histograms
def test_no_examples_are_no_rows(shape, histogram):
    network = level_net(shape, histogram=histogram)
    out = network(torch.zeros(0, *shape), torch.zeros(0))
    assert out.shape == (0, *shape, 4)
    out.sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in network.parameters())


@shapes_and_histograms
def test_examples_do_not_mix_and_every_weight_matters(shape, histogram):
    network = moved(level_net(shape, histogram=histogram)).eval()
    x_t, level = torch.randn(5, *shape), 3 * torch.randn(5)
    together = network(x_t, level)
    separate = torch.cat([network(x_t[i : i + 1], level[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, separate, rtol=1e-4, atol=1e-4)
    together.square().sum().backward()
    assert all(bool(p.grad.any()) for p in network.parameters())


def test_the_features_start_as_coefficients_of_cosines_of_the_level():
    head = LevelNet(nn.Identity(), (1,), torch.linspace(-1, 1, 9), 8, 9).head.linear.weight
    place = torch.linspace(0, 1, 9)
    for k in range(1, 9):
        torch.testing.assert_close(head[:, k - 1], torch.cos(math.pi * k * place) / math.sqrt(k), rtol=0, atol=1e-5)


def all_at_the_first(*columns, strict):
    parts, *times = columns
    if times and times[0][0].ndim == 1:
        return [(part, times[0][0][:1].expand(len(part))) for part in parts]
    return zip(*columns, strict=strict)


@bug("all parts have the level of the first", levels, "zip", all_at_the_first)
@pytest.mark.parametrize("histogram", [False, True])
def test_examples_in_parts_are_those_one_by_one(monkeypatch, histogram):
    net, log_snr = moved(level_net((1, 3, 3), histogram=histogram)), torch.linspace(-4, 9, 7)
    x_t = examples((1, 3, 3), 7).float()
    alone = torch.cat([net(x_t[i : i + 1], log_snr[i : i + 1]) for i in range(7)])
    for rows in (2, 7):
        monkeypatch.setattr(levels, "_CACHED", rows * net.head.log_prior.numel())
        assert torch.allclose(net(x_t, log_snr), alone, rtol=0, atol=1e-5)
