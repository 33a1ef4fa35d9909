r"""Augmentation that does not leak: the network sees what was done to an example (Karras et al. 2022, App. F.2).

A training step replaces an example x by $T_c(x)$, where the numbers c say what the transformation does, and the network
sees c as a condition beside the noisy data. It learns the law of $T_c(x)$ for every c, with the same weights. $T_0$ is
the identity and a network without the condition is the network at c = 0, so that samples and likelihoods are those of
the data itself. Most transformations move entries and mix none. A warp interpolates between entries; where the data has
levels, each entry then takes the nearest of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inkwash.core.config import MoveName
from inkwash.core.errors import ConfigError
from inkwash.core.randomness import Purpose, generator
from inkwash.core.resolved import ResolvedTrainConfig
from inkwash.process.distributions import Lattice

NAME = "augmentation"
"""The name of the condition."""


class Move(ABC):
    """One kind of transformation of examples `(B, C, *size)`. Its code is zero where it changes nothing."""

    need: str
    """The sides that it needs, in words."""
    mixes: ClassVar[bool] = False
    """Whether it makes values that the data need not have."""

    @abstractmethod
    def width(self, size: tuple[int, ...]) -> int:
        """How many numbers its code has for examples with these sides; 0 if it cannot change them."""

    @abstractmethod
    def draw(self, count: int, size: tuple[int, ...], random: torch.Generator) -> Tensor:
        """Random codes, `(count, width)`, float32."""

    @abstractmethod
    def apply(self, x: Tensor, code: Tensor) -> Tensor:
        """What codes `(B, width)` say, done to `x` `(B, C, *size)`."""


class Flip(Move):
    """Reverse each side with probability 1/2; its code has a 1 for each side that is reversed. The side of a series is
    time."""

    need = "a side of at least 2"

    def width(self, size: tuple[int, ...]) -> int:
        return len(size) if max(size) > 1 else 0

    def draw(self, count: int, size: tuple[int, ...], random: torch.Generator) -> Tensor:
        return torch.randint(2, (count, len(size)), generator=random).float()

    def apply(self, x: Tensor, code: Tensor) -> Tensor:
        for axis, reverse in enumerate(code.unbind(1), 2):
            place = torch.arange(x.shape[axis], device=x.device)
            x = _moved(x, axis, torch.where(reverse[:, None] > 0, place.flip(0), place))
        return x


class Shift(Move):
    """Shift along each side by a whole number of places, at most an eighth of the side, or one place if that is less;
    what comes in is mirrored at the border. Its code has for each side the shift as a share of the largest one."""

    need = "a side of at least 4"

    def width(self, size: tuple[int, ...]) -> int:
        return len(size) if any(_reach(side) for side in size) else 0

    def draw(self, count: int, size: tuple[int, ...], random: torch.Generator) -> Tensor:
        reaches = torch.tensor([_reach(side) for side in size])
        places = (torch.rand(count, len(size), generator=random) * (2 * reaches + 1)).floor() - reaches
        return places / reaches.clamp(min=1)

    def apply(self, x: Tensor, code: Tensor) -> Tensor:
        for axis, share in enumerate(code.unbind(1), 2):
            side = x.shape[axis]
            if reach := _reach(side):
                place = torch.arange(side, device=x.device) - (share * reach).round().long()[:, None]
                x = _moved(x, axis, _mirrored(place, side))
        return x


class Transpose(Move):
    """Swap the last two sides with probability 1/2, where its code is 1. With flips it makes all turns by 90°."""

    need = "images or volumes whose last two sides are equal"

    def width(self, size: tuple[int, ...]) -> int:
        return int(len(size) > 1 and size[-1] == size[-2] > 1)

    def draw(self, count: int, size: tuple[int, ...], random: torch.Generator) -> Tensor:
        return torch.randint(2, (count, 1), generator=random).float()

    def apply(self, x: Tensor, code: Tensor) -> Tensor:
        return torch.where(code.view(-1, *(1,) * (x.ndim - 1)) > 0, x.transpose(-1, -2), x)


class Warp(Move):
    """Turn, zoom, shear and shift a little, all at once: the value at a place p is that at p + 0.2 A p, and b / 2
    places further, interpolated between neighbours.

    Along each side p runs from -1 to 1. The numbers of A and b, which are its code, are uniform on [-1, 1]. What lies
    beyond the border is mirrored there, and what draws on a missing entry is missing.
    """

    need = "a side of at least 4"
    mixes = True
    STRENGTH = 0.2

    def width(self, size: tuple[int, ...]) -> int:
        return len(size) * (len(size) + 1) if max(size) >= 4 else 0

    def draw(self, count: int, size: tuple[int, ...], random: torch.Generator) -> Tensor:
        return 2 * torch.rand(count, self.width(size), generator=random) - 1

    def apply(self, x: Tensor, code: Tensor) -> Tensor:
        size = x.shape[2:]
        matrix, move = code.to(x).unflatten(1, (len(size) + 1, len(size))).split([len(size), 1], 1)
        sides = [torch.linspace(-1, 1, side).to(x) if side > 1 else x.new_zeros(1) for side in size]
        place = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).flatten(0, -2)
        places = torch.tensor([max(side - 1, 1) for side in size]).to(x)
        source = place + self.STRENGTH * place @ matrix.mT + move / places
        warped = _between(x, source.unflatten(1, size))
        return torch.where(code.any(1).view(-1, *(1,) * (x.ndim - 1)), warped, x)


MOVES: dict[MoveName, Move] = {"flip": Flip(), "shift": Shift(), "transpose": Transpose(), "warp": Warp()}
"""Transformations by the name that the command line knows them by."""


@dataclass(frozen=True)
class Augmentation:
    """Several kinds of transformation, one after the other; each befalls a share of the examples.

    Args:
        names: which kinds, by their names in `MOVES`; they take place in the order of `MOVES`.
        size: sides of an example.
        share: the probability that an example meets each of them.
        lattice: the values that data with levels takes.
    """

    names: tuple[MoveName, ...]
    size: tuple[int, ...]
    share: float
    lattice: Lattice | None = None

    @property
    def widths(self) -> Mapping[MoveName, int]:
        """How many numbers of the code belong to each kind."""
        return {name: move.width(self.size) for name, move in MOVES.items() if name in self.names}

    def embed(self, width: int) -> nn.Module:
        """What maps codes `(B, numbers)` to features `(B, width)`, and the code 0 to no features."""
        return nn.Linear(sum(self.widths.values()), width, bias=False)

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """Random codes of all kinds side by side, `(count, numbers)`."""
        codes = []
        for name in self.widths:
            happens = torch.rand(count, 1, generator=random) < self.share
            codes.append(MOVES[name].draw(count, self.size, random) * happens)
        return torch.cat(codes, 1)

    def apply(self, x: Tensor, codes: Tensor) -> Tensor:
        """What codes `(B, numbers)` say, done to `x` `(B, C, *size)`."""
        for name, code in zip(self.widths, codes.split(list(self.widths.values()), 1), strict=True):
            x = MOVES[name].apply(x, code)
        if self.lattice and any(MOVES[name].mixes for name in self.names):
            x = self.lattice.low + self.lattice.index(x) * self.lattice.spacing
        return x


def augmentation(
    config: ResolvedTrainConfig, size: tuple[int, ...], lattice: Lattice | None = None
) -> Augmentation | None:
    """The augmentation of the options of training, for examples with these sides, which take the values of a lattice;
    None if there is none."""
    if not (config.augment and config.augment_share):
        return None
    return Augmentation(config.augment, size, config.augment_share, lattice)


def augmented(
    x: Tensor, lattice: Lattice | None, config: ResolvedTrainConfig, step: int, rows: slice
) -> tuple[Tensor, dict[str, Tensor]]:
    """The examples of some rows of a step's global batch after augmentation, and what the network sees of it.

    It is a pure function of the seed, the step and the examples.

    Args:
        x: the examples `(B, *event)`, model units.
        lattice: the values that they take, if they have levels.
        config: the options of training, all decided.
        step: the number of steps done.
        rows: which rows of the global batch they are.
    """
    augment = augmentation(config, tuple(x.shape[2:]), lattice)
    if augment is None:
        return x, {}
    codes = augment.draw(config.batch_size, generator(config.seed, Purpose.AUGMENT, step))[rows]
    return augment.apply(x, codes), {NAME: codes}


def require_moves(names: tuple[MoveName, ...], size: tuple[int, ...], data: str) -> None:
    """Refuse transformations that data with these sides does not have, or that are named twice.

    Raises:
        ConfigError: a transformation that changes nothing of such data, or a name that is there twice.
    """
    if len(set(names)) < len(names):
        raise ConfigError("train.augment", " ".join(names), "each transformation once")
    for name in names:
        if not size:
            raise ConfigError(
                "train.augment", f"{name}, and {data}", "series, images or volumes: columns have no order"
            )
        if not MOVES[name].width(size):
            raise ConfigError("train.augment", f"{name}, and {data}", MOVES[name].need)


def require_at_rest(names: tuple[MoveName, ...] | None, size: tuple[int, ...]) -> None:
    """Refuse transformations of examples where a picture with these sides is given with each, and would not move along.

    Raises:
        ConfigError: there are both.
    """
    if names and size:
        need = "no data.shrink and no pictures as data.condition: what is given would not move with the example"
        raise ConfigError("train.augment", " ".join(names), need)


def _moved(x: Tensor, axis: int, place: Tensor) -> Tensor:
    """`x` `(B, …)` with the entries along an axis taken from the places `(B, side)` of each example."""
    index = place.view(len(x), *(1,) * (axis - 1), -1, *(1,) * (x.ndim - axis - 1))
    return x.gather(axis, index.expand_as(x))


def _between(x: Tensor, source: Tensor) -> Tensor:
    """`x` `(B, C, *size)` at sources `(B, *size, axes)`, whose coordinates run from -1 to 1, between its neighbours."""
    if x.ndim == 3:  # torch interpolates over two or three sides: a series is a picture of one row
        return _between(x[:, :, None], F.pad(source, (1, 0))[:, None])[:, :, 0]
    return F.grid_sample(x, source.flip(-1), padding_mode="reflection", align_corners=True)


def _reach(side: int) -> int:
    """The largest shift along a side."""
    return max(side // 8, 1) if side >= 4 else 0


def _mirrored(place: Tensor, side: int) -> Tensor:
    """Places beyond the ends of a side, mirrored there."""
    return (side - 1) - ((side - 1) - place % (2 * side - 2)).abs()
