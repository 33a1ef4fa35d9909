"""Models of every kind of network and process, with weights that no training made: all of them matter."""

from dataclasses import replace

import numpy as np
import torch

import inkwash as iw
from inkwash.core.config import Config
from inkwash.denoise.wrap import under
from inkwash.sample.walk import Stepwise, end_of
from inkwash.training.prepare import prepare
from inkwash.training.resolve import family_of

_RANDOM = np.random.default_rng(0)


def _table(**columns):
    return (
        ",".join(columns)
        + "\n"
        + "".join(",".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True))
    )


def _normal(*shape):
    return _RANDOM.normal(size=(60, *shape)).astype(np.float32)


def _levels(count, *shape, dtype=np.uint8):
    return _RANDOM.integers(0, count, (60, *shape)).astype(dtype)


def _with_labels():
    return {"x_train": _levels(256, 8, 8), "y_train": np.arange(60) % 3}


DATA = {
    "vectors.npy": _normal(3),
    "series.npy": _normal(2, 12),
    "pictures.npy": _normal(1, 8, 8),
    "odd.npy": _normal(2, 5, 7),
    "volumes.npy": _normal(1, 4, 4, 4),
    "digits.npy": _levels(17, 5, 7),
    "deep.npy": _levels(40000, 6, 6, dtype=np.uint16),
    "bits.npy": _levels(2, 6),
    "labels.npz": _with_labels(),
    "given.npz": {"x_train": _normal(1, 8, 8), "c_train": _normal(2)},
    "gaps.npy": np.where(_RANDOM.random((60, 2, 12)) < 0.1, np.nan, _normal(2, 12)),
    "numbers.csv": _table(a=_normal(), b=_RANDOM.integers(0, 50, 60)),
    "mixed.csv": _table(a=_normal(), c=_RANDOM.choice(list("xyz"), 60), b=_normal()),
    "categories.csv": _table(c=_RANDOM.choice(list("xyz"), 60), d=_RANDOM.choice(list("pq"), 60)),
}
STEPS = 10
PROCESS = iw.ProcessConfig(steps=100)
LABELS, GIVEN = iw.DataConfig(labels="y_train"), iw.DataConfig(condition="c_train")
MODELS = {
    "mlp": ("vectors.npy", {"network": "mlp"}),
    "transformer": ("numbers.csv", {"network": "transformer"}),
    "unet": ("pictures.npy", {}),
    "unet, odd sides": ("odd.npy", {}),
    "unet, series": ("series.npy", {"data": iw.DataConfig(layout="NCL")}),
    "unet, volumes": ("volumes.npy", {}),
    "dit": ("odd.npy", {"network": "dit"}),
    "levels": ("digits.npy", {}),
    "levels, labels": ("labels.npz", {"data": LABELS}),
    "mixture": ("deep.npy", {}),
    "given": ("given.npz", {"data": GIVEN}),
    "gaps": ("gaps.npy", {"data": iw.DataConfig(missing=True, layout="NCL")}),
    "time": ("vectors.npy", {"denoiser": iw.DenoiserConfig(sees="time")}),
    "blind": ("vectors.npy", {"denoiser": iw.DenoiserConfig(sees="nothing")}),
    "F, karras": ("pictures.npy", {"process": iw.ProcessConfig("karras", 100), "denoiser": iw.DenoiserConfig("F")}),
    "velocity": (
        "vectors.npy",
        {"process": iw.ProcessConfig("rectified", 100), "denoiser": iw.DenoiserConfig("velocity")},
    ),
    "learned schedule": ("vectors.npy", {"process": iw.ProcessConfig("learned", 100)}),
    "bits": ("bits.npy", {"data": iw.DataConfig(levels=2), "process": iw.ProcessConfig(steps=100, kind="bernoulli")}),
    "mixed": ("mixed.csv", {}),
    "categories": ("categories.csv", {}),
}


def write_data(folder):
    """Write the data of all models into a folder."""
    for name, data in DATA.items():
        if isinstance(data, str):
            (folder / name).write_text(data)
        elif isinstance(data, dict):
            np.savez(folder / name, **data)
        else:
            np.save(folder / name, data)


def config_of(folder, name, **train):
    """The options of a model whose data lies in a folder."""
    source, options = MODELS[name]
    network = iw.NetworkConfig(kind=options.get("network"), width=8, depth=1, dropout=0.0)
    config = Config(str(folder / source), process=PROCESS, network=network, train=replace(iw.TrainConfig(), **train))
    return replace(config, **{section: each for section, each in options.items() if section != "network"})


def untrained(folder, name):
    """A model of such options, whose weights are random where training starts at zero."""
    prepared = prepare(config_of(folder, name))
    family, condition = family_of(prepared.config), prepared.examples.condition
    trained = family.build(prepared.config, prepared.transform, condition)
    family.prime(trained, prepared.examples)
    torch.manual_seed(0)
    for parameter in trained.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return family.model(prepared.config, prepared.transform, trained.requires_grad_(False), condition)


def walked(model, noise, **condition):
    """Our own DDIM from the same noise: `(n, *shape)`, model units."""
    tensors = {
        name: torch.from_numpy(part) if isinstance(part, np.ndarray) else part for name, part in condition.items()
    }
    start = (torch.from_numpy(noise) * model.process.scale(1.0)).float()
    times = torch.arange(STEPS, -1, -1).double() / STEPS
    walker = Stepwise(under(model.denoiser, tensors, slice(None)), iw.DDIM())
    return end_of(walker.walk(start, times, torch.Generator())).x_s.numpy()
