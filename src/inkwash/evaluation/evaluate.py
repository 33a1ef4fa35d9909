"""Evaluate a run honestly: what `inkwash evaluate` does.

The held-out bound by part and by time beside that of training data, the exact log-density, a two-sample test of
samples against held-out data, distances in spaces of features, a memorisation test, drift, and how well hidden entries
are drawn given the others; as JSON, as pictures and as a report in `RUN/evaluation/`. A distance stands beside its
floor, which training data in place of samples give. The samples of a model with a condition are drawn under those of
one half of the held-out examples, and compared with the other half; where these are labels, a classifier reads them.
So are rows with gaps: each as it would be with those of a row of the one half. Of series, autocorrelation and spectrum
of the samples stand beside those of held-out data; of vectors, columns and pairs of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, cast

import numpy as np

from inkwash.core import storage
from inkwash.core.config import Device, EvaluateConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.options import check
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.shapes import Array
from inkwash.data.rows import take
from inkwash.data.spec import DataSpec
from inkwash.denoise.denoiser import Denoiser
from inkwash.evaluation.calibration import imputation_test
from inkwash.evaluation.drift import drift
from inkwash.evaluation.features import Features, classifier_features, principal_components
from inkwash.evaluation.fidelity import fidelity
from inkwash.evaluation.metrics import label_test, memorisation_test, two_sample_test, with_floor
from inkwash.evaluation.pictures import BY_TIME, CURVE, Curves, draw_by_time, draw_exhibits
from inkwash.evaluation.report import lines, page, warnings_of
from inkwash.evaluation.series import STATISTICS, Curve, compare
from inkwash.evaluation.subject import (
    FEWEST,
    Subject,
    categories_of,
    given_features,
    names_of,
    spread_of,
    subject_of,
    table_of,
)
from inkwash.evaluation.tabular import association_test, embed, marginal_distances, unfold, unfolded_words, utility_test
from inkwash.likelihood.bound import Bound
from inkwash.likelihood.flow import EXACT_UP_TO
from inkwash.likelihood.ode import Adaptive
from inkwash.process.gaussian import Gaussian, require_gaussian
from inkwash.training.run import Run, StrPath

_SOLVER = Adaptive(rtol=1e-3, atol=1e-3)  # its error is far below the standard error over examples
_EXACT_ENTRIES = 8192
_IMPUTING_STEPS = 50
_MOST_COLUMNS = 64
_MOST_HIDDEN_OF, _IMPUTED = 256, 32


def evaluate(
    run: StrPath,
    config: EvaluateConfig | None = None,
    display: Display | None = None,
    *,
    data: Any = None,
    device: Device = "auto",
    features: Features | None = None,
) -> dict[str, Any]:
    """Evaluate a run, write `evaluation/report.html`, `evaluation.json` and pictures into it, and return what the JSON
    holds.

    Args:
        run: the run's folder.
        config: how much to evaluate.
        display: where to report; nowhere by default.
        data: what the run was trained on, if that was an object of Python; by default it is read again.
        device: where to evaluate.
        features: one more space to compare samples and data in: a function of examples in data units, channels first,
            `(N, C, H, W)` for images, to real numbers `(N, F)`.

    Raises:
        CheckpointError: no run.
        ConfigError: continuous time for a process of bits, guidance for a model without condition, features of another
            shape, imputation of examples of more than 256 entries.
        DataError: its data is gone or has changed, or fewer than 10 examples are held out, or 20 where these have
            conditions or may have gaps, or 20 trained on.
    """
    folder, config, display = Run(run), config or EvaluateConfig(), display or Display(shown=False)
    check(config, "evaluate")
    model, dataset = folder.model(device), folder.dataset(data)
    if config.steps == "inf":
        require_gaussian(model.process, "steps inf")
    imputed = _imputed(dataset.spec, config)  # fail before the work
    split = folder.split()
    if features is not None:
        given_features(
            features, dataset.spec.to_channels_first(dataset.data[split[1][:FEWEST]])
        )  # fail before the work
    subject = subject_of(model, dataset, split, config, display)
    likelihood = _likelihood(subject, display)
    display.say("testing samples against data …")
    space, curves = subject.space, _curves(subject)
    copies = memorisation_test(space.samples, subject.train, space.held_out)
    result: dict[str, Any] = {
        "step": folder.header().step,
        "data": dataset.name,
        **asdict(config),
        **likelihood,
        "two_sample": asdict(two_sample_test(space.samples, space.held_out, config.seed)),
        "fidelity": _fidelity(subject, features),
        "memorisation": {name: value for name, value in asdict(copies).items() if isinstance(value, float)},
        "drift": _drift(subject),
        "imputation": _imputation(subject, imputed, display) if imputed else None,
        "series": {name: _compared(*pair) for name, pair in curves.items()} or None,
        "columns": _columns(subject),
        "utility": _utility(subject),
        "labels": _labels(subject),
    }
    result["warnings"] = warnings_of(result)
    report = folder.path / "evaluation"
    storage.make_folder(report)
    storage.replace(report / "evaluation.json", storage.dump_json(result))
    near = copies.distances, take(dataset.data, split[0][copies.nearest])
    shown = draw_exhibits(report, dataset.spec, subject.parts, near, curves, model)
    shown[BY_TIME] = report / "bound_by_time.png"
    draw_by_time(shown[BY_TIME], result["bound_by_time"], result["bound"]["train"]["unit"])
    if (curve := folder.path / "curve.png").exists():
        shown[CURVE] = curve
    storage.replace(report / "report.html", page(result, folder, cast(Denoiser, model.denoiser), config, shown))
    for line in lines(result, report / "report.html", folder.path):
        display.say(line)
    return result


def _likelihood(subject: Subject, display: Display) -> dict[str, Any]:
    """The bound by part and by time, its difference from that of training data, and the exact log-density."""
    display.say("evaluating the bound …")
    parts, told = subject.parts, subject.told
    bounds = {name: _bound(subject, getattr(parts, name)) for name in ("held_out", "train")}
    under = {"held_out_given_condition": _bound(subject, parts.held_out, **told)} if told else {}
    return {
        "bound": {name: asdict(bound.mean()) for name, bound in {**bounds, **under}.items()},
        "bound_by_time": _by_time(bounds),
        "overfitting": _overfitting(bounds),
        "log_density": _log_density(subject, display),
    }


def _bound(subject: Subject, x: Array, **told: Any) -> Bound:
    config = subject.config
    steps, seed = math.inf if config.steps == "inf" else config.steps, derived_seed(config.seed, Purpose.EVALUATE)
    return subject.model.bound(x, steps=steps, terms=config.terms, seed=seed, **told)


def _log_density(subject: Subject, display: Display) -> dict[str, Any] | None:
    """Mean exact log-density of real numbers, at most 64 of them, over as many whole examples as take little time."""
    size, model = math.prod(subject.spec.shape), subject.model
    if not subject.spec.is_real.all() or size > EXACT_UP_TO or not isinstance(model.process, Gaussian):
        return None
    held_out = subject.parts.held_out
    held_out = held_out[~np.isnan(held_out).reshape(len(held_out), -1).any(1)][: max(_EXACT_ENTRIES // size, FEWEST)]
    if len(held_out) < FEWEST:
        return None
    display.say("evaluating the exact log-density …")
    result = model.log_prob(held_out, solver=_SOLVER)
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


def _curves(subject: Subject) -> Curves:
    """Of series, the statistics of samples and of held-out data, data units; of other data none."""
    spec, parts = subject.spec, subject.parts
    if spec.kind != "series":
        return {}
    drawn, fresh = (spec.to_channels_first(x) for x in (parts.samples, parts.held_out))
    return {name: (of(drawn), of(fresh)) for name, of in STATISTICS.items()}


def _compared(samples: Curve, held_out: Curve) -> dict[str, Any]:
    """Two curves as plain numbers, and how far they are apart."""
    both = {"samples": samples, "held_out": held_out}
    plain = {n: {"value": c.value.tolist(), "std_error": c.std_error.tolist()} for n, c in both.items()}
    return {"at": held_out.at.tolist(), **plain, **asdict(compare(samples, held_out))}


def _fidelity(subject: Subject, features: Features | None) -> dict[str, Any]:
    """In each space of features, samples and the floor against held-out data.

    The spaces are fitted on training examples other than those of the floor.
    """
    space, kept = subject.space, len(subject.parts.train)
    spaces = {"components": principal_components(space.fitted[kept:])}
    if labels := subject.known.get("label"):
        spaces["classifier"] = classifier_features(space.fitted[kept:], labels[kept:], subject.config.seed)
    found = {name: [of(x) for x in space.compared] for name, of in spaces.items()}
    if features is not None:
        found["given"] = [given_features(features, subject.spec.to_channels_first(x)) for x in subject.parts.compared]
    return {name: {"size": sets[0].shape[1], **_with_floor(fidelity, sets)} for name, sets in found.items()}


def _with_floor(measure: Callable[[Array, Array], Any], sets: Sequence[Array]) -> dict[str, Any]:
    """`with_floor` of a measure that is a dataclass, by name."""
    samples, train, held_out = sets
    found = with_floor(measure, samples, train, held_out)
    return dict(zip(("samples", "floor"), map(asdict, found), strict=True))


def _drift(subject: Subject) -> list[dict[str, Any]]:
    """Means and spreads by channel or column; of categories, beyond two, the share of each."""
    spec, names = subject.spec, names_of(subject.spec)
    of: Callable[[Array], Array] = spec.to_channels_first
    if spec.kind == "vector":
        many = [count if count != 2 else None for count in categories_of(spec)]
        names = [w for name, count in zip(names, many, strict=True) for w in unfolded_words(name, count)]
        of = lambda x: unfold(table_of(spec, x), many)  # noqa: E731
    return [asdict(moved) for moved in drift(of(subject.parts.samples), of(subject.parts.held_out), names)]


def _columns(subject: Subject) -> dict[str, Any] | None:
    """Of vectors of at most 64 entries, distances by column and associations of pairs, beside their floors."""
    spec = subject.spec
    if spec.kind != "vector" or spec.shape[0] > _MOST_COLUMNS:
        return None
    tables, categories = [table_of(spec, x) for x in subject.parts.compared], categories_of(spec)
    names = names_of(spec)
    each = zip(names, *with_floor(partial(marginal_distances, categories=categories), *tables), strict=True)
    pairs = None
    if len(names) > 1:
        pairs = _with_floor(partial(association_test, categories=categories), tables)
        for found in pairs.values():
            found["pair"] = [names[i] for i in found["pair"]]
    return {
        "marginals": [dict(zip(("where", "samples", "floor"), m, strict=True)) for m in each],
        "associations": pairs,
    }


def _utility(subject: Subject) -> dict[str, Any] | None:
    """Train on samples, test on held-out data: the labels or, of a table without, its last column."""
    spec, space = subject.spec, subject.space
    target, classify = "labels", True
    if subject.told.get("label"):
        x = [each.reshape(len(each), -1) for each in space.compared]
        labels = (told["label"] for told in (subject.asked, subject.known, subject.told))
        y = [np.asarray(names[: len(each)]) for names, each in zip(labels, x, strict=True)]
    elif spec.columns is None or spec.shape[0] < 2:
        return None
    else:
        tables, categories = [table_of(spec, each) for each in subject.parts.compared], categories_of(spec)
        x = [embed(table[:, :-1], tables[1][:, :-1], categories[:-1]) for table in tables]
        y = [table[:, -1] for table in tables]
        target, classify = names_of(spec)[-1], categories[-1] is not None
    samples, train, held_out = zip(x, y, strict=True)
    found = utility_test(samples, train, held_out, classify, subject.config.seed)
    return None if found is None else {"target": target, **asdict(found)}


def _labels(subject: Subject) -> dict[str, Any] | None:
    """How a classifier of the training part reads samples and held-out data."""
    space, told = subject.space, (subject.known, subject.told, subject.asked)
    if not subject.told.get("label"):
        return None
    train, held_out, samples = zip(
        (space.fitted, space.held_out, space.samples), (each["label"] for each in told), strict=True
    )
    return asdict(label_test(train, held_out, samples, subject.config.seed))


def _imputed(spec: DataSpec, config: EvaluateConfig) -> int:
    """How many examples entries are hidden of."""
    size = math.prod(spec.shape)
    if config.imputed is None:
        return _IMPUTED if spec.kind == "vector" and size <= _MOST_HIDDEN_OF else 0
    if config.imputed and size > _MOST_HIDDEN_OF:
        raise ConfigError("evaluate.imputed", config.imputed, f"0: an example has {size} entries, more than 256")
    return config.imputed


def _imputation(subject: Subject, count: int, display: Display) -> dict[str, Any]:
    """How well entries that are hidden at random are drawn given the others."""
    display.say("drawing hidden entries …")
    spec, model, parts = subject.spec, subject.model, subject.parts

    def impute(seen: Array, n: int) -> Array:
        drawn = model.impute(
            seen.reshape(-1, *model.units.data_shape), n, seed=subject.config.seed, steps=_IMPUTING_STEPS
        )
        return drawn.reshape(n, *seen.shape).astype(np.float64)

    held_out, train = (x.reshape(len(x), -1).astype(np.float64) for x in (parts.held_out[:count], parts.fitted))
    is_category = np.array(spec.sizes) > 0 if spec.columns else np.full(train.shape[1], spec.levels == 2)
    return asdict(
        imputation_test(impute, held_out, train, spread_of(spec, parts.fitted), is_category, subject.config.seed)
    )
