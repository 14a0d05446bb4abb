"""Classes that name themselves, as in ``super(Meter, self)``, need care: while they are replaced, that name is ours."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any


def cannot_be_replaced(original: type, is_replaced: Callable[[type], bool]) -> str:
    """Return why objects of the original class would fail while its name is replaced; "" if they would not.

    New objects are of our class. Objects that exist, and classes that extend the original already, still run its
    methods. There ``super(Name, self)`` fails if Name is another class.
    """
    methods = [name for name, function in _functions(original) if _names_itself(original, function)]
    if not methods:
        return ""
    if methods != ["__init__"]:
        return f"{', '.join(methods)}: super({original.__name__}, self) needs the original under its name"
    extensions: list[type] = type.__subclasses__(original)
    kept = [one.__name__ for one in extensions if not is_replaced(one)]
    return f"{', '.join(kept)}: needs the original under its name, because it extends it" if kept else ""


def pristine(original: type, original_of: Callable[[Any], Any], made: dict[type, type] | None = None) -> type:
    """Return a class that works as the original does without a patch.

    original_of: gives the original of an object that stands in for one, and other objects as they are. made: the
    classes that have been made, by the original.
    """
    made = {} if made is None else made
    if original in made:
        return made[original]
    is_whole = all(original_of(kind) is kind for kind in original.__mro__)
    if is_whole and not any(_finds_another(kind, one) for kind in original.__mro__ for _, one in _functions(kind)):
        return original
    left_out = ("__dict__", "__weakref__")
    namespace = {name: value for name, value in vars(original).items() if name not in left_out}
    home = vars(sys.modules[original.__module__])
    names = dict(home)
    own_cell = types.CellType()  # of the class, which every method has that calls super
    for name, function in _functions(original):
        if function.__globals__ is not home:
            continue  # the work of a decorator of another module
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        closure = tuple(own_cell if free == "__class__" else cell for free, cell in cells)
        twin = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, closure)
        twin.__kwdefaults__ = function.__kwdefaults__
        kind = type(namespace[name])
        namespace[name] = twin if kind is types.FunctionType else kind(twin)
    bases = tuple(pristine(original_of(base), original_of, made) for base in original.__bases__)
    metaclass = type(bases[0])
    own_cell.cell_contents = made[original] = metaclass(original.__name__, bases, namespace)
    for name, value in names.items():
        replaced = original_of(value)
        if replaced is not value:
            names[name] = pristine(replaced, original_of, made) if isinstance(replaced, type) else replaced
    names[original.__name__] = made[original]
    return made[original]


def _functions(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    for name, value in vars(kind).items():
        function = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        if isinstance(function, types.FunctionType):
            yield name, function


def _finds_another(kind: type, function: types.FunctionType) -> bool:
    """Whether the function finds another class under the name of its own."""
    return _names_itself(kind, function) and function.__globals__.get(kind.__name__) is not kind


def _names_itself(kind: type, function: types.FunctionType) -> bool:
    return "super" in function.__code__.co_names and kind.__name__ in function.__code__.co_names
