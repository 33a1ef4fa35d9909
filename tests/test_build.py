"""What is left open is chosen from the data, and what does not fit it is refused."""

import math
from dataclasses import replace

import pytest
import torch

from inkwash.build import build_denoiser, build_model, build_network, count_parameters, describe_network, resolve
from inkwash.config import Config, DenoiserConfig, NetworkConfig, TrainConfig, check, from_json, to_json
from inkwash.data import DataSpec, Transform
from inkwash.denoise import Clipped
from inkwash.errors import ConfigError


def image(*shape, levels=256):
    return DataSpec(shape, "NCHW", "uint8" if levels else "float32", 0.0, 255.0, levels)


def vector(size, levels=None):
    return DataSpec((size,), "ND", "float32", -1.0, 1.0, levels)


SPECS = [vector(1), vector(2), vector(17), image(1, 8, 8, levels=17), image(3, 5, 7), image(4, 1, 1), image(1, 32, 32)]
SPECS += [image(1, 1, 40), image(3, 9, 64, levels=None)]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "x".join(map(str, spec.shape)))
def test_nothing_is_left_open_and_all_of_it_is_valid(spec):
    config = resolve(Config("x"), spec)
    check(config)
    for section in (config.network, config.train, config.denoiser):
        unused = {"multipliers", "attention"} if config.network.kind == "mlp" else set()
        assert {name for name, value in vars(section).items() if value is None} <= unused
    assert resolve(config, spec) == config
    assert from_json(Config, to_json(config)) == config


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "x".join(map(str, spec.shape)))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_network_maps_data_to_data(spec, dropout):
    config = resolve(Config("x", network=NetworkConfig(width=8, depth=1, dropout=dropout)), spec)
    network = build_network(config.network, spec, 0).eval()
    x = torch.randn(3, *spec.shape)
    assert network(x, torch.tensor([-5.0, 0.0, 5.0])).shape == x.shape
    assert count_parameters(network) == sum(p.numel() for p in network.state_dict().values())
    assert "parameters" in describe_network(config.network, network)


def test_what_is_given_is_kept():
    network = NetworkConfig("unet", 16, 3, (1, 3), (True, False), 0.1)
    train = TrainConfig(steps=7, batch_size=5, learning_rate=0.5)
    config = resolve(Config("x", network=network, train=train, denoiser=DenoiserConfig(clip=False)), image(1, 8, 8))
    assert (config.network, config.train, config.denoiser.clip) == (network, train, False)


@pytest.mark.parametrize(
    ("network", "spec", "named"),
    [
        (NetworkConfig("mlp"), image(1, 8, 8), "network.kind"),
        (NetworkConfig("unet"), vector(2), "network.kind"),
        (NetworkConfig(multipliers=(1, 2)), vector(2), "network.multipliers"),
        (NetworkConfig(attention=(True,)), vector(2), "network.attention"),
        (NetworkConfig(attention=(True,)), image(1, 8, 8), "network.attention"),
        (NetworkConfig(multipliers=(1, 2, 4), attention=(True, False)), image(1, 8, 8), "network.attention"),
        (NetworkConfig(width=20), image(1, 8, 8), "network.width"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_by_name(network, spec, named):
    with pytest.raises(ConfigError, match=f"^{named}: got "):
        resolve(Config("x", network=network), spec)


def test_only_data_with_levels_can_be_clipped():
    clipping = Config("x", denoiser=DenoiserConfig(clip=True))
    with pytest.raises(ConfigError, match=r"^denoiser\.clip: got True"):
        resolve(clipping, vector(2))
    assert resolve(clipping, image(1, 4, 4)).denoiser.clip
    assert resolve(Config("x"), image(1, 4, 4)).denoiser.clip
    assert not resolve(Config("x"), vector(2)).denoiser.clip


def test_weights_are_a_function_of_the_seed_alone():
    spec = image(1, 8, 8)
    config = resolve(Config("x", network=NetworkConfig(width=8, depth=1)), spec).network
    torch.manual_seed(1)
    first, state = build_network(config, spec, 0), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = build_network(config, spec, 0), build_network(config, spec, 1)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_model_is_what_the_config_says(schedule):
    spec = image(1, 8, 8, levels=17)
    spec = replace(spec, high=16.0)
    config = resolve(Config("x", network=NetworkConfig(width=8, depth=1)), spec)
    config = replace(config, process=replace(config.process, schedule=schedule, steps=100))
    model = build_model(config, Transform(spec, (8.0,), (8.0,)), build_network(config.network, spec, 0))
    assert model.steps == 100
    assert model.shape == (1, 8, 8)
    assert isinstance(model.denoiser, Clipped)
    estimate = model.denoiser(torch.randn(4, 1, 8, 8) * 50, 0.5)
    assert estimate.x.abs().max() <= 1
    free = build_denoiser(config, build_network(config.network, spec, 0))
    assert free(torch.randn(4, 1, 8, 8) * 50, 0.5).x.abs().max() > 1
    alpha_var, var = free.process.schedule.alpha(0.37) ** 2, free.process.schedule.sigma(0.37) ** 2
    assert math.isclose(float(alpha_var + var), 1, rel_tol=1e-9)
