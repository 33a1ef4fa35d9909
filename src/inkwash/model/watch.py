"""Films of a walk: noisy data above, the estimate of the clean data below, as samples form.

Pixels and axes are those of `inkwash.data.pictures`, in data units. Noisy data is shown at the scale of clean data: it
is divided by the standard deviation that data of variance 1 has at its time.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, require_integer
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.data.pictures import captioned, png_of, sheet
from inkwash.model.model import Model
from inkwash.sample.walk import State, Walkable, end_of

_MILLISECONDS, _HOLD = 80, 1500
FORMATS = (".gif", ".webp", ".png")
"""Films by the suffix of their name; a PNG is a strip of all frames."""


def draw(model: Walkable, n: int, display: Display, film: Film | None = None, **options: Any) -> Any:
    """`model.sample(n, **options)` with a progress bar; a film records its first slot of examples."""
    walks = model.walks(n, **options)
    if film is not None:
        walks[0] = film.record(walks[0])
    with display.bar(f"drawing {n} samples"):
        ends = [end_of(walk).x_s for walk in tracked(walks)]
    return model.to_data(torch.cat(ends))


class Film:
    """Records a walk as it is taken.

    ```python
    film = iw.Film(model, "film.gif")
    *_, last = film.record(model.progressive(16, seed=0))
    film.save()
    ```

    Args:
        model: the model that the walk samples; it has a transform.
        path: where the film is saved; its suffix selects the format: .gif, .webp (no colour is lost), or .png, a strip.
        frames: at most this many, evenly spread over time, including the end.
        examples: how many to show, the first ones of the walk; by default 16, or all for vectors.

    Raises:
        ConfigError: another suffix, a model without transform, or bad numbers.
    """

    def __init__(self, model: Model, path: str | Path, frames: int = 40, examples: int | None = None) -> None:
        self.model, self.path, self.frames, self.spec = model, Path(path), frames, model.units.spec
        if self.path.suffix not in FORMATS:
            raise ConfigError("film", str(path), "a name that ends in " + ", ".join(FORMATS))
        require_integer("frames", frames)
        if examples is not None:
            require_integer("examples", examples)
        self.examples = 16 if examples is None and self.spec.size else examples
        self.shots: list[tuple[Array, Array]] = []
        self.captions: list[str] = []

    def __repr__(self) -> str:
        return f"<Film {self.path}: {len(self.shots)} of {self.frames} frames>"

    def record(self, walk: Iterable[State]) -> Iterator[State]:
        """Pass on the states of a walk, and keep what the film shows."""
        taken = 0
        for state in walk:
            due = math.floor((1 - state.s) * self.frames + 1e-9)
            if due > taken:
                taken = due
                self.add(state)
            yield state

    def add(self, state: State, caption: str = "") -> None:
        """Add a frame of a state, with a line of words below it."""
        self.shots.append(self._shot(state))
        self.captions.append(caption)

    def _shot(self, state: State) -> tuple[Array, Array]:
        """Noisy data and estimate of the examples that are shown, in data units."""
        estimate = None if state.x is None else state.x[: self.examples]
        return self.model.shown(State(state.s, state.x_s[: self.examples], estimate))

    def pictures(self) -> list[Array]:
        """The frames, pixels `(H, W)` or `(H, W, C)`."""
        every = np.concatenate([data for shot in self.shots for data in shot])
        frames = [np.concatenate([sheet(self.spec, data, among=every) for data in shot]) for shot in self.shots]
        return captioned(frames, self.captions) if any(self.captions) else frames

    def content(self) -> bytes:
        """The film as the bytes of a file.

        Raises:
            ConfigError: nothing was recorded.
        """
        from PIL import Image

        if not self.shots:
            raise ConfigError("film", "no frames", "a walk that is recorded before it is saved")
        frames = self.pictures()
        if self.path.suffix == ".png":
            return png_of(np.concatenate(frames, axis=1))
        first, *rest = map(Image.fromarray, frames)
        buffer, times = io.BytesIO(), [_MILLISECONDS] * len(rest) + [_HOLD]
        form = self.path.suffix[1:].upper()
        first.save(buffer, form, save_all=True, append_images=rest, duration=times, loop=0, lossless=True)
        return buffer.getvalue()

    def save(self) -> None:
        """Write the film, completely or not at all.

        Raises:
            ConfigError: nothing was recorded.
        """
        storage.replace(self.path, self.content())
