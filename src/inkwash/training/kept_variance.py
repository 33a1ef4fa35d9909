"""The analytic variances of a run; each is measured once, and kept in `RUN/variances` with what it was measured on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from inkwash.core.display import Display
from inkwash.core.options import Count, Seed
from inkwash.model.diffusion import Diffusion
from inkwash.process.gaussian import require_gaussian
from inkwash.process.variance import Analytic
from inkwash.training.checkpoint import fingerprint
from inkwash.training.families.diffusion import MEASURED
from inkwash.training.kept import kept
from inkwash.training.run import Run, StrPath, read_header, require_run


@dataclass(frozen=True)
class KeptVariance:
    """The table of an analytic variance, and what it was measured on.

    Args:
        checkpoint: the name of the checkpoint.
        fingerprint: the fingerprint of the checkpoint.
        examples: the number of training examples.
        seed: the seed of the noise, that of training.
        log_snr: the log-SNRs of the table.
        error: the mean squared error of the estimate at each of them, model units.
    """

    checkpoint: str
    fingerprint: str
    examples: Count
    seed: Seed
    log_snr: tuple[float, ...]
    error: tuple[float, ...]

    def variance(self) -> Analytic:
        """The variance of this table."""
        return Analytic(*(torch.tensor(part, dtype=torch.float64) for part in (self.log_snr, self.error)))

    def check(self) -> None:
        self.variance()


def kept_variance(run: StrPath, model: Diffusion, display: Display, *, clipped: bool) -> Analytic:
    """The analytic variance for the newest valid checkpoint of a run; if none is kept yet, it is measured and kept.

    It is the variance that the run would have been saved with, had it been trained for an analytic variance.

    Args:
        run: the run's folder.
        model: the model of that checkpoint.
        display: where to print what was measured.
        clipped: whether the estimates of the model are clipped, which names the file.

    Raises:
        CheckpointError: the folder is not a run, or the table that it keeps is damaged.
        ConfigError: the process is not Gaussian.
        DataError: the data is gone or has changed.
    """
    require_gaussian(model.process, "variance analytic", "no --variance")
    require_run(Path(run))
    header, checkpoint = read_header(run)
    file = Path(run) / "variances" / f"{'clipped' if clipped else 'unclipped'}.json"
    measure = partial(_measure, Run(run), model, checkpoint, header.config.train.seed)
    with display.bar("measuring the variance"):
        table, is_new = kept(file, KeptVariance, fingerprint(checkpoint), measure)
    origin = f"measured on {table.examples} training examples" if is_new else "measured earlier"
    display.say(f"variance  {file} ({origin} for {table.checkpoint})")
    return table.variance()


def _measure(run: Run, model: Diffusion, checkpoint: Path, seed: int) -> KeptVariance:
    dataset, places = run.dataset(), run.split()[0][:MEASURED]
    found = model.measured_variance(dataset.data[places], seed=seed, **dataset.conditions(places))
    log_snr, error = tuple(found.log_snr.tolist()), tuple(found.log_error.exp().tolist())
    return KeptVariance(checkpoint.name, fingerprint(checkpoint), len(places), seed, log_snr, error)
