"""Train, evaluate and sample the model of each preset on the digits, and print a table.

    python benchmarks/presets.py
    python benchmarks/presets.py --steps 20 --examples 60 --terms 5 --only ddpm edm   # a quick pass over some

The table is in Markdown. Its columns are the bound of held-out digits and its standard error, in bits per dimension;
the accuracy of a forest that tells samples from held-out digits, and the 95 % quantile of that accuracy by chance; and
how samples are taken. A strip of samples of each, by its own sampler, goes to `--pictures`. Runs are kept in `--out`
and are not trained again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import inkwash as iw
from inkwash.core.config import EvaluateConfig, SamplingConfig
from inkwash.data.pictures import save_rows
from inkwash.presets import PRESETS

STRIP = 16


def measured(name: str, options: argparse.Namespace) -> str:
    """Train, evaluate and sample a preset; the results as cells of a table."""
    preset = PRESETS[name]["gaussian"]()
    preset = replace(preset, train=replace(preset.train, steps=options.steps))
    run = iw.train("digits", options.out / name, config=preset, report=False)
    found = iw.evaluate(run.path, EvaluateConfig(examples=options.examples, bound_terms=options.terms))
    model, spec = run.model(), run.dataset().spec
    save_rows(options.pictures / f"{name}.png", spec, [model.sample(STRIP, seed=0)])
    bound, test = found["bound"]["held_out"], found["two_sample"]
    return " | ".join(
        (
            f"{bound['total']:.2f} ± {bound['std_error']:.2f}",
            f"{test['accuracy']:.3f} ({test['null_high']:.3f})",
            described(preset.sampling, preset.process.steps),
        )
    )


def described(sampling: SamplingConfig, own_steps: int) -> str:
    """How samples are taken, in a few words."""
    grid = f" on the {sampling.grid} grid" if sampling.grid else ""
    return f"{sampling.sampler or 'ancestral'}, {sampling.steps or own_steps} steps{grid}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/presets"))
    parser.add_argument("--pictures", type=Path, default=Path("docs/assets/presets"))
    parser.add_argument("--only", nargs="*", choices=list(PRESETS), default=list(PRESETS), help="names of presets")
    parser.add_argument("--steps", type=int, help="optimizer steps of each, by default those of inkwash train")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--terms", type=int, default=100)
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    print("| preset | bound, held out | two-sample accuracy (by chance) | samples |")
    print("| --- | --- | --- | --- |")
    for name in options.only:
        print(f"| `{name}` | {measured(name, options)} |", flush=True)


if __name__ == "__main__":
    main()
