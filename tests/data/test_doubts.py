"""A table as people have it trains at the first attempt, and says what it decided."""

import shlex
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bugs import bug
from faults import run_cli, train_words, without_pictures

import inkwash as iw
from inkwash.commands.cli import COMMANDS, _command
from inkwash.commands.frame import Frame
from inkwash.commands.parse import parse
from inkwash.core.errors import DataError
from inkwash.data import judge
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.doubts import Doubt, doubt_lines
from inkwash.data.frames import to_frame

RANDOM = np.random.default_rng(7)
COUNT = 60
HEADER = "PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Ticket,Fare,Cabin,Embarked,Boarded,Line"
DROPPED = ["PassengerId", "Name", "Ticket", "Cabin"]


def passenger(i):
    ticket = (f"A/5 {9000 + 7 * i}", f"{113_800 + i}")[i % 2]
    age, cabin = ("", f"{20 + 7 * i % 50}.5")[i % 5 > 0], ("", f"C{i}")[i % 4 == 0]
    who = f'"Smith, Mr. {i}",{"fe" * (i % 3 > 0)}male,{age}'
    where = f"{'SCQ'[i % 3]},1912-04-{1 + i % 20:02d},White Star"
    return f"{i + 1},{i % 2},{1 + i % 3},{who},{i % 4},{ticket},{i * 1.7 + 5:.3f},{cabin},{where}"


PASSENGERS = [passenger(i) for i in range(COUNT)]


@pytest.fixture
def ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_pictures(monkeypatch)
    (tmp_path / "ship.csv").write_text("\n".join([HEADER, *PASSENGERS]) + "\n")
    return tmp_path / "ship.csv"


def test_a_passenger_list_trains_at_the_first_attempt(ship, capsys):
    """All doubts in one table; samples have the constant; later rows may have every column of the file."""
    assert run_cli(train_words("ship.csv", "run", "--train.steps", 2)) == 0
    printed = capsys.readouterr().out
    for name in [*DROPPED, "Line"]:
        assert sum(line.split()[:1] == [name] for line in printed.splitlines()) == 1
    assert run_cli(["sample", "run", "-n", 3, "--steps", 2]) == 0
    header, *rows = (ship.parent / "samples" / "samples.csv").read_text().splitlines()
    assert header == "Survived,Pclass,Sex,Age,SibSp,Fare,Embarked,Boarded,Line"
    assert all(row.endswith(",White Star") for row in rows)
    (ship.parent / "new.csv").write_text("\n".join([HEADER, PASSENGERS[5], PASSENGERS[6]]) + "\n")
    assert run_cli(["impute", "run", "new.csv", "-n", 1, "--steps", 2]) == 0
    completed = (ship.parent / "imputed" / "completed-001.csv").read_text().splitlines()
    assert completed[0] == header
    assert completed[2] == "0,1,male,62.5,2,15.2,S,1912-04-07,White Star"


def test_strict_names_every_column_and_the_command_that_settles_them(ship, capsys):
    assert run_cli(["train", "ship.csv", "--data.strict"]) == 3
    error = capsys.readouterr().err
    assert all(name in error for name in [*DROPPED, "Line"])
    command = error[error.index("inkwash train") :]
    assert run_cli([*shlex.split(command)[1:], "--out", "run", *train_words("", "", "--train.steps", 1)[4:]]) == 0
    settled = iw.load("run").units.spec
    assert list(settled.columns) == list(load_dataset("ship.csv").spec.columns)
    assert list(settled.reading.constants) == ["Line"]


def test_the_command_that_settles_repeats_every_option(ship, capsys):
    words = (
        "--data.strict --data.drop Name --out elsewhere --train.steps 7 --train.ema 0.1 0.2 --network.attention False"
    )
    for command in ("train", "inspect"):
        given = words.replace("--out elsewhere ", "") if command == "inspect" else words
        assert run_cli([command, "ship.csv", *given.split()]) == 3
        again = shlex.split(capsys.readouterr().err.strip())
        again = again[again.index("inkwash") + 1 :]
        assert parsed(again) == replace(parsed([command, "ship.csv", *given.split()]), data=parsed(again).data)
        assert parsed(again).data.drop[0] == "Name"
        assert parsed(again).data.strict


def parsed(words):
    kind = COMMANDS[words[0]]
    return parse(kind, "inkwash", words[1:])


OPTIONS = [
    "--preset ddpm --train.seed 3",
    "--preset dpm-2015 --process.kind bernoulli --network.width 16",
    "--model vae --train.compile --data.missing --data.comment ''",
    "--data.missing-values -999 'not known' --data.decimal , --train.augment flip shift --train.clip-grad 0.5",
    "",
]


@pytest.mark.parametrize("words", OPTIONS)
def test_a_command_line_is_what_it_was_read_from(words):
    """Round trip, with the words of the command that the command itself says."""
    frame = Frame(["train", "some data.csv", *shlex.split(words), "--out", "run 1"])
    command = _command(frame)
    again = Frame(shlex.split(command.command_line())[1:])
    assert _command(again) == command


def test_inspect_ends_with_the_command_that_trains_so(ship, capsys):
    words = "--train.steps 20 --network.width 16 --data.drop Name"
    assert run_cli(["inspect", "ship.csv", *words.split()]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    given = parsed(["inspect", "ship.csv", *words.split()]).config("ship.csv")
    assert last.split()[:3] == ["next", "inkwash", "train"]
    assert parsed(shlex.split(last)[2:]).config("ship.csv") == given


def read(folder, text, name="data.csv", encoding="utf-8", **options):
    (folder / name).write_bytes(text.encode(encoding))
    return load_dataset(folder / name, iw.DataConfig(**options))


def lines(header, *cells):
    """A table whose first column has real numbers, and whose others have these cells in turn, twenty of each."""
    rows = (",".join([f"{i / 7:.3f}", *(column[i % len(column)] for column in cells)]) for i in range(20))
    return "\n".join([header, *rows]) + "\n"


def settles(data, column):
    (doubt,) = (doubt for doubt in data.doubts if doubt.column == column)
    return doubt


DOUBTFUL = {
    "free text": ("b", [f"note {i}" for i in range(20)], None),
    "identifiers": ("user_id", [str(70 + 3 * i) for i in range(20)], None),
    "an index": ("Unnamed: 0", [str(i) for i in range(20)], None),
    "nothing": ("b", [""], None),
    "dates without a century": ("b", ["12 March 98", "3 May 97", "9 Jun 98", "1 Jan 97"], None),
    "days or months first": ("b", ["03/04/2024", "05/06/2024", "01/02/2024"], None),
    "times of day": ("b", ["12:30", "9:05", "18:00", "07:45"], None),
    "a constant": ("b", ["x"], "constant"),
    "a constant number": ("b", ["7"], "constant"),
    "codes": ("b", ["00501", "94110", "02139"], ("00501", "02139", "94110")),
    "percent": ("b", ["12%", "7.5%", "3%", "40%"], "numbers"),
    "currency": ("b", ["$12.50", "$7", "-$3.25"], "numbers"),
    "few words among numbers": ("b", ["1.5", "unknown", "2.5", "4.75"], "numbers"),
    "typing errors among numbers": ("b", ["1.5", *(f"{i}.25" for i in range(18)), "2.5o"], "numbers"),
    "a sentinel": ("b", ["1.5", "-999", "2.5", "4.75", "3.25"], "numbers"),
    "a word for missing": ("b", ["red", "unknown", "blue"], ("blue", "red", "unknown")),
    "several currencies": ("b", ["$5", "€5", "$7"], ("$5", "$7", "€5")),
    "a percent sign in some cells": ("b", ["5%", "5", "7%"], ("5", "5%", "7%")),
    "capitals": ("b", ["yes", "Yes", "no"], ("Yes", "no", "yes")),
    "large numbers": ("b", [str(2**60 + i) for i in range(20)], None),
    "numbers and text": ("b", ["0", "1", "2", "3+"], ("0", "1", "2", "3+")),
    "dates in digits": ("b", [str(20240100 + 3 * i) for i in range(1, 8)], "numbers"),
    "dates in digits that count": (
        "b",
        [str(20240101 + i) for i in range(5)],
        tuple(str(20240101 + i) for i in range(5)),
    ),
    "a date that stands for none": ("b", [*(f"2024-01-{i:02d}" for i in range(1, 18)), "9999-12-31"], "numbers"),
    "another one": ("b", [*(f"{i}.1.2024" for i in range(10, 27)), "1.1.1900", "1.1.1900"], "numbers"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_each_doubt_is_said_and_settled(kind, tmp_path):
    """By the option that the doubt itself names, after which the table is read the same, without a doubt."""
    name, cells, meant = DOUBTFUL[kind]
    text = lines(f"a,{name}", cells)
    data = read(tmp_path, text)
    option, *values = settles(data, name).settled
    again = read(tmp_path, text, strict=True, **{option: tuple(values)})
    assert not again.doubts
    assert np.array_equal(again.data, data.data, equal_nan=True)
    if meant == "constant":
        assert name in data.spec.reading.constants
    elif meant is None:
        assert list(data.spec.columns) == ["a"]
    else:
        assert data.spec.columns[name].categories == (None if meant == "numbers" else meant)


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_what_says_otherwise_does(kind, tmp_path):
    """The table is read in another way, or there is nothing that says otherwise."""
    name, cells, _ = DOUBTFUL[kind]
    text = lines(f"a,{name}", cells)
    data = read(tmp_path, text)
    if not settles(data, name).otherwise:
        return
    option, *values = settles(data, name).otherwise
    again = read(tmp_path, text, **{option: values[0] if option == "day_first" else tuple(values)})
    assert not np.array_equal(again.data, data.data, equal_nan=True) or again.spec.reading != data.spec.reading
    assert settles(data, name) not in again.doubts


def test_dates_in_digits_are_read_as_dates_and_written_as_they_were(tmp_path):
    """Against pandas."""
    digits = [20240131, 20231224, 20240229, 19991231, 20240101]
    text = lines("a,b", [str(number) for number in digits])
    data = read(tmp_path, text, dates=("b",))
    known = (
        pd.to_datetime(pd.Series(digits * 4).astype(str), format="%Y%m%d")
        .to_numpy()
        .astype("datetime64[D]")
        .astype(float)
    )
    assert np.array_equal(data.data[:, 1], known)
    assert not data.doubts
    assert to_frame(data.spec, data.data)["b"].tolist() == digits * 4
    frame = to_frame(data.spec, data.data)
    again = load_dataset(frame, iw.DataConfig(dates=("b",)))
    assert np.array_equal(again.data, data.data)
    assert np.array_equal(iw.data.from_frame(data.spec, frame), data.data)
    assert dump_csv(data.spec, data.data).decode().splitlines()[1].endswith(",20240131")
    for cells in (["20240131", "20240230"], ["1.5", "2.5"], ["x", "y"]):
        with pytest.raises(DataError, match=r"column 'b': got .*, need dates such as 2024"):
            read(tmp_path, lines("a,b", cells), dates=("b",))


def test_only_a_date_far_from_all_others_stands_for_none(tmp_path):
    """Ordinary ends of centuries and years raise no doubt, and neither do other numbers of eight digits."""
    dates = [f"{year}-01-01" for year in range(1900, 1920)]
    wide = ["1900-01-01", "1950-06-01", "1980-01-01", "2000-01-01", "2024-01-01"]
    numbers = [str(20240101 + 37 * i) for i in range(20)]
    assert not read(tmp_path, lines("a,b,c,d", dates, wide, numbers)).doubts
    frame = pd.DataFrame({"when": pd.Series(["2024-01-03"] * 24, dtype="datetime64[s]"), "x": np.arange(24.0)})
    with pytest.raises(DataError, match=r"dates=\('when',\)"):
        load_dataset(frame, iw.DataConfig(strict=True))
    assert load_dataset(frame, iw.DataConfig(strict=True, dates=("when",))).spec.reading.constants.keys() == {"when"}
    frame["when"] = pd.Series([*(np.datetime64("2024-01-03") + np.arange(20)), *["9999-12-31"] * 4]).astype(
        "datetime64[us]"
    )
    (doubt,) = load_dataset(frame).doubts
    assert doubt.seen == "9999-12-31 in 4 of 24 cells, far from all others"
    assert np.isnan(load_dataset(frame, iw.DataConfig(missing_values=("9999-12-31",))).data[:, 0]).sum() == 4


def test_no_option_reads_an_empty_column_or_too_large_numbers_of_a_frame():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": RANDOM.normal(size=20), "b": [np.nan] * 20, "c": [2**60 + i for i in range(20)]})
    assert [(doubt.column, doubt.otherwise) for doubt in load_dataset(table).doubts] == [("b", ()), ("c", ())]
    assert doubt_lines(load_dataset(table).doubts)[1].endswith("left out")
    with pytest.raises(DataError, match="column 'b': got no value in any row"):
        load_dataset(table, iw.DataConfig(categories=("b",)))


@bug("any largest number is a sentinel", judge, "_spike", lambda values, seen, *usual: float(seen[-1]))
@bug("no sentinel", judge, "_spike", lambda values, seen, *usual: None)
def test_only_a_spike_far_outside_is_a_sentinel(tmp_path):
    normal = [f"{x:.2f}" for x in RANDOM.normal(size=20)]
    tail = [f"{x:.2f}" for x in RANDOM.lognormal(0, 3, size=20)]
    holes = [*normal[:17], "9999", "9999", "9999"]
    assert [doubt.column for doubt in read(tmp_path, lines("a,b,c,d", normal, tail, holes)).doubts] == ["d"]
    told = read(tmp_path, lines("a,d", holes), missing_values=("9999",))
    assert np.isnan(told.data[:, 1]).sum() == 3
    assert not told.doubts


def test_ordinary_columns_raise_no_doubt(tmp_path):
    text = lines("year,humid,paid,b", ["1990", "1991", "1995"], ["3.5", "7"], ["yes", "no"])
    assert not read(tmp_path, text).doubts


def test_spellings_of_true_and_false_are_one_value(tmp_path):
    data = read(tmp_path, lines("a,b", ["TRUE", "true", "False", "True", "FALSE"]))
    assert data.spec.columns["b"].categories == ("False", "True")
    assert data.data[:5, 1].tolist() == [1, 1, 0, 1, 0]
    one = read(tmp_path, lines("a,b", ["true", "false"]))
    rows = [[1, "TRUE"], [1, "False"], [1, True], [1, np.False_]]
    assert iw.data.from_frame(one.spec, rows)[:, 1].tolist() == [1, 0, 1, 0]


def test_an_option_says_whether_the_day_comes_first(tmp_path):
    text = lines("a,b", ["03/04/2024", "05/06/2024", "01/02/2024"])
    days = [read(tmp_path, text, day_first=first).data[:2, 1] for first in ("yes", "no")]
    known = np.array(["2024-04-03", "2024-06-05", "2024-03-04", "2024-05-06"], "M8[D]").astype(int)
    assert np.array_equal(np.concatenate(days), known)


def test_infinite_numbers_are_named_together_or_missing(tmp_path):
    text = lines("a,b,c", ["1", "inf", "2.5", "3"], ["4", "5", "6", "-Infinity", "1e999"])
    with pytest.raises(DataError, match=r"'b' 5: line 3, line 7, line 11, …; column 'c' 8: line 5, line 6, line 10, …"):
        read(tmp_path, text)
    data = read(tmp_path, text, infinite="missing")
    assert np.isnan(data.data).sum(0).tolist() == [0, 5, 8]
    assert np.isnan(iw.data.from_frame(data.spec, [[1, "inf", 2], [1, np.inf, 2]])[:, 1]).all()


def test_infinite_numbers_of_an_array_are_counted_or_missing(tmp_path):
    array = RANDOM.normal(size=(30, 2))
    array[[4, 9, 20], 1] = np.inf
    with pytest.raises(DataError, match=r"\[4\]: got inf, one of 3 infinite numbers, also in \[9\], \[20\]"):
        load_dataset(array)
    told = load_dataset(array, iw.DataConfig(infinite="missing"))
    assert np.flatnonzero(np.isnan(told.data[:, 1])).tolist() == [4, 9, 20]
    with pytest.raises(DataError, match=r"data.infinite: got 'missing', need an array of vectors"):
        load_dataset(RANDOM.normal(size=(9, 8, 8)), iw.DataConfig(infinite="missing"))


def test_another_value_of_a_constant_is_refused_later(tmp_path):
    data = read(tmp_path, lines("a,b", ["x"]))
    assert iw.data.to_frame(data.spec, data.data)["b"].tolist() == ["x"] * 20
    frame = iw.data.to_frame(data.spec, data.data)
    assert np.array_equal(iw.data.from_frame(data.spec, frame), data.data)
    assert np.array_equal(iw.data.from_frame(data.spec, frame[["a"]]), data.data)
    with pytest.raises(DataError, match=r"column 'b', row 0: got 'y', need one of x"):
        iw.data.from_frame(data.spec, frame.assign(b="y"))


def test_the_doubts_of_a_frame_are_settled_from_python():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"name": [f"n{i}" for i in range(20)], "x": RANDOM.normal(size=20), "k": 3})
    with pytest.raises(DataError, match=r"DataConfig\(drop=\('name',\), numbers=\('k',\), strict=True\)"):
        load_dataset(frame, iw.DataConfig(strict=True))
    data = load_dataset(frame, iw.DataConfig(strict=True, drop=("name",), numbers=("k",)))
    assert iw.data.to_frame(data.spec, data.data).equals(frame[["x", "k"]])


def test_a_wide_table_has_every_column_in_its_error(tmp_path):
    """However many they are, and however long their cells."""
    names = [f"constant{i}" for i in range(80)]
    text = ",".join(["a", *names]) + "\n" + "".join(",".join([str(i), *["long" * 30] * 80]) + "\n" for i in range(9))
    with pytest.raises(DataError) as caught:
        read(tmp_path, text, strict=True)
    assert all(str(caught.value).count(repr(name)) == 1 for name in names)
    assert "long" * 10 not in str(caught.value)


def test_doubts_are_printed_as_a_table():
    doubt = Doubt("a b", "seen", "done", ("missing_values", "-9"), ("numbers", "a b"))
    header, line = doubt_lines([doubt])
    assert line.split("  ")[0] == "a b"
    assert line.endswith("--data.missing-values -9")
    assert header.index("says otherwise") == line.index("--data")


def test_a_column_of_one_value_and_gaps_is_no_constant():
    """Which rows have the value is what it says; in every type of column."""
    frame = pd.DataFrame(
        {
            "text": ["k", None] * 20,
            "real": [3.5, None] * 20,
            "whole": pd.array([7, None] * 20, dtype="Int64"),
            "x": np.arange(40) * 0.37,
        }
    )
    found = load_dataset(frame)
    assert list(found.spec.columns) == list(frame.columns)
    pd.testing.assert_frame_equal(to_frame(found.spec, found.data, like=frame), frame)


def test_one_number_and_gaps_are_said_and_no_option_is_ignored():
    frame = pd.DataFrame({"real": [3.5, None] * 20, "x": np.arange(40) * 0.37})
    (doubt,) = load_dataset(frame).doubts
    assert (doubt.column, doubt.done) == ("real", "kept as a category")
    assert load_dataset(frame, iw.DataConfig(categories=("real",))).doubts == ()
    with pytest.raises(DataError, match=r"column 'real': got 3\.5 in some rows"):
        load_dataset(frame, iw.DataConfig(numbers=("real",)))
    assert "real" not in load_dataset(frame, iw.DataConfig(drop=("real",))).spec.columns
