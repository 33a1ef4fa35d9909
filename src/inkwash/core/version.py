"""The version of the package, which a checkout on the path knows as well as an installed package does."""

__version__ = "0.1.0"
