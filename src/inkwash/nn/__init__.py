"""Networks are plain modules `net(x_t, level, **condition) -> tensor` that know no probability."""

from inkwash.nn.columns import ColumnTransformer
from inkwash.nn.dit import DiT
from inkwash.nn.layers import GivenEmbedding, LabelEmbedding
from inkwash.nn.levels import LevelNet
from inkwash.nn.mlp import MLP, perceptron
from inkwash.nn.tables import TableNet
from inkwash.nn.unet import UNet

__all__ = [
    "MLP",
    "ColumnTransformer",
    "DiT",
    "GivenEmbedding",
    "LabelEmbedding",
    "LevelNet",
    "TableNet",
    "UNet",
    "perceptron",
]
