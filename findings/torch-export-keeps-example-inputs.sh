#!/usr/bin/env bash
# torch 2.13.0.
#
# Behaviour: `torch.export.save` writes the tensors that the program was traced with into the file, as a pickle,
# `archive/data/sample_inputs/model.pt`, and `torch.export.load` gives them back as `example_inputs`. Nothing of the call
# asks for it, and the file works without them.
#
# Expected: the file holds the program and its weights. A dynamic batch is traced with a few rows, and rows of the
# training data are what is at hand.
#
# Output seen:
#   entries of the file: ['archive/data/sample_inputs/model.pt']
#   read from the file: [[42.0, 42.0], [42.0, 42.0], [42.0, 42.0]]
#   after example_inputs = None: None
#
# Who is hurt: whoever traces with real data and hands the file on: the rows are in it, in full precision. The way out
# is `program.example_inputs = None` before saving, after which an empty pickle remains.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HOME="$work/hub"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PY'
import io, pickletools, zipfile
import torch
from torch.export import Dim, export, load, save

batch = torch.full((3, 2), 42.0)  # say, three rows of a customer's table
program = export(torch.nn.Linear(2, 2), (batch,), dynamic_shapes=({0: Dim("batch")},))
buffer = io.BytesIO()
save(program, buffer)
entries = [name for name in zipfile.ZipFile(buffer).namelist() if "sample_inputs" in name]
print("entries of the file:", entries)
buffer.seek(0)
found = load(buffer).example_inputs[0][0]
print("read from the file:", found.tolist())
assert torch.equal(found, batch)
program.example_inputs = None
buffer = io.BytesIO()
save(program, buffer)
buffer.seek(0)
print("after example_inputs = None:", load(buffer).example_inputs)
PY
