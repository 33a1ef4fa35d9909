"""A case of bad data fails when the data is good, and when the message says something else."""

import pytest
from bad import bad
from datafiles import noise, npy


@pytest.mark.parametrize(
    ("words", "columns"), [("", 2), ("another message", 0)], ids=["data is good", "message is another"]
)
def test_a_case_fails_when(words, columns, tmp_path, monkeypatch, capsys):
    case = bad(words)(lambda folder: npy(folder, noise(20, columns)))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        case(tmp_path, monkeypatch, capsys)
