"""Collecting a state that is divided among processes; tests/commands/test_together.py divides one."""

import torch

from inkwash.training import shards


def test_the_average_in_use_stays_and_every_average_keeps_its_place(trainer, monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    state, steps, *_ = trainer(steps=3)
    into, *_ = trainer(steps=3)
    list(steps)
    into.averages.used = 2
    shards.collect(state, into)
    assert into.averages.used == 2
    assert into.step == state.step == 3
    for found, expected in zip(into.averages.modules, state.averages.modules, strict=True):
        assert all(map(torch.equal, found.parameters(), expected.parameters()))
