"""Cells of a table: their figures are those of the library, they are resumed, and a cell that diverges is a result."""

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import inkwash as iw
from inkwash.commands.papers import cells
from inkwash.commands.papers.cells import Amount, Cell, View, outcome_of, outcomes
from inkwash.core.config import Config, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.core.display import Display
from inkwash.core.errors import ConfigError
from inkwash.evaluation.features import principal_components
from inkwash.evaluation.fidelity import frechet_distance
from inkwash.evaluation.metrics import two_sample_test
from inkwash.training import fit as fitting

CONFIG = Config(
    "digits",
    process=ProcessConfig("linear", 24),
    denoiser=DenoiserConfig("eps", "large"),
    network=NetworkConfig(width=8),
    train=TrainConfig(steps=4, batch_size=8, objective="simple", warmup=1, save_every=1),
)
CELL = Cell("eps", CONFIG, (View("small"), View(None, 4)))
AMOUNT = Amount(20, 3, seed=5)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells") / "eps"
    return folder, outcome_of(CELL, AMOUNT, folder)


def model_with(run, variance):
    """The model of a run, with a reverse variance, built from its parts."""
    model, inner = iw.load(run), iw.load(run).denoiser.denoiser
    other = iw.Denoiser(inner.network, inner.process, inner.predicts, variance, inner.sees)
    return model.with_denoiser(iw.Clipped(other))


@pytest.mark.parametrize(("view", "variance", "steps"), [("small", "small", 24), ("trained-4", "large", 4)])
def test_figures_are_those_of_the_library(finished, view, variance, steps):
    folder, outcome = finished
    run, figures = iw.Run(folder / "run"), outcome.figures[view]
    model, (train, held_out) = model_with(folder / "run", variance), run.split()
    data = run.dataset().data
    samples = model.sample(20, seed=5, steps=steps)
    assert figures.bound == model.bound(data[held_out[:20]], steps=steps, terms=3, seed=5).mean()
    units = [model.to_model(x).numpy() for x in (samples, data[train[:20]], data[held_out[:20]])]
    features = principal_components(model.to_model(data[train[20 : 20 + 4096]]).numpy())
    ours, floor, theirs = map(features, units)
    assert figures.frechet == pytest.approx(frechet_distance(ours, theirs), rel=1e-9)
    assert figures.floor == pytest.approx(frechet_distance(floor, theirs), rel=1e-9)
    assert figures.accuracy == two_sample_test(units[0], units[2], seed=5, shuffles=1).accuracy
    assert np.array_equal(outcome.portraits[view], samples[: cells.PORTRAITS])


def test_what_is_finished_is_neither_trained_nor_measured_again(finished, monkeypatch):
    folder, outcome = finished
    for module, name in ((fitting, "_train"), (cells, "measure")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("work that was done before"))
    again = outcome_of(CELL, AMOUNT, folder)
    assert (again.figures, again.spec, again.error) == (outcome.figures, outcome.spec, None)
    assert all(np.array_equal(again.portraits[name], rows) for name, rows in outcome.portraits.items())


def test_a_stopped_cell_continues_and_ends_alike(finished, tmp_path):
    def stopping(*arguments):
        yield from islice(training(*arguments), 2)
        raise KeyboardInterrupt

    training = fitting.training
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "training", stopping)
        with pytest.raises(KeyboardInterrupt):
            outcome_of(CELL, AMOUNT, tmp_path / "eps")
    assert iw.Run(tmp_path / "eps" / "run").header().step == 2
    one = replace(CELL, views=CELL.views[:1])
    assert outcome_of(one, AMOUNT, tmp_path / "eps").figures["small"] == finished[1].figures["small"]


def test_another_amount_is_measured_anew_from_the_same_run(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "_train", lambda *_: pytest.fail("trained again"))
    one = replace(CELL, views=(View("small"),))
    before = finished[1].figures["small"]
    assert outcome_of(one, Amount(12, 3, seed=5), finished[0]).figures["small"].bound.examples == 12
    assert outcome_of(one, AMOUNT, finished[0]).figures["small"] == before


def with_train(cell, **options):
    return replace(cell, config=replace(cell.config, train=replace(cell.config.train, **options)))


def test_other_options_are_refused_in_a_folder_with_a_run(finished):
    with pytest.raises(ConfigError, match=r"train.steps: got 5, need 4, as the run .* was started with"):
        outcome_of(with_train(CELL, steps=5), AMOUNT, finished[0])


def test_a_file_of_another_version_is_measured_anew(finished):
    folder, outcome = finished
    (folder / "small.json").write_text(json.dumps({"figures": 1}))
    assert outcome_of(CELL, AMOUNT, folder).figures == outcome.figures


def test_a_cell_that_diverges_is_a_result_and_is_not_tried_again(tmp_path, monkeypatch, capsys):
    wild = replace(with_train(CELL, steps=40, learning_rate=1e30), name="wild")
    calm = replace(CELL, views=(View(),))
    found = outcomes((wild, calm), AMOUNT, tmp_path, Display())
    assert found["wild"].figures == {}
    assert "finite numbers" in found["wild"].error
    assert found["eps"].error is None
    printed = capsys.readouterr().out
    assert f"diverged: {found['wild'].error}" in printed
    assert "cell  2/2  eps" in printed
    monkeypatch.setattr(fitting, "_train", lambda *_: pytest.fail("trained again"))
    assert outcome_of(wild, AMOUNT, tmp_path / "wild").error == found["wild"].error
    with pytest.raises(ConfigError, match=r"train.learning_rate: got 0.1"):
        outcome_of(with_train(wild, learning_rate=0.1), AMOUNT, tmp_path / "wild")
