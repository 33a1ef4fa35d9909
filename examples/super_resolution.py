"""From 4 x 4 to 8 x 8 pixels: sample digits given the means over their blocks, and compare with bilinear interpolation.

The mean of many draws estimates the digit, and their spread shows how far to trust it. The central 90 % interval of the
draws should hold the true pixel nine times out of ten. A pixel counts where the draws and the truth are not all equal.
"""

import numpy as np
import torch

import inkwash as iw
from inkwash.evaluation.calibration import coverage, crps

run = iw.train("digits", out="runs/large-digits", data=iw.DataConfig(shrink=2), train=iw.TrainConfig(steps=300))
data, held_out = run.dataset(), run.split()[1][:64]
x, small = data.data[held_out].astype(float), data.conditions(held_out)["given"]

draws_each = 16
draws = run.model().sample(draws_each * len(x), given=np.repeat(small, draws_each, axis=0), seed=0, steps=25)
draws = draws.reshape(len(x), draws_each, *x.shape[1:]).astype(float)
bilinear = torch.nn.functional.interpolate(torch.from_numpy(small), scale_factor=2, mode="bilinear").numpy()


def psnr(guess: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pixels, dB; the peak is 16."""
    return float(10 * np.log10(16**2 / np.mean((guess - x) ** 2)))


flat, truth = draws.swapaxes(0, 1).reshape(draws_each, -1), x.ravel()
held = coverage(flat, truth, 0.9)[(flat != truth).any(0)]
back = draws.reshape(*draws.shape[:3], 4, 2, 4, 2).mean((4, 6))
print(f"PSNR        mean draw {psnr(draws.mean(1)):.2f} dB, bilinear {psnr(bilinear):.2f} dB")
print(f"CRPS        {crps(flat, truth).mean():.3f} grey levels; of bilinear alone, {abs(bilinear - x).mean():.3f}")
print(f"coverage    {held.mean():.3f} of the open pixels within the central 90 %")
print(f"blocks      of a draw differ from those given by {np.sqrt(np.mean((back - small[:, None]) ** 2)):.3f}, rms")
