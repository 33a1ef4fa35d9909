"""An evaluation in words: what it warns of, the lines of a terminal, and one page of HTML that holds all it refers to.

The page is a function of what was measured: the same evaluation gives the same bytes. It runs no script and asks no
network. All text is escaped as it is put in.
"""

from __future__ import annotations

import base64
import json
import platform
import shlex
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from torch.nn import Module

from inkwash.core.config import EvaluateConfig
from inkwash.core.options import to_json
from inkwash.core.version import __version__
from inkwash.evaluation.pictures import BY_TIME, CURVE, NEIGHBOURS
from inkwash.training.build import describe_network, describe_process
from inkwash.training.run import Header, Run

_BEYOND, _MOVES = 3, 12
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")

MEANINGS = {
    "frechet": ("Fréchet distance", "distance of means and covariances, squared; low is good"),
    "kernel": (
        "kernel distance",
        "of moments up to the third, unbiased; 0 for equal laws, and below by chance",
    ),
    "precision": ("precision", "share of samples that lie where data lies: are they realistic?"),
    "recall": ("recall", "share of data that lies where samples lie: is anything missed?"),
    "density": ("density", "as precision, counting how much data lies around each sample; 1 for equal laws"),
    "coverage": ("coverage", "as recall, counting only whether each data point has a sample near it"),
}
"""Name and meaning of each number of `inkwash.evaluation.fidelity.Fidelity`."""
SCORES = {
    "crps": ("CRPS", "in standard deviations of the training part; low is good"),
    "coverage_50": ("in the central 50 %", "of the draws; less is a model that is too sure"),
    "coverage_90": ("in the central 90 %", "likewise"),
    "brier": ("Brier score", "of categories; 0 is known for sure"),
    "accuracy": ("accuracy", "of the likeliest category"),
    "hit": ("hit", "share of draws that are right"),
    "claim": ("claim", "what the hits are by the model's own account"),
    "excess": ("excess", "claim less hit; more than 0 is a model that is too sure"),
}
"""Name and meaning of each number of `inkwash.evaluation.calibration.Imputation`."""
SPACES = {
    "components": "the principal components of the entries",
    "classifier": "features of a small classifier of the labels",
    "given": "the features given from Python",
}


def warnings_of(result: Mapping[str, Any]) -> list[str]:
    """What an evaluation found wrong beyond sampling error, a sentence each.

    Args:
        result: what `inkwash.evaluate` returns, but for its warnings.
    """
    sure = _of_imputation(result["imputation"])
    return [*_of_drift(result["drift"]), *_of_memory(result), *_of_difference(result), *sure]


def _of_drift(moves: list[dict[str, Any]]) -> Iterator[str]:
    for move in moves:
        if move["beyond"]:
            yield (
                f"drift: the {move['what']} of {move['where']} is {move['samples']:.4g} among samples and "
                f"{move['data']:.4g} in data, {abs(move['score']):.1f} standard errors apart"
            )


def _of_memory(result: Mapping[str, Any]) -> Iterator[str]:
    copies, gap = result["memorisation"], result["overfitting"]
    if copies["closer"] > 0.5 + _BEYOND * copies["closer_std_error"]:
        yield f"memorisation: samples lie closer to training data than held-out data does ({copies['closer']:.3f})"
    if copies["to_train"] > 0.5 + _BEYOND * copies["to_train_std_error"]:
        yield f"memorisation: {copies['to_train']:.1%} of samples are closest to training data, not to held-out data"
    if gap["gap"] > _BEYOND * gap["std_error"]:
        unit = result["bound"]["train"]["unit"]
        yield f"over-fitting: the bound is {gap['gap']:.3f} {unit} worse on held-out data than on training data"


def _of_difference(result: Mapping[str, Any]) -> Iterator[str]:
    test = result["two_sample"]
    if test["accuracy"] > test["null_high"]:
        yield f"samples can be told from data: a classifier is right of {test['accuracy']:.1%} of both"


def _of_imputation(found: Mapping[str, Any] | None) -> Iterator[str]:
    """Of an interval that holds too little, and of categories claimed more often than hit."""
    scores = found["model"] if found else {}
    for share in (50, 90):
        held = scores.get("numbers", {}).get(f"coverage_{share}")
        if held and _beyond(share / 100 - held["value"], held["std_error"]):
            yield (
                f"too sure: {held['value']:.1%} of the numbers hidden lie within the central {share} % of their draws"
            )
    categories = scores.get("categories")
    if categories and _beyond(categories["excess"]["value"], categories["excess"]["std_error"]):
        right, claimed = categories["hit"]["value"], categories["claim"]["value"]
        yield f"too sure: {right:.1%} of the draws of hidden categories are right, and {claimed:.1%} are claimed to be"


def _beyond(by: float, error: float | None) -> bool:
    """Whether a number is above zero by more than three standard errors; of a single row the error is not known."""
    return error is not None and by > _BEYOND * error


def lines(result: Mapping[str, Any], report: Path, run: Path) -> Iterator[str]:
    """An evaluation as lines for a terminal."""
    yield from (f"warning       {text}" for text in result["warnings"])
    yield from _of_likelihood(result)
    yield from _of_samples(result)
    yield from _of_kind(result)
    yield f"report        {report}"
    yield f"next          inkwash sample {run} -n 64 --out {run / 'drawn'}"


def _of_likelihood(result: Mapping[str, Any]) -> Iterator[str]:
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
    gap = result["overfitting"]
    yield f"over-fitting  held out - train = {gap['gap']:.3f} ± {gap['std_error']:.3f} {bound['unit']}"


def _of_samples(result: Mapping[str, Any]) -> Iterator[str]:
    test, copies = result["two_sample"], result["memorisation"]
    yield (
        f"two-sample    accuracy {test['accuracy']:.3f}; by chance {test['null_mean']:.3f}, 95 % below "
        f"{test['null_high']:.3f}; p = {test['p_value']:.3f} ({test['per_sample']} of each)"
    )
    for space, found in result["fidelity"].items():
        pairs = (f"{MEANINGS[m][0]} {found['samples'][m]:.3g} ({found['floor'][m]:.3g})" for m in MEANINGS)
        yield f"{space:<13} {', '.join(pairs)} (in brackets: the floor)"
    yield (
        f"memorisation  nearest training example at {copies['sample_distance']:.3f} (held-out data: "
        f"{copies['held_out_distance']:.3f}); closer than held-out data with probability {copies['closer']:.3f} "
        f"± {copies['closer_std_error']:.3f}; {copies['copies']:.1%} copies; {copies['to_train']:.1%} closest to "
        f"training data (± {copies['to_train_std_error']:.1%})"
    )
    worst = max(result["drift"], key=lambda move: abs(move["score"]))
    yield (
        f"drift         {sum(move['beyond'] for move in result['drift'])} of {len(result['drift'])} means and spreads; "
        f"the most is {abs(worst['score']):.1f} standard errors, {worst['what']} of {worst['where']}"
    )


def _of_kind(result: Mapping[str, Any]) -> Iterator[str]:
    labels, utility = result["labels"], result["utility"]
    if labels is not None:
        yield (
            f"labels        a classifier reads {labels['samples']:.3f} of the samples as what was asked for (guidance "
            f"{result['guidance']:g}), and {labels['held_out']:.3f} of the held-out examples as what they are"
        )
    if utility is not None:
        yield (
            f"utility       {utility['score']} on held-out data {utility['samples']:.3f} learned from samples, "
            f"{utility['train']:.3f} from as many training examples (difference ± {utility['std_error']:.3f}); "
            f"target {utility['target']}"
        )
    yield from _of_columns(result["columns"] or {})
    if (found := result["imputation"]) is not None:
        for each in found["model"]:
            yield f"imputed       {each}: {', '.join(_beside(found, each))} (in brackets: independent columns)"
    for name, found in (result["series"] or {}).items():
        yield f"{name:<15} differs by {found['rms']:.3f} of its size; by chance {found['by_chance']:.3f}"


def _of_columns(found: Mapping[str, Any]) -> Iterator[str]:
    if found:
        each = found["marginals"]
        means = (sum(m[name] for m in each) / len(each) for name in ("samples", "floor"))
        worst = max(each, key=lambda m: m["samples"] - m["floor"])
        yield (
            f"columns       distance {next(means):.3f} in the mean, by chance {next(means):.3f}; of {worst['where']} "
            f"{worst['samples']:.3f}, by chance {worst['floor']:.3f}"
        )
    if found and found["associations"] is not None:
        most, chance = found["associations"]["samples"], found["associations"]["floor"]
        yield (
            f"associations  differ by {most['mean_difference']:.3f} in the mean, by chance "
            f"{chance['mean_difference']:.3f}; the most is {most['samples']:.3f} in place of {most['data']:.3f}, "
            f"{' with '.join(most['pair'])}"
        )


def _beside(found: Mapping[str, Any], each: str) -> Iterator[str]:
    """The scores of hidden entries of one kind, beside those of independent columns."""
    for name, alone in found["independent"][each].items():
        ours = found["model"][each][name]
        error = "" if ours["std_error"] is None else f" ± {ours['std_error']:.3f}"
        yield f"{SCORES[name][0]} {ours['value']:.3f}{error} ({alone['value']:.3f})"


def command_of(run: Path, config: EvaluateConfig) -> str:
    """The command line that makes an evaluation again."""
    options = [word for name, value in to_json(config).items() if value is not None for word in (name, str(value))]
    options[::2] = [f"--{name.replace('_', '-')}" for name in options[::2]]
    return shlex.join(["inkwash", "evaluate", str(run), *options])


def page(
    result: Mapping[str, Any], run: Run, network: Module, config: EvaluateConfig, shown: Mapping[str, Path]
) -> bytes:
    """The report: one file of HTML.

    Args:
        result: what `inkwash.evaluate` returns.
        run: the run.
        network: of its model.
        config: what was asked for.
        shown: the pictures to hold, by what they show.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(resources.files("inkwash.evaluation").joinpath("report.html").read_text("utf-8"))
    header = run.header()
    content = template.render(
        result=result,
        name=run.path.resolve().name,
        header=header,
        about=_about(header, network),
        options=json.dumps(to_json(header.config), indent=2, ensure_ascii=False),
        pictures={caption: _data_uri(path) for caption, path in shown.items()},
        meanings=MEANINGS,
        spaces=SPACES,
        scores=SCORES,
        command=command_of(run.path, config),
        moves=sorted(result["drift"], key=lambda move: -abs(move["score"]))[:_MOVES],
        curve=CURVE,
        by_time=BY_TIME,
        neighbours=NEIGHBOURS,
        by_object=header.config.source.startswith("<"),
        versions=versions(),
    )
    return content.encode()


def _about(header: Header, network: Module) -> dict[str, str]:
    """Data, model and training, a line each."""
    train, labels = header.config.train, header.condition
    about = {
        "Data": f"{header.config.source}: {header.examples} examples, SHA-256 {header.fingerprint}",
        "An example": header.transform.describe(),
        "Labels": f"{header.config.data.labels}: {labels.describe()}" if labels.classes else "none",
        "Process": describe_process(header.config),
        "Network": describe_network(header.config.network, header.transform.spec.size, network),
        "Training": f"{header.step} of {train.steps} steps of {train.batch_size} examples in {header.seconds:.0f} s; "
        f"{header.skipped} skipped as not finite; objective {train.objective}, peak learning rate "
        f"{train.learning_rate:g}, moving average {train.ema:g}, seed {train.seed}",
    }
    return about | {"Trained with": ", ".join(f"{name} {version}" for name, version in header.versions.items())}


def versions() -> dict[str, str]:
    """Of what an evaluation depends on, here and now."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"inkwash": __version__, "python": platform.python_version(), **found}


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
