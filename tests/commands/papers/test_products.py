"""`inkwash papers products`: the rule of the notes ends elsewhere than the product does."""

import json

import pytest
from faults import run_cli

from inkwash.core.randomness import Slots
from inkwash.model import diffusion as diffusion


def test_the_experiment_finds_the_rule_wrong_and_moment_matching_right(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Slots, "rows", 256)
    assert run_cli(["papers", "products", "--draws", 256, "--steps", 20, "--out", tmp_path]) == 0
    found = json.loads((tmp_path / "products.json").read_text())
    means = {name: rows["mean"][0] for name, rows in found["methods"].items()}
    assert found["truth"] == pytest.approx({"mean": 0.76, "variance": 0.36})
    assert means["multiply each step"] < 0.66
    assert means["replace"] < 0.58
    assert means["moment matching"] == pytest.approx(0.76, abs=0.12)
    assert means["SMC"] == pytest.approx(0.76, abs=0.2)
    assert (tmp_path / "products.png").stat().st_size > 1000
    assert "Multiplying each step ends at" in capsys.readouterr().out
