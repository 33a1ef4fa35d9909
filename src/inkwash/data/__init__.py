"""Data: from what a user has to arrays, and from arrays to model units and back."""

from inkwash.data.columns import Column
from inkwash.data.condition import ConditionSpec
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.examples import read_example
from inkwash.data.frames import from_frame, to_frame
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform, fit_transform

__all__ = [
    "Column",
    "ConditionSpec",
    "DataSpec",
    "Dataset",
    "Transform",
    "fit_transform",
    "from_frame",
    "load_dataset",
    "read_example",
    "to_frame",
]
