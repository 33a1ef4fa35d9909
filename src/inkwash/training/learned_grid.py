"""The learned grids of a run; each is learned once, and kept in `RUN/grids` with what it was learned from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from inkwash.core import storage
from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.options import Count, Range, Seed, from_json, to_json
from inkwash.model.grid_costs import GridCosts, bound_costs, trajectory_costs
from inkwash.process.noise.grid import as_grid
from inkwash.training.checkpoint import fingerprint
from inkwash.training.run import Run, StrPath, load, read_header, require_run

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
    steps: Annotated[int, Range(2)]
    candidates: Annotated[int, Range(3)]
    examples: Count
    seed: Seed
    evaluations: Count
    seconds: Annotated[float, Range(0)]
    times: tuple[float, ...]


def learned_grid(run: StrPath, objective: Criterion, steps: int, display: Display) -> Tensor:
    """The grid learned for the newest valid checkpoint of a run; if none is kept yet, it is learned and kept.

    Args:
        run: the run's folder.
        objective: what to minimise: the "bound", over 256 training examples, or the deviation from a "trajectory" of
            the flow, over 64 of them.
        steps: the number of steps, at least 2.
        display: where to print what the grid cost.

    Returns:
        Times that decrease from 1 to 0, `(steps + 1,)`, float64.

    Raises:
        CheckpointError: the folder is not a run, or the grid that it keeps is damaged.
        ConfigError: `steps` is bad, or the process has no trajectories because it is not Gaussian.
        DataError: the data, which the bound needs, is gone or has changed.
    """
    require_run(Path(run))
    _, checkpoint = read_header(run)
    file = Path(run) / "grids" / f"{objective}-{steps}.json"
    grid = _read(file, objective, steps) if file.exists() else None
    if grid is None or grid.fingerprint != fingerprint(checkpoint):
        grid = _learn(Run(Path(run)), checkpoint, objective, steps)
        storage.make_folder(file.parent)
        storage.replace(file, storage.dump_json(to_json(grid)))
        cost = f"{grid.evaluations} network evaluations, {grid.seconds:.1f} s"
        display.say(f"grid      {file} (learned from {grid.candidates} times for {grid.checkpoint}: {cost})")
    else:
        display.say(f"grid      {file} (learned earlier for {grid.checkpoint})")
    return torch.tensor(grid.times, dtype=torch.float64)


def _learn(run: Run, checkpoint: Path, objective: Criterion, steps: int) -> LearnedGrid:
    started = time.perf_counter()
    costs = _costs(run, checkpoint, objective)
    times = tuple(costs.grid(steps).tolist())
    seconds = time.perf_counter() - started
    return LearnedGrid(
        checkpoint=checkpoint.name,
        fingerprint=fingerprint(checkpoint),
        objective=objective,
        steps=steps,
        candidates=len(costs.times),
        examples=costs.evaluations // len(costs.step),
        seed=_SEED,
        evaluations=costs.evaluations,
        seconds=seconds,
        times=times,
    )


def _costs(run: Run, checkpoint: Path, objective: Criterion) -> GridCosts:
    model = load(checkpoint)
    if objective == "trajectory":
        return trajectory_costs(model, _EXAMPLES[objective], seed=_SEED)
    train, _ = run.split()
    return bound_costs(model, run.dataset().data[train[: _EXAMPLES[objective]]], seed=_SEED)


def _read(file: Path, objective: Criterion, steps: int) -> LearnedGrid:
    try:
        grid = from_json(LearnedGrid, storage.parse_json(file.read_bytes(), str(file)))
        times = as_grid(None, torch.tensor(grid.times, dtype=torch.float64), steps)
    except (ConfigError, OSError) as error:
        raise CheckpointError(str(file), f"no learned grid ({error})", "the file as inkwash wrote it") from None
    if (grid.objective, grid.steps, len(times) - 1) != (objective, steps, steps):
        raise CheckpointError(str(file), f"{grid.objective}, {grid.steps} steps", "what its name says")
    return grid
