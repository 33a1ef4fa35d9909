#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0, numpy 2.4.6.
#
# Behaviour: the code of a local folder, loaded with `trust_remote_code=True`, becomes a module that is named by its file
# only: `diffusers_modules.local.net` for `net/net.py`. A second folder with a file of that name is run in the same module,
# over the first. Objects of the first folder keep their class, but its functions look up the constants, helpers and
# classes of the module by name, and find those of the second.
#
# Expected: two folders have two modules, as two repositories of the Hub have, whose modules are named by repository and
# commit.
#
# Output seen:
#   the first pipeline gives 2; after another folder was loaded, it gives 3
#
# Who is hurt: whoever compares two local models with code of their own in one program, such as two versions of one, or a
# model before and after training: the first changes when the second is loaded, without a word. A way out is a name of
# the file that is different for every content.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HF_HOME="$work/hub"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 diffusers==0.42.1 safetensors==0.8.0 accelerate numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PY'
import tempfile
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

PIPELINE = """
from diffusers import DiffusionPipeline
class Own(DiffusionPipeline):
    def __init__(self, net):
        super().__init__()
        self.register_modules(net=net)
    def __call__(self, x):
        return self.net(x)
"""
NETWORK = """
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
FACTOR = {factor}
class Net(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
    def forward(self, x):
        return FACTOR * self.weight * x
"""
def folder(factor):
    path = Path(tempfile.mkdtemp())
    (path / "net").mkdir()
    (path / "model_index.json").write_text('{"_class_name": ["pipeline", "Own"], "net": ["net", "Net"]}')
    (path / "pipeline.py").write_text(PIPELINE)
    (path / "net" / "net.py").write_text(NETWORK.format(factor=factor))
    (path / "net" / "config.json").write_text('{"_class_name": "Net"}')
    save_file({"weight": torch.ones(1)}, path / "net" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return str(path)

def load(path):
    return DiffusionPipeline.from_pretrained(path, trust_remote_code=True)

a, b = folder(2), folder(3)
first = load(a)
with torch.no_grad():
    before = float(first(torch.ones(1)))
    load(b)
    after = float(first(torch.ones(1)))
print(f"the first pipeline gives {before:g}; after another folder was loaded, it gives {after:g}")
assert (before, after) == (2.0, 3.0)
PY
