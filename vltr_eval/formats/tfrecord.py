"""Read the TFRecord files of YouTube-8M: labels and ids of the video and frame level, rated segments, mean features.

TensorFlow is not needed. The checksum of every record is compared.

A record is a ``tf.Example`` (video level: id, labels, mean_rgb, mean_audio) or a ``tf.SequenceExample`` (frame level:
id, labels, and a text of quantised bytes for each frame). The files of 2017 call the id video_id.

A record with ``segment_labels`` has ratings of some segments of 5 seconds. Only rated cells are known: a score of 1 is
a positive, 0 a negative, and every other class of a segment is unknown.

Legend: N rows (videos), C classes, D features, R ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval._base.progress import part_of
from vltr_eval._base.records import Block, Feature, FeatureColumn, record_blocks
from vltr_eval.formats.arrays import MAX_CLASSES
from vltr_eval.formats.roles import IDS, LABELS, Role
from vltr_eval.formats.sources import Source, Spec, check_regular, expand, quote, reading
from vltr_eval.formats.table import LabelPairs, Lists, Table
from vltr_eval.formats.views import group_by_id

SEGMENT_LABELS = "segment_labels"

_ID_NAMES = ("id", "video_id")  # of 2018 and 2017
_IDS = tuple(Feature(name, "bytes") for name in _ID_NAMES)
_LABELS = Feature("labels", "int64")
_SEGMENTS = (
    Feature(SEGMENT_LABELS, "int64"),
    Feature("segment_start_times", "int64"),
    Feature("segment_end_times", "int64"),
    Feature("segment_scores", "float"),
)

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class SegmentRatings:
    """The rated cells of YouTube-8M's segments; all other cells are unknown.

    Attributes:
        videos: (R,) objects of str, the video of each rating.
        start_times: (R,) int64, the second at which the segment starts.
        classes: (R,) int64.
        scores: (R,) float32, 1 where raters saw the class in the segment, else 0.
    """

    videos: np.ndarray
    start_times: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @property
    def ids(self) -> np.ndarray:
        """The id of each rating's segment, ``video:start`` as in the submissions: (R,) objects of str."""
        pairs = zip(self.videos.tolist(), self.start_times.tolist(), strict=True)
        return np.array([f"{video}:{start}" for video, start in pairs], object)

    def __repr__(self) -> str:
        return f"<SegmentRatings of {len(set(self.videos.tolist())):,} videos, {len(self.classes):,} ratings>"


def read_tfrecord(source: Source, role: Role, progress: Progress | None = None, *, rated_only: bool = False) -> Table:
    """Read the labels and ids of a file, or with ``FILE::NAME`` a feature of equally many floats in every record.

    Args:
        source: The file.
        role: Its use.
        progress: Called with the share of the bytes that is done.
        rated_only: Whether labels are those of the rated segments, whose other cells are unknown.

    Raises:
        InputError: A wrong checksum, a record that is no tf.Example, no id or no labels, or a class that cannot be.
    """
    if source.key == SEGMENT_LABELS:
        raise InputError(
            f"{source}: only the rated segments are known, so these are no labels of every cell; leave out "
            f"::{SEGMENT_LABELS} and give unknown='unlisted' (--unknown unlisted), or read them by "
            "vltr_eval.formats.read_youtube8m_segments"
        )
    if source.key is not None and source.key != _LABELS.name:
        return _read_floats(source, Feature(source.key, "float"), progress)
    if role not in (LABELS, IDS):
        raise InputError(
            f"{source}: a TFRecord file of YouTube-8M holds labels, not {role.name}; pick a feature as FILE::NAME"
        )
    if rated_only and role is LABELS:
        return _rated_cells(source, progress)
    ids: list[str] = []
    rows, classes, num_segments = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for block in _blocks(source, progress):
        *id_columns, labels, segments = block.parse((*_IDS, _LABELS, Feature(SEGMENT_LABELS, "count")))
        _check_labels(source, block, labels)
        rows.append(np.repeat(np.arange(len(ids), len(ids) + len(block.offset)), np.diff(labels.offset)))
        classes.append(labels.values)
        ids += _ids(source, block, id_columns)
        num_segments += int(segments.found.sum())
    pairs, num_repeated = _distinct_pairs(np.concatenate(rows), np.concatenate(classes))
    notes = []
    if num_repeated:
        notes.append(f"{source.name}: {num_repeated:,} labels are listed twice in their record, and count once")
    if num_segments and role is LABELS:
        rated = f"the rated segments of {num_segments:,} videos are not read"
        notes.append(f"{source.name}: labels are those of whole videos; {rated}")
    return Table(source, len(ids), pairs=LabelPairs(len(ids), None, *pairs), ids=_objects(ids), notes=tuple(notes))


def read_segments(spec: Spec, progress: Progress | None = None) -> SegmentRatings:
    """Read the rated segments of files; `vltr_eval.formats.read_youtube8m_segments` has the arguments."""
    sources = expand(spec)
    found = [
        _ratings(source, part_of(progress, number / len(sources), (number + 1) / len(sources)))
        for number, source in enumerate(sources)
    ]
    return SegmentRatings(
        np.concatenate([ratings.videos for ratings in found]),
        np.concatenate([ratings.start_times for ratings in found]),
        np.concatenate([ratings.classes for ratings in found]),
        np.concatenate([ratings.scores for ratings in found]),
    )


def _ratings(source: Source, progress: Progress | None) -> SegmentRatings:
    """The ratings of one file."""
    videos: list[str] = []
    columns: list[list[np.ndarray]] = [[np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]]
    for block in _blocks(source, progress):
        *id_columns, classes, starts, _, scores = block.parse((*_IDS, *_SEGMENTS))
        _check_labels(source, block, classes)
        for column, name in ((starts, "segment_start_times"), (scores, "segment_scores")):
            differ = np.flatnonzero(column.offset != classes.offset)
            if differ.size:
                number = block.first + int(differ[0]) - 1
                raise InputError(f"{source}: record {number}: expected as many {name} as {SEGMENT_LABELS}")
        wrong = np.flatnonzero(~((scores.values == 0) | (scores.values == 1)))
        if wrong.size:
            number = block.first + int(np.searchsorted(scores.offset, wrong[0], side="right")) - 1
            raise InputError(
                f"{source}: record {number}: expected segment_scores of 0 or 1, got {scores.values[wrong[0]]}"
            )
        counts = np.diff(classes.offset).tolist()
        videos += [
            name for name, count in zip(_ids(source, block, id_columns), counts, strict=True) for _ in range(count)
        ]
        for found, column in zip(columns, (starts, classes, scores), strict=True):
            found.append(column.values)
    starts_of, classes_of, scores_of = map(np.concatenate, columns)
    return SegmentRatings(_objects(videos), starts_of, classes_of, scores_of)


def _rated_cells(source: Source, progress: Progress | None) -> Table:
    """The rated segments of a file, a row each: their positives, and all cells with a rating."""
    ratings = _ratings(source, progress)
    if not len(ratings.classes):
        raise InputError(
            f"{source}: expected rated segments for unknown='unlisted' (--unknown unlisted), got no {SEGMENT_LABELS}; "
            "give the frame-level validation files of 2019"
        )
    ids, rows = group_by_id(ratings.ids)
    is_seen = ratings.scores == 1
    (seen_rows, seen), _ = _distinct_pairs(rows[is_seen], ratings.classes[is_seen])
    (known_rows, known), _ = _distinct_pairs(rows, ratings.classes)
    (unseen_rows, unseen), _ = _distinct_pairs(rows[~is_seen], ratings.classes[~is_seen])
    if len(seen) + len(unseen) != len(known):
        both = np.intersect1d(seen_rows * MAX_CLASSES + seen, unseen_rows * MAX_CLASSES + unseen)[0]
        raise InputError(
            f"{source}: expected one rating of a class in a segment, got 0 and 1 for class {both % MAX_CLASSES} in "
            f"{quote(ids[both // MAX_CLASSES])}"
        )
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(known_rows, minlength=len(ids)))])
    order = np.argsort(known_rows, kind="stable")
    note = f"{source.name}: labels are those of {len(ids):,} rated segments; cells without a rating are unknown"
    return Table(
        source,
        len(ids),
        pairs=LabelPairs(len(ids), None, seen_rows, seen),
        ids=ids,
        notes=(note,),
        known=Lists(indptr, known[order]),
    )


def _blocks(source: Source, progress: Progress | None) -> Iterator[Block]:
    with reading(source):
        check_regular(source)
        yield from record_blocks(source.path, progress=progress)


def _read_floats(source: Source, feature: Feature, progress: Progress | None) -> Table:
    """One feature of D floats a record, as an (N, D) array."""
    parts: list[np.ndarray] = []
    ids: list[str] = []
    for block in _blocks(source, progress):
        *id_columns, column = block.parse((*_IDS, feature))
        lengths = np.diff(column.offset)
        expected = parts[0].shape[1] if parts else int(lengths[0])
        wrong = np.flatnonzero((lengths != expected) | (lengths == 0))
        if wrong.size:
            got = f"{lengths[wrong[0]]} numbers" if column.found[wrong[0]] else "no such feature"
            expected_text = f"{expected} numbers" if expected else "numbers"
            raise InputError(f"{source}: record {block.first + wrong[0]}: expected {expected_text}, got {got}")
        parts.append(column.values.reshape(len(lengths), expected))
        ids += _ids(source, block, id_columns)
    array = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
    return Table(source, len(array), array=array, ids=_objects(ids))


def _ids(source: Source, block: Block, columns: Sequence[FeatureColumn]) -> list[str]:
    """The id of each record."""
    ids = []
    counts = [np.diff(column.offset) for column in columns]
    total = counts[0] + counts[1]
    if (total != 1).any():
        row = int(np.argmax(total != 1))
        raise InputError(
            f"{source}: record {block.first + row}: expected one {' or '.join(_ID_NAMES)}, got {int(total[row])}"
        )
    texts = [iter(block.texts(column)) for column in columns]
    for row, has_id in enumerate(counts[0].tolist()):
        try:
            ids.append(next(texts[0 if has_id else 1]).decode())
        except UnicodeDecodeError:
            raise InputError(f"{source}: record {block.first + row}: expected an id of UTF-8 text") from None
    return ids


def _check_labels(source: Source, block: Block, column: FeatureColumn) -> None:
    wrong = np.flatnonzero((column.values < 0) | (column.values >= MAX_CLASSES))
    if wrong.size:
        row = int(np.searchsorted(column.offset, wrong[0], side="right")) - 1
        raise InputError(
            f"{source}: record {block.first + row}: expected class indices from 0 up, got {column.values[wrong[0]]}"
        )


def _distinct_pairs(rows: np.ndarray, classes: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    """Pairs without repetition, and how many were repeated."""
    cells = rows * MAX_CLASSES + classes  # below 2**62, as there are fewer than 2**31 records
    if (cells[1:] > cells[:-1]).all():
        return (rows, classes), 0
    kept = np.unique(cells)
    return (kept // MAX_CLASSES, kept % MAX_CLASSES), len(cells) - len(kept)


def _objects(texts: list[Any]) -> np.ndarray:
    values = np.empty(len(texts), object)
    values[:] = texts
    return values
