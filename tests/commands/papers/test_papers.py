"""Every experiment is listed, shows its help at once, and writes what it says it writes."""

import json

import numpy as np
import pytest
from faults import run_cli
from PIL import Image

from inkwash.commands.output import Output
from inkwash.commands.papers import EXPERIMENTS, cold, load_options
from inkwash.commands.papers.report import Findings, report
from inkwash.core.display import Display
from inkwash.core.options import check


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_sound_options_and_a_folder_of_its_own(name):
    options = load_options(name)()
    check(options)
    assert options.out == f"papers/{name}"


def test_a_report_is_json_pictures_and_words(tmp_path, capsys):
    findings = Findings({"a": 1.5}, ("one", "two"), {"p": np.zeros((3, 4), np.uint8)})
    report("x", findings, Output(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "x.json").read_text()) == {"a": 1.5}
    with Image.open(tmp_path / "out" / "p.png") as picture:
        assert picture.size == (4, 3)
    assert capsys.readouterr().out.splitlines()[:3] == ["one", "two", f"numbers   {tmp_path / 'out' / 'x.json'}"]


@pytest.mark.parametrize("kind", ["blur", "pixelate", "mask"])
def test_cold_runs_and_measures_what_the_numbers_are_named_after(kind, tmp_path, monkeypatch):
    """With no training to speak of: the network starts as the identity, and then the walks are known."""
    monkeypatch.setattr(cold, "_accuracy", lambda made, held_out: 0.5)
    words = ["papers", "cold", "--degradation", kind, "--steps", 1, "--learning-rate", 1e-12, "--walk", 3]
    assert run_cli([*words, "--out", tmp_path]) == 0
    found = json.loads((tmp_path / "cold.json").read_text())
    errors = found["rms_error"]
    assert found["degradation"] == kind
    assert errors["one leap"] == pytest.approx(errors["degraded"], rel=1e-4)  # the identity restores nothing
    if kind == "pixelate":  # pixelating what is pixelated changes nothing, by either algorithm
        assert errors["algorithm 1"] == pytest.approx(errors["degraded"], rel=1e-4)
        assert errors["algorithm 2"] == pytest.approx(errors["degraded"], rel=1e-4)
    if kind == "blur":  # algorithm 1 blurs what is blurred
        assert errors["algorithm 1"] > 1.05 * errors["degraded"] > 1.05 * errors["algorithm 2"]
    with Image.open(tmp_path / "cold.png") as picture:
        assert picture.width == 5 * (12 * 9 + 1)
        assert picture.height == 5 * (7 * 9 + 1)


@pytest.mark.slow
def test_cold_learns_and_the_improved_walk_restores_better():
    found = cold.measure(cold.Options(), Display(shown=False)).numbers
    errors = found["rms_error"]
    assert errors["one leap"] < 0.7 * errors["degraded"]
    assert errors["algorithm 2"] < 0.95 * errors["algorithm 1"]
    assert found["detail"]["one leap"] < found["detail"]["algorithm 2"] < found["detail"]["data"]
