"""Small data, and options that are usual for it."""

from typing import get_args, get_type_hints

from inkwash.data.spec import DataSpec


def image(*shape, levels=256):
    return DataSpec(shape, "NCHW", "uint8" if levels else "float32", 0.0, 255.0, levels)


def vector(size, levels=None):
    return DataSpec((size,), "ND", "float32", -1.0, 1.0, levels)


def options(section, field):
    """The names that an option of a config may take."""
    return get_args(get_args(get_type_hints(section)[field])[0])


def usual(kind, spec):
    """A kind of network, or the transformer that goes with the shape."""
    return kind and ("dit" if spec.size else "transformer")
