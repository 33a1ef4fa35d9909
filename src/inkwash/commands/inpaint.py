"""Fill in what is hidden of a picture, a series or a volume: what `inkwash inpaint` does."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from inkwash.bridges.pipelines import is_pipeline
from inkwash.commands.keywords import condition_keywords, model_of
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output
from inkwash.commands.relatives import example
from inkwash.core.config import HideName
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.shapes import Array
from inkwash.core.text import typed
from inkwash.data import pictures
from inkwash.data.arrays import read_npy
from inkwash.data.decode import read_picture
from inkwash.data.raw import exists
from inkwash.data.spec import DataSpec
from inkwash.model.factors import Condition, Observed
from inkwash.model.watch import draw
from inkwash.posterior.method import Method
from inkwash.training.run import StrPath


def read_mask(path: Path) -> Array:
    """What is known, `(H, W)` or of the example's shape: true in a boolean `.npy` file, white in a picture of black and
    white.

    Raises:
        DataError: a file that is missing or cannot be read, or has more than two values.
    """
    if not exists(path):
        raise DataError(str(path), "no such file", "a picture or .npy file for --mask; or --hide, which needs none")
    mask = read_npy(path) if path.suffix == ".npy" else read_picture(path)
    if mask.dtype == np.bool_:
        return mask
    if not np.isin(mask, (0, mask.max())).all() or not mask.max() > 0:
        raise DataError(str(path), "other values than two", "black where something is hidden, white where it is known")
    return mask > 0


def hide(kind: HideName, spec: DataSpec, seed: int) -> Array:
    """A mask that hides one half of an example along its last axis (left, right) or the one before (top, bottom), or
    about half of its places at random. It has the example's `size`, and is true where the example is known.

    Raises:
        ConfigError: top or bottom of a series.
    """
    if kind == "random":
        rng = np.random.default_rng(derived_seed(seed, Purpose.SAMPLE))
        return rng.random(spec.size) < 0.5
    axis = -1 if kind in ("left", "right") else -2
    if -axis > len(spec.size):
        raise ConfigError("hide", kind, "left, right or random, of a series")
    known, side = np.ones(spec.size, bool), spec.size[axis]
    hidden = slice(side // 2) if kind in ("left", "top") else slice((side + 1) // 2, None)
    known.swapaxes(axis, -1)[..., hidden] = False
    return known


def inpaint_to_folder(
    run: StrPath,
    name: str,
    mask: Array | HideName,
    n: int,
    options: SamplingOptions,
    output: Output,
    *,
    method: Method | None = None,
) -> None:
    """Write `n` samples that agree with what is known of an example: `draws.npy`, or a file of the format that the data
    came in; `mean.npy`, `spread.npy` (the
    standard deviation of each entry) and `inpainted.png`.

    Args:
        run: folder of a run or checkpoint.
        name: of the example; see `inkwash.commands.relatives.example`.
        mask: true where the example is known, of its `size` or its shape; or what to hide.
        n: how many, at least 2.
        options: seed, also of what is hidden at random; condition, which is a factor; device and walk.
        output: where to write.
        method: how to sample from the product; see `Product.sample`.

    Raises:
        ConfigError: a run of vectors, or options that do not go together.
    """
    condition = Condition(**condition_keywords(options), guidance=options.guidance)
    model = model_of(run, options, output.display)
    spec = model.units.spec
    if not spec.size:
        need = "one of series, images or volumes; for a table with gaps there is inkwash impute RUN FILE"
        raise ConfigError("run", "a model of vectors", need)
    image = example(run, model, name)
    known = hide(mask, spec, options.seed) if isinstance(mask, str) else np.asarray(mask)
    known = _for_each_channel(known, spec)
    product = cast(Any, model) * Observed(known, image) * condition
    draws = draw(product, n, output.display, seed=options.seed, method=method)
    mean, spread = draws.mean(0, dtype=np.float64), draws.std(0, dtype=np.float64)
    output.examples("draws", spec, draws)
    for part, array in (("mean", mean), ("spread", spread)):
        output.array(f"{part}.npy", array)
    about = ": the picture, what is known of it, mean, spread, then the draws"
    output.picture("inpainted.png", _sheet(spec, image, known, draws, mean, spread), about)
    output.say(f"next      {typed('inpaint', run, 'OTHER' if is_pipeline(run) else 1, '--hide', 'left')}")


def _for_each_channel(known: Array, spec: DataSpec) -> Array:
    """A mask of the size of an example for all its channels, in the layout of the data."""
    if known.shape != spec.size:
        return known
    return spec.from_channels_first(np.broadcast_to(known, spec.shape)[None])[0]


def _sheet(spec: DataSpec, image: Array, known: Array, draws: Array, mean: Array, spread: Array) -> Array:
    """All of it in one picture. A hidden place shows the middle of the range. The spread is scaled so that its largest
    value shows the high end of the range, and 0 the low end."""
    low, high = spec.shown
    widest = max(float(spread.max()), 1e-12)
    hidden, scaled = np.where(known, image, (low + high) / 2), low + spread / widest * (high - low)
    shown = [np.asarray(image, np.float64), hidden, mean, scaled, *draws.astype(np.float64)]
    return pictures.grid(pictures.to_pixels(spec, np.stack(shown)))
