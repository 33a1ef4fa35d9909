#!/usr/bin/env bash
# tifffile 2026.3.3, pillow 13.0.0, numpy 2.4.6.
#
# Behaviour: tifffile writes an array of booleans with PhotometricInterpretation 0 (MinIsWhite: 0 is white), and its own
# reader does not look at that tag. A mask therefore comes back from tifffile as it was, and inverted from readers that
# keep to the tag, such as Pillow.
#
# Expected: PhotometricInterpretation 1, so that all readers agree about which pixels are true.
#
# Output seen:
#   written  [1, 1, 0, 0, 0, 0, 0, 0]
#   tifffile [1, 1, 0, 0, 0, 0, 0, 0]
#   Pillow   [0, 0, 1, 1, 1, 1, 1, 1]
#
# Who is hurt: whoever saves masks of segmentation or inpainting with tifffile and reads them with another library: what
# is known and what is hidden change places, and nothing says so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import numpy as np
import tifffile
from PIL import Image

mask = np.zeros((4, 8), bool)
mask[:, :2] = True
tifffile.imwrite("mask.tif", mask)
ours = tifffile.imread("mask.tif")
with Image.open("mask.tif") as picture:
    others = np.asarray(picture)
for name, rows in (("written ", mask), ("tifffile", ours), ("Pillow  ", others)):
    print(name, rows[0].astype(int).tolist())
assert np.array_equal(ours, mask)
assert np.array_equal(others, ~mask)
PY
