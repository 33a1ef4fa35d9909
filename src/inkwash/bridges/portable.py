r"""A denoiser as a function of float32 tensors, for programs that know no schedule, and the JSON that describes it.

The caller passes the scales $\alpha$ and $\sigma$ of the noisy data, and the level that the network sees, for each
example. All of them stand in a table of the model's own grid. One function therefore serves every schedule, and holds
no analytic number in the precision of a network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inkwash.core.config import SightName
from inkwash.core.errors import ConfigError
from inkwash.core.options import to_json
from inkwash.core.version import __version__
from inkwash.data.condition import guided
from inkwash.denoise.denoiser import AnyDenoiser, Denoiser, NetworkDenoiser
from inkwash.denoise.discrete import MixedDenoiser, OddsDenoiser
from inkwash.denoise.prediction import Mean
from inkwash.denoise.wrap import Wrapper
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.schedule import Schedule

FORMAT = 1
_FARTHEST = 1e4
"""JSON has no infinite log-SNR; networks do not tell this one from it."""
_MEANINGS = {
    "x": "estimate of the clean data (of the numbers, in a row that has categories too), model units",
    "eps": "estimate of the noise: x_t = alpha x + sigma eps",
    "log_odds": "for each bit, the log-odds that it is 1 in the clean data, given x_t",
    "log_weights": "the categories of the first column, then of the second, and so on: the log-probability of each in "
    "the clean data, up to a constant, before what the entry itself shows in x_t, which Bayes' rule adds",
}


class Passed(Schedule):
    """A schedule that answers, whatever the time, with what was passed last: scales and a level, each `(B,)`.

    Args:
        schedule: what it stands for; before anything is passed, it answers as this one does at time 1.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.last = schedule.alpha(1.0), schedule.sigma(1.0), schedule.log_snr(1.0)

    def alpha(self, t: float | Tensor) -> Tensor:
        return self.last[0]

    def sigma(self, t: float | Tensor) -> Tensor:
        return self.last[1]

    def log_snr(self, t: float | Tensor) -> Tensor:
        return self.last[2]


class Portable(nn.Module):
    """The denoiser of a model, as the model uses it, as a function of tensors.

    Args:
        model: the model.
        guidance: the weight of its condition; see `NetworkDenoiser`.

    Raises:
        ConfigError: a guidance without a condition; a network that predicts the mean of a step, which depends on
            another time; or a denoiser that is not made of a network in one of the usual ways.
    """

    def __init__(self, model: Diffusion, guidance: float = 1.0) -> None:
        super().__init__()
        parts = {"label": model.condition.classes, "given": model.condition.given}
        conditions = {name: part for name, part in parts.items() if part is not None}
        if guidance != 1 and not conditions:
            raise ConfigError("guidance", guidance, "1, for a model without a condition")
        guided(conditions, guidance)  # refuses a bad number
        self.passed, self.guidance = Passed(network_denoiser(model.denoiser).schedule), guidance
        self.denoiser = _passing(model.denoiser, self.passed)

    @property
    def outputs(self) -> list[str]:
        """The names of what it returns."""
        kind = network_denoiser(self.denoiser)
        if isinstance(kind, OddsDenoiser):
            return ["log_odds" if kind.process.lattice else "log_weights"]
        return ["x", "eps", *(["log_weights"] if isinstance(kind, MixedDenoiser) else [])]

    def forward(
        self,
        x_t: Tensor,
        alpha: Tensor,
        sigma: Tensor,
        level: Tensor,
        label: Tensor | None = None,
        given: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """What the network implies about noisy data.

        Args:
            x_t: noisy data, `(B, *shape)`, model units.
            alpha: the signal scale of each example, `(B,)`.
            sigma: its noise scale, `(B,)`.
            level: what the network sees as the time, `(B,)`.
            label: the number of its class, from 1; 0 is no label, and so is -1. `(B,)`, int64.
            given: the given values, standardised; NaN stands for none.
        """
        self.passed.last = alpha, sigma, level
        condition = {"label": class_number(label)} if label is not None else {}
        condition |= {"given": given} if given is not None else {}
        inner = network_denoiser(self.denoiser)  # around discrete data, a wrapper only sets the variance of a step
        if isinstance(inner, OddsDenoiser):
            return (inner.predict(x_t, level, self.guidance, condition)[0],)
        if isinstance(inner, MixedDenoiser):
            numbers, weights = inner.both(x_t, level, self.guidance, condition)
            return numbers.x, numbers.eps, weights
        estimate = self.denoiser(x_t, level, guidance=self.guidance, **condition)
        return estimate.x, estimate.eps


def class_number(label: Tensor) -> Tensor:
    """The numbers of classes, in which -1, no class in many data sets, is 0; ONNX would take it for the last class."""
    return label.clamp(min=0)


def network_denoiser(denoiser: AnyDenoiser) -> NetworkDenoiser:
    """What lies within the wrappers of a denoiser.

    Raises:
        ConfigError: no denoiser around a network.
    """
    if isinstance(denoiser, Wrapper):
        return network_denoiser(denoiser.denoiser)
    if not isinstance(denoiser, NetworkDenoiser):
        raise ConfigError("export", f"a {type(denoiser).__name__}", "a denoiser made of a network, as a run has it")
    return denoiser


def _passing(denoiser: Any, schedule: Passed) -> Any:
    """The same denoiser, and the wrappers around it, with another schedule, whose level the network sees as it is."""
    if isinstance(denoiser, Wrapper):
        return denoiser.around(_passing(denoiser.denoiser, schedule))
    sees: SightName = "time" if callable(denoiser.sees) else denoiser.sees
    if isinstance(denoiser, OddsDenoiser):
        process: Any = denoiser.process
        return OddsDenoiser(denoiser.network, replace(process, schedule=schedule), sees)
    if isinstance(denoiser, MixedDenoiser):
        numbers, mixed = denoiser.numbers, replace(denoiser.process, numbers=Gaussian(schedule))
        _ = mixed.places  # is found now: a graph cannot hold how
        return MixedDenoiser(denoiser.network, mixed, numbers.predicts, numbers.variance, sees)
    if isinstance(denoiser.predicts, Mean):
        raise ConfigError("denoiser.predicts", "mean", "another prediction: this one depends on a second time")
    return Denoiser(denoiser.network, Gaussian(schedule), denoiser.predicts, denoiser.variance, sees)


def example_inputs(model: Diffusion, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a `Portable`, by name, at times all over the model's grid: noise, and every condition it takes."""
    random = torch.Generator().manual_seed(seed)
    places = torch.linspace(1, model.steps, count).long()
    table = schedule_table(model)
    x_t = model.process.prior((count, *model.shape)).draw(random)
    inputs = {"x_t": x_t, **{name: table[name][places].float() for name in ("alpha", "sigma", "level")}}
    if model.condition.classes is not None:
        inputs["label"] = torch.arange(count) % (len(model.condition.classes) + 1)
    if model.condition.given is not None:
        inputs["given"] = torch.randn(count, *model.condition.given.spec.shape, generator=random)
    return inputs


def schedule_table(model: Diffusion) -> dict[str, Tensor]:
    """The times k/T of the model's own grid from 0 to 1, and scales and levels at them, each `(T + 1,)`, float64."""
    kind, t = network_denoiser(model.denoiser), torch.arange(model.steps + 1, dtype=torch.float64) / model.steps
    level = kind.time_input(t).nan_to_num(posinf=_FARTHEST, neginf=-_FARTHEST)
    return {"t": t, "alpha": kind.schedule.alpha(t), "sigma": kind.schedule.sigma(t), "level": level}


def description(model: Diffusion, portable: Portable) -> dict[str, Any]:
    """What a program must know to use the function, as plain data."""
    given = model.condition.given
    return {
        "format": FORMAT,
        "inkwash": __version__,
        "process": type(model.process).__name__,
        "shape": list(model.shape),
        "outputs": {name: _MEANINGS[name] for name in portable.outputs},
        "guidance": portable.guidance,
        "classes": model.condition.classes and list(model.condition.classes),
        "given": given and to_json(given),
        "transform": model.transform and to_json(model.transform),
        "affine": model.transform is None or not (model.transform.curves or model.transform.spec.columns),
        "table": {name: column.tolist() for name, column in schedule_table(model).items()},
    }
