"""A tracker records what the files of a run hold; it is off by default, and training does not depend on it."""

import json
import sys

import numpy as np
import pytest
from accelerate import tracking
from faults import Crash, at_step, digests, hooked, points, run_cli, tiny, train_words, without_pictures
from PIL import Image

from inkwash.core.options import to_json
from inkwash.training import reporter, tracker as tracker_module
from inkwash.training.fit import fit
from inkwash.training.run import Run


class Notes(tracking.GeneralTracker):
    """Stands for accelerate's tracker of wandb."""

    name = "wandb"
    requires_logging_directory = False
    every = []  # noqa: RUF012

    def __init__(self, run_name, **options):
        super().__init__()
        self.options, self.lines, self.pictures, self.values, self.finished = options, [], [], None, False
        self.every.append(self)

    def start(self):
        self.id = self.options["id"] or f"run {len(self.every)}"

    @property
    def tracker(self):
        return self

    def store_init_configuration(self, values):
        self.values = values

    def log(self, values, step):
        self.lines.append({"step": step, **values})

    def log_images(self, values, step):
        self.pictures.append((step, values["samples"]))

    def finish(self):
        self.finished = True


@pytest.fixture
def notes(monkeypatch):
    monkeypatch.setattr(Notes, "every", [])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Notes)
    monkeypatch.setattr(tracker_module, "find_spec", lambda name: name)
    return Notes.every


def test_a_tracker_has_what_the_files_have(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(reporter, "_PREVIEW_STEPS", 2)
    run = fit(tiny(points(tmp_path / "points.npy"), tracker="wandb", monitor_every=6), tmp_path / "run")
    (note,) = notes
    assert note.lines == run.metrics()
    assert [line["step"] for line in note.lines if "held_out_loss" in line] == [6, 12]
    for step, [picture] in note.pictures:
        with Image.open(run.path / "samples" / f"step-{step:09d}.png") as saved:
            assert np.array_equal(np.asarray(picture), np.asarray(saved.convert("RGB")))
    assert [step for step, _ in note.pictures] == [6, 12]
    train = to_json(run.header().config)["train"]
    assert all(note.values[f"train.{name}"] == train[name] for name in ("steps", "objective", "learning_rate"))
    assert note.finished


def test_a_resumed_run_goes_on_in_its_record(notes, tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    config = tiny(points(tmp_path / "points.npy"), tracker="wandb")

    def stop():
        raise Crash

    with hooked(at_step(8, stop)), pytest.raises(Crash):
        fit(config, tmp_path / "run", report=False)
    fit(config, tmp_path / "run", report=False)
    first, second = notes
    assert first.finished
    assert second.id == first.id
    assert [line["step"] for line in second.lines] == list(range(7, 13))


def test_training_does_not_depend_on_the_tracker(notes, tmp_path, monkeypatch):
    """The server is gone at step 3: a warning, and the same weights as without a tracker."""
    without_pictures(monkeypatch)
    source = points(tmp_path / "points.npy")

    def log(self, values, step):
        if step == 3:
            raise ConnectionError("no route\nto host")
        self.lines.append(step)

    monkeypatch.setattr(Notes, "log", log)
    with pytest.warns(UserWarning, match="^wandb: no route; training goes on without it"):
        fit(tiny(source, tracker="wandb"), tmp_path / "tracked", report=False)
    fit(tiny(source), tmp_path / "plain", report=False)
    names = ("weights", "average", "proposal", "optimizer")
    tracked, plain = digests(tmp_path / "tracked"), digests(tmp_path / "plain")
    assert {name: tracked[name] for name in names} == {name: plain[name] for name in names}
    assert notes[0].lines == [1, 2]


def test_a_tracker_that_does_not_start_is_one_line(notes, tmp_path, monkeypatch, capsys):
    def start(self):
        raise ValueError("api_key not configured\ncall wandb.login")

    monkeypatch.setattr(Notes, "start", start)
    source = points(tmp_path / "points.npy")
    assert run_cli(train_words(source, tmp_path / "run", "--train.tracker", "wandb")) == 2
    assert capsys.readouterr().err == (
        "error: --train.tracker: got wandb, which does not start (api_key not configured), need one that does; "
        "see its documentation\n"
    )


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_a_tracker_that_is_not_installed_is_one_line(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tracker_module, "find_spec", lambda name: None)
    assert run_cli(train_words(points(tmp_path / "points.npy"), tmp_path / "run", "--train.tracker", name)) == 2
    need = f"error: --train.tracker: got {name}, which is not installed, need pip install {name}\n"
    assert capsys.readouterr() == ("", need)
    assert not (tmp_path / "run").exists()


def test_by_default_there_is_no_tracker(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    before = set(sys.modules)
    run = fit(tiny(points(tmp_path / "points.npy")), tmp_path / "run", report=False)
    assert run.header().config.train.tracker == "jsonl"
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert new & {"tensorboard", "wandb", "trackio", "mlflow"} == set()
    assert not (run.path / "tracker.json").exists()


@pytest.mark.slow
def test_tensorboard_reads_back_what_the_files_have(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = tiny(points(tmp_path / "points.npy"), tracker="tensorboard", monitor_every=6)

    def stop():
        raise Crash

    with hooked(at_step(8, stop)), pytest.raises(Crash):
        fit(config, tmp_path / "run")
    fit(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    events = accumulator.EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    for name in ("loss", "grad_norm", "held_out_loss"):
        found = {event.step: event.value for event in events.Scalars(name)}
        expected = {line["step"]: line[name] for line in run.metrics() if line.get(name) is not None}
        assert found.keys() == expected.keys()
        assert np.allclose([found[step] for step in expected], list(expected.values()), rtol=1e-6)
    assert [image.step for image in events.Images("samples")] == [6, 12]
    assert json.loads((run.path / "tracker.json").read_text()) == {"tensorboard": None}
