"""Interrupts of Evaluator: Ctrl-C at any line, or between any two bytecodes, leaves it as before the call or as after.

Afterwards it goes on working: a report is never of scores and labels that do not belong together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import corner_labels, labels_by_id, make_case

import vltr_eval
from vltr_eval import Evaluator, Report, row_store

PACKAGE = Path(vltr_eval.__file__).parent
NUM_CLASSES = 6
CONVENTIONS = {"sap": 2, "topk": (1, 3), "threads": 1}
ROOMS = {
    "in memory": {},
    "room for all": {"num_rows": 40},
    "in files": {"memory_budget": 0},
    "in both": {"memory_budget": 24 * 12, "num_rows": 40},
}

# A file that an interrupt keeps from its `with` is closed by the interpreter, which warns of that.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(row_store, "_LEAST_FILE", 1 << 12)


class Interrupter:
    """Raises KeyboardInterrupt at one event, counted from 0, of those in frames of the files of some paths."""

    def __init__(self, event: str, paths: tuple[str, ...], at: int) -> None:
        self._event, self._paths, self._left = event, paths, at

    def _trace(self, frame: Any, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._paths):
            return None
        frame.f_trace_opcodes = self._event == "opcode"
        if event == self._event:
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        return self._trace

    def interrupts(self, call: Callable[[], Any]) -> bool:
        """Runs a call; whether it had as many events, so that it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def batch(seed: int, ids: str | None) -> tuple[Any, ...]:
    """20 rows; with ids some samples come more than once, and have the same labels for every seed."""
    scores, _ = make_case(20, NUM_CLASSES, seed=seed, levels=12)
    if ids is None:
        return scores, corner_labels(20, seed=seed)
    numbers = np.random.default_rng(0).integers(0, 15, 20)
    labels = labels_by_id(corner_labels(20), numbers)
    return scores, labels, numbers if ids == "integers" else [f"v{number}" for number in numbers]


def taken(*batches: tuple[Any, ...], **room: Any) -> Evaluator:
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS, **room)
    for rows in batches:
        evaluator.update(*rows)
    return evaluator


def found(evaluator: Evaluator) -> tuple[int, Report | None]:
    """The number of rows of an evaluator, and their report."""
    return evaluator.num_rows, evaluator.compute() if evaluator.num_rows else None


CALLS = {
    "update": lambda evaluator, rows, other: evaluator.update(*rows),
    "merge": lambda evaluator, rows, other: evaluator.merge(other, other),
    "load_state_dict": lambda evaluator, rows, other: evaluator.load_state_dict(other.state_dict()),
    "reset": lambda evaluator, rows, other: evaluator.reset(),
    "state_dict": lambda evaluator, rows, other: evaluator.state_dict(),
    "compute": lambda evaluator, rows, other: evaluator.compute(),
}


def check_every_interrupt(
    call: Callable[..., Any], event: str, *files: str, ids: str | None, had: int, **room: Any
) -> None:
    """Interrupts a call at each of its events: the evaluator is as before or as after, and goes on working.

    had: batches that the evaluator has before the call.
    """
    batches, rows = [batch(1, ids)] * had, batch(2, ids)
    other = taken(batch(3, ids), batch(4, ids))
    before, after = taken(*batches, **room), taken(*batches, **room)
    call(after, rows, other)
    before, after = found(before), found(after)
    paths = tuple(str(PACKAGE / file) for file in files)
    interrupts = 0
    while True:
        evaluator = taken(*batches, **room)
        if not Interrupter(event, paths, interrupts).interrupts(lambda one=evaluator: call(one, rows, other)):
            break
        now = found(evaluator)
        assert now in (before, after)
        if now != after:
            call(evaluator, rows, other)
            assert found(evaluator) == after
        interrupts += 1
    assert found(evaluator) == after
    assert interrupts >= 3


@pytest.mark.parametrize(
    ("room", "ids", "had"),
    [("in memory", None, 2), ("room for all", "integers", 1), ("in files", "strings", 1), ("in both", None, 1)],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_interrupt_at_any_line_leaves_no_wrong_report(call, room, ids, had, tmp_path):
    check_every_interrupt(call, "line", "", ids=ids, had=had, spill_dir=tmp_path, **ROOMS[room])


@pytest.mark.parametrize(
    ("call", "room"),
    [("update", "in both"), ("merge", "in memory"), ("load_state_dict", "in memory"), ("reset", "room for all")],
)
def test_an_interrupt_between_any_two_bytecodes_leaves_no_wrong_report(call, room, tmp_path):
    files = ("evaluator.py", "row_store.py")
    check_every_interrupt(CALLS[call], "opcode", *files, ids="integers", had=1, spill_dir=tmp_path, **ROOMS[room])


def test_an_interrupted_first_update_takes_nothing_or_all():
    check_every_interrupt(CALLS["update"], "line", "", ids="strings", had=0)
