"""Products of bits, against sums over their states."""

from dataclasses import replace
from unittest import mock

import pytest
import torch
from bugs import bug
from oracles import (
    F64,
    FOUR_BITS,
    BitData,
    exact_bit_denoiser,
    name_of,
    tensor,
)
from products import LINEAR

import inkwash as iw
from inkwash.core.randomness import Slots
from inkwash.model import diffusion as diffusion
from inkwash.model.product import gathered
from inkwash.posterior import entrywise as bits, smc

APART = BitData(
    [0.2 * 0.9 * 0.5, 0.2 * 0.9 * 0.5, 0.2 * 0.1 * 0.5, 0.2 * 0.1 * 0.5] + [0.8 * p for p in (0.45, 0.45, 0.05, 0.05)]
)
ONE_NOISY = iw.Measurement(tensor([[0.0, 1.0, 0.0]]), tensor([0.8]), 0.7)
TILTING = iw.Classifier(lambda x: x @ tensor([1.3, 0.0, -0.6]).to(x))


def bit_model(data, schedule=LINEAR, rate=0.3):
    return iw.Diffusion(exact_bit_denoiser(data, schedule, rate), (data.size,), dtype=F64)


@bug(
    "bits tilted the wrong way",
    bits.Tilted,
    "of",
    lambda self, estimate: replace(estimate, logits=estimate.logits - self.h.to(estimate.logits)),
    t=0.5,
)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_entrywise_products_of_independent_bits_are_exact(t):
    """Tilted, measured and known bits: the log-odds given any noisy state, against those of the multiplied law."""
    noise = torch.distributions.Normal(tensor(0.8), tensor(0.7)).log_prob(APART.states[:, 1])
    r = (noise + APART.states @ tensor([1.3, 0.0, -0.6])).exp() * (APART.states[:, 2] == 1)
    truth = exact_bit_denoiser(BitData((APART.probabilities * r).tolist()), LINEAR, 0.3)
    model = bit_model(APART)
    factors = (ONE_NOISY * TILTING * iw.Observed([False, False, True], 1.0)).parts
    walker = iw.posterior.Entrywise().compose(model.denoiser, gathered(model.units, factors), iw.Ancestral())
    got, expected = walker.denoiser(APART.states, t), truth(APART.states, t)
    torch.testing.assert_close(got.logits[:, :2], expected.logits[:, :2], rtol=1e-9, atol=1e-9)
    assert bool((got.logits[:, 2] == torch.inf).all())


def test_a_step_of_bits_is_multiplied_bit_by_bit():
    model, (t, s) = bit_model(APART), tensor([0.5, 0.4])
    walker = iw.posterior.StepProduct().compose(
        model.denoiser, gathered(model.units, (ONE_NOISY * TILTING).parts), iw.Ancestral()
    )
    with mock.patch.object(iw.process.Bits, "draw", lambda self, generator: self.logits):
        got = walker.sampler.step(model.denoiser, APART.states, t, s, torch.Generator())
    plain = model.process.reverse(APART.states, model.denoiser(APART.states, t), s, t).logits
    noise = torch.distributions.Normal(tensor(0.8), tensor(0.7)).log_prob(tensor([0.0, 1.0]))
    torch.testing.assert_close(got - plain, tensor([1.3, float(noise.diff()), -0.6]).expand(8, 3))


def parity(x):
    """A factor that no bit has to itself."""
    return -2.0 * (x.sum(1) - 2) ** 2


BIT_FACTORS = {
    "known": (iw.Observed([True, False, False, True], [1, 0, 0, 0]), lambda x: ((x[:, 0] == 1) & (x[:, 3] == 0)).log()),
    "measured": (
        iw.Measurement(torch.eye(4)[1:3], [0.9, 0.2], 0.5),
        lambda x: -2 * ((x[:, 1] - 0.9) ** 2 + (x[:, 2] - 0.2) ** 2),
    ),
    "tied": (iw.Classifier(parity), parity),
}


@bug(
    "last weighing of bits forgotten",
    smc,
    "beyond",
    lambda evidence, h, x: torch.zeros(len(x), dtype=torch.float64),
    factor="tied",
)
@pytest.mark.parametrize("factor", BIT_FACTORS)
def test_populations_of_bits_are_as_enumeration_says(factor, monkeypatch):
    """Within the error of a thousand draws and the grid's own, and far from the law without the factor."""
    monkeypatch.setattr(Slots, "rows", 1024)
    given, log_r = BIT_FACTORS[factor]
    expected = FOUR_BITS.probabilities * log_r(FOUR_BITS.states).double().exp()
    x = (bit_model(FOUR_BITS) * given).sample(1024, seed=2, steps=60)
    place = (x @ tensor([8.0, 4.0, 2.0, 1.0])).long()
    found = torch.bincount(place, minlength=16).double() / 1024
    assert float((found - expected / expected.sum()).abs().max()) < 0.06
    assert float((found - FOUR_BITS.probabilities).abs().max()) > 0.08


@pytest.mark.parametrize(
    "method", [iw.RePaint(2, 2), iw.posterior.StepProduct(), iw.posterior.Entrywise(), iw.SMC()], ids=name_of
)
def test_known_bits_stay_known(method, few_rows):
    x = (bit_model(FOUR_BITS) * BIT_FACTORS["known"][0]).sample(20, seed=0, steps=10, method=method)
    assert x[:, [0, 3]].tolist() == [[1.0, 0.0]] * 20
    assert set(x.flatten().tolist()) == {0.0, 1.0}
