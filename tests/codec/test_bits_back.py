"""Bits back: chains take the bits of the bound in closed form, and examples come back whatever the network says.

`python benchmarks/codec.py` measures trained models.
"""

import math

import pytest
import torch
from bugs import bug
from closed_forms import enumerated_bound, expected_bound
from mixed_rows import model_of, rows
from networks import mlp
from oracles import F64, FOUR_BITS, PLANE, exact_bit_denoiser, exact_denoiser

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.randomness import generator

pytest.importorskip("constriction", reason="the codec needs the extra compress")

from inkwash.codec import Cells, archive, scheme_of
from inkwash.codec.bits_back import BitsBack
from inkwash.codec.chain import Chain
from inkwash.codec.container import opened
from inkwash.codec.laws import Noise
from inkwash.codec.stack import Stack, Writing, first_words

STEP = 2.0**-6


def chain_of(denoiser, shape, times):
    """A chain of bits, or of real numbers that are multiples of a step."""
    end = torch.full(shape, 10_000)
    return Chain(denoiser, times, None, Cells(-end, end, lambda index: index * STEP), shape, torch.device("cpu"))


def bits_of(chain, examples, batches=20):
    """What an example adds to a stack, in bits: the mean, and its standard error."""
    stack, taken = Stack(first_words(0, 20_000)), []
    for batch in examples.chunk(batches):
        before = stack.words
        with torch.no_grad():
            chain.push(stack, batch)
        taken.append(32 * (stack.words - before) / len(batch))
    return float(torch.tensor(taken).mean()), float(torch.tensor(taken).std()) / math.sqrt(batches)


def noise_of_its_own(self, exchange, law, known):
    """Noise that no bits on the stack decide."""
    drawn = law.draw(generator(0))
    return (drawn / self.width).round() * self.width if known is None else known


def forward_always(self, exchange, law, known):
    return self._exchange(exchange, law, known, escapes=False)


def untouched_prior(self, count):
    return self.process.marginal(torch.ones(count, *self.shape, dtype=F64), 0.5)


@bug("noise that takes no bits from the stack", Noise, "forward", noise_of_its_own)
@bug("the prior of another time", Chain, "prior", untouched_prior)
def test_bits_take_their_enumerated_bound():
    process, times = iw.Bernoulli(iw.CosineSchedule(), 0.4), iw.uniform_grid(6)
    chain = chain_of(exact_bit_denoiser(FOUR_BITS, process.schedule, process.rate), (4,), times)
    prior, diffusion, reconstruction = enumerated_bound(FOUR_BITS, process, times)
    mean, error = bits_of(chain, FOUR_BITS.draw(6000).long())
    assert mean == pytest.approx((prior + float(diffusion.sum()) + reconstruction) / math.log(2), abs=4 * error)
    assert error < 0.05


@bug("noise that takes no bits from the stack", Noise, "forward", noise_of_its_own)
@bug("the prior of another time", Chain, "prior", untouched_prior)
def test_real_numbers_take_their_bound_in_closed_form():
    """In cells of width h, -log2 h bits more for each entry than the bound on the density."""
    schedule, times = iw.CosineSchedule(), iw.uniform_grid(8)
    x = PLANE.whiten_inverse(torch.randn(6000, 2, generator=generator(1), dtype=F64))
    chain = chain_of(exact_denoiser(PLANE, schedule, "large"), (2,), times)
    pairs, reconstruction = expected_bound(PLANE, schedule, "large", times)
    prior = chain.process.marginal(x, 1.0).kl(chain.process.prior(x.shape, like=x)).mean()
    expected = float(prior + pairs.sum() + reconstruction) / math.log(2) - 2 * math.log2(STEP)
    mean, error = bits_of(chain, (x / STEP).round().long())
    assert mean == pytest.approx(expected, abs=4 * error)
    assert error < 0.15


def without_times(*words, times=None, **options):
    return scheme_of(*words, **{**options, "steps": len(times) - 1})


@bug("a uniform grid in place of the given one", archive, "scheme_of", without_times)
def test_a_file_on_a_given_grid_takes_the_bound_of_that_grid():
    """And the bits that a chunk begins with, which are less than 100 bytes."""
    schedule, times = iw.CosineSchedule(), torch.tensor([1, 0.98, 0.95, 0.3, 0.02, 0], dtype=F64)
    model = iw.Diffusion(exact_denoiser(PLANE, schedule, "large"), shape=(2,), dtype=F64)
    x = (PLANE.whiten_inverse(torch.randn(4000, 2, generator=generator(1), dtype=F64)) / STEP).round() * STEP
    file = iw.compress(model, x, times=times, chunk=4000)
    assert torch.equal(iw.decompress(model, file), x)
    pairs, reconstruction = expected_bound(PLANE, schedule, "large", times)
    expected = float(pairs.sum() + reconstruction) / math.log(2) - 2 * math.log2(STEP)
    [length] = opened(file, "file").header["lengths"]
    assert 8 * (length - 50) / len(x) == pytest.approx(expected, abs=0.2)


def absurd(x_t, t):
    """A network whose answers are of no use, and not even all finite."""
    answer = 1e30 * x_t
    answer[:, :1] = torch.nan
    return answer


def levels_model(network=None):
    lattice = iw.process.Lattice(-1.0, 1.0, 17)
    denoiser = iw.Denoiser(network or mlp(6), iw.Gaussian(iw.CosineSchedule()), predicts="eps")
    return denoiser, lattice, torch.randint(17, (70, 6), generator=generator(3))


def case_of(name):
    """A chain, and examples."""
    times, random = iw.uniform_grid(5), generator(2)
    cells = Cells(torch.full((6,), -9), torch.full((6,), 90), lambda index: index / 8)
    if name in ("levels", "absurd"):
        denoiser, lattice, examples = levels_model(absurd if name == "absurd" else None)
        return Chain(denoiser, times, lattice, Cells.of_lattice(lattice, (6,)), (6,), torch.device("cpu")), examples
    if name == "mixed":
        cells = Cells(torch.tensor([0, -400]), torch.tensor([2, 400]), lambda index: index / 64)
        data = rows(70)
        examples = torch.stack([data[:, 0], (64 * data[:, 1]).round()], 1).long()
        return Chain(model_of("uniform").denoiser, times, None, cells, (2,), torch.device("cpu")), examples
    if name == "bits":
        denoiser = iw.denoise.OddsDenoiser(mlp(6), iw.Bernoulli(iw.CosineSchedule(), 0.3))
        examples = torch.randint(2, (70, 6), generator=random)
    else:
        schedule = iw.SohlDicksteinSchedule() if name == "absorbing" else iw.CosineSchedule()
        process = iw.Categorical(schedule, (1, 3, 2), name)
        denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: 0.3 * x_t.repeat(1, 2), process)
        examples = torch.stack([torch.randint(size, (70,), generator=random) for size in process.sizes], 1)
    return Chain(denoiser, times, None, cells, tuple(examples.shape[1:]), torch.device("cpu")), examples


def pushed_in_order(self):
    for symbols, model, parameters in self._noted:
        self.stack.push(symbols, model, *parameters)


CASES = ["levels", "absurd", "mixed", "bits", "uniform", "absorbing"]


@bug("symbols pushed in the order in which they are read", Writing, "push", pushed_in_order, name="levels")
@bug("numbers outside the window that do not say so", Noise, "reverse", forward_always, name="absurd")
@pytest.mark.parametrize("name", CASES)
def test_examples_come_back(name):
    chain, examples = case_of(name)
    scheme = BitsBack(chain, 5, 16)
    try:
        found = scheme.decode(scheme.encode(examples), len(examples))
    except Exception as error:
        raise AssertionError from error
    assert torch.equal(found, examples)


def test_a_file_does_not_depend_on_threads():
    chain, examples = case_of("levels")
    files = []
    for count in (1, 2):
        torch.set_num_threads(count)
        files.append((BitsBack(chain, 5, 16).encode(examples), BitsBack(chain, 5, 16).probe))
        assert torch.get_num_threads() == count
    torch.set_num_threads(1)
    assert files[0] == files[1]


def test_the_probe_sees_the_last_bit_of_a_network():
    _, lattice, _ = levels_model()

    def probe_of(denoiser):
        model = Chain(denoiser, iw.uniform_grid(5), lattice, Cells.of_lattice(lattice, (6,)), (6,), torch.device("cpu"))
        return BitsBack(model, 0, 16).probe

    def other(x_t, t):
        return torch.nextafter(network(x_t, t), torch.tensor(9.0))

    def network(x_t, t):
        return torch.sin(3 * x_t.float())

    process = iw.Gaussian(iw.CosineSchedule())
    assert probe_of(iw.Denoiser(network, process)) == probe_of(iw.Denoiser(network, process))
    assert probe_of(iw.Denoiser(network, process)) != probe_of(iw.Denoiser(other, process))


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_a_damaged_chunk_is_noticed(place):
    """Not always, so that a container needs a checksum too: but bits that came from a seed must be there at the end."""
    chain, examples = case_of("levels")
    data = bytearray(BitsBack(chain, 5, 16).encode(examples))
    data[int(place * len(data))] ^= 4
    with pytest.raises(DataError, match="chunk"):
        BitsBack(chain, 5, 16).decode(bytes(data), len(examples))


def test_another_seed_is_noticed():
    chain, examples = case_of("bits")
    data = BitsBack(chain, 5, 16).encode(examples)
    with pytest.raises(DataError, match="seed"):
        BitsBack(chain, 6, 16).decode(data, len(examples))


def test_what_a_chunk_costs_does_not_grow():
    """The first bits are those of one example, although later batches have many: those of 600 would take 4800 bits."""
    process = iw.Bernoulli(iw.CosineSchedule(), 0.4)
    chain = chain_of(exact_bit_denoiser(FOUR_BITS, process.schedule, process.rate), (4,), iw.uniform_grid(6))
    examples = FOUR_BITS.draw(600).long()
    few, many = (8 * len(BitsBack(chain, 5, most).encode(examples)) for most in (2, 1024))
    assert many == pytest.approx(few, abs=250)


def test_real_numbers_need_cells():
    model = iw.Diffusion(exact_denoiser(PLANE, iw.CosineSchedule()), shape=(2,))
    with pytest.raises(ConfigError, match="cells"):
        scheme_of(model, "bits-back")
