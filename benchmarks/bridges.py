"""Compare the walks of diffusers' schedulers with ours, for one small U-Net of random weights in float64.

    python benchmarks/bridges.py [--steps 10]

Every row is a scheduler, what its network predicts and a sampler. Both walk along the scheduler's own times from the
same noise, and draw the same noise on the way. The difference is the largest of all entries, over the largest entry of
the result. The tables of the schedulers are made float64 first; what stays is that several of them keep their noise
levels, or the state itself, in float32. Rows marked "theirs differs" belong to the table of differences in
`docs/models-from-elsewhere.md`, which says why.

Needs `pip install 'inkwash[diffusers]'`.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import diffusers
import torch
from torch import Tensor

import inkwash as iw
from inkwash.process.distributions import standard_normal

PREDICTIONS = ("epsilon", "sample", "v_prediction")
SEEN, STEPS = 1000, 10
TRAILING = {"timestep_spacing": "trailing"}
PLAIN = {"clip_sample": False}
ZERO = {"rescale_betas_zero_snr": True}
EXACT = {"solver_order": 2, "solver_type": "heun"}


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        scheduler: class of diffusers.
        predicts: in diffusers' words; None where the scheduler has no such option.
        sampler: ours.
        options: of the scheduler.
        differs: why theirs is another walk; empty where it should be the same.
        ends_at_0: whether the walk goes down to the first timestep, in one step more.
    """

    scheduler: str
    predicts: str | None
    sampler: Any
    options: dict[str, Any] = field(default_factory=dict)
    differs: str = ""
    ends_at_0: bool = False

    def __str__(self) -> str:
        options = {name: value for name, value in self.options.items() if name not in TRAILING | PLAIN}
        words = ", ".join(f"{name}={value}" for name, value in options.items())
        return f"{self.scheduler}({words})"

    def theirs(self) -> Any:
        predicts = {} if self.predicts is None else {"prediction_type": self.predicts}
        return getattr(diffusers, self.scheduler)(**predicts, **self.options)


def tabulated() -> Iterator[Case]:
    """Schedulers with a table of betas."""
    for predicts in PREDICTIONS:
        yield Case("DDPMScheduler", predicts, iw.Ancestral(), TRAILING | PLAIN)
        yield Case("DDPMScheduler", predicts, iw.Ancestral(), TRAILING)
        yield Case("DDIMScheduler", predicts, iw.DDIM(), TRAILING | PLAIN)
        yield Case("DPMSolverMultistepScheduler", predicts, iw.DPMSolver(1), TRAILING | {"solver_order": 1})
        yield Case("DPMSolverMultistepScheduler", predicts, iw.DPMSolver(2), TRAILING | EXACT)
        yield Case("DPMSolverSinglestepScheduler", predicts, iw.DDIM(), {"solver_order": 1, "lower_order_final": True})
        yield Case("EulerDiscreteScheduler", predicts, iw.DDIM(), TRAILING)
        if predicts != "sample":
            yield Case("EulerAncestralDiscreteScheduler", predicts, iw.Ancestral(), TRAILING)
    for variance in ("fixed_large", "learned_range"):
        options = PLAIN | {"variance_type": variance}
        yield Case("DDPMScheduler", "epsilon", iw.Ancestral(), options, ends_at_0=True)
    for schedule in ("scaled_linear", "squaredcos_cap_v2"):
        yield Case("DDIMScheduler", "v_prediction", iw.DDIM(), TRAILING | PLAIN | {"beta_schedule": schedule})
    yield Case("DDIMScheduler", "v_prediction", iw.DDIM(), TRAILING | PLAIN | ZERO)
    yield Case("DDPMScheduler", "v_prediction", iw.Ancestral(), TRAILING | PLAIN | ZERO)
    yield Case("HeunDiscreteScheduler", "epsilon", iw.Heun(), TRAILING)
    yield Case(
        "DPMSolverMultistepScheduler",
        "epsilon",
        iw.DPMSolver(1, eta=1.0),
        TRAILING | {"solver_order": 1, "algorithm_type": "sde-dpmsolver++"},
    )


def continuous() -> Iterator[Case]:
    """Schedulers with noise levels in closed form."""
    for predicts in ("epsilon", "v_prediction"):
        yield Case("EDMEulerScheduler", predicts, iw.DDIM())
        yield Case("EDMDPMSolverMultistepScheduler", predicts, iw.DPMSolver(2), EXACT)
    yield Case("EDMEulerScheduler", "epsilon", iw.DDIM(), {"sigma_schedule": "exponential"})
    yield Case("FlowMatchEulerDiscreteScheduler", None, iw.DDIM())
    yield Case("FlowMatchEulerDiscreteScheduler", None, iw.DDIM(), {"shift": 3.0})
    off = {"disable_corrector": [*range(STEPS)]}
    yield Case("UniPCMultistepScheduler", "epsilon", iw.DPMSolver(1), TRAILING | {"solver_order": 1} | off)


def different() -> Iterator[Case]:
    """Walks of theirs that are others than ours."""
    large = TRAILING | PLAIN | {"variance_type": "fixed_large"}
    yield Case("DDPMScheduler", "epsilon", iw.Ancestral(), large, "noise in the last step")
    yield Case("DDIMScheduler", "epsilon", iw.DDIM(), TRAILING, "x is clipped, the noise is kept")
    unipc = TRAILING | {"solver_order": 2}
    multistep = "DPMSolverMultistepScheduler"
    yield Case("UniPCMultistepScheduler", "epsilon", iw.DPMSolver(2, corrector=True), unipc, "a weight fixed at 1/2")
    yield Case(
        multistep, "epsilon", iw.DPMSolver(2), TRAILING | {"solver_order": 2}, "midpoint instead of the integral"
    )
    third = TRAILING | EXACT | {"solver_order": 3}
    yield Case(multistep, "epsilon", iw.DPMSolver(3), third, "half of the second difference; no second first step")
    yield Case(multistep, "v_prediction", iw.DPMSolver(2), TRAILING | EXACT | ZERO, "2^-24 left of the signal")
    yield Case("EulerDiscreteScheduler", "v_prediction", iw.DDIM(), TRAILING | ZERO, "2^-24 left of the signal")
    for kind in (multistep, "UniPCMultistepScheduler"):
        flow = {"use_flow_sigmas": True, "flow_shift": 3.0, "solver_order": 1}
        flow |= {"disable_corrector": [*range(STEPS)]} if kind.startswith("UniPC") else {}
        yield Case(kind, "flow_prediction", iw.DPMSolver(1), flow, "timesteps cut to integers")
    yield Case("FlowMatchHeunDiscreteScheduler", None, iw.Heun(), {}, "Heun in sigma, not in sigma/alpha")
    yield Case("PNDMScheduler", "epsilon", iw.IPNDM(), TRAILING | {"skip_prk_steps": True}, "weights for even steps")


CASES = [*tabulated(), *continuous()]
DIFFERENT = [*different()]


def unet(outputs: int) -> diffusers.UNet2DModel:
    torch.manual_seed(0)
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=outputs,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
    ).double()


def in_float64(scheduler: Any) -> Any:
    """A scheduler whose table of betas has float64."""
    if hasattr(scheduler, "betas"):
        left = scheduler.alphas_cumprod[-1]
        scheduler.betas = scheduler.betas.double()
        scheduler.alphas = 1 - scheduler.betas
        scheduler.alphas_cumprod = scheduler.alphas.cumprod(0)
        if scheduler.betas[-1] == 1:
            scheduler.alphas_cumprod[-1] = left
    return scheduler


@torch.no_grad()
def walk_of_theirs(network: Any, scheduler: Any, noise: Tensor) -> Tensor:
    """The end of the walk of a scheduler, drawing noise as ours does."""
    source = torch.Generator().manual_seed(1)

    def draw(shape: Any, **_: Any) -> Tensor:
        return standard_normal(shape, source, like=noise)

    x = noise * noise_scale(scheduler)
    with ExitStack() as patches:
        module = __import__(type(scheduler).__module__, fromlist=["randn_tensor"])
        if hasattr(module, "randn_tensor"):
            patches.enter_context(mock.patch.object(module, "randn_tensor", draw))
        for t in scheduler.timesteps:
            shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            output = network(shown, t).sample
            x = scheduler.step(output, t, x).prev_sample
    return x


def noise_scale(scheduler: Any) -> float:
    """The scale of the noise that a scheduler starts from; flow matching does not say."""
    return float(getattr(scheduler, "init_noise_sigma", 1.0))


def times_of(model: iw.Diffusion, scheduler: Any) -> Tensor:
    """The scheduler's noise levels as times of the model, and 0; a time that stands twice in a row once."""
    if hasattr(scheduler, "betas") and not getattr(scheduler.config, "use_flow_sigmas", False):
        times = (scheduler.timesteps.double() + 1) / SEEN
    else:
        sigmas = scheduler.sigmas[scheduler.sigmas > 0].double()
        alphas = torch.ones_like(sigmas) if "EDM" in type(scheduler).__name__ else 1 - sigmas
        times = model.process.schedule.time(2 * (alphas.log() - sigmas.log()))
    times = torch.unique_consecutive(times)
    return torch.cat([times, times.new_zeros(1)])


@torch.no_grad()
def walk_of_ours(model: iw.Diffusion, sampler: Any, times: Tensor, x_1: Tensor) -> Tensor:
    source = torch.Generator().manual_seed(1)
    *_, (_, x) = sampler.trajectory(model.denoiser, x_1, times, source)
    return x


def walks(case: Case, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    """The ends of both walks."""
    network = unet(2 if case.options.get("variance_type") == "learned_range" else 1)
    scheduler = in_float64(case.theirs())
    model = iw.from_diffusers(SimpleNamespace(components={"unet": network, "scheduler": scheduler}), range=None)
    if case.ends_at_0:
        scheduler.set_timesteps(timesteps=[*range(SEEN - 1, 0, -SEEN // steps), 0])
    else:
        scheduler.set_timesteps(steps)
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = times_of(model, scheduler)
    scale = noise_scale(scheduler) * float(model.process.schedule.alpha(times[0]))  # where theirs is x_t / alpha
    x_1 = noise if noise_scale(scheduler) == 1 or scale == 0 else noise * scale
    return walk_of_theirs(network, scheduler, noise), walk_of_ours(model, case.sampler, times, x_1)


def difference(case: Case, steps: int = STEPS) -> float:
    """The largest difference of an entry, over the largest entry."""
    theirs, ours = walks(case, steps)
    return float((theirs - ours).abs().max() / ours.abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of each walk; they must divide 1000")
    options = parser.parse_args()
    print("| scheduler | predicts | sampler | difference |\n| --- | --- | --- | --- |")
    for case in [*CASES, *DIFFERENT]:
        note = f" (theirs differs: {case.differs})" if case.differs else ""
        figure = difference(case, options.steps)
        print(f"| {case} | {case.predicts or 'flow'} | {case.sampler} | {figure:.1e}{note} |", flush=True)


if __name__ == "__main__":
    main()
