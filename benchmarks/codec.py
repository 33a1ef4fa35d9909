"""Compress pictures by both schemes of the codec and by formats of pictures, and compare the sizes.

    python benchmarks/codec.py runs/digits --examples 360 --steps 5 10 20 50
    python benchmarks/codec.py runs/mnist --data mnist.npz --key x_test --examples 2048 --steps 50 --turns

The pictures are the held-out ones of the run, or the first of another file. Prints bytes per picture, bits per entry,
what a file takes beyond the bound on the same grid of times, and pictures per second of processor time, one thread, in
each direction. The bound is that of the codec's reverse variance, and `--bounded` pictures are enough for it. Grids are
learned from training examples. The bound with the steps and the variance of the model stands beside them; `--terms` of
its terms are drawn for each picture. Pictures go in chunks, as in a file, of which `--decoded` are decoded and compared
with what went in. Formats of pictures get each picture by itself, and all of them as one tall picture; xz gets the
bytes of each and of all. JPEG XL is measured where pillow-jxl-plugin is installed.
"""

import argparse
import io
import lzma
import math
import sys
import time
from contextlib import suppress
from importlib import import_module

import numpy as np
import torch
from PIL import Image

import inkwash as iw
from inkwash.codec import Scheme, coding, scheme_of
from inkwash.codec.direct import halvings
from inkwash.core.errors import ConfigError


def main() -> None:
    options = options_of(
        argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    )
    torch.set_num_threads(1)
    run = iw.Run(options.run)
    model, data = run.model(), run.dataset().data
    train, held_out = run.split()
    if options.data:
        pictures = iw.load_dataset(options.data, iw.DataConfig(key=options.key)).data[: options.examples]
    else:
        pictures = data[held_out[: options.examples]]
    entries = math.prod(model.shape)
    report(f"{len(pictures)} pictures of {entries} entries", "bytes each  bits/dim")
    formats(pictures, entries)
    some = pictures[: options.bounded]
    bound = model.bound(some, steps=model.steps, terms=options.terms)
    words = f"± {in_bytes(bound.std_error):.2f} on {len(some)}"
    line(f"bound, {model.steps} steps", in_bytes(bound.total.mean()), entries, words)
    examples = numbers(model, pictures)
    with suppress(ConfigError):
        direct(model, examples, options)
    if options.steps:
        bits_back(model, pictures, data[train[: options.learn]], options)


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--data", help="a file of other pictures than the held-out ones of the run")
    parser.add_argument("--key", help="of the array in an .npz file")
    parser.add_argument("--examples", type=int, default=360, help="how many pictures")
    parser.add_argument("--steps", type=int, nargs="*", default=[5, 10, 20, 50], help="of bits-back, on learned grids")
    parser.add_argument("--turns", type=int, nargs="*", default=[1, 2, 4, 8], help="of direct")
    parser.add_argument("--chunk", type=int, default=1024, help="pictures of a chunk")
    parser.add_argument("--decoded", type=int, help="how many chunks are decoded; all by default")
    parser.add_argument("--learn", type=int, default=256, help="training examples that grids are learned from")
    parser.add_argument("--candidates", type=int, default=128, help="times that grids are selected from")
    parser.add_argument("--bounded", type=int, help="how many pictures have their bounds computed; all by default")
    parser.add_argument("--terms", type=int, default=60, help="terms of the bound with the model's steps")
    return parser.parse_args()


def bits_back(model: iw.Diffusion, pictures: np.ndarray, known: np.ndarray, options: argparse.Namespace) -> None:
    own, examples = coding(model), numbers(model, pictures)
    costs = iw.model.bound_costs(own, known, candidates=iw.uniform_grid(options.candidates))
    for steps in options.steps:
        times = costs.grid(steps)
        bound = own.bound(pictures[: options.bounded], times=times, seed=1)
        of_grid = in_bytes(bound.total.mean())
        error = in_bytes(bound.total.std()) / math.sqrt(len(pictures))
        size, speed = measured(scheme_of(model, "bits-back", times=times), examples, options)
        beyond = f"± {error:.2f}; {speed}; the bound on the grid is {of_grid:.2f} bytes on {len(bound.total)}"
        line(f"bits-back, {steps} steps", size, math.prod(model.shape), beyond)


def numbers(model: iw.Diffusion, pictures: np.ndarray) -> torch.Tensor:
    """The numbers of the levels."""
    return model.units.lattice.index(model.to_model(pictures).double()).long()


def direct(model: iw.Diffusion, examples: torch.Tensor, options: argparse.Namespace) -> None:
    for count in options.turns:
        evaluations = count * halvings(model.units.lattice.levels)
        size, speed = measured(scheme_of(model, "direct", steps=evaluations), examples, options)
        line(f"direct, {evaluations} steps", size, math.prod(model.shape), speed)


def measured(scheme: Scheme, examples: torch.Tensor, options: argparse.Namespace) -> tuple[float, str]:
    """Bytes for each example, and how many of them a second."""
    size, spent, done = 0, [0.0, 0.0], [0, 0]
    for i, chunk in enumerate(examples.split(options.chunk)):
        started = time.process_time()
        data = scheme.encode(chunk)
        spent[0], done[0], size = spent[0] + time.process_time() - started, done[0] + len(chunk), size + len(data)
        if i < (len(examples) if options.decoded is None else options.decoded):
            started = time.process_time()
            if not torch.equal(scheme.decode(data, len(chunk)), chunk):
                raise SystemExit(f"{scheme.name}: other examples came back")
            spent[1], done[1] = spent[1] + time.process_time() - started, done[1] + len(chunk)
        print(f"  {done[0]} pictures, {size} bytes, {done[1]} came back", file=sys.stderr, flush=True)
    speeds = [f"{count / each:.1f}" if count else "no" for count, each in zip(done, spent, strict=True)]
    return size / len(examples), f"{' and '.join(speeds)} a second"


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
    each = sum(len(lzma.compress(one.tobytes(), preset=9 | lzma.PRESET_EXTREME)) for one in grey) / len(grey)
    line("xz, each by itself", each, entries)
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
