"""Networks take data of any size, start at zero, have a gradient in every parameter, and do not mix examples."""

import inspect
from collections import Counter
from functools import partial
from unittest import mock

import pytest
import torch
from bugs import bug
from networks import batch, columns, dit, mlp, trained, unet
from oracles import F64
from torch import nn
from torch.nn import functional as F

import inkwash as iw
from inkwash.core.config import NetworkConfig
from inkwash.nn import unet as unet_module
from inkwash.nn.options import Ports

SIZES = [(7, 5), (1, 1), (13, 8), (28, 28), (3, 17)]


NETWORKS = {
    "unet": (unet, (1, 7, 5)),
    "two channels": (partial(unet, 2), (2, 7, 5)),
    "series": (partial(unet, 2, axes=1), (2, 11)),
    "places of series": (partial(unet, 2, axes=1, places=(11,)), (2, 11)),
    "volumes": (partial(unet, axes=3), (1, 4, 3, 5)),
    "mlp": (mlp, (6,)),
    "patches": (partial(dit, 2, (2, 3)), (2, 7, 5)),
    "patches of series": (partial(dit, patch=(3,)), (1, 11)),
    "patches of volumes": (partial(dit, patch=(2, 2, 2)), (1, 4, 3, 5)),
    "columns": (columns, (6,)),
}
networks = pytest.mark.parametrize("kind", NETWORKS)
GATED = ("patches", "patches of series", "patches of volumes", "columns")


def test_every_public_network_is_tested():
    from inkwash import nn as public

    names = {n for n in public.__all__ if inspect.isclass(getattr(public, n))}
    assert names == {type(make()).__name__ for make, _ in NETWORKS.values()} | {
        "AutoencoderOptions",
        "Decoder",
        "Encoder",
        "LevelDecoder",
        "LevelHead",
        "LevelNet",
        "MixtureNet",
        "GivenEmbedding",
        "LabelEmbedding",
        "TableNet",
        "TimeNet",
    }  # see test_autoencoder.py, test_levels.py, tests/data/test_condition.py, test_tables.py and test_times.py


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_pictures_of_any_size_keep_their_size_and_outputs_start_at_zero(size, channels):
    x_t, level = batch((channels, *size), n=2)
    out = unet(channels)(x_t, level)
    assert out.shape == x_t.shape
    assert not bool(out.any())


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("side", range(1, 10))
def test_series_and_volumes_of_any_size_keep_their_size(axes, side):
    size = (side, 3, 10 - side)[:axes]
    x_t, level = batch((2, *size), n=2)
    out = unet(2, axes=axes)(x_t, level)
    assert out.shape == x_t.shape
    assert not bool(out.any())


INTERPOLATE = F.interpolate


def flipped_on_the_ascent(h, size):
    return INTERPOLATE(h, size=size).flip(-1) if len(size) == 3 else INTERPOLATE(h, size=size)


@bug("volumes flipped on the ascent", F, "interpolate", flipped_on_the_ascent, axes=3, flat=2)
@pytest.mark.parametrize(("axes", "flat"), [(2, 2), (2, 3), (3, 2), (3, 3), (3, 4)])
def test_along_an_axis_of_length_one_the_network_equals_the_one_without_it(axes, flat):
    """Only the middle of a kernel along the flat axis meets data; the rest meets the zeros beyond the edge."""
    size = (9, 5)[: axes - 1]
    less, more = trained(unet(2, axes=axes - 1), (2, *size)), unet(2, axes=axes).eval()
    for ours, theirs in zip(more.parameters(), less.parameters(), strict=True):
        (ours.data.select(flat, 1) if ours.ndim == axes + 2 else ours.data).copy_(theirs.data)
    x_t, level = batch((2, *size))
    with torch.no_grad():
        expected = less(x_t, level)
        torch.testing.assert_close(more(x_t.unsqueeze(flat), level), expected.unsqueeze(flat), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axes", "size"), [(1, (37,)), (3, (5, 3, 6))])
def test_every_output_depends_on_every_input(axes, size):
    """The coarsest resolution attends to all places."""
    network = trained(unet(axes=axes), (1, *size))
    x_t, level = batch((1, *size), n=1)
    x_t.requires_grad_()
    for place in (0, -1):
        (gradient,) = torch.autograd.grad(network(x_t, level).flatten()[place], x_t)
        assert bool((gradient != 0).all())


@pytest.mark.parametrize("size", [1, 2, 9])
def test_vectors_of_any_size_keep_their_size_and_outputs_start_at_zero(size):
    x_t, level = batch((size,))
    out = mlp(size)(x_t, level)
    assert out.shape == x_t.shape
    assert not bool(out.any())


@networks
def test_after_two_steps_every_parameter_has_a_gradient(kind):
    """Parameters that start at zero still train: the last layer moves in the first step, the branches in the next."""
    make, shape = NETWORKS[kind]
    network = trained(make(), shape).train()
    network.zero_grad()
    x_t, level = batch(shape, seed=2)
    (network(x_t, level) ** 2).mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert dead == []


def attention_with_a_bias(self, channels):
    ATTENTION(self, channels)
    self.query_key_value = unet_module._PixelLinear(channels, 3 * channels)


ATTENTION = unet_module._Attention.__init__


@bug("a bias of the keys", unet_module._Attention, "__init__", attention_with_a_bias, kind="unet")
@networks
def test_no_weight_moves_by_rounding_alone(kind):
    """AdamW makes full steps of gradients of any size, also where they are zero up to rounding: then the weights of
    two processes differ from those of one."""
    make, shape = NETWORKS[kind]
    network = trained(make(), shape).train().double()
    network.zero_grad()
    x_t, level = (each.double() for each in batch(shape, seed=2))
    ((network(x_t, level) - x_t.flip(0)) ** 2).mean().backward()
    gradients = {name: p.grad.abs() for name, p in network.named_parameters()}
    assert {name: 0 for name, g in gradients.items() if bool(((g > 0) & (g < 1e-12 * g.max())).any())} == {}


@networks
def test_a_permuted_batch_gives_permuted_outputs(kind):
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    x_t, level = batch(shape)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    with torch.no_grad():
        torch.testing.assert_close(network(x_t, level)[order], network(x_t[order], level[order]), rtol=1e-4, atol=1e-5)


@networks
def test_examples_do_not_affect_each_other(kind):
    """The gradient of one example's output with respect to the other examples is zero."""
    make, shape = NETWORKS[kind]
    x_t, level = batch(shape)
    x_t.requires_grad_()
    trained(make(), shape)(x_t, level)[2].sum().backward()
    others = torch.ones(6, dtype=torch.bool)
    others[2] = False
    assert bool(x_t.grad[2].any())
    assert not bool(x_t.grad[others].any())


@networks
def test_no_examples_are_no_outputs_and_no_gradient(kind):
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    x_t, level = batch(shape)
    out = network(x_t[:0], level[:0])
    assert out.shape == network(x_t, level)[:0].shape
    network.zero_grad()
    out.sum().backward()
    assert not any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


@networks
def test_the_output_depends_on_the_level(kind):
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    x_t, _ = batch(shape)
    with torch.no_grad():
        low, high = (network(x_t, torch.full((6,), level)) for level in (-8.0, 8.0))
    assert float((low - high).abs().max()) > 1e-5


@networks
def test_infinite_levels_count_as_the_last_finite_ones(kind):
    """At time 0 the log-SNR is infinite, but the output must stay finite."""
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    x_t, _ = batch(shape)
    with torch.no_grad():
        endless, last = (network(x_t, torch.full((6,), level)) for level in (torch.inf, 20.0))
    assert torch.equal(endless, last)


@networks
def test_a_network_can_fit_one_batch(kind):
    """The target of the fixed input is fixed: the loss starts at the mean square of the target and falls."""
    make, shape = NETWORKS[kind]
    network = make()
    x_t, level = batch(shape, n=4)
    target = batch(shape, n=4, seed=9)[0]
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = ((network(x_t, level) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(float((target**2).mean()))
    assert losses[-1] < 0.7 * losses[0]


@networks
def test_dropout_acts_only_in_training(kind):
    make, shape = NETWORKS[kind]
    network = trained(make(dropout=0.5), shape)
    x_t, level = batch(shape)
    with torch.no_grad():
        assert torch.equal(network(x_t, level), network(x_t, level))
        network.train()
        assert not torch.equal(network(x_t, level), network(x_t, level))


@networks
def test_double_precision_gives_the_same_output(kind):
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    x_t, level = batch(shape)
    with torch.no_grad():
        single = network(x_t, level)
        double = network.double()(x_t.to(F64), level.to(F64))
    assert float((single - double).abs().max()) < 1e-4 * float(double.abs().max())


@pytest.mark.parametrize("kind", [kind for kind in NETWORKS if kind not in GATED])
def test_a_block_acts_even_without_a_shift_and_a_scale(kind):
    """Shift and scale start close to zero, but what a block adds must depend on its input nonetheless."""
    make, shape = NETWORKS[kind]
    network = trained(make(), shape)
    modulated = [block for block in network.modules() if hasattr(block, "modulate")]
    assert modulated
    for block in modulated:
        nn.init.zeros_(block.modulate.weight), nn.init.zeros_(block.modulate.bias)
        width, level = block.modulate.out_features // 2, block.modulate.in_features
        h = torch.randn(2, width, *(3,) * (len(shape) - 1))
        with torch.no_grad():
            added = block(h, torch.zeros(2, level)) - h
        assert float((added[0] - added[1]).abs().max()) > 1e-4


STAGE = unet_module._Stage.__init__


def attention_one_resolution_late(self, widths, attention, *rest):
    STAGE(self, widths, (False, *attention[:-1]), *rest)


@bug(
    "attention at another resolution",
    unet_module._Stage,
    "__init__",
    attention_one_resolution_late,
    blocks=2,
    attention=(True, False, False),
)
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("attention", [(True, False, False), (False, True, False), (True, False, True)])
def test_attention_acts_only_at_the_configured_resolutions(attention, blocks):
    """There are 8x12, 4x6 and 2x3 pixels. Attention follows each block of the descent and of the ascent; the
    coarsest resolution has no ascent."""
    with mock.patch.object(F, "scaled_dot_product_attention", wraps=F.scaled_dot_product_attention) as attend:
        unet(attention=attention, blocks=blocks)(*batch((1, 8, 12)))
    seen = Counter(call.args[0].shape[-2] for call in attend.call_args_list)
    resolutions = zip(attention, (96, 24, 6), (2, 2, 1), strict=True)
    assert seen == {pixels: blocks * sides for attends, pixels, sides in resolutions if attends}


def stage_without_the_sum(self, h, level):
    for block in self.down:
        h = block(h, level)
    if self.coarser is not None:
        h = F.interpolate(self.widen(self.coarser(self.halve(h), level)), size=h.shape[-2:])
    for block in self.up:
        h = block(h, level)
    return h


@bug("skip left out", unet_module._Stage, "forward", stage_without_the_sum)
def test_details_bypass_the_coarser_resolutions(monkeypatch):
    """If the coarser resolutions return zeros, an output still depends on its pixel, and only on pixels nearby."""
    network = trained(unet(attention=(False, False, False)), (1, 12, 9))
    for parameter in network.stages.widen.parameters():
        nn.init.zeros_(parameter)
    # A norm would look at every pixel.
    network.leave[0].forward = lambda h: h
    monkeypatch.setattr(unet_module, "modulated", lambda norm, h, scale, shift: F.silu(h))
    x_t, level = batch((1, 12, 9), n=1)
    x_t.requires_grad_()
    network(x_t, level)[0, 0, 0, 0].backward()
    assert bool(x_t.grad[0, 0, 0, 0] != 0)
    assert not bool(x_t.grad[0, 0, 8:].any())


def one_resolution(cls, config, size, dropout):
    return cls(32, 1, (1,), (False,), dropout)


@bug("one block at one resolution", unet_module.UNetOptions, "decide", classmethod(one_resolution), size=(7, 5))
@pytest.mark.parametrize("size", [(7, 5), (4, 5, 6), (3, 3), (5,), (24,), (300,), (28, 28)], ids=str)
def test_by_default_each_corner_sees_the_one_across(monkeypatch, size):
    """Norms, which look at every place, are left out."""
    options = unet_module.UNetOptions.decide(NetworkConfig(), size, 0.0)
    network = trained(options.build(Ports(size, (1,), (1,), {})), (1, *size), steps=3)
    for norm in (module for module in network.modules() if isinstance(module, nn.GroupNorm)):
        norm.forward = lambda h: h
    monkeypatch.setattr(unet_module, "modulated", lambda norm, h, scale, shift: F.silu(h))
    x_t, level = batch((1, *size), n=1)
    x_t.requires_grad_()
    network(x_t, level).flatten()[0].backward()
    assert bool(x_t.grad.flatten()[-1] != 0)


def middle_error(places):
    """The mean squared error of a series of signs in the middle of 41 places, whose noisy data is zero everywhere."""
    torch.manual_seed(0)
    network = iw.UNet(1, 8, (1,), 1, (False,), axes=1, places=places)
    target = torch.where(torch.rand(1, 1, 41) < 0.5, 1.0, -1.0)
    target[..., 20:22] = torch.tensor([1.0, -1.0])
    optimizer, nothing = torch.optim.Adam(network.parameters(), 0.01), (torch.zeros(1, 1, 41), torch.zeros(1))
    for _ in range(60):
        optimizer.zero_grad()
        errors = ((network(*nothing) - target) ** 2)[..., 18:23]  # six places or more from the border
        errors.mean().backward()
        optimizer.step()
    signs = target[..., 18:23]
    return float(errors.mean().detach()), float(signs.var(correction=0))


def alike(self, x_t, t):
    return self.leave(self.stages(self.enter(x_t), F.silu(self.embed(t))))


@bug("all places alike", iw.UNet, "forward", alike)
def test_features_of_each_place_fit_a_series_that_differs_from_place_to_place():
    """Where all that is in sight is the same, a convolution gives one number: its least error is the variance."""
    error, variance = middle_error(())
    assert error > 0.99 * variance
    error, _ = middle_error((41,))
    assert error < 0.05 * variance


def test_a_perceptron_without_hidden_layers_is_linear_and_with_them_is_not():
    torch.manual_seed(0)
    x = torch.randn(5, 3)
    for widths, linear in (((3, 2), True), ((3, 8, 2), False), ((3, 8, 8, 2), False)):
        network = iw.nn.perceptron(*widths)
        middle = network((x[:1] + x[1:2]) / 2)
        ends = (network(x[:1]) + network(x[1:2])) / 2
        assert network(x).shape == (5, 2)
        assert torch.allclose(middle, ends, atol=1e-6) == linear
        assert sum(isinstance(layer, torch.nn.Linear) for layer in network) == len(widths) - 1
        assert isinstance(network[-1], torch.nn.Linear)
