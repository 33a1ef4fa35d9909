"""The learned steps of a run; they are learned once, and kept in `RUN/samplers` with what they were learned from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, ConfigError
from inkwash.core.options import Count, Range, Seed
from inkwash.model.diffusion import Diffusion
from inkwash.model.trajectories import flow_trajectories
from inkwash.sample.learned import LearnedSteps
from inkwash.training.checkpoint import fingerprint
from inkwash.training.kept import kept
from inkwash.training.run import StrPath, read_header, require_run

_SEED = 0


@dataclass(frozen=True)
class LearnedSampler:
    """Learned steps, and what they were learned from.

    Args:
        checkpoint: the name of the checkpoint.
        fingerprint: the fingerprint of the checkpoint, which shows when more training has made the steps stale.
        use: how the network is used, where that is not as trained; see `learned_sampler`.
        steps: the number of steps.
        candidates: the number of times that theirs were selected from.
        trajectories: the number of trajectories.
        seed: the seed of the trajectories' starts.
        evaluations: the number of network evaluations, each of one example at one time.
        seconds: the time that learning took.
        error: the error on these trajectories; see `FlowTrajectories.error`.
        times: the times of the walk.
        angles: the noise at these times; see `LearnedSteps`.
        weights: those of each step.
    """

    checkpoint: str
    fingerprint: str
    use: str
    steps: Count
    candidates: Annotated[int, Range(2)]
    trajectories: Count
    seed: Seed
    evaluations: Count
    seconds: Annotated[float, Range(0)]
    error: Annotated[float, Range(0)]
    times: tuple[float, ...]
    angles: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...]

    def sampler(self) -> LearnedSteps:
        """The sampler of these steps."""
        return LearnedSteps(self.times, self.angles, self.weights)

    def check(self) -> None:
        if len(self.sampler().weights) != self.steps:
            raise ConfigError("weights", f"those of {len(self.weights)} steps", f"those of {self.steps} steps")


def learned_sampler(run: StrPath, model: Diffusion, steps: int, display: Display, use: str = "") -> LearnedSteps:
    """The steps learned for the newest valid checkpoint of a run; if none are kept yet, they are learned and kept.

    Args:
        run: the run's folder.
        model: the model of that checkpoint.
        steps: the number of steps, from 1 to 20.
        display: where to print what they cost.
        use: how the model uses its network, if not as it was trained: a word or several, for the name of the file.

    Raises:
        CheckpointError: the folder is not a run, or the steps that it keeps are damaged.
        ConfigError: `steps` is bad, or the process is not Gaussian.
    """
    require_run(Path(run))
    _, checkpoint = read_header(run)
    file = Path(run) / "samplers" / f"{'-'.join([str(steps), *use.split()])}.json"
    learn = partial(_learn, model, checkpoint, steps, use)
    with display.bar("learning the sampler"):
        found, is_new = kept(file, LearnedSampler, fingerprint(checkpoint), learn)
    if (found.steps, found.use) != (steps, use):
        raise CheckpointError(str(file), f"{found.steps} steps", "what its name says")
    cost = (
        f"learned on {found.trajectories} trajectories: {found.evaluations} network evaluations, {found.seconds:.1f} s"
    )
    origin = f"{cost if is_new else 'learned earlier'} for {found.checkpoint}"
    display.say(f"sampler   {file} ({origin}; {found.error:.2g} standard deviations from the flow)")
    return found.sampler()


def _learn(model: Diffusion, checkpoint: Path, steps: int, use: str) -> LearnedSampler:
    started = time.perf_counter()
    flow = flow_trajectories(model, seed=_SEED)
    found, evaluations = flow.learned(steps)
    count = flow.states.shape[1]
    return LearnedSampler(
        checkpoint=checkpoint.name,
        fingerprint=fingerprint(checkpoint),
        use=use,
        steps=steps,
        candidates=len(flow.times),
        trajectories=count,
        seed=_SEED,
        evaluations=evaluations + count * (len(flow.times) - 1),
        seconds=time.perf_counter() - started,
        error=flow.error(found, found.grid()),
        times=found.times,
        angles=found.angles,
        weights=found.weights,
    )
