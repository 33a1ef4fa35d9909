#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0, numpy 2.4.6.
#
# Behaviour: with `timestep_spacing="trailing"`, `set_timesteps(n)` gives n + 1 timesteps for 62 of the n from 1 to 1000
# (61, 103, 121, …, 998), and the last of them is -1. `arange(1000, 0, -1000 / n)` ends at a number that rounding has left
# just above 0; the schedulers then subtract 1. DDIM reads `alphas_cumprod[-1]`, the noisiest level, at this last step.
#
# Expected: n timesteps, the last of them about 1000 / n - 1.
#
# Output seen:
#   numbers of steps with one too many: 62, the first [61, 103, 121], last timestep -1
#   DDIM on N(1.5, 0.5^2): 60 steps end with mean 1.46, std 0.49; 61 steps with mean 231.34, std 75.93
#
# Who is hurt: whoever samples in one of these numbers of steps from a model with zero terminal SNR, whose authors
# recommend this spacing: the samples are noise of a huge scale, and nothing warns. A sweep over the number of steps, such
# as a table of quality against cost, meets some of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import torch
from diffusers import DDIMScheduler

scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing", clip_sample=False)
odd = []
for n in range(1, 1001):
    scheduler.set_timesteps(n)
    if len(scheduler.timesteps) != n:
        assert (len(scheduler.timesteps), int(scheduler.timesteps[-1])) == (n + 1, -1)
        odd.append(n)
print(f"numbers of steps with one too many: {len(odd)}, the first {odd[:3]}, last timestep -1")
assert len(odd) == 62


def ends(steps):
    """Mean and standard deviation of samples by the exact noise of N(1.5, 0.25) data."""
    scheduler.set_timesteps(steps)
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        bar = scheduler.alphas_cumprod[int(t)] if t >= 0 else torch.tensor(1.0)
        eps = (1 - bar).sqrt() * (x - bar.sqrt() * 1.5) / (bar * 0.25 + 1 - bar)
        x = scheduler.step(eps, t, x).prev_sample
    return float(x.mean()), float(x.std())


right, wrong = ends(60), ends(61)
print(
    f"DDIM on N(1.5, 0.5^2): 60 steps end with mean {right[0]:.2f}, std {right[1]:.2f}; "
    f"61 steps with mean {wrong[0]:.2f}, std {wrong[1]:.2f}"
)
assert abs(right[0] - 1.5) < 0.1
assert wrong[1] > 10
PY
