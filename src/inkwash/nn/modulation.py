r"""What a residual block does between its convolutions, with few arrays kept for the backward pass.

Apart from its convolutions, a block only moves numbers between memory and processor. As single operations, what comes
before each convolution leaves arrays of the size of the features h: norm, modulation and SiLU three of them, SiLU one.
Here each leaves what it is given, and computes the rest again in the backward pass.

`modulated` is $\mathrm{silu}(\mathrm{norm}(h)\,k + b)$, with a scale k and a shift b for each example. The argument of
silu is $h\,a + c$ with

$$a = r\gamma k, \qquad c = (\beta - m r\gamma)\,k + b$$

for the mean m and the inverse deviation r of each group, and $\gamma, \beta$ of the norm. With $g$ the gradient of
that argument, everything else follows from the sums $S_1 = \sum g$ and $S_2 = \sum g h$ over the places of a channel,
because the norm and the scale are affine in h where m and r are fixed (Wu & He 2018, eq. 2).
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def modulated(norm: nn.GroupNorm, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """silu(norm(h) * scale + shift), `(B, C, *size)`.

    Args:
        norm: the norm, with a weight and a bias.
        h: features, `(B, C, *size)`.
        scale: k of each channel of each example, `(B, C)`.
        shift: b of each channel of each example, `(B, C)`.
    """
    if not _is_plain(h):
        return F.silu(torch.addcmul(_over(shift, h), norm(h), _over(scale, h)))
    return _Modulated.apply(h, norm.weight, norm.bias, scale, shift, norm.num_groups, norm.eps)


def convolved(convolution: nn.Module, h: Tensor) -> Tensor:
    """convolution(silu(h)).

    Args:
        convolution: an `nn.Conv1d`, `nn.Conv2d` or `nn.Conv3d`, with a bias and zeros beyond the edge.
        h: features, `(B, C, *size)`.
    """
    if not _is_plain(h):
        return convolution(F.silu(h))
    conv = cast(nn.Conv2d, convolution)
    return _Convolved.apply(h, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _is_plain(h: Tensor) -> bool:
    """Whether nothing else sees to it: compilers and autocast fuse and cast by themselves, and a GPU has memory and
    layouts of its own."""
    return h.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, *shape: Any) -> Tensor:
        stride, padding, dilation, groups = ctx.shape = shape
        ctx.save_for_backward(h, weight)
        fixed = (False, (0,) * len(stride), groups)  # not transposed
        return torch.convolution(F.silu(h), weight, bias, stride, padding, dilation, *fixed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        (h, weight), (stride, padding, dilation, groups) = ctx.saved_tensors, ctx.shape
        fixed = (False, (0,) * len(stride), groups)
        needed, bias = list(ctx.needs_input_grad[:3]), [len(weight)]
        below, *others = torch.ops.aten.convolution_backward(
            above, F.silu(h), weight, bias, stride, padding, dilation, *fixed, needed
        )
        if needed[0]:
            below = torch.ops.aten.silu_backward.grad_input(below, h, grad_input=below)
        return (below, *others, None, None, None, None)


class _Modulated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float
    ) -> Tensor:
        batch, channels, places = len(h), h.shape[1], h.shape[2:].numel()
        u, mean, rate = torch.native_group_norm(h, weight, bias, batch, channels, places, groups, eps)
        torch.addcmul(_over(shift, h), u, _over(scale, h), out=u)
        ctx.save_for_backward(h, weight, bias, scale, shift, mean, rate)
        return F.silu(u, inplace=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, scale, shift, mean, rate = ctx.saved_tensors
        m, r = (_each_channel(of_group, weight) for of_group in (mean, rate))
        slope = r * weight * scale
        u = torch.addcmul(_over(shift + (bias - m * r * weight) * scale, h), h, _over(slope, h))
        g = torch.ops.aten.silu_backward.grad_input(above, u, grad_input=u)
        work, places = g * h, tuple(range(2, h.ndim))
        s1, s2 = g.sum(places), work.sum(places)
        normal = r * (s2 - m * s1)  # the sum of g over the normalised features
        down, pull = (_group_mean(weight * scale * each, mean) / h.shape[2:].numel() for each in (s1, normal))
        torch.addcmul(_over(r * (r * m * pull - down), h), h, _over(-r * r * pull, h), out=work)
        work.addcmul_(g, _over(slope, h))
        return (work, (scale * normal).sum(0), (scale * s1).sum(0), weight * normal + bias * s1, s1, None, None)


def _over(value: Tensor, h: Tensor) -> Tensor:
    """Values of channels `(B, C)` over the places of features `(B, C, *size)`."""
    return value.reshape(*value.shape, *(1,) * (h.ndim - 2))


def _each_channel(of_group: Tensor, weight: Tensor) -> Tensor:
    """Values of groups `(B, G)` for each of their channels, `(B, C)`."""
    return of_group.repeat_interleave(len(weight) // of_group.shape[1], dim=1)


def _group_mean(of_channel: Tensor, of_group: Tensor) -> Tensor:
    """The mean over the channels of each group, for each channel, `(B, C)`."""
    groups = of_channel.unflatten(1, (of_group.shape[1], -1))
    return groups.mean(-1, keepdim=True).expand_as(groups).flatten(1)
