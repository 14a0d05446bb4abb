"""Arrays that are stored in compressed chunks, decoded on several threads into memory or into a temporary file.

A small array is decoded into memory. A large one is decoded into a temporary file without a name, which is mapped: the
pages of the file can leave memory, so an array may be larger than memory. Either way each chunk is decoded once, and
the result is an ordinary read-only array, so an evaluation has the same bits as one of a .npy file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np

from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import InputError
from vltr_eval._base.progress import Progress
from vltr_eval.formats.sources import Source

IN_MEMORY = 256 << 20  # bytes that are always decoded into memory
BLOCK = 64 << 20  # bytes that are read at a time where a library decodes
MAX_CHUNK = 1 << 30  # bytes of one chunk; each thread decodes one

_Task = TypeVar("_Task")


def decode(
    source: Source,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    tasks: Iterable[_Task],
    num_tasks: int,
    fill: Callable[[np.ndarray, _Task], None],
    *,
    value: Any = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Return the array that tasks fill, each of them a part.

    Args:
        source: The file, for messages.
        shape: The shape of the array.
        dtype: Its dtype, in native byte order.
        tasks: The parts, such as the positions of chunks. Together they cover the array unless there is a value.
        num_tasks: How many there are, for the progress.
        fill: Called on several threads with the array and a task.
        value: The value of the cells that no task fills; None where the tasks cover the array.
        progress: Called with the share of the tasks that is done.
        threads: How many threads; all cores by default.

    Raises:
        InputError: No room for the array in the folder of temporary files.
    """
    array = _allocate(source, tuple(shape), dtype)
    if value is not None:
        array[...] = value
    run(tasks, num_tasks, lambda task: fill(array, task), progress=progress, threads=threads)
    array.flags.writeable = False
    return array


def run(
    tasks: Iterable[_Task],
    num_tasks: int,
    work: Callable[[_Task], None],
    *,
    progress: Progress | None = None,
    threads: int | None = None,
) -> None:
    """Do the tasks on some threads, with at most two a thread in flight; the first error ends the rest.

    One task is done on another thread too: h5py ends its calls in a callback of a weak reference, where Python would
    drop the KeyboardInterrupt of a Ctrl-C. The main thread waits and takes it.
    """
    count = min(num_threads(threads), max(1, num_tasks))
    from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait  # not above: they load threading

    with ThreadPoolExecutor(count) as pool:
        waiting: set[Future[None]] = set()
        done = 0
        try:
            for task in tasks:
                waiting.add(pool.submit(work, task))
                if len(waiting) >= 2 * count:
                    ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    done += _finish(ready)
                    _report(progress, done, num_tasks)
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                done += _finish(ready)
                _report(progress, done, num_tasks)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _finish(ready: Iterable[Any]) -> int:
    """The number of finished tasks; raises the error of one that failed."""
    return sum(1 for future in ready if future.result() is None)


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(min(1.0, done / max(1, total)))


def blocks(shape: Sequence[int], chunks: Sequence[int], itemsize: int) -> list[tuple[slice, ...]]:
    """Return slices that cover an array: rows of whole chunks of about `BLOCK` bytes, or single chunks of wide rows."""
    rest = math.prod(shape[1:])
    width = max(1, rest * itemsize)
    if chunks[0] * width <= BLOCK or len(shape) == 1:
        step = chunks[0] * max(1, BLOCK // (chunks[0] * width))
        return [(slice(start, min(start + step, shape[0])),) for start in range(0, shape[0], step)]
    starts = [range(0, size, chunk) for size, chunk in zip(shape, chunks, strict=True)]
    found: list[tuple[slice, ...]] = [()]
    for positions, size, chunk in zip(starts, shape, chunks, strict=True):
        found = [(*head, slice(start, min(start + chunk, size))) for head in found for start in positions]
    return found


def check_chunks(source: Source, chunks: Sequence[int], itemsize: int) -> None:
    """Raise InputError for chunks that would take too much memory to decode, whatever the array's own size is."""
    if math.prod(chunks) * itemsize > MAX_CHUNK:
        raise InputError(
            f"{source}: expected chunks of at most {MAX_CHUNK >> 20} MiB, got one of shape {tuple(chunks)}; "
            "store it in smaller chunks"
        )


def is_small(num_bytes: int) -> bool:
    """Whether so many bytes may be decoded into memory: 256 MiB, or a quarter of the memory that is free."""
    return num_bytes <= max(IN_MEMORY, _free_memory() // 4)


def _free_memory() -> int:
    """The bytes of memory that are free now, as the system estimates it; 0 where it does not say."""
    with suppress(OSError, ValueError, StopIteration), open("/proc/meminfo", encoding="ascii") as stream:
        line = next(line for line in stream if line.startswith("MemAvailable:"))
        return min(int(line.split()[1]) << 10, _free_in_group())
    return 0


def _free_in_group() -> int:
    """The bytes that the control group of a container leaves; a very large number without a limit."""
    with suppress(OSError, ValueError):
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as stream:
            limit = int(stream.read())
        with open("/sys/fs/cgroup/memory.current", encoding="ascii") as stream:
            return max(0, limit - int(stream.read()))
    return 1 << 62


def _allocate(source: Source, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes == 0 or is_small(num_bytes):
        return np.empty(shape, dtype)
    import tempfile  # not above: it loads random, and few arrays are so large

    with tempfile.TemporaryFile() as stream:
        reserve(source, stream.fileno(), num_bytes)
        return np.memmap(stream, dtype, "r+", 0, shape)  # which keeps the file, although it has no name


def reserve(source: Source, descriptor: int, num_bytes: int) -> None:
    """Reserve room in a temporary file, so that a full disk is found before the work and not by a crash within it."""
    import tempfile

    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, num_bytes)
        else:
            os.ftruncate(descriptor, num_bytes)
    except OSError as error:
        raise InputError(
            f"{source}: expected room for {num_bytes:,} bytes in the folder of temporary files, "
            f"{tempfile.gettempdir()}, got: {error.strerror}; set TMPDIR to a folder on a larger disk"
        ) from error
