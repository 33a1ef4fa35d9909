"""Compression with loss: rate and distortion are those of a channel of uniform noise, by quadrature."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from oracles import TOGETHER, Straight, tensor

import inkwash as iw
from inkwash.codec.container import opened
from inkwash.codec.loss import Loss
from inkwash.core.errors import ConfigError
from inkwash.core.randomness import generator

pytest.importorskip("constriction", reason="the codec needs the extra compress")

from inkwash.codec import direct as module, scheme_of
from inkwash.codec.direct import FINE, Direct

SCHEDULE, LEVELS = Straight(), iw.process.Lattice(-1.0, 1.0, 65)
SPREAD = 0.25


class Bell:
    """Independent entries on 65 levels, in the proportions of a normal density of standard deviation 8 levels."""

    def __init__(self, entries):
        self.log_probs = -0.5 * (LEVELS.values() / SPREAD) ** 2
        self.shape = (entries,)

    def model(self):
        def network(x_t, t):
            return self.log_probs.expand(*x_t.shape, -1)

        denoiser = iw.Denoiser(network, iw.Gaussian(SCHEDULE), iw.denoise.Levels(LEVELS), "small")
        return iw.Diffusion(denoiser, self.shape, transform(LEVELS, self.shape), steps=10)

    def drawn(self, count):
        probs = self.log_probs.softmax(0)
        found = torch.multinomial(probs, count * self.shape[0], True, generator=generator(0))
        return found.reshape(count, *self.shape).numpy().astype(np.uint8)


def transform(lattice, shape):
    from inkwash.data.spec import DataSpec
    from inkwash.data.transform import Transform

    top = lattice.levels - 1
    scale = top / (lattice.high - lattice.low)
    spec = DataSpec(shape, "ND", "uint8", 0.0, float(top), lattice.levels)
    return Transform(spec, (-scale * lattice.low,) * shape[0], (scale,) * shape[0])


def time_of(width):
    """When the noise is that of cells so many levels wide."""
    return float(SCHEDULE.time(tensor(-2 * math.log(width * LEVELS.spacing / math.sqrt(12)))))


def channel(width):
    """Bits of a normal number of standard deviation 8 through a channel of uniform noise of a width, and the mean
    square error of the posterior mean: the law of the number given what is seen is a truncated normal law."""
    spread = SPREAD / LEVELS.spacing
    y = np.linspace(-6 * spread - width, 6 * spread + width, 20_001)
    low, high = (y - width / 2) / spread, (y + width / 2) / spread
    density = (scipy.stats.norm.cdf(high) - scipy.stats.norm.cdf(low)) / width
    some = density > 1e-12
    rest = spread**2 * scipy.stats.truncnorm.var(low[some], high[some])
    step = y[1] - y[0]
    return float((scipy.stats.entropy(density * step, base=2) + math.log2(step)) - math.log2(width)), float(
        (density[some] * rest).sum() * step
    )


def rate_and_error(width, turns_steps=None):
    data = Bell(512)
    model, x = data.model(), data.drawn(40)
    scheme = scheme_of(model, "direct", lossy=time_of(width))
    examples = torch.from_numpy(x).long()
    file = scheme.encode(examples)
    got = scheme.decode(file, len(x))
    assert torch.equal(got, scheme.given(examples))
    return 8 * len(file) / x.size, float((got - examples).double().square().mean())


def middle_of_cell(self, offset, cell, width):
    return (cell + 0.5) * 2.0**width * self.finest / FINE - offset / FINE


@bug("noise of half the width", module, "finest_at", lambda process, lattice, t: FINE * 5)
@bug("the middle of a cell for the mean within it", Direct, "estimate", middle_of_cell)
@pytest.mark.parametrize("width", [10.0, 27.3])
def test_rate_and_distortion_are_those_of_uniform_noise(width):
    """Levels are rounded to, which adds a twelfth to the error."""
    rate, error = channel(width)
    bits, found = rate_and_error(width)
    assert bits == pytest.approx(rate, rel=0.02)
    assert found == pytest.approx(error + 1 / 12, rel=0.03)
