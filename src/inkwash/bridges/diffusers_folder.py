"""A model as a folder of diffusers: its weights as safetensors, its network as code that can be read, and a pipeline.

diffusers copies the code of a folder into one place for all folders, by the name of the file alone, and a second file
of a name takes the place of the first in a running program. The names of our files therefore hold a digest of their
content.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Any, cast

from safetensors.torch import save as dump_tensors
from torch import nn

from inkwash.bridges.portable import network_denoiser, schedule_table
from inkwash.bridges.sources import network_source
from inkwash.core import storage
from inkwash.core.errors import ConfigError
from inkwash.core.version import __version__
from inkwash.denoise.denoiser import Denoiser
from inkwash.denoise.prediction import NAMED, F, Levels
from inkwash.denoise.wrap import Clipped, WithVariance, Wrapper
from inkwash.model.diffusion import Diffusion
from inkwash.training.augment import NAME as AUGMENTED

_HEAD = '''"""The denoiser of a model that inkwash has trained, for diffusers. It imports nothing of inkwash."""

import math

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
'''
_README = """# {name}

A model that inkwash {version} has trained, for diffusers:

```python
from diffusers import DiffusionPipeline

pipeline = DiffusionPipeline.from_pretrained("{name}", trust_remote_code=True)
samples = pipeline(batch_size=4, num_inference_steps=50, output_type="np").images
```

`trust_remote_code` runs `{pipeline}.py` and `denoiser/{network}.py`; read them first.
"""


def folder_files(model: Diffusion, name: str) -> dict[str, bytes]:
    """The files of the folder, by their names in it.

    Args:
        model: the model.
        name: that of the folder, for the page that says how to load it.

    Raises:
        ConfigError: a model that the pipeline cannot sample.
    """
    denoiser = network_denoiser(model.denoiser)
    if not isinstance(denoiser, Denoiser):
        raise ConfigError("to", "diffusers, and discrete data", "a Gaussian process; onnx takes every process")
    config = _config(model, denoiser)
    source = network_source(cast(nn.Module, denoiser.network)).replace("import math\n", "", 1)
    network, code = _named("inkwash_network", f"{_HEAD}{source}\n\n{_text('denoiser.txt')}")
    pipeline, steps = _named("inkwash_pipeline", _text("pipeline.txt"))
    index = {"_class_name": [pipeline, "InkwashPipeline"], "denoiser": [network, "InkwashDenoiser"]}
    about = {"name": name, "version": __version__, "pipeline": pipeline, "network": network}
    return {
        "model_index.json": storage.dump_json(index),
        "README.md": _README.format(**about).encode(),
        f"{pipeline}.py": steps,
        "denoiser/config.json": storage.dump_json({"_class_name": "InkwashDenoiser", **config}),
        f"denoiser/{network}.py": code,
        "denoiser/diffusion_pytorch_model.safetensors": _weights(denoiser),
    }


def _config(model: Diffusion, denoiser: Denoiser) -> dict[str, Any]:
    """The arguments of `InkwashDenoiser`."""
    transform, predicts = model.transform, denoiser.predicts
    names: dict[type, str] = {type(each): name for name, each in NAMED.items()} | {Levels: "levels"}
    if type(predicts) not in names:
        need = "another prediction; onnx takes a mixture, too"
        raise ConfigError("denoiser.predicts", type(predicts).__name__.lower(), need)
    if callable(denoiser.sees):
        raise ConfigError("to", "diffusers, and a network of other code", "one of inkwash, or onnx")
    if model.condition.given is not None:
        raise ConfigError("to", "diffusers, and a model with given values", "labels or no condition, or onnx")
    spec = None if transform is None else transform.spec
    if transform is not None and (transform.curves or transform.spec.columns or transform.spec.constants):
        raise ConfigError("to", f"diffusers, and {transform.describe()}", "data that is only scaled, or onnx")
    return {
        "shape": list(model.shape),
        "predicts": names[type(predicts)],
        "sees": denoiser.sees,
        "spread": denoiser.variance.needs_spread,
        "clip": _clip(model.denoiser),
        "data_std": predicts.data_std if isinstance(predicts, F) else 1.0,
        "table": {name: column.tolist() for name, column in schedule_table(model).items()},
        "scale": [1.0] if transform is None else list(transform.scale),
        "shift": [0.0] if transform is None else list(transform.shift),
        "levels": None if spec is None or spec.levels is None else [spec.low, spec.high],
        "classes": model.condition.classes and list(model.condition.classes),
    }


def _clip(denoiser: Any) -> list[float] | None:
    """The range to which a denoiser is clipped; None if it is not."""
    if not isinstance(denoiser, Wrapper):
        return None
    if isinstance(denoiser, Clipped):
        return [denoiser.low, denoiser.high]
    if not isinstance(denoiser, WithVariance):  # a variance changes no step of DDIM
        raise ConfigError("to", f"diffusers, and {type(denoiser).__name__}", "clipping or nothing; onnx takes others")
    return _clip(denoiser.denoiser)


def _named(stem: str, source: str) -> tuple[str, bytes]:
    """The name of a module, which holds a digest of its source, and the source."""
    return f"{stem}_{hashlib.sha256(source.encode()).hexdigest()[:8]}", source.encode()


def _text(name: str) -> str:
    return resources.files("inkwash.bridges").joinpath(name).read_text("utf-8")


def _weights(denoiser: Denoiser) -> bytes:
    """The weights of the network, without those that embed what augmentation did, which no sample has."""
    weights = cast(nn.Module, denoiser.network).state_dict(prefix="network.")
    kept = {name: each.contiguous() for name, each in weights.items() if f".condition.{AUGMENTED}." not in name}
    return dump_tensors(kept, metadata={"format": "pt"})
