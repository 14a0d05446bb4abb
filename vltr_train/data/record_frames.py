"""The frames of YouTube-8M's TFRecord files, as one data source of videos. TensorFlow is not needed.

A record has a text of D bytes for each frame and feature. Byte q stands for q * 4 / 255 + 4 / 512 - 2, computed in
float32 as the published code does. float16 then differs by at most 0.0005, a thirtieth of the step between two bytes,
and keeps all 256 values apart.

Legend: V videos, n frames of one of them, D features.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vltr_eval._base.progress import part_of
from vltr_eval._base.records import Block, Feature, FeatureColumn, expand_bytes, record_blocks, whole_file
from vltr_eval.formats import InputError

__all__ = ["RecordFrames", "dequantized", "record_files"]

FEATURES = ("rgb", "audio")
"""The features of a frame, which are joined in this order."""

_OPEN_FILES = 4  # whose mappings, or decompressed bytes, are kept
_SUFFIXES = (".tfrecord", ".tfrecords", ".tfrecord.gz", ".tfrecords.gz")

Progress = Callable[[float], None]


def dequantized() -> np.ndarray:
    """The number of each byte: (256,) float32, as `Dequantize` of the published code computes it."""
    return np.arange(256, dtype=np.float32) * np.float32(4 / 255.0) + np.float32(4 / 512.0 - 2)


def record_files(folder: Path, prefix: str = "") -> list[Path]:
    """The TFRecord files of a folder whose names begin in some way, by name."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None
    return [path for path in paths if path.name.startswith(prefix) and path.name.lower().endswith(_SUFFIXES)]


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the record of a video is: the number of its file, and the record within it."""

    file: int
    offset: int
    length: int
    record: int


class RecordFrames:
    """The videos of some TFRecord files of the frame level; each file is read once to find them, with its checksums.

    Attributes:
        paths: The files.
        ids: The videos, in the order of the files.
        lengths: (V,) int64, the frames of each.
        widths: The numbers of each feature in a frame; those that no record has are left out.
        classes: The class indices of each video.
        old_names: Whether the ids are called video_id, as in the files of 2017.
    """

    def __init__(self, paths: Sequence[Path], threads: int | None = None, progress: Progress | None = None) -> None:
        self.paths = list(paths)
        self.widths: dict[str, int] = {}
        self.old_names = False
        self.classes: list[list[int]] = []
        self._place: dict[str, _Place] = {}
        self._open: OrderedDict[int, Block] = OrderedDict()
        self._lock = threading.Lock()
        self._table = dequantized()
        lengths: list[int] = []
        for number, path in enumerate(self.paths):
            part = part_of(progress, number / len(self.paths), (number + 1) / len(self.paths))
            lengths += self._index(number, path, threads, part)
        self.ids = tuple(self._place)
        self.lengths = np.array(lengths, np.int64)

    @property
    def dim(self) -> int:
        """D, of all features together."""
        return sum(self.widths.values())

    def __repr__(self) -> str:
        return f"RecordFrames({len(self.paths):,} files, {len(self.ids):,} videos, {int(self.lengths.sum()):,} frames)"

    def headers(self, ids: Sequence[str]) -> list[tuple[int, int, str] | str]:
        """(n, D, dtype) of each video, or the reason why it cannot be used, as `read_headers` gives them."""
        row_of = {name: row for row, name in enumerate(self.ids)}
        found: list[tuple[int, int, str] | str] = []
        for name in ids:
            if name not in row_of:
                found.append("no such record")
            elif not self.lengths[row_of[name]]:
                found.append("expected at least one frame, got none")
            else:
                found.append((int(self.lengths[row_of[name]]), self.dim, "float32"))
        return found

    def file_of(self, video: str) -> Path:
        """The file of a video."""
        return self.paths[self._place[video].file]

    def name_of(self, video: str) -> str:
        """The file and the record of a video, for messages."""
        place = self._place.get(video)
        return (
            f"{self.paths[0].parent}: {video}" if place is None else f"{self.paths[place.file]}: record {place.record}"
        )

    def open(self, video: str) -> np.ndarray:
        """The frames (n, D) of a video, float32.

        Raises:
            InputError: A frame with another number of bytes than the first video has, or features of other lengths.
        """
        place = self._place[video]
        file = self._opened(place.file)
        offset, length = np.array([place.offset]), np.array([place.length])
        block = Block(file.path, file.data, offset, length, place.record)
        columns = block.parse([Feature(name, "bytes", in_lists=True) for name in self.widths], threads=1)
        num_frames = len(columns[0].values)
        frames = np.empty((num_frames, self.dim), np.float32)
        start = 0
        for column, (name, width) in zip(columns, self.widths.items(), strict=True):
            if len(column.values) != num_frames:
                raise InputError(
                    f"{self.name_of(video)}: expected {num_frames} frames of {name}, got {len(column.values)}"
                )
            wrong = expand_bytes(file.data, column.values, self._table, frames[:, start : start + width])
            if wrong >= 0:
                raise InputError(
                    f"{self.name_of(video)}: expected {width} bytes of {name} in frame {wrong}, "
                    f"got {column.values[wrong, 1]}"
                )
            start += width
        return frames

    def _opened(self, number: int) -> Block:
        """The bytes of a file; a compressed one is held decompressed."""
        with self._lock:
            if number in self._open:
                self._open.move_to_end(number)
                return self._open[number]
            file = whole_file(self.paths[number])
            self._open[number] = file
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
            return file

    def _index(self, number: int, path: Path, threads: int | None, progress: Progress | None) -> list[int]:
        """Note the videos of a file, and return their lengths."""
        lengths: list[int] = []
        start = 0  # of the block within the decompressed file
        try:
            for block in record_blocks(path, threads, progress):
                columns = block.parse(_INDEXED, threads)
                self._note(number, block, start, columns)
                lengths += np.diff(columns[-len(FEATURES)].offset).tolist()
                start += block.end
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        return lengths

    def _note(self, number: int, block: Block, start: int, columns: Sequence[FeatureColumn]) -> None:
        new_ids, old_ids, labels, *_ = columns
        texts = [iter(block.texts(column)) for column in (new_ids, old_ids)]
        counts = [np.diff(column.offset).tolist() for column in (new_ids, old_ids)]
        for row, (new, old) in enumerate(zip(*counts, strict=True)):
            record = block.first + row
            if new + old != 1:
                raise InputError(f"{block.path}: record {record}: expected one id or video_id, got {new + old}")
            self.old_names |= bool(old)
            name = next(texts[0 if new else 1]).decode("utf-8", "replace")
            if name in self._place:
                raise InputError(f"{block.path}: record {record}: expected each video once, got {name} again")
            self._place[name] = _Place(number, start + int(block.offset[row]), int(block.length[row]), record)
            self.classes.append(sorted(set(labels.values[labels.offset[row] : labels.offset[row + 1]].tolist())))
        if not self.widths:
            self._note_widths(block)

    def _note_widths(self, block: Block) -> None:
        """The number of bytes of each feature, in the first record that has frames."""
        for column, name in zip(
            block.parse([Feature(name, "bytes", in_lists=True) for name in FEATURES]), FEATURES, strict=True
        ):
            if len(column.values):
                self.widths[name] = int(column.values[0, 1])


_INDEXED = (
    *(Feature("id", "bytes"), Feature("video_id", "bytes"), Feature("labels", "int64")),
    *(Feature(name, "count", in_lists=True) for name in FEATURES),
)
