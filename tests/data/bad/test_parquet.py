""".parquet files that cannot be read, and columns that cannot be used."""

import numpy as np
import pytest
from bad import bad


def parquet(place, **columns):
    pyarrow = pytest.importorskip("pyarrow")
    write = pytest.importorskip("pyarrow.parquet").write_table
    write(pyarrow.table(columns), place / "data.parquet")
    return str(place / "data.parquet")


@bad("data.parquet: got an unreadable file")
def test_text_named_parquet(folder):
    (folder / "data.parquet").write_text("a,b\n1,2\n")
    return str(folder / "data.parquet")


@bad("data.parquet: got an unreadable file", command=True)
def test_truncated_parquet(folder):
    source = parquet(folder, a=[1.5, 2, 3])
    content = (folder / "data.parquet").read_bytes()
    (folder / "data.parquet").write_bytes(content[:-20])
    return source


@bad("data.parquet: got an unreadable file")
def test_damaged_parquet(folder):
    source = parquet(folder, a=[1.5, 2, 3])
    content = bytearray((folder / "data.parquet").read_bytes())
    content[4:40] = bytes(36)
    (folder / "data.parquet").write_bytes(content)
    return source


@bad("data.parquet: got no column to learn (a: values of type list<")
def test_parquet_of_lists(folder):
    return parquet(folder, a=[[1], [2]])


@bad("data.parquet: got no column to learn (a: values of type binary")
def test_parquet_of_bytes(folder):
    return parquet(folder, a=[b"1", b"2"])


@bad("data.parquet: got no column to learn (a: values of type struct<")
def test_parquet_of_structures(folder):
    return parquet(folder, a=[{"b": 1}, {"b": 2}])


@bad("data.parquet: got no column to learn (a: 1970-01-02 in every row)")
def test_parquet_of_one_date(folder):
    return parquet(folder, a=np.array([1, 1, 1], "M8[D]"))


@bad("column 'a': got whole numbers beyond 2^53", numbers=("a",))
def test_parquet_beyond_whole_numbers(folder):
    return parquet(folder, a=[2**53 + 1, None, 7])


@bad("data.parquet: got 1 infinite number, need finite numbers (column 'a' 1: row 1)")
def test_parquet_with_infinity(folder):
    return parquet(folder, a=[1.5, np.inf, 2])


@bad("data.parquet: got no column to learn (a: 4 texts in 4 rows)")
def test_parquet_of_names(folder):
    return parquet(folder, a=list("uvwx"))


@bad("data.parquet: got one example")
def test_parquet_of_one_row(folder):
    return parquet(folder, a=[1.5])


@bad("data.parquet: got no example")
def test_parquet_of_nothing(folder):
    return parquet(folder, a=np.empty(0))
