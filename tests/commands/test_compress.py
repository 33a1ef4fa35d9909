"""`inkwash compress`, `decompress` and `inspect` of a compressed file, with the networks of small runs."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from faults import fail_at, fail_once, flip_bit, hooked, run_cli, train_words, tree, without_pictures
from PIL import Image

import inkwash as iw
from inkwash.codec.chunks import Chunks
from inkwash.codec.container import opened
from inkwash.codec.direct import Direct
from inkwash.commands import compress as command
from inkwash.core import storage

pytest.importorskip("constriction", reason="the codec needs the extra inkwash[compress]")


@pytest.fixture(scope="module")
def packed(home, tmp_path_factory):
    """A folder with the data of the run of images, and a file that it was compressed to."""
    folder = tmp_path_factory.mktemp("packed")
    np.save(folder / "images.npy", np.random.default_rng(2).integers(0, 17, (200, 5, 7)).astype(np.uint8))
    words = ["compress", home / "images", folder / "images.npy", "-o", folder / "x.ink", "--chunk", 150, "--steps", 4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chunks, "_packed", lambda self, integers: bytes(1 << 20))  # so that the network is needed
        assert run_cli(words) == 0
    return folder


def test_data_comes_back_in_a_fresh_process_with_other_threads(home, packed, alone):
    """The network is evaluated on one thread, whatever the process has."""
    words = [sys.executable, "-m", "inkwash", "decompress", home / "images", packed / "x.ink", "-o", "back.npy"]
    threads = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    subprocess.run(words, check=True, env={**os.environ, **threads}, capture_output=True)
    assert (alone / "back.npy").read_bytes() == (packed / "images.npy").read_bytes()


def test_a_file_of_the_command_is_one_of_the_library(home, packed):
    model, x = iw.load(home / "images"), np.load(packed / "images.npy")
    file = (packed / "x.ink").read_bytes()
    assert np.array_equal(iw.decompress(model, file), x)
    assert np.array_equal(iw.decompress(model, file, only=[20, 3]), x[[20, 3]])
    assert np.array_equal(iw.decompress(model, iw.compress(model, x, steps=3, seed=5)), x)


def test_what_the_commands_say(home, packed, alone, capsys):
    assert run_cli(["compress", home / "images", packed / "images.npy", "--steps", 4, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == ["images.npy.ink"]
    assert found["result"]["examples"] == 200
    assert found["result"]["bytes"] == (alone / "images.npy.ink").stat().st_size
    assert run_cli(["inspect", "images.npy.ink"]) == 0
    assert "200 (array |u1 (200, 5, 7)) npy images.npy" in capsys.readouterr().out
    assert run_cli(["decompress", home / "images", "images.npy.ink"]) == 0
    assert "images.npy: 7.1 kB, checked" in capsys.readouterr().out


def test_a_learned_grid_is_kept_in_the_run_and_in_the_file(home, packed, alone, capsys, monkeypatch):
    monkeypatch.setattr(Chunks, "_packed", lambda self, integers: bytes(1 << 20))
    words = ["compress", home / "images", packed / "images.npy", "-o", "x.ink", "--mode", "bits-back"]
    assert run_cli([*words, "--grid", "learned", "--steps", 3]) == 0
    assert "bits-back, 3 steps of a learned grid" in capsys.readouterr().out
    kept = json.loads((home / "images" / "grids" / "bound-3-matched.json").read_text())
    shutil.rmtree(home / "images" / "grids")
    assert opened((alone / "x.ink").read_bytes(), "file").header["times"] == kept["times"] != [1, 2 / 3, 1 / 3, 0]
    assert run_cli(["decompress", home / "images", "x.ink", "-o", "back.npy"]) == 0
    assert (alone / "back.npy").read_bytes() == (packed / "images.npy").read_bytes()
    before = tree(alone)
    assert "--steps: got nothing" in refused(capsys, 2, *words[:3], *words[5:], "--grid", "learned")
    assert "grid: got uniform, need mode bits-back" in refused(capsys, 2, *words[:3], "--grid", "uniform")
    assert tree(alone) == before


def test_what_is_lost_is_said_and_a_film_shows_what_is_read(home, packed, alone, capsys, monkeypatch):
    """The frames are those of the library, from nothing read to the end, each with its words below."""
    monkeypatch.setattr(Chunks, "_packed", lambda self, given: bytes(1 << 20))
    run, words = home / "images", ["--steps", 4, "--chunk", 150, "--lossy", 0.3]
    assert run_cli(["compress", run, packed / "images.npy", "-o", "y.ink", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    assert run_cli(["inspect", "y.ink"]) == 0
    assert f"lossy     up to time 0.3: PSNR {found['psnr']:.1f} dB" in capsys.readouterr().out
    assert run_cli(["decompress", run, "y.ink", "-o", "y.npy", "--film", "films/y.png"]) == 0
    assert f"checked, with loss: PSNR {found['psnr']:.1f} dB" in capsys.readouterr().out
    got, x = np.load("y.npy"), np.load(packed / "images.npy")
    assert np.sqrt(np.square(got.astype(float) - x).mean()) == pytest.approx(found["rmse"])
    assert 20 * np.log10(16 / found["rmse"]) == pytest.approx(found["psnr"])
    film = iw.Film(iw.load(run), "y.png")
    for bits, state in iw.codec.progressive(iw.load(run), (alone / "y.ink").read_bytes()):
        film.add(state, f"{bits:.3g} bits/dim, time {state.s:.2f}")
    assert (alone / "films" / "y.png").read_bytes() == film.content()
    frames, bare = film.pictures(), iw.Film(iw.load(run), "y.png")
    bare.shots, bare.captions = film.shots, [""] * len(film.shots)
    for frame, plain in zip(frames, bare.pictures(), strict=True):
        assert np.array_equal(frame[: len(plain), : plain.shape[1]], plain)
    assert all((frame[len(plain) :] < 100).any() for frame in frames)
    before = tree(alone)
    assert "y.png, which is there" in refused(capsys, 2, "decompress", run, "y.ink", "--film", "films/y.png")
    assert "lossy: got 0.3, need mode direct" in refused(
        capsys, 2, "compress", home / "points", home / "points.npy", *words
    )
    assert tree(alone) == before


def test_a_table_comes_back(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    rows = [f"{random.normal():.2f},{random.choice(['a', 'b'])},{random.integers(300)}" for _ in range(40)]
    (tmp_path / "table.csv").write_text("\n".join(["x,kind,n", *rows, ",a,", ""]))
    assert run_cli(train_words("table.csv", "run", "--train.steps", 2, "--process.schedule", "log-linear")) == 0
    assert run_cli(["compress", "run", "table.csv"]) == 0
    assert run_cli(["decompress", "run", "table.csv.ink", "-o", "back.csv"]) == 0
    assert (tmp_path / "back.csv").read_bytes() == (tmp_path / "table.csv").read_bytes()
    assert run_cli(["compress", "run", "table.csv", "-o", "lossy.ink", "--lossy", 0.3]) == 2


def refused(capsys, code, *words):
    """The one line of an error."""
    assert run_cli(words) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_errors_are_one_line_and_write_nothing(home, packed, alone, capsys):
    shutil.copy(packed / "x.ink", alone / "bad.ink")
    flip_bit(alone / "bad.ink", 8 * (alone / "bad.ink").stat().st_size - 9000)
    (alone / "there.npy").write_text("precious")
    before, run = tree(alone), home / "images"
    assert "damaged bytes" in refused(capsys, 10, "decompress", run, "bad.ink")
    assert "another model" in refused(capsys, 10, "decompress", home / "points", packed / "x.ink")
    assert "no compressed file" in refused(capsys, 10, "decompress", run, packed / "images.npy")
    assert "no such file" in refused(capsys, 10, "decompress", run, "nothing.ink")
    assert "nothing.ink: got no such file" in refused(capsys, 10, "inspect", "nothing.ink")
    assert "there.npy, which is there" in refused(capsys, 2, "decompress", run, packed / "x.ink", "-o", "there.npy")
    assert "no such file" in refused(capsys, 3, "compress", run, "nothing.npy")
    assert "data: got" in refused(capsys, 3, "compress", run, home / "points.npy")
    assert "without a common resolution" in refused(capsys, 3, "compress", home / "points", home / "points.npy")
    assert tree(alone) == before


def test_a_name_for_another_kind_of_file_is_refused_before_the_model_is_read(home, packed, alone, capsys, monkeypatch):
    (alone / "pictures").mkdir()
    for name, pixels in enumerate(np.load(packed / "images.npy")[:3]):
        Image.fromarray(pixels).save(alone / "pictures" / f"{name}.png")
    run = home / "images"
    assert run_cli(["compress", run, "pictures", "-o", "x.ink", "--steps", 2]) == 0
    monkeypatch.setattr(command, "load", None)
    line = refused(capsys, 2, "decompress", run, "x.ink", "-o", "back.npy")
    assert (
        line == "error: --out: got back.npy, for a folder of PNG files, need the name of a folder, such as --out back\n"
    )
    line = refused(capsys, 2, "decompress", run, packed / "x.ink", "-o", "back.csv")
    assert line == "error: --out: got back.csv, for an .npy file, need a name that ends in .npy\n"
    assert sorted(path.name for path in alone.iterdir()) == ["pictures", "x.ink"]


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_a_failing_disk_leaves_nothing(home, packed, alone, capsys, k):
    with hooked(fail_at(k, OSError(28, "No space left on device"))):
        assert run_cli(["decompress", home / "images", packed / "x.ink", "-o", "back.npy"]) == 6
    assert not (alone / "back.npy").exists()


def test_ctrl_c_ends_in_exit_130_and_leaves_nothing(home, packed, alone, capsys, monkeypatch):
    monkeypatch.setattr(Direct, "decode", lambda *content: os.kill(os.getpid(), signal.SIGINT))
    assert run_cli(["decompress", home / "images", packed / "x.ink", "-o", "back.npy"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(alone.iterdir()) == []


def test_a_signal_within_a_folder_leaves_nothing(alone):
    class Signal(BaseException):
        pass

    with hooked(fail_once(4, Signal())), pytest.raises(Signal):
        command._write(alone / "pictures", {"a.png": b"a", "more/b.png": b"b"})
    assert storage.hook("write", alone) is None
    assert list(alone.iterdir()) == []


def test_a_folder_holds_nothing_of_a_command_that_was_killed(alone):
    (alone / ".pictures.new").mkdir()
    (alone / ".pictures.new" / "old.png").write_bytes(b"old")
    command._write(alone / "pictures", {"a.png": b"a"})
    assert [path.name for path in (alone / "pictures").iterdir()] == ["a.png"]
