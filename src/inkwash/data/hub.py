"""Data sets of the Hugging Face Hub (Lhoest et al. 2021, arXiv:2109.02846): the train split, as pictures or a table.

inkwash does not connect to the Hub unless a source begins with `hf:`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.core.shapes import Array
from inkwash.data.decode import decode
from inkwash.data.frames import arrow_frame, read_frame
from inkwash.data.images import stack
from inkwash.data.raw import Raw, require_extra, short

HUB = "hf:"
"""What a source begins with if it is on the Hub."""


def read_hub(where: str, config: DataConfig) -> Raw:
    """The train split of `hf:NAME`, `hf:OWNER/NAME` or `hf:OWNER/NAME/SUBSET`.

    Raises:
        DataError: the data cannot be loaded, or `read_features` refuses it.
        MissingPackageError: the package `datasets` is not installed.
    """
    datasets = require_extra("datasets", "hub", where)
    parts = where.removeprefix(HUB).split("/")
    try:
        found = datasets.load_dataset("/".join(parts[:2]), *parts[2:], split="train")
    except Exception as error:  # the network, the Hub and its files raise more kinds than a list could name
        need = "hf:OWNER/NAME or hf:OWNER/NAME/SUBSET, with a train split"
        raise DataError(where, f"nothing to be read ({short(error)})", need) from None
    return read_features(found, where, config)


def read_features(found: Any, where: str, config: DataConfig) -> Raw:
    """A `datasets.Dataset`: its pictures if a feature is an `Image`, otherwise a table of its features.

    The classes of a `ClassLabel` are categories in a table, and labels beside pictures.

    Raises:
        DataError: several features are pictures, or the pictures or the table are refused.
    """
    kinds = {name: type(feature).__name__ for name, feature in found.features.items()}
    images = [name for name, kind in kinds.items() if kind == "Image" and name not in (config.drop or ())]
    classes = {name: found.features[name].names for name, kind in kinds.items() if kind == "ClassLabel"}
    if not images:
        return read_frame(_frame(found, classes), where, config)
    if len(images) > 1:
        got = f"pictures in {', '.join(images)}"
        raise DataError(where, got, "one feature of pictures; data.drop leaves out others")
    if config.categories or config.numbers:
        raise DataError("data.categories, data.numbers", "columns of pictures", "a table, to say what its columns hold")
    return _pictures(found, images[0], classes, where, config)


def _frame(found: Any, classes: dict[str, list[str]]) -> Any:
    import pandas

    frame = arrow_frame(found.with_format("arrow")[:])
    for name, names in classes.items():
        frame[name] = pandas.Categorical.from_codes(frame[name].fillna(-1).astype(int), names)
    return frame


def _pictures(found: Any, image: str, classes: dict[str, list[str]], where: str, config: DataConfig) -> Raw:
    from datasets import Image

    stored = found.cast_column(image, Image(decode=False))
    names = [f"{where}[{i}]" for i in range(len(stored))]
    openers = [partial(_content, stored, i, image) for i in range(len(stored))]
    decoders = {name: partial(decode, name, opener, config.pages) for name, opener in zip(names, openers, strict=True)}
    raw, files = stack(where, decoders, config)
    labels = {name: _named(found[name], names)[files] for name, names in classes.items()}
    unused = [name for name in found.features if name != image and name not in classes]
    notes = (*raw.notes, f"not used: {unused}") if unused else raw.notes
    return replace(raw, notes=notes, labels=labels)


def _content(stored: Any, i: int, image: str) -> bytes:
    cell = stored[i][image] or {}
    return cell.get("bytes") or Path(cell.get("path") or "").read_bytes()


def _named(numbers: Any, names: list[str]) -> Array:
    """Names of classes by their numbers; empty text where a number is missing."""
    return np.array([*names, ""])[[-1 if number is None else number for number in numbers]]
