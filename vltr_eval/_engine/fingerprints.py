"""Fingerprints of labels and row ids: SHA-256, so that a file can name a set of rows without holding it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np

from vltr_eval._engine.labels import Positives
from vltr_eval._engine.sample_ids import distinct_ids, pack_ids, read_ids
from vltr_eval._engine.unknown import UnknownCells


def label_fingerprint(positives: Positives, order: np.ndarray | None = None) -> str:
    """SHA-256 of labels: rows, classes, positives, and unknown cells if there are any.

    order: (N,) the rows in the order in which they are numbered.
    """
    rows = positives.rows
    number_of: np.ndarray | None = None
    if order is not None:
        number_of = np.empty(len(order), np.uint32)
        number_of[order] = np.arange(len(order), dtype=np.uint32)
        rows = number_of[rows]
        classes = np.repeat(np.arange(positives.num_classes), positives.counts)
        rows = rows[np.lexsort((rows, classes))]
    size = np.array([positives.num_rows, positives.num_classes], "<i8")
    unknown = _unknown_arrays(positives.unknown, number_of)
    return sha256_of(size, positives.indptr.astype("<i8"), rows.astype("<u4"), more=unknown)


def _unknown_arrays(unknown: UnknownCells | None, number_of: np.ndarray | None) -> Iterator[np.ndarray]:
    """The unknown cells as arrays: their counts, then the rows of each class, ascending. Lists and bits give the same.

    number_of: (N,) the new numbers of the rows, or None.
    """
    if unknown is None or not unknown.counts.any():
        return
    yield unknown.counts.astype("<i8")
    for c in np.flatnonzero(unknown.counts).tolist():
        rows = unknown.rows_of(c)
        yield (rows if number_of is None else np.sort(number_of[rows])).astype("<u4")


def order_by_id(ids: Any, num_rows: int) -> tuple[str | None, np.ndarray | None]:
    """The fingerprint of ids, and the rows in ascending order of them, or None if they ascend.

    Ids that occur twice number no rows, so both are None.
    """
    known = read_ids(ids, num_rows)
    distinct, first, _ = distinct_ids(known)
    if len(distinct) < num_rows:
        return None, None
    fingerprint = sha256_of(*(array.astype(array.dtype.newbyteorder("<")) for array in pack_ids(distinct).values()))
    return fingerprint, None if bool(np.all(first == np.arange(num_rows))) else first


def sha256_of(*arrays: np.ndarray, more: Iterable[np.ndarray] = ()) -> str:
    """SHA-256 of the bytes of arrays, one after the other. more: arrays after these, made one at a time."""
    import hashlib  # not above: it loads OpenSSL, which takes milliseconds

    found = hashlib.sha256()
    for array in chain(arrays, more):
        found.update(np.ascontiguousarray(array).view(np.uint8).data)
    return found.hexdigest()


def read_fingerprint(text: Any) -> str:
    """Return a SHA-256 in hexadecimal that a file has. Raises ValueError if it is none."""
    if not isinstance(text, str) or len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"fingerprint {text!r}")
    return text
