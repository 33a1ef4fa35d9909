"""`export`: a model as files that run without inkwash."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from inkwash.bridges import standalone
from inkwash.bridges.portable import Portable, description, example_inputs
from inkwash.core import storage
from inkwash.core.config import ExportName
from inkwash.core.errors import ConfigError, require_one_of
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.model.model import Model

_MOST = (1 << 31) - (1 << 20)
"""Bytes of weights that a file of ONNX holds: it is one message of protobuf, of less than 2 GiB."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        files: the files, that of the model first.
        difference: the largest difference between what it returns and what the model does, as a share of the largest
            number that the model returns, over several times, batches of 1 and 5, and every output.
    """

    files: tuple[Path, ...]
    difference: float


def export(model: Model, to: ExportName, out: str | Path, *, guidance: float = 1.0) -> Exported:
    """Write the denoiser of a model for another runtime, and a sampler beside it that needs NumPy and that runtime.

    The file holds the averaged weights, the schedule, the transform and what its inputs and outputs mean. The number of
    examples is free. What the file returns is compared with what the model returns.

    Args:
        model: a diffusion model of the data.
        to: "onnx", for onnxruntime and others; or "torch-export", for torch.
        out: the file, `.onnx` or `.pt2`.
        guidance: the weight of the model's condition, which is fixed in the file; see `NetworkDenoiser`.

    Raises:
        ConfigError: a model that cannot be exported, a bad option, a missing package, or too many weights.
        StorageError: the file cannot be written.
    """
    require_one_of("to", to, TARGETS)
    target, path = TARGETS[to], Path(out)
    if path.suffix != target.suffix:
        raise ConfigError("out", str(out), f"a file that ends in {target.suffix}")
    target.require(to)
    diffusion = require_diffusion(model, "export")
    if diffusion.device.type != "cpu":
        raise ConfigError("export", f"a model on {diffusion.device}", "one on the CPU, as iw.load(run) gives it")
    portable = Portable(diffusion, guidance)
    about = storage.dump_json(description(diffusion, portable)).decode()
    with _quietly():
        content = target.dump(_program(portable, diffusion), portable.outputs, about)
    sampler = path.with_name(f"{path.stem}_sampler.py")
    storage.replace(path, content)
    storage.replace(sampler, Path(standalone.__file__).read_bytes())
    return Exported((path, sampler), _difference(portable, diffusion, path))


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Args:
        suffix: what its name ends in.
        packages: those that must be installed, and the extra that has them; none if there is no extra.
        dump: makes the content from the graph, the names of its outputs, and its description.
    """

    suffix: str
    packages: tuple[str, ...]
    dump: Callable[[ExportedProgram, Sequence[str], str], bytes]

    def require(self, name: str) -> None:
        """Raise a `ConfigError` if a package is missing."""
        for package in self.packages:
            try:
                import_module(package)
            except ImportError:
                raise ConfigError("to", f"{name}, and no package {package}", f"pip install 'inkwash[{name}]'") from None


def _program(portable: Portable, model: Diffusion) -> ExportedProgram:
    """The graph, for any number of examples; it is traced with three, as one would be taken for a constant."""
    inputs, batch = example_inputs(model, 3), Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(portable, (), inputs, dynamic_shapes={name: {0: batch} for name in inputs})


def _onnx(program: ExportedProgram, outputs: Sequence[str], about: str) -> bytes:
    weights = sum(part.numel() * part.element_size() for part in program.state_dict.values())
    if weights > _MOST:
        raise ConfigError("to", f"onnx, and {weights} bytes of weights", f"at most {_MOST} of them, or torch-export")
    found = torch.onnx.export(program, dynamo=True, external_data=False, output_names=outputs, verbose=False)
    message = found.model_proto  # type: ignore[union-attr]
    _name_batch(message.graph)
    message.metadata_props.add(key=standalone.NAME, value=about)
    return message.SerializeToString()


def _name_batch(graph: Any) -> None:
    """Call the one open side of a graph `batch`, where torch calls it by a number such as `s31`."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if symbol in side.dim_param:
                side.dim_param = side.dim_param.replace(symbol, "batch")


def _torch(program: ExportedProgram, outputs: Sequence[str], about: str) -> bytes:
    buffer = io.BytesIO()
    program.example_inputs = None  # they would be saved as a pickle
    torch.export.save(program, buffer, extra_files={standalone.NAME: about})
    return buffer.getvalue()


TARGETS: dict[ExportName, Target] = {
    "onnx": Target(".onnx", ("onnx", "onnxscript", "onnxruntime"), _onnx),
    "torch-export": Target(".pt2", (), _torch),
}
"""Kinds of files by the name that the command line knows them by."""


def _difference(portable: Portable, model: Diffusion, path: Path) -> float:
    """How far what a file returns is from what the model returns; see `Exported`."""
    denoise, _ = standalone.load(path)
    worst = 0.0
    for count in (1, 5):
        inputs = example_inputs(model, count, seed=count)
        for own, found in zip(portable(**inputs), denoise(**{k: v.numpy() for k, v in inputs.items()}), strict=True):
            worst = max(worst, float((own - torch.from_numpy(found)).abs().max() / own.abs().max()))
    return worst


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch and onnxscript report of their own work, which no user of an export can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
