"""Files are complete or absent, whatever fails; JSON is strict; only one process holds a lock."""

import json
import os
import signal
import time

import pytest
from faults import Crash, Disk, count_operations, fail_at, fail_once, fork, hooked, wait, wait_until

from inkwash.core import storage
from inkwash.core.errors import CheckpointError, RunInUseError, StorageError

DEEP = [b"[" * n + b"]" * n for n in (60, 700, 10**5)] + [b'{"a":' * n + b"1" + b"}" * n for n in (60, 700, 10**5)]


def no_space():
    return OSError(28, "No space left on device")


def test_a_failed_operation_names_the_file_and_exits_6(tmp_path):
    with hooked(fail_at(0, no_space())), pytest.raises(StorageError) as caught:
        storage.write(tmp_path / "a", b"x")
    assert str(caught.value) == f"{tmp_path / 'a'}: got No space left on device, need a file system that can write it"
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("error", [no_space(), Crash()])
def test_replace_keeps_the_old_or_the_new_content_whatever_fails(tmp_path, error):
    total = count_operations(lambda: storage.replace(tmp_path / "probe", b"new"))
    for k in range(total):
        path = tmp_path / f"file-{k}"
        storage.replace(path, b"old")
        with hooked(fail_at(k, error)), pytest.raises((StorageError, Crash)):
            storage.replace(path, b"new")
        assert path.read_bytes() in (b"old", b"new")


@pytest.mark.parametrize("entries_synced", [True, False])
def test_replace_survives_a_power_cut_at_any_moment(tmp_path, entries_synced):
    real, k = tmp_path / "real", iter(range(1000))
    real.mkdir()
    disk = Disk(real)
    seen = []

    def look(operation, path):
        disk.hook(operation, path)
        cut = tmp_path / f"cut-{next(k)}"
        disk.survivors(cut, entries_synced=entries_synced)
        seen.append((cut / "file").read_bytes() if (cut / "file").exists() else None)

    with hooked(look):
        for content in (b"one", b"two", b"three"):
            storage.replace(real / "file", content)
        look("end", real / "file")
    assert set(seen) == {None, b"one", b"two", b"three"}
    assert seen == sorted(seen, key=[None, b"one", b"two", b"three"].index)


def test_new_folders_survive_a_power_cut(tmp_path):
    real, cut = tmp_path / "real", tmp_path / "cut"
    real.mkdir()
    disk = Disk(real)
    with hooked(disk.hook):
        storage.make_folder(real / "a" / "b" / "c")
    disk.settle()
    disk.survivors(cut, entries_synced=True)
    assert (cut / "a" / "b" / "c").is_dir()


def test_only_one_process_holds_a_lock_and_its_death_frees_it(tmp_path):
    path = tmp_path / "lock"

    def hold():
        with storage.lock(path):
            (tmp_path / "held").touch()
            time.sleep(60)

    child = fork(hold)
    wait_until((tmp_path / "held").exists)
    with pytest.raises(RunInUseError) as caught, storage.lock(path):
        pass
    assert caught.value.exit_code == 7
    os.kill(child, signal.SIGKILL)
    wait(child)
    with storage.lock(path):
        pass


def test_a_lock_is_freed_by_an_error(tmp_path):
    with pytest.raises(Crash), storage.lock(tmp_path / "lock"):
        raise Crash
    with storage.lock(tmp_path / "lock"):
        pass


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 1}}',
        b'{"a": 1}}',
        b"\xff\xfe",
        *DEEP,
        b"9" * 5000,
        b"{'a': 1}",
    ],
)
def test_bad_json_is_refused(content):
    with pytest.raises(CheckpointError) as caught:
        storage.parse_json(content, "here")
    assert str(caught.value).startswith("here: got damaged JSON")


def test_json_comes_back_as_it_was():
    plain = {"a": [1, 2.5, -3e-300], "b": {"c": None, "d": "ü\n"}, "e": True}
    assert storage.parse_json(storage.dump_json(plain), "here") == plain
    assert json.loads(storage.dump_line(plain)) == plain
    assert storage.dump_line(plain).count(b"\n") == 1


@pytest.mark.parametrize("dump", [storage.dump_json, storage.dump_line])
def test_null_stands_for_numbers_that_are_not_finite(dump):
    plain = {"a": [float("nan"), 1.5, {"b": float("inf")}], "c": -float("inf"), "d": "NaN"}
    assert json.loads(dump(plain)) == {"a": [None, 1.5, {"b": None}], "c": None, "d": "NaN"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "I/O error")])
def test_a_failed_replacement_leaves_the_old_content_and_nothing_else(tmp_path, error):
    path = tmp_path / "a"
    total = count_operations(lambda: storage.replace(tmp_path / "probe", b"x"))
    (tmp_path / "probe").unlink()
    storage.replace(path, b"old")
    for k in range(total):
        with hooked(fail_once(k, error)), pytest.raises(StorageError):
            storage.replace(path, b"new")
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() in (b"old", b"new")
