"""What commands write: arrays, tables, pictures and films in a folder, each with a line that says where."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.formats.format import Format
from inkwash.data.readers import format_named, table_format
from inkwash.data.spec import DataSpec
from inkwash.model.watch import Film

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Output:
    """A folder to write to, and a display to report on. The folder is made when the first file is written.

    Args:
        folder: where the files go.
        display: where each file is announced.
    """

    folder: Path
    display: Display = field(default_factory=Display)

    def silent(self) -> Output:
        """The same folder, and nothing is said."""
        return replace(self, display=Display(shown=False))

    def say(self, text: str) -> None:
        """Print one line."""
        self.display.say(text)

    def refuse_leftovers(self, pattern: str, names: Iterable[str]) -> None:
        """Refuse a folder in which older files, by their pattern, would stand among those to be written.

        Raises:
            ConfigError: there are such files.
        """
        if {path.name for path in self.folder.glob(pattern)} - set(names):
            got = f"{self.folder}, which holds more files of an earlier draw"
            raise ConfigError("out", got, f"an empty folder or a new one, such as --out {storage.unused(self.folder)}")

    def array(self, name: str, data: Any) -> None:
        """Write examples as .npy."""
        buffer = io.BytesIO()
        np.save(buffer, data, allow_pickle=False)
        path = self.write(name, buffer.getvalue())
        self.say(f"array     {path} ({data.dtype} {data.shape}, data units)")

    def table(self, name: str, spec: DataSpec, data: Any) -> None:
        """Write rows of a table, in the format that the name says."""
        self._save(table_format(name), name, spec, data)
        self.say(f"table     {self.folder / name} ({len(data)} rows, {spec.width} columns)")

    def samples(self, known: Format, stem: str, spec: DataSpec, data: Any) -> None:
        """Write samples in the format that the data came in; what is there of an earlier draw gives way."""
        name = f"{stem}{known.suffix}"
        if (self.folder / name).is_dir():
            storage.remove(self.folder / name)
        self._save(known, name, spec, data)
        self.say(f"samples   {self.folder / name} ({known.words}: {data.dtype} {data.shape}, data units)")

    def examples(self, stem: str, spec: DataSpec, data: Any) -> None:
        """Write examples as .npy, or in the format that the data came in."""
        if spec.origin is None:
            self.array(f"{stem}.npy", data)
        else:
            self.samples(format_named(spec.origin.format), stem, spec, data)

    def _save(self, known: Format, name: str, spec: DataSpec, data: Any) -> None:
        for each, content in known.write(name, spec, data) if known.write is not None else ():
            self.write(each, content)

    def picture(self, name: str, pixels: Array, about: str = "") -> None:
        """Write one picture `(H, W[, C])` as PNG; `about` goes on with the line that says where it is."""
        path = self.place(name)
        pictures.save_pixels(path, pixels)
        self.say(f"picture   {path}{about}")

    def figure(self, name: str, figure: Figure, about: str = "") -> None:
        """Write a figure as PNG, as `picture` does."""
        path = self.place(name)
        pictures.save_figure(path, figure)
        self.say(f"picture   {path}{about}")

    def rows(self, name: str, spec: DataSpec, rows: Sequence[Array]) -> None:
        """Write sets of examples of equal size as one picture, one set below another."""
        path = self.place(name)
        pictures.save_rows(path, spec, rows)
        self.say(f"picture   {path}")

    def images(self, spec: DataSpec, data: Array) -> None:
        """Write series, images or volumes as a PNG each, by number."""
        for i, pixels in enumerate(pictures.to_files(spec, data)):
            pictures.save_pixels(self.place(image_name(i)), pixels)
        low, high = spec.shown
        ends = "bottom to top" if spec.kind == "series" else "black to white"
        as_they_are = spec.is_image and spec.is_as_in_files and spec.shape[0] <= 4
        span = "the values as they are" if as_they_are else f"[{low:g}, {high:g}] shown as {ends}"
        self.say(f"images    {self.folder / image_name(0)} … {image_name(len(data) - 1)}; {span}")

    def film(self, film: Film) -> None:
        """Write a film that has been recorded."""
        film.save()
        self.display.wrote(film.path)
        self.say(f"film      {film.path}")

    def write(self, name: str, content: bytes) -> Path:
        """Write a file, report nothing, and return where it is."""
        path = self.place(name)
        storage.replace(path, content)
        return path

    def place(self, name: str) -> Path:
        """Where a file goes, in a folder that exists."""
        path = self.folder / name
        storage.make_folder(path.parent)
        self.display.wrote(path)
        return path


def image_name(i: int) -> str:
    """The name of the file of image `i`."""
    return f"{i:06d}.png"
