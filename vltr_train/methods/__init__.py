"""The training methods, one file each. The name of a method is the name of its file."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vltr_eval._base.arguments import nearest_name, unknown_name
from vltr_train.papers import printed_rows

if TYPE_CHECKING:
    from vltr_train.method import Method

__all__ = ["Summary", "all_methods", "all_names", "check_method", "find_method", "summaries"]

_PAPER = re.compile(r'^    paper = "(.*)"$', re.MULTILINE)


class Summary(NamedTuple):
    """Facts about a method for a list of all.

    Attributes:
        paper: The `Method.paper`.
        presets: The number of its presets.
        tables: The tables of papers that its presets are from.
    """

    paper: str
    presets: int
    tables: frozenset[str]


def all_methods() -> dict[str, type[Method]]:
    """Return every training method by its name, which is the name of its file in methods/.

    Returns:
        The classes of the methods, in alphabetical order of their names.

    Example:
        >>> list(all_methods())[:3]
        ['asl', 'ava_two_stage', 'balanced_softmax']
    """
    return {name: _load(name) for name in all_names()}


def find_method(name: str) -> type[Method]:
    """Return the training method of a name.

    Args:
        name: The name of a method, such as "framestack".

    Returns:
        The class of the method.

    Raises:
        ValueError: There is no such method; the message suggests the nearest names.

    Example:
        >>> find_method("bce").__name__
        'BCE'
    """
    check_method(name)
    return _load(name)


def check_method(name: str) -> None:
    """Raise ValueError if there is no method of a name, without importing any."""
    names = all_names()
    if name not in names:
        error = unknown_name("method", name, names)
        if nearest_name(name, names) is None:
            raise ValueError(f"{error}; a class of your own is FILE.py:CLASS or PACKAGE.MODULE:CLASS")
        raise error


def summaries() -> dict[str, Summary]:
    """Return the summary of every method by its name.

    The files of this folder are read, because importing one imports torch, which takes a second. Their presets are what
    the papers' files name for them. A method of another folder of ``__path__`` is imported: it may have any presets.
    """
    return {name: _read(name) or _summary(_load(name)) for name in all_names()}


def all_names() -> list[str]:
    """Return the names of all methods, without importing any."""
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _load(name: str) -> type[Method]:
    from vltr_train.method import Method  # not above: it imports torch

    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    )
    return found


def _read(name: str) -> Summary | None:
    """The summary of a method whose file says its paper in one line and lies in this folder; None for any other."""
    file = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    if spec is None or spec.origin != str(file):
        return None
    paper = _PAPER.search(file.read_text(encoding="utf-8"))
    if paper is None:
        return None
    rows = [row for row in printed_rows() if row.method == name]
    tables = frozenset(table for row in rows for table in (row.table, *row.repeated_in))
    return Summary(paper[1], len({row.preset for row in rows}), tables)


def _summary(method: type[Method]) -> Summary:
    presets = method.presets.values()
    return Summary(method.paper, len(presets), frozenset(table for preset in presets for table in preset.tables))
