"""The report of an evaluation: one page of HTML that holds everything it refers to.

The page is a function of what was measured: the same evaluation gives the same bytes. It runs no script and asks no
network. All text is escaped as it is put in.
"""

from __future__ import annotations

import base64
import itertools
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from inkwash.core.config import EvaluateConfig
from inkwash.core.options import to_json
from inkwash.core.text import typed, visible
from inkwash.core.version import __version__
from inkwash.evaluation import calibration, fidelity
from inkwash.evaluation.pictures import BY_TIME, NEIGHBOURS
from inkwash.evaluation.result import Evaluation
from inkwash.model.model import Model
from inkwash.training.build import describe_rate
from inkwash.training.resolve import family_of
from inkwash.training.run import Header, Run

_MOVES = 12
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")
_CURVE = "Loss by training step."


@dataclass(frozen=True)
class Heading:
    """What a report says about a model beside its evaluation.

    Args:
        name: of the model.
        about: the data, the model and its training, a line each.
        command: what evaluates it again.
        options: every option of its training as JSON; None for a model without a run.
        curve: the picture of its loss; there may be none.
        of_object: the kind of the object of Python that a run was trained on, if it was one.
    """

    name: str
    about: Mapping[str, str]
    command: str
    options: str | None = None
    curve: Path | None = None
    of_object: str | None = None

    @classmethod
    def of_run(cls, run: Run, model: Model, config: EvaluateConfig) -> Heading:
        """That of a run, with its model, evaluated with these options."""
        header = run.header()
        options = json.dumps(to_json(header.config), indent=2, ensure_ascii=False)
        source = header.config.source if header.config.source.startswith("<") else None
        about, command = describe_run(header, model), command_of(run.path, config)
        return cls(run.path.resolve().name, about, command, options, run.path / "curve.png", source)


def page(found: Evaluation, heading: Heading, shown: Mapping[str, Path]) -> bytes:
    """The report: one file of HTML.

    Args:
        found: the evaluation.
        heading: what it says about the model beside that.
        shown: the pictures to hold, by their captions.
    """
    curve = heading.curve
    pictures = {**shown, _CURVE: curve} if curve is not None and curve.exists() else shown
    return _rendered(
        "report.html",
        found=found,
        warnings=found.warnings(),
        head=heading,
        pictures={caption: _data_uri(path) for caption, path in pictures.items()},
        meanings=fidelity.MEANINGS,
        spaces=fidelity.SPACES,
        scores=calibration.MEANINGS,
        moves=found.drift.largest(_MOVES),
        curve=_CURVE,
        by_time=BY_TIME,
        neighbours=NEIGHBOURS,
        versions=versions(),
    )


def comparison_page(comparison: Any, command: str, pictures: Mapping[str, Mapping[str, Path]], warnings: Any) -> bytes:
    """The report of two runs: one file of HTML.

    Args:
        comparison: an `inkwash.evaluation.compare.Comparison`.
        command: the command line that makes it again.
        pictures: the pictures to hold, by their captions and by the letter of the run.
        warnings: what is wrong with each run, by its name.
    """
    uris = {caption: [(name, _data_uri(path)) for name, path in pair.items()] for caption, pair in pictures.items()}
    shown = {"comparison": comparison, "command": command, "warnings": warnings, "pictures": uris}
    return _rendered("comparison.html", **shown, versions=versions())


def _rendered(template: str, **content: Any) -> bytes:
    """A page from its template."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
    )
    files = resources.files("inkwash.evaluation")
    made = environment.from_string(files.joinpath(template).read_text("utf-8"))
    return made.render(style=files.joinpath("report.css").read_text("utf-8").rstrip(), **content).encode()


def _visible(value: Any) -> Any:
    """A value of the template as it is shown; text of the report's own markup passes as it is."""
    return visible(value) if type(value) is str else value


def command_of(run: Path, config: EvaluateConfig, *others: Path, words: Sequence[str] = ()) -> str:
    """The command line that makes an evaluation again, of one model or of several side by side; `words` end it."""
    options = to_json(config)
    options |= options.pop("sampling")
    stated = ([f"--{name.replace('_', '-')}", str(value)] for name, value in options.items() if value is not None)
    return typed("evaluate", run, *others, *itertools.chain(*stated), *words)


def describe_run(header: Header, model: Model) -> dict[str, str]:
    """Data, model and training, a line each."""
    train, labels, family = header.config.train, header.condition, family_of(header.config)
    parts = family.describe(header.config, header.transform.spec, family.trained(model))
    about = {
        "Data": f"{header.config.source}: {header.examples} examples, SHA-256 {header.fingerprint}",
        "An example": header.transform.describe(),
        "Labels": f"{header.config.data.labels}: {labels.describe()}" if labels.classes else "none",
        **{name.capitalize(): text for name, text in parts.items()},
        "Training": f"{header.step} of {train.steps} steps of {train.batch_size} examples in {header.seconds:.0f} s; "
        f"{header.skipped} skipped as not finite; {family.goal(header.config)}, peak {describe_rate(train)}, "
        f"moving average {header.ema:g}, seed {train.seed}",
    }
    return about | {"Trained with": ", ".join(f"{name} {version}" for name, version in header.versions.items())}


def versions() -> dict[str, str]:
    """The versions here and now of everything that an evaluation depends on."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"inkwash": __version__, "python": platform.python_version(), **found}


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
