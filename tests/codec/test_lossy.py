"""Compression with loss: rate and distortion are those of a channel of uniform noise, by quadrature."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from compressed import coded, equal, levels_spec, model_of, real_spec
from oracles import Straight, tensor

import inkwash as iw
from inkwash.codec import archive, progressive, scheme, scheme_of
from inkwash.codec.chunks import Chunks
from inkwash.codec.container import opened, sealed
from inkwash.codec.direct import FINE, Direct
from inkwash.codec.loss import Loss
from inkwash.core.errors import CodecError, ConfigError
from inkwash.core.randomness import generator
from inkwash.data.transform import Transform

pytest.importorskip("constriction", reason="the codec needs the extra compress")

SCHEDULE, LEVELS, SPREAD = Straight(), iw.process.Lattice(-1.0, 1.0, 65), 8
"""Independent entries on 65 levels, in the proportions of a normal density of a standard deviation of 8 levels."""
LOG_PROBS = -0.5 * ((torch.arange(65, dtype=torch.float64) - 32) / SPREAD) ** 2


def bell(entries):
    """The model of such entries, whose network is exact: the noisy values of others say nothing."""
    denoiser = iw.Denoiser(
        lambda x_t, t: LOG_PROBS.expand(*x_t.shape, -1), iw.Gaussian(SCHEDULE), iw.denoise.Levels(LEVELS), "small"
    )
    transform = Transform(levels_spec("ND", (entries,), "uint8", 65), (32.0,) * entries, (32.0,) * entries)
    return iw.Diffusion(denoiser, (entries,), transform, steps=10)


def drawn(count, entries):
    found = torch.multinomial(LOG_PROBS.softmax(0), count * entries, True, generator=generator(0))
    return found.reshape(count, entries).numpy().astype(np.uint8)


def time_of(width):
    """When the noise is as strong as that of cells so many levels wide."""
    return float(SCHEDULE.time(tensor(-2 * math.log(width * LEVELS.spacing / math.sqrt(12)))))


def channel(width):
    """Bits of a normal number of standard deviation 8 through a channel of uniform noise of a width, and the mean
    square error of the posterior mean: the law of the number given what is seen is a truncated normal law."""
    y = np.linspace(-6 * SPREAD - width, 6 * SPREAD + width, 20_001)
    low, high = (y - width / 2) / SPREAD, (y + width / 2) / SPREAD
    density = (scipy.stats.norm.cdf(high) - scipy.stats.norm.cdf(low)) / width
    seen, step = density > 1e-12, y[1] - y[0]
    left = SPREAD**2 * scipy.stats.truncnorm.var(low[seen], high[seen])
    bits = scipy.stats.entropy(density, base=2) + math.log2(step / width)
    return bits, float((density[seen] * left).sum() * step)


def middle(self, offset, cell, width):
    return (cell + 0.5) * self.finest / FINE - offset / FINE


@bug("noise of another time", scheme, "finest_at", lambda process, lattice, t: FINE * 7)
@bug("the middle of a cell for the mean within it", Direct, "estimate", middle)
def test_rate_and_distortion_are_those_of_uniform_noise():
    """The estimate is moved to levels, which adds a twelfth to the error."""
    x = torch.from_numpy(drawn(2, 5000)).long()
    found, (rate, error) = scheme_of(bell(5000), "direct", steps=4, lossy=time_of(27.3)), channel(27.3)
    file = found.encode(x)
    got = found.decode(file, 2)
    assert 8 * len(file) / x.numel() == pytest.approx(rate, rel=0.03)
    assert float((got - x).double().square().mean()) == pytest.approx(error + 1 / 12, rel=0.03)


@pytest.mark.parametrize("left", [0, 2, 4])
def test_a_file_with_loss_is_the_beginning_of_one_without(left):
    """After as many halvings the reader of a whole file has the same estimate, and has read as many bits."""
    model, x = bell(40), drawn(20, 40)
    every = list(progressive(model, coded(model, x)))
    bits, state = every[-1 - left]
    file = coded(model, x, lossy=time_of(2**left))
    if left:
        assert state.s == pytest.approx(time_of(2**left))
        assert np.array_equal(iw.decompress(model, file), model.to_data(state.x))
        last = list(progressive(model, file))[-1]
        assert abs(last.bits - bits) * x.size < 100
    else:
        assert np.array_equal(model.to_data(state.x), x)


@bug("wider cells than the noise", scheme, "finest_at", lambda process, lattice, t: FINE + 1)
def test_where_the_noise_is_below_a_level_nothing_is_lost():
    model, x = bell(40), drawn(20, 40)
    examples = torch.from_numpy(x).long()
    assert scheme_of(model, "direct", lossy=0.0).encode(examples) == scheme_of(model, "direct").encode(examples)
    assert np.array_equal(iw.decompress(model, coded(model, x, lossy=0.0)), x)
    assert str(opened(coded(model, x, lossy=0.0), "file").header["loss"]["rmse"]) == "0.0"


def test_at_time_1_the_file_holds_nothing_and_gives_the_mean():
    found = scheme_of(bell(40), "direct", lossy=1.0)
    file = found.encode(torch.from_numpy(drawn(20, 40)).long())
    assert len(file) < 12
    assert (found.decode(file, 20) == 32).all()


@bug("the estimate of other examples is announced", Direct, "given", lambda self, examples: examples)
def test_a_file_gives_the_same_estimate_each_time_and_in_parts():
    """Chunks are of 7 examples, so that those of one are decoded as they were announced."""
    model, x = bell(40), drawn(20, 40)
    file = coded(model, x, lossy=0.45, chunk=7)
    got = answer(model, file)
    assert got is not None
    assert file == coded(model, x, lossy=0.45, chunk=7)
    assert equal(got, iw.decompress(model, file))
    assert equal(got[[19, 2, 8]], iw.decompress(model, file, only=[19, 2, 8]))
    header = opened(file, "file").header
    assert header["config"]["lossy"] == 0.45
    rmse = math.sqrt(np.square(got.astype(float) - x).mean())
    assert header["loss"]["rmse"] == pytest.approx(rmse)
    assert 1 < rmse < SPREAD


def test_the_error_of_examples_is_in_decibels_of_their_span():
    """One example is off by 2 everywhere, one by 1 in a fifth of its entries, and one not at all."""
    x = np.full((3, 2, 5), 8, np.uint8)
    y = x + np.array([[[2] * 5] * 2, [[1, 0, 0, 0, 0]] * 2, [[0] * 5] * 2], np.uint8)
    loss = Loss.of(model_of(levels_spec("NHW", (2, 5), "uint8", 17)).units, x, y)
    assert loss.psnr(loss.most) == pytest.approx(20 * math.log10(8))
    assert loss.psnr(loss.rmse) == pytest.approx(10 * math.log10(16**2 / 1.4))
    assert str(loss) == "PSNR 22.6 dB, by example 18.1 to inf; RMSE 1.18 of 16"
    assert str(Loss.of(model_of(levels_spec("NHW", (2, 5), "uint8", 17)).units, x, x)) == "nothing was lost"


# Faults


def small_file():
    model, x = bell(6), drawn(100, 6)
    return model, coded(model, x, lossy=0.4, chunk=50)


def answer(model, file):
    try:
        return iw.decompress(model, bytes(file))
    except CodecError:
        return None


@bug("what was decoded is not checked", archive, "_sum", lambda held: bytes(8))
def test_damage_and_other_numbers_are_noticed(monkeypatch):
    """A flipped bit, a missing end, another time in the header, and a network that errs where no probe looks."""
    model, file = small_file()
    for bit in np.random.default_rng(0).integers(0, 8 * len(file), 60).tolist():
        damaged = bytearray(file)
        damaged[bit // 8] ^= 1 << bit % 8
        assert answer(model, damaged) is None
    assert answer(model, file[:-1]) is None
    found = opened(file, "file")
    parts = [bytes(read()) for read in found.parts(found.header["lengths"])]
    for lossy in (None, 0.35, 1.0):
        found.header["config"]["lossy"] = lossy
        assert answer(model, sealed(found.header, parts)) is None
    estimate = Direct.estimate
    monkeypatch.setattr(Direct, "estimate", lambda *words: estimate(*words) + 1)
    assert answer(model, file) is None


@pytest.mark.parametrize(
    ("model", "x", "options", "need"),
    [
        (bell(6), drawn(20, 6), {"mode": "bits-back"}, "need mode direct, and a network that predicts levels"),
        (model_of(real_spec("ND", (3,), "f8")), np.ones((2, 3)), {}, "need mode direct, and a network that predicts"),
        (bell(6), drawn(20, 6), {"lossy": 1.5}, "lossy: got 1.5, need a number >= 0 and <= 1"),
    ],
    ids=["bits-back", "no levels", "no time"],
)
def test_what_cannot_be_lost_is_refused_in_one_line(model, x, options, need):
    with pytest.raises(ConfigError) as error:
        iw.compress(model, x, **{"lossy": 0.3, **options})
    assert str(error.value).startswith("lossy: got")
    assert need in str(error.value)
    assert "\n" not in str(error.value)


def test_what_cannot_be_read_in_part_is_refused(monkeypatch):
    model, x = bell(6), drawn(100, 6)
    files = {"as it is": iw.compress(model, x[:2]), "bits-back": coded(model, x, mode="bits-back", steps=2)}
    for words, file in files.items():
        with pytest.raises(ConfigError, match=f"data: got a file .*{words}"):
            list(progressive(model, file))
    monkeypatch.setattr(Chunks, "_packed", lambda self, integers: b"")
    with pytest.raises(ConfigError, match="zlib"):
        list(progressive(model, coded(model, x)))
