"""The learned grids of a run; each is learned once, and kept in `RUN/grids` with what it was learned from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.options import Count, Range, Seed
from inkwash.model.diffusion import Diffusion
from inkwash.model.grid_costs import GridCosts, bound_costs, trajectory_costs
from inkwash.process.noise.grid import as_grid
from inkwash.training.checkpoint import fingerprint
from inkwash.training.kept import kept
from inkwash.training.run import Run, StrPath, read_header, require_run

Criterion = Literal["bound", "trajectory"]

_EXAMPLES = {"bound": 256, "trajectory": 64}
_SEED = 0


@dataclass(frozen=True)
class LearnedGrid:
    """A grid, and what it was learned from.

    Args:
        checkpoint: the name of the checkpoint.
        fingerprint: the fingerprint of the checkpoint, which shows when more training has made the grid stale.
        objective: what was minimised: "bound" or "trajectory".
        use: how the network is used, where that is not as trained; see `learned_grid`.
        steps: the number of steps of the grid.
        candidates: the number of times that the grid was selected from.
        examples: the number of training examples of the bound, or of trajectories.
        seed: the seed of the noise.
        evaluations: the number of network evaluations, each of one example at one time.
        seconds: the time that learning took.
        times: the grid, `steps + 1` times.
    """

    checkpoint: str
    fingerprint: str
    objective: Criterion
    use: str
    steps: Annotated[int, Range(2)]
    candidates: Annotated[int, Range(3)]
    examples: Count
    seed: Seed
    evaluations: Count
    seconds: Annotated[float, Range(0)]
    times: tuple[float, ...]

    def check(self) -> None:
        if len(as_grid(None, torch.tensor(self.times, dtype=torch.float64), self.steps)) != self.steps + 1:
            raise ConfigError("times", f"{len(self.times)} times", f"those of {self.steps} steps")


def learned_grid(
    run: StrPath, model: Diffusion, objective: Criterion, steps: int, display: Display, use: str = ""
) -> Tensor:
    """The grid learned for the newest valid checkpoint of a run; if none is kept yet, it is learned and kept.

    Args:
        run: the run's folder.
        model: the model of that checkpoint.
        objective: what to minimise: the "bound", over 256 training examples, or the deviation from a "trajectory" of
            the flow, over 64 of them.
        steps: the number of steps, at least 2.
        display: where to print what the grid cost.
        use: how the model uses its network, if not as it was trained: a word or several, for the name of the file.

    Returns:
        Times that decrease from 1 to 0, `(steps + 1,)`, float64.

    Raises:
        CheckpointError: the folder is not a run, or the grid that it keeps is damaged.
        ConfigError: `steps` is bad, or the process has no trajectories because it is not Gaussian.
        DataError: the data, which the bound needs, is gone or has changed.
    """
    require_run(Path(run))
    _, checkpoint = read_header(run)
    file = Path(run) / "grids" / f"{'-'.join([objective, str(steps), *use.split()])}.json"
    learn = partial(_learn, Run(run), model, checkpoint, objective, steps, use)
    with display.bar("learning the grid"):
        grid, is_new = kept(file, LearnedGrid, fingerprint(checkpoint), learn)
    if (grid.objective, grid.steps, grid.use) != (objective, steps, use):
        got = f"{grid.objective}, {grid.steps} steps"
        raise CheckpointError(str(file), got, "what its name says")
    cost = f"learned from {grid.candidates} times for {grid.checkpoint}: {grid.evaluations} network evaluations"
    earlier = f"learned earlier for {grid.checkpoint}"
    display.say(f"grid      {file} ({f'{cost}, {grid.seconds:.1f} s' if is_new else earlier})")
    return torch.tensor(grid.times, dtype=torch.float64)


def _learn(run: Run, model: Diffusion, checkpoint: Path, objective: Criterion, steps: int, use: str) -> LearnedGrid:
    started = time.perf_counter()
    costs = _costs(run, model, objective)
    times = tuple(costs.grid(steps).tolist())
    seconds = time.perf_counter() - started
    return LearnedGrid(
        checkpoint=checkpoint.name,
        fingerprint=fingerprint(checkpoint),
        objective=objective,
        use=use,
        steps=steps,
        candidates=len(costs.times),
        examples=costs.evaluations // len(costs.step),
        seed=_SEED,
        evaluations=costs.evaluations,
        seconds=seconds,
        times=times,
    )


def _costs(run: Run, model: Diffusion, objective: Criterion) -> GridCosts:
    if objective == "trajectory":
        return trajectory_costs(model, _EXAMPLES[objective], seed=_SEED)
    train, _ = run.split()
    return bound_costs(model, run.dataset().data[train[: _EXAMPLES[objective]]], seed=_SEED)
