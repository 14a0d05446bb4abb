"""`vltr_eval.patch()` replaces the known functions of other libraries by their drop-ins; see `patching.session.patch`.

``python -m vltr_eval.patch SCRIPT ARGS...`` runs a script under the patch. One name serves the module and the function,
so the module can be called.

Example:
    >>> import vltr_eval
    >>> with vltr_eval.patch(only=["sklearn"], quiet=True) as patched:
    ...     from sklearn.metrics import roc_auc_score
    ...     roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    >>> patched.summary().functions[0].calls
    1
"""

from __future__ import annotations

import sys
import types
from typing import Any

from vltr_eval.patching import Patched, Summary, VersionRefused, patch, unpatch

__all__ = ["Patched", "Summary", "VersionRefused", "patch", "unpatch"]


class _CallableModule(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Patched:
        return patch(*args, **kwargs)


if __name__ == "__main__":
    from vltr_eval.patching.program import main

    main()
else:
    sys.modules[__name__].__class__ = _CallableModule
