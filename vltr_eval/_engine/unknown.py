"""Cells that are neither positive nor negative: no label says which. They are left out of their class."""

from __future__ import annotations

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

    @property
    def counts(self) -> np.ndarray:
        """Unknown cells of each class: (C,) int64."""
        return self.core.counts

    def rows_of(self, class_index: int) -> np.ndarray:
        """Rows of one class, ascending: (U,) uint32."""
        if self.indptr is not None and self.rows is not None:
            return self.rows[self.indptr[class_index] : self.indptr[class_index + 1]]
        if self.bits is None:
            raise ValueError("unknown: expected lists or bits, got neither")
        flags = np.unpackbits(self.bits[class_index].astype("<u8").view(np.uint8), bitorder="little")
        return np.flatnonzero(flags).astype(np.uint32)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and classes of all cells, class after class: (U,) int64 each."""
        rows = [self.rows_of(c) for c in range(self.num_classes)]
        return np.concatenate([np.empty(0, np.int64), *rows]), np.repeat(np.arange(self.num_classes), self.counts)

    def select(self, kept: np.ndarray) -> UnknownCells:
        """The cells of some of the rows, numbered anew. kept: (N,) bool."""
        rows, classes = self.pairs()
        stays = kept[rows]
        numbers = np.cumsum(kept) - 1
        return self.of_pairs(numbers[rows[stays]], classes[stays], int(np.count_nonzero(kept)), self.num_classes)

    def __reduce__(self) -> tuple[Any, ...]:
        return UnknownCells, (self.num_rows, self.num_classes, self.indptr, self.rows, self.bits)


class DeviceUnknownCells(UnknownCells):
    """Unknown cells on a CUDA device; ``bits`` are copied from there on first use.

    Args:
        num_rows: N.
        num_classes: C.
        core: The cells.
    """

    _core: CudaUnknownCells

    def __init__(self, num_rows: int, num_classes: int, core: CudaUnknownCells) -> None:
        self.__dict__.update(num_rows=num_rows, num_classes=num_classes, indptr=None, rows=None, _core=core)

    @lazy_property
    def bits(self) -> np.ndarray:
        return self._core.to_numpy()

    def core_on(self, device: int | None) -> _core.UnknownCells | CudaUnknownCells:
        return self._core if device == self._core.device else self.core

    @property
    def counts(self) -> np.ndarray:
        return self._core.counts
