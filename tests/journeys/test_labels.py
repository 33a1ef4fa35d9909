"""Data with labels, from the command line to samples and evaluation."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from blobs import KINDS, LABELS, blobs_of, labelled
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, tree, without_pictures

import inkwash as iw
from inkwash.commands.inpaint import hide
from inkwash.core.errors import RunInterrupted
from inkwash.data.dataset import load_dataset
from inkwash.training.fit import fit
from inkwash.training.run import Run

SPEC, CONDITION = iw.data.DataSpec((2,), "ND", "float32", -9.0, 9.0, None), iw.data.ConditionSpec(("cat", "dog", "emu"))


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """An archive of the points with labels, and with arrays that are none."""
    path = tmp_path_factory.mktemp("npz") / "data.npz"
    spoilt = LABELS.copy()
    spoilt[17] = " "
    more = {"short": LABELS[:-1], "real": np.zeros(100), "spoilt": spoilt, "one": np.ones(100, int)}
    more |= {"each": np.arange(100), "table": np.zeros((100, 1), int), "things": LABELS.astype(object)}
    np.savez(path, x_train=KINDS["points"][0], y_train=LABELS, **more)
    return path


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    data, options = KINDS[request.param]
    folder = tmp_path_factory.mktemp("labels")
    np.savez(folder / "data.npz", x_train=data, y_train=LABELS)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        words = train_words(folder / "data.npz", folder / "run", "--data.labels", "y_train", *options)
        assert run_cli([*words, "--train.monitor-every", 6]) == 0
    return Run(folder / "run")


def test_the_classes_and_choices_are_stored(run):
    header = run.header()
    assert header.condition == CONDITION
    assert header.config.train.condition_dropout == 0.1
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary.keys() == {"held_out_bound", "held_out_given_condition_bound", "bound_terms", "seconds"}
    assert summary["held_out_bound"]["total"] != summary["held_out_given_condition_bound"]["total"]


def test_samples_are_drawn_for_a_label(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["sample", run.path, "-n", 4, "--label", "dog", "--guidance", 2.5, "--steps", 5]) == 0
    model = run.model()
    drawn = np.load("samples/samples.npy")
    assert np.array_equal(drawn, model.sample(4, seed=0, label="dog", guidance=2.5, steps=5))
    assert np.array_equal(drawn[:2], model.sample(2, seed=0, label=["dog", "dog"], guidance=2.5, steps=5))


@pytest.mark.slow_cases("images")
def test_every_command_that_draws_takes_a_label(run, tmp_path):
    """What it writes is what the library draws under the label."""
    model, (_, held_out) = run.model(), run.split()
    a, b = run.dataset().data[held_out[:2]]
    options = {"label": "dog", "guidance": 2.5, "steps": 3, "seed": 0}
    words = ["--label", "dog", "--guidance", 2.5, "--steps", 3, "-n", 3, "--out", tmp_path]
    assert run_cli(["relatives", run.path, 0, "--t", 1.0, *words]) == 0
    drawn = np.load(tmp_path / "relatives.npy")[0]
    assert np.array_equal(drawn, model.relatives(a, 1.0, 3, **options))
    if model.process.lattice is None:
        assert run_cli(["interpolate", run.path, 0, 1, "--t", 1.0, *words]) == 0
        drawn = np.load(tmp_path / "interpolation.npy")
        assert np.array_equal(drawn, model.interpolate(a, b, 3, t=1.0, **options))
        assert run_cli(["interpolate", run.path, 0, 1, "-n", 3, "--label", "dog", "--out", tmp_path]) == 0
        drawn = np.load(tmp_path / "interpolation.npy")
        assert np.array_equal(drawn, model.interpolate(a, b, 3, label="dog"))
    if model.transform.spec.size:
        assert run_cli(["inpaint", run.path, 0, "--hide", "left", *words]) == 0
        seen = iw.Observed(hide("left", model.transform.spec, 0), a) * iw.Condition("dog", guidance=2.5)
        assert np.array_equal(np.load(tmp_path / "draws.npy"), (model * seen).sample(3, seed=0, steps=3))


@pytest.mark.parametrize("words", ["--label cow", "--guidance 2", "--label dog --guidance -1"])
def test_what_cannot_be_asked_for_ends_the_command(run, words, tmp_path, capsys):
    before = tree(tmp_path)
    assert run_cli(["sample", run.path, "--out", tmp_path / "drawn", *words.split()]) == 2
    assert capsys.readouterr().err.startswith("error: --label" if "cow" in words else "error: --guidance")
    assert tree(tmp_path) == before


def test_inspection_says_what_can_be_asked_for(run, capsys):
    assert run_cli(["inspect", run.path]) == 0
    assert "labels     y_train: cat, dog, emu\n" in capsys.readouterr().out


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.quick_cases("points-2.0", "images-1.0")
def test_evaluation_reports_with_and_without_labels(run, guidance, capsys):
    words = ["--examples", 18, "--bound-terms", 3, "--steps", 3, "--guidance", guidance]
    assert run_cli(["evaluate", run.path, *words]) == 0
    result = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    model, data, asked = run.model(), run.dataset(), run.split()[1][10:]
    names = np.array(data.condition.classes)[data.labels[asked] - 1]
    assert np.array_equal(names, LABELS[asked])
    bounds = result["bound"]
    assert bounds.keys() == {"held_out", "train", "held_out_given_condition"}
    assert bounds["held_out"]["total"] != bounds["held_out_given_condition"]["total"]
    assert result["labels"]["per_sample"] == 10
    if data.spec.levels is None:
        assert result["labels"]["held_out"] == 1.0  # the blobs lie far apart
        nearest = blobs_of(model.sample(10, seed=0, steps=3, label=names, guidance=guidance))
        assert result["labels"]["samples"] == pytest.approx(np.mean(nearest == names), abs=0.12)
    assert f"(guidance {guidance:g})" in capsys.readouterr().out


def test_a_model_without_labels_is_evaluated_without(tmp_path, capsys, quick):
    np.save(tmp_path / "data.npy", KINDS["points"][0])
    fit(tiny(tmp_path / "data.npy", steps=1), tmp_path / "run")
    assert run_cli(["evaluate", tmp_path / "run", "--guidance", 2]) == 2
    assert "--guidance: got 2.0, need 1: this model has no condition" in capsys.readouterr().err


# Labels that do not fit their data


BAD = {
    "short": "labels of shape (99,), need one for each of 100 examples",
    "table": "labels of shape (100, 1), need one for each of 100 examples",
    "real": "labels of type float64, need whole numbers, booleans or text",
    "spoilt": "need a class for each example",
    "one": "1 for every example, need labels of at least 2 classes",
    "each": "only among the held-out examples, need examples of every class to train on",
    "things": "need a complete .npz file of numbers",
    "y_tran": "got 'y_tran', need the name of one of its arrays: x_train, y_train",
}


@pytest.mark.parametrize("name", BAD)
def test_labels_that_do_not_fit_are_refused_before_anything_is_written(npz, name, tmp_path, capsys):
    assert run_cli(train_words(npz, tmp_path / "run", "--data.labels", name)) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert BAD[name] in printed
    assert name != "spoilt" or "labels spoilt[17]: " in printed
    assert not (tmp_path / "run").exists()


ELSEWHERE = {
    "train swiss-roll --data.labels digit": (3, "data.labels: got 'digit', need nothing, as swiss-roll has"),
    "train digits --data.labels y": (3, "data.labels: got 'y', need digit, as digits has"),
    "train DATA.npy --data.labels y": (3, "data.labels: got 'y', need the name of an .npy or IDX file beside DATA.npy"),
    "train digits --train.condition-dropout 0.1": (
        2,
        "--train.condition-dropout: got 0.1, need --data.labels, --data.condition or",
    ),
    "train digits --data.labels digit --train.condition-dropout 0": (2, "--train.condition-dropout: got 0"),
    "train digits --data.labels digit --train.condition-dropout 1": (2, "--train.condition-dropout: got 1"),
}


@pytest.mark.parametrize("words", ELSEWHERE)
def test_labels_where_there_are_none_are_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("DATA.npy", KINDS["points"][0])
    code, message = ELSEWHERE[words]
    assert run_cli(words.split()) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "DATA.npy"]


@pytest.mark.parametrize(("name", "labels", "classes"), [("digits", "digit", 10), ("two-moons", "moon", 2)])
def test_builtin_labels_belong_to_their_examples(name, labels, classes):
    """The nearest other example is nearly always of the same class."""
    from sklearn.neighbors import KNeighborsClassifier

    data = load_dataset(name, iw.DataConfig(labels=labels))
    assert data.condition.classes == tuple(map(str, range(classes)))
    x, numbers = data.data.reshape(len(data.data), -1), data.labels
    forward = KNeighborsClassifier(1).fit(x[::2], numbers[::2])
    assert forward.score(x[1::2], numbers[1::2]) > 0.97
    assert data.fingerprint() != load_dataset(name).fingerprint()


def test_the_phase_of_a_heartbeat_is_its_first_beat():
    data = load_dataset("heartbeat", iw.DataConfig(labels="phase"))
    assert np.array_equal(data.labels - 1, data.data.argmax(1))


# Training


@pytest.mark.parametrize("step", [2, 5])
@pytest.mark.quick_cases("5")
def test_a_stopped_run_goes_on_bit_identically(npz, tmp_path, quick, step):
    config = labelled(npz, condition_dropout=0.3)
    finished_run = fit(config, tmp_path / "finished").path
    with hooked(at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "cut")
    assert digests(fit(config, tmp_path / "cut").path) == digests(finished_run)
    assert digests(fit(tiny(npz), tmp_path / "plain").path) != digests(finished_run)


def test_other_labels_are_other_data(tmp_path, quick):
    np.savez(tmp_path / "data.npz", x_train=KINDS["points"][0], y_train=LABELS)
    config = labelled(tmp_path / "data.npz", steps=1)
    fit(config, tmp_path / "run")
    np.savez(tmp_path / "data.npz", x_train=KINDS["points"][0], y_train=np.roll(LABELS, 1))
    with pytest.raises(iw.ConfigError, match="other data than before"):
        fit(config, tmp_path / "run")
    with pytest.raises(iw.DataError, match="data that has changed"):
        Run(tmp_path / "run").dataset()


@pytest.mark.parametrize("classes", [None, ["cat"], ["cat", "cat", "emu"], ["a", "b"], "cat", [1, 2, 3]])
def test_a_header_of_other_classes_is_refused(run, tmp_path, classes):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    header = json.loads((newest(copy) / "header.json").read_bytes())
    header["condition"]["classes"] = classes
    for path in (copy / "checkpoints").iterdir():
        rewrite(path, {"header.json": json.dumps(header).encode()})
    with pytest.raises(iw.CheckpointError):
        iw.load(copy)
