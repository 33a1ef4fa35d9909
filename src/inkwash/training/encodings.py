"""The laws q(z | x) of the latents of an encoder that does not change any more.

An encoder sees all places of the data, and takes longer than a network that denoises its small latents. Each example is
therefore encoded when training first meets it, and remembered."""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from inkwash.core.randomness import Slots
from inkwash.core.shapes import Array
from inkwash.model.autoencoder import Autoencoder
from inkwash.process.distributions import Normal

_MOST_BYTES = 2**30


class Encodings:
    """What is remembered of the examples of a data set.

    The same bits come of an example in whichever batch it is met, so that a run that resumes, and remembers nothing,
    goes on as it would have.

    Args:
        most_bytes: the memory to use; the examples that do not fit are encoded each time.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[int, Tensor] = {}

    def forget(self) -> None:
        """Forget everything, since the encoder changes."""
        self._kept.clear()

    @torch.no_grad()
    def of(self, autoencoder: Autoencoder, indices: Array, x: Tensor) -> Normal:
        """q(z | x), for `x` `(B, *event)` in model units.

        Args:
            autoencoder: the same one in each call since `forget`.
            indices: where the examples lie in the data set.
            x: the examples.
        """
        places = [int(index) for index in indices]
        rows = [row for row, place in enumerate(places) if place not in self._kept]
        fresh = dict(zip((places[row] for row in rows), _encoded(autoencoder, x[rows]), strict=True)) if rows else {}
        found = torch.stack([fresh[place] if place in fresh else self._kept[place] for place in places])
        room = self._most_bytes // found[0].nbytes - len(self._kept)
        self._kept |= islice(fresh.items(), max(room, 0))
        mean, var = found.unbind(1)
        return Normal(mean, var)


def _encoded(autoencoder: Autoencoder, x: Tensor) -> Tensor:
    """Mean and variance of each latent, `(B, 2, *latent)`."""
    slots = Slots(tuple(x.shape[1:]), x.device).of(len(x))
    laws = [autoencoder.encoding(x[slot.places.to(x.device)]) for slot in slots]
    return torch.cat([torch.stack([law.mean, law.var], 1) for law in laws])[: len(x)]
