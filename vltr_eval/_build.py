"""What this build is and what it runs on. The first to import the core, and so the place to explain a missing one."""

from __future__ import annotations

try:
    from vltr_eval import _core
except ImportError as error:
    raise ImportError(
        "vltr_eval: expected the compiled core beside this package, found none; install with 'pip install .' and run "
        f"outside the source tree, or install it editable with 'pip install -e .' ({error})"
    ) from None

from vltr_eval.arrays import num_threads

__all__ = ["build_info"]


def build_info() -> dict[str, object]:
    """Version, compiler, CUDA build, instruction sets, and the threads a call uses by default."""
    return {**_core.build_info(), "threads": num_threads()}
