"""Trackers of experiments: where the numbers, pictures and options of a run are shown beside its own files.

accelerate knows the trackers. What they record is what the run's files hold: the lines of `metrics.jsonl`, the pictures
of `samples/`, and `config.json`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core import storage
from inkwash.core.config import TrackerName
from inkwash.core.errors import ConfigError
from inkwash.core.options import to_json
from inkwash.core.resolved import AnyResolvedConfig

PROJECT = "inkwash"
"""The project, or experiment, that runs belong to."""


def require_tracker(name: TrackerName) -> None:
    """Raise a `ConfigError` unless a tracker is installed."""
    if name != "jsonl" and find_spec(name) is None:
        raise ConfigError("train.tracker", f"{name}, which is not installed", f"pip install {name}")


class Tracker:
    """Records the numbers and pictures of a run, wherever a tracker keeps them.

    A tracker that fails while it records is left out from then on, with a warning: training goes on.

    Args:
        record: accelerate's tracker, started; None records nothing.
        picture_with: logs a picture, a file, with accelerate's tracker.
    """

    def __init__(self, record: Any = None, picture_with: Callable[[Any, Path, int], None] | None = None) -> None:
        self.record, self._picture_with = record, picture_with

    def log(self, line: dict[str, Any]) -> None:
        """Record a line of metrics, which has a `step`."""
        values = {name: value for name, value in line.items() if name != "step" and value is not None}
        self._try(lambda: self.record.log(values, step=line["step"]))

    def picture(self, path: Path, step: int) -> None:
        """Record a picture of samples after a step."""
        if self._picture_with is not None:
            picture_with = self._picture_with
            self._try(lambda: picture_with(self.record, path, step))

    def finish(self) -> None:
        """Send or write what is left."""
        self._try(lambda: self.record.finish())

    def _try(self, action: Callable[[], None]) -> None:
        if self.record is None:
            return
        try:
            action()
        except Exception as error:  # whatever a server or its client raises
            warnings.warn(f"{self.record.name}: {_first_line(error)}; training goes on without it", stacklevel=2)
            self.record = None


@contextmanager
def tracking(run: Path, config: AnyResolvedConfig, step: int) -> Iterator[Tracker]:
    """The tracker that the options of a run name, from its start to its end.

    Args:
        run: folder of the run.
        config: its options, which the tracker records at the start of the run.
        step: the number of steps done before.

    Raises:
        ConfigError: it cannot start.
    """
    name = config.train.tracker
    if name == "jsonl":
        yield Tracker()
        return
    tracker = Tracker(_started(name, run, config, step), _PICTURES[name])
    try:
        yield tracker
    finally:
        tracker.finish()


def _started(name: TrackerName, run: Path, config: AnyResolvedConfig, step: int) -> Any:
    """accelerate's tracker; a run that is resumed goes on in the record that it began."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    file = run / "tracker.json"
    known = storage.parse_json(file.read_bytes(), str(file)) if file.exists() else {}
    record = LOGGER_TYPE_TO_CLASS[name](**_START[name](run, known.get(name), step))
    try:
        record.start()
        if name not in known:
            record.store_init_configuration(dict(_flat(to_json(config))))
            storage.replace(file, storage.dump_json({**known, name: _identity(record)}))
    except Exception as error:
        got = f"{name}, which does not start ({_first_line(error)})"
        raise ConfigError("train.tracker", got, "one that does; see its documentation") from error
    return record


def _tensorboard(run: Path, identity: str | None, step: int) -> dict[str, Any]:
    return {"run_name": "tensorboard", "logging_dir": run, "purge_step": step + 1}


def _wandb(run: Path, identity: str | None, step: int) -> dict[str, Any]:
    return {"run_name": PROJECT, "name": run.name, "dir": run, "id": identity, "resume": "allow"}


def _trackio(run: Path, identity: str | None, step: int) -> dict[str, Any]:
    return {"run_name": PROJECT, "name": identity or run.name, "resume": "allow" if identity else "never"}


def _mlflow(run: Path, identity: str | None, step: int) -> dict[str, Any]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlflow would tell its makers that it is used
    return {"experiment_name": PROJECT, "run_name": run.name, "run_id": identity}


_START: dict[str, Callable[[Path, str | None, int], dict[str, Any]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "trackio": _trackio,
    "mlflow": _mlflow,
}
"""The arguments with which each tracker starts, given the run's folder, the name that the tracker gave to the run when
it was new, and the number of steps done."""


def _identity(record: Any) -> str | None:
    """The name by which a tracker finds a run again; None if it does by the folder."""
    inner = record.tracker
    found = {"wandb": lambda: inner.id, "trackio": lambda: inner.name, "mlflow": lambda: inner.info.run_id}
    return found.get(record.name, lambda: None)()


def _image(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


def _tensorboard_picture(record: Any, path: Path, step: int) -> None:
    record.log_images({"samples": np.asarray(_image(path))[None]}, step=step, dataformats="NHWC")


def _wandb_picture(record: Any, path: Path, step: int) -> None:
    record.log_images({"samples": [_image(path)]}, step=step)


def _trackio_picture(record: Any, path: Path, step: int) -> None:
    import trackio

    record.log({"samples": trackio.Image(_image(path))}, step=step)


def _mlflow_picture(record: Any, path: Path, step: int) -> None:
    record.log_artifact(str(path), "samples")


_PICTURES: dict[str, Callable[[Any, Path, int], None]] = {
    "tensorboard": _tensorboard_picture,
    "wandb": _wandb_picture,
    "trackio": _trackio_picture,
    "mlflow": _mlflow_picture,
}


def _flat(plain: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Nested options by dotted names; what is no number or text becomes text."""
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{where}{name}.")
        else:
            yield where + name, value if isinstance(value, bool | int | float | str) else str(value)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
