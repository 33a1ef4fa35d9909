#!/usr/bin/env bash
# h5py 3.16.0.
#
# Behaviour: a virtual data set, a view of data sets in other files, reads as zeros where one of these files is not
# there. Neither opening nor reading says anything.
#
# Expected: an error that names the file, as for an external link; the fill value is for views with gaps.
#
# Output seen:
#   all files:    [[1.0, 1.0], [2.0, 2.0]]
#   one is gone:  [[1.0, 1.0], [0.0, 0.0]]
#
# Who is hurt: whoever copies a data set of many files, such as the output of a detector, and forgets some: a model is
# trained on zeros for examples.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q h5py==3.16.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings
from pathlib import Path

import h5py
import numpy as np

warnings.simplefilter("error")
view = h5py.VirtualLayout((2, 2), "f4")
for i in range(2):
    with h5py.File(f"part{i}.h5", "w") as file:
        file["x"] = np.full(2, i + 1, "f4")
    view[i] = h5py.VirtualSource(f"part{i}.h5", "x", (2,))
with h5py.File("all.h5", "w") as file:
    file.create_virtual_dataset("x", view)


def read():
    with h5py.File("all.h5") as file:
        return file["x"][:].tolist()


print("all files:   ", read())
Path("part1.h5").unlink()
print("one is gone: ", found := read())
assert found == [[1, 1], [0, 0]]
PY
