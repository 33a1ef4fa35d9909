#!/usr/bin/env bash
# scipy 1.17.1.
#
# Behaviour: `scipy.io.arff.loadarff` reads a missing nominal cell, ?, as the text b'?', while a missing number
# is NaN. It reads a row with a weight in braces as a row like any other; the weight is gone.
#
# Expected: None or a mask for missing cells, so that `b'?'` is no category beside those of the header; weights, or an
# error that says that there are some.
#
# Output seen:
#   [(1.0, b'?'), (2.0, b'q'), (3.0, b'p')]
#
# Who is hurt: whoever trains on data sets of Weka or OpenML: a missing cell becomes a category, and weighted rows count
# as one each.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q scipy==1.17.1
cd "$work"
"$work/venv/bin/python" - <<'PY'
import io
import warnings

from scipy.io import arff

warnings.simplefilter("error")
rows, about = arff.loadarff(
    io.StringIO("@relation r\n@attribute x real\n@attribute y {p,q}\n@data\n1,?\n2,q\n3,p,{5}\n")
)
print(rows.tolist())
assert rows.tolist() == [(1, b"?"), (2, b"q"), (3, b"p")]
PY
