r"""Where multiplying every step by a factor ends (study note 002; Sohl-Dickstein et al. 2015, §2.5).

The note draws from a product by multiplying each step with the factor, or by clamping the entries that are known. On
two normal entries of unit variance and correlation c, of which the first is known to be y, the other has mean c y and
variance $1 - c^2$. The denoiser is exact, so whatever the draws have wrong is the method's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from inkwash.commands.papers.report import Findings, report
from inkwash.core.display import Display
from inkwash.core.options import Count, Range, Seed
from inkwash.core.shapes import over
from inkwash.data import pictures
from inkwash.denoise.denoiser import Denoiser
from inkwash.model.diffusion import Diffusion
from inkwash.model.factors import Observed
from inkwash.posterior.guidance import MomentMatching, PiGDM
from inkwash.posterior.method import Method
from inkwash.posterior.smc import SMC
from inkwash.posterior.steps import RePaint, StepProduct
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.tables import LinearSchedule

METHODS: dict[str, Method] = {
    "multiply each step": StepProduct(),
    "replace": RePaint(1, 1),
    "repaint 10 times": RePaint(10, 2),
    "PiGDM": PiGDM(),
    "moment matching": MomentMatching(),
    "SMC": SMC(),
}


@dataclass(frozen=True)
class Options:
    """Where multiplying every step by a factor ends, beside methods that end elsewhere."""

    out: str = "papers/products"
    """Folder to write to."""
    correlation: Annotated[float, Range(-1, 1, open_low=True, open_high=True)] = 0.8
    """Of the two entries."""
    known: float = 0.95
    """Value of the first."""
    draws: Annotated[int, Range(2)] = 1024
    """Draws per method and grid."""
    steps: tuple[Count, ...] = (25, 50, 100, 200)
    """Numbers of steps to compare."""
    seed: Seed = 0
    """Of the draws."""

    def __call__(self) -> None:
        report("products", measure(self), Path(self.out), Display())


def correlated(correlation: float) -> Diffusion:
    r"""The exact model of two normal entries: along a principal axis of variance $\lambda$, $\hat x$ is $x_t$ times
    $\alpha\lambda/(\alpha^2\lambda + \sigma^2)$."""
    axes = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    variances = torch.tensor([1 + correlation, 1 - correlation], dtype=torch.float64)
    schedule = LinearSchedule()

    def network(x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = over(schedule.alpha(t), x_t), over(schedule.sigma(t), x_t)
        return (x_t @ axes * (alpha * variances / (alpha**2 * variances + sigma**2))) @ axes

    return Diffusion(Denoiser(network, Gaussian(schedule), predicts="x"), (2,), dtype=torch.float64)


def measure(options: Options) -> Findings:
    """Mean and variance of the second entry by method and number of steps."""
    product = correlated(options.correlation) * Observed([True, False], [options.known, 0.0])
    rows = {}
    for name, method in METHODS.items():
        found = [
            product.sample(options.draws, seed=options.seed, steps=steps, method=method)[:, 1]
            for steps in options.steps
        ]
        rows[name] = {"mean": [float(x.mean()) for x in found], "variance": [float(x.var()) for x in found]}
    truth = {"mean": options.correlation * options.known, "variance": 1 - options.correlation**2}
    numbers = {"steps": list(options.steps), "draws": options.draws, "truth": truth, "methods": rows}
    return Findings(numbers, tuple(_words(numbers)), {"products": _draw(numbers)})


def _words(numbers: dict[str, Any]) -> Sequence[str]:
    truth, steps = numbers["truth"], numbers["steps"]
    lines = [f"{'mean (variance) at steps':<26}" + "".join(f"{n:>18}" for n in steps)]
    for name, found in numbers["methods"].items():
        pairs = zip(found["mean"], found["variance"], strict=True)
        lines.append(f"{name:<26}" + "".join(f"{mean:>10.3f} ({var:.3f})" for mean, var in pairs))
    lines.append(f"{'the product':<26}{truth['mean']:>10.3f} ({truth['variance']:.3f})")
    wrong = numbers["methods"]["multiply each step"]["mean"][-1]
    return [*lines, f"Multiplying each step ends at {wrong:.2f}; more steps do not bring it to {truth['mean']:.2f}."]


def _draw(numbers: dict[str, Any]) -> Any:
    figure, axes = pictures.new_figure(9, 3.2, columns=2)
    for axis, kind in zip(axes, ("mean", "variance"), strict=True):
        for i, (name, found) in enumerate(numbers["methods"].items()):
            shade = (pictures.ACCENT, pictures.WASH, pictures.INK)[i // 2]
            axis.semilogx(numbers["steps"], found[kind], color=shade, ls="-" if i % 2 else "--", marker="o", label=name)
        axis.axhline(numbers["truth"][kind], color="black", lw=0.8)
        axis.set(title=f"{kind} of the unknown entry", xlabel="steps")
    axes[0].legend(frameon=False, fontsize=7)
    return figure
