"""The floor: the time of one read of the score matrix on this machine, with the same threads.

No evaluation that reads every score can be faster. The core performs the read (`_core.read_floor`), so it uses the
thread pool and the thread count of the measured operations.
"""

from __future__ import annotations

import time

import numpy as np


def read_floor(scores: np.ndarray, threads: int) -> float:
    """Return the seconds of one multi-threaded read of a C-contiguous matrix."""
    from vltr_eval._base import _core

    start = time.perf_counter()
    _core.read_floor(scores.ctypes.data, scores.nbytes, threads)
    return time.perf_counter() - start
