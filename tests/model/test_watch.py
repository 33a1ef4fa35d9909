"""Films: the frames in the file are the pixels of the walk, whatever the format and the data."""

import numpy as np
import pytest
import torch
from faults import fail_at, hooked
from oracles import F64, PLANE, exact_denoiser
from PIL import Image, ImageSequence

import inkwash as iw
from inkwash.data.pictures import grid, sheet, to_pixels

LINEAR = iw.LinearSchedule()


def image_model(channels=1, levels=17, schedule=LINEAR):
    """Images of 5 x 4 with a gentle network; of 17 levels, or continuous."""
    low, high, dtype = (0.0, 16.0, "uint8") if levels else (-3.0, 3.0, "float32")
    spec = iw.data.DataSpec((channels, 5, 4), "NCHW", dtype, low, high, levels)
    transform = iw.data.Transform(spec, ((low + high) / 2,) * channels, ((high - low) / 2,) * channels)
    denoiser = iw.Denoiser(lambda x_t, t: 0.5 * x_t.tanh(), iw.Gaussian(schedule), predicts="x")
    return iw.Diffusion(denoiser, (channels, 5, 4), transform)


def filmed(model, path, frames=4, n=6, **options):
    film = iw.Film(model, path, frames, examples=4)
    states = list(film.record(model.progressive(n, seed=1, **{"steps": 8, **options})))
    film.save()
    return film, states


def frames_of(path, mode):
    with Image.open(path) as film:
        return [np.asarray(frame.convert(mode)) for frame in ImageSequence.Iterator(film)]


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_the_frames_of_a_film_are_the_pixels_of_the_walk(tmp_path, suffix):
    model = image_model()
    film, states = filmed(model, tmp_path / f"a{suffix}")
    shown = frames_of(film.path, "L")
    assert len(shown) == 4
    half = len(shown[0]) // 2
    for frame, state in zip(shown, states[1::2], strict=True):
        for part, x in ((frame[:half], state.x_s), (frame[half:], state.x)):
            data = 8 + 8 * np.clip(x[:4].numpy(), -1, 1)
            data = np.rint(data) if state.s == 0 else data
            sheets = grid(np.rint(data[:, 0] * 255 / 16).astype(np.uint8))
            assert np.abs(part.astype(int) - sheets).max() <= 1
    assert np.array_equal(shown[-1][:half], grid(to_pixels(model.transform.spec, model.sample(4, seed=1, steps=8))))


def test_colours_pass_through_webp(tmp_path):
    film, _ = filmed(image_model(channels=3), tmp_path / "a.webp")
    for got, frame in zip(frames_of(film.path, "RGB"), film.pictures(), strict=True):
        assert np.array_equal(got, frame)


def test_a_png_is_a_strip_of_all_frames(tmp_path):
    film, _ = filmed(image_model(), tmp_path / "a.png")
    (strip,) = frames_of(film.path, "L")
    assert np.array_equal(np.concatenate(np.split(strip, 4, axis=1)), np.concatenate(film.pictures()))


def test_a_film_is_played_and_then_held(tmp_path):
    film, _ = filmed(image_model(), tmp_path / "a.gif")
    with Image.open(film.path) as picture:
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]
        assert picture.info["loop"] == 0
    assert times[:-1] == [times[0]] * 3
    assert times[-1] > 5 * times[0]


@pytest.mark.parametrize(
    ("steps", "frames", "shots"), [(8, 4, 4), (8, 8, 8), (8, 100, 8), (100, 7, 7), (5, 1, 1), (10, 10, 10)]
)
def test_frames_are_spread_evenly_over_time_and_the_end_is_one(tmp_path, steps, frames, shots):
    film = iw.Film(image_model(), tmp_path / "a.gif", frames)
    times = []
    for state in film.record(image_model().progressive(1, seed=0, steps=steps)):
        if len(film.shots) > len(times):
            times.append(state.s)
    assert len(times) == shots
    assert times[-1] == 0
    assert np.ptp(np.diff([1.0, *times])) <= 1 / steps + 1e-9


def test_of_times_that_crowd_no_more_are_shown(tmp_path):
    film = iw.Film(image_model(), tmp_path / "a.gif", frames=4)
    times = torch.tensor([1.0, 0.5, 0.49, 0.48, 0.0], dtype=F64)
    list(film.record(image_model().progressive(1, seed=0, times=times)))
    assert len(film.shots) == 2


def test_particles_have_no_film(tmp_path):
    model = image_model()
    product = model * iw.Observed(np.eye(5, 4, dtype=bool), 3)
    film = iw.Film(model, tmp_path / "a.gif")
    with pytest.raises(iw.ConfigError, match="a walk without estimates"):
        list(film.record(product.progressive(1, seed=0, steps=2, method=iw.SMC(2))))


def test_estimates_are_shown_as_they_are():
    """Unlike noisy data they have the scale of clean data at every time."""
    model = image_model(levels=None, schedule=iw.KarrasSchedule())
    film = iw.Film(model, "a.gif", frames=2, examples=1)
    states = list(film.record(model.progressive(1, seed=0, steps=2)))
    np.testing.assert_allclose(film.shots[0][1], 3 * states[0].x.numpy(), rtol=1e-6)


def test_noisy_data_is_shown_at_the_scale_of_clean_data():
    """Data of mean 0 and variance 1 under a schedule whose noise grows to 80: what is shown keeps its variance."""
    model = image_model(levels=None, schedule=iw.KarrasSchedule())
    x = np.random.default_rng(0).normal(size=(400, 1, 5, 4)).astype(np.float32)
    x *= 3
    for t in (0.01, 0.5, 1.0):
        assert model.noisy_to_data(model.diffuse(x, t), t).std() == pytest.approx(3, rel=0.04)


def test_points_keep_their_axes_from_frame_to_frame(tmp_path):
    spec = iw.data.DataSpec((2,), "ND", "float64", -9.0, 9.0, None)
    model = iw.Diffusion(
        exact_denoiser(PLANE, LINEAR), (2,), iw.data.Transform(spec, (0.0, 0.0), (1.0, 1.0)), dtype=F64
    )
    film, _ = filmed(model, tmp_path / "a.gif", frames=2, n=40)
    shown = frames_of(film.path, "RGB")
    assert len({frame.shape for frame in shown}) == 1
    every = np.concatenate([data for shot in film.shots for data in shot])
    moved = sheet(spec, film.shots[0][0], among=every)
    assert not np.array_equal(moved, sheet(spec, film.shots[0][0]))
    assert np.array_equal(moved, film.pictures()[0][: len(moved)])


def test_bits_have_films(tmp_path):
    spec = iw.data.DataSpec((5,), "ND", "uint8", 0.0, 1.0, 2)
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: 0.3 + 0 * x_t, iw.Bernoulli(LINEAR))
    model = iw.Diffusion(denoiser, (5,), iw.data.Transform(spec, (0.0,) * 5, (1.0,) * 5))
    film, states = filmed(model, tmp_path / "a.gif")
    assert np.array_equal(film.shots[0][0], states[1].x_s[:4].numpy())
    grey = round(255 * float(torch.tensor(0.3).sigmoid()))
    assert grey in np.unique(film.pictures()[0])


@pytest.mark.parametrize("name", ["a.mp4", "a", "a.jpg"])
def test_another_kind_of_film_is_refused_at_once(tmp_path, name):
    with pytest.raises(iw.ConfigError, match=r"film: got .*\.gif, \.webp, \.png"):
        iw.Film(image_model(), tmp_path / name)


def test_bad_films_are_refused(tmp_path):
    for options in ({"frames": 0}, {"examples": 0}):
        with pytest.raises(iw.ConfigError, match="got 0"):
            iw.Film(image_model(), tmp_path / "a.gif", **options)
    with pytest.raises(iw.ConfigError, match="without a transform"):
        iw.Film(iw.Diffusion(exact_denoiser(PLANE, LINEAR), (2,)), tmp_path / "a.gif")


def test_nothing_recorded_is_no_film(tmp_path):
    with pytest.raises(iw.ConfigError, match="no frames"):
        iw.Film(image_model(), tmp_path / "a.gif").save()


def test_a_film_shows_16_images_or_all_points(tmp_path):
    assert iw.Film(image_model(), tmp_path / "a.gif").examples == 16
    spec = iw.data.DataSpec((2,), "ND", "float64", -9.0, 9.0, None)
    model = iw.Diffusion(
        exact_denoiser(PLANE, LINEAR), (2,), iw.data.Transform(spec, (0.0, 0.0), (1.0, 1.0)), dtype=F64
    )
    film = iw.Film(model, tmp_path / "b.gif")
    list(film.record(model.progressive(30, seed=0, steps=2)))
    assert [len(data) for shot in film.shots for data in shot] == [30] * 4


def test_a_film_is_whole_or_absent(tmp_path):
    with hooked(fail_at(0, OSError(28, "No space left on device"))), pytest.raises(iw.core.StorageError):
        filmed(image_model(), tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []
