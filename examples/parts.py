"""A model built from its parts, with every answer known: the exact denoiser of a mixture of Gaussians.

Any callable is a network. This one computes E[x | x_t] in closed form, so you can compare the results of
the samplers and the bound with the true density. Run it with `python examples/parts.py`; it needs no data and no
training.
"""

import torch

import inkwash as iw

MEANS = torch.tensor([[-1.5, 0.0], [1.0, 1.2], [1.0, -1.2]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
STD = 0.3

schedule = iw.CosineSchedule()
process = iw.Gaussian(schedule)


def log_joint(x: torch.Tensor, scale: torch.Tensor, var: torch.Tensor) -> torch.Tensor:
    """log(w_k N(x; scale m_k, var I)) of every component: shape (B, 3); `scale` and `var` are (B,) or ()."""
    distance = ((x[:, None] - scale.reshape(-1, 1, 1) * MEANS) ** 2).sum(-1)
    return WEIGHTS.log() - 0.5 * distance / var.reshape(-1, 1) - torch.log(2 * torch.pi * var.reshape(-1, 1))


def network(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """E[x | x_t]: each component's posterior mean, weighted by how likely the component is."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    var = (alpha * STD) ** 2 + sigma**2
    weight = log_joint(x_t, alpha, var).softmax(1)[..., None]
    gain = (alpha * STD**2 / var)[:, None, None]
    return (weight * (MEANS + gain * (x_t[:, None] - alpha[:, None, None] * MEANS))).sum(1)


def build(variance: str) -> iw.Diffusion:
    """The model; without a transform it takes and returns tensors."""
    return iw.Diffusion(iw.Denoiser(network, process, "x", variance), shape=(2,), dtype=torch.float64)


model = build("large")

# Fresh draws of the mixture itself, and their true negative log-likelihood.
generator = torch.Generator().manual_seed(0)
component = torch.multinomial(WEIGHTS, 1000, replacement=True, generator=generator)
data = MEANS[component] + STD * torch.randn(1000, 2, generator=generator, dtype=torch.float64)
zero = torch.zeros((), dtype=torch.float64)
nll = -log_joint(data, zero + 1, zero + STD**2).logsumexp(1)

# The true moments of the mixture, and samples to compare with them.
mean = WEIGHTS @ MEANS
cov = (MEANS - mean).T @ (WEIGHTS[:, None] * (MEANS - mean)) + STD**2 * torch.eye(2, dtype=torch.float64)
samples = {
    "Ancestral, 200 steps": model.sample(4096, seed=0, steps=200),
    "DDIM, 200 steps": model.sample(4096, seed=0, sampler=iw.DDIM(), steps=200),
    "DDIM, 10 steps": model.sample(4096, seed=0, sampler=iw.DDIM(), steps=10),
}

# The bound with all its terms, one draw of noise each. With the large variance it approaches the truth as the grid is
# refined; with the small one a gap remains, because the true reverse kernel near the data is wider than the posterior.
bounds = {
    (variance, steps): build(variance).bound(data, steps=steps, seed=1).total
    for variance in ("large", "small")
    for steps in (10, 50, 250)
}

if __name__ == "__main__":
    print(f"{'':22}mean x  mean y  var x  var y   cov")
    rows = {"the mixture": (mean, cov), **{name: (x.mean(0), x.T.cov()) for name, x in samples.items()}}
    for name, (m, c) in rows.items():
        print(f"{name:22}{m[0]:6.3f}  {m[1]:6.3f}  {c[0, 0]:5.3f}  {c[1, 1]:5.3f}  {c[0, 1]:6.3f}")
    print(f"\ntrue -log p(x)            {nll.mean():.3f} nats")
    for (variance, steps), total in bounds.items():
        gap = total - nll
        error = gap.std() / len(gap) ** 0.5
        print(f"bound, {variance}, {steps:3} steps  {total.mean():.3f}  above by {gap.mean():.3f} ± {error:.3f}")
