"""Data: where it comes from, what it is, and how it becomes model units."""

from inkwash.data.columns import Column
from inkwash.data.frame import from_frame, to_frame
from inkwash.data.read import read_example
from inkwash.data.sources import Dataset, load_dataset
from inkwash.data.transform import DataSpec, Transform, fit_transform

__all__ = [
    "Column",
    "DataSpec",
    "Dataset",
    "Transform",
    "fit_transform",
    "from_frame",
    "load_dataset",
    "read_example",
    "to_frame",
]
