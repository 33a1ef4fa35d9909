r"""Does a network follow the convention that is claimed for it? A few noisy examples answer.

For examples of variance V per entry, the best linear guess of x from $x_t$, entry by entry, has the mean squared error
$\frac{V\sigma^2}{\alpha^2 V + \sigma^2}$ (Wiener). A trained network does better, and as its estimate is a
conditional mean, no multiple of the estimate is better than itself. A network that is read wrongly, or asked at the
wrong noise level, is far worse in one of the two at some level, whatever it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.core.randomness import Purpose, generator
from inkwash.denoise.denoiser import Denoiser, Sight
from inkwash.denoise.prediction import NAMED, F, Prediction
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Estimate

_LOG_SNRS = (-3.0, -1.0, 1.0, 3.0, 5.0)
_MOST_ROWS = 64
_LEAST_SCALED, _LEAST_VAR = -1.0, 1e-12
_TOO_FAR = 1.5
_FAR_FROM_NOISE, _MUCH_NOISE = 0.5, 10.0


@dataclass(frozen=True)
class Trial:
    """What a network is tried on.

    Args:
        denoiser: by the convention that is claimed.
        steps: T of the model's own grid.
        x: examples, model units, `(B, *shape)`.
        condition: what the denoiser takes as their condition.
    """

    denoiser: Denoiser
    steps: int
    x: Tensor
    condition: Mapping[str, Any]

    @property
    def levels(self) -> list[tuple[float, Tensor]]:
        """Log-SNRs that the model's own times reach, and these times."""
        schedule = self.denoiser.process.schedule
        first, last = (float(schedule.log_snr(t)) for t in (1 / self.steps, 1.0))
        found = [(level, schedule.time(level)) for level in _LOG_SNRS if last <= level <= first]
        return found or [(last, torch.ones((), dtype=torch.float64))]

    def estimates(self, denoiser: Denoiser) -> Iterator[tuple[float, Tensor, Estimate]]:
        """The log-SNRs, the noise that was added, and the estimates."""
        process = denoiser.process
        noise = process.noise(self.x.shape, generator(0, Purpose.DIFFUSE), self.x)
        for level, t in self.levels:
            yield level, noise, denoiser(process.diffuse(self.x, t, noise), t, **self.condition)

    @torch.no_grad()
    def excess(self, denoiser: Denoiser) -> tuple[float, str]:
        """How far the denoiser is from what every good one does, 1 for not at all, and this in words."""
        var, worst = max(float(self.x.double().var()), _LEAST_VAR), (0.0, "")
        for level, _, estimate in self.estimates(denoiser):
            guess = estimate.x.double()
            ratio = float((guess - self.x).pow(2).mean() * (1 / var + math.exp(level)))
            worst = max(worst, _rated(ratio, f"error at log-SNR {level:g} is {ratio:.3g} times that of a linear guess"))
            if level >= _LEAST_SCALED:
                slope = float((guess * self.x).mean() / guess.pow(2).mean())
                words = f"estimate at log-SNR {level:g} would be better if it were multiplied by {slope:.3g}"
                worst = max(worst, _rated(max(slope, 1 / slope) ** 2 if slope > 0 else math.inf, words))
        return worst

    def require_sound(self) -> None:
        """Refuse outputs of another shape, and ones that are not finite.

        Raises:
            ConfigError: the shape of an output does not fit the prediction.
            NonFiniteError: an output is NaN or infinite.
        """
        for level, _, estimate in self._checked():
            if estimate.x.shape != self.x.shape:
                got, need = (f"x the shape {tuple(each.shape)}" for each in (estimate.x, self.x))
                raise ConfigError("network", f"an output that gives {got}", f"one that gives {need}")
            if not bool(estimate.x.isfinite().all()):
                raise NonFiniteError(f"network, at log-SNR {level:g}", "NaN or infinity", "finite outputs")

    @torch.no_grad()
    def _checked(self) -> list[tuple[float, Tensor, Estimate]]:
        try:
            return [*self.estimates(self.denoiser)]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, ConfigError | NonFiniteError):
                raise
            need = f"a network that takes (x_t, t) of shapes {tuple(self.x.shape)} and {(len(self.x),)}"
            raise ConfigError("network", f"{type(error).__name__} ({error})".splitlines()[0], need) from error


def _rated(ratio: float, words: str) -> tuple[float, str]:
    return (math.inf if math.isnan(ratio) else ratio), words


def doubt(model: Diffusion, x: Tensor | None, condition: Mapping[str, Any], sights: Mapping[str, Sight]) -> str | None:
    """One sentence about what looks wrong in the convention of a model, or None.

    Args:
        model: by the convention that is claimed; its denoiser is a `Denoiser`.
        x: a few examples, model units, `(B, *shape)`; without them only the ends of time are looked at.
        condition: what the denoiser takes as their condition.
        sights: what a network may be given in the place of the time, by name.

    Raises:
        ConfigError: an output of another shape.
        NonFiniteError: an output that is not finite.
    """
    denoiser = cast(Denoiser, model.denoiser)
    rows = _stand_in(model) if x is None else x[:_MOST_ROWS].to(model.units.like)
    trial = Trial(denoiser, model.steps, rows, {name: value[: len(rows)] for name, value in condition.items()})
    trial.require_sound()
    if x is None:
        return _doubt_at_the_ends(trial)
    ratio, found = trial.excess(denoiser)
    if ratio <= _TOO_FAR:
        return None
    return f"the network's {found}, so that the convention looks wrong; {_better(trial, sights)}"


def _stand_in(model: Diffusion) -> Tensor:
    """One example of uniform entries in [-1, 1], about the size of data, `(1, *shape)`."""
    uniform = torch.rand(1, *model.shape, generator=generator(0, Purpose.DIFFUSE), dtype=torch.float64)
    return (2 * uniform - 1).to(model.units.like)


@torch.no_grad()
def _doubt_at_the_ends(trial: Trial) -> str | None:
    """Where nearly all is noise, the estimate of the noise must be close to it; where little is, not huge."""
    estimates = [*trial.estimates(trial.denoiser)]
    noisy, clean = estimates[0], estimates[-1]
    away = float((noisy[2].eps - noisy[1]).pow(2).mean().sqrt())
    size = float(clean[2].eps.pow(2).mean().sqrt())
    if away > _FAR_FROM_NOISE:
        got = f"at log-SNR {noisy[0]:g} the network's estimate of standard normal noise is off by {away:.3g}"
    elif size > _MUCH_NOISE:
        got = f"at log-SNR {clean[0]:g} the network's estimate of standard normal noise has a scale of {size:.3g}"
    else:
        return None
    return f"{got}, so that the convention looks wrong; with examples=..., adapt looks for one that fits"


def _better(trial: Trial, sights: Mapping[str, Sight]) -> str:
    """What fits better, in words."""
    std = float(trial.x.std())
    predictions: dict[str, Prediction] = {repr(name): each for name, each in NAMED.items() if name != "F"}
    predictions[f"F({std:.2g})"] = F(std)
    tried = {
        (sees, predicts): _tried(trial, sight, prediction)
        for sees, sight in {"the same": trial.denoiser.sees, **sights}.items()
        for predicts, prediction in predictions.items()
    }
    (sees, predicts), ratio = min(tried.items(), key=lambda each: each[1])
    if ratio > _TOO_FAR:
        return "no other fits either: is it trained, and is the schedule its own?"
    also = "" if sees == "the same" else f"sees={sees!r} and "
    return f"{also}predicts={predicts} would fit ({ratio:.2g} times)"


def _tried(trial: Trial, sight: Sight, prediction: Prediction) -> float:
    """The excess under another convention; infinite if there is none of this kind."""
    try:
        own = trial.denoiser
        other = Denoiser(own.network, own.process, prediction, own.variance, sight)
        return trial.excess(other.eval())[0]
    except (RuntimeError, ValueError, IndexError):
        return torch.inf
