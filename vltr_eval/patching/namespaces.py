"""The names in modules, which a patch replaces and puts back."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from vltr_eval.patching.known import Library

_OWN = "vltr_eval"  # the drop-ins call the originals


def namespaces(libraries: list[Library]) -> Iterator[dict[str, Any]]:
    """Return the names of every imported module but our own, and the registries of the libraries."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, types.ModuleType) and name.split(".")[0] != _OWN:
            yield names_of(module)
    for library in libraries:
        for place in library.registries:
            yield from _registries(place)


def names_of(module: types.ModuleType) -> dict[str, Any]:
    """Return the names of a module without loading one that is lazy."""
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names


def swap(places: Iterator[dict[str, Any]], new_of: Mapping[int, Any]) -> None:
    """Put ``new_of[id(value)]`` in place of every value that is a key; the order of names does not change."""
    for names in places:
        for name, value in list(names.items()):
            new = new_of.get(id(value))
            if new is not None:
                names[name] = new


def _registries(place: str) -> Iterator[dict[str, Any]]:
    home, _, path = place.partition(":")
    value: Any = sys.modules.get(home)
    for word in path.removesuffix(".*").split("."):
        value = getattr(value, word, None)
    if not isinstance(value, dict):
        return
    if place.endswith(".*"):
        for holder in value.values():
            yield holder.__dict__
    else:
        yield value
