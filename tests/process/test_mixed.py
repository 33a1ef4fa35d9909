"""Rows of numbers and categories: a category of known law, and a number that is normal given the category."""

import math

import pytest
import scipy.stats
import torch
from bugs import bug
from mixed_rows import MEANS, PROBABILITY, STD, model_of, process_of, rows
from oracles import F64, tensor

import inkwash as iw
from inkwash.core.shapes import sum_event
from inkwash.likelihood import bound as likelihood

ENTROPY = float(torch.special.entr(PROBABILITY).sum()) + 0.5 * math.log(2 * math.pi * math.e * STD**2)


BOTH = pytest.mark.parametrize("noise", ["uniform", "absorbing"])
FEW_OR_MANY = pytest.mark.parametrize("n", [1500, pytest.param(6000, marks=pytest.mark.slow)])


def test_joining_inverts_the_split_into_parts():
    process = iw.Mixed(
        iw.Gaussian(iw.LinearSchedule()), iw.Categorical(iw.LinearSchedule(), (2, 5)), (False, True, False, True)
    )
    x = torch.arange(8.0).reshape(2, 4)
    numbers, categories = process.parts(x)
    assert numbers.tolist() == [[0.0, 2.0], [4.0, 6.0]]
    assert categories.tolist() == [[1.0, 3.0], [5.0, 7.0]]
    assert torch.equal(process.joined(numbers, categories), x)


STEPS = {
    "marginal": lambda process, x_t, x, s, t: process.marginal(x, t),
    "transition": lambda process, x_t, x, s, t: process.transition(x, s, t),
    "prior": lambda process, x_t, x, s, t: process.prior(x.shape, like=x),
}


@pytest.mark.parametrize("step", STEPS)
@BOTH
def test_laws_of_rows_are_those_of_their_parts(noise, step):
    process, x, random = process_of(noise), rows(6), torch.Generator().manual_seed(0)
    numbers, categories = process.parts(x)
    joint = STEPS[step](process, x, x, 0.4, 0.7)
    apart = (
        STEPS[step](part, each, each, 0.4, 0.7)
        for part, each in ((process.numbers, numbers), (process.categories, categories))
    )
    found = process.parts(joint.entry_log_prob(joint.draw(random)))
    random.manual_seed(0)
    for log_prob, law in zip(found, apart, strict=True):
        torch.testing.assert_close(log_prob, law.entry_log_prob(law.draw(random)))


@BOTH
def test_a_step_is_the_product_of_the_steps_of_both_parts(noise):
    process, x, random = process_of(noise), rows(50), torch.Generator().manual_seed(0)
    t, s = tensor(0.7), tensor(0.4)
    x_t = process.diffuse(x, t, process.noise(x.shape, random, like=x))
    joint = process.posterior(x_t, x, s, t)
    parts = (
        process.numbers.posterior(x_t[:, 1:], x[:, 1:], s, t),
        process.categories.posterior(x_t[:, :1], x[:, :1], s, t),
    )
    x_s = joint.draw(random)
    torch.testing.assert_close(joint.log_prob(x_s), parts[0].log_prob(x_s[:, 1:]) + parts[1].log_prob(x_s[:, :1]))
    torch.testing.assert_close(joint.entropy(), parts[0].entropy() + parts[1].entropy())
    first = torch.zeros_like(x, dtype=torch.bool)
    first[:, 0] = True
    torch.testing.assert_close(joint.log_prob(x_s, first), parts[1].log_prob(x_s[:, :1]))


@BOTH
@pytest.mark.quick_cases("absorbing")
@FEW_OR_MANY
def test_the_bound_of_the_exact_denoiser_is_the_entropy(noise, n):
    x = rows(n)
    bound = model_of(noise).bound(x, terms=60)
    assert float(bound.total.mean()) == pytest.approx(ENTROPY, abs=4 * float(bound.std_error) + 0.03)


@BOTH
@pytest.mark.quick_cases("absorbing")
@FEW_OR_MANY
def test_samples_have_the_law_of_the_data(noise, n):
    samples = model_of(noise).sample(n, seed=0, steps=250)
    for category in range(3):
        found = samples[samples[:, 0] == category, 1]
        share = float(PROBABILITY[category])
        assert len(found) / n == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / n))
        assert float(found.mean()) == pytest.approx(float(MEANS[category]), abs=4 * STD / math.sqrt(len(found)) + 0.01)
        assert float(found.std()) == pytest.approx(STD, abs=4 * STD / math.sqrt(2 * len(found)) + 0.01)


@bug(
    "missing cells counted",
    likelihood,
    "sum_event",
    lambda x, present=None: sum_event(x),
    noise="absorbing",
    column=0,
)
@BOTH
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.quick_cases("absorbing")
@FEW_OR_MANY
def test_the_bound_of_rows_with_missing_cells_is_that_of_the_present_ones(noise, column, n):
    x = rows(n)
    x[:, column] = torch.nan
    if column:
        expected = float(torch.special.entr(PROBABILITY).sum())
    else:
        grid = torch.linspace(-6, 7, 20001, dtype=F64)
        density = (PROBABILITY * torch.exp(-0.5 * ((grid[:, None] - MEANS) / STD) ** 2)).sum(1)
        expected = float(torch.trapezoid(torch.special.entr(density / (STD * math.sqrt(2 * math.pi))), grid))
    bound = model_of(noise).bound(x, terms=60)
    assert float(bound.total.mean()) == pytest.approx(expected, abs=4 * float(bound.std_error) + 0.03)


def test_missing_cells_make_no_difference_to_loss_or_gradient():
    process = process_of()
    sizes = [3, 0]
    inputs, outputs = iw.nn.TableNet.widths(sizes, True, missing=True)
    torch.manual_seed(0)
    network = iw.nn.TableNet(iw.MLP(sum(inputs), 16, 1, outputs=sum(outputs)), sizes, True, missing=True)
    torch.nn.init.normal_(network.network.leave[-1].weight)
    denoiser, x, random = iw.denoise.MixedDenoiser(network, process), rows(32).float(), torch.Generator().manual_seed(0)
    present = torch.rand(32, 2, generator=random) < 0.6
    changed = torch.where(present, x, tensor([2.0, 9.0]).float())
    times, noise = torch.linspace(0.001, 1, 32, dtype=F64), process.noise(x.shape, random)
    for objective in (iw.training.MixedLoss(), iw.training.PairBound(100)):
        gradients = []
        for clean in (x, changed):
            loss = objective.loss(iw.denoise.Conditioned(denoiser, {"present": present}), clean, times, noise, present)
            network.zero_grad()
            loss.sum().backward()
            gradients.append((loss.detach(), network.network.enter.weight.grad.clone()))
        for one, two in zip(*gradients, strict=True):
            torch.testing.assert_close(one, two)
    with pytest.raises(TypeError, match="only complete rows"):
        iw.nn.TableNet(network.network, sizes, True)(x, times, present=present)


def density_for_mass(self, x):
    return self.density.entry_log_prob(x)


@bug("integers as real numbers", iw.process.BinnedNormal, "entry_log_prob", density_for_mass)
def test_integers_have_the_mass_of_their_bin_and_real_numbers_the_density():
    law = iw.process.Normal(tensor([[0.3, 0.3]]), tensor(0.25)).on(iw.process.Bins(tensor([0.0, 0.5])))
    reference = torch.distributions.Normal(tensor(0.3), tensor(0.5))
    bins = tensor([-0.5, 0.0, 0.5, 1.0])
    found = law.entry_log_prob(torch.stack([bins, bins], 1))
    torch.testing.assert_close(found[:, 0], reference.log_prob(bins))
    torch.testing.assert_close(found[:, 1].exp(), reference.cdf(bins + 0.25) - reference.cdf(bins - 0.25))


WIDE = iw.Mixed(
    iw.Gaussian(iw.LinearSchedule()), iw.Categorical(iw.CosineSchedule(), (2, 3)), (False, True, False, True, False)
)
SPACINGS = tensor([0.0, 0.0, 0.5, 0.0, 2.0])
DECODER = iw.Mixed.decoder


def bins_of_the_first_columns(self, x_t, estimate, times, lattice):
    count = len(self.places[0])
    moved = lattice.spacing.clone()
    moved[self.places[0]] = lattice.spacing[:count]
    return DECODER(self, x_t, estimate, times, iw.process.Bins(moved))


@bug("bins paired with other columns", iw.Mixed, "decoder", bins_of_the_first_columns)
def test_each_whole_number_has_the_bin_of_its_own_column():
    """A real number, a category, a fine integer, a category, a coarse integer: SciPy's density and masses."""
    output = tensor([[0.3, -0.2, 0.9, *[0.0] * 5]])
    denoiser = iw.denoise.MixedDenoiser(lambda x, t: output, WIDE, "x", "large")
    times, x = iw.uniform_grid(4), tensor([[0.1, 1.0, 0.5, 2.0, 2.0]])
    x_t = WIDE.diffuse(x, times[-2], tensor([[0.4, 0.9, -1.0, 0.1, 0.6]]))
    found = WIDE.decoder(x_t, denoiser(x_t, times[-2]), times, iw.process.Bins(SPACINGS)).entry_log_prob(x)[0]
    law = scipy.stats.norm(output[0, :3].numpy(), float(WIDE.schedule.sigma(0.25)))
    below, above = (law.cdf(x[0, ::2].numpy() + sign * SPACINGS[::2].numpy() / 2) for sign in (-1, 1))
    assert float(found[0]) == pytest.approx(law.logpdf(0.1)[0], rel=1e-10)
    assert found[[2, 4]].exp().tolist() == pytest.approx((above - below)[1:].tolist(), rel=1e-10)


def test_an_objective_for_rows_refuses_other_processes():
    process = iw.Gaussian(iw.LinearSchedule())
    with pytest.raises(iw.ConfigError, match="rows of numbers and categories"):
        iw.training.MixedLoss().loss(
            iw.Denoiser(lambda x, t: x, process), torch.zeros(2, 2), torch.ones(2), torch.zeros(2, 2)
        )
    with pytest.raises(iw.ConfigError, match=r"mixed\.is_category"):
        iw.Mixed(process, iw.Categorical(iw.LinearSchedule(), (2, 2)), (True, True))
