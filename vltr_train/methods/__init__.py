"""The methods, one file each; the name of a method is that of its file."""

from __future__ import annotations

import importlib
import pkgutil

from vltr_eval._base.arguments import unknown_name
from vltr_train.method import Method

__all__ = ["all_methods", "find_method"]


def all_methods() -> dict[str, type[Method]]:
    """Every method by its name, which is that of its file in methods/."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        (found[module.name],) = (
            value
            for value in vars(loaded).values()
            if isinstance(value, type) and issubclass(value, Method) and value.__module__ == loaded.__name__
        )
    return found


def find_method(name: str) -> type[Method]:
    """The method of this name; ValueError with the nearest ones otherwise."""
    methods = all_methods()
    if name not in methods:
        raise unknown_name("method", name, methods)
    return methods[name]
