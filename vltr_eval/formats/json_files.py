"""JSON and JSON lines: lists, ``{id: [...]}``, and records such as ``{"id": ..., "labels": [...]}``.

    [[0, 2], [1]]                  a list for each row
    [2, 0]                         one value for each row
    {"v1": [0, 2], "v2": [1]}      a list, or one value, for each id
    [{"id": "v1", "labels": [0]}]  records; each field is a column, lists are lists
    {"data": [records]}            records under one name (AST's copies of AudioSet)

JSON lines (.jsonl, .ndjson) hold one list or one record a line.
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.published import COUNT_AS_ABSENT
from vltr_eval.formats.sources import Source, listing, quote, reading, repeated
from vltr_eval.formats.table import BOOL, LIST, NUMBER, TEXT, Column, Lists, Table

_LISTS = "expected a list with one list of class indices a row"


def read_json(source: Source) -> Table:
    """Read a .json file.

    Raises:
        InputError: Text that is not JSON, or JSON of another layout than the module's docstring lists.
    """
    with reading(source):
        text = source.path.read_text(encoding="utf-8-sig")
    content = parse(source, text)
    if isinstance(content, dict):
        return _of_dict(source, content)
    if not isinstance(content, list):
        raise InputError(f"{source}: {_LISTS}, got a JSON {type(content).__name__}")
    if content and isinstance(content[0], dict):
        return _of_records(source, enumerate(content), "row")
    return _of_values(source, content)


def read_json_lines(source: Source, progress: Callable[[float], None] | None = None) -> Table:
    """Read a .jsonl file of records or of lists, one a line, in memory that follows from the values alone.

    Raises:
        InputError: A line that is not JSON, or lines of different layouts.
    """
    with reading(source), open(source.path, encoding="utf-8-sig") as stream:
        lines = _json_lines(source, stream, progress)
        first = next(lines, None)
        if first is None:
            raise InputError(f"{source}: expected a record or a list a line, got an empty file")
        if isinstance(first[1], dict):
            return _of_records(source, _chain(first, lines), "line")
        rows = [value for _, value in _chain(first, lines)]
    return _of_values(source, rows)


def _chain(first: tuple[int, Any], rest: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    yield first
    yield from rest


def _json_lines(
    source: Source, stream: Iterable[str], progress: Callable[[float], None] | None
) -> Iterator[tuple[int, Any]]:
    """(index from 0, value) of each line that is not blank."""
    size, done = max(source.size, 1), 0
    for number, line in enumerate(stream):
        if line.strip():
            yield number, parse(source, line, number)
        done += len(line)
        if progress is not None and number % 4096 == 0:
            progress(min(1.0, done / size))


class _RepeatedName(Exception):
    """A JSON object has a name twice; json would keep the last value alone."""


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _RepeatedName(repeated(name for name, _ in pairs)[0])
    return content


def parse(source: Source, text: str, line: int | None = None) -> Any:
    """Parse JSON text, one line of a file if ``line`` is given (from 0).

    Raises:
        InputError: Text that is not JSON, or an object with one name twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except _RepeatedName as error:
        where = "" if line is None else f"line {line + 1}: "
        raise InputError(f"{source}: {where}expected each name once, got {quote(str(error))} twice") from None
    except json.JSONDecodeError as error:
        number = error.lineno if line is None else line + 1
        raise InputError(f"{source}: not JSON: {error.msg} at line {number}, column {error.colno}") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, thousands of brackets
        where = "" if line is None else f"line {line + 1}: "
        raise InputError(f"{source}: {where}not JSON of class indices") from None


def _of_dict(source: Source, content: dict[str, Any]) -> Table:
    """``{id: list or value}``, or one name over a list of records."""
    if content.keys() >= {"images", "annotations", "categories"}:
        return _of_instances(source, content)
    values = list(content.values())
    if len(values) == 1 and isinstance(values[0], list) and values[0] and isinstance(values[0][0], dict):
        return _of_records(source, enumerate(values[0]), "row")
    table = _of_values(source, values)
    ids = np.array(list(content), object)
    return Table(source, len(ids), columns=table.columns, read_matrix=table.read_matrix, read_column=table.read_column,
                 array=table.array, lists=table.lists, ids=ids)  # fmt: skip


def _of_instances(source: Source, content: dict[str, Any]) -> Table:
    """COCO's and LVIS' instances: the categories of each image, in the order of their ids.

    LVIS lists the categories that are absent from an image too (neg_category_ids); those in neither list are unknown.
    """
    try:
        names = {int(entry["id"]): str(entry["name"]) for entry in content["categories"]}
        index = {category: position for position, category in enumerate(sorted(names))}
        row = {int(image["id"]): number for number, image in enumerate(content["images"])}
        found: list[set[int]] = [set() for _ in row]
        for annotation in content["annotations"]:
            found[row[int(annotation["image_id"])]].add(index[int(annotation["category_id"])])
        negative = [
            {index[int(category)] for category in image.get("neg_category_ids", ())} for image in content["images"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{source}: expected instances as COCO and LVIS write them, got {error!r}") from None
    is_federated = any("neg_category_ids" in image for image in content["images"])
    known = [sorted(own | other) for own, other in zip(found, negative, strict=True)]
    notes = (
        (f"{source.name}: categories in neither annotations nor neg_category_ids are unknown{COUNT_AS_ABSENT}",)
        if is_federated
        else ()
    )
    return Table(
        source,
        len(row),
        lists=Lists.from_rows(list(map(sorted, found))),
        class_names=tuple(names[category] for category in index),
        ids=np.array(list(row), np.int64),
        known=Lists.from_rows(known) if is_federated else None,
        notes=notes,
    )


def _of_values(source: Source, content: list[Any]) -> Table:
    """A list for each row, or one value for each row."""
    is_flat = bool(content) and not any(isinstance(row, list) for row in content)
    if is_flat:
        builder = _ColumnBuilder(source, "", "row")
        for row, value in enumerate(content):
            if isinstance(value, (dict, bool)) or value is None:
                raise InputError(f"{source}: row {row}: {_LISTS}, got {quote(json.dumps(value))}")
            builder.add(row, value)
        column, values = builder.done()
        if column.kind == NUMBER:
            return Table(source, len(content), array=values)
        return Table(source, len(content), (Column(None, TEXT),), read_column=lambda position: values)
    for row, values in enumerate(content):
        if not isinstance(values, list):
            raise InputError(f"{source}: row {row}: {_LISTS}, got {quote(json.dumps(values))}")
    return Table(source, len(content), lists=_lists(source, content))


def _lists(source: Source, rows: list[list[Any]]) -> Lists:
    lists = Lists.from_rows(rows)
    if lists.is_text and not all(isinstance(value, str) for value in lists.values):
        # The kind of most values is meant; the first other one is the mistake.
        wants_text = sum(isinstance(value, str) for value in lists.values) * 2 > len(lists.values)
        for row, value in zip(lists.rows, lists.values, strict=True):
            is_index = type(value) is int and 0 <= value < 2**63
            if not (isinstance(value, str) if wants_text else is_index):
                expected = "a class name" if wants_text else "a class index (0, 1, ...)"
                raise InputError(f"{source}: row {row}: expected {expected}, got {quote(json.dumps(value))}")
    return lists


def _of_records(source: Source, records: Iterator[tuple[int, Any]] | Iterable[tuple[int, Any]], row_word: str) -> Table:
    """Records as columns; every record has the fields of the first."""
    builders: dict[str, _ColumnBuilder] = {}
    num_rows = 0
    for number, record in records:
        where = f"line {number + 1}" if row_word == "line" else f"row {number}"
        if not isinstance(record, dict):
            raise InputError(f"{source}: {where}: expected a record as above, got {quote(json.dumps(record))}")
        if num_rows == 0:
            builders = {name: _ColumnBuilder(source, name, row_word) for name in record}
        elif record.keys() != builders.keys():
            other = sorted(record.keys() ^ builders.keys())
            raise InputError(
                f"{source}: {where}: expected the fields of the first record, {listing(builders)}; "
                f"these are in one of the two alone: {listing(other)}"
            )
        for name, value in record.items():
            builders[name].add(number, value)
        num_rows += 1
    columns, values = zip(*(builder.done() for builder in builders.values()), strict=True) if builders else ((), ())

    def read_matrix(positions: Any) -> np.ndarray:
        return np.column_stack([values[position] for position in positions])

    return Table(source, num_rows, tuple(columns), read_matrix, lambda position: values[position])


class _ColumnBuilder:
    """The values of one field, kept without a Python object for each number."""

    def __init__(self, source: Source, name: str, row_word: str) -> None:
        self._source, self._name, self._row_word = source, name, row_word
        self._kind: str | None = None
        self._ints, self._floats = array("q"), array("d")
        self._objects: list[Any] | None = None
        self._ends = array("q")
        self._all_whole = True

    def add(self, number: int, value: Any) -> None:
        kind = LIST if isinstance(value, list) else TEXT if isinstance(value, str) else self._number_kind(number, value)
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            raise self._error(number, f"expected {self._kind} as above, got {quote(json.dumps(value))}")
        if kind == LIST:
            self._add_list(number, value)
        elif kind == TEXT:
            self._objects = [] if self._objects is None else self._objects
            self._objects.append(value)
        else:
            self._add_number(number, value)

    def _number_kind(self, number: int, value: Any) -> str:
        if isinstance(value, bool):
            return BOOL
        if isinstance(value, (int, float)):
            return NUMBER
        raise self._error(number, f"expected a number, text or a list, got {quote(json.dumps(value))}")

    def _add_number(self, number: int, value: Any) -> None:
        is_whole = isinstance(value, int)
        if self._all_whole and is_whole:
            try:
                self._ints.append(value)
                return
            except OverflowError:
                raise self._error(number, f"expected a number of at most 64 bits, got {quote(str(value))}") from None
        if self._all_whole:
            self._all_whole = False
            large = next((known for known in self._ints if abs(known) > 2**53), None)
            if large is not None:
                raise self._error(number, f"expected whole numbers as {large} above, got {value!r}")
            self._floats = array("d", self._ints)
        if is_whole and abs(value) > 2**53:
            raise self._error(number, f"expected numbers that float64 holds exactly, got {quote(str(value))}")
        self._floats.append(value)

    def _add_list(self, number: int, values: list[Any]) -> None:
        if self._objects is None:
            if self._append_numbers(values):
                return
            # Another kind of values: all lists become objects.
            numbers = self._ints if self._all_whole else self._floats
            self._objects = [numbers[start:stop].tolist() for start, stop in itertools.pairwise([0, *self._ends])]
        self._objects.append(values)

    @staticmethod
    def _are_exact(values: Iterable[int]) -> bool:
        """Whether float64 holds all whole numbers among some values."""
        return all(abs(value) <= 2**53 for value in values if type(value) is int)

    def _append_numbers(self, values: list[Any]) -> bool:
        """Keep a list of numbers without an object for each; False for values of another kind, or out of range."""
        kinds = set(map(type, values))
        try:
            if self._all_whole and kinds <= {int}:
                self._ints.extend(values)
            elif kinds <= {int, float} and self._are_exact(values if int in kinds else ()):
                if self._all_whole:
                    if not self._are_exact(self._ints):
                        return False
                    self._floats, self._all_whole = array("d", self._ints), False
                self._floats.extend(values)
            else:
                return False
        except OverflowError:
            return False
        self._ends.append(len(self._ints) if self._all_whole else len(self._floats))
        return True

    def _error(self, number: int, message: str) -> InputError:
        where = f"line {number + 1}" if self._row_word == "line" else f"row {number}"
        field = f", field {self._name}" if self._name else ""
        return InputError(f"{self._source}: {where}{field}: {message}")

    def done(self) -> tuple[Column, Any]:
        """The column, and its values as `Table.read_column` gives them."""
        if self._kind == LIST and self._objects is not None:
            return Column(self._name, LIST), _lists(self._source, self._objects)
        if self._kind == TEXT:
            return Column(self._name, TEXT), np.array(self._objects, object)
        numbers = np.frombuffer(self._ints, np.int64) if self._all_whole else np.frombuffer(self._floats, np.float64)
        if self._kind == LIST:
            return Column(self._name, LIST), Lists(np.array([0, *self._ends], np.int64), numbers)
        if self._kind == BOOL:
            return Column(self._name, BOOL, "bool"), numbers.astype(bool)
        return Column(self._name, NUMBER, str(numbers.dtype)), numbers
