"""The words that the page makes of options and of old runs are those of the command line."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import inkwash.studio
from inkwash.commands.cli import Train
from inkwash.commands.parse import parse
from inkwash.core.errors import ConfigError
from inkwash.core.options import to_json
from inkwash.studio.options import OFFERED, as_words, offered
from inkwash.studio.runs import Shelf, facts, metrics, resuming_words
from inkwash.studio.serve import _named
from inkwash.training.run import Run


def parsed(words):
    return parse(Train, "inkwash train", words, None)


def test_the_words_that_resume_a_run_say_all_its_options(runs):
    for path in Shelf(runs).runs().values():
        name, *words = resuming_words(path)
        assert name == "train"
        command = parsed(words)
        stored = json.loads((path / "config.json").read_bytes())
        assert to_json(command.config(command.source)) == stored


def test_what_the_list_shows_of_a_run(runs):
    for name, path in Shelf(runs).runs().items():
        found = facts(path)
        assert found["step"] == Run(path).header().step == found["steps"]
        assert name in found["source"]
        assert metrics(path) == Run(path).metrics()


def test_what_others_put_beside_the_runs_does_not_end_the_list(runs, tmp_path):
    """Damaged files, names that are no text, and a run that is gone."""
    for name, content in {"list": '{"train": [1], "source": 3}', "deep": "[" * 10**5, "nan": '{"train": NaN}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(content)
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff") + "/checkpoints").mkdir(parents=True)
    found = {name: facts(path) for name, path in Shelf(tmp_path).runs().items()}
    assert set(found) == {"list", "deep", "nan"}
    assert all(each["source"] is None and each["steps"] is None for each in found.values())
    assert facts(tmp_path / "gone")["step"] == 0


def test_the_page_reads_names_that_metrics_have(runs):
    """The curve of the page is of what a run writes."""
    page = (Path(inkwash.studio.__file__).parent / "page" / "runs.js").read_text()
    names = set(re.findall(r"each\.(\w*loss\w*)", page))
    assert names == {"loss", "held_out_loss"}
    assert names <= {name for line in metrics(runs / "pictures") for name in line}


def test_a_source_may_not_hide_a_built_in_set(tmp_path):
    (tmp_path / "digits").mkdir()
    with pytest.raises(ConfigError, match="built-in"):
        _named([str(tmp_path / "digits")])


def test_a_name_leads_to_no_other_folder(runs, tmp_path):
    shelf = Shelf(runs, (tmp_path / "gone",))
    assert set(shelf.runs()) == {"pictures", "rows"}
    assert not {"..", ".", "", "../runs/pictures", str(runs / "pictures")} & set(shelf.runs())


VALUES = {
    "model": "vae",
    "train.precision": "bf16",
    "network.kind": "dit",
    "process.kind": "gaussian",
    "process.schedule": "cosine",
    "denoiser.predicts": "eps",
    "data.transform": "log",
    "data.labels": "y",
    "network.dropout": "0.5",
    "data.held_out": "0.5",
}


@pytest.mark.parametrize("name", OFFERED)
def test_each_option_of_the_form_reaches_its_field(name):
    value = VALUES.get(name, "16")
    command = parsed(["digits", *as_words({name.replace("_", "-"): value})])
    field = command
    for part in name.split("."):
        field = getattr(field, part)
    assert str(field).removesuffix(".0") == value
    assert next(each for each in offered() if each["name"] == name.replace("_", "-"))["about"]


@pytest.mark.parametrize(
    "options", [{"out": "x"}, {"train.tracker": "wandb"}, {"train.steps": "--out=x"}, {"data.labels": "../x"}]
)
def test_other_options_and_paths_are_refused(options):
    with pytest.raises(ConfigError):
        as_words(options)


def test_the_server_imports_no_torch():
    lines = "import sys, inkwash.studio.serve; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0


def test_the_page_is_light_and_loads_nothing_from_elsewhere():
    files = list((Path(inkwash.studio.__file__).parent / "page").iterdir())
    assert sum(path.stat().st_size for path in files) < 150_000
    addresses = re.findall(r"https?://[^\s\"'`]+", "".join(path.read_text() for path in files))
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}  # a name of XML, which nothing loads
