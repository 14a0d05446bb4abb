"""Label forms, and the one form that everything works on: the positives of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arguments import describe_offsets
from vltr_eval._base.arrays import MAX_ROWS, Device, Matrix, borrow, borrow_matrix, check_device, num_threads, to_host
from vltr_eval._base.lazy import lazy_property
from vltr_eval._engine.unknown import DeviceUnknownCells, UnknownCells
from vltr_eval.formats.label_forms import (
    DENSE,
    NAMES,
    check_array_form,
    check_form,
    dense_of_lists,
    first_odd_value,
    form_of_lists,
    form_of_rows,
    is_rows,
)
from vltr_eval.formats.table import LabelPairs, Lists

if TYPE_CHECKING:
    from vltr_eval._base._core import CudaPositives, CudaUnknownCells

__all__ = ["Positives"]


def _check_size(name: str, value: Any) -> None:
    if not isinstance(value, (int, np.integer)) or not 0 <= value <= MAX_ROWS:  # uint32 in the core
        raise ValueError(f"{name}: expected an integer from 0 to {MAX_ROWS}, got {value!r}")


@dataclass(frozen=True, eq=False)
class Positives:
    """The positive rows of each class: ascending, class after class (compressed columns).

    Make one with `from_labels` and pass it wherever labels are taken: labels that are used several times are then read
    once.

    Args:
        num_rows: N.
        num_classes: C.
        indptr: (C + 1,) int64; class c has the rows ``rows[indptr[c]:indptr[c + 1]]``.
        rows: (P,) uint32 row numbers of all positives, ascending within a class.
        unknown: The cells that are neither positive nor negative; None if every cell is known.

    Raises:
        ValueError: The arrays do not fit together.

    Example:
        >>> Positives.from_labels(np.uint8([[1, 0], [1, 1]])).counts
        array([2, 1])
    """

    num_rows: int
    num_classes: int
    indptr: np.ndarray
    rows: np.ndarray
    unknown: UnknownCells | None = None

    def __repr__(self) -> str:
        return f"<Positives of {self.num_rows} rows and {self.num_classes} classes, {len(self.rows)} positives>"

    def __post_init__(self) -> None:
        _check_size("num_rows", self.num_rows)
        _check_size("num_classes", self.num_classes)
        indptr, rows = np.asarray(self.indptr), np.asarray(self.rows)
        if indptr.dtype != np.int64 or indptr.shape != (self.num_classes + 1,):
            raise ValueError(
                f"indptr: expected ({self.num_classes + 1},) of int64, got {indptr.shape} of {indptr.dtype}"
            )
        if rows.dtype != np.uint32 or rows.ndim != 1:
            raise ValueError(f"rows: expected (nnz,) of uint32, got {rows.shape} of {rows.dtype}")
        if indptr[0] != 0 or indptr[-1] != len(rows) or bool(np.any(indptr[1:] < indptr[:-1])):
            raise ValueError(
                f"indptr: expected offsets that rise from 0 to the number of positives, {len(rows)}, got "
                f"{describe_offsets(indptr)}"
            )
        if len(rows) and (largest := int(rows.max())) >= self.num_rows:
            raise ValueError(f"rows: expected row numbers from 0 to {self.num_rows - 1}, got {largest}")
        rises = rows[1:] > rows[:-1]
        rises[indptr[1:-1][(indptr[1:-1] > 0) & (indptr[1:-1] < len(rows))] - 1] = True  # from class to class
        if not rises.all():
            i = int(np.argmin(rises)) + 1
            raise ValueError(
                "rows: expected each class's rows once and ascending, got "
                f"{rows[i]} after {rows[i - 1]} in class {np.searchsorted(indptr, i, side='right') - 1}"
            )

    @classmethod
    def _from_core(cls, num_rows: int, num_classes: int, indptr: np.ndarray, rows: np.ndarray) -> Positives:
        """Positives that the core found, which need no checks. Their arrays are read-only."""
        _check_size("num_classes", num_classes)
        positives = object.__new__(cls)
        positives.__dict__.update(num_rows=num_rows, num_classes=num_classes, indptr=indptr, rows=rows, unknown=None)
        return positives

    @property
    def counts(self) -> np.ndarray:
        """Positives of each class: (C,) int64."""
        return np.diff(self.indptr)

    def rows_of(self, class_index: int) -> np.ndarray:
        """Rows of one class, ascending: (P,) uint32."""
        return self.rows[self.indptr[class_index] : self.indptr[class_index + 1]]

    def core_with(self, matrix: Matrix) -> tuple[Any, ...]:
        """The arguments of core operations on scores: the matrix, without unknown cells, and the positives.

        For a matrix on a device, the positives and the unknown cells are copied there.
        """
        known = (
            matrix.core if self.unknown is None else matrix.core.leave_out(self.unknown.core_on(matrix.device.index))
        )
        if matrix.device.index is None:
            return known, self.indptr, self.rows
        return known, _core.upload_positives(matrix.core, self.indptr, self.rows)

    def with_unknown(self, unknown: UnknownCells | None) -> Positives:
        """The same positives with these unknown cells; None, or cells of no class, leave the labels as they are.

        Raises:
            ValueError: Another shape, or a cell that is positive too.
        """
        if unknown is None or not unknown.counts.any():
            return self
        both = self._unknown_among(unknown)
        if both.any():
            i = int(np.argmax(both))
            class_index = int(np.searchsorted(self.indptr, i, side="right")) - 1
            raise ValueError(f"mask: expected cells that are not positive, got row {self.rows[i]}, class {class_index}")
        return self._with_cells(self.indptr, self.rows, unknown)

    def leaving_out(self, unknown: UnknownCells | None) -> Positives:
        """The labels without these cells, whatever they are: positives among them are dropped."""
        if unknown is None or not unknown.counts.any():
            return self
        stays = ~self._unknown_among(unknown)
        before = np.concatenate([[0], np.cumsum(stays)])
        return self._with_cells(before[self.indptr], self.rows[stays], unknown.union(self.unknown))

    def _unknown_among(self, unknown: UnknownCells) -> np.ndarray:
        """Which of the positives are unknown: (P,) bool."""
        if (unknown.num_rows, unknown.num_classes) != (self.num_rows, self.num_classes):
            raise ValueError(
                f"mask: expected ({self.num_rows}, {self.num_classes}) as labels, "
                f"got ({unknown.num_rows}, {unknown.num_classes})"
            )
        return unknown.hold(self.rows, np.repeat(np.arange(self.num_classes), self.counts))

    def _with_cells(self, indptr: np.ndarray, rows: np.ndarray, unknown: UnknownCells | None) -> Positives:
        positives = Positives._from_core(self.num_rows, self.num_classes, indptr, rows)
        positives.__dict__["unknown"] = unknown
        return positives

    @property
    def num_negatives(self) -> np.ndarray:
        """Negatives of each class, which are what is neither positive nor unknown: (C,) int64."""
        known = self.num_rows if self.unknown is None else self.num_rows - self.unknown.counts
        return known - self.counts

    def select(self, kept: np.ndarray) -> Positives:
        """The positives of some of the rows, numbered anew. kept: (N,) bool."""
        stays = kept[self.rows]
        before = np.concatenate([[0], np.cumsum(stays)])
        numbers = np.cumsum(kept) - 1
        rows = numbers[self.rows[stays]].astype(np.uint32)
        unknown = None if self.unknown is None else self.unknown.select(kept)
        return Positives(int(np.count_nonzero(kept)), self.num_classes, before[self.indptr], rows, unknown)

    def labels_per_row(self) -> np.ndarray:
        """How many labels each row has: (N,) int64."""
        return np.bincount(self.rows, minlength=self.num_rows)

    @classmethod
    def from_labels(
        cls,
        labels: Any,
        num_rows: int | None = None,
        num_classes: int | None = None,
        *,
        form: str | None = None,
        device: Device | None = None,
        first_row: int = 0,
        threads: int | None = None,
        scores: Any = None,
        mask: Any = None,
        unknown: Any = None,
    ) -> Positives:
        """Read labels of any form that belong to (num_rows, num_classes) scores.

        Args:
            labels: Dense (N, C) of 0/1 in any bool, integer or float dtype; a scipy.sparse matrix of 0/1; a list with
                the class indices of each row (lists, sets, or index arrays of any library); (N,) integer class indices;
                (N,) of 0/1 when there is one class; LabelPairs; or Positives. Arrays on a CUDA device are read there,
                and their positives stay there.
            num_rows: N; None takes it from the labels.
            num_classes: C; None takes it from dense or sparse (N, C) labels, LabelPairs or Positives. Other forms do
                not have it.
            form: "dense" or "lists", for lists of rows that can be either; see `vltr_eval.formats.label_forms`.
            device: The device of the scores (`Matrix.device`), if arrays of labels must be there too.
            first_row: The number of the first row, for messages about arrays.
            threads: CPU threads.
            scores: The scores that the labels belong to, if available; read where labels are wrong, for the message.
            mask: The known cells: (N, C) of any dtype, 1 for a known cell and 0 for an unknown one; or UnknownCells.
                Labels of unknown cells are not used.
            unknown: The value of an unknown cell in dense or sparse labels: -1, or NaN ("nan"); None if there is none.

        Raises:
            ValueError: Anything but 0/1, or a class index out of range; the message names the cell.
            TypeError: An object that is no form of labels.

        Example:
            >>> Positives.from_labels(np.uint8([[1, 0], [0, 0], [1, 1]])).counts
            array([2, 1])
            >>> Positives.from_labels([[0], [], [0, 1]], num_classes=2).rows_of(0)
            array([0, 2], dtype=uint32)
        """
        check_form(form)
        if num_rows is None or num_classes is None:
            num_rows, num_classes = _inferred_shape(labels, num_rows, num_classes)
        value = check_unknown(unknown)
        if mask is not None or value is not None:
            values = () if value is None else (value,)
            if is_dense_on_device(labels, num_classes):
                return positives_on_device(
                    labels, num_rows, num_classes, unknown=values, mask=mask, device=device, first_row=first_row
                )
        if mask is not None:
            alone = cls.from_labels(
                labels,
                num_rows,
                num_classes,
                form=form,
                device=device,
                first_row=first_row,
                threads=threads,
                scores=scores,
                unknown=unknown,
            )
            return alone.leaving_out(
                unknown_of_known(mask, num_rows, num_classes, first_row=first_row, threads=threads)
            )
        if value is not None:
            return _with_unknown_value(labels, num_rows, num_classes, form, value, first_row, threads, scores)
        if isinstance(labels, Positives):
            positives = labels
            _check_shape((positives.num_rows, positives.num_classes), num_rows, num_classes)
            return positives
        if type(labels) is np.ndarray and labels.dtype != object:
            check_array_form("labels", labels.shape, num_classes, form)
            return _from_array(labels, num_rows, num_classes, device, first_row, threads, scores)
        if isinstance(labels, LabelPairs):
            _check_shape(
                (labels.num_rows, num_classes if labels.num_classes is None else labels.num_classes),
                num_rows,
                num_classes,
            )
            rows, classes = np.asarray(labels.rows), np.asarray(labels.classes)
            if rows.shape != classes.shape or rows.ndim != 1:
                raise ValueError(f"labels: expected a class for each row, got shapes {rows.shape} and {classes.shape}")
            if rows.size and (rows.dtype.kind not in "iu" or classes.dtype.kind not in "iu"):
                raise TypeError(f"labels: expected integer rows and classes, got {rows.dtype} and {classes.dtype}")
            return _from_pairs(rows, classes, num_rows, num_classes)
        if hasattr(labels, "tocoo") and hasattr(labels, "shape"):
            return _from_sparse(labels, num_rows, num_classes, scores)
        if isinstance(labels, np.ndarray) and labels.dtype == object and labels.ndim == 1:
            labels = labels.tolist()
        if isinstance(labels, Lists) or is_rows(labels):
            return _from_lists(labels, num_rows, num_classes, form, device, first_row, threads, scores)
        check_array_form("labels", getattr(labels, "shape", ()), num_classes, form)
        return _from_array(labels, num_rows, num_classes, device, first_row, threads, scores)


def _inferred_shape(labels: Any, num_rows: int | None, num_classes: int | None) -> tuple[int, int]:
    """The shape of the labels, where the argument is None."""
    rows, classes = _shape_of(labels)
    num_rows = rows if num_rows is None else num_rows
    num_classes = classes if num_classes is None else num_classes
    if num_rows is None:
        raise TypeError(
            f"labels: expected an array, a sparse matrix, lists, LabelPairs or Positives, got {type(labels).__name__}"
        )
    if num_classes is None:
        raise ValueError(
            f"num_classes: expected the number of classes, because {type(labels).__name__} labels of {num_rows} rows "
            "do not have it, got None; pass num_classes="
        )
    return num_rows, num_classes


def _shape_of(labels: Any) -> tuple[int | None, int | None]:
    """Rows and classes as far as labels have them."""
    if isinstance(labels, (list, tuple)):
        shapes = [tuple(getattr(shard, "shape", ())) for shard in labels]
        if shapes and all(len(shape) == 2 for shape in shapes):  # row shards
            return sum(shape[0] for shape in shapes), shapes[0][1]
        return len(labels), None
    if isinstance(labels, (Positives, LabelPairs, Lists)):
        return labels.num_rows, getattr(labels, "num_classes", None)
    shape = tuple(getattr(labels, "shape", ()))
    return (shape[0] if shape else None), (shape[1] if len(shape) > 1 else None)


def _check_shape(shape: tuple[int, int], num_rows: int, num_classes: int) -> None:
    if shape[0] != num_rows:
        raise ValueError(f"labels: {shape[0]} rows, but scores has {num_rows}")
    if shape[1] != num_classes:
        raise ValueError(f"labels: {shape[1]} classes, but scores has {num_classes}")


def rows_between(labels: Any, start: int, stop: int) -> Any:
    """Labels of some of the rows, of an array or LabelPairs, as they are read from files."""
    if not isinstance(labels, LabelPairs):
        return labels[start:stop]
    selected = (labels.rows >= start) & (labels.rows < stop)
    return LabelPairs(stop - start, labels.num_classes, labels.rows[selected] - start, labels.classes[selected])


class _DevicePositives(Positives):
    """Positives on a CUDA device; ``indptr`` and ``rows`` are copied from there on first use."""

    _core: CudaPositives

    def __init__(
        self, num_rows: int, num_classes: int, core: CudaPositives, unknown: DeviceUnknownCells | None = None
    ) -> None:
        self.__dict__.update(num_rows=num_rows, num_classes=num_classes, unknown=unknown, _core=core)

    def __repr__(self) -> str:
        return f"<Positives of {self.num_rows} rows and {self.num_classes} classes on cuda:{self._core.device}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are Positives in CPU memory."""
        return Positives, (self.num_rows, self.num_classes, self.indptr, self.rows, self.unknown)

    @lazy_property
    def _on_host(self) -> tuple[np.ndarray, np.ndarray]:
        return self._core.to_numpy()

    @lazy_property
    def indptr(self) -> np.ndarray:
        return self._on_host[0]

    @lazy_property
    def rows(self) -> np.ndarray:
        return self._on_host[1]

    def core_with(self, matrix: Matrix) -> tuple[Any, ...]:
        if matrix.device.index != self._core.device:
            raise ValueError(
                f"labels: expected Positives of arrays where scores are, {matrix.device}, got those of arrays on "
                f"cuda:{self._core.device}"
            )
        known = matrix.core if self.unknown is None else matrix.core.leave_out(self.unknown.core_on(self._core.device))
        return known, self._core


def is_dense_on_device(labels: Any, num_classes: int) -> bool:
    """Whether labels are an array with a value for each cell, or its row shards, on a CUDA device."""
    if isinstance(labels, (Positives, LabelPairs, Lists)) or hasattr(labels, "tocoo"):
        return False
    if isinstance(labels, np.ndarray) and labels.dtype == object:
        return False
    shards = labels if isinstance(labels, (list, tuple)) else [labels]
    axes = {len(getattr(shard, "shape", ())) for shard in shards}
    if axes != {2} and (axes != {1} or num_classes > 1):
        return False
    return borrow_matrix("labels", labels).device.index is not None


def positives_on_device(
    labels: Any,
    num_rows: int,
    num_classes: int,
    *,
    unknown: Sequence[float] = (),
    absent: Sequence[float] = (),
    mask: Any = None,
    device: Device | None = None,
    first_row: int = 0,
) -> Positives:
    """Read dense labels on a CUDA device, where their positives and unknown cells stay.

    Args:
        labels: See `Positives.from_labels`.
        num_rows: N.
        num_classes: C.
        unknown: Values of unknown cells: -1, 0 and NaN are possible.
        absent: Further values of negatives.
        mask: The known cells, in memory anywhere; or UnknownCells. Labels of unknown cells are not read.
        device: The device of the scores.
        first_row: The number of the first row, for messages.
    """
    matrix = borrow_matrix("labels", labels)
    if device is not None:
        check_device("labels", matrix, device, "scores")
    _check_shape((matrix.num_rows, matrix.num_classes), num_rows, num_classes)
    cells = None if mask is None else _mask_beside(matrix, mask, first_row)
    marks = _mark_bits(unknown)
    try:
        found = _core.find_positives(matrix.core, 1, None, marks | _mark_bits(absent), cells)
    except _core.BadValue as error:
        _, row, col = error.args
        value = unknown[0] if len(unknown) == 1 else None
        raise _bad_value(matrix.value(row, col), first_row + row, col, None, unknown=value) from None
    if marks:
        cells = _core.find_unknown(matrix.core, marks, cells)
    some = cells is not None and bool(cells.counts.any())
    left_out = DeviceUnknownCells(num_rows, num_classes, cells) if cells is not None and some else None
    return _DevicePositives(num_rows, num_classes, found, left_out)


def _mark_bits(values: Sequence[float]) -> int:
    """The set of values as find_positives takes it (label_marks.hpp)."""
    return sum({1 if value == -1 else 2 if value == 0 else 4 for value in values})


def _mask_beside(labels: Matrix, mask: Any, first_row: int) -> CudaUnknownCells | None:
    """The cells that a mask of known cells leaves out, on the device of the labels; None if there are none."""
    if not isinstance(mask, UnknownCells):
        matrix = borrow_matrix("mask", mask)
        if matrix.device.index == labels.device.index:
            return read_device_mask(matrix, labels.num_rows, labels.num_classes, first_row).on_device
        mask = unknown_of_known(mask, labels.num_rows, labels.num_classes, first_row=first_row)
        if mask is None:
            return None
    if isinstance(mask, DeviceUnknownCells) and mask.on_device.device == labels.device.index:
        return mask.on_device
    return _core.upload_unknown(labels.core, mask.core)


def read_device_mask(mask: Matrix, num_rows: int, num_classes: int, first_row: int = 0) -> DeviceUnknownCells:
    """The cells that a mask of known cells on a device leaves out, which stay there."""
    _check_mask_shape(mask, num_rows, num_classes)
    try:
        return DeviceUnknownCells(num_rows, num_classes, _core.read_mask(mask.core))
    except _core.BadValue as error:
        _, row, col = error.args
        raise _bad_mask(mask.value(row, col), first_row + row, col) from None


def _from_array(
    labels: Any,
    num_rows: int,
    num_classes: int,
    device: Device | None,
    first_row: int,
    threads: int | None,
    scores: Any,
) -> Positives:
    matrix = borrow_matrix("labels", labels)
    if device is not None:
        check_device("labels", matrix, device, "scores")
    if len(matrix.shards[0].shape) == 1 and num_classes > 1:
        return _from_indices(matrix, num_rows, num_classes, first_row)
    _check_shape((matrix.num_rows, matrix.num_classes), num_rows, num_classes)
    try:
        found = _core.find_positives(matrix.core, num_threads(threads), None)
    except _core.BadValue as error:
        _, row, col = error.args
        raise _bad_value(matrix.value(row, col), first_row + row, col, scores) from None
    if matrix.device.index is None:
        return Positives._from_core(num_rows, num_classes, *found)
    return _DevicePositives(num_rows, num_classes, found)


def check_unknown(unknown: Any) -> float | None:
    """The value of unknown cells: -1.0, NaN, or None for none. Raises ValueError for any other."""
    if unknown is None:
        return None
    if isinstance(unknown, str) and unknown in ("-1", "nan"):
        return float(unknown)
    if isinstance(unknown, (int, float, np.number)) and (unknown == -1 or unknown != unknown):
        return float(unknown)
    raise ValueError(f"unknown: expected -1 or 'nan', got {unknown!r}; pass mask= for another mark of unknown cells")


def unknown_of_known(
    mask: Any, num_rows: int, num_classes: int, *, first_row: int = 0, threads: int | None = None
) -> UnknownCells | None:
    """The cells that a mask of known cells leaves out."""
    if isinstance(mask, UnknownCells):
        return mask
    matrix = borrow_matrix("mask", mask)
    if matrix.device.index is not None:
        there = read_device_mask(matrix, num_rows, num_classes, first_row)
        return there if there.counts.any() else None
    _check_mask_shape(matrix, num_rows, num_classes)
    try:
        found = _core.find_unknown(matrix.core, num_threads(threads), None)
    except _core.BadValue as error:
        _, row, col = error.args
        raise _bad_mask(matrix.value(row, col), first_row + row, col) from None
    return UnknownCells._from_core(num_rows, num_classes, found)


def _check_mask_shape(mask: Matrix, num_rows: int, num_classes: int) -> None:
    if (mask.num_rows, mask.num_classes) != (num_rows, num_classes):
        raise ValueError(
            f"mask: expected ({num_rows}, {num_classes}) as labels, got ({mask.num_rows}, {mask.num_classes})"
        )


def _bad_mask(value: Any, row: int, col: int) -> ValueError:
    """The error for a value of a mask that is neither 0 nor 1."""
    return ValueError(
        f"mask: expected 1 for a known cell and 0 for an unknown one, got {value} at row {row}, class {col}"
    )


def _on_host(matrix: Matrix) -> Matrix:
    """The matrix in CPU memory, copied there from a device."""
    if matrix.device.index is None:
        return matrix
    shards = [to_host(shard).to_numpy() for shard in matrix.shards]
    return borrow_matrix("labels", shards[0] if len(shards) == 1 else shards)


def _with_unknown_value(
    labels: Any,
    num_rows: int,
    num_classes: int,
    form: str | None,
    value: float,
    first_row: int,
    threads: int | None,
    scores: Any,
) -> Positives:
    """Labels that mark unknown cells by a value."""
    if isinstance(labels, Positives):  # whoever read them knew the value
        _check_shape((labels.num_rows, labels.num_classes), num_rows, num_classes)
        return labels
    if hasattr(labels, "tocoo") and hasattr(labels, "shape"):
        return _from_sparse(labels, num_rows, num_classes, scores, value)
    if isinstance(labels, LabelPairs):
        return Positives.from_labels(labels, num_rows, num_classes, form=form)
    if isinstance(labels, np.ndarray) and labels.dtype == object and labels.ndim == 1:
        labels = labels.tolist()
    is_list = isinstance(labels, Lists) or is_rows(labels)
    if is_list and isinstance(labels, (list, tuple)) and labels:
        dense = _dense_rows(labels, num_rows, num_classes, form)
        if dense is not None:
            labels, is_list = dense, False
    if is_list or (num_classes > 1 and len(getattr(labels, "shape", ())) == 1):
        raise ValueError(
            "unknown: expected dense or sparse labels, in which each cell has a value, got class indices; pass mask="
        )
    check_array_form("labels", getattr(labels, "shape", ()), num_classes, form)
    matrix = _on_host(borrow_matrix("labels", labels))
    _check_shape((matrix.num_rows, matrix.num_classes), num_rows, num_classes)
    try:
        found, cells = _core.find_label_cells(matrix.core, value != value, num_threads(threads), None)
    except _core.BadValue as error:
        _, row, col = error.args
        raise _bad_value(matrix.value(row, col), first_row + row, col, scores, unknown=value) from None
    positives = Positives._from_core(num_rows, num_classes, *found)
    unknown = UnknownCells._from_core(num_rows, num_classes, cells)
    return positives if unknown is None else positives._with_cells(positives.indptr, positives.rows, unknown)


def _dense_rows(labels: Sequence[Any], num_rows: int, num_classes: int, form: str | None) -> np.ndarray | None:
    """Rows of a list as a dense array, if each has a value for each class; None for lists of class indices."""
    if form not in (None, DENSE) or len(labels) != num_rows:
        return None
    rows = [plain_row(row) for row in labels]
    if any(np.ndim(row) != 1 or len(row) != num_classes for row in rows):
        return None
    return np.asarray(rows)


def _bad_value(value: Any, row: int, col: int, scores: Any, unknown: float | None = None) -> ValueError:
    """The error for a label that is neither 0 nor 1, nor the value of unknown cells."""
    advice = ""
    if value == -1:
        advice = (
            "; -1 often marks an unknown label, which must not count as a negative: unknown=-1 (--unknown -1) leaves "
            "such cells out; write 0 where -1 means absent"
        )
    elif value != value:
        advice = "; NaN often marks an unknown label: unknown='nan' (--unknown nan) leaves such cells out"
    elif value % 1 > 0:
        if scores is not None and _is_binary(scores):
            advice = "; the scores are all 0 or 1: were scores and labels swapped?"
        elif 0 < value < 1:
            advice = "; soft targets have no average precision"
    expected = "0 or 1" if unknown is None else f"0, 1 or {unknown:g} for an unknown cell"
    return ValueError(f"labels: expected {expected}, got {value} at row {row}, class {col}{advice}")


def _is_binary(scores: Any) -> bool:
    try:
        _core.find_positives(borrow_matrix("scores", scores).core, num_threads(None), None)
    except _core.BadValue:
        return False
    return True


def _from_indices(matrix: Matrix, num_rows: int, num_classes: int, first_row: int) -> Positives:
    """(N,) class indices, of one array or of shards."""
    if "int" not in matrix.dtype:
        raise TypeError(
            f"labels: expected integer class indices or a dense ({num_rows}, {num_classes}) matrix, "
            f"got (N,) of {matrix.dtype}"
        )
    _check_shape((matrix.num_rows, num_classes), num_rows, num_classes)
    if matrix.device.index is None:
        classes = np.concatenate([shard.to_numpy() for shard in matrix.shards])
        return _from_pairs(np.arange(num_rows), classes, num_rows, num_classes, first_row)
    try:
        return _DevicePositives(num_rows, num_classes, _core.index_positives(matrix.core, num_classes))
    except _core.BadValue as error:
        _, row, _ = error.args
        raise _index_out_of_range(num_classes, matrix.value(row, 0), first_row + row) from None


def _index_out_of_range(num_classes: int, index: int, row: int) -> ValueError:
    return ValueError(f"labels: expected class indices from 0 to {num_classes - 1}, got {index} at row {row}")


def _from_sparse(labels: Any, num_rows: int, num_classes: int, scores: Any, unknown: float | None = None) -> Positives:
    if len(labels.shape) != 2:
        raise ValueError(f"labels: expected a sparse (N, C) matrix, got shape {tuple(labels.shape)}")
    _check_shape(labels.shape, num_rows, num_classes)
    pairs = labels.tocoo()
    if not isinstance(pairs.data, np.ndarray):
        raise TypeError(
            f"labels: expected a sparse matrix in CPU memory, got {type(labels).__name__} elsewhere; pass labels.get()"
        )
    left_out = np.zeros(pairs.data.shape, bool)
    if unknown is not None:
        left_out = pairs.data == unknown if unknown == unknown else pairs.data != pairs.data
    bad = np.flatnonzero((pairs.data != 0) & (pairs.data != 1) & ~left_out)
    if bad.size:
        i = bad[0]
        raise _bad_value(pairs.data[i].item(), pairs.row[i], pairs.col[i], scores, unknown)
    kept = pairs.data == 1
    positives = _from_pairs(pairs.row[kept], pairs.col[kept], num_rows, num_classes)
    if not left_out.any():
        return positives
    return positives.with_unknown(
        UnknownCells.of_pairs(pairs.row[left_out], pairs.col[left_out], num_rows, num_classes)
    )


def _from_lists(
    labels: Lists | Sequence[Any],
    num_rows: int,
    num_classes: int,
    form: str | None,
    device: Device | None,
    first_row: int,
    threads: int | None,
    scores: Any,
) -> Positives:
    """Labels of a list for each row, by the rule of `vltr_eval.formats.label_forms`."""
    if not isinstance(labels, Lists):
        lengths = [row.shape[0] if hasattr(row, "shape") else len(row) for row in labels]
        if len(labels) != num_rows and all(hasattr(row, "shape") for row in labels):
            # Different lengths that add up can only be shards of a column of class indices.
            if sum(lengths) == num_rows and len(set(lengths)) > 1:
                return _from_array(labels, num_rows, num_classes, device, first_row, threads, scores)
            raise ValueError(
                f"labels: expected one array of class indices for each of {num_rows} rows, got {len(labels)} arrays; "
                "pass them joined by concatenate if they are row shards, or stacked along axis 1 if each is a class"
            )
        form = form_of_rows(labels, form)
        labels = Lists.from_rows([plain_row(row) for row in labels])
    _check_shape((labels.num_rows, num_classes), num_rows, num_classes)
    form = form_of_lists(labels, num_classes, "labels", form)
    if form == DENSE:
        dense = dense_of_lists(labels, num_classes)
        return Positives.from_labels(dense, num_rows, num_classes, threads=threads, scores=scores)
    if form == NAMES:
        raise TypeError(
            f"labels: expected lists of class indices, got {labels.values.tolist()[0]!r}; class names can be used in "
            "evaluate and read_labels, which know the names of the classes"
        )
    if (odd := first_odd_value(labels)) is not None:
        raise TypeError(f"labels: expected lists of class indices, got {odd[1]!r}")
    return _from_pairs(labels.rows, labels.values, num_rows, num_classes)


def plain_row(row: Any) -> list[Any]:
    """The values of one row of a list of rows, as Python objects."""
    if isinstance(row, np.ndarray):
        return list(row.tolist())
    if hasattr(row, "shape"):
        return list(to_host(borrow("labels", row)).to_numpy().tolist())
    return [value.item() if isinstance(value, np.generic) else value for value in row]


def _from_pairs(
    rows: np.ndarray, classes: np.ndarray, num_rows: int, num_classes: int, first_row: int = 0
) -> Positives:
    """Compresses (row, class) pairs, in any order, by class."""
    if len(classes):
        bad = np.flatnonzero((classes < 0) | (classes >= num_classes))
        if bad.size:
            i = bad[0]
            raise _index_out_of_range(num_classes, classes[i], first_row + rows[i])
        outside = np.flatnonzero((rows < 0) | (rows >= num_rows))
        if outside.size:
            raise ValueError(f"labels: expected row numbers from 0 to {num_rows - 1}, got {rows[outside[0]]}")
    classes = np.asarray(classes, dtype=np.int64)
    rows = np.asarray(rows, dtype=np.int64)
    order = np.lexsort((rows, classes))
    rows, classes = rows[order], classes[order]
    repeated = np.flatnonzero((rows[1:] == rows[:-1]) & (classes[1:] == classes[:-1]))
    if repeated.size:
        i = repeated[0]
        raise ValueError(f"labels: expected each class once a row, got class {classes[i]} twice at row {rows[i]}")
    indptr = np.zeros(num_classes + 1, np.int64)
    np.cumsum(np.bincount(classes, minlength=num_classes), out=indptr[1:])
    return Positives(num_rows, num_classes, indptr, rows.astype(np.uint32))
