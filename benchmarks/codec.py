"""Compress held-out pictures of a run by both schemes of the codec and by formats of pictures, and compare the sizes.

    python benchmarks/codec.py runs/digits --examples 360 --steps 5 10 20 50

Prints bytes per picture, bits per entry, what a file takes beyond the bound on the same grid of times, and pictures per
second of processor time, one thread, in each direction. Grids are learned from training examples. The bound with the
steps of the model stands beside them; `--terms` of its terms are drawn for each picture. Formats of pictures get each
picture by itself, and all of them as one tall picture; xz gets the bytes of all. JPEG XL is measured where
pillow-jxl-plugin is installed. Every file is decoded and compared with what went in.
"""

import argparse
import io
import lzma
import math
import time
from contextlib import suppress
from importlib import import_module

import numpy as np
import torch
from PIL import Image

import inkwash as iw
from inkwash.codec import scheme_of
from inkwash.codec.direct import halvings
from inkwash.core.errors import ConfigError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--examples", type=int, default=360, help="how many held-out pictures")
    parser.add_argument("--steps", type=int, nargs="*", default=[5, 10, 20, 50], help="of bits-back, on learned grids")
    parser.add_argument("--turns", type=int, nargs="*", default=[1, 2, 4, 8], help="of direct")
    parser.add_argument("--learn", type=int, default=256, help="training examples that grids are learned from")
    parser.add_argument("--candidates", type=int, default=128, help="times that grids are selected from")
    parser.add_argument("--terms", type=int, default=60, help="terms of the bound with the model's steps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = iw.Run(options.run)
    model, data = run.model(), run.dataset().data
    train, held_out = run.split()
    pictures = data[held_out[: options.examples]]
    entries = math.prod(model.shape)
    report(f"{len(pictures)} pictures of {entries} entries", "bytes each  bits/dim")
    formats(pictures, entries)
    bound = model.bound(pictures, steps=model.steps, terms=options.terms)
    line(f"bound, {model.steps} steps", in_bytes(bound.total.mean()), entries, f"± {in_bytes(bound.std_error):.2f}")
    examples = numbers(model, pictures)
    with suppress(ConfigError):
        direct(model, examples, options.turns)
    costs = None
    for steps in options.steps:
        if costs is None:
            candidates = iw.uniform_grid(options.candidates)
            costs = iw.model.bound_costs(model, data[train[: options.learn]], candidates=candidates)
        times = costs.grid(steps)
        of_grid = in_bytes(model.bound(pictures, times=times, seed=1).total.mean())
        size, speed = measured(scheme_of(model, "bits-back", times=times), examples)
        beyond = f"{size / of_grid - 1:+.1%} of the bound, {of_grid:.2f} bytes"
        line(f"bits-back, {steps} steps", size, entries, f"{speed}; {beyond}")


def numbers(model: iw.Diffusion, pictures: np.ndarray) -> torch.Tensor:
    """The numbers of the levels."""
    return model.units.lattice.index(model.to_model(pictures).double()).long()


def direct(model: iw.Diffusion, examples: torch.Tensor, turns: list[int]) -> None:
    for count in turns:
        evaluations = count * halvings(model.units.lattice.levels)
        size, speed = measured(scheme_of(model, "direct", steps=evaluations), examples)
        line(f"direct, {evaluations} steps", size, math.prod(model.shape), speed)


def measured(scheme: object, examples: torch.Tensor) -> tuple[float, str]:
    """Bytes for each example, and how many of them a second."""
    started = time.process_time()
    data = scheme.encode(examples)
    middle = time.process_time()
    if not torch.equal(scheme.decode(data, len(examples)), examples):
        raise SystemExit(f"{scheme.name}: other examples came back")
    seconds = middle - started, time.process_time() - middle
    return len(data) / len(examples), "{:.1f} and {:.1f} a second".format(*(len(examples) / each for each in seconds))


def formats(pictures: np.ndarray, entries: int) -> None:
    grey = pictures.reshape(len(pictures), *[n for n in pictures.shape[1:] if n != 1]).astype(np.uint8)
    tall = np.concatenate([*grey])
    kinds = {"PNG": {"format": "PNG", "optimize": True}, "WebP": {"format": "WEBP", "lossless": True, "quality": 100}}
    with suppress(ImportError):
        import_module("pillow_jxl")
        kinds["JPEG XL"] = {"format": "JXL", "lossless": True, "effort": 9}
    for name, options in kinds.items():
        each = sum(picture_bytes(one, options) for one in grey) / len(grey)
        line(f"{name}, each by itself", each, entries)
        with suppress(ValueError):
            line(f"{name}, one tall picture", picture_bytes(tall, options) / len(grey), entries)
    line("xz, all bytes", len(lzma.compress(grey.tobytes(), preset=9 | lzma.PRESET_EXTREME)) / len(grey), entries)


def picture_bytes(picture: np.ndarray, options: dict) -> int:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, **options)
    return len(file.getvalue())


def in_bytes(nats: torch.Tensor | float) -> float:
    return float(nats) / math.log(2) / 8


def line(name: str, size: float, entries: int, words: str = "") -> None:
    report(f"{name:<28}", f"{size:9.2f}  {8 * size / entries:8.3f}  {words}")


def report(*words: str) -> None:
    print(*words, flush=True)


if __name__ == "__main__":
    main()
