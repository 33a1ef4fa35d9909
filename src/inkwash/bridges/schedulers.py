r"""What a scheduler of diffusers says about the model: its noise, its times, what its network predicts.

A scheduler is a schedule, a convention and a way of walking in one. The first two are read here, and which sampler of
inkwash walks alike. How the scheduler spaces its steps is left out: see `docs/models-from-elsewhere.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inkwash.bridges.convention import quarter_log, timestep
from inkwash.core.errors import CheckpointError
from inkwash.denoise.denoiser import Sight
from inkwash.denoise.prediction import F, Prediction
from inkwash.process.noise.closed import GeometricSchedule, KarrasSchedule, RectifiedSchedule
from inkwash.process.noise.schedule import Schedule
from inkwash.process.noise.tables import TabulatedSchedule
from inkwash.sample.ancestral import DDIM, Ancestral
from inkwash.sample.grids import Grid, KarrasGrid, LogSnrGrid
from inkwash.sample.multistep import IPNDM, DPMSolver
from inkwash.sample.sampler import Sampler
from inkwash.sample.singlestep import Heun, SingleStep


@dataclass(frozen=True)
class Convention:
    """What a scheduler says about a model.

    Args:
        schedule: of the noise.
        steps: T.
        sees: what the network is given in the place of the time.
        predicts: what its output means.
        sampler: the sampler that walks most alike.
        variance: of the reverse step, and whether the network gives a spread for it.
        clip: the range that estimates of clean data are clipped to.
        grid: how the sampler spaces its times, if not evenly.
        sign: what the output is multiplied by before it is read.
    """

    schedule: Schedule
    steps: int
    sees: Sight
    predicts: str | Prediction
    sampler: Sampler
    variance: str = "small"
    clip: tuple[float, float] | None = None
    grid: Grid | None = None
    sign: float = 1.0


_Options = dict[str, Any]


def _order(options: _Options) -> int:
    return min(int(options.get("solver_order", 2)), 3)


def _multistep(options: _Options) -> Sampler:
    stochastic = str(options.get("algorithm_type", "")).startswith("sde")
    return DPMSolver(_order(options), eta=float(stochastic))


def _single_step(options: _Options) -> Sampler:
    return DDIM() if _order(options) == 1 else SingleStep(_order(options))


SAMPLERS: dict[str, Callable[[_Options], Sampler]] = {
    "DDPMScheduler": lambda options: Ancestral(),
    "DDIMScheduler": lambda options: DDIM(),
    "PNDMScheduler": lambda options: IPNDM(),
    "DPMSolverMultistepScheduler": _multistep,
    "DPMSolverSinglestepScheduler": _single_step,
    "UniPCMultistepScheduler": lambda options: DPMSolver(_order(options), corrector=True),
    "EulerDiscreteScheduler": lambda options: DDIM(),
    "EulerAncestralDiscreteScheduler": lambda options: Ancestral(),
    "HeunDiscreteScheduler": lambda options: Heun(),
    "EDMEulerScheduler": lambda options: DDIM(),
    "EDMDPMSolverMultistepScheduler": _multistep,
    "FlowMatchEulerDiscreteScheduler": lambda options: DDIM(),
    "FlowMatchHeunDiscreteScheduler": lambda options: Heun(),
}
"""The sampler of inkwash for each scheduler that can be read."""

_PREDICTIONS = {"epsilon": "eps", "sample": "x", "v_prediction": "v", "flow_prediction": "velocity"}
_VARIANCES = {None: "small", "fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large"}
_VARIANCES |= {"learned_range": "learned"}


def convention_of(scheduler: Any, where: str) -> Convention:
    """What a scheduler says about the model.

    Args:
        scheduler: an object of one of the `SAMPLERS`.
        where: its file, for errors.

    Raises:
        CheckpointError: an unknown scheduler, or an option of it that inkwash has no counterpart for.
    """
    name, options = type(scheduler).__name__, dict(scheduler.config)
    if name not in SAMPLERS:
        raise CheckpointError(where, name, "one of " + ", ".join(SAMPLERS))
    sampler = SAMPLERS[name](options)
    if name.startswith("EDM"):
        return _edm(options, sampler, where)
    if name.startswith("FlowMatch"):
        return _flow(options, float(options["shift"]), "flow_prediction", sampler, where)
    if options.get("use_flow_sigmas"):
        return _flow(options, float(options["flow_shift"]), options["prediction_type"], sampler, where)
    return _tabulated(scheduler.betas.double().tolist(), options, sampler, where)


def _tabulated(betas: list[float], options: _Options, sampler: Sampler, where: str) -> Convention:
    """A table of betas; the network is given the index of a time."""
    _refuse(where, "timestep_type", options.get("timestep_type", "discrete"), {"discrete"})
    predicts = _prediction(where, options["prediction_type"], {"epsilon", "sample", "v_prediction"})
    if betas[-1] == 1 and predicts == "eps":
        need = "sample or v_prediction: no signal is left at the last timestep (rescale_betas_zero_snr)"
        raise CheckpointError(f"{where}: prediction_type", "epsilon", need)
    variance = options.get("variance_type")
    _refuse(where, "variance_type", variance, _VARIANCES)
    steps = len(betas)
    return Convention(
        TabulatedSchedule(tuple(betas)),
        steps,
        timestep(steps),
        predicts,
        sampler,
        _VARIANCES[variance],
        _clip(options, where),
    )


def _edm(options: _Options, sampler: Sampler, where: str) -> Convention:
    """EDM's preconditioning; the output of its "v_prediction" has the other sign."""
    steps, kind = int(options["num_train_timesteps"]), options["sigma_schedule"]
    ends = float(options["sigma_min"]), float(options["sigma_max"])
    _refuse(where, "sigma_schedule", kind, {"karras", "exponential"})
    _refuse(where, "prediction_type", options["prediction_type"], {"epsilon", "v_prediction"})
    rho = float(options["rho"])
    schedule: Schedule = KarrasSchedule(steps, *ends, rho) if kind == "karras" else GeometricSchedule(steps, *ends)
    return Convention(
        schedule,
        steps,
        quarter_log(schedule),
        F(float(options["sigma_data"])),
        sampler,
        clip=_clip(options, where),
        grid=KarrasGrid(rho) if kind == "karras" else LogSnrGrid(),
        sign=-1.0 if options["prediction_type"] == "v_prediction" else 1.0,
    )


def _flow(options: _Options, shift: float, predicted: str, sampler: Sampler, where: str) -> Convention:
    r"""The straight line from data to noise; the network is given $T\sigma$."""
    for name in ("use_dynamic_shifting", "invert_sigmas", "shift_terminal"):
        _refuse(where, name, options.get(name), {None, False})
    steps, schedule = int(options["num_train_timesteps"]), RectifiedSchedule(shift)
    predicts = _prediction(where, predicted, {"flow_prediction", "sample"})
    return Convention(
        schedule, steps, lambda t: steps * schedule.sigma(t), predicts, sampler, clip=_clip(options, where)
    )


def _prediction(where: str, name: str, known: set[str]) -> str:
    _refuse(where, "prediction_type", name, known)
    return _PREDICTIONS[name]


def _clip(options: _Options, where: str) -> tuple[float, float] | None:
    """The range that a scheduler clips its estimates to; dynamic thresholding with a largest value of 1 is one."""
    if options.get("thresholding"):
        _refuse(where, "sample_max_value with thresholding", options.get("sample_max_value"), {1.0})
        return -1.0, 1.0
    end = float(options.get("clip_sample_range", 1.0))
    return (-end, end) if options.get("clip_sample") else None


def _refuse(where: str, option: str, value: Any, known: Any) -> None:
    """Raise a `CheckpointError` unless the value of an option is known."""
    if value not in known:
        raise CheckpointError(f"{where}: {option}", value, "one of " + ", ".join(map(str, known)))
