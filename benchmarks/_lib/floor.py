"""The floor: what reading the score matrix once, on the same threads, costs on this machine.

No evaluation that looks at every score can be faster. The read is the core's own (`_core.read_floor`), so the thread
pool and the thread count are those of the operations judged against it.
"""

from __future__ import annotations

import time

import numpy as np


def read_floor(scores: np.ndarray, threads: int) -> float:
    """Seconds that one plain multi-threaded read of a C-contiguous matrix takes."""
    from vltr_eval._base import _core

    start = time.perf_counter()
    _core.read_floor(scores.ctypes.data, scores.nbytes, threads)
    return time.perf_counter() - start
