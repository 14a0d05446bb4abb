"""The training methods, one file each. The name of a method is the name of its file."""

from __future__ import annotations

import importlib
import pkgutil

from vltr_eval._base.arguments import unknown_name
from vltr_train.method import Method

__all__ = ["all_methods", "find_method"]


def all_methods() -> dict[str, type[Method]]:
    """Return every training method by its name, which is the name of its file in methods/.

    Returns:
        The classes of the methods, in alphabetical order of their names.

    Example:
        >>> list(all_methods())[:3]
        ['ava_two_stage', 'bce', 'cb_loss']
    """
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
    methods = all_methods()
    if name not in methods:
        raise unknown_name("method", name, methods)
    return methods[name]
