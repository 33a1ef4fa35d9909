"""Samples on disk are those of the library, and the description of a run is right."""

import json

import numpy as np
import pytest
from faults import fail_at, hooked, newest, points, tiny, without_pictures
from PIL import Image

from inkwash.commands.inspect import inspect_run
from inkwash.commands.options import SamplingOptions
from inkwash.commands.output import Output
from inkwash.commands.sample import sample_to_folder
from inkwash.core.config import SamplingConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError, StorageError
from inkwash.data.pictures import grid, to_pixels
from inkwash.model.shares import draw_in_shares
from inkwash.model.watch import draw
from inkwash.sample.ancestral import DDIM
from inkwash.training.fit import fit
from inkwash.training.run import load


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of images and one of points."""
    folder = tmp_path_factory.mktemp("runs")
    images = np.random.default_rng(0).normal(size=(12, 4, 6, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        fit(tiny(folder / "images.npy", steps=2), folder / "images")
        fit(tiny(points(folder / "points.npy"), steps=2), folder / "points")
    return folder


def test_drawing_is_sampling(runs):
    model = load(runs / "points")
    for options in ({"seed": 1}, {"seed": 2, "steps": 4}, {"seed": 3, "sampler": DDIM(0.5)}):
        assert np.array_equal(draw(model, 5, Display(shown=False), **options), model.sample(5, **options))


def test_images_are_written_one_by_one_and_all_in_one(runs, tmp_path, capsys):
    sample_to_folder(runs / "images", 3, SamplingOptions(seed=5), Output(tmp_path / "a" / "b"))
    expected = load(runs / "images").sample(3, seed=5)
    assert np.array_equal(np.load(tmp_path / "a" / "b" / "samples.npy", allow_pickle=False), expected)
    assert expected.shape == (3, 4, 6, 3)
    names = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert names == {"samples.npy", "samples.png", "000000.png", "000001.png", "000002.png"}
    with Image.open(tmp_path / "a" / "b" / "000002.png") as picture:
        assert (picture.size, picture.mode) == ((6, 4), "RGB")
    assert f"next      inkwash evaluate {runs / 'images'}" in capsys.readouterr().out


def test_points_are_written_as_an_array_and_a_picture(runs, tmp_path):
    sample_to_folder(runs / "points", 4, SamplingOptions(), Output(tmp_path).silent())
    assert {path.name for path in tmp_path.iterdir()} == {"samples.npy", "samples.png"}
    with Image.open(tmp_path / "samples.png") as picture:
        picture.verify()


class Place:
    """One of several processes that run side by side."""

    def __init__(self, index, count):
        self.process_index, self.num_processes, self.is_main_process = index, count, index == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [5, 150])
def test_processes_share_the_slots_and_give_what_one_gives(runs, monkeypatch, n, count):
    """Each takes its share in turn here, of at most three slots; together they draw every example once."""
    model, shares = load(runs / "images"), []
    monkeypatch.setattr("accelerate.utils.gather_object", lambda share: shares.extend(share) or [np.zeros(0)])
    for index in range(count):
        draw_in_shares(model, n, Display(shown=False), place=Place(index, count), seed=3)
    assert len(shares) == min(count, -(-n // 56))
    assert np.array_equal(np.concatenate(shares), model.sample(n, seed=3))


def test_a_film_shows_the_first_of_the_samples_that_are_drawn(runs, tmp_path, capsys):
    options = SamplingOptions(seed=5, walk=SamplingConfig(steps=10))
    sample_to_folder(runs / "images", 70, options, Output(tmp_path), film="film.webp", frames=5)
    assert f"film      {tmp_path / 'film.webp'}" in capsys.readouterr().out
    assert np.array_equal(np.load(tmp_path / "samples.npy"), load(runs / "images").sample(70, seed=5, steps=10))
    spec = load(runs / "images").transform.spec
    expected = grid(to_pixels(spec, np.load(tmp_path / "samples.npy")[:16]))
    with Image.open(tmp_path / "film.webp") as film:
        assert film.n_frames == 5
        film.seek(4)
        assert np.array_equal(np.asarray(film.convert("RGB"))[: len(expected)], expected)


def test_a_film_of_another_kind_is_refused_before_anything_is_drawn(runs, tmp_path):
    for film in ("film.mpeg", "samples.png", "000002.png", "deep/film.png", "../film.png"):
        with pytest.raises(ConfigError, match="film: got"):
            sample_to_folder(runs / "points", 4, SamplingOptions(), Output(tmp_path).silent(), film=film)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_written_samples(runs, tmp_path):
    for k in range(8):
        out = tmp_path / f"{k}"
        with hooked(fail_at(k, OSError(28, "No space left on device"))), pytest.raises(StorageError):
            sample_to_folder(runs / "points", 4, SamplingOptions(), Output(out).silent())
        if (out / "samples.npy").exists():
            assert np.load(out / "samples.npy").shape == (4, 2)
        if (out / "samples.png").exists():
            with Image.open(out / "samples.png") as picture:
                picture.verify()


def test_a_run_is_described_as_it_is(runs, capsys):
    inspect_run(runs / "points", Display())
    printed = capsys.readouterr().out
    header = json.loads((newest(runs / "points") / "header.json").read_text())
    assert f"sha256 {header['fingerprint'][:12]}" in printed
    assert "40 examples" in printed
    assert f"torch {header['versions']['torch']}" in printed
    assert str(newest(runs / "points")) in printed


def test_an_unfinished_run_says_how_to_go_on(runs, capsys):
    import shutil

    run = shutil.copytree(runs / "points", runs / "unfinished")
    shutil.rmtree(newest(run))
    inspect_run(run, Display())
    printed = capsys.readouterr().out
    assert "step       0 of 2" in printed
    assert f"--out {run}" in printed
