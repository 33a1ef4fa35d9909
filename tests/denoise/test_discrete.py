"""Denoisers of categories agree with sums over the law of two dependent categories."""

import pytest
import torch
from bugs import bug
from oracles import F64, tensor

import inkwash as iw

SIZES = (3, 2)
JOINT = tensor([[0.30, 0.05], [0.02, 0.18], [0.25, 0.20]])
ENTROPY = float(torch.special.entr(JOINT).sum())
ROWS = torch.cartesian_prod(torch.arange(3), torch.arange(2)).to(F64)
UNIFORM = iw.Categorical(iw.CosineSchedule(), SIZES)
ABSORBING = iw.Categorical(iw.SohlDicksteinSchedule(), SIZES, "absorbing")
processes = pytest.mark.parametrize("process", [UNIFORM, ABSORBING], ids=["uniform", "absorbing"])


def exact_network(process, joint=JOINT):
    """The network that returns, for each entry, the log-law given the noisy state of the other entry."""

    def network(x_t, t):
        evidence = process.evidence(x_t, process.schedule.log_snr(t))
        first, second = (evidence[:, i, :size].exp() for i, size in enumerate(SIZES))
        table = joint.to(x_t)
        return torch.cat([(second @ table.mT).log(), (first @ table).log()], 1)

    return network


def model_of(process, steps=400):
    return iw.Diffusion(iw.denoise.OddsDenoiser(exact_network(process), process), shape=(2,), steps=steps, dtype=F64)


@processes
def test_the_exact_weights_give_the_exact_belief(process):
    t, x_t = 0.55, tensor([[2.0, 1.0]])
    likelihood = process.marginal(ROWS, t).log_prob(x_t.expand(6, 2)).exp()
    posterior = (JOINT.flatten() * likelihood / (JOINT.flatten() * likelihood).sum()).reshape(3, 2)
    estimate = model_of(process).denoiser(x_t, t)
    belief = estimate.logits.softmax(-1)[0]
    torch.testing.assert_close(belief[0, :3], posterior.sum(1), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(belief[1, :2], posterior.sum(0), rtol=1e-9, atol=1e-12)
    assert estimate.x.tolist() == [[float(posterior.sum(1).argmax()), float(posterior.sum(0).argmax())]]


LOG_WEIGHTS = property(lambda self: self.log_weights)


@bug("weights for the belief", iw.process.CategoryEstimate, "logits", LOG_WEIGHTS, process=UNIFORM)
@processes
@pytest.mark.quick_cases("uniform")
@pytest.mark.parametrize("copies", [400, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_bound_falls_to_the_entropy(process, copies):
    """A step draws the entries independently, which matters less and less as the steps get finer."""
    x = ROWS.repeat_interleave(copies, 0)
    weight = JOINT.flatten().repeat_interleave(copies) / copies
    model, gaps = model_of(process), []
    for steps in (8, 400):
        bound = model.bound(x, steps=steps, terms=None if steps < 20 else 60)
        spread = float((bound.total**2 * weight).sum() - (bound.total * weight).sum() ** 2) ** 0.5 / len(x) ** 0.5
        gaps.append(float((bound.total * weight).sum()) - ENTROPY)
    assert -4 * spread < gaps[1] < 4 * spread + 0.01
    assert gaps[1] < gaps[0]


@processes
@pytest.mark.slow
def test_samples_have_the_law_of_the_data(process):
    samples = model_of(process).sample(8000, seed=1, steps=200).long()
    share = torch.bincount(2 * samples[:, 0] + samples[:, 1], minlength=6) / len(samples)
    error = (JOINT.flatten() * (1 - JOINT.flatten()) / len(samples)).sqrt()
    assert ((share - JOINT.flatten()).abs() / error).max() < 4.5


def shown_as_they_are(self, noisy):
    return noisy.x_t


@bug("numbers shown in the scale of their schedule", iw.Denoiser, "shown", shown_as_they_are)
def test_a_network_that_sees_the_log_snr_is_shown_the_same_rows_under_every_schedule():
    """The same rows with the same noise, where the variance is preserved and where it explodes."""
    seen, log_snr = [], tensor([3.0, -1.5, -6.0])
    x, noise = tensor([[0.4, 1.0, -0.9], [1.3, 2.0, 0.2], [-0.6, 0.0, 2.1]]), torch.linspace(-2, 2, 9).reshape(3, 3)
    for numbers in (iw.LinearSchedule(), iw.KarrasSchedule(), iw.RectifiedSchedule()):
        process = iw.Mixed(iw.Gaussian(numbers), iw.Categorical(iw.CosineSchedule(), (3,)), (False, True, False))
        t = numbers.time(log_snr)
        x_t = process.numbers.diffuse(x, t, noise.double())
        x_t[:, 1] = x[:, 1]
        denoiser = iw.denoise.MixedDenoiser(
            lambda shown, level: seen.append((shown, level)) or torch.zeros(3, 5, dtype=F64),
            process,
            "x",
            sees="log_snr",
        )
        denoiser(x_t, t)
    for shown, level in seen:
        torch.testing.assert_close(shown, seen[0][0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(shown[:, 1], x[:, 1])
        torch.testing.assert_close(level, log_snr)


def test_the_output_of_a_network_becomes_log_weights_of_each_entry():
    found = UNIFORM.estimate(tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), torch.zeros(1, 2), tensor(0.5))
    assert found.log_weights.tolist() == [[[1.0, 2.0, 3.0], [4.0, 5.0, -torch.inf]]]


@processes
@pytest.mark.slow
def test_training_learns_the_joint_law(process):
    """The network starts from the frequencies, whose bound is the entropy of independent entries, and learns more."""
    sizes, masked = list(SIZES), process.noise_kind == "absorbing"
    inputs, outputs = iw.nn.TableNet.widths(sizes, masked)
    torch.manual_seed(0)
    network = iw.nn.TableNet(iw.MLP(sum(inputs), 32, 1, outputs=sum(outputs)), sizes, masked)
    count = 4000
    x = ROWS[torch.multinomial(JOINT.flatten(), count, True, generator=torch.Generator().manual_seed(0))].float()
    network.count([x])
    denoiser = iw.denoise.OddsDenoiser(network, process, sees="log_snr")
    model, apart = (
        iw.Diffusion(denoiser, shape=(2,), steps=50),
        sum(float(torch.special.entr(JOINT.sum(axis)).sum()) for axis in (0, 1)),
    )
    start = model.bound(x, steps=50)
    assert float(start.total.mean()) == pytest.approx(apart, abs=0.03)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    random = torch.Generator().manual_seed(1)
    for _ in range(150):
        rows = x[torch.randint(count, (256,), generator=random)]
        times = iw.training.LowDiscrepancy().draw(256, process.schedule, random).t
        loss = iw.training.PairBound(50).loss(denoiser, rows, times, process.noise(rows.shape, random)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ENTROPY - 0.03 < float(model.bound(x, steps=50).total.mean()) < (ENTROPY + apart) / 2
