"""Files with something about each class: training counts, class distributions, class names.

A number for each class comes from a .lst of ``<name> <index> <count>`` lines (VideoLT's count-labels-train.lst), or
from an array or table of C numbers. A training label file serves as counts: its labels are counted. Numbers of named
classes are matched by name.

Class names come from lines, from a count .lst, or from a table: an index column (0, 1, ...) orders the classes, and
every text column is a name under which a class can be looked up (AudioSet's ``index,mid,display_name``). JSON maps
names to indices, or lists names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vltr_eval._base.files import InputError
from vltr_eval.formats.align import (
    ClassNames,
    are_shuffled_positions,
    check_index_range,
    permutation,
    settle_labels,
)
from vltr_eval.formats.column_roles import Options
from vltr_eval.formats.label_lists import MAX_CLASSES, lines_of, only_digits
from vltr_eval.formats.local_files import local_file
from vltr_eval.formats.meaning import labels_of
from vltr_eval.formats.roles import COUNTS, IDS, LABELS, has_role, plain
from vltr_eval.formats.sources import Source, listing, quote, reading
from vltr_eval.formats.table import NUMBER, TEXT, LabelPairs, Table

ReadTable = Callable[[Source], Table]


def class_numbers(
    source: Source, read_table: ReadTable, num_classes: int | None, what: str, names: ClassNames | None
) -> np.ndarray:
    """Read a number for each class: (C,) float64.

    Args:
        source: The file.
        read_table: Reads a file that is no count list.
        num_classes: C, or None where it is not known.
        what: The kind of numbers, for messages.
        names: The classes of the evaluation, by which named numbers are matched.
    """
    if source.suffix == ".lst" and is_count_list(source):
        entries = read_count_list(source)
        check_total(source, len(entries), what, num_classes)
        return _by_name(source, [name for name, _ in entries], np.array([count for _, count in entries]), names)
    table = read_table(source)
    if (numbers := _listed_numbers(table)) is not None:
        values, own = numbers
        check_total(source, len(values), what, num_classes)
        return values if own is None else _by_name(source, own, values, names)
    if what != "counts":
        raise InputError(f"{source}: expected one number a class, got {_content_of(table)}")
    return _count_labels(table, num_classes, names)


def numbers_in_memory(values: Any, names: Sequence[str] | None) -> Any:
    """Numbers of classes in the order of the classes, where they have names: a mapping, or a pandas Series."""
    if isinstance(values, Mapping):
        own, numbers = list(values), np.array(list(values.values()))
    elif type(values).__module__.partition(".")[0] == "pandas" and hasattr(values, "index") and values.ndim == 1:
        own, numbers = values.index.tolist(), values.to_numpy()
    else:
        return values
    known = None if names is None else ClassNames.from_names(names)
    own = list(map(str, own))
    if known is None and not are_shuffled_positions(own):
        raise ValueError(
            f"train_counts: expected class names to match {listing(map(quote, own), 3)}, got none; give class_names="
        )
    return _by_name("train_counts", own, numbers, known)


def _by_name(source: Source | str, own: Sequence[str], values: np.ndarray, names: ClassNames | None) -> np.ndarray:
    """Numbers in the order of the classes, where both have the same names; otherwise as they are.

    The names 0, 1, ..., C-1 are positions, unless the classes have these names.
    """
    if are_shuffled_positions(own) and (names is None or not set(own) <= names.index_of.keys()):
        return values[np.argsort(list(map(int, own)))]
    if names is None or len(set(own)) < len(own):
        return values
    known = [names.index_of.get(name) for name in own]
    if set(known) != set(range(len(names.names))) or len(known) != len(names.names):
        # Raises with the first names that differ.
        permutation(own, names.names, str(source), names.source)
    return values[np.argsort(np.array(known))]


INDEX_NAMES = {"index", "class", "class_index", "class_id", "label", "label_id", "label_index", "category_id"}


def _listed_numbers(table: Table) -> tuple[np.ndarray, list[str] | None] | None:
    """C numbers and their names of a table of one number a class; None for another content."""
    if table.array is not None:
        found = _one_line(np.asarray(table.array))
        stated = table.class_names if table.class_names is not None else table.ids
        return found if found is None or stated is None else (found[0], list(map(str, stated)))
    if not table.columns:
        return None
    numbers, texts = table.positions({NUMBER}), table.positions({TEXT})
    index = [position for position in numbers if _is_class_index(table, position, numbers)]
    rest = [position for position in numbers if position not in index]
    named = [position for position in rest if has_role(table.columns[position].name, COUNTS)]
    chosen = named if len(named) == 1 else rest
    if len(chosen) == 1 and (texts or index or len(table.columns) == 1) and _name_classes(table, texts, chosen[0]):
        values = np.asarray(table.read_matrix(chosen)[:, 0], np.float64)
        own = list(map(str, table.read_column(texts[0]).tolist())) if texts else None
        if index:  # the order of the lines says nothing then
            order = np.argsort(table.read_column(index[0]))
            values, own = values[order], None if own is None else [own[row] for row in order]
        return values, own
    if not texts and len(numbers) == len(table.columns):
        found = _one_line(table.read_matrix(numbers))
        if found is None:
            return None
        header = [column.name for column in table.columns]
        return found[0], [str(name) for name in header] if len(header) > 1 and None not in header else None
    return None


def _is_class_index(table: Table, position: int, numbers: Sequence[int]) -> bool:
    """Whether a column holds the index of the class of each row, beside a column of numbers."""
    column = table.columns[position]
    if len(numbers) < 2 or (not column.is_index and plain(column.name or "") not in INDEX_NAMES):
        return False
    values = np.sort(table.read_column(position))
    if len(values) and values[0] in (0, 1) and np.array_equal(values, values[0] + np.arange(len(values))):
        return True
    if any(has_role(table.columns[other].name, COUNTS) for other in numbers):
        raise table.error(
            f"expected each class index once in column {table.column_names[position]}, from 0 to {len(values) - 1} or "
            f"from 1 to {len(values)}"
        )
    return False


def _name_classes(table: Table, texts: Sequence[int], chosen: int) -> bool:
    """Whether the text beside a column of numbers names classes, rather than the samples of a label file."""
    if has_role(table.columns[chosen].name, LABELS):
        return False
    for position in texts:
        name = table.columns[position].name
        is_sample = has_role(name, IDS) and plain(name or "") not in ("name", "names")
        if is_sample or len(set(table.read_column(position).tolist())) < table.num_rows:
            return False
    return True


def _one_line(values: np.ndarray) -> tuple[np.ndarray, None] | None:
    values = values.reshape(-1) if values.ndim == 2 and 1 in values.shape else values
    return (values.astype(np.float64), None) if values.ndim == 1 else None


def _content_of(table: Table) -> str:
    if table.array is not None:
        return f"an array of shape {tuple(table.array.shape)}"
    if table.columns:
        return f"an array of shape ({table.num_rows}, {len(table.columns)})"
    return "lists of labels"


def _count_labels(table: Table, num_classes: int | None, names: ClassNames | None) -> np.ndarray:
    """The training samples of each class in a label file: (C,) float64."""
    if table.columns and all(column.kind == NUMBER for column in table.columns):
        values = table.read_matrix(range(len(table.columns)))
        if ((values != 0) & (values != 1)).any() and not any(has_role(c.name, LABELS) for c in table.columns):
            raise InputError(f"{table.source}: expected one number a class, got an array of shape {values.shape}")
    labels = labels_of(table, Options(), () if names is None else names.names)
    labels = settle_labels(labels, num_classes, names)
    values = labels.values
    if not isinstance(values, LabelPairs):
        dense = np.asarray(values)
        if dense.ndim == 1 and dense.dtype.kind in "iu" and table.columns:
            check_index_range(np.arange(len(dense)), dense, labels, MAX_CLASSES if num_classes is None else num_classes)
            values = LabelPairs(len(dense), None, np.arange(len(dense)), dense.astype(np.int64))
        elif dense.ndim != 2 or ((dense != 0) & (dense != 1)).any():
            raise InputError(f"{labels.name}: expected one number a class, got {_content_of(table)}")
        else:
            counts = dense.sum(axis=0, dtype=np.float64)
            return counts if labels.class_names is None else _by_name(table.source, labels.class_names, counts, names)
    total = num_classes
    if total is None:
        total = max(values.num_classes or 0, int(values.classes.max(initial=-1)) + 1)
        if total > len(values.classes) * 64 + 65_536:
            raise InputError(f"{labels.name}: class index {total - 1} among {len(values.classes)} labels is no class")
    counts = np.bincount(values.classes, minlength=total).astype(np.float64)
    if table.positions({NUMBER}) and (counts == 1).all():
        raise InputError(
            f"{labels.name}: every class is in one row, so the rows are classes and no samples; keep one column of "
            "numbers, or call it count"
        )
    return counts


def read_class_names(path: str | os.PathLike[str], read_table: ReadTable, num_classes: int | None = None) -> ClassNames:
    """Read the class names; see the module's docstring for the layouts.

    Raises:
        InputError: An empty or repeated name, or another number of names than ``num_classes``.
    """
    source = local_file(path)
    if source.suffix == ".lst":
        names = [name for name, _ in read_count_list(source)]
        found = ClassNames.from_names(names, str(source))
    elif source.suffix == ".json":
        found = _names_of_json(source)
    elif source.suffix in (".csv", ".tsv", ".parquet"):
        found = _names_of_table(source, read_table(source))
    else:
        names = [line.strip() for line in lines_of(source)]
        if "" in names:
            raise InputError(f"{source}: line {names.index('') + 1}: expected a class name, got an empty line")
        found = _with_codes(ClassNames.from_names(names, str(source)))
    check_total(source, len(found.names), "names", num_classes)
    return found


def _with_codes(names: ClassNames) -> ClassNames:
    """Names such as Charades' ``c008 Opening a door``, which can be looked up by their code and their words too."""
    parts = [name.partition(" ") for name in names.names]
    codes = [f"c{position:03d}" for position in range(len(parts))]
    if not parts or [code for code, _, _ in parts] != codes or not all(words for _, _, words in parts):
        return names
    index_of = {known: position for position, (code, _, words) in enumerate(parts) for known in (code, words)}
    return ClassNames(names.names, {**index_of, **names.index_of}, names.source)


def _names_of_json(source: Source) -> ClassNames:
    from vltr_eval.formats.json_files import parse

    with reading(source):
        text = source.path.read_text(encoding="utf-8-sig")
    content = parse(source, text)
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return ClassNames.from_names(content, str(source))
    if isinstance(content, dict):
        pairs = [(name, str(index)) for name, index in content.items() if isinstance(index, (int, str))]
        if all(only_digits(name) for name in content):  # {"0": "cat"}: the other way round
            pairs = [(name, index) for index, name in content.items() if isinstance(name, str)]
        if len(pairs) == len(content) and sorted(index for _, index in pairs) == sorted(map(str, range(len(pairs)))):
            return ClassNames.from_names(
                [name for name, _ in sorted(pairs, key=lambda pair: int(pair[1]))], str(source)
            )
    raise InputError(f"{source}: expected a list of class names, or an object of a name and its index for each class")


def _names_of_table(source: Source, table: Table) -> ClassNames:
    """Names of a table: a row for each class."""
    texts, numbers = table.positions({TEXT}), table.positions({NUMBER})
    if table.array is not None or not texts:
        raise InputError(f"{source}: expected a column of class names, got {_content_of(table)}")
    columns = [list(map(str, table.read_column(position).tolist())) for position in texts]
    for position in numbers:
        index = table.read_column(position)
        ordered = np.sort(index)
        if len(ordered) and ordered[0] in (0, 1) and np.array_equal(ordered, ordered[0] + np.arange(len(ordered))):
            order = np.argsort(index)
            columns = [[column[row] for row in order] for column in columns]
            break
    shown = next(
        (k for k, position in enumerate(texts) if "name" in plain(table.columns[position].name or "")), len(texts) - 1
    )
    shown = 0 if len(texts) == 1 else shown
    if len(set(columns[shown])) < len(columns[shown]):
        # Some published display names occur twice (OpenImages); another column tells the classes apart.
        shown = next((k for k, column in enumerate(columns) if len(set(column)) == len(column)), shown)
    names = ClassNames.from_names(columns[shown], str(source))
    index_of: dict[str, int] = {}
    for column in columns:
        if len(set(column)) == len(column):
            index_of |= {name: row for row, name in enumerate(column)}
    return ClassNames(names.names, {**index_of, **names.index_of}, names.source)


def is_count_list(source: Source) -> bool:
    """Whether the first line of a .lst is ``<name> <index> <count>``, not ``<id> <class>,...``."""
    with reading(source), open(source.path, encoding="utf-8-sig") as stream:
        fields = stream.readline(1 << 16).split()
    return len(fields) != 2 and not (len(fields) == 3 and "," in fields[2])


def read_count_list(source: Source) -> list[tuple[str, float]]:
    """(name, count) of each class in class order, from lines ``<name> <index> <count>``."""
    lines = lines_of(source)
    entries: dict[int, tuple[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.rsplit(None, 2)
        if len(fields) != 3 or not only_digits(fields[1]) or not _is_number(fields[2]):
            raise InputError(f"{source}: line {number}: expected '<name> <index> <count>', got {quote(line)}")
        name, index, count = fields[0].strip(), int(fields[1][:18]), float(fields[2])
        if index >= len(lines):
            raise InputError(f"{source}: line {number}: class index {index}, but the file has {len(lines)} classes")
        if index in entries:
            raise InputError(f"{source}: line {number}: class index {index} is listed twice")
        entries[index] = name, count
    return [entries[index] for index in range(len(lines))]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, files do not mean it


def check_total(source: Source, total: int, what: str, num_classes: int | None) -> None:
    if num_classes is not None and total != num_classes:
        raise InputError(f"{source}: {total} {what}, but the scores have {num_classes} classes")
