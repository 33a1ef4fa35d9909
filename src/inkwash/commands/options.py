"""The options that every command which samples has."""

from __future__ import annotations

from dataclasses import dataclass, field

from inkwash.core.config import Device, SamplingConfig, Strength
from inkwash.core.options import Seed


@dataclass(frozen=True)
class SamplingOptions:
    """What decides a sample, and where it is computed."""

    seed: Seed = 0
    """Seed of the noise. Sample i of a seed is the same however many you ask for, and in however many processes."""
    label: str | None = None
    """For a model with labels: the class to sample from; by default all of them."""
    given: str | None = None
    """For a model with a condition in numbers: an .npy file with the condition of all samples, or a row for each."""
    guidance: Strength = 1.0
    """How much a label or given file counts: 0 ignores it, 1 samples the data under that condition, and more
    exaggerates what sets that data apart."""
    device: Device = "auto"
    """Where to compute; auto is a CUDA GPU if there is one, and otherwise the CPU."""
    walk: SamplingConfig = field(default_factory=SamplingConfig)
