#!/usr/bin/env bash
# h5py 3.16.0.
#
# Behaviour: a data set of real numbers that is stored with `scaleoffset` takes NaN without a word, and gives back the
# smallest value of the chunk in its place.
#
# Expected: NaN again, or an error when it is written. HDF5 says that the filter is lossy in its digits.
#
# Output seen:
#   written:  [1.5, nan, 3.25, 2.0]
#   read:     [1.5, 1.5, 3.25, 2.0]
#
# Who is hurt: whoever stores measurements with gaps in little room: the gaps become plausible numbers at the lower end,
# and nothing in the file says where they were.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q h5py==3.16.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

import h5py
import numpy as np

warnings.simplefilter("error")
values = np.array([1.5, np.nan, 3.25, 2.0], np.float32)
with h5py.File("a.h5", "w") as file:
    file.create_dataset("x", data=values, scaleoffset=2)
with h5py.File("a.h5") as file:
    found = file["x"][:]
print("written: ", values.tolist())
print("read:    ", found.tolist())
assert found.tolist() == [1.5, 1.5, 3.25, 2.0]
PY
