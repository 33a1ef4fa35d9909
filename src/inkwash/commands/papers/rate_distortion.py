r"""Progressive coding with a diffusion model: rate and distortion by time (Ho et al. 2020, §4.3, Table 4, fig. 5).

A sender who codes $x_1$, then $x_s$ given $x_t$ step by step, spends $L_T$ bits and then $L_{t}$ bits for each step. A
receiver who has come to $x_t$ guesses $\hat x(x_t)$. The rate by time is the sum of the terms of the bound down to t;
the distortion is the root mean square error of $\hat x$, on the scale of levels 0 to 255. The last term codes the data
itself given $x_{\tau_1}$, so rate and last term together are the bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from inkwash import presets
from inkwash.commands.output import Output
from inkwash.commands.papers.report import Findings, report
from inkwash.commands.papers.tables import NOTHING, Claim, Table, number, portraits
from inkwash.core.config import Config, NetworkConfig, Width
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.options import Count, Range, Seed
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.dataset import load_dataset
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.process.gaussian import require_gaussian
from inkwash.training.fit import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_RATE, PAPER_LAST, PAPER_RMSE = 1.78, 1.97, 0.95
"""The paper's figures for CIFAR-10 (§4.3): rate and last term, bits/dim, and the distortion at the last step."""
_SHOWN, _FRAMES = 12, 6


@dataclass(frozen=True)
class Options:
    """Code digits progressively with DDPM: how many bits are spent by when, and how far the guess then is from the
    data."""

    out: str = "papers/rate-distortion"
    """Folder to write to. The same command continues what lies there already."""
    data: str = "digits"
    """The data; small images with levels, such as a built-in set."""
    steps: Count = 1500
    """Training steps."""
    chain: Annotated[int, Range(21, 10000)] = 1000
    """Steps T of the linear schedule, and of the coding."""
    width: Width = 16
    """Width of the U-Net, a multiple of 8."""
    examples: Annotated[int, Range(2)] = 128
    """At most this many held-out examples are coded."""
    seed: Seed = 0
    """Seed of weights, batches and noise."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        report("rate-distortion", measure(self, output), output)


@dataclass(frozen=True)
class Curve:
    """Rate and distortion by time, means over examples; one entry for each of the times.

    Args:
        times: T times $\\tau_T = 1 … \\tau_1$, decreasing.
        rate: bits per dimension spent until $x_t$ is known.
        distortion: root mean square error of the guess from $x_t$, levels 0 to 255.
        last: bits per dimension of the data given $x_{\\tau_1}$.
    """

    times: list[float]
    rate: list[float]
    distortion: list[float]
    last: float

    @property
    def total(self) -> float:
        """Bits per dimension of lossless coding: the bound."""
        return self.rate[-1] + self.last

    def distortion_at(self, rate: float) -> float:
        """The distortion once a rate is spent, between the times linearly."""
        return float(np.interp(rate, self.rate, self.distortion))


def measure(options: Options, output: Output) -> Findings:
    """Train, code held-out data, and compare."""
    if load_dataset(options.data).spec.levels is None:
        raise ConfigError("data", options.data, "images with levels, whose bits can be counted")
    output.display.say(f"training  {options.data}")
    with output.display.bar("training"):
        run = fit(_config(options), output.folder / "run", display=Display(shown=False), report=False)
    model, data = require_diffusion(run.model(), "rate"), run.dataset().data[run.split()[1][: options.examples]]
    output.display.say("coding    held-out data")
    with output.display.bar("coding"):
        curve, guesses = curve_of(model, data, options.seed), _guesses(model, data[:_SHOWN], options.seed)
    claims = tuple(claims_of(curve))
    numbers = {"curve": asdict(curve), "total": curve.total, "claims": [asdict(claim) for claim in claims]}
    words = ("Beside the paper:", *(f"  {claim.line()}" for claim in claims), _why(model))
    drawn = {"rate-distortion": _plot(curve), "rate-distortion-guesses": portraits(model.units.spec, guesses)}
    return Findings(numbers, words, drawn, (_table(curve, options),))


def _config(options: Options) -> Config:
    preset = presets.ddpm()
    return replace(
        preset,
        source=options.data,
        process=replace(preset.process, steps=options.chain),
        network=NetworkConfig("unet", options.width),
        train=replace(preset.train, steps=options.steps, seed=options.seed),
    )


def curve_of(model: Diffusion, data: Array, seed: int) -> Curve:
    """Rate and distortion of data with levels, data units, at each time of the model's own grid."""
    bound = model.bound(data, seed=seed)
    spent = bound.in_bits_per_dim(bound.per_time.mean(0)).cumsum(0)
    prior = float(bound.in_bits_per_dim(bound.prior.mean()))
    rate = [prior, *(prior + float(bits) for bits in spent)]
    times = bound.time_edges.tolist()
    distortion = [_distortion(model, data, t, seed) for t in tracked(times)]
    return Curve(times, rate, distortion, float(bound.in_bits_per_dim(bound.reconstruction.mean())))


def _distortion(model: Diffusion, data: Array, t: float, seed: int) -> float:
    return float(np.sqrt(((guess_of(model, data, t, seed) - data) ** 2).mean())) * _scale(model)


def _scale(model: Diffusion) -> float:
    """What takes levels to the scale of 0 to 255."""
    return 255 / ((model.units.spec.levels or 256) - 1)


def guess_of(model: Diffusion, data: Array, t: float, seed: int) -> Array:
    r"""$\hat x(x_t)$ for data, data units, not moved to levels."""
    x_t = model.diffuse(data, t, seed=seed)
    return model.units.to_unrounded(model.denoiser(x_t, t).x)


def _guesses(model: Diffusion, data: Array, seed: int) -> dict[str, Array]:
    """Guesses at some times, and the data."""
    times = [round(model.steps * (1 - k / _FRAMES)) / model.steps for k in range(_FRAMES)]
    levels = (model.units.spec.levels or 256) - 1
    rows = {f"t = {t:.2g}": guess_of(model, data, t, seed).clip(0, levels) for t in times}
    return {**{name: np.rint(row).astype(data.dtype) for name, row in rows.items()}, "data": data}


def claims_of(curve: Curve) -> Iterator[Claim]:
    """What the paper finds, beside what was found here."""
    share = curve.last / curve.total
    text = "more than half of the lossless code describes distortions that the guess of the last step leaves"
    paper = PAPER_LAST / (PAPER_LAST + PAPER_RATE)
    yield Claim(text, f"{share:.0%} (paper {paper:.0%}), RMSE {curve.distortion[-1]:.2f} of 255", share > 0.5)
    start, end = curve.distortion[0], curve.distortion[-1]
    fallen = (start - curve.distortion_at(curve.rate[-1] / 4)) / (start - end)
    text = "the distortion falls steeply at low rates: the first quarter of the rate brings more than half of the fall"
    yield Claim(text, f"{fallen:.0%} of the fall", fallen > 0.5)


def _why(model: Diffusion) -> str:
    """What the last term depends on."""
    levels = model.units.spec.levels or 256
    schedule = require_gaussian(model.process, "rate").schedule
    apart = 2 / (levels - 1) * math.exp(0.5 * float(schedule.log_snr(1 / model.steps)))
    return (
        f"At the first time, the {levels} levels lie {apart:.1f} standard deviations of the noise apart (the 256 of "
        "the paper: 0.8). Where that is far, the noisy data names the levels, and nothing is left for the last term."
    )


def _table(curve: Curve, options: Options) -> Table:
    rows = (
        ("rate, bits/dim", number(curve.rate[-1]), number(PAPER_RATE)),
        ("last term, bits/dim", number(curve.last), number(PAPER_LAST)),
        ("total: the bound, bits/dim", number(curve.total), number(PAPER_RATE + PAPER_LAST)),
        ("RMSE at the last step, of 255", number(curve.distortion[-1]), number(PAPER_RMSE)),
        ("RMSE at time 1, of 255", number(curve.distortion[0]), NOTHING),
    )
    title = f"{options.data}, DDPM with {options.chain} steps, held-out data, beside the paper's CIFAR-10 (§4.3)."
    return Table(title, ("", options.data, "CIFAR-10"), rows)


def _plot(curve: Curve) -> Figure:
    """The paper's figure 5: distortion and rate by reverse step, and distortion by rate."""
    figure, axes = pictures.new_figure(9, 3, columns=3)
    done = [1 - t for t in curve.times]
    panels = (
        (done, curve.distortion, "reverse steps, share", "distortion (RMSE of 255)"),
        (done, curve.rate, "reverse steps, share", "rate, bits/dim"),
        (curve.rate, curve.distortion, "rate, bits/dim", "distortion (RMSE of 255)"),
    )
    for axis, (x, y, across, up) in zip(axes, panels, strict=True):
        axis.plot(x, y, color=pictures.ACCENT)
        axis.set(xlabel=across, ylabel=up)
    return figure
