"""A pipeline of diffusers against data of a user: what `inkwash evaluate` does without a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from inkwash.commands.keywords import pipeline_model
from inkwash.core.config import DataConfig, EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.text import typed
from inkwash.data.dataset import load_dataset
from inkwash.evaluation.evaluate import Evaluated, evaluated_alone, reported
from inkwash.evaluation.report import command_of


def evaluate_pipeline(
    name: str,
    source: str | None,
    labels: str | None,
    config: EvaluateConfig,
    out: Path,
    device: str,
    display: Display,
) -> None:
    """Write the evaluation of a pipeline into a folder; see `inkwash.evaluate`.

    Args:
        name: folder of the pipeline.
        source: data that it was not trained on.
        labels: where the labels of the data are, as of `DataConfig`.
        config: how much to evaluate, and with which options of sampling.
        out: where to write.
        device: where to evaluate.
        display: where to report.

    Raises:
        ConfigError: no data, or options that do not go together.
        DataError: data that cannot be read, or is of another kind than the pipeline's samples.
    """
    if source is None:
        need = "data that the pipeline was not trained on, such as --data FILE.npy, as nobody knows what it was"
        raise ConfigError("data", "nothing", need)

    def made(display: Display) -> Evaluated:
        dataset = load_dataset(source, DataConfig(labels=labels))
        found = evaluated_alone(pipeline_model(name, device), config, display, data=dataset, out=out)
        words = ["--data", source, *(["--labels", labels] if labels else []), "--out", str(out)]
        command = command_of(Path(name), found.subject.config, words=words)
        about = replace(found.heading, name=Path(name).resolve().name, command=command)
        return replace(found, heading=about)

    reported(made, display, typed("sample", name, "-n", 64))
