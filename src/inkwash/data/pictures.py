"""Pictures: from data units to pixels, grids, lines, curves and point clouds."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inkwash.core import storage
from inkwash.core.shapes import Array
from inkwash.data.png16 import encode_png
from inkwash.data.spec import DataSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_LINE_HEIGHT, _LINE_WIDTH = 48, 96
_MARGIN = 3
INK, WASH, ACCENT = "#1b2a41", "#8d99ae", "#c8553d"


def to_pixels(spec: DataSpec, data: Array) -> Array:
    """Series, images and volumes in data units to uint8 pixels `(N, H, W)`, or `(N, H, W, C)` with 3 or 4 channels.

    The range that is `spec.shown` goes to 0…255. Images with another number of channels than 1,
    3 or 4 show their channels side by side, in grey. A volume shows its middle slices across depth, height and width.
    The channels of a series are lines, one below another.
    """
    if spec.kind == "series":
        return _lines(_position(spec, spec.to_channels_first(data)))
    pixels = _stretched(spec, spec.to_channels_first(data))
    if spec.kind == "volume":
        pixels = _middle_slices(pixels)
    if pixels.shape[1] in (3, 4):
        return np.moveaxis(pixels, 1, -1)
    return np.concatenate(list(np.moveaxis(pixels, 1, 0)), axis=-1)


def _middle_slices(pixels: Array) -> Array:
    """The middle `(H, W)`, `(D, W)` and `(D, H)` of volumes `(N, C, D, H, W)` side by side, grey around them."""
    slices = [np.take(pixels, side // 2, axis) for axis, side in enumerate(pixels.shape) if axis > 1]
    tallest = max(each.shape[2] for each in slices)
    around = [((0, 0), (0, 0), (0, tallest - each.shape[2]), (0, 1)) for each in slices]
    padded = [np.pad(each, width, constant_values=128) for each, width in zip(slices, around, strict=True)]
    return np.concatenate(padded, axis=3)[..., :-1]


def _lines(share: Array) -> Array:
    """Series `(N, C, L)`, in shares of the range, as dark lines on light grey, `(N, C * height, width)`.

    Each column of pixels is dark from the lowest to the highest point of the line within it, so that no peak is lost.
    Where a series has NaN, its line has a gap.
    """
    length, parts = share.shape[2], 2 * math.ceil(share.shape[2] / _LINE_WIDTH)
    place = np.linspace(0, length - 1, _LINE_WIDTH * parts + 1)
    left = place.astype(int)
    right = np.minimum(left + 1, length - 1)
    height = share[..., left] + (place - left) * (share[..., right] - share[..., left])
    row = np.rint((1 - height) * (_LINE_HEIGHT - 1))
    within = np.lib.stride_tricks.sliding_window_view(row, parts + 1, axis=2)[:, :, ::parts]
    rows = np.arange(_LINE_HEIGHT)[:, None]
    dark = (rows >= within.min(-1)[:, :, None]) & (rows <= within.max(-1)[:, :, None])
    return np.where(dark, 0, 235).astype(np.uint8).reshape(len(share), -1, _LINE_WIDTH)


def to_files(spec: DataSpec, data: Array) -> Array:
    """Images in data units to the pixels of files of their own: pixels stay as they are, others go through `to_pixels`.

    Images are pixels if they are `spec.is_as_in_files`, and have one to four channels. They are `(N, H, W)` for grey,
    or `(N, H, W, C)` with 2 (grey and alpha), 3 or 4 channels, at their own depth.
    """
    channels = spec.shape[0]
    if not spec.is_image or not spec.is_as_in_files or channels > 4:
        return to_pixels(spec, data)
    x = spec.to_channels_first(data)
    return x[:, 0] if channels == 1 else np.moveaxis(x, 1, -1)


def _stretched(spec: DataSpec, data: Array) -> Array:
    return np.rint(_position(spec, data) * 255).astype(np.uint8)


def _position(spec: DataSpec, data: Array) -> Array:
    """Where values lie in the range that is shown, from 0 to 1."""
    low, high = spec.shown
    return np.clip((data.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)


def grid(pixels: Array, columns: int | None = None, scale: int | None = None) -> Array:
    """Tile images `(N, H, W[, C])` into one, enlarged by an integer factor so that small images can be seen."""
    count, height, width = pixels.shape[:3]
    columns = columns or math.ceil(math.sqrt(count))
    scale = scale or max(1, 56 // max(height, width))
    rows = math.ceil(count / columns)
    gap = 1
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, *pixels.shape[3:]), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = i // columns * (height + gap) + gap, i % columns * (width + gap) + gap
        sheet[top : top + height, left : left + width] = image
    return sheet.repeat(scale, 0).repeat(scale, 1)


def captioned(frames: Sequence[Array], captions: Sequence[str]) -> list[Array]:
    """Frames of one size, uint8 `(H, W[, C])`, each with a line of words below it; all as wide as the longest needs."""
    lines = [_line_of(caption) for caption in captions]
    height, width = (max(sizes) for sizes in zip(*(line.shape for line in lines), strict=True))
    wide = max(width, frames[0].shape[1])
    return [_below(frame, line, height, wide) for frame, line in zip(frames, lines, strict=True)]


def _below(frame: Array, line: Array, height: int, width: int) -> Array:
    found = np.full((len(frame) + height, width, *frame.shape[2:]), 255, np.uint8)
    found[: len(frame), : frame.shape[1]] = frame
    found[len(frame) : len(frame) + len(line), : line.shape[1]] = line.reshape(*line.shape, *[1] * (frame.ndim - 2))
    return found


def _line_of(words: str) -> Array:
    """Words, dark on white, uint8 `(H, W)`."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default()
    _, _, right, bottom = map(math.ceil, font.getbbox(words))
    picture = Image.new("L", (right + 2 * _MARGIN, bottom + 2 * _MARGIN), 255)
    ImageDraw.Draw(picture).text((_MARGIN, _MARGIN), words, fill=0, font=font)
    return np.asarray(picture)


def save_pixels(path: Path, pixels: Array) -> None:
    """Write one image `(H, W[, C])`, uint8 or uint16, as PNG of that depth."""
    storage.replace(path, png_of(pixels))


def png_of(pixels: Array) -> bytes:
    """One image `(H, W[, C])`, uint8 or uint16, as PNG of that depth."""
    from PIL import Image

    if pixels.dtype == np.uint16:
        return encode_png(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def sheet(spec: DataSpec, data: Array, columns: int | None = None, among: Array | None = None) -> Array:
    """Samples as one picture, `(H, W)` or `(H, W, C)`.

    It is a grid of images, of lines (series) or of middle slices (volumes); 64 rows of bits; or the points of other
    vectors, by their first two entries.

    Args:
        spec: what one example is.
        data: the samples, in data units.
        columns: columns of a grid; by default as many as rows.
        among: points whose range the axes show; by default `data` itself.
    """
    if spec.size:
        return grid(to_pixels(spec, data), columns)
    if spec.levels == 2:
        return grid(_stretched(spec, data[:64].reshape(1, -1, *spec.shape)), scale=4)
    figure, axes = new_figure(4, 4)
    draw_points(axes, data)
    if spec.columns:
        _as_columns(axes, list(spec.columns))
    if among is not None:
        _show_range(axes, among.reshape(len(among), -1))
    return _drawn(figure)


def _as_columns(axes: Any, names: Sequence[str]) -> None:
    """Name the axes after the columns that they show, each in a scale of its own."""
    axes.set_aspect("auto")
    axes.set_xlabel(names[0])
    if len(names) > 1:
        axes.set_ylabel(names[1])


def _show_range(axes: Any, among: Array) -> None:
    low, high = among.min(0), among.max(0)
    axes.set_adjustable("box")  # a range that is given must not give way to an aspect
    axes.set_xlim(low[0], high[0])
    if among.shape[1] > 1:
        axes.set_ylim(low[1], high[1])


def _drawn(figure: Any) -> Array:
    """A figure as pixels `(H, W, 3)`."""
    figure.set_dpi(_DPI)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def save_samples(path: Path, spec: DataSpec, data: Array) -> None:
    """Write samples as one picture; see `sheet`."""
    save_pixels(path, sheet(spec, data))


def save_rows(path: Path, spec: DataSpec, rows: Sequence[Array]) -> None:
    """Write several sets of samples, of equal size, one below another; each set is a row, unless it holds vectors."""
    among = np.concatenate(rows)
    save_pixels(path, np.concatenate([sheet(spec, data, len(data), among) for data in rows]))


def draw_points(axes: Any, data: Array) -> None:
    """Vectors as points, by their first two entries, or as a histogram if they have only one entry."""
    flat = data.reshape(len(data), -1)
    if flat.shape[1] == 1:
        axes.hist(flat[:, 0], bins=60, color=INK)
        return
    axes.scatter(flat[:, 0], flat[:, 1], s=min(max(2, 300 / len(flat)), 30), color=INK, alpha=0.5, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Figure, Any]:
    """An empty figure of a size in inches, and its axes; it needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns)
    for each in np.ravel(axes):
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG."""
    save_pixels(path, _drawn(figure))


def save_curve(path: Path, metrics: list[dict[str, Any]]) -> None:
    """Write the learning curve: training and held-out loss by step, from the lines of `metrics.jsonl`."""
    figure, axes = new_figure(7, 4)
    axes.plot([m["step"] for m in metrics], [m["loss"] for m in metrics], color=WASH, lw=1, label="training")
    some = [m for m in metrics if "held_out_loss" in m]
    axes.plot([m["step"] for m in some], [m["held_out_loss"] for m in some], color=ACCENT, marker="o", label="held out")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    save_figure(path, figure)
