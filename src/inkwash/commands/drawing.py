"""The commands that sample a run, as dataclasses whose fields are their options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, get_args

import tyro

from inkwash.commands.options import SamplingOptions
from inkwash.commands.parse import NO_PREFIX
from inkwash.core.config import HideName, ImputeMethodName, MethodName, SamplingConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import Count, Range

RunName = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
_Example = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="EXAMPLE")]
_Sampling = Annotated[SamplingOptions, NO_PREFIX]


@dataclass(frozen=True)
class Sample:
    """Sample a trained model: all samples in data units as samples.npy, or .csv for a table, and pictures as PNG."""

    run: RunName
    """Folder of a run, of one of its checkpoints, or of a pipeline of diffusers."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 64
    """How many samples."""
    out: str = "samples"
    """Folder to write to."""

    where: str | None = None
    """Tables only: conditions that all samples meet, such as "Sex=female, Age>30, Embarked in S|C"."""
    film: str | None = None
    """Record a film of the first samples (16 pictures, or the points of the first slot), with the noisy data above and
    the estimates of the clean data below. This is its name within the folder; it ends in .gif, .webp or .png, which is
    a strip of all frames."""
    frames: Count | None = None
    """The film has at most so many frames, evenly spread over time; 40 by default."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        if self.frames is not None and self.film is None:
            raise ConfigError("frames", self.frames, "--film film.gif beside it, to have them")
        if self.film is not None and self.where is not None:
            raise ConfigError("film", self.film, "no --where: the particles that meet it have no film")
        from inkwash.commands.output import Output
        from inkwash.commands.sample import sample_to_folder

        film = {} if self.frames is None else {"frames": self.frames}
        output = Output(Path(self.out))
        sample_to_folder(self.run, self.n, self.sampling, output, where=self.where, film=self.film, **film)


@dataclass(frozen=True)
class Relatives:
    """Sample relatives of an example, which share a noisy version with it: the later its time, the less they have in
    common."""

    run: RunName
    """Folder of a run, or of a pipeline of diffusers."""
    example: _Example
    """Number of a held-out example, or a picture or a file of one, in any format of DATA, such as scan.nii.gz."""
    t: tuple[Annotated[float, Range(0, 1, open_low=True)], ...] = (0.2, 0.4, 0.6, 0.8)
    """Times of the noisy versions; 1 is noise. Each is a row of the picture."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 8
    """How many relatives for each time."""
    out: str = "relatives"
    """Folder to write to."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        from inkwash.commands.output import Output
        from inkwash.commands.relatives import relatives_to_folder

        relatives_to_folder(self.run, self.example, self.t, self.n, self.sampling, Output(Path(self.out)))


@dataclass(frozen=True)
class Interpolate:
    """Make examples that lead from one to another: between their codes, or between noisy versions of both."""

    run: RunName
    """Folder of a run, or of a pipeline of diffusers."""
    a: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Number of a held-out example, or a picture or a file of one, in any format of DATA, such as scan.nii.gz."""
    b: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """Another example."""
    n: Annotated[int, Range(2), tyro.conf.arg(aliases=["-n"])] = 9
    """How many examples, both ends among them."""
    t: Annotated[float, Range(0, 1, open_low=True)] | None = None
    """Mix noisy versions at this time, and walk back from it. By default codes are mixed, and nothing is walked."""
    out: str = "interpolation"
    """Folder to write to."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        if self.t is None and (replace(self.sampling.walk, clip=None), self.sampling.guidance) != (SamplingConfig(), 1):
            need = "a time such as --t 0.5, from which --sampler, --grid, --steps and --guidance walk back"
            raise ConfigError("t", "nothing", need)
        from inkwash.commands.output import Output
        from inkwash.commands.relatives import interpolate_to_folder

        interpolate_to_folder(self.run, self.a, self.b, self.n, self.sampling, Output(Path(self.out)), t=self.t)


@dataclass(frozen=True)
class Inpaint:
    """Sample what is hidden of a picture, series or volume, given the rest: samples, mean and spread, as arrays and as
    one picture."""

    run: RunName
    """Folder of a run, of one of its checkpoints, or of a pipeline of diffusers."""
    example: _Example
    """Number of a held-out example, or a picture or a file of one, in any format of DATA, such as scan.nii.gz."""
    mask: str | None = None
    """What is known: white in a picture, true in a boolean .npy file."""
    hide: HideName | None = None
    """Or what to hide: one half (left or right, if it is a series), or about half of the places at random."""
    n: Annotated[int, Range(2), tyro.conf.arg(aliases=["-n"])] = 16
    """How many samples."""
    out: str = "inpainted"
    """Folder to write to."""
    method: MethodName | None = None
    """How to sample from the product; by default moment-matching, and smc for bits."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        if (self.mask is None) == (self.hide is None):
            got = "neither this nor --mask" if self.hide is None else f"{self.hide}, and --mask {self.mask}"
            raise ConfigError("hide", got, f"--hide {', '.join(get_args(HideName))}, or --mask FILE of what is known")
        from inkwash.commands.inpaint import inpaint_to_folder, read_mask
        from inkwash.commands.output import Output
        from inkwash.posterior import METHODS

        mask = self.hide or read_mask(Path(self.mask or ""))
        method, output = self.method and METHODS[self.method](), Output(Path(self.out))
        inpaint_to_folder(self.run, self.example, mask, self.n, self.sampling, output, method=method)


@dataclass(frozen=True)
class Impute:
    """Sample the missing entries of examples, given the others: completed tables, and quantiles of each missing
    cell."""

    run: RunName
    """Folder of a run, or of one of its checkpoints."""
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Examples with missing entries: a .csv or .parquet file with the columns of the run's table, or an .npy file of
    other data with NaN for what is missing."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 20
    """How many samples of each missing entry."""
    out: str = "imputed"
    """Folder to write to."""
    method: ImputeMethodName | None = None
    """How to sample; by default moment-matching, and smc for bits and for tables with categories."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        from inkwash.commands.impute import impute_to_folder
        from inkwash.commands.output import Output
        from inkwash.posterior import METHODS

        method, output = self.method and METHODS[self.method](), Output(Path(self.out))
        impute_to_folder(self.run, Path(self.source), self.n, self.sampling, output, method=method)


@dataclass(frozen=True)
class Forecast:
    """Sample the next places of series, given their past: all draws, their quantiles as a table, and a picture."""

    run: RunName
    """Folder of a run of series, or of one of its checkpoints."""
    past: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PAST")]
    """The past: a file of one series or of several, in any format of DATA, such as past.nc:T; or a table, whose columns
    are the channels, as in past.csv:wind,rain. The last places count; NaN stands for a missing one. Or the number of a
    held-out series, whose end is hidden."""
    horizon: Count | None = None
    """How many places to forecast, fewer than a series of the run has; by default a quarter of these."""
    n: Annotated[int, Range(1), tyro.conf.arg(aliases=["-n"])] = 100
    """How many draws for each series."""
    out: str = "forecast"
    """Folder to write to."""
    method: ImputeMethodName | None = None
    """How to sample; by default moment-matching, and smc for bits."""
    sampling: _Sampling = field(default_factory=SamplingOptions)

    def __call__(self) -> None:
        from inkwash.commands.forecast import forecast_to_folder
        from inkwash.commands.output import Output
        from inkwash.posterior import METHODS

        method, output = self.method and METHODS[self.method](), Output(Path(self.out))
        forecast_to_folder(self.run, self.past, self.horizon, self.n, self.sampling, output, method=method)
