"""The forms of labels and the rule that tells each: one rule for files and for objects in memory.

A list for each row (JSON, list columns, Python lists, index tensors) is read as follows. C is the number of classes.

1. Lists of text are class names.
2. Lists of bool, or of numbers with a fraction, are rows of a dense matrix; each must have C values.
3. Lists of whole numbers are class indices, unless every row has exactly C values and all values are 0 or 1. Then they
   are rows of a dense 0/1 matrix if some row repeats a value, since no row lists a class twice (with more than two
   classes some value always repeats), or if a 1 is no class index since there is one class.
4. Otherwise both readings are possible (C is 1 or 2, and every row has exactly C values of 0 or 1): this is refused,
   and ``label_form="lists"`` or ``"dense"`` says which is meant. In memory, sets are always class indices.

(N,) whole numbers are class indices; with one class they are its column of 0 and 1. An (N, C) array is dense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vltr_eval.formats.table import Lists

DENSE, INDICES, LISTS, NAMES = "dense", "indices", "lists", "names"
FORMS = (DENSE, INDICES, LISTS, NAMES, "long", "videofolder")
"""The values of ``label_form``: how a person says which form labels have.

dense: (N, C) of 0/1. indices: one class index a row. lists: several class indices a row. names: class names.
long: one line for each (id, class), joined by id. videofolder: ``<class>/<id> <frames> <class>,...`` lines.
"""


def check_form(form: str | None) -> str | None:
    if form is not None and form not in FORMS:
        raise ValueError(f"label_form: expected one of {', '.join(FORMS)}, got {form!r}")
    return form


def check_array_form(name: str, shape: tuple[int, ...], num_classes: int, form: str | None) -> None:
    """Raise ValueError where labels that are an array cannot have the form that the user stated."""
    if len(shape) == 2 and form not in (None, DENSE):
        raise ValueError(
            f"{name}: expected labels of the form {form!r}, got a column for each of {shape[1]} classes; leave out "
            "label_form (--label-form)"
        )
    if len(shape) == 1 and num_classes > 1 and form in (DENSE, "videofolder"):
        raise ValueError(
            f"{name}: expected labels of the form {form!r}, got one column of class indices; leave out label_form "
            "(--label-form)"
        )


def form_of_lists(lists: Lists, num_classes: int, name: str, form: str | None = None) -> str:
    """Tell the form of lists by the module's rule: NAMES, DENSE or LISTS.

    Args:
        lists: One list for each row.
        num_classes: C.
        name: Begins the messages: the file, or the argument.
        form: The form that the user chose; it decides.

    Raises:
        ValueError: Both readings are possible, or dense rows have another number of values than C.
    """
    if form in (LISTS, NAMES):
        return form
    if lists.is_text:
        return NAMES
    lengths, values = lists.lengths, lists.values
    if form == INDICES:
        if (lengths > 1).any():
            row = int(np.argmax(lengths > 1))
            raise ValueError(f"{name}: expected one class index in every row, got {lengths[row]} in row {row}")
        return LISTS
    is_full = lists.num_rows > 0 and bool((lengths == num_classes).all())
    if form == DENSE and not is_full:
        row = int(np.argmax(lengths != num_classes))
        raise ValueError(
            f"{name}: expected {num_classes} values of 0 or 1 in every row, got {lengths[row]} in row {row}"
        )
    if form == DENSE:
        return DENSE
    if values.dtype != np.int64:
        is_number = (isinstance(value, float) or (isinstance(value, int) and value <= 1) for value in values.tolist())
        return DENSE if is_full and all(is_number) else LISTS
    if not (is_full and ((values == 0) | (values == 1)).all()):
        return LISTS
    rows = np.sort(values.reshape(-1, num_classes), axis=1)
    if num_classes > 2 or bool((np.diff(rows, axis=1) == 0).any()) or (num_classes == 1 and values.any()):
        return DENSE
    remedy = "label_form='lists' if they are class indices, 'dense' if they are rows of a matrix (--label-form)"
    if name == "labels":  # in memory an object can say it by itself
        remedy = "sets if they are class indices, np.array(labels) if they are rows of a matrix"
    raise ValueError(
        f"{name}: expected lists of class indices, got {num_classes} value{'s' * (num_classes > 1)} of 0 or 1 in every "
        f"row; pass {remedy}"
    )


def dense_of_lists(lists: Lists, num_classes: int) -> np.ndarray:
    """Lists of C values each as an (N, C) array."""
    values = lists.values if lists.values.dtype != object else lists.values.astype(np.float64)
    return values.reshape(lists.num_rows, num_classes)


def first_odd_value(lists: Lists) -> tuple[int, Any] | None:
    """The row and the value of an entry that is no whole number, with a fraction if any; None where all are whole."""
    values = lists.values
    if values.dtype == np.int64 or not len(values):
        return None
    odd = np.array([type(value) is not int for value in values.tolist()])
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        odd = values != np.floor(values)
    if not odd.any():
        return None
    position = int(np.argmax(odd))
    return int(lists.rows[position]), values[position : position + 1].tolist()[0]


def is_rows(value: Any) -> bool:
    """Whether a list in memory has one entry of values for each row, rather than numbers or 2-D row shards."""
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(map(_is_row, value))


def form_of_rows(rows: Sequence[Any], form: str | None) -> str | None:
    """The form that rows in memory state: sets are class indices, since no matrix has rows that are sets."""
    are_sets = all(isinstance(row, (set, frozenset)) for row in rows)
    return LISTS if form is None and are_sets and not any(isinstance(v, str) for row in rows for v in row) else form


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or len(getattr(value, "shape", ())) == 1
