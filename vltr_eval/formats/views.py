"""Rows that are views of one video, by their ids: the clips or frames of a video, the crops of an image.

Scores and labels may have one row for each view or one for each video, in any order. A `Views` says which video each
row belongs to. Videos are numbered in the order of their first row of scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Views", "group_by_id"]


@dataclass(frozen=True, eq=False)
class Views:
    """The video of each row of scores and of labels.

    Attributes:
        ids: (V,) the ids of the videos, int64 or objects of str.
        of_row: (N,) int64, the video of each row of scores; -1 for a row that is left out.
        of_label: (L,) int64, the same of each row of labels.
    """

    ids: np.ndarray
    of_row: np.ndarray
    of_label: np.ndarray

    @property
    def num_videos(self) -> int:
        return len(self.ids)

    @property
    def counts(self) -> np.ndarray:
        """(V,) int64, the rows of scores of each video."""
        return np.bincount(self.of_row[self.of_row >= 0], minlength=self.num_videos)

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of scores of each video, as offsets (V + 1,) int64 and row numbers, ascending in each, uint32."""
        order = np.argsort(self.of_row, kind="stable").astype(np.uint32)
        counts = self.counts
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), order[len(order) - int(counts.sum()) :]


def group_by_id(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct ids in the order of their first rows.

    Args:
        ids: (N,) int64 or objects of str.

    Returns:
        The distinct ids, and (N,) int64 that says which of them each row has.

    Example:
        >>> names, of_row = group_by_id(np.array(["b", "a", "b"], object))
        >>> names.tolist(), of_row.tolist()
        (['b', 'a'], [0, 1, 0])
    """
    if ids.dtype == object:
        number_of: dict[Any, int] = {}
        of_row = np.fromiter((number_of.setdefault(name, len(number_of)) for name in ids.tolist()), np.int64, len(ids))
        distinct = np.empty(len(number_of), object)
        distinct[:] = list(number_of)
        return distinct, of_row
    known, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(known), np.int64)
    number[order] = np.arange(len(known))
    return known[order], number[inverse.reshape(-1)]  # numpy 2.0 gives the inverse another shape
