"""The report of an evaluation: one file that says what was found, warnings first, and refers to no other file."""

import base64
import shlex
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from faults import run_cli, tiny, without_pictures

from inkwash.commands.cli import _parse
from inkwash.core.config import DenoiserConfig, EvaluateConfig
from inkwash.evaluation import evaluate, evaluate as evaluation
from inkwash.evaluation.metrics import two_sample_test
from inkwash.evaluation.report import MEANINGS, SCORES, command_of, lines, warnings_of
from inkwash.training.fit import fit

NASTY = "<script>alert(1)</script>"
CONFIG = EvaluateConfig(examples=16, terms=2, sampler_steps=3, seed=5)
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What stands in a page: its elements, their attributes, its text; elements must nest."""

    def __init__(self, content):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The evaluation of a table whose columns have names that are no text for HTML, and its page."""
    folder = tmp_path_factory.mktemp("table") / "a & <b>'s"
    folder.mkdir()
    rows = np.random.default_rng(0).normal([3, 100, -7], [1, 20, 4], (90, 3))
    lines = [f"{NASTY},b & c,plain", *(",".join(map(str, row)) for row in rows)]
    (folder / "people.csv").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        config = tiny(folder / "people.csv", steps=1)
        run = fit(replace(config, denoiser=DenoiserConfig(predicts="eps")), folder / "run")  # whose samples drift
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "two_sample_test", lambda a, b, seed: two_sample_test(a, b, seed, shuffles=2))
        result = evaluate(run.path, CONFIG)
    return run, result, (run.path / "evaluation" / "report.html").read_text("utf-8")


def test_the_page_is_html_that_runs_nothing_and_asks_for_nothing(made):
    content = made[2]
    page = Page(content)
    assert {"script", "link", "iframe", "object", "base", "form"}.isdisjoint(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        assert name not in {"src", "href"} or value.startswith("data:image/png;base64,")
    assert "url(" not in content
    assert "@import" not in content
    assert "://" not in page.text


def test_a_name_is_shown_as_it_is(made):
    page = Page(made[2])
    assert f"column '{NASTY}'" in page.text
    assert "column 'b & c'" in page.text
    assert "a & <b>" in page.text
    assert NASTY not in made[2]


def test_the_pictures_are_those_of_the_folder(made):
    run, _, content = made
    embedded = {base64.b64decode(v.partition(",")[2]) for name, v in Page(content).attributes if name == "src"}
    beside = {path.read_bytes() for path in (run.path / "evaluation").glob("*.png")}
    assert embedded == beside
    assert len(embedded) == 2


def test_the_page_says_what_was_measured(made):
    _, result, content = made
    text = Page(content).text
    for found in result["bound"].values():
        assert f"{found['total']:.3f}" in text
    for key, (title, meaning) in MEANINGS.items():
        assert title in text
        assert meaning in text
        for which in ("samples", "floor"):
            assert f"{result['fidelity']['components'][which][key]:.4g}" in text
    for found in result["columns"]["marginals"]:
        assert f"{found['samples']:.4g}{found['floor']:.4g}" in text.replace("\n", "")
    found = result["imputation"]
    for key, mean in found["model"]["numbers"].items():
        alone = found["independent"]["numbers"][key]["value"]
        line = f"{SCORES[key][0]}{mean['value']:.4g}{mean['std_error']:.4g}{alone:.4g}"
        assert line in text.replace("\n", "")
    assert f"R² {result['utility']['samples']:.3f}" in text
    assert f"{100 * result['memorisation']['to_train']:.1f}" in text
    assert "step" in text
    assert "torch" in text


def test_warnings_come_first(made):
    _, result, content = made
    text = Page(content).text
    assert result["warnings"]  # one step teaches nothing
    for warning in result["warnings"]:
        assert text.index(warning) < text.index("Data and model")
    printed = list(lines(result, "report.html", made[0].path))
    assert printed[: len(result["warnings"])] == [f"warning       {warning}" for warning in result["warnings"]]


def test_the_command_makes_the_same_evaluation(made):
    run, _, content = made
    words = shlex.split(command_of(run.path, CONFIG))
    assert command_of(run.path, CONFIG) in Page(content).text
    command = _parse(words[1:])
    assert words[:2] == ["inkwash", "evaluate"]
    assert (command.run, command.config) == (str(run.path), CONFIG)


def test_the_command_line_says_where_the_report_is(made, capsys, monkeypatch):
    monkeypatch.setattr(evaluation, "two_sample_test", lambda a, b, seed: two_sample_test(a, b, seed, shuffles=2))
    run, _, content = made
    assert run_cli(shlex.split(command_of(run.path, CONFIG))[1:]) == 0
    printed = capsys.readouterr().out
    assert f"report        {run.path / 'evaluation' / 'report.html'}" in printed
    assert "warning       drift: the " in printed
    assert (run.path / "evaluation" / "report.html").read_text("utf-8") == content


CLEAN = {
    "imputation": None,
    "drift": [{"where": "channel 0", "what": "mean", "samples": 1.0, "data": 1.1, "score": -2.0, "beyond": False}],
    "memorisation": {"closer": 0.52, "closer_std_error": 0.02, "to_train": 0.49, "to_train_std_error": 0.03},
    "overfitting": {"gap": 0.1, "std_error": 0.05},
    "bound": {"train": {"unit": "bits/dim"}},
    "two_sample": {"accuracy": 0.51, "null_high": 0.53},
}


@pytest.mark.parametrize(
    ("where", "worse", "words"),
    [
        ("memorisation", {"closer": 0.57}, "closer to training data than held-out data does (0.570)"),
        ("memorisation", {"to_train": 0.6}, "60.0% of samples are closest to training data"),
        ("overfitting", {"gap": 0.16}, "0.160 bits/dim worse on held-out data"),
        ("two_sample", {"accuracy": 0.54}, "right of 54.0% of both"),
    ],
)
def test_what_is_beyond_error_is_warned_of(where, worse, words):
    assert warnings_of(CLEAN) == []
    result = deepcopy(CLEAN)
    result[where] |= worse
    (warning,) = warnings_of(result)
    assert words in warning


def test_drift_is_warned_of_in_words():
    result = deepcopy(CLEAN)
    result["drift"][0] |= {"beyond": True, "score": -7.0}
    expected = "drift: the mean of channel 0 is 1 among samples and 1.1 in data, 7.0 standard errors apart"
    assert warnings_of(result) == [expected]


def test_intervals_that_hold_too_little_are_warned_of(made):
    result = deepcopy(made[1])
    result["imputation"]["model"]["numbers"] |= {
        "coverage_50": {"value": 0.44, "std_error": 0.03},
        "coverage_90": {"value": 0.7, "std_error": 0.03},
    }
    printed = [warning for warning in warnings_of(result) if warning.startswith("too sure")]
    assert printed == ["too sure: 70.0% of the numbers hidden lie within the central 90 % of their draws"]
    result["imputation"]["model"]["numbers"]["coverage_90"]["value"] = 0.82
    assert not any(warning.startswith("too sure") for warning in warnings_of(result))
    for error, many in ((0.0, 1), (None, 0)):
        result["imputation"]["model"]["numbers"]["coverage_90"] = {"value": 0.0, "std_error": error}
        assert sum(warning.startswith("too sure: 0.0% of the numbers") for warning in warnings_of(result)) == many


def test_categories_claimed_more_often_than_hit_are_warned_of():
    scores = {"hit": {"value": 0.5, "std_error": 0.1}, "claim": {"value": 0.8, "std_error": 0.1}}
    for excess, error, warned in ((0.3, 0.09, True), (0.3, 0.11, False), (1.0, 0.0, True), (-0.3, 0.0, False)):
        scores["excess"] = {"value": excess, "std_error": error}
        printed = warnings_of(CLEAN | {"imputation": {"model": {"categories": scores}}})
        expected = "too sure: 50.0% of the draws of hidden categories are right, and 80.0% are claimed to be"
        assert printed == [expected] * warned
