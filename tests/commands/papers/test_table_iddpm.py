"""`inkwash papers table-iddpm`: the paper's own numbers bear out its claims, and ours are those of the library."""

import json
from pathlib import Path

import pytest
from bugs import bug
from faults import run_cli

import inkwash as iw
from inkwash.commands.output import Output
from inkwash.commands.papers import table_iddpm, tables
from inkwash.commands.papers.cells import Figures, Outcome
from inkwash.commands.papers.table_iddpm import ROWS, SWEPT, Options, measure
from inkwash.commands.papers.tables import NOTHING
from inkwash.core.display import Display
from inkwash.data.dataset import load_dataset
from inkwash.likelihood.bound import MeanBound

DIGITS = load_dataset("digits")


def figures(view, numbers):
    """Figures with the paper's bound and FID; in fewer steps a fixed variance loses more."""
    loss = 0 if view.steps is None else (1 if view.variance == "learned" else 10) / view.steps
    bound, fid = (float(each) for each in numbers)
    return Figures(MeanBound(0.0, bound, 0.0, bound, 0.01, "bits/dim", 10), fid * (1 + loss), 1.0, 0.5)


def outcomes_of(column):
    def found(cells, *_):
        numbers = {row.name: getattr(row, column) for row in ROWS}
        return {cell.name: outcome(cell, numbers[cell.name]) for cell in cells}

    return found


def outcome(cell, numbers):
    if numbers[0] == NOTHING:
        return Outcome({}, {}, error="no end")
    measured = {view.name: figures(view, numbers) for view in cell.views}
    return Outcome(measured, dict.fromkeys(measured, DIGITS.data[:12]), DIGITS.spec)


def greater(a, b):
    return None if a is None or b is None else a > b


@bug("claims the other way round", tables, "_is_less", greater, column="cifar")
@pytest.mark.parametrize("column", ["cifar", "imagenet"])
def test_the_papers_own_numbers_bear_out_its_claims(column, tmp_path, monkeypatch):
    """The two models of the bound that the paper does not have stay open."""
    monkeypatch.setattr(table_iddpm, "outcomes", outcomes_of(column))
    found = measure(Options(), Output(tmp_path, Display(shown=False)))
    verdicts = [claim["holds"] for claim in found.numbers["claims"]]
    assert (verdicts.count(False), verdicts.count(None)) == (0, 2)
    rows, steps = found.tables
    numbers = {(row[0], row[1], row[2]): row[4].split(" ")[0] for row in rows.rows}
    for row in ROWS:
        paper = getattr(row, column)[0]
        assert numbers[row.schedule, row.objective, row.times] == ("diverged" if paper == NOTHING else paper)
    assert len(steps.rows) == 2 * sum(map(len, SWEPT.values()))
    assert steps.head[2:] == ("10", "25", "50", "100", "200")


def test_the_page_has_the_papers_numbers():
    page = (Path(__file__).parents[3] / "docs" / "papers.md").read_text("utf-8")
    for row in ROWS:
        for variance in row.variances:
            start = f"| {row.schedule} | {row.objective} | {row.times} | {variance} |"
            (line,) = (line for line in page.splitlines() if line.startswith(start))
            assert line.endswith(f"| {' | '.join(row.paper)} |")


@pytest.mark.slow
def test_the_command_measures_what_the_library_measures(tmp_path, capsys):
    options = "--steps 2 --chain 24 --strides 3 --width 8 --examples 10"
    assert run_cli(["papers", "table-iddpm", "--out", tmp_path, *options.split()]) == 0
    found = json.loads((tmp_path / "table-iddpm.json").read_text())
    for row in ROWS:
        run = iw.Run(tmp_path / "cells" / row.name / "run")
        held_out = run.dataset().data[run.split()[1][:10]]
        for variance in row.variances:
            bound = run.model().with_options(variance=variance).bound(held_out, terms=100, seed=0)
            assert found["cells"][row.name]["figures"][variance]["bound"]["total"] == bound.mean().total
    run = iw.Run(tmp_path / "cells" / "cosine-hybrid" / "run")
    held_out = run.dataset().data[run.split()[1][:10]]
    bound = run.model().with_options(variance="small").bound(held_out, steps=3, seed=0)
    assert found["cells"]["cosine-hybrid"]["figures"]["small-3"]["bound"]["total"] == bound.mean().total
    names = {path.name for path in tmp_path.glob("table-iddpm*")}
    assert names == {"table-iddpm.json", "table-iddpm.md", "table-iddpm.png", "table-iddpm-steps.png"}
    assert "Beside the paper:" in capsys.readouterr().out
