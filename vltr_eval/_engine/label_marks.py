"""Labels with unknown cells: values in them that say so, and masks beside them, become `UnknownCells`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vltr_eval._base.arrays import as_columns, borrow, to_host
from vltr_eval._engine.labels import Positives, is_dense_on_device, positives_on_device, unknown_of_known
from vltr_eval._engine.unknown import UnknownCells
from vltr_eval.formats.table import LabelPairs
from vltr_eval.formats.unknown_marks import (
    KNOWN,
    UNKNOWN,
    CellMask,
    UnknownMarks,
    apply_marks,
    check_cells,
    split_unknown,
)

__all__ = ["advice_on_indices", "as_mask", "positives_with_unknown", "read_positives", "unknown_of_mask"]

_CLASSES_AT_ONCE = 64


def read_positives(
    labels: Any, num_rows: int, num_classes: int, *, mask: Any = None, unknown: Any = None, **options: Any
) -> Positives:
    """Read labels in memory, with the marks and the mask of their unknown cells.

    Args:
        labels: See `Positives.from_labels`.
        num_rows: N.
        num_classes: C.
        mask: See `vltr_eval.evaluate`; no file.
        unknown: See there; no file.
        **options: Those of `Positives.from_labels`.
    """
    marks, mask = split_unknown(unknown, mask)
    masks = () if mask is None else (as_mask(mask),)
    return positives_with_unknown(labels, num_rows, num_classes, marks, masks, **options)


@contextmanager
def advice_on_indices() -> Iterator[None]:
    """Name the option of unknown labels in the error for a class index of -1."""
    try:
        yield
    except ValueError as error:
        if not re.search(r"expected class indices from 0 to \d+, got -1 at row \d+$", str(error)):
            raise
        advice = "if -1 marks rows that nobody knows, unknown=-1 (--unknown -1) leaves them out"
        raise ValueError(f"{error}; {advice}") from None


def positives_with_unknown(
    labels: Any,
    num_rows: int,
    num_classes: int,
    marks: UnknownMarks | None,
    masks: Sequence[CellMask],
    **options: Any,
) -> Positives:
    """Read labels with the unknown cells that marks in them and masks beside them state.

    A label in a cell that a mask of known cells leaves out is not read. A cell that is listed as unknown must not be
    positive.

    Raises:
        ValueError: See `Positives.from_labels`; or a mask of another shape.
    """
    threads = options.get("threads")
    listed = any(mask.kind == UNKNOWN for mask in masks)
    if (marks is not None or masks) and not listed and is_dense_on_device(labels, num_classes):
        hidden: UnknownCells | None = None
        for mask in masks:
            of_mask = _cells_of(mask, num_rows, num_classes, threads)
            hidden = hidden if of_mask is None else of_mask.union(hidden)
        return positives_on_device(
            labels,
            num_rows,
            num_classes,
            unknown=() if marks is None else marks.unknown,
            absent=() if marks is None else marks.absent,
            mask=hidden,
            device=options.get("device"),
            first_row=options.get("first_row", 0),
        )
    known = [mask.cells for mask in masks if isinstance(mask.cells, np.ndarray)]
    try:
        positives = _read_marked(labels, num_rows, num_classes, marks, options)
    except ValueError:  # perhaps of a cell that a mask hides
        if not known:
            raise
        for mask in masks:
            _cells_of(mask, num_rows, num_classes, threads)  # raises where the mask has another shape
        for cells in known:
            labels = _where(labels, cells)
        positives = _read_marked(labels, num_rows, num_classes, marks, options)
    for mask in masks:
        unknown = _cells_of(mask, num_rows, num_classes, threads)
        if mask.kind == UNKNOWN:
            positives.with_unknown(unknown)  # raises where a listed cell is positive
        positives = positives.leaving_out(unknown)
    return positives


def _read_marked(
    labels: Any, num_rows: int, num_classes: int, marks: UnknownMarks | None, options: dict[str, Any]
) -> Positives:
    """Labels with the unknown cells that their values state."""
    if marks is None or isinstance(labels, Positives):
        with advice_on_indices():
            return Positives.from_labels(labels, num_rows, num_classes, **options)
    if len(marks.unknown) == 1 and not marks.absent and _is_dense(labels, num_classes):  # one pass of the core
        return Positives.from_labels(labels, num_rows, num_classes, unknown=marks.unknown[0], **options)
    labels, unknown = _split(labels, num_rows, num_classes, marks)
    return Positives.from_labels(labels, num_rows, num_classes, **options).leaving_out(unknown)


def as_mask(mask: Any, name: str = "mask") -> CellMask:
    """A mask in memory: an (N, C) array that is True where the label is known, or a list of unknown cells.

    Raises:
        TypeError: Another kind of object.
        ValueError: An array of other values than 0 and 1.
    """
    if isinstance(mask, CellMask):
        return mask
    if isinstance(mask, UnknownCells):
        return CellMask(UNKNOWN, LabelPairs(mask.num_rows, mask.num_classes, *mask.pairs()), name)
    if isinstance(mask, LabelPairs):
        return CellMask(UNKNOWN, mask, name)
    if hasattr(mask, "tocoo"):
        pairs = mask.tocoo()
        kept = np.asarray(pairs.data != 0)
        return CellMask(UNKNOWN, LabelPairs(mask.shape[0], mask.shape[1], pairs.row[kept], pairs.col[kept]), name)
    if isinstance(mask, tuple) and len(mask) == 2:
        rows, classes = map(np.asarray, mask)
        if any(part.size and part.dtype.kind not in "iu" for part in (rows, classes)):
            raise TypeError(f"{name}: expected integer row and class numbers, got {rows.dtype} and {classes.dtype}")
        rows, classes = rows.astype(np.int64), classes.astype(np.int64)
        return CellMask(UNKNOWN, LabelPairs(-1, None, rows, classes), name)
    if isinstance(mask, (list, str, dict)) or not hasattr(mask, "shape"):
        raise TypeError(
            f"{name}: expected an (N, C) array that is True where a label is known, or unknown cells as a sparse "
            f"matrix, LabelPairs or a pair of arrays (rows, classes), got {type(mask).__name__}"
        )
    values = _to_numpy(name, mask)
    if values.dtype != bool:
        if not ((values == 0) | (values == 1)).all():
            odd = values[(values != 0) & (values != 1)].flat[0]
            raise ValueError(f"{name}: expected True where a label is known and False elsewhere, got {odd}")
        values = values != 0
    return CellMask(KNOWN, values, name)


def _to_numpy(name: str, values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    borrowed = borrow(name, values)
    host = borrowed if borrowed.device.index is None else to_host(as_columns(borrowed))
    return host.to_numpy().reshape(borrowed.shape)


def unknown_of_mask(mask: Any, num_rows: int, num_classes: int) -> UnknownCells | None:
    """The unknown cells of a mask in memory, see `vltr_eval.evaluate`."""
    return _cells_of(as_mask(mask), num_rows, num_classes)


def _cells_of(mask: CellMask, num_rows: int, num_classes: int, threads: int | None = None) -> UnknownCells | None:
    """The unknown cells of a mask that belongs to (N, C) scores."""
    cells = mask.cells
    if isinstance(cells, np.ndarray):
        if cells.ndim == 1 and num_classes == 1:
            cells = cells[:, None]
        if cells.shape != (num_rows, num_classes):
            raise ValueError(
                f"{mask.name}: expected shape ({num_rows}, {num_classes}) as scores has, got {cells.shape}"
            )
        if mask.kind == KNOWN:
            return unknown_of_known(cells, num_rows, num_classes, threads=threads)
        return _of_dense(cells)
    rows, classes = np.asarray(cells.rows), np.asarray(cells.classes)
    shape = (num_rows if cells.num_rows == -1 else cells.num_rows), cells.num_classes
    if shape[0] != num_rows or shape[1] not in (None, num_classes):
        raise ValueError(f"{mask.name}: expected cells of ({num_rows}, {num_classes}) scores, got those of {shape}")
    check_cells(mask.name, rows, classes, num_rows, num_classes)
    listed = UnknownCells.of_pairs(rows, classes, num_rows, num_classes)
    return listed if mask.kind == UNKNOWN else _complement(listed)


def _of_dense(unknown: np.ndarray) -> UnknownCells:
    """The cells where an (N, C) array of bool is True."""
    num_rows, num_classes = unknown.shape
    words = -(-num_rows // 64)
    bits = np.zeros((num_classes, 8 * words), np.uint8)
    for first in range(0, num_classes, _CLASSES_AT_ONCE):
        block = np.ascontiguousarray(unknown[:, first : first + _CLASSES_AT_ONCE].T)
        bits[first : first + _CLASSES_AT_ONCE, : -(-num_rows // 8)] = np.packbits(block, axis=1, bitorder="little")
    return UnknownCells.of_bits(bits.view("<u8").astype(np.uint64, copy=False), num_rows)


def _bits_of(cells: UnknownCells) -> np.ndarray:
    found = cells if cells.bits is not None else cells._as_bits()
    return np.asarray(found.bits)


def _complement(cells: UnknownCells) -> UnknownCells:
    bits = ~_bits_of(cells)
    rest = cells.num_rows % 64
    if rest and bits.size:
        bits[:, -1] &= np.uint64((1 << rest) - 1)
    return UnknownCells.of_bits(bits, cells.num_rows)


def _where(labels: Any, known: np.ndarray) -> Any:
    """Dense labels with 0 where a label is not known, so that whatever stands there is not read."""
    if not _is_dense(labels, known.shape[-1] if known.ndim == 2 else 1):
        return labels
    values = np.asarray(_joined(labels))
    if values.size != known.size:
        return labels  # its own shape is refused later, with both shapes in the message
    return np.where(known.reshape(values.shape), values, np.zeros((), values.dtype))


def _split(labels: Any, num_rows: int, num_classes: int, marks: UnknownMarks) -> tuple[Any, UnknownCells | None]:
    """Labels without marks, and the cells that these say are unknown; None if there is no mark."""
    if hasattr(labels, "tocoo"):
        return _split_sparse(labels, marks)
    if _is_dense(labels, num_classes):
        values = _joined(labels)
        labels, unknown = apply_marks(values, marks)
        return labels, _of_dense(unknown.reshape(len(unknown), -1)) if unknown.any() else None
    if _is_array(labels) and len(labels.shape) == 1:  # class indices: nobody knows any cell of a marked row
        if marks.absent:
            raise ValueError(f"unknown: expected -1 or 'nan' for labels that are class indices, got {marks.text!r}")
        values = _to_numpy("labels", labels)
        known, unknown = apply_marks(values, marks)
        if not unknown.any():
            return labels, None
        rows = np.flatnonzero(~unknown)
        classes = known[rows]
        if classes.dtype.kind == "f" and (classes == np.floor(classes)).all():
            classes = classes.astype(np.int64)
        pairs = LabelPairs(num_rows, num_classes, rows, classes)
        cells = np.zeros((num_rows, 1), bool)
        cells[unknown] = True
        return pairs, _of_dense(np.broadcast_to(cells, (num_rows, num_classes)))
    if marks.unknown:  # an empty list or a null may mean no label or an unknown row, so nothing is guessed
        raise ValueError(
            "unknown: expected labels with a cell for each class, or a class index for each row, got lists of classes, "
            f"in which {marks.text!r} marks no cell; give the unknown cells as mask= or as --unknown FILE"
        )
    return labels, None


def _split_sparse(labels: Any, marks: UnknownMarks) -> tuple[Any, UnknownCells | None]:
    """A sparse matrix, whose stored values may be marks."""
    pairs = labels.tocoo()
    values, unknown = apply_marks(np.asarray(pairs.data), marks)
    if not unknown.any():
        return labels, None
    cells = UnknownCells.of_pairs(pairs.row[unknown], pairs.col[unknown], *labels.shape)
    kept = values != 0
    odd = np.flatnonzero(kept & (values != 1))
    if odd.size:
        at = odd[0]
        raise ValueError(
            f"labels: expected 0, 1 or {marks.text}, got {values[at]} at row {pairs.row[at]}, class {pairs.col[at]}"
        )
    return LabelPairs(labels.shape[0], labels.shape[1], pairs.row[kept], pairs.col[kept]), cells


def _is_array(labels: Any) -> bool:
    is_array = hasattr(labels, "shape") and not hasattr(labels, "tocoo")
    return is_array and not (isinstance(labels, np.ndarray) and labels.dtype == np.dtype(object))


def _is_dense(labels: Any, num_classes: int) -> bool:
    """Whether labels are an (N, C) array, its row shards, or (N,) of one class."""
    if isinstance(labels, (list, tuple)):
        return bool(labels) and all(len(getattr(shard, "shape", ())) == 2 for shard in labels)
    return _is_array(labels) and len(labels.shape) == (2 if num_classes > 1 or len(labels.shape) == 2 else 1)


def _joined(labels: Any) -> np.ndarray:
    shards = labels if isinstance(labels, (list, tuple)) else [labels]
    found = [_to_numpy("labels", shard) for shard in shards]
    return found[0] if len(found) == 1 else np.concatenate(found)
