"""A checkpoint is whole or absent, and not one bit of it can change unseen."""

import os
import shutil
import signal
import struct

import numpy as np
import pytest
import torch
from faults import Crash, Disk, count_operations, fail_at, fail_once, flip_bit, fork, hooked, rewrite, wait
from safetensors.torch import save as dump_tensors

from inkwash.core.errors import CheckpointError, StorageError
from inkwash.training import checkpoint
from inkwash.training.checkpoint import (
    KEEP,
    clear_unfinished,
    list_checkpoints,
    read_checkpoint,
    require_same_tensors,
    save_checkpoint,
)

BITS = 20_000


def save(folder, step):
    tensors = {"a": torch.full((3,), float(step)), "b": torch.arange(4).reshape(2, 2) + step}
    return save_checkpoint(folder, step, {"step": step}, {"weights": tensors, "empty": {}})


def steps_that_load(folder):
    """Steps of the valid checkpoints, newest first, after checking that each holds what was saved."""
    good = []
    for path in list_checkpoints(folder):
        try:
            header, groups = read_checkpoint(path, ("weights", "empty"))
        except CheckpointError:
            continue
        assert torch.equal(groups["weights"]["a"], torch.full((3,), float(header["step"])))
        assert path.name == f"step-{header['step']:09d}"
        good.append(header["step"])
    return good


def test_what_is_saved_is_what_is_read(tmp_path):
    tensors = {
        "half": torch.randn(2, 3).bfloat16(),
        "scalar": torch.tensor(3.5),
        "long": torch.arange(5),
        "strided": torch.arange(6.0).reshape(2, 3).T,
    }
    path = save_checkpoint(tmp_path, 7, {"text": "ü", "number": 0.1}, {"weights": tensors})
    header, groups = read_checkpoint(path, ("weights",))
    assert header == {"text": "ü", "number": 0.1}
    require_same_tensors(groups["weights"], tensors, "here")
    assert all(torch.equal(groups["weights"][name], tensor) for name, tensor in tensors.items())


def test_the_newest_two_are_kept(tmp_path):
    for step in range(1, 6):
        save(tmp_path, step)
        assert steps_that_load(tmp_path) == [s for s in (step, step - 1) if s > 0][:KEEP]
        assert len(list(tmp_path.iterdir())) == min(step, KEEP)


def test_a_save_after_a_fallback_is_kept_and_so_is_the_one_it_came_from(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
    flip_bit(tmp_path / "step-000000020" / "weights.safetensors", 100)
    for step in (13, 16):
        save(tmp_path, step)
        assert steps_that_load(tmp_path)[0] == step
        assert len(steps_that_load(tmp_path)) == 2


def test_a_save_that_reads_back_otherwise_leaves_nothing(tmp_path):
    def damage(operation, path):
        if operation == "sync" and path == tmp_path and any(tmp_path.glob("step-*")):
            flip_bit(tmp_path / "step-000000001" / "weights.safetensors", 100)

    with hooked(damage), pytest.raises(CheckpointError, match="damaged weights"):
        save(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, 1)
    assert steps_that_load(tmp_path) == [1]


def test_a_full_disk_is_left_as_it_was(tmp_path):
    save(tmp_path, 1)
    for k in range(2, 9):  # the operations between those that begin and the rename
        with hooked(fail_once(k, OSError(28, "No space left on device"))), pytest.raises(StorageError):
            save(tmp_path, 2)
        assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


def test_a_file_beyond_the_memory_is_refused_unread(small, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "free_memory", lambda: 100)
    with pytest.raises(CheckpointError, match="at most the memory that is free"):
        read_checkpoint(small)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_even_with_a_manifest_that_fits(small, tmp_path, number):
    shutil.copytree(small, tmp_path / "odd")
    rewrite(tmp_path / "odd", {"weights.safetensors": dump_tensors({"a": torch.tensor([1.0, number])})})
    with pytest.raises(CheckpointError, match="a: got numbers that are not finite"):
        read_checkpoint(tmp_path / "odd", ("weights",))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "I/O error"), Crash()])
def test_any_failed_operation_leaves_the_old_or_the_new(tmp_path, error):
    def prepared(name):
        folder = tmp_path / name
        save(folder, 1)
        save(folder, 2)
        return folder

    probe = prepared("probe")
    total = count_operations(lambda: save(probe, 3))
    assert total >= 15
    for k in range(total):
        folder = prepared(f"{k}")
        with hooked(fail_at(k, error)), pytest.raises((StorageError, Crash)):
            save(folder, 3)
        assert steps_that_load(folder)[:2] in ([2, 1], [3, 2])
        clear_unfinished(folder)
        save(folder, 4)
        assert steps_that_load(folder)[0] == 4
        assert all(p.name.startswith("step-") for p in folder.iterdir())


def test_a_process_killed_at_any_operation_leaves_the_old_or_the_new(tmp_path):
    save(tmp_path / "probe", 1)
    total = count_operations(lambda: save(tmp_path / "probe", 2))
    for k in range(total):
        folder = tmp_path / f"{k}"
        save(folder, 1)

        def victim(folder=folder, k=k):
            count = iter(range(1000))
            with hooked(lambda *given: next(count) == k and os.kill(os.getpid(), signal.SIGKILL)):
                save(folder, 2)

        assert wait(fork(victim)) == -signal.SIGKILL
        assert steps_that_load(folder) in ([1], [2, 1])


@pytest.mark.parametrize("entries_synced", [True, False])
def test_a_power_cut_at_any_moment_leaves_a_valid_checkpoint(tmp_path, entries_synced):
    real = tmp_path / "real"
    real.mkdir()
    disk, done, k = Disk(real), [0], iter(range(10_000))

    def cut(operation, path):
        disk.hook(operation, path)
        after = tmp_path / f"cut-{next(k)}"
        disk.survivors(after, entries_synced=entries_synced)
        good = steps_that_load(after / "checkpoints")
        assert max(good, default=0) in (done[0], done[0] + 1)
        assert len(good) >= min(done[0], 2)
        shutil.rmtree(after)

    with hooked(cut):
        for step in range(1, 5):
            save(real / "checkpoints", step)
            disk.settle()
            done[0] = step
    assert next(k) >= 50


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The smallest checkpoint with a matrix in it."""
    folder = tmp_path_factory.mktemp("small")
    return save_checkpoint(folder, 3, {"step": 3}, {"weights": {"a": torch.ones(2, 2)}})


def test_every_changed_bit_is_seen(small, tmp_path):
    for file in sorted(small.iterdir()):
        copy = tmp_path / file.name
        shutil.copytree(small, copy)
        bits = 8 * file.stat().st_size
        places = np.random.default_rng(0).permutation(bits)[: BITS // 3]
        for bit in places.tolist():
            flip_bit(copy / file.name, bit)
            with pytest.raises(CheckpointError):
                read_checkpoint(copy, ("weights",))
            flip_bit(copy / file.name, bit)
        read_checkpoint(copy, ("weights",))


def test_every_truncation_and_every_added_byte_is_seen(small, tmp_path):
    for file in sorted(small.iterdir()):
        copy = tmp_path / file.name
        shutil.copytree(small, copy)
        content = file.read_bytes()
        for damaged in (*(content[:n] for n in range(len(content))), content + b"\0", content + b" ", content + b"\n"):
            (copy / file.name).write_bytes(damaged)
            with pytest.raises(CheckpointError):
                read_checkpoint(copy, ("weights",))


def damage_missing(path):
    (path / "weights.safetensors").unlink()


def damage_extra(path):
    (path / "more").write_bytes(b"")


def damage_hidden_extra(path):
    (path / ".more").write_bytes(b"")


def damage_no_manifest(path):
    (path / "manifest.json").unlink()


def damage_folder_for_file(path):
    (path / "weights.safetensors").unlink()
    (path / "weights.safetensors").mkdir()


def damage_extra_folder(path):
    (path / "more").mkdir()


def damage_swapped(path):
    header, tensors = path / "header.json", path / "weights.safetensors"
    a, b = header.read_bytes(), tensors.read_bytes()
    header.write_bytes(b)
    tensors.write_bytes(a)


def damage_pipe(path):
    (path / "weights.safetensors").unlink()
    os.mkfifo(path / "weights.safetensors")


def damage_dangling(path):
    (path / "weights.safetensors").unlink()
    (path / "weights.safetensors").symlink_to(path / "nothing")


def damage_huge_manifest(path):
    (path / "manifest.json").write_bytes(b" " * (1 << 21))


def damage_grown(path):
    with (path / "weights.safetensors").open("ab") as file:
        file.truncate(1 << 42)


DAMAGES = [value for name, value in sorted(globals().items()) if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_missing_added_and_odd_files_are_seen(small, tmp_path, damage):
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    damage(copy)

    def look():
        with pytest.raises(CheckpointError):
            read_checkpoint(copy, ("weights",))

    assert wait(fork(look), seconds=20) == 0


def test_another_format_is_named(small, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    manifest = (copy / "manifest.json").read_bytes()
    (copy / "manifest.json").write_bytes(manifest.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(CheckpointError, match="got format 2, need format 1"):
        read_checkpoint(copy)


def tensor_file(header):
    return struct.pack("<Q", len(header)) + header


HOSTILE = {
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "huge tensor": tensor_file(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'),
    "offsets beyond": tensor_file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    "negative shape": tensor_file(b'{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}') + b"\0" * 8,
    "overflowing shape": tensor_file(
        b'{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}'
    ),
    "unknown dtype": tensor_file(b'{"a":{"dtype":"X9","shape":[1],"data_offsets":[0,4]}}') + b"\0" * 4,
    "no JSON": tensor_file(b"\xff\xfe\xfd"),
    "pickle": b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    "empty": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_tensors_are_refused_even_with_a_manifest_that_fits(small, tmp_path, content):
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    rewrite(copy, {"weights.safetensors": content})
    with pytest.raises(CheckpointError):
        read_checkpoint(copy, ("weights",))


def test_tensors_must_have_the_expected_names_shapes_and_dtypes():
    expected = {"a": torch.zeros(2, 3), "b": torch.zeros(2)}
    good = {"a": torch.ones(2, 3), "b": torch.ones(2)}
    require_same_tensors(good, expected, "here")
    for bad in (
        {"a": good["a"]},
        {**good, "c": torch.ones(1)},
        {**good, "a": torch.ones(3, 2)},
        {**good, "a": torch.ones(2, 3, 1)},
        {**good, "b": torch.ones(2, dtype=torch.float64)},
        {**good, "b": torch.ones(2, dtype=torch.int32)},
    ):
        with pytest.raises(CheckpointError, match="here"):
            require_same_tensors(bad, expected, "here")


def test_leftovers_of_a_cut_save_are_no_checkpoints_and_can_be_cleared(tmp_path):
    save(tmp_path, 1)
    (tmp_path / ".step-000000002.new").mkdir()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-000000001"]
    clear_unfinished(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]
