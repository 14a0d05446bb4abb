"""TFRecord files: their records with checksums, and the protocol buffers tf.Example and tf.SequenceExample in them.

TensorFlow is not needed: the core follows the bytes, and reads nothing outside them.

Legend: N records.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.files import InputError

__all__ = ["Block", "Feature", "FeatureColumn", "crc32c", "expand_bytes", "record_blocks", "whole_file"]

Progress = Callable[[float], object]

_GZIP = b"\x1f\x8b"
_BLOCK = 4 << 20  # bytes that are decompressed at a time
_MAX_RECORD = 2**31 - 1  # no protocol buffer is larger
_KINDS = {"count": 0, "bytes": 1, "float": 2, "int64": 3}
_HEADER, _FOOTER = 12, 4  # bytes before and after the data of a record


@dataclass(frozen=True)
class Feature:
    """A feature to read of each record.

    Attributes:
        name: Its name.
        kind: "bytes", "float" or "int64"; "count" takes any of them and gives only the number of steps.
        in_lists: It is a feature of each step of a SequenceExample, not of the whole record.
    """

    name: str
    kind: str
    in_lists: bool = False


@dataclass(frozen=True, eq=False)
class FeatureColumn:
    """One feature of N records.

    Attributes:
        offset: (N + 1,) int64; record n has ``values[offset[n]:offset[n + 1]]``.
        found: (N,) bool, whether the record has the feature.
        values: int64, float32, or (nnz, 2) int64 with the start and the size of each text within the data; None for
            "count".
    """

    offset: np.ndarray
    found: np.ndarray
    values: Any


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive whole records of a file.

    Attributes:
        path: The file.
        data: The bytes that hold them.
        offset: (N,) int64, where the data of each record start.
        length: (N,) int64.
        first: The number of the first record within the file.
        end: Where the last of these records ends within the data; the next block starts there.
    """

    path: Path
    data: Any
    offset: np.ndarray
    length: np.ndarray
    first: int = 0
    end: int = 0

    def parse(self, features: Sequence[Feature], threads: int | None = None) -> list[FeatureColumn]:
        """Read some features of every record.

        Raises:
            InputError: A record that is no tf.Example, or a feature of another kind.
        """
        requests = [(feature.name, _KINDS[feature.kind], feature.in_lists) for feature in features]
        found, status, record, request = _core.parse_records(
            self.data, self.offset, self.length, requests, num_threads(threads), None
        )
        number = self.first + record
        if status == 1:
            raise InputError(f"{self.path}: record {number}: not a tf.Example or tf.SequenceExample")
        if status == 2:
            feature = features[request]
            raise InputError(
                f"{self.path}: record {number}: expected {feature.name} of {feature.kind}, got another kind"
            )
        return [FeatureColumn(offset, there.astype(bool), values) for offset, there, values in found]

    def texts(self, column: FeatureColumn) -> list[bytes]:
        """The bytes values of a column."""
        view = memoryview(self.data)
        return [bytes(view[start : start + size]) for start, size in column.values.tolist()]


def record_blocks(path: Path, threads: int | None = None, progress: Progress | None = None) -> Iterator[Block]:
    """Read a TFRecord file, plain or compressed by gzip: blocks of whole records, whose checksums are right.

    A plain file is one block, which is memory-mapped. A compressed one is decompressed some megabytes at a time.

    Raises:
        InputError: A checksum that is wrong, a truncated file, or one of another format.
    """
    with open(path, "rb") as stream:
        start = stream.read(2)
        if not start:  # an empty region cannot be mapped
            return
        if start != _GZIP:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            yield _block(path, data, 0, num_threads(threads), progress)[0]
            return
    yield from _decompressed_blocks(path, num_threads(threads), progress)


def whole_file(path: Path, threads: int | None = None) -> Block:
    """All records of a file as one block; a compressed file is held decompressed."""
    blocks = list(record_blocks(path, threads))
    if len(blocks) == 1:
        return blocks[0]
    parts, starts, end = [], [], 0
    for block in blocks:
        parts.append(memoryview(block.data)[: block.end])
        starts.append(block.offset + end)
        end += block.end
    empty = [np.empty(0, np.int64)]
    lengths = [block.length for block in blocks] or empty
    return Block(path, b"".join(parts), np.concatenate(starts or empty), np.concatenate(lengths), 0, end)


def _decompressed_blocks(path: Path, threads: int, progress: Progress | None) -> Iterator[Block]:
    waiting: list[bytes] = []  # joined once they hold the next record, however long it is
    held_size, needed, first, size = 0, 0, 0, max(1, path.stat().st_size)
    for chunk, done in _decompress(path):
        waiting.append(chunk)
        held_size += len(chunk)
        if not chunk or held_size < needed or (held_size < _BLOCK and done < size):
            continue
        block, end = _block(path, b"".join(waiting), first, threads, None, is_last=False)
        if len(block.offset):
            yield block
        first += len(block.offset)
        waiting = [block.data[end:]]
        held_size -= end
        needed = _size_of_record(path, waiting[0], first)
        if progress is not None:
            progress(done / size)
    if held_size:
        block, _ = _block(path, b"".join(waiting), first, threads, None)
        if len(block.offset):
            yield block


def _size_of_record(path: Path, data: bytes, number: int) -> int:
    """The bytes of the record at the start of some data, with its checksums; 0 if its length is not there yet."""
    if len(data) < _HEADER:
        return 0
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_RECORD:
        raise InputError(f"{path}: record {number}: longer than any tf.Example; damaged")
    return _HEADER + length + _FOOTER


def _decompress(path: Path) -> Iterator[tuple[bytes, int]]:
    """Decompressed bytes, some megabytes at a time, and how many bytes of the file were read for them."""
    engine = zlib.decompressobj(wbits=31)
    with open(path, "rb") as stream:
        done = 0
        try:
            while chunk := stream.read(_BLOCK // 4):
                done += len(chunk)
                while chunk:
                    yield engine.decompress(chunk, _BLOCK), done
                    chunk = engine.unconsumed_tail
                    if engine.eof:  # the next member of the file
                        chunk = engine.unused_data
                        if not chunk.strip(b"\0"):
                            chunk = b""
                        elif chunk:
                            engine = zlib.decompressobj(wbits=31)
        except zlib.error:
            raise InputError(f"{path}: not a whole gzip file, or it is damaged") from None
    if not engine.eof:
        raise InputError(f"{path}: truncated: its gzip data have no end")


def _block(
    path: Path, data: Any, first: int, threads: int, progress: Progress | None, is_last: bool = True
) -> tuple[Block, int]:
    """The whole records at the start of some data, and where they end."""
    offset, length, status, end = _core.index_records(data, threads, progress)
    number = first + len(offset)
    if status == 1 and is_last:
        raise InputError(f"{path}: record {number}: truncated, or not a TFRecord file")
    if status == 2 and number == 0:
        raise InputError(f"{path}: not a TFRecord file: the checksum of its first length is wrong")
    if status in (2, 3):
        part = "length" if status == 2 else "data"
        raise InputError(f"{path}: record {number}: damaged: the checksum of its {part} is wrong")
    return Block(path, data, offset, length, first, end), end


def crc32c(data: Any) -> int:
    """CRC-32C (Castagnoli) of some bytes."""
    return _core.crc32c(data)


def expand_bytes(data: Any, spans: np.ndarray, table: np.ndarray, out: np.ndarray) -> int:
    """Replace each byte of n texts by an entry of a table of 256 numbers.

    Args:
        data: The bytes that hold the texts.
        spans: (n, 2) int64, start and size of each.
        table: (256,) of 2 or 4 bytes each.
        out: (n, D) of the table's dtype, to be filled.

    Returns:
        The first text that has not D bytes, or -1.
    """
    return _core.expand_bytes(data, spans, table, out)
