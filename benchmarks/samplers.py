"""Compare few-step samplers with those of diffusers and k-diffusion: `python benchmarks/samplers.py [RUN]`.

All share one denoiser, one schedule (DDPM's linear betas) and one set of starting points. Learned steps are learned on
trajectories from other points, for up to 20 evaluations. On two mixtures of normals
the denoiser is exact: deterministic samplers are compared with the exact flow from the same noise, and all samplers
with exact draws. With a run, they are compared with the trained denoiser's own flow in 1000 Heun steps.

Needs `pip install diffusers`, and `pip install --no-deps k-diffusion torchdiffeq torchsde trampoline`.
"""

import math
import sys
import time
import types
from collections.abc import Callable
from functools import partial

import diffusers
import torch
from torch import Tensor

import inkwash as iw

BUDGETS = (5, 10, 20, 50)
MOST_LEARNED = 20
LINEAR = iw.LinearSchedule()
GRIDS = [iw.UniformGrid(), iw.LogSnrGrid(), iw.KarrasGrid(), iw.AngleGrid()]
Estimator = Callable[[Tensor, float, float], Tensor]
"""x-hat from noisy data and its alpha and sigma."""
Walk = Callable[[Estimator, Tensor, int], Tensor]
"""Samples from an estimator, x_1 and a number of evaluations."""


class Mixture:
    """Normals with diagonal covariances, turned at random."""

    def __init__(self, size: int, seed: int) -> None:
        normal = partial(torch.randn, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.turn = torch.linalg.qr(normal(size, size))[0]
        self.weights = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
        self.means, self.vars = 0.9 * normal(5, size), torch.exp(normal(5, size) - 3)

    def draw(self, n: int, seed: int) -> Tensor:
        random = torch.Generator().manual_seed(seed)
        part = torch.multinomial(self.weights, n, replacement=True, generator=random)
        noise = torch.randn(n, self.means.shape[1], generator=random)
        return ((self.means[part] + self.vars[part].sqrt() * noise) @ self.turn).float()

    def __call__(self, x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        off = (x_t.double() @ self.turn.T)[:, None] - alpha * self.means
        var = alpha**2 * self.vars + sigma**2
        share = (self.weights.log() - (off**2 / var + var.log()).sum(-1) / 2).softmax(1)
        x = (share[..., None] * (self.means + alpha * self.vars / var * off)).sum(1) @ self.turn
        return x.to(x_t.dtype)


def denoiser(estimate: Estimator) -> iw.Denoiser:
    def network(x_t: Tensor, t: Tensor) -> Tensor:
        return estimate(x_t, float(LINEAR.alpha(t[0])), float(LINEAR.sigma(t[0])))

    return iw.Denoiser(network, iw.Gaussian(LINEAR), predicts="x")


def walk(
    sampler: iw.sample.Sampler, grid: iw.sample.Grid, cost: int, estimate: Estimator, x_1: Tensor, budget: int
) -> Tensor:
    """Our walk, in as many steps of `cost` evaluations as the budget allows; the last step always takes one."""
    times = grid.times(LINEAR, (budget + cost - 1) // cost)
    *_, (_, x) = sampler.trajectory(denoiser(estimate), x_1, times, torch.Generator().manual_seed(1))
    return x


def learned(flow: iw.model.FlowTrajectories, estimate: Estimator, x_1: Tensor, budget: int) -> Tensor:
    """Our walk by the steps learned on some trajectories."""
    sampler, _ = flow.learned(budget)
    *_, (_, x) = sampler.trajectory(denoiser(estimate), x_1, sampler.grid(), torch.Generator())
    return x


def of_diffusers(scheduler: type, options: dict[str, object], estimate: Estimator, x_1: Tensor, budget: int) -> Tensor:
    """The scheduler's walk; the denoiser receives the exact noise level that the scheduler means."""
    made = scheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear", **options)
    made.set_timesteps(budget)
    random, x = torch.Generator().manual_seed(1), x_1
    for i, t in enumerate(made.timesteps):
        kept = (
            float(made.alphas_cumprod[t])
            if scheduler is diffusers.DDIMScheduler
            else 1 / (1 + float(made.sigmas[i]) ** 2)
        )
        alpha, sigma = kept**0.5, (1 - kept) ** 0.5
        eps = (x - alpha * estimate(x, alpha, sigma)) / sigma
        noisy = {"generator": random} if "sde" in str(options.get("algorithm_type")) else {}
        x = made.step(eps, t, x, **noisy).prev_sample
    return x


def of_k_diffusion(name: str, grid: str, cost: int, estimate: Estimator, x_1: Tensor, budget: int) -> Tensor:
    sampling = k_diffusion()
    low, high = ((LINEAR.sigma(t) / LINEAR.alpha(t)).item() for t in (1 / 1000, 1.0))
    sigmas = getattr(sampling, f"get_sigmas_{grid}")((budget + cost - 1) // cost, low, high)
    random = torch.Generator().manual_seed(1)
    noise = {"noise_sampler": lambda *_: torch.randn(x_1.shape, generator=random)} if "sde" in name else {}

    def model(y: Tensor, sigma: Tensor) -> Tensor:
        alpha = float(1 / (1 + sigma[0] ** 2).sqrt())
        return estimate(alpha * y, alpha, alpha * float(sigma[0]))

    return getattr(sampling, f"sample_{name}")(model, x_1 * (1 + high**2) ** 0.5, sigmas, disable=True, **noise)


def k_diffusion() -> types.ModuleType:
    """Only its sampling module; it imports parts of torchvision for pictures, which are not used here."""
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules.setdefault(name, types.ModuleType(name)).__dict__.update(transforms=None, functional=None)
    if "k_diffusion" not in sys.modules:
        from importlib.util import find_spec

        package = types.ModuleType("k_diffusion")
        package.__path__ = list(find_spec("k_diffusion").submodule_search_locations)
        sys.modules["k_diffusion"] = package
    from k_diffusion import sampling

    return sampling


def spaced(scheduler: type, **options: object) -> list[Walk]:
    """A scheduler with each of its spacings."""
    ways: list[dict[str, object]] = [{"timestep_spacing": "linspace"}, {"timestep_spacing": "trailing"}]
    if scheduler is not diffusers.DDIMScheduler:
        ways += [{"use_karras_sigmas": True}, {"use_exponential_sigmas": True}]
        options = (
            {"final_sigmas_type": "zero", **options} if scheduler is not diffusers.DEISMultistepScheduler else options
        )
    else:
        options = {"clip_sample": False, "set_alpha_to_one": True, **options}
    return [partial(of_diffusers, scheduler, {**options, **way}) for way in ways]


def on_grids(sampler: iw.sample.Sampler, cost: int = 1) -> list[Walk]:
    return [partial(walk, sampler, grid, cost) for grid in GRIDS]


def on_sigmas(name: str, cost: int = 1) -> list[Walk]:
    return [partial(of_k_diffusion, name, grid, cost) for grid in ("karras", "exponential")]


SOLVER, UNIPC = diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler
DETERMINISTIC: dict[str, list[Walk]] = {
    "ours: DDIM": on_grids(iw.DDIM()),
    "ours: Heun": on_grids(iw.Heun(), 2),
    "ours: SingleStep(3)": on_grids(iw.SingleStep(3), 3),
    "ours: DPMSolver(2)": on_grids(iw.DPMSolver(2)),
    "ours: DPMSolver(3)": on_grids(iw.DPMSolver(3)),
    "ours: DPMSolver(3, corrector)": on_grids(iw.DPMSolver(3, corrector=True)),
    "ours: IPNDM(4)": on_grids(iw.IPNDM(4)),
    "ours: Adams(2, corrector=False)": on_grids(iw.Adams(2, corrector=False)),
    "ours: Adams(2)": on_grids(iw.Adams(2)),
    "ours: Adams(3)": on_grids(iw.Adams(3)),
    "diffusers: DDIM": spaced(diffusers.DDIMScheduler),
    "diffusers: DPM-Solver++ 2M": spaced(SOLVER, solver_order=2),
    "diffusers: DPM-Solver++ 3M": spaced(SOLVER, solver_order=3),
    "diffusers: UniPC 2": spaced(UNIPC, solver_order=2),
    "diffusers: UniPC 3": spaced(UNIPC, solver_order=3),
    "diffusers: DEIS 3": spaced(diffusers.DEISMultistepScheduler, solver_order=3),
    "k-diffusion: heun": on_sigmas("heun", 2),
    "k-diffusion: dpm_2": on_sigmas("dpm_2", 2),
    "k-diffusion: lms": on_sigmas("lms"),
    "k-diffusion: dpmpp_2m": on_sigmas("dpmpp_2m"),
}
STOCHASTIC: dict[str, list[Walk]] = {
    "ours: Ancestral": on_grids(iw.Ancestral()),
    "ours: DPMSolver(1, eta=1)": on_grids(iw.DPMSolver(1, eta=1.0)),
    "ours: DPMSolver(2, eta=1)": on_grids(iw.DPMSolver(2, eta=1.0)),
    "ours: DPMSolver(2, eta=1, corrector)": on_grids(iw.DPMSolver(2, eta=1.0, corrector=True)),
    "diffusers: SDE-DPM-Solver++ 2M": spaced(SOLVER, solver_order=2, algorithm_type="sde-dpmsolver++"),
    "k-diffusion: dpmpp_2m_sde": on_sigmas("dpmpp_2m_sde"),
    "k-diffusion: dpmpp_3m_sde": on_sigmas("dpmpp_3m_sde"),
}


def relative(x: Tensor, exact: Tensor) -> float:
    """Root mean square error over the standard deviation."""
    return float((x - exact).pow(2).mean().sqrt() / exact.std())


def sliced(x: Tensor, y: Tensor) -> float:
    """Sliced Wasserstein distance of order 1 between equally many points, over 128 directions."""
    ways = torch.randn(x.shape[1], 128, generator=torch.Generator().manual_seed(2))
    ways /= ways.norm(dim=0)
    return float(((x @ ways).sort(0).values - (y @ ways).sort(0).values).abs().mean())


def moments(x: Tensor, y: Tensor) -> float:
    """Distance of the means and of the covariances (Frobenius), over those of y."""
    return float((x.mean(0) - y.mean(0)).norm() / y.mean(0).norm() + (x.T.cov() - y.T.cov()).norm() / y.T.cov().norm())


Ends = dict[str, list[list[Tensor]]]
"""By sampler, for each budget, where the walks on its grids end."""


def ends(walks: dict[str, list[Walk]], estimate: Estimator, x_1: Tensor) -> Ends:
    return {name: [[way(estimate, x_1, n) for way in ways] for n in BUDGETS] for name, ways in walks.items()}


def learned_ends(estimate: Estimator, x_1: Tensor) -> Ends:
    flow = iw.model.flow_trajectories(iw.Diffusion(denoiser(estimate), x_1.shape[1:]), seed=1)
    return {"ours: learned": [[learned(flow, estimate, x_1, n)] if n <= MOST_LEARNED else [] for n in BUDGETS]}


def table(title: str, found: Ends, error: Callable[[Tensor], float]) -> None:
    """Each sampler's smallest error over its grids, at each budget."""
    print(f"\n{title}\n{'evaluations':38s}" + "".join(f"{n:>11d}" for n in BUDGETS))
    rows = {name: [min(map(error, each), default=math.inf) for each in budgets] for name, budgets in found.items()}
    for name, errors in rows.items():
        print(f"{name:38s}" + "".join(f"{e:11.2e}" for e in errors))
    ours, theirs = ([r for n, r in rows.items() if n.startswith("ours") == mine] for mine in (True, False))
    best = [min(o) / min(t) for o, t in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True)]
    print(f"{'our best over the best peer':38s}" + "".join(f"{ratio:11.2f}" for ratio in best), flush=True)


def exact_flow(estimate: Estimator, x_1: Tensor) -> Tensor:
    return iw.likelihood.transport(denoiser(estimate), x_1, 1.0, 0.0, solver=iw.Fixed(300)).float()


def on_mixture(size: int) -> None:
    data = Mixture(size, seed=size)
    x_1 = torch.randn(500, size, generator=torch.Generator().manual_seed(0))
    exact, fresh = exact_flow(data, x_1), data.draw(500, 3)
    found = ends(DETERMINISTIC, data, x_1) | learned_ends(data, x_1)
    table(f"{size}-D mixture: error of the end point", found, partial(relative, exact=exact))
    found |= ends(STOCHASTIC, data, x_1)
    for name, distance in (("sliced Wasserstein", sliced), ("moments", moments)):
        floor = distance(data.draw(500, 4), fresh)
        table(f"{size}-D mixture: {name}; exact draws have {floor:.2e}", found, partial(distance, y=fresh))


def on_run(path: str) -> None:
    model = iw.load(path)
    x_1 = torch.randn(16, *model.shape, generator=torch.Generator().manual_seed(0))

    def estimate(x_t: Tensor, alpha: float, sigma: float) -> Tensor:
        t = LINEAR.time(2 * torch.tensor(alpha / sigma).log())
        return model.denoiser(x_t, t).x

    with torch.no_grad():
        exact = walk(iw.Heun(), iw.KarrasGrid(), 2, estimate, x_1, 1999)
        found = ends(DETERMINISTIC, estimate, x_1) | learned_ends(estimate, x_1)
        table(f"{path}: error of the end point", found, partial(relative, exact=exact))


def overhead() -> None:
    """Processor time of a step beyond the network, in microseconds."""
    x, steps = torch.randn(16, 3, 32, 32), 50
    eps, times = torch.randn_like(x), iw.UniformGrid().times(LINEAR, steps)
    process = iw.Gaussian(LINEAR)
    estimate = iw.Denoiser(lambda x_t, t: eps, process)(x, 0.5)

    class Still:
        """A network that returns at once."""

        def __init__(self) -> None:
            self.process = process

        def __call__(self, x_t: Tensor, t: Tensor) -> iw.process.Estimate:
            return estimate

    def ours(sampler: iw.sample.Sampler) -> None:
        for _ in sampler.trajectory(Still(), x, times, torch.Generator()):
            pass

    def theirs(scheduler: type) -> None:
        made = scheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
        made.set_timesteps(steps)
        for t in made.timesteps:
            made.step(eps, t, x)

    print("\nprocessor time of a step beyond the network, microseconds (16 pictures of 3 x 32 x 32)")
    for sampler in (iw.DDIM(), iw.DPMSolver(2), iw.DPMSolver(3, corrector=True), iw.Adams()):
        print(f"ours: {sampler!s:50s}{least(partial(ours, sampler)) / steps * 1e6:8.0f}")
    for scheduler in (diffusers.DDIMScheduler, SOLVER, UNIPC, diffusers.DEISMultistepScheduler):
        print(f"diffusers: {scheduler.__name__:45s}{least(partial(theirs, scheduler)) / steps * 1e6:8.0f}")


def least(work: Callable[[], None]) -> float:
    """Processor time of the fastest of ten runs."""
    spent = []
    for _ in range(10):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


if __name__ == "__main__":
    torch.set_num_threads(1)
    overhead()
    for size in (2, 64):
        on_mixture(size)
    for path in sys.argv[1:]:
        on_run(path)
