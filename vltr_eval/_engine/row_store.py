"""Rows of scores that are kept for later: in their own dtype, where they were made, or in a file when they are many."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from vltr_eval._base.arrays import Array, borrow, copy_rows, empty_bits, empty_like, of_bits, to_host

__all__ = ["RowStore"]

_LEAST_CHUNK, _MOST_CHUNK = 4 << 20, 64 << 20
_LEAST_FILE = 64 << 20


@dataclass(frozen=True)
class _Chunk:
    """Memory for rows, (capacity, C), of which the first ``filled`` hold some."""

    rows: Array
    filled: int = 0
    in_file: bool = False

    @property
    def room(self) -> int:
        return self.rows.shape[0] - self.filled


class RowStore:
    """Rows of C scores of one dtype, in chunks that never move, so that growing copies no row.

    A change is one assignment: an interrupted `append` or `clear` has either happened or not. Rows are written behind
    those that the store has, where no reader looks. `copy.copy` gives a store of the same memory, and what is appended
    to the copy is not in the original; only one of the two may grow from then on, since both write to the same memory.

    Args:
        num_classes: C.
        num_rows: How many rows will come, if known: they get one chunk.
        memory_budget: Bytes after which rows go to a file (rows of a device are copied there); None for no limit.
        spill_dir: The folder of that file, which has no name there and is gone with the process; None for the system's
            folder for temporary files.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_rows: int | None = None,
        memory_budget: int | None = None,
        spill_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._num_classes = num_classes
        self._num_rows = num_rows
        self._memory_budget = memory_budget
        self._spill_dir = spill_dir
        self._chunks: tuple[_Chunk, ...] = ()

    def __len__(self) -> int:
        return sum(chunk.filled for chunk in self._chunks)

    @property
    def dtype(self) -> str | None:
        """None before there are rows."""
        return self._chunks[0].rows.dtype if self._chunks and self._chunks[0].filled else None

    def append(self, *batches: Array) -> None:
        """Copies (B, C) scores of the store's dtype behind the others.

        All rows are taken or none, also where the call is interrupted.

        Raises:
            OSError: Where a file has no room.
            MemoryError: Where memory cannot be had.
        """
        chunks = list(self._chunks)
        for batch in batches:
            self._append(chunks, batch)
        self._chunks = tuple(chunks)

    def _append(self, chunks: list[_Chunk], batch: Array) -> None:
        """Copies rows behind those of the chunks, and makes the last chunk, or a new one, count them."""
        done = 0
        while done < batch.shape[0]:
            chunk = self._chunk_for(chunks, batch, batch.shape[0] - done)
            stop = min(done + chunk.room, batch.shape[0])
            end = chunk.filled + stop - done
            part = batch.rows(done, stop)
            copy_rows(to_host(part) if chunk.in_file else part, chunk.rows.rows(chunk.filled, end))
            chunks[-1], done = replace(chunk, filled=end), stop

    def shards(self) -> Iterator[list[Array]]:
        """The rows in their order: in turn the shards in one memory."""
        filled = [chunk.rows.rows(0, chunk.filled) for chunk in self._chunks if chunk.filled]
        for _, run in groupby(filled, key=lambda rows: rows.device.index):
            yield list(run)

    def bits(self) -> np.ndarray:
        """A copy of all rows in CPU memory: (N, C), as `Array.bits`."""
        out = empty_bits((len(self), self._num_classes), self.dtype or "float32")
        start = 0
        for rows in (shard for shards in self.shards() for shard in shards):
            out[start : start + rows.shape[0]] = to_host(rows).bits()
            start += rows.shape[0]
        return out

    def clear(self) -> None:
        """Forgets all rows; memory of a requested size is kept."""
        kept = self._chunks[: self._num_rows is not None]
        self._chunks = tuple(replace(chunk, filled=0) for chunk in kept)

    def _chunk_for(self, chunks: list[_Chunk], batch: Array, num_rows: int) -> _Chunk:
        """The chunk that takes the next of some rows of the batch: the last one, or one that is added."""
        if chunks:
            last = chunks[-1]
            is_near = last.in_file or last.rows.device.index == batch.device.index
            if last.room and is_near and last.rows.dtype == batch.dtype:
                return last
            if last.filled == 0:
                chunks.pop()  # kept by clear() for rows of another kind
        chunks.append(self._new_chunk(chunks, batch, num_rows))
        return chunks[-1]

    def _new_chunk(self, chunks: Sequence[_Chunk], batch: Array, least_rows: int) -> _Chunk:
        row_bytes = self._num_classes * batch.itemsize
        in_memory = _total_bytes(chunk for chunk in chunks if not chunk.in_file)
        expected = max(0, (self._num_rows or 0) - sum(chunk.filled for chunk in chunks))
        num_rows = max(least_rows, expected or min(max(in_memory, _LEAST_CHUNK), _MOST_CHUNK) // row_bytes)
        left = num_rows if self._memory_budget is None else (self._memory_budget - in_memory) // row_bytes
        if left >= least_rows:
            shape = (min(num_rows, left), self._num_classes)
            if batch.device.index is None:
                return _Chunk(of_bits(empty_bits(shape, batch.dtype), batch.dtype))
            return _Chunk(borrow("rows", empty_like(batch, shape, batch.dtype)))
        in_file = _total_bytes(chunk for chunk in chunks if chunk.in_file)
        num_rows = max(least_rows, expected or max(in_file // 4, _LEAST_FILE) // row_bytes)
        return _Chunk(self._in_file((num_rows, self._num_classes), batch.dtype), in_file=True)

    def _in_file(self, shape: tuple[int, int], dtype: str) -> Array:
        import tempfile  # not above: few stores spill, and it loads random

        like = empty_bits((0, 0), dtype).dtype
        num_bytes = shape[0] * shape[1] * like.itemsize
        allocate = getattr(os, "posix_fallocate", lambda file, _, size: os.ftruncate(file, size))
        with tempfile.TemporaryFile(dir=self._spill_dir) as file:
            try:
                # Room is taken now where the system can: writing to a mapping that has none would kill the process.
                allocate(file.fileno(), 0, num_bytes)
            except OSError as error:
                folder = tempfile.gettempdir() if self._spill_dir is None else os.fspath(self._spill_dir)
                raise OSError(error.errno, f"{error.strerror} for {num_bytes} bytes of scores", folder) from None
            memory = mmap.mmap(file.fileno(), num_bytes)
        return of_bits(np.frombuffer(memory, like).reshape(shape), dtype)


def _total_bytes(chunks: Iterable[_Chunk]) -> int:
    return sum(chunk.rows.nbytes for chunk in chunks)
