"""A denoiser of mixed rows is a denoiser of numbers beside one of categories, which share a network."""

import pytest
import torch
from every_process import CASES
from oracles import tensor

from inkwash.denoise import Denoiser, MixedDenoiser, OddsDenoiser

GUIDED = {"shift": 0.3, "guidance": 2.0}


def odd_network(x_t, t, shift=0.0):
    """Predictions of two numbers, their spreads, and weights of the categories of sizes 3 and 2, all of the row."""
    row = torch.cat([x_t, t[:, None], x_t * t[:, None]], 1)[:, :9]
    return torch.sin(torch.arange(1.0, 10.0, dtype=x_t.dtype) * (row + shift))


@pytest.mark.parametrize("sees", ["time", "log_snr", "nothing"])
@pytest.mark.parametrize(
    "options", [{}, {"shift": 0.3}, {"shift": 0.3, "guidance": 2.0}, {"shift": 0.3, "guidance": 0.0}]
)
def test_a_mixed_denoiser_is_a_denoiser_beside_another(options, sees):
    process, x_t, _ = CASES["mixed"]
    x_t, t = x_t.double(), tensor([0.2, 0.5, 0.9])
    numbers, categories = process.parts(x_t)
    joint = MixedDenoiser(odd_network, process, "v", "learned", sees)(x_t, t, **options)

    def of_numbers(shown, t, **condition):
        return odd_network(process.joined(shown, categories), t, **condition)[:, :4]

    def of_categories(shown, t, **condition):
        return odd_network(process.joined(numbers, shown), t, **condition)[:, 4:]

    alone = Denoiser(of_numbers, process.numbers, "v", "learned", sees)(numbers, t, **options)
    torch.testing.assert_close(joint.numbers.x, alone.x)
    torch.testing.assert_close(joint.numbers.spread, alone.spread)
    torch.testing.assert_close(joint.numbers.mean(0.1), alone.mean(0.1))
    if sees != "log_snr":  # which scales the numbers that a network sees
        odds = OddsDenoiser(of_categories, process.categories, sees)(categories, t, **options)
        torch.testing.assert_close(joint.categories.logits, odds.logits)


def test_a_mixed_denoiser_has_the_defaults_of_a_denoiser():
    process = CASES["mixed"][0]
    alone, joint = Denoiser(odd_network, process.numbers), MixedDenoiser(odd_network, process)
    for name in ("predicts", "variance", "sees"):
        assert getattr(joint.numbers, name) == getattr(alone, name)
    assert joint.sees == alone.sees
