"""The report of an evaluation: one file that says what was found, warnings first, and refers to no other file."""

import base64
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from faults import run_cli, tiny, without_pictures

from inkwash.commands.cli import _command
from inkwash.commands.frame import Frame
from inkwash.core.config import Config, DenoiserConfig, EvaluateConfig, NetworkConfig, SamplingConfig, TrainConfig
from inkwash.core.display import Display
from inkwash.evaluation import calibration, fidelity
from inkwash.evaluation.calibration import Imputation, Mean
from inkwash.evaluation.drift import Drift, Moved
from inkwash.evaluation.evaluate import evaluate
from inkwash.evaluation.fidelity import Spaces
from inkwash.evaluation.likelihood import BoundByTime, Likelihood, Overfitting
from inkwash.evaluation.memorisation import Memorisation
from inkwash.evaluation.metrics import TwoSample
from inkwash.evaluation.report import command_of, describe_run
from inkwash.evaluation.result import Evaluation
from inkwash.likelihood.bound import MeanBound
from inkwash.training.fit import fit
from inkwash.training.prepare import prepare
from inkwash.training.run import Header
from inkwash.training.state import start

pytestmark = pytest.mark.usefixtures("quick_evaluation")
NASTY = "<script>alert(1)</script>"
CONFIG = EvaluateConfig(examples=16, bound_terms=2, seed=5, sampling=SamplingConfig("ancestral", 3, "uniform"))
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


class Recorder(Display):
    """Keeps what is printed."""

    def __init__(self):
        super().__init__(shown=False)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The evaluation of a table whose columns have names that are no text for HTML, its page, and what it printed."""
    folder = tmp_path_factory.mktemp("table") / "a & <b>'s"
    folder.mkdir()
    rows = np.random.default_rng(0).normal([3, 100, -7], [1, 20, 4], (90, 3))
    lines = [f"{NASTY},b & c,plain", *(",".join(map(str, row)) for row in rows)]
    (folder / "people.csv").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        config = tiny(folder / "people.csv", steps=1)
        run = fit(replace(config, denoiser=DenoiserConfig(predicts="eps")), folder / "run")  # whose samples drift
    display = Recorder()
    result = evaluate(run.path, CONFIG, display)
    return run, result, (run.path / "evaluation" / "report.html").read_text("utf-8"), display.lines


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
    run, _, content, _ = made
    embedded = {base64.b64decode(v.partition(",")[2]) for name, v in Page(content).attributes if name == "src"}
    beside = {path.read_bytes() for path in (run.path / "evaluation").glob("*.png")}
    assert embedded == beside
    assert len(embedded) == 2


def test_the_page_says_what_was_measured(made):
    _, result, content, _ = made
    text = Page(content).text
    for found in result["bound"].values():
        assert f"{found['total']:.3f}" in text
    for key, (title, meaning) in fidelity.MEANINGS.items():
        assert title in text
        assert meaning in text
        for which in ("samples", "floor"):
            assert f"{result['fidelity']['components'][which][key]:.4g}" in text
    for found in result["columns"]["marginals"]:
        assert f"{found['samples']:.4g}{found['floor']:.4g}" in text.replace("\n", "")
    found = result["imputation"]
    for key, mean in found["model"]["numbers"].items():
        independent = found["independent"]["numbers"][key]["value"]
        line = f"{calibration.MEANINGS[key][0]}{mean['value']:.4g}{mean['std_error']:.4g}{independent:.4g}"
        assert line in text.replace("\n", "")
    assert f"R² {result['utility']['samples']:.3f}" in text
    assert f"{100 * result['memorisation']['to_train']:.1f}" in text
    assert "step" in text
    assert "torch" in text


def test_a_run_that_muon_trains_says_so():
    prepared = prepare(Config("digits", network=NetworkConfig(width=8), train=TrainConfig(learning_rate=0.002)))
    state = start(prepared.config, prepared.examples, torch.device("cpu"))
    about = describe_run(Header.of(prepared, state), prepared.model(state.average))
    assert ", peak learning rate 0.002 with muon, " in about["Training"]


def test_warnings_come_first(made):
    _, result, content, printed = made
    text = Page(content).text
    assert result["warnings"]  # one step teaches nothing
    for warning in result["warnings"]:
        assert text.index(warning) < text.index("Data and model")
    printed = [line for line in printed if not line.endswith("…")]  # what it does while it works
    assert printed[: len(result["warnings"])] == [f"warning       {warning}" for warning in result["warnings"]]


def test_the_command_makes_the_same_evaluation(made):
    run, _, content, _ = made
    words = shlex.split(command_of(run.path, CONFIG))
    assert command_of(run.path, CONFIG) in Page(content).text
    command = _command(Frame(words[1:]))
    assert words[:2] == ["inkwash", "evaluate"]
    assert (command.run, command.config) == (str(run.path), CONFIG)


def test_the_command_line_says_where_the_report_is(made, capsys, monkeypatch):
    run, _, content, _ = made
    assert run_cli(shlex.split(command_of(run.path, CONFIG))[1:]) == 0
    printed = capsys.readouterr().out
    assert f"report        {run.path / 'evaluation' / 'report.html'}" in printed
    assert "warning       drift: the " in printed
    assert (run.path / "evaluation" / "report.html").read_text("utf-8") == content


CLEAN = Evaluation(
    step=1,
    data="data",
    config=CONFIG,
    likelihood=Likelihood(
        bound={"held_out": MeanBound(0.0, 1.0, 2.0, 3.0, 0.1, "bits/dim", 16)},
        bound_by_time=BoundByTime([1.0, 0.0], [1.0], [1.0]),
        overfitting=Overfitting(0.1, 0.05),
        log_density=None,
        importance=None,
    ),
    two_sample=TwoSample(accuracy=0.51, null_mean=0.5, null_high=0.53, p_value=0.4, per_sample=16),
    fidelity=Spaces({}),
    memorisation=Memorisation(1.0, 1.0, 0.52, 0.02, 0.0, 0.49, 0.03, np.zeros(16, int), np.ones(16)),
    drift=Drift((Moved("channel 0", "mean", 1.0, 1.1, -2.0, False),)),
    imputation=None,
    series=None,
    forecasts=None,
    columns=None,
    utility=None,
    labels=None,
)


@pytest.mark.parametrize(
    ("where", "worse", "words"),
    [
        ("memorisation", {"closer": 0.57}, "closer to training data than held-out data does (0.570)"),
        ("memorisation", {"to_train": 0.6}, "60.0% of samples are closest to training data"),
        ("likelihood", {"overfitting": Overfitting(0.16, 0.05)}, "0.160 bits/dim worse on held-out data"),
        ("two_sample", {"accuracy": 0.54}, "right of 54.0% of both"),
    ],
)
def test_what_is_beyond_error_is_warned_of(where, worse, words):
    assert CLEAN.warnings() == []
    (warning,) = replace(CLEAN, **{where: replace(getattr(CLEAN, where), **worse)}).warnings()
    assert words in warning


def test_drift_is_warned_of_in_words():
    moved = replace(CLEAN.drift.moves[0], beyond=True, score=-7.0)
    expected = "drift: the mean of channel 0 is 1 among samples and 1.1 in data, 7.0 standard errors apart"
    assert replace(CLEAN, drift=Drift((moved,))).warnings() == [expected]


def warnings_of_imputation(**model):
    return replace(CLEAN, imputation=Imputation(16, 32, 64, model, {})).warnings()


def test_intervals_that_hold_too_little_are_warned_of():
    numbers = {"coverage_50": Mean(0.44, 0.03), "coverage_90": Mean(0.7, 0.03)}
    expected = ["too sure: 70.0% of the numbers hidden lie within the central 90 % of their draws"]
    assert warnings_of_imputation(numbers=numbers) == expected
    assert warnings_of_imputation(numbers=numbers | {"coverage_90": Mean(0.82, 0.03)}) == []
    for error, many in ((0.0, 1), (None, 0)):
        found = warnings_of_imputation(numbers=numbers | {"coverage_90": Mean(0.0, error)})
        assert sum(warning.startswith("too sure: 0.0% of the numbers") for warning in found) == many


def test_categories_claimed_more_often_than_hit_are_warned_of():
    scores = {"hit": Mean(0.5, 0.1), "claim": Mean(0.8, 0.1)}
    expected = "too sure: 50.0% of the draws of hidden categories are right, and 80.0% are claimed to be"
    for excess, error, warned in ((0.3, 0.09, True), (0.3, 0.11, False), (1.0, 0.0, True), (-0.3, 0.0, False)):
        assert warnings_of_imputation(categories=scores | {"excess": Mean(excess, error)}) == [expected] * warned


def test_json_begins_with_the_options_and_the_bound_and_ends_with_the_warnings():
    plain = CLEAN.to_json()
    assert list(plain)[:3] == ["step", "data", "examples"]
    assert {"config", "likelihood"} & set(plain) == set()
    assert plain["bound"]["held_out"]["unit"] == "bits/dim"
    assert plain["memorisation"]["closer"] == 0.52
    assert {"nearest", "distances"} & set(plain["memorisation"]) == set()
    assert list(plain)[-1] == "warnings"
