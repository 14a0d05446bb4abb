"""The numbers of a report by flat names, for loggers and experiment trackers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vltr_eval.report.names import plain_name

__all__ = ["class_numbers", "logged", "safe_names_of"]

PER_CLASS = "per_class"
"""The first part of the names of single classes.

Without it the mean ``SAP`` and the class ``SAP/dog`` would be a file and a folder of one name in MLflow's file store,
which fails.
"""


def safe_names_of(style: str, plain_names: bool) -> str | None:
    """Return the argument that asks for names that every logger takes, for messages, or None.

    Raises:
        ValueError: There is no such style.
    """
    if style not in ("as_is", "safe"):
        raise ValueError(f'style: expected "as_is" or "safe", got {style!r}')
    return "style" if style == "safe" else "plain_names" if plain_names else None


def logged(numbers: Mapping[str, float], prefix: str, safe: str | None) -> dict[str, float]:
    """Return the numbers with a prefix in front of each name, and with names that every logger takes if asked.

    Args:
        numbers: The numbers by name.
        prefix: Text in front of every name.
        safe: The result of `safe_names_of`.

    Raises:
        TypeError: The prefix is no text.
        ValueError: Two names are the same as safe names.
    """
    if not isinstance(prefix, str):
        raise TypeError(f'prefix: expected text such as "val/", got {prefix!r}')
    if safe is None:
        return {prefix + name: value for name, value in numbers.items()}
    plain: dict[str, str] = {}
    for name in numbers:
        other = plain.setdefault(plain_name(prefix + name), name)
        if other != name:
            raise ValueError(
                f"{safe}: expected names that differ in letters and digits, got {other!r} and {name!r}; "
                "give the priors or groups other names"
            )
    return {name: numbers[original] for name, original in plain.items()}


def class_numbers(
    columns: Mapping[str, Sequence[Any]], chosen: bool | str | Iterable[str], safe: bool
) -> dict[str, float]:
    """Return the numbers of single classes: ``{"per_class/AP/playing violin": ..., ...}``.

    Undefined values are left out.

    Args:
        columns: The per-class table. "class" has the index or id of each class, "name" its name if it is known.
        chosen: The columns: all that hold numbers, none, or the given ones.
        safe: Whether the names of classes must be safe for every logger; see `plain_name`.

    Raises:
        ValueError: A given column is not in the table, or it holds text.
    """
    if chosen is False:
        return {}
    found = [name for name, values in columns.items() if name != "class" and _holds_numbers(values)]
    if chosen is not True:
        chosen = [chosen] if isinstance(chosen, str) else list(chosen)
        for name in chosen:
            if name not in found:
                raise ValueError(f"per_class: expected True, False or columns of {', '.join(found)}, got {name!r}")
        found = chosen
    labels = _class_labels(columns, safe)
    return {
        f"{PER_CLASS}/{name}/{label}": value
        for name in found
        for label, value in zip(labels, columns[name], strict=True)
        if value == value
    }


def _holds_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _class_labels(columns: Mapping[str, Sequence[Any]], safe: bool) -> list[str]:
    """Give every class a text of its own: its name, or its index where it has no name.

    Classes that share a name have their index in front of it. The labels of all classes have it if that is not enough.
    """
    indices = list(map(str, columns["class"]))
    names = ["" if name is None else str(name) for name in columns.get("name", indices)]
    if safe:
        # A slash within the name of a class would make a folder, which another class may have as its name.
        names = [plain_name(name.replace("/", "_")) for name in names]
    count, space = Counter(names), "_" if safe else " "
    labels, with_index = [], []
    for index, name in zip(indices, names, strict=True):
        has_name = bool(name.strip())
        with_index.append(f"{index}{space}{name}" if has_name else index)
        labels.append(name if has_name and count[name] == 1 else with_index[-1])
    return labels if len(set(labels)) == len(labels) else with_index
