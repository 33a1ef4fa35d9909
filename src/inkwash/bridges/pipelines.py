"""The parts of a pipeline of diffusers, from a folder or from the object.

A folder is read as data: JSON for what the parts are, and safetensors for weights. Classes are looked up by name in
fixed lists, so that no code of the folder or of the Hub runs.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inkwash.bridges.schedulers import SAMPLERS
from inkwash.core import storage
from inkwash.core.errors import CheckpointError, ConfigError, InkwashError
from inkwash.data.raw import require_extra

_INDEX = "model_index.json"
NETWORK, AUTOENCODER = "UNet2DModel", "AutoencoderKL"
_AUTOENCODERS = ("vae", "vqvae")
_OF_TEXT = ("text_encoder", "text_encoder_2", "tokenizer", "bert", "prompt_encoder", "image_encoder")
_NO_TEXT = "a pipeline without text: unconditional, or with class labels"


@dataclass(frozen=True)
class Pipeline:
    """The parts of a pipeline.

    Args:
        where: its folder or class, for errors.
        network: the U-Net.
        scheduler: the scheduler.
        autoencoder: of a latent pipeline; None for one of pixels.
    """

    where: str
    network: Any
    scheduler: Any
    autoencoder: Any = None

    def to(self, device: torch.device) -> None:
        """Move the networks."""
        for part in (self.network, self.autoencoder):
            if part is not None:
                part.to(device)


def is_pipeline(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a local folder of a pipeline."""
    return (Path(name) / _INDEX).is_file()


def pipeline_of(source: Any) -> Pipeline:
    """The parts of a pipeline.

    Args:
        source: its folder, or the object.

    Raises:
        ConfigError: something else.
        CheckpointError: a part that is missing, damaged, or of another kind than `from_diffusers` can read.
        MissingPackageError: diffusers is not installed.
    """
    if isinstance(source, str | Path):
        return _read(Path(source))
    parts = getattr(source, "components", None)
    if not isinstance(parts, dict):
        raise ConfigError("source", type(source).__name__, "the folder of a pipeline of diffusers, or the object")
    where = type(source).__name__
    kinds = {name: type(part).__name__ for name, part in parts.items() if part is not None}
    autoencoder = _require_known(kinds, where)
    return Pipeline(where, parts["unet"], parts["scheduler"], parts[autoencoder] if autoencoder else None)


def _read(folder: Path) -> Pipeline:
    """The pipeline in a folder."""
    if not is_pipeline(folder):
        own = "the pipeline that DiffusionPipeline.from_pretrained(NAME, use_safetensors=True) gives"
        need = f"a local folder of a pipeline (model_index.json); for one of the Hub, pass {own}"
        raise CheckpointError(str(folder), "no pipeline", need)
    index = _read_json(folder / _INDEX)
    kinds = {name: kind[1] for name, kind in index.items() if isinstance(kind, list) and len(kind) == 2 and kind[1]}
    autoencoder = _require_known(kinds, str(folder))
    return Pipeline(
        str(folder),
        _network(folder / "unet", NETWORK),
        _scheduler(folder / "scheduler"),
        _network(folder / autoencoder, AUTOENCODER) if autoencoder else None,
    )


def _require_known(kinds: dict[str, str], where: str) -> str | None:
    """The name of the part that is the autoencoder, if there is one.

    Raises:
        CheckpointError: a part that is missing or cannot be used.
    """
    text = next((name for name in _OF_TEXT if name in kinds), None)
    if text is not None or kinds.get("unet") == "UNet2DConditionModel":
        raise CheckpointError(where, f"text conditioning ({kinds[text or 'unet']})", _NO_TEXT)
    if "unet" not in kinds and "transformer" in kinds:
        raise CheckpointError(where, f"a transformer ({kinds['transformer']})", f"a pipeline of a U-Net ({NETWORK})")
    _require_one_of(f"{where}: unet", kinds.get("unet"), [NETWORK])
    _require_one_of(f"{where}: scheduler", kinds.get("scheduler"), SAMPLERS)
    name = next((name for name in _AUTOENCODERS if name in kinds), None)
    if name is not None:
        _require_one_of(f"{where}: {name}", kinds[name], [AUTOENCODER])
    return name


def _require_one_of(where: str, got: str | None, known: Collection[str]) -> None:
    if got not in known:
        raise CheckpointError(where, got or "nothing", "one of " * (len(known) > 1) + ", ".join(known))


def _network(folder: Path, name: str) -> nn.Module:
    """A network whose weights are all those of its file, and no others."""
    config = _read_json(folder / "config.json")
    _require_one_of(str(folder / "config.json"), config.get("_class_name"), [name])
    options = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    try:
        kind = getattr(require_extra("diffusers", "diffusers", str(folder)), name)
        network, report = kind.from_pretrained(folder, low_cpu_mem_usage=False, **options)
    except InkwashError:
        raise
    except Exception as error:  # what diffusers, safetensors and torch raise for damaged files has no common base
        raise CheckpointError(str(folder), _first_line(error), f"the safetensors weights of this {name}") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            odd = problem.removesuffix("_keys")
            got = f"{len(report[problem])} {odd} weights, such as {next(iter(report[problem]))}"
            raise CheckpointError(str(folder), got, "weights that fit config.json")
    return network


def _scheduler(folder: Path) -> Any:
    path = folder / "scheduler_config.json"
    config = _read_json(path)
    name = config.get("_class_name")
    _require_one_of(str(path), name, SAMPLERS)
    try:
        return getattr(require_extra("diffusers", "diffusers", str(folder)), str(name)).from_config(config)
    except InkwashError:
        raise
    except Exception as error:  # see _network
        raise CheckpointError(str(path), _first_line(error), f"the options of a {name}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(str(path), error.strerror or str(error), "a file of a pipeline of diffusers") from None
    found = storage.parse_json(content, str(path), "the file as diffusers wrote it")
    if not isinstance(found, dict):
        raise CheckpointError(str(path), type(found).__name__, "names and values")
    return found


def _first_line(error: Exception) -> str:
    return (f"{error}".strip() or type(error).__name__).splitlines()[0]
