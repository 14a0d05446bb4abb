"""One measurement in a separate process: time, peak extra memory and per-class AP of some rows of the table.

Run `python -m _lib.measure REQUEST` in benchmarks/. REQUEST is a JSON object (see `main`); the last line on stdout is
the JSON answer. Each measurement has its own process: imports, loaded inputs and leftovers of other rows would blur
the peak memory.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from _lib.floor import read_floor
from _lib.peers import PEERS

# `our_operations` defines the rows of vltr. The floor is timed in turn with them.
FLOOR = "floor"
SAP_TRIALS_MANY = 1_000

_MIN_SECONDS = 0.5  # short operations repeat for this long,
_MAX_RUNS = 100  # at most this often
_MAX_SECONDS = 60.0  # a long operation does not start again after this
_MAX_PEER_RUNS = 5
_SLOW_WARM_UP = 20.0  # a warm-up of this length counts as a run


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


def our_operations(directory: Path, mapped: bool, threads: int) -> dict[str, Callable[[], object]]:
    """Return the operations of vltr and the floor, by name, on one case. mapped: read its arrays by memory mapping."""
    from vltr_eval import average_precision, evaluate, sampled_average_precision
    from vltr_eval._engine.labels import Positives

    mode = "r" if mapped else None
    scores = np.load(directory / "scores.npy", mmap_mode=mode)
    labels = np.load(directory / "labels.npy", mmap_mode=mode)
    train_counts = np.load(directory / "train_counts.npy")
    positives = Positives.from_labels(labels, *scores.shape, threads=threads)
    return {
        FLOOR: lambda: read_floor(scores, threads),
        "ap": lambda: average_precision(scores, labels, threads=threads),
        "ap_positives": lambda: average_precision(scores, positives, threads=threads),
        "evaluate": lambda: evaluate(scores, labels, sap=15, train_counts=train_counts, threads=threads),
        "sap_many": lambda: sampled_average_precision(scores, labels, trials=SAP_TRIALS_MANY, threads=threads),
    }


def time_ours(directory: Path, rows: list[str], mapped: bool, threads: int, min_runs: int) -> dict:
    """Return the seconds of each run of each row, after one warm-up each.

    The rows alternate, so a drift of the clock affects all of them and the ratios stay fair.
    """
    operations = our_operations(directory, mapped, threads)
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    warm_up = {row: _timed(operations[row]) for row in rows}
    for row, spent in warm_up.items():
        if spent > _SLOW_WARM_UP:
            seconds[row].append(spent)

    def needs_run(row: str) -> bool:
        spent, runs = sum(seconds[row]), len(seconds[row])
        return spent < _MAX_SECONDS and (runs < min_runs or (spent < _MIN_SECONDS and runs < _MAX_RUNS))

    while turn := [row for row in rows if needs_run(row)]:
        for row in turn:
            seconds[row].append(_timed(operations[row]))
    if "ap" in rows and not mapped:
        np.save(directory / "reference_ap.npy", operations["ap"]())
    return {"seconds": seconds}


def _timed(operation: Callable[[], object]) -> float:
    """Return the seconds of one call. The floor returns its own time."""
    start = time.perf_counter()
    result = operation()
    elapsed = time.perf_counter() - start
    return result if isinstance(result, float) else elapsed


def memory_of_ours(directory: Path, rows: list[str], mapped: bool, threads: int) -> dict:
    """Return the peak extra bytes of the first call of one row. A cold call includes threads and scratch memory."""
    operations = our_operations(directory, mapped, threads)
    with PeakMemory(anonymous=mapped) as memory:
        operations[rows[0]]()
    return {"extra_bytes": memory.extra}


def measure_peer(directory: Path, name: str, threads: int, max_seconds: float) -> dict:
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
    scores = np.load(directory / "scores.npy")
    labels = np.load(directory / "labels.npy")
    num_classes = scores.shape[1]
    peer.function(scores[:256, :2], labels[:256, :2])  # imports and compilation are not measured

    pilot = min(num_classes, 8)
    start = time.perf_counter()
    peer.function(scores[:, :pilot], labels[:, :pilot])
    per_class = (time.perf_counter() - start) / pilot
    classes = num_classes
    if per_class * num_classes > max_seconds:
        classes = max(pilot, int(max_seconds / 3 / per_class))

    scores, labels = scores[:, :classes], labels[:, :classes]
    seconds: list[float] = []
    with PeakMemory(anonymous=False) as memory:
        while not seconds or (sum(seconds) < max_seconds / 6 and len(seconds) < _MAX_PEER_RUNS):
            start = time.perf_counter()
            ap = peer.function(scores, labels)
            seconds.append(time.perf_counter() - start)
    defined = labels.any(axis=0)
    difference = np.abs(ap - np.load(directory / "reference_ap.npy")[:classes])[defined]
    return {
        "seconds": [spent * num_classes / classes for spent in seconds],
        "classes": classes,
        "extra_bytes": memory.extra,
        "difference": float(difference.max(initial=0.0)),
    }


def describe_case(directory: Path) -> dict:
    """Describe a case: its size, positives and mAP, and the share of negatives that the filter leaves."""
    from vltr_eval import rank_table

    scores = np.load(directory / "scores.npy", mmap_mode="r")
    table = rank_table(scores, np.load(directory / "labels.npy", mmap_mode="r"))
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


def main() -> None:
    """Answer one request: {"task": a function of this module, "directory": ..., its other arguments}."""
    request = json.loads(sys.argv[1])
    tasks = {f.__name__: f for f in (time_ours, memory_of_ours, measure_peer, describe_case)}
    task = tasks[request.pop("task")]
    answer = task(Path(request.pop("directory")), **request)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
