"""How networks run in training: half precision stays inside of them, fp16 is scaled, and what cannot run is refused."""

import functools
import math
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from bugs import bug
from faults import tiny
from steps import begun, copied, levels_examples, same
from torch import nn
from torch.amp import GradScaler

import inkwash as iw
from inkwash.core.config import NetworkConfig, TrainConfig
from inkwash.core.errors import ConfigError, NonFiniteError
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform
from inkwash.nn.layers import Backbone
from inkwash.training import engine, loop
from inkwash.training.engine import engine_words, require_engine, tuned
from inkwash.training.examples import Examples
from inkwash.training.loop import PATIENCE, training
from inkwash.training.objective import Regression
from inkwash.training.resolve import family_of, resolve
from inkwash.training.state import start

CPU = torch.device("cpu")


# What is refused


def test_a_run_says_how_its_networks_run():
    assert engine_words(TrainConfig()) == ""
    assert engine_words(TrainConfig(precision="bf16", compile=True)) == ", in bf16, compiled"


def test_what_cannot_run_here_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"^train\.precision: got fp16 without a GPU, need "):
        iw.train("two-moons", out, train=TrainConfig(precision="fp16"))

    def no_compiler(*_, **__):
        raise RuntimeError("no g++\nand a long trace")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ConfigError, match=r"^train\.compile: got true, .*\(RuntimeError: no g\+\+\)") as found:
        iw.train("two-moons", out, train=TrainConfig(compile=True))
    assert "\n" not in str(found.value)
    assert found.value.exit_code == 2
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_machine_whose_compiler_does_not_work_is_refused():
    require_engine(TrainConfig(compile=True), CPU)
    import torch._inductor.config as inductor

    broken = inductor.patch({"cpp.cxx": ("/bin/false",)})
    with broken, pytest.raises(ConfigError, match=r"^train\.compile: got true, and no compiler"):
        require_engine(TrainConfig(compile=True), CPU)


# Half precision


def without_a_cast(plain, config, device):
    return plain


@bug("fp32 under another name", engine, "_forward", without_a_cast)
def test_half_precision_stays_inside_of_the_networks():
    """Its layers give bfloat16. What it gives itself, and all that surrounds it, is float32; so are the moments."""
    config = replace(tiny("x"), train=replace(tiny("x").train, precision="bf16"))
    config = resolve(config, levels_examples().transform.spec)
    state, seen = start(config, levels_examples(), CPU), {}
    for name, module in state.trained.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.setdefault(name, output))
    next(training(state, levels_examples(), config.train, Accelerator(cpu=True)))
    backbones = [name for name, module in state.trained.named_modules() if isinstance(module, Backbone)]
    dtypes = {name: output.dtype for name, output in seen.items() if isinstance(output, torch.Tensor)}
    within = {name for name in dtypes for backbone in backbones if name.startswith(f"{backbone}.")}
    linear = {name for name, module in state.trained.named_modules() if isinstance(module, nn.Linear)}
    assert {dtypes[name] for name in within & linear} == {torch.bfloat16}
    assert {dtypes[name] for name in dtypes.keys() - within} == {torch.float32}
    assert linear - within  # the head of the levels
    assert {tensor.dtype for name, tensor in copied(state).items() if "proposal" not in name} == {torch.float32}


@bug("fp32 under another name", engine, "_forward", without_a_cast)
def test_a_step_in_bfloat16_is_the_step_in_float32_up_to_its_eight_bits(loaded):
    """The gradient turns by at most a few of its roundings of 2^-8, but it is not the same."""
    gradients, losses = [], []
    for precision in ("fp32", "bf16"):
        state, steps, *_ = begun(loaded, steps=1, precision=precision, clip_grad=1e6)
        losses.append(next(steps).loss)
        gradients.append(torch.cat([each["exp_avg"].flatten() for each in state.optimizer.state.values()]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.999
    assert not torch.equal(*gradients)


NETWORKS = {
    "U-Net": ("digits", NetworkConfig(width=16)),
    "DiT": ("digits", NetworkConfig("dit", width=32, depth=1)),
    "transformer": ("breast-cancer", NetworkConfig("transformer", width=8, depth=1)),
    "VAE": ("digits", None),
    "VAE of vectors": ("breast-cancer", None),
    "latent": ("digits", None),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_is_one_that_half_precision_reaches(kind):
    source, network = NETWORKS[kind]
    options = {"model": "latent" if kind == "latent" else "vae"} if network is None else {"network": network}
    dataset = load_dataset(source)
    config = resolve(iw.Config(source, **options), dataset.spec)
    transform = fit_transform(dataset.spec, dataset.data, family_of(config).lattice(config, dataset.spec))
    examples = Examples(dataset.data, torch.arange(64).numpy(), transform)
    trained = start(config, examples, CPU).trained
    backbones = [module for module in trained.modules() if isinstance(module, Backbone)]
    inside = sum(p.numel() for backbone in backbones for p in backbone.parameters())
    assert inside > 0.7 * sum(p.numel() for p in trained.parameters())


def test_after_training_the_networks_run_as_before(trainer):
    state, steps, *_ = trainer(steps=2, precision="bf16")
    (network,) = [module for module in state.trained.modules() if isinstance(module, Backbone)]
    next(steps)
    assert "forward" in vars(network)
    steps.close()
    assert "forward" not in vars(network)
    with tuned(state.trained, TrainConfig(), CPU):
        assert "forward" not in vars(network)  # float32, not compiled: nothing is put in between


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(loaded, precision):
    through, steps, config, examples = begun(loaded, steps=6, precision=precision)
    for done in steps:
        if done.step == 3:
            kept = {g: {n: t.clone() for n, t in tensors.items()} for g, tensors in through.tensors().items()}
    again = start(replace(resolve(tiny(loaded.name), loaded.spec), train=config.train), examples, CPU)
    again.load(kept, 3, through.averages.horizon, "here")
    list(training(again, examples, config.train, Accelerator(cpu=True)))
    assert same(copied(again), copied(through))


# The scale of fp16


def scaled(trainer, scale):
    """Training whose loss is scaled, as it is for fp16, but in float32."""
    state, _, config, examples = trainer(steps=16, clip_grad=0.1)
    state.scaler = GradScaler("cpu", init_scale=scale)
    return state, training(state, examples, config.train, Accelerator(cpu=True))


def test_a_scale_that_is_a_power_of_two_changes_nothing(trainer):
    """Not the norm that is reported, nor where it is clipped, nor the step."""
    plain, steps, *_ = trainer(steps=16, clip_grad=0.1)
    state, others = scaled(trainer, 2.0**10)
    for ours, theirs in zip(others, steps, strict=True):
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-6)
        assert ours.grad_norm > 0.1
    weights = {name: tensor for name, tensor in copied(state).items() if name.startswith("weights")}
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, copied(plain)[name], rtol=1e-4, atol=1e-6)


class Steep(Regression):
    """An objective of 2^50 times the error."""

    def loss(self, *given, **named):
        return 2.0**50 * super().loss(*given, **named)


def count_every_overflow(done, scaler):
    return False


@bug("an overflow is a failure", loop, "_overflowed", count_every_overflow)
def test_a_scale_that_is_too_large_is_halved_and_does_not_end_training(trainer):
    """More steps in a row overflow than those after which training halts. The weights wait for a scale that fits."""
    state, steps = scaled(functools.partial(trainer, Steep()), 2.0**86)
    finite, before = [], None
    with suppress(NonFiniteError):
        for done in steps:
            finite.append(done.finite)
            weights = {name: tensor.clone() for name, tensor in state.trained.state_dict().items()}
            assert math.isfinite(done.loss)
            assert before is None or same(weights, before) == (not done.finite)
            before = weights
    assert finite[:PATIENCE] == [False] * PATIENCE
    assert finite[-1]
    assert len(finite) == 16
    assert state.scaler.get_scale() == 2.0 ** (86 - state.skipped)


def test_a_scaled_state_before_the_first_step_can_be_taken_over(trainer):
    """It has a scale, but no moments yet."""
    (state, _), (again, _) = scaled(trainer, 2.0**10), scaled(trainer, 2.0**12)
    again.load(state.tensors(), 0, state.averages.horizon, "here")
    assert again.scaler.get_scale() == 2.0**10
    assert same(copied(again), copied(state))


def test_a_checkpoint_holds_the_scale(trainer):
    state, steps = scaled(trainer, 2.0**10)
    list(steps)
    state.scaler.update(2.0**7)
    again, _ = scaled(trainer, 2.0**10)
    again.load(state.tensors(), 16, state.averages.horizon, "here")
    assert again.scaler.state_dict() == state.scaler.state_dict()
    assert again.scaler.get_scale() == 2.0**7


# Compiled


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_steps_are_the_steps_up_to_rounding(loaded):
    ended = []
    for compile in (False, True):
        state, steps, *_ = begun(loaded, steps=5, compile=compile)
        losses = [done.loss for done in steps]
        ended.append((copied(state), losses))
    (plain, losses), (compiled, others) = ended
    assert others == pytest.approx(losses, rel=1e-4)
    assert plain.keys() == compiled.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-3, atol=1e-4)
