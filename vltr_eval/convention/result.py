"""All conventions of one input side by side, as text, JSON, CSV, a data frame or HTML."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vltr_eval._base.text_table import WIDTH, Column, Table, as_text, display_width
from vltr_eval._base.version import __version__
from vltr_eval.convention.changes import Change, fewest_changes
from vltr_eval.convention.convention_value import DIGITS, ConventionValue
from vltr_eval.convention.definitions import ABSENT_RULES, FAMILIES, SQUASH_RULES, TIE_RULES, Convention
from vltr_eval.convention.finding import Found, counted, find_number
from vltr_eval.convention.printed import read_number

if TYPE_CHECKING:
    import pandas

__all__ = ["Conventions"]

SCHEMA = "vltr-eval conventions 1"

_SAME = 7  # digits to which equal values agree: epsilons and the order of sums change later ones
_MOST_USES = 2


@dataclass(frozen=True, eq=False)
class Conventions:
    """The values of all published conventions on one input.

    Attributes:
        values: One value for each convention, and one for each number format that changes it.
        facts: ``rows``, ``classes``, ``labels``, ``absent_classes``, ``full_classes``, ``unlabelled_rows``,
            ``tied_positives`` (that share their score with a negative), ``saturated`` (scores whose sigmoid is
            exactly 0 or 1, or that are 0 or 1), ``outside`` (whether a score is below 0 or above 1), ``dtype``,
            ``top_k``.
        notes: Sentences about the input.
        found: The answers for the numbers of ``find=``.
    """

    values: tuple[ConventionValue, ...]
    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    class_values: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def __repr__(self) -> str:
        shape = f"{self.facts['rows']:,} rows and {self.facts['classes']:,} classes"
        return f"<Conventions of {shape}: {len(self.values)} values, {len(self.groups())} different ones>"

    def __iter__(self) -> Iterator[ConventionValue]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: str) -> ConventionValue:
        """The value of a convention, by its name. Raises KeyError for a name that is not there."""
        for value in self.values:
            if value.key == key:
                return value
        raise KeyError(key)

    def groups(self) -> list[tuple[ConventionValue, ...]]:
        """The values in groups of equal ones, in the order of the registry; undefined ones by their kind, last."""
        groups: dict[Any, list[ConventionValue]] = {}
        for value in self.values:
            key = value.why.partition(":")[0] or (
                *(round(end, _SAME) for end in (value.low, value.high)),
                None if math.isnan(value.in_rows) else round(value.in_rows, _SAME),
            )
            groups.setdefault(key, []).append(value)
        ordered = sorted(groups.items(), key=lambda item: isinstance(item[0], str))
        return [tuple(group) for _, group in ordered]

    def find(self, number: Any) -> Found:
        """Find the conventions that can have printed a number.

        Args:
            number: Text such as "0.372", "37.2" or "37.20 %", or a number.

        Returns:
            The conventions that round to it, those that have its digits without rounding, and those whose tie interval
            contains it; with reasons.

        Raises:
            ValueError: Text that is no number, or a number that no convention can have.
        """
        return find_number(read_number(number), self.values, self.facts, self.class_values, self.counts)

    def explain(self, first: Any, second: Any) -> tuple[Change, ...]:
        """Explain why one printed number became another.

        Args:
            first: A number, as of `find`.
            second: Another number of the same scores and labels.

        Returns:
            The pairs of conventions with these numbers that differ in the fewest rules, at most three, those of one
            library first. None if a number has no convention, or if one convention has both numbers.

        Raises:
            ValueError: Text that is no number, or a number that no convention can have.

        Example:
            >>> import vltr_eval
            >>> result = vltr_eval.conventions([[.9, .1], [.8, .2], [.7, .3]], [[0], [], [0]])
            >>> print(result.explain("83.3", "41.7")[0])
            an absent class: is left out of the mean -> counts as 0
        """
        return fewest_changes(self.find(first), self.find(second), self.facts)

    def with_found(self, *numbers: Any) -> Conventions:
        """The same values, with the answers for some numbers as `found`."""
        return replace(self, found=(*self.found, *map(self.find, numbers)))

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain values for each convention."""
        return [
            {
                "key": value.key,
                "family": value.convention.family,
                "title": value.convention.title,
                "value": value.value,
                "low": value.low,
                "high": value.high,
                "joined": value.joined,
                "in_rows": value.in_rows,
                "undefined": value.why,
                "number_format": value.variant,
                "definition": value.convention.definition,
                "absent": value.convention.absent,
                "ties": value.convention.ties,
                "squash": value.convention.squash,
                "min_positives": value.convention.min_positives,
                "used_by": [
                    {"name": use.name, "source": use.source, "percent": use.percent, "note": use.note}
                    for use in value.convention.used_by
                ],
            }
            for value in self.values
        ]

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "schema": SCHEMA,
            "version": __version__,
            "facts": dict(self.facts),
            "notes": list(self.notes),
            "conventions": self.rows(),
            "found": [found.document() for found in self.found],
            "changes": [
                {"from": first.text, "to": second.text, "fewest": [change.document() for change in changes]}
                for first, second, changes in self._changes()
            ],
        }

    def to_json(self) -> str:
        """Write everything as JSON; undefined numbers are null."""
        import json  # not above: few programs write it

        return json.dumps(_without_nan(self.document()), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Write one line for each convention as CSV; undefined numbers are empty."""
        import csv  # not above, as json
        import io

        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        rows = self.rows()
        writer.writerow(rows[0])
        for row in rows:
            row["used_by"] = "; ".join(f"{use['name']} ({use['source']})" for use in row["used_by"])
            writer.writerow(["" if cell != cell else cell for cell in row.values()])
        return stream.getvalue()

    def to_frame(self) -> pandas.DataFrame:
        """One row for each convention as a pandas data frame, indexed by name."""
        import pandas  # not above: an extra

        return pandas.DataFrame(self.rows()).set_index("key")

    def to_text(
        self,
        *,
        width: int | None = WIDTH,
        bold: bool = False,
        definitions: bool = False,
        table: bool | None = None,
    ) -> str:
        """Write the answers for numbers, and the values as a table, equal ones together.

        Args:
            width: Cells of a line; None for no limit.
            bold: Whether headings are marked for a terminal.
            definitions: Whether each convention is described below the table; without a table, each of the answers.
            table: Whether the table is written. None: if no number was to be found.
        """
        if table is None:
            table = not self.found
        parts = [self._summary(width)]
        parts += [self._found_text(found, width) for found in self.found]
        parts += [text for change in self._changes() if (text := self._change_text(*change, width))]
        if table:
            parts.append(self._table_text(width, bold))
        if definitions:
            parts.append(self._definitions(None if table else self._answers()))
        if self.notes:
            parts.append("".join(f"note: {note}\n" for note in self.notes))
        return "\n".join(parts)

    def _repr_html_(self) -> str:
        from vltr_eval._base.notebook_html import notebook_html, paragraph
        from vltr_eval._base.table_forms import as_html

        notes = [paragraph(note) for note in self.notes]
        answers = [paragraph(self._found_text(found, None).replace("\n", "; ")) for found in self.found]
        changes = [paragraph(self._change_text(*change, None).replace("\n", "; ")) for change in self._changes()]
        return notebook_html(self._summary(None).rstrip(), *answers, *changes, as_html([self._table()]), *notes)

    def _changes(self) -> list[tuple[Found, Found, tuple[Change, ...]]]:
        """The explanations of each number that follows another."""
        pairs = itertools.pairwise(self.found)
        return [(first, second, fewest_changes(first, second, self.facts)) for first, second in pairs]

    def _answers(self) -> set[str]:
        """The names of the conventions in the answers."""
        return {
            value.convention.key
            for found in self.found
            for value in (*(match.value for match in found.matches), *found.nearest)
        }

    def _summary(self, width: int | None) -> str:
        facts = self.facts
        parts = [f"{facts['rows']:,} rows, {facts['classes']:,} classes, {facts['labels']:,} labels"]
        for name, noun, rest in (
            ("absent_classes", "class", "without positives"),
            ("unlabelled_rows", "row", "without labels"),
            ("unknown_cells", "unknown cell", "left out"),
        ):
            if facts[name]:
                parts.append(f"{counted(facts[name], noun)} {rest}")
        tied = facts["tied_positives"]
        words = counted(tied, "positive") if tied else "no positive"
        parts.append(f"{words} tied with a negative")
        if facts["saturated"]:
            parts.append(counted(facts["saturated"], "saturated score"))
        return "\n".join(_wrapped("; ".join(parts), width)) + "\n"

    def _table_text(self, width: int | None, bold: bool) -> str:
        table = self._table()
        if width is not None and _width_of(table) > width:
            # One project that can be read says more than two that cannot, and `joined` stands in other rows.
            table = self._table(most=1)
            table = replace(table, columns=[column for column in table.columns if column.heading != "joined"])
        return as_text([table], width=width, bold=bold)

    def _table(self, most: int = _MOST_USES) -> Table:
        """One line for each convention, with `most` projects; equal values are shown once."""
        shown, joined, keys, code = [], [], [], []
        for group in self.groups():
            for number, value in enumerate(group):
                shown.append("" if number else str(value))
                joined.append(f"{value.joined:.{DIGITS}f}" if ".." in str(value) and not number else "")
                keys.append(value.key)
                code.append(_code_of(value.convention, most))
        columns = [Column("value", shown)]
        if any(joined):
            columns.append(Column("joined", joined, rank=1))
        columns += [Column("convention", keys, is_name=True), Column("code", code, is_name=True)]
        return Table("", columns, list(dict.fromkeys(value.why for value in self.values if value.why)))

    def _definitions(self, keys: set[str] | None) -> str:
        """The conventions with their rules and sources; `keys` are those to describe, None for all."""
        lines = []
        for family, heading in FAMILIES.items():
            members = {
                value.convention.key: value.convention
                for value in self.values
                if value.convention.family == family and (keys is None or value.convention.key in keys)
            }
            if members:
                lines.append(f"{heading}\n")
            for convention in members.values():
                lines.append(f"  {convention.key}: {convention.definition}\n")
                lines.append(f"    absent class {ABSENT_RULES[convention.absent]}; {TIE_RULES[convention.ties]}; ")
                lines.append(f"{SQUASH_RULES[convention.squash]}\n")
                for use in convention.used_by:
                    note = f" ({use.note})" if use.note else ""
                    percent = ", percent" if use.percent else ""
                    lines.append(f"    {use.name}: {use.source}{percent}{note}\n")
        return "".join(lines)

    def _found_text(self, found: Found, width: int | None) -> str:
        lines = []
        for how in dict.fromkeys(match.how for match in found.matches):
            matches = [match for match in found.matches if match.how == how]
            readings = "".join(f" as {kind}" for kind in {match.reading: 0 for match in matches} if kind == "percent")
            lines.append(f"{found.text} ({how}{readings}):")
            for match in matches:
                value = match.value
                lines.append(f"  {value}  {value.key}: {_code_of(value.convention)}")
        if not found.matches:
            lines.append(f"{found.text}: no convention has this value on this input")
            lines += [f"  nearest: {value}  {value.key}: {_code_of(value.convention)}" for value in found.nearest]
        lines += [f"  not published: {sentence}" for sentence in found.others]
        if found.reasons:
            lines.append("  notes:" if found.matches else "  possible causes:")
        lines += [f"  - {reason}" for reason in found.reasons]
        return _lines_text(lines, width)

    def _change_text(self, first: Found, second: Found, changes: tuple[Change, ...], width: int | None) -> str:
        """The text of an explanation; empty if there is none."""
        if not changes:
            return ""
        lines = [f"from {first.text} to {second.text}, the fewest changes:"]
        for number, change in enumerate(changes):
            lines += ["  or"] * bool(number)
            lines += [f"  {rule}" for rule in change.rules]
            lines += [f"    {value.key}: {_code_of(value.convention)}" for value in (change.before, change.after)]
        return _lines_text(lines, width)


def _code_of(convention: Convention, most: int | None = None) -> str:
    """The projects that use a convention; those beyond the first ones as a count."""
    names = list(dict.fromkeys(use.project for use in convention.used_by))
    more = f" +{len(names) - most}" if most is not None and len(names) > most else ""
    return ", ".join(names[:most]) + more


def _width_of(table: Table) -> int:
    """The cells of a line of a table at its full width."""
    widths = [max(map(display_width, (column.heading, *column.cells))) for column in table.columns]
    return sum(widths) + 2 * (len(widths) - 1)


def _lines_text(lines: Iterable[str], width: int | None) -> str:
    return "\n".join(line for text in lines for line in _wrapped(text, width)) + "\n"


def _wrapped(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    import textwrap  # not above: short lines need none

    indent = len(text) - len(text.lstrip()) + 4
    return textwrap.wrap(
        text, max(width, 40), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
