r"""Progressive decoding: what a reader of the first bits of a file takes the examples to be (Ho et al. 2020, §4.3).

The direct scheme halves cells, from far wider than the range down to one level. Where a reader stops, it knows what
noisy data of a time says, and the network's estimate given that costs one more evaluation. The same bits come first in
a file with loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from inkwash.codec.archive import Reader
from inkwash.codec.chain import reproducible
from inkwash.codec.container import CHECKSUM, opened
from inkwash.codec.direct import FINE, Direct, halvings
from inkwash.codec.stack import Reading, Stack
from inkwash.codec.stored import stored
from inkwash.core.errors import ConfigError
from inkwash.core.progress import reached
from inkwash.model.diffusion import require_diffusion
from inkwash.model.model import Model
from inkwash.sample.walk import State

_NEED = "a file whose examples mode direct coded, since no other can be read in part"


class Stage(NamedTuple):
    """What is known after a part of the bits.

    Attributes:
        bits: read so far for each entry, a mean over the examples; in steps of 32 for all of them together.
        state: the time whose noise the cells have, 0 where they hold one level; the noisy data; and the estimate. In
            model units, `(B, *event)`.
    """

    bits: float
    state: State


def progressive(model: Model, data: bytes) -> Iterator[Stage]:
    """Decode the first examples of a file bit by bit: before the first halving of cells, and after each.

    Args:
        model: the model that the file was made with.
        data: the bytes that `compress` made, exactly or with loss, in mode "direct".

    Returns:
        A stage after each halving, of the examples that are decoded together: some tens, the first of the file.

    Raises:
        CodecError: damaged bytes, another model, or a machine or version whose numbers differ in their last bits.
        ConfigError: a file of mode "bits-back", or one that holds the examples as they are.
    """
    found, file = require_diffusion(model, "progressive"), opened(data, "data")
    if stored(file) is not None:
        raise ConfigError("data", "a file that holds the data as it is", _NEED)
    return stages(Reader.of(found, file))


def stages(reader: Reader) -> Iterator[Stage]:
    """The stages of the first examples that a reader would decode."""
    scheme, count = reader.chunks.scheme, reader.header.size(0)
    if not isinstance(scheme, Direct):
        raise ConfigError("data", f"a file of mode {scheme.name}", _NEED)
    is_coded, content, _ = reader.chunks.content(reader.parts[0]()[CHECKSUM:], count, reader.where)
    if not is_coded:
        raise ConfigError("data", "a file whose examples zlib packs more tightly than the model", _NEED)
    return _halved(scheme, Stack.of_bytes(bytes(content)), min(count, scheme.most))


def _halved(scheme: Direct, stack: Stack, count: int) -> Iterator[Stage]:
    walk, full, top = (
        scheme.walk(Reading(stack), count, None),
        stack.words,
        halvings(scheme.lattice.levels, scheme.finest),
    )
    for _ in range(top + 1):
        with reproducible():
            left, offset, cell = next(walk)
            state = _state(scheme, offset, cell, left)
        reached(1 - left / max(top, 1))
        yield Stage(32 * (full - stack.words) / cell.numel(), state)


def _state(scheme: Direct, offset: Tensor, cell: Tensor, left: int) -> State:
    """Where a reader is when so many halvings are left."""
    low, spacing = scheme.lattice.low, scheme.lattice.spacing
    if not left and scheme.finest == FINE:
        x = low + scheme.received(offset, cell) * spacing
        return State(0.0, x, x)
    t, x_t = scheme.seen(offset, cell, torch.full_like(offset, left), left)
    return State(float(t), x_t, low + scheme.estimate(offset, cell, left) * spacing)
