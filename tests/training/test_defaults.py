"""Options that are left open follow from the data, and options that do not fit it are refused."""

from dataclasses import fields, replace

import pytest
from small_specs import image, options, usual, vector

from inkwash.core.config import Config, DataConfig, DenoiserConfig, NetworkConfig, ProcessConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import check, from_json, to_json
from inkwash.core.resolved import ResolvedDiffusionConfig
from inkwash.nn import NETWORKS
from inkwash.training.kinds import KINDS
from inkwash.training.resolve import resolve

SPECS = [vector(1), vector(2), vector(17), image(1, 8, 8, levels=17), image(3, 5, 7), image(4, 1, 1), image(1, 32, 32)]
SPECS += [image(1, 1, 40), image(3, 9, 64, levels=None)]
OF_PROCESSES = {option.name for kind in KINDS.values() for option in fields(kind.options)}
kinds = pytest.mark.parametrize("kind", [None, "transformer"])


def not_of(kind):
    """The options that other kinds of networks have, and this one does not."""
    return set(vars(NetworkConfig())) - {option.name for option in fields(NETWORKS[kind])} - {"kind"}


@kinds
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: "x".join(map(str, spec.shape)))
def test_nothing_is_left_open_and_all_of_it_is_valid(spec, kind):
    config = resolve(Config("x", network=NetworkConfig(usual(kind, spec))), spec)
    check(config)
    for section in (config.process, config.network, config.train, config.denoiser):
        unused = (
            {"condition_dropout", "log_snr_first", "augment", "augment_share"}
            | OF_PROCESSES
            | not_of(config.network.kind)
        )
        assert {name for name, value in vars(section).items() if value is None} <= unused
    assert resolve(config, spec) == config
    assert from_json(ResolvedDiffusionConfig, to_json(config)) == config
    assert resolve(replace(config, data=DataConfig(labels="y")), spec).train.condition_dropout == 0.1


def test_what_is_given_is_kept():
    network = NetworkConfig("unet", 16, 3, (1, 3), (True, False), 0.1)
    train = TrainConfig(steps=7, batch_size=5, learning_rate=0.5)
    config = resolve(Config("x", network=network, train=train, denoiser=DenoiserConfig(clip=True)), image(1, 8, 8))
    given = {name: value for name, value in vars(train).items() if value is not None}
    assert given.items() <= vars(config.train).items()
    assert (vars(config.network), config.denoiser.clip) == (vars(network), True)


@pytest.mark.parametrize(
    ("network", "spec", "named"),
    [
        (NetworkConfig("mlp"), image(1, 8, 8), "network.kind"),
        (NetworkConfig("unet"), vector(2), "network.kind"),
        (NetworkConfig(multipliers=(1, 2)), vector(2), "network.multipliers"),
        (NetworkConfig(attention=(True,)), vector(2), "network.attention"),
        (NetworkConfig(attention=(True,)), image(1, 8, 8), "network.attention"),
        (NetworkConfig(multipliers=(1, 2, 4), attention=(True, False)), image(1, 8, 8), "network.attention"),
        (NetworkConfig(width=20), image(1, 8, 8), "network.width"),
        (NetworkConfig("transformer"), image(1, 8, 8), "network.kind"),
        (NetworkConfig("dit"), vector(2), "network.kind"),
        (NetworkConfig(patch=2), image(1, 8, 8), "network.patch"),
        (NetworkConfig("transformer", patch=2), vector(2), "network.patch"),
        (NetworkConfig("dit", multipliers=(1, 2)), image(1, 8, 8), "network.multipliers"),
        (NetworkConfig("dit", attention=(True,)), image(1, 8, 8), "network.attention"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_by_name(network, spec, named):
    with pytest.raises(ConfigError, match=f"^{named}: got "):
        resolve(Config("x", network=network), spec)


def test_parts_of_a_batch_are_no_larger_than_it():
    config = Config("x", train=TrainConfig(batch_size=6, micro_batch_size=7))
    with pytest.raises(ConfigError, match=r"^train\.micro_batch_size: got 7, need at most train\.batch_size, 6"):
        resolve(config, vector(2))
    assert resolve(Config("x", train=TrainConfig(batch_size=6)), vector(2)).train.micro_batch_size == 6


def test_only_data_with_levels_can_be_clipped():
    clipping = Config("x", denoiser=DenoiserConfig(clip=True))
    with pytest.raises(ConfigError, match=r"^denoiser\.clip: got True"):
        resolve(clipping, vector(2))
    assert resolve(clipping, image(1, 4, 4)).denoiser.clip
    eps = Config("x", denoiser=DenoiserConfig(predicts="eps"))
    assert resolve(eps, image(1, 4, 4)).denoiser.clip
    assert not resolve(eps, vector(2)).denoiser.clip
    assert not resolve(Config("x"), image(1, 4, 4)).denoiser.clip  # an estimate by levels is within their range


@pytest.mark.parametrize(
    ("spec", "given", "histogram"),
    [
        (image(1, 8, 8, levels=17), {}, True),
        (image(1, 7, 9), {}, False),
        (image(1, 7, 9), {"histogram": True}, True),
        (image(1, 8, 8, levels=4096), {"predicts": "levels"}, False),
        (vector(2, levels=5), {}, False),
        (image(1, 8, 8), {"predicts": "eps"}, False),
        (image(1, 8, 8, levels=4096), {}, False),
    ],
)
def test_levels_are_compared_where_enough_places_show_few_of_them(spec, given, histogram):
    assert resolve(Config("x", denoiser=DenoiserConfig(**given)), spec).denoiser.histogram is histogram


@pytest.mark.parametrize(
    ("spec", "given", "predicts", "variance", "objective", "times"),
    [
        (image(1, 8, 8, levels=17), {}, "levels", "small", "continuous", "log-snr-density"),
        (image(3, 32, 32), {}, "levels", "small", "continuous", "log-snr-density"),
        (vector(2, levels=5), {}, "levels", "small", "continuous", "log-snr-density"),
        (image(3, 256, 256), {}, "F", "large", "edm", "low-discrepancy"),  # too many levels over all entries
        (vector(2, levels=5000), {}, "mixture", "matched", "continuous", "log-snr-density"),
        (vector(1), {}, "mixture", "matched", "continuous", "log-snr-density"),
        (vector(1), {"sees": "time"}, "F", "large", "edm", "low-discrepancy"),
        (image(1, 8, 8, levels=4096), {"sees": "time"}, "F", "large", "edm", "low-discrepancy"),
        (image(1, 128, 128, levels=4096), {}, "F", "large", "edm", "low-discrepancy"),  # too many entries
        (vector(2, levels=5), {"sees": "nothing"}, "v", "large", "v", "low-discrepancy"),
        (vector(2, levels=5), {"sees": "time"}, "F", "large", "edm", "low-discrepancy"),
        (vector(2), {"predicts": "velocity"}, "velocity", "large", "velocity", "low-discrepancy"),
        (vector(2), {}, "F", "large", "edm", "low-discrepancy"),
        (vector(2), {"predicts": "eps"}, "eps", "large", "simple", "low-discrepancy"),
        (vector(2), {"variance": "learned"}, "F", "learned", "hybrid", "low-discrepancy"),
        (image(1, 8, 8, levels=17), {"variance": "free"}, "levels", "free", "hybrid", "low-discrepancy"),
    ],
)
def test_what_is_predicted_and_how_it_is_trained_follow_from_the_data(
    spec, given, predicts, variance, objective, times
):
    config = resolve(Config("x", denoiser=DenoiserConfig(**given)), spec)
    assert (config.denoiser.predicts, config.denoiser.variance) == (predicts, variance)
    assert (config.train.objective, config.train.times) == (objective, times)
    assert config.process.schedule == "log-linear"


@pytest.mark.parametrize(
    ("denoiser", "train", "spec", "named"),
    [
        ({"predicts": "levels"}, {}, vector(2), "denoiser.predicts"),
        ({"predicts": "mixture", "sees": "time"}, {}, vector(2), "denoiser.predicts"),
        ({"predicts": "mixture"}, {}, replace(vector(2), missing=(True, False)), "denoiser.predicts"),
        ({"predicts": "levels", "sees": "nothing"}, {}, vector(2, levels=5), "denoiser.predicts"),
        ({"predicts": "levels", "sees": "time"}, {}, vector(2, levels=5), "denoiser.predicts"),
        ({"variance": "learned"}, {"objective": "simple"}, vector(2), "train.objective"),
        ({"variance": "free"}, {"objective": "continuous"}, vector(2, levels=5), "train.objective"),
        ({"variance": "analytic"}, {"objective": "bound"}, vector(2), "denoiser.variance"),
        ({"variance": "analytic", "predicts": "mean"}, {}, vector(2), "denoiser.variance"),
        ({"predicts": "F", "sees": "nothing"}, {}, vector(2), "sees"),
        ({"histogram": True}, {}, vector(2, levels=5), "denoiser.histogram"),
        ({"histogram": True, "predicts": "eps"}, {}, image(1, 8, 8), "denoiser.histogram"),
        ({}, {"objective": "bound", "times": "log-snr-density"}, vector(2), "train.times"),
        ({"variance": "learned"}, {"times": "log-normal"}, vector(2), "train.times"),
    ],
)
def test_parts_that_cannot_work_together_are_refused_by_name(denoiser, train, spec, named):
    config = Config("x", denoiser=DenoiserConfig(**denoiser), train=TrainConfig(**train))
    with pytest.raises(ConfigError, match=f"^{named}: got "):
        resolve(config, spec)


@pytest.mark.parametrize(
    ("schedule", "variance", "given", "named"),
    [
        ("learned", "large", {"objective": "simple"}, "train.objective"),
        ("learned-betas", "large", {"objective": "continuous"}, "train.objective"),
        ("learned", "free", {"objective": "continuous"}, "train.objective"),
        ("learned", "large", {"times": "log-snr-density"}, "train.times"),
        ("learned", "large", {"times": "loss-history"}, "train.times"),
        ("learned", "analytic", {}, "denoiser.variance"),
    ],
)
def test_what_would_leave_a_learned_schedule_untrained_is_refused(schedule, variance, given, named):
    config = Config(
        "x", process=ProcessConfig(schedule), denoiser=DenoiserConfig(variance=variance), train=TrainConfig(**given)
    )
    with pytest.raises(ConfigError, match=f"^{named}: got "):
        resolve(config, vector(2))


@pytest.mark.parametrize(
    ("schedule", "objective", "times"),
    [
        ("cosine", "edm", "low-discrepancy"),
        ("sohl-dickstein", "edm", "low-discrepancy"),
        ("karras", "edm", "log-normal"),
        ("learned", "continuous", "low-discrepancy"),
    ],
)
def test_real_numbers_are_predicted_as_f_and_trained_as_the_schedule_asks(schedule, objective, times):
    config = resolve(Config("x", process=ProcessConfig(schedule)), vector(2))
    assert (config.denoiser.predicts, config.train.objective, config.train.times) == ("F", objective, times)
    by_level = resolve(Config("x", process=ProcessConfig(schedule)), vector(2, levels=5))
    assert by_level.denoiser.predicts == "levels"


def test_only_the_line_has_a_first_log_snr():
    with pytest.raises(ConfigError, match="log_snr_first"):
        resolve(Config("x", process=ProcessConfig("linear", log_snr_first=5.0)), vector(2))
    assert resolve(Config("x", process=ProcessConfig(log_snr_first=5.0)), vector(2)).process.log_snr_first == 5.0


BITS = [replace(vector(5, levels=2), low=0.0), image(2, 5, 7, levels=2)]
NOT_OF_BITS = {
    "process.schedule": ["karras", "geometric", "learned", "learned-betas"],
    "denoiser.predicts": list(options(DenoiserConfig, "predicts")),
    "denoiser.variance": list(options(DenoiserConfig, "variance")),
    "denoiser.clip": [True, False],
    "denoiser.histogram": [True, False],
    "denoiser.sees": ["nothing"],
    "train.objective": [name for name in options(TrainConfig, "objective") if name != "bound"],
    "train.times": ["log-normal", "log-snr-density"],
}


@pytest.mark.parametrize("option", NOT_OF_BITS)
def test_what_does_not_go_with_bits_is_refused_by_name(option):
    section, _, name = option.partition(".")
    config = Config("x", process=ProcessConfig(kind="bernoulli"))
    for value in NOT_OF_BITS[option]:
        given = replace(config, **{section: replace(getattr(config, section), **{name: value})})
        with pytest.raises(ConfigError, match=f"^{option}: got {value}, need "):
            resolve(given, BITS[0])


@pytest.mark.parametrize("spec", [vector(2), vector(2, levels=3), image(1, 4, 4)])
def test_only_data_with_two_levels_are_bits(spec):
    with pytest.raises(ConfigError, match=r"^process\.kind: got bernoulli, and "):
        resolve(Config("x", process=ProcessConfig(kind="bernoulli")), spec)


def test_a_rate_is_refused_where_there_is_none():
    with pytest.raises(ConfigError, match=r"^process\.rate: got 0\.3"):
        resolve(Config("x", process=ProcessConfig(rate=0.3)), BITS[0])
