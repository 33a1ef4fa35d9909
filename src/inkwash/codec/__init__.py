"""Examples as bytes under a model, as long as its variational bound, and back; or shorter, with loss."""

from inkwash.codec.archive import Content, Header, Reader, compress, decompress, pack
from inkwash.codec.cells import Cells
from inkwash.codec.forms import Form
from inkwash.codec.loss import Loss
from inkwash.codec.marks import Marks
from inkwash.codec.scheme import MODES, ModeName, Scheme, coding, scheme_of
from inkwash.codec.stage import Stage, progressive

__all__ = [
    "MODES",
    "Cells",
    "Content",
    "Form",
    "Header",
    "Loss",
    "Marks",
    "ModeName",
    "Reader",
    "Scheme",
    "Stage",
    "coding",
    "compress",
    "decompress",
    "pack",
    "progressive",
    "scheme_of",
]
