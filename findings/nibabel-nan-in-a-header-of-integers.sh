#!/usr/bin/env bash
# nibabel 5.4.2, numpy 2.4.6.
#
# Behaviour: an image made of real numbers and the header of a file of int16, which is how a result gets the space of its
# source, is saved as int16, without a warning. NaN, which marks voxels outside of a mask, becomes a number near 0, and all
# other values are rounded to one of 65,536.
#
# Expected: a file of real numbers, as without the header, or an error or warning about NaN.
#
# Output seen:
#   given  [0.0, 1.0, nan, 2.5, 1000.0]
#   saved  [0.0, 1.0, 0.0, 2.5, 1000.0] as int16, with the header of the source
#   saved  [0.0, 1.0, nan, 2.5, 1000.0] as float64, without
#
# Who is hurt: whoever saves maps of one part of the body: the rest counts as measured, with the value 0, in means, tests and
# training.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q nibabel==5.4.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PY'
import warnings

import nibabel
import numpy as np

warnings.simplefilter("error")
nibabel.save(nibabel.Nifti1Image(np.arange(5, dtype=np.int16).reshape(1, 1, 5), np.eye(4)), "source.nii")
source = nibabel.load("source.nii")
given = np.array([[[0, 1, np.nan, 2.5, 1000]]])
print("given ", given.ravel().tolist())
for words, header in (("with the header of the source", source.header), ("without", None)):
    nibabel.save(nibabel.Nifti1Image(given, source.affine, header), "result.nii")
    result = nibabel.load("result.nii")
    found = result.get_fdata().ravel()
    print("saved ", np.round(found, 1).tolist(), f"as {result.get_data_dtype()}, {words}")
    assert np.isnan(found[2]) == (header is None)
    assert header is None or abs(found[2]) < 0.02
PY
