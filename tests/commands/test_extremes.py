"""Extremes that a type allows are refused in one line, before anything is built, read or written."""

import time

import pytest
import torch
from faults import run_cli

import inkwash as iw
from inkwash.core import machine
from inkwash.core.errors import ConfigError

NINES = "9" * 5000


@pytest.mark.parametrize(
    ("words", "need"),
    [
        (["train", "{data}", "--train.batch-size", "1000000000000000000"], "<= 1e+06"),
        (["train", "digits", "--network.width", "4096", "--network.depth", "64"], "need at most"),
        (["train", "{data}", "--process.log-snr-first", "87"], "<= 80"),
        (["train", "{data}", "--train.seed", NINES[:60]], "<= 3.40282e+38"),
        (["train", ""], "need data, by its name or path"),
        (["sample", "{run}", "--steps", NINES[:30]], "<= 10000"),
        (["sample", "{run}", "-n", "1000000000000"], "of memory, with"),
        (["sample", "{run}", "--guidance", "1e308"], "<= 1000"),
        (["sample", "{run}", "--sampler", "heun", "--s-noise", "1e308"], "<= 1000"),
        (["sample", "{run}", "--sampler", "langevin", "--snr", "1e308"], "<= 1000"),
        (["evaluate", "{run}", "--steps", NINES[:30]], "<= 10000"),
    ],
)
def test_extremes_of_the_command_line_exit_2(finished_run, data, tmp_path, capsys, monkeypatch, words, need):
    monkeypatch.chdir(tmp_path)
    names = {"{run}": str(finished_run), "{data}": str(data)}
    began = time.process_time()
    assert run_cli([names.get(word, word) for word in words]) == 2
    line = capsys.readouterr().err
    assert need in line
    assert line.count("\n") == 1
    assert time.process_time() - began < 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.sample(2, steps=10**30),
        lambda model: model.sample(10**12),
        lambda model: model.sample(2, seed=10**60),
        lambda model: model.bound(model.sample(2, seed=0), steps=10**30),
    ],
)
def test_extremes_in_python_are_config_errors(finished_run, call):
    with pytest.raises(ConfigError) as caught:
        call(iw.load(finished_run))
    assert len(str(caught.value)) < 200


def test_what_memory_holds_is_what_is_free(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda device=None: 1000)
    machine.require_memory("n", 10, 100)
    with pytest.raises(ConfigError, match=r"need at most 10$"):
        machine.require_memory("n", 11, 100, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"need less$"):
        machine.require_memory("n", 1, 1001)
