"""Is noise needed? Train a small U-Net to undo a deterministic degradation of digits (Bansal et al. 2022).

We train the network to restore degraded digits. Then we degrade held-out digits and restore them in one leap, by
algorithm 1 and by algorithm 2, and make new digits from degraded starts, which come from a fitted distribution. The
paper claims that algorithm 1 loses detail and algorithm 2 does not. See `inkwash.process.degradations`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from inkwash.commands.output import Output
from inkwash.commands.papers.report import Findings, report
from inkwash.core.config import DegradationName, NormName
from inkwash.core.display import Display
from inkwash.core.options import Count, Positive, Range, Seed
from inkwash.core.randomness import Purpose, derived_seed, generator
from inkwash.core.shapes import Array
from inkwash.data import pictures
from inkwash.data.dataset import Dataset, load_dataset
from inkwash.data.transform import Transform, fit_transform
from inkwash.denoise.cold import Restorer
from inkwash.evaluation.metrics import two_sample_test
from inkwash.model.diffusion import Diffusion
from inkwash.nn.unet import UNet
from inkwash.process.cold import Cold, fit_starts
from inkwash.process.degradations import DEGRADATIONS
from inkwash.sample.ancestral import Ancestral
from inkwash.training.objective import Restoration
from inkwash.training.times import comb

_HELD_OUT = 360
_COLUMNS = 12


class Improving(nn.Module):
    r"""A U-Net whose output is added to the degraded image. It sees $\log\frac{1-t}{t}$ as its level.

    Args:
        channels: channels of an image.
        width: features of the U-Net at the full resolution; a multiple of 8.
    """

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.unet = UNet(channels, width, blocks=1, attention=(False, False))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Restore images `(B, C, H, W)` degraded to times `(B,)`."""
        return x_t + self.unet(x_t, -torch.logit(t))


@dataclass(frozen=True)
class Options:
    """Blur, pixelate or cover digits, learn to restore them, and make new ones, without any noise (Cold Diffusion)."""

    out: str = "papers/cold"
    """Folder to write to."""
    degradation: DegradationName = "blur"
    """What is done to the digits."""
    steps: Count = 600
    """Training steps of 64 digits."""
    learning_rate: Positive = 2e-3
    """Peak learning rate."""
    walk: Annotated[int, Range(2, 1000)] = 20
    """Steps of the walk back."""
    start: Annotated[float, Range(0, 1, open_low=True)] = 0.6
    """Time to which held-out digits are degraded before they are restored."""
    noise: Annotated[float, Range(0)] = 0.002
    """Standard deviation of the noise that is added to each pixel of a random start, in model units, to make equal
    starts differ."""
    norm: NormName = "l1"
    """Norm of the training loss."""
    seed: Seed = 0
    """Seed of weights, batches and starts."""

    def __call__(self) -> None:
        output = Output(Path(self.out))
        report("cold", measure(self, output.display), output)


@dataclass(frozen=True)
class Restorations:
    """What was measured.

    Args:
        degradation: its name.
        training_loss: mean over the last hundred steps.
        rms_error: of degraded and restored held-out digits, by name.
        detail: root mean square difference of neighbouring pixels, of the digits and of restored ones, by name.
        two_sample_accuracy: of a classifier of new and real digits, by algorithm.
    """

    degradation: str
    training_loss: float
    rms_error: dict[str, float]
    detail: dict[str, float]
    two_sample_accuracy: dict[str, float]


def measure(options: Options, display: Display) -> Findings:
    """Train, restore held-out digits, and make new ones."""
    dataset = load_dataset("digits")
    order = np.random.default_rng(options.seed).permutation(len(dataset.data))
    known, fresh = dataset.data[order[_HELD_OUT:]], dataset.data[order[:_HELD_OUT]]
    transform = fit_transform(dataset.spec, known)
    x, held_out = transform.to_model(known), transform.to_model(fresh)
    restorer = _new_restorer(options, x)
    loss = train(restorer, x, options, display)
    restored = {name: walk(restorer, held_out, options) for name, walk in WALKS.items()}
    made = _new_digits(restorer, transform, options)
    degraded = restorer.process.marginal(held_out, options.start).mean
    found = Restorations(
        options.degradation,
        loss,
        {"degraded": _rms(degraded - held_out), **{n: _rms(y - held_out) for n, y in restored.items()}},
        {"data": _detail(held_out), **{n: _detail(y) for n, y in restored.items()}},
        {name: _accuracy(transform.to_model(y), held_out) for name, y in made.items()},
    )
    rows = [held_out, degraded, *restored.values(), *(transform.to_model(y) for y in made.values())]
    return Findings(asdict(found), _words(found, options), {"cold": _strip(dataset, transform, rows)})


def _new_restorer(options: Options, x: Tensor) -> Restorer:
    degradation = DEGRADATIONS[options.degradation]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(options.seed, Purpose.WEIGHTS))
        network = Improving(x.shape[1])
    return Restorer(network, Cold(degradation, fit_starts(degradation, x, options.noise)))


def train(restorer: Restorer, x: Tensor, options: Options, display: Display) -> float:
    """Train on images `x`; the mean loss over the last hundred steps."""
    objective, losses = Restoration(options.norm), deque[float](maxlen=100)
    optimizer = torch.optim.AdamW(restorer.parameters(), options.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.learning_rate, options.steps + 1)
    with display.bar("training") as advance:
        for step in range(options.steps):
            random = generator(options.seed, Purpose.TRAIN, step)
            batch = x[torch.randint(len(x), (64,), generator=random)]
            loss = objective.loss(restorer, batch, 1 - comb(len(batch), random)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            advance((step + 1) / options.steps)
    return sum(losses) / len(losses)


@torch.no_grad()
def leap(restorer: Restorer, x: Tensor, options: Options) -> Tensor:
    """Degrade images and restore them at once."""
    return restorer(restorer.process.marginal(x, options.start).mean, options.start).x


@torch.no_grad()
def _walk(restorer: Restorer, x: Tensor, options: Options, improved: bool) -> Tensor:
    """Degrade images and walk back."""
    walker = Restorer(restorer.network, replace(restorer.process, improved=improved))
    times = torch.linspace(options.start, 0, options.walk + 1, dtype=torch.float64)
    x_t = walker.process.marginal(x, options.start).mean
    states = Ancestral().trajectory(cast(Any, walker), x_t, times, generator(options.seed, Purpose.SAMPLE))
    return deque(states, maxlen=1).pop()[1]


WALKS: dict[str, Callable[[Restorer, Tensor, Options], Tensor]] = {
    "one leap": leap,
    "algorithm 1": lambda restorer, x, options: _walk(restorer, x, options, improved=False),
    "algorithm 2": lambda restorer, x, options: _walk(restorer, x, options, improved=True),
}


def _new_digits(restorer: Restorer, transform: Transform, options: Options) -> dict[str, Array]:
    """New digits, data units, by both algorithms, from the same fully degraded starts."""
    made = {}
    for name, improved in (("algorithm 1", False), ("algorithm 2", True)):
        walker = Restorer(restorer.network, replace(restorer.process, improved=improved))
        model = Diffusion(cast(Any, walker), transform.spec.shape, transform, options.walk)
        made[name] = model.sample(_HELD_OUT, seed=options.seed)
    return made


def _rms(x: Tensor) -> float:
    return float((x**2).mean().sqrt())


def _detail(x: Tensor) -> float:
    """Root mean square difference of neighbouring pixels."""
    return (_rms(x.diff(dim=-1)) ** 2 / 2 + _rms(x.diff(dim=-2)) ** 2 / 2) ** 0.5


def _accuracy(made: Tensor, held_out: Tensor) -> float:
    return two_sample_test(made.numpy(), held_out.numpy(), shuffles=1).accuracy


def _words(found: Restorations, options: Options) -> tuple[str, ...]:
    error, detail = found.rms_error, found.detail
    lines = [f"{_HELD_OUT} held-out digits, {options.degradation} to t = {options.start:g}, restored:"]
    lines += [f"  {name:<12} error {error[name]:.3f}   detail {detail[name]:.3f}" for name in WALKS]
    return (
        *lines,
        f"  {'(degraded)':<12} error {error['degraded']:.3f}; detail of the digits themselves {detail['data']:.3f}",
        "Accuracy at telling new digits from real ones (chance is a half): "
        + ", ".join(f"{name} {value:.3f}" for name, value in found.two_sample_accuracy.items()),
        "Rows of the picture: digits, degraded, " + ", ".join(WALKS) + ", new by algorithm 1, new by algorithm 2.",
    )


def _strip(dataset: Dataset, transform: Transform, rows: list[Tensor]) -> Array:
    data = transform.to_data(torch.cat([row[:_COLUMNS] for row in rows]))
    return pictures.grid(pictures.to_pixels(dataset.spec, data), columns=_COLUMNS, scale=5)
