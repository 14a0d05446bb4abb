"""Facts about this build. The package imports this module first, so that a missing core is explained here."""

from __future__ import annotations

from vltr_eval._base.missing_core import why_no_core

try:
    from vltr_eval._base import _core
except ImportError as error:
    raise ImportError(why_no_core(error)) from None

from vltr_eval._base.arrays import num_threads

__all__ = ["build_info", "devices"]


def build_info() -> dict[str, object]:
    """Version, compiler, CUDA build, instruction sets, and the threads a call uses by default."""
    return {**_core.build_info(), "threads": num_threads()}


def devices() -> str:
    """The number of CUDA devices that this process can use, or why it can use none."""
    count = _core.device_count()
    return str(count) if count else f"none: {_core.why_no_device()}"
