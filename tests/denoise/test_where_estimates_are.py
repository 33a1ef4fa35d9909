"""An estimate is on the device and in the dtype of the noisy data; a network gets the dtype of its own numbers."""

import pytest
import torch
from every_process import CASES, CATEGORIES, NUMBERS
from oracles import F64, tensor
from torch import nn

import inkwash as iw
from inkwash.denoise import Conditioned, Denoiser, MixedDenoiser, OddsDenoiser, prediction
from inkwash.denoise.cold import Restorer
from inkwash.denoise.wrap import Clipped, Thresholded
from inkwash.process import Lattice
from inkwash.process.variance import SIMPLE

ELSEWHERE = "meta"
GAUSSIAN = iw.Gaussian(iw.CosineSchedule())
PREDICTIONS = {**prediction.NAMED, "mean": prediction.Mean(10), "levels": prediction.Levels(Lattice(-1.0, 1.0, 5))}
SEES = ["time", "log_snr", "nothing"]


class Seen(nn.Module):
    """A network with numbers of its own, that notes how it is called and answers with zeros of a shape."""

    def __init__(self, shape, dtype=torch.float32, device="cpu"):
        super().__init__()
        self.shape, self.weight = shape, nn.Parameter(torch.zeros(1, dtype=dtype, device=device))

    def forward(self, x_t, t, **condition):
        self.x_t, self.t, self.condition = x_t, t, condition
        return x_t.new_zeros(self.shape)


def shape_of(predicts, variance):
    """The shape that a network answers with to three rows of two numbers."""
    spread = int(SIMPLE[variance].needs_spread)
    return (3, 2, 5 + spread) if predicts == "levels" else (3, 2 * (1 + spread))


def require_place(estimate, device, dtype, *names):
    for name in names:
        found = getattr(estimate, name)
        assert found.device.type == device, name
        assert found.dtype == dtype, name


places = pytest.mark.parametrize("device", ["cpu", ELSEWHERE])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)


@places
@dtypes
@pytest.mark.parametrize("variance", SIMPLE)
@pytest.mark.parametrize("predicts", PREDICTIONS)
def test_an_estimate_of_numbers_is_where_they_are(predicts, variance, dtype, device):
    network = Seen(shape_of(predicts, variance), device=device)
    x_t = NUMBERS.to(device, dtype)
    for sees in SEES[:2] if predicts == "F" else SEES:
        estimate = Denoiser(network, GAUSSIAN, PREDICTIONS[predicts], variance, sees)(x_t, tensor(0.4))
        require_place(estimate, device, dtype, "x", "eps", "score", "v", "x_t")
        require_place(network, device, torch.float32, "x_t", "t")
        assert network.t.shape == (3,)
        if variance in ("learned", "free"):
            require_place(estimate, device, dtype, "spread")
            assert estimate.spread.shape == x_t.shape


@places
@dtypes
@pytest.mark.parametrize("case", ["bits", "uniform", "absorbing", "mixed"])
def test_an_estimate_of_categories_is_where_they_are(case, dtype, device):
    process, x, _ = CASES[case]
    width = {"bits": 2, "mixed": 7}.get(case, 5)
    network = Seen((3, width), device=device)
    kind = MixedDenoiser if case == "mixed" else OddsDenoiser
    estimate = kind(network, process)(x.to(device, dtype), tensor(0.4))
    require_place(estimate, device, dtype, "x", "x_t")
    require_place(network, device, torch.float32, "x_t", "t")


@places
def test_a_condition_is_where_the_data_is_and_integers_stay_integers(device):
    network = Seen((3, 2), F64, device)
    condition = {"given": NUMBERS, "label": CATEGORIES[:, 0].long(), "name": "a word"}
    Denoiser(network, GAUSSIAN)(NUMBERS.to(device), 0.4, **condition)
    assert network.condition["given"].dtype == F64
    assert network.condition["label"].dtype == torch.int64
    assert {network.condition[name].device.type for name in ("given", "label")} == {device}
    assert network.condition["name"] == "a word"


@places
@dtypes
@pytest.mark.parametrize(
    "wrap",
    [Clipped, Thresholded, lambda denoiser: Conditioned(denoiser, {})],
    ids=["clipped", "thresholded", "conditioned"],
)
def test_a_wrapped_estimate_is_where_the_data_is(wrap, dtype, device):
    denoiser = wrap(Denoiser(Seen((3, 2), device=device), GAUSSIAN, "x"))
    require_place(denoiser(NUMBERS.to(device, dtype), tensor(0.4)), device, dtype, "x", "eps")


@places
@dtypes
def test_a_restored_image_is_where_the_image_is(dtype, device):
    process, x, _ = CASES["blur"]
    network = Seen(x.shape)
    require_place(Restorer(network, process)(x.to(device, dtype), tensor(0.4)), device, dtype, "x")
    require_place(network, device, dtype, "x_t", "t")
    assert network.t.shape == (len(x),)


def test_the_spread_of_levels_is_the_last_output():
    output, levels = torch.arange(36.0).reshape(3, 2, 6) / 10, PREDICTIONS["levels"]
    both = Denoiser(lambda x_t, t: output, GAUSSIAN, levels, "learned")(NUMBERS, 0.4)
    alone = Denoiser(lambda x_t, t: output[..., :5], GAUSSIAN, levels, "large")(NUMBERS, 0.4)
    assert torch.equal(both.x, alone.x)
    assert torch.equal(both.spread, output[..., 5])
