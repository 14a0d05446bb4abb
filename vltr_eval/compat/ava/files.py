"""The CSV files of the AVA evaluation: boxes and excluded images.

A file is read in blocks by the core. A block that the core refuses is read again by numpy and the standard library,
which accept more and name the line that is wrong. Both round numbers alike.
Every failure is an `InputError` of one sentence naming file and line; files that cannot be opened raise OSError.
"""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vltr_eval._base.lazy import lazy_property
from vltr_eval._engine.boxes import BoxText, read_box_text
from vltr_eval.formats import InputError
from vltr_eval.formats.sources import quote

__all__ = ["Boxes", "Images", "VideoNames", "read_boxes", "read_images"]

_IMAGE, _UNSCORED, _SCORED = 2, 7, 8  # columns: video, time[, x1, y1, x2, y2, class[, score]]
_BLOCK_BYTES = 2**22  # the rows of a block fit into a cache


class VideoNames(Sequence[str]):
    """The name of each row's video, each name stored once. Compares equal to any sequence of the same names."""

    def __init__(self, names: Sequence[str], codes: np.ndarray) -> None:
        """Take the distinct names and each row's index among them, (N,) integers."""
        self.names = names
        self.codes = codes

    @classmethod
    def from_names(cls, videos: Sequence[str] | np.ndarray) -> VideoNames:
        """Store the names of a sequence; one that is stored already is returned as it is."""
        if isinstance(videos, cls):
            return videos
        codes = _Codes()
        rows = codes.of(videos)
        return cls(list(codes), rows)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return VideoNames(self.names, self.codes[row])
        return self.names[self.codes[row]]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # rows compare by content, as lists do

    def __repr__(self) -> str:
        return f"<VideoNames of {len(self.codes)} rows, {len(self.names)} names>"


class _Codes(dict[str, int]):
    """A number for each name, given at its first use."""

    def __missing__(self, name: str) -> int:
        self[name] = len(self)
        return self[name]

    def of(self, names: Sequence[str] | np.ndarray) -> np.ndarray:
        """The numbers of many names, (N,) int32."""
        return np.fromiter(map(self.__getitem__, names), np.int32, len(names))


@dataclass(frozen=True, eq=False)
class Images:
    """Key frames. videos: (N,) names, array or sequence of str; times: (N,) float64 seconds.

    Raises ValueError for arrays of other shapes, and for what is not finite; so does `Boxes`.
    """

    videos: Sequence[str] | np.ndarray
    times: np.ndarray

    def __post_init__(self) -> None:
        _check_numbers("times", self.times, (len(self.videos),))

    def __len__(self) -> int:
        return len(self.videos)

    def take(self, rows: np.ndarray) -> Images:
        """Return the images of some rows."""
        videos = VideoNames.from_names(self.videos)
        return Images(VideoNames(videos.names, videos.codes[rows]), self.times[rows])


@dataclass(frozen=True, eq=False)
class Boxes:
    """Detections or ground truth, one action of one box in each row.

    images: the N key frames that the rows are of. corners: (N, 4) float64 x1, y1, x2, y2. classes: (N,) integers, ids
    of actions. scores: (N,) float64, 1 where a file has none. empty: key frames that are declared without a box.
    lines: (N,) of the file that the rows were read from, the first is 1; None for boxes of no file.
    """

    images: Images
    corners: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    empty: Images
    lines: Sequence[int] | np.ndarray | None = None

    def __post_init__(self) -> None:
        num_rows = len(self.images)
        for name, shape in (("corners", (num_rows, 4)), ("classes", (num_rows,)), ("scores", (num_rows,))):
            _check_numbers(name, getattr(self, name), shape)

    def __len__(self) -> int:
        return len(self.classes)


def _check_numbers(name: str, column: np.ndarray, shape: tuple[int, ...]) -> None:
    if np.shape(column) != shape or not np.isfinite(column).all():
        got = f"shape {np.shape(column)}"
        if np.shape(column) == shape:
            values = np.ravel(column)
            got = str(values[~np.isfinite(values)][0])
        raise ValueError(f"{name}: expected finite numbers of shape {shape}, got {got}")


def read_boxes(path: str | os.PathLike[str], progress: Callable[[float], object] | None = None) -> Boxes:
    """Read the boxes of a CSV without header: ``video,time,x1,y1,x2,y2,class[,score]`` or ``video,time`` a line.

    The released ground truth has a person's number where detections have the score; it is read as one, and unused.
    Names may be quoted, and then have commas, but no line ends.

    Args:
        path: The file.
        progress: Called with the fraction of the file's bytes that are read.

    Returns:
        The rows in the order of the file.

    Raises:
        InputError: A line has other columns or quotes out of place, a number is none or not finite, a class is no whole
            number, or the file is no text.
    """
    return read_rows(path, progress)[0]


def read_rows(path: str | os.PathLike[str], progress: Callable[[float], object] | None = None) -> tuple[Boxes, bool]:
    """As `read_boxes`, and whether a row has no score."""
    codes = _Codes()
    unscored = False
    lines: list[Sequence[int] | np.ndarray] = []
    columns = _Column(np.int32), _Column(), _Column(shape=(4,)), _Column(np.int32), _Column()
    empty = _Column(np.int32), _Column()
    for block in _blocks(path, progress):
        plain = _read_plain(block, columns, empty, lines, codes)
        if plain is not None:
            unscored = unscored or plain.unscored_line >= 0
            continue
        tables = _read_by_lines(block, (_IMAGE, _UNSCORED, _SCORED), "2, 7 or 8 columns", codes)
        wide = [table for table in tables if table.width > _IMAGE]
        unscored = unscored or any(table.unscored for table in wide)
        lines += [table.lines for table in wide]
        _extend(columns, [(table.videos, *_box_columns(path, table)) for table in wide], block.share)
        _extend(empty, [(table.videos, *table.numbers) for table in tables if table.width == _IMAGE], block.share)
    videos, times, corners, classes, scores = (column.array for column in columns)
    names = list(codes)
    boxes = Boxes(
        images=Images(VideoNames(names, videos), times),
        corners=corners,
        classes=classes,
        scores=scores,
        empty=_images(names, empty),
        lines=_joined_lines(lines),
    )
    return boxes, unscored


def _read_plain(
    block: _Block,
    columns: tuple[_Column, ...] | None,
    empty: tuple[_Column, _Column],
    lines: list[Sequence[int] | np.ndarray],
    codes: _Codes,
) -> BoxText | None:
    """Read a block by the core, and add its rows to the columns. None for a block that the core refuses.

    columns: None for a file of images.
    """
    text = np.frombuffer(block.data, np.uint8, block.size)
    if columns is None:
        found = read_box_text(text, None)
    else:
        count = block.num_line_ends + 1
        videos, times, corners, classes, scores = (column.room(count, block.share) for column in columns)
        found = read_box_text(text, (videos, times, corners, classes, scores))
    numbers = None if found is None else _numbers_of(found, codes)
    if found is None or numbers is None:
        return None
    if columns is not None and found.num_boxes:
        if found.names and (numbers != np.arange(len(numbers))).any():
            videos[: found.num_boxes] = numbers[videos[: found.num_boxes]]
        for column in columns:
            column.grow(found.num_boxes)
        first = block.first_line
        of_block: Sequence[int] | np.ndarray = (
            range(first, first + found.num_boxes) if found.box_lines is None else found.box_lines + first
        )
        lines.append(of_block)
    if len(found.image_videos):
        _extend(empty, [(numbers[found.image_videos], found.image_times)], block.share)
    return found


def _numbers_of(text: BoxText, codes: _Codes) -> np.ndarray | None:
    """The number of each name of a text; None if one is no text."""
    try:
        return codes.of([name.decode() for name in text.names])
    except UnicodeDecodeError:
        return None


def read_images(path: str | os.PathLike[str]) -> Images:
    """Read the key frames of a CSV without header, ``video,time`` a line, as AVA's lists of excluded timestamps.

    Raises:
        InputError: A line has other columns, or a time that is no number.
    """
    codes = _Codes()
    columns = _Column(np.int32), _Column()
    for block in _blocks(path, None):
        if _read_plain(block, None, columns, [], codes) is not None:
            continue
        tables = _read_by_lines(block, (_IMAGE,), "2 columns", codes)
        _extend(columns, [(table.videos, *table.numbers) for table in tables], block.share)
    return _images(list(codes), columns)


def _images(names: list[str], columns: tuple[_Column, _Column]) -> Images:
    videos, times = columns
    return Images(VideoNames(names, videos.array), times.array)


class _Column:
    """An array that grows at its end.

    Its memory is taken at once for the whole file: parts that are joined at the end would need twice as much.
    """

    def __init__(self, dtype: type = np.float64, shape: tuple[int, ...] = ()) -> None:
        self._whole: np.ndarray = np.empty((0, *shape), dtype)
        self._size = 0

    @property
    def array(self) -> np.ndarray:
        return self._whole[: self._size]

    def room(self, count: int, share: float) -> np.ndarray:
        """The next ``count`` rows, for writing. share: the fraction of the file up to their end, 0 if unknown."""
        size = self._size + count
        if size > len(self._whole):
            room = int(size / share * 1.05) if share else 2 * size
            whole = np.empty((room, *self._whole.shape[1:]), self._whole.dtype)
            whole[: self._size] = self.array
            self._whole = whole
        return self._whole[self._size : size]

    def grow(self, count: int) -> None:
        """Keep the first ``count`` rows of `room`."""
        self._size += count

    def extend(self, parts: Sequence[np.ndarray], share: float) -> None:
        """Add rows. share: see `room`."""
        self.room(sum(map(len, parts)), share)
        for part in parts:
            self._whole[self._size : self._size + len(part)] = part
            self._size += len(part)


def _extend(columns: tuple[_Column, ...], rows: list[tuple[np.ndarray, ...]], share: float) -> None:
    for column, parts in zip(columns, zip(*rows, strict=True), strict=bool(rows)):
        column.extend(parts, share)


def _box_columns(path: str | os.PathLike[str], table: _Table) -> tuple[np.ndarray, ...]:
    """Times, corners, classes and scores of a table of boxes."""
    times, *corners, classes = table.numbers[: _UNSCORED - 1]
    scores = table.numbers[_UNSCORED - 1] if table.width == _SCORED else np.ones(len(times))
    with np.errstate(invalid="ignore"):
        ids = classes.astype(np.int32)
    bad = np.flatnonzero(ids != classes)
    if bad.size:
        got = f"{classes[bad[0]]:g}"
        raise InputError(f"{path}: line {table.lines[bad[0]]}: expected the id of a class in column 7, got {got}")
    return times, np.stack(corners, axis=1), ids, scores


def _joined_lines(parts: Sequence[Sequence[int] | np.ndarray]) -> Sequence[int] | np.ndarray:
    """The parts as one range where they follow each other, which takes no memory, else as an array."""
    if not parts:
        return range(0)
    first, last = parts[0][0], parts[-1][-1]
    if last - first + 1 == sum(map(len, parts)):
        return range(first, last + 1)
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


# ---------------------------------------------------------------------------------------------------------------------
# Blocks of whole lines
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Block:
    """Whole lines of a file, with line ends of Unix: the first ``size`` bytes of ``data``.

    share: the fraction of the file's bytes up to the block's end; 0 for a pipe.
    """

    path: str | os.PathLike[str]
    first_line: int
    data: bytes | bytearray
    size: int
    share: float

    @classmethod
    def of(cls, path: str | os.PathLike[str], first_line: int, data: bytearray, size: int, share: float) -> _Block:
        """The lines at the start of a buffer; they are copied only where their line ends must change."""
        if data.find(b"\r", 0, size) >= 0:
            lines = bytes(data[:size]).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            return cls(path, first_line, lines, len(lines), share)
        return cls(path, first_line, data, size, share)

    @lazy_property
    def num_line_ends(self) -> int:
        # Several times as fast as bytes.count, which stops at every line.
        return int(np.count_nonzero(np.frombuffer(self.data, np.uint8, self.size) == ord("\n")))

    def text(self) -> str:
        """The lines as text."""
        data = bytes(self.data[: self.size])
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = self.first_line + data.count(b"\n", 0, error.start)
            raise InputError(f"{self.path}: line {line}: expected UTF-8 text, got binary data") from None


def _blocks(path: str | os.PathLike[str], progress: Callable[[float], object] | None) -> Iterator[_Block]:
    """The file in blocks of whole lines. All use one buffer, so each is valid until the next."""
    with open(path, "rb", buffering=0) as file:
        file_size = os.fstat(file.fileno()).st_size
        buffer = bytearray(_BLOCK_BYTES)
        first_line, size, num_read = 1, 0, 0
        at_end = False
        while not at_end:
            # A pipe gives less than what fits.
            while size < len(buffer) and (added := file.readinto(memoryview(buffer)[size:])):
                size, num_read = size + added, num_read + added
            at_end = size < len(buffer)
            if size == num_read and buffer.startswith(codecs.BOM_UTF8):
                del buffer[: len(codecs.BOM_UTF8)]
                size -= len(codecs.BOM_UTF8)
            # A carriage return at the end may be the first half of a line end.
            end = size if at_end else max(buffer.rfind(b"\n"), buffer.rfind(b"\r", 0, -1)) + 1
            if not end and size:
                raise InputError(f"{path}: line {first_line}: expected columns, got a line of over {size:,} bytes")
            share = min((num_read - size + end) / file_size, 1.0) if file_size else 0.0
            block = _Block.of(path, first_line, buffer, end, share)
            yield block
            first_line += block.num_line_ends
            buffer[: size - end] = buffer[end:size]
            size -= end
            if progress is not None and share:
                progress(share)


# ---------------------------------------------------------------------------------------------------------------------
# Tables of numbers
# ---------------------------------------------------------------------------------------------------------------------


class _Table(NamedTuple):
    """Lines of a block that have the same number of columns."""

    width: int  # columns in all
    lines: Sequence[int]  # (N,), the first of the file is 1
    videos: np.ndarray  # (N,) int32, the video's number
    numbers: Sequence[np.ndarray]  # width - 1 columns (N,) float64
    unscored: bool  # whether a line has a box and no score


class _Lines(NamedTuple):
    """Lines of a block that are not empty."""

    lines: np.ndarray  # (N,) int64
    videos: list[str]
    numbers: list[str]  # the text after the video and its comma
    widths: np.ndarray  # (N,) int64, columns in all

    def take(self, requested: np.ndarray) -> _Lines:
        if requested.all():
            return self
        index = np.flatnonzero(requested).tolist()
        videos, numbers = ([column[i] for i in index] for column in (self.videos, self.numbers))
        return _Lines(self.lines[requested], videos, numbers, self.widths[requested])


def _read_by_lines(block: _Block, allowed: tuple[int, ...], expected: str, codes: _Codes) -> list[_Table]:
    lines = _split_lines(block, allowed, expected)
    tables = []
    for wide in (False, True):
        part = lines.take((lines.widths > _IMAGE) == wide)
        if part.videos:
            width = int(part.widths.max())
            for i in np.flatnonzero(part.widths < width).tolist():
                part.numbers[i] += ",1"
            numbers = _parse(block.path, part, width)
            unscored = bool((part.widths == _UNSCORED).any())
            tables.append(_Table(width, part.lines.tolist(), codes.of(part.videos), list(numbers.T), unscored))
    return tables


def _split_lines(block: _Block, allowed: tuple[int, ...], expected: str) -> _Lines:
    path, text = block.path, block.text()
    rows = text.split("\n")
    lines = block.first_line + np.flatnonzero(np.fromiter(map(bool, rows), bool, len(rows)))
    rows = list(filter(None, rows))
    videos = [row.partition(",")[0] for row in rows]
    numbers = [row[len(video) + 1 :] for row, video in zip(rows, videos, strict=True)]
    if '"' in text:
        for i, row in enumerate(rows):
            if '"' in row:
                videos[i], numbers[i] = _without_quotes(row, f"{path}: line {lines[i]}")
    widths = np.fromiter((part.count(",") + 2 if part else 1 for part in numbers), np.int64, len(numbers))
    bad = np.flatnonzero(~np.isin(widths, allowed))
    if bad.size:
        raise InputError(f"{path}: line {lines[bad[0]]}: expected {expected}, got {widths[bad[0]]}")
    return _Lines(lines, videos, numbers, widths)


def _without_quotes(row: str, where: str) -> tuple[str, str]:
    try:
        video, *numbers = next(csv.reader([row], strict=True))
    except csv.Error as error:
        raise InputError(f"{where}: expected quotes around whole columns, got {quote(row)} ({error})") from None
    return video, ",".join(numbers)


def _parse(path: str | os.PathLike[str], lines: _Lines, width: int) -> np.ndarray:
    """The numbers after the first column, (N, width - 1) float64."""
    rows = lines.numbers
    try:
        numbers = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        numbers = np.array([[_number(field) for field in row.split(",")] for row in rows])
    if not np.isfinite(numbers).all():
        row, column = divmod(int(np.argmin(np.isfinite(numbers))), width - 1)
        field = rows[row].split(",")[column]
        where = f"line {lines.lines[row]}, column {column + 2}"
        raise InputError(f"{path}: {where}: expected a finite number, got {field[:40]!r}")
    return numbers


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return np.nan
