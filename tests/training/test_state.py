"""The state of training: where it starts, what is measured on its average, and how it takes over a checkpoint."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from faults import points, tiny
from oracles import tensor
from steps import begun, copied, levels_examples, same

from inkwash.core.config import NetworkConfig
from inkwash.core.errors import CheckpointError
from inkwash.data.dataset import load_dataset
from inkwash.denoise.denoiser import Denoiser
from inkwash.denoise.measure import measured_variance
from inkwash.denoise.wrap import Clipped
from inkwash.process.gaussian import Gaussian
from inkwash.process.noise.tables import LinearSchedule
from inkwash.training.examples import Examples
from inkwash.training.resolve import resolve
from inkwash.training.state import start


@pytest.fixture
def trainer(tmp_path):
    return functools.partial(begun, load_dataset(str(points(tmp_path / "points.npy"))))


# The start


def test_a_run_on_levels_starts_from_their_frequencies():
    """Of the examples trained on alone, in the network and in its average."""
    whole = levels_examples()
    part = Examples(whole.data, np.arange(0, 300, 2), whole.transform)
    config = resolve(tiny("x"), whole.transform.spec)
    state = start(config, part, torch.device("cpu"))
    counts = np.stack([(part.data[::2] == v).sum(0) for v in range(5)], -1)
    for denoiser in (state.trained, state.average):
        assert np.abs(denoiser.network.head.log_prior.exp().numpy() - counts / 150).max() < 0.02
    assert np.abs(counts / 150 - 0.2).max() > 0.15
    x = denoiser.process.diffuse(part.take(np.arange(150)), 0.3, torch.randn(150, 2))
    masses = tensor(counts / 150)
    alpha, sigma = denoiser.schedule.alpha(0.3), denoiser.schedule.sigma(0.3)
    values = part.transform.lattice.values()
    odds = torch.distributions.Normal(alpha * values, sigma).log_prob(x.double()[..., None]) + masses.log()
    assert float((denoiser(x, 0.3).x - odds.softmax(-1) @ values).abs().max()) < 0.05


def test_the_average_drops_nothing():
    config = replace(tiny("x"), network=NetworkConfig(width=8, depth=1, dropout=0.9))
    state = start(resolve(config, levels_examples().transform.spec), levels_examples(), torch.device("cpu"))
    for network in (state.trained.network, state.average.network):
        for parameter in network.parameters():
            parameter.data += 0.1
    x, level = torch.randn(64, 2), torch.zeros(64)
    assert torch.equal(state.average.network(x, level), state.average.network(x, level))
    assert not torch.equal(state.trained.network(x, level), state.trained.network(x, level))


# The average


def levels():
    return levels_examples().take(np.arange(256))


def test_measured_errors_are_those_of_the_denoiser():
    """A denoiser that says zero errs by the mean square of the data, at every noise."""
    x, denoiser = levels(), Denoiser(lambda x_t, t: torch.zeros_like(x_t), Gaussian(LinearSchedule()), "x")
    error = measured_variance(denoiser, x, 100).log_error.exp()
    assert error.tolist() == pytest.approx([float(x.double().square().mean())] * len(error), rel=1e-6)


def test_measured_errors_are_those_of_what_is_sampled():
    """A denoiser that says 3 and is clipped to 1 errs by the mean of (1 - x)²."""
    x, denoiser = levels(), Denoiser(lambda x_t, t: torch.full_like(x_t, 3.0), Gaussian(LinearSchedule()), "x")
    error = measured_variance(Clipped(denoiser), x, 100).log_error.exp()
    assert error.tolist() == pytest.approx([float((1 - x.double()).square().mean())] * len(error), rel=1e-6)


def test_measured_errors_belong_to_their_own_noise():
    """x_t / alpha errs by the noise-to-signal ratio."""
    x, denoiser = levels(), Denoiser(lambda x_t, t: torch.zeros_like(x_t), Gaussian(LinearSchedule()), "eps")
    table = measured_variance(denoiser, x, 100)
    assert (table.log_error + table.log_snr).tolist() == pytest.approx([0] * len(table.log_snr), abs=0.3)
    assert torch.equal(measured_variance(denoiser, x, 100).log_error, table.log_error)
    assert not torch.equal(measured_variance(denoiser, x, 100, seed=1).log_error, table.log_error)


def test_errors_of_missing_entries_are_left_out():
    """The errors of a denoiser that says zero are those of the entries that are there."""
    x = torch.where(torch.rand(300, 2, generator=torch.Generator().manual_seed(0)) < 0.3, torch.nan, 2.0)
    network = lambda x_t, t, present: torch.where(present, 0.0, 99.0)  # noqa: E731
    table = measured_variance(Denoiser(network, Gaussian(LinearSchedule()), "x"), x, 100)
    assert table.log_error.exp().tolist() == pytest.approx([4.0] * len(table.log_snr))


# A checkpoint


def test_a_state_takes_over_the_tensors_of_another(trainer):
    old, steps, *_ = trainer(steps=10)
    for _ in range(4):
        next(steps)
    new, going_on, *_ = trainer(steps=10, seed=0)
    groups = {g: {n: t.clone() for n, t in ts.items()} for g, ts in old.tensors().items()}
    new.load(groups, old.step, old.averages.horizon, "here")
    list(steps), list(going_on)
    assert same(copied(new), copied(old))


def test_every_average_and_the_choice_of_one_are_taken_over(trainer):
    old, steps, *_ = trainer(steps=6, ema=(0.0, 0.1, 0.28))
    for _ in range(4):
        next(steps)
    old.averages.choose((3.0, 1.0, 2.0))
    new, going_on, *_ = trainer(steps=6, ema=(0.0, 0.1, 0.28), seed=0)
    new.load({g: {n: t.clone() for n, t in ts.items()} for g, ts in old.tensors().items()}, old.step, 0.1, "here")
    list(steps), list(going_on)
    assert new.average is new.averages.modules[1]
    for ours, theirs in zip(new.averages.modules, old.averages.modules, strict=True):
        assert same(dict(ours.state_dict()), dict(theirs.state_dict()))


def test_a_state_before_the_first_step_can_be_taken_over(trainer):
    old, *_ = trainer()
    assert old.tensors()["optimizer"] == {}
    new, *_ = trainer(seed=5)
    new.load(old.tensors(), 0, old.averages.horizon, "here")
    assert same(copied(new), copied(old))


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
@pytest.mark.parametrize("group", ["weights", "average", "averages", "proposal", "optimizer"])
def test_other_tensors_are_refused(trainer, group, change):
    old, steps, *_ = trainer(steps=2, times="loss-history")
    list(steps)
    groups = {g: dict(tensors) for g, tensors in old.tensors().items()}
    name = next(iter(groups[group]))
    if change == "missing":
        del groups[group][name]
    elif change == "extra":
        groups[group]["more"] = torch.zeros(1)
    else:
        groups[group][name] = torch.zeros(3, 3, 3)
    new, *_ = trainer(steps=2, times="loss-history")
    with pytest.raises(CheckpointError, match="here"):
        new.load(groups, old.step, old.averages.horizon, "here")
