"""No bad option gets through, whichever it is and whatever is wrong with it."""

import dataclasses
import json
import math
import subprocess
import sys
import typing
from typing import Annotated, Any, Literal

import pytest

from inkwash.core import config, resolved
from inkwash.core.config import Config, EvaluateConfig, NetworkConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import Range, check, describe, first_difference, from_json, narrowed, to_json
from inkwash.data.builtin import BUILTIN
from inkwash.denoise.prediction import NAMED
from inkwash.nn import NETWORKS
from inkwash.posterior import METHODS
from inkwash.presets import PRESETS
from inkwash.process import SCHEDULES
from inkwash.process.degradations import DEGRADATIONS
from inkwash.process.variance import SIMPLE
from inkwash.sample import GRIDS, SAMPLERS
from inkwash.training.families import FAMILIES
from inkwash.training.kinds import KINDS
from inkwash.training.objective import REGRESSIONS
from inkwash.training.times import PROPOSALS

GOOD = Config("digits", network=NetworkConfig("unet", 8, 1, (1, 2), (False, True), 0.0), train=TrainConfig(steps=5))
NAN, INF = float("nan"), float("inf")


REGISTRIES = [
    (config.BUILTIN_NAMES, BUILTIN),
    (config.ModelName, FAMILIES),
    (config.ProcessName, KINDS),
    (config.NetworkName, NETWORKS),
    (config.ScheduleName, SCHEDULES),
    (config.PlainPredictionName, NAMED),
    (config.PlainVarianceName, SIMPLE),
    (config.DegradationName, DEGRADATIONS),
    (config.RegressionName, REGRESSIONS),
    (config.TimesName, PROPOSALS),
    (config.SamplerName, SAMPLERS),
    (config.GridName, GRIDS),
    (config.MethodName, METHODS),
    (config.PresetName, PRESETS),
]


@pytest.mark.parametrize(("names", "registry"), REGISTRIES)
def test_a_registry_has_the_names_of_the_options_in_their_order(names, registry):
    assert list(registry) == list(typing.get_args(names) or names)


def test_the_methods_to_impute_with_are_those_that_take_examples_side_by_side():
    several = {name for name, method in METHODS.items() if method.side_by_side}
    assert several == set(typing.get_args(config.ImputeMethodName))


def names_of(options):
    return [item.name for item in dataclasses.fields(options)]


@pytest.mark.parametrize("section", ["ProcessConfig", "NetworkConfig", "TrainConfig", "AutoencoderConfig", "Config"])
def test_decided_options_are_those_that_were_open_in_their_order(section):
    assert names_of(getattr(resolved, f"Resolved{section}")) == names_of(getattr(config, section))


def test_the_options_of_a_kind_are_options_of_its_section():
    for kind in KINDS.values():
        assert set(names_of(kind.options)) <= set(names_of(config.ProcessConfig))
    for options in NETWORKS.values():
        assert set(names_of(options)) <= set(names_of(NetworkConfig))


def test_what_is_narrowed_has_no_field_left_open():
    decided = narrowed(NETWORKS["unet"], GOOD.network, "network")
    assert [getattr(decided, name) for name in names_of(decided)] == [8, 1, (1, 2), (False, True), 0.0]
    open_network = dataclasses.replace(GOOD.network, width=None)
    with pytest.raises(ConfigError, match=r"^network\.width: got None, need an integer$"):
        narrowed(NETWORKS["unet"], open_network, "network")


def leaves(kind, where=""):
    """Dotted names and annotations of all options."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        dotted = f"{where}.{name}" if where else name
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, dotted)
        else:
            yield dotted, hint


def parts(hint):
    """The alternatives that an annotation consists of, each with its range."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        kind, *extras = arguments
        limits = [extra for extra in extras if isinstance(extra, Range)]
        return [(each, limits or inner) for each, inner in parts(kind)]
    if origin not in (None, tuple, Literal):
        return [part for each in arguments for part in parts(each)]
    return [(hint, [])]


def bad_numbers(kind, limits):
    """Values beyond the ends of a range, and at the ends that it excludes."""
    for limit in limits:
        yield limit.low - 1
        if limit.open_low:
            yield kind(limit.low)
        if math.isfinite(limit.high):
            yield limit.high + 1
        if limit.open_high:
            yield kind(limit.high)


def bad_values(hint):
    """Values that an annotation must not let through."""
    kinds = {kind if isinstance(kind, type) else typing.get_origin(kind) for kind, _ in parts(hint)}
    bad: list[Any] = [NAN, INF, -INF, [], {}, (), b"x", 1j, object(), (None,), ((1,),)]
    bad += [] if (str, ...) in map(typing.get_args, typing.get_args(hint)) else [("a",), ("1",)]
    bad += [] if kinds & {bool} else [True, False]
    bad += [] if kinds & {int, float} else [0, 1]
    bad += [] if kinds & {float} else [0.5, 1.0]
    bad += [] if kinds & {str} else ["", "1", "true", "no such choice"]
    bad += [] if kinds & {type(None)} else [None]
    for kind, limits in parts(hint):
        if kind in (int, float):
            bad += bad_numbers(kind, limits)
        if typing.get_origin(kind) is tuple:
            bad += [(0.5,), (1, None), (NAN,), (-1,), (65,)]
    return bad


def with_value(config, dotted, value):
    """A config with one option changed."""
    name, _, rest = dotted.partition(".")
    inner = with_value(getattr(config, name), rest, value) if rest else value
    return dataclasses.replace(config, **{name: inner})


TABLE = [(dotted, value) for dotted, hint in leaves(Config) for value in bad_values(hint)]


def test_the_table_is_long_and_reaches_every_option():
    assert len(TABLE) > 400
    assert {dotted for dotted, _ in TABLE} == {dotted for dotted, _ in leaves(Config)}


@pytest.mark.parametrize("option", [dotted for dotted, _ in leaves(Config)])
def test_every_bad_value_of_every_option_is_refused_by_name(option):
    for dotted, value in TABLE:
        if dotted == option:
            with pytest.raises(ConfigError) as caught:
                check(with_value(GOOD, dotted, value))
            assert str(caught.value).startswith(f"{dotted}: got "), (dotted, value)
            assert ", need " in str(caught.value)
            assert caught.value.exit_code == 2


def test_good_values_pass():
    check(GOOD)
    check(Config("digits"))
    check(EvaluateConfig())
    for dotted, value in [
        ("train.learning_rate", 1),
        ("train.ema", (0,)),
        ("train.ema", (0.0, 0.28)),
        ("train.weight_decay", 0),
        ("train.steps", None),
        ("train.steps", 10**9),
        ("train.warmup", 0),
        ("train.seed", 2**70),
        ("data.levels", 2),
        ("data.levels", 65536),
        ("data.held_out", 1e-9),
        ("process.steps", 2),
        ("process.steps", 10000),
        ("denoiser.clip", False),
        ("network.multipliers", (1,)),
    ]:
        check(with_value(GOOD, dotted, value))


def test_a_section_of_another_kind_is_refused():
    for wrong in (None, {}, NetworkConfig(), "train"):
        with pytest.raises(ConfigError, match="train: got"):
            check(with_value(GOOD, "train", wrong))


@pytest.mark.parametrize("config", [GOOD, Config("a"), EvaluateConfig(examples=50, bound_terms=6, seed=7)])
def test_a_config_survives_json(config):
    again = from_json(type(config), json.loads(json.dumps(to_json(config))))
    assert again == config
    assert first_difference(again, config) is None


def sections(plain, where=()):
    """The paths of all sections of a config as plain data."""
    yield where
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from sections(value, (*where, name))


def at(plain, path):
    for name in path:
        plain = plain[name]
    return plain


SECTIONS = list(sections(to_json(GOOD)))


def without_default(config, path):
    """The names of a section that older versions may not have left out."""
    for name in path:
        config = getattr(config, name)
    return {item.name for item in dataclasses.fields(config) if item.default is not None}


@pytest.mark.parametrize("path", SECTIONS)
def test_unknown_keys_are_refused_by_name_and_missing_ones_unless_they_are_none_by_default(path):
    plain = to_json(GOOD)
    at(plain, path)["more"] = 1
    dotted = ".".join((*path, "more"))
    with pytest.raises(ConfigError, match=f"^{dotted}: got an unknown option, need exactly "):
        from_json(Config, plain)
    for name in at(to_json(GOOD), path):
        plain = to_json(GOOD)
        del at(plain, path)[name]
        if name in without_default(GOOD, path):
            with pytest.raises(ConfigError, match=rf"^{'.'.join((*path, name))}: got nothing, need exactly "):
                from_json(Config, plain)
        else:
            assert at(to_json(from_json(Config, plain)), path)[name] is None


@pytest.mark.parametrize("path", SECTIONS)
@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_a_section_that_is_none_is_refused(path, value):
    plain = to_json(GOOD)
    if path:
        at(plain, path[:-1])[path[-1]] = value
    with pytest.raises(ConfigError):
        from_json(Config, plain if path else value)


def test_bad_values_are_refused_from_json_too():
    for dotted, value in TABLE:
        *path, last = dotted.split(".")
        plain = to_json(GOOD)
        at(plain, path)[last] = list(value) if isinstance(value, tuple) else value
        with pytest.raises(ConfigError):
            from_json(Config, plain)


UNDER_O = """
import sys
sys.path.insert(0, sys.argv[1])
if __debug__: sys.exit("assertions are on")
from test_config import TABLE, GOOD, with_value, check, ConfigError
missed = []
for dotted, value in TABLE:
    try:
        check(with_value(GOOD, dotted, value))
    except ConfigError:
        continue
    missed.append((dotted, value))
print(len(TABLE), missed)
"""


@pytest.mark.slow
def test_checks_are_there_without_assertions():
    from pathlib import Path

    words = [sys.executable, "-O", "-c", UNDER_O, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout == f"{len(TABLE)} []\n", done.stderr


def test_the_first_difference_is_named():
    other = with_value(GOOD, "network.width", 16)
    assert first_difference(GOOD, other) == ("network.width", 8, 16)
    assert first_difference(with_value(other, "source", "x"), other) == ("source", "x", "digits")


@pytest.mark.parametrize(
    ("limits", "within", "beyond"),
    [
        (Range(1), [1, 10**30], [0, -1, -INF, NAN]),
        (Range(0, 1), [0, 0.5, 1], [-1e-300, 1.0000001, NAN]),
        (Range(0, 1, open_low=True), [1e-300, 1], [0, -0.0]),
        (Range(0, 1, open_high=True), [0, 0.9999], [1, INF]),
    ],
)
def test_ranges_hold_what_they_say(limits, within, beyond):
    assert all(value in limits for value in within)
    assert not any(value in limits for value in beyond)


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Annotated[int, Range(1)], "an integer >= 1"),
        (Annotated[float, Range(0, 1, open_low=True, open_high=True)] | None, "a number > 0 and < 1"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[bool, ...] | None, "a list, each true or false"),
        (str, "text"),
    ],
)
def test_what_is_needed_is_put_in_words(hint, words):
    assert describe(hint) == words
