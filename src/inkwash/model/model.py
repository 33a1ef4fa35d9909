"""`Model`: a distribution over data of one shape, in data units. It is what users hold, and what commands use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from inkwash.core.errors import ConfigError
from inkwash.core.shapes import Array
from inkwash.data.condition import ConditionSpec
from inkwash.data.pictures import sheet
from inkwash.likelihood.bound import Bound
from inkwash.model.units import Units
from inkwash.sample.walk import State, Walkable

if TYPE_CHECKING:
    from PIL.Image import Image

OF_DATA = "a diffusion model of the data, whose noisy data has its size: inkwash train --model diffusion"
"""What the message says where only a `Diffusion` will do."""


class Model(Walkable, ABC):
    """A distribution over data of one shape: `Diffusion`, `VAE` or `LatentDiffusion`.

    All of them sample, bound and estimate the probability of data, encode it, decode it, and interpolate. What one kind
    of model lacks raises a `ConfigError`.

    Attributes:
        shape: shape of one example in model units.
        units: from data units to model units, and back.
        condition: what samples and probabilities can be conditioned on.
        device: where the model lives.
        steps: steps of the model's own grid; 1 where there is no grid.
    """

    shape: tuple[int, ...]
    units: Units
    condition: ConditionSpec
    device: torch.device
    steps: int

    def __repr__(self) -> str:
        known = self.units.transform
        data = f"examples of shape {self.shape}" if known is None else known.spec.describe()
        return f"<{type(self).__name__} of {data}>"

    def picture(self, x: Any) -> Image:
        """Examples, data units, as one picture, which a notebook shows; see `inkwash.data.pictures.sheet`.

        Raises:
            ConfigError: a model without a transform, which would know what the data is.
        """
        from PIL import Image

        return Image.fromarray(sheet(self.units.spec, np.asarray(self.units.from_frame(x))))

    @abstractmethod
    def sample(self, n: int, *args: Any, **options: Any) -> Any:
        """Sample `n` examples, data units; sample i of a `seed` is the same, bit for bit, whatever `n` is."""

    @abstractmethod
    def bound(self, x: Any, *args: Any, **options: Any) -> Bound:
        """The variational bound on -log p(x), nats per example, for `x` in data units."""

    @abstractmethod
    def log_prob(self, x: Any, *args: Any, **options: Any) -> Any:
        """An estimate of log p(x), with `value` and `std_error`, nats per example, for `x` in data units."""

    @abstractmethod
    def encode(self, x: Any, *args: Any, **options: Any) -> Tensor:
        """The codes of examples in data units."""

    @abstractmethod
    def decode(self, z: Tensor, *args: Any, **options: Any) -> Any:
        """The examples, data units, that codes stand for."""

    @abstractmethod
    def interpolate(self, a: Any, b: Any, n: int, *args: Any, **options: Any) -> Any:
        """`n` examples that lead from example `a` to example `b`, data units."""

    def diffuse(self, *args: Any, **options: Any) -> Tensor:
        """Noisy data; only a `Diffusion` has it."""
        self._lacks("diffuse")

    def sample_from(self, *args: Any, **options: Any) -> Any:
        """Samples given noisy data; only a `Diffusion` has them."""
        self._lacks("sample_from")

    def relatives(self, *args: Any, **options: Any) -> Any:
        """Samples that share noisy data; only a `Diffusion` has them."""
        self._lacks("relatives")

    def score(self, *args: Any, **options: Any) -> Tensor:
        """The gradient of the log-density of noisy data; only a `Diffusion` has it."""
        self._lacks("score")

    def impute(self, *args: Any, **options: Any) -> Any:
        """Samples of missing entries; only a `Diffusion` has them."""
        self._lacks("impute")

    def forecast(self, *args: Any, **options: Any) -> Any:
        """Samples of the next places of series; only a `Diffusion` has them."""
        self._lacks("forecast")

    def _lacks(self, name: str) -> NoReturn:
        raise ConfigError(name, f"a {type(self).__name__}", OF_DATA)

    def with_options(self, *args: Any, **options: Any) -> Model:
        """The same networks as a model with other options of its own; only a model with a walk has some."""
        self.refuse(options)
        return self

    def refuse(self, options: Mapping[str, Any]) -> None:
        """Refuse options of walks, bounds or conditions that a kind of model lacks; None, and a guidance of 1, is none.

        Raises:
            ConfigError: an option that is set.
        """
        for name, value in options.items():
            if value is not None and (name, value) != ("guidance", 1):
                need = (
                    f"none, or a run of --model diffusion: a {type(self).__name__} neither walks nor takes conditions"
                )
                raise ConfigError(name, value, need)

    def to_model(self, x: Any, missing: bool = False) -> Tensor:
        """Data units to model units, `(B, *shape)` on the model's device; NaN where an entry is missing."""
        return self.units.to_model(x, missing)

    def to_data(self, x: Tensor) -> Any:
        """Model units to data units."""
        return self.units.to_data(x)

    def noisy_to_data(self, x_t: Tensor, t: float) -> Array:
        """What a walk holds at time `t` as it is shown: in data units, and not moved to levels.

        Raises:
            ConfigError: a model without a transform.
        """
        return self.units.to_unrounded(x_t)

    def shown(self, state: State) -> tuple[Array, Array]:
        """Noisy data and estimate of a state of a walk, in data units; at the end they are moved to levels, as samples
        are.

        Raises:
            ConfigError: a walk of particles, which has no estimates; a model without a transform.
        """
        if state.x is None:
            raise ConfigError("film", "a walk without estimates of its rows", "one that is not of particles")
        if state.s == 0:
            return self.to_data(state.x_s), self.to_data(state.x)
        return self.noisy_to_data(state.x_s, state.s), self.noisy_to_data(state.x, 0.0)
