"""A run: the folder that holds a training run, its checkpoints and what was drawn from it.

```
RUN/config.json              every option, as used
RUN/split.safetensors        which examples were trained on, which were held out
RUN/metrics.jsonl            one line per `train.log_every` steps
RUN/checkpoints/step-…/      the newest two
RUN/samples/  curve.png  summary.json  evaluation/
```
"""

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors, save as dump_tensors
from torch import Tensor

from inkwash.core import storage
from inkwash.core.config import Config, ResolvedConfig
from inkwash.core.errors import CheckpointError, ConfigError, DataError
from inkwash.core.machine import device_of
from inkwash.core.options import Range, first_difference, from_json, to_json
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionSpec, goes_with
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.transform import Transform
from inkwash.model.diffusion import Diffusion
from inkwash.model.units import require_same_values
from inkwash.training.build import build_denoiser, build_model, build_process
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint, require_same_tensors
from inkwash.training.defaults import resolve

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself, beside its tensors.

    Args:
        config: every option, resolved.
        transform: data units to model units.
        condition: what the model can be asked for.
        fingerprint: SHA-256 of the data, its labels and conditions.
        examples: how many examples the data has.
        step: training steps done.
        skipped: steps that were skipped as not finite.
        seconds: time spent in training.
        versions: of inkwash, torch and Python.
    """

    config: ResolvedConfig
    transform: Transform
    condition: ConditionSpec
    fingerprint: str
    examples: Annotated[int, Range(2)]
    step: Annotated[int, Range(0)]
    skipped: Annotated[int, Range(0)]
    seconds: Annotated[float, Range(0)]
    versions: dict[str, str]

    @classmethod
    def from_json(cls, plain: Any, where: str) -> "Header":
        """Parse and check a header.

        Raises:
            CheckpointError: a missing, unknown or bad entry.
        """
        try:
            header = from_json(cls, plain)
            header.transform.check()
            if header.transform.kind != header.config.data.transform:
                raise ConfigError("transform.kind", header.transform.kind, header.config.data.transform)
            _require_condition(header)
            resolved = resolve(header.config, header.transform.spec, header.examples)
            difference = first_difference(resolved, header.config, "config")
            if difference:
                raise ConfigError(difference[0], difference[2], str(difference[1]))
            require_same_values(build_process(header.config.process, header.transform.spec), header.transform)
        except ConfigError as error:
            raise CheckpointError(where, f"a header that does not fit ({error})", "one of this version") from None
        return header


def _require_condition(header: Header) -> None:
    """Check that a header's condition is what its options ask for, and goes with its data."""
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
        path: the folder, a path or text.
    """

    path: Path

    def __init__(self, path: StrPath) -> None:
        object.__setattr__(self, "path", Path(path))

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.path / "checkpoints"

    @property
    def split_file(self) -> Path:
        """Which examples are trained on and which are held out."""
        return self.path / "split.safetensors"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per line."""
        return self.path / "metrics.jsonl"

    def header(self) -> Header:
        """The header of the newest valid checkpoint."""
        return read_header(self.path)[0]

    def restore(self) -> tuple[Header, dict[str, dict[str, Tensor]], Path]:
        """Header and all tensors of the newest valid checkpoint, and where it is."""
        return _read(self.path, ("weights", "average", "proposal", "optimizer"))

    def model(self, device: str | torch.device = "cpu") -> Diffusion:
        """The distribution: the newest valid checkpoint's moving-average weights; see `load`."""
        return load(self.path, device)

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of the metrics file; lines that were cut short are left out."""
        if not self.metrics_file.exists():
            return []
        lines = self.metrics_file.read_bytes().split(b"\n")
        return [line for line in map(_metrics_line, lines[:-1]) if line is not None]

    def split(self) -> tuple[Array, Array]:
        """Indices of the examples trained on, and of those held out.

        Raises:
            CheckpointError: no run, as one of its checkpoints is none, or a damaged split.
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
            source: the data, if it was given as an object of Python; by default what the run was trained on by name.

        Raises:
            DataError: it is gone, or no longer what it was.
        """
        header = self.header()
        data = load_dataset(header.config.source if source is None else source, header.config.data)
        if data.fingerprint() != header.fingerprint:
            raise DataError(header.config.source, "data that has changed", "the data this run was trained on")
        return data

    def write_start(self, config: Config, train: Array, held_out: Array) -> None:
        """Write what is fixed for the whole run."""
        parts = {"train": torch.from_numpy(train), "held_out": torch.from_numpy(held_out)}
        storage.replace(self.split_file, dump_tensors(parts))
        storage.replace(self.path / "config.json", storage.dump_json(to_json(config)))


def is_run(path: Path) -> bool:
    """Whether a folder has what runs or checkpoints have, damaged or not."""
    return any((path / name).exists() for name in ("checkpoints", "config.json", "manifest.json", "header.json"))


def require_run(path: Path) -> None:
    """Check that a folder is a run with a checkpoint.

    Raises:
        CheckpointError: it is not.
    """
    if not list_checkpoints(path / "checkpoints"):
        got = "a folder without checkpoints" if path.is_dir() else "no such folder"
        raise CheckpointError(str(path), got, "a run, as inkwash train makes one")


def load(path: StrPath, device: str | torch.device = "cpu") -> Diffusion:
    """Load a trained model from a run, or from one checkpoint of a run; no code in the files is run.

    Args:
        path: the run's folder, or a checkpoint's.
        device: where the model is to live; "auto" is a CUDA GPU if there is one, and otherwise the CPU.

    Raises:
        ConfigError: "cuda", and no GPU that torch can use.
        CheckpointError: no run, or no checkpoint that is whole. A damaged newest checkpoint gives way to the one before
            it, with a warning.
    """
    place = device_of(device)
    header, groups, where = _read(Path(path), ("average",))
    return _model(header, groups["average"], where, place)


def read_header(path: StrPath) -> tuple[Header, Path]:
    """The header of a run's newest valid checkpoint, or of one checkpoint, and where it is; raises as `load` does."""
    header, _, where = _read(Path(path), ())
    return header, where


def _read(path: Path, groups: tuple[str, ...]) -> tuple[Header, dict[str, dict[str, Tensor]], Path]:
    """Read a checkpoint, or the newest valid one of a run."""
    if (path / "manifest.json").exists():
        plain, tensors = read_checkpoint(path, groups)
        return Header.from_json(plain, str(path)), tensors, path
    require_run(path)
    damaged: dict[Path, CheckpointError] = {}
    while candidates := [p for p in list_checkpoints(path / "checkpoints") if p not in damaged]:
        try:
            header, tensors, _ = _read(candidates[0], groups)
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
    except ValueError:
        return None
    return plain if isinstance(plain, dict) and isinstance(plain.get("step"), int) else None


def _model(header: Header, weights: dict[str, Tensor], path: Path, device: torch.device) -> Diffusion:
    denoiser = build_denoiser(header.config, header.transform.spec, header.condition)
    require_same_tensors(weights, denoiser.state_dict(), str(path))
    denoiser.load_state_dict(weights)
    denoiser = denoiser.requires_grad_(False).to(device)
    return build_model(header.config, header.transform, denoiser, header.condition)


def split_indices(count: int, held_out: float, seed: int) -> tuple[Array, Array]:
    """Cut a permutation of `count` examples: the first floor((1 - held_out) count) to train on, the others held out."""
    order = np.random.default_rng(seed).permutation(count)
    cut = min(max(int((1 - held_out) * count), 1), count - 1)
    return order[:cut], order[cut:]
