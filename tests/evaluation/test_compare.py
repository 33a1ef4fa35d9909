"""Two runs side by side: what is known of their difference is what examples in pairs say."""

import json
from dataclasses import replace

import numpy as np
import pytest
from bugs import bug
from faults import run_cli, tiny
from scipy.stats import norm, ttest_rel

from inkwash.core.config import DataConfig, EvaluateConfig, SamplingConfig
from inkwash.core.errors import DataError
from inkwash.evaluation import compare as comparing
from inkwash.evaluation.compare import Row, compare, paired
from inkwash.evaluation.finding import Grade
from inkwash.training.fit import fit
from inkwash.training.run import load

pytestmark = pytest.mark.usefixtures("quick_evaluation")
CONFIG = EvaluateConfig(examples=16, sampling=SamplingConfig(steps=3), imputed=0)


def unpaired(a, b):
    return b.mean() - a.mean(), float(np.hypot(a.std(ddof=1), b.std(ddof=1)) / len(a) ** 0.5), len(a)


@bug("the two are taken for independent", comparing, "paired", unpaired)
def test_the_difference_is_that_of_a_paired_test():
    """Against SciPy: difference over standard error is the statistic of the paired t-test."""
    random = np.random.default_rng(0)
    hard = random.normal(0, 10, 200)
    a, b = hard + random.normal(0, 1, 200), hard + random.normal(0.5, 1, 200)
    row = Row.of("bound", Grade(a.mean(), "low", each=a), Grade(b.mean(), "low", each=b))
    assert row.difference / row.std_error == pytest.approx(ttest_rel(b, a).statistic)
    assert row.better == "a"
    assert replace(row, good="high").better == "b"


def test_two_models_that_are_alike_differ_as_often_as_chance_allows():
    """Of many pairs of equally good models, two standard errors are exceeded as often as a normal law says."""
    random, trials = np.random.default_rng(1), 2000
    a, b = random.normal(size=(2, trials, 50)) + 5 * random.normal(size=(trials, 50))
    found = [paired(*pair) for pair in zip(a, b, strict=True)]
    beyond = np.mean([abs(difference) > 2 * error for difference, error, _ in found])
    expected = 2 * norm.sf(2)
    assert beyond == pytest.approx(expected, abs=5 * (expected / trials) ** 0.5)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same points, and one that holds out others."""
    folder = tmp_path_factory.mktemp("runs")
    np.save(folder / "data.npy", np.random.default_rng(0).normal(size=(90, 2)).astype(np.float32))
    short, long = tiny(folder / "data.npy", steps=1), tiny(folder / "data.npy", steps=40)
    fit(short, folder / "a", report=False)
    fit(long, folder / "b", report=False)
    fit(replace(short, data=DataConfig(split_seed=1)), folder / "other", report=False)
    return folder


@pytest.fixture(scope="module")
def found(runs):
    return compare(runs / "a", runs / "b", CONFIG, out=runs / "both")


def test_rows_are_those_of_the_two_evaluations(runs, found):
    rows = {row.name: row for row in found.rows}
    a, b = (json.loads((runs / name / "evaluation/evaluation.json").read_text()) for name in "ab")
    for name, of in (
        ("bound, held out", lambda e: e["bound"]["held_out"]["total"]),
        ("log-density", lambda e: e["log_density"]["held_out"]),
        ("over-fitting", lambda e: e["overfitting"]["gap"]),
    ):
        assert (rows[name].a, rows[name].b) == pytest.approx((of(a), of(b)))
        assert rows[name].difference == pytest.approx(of(b) - of(a))
    assert rows["two-sample accuracy"].b == b["two_sample"]["accuracy"]
    assert rows["Fréchet distance, components"].a == a["fidelity"]["components"]["samples"]["frechet"]
    assert rows["Fréchet distance, components"].std_error is None


def test_the_error_of_the_bound_is_that_of_the_same_examples_with_the_same_noise(runs, found):
    row = next(row for row in found.rows if row.name == "log-density")
    held_out = load_held_out(runs / "a")
    a, b = (load(runs / name).log_prob(held_out).value.numpy() for name in "ab")
    assert row.std_error == pytest.approx((b - a).std(ddof=1) / 4, rel=0.05)
    assert row.examples == 16


def load_held_out(run):
    from inkwash.training.run import Run

    return Run(run).dataset().data[Run(run).split()[1][:16]]


def test_one_report_and_one_table_hold_both(runs, found, capsys):
    page = (runs / "both" / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "<script" not in page
    assert json.loads((runs / "both" / "comparison.json").read_text()) == found.to_json()
    table = "\n".join(found.lines())
    for row in found.rows:
        assert row.name in page
        assert row.name in table


def test_the_command_compares_and_says_where(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", runs / "a", runs / "b", "--examples", 16, "--steps", 3, "--imputed", 0]
    assert run_cli([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["result"]["rows"][0]["name"] == "bound, held out"
    assert {"comparison/report.html", "comparison/comparison.json"} <= set(document["files"])
    assert (tmp_path / "comparison" / "report.html").exists()
    assert run_cli(["evaluate", runs / "a", "--out", "x"]) == 2
    assert "--out: got x, need two runs, as in inkwash evaluate" in capsys.readouterr().err


def test_runs_that_hold_out_other_examples_are_refused_before_the_work(runs, monkeypatch):
    monkeypatch.setattr(comparing, "evaluated", pytest.fail)
    with pytest.raises(DataError, match=r"other held-out examples, need those of .* --data.split-seed"):
        compare(runs / "a", runs / "other", CONFIG, out=runs / "none")
