"""A run stopped anywhere goes on as if nothing had happened; what is read from it is checked, never run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import (
    SAVE_EVERY,
    STEPS,
    Crash,
    at_step,
    count_operations,
    digests,
    fail_at,
    flip_bit,
    fork,
    hooked,
    newest,
    points,
    rewrite,
    run_cli,
    tiny,
    train_words,
    tree,
    wait,
    wait_until,
    without_pictures,
)
from safetensors.torch import save as dump_tensors

import inkwash as iw
from inkwash.checkpoint import list_checkpoints, read_checkpoint
from inkwash.errors import CheckpointError, DataError, RunInterrupted, StorageError
from inkwash.fit import fit
from inkwash.run import Run, load, read_header, split_indices

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    without_pictures(monkeypatch)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return points(tmp_path_factory.mktemp("data") / "points.npy")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing has disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        return fit(tiny(data), tmp_path_factory.mktemp("whole") / "run").path


@pytest.fixture
def copy(whole, tmp_path):
    """A run of one's own to damage."""
    return shutil.copytree(whole, tmp_path / "copy")


# Stopping and resuming


@pytest.mark.parametrize("step", [1, 2, 3, 7, 11])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_the_same_command_resumes_bit_identically(data, whole, tmp_path, number, step):
    run = tmp_path / "run"
    with hooked(at_step(step, lambda: os.kill(os.getpid(), number))), pytest.raises(RunInterrupted) as caught:
        fit(tiny(data), run)
    assert caught.value.exit_code == SIGNALS[number]
    assert newest(run).name == f"step-{step:09d}"
    fit(tiny(data), run)
    assert digests(run) == digests(whole)


def test_a_run_stopped_after_every_step_ends_as_if_never_stopped(data, whole, tmp_path):
    run = tmp_path / "run"
    for step in range(1, STEPS):
        with hooked(at_step(1, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
            fit(tiny(data), run)
        assert newest(run).name == f"step-{step:09d}"
    fit(tiny(data), run)
    assert digests(run) == digests(whole)
    assert [line["step"] for line in Run(run).metrics()] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in Run(run).metrics()] == [line["loss"] for line in Run(whole).metrics()]


def test_dropout_is_the_same_after_resuming(data, tmp_path):
    def dropping():
        config = tiny(data)
        return replace(config, network=replace(config.network, dropout=0.5))

    torch.manual_seed(0)
    fit(dropping(), tmp_path / "whole")
    torch.manual_seed(1)
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(dropping(), tmp_path / "cut")
    fit(dropping(), tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")


def learning(data, tmp_path, kind):
    """Options of a run in which more than the weights is learned or measured."""
    if kind == "levels":
        np.save(tmp_path / "levels.npy", np.random.default_rng(1).binomial(4, 0.3, size=(40, 3)).astype(np.uint8))
        return replace(tiny(tmp_path / "levels.npy"), data=iw.DataConfig(levels=5))
    if kind == "analytic":
        return replace(tiny(data), denoiser=iw.DenoiserConfig(variance="analytic"))
    return replace(tiny(data, times="loss-history"), denoiser=iw.DenoiserConfig(variance="learned"))


@pytest.mark.parametrize("kind", ["levels", "analytic", "learned"])
def test_what_is_learned_beside_the_weights_is_the_same_after_resuming(data, tmp_path, kind):
    config = learning(data, tmp_path, kind)
    fit(config, tmp_path / "whole")
    for step in (2, 5):  # counted from where the run stands: between checkpoints, and on one
        with hooked(at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
            fit(config, tmp_path / "cut")
    fit(config, tmp_path / "cut")
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    lines = [[line["loss"] for line in Run(tmp_path / run).metrics()] for run in ("cut", "whole")]
    assert lines[0] == lines[1]
    groups = read_checkpoint(newest(tmp_path / "whole"), ("average", "proposal"))[1]
    changed = {
        "levels": lambda: (groups["proposal"]["square"] != 1).sum() > 16,
        "analytic": lambda: (groups["average"]["variance.log_error"].diff() != 0).all(),
        "learned": lambda: groups["proposal"]["counts"].sum() == STEPS * 8,
    }
    assert changed[kind]()
    assert isinstance(load(tmp_path / "whole").sample(2, seed=0), np.ndarray)


def test_training_leaves_the_global_generators_alone(data, tmp_path):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    fit(tiny(data), tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def test_a_second_signal_leaves_at_once(data, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    def victim():
        with hooked(at_step(5, twice)):
            run_cli(train_words(data, tmp_path / "run"))

    began = time.monotonic()
    assert wait(fork(victim)) == 143
    assert time.monotonic() - began < 20
    assert newest(tmp_path / "run").name == "step-000000003"


def endless(data, run):
    """Train for longer than any test waits, saving often; exits as the command would."""
    sys.exit(run_cli(train_words(data, run, "--train.steps", 10**6, "--train.monitor-every", 10**6)))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_at_a_random_time_ends_within_five_seconds(data, tmp_path, number):
    run = tmp_path / "run"
    child = fork(lambda: endless(data, run), tmp_path / "said")
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    time.sleep(random.Random(number).uniform(0, 0.3))
    sent = time.monotonic()
    os.kill(child, number)
    assert wait(child) == SIGNALS[number]
    assert time.monotonic() - sent < 5
    last = (tmp_path / "said").read_text().splitlines()[-1]
    assert last.startswith("stopped at step ")
    assert last.endswith("and saved; the same command resumes")
    step = int(last.split()[3])
    assert newest(run).name == f"step-{step:09d}"
    assert read_header(run)[0].step == step


def long_words(data, run, kills):
    """The command of a run long enough for that many kills."""
    return train_words(data, run, "--train.steps", STEPS + 30 * kills)


def killed_at_random_times(data, run, kills, seed):
    """Train, killed again and again; how many kills struck while it ran."""
    chance, struck = random.Random(seed), 0
    words = long_words(data, run, kills)
    for _ in range(kills):
        before = len(Run(run).metrics())
        child = fork(lambda: sys.exit(run_cli(words)))
        target = before + chance.randrange(1, 12)
        wait_until(lambda target=target: len(Run(run).metrics()) >= target or finished(run), 30)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        struck += wait(child) == -signal.SIGKILL
        logged = max([line["step"] for line in Run(run).metrics()], default=0)
        assert read_header(run)[0].step >= logged - SAVE_EVERY
    assert run_cli(words) == 0
    return struck


def finished(run):
    return (run / "summary.json").exists()


def compare_after_kills(data, tmp_path, kills, seed):
    assert run_cli(long_words(data, tmp_path / "whole", kills)) == 0
    assert killed_at_random_times(data, tmp_path / "killed", kills, seed) == kills
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


def test_kills_at_random_times_lose_at_most_one_interval_and_change_nothing(data, tmp_path):
    compare_after_kills(data, tmp_path, 4, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_twenty_kills_at_random_times_change_nothing(data, tmp_path, seed):
    compare_after_kills(data, tmp_path, 20, seed)


def test_a_crash_at_any_operation_is_resumed_from_bit_identically(data, whole, tmp_path):
    total = count_operations(lambda: fit(tiny(data), tmp_path / "probe"))
    for k in range(0, total, 13):
        run = tmp_path / f"{k}"
        with hooked(fail_at(k, Crash())), pytest.raises(Crash):
            fit(tiny(data), run)
        fit(tiny(data), run)
        assert digests(run) == digests(whole)


@pytest.mark.slow
def test_every_operation_may_fail(data, whole, tmp_path):
    total = count_operations(lambda: fit(tiny(data), tmp_path / "probe"))
    for k in range(total):
        for error, kind in ((Crash(), Crash), (OSError(28, "No space left on device"), StorageError)):
            run = tmp_path / f"{k}-{kind.__name__}"
            with hooked(fail_at(k, error)), pytest.raises(kind):
                fit(tiny(data), run)
            fit(tiny(data), run)
            assert digests(run) == digests(whole)


def test_the_finished_run_is_returned_untouched(data, copy):
    before = tree(copy)
    fit(tiny(data), copy)
    after = tree(copy)
    assert {k: v for k, v in after.items() if k != "metrics.jsonl"} == {
        k: v for k, v in before.items() if k != "metrics.jsonl"
    }
    assert [json.loads(v) for v in after["metrics.jsonl"].splitlines()] == Run(copy).metrics()


def test_a_damaged_newest_checkpoint_is_trained_again(data, whole, copy):
    flip_bit(newest(copy) / "optimizer.safetensors", 999)
    with pytest.warns(UserWarning, match=r"damaged optimizer\.safetensors.*using step-000000009 instead"):
        fit(tiny(data), copy)
    assert digests(copy) == digests(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(copy)


def test_a_run_without_space_keeps_its_last_checkpoint(data, whole, tmp_path):
    run = tmp_path / "run"
    seen = []

    def full(operation, path):
        seen.append(path.name)
        if operation == "write" and any(".step-000000006.new" in part for part in path.parts):
            raise OSError(28, "No space left on device")

    with hooked(full):
        code = run_cli(train_words(data, run))
    assert code == 6
    assert read_header(run)[0].step == 3
    fit(tiny(data), run)
    assert digests(run) == digests(whole)


# Two trainers, and readers


def test_the_second_trainer_is_refused_and_the_first_unharmed(data, tmp_path, capsys):
    run = tmp_path / "run"
    child = fork(lambda: endless(data, run))
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    assert run_cli(train_words(data, run, "--train.steps", 10**6)) == 7
    assert capsys.readouterr().err == f"error: {run}: got a run that another trainer holds, need a free one\n"
    before = newest(run)
    wait_until(lambda: newest(run) > before)
    os.kill(child, signal.SIGTERM)
    assert wait(child) == 143
    read_header(run)


def test_loads_during_saves_never_fail_nor_warn(data, tmp_path):
    run = tmp_path / "run"
    child = fork(lambda: sys.exit(run_cli(train_words(data, run, "--train.steps", 10**6, "--train.save-every", 1))))
    wait_until(lambda: len(list_checkpoints(run / "checkpoints")) == 2)
    steps = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            while len(steps) < 100 or steps[-1] - steps[0] < 20:
                header, groups, _ = Run(run).restore()
                assert groups["weights"].keys() == groups["average"].keys()
                steps.append(header.step)
    finally:
        os.kill(child, signal.SIGKILL)
        wait(child)
    assert steps == sorted(steps)


def test_a_reader_overtaken_by_the_trainer_reads_the_newer_checkpoint(copy, monkeypatch):
    import inkwash.run

    listed, moved = inkwash.run.list_checkpoints, []

    def overtaken(folder):
        found = listed(folder)
        if not moved:
            moved.append(shutil.move(found[0], found[0].with_name("step-000000099")))
            shutil.rmtree(found[1])
        return found

    monkeypatch.setattr(inkwash.run, "list_checkpoints", overtaken)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(copy)[1].name == "step-000000099"
    assert moved


# Loading


def test_a_checkpoint_can_be_loaded_by_its_own_folder(whole):
    for path in list_checkpoints(whole / "checkpoints"):
        x = load(path).sample(2, seed=0)
        assert x.shape == (2, 2)
        assert read_header(path)[1] == path
    a, b = (load(path).sample(2, seed=0) for path in (whole, newest(whole)))
    assert np.array_equal(a, b)


def test_the_averaged_weights_are_what_is_loaded(whole):
    average = read_checkpoint(newest(whole), ("average",))[1]["average"]
    loaded = dict(load(whole).denoiser.named_parameters())
    assert all(any(torch.equal(p, tensor) for p in loaded.values()) for tensor in average.values())


@pytest.mark.parametrize("file", ["weights.safetensors", "average.safetensors", "header.json", "manifest.json"])
def test_a_damaged_newest_checkpoint_gives_way_with_a_warning(copy, file):
    flip_bit(newest(copy) / file, 777)
    with pytest.warns(UserWarning, match="using step-000000009 instead"):
        header, path = read_header(copy)
    assert header.step == 9
    assert path.name == "step-000000009"
    with pytest.warns(UserWarning, match="using step-000000009 instead"):
        load(copy)


@pytest.mark.parametrize("command", ["sample", "inspect", "evaluate"])
def test_nothing_but_damaged_checkpoints_exits_4(copy, command, capsys):
    for path in list_checkpoints(copy / "checkpoints"):
        flip_bit(path / "average.safetensors", 3000)
    before = tree(copy)
    assert run_cli([command, copy]) == 4
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert "damaged average.safetensors" in err
    assert tree(copy) == before


@pytest.mark.parametrize("place", ["nothing", "empty", "file"])
def test_no_run_is_said_to_be_none(tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="need a run, as inkwash train makes one"):
        load(tmp_path / place)


def header_of(copy):
    return json.loads((newest(copy) / "header.json").read_bytes())


def edited(header, path, value):
    """A header with the entry at a dotted path set, or removed where the value is `...`."""
    *parents, last = path.split(".")
    inner = header
    for name in parents:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return header


HEADERS = [
    ("step", ...),
    ("step", "3"),
    ("step", -1),
    ("step", True),
    ("step", 2.5),
    ("skipped", -1),
    ("skipped", "none"),
    ("seconds", "long"),
    ("seconds", -1.0),
    ("seconds", None),
    ("examples", 0),
    ("examples", "many"),
    ("fingerprint", 5),
    ("fingerprint", ...),
    ("versions", []),
    ("versions", {"torch": 2}),
    ("more", 1),
    ("config", []),
    ("config.more", 1),
    ("config.train", ...),
    ("config.train.more", 1),
    ("config.train.steps", None),
    ("config.train.steps", True),
    ("config.train.ema", 2),
    ("config.network.width", 16),
    ("config.network.width", None),
    ("config.network.depth", 2),
    ("config.network.kind", "unet"),
    ("config.network.kind", "exec"),
    ("config.network.multipliers", [1, 2]),
    ("config.process.schedule", "__import__"),
    ("config.denoiser.clip", True),
    ("config.denoiser.clip", None),
    ("transform", ...),
    ("transform", 5),
    ("transform.more", 5),
    ("transform.shift", 5),
    ("transform.shift", [0.0]),
    ("transform.shift", [0.0, "a"]),
    ("transform.shift", [0.0, 0.0, 0.0]),
    ("transform.scale", [1.0, 0.0]),
    ("transform.scale", [1.0, -1.0]),
    ("transform.scale", [1.0, None]),
    ("transform.spec.more", 5),
    ("transform.spec.shape", []),
    ("transform.spec.shape", [3]),
    ("transform.spec.shape", [-2]),
    ("transform.spec.shape", ["2"]),
    ("transform.spec.shape", [2, 2]),
    ("transform.spec.shape", [10**12]),
    ("transform.spec.shape", [1, 4, 4]),
    ("transform.spec.shape", 2),
    ("transform.spec.layout", "NHW"),
    ("transform.spec.layout", "odd"),
    ("transform.spec.dtype", "object"),
    ("transform.spec.dtype", "no such type"),
    ("transform.spec.dtype", 5),
    ("transform.spec.levels", -3),
    ("transform.spec.levels", 1),
    ("transform.spec.levels", "17"),
    ("transform.spec.low", "a"),
    ("transform.spec.low", 1e300),
]


@pytest.mark.parametrize(("path", "value"), HEADERS)
def test_a_hostile_header_is_refused_even_with_a_manifest_that_fits(copy, path, value):
    checkpoint = newest(copy)
    rewrite(checkpoint, {"header.json": json.dumps(edited(header_of(copy), path, value)).encode()})
    with pytest.raises(CheckpointError):
        load(checkpoint)


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"null",
        b"5",
        b'"text"',
        b"{}",
        b"not JSON",
        b"[" * 100_000,
    ],
)
def test_a_header_of_another_kind_is_refused(copy, content):
    rewrite(newest(copy), {"header.json": content})
    with pytest.raises(CheckpointError):
        load(newest(copy))


@pytest.mark.parametrize("change", [('"step": 12', '"step": NaN'), ('"step": 12', '"step": 12, "step": 12')])
def test_a_header_of_loose_json_is_refused(copy, change):
    text = (newest(copy) / "header.json").read_text()
    assert change[0] in text
    rewrite(newest(copy), {"header.json": text.replace(*change).encode()})
    with pytest.raises(CheckpointError):
        load(newest(copy))


def other_tensors(groups, group, kind):
    tensors = dict(groups[group])
    name = next(name for name in tensors if tensors[name].ndim == 2)
    tensor = tensors[name]
    changes = {
        "missing": {},
        "dtype": {name: tensor.double()},
        "shape": {name: tensor.reshape(-1)},
        "larger": {name: torch.zeros(tensor.shape[0] + 1, tensor.shape[1])},
        "extra": {name: tensor, "more": tensor.clone()},
    }
    del tensors[name]
    return tensors | changes[kind]


KINDS = ("missing", "dtype", "shape", "larger", "extra")


@pytest.mark.parametrize("kind", KINDS)
def test_other_tensors_than_the_config_asks_for_are_refused(copy, kind):
    groups = read_checkpoint(newest(copy), ("average",))[1]
    rewrite(newest(copy), {"average.safetensors": dump_tensors(other_tensors(groups, "average", kind))})
    with pytest.raises(CheckpointError):
        load(newest(copy))


@pytest.mark.parametrize("group", ["weights", "average", "optimizer"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_does_not_go_on_from_other_tensors(data, copy, group, kind):
    shutil.rmtree(list_checkpoints(copy / "checkpoints")[1])
    groups = read_checkpoint(newest(copy), (group,))[1]
    rewrite(newest(copy), {f"{group}.safetensors": dump_tensors(other_tensors(groups, group, kind))})
    with pytest.raises(CheckpointError):
        fit(tiny(data), copy)


AUDIT = """
import sys, json
import inkwash.run, inkwash.draw, inkwash.fit
from inkwash.run import load
load(sys.argv[1]).sample(3, seed=0)  # what torch and others import on first use is theirs
forbidden = ("pickle.find_class", "exec", "compile", "subprocess.Popen", "os.system", "os.exec", "os.fork",
             "os.posix_spawn", "os.spawn", "socket.connect", "socket.bind", "socket.getaddrinfo", "marshal.loads",
             "ctypes.dlopen", "import", "code.__new__", "webbrowser.open", "urllib.Request")
seen = []
opened = []
def hook(event, arguments):
    if event in forbidden:
        seen.append((event, str(arguments)[:200]))
    if event == "open" and str(sys.argv[1]) in str(arguments[0]):
        opened.append(str(arguments[0]))
sys.addaudithook(hook)
load(sys.argv[1])
print(json.dumps({"seen": seen, "opened": len(opened)}))
"""


def test_loading_runs_no_code(whole):
    done = subprocess.run([sys.executable, "-c", AUDIT, str(whole)], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["seen"] == []
    assert said["opened"] >= 5


# The split and the metrics


def test_the_split_is_one_of_all_examples(whole):
    inside, outside = Run(whole).split()
    assert sorted([*inside, *outside]) == list(range(40))
    assert len(outside) == 8
    assert (len(inside), len(outside)) == (32, 8)


@pytest.mark.parametrize(("count", "held_out"), [(2, 0.2), (2, 0.9), (3, 0.999), (10, 0.001), (1797, 0.2)])
def test_neither_part_of_a_split_is_empty(count, held_out):
    inside, outside = split_indices(count, held_out, 0)
    assert len(inside) >= 1
    assert len(outside) >= 1
    assert sorted([*inside, *outside]) == list(range(count))


def test_every_changed_bit_of_the_split_is_seen(copy):
    file = Run(copy).split_file
    for bit in np.random.default_rng(0).permutation(8 * file.stat().st_size)[:1500].tolist():
        flip_bit(file, bit)
        with pytest.raises(CheckpointError):
            Run(copy).split()
        flip_bit(file, bit)
    Run(copy).split()


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 50, b'{"step": 5', b"null\n", b'{"loss": 1}\n', b"\xff\n"])
def test_a_damaged_end_of_the_metrics_does_not_stop_a_run(data, whole, tmp_path, damage):
    run = tmp_path / "run"
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(tiny(data), run)
    with Run(run).metrics_file.open("ab") as file:
        file.write(damage)
    fit(tiny(data), run)
    assert [line["step"] for line in Run(run).metrics()] == list(range(1, STEPS + 1))
    assert digests(run) == digests(whole)


def test_changed_data_is_seen(tmp_path):
    source = points(tmp_path / "points.npy")
    fit(tiny(source), tmp_path / "run")
    array = np.load(source)
    array[3, 1] += 1e-6
    np.save(source, array)
    with pytest.raises(DataError, match="got data that has changed"):
        Run(tmp_path / "run").dataset()
    with pytest.raises(iw.ConfigError, match="got other data than before"):
        fit(tiny(source), tmp_path / "run")
