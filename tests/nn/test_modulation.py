"""A norm, a scale, a shift and silu in one operation: the same function as the four of them, which keeps less."""

import pytest
import torch
from bugs import bug
from oracles import F64
from torch import nn
from torch.nn import functional as F

from inkwash.nn import modulation
from inkwash.nn.modulation import convolved, modulated


def parts(size, dtype):
    """A norm whose weights are no ones and zeros, features far from zero, a scale and a shift, and a gradient."""
    random = torch.Generator().manual_seed(len(size))
    norm = nn.GroupNorm(4, 8, eps=1e-6, dtype=dtype)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, generator=random)
    h, above = (torch.randn(3, 8, *size, generator=random, dtype=dtype) + 1 for _ in range(2))
    scale, shift = (torch.randn(3, 8, generator=random, dtype=dtype, requires_grad=True) for _ in range(2))
    return norm, h.requires_grad_(), scale, shift, above


def one_by_one(norm, h, scale, shift):
    ones = (1,) * (h.ndim - 2)
    return F.silu(norm(h) * scale.unflatten(1, (-1, *ones)) + shift.unflatten(1, (-1, *ones)))


@bug("the mean of a channel for that of its group", modulation, "_group_mean", lambda each, group: each)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("size", [(5,), (4, 3), (1, 1), (2, 3, 4)], ids=str)
def test_values_and_gradients_are_those_that_autograd_finds_for_the_single_operations(size, layout):
    norm, h, scale, shift, above = parts(size, F64)
    if len(size) == 2:
        h = h.detach().contiguous(memory_format=layout).requires_grad_()
    inputs = (h, scale, shift, *norm.parameters())
    ours, theirs = modulated(norm, h, scale, shift), one_by_one(norm, h, scale, shift)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for found, expected in zip(
        torch.autograd.grad(ours, inputs, above), torch.autograd.grad(theirs, inputs, above), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(5,), (4, 3), (2, 3, 4)], ids=str)
def test_a_convolution_after_silu_has_the_gradients_of_both(size, stride):
    _, h, *_, above = parts(size, F64)
    convolution = CONVOLUTIONS[len(size)](8, 8, 3, stride=stride, padding=1, dtype=F64)
    inputs = (h, *convolution.parameters())
    ours, theirs = convolved(convolution, h), convolution(F.silu(h))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    above = above[tuple(slice(side) for side in ours.shape)]
    for found, expected in zip(
        torch.autograd.grad(ours, inputs, above), torch.autograd.grad(theirs, inputs, above), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    (below,) = torch.autograd.grad(convolved(convolution.requires_grad_(False), h), h, above)
    torch.testing.assert_close(below, torch.autograd.grad(convolution(F.silu(h)), h, above)[0])


@pytest.mark.parametrize(
    "work", [lambda norm, h, k, b: modulated(norm, h, k, b), lambda norm, h, k, b: convolved(nn.Conv2d(8, 8, 3), h)]
)
def test_the_backward_pass_keeps_the_features_alone(work):
    norm, h, scale, shift, _ = parts((16, 16), torch.float32)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _alive = work(norm, h, scale, shift)
    assert kept[h.untyped_storage().data_ptr()] == h.nbytes
    assert sum(kept.values()) < 1.2 * h.nbytes
