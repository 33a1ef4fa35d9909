"""The machine: the process reuses the memory that it frees, and a device has a name."""

import platform
import subprocess
import sys
from unittest import mock

import pytest
import torch
from accelerate import Accelerator
from bugs import bug

import inkwash as iw
from inkwash.commands import cli
from inkwash.core import machine
from inkwash.core.errors import DataError
from inkwash.core.machine import device_of, flushed_denormals, keep_freed_memory
from inkwash.training import fit

FRESH_PAGES = """
import resource, torch
from inkwash.core.machine import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default, accepted = faults(), keep_freed_memory()
faults()
print(default, accepted, faults())
"""


def test_training_and_every_command_keep_freed_memory(monkeypatch, tmp_path):
    calls = []
    for module in (cli, fit):
        monkeypatch.setattr(module, "keep_freed_memory", lambda module=module: calls.append(module))
    with pytest.raises(DataError):
        fit.train(tmp_path / "nothing.npy", tmp_path / "run")
    assert calls == [fit]
    with pytest.raises(SystemExit):
        cli.main(["inspect", str(tmp_path)])
    assert calls == [fit, cli]


def vanishes():
    return bool(torch.tensor(1e-30) * 1e-10 == 0)


@bug("never set", torch, "set_flush_denormal", lambda mode: True)
def test_denormal_numbers_are_zero_in_training_and_afterwards_as_before(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(fit, "announce", lambda *_: seen.append(vanishes()))
    fit.train("two-moons", tmp_path / "run", train=iw.TrainConfig(steps=1), report=False)
    assert seen == [True]
    assert not vanishes()
    with flushed_denormals():
        fit.train("two-moons", tmp_path / "another", train=iw.TrainConfig(steps=1), report=False)
        assert vanishes()
    assert not vanishes()


@pytest.mark.slow
def test_large_arrays_reuse_freed_memory():
    if not keep_freed_memory():
        pytest.skip("the C library is not glibc")
    out = subprocess.run([sys.executable, "-c", FRESH_PAGES], capture_output=True, text=True, check=True).stdout
    default, accepted, after = out.split()
    assert accepted == "True"
    assert int(after) < int(default) / 100


def test_by_default_a_model_lives_where_it_would_be_trained():
    assert device_of("auto") == Accelerator().device


def test_a_device_is_a_name_or_a_torch_device():
    assert device_of("cpu") == device_of(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_refused(name, tmp_path):
    with pytest.raises(iw.ConfigError, match=f"device: got {name}, need cpu"):
        iw.load(tmp_path, name)


def test_a_container_has_less_than_its_machine(tmp_path):
    limit = tmp_path / "memory.max"
    with mock.patch.object(machine, "_LIMITS", (str(limit),)):
        limit.write_text("max\n")
        unlimited = machine.free_memory(torch.device("cpu"))
        limit.write_text(f"{unlimited // 2}\n")
        assert machine.free_memory(torch.device("cpu")) < unlimited // 2


def test_freed_memory_goes_back_to_the_system():
    """Arrays between which others stay are no end of the heap, which alone goes back by itself."""
    lines = """
import psutil, torch
from inkwash.core.machine import keep_freed_memory, return_freed_memory
keep_freed_memory()
freed, kept = [], []
for _ in range(40):
    freed.append(torch.ones(2**21))
    kept.append(torch.ones(2**14))
process, freed = psutil.Process(), None
before = process.memory_info().rss
return_freed_memory(1 << 40)
assert process.memory_info().rss > before - 2**24
return_freed_memory(1 << 24)
assert process.memory_info().rss < before - 200 * 2**20, (before, process.memory_info().rss)
"""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0
