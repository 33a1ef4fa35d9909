"""`export`: a model as files that run without inkwash."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from inkwash.bridges import standalone
from inkwash.bridges.diffusers_folder import folder_files
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
        difference: the largest difference between what the file returns and what the model does, as a share of the
            largest number that the model returns, over several times, batches of 1 and 5, and every output; None for a
            folder, whose code is not run.
    """

    files: tuple[Path, ...]
    difference: float | None


def export(model: Model, to: ExportName, out: str | Path, *, guidance: float | None = None) -> Exported:
    """Write a model for another library.

    A file for onnxruntime or torch holds the denoiser with the averaged weights, the schedule, the transform, and what
    its inputs and outputs mean, for any number of examples. A sampler stands beside it, which needs NumPy and that
    library. What the file returns is compared with what the model returns.

    A folder for diffusers holds the weights, the source of the network, and a pipeline.

    Args:
        model: a diffusion model of the data, on the CPU.
        to: "onnx", for onnxruntime and others; "torch-export", for torch; or "diffusers".
        out: the file, `.onnx` or `.pt2`; or the folder, empty or new.
        guidance: the weight of the model's condition, which is fixed in a file, 1 by default; see `NetworkDenoiser`.
            The pipeline of diffusers has an option for it.

    Raises:
        ConfigError: a model that cannot be exported, a bad option, a missing package, or too many weights.
        StorageError: the file cannot be written.
    """
    require_one_of("to", to, get_args(ExportName))
    diffusion, path = require_diffusion(model, "export"), Path(out)
    if diffusion.device.type != "cpu":
        raise ConfigError("export", f"a model on {diffusion.device}", "one on the CPU, as iw.load(run) gives it")
    if to != "diffusers":
        return _file(diffusion, to, path, 1.0 if guidance is None else guidance)
    if guidance is not None:
        raise ConfigError("guidance", guidance, "none: the pipeline of diffusers takes it as guidance_scale")
    return _folder(diffusion, path)


def _file(model: Diffusion, to: ExportName, path: Path, guidance: float) -> Exported:
    """Write a file and its sampler, and compare."""
    target = TARGETS[to]
    if path.suffix != target.suffix:
        raise ConfigError("out", str(path), f"a file that ends in {target.suffix}")
    target.require(to)
    portable = Portable(model, guidance)
    about = storage.dump_json(description(model, portable)).decode()
    with _quietly():
        content = target.dump(_traced(portable, model, to), portable.outputs, about)
    sampler = path.with_name(f"{re.sub(r'^(?=[0-9])|[^0-9A-Za-z_]', '_', path.stem)}_sampler.py")  # can be imported
    storage.make_folder(path.parent)
    storage.replace(path, content)
    storage.replace(sampler, Path(standalone.__file__).read_bytes())
    return Exported((path, sampler), _difference(portable, model, path))


def _folder(model: Diffusion, path: Path) -> Exported:
    """Write a folder, which is there with all of its files or not at all."""
    if path.name in ("", "..") or path.resolve() == Path.cwd():  # the shell would stay in the one that was replaced
        raise ConfigError("out", str(path), "the name of a folder, empty or new, which is not the working one")
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        need = f"an empty folder or a new one, such as --out {storage.unused(path)}"
        raise ConfigError("out", f"{path}, which is there", need)
    files, hidden = folder_files(model, path.name), path.with_name(f".{path.name}.new")
    storage.remove(hidden)
    with storage.leaving_nothing(hidden):
        for name, content in files.items():
            storage.make_folder((hidden / name).parent)
            storage.write(hidden / name, content)
            storage.sync(hidden / name)
        storage.rename(hidden, path)
    return Exported(tuple(path / name for name in files), None)


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


def _traced(portable: Portable, model: Diffusion, to: ExportName) -> ExportedProgram:
    """The graph.

    Raises:
        ConfigError: a network of other code that cannot be traced.
    """
    try:
        return _program(portable, model)
    except ConfigError:
        raise
    except Exception as error:  # what torch.export raises has no common base
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        got = f"{to}, and a network that torch.export refuses ({why})"
        need = "one that treats batches of every size, and all values in them, alike; the networks of inkwash do"
        raise ConfigError("to", got, need) from error


def _program(portable: Portable, model: Diffusion) -> ExportedProgram:
    """The graph, for any number of examples; it is traced with three, as one would be taken for a constant."""
    inputs, batch = example_inputs(model, 3), Dim("batch", min=1)
    with torch.no_grad():
        return torch.export.export(portable, (), inputs, dynamic_shapes={name: {0: batch} for name in inputs})


def _onnx(program: ExportedProgram, outputs: Sequence[str], about: str) -> bytes:
    weights = sum(part.numel() * part.element_size() for part in program.state_dict.values())
    if weights > _MOST:
        raise ConfigError("to", f"onnx, and {weights} bytes of weights", f"at most {_MOST} of them, or torch-export")
    # the optimiser of onnxscript 0.7.2 loses the bounds of two clamps in a row where others follow the same tensor
    found = torch.onnx.export(
        program, dynamo=True, external_data=False, optimize=False, output_names=outputs, verbose=False
    )
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
            worst = max(worst, _distance(own, torch.from_numpy(found)))
    return worst


def _distance(own: Tensor, found: Tensor) -> float:
    """The largest difference as a share of the largest finite number; infinite if only one side has NaN somewhere."""
    same = (own == found) | (own.isnan() & found.isnan())
    largest = torch.where(own.isfinite(), own, 0).abs().max()
    return float(torch.where(same, 0, (own - found).abs() / largest).nan_to_num(nan=torch.inf).max())


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch and onnxscript report of their own work, which no user of an export can act on."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
