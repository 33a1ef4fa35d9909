"""What commands cost and touch: imports, the network, signals."""

import signal
import subprocess
import sys
import time

import pytest
from faults import digests, fork, run_cli, train_words, wait


def running(*words):
    """Code that runs a command, which may exit."""
    return f"from inkwash.commands import cli\ntry: cli.main({list(words)})\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    "code",
    [
        "import inkwash",
        "import inkwash, inkwash.commands.cli, inkwash.core.config, inkwash.core.errors, inkwash.core.storage",
        running("--help"),
        running("train", "--help"),
        running("train", "digits", "--train.steps", "0"),
        running("sample", "runs/digits", "--smapler", "ddim"),
        running("papers"),
    ],
)
def test_nothing_heavy_is_imported_for_nothing(code):
    ask = "\nimport sys\nheavy = {'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'PIL', 'accelerate'}"
    done = subprocess.run(
        [sys.executable, "-c", code + ask + "\nprint(sorted(heavy & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def without_network():
    """A command that runs another without a network, where the system lets us."""
    prefix = ["unshare", "-Un"]
    try:
        return prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else []
    except OSError:
        return []


def train_and_sample(words):
    """Run in a process of its own, which an audit hook forbids the network for good."""

    def hook(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"):
            raise RuntimeError(f"{event} {arguments}")

    sys.addaudithook(hook)
    sys.exit(run_cli(words) or run_cli(["sample", "run", "-n", 4]))


def test_train_and_sample_use_no_network(home, alone):
    words = train_words(home / "points.npy", "run", "--train.steps", 3)
    assert wait(fork(lambda: train_and_sample(words), alone / "log")) == 0, (alone / "log").read_text()
    assert digests(alone / "run") == digests(home / "points")


@pytest.mark.slow
def test_train_and_sample_need_no_network(home, alone):
    code = "import sys; from inkwash.commands.cli import main; main(sys.argv[1:])"
    words = [*without_network(), sys.executable, "-c", code]
    for command in (train_words(home / "points.npy", "run", "--train.steps", 3), ["sample", "run", "-n", "4"]):
        done = subprocess.run([*words, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert digests(alone / "run") == digests(home / "points")


def test_the_installed_command_stops_on_a_signal(home, alone):
    words = train_words(home / "points.npy", "run", "--train.steps", 10**6)
    with subprocess.Popen(
        [sys.executable, "-m", "inkwash.commands.cli", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        metrics = alone / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < end:  # until it trains
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        printed = process.communicate(timeout=30)[1]
    assert process.returncode == 143
    assert time.monotonic() - sent < 5
    assert printed.count("\n") == 1
    assert printed.startswith("stopped at step ")
