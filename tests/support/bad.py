"""Bad data, and what the message about it must say.

    @bad("data.csv line 3: got 1 cells, need 2")
    def test_ragged_csv(folder):
        return table(folder, "a,b\\n1,2\\n3\\n4,5\\n")

The function writes bad data into an empty folder and returns the source; keywords of `bad` are options of `DataConfig`.
It becomes a test, which demands that the reader raises a `DataError` with these words and unpickles nothing, and that
`train` raises the same before its first file operation. With `command=True` the command line must end with exit code 3
and the same words on one line, too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults import Crash, fail_at, hooked, run_cli, train_words, tree

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.training.fit import train


class Bomb:
    """An object that leaves a trace in the folder if it is ever unpickled."""

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "unpickled"

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.trace), "w")


def pickled(folder: Path) -> bytes:
    """A file that leaves a trace in the folder if it is ever unpickled."""
    return pickle.dumps(Bomb(folder))


def bad(words: str, /, *, command: bool = False, **options: Any) -> Callable[[Callable[[Path], str]], Any]:
    """Make a function that writes bad data a test of the message about it."""

    def registered(write: Callable[[Path], str]) -> Any:
        def test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
            monkeypatch.chdir(tmp_path)
            source = write(tmp_path)
            before = tree(tmp_path)
            for use in (_read, _train):
                _require_named(words, use, source, DataConfig(**options))
            if command:
                assert run_cli(train_words(source, "run", *_words_of(options))) == 3
                _require_one_line(words, capsys.readouterr())
            assert tree(tmp_path) == before
            assert not (tmp_path / "run").exists()

        test.__doc__ = write.__doc__
        return test

    return registered


def _read(source: str, config: DataConfig) -> None:
    data = load_dataset(source, config)
    fit_transform(data.spec, data.data)


def _train(source: str, config: DataConfig) -> None:
    with hooked(fail_at(0, Crash("a file operation before the data was found to be good"))):
        train(source, "run", data=config)


def _require_named(words: str, use: Callable[[str, DataConfig], None], source: str, config: DataConfig) -> None:
    with pytest.raises(DataError) as caught:
        use(source, config)
    assert words in str(caught.value)


def _require_one_line(words: str, output: Any) -> None:
    assert words in output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err + output.out


def _words_of(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield f"--data.{name}"
        if value is not True:
            yield from map(str, value if isinstance(value, tuple) else (value,))
