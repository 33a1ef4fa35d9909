""".csv files that cannot be read, and columns that cannot be used."""

import gzip

from bad import bad
from datafiles import table


def many(folder, first, second="", header="a,b", rows=20):
    """A table whose second column has the cell `second` in its fifth row, where one is given."""
    lines = [f"{i}.5,{second if second and i == 4 else first(i)}" for i in range(rows)]
    return table(folder, "\n".join([header, *lines]) + "\n")


@bad("data.csv: got no column")
def test_empty_csv(folder):
    return table(folder, "")


@bad("data.csv: got no example, need at least 2")
def test_csv_of_names_alone(folder):
    return table(folder, "a,b\n")


@bad("one example")
def test_csv_of_one_row(folder):
    return table(folder, "a,b\n1,2\n")


@bad("data.csv line 3: got 1 cells, need 2", command=True)
def test_ragged_csv(folder):
    return table(folder, "a,b\n1,2\n3\n4,5\n")


@bad("data.csv line 3: got 0 cells, need 2")
def test_csv_with_an_empty_line(folder):
    return table(folder, "a,b\n1,2\n\n4,5\n")


@bad("data.csv line 3, column 'b': got 'x y', need a finite number", numbers=("b",))
def test_csv_with_text(folder):
    return table(folder, "a,b\n1,2\n3,x y\n")


@bad("data.csv: got 1 infinite number, need finite numbers (column 'b' 1: line 3); --data.infinite missing")
def test_csv_with_infinity(folder):
    return table(folder, "a,b\n1,2\n3,-inf\n")


@bad("got 1 infinite number, need finite numbers (column 'b' 1: line 3)")
def test_csv_beyond_real_numbers(folder):
    return table(folder, "a,b\n1,2\n3,1e999\n")


@bad("data.csv line 3, column 'b': got '1_000'", numbers=("b",))
def test_csv_with_digits_apart(folder):
    return table(folder, "a,b\n1,2\n3,1_000\n")


@bad("column 'b': got whole numbers beyond 2^53", numbers=("b",))
def test_csv_beyond_whole_numbers(folder):
    return table(folder, f"a,b\n1,{2**53 + 1}\n3,4\n")


@bad("data.csv: got column 'a' twice")
def test_csv_with_a_name_twice(folder):
    return table(folder, "a,b,a\n1,2,3\n4,5,6\n")


@bad("b: 7 in every row, kept as a constant", strict=True)
def test_csv_with_a_constant(folder):
    return table(folder, "a,b\n" + "".join(f"{i},7\n" for i in range(9)))


@bad("(file): bytes that are not UTF-8, read as cp1252", strict=True)
def test_csv_of_another_encoding(folder):
    (folder / "data.csv").write_bytes("a,grö\xdfe\n1,2\n3,4\n".encode("latin-1"))
    return str(folder / "data.csv")


@bad("data.csv: got an unreadable file")
def test_csv_with_an_open_quote(folder):
    return table(folder, 'a,b\n1,"2\n3,4\n')


@bad("(file): 2 cells in each line between semicolons, divided at each semicolon", strict=True)
def test_csv_with_semicolons(folder):
    return table(folder, "a;b\n1;2\n3;4\n")


@bad("(file): 5.1, 3.5, setosa in the first line, read as a row", strict=True)
def test_csv_of_rows_without_names(folder):
    return table(folder, "5.1,3.5,setosa\n4.9,3.0,virginica\n")


@bad("b: 20 texts in 20 rows, left out", strict=True)
def test_csv_of_names(folder):
    return many(folder, lambda i: f"name{i}")


@bad("b: 80 texts in 200 rows, left out", strict=True)
def test_csv_of_many_texts(folder):
    return many(folder, lambda i: f"t{i % 80}", rows=200)


@bad("column 'b': got 10001 categories, need at most 10000", categories=("b",))
def test_csv_of_too_many_categories(folder):
    return many(folder, lambda i: f"t{i}", rows=10001)


@bad("b: dates such as '01/02/2024': day or month first?, left out", strict=True)
def test_csv_of_dates_that_are_two_dates(folder):
    return many(folder, lambda i: f"0{1 + i // 6}/02/2024")


@bad("b: '2024-01-01' in every row, kept as a constant", strict=True)
def test_csv_of_one_date(folder):
    return many(folder, lambda i: "2024-01-01")


@bad("b: 'x' in every row, kept as a constant", strict=True)
def test_csv_of_one_text(folder):
    return many(folder, lambda i: "x")


@bad("b: no value in any row, left out", strict=True)
def test_csv_of_nothing_but_holes(folder):
    return many(folder, lambda i: "NA")


@bad("b: numbers, and 'x y' in 1 of 20 cells, read as missing", strict=True)
def test_csv_of_numbers_with_a_text(folder):
    return many(folder, str, "x y")


@bad("b: numbers and text: 'u', 'v', '7', kept as categories", strict=True)
def test_csv_of_text_with_a_number(folder):
    return many(folder, lambda i: "uv"[i % 2], "7")


@bad("line 2, column 'b': got 'u', need a finite", numbers=("b",))
def test_csv_of_text_said_to_be_numbers(folder):
    return many(folder, lambda i: "uv"[i % 2])


@bad("line 2, column 'b': got 'u', need a finite", levels=40)
def test_csv_of_text_with_levels(folder):
    return many(folder, lambda i: "uv"[i % 2])


@bad("column 'b': got missing cells", levels=4)
def test_csv_with_holes_and_levels(folder):
    return table(folder, "a,b\n1,0\n2,NA\n3,1\n")


@bad("missing cells of a table need no option", missing=True)
def test_csv_with_the_option_of_arrays(folder):
    return table(folder, "a,b\n1,0\n2,NA\n3,1\n")


@bad("data.drop: got 'c', need one of the columns a, b", drop=("c",))
def test_csv_without_the_column_to_drop(folder):
    return many(folder, str)


@bad("data.csv: got no column beside", command=True, drop=("a", "b"))
def test_csv_with_every_column_dropped(folder):
    return many(folder, str)


@bad("data.categories: got 'b', need a column that no other of", drop=("b",), categories=("b",))
def test_csv_of_a_column_with_two_uses(folder):
    return many(folder, str)


@bad("data.categories: got 'c', need one of the columns", categories=("c",))
def test_csv_without_the_categories(folder):
    return many(folder, str)


@bad("data.csv.gz: got an unreadable file")
def test_truncated_csv_gz(folder):
    content = gzip.compress(b"a,b\n" + b"1,2\n3,4\n" * 500)
    (folder / "data.csv.gz").write_bytes(content[:-12])
    return str(folder / "data.csv.gz")


@bad("data.csv.gz: got an unreadable file")
def test_damaged_csv_gz(folder):
    content = bytearray(gzip.compress(b"a,b\n" + b"1,2\n3,4\n" * 500))
    content[12:20] = b"\xff" * 8
    (folder / "data.csv.gz").write_bytes(content)
    return str(folder / "data.csv.gz")
