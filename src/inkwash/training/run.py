"""A run: the folder that holds a training run, its checkpoints and the samples made on the way.

```
RUN/config.json              every option, as used
RUN/split.safetensors        which examples were trained on, and which were held out
RUN/metrics.jsonl            one line per `train.log_every` steps
RUN/checkpoints/step-…/      the newest two
RUN/samples/  curve.png  summary.json  evaluation/  grids/  variances/
```
"""

import difflib
import json
import os
import platform
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors, save as dump_tensors
from torch import Tensor

from inkwash.core import storage
from inkwash.core.brief import page
from inkwash.core.errors import CheckpointError, ConfigError, DataError, NonFiniteError, RunDiffersError
from inkwash.core.machine import device_of
from inkwash.core.options import Range, first_difference, from_json, to_json
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.core.shapes import Array
from inkwash.core.version import __version__
from inkwash.data.condition import ConditionSpec, goes_with
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.transform import Transform
from inkwash.model.model import Model
from inkwash.training.checkpoint import (
    clear_unfinished,
    first_not_finite,
    list_checkpoints,
    read_checkpoint,
    require_same_tensors,
    save_checkpoint,
)
from inkwash.training.prepare import Prepared
from inkwash.training.remote import is_remote, located, repository_of
from inkwash.training.resolve import family_of, resolve
from inkwash.training.state import TrainState
from inkwash.training.summary import Summary

StrPath = str | os.PathLike[str]
_Groups = dict[str, dict[str, Tensor]]
_EVERYTHING = ("weights", "average", "averages", "proposal", "optimizer")
_BEFORE_CHECKPOINTS = {"checkpoints", "config.json", "split.safetensors", "metrics.jsonl", "lock"}
"""The entries of a run that was cut short before its first checkpoint."""


# Annotations are objects in this module, not text: to parse a header, nothing must be compiled.


@dataclass(frozen=True)
class Header:
    """What a checkpoint holds beside its tensors.

    Args:
        config: every option, all decided.
        transform: converts data units to model units.
        condition: what the model takes beside noisy data and time.
        fingerprint: SHA-256 of the data, its labels and conditions.
        examples: the number of examples of the data.
        step: the number of training steps done.
        ema: the horizon of the average of the weights that the model samples with.
        skipped: the number of steps that were skipped because they were not finite.
        seconds: the time spent in training.
        versions: those of inkwash, torch and Python.
    """

    config: AnyResolvedConfig
    transform: Transform
    condition: ConditionSpec
    fingerprint: str
    examples: Annotated[int, Range(2)]
    step: Annotated[int, Range(0)]
    ema: Annotated[float, Range(0)]
    skipped: Annotated[int, Range(0)]
    seconds: Annotated[float, Range(0)]
    versions: dict[str, str]

    def __repr__(self) -> str:
        return (
            f"<Header: step {self.step} of {self.config.train.steps}, {self.config.source}, {self.examples} examples>"
        )

    @classmethod
    def of(cls, prepared: Prepared, state: TrainState) -> "Header":
        """The header of a checkpoint of a state."""
        return cls(
            config=prepared.config,
            transform=prepared.transform,
            condition=prepared.examples.condition,
            fingerprint=prepared.fingerprint,
            examples=len(prepared.dataset.data),
            step=state.step,
            ema=state.averages.horizon,
            skipped=state.skipped,
            seconds=state.seconds,
            versions={"inkwash": __version__, "torch": torch.__version__, "python": platform.python_version()},
        )

    @classmethod
    def from_json(cls, plain: Any, where: str) -> "Header":
        """Parse and check a header.

        Raises:
            CheckpointError: an entry is missing, unknown or bad.
        """
        try:
            header = _with_later_options(from_json(cls, plain))
            header.transform.check()
            if header.transform.kind != header.config.data.transform:
                raise ConfigError("transform.kind", header.transform.kind, header.config.data.transform)
            _require_condition(header)
            if header.ema not in header.config.train.ema:
                raise ConfigError("ema", header.ema, f"one of config.train.ema, {header.config.train.ema}")
            resolved = resolve(header.config, header.transform.spec, header.examples)
            difference = first_difference(resolved, header.config, "config")
            if difference:
                raise ConfigError(difference[0], difference[2], str(difference[1]))
            family_of(header.config).check(header.config, header.transform)
        except ConfigError as error:
            raise CheckpointError(where, f"a header that does not fit ({error})", "one of this version") from None
        return header


def _with_later_options(header: Header) -> Header:
    """A header with what earlier runs did before it was an option: they used AdamW, and no histograms."""
    config: Any = header.config
    changed: dict[str, Any] = {"train": replace(config.train, optimizer=config.train.optimizer or "adamw")}
    denoiser = getattr(config, "denoiser", None)
    if denoiser and denoiser.predicts:
        changed["denoiser"] = replace(denoiser, histogram=bool(denoiser.histogram))
    return replace(header, config=replace(config, **changed))


def _require_condition(header: Header) -> None:
    """Raise a `ConfigError` unless the condition of a header agrees with its options and its data."""
    condition, data = header.condition, header.config.data
    condition.check()
    if (condition.classes is None) != (data.labels is None):
        raise ConfigError("condition.classes", condition.classes, "classes if data.labels is set")
    if (condition.given is None) != (data.condition is None and data.shrink is None):
        raise ConfigError("condition.given", condition.given, "a transform if data.condition or data.shrink is set")
    if condition.given is not None and not goes_with(condition.given.spec, header.transform.spec):
        raise ConfigError("condition.given", condition.given.spec.describe(), "what goes with the examples")


@dataclass(frozen=True, init=False)
class Run:
    """A run folder.

    Args:
        path: the folder, or `hf:OWNER/NAME`, which is fetched from the Hugging Face Hub; see `load`.
    """

    path: Path

    def __init__(self, path: StrPath) -> None:
        object.__setattr__(self, "path", located(path))

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """The summary, the learning curve and the last samples, as far as there are some."""
        if not list_checkpoints(self.checkpoints):
            return page(repr(self), ["no checkpoint yet"])
        header, summary = self.header(), self.path / "summary.json"
        words = [header.transform.describe(), *(Summary.read(summary).lines() if summary.exists() else ())]
        pictures = [self.path / "curve.png", *sorted((self.path / "samples").glob("step-*.png"))[-1:]]
        title = f"{self!r}: {header.config.source}, step {header.step} of {header.config.train.steps}"
        return page(title, words, [path.read_bytes() for path in pictures if path.exists()])

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def split_file(self) -> Path:
        """The file that lists which examples are trained on, and which are held out."""
        return self.path / "split.safetensors"

    @property
    def metrics_file(self) -> Path:
        """The file of metrics, which has one JSON object per line."""
        return self.path / "metrics.jsonl"

    def header(self) -> Header:
        """The header of the newest valid checkpoint."""
        return read_header(self.path)[0]

    def restore(self) -> tuple[Header, _Groups, Path]:
        """The header and all tensors of the newest valid checkpoint, and its path."""
        return _read(self.path, _EVERYTHING)

    def model(self, device: str | torch.device = "cpu") -> Model:
        """The distribution that the averaged weights of the newest valid checkpoint stand for; see `load`."""
        return load(self.path, device)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the file of metrics; lines that were cut short are left out."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_bytes().split(b"\n")
        return [line for line in map(_metrics_line, lines[:-1]) if line is not None]

    def split(self) -> tuple[Array, Array]:
        """The indices of the examples trained on, and of those held out.

        Raises:
            CheckpointError: the folder is not a run (a single checkpoint is not), or its split is damaged.
        """
        require_run(self.path)
        try:
            parts = parse_tensors(self.split_file.read_bytes())
            train, held_out = parts["train"].numpy(), parts["held_out"].numpy()
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(str(self.split_file), f"no split ({error})", "the file as inkwash wrote it") from None
        every = np.concatenate([train.ravel(), held_out.ravel()])
        if every.dtype != np.int64 or not np.array_equal(np.sort(every), np.arange(len(every))):
            raise CheckpointError(str(self.split_file), "no split of the examples", "the file as inkwash wrote it")
        return train, held_out

    def dataset(self, source: Any = None) -> Dataset:
        """The data of the run, read again.

        Args:
            source: the data, if it is an object of Python, or has been read for the run; by default the source that
                the run names is read.

        Raises:
            DataError: the data is gone, or has changed.
        """
        header = self.header()
        data = source
        if not isinstance(source, Dataset):
            data = load_dataset(header.config.source if source is None else source, header.config.data)
        if data.fingerprint() != header.fingerprint:
            need = "the data this run was trained on, or a run of the new data, by inkwash train"
            raise DataError(header.config.source, "data that has changed", need)
        return data

    def begin(self, prepared: Prepared, state: TrainState) -> None:
        """Write what is fixed for the run, and the checkpoint before the first step."""
        split = {"train": prepared.examples.indices, "held_out": prepared.held_out.indices}
        storage.replace(self.split_file, dump_tensors({name: torch.from_numpy(part) for name, part in split.items()}))
        storage.replace(self.path / "config.json", storage.dump_json(to_json(prepared.config)))
        storage.replace(self.metrics_file, b"")
        self.save(prepared, state)

    def save(self, prepared: Prepared, state: TrainState) -> None:
        """Write a checkpoint.

        Raises:
            NonFiniteError: a weight is not finite; nothing has been written.
        """
        family_of(prepared.config).measure(prepared.config, state.average, prepared.examples)
        groups = state.tensors()
        if odd := first_not_finite(groups):
            raise NonFiniteError(f"step {state.step}: {odd}", "a weight that is not finite", "finite weights")
        save_checkpoint(self.checkpoints, state.step, to_json(Header.of(prepared, state)), groups)

    def resume(self, prepared: Prepared, state: TrainState) -> None:
        """Bring a state to the newest valid checkpoint.

        Raises:
            RunDiffersError: the run was started with other options or data.
            CheckpointError: there is no valid checkpoint, or its tensors do not fit the state.
        """

        def load_into_state(header: Header, groups: _Groups, path: Path) -> None:
            self._require_same(header, prepared)
            state.load(groups, header.step, header.ema, str(path))
            state.skipped, state.seconds = header.skipped, header.seconds

        _read(self.path, _EVERYTHING, load_into_state)

    def discard_after(self, step: int) -> None:
        """Remove saves that were cut short, and the metrics of later steps."""
        clear_unfinished(self.checkpoints)
        kept = [line for line in self.metrics() if line["step"] <= step]
        storage.replace(self.metrics_file, b"".join(storage.dump_line(line) for line in kept))

    def require_place(self, prepared: Prepared) -> None:
        """Check that training may write into the folder; nothing is written.

        Raises:
            ConfigError: the folder holds something else than a run, or a run with other options or data.
        """
        if list_checkpoints(self.checkpoints):
            self._require_same(self.header(), prepared)
        elif self.path.exists():
            found = self.path.iterdir() if self.path.is_dir() else [self.path]
            if any(each.name.lstrip(".").removesuffix(".new") not in _BEFORE_CHECKPOINTS for each in found):
                need = f"a run's folder, an empty one or a new one, such as --out {storage.unused(self.path)}"
                raise ConfigError("out", f"{self.path}, which is no run", need)

    def _require_same(self, header: Header, prepared: Prepared) -> None:
        """Raise a `RunDiffersError` if the run was started with other options or data."""
        difference = first_difference(prepared.config, header.config)
        if difference:
            name, got, need = difference
            raise RunDiffersError(name, got, str(need), self.path, storage.unused(self.path))
        got, need = (each.spec.recurring_words() for each in (prepared.transform, header.transform))
        if got != need:
            raise RunDiffersError("data.masses", got, need, self.path, storage.unused(self.path))
        if prepared.fingerprint != header.fingerprint:
            raise RunDiffersError("data", "other data than before", "the same", self.path, storage.unused(self.path))


def is_run(path: Path) -> bool:
    """Whether a folder has files of a run or a checkpoint, which may be damaged."""
    return any((path / name).exists() for name in ("checkpoints", "config.json", "manifest.json", "header.json"))


def require_run(path: Path) -> None:
    """Check that a folder is a run with a checkpoint.

    Raises:
        CheckpointError: the folder is not; or it is the name of a run on the Hub, which has no folder of its own.
    """
    if is_remote(path):
        need = f"a folder of your own, to write to: hf download {repository_of(str(path))[0]} --local-dir FOLDER"
        raise CheckpointError(str(path), "a run on the Hub", need)
    if not list_checkpoints(path / "checkpoints"):
        got = "a folder without checkpoints" if path.is_dir() else "no such folder"
        need = f"a run, as inkwash train makes one: inkwash train DATA --out {path}{_nearest_run(path)}"
        raise CheckpointError(str(path), got, need)


def _nearest_run(path: Path) -> str:
    """A question after the run with the nearest name, in the same folder or in the usual one."""
    found = [each for folder in (path.parent, Path("runs")) for each in folder.glob("*") if is_run(each)]
    close = difflib.get_close_matches(path.name, [each.name for each in found], n=1, cutoff=0.5)
    return f"; did you mean {next(each for each in found if each.name == close[0])}?" if close else ""


def load(path: StrPath, device: str | torch.device = "cpu") -> Model:
    """Load a trained model from a run, or from one checkpoint of a run; no code in the files is run.

    If the newest checkpoint of a run is damaged, the one before it is loaded, with a warning.

    Args:
        path: the folder of the run or of the checkpoint; or `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`, for a run on
            the Hugging Face Hub.
        device: where the model shall live; "auto" is a CUDA GPU if there is one, and otherwise the CPU.

    Raises:
        ConfigError: the device is "cuda", and torch finds no CUDA GPU.
        CheckpointError: the folder is not a run, or has no valid checkpoint.
    """
    place = device_of(device)
    return _model(*read_average(path), place)


def read_average(path: StrPath) -> tuple[Header, dict[str, Tensor]]:
    """The header of a run's newest valid checkpoint, or of one checkpoint, and the averaged weights; it raises what
    `load` does."""
    header, groups, _ = _read(located(path), ("average",))
    return header, groups["average"]


def read_header(path: StrPath) -> tuple[Header, Path]:
    """The header of a run's newest valid checkpoint, or of one checkpoint, and its path; it raises what `load` does."""
    header, _, where = _read(located(path), ())
    return header, where


def _require_fitting(header: Header, groups: _Groups, path: Path) -> None:
    """Check that weights are those of the header's networks, before any memory is taken for these.

    Raises:
        CheckpointError: they are not.
    """
    if "average" in groups:
        with torch.device("meta"):
            trained = family_of(header.config).build(header.config, header.transform, header.condition)
        require_same_tensors(groups["average"], trained.state_dict(), str(path))


def _read(
    path: Path, groups: tuple[str, ...], accept: Callable[[Header, _Groups, Path], None] = _require_fitting
) -> tuple[Header, _Groups, Path]:
    """Read a checkpoint, or the newest one of a run that is valid and that `accept` does not refuse."""
    if (path / "manifest.json").exists():
        plain, tensors = read_checkpoint(path, groups)
        header = Header.from_json(plain, str(path))
        accept(header, tensors, path)
        return header, tensors, path
    require_run(path)
    damaged: dict[Path, CheckpointError] = {}
    while candidates := [p for p in list_checkpoints(path / "checkpoints") if p not in damaged]:
        try:
            header, tensors, _ = _read(candidates[0], groups, accept)
        except CheckpointError as error:
            damaged[candidates[0]] = error
            continue
        there = [error for where, error in damaged.items() if where.exists()]
        if there:
            warnings.warn(f"{there[0]}; using {candidates[0].name} instead", stacklevel=3)
        return header, tensors, candidates[0]
    raise next(iter(damaged.values()))


def _metrics_line(line: bytes) -> dict[str, Any] | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return plain if isinstance(plain, dict) and isinstance(plain.get("step"), int) else None


def _model(header: Header, weights: dict[str, Tensor], device: torch.device) -> Model:
    family, config = family_of(header.config), header.config
    trained = family.build(config, header.transform, header.condition)
    trained.load_state_dict(weights)
    return family.model(config, header.transform, trained.requires_grad_(False).to(device), header.condition)
