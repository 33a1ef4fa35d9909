"""Evaluate a run on data that it has not seen: what `inkwash evaluate` does.

`subject.py` says what is compared, `result.py` which measures are taken, and each measure is a module of its own. The
evaluation is written into `RUN/evaluation/` as JSON, as pictures and as a report.

A distance stands beside its floor: the distance of training data in place of samples. Where a model has a condition, or
rows may have gaps, samples take the conditions and gaps of one half of the held-out examples and are compared with the
other half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from inkwash.core import storage
from inkwash.core.config import Device, EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.machine import accelerator
from inkwash.core.options import check
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data.dataset import Dataset
from inkwash.evaluation.calibration import rows_to_hide
from inkwash.evaluation.features import Features, features_of, require_features
from inkwash.evaluation.forecasts import horizon_of
from inkwash.evaluation.known import Known
from inkwash.evaluation.pictures import draw_pictures
from inkwash.evaluation.report import page
from inkwash.evaluation.result import Evaluation, measure
from inkwash.evaluation.subject import FEWEST, USUAL, Subject, subject_of
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.model.model import Model
from inkwash.process.gaussian import require_gaussian
from inkwash.training.decided import decided
from inkwash.training.remote import is_remote
from inkwash.training.run import Run, StrPath, require_run


def evaluate(
    run: StrPath,
    config: EvaluateConfig | None = None,
    display: Display | None = None,
    *,
    data: Any = None,
    device: Device = "auto",
    features: Features | nn.Module | None = None,
) -> dict[str, Any]:
    """Evaluate a run, write `evaluation/report.html`, `evaluation.json` and pictures into it, and return what the JSON
    holds. Processes that were started together share the work; the first of them writes.

    Args:
        run: the run's folder.
        config: how much to evaluate, and with which options of sampling; the run decides what these leave open.
        display: where to report; nowhere by default.
        data: what the run was trained on, if that was an object of Python; by default it is read again.
        device: where to evaluate.
        features: one more space in which samples and data are compared: a function of examples in data units, channels
            first, `(N, C, H, W)` for images, to real numbers `(N, F)`; or a torch module, which takes images as uint8
            `(N, 3, H, W)`. The config may name one instead.

    Raises:
        CheckpointError: no run.
        ConfigError: options that do not go together; continuous time for a process of bits, guidance for a model
            without condition, features of another shape, imputation of examples of more than 256 entries, forecasts of
            other data than series.
        DataError: the data is gone or has changed, or there are too few examples: fewer than 20 to train on, or fewer
            than 10 held out, or than 20 where examples have conditions or may have gaps.
    """
    place = accelerator()
    main = place.is_main_process
    display = (main and display) or Display(shown=False)
    if place.num_processes > 1:
        display.say(f"processes     {place.num_processes}, which share samples and measures")
    result = evaluated(run, config, display, data=data, device=device, features=features)
    if main:
        result.write(display)
        display.found(**result.found.to_json())
        display.say(f"next          {typed('sample', run, '-n', 64, '--out', Path(run) / 'drawn')}")
    return result.found.to_json()


@dataclass(frozen=True)
class Evaluated:
    """A run that has been evaluated.

    Args:
        run: the run.
        subject: what was evaluated.
        found: the evaluation.
    """

    run: Run
    subject: Subject
    found: Evaluation

    @property
    def folder(self) -> Path:
        """Where the evaluation of a run is kept."""
        return self.run.path / "evaluation"

    def write(self, display: Display) -> None:
        """Write the evaluation into the run, and print it."""
        storage.make_folder(self.folder)
        storage.replace(self.folder / "evaluation.json", storage.dump_json(self.found.to_json()))
        pictures = draw_pictures(self.folder, self.subject, self.found)
        storage.replace(self.folder / "report.html", page(self.found, self.run, self.subject.model, pictures))
        for line in self.found.lines():
            display.say(line)
        display.wrote(self.folder / "evaluation.json", *pictures.values(), self.folder / "report.html")
        display.say(f"report        {self.folder / 'report.html'}")


def evaluated(
    run: StrPath,
    config: EvaluateConfig | None,
    display: Display,
    *,
    data: Any = None,
    device: Device = "auto",
    features: Features | nn.Module | None = None,
    known: Known | None = None,
) -> Evaluated:
    """`evaluate`, without writing anything; what is `known` of the data is not found again."""
    if is_remote(run):
        require_run(Path(run))
    folder, config = Run(run), config or EvaluateConfig()
    check(config, "evaluate")
    model, sampling = decided(run, config.sampling, display, device, USUAL)
    config, dataset, split = replace(config, sampling=sampling), folder.dataset(data), folder.split()
    config = _possible(model, dataset, config)
    function = _features(features, dataset, split[1], config)
    subject = subject_of(model, dataset, split, config, display, function, known)
    return Evaluated(folder, subject, measure(subject, folder.header().step, display))


def _features(
    features: Features | nn.Module | None, dataset: Dataset, held_out: Array, config: EvaluateConfig
) -> Features | None:
    """The function of the user, if there is one, after a trial."""
    if features is not None and config.features is not None:
        raise ConfigError("features", config.features, "no features from Python beside it")
    given = features if config.features is None else config.features
    if given is None:
        return None
    function = features_of(given, dataset.spec)
    require_features(function, dataset.spec.to_channels_first(dataset.data[held_out[:FEWEST]]))
    return function


def _possible(model: Model, dataset: Dataset, config: EvaluateConfig) -> EvaluateConfig:
    """The options that go with the model and the data; others are refused before the work.

    Raises:
        ConfigError: see `evaluate`.
    """
    horizon_of(dataset.spec, config)
    if model.steps == 1:
        model.refuse({"bound_terms": config.bound_terms, "bound_steps": config.bound_steps})
    if not isinstance(model, Diffusion):
        for asked, name in ((config.imputed, "imputed"), (config.forecasts, "forecasts")):
            if asked:
                require_diffusion(model, name)
        return replace(config, imputed=0)
    if config.guidance != 1 and (model.condition.classes, model.condition.given) == (None, None):
        raise ConfigError("guidance", config.guidance, "1: this model has no condition to guide to")
    if config.bound_steps == "inf":
        require_gaussian(model.process, "bound_steps inf", "a number of steps")
    rows_to_hide(dataset.spec, config)
    return config
