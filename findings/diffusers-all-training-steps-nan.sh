#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0, numpy 2.4.6.
#
# Behaviour: four multistep schedulers (DPMSolverMultistep, UniPCMultistep, DEISMultistep, SASolver) return NaN when they
# are asked for as many steps as they were trained with, under their own defaults. `set_timesteps(1000)` rounds 1001
# evenly spaced numbers from 0 to 999 and keeps 1000 of them, so that the time 500 stands in the list twice. The step
# from 500 to 500 has length zero in log-SNR, and the method of second order divides by that length. 999 steps are fine.
#
# Expected: 1000 different times for 1000 steps, or an error; DDIMScheduler gives 1000 different ones.
#
# Output seen:
#   DPMSolverMultistepScheduler 999 steps: times that stand twice [], finite True
#   DPMSolverMultistepScheduler 1000 steps: times that stand twice [500], finite False
#   (the same for the three others)
#   DDIMScheduler 1000 steps: times that stand twice [], finite True
#
# Who is hurt: whoever takes "all steps" as the reference that fewer steps are compared with, which is the natural
# choice in a table of samplers; at 1000 steps such a table has no number, and no warning says why.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    SASolverScheduler,
    UniPCMultistepScheduler,
)


def walk(kind, steps):
    """The times that stand twice in the list, and whether the walk with the exact noise of N(0, 1) data is finite."""
    scheduler = kind(num_train_timesteps=1000)
    scheduler.set_timesteps(steps)
    times, x = scheduler.timesteps, torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for t in times:
        eps = (1 - scheduler.alphas_cumprod[int(t)]).sqrt() * x
        x = scheduler.step(eps, t, x).prev_sample
    twice = times[1:][times[1:] == times[:-1]].tolist()
    print(f"{kind.__name__} {steps} steps: times that stand twice {twice}, finite {bool(x.isfinite().all())}")
    return twice, bool(x.isfinite().all())


for kind in (DPMSolverMultistepScheduler, UniPCMultistepScheduler, DEISMultistepScheduler, SASolverScheduler):
    assert walk(kind, 999) == ([], True), kind
    assert walk(kind, 1000) == ([500], False), kind
assert walk(DDIMScheduler, 1000) == ([], True)
PY
