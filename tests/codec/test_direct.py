"""The direct scheme: the bits of independent levels are those of their probabilities, and none beat the entropy."""

import math

import pytest
import torch
from bugs import bug
from oracles import APART, LINE, TERNARY, TOGETHER, exact_denoiser

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import generator

pytest.importorskip("constriction", reason="the codec needs the extra compress")

from inkwash.codec import Cells, direct as module, scheme_of
from inkwash.codec.chain import Chain
from inkwash.codec.direct import Direct


def scheme(data, turns=2, most=4096):
    denoiser = data.denoiser(iw.LogLinearSchedule())
    cells = Cells.of_lattice(TERNARY, (2,))
    chain = Chain(denoiser, iw.uniform_grid(5), TERNARY, cells, (2,), torch.device("cpu"))
    return Direct(chain, denoiser.process, TERNARY, 7, turns, most, sureness=1.0)


def drawn(data, count):
    return data.index[torch.multinomial(data.log_probs.exp(), count, True, generator=generator(0))]


def forgetful(self, law, offset, cell, now):
    place = torch.arange(self.lattice.levels) * module.FINE + offset[..., None]
    return (law * (place.div(module.FINE << now, rounding_mode="floor") & 1)).sum(-1)


def seen_twice(estimate):
    return 2 * estimate.level_logits.double()


@bug("cells that forget what they were halved from", Direct, "_upper", forgetful)
@bug("the noisy value of an entry counted beside its cell", module, "level_logits", seen_twice)
@pytest.mark.parametrize("turns", [1, 2])
def test_independent_levels_take_the_bits_of_their_probabilities(turns):
    examples = drawn(APART, 4000)
    expected = -float(APART.log_probs[3 * examples[:, 0] + examples[:, 1]].sum()) / math.log(2)
    data = scheme(APART, turns).encode(examples)
    assert 8 * len(data) == pytest.approx(expected, abs=40)


def test_no_bits_beat_the_entropy_and_dependence_is_used():
    """Levels that depend on each other take at least their entropy, and less than if each were alone."""
    examples, joint = drawn(TOGETHER, 4000), TOGETHER.log_probs.exp().reshape(3, 3)
    bits = 8 * len(scheme(TOGETHER).encode(examples)) / len(examples)
    alone = sum(float(torch.special.entr(joint.sum(axis)).sum()) for axis in (0, 1)) / math.log(2)
    entropy = TOGETHER.entropy() / math.log(2)
    assert entropy - 0.05 < bits < (entropy + alone) / 2


@bug("cells that forget what they were halved from", module, "_cell", lambda place, width, finest: place >> (width + 9))
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_examples_come_back(turns):
    examples = drawn(TOGETHER, 50)
    found = scheme(TOGETHER, turns, most=16)
    assert torch.equal(found.decode(found.encode(examples), 50), examples)


def test_bits_that_are_left_over_are_noticed():
    found = scheme(TOGETHER)
    with pytest.raises(DataError, match="left over"):
        found.decode(found.encode(drawn(TOGETHER, 50)), 40)


def test_a_network_without_levels_is_refused():
    model = iw.Diffusion(exact_denoiser(LINE, iw.CosineSchedule()), shape=(1,))
    cells = Cells(torch.tensor([0]), torch.tensor([9]), lambda index: index)
    with pytest.raises(ConfigError, match="mode: got direct, need bits-back"):
        scheme_of(model, "direct", cells=cells)
