"""Encoders and decoders take data of any size, mirror each other, and do not mix examples."""

import math

import pytest
import torch
from bugs import bug
from torch import nn
from torch.nn import functional as F

import inkwash as iw
from inkwash.model import build_autoencoder
from inkwash.nn import AutoencoderOptions, LevelHead, autoencoder

SHAPES = {
    "digits": ((1, 8, 8), 2, 1),
    "odd": ((3, 7, 5), 4, 1),
    "odd, in patches": ((3, 7, 5), 4, 2),
    "wide": ((2, 1, 13), 8, 4),
    "series": ((2, 11), 4, 1),
    "series, in patches": ((2, 11), 4, 4),
    "volumes": ((1, 5, 6, 3), 2, 1),
    "volumes, in patches": ((1, 5, 6, 3), 2, 2),
    "not smaller": ((2, 4, 4), 1, 1),
    "vectors": ((6,), 1, 1),
}
cases = pytest.mark.parametrize(("shape", "factor", "patch"), SHAPES.values(), ids=SHAPES)


def networks(shape, factor, patch=1, outputs=5):
    torch.manual_seed(0)
    return AutoencoderOptions(3, factor, 8, 1, patch).build(shape, outputs)


def moved(network, seed=1):
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random)
    return network.eval()


@cases
def test_the_latent_has_a_place_for_each_patch_of_the_data(shape, factor, patch):
    latent = AutoencoderOptions(3, factor, 8, 1).latent(shape)
    assert latent == (3, *(math.ceil(side / factor) for side in shape[1:]))
    encoder, decoder = networks(shape, factor, patch)
    assert encoder(torch.randn(2, *shape)).shape == (2, 6, *latent[1:])
    assert decoder(torch.randn(2, *latent)).shape == (2, 5, *shape[1:])


@cases
def test_examples_do_not_mix_and_every_weight_matters(shape, factor, patch):
    latent = AutoencoderOptions(3, factor, 8, 1).latent(shape)
    for network, size in zip(networks(shape, factor, patch), (shape, latent), strict=True):
        inputs = torch.randn(4, *size)
        together = moved(network)(inputs)
        separate = torch.cat([network(each[None]) for each in inputs])
        torch.testing.assert_close(together, separate, rtol=1e-4, atol=1e-5)
        together.square().sum().backward()
        assert all(bool(p.grad.any()) for p in network.parameters())


INTERPOLATE = F.interpolate


@bug("flipped on the ascent", F, "interpolate", lambda h, size: INTERPOLATE(h, size=size).flip(-1))
@pytest.mark.parametrize("patch", [1, 2])
def test_a_place_of_the_latent_is_about_the_same_place_of_the_data(patch):
    """What a far corner of the data changes is most in that corner of the latent, and back."""
    encoder, decoder = (moved(network) for network in networks((1, 32, 24), 2 * patch, patch))
    x, z = torch.randn(1, 1, 32, 24), torch.randn(1, 3, 16 // patch, 12 // patch)
    for network, inputs in ((encoder, x), (decoder, z)):
        inputs = inputs.clone().requires_grad_()
        output = network(inputs)
        (slope,) = torch.autograd.grad(output[:, :, -1, -1].sum(), inputs)
        strength = slope.abs().sum((0, 1))
        height, width = (side // 2 for side in strength.shape)
        assert float(strength[height:, width:].sum() / strength.sum()) > 0.5


def test_patches_are_laid_out_as_an_independent_library_does():
    h = torch.randn(2, 12, 4, 3)
    assert torch.equal(autoencoder._laid_out(h, 2, (8, 6)), F.pixel_shuffle(h, 2))
    assert torch.equal(autoencoder._laid_out(h, 2, (7, 5)), F.pixel_shuffle(h, 2)[..., :7, :5])


def test_decoders_start_at_zero_and_depth_zero_is_linear():
    _, decoder = networks((2, 9, 5), 2)
    assert not bool(decoder(torch.randn(2, 3, 5, 3)).any())
    options = AutoencoderOptions(2, 1, 8, 0)
    for network, size in zip(options.build((4,), 4), (4, 2), strict=True):
        a, b = torch.randn(2, 1, size)
        torch.testing.assert_close(network(a + b) + network(0 * a), network(a) + network(b))


LEVELS = iw.process.Lattice(-1.0, 1.0, 5)
MANY = iw.process.Lattice(-1.0, 1.0, 1000)


@pytest.mark.parametrize("shape", [(2, 5, 3), (4,)], ids=str)
@pytest.mark.parametrize("lattice", [None, LEVELS, MANY], ids=["real numbers", "levels", "many levels"])
def test_a_built_autoencoder_has_a_law_for_its_data(shape, lattice):
    factor = 2 if len(shape) > 1 else 1
    autoencoder = moved(build_autoencoder(AutoencoderOptions(2, factor, 8), shape, lattice))
    x = torch.randn(3, *shape) if lattice is None else lattice.values()[torch.randint(lattice.levels, (3, *shape))]
    q = autoencoder.encoding(x.float())
    z = q.mean + q.std * torch.randn(q.mean.shape)
    law = autoencoder.decoding(z)
    assert autoencoder.lattice == lattice
    assert law.mean.shape == law.draw(torch.Generator()).shape == x.shape
    assert bool(law.log_prob(x.float()).isfinite().all())
    if lattice == LEVELS:
        each = torch.stack([law.entry_log_prob(torch.full(x.shape, float(v))) for v in LEVELS.values()])
        torch.testing.assert_close(each.logsumexp(0), torch.zeros(3, *shape), atol=1e-5, rtol=0)


def test_a_decoder_of_levels_starts_at_their_frequencies():
    autoencoder = build_autoencoder(AutoencoderOptions(2, 1, 8), (3,), LEVELS)
    index = torch.randint(5, (5000, 3), generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0, 1])
    head = next(part for part in autoencoder.modules() if isinstance(part, LevelHead))
    head.count([index])
    for parameter in autoencoder.decoder.network.parameters():
        nn.init.zeros_(parameter)
    masses = autoencoder.decoding(torch.randn(1, 2)).logits.softmax(-1)[0]
    expected = torch.stack([torch.bincount(column, minlength=5) for column in index.T]) / 5000
    torch.testing.assert_close(masses, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("act", "where"),
    [
        (lambda: AutoencoderOptions(factor=3), "autoencoder.factor: got 3, need a power of two"),
        (lambda: AutoencoderOptions(factor=0), "autoencoder.factor: got 0"),
        (lambda: AutoencoderOptions(factor=8, patch=3), "autoencoder.patch: got 3, need a power of two"),
        (lambda: AutoencoderOptions(factor=2, patch=4), "autoencoder.patch: got 4, need at most autoencoder.factor, 2"),
        (lambda: AutoencoderOptions(factor=2).latent((5,)), "autoencoder.factor: got 2, need 1 for vectors"),
        (lambda: AutoencoderOptions(factor=16).latent((1, 8, 8)), "autoencoder.factor: got 16, need at most 8"),
        (lambda: AutoencoderOptions(width=12).build((1, 8, 8), 2), "autoencoder.width: got 12, need a multiple of 8"),
    ],
)
def test_a_bad_option_is_refused(act, where):
    with pytest.raises(iw.ConfigError, match=where):
        act()


def test_the_networks_are_described():
    assert AutoencoderOptions(4, 2, 32).describe((1, 8, 8)) == "latent 4x4x4 (64 entries in 64), width 32"
