"""Rows are the rows, in blocks of any size; what was read of a mapped file does not stay."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from bugs import bug

from inkwash.data import rows, transform
from inkwash.data.dataset import load_dataset
from inkwash.data.rows import blocks
from inkwash.data.transform import fit_transform
from inkwash.training.examples import Examples


@pytest.mark.parametrize("entries", [1, 7, 1 << 20])
@pytest.mark.parametrize("order", ["C", "F"])
def test_blocks_are_the_array(tmp_path, entries, order):
    array = np.asarray(np.arange(60.0).reshape(10, 3, 2), order=order)
    np.save(tmp_path / "a.npy", array)
    mapped, some = np.load(tmp_path / "a.npy", mmap_mode="r"), np.array([7, 0, 3, 3])
    with mock.patch.object(rows, "_ENTRIES", entries):
        for data in (array, mapped):
            assert np.array_equal(np.concatenate(list(rows.blocks(data))), array)
            assert np.array_equal(np.concatenate(list(rows.blocks(data, some))), array[some])
            assert np.array_equal(rows.take(data, some), array[some])
        assert len(list(rows.blocks(array))) == {1: 10, 7: 10}.get(entries, 1)


@pytest.mark.parametrize("mode", ["c", "r+"])
@pytest.mark.parametrize("view", [lambda data: data, lambda data: data[2:], np.asarray], ids=["map", "part", "array"])
def test_what_was_written_to_a_map_is_what_is_read(tmp_path, mode, view):
    """It was written only to memory, or to the file and not flushed yet."""
    np.save(tmp_path / "a.npy", np.zeros((10, 3)))
    data = np.load(tmp_path / "a.npy", mmap_mode=mode)
    data[:] = np.arange(30.0).reshape(10, 3)
    for _ in range(2):
        assert np.array_equal(
            rows.take(view(data), slice(4, 6)), np.arange(30.0).reshape(10, 3)[view(np.arange(10))[4:6]]
        )


@bug("moments of held-out data as well", transform, "blocks", lambda data, rows=None: blocks(data))
def test_the_transform_is_fitted_on_the_training_part():
    """The transform depends only on the training part."""
    data = np.concatenate([np.random.default_rng(0).normal(3, 2, (50, 2)), np.full((50, 2), 1e3)])
    spec = load_dataset(data).spec
    train_rows = np.random.default_rng(1).permutation(50)
    transform = fit_transform(spec, data, rows=train_rows)
    x = transform.to_model(data[:50]).double()
    assert np.allclose(x.mean(0), 0, atol=1e-6)
    assert np.allclose(x.var(0, correction=0), 1, atol=1e-6)


def mapped_bytes():
    return (
        next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "RssFile" in line)
        * 1024
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux shows what is resident")
def test_what_was_read_of_a_mapped_file_does_not_stay(tmp_path):
    size = 48 << 20
    file = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (size // 4096, 4096))
    file[::7] = 200
    del file
    before = mapped_bytes()
    data = load_dataset(tmp_path / "a.npy")
    data.fingerprint()
    examples = Examples(data.data, np.arange(len(data.data)), fit_transform(data.spec, data.data))
    for first in range(0, len(examples), 1024):
        examples.take(np.arange(first, min(first + 1024, len(examples))))
    assert mapped_bytes() - before < size / 4
