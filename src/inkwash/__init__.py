"""inkwash: diffusion models as what they are, probability distributions.

Names are listed in `__init__.pyi` and imported when they are first used, so that importing the package, or asking the
command line for help, costs nothing.
"""

import lazy_loader

from inkwash.core.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
