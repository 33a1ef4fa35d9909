"""Compress held-out pictures of a run with loss, and compare rate and distortion with theory, JPEG and WebP.

    python benchmarks/lossy.py runs/digits --examples 64 --times 0.1 0.2 0.3 0.5 --picture lossy.png

Prints for each time: bytes per picture and bits per entry of the chunk, and the PSNR of what comes back; beside it the
rate and PSNR of noisy data with normal noise, and the PSNR of JPEG and WebP at the best quality whose file is no
longer. Formats of pictures get all pictures as one tall picture, so that headers count once. The rate with normal noise
is that of the bound in continuous time, half the integral of the mean square error of the estimate over the
signal-to-noise ratio, plus the prior (Kingma et al. 2021, eq. 15); the errors that it needs are also the distortion
(Ho et al. 2020, §4.3). What comes back is what the encoder announces; a decoder gives the same. `--picture` draws bits
by time and PSNR by bits.
"""

import argparse
import io
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import inkwash as iw
from inkwash.codec import scheme_of
from inkwash.core import storage
from inkwash.data import pictures as drawing

NOTHING = "      –"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--examples", type=int, default=64, help="how many held-out pictures")
    parser.add_argument("--times", type=float, nargs="*", default=[0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7])
    parser.add_argument("--steps", type=int, help="of direct; some tens by default")
    parser.add_argument("--nodes", type=int, default=48, help="times at which the errors of estimates are measured")
    parser.add_argument("--picture", type=Path, help="where to draw the curves")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = iw.Run(options.run)
    model, data = run.model(), run.dataset().data
    pictures = data[run.split()[1][: options.examples]]
    theory = Theory(model, pictures, options.nodes)
    print(f"{len(pictures)} pictures of {math.prod(model.shape)} entries")
    print("  time  bytes each  bits/dim  PSNR    normal noise: bits/dim  PSNR   JPEG   WebP, dB")
    rows = [measured(model, pictures, t, options.steps, theory) for t in options.times]
    if options.picture:
        draw(options.picture, rows, theory)


def measured(model: iw.Diffusion, pictures: np.ndarray, t: float, steps: int | None, theory: "Theory") -> dict:
    """One line: what a file with loss has at a time, and what others have."""
    examples = model.units.lattice.index(model.to_model(pictures).double()).long()
    scheme = scheme_of(model, "direct", steps=steps, lossy=t)
    file = scheme.encode(examples)
    got = scheme.given(examples)
    peak = model.units.lattice.levels - 1
    psnr = decibels(float((got - examples).double().square().mean()) / peak**2)
    bits = 8 * len(file) / examples.numel()
    levels = examples.numpy().reshape(len(pictures), *pictures.shape[1:])
    pixels = np.rint(levels * (255 / peak)).astype(np.uint8)
    others = {name: best(pixels, name, len(file)) for name in ("JPEG", "WEBP")}
    rate, normal = theory.at(t)
    words = "  ".join(NOTHING if value is None else f"{value:5.1f}" for value in others.values())
    size = len(file) / len(pictures)
    print(f"{t:6.2f}  {size:10.2f}  {bits:8.3f}  {psnr:5.1f}  {rate:22.3f}  {normal:5.1f}  {words}", flush=True)
    return {"time": t, "bits": bits, "psnr": psnr, **others}


class Theory:
    """Rate, bits for each entry, and distortion, decibels, by time, with normal noise.

    Args:
        model: the model.
        pictures: data units.
        nodes: times, evenly spread over the log-SNR.
    """

    def __init__(self, model: iw.Diffusion, pictures: np.ndarray, nodes: int) -> None:
        x, schedule = model.to_model(pictures).double(), model.process.schedule
        span = model.units.lattice.spacing * (model.units.lattice.levels - 1)
        first, last = (float(schedule.log_snr(t)) for t in (1.0, 0.0))
        self.log_snr = np.linspace(max(first, -20), min(last, 30), nodes)
        self.schedule, error = schedule, []
        with torch.no_grad():
            for i, level in enumerate(self.log_snr):
                t = schedule.time(torch.tensor(level))
                noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i), dtype=x.dtype)
                error.append(float((model.denoiser(model.process.diffuse(x, t, noise), t).x - x).square().mean()))
        self.error = np.array(error)
        prior = float(model.bound(pictures, steps=1, seed=0).prior.mean()) / math.prod(model.shape)
        slope = 0.5 * np.exp(self.log_snr) * self.error
        steps = np.diff(self.log_snr) * (slope[1:] + slope[:-1]) / 2
        self.bits = (prior + np.concatenate([[0.0], steps.cumsum()])) / math.log(2)
        self.psnr = -10 * np.log10(self.error.clip(1e-12) / span**2)

    def at(self, t: float) -> tuple[float, float]:
        """Rate and distortion at a time."""
        level = float(self.schedule.log_snr(t))
        return float(np.interp(level, self.log_snr, self.bits)), float(np.interp(level, self.log_snr, self.psnr))

    @property
    def times(self) -> np.ndarray:
        """Where they were measured."""
        return self.schedule.time(torch.from_numpy(self.log_snr)).numpy()


def best(pixels: np.ndarray, name: str, size: int) -> float | None:
    """The PSNR of a format at the best quality whose file has at most so many bytes; None if none has."""
    tall = np.concatenate([*pixels.reshape(len(pixels), *[n for n in pixels.shape[1:] if n != 1])])
    for quality in range(100, -1, -1):
        file = io.BytesIO()
        Image.fromarray(tall).save(file, format=name, quality=quality)
        if len(file.getvalue()) <= size:
            back = np.asarray(Image.open(file).convert("L" if tall.ndim == 2 else "RGB"), np.float64)
            return decibels(float(((back - tall) ** 2).mean()) / 255**2)
    return None


def decibels(error: float) -> float:
    """A mean square error, in squares of the span of the levels."""
    return -10 * math.log10(error) if error else math.inf


def draw(path: Path, rows: list[dict], theory: Theory) -> None:
    figure, (left, right) = drawing.new_figure(9, 3.6, columns=2)
    bits = [row["bits"] for row in rows]
    left.plot(theory.times, theory.bits, color=drawing.WASH, label="bound: normal noise")
    left.plot([row["time"] for row in rows], bits, "o-", color=drawing.ACCENT, ms=4, label="compressed")
    left.set(xlabel="time at which coding stops", ylabel="bits per dimension", ylim=(0, 1.25 * max(bits)))
    right.plot(theory.bits, theory.psnr, color=drawing.WASH, label="normal noise")
    right.plot(bits, [row["psnr"] for row in rows], "o-", color=drawing.ACCENT, ms=4, label="compressed")
    for name, style in (("JPEG", "^"), ("WEBP", "s")):
        some = [row for row in rows if row[name] is not None]
        label = {"WEBP": "WebP"}.get(name, name)
        right.plot(
            [row["bits"] for row in some], [row[name] for row in some], style, color=drawing.INK, ms=4, label=label
        )
    finite = [row["psnr"] for row in rows if math.isfinite(row["psnr"])]
    right.set(xlabel="bits per dimension", ylabel="PSNR, dB", xlim=(0, 1.25 * max(bits)), ylim=(0, 1.15 * max(finite)))
    for axis in (left, right):
        axis.legend(frameon=False)
    storage.make_folder(path.parent)
    drawing.save_figure(path, figure)


if __name__ == "__main__":
    main()
