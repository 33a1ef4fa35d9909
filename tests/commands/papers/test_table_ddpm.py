"""`inkwash papers table-ddpm`: the paper's own numbers bear out its claims, and ours are those of the library."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faults import run_cli

import inkwash as iw
from inkwash.commands.output import Output
from inkwash.commands.papers import table_ddpm
from inkwash.commands.papers.cells import Figures, Outcome
from inkwash.commands.papers.table_ddpm import BETTER_SAMPLES, ROWS, Options, halved, measure
from inkwash.commands.papers.tables import NOTHING
from inkwash.core.display import Display
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.likelihood.bound import MeanBound

DIGITS = load_dataset("digits")


def outcome(row, bound=4.0):
    """What a cell would become if it had the paper's figures; it diverges where the paper has none."""
    if row.fid == NOTHING:
        return Outcome({}, {}, error="no end")
    total = bound if row.bound == NOTHING else float(row.bound)
    figures = Figures(MeanBound(0.0, total, 0.0, total, 0.01, "bits/dim", 10), float(row.fid), 1.0, 0.5)
    views = [view.name for view in row.views]
    return Outcome(dict.fromkeys(views, figures), dict.fromkeys(views, DIGITS.data[:12]), DIGITS.spec)


@pytest.fixture
def papers_own(monkeypatch):
    found = {row.name: outcome(row) for row in ROWS}
    monkeypatch.setattr(table_ddpm, "outcomes", lambda cells, *_: {cell.name: found[cell.name] for cell in cells})
    return found


def claims_of(folder):
    """What holds of the paper's claims, by their words."""
    found = measure(Options(), Output(folder, Display(shown=False)))
    return found, {claim["text"]: claim["holds"] for claim in found.numbers["data"]["digits"]["claims"]}


def test_the_papers_own_numbers_bear_out_its_claims(papers_own, tmp_path):
    """Where the paper's training was unstable, there is nothing to compare."""
    found, holds = claims_of(tmp_path)
    blank = {text for text, *names in BETTER_SAMPLES if {"mean-mean-large", "eps-bound-free"} & {*names}}
    assert {text for text, verdict in holds.items() if verdict is None} == blank
    assert False not in holds.values()
    (table,) = found.tables
    assert [row[3] for row in table.rows] == [row[6] for row in table.rows]  # Fréchet distance and FID
    assert [row[2] for row in table.rows if row[6] == NOTHING] == ["diverged"] * 3
    assert "MNIST was left out; --mnist names a file of it." in found.words


def test_the_page_has_the_papers_numbers():
    page = (Path(__file__).parents[3] / "docs" / "papers.md").read_text("utf-8")
    for row in ROWS:
        for view in row.views:
            start = f"| {row.words} | {view.variance or row.variance} |"
            lines = [line for line in page.splitlines() if line.startswith(start)]
            assert len(lines) == 2  # digits and MNIST
            assert all(line.endswith(f"| {row.bound} | {row.fid} | {row.inception} |") for line in lines)


def test_other_numbers_contradict_it(papers_own, tmp_path):
    simple = papers_own["eps-simple-large"]
    worse = {name: replace(figures, frechet=99.0) for name, figures in simple.figures.items()}
    papers_own["eps-simple-large"] = replace(simple, figures=worse, skipped=1)
    found, holds = claims_of(tmp_path)
    assert list(holds.values()).count(False) == 3
    assert any("unstable here: eps-bound-free, eps-simple-large, mean-mean-large" in line for line in found.words)


def test_mnist_is_halved_by_means(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images, x_test=images)
    small = halved(str(tmp_path / "mnist.npz"))
    assert (small.shape, small.dtype) == ((3, 14, 14), np.uint8)
    assert abs(small[1, 3, 5] - images[1, 6:8, 10:12].mean()) <= 0.5
    with pytest.raises(DataError, match=r"digits: got .*, need grey images of 8 bits"):
        halved("digits")


@pytest.mark.slow
def test_the_command_measures_what_the_library_measures(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "mnist.npz", x_train=images)
    options = "--steps 2 --chain 24 --width 8 --examples 10 --mnist"
    words = ["papers", "table-ddpm", "--out", tmp_path, *options.split(), tmp_path / "mnist.npz"]
    assert run_cli(words) == 0
    found = json.loads((tmp_path / "table-ddpm.json").read_text())
    assert list(found["data"]) == ["digits", "mnist-14"]
    for name, data in found["data"].items():
        for row in ROWS:
            run = iw.Run(tmp_path / "cells" / name / row.name / "run")
            held_out = run.dataset().data[run.split()[1][:10]]
            for view in row.views:
                bound = run.model().with_options(variance=view.variance).bound(held_out, terms=100, seed=0)
                figures = data["cells"][row.name]["figures"][view.name]
                assert figures["bound"]["total"] == bound.mean().total
    names = {path.name for path in tmp_path.glob("table-ddpm*")}
    assert names == {f"table-ddpm{end}" for end in (".json", ".md", "-digits.png", "-mnist-14.png")}
    assert "mnist-14, beside the paper:" in capsys.readouterr().out
