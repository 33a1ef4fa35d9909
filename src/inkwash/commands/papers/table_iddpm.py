r"""Schedules, objectives and learned variances (Nichol & Dhariwal 2021, Tables 1 and 2, figs. 6 and 8).

The paper trains a network that predicts the noise with the linear or the cosine schedule. Training minimises
$L_\mathrm{simple}$ with a fixed variance, or, with a learned one, $L_\mathrm{hybrid}$ or the bound $L_\mathrm{vlb}$. We
do so with a small U-Net on digits, and train the bound also with times proposed by the history of losses. The networks
of the cosine schedule then sample in fewer steps, with both fixed variances and with the learned one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from inkwash.commands.output import Output
from inkwash.commands.papers.cells import Amount, Cell, Outcome, View, claims, floor_of, gallery, outcomes
from inkwash.commands.papers.report import Findings, report
from inkwash.commands.papers.tables import NOTHING, Claim, Table, number
from inkwash.core.config import (
    Config,
    DenoiserConfig,
    NetworkConfig,
    ObjectiveName,
    ProcessConfig,
    ScheduleName,
    TimesName,
    TrainConfig,
    VarianceName,
    Width,
)
from inkwash.core.errors import ConfigError
from inkwash.core.options import Count, Range, Seed
from inkwash.data import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_VARIANCES: tuple[VarianceName, ...] = ("large", "small")


@dataclass(frozen=True)
class Row:
    """A row of the paper's Tables 1 and 2, at T = 4000.

    Args:
        schedule: the noise schedule.
        objective: what training minimises: simple, hybrid, or the bound.
        times: how training proposes times.
        cifar: the paper's bits/dim and FID on CIFAR-10 after 500,000 steps (Table 2).
        imagenet: the same on ImageNet 64x64 after 200,000 steps (Table 1).
    """

    schedule: ScheduleName
    objective: ObjectiveName
    times: TimesName = "low-discrepancy"
    cifar: tuple[str, str] = (NOTHING, NOTHING)
    imagenet: tuple[str, str] = (NOTHING, NOTHING)

    @property
    def name(self) -> str:
        """The name of the folder of its cell."""
        return f"{self.schedule}-{self.objective}" + ("-history" if self.times == "loss-history" else "")

    @property
    def paper(self) -> tuple[str, ...]:
        """What the paper found."""
        return (*self.cifar, *self.imagenet)

    @property
    def variance(self) -> VarianceName:
        """The variance of the training."""
        return "large" if self.objective == "simple" else "learned"

    @property
    def variances(self) -> tuple[VarianceName, ...]:
        """The variances that its network is evaluated with."""
        return _VARIANCES if self.objective == "simple" else ("learned",)


ROWS = (
    Row("linear", "simple", cifar=("3.37", "2.90"), imagenet=("3.77", "31.3")),
    Row("linear", "hybrid", cifar=("3.26", "3.07"), imagenet=("3.66", "32.2")),
    Row("linear", "bound"),
    Row("linear", "bound", "loss-history"),
    Row("cosine", "simple", cifar=("3.26", "3.05"), imagenet=("3.68", "27.0")),
    Row("cosine", "hybrid", cifar=("3.17", "3.19"), imagenet=("3.62", "28.0")),
    Row("cosine", "bound"),
    Row("cosine", "bound", "loss-history", cifar=("2.94", "11.47"), imagenet=("3.57", "56.7")),
)
"""The paper's rows; its models of the bound propose times by the history of losses."""
SWEPT: dict[str, tuple[VarianceName, ...]] = {"cosine-simple": _VARIANCES, "cosine-hybrid": (*_VARIANCES, "learned")}
"""The cells that sample in fewer steps, and with which variances."""

BETTER_BOUND = (
    ("L_simple: cosine gives a better bound than linear", "cosine-simple", "linear-simple"),
    ("L_hybrid: cosine gives a better bound than linear", "cosine-hybrid", "linear-hybrid"),
    ("linear: L_hybrid gives a better bound than L_simple", "linear-hybrid", "linear-simple"),
    ("cosine: L_hybrid gives a better bound than L_simple", "cosine-hybrid", "cosine-simple"),
    ("cosine: L_vlb by loss history gives a better bound than L_hybrid", "cosine-bound-history", "cosine-hybrid"),
    ("cosine: the loss history gives L_vlb a better bound", "cosine-bound-history", "cosine-bound"),
    ("linear: the loss history gives L_vlb a better bound", "linear-bound-history", "linear-bound"),
)
BETTER_SAMPLES = (
    ("cosine: L_hybrid gives better samples than L_vlb", "cosine-hybrid", "cosine-bound-history"),
    ("linear: L_simple gives slightly better samples than L_hybrid", "linear-simple", "linear-hybrid"),
    ("cosine: L_simple gives slightly better samples than L_hybrid", "cosine-simple", "cosine-hybrid"),
)
"""Claims of the paper: the words, the better cell and the worse."""


@dataclass(frozen=True)
class Options:
    """Linear or cosine schedule, L_simple, L_hybrid or L_vlb, fixed or learned variance, and fewer steps: the tables of
    IDDPM on digits."""

    out: str = "papers/table-iddpm"
    """Folder to write to. The same command continues what lies there already."""
    data: str = "digits"
    """The data; small images with levels, such as a built-in set."""
    steps: Count = 600
    """Training steps of 64 examples, for each network."""
    chain: Annotated[int, Range(21, 10000)] = 200
    """Steps T of the schedules and of the bound, and most steps of the sampler."""
    strides: tuple[Annotated[int, Range(2)], ...] = (10, 25, 50, 100)
    """Smaller numbers of steps to sample in, each below the chain."""
    width: Width = 16
    """Width of the U-Net, a multiple of 8."""
    examples: Annotated[int, Range(10)] = 360
    """At most this many held-out examples, and as many samples."""
    seed: Seed = 0
    """Seed of weights, batches and samples."""

    def __call__(self) -> None:
        if max(self.strides) >= self.chain:
            raise ConfigError("strides", max(self.strides), f"numbers below --chain, {self.chain}")
        output = Output(Path(self.out))
        report("table-iddpm", measure(self, output), output)


def measure(options: Options, output: Output) -> Findings:
    """Train and measure all rows, and sample in fewer steps."""
    cells = tuple(Cell(row.name, _config(row, options), _views(row, options)) for row in ROWS)
    found = outcomes(cells, Amount(options.examples, seed=options.seed), output.folder / "cells", output.display)
    judged = tuple(_claims(found, options))
    numbers = {
        "paper": [asdict(row) for row in ROWS],
        "cells": {name: outcome.to_json() for name, outcome in found.items()},
        "claims": [asdict(claim) for claim in judged],
    }
    rows = {f"{row.name} ({view.variance})": (found[row.name], view) for row in ROWS for view in _own(row)}
    drawn = {"table-iddpm": gallery(rows), "table-iddpm-steps": _plot(found, options)}
    words = (
        "Beside the paper:",
        *(f"  {claim.line()}" for claim in judged),
        "Fréchet distances are those of principal components, not FIDs.",
        "A claim is open if its numbers are within 1 % of each other, or if there are none.",
    )
    tables = _table(found, options), _steps_table(found, options)
    return Findings(numbers, words, {name: each for name, each in drawn.items() if each is not None}, tables)


def _config(row: Row, options: Options) -> Config:
    return Config(
        options.data,
        process=ProcessConfig(row.schedule, options.chain),
        denoiser=DenoiserConfig("eps", row.variance),
        network=NetworkConfig("unet", options.width),
        train=TrainConfig(
            options.steps, 64, optimizer="adamw", objective=row.objective, times=row.times, seed=options.seed
        ),
    )


def _own(row: Row) -> tuple[View, ...]:
    """The views of a row of the table."""
    return tuple(View(variance) for variance in row.variances)


def _views(row: Row, options: Options) -> tuple[View, ...]:
    """All views of a cell, those with fewer steps among them."""
    swept = [_view(v, steps, options) for v in SWEPT.get(row.name, ()) for steps in _all_steps(options)]
    return tuple(dict.fromkeys((*_own(row), *swept)))


def _all_steps(options: Options) -> tuple[int, ...]:
    return (*sorted(options.strides), options.chain)


def _view(variance: VarianceName, steps: int, options: Options) -> View:
    return View(variance, None if steps == options.chain else steps)


def _table(found: Mapping[str, Outcome], options: Options) -> Table:
    ours, paper = ("variance", "bound", "Fréchet", "forest"), ("CIFAR-10 NLL", "FID", "ImageNet NLL", "FID")
    head = ("schedule", "minimises", "times", *ours, *paper)
    rows = (
        (row.schedule, row.objective, row.times, str(view.variance), *found[row.name].texts(view), *row.paper)
        for row in ROWS
        for view in _own(row)
    )
    title = (
        f"{options.data}, bits/dim, {options.chain} steps; Fréchet floor {floor_of(found.values())}. "
        "The last four columns are the paper's."
    )
    return Table(title, head, tuple(rows))


Curve = list[tuple[float | None, float | None]]
"""Fréchet distance and bound for each number of steps; None where there are none."""


def _curves(found: Mapping[str, Outcome], options: Options) -> dict[str, Curve]:
    """The curve of each network that is swept, with each variance."""
    return {
        f"{name}, {variance}": [_point(found[name], _view(variance, steps, options)) for steps in _all_steps(options)]
        for name, variances in SWEPT.items()
        for variance in variances
    }


def _point(outcome: Outcome, view: View) -> tuple[float | None, float | None]:
    return outcome.least("Fréchet", (view,)), outcome.least("bits/dim", (view,))


def _steps_table(found: Mapping[str, Outcome], options: Options) -> Table:
    rows = []
    for name, curve in _curves(found, options).items():
        rows.append((name, "Fréchet", *(number(frechet) for frechet, _ in curve)))
        rows.append((name, "bound", *(number(bound) for _, bound in curve)))
    head = ("network, variance", "steps", *map(str, _all_steps(options)))
    return Table("Sampling, and the bound, in fewer steps.", head, tuple(rows))


def _plot(found: Mapping[str, Outcome], options: Options) -> Figure:
    figure, axes = pictures.new_figure(9, 3.4, columns=2)
    colours = {"large": pictures.WASH, "small": pictures.ACCENT, "learned": pictures.INK}
    for name, curve in _curves(found, options).items():
        network, variance = name.split(", ")
        line = "-" if network == "cosine-hybrid" else "--"
        for axis, values in zip(axes, zip(*curve, strict=True), strict=True):
            points = [math.nan if value is None else value for value in values]
            axis.semilogx(_all_steps(options), points, line, marker="o", ms=3, label=name, color=colours[variance])
    for axis, title in zip(axes, ("Fréchet distance", "bound, bits/dim"), strict=True):
        axis.set(title=title, xlabel="steps")
        axis.set_xticks(_all_steps(options), map(str, _all_steps(options)), minor=False)
        axis.minorticks_off()
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def _claims(found: Mapping[str, Outcome], options: Options) -> Iterator[Claim]:
    """What the paper says, beside what was found; a network with fixed variances counts with the better of them."""
    own = {row.name: _own(row) for row in ROWS}
    yield from claims("bits/dim", BETTER_BOUND, found, own)
    yield from claims("Fréchet", BETTER_SAMPLES, found, own)
    for steps in sorted(options.strides):
        few = {name: [_view(v, steps, options) for v in SWEPT[name]] for name in ("cosine-simple", "cosine-hybrid")}
        few["cosine-hybrid"] = [_view("learned", steps, options)]
        text = f"in {steps} steps the learned variance gives better samples than L_simple with a fixed one"
        yield from claims("Fréchet", [(text, "cosine-hybrid", "cosine-simple")], found, few)
