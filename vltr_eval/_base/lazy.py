"""Attributes that are computed when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy_property"]

Value = TypeVar("Value")


class lazy_property(Generic[Value]):
    """A property whose value is computed once and kept in the instance.

    Not functools.cached_property: up to Python 3.11 it holds a lock of the whole class while it computes. A child that
    is forked at that time inherits the lock without the thread that would release it, and waits for ever. Here two
    threads may compute the same value at the same time; one of the results is kept.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy_property[Value]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> lazy_property[Value] | Value:
        if instance is None:
            return self
        # Python looks here only while the instance has no attribute of this name.
        value: Value = instance.__dict__.setdefault(self._name, self._compute(instance))
        return value
