"""Cells that are neither positive nor negative: no label says which. They are left out of their class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.lazy import lazy_property

if TYPE_CHECKING:
    from vltr_eval._base._core import CudaUnknownCells

__all__ = ["DeviceUnknownCells", "UnknownCells"]


@dataclass(frozen=True, eq=False)
class UnknownCells:
    """The unknown cells of labels: lists of rows where they are few, a bit for each cell where they are many.

    The two forms mean the same, and every result has the same bits from either. `of_pairs` and `of_bits` choose the
    form that takes less memory.

    Args:
        num_rows: N.
        num_classes: C.
        indptr: (C + 1,) int64; class c has the rows ``rows[indptr[c]:indptr[c + 1]]``. None for bits.
        rows: (U,) uint32 row numbers, ascending within a class. None for bits.
        bits: (C, ceil(N / 64)) uint64; bit n % 64 of ``bits[c, n // 64]`` is 1 for an unknown cell. None for lists.
    """

    num_rows: int
    num_classes: int
    indptr: np.ndarray | None = None
    rows: np.ndarray | None = None
    bits: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"<UnknownCells of {self.num_rows} rows and {self.num_classes} classes, {self.counts.sum()} cells>"

    @classmethod
    def of_pairs(cls, rows: np.ndarray, classes: np.ndarray, num_rows: int, num_classes: int) -> UnknownCells:
        """Make them of (row, class) pairs, in any order; a pair may be repeated."""
        keys = np.unique(np.asarray(classes, np.int64) * num_rows + np.asarray(rows, np.int64))
        of_class, row = np.divmod(keys, max(num_rows, 1))
        indptr = np.zeros(num_classes + 1, np.int64)
        np.cumsum(np.bincount(of_class, minlength=num_classes), out=indptr[1:])
        return cls(num_rows, num_classes, indptr, row.astype(np.uint32)).compact()

    @classmethod
    def of_bits(cls, bits: np.ndarray, num_rows: int) -> UnknownCells:
        """Make them of (C, ceil(N / 64)) uint64 words."""
        return cls(num_rows, len(bits), bits=bits).compact()

    @classmethod
    def of_columns(cls, columns: Iterable[np.ndarray], num_rows: int) -> UnknownCells:
        """Make them of a flag for each row, (N,) bool, of one class after another."""
        num_bytes = 8 * -(-num_rows // 64)
        packed = []
        for column in columns:
            flags = np.zeros(num_bytes, np.uint8)
            flags[: -(-num_rows // 8)] = np.packbits(column, bitorder="little")
            packed.append(flags)
        words = np.concatenate([np.empty(0, np.uint8), *packed]).view("<u8").astype(np.uint64)
        return cls.of_bits(words.reshape(len(packed), num_bytes // 8), num_rows)

    @classmethod
    def _from_core(
        cls, num_rows: int, num_classes: int, found: tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]
    ) -> UnknownCells | None:
        """Cells that the core found, in the smaller form; None where it found none."""
        cells = cls(num_rows, num_classes, *found)
        return cells if cells.counts.any() else None

    @classmethod
    def joined(cls, shards: Sequence[UnknownCells | None], sizes: Sequence[int]) -> UnknownCells | None:
        """The cells of row shards, one after another. sizes: rows of each shard; a shard of None has no such cells."""
        starts = np.cumsum([0, *sizes])
        found = [(int(start), shard) for start, shard in zip(starts, shards, strict=False) if shard is not None]
        if not found:
            return None
        num_rows, num_classes = int(starts[-1]), found[0][1].num_classes
        if all(shard.bits is None for _, shard in found):
            pairs = [shard.pairs() for _, shard in found]
            rows = [of_shard[0] + start for (start, _), of_shard in zip(found, pairs, strict=True)]
            classes = [of_shard[1] for of_shard in pairs]
            return cls.of_pairs(np.concatenate(rows), np.concatenate(classes), num_rows, num_classes)

        def column(c: int) -> np.ndarray:
            flags = np.zeros(num_rows, bool)
            for start, shard in found:
                flags[start : start + shard.num_rows] = shard.flags_of(c)
            return flags

        return cls.of_columns(map(column, range(num_classes)), num_rows)

    def compact(self) -> UnknownCells:
        """The same cells in the form that takes less memory: 4 bytes a cell, or a bit for each cell of all classes."""
        words = -(-self.num_rows // 64)
        lists_are_smaller = 4 * int(self.counts.sum()) <= 8 * words * self.num_classes
        if self.bits is None:
            return self if lists_are_smaller else self._as_bits()
        return self._as_lists() if lists_are_smaller else self

    def _as_bits(self) -> UnknownCells:
        words = -(-self.num_rows // 64)
        flags = np.zeros((self.num_classes, 8 * words), np.uint8)
        for c in range(self.num_classes):
            of_class = np.zeros(64 * words, bool)
            of_class[self.rows_of(c)] = True
            flags[c] = np.packbits(of_class, bitorder="little")
        return UnknownCells(self.num_rows, self.num_classes, bits=flags.view("<u8").astype(np.uint64))

    def _as_lists(self) -> UnknownCells:
        indptr = np.concatenate([[0], np.cumsum(self.counts)])
        rows = [self.rows_of(c) for c in range(self.num_classes)]
        return UnknownCells(self.num_rows, self.num_classes, indptr, np.concatenate([np.empty(0, np.uint32), *rows]))

    @lazy_property
    def core(self) -> _core.UnknownCells:
        """The cells as the core takes them."""
        if self.indptr is not None and self.rows is not None:
            return _core.UnknownCells(self.num_rows, offset=self.indptr, rows=self.rows)
        if self.bits is None:
            raise ValueError("unknown: expected lists or bits, got neither")
        return _core.UnknownCells(self.num_rows, bits=np.ascontiguousarray(self.bits, np.uint64))

    def core_on(self, device: int | None) -> _core.UnknownCells | CudaUnknownCells:
        """The cells as the core takes them for scores on a device: those that are there already, if they are."""
        return self.core

    @lazy_property
    def counts(self) -> np.ndarray:
        """Unknown cells of each class: (C,) int64."""
        return self.core.counts

    def rows_of(self, class_index: int) -> np.ndarray:
        """Rows of one class, ascending: (U,) uint32."""
        if self.indptr is not None and self.rows is not None:
            return self.rows[self.indptr[class_index] : self.indptr[class_index + 1]]
        return np.flatnonzero(self.flags_of(class_index)).astype(np.uint32)

    def flags_of(self, class_index: int) -> np.ndarray:
        """Whether each row is unknown to one class: (N,) bool."""
        if self.bits is None:
            flags = np.zeros(self.num_rows, bool)
            flags[self.rows_of(class_index)] = True
            return flags
        words = self.bits[class_index].astype("<u8").view(np.uint8)
        return np.unpackbits(words, count=self.num_rows, bitorder="little").view(bool)

    def hold(self, rows: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Whether each of some (row, class) cells is unknown: (M,) bool."""
        rows = np.asarray(rows, np.int64)
        if self.bits is not None:
            words = self.bits[classes, rows >> 6] >> (rows & 63).astype(np.uint64)
            held: np.ndarray = (words & np.uint64(1)).astype(bool)
            return held
        own_rows, own_classes = self.pairs()
        keys = own_classes * self.num_rows + own_rows
        sought = np.asarray(classes, np.int64) * self.num_rows + rows
        at = np.searchsorted(keys, sought)
        found: np.ndarray = np.zeros(len(sought), bool)
        if len(keys):
            found = keys[np.minimum(at, len(keys) - 1)] == sought
        return found

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and classes of all cells, class after class: (U,) int64 each."""
        rows = [self.rows_of(c) for c in range(self.num_classes)]
        return np.concatenate([np.empty(0, np.int64), *rows]), np.repeat(np.arange(self.num_classes), self.counts)

    def select(self, kept: np.ndarray) -> UnknownCells | None:
        """The cells of some of the rows, numbered anew; None if there are none. kept: (N,) bool."""
        numbers = np.cumsum(kept) - 1
        return self.renumbered(np.where(kept, numbers, -1), int(np.count_nonzero(kept)))

    def renumbered(self, numbers: np.ndarray, num_rows: int) -> UnknownCells | None:
        """The cells with other row numbers; None if there are none. numbers: (N,), negative for a row left out."""
        return UnknownCells.joined_by_number([(numbers, self)], num_rows, self.num_classes)

    @classmethod
    def joined_by_number(
        cls, shards: Sequence[tuple[np.ndarray, UnknownCells | None]], num_rows: int, num_classes: int
    ) -> UnknownCells | None:
        """The cells of shards whose rows have these numbers, negative for a row left out; None if there are none."""
        found = [(numbers, shard) for numbers, shard in shards if shard is not None]
        if all(shard.bits is None for _, shard in found):
            pairs = [shard.pairs() for _, shard in found]
            rows = [numbers[of_shard[0]] for (numbers, _), of_shard in zip(found, pairs, strict=True)]
            row, cls_of = (np.concatenate([np.empty(0, np.int64), *parts]) for parts in (rows, [c for _, c in pairs]))
            cells = cls.of_pairs(row[row >= 0], cls_of[row >= 0], num_rows, num_classes)
            return cells if cells.counts.any() else None

        def column(c: int) -> np.ndarray:
            flags = np.zeros(num_rows, bool)
            for numbers, shard in found:
                own = numbers[shard.flags_of(c)]
                flags[own[own >= 0]] = True
            return flags

        cells = cls.of_columns(map(column, range(num_classes)), num_rows)
        return cells if cells.counts.any() else None

    def union(self, other: UnknownCells | None) -> UnknownCells:
        """The cells of both."""
        if other is None:
            return self
        if self.bits is None and other.bits is None:
            rows, classes = (np.concatenate(both) for both in zip(self.pairs(), other.pairs(), strict=True))
            return UnknownCells.of_pairs(rows, classes, self.num_rows, self.num_classes)
        columns = (self.flags_of(c) | other.flags_of(c) for c in range(self.num_classes))
        return UnknownCells.of_columns(columns, self.num_rows)

    def equals(self, other: UnknownCells | None) -> bool:
        """Whether the other has the same cells, in whichever form."""
        if other is None or (self.num_rows, self.num_classes) != (other.num_rows, other.num_classes):
            return other is None and not self.counts.any()
        one, two = self.compact(), other.compact()
        if (one.bits is None) != (two.bits is None):
            return False
        return all(np.array_equal(a, b) for a, b in zip(one.arrays(), two.arrays(), strict=True))

    def arrays(self) -> list[np.ndarray]:
        """The arrays of the form that it has, for checksums."""
        return [array for array in (self.indptr, self.rows, self.bits) if array is not None]

    def __reduce__(self) -> tuple[Any, ...]:
        return UnknownCells, (self.num_rows, self.num_classes, self.indptr, self.rows, self.bits)


class DeviceUnknownCells(UnknownCells):
    """Unknown cells on a CUDA device; ``bits`` are copied from there on first use.

    Args:
        num_rows: N.
        num_classes: C.
        on_device: The cells as the core has them.
    """

    on_device: CudaUnknownCells

    def __init__(self, num_rows: int, num_classes: int, on_device: CudaUnknownCells) -> None:
        self.__dict__.update(num_rows=num_rows, num_classes=num_classes, indptr=None, rows=None, on_device=on_device)

    @lazy_property
    def bits(self) -> np.ndarray:
        return self.on_device.to_numpy()

    def core_on(self, device: int | None) -> _core.UnknownCells | CudaUnknownCells:
        return self.on_device if device == self.on_device.device else self.core

    @lazy_property
    def counts(self) -> np.ndarray:
        return self.on_device.counts
