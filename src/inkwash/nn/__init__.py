"""Networks are plain modules `net(x_t, level, **condition) -> tensor` that know no probability."""

from inkwash.core.config import NetworkName
from inkwash.nn.autoencoder import AutoencoderOptions, Decoder, Encoder, LevelDecoder
from inkwash.nn.columns import ColumnTransformer, ColumnTransformerOptions
from inkwash.nn.dit import DiT, DiTOptions
from inkwash.nn.layers import GivenEmbedding, LabelEmbedding
from inkwash.nn.levels import LevelHead, LevelNet, MixtureNet
from inkwash.nn.mlp import MLP, MLPOptions, perceptron
from inkwash.nn.options import NetworkOptions
from inkwash.nn.tables import TableNet
from inkwash.nn.times import TimeNet
from inkwash.nn.unet import UNet, UNetOptions

__all__ = [
    "MLP",
    "NETWORKS",
    "AutoencoderOptions",
    "ColumnTransformer",
    "Decoder",
    "DiT",
    "Encoder",
    "GivenEmbedding",
    "LabelEmbedding",
    "LevelDecoder",
    "LevelHead",
    "LevelNet",
    "MixtureNet",
    "TableNet",
    "TimeNet",
    "UNet",
    "perceptron",
]

NETWORKS: dict[NetworkName, type[NetworkOptions]] = {
    "unet": UNetOptions,
    "dit": DiTOptions,
    "mlp": MLPOptions,
    "transformer": ColumnTransformerOptions,
}
"""Options of the networks by the name that the command line knows them by; the first one for places, and the first one
for vectors, are the defaults."""
