"""Pipelines of diffusers as models: of pixels, with or without class labels, and of latents."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from inkwash.bridges.convention import pixels
from inkwash.bridges.pipelines import Pipeline, pipeline_of
from inkwash.bridges.schedulers import Convention, convention_of
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.data.condition import ConditionSpec
from inkwash.denoise.denoiser import AnyDenoiser, Denoiser
from inkwash.denoise.wrap import Clipped
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import Gaussian
from inkwash.sample.walk import Walking


class UNetOutput(nn.Module):
    """A U-Net of diffusers as a network `(x_t, t, label=None) -> tensor`.

    Args:
        unet: the U-Net.
        sign: what its output is multiplied by.
    """

    def __init__(self, unet: nn.Module, sign: float) -> None:
        super().__init__()
        self.unet, self.sign = unet, sign
        self.has_classes = classes_of(unet) is not None
        self.takes_index = unet.config.time_embedding_type == "learned"

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The output at `x_t` `(B, C, H, W)`; `label` are the numbers 1, 2, … of the classes 0, 1, … of diffusers."""
        index = t.round().long() if self.takes_index else t
        output: Tensor = self.unet(x_t, index, **self._condition(label)).sample
        return self.sign * output

    def _condition(self, label: Tensor | None) -> dict[str, Tensor]:
        if not self.has_classes:
            return {}
        if label is None or bool((label == 0).any()):
            need = "a class, as label=0 in Python or --label 0: this network was never trained without one"
            raise ConfigError("label", "nothing", f"{need}, so that guidance must be 1")
        return {"class_labels": label - 1}


def from_diffusers(source: Any, *, range: tuple[float, float] | None = (-1.0, 1.0)) -> Diffusion:
    """A pipeline of diffusers as a model: noise, times, prediction, clipping and classes are those of its parts.

    At the times of the grid the network is given the timesteps that it was trained with, and between them the number
    in between. `sample` walks with the sampler that is most like the scheduler, over all T steps unless `steps` says
    otherwise.

    Args:
        source: the local folder of a pipeline, with weights in safetensors, or the pipeline itself. No code of the
            folder runs, and nothing is downloaded.
        range: what the values 0 and 255 of a pixel are for the network; the data is then of 8 bits, `(N, H, W)` for one
            channel and `(N, H, W, C)` for more. None: data is in model units.

    Raises:
        CheckpointError: a part that is missing, damaged or of another kind: text conditioning, an unknown scheduler,
            weights that do not fit the network; or diffusers is not installed.
        ConfigError: a bad `range`, or a `source` that is neither a folder nor a pipeline.
    """
    pipeline = pipeline_of(source)
    convention = convention_of(pipeline.scheduler, f"{pipeline.where}: scheduler")
    if pipeline.autoencoder is not None:
        raise CheckpointError(pipeline.where, "a latent pipeline", "one of pixels")
    return _of_network(pipeline, convention, range)


def _of_network(pipeline: Pipeline, convention: Convention, ends: tuple[float, float] | None) -> Diffusion:
    """The U-Net as a model of what it denoises."""
    shape = _shape(pipeline, convention)
    network = UNetOutput(pipeline.network, convention.sign)
    process = Gaussian(convention.schedule)
    denoiser: AnyDenoiser = Denoiser(network, process, convention.predicts, convention.variance, convention.sees)
    if convention.clip is not None:
        denoiser = Clipped(denoiser, *convention.clip)
    return Diffusion(
        denoiser,
        shape,
        None if ends is None else pixels(shape, ends),
        convention.steps,
        condition=ConditionSpec(classes_of(pipeline.network)),
        walking=Walking(sampler=convention.sampler, grid=convention.grid),
    )


def _shape(pipeline: Pipeline, convention: Convention) -> tuple[int, ...]:
    """Shape of what the U-Net denoises.

    Raises:
        CheckpointError: its size is not known, or it has another number of outputs than the scheduler says.
    """
    config, where = pipeline.network.config, f"{pipeline.where}: unet"
    size = config.sample_size
    if size is None:
        raise CheckpointError(f"{where}.sample_size", "nothing", "the size of a picture in config.json")
    expected = config.in_channels * (2 if convention.variance == "learned" else 1)
    if config.out_channels != expected:
        need = f"{expected} for {config.in_channels} in_channels and the variance of the scheduler"
        raise CheckpointError(f"{where}.out_channels", config.out_channels, need)
    return (config.in_channels, *((size, size) if isinstance(size, int) else map(int, size)))


def classes_of(unet: Any) -> tuple[str, ...] | None:
    """The names of the classes that a U-Net takes: "0", "1", … as diffusers counts them; None if it takes none.

    Raises:
        CheckpointError: another kind of condition than class numbers.
    """
    kind, count = unet.config.class_embed_type, unet.config.num_class_embeds
    if kind is not None:
        raise CheckpointError("unet.class_embed_type", kind, "nothing, or classes by their number (num_class_embeds)")
    return None if count is None else tuple(map(str, range(count)))
