"""The scheme for many examples: their chains one after another on one stack, as long as the variational bound.

Examples go in batches, for the network's sake. The members of a batch are on loan together, and the first bits come
from a seed and cost their number, so the first batch is a single example, and each later one takes as many examples as
the bits of those before it can lend. A batch ends with its number of examples, by which the decoder begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import torch
from torch import Tensor

from inkwash.codec.chain import Chain, reproducible, tensors_of
from inkwash.codec.stack import Stack, first_words
from inkwash.core.errors import DataError
from inkwash.core.machine import return_freed_memory
from inkwash.core.progress import reached
from inkwash.core.randomness import Purpose, generator
from inkwash.core.shapes import Array, event_size

_PROBED = 4
"""Examples that the probe asks the network about."""


@dataclass(frozen=True)
class BitsBack:
    """The scheme for many examples.

    Args:
        chain: the laws.
        seed: of the first bits.
        most: the most examples of a batch.
    """

    chain: Chain
    seed: int
    most: int
    name: Literal["bits-back", "direct"] = "bits-back"

    @property
    def probe(self) -> bytes:
        return probe(self.chain, self.most)

    def encode(self, examples: Tensor) -> bytes:
        with reproducible():
            stack, start, need = Stack(self._first), 0, 0.0
            while start < len(examples):
                spare = stack.words - stack.lowest
                count = min(max(int(spare / need), 1) if need else 1, self.most, len(examples) - start)
                need = max(need, self._push(stack, examples[start : start + count]))
                start += count
                reached(start / len(examples))
                return_freed_memory()
            return stack.to_bytes()

    def _push(self, stack: Stack, batch: Tensor) -> float:
        """Push a batch, and return how many words each of its examples has on loan at most."""
        before, lowest, stack.lowest = stack.words, stack.lowest, stack.words
        self.chain.push(stack, batch)
        lent, stack.lowest = before - stack.lowest, min(lowest, stack.lowest)
        stack.push_number(len(batch) - 1, self.most)
        return lent / len(batch)

    def given(self, examples: Tensor) -> Tensor:
        return examples

    def decode(self, data: bytes, count: int) -> Tensor:
        with reproducible():
            stack, parts, left = Stack.of_bytes(data), list[Tensor](), count
            while left:
                batch = stack.pop_number(self.most) + 1
                if batch > left:
                    raise DataError("chunk", f"{batch} examples where {left} are left", "an undamaged chunk")
                parts.append(self.chain.pop(stack, batch))
                left -= batch
                reached(1 - left / count)
                return_freed_memory()
            if not stack.holds_end_of(self._first):
                raise DataError("chunk", "other bits at its bottom than those of its seed", "an undamaged chunk")
            return torch.cat(parts[::-1])

    @property
    def _first(self) -> Array:
        """More words than one example needs: one for each entry of two members of its chain."""
        return first_words(self.seed, 2 * event_size(self.chain.shape) + 64)


def probe(chain: Chain, *own: float) -> bytes:
    """8 bytes that depend on the laws of some steps at fixed noisy data, to the last bit, and on numbers of a scheme
    that no header has, such as the size of its batches."""
    digest, last = blake2b(repr(own).encode(), digest_size=8), len(chain.times) - 2
    with reproducible():
        x_t = chain.prior(_PROBED).draw(generator(0, Purpose.COMPRESS))
        for i in sorted({0, last // 2, last}):
            for tensor in tensors_of(chain.reverse(x_t, i)):
                digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.digest()
