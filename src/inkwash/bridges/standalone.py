"""Samples from a denoiser that inkwash has exported, with NumPy, and onnxruntime for .onnx or torch for .pt2.

This file is written beside every export. It needs nothing of inkwash:

    from digits_sampler import load, sample, to_data
    denoise, about = load("digits.onnx")
    pictures = to_data(sample(denoise, about, n=16, steps=50, seed=0), about)
"""

import json
from itertools import pairwise

import numpy as np

NAME = "inkwash.json"
"""What a file calls the JSON that it holds."""


def load(path):
    """The denoiser, a function of NumPy arrays by name, and what is known about it."""
    if str(path).endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda **x: session.run(None, x), json.loads(session.get_modelmeta().custom_metadata_map[NAME])
    import torch

    extra = {NAME: ""}
    module = torch.export.load(path, extra_files=extra).module()
    tensors = lambda **x: module(**{name: torch.from_numpy(part) for name, part in x.items()})  # noqa: E731
    return lambda **x: [part.numpy() for part in tensors(**x)], json.loads(extra[NAME])


def sample(denoise, about, n, steps, noise=None, seed=0, **condition):
    """DDIM (Song et al. 2020, eq. 12, eta = 0) for a Gaussian process: `(n, *shape)`, model units.

    The steps lie on the model's own grid: evenly, if their number divides that of the grid, T; there are at most T.
    `noise` is standard normal; a condition has a row for each sample, and without one there is none.
    """
    if list(about["outputs"]) != ["x", "eps"]:
        raise ValueError(f"outputs {list(about['outputs'])}: DDIM needs x and eps, those of a Gaussian process")
    table = {name: np.array(column) for name, column in about["table"].items()}
    alpha, sigma = table["alpha"], table["sigma"]
    if not 1 <= steps < len(alpha):
        raise ValueError(f"steps {steps}: need 1 to {len(alpha) - 1}, the times of the model's own grid")
    rows = np.linspace(len(alpha) - 1, 0, steps + 1).round().astype(int)
    if about["classes"]:
        condition = {"label": np.zeros(n, np.int64), **condition}
    if about["given"]:
        condition = {"given": np.full((n, *about["given"]["spec"]["shape"]), np.nan, np.float32), **condition}
    noise = np.random.default_rng(seed).standard_normal((n, *about["shape"])) if noise is None else noise
    x = (noise * np.hypot(alpha[-1], sigma[-1])).astype(np.float32)
    for t, s in pairwise(rows):
        now = {name: np.full(n, table[name][t], np.float32) for name in ("alpha", "sigma", "level")}
        clean, eps = denoise(x_t=x, **now, **condition)
        x = (alpha[s] * clean + sigma[s] * eps).astype(np.float32)
    return x


def to_data(x, about):
    """Model units to data units, channels first: levels are moved to the nearest one."""
    if not about["affine"]:
        raise ValueError("affine false: the transform has curves or columns, which inkwash maps back")
    shape = (-1, *(1,) * (len(about["shape"]) - 1))
    transform = about["transform"] or {"scale": [1.0], "shift": [0.0], "spec": {"levels": None}}
    data = x * np.array(transform["scale"]).reshape(shape) + np.array(transform["shift"]).reshape(shape)
    spec = transform["spec"]
    return data if spec["levels"] is None else np.rint(data).clip(spec["low"], spec["high"]).astype(spec["dtype"])
