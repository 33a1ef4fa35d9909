"""The mean weight of particles is the evidence, the mean of r over the model, whatever guides them.

Log r counts once in it, from the first look to the end, and so does everything that the kernels differ by.
"""

import math
from unittest import mock

import pytest
import torch
from bugs import bug
from oracles import F64, BitData, GaussianData, exact_bit_denoiser, exact_denoiser, tensor
from torch.distributions import MultivariateNormal

import inkwash as iw
from inkwash.model.product import gathered
from inkwash.posterior import smc

LINEAR = iw.LinearSchedule()
APART = BitData([p * q for p in (0.7, 0.3) for q in (0.2, 0.8)])
"""Two independent bits, for which the reverse steps of bits are exact."""


def mean_weight(model, factor, steps=12, count=4096):
    """Logarithm of the mean weight of particles that are never resampled, and its standard error."""
    seen = []

    def watched(log_weight, groups=1):
        seen.append(log_weight)
        return torch.ones(groups, dtype=F64)

    walker = iw.SMC(1).compose(model.denoiser, gathered(model.units, factor.parts), iw.Ancestral())
    random = torch.Generator().manual_seed(0)
    x_1 = model.process.prior((count, *model.shape), like=torch.zeros((), dtype=F64)).draw(random)
    with mock.patch.object(smc, "effective_share", watched):
        list(walker.walk(x_1, iw.uniform_grid(steps), random))
    weight = seen[-1].exp()
    return float(weight.mean().log()), float(weight.std() / weight.mean()) / math.sqrt(count)


def twice(kind):
    """The last weight, with the twist once more."""
    end = kind.end

    def with_twist(self, view, t, generator):
        x, gain = end(self, view, t, generator)
        return x, gain + view.log_twist

    return kind, "end", with_twist


def require_evidence(expected, model, factor, **options):
    found, error = mean_weight(model, factor, **options)
    assert error < 0.03
    assert found == pytest.approx(expected, abs=4 * error)


@bug("log r counted twice", *twice(smc.RealTwist))
def test_real_particles_weigh_as_much_as_a_normal_law_says():
    """Of standard normal data the prior and the large variance are exact. Log r is left without its constant, that of y
    given the last look, which knows x but for the noise of the first time."""
    matrix, y, noise = tensor([[1.0, 0.5]]), tensor([0.9]), 0.6
    data = GaussianData([0.0, 0.0], torch.eye(2).tolist())
    model = iw.Diffusion(exact_denoiser(data, LINEAR, "large"), (2,), dtype=F64)
    evidence = MultivariateNormal(torch.zeros(1, dtype=F64), matrix @ matrix.T + noise**2).log_prob(y)
    spread = LINEAR.sigma(1 / 12) ** 2
    constant = MultivariateNormal(torch.zeros(1, dtype=F64), spread * matrix @ matrix.T + noise**2).log_prob(0 * y)
    require_evidence(float(evidence - constant), model, iw.Measurement(matrix, y, noise))


def test_particles_weigh_as_much_as_the_mean_of_the_exponential_of_a_line():
    """Of standard normal data, as the last look knows it."""
    slope, data = tensor([0.8, -0.5]), GaussianData([0.0, 0.0], torch.eye(2).tolist())
    model = iw.Diffusion(exact_denoiser(data, LINEAR, "large"), (2,), dtype=F64)
    known = 1 - LINEAR.sigma(1 / 12) ** 2
    require_evidence(float(known * slope @ slope / 2), model, iw.Classifier(lambda x: x @ slope))


def end_by_the_model(self, view, t, generator):
    x = self.tilted.process.reverse(view.plain.x_t, view.plain, torch.zeros_like(t), t).draw(generator)
    return x, smc.beyond(self.evidence, self.tilted.h, x)


@bug("the end drawn from the model alone", smc.BitTwist, "end", end_by_the_model)
@bug("log r counted twice", *twice(smc.BitTwist))
@bug("what ties bits together forgotten", smc, "beyond", lambda evidence, h, x: torch.zeros(len(x), dtype=F64))
def test_particles_of_bits_weigh_as_much_as_enumeration_says():
    """In three steps, of which the last has much to tell."""

    def log_r(x):
        return 1.3 * x[:, 0] - 0.4 * x[:, 1] + 0.8 * (x[:, 0] == x[:, 1])

    model = iw.Diffusion(exact_bit_denoiser(APART, LINEAR, 0.3), (2,), dtype=F64)
    evidence = float((APART.probabilities * log_r(APART.states).exp()).sum().log())
    require_evidence(evidence, model, iw.Classifier(log_r), steps=3)


@bug("log r counted twice", *twice(smc.KnownTwist))
def test_particles_of_categories_weigh_as_much_as_what_is_known_is_probable():
    laws = tensor([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3]])
    process = iw.Categorical(iw.CosineSchedule(), (3, 3))
    denoiser = iw.denoise.OddsDenoiser(lambda x_t, t: laws.log().reshape(1, -1).expand(len(x_t), -1), process)
    model = iw.Diffusion(denoiser, (2,), dtype=F64)
    require_evidence(math.log(0.6), model, iw.Observed([False, True], [0.0, 1.0]), steps=3)
