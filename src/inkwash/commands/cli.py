"""The command line. Options are fields of dataclasses; a bad one ends in one line, before anything is written."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import re
import signal
import sys
import traceback
import typing
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union

import tyro

from inkwash.commands.papers import EXPERIMENTS, load_options
from inkwash.core.config import (
    SOURCES,
    Config,
    DataConfig,
    DenoiserConfig,
    Device,
    EvaluateConfig,
    HideName,
    ImputeMethodName,
    MethodName,
    NetworkConfig,
    ProcessConfig,
    TrainConfig,
    WalkConfig,
)
from inkwash.core.errors import ConfigError, InkwashError, RunInterrupted
from inkwash.core.machine import keep_freed_memory
from inkwash.core.options import Count, Range, Seed, check, describe, first_difference
from inkwash.core.version import __version__

DESCRIPTION = """Diffusion models as probability distributions: fit one to your data, sample it, evaluate it.
--version says which inkwash this is."""
_NO_PREFIX = tyro.conf.arg(name="")


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What a training run is decided by, beside its data."""

    data: DataConfig = field(default_factory=DataConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def config(self, source: str) -> Config:
        return Config(source, self.data, self.process, self.denoiser, self.network, self.train)


@dataclass(frozen=True)
class _Drawing:
    """What decides a draw, and where it is made."""

    seed: Seed = 0
    """Seed of the noise. Example i of a seed is the same however many are drawn, and in however many processes."""
    label: str | None = None
    """Of a model with labels: the class to draw from; by default all of them."""
    given: str | None = None
    """Of a model with a condition in numbers: an .npy file of these, for all or one row for each."""
    guidance: Annotated[float, Range(0)] = 1.0
    """With a label or a file given: its power. 0 ignores it, 1 draws as the data under that condition is, more insists
    on what tells it from others."""
    device: Device = "auto"
    """Where to draw; auto is a CUDA GPU if there is one, and otherwise the CPU."""
    walk: Annotated[WalkConfig, _NO_PREFIX] = field(default_factory=WalkConfig)

    def options(self, run: str, walked: bool = True) -> dict[str, Any]:
        """As `Diffusion.sample` takes them, and the device; without what a walk alone has where none is taken."""
        from inkwash.commands.options import walk_options
        from inkwash.core.display import Display
        from inkwash.data.arrays import read_npy

        check(self)
        kept: dict[str, Any] = {"seed": self.seed, "label": self.label, "device": self.device}
        kept |= {} if self.given is None else {"given": read_npy(Path(self.given))}
        return kept | (walk_options(self.walk, run, Display()) | {"guidance": self.guidance} if walked else {})


@dataclass(frozen=True)
class Train(_Training):
    """Fit a diffusion model to data. The same command again resumes a run that was stopped."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA", help=SOURCES)]
    out: str | None = None
    """Folder of the run; runs/NAME by default."""

    def __call__(self) -> None:
        from inkwash.training.fit import fit

        fit(self.config(self.source), None if self.out is None else Path(self.out))


@dataclass(frozen=True)
class Sample:
    """Draw from a trained model: pictures as PNG, and all samples in data units as samples.npy, or .csv of a table."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run, or of one of its checkpoints."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    out: str = "samples"
    """Folder to write to."""

    film: str | None = None
    """A film of the first samples (16, or the points of the first slot): noisy data above, estimates of the
    clean data below. Its name within the folder, ending in .gif, .webp or .png, which is a strip of all frames."""
    frames: Count | None = None
    """At most so many frames, evenly spread over time; 40 by default."""
    drawing: Annotated[_Drawing, _NO_PREFIX] = field(default_factory=_Drawing)

    def __call__(self) -> None:
        if self.frames is not None and self.film is None:
            raise ConfigError("frames", self.frames, "a film to have them")
        from inkwash.commands.sample import draw_to_folder
        from inkwash.core.display import Display

        options = self.drawing.options(self.run) | ({} if self.frames is None else {"frames": self.frames})
        draw_to_folder(self.run, Path(self.out), self.n, Display(), film=self.film, **options)


@dataclass(frozen=True)
class Relatives:
    """Draw examples that share a noisy version with one: the later its time, the less they have in common."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    example: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EXAMPLE")]
    """Number of a held-out example, or a picture or .npy file of one."""
    t: tuple[Annotated[float, Range(0, 1, open_low=True)], ...] = (0.2, 0.4, 0.6, 0.8)
    """Times of the noisy versions; 1 is noise. A row of the picture each."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 8
    """How many for each time."""
    out: str = "relatives"
    """Folder to write to."""
    drawing: Annotated[_Drawing, _NO_PREFIX] = field(default_factory=_Drawing)

    def __call__(self) -> None:
        from inkwash.commands.relatives import relatives_to_folder
        from inkwash.core.display import Display

        options = self.drawing.options(self.run)
        relatives_to_folder(self.run, self.example, self.t, self.n, Path(self.out), Display(), **options)


@dataclass(frozen=True)
class Interpolate:
    """Draw examples on the way from one to another: between their codes, or between noisy versions of both."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Number of a held-out example, or a picture or .npy file of one."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Another."""
    n: Annotated[int, Range(2), tyro.conf.arg(aliases=["-n"])] = 9
    """How many, both ends among them."""
    t: Annotated[float, Range(0, 1, open_low=True)] | None = None
    """Mix noisy versions at this time, and walk back from it; by default codes are mixed, and nothing is walked."""
    out: str = "interpolation"
    """Folder to write to."""
    drawing: Annotated[_Drawing, _NO_PREFIX] = field(default_factory=_Drawing)

    def __call__(self) -> None:
        if self.t is None and (self.drawing.walk, self.drawing.guidance) != (WalkConfig(), 1):
            raise ConfigError("t", self.t, "a time, to walk from with a sampler, a grid or guidance")
        from inkwash.commands.relatives import interpolate_to_folder
        from inkwash.core.display import Display

        options = self.drawing.options(self.run, walked=self.t is not None)
        interpolate_to_folder(self.run, self.a, self.b, self.n, Path(self.out), Display(), t=self.t, **options)


@dataclass(frozen=True)
class Inpaint:
    """Draw what is hidden of a picture, series or volume, given the rest: draws, mean and spread, as arrays and as one
    picture."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run, or of one of its checkpoints."""
    example: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EXAMPLE")]
    """Number of a held-out example, or a picture or .npy file of one."""
    mask: str | None = None
    """What is known: white in a picture, true in a boolean .npy file."""
    hide: HideName | None = None
    """Or what to hide: one half (of a series left or right), or about half of the places at random."""
    n: Annotated[int, Range(2), tyro.conf.arg(aliases=["-n"])] = 16
    """How many draws."""
    out: str = "inpainted"
    """Folder to write to."""
    method: MethodName | None = None
    """How to draw from the product; moment-matching by default, smc for bits."""
    drawing: Annotated[_Drawing, _NO_PREFIX] = field(default_factory=_Drawing)

    def __call__(self) -> None:
        if (self.mask is None) == (self.hide is None):
            raise ConfigError("mask", "both or neither of mask and hide", "either a file, or what to hide")
        from inkwash.commands.inpaint import inpaint_to_folder, read_mask
        from inkwash.core.display import Display
        from inkwash.posterior import METHODS

        mask = self.hide or read_mask(Path(self.mask or ""))
        options = self.drawing.options(self.run) | {"method": self.method and METHODS[self.method]()}
        inpaint_to_folder(self.run, self.example, mask, self.n, Path(self.out), Display(), **options)


@dataclass(frozen=True)
class Impute:
    """Draw the missing entries of examples, given the others: completed tables, and quantiles of each missing cell."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run, or of one of its checkpoints."""
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Examples with missing entries: a .csv or .parquet file with the columns of the run's table, or an .npy file of
    other data with NaN for what is missing."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 20
    """How many draws of each missing entry."""
    out: str = "imputed"
    """Folder to write to."""
    method: ImputeMethodName | None = None
    """How to draw; moment-matching by default, smc for bits and for tables with categories."""
    drawing: Annotated[_Drawing, _NO_PREFIX] = field(default_factory=_Drawing)

    def __call__(self) -> None:
        from inkwash.commands.impute import impute_to_folder
        from inkwash.core.display import Display
        from inkwash.posterior import METHODS

        options = self.drawing.options(self.run) | {"method": self.method and METHODS[self.method]()}
        impute_to_folder(self.run, Path(self.source), self.n, Path(self.out), Display(), **options)


@dataclass(frozen=True)
class Evaluate:
    """Held-out bound by part and by time, over-fitting, samples against data, memorisation, drift: a report in
    RUN/evaluation."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    device: Device = "auto"
    """Where to evaluate; auto is a CUDA GPU if there is one, and otherwise the CPU."""
    config: Annotated[EvaluateConfig, _NO_PREFIX] = field(default_factory=EvaluateConfig)

    def __call__(self) -> None:
        from inkwash.core.display import Display
        from inkwash.evaluation.evaluate import evaluate

        evaluate(self.run, self.config, Display(), device=self.device)


@dataclass(frozen=True)
class Inspect(_Training):
    """Say what a run or a checkpoint is: data, network, progress, versions, every option. Of data: what training would
    make of it, with the options of train; nothing is trained or written."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|DATA")]
    """Folder of a run, or of one of its checkpoints; or data, as of train."""

    def __call__(self) -> None:
        from inkwash.commands.inspect import inspect_data, inspect_run
        from inkwash.core.display import Display
        from inkwash.training.run import is_run

        config = self.config(self.what)
        if not is_run(Path(self.what)):
            return inspect_data(config, Display())
        given = first_difference(config, Config(self.what))
        if given:
            raise ConfigError(given[0], given[1], "data to try it on; a run has the options it was trained with")
        inspect_run(self.what, Display())


@dataclass(frozen=True)
class Papers:
    """Claims of the papers and notes as experiments: numbers, a picture and what was found. Without a name: a list."""


COMMANDS: dict[str, Any] = {
    "train": Train,
    "sample": Sample,
    "relatives": Relatives,
    "interpolate": Interpolate,
    "inpaint": Inpaint,
    "impute": Impute,
    "evaluate": Evaluate,
    "inspect": Inspect,
    "papers": Papers,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with the code of what went wrong, if anything did."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        return print(f"inkwash {__version__}")
    debug = "--debug" in given
    warnings.showwarning = _show_warning
    try:
        command = _parse([word for word in given if word != "--debug"])
        check(command)
        keep_freed_memory()
        command()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except (InkwashError, OSError, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        _fail(error)


def _fail(error: BaseException) -> NoReturn:
    if isinstance(error, KeyboardInterrupt):
        line, code = "interrupted", 130
    elif isinstance(error, RunInterrupted):
        line, code = str(error), error.exit_code
    elif isinstance(error, InkwashError):
        line, code = f"error: {error}", error.exit_code
    else:
        line, code = f"error: {getattr(error, 'filename', None) or 'files'}: got {error}, need a working file system", 6
    print(" ".join(line.split()), file=sys.stderr)
    sys.exit(code)


def _show_warning(message: Warning | str, category: type[Warning], *details: Any, **more: Any) -> None:
    if category is UserWarning:
        print(f"warning: {message}", file=sys.stderr)


def _parse(words: list[str]) -> Any:
    """The command that the words ask for.

    Raises:
        ConfigError: they ask for none, or have an option that it does not.
    """
    if words and not words[0].startswith("-"):
        _require_choice("command", words[0], list(COMMANDS))
        if words[0] == "papers":
            return _parse_experiment(words[1:])
        _require_known_options(words[1:], _options(COMMANDS[words[0]]))
    commands: Any = Union[tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())]  # noqa: UP007
    return _read(commands, "inkwash", words or ["--help"], " ".join(["inkwash", *words[:1]]), DESCRIPTION)


def _parse_experiment(words: list[str]) -> Any:
    """The experiment that the words after `papers` ask for; without a name, the list of them and the end."""
    if not words or words[0].startswith("-"):
        _require_known_options(words, {})
        listed = (Annotated[Papers, tyro.conf.subcommand(n, description=text)] for n, text in EXPERIMENTS.items())
        return _read(Union[tuple(listed)], "inkwash papers", words or ["--help"], "inkwash papers", Papers.__doc__)  # noqa: UP007
    _require_choice("experiment", words[0], list(EXPERIMENTS))
    options = load_options(words[0])
    _require_known_options(words[1:], _options(options))
    where = f"inkwash papers {words[0]}"
    return _read(options, where, words[1:], where)


def _read(kind: Any, prog: str, words: list[str], where: str, description: str | None = None) -> Any:
    """The object of the kind that the words describe; what is wrong with them in one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=prog, description=description, args=words)
    except SystemExit as error:
        if not error.code:
            raise
    plain = re.sub(r"[│╭╮╰╯]|(─{2}|-{3}).*|─", " ", said.getvalue())
    raise ConfigError(where, " ".join(plain.split("For full")[0].split()), f"what {where} --help says")


def _options(command: Any, prefix: str = "") -> dict[str, Any]:
    """The options of a command, or of a config within it, by dotted name, with their annotations."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(command, include_extras=True).items():
        kind, *extras = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        if dataclasses.is_dataclass(kind):
            found |= _options(kind, prefix if _NO_PREFIX in extras else f"{prefix}{name}.")
        elif tyro.conf.Positional not in extras:
            found[prefix + name] = hint
    return found


def _require_known_options(words: list[str], options: dict[str, Any]) -> None:
    """Refuse unknown options, with the nearest known one, and numbers and choices that are none."""
    for i, word in enumerate(words):
        if not word.startswith("--") or word == "--help":
            continue
        name, _, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name not in options:
            close = difflib.get_close_matches(name, options, n=1)
            hint = f"; did you mean --{close[0]}?" if close else ""
            raise ConfigError(word, "an unknown option", f"one that the command has{hint}")
        value = value or next(iter(words[i + 1 : i + 2]), "")
        if not _readable(value, options[name]):
            raise ConfigError(name, repr(value), describe(options[name]))


def _readable(word: str, hint: Any) -> bool:
    """Whether a word can be read as a number or choice, where the option is one."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _readable(word, arguments[0])
    if origin is Literal:
        return word in arguments
    if arguments:
        return any(_readable(word, kind) for kind in arguments if kind is not ...) or (
            type(None) in arguments and word == "None"
        )
    if hint not in (int, float):
        return hint is not type(None)
    try:
        hint(word)
    except ValueError:
        return False
    return True


def _require_choice(where: str, got: str, choices: list[str]) -> None:
    if got not in choices:
        close = difflib.get_close_matches(got, choices, n=1)
        raise ConfigError(
            where, repr(got), f"one of {', '.join(choices)}" + (f"; did you mean {close[0]}?" if close else "")
        )


if __name__ == "__main__":
    main()
