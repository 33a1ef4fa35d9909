"""Tensors of which every process holds a share: torch's `DTensor`, which takes long to import."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def has_shares(tensor: Tensor) -> TypeGuard[DTensor]:
    """Whether this process holds a share of a tensor."""
    return hasattr(tensor, "full_tensor")


def is_sharded(network: nn.Module) -> bool:
    """Whether this process holds a share of a network's parameters."""
    return any(map(has_shares, network.parameters()))


def full(tensor: Tensor) -> Tensor:
    """A tensor without shares; all processes have to ask for it."""
    return tensor.full_tensor() if has_shares(tensor) else tensor


def as_shares(plain: Tensor, like: Tensor) -> Tensor:
    """A tensor in shares as another of the same shape is; as it is, if that has none."""
    if not has_shares(like):
        return plain
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(plain.to(like.device), like.device_mesh, like.placements)
