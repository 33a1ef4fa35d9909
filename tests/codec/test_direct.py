"""The direct scheme: the bits of independent levels are those of their probabilities, and none beat the entropy."""

import math
from dataclasses import replace

import pytest
import torch
from bugs import bug
from oracles import APART, LINE, TERNARY, TOGETHER, exact_denoiser

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import generator

pytest.importorskip("constriction", reason="the codec needs the extra compress")

from inkwash.codec import Cells, direct as module, scheme_of
from inkwash.codec.bits_back import probe
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


@bug("turns at random", module, "far_apart", lambda shape, random: torch.rand(shape, generator=random))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (2, 40)], ids=str)
def test_neighbours_have_turns_of_their_own(shape):
    """In four turns, no entry has that of the next in its row or column, of one aslant, or of its other colours."""
    turn = (module.far_apart(shape, generator(0)) * 4).long()
    pairs = [(turn[:, 1:], turn[:, :-1]), (turn[..., 1:], turn[..., :-1]), (turn[1:], turn[:-1])]
    pairs += [(turn[:, 1:, 1:], turn[:, :-1, :-1]), (turn[:, 1:, :-1], turn[:, :-1, 1:])] if len(shape) == 3 else []
    assert not any(bool((one == other).any()) for one, other in pairs)


def middles(self, law, within, noise):
    level = torch.arange(self.lattice.levels, dtype=torch.float64)
    return torch.where(within > 0, level, torch.nan).nanmean(-1)


@bug("the middle of the levels whatever the law", Direct, "_worth", middles)
def test_what_a_cell_is_worth():
    """A cell that cuts no level that may be says nothing, whatever its place; a narrow one in a wide flat law says its
    middle; and one that excludes the likelier of two levels says so by more than that."""
    lattice = iw.process.Lattice(-1.0, 1.0, 201)
    found = Direct(scheme(TOGETHER).chain, scheme(TOGETHER).process, lattice, 0, 1, 1)
    law, flat = torch.zeros(201, dtype=torch.float64), torch.full((201,), 1 / 201, dtype=torch.float64)
    law[0], law[200] = 0.75, 0.25
    narrow, upper = torch.zeros_like(law), torch.zeros_like(law)
    narrow[98:103], upper[200] = 0.2, 1.0
    assert float(found._worth(law, law, 400.0)) == pytest.approx(50)
    assert float(found._worth(flat, narrow, 1.0)) == pytest.approx(100, abs=0.1)
    assert float(found._worth(law, upper, 400.0)) > 1000


def test_the_size_of_a_batch_costs_nothing():
    """Whatever is evaluated together, the bits are those of the same probabilities."""
    examples = drawn(TOGETHER, 60)
    sizes = [len(scheme(TOGETHER, most=most).encode(examples)) for most in (1, 7, 60)]
    assert max(sizes) - min(sizes) <= 4


@bug("the probe sees the network alone", module, "probe", lambda chain, *own: probe(chain))
def test_the_probe_sees_what_else_both_ends_need_alike():
    """Whatever changes the bytes and stands in no header, so that such a file is refused before it is decoded."""
    found, examples = scheme(TOGETHER), drawn(TOGETHER, 60)
    for field, other in {"turns": 3, "finest": 512, "sureness": 0.7}.items():
        changed = replace(found, **{field: other})
        assert changed.encode(examples) != found.encode(examples)
        assert changed.probe != found.probe
    assert replace(found, most=7).probe != found.probe


def test_bits_that_are_left_over_are_noticed():
    found = scheme(TOGETHER)
    with pytest.raises(DataError, match="left over"):
        found.decode(found.encode(drawn(TOGETHER, 50)), 40)


def test_a_network_without_levels_is_refused():
    model = iw.Diffusion(exact_denoiser(LINE, iw.CosineSchedule()), shape=(1,))
    cells = Cells(torch.tensor([0]), torch.tensor([9]), lambda index: index)
    with pytest.raises(ConfigError, match="mode: got direct, need bits-back"):
        scheme_of(model, "direct", cells=cells)
