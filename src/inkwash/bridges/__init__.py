"""Models of other libraries as models of inkwash, and models of inkwash for other libraries and for the Hub."""

from inkwash.bridges.exporting import export
from inkwash.bridges.hub import push

__all__ = ["export", "push"]
