"""Benchmarks that need more than a run: one of GPUs, without one, and one whose law is known."""

import importlib.util
import json
import mmap
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import inkwash as iw

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@cache
def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_benchmark_of_gpus_runs_on_a_cpu_in_a_small_form(monkeypatch, tmp_path, capsys):
    """The losses of bfloat16 are close to those of float32, and each mode has figures that agree with one another."""
    gpu = benchmark("gpu")
    figures = tmp_path / "figures.json"
    words = "--device cpu --eager --width 8 --batch 2 --turns 1 --peers --json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words.split(), str(figures)])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.count("within") == 2
    results = json.loads(figures.read_text())
    assert [(each["network"], each["mode"]) for each in results] == [("inkwash", "fp32"), ("inkwash", "bf16")]
    for each in results:
        assert each["step_ms"] * each["trained_per_s"] == pytest.approx(2000)
        assert each["samples_per_s"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="the long run mounts a disk, which needs Linux")
def test_the_long_run_counts_memory_that_a_process_makes_and_no_pages_of_files(monkeypatch, tmp_path):
    """A mapped file that was read is resident, but the kernel may take its pages back at any moment."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    long_run, size = benchmark("long_run"), 1 << 25
    place, path = long_run.Place(tmp_path), tmp_path / "file"
    path.write_bytes(bytes(size))
    long_run.note_memory(place, "reader", 0)
    mapped = np.memmap(path, mode="r")
    assert mapped.sum() == 0
    long_run.note_memory(place, "reader", 1)
    made = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # and none that the process had freed
    for page in range(0, size, mmap.PAGESIZE):
        made[page] = 1
    long_run.note_memory(place, "reader", 2)
    before, read, after = ((note["rss"], note["own"]) for note in place.notes("memory"))
    assert size == pytest.approx(after[1] - read[1], rel=0.1)
    assert size == pytest.approx(read[0] - before[0], rel=0.1)
    assert abs(read[1] - before[1]) < size / 10


@pytest.mark.slow
def test_the_denoiser_of_clusters_leaves_nothing_to_predict():
    """What it is off by has mean zero, whatever it is multiplied with that is known from x_t."""
    law = benchmark("inpainting").Clusters()
    model, size = law.model(), 2000
    x = torch.from_numpy(law.sample(law.weights, size, np.random.default_rng(0)) / 8.0 - 1).reshape(-1, 1, 8, 8)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in (0.1, 0.4, 0.7, 0.95):
        x_t = model.process.diffuse(x, t, noise)
        guess = model.denoiser(x_t, t).x
        for known in (torch.ones_like(x), x_t, guess, x_t.flip(-1), guess.flip(-2)):
            each = ((x - guess) * known).mean((1, 2, 3))
            assert abs(float(each.mean())) < 4 * float(each.std()) / size**0.5


@pytest.mark.slow
def test_halves_of_a_known_law_are_covered_as_stated():
    """Draws of the posterior itself cover the truth as often as they say, whichever pixels are counted, and the sum of
    all; draws of the model with the exact denoiser do so pixel by pixel. Draws of half the spread are too sure."""
    inpainting = benchmark("inpainting")
    law = inpainting.Clusters()
    pictures = law.sample(law.weights, 400, np.random.default_rng(0))

    def found(draw, images, columns):
        each = inpainting.score(draw, pictures, images, 16)[0][:, columns]
        return each.mean(0), 4 * each.std(0, ddof=1) / images**0.5

    mean, error = found(law.exact, 400, slice(4))
    assert (abs(mean - [0.5, 0.9, 0.9, 0.9]) < error).all()
    mean, error = found(inpainting.drawn_by(law.model(), iw.PiGDM(), 40), 16, slice(2))
    assert (abs(mean - [0.5, 0.9]) < error + 0.02).all()

    def too_sure(*picture):
        draws = law.exact(*picture)
        return draws.mean(0) + 0.5 * (draws - draws.mean(0))

    mean, error = found(too_sure, 400, slice(4))
    assert (mean[1:] < 0.9 - error[1:]).all()


def test_rows_with_gaps_leave_the_benchmark_of_tables(capsys):
    """Its rows are those that pandas finds complete, and come back from standardised ones."""
    data = iw.load_dataset("shop")
    split = np.arange(300), np.arange(300, 400)
    table = benchmark("tables").Table.of(SimpleNamespace(dataset=lambda: data, split=lambda: split))
    frame = iw.data.to_frame(data.spec, data.data)
    counts = [len(frame.iloc[part].dropna()) for part in split]
    assert [len(table.train), len(table.held_out)] == counts
    assert capsys.readouterr().out == f"rows without gaps: {counts[0]} and {counts[1]} of 300 and 100\n"
    assert np.allclose(table.rounded(table.held_out), table.held_out)
    assert np.isfinite(table.held_out).all()
