"""Whatever text a file holds: it is a table that comes back by its own decisions, or an error of one line."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings, strategies as some

import inkwash as iw
from inkwash.core.errors import DataError
from inkwash.data.csv_files import dump_csv
from inkwash.data.dataset import load_dataset
from inkwash.data.readers import read_rows

CELLS = [
    *("1", "2.5", "-3", "007", "1e5", "12%", "$4", "€1.5", "1,5", "1.234,5", "1 234", "(3.5)", "1234567890123456789"),
    *("", "NA", "?", "unknown", "inf", "-Infinity", "-999", "TRUE", "false", "True", "yes", "x", "é", "a b", "#", "'"),
    *("2024-01-31", "03/04/2024", "31.12.2024", "12:30", "5 May 98", "2024-01-31T10:00:00Z", "_1", "1_0", "+5", "."),
]
COLUMN = some.lists(some.sampled_from(CELLS), min_size=1, max_size=4)
NAMES = some.sampled_from(["a", "b", "id", "", "index", "2020", "2021", "x y", "user_id", "1.5"])
TABLE = some.lists(some.tuples(NAMES, COLUMN), min_size=1, max_size=4, unique_by=lambda column: column[0])


def text_of(table, delimiter, rows=24):
    cells = [[f'"{cell}"' if delimiter in cell else cell for cell in column] for _, column in table]
    lines = (delimiter.join(column[i % len(column)] for column in cells) for i in range(rows))
    return "\n".join([delimiter.join(name for name, _ in table), *lines]) + "\n"


def require_back(content, **options):
    """If the file is a table, its examples are read as what they were after they were written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.csv")
        path.write_bytes(content)
        try:
            data = load_dataset(path, iw.DataConfig(**options))
        except DataError:
            return
        Path(folder, "again.csv").write_bytes(dump_csv(data.spec, data.data))
        assert np.array_equal(read_rows(Path(folder, "again.csv"), data.spec), data.data, equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(TABLE, some.sampled_from([",", ";", "\t"]), some.sampled_from(["refuse", "missing"]))
def test_a_table_of_any_cells_require_back(table, delimiter, infinite):
    require_back(text_of(table, delimiter).encode(), infinite=infinite)


@settings(max_examples=60, deadline=None)
@given(some.text(alphabet='a1.,;"\n\t #-0é\r\x00', max_size=60), some.sampled_from(["utf-8", "latin-1", "utf-16"]))
def test_any_text_is_a_table_or_an_error(text, encoding):
    require_back(text.encode(encoding))
