#!/usr/bin/env bash
# diffusers 0.42.1, torch 2.13.0, numpy 2.4.6.
#
# Behaviour: `add_noise` of DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, UniPCMultistepScheduler and
# DEISMultistepScheduler reverses time until `set_timesteps` has been called: timestep 0 gets the noise of 999, and 999
# that of 0. A new scheduler lists its timesteps from 999 to 0 and its sigmas from the smallest to the largest, and
# `add_noise` looks for a timestep's place in the first list to read the second. Nothing warns.
#
# Expected: what DDPMScheduler.add_noise gives, which needs no `set_timesteps`; `add_noise` is what training calls, and
# training sets no timesteps. EulerDiscrete, Heun, LMS and SASolver give that.
#
# Output seen (noise over signal at the timesteps 0, 10, 500, 999):
#   DDPMScheduler                [0.01, 0.0469, 3.443, 157.4073]
#   DPMSolverMultistepScheduler  [157.4073, 142.3481, 3.4241, 0.01]
#   (the same for the three others)
#
# Who is hurt: whoever fine-tunes with the scheduler that a pipeline comes with, or noises data for tests of a network or
# for image-to-image by hand. The loss is finite and falls, and the network learns the noise of the wrong timesteps.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 diffusers==0.42.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PY'
import diffusers
import torch

t = torch.tensor([0, 10, 500, 999])


def ratios(name):
    """Noise over signal that a new scheduler adds."""
    scheduler = getattr(diffusers, name)(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    zeros, ones = torch.zeros(4, 1), torch.ones(4, 1)
    found = scheduler.add_noise(zeros, ones, t) / scheduler.add_noise(ones, zeros, t)
    print(f"{name:29s}{[round(each, 4) for each in found[:, 0].tolist()]}")
    return found[:, 0]


right = ratios("DDPMScheduler")
for kind in ("DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep"):
    wrong = ratios(f"{kind}Scheduler")
    assert torch.allclose(wrong[[0, 3]], right[[3, 0]], rtol=1e-3), kind
PY
