"""Evaluate a run on data that it has not seen: what `inkwash evaluate` does.

`subject.py` says what is compared, `result.py` which measures are taken, and each measure is a module of its own. The
evaluation is written into `RUN/evaluation/` as JSON, as pictures and as a report.

A distance stands beside its floor: the distance of training data in place of samples. Where a model has a condition, or
rows may have gaps, samples take the conditions and gaps of one half of the held-out examples and are compared with the
other half.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from inkwash.core import storage
from inkwash.core.config import Device, EvaluateConfig, SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.machine import accelerator
from inkwash.core.options import check
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data.dataset import Dataset
from inkwash.evaluation.alone import dataset_for, describe_model, needs_condition
from inkwash.evaluation.calibration import rows_to_hide
from inkwash.evaluation.features import Features, features_of, require_features
from inkwash.evaluation.forecasts import horizon_of
from inkwash.evaluation.known import Known
from inkwash.evaluation.pictures import draw_pictures
from inkwash.evaluation.report import Heading, page
from inkwash.evaluation.result import Evaluation, measure
from inkwash.evaluation.subject import FEWEST, USUAL, About, Subject, subject_of
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.model.model import Model
from inkwash.process.gaussian import require_gaussian
from inkwash.training.decided import decided, with_sampling
from inkwash.training.prepare import split_indices
from inkwash.training.remote import is_remote
from inkwash.training.run import Run, StrPath, require_run
from inkwash.training.sampling import merged

_COMPARED = 0.5
"""The share of a user's data that samples of a model without a run are compared with."""


def evaluate(
    run: StrPath | Model,
    config: EvaluateConfig | None = None,
    display: Display | None = None,
    *,
    data: Any = None,
    device: Device = "auto",
    features: Features | nn.Module | None = None,
    out: StrPath | None = None,
) -> dict[str, Any]:
    """Evaluate a run, write `evaluation/report.html`, `evaluation.json` and pictures into it, and return what the JSON
    holds. Processes that were started together share the work; the first of them writes.

    A model without a run, such as `inkwash.from_diffusers` gives, is compared with data that you state. What compares
    it with its own training data is left out.

    Args:
        run: the run's folder; or a model.
        config: how much to evaluate, and with which options of sampling; the run decides what these leave open.
        display: where to report; nowhere by default.
        data: what the run was trained on, if that was an object of Python; by default it is read again. For a model,
            data like its samples that it was not trained on: a source or a `Dataset`, as `inkwash.load_dataset` takes
            and gives it.
        device: where to evaluate a run; a model stays where it is.
        features: one more space in which samples and data are compared: a function of examples in data units, channels
            first, `(N, C, H, W)` for images, to real numbers `(N, F)`; or a torch module, which takes images as uint8
            `(N, 3, H, W)`. The config may name one instead.
        out: for a model, the folder to write to; by default `evaluation` in the working folder.

    Raises:
        CheckpointError: no run.
        ConfigError: options that do not go together; continuous time for a process of bits, guidance for a model
            without condition, features of another shape, imputation of examples of more than 256 entries, forecasts of
            other data than series.
        DataError: the data is gone or has changed, or other than the model's; or there are too few examples: fewer than
            20 to train on, or fewer than 10 held out, or than 20 where examples have conditions or may have gaps.
    """
    if isinstance(run, Model):
        _require_none(device=None if device == "auto" else device)
        made = partial(evaluated_alone, run, config, data=data, features=features, out=out)
        return reported(made, display).found.to_json()
    _require_none(out=out)
    made = partial(evaluated, run, config, data=data, device=device, features=features)
    again = typed("sample", run, "-n", 64, "--out", Path(run) / "drawn")
    return reported(made, display, again).found.to_json()


def _require_none(**options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            need = {"device": "auto, as a model stays where it is", "out": "none: the evaluation is kept in the run"}
            raise ConfigError(name, value, need[name])


def reported(made: Callable[[Display], Evaluated], display: Display | None, then: str | None = None) -> Evaluated:
    """Make an evaluation in all processes that were started together; the first of them writes and prints it.

    Args:
        made: makes it, given where to report.
        display: where to report; nowhere by default.
        then: a command to type afterwards.
    """
    place = accelerator()
    main = place.is_main_process
    display = (main and display) or Display(shown=False)
    if place.num_processes > 1:
        display.say(f"processes     {place.num_processes}, which share samples and measures")
    result = made(display)
    if main:
        result.write(display)
        display.found(**result.found.to_json())
        if then is not None:
            display.say(f"next          {then}")
    return result


@dataclass(frozen=True)
class Evaluated:
    """A model that has been evaluated.

    Args:
        folder: where the evaluation is kept.
        subject: what was evaluated.
        found: the evaluation.
        heading: what the report says beside it.
    """

    folder: Path
    subject: Subject
    found: Evaluation
    heading: Heading

    def write(self, display: Display) -> None:
        """Write the evaluation into its folder, and print it."""
        storage.make_folder(self.folder)
        storage.replace(self.folder / "evaluation.json", storage.dump_json(self.found.to_json()))
        pictures = draw_pictures(self.folder, self.subject, self.found)
        storage.replace(self.folder / "report.html", page(self.found, self.heading, pictures))
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
    found = measure(subject, folder.header().step, display)
    return Evaluated(folder.path / "evaluation", subject, found, Heading.of_run(folder, model, config))


def evaluated_alone(
    model: Model,
    config: EvaluateConfig | None,
    display: Display,
    *,
    data: Any,
    features: Features | nn.Module | None = None,
    out: StrPath | None = None,
) -> Evaluated:
    """`evaluate` of a model without a run, without writing anything."""
    config, folder = config or EvaluateConfig(), Path(out or "evaluation")
    check(config, "evaluate")
    if next(each for each in (folder, *folder.absolute().parents) if each.exists()).is_file():
        raise ConfigError("out", f"{folder}, where a file is", "the name of a folder")
    if model.steps > 1:
        usual = SamplingConfig(steps=min(USUAL.steps or model.steps, model.steps))
        config = replace(config, sampling=merged(config.sampling, usual))
    model, dataset = with_sampling(model, config.sampling), dataset_for(model, data)
    config = _possible(model, dataset, config)
    split = split_indices(len(dataset.data), _COMPARED, config.seed)
    function = _features(features, dataset, split[1], config)
    about: About = {"is_trained_on": False, "needs_condition": needs_condition(model, dataset)}
    subject = subject_of(model, dataset, split, config, display, function, **about)
    command = f"inkwash.evaluate(model, {config!r}, data=…)"
    heading = Heading("Model", describe_model(subject, len(dataset.data)), command)
    return Evaluated(folder, subject, measure(subject, None, display), heading)


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
