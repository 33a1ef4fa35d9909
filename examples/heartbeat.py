"""The binary heartbeat of Sohl-Dickstein et al. (2015, §3.1.2): Bernoulli diffusion whose best bound is known exactly.

The data has 20 bits, every fifth of them 1, at one of five phases: log2(5) = 2.3219 bits. The network is trained on the
bound itself, one of its T = 2000 terms per example. Run it with `python examples/heartbeat.py`; it takes less than
a minute.
"""

import math
from itertools import pairwise

import torch

import inkwash as iw

RATE, BIT = 0.2, math.log(2)
BEATS = torch.eye(5).repeat(1, 4)


process = iw.Bernoulli(iw.SohlDicksteinSchedule(), RATE)


def best_network(x_t, t):
    """The true log-odds of each bit: those of the phase that would set it, by Bayes' rule over the five beats."""
    log_likelihood = torch.stack([process.marginal(beat.expand_as(x_t), t).log_prob(x_t) for beat in BEATS.to(x_t)], 1)
    log_phase = log_likelihood.log_softmax(1)
    others = log_phase[:, None].masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).logsumexp(2)
    return (log_phase - others).repeat(1, 4)


def best_values(steps):
    """The bound and K of the best network, in bits, exactly.

    By symmetry we may assume that the beat has phase 0. Of a noisy state only the numbers of bits set in the five
    classes of places matter, and the order of the last four does not: 350 states stand for all 2^20.
    """
    others = torch.combinations(torch.arange(5), 4, with_replacement=True)
    first = torch.arange(5).repeat_interleave(len(others))
    counts = torch.cat([first[:, None], others.repeat(5, 1)], 1)
    filled = (torch.arange(4)[:, None] < counts[:, None, :]).double().reshape(-1, 20)
    ways = torch.tensor([math.comb(4, int(n)) for n in counts.flatten()]).reshape(-1, 5).prod(1) * orders(
        others
    ).repeat(5)
    x, best, divergence = BEATS[:1].double().expand_as(filled), iw.denoise.OddsDenoiser(best_network, process), []
    for t, s in pairwise(iw.uniform_grid(steps)):
        weight = ways * process.marginal(x, t).log_prob(filled).exp()
        reverse = process.reverse(filled, best(filled, t), s, t)
        divergence.append(float(weight @ process.posterior(filled, x, s, t).kl(reverse)))
    edge = float(process.marginal(x[:1], 1 / steps).entropy())
    return sum(divergence) / BIT, -(sum(divergence[:-1]) + edge) / BIT


def orders(rows):
    """The number of orders in which the entries of each row can stand."""
    same = torch.stack([(rows == n).sum(1) for n in range(5)], 1)
    return torch.tensor([math.factorial(4) // math.prod(math.factorial(int(n)) for n in row) for row in same])


def train(steps=600, batch_size=512, grid_steps=2000, seed=0):
    """A denoiser whose network is trained on the bound."""
    torch.manual_seed(seed)
    network, generator = iw.MLP(20, width=128, depth=2), torch.Generator().manual_seed(seed)
    denoiser, objective = iw.denoise.OddsDenoiser(network, process, sees="log_snr"), iw.training.PairBound(grid_steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x = BEATS[torch.randint(5, (batch_size,), generator=generator)]
        times = iw.training.LowDiscrepancy().draw(batch_size, process.schedule, generator)
        loss = objective.loss(denoiser, x, times.t, process.noise(x.shape, generator)).mean() * 20
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        decay.step()
    return denoiser


def report(grid_steps=2000, **options):
    """Print the bound and K of the truth, the best network and the trained one, and return the bound of the last."""
    bound_of_best, k_of_best = best_values(grid_steps)
    model = iw.Diffusion(train(grid_steps=grid_steps, **options), shape=(20,), steps=grid_steps)
    result = model.bound(BEATS.repeat(200, 1), terms=200)
    null = float(result.prior_log_prob.mean()) / BIT
    x = model.sample(500, seed=0, steps=200)
    whole = (x[:, None] == BEATS).all(2).any(1).double().mean()
    print("bits per example     bound on -log p      K      K - L_null")
    print(f"the truth            {math.log2(5):15.4f}")
    print(f"best network         {bound_of_best:15.4f} {k_of_best:8.4f} {k_of_best - null:10.4f}")
    bound, k = (float(part.mean()) / BIT for part in (result.total, result.lower))
    print(f"this network         {bound:15.4f} {k:8.4f} {k - null:10.4f}   ± {float(result.std_error) / BIT:.4f}")
    print(f"of 500 samples, {float(whole):.1%} are heartbeats")
    return result


if __name__ == "__main__":
    report()
