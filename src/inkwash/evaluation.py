"""Evaluate a run honestly: what `inkwash evaluate` does.

The held-out bound by part and by time beside that of training data, the exact log-density, a two-sample test of
samples against held-out data, and a memorisation test; as JSON and as pictures in `RUN/evaluation/`. The samples of a
model with a condition are drawn with those of the held-out examples; where these are labels, a classifier reads them.
Of series, autocorrelation
and spectrum of the samples stand beside those of held-out data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inkwash import pictures, storage
from inkwash.config import EvaluateConfig, check
from inkwash.data.transform import Array, DataSpec
from inkwash.display import Display
from inkwash.draw import draw
from inkwash.errors import DataError
from inkwash.fit import bound_parts
from inkwash.flow import EXACT_UP_TO
from inkwash.gaussian import require_gaussian
from inkwash.likelihood import Bound
from inkwash.metrics import Memorisation, label_test, memorisation_test, two_sample_test
from inkwash.model import Diffusion
from inkwash.ode import Adaptive, Fixed
from inkwash.randomness import Purpose, derived_seed
from inkwash.run import Run, StrPath
from inkwash.series import STATISTICS, Curve, compare

_MAP_SIDE = 96
_MAP_SOLVER = Fixed(12)
_SOLVER = Adaptive(rtol=1e-3, atol=1e-3)  # its error is far below the standard error over examples
_EXACT_ENTRIES = 8192
_PANELS = 12
_FEWEST = 10


@dataclass(frozen=True)
class _Parts:
    """What an evaluation compares, in data units: up to so many examples of each, and the whole training part."""

    samples: Array
    train: Array
    held_out: Array
    all_train: Array


def evaluate(
    run: StrPath, config: EvaluateConfig | None = None, display: Display | None = None, *, data: Any = None
) -> dict[str, Any]:
    """Evaluate a run, write `evaluation/evaluation.json` and pictures into it, and return what the JSON holds.

    Args:
        run: the run's folder.
        config: how much to evaluate.
        display: where to report; nowhere by default.
        data: what the run was trained on, if that was an object of Python; by default it is read again.

    Raises:
        CheckpointError: no run.
        ConfigError: continuous time for a process of bits, guidance for a model without condition.
        DataError: its data is gone or has changed, or fewer than 10 examples are held out.
    """
    folder, config, display = Run(run), config or EvaluateConfig(), display or Display(shown=False)
    check(config, "evaluate")
    model, dataset = folder.model(), folder.dataset(data)
    if config.steps == "inf":
        require_gaussian(model.process, "steps inf")
    inside, outside = folder.split()
    places = outside[: config.examples]
    if len(places) < _FEWEST:
        raise DataError(dataset.name, f"{len(places)} held-out examples", f"at least {_FEWEST} to evaluate on")
    told = dataset.conditions(places)
    options: dict[str, Any] = {"guidance": config.guidance, "steps": config.sampler_steps}
    samples = draw(model, len(places), display, seed=config.seed, **options, **told)
    train = dataset.data[inside]
    parts = _Parts(samples, train[: len(places)], dataset.data[places], train)
    display.say("evaluating the bound …")
    bounds = {name: _bound(model, x, config) for name, x in (("held_out", parts.held_out), ("train", parts.train))}
    under = {"held_out_given_condition": _bound(model, parts.held_out, config, **told)} if told else {}
    density = _log_density(model, dataset.spec, parts.held_out, display)
    display.say("testing samples against data …")
    fresh, known, drawn = (model.to_model(x).numpy() for x in (parts.held_out, parts.all_train, parts.samples))
    copies = memorisation_test(drawn, known, fresh)
    curves = _curves(dataset.spec, parts)
    result: dict[str, Any] = {
        "step": folder.header().step,
        "data": dataset.name,
        **asdict(config),
        "bound": {name: bound_parts(bound) for name, bound in {**bounds, **under}.items()},
        "bound_by_time": _by_time(bounds),
        "overfitting": _overfitting(bounds),
        "log_density": density,
        "two_sample": asdict(two_sample_test(drawn, fresh, config.seed)),
        "memorisation": {name: value for name, value in asdict(copies).items() if isinstance(value, float)},
        "series": {name: _compared(*pair) for name, pair in curves.items()} or None,
        "labels": None
        if dataset.labels is None
        else asdict(label_test(known, dataset.conditions(inside)["label"], fresh, drawn, told["label"], config.seed)),
    }
    report = folder.path / "evaluation"
    storage.make_folder(report)
    storage.replace(report / "evaluation.json", storage.dump_json(result))
    _draw_report(report, model, dataset.spec, parts, copies, bounds)
    if curves:
        _draw_curves(report / "series.png", curves)
    for line in _words(result, report):
        display.say(line)
    return result


def _bound(model: Diffusion, x: Array, config: EvaluateConfig, **told: Any) -> Bound:
    steps, seed = math.inf if config.steps == "inf" else config.steps, derived_seed(config.seed, Purpose.EVALUATE)
    return model.bound(x, steps=steps, terms=config.terms, seed=seed, **told)


def _log_density(model: Diffusion, spec: DataSpec, x: Array, display: Display) -> dict[str, Any] | None:
    """Mean exact log-density of continuous data of at most 64 entries, over as many examples as take little time."""
    size = math.prod(spec.shape)
    if spec.levels is not None or size > EXACT_UP_TO:
        return None
    display.say("evaluating the exact log-density …")
    result = model.log_prob(x[: max(_EXACT_ENTRIES // size, _FEWEST)], solver=_SOLVER)
    count = len(result.value)
    return {
        "held_out": float(result.value.mean()),
        "std_error": float(result.value.std()) / math.sqrt(count),
        "unit": "nats",
        "examples": count,
        "evaluations": float(result.evaluations.double().mean()),
    }


def _unit(bound: Bound) -> float:
    """Nats per example times this is the unit of the report: bits/dim for data with levels, nats otherwise."""
    return 1.0 if bound.levels is None else 1 / (bound.dims * math.log(2))


def _by_time(bounds: dict[str, Bound]) -> dict[str, Any]:
    """What each stretch of time adds to the bound, mean over examples, in the unit of the report."""
    edges = next(iter(bounds.values())).time_edges.tolist()
    return {"time_edges": edges, **{n: (b.per_time.mean(0) * _unit(b)).tolist() for n, b in bounds.items()}}


def _overfitting(bounds: dict[str, Bound]) -> dict[str, float]:
    """Held-out bound minus training bound, and its standard error, in the unit of the report."""
    held_out, train = bounds["held_out"], bounds["train"]
    gap = float(held_out.total.mean() - train.total.mean()) * _unit(held_out)
    error = math.hypot(float(held_out.std_error), float(train.std_error)) * _unit(held_out)
    return {"gap": gap, "std_error": error}


def _curves(spec: DataSpec, parts: _Parts) -> dict[str, tuple[Curve, Curve]]:
    """Of series, the statistics of samples and of held-out data, data units; of other data none."""
    if spec.kind != "series":
        return {}
    drawn, fresh = (spec.to_channels_first(x) for x in (parts.samples, parts.held_out))
    return {name: (of(drawn), of(fresh)) for name, of in STATISTICS.items()}


def _compared(samples: Curve, held_out: Curve) -> dict[str, Any]:
    """Two curves as plain numbers, and how far they are apart."""
    both = {"samples": samples, "held_out": held_out}
    plain = {n: {"value": c.value.tolist(), "std_error": c.std_error.tolist()} for n, c in both.items()}
    return {"at": held_out.at.tolist(), **plain, **asdict(compare(samples, held_out))}


def _draw_curves(path: Path, curves: dict[str, tuple[Curve, Curve]]) -> None:
    """The statistics of samples over those of held-out data, whose band is four standard errors wide."""
    figure, axes = pictures.new_figure(11, 4, columns=len(curves))
    for each, (name, (samples, held_out)) in zip(axes, curves.items(), strict=True):
        for c in range(len(held_out.value)):
            middle, reach = held_out.value[c], 2 * held_out.std_error[c]
            each.fill_between(held_out.at, middle - reach, middle + reach, color=pictures.WASH, alpha=0.6, lw=0)
            each.plot(samples.at, samples.value[c], color=pictures.ACCENT, lw=1)
        each.set(title=f"{name}: samples over held-out data")
    axes[0].set(xlabel="lag, places")
    axes[1].set(xlabel="frequency, cycles per place", yscale="log")
    pictures.save_figure(path, figure)


def _draw_report(
    report: Path, model: Diffusion, spec: DataSpec, parts: _Parts, copies: Memorisation, bounds: dict[str, Bound]
) -> None:
    _draw_by_time(report / "bound_by_time.png", bounds)
    pictures.save_samples(report / "samples.png", spec, parts.samples[:64] if spec.size else parts.samples)
    if spec.size:
        _draw_neighbours(report / "neighbours.png", spec, parts, copies)
    elif spec.shape == (2,) and spec.levels is None:
        _draw_densities(report / "densities.png", model, parts)


def _draw_by_time(path: Path, bounds: dict[str, Bound]) -> None:
    """Density over time of the diffusion part: the area under a curve is that part."""
    figure, axes = pictures.new_figure(7, 4)
    for (name, bound), colour in zip(bounds.items(), (pictures.ACCENT, pictures.WASH), strict=True):
        rate = bound.per_time.mean(0) * _unit(bound) / -bound.time_edges.diff()
        axes.stairs(rate.flip(0), bound.time_edges.flip(0), color=colour, label=name.replace("_", " "))
    unit = "nats" if bounds["train"].levels is None else "bits/dim"
    axes.set(xlabel="time (0 is data, 1 is noise)", ylabel=f"diffusion part, {unit} per unit of time", yscale="log")
    axes.legend(frameon=False)
    pictures.save_figure(path, figure)


def _draw_neighbours(path: Path, spec: DataSpec, parts: _Parts, copies: Memorisation) -> None:
    """The samples closest to the training data (upper row), each over its nearest training example."""
    closest = np.argsort(copies.distances, kind="stable")[:_PANELS]
    shown = np.concatenate([parts.samples[closest], parts.all_train[copies.nearest[closest]]])
    pictures.save_pixels(path, pictures.grid(pictures.to_pixels(spec, shown), columns=len(closest)))


def _draw_densities(path: Path, model: Diffusion, parts: _Parts) -> None:
    """Data, samples and the model's density."""
    figure, axes = pictures.new_figure(12, 4, columns=3)
    low, high = parts.all_train.min(0), parts.all_train.max(0)
    margin = 0.05 * (high - low)
    box = [[low[i] - margin[i], high[i] + margin[i]] for i in range(2)]
    for each, title, points in zip(axes, ("held-out data", "samples"), (parts.held_out, parts.samples), strict=False):
        each.hist2d(points[:, 0], points[:, 1], bins=_MAP_SIDE // 2, range=box, cmap="Greys")
        each.set_title(title)
    x, y = (np.linspace(start, stop, _MAP_SIDE) for start, stop in box)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(parts.all_train.dtype)
    density = model.log_prob(points, solver=_MAP_SOLVER).value.exp().cpu().numpy().reshape(_MAP_SIDE, _MAP_SIDE)
    axes[2].imshow(density, origin="lower", extent=[*box[0], *box[1]], cmap="Greys", aspect="auto")
    axes[2].set_title("density")
    pictures.save_figure(path, figure)


def _words(result: dict[str, Any], report: Path) -> Iterator[str]:
    for name, bound in result["bound"].items():
        error = "" if bound["std_error"] is None else f" ± {bound['std_error']:.3f}"
        parts = ", ".join(f"{part} {bound[part]:.3f}" for part in ("prior", "diffusion", "reconstruction"))
        total = f"{bound['total']:.3f}{error} {bound['unit']}"
        yield f"{name.replace('_', ' '):<13} {total} ({parts}; {bound['examples']} examples)"
    if result["log_density"] is not None:
        exact = result["log_density"]
        yield (
            f"log-density   held out {exact['held_out']:.3f} ± {exact['std_error']:.3f} nats (exact, by the flow; "
            f"{exact['examples']} examples)"
        )
    labels = result["labels"]
    if labels is not None:
        yield (
            f"labels        a classifier reads {labels['samples']:.3f} of the samples as what was asked for (guidance "
            f"{result['guidance']:g}), and {labels['held_out']:.3f} of the held-out examples as what they are"
        )
    for name, found in (result["series"] or {}).items():
        yield f"{name:<15} differs by {found['rms']:.3f} of its size; by chance {found['by_chance']:.3f}"
    gap, test, copies = result["overfitting"], result["two_sample"], result["memorisation"]
    yield f"over-fitting  held out - train = {gap['gap']:.3f} ± {gap['std_error']:.3f} {bound['unit']}"
    yield (
        f"two-sample    accuracy {test['accuracy']:.3f}; by chance {test['null_mean']:.3f}, 95 % below "
        f"{test['null_high']:.3f}; p = {test['p_value']:.3f} ({test['per_sample']} of each)"
    )
    yield (
        f"memorisation  nearest training example at {copies['sample_distance']:.3f} (held-out data: "
        f"{copies['held_out_distance']:.3f}); closer than held-out data with probability {copies['closer']:.3f} "
        f"± {copies['closer_std_error']:.3f}; {copies['copies']:.1%} copies"
    )
    yield f"report        {report}"
    yield f"next          inkwash sample {report.parent} -n 64 --out {report.parent / 'drawn'}"
