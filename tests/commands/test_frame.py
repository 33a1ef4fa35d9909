"""What all commands share: --quiet, --json, progress, signals, and messages that say what to type."""

import contextlib
import json
import os
import re
import shlex
import signal
import sys
import time
import typing
from dataclasses import fields, is_dataclass
from pathlib import Path
from subprocess import PIPE, Popen

import numpy as np
import pytest
from bugs import bug
from faults import fork, points, run_cli, train_words, tree, wait, wait_until, without_pictures

from inkwash.commands import cli, drawing, frame, parse
from inkwash.commands.papers import EXPERIMENTS, load_options
from inkwash.commands.parse import SHARED_OPTIONS, option_names
from inkwash.core import display
from inkwash.core.config import BUILTIN_NAMES
from inkwash.core.display import Display, Document, Voice, speaking

WORK = {
    "sample": "sample points -n 3",
    "relatives": "relatives images 0 -n 1 --t 0.5",
    "interpolate": "interpolate images 0 1 -n 2",
    "inpaint": "inpaint images 0 --hide left -n 2",
    "impute": "impute points gaps.npy -n 1",
    "evaluate": "evaluate many --examples 10",
    "export": "export points --to torch-export",
    "inspect": "inspect points",
    "papers": "papers products --draws 2 --steps 2",
}
"""Every command at its smallest; train is the fixture's own."""


@pytest.fixture(scope="module")
def home(home):
    """The runs of the tests beside, and one of data that is enough to evaluate on."""
    points(home / "many.npy", 60)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert run_cli(train_words(home / "many.npy", home / "many", "--train.steps", 3)) == 0
    return home


@pytest.fixture
def work(home, alone):
    """The folder of the runs, seen from an empty folder."""
    for name in ("points", "images", "many", "points.npy", "images.npy"):
        (alone / name).symlink_to(home / name)
    data = np.load(home / "points.npy")[:2].astype(np.float64)
    data[0, 1] = np.nan
    np.save(alone / "gaps.npy", data)
    return alone


def strict(text):
    """JSON as machines read it: one document, without NaN."""
    return json.loads(text, parse_constant=pytest.fail)


@bug("a silent voice is not heard", frame, "speaking", lambda voice: contextlib.nullcontext(), name="sample")
@pytest.mark.parametrize("name", WORK)
def test_quiet_commands_print_nothing(name, work, capfd, quick_evaluation):
    assert run_cli([*WORK[name].split(), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", WORK)
def test_json_is_one_document_that_names_the_files_that_are_there(name, work, capfd, quick_evaluation):
    before = set(tree(work))
    assert run_cli(["--json", *WORK[name].split()]) == 0
    printed = capfd.readouterr()
    found = strict(printed.out)
    assert printed.err == ""
    assert (found["command"].split()[0], found["error"]) == (name, None)
    assert found["options"].keys() == {option.name for option in fields(_kind(WORK[name].split()))}
    new = {name for name in set(tree(work)) - before if "/." not in name}
    assert new <= set(found["files"])
    assert all(Path(name).exists() for name in found["files"])
    assert found["lines"]


def test_json_has_the_numbers_that_the_files_have(work, capfd, quick_evaluation):
    for command, part, file in (
        ("evaluate many --examples 10", None, "many/evaluation/evaluation.json"),
        ("inspect points", "config", "points/config.json"),
    ):
        assert run_cli([*command.split(), "--json"]) == 0
        result = strict(capfd.readouterr().out)["result"]
        assert (result if part is None else result[part]) == json.loads((work / file).read_text())
    assert run_cli(["papers", "--json"]) == 0
    assert strict(capfd.readouterr().out)["result"]["experiments"] == EXPERIMENTS


def test_training_leaves_its_summary_in_the_document(work, capfd, quick):
    assert run_cli(train_words("points.npy", "run", "--train.steps", 1, "--json")) == 0
    found = strict(capfd.readouterr().out)["result"]
    summary = json.loads((work / "run/summary.json").read_text())
    assert found == {"run": "run", "step": 1, **summary}


def test_an_error_is_in_the_document_and_on_standard_error(work, capfd):
    assert run_cli(["sample", "nowhere", "--json"]) == 4
    printed = capfd.readouterr()
    assert strict(printed.out)["error"] == {"line": printed.err.strip(), "exit_code": 4}
    assert printed.err.startswith("error: nowhere: got no such folder")
    assert run_cli(["sample", "nowhere", "--quiet"]) == 4
    assert capfd.readouterr() == ("", printed.err)


def test_a_display_outside_of_a_command_speaks_as_ever(capsys):
    document = Document()
    with speaking(Voice(document=document)):
        Display().say("for machines")
    Display().say("for people")
    assert (document.lines, capsys.readouterr().out) == (["for machines"], "for people\n")


# Progress


def test_long_work_without_a_terminal_says_how_far_it_is(capsys, monkeypatch):
    """Lines after 5, 10, 20 … seconds of a clock that runs a second with each of 40 items."""
    now = iter(range(1000))
    monkeypatch.setattr(display.time, "monotonic", lambda: float(next(now)))
    with Display().bar("work") as done:
        for k in range(40):
            done((k + 1) / 40)
    lines = capsys.readouterr().out.splitlines()
    assert [re.sub(r":.*", "", line) for line in lines] == ["work"] * 3
    assert lines[0] == "work: 12%, 0:00:35 left"


# Signals


def busy():
    """Work that would never end."""
    time.sleep(60)


@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_a_command_with_its_code_and_one_line(number, word, work, monkeypatch):
    monkeypatch.setattr(drawing.Sample, "__call__", lambda self: (print("begun", flush=True), busy()))
    before = tree(work)
    child = fork(lambda: cli.main(["sample", "points"]), work / "log")
    wait_until(lambda: (work / "log").exists() and "begun" in (work / "log").read_text())
    started = time.monotonic()
    os.kill(child, number)
    assert wait(child) == 128 + number
    assert time.monotonic() - started < 5
    assert (work / "log").read_text() == f"begun\n{word}\n"
    (work / "log").unlink()
    assert tree(work) == before


def test_the_second_signal_leaves_at_once(work, monkeypatch):
    def stubborn(self):
        try:
            print("begun", flush=True)
            busy()
        finally:
            print("cleaning", flush=True)
            busy()

    monkeypatch.setattr(drawing.Sample, "__call__", stubborn)
    child = fork(lambda: cli.main(["sample", "points"]), work / "log")
    for word in ("begun", "cleaning"):
        wait_until(lambda word=word: (work / "log").exists() and word in (work / "log").read_text())
        os.kill(child, signal.SIGINT)
    assert wait(child, 5) == 130


def test_handlers_are_given_back(work):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run_cli(["inspect", "nowhere"])
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


# Messages

WRONG = [
    "inpaint images 0",
    "inpaint images 0 --hide left --mask images.npy",
    "inpaint images 0 --mask nowhere.png",
    "inpaint images 99 --hide left",
    "inpaint images nobody.png --hide left",
    "inpaint points 0 --hide left",
    "forecast points 0 --horizon 2",
    "evaluate points --data points.npy",
    "evaluate points --labels y",
    "interpolate images 0 1 --guidance 2",
    "interpolate images 0 1 --sampler ddim",
    "interpolate images 0 99",
    "relatives images 99",
    "relatives images 0 --label cat",
    "sample points --label cat",
    "sample points --given points.npy",
    "sample points --guidance 2",
    "sample points --sampler adams --eta 0.5",
    "sample points --sampler learned",
    "sample points --sampler learned --steps 3 --grid angle",
    "sample points --grid learned",
    "sample points --frames 5",
    "sample points --film a.tif",
    "sample points --film in/a.gif",
    "sample points --clip True",
    "sample points --variance learned",
    "sample points --sampler dpm-solver --order 4",
    "sample pionts",
    "impute points points.npy",
    "impute points images.npy",
    "impute points nowhere.csv",
    "evaluate many --examples 10 --guidance 2",
    "evaluate images --imputed 5 --examples 3",
    "export points --to onnx --guidance 2",
    "export points --to torch-export --out a.onnx",
    "export points --to diffusers --out points",
    "push points me",
    "push points me/points@main",
    "inspect points --train.steps 3",
    "studio points --port 70000",
    "compress points points.npy --steps 0",
    "decompress points points.ink",
    "train nowhere.npy",
    "train dgits",
    "train digits --out images.npy",
    "train digits --process.rate 0.5",
    "train digits --process.log-snr-first 3 --process.schedule cosine",
    "train swiss-roll --denoiser.predicts levels",
    "train swiss-roll --denoiser.clip True",
    "train heartbeat --process.kind bernoulli --denoiser.predicts x",
    "train heartbeat --process.kind bernoulli --process.schedule karras",
    "train digits --train.augment-share 0.5",
    "train digits --train.condition-dropout 0.5",
    "train digits --network.kind mlp",
    "train digits --denoiser.variance analytic --train.objective bound",
    "train digits --train.precision fp16 --train.steps 1",
    "train digits --data.key x",
    "train swiss-roll --model latent",
    "train digits --model latent --autoencoder.stages joint --autoencoder.steps 3",
    "train digits --model vae --train.objective bound",
    "train digits --sampling.sampler learned",
    "train digits --sampling.eta 0.5",
    "train digits more",
    "sample points --smapler ddim",
    "papers cold --degradation fog",
    "papers table-iddpm --strides 200",
]


def _kind(words):
    return load_options(words[1]) if words[0] == "papers" else cli.COMMANDS[words[0]]


def _values(kind):
    """Every name that an option of a command may take."""
    for hint in typing.get_type_hints(kind).values():
        if is_dataclass(hint):
            yield from _values(hint)
        for each in (hint, *typing.get_args(hint)):
            yield from (name for name in typing.get_args(each) if isinstance(name, str))


@bug(
    "options bear their names in Python",
    parse,
    "_flag",
    lambda name: name,
    words="train digits --train.condition-dropout 0.5",
)
@pytest.mark.parametrize("words", WRONG)
def test_a_message_names_what_to_type_and_it_exists(words, work, capsys):
    """In what is needed there is a flag, a word of the usage, a name that an option takes, a range, or something that
    lies in the folder; and every flag in the message is one of the command, or of a command that the message names."""
    before = tree(work)
    assert run_cli(words.split()) in (2, 3, 4, 10)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert tree(work) == before
    _, _, need = line.partition(", need ")
    kinds = [
        _kind(words.split()),
        *(cli.COMMANDS[name] for name in re.findall(r"inkwash (\w+)", line) if name != "papers"),
    ]
    flags = {f"--{name.replace('_', '-')}" for kind in kinds for name in option_names(kind)}
    flags |= {"-n", "--help", *(f"--{name}" for name in SHARED_OPTIONS)}
    named = re.findall(r"(?<![\w-])--?[a-z][\w.-]*[a-z]|(?<!\S)-n\b", need)
    assert set(named) <= flags, (line, set(named) - flags)
    names = {name for kind in kinds for name in _values(kind)} | {*BUILTIN_NAMES, "points", "many", "images"} - {
        "nothing"
    }
    spoken = set(re.findall(r"[\w-]+", need)) - {"nothing"}
    usable = (
        named
        or spoken & names
        or re.search(
            r"^\d|>= |<= |\b\d+ (to|or)\b|\.(npy|npz|png|gif|csv|onnx|pt2)\b|OWNER/NAME|shape \(|\bfalse\b|inkwash \w+",
            need,
        )
    )
    assert usable, line


def test_every_command_is_asked_for_something_wrong():
    assert {words.split()[0] for words in WRONG} == set(cli.COMMANDS)


@bug("the old folder is offered", frame.storage, "unused", lambda path: path)
def test_another_option_for_a_run_offers_a_command_that_trains(work, capsys, monkeypatch):
    """Both values are said, and the command, as it stands in the message, trains a run of its own."""
    without_pictures(monkeypatch)
    words = train_words(work.parent / "none", "points", "--train.steps", 1)
    words[1] = json.loads((work / "points/config.json").read_text())["source"]
    assert run_cli(words) == 2
    line = capsys.readouterr().err
    assert "--train.steps: got 1, need 3, as the run points was started with" in line
    offered = shlex.split(line[line.index("inkwash train") :])
    assert run_cli(offered[1:]) == 0
    assert (work / "points-2" / "summary.json").exists()
    assert run_cli([*offered[1:-2], "--out", offered[-1]]) == 0


TORCH = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (ZeroDivisionError("of\nours"), 70, "internal error: ZeroDivisionError: of ours; please report it"),
        (ValueError("\x1b[2J"), 70, r"ValueError: \x1b[2J;"),
        (MemoryError(), 9, "error: memory"),
        (RuntimeError(TORCH), 9, "error: memory"),
        (OSError(28, "No space left on device", "a"), 6, "error: a"),
    ],
)
@bug("every end is alike", frame, "_ending", lambda error, kind: ("error", 1))
def test_whatever_happens_ends_in_one_line_and_a_code_of_its_own(work, monkeypatch, capsys, error, code, word):
    def fail(self):
        raise error

    monkeypatch.setattr(cli.Inspect, "__call__", fail)
    assert run_cli(["inspect", "points"]) == code
    shown = capsys.readouterr()
    assert word in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert run_cli(["inspect", "points", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_any_moment_ends_in_one_line(work, number, code):
    """From the first of our own code on: before it, Python is not yet there to be asked."""
    for moment in np.linspace(0, 4, 15):
        process = Popen(
            [sys.executable, "-c", STARTED, *["sample", "points", "-n", "3", "--steps", "3"]], stdout=PIPE, stderr=PIPE
        )
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(number)
        errors = process.communicate()[1].decode()
        if process.returncode:
            assert (process.returncode, errors.count("\n")) == (code, 1), errors
    assert not list(Path().rglob("*.new"))


STARTED = """
import builtins, signal
import inkwash.__main__ as start
before = signal.signal
def noted(*given):
    found = before(*given)
    if given[0] == signal.SIGTERM:
        signal.signal = before
        print("on", flush=True)
    return found
signal.signal = noted
start.main()
"""
