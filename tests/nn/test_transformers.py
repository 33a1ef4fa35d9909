"""Transformers of patches and of columns: patches are joined exactly, columns keep their maps, all attend to all."""

import os
import signal
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from bugs import bug
from faults import at_step, digests, hooked, tiny
from networks import batch, columns, dit, trained
from oracles import F64, GaussianData
from torch import nn
from torch.nn import functional as F

import inkwash as iw
from inkwash.core.errors import RunInterrupted
from inkwash.nn import columns as column_networks, dit as patches_of, layers
from inkwash.training.fit import fit

ALL = {
    "patches of series": (partial(dit, patch=(3,)), (1, 11)),
    "patches": (partial(dit, 2), (2, 5, 3)),
    "columns": (columns, (6,)),
}
every = pytest.mark.parametrize("kind", ALL)


def awake(network, seed=1):
    """The network, moved away from its start, where every gate is shut."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    return network.eval()


PAD = F.pad


def padded_in_front(x, pad):
    return PAD(x, [pad[i ^ 1] for i in range(len(pad))])


@bug("zeros before the first patch", F, "pad", padded_in_front, axes=2)
@pytest.mark.parametrize("axes", [1, 2])
def test_joining_inverts_cutting_for_any_size(axes):
    for size in product(range(1, 10), repeat=axes):
        check_patches(size)


def check_patches(size=(7, 5)):
    """Each patch holds its block of places, with zeros beyond the edge."""
    for patch in product((1, 2, 3), repeat=len(size)):
        x = 1 + torch.rand(2, 3, *size)
        patches = patches_of.cut(x, patch)
        assert patches.shape[1:-1] == tuple(-(-side // places) for side, places in zip(size, patch, strict=True))
        for at in product(*map(range, patches.shape[1:-1])):
            rows = tuple(slice(i * places, (i + 1) * places) for i, places in zip(at, patch, strict=True))
            block = patches[(slice(None), *at)].unflatten(1, (3, *patch))
            covered = x[(..., *rows)]
            assert torch.equal(block[(..., *map(slice, covered.shape[2:]))], covered)
            assert float(block.sum()) == pytest.approx(float(covered.sum()), rel=1e-5)
        assert torch.equal(patches_of.join(patches, patch, size), x)


def block_without_gates(self, tokens, level):
    tokens = tokens + self.attention(self.norm(tokens))
    return tokens + self.layers(self.norm(tokens))


@bug("gates that are open", layers._TransformerBlock, "forward", block_without_gates, kind="columns")
@every
def test_the_output_starts_at_zero_and_blocks_as_the_identity(kind):
    """This is adaLN-zero, whatever the level."""
    make, shape = ALL[kind]
    network = make()
    assert not bool(network(*batch(shape)).any())
    tokens = torch.randn(3, 4, 16)
    for block in network.transformer.blocks:
        assert torch.equal(block(tokens, torch.randn(3, 1, 16)), tokens)


@every
def test_every_output_depends_on_every_entry_and_on_the_level(kind):
    make, shape = ALL[kind]
    network = trained(make(), shape, steps=4)
    x_t, level = (part.requires_grad_() for part in batch(shape, n=1))
    for output in network(x_t, level).flatten():
        by_entry, by_level = torch.autograd.grad(output, (x_t, level), retain_graph=True)
        assert bool((by_entry != 0).all())
        assert bool(by_level != 0)


ATTEND = F.scaled_dot_product_attention


def attention_between_heads(*tokens):
    return ATTEND(*(each.transpose(1, 2) for each in tokens)).transpose(1, 2)


@bug("attention between heads", F, "scaled_dot_product_attention", attention_between_heads)
def test_attention_agrees_with_torch():
    torch.manual_seed(0)
    ours = layers._SelfAttention(96).double()
    assert ours.heads == 3
    theirs = nn.MultiheadAttention(96, 3, batch_first=True, dtype=F64)
    named = {
        "in_proj_weight": ours.query_key_value.weight,
        "in_proj_bias": torch.zeros(3 * 96),
        "out_proj.weight": ours.leave.weight,
        "out_proj.bias": ours.leave.bias,
    }
    theirs.load_state_dict(named)
    tokens = torch.randn(2, 5, 96, dtype=F64)
    torch.testing.assert_close(ours(tokens), theirs(tokens, tokens, tokens)[0], rtol=1e-10, atol=1e-12)


@bug(
    "one place for all patches",
    iw.DiT,
    "_waves",
    lambda self, grid: torch.zeros(*grid, self.place.in_features, dtype=self.rates.dtype),
)
def test_the_output_for_a_patch_depends_on_its_position():
    """In a picture of equal patches, the outputs of any two differ; without positions they are all equal."""
    network = awake(dit(1, (2, 2))).double()
    x_t, level = torch.ones(1, 1, 6, 4, dtype=F64), torch.zeros(1, dtype=F64)
    outputs = patches_of.cut(network(x_t, level), (2, 2)).flatten(0, 2).detach()
    apart = torch.cdist(outputs, outputs) + torch.eye(6, dtype=F64)
    assert float(apart.min()) > 1e-3
    nn.init.zeros_(network.place.weight)
    alike = patches_of.cut(network(x_t, level), (2, 2)).flatten(0, 2)
    torch.testing.assert_close(alike, alike[:1].expand_as(alike), rtol=1e-9, atol=1e-9)


OWNED = [((1, 3, 2), (1, 3, 2)), ((2, 1), (1, 4)), ((1, 1, 1), (1,) * 6), ((1, 3), (2, 3, 2, 0))]


@bug(
    "spreads beside predictions",
    column_networks,
    "_owners",
    lambda sizes, count: [i * count // len(sizes) for i, size in enumerate(sizes) for _ in range(size)],
    inputs=(1, 3),
    outputs=(2, 3, 2, 0),
)
@pytest.mark.parametrize(("inputs", "outputs"), OWNED)
def test_without_attention_an_output_depends_only_on_its_own_column(inputs, outputs):
    """Except for the blocks of each column the Jacobian is zero, also where outputs run through the columns twice."""
    network = awake(columns(inputs, depth=1, outputs=outputs)).double()
    for block in network.transformer.blocks:
        nn.init.zeros_(block.attention.leave.weight)
    level = torch.zeros(1, dtype=F64)
    found = torch.autograd.functional.jacobian(lambda x: network(x[None], level)[0], torch.randn(sum(inputs)).double())
    of_input = torch.arange(len(inputs)).repeat_interleave(torch.tensor(inputs))
    of_output = (torch.arange(len(outputs)) % len(inputs)).repeat_interleave(torch.tensor(outputs))
    assert torch.equal(found != 0, of_output[:, None] == of_input)


def test_outputs_that_do_not_cover_every_column_are_refused():
    with pytest.raises(ValueError, match="outputs: got 3 entries, need 2"):
        columns((1, 2), outputs=(1, 1, 1))


@bug("columns that attend only to those before", F, "scaled_dot_product_attention", partial(ATTEND, is_causal=True))
def test_permuting_columns_with_their_maps_permutes_the_outputs():
    inputs, order = (1, 3, 2), (2, 0, 1)
    one, other = awake(columns(inputs)), awake(columns(tuple(inputs[i] for i in order)))
    starts = torch.tensor((0, *inputs)).cumsum(0)
    places = torch.cat([torch.arange(inputs[i]) + starts[i] for i in order])
    state = one.state_dict()
    for name in ("into.weight", "out_of.weight", "bias"):
        state[name] = state[name][places]
    state["name"] = state["name"][list(order)]
    other.load_state_dict(state)
    x_t, level = batch((6,))
    torch.testing.assert_close(other(x_t[:, places], level), one(x_t, level)[:, places], rtol=1e-4, atol=1e-4)


def neighbours(size):
    """A law with strongly dependent entries, so that the best estimate needs all of them."""
    places = torch.arange(size)
    cov = 2.0 * 0.9 ** (places[:, None] - places).abs()
    return GaussianData([1.0 + i for i in range(size)], cov.tolist())


FITS = {
    "columns": (lambda: iw.nn.ColumnTransformer((1,) * 4, 16, 2), (4,)),
    "patches": (lambda: iw.DiT(1, (2, 2), 16, 2), (1, 2, 3)),
}


@pytest.mark.parametrize("kind", FITS)
@pytest.mark.quick_cases("columns")
def test_training_comes_near_the_best_estimate_of_normal_data(kind):
    """The output is far better than any estimate that uses only the entry itself."""
    make, shape = FITS[kind]
    torch.manual_seed(0)
    network, data = make(), neighbours(torch.Size(shape).numel())
    independent = GaussianData(data.mean.tolist(), torch.diag(data.cov.diag()).tolist())
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, 250)

    def draw(n):
        x = data.whiten_inverse(torch.randn(n, data.size, generator=random, dtype=F64)) - data.mean
        level = 8 * torch.rand(n, 1, generator=random, dtype=F64) - 4
        alpha, sigma = level.sigmoid().sqrt(), (-level).sigmoid().sqrt()
        return x, alpha * x + sigma * torch.randn(x.shape, generator=random, dtype=F64), level, alpha, sigma

    def predict(x_t, level):
        return network(x_t.reshape(-1, *shape).float(), level[:, 0].float()).flatten(1)

    for _ in range(250):
        x, x_t, level, *_ = draw(64)
        optimizer.zero_grad()
        ((predict(x_t, level) - x) ** 2).mean().backward()
        optimizer.step()
        rate.step()
    _, x_t, level, alpha, sigma = draw(2000)
    best, separate = (law.denoise(x_t + alpha * data.mean, alpha, sigma) - data.mean for law in (data, independent))
    with torch.no_grad():
        excess = ((predict(x_t, level) - best) ** 2).mean()
    assert float(excess) < 0.15 * float(((separate - best) ** 2).mean())


RANDOM = np.random.default_rng(0)
RUNS = {
    "labelled images": (
        {"x": RANDOM.integers(0, 4, (40, 5, 3)).astype(np.uint8), "y": RANDOM.integers(0, 2, 40)},
        {"data": {"labels": "y", "levels": 4}, "network": {"kind": "dit"}, "denoiser": {"variance": "learned"}},
    ),
    "bits of series": (
        {"x": RANDOM.integers(0, 2, (40, 7)).astype(bool)},
        {"data": {"layout": "NL"}, "network": {"kind": "dit", "patch": 3}, "process": {"kind": "bernoulli"}},
    ),
    "columns, blind": (
        {"x": RANDOM.normal(3.0, 2.0, (40, 3))},
        {"network": {"kind": "transformer", "dropout": 0.2}, "denoiser": {"sees": "nothing", "variance": "learned"}},
    ),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", RUNS)
@pytest.mark.quick_cases("labelled images")
def test_an_interrupted_run_resumes_bit_identically_and_samples(name, tmp_path):
    """The runs have labels, levels, bits, a learned variance, blindness to the noise level, and dropout."""
    arrays, parts = RUNS[name]
    np.savez(tmp_path / "data.npz", **arrays)
    config = tiny(tmp_path / "data.npz", steps=6, micro_batch_size=3)
    config = replace(config, **{part: replace(getattr(config, part), **options) for part, options in parts.items()})
    finished_run = fit(config, tmp_path / "finished")
    with hooked(at_step(4, lambda: os.kill(os.getpid(), signal.SIGINT))), pytest.raises(RunInterrupted):
        fit(config, tmp_path / "cut")
    assert digests(fit(config, tmp_path / "cut").path) == digests(finished_run.path)
    samples = finished_run.model().sample(2, seed=0, steps=3, label=arrays.get("y", [None])[0])
    assert (samples.shape, samples.dtype) == ((2, *arrays["x"].shape[1:]), arrays["x"].dtype)
