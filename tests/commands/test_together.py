"""Commands in several processes, as launchers start them on a machine without a GPU: the same as in one process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np
import psutil
import pytest
from faults import STEPS, digests, run_cli, train_words, tree, wait_until

from inkwash.core.processes import LAUNCHERS
from inkwash.training.run import Run

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "inkwash"]
ACCELERATE = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no"]
ACCELERATE += ["--num_machines", "1", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "inkwash"]
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def launched(launch, words):
    environment = {**os.environ, **QUIET}
    return subprocess.run(
        [sys.executable, *launch, *words], capture_output=True, text=True, timeout=300, env=environment
    )


def srun(words, count=2):
    """What srun does on one machine: the processes, one after another, have ended."""
    known = {name for launcher in LAUNCHERS for name in launcher.variables}
    environment = {name: value for name, value in os.environ.items() if name not in known} | QUIET
    environment |= {"SLURM_STEP_NUM_TASKS": f"{count}", "SLURM_STEP_TASKS_PER_NODE": f"{count}"}
    environment |= {"SLURM_JOB_ID": f"{os.getpid()}", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    every = [
        subprocess.Popen(
            [sys.executable, "-m", "inkwash", *words],
            env={**environment, "SLURM_PROCID": f"{k}", "SLURM_LOCALID": f"{k}"},
        )
        for k in range(count)
    ]
    assert [process.wait(300) for process in every] == [0] * count


def difference(one, two):
    """The largest difference of any tensor of two runs."""
    (first, mine, _), (second, theirs, _) = (Run(path).restore() for path in (one, two))
    assert first.step == second.step == STEPS
    return max(
        float((tensor - theirs[group][name]).abs().max()) for group in mine for name, tensor in mine[group].items()
    )


@pytest.fixture
def two(monkeypatch):
    """This is the first of two processes that torchrun started."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)


def test_commands_that_do_not_share_their_work_take_one_process(home, alone, two, capsys):
    for words in (["inspect", home / "points"], ["inpaint", home / "images", 0, "--hide", "left"]):
        assert run_cli(words) == 2
        need = f"need one for inkwash {words[0]}; train, sample, evaluate take several"
        assert capsys.readouterr().err == f"error: processes: got 2, {need}\n"


def test_one_process_in_place_of_two_is_one_line(home, alone, monkeypatch, capsys):
    """`accelerate launch --cpu --num_processes 2` sets these, and starts one process."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert run_cli(train_words(home / "points.npy", "run")) == 2
    assert re.fullmatch(r"error: processes: got one, .* need torchrun .*\n", capsys.readouterr().err)
    assert list(alone.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["torchrun", "accelerate", "srun"])
def test_two_processes_train_the_same_as_one(home, alone, launch):
    """A U-Net; two examples at a time, so that each process adds up two gradients."""
    few = ["--train.micro-batch-size", "2", "--data.levels", "17"]
    assert run_cli(train_words(home / "images.npy", "one", *few)) == 0
    words = train_words(home / "images.npy", "two", *few)
    if launch == "srun":
        srun(words)
    else:
        done = launched({"torchrun": TORCHRUN, "accelerate": ACCELERATE}[launch], words)
        assert done.returncode == 0, done.stderr
        assert "\nprocesses 2 take 4 examples of each step, by gloo\n" in done.stdout
        assert "terminate called" not in done.stderr
    assert difference("one", "two") < 1e-5


@pytest.mark.slow
def test_a_batch_that_does_not_divide_is_refused(home, alone):
    done = launched(TORCHRUN, train_words(home / "points.npy", "two", "--train.batch-size", 9))
    assert done.returncode != 0
    assert re.search(r"^error: --train.batch-size: got 9, need a multiple of the 2 processes$", done.stderr, re.M)
    assert re.search(r"exitcode *: 2 ", done.stderr)


@pytest.mark.slow
def test_two_processes_draw_the_same_as_one(home, alone):
    """Bit for bit; 300 examples of 5 x 7 are three slots."""
    words = ["sample", str(home / "images"), "-n", "300", "--film", "film.gif", "--out"]
    done = launched(TORCHRUN, [*words, "two"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next ") == 1
    assert (
        done.stdout.count("\nprocesses 2, each of which draws its share") + done.stdout.startswith("processes 2") == 1
    )
    assert run_cli([*words, "one"]) == 0
    assert tree(alone / "two") == tree(alone / "one")


@pytest.mark.slow
def test_two_processes_evaluate_the_same_as_one(home, alone):
    run_cli(train_words(home / "points.npy", "run", "--data.held-out", 0.5))
    words = ["evaluate", "run", "--examples", "20", "--bound-terms", "3", "--steps", "3"]
    results = []
    for launch in (TORCHRUN, ["-m", "inkwash"]):
        done = launched(launch, words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("report  ") == 1
        assert ("processes     2, which share samples and measures\n" in done.stdout) == (launch is TORCHRUN)
        results.append(json.loads((alone / "run" / "evaluation" / "evaluation.json").read_text()))
    assert results[0] == results[1]


@contextmanager
def training(words, run):
    """Two processes that train, their launcher first, once ten steps are done; at the end none of them is left."""
    with subprocess.Popen(
        [sys.executable, *TORCHRUN, *words], env={**os.environ, **QUIET}, stderr=subprocess.PIPE, text=True
    ) as launcher:
        try:
            wait_until(lambda: len(Run(run).metrics()) >= 10, 120)
            own = [p for p in psutil.Process(launcher.pid).children() if "inkwash" in p.cmdline()]
            workers = sorted(own, key=lambda p: int(p.environ()["RANK"]))
            yield launcher, workers
        finally:
            for process in (*workers, launcher):
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["first", "second", "launcher"])
def test_a_killed_process_ends_the_job_at_once_and_without_orphans(home, alone, victim):
    words = train_words(home / "points.npy", "run", "--train.steps", 10**6, "--train.save-every", 5)
    with training(words, "run") as (launcher, workers):
        killed = launcher if victim == "launcher" else workers[victim == "second"]
        killed.kill()
        began = time.monotonic()
        psutil.wait_procs(workers, timeout=60)
        assert time.monotonic() - began < 10
        assert not any(worker.is_running() for worker in workers)
    assert Run("run").header().step >= 5


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_the_same_step_and_the_command_resumes(home, alone):
    words = train_words(home / "points.npy", "run", "--train.steps", 1000, "--train.save-every", 1000)
    with training(words, "run") as (launcher, workers):
        workers[1].send_signal(signal.SIGTERM)
        psutil.wait_procs(workers, timeout=60)
        printed = launcher.communicate(timeout=60)[1]
    found = re.search(r"^stopped at step (\d+) of 1000 and saved; the same command resumes$", printed, re.M)
    assert Run("run").header().step == int(found[1])
    assert launched(TORCHRUN, words).returncode == 0
    assert (
        launched(TORCHRUN, [word.replace("run", "other") if word == "run" else word for word in words]).returncode == 0
    )
    resumed, straight = digests(alone / "run"), digests(alone / "other")
    assert resumed["step"] == straight["step"]
    assert np.array_equal([*resumed.values()], [*straight.values()])


SHARES = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.mark.slow
@pytest.mark.parametrize("resumed_with_shares", [True, False])
def test_shares_of_a_state_train_the_same_as_a_single_process(home, alone, monkeypatch, resumed_with_shares):
    """The run loses its last steps and resumes, with shares or without, as its checkpoints are those of any run."""
    words = train_words(home / "images.npy", "two", "--data.levels", "17", "--train.save-every", "5")
    for name, value in SHARES.items():
        monkeypatch.setenv(name, value)
    done = launched(TORCHRUN, words)
    assert done.returncode == 0, done.stderr
    assert "each holds a share of weights, gradients, moments and average\n" in done.stdout
    if not resumed_with_shares:
        monkeypatch.delenv("ACCELERATE_USE_FSDP")
    shutil.rmtree(alone / "two" / "checkpoints" / "step-000000012")
    (alone / "two" / "summary.json").unlink()
    resumed = launched(TORCHRUN, words)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming  at step 10 of 12\n" in resumed.stdout
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    assert run_cli([*words[:2], "--out", "one", *words[4:]]) == 0
    assert difference("one", "two") < 1e-5


MEMORY = """
import sys

import torch
from faults import tiny
from inkwash.core.machine import accelerator
from inkwash.training.prepare import prepare
from inkwash.training.shards import settings, sharded
from inkwash.training.state import start

def size(state):
    tensors = [t for group in ("weights", "average", "optimizer") for t in state.tensors()[group].values()]
    return sum((t.to_local() if hasattr(t, "to_local") else t).numel() for t in tensors if t.ndim)

prepared, place = prepare(tiny("digits")), accelerator()
whole = start(prepared.config, prepared.examples, torch.device("cpu"))
whole.optimizer.make_state()
sys.stdout.write(f"share {size(sharded(whole, settings(), place)) / size(whole)}\\n")  # at once, beside the other
"""


@pytest.mark.slow
def test_each_process_holds_half_of_the_state(alone, monkeypatch):
    (alone / "memory.py").write_text(MEMORY)
    for name, value in {**SHARES, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}.items():
        monkeypatch.setenv(name, value)
    done = launched([*TORCHRUN[:-2], "memory.py"], [])
    shares = [float(share) for share in re.findall(r"share ([\d.]+)", done.stdout)]
    assert len(shares) == 2, done.stdout + done.stderr
    assert max(shares) < 0.55
