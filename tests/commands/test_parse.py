"""Reading of words: what tyro's own readers would read, and a bad value by the name of its option."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
import tyro
from bugs import bug

from inkwash.commands import parse as parsing
from inkwash.commands.cli import COMMANDS
from inkwash.commands.papers import EXPERIMENTS, load_options
from inkwash.commands.parse import NO_PREFIX, description_of, option_names, parse
from inkwash.core.errors import ConfigError
from inkwash.core.options import Range

KINDS = {name: kind for name, kind in COMMANDS.items() if name != "papers"} | {
    f"papers {name}": load_options(name) for name in EXPERIMENTS
}


@dataclass(frozen=True)
class Inner:
    deep: bool | None = None
    """A truth value, or none."""


@dataclass(frozen=True)
class Command:
    """One option of each kind."""

    place: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
    """Where."""
    count: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 3
    """A number."""
    share: float | None = None
    """A real number, or none."""
    kind: Literal["a", "b"] = "a"
    """A choice."""
    steps: int | Literal["inf"] | None = None
    """A number, a choice, or none."""
    sizes: tuple[int, ...] | None = None
    """Numbers."""
    flag: bool = False
    """A flag."""
    text: str | None = None
    """Text."""
    inner: Inner = field(default_factory=Inner)
    flat: Annotated[Inner, NO_PREFIX] = field(default_factory=Inner)


GOOD = [
    "x",
    "x -n 5 --share 0.5 --kind b --steps inf --sizes 1 2 3 --flag --text b --inner.deep True --deep False",
    "--share=1e-3 --steps=7 x --no-flag --sizes 4 --text 12 --count=2",
    "x --share None --steps None --sizes None --text None --inner.deep None",
]


@bug("any word is true", parsing, "_READ", parsing._READ | {bool: bool}, words=GOOD[1])
@pytest.mark.parametrize("words", GOOD)
def test_good_words_are_read_as_tyro_reads_them(words):
    assert parse(Command, "command", words.split()) == tyro.cli(Command, args=words.split())


@pytest.mark.parametrize("name", KINDS)
def test_help_is_that_of_tyro(name, capsys):
    printed = []
    kind, about = KINDS[name], description_of(KINDS[name])
    for read in (
        lambda: parse(kind, name, ["--help"]),
        lambda: tyro.cli(kind, prog=name, description=about, args=["-h"]),
    ):
        with pytest.raises(SystemExit) as end:
            read()
        assert not end.value.code
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "--json" in printed[0]
    for option in option_names(KINDS[name]):
        assert f"--{option.replace('_', '-')}" in printed[0]


NEED = "PLACE and options, each with its value (command --help shows them)"
BAD = {
    "x -n five": "count: got 'five', need an integer >= 1",
    "x -n 0": "count: got 0, need an integer >= 1",
    "x --share half": "share: got 'half', need a number",
    "x --kind c": "kind: got 'c', need one of a, b",
    "x --steps many": "steps: got 'many', need an integer or one of inf",
    "x --sizes 1 two": "sizes: got (1, 'two'), need a list, each an integer",
    "x --inner.deep maybe": "inner.deep: got 'maybe', need true or false",
    "x --deep maybe": "deep: got 'maybe', need true or false",
    "x --flg": "--flg: got an unknown option, need one of those that command --help shows; did you mean --flag?",
    "--kin b x": "--kin: got an unknown option, need one of those that command --help shows; did you mean --kind?",
    "x --kin=b": "--kin: got an unknown option, need one of those that command --help shows; did you mean --kind?",
    "": f"command: got nothing, need {NEED}",
    "x y": f"command: got 'x y', need {NEED}",
    "x --kind": f"command: got 'x --kind', need {NEED}",
    "x --flag yes": f"command: got 'x --flag yes', need {NEED}",
}


def refusal(words):
    """The line that words are refused with."""
    try:
        return f"none: {parse(Command, 'command', words.split())}"
    except ConfigError as error:
        return str(error)


@bug("options in a part without prefix go unchecked", parsing, "NO_PREFIX", None, words="x --deep maybe")
@pytest.mark.parametrize("words", BAD)
def test_bad_words_are_one_line(words, capsys):
    assert refusal(words) == BAD[words]
    assert capsys.readouterr() == ("", "")


def test_true_and_false_may_be_written_small():
    assert parse(Command, "command", ["x", "--deep", "true", "--inner.deep", "false"]).flat.deep is True
