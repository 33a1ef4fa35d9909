"""The command line: a dataclass for each command, whose fields are its options, and `main`, which runs one.

A bad option ends in one line, before anything is written. A command imports what it needs when it runs, so that help
and mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from inkwash.commands.drawing import Forecast, Impute, Inpaint, Interpolate, Relatives, RunName, Sample
from inkwash.commands.frame import Frame
from inkwash.commands.papers import EXPERIMENTS, load_options
from inkwash.commands.parse import NO_PREFIX, parse, require_choice
from inkwash.core.config import (
    SOURCES,
    AutoencoderConfig,
    CodecConfig,
    Config,
    DataConfig,
    DenoiserConfig,
    Device,
    EvaluateConfig,
    ExportName,
    ModelName,
    NetworkConfig,
    PresetName,
    ProcessConfig,
    SamplingConfig,
    Strength,
    TrainConfig,
)
from inkwash.core.errors import ConfigError
from inkwash.core.machine import keep_freed_memory
from inkwash.core.options import Range, first_difference, words_of
from inkwash.core.processes import this_place
from inkwash.core.text import typed
from inkwash.core.version import __version__
from inkwash.presets import PRESETS

_DESCRIPTION = """Diffusion models as probability distributions: fit one to your data, sample it, evaluate it.
--version prints the version of inkwash."""


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What decides a training run, besides its data."""

    data: DataConfig = field(default_factory=DataConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    model: ModelName = "diffusion"
    """What is fitted: a diffusion model of the data, a variational autoencoder (vae), or a diffusion model of an
    autoencoder's latents (latent)."""
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    preset: PresetName | None = None
    """Start from the settings of a paper, which the other options may change; --help shows them. dpm-2015 with
    --process.kind bernoulli is the paper's model of bits."""

    def config(self, source: str) -> Config:
        return Config(source, **{option.name: getattr(self, option.name) for option in fields(_Training)})

    def command(self, name: str, source: str, out: str | None = None) -> str:
        """The command line of a command with these options."""
        usual = _usual(self.preset, self.process.kind)
        named = replace(usual, source=source, preset=None, process=replace(usual.process, kind=None))
        words = words_of(self.config(source), named)
        return typed(name, source, *([] if out is None else ["--out", out]), *words)


@dataclass(frozen=True)
class Train(_Training):
    """Fit a diffusion model to data. The same command again resumes a run that was stopped."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA", help=SOURCES)]
    out: str | None = None
    """Folder of the run; runs/NAME by default."""

    def __call__(self) -> None:
        from inkwash.training.fit import fit

        fit(self.config(self.source), None if self.out is None else Path(self.out))

    def command_line(self) -> str:
        """The command line of this command."""
        return self.command("train", self.source, self.out)


@dataclass(frozen=True)
class Evaluate:
    """Compare a trained model with held-out data: the bound by part and by time, over-fitting, samples against data,
    memorisation and drift. The report is written to RUN/evaluation. Two runs are compared on the same held-out
    examples. A pipeline of diffusers is compared with data that you state."""

    run: RunName
    """Folder of a run, or of a pipeline of diffusers."""
    other: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="OTHER")] = None
    """Folder of another run of the same data, to compare with the first: one table and one report of both."""
    data: str | None = None
    """For a pipeline: data like its samples that it was not trained on, as train takes it. Half of it is compared with
    samples, and half takes the place of training data."""
    labels: str | None = None
    """For a pipeline with classes: where the labels of the data are, as --data.labels of train."""
    out: str | None = None
    """Folder for the comparison of two runs, comparison by default; or for the evaluation of a pipeline, evaluation by
    default."""
    device: Device = "auto"
    """Where to evaluate; auto is a CUDA GPU if there is one, and otherwise the CPU."""
    config: Annotated[EvaluateConfig, NO_PREFIX] = field(default_factory=EvaluateConfig)

    def __call__(self) -> None:
        from inkwash.bridges.pipelines import is_pipeline
        from inkwash.core.display import Display

        if self.other is None and is_pipeline(self.run):
            from inkwash.commands.evaluate import evaluate_pipeline

            out = Path(self.out or "evaluation")
            evaluate_pipeline(self.run, self.data, self.labels, self.config, out, self.device, Display())
            return
        for option in ("data", "labels"):
            if getattr(self, option) is not None:
                from inkwash.training.run import require_run  # only here, as it imports torch

                require_run(Path(self.run))
                need = "none, as in inkwash evaluate RUN: a run is compared with the examples that it held out"
                raise ConfigError(option, getattr(self, option), need)
        if self.other is None:
            from inkwash.evaluation.evaluate import evaluate

            if self.out is not None:
                raise ConfigError(
                    "out", self.out, f"two runs, as in inkwash evaluate {self.run} OTHER --out {self.out}"
                )
            evaluate(self.run, self.config, Display(), device=self.device)
        else:
            from inkwash.evaluation.compare import compare

            out = Path(self.out or "comparison")
            compare(self.run, self.other, self.config, Display(), out=out, device=self.device)


@dataclass(frozen=True)
class Export:
    """Write a run for other libraries: one file with the denoiser and what programs must know to use it, beside a
    sampler that needs nothing of inkwash; or a folder with a pipeline."""

    run: RunName
    """Folder of a run, or of one of its checkpoints."""
    to: ExportName
    """What to write: a file for onnxruntime and others (onnx), one for torch (torch-export), or a folder for
    diffusers."""
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write, .onnx or .pt2, or folder; by default the name of the run with such an ending, in this folder."""
    guidance: Strength | None = None
    """For a file of a model with a condition: how much it counts, which is fixed in the file; 1 by default."""

    def __call__(self) -> None:
        from inkwash.commands.export import export_run
        from inkwash.core.display import Display

        export_run(self.run, self.to, self.out, self.guidance, Display())


@dataclass(frozen=True)
class Push:
    """Upload a run to the Hugging Face Hub, with a model card. hf:OWNER/NAME then stands for its folder in commands
    that read one."""

    run: RunName
    """Folder of a run, or of one of its checkpoints."""
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    """The repository; if there is none of this name, it is made."""
    private: bool = False
    """Whether a new repository is for its owner only."""

    def __call__(self) -> None:
        from inkwash.bridges.hub import push
        from inkwash.core.display import Display

        display = Display()
        with display.bar(f"uploading to {self.name}"):
            found = push(self.run, self.name, private=self.private)
        display.found(name=found)
        display.say(f"uploaded  {found}")
        display.say(f"next      {typed('sample', found, '-n', 64)}")


@dataclass(frozen=True)
class Compress:
    """Compress data under a model: exactly, to about as many bits as its bound says, or with loss, to fewer."""

    run: RunName
    """Folder of a run, or of one of its checkpoints."""
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """Data like that of the run: an .npy, .npz, .csv, .tsv or .parquet file, a folder of PNG files, or a built-in
    set."""
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write; by default the name of the data with .ink."""
    codec: Annotated[CodecConfig, NO_PREFIX] = field(default_factory=CodecConfig)

    def __call__(self) -> None:
        from inkwash.commands.compress import compress_to_file
        from inkwash.core.display import Display

        out = None if self.out is None else Path(self.out)
        compress_to_file(self.run, self.source, out, self.codec, Display())


@dataclass(frozen=True)
class Decompress:
    """Write what a compressed file holds: the same file or the same folder, exactly, or an estimate of it if it was
    compressed with loss."""

    run: RunName
    """Folder of the run, or of the checkpoint, that it was compressed under."""
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A file that inkwash compress wrote; inkwash inspect says what is in it."""
    out: Annotated[str | None, tyro.conf.arg(aliases=["-o"])] = None
    """File or folder to write; by default the name that the data had, in this folder."""
    film: str | None = None
    """Also write a film of the first 16 examples as they become sharp: above what is known after a part of the bits,
    below the network's estimate, and how many bits were read. The suffix selects the format: .gif, .webp (no colour is
    lost), or .png, a strip of all frames. It needs a file of mode direct."""

    def __call__(self) -> None:
        from inkwash.commands.compress import decompress_to_file
        from inkwash.core.display import Display

        out, film = (None if name is None else Path(name) for name in (self.out, self.film))
        decompress_to_file(self.run, Path(self.file), out, Display(), film)


@dataclass(frozen=True)
class Inspect(_Training):
    """Say what a run or a checkpoint is: data, network, progress, versions and every option; or what is in a compressed
    file. Given data and the options of train, say what training would make of it; nothing is trained or written."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE|DATA")]
    """Folder of a run, of one of its checkpoints, or of a pipeline of diffusers; a compressed file; or data, as for
    train."""

    def __call__(self) -> None:
        from inkwash.bridges.pipelines import is_pipeline
        from inkwash.commands.compress import inspect_file, is_compressed
        from inkwash.commands.inspect import inspect_data, inspect_pipeline, inspect_run
        from inkwash.core.display import Display
        from inkwash.training.remote import is_remote, names_run
        from inkwash.training.run import is_run

        config, is_file = self.config(self.what), is_compressed(Path(self.what))
        given = first_difference(config, Config(self.what))
        remote = is_remote(self.what) and ("@" in self.what or not given) and names_run(self.what)
        of_pipeline = not is_file and not remote and is_pipeline(self.what)
        if not is_file and not remote and not of_pipeline and not is_run(Path(self.what)):
            return inspect_data(config, Display(), self.command("train", self.what))
        if given:
            need = "data to try it on; without options, inkwash inspect RUN shows those that it was trained with"
            raise ConfigError(given[0], given[1], need)
        if is_file:
            return inspect_file(Path(self.what), Display())
        inspect_pipeline(self.what, Display()) if of_pipeline else inspect_run(self.what, Display())

    def command_line(self) -> str:
        """The command line of this command."""
        return self.command("inspect", self.what)


@dataclass(frozen=True)
class Papers:
    """Test claims of the papers and study notes by experiment; without a name, list the experiments."""

    def __call__(self) -> None:
        from inkwash.core.display import Display

        Display().found(experiments=EXPERIMENTS)


@dataclass(frozen=True)
class Studio:
    """Open a page on this machine that shows what a model says: samples as they form, inpainting by brush, bits by
    time, tables with gaps, forecasts, and training with live curves. It needs the extra studio."""

    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None
    """Folder of the run that the page opens with."""
    runs: str = "runs"
    """Folder of the runs that the page lists; new ones go there."""
    data: tuple[str, ...] | None = None
    """Files and folders that the page offers to train on, beside the built-in sets."""
    port: Annotated[int, Range(0, 65535)] = 8765
    """Port on 127.0.0.1; 0 is any that is free."""
    browser: bool = False
    """Open the page in the browser."""

    def __call__(self) -> None:
        from inkwash.core.display import Display
        from inkwash.data.raw import require_extra

        for package in ("starlette", "uvicorn"):
            require_extra(package, "studio", "studio")
        from inkwash.studio.serve import serve

        if self.run is not None and self.run.startswith("hf:"):
            from inkwash.training.run import require_run  # only here, as it imports torch

            require_run(Path(self.run))
        serve(self.run, self.runs, self.data or (), self.port, Display(), self.browser)


COMMANDS: dict[str, Any] = {
    "train": Train,
    "sample": Sample,
    "relatives": Relatives,
    "interpolate": Interpolate,
    "inpaint": Inpaint,
    "impute": Impute,
    "forecast": Forecast,
    "evaluate": Evaluate,
    "export": Export,
    "push": Push,
    "compress": Compress,
    "decompress": Decompress,
    "inspect": Inspect,
    "studio": Studio,
    "papers": Papers,
}
SHARED = ("train", "sample", "evaluate")
"""The commands whose work several processes share."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, and exit with the code of what went wrong, if anything did."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        return print(f"inkwash {__version__}")
    with Frame(words) as frame:
        frame.command = _command(frame)
        _require_one_process(frame.words[0])
        keep_freed_memory()
        frame.command()


def _require_one_process(name: str) -> None:
    """Raise a `ConfigError` if several processes were started with a command that does not share its work."""
    size = this_place().size
    if size > 1 and name not in SHARED:
        raise ConfigError("processes", size, f"one for inkwash {name}; {', '.join(SHARED)} take several")


def _command(frame: Frame) -> Any:
    """The command that the words describe; without any, the list of commands is shown instead.

    Raises:
        ConfigError: the words describe no command.
    """
    name, *others = frame.words or ["--help"]
    if name in ("-h", "--help") or name.startswith("--tyro"):
        kinds = [Annotated[kind, tyro.conf.subcommand(each)] for each, kind in COMMANDS.items()]
        return _show("inkwash", kinds, frame.words, _DESCRIPTION)
    require_choice("command", name, COMMANDS)
    if name == "papers":
        return _experiment(frame, others)
    frame.kind = COMMANDS[name]
    return parse(COMMANDS[name], f"inkwash {name}", others, _from_preset(COMMANDS[name], others))


def _from_preset(kind: type, words: Sequence[str]) -> Any:
    """The command with the options of the preset that the words name, and its other words missing; None without one."""
    scan = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scan.add_argument("--preset", nargs="?")
    scan.add_argument("--process.kind", nargs="?", dest="process")
    found = scan.parse_known_args(words)[0]
    if found.preset not in PRESETS or not issubclass(kind, _Training):
        return None
    config = _usual(found.preset, found.process)
    options = {option.name: getattr(config, option.name) for option in fields(_Training)}
    missing = {word.name: tyro.MISSING for word in fields(kind) if word.default is word.default_factory is MISSING}
    return kind(**options, **missing)


def _usual(preset: Any, process: Any) -> Config:
    """The options that hold where a command has none: those of its preset, if it has one."""
    configs = PRESETS.get(preset, {process: Config})
    return configs.get(process, next(iter(configs.values())))()


def _experiment(frame: Frame, words: Sequence[str]) -> Any:
    """The experiment that the words after `papers` describe; without any, the list of experiments."""
    name, *others = words or ["--help"]
    if not words and frame.document is not None:
        return Papers()
    if name in ("-h", "--help"):
        kinds = [Annotated[Papers, tyro.conf.subcommand(each, description=d)] for each, d in EXPERIMENTS.items()]
        return _show("inkwash papers", kinds, words, Papers.__doc__)
    require_choice("experiment", name, EXPERIMENTS)
    frame.kind, frame.name = load_options(name), f"papers {name}"
    return parse(frame.kind, f"inkwash papers {name}", others)


def _show(prog: str, kinds: Sequence[Any], words: Sequence[str], description: str | None) -> Any:
    """Print the list of commands, and exit."""
    return tyro.cli(Union[tuple(kinds)], prog=prog, description=description, args=words or ["--help"])  # type: ignore[call-overload]  # noqa: UP007


if __name__ == "__main__":
    main()
