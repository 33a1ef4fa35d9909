"""Data with labels, from the command line to samples and evaluation."""

import functools
import json
import os
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bugs import bug
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, tree, without_pictures

import inkwash as iw
from inkwash import evaluation, exhibits
from inkwash import training as loop
from inkwash.build import build_model, resolve
from inkwash.data import fit_transform, load_dataset
from inkwash.errors import RunInterrupted
from inkwash.fit import fit
from inkwash.inpaint import hide
from inkwash.metrics import two_sample_test
from inkwash.run import Run
from inkwash.training import Examples, draw_batch, hidden_conditions, start, training

NAMES = np.array(["cat", "dog", "emu"])
PLACES = np.array([[4.0, 0.0], [-4.0, 1.0], [0.0, -5.0]])
SPEC, CONDITION = iw.DataSpec((2,), "ND", "float32", -9.0, 9.0, None), iw.Condition(("cat", "dog", "emu"))
RANDOM = np.random.default_rng(4)
LABELS = NAMES[RANDOM.integers(0, 3, 100)]


def blobs(labels, seed=0):
    """Points around a place of their own for each label."""
    noise = np.random.default_rng(seed).normal(size=(len(labels), 2))
    return (PLACES[np.searchsorted(NAMES, labels)] + noise).astype(np.float32)


def blobs_of(points):
    """The label of the nearest place."""
    return NAMES[np.linalg.norm(points[:, None] - PLACES, axis=2).argmin(1)]


KINDS = {
    "points": (blobs(LABELS), ()),
    "images": (RANDOM.integers(0, 5, (100, 5, 6)).astype(np.uint8), ("--data.levels", 5)),
    "bits": (RANDOM.integers(0, 2, (100, 6)).astype(bool), ("--process.kind", "bernoulli")),
}


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


def labelled(source, **train):
    return replace(tiny(source, **train), data=iw.DataConfig(labels="y_train"))


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
    assert summary.keys() == {"held_out_bound", "held_out_given_condition_bound", "seconds"}
    assert summary["held_out_bound"]["total"] != summary["held_out_given_condition_bound"]["total"]


def test_samples_are_drawn_for_a_label(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["sample", run.path, "-n", 4, "--label", "dog", "--guidance", 2.5, "--steps", 5]) == 0
    model = run.model()
    drawn = np.load("samples/samples.npy")
    assert np.array_equal(drawn, model.sample(4, seed=0, label="dog", guidance=2.5, steps=5))
    assert np.array_equal(drawn[:2], model.sample(2, seed=0, label=["dog", "dog"], guidance=2.5, steps=5))


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
        seen = iw.Observed(hide("left", model.transform.spec, 0), a) * iw.Told("dog", guidance=2.5)
        assert np.array_equal(np.load(tmp_path / "draws.npy"), (model * seen).sample(3, seed=0, steps=3))


@pytest.mark.parametrize("words", ["--label cow", "--guidance 2", "--label dog --guidance -1"])
def test_what_cannot_be_asked_for_ends_the_command(run, words, tmp_path, capsys):
    before = tree(tmp_path)
    assert run_cli(["sample", run.path, "--out", tmp_path / "drawn", *words.split()]) == 2
    assert capsys.readouterr().err.startswith("error: label" if "cow" in words else "error: guidance")
    assert tree(tmp_path) == before


def test_inspection_says_what_can_be_asked_for(run, capsys):
    assert run_cli(["inspect", run.path]) == 0
    assert "labels     y_train: cat, dog, emu\n" in capsys.readouterr().out


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_evaluation_reports_with_and_without_labels(run, guidance, monkeypatch, capsys):
    def quick_test(a, b, seed):
        return two_sample_test(a, b, seed, shuffles=2)

    monkeypatch.setattr(evaluation, "two_sample_test", quick_test)
    monkeypatch.setattr(exhibits, "_MAP_SIDE", 5)
    words = ["--examples", 18, "--terms", 3, "--sampler-steps", 3, "--guidance", guidance]
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
    assert "guidance: got 2.0, need a condition to guide to" in capsys.readouterr().err


# Labels that do not fit their data


BAD = {
    "short": "labels of shape (99,), need one for each of 100 examples",
    "table": "labels of shape (100, 1), need one for each of 100 examples",
    "real": "labels of type float64, need whole numbers, booleans or text",
    "spoilt": "need the name of a class",
    "one": "1 for every example, need labels of at least 2 classes",
    "each": "among the held-out examples alone, need examples of every class to train on",
    "things": "need a whole .npz file of numbers",
    "y_tran": "got 'y_tran', need the name of one of its arrays: x_train, y_train",
}


@pytest.mark.parametrize("name", BAD)
def test_labels_that_do_not_fit_are_refused_before_anything_is_written(npz, name, tmp_path, capsys):
    assert run_cli(train_words(npz, tmp_path / "run", "--data.labels", name)) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert BAD[name] in said
    assert name != "spoilt" or "labels spoilt[17]: " in said
    assert not (tmp_path / "run").exists()


ELSEWHERE = {
    "train swiss-roll --data.labels digit": (3, "data.labels: got 'digit', need nothing, as swiss-roll has"),
    "train digits --data.labels y": (3, "data.labels: got 'y', need digit, as digits has"),
    "train DATA.npy --data.labels y": (3, "data.labels: got 'y', need the name of an .npy or IDX file beside DATA.npy"),
    "train digits --train.condition-dropout 0.1": (
        2,
        "train.condition_dropout: got 0.1, need data.labels, data.condition or",
    ),
    "train digits --data.labels digit --train.condition-dropout 0": (2, "train.condition_dropout: got 0"),
    "train digits --data.labels digit --train.condition-dropout 1": (2, "train.condition_dropout: got 1"),
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


@functools.cache
def made_state():
    """A state before training, its examples and its options."""
    data, numbers = KINDS["points"][0], np.searchsorted(NAMES, LABELS) + 1
    config = resolve(labelled("points", batch_size=30, steps=200, condition_dropout=0.3), SPEC)
    examples = Examples(data, np.arange(1, 100, 2), fit_transform(SPEC, data), CONDITION, numbers)
    return start(config, examples, torch.device("cpu")), examples, config


@pytest.fixture
def state():
    return made_state()


def batch_of(state, step, processes=1, index=0):
    first, examples, config = state
    accelerator = SimpleNamespace(num_processes=processes, process_index=index, device=torch.device("cpu"))
    return draw_batch(replace(first, step=step), examples, config.train, accelerator)


def labels_by_place_in_the_part(self, positions):
    return {"label": torch.from_numpy(self.labels[positions])}


@bug("label of another example", loop.Examples, "told", labels_by_place_in_the_part)
def test_each_example_keeps_its_label_over_epochs():
    """Each example has its own label, found from where it lies, or none."""
    for step in range(6):
        batch = batch_of(made_state(), step)
        own = np.searchsorted(NAMES, LABELS[batch.indices]) + 1
        told = batch.told["label"].numpy()
        assert ((told == own) | (told == 0)).all()
        assert 0 < (told == 0).sum() < 30


def test_a_batch_in_parts_keeps_its_labels():
    ended = []
    for rows in (30, 7):
        state, examples, config = made_state.__wrapped__()
        config = replace(config, train=replace(config.train, steps=6, micro_batch_size=rows))
        list(training(state, examples, config, Accelerator(cpu=True)))
        ended.append(state.denoiser.network.embed.condition["label"].table.weight.detach())
    torch.testing.assert_close(*ended, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_labels_are_hidden_as_often_as_asked(share):
    config = iw.TrainConfig(batch_size=50, condition_dropout=share)
    hidden = torch.stack([hidden_conditions(config, step) for step in range(400)]).double()
    assert float(hidden.mean()) == pytest.approx(share, abs=4 * (share * (1 - share) / hidden.numel()) ** 0.5)
    by_place, error = hidden.mean(0), (share * (1 - share) / 400) ** 0.5
    assert float((by_place - share).abs().max()) < 4.5 * error
    assert torch.equal(hidden_conditions(config, 7), hidden_conditions(config, 7))
    assert not torch.equal(hidden_conditions(config, 7), hidden_conditions(replace(config, seed=1), 7))


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_labels_of_one_batch(state, processes):
    whole, parts = batch_of(state, 4), [batch_of(state, 4, processes, i) for i in range(processes)]
    assert torch.equal(torch.cat([part.told["label"] for part in parts]), whole.told["label"])


def test_labels_change_nothing_else_of_a_batch(state):
    first, examples, config = state
    plain = (first, replace(examples, labels=None), config)
    with_labels, without = batch_of(state, 3), batch_of(plain, 3)
    assert torch.equal(with_labels.x, without.x)
    assert torch.equal(with_labels.noise, without.noise)
    assert torch.equal(with_labels.times.t, without.times.t)
    assert without.told == {}


def test_the_class_of_no_label_is_not_trained(state):
    first, examples, config = state
    config = replace(config, train=replace(config.train, steps=4))
    list(training(first, examples, config, Accelerator(cpu=True)))
    for denoiser in (first.denoiser, first.average):
        table = denoiser.network.embed.condition["label"].table.weight
        assert bool((table[0] == 0).all())
    assert bool(first.denoiser.network.embed.condition["label"].table.weight[1:].any())


@pytest.mark.parametrize("step", [2, 5])
def test_a_stopped_run_goes_on_bit_identically(npz, tmp_path, quick, step):
    config = labelled(npz, condition_dropout=0.3)
    whole = fit(config, tmp_path / "whole").path
    with hooked(at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "cut")
    assert digests(fit(config, tmp_path / "cut").path) == digests(whole)
    assert digests(fit(tiny(npz), tmp_path / "plain").path) != digests(whole)


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


def test_a_short_training_tells_classes_apart():
    """Without a label a sample may be of any class; a label says log 3 nats of far-apart classes of equal size."""
    asked = np.repeat(NAMES, 60)
    model = trained_on(np.tile(NAMES, 300))
    right = [np.mean(blobs_of(model.sample(180, seed=0, label=asked, guidance=w)) == asked) for w in (0.0, 1.0, 2.0)]
    assert right[0] == pytest.approx(1 / 3, abs=0.15)
    assert min(right[1:]) > 0.95
    x = blobs(asked, seed=1)
    gain = model.bound(x).total - model.bound(x, label=asked).total
    assert float(gain.mean()) == pytest.approx(np.log(3), abs=0.3)


def trained_on(labels):
    data, numbers = blobs(labels), np.searchsorted(NAMES, labels) + 1
    config = labelled(
        "blobs", steps=300, batch_size=128, learning_rate=5e-3, warmup=10, ema=0.95, condition_dropout=0.2
    )
    parts = {"denoiser": iw.DenoiserConfig("v"), "network": iw.NetworkConfig(width=32, depth=2)}
    config = resolve(replace(config, process=iw.ProcessConfig("cosine", 40), **parts), SPEC)
    transform = fit_transform(SPEC, data)
    examples = Examples(data, np.arange(len(data)), transform, CONDITION, numbers)
    state = start(config, examples, torch.device("cpu"))
    assert all(done.finite for done in training(state, examples, config, Accelerator(cpu=True)))
    return build_model(config, transform, state.average, CONDITION)
