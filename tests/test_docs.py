"""The documentation says what is so: its code runs, its examples are right, and every room has its page."""

import importlib.util
import math
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from oracles import Heartbeat

import inkwash as iw
from inkwash.training.fit import train

ROOT = Path(__file__).parents[1]
SOURCE, DOCS = ROOT / "src" / "inkwash", ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
WITH_CODE = [page for page in PAGES if "```python" in page.read_text("utf-8")]
OF_OTHERS = r"--(local-dir|nproc_per_node|nodes|ntasks-per|gpus-per|cpus-per|signal|kill-on-bad-exit|cpu|logdir)\b"
READ_FIRST = ("README", "index", "getting-started")
NEEDS = {"models-from-elsewhere": "diffusers"}
TINY: dict[str, Any] = {
    "process": iw.ProcessConfig(schedule="cosine", steps=12),
    "network": iw.NetworkConfig(width=8, depth=1),
    "train": iw.TrainConfig(steps=2, batch_size=8),
}


def room_of(module: Path) -> str:
    return module.relative_to(SOURCE).with_suffix("").parts[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run that the pages speak of, only smaller."""
    folder = tmp_path_factory.mktemp("docs")
    train("digits", out=folder / "runs" / "digits", **TINY)
    return folder


def test_every_room_has_an_api_page() -> None:
    rooms = {room_of(module) for module in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert {page.stem for page in (DOCS / "api").glob("*.md")} == {*rooms, "index"}
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for room in rooms:
        assert f"<!-- modules: inkwash.{room} -->" in (DOCS / "api" / f"{room}.md").read_text("utf-8")
        assert f"- api/{room}.md" in nav


def with_marks(page: Path) -> Any:
    """What newcomers read first is tested on every push, the other pages with the slow tests."""
    return pytest.param(page, id=page.stem, marks=() if page.stem in READ_FIRST else pytest.mark.slow)


@pytest.mark.parametrize("page", [with_marks(page) for page in WITH_CODE])
def test_python_code_of_a_page_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page, one after another; a run that a block would train is the tiny one."""

    def tiny(source: str, out: str | None = None, **options: Any) -> iw.Run:
        kept = {"data": options["data"]} if "data" in options else {}
        return train(
            source, out, **{**TINY, **kept, **({"train": options["train"]} if "batch_size=0" in block else {})}
        )

    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason="the page is about it")
    monkeypatch.chdir(folder)
    monkeypatch.setitem(vars(iw), "train", tiny)
    namespace: dict[str, Any] = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", type(sys)("page"))
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        exec(compile(block, str(page), "exec"), namespace)  # noqa: S102


def test_the_pages_that_teach_have_code() -> None:
    assert {page.stem for page in WITH_CODE} >= {
        "README",
        "index",
        "getting-started",
        "your-data",
        "model",
        "conditions",
    }


@pytest.mark.slow
def test_example_parts_agrees_with_the_known_truth(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "parts.py"), run_name="__main__")
    assert "true -log p(x)" in capsys.readouterr().out
    for name in ("Ancestral, 200 steps", "DDIM, 200 steps"):
        x = example["samples"][name]
        error = (example["cov"].diagonal() / len(x)).sqrt()
        assert ((x.mean(0) - example["mean"]).abs() < 5 * error).all()
        assert ((x.T.cov() - example["cov"]).abs() < 0.1).all()

    def gap(variance: str, steps: int) -> tuple[float, float]:
        above = example["bounds"][variance, steps] - example["nll"]
        return float(above.mean()), float(above.std() / len(above) ** 0.5)

    for variance, steps in example["bounds"]:
        mean, error = gap(variance, steps)
        assert mean > -4 * error
    assert gap("large", 250)[0] < 4 * gap("large", 250)[1] + 0.05  # the gap closes with the grid …
    assert gap("small", 250)[0] > 0.5  # … but not with the small variance, whose first steps alone cost more


@pytest.mark.slow
def test_example_heartbeat_knows_the_best_bound(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "heartbeat.py"))
    beat, bit = Heartbeat(rate=0.2), math.log(2)
    diffusion = sum(beat.diffusion(30))
    best = (diffusion + beat.reconstruction(30)) / bit, -(diffusion + beat.conditional(29 / 30)) / bit
    assert example["best_values"](30) == pytest.approx(best, abs=1e-6)
    example["report"](grid_steps=20, steps=2, batch_size=4)
    out = capsys.readouterr().out
    assert "best network" in out
    assert "heartbeats" in out


@pytest.mark.slow
def test_example_digits_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tiny(source: str, out: str, **_: Any) -> iw.Run:
        return train(source, out, **TINY)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(iw), "train", tiny)
    monkeypatch.setattr(iw.Diffusion, "sample", limited(iw.Diffusion.sample))
    runpy.run_path(str(ROOT / "examples" / "digits.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "first four of sixteen: True" in out
    assert "bits/dim" in out


@pytest.mark.slow
def test_example_estimator_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "estimator.py"))
    example["main"](steps=(2,), width=8)
    assert re.search(r"best number of steps: 2\n.*\nalcohol is \d", capsys.readouterr().out)


@pytest.mark.slow
def test_example_super_resolution_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its bilinear numbers depend on the data alone; a network that was hardly trained is far behind them."""

    def tiny(source: str, out: str, data: iw.DataConfig, **_: Any) -> iw.Run:
        return train(source, out, data=data, **TINY)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(iw), "train", tiny)
    monkeypatch.setattr(iw.Diffusion, "sample", limited(iw.Diffusion.sample))
    runpy.run_path(str(ROOT / "examples" / "super_resolution.py"), run_name="__main__")
    found = re.search(r"mean draw ([\d.]+) dB, bilinear ([\d.]+) dB", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < float(found[2])


def limited(sample: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Sampling in fewer steps."""
    return lambda model, n, **options: sample(model, n, **{**options, "steps": 5})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.split("#")[0]).exists(), target


def test_readme_has_the_two_commands() -> None:
    start = "python3 -m venv .venv && . .venv/bin/activate && pip install -c constraints.txt -e "
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert start + ". && inkwash train digits" in lines
    assert start + "'.[dev]' && pytest" in lines


def test_every_option_named_in_prose_exists() -> None:
    from inkwash.commands.cli import COMMANDS
    from inkwash.commands.papers import EXPERIMENTS, load_options
    from inkwash.commands.parse import SHARED_OPTIONS, option_names

    commands = [*COMMANDS.values(), *map(load_options, EXPERIMENTS)]
    known = {name.replace("_", "-") for command in commands for name in option_names(command)} | {
        *SHARED_OPTIONS,
        "help",
        "version",
    }
    for script in (ROOT / "benchmarks").glob("*.py"):
        known |= set(re.findall(r'add_argument\("--([a-z-]+)"', script.read_text("utf-8")))
    for page in [*DOCS.glob("*.md"), ROOT / "README.md"]:
        text = re.sub(r"<!-- help: .*?\n```\n", "", page.read_text("utf-8"), flags=re.DOTALL)
        text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)  # tables may name others' options
        text = re.sub(rf"ruff|mkdocs build --strict|{OF_OTHERS}", "", text)
        for option in re.findall(r"(?<![\w-])--([a-z][a-z._-]*[a-z])", text):
            assert option in known, f"{page.name}: --{option}"


def load_hooks() -> Any:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_help_in_the_page_is_that_of_the_commands() -> None:
    """If it is not, `python docs/hooks.py` writes it."""
    hooks = load_hooks()
    page = hooks.COMMAND_LINE.read_text("utf-8")
    assert hooks.with_help(page) == page
    assert "--sampler {None,ancestral,ddim," in page
    assert "│" not in page


def sections_of_commands() -> dict[str, str]:
    """The sections of the page of the command line, by the command."""
    page = load_hooks().COMMAND_LINE.read_text("utf-8")
    return dict(re.findall(r"^## inkwash ?([\w -]*)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))


def test_every_command_has_a_section_with_an_example_and_its_help() -> None:
    from inkwash.commands.cli import COMMANDS
    from inkwash.commands.papers import EXPERIMENTS

    sections = sections_of_commands()
    for name in (*COMMANDS, *(f"papers {name}" for name in EXPERIMENTS)):
        assert f"<!-- help: {name} -->\n```text\nusage: inkwash {name}" in sections[name]
    for name in COMMANDS:
        assert f"```sh\ninkwash {name}" in sections[name]


@pytest.mark.slow
def test_the_examples_of_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_evaluation: None
) -> None:
    """In order, in one folder; what they train is smaller. What needs the Hub or never ends is only understood."""
    from faults import run_cli

    from inkwash.commands.cli import COMMANDS
    from inkwash.commands.parse import parse

    monkeypatch.chdir(tmp_path)
    small = "--process.steps 12 --process.schedule cosine --network.width 8 --network.depth 1 --train.batch-size 8"
    for section in sections_of_commands().values():
        for language, block in re.findall(r"```(python|sh)\n(.*?)```", section, re.DOTALL):
            if language == "python":
                exec(block, {"iw": iw})  # noqa: S102
                continue
            for line in block.splitlines():
                words = re.sub(r"--train.steps \d+", "", line).split()[1:]
                if words[0] in ("push", "studio"):
                    parse(COMMANDS[words[0]], words[0], words[1:], None)
                    continue
                more = f"--train.steps 2 {small}".split() if words[0] == "train" else []
                assert run_cli([*words, *more]) == 0, line


def test_every_public_name_is_listed() -> None:
    rows = load_hooks().on_page_markdown("<!-- public names -->").splitlines()
    names = [name for name in iw.__all__ if not isinstance(getattr(iw, name), ModuleType)]
    assert [re.search(r"`(\w+)`", row)[1] for row in rows] == names


def test_the_site_asks_no_network() -> None:
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in text
    assert "://" not in text
    styles = (DOCS / "assets" / "katex" / "katex.min.css").read_text("utf-8")
    fonts = set(re.findall(r"fonts/([\w-]+\.woff2)", styles))
    assert fonts == {path.name for path in (DOCS / "assets" / "katex" / "fonts").iterdir()}
