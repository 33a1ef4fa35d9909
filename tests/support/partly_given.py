"""A normal law of numbers of which some are given."""

import torch
from oracles import GaussianData, tensor

MEAN, COV = (
    tensor([-1.0, 0.5, 3.0, -2.0]),
    tensor([[1.0, 0.3, 0.9, 0.2], [0.3, 0.6, 0.1, -0.7], [0.9, 0.1, 2.0, 0.4], [0.2, -0.7, 0.4, 1.5]]),
)
"""Of x, the first two, and what is given, the others: jointly normal."""
GAIN = torch.linalg.solve(COV[2:, 2:], COV[2:, :2]).T
WHOLE, LEFT = GaussianData(MEAN[:2].tolist(), COV[:2, :2].tolist()), COV[:2, :2] - GAIN @ COV[2:, :2]


def part(y):
    """The law of x given y."""
    return GaussianData((MEAN[:2] + GAIN @ (tensor(y) - MEAN[2:])).tolist(), LEFT.tolist())
