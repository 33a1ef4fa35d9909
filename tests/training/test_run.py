"""What is read from a run is checked, never run."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from faults import (
    STEPS,
    at_step,
    digests,
    flip_bit,
    hooked,
    newest,
    points,
    rewrite,
    run_cli,
    tiny,
    tree,
)
from safetensors.torch import save as dump_tensors

import inkwash as iw
from inkwash.core.config import Config, DenoiserConfig, NetworkConfig, TrainConfig
from inkwash.core.errors import CheckpointError, DataError, RunInterrupted
from inkwash.core.options import to_json
from inkwash.training.checkpoint import list_checkpoints, read_checkpoint
from inkwash.training.fit import fit
from inkwash.training.run import Header, Run, load, read_header

pytestmark = pytest.mark.usefixtures("quick")


# Loading


def test_a_checkpoint_can_be_loaded_by_its_own_folder(finished_run):
    for path in list_checkpoints(finished_run / "checkpoints"):
        x = load(path).sample(2, seed=0)
        assert x.shape == (2, 2)
        assert read_header(path)[1] == path
    a, b = (load(path).sample(2, seed=0) for path in (finished_run, newest(finished_run)))
    assert np.array_equal(a, b)


def test_a_run_may_be_named_by_text(finished_run):
    assert iw.Run(str(finished_run)) == iw.Run(finished_run)
    assert iw.Run(str(finished_run)).header().step == STEPS


def test_the_averaged_weights_are_what_is_loaded(finished_run):
    average = read_checkpoint(newest(finished_run), ("average",))[1]["average"]
    loaded = dict(load(finished_run).denoiser.named_parameters())
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
def test_a_place_without_a_run_is_reported(tmp_path, place):
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
    ("config.train.ema", [2]),
    ("ema", 0.11),
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


def test_a_claim_of_a_huge_network_is_refused_before_it_takes_memory(copy):
    text = (newest(copy) / "header.json").read_text()
    wide = re.sub(r'"width": \d+', '"width": 4096', re.sub(r'"depth": \d+', '"depth": 64', text))
    assert wide != text
    rewrite(newest(copy), {"header.json": wide.encode()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError):
        load(newest(copy))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # kB; its weights take 17 GB


@pytest.mark.parametrize("group", ["weights", "average", "optimizer"])
def test_training_goes_on_from_the_checkpoint_before_one_that_does_not_fit(data, copy, group, recwarn):
    groups = read_checkpoint(newest(copy), (group,))[1]
    older, expected = list_checkpoints(copy / "checkpoints")[1], digests(copy)
    rewrite(newest(copy), {f"{group}.safetensors": dump_tensors(other_tensors(groups, group, "shape"))})
    fit(tiny(data), copy)
    assert any(older.name in str(warning.message) for warning in recwarn)
    assert digests(copy) == expected


AUDIT = """
import sys, json
import inkwash.commands.cli, inkwash.commands.sample, inkwash.training.fit
from inkwash.training.run import load
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


def test_loading_runs_no_code(finished_run):
    done = subprocess.run([sys.executable, "-c", AUDIT, str(finished_run)], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert printed["seen"] == []
    assert printed["opened"] >= 5


# The split and the metrics


def test_the_split_is_one_of_all_examples(finished_run):
    train_rows, held_rows = Run(finished_run).split()
    assert sorted([*train_rows, *held_rows]) == list(range(40))
    assert len(held_rows) == 8
    assert (len(train_rows), len(held_rows)) == (32, 8)


def test_every_changed_bit_of_the_split_is_seen(copy):
    file = Run(copy).split_file
    for bit in np.random.default_rng(0).permutation(8 * file.stat().st_size)[:1500].tolist():
        flip_bit(file, bit)
        with pytest.raises(CheckpointError):
            Run(copy).split()
        flip_bit(file, bit)
    Run(copy).split()


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 50, b'{"step": 5', b"null\n", b'{"loss": 1}\n', b"\xff\n"])
def test_a_damaged_end_of_the_metrics_does_not_stop_a_run(data, finished_run, tmp_path, damage):
    run = tmp_path / "run"
    with hooked(at_step(5, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(tiny(data), run)
    with Run(run).metrics_file.open("ab") as file:
        file.write(damage)
    fit(tiny(data), run)
    assert [line["step"] for line in Run(run).metrics()] == list(range(1, STEPS + 1))
    assert digests(run) == digests(finished_run)


def test_changed_data_is_seen(tmp_path):
    source = points(tmp_path / "points.npy")
    fit(tiny(source), tmp_path / "run")
    array = np.load(source)
    array[3, 1] += 1e-6
    np.save(source, array)
    with pytest.raises(DataError, match="got data that has changed"):
        Run(tmp_path / "run").dataset()
    with pytest.raises(iw.ConfigError, match="data: got other data than before, need the same, as the run"):
        fit(tiny(source), tmp_path / "run")


@pytest.mark.parametrize("denoiser", [DenoiserConfig(histogram=False), DenoiserConfig(predicts="eps")], ids=repr)
def test_a_network_from_before_the_option_has_no_histogram(tmp_path, denoiser):
    config = Config("digits", denoiser=denoiser, network=NetworkConfig(width=8), train=TrainConfig(steps=2))
    header = fit(config, tmp_path / "run").header()
    plain = to_json(header)
    del plain["config"]["denoiser"]["histogram"]
    assert Header.from_json(plain, "here") == header
