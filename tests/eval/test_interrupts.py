"""Ctrl-C at any line, or between any two bytecodes, leaves an object that takes batches as before or after the call.

The object stays usable: no result pairs scores with the labels of other rows.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import corner_labels, labels_by_id, make_case

import vltr_eval
from vltr_eval import Evaluator, Report, RunningAP
from vltr_eval._engine import row_store
from vltr_eval.compat import youtube8m
from vltr_eval.compat.youtube8m import ranked_lists as youtube8m_ranked_lists

PACKAGE = Path(vltr_eval.__file__).parent
NUM_CLASSES = 6
CONVENTIONS = {"sap": 2, "topk": (1, 3), "threads": 1}
ROOMS = {
    "in memory": {},
    "room for all": {"num_rows": 40},
    "in files": {"memory_budget": 0},
    "in both": {"memory_budget": 24 * 12, "num_rows": 40},
}

# An interrupt before a file's `with` leaves the file to the interpreter, which closes it with a warning.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(row_store, "_LEAST_FILE", 1 << 12)


class Interrupter:
    """Raises KeyboardInterrupt at one trace event, counted from 0, in frames of the given files."""

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
        """Run a call; return whether it was interrupted, which needs that many events."""
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
    """Return 20 rows; with ids, some samples repeat, and their labels are the same for every seed."""
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
    """Return the number of rows of an evaluator, and their report."""
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
    make: Callable[[], Any],
    call: Callable[[Any], Any],
    found: Callable[[Any], Any],
    event: str,
    *files: str,
) -> None:
    """Interrupt a call at each event; assert that the object is as before or after it, and stays usable.

    make: Returns a new object in the state before the call. found: Returns the state of an object, for comparison.
    """
    before, after = make(), make()
    call(after)
    before, after = found(before), found(after)
    paths = tuple(str(PACKAGE / file) for file in files)
    for at in itertools.count():
        taken = make()
        if not Interrupter(event, paths, at).interrupts(lambda one=taken: call(one)):
            break
        now = found(taken)
        assert now in (before, after)
        if now != after:
            call(taken)
            assert found(taken) == after
    assert found(taken) == after
    assert at >= 3


def check_evaluator(call: Callable[..., Any], event: str, *files: str, ids: str | None, had: int, **room: Any) -> None:
    """Interrupt a call of an evaluator at each event. had: the batches before the call."""
    batches, rows = [batch(1, ids)] * had, batch(2, ids)
    other = taken(batch(3, ids), batch(4, ids))
    check_every_interrupt(
        lambda: taken(*batches, **room), lambda evaluator: call(evaluator, rows, other), found, event, *files
    )


@pytest.mark.parametrize(
    ("room", "ids", "had"),
    [("in memory", None, 2), ("room for all", "integers", 1), ("in files", "strings", 1), ("in both", None, 1)],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_interrupt_at_any_line_leaves_no_wrong_report(call, room, ids, had, tmp_path):
    check_evaluator(call, "line", "", ids=ids, had=had, spill_dir=tmp_path, **ROOMS[room])


@pytest.mark.parametrize(
    ("call", "room"),
    [("update", "in both"), ("merge", "in memory"), ("load_state_dict", "in memory"), ("reset", "room for all")],
)
def test_an_interrupt_between_any_two_bytecodes_leaves_no_wrong_report(call, room, tmp_path):
    files = ("evaluator.py", "_engine/row_store.py")
    check_evaluator(CALLS[call], "opcode", *files, ids="integers", had=1, spill_dir=tmp_path, **ROOMS[room])


def test_an_interrupted_first_update_adds_all_rows_or_none():
    check_evaluator(CALLS["update"], "line", "", ids="strings", had=0)


# Other classes that take batches


def small_batches(*seeds: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return batches of 8 rows and 3 classes; as the shapes are equal, a wrong pairing raises no error."""
    rngs = [np.random.default_rng(seed) for seed in seeds]
    return [(rng.random((8, 3), np.float32), (rng.random((8, 3)) < 0.4).astype(np.int64)) for rng in rngs]


FIRST, NEXT = small_batches(1, 2)
BAD_LABELS = (NEXT[0], np.full((8, 3), 2))


def running_of(*batches: tuple[Any, Any]) -> RunningAP:
    running = RunningAP(num_classes=3, capacity=30, threads=1)
    for scores, labels in batches:
        running.update(scores, labels)
    return running


def found_running(running: RunningAP) -> tuple[int, Any]:
    return len(running), running.compute().tolist() if len(running) else None


@pytest.mark.parametrize("event", ["line", "opcode"])
@pytest.mark.parametrize("had", [[], [FIRST]], ids=["first", "second"])
def test_an_interrupted_update_of_running_ap_adds_all_rows_or_none(event, had):
    files = ("",) if event == "line" else ("metrics/running.py",)
    check_every_interrupt(lambda: running_of(*had), lambda one: one.update(*NEXT), found_running, event, *files)


def test_an_interrupted_reset_of_running_ap_removes_all_rows_or_none():
    check_every_interrupt(lambda: running_of(FIRST), RunningAP.reset, found_running, "opcode", "metrics/running.py")


def test_an_interrupted_refusal_does_not_change_running_ap():
    before, after = found_running(running_of(FIRST)), found_running(running_of(FIRST, NEXT))
    for at in itertools.count():
        running = running_of(FIRST)

        def refuse(one=running):
            with pytest.raises(ValueError, match=r"expected 0 or 1, got 2 at row 0, class 0 of the batch"):
                one.update(*BAD_LABELS)

        was_interrupted = Interrupter("opcode", (str(PACKAGE / "metrics/running.py"),), at).interrupts(refuse)
        assert found_running(running) == before
        running.update(*NEXT)
        assert found_running(running) == after
        if not was_interrupted:
            break
    assert at > 50


def meter_of(*batches: tuple[Any, ...]) -> Any:
    torch = pytest.importorskip("torch")
    from vltr_eval.compat.torchnet import APMeter

    meter = APMeter()
    for one in batches:
        meter.add(*map(torch.from_numpy, one))
    return meter


def found_meter(meter: Any) -> Any:
    value = meter.value()
    return value if isinstance(value, int) else value.tolist()


WEIGHTS = [np.linspace(start, 2, 8) for start in (0.1, 1.0)]


@pytest.mark.parametrize("event", ["line", "opcode"])
@pytest.mark.parametrize("had", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("weights", [[(), ()], [(weights,) for weights in WEIGHTS]], ids=["plain", "weighted"])
def test_an_interrupted_add_of_a_meter_adds_all_rows_or_none(event, had, weights):
    pytest.importorskip("torch")
    first, last = ((*one, *own) for one, own in zip((FIRST, NEXT), weights, strict=True))

    def make():
        meter = meter_of(*[first] * had)
        meter.value()  # a cached result
        return meter

    files = ("",) if event == "line" else ("compat/torchnet.py",)
    check_every_interrupt(make, lambda meter: meter.add(*last), found_meter, event, *files)


def test_an_interrupted_reset_of_a_meter_removes_all_rows_or_none():
    pytest.importorskip("torch")
    first = (*FIRST, WEIGHTS[0])
    for at in itertools.count():
        meter = meter_of(first, first)
        meter.value()
        was_interrupted = Interrupter("opcode", (str(PACKAGE / "compat/torchnet.py"),), at).interrupts(meter.reset)
        assert found_meter(meter) in (0, found_meter(meter_of(first, first)))
        meter.reset()
        meter.add(*first)
        assert found_meter(meter) == found_meter(meter_of(first))
        if not was_interrupted:
            break
    assert at >= 2


def calculator_of(kind: str, top_n: int | None, batches: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    if kind == "map":
        calculator = youtube8m.MeanAveragePrecisionCalculator(3, filter_empty_classes=False, top_n=top_n)
    else:
        calculator = youtube8m.EvaluationMetrics(3, top_k=2, top_n=top_n)
    for one in batches:
        accumulate(calculator, one)
    return calculator


def accumulate(calculator: Any, one: tuple[np.ndarray, np.ndarray]) -> None:
    if isinstance(calculator, youtube8m.EvaluationMetrics):
        calculator.accumulate(*one, loss=0.5)
    else:
        calculator.accumulate(one[0].T, one[1].T)


def found_calculator(calculator: Any) -> Any:
    if isinstance(calculator, youtube8m.EvaluationMetrics):
        return calculator.num_examples, calculator.get() if calculator.num_examples else None
    return calculator.peek_map_at_n()


@pytest.mark.parametrize("top_n", [None, 5], ids=["whole", "highest"])
@pytest.mark.parametrize("kind", ["map", "all"])
def test_an_interrupted_accumulate_of_youtube8m_adds_all_or_none(kind, top_n, monkeypatch):
    monkeypatch.setattr(youtube8m_ranked_lists, "_WAITING", 4)
    files = ("compat/youtube8m/calculators.py", "compat/youtube8m/ranked_lists.py")
    for had in ([], [FIRST, FIRST]) if kind == "map" else ([FIRST],):
        check_every_interrupt(
            lambda had=had: calculator_of(kind, top_n, had),
            lambda one: accumulate(one, NEXT),
            found_calculator,
            "opcode",
            *files,
        )


def test_an_interrupted_peek_of_mixed_pieces_changes_nothing():
    """Pieces of one length are stored as matrices, others as ties; reading the AP merges all into one."""

    def make():
        calculator = calculator_of("map", None, [FIRST])
        calculator.accumulate([[0.5], [], [0.25, 0.75]], [[1], [], [0, 1]])
        return calculator

    files = ("compat/youtube8m/calculators.py", "compat/youtube8m/ranked_lists.py")
    peek = youtube8m.MeanAveragePrecisionCalculator.peek_map_at_n
    check_every_interrupt(make, peek, found_calculator, "opcode", *files)


def metric_of(kind: str) -> tuple[Any, tuple[str, ...]]:
    """Return a metric of 3 labels, and the files of its update."""
    pytest.importorskip(kind.split(" ")[0])
    if kind == "torcheval":
        from vltr_eval.compat.torcheval import MultilabelAUPRC, OriginalMultilabelAUPRC

        original = sys.modules[OriginalMultilabelAUPRC.__module__].__file__
        return MultilabelAUPRC(num_labels=3, average=None), ("compat/torcheval.py", original)
    from vltr_eval.compat.torchmetrics import MultilabelAveragePrecision, RunningAveragePrecision

    files = tuple(f"compat/torchmetrics/{name}.py" for name in ("batches", "inputs", "multilabel", "running"))
    if kind == "torchmetrics running":
        return RunningAveragePrecision(num_labels=3, capacity=30), files
    return MultilabelAveragePrecision(num_labels=3, average=None), files


@pytest.mark.parametrize("kind", ["torcheval", "torchmetrics", "torchmetrics running"])
def test_an_interrupted_update_of_a_metric_keeps_scores_with_their_labels(kind):
    torch = pytest.importorskip("torch")
    first, last = ([torch.from_numpy(part) for part in one] for one in (FIRST, NEXT))

    def make():
        metric, _ = metric_of(kind)
        metric.update(*first)
        return metric

    def found_metric(metric):
        return copy.deepcopy(metric).compute().tolist()  # of a copy, since torchmetrics caches a result

    check_every_interrupt(make, lambda metric: metric.update(*last), found_metric, "opcode", *metric_of(kind)[1])
