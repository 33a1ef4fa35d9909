"""Processes that train together agree on what they do and on when they stop."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from bugs import bug
from faults import points, tiny

from inkwash.core.config import NetworkConfig, ProcessConfig
from inkwash.core.errors import ConfigError, ProcessLostError
from inkwash.training import group as group_module
from inkwash.training.group import Group
from inkwash.training.prepare import prepare
from inkwash.training.shards import settings

CPU = torch.device("cpu")


def group(others=(), index=0, **changes):
    """One of several processes, of which the others have caught these signals."""

    def gather(own):
        return torch.cat([own, torch.tensor(list(others), dtype=own.dtype)])

    place = SimpleNamespace(
        num_processes=1 + len(others), process_index=index, is_main_process=index == 0, device=CPU, gather=gather
    )
    return Group(place, **changes)


@bug("signals of its own only", Group, "agreed_signal", lambda self, caught: max(caught, default=0), own=[])
@pytest.mark.parametrize("own", [[], [signal.SIGINT]])
@pytest.mark.parametrize("others", [[signal.SIGTERM], [0, signal.SIGTERM]])
def test_all_stop_after_a_signal_that_one_caught(own, others):
    expected = max([*own, *others])
    assert group(others).agreed_signal(own) == expected
    assert group([*own, 0, *others[1:]]).agreed_signal([n for n in others[:1] if n]) == expected


def test_all_stop_when_their_launcher_is_gone():
    assert group([0], parent=os.getppid() + 1).agreed_signal([]) == signal.SIGTERM
    assert group([0]).agreed_signal([]) == 0
    assert group(parent=os.getppid() + 1).agreed_signal([]) == 0  # a single process may outlive its shell


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    prepared = prepare(tiny(points(tmp_path / "points.npy"), batch_size=9))
    with pytest.raises(ConfigError, match=r"train.batch_size: got 9, need a multiple of the 2 processes"):
        group([0]).require_agreement(prepared)


def test_processes_with_other_options_or_data_are_refused(tmp_path, monkeypatch):
    first = prepare(tiny(points(tmp_path / "points.npy")))
    monkeypatch.setattr(
        group_module, "gather_object", lambda own: [(first.config, first.fingerprint), *own], raising=True
    )
    other = group([0], index=1)
    other.require_agreement(first)
    quicker = replace(first, config=replace(first.config, train=replace(first.config.train, learning_rate=1.0)))
    with pytest.raises(ConfigError, match=r"train.learning_rate: got 1.0, need .* as process 0 has"):
        other.require_agreement(quicker)
    with pytest.raises(ConfigError, match="data: got other data in process 1"):
        other.require_agreement(replace(first, fingerprint="other"))


def test_the_loss_of_a_process_is_one_line():
    words = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:12700."
    with pytest.raises(ProcessLostError, match=r"^processes: got no answer from one of 2"), group([0]).noticing_loss():
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="shapes"), group([0]).noticing_loss():
        raise RuntimeError("shapes do not fit")


@pytest.mark.parametrize(
    ("variables", "config", "others", "message"),
    [
        ({"FSDP_VERSION": "1"}, {}, [0], "fsdp_version: got 1, need 2"),
        ({"FSDP_VERSION": "2"}, {}, [], "processes: got 1, need several"),
        ({"FSDP_VERSION": "2"}, {"process": ProcessConfig("learned")}, [0], "process.schedule: got learned"),
        ({"FSDP_VERSION": "2"}, {"model": "vae", "process": ProcessConfig()}, [0], "model: got vae"),
    ],
)
def test_shares_that_cannot_be_made_are_refused(tmp_path, monkeypatch, variables, config, others, message):
    options = replace(tiny(points(tmp_path / "points.npy")), **config)
    if options.model == "vae":
        options = replace(options, network=NetworkConfig())
    for name, value in {"ACCELERATE_USE_FSDP": "true", **variables}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        group(others, shards=settings()).require_agreement(prepare(options))


def test_without_accelerates_setting_there_are_no_shares(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert settings() is None
