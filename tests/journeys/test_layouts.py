"""End to end: samples come back in the dtype, layout and range of the data."""

import numpy as np
import pytest
from datafiles import npy
from faults import points, run_cli, tiny, train_words, without_pictures
from PIL import Image

from inkwash.training.fit import fit
from inkwash.training.run import load

RANDOM = np.random.default_rng(3)
KINDS = {
    "odd grey": RANDOM.integers(0, 256, (12, 5, 7)).astype(np.uint8),
    "one pixel wide": RANDOM.integers(0, 256, (12, 9, 1)).astype(np.uint8),
    "tiny": RANDOM.integers(0, 3, (12, 1, 1, 2)).astype(np.int16),
    "colour last": RANDOM.integers(0, 256, (12, 9, 6, 3)).astype(np.uint8),
    "colour first": RANDOM.integers(0, 256, (12, 3, 6, 10)).astype(np.uint8),
    "two channels": RANDOM.integers(0, 256, (12, 6, 7, 2)).astype(np.uint8),
    "sixteen bits": RANDOM.integers(0, 65536, (12, 6, 6)).astype(np.uint16),
    "black and white": RANDOM.integers(0, 2, (12, 6, 6)).astype(bool),
    "negative integers": RANDOM.integers(-5, 5, (12, 6)),
    "real images": RANDOM.normal(size=(12, 6, 5)).astype(np.float32),
    "real numbers": RANDOM.normal(size=12),
    "big-endian": RANDOM.normal(size=(12, 3)).astype(">f4"),
    "half": RANDOM.normal(size=(12, 3)).astype(np.float16),
    "two examples": RANDOM.integers(0, 256, (2, 6, 6)).astype(np.uint8),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow_cases("tiny", "colour last", "two channels", "real images", "two examples")
def test_samples_are_of_the_kind_of_the_data(tmp_path, monkeypatch, kind):
    without_pictures(monkeypatch)
    array = KINDS[kind]
    assert run_cli(train_words(npy(tmp_path, array), tmp_path / "run", "--train.steps", 2)) == 0
    x = load(tmp_path / "run").sample(5, seed=0)
    assert x.shape == (5, *array.shape[1:])
    assert x.dtype == array.dtype.newbyteorder("=")
    assert np.isfinite(x).all()
    if array.dtype.kind != "f":
        whole = {"u": (0, np.iinfo(array.dtype).max if array.dtype.kind == "u" else 0), "b": (0, 1)}
        low, high = whole.get(array.dtype.kind, (array.min(), array.max()))
        assert x.min() >= low
        assert x.max() <= high


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
@pytest.mark.quick_cases("RGBA", "I;16")
def test_folders_of_pictures_train_and_draw(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "pictures"
    place.mkdir()
    for i in range(6):
        noise = Image.effect_noise((7, 5), 90)
        image = Image.fromarray(np.asarray(noise).astype(np.uint16) * 257) if mode == "I;16" else noise.convert(mode)
        image.save(place / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert run_cli(train_words(place, "run", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 3]) == 0
    x = np.load("samples/samples.npy")
    assert x.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert x.shape == (3, 5, 7, *{"RGB": (3,), "RGBA": (4,)}.get(mode, ()))
    for i in range(3):
        with Image.open(f"samples/{i:06d}.png") as picture:
            assert picture.size == (7, 5)
            assert picture.mode == mode
            assert np.array_equal(np.asarray(picture), x[i])


def test_a_planar_builtin_trains_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(train_words("two-moons", "run", "--train.steps", 2)) == 0
    assert run_cli(["sample", "run", "-n", 7]) == 0
    assert np.load("samples/samples.npy").shape == (7, 2)
    with Image.open("samples/samples.png") as picture:
        picture.verify()


def test_fewer_examples_than_a_batch_are_reported(tmp_path, capsys):
    fit(tiny(points(tmp_path / "points.npy", 5), steps=1), tmp_path / "run")
    assert "fewer examples (4) than a batch" in capsys.readouterr().out
