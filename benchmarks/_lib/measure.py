"""Measurements of one case: time, peak extra memory and per-class results of some rows of the table.

_lib/worker.py starts this module as a process. It reads requests from stdin, one JSON object a line, and writes one
line with the answer to each (see `main`). It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from _lib.floor import read_floor
from _lib.peers import PEERS

SAP_TRIALS = 15
SAP_TRIALS_MANY = 1_000

_MAX_RUNS = 1_000
_PEER_LIMITS = {"enough": 0.5, "most": 3.0}
_MIN_PEER_RUNS = 5
_PILOT_CLASSES = 8
_STOP_SECONDS = 20.0  # exact SAP is stopped after this


class PeakMemory:
    """Measure the growth of a block's peak memory over the resident memory at its start; None outside Linux.

    Args:
        anonymous: False measures resident memory by the kernel's high-water mark, which is reset at the start.
            True samples RssAnon every millisecond. Use it for memory-mapped inputs: their touched pages are page
            cache, which the kernel can drop, but they count as resident.
    """

    def __init__(self, anonymous: bool) -> None:
        self.extra: int | None = None
        self._anonymous = anonymous
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampled_peak = 0

    def __enter__(self) -> PeakMemory:
        self._before = _status_bytes("RssAnon" if self._anonymous else "VmRSS")
        if self._before is None:
            return self
        if self._anonymous:
            self._sampler.start()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM := VmRSS
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is None:
            return
        if self._anonymous:
            self._stop.set()
            self._sampler.join()
            peak = max(self._sampled_peak, _status_bytes("RssAnon") or 0)
        else:
            peak = _status_bytes("VmHWM") or 0
        self.extra = max(0, peak - self._before)

    def _sample(self) -> None:
        while not self._stop.wait(0.001):
            self._sampled_peak = max(self._sampled_peak, _status_bytes("RssAnon") or 0)


def _status_bytes(field: str) -> int | None:
    """Return one memory field of this process's /proc status, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)


class TooSlowError(Exception):
    """An operation is left out or stopped, because it takes too long."""


class Inputs:
    """The arrays of one case, loaded or memory-mapped, with the objects that operations prepare from them."""

    def __init__(self, directory: str, mapped: bool, threads: int | None) -> None:
        mode = "r" if mapped else None
        self.threads = threads
        self.scores = np.load(f"{directory}/scores.npy", mmap_mode=mode)
        self.labels = np.load(f"{directory}/labels.npy", mmap_mode=mode)
        self.train_counts = np.load(f"{directory}/train_counts.npy")

    @cached_property
    def vltr(self) -> ModuleType:
        return import_module("vltr_eval")

    @cached_property
    def positives(self) -> object:
        from vltr_eval._engine.labels import Positives

        return Positives.from_labels(self.labels, *self.scores.shape, threads=self.threads)

    @cached_property
    def weights(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(0.5, 2.0, len(self.scores))

    @cached_property
    def table(self) -> object:
        return self.vltr.rank_table(self.scores, self.labels, threads=self.threads)


load_inputs = lru_cache(maxsize=1)(Inputs)  # a worker that stays alive loads each case once


@dataclass(frozen=True)
class Operation:
    """One operation of vltr on the inputs of a case, and the object of `Inputs` that is made before it starts."""

    call: Callable[[Inputs], object]
    needs: str = "vltr"


def _exact_sap_added(i: Inputs) -> object:
    start = time.perf_counter()

    def stop_if_slow(fraction: float) -> None:
        if time.perf_counter() - start > _STOP_SECONDS:
            raise TooSlowError(f"stopped after {_STOP_SECONDS:g} s")

    return i.table.expected_sampled_average_precision(threads=i.threads, progress=stop_if_slow)


# `read_floor` returns its own time.
OPERATIONS: dict[str, Operation] = {
    "floor": Operation(lambda i: read_floor(i.scores, i.threads)),
    "ap": Operation(lambda i: i.vltr.average_precision(i.scores, i.labels, threads=i.threads)),
    "ap_positives": Operation(
        lambda i: i.vltr.average_precision(i.scores, i.positives, threads=i.threads), needs="positives"
    ),
    "ap_one_thread": Operation(lambda i: i.vltr.average_precision(i.scores, i.labels, threads=1)),
    "ap_weighted": Operation(
        lambda i: i.vltr.average_precision(i.scores, i.labels, sample_weight=i.weights, threads=i.threads),
        needs="weights",
    ),
    "roc_auc": Operation(lambda i: i.vltr.roc_auc(i.scores, i.labels, threads=i.threads)),
    "exact_sap_added": Operation(_exact_sap_added, needs="table"),
    "exact_sap": Operation(lambda i: i.vltr.expected_sampled_average_precision(i.scores, i.labels, threads=i.threads)),
    "sap": Operation(
        lambda i: i.vltr.sampled_average_precision(i.scores, i.labels, trials=SAP_TRIALS, threads=i.threads)
    ),
    "sap_many": Operation(
        lambda i: i.vltr.sampled_average_precision(i.scores, i.labels, trials=SAP_TRIALS_MANY, threads=i.threads)
    ),
    "evaluate": Operation(
        lambda i: i.vltr.evaluate(i.scores, i.labels, sap=SAP_TRIALS, train_counts=i.train_counts, threads=i.threads)
    ),
}


def time_ours(
    directory: str, rows: list[str], mapped: bool, threads: int, min_runs: int, limits: dict[str, float]
) -> dict:
    """Return the seconds of each run of each row, after one warm-up each, and why a row has none.

    The rows alternate, so a drift of the clock affects all of them and the ratios stay fair.

    Args:
        min_runs: Runs of a row, at least.
        limits: Seconds: short operations repeat for "enough", a long operation does not start again after "most", and
            many trials are left out if they would take longer than "bearable". A warm-up of "most" counts as a run.
    """
    inputs = load_inputs(directory, mapped, threads)
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    warm_up: dict[str, float] = {}
    remarks: dict[str, str] = {}
    for row in rows:
        try:
            _check_is_bearable(row, warm_up, limits["bearable"])
            warm_up[row] = _timed(inputs, row)
        except TooSlowError as error:
            remarks[row] = str(error)
            continue
        if warm_up[row] > limits["most"]:
            seconds[row].append(warm_up[row])
    while turn := [row for row in warm_up if _needs_run(seconds[row], min_runs, limits)]:
        for row in turn:
            try:
                seconds[row].append(_timed(inputs, row))
            except TooSlowError:  # the warm-up was just fast enough
                seconds[row].append(_STOP_SECONDS)
    if not mapped:
        for row in ("ap", "roc_auc"):
            np.save(_reference(directory, row), OPERATIONS[row].call(inputs))
    return {"seconds": seconds, "remarks": remarks}


def _check_is_bearable(row: str, seconds: dict[str, float], limit: float) -> None:
    """Raise TooSlowError if the rows measured before show that this one would take too long."""
    if row == "exact_sap" and "exact_sap_added" not in seconds:
        raise TooSlowError("not run: it takes longer than from a rank table")
    if row == "sap_many":
        expected = (seconds["sap"] - seconds["ap"]) * SAP_TRIALS_MANY / SAP_TRIALS
        if expected > limit:
            raise TooSlowError(f"not run: it would take about {expected:.0f} s, by the time of {SAP_TRIALS} trials")


def _needs_run(seconds: list[float], min_runs: int, limits: dict[str, float]) -> bool:
    spent, runs = sum(seconds), len(seconds)
    return spent < limits["most"] and (runs < min_runs or (spent < limits["enough"] and runs < _MAX_RUNS))


def _timed(inputs: Inputs, row: str) -> float:
    """Return the seconds of one call. The floor returns its own time."""
    operation = OPERATIONS[row]
    getattr(inputs, operation.needs)
    start = time.perf_counter()
    result = operation.call(inputs)
    elapsed = time.perf_counter() - start
    return result if isinstance(result, float) else elapsed


def _reference(directory: str, metric: str) -> Path:
    return Path(directory) / f"reference_{metric}.npy"


def memory_of_ours(directory: str, row: str, mapped: bool, threads: int) -> dict:
    """Return the peak extra bytes of the first call of one row. A cold call includes threads and scratch memory."""
    inputs = load_inputs(directory, mapped, threads)
    getattr(inputs, OPERATIONS[row].needs)
    with PeakMemory(anonymous=mapped) as memory, suppress(TooSlowError):
        OPERATIONS[row].call(inputs)
    return {"extra_bytes": memory.extra}


def best_seconds(directory: str, rows: list[str], threads: int, seconds: float) -> dict:
    """Return the shortest run of each row, of as many as fit in some seconds, and the rows that were stopped."""
    inputs = load_inputs(directory, False, threads)
    best, stopped = {}, []
    for row in rows:
        try:
            best[row] = _shortest(lambda row=row: _timed(inputs, row), seconds)
        except TooSlowError:
            best[row] = _STOP_SECONDS
            stopped.append(row)
    return {"best": best, "stopped": stopped}


def best_seconds_of_peer(directory: str, name: str, classes: int, seconds: float) -> dict:
    """Return the shortest run of a peer on the first classes, scaled to all."""
    inputs = load_inputs(directory, False, 1)
    scores, labels = inputs.scores[:, :classes], inputs.labels[:, :classes]
    best = _shortest(lambda: _timed_peer(name, scores, labels)[0], seconds)
    return {"best": best * inputs.scores.shape[1] / classes}


def _shortest(timed: Callable[[], float], seconds: float) -> float:
    runs: list[float] = []
    while not runs or (sum(runs) < seconds and len(runs) < _MAX_RUNS):
        runs.append(timed())
    return min(runs)


def _timed_peer(name: str, scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray | None]:
    start = time.perf_counter()
    result = PEERS[name].function(scores, labels)
    return time.perf_counter() - start, result


def measure_peer(directory: str, name: str, threads: int, max_seconds: float) -> dict:
    """Run a peer once, or a few times if it is fast; on some of the classes if all would take over max_seconds.

    Some of the classes are a block of adjacent columns of the whole matrix, so memory access is that of a full run.
    The block takes about a third of max_seconds.
    """
    peer = PEERS[name]
    if any(find_spec(module) is None for module in peer.modules):
        return {"missing": True}
    if "torch" in peer.modules:
        import torch

        torch.set_num_threads(threads)
    inputs = load_inputs(directory, False, threads)
    scores, labels = inputs.scores, inputs.labels
    num_classes = scores.shape[1]
    peer.function(scores[:256, :2], labels[:256, :2])  # imports and compilation are not measured

    classes = num_classes
    if num_classes > _PILOT_CLASSES:
        pilot = slice(_PILOT_CLASSES)
        per_class = _timed_peer(name, scores[:, pilot], labels[:, pilot])[0] / _PILOT_CLASSES
        if per_class * num_classes > max_seconds:
            classes = max(_PILOT_CLASSES, int(max_seconds / 3 / per_class))

    scores, labels = scores[:, :classes], labels[:, :classes]
    seconds: list[float] = []
    with PeakMemory(anonymous=False) as memory:
        while _needs_run(seconds, _MIN_PEER_RUNS, _PEER_LIMITS):
            spent, result = _timed_peer(name, scores, labels)
            seconds.append(spent)
    return {
        "seconds": [spent * num_classes / classes for spent in seconds],
        "classes": classes,
        "extra_bytes": memory.extra,
        "difference": None if result is None else _difference(directory, peer.metric, result, labels),
    }


def _difference(directory: str, metric: str, result: np.ndarray, labels: np.ndarray) -> float:
    """Return the largest difference from vltr over the classes that have positives."""
    reference = np.load(_reference(directory, metric))[: labels.shape[1]]
    return float(np.abs(result - reference)[labels.any(axis=0)].max(initial=0.0))


def time_of_numpy_sort() -> dict:
    """Return the seconds of the shortest of some sorts."""
    values = np.random.default_rng(0).random(1_000_000, np.float32)

    def sort() -> float:
        start = time.perf_counter()
        np.sort(values)
        return time.perf_counter() - start

    return {"seconds": _shortest(sort, 0.2)}


def describe_case(directory: str) -> dict:
    """Describe a case: its size, positives and mAP, and the share of negatives that the filter leaves."""
    inputs = load_inputs(directory, True, None)
    scores, table = inputs.scores, inputs.table
    has_positives = table.num_positives > 0
    last = table.indptr[1:][has_positives] - 1
    return {
        "num_rows": scores.shape[0],
        "num_classes": scores.shape[1],
        "num_bytes": scores.nbytes,
        "num_positives": int(table.num_positives.sum()),
        "map": float(np.nanmean(table.average_precision())),
        "survivors": float(table.fp[last].sum() / table.num_negatives[has_positives].sum()),
    }


def describe_build() -> dict:
    """Return the folder of the imported vltr_eval, and how its core was built."""
    vltr = import_module("vltr_eval")
    return {"folder": str(Path(vltr.__file__).resolve().parents[1]), **vltr.build_info()}


def main() -> None:
    """Answer requests: {"task": a function of this module, its arguments}."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a peer that prints does not disturb the answers
    tasks = {
        task.__name__: task
        for task in (
            *(time_ours, memory_of_ours, measure_peer, describe_case, describe_build),
            *(best_seconds, best_seconds_of_peer, time_of_numpy_sort),
        )
    }
    for line in sys.stdin:
        request = json.loads(line)
        answer = tasks[request.pop("task")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
