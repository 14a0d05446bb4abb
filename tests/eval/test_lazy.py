"""Lazy attributes are computed once, at the first read, without a lock."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal
import sys
import threading

import pytest

from vltr_eval._base.lazy import lazy_property


@dataclasses.dataclass(frozen=True)
class Squares:
    numbers: list[int]

    @lazy_property
    def total(self) -> int:
        """The sum of the squares."""
        self.numbers.append(0)  # the number of computations
        return sum(number**2 for number in self.numbers)


def test_values_are_computed_once_an_instance():
    first, second = Squares([1, 2]), Squares([3])
    assert (first.total, second.total, first.total) == (5, 9, 5)
    assert (first.numbers, second.numbers) == ([1, 2, 0], [3, 0])
    assert copy.copy(first).total == 5
    assert first.numbers == [1, 2, 0]


def test_the_class_shows_the_property_itself():
    assert isinstance(Squares.total, lazy_property)
    assert Squares.total.__doc__ == "The sum of the squares."


def test_errors_are_not_cached():
    class Fickle:
        tries = 0

        @lazy_property
        def value(self) -> int:
            self.tries += 1
            if self.tries == 1:
                raise OSError("not yet")
            return self.tries

    fickle = Fickle()
    with pytest.raises(OSError, match="not yet"):
        _ = fickle.value
    assert fickle.value == fickle.value == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.* may lead to deadlocks")
def test_a_child_forked_while_a_value_is_computed_computes_it_again():
    computing, go_on = threading.Event(), threading.Event()

    class Slow:
        def __init__(self, waits: bool) -> None:
            self.waits = waits

        @lazy_property
        def value(self) -> int:
            if self.waits:
                computing.set()
                go_on.wait(60)
            return 7

    thread = threading.Thread(target=lambda: Slow(True).value)
    thread.start()
    computing.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        os._exit(Slow(False).value)
    _, status = os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 7, sys.version
