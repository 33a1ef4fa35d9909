"""Files of text as other programs write them: what is found out, what is said, and what only an option can say."""

import csv
import gzip
import io

import numpy as np
import pytest
from bugs import bug

import inkwash as iw
from inkwash.core.errors import ConfigError, DataError
from inkwash.data import dialects, number_formats
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.number_formats import AmbiguousNumbersError, NumberFormat, find_format
from inkwash.data.readers import read_rows

pandas = pytest.importorskip("pandas")
RANDOM = np.random.default_rng(3)
FRAME = pandas.DataFrame(
    {
        "größe": RANDOM.normal(100, 40, 30).round(2),
        "n": RANDOM.integers(-500, 5000, 30),
        "art": RANDOM.choice(["a;b", 'c, "d"', "éß"], 30),
    }
)
PLAIN = load_dataset(FRAME)
DIALECTS = {
    "semicolons": {"sep": ";"},
    "tabs": {"sep": "\t"},
    "bars": {"sep": "|"},
    "decimal commas": {"sep": ";", "decimal": ","},
    "quoted decimal commas": {"decimal": ","},
    "latin-1": {"encoding": "latin-1"},
    "utf-16": {"encoding": "utf-16"},
    "utf-16 without a mark": {"encoding": "utf-16-le"},
    "utf-8 with a mark": {"encoding": "utf-8-sig"},
    "an index": {"index": True},
    "carriage returns": {"lineterminator": "\r\n"},
}


def written(folder, name="data.csv", **options):
    path = folder / name
    FRAME.to_csv(path, **{"index": False} | options)
    return path


@pytest.mark.parametrize("kind", DIALECTS)
def test_what_pandas_writes_is_read_as_it_was(kind, tmp_path):
    """The same numbers and categories whatever the dialect; samples come back in it, and are read again."""
    data = load_dataset(written(tmp_path, **DIALECTS[kind]))
    assert list(data.spec.columns) == list(FRAME)
    assert np.array_equal(data.data, PLAIN.data)
    assert data.spec.columns["art"].categories == PLAIN.spec.columns["art"].categories
    (tmp_path / "again.csv").write_bytes(dump_csv(data.spec, data.data))
    assert np.array_equal(read_rows(tmp_path / "again.csv", data.spec), data.data)
    assert np.array_equal(load_dataset(tmp_path / "again.csv").data, data.data)


@pytest.mark.parametrize("kind", ["semicolons", "decimal commas", "latin-1", "utf-16 without a mark"])
def test_what_was_found_out_is_said_and_settled(kind, tmp_path):
    path = written(tmp_path, **DIALECTS[kind])
    doubts = load_dataset(path).doubts
    assert {doubt.column for doubt in doubts} == {""}
    settled = iw.DataConfig(strict=True, **dict(doubt.settled for doubt in doubts))
    assert np.array_equal(load_dataset(path, settled).data, PLAIN.data)


@pytest.mark.parametrize("name", ["DATA.CSV", "data.csv.gz", "data.tsv", "data.TSV.GZ"])
def test_endings_of_files_of_text(name, tmp_path):
    content = FRAME.to_csv(index=False, sep="\t" if "tsv" in name.lower() else ",").encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    data = load_dataset(tmp_path / name)
    assert np.array_equal(data.data, PLAIN.data)
    assert not data.doubts


@pytest.mark.parametrize("first", ["red,1.5", "1,2"], ids=["text", "whole numbers"])
def test_a_file_without_names_is_read_back(first, tmp_path):
    """The file itself, and its samples, which have the names that were given to it."""
    kinds = RANDOM.choice(["blue", "green"] if "red" in first else ["3", "4"], 20)
    rows = [f"{kind};{x:.3f}" for kind, x in zip(kinds, RANDOM.normal(size=20), strict=True)]
    (tmp_path / "data.csv").write_text("\n".join([first.replace(",", ";"), *rows]) + "\n")
    data = load_dataset(tmp_path / "data.csv", iw.DataConfig(header="no", categories=("0",)))
    assert data.data.shape == (21, 2)
    assert np.array_equal(read_rows(tmp_path / "data.csv", data.spec), data.data)
    (tmp_path / "again.csv").write_bytes(dump_csv(data.spec, data.data))
    assert np.array_equal(read_rows(tmp_path / "again.csv", data.spec), data.data)


@pytest.mark.parametrize("name", ["data.PARQUET", "data.parquet.gzip", "data.snappy.parquet", "packed.parquet.gz"])
def test_endings_of_parquet(name, tmp_path):
    pytest.importorskip("pyarrow")
    buffer = io.BytesIO()
    FRAME.to_parquet(buffer, compression="gzip" if "gzip" in name else "snappy")
    content = gzip.compress(buffer.getvalue()) if "packed" in name else buffer.getvalue()
    (tmp_path / name).write_bytes(content)
    assert np.array_equal(load_dataset(tmp_path / name).data, PLAIN.data)


def test_types_of_arrow_that_pandas_does_not_compute_with(tmp_path):
    """Views of strings, and decimals with and without digits behind the point."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    from decimal import Decimal

    columns = {
        "view": pyarrow.array(["x", "y", None] * 8, pyarrow.string_view()),
        "money": pyarrow.array([Decimal("1.25"), None, Decimal("-7.50")] * 8, pyarrow.decimal128(9, 2)),
        "whole": pyarrow.array([Decimal(i * 40) for i in range(24)], pyarrow.decimal128(9, 0)),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "data.parquet")
    data = load_dataset(tmp_path / "data.parquet")
    assert np.array_equal(data.data[:3], [[0, 1.25, 0], [1, np.nan, 40], [np.nan, -7.5, 80]], equal_nan=True)
    assert [column.dtype for column in data.spec.columns.values()] == ["str", "float64", "int64"]


def read(folder, text, **options):
    (folder / "data.csv").write_text(text)
    return load_dataset(folder / "data.csv", iw.DataConfig(**options))


@bug("numbers are never names", dialects, "_counts", lambda cells: False)
@bug("numbers are always names", dialects, "_mostly_beyond", lambda first, body: True)
def test_a_header_of_numbers(tmp_path):
    """Years, and the names that pandas gives; but not a row like those below it."""
    years = "2019,2020,2021\n" + "".join(f"{i},{i * 2.5},{7 - i}\n" for i in range(9))
    assert list(read(tmp_path, years).spec.columns) == ["2019", "2020", "2021"]
    frame = pandas.DataFrame(RANDOM.normal(5, 0.5, size=(9, 4)))
    assert np.array_equal(read(tmp_path, frame.to_csv(index=False)).data, frame.to_numpy())
    rows = "10,11,12\n" + "".join(f"{i * 10},{i * 9 + 1},{70 - i * 8}\n" for i in range(9))
    data = read(tmp_path, rows)
    assert data.data[0].tolist() == [10, 11, 12]
    assert data.doubts[0].otherwise == ("header", "yes")
    assert len(read(tmp_path, rows, header="yes").data) == 9
    assert len(read(tmp_path, years, header="no").data) == 10


def test_a_first_row_of_text_that_recurs_is_no_header(tmp_path):
    text = "3,male,22.5\n2,female,23\n1,male,25\n3,female,25\n"
    assert len(read(tmp_path, text).data) == 4
    assert list(read(tmp_path, text, header="yes").spec.columns) == ["3", "male", "22.5"]


def test_comments_at_the_beginning_are_left_out(tmp_path):
    text = "# made by hand\n# on a Monday\na,b\n1,2.5\n3,4\n5,7\n"
    data = read(tmp_path, text)
    assert data.data.tolist() == [[1, 2.5], [3, 4], [5, 7]]
    assert data.doubts[0].settled == ("comment", "#")
    later = text.replace("3,4", "% late\n3,4")
    with pytest.raises(DataError, match=r"line 4: got 1 cells, need 2, .* --data.comment '%'"):
        read(tmp_path, later.split("\n", 2)[2].replace("a,b", "a,b\n0,0"), comment=None)
    assert np.array_equal(read(tmp_path, later.replace("#", "%"), comment="%").data, data.data)
    with pytest.raises(DataError, match="line 9, column 'b': got 'x'"):
        read(tmp_path, text.replace("#", "%") + "8,9\n% \n1,x\n", comment="%", numbers=("b",))


def test_options_come_before_what_lines_show(tmp_path):
    text = "a;b,c\n1;5,2\n3;7,4\n2;7,1\n"
    assert list(read(tmp_path, text, delimiter="comma", categories=("a;b",)).spec.columns) == ["a;b", "c"]
    assert list(read(tmp_path, text, delimiter=";").spec.columns) == ["a", "b,c"]
    with pytest.raises(ConfigError, match=r"data.delimiter: got 'dash', need one character, or comma"):
        read(tmp_path, text, delimiter="dash")
    with pytest.raises(ConfigError, match=r"data.encoding: got 'klingon'"):
        read(tmp_path, text, encoding="klingon")


def test_what_lines_do_not_show_needs_an_option(tmp_path):
    text = "a\tb\n" + "".join(f"{i},{i + 100}\t{i * 2.0}\n" for i in range(1, 9))
    with pytest.raises(DataError, match=r"column 'a': got numbers such as '1,101', need data.decimal"):
        read(tmp_path, text)
    assert read(tmp_path, text.replace(".0", ""), decimal=",").data[0, 0] == 1.101
    assert read(tmp_path, text, decimal=".").data[0, 0] == 1101


NUMBERS = {
    "$1,234.50": (1234.5, ".", ","),
    "1.234.567,5 €": (1234567.5, ",", "."),
    "1\u202f234,5 %": (1234.5, ",", " "),
    "1’234.5": (1234.5, ".", "'"),
    "(12.25)": (-12.25, ".", ""),
    "-$3": (-3.0, ".", ""),
    "$-3": (-3.0, ".", ""),
    "\u22127,25": (-7.25, ",", ""),
    "CHF 5.05": (5.05, ".", ""),
    ".5%": (0.5, ".", ""),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_as_people_write_them(text):
    number, decimal, thousands = NUMBERS[text]
    found = find_format([text], None)
    assert found.number(text) == number
    assert (found.decimal, found.thousands) == (decimal, thousands)
    assert found.number(found.text(repr(number))) == number


def test_what_is_no_number_has_no_format():
    for texts in (
        ["$5", "€5"],
        ["5%", "5"],
        ["1,23,456.5"],
        ["12:30"],
        ["A12"],
        ["5 apples"],
        ["(5"],
        ["--5"],
        ["12.3.4"],
    ):
        assert find_format(texts, None) is None
    with pytest.raises(AmbiguousNumbersError):
        find_format(["1,234", "12,345"], None)
    assert find_format(["1,234", "12,3"], None) == NumberFormat(",")
    assert find_format(["1,234", "1,234,567"], None) == NumberFormat(".", ",")


@bug("a percent is a hundredth", number_formats.NumberFormat, "number", lambda self, cell: float(cell.strip("%")) / 100)
def test_percents_come_back_as_they_were(tmp_path):
    text = "a,b\n" + "".join(f"{i},{i * 2.5}%\n" for i in range(1, 25))
    data = read(tmp_path, text)
    assert data.data[:, 1].tolist() == [i * 2.5 for i in range(1, 25)]
    assert dump_csv(data.spec, data.data).decode() == text
    cells = [row[1] for row in csv.reader(io.StringIO(text))][1:]
    assert iw.data.from_frame(data.spec, [[1, cells[0]], [1, 7.5]])[:, 1].tolist() == [2.5, 7.5]


def test_later_rows_have_numbers_as_the_table_had_them(tmp_path):
    """With marks between thousands, and currencies; numbers of Python as they are."""
    data = read(tmp_path, "a,b\n" + "".join(f'{i},"${i * 1111:,}"\n' for i in range(24)))
    (tmp_path / "new.csv").write_text('b,a\n"$12,345",1\n$7,2\n,3\n')
    known = [[1, 12345], [2, 7], [3, np.nan]]
    assert np.array_equal(read_rows(tmp_path / "new.csv", data.spec), known, equal_nan=True)
    assert np.array_equal(iw.data.from_frame(data.spec, known), known, equal_nan=True)


def test_later_rows_without_names_are_read_like_the_table(tmp_path):
    rows = "".join(f"{i / 7:.3f},{'uv'[i % 2]}\n" for i in range(20))
    data = read(tmp_path, rows)
    (tmp_path / "new.csv").write_text(rows)
    assert np.array_equal(read_rows(tmp_path / "new.csv", data.spec), data.data)
    (tmp_path / "named.csv").write_bytes(dump_csv(data.spec, data.data))
    assert np.array_equal(read_rows(tmp_path / "named.csv", data.spec), data.data)


def test_small_numbers_are_written_without_an_exponent():
    found = NumberFormat(",", "", "", " €")
    assert found.text("1.5e-07") == "0,00000015 €"
    assert found.number(found.text("-2e+16")) == -2e16


def test_a_wide_table_is_read(tmp_path):
    """A line of more than 131,072 characters, which is more than `csv` takes for a cell."""
    row = ",".join(["0.123456"] * 20_000)
    path = tmp_path / "wide.csv"
    path.write_text(f"{row}\n{row}\n")
    assert dialects.dialect_of(path, iw.DataConfig())[0].delimiter == ","
