"""The core's operations on tables of boxes: AVA's text, and the best rows of each image in order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base import _core
from vltr_eval._base.arrays import num_threads
from vltr_eval._base.progress import Progress

__all__ = ["BoxText", "order_boxes", "read_box_text"]


class BoxText(NamedTuple):
    """One text. The columns of its boxes are those that were given to `read_box_text`."""

    num_lines: int
    num_boxes: int
    unscored_line: int  # the first line of seven columns, from 0; -1 if there is none
    names: list[bytes]  # distinct, in the order of their first line
    box_lines: np.ndarray | None  # (num_boxes,) int32, from 0; None if every line is a box
    image_videos: np.ndarray  # (M,) int32, of the lines of two columns
    image_times: np.ndarray  # (M,) float64


def read_box_text(
    text: np.ndarray,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None,
    threads: int | None = None,
) -> BoxText | None:
    """Read whole lines of ``video,time,x1,y1,x2,y2,class[,score]`` or ``video,time`` that end as on Unix.

    Args:
        text: (N,) uint8.
        columns: Where the boxes go, with room for every line: names' numbers (int32), times, corners (rows of four),
            classes (int32) and scores. None for a text of ``video,time`` alone.
        threads: CPU threads.

    Returns:
        The rest of the text. None for a text of another form: it has quotes within a name, a number that is not finite
        or unusual, or a line of other columns.
    """
    if columns is None:
        columns = _NO_COLUMNS
    videos, times, corners, classes, scores = columns
    found: Any = _core.read_box_text(
        text, columns is not _NO_COLUMNS, videos, times, corners, classes, scores, num_threads(threads)
    )
    return None if found is None else BoxText(*found)


_NO_COLUMNS = (
    np.empty(0, np.int32), np.empty(0), np.empty(0), np.empty(0, np.int32), np.empty(0)
)  # fmt: skip


def order_boxes(
    rows: np.ndarray,
    indptr: np.ndarray,
    classes: np.ndarray,
    corners: np.ndarray,
    scores: np.ndarray,
    *,
    limit: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Order the rows of each group by class, corners, score and row.

    Args:
        rows: Row numbers by group, (R,) int64.
        indptr: (G + 1,) where the rows of each group start.
        classes: (N,) int32.
        corners: (N, 4) float64.
        scores: (N,) float64.
        limit: The highest scores of a group that are kept, of equal ones the first in that order; None for all.
        threads: CPU threads.
        progress: Called with the fraction done.

    Returns:
        The kept rows, group by group.
    """
    return _core.order_boxes(rows, indptr, classes, corners, scores, limit or 0, num_threads(threads), progress)
