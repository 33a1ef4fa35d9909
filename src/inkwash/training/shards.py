"""States that are too large for one device: each process holds a share of every tensor.

Weights, gradients, moments and the moving average are cut into shares, and a block of the network has all its weights
only while it computes (Rajbhandari et al. 2020, "ZeRO", §5; torch's FSDP2). The settings of accelerate turn it on. A
checkpoint is the same with and without: it is written from, and read into, a state without shares on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from inkwash.core.errors import ConfigError
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.training.shares import as_shares, full, has_shares
from inkwash.training.state import TrainState

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin

_OWN_PARAMETERS = ("learned", "learned-betas")
"""Schedules whose parameters are used beside the network."""


def settings() -> FullyShardedDataParallelPlugin | None:
    """accelerate's settings for shards; None if it was not told to make any.

    Raises:
        ConfigError: they ask for another version of FSDP.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin, parse_flag_from_env

    if not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ConfigError("fsdp_version", plugin.fsdp_version, "2, among the settings of accelerate")
    return plugin


def require_shardable(config: AnyResolvedConfig, processes: int) -> None:
    """Raise a `ConfigError` unless there are several processes, and all that is trained is used within the network."""
    if processes == 1:
        raise ConfigError("processes", 1, "several to hold shares of a state, or no FSDP")
    if config.model != "diffusion":
        raise ConfigError("model", config.model, "diffusion, or no FSDP")
    if config.process.schedule in _OWN_PARAMETERS:
        raise ConfigError("process.schedule", config.process.schedule, "one that is fixed, or no FSDP")


def sharded(state: TrainState, plugin: FullyShardedDataParallelPlugin, accelerator: Accelerator) -> TrainState:
    """A state with the numbers of another, of which this process holds its share."""
    moments = dict(_moments(state))
    networks = [copy.deepcopy(each) for each in (state.trained, *state.averages.modules)]
    trained, *modules = [_sharded(each, plugin, accelerator) for each in networks]
    averages = state.averages.of(modules)
    made = TrainState(trained, averages, state.proposal, state.stages, state.config, state.number, scaler=state.scaler)
    made.step, made.skipped, made.seconds = state.step, state.skipped, state.seconds
    for name, parameter in made.trained.named_parameters():
        if name in moments and has_shares(parameter):
            made.optimizer.state[parameter] = {kind: _like(each, parameter) for kind, each in moments[name].items()}
    return made


def _sharded(network: nn.Module, plugin: FullyShardedDataParallelPlugin, accelerator: Accelerator) -> nn.Module:
    """Cut the parameters of a network in place: those of each block together, and those of the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 takes no other layout
    options = {
        "mesh": mesh,
        "reshard_after_forward": plugin.reshard_after_forward,
        "offload_policy": plugin.cpu_offload,
    }
    for module in list(network.modules()):
        for block in module if isinstance(module, nn.ModuleList) else ():
            fully_shard(block, **options)
    fully_shard(network, **options)
    return network.to(accelerator.device)


def _moments(state: TrainState) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for name, parameter in state.trained.named_parameters():
        if parameter in state.optimizer.state:
            yield name, state.optimizer.state[parameter]


def _like(plain: Tensor, parameter: Tensor) -> Tensor:
    """A moment in shares like those of its parameter; the number of steps stays as it is."""
    return as_shares(plain, parameter) if plain.shape == parameter.shape else plain.to(parameter.device)


def collect(state: TrainState, into: TrainState) -> None:
    """Copy a state in shares into one without; all processes have to call it, and the numbers go to the first. The
    average in use stays the one that the state without shares has chosen."""
    first, used = torch.distributed.get_rank() == 0, into.averages.used
    groups: dict[str, dict[str, Tensor]] = {}
    for group, tensors in state.tensors().items():
        parts = ((name, full(tensor)) for name, tensor in tensors.items())
        groups[group] = {name: part.cpu() for name, part in parts if first}
    if first:
        into.load(groups, state.step, state.averages.horizon, "shares")
        into.averages.used = used
    into.step, into.skipped, into.seconds = state.step, state.skipped, state.seconds
