"""Encodings are remembered, and have the same bits in whichever batch an example is met."""

import numpy as np
import pytest
import torch
from bugs import bug

from inkwash.model import build_autoencoder
from inkwash.nn import AutoencoderOptions
from inkwash.training import encodings
from inkwash.training.encodings import Encodings

EXAMPLES = torch.rand(40, 1, 6, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return build_autoencoder(AutoencoderOptions(3, 2, 16), (1, 6, 5))


@pytest.fixture
def seen(autoencoder, monkeypatch):
    """How many examples the encoder is given, in each call."""
    counts, encoding = [], autoencoder.encoding
    monkeypatch.setattr(autoencoder, "encoding", lambda x: counts.append(len(x)) or encoding(x))
    return counts


def of(memory, autoencoder, *places):
    return memory.of(autoencoder, np.array(places), EXAMPLES[list(places)])


@bug("changed", encodings, "islice", lambda items, room: [(place, -law) for place, law in items])
def test_the_same_law_comes_of_an_example_in_any_batch_and_of_the_encoder_itself(autoencoder):
    memory, law = Encodings(), autoencoder.encoding(EXAMPLES)
    for places in ([3, 1, 4], [1, 5, 9, 2], range(40), [7]):
        found = of(memory, autoencoder, *places)
        torch.testing.assert_close(found.mean, law.mean[list(places)])
        torch.testing.assert_close(found.var, law.var[list(places)])
        alone = of(Encodings(), autoencoder, *places)
        assert torch.equal(found.mean, alone.mean)
        assert torch.equal(found.var, alone.var)


def test_an_example_is_encoded_once_until_all_is_forgotten(autoencoder, seen):
    memory = Encodings()
    of(memory, autoencoder, 0, 1, 2)
    first = sum(seen)
    of(memory, autoencoder, 2, 0)
    assert sum(seen) == first
    of(memory, autoencoder, 2, 3)
    assert sum(seen) == 2 * first  # one slot each
    memory.forget()
    of(memory, autoencoder, 0)
    assert sum(seen) == 3 * first


def test_what_does_not_fit_is_encoded_each_time(autoencoder, seen):
    each = 2 * 3 * 3 * 3 * 4
    memory = Encodings(most_bytes=2 * each + 1)
    of(memory, autoencoder, 0, 1, 2)
    seen.clear()
    of(memory, autoencoder, 0, 1)
    assert not seen
    of(memory, autoencoder, 2)
    assert seen
