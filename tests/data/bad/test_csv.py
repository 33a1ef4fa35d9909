""".csv files that cannot be read, and columns that cannot be used."""

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


@bad("data.csv line 3, column 'b': got 'x y', need a finite number")
def test_csv_with_text(folder):
    return table(folder, "a,b\n1,2\n3,x y\n")


@bad("data.csv line 3, column 'b': got '-inf'")
def test_csv_with_infinity(folder):
    return table(folder, "a,b\n1,2\n3,-inf\n")


@bad("data.csv line 3, column 'b': got '1e999'")
def test_csv_beyond_real_numbers(folder):
    return table(folder, "a,b\n1,2\n3,1e999\n")


@bad("data.csv line 3, column 'b': got '1_000'")
def test_csv_with_digits_apart(folder):
    return table(folder, "a,b\n1,2\n3,1_000\n")


@bad("line 2, column 'b': got 9007199254740993")
def test_csv_beyond_whole_numbers(folder):
    return table(folder, f"a,b\n1,{2**53 + 1}\n3,4\n")


@bad("data.csv: got column 'a' twice")
def test_csv_with_a_name_twice(folder):
    return table(folder, "a,b,a\n1,2,3\n4,5,6\n")


@bad("data.csv: got no name of column 1")
def test_csv_without_a_name(folder):
    return table(folder, "a,,b\n1,2,3\n4,5,6\n")


@bad("column 'b': got the constant 7")
def test_csv_with_a_constant(folder):
    return table(folder, "a,b\n" + "".join(f"{i},7\n" for i in range(9)))


@bad("data.csv: got an unreadable file")
def test_csv_of_another_encoding(folder):
    (folder / "data.csv").write_bytes("a,grö\xdfe\n1,2\n".encode("latin-1"))
    return str(folder / "data.csv")


@bad("data.csv: got an unreadable file")
def test_csv_with_an_open_quote(folder):
    return table(folder, 'a,b\n1,"2\n3,4\n')


@bad("data.csv, column 'a;b': got a text of its own in each row")
def test_csv_with_semicolons(folder):
    return table(folder, "a;b\n1;2\n3;4\n")


@bad("data.csv line 1: got the number 5.1 among text")
def test_csv_of_rows_without_names(folder):
    return table(folder, "5.1,3.5,setosa\n4.9,3.0,virginica\n")


@bad("data.csv, column 'b': got a text of its own in each row")
def test_csv_of_names(folder):
    return many(folder, lambda i: f"name{i}")


@bad("data.csv, column 'b': got 80 categories, need at most 64, for 200 rows, or up to 10000 with data.categories")
def test_csv_of_many_texts(folder):
    return many(folder, lambda i: f"t{i % 80}", rows=200)


@bad("column 'b': got 10001 categories, need at most 10000", categories=("b",))
def test_csv_of_too_many_categories(folder):
    return many(folder, lambda i: f"t{i}", rows=10001)


@bad("data.csv, column 'b': got dates such as '01/02/2024', of which none says whether the day or the month comes")
def test_csv_of_dates_that_are_two_dates(folder):
    return many(folder, lambda i: f"0{1 + i // 6}/02/2024")


@bad("data.csv, column 'b': got 2024-01-01 in every row, need values that vary")
def test_csv_of_one_date(folder):
    return many(folder, lambda i: "2024-01-01")


@bad("data.csv, column 'b': got the 'x' in every row")
def test_csv_of_one_text(folder):
    return many(folder, lambda i: "x")


@bad("data.csv, column 'b': got the 'x' in every row")
def test_csv_of_one_text_and_holes(folder):
    return many(folder, lambda i: "x" if i % 2 else "NA")


@bad("data.csv, column 'b': got no value")
def test_csv_of_nothing_but_holes(folder):
    return many(folder, lambda i: "NA")


@bad("data.csv line 6, column 'b': got 'x y', need a finite number")
def test_csv_of_numbers_with_a_text(folder):
    return many(folder, str, "x y")


@bad("data.csv line 6, column 'b': got the number 7 among text")
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
