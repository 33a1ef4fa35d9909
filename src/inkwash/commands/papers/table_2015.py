r"""The first diffusion models and their bound K (Sohl-Dickstein et al. 2015, Table 1).

The paper trains its chain on a swiss roll (T = 40), on binary heartbeats (T = 2000) and on images (T = 1000), and
reports K, a lower bound on the mean of log p(x), and $K - L_\mathrm{null}$, how far K is above the log-probability of
the data under the prior (eqs. 10-14). We do the same with the preset dpm-2015: betas are trained for numbers, and
$\beta_k = 1/(T-k+1)$ for bits, whose prior has the rate 0.2 of the heartbeats.

Numbers are standardised first: K and $L_\mathrm{null}$ are those of data with variance 1. Images get uniform noise of
the width of a level, so that they have a density. Their first T = 1000 betas are those of DDPM.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from inkwash import presets
from inkwash.commands.output import Output
from inkwash.commands.papers.report import Findings, report
from inkwash.commands.papers.tables import NOTHING, Claim, Table, number
from inkwash.core import storage
from inkwash.core.config import Config, DataConfig, NetworkConfig, Width
from inkwash.core.display import Display
from inkwash.core.errors import NonFiniteError
from inkwash.core.options import Count, Range, Seed
from inkwash.core.progress import tracked
from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.dataset import load_dataset
from inkwash.model.diffusion import Diffusion, require_diffusion
from inkwash.process.noise.learned import LearnedBetas
from inkwash.process.process import Scheduled
from inkwash.training.fit import fit
from inkwash.training.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEARTBEAT_TRUTH = -math.log2(5)
"""The log-probability of a heartbeat, bits."""
_NEAR = 0.1
_SHOWN = {"points": 500, "bits": 12, "images": 16}


@dataclass(frozen=True)
class Row:
    """A row of the paper's Table 1.

    Args:
        name: of our data.
        kind: "points", "bits" or "images".
        chain: T.
        unit: of the numbers.
        bound: the paper's K.
        gain: the paper's $K - L_\\mathrm{null}$.
    """

    name: str
    kind: str
    chain: int
    unit: str
    bound: str = NOTHING
    gain: str = NOTHING


ROWS = (
    Row("swiss-roll", "points", 40, "bits", "2.35", "6.45"),
    Row("heartbeat", "bits", 2000, "bits/seq.", "-2.414", "12.024"),
    Row("dead-leaves", "images", 1000, "bits/pixel", "1.489", "3.536"),
    Row("digits", "images", 1000, "bits/pixel"),
    Row("mnist", "images", 1000, "bits/pixel"),
)
"""The paper has no K of MNIST, whose likelihood it estimates by Parzen windows, and no digits."""


@dataclass(frozen=True)
class Options:
    """Train the diffusion models of 2015, and measure their bound K and K - L_null: on a swiss roll, heartbeats, dead
    leaves, digits and MNIST."""

    out: str = "papers/table-2015"
    """Folder to write to. The same command continues what lies there already."""
    mnist: str | None = None
    """File of MNIST, such as mnist.npz; without it MNIST is left out."""
    steps: Count = 600
    """Training steps for images; four times as many for points and bits."""
    width: Width = 16
    """Width of the U-Net for images, a multiple of 8."""
    examples: Annotated[int, Range(2)] = 256
    """At most this many held-out examples are bounded."""
    most: Annotated[int, Range(20)] = 10_000
    """At most this many images of a data set are used."""
    seed: Seed = 0
    """Seed of weights, batches, noise and samples."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        report("table-2015", measure(self, output), output)


@dataclass(frozen=True)
class Figures:
    """What was measured on held-out data, in the unit of the row.

    Args:
        bound: K, a lower bound on the mean of log p(x).
        std_error: of its mean over examples.
        null: $L_\\mathrm{null}$, the mean log-probability under the prior.
        minus_total: minus the bound by prior, diffusion and reconstruction, another lower bound.
        betas: the betas of the chain.
    """

    bound: float
    std_error: float
    null: float
    minus_total: float
    betas: tuple[float, ...]

    @property
    def gain(self) -> float:
        r"""$K - L_\mathrm{null}$."""
        return self.bound - self.null


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    Args:
        row: the row.
        figures: None if training diverged.
        panels: pictures of data and of samples.
        error: why training came to no end; None if it did.
    """

    row: Row
    figures: Figures | None = None
    panels: tuple[Array, ...] = ()
    error: str | None = None


def measure(options: Options, output: Output) -> Findings:
    """Train and measure all rows."""
    found = []
    with output.display.bar("training and measuring"):
        for row in tracked(ROWS if options.mnist else ROWS[:-1]):
            output.display.say(f"training  {row.name}")
            found.append(_outcome(row, options, output.folder / row.name))
    claims = tuple(claim for outcome in found for claim in claims_of(outcome))
    numbers = {
        "paper": [asdict(row) for row in ROWS],
        "figures": {each.row.name: each.figures and asdict(each.figures) for each in found},
        "errors": {each.row.name: each.error for each in found if each.error},
        "claims": [asdict(claim) for claim in claims],
    }
    left_out = () if options.mnist else ("MNIST was left out; --mnist names a file of it.",)
    words = ("Beside the paper:", *(f"  {claim.line()}" for claim in claims), *left_out)
    drawn = {"table-2015": _samples(found), "table-2015-betas": _betas(found)}
    return Findings(numbers, words, drawn, (_table(found),))


def _outcome(row: Row, options: Options, folder: Path) -> Outcome:
    try:
        run = fit(_config(row, options, folder), folder / "run", display=Display(shown=False), report=False)
        return Outcome(row, figures_of(run, row, options), _panels(run, row, options))
    except NonFiniteError as error:
        return Outcome(row, error=str(error))


def _config(row: Row, options: Options, folder: Path) -> Config:
    preset, images = presets.dpm_2015(row.kind == "bits"), row.kind == "images"
    rate = 0.2 if row.kind == "bits" else None
    return replace(
        preset,
        source=_dequantised(row, options, folder) if images else row.name,
        data=DataConfig(layout="NHW") if images else preset.data,
        process=replace(preset.process, steps=row.chain, rate=rate),
        network=NetworkConfig("unet", options.width) if images else preset.network,
        train=replace(preset.train, steps=options.steps * (1 if images else 4), seed=options.seed),
    )


def _dequantised(row: Row, options: Options, folder: Path) -> str:
    """A file of the images of a data set, each level with uniform noise of the width of a level, float32."""
    dataset = load_dataset(options.mnist if row.name == "mnist" and options.mnist else row.name)
    levels = dataset.spec.to_channels_first(dataset.data[: options.most])[:, 0]
    noise = np.random.default_rng(options.seed).random(levels.shape, np.float32)
    buffer = io.BytesIO()
    np.save(buffer, levels.astype(np.float32) + noise)
    storage.make_folder(folder)
    storage.replace(folder / "images.npy", buffer.getvalue())
    return str(folder / "images.npy")


def figures_of(run: Run, row: Row, options: Options) -> Figures:
    """The figures of a run on held-out data."""
    model, data = require_diffusion(run.model(), "K"), run.dataset().data[run.split()[1][: options.examples]]
    found = model.bound(data, terms=100, seed=options.seed)
    found = found.with_log_det(-model.units.log_det(model.to_model(data)))  # the bound in model units
    scale = math.log(2) * (found.dims if row.unit == "bits/pixel" else 1)
    lower, null, total = (nats / scale for nats in (found.lower, found.prior_log_prob, found.total))
    if not bool(lower.isfinite().all()):
        raise NonFiniteError("K", "numbers that are not finite", "finite numbers")
    error = float(lower.std()) / math.sqrt(len(lower))
    return Figures(float(lower.mean()), error, float(null.mean()), -float(total.mean()), _betas_of(model))


def _betas_of(model: Diffusion) -> tuple[float, ...]:
    """The betas of the chain of a model."""
    process = model.process
    schedule = process.schedule if isinstance(process, Scheduled) else None
    return tuple(schedule.table().tolist()) if isinstance(schedule, LearnedBetas) else ()


def _panels(run: Run, row: Row, options: Options) -> tuple[Array, ...]:
    """Pictures of some data and of as many samples."""
    model, count = run.model(), _SHOWN[row.kind]
    data = run.dataset().data[run.split()[1][:count]]
    samples = model.sample(count, seed=options.seed)
    return tuple(pictures.sheet(model.units.spec, each) for each in (data, samples))


def claims_of(outcome: Outcome) -> Iterator[Claim]:
    """What the paper finds, beside what was found here."""
    name, figures = outcome.row.name, outcome.figures
    if figures is None:
        yield Claim(f"{name}: training comes to an end", str(outcome.error), False)
        return
    margin = f"K - L_null = {number(figures.gain)} {outcome.row.unit}"
    yield Claim(f"{name}: the chain is more probable than the prior", margin, figures.gain > 2 * figures.std_error)
    if name == "heartbeat":
        away = f"K = {figures.bound:.3f}, log p = {HEARTBEAT_TRUTH:.3f} bits/seq."
        is_near = abs(figures.bound - HEARTBEAT_TRUTH) < _NEAR
        yield Claim(f"{name}: K is within {_NEAR} bits of the true log-probability", away, is_near)


def _table(found: list[Outcome]) -> Table:
    head = ("data", "T", "unit", "K", "K - L_null", "-(bound by parts)", "K of the paper", "K - L_null")
    title = "Lower bounds on log p(x), held-out data. The last two columns are the paper's, on data of its own making."
    return Table(title, head, tuple(map(_texts, found)))


def _texts(outcome: Outcome) -> tuple[str, ...]:
    row, figures = outcome.row, outcome.figures
    ours = ("diverged", NOTHING, NOTHING)
    if figures is not None:
        error = f" ± {figures.std_error:.2f}"
        ours = number(figures.bound) + error, number(figures.gain), number(figures.minus_total)
    return row.name, str(row.chain), row.unit, *ours, row.bound, row.gain


def _samples(found: list[Outcome]) -> Figure:
    """Data above samples, a column for each row of the table."""
    shown = [outcome for outcome in found if outcome.panels]
    figure, axes = pictures.new_figure(2.4 * len(found), 5, columns=len(found), rows=2)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, outcome in enumerate(shown):
        for axis, panel in zip(axes[:, column], outcome.panels, strict=True):
            axis.imshow(panel, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes[0, column].set_title(f"{outcome.row.name}: data, samples", fontsize=8)
    return figure


def _betas(found: list[Outcome]) -> Figure:
    """The trained betas by step, from the data to the noise."""
    figure, axis = pictures.new_figure(5, 3.2)
    for outcome in found:
        if outcome.figures and outcome.figures.betas:
            betas = outcome.figures.betas
            axis.semilogy(np.arange(1, len(betas) + 1) / len(betas), betas, label=f"{outcome.row.name}, T={len(betas)}")
    axis.set(xlabel="step k / T", ylabel="trained beta")
    if axis.lines:
        axis.legend(frameon=False, fontsize=7)
    return figure
