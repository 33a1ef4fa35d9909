"""The version of the package; a checkout on the path knows it as an installed one does."""

__version__ = "0.1.0"
