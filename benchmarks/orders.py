"""Fit the orders of the deterministic samplers on a mixture of two normals, whose denoiser is exact.

    python benchmarks/orders.py --steps 320 640

Each walk is compared with the exact flow from the same 64 points of noise, once where its grid is cut off at time 0.05,
and once at time 0. Prints the root mean square error for the most steps, and the order that two numbers of steps imply.
"""

import argparse
import math

import torch
from torch import Tensor

import inkwash as iw

SCHEDULE = iw.LinearSchedule()
WEIGHTS, MEANS, VARS = (torch.tensor(v, dtype=torch.float64) for v in ((0.3, 0.7), (-2.0, 1.0), (0.25, 0.09)))
GRIDS = {"log-snr": iw.LogSnrGrid(), "karras": iw.KarrasGrid(), "uniform": iw.UniformGrid(), "angle": iw.AngleGrid()}
SAMPLERS = [
    iw.DDIM(),
    iw.Heun(),
    iw.SingleStep(2),
    iw.SingleStep(3),
    *(iw.DPMSolver(order, corrector=c) for c in (False, True) for order in (2, 3)),
    *(iw.Adams(order, corrector=c) for c in (False, True) for order in (2, 3, 4)),
    *(iw.IPNDM(order) for order in (2, 3, 4)),
]
START = torch.randn(64, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LATE = 0.05


def network(x_t: Tensor, t: Tensor) -> Tensor:
    """The mean of x given x_t."""
    alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
    off, var = x_t - alpha * MEANS, alpha**2 * VARS + sigma**2
    share = (WEIGHTS.log() - (off**2 / var + var.log()) / 2).softmax(1)
    return (share * (MEANS + alpha * VARS / var * off)).sum(1, keepdim=True)


DENOISER = iw.Denoiser(network, iw.Gaussian(SCHEDULE), predicts="x")


def times_of(grid: iw.sample.Grid, steps: int, stop: float) -> Tensor:
    """The grid's times; or as many that are as the grid's down to a time above 0."""
    if stop == 0:
        return grid.times(SCHEDULE, steps)
    if isinstance(grid, iw.UniformGrid):
        return torch.linspace(1, stop, steps + 1, dtype=torch.float64)
    return grid.times(SCHEDULE, steps + 1, round(1 / stop))[:-1]


def error(sampler: iw.sample.Sampler, times: Tensor, exact: Tensor) -> float:
    *_, (_, x) = sampler.trajectory(DENOISER, START, times, torch.Generator())
    return float((x - exact).pow(2).mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs=2, default=(320, 640))
    few, many = parser.parse_args().steps
    for stop in (LATE, 0.0):
        exact = iw.likelihood.transport(DENOISER, START, 1.0, stop, solver=iw.Fixed(2000))
        print(f"\n{f'to time {stop}':<50}" + "".join(f"{name:>18}" for name in GRIDS))
        for sampler in SAMPLERS:
            pairs = [[error(sampler, times_of(grid, n, stop), exact) for n in (few, many)] for grid in GRIDS.values()]
            orders = [math.log(a / b) / math.log(many / few) for a, b in pairs]
            cells = "".join(f"{b:11.1e} ({order:4.2f})" for (_, b), order in zip(pairs, orders, strict=True))
            print(f"{sampler!s:<50}{cells}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
