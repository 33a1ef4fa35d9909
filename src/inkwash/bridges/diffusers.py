"""Pipelines of diffusers as models: of pixels, with or without class labels, and of latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inkwash.bridges.convention import pixels
from inkwash.bridges.pipelines import Pipeline, pipeline_of
from inkwash.bridges.schedulers import Convention, convention_of
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.machine import device_of
from inkwash.data.condition import ConditionSpec
from inkwash.denoise.denoiser import AnyDenoiser, Denoiser
from inkwash.denoise.wrap import Clipped
from inkwash.model.autoencoder import Autoencoder, SharedNoise
from inkwash.model.diffusion import Diffusion
from inkwash.model.latent import LatentDiffusion
from inkwash.process.gaussian import Gaussian
from inkwash.sample.walk import Walking


class UNetOutput(nn.Module):
    """A U-Net of diffusers as a network `(x_t, t, label=None) -> tensor`.

    Args:
        unet: the U-Net.
        sign: what its output is multiplied by.
    """

    def __init__(self, unet: Any, sign: float) -> None:
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


class Moments(nn.Module):
    """The encoder of an `AutoencoderKL`.

    Args:
        vae: the autoencoder.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae: Any = vae

    def forward(self, x: Tensor) -> Tensor:
        """Mean and log-variance of q(z | x) side by side, `(B, 2 c, h, w)`, for pictures `(B, C, H, W)`."""
        law = self.vae.encode(x).latent_dist
        return torch.cat([law.mean, law.logvar], 1)


class Pictures(nn.Module):
    """The decoder of an `AutoencoderKL`.

    Args:
        vae: the autoencoder.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae: Any = vae

    def forward(self, z: Tensor) -> Tensor:
        """The mean of p(x | z) for latents `(B, c, h, w)`."""
        picture: Tensor = self.vae.decode(z).sample
        return picture


def from_diffusers(
    source: Any,
    *,
    range: tuple[float, float] | None = (-1.0, 1.0),
    noise: float | None = None,
    device: str | torch.device | None = None,
) -> Diffusion | LatentDiffusion:
    """A pipeline of diffusers as a model: noise, times, prediction, clipping and classes are those of its parts.

    At the times of the grid the network is given the timesteps that it was trained with, and between them the number
    in between. `sample` walks with the sampler that is most like the scheduler, over all T steps unless `steps` says
    otherwise.

    Args:
        source: the local folder of a pipeline, with weights in safetensors, or the pipeline itself. No code of the
            folder runs, and nothing is downloaded.
        range: what the values 0 and 255 of a pixel are for the network; the data is then of 8 bits, `(N, H, W)` for one
            channel and `(N, H, W, C)` for more. None: data is in model units.
        noise: for a latent pipeline, and only there, the standard deviation of p(x | z) in model units. An
            `AutoencoderKL` has none of its own; the root mean square error of its reconstructions gives the best bound.
        device: where the networks are moved to, as of `inkwash.load`; None leaves them where they are, and those of a
            folder on the CPU.

    Raises:
        CheckpointError: a part that is missing, damaged or of another kind: text conditioning, an unknown scheduler,
            weights that do not fit the network; or diffusers is not installed.
        ConfigError: a bad `range` or `noise`, or a `source` that is neither a folder nor a pipeline.
    """
    place = None if device is None else device_of(device)
    pipeline = pipeline_of(source)
    if place is not None:
        pipeline.to(place)
    convention = convention_of(pipeline.scheduler, f"{pipeline.where}: scheduler")
    if pipeline.autoencoder is not None:
        return _of_latents(pipeline.autoencoder, _of_network(pipeline, convention, None), range, noise)
    if noise is not None:
        raise ConfigError("noise", noise, "none, for a pipeline of pixels")
    return _of_network(pipeline, convention, range)


def _of_latents(vae: Any, latents: Diffusion, ends: tuple[float, float] | None, noise: float | None) -> LatentDiffusion:
    """The model of latents with its autoencoder; a latent is the encoder's, shifted and scaled as diffusers does."""
    if noise is None or not noise > 0:
        need = "the standard deviation of p(x | z) in model units, as this pipeline is one of latents"
        raise ConfigError("noise", "nothing" if noise is None else noise, need)
    channels, *small = latents.shape
    if vae.config.latent_channels != channels:
        raise CheckpointError("vae.latent_channels", vae.config.latent_channels, f"{channels}, as the U-Net has")
    for name in ("latents_mean", "latents_std"):
        if vae.config.get(name) is not None:
            raise CheckpointError(f"vae.{name}", "a number for each channel", "one shift and one scale of all latents")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    shape = (vae.config.in_channels, *(factor * side for side in small))
    transform = None if ends is None else pixels(shape, ends)
    output = SharedNoise(noise**2, None if transform is None else transform.lattice, learned=False)
    autoencoder = Autoencoder(Moments(vae), Pictures(vae), latents.shape, output)
    autoencoder.shift.fill_(vae.config.shift_factor or 0.0)
    autoencoder.scale.fill_(1 / vae.config.scaling_factor)
    return LatentDiffusion(autoencoder, latents, shape, transform)


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
