"""Models out of inkwash and into it: exported files, and repositories of the Hugging Face Hub."""

from inkwash.bridges.exporting import export as export
from inkwash.bridges.hub import push as push
