r"""What should the network predict, and what should training minimise? (Ho et al. 2020, Tables 1 and 2)

The paper trains one network on CIFAR-10 in six ways: it predicts the mean $\tilde\mu$ of the step back or the noise
$\epsilon$, and training minimises the bound L, with a learned diagonal or a fixed isotropic variance, or a squared
error without weights. We train a small U-Net on digits in the same six ways, and on MNIST if there is a file of it.
Each network with a fixed variance is evaluated with both of the paper's, $\beta$ (large) and $\tilde\beta$ (small).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from inkwash.commands.output import Output
from inkwash.commands.papers.cells import Amount, Cell, Outcome, View, claims, floor_of, gallery, outcomes
from inkwash.commands.papers.report import Findings, report
from inkwash.commands.papers.tables import NOTHING, Claim, Table
from inkwash.core.config import (
    Config,
    DenoiserConfig,
    NetworkConfig,
    ObjectiveName,
    PredictionName,
    ProcessConfig,
    TrainConfig,
    VarianceName,
    Width,
)
from inkwash.core.errors import DataError
from inkwash.core.options import Count, Range, Seed
from inkwash.core.shapes import Array
from inkwash.data.dataset import block_means, load_dataset


@dataclass(frozen=True)
class Row:
    """A row of the paper's Table 2.

    Args:
        predicts: what the network predicts.
        objective: what training minimises.
        variance: that of the reverse step in training.
        words: the row in words.
        inception: the paper's Inception score; a dash where training was unstable.
        fid: the paper's FID.
        bound: the paper's bound in bits/dim, from its Table 1, if it is there.
    """

    predicts: PredictionName
    objective: ObjectiveName
    variance: VarianceName
    words: str
    inception: str = NOTHING
    fid: str = NOTHING
    bound: str = NOTHING

    @property
    def name(self) -> str:
        """The name of the folder of its cell."""
        return f"{self.predicts}-{self.objective}-{self.variance}"

    @property
    def views(self) -> tuple[View, ...]:
        """The variances that its network is evaluated with."""
        return (View(),) if self.variance == "free" else (View("large"), View("small"))


ROWS = (
    Row("mean", "bound", "free", "mean: L, learned diagonal variance", "7.28 ± 0.10", "23.69"),
    Row("mean", "bound", "large", "mean: L, fixed isotropic variance", "8.06 ± 0.09", "13.22"),
    Row("mean", "mean", "large", "mean: squared error of the mean"),
    Row("eps", "bound", "free", "eps: L, learned diagonal variance"),
    Row("eps", "bound", "large", "eps: L, fixed isotropic variance", "7.67 ± 0.13", "13.51", "3.70"),
    Row("eps", "simple", "large", "eps: squared error of eps (L_simple)", "9.46 ± 0.11", "3.17", "3.75"),
)
"""The rows of the paper's Table 2, on CIFAR-10, with the bounds on test data of its Table 1."""

BETTER_SAMPLES = (
    ("eps: L_simple gives better samples than L", "eps-simple-large", "eps-bound-large"),
    ("eps with L_simple gives better samples than the mean with L", "eps-simple-large", "mean-bound-large"),
    ("mean: L gives better samples than the squared error", "mean-bound-large", "mean-mean-large"),
    ("mean: a fixed variance gives better samples than a learned one", "mean-bound-large", "mean-bound-free"),
    ("eps: a fixed variance gives better samples than a learned one", "eps-bound-large", "eps-bound-free"),
)
BETTER_BOUND = (("eps: L gives a better bound than L_simple", "eps-bound-large", "eps-simple-large"),)
"""Claims of the paper: the words, the better cell and the worse."""


@dataclass(frozen=True)
class Options:
    """Predict the mean or the noise, minimise the bound or a squared error: the ablation of DDPM (Tables 1 and 2) on
    digits and small MNIST."""

    out: str = "papers/table-ddpm"
    """Folder to write to. The same command continues what lies there already."""
    data: str = "digits"
    """The data; small images with levels, such as a built-in set."""
    mnist: str | None = None
    """File of MNIST, such as mnist.npz, whose images are halved to 14x14 as the second data; without it there is only
    the first."""
    steps: Count = 600
    """Training steps of 64 examples, for each network."""
    chain: Annotated[int, Range(21, 10000)] = 100
    """Steps T of the linear schedule, the bound and the sampler."""
    width: Width = 16
    """Width of the U-Net, a multiple of 8."""
    examples: Annotated[int, Range(10)] = 360
    """At most this many held-out examples, and as many samples."""
    seed: Seed = 0
    """Seed of weights, batches and samples."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        report("table-ddpm", measure(self, output), output)


def measure(options: Options, output: Output) -> Findings:
    """Train and measure all rows on each data set."""
    sources, judged, tables = _sources(options, output), {}, []
    drawn: dict[str, Any] = {}
    numbers: dict[str, Any] = {"paper": [asdict(row) for row in ROWS], "data": {}}
    amount = Amount(options.examples, seed=options.seed)
    for name, source in sources.items():
        cells = tuple(Cell(row.name, _config(row, source, options), row.views) for row in ROWS)
        found = outcomes(cells, amount, output.folder / "cells" / name, output.display)
        judged[name] = tuple(_claims(found))
        tables.append(_table(name, found))
        drawn |= _pictures(name, found)
        numbers["data"][name] = {
            "cells": {cell: outcome.to_json() for cell, outcome in found.items()},
            "claims": [asdict(claim) for claim in judged[name]],
        }
    return Findings(numbers, tuple(_words(judged, options)), drawn, tuple(tables))


def _sources(options: Options, output: Output) -> dict[str, str]:
    """The data, by name."""
    sources = {Path(options.data).stem: options.data}
    if options.mnist is None:
        return sources
    small = output.folder / "mnist-14.npy"
    output.silent().array(small.name, halved(options.mnist))
    return {**sources, "mnist-14": str(small)}


def halved(source: str) -> Array:
    """The images of a source with 256 levels, as means over blocks of 2x2 pixels, uint8 `(N, H/2, W/2)`.

    Raises:
        DataError: the source holds anything but grey images with 256 levels and even sides.
    """
    dataset = load_dataset(source)
    spec = dataset.spec
    if spec.levels != 256 or not spec.is_image or spec.shape[0] != 1 or any(side % 2 for side in spec.size):
        raise DataError(source, spec.describe(), "grey images of 8 bits with even sides, such as those of MNIST")
    return np.rint(block_means(spec.to_channels_first(dataset.data), 2)[:, 0]).astype(np.uint8)


def _config(row: Row, source: str, options: Options) -> Config:
    return Config(
        source,
        process=ProcessConfig("linear", options.chain),
        denoiser=DenoiserConfig(row.predicts, row.variance),
        network=NetworkConfig("unet", options.width),
        train=TrainConfig(options.steps, 64, optimizer="adamw", objective=row.objective, seed=options.seed),
    )


def _table(name: str, found: Mapping[str, Outcome]) -> Table:
    head = ("predicts: minimises", "evaluated with", "bound", "Fréchet", "forest", "bound", "FID", "IS")
    rows = (
        (row.words, view.variance or row.variance, *found[row.name].texts(view), row.bound, row.fid, row.inception)
        for row in ROWS
        for view in row.views
    )
    floor = floor_of(found.values())
    title = f"{name}, bits/dim; Fréchet floor {floor}. The last three columns are the paper's, on CIFAR-10."
    return Table(title, head, tuple(rows))


def _pictures(name: str, found: Mapping[str, Outcome]) -> dict[str, Any]:
    views = {f"{row.words} ({v.variance or row.variance})": (found[row.name], v) for row in ROWS for v in row.views}
    picture = gallery(views)
    return {} if picture is None else {f"table-ddpm-{name}": picture}


def _claims(found: Mapping[str, Outcome]) -> Iterator[Claim]:
    """What the paper says, beside what was found; each network counts with the better of its variances."""
    views = {row.name: row.views for row in ROWS}
    yield from claims("Fréchet", BETTER_SAMPLES, found, views)
    yield from claims("bits/dim", BETTER_BOUND, found, views)
    here = {name for name, outcome in found.items() if outcome.is_unstable}
    blank = {row.name for row in ROWS if row.fid == NOTHING}
    text = f"training is unstable for {' and '.join(sorted(blank))}, and for no other"
    yield Claim(text, f"unstable here: {', '.join(sorted(here)) or 'none'}", here == blank)


def _words(judged: Mapping[str, tuple[Claim, ...]], options: Options) -> Iterator[str]:
    """What agrees with the paper, and what does not."""
    for name, each in judged.items():
        yield f"{name}, beside the paper:"
        yield from (f"  {claim.line()}" for claim in each)
    if options.mnist is None:
        yield "MNIST was left out; --mnist names a file of it."
    yield "Fréchet distances are those of principal components, not FIDs."
    yield "A claim is open if its numbers are within 1 % of each other, or if there are none."
