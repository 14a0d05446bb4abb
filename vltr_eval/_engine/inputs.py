"""Scores and labels of evaluation functions, in memory or in files, made ready for the core.

Arrays are borrowed without a copy. Paths and data frames are read by `vltr_eval.formats`, which matches classes by name
and rows by id.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.arrays import Matrix, borrow_matrix
from vltr_eval._base.progress import part_of
from vltr_eval._engine.label_marks import as_mask, positives_with_unknown
from vltr_eval._engine.labels import Positives, plain_row
from vltr_eval.formats import ClassNames, LabelPairs, Labels, Lists, Scores, is_spec, read_labels, read_pair
from vltr_eval.formats.align import check_join
from vltr_eval.formats.cells import Cells
from vltr_eval.formats.frames import is_frame
from vltr_eval.formats.label_forms import form_of_rows, is_rows
from vltr_eval.formats.unknown_marks import CellMask, UnknownMarks, split_unknown
from vltr_eval.report.settings import check_reduce

__all__ = ["Inputs", "ReadingOptions", "read_inputs", "read_matrix_and_positives", "to_labels"]

if TYPE_CHECKING:
    from vltr_eval.formats.slice_files import RowSlice


@dataclass(frozen=True, eq=False)
class Inputs:
    """Scores and labels that belong together.

    Attributes:
        scores: The borrowed (N, C) matrix.
        labels: Labels of any form that `Positives.from_labels` takes.
        class_names: C names, or None where nobody named the classes.
        ids: (N,) row ids, or None.
        notes: Sentences about what was left out, reordered or joined.
        marks: The values of the labels that mark unknown cells, or None.
        masks: Which cells are known, and which are not, beside the labels.
    """

    scores: Matrix
    labels: Any
    class_names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    marks: UnknownMarks | None = None
    masks: tuple[CellMask, ...] = ()

    def positives(self, *, form: str | None = None, threads: int | None = None) -> Positives:
        """The positives of the labels; those of arrays on a device stay there."""
        matrix = self.scores
        return positives_with_unknown(
            self.labels,
            matrix.num_rows,
            matrix.num_classes,
            self.marks,
            self.masks,
            form=form,
            device=matrix.device,
            threads=threads,
            scores=matrix,
        )

    def row_slices(self, slices: Any) -> tuple[RowSlice, ...]:
        """The slices of the rows in any form of `vltr_eval.formats.slice_files.read_slices`; none of None."""
        if slices is None:
            return ()
        from vltr_eval.formats.slice_files import read_slices  # not above: few evaluations have slices

        return read_slices(slices, self.scores.num_rows, self.ids)


@dataclass(frozen=True, eq=False)
class ReadingOptions:
    """The options of reading that `evaluate`, `Evaluation.from_predictions` and `compare` take as keyword arguments.

    The fields are keywords of `read_inputs`; see `vltr_eval.formats.read_pair`.
    """

    ids: Any = None
    label_ids: Any = None
    columns: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    header: bool | None = None
    label_form: str | None = None
    join: str = "exact"
    reduce: str | None = None
    mask: Any = None
    unknown: Any = None


def read_inputs(
    scores: Any,
    labels: Any,
    *,
    ids: Any = None,
    label_ids: Any = None,
    columns: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    header: bool | None = None,
    label_form: str | None = None,
    class_names: Sequence[str] | ClassNames | None = None,
    join: str = "exact",
    reduce: str | None = None,
    threads: int | None = None,
    mask: Any = None,
    unknown: Any = None,
    progress: Callable[[float], None] | None = None,
) -> Inputs:
    """Make scores and labels ready: borrow arrays, read files and frames, match classes by name and rows by id.

    Args:
        scores: (N, C) array, (N,) for one class, a list of row shards, a data frame, or a spec of files.
        labels: Any form that `Positives.from_labels` takes, a data frame or Series, or a spec of files.
        ids: See `vltr_eval.formats.read_pair`, as all up to ``join``.
        reduce: How the rows of one id become one row; None if every row is a sample.
        threads: CPU threads of the reduction.
        progress: Called with the fraction done.

    Raises:
        ValueError: Scores or labels that cannot be read, or that do not belong together.
        TypeError: An object that is neither an array nor a file.
    """
    check_join(join)
    marks, mask = split_unknown(unknown, mask)
    if reduce is not None:
        check_reduce(reduce)
    for name, chosen in (("columns", columns), ("exclude", exclude)):
        if chosen is not None and len(chosen) and not (is_spec(scores) or is_frame(scores)):
            raise ValueError(
                f"{name}: expected scores in a file or a data frame, got {type(scores).__name__}; index the arrays "
                "instead, as in scores[:, 1:] and labels[:, 1:]"
            )
    needs_reading = any(
        isinstance(side, (Scores, Labels)) or is_spec(side) or is_frame(side) for side in (scores, labels)
    )
    needs_reading |= mask is not None and (is_spec(mask) or is_frame(mask))
    needs_reading |= marks is not None and marks.unlisted
    needs_names = class_names is not None and _holds_names(labels)
    if not needs_reading and not needs_names and ids is None and label_ids is None and reduce is None:
        names = class_names.names if isinstance(class_names, ClassNames) else class_names
        return Inputs(
            borrow_matrix("scores", scores),
            labels,
            None if names is None else tuple(map(str, names)),
            marks=marks,
            masks=() if mask is None else (as_mask(mask),),
        )
    aligned = read_pair(
        scores if _is_readable(scores, Scores) else _scores_in_memory(scores),
        labels if _is_readable(labels, Labels) else _labels_in_memory(labels, label_form),
        ids=ids,
        label_ids=label_ids,
        columns=columns,
        exclude=exclude,
        header=header,
        label_form=label_form,
        class_names=class_names,
        join=join,
        views=reduce is not None,
        mask=mask if mask is None or is_spec(mask) or is_frame(mask) else as_mask(mask),
        unknown=marks,
        progress=part_of(progress, 0.0, 1.0 if reduce is None else 0.5),
    )
    try:
        matrix = borrow_matrix("scores", aligned.scores)
    except ValueError as error:
        raise type(error)(f"{aligned.name}: {error}") if aligned.name != "scores" else error from None
    if reduce is not None and aligned.views is not None:
        from vltr_eval._engine.reduction import reduced_pair  # not above: few evaluations have views

        share = part_of(progress, 0.5, 1.0)
        pair = reduced_pair(
            matrix,
            aligned.labels,
            aligned.views,
            reduce,
            marks=marks,
            masks=aligned.masks,
            form=label_form,
            threads=threads,
            progress=share,
        )
        notes = (*aligned.notes, pair[2].note(reduce))
        return Inputs(pair[0], pair[1], aligned.class_names, aligned.ids, notes)
    return Inputs(matrix, aligned.labels, aligned.class_names, aligned.ids, aligned.notes, marks, aligned.masks)


def to_labels(labels: Any, num_classes: int | None = None) -> Any:
    """Labels without scores beside them: what names a file or is a data frame is read, the rest stays as it is."""
    if is_spec(labels) or is_frame(labels):
        labels = read_labels(labels, num_classes=num_classes)
    return labels.values if isinstance(labels, Labels) else labels


def _is_readable(side: Any, kind: type) -> bool:
    return isinstance(side, kind) or is_spec(side) or is_frame(side)


def _scores_in_memory(scores: Any) -> Scores:
    """Arrays in memory, to be joined by id with something that is read."""
    if isinstance(scores, (list, tuple)):
        is_shards = all(len(getattr(shard, "shape", ())) > 0 for shard in scores)
        return Scores(list(scores) if is_shards else np.array(scores))
    if not hasattr(scores, "shape"):
        raise TypeError(f"scores: expected an array, a data frame or a path, got {type(scores).__name__}")
    return Scores(scores)


def _holds_names(labels: Any) -> bool:
    """Whether labels in memory are class names: text, or lists of text."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "UO":
        labels = labels.tolist()
    if not isinstance(labels, (list, tuple)):
        return False
    values = (value for row in labels for value in (row if isinstance(row, (list, tuple, set, frozenset)) else [row]))
    return isinstance(next(values, None), str)


def _labels_in_memory(labels: Any, form: str | None) -> Labels:
    """Labels of any form in memory, to be joined by id with something that is read."""
    if isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "UO":
        texts = labels.astype(object)
        if len(texts) and all(isinstance(text, str) for text in texts):
            return Labels(Cells(texts, "labels"))
    if isinstance(labels, np.ndarray) and labels.dtype == object and labels.ndim == 1:
        labels = labels.tolist()
    if isinstance(labels, (LabelPairs, Lists)):
        return Labels(labels)
    if hasattr(labels, "tocoo"):
        labels = Positives.from_labels(labels, *labels.shape)
    if isinstance(labels, Positives) and labels.unknown is not None:
        raise TypeError("labels: expected Positives without unknown cells to join by id, got some; pass mask= instead")
    if isinstance(labels, Positives):
        classes = np.repeat(np.arange(labels.num_classes), labels.counts)
        return Labels(LabelPairs(labels.num_rows, labels.num_classes, labels.rows.astype(np.int64), classes))
    if is_rows(labels):
        form = form_of_rows(labels, form)
        return Labels(Lists.from_rows([plain_row(row) for row in labels]), form=form)
    if isinstance(labels, (list, tuple)):
        is_shards = all(len(getattr(shard, "shape", ())) > 0 for shard in labels)
        return Labels(np.concatenate(labels) if is_shards and labels else np.array(labels))
    if not hasattr(labels, "shape"):
        raise TypeError(f"labels: expected an array, lists, a data frame or a path, got {type(labels).__name__}")
    return Labels(labels)


def read_matrix_and_positives(
    scores: Any, labels: Any, threads: int | None, mask: Any = None, unknown: Any = None
) -> tuple[Matrix, Positives]:
    """Scores and labels of a metric function: the first thing that every one of them does."""
    is_whole = mask is None and unknown is None
    if is_whole and _is_plain(scores) and _is_plain(labels):  # to look for files takes as long as a small scan
        inputs = Inputs(borrow_matrix("scores", scores), labels)
    else:
        inputs = read_inputs(scores, labels, mask=mask, unknown=unknown)
    return inputs.scores, inputs.positives(threads=threads)


def _is_plain(array: Any) -> bool:
    """Whether an array is numpy's own, without named columns."""
    return type(array) is np.ndarray and array.dtype.names is None


def positives_alone(labels: Any, num_classes: int | None) -> Positives:
    """Labels without scores: their shape gives rows and, if they are dense or sparse, classes."""
    labels = to_labels(labels, num_classes)
    if isinstance(labels, Positives):
        return labels
    shape: Any = getattr(labels, "shape", None)
    if shape is None:
        shape = (getattr(labels, "num_rows", None) or len(labels),)
        num_classes = num_classes or getattr(labels, "num_classes", None)
    if len(shape) == 2:
        num_classes = shape[1]
    if num_classes is None:
        raise ValueError("num_classes: expected the number of classes with labels that do not tell it, got None")
    return Positives.from_labels(labels, shape[0], num_classes)
