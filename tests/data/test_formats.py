"""Formats of other packages, what a run keeps of a file, and rows that are read when they are needed."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import run_cli, tiny, without_pictures

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.core.options import from_json, to_json
from inkwash.core.storage import dump_json, parse_json
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import format as formats
from inkwash.data.origin import Origin, keep
from inkwash.data.rows import blocks, take
from inkwash.data.stored import Stored
from inkwash.training.fit import fit

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
RANDOM = np.random.default_rng(3)


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Installs the format of the documentation as a distribution of its own; `entry` replaces its entry point."""

    def install(entry="lab_formats:FORMAT"):
        site = tmp_path / "site"
        info = site / "lab_formats-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-formats\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[inkwash.formats]\nlab = {entry}\n")
        (site / "lab_formats.py").write_text(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)[-1])
        monkeypatch.syspath_prepend(site)
        formats.plugged_in.cache_clear()

    yield install
    formats.plugged_in.cache_clear()
    sys.modules.pop("lab_formats", None)


def lab(folder):
    rows = RANDOM.normal(size=(40, 3)).astype(np.float32)
    text = "\n".join(["mmol/l", *(" ".join(map(str, row)) for row in rows)])
    (folder / "blood.lab").write_text(text)
    return folder / "blood.lab", rows


def test_a_format_of_another_package_goes_in_and_comes_out(tmp_path, monkeypatch, distribution):
    without_pictures(monkeypatch)
    path, rows = lab(tmp_path)
    with pytest.raises(DataError, match=r"got a \.lab file, need .*a folder of pictures"):
        load_dataset(path)
    distribution()
    assert np.array_equal(load_dataset(path).data, rows)
    fit(tiny(str(path), steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 0
    unit, *lines = (tmp_path / "out" / "samples.lab").read_text().splitlines()
    assert unit == "mmol/l"
    again = np.array([line.split() for line in lines], np.float32)
    assert np.array_equal(again, iw.load(tmp_path / "run").sample(3, seed=0))
    assert not (tmp_path / "out" / "samples.npy").exists()


def test_samples_are_not_drawn_if_the_format_is_gone(tmp_path, monkeypatch, distribution, capsys):
    without_pictures(monkeypatch)
    distribution()
    fit(tiny(str(lab(tmp_path)[0]), steps=1), tmp_path / "run")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if "site" not in Path(each).parts[-1:]])
    formats.plugged_in.cache_clear()
    assert run_cli(["sample", tmp_path / "run", "-n", 3, "--out", tmp_path / "out"]) == 3
    assert "got no format lab, need the package that brought it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("no_such_module:FORMAT", "which cannot be imported"),
        ("lab_formats:read", "got lab_formats:read, a function, need a Format"),
    ],
)
def test_a_package_that_does_not_work_is_named(tmp_path, distribution, entry, words):
    distribution(entry)
    with pytest.raises(DataError, match=words):
        load_dataset(lab(tmp_path)[0])


THINGS = {
    "text": "µmol",
    "flag": True,
    "count": 3,
    "real": 0.1,
    "fill": np.float32("nan"),
    "large": np.array([2**63 - 1, -(2**63)]),
    "swapped": np.array([[1.5, 2.5]], ">f4"),
    "bytes": b"a\0b",
    "dates": np.array(["2024-02-29", "NaT"], "datetime64[D]"),
    "words": np.array(["a", "ü"], object),
    "none": np.empty((0, 2)),
    "nested": {"units": "K", "range": [np.int16(-1), 2]},
}


def test_what_is_kept_comes_back_bit_for_bit_through_the_json_of_a_run():
    kept, notes = keep("lab", THINGS)
    back = from_json(Origin, parse_json(dump_json(to_json(kept)), "origin"))
    back.check("origin")
    assert back == kept
    assert notes == ()
    for name in ("large", "swapped", "dates", "words", "none", "fill"):
        found = np.asarray(back[name])
        assert found.dtype == THINGS[name].dtype
        np.testing.assert_array_equal(found, THINGS[name])
    assert [back[name] for name in ("text", "flag", "count", "real")] == ["µmol", True, 3, 0.1]
    assert back["bytes"].tobytes() == b"a\0b"
    assert back["nested"] == {"units": "K", "range": (-1, 2)}
    assert back["other"] is None


def test_what_is_too_large_or_unknown_is_named_and_not_kept():
    kept, notes = keep("lab", {"map": np.zeros(10_000), "thing": object(), "unit": "K"})
    assert set(kept.kept) == {"unit"}
    assert notes == ("not kept for samples, too large or of an unknown type: map, thing",)


@pytest.mark.parametrize(
    "plain", [{"dtype": "O", "shape": (1,), "base64": "AAAAAAAAAAA="}, {"dtype": "<f8", "shape": (9,), "base64": ""}]
)
def test_a_run_with_anything_else_is_refused(plain):
    with pytest.raises(iw.ConfigError, match=r"origin\.kept\.x: got no plain data"):
        Origin("lab", {"x": plain}).check("origin")


@pytest.mark.parametrize("rows", [slice(None), slice(3, 17), np.array([5, 2, 2, 19, 0, 6]), np.empty(0, int), 4, -1])
def test_rows_are_read_where_they_are(rows):
    data, seen = RANDOM.normal(size=(20, 2, 3)), []
    stored = Stored(data.shape, data.dtype, lambda first, end: seen.append(end - first) or data[first:end])
    assert np.array_equal(take(stored, rows), data[rows])
    assert sum(seen) <= np.size(data[rows]) // 6
    assert np.array_equal(np.concatenate(list(blocks(stored))), data)
    with pytest.raises(IndexError):
        stored[20]
