#!/usr/bin/env bash
# pillow 13.0.0, tifffile 2026.3.3, numpy 2.4.6.
#
# Behaviour: Pillow opens a colour TIFF of 16 bits whose channels lie in separate planes (PlanarConfiguration 2), without
# an error or a warning, as 8-bit RGB. The pixels are the bytes of the 16-bit numbers one after another, low and high in
# turn, so that each row shows half of the true one, cut into bytes.
#
# Expected: the true picture, or an error, as for other TIFFs that Pillow cannot read.
#
# Output seen:
#   written: uint16, first row of red [0, 1000, 2000, 3000, 4000]
#   Pillow:  uint8,  first row of red [0, 0, 232, 3, 208]
#
# Who is hurt: whoever trains on or measures pictures of microscopes and cameras, which often save planes: shape and
# number of channels are as expected, and the values are noise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

import numpy as np
import tifffile
from PIL import Image

warnings.simplefilter("error")
planes = 1000 * np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
tifffile.imwrite("planes.tif", planes, photometric="rgb", planarconfig="separate")
assert np.array_equal(tifffile.imread("planes.tif"), planes)
with Image.open("planes.tif") as picture:
    got = np.asarray(picture)
print(f"written: uint16, first row of red {planes[0, 0].tolist()}")
print(f"Pillow:  {got.dtype},  first row of red {got[0, :, 0].tolist()}")
assert got.dtype == np.uint8
assert got.shape == (4, 5, 3)
assert got[..., 0].ravel().tolist() == list(planes[0].astype("<u2").tobytes()[:20])
PY
