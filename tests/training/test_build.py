"""Networks, denoisers, models, objectives and proposals are what resolved options say."""

import itertools
import math
import re
from dataclasses import replace

import pytest
import torch
from bugs import bug
from small_specs import image, options, usual, vector
from torch import nn

from inkwash.core.config import Config, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.core.options import check
from inkwash.data.clock import Clock
from inkwash.data.columns import Column
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import Denoiser
from inkwash.denoise.wrap import Clipped
from inkwash.nn.layers import LevelEmbedding
from inkwash.nn.levels import MixtureNet
from inkwash.nn.options import Ports
from inkwash.process.distributions import Lattice, NormalMixture
from inkwash.training import build
from inkwash.training.build import (
    build_denoiser,
    build_lattice,
    build_model,
    build_network,
    build_objective,
    build_proposal,
    count_parameters,
    describe_network,
)
from inkwash.training.objective import ContinuousBound, PairBound
from inkwash.training.resolve import resolve

SPECS = [vector(1), vector(2), vector(17), image(1, 8, 8, levels=17), image(3, 5, 7), image(4, 1, 1), image(1, 32, 32)]
SPECS += [image(1, 1, 40), image(3, 9, 64, levels=None)]
kinds = pytest.mark.parametrize("kind", [None, "transformer"])


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "x".join(map(str, spec.shape)))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("variance", [None, "learned"])
@kinds
def test_the_network_maps_data_to_what_the_denoiser_asks(spec, dropout, variance, kind):
    tiny = NetworkConfig(usual(kind, spec), width=8, depth=1, dropout=dropout)
    config = resolve(Config("x", network=tiny, denoiser=DenoiserConfig(variance=variance)), spec)
    network, x = build_network(config, spec).eval(), torch.randn(3, *spec.shape)
    asked = 2 if variance else 1
    if config.denoiser.predicts == "mixture":
        expected = (*x.shape, 3 * MixtureNet.COMPONENTS + asked - 1)
    elif config.denoiser.predicts == "levels":
        expected = (*x.shape, spec.levels + asked - 1)
    else:
        expected = (3, asked * x.shape[1], *x.shape[2:])
    assert network(x, torch.tensor([-5.0, 0.0, 5.0])).shape == expected
    fixed = {"head.log_prior", "centres", "widths"} & set(network.state_dict())
    assert count_parameters(network) == sum(p.numel() for n, p in network.state_dict().items() if n not in fixed)
    words = describe_network(config.network, spec.size, network)
    digits, million = re.search(r"([\d.,]+) (M )?parameters", words).groups()
    said = float(digits.replace(",", "")) * (1e6 if million else 1)
    assert said == pytest.approx(count_parameters(network), rel=0.05 if million else 0)
    estimate = build_denoiser(config, spec)(x, 0.5)
    assert estimate.x.shape == estimate.eps.shape == x.shape
    assert (estimate.spread is None) == (config.denoiser.variance in ("small", "large"))


def without_histogram(config, spec, condition):
    return ARRAY_NET(replace(config, denoiser=replace(config.denoiser, histogram=False)), spec, condition)


ARRAY_NET = build._array_net


@bug("an option that does not reach the network", build, "_array_net", without_histogram, histogram=True)
@pytest.mark.parametrize("histogram", [False, True])
def test_a_network_of_levels_has_a_histogram_if_the_options_say_so(histogram):
    spec = image(1, 8, 8, levels=17)
    network = build_network(resolve(Config("x", denoiser=DenoiserConfig(histogram=histogram)), spec), spec)
    assert (network.common is not None) == histogram


@pytest.mark.parametrize(
    ("examples", "steps", "dropout"),
    [(2, 300, 0.5), (100, 300, 0.5), (999, 2997, 0.5), (1000, 3000, 0.0), (1667, 5000, 0.0), (10**6, 5000, 0.0)],
)
def test_few_vectors_are_looked_at_less_long_and_with_dropout(examples, steps, dropout):
    config = resolve(Config("x"), vector(3), examples)
    assert (config.train.steps, config.network.dropout) == (steps, dropout)
    assert [m.p for m in build_network(config, vector(3)).modules() if isinstance(m, nn.Dropout)] == 4 * [dropout]
    assert resolve(config, vector(3), examples) == config
    given = Config("x", network=NetworkConfig(dropout=0.1), train=TrainConfig(steps=7))
    kept = resolve(given, vector(3), examples)
    assert (kept.train.steps, kept.network.dropout) == (7, 0.1)
    pictures = Config("x", train=TrainConfig(optimizer="adamw"))
    assert resolve(pictures, image(1, 8, 8), examples) == resolve(pictures, image(1, 8, 8))


SEEN = {
    "numbers": (vector(3), Config(denoiser=DenoiserConfig(sees="time"))),
    "pictures": (image(1, 4, 4), Config(denoiser=DenoiserConfig(sees="time"))),
    "bits": (
        vector(3, levels=2),
        Config(process=ProcessConfig(kind="bernoulli"), denoiser=DenoiserConfig(sees="time")),
    ),
}


@pytest.mark.parametrize("data", SEEN)
def test_a_network_that_sees_the_time_is_given_it_at_the_levels_that_it_embeds(data):
    spec, config = SEEN[data]
    denoiser, seen = build_denoiser(resolve(config, spec), spec), []
    (embed,) = (module for module in denoiser.modules() if isinstance(module, LevelEmbedding))
    embed.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    denoiser(torch.zeros(4, *spec.shape), torch.tensor([0.1, 0.25, 0.5, 1.0]))
    assert seen[0].tolist() == pytest.approx([-16, -10, 0, 20], abs=1e-5)


@pytest.mark.parametrize(
    ("size", "patch", "message"),
    [
        ((8, 8), None, "4x4 patches of 2x2,"),
        ((28, 28), None, "7x7 patches of 4x4,"),
        ((100,), None, "50 patches of 2,"),
        ((200,), None, "50 patches of 4,"),
        ((8, 8, 8), None, "4x4x4 patches of 2x2x2,"),
        ((1, 40), 3, "1x14 patches of 1x3, padded to 1x42,"),
        ((7, 5), None, "4x3 patches of 2x2, padded to 8x6,"),
    ],
)
def test_patches_are_few_and_the_description_names_the_padding(size, patch, message):
    spec = image(1, *size, levels=None)
    config = resolve(Config("x", network=NetworkConfig("dit", 8, 1, patch=patch)), spec)
    assert message in describe_network(config.network, size, build_network(config, spec))


def test_a_learned_variance_of_columns_is_that_of_each():
    """The prediction and the spread of an entry come from its own column: nothing else does where nothing attends."""
    spec = vector(3)
    options = {"network": NetworkConfig("transformer", 8, 1), "denoiser": DenoiserConfig(variance="learned")}
    denoiser = build_denoiser(resolve(Config("x", **options), spec), spec).double()
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += torch.randn(parameter.shape)
        denoiser.network.transformer.blocks[0].attention.leave.weight.zero_()
    x_t = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    estimate = denoiser(x_t, 0.5)
    for answer in (estimate.eps, estimate.spread):
        for i in range(3):
            (gradient,) = torch.autograd.grad(answer[0, i], x_t, retain_graph=True)
            assert (gradient[0] != 0).tolist() == [j == i for j in range(3)]


@pytest.mark.parametrize(
    ("schedule", "variance", "given", "objective", "times"),
    [
        ("learned", "large", {}, "continuous", "low-discrepancy"),
        ("learned", "large", {"times": "uniform"}, "continuous", "uniform"),
        ("learned", "free", {}, "bound", "low-discrepancy"),
        ("learned", "small", {"objective": "bound", "times": "loss-history"}, "bound", "loss-history"),
        ("learned-betas", "large", {}, "bound", "low-discrepancy"),
        ("learned-betas", "learned", {}, "bound", "low-discrepancy"),
    ],
)
def test_a_learned_schedule_is_trained_by_what_trains_it(schedule, variance, given, objective, times):
    config = Config(
        "x", process=ProcessConfig(schedule), denoiser=DenoiserConfig(variance=variance), train=TrainConfig(**given)
    )
    resolved = resolve(config, vector(2))
    assert (resolved.train.objective, resolved.train.times) == (objective, times)
    assert isinstance(build_objective(resolved, None), ContinuousBound if objective == "continuous" else PairBound)


def test_by_default_real_numbers_are_trained_alike_at_every_log_snr():
    """What a network says that is off by c costs c² at every time, and the times of a batch are even in log-SNR."""
    spec, random = vector(3), torch.Generator().manual_seed(0)
    config = resolve(Config("x"), spec)
    process = build_denoiser(config, spec).process
    times = build_proposal(config).draw(64, process.schedule, random)
    x, noise = torch.randn(2, 64, 3, generator=random, dtype=torch.float64)
    alpha, sigma = process.schedule.alpha(times.t)[:, None], process.schedule.sigma(times.t)[:, None]
    exact = sigma * x - alpha * noise  # what x and the noise give if the F of EDM is solved for
    denoiser = Denoiser(lambda seen, level: exact - 0.7, process, config.denoiser.predicts, sees="log_snr")
    loss = build_objective(config, None).loss(denoiser, x, times.t, noise)
    torch.testing.assert_close(loss * times.weight, torch.full_like(loss, 0.7**2))
    assert float(process.schedule.sigma(1 / config.process.steps)) == pytest.approx(0.01, rel=0.01)
    gaps = process.schedule.log_snr(times.t).sort().values.diff()
    assert gaps[1:-1].std() < 0.01 * gaps.mean()


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_the_first_noise_leaves_neighbouring_levels_apart(levels):
    """Of a normal around a level with the first noise, as seen at the scale of the data, the share 2 Phi(-3) passes the
    middle between neighbours."""
    config = resolve(Config("x"), image(1, 8, 8, levels=levels))
    schedule = build_denoiser(config, image(1, 8, 8, levels=levels)).process.schedule
    noise = schedule.sigma(1 / config.process.steps) / schedule.alpha(1 / config.process.steps)
    values = image(1, 8, 8, levels=levels).lattice.values()
    assert float((values[1] - values[0]) / 2 / noise) == pytest.approx(3)
    given = ProcessConfig(log_snr_first=5.0)
    assert resolve(Config("x", process=given), image(1, 8, 8, levels=levels)).process.log_snr_first == 5.0


SMALL = NetworkConfig(width=8, depth=1)
COMBINATIONS = [
    combination
    for combination in itertools.product(
        options(TrainConfig, "objective"), options(DenoiserConfig, "predicts"), options(DenoiserConfig, "variance")
    )
    if combination[2] == "small" or (combination[0] in ("bound", "hybrid") and combination[2] != "analytic")
    if combination[2] != "matched" or combination[1] in ("levels", "mixture")
]


@pytest.mark.parametrize(("objective", "predicts", "variance"), COMBINATIONS, ids=lambda name: name)
def test_every_objective_has_a_finite_gradient_with_every_prediction_and_variance(objective, predicts, variance):
    """In single precision, at every step of the grid, once the network has left its start."""
    spec = replace(vector(3, levels=7), low=0.0, high=6.0)
    denoising = DenoiserConfig(predicts, variance)
    network, train = NetworkConfig(width=8, depth=1), TrainConfig(objective=objective)
    process = ProcessConfig("cosine", 20)
    config = resolve(Config("x", process=process, denoiser=denoising, network=network, train=train), spec)
    denoiser, random = build_denoiser(config, spec), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=random)
    t = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    x = build_lattice(config, spec).values().float()[torch.randint(7, (20, 3), generator=random)]
    loss = build_objective(config, build_lattice(config, spec)).loss(
        denoiser, x, t, torch.randn(20, 3, generator=random)
    )
    assert loss.shape == (20,)
    loss.mean().backward()
    assert all(p.grad.isfinite().all() for p in denoiser.parameters())


def first_rows(self, index):
    first = slice(int(index.sum()))
    return NormalMixture(self.logits[first], self.means[first], self.var[first], self.lattice)


@bug("rows from the beginning", NormalMixture, "rows", first_rows, predicts="mixture")
@pytest.mark.parametrize("predicts", ["eps", "levels", "mixture"])
def test_the_bound_of_an_example_does_not_depend_on_those_beside_it(predicts):
    spec = replace(vector(3, levels=7), low=0.0, high=6.0)
    config = resolve(
        Config("x", process=ProcessConfig(steps=4), denoiser=DenoiserConfig(predicts), network=SMALL), spec
    )
    denoiser, random = build_denoiser(config, spec), torch.Generator().manual_seed(0)
    x = build_lattice(config, spec).values().float()[torch.randint(7, (8, 3), generator=random)]
    t, noise = (torch.arange(8).double() + 0.5).flip(0) / 8, torch.randn(x.shape, generator=random)
    bound = PairBound(4, build_lattice(config, spec))
    alone = [bound.loss(denoiser, *(part[i : i + 1] for part in (x, t, noise))) for i in range(8)]
    torch.testing.assert_close(bound.loss(denoiser, x, t, noise), torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("objective", ["bound", "hybrid"])
@pytest.mark.parametrize("variance", ["learned", "free"])
def test_a_new_network_that_predicts_the_mean_has_a_finite_gradient(objective, variance):
    """Its estimates of x lie thousands of standard deviations away, where the decoder of the first step leaves no
    mass."""
    spec = image(1, 8, 8, levels=17)
    denoising, train = DenoiserConfig("mean", variance), TrainConfig(objective=objective)
    process = ProcessConfig("linear", 250)
    config = resolve(Config("x", process=process, denoiser=denoising, network=SMALL, train=train), spec)
    denoiser, random = build_denoiser(config, spec), torch.Generator().manual_seed(0)
    t, lattice = torch.tensor([1 / 250, 0.01, 0.5, 1.0], dtype=torch.float64), build_lattice(config, spec)
    x = lattice.values().float()[torch.randint(17, (4, 1, 8, 8), generator=random)]
    loss = build_objective(config, lattice).loss(denoiser, x, t, torch.randn(x.shape, generator=random))
    loss.mean().backward()
    assert all(p.grad.isfinite().all() for p in denoiser.parameters() if p.grad is not None)


BITS = [replace(vector(5, levels=2), low=0.0), image(2, 5, 7, levels=2)]
bits = pytest.mark.parametrize("spec", BITS, ids=["vector", "image"])


@bits
def test_the_process_of_bits_leaves_open_only_what_it_does_not_have(spec):
    config = resolve(Config("x", process=ProcessConfig(kind="bernoulli"), network=SMALL), spec)
    check(config)
    assert resolve(config, spec) == config
    assert (config.process.rate, config.train.objective, config.train.times) == (0.5, "bound", "low-discrepancy")
    assert (config.denoiser.predicts, config.denoiser.variance, config.denoiser.clip) == (None, None, None)
    assert build_lattice(config, spec) == Lattice(0.0, 1.0, 2)
    kept = resolve(Config("x", process=ProcessConfig(kind="bernoulli", rate=0.2)), spec)
    assert (kept.process.rate, build_denoiser(kept, spec).process.rate) == (0.2, 0.2)


@bits
@pytest.mark.parametrize("schedule", ["linear", "cosine", "sohl-dickstein", "rectified", "zero-terminal"])
def test_bits_have_a_finite_gradient_at_every_step_of_every_schedule(spec, schedule):
    process = ProcessConfig(schedule, 30, "bernoulli", 0.3)
    config = resolve(Config("x", process=process, network=SMALL), spec)
    denoiser, random = build_denoiser(config, spec), torch.Generator().manual_seed(0)
    t = (torch.arange(30, dtype=torch.float64) + 0.5) / 30
    x = torch.randint(2, (30, *spec.shape), generator=random).float()
    noise = denoiser.process.noise(x.shape, random)
    loss = build_objective(config, build_lattice(config, spec)).loss(denoiser, x, t, noise)
    assert loss.shape == (30,)
    loss.mean().backward()
    assert all(p.grad.isfinite().all() for p in denoiser.parameters())
    assert any(bool(p.grad.any()) for p in denoiser.parameters())


@pytest.mark.parametrize("levels", [2, 5, 17, 64, 256])
def test_a_head_of_levels_says_nothing_twice(levels):
    """Log-odds count up to a constant: beside it, no column of the head is a combination of the others."""
    spec = image(1, 4, 4, levels=levels)
    head = build_network(resolve(Config("x", network=SMALL), spec), spec).head.linear.weight[:levels].double()
    columns = torch.cat([torch.ones(levels, 1), head], 1)
    assert torch.linalg.matrix_rank(columns) == columns.shape[1]


def test_what_grows_with_the_picture_and_what_does_not():
    """A head of many levels costs the network no more than one of some; large pictures come in smaller batches."""
    few, many = (image(1, 4, 4, levels=levels) for levels in (64, 256))
    sizes = {
        build_network(resolve(Config("x", network=SMALL), spec), spec).head.linear.in_features for spec in (few, many)
    }
    assert len(sizes) == 1
    small, large = (resolve(Config("x"), image(1, side, side)) for side in (8, 64))
    assert small.train.batch_size > large.train.batch_size
    assert max(small.network.multipliers) < max(large.network.multipliers)
    assert resolve(Config("x"), vector(256)).train.learning_rate > resolve(Config("x"), vector(257)).train.learning_rate


def ports_alike(*arguments, by_place):
    return Ports(*arguments)


@bug("all places alike", build, "Ports", ports_alike, levels=None)
@pytest.mark.parametrize("levels", [None, 4])
def test_where_series_have_no_frequencies_the_network_knows_each_place(levels):
    """Where all that is in sight is the same, a convolution gives the same in all places; levels need no more, as the
    frequencies of each place are added to what it gives."""
    spec = DataSpec((1, 64), "NL", "float32", 0.0, 3.0, levels)
    network = build_network(
        resolve(Config("x", network=NetworkConfig(multipliers=(1,), attention=(False,))), spec), spec
    )
    unet = network if levels is None else network.network
    nn.init.normal_(unet.leave[2].weight)
    middle = unet(torch.zeros(1, unet.enter.in_channels, 64), torch.zeros(1))[..., 28:36]
    assert bool((middle - middle[..., :1]).abs().max() < 1e-4) == (levels is not None)


def test_weights_are_a_function_of_the_seed_alone():
    spec = image(1, 8, 8)
    config = resolve(Config("x", network=NetworkConfig(width=8, depth=1)), spec)
    torch.manual_seed(1)
    first, state = build_network(config, spec), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = (build_network(replace(config, train=replace(config.train, seed=s)), spec) for s in (0, 1))
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_model_is_what_the_config_says(schedule):
    spec = image(1, 8, 8, levels=17)
    spec = replace(spec, high=16.0)
    eps = DenoiserConfig(predicts="eps")
    config = resolve(Config("x", network=NetworkConfig(width=8, depth=1), denoiser=eps), spec)
    config = replace(config, process=replace(config.process, schedule=schedule, steps=100))
    free = build_denoiser(config, spec)
    model = build_model(config, Transform(spec, (8.0,), (8.0,)), free)
    assert model.steps == 100
    assert model.shape == (1, 8, 8)
    assert isinstance(model.denoiser, Clipped)
    estimate = model.denoiser(torch.randn(4, 1, 8, 8) * 50, 0.5)
    assert estimate.x.abs().max() <= 1
    assert free(torch.randn(4, 1, 8, 8) * 50, 0.5).x.abs().max() > 1
    alpha_var, var = free.process.schedule.alpha(0.37) ** 2, free.process.schedule.sigma(0.37) ** 2
    assert math.isclose(float(alpha_var + var), 1, rel_tol=1e-9)


def test_noise_on_dates_ends_at_a_quarter_of_what_is_told_apart():
    """Of days, and of hours where the unit is shorter; a network that does not see the log-SNR sees only a number."""
    spread = 200.0
    for unit, least in (("D", 1.0), ("m", 60.0)):
        column = Column("datetime64[s]", clock=Clock(unit, 0.0, spread * least))
        spec = DataSpec((2,), "ND", "float64", 0.0, 1.0, None, {"when": column, "x": Column("float64")})
        config = resolve(Config("x", network=SMALL), spec)
        first = math.exp(-config.process.log_snr_first / 2)
        assert first * spread == pytest.approx(0.25)
        assert "which sees the day, week and year" in describe_network(config.network, (), build_denoiser(config, spec))
        blind = resolve(Config("x", network=SMALL, denoiser=DenoiserConfig(sees="time")), spec)
        assert "sees the day" not in describe_network(blind.network, (), build_denoiser(blind, spec))
