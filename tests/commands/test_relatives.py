"""What `inkwash relatives` and `inkwash interpolate` write is what the library draws, of the example that was meant."""

import json

import numpy as np
import pytest
from faults import points, run_cli, tiny, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.commands.relatives import example
from inkwash.data.pictures import grid, to_pixels
from inkwash.training.fit import fit
from inkwash.training.run import Run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run of pictures with 17 levels and one of points."""
    folder = tmp_path_factory.mktemp("home")
    images = np.random.default_rng(1).integers(0, 17, (24, 5, 7)).astype(np.uint8)
    np.save(folder / "images.npy", images)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(tiny(folder / "images.npy", steps=2), folder / "images")
        fit(tiny(points(folder / "points.npy"), steps=2), folder / "points")
    return folder


def held_out(run, index):
    return np.asarray(Run(run).dataset().data[Run(run).split()[1][index]])


def test_relatives_of_a_held_out_example(home, tmp_path, capsys):
    run, words = home / "images", ["--t", "0.3", "0.9", "-n", "3", "--seed", "4", "--steps", "5"]
    assert run_cli(["relatives", run, 2, *words, "--out", tmp_path]) == 0
    assert "next      inkwash interpolate" in capsys.readouterr().out
    model, x = iw.load(run), held_out(run, 2)
    drawn = [model.relatives(x, t, 3, seed=4, steps=5) for t in (0.3, 0.9)]
    assert np.array_equal(np.load(tmp_path / "relatives.npy"), drawn)
    with Image.open(tmp_path / "relatives.png") as picture:
        rows = np.split(np.asarray(picture), 2)
    for row, t, relatives in zip(rows, (0.3, 0.9), drawn, strict=True):
        latent = model.transform.to_real(model.diffuse(x[None], t, seed=4))
        shown = np.concatenate([x[None], latent, relatives])
        assert np.array_equal(row, grid(to_pixels(model.transform.spec, shown), columns=5))


def test_relatives_on_a_learned_grid(home, tmp_path):
    run, words = home / "images", ["--t", "0.5", "-n", "2", "--steps", "3", "--grid", "learned"]
    assert run_cli(["relatives", run, 2, *words, "--out", tmp_path]) == 0
    times = json.loads((run / "grids" / "bound-3.json").read_text())["times"]
    drawn = iw.load(run).relatives(held_out(run, 2), 0.5, 2, seed=0, times=times)
    assert np.array_equal(np.load(tmp_path / "relatives.npy"), drawn[None])


@pytest.mark.parametrize("options", [{}, {"t": 0.5}, {"t": 0.5, "steps": 4, "sampler": "ddim", "eta": 0.5, "seed": 2}])
def test_interpolation_is_that_of_the_library(home, tmp_path, options):
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert run_cli(["interpolate", home / "points", 0, 1, "-n", 4, *words, "--out", tmp_path]) == 0
    a, b = (held_out(home / "points", k) for k in (0, 1))
    named = {**options, "sampler": iw.DDIM(options.pop("eta"))} if "eta" in options else options
    expected = iw.load(home / "points").interpolate(a, b, 4, **{k: v for k, v in named.items() if k != "eta"})
    assert np.array_equal(np.load(tmp_path / "interpolation.npy"), expected)
    with Image.open(tmp_path / "interpolation.png") as picture:
        picture.verify()


def test_an_example_may_be_a_file(home, tmp_path):
    run, model = home / "images", iw.load(home / "images")
    x = held_out(run, 1)
    np.save(tmp_path / "x.npy", x)
    Image.fromarray(to_pixels(model.transform.spec, x[None])[0]).save(tmp_path / "x.png")
    for name in ("1", str(tmp_path / "x.npy"), str(tmp_path / "x.png")):
        got = example(run, model, name)
        assert np.array_equal(got, x)
        assert got.dtype == x.dtype


@pytest.mark.parametrize(
    ("run", "name", "words"),
    [
        ("images", "99", "no such example, need one of the 5 held out, 0 to 4"),
        ("images", "5", "no such example, need one of the 5 held out, 0 to 4"),
        ("images", "nothing.png", "no such file, need a picture or a file such as example.npy, or the number"),
        ("images", "empty.txt", "got a .txt file, need "),
        ("points", "empty.png", "got a picture, need a file of one vector"),
        ("images", "empty.npy", "an unreadable file"),
        ("images", "empty.png", "no readable picture"),
        ("images", "small.png", "small.png: got uint8 of shape (3, 3), need those of image"),
        ("images", "colour.png", "colour.png: got uint8 of shape (5, 7, 3), need"),
        ("images", "two.npy", "two.npy: got shape (2, 5, 7), need one example, shape (5, 7)"),
    ],
)
def test_what_is_no_example_ends_in_exit_3_with_nothing_written(home, tmp_path, monkeypatch, capsys, run, name, words):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (3, 3)).save("small.png")
    Image.new("RGB", (7, 5)).save("colour.png")
    np.save("two.npy", np.zeros((2, 5, 7), np.uint8))
    for suffix in ("txt", "npy", "png"):
        (tmp_path / f"empty.{suffix}").touch()
    assert run_cli(["relatives", home / run, name, "--steps", 2]) == 3
    assert words in capsys.readouterr().err
    assert not (tmp_path / "relatives").exists()
