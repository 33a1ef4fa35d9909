"""Every command ends in the promised exit code and, if something is wrong, in one line, with nothing left behind."""

import json
import os
import re
import resource
import shutil
import signal
import sys
import typing
from dataclasses import fields

import numpy as np
import pytest
from faults import digests, flip_bit, fork, newest, points, run_cli, train_words, tree, wait, without_pictures
from oracles import public
from PIL import Image

import inkwash as iw
from inkwash.commands import cli, sample as drawing
from inkwash.commands.papers import EXPERIMENTS
from inkwash.core.config import SamplingConfig
from inkwash.sample import SAMPLERS
from inkwash.sample.grids import GRIDS
from inkwash.training import cost, run as runs


def one_line(capsys):
    """What was printed on standard error, which must be one line."""
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("error: ")
    assert "Traceback" not in printed.err + printed.out
    return printed.err


# Bad options


BAD = {
    "trian digits": "did you mean train?",
    "nothing-like-it": "one of train, sample, relatives, interpolate, inpaint, impute, forecast, evaluate",
    "papers path-los": "need one of path-loss, cold, products, questions, ",
    "papers cold --stepps 5": "did you mean --steps?",
    "papers cold --degradation fog": "degradation: got 'fog', need one of blur, pixelate, mask",
    "papers cold --steps 0": "steps: got 0, need an integer >= 1",
    "papers cold --start 0": "start: got 0",
    "papers path-loss 5": "inkwash papers path-loss: got '5', need only options, each with its value",
    "papers questions --seed -1": "seed: got -1",
    "papers table-idppm": "did you mean table-iddpm?",
    "papers table-ddpm --chain 20": "chain: got 20, need an integer >= 21 and <= 10000",
    "papers table-iddpm --strides 200": "strides: got 200, need numbers below --chain, 200",
    "papers --seed 1": "experiment: got '--seed', need one of path-loss, cold, products, questions",
    "papers -q": "experiment: got '-q', need one of path-loss",
    "train": "inkwash train: got nothing, need DATA and options, each with its value",
    "train --train.stps 5 digits": "did you mean --train.steps?",
    "sample": "inkwash sample: got nothing, need RUN and options",
    "inpaint": "inkwash inpaint: got nothing, need RUN EXAMPLE and options",
    "inpaint run 3 --hide middle": "hide: got 'middle', need one of left, right, top, bottom, random",
    "inpaint run 3": "--hide: got neither this nor --mask, need --hide left, right, top, bottom, random, or --mask",
    "papers products --correlation 1": "correlation: got 1",
    "evaluate": "inkwash evaluate: got nothing, need RUN [OTHER] and options",
    "inspect": "inkwash inspect: got nothing, need RUN|FILE|DATA and options",
    "train digits more": "inkwash train: got 'digits more', need DATA and options",
    "train digits --train.stps 5": "did you mean --train.steps?",
    "train digits --steps 5": "did you mean --",
    "train digits --qqqq 5": "unknown option",
    "train digits -q": "inkwash train: got 'digits -q', need DATA and options",
    "train digits --train.steps": "got 'digits --train.steps', need DATA and options, each with its value",
    "train digits --train.steps --data.missing": "--data.missing'",
    "train digits --data.missing True": "--data.missing: got 'True', need no value: --data.missing alone says yes",
    "train digits --data.no-strict false": "--data.no-strict: got 'false', need no value: --data.no-strict alone",
    "train digits --train.compile=yes": "--train.compile: got 'yes', need no value: --train.compile alone says yes",
    "evaluate RUN --shuffles 5": "shuffles: got 5, need an integer >= 19",
    "train digits --train.steps -3": "train.steps: got -3, need an integer >= 1",
    "train digits --train.steps 0": "train.steps: got 0, need an integer >= 1",
    "train digits --train.steps=0": "train.steps: got 0, need an integer >= 1",
    "train digits --train.steps 2.5": "train.steps: got '2.5', need an integer >= 1",
    "train digits --train.steps 1e3": "train.steps: got '1e3', need an integer >= 1",
    "train digits --train.steps many": "train.steps: got 'many', need an integer >= 1",
    "train digits --train.batch-size 0": "train.batch-size: got 0, need an integer >= 1",
    "train digits --train.learning-rate nan": "train.learning-rate: got nan",
    "train digits --train.learning-rate inf": "train.learning-rate: got inf",
    "train digits --train.learning-rate 0": "train.learning-rate: got 0",
    "train digits --train.learning-rate -1": "train.learning-rate: got -1",
    "train digits --train.ema 0.999": "train.ema: got (0.999,)",
    "train digits --train.seed -1": "train.seed: got -1",
    "train digits --data.held-out 0": "data.held-out: got 0",
    "train digits --data.held-out 1": "data.held-out: got 1",
    "train digits --data.layout HW": "data.layout: got 'HW', need one of",
    "train digits --process.schedule cosin": "process.schedule: got 'cosin', need one of",
    "train digits --process.schedule rectified --denoiser.predicts eps": "predicts: got 'eps', need x, v or velocity",
    "train digits --process.steps 100000": "process.steps",
    "train digits --preset dppm": "preset: got 'dppm', need one of dpm-2015, ddpm, ddim, iddpm, score, edm, vdm,",
    "train digits --preset": "inkwash train: got 'digits --preset', need DATA and options, each with its value",
    "train --preset ddpm": "inkwash train: got '--preset ddpm', need DATA and options",
    "train digits --preset ddpm --train.steps 0": "train.steps: got 0, need an integer >= 1",
    "train digits --preset ddpm --denoiser.predicts levels": "denoiser.predicts: got levels, need data with levels",
    "train shop --preset iddpm": "preset: got iddpm, and the process mixed, need --process.kind gaussian, for data",
    "train heartbeat --preset edm --process.kind bernoulli": "preset: got edm, and the process bernoulli, need --",
    "train digits --model vae --sampling.steps 4": "sampling.steps: got 4, need --model diffusion or latent; a vae has",
    "train digits --model vae --preset ddpm": "preset: got ddpm, need --model diffusion or latent; a vae has none",
    "train digits --model latent --preset vdm --process.kind bernoulli": "process.kind: got bernoulli",
    "train swiss-roll --preset dpm-2015 --process.kind bernoulli": "process.kind: got bernoulli, and vector 2, float32",
    "sample RUN --preset ddpm": "--preset: got an unknown option",
    "train digits --denoiser.predicts noise": "denoiser.predicts",
    "train heartbeat --process.kind binomial": "process.kind: got 'binomial', need one of gaussian, bernoulli",
    "train heartbeat --process.rate 0.3": "process.rate: got 0.3, need --process.kind bernoulli; gaussian has none",
    "train heartbeat --process.kind bernoulli --process.rate 1": "process.rate: got 1",
    "train digits --process.kind bernoulli": "process.kind: got bernoulli, and image 1x8x8, uint8 [0, 16] (17 levels)",
    "train swiss-roll --process.kind bernoulli": "process.kind: got bernoulli, and vector 2, float32",
    "train digits --denoiser.clip maybe": "denoiser.clip: got 'maybe', need true or false",
    "train swiss-roll --denoiser.clip True": "denoiser.clip",
    "train digits --network.kind mlp": "network.kind",
    "train digits --network.kind vit": "network.kind",
    "train digits --network.kind transformer": "network.kind: got transformer, need unet or dit for series",
    "train digits --network.patch 2": "network.patch: got 2, need --network.kind dit; unet has none",
    "train digits --network.kind dit --network.patch 0": "network.patch: got 0",
    "train swiss-roll --network.kind unet": "network.kind",
    "train swiss-roll --network.multipliers 1 2": "network.multipliers",
    "train digits --network.multipliers 0": "network.multipliers",
    "train digits --network.multipliers 1 x": "network.multipliers: got (1, 'x'), need a list, each an integer >= 1",
    "train digits --network.width 12": "network.width: got 12, need a multiple of 8",
    "train digits --network.width 1": "network.width",
    "train digits --network.attention True": "network.attention",
    "sample RUN -n 0": "n: got 0, need an integer >= 1",
    "sample RUN -n -1": "n: got -1, need an integer >= 1",
    "sample RUN -n five": "n: got 'five', need an integer >= 1",
    "sample RUN --n five": "n: got 'five'",
    "sample RUN --sampler adams --eta 0.5": "eta: got 0.5, need a sampler or grid that has this",
    "sample RUN --sampler ipndm --corrector True": "corrector: got True, need a sampler or grid that has this",
    "sample RUN --sampler ddim --order 2": "order: got 2",
    "sample RUN --sampler dpm-solver --order 4": "--order: got 4, need an integer from 1 to 3",
    "sample RUN --sampler heun --s-churn -1": "s-churn: got -1",
    "sample RUN --sampler langevin --snr 0": "snr: got 0",
    "sample RUN --grid angle --rho 5": "rho: got 5.0, need a sampler or grid that has this option: --grid karras",
    "sample RUN --grid karass": "grid: got 'karass', need one of uniform, quadratic, log-snr, karras, angle",
    "sample RUN --sampler ddim --eta 2": "eta: got 2",
    "sample RUN --sampler ddim --eta nan": "eta: got nan",
    "sample RUN --sampler euler": "sampler: got 'euler', need one of ancestral, ddim",
    "sample RUN --steps 0": "steps: got 0",
    "sample RUN --seed -1": "seed: got -1",
    "sample RUN --smapler ddim": "did you mean --sampler?",
    "sample RUN --frames 5": "frames: got 5, need --film film.gif",
    "sample RUN --film a.gif --frames 0": "frames: got 0",
    "relatives RUN": "inkwash relatives: got 'RUN', need RUN EXAMPLE and options",
    "relatives RUN 0 --t 0": "t: got (0.0,)",
    "relatives RUN 0 --t 0.5 1.5": "t: got (0.5, 1.5)",
    "relatives RUN 0 --t half": "t: got ('half',), need a list, each a number > 0 and <= 1",
    "interpolate RUN 0": "inkwash interpolate: got 'RUN 0', need RUN A B and options",
    "interpolate RUN 0 1 --steps many": "steps: got 'many', need an integer >= 1",
    "interpolate RUN 0 1 -n 1": "n: got 1, need an integer >= 2",
    "interpolate RUN 0 1 --t 0": "t: got 0",
    "interpolate RUN 0 1 --sampler ddim": "--t: got nothing, need a time such as --t 0.5",
    "interpolate RUN 0 1 --guidance 2": "--t: got nothing, need a time such as --t 0.5",
    "sample RUN --device tpu": "device: got 'tpu', need one of auto, cpu, cuda",
    "compress RUN": "inkwash compress: got 'RUN', need RUN DATA and options",
    "compress RUN x.npy --mode batch": "mode: got 'batch', need one of bits-back, direct",
    "compress RUN x.npy --chunk 0": "chunk: got 0",
    "compress RUN x.npy --steps 0": "steps: got 0",
    "decompress RUN": "inkwash decompress: got 'RUN', need RUN FILE and options",
    "decompress RUN x.ink --steps 5": "unknown option",
    "evaluate RUN --examples 0": "examples: got 0",
    "evaluate RUN --bound-terms -5": "bound-terms: got -5",
    "inspect RUN --more": "unknown option",
    "--bogus": "command: got '--bogus', need one of train, sample",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_options_end_in_one_line_and_exit_2_with_nothing_written(words, alone, capsys):
    assert run_cli(words.split()) == 2
    assert BAD[words] in one_line(capsys)
    assert list(alone.iterdir()) == []


IMPOSSIBLE = {
    "--process.rate 0.3": "process.rate: got 0.3, need --process.kind bernoulli; gaussian has none",
    "--process.schedule linear --process.log-snr-first 9": "process.log-snr-first: got 9.0, need --process.schedule",
    "--process.schedule rectified --denoiser.predicts eps": "predicts: got 'eps', need x, v or velocity",
    "--denoiser.variance learned --train.objective simple": "train.objective: got simple, need hybrid or bound",
    "--train.batch-size 8 --train.micro-batch-size 9": "train.micro-batch-size: got 9, need at most",
}


@pytest.mark.parametrize("words", IMPOSSIBLE)
@pytest.mark.parametrize("command", ["train", "inspect"])
def test_options_that_no_data_goes_with_are_refused_before_any_is_read(command, words, alone, capsys):
    assert run_cli([command, "nowhere.npy", *words.split()]) == 2
    assert IMPOSSIBLE[words] in one_line(capsys)


@pytest.mark.parametrize("command", ["sample", "relatives 0", "interpolate 0 1", "inpaint 0 --hide left", "evaluate"])
def test_a_command_works_on_the_device_asked_for(command, alone, monkeypatch):
    asked, (name, *more) = [], command.split()

    def device_of(device):
        asked.append(device)
        raise iw.ConfigError("device", device, "another")

    monkeypatch.setattr(runs, "device_of", device_of)
    for words in ([], ["--device", "cpu"], ["--device", "cuda"]):
        assert run_cli([name, "nowhere", *more, *words]) == 2
    assert asked == ["auto", "cpu", "cuda"]


def test_a_run_refused_for_its_cost_leaves_nothing(home, alone, monkeypatch, capsys):
    monkeypatch.setattr(cost, "free_memory", lambda device: 1000)
    assert run_cli(train_words(home / "points.npy", "run")) == 2
    assert "train.micro-batch-size: got 8, which takes" in one_line(capsys)
    assert list(alone.iterdir()) == []


def test_the_version_is_that_of_the_package(capsys):
    assert run_cli(["--version"]) == 0
    assert capsys.readouterr().out == f"inkwash {iw.core.version.__version__}\n"


def test_a_bad_run_ends_in_exit_4(alone, capsys):
    for words in (
        "sample nowhere",
        "relatives nowhere 0",
        "interpolate nowhere 0 1",
        "evaluate nowhere",
    ):
        assert run_cli(words.split()) == 4
        need = "a run, as inkwash train makes one: inkwash train DATA --out nowhere"
        assert one_line(capsys) == f"error: nowhere: got no such folder, need {need}\n"
    assert list(alone.iterdir()) == []


def test_debug_shows_where_it_came_from(alone, capsys):
    assert run_cli(["evaluate", "nowhere", "--debug"]) == 4
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: nowhere")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_place_that_is_no_run_is_not_written_to(alone, capsys, kind):
    data = points(alone / "points.npy")
    place = alone / "mine"
    if kind == "folder":
        place.mkdir()
        (place / "thesis.txt").write_text("precious")
    else:
        place.write_text("precious")
    before = tree(alone)
    assert run_cli(train_words(data, place)) == 2
    assert "need a run's folder, an empty one or a new one" in one_line(capsys)
    assert tree(alone) == before


def test_other_options_than_the_run_was_started_with_are_refused(home, capsys):
    before = tree(home / "points")
    assert run_cli(train_words(home / "points.npy", home / "points", "--train.steps", 5)) == 2
    assert "train.steps: got 5, need 3, as the run" in one_line(capsys)
    assert tree(home / "points") == before


def test_a_folder_that_cannot_be_written_ends_in_exit_6(alone, capsys):
    (alone / "file").write_text("")
    data = points(alone / "points.npy")
    assert run_cli(train_words(data, alone / "file" / "run")) == 6
    one_line(capsys)


def test_a_disk_without_space_ends_in_exit_6(home, alone):
    def sample():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        sys.exit(run_cli(["sample", home / "points", "-n", 2000, "--out", alone / "drawn"]))

    assert wait(fork(sample, alone / "log")) == 6
    (line,) = [line for line in (alone / "log").read_text().splitlines() if not line.endswith("…")]
    assert line.startswith(f"error: {alone / 'drawn'}")
    assert not (alone / "drawn" / "samples.npy").exists()


def test_ctrl_c_while_sampling_ends_in_exit_130(home, alone, capsys, monkeypatch):
    monkeypatch.setattr(drawing, "draw_in_shares", lambda *given, **options: os.kill(os.getpid(), signal.SIGINT))
    assert run_cli(["sample", home / "points"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


# Good commands


def test_training_says_what_it_did_and_what_to_do_next(home, alone, capsys):
    assert run_cli(train_words(home / "points.npy", "run", "--train.steps", 3)) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "next      inkwash sample run -n 64 --out run/drawn" in printed.out
    assert "32 to train on, 8 held out" in printed.out
    for name in ("config.json", "samples.png", "curve.png", "summary.json", "metrics.jsonl"):
        assert (alone / "run" / name).exists()
    assert digests(alone / "run") == digests(home / "points")


def test_the_default_folder_is_named_after_the_data(home, alone, monkeypatch):
    without_pictures(monkeypatch)
    words = [word for word in train_words(home / "points.npy", "X", "--train.steps", 1) if word not in ("--out", "X")]
    assert run_cli(words) == 0
    assert newest(alone / "runs" / "points")


def test_samples_share_prefixes(home, alone):
    drawn = {}
    for n in (1, 5, 64):
        assert run_cli(["sample", home / "images", "-n", n, "--out", f"{n}", "--seed", 3]) == 0
        drawn[n] = np.load(alone / f"{n}" / "samples.npy")
        assert drawn[n].shape == (n, 5, 7)
        assert drawn[n].dtype == np.uint8
    for n in (1, 5):
        assert np.array_equal(drawn[n], drawn[64][:n])
        for i in range(n):
            assert (alone / f"{n}" / f"{i:06d}.png").read_bytes() == (alone / "64" / f"{i:06d}.png").read_bytes()
    assert not np.array_equal(drawn[64][0], drawn[64][1])


def test_another_seed_draws_others(home, alone):
    for seed in (0, 1):
        assert run_cli(["sample", home / "points", "-n", 4, "--seed", seed, "--out", f"{seed}"]) == 0
    assert not np.array_equal(np.load("0/samples.npy"), np.load("1/samples.npy"))


WALKS = {
    "": {},
    "--sampler ddim": {"sampler": iw.DDIM()},
    "--sampler ddim --eta 1": {"sampler": iw.DDIM(1.0)},
    "--steps 3": {"steps": 3},
    "--sampler dpm-solver --order 2 --corrector True --steps 4": {
        "sampler": iw.DPMSolver(2, corrector=True),
        "steps": 4,
    },
    "--sampler heun --s-churn 2 --grid karras --rho 3 --steps 3": {
        "sampler": iw.Heun(s_churn=2.0),
        "grid": iw.KarrasGrid(3.0),
        "steps": 3,
    },
    "--sampler adams --grid angle --steps 4": {"sampler": iw.Adams(), "grid": iw.AngleGrid(), "steps": 4},
}


@pytest.mark.parametrize("options", WALKS)
def test_the_command_draws_what_the_library_draws(home, alone, options):
    assert run_cli(["sample", home / "points", "-n", 4, "--seed", 7, *options.split()]) == 0
    expected = iw.load(home / "points").sample(4, seed=7, **WALKS[options])
    assert np.array_equal(np.load("samples/samples.npy"), expected)


def test_every_sampler_and_grid_and_option_of_them_is_within_reach():
    """A class keeps its name on the command line, and an option its own."""
    hints = typing.get_type_hints(SamplingConfig)
    assert set(SAMPLERS.values()) == set(public(iw.sample.Sampler))
    options = {option.name for kind in (*SAMPLERS.values(), *GRIDS.values()) for option in fields(kind)}
    assert set(hints) == {"sampler", "steps", "grid", "variance", "clip"} | options


def test_pixels_are_the_levels_stretched_to_eight_bits(home, alone):
    assert run_cli(["sample", home / "images", "-n", 16]) == 0
    data = np.load("samples/samples.npy")
    assert len(np.unique(data)) == 17
    for i, image in enumerate(data):
        with Image.open(f"samples/{i:06d}.png") as picture:
            assert picture.mode == "L"
            assert picture.size == (7, 5)
            expected = [[round(int(v) * 255 / 16) for v in row] for row in image]
            assert np.array_equal(np.asarray(picture), expected)


def test_inspect_says_what_the_run_is(home, capsys):
    assert run_cli(["inspect", home / "points"]) == 0
    printed = capsys.readouterr().out
    assert "step       3 of 3; 0 skipped" in printed
    plain = json.loads(re.search(r"^\{.*^\}", printed, re.MULTILINE | re.DOTALL)[0])
    assert plain["train"]["steps"] == 3
    assert plain == json.loads((home / "points" / "config.json").read_text())
    assert run_cli(["inspect", newest(home / "points")]) == 0


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    assert run_cli([command, "--help"]) == 0
    assert f"inkwash {command}" in capsys.readouterr().out


def test_papers_without_a_name_lists_the_experiments(capsys):
    assert run_cli(["papers"]) == 0
    printed = capsys.readouterr().out
    for name in EXPERIMENTS:
        assert f"• {name} " in printed
        assert run_cli(["papers", name, "--help"]) == 0
        assert f"usage: inkwash papers {name}" in capsys.readouterr().out


def test_no_command_is_a_call_for_help(capsys):
    assert run_cli([]) == 0
    assert "train" in capsys.readouterr().out


def test_warnings_are_one_line(home, tmp_path, capsys):
    run = shutil.copytree(home / "points", tmp_path / "run")
    flip_bit(newest(run) / "average.safetensors", 5000)
    assert run_cli(["inspect", run]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.fullmatch(r"warning: .*damaged average\.safetensors.*; using step-000000000 instead\n", err)
