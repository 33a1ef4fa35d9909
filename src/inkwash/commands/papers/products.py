r"""Where multiplying every step by a factor ends (study note 002; Sohl-Dickstein et al. 2015, §2.5).

The note samples from a product by multiplying each step with the factor, or by clamping the entries that are known.
Here the data is two normal entries of unit variance and correlation c. If the first is known to be y, the other has
mean c y and variance $1 - c^2$. The denoiser is exact, so any error of the samples is the method's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from inkwash.commands.output import Output
from inkwash.commands.papers.report import Findings, report
from inkwash.core.options import Count, Range, Seed
from inkwash.core.progress import tracked
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
    """Multiply every step by a factor, and see where that ends, beside methods that end elsewhere."""

    out: str = "papers/products"
    """Folder to write to."""
    correlation: Annotated[float, Range(-1, 1, open_low=True, open_high=True)] = 0.8
    """Correlation of the two entries."""
    known: float = 0.95
    """Value of the first entry."""
    draws: Annotated[int, Range(2)] = 1024
    """Samples per method and grid."""
    steps: tuple[Count, ...] = (25, 50, 100, 200)
    """Numbers of steps to compare."""
    seed: Seed = 0
    """Seed of the samples."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        with output.display.bar("measuring"):
            findings = measure(self)
        report("products", findings, output)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of the second entry, for each number of steps."""

    mean: list[float]
    variance: list[float]


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Args:
        steps: numbers of steps.
        draws: samples per method and grid.
        truth: mean and variance of the second entry of the product, in closed form.
        methods: name to moments.
    """

    steps: tuple[int, ...]
    draws: int
    truth: dict[str, float]
    methods: dict[str, Moments]


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
    truth = {"mean": options.correlation * options.known, "variance": 1 - options.correlation**2}
    methods = {name: _moments(method, options) for name, method in tracked(list(METHODS.items()))}
    found = Comparison(options.steps, options.draws, truth, methods)
    return Findings(asdict(found), tuple(_words(found)), {"products": _plot(found)})


def _moments(method: Method, options: Options) -> Moments:
    product = correlated(options.correlation) * Observed([True, False], [options.known, 0.0])
    samples = [
        product.sample(options.draws, seed=options.seed, steps=steps, method=method)[:, 1]
        for steps in tracked(options.steps)
    ]
    return Moments([float(x.mean()) for x in samples], [float(x.var()) for x in samples])


def _words(found: Comparison) -> Sequence[str]:
    lines = [f"{'mean (variance) at steps':<26}" + "".join(f"{n:>18}" for n in found.steps)]
    for name, moments in found.methods.items():
        pairs = zip(moments.mean, moments.variance, strict=True)
        lines.append(f"{name:<26}" + "".join(f"{mean:>10.3f} ({var:.3f})" for mean, var in pairs))
    mean, variance = found.truth["mean"], found.truth["variance"]
    lines.append(f"{'the product':<26}{mean:>10.3f} ({variance:.3f})")
    wrong = found.methods["multiply each step"].mean[-1]
    return [*lines, f"Multiplying each step ends at {wrong:.2f}; more steps do not bring it to {mean:.2f}."]


def _plot(found: Comparison) -> Any:
    figure, axes = pictures.new_figure(9, 3.2, columns=2)
    for axis, kind in zip(axes, ("mean", "variance"), strict=True):
        for i, (name, moments) in enumerate(found.methods.items()):
            shade, line = (pictures.ACCENT, pictures.WASH, pictures.INK)[i // 2], "-" if i % 2 else "--"
            axis.semilogx(found.steps, getattr(moments, kind), color=shade, ls=line, marker="o", label=name)
        axis.axhline(found.truth[kind], color="black", lw=0.8)
        axis.set(title=f"{kind} of the unknown entry", xlabel="steps")
    axes[0].legend(frameon=False, fontsize=7)
    return figure
