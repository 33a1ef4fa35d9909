"""Data: where it comes from, what it is, and how it becomes model units."""

from inkwash.data.read import read_example
from inkwash.data.sources import Dataset, load_dataset
from inkwash.data.table import to_frame
from inkwash.data.transform import DataSpec, Transform, fit_transform

__all__ = ["DataSpec", "Dataset", "Transform", "fit_transform", "load_dataset", "read_example", "to_frame"]
