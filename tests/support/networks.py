"""Small networks of every kind, and a few steps of training."""

import torch

import inkwash as iw


def unet(channels=1, **options):
    torch.manual_seed(0)
    options = {"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "attention": (False, False, True), **options}
    return iw.UNet(channels, **options)


def mlp(size=6, **options):
    torch.manual_seed(0)
    return iw.MLP(size, **{"width": 16, "depth": 2, **options})


def dit(channels=1, patch=(2, 2), **options):
    torch.manual_seed(0)
    return iw.DiT(channels, patch, **{"width": 16, "depth": 2, **options})


def columns(inputs=(1, 3, 2), **options):
    torch.manual_seed(0)
    return iw.nn.ColumnTransformer(inputs, **{"width": 16, "depth": 2, **options})


def batch(shape, n=6, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=random), 10 * torch.randn(n, generator=random)


def trained(network, shape, steps=3):
    """A few steps away from its start, so that every branch does something."""
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    x_t, level = batch(shape, seed=1)
    for _ in range(steps):
        optimizer.zero_grad()
        ((network(x_t, level) - x_t.flip(0)) ** 2).mean().backward()
        optimizer.step()
    return network.eval()
