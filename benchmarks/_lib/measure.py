"""One measurement in a process of its own: time, peak extra memory and per-class AP of some rows of the table.

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

# Rows of ours: what each does is in `our_operations`. The floor is timed among them, turn by turn.
FLOOR = "floor"
SAP_TRIALS_MANY = 1_000

_MIN_SECONDS = 0.5  # short operations are repeated until this much time is spent on each,
_MAX_RUNS = 100  # but not more often than this;
_MAX_SECONDS = 60.0  # long ones are not started again once this is spent.
_MAX_PEER_RUNS = 5
_SLOW_WARM_UP = 20.0  # a warm-up that took this long is counted as a run


class PeakMemory:
    """Bytes by which a block's peak memory exceeds what was resident when it began; None where Linux is missing.

    anonymous=False: resident memory, by the kernel's own high-water mark (reset at the start of the block).
    anonymous=True: RssAnon, sampled every millisecond. For memory-mapped inputs, whose touched pages count as
    resident although they are page cache that the kernel can drop at any time.
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
    """One memory field of this process's /proc status, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)


def our_operations(directory: Path, mapped: bool, threads: int) -> dict[str, Callable[[], object]]:
    """The rows of ours and the floor, by name, on one case: arrays in memory, or memory-mapped from the disk."""
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
    """Seconds of each run of each row, after one warm-up each.

    The rows take turns, so that a machine whose clock drifts drifts for all of them and the ratios stay fair.
    """
    operations = our_operations(directory, mapped, threads)
    seconds: dict[str, list[float]] = {row: [] for row in rows}
    warm_up = {row: _timed(operations[row]) for row in rows}
    for row, spent in warm_up.items():
        if spent > _SLOW_WARM_UP:
            seconds[row].append(spent)

    def wants_a_run(row: str) -> bool:
        spent, runs = sum(seconds[row]), len(seconds[row])
        return spent < _MAX_SECONDS and (runs < min_runs or (spent < _MIN_SECONDS and runs < _MAX_RUNS))

    while turn := [row for row in rows if wants_a_run(row)]:
        for row in turn:
            seconds[row].append(_timed(operations[row]))
    if "ap" in rows and not mapped:
        np.save(directory / "reference_ap.npy", operations["ap"]())
    return {"seconds": seconds}


def _timed(operation: Callable[[], object]) -> float:
    """Seconds of one call; the floor reports its own."""
    start = time.perf_counter()
    result = operation()
    elapsed = time.perf_counter() - start
    return result if isinstance(result, float) else elapsed


def memory_of_ours(directory: Path, rows: list[str], mapped: bool, threads: int) -> dict:
    """Peak extra bytes of the first call of one row: nothing is warm, so threads and scratch count too."""
    operations = our_operations(directory, mapped, threads)
    with PeakMemory(anonymous=mapped) as memory:
        operations[rows[0]]()
    return {"extra_bytes": memory.extra}


def measure_peer(directory: Path, name: str, threads: int, max_seconds: float) -> dict:
    """A run of a peer, or a few if they are short; on a part of the classes if all would take over max_seconds.

    The part takes about a third of max_seconds. It is a block of neighbouring columns of the whole matrix, so that
    memory is walked as in a full run.
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
    peer.function(scores[:256, :2], labels[:256, :2])  # imports and compilation are not what is compared

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
    """What a reader needs to know of a case: size, positives, mAP, and how many negatives the filter leaves."""
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
    """Answer one request: {"task": name of a function below, "directory": ..., its other arguments}."""
    request = json.loads(sys.argv[1])
    tasks = {f.__name__: f for f in (time_ours, memory_of_ours, measure_peer, describe_case)}
    task = tasks[request.pop("task")]
    answer = task(Path(request.pop("directory")), **request)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
