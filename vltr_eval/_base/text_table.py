"""Tables, and their text that fits a width in terminal cells. `vltr_eval._base.table_forms` has the other forms.

A table that is too wide gets shorter headings first, then one space between columns instead of two. Names are shortened
next, in the middle where two would become the same, and the last resort is to drop the least important columns. The
line under the table lists them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

WIDTH = 80
"""Cells of a line where no terminal says otherwise."""

_ELLIPSIS = "..."
_SHORTEST_NAME = 16
_JOINERS = "\u200c\u200d"  # format characters that scripts and emoji need; the others can reorder or hide text


class Column(NamedTuple):
    """A column of a table.

    short: the heading of a narrow table, without spaces; "" if it is the same. rank: 0 for a column that is always
    shown; of the others, the highest is dropped first, and the last among equals. is_name: text, flush left, that may
    be shortened.
    """

    heading: str
    cells: Sequence[str]
    short: str = ""
    rank: int = 0
    is_name: bool = False


BEST, NOT_WORSE = "best", "not worse"
"""Marks of cells: the best value of a column, and a value that is not significantly worse than it."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table with a title, and sentences that follow it.

    Attributes:
        title: One line; "" for none.
        columns: The columns, all with the same number of cells.
        notes: Sentences below it.
        blocks: The names of blocks of rows, by the number of the first row of each; "" for a block without a name.
        marks: `BEST` or `NOT_WORSE` of single cells, by the numbers of row and column. Text does not show them.
        legend: The meaning of each mark, for the forms that show marks: a line below the notes.
    """

    title: str
    columns: Sequence[Column]
    notes: Sequence[str] = ()
    blocks: Mapping[int, str] = field(default_factory=dict)
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    legend: Mapping[str, str] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, ...]]:
        """The cells, row by row."""
        return list(zip(*(column.cells for column in self.columns), strict=True))

    def to_text(self, *, width: int | None = WIDTH, bold: bool = False) -> str:
        """Write the table as aligned text. See `text_table`."""
        title = f"{printable(self.title)}\n" if self.title else ""
        titles = {row: f"[{name}]" for row, name in self.blocks.items() if name}
        body = text_table(self.columns, width=width, bold=bold, titles=titles) if self.columns else ""
        return title + body + "".join(f"{note}\n" for note in self.notes)


def as_text(tables: Iterable[Table], *, width: int | None, bold: bool = False) -> str:
    """Write tables as aligned text, with an empty line between two."""
    return "\n".join(table.to_text(width=width, bold=bold) for table in tables)


class _Layout(NamedTuple):
    columns: list[Column]
    widths: list[int]
    gap: int

    @classmethod
    def from_columns(cls, columns: Sequence[Column], *, narrow: bool, gap: int) -> _Layout:
        if narrow:
            columns = [_narrowed(column) for column in columns]
        widths = [max(map(display_width, (column.heading, *column.cells))) for column in columns]
        return cls(list(columns), widths, gap)

    @property
    def width(self) -> int:
        return sum(self.widths) + self.gap * (len(self.widths) - 1)

    def with_short_names(self) -> _Layout:
        """The same, with names no wider than they must be."""
        pairs = zip(self.columns, self.widths, strict=True)
        return self._replace(
            widths=[min(width, _SHORTEST_NAME) if column.is_name else width for column, width in pairs]
        )

    def widened(self, target: _Layout, width: int) -> _Layout:
        """The same, with names as wide as there is room for."""
        widths, spare = list(self.widths), width - self.width
        for number, column in enumerate(self.columns):
            if column.is_name:
                more = max(0, min(spare, target.widths[number] - widths[number]))
                widths[number] += more
                spare -= more
        return self._replace(widths=widths)

    def without(self, number: int) -> _Layout:
        kept = [index for index in range(len(self.columns)) if index != number]
        return self._replace(
            columns=[self.columns[index] for index in kept], widths=[self.widths[index] for index in kept]
        )

    def render(self, bold: bool, titles: Mapping[int, str]) -> str:
        pairs = zip(self.columns, self.widths, strict=True)
        lines = zip(*(_shortened_cells([column.heading, *column.cells], width) for column, width in pairs), strict=True)
        head, *rows = map(self._line, lines)
        text = [f"\033[1m{head}\033[0m" if bold else head]
        for number, row in enumerate(rows):
            text += [titles[number], row] if number in titles else [row]
        return "\n".join(text) + "\n"

    def _line(self, cells: Sequence[str]) -> str:
        shown = zip(self.columns, self.widths, cells, strict=True)
        padded = (_padded(cell, width, column.is_name) for column, width, cell in shown)
        return (" " * self.gap).join(padded).rstrip()


def text_table(
    columns: Sequence[Column],
    *,
    width: int | None = WIDTH,
    bold: bool = False,
    titles: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """An aligned table no wider than ``width`` cells, and a line about the columns that do not fit, if there are any.

    Args:
        columns: from left to right; all have the same number of cells.
        width: cells of a line, None for no limit.
        bold: mark the headings for a terminal.
        titles: lines above rows, such as the name of a group, by the number of the row from 0.
    """
    columns = [
        column._replace(heading=printable(column.heading), cells=list(map(printable, column.cells)))
        for column in columns
    ]
    titles = {number: printable(title) for number, title in titles.items()}
    layouts = _layouts(columns)
    if width is None:
        return layouts[0].render(bold, titles)
    for layout in layouts:
        if layout.width <= width:
            return layout.render(bold, titles)
    layout, target = layouts[-1].with_short_names(), layouts[-1]
    headings, dropped = [column.heading for column in columns], []
    while layout.width > width and any(column.rank for column in layout.columns):
        number = max(range(len(layout.columns)), key=lambda index: (layout.columns[index].rank, index))
        layout, target = layout.without(number), target.without(number)
        dropped.append(headings.pop(number))
    text = layout.widened(target, width).render(bold, titles)
    if dropped:
        text += (
            f"not shown at {width} columns: {', '.join(dropped)}; set COLUMNS={layouts[-1].width}, or see the JSON\n"
        )
    return text


def fits(columns: Sequence[Column], width: int | None) -> bool:
    """Whether the table shows all of its columns within ``width`` cells."""
    return width is None or _layouts(columns)[-1].with_short_names().width <= width


def _layouts(columns: Sequence[Column]) -> list[_Layout]:
    """The layouts of a table from the widest to the narrowest."""
    return [_Layout.from_columns(columns, narrow=narrow, gap=gap) for narrow, gap in ((False, 2), (True, 2), (True, 1))]


def display_width(text: str) -> int:
    """Terminal cells that a text takes: two for a wide character, none for a combining mark."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def printable(text: str) -> str:
    """The text with control, format and line-break characters as escapes, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if char not in _JOINERS and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else char
        for char in text
    )


def shortened(text: str, width: int) -> str:
    """The text, cut to at most ``width`` cells with an ellipsis at its end.

    >>> shortened("playing the violin", 12)
    'playing t...'
    """
    if display_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _cells(char)
        if used > width - len(_ELLIPSIS):
            break
        kept.append(char)
    return "".join(kept) + _ELLIPSIS[: max(width, 0)]


def _shortened_cells(cells: Sequence[str], width: int) -> list[str]:
    """The cells of a column, cut at their ends; in the middle if that keeps more of the different ones apart."""
    at_end = [shortened(cell, width) for cell in cells]
    num_alike = len(set(cells)) - len(set(at_end))
    if not num_alike:
        return at_end
    inside = [_shortened_inside(cell, width) for cell in cells]
    return inside if len(set(cells)) - len(set(inside)) < num_alike else at_end


def _shortened_inside(text: str, width: int) -> str:
    """The text, cut to at most ``width`` cells with an ellipsis in its middle.

    >>> _shortened_inside("expected_SAP_topic:many", 16)
    'expecte...c:many'
    """
    room = width - len(_ELLIPSIS)
    if display_width(text) <= width or room < 2:
        return shortened(text, width)
    first = shortened(text, (room + 1) // 2 + len(_ELLIPSIS))
    kept, used = "", 0
    for char in reversed(text):
        used += _cells(char)
        if used > room // 2:
            break
        kept = char + kept
    while kept and not _cells(kept[0]):  # a mark whose letter is cut off
        kept = kept[1:]
    return first + kept


def _cells(char: str) -> int:
    if char in _JOINERS or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _narrowed(column: Column) -> Column:
    """The column with its short heading, and without spaces inside its numbers."""
    cells = column.cells if column.is_name else [cell.replace(" ", "") for cell in column.cells]
    return column._replace(heading=column.short or column.heading, cells=cells)


def _padded(text: str, width: int, left: bool) -> str:
    space = " " * (width - display_width(text))
    return text + space if left else space + text
