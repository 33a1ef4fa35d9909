"""Which model a file was made with, and on what machine: a file needs the same numbers, to the last bit, to be read."""

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from inkwash.codec.scheme import Scheme
from inkwash.core.errors import CodecError
from inkwash.core.options import to_json
from inkwash.core.shapes import to_array
from inkwash.core.version import __version__
from inkwash.denoise.denoiser import AnyDenoiser
from inkwash.denoise.wrap import Wrapper
from inkwash.model.diffusion import Diffusion

_SHOWN = 12


@dataclass(frozen=True)
class Identity:
    """A model.

    Args:
        sha256: of its weights, its transform and its steps.
        what: the data it is a model of, in words.
        name: what the user calls it, such as the folder of its run; empty if nothing is known.
    """

    sha256: str
    what: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name or 'a model'} ({self.what}, sha256 {self.sha256[:_SHOWN]}…)"

    def require(self, model: Diffusion, where: str) -> None:
        """Raise a `CodecError` unless this is the model."""
        found = identity_of(model)
        if found.sha256 != self.sha256:
            raise CodecError(where, f"another model ({found.what}, sha256 {found.sha256[:_SHOWN]}…)", str(self))


@dataclass(frozen=True)
class Machine:
    """What rounds numbers as it does.

    Args:
        inkwash: its version.
        torch: its version.
        processor: its kind, and the instructions that torch uses.
        probe: what the network makes of fixed noisy data there, in hexadecimal digits.
    """

    inkwash: str
    torch: str
    processor: str
    probe: str

    def __str__(self) -> str:
        return f"inkwash {self.inkwash}, torch {self.torch}, {self.processor}"

    def require(self, scheme: Scheme, where: str) -> None:
        """Raise a `CodecError` unless the network gives the same numbers here, to the last bit."""
        here = this_machine(scheme)
        if here.probe != self.probe:
            got = f"a network that rounds otherwise here ({here})"
            raise CodecError(where, got, f"the numbers of where it was made ({self})")


def identity_of(model: Diffusion, name: str = "") -> Identity:
    """Which model this is. Of a network that is no module, only the probe of a `Machine` knows more."""
    plain = None if model.transform is None else to_json(model.transform)
    parts = [re.sub(" at 0x[0-9a-f]+", "", part) for part in _parts(model.denoiser)]
    digest = hashlib.sha256(json.dumps([plain, model.shape, model.steps, str(model.dtype), parts]).encode())
    weights = model.denoiser.state_dict() if isinstance(model.denoiser, nn.Module) else {}
    for key, tensor in sorted(weights.items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode() + to_array(tensor).tobytes())
    what = f"examples of shape {model.shape}" if model.transform is None else model.transform.spec.describe()
    return Identity(digest.hexdigest(), what, name)


def _parts(denoiser: AnyDenoiser) -> Iterator[str]:
    """A denoiser and those that it wraps, each with its variance, in words."""
    yield f"{denoiser!r} {getattr(denoiser, 'variance', None)!r}"
    if isinstance(denoiser, Wrapper):
        yield from _parts(denoiser.denoiser)


def this_machine(scheme: Scheme) -> Machine:
    """What rounds numbers here, under a scheme."""
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return Machine(__version__, torch.__version__, processor, scheme.probe.hex())
