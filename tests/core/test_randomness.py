"""Randomness as a pure function of its key: repeatable, distinct, and independent across keys."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings, strategies as st

from inkwash.core.randomness import Purpose, Slots, derived_seed, fresh_seed, generator

SEEDS = st.one_of(st.integers(0, 20), st.integers(0, 2**64))
KEYS = st.tuples(SEEDS, st.sampled_from(list(Purpose)), st.integers(0, 2000))


@given(KEYS)
def test_a_key_always_gives_the_same_numbers(key):
    assert torch.equal(torch.rand(3, generator=generator(*key)), torch.rand(3, generator=generator(*key)))


@given(KEYS, KEYS)
@settings(max_examples=300)
def test_no_two_keys_share_a_seed(first, second):
    assert (first == second) == (derived_seed(*first) == derived_seed(*second))


def test_a_large_seed_does_not_repeat_the_numbers_of_a_small_one():
    """2^32 k + j must not read as the seed j with the purpose k."""
    small = derived_seed(7, Purpose.BOUND, Purpose.SAMPLE)
    large = derived_seed(7 + 2**32 * Purpose.BOUND, Purpose.SAMPLE)
    assert small != large


def test_a_longer_key_is_another_key():
    """Evaluating derives a seed by purpose alone; the first training step, slot or epoch adds a zero."""
    for purpose in Purpose:
        assert derived_seed(7, purpose) != derived_seed(7, purpose, 0)


def test_seeds_fill_their_range_evenly():
    seeds = np.array([derived_seed(s, p, n) for s in range(10) for p in Purpose for n in range(20)], dtype=np.float64)
    assert len(np.unique(seeds)) == len(seeds)
    assert scipy.stats.kstest(seeds / 2.0**63, "uniform").pvalue > 1e-4


def test_streams_of_neighbouring_keys_are_independent():
    """All the numbers of many streams pooled are normal; the streams are uncorrelated."""
    streams = torch.stack([torch.randn(200, generator=generator(0, Purpose.TRAIN, k)) for k in range(60)]).numpy()
    assert scipy.stats.kstest(streams.ravel(), "norm").pvalue > 0.01
    off_diagonal = np.corrcoef(streams)[np.triu_indices(60, 1)]
    assert scipy.stats.kstest(off_diagonal * np.sqrt(200), "norm").pvalue > 0.01


def test_nothing_is_taken_from_the_global_generator():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(1, Purpose.SAMPLE, 0))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_seed_comes_from_the_global_generator():
    torch.manual_seed(0)
    first, second = fresh_seed(), fresh_seed()
    torch.manual_seed(0)
    assert fresh_seed() == first != second


@pytest.mark.parametrize("purpose", ["SAMPLE", "BOUND", "TRAIN", "ORDER"])
def test_purposes_are_distinct(purpose):
    others = [p for p in Purpose if p.name != purpose]
    assert derived_seed(3, Purpose[purpose], 0) not in {derived_seed(3, p, 0) for p in others}


@given(st.lists(st.integers(1, 64), min_size=0, max_size=4))
def test_slots_do_not_outgrow_their_limits_and_shrink_with_the_event(shape):
    cpu = torch.device("cpu")
    assert 16 <= Slots((*shape, 2), cpu).rows <= Slots(tuple(shape), cpu).rows <= 1024
