"""The type and meaning of each setting of a method. The meaning is read from where its author wrote it.

A setting is described by the section "Attributes" of the docstring of its class, by the comment above it, and by the
comment behind it. A subclass that only changes a default keeps the description, and adds its own comment. The
``choices`` of a setting may be a mapping from each choice to a phrase. These phrases follow the first description, so a
subclass with fewer choices needs no description of its own.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from vltr_train.settings import setting_types

__all__ = ["SettingNote", "setting_notes"]

_ATTRIBUTE = re.compile(r"^    (\w+): ((?:.*)(?:\n {5,}.*)*)", re.MULTILINE)


class SettingNote(NamedTuple):
    """A setting and what it means.

    Attributes:
        name: The name.
        default: The default value.
        type: The type in plain words, or the choices.
        choices: The values to choose from, or () for any of its type.
        text: The description; "" if there is none.
    """

    name: str
    default: Any
    type: str
    choices: tuple[Any, ...]
    text: str


def setting_notes(config_class: Any) -> list[SettingNote]:
    """Return all settings of a class of settings, with their descriptions.

    Args:
        config_class: The ``Config`` of a method.

    Example:
        >>> from vltr_train.methods import find_method
        >>> note = setting_notes(find_method("focal").Config)[-1]
        >>> note.name, note.default, note.type
        ('gamma', 1.0, 'a number')
    """
    texts: dict[str, list[str]] = {}
    for kind in reversed(config_class.__mro__):
        for name, text in (*_attributes(vars(kind).get("__doc__") or ""), *_comments(kind)):
            texts.setdefault(name, []).append(text)
    for entry in fields(config_class):
        if isinstance(choices := entry.metadata.get("choices"), Mapping):
            phrases = "; ".join(f'"{choice}": {phrase}' for choice, phrase in choices.items())
            texts.setdefault(entry.name, []).insert(1, f"{phrases}.")
    defaults, types = config_class(), setting_types(config_class)
    return [
        SettingNote(
            entry.name,
            getattr(defaults, entry.name),
            types[entry.name],
            tuple(entry.metadata.get("choices", ())),
            " ".join(texts.get(entry.name, [])),
        )
        for entry in fields(config_class)
        if entry.init
    ]


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """The entries of the section "Attributes" of a docstring in Google style."""
    _, found, section = inspect.cleandoc(docstring).partition("Attributes:\n")
    for name, text in _ATTRIBUTE.findall(section.split("\n\n")[0]) if found else ():
        yield name, " ".join(text.split())


def _comments(kind: type) -> Iterator[tuple[str, str]]:
    """The comments above and behind the fields of a class; none for a class without source."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
        body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError, AttributeError, IndexError):
        return
    lines = source.splitlines()
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
            above: list[str] = []
            while lines[first - 1].lstrip().startswith("#"):
                first -= 1
                above.insert(0, lines[first])
            behind = lines[last][node.end_col_offset :]
            text = " ".join(line.strip().lstrip("#").strip() for line in (*above, behind) if line.strip())
            if text:
                yield node.target.id, text
