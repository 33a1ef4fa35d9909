"""Examples as bytes under a model, as long as its variational bound, and back."""

from inkwash.codec.archive import Content, Header, Reader, compress, decompress, pack
from inkwash.codec.cells import Cells
from inkwash.codec.forms import Form
from inkwash.codec.marks import Marks
from inkwash.codec.scheme import MODES, ModeName, Scheme, coding, scheme_of

__all__ = [
    "MODES",
    "Cells",
    "Content",
    "Form",
    "Header",
    "Marks",
    "ModeName",
    "Reader",
    "Scheme",
    "coding",
    "compress",
    "decompress",
    "pack",
    "scheme_of",
]
