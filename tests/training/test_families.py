"""What a family of models decides by the data, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_specs import image, vector

from inkwash.core.config import (
    AutoencoderConfig,
    Config,
    DataConfig,
    DenoiserConfig,
    NetworkConfig,
    ProcessConfig,
    TrainConfig,
)
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.options import check, first_difference, from_json, to_json
from inkwash.core.resolved import ResolvedLatentConfig, ResolvedVAEConfig
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.process.distributions import Normal
from inkwash.training.families import FAMILIES
from inkwash.training.families.coding import Coding
from inkwash.training.latents import CodeLoss
from inkwash.training.resolve import require_possible, resolve
from inkwash.training.run import Header

SPECS = {
    "vae": [vector(1), vector(20), image(1, 8, 8, levels=17), image(3, 64, 64), image(3, 5, 7, levels=None)],
    "latent": [image(1, 8, 8, levels=17), image(3, 64, 64), image(1, 1, 1), image(3, 5, 7, levels=None)],
}
CASES = [(model, spec) for model, specs in SPECS.items() for spec in specs]
RESOLVED = {"vae": ResolvedVAEConfig, "latent": ResolvedLatentConfig}


@pytest.mark.parametrize(("model", "spec"), CASES, ids=lambda case: case if isinstance(case, str) else str(case.shape))
def test_nothing_is_left_open_and_comes_back_from_json(model, spec):
    config = resolve(Config("x", model=model), spec)
    check(config)
    assert type(config) is RESOLVED[model]
    assert resolve(config, spec) == config
    assert from_json(RESOLVED[model], to_json(config)) == config
    open_options = {name for name, value in vars(config.autoencoder).items() if value is None}
    assert open_options == ({"stages", "steps"} if model == "vae" else set())


@pytest.mark.parametrize(("model", "spec"), CASES, ids=lambda case: case if isinstance(case, str) else str(case.shape))
def test_what_is_built_decodes_what_it_encodes(model, spec):
    """At the shape of the data, and with a mass or a density for every example."""
    spec = replace(spec, low=0.0, high=(spec.levels or 6) - 1.0)
    data = np.random.default_rng(0).integers(0, spec.levels or 5, size=(4, *spec.shape)).astype(spec.dtype)
    transform = fit_transform(spec, data)
    config = resolve(replace(Config("x", model=model), autoencoder=AutoencoderConfig(width=8)), spec)
    family = FAMILIES[model]
    trained = family.build(config, transform, ConditionSpec())
    found = family.model(config, transform, trained, ConditionSpec())
    assert found.bound(data, **({"steps": 2} if model == "latent" else {})).total.isfinite().all()
    assert found.decode(found.encode(data)).shape == data.shape


def test_the_lesson_is_the_bound_at_one_draw():
    """With the divergence and the likelihood of torch's own normal laws."""
    spec = image(1, 4, 4, levels=None)
    data = np.random.default_rng(1).normal(size=(6, 1, 4, 4)).astype(spec.dtype)
    transform = fit_transform(spec, data)
    config = resolve(Config("x", model="vae", autoencoder=AutoencoderConfig(width=8, kl_weight=0.25)), spec)
    trained = FAMILIES["vae"].build(config, transform, ConditionSpec())
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    x, noise = transform.to_model(data), torch.randn(6, *trained.latent)
    code, log_var = trained.encoder(x).chunk(2, 1)
    q = torch.distributions.Normal(code, (0.5 * log_var).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum((1, 2, 3))
    mean, spread = trained.decoder(code + q.stddev * noise).chunk(2, 1)
    p = torch.distributions.Normal(mean, (spread.exp() + trained.output.least_var).sqrt())
    loss = CodeLoss(0.25).loss(trained, x, noise)
    torch.testing.assert_close(loss, (0.25 * kl - p.log_prob(x).sum((1, 2, 3))) / 16)
    assert isinstance(trained.decoding(noise), Normal)


def test_the_noise_of_an_autoencoder_has_the_shape_of_its_latents():
    config = resolve(Config("x", model="vae"), vector(5))
    transform = fit_transform(vector(5), np.random.default_rng(0).normal(size=(9, 5)))
    trained = FAMILIES["vae"].build(config, transform, ConditionSpec())
    times, (noise,) = Coding(CodeLoss()).draw(trained, FAMILIES["vae"].proposal(config), (7, 5), torch.Generator())
    assert noise.shape == (7, *trained.latent)
    assert times.weight.tolist() == [1.0] * 7


MISSING = DataSpec((2,), "ND", "float32", -1.0, 1.0, None, missing=(True, False))
REFUSED = [
    (Config("x", autoencoder=AutoencoderConfig(width=8)), vector(2), "autoencoder.width: got 8"),
    (Config("x", model="vae", process=ProcessConfig(steps=7)), vector(2), "process.steps: got 7"),
    (Config("x", model="vae", denoiser=DenoiserConfig("eps")), vector(2), "denoiser.predicts: got eps"),
    (Config("x", model="vae", network=NetworkConfig(width=8)), vector(2), "network.width: got 8"),
    (Config("x", model="vae", train=TrainConfig(objective="edm")), vector(2), "train.objective: got edm"),
    (Config("x", model="vae", train=TrainConfig(times="uniform")), vector(2), "train.times: got uniform"),
    (Config("x", model="vae", data=DataConfig(labels="y")), vector(2), "data.labels: got y"),
    (
        Config("x", model="vae", autoencoder=AutoencoderConfig(stages="joint")),
        vector(2),
        "autoencoder.stages: got joint",
    ),
    (Config("x", model="vae", autoencoder=AutoencoderConfig(steps=3)), vector(2), "autoencoder.steps: got 3"),
    (Config("x", model="vae", autoencoder=AutoencoderConfig(factor=2)), vector(2), "autoencoder.factor: got 2"),
    (Config("x", model="vae", autoencoder=AutoencoderConfig(factor=3)), image(1, 8, 8), "autoencoder.factor: got 3"),
    (
        Config("x", model="vae", autoencoder=AutoencoderConfig(output="levels")),
        image(1, 8, 8, levels=None),
        "autoencoder.output: got levels",
    ),
    (Config("x", model="vae"), MISSING, "model: got vae, and data with missing values"),
    (Config("x", model="latent"), vector(2), "model: got latent, and vector 2"),
    (Config("x", model="latent", denoiser=DenoiserConfig("mixture")), image(1, 8, 8), "denoiser.predicts: got mixture"),
    (Config("x", model="latent", autoencoder=AutoencoderConfig(steps=5000)), image(1, 8, 8), "autoencoder.steps: got"),
    (
        Config("x", model="latent", autoencoder=AutoencoderConfig(stages="joint", steps=5)),
        image(1, 8, 8),
        "autoencoder.steps: got 5",
    ),
    (
        Config("x", model="latent", autoencoder=AutoencoderConfig(stages="joint", kl_weight=0.5)),
        image(1, 8, 8),
        "autoencoder.kl_weight: got 0.5",
    ),
    (
        Config("x", model="latent", autoencoder=AutoencoderConfig(stages="joint"), train=TrainConfig(objective="edm")),
        image(1, 8, 8),
        "train.objective: got edm",
    ),
    (
        Config(
            "x", model="latent", autoencoder=AutoencoderConfig(stages="joint"), train=TrainConfig(times="log-normal")
        ),
        image(1, 8, 8),
        "train.times: got log-normal",
    ),
    (Config("x", model="latent", denoiser=DenoiserConfig("levels")), image(1, 8, 8), "denoiser.predicts: got levels"),
]


@pytest.mark.parametrize(("config", "spec", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
def test_what_a_family_has_no_use_for_is_refused(config, spec, words):
    with pytest.raises(ConfigError) as error:
        resolve(config, spec)
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)


def test_options_that_no_data_goes_with_are_refused_before_it_is_read():
    with pytest.raises(ConfigError, match=r"^process\.steps: got 7"):
        require_possible(Config("x", model="vae", process=ProcessConfig(steps=7)))
    require_possible(Config("x", model="latent"))


def test_another_family_is_the_first_difference():
    a, b = (resolve(Config("x", model=model), image(1, 8, 8)) for model in ("vae", "latent"))
    assert first_difference(a, b) == ("model", "vae", "latent")


@pytest.mark.parametrize("model", ["vae", "diffusion", "gan"])
def test_a_header_of_another_family_is_damaged(model):
    config = to_json(resolve(Config("x", model="latent"), image(1, 8, 8)))
    with pytest.raises(CheckpointError, match="a header that does not fit"):
        Header.from_json({"config": {**config, "model": model}}, "here")


@pytest.mark.parametrize(("factor", "patch"), [(None, 2), (1, 1), (2, 1), (8, 2)])
def test_patches_fit_into_the_factor_that_is_set(factor, patch):
    config = Config("x", model="latent", autoencoder=AutoencoderConfig(factor=factor))
    found = resolve(config, image(3, 64, 64)).autoencoder
    assert (found.factor, found.patch) == (factor or 4, patch)


def test_a_decoder_of_levels_is_trained_on_its_bound():
    spec = image(1, 8, 8, levels=17)
    weights = [
        resolve(Config("x", model="latent", autoencoder=AutoencoderConfig(output=output)), spec).autoencoder.kl_weight
        for output in (None, "levels", "shared")
    ]
    assert weights[0] == weights[1] == 1 > weights[2]
