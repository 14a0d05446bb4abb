"""Groups of classes of one's own, from files and from memory: the group of each class in one or several partitions.

A .csv or .tsv has a column of classes (names or indices) and a column for each partition, with a header. A .json maps
classes to groups, or the names of partitions to such mappings. Any other text file has one group a line, in class
order. Classes are matched by name where both sides have names, as training counts are. A blank puts a class in no
group.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.files import InputError
from vltr_eval.formats.align import ClassNames
from vltr_eval.formats.class_files import INDEX_NAMES
from vltr_eval.formats.label_lists import only_digits
from vltr_eval.formats.local_files import local_file
from vltr_eval.formats.partition_files import (
    columns_of_frame,
    group_of,
    is_pandas,
    is_whole_frame,
    lines_with_blanks,
    partition_name,
    read_csv,
    read_parquet,
)
from vltr_eval.formats.roles import plain
from vltr_eval.formats.sources import check_regular, listing, quote, reading, repeated

Groups = dict[str, tuple["str | None", ...]]
"""The group of each class by partition; None for a class in no group."""

DEFAULT_PARTITION = "groups"
"""The name of a partition that has none."""

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
    source = local_file(path)
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
    if source.suffix in (".pkl", ".pickle"):
        from vltr_eval.formats.pickle_files import read_groups as read_sets

        return _stated(str(source), read_sets(source))
    if source.suffix not in (".txt", ".lst", ""):
        raise InputError(
            f"{source}: cannot read groups from a {source.suffix!r} file; expected .csv, .tsv, .parquet, .json, or "
            ".txt with a group a line"
        )
    groups = tuple(group_of(str(source), line) for line in lines_with_blanks(source))
    return StatedGroups(str(source), (Partition(DEFAULT_PARTITION, groups),))


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


def _stated(source: str, groups: Any) -> StatedGroups:
    """Groups in memory, or of JSON."""
    if is_whole_frame(groups):
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


def _is_group(value: Any) -> bool:
    """Whether a value is one group, rather than those of a partition."""
    return value is None or isinstance(value, (str, int, float)) or not isinstance(value, Iterable)


def _class_of(value: Any) -> str:
    """The name or the index of a class as text."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
