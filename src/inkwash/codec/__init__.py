"""Examples as bytes under a model, as long as its variational bound, and back."""

from inkwash.codec.cells import Cells
from inkwash.codec.scheme import MODES, ModeName, Scheme, scheme_of

__all__ = ["MODES", "Cells", "ModeName", "Scheme", "scheme_of"]
