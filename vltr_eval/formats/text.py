"""Read tables of text: .csv, .tsv and .txt, with or without a header.

The text is UTF-8, with or without a byte order mark. Lines end with LF, CRLF or CR. Cells are quoted as in RFC 4180:
quotes stand around the whole cell, and a quote inside it is doubled. Blanks around a cell do not count, those inside
quotes do. Empty lines count only where a table has one column, and not at the end of the file.

Separator: .tsv has tabs. Elsewhere a separator fits if it occurs equally often in each of the first 100 lines: comma,
semicolon, tab or bar, and in .txt also white space. Where two fit, the one that comes first in every line counts if it
follows text and is no white space; else the file is refused. Where none fits, .csv has commas, .txt has white space.

Comments: lines at the head that begin with ``# `` are comments. The last of them names the columns if it has as many
cells as the rows have, as in the files of AudioSet and of numpy.savetxt.

Kinds: a cell is a number if ``float`` reads it and it has no underscore and no leading zeros. A column with leading
zeros (007) or lists (3;17) is text. Otherwise the first 100 rows decide between numbers, True and False, and text by
their majority. A later cell that contradicts is an error when the column is read, or makes the column text if its name
says that it holds row ids or labels. Whole numbers are int64, and all others float64.

Header: the first line is a header

- if it has text above numbers, and no fraction, and whole numbers only if they are 0..C-1 or stand above fractions;
- if its first cell is empty (pandas' and R's index), and the others are text or 0..C-1;
- if it is 0..C-1, perhaps after the name of a text column, and all other lines hold something else: fractions, True and
  False, or nothing but 0 and 1 for three or more columns;
- if all columns are text, a cell states a role (id, labels), and no cell is repeated below it.

It is a row if it has a number, a list or a repeated cell and none of these holds. All else is in doubt: the table then
has the first line as a row, and ``Table.first_line`` is the table that has it as a header.

Files are read in blocks of whole lines, by several threads. Where pyarrow is installed, it converts the cells of a
large block. A block that it refuses is read again here, so results and errors are the same without it.

Legend: N rows, K columns.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.roles import IDS, LABELS, has_role, role_of
from vltr_eval.formats.sources import Source, listing, quote, reading
from vltr_eval.formats.table import BOOL, NUMBER, TEXT, Column, Table, check_distinct_names

_BLOCK = 4 << 20  # bytes; small enough for the caches, large enough for pyarrow's cost of each column
_ARROW_FROM = 4 << 20  # bytes of a file; below it, importing pyarrow takes longer than reading
_FIRST_LINES = 1 << 20  # bytes in which comments and the separator are looked for
_MAX_GAP = 4 << 20  # bytes of blanks and empty lines before a row
_MAX_THREADS = 4
_LOOK_LINES = _LOOK_ROWS = 100
_EXACT = 2**53  # float64 holds all whole numbers below it

_SPACE, _TAB, _NEWLINE, _QUOTE = b' \t\n"'


def read_text(
    source: Source, *, delimiter: str | None = None, progress: Callable[[float], None] | None = None
) -> Table:
    """Read a table of text; the rules are those of this module.

    Args:
        source: The file.
        delimiter: The character between two cells; None finds it. A blank means any white space.
        progress: Called with the share of the file that has been read, from 0 to 1.

    Returns:
        A table whose numbers are in memory. Messages count lines and columns from 1.

    Raises:
        InputError: Lines of several widths, quotes inside a cell, or binary data. A cell that is no number raises it
            when its column is read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> _ = path.write_text("id,cat,dog\\nv1,0.5,0.25\\nv2,0.125,1\\n")
        >>> table = read_text(Source(path))
        >>> table.read_matrix([1, 2]).tolist()
        [[0.5, 0.25], [0.125, 1.0]]
    """
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\n\r\0'):
        raise ValueError(f"delimiter: expected one ASCII character, got {delimiter!r}")
    with reading(source):
        comments, sample = _first_lines(source)
        separator = _find_separator(source, sample) if delimiter is None else delimiter.encode()
        reader = _Reader(source, separator, progress)
        if reader.num_columns == 0:
            return Table(source, 0, (), lambda positions: np.empty((0, len(positions))))
        return _describe(reader, _comment_names(comments, separator, reader.num_columns))


# Blocks of whole lines


@dataclass(frozen=True)
class _Block:
    """Some whole lines: ``line`` is the number of the first, from 1; ``read`` bytes of the file end with the last."""

    data: bytes
    line: int
    read: int

    def line_at(self, offset: int) -> int:
        return self.line + self.data.count(b"\n", 0, offset)


def _chunks(source: Source) -> Iterator[tuple[bytes, int, bool]]:
    """Each piece of the file, with LF line ends and no byte order mark; the bytes read; whether it is the last."""
    # Hostile blocks take up to 50 times their bytes: those of a small file are small.
    size = min(_BLOCK, max(256 << 10, source.size // 8))
    read, held = 0, b""
    with open(source.path, "rb") as stream:
        while chunk := stream.read(size):
            if read == 0:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            read = stream.tell()
            chunk, held = held + chunk, b""
            if chunk.endswith(b"\r"):  # the other half of a CRLF can be in the next piece
                chunk, held = chunk[:-1], b"\r"
            if b"\r" in chunk:
                chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if b"\0" in chunk:
                raise _not_text(source)
            yield chunk, read, False
    yield b"\n", read, True  # ends a CR that was held, or a last line without an end


def _not_text(source: Source) -> InputError:
    return InputError(f"{source.path}: expected UTF-8 text, got binary data")


def _blocks(source: Source, separator: bytes) -> Iterator[_Block]:
    """Blocks that end outside quotes. Comments at the head and empty lines at the end are in none of them."""
    pieces: list[bytes] = []
    size = needed = 0
    line = 1
    in_head = True
    for piece, read, is_last in _chunks(source):
        pieces.append(piece)
        size += len(piece)
        if size < needed and not is_last:
            continue
        data = b"".join(pieces)
        if in_head:
            comments, in_head = _head(data)
            line += comments.count(b"\n")
            data = data[len(comments) :]
        end = 0 if in_head else _last_end(data)
        if end:
            gap = len(data) - len(data.lstrip(b" \t\n")) if data[0] in b" \t\n" else 0
            if gap > _MAX_GAP:
                raise InputError(f"{source}: line {line}: expected a row, got {gap:,} blanks and ends of lines")
            yield _Block(data[:end], line, read)
            line += data.count(b"\n", 0, end)
            data = data[end:]
        elif not in_head and b'"' in data:  # a wrong quote is found here, before the block grows to the end of the file
            _check_quotes(source, separator, _with_one_separator(_Block(data, line, read), separator))
        pieces, size = [data], len(data)
        needed = 0 if end else 2 * size  # what spans many pieces is not searched again at each of them
    if data.count(b'"') % 2:
        _check_quotes(source, separator, _with_one_separator(_Block(data, line, read), separator))
        opened = line + data.count(b"\n", 0, data.rindex(b'"'))
        raise InputError(f"{source}: line {opened}: expected a quote that ends the cell, got the end of the file")


def _head(data: bytes) -> tuple[bytes, bool]:
    """The comment lines that data begins with, and whether they can go on behind its end."""
    end = 0
    while data[end : end + 1] == b"#" and data[end + 1 : end + 2] in (b" ", b"\t", b"#", b"\n", b""):
        stop = data.find(b"\n", end)
        if stop < 0:
            return data[:end], True
        end = stop + 1
    return data[:end], end == len(data)


def _first_lines(source: Source) -> tuple[bytes, bytes]:
    """The comments at the head, and the lines after them as far as they are looked at before the file is read."""
    data, size = b"", 0
    for piece, size, _ in _chunks(source):
        data += piece
        if size >= _FIRST_LINES:
            break
    comments, _ = _head(data)
    lines = data[len(comments) :]
    return comments, lines if size == source.size else lines[: lines.rfind(b"\n") + 1] or lines


def _last_end(data: bytes) -> int:
    """The end of the last line outside quotes that is not empty; 0 if there is none."""
    cut = data.rfind(b"\n")
    quotes = data.count(b'"', 0, cut + 1)
    while quotes % 2:
        before = data.rfind(b"\n", 0, cut)
        quotes -= data.count(b'"', before + 1, cut)
        cut = before
    if cut > 0 and data[cut - 1] not in b" \t\n":  # the usual case needs no copy
        return cut + 1
    filled = len(data[: cut + 1].rstrip(b" \t\n"))
    return data.find(b"\n", filled) + 1 if filled else 0


def _check_quotes(source: Source, separator: bytes, block: _Block, num_columns: int | None = None) -> bool:
    """Raise InputError for a quote inside a cell; return whether blanks stand between a quote and a separator."""
    raw = np.frombuffer(block.data, np.uint8)
    positions = np.flatnonzero(raw == _QUOTE)
    neighbours = np.pad(raw, 1, constant_values=_NEWLINE)  # of position p: p before it, p + 2 behind it
    wrong, spaced = [], False
    for own, step in ((positions[0::2], 0), (positions[1::2], 2)):  # quotes that open, and quotes that close
        beside = own + step
        blank = _is_blank(neighbours[beside], separator)
        if blank.any():
            spaced = True
            solid = np.flatnonzero(~_is_blank(neighbours, separator))
            beside[blank] = solid[np.searchsorted(solid, beside[blank]) - (step == 0)]
        found = neighbours[beside]
        # A quote directly beside a quote is one that is doubled, or an empty cell.
        fits = (found == separator[0]) | (found == _NEWLINE) | ((found == _QUOTE) & ~blank)
        wrong.extend(own[~fits][:1].tolist())
    if wrong:
        at = min(wrong)
        above = block.data[: _last_end(block.data[:at])]
        if above:
            _split(source, separator, replace(block, data=above), num_columns)  # an error in these lines comes first
        text = block.data[block.data.rfind(b"\n", 0, at) + 1 : at + 1].decode("utf-8", "replace")
        raise InputError(
            f"{source}: line {block.line_at(at)}: expected quotes around whole cells, and "
            f"a quote inside a cell doubled, got {quote(text)}"
        )
    return spaced


def _is_blank(raw: np.ndarray, separator: bytes) -> np.ndarray:
    blank: np.ndarray = ((raw == _SPACE) & (separator != b" ")) | ((raw == _TAB) & (separator != b"\t"))
    return blank


# The separator

_SEPARATORS = {b",": rb",", b";": rb";", b"\t": rb"\t", b"|": rb"\|"}
_WHITE_SPACE = rb"(?<![,;|\s]) +(?![,;|\s])"  # blanks beside another separator belong to that


def _find_separator(source: Source, data: bytes) -> bytes:
    """The separator that fits the first lines of the data; b" " is any white space."""
    if source.suffix == ".tsv":
        return b"\t"
    is_csv = source.suffix == ".csv"
    patterns = _SEPARATORS if is_csv else {**_SEPARATORS, b" ": _WHITE_SPACE}
    data = b"x".join(data.split(b'"')[::2])  # the text outside quotes
    lines = [line.strip(b" ") for line in data.split(b"\n", _LOOK_LINES)[:_LOOK_LINES] if line.strip()]
    fitting = []
    for separator, pattern in patterns.items():
        counts = {len(re.findall(pattern, line)) for line in lines}
        if len(counts) == 1 and counts != {0}:
            fitting.append(separator)
    if not fitting:
        return b"," if is_csv else b" "
    if len(fitting) == 1:
        return fitting[0]
    if b" " not in fitting:
        either = re.compile(b"[" + b"".join(fitting) + b"]")
        before = [either.split(line, maxsplit=1)[0] for line in lines]
        first = {line[len(text) : len(text) + 1] for line, text in zip(lines, before, strict=True)}
        if len(first) == 1 and any(_kind(text.strip()) is _WORD for text in before):
            return first.pop()
    names = " or ".join({b" ": "white space", b"\t": "a tab"}.get(part, repr(part.decode())) for part in fitting)
    raise InputError(f"{source}: cannot tell whether {names} separates the columns; name them in a first line")


# One cell

# Kinds of a cell. _CODE is never a number, nor is its column: leading zeros, or a list.
_WHOLE, _FRACTION, _LOGICAL, _MISSING, _CODE, _WORD = "whole", "fraction", "logical", "missing", "code", "word"
_NUMBERS = (_WHOLE, _FRACTION)
_FRACTION_FORM = re.compile(rb"[+-]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_WHOLE_FORM = re.compile(rb"[+-]?(?:0|[1-9][0-9]*)")
_CODE_FORM = re.compile(rb"[+-]?0[0-9]+(?:[eE][0-9]+)?|[0-9]+(?:[;,| ] ?[0-9]+)+[;,| ]?|\[.*", re.DOTALL)
_ZERO_FORM = re.compile(rb"[+-]?0[0-9]")
_LOGICALS = {b"True": 1, b"true": 1, b"TRUE": 1, b"False": 0, b"false": 0, b"FALSE": 0}
_MISSING_WORDS = {b"", b"NA", b"N/A", b"n/a", b"null", b"NULL", b"Null", b"None", b"none", b"-", b"?"}


def _kind(cell: bytes) -> str:
    """The kind of a cell that is unquoted and stripped."""
    if _FRACTION_FORM.fullmatch(cell):  # most cells of most files
        return _FRACTION
    if _WHOLE_FORM.fullmatch(cell):
        return _WHOLE
    if cell in _LOGICALS:
        return _LOGICAL
    if cell in _MISSING_WORDS:
        return _MISSING
    if _CODE_FORM.fullmatch(cell):
        return _CODE
    try:
        float(cell)
    except ValueError:
        return _WORD
    return _WORD if b"_" in cell or _ZERO_FORM.match(cell) else _FRACTION


def _unquote(cell: bytes) -> bytes:
    """The content of a cell: blanks outside quotes go, those inside stay."""
    cell = cell.strip(b" \t")
    return cell[1:-1].replace(b'""', b'"') if cell.startswith(b'"') else cell


# The cells of one block


@dataclass(frozen=True)
class _Cells:
    """Where the cells of a block end: cell c of row r ends at ``ends[r * K + c]``, and the next begins behind it.

    Attributes:
        block: The lines as they are in the file.
        data: The text; empty lines have no end of line, so they are blanks of the next row.
        removed: Where those ends of lines were.
        quoted: Some cell has quotes.
        loose: Blanks stand beside quotes, which pyarrow takes for text.
    """

    block: _Block
    separator: bytes
    data: bytes
    ends: np.ndarray
    removed: np.ndarray
    num_columns: int
    quoted: bool
    loose: bool

    @property
    def num_rows(self) -> int:
        return len(self.ends) // self.num_columns

    def line(self, row: int) -> int:
        cell = row * self.num_columns
        start = int(self.ends[cell - 1]) + 1 if cell else 0
        lines = self.data.count(b"\n", 0, start) + np.searchsorted(self.removed, self.ends[cell])
        return self.block.line + int(lines)

    def pieces(self) -> list[bytes]:
        """The text of each cell, with its quotes and blanks."""
        marked = np.frombuffer(self.data, np.uint8).copy()
        marked[self.ends] = 0  # no text holds NUL
        pieces: list[bytes] = marked.tobytes().split(b"\0")[:-1]
        return pieces


def _split(source: Source, separator: bytes, block: _Block, num_columns: int | None) -> _Cells:
    """Find the cells of a block; without a number of columns, the first line that is not empty says it.

    Raises:
        InputError: A line of another width, or a quote inside a cell.
    """
    if not block.data.isascii():
        block.data.decode()  # raises UnicodeDecodeError, which `reading` explains
    block = _with_one_separator(block, separator)
    data = block.data
    raw = np.frombuffer(data, np.uint8)
    ends_line = raw == _NEWLINE
    separates = ends_line | (raw == separator[0])
    quoted = b'"' in data
    loose = quoted and _check_quotes(source, separator, block, num_columns)
    if quoted:
        separates &= ~np.logical_xor.accumulate(raw == _QUOTE)
    ends = np.flatnonzero(separates)
    last = np.flatnonzero(ends_line[ends])
    widths = np.diff(last, prepend=-1)
    line_starts = np.concatenate([np.zeros(1, np.int64), ends[last[:-1]] + 1])

    def is_empty(line: int) -> bool:
        start, stop = line_starts[line], ends[last[line]]
        return start == stop or not data[start:stop].strip(b" \t")

    if num_columns is None:
        first = next(line for line in range(len(last)) if not is_empty(line))
        num_columns = int(widths[first])
    removed = np.empty(0, np.int64)
    wrong = np.flatnonzero(widths != num_columns)
    if num_columns > 1 and wrong.size:
        is_gap = (widths[wrong] == 1) & (line_starts[wrong] == ends[last[wrong]])
        for position in np.flatnonzero((widths[wrong] == 1) & ~is_gap):
            is_gap[position] = is_empty(wrong[position])
            if not is_gap[position]:
                break
        empty, wrong = wrong[is_gap], wrong[~is_gap]
        removed = ends[last[empty]]
    if wrong.size:
        line = wrong[0]
        columns = "1 column" if num_columns == 1 else f"{num_columns:,} columns"
        raise InputError(
            f"{source}: line {block.line_at(int(line_starts[line]))}: expected {columns} as in the lines above, "
            f"got {widths[line]:,}"
        )
    if removed.size:
        filled = raw.copy()
        filled[removed] = _SPACE if separator == b"\t" else _TAB
        data, ends = filled.tobytes(), np.delete(ends, last[empty])
        loose |= quoted
    return _Cells(block, separator, data, ends, removed, num_columns, quoted, loose)


def _with_one_separator(block: _Block, separator: bytes) -> _Block:
    return replace(block, data=_single_spaces(block.data)) if separator == b" " else block


def _single_spaces(data: bytes) -> bytes:
    """White space as a separator: one space between two cells, and none at the ends of a line."""
    segments = data.split(b'"')
    for position in range(0, len(segments), 2):  # outside quotes
        segment = segments[position]
        if b"\t" in segment or b"  " in segment:
            segment = re.sub(rb"[ \t]+", b" ", segment)
        segments[position] = segment.replace(b"\n ", b"\n").replace(b" \n", b"\n")
    segments[0] = segments[0].removeprefix(b" ")
    return b'"'.join(segments)


# The columns of one block

_INT, _FLOAT, _BOOL, _TEXT = "int64", "float64", "bool", "text"


@dataclass
class _State:
    """All that is known of a column: how to read it, and what was found in it against that.

    Attributes:
        type: How cells are read: _INT, _FLOAT, _BOOL or _TEXT. _INT becomes _FLOAT when a fraction occurs.
        is_code: Some cell has leading zeros or is a list.
        has_value: Some cell could be read.
        fault: Line and text of the first cell that could not be read.
    """

    type: str
    is_code: bool = False
    has_value: bool = False
    fault: tuple[int, bytes] | None = None

    def add(self, later: _State) -> None:
        """Add the state of the rows that follow."""
        if (self.type, later.type) == (_INT, _FLOAT):
            self.type = _FLOAT
        self.is_code |= later.is_code
        self.has_value |= later.has_value
        self.fault = self.fault or later.fault


@dataclass
class _Part:
    """The columns of one block.

    Attributes:
        numbers: (rows, number columns) float64.
        exact: Whole numbers that float64 may round, for each column that has some: (rows,) int64.
        texts: For each text column its cells, joined by NUL.
        states: The cells found in number columns; a column without a state holds only cells of its type.
    """

    num_rows: int
    numbers: np.ndarray
    exact: dict[int, np.ndarray] = field(default_factory=dict)
    texts: dict[int, bytes] = field(default_factory=dict)
    states: dict[int, _State] = field(default_factory=dict)


def _convert(cells: _Cells, types: dict[int, str]) -> _Part:
    """Read columns of a block; the rules are the module's."""
    pieces, width = cells.pieces(), cells.num_columns
    doubtful = _with_leading_zeros(cells)
    part = _empty_part(cells, types)
    position = 0
    for column, kind in types.items():
        own = pieces[column::width]
        if kind == _TEXT:
            part.texts[column] = b"\0".join(map(_unquote, own))
            continue
        if cells.quoted:
            own = list(map(_unquote, own))
        part.numbers[:, position], exact, part.states[column] = _read_numbers(own, kind, doubtful[column], cells)
        if exact is not None:
            part.exact[column] = exact
        position += 1
    return part


def _empty_part(cells: _Cells, types: dict[int, str]) -> _Part:
    return _Part(cells.num_rows, np.empty((cells.num_rows, sum(kind != _TEXT for kind in types.values()))))


def _read_numbers(
    column: list[bytes], kind: str, doubtful: bool, cells: _Cells
) -> tuple[np.ndarray, np.ndarray | None, _State]:
    """Read the cells of a column of numbers: float64, the whole numbers if float64 may round them, and the state."""
    if kind != _BOOL and not doubtful and b"_" not in b"".join(column):  # `int` and `float` read 007 and 1_000
        if kind == _INT:
            with suppress(ValueError, OverflowError):
                whole = np.array(list(map(int, column)), np.int64)
                is_large = whole.max() >= _EXACT or whole.min() <= -_EXACT
                return whole.astype(np.float64), whole if is_large else None, _State(_INT, has_value=True)
        with suppress(ValueError):  # adding 0 makes -0 equal to 0 in its bits, as in a column of whole numbers
            return np.array(list(map(float, column))) + 0.0, None, _State(_FLOAT, has_value=True)
    state = _State(kind)
    values = np.zeros(len(column))
    for row, cell in enumerate(map(bytes.strip, column)):
        value, found = _read_cell(cell, kind)
        state.add(found)
        if found.has_value:
            values[row] = value
        elif state.fault is None:
            state.fault = cells.line(row), cell
    return values, None, state


def _read_cell(cell: bytes, kind: str) -> tuple[float, _State]:
    """The value of one cell of a column, and the state of a column that has this cell alone, without a fault."""
    own = _kind(cell)
    if kind == _BOOL:
        return _LOGICALS.get(cell, 0), _State(_BOOL, own is _CODE, own is _LOGICAL)
    if own not in _NUMBERS:
        return 0.0, _State(kind, own is _CODE)
    fits = own is _WHOLE and -(2**63) <= int(cell[:25]) < 2**63
    return float(cell) + 0.0, _State(_INT if fits else _FLOAT, has_value=True)


_BEFORE_NUMBER = np.zeros(256, bool)
_BEFORE_NUMBER[list(b' \t\n\v\f\r"+-')] = True


def _with_leading_zeros(cells: _Cells) -> np.ndarray:
    """Which columns may have a cell that begins with 0 and a digit, or 0x: (K,) bool. False is certain."""
    raw = np.frombuffer(cells.data, np.uint8)
    after = raw[1:]
    zeros = np.flatnonzero((raw[:-1] == ord("0")) & ((after - ord("0") < 10) | (after | 32 == ord("x"))))
    before = np.where(zeros > 0, raw[zeros - 1], _NEWLINE)
    starts = _BEFORE_NUMBER[before] | (before == cells.separator[0])
    signs = (before == ord("+")) | (before == ord("-"))
    starts &= ~(signs & (zeros > 1) & (raw[zeros - 2] | 32 == ord("e")))  # 1e-05
    columns = np.zeros(cells.num_columns, bool)
    columns[np.searchsorted(cells.ends, zeros[starts]) % cells.num_columns] = True
    return columns


def _convert_by_arrow(cells: _Cells, types: dict[int, str], csv: Any) -> _Part | None:
    """Read columns of a block with pyarrow; None where it refuses the block or its rules differ from ours."""
    import pyarrow
    from pyarrow import compute

    numbers = [column for column, kind in types.items() if kind != _TEXT]
    if cells.loose or _with_leading_zeros(cells)[numbers].any() or cells.data.startswith(codecs.BOM_UTF8):
        return None  # pyarrow drops a byte order mark at the start of every block
    to_arrow = {_INT: pyarrow.int64(), _FLOAT: pyarrow.float64(), _BOOL: pyarrow.bool_(), _TEXT: pyarrow.string()}
    true_words = [word.decode() for word, value in _LOGICALS.items() if value]
    false_words = [word.decode() for word, value in _LOGICALS.items() if not value]
    try:
        table = csv.read_csv(
            pyarrow.BufferReader(cells.data),
            csv.ReadOptions(
                use_threads=False,
                block_size=len(cells.data) + 1,
                column_names=list(map(str, range(cells.num_columns))),
            ),
            csv.ParseOptions(
                delimiter=cells.separator.decode(), newlines_in_values=cells.quoted, ignore_empty_lines=False
            ),
            csv.ConvertOptions(
                column_types={str(column): to_arrow[kind] for column, kind in types.items()},
                include_columns=list(map(str, types)),
                null_values=[],
                true_values=true_words,
                false_values=false_words,
                strings_can_be_null=False,
            ),
        )
        if table.num_rows != cells.num_rows:
            return None
        (batch,) = table.combine_chunks().to_batches()
    except (pyarrow.ArrowException, OverflowError, ValueError):
        return None
    part = _empty_part(cells, types)
    for kind in (_INT, _FLOAT, _BOOL):
        own = [column for column in numbers if types[column] == kind]
        if not own:
            continue
        values = _matrix(batch.select(list(map(str, own))), kind)
        if kind == _FLOAT and b"(" in cells.data and np.isnan(values).any():
            return None  # pyarrow reads nan(1), which is no number here
        if kind == _INT and (values.max() >= _EXACT or values.min() <= -_EXACT):
            large = ((values >= _EXACT) | (values <= -_EXACT)).any(axis=0)
            part.exact.update((own[position], values[:, position].copy()) for position in np.flatnonzero(large))
        if kind == _FLOAT:
            values = values + 0.0  # -0 is 0, since a column of whole numbers cannot hold it
        part.numbers[:, slice(None) if own == numbers else np.searchsorted(numbers, own)] = values
    for column in types.keys() - set(numbers):
        text = batch.column(str(column))
        stripped = compute.ascii_trim(text, " \t")
        if cells.quoted and not stripped.equals(text):
            return None  # blanks inside quotes stay, and those outside go
        part.texts[column] = "\0".join(stripped.to_pylist()).encode()
    return part


def _matrix(batch: Any, kind: str) -> np.ndarray:
    """The columns of a record batch, as (rows, columns)."""
    if kind != _BOOL and hasattr(batch, "to_tensor"):
        matrix: np.ndarray = batch.to_tensor().to_numpy()
        return matrix
    return np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])


# All blocks


class _Reader:
    """The whole file: its first line, and the columns below it.

    Attributes:
        first: The cells of the first line; it can be a header or a row.
        first_number: The number of that line.
        num_rows: Rows below the first line.
        look: For each column, the kinds of the cells in the first rows below the first line.
        states: For each column, what is known of the cells below the first line.
        positions: For each column that was read as numbers, its position in them.
        numbers: (1 + num_rows, number columns) float64; row 0 is the first line.
    """

    def __init__(self, source: Source, separator: bytes, progress: Callable[[float], None] | None) -> None:
        self.source, self.separator = source, separator
        self.num_rows = self.num_columns = 0
        self._size, self._progress = source.size, progress
        blocks = _blocks(source, separator)
        block = next(blocks, None)
        if block is None:
            return
        cells = _split(source, separator, block, None)
        self.num_columns = cells.num_columns
        self.first = list(map(_unquote, cells.pieces()[: self.num_columns]))
        self.first_number = cells.line(0)
        self.first_kinds = [_kind(cell.strip()) for cell in self.first]
        end = int(cells.ends[self.num_columns - 1]) + 1
        rest = _Block(cells.block.data[end:], cells.block.line_at(end), block.read)
        below = rest if rest.data else next(blocks, None)
        self.look = self._look_at(below)
        self.states = [
            _State(_type_of(below or [first], first)) for first, below in zip(self.first_kinds, self.look, strict=True)
        ]
        numbers = [column for column, state in enumerate(self.states) if state.type != _TEXT]
        self.positions = {column: position for position, column in enumerate(numbers)}
        self.exact: dict[int, list[tuple[int, np.ndarray]]] = {}
        self._texts: dict[int, list[bytes]] = {
            column: [self.first[column]] for column in range(self.num_columns) if column not in self.positions
        }
        self.numbers = np.zeros((1, len(numbers)))
        for column, position in self.positions.items():
            value, found = _read_cell(self.first[column].strip(), self.states[column].type)
            self.numbers[0, position] = value
            if found.type == _INT and found.has_value and abs(value) >= _EXACT:
                self.exact[column] = [(0, np.array([int(self.first[column])]))]
        if below is not None:
            self._read(chain([below], blocks))

    def _look_at(self, block: _Block | None) -> list[list[str]]:
        """For each column, the kinds of its first cells."""
        if block is None:
            return [[] for _ in range(self.num_columns)]
        pieces = _split(self.source, self.separator, block, self.num_columns).pieces()
        kinds = [_kind(_unquote(cell).strip()) for cell in pieces[: _LOOK_ROWS * self.num_columns]]
        return [kinds[column :: self.num_columns] for column in range(self.num_columns)]

    def _read(self, blocks: Iterator[_Block]) -> None:
        """Read all blocks, several at a time, and put them together in the order of the file."""
        csv = _arrow_csv() if self._size >= _ARROW_FROM else None

        def read(block: _Block | Exception, types: dict[int, str]) -> _Part:
            if isinstance(block, Exception):
                raise block
            cells = _split(self.source, self.separator, block, self.num_columns)
            part = _convert_by_arrow(cells, types, csv) if csv is not None else None
            return part or _convert(cells, types)

        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = min(_MAX_THREADS, cpus)
        pending: deque[tuple[_Block | Exception, Future[_Part]]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            for block in _with_error(blocks):
                types = {column: state.type for column, state in enumerate(self.states)}
                pending.append((block, pool.submit(read, block, types)))
                if len(pending) > threads:
                    self._take(*pending.popleft())
            while pending:
                self._take(*pending.popleft())
        self.numbers.resize((1 + self.num_rows, len(self.positions)), refcheck=False)

    def _take(self, block: _Block | Exception, future: Future[_Part]) -> None:
        part = future.result()
        if isinstance(block, Exception):
            raise block
        start, stop = 1 + self.num_rows, 1 + self.num_rows + part.num_rows
        if stop > len(self.numbers):
            # The rest of the file has about as many rows for each byte; `resize` moves large arrays without a copy.
            expected = stop + int(1.02 * stop * (self._size - block.read) / max(block.read, 1)) + 1
            self.numbers.resize((expected, len(self.positions)), refcheck=False)
        self.numbers[start:stop] = part.numbers
        for column, whole in part.exact.items():
            self.exact.setdefault(column, []).append((start, whole))
        for column, text in part.texts.items():
            self._texts[column].append(text)
        for column in self.positions:
            self.states[column].add(part.states.get(column, _State(self.states[column].type, has_value=True)))
        self.num_rows += part.num_rows
        if self._progress is not None:
            self._progress(min(1.0, block.read / self._size))

    def text(self, column: int) -> bytes:
        """The cells of a column, joined by NUL; a column that was read as numbers is read again."""
        if column not in self._texts:
            self._texts[column] = [b"\0".join(own) for _, own in self._read_again(column)]
        return b"\0".join(self._texts[column])

    def first_word(self, column: int, skip: int) -> tuple[int, bytes] | None:
        """Line and text of the first cell that is no number, from row ``skip`` on."""
        for cells, own in self._read_again(column):
            for row in range(skip, len(own)):
                if _kind(own[row].strip()) not in _NUMBERS:
                    return cells.line(row), own[row]
            skip = 0
        return None

    def _read_again(self, column: int) -> Iterator[tuple[_Cells, list[bytes]]]:
        """The cells of one column in each block."""
        for block in _blocks(self.source, self.separator):
            cells = _split(self.source, self.separator, block, self.num_columns)
            yield cells, list(map(_unquote, cells.pieces()[column :: self.num_columns]))


def _with_error(blocks: Iterator[_Block]) -> Iterator[_Block | Exception]:
    """The blocks, and the error that ends them: an error in the blocks before it comes first."""
    try:
        yield from blocks
    except (InputError, OSError) as error:
        yield error


def _type_of(kinds: Sequence[str], first: str) -> str:
    """How to read a column whose first cells have these kinds; the first line counts if it is a number."""
    if _CODE in kinds:
        return _TEXT
    words, logicals = kinds.count(_WORD), kinds.count(_LOGICAL)
    numbers = sum(kind in _NUMBERS for kind in kinds) + (first in _NUMBERS and not logicals)
    if numbers and numbers >= words + logicals:
        return _FLOAT if _FRACTION in kinds else _INT
    if words > logicals:
        return _TEXT
    return _BOOL if logicals else _FLOAT  # all cells are missing: a number can follow


def _arrow_csv() -> Any:
    """pyarrow's reader of text, or None without pyarrow."""
    try:
        from pyarrow import csv
    except ImportError:
        return None
    return csv


# The kind of the first line


def _header_names(reader: _Reader) -> bool | None:
    """Whether the first line is a header; None is in doubt. The rules are the module's."""
    first, kinds = reader.first, list(reader.first_kinds)
    types = [_final_type(state) for state in reader.states]
    columns = range(reader.num_columns)
    texts = [column for column in columns if types[column] == _TEXT]
    measured = [column for column in columns if types[column] != _TEXT]
    for column in measured:
        is_name = first[column].lower() in (b"nan", b"inf", b"infinity")  # a word that `float` reads
        if is_name or (kinds[column] is _LOGICAL and types[column] != _BOOL):
            kinds[column] = _WORD if not is_name else _MISSING
        elif kinds[column] is _CODE and types[column] == _FLOAT:
            kinds[column] = _WORD
    if reader.num_rows == 0:
        if any(kind not in (_WORD, _MISSING) for kind in kinds):
            return False
        return True if any(map(_states_role, first)) else None
    is_data = (
        any(kinds[column] in (_FRACTION, _LOGICAL) for column in measured)
        or any(kinds[column] is _CODE or _occurs_below(reader, column) for column in texts)
        or any(kind is _CODE and not _ZERO_FORM.match(cell) for kind, cell in zip(kinds, first, strict=True))
    )
    lead = next((column for column in columns if not _is_index_name(first[column])), reader.num_columns)
    above_numbers = [column for column in measured if kinds[column] in (_WORD, _CODE)]
    wholes = [first[column] for column in columns if kinds[column] is _WHOLE]
    in_order = wholes == [str(number).encode() for number in range(len(wholes))]
    if is_data:
        return False
    if above_numbers:
        if any(kinds[column] is _CODE for column in above_numbers):
            return None
        over_fractions = all(types[column] == _FLOAT for column in measured if kinds[column] is _WHOLE)
        if not wholes or in_order or (over_fractions and len(set(wholes)) == len(wholes)):
            return True
        return None
    if lead:
        return lead < reader.num_columns and (not wholes or (in_order and len(wholes) == reader.num_columns - lead))
    if not measured:
        if any(kind not in (_WORD, _MISSING) for kind in kinds):
            return False if not (in_order and len(wholes) == reader.num_columns) else None
        return True if any(map(_states_role, first)) else None
    named = int(kinds[0] is _WORD and types[0] == _TEXT)
    if len(wholes) != reader.num_columns - named or not set(range(named, reader.num_columns)) <= set(measured):
        return False
    has_role = bool(named) and _states_role(first[0])
    held = {types[column] for column in measured}
    is_fraction = held == {_FLOAT} and not any(_WHOLE in reader.look[column] for column in measured)
    if not in_order:
        return None if is_fraction and len(set(wholes)) == len(wholes) > 1 else False
    if has_role or held == {_BOOL} or is_fraction:
        return True
    if len(wholes) < 3:
        return False if named else None
    if held == {_FLOAT} or (held == {_INT} and _is_binary(reader, measured)):
        return True
    return None


def _final_type(state: _State) -> str:
    return _TEXT if state.is_code or not state.has_value else state.type


def _states_role(cell: bytes) -> bool:
    return role_of(cell.decode()) is not None


def _is_index_name(cell: bytes) -> bool:
    """Whether a header's cell is that of an index: pandas writes nothing, and reads its own nothing as Unnamed: 0."""
    return cell in (b"", b"Unnamed: 0")


def _occurs_below(reader: _Reader, column: int) -> bool:
    cell = reader.first[column]
    # A NUL stands before all cells but the first. Empty cells come from a separator at the end of each line.
    return cell != b"" and b"\0%b\0" % cell in b"%b\0" % reader.text(column)


def _is_binary(reader: _Reader, columns: Sequence[int]) -> bool:
    for column in columns:
        values = reader.numbers[1:, reader.positions[column]]
        if not ((values == 0) | (values == 1)).all():
            return False
    return True


def _comment_names(comments: bytes, separator: bytes, num_columns: int) -> list[str] | None:
    """The names of the columns in the last comment line, or None if it has another number of cells."""
    if not comments.strip():
        return None
    line = comments.rstrip(b"\n").rpartition(b"\n")[2].lstrip(b"#")
    line = _single_spaces(line) if separator == b" " else line
    names = [_unquote(cell).decode() for cell in line.split(separator)]
    if len(names) != num_columns or (num_columns == 1 and role_of(names[0]) is None):
        return None
    return names


# The table


def _describe(reader: _Reader, names: list[str] | None) -> Table:
    """The table in the reading that the first line allows; with both where it allows both."""
    if names is not None:
        return _table(reader, 0, names)
    is_header = _header_names(reader)
    if is_header is False:
        return _table(reader, 0, None)
    header = _table(reader, 1, [_column_name(cell) for cell in reader.first])
    try:
        check_distinct_names(header)
    except InputError:
        if is_header:
            raise
        return _table(reader, 0, None)
    return header if is_header else replace(_table(reader, 0, None), first_line=header)


def _column_name(cell: bytes) -> str:
    return "" if _is_index_name(cell) else cell.decode().strip()


def _table(reader: _Reader, skip: int, names: list[str] | None) -> Table:
    """The rows from row ``skip`` on; row 0 is the first line."""
    states = list(map(replace, reader.states))
    if skip == 0:
        for column, below in enumerate(states):
            if below.type != _TEXT:
                states[column] = _read_cell(reader.first[column].strip(), below.type)[1]
                if not states[column].has_value:
                    states[column].fault = reader.first_number, reader.first[column]
                states[column].add(below)
    columns, in_index = [], True
    for column, state in enumerate(states):
        name = None if names is None else names[column]
        in_index &= name == ""
        is_text = _final_type(state) == _TEXT or (
            state.fault is not None and (has_role(name, IDS) or has_role(name, LABELS))
        )
        kind, dtype = (TEXT, "") if is_text else (BOOL, "bool") if state.type == _BOOL else (NUMBER, state.type)
        columns.append(Column(name, kind, dtype, in_index))
    content = _Content(reader, skip, tuple(columns), states)
    return Table(
        reader.source,
        1 - skip + reader.num_rows,
        content.columns,
        read_matrix=content.read_matrix,
        read_column=content.read_column,
        read_marked=content.read_marked,
        blank=frozenset(
            column
            for column, state in enumerate(states)
            if names is not None
            and state.type != _TEXT
            and not state.is_code
            and (not state.has_value or (state.fault is not None and has_role(names[column], LABELS)))
        ),
    )


@dataclass(frozen=True, eq=False)
class _Content:
    """The cells of a table."""

    reader: _Reader
    skip: int
    columns: tuple[Column, ...]
    states: list[_State]

    def read_matrix(self, positions: Sequence[int]) -> np.ndarray:
        for position in positions:
            self._check_numbers(position)
        kinds = {self.columns[position].dtype for position in positions}
        large = [
            position
            for position in positions
            if self.columns[position].dtype == "int64" and position in self.reader.exact
        ]
        if large and kinds == {"int64"}:
            return np.column_stack([self.read_column(position) for position in positions])
        if large:
            others = [position for position in positions if self.columns[position].dtype != "int64"]
            raise InputError(
                f"{self.reader.source}: expected whole numbers below 2**53 beside fractions, got larger ones "
                f"in column {self._names(large)} beside column {self._names(others)}; leave one of them out"
            )
        numbers = self.reader.numbers[self.skip :]
        if not len(numbers):
            return np.empty((0, len(positions)))
        own = [self.reader.positions[position] for position in positions]
        if own and own == list(range(own[0], own[0] + len(own))):
            numbers = numbers[:, own[0] : own[0] + len(own)]  # no copy
        else:
            numbers = numbers[:, own]
        return numbers != 0 if kinds == {"bool"} else numbers

    def read_column(self, position: int) -> np.ndarray:
        column = self.columns[position]
        if column.kind == TEXT:
            cells = self.reader.text(position).decode().split("\0")[self.skip :]
            values = np.empty(len(cells), object)
            values[:] = cells
            return values
        self._check_numbers(position)
        values = self.reader.numbers[self.skip :, self.reader.positions[position]]
        if column.dtype != "int64":
            return np.asarray(values != 0) if column.kind == BOOL else values.copy()
        whole = np.empty(1 + self.reader.num_rows, np.int64)
        small = self.reader.numbers[:, self.reader.positions[position]]
        whole[:] = np.where(np.abs(small) < _EXACT, small, 0)
        for start, values in self.reader.exact.get(position, ()):
            whole[start : start + len(values)] = values
        result: np.ndarray = whole[self.skip :]
        return result

    def read_marked(self, positions: Sequence[int]) -> np.ndarray:
        """Columns of numbers, (N, K), with NaN for missing cells; columns without any value are missing throughout."""
        if all(self.columns[position].kind != TEXT and self.states[position].fault is None for position in positions):
            return self.read_matrix(positions)
        matrix = np.empty((1 - self.skip + self.reader.num_rows, len(positions)))
        for number, position in enumerate(positions):
            if self.columns[position].kind != TEXT and self.states[position].fault is None:
                matrix[:, number] = self.read_column(position)
            else:
                matrix[:, number] = self._with_missing(position)
        return matrix

    def _with_missing(self, position: int) -> np.ndarray:
        """One column whose missing cells are NaN. Labels have few distinct cells, so each is looked at once."""
        kind = self.states[position].type
        cells = np.array([cell.strip() for cell in self.reader.text(position).split(b"\0")[self.skip :]])
        distinct, of_row = np.unique(cells, return_inverse=True)
        values = np.full(len(distinct), np.nan)
        for number, cell in enumerate(distinct.tolist()):
            if cell in _MISSING_WORDS:
                continue
            value, state = _read_cell(cell, kind)
            if not state.has_value:
                row = int(np.argmax(of_row == number))
                expected = "True or False" if kind == _BOOL else "a number or an empty cell"
                raise InputError(
                    f"{self.reader.source}: row {row}, column {self._names([position])}: expected {expected}, got "
                    f"{quote(cell.decode())}"
                )
            values[number] = value
        return values[of_row.reshape(-1)]

    def _check_numbers(self, position: int) -> None:
        """Raise InputError for the first cell of a column that is no number."""
        fault = self.states[position].fault
        if self.columns[position].kind == TEXT:
            fault = self.reader.first_word(position, self.skip)
        if fault is None:
            return
        line, cell = fault
        expected = "True or False" if self.columns[position].kind == BOOL else "a number"
        got = quote(cell.decode()) if cell else "an empty cell"
        raise InputError(
            f"{self.reader.source}: line {line}, column {self._names([position])}: expected {expected}, got {got}"
        )

    def _names(self, positions: Sequence[int]) -> str:
        return listing(
            f"{index + 1} ({quote(name)[1:-1]})" if (name := self.columns[index].name) else str(index + 1)
            for index in positions
        )
