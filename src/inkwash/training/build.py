"""From resolved options to objects: network, process, denoiser, model, objective and proposal, and words for them."""

from functools import partial

import torch
from torch import nn

from inkwash.core.options import narrowed
from inkwash.core.randomness import Purpose, derived_seed
from inkwash.core.resolved import (
    ResolvedConfig,
    ResolvedDenoisingConfig,
    ResolvedNetworkConfig,
    ResolvedProcessConfig,
    ResolvedTrainConfig,
)
from inkwash.data.condition import ConditionSpec
from inkwash.data.spec import DataSpec
from inkwash.data.transform import Transform
from inkwash.denoise.denoiser import AnyDenoiser, NetworkDenoiser
from inkwash.denoise.spikes import Spiked
from inkwash.denoise.wrap import clipped
from inkwash.model.diffusion import Diffusion
from inkwash.nn import NETWORKS
from inkwash.nn.layers import ConditionEmbedding, GivenEmbedding, LabelEmbedding
from inkwash.nn.levels import LevelNet, MixtureNet
from inkwash.nn.options import NetworkOptions, Ports
from inkwash.nn.tables import TableNet
from inkwash.nn.times import TimeNet
from inkwash.process.distributions import Bins, Lattice
from inkwash.process.process import Scheduled
from inkwash.training.augment import NAME, augmentation
from inkwash.training.kinds import KINDS, lattice_of
from inkwash.training.objective import (
    REGRESSIONS,
    ContinuousBound,
    Hybrid,
    MeanRegression,
    Objective,
    PairBound,
    Regression,
)
from inkwash.training.sampling import step_options
from inkwash.training.times import PROPOSALS, LogSnrDensity, Proposal

_FEATURES = 32


def build_network(config: ResolvedDenoisingConfig, spec: DataSpec, condition: ConditionSpec | None = None) -> nn.Module:
    """The network of a resolved config, which takes the parts of a condition, by default none.

    Its weights depend on the seed of the training only.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(config.train.seed, Purpose.WEIGHTS))
        build = _table_net if any(spec.sizes) or spec.may_miss.any() or _periods(config, spec) else _array_net
        return build(config, spec, condition or ConditionSpec())


def _table_net(config: ResolvedDenoisingConfig, spec: DataSpec, condition: ConditionSpec) -> TableNet:
    """The network of data with categories, missing entries or dates."""
    sizes, missing = spec.sizes or (0,) * spec.shape[0], bool(spec.may_miss.any())
    masked = config.process.categories == "absorbing"
    periods = _periods(config, spec)
    inputs, outputs = TableNet.widths(sizes, masked, missing, _spreads(config), periods, Spiked.outputs(spec.recurring))
    return TableNet(_backbone(config, spec, condition, inputs, outputs), sizes, masked, missing, periods)


def _periods(config: ResolvedDenoisingConfig, spec: DataSpec) -> tuple[tuple[float, ...], ...]:
    """The periods of dates, for a network that sees the log-SNR and so knows how much noise there is on a date."""
    return spec.periods if any(spec.periods) and config.denoiser.sees == "log_snr" else ()


def _array_net(config: ResolvedDenoisingConfig, spec: DataSpec, condition: ConditionSpec) -> nn.Module:
    """The network of other data."""
    channels, spreads = spec.shape[0], _spreads(config)
    if config.denoiser.predicts == "mixture":
        inputs, outputs = (MixtureNet.inputs_per_channel(),) * channels, (_FEATURES,) * channels
        return MixtureNet(_backbone(config, spec, condition, inputs, outputs), spec.shape, _FEATURES, spreads)
    if config.denoiser.predicts != "levels":
        outputs = (*(1,) * (channels * (1 + spreads)), *Spiked.outputs(spec.recurring))
        return _backbone(config, spec, condition, (1,) * channels, outputs)
    values = lattice_of(spec).values()
    features = min(_FEATURES, len(values) - 1)
    histogram = bool(config.denoiser.histogram)
    inputs, outputs = ((width,) * channels for width in LevelNet.widths(len(values), features, histogram))
    network = _backbone(config, spec, condition, inputs, outputs)
    return LevelNet(network, spec.shape, values, features, len(values) + spreads, histogram)


def _spreads(config: ResolvedDenoisingConfig) -> bool:
    """Whether the network gives a spread beside every prediction."""
    return config.denoiser.variance in ("learned", "free")


def _backbone(
    config: ResolvedDenoisingConfig,
    spec: DataSpec,
    condition: ConditionSpec,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> nn.Module:
    """A network of what stands side by side for each channel or column, which sees what the config lets it see."""
    beside = condition.given.spec.shape[0] if condition.given and condition.given.spec.size else 0
    embeddings = _embeddings(condition)
    if augment := augmentation(config.train, spec.size):
        embeddings[NAME] = augment.embed
    by_place = spec.kind == "series" and spec.levels is None  # levels have frequencies at each place
    ports = Ports(spec.size, inputs, outputs, embeddings, beside, by_place=by_place)
    network = network_options(config.network).build(ports)
    return TimeNet(network) if config.denoiser.sees == "time" else network


def _embeddings(condition: ConditionSpec) -> dict[str, ConditionEmbedding]:
    """What embeds each part of a condition, but for an image, which enters beside the noisy data."""
    made: dict[str, ConditionEmbedding] = {}
    if condition.classes:
        made["label"] = partial(LabelEmbedding, len(condition.classes))
    if condition.given and not condition.given.spec.size:
        made["given"] = partial(GivenEmbedding, condition.given.spec.shape[0])
    return made


def network_options(config: ResolvedNetworkConfig) -> NetworkOptions:
    """The options that the network of a config has."""
    return narrowed(NETWORKS[config.kind], config, "network")


def build_process(config: ResolvedProcessConfig, spec: DataSpec) -> Scheduled:
    """The process of a resolved config."""
    return KINDS[config.kind].process(config, spec)


def build_lattice(config: ResolvedDenoisingConfig, spec: DataSpec) -> Lattice | None:
    """The values of data with levels in model units: those of the process, if it has values of its own."""
    return build_process(config.process, spec).lattice or spec.lattice


def build_denoiser(
    config: ResolvedDenoisingConfig, spec: DataSpec, condition: ConditionSpec | None = None
) -> NetworkDenoiser:
    """The denoiser of a resolved config, as it is before training; see `build_network`.

    Under `torch.device("meta")` the network takes no memory. The process is small, and always on the CPU.
    """
    network = build_network(config, spec, condition)
    with torch.device("cpu"):
        return KINDS[config.process.kind].denoiser(config, spec, network)


def build_model(
    config: ResolvedDenoisingConfig,
    transform: Transform,
    denoiser: NetworkDenoiser,
    condition: ConditionSpec | None = None,
) -> Diffusion:
    """The distribution that a trained denoiser and its config stand for."""
    used = in_use(config, transform.lattice, denoiser)
    model = Diffusion(used, transform.spec.shape, transform, config.process.steps, condition=condition)
    return model.with_options(variance=config.sampling.variance, **step_options(config.sampling))


def in_use(config: ResolvedDenoisingConfig, lattice: Lattice | Bins | None, denoiser: NetworkDenoiser) -> AnyDenoiser:
    """The denoiser as the model of a config uses it: clipped to the range of the lattice, or not."""
    return clipped(denoiser, True, lattice) if clips(config) else denoiser


def clips(config: ResolvedConfig) -> bool:
    """Whether the model of a config clips estimates of the clean data."""
    return bool(config.denoiser.clip if config.sampling.clip is None else config.sampling.clip)


def build_objective(config: ResolvedDenoisingConfig, lattice: Lattice | Bins | None) -> Objective:
    """The objective of a resolved config's training, for data that takes the values of a lattice, or real numbers."""
    name, steps = config.train.objective, config.process.steps
    if name == "continuous" and config.process.schedule == "learned":
        return ContinuousBound(lattice)
    if name == "mean":
        return MeanRegression(steps)
    if name == "bound":
        return PairBound(steps, lattice)
    if name == "hybrid":
        return Hybrid(PairBound(steps, lattice))
    return KINDS[config.process.kind].regression(Regression(*REGRESSIONS[name], first=1 / steps), steps)


def build_proposal(config: ResolvedDenoisingConfig) -> Proposal:
    """How the training of a resolved config proposes times."""
    if config.train.times == "log-snr-density":
        return LogSnrDensity(first=1 / config.process.steps)
    return PROPOSALS[config.train.times]()


def describe_process(config: ResolvedDenoisingConfig) -> str:
    """The process, and what the network predicts, in a few words."""
    return KINDS[config.process.kind].describe(config)


def describe_network(config: ResolvedNetworkConfig, size: tuple[int, ...], network: nn.Module) -> str:
    """The network for examples with these sides, in a few words."""
    dropout = f", dropout {config.dropout:g}" if config.dropout else ""
    inner = getattr(network, "network", network)
    sees_dates = isinstance(inner, TableNet) and inner.repeating
    dates = ", which sees the day, week and year of dates" if sees_dates else ""
    return f"{network_options(config).describe(size)}, {describe_size(network)}{dropout}{dates}"


def describe_rate(config: ResolvedTrainConfig) -> str:
    """The peak learning rate, and Muon, if it takes the steps."""
    return f"learning rate {config.learning_rate:g}" + " with muon" * (config.optimizer == "muon")


def describe_size(network: nn.Module) -> str:
    """How many parameters a network has, in a few words: to two decimals of a million, or one by one below 100,000."""
    count = count_parameters(network)
    return f"{count / 1e6:.2f} M parameters" if count >= 100_000 else f"{count:,} parameters"


def count_parameters(network: nn.Module) -> int:
    """Number of trained numbers in a network."""
    return sum(p.numel() for p in network.parameters())
