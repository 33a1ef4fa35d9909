"""The state of training: everything that changes, before the first step and after each."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from inkwash.core.resolved import AnyResolvedConfig, ResolvedTrainConfig
from inkwash.training.averages import Averages
from inkwash.training.checkpoint import require_same_tensors
from inkwash.training.engine import new_scaler, require_engine
from inkwash.training.examples import Examples
from inkwash.training.lesson import Stage
from inkwash.training.muon import Muon, matrices_within
from inkwash.training.resolve import family_of
from inkwash.training.times import Proposal


@dataclass
class TrainState:
    """Everything that changes while training, and therefore everything that a checkpoint holds.

    Args:
        trained: what is trained: networks, and whatever else is learned.
        averages: its moving averages; the model samples with one of them.
        proposal: which times training looks at, and what the proposal has learned.
        stages: what is trained on what, one after another.
        config: the options of training, of which those of the optimizer matter here.
        number: the number of the stage that training is in, from 0.
        step: the number of steps done, including those that were skipped.
        skipped: the number of steps whose loss or gradient was not finite, and which therefore changed nothing.
        seconds: the time spent in training.
        scaler: what scales losses and gradients.

    Attributes:
        optimizer: takes the steps of what the stage trains.
    """

    trained: nn.Module
    averages: Averages
    proposal: Proposal
    stages: tuple[Stage, ...]
    config: ResolvedTrainConfig
    number: int = 0
    step: int = 0
    skipped: int = 0
    seconds: float = 0.0
    scaler: GradScaler = field(default_factory=lambda: GradScaler(enabled=False))
    optimizer: Muon = field(init=False)

    def __post_init__(self) -> None:
        self.move_to(self.number)

    @property
    def stage(self) -> Stage:
        """The stage that training is in; a stage lasts until the next one begins."""
        return self.stages[self.number]

    @property
    def average(self) -> nn.Module:
        """The average that the model samples with."""
        return self.averages.best

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return next(self.trained.parameters()).device

    def move_to(self, number: int) -> None:
        """Train what a stage trains, with an optimizer that knows nothing yet."""
        self.number = number
        part = self.stage.part(self.trained)
        if part is not self.trained:
            self.trained.requires_grad_(False)
            part.requires_grad_(True)
        plain = set(self.stage.undecayed(self.trained))
        groups = [p for p in part.parameters() if p not in plain], [p for p in part.parameters() if p in plain]
        decays = (self.config.weight_decay, 0.0)
        parts = [{"params": params, "weight_decay": decay} for params, decay in zip(groups, decays, strict=True)]
        self.optimizer = Muon(matrices_within(part) if self.config.optimizer == "muon" else set(), parts)

    def begin(self, number: int, examples: Examples) -> None:
        """Begin a stage: a pure function of the state and the examples. All averages go on from the first one."""
        self.move_to(number)
        self.stage.begin(self.trained, self.averages.modules[0], examples)
        self.averages.restart()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of weights, moving averages, proposal and optimizer, by group and name. The group `average` is
        the one in use, and `averages` has the others, by their places."""
        moments = {
            f"{kind}.{name}": tensor
            for name, parameter in self.trained.named_parameters()
            for kind, tensor in self.optimizer.state.get(parameter, {}).items()
        }
        moments |= {name: torch.tensor(value, dtype=torch.float64) for name, value in self._scale().items()}
        modules = {"weights": self.trained, "average": self.average, "proposal": self.proposal}
        others = {
            f"{place}.{name}": tensor
            for place, module in enumerate(self.averages.modules)
            if place != self.averages.used
            for name, tensor in module.state_dict().items()
        }
        groups = {name: module.state_dict() for name, module in modules.items()}
        return {**groups, "averages": others, "optimizer": moments}

    def load(self, groups: dict[str, dict[str, Tensor]], step: int, horizon: float, where: str) -> None:
        """Copy the tensors of a checkpoint after a number of steps into this state.

        Args:
            groups: the tensors, by group and name.
            step: the number of steps done.
            horizon: that of the average in use.
            where: what messages call the checkpoint.

        Raises:
            CheckpointError: their names, shapes or dtypes are not those of this state.
        """
        self.step, self.averages.used = step, self.averages.horizons.index(horizon)
        self.move_to(next(number for number, stage in enumerate(self.stages) if step <= stage.last))
        if groups["optimizer"].keys() - self._scale().keys():
            self.optimizer.make_state()
        for name, expected in self.tensors().items():
            require_same_tensors(groups[name], expected, where)
            for key, tensor in expected.items():
                tensor.copy_(groups[name][key])
        scale = {key: groups["optimizer"][key].item() for key in self._scale()}
        self.scaler.load_state_dict({**self.scaler.state_dict(), **scale})

    def _scale(self) -> dict[str, float]:
        """What changes of the scaler, by the names that it gives them; nothing if it scales nothing."""
        state = self.scaler.state_dict()
        return {name: state[name] for name in ("scale", "_growth_tracker") if name in state}


def start(config: AnyResolvedConfig, examples: Examples, device: torch.device) -> TrainState:
    """The state before the first step.

    Args:
        config: the options, all decided.
        examples: the examples to train on; networks for levels and tables start from their frequencies.
        device: where to train.

    Raises:
        ConfigError: the device cannot train in the precision of the options, or not compiled.
    """
    require_engine(config.train, device)
    family = family_of(config)
    trained = family.build(config, examples.transform, examples.condition)
    family.prime(trained, examples)
    trained = trained.to(device)
    averages, stages = Averages(trained, config.train.ema), family.stages(config, examples.transform)
    proposal, scaler = family.proposal(config), new_scaler(config.train, device)
    return TrainState(trained, averages, proposal, stages, config.train, scaler=scaler)
