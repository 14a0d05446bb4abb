"""Groups of classes of one's own, from files and from memory: the group of each class in one or several partitions.

A .csv or .tsv has a column of classes (names or indices) and a column for each partition, with a header. A .json maps
classes to groups, or the names of partitions to such mappings. Any other text file has one group a line, in class
order. Classes are matched by name where both sides have names, as training counts are. A blank puts a class in no
group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.files import InputError
from vltr_eval.formats.align import ClassNames
from vltr_eval.formats.class_files import INDEX_NAMES
from vltr_eval.formats.label_lists import only_digits
from vltr_eval.formats.roles import plain
from vltr_eval.formats.sources import Source, check_regular, expand_one, listing, quote, reading, repeated, require

Groups = dict[str, tuple["str | None", ...]]
"""The group of each class by partition; None for a class in no group."""

DEFAULT_PARTITION = "groups"
"""The name of a partition that has none. A partition "group" has it too, because the counts have a column "group"."""

_NAME_COLUMNS = {"class", "name", "class_name"}


@dataclass(frozen=True, eq=False)
class Partition:
    """One partition as it is stated.

    Attributes:
        name: Its name.
        groups: The groups, None for none.
        classes: For each of them the class, as names or indices; several ways to say it, the first that fits is used.
            None if they are in class order.
    """

    name: str
    groups: tuple[str | None, ...]
    classes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, eq=False)
class StatedGroups:
    """Partitions as a file or a caller states them, before their classes are matched.

    Attributes:
        source: The file or the argument, for messages.
        partitions: The partitions.
        takes_order: Whether the order of lines decides where the evaluation has no names.
        header: The heading of the column of classes, "" without one.
    """

    source: str
    partitions: tuple[Partition, ...]
    takes_order: bool = False
    header: str = ""

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The different groups of each partition."""
        return {
            partition.name: tuple(dict.fromkeys(group for group in partition.groups if group is not None))
            for partition in self.partitions
        }

    def matched(self, num_classes: int, names: ClassNames | None) -> Groups:
        """Return the group of each class.

        Args:
            num_classes: C.
            names: The classes of the evaluation, by which named classes are matched.

        Raises:
            InputError: A class is unknown or stated twice, or there is another number of classes.
        """
        found: Groups = {}
        for partition in self.partitions:
            if partition.name in found:
                raise InputError(f"{self.source}: expected partitions of different names, got {partition.name!r} twice")
            found[partition.name] = self._matched(partition, num_classes, names)
        return found

    def _matched(self, partition: Partition, num_classes: int, names: ClassNames | None) -> tuple[str | None, ...]:
        if all(group is None for group in partition.groups):
            raise InputError(f"{self.source}: expected a group for some class in {partition.name!r}, got none")
        positions = self._positions(partition.classes, num_classes, names)
        if positions is None:
            if len(partition.groups) != num_classes:
                raise InputError(
                    f"{self.source}: {len(partition.groups)} groups, but the scores have {num_classes} classes"
                )
            return partition.groups
        if twice := repeated(positions):
            known = partition.classes[0][positions.index(twice[0])]
            raise InputError(f"{self.source}: expected each class once, got {quote(known)} twice")
        groups: list[str | None] = [None] * num_classes
        for position, group in zip(positions, partition.groups, strict=True):
            groups[position] = group
        return tuple(groups)

    def _positions(
        self, stated: Sequence[Sequence[str]], num_classes: int, names: ClassNames | None
    ) -> list[int] | None:
        """The index of each stated class; None where the order of lines decides."""
        if not stated:
            return None
        index_of = {} if names is None else names.index_of
        if only_digits(self.header) or (self.header in index_of and plain(self.header) not in _NAME_COLUMNS):
            raise InputError(
                f"{self.source}: expected a header such as class,genus in the first line, got the class "
                f"{quote(self.header)}"
            )
        for classes in stated:
            if all(known in index_of for known in classes):
                return [index_of[known] for known in classes]
        for classes in stated:
            if all(map(only_digits, classes)) and not (classes == stated[0] and names and set(classes) & set(index_of)):
                numbers = [int(known[:18]) for known in classes]
                first = 1 if sorted(numbers) == list(range(1, num_classes + 1)) else 0
                beyond = next((number for number in numbers if number - first >= num_classes), None)
                if beyond is not None:
                    raise InputError(f"{self.source}: class index {beyond}, but the scores have {num_classes} classes")
                return [number - first for number in numbers]
        (classes, *_) = stated
        if names is None:
            if self.takes_order and len(classes) == num_classes:
                return None
            raise InputError(
                f"{self.source}: expected class names to match {listing(map(quote, classes), 3)}, got none; give "
                "class_names= (--class-names FILE)"
            )
        unknown = [known for known in classes if known not in index_of]
        near = nearest_name(unknown[0], index_of)
        hint = "" if near is None else f"; did you mean {quote(near)}?"
        raise InputError(
            f"{self.source}: expected the classes of {names.source} by name, but it lacks "
            f"{listing(map(quote, unknown), 3)}{hint}"
        )


def read_groups(groups: Any, num_classes: int, names: Sequence[str] | ClassNames | None = None) -> Groups:
    """Read groups of one's own in memory, or those of a file that is read already.

    Args:
        groups: C groups in class order, a mapping from classes to groups, a pandas Series or a data frame, or a mapping
            from the names of several partitions to any of these. None, NaN and "" are no group.
        num_classes: C.
        names: The names of the classes.

    Returns:
        The group of each class by partition. One partition without a name is called "groups".

    Raises:
        ValueError: A class is unknown or stated twice, or there is another number of classes.
        TypeError: The groups are no text.

    Example:
        >>> read_groups({"cat": "pet", "dog": "pet"}, 3, ["cat", "dog", "elk"])
        {'groups': ('pet', 'pet', None)}
        >>> read_groups({"size": ["s", "l"], "kind": ["a", ""]}, 2)
        {'size': ('s', 'l'), 'kind': ('a', None)}
    """
    stated = groups if isinstance(groups, StatedGroups) else _stated("groups", groups)
    known = names if names is None or isinstance(names, ClassNames) else ClassNames.from_names(names)
    return stated.matched(num_classes, known)


def read_group_file(path: str | os.PathLike[str]) -> StatedGroups:
    """Read a file of groups; the module's docstring has the formats.

    Raises:
        InputError: The file is missing, empty, or not of its format.
    """
    source = expand_one(path)
    with reading(source):
        check_regular(source)
    if source.suffix == ".json":
        from vltr_eval.formats.json_files import parse

        with reading(source):
            text = source.path.read_text(encoding="utf-8-sig")
        return _stated(str(source), parse(source, text))
    if source.suffix in (".csv", ".tsv"):
        return _of_table(str(source), read_csv(source))
    if source.suffix == ".parquet":
        return _of_table(str(source), read_parquet(source))
    if source.suffix not in (".txt", ".lst", ""):
        raise InputError(
            f"{source}: cannot read groups from a {source.suffix!r} file; expected .csv, .tsv, .parquet, .json, or "
            ".txt with a group a line"
        )
    with reading(source):
        # Not `lines_of`, which drops empty lines at the end: they are classes in no group.
        text = source.path.read_text(encoding="utf-8-sig")
    lines = text.removesuffix("\n").split("\n") if text.strip() else []
    groups = tuple(group_of(str(source), line) for line in lines)
    return StatedGroups(str(source), (Partition(DEFAULT_PARTITION, groups),))


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def _stated(source: str, groups: Any) -> StatedGroups:
    """Groups in memory, or of JSON."""
    if is_frame(groups):
        return replace(_of_table(source, columns_of_frame(groups)), takes_order=False)
    if isinstance(groups, Mapping) and groups and not any(map(_is_group, groups.values())):
        parts = (_partition(source, partition_name(source, name), part) for name, part in groups.items())
        return StatedGroups(source, tuple(parts))
    name = getattr(groups, "name", None)
    return StatedGroups(
        source,
        (_partition(source, DEFAULT_PARTITION if name is None else partition_name(source, name), groups),),
    )


def _partition(source: str, name: str, groups: Any) -> Partition:
    """One partition: a mapping, a pandas Series with the classes as its index, or groups in class order."""
    if isinstance(groups, Mapping):
        classes, values = list(map(str, groups)), list(groups.values())
    elif is_pandas(groups) and type(groups).__name__ == "Series":
        classes, values = list(map(str, groups.index.tolist())), groups.tolist()
    else:
        if isinstance(groups, (str, bytes)) or not isinstance(groups, Iterable):
            raise TypeError(f"{source}: expected a group for each class, got {groups!r}")
        classes, values = [], groups.tolist() if hasattr(groups, "tolist") else list(groups)
    found = tuple(group_of(source, value) for value in values)
    return Partition(name, found, (tuple(classes),) if classes else ())


def _of_table(source: str, columns: Mapping[str, Sequence[Any]]) -> StatedGroups:
    """The partitions of a table: the columns beside those of the classes."""
    names = list(columns)
    named = [name for name in names if plain(name) in _NAME_COLUMNS]
    indices = [name for name in names if plain(name) in INDEX_NAMES and name not in named]
    keys = [*named, *indices] or names[:1]
    rest = [name for name in names if name not in keys]
    if not rest:
        raise InputError(
            f"{source}: expected a column of classes and one for each partition, got {listing(map(quote, names), 6)}"
        )
    classes = tuple(tuple(_class_of(value) for value in columns[key]) for key in keys)
    partitions = (
        Partition(partition_name(source, name), tuple(group_of(source, value) for value in columns[name]), classes)
        for name in rest
    )
    return StatedGroups(source, tuple(partitions), takes_order=True, header=keys[0])


def read_csv(source: Source) -> dict[str, list[str]]:
    """Read the columns of a text table with a header, as text.

    Raises:
        InputError: The table is damaged, has no lines, or two columns of one name.
    """
    import csv  # not above: few programs read groups

    with reading(source), open(source.path, encoding="utf-8-sig", newline="") as stream:
        try:
            rows = list(csv.reader(stream, delimiter="\t" if source.suffix == ".tsv" else ",", strict=True))
        except csv.Error as error:
            raise InputError(f"{source}: expected a text table, got a damaged one ({error})") from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise InputError(f"{source}: expected a header and lines below it, got {len(rows)} lines")
    header = [name.strip() for name in rows[0]]
    if twice := repeated(header):
        raise InputError(f"{source}: expected columns of different names, got {twice[0]!r} twice")
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise InputError(f"{source}: line {number}: expected {len(header)} fields as in the header, got {len(row)}")
    return {name: [row[position] for row in rows[1:]] for position, name in enumerate(header)}


def read_parquet(source: Source) -> dict[str, list[Any]]:
    """Read the columns of a .parquet; nulls are None.

    Raises:
        InputError: The file is damaged, or pyarrow is missing.
    """
    pyarrow = require("pyarrow", "parquet", source)
    parquet = require("pyarrow.parquet", "parquet", source)
    with reading(source):
        try:
            return columns_of_frame(parquet.read_table(source.path))
        except pyarrow.ArrowInvalid as error:
            first = str(error).partition("\n")[0]
            raise InputError(f"{source}: expected a .parquet file, got a damaged one ({first})") from None


def columns_of_frame(frame: Any, index_name: str = "class") -> dict[str, list[Any]]:
    """Return the columns of a data frame; those of pandas begin with the index if it has a name or holds text."""
    if is_pandas(frame):
        columns = {str(name): frame[name].tolist() for name in frame.columns}
        is_named = frame.index.name is not None or any(isinstance(key, str) for key in frame.index[:1])
        index = {str(frame.index.name or index_name): frame.index.tolist()} if is_named else {}
        return {**index, **columns}
    if hasattr(frame, "to_pydict"):
        return {str(name): values for name, values in frame.to_pydict().items()}
    return {str(name): values for name, values in frame.to_dict(as_series=False).items()}


def is_pandas(value: Any) -> bool:
    """Whether a value is of pandas."""
    return type(value).__module__.partition(".")[0] == "pandas"


def is_frame(value: Any) -> bool:
    """Whether a value is a data frame of pandas or polars, or a table of pyarrow."""
    is_of = type(value).__module__.partition(".")[0] in ("pandas", "polars", "pyarrow")
    return is_of and type(value).__name__ in ("DataFrame", "Table")


def _is_group(value: Any) -> bool:
    """Whether a value is one group, rather than those of a partition."""
    return value is None or isinstance(value, (str, int, float)) or not isinstance(value, Iterable)


def partition_name(source: str, name: Any) -> str:
    """Return the name of a partition. "group" is a column of the per-class table already, so it becomes "groups"."""
    text = str(name).strip()
    if not text:
        raise InputError(f"{source}: expected a name for each partition, got an empty one")
    return DEFAULT_PARTITION if text == "group" else text


def _class_of(value: Any) -> str:
    """The name or the index of a class as text."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def group_of(source: str, value: Any, what: str = "groups") -> str | None:
    """Return the group (or the slice, as ``what`` says for messages) that a value is, None for none."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if not isinstance(value, (str, int, float)):
        raise TypeError(f"{source}: expected the names of {what}, got {value!r}")
    return str(value).strip() or None
