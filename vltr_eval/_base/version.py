"""The version, as the compiled core was built with."""

from vltr_eval._base._core import __version__

__all__ = ["__version__"]
