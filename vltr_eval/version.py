"""The version, as the compiled core was built with."""

from vltr_eval import _core

__version__: str = _core.build_info()["version"]
