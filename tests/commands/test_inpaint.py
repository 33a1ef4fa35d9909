"""`inkwash inpaint`: what is known comes back, the arrays are those of the library, bad input ends in one line."""

import numpy as np
import pytest
from faults import run_cli, tiny, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.commands.inpaint import hide, read_mask
from inkwash.training.fit import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of colour pictures of eight levels."""
    folder = tmp_path_factory.mktemp("inpaint")
    images = np.random.default_rng(0).integers(0, 8, (12, 4, 6, 3))
    np.save(folder / "images.npy", images)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(tiny(folder / "images.npy", steps=2), folder / "run")
    return folder / "run"


def inpaint(run, out, *words):
    return run_cli(["inpaint", run, *words, "--out", out, "-n", 3, "--steps", 2])


@pytest.mark.parametrize("hidden", ["left", "right", "top", "bottom", "random"])
def test_half_of_a_held_out_picture_is_drawn(hidden, run, tmp_path, capsys):
    assert inpaint(run, tmp_path, 1, "--hide", hidden) == 0
    model, image = iw.load(run), iw.Run(run).dataset().data[iw.Run(run).split()[1][1]]
    known = hide(hidden, model.transform.spec, 0)
    assert 0.2 < known.mean() < 0.8
    seen = iw.Observed(np.repeat(known[..., None], 3, axis=-1), image)
    draws = np.load(tmp_path / "draws.npy")
    assert np.array_equal(draws, (model * seen).sample(3, seed=0, steps=2))
    assert (draws[:, known] == image[known]).all()
    assert np.load(tmp_path / "mean.npy") == pytest.approx(draws.mean(0))
    assert np.load(tmp_path / "spread.npy") == pytest.approx(draws.astype(float).std(0))
    assert "inpainted.png" in capsys.readouterr().out
    with Image.open(tmp_path / "inpainted.png") as picture:
        assert picture.size == (9 * (3 * 7 + 1), 9 * (3 * 5 + 1))


def test_halves_are_what_they_are_called(run):
    spec = iw.load(run).transform.spec
    for name, index in (("left", (0, 0)), ("right", (0, 5)), ("top", (0, 0)), ("bottom", (3, 0))):
        assert not hide(name, spec, 0)[index]
        assert hide(name, spec, 0).sum() == 12


def test_picture_and_mask_may_be_files(run, tmp_path):
    image = np.random.default_rng(1).integers(0, 8, (4, 6, 3)).astype(np.uint8)
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3] = 255
    Image.fromarray(np.rint(image * (255 / 7)).astype(np.uint8)).save(tmp_path / "image.png")
    np.save(tmp_path / "image.npy", image)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask).convert("1").save(tmp_path / "bits.png")
    np.save(tmp_path / "mask.npy", mask > 0)
    drawn = []
    for kind, known in (("png", "mask.png"), ("npy", "mask.npy"), ("npy", "bits.png")):
        words = [tmp_path / f"image.{kind}", "--mask", tmp_path / known, "--method", "pigdm"]
        assert inpaint(run, tmp_path / f"{known}-out", *words, "--sampler", "ddim") == 0
        drawn.append(np.load(tmp_path / f"{known}-out" / "draws.npy"))
    assert np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[0], drawn[2])
    assert (drawn[0][:, 1:3] == image[1:3]).all()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([0], 2, "mask"),
        ([0, "--hide", "left", "--mask", "x.png"], 2, "mask"),
        ([99, "--hide", "left"], 3, "held out"),
        (["missing.png", "--hide", "left"], 3, "missing.png"),
        ([0, "--mask", "missing.png"], 3, "missing.png"),
        ([0, "--hide", "left", "--method", "smc", "--sampler", "ddim"], 2, "sampler"),
        ([0, "--hide", "left", "--method", "entrywise"], 2, "Entrywise"),
    ],
)
def test_what_does_not_go_together_is_one_line(words, code, message, run, tmp_path, capsys):
    assert inpaint(run, tmp_path / "out", *words) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_number_names_a_picture_of_a_run_alone(run, tmp_path, capsys):
    (*_, checkpoint) = (run / "checkpoints").iterdir()
    assert inpaint(checkpoint, tmp_path / "out", 0, "--hide", "left") == 4
    assert "a folder without checkpoints, need a run" in capsys.readouterr().err


def test_a_mask_of_greys_is_refused(tmp_path):
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(tmp_path / "mask.png")
    with pytest.raises(iw.DataError, match="two"):
        read_mask(tmp_path / "mask.png")


def test_vectors_are_refused(finished_run, tmp_path, capsys):
    assert inpaint(finished_run, tmp_path, 0, "--hide", "left") == 2
    assert "vectors" in capsys.readouterr().err


def test_every_method_has_a_name():
    from oracles import public

    assert set(iw.posterior.METHODS.values()) == set(public(iw.posterior.Method))
