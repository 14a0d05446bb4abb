"""Compressed .npz files, with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vltr_eval._base.progress import Progress

__all__ = ["write_npz"]


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], progress: Progress | None = None) -> None:
    """Write the bytes that `numpy.savez_compressed` writes.

    Args:
        path: The file.
        arrays: The arrays by name.
        progress: Called with the fraction of the bytes that is written.
    """
    import zipfile  # not above: few programs write a table, and it loads threading

    total = sum(array.nbytes for array in arrays.values())
    done = 0

    def count(num_bytes: int) -> None:
        nonlocal done
        done += num_bytes
        if progress is not None and total:
            progress(min(1.0, done / total))  # a header counts as well, so that the sum may be larger

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                # numpy writes a large array in parts of 16 MiB.
                np.lib.format.write_array(_Counted(member, count), array, allow_pickle=False)


class _Counted:
    """A file that tells how many bytes each call wrote."""

    def __init__(self, file: Any, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def write(self, data: bytes) -> int:
        written: int = self._file.write(data)
        self._count(len(data))
        return written
