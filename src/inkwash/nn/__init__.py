"""Networks: plain modules `net(x_t, level, **condition) -> tensor` that know no probability."""

from inkwash.nn.layers import GivenEmbedding, LabelEmbedding
from inkwash.nn.levels import LevelNet
from inkwash.nn.mlp import MLP, perceptron
from inkwash.nn.unet import UNet

__all__ = ["MLP", "GivenEmbedding", "LabelEmbedding", "LevelNet", "UNet", "perceptron"]
