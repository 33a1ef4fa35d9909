"""The steps of Muon beside those of torch's optimizers and of the singular value decomposition."""

import copy
import itertools

import networks
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from bugs import bug
from small_specs import image
from steps import copied, same
from torch import nn

from inkwash.core.config import Config, NetworkConfig, TrainConfig
from inkwash.core.errors import ConfigError
from inkwash.core.options import to_json
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.nn import UNet
from inkwash.training import muon
from inkwash.training.examples import Examples
from inkwash.training.fit import fit
from inkwash.training.loop import training
from inkwash.training.muon import Muon, orthogonal
from inkwash.training.resolve import resolve
from inkwash.training.run import Header
from inkwash.training.state import TrainState, start

DECAY = 0.1


def seeded():
    """A generator of random numbers."""
    return torch.Generator().manual_seed(0)


def optimizers(network, matrices):
    """Our optimizer, with these matrices, over all parameters of a network."""
    return Muon(set(matrices), [{"params": list(network.parameters()), "weight_decay": DECAY}])


def descend(network, optimizer, x, rate=0.02):
    """Minimise the square of what a network gives for an x of each step."""
    for each in x:
        for group in optimizer.param_groups:
            group["lr"] = rate
        network(each).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


@bug("a gradient step in the span of the momentum alone", muon, "_ROUNDS", 0)
@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_the_orthogonal_factor_is_that_of_the_singular_value_decomposition(shape):
    matrix = torch.randn(3, *shape, generator=seeded())
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    rotated = u.mT @ orthogonal(matrix) @ vt.mT
    values = rotated.diagonal(dim1=-2, dim2=-1)
    assert (rotated - torch.diag_embed(values)).abs().max() < 1e-4
    assert values.min() > 0.3
    assert values.max() < 1.25
    assert values.mean() == pytest.approx(0.9, abs=0.1)


@bug("a scale of the columns alone", muon, "max", lambda shape: shape[1], shape=(24, 6))
@bug("less momentum", muon, "_MOMENTUM", 0.8, shape=(6, 24))
@pytest.mark.parametrize("shape", [(6, 24), (24, 6)])
def test_steps_of_a_matrix_are_those_of_torch(shape):
    x = torch.randn(6, 40, shape[1], generator=seeded())
    ours = nn.Linear(shape[1], shape[0], bias=False)
    theirs, start = copy.deepcopy(ours), ours.weight.detach().clone()
    descend(ours, optimizers(ours, [ours.weight]), x)
    rule = torch.optim.Muon(theirs.parameters(), weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    descend(theirs, rule, x)
    moved = (theirs.weight - start).norm()
    assert (ours.weight - theirs.weight).norm() < 0.04 * moved  # torch rounds to bfloat16 on the way


def test_what_is_no_matrix_takes_steps_of_adamw():
    x = torch.randn(5, 20, 5, generator=seeded())
    ours = nn.Sequential(nn.Linear(5, 7), nn.SiLU(), nn.Linear(7, 3))
    theirs = copy.deepcopy(ours)
    descend(ours, optimizers(ours, []), x)
    rule = torch.optim.AdamW(theirs.parameters(), betas=(0.9, 0.99), weight_decay=DECAY, fused=True)
    descend(theirs, rule, x)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


@bug("a kernel that is turned around", muon, "full", lambda tensor: tensor.flip(-1))
def test_a_convolution_of_the_whole_picture_is_a_matrix():
    x = torch.randn(3, 20, 2, 3, 3, generator=seeded())
    convolution, linear = nn.Conv2d(2, 4, 3, bias=False), nn.Linear(18, 4, bias=False)
    linear.weight.data = convolution.weight.data.reshape(4, 18).clone()
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    descend(convolution, optimizers(convolution, [convolution.weight]), x)
    descend(linear, optimizers(linear, [linear.weight]), x.flatten(2))
    assert torch.allclose(convolution.weight.reshape(4, 18), linear.weight, atol=1e-6)


def names_of_matrices(network):
    """The names of the weights of a network that Muon may train."""
    return {name for name, weight in network.named_parameters() if any(weight is each for each in network.matrices())}


def test_muon_trains_what_lies_between_hidden_features():
    network = UNet(1, 8, (1, 2), 1, (False, True))
    chosen = names_of_matrices(network)
    assert {name.split(".")[0] for name in chosen} == {"stages"}
    assert all("modulate" not in name and "norm" not in name for name in chosen)
    assert {
        "stages.down.0.before.1.weight",
        "stages.halve.weight",
        "stages.coarser.down.0.attention.leave.weight",
    } < chosen


@pytest.mark.parametrize("make", [networks.mlp, networks.dit, networks.columns])
def test_other_networks_train_the_maps_within_their_blocks(make):
    """Two maps of a block of an MLP; two of attention and two more in one of a transformer."""
    network = make(depth=2)
    chosen = names_of_matrices(network)
    assert len(chosen) == 2 * (2 if make is networks.mlp else 4)
    assert all("blocks." in name and "modulate" not in name for name in chosen)


def trained(steps, state=None, optimizer="muon"):
    """A state of a U-Net of digits after some more steps."""
    dataset = load_dataset("digits")
    options = TrainConfig(steps=4, batch_size=4, warmup=1, optimizer=optimizer)
    config = resolve(Config("digits", network=NetworkConfig(width=8), train=options), dataset.spec)
    examples = Examples(dataset.data, np.arange(64), fit_transform(dataset.spec, dataset.data))
    state = state or start(config, examples, torch.device("cpu"))
    for _ in itertools.islice(training(state, examples, config.train, Accelerator(cpu=True)), steps):
        pass
    return state


load = TrainState.load


def without_momentum(state, *given):
    load(state, *given)
    for each in state.optimizer.state.values():
        each.get("momentum_buffer", torch.zeros(())).zero_()


@bug("a momentum that is forgotten", TrainState, "load", without_momentum)
def test_a_run_goes_on_from_a_checkpoint_bit_for_bit():
    half, whole, again = trained(2), trained(4), trained(0)
    assert any(name.startswith("momentum_buffer.") for name in half.tensors()["optimizer"])
    again.load(half.tensors(), 2, half.averages.horizon, "here")
    assert same(copied(trained(2, again)), copied(whole))


def test_the_optimizer_is_that_of_the_options():
    kept = trained(1, optimizer="adamw").tensors()["optimizer"]
    assert not any(name.startswith("momentum_buffer.") for name in kept)


def test_the_bytes_of_gradients_and_state_are_those_that_are_there_after_a_step():
    state = trained(1)
    kept = [each for name, each in state.tensors()["optimizer"].items() if not name.startswith("step.")]
    gradients = list(state.trained.parameters())
    assert state.optimizer.nbytes() == sum(each.nbytes for each in (*kept, *gradients))


def test_the_network_decides_what_trains_it():
    assert resolve(Config(), image(1, 8, 8)).train.optimizer == "muon"
    assert resolve(Config(network=NetworkConfig(kind="dit")), image(1, 8, 8)).train.optimizer == "adamw"


@pytest.mark.parametrize(("examples", "optimizer"), [(299, "adamw"), (300, "muon")])
def test_few_examples_are_not_learned_by_heart(examples, optimizer):
    assert resolve(Config(), image(1, 8, 8), examples).train.optimizer == optimizer


def test_muon_for_an_autoencoder_is_refused():
    with pytest.raises(ConfigError, match=r"train\.optimizer: got muon"):
        resolve(Config(model="vae", train=TrainConfig(optimizer="muon")), image(1, 8, 8))


def test_a_run_from_before_the_option_was_trained_with_adamw(tmp_path):
    config = Config("digits", network=NetworkConfig(width=8), train=TrainConfig(steps=2, optimizer="adamw"))
    header = fit(config, tmp_path / "run").header()
    plain = to_json(header)
    del plain["config"]["train"]["optimizer"]
    assert Header.from_json(plain, "here") == header
