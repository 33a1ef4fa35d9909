"""Tables of numbers, categories and missing cells, from the command line to samples, completion and evaluation."""

import csv
import json
import os
import shutil
import signal
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from faults import at_step, digests, hooked, newest, rewrite, run_cli, tiny, train_words, without_pictures

import inkwash as iw
from inkwash.core.errors import RunInterrupted
from inkwash.data.frames import to_frame
from inkwash.training.fit import fit
from inkwash.training.run import Run

HEAD = ["town", "income", "age", "member", "stars"]


def table(count=100, missing=True, seed=0):
    """Rows of text, a real number, a whole number, a boolean and a few whole numbers, as cells of a CSV file."""
    random = np.random.default_rng(seed)
    town = random.integers(0, 3, count)
    income = 100 * town + 20 * random.standard_normal(count)
    parts = [
        np.array(["lima", "oslo", "rome"])[town],
        np.round(income, 3).astype(str),
        random.poisson(40 + 5 * town).astype(str),
        np.where(random.random(count) < 0.3, "True", "False"),
        random.integers(1, 6, count).astype(str),
    ]
    cells = np.stack(parts, 1).astype(object)
    if missing:
        cells[random.random(count) < 0.2, 0] = ""
        cells[random.random(count) < 0.2, 1] = ""
    return cells


def write(path, cells, head=HEAD):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *cells])
    return path


def read(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


TABLES = {
    "mixed": (lambda: table(missing=False), HEAD, ()),
    "missing": (table, HEAD, ()),
    "uniform": (table, HEAD, ("--process.categories", "uniform", "--train.objective", "bound")),
    "categories": (
        lambda: table(missing=False)[:, [0, 3, 4]],
        ["town", "member", "stars"],
        ("--process.schedule", "sohl-dickstein"),
    ),
    "uniform categories": (lambda: table()[:, [0, 3]], ["town", "member"], ("--process.categories", "uniform")),
    "numbers": (lambda: table()[:, [1, 2]], ["income", "age"], ()),
}


ON_PUSH = ("missing", "uniform categories", "numbers")  # rows, categories and numbers; their variants are slow


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """The run of a table, trained once."""

    @cache
    def trained(name):
        cells, head, options = TABLES[name]
        folder = tmp_path_factory.mktemp("table")
        write(folder / "data.csv", cells(), head)
        with pytest.MonkeyPatch.context() as patch:
            without_pictures(patch)
            words = train_words(folder / "data.csv", folder / "run", *options, "--train.monitor-every", 6)
            assert run_cli([*words, "--train.batch-size", 16]) == 0
        return Run(folder / "run")

    return trained


@pytest.fixture(params=[pytest.param(name, marks=() if name in ON_PUSH else pytest.mark.slow) for name in TABLES])
def run(request, run_of):
    return run_of(request.param)


def spec_of(run):
    return run.header().transform.spec


def test_samples_are_cells_like_those_of_the_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["sample", run.path, "-n", 8]) == 0
    head, *rows = read(tmp_path / "samples" / "samples.csv")
    columns = spec_of(run).columns
    assert head == list(columns)
    assert len(rows) == 8
    for row in rows:
        for cell, column in zip(row, columns.values(), strict=True):
            if column.categories is not None:
                assert cell in column.categories
            elif column.is_integer:
                assert str(int(cell)) == cell
            else:
                assert np.isfinite(float(cell))


def test_samples_meet_conditions_from_the_command_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    columns = spec_of(run).columns
    wanted = {"town": ("town in oslo|rome", {"oslo", "rome"}), "member": ("member=True", {"True"})}
    wanted = {name: found for name, found in wanted.items() if name in columns}
    conditions = [words for words, _ in wanted.values()] + (["age>38", "age<=45"] if "age" in columns else [])
    assert run_cli(["sample", run.path, "-n", 20, "--where", ", ".join(conditions)]) == 0
    head, *rows = read(tmp_path / "samples" / "samples.csv")
    assert len(rows) == 20
    for name, (_, allowed) in wanted.items():
        assert {row[head.index(name)] for row in rows} <= allowed
    assert "age" not in columns or {int(row[head.index("age")]) for row in rows} <= set(range(39, 46))
    capsys.readouterr()
    assert run_cli(["sample", run.path, "--where", "height>3"]) == 2
    assert f"error: --where: got 'height', need one of the columns {', '.join(columns)}" in capsys.readouterr().err


def test_a_sample_of_a_seed_is_the_same_however_many_are_drawn(run):
    model = run.model()
    most = model.sample(9, seed=3, steps=4)
    assert np.array_equal(model.sample(2, seed=3, steps=4), most[:2])
    assert np.array_equal(model.sample(4, seed=3, steps=4, first=5), most[5:])


def test_the_bound_counts_the_cells_that_are_there(run):
    """Of a row with missing cells it is that of the row without these: there it does not depend on what they hold."""
    model, x = run.model(), run.dataset().data[:4]
    bound = model.bound(x, terms=3)
    assert bound.total.isfinite().all()
    assert bound.levels is None
    if not spec_of(run).may_miss.any():
        gone = x.copy()
        gone[1, 0] = np.nan
        with pytest.raises(iw.DataError, match=r"data\[1\], column '(town|income)': got a missing value"):
            model.bound(gone)


def test_missing_cells_are_completed_and_the_others_kept(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = spec_of(run).columns
    cells = table(6, missing=False, seed=5)[:, [HEAD.index(name) for name in columns]]
    cells[0, 0] = cells[2, 1] = cells[5, 0] = cells[5, 1] = ""
    write(tmp_path / "new.csv", cells, list(columns))
    words = ["impute", run.path, "new.csv", "-n", 3, "--steps", 4]
    assert run_cli([*words, "--out", "done"]) == 0
    assert run_cli([*words[:3], "-n", 2, "--steps", 4, "--out", "less"]) == 0
    for i in (1, 2):
        assert (tmp_path / f"less/completed-{i:03d}.csv").read_bytes() == (
            tmp_path / f"done/completed-{i:03d}.csv"
        ).read_bytes()
    assert run_cli([*words[:3], "-n", 2, "--steps", 4, "--out", "done"]) == 2  # the third would stay among them
    for i in (1, 2, 3):
        head, *rows = read(tmp_path / "done" / f"completed-{i:03d}.csv")
        assert head == list(columns)
        for done, given in zip(rows, cells, strict=True):
            for cell, known, column in zip(done, given, columns.values(), strict=True):
                assert cell != ""
                assert not known or (cell == known if column.categories else float(cell) == float(known))
    head, *lines = read(tmp_path / "done" / "cells.csv")
    assert [(line[0], line[1]) for line in lines] == [
        (str(row), list(columns)[place]) for row, place in ((0, 0), (2, 1), (5, 0), (5, 1))
    ]
    for line in lines:
        low, *_, high = line[2:7] if columns[line[1]].categories is None else (0, 1)
        assert float(low) <= float(high)
        if columns[line[1]].categories is not None:
            assert line[7] in columns[line[1]].categories
            assert 1 / 3 <= float(line[8]) <= 1


def test_a_completed_table_is_a_file_of_the_kind_that_was_given(run, tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    spec = spec_of(run)
    rows = run.dataset().data[:3].copy()
    rows[1, 0] = np.nan
    given = to_frame(spec, rows)
    given.to_parquet("new.parquet", index=False)
    assert run_cli(["impute", run.path, "new.parquet", "-n", 1, "--steps", 2, "--out", "done"]) == 0
    done = pandas.read_parquet("done/completed-001.parquet")
    assert list(done) == list(spec.columns)
    assert done.notna().all(axis=None)
    assert (done == given).where(given.notna(), True).all(axis=None)


def test_a_file_without_missing_cells_is_not_completed(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    columns = list(spec_of(run).columns)
    write(tmp_path / "new.csv", table(3, missing=False)[:, [HEAD.index(name) for name in columns]], columns)
    assert run_cli(["impute", run.path, "new.csv"]) == 3
    assert "no missing entry" in capsys.readouterr().err
    assert not (tmp_path / "imputed").exists()


@pytest.mark.quick_cases("missing")
def test_evaluation_compares_columns_cell_by_cell(run):
    """Samples have the gaps of rows, and no warning speaks of gaps."""
    assert run_cli(["evaluate", run.path, "--examples", 16, "--bound-terms", 3, "--steps", 3]) == 0
    result = json.loads((run.path / "evaluation" / "evaluation.json").read_text())
    assert result["bound"]["held_out"]["unit"] == "nats"
    assert result["log_density"] is None
    names = [f"column {name!r}" for name in spec_of(run).columns]
    assert [each["where"] for each in result["columns"]["marginals"]] == names
    assert (run.path / "evaluation" / "report.html").exists()


def test_what_only_real_numbers_have_is_refused(run):
    model, x = run.model(), run.dataset().data[:4]
    if isinstance(model.process, iw.Gaussian):
        with pytest.raises(iw.DataError, match="missing value"):
            model.log_prob(run.dataset().data)
        return
    for action in (lambda: model.sample(2, sampler=iw.DDIM()), lambda: model.log_prob(x), lambda: model.encode(x)):
        with pytest.raises((iw.ConfigError, iw.DataError), match=r"need a Gaussian process|missing value"):
            action()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--process.kind gaussian", "process.kind: got gaussian"),
        ("--process.kind categorical", "process.kind: got categorical"),
        ("--process.rate 0.3", "process.rate"),
        ("--process.schedule learned", "process.schedule: got learned"),
        ("--denoiser.predicts levels", "denoiser.predicts"),
        ("--denoiser.clip True", "denoiser.clip"),
        ("--denoiser.variance learned", "denoiser.variance: got learned, need small or large"),
        ("--train.objective hybrid", "train.objective: got hybrid"),
        ("--network.kind unet", "network.kind"),
    ],
)
def test_options_that_do_not_go_with_a_mixed_table_are_refused(words, message, tmp_path, capsys):
    write(tmp_path / "data.csv", table())
    assert run_cli(["train", tmp_path / "data.csv", "--out", tmp_path / "run", *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_categories_are_an_option_of_tables_that_have_them(tmp_path, capsys):
    write(tmp_path / "data.csv", table()[:, [1, 2]], ["income", "age"])
    assert run_cli(["train", tmp_path / "data.csv", "--process.categories", "uniform"]) == 2
    needed = "--process.categories: got uniform, need --process.kind mixed or categorical; gaussian has none"
    assert needed in capsys.readouterr().err


def test_a_stopped_run_goes_on_bit_identically(tmp_path, quick):
    config = tiny(write(tmp_path / "data.csv", table()))
    stop = at_step(7, lambda: os.kill(os.getpid(), signal.SIGINT))
    with hooked(stop), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "stopped")
    assert digests(fit(config, tmp_path / "stopped").path) == digests(fit(config, tmp_path / "finished").path)


@pytest.mark.parametrize("change", ["another kind", "a category less", "no column", "noise"])
def test_a_header_of_another_table_is_refused(tmp_path, run_of, change):
    run = Run(shutil.copytree(run_of("missing").path, tmp_path / "run"))
    header = json.loads((newest(run.path) / "header.json").read_bytes())
    columns = header["transform"]["spec"]["columns"]
    if change == "another kind":
        header["config"]["process"]["kind"] = "gaussian"
    elif change == "a category less":
        columns["town"]["categories"] = columns["town"]["categories"][:2]
    elif change == "no column":
        del columns["town"]
    else:
        header["config"]["process"]["categories"] = None
    for path in run.checkpoints.iterdir():
        rewrite(path, {"header.json": json.dumps(header).encode()})
    with pytest.raises(iw.CheckpointError):
        iw.load(run.path)


@pytest.mark.slow
def test_training_learns_what_categories_and_numbers_tell_of_each_other(tmp_path, quick):
    """A number whose mean is that of its category: the bound falls below what independent columns cost."""
    random = np.random.default_rng(0)
    category = random.integers(0, 2, 2000)
    number = 4 * category + random.standard_normal(2000)
    cells = np.stack([np.array(["a", "b"])[category], number.astype(str)], 1)
    run = iw.train(
        write(tmp_path / "data.csv", cells, ["code", "number"]),
        tmp_path / "run",
        network=iw.NetworkConfig(width=64, depth=1),
        train=iw.TrainConfig(400, 128, 5e-3, warmup=10, ema=(0.1,), monitor_every=1000),
    )
    x = run.dataset().data[run.split()[1]]
    bound = run.model().bound(x, terms=100)
    apart = np.log(2) + float(torch.trapezoid(torch.special.entr(_mixture_density()), dx=0.01))
    together = np.log(2) + 0.5 * np.log(2 * np.pi * np.e)
    assert together - 0.2 < float(bound.total.mean()) < (apart + together) / 2


def _mixture_density():
    grid = torch.arange(-7, 11, 0.01, dtype=torch.float64)
    return sum(torch.exp(-0.5 * (grid - mean) ** 2) for mean in (0, 4)) / (2 * np.sqrt(2 * np.pi))


def test_an_array_with_missing_entries_goes_the_same_way(tmp_path, monkeypatch, capsys):
    """From training to evaluation and completion, as an array; without the option NaN is refused."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(5.0, 3.0, (100, 3)).astype(np.float32)
    x[::4, 1] = np.nan
    np.save("data.npy", x)
    assert run_cli(["train", "data.npy", "--out", "refused"]) == 3
    words = [*train_words("data.npy", "run"), "--train.batch-size", 16]
    assert run_cli([*words, "--data.missing"]) == 0
    model = iw.load("run")
    assert model.transform.spec.missing == (False, True, False)
    assert model.bound(x, terms=3).total.isfinite().all()
    other = np.where([True, False, False], np.nan, x)
    with pytest.raises(
        iw.DataError, match=r"data\[0\], column 0: got a missing value, need a number: none was missing"
    ):
        model.bound(other)
    np.save("new.npy", other[:3])
    assert run_cli(["sample", "run", "-n", 3]) == 0
    assert run_cli(["evaluate", "run", "--examples", 16, "--bound-terms", 2, "--steps", 2]) == 0
    assert run_cli(["impute", "run", "new.npy", "-n", 2, "--steps", 4, "--out", "done"]) == 0
    for bad, message in (
        (np.array(["1.5", "nan"]), "new.npy: got values of type <U3, need real numbers"),
        (np.array(np.nan), "new.npy: got shape (), need examples of shape (3,)"),
        (other[0], "new.npy: got shape (3,), need examples of shape (3,)"),
        (other[:3, :2], "new.npy: got shape (3, 2), need examples of shape (3,)"),
    ):
        np.save("new.npy", bad)
        capsys.readouterr()
        assert run_cli(["impute", "run", "new.npy", "-n", 2, "--out", "bad"]) == 3
        assert message in capsys.readouterr().err
    done = np.load("done/completed.npy")
    assert (done.shape, done.dtype) == ((2, 3, 3), x.dtype)
    assert np.isfinite(done).all()
    assert (done == other[:3])[:, ~np.isnan(other[:3])].all()


def test_columns_of_whole_numbers_alone_have_probabilities(tmp_path, quick):
    """A wide enough bin is certain: the bound of rounded numbers is that of their entropy, not of a density."""
    config = tiny(write(tmp_path / "data.csv", table(missing=False)[:, [2, 4]], ["age", "stars"]))
    run = fit(replace(config, data=replace(config.data, numbers=("stars",))), tmp_path / "run")
    model = run.model()
    assert isinstance(model.process, iw.Gaussian)
    spacing = 1 / torch.tensor(run.header().transform.scale, dtype=torch.float64)
    torch.testing.assert_close(run.header().transform.lattice.spacing, spacing)
    x = run.dataset().data[:8]
    assert float(run.header().transform.log_det(model.to_model(x)).abs().max()) == 0
    assert float(model.bound(x, terms=5).total.min()) > 0
