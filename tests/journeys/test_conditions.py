"""Conditions in numbers and images, from closed forms to files, the command line and evaluation."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import torch
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, without_pictures
from oracles import F64
from scipy.stats import norm
from torch.nn import functional as F

import inkwash as iw
from inkwash.core.display import Display
from inkwash.core.errors import RunInterrupted
from inkwash.core.randomness import Slots
from inkwash.data.dataset import load_dataset
from inkwash.evaluation import subject
from inkwash.model.shares import draw_in_shares
from inkwash.training.fit import fit
from inkwash.training.run import Run, load


def branches(n, seed):
    """Rows of x and of y, which is normal about one of two branches that part as x grows."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 1, n)
    return x, 2 * random.choice([-1, 1], n) * x + random.normal(0, 0.1 + 0.2 * x)


@pytest.mark.slow
def test_a_conditional_density_is_learned(tmp_path):
    """Within a tenth of a nat of the known law, and not above it."""
    table = pandas.DataFrame(dict(zip("xy", branches(3000, 0), strict=True)))
    options = {"network": iw.NetworkConfig(width=64, depth=2, dropout=0.0), "train": iw.TrainConfig(steps=1000)}
    iw.train(
        table, tmp_path / "run", data=iw.DataConfig(condition="x"), display=Display(False), report=False, **options
    )
    x, y = branches(300, 1)
    truth = np.log(0.5 * sum(norm(sign * 2 * x, 0.1 + 0.2 * x).pdf(y) for sign in (1, -1)))
    gap = truth - iw.load(tmp_path / "run").log_prob(y[:, None], given=x).value.numpy()
    assert -4 * gap.std() / 300**0.5 < gap.mean() < 0.1


# Data


RANDOM = np.random.default_rng(4)
ANGLE = RANDOM.normal(3.0, 2.0, 100)
POINTS = np.stack([np.sin(ANGLE), 2 * ANGLE + 1], 1).astype(np.float32)
IMAGES = RANDOM.integers(0, 5, (100, 4, 6)).astype(np.uint8)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    path = tmp_path_factory.mktemp("npz") / "data.npz"
    spoilt = ANGLE.copy()
    spoilt[17] = np.inf
    more = {
        "short": ANGLE[:-1],
        "spoilt": spoilt,
        "text": ANGLE.astype(str),
        "one": np.ones(100),
        "none": np.ones((100, 0)),
    }
    more |= {"image": IMAGES, "both": np.stack([ANGLE, ANGLE**2], 1), "things": ANGLE.astype(object)}
    np.savez(path, x_train=POINTS, angle=ANGLE, **more)
    return path


SPOILT = {
    "short": "condition short: got shape (99,), need numbers for each of 100 examples",
    "none": "condition none: got shape (100, 0)",
    "spoilt": "condition spoilt[17]: got inf, need finite numbers",
    "text": "condition text: got values of type <U",
    "one": "condition one, column 0: got the constant 1",
    "image": "condition image: got shape (100, 4, 6), need a number or vector for each vector",
    "things": "need a complete .npz file of numbers",
    "angel": "got 'angel', need the name of one of its arrays: x_train, angle",
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_condition_that_does_not_fit_is_refused_before_anything_is_written(npz, name, tmp_path, capsys):
    assert run_cli(train_words(npz, tmp_path / "run", "--data.condition", name)) == 3
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert SPOILT[name] in printed
    assert not (tmp_path / "run").exists()


ELSEWHERE = {
    "train digits --data.condition y": (3, "data.condition: got 'y', need digit, as digits has"),
    "train diabetes --data.condition age,x": (3, "data.condition: got 'age,x', need age, sex, bmi"),
    "train DATA.npy --data.condition y": (3, "data.condition: got 'y', need the name of an .npy or IDX file beside"),
    "train digits --data.shrink 3": (3, "data.shrink: got 3, of a image 1x8x8"),
    "train wine --data.shrink 2": (3, "data.shrink: got 2, of a table row 13"),
    "train digits --data.condition digit --data.shrink 2": (
        2,
        "--data.shrink: got 2, need no --data.condition beside it",
    ),
    "train digits --data.shrink 1": (2, "data.shrink: got 1, need an integer >= 2"),
}


@pytest.mark.parametrize("words", ELSEWHERE)
def test_conditions_where_there_are_none_are_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("DATA.npy", POINTS)
    code, message = ELSEWHERE[words]
    assert run_cli(words.split()) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "DATA.npy"]


def test_columns_of_a_table_become_the_condition():
    finished_run = load_dataset("diabetes")
    data = load_dataset("diabetes", iw.DataConfig(condition="progression,age"))
    names = list(finished_run.spec.columns)
    assert list(data.spec.columns) == [name for name in names if name not in ("progression", "age")]
    assert np.array_equal(data.given.data, finished_run.data[:, [names.index("progression"), names.index("age")]])
    assert np.array_equal(data.data, finished_run.data[:, 1:-1])
    one = load_dataset("diabetes", iw.DataConfig(condition="bmi"))
    assert np.array_equal(one.conditions(np.array([3, 1]))["given"], finished_run.data[[3, 1], 2])
    assert len({each.fingerprint() for each in (finished_run, data, one)}) == 3


def test_a_file_beside_holds_the_condition(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    for name, shape, kind in (
        ("same", (100, 4, 6), "image"),
        ("colour", (100, 4, 6, 3), "image"),
        ("v", (100, 4), "vector"),
    ):
        given = RANDOM.normal(size=shape)
        np.save(tmp_path / f"{name}.npy", given)
        data = load_dataset(tmp_path / "x.npy", iw.DataConfig(condition=f"{name}.npy"))
        assert np.array_equal(data.given.data, given)
        assert data.given.spec.kind == kind
    np.save(tmp_path / "odd.npy", np.zeros((100, 3, 6)))
    with pytest.raises(iw.DataError, match=r"condition odd.npy: got sides \(3, 6\), need sides that divide .*\(4, 6\)"):
        load_dataset(tmp_path / "x.npy", iw.DataConfig(condition="odd.npy"))


POOLS = {"NHW": F.avg_pool2d, "NHWC": F.avg_pool2d, "NL": F.avg_pool1d, "NDHW": F.avg_pool3d}


@pytest.mark.parametrize("layout", POOLS)
def test_shrunk_examples_are_means_over_blocks(layout, tmp_path):
    shape = {"NHW": (5, 4, 6), "NHWC": (5, 4, 6, 3), "NL": (5, 8), "NDHW": (5, 2, 4, 6)}[layout]
    x = RANDOM.normal(2.0, 3.0, shape)
    data = load_dataset(x, iw.DataConfig(layout=layout, shrink=2))
    first = torch.from_numpy(data.spec.to_channels_first(x))
    means = torch.from_numpy(data.given.spec.to_channels_first(data.given.data))
    torch.testing.assert_close(means.double(), POOLS[layout](first, 2), rtol=1e-6, atol=1e-6)


# Training


@pytest.fixture(scope="module", params=["angle", "both", "shrink"])
def run(request, npz, tmp_path_factory):
    folder, name = tmp_path_factory.mktemp("given"), request.param
    np.save(folder / "images.npy", IMAGES)
    source, option = (folder / "images.npy", "--data.shrink") if name == "shrink" else (npz, "--data.condition")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        words = train_words(source, folder / "run", option, 2 if name == "shrink" else name)
        assert run_cli([*words, "--train.monitor-every", 6]) == 0
    return Run(folder / "run")


def test_a_run_stores_its_condition_fitted_on_the_training_part(run):
    transform, train_rows, given = run.model().condition.given, run.split()[0], run.dataset().given
    z = transform.to_model(given.data[train_rows]).double()
    axes = [0, *range(2, z.ndim)]
    assert torch.allclose(z.mean(axes), torch.zeros((), dtype=F64), atol=1e-6)
    assert torch.allclose(z.var(axes, correction=0), torch.ones((), dtype=F64), atol=1e-5)
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["held_out_bound"]["total"] != summary["held_out_given_condition_bound"]["total"]


def test_samples_are_drawn_for_what_is_given(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = run.dataset().given.data[:4]
    np.save("given.npy", given)
    assert run_cli(["sample", run.path, "-n", 4, "--given", "given.npy", "--guidance", 2.5, "--steps", 5]) == 0
    expected = run.model().sample(4, seed=0, given=given, guidance=2.5, steps=5)
    assert np.array_equal(np.load("samples/samples.npy"), expected)
    assert run_cli(["sample", run.path, "-n", 3, "--given", "given.npy", "--out", "other"]) == 3
    assert re.search(r"^error: given: got shape \(4,.*one for each of 3 examples", capsys.readouterr().err)
    assert run_cli(["inspect", run.path]) == 0
    assert re.search(r"\ncondition  (angle|both|shrink 2): ", capsys.readouterr().out)


def test_processes_share_what_is_given(run, monkeypatch):
    model, shares = load(run.path), []
    given = np.resize(run.dataset().given.data, (150, *model.condition.given.spec.data_shape))
    monkeypatch.setattr(Slots, "rows", 56)
    monkeypatch.setattr("accelerate.utils.gather_object", lambda share: shares.extend(share) or [np.zeros(0)])
    for index in range(2):
        place = SimpleNamespace(process_index=index, num_processes=2, is_main_process=index == 0)
        draw_in_shares(model, 150, Display(shown=False), place=place, seed=3, steps=3, given=given)
    assert np.array_equal(np.concatenate(shares), model.sample(150, seed=3, steps=3, given=given))
    with pytest.raises(iw.DataError, match=r"one for each of 149 examples"):
        draw_in_shares(model, 149, Display(shown=False), place=place, given=given)


@pytest.mark.quick_cases("shrink")
def test_evaluation_asks_under_the_conditions_of_held_out_examples_that_are_not_compared(run, monkeypatch):
    drawn = []

    def noted(model, n, display, **options):
        drawn.append(options)
        return model.sample(n, **options)

    monkeypatch.setattr(subject, "draw_in_shares", noted)
    assert run_cli(["evaluate", run.path, "--examples", 18, "--bound-terms", 2, "--steps", 3]) == 0
    result = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    held_rows = run.split()[1]
    assert np.array_equal(drawn[0]["given"], run.dataset().given.data[held_rows[10:20]])
    assert result["bound"]["held_out"]["examples"] == 10
    assert result["bound"].keys() == {"held_out", "train", "held_out_given_condition"}
    assert result["labels"] is None


CHANGES = {
    "no condition": lambda header: header["condition"].update(given=None),
    "a short scale": lambda header: header["condition"]["given"]["scale"].append(1.0),
    "a scale of zero": lambda header: header["condition"]["given"].update(scale=[0.0]),
    "an unknown key": lambda header: header["condition"]["given"].update(extra=1),
    "levels": lambda header: header["condition"]["given"]["spec"].update(levels=2),
    "other sides": lambda header: header["condition"]["given"]["spec"].update(layout="NHW", shape=[1, 3, 5]),
    "text": lambda header: header["condition"].update(given="angle"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_header_of_another_condition_is_refused(run, tmp_path, change):
    copy = shutil.copytree(run.path, tmp_path / "copy")
    header = json.loads((newest(copy) / "header.json").read_bytes())
    CHANGES[change](header)
    for path in (copy / "checkpoints").iterdir():
        rewrite(path, {"header.json": json.dumps(header).encode()})
    with pytest.raises(iw.CheckpointError, match="a header that does not fit"):
        iw.load(copy)


def test_a_stopped_run_goes_on_bit_identically(npz, tmp_path, quick):
    config = replace(tiny(npz, condition_dropout=0.3), data=iw.DataConfig(condition="both"))
    finished_run = fit(config, tmp_path / "finished").path
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "cut")
    assert digests(fit(config, tmp_path / "cut").path) == digests(finished_run)
    assert digests(fit(tiny(npz), tmp_path / "plain").path) != digests(finished_run)


def test_another_condition_is_other_data(tmp_path, quick):
    np.savez(tmp_path / "data.npz", x_train=POINTS, y=ANGLE)
    config = replace(tiny(tmp_path / "data.npz", steps=1), data=iw.DataConfig(condition="y"))
    fit(config, tmp_path / "run")
    np.savez(tmp_path / "data.npz", x_train=POINTS, y=np.roll(ANGLE, 1))
    with pytest.raises(iw.ConfigError, match="other data than before"):
        fit(config, tmp_path / "run")
