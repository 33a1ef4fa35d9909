"""What the page shows is what the command beside it writes, bit for bit."""

import base64
import csv
import io
import shlex

import numpy as np
import pytest
from PIL import Image

from inkwash.commands.cli import main
from inkwash.core.errors import ConfigError, DataError
from inkwash.studio import questions
from inkwash.studio.questions import QUESTIONS, question
from inkwash.studio.subject import Subject
from inkwash.training.run import load


def answered(run, name, **options):
    return list(question(name, options).answer(Subject(run)))


def array(bytes_):
    return np.load(io.BytesIO(base64.b64decode(bytes_)), allow_pickle=False)


def commanded(part, folder, monkeypatch, *more):
    """Run the command of an answer in a folder, where it writes."""
    monkeypatch.chdir(folder)
    name, *words = shlex.split(part["command"])
    assert name == "inkwash"
    main([*words, "--out", "out", *more])


@pytest.mark.parametrize("walk", [{}, {"steps": 4}, {"sampler": "ddim", "eta": 0.5, "steps": 3, "grid": "karras"}])
def test_samples_are_those_of_the_command_and_of_python(runs, walk, tmp_path, monkeypatch, capsys):
    *frames, end = answered(runs / "pictures", "walk", n=3, seed=5, walk=walk, frames=4)
    commanded(end, tmp_path, monkeypatch)
    assert np.array_equal(array(end["array"]), np.load(tmp_path / "out" / "samples.npy"))
    assert [frame["time"] for frame in frames] == sorted((frame["time"] for frame in frames), reverse=True)
    assert base64.b64decode(end["film"]).startswith(b"GIF89a")
    names = {}
    exec(end["python"], names)  # noqa: S102
    assert np.array_equal(array(end["array"]), names["x"])


def test_inpainting_is_that_of_the_command_and_keeps_what_is_known(runs, tmp_path, monkeypatch, capsys):
    hidden = np.zeros((4, 6), int)
    hidden[1:3, 2:5] = 1
    (end,) = answered(
        runs / "pictures", "inpaint", example=1, hidden="".join(map(str, hidden.ravel())), n=3, walk={"steps": 4}
    )
    np.save(tmp_path / "mask.npy", array(end["files"]["mask.npy"]))
    commanded(end, tmp_path, monkeypatch)
    draws = array(end["array"])
    assert np.array_equal(draws, np.load(tmp_path / "out" / "draws.npy"))
    example = Subject(runs / "pictures").example(1)
    assert np.array_equal(draws[:, hidden == 0], np.broadcast_to(example[hidden == 0], (3, 18)))


def test_a_picture_of_ones_own_is_read_as_the_command_reads_it(runs, tmp_path, monkeypatch, capsys):
    """Black is the least level and white the largest, as in the same picture given to `inkwash inpaint` as a PNG."""
    pixels = np.linspace(0, 255, 24).round().astype(np.uint8).reshape(4, 6)
    hidden = "1" * 6 + "0" * 18
    (end,) = answered(
        runs / "pictures", "inpaint", pixels=base64.b64encode(pixels).decode(), hidden=hidden, n=2, walk={"steps": 3}
    )
    for name, content in end["files"].items():
        np.save(tmp_path / name, array(content))
    Image.fromarray(pixels).save(tmp_path / "own.png")
    commanded(end, tmp_path, monkeypatch)
    assert np.array_equal(array(end["array"]), np.load(tmp_path / "out" / "draws.npy"))
    end["command"] = end["command"].replace("example.npy", "own.png")
    commanded(end, tmp_path, monkeypatch)
    assert np.array_equal(array(end["array"]), np.load(tmp_path / "out" / "draws.npy"))


@pytest.mark.parametrize("options", [{}, {"t": 0.5}], ids=["codes", "noisy"])
def test_interpolation_is_that_of_the_command(runs, options, tmp_path, monkeypatch, capsys):
    (end,) = answered(runs / "pictures", "interpolate", a=0, b=2, n=3, **options)
    commanded(end, tmp_path, monkeypatch)
    assert np.array_equal(array(end["array"]), np.load(tmp_path / "out" / "interpolation.npy"))


def test_the_bound_of_an_example_is_that_of_the_model(runs):
    own, others = answered(runs / "pictures", "likelihood", example=2, terms=10)
    subject = Subject(runs / "pictures")
    expected = load(runs / "pictures").bound(subject.example(2)[None], terms=10, seed=0).bits_per_dim
    assert own["total"] == pytest.approx(float(expected[0]))
    names = {}
    exec(others["python"], names)  # noqa: S102
    assert own["total"] == float(names["b"].bits_per_dim[0])
    assert sum(own["per_time"]) == pytest.approx(own["parts"]["diffusion"])
    assert 0 <= others["above"] <= 1


def test_the_places_of_an_example_add_up_to_its_bound(runs):
    own, others = answered(runs / "pictures", "likelihood", example=2, terms=10)
    places, dims = own["places"], 4 * 6
    assert np.shape(places["all"]) == np.shape(others["usual"]) == (4, 6)
    assert np.sum(places["all"]) == pytest.approx(own["total"] * dims, rel=1e-4)
    stretches = [np.sum(each["places"]) for each in places["stretches"]]
    assert sum(stretches) == pytest.approx(own["parts"]["diffusion"] * dims, rel=1e-4)
    assert (places["stretches"][0]["start"], places["stretches"][-1]["end"]) == (own["times"][0], own["times"][-1])
    assert np.sum(others["usual"]) == pytest.approx(np.mean(others["others"]) * dims, rel=1e-4)


def test_a_picture_of_ones_own_has_its_bound(runs):
    """Held-out example 2, sent as a picture, has the bound that it has by its number."""
    levels = Subject(runs / "pictures").example(2)
    pixels = base64.b64encode(levels.tobytes()).decode()
    own, others = answered(runs / "pictures", "likelihood", pixels=pixels, terms=10)
    assert own["total"] == answered(runs / "pictures", "likelihood", example=2, terms=10)[0]["total"]
    assert np.array_equal(array(others["files"]["example.npy"]), levels)


def test_columns_of_a_row_add_up_to_its_bound(runs):
    own, _ = answered(runs / "rows", "likelihood", example=1, terms=10)
    assert own["places"]["names"] == ["age", "sex"]
    assert sum(own["places"]["all"]) == pytest.approx(own["total"], abs=1e-4)


def test_bits_by_time_are_the_mean_of_examples(runs):
    (part,) = answered(runs / "pictures", "by-time", terms=10)
    subject = Subject(runs / "pictures")
    expected = load(runs / "pictures").bound(subject.held_out, terms=10, seed=0)
    diffusion = expected.in_bits_per_dim(expected.diffusion.mean())
    assert sum(part["per_time"]) == pytest.approx(float(diffusion))
    assert part["examples"] == len(subject.held_out)


def test_the_models_own_steps_are_capped_too(runs, monkeypatch):
    monkeypatch.setattr(questions, "_MOST_STEPS", 9)
    with pytest.raises(ConfigError, match=r"steps: got \d+, need at most 9 on this page"):
        answered(runs / "pictures", "walk", n=1)


def test_cells_are_filled_as_the_model_and_the_command_impute(runs, tmp_path, monkeypatch, capsys):
    (end,) = answered(runs / "rows", "fill", cells=["", "f"], n=40, seed=3)
    subject = Subject(runs / "rows")
    draws = load(runs / "rows").impute(np.array([[np.nan, subject_value(subject, "sex", "f")]]), 40, seed=3)
    (age,) = end["found"]
    assert age["column"] == "age"
    assert [float(each) for each in age["quantiles"]] == pytest.approx(
        np.quantile(np.asarray(draws)[:, 0, 0], [0.05, 0.25, 0.5, 0.75, 0.95]).tolist(), rel=1e-4
    )
    (tmp_path / "row.csv").write_bytes(base64.b64decode(end["files"]["row.csv"]))
    commanded(end, tmp_path, monkeypatch)
    cells = list(csv.DictReader((tmp_path / "out" / "cells.csv").read_text().splitlines()))
    assert [float(cells[0][level]) for level in ("q5", "q25", "q50", "q75", "q95")] == pytest.approx(
        [float(each) for each in age["quantiles"]], rel=1e-4
    )
    (end,) = answered(runs / "rows", "fill", cells=["25", ""], n=40)
    assert sum(end["found"][0]["shares"].values()) == pytest.approx(1)


def subject_value(subject, column, text):
    return subject.spec.columns[column].encode(column, [text])[0]


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("walk", {"n": 65}, "n: got 65"),
        ("walk", {"steps": 4}, "steps: got an unknown option"),
        ("walk", {"walk": {"steps": 5000}}, "steps: got 5000"),
        ("walk", {"walk": {"sampler": "magic"}}, "sampler: got"),
        ("walk", {"seed": -1}, "seed: got -1"),
        ("inpaint", {"pixels": "AA=="}, "pixels: got 1 bytes"),
        ("inpaint", {"pixels": "?"}, "pixels: got other text"),
        ("inpaint", {"hidden": "01"}, "hidden: got 2 characters"),
        ("inpaint", {"hidden": "0" * 24}, "hidden: got nothing"),
        ("interpolate", {"a": 10**9}, "example: got 1000000000"),
        ("fill", {"cells": ["1"]}, "cells: got 1 cells"),
        ("forecast", {}, "run: got a model of"),
        ("import os", {}, "question: got"),
    ],
)
def test_bad_questions_are_refused_in_one_line(runs, name, options, word):
    run = "rows" if name == "fill" else "pictures"
    with pytest.raises((ConfigError, DataError), match="got") as caught:
        answered(runs / run, name, **options)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_question_describes_the_run_it_fits(runs):
    about = answered(runs / "pictures", "about")[0]
    assert (about["kind"], about["size"], about["held_out"]) == ("image", [4, 6], 4)
    assert [each["name"] for each in answered(runs / "rows", "about")[0]["columns"]] == ["age", "sex"]
    assert set(QUESTIONS) >= {"about", "walk", "inpaint", "fill"}
    rows = answered(runs / "rows", "examples", n=2)[0]["rows"]
    assert len(rows) == 2
    assert all(sex in ("01", "f") and float(age) >= 20 for age, sex in rows)
