"""The patch: known functions of other libraries replaced by their drop-ins at run time, and put back exactly.

`vltr_eval.patch` and `vltr_eval.unpatch` are its functions, and ``python -m vltr_eval.patch SCRIPT`` its program.
"""

from __future__ import annotations

from vltr_eval.patching.session import Patched, VersionRefused, patch, unpatch
from vltr_eval.patching.summary import FunctionSummary, Summary

__all__ = ["FunctionSummary", "Patched", "Summary", "VersionRefused", "patch", "unpatch"]
