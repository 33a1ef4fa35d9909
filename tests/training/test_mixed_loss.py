"""The loss of rows of numbers and categories, against sums over the states of a category by plain matrices."""

import numpy as np
import pytest
import scipy.stats
import torch
from bugs import bug
from oracles import F64, tensor

import inkwash as iw
from inkwash.training.objective import MixedLoss

STEPS, STATES = 4, 3
PROCESS = iw.Mixed(
    iw.Gaussian(iw.LinearSchedule()), iw.Categorical(iw.CosineSchedule(), (STATES,)), (False, True, False)
)
WEIGHTS, NUMBERS = np.array([0.5, 0.2, 0.3]), [0.3, -0.8]
"""What the network gives for the categories, and for the noise of the two numbers, whatever it sees."""


def denoiser():
    output = torch.cat([tensor(NUMBERS), torch.from_numpy(WEIGHTS).log()])
    return iw.denoise.MixedDenoiser(lambda x_t, t: output.expand(len(x_t), -1), PROCESS, "eps")


def survival(t):
    return float(PROCESS.categories.schedule.alpha(t)) ** 2


def kernel(kept):
    """The matrix q(column state | row state)."""
    return kept * np.eye(STATES) + (1 - kept) / STATES


def divergence(x, x_t, s, t):
    """KL of the true step from t to s given x, from that under the belief of the network; at s = 0 it is -log p(x)."""
    step = kernel(survival(t) / survival(s))
    belief = WEIGHTS * kernel(survival(t))[:, x_t]
    given_each = kernel(survival(s)) * step[:, x_t]
    given_each /= given_each.sum(1, keepdims=True)
    return scipy.stats.entropy(given_each[x], belief / belief.sum() @ given_each)


def batch(t):
    """Each category with each noisy state that it may take; two numbers, and their noise."""
    x, x_t = (state.double() for state in torch.cartesian_prod(torch.arange(STATES), torch.arange(STATES)).T)
    upper = np.cumsum(kernel(survival(t)), 1)
    lower = np.concatenate([np.zeros((STATES, 1)), upper[:, :-1]], 1)
    uniform = torch.from_numpy((lower + upper) / 2).flatten()
    numbers, noise = torch.randn(2, 2, 9, generator=torch.Generator().manual_seed(0), dtype=F64)
    return x_t.long(), torch.stack([numbers[0], x, numbers[1]], 1), torch.stack([noise[0], uniform, noise[1]], 1)


LOSS = MixedLoss.loss


def with_categories_of(steps, share):
    """The loss with another number of steps for the categories, and a share of what they then add."""

    def loss(self, denoiser, x, t, noise, present=None):
        only = torch.tensor(PROCESS.is_category).expand(x.shape)
        numbers = LOSS(self, denoiser, x, t, noise, ~only)
        return numbers + share * LOSS(MixedLoss(steps=steps), denoiser, x, t, noise, only)

    return loss


@bug("one step for all of them", MixedLoss, "loss", with_categories_of(STEPS, 1 / STEPS), k=3)
@bug("steps of two", MixedLoss, "loss", with_categories_of(STEPS / 2, 2), k=3)
@pytest.mark.parametrize("k", range(1, STEPS + 1))
def test_the_loss_of_a_category_is_that_of_its_step_times_the_number_of_steps(k):
    t = k / STEPS
    x_t, x, noise = batch(t)
    assert torch.equal(PROCESS.diffuse(x, t, noise)[:, 1].long(), x_t)
    loss = MixedLoss(steps=STEPS).loss(denoiser(), x, torch.full((9,), t, dtype=F64), noise)
    numbers = ((noise[:, ::2] - tensor(NUMBERS)) ** 2).sum(1)
    pairs = zip(x[:, 1].long().tolist(), x_t.tolist(), strict=True)
    categories = STEPS * tensor([divergence(*pair, t - 1 / STEPS, t) for pair in pairs])
    torch.testing.assert_close(3 * loss, numbers + categories, rtol=1e-9, atol=1e-12)
