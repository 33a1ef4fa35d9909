"""Augmentation: what each transformation does, that the network sees it, and that nothing of it leaks."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bugs import bug
from scipy.ndimage import affine_transform

import inkwash as iw
from inkwash.core.config import Config, DataConfig, NetworkConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.data.spec import DataSpec
from inkwash.data.transform import fit_transform
from inkwash.process.distributions import Lattice
from inkwash.training import augment, loop, prepare as prepare_module
from inkwash.training.augment import MOVES, Augmentation
from inkwash.training.build import build_network
from inkwash.training.examples import Examples
from inkwash.training.loop import draw_batch
from inkwash.training.prepare import prepare
from inkwash.training.resolve import resolve
from inkwash.training.state import start

IMAGE = DataSpec((1, 8, 8), "NHW", "uint8", 0.0, 16.0, 17)
SERIES = DataSpec((2, 9), "NLC", "float32", -3.0, 3.0, None)
TABLE = DataSpec((3,), "ND", "float32", -3.0, 3.0, None)


def some(*shape):
    return torch.randn(5, *shape, generator=torch.Generator().manual_seed(0))


def codes(*numbers):
    return torch.tensor([list(numbers)] * 5, dtype=torch.float32)


def in_order(x, source):
    return torch.nn.functional.grid_sample(x, source, padding_mode="reflection", align_corners=True)


# What each transformation does, compared with NumPy and SciPy


@pytest.mark.parametrize("reverse", [(0,), (1,), (1, 0), (0, 1), (1, 1), (0, 1, 0), (1, 0, 1)])
def test_a_flip_reverses_the_sides_that_its_code_names(reverse):
    x = some(2, *(3, 4, 5)[: len(reverse)])
    axes = [axis for axis, one in enumerate(reverse, 2) if one]
    assert np.array_equal(MOVES["flip"].apply(x, codes(*reverse)), np.flip(x.numpy(), axes))


@bug("shifted round the border", augment, "_mirrored", lambda place, side: place % side, by=(1, -2))
@pytest.mark.parametrize("by", [(0, 0), (1, -2), (-1, 0), (1, 2)])
def test_a_shift_moves_a_mirrored_picture(by):
    x = some(1, 8, 16)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect")
    expected = padded[:, :, 2 - by[0] : 10 - by[0], 2 - by[1] : 18 - by[1]]
    assert np.array_equal(MOVES["shift"].apply(x, codes(by[0] / 1, by[1] / 2)), expected)


def test_a_transposition_and_a_flip_are_a_turn_by_a_right_angle():
    x = some(3, 6, 6)
    turned = MOVES["flip"].apply(MOVES["transpose"].apply(x, codes(1)), codes(1, 0))
    assert np.array_equal(turned, np.rot90(x.numpy(), axes=(2, 3)))


@bug("sides in the wrong order", augment, "_between", in_order, size=(7, 5))
@pytest.mark.parametrize("size", [(16,), (8, 8), (7, 5), (4, 5, 6), (1, 9)])
def test_a_warp_is_an_affine_map_of_places(size):
    x, code = some(2, *size), MOVES["warp"].draw(5, size, torch.Generator().manual_seed(1))
    code[0] = 0
    steps, axes = np.array(size) - 1.0, len(size)
    warped = MOVES["warp"].apply(x, code)
    assert torch.equal(warped[0], x[0])
    for picture, moved, numbers in zip(x.numpy(), warped.numpy(), code.numpy(), strict=True):
        a, b = np.split(numbers.reshape(axes + 1, axes).astype(float), [axes])
        scaled = 0.1 * steps[:, None] * a * (steps > 0)  # half of 0.2: a side is 2 long
        matrix = np.eye(axes) + 2 * scaled / np.maximum(steps, 1)
        offset = b[0] / 2 - scaled.sum(1)
        expected = [affine_transform(channel, matrix, offset, order=1, mode="mirror") for channel in picture]
        assert moved == pytest.approx(np.array(expected), abs=1e-4)


@bug("levels in between", augment.Warp, "mixes", False)
def test_a_warped_picture_has_the_levels_of_the_data():
    values = Lattice(-1.0, 1.0, 17)
    x = values.values()[torch.randint(17, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0))].float()
    warp = Augmentation(("warp",), (8, 8), 0.5, values)
    drawn = warp.draw(100, torch.Generator().manual_seed(1))
    moved = warp.apply(x, drawn)
    clean = (drawn == 0).all(1)
    assert values.holds(moved)
    assert torch.equal(moved[clean], x[clean])
    plain = MOVES["warp"].apply(x, drawn)
    assert not values.holds(plain)
    assert float((moved - plain).abs().max()) < values.spacing / 2 + 1e-6


def test_each_example_has_a_transformation_of_its_own_that_keeps_its_values():
    x = some(1, 8, 8).expand(5, 1, 8, 8).repeat(40, 1, 1, 1)
    both = Augmentation(("flip", "shift", "transpose"), (8, 8), 0.5)
    drawn = both.draw(200, torch.Generator().manual_seed(1))
    moved = both.apply(x, drawn)
    assert all(set(m.flatten().tolist()) <= set(o.flatten().tolist()) for m, o in zip(moved, x, strict=True))
    clean = (drawn == 0).all(1)
    assert torch.equal(moved[clean], x[clean])
    assert 0 < clean.sum() < 200
    one = [both.apply(x[i : i + 1], drawn[i : i + 1]) for i in range(200)]
    assert torch.equal(torch.cat(one), moved)


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_the_share_is_how_often_a_transformation_is_met(share):
    """A flip leaves a series as it is half of the time that it is met; a shift by up to two places a fifth of it."""
    drawn = Augmentation(("flip", "shift"), (16,), share).draw(20000, torch.Generator().manual_seed(2))
    happened = (drawn != 0).double().mean(0)
    assert happened.tolist() == pytest.approx([share / 2, share * 4 / 5], abs=4 * 0.5 / math.sqrt(20000))


# What the network sees


def config_of(spec=IMAGE, **train):
    made = Config("x", network=NetworkConfig(width=8, depth=1), train=TrainConfig(**train))
    return resolve(made, spec)


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_the_network_without_the_condition_is_that_of_an_example_as_it_is(kind):
    made = Config("x", network=NetworkConfig(kind, width=8, depth=1), train=TrainConfig(augment=("flip", "shift")))
    network = build_network(resolve(made, IMAGE), IMAGE)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, level = some(1, 8, 8), torch.zeros(5)
    told = network(x, level, augmentation=torch.zeros(5, 4))
    assert torch.equal(told, network(x, level))
    assert not torch.allclose(told, network(x, level, augmentation=torch.ones(5, 4)))


def begun(spec=IMAGE, **train):
    config = config_of(spec, augment=("flip", "shift"), batch_size=16, **train)
    data = np.random.default_rng(0).integers(0, 17, (40, *spec.data_shape)).astype(spec.dtype)
    examples = Examples(data, np.arange(40), fit_transform(spec, data))
    return config, start(config, examples, torch.device("cpu")), examples


def batch_of(config, state, examples, processes=1, process=0):
    place = SimpleNamespace(num_processes=processes, process_index=process, device=torch.device("cpu"))
    return draw_batch(state, examples, config.train, place)


def test_a_batch_has_what_was_done_to_its_examples():
    config, state, examples = begun()
    batch = batch_of(config, state, examples)
    plain = examples.take(batch.indices)
    both = Augmentation(("flip", "shift"), (8, 8), 0.5)
    assert not torch.equal(batch.x, plain)
    assert torch.equal(batch.x, both.apply(plain, batch.condition["augmentation"]))


def test_what_is_done_depends_on_the_seed_and_the_step_and_not_on_the_number_of_processes():
    config, state, examples = begun()
    whole = batch_of(config, state, examples)
    parts = [batch_of(config, state, examples, 4, process) for process in range(4)]
    assert torch.equal(torch.cat([part.x for part in parts]), whole.x)
    assert torch.equal(batch_of(config, state, examples).x, whole.x)
    state.step = 1
    later = batch_of(config, state, examples)
    assert not torch.equal(later.condition["augmentation"], whole.condition["augmentation"])


# What is refused


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (TABLE, {"augment": ("flip",)}, "train.augment: got flip, and vector 3"),
        (SERIES, {"augment": ("transpose",)}, "train.augment: got transpose, and series 2x9"),
        (replace(IMAGE, shape=(1, 2, 2)), {"augment": ("shift",)}, "train.augment: got shift, and image 1x2x2"),
        (replace(IMAGE, shape=(1, 8, 7)), {"augment": ("transpose",)}, "train.augment: got transpose, and image 1x8x7"),
        (replace(IMAGE, shape=(1, 3, 3)), {"augment": ("warp",)}, "train.augment: got warp, and image 1x3x3"),
        (IMAGE, {"augment": ("flip", "flip")}, "train.augment: got flip flip, need each"),
        (IMAGE, {"augment_share": 0.1}, "train.augment_share: got 0.1, need train.augment"),
    ],
)
def test_what_data_does_not_have_is_refused(spec, options, message):
    with pytest.raises(ConfigError) as caught:
        config_of(spec, **options)
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("model", ["vae", "latent"])
def test_models_with_an_autoencoder_are_not_told_and_refuse(model):
    with pytest.raises(ConfigError, match=r"train\.augment: got flip, need --model diffusion"):
        resolve(Config("x", model=model, train=TrainConfig(augment=("flip",))), IMAGE)


def refusal(config):
    """What is refused of the options of a run, or nothing."""
    try:
        prepare(config)
    except ConfigError as error:
        return str(error)
    return ""


@bug("a picture that stays where it is", prepare_module, "require_at_rest", lambda names, size: None)
@pytest.mark.parametrize("given", ["shrink", "condition"])
def test_a_given_picture_would_not_move_along_and_is_refused(given, tmp_path):
    pictures = np.random.default_rng(0).random((10, 8, 8), np.float32)
    np.savez(tmp_path / "both.npz", x=pictures, blurred=pictures / 2, angle=pictures[:, 0, 0])
    data = DataConfig(key="x", shrink=2) if given == "shrink" else DataConfig(key="x", condition="blurred")
    config = Config(str(tmp_path / "both.npz"), data=data, train=TrainConfig(augment=("flip", "warp")))
    assert refusal(config).startswith("train.augment: got flip warp, need no data.shrink and no pictures")
    assert not refusal(replace(config, train=TrainConfig()))
    assert not refusal(replace(config, data=DataConfig(key="x", condition="angle")))


# Nothing leaks


def untold(*args, made=augment.augmented):
    return made(*args)[0], {}


@pytest.mark.slow
@bug("the network does not see it", loop, "augmented", untold)
def test_samples_are_not_transformed(tmp_path):
    """Pictures whose left half is dark: half of what training looks at is flipped, and no sample is."""
    random = np.random.default_rng(0)
    data = np.where(np.arange(6) < 3, 0, 8)[None, None] + random.integers(0, 4, (500, 6, 6))
    train = TrainConfig(300, 64, augment=("flip",), augment_share=0.9, monitor_every=300, warmup=10)
    run = iw.train(
        data.astype(np.uint8),
        tmp_path / "run",
        data=DataConfig(levels=12),
        network=NetworkConfig(width=16, depth=1, multipliers=(1,), attention=(False,)),
        train=train,
        report=False,
    )
    x = run.model().sample(200, seed=0, steps=50).astype(float)
    right = x[:, :, 3:].mean((1, 2)) > x[:, :, :3].mean((1, 2))
    assert right.mean() > 0.98
