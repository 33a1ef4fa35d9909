"""Laws of a few numbers, what may be known of them, and the products of both."""

from oracles import (
    F64,
    GaussianData,
    exact_denoiser,
)

import inkwash as iw

LINEAR = iw.LinearSchedule()
SPACE = GaussianData([1.5, -0.7, 0.4], [[2.0, 0.9, -0.3], [0.9, 0.6, 0.1], [-0.3, 0.1, 0.8]])


def real_model(data=SPACE, schedule=LINEAR, variance="small"):
    return iw.Diffusion(exact_denoiser(data, schedule, variance), (data.size,), dtype=F64)
