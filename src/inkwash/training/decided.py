"""A run's model with what is decided after training: how its network is used, and how its samples are taken."""

from __future__ import annotations

import torch
from torch import Tensor

from inkwash.core.config import SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.core.machine import accelerator
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.model.diffusion import require_diffusion
from inkwash.model.model import Model
from inkwash.process.variance import ReverseVariance
from inkwash.sample.learned import LearnedSteps
from inkwash.training.build import clips
from inkwash.training.kept_variance import kept_variance
from inkwash.training.learned_grid import Criterion, learned_grid
from inkwash.training.learned_sampler import learned_sampler
from inkwash.training.run import StrPath, load, read_header
from inkwash.training.sampling import merged, require_own, step_options


def decided(
    run: StrPath,
    config: SamplingConfig,
    display: Display,
    device: str | torch.device = "cpu",
    usual: SamplingConfig | None = None,
) -> tuple[Model, SamplingConfig]:
    """The model of a run with these options as its own, and the options with those that the run has for open ones.

    Args:
        run: the folder of the run, or of one of its checkpoints.
        config: the options; open ones are as the run has them.
        display: where to print what is learned or measured for them.
        device: where the model shall live.
        usual: options for what the run leaves open, too, if the model has a walk; by default that is as
            `inkwash.Diffusion` has it.

    Raises:
        ConfigError: options that do not go together, with the network or with the data.
        CheckpointError: the folder is not a run; or it is a checkpoint, and something has to be kept.
        DataError: the data, which measuring needs, is gone or has changed.
    """
    require_own(config, final=False)
    step_options(config)  # refuses bad values before anything is read
    model, trained = load(run, device), read_header(run)[0].config
    config = merged(config, trained.sampling)
    if usual is not None and model.steps > 1:
        config = merged(config, usual)
    require_own(config)
    model = model.with_options(clip=config.clip, **step_options(config))
    with accelerator().main_process_first():  # it keeps what it learns, and the others find that
        model = model.with_options(variance=_variance(run, model, config, trained, display))
        if config.sampler == "learned":
            sampler = _learned_steps(run, model, config, trained, display)
            model = model.with_options(sampler=sampler, times=sampler.grid())
        if config.grid == "learned":
            model = model.with_options(times=_learned_times(run, model, config, trained, display))
    return model, config


def with_sampling(model: Model, config: SamplingConfig) -> Model:
    """A model without a run, with these options as its own; open ones are as the model has them.

    Raises:
        ConfigError: options that do not go together or with the model, or what is learned or measured for a run.
    """
    require_own(config)
    for option, value in (("sampler", "learned"), ("grid", "learned"), ("variance", "analytic")):
        if getattr(config, option) == value:
            raise ConfigError(option, value, "another one: this is found with the data of a run, and kept in the run")
    return model.with_options(clip=config.clip, variance=config.variance, **step_options(config))


def _variance(
    run: StrPath, model: Model, config: SamplingConfig, trained: AnyResolvedConfig, display: Display
) -> str | ReverseVariance | None:
    """The variance of the options. An analytic one is measured, unless training has done so with the same clipping."""
    own, clip = trained.denoiser.variance, clips(trained) if config.clip is None else config.clip
    if (config.variance or own) != "analytic" or (own, clip) == ("analytic", clips(trained)):
        return config.variance
    return kept_variance(run, require_diffusion(model, "variance analytic"), display, clipped=clip)


def _learned_steps(
    run: StrPath, model: Model, config: SamplingConfig, trained: AnyResolvedConfig, display: Display
) -> LearnedSteps:
    """The sampler that is learned for the number of steps of the options."""
    if config.steps is None:
        raise ConfigError("steps", "nothing", "a number of steps, for which the sampler is learned, such as --steps 10")
    model = require_diffusion(model, "sampler learned")
    return learned_sampler(run, model, config.steps, display, " ".join(_clipping(config, trained)))


def _clipping(config: SamplingConfig, trained: AnyResolvedConfig) -> list[str]:
    """A word for clipping that is not as it was in training."""
    if config.clip in (None, trained.denoiser.clip):
        return []
    return ["clipped" if config.clip else "unclipped"]


def _learned_times(
    run: StrPath, model: Model, config: SamplingConfig, trained: AnyResolvedConfig, display: Display
) -> Tensor:
    """The grid that is learned for the sampler and the number of steps of the options."""
    if config.steps is None:
        raise ConfigError("steps", "nothing", "a number of steps, for which the grid is learned, such as --steps 10")
    criterion: Criterion = "bound" if config.sampler in (None, "ancestral") else "trajectory"
    varied = criterion == "bound" and config.variance not in (None, trained.denoiser.variance)
    words = [*([str(config.variance)] if varied else []), *_clipping(config, trained)]
    model = require_diffusion(model, "grid learned")
    return learned_grid(run, model, criterion, config.steps, display, " ".join(words))
