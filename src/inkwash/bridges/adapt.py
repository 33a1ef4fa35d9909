"""Any network of torch as a model: the convention that it follows is stated, and then tested."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from inkwash.bridges.check import doubt
from inkwash.bridges.convention import noise_to_signal, pixels, quarter_log, timestep
from inkwash.data.condition import ConditionSpec
from inkwash.denoise.denoiser import Denoiser, Network, Sight, named
from inkwash.denoise.prediction import Prediction
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.schedule import Schedule
from inkwash.process.variance import ReverseVariance

_USUAL_STEPS = 1000


def adapt(
    network: Network,
    schedule: Schedule,
    shape: Sequence[int],
    *,
    sees: str | Sight = "timestep",
    predicts: str | Prediction = "eps",
    variance: str | ReverseVariance | None = None,
    range: tuple[float, float] | None = None,
    steps: int | None = None,
    classes: Sequence[str] | None = None,
    examples: Any = None,
    label: Any = None,
) -> Diffusion:
    r"""A network that other code has trained, as a `Diffusion`; a warning says if the stated convention looks wrong.

    The network is tried on a batch: the shapes of its outputs must fit, they must be finite, and with `examples` its
    error must not be far above that of a linear guess, nor a multiple of its estimate be far better, at any noise
    level. Without them only the ends of time are looked at, where an estimate of the noise must be close to noise, and
    of its size.

    Args:
        network: a callable `(x_t, t) -> tensor`, or with classes `(x_t, t, label=None) -> tensor`, where `label` has
            the numbers 1, 2, … of the classes and 0 for none. A module is put in evaluation mode.
        schedule: the one that it was trained with.
        shape: of one example in model units, `(C, H, W)` for pictures.
        sees: what it takes as t, by name or as a function of the time t in [0, 1]: "timestep", the index
            $tT - 1$ of DDPM's table; "time"; "sigma", which is $\sigma/\alpha$; "c_noise", $\frac14\ln(\sigma/\alpha)$
            of EDM; "log_snr", with its input scaled to keep its variance; "nothing", which is 0.
        predicts: "x", "eps", "score", "v", "velocity", "F", or an object of `inkwash.denoise.prediction`, such as
            `F(0.5)` for EDM's preconditioning at $\sigma_\mathrm{data} = 0.5$.
        variance: of the reverse step; "learned" for a network with twice the channels, as IDDPM's. By default "small"
            for pixels and "large" for real numbers.
        range: what the values 0 and 255 of a pixel are in model units, (-1, 1) for most; the data is then of 8 bits.
            None: data is in model units.
        steps: T of the model's own grid; by default that of the schedule, or 1000.
        classes: names of the classes, in the order of the numbers.
        examples: a few examples in data units, `(B, …)`; 64 are enough.
        label: of the examples.

    Raises:
        ConfigError: an unknown name, options that do not go together, or outputs of another shape.
        DataError: examples of another shape.
        NonFiniteError: outputs that are NaN or infinite.
    """
    steps = getattr(schedule, "steps", _USUAL_STEPS) if steps is None else steps
    sights: dict[str, Sight] = {
        "timestep": timestep(steps),
        "time": "time",
        "sigma": noise_to_signal(schedule),
        "c_noise": quarter_log(schedule),
        "log_snr": "log_snr",
        "nothing": "nothing",
    }
    transform = None if range is None else pixels(tuple(shape), range)
    usual = "large" if transform is None else "small"
    denoiser = Denoiser(network, Gaussian(schedule), predicts, variance or usual, named("sees", sees, sights))
    condition = ConditionSpec(None if classes is None else tuple(classes))
    model = Diffusion(denoiser, tuple(shape), transform, steps, condition=condition)
    x = None if examples is None else model.to_model(examples)
    found = doubt(model, x, condition.inputs(1 if x is None else len(x), label), sights)
    if found is not None:
        warnings.warn(f"adapt: {found}", stacklevel=2)
    return model
