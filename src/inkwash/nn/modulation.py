r"""$\mathrm{silu}(\mathrm{norm}(h)\,k + b)$ with a scale and a shift for each example, in few passes over memory.

Apart from its convolutions, a residual block only moves numbers between memory and processor. As single operations,
what comes before its first convolution leaves three arrays of the size of h for the backward pass. Here it leaves h
and its statistics. The backward pass computes the argument of silu again, as $h\,a + c$ with

$$a = r\gamma k, \qquad c = (\beta - m r\gamma)\,k + b$$

for the mean m and the inverse deviation r of each group, and $\gamma, \beta$ of the norm. With $g$ the gradient of
that argument, everything else follows from the sums $S_1 = \sum g$ and $S_2 = \sum g h$ over the places of a channel,
because the norm and the scale are affine in h where m and r are fixed (Wu & He 2018, eq. 2).
"""

from __future__ import annotations

from typing import Any

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
    # Compilers and autocast fuse and cast by themselves, and on a GPU the norm wants another layout.
    if h.device.type != "cpu" or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return F.silu(torch.addcmul(_over(shift, h), norm(h), _over(scale, h)))
    return _Modulated.apply(h, norm.weight, norm.bias, scale, shift, norm.num_groups, norm.eps)


class _Modulated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float
    ) -> Tensor:
        batch, channels, places = len(h), h.shape[1], h[0, 0].numel()
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
        down, pull = (_group_mean(weight * scale * each, mean) / h[0, 0].numel() for each in (s1, normal))
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
    groups = of_channel.reshape(len(of_channel), of_group.shape[1], -1)
    return groups.mean(-1, keepdim=True).expand_as(groups).reshape(of_channel.shape)
