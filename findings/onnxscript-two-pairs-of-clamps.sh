#!/usr/bin/env bash
# onnxscript 0.7.2, with torch 2.13.0, onnx 1.23.2, onnx-ir 1.1.0 and onnxruntime 1.32.0.
#
# Behaviour: `torch.onnx.export(…, dynamo=True)` optimises by default, and onnxscript then makes one Clip of two that
# follow each other. It names the new bounds after what the first of the two is applied to. Where two such pairs are
# applied to the same tensor, the bounds of one pair are lost: a node names an input that is nowhere. The export says
# nothing, and the file cannot be loaded.
#
# Expected: bounds with names of their own, and a file that loads, as with `optimize=False`.
#
# Output seen:
#   optimised: INVALID_ARGUMENT : Invalid model. Node input 'x_min_1' is not a graph input, initializer, or output
#   not optimised: largest difference 0.0
#
# Who is hurt: whoever exports a network that clamps the same input twice, such as a noise level for two evaluations
# with guidance, and ships the file without loading it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxscript==0.7.2 onnxruntime==1.32.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging

import onnxruntime
import torch

logging.disable(logging.WARNING)


class Clamps(torch.nn.Module):
    def forward(self, x):
        return x.clamp(min=-1.0).clamp(min=0.0) + 10 * x.clamp(min=-3.0).clamp(min=-2.0)


def difference(optimize):
    """The largest difference between the network and its file."""
    x = torch.linspace(-12, 12, 25)
    program = torch.onnx.export(Clamps(), (x,), dynamo=True, optimize=optimize, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    return abs(session.run(None, {"x": x.numpy()})[0] - Clamps()(x).numpy()).max()


print("not optimised: largest difference", difference(False))
try:
    found = difference(True)
except Exception as error:
    print("optimised:", str(error))
    assert "x_min" in str(error), "another error than before"
else:
    raise SystemExit(f"this has changed: a file that loads, with a largest difference of {found}")
PY
