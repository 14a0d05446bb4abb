"""Time of intervals, of the bootstrap and of the comparison of two models, relative to AP, as Markdown.

    python benchmarks/bench_intervals.py --threads 2 --out
    python benchmarks/bench_intervals.py --quick            shrunk shapes and few replicates, to test the benchmark

At VideoLT's shape and at a small one it measures AP, `evaluate` without and with intervals, the effects of all rows,
the joint bootstrap, and `compare` of two models. Beside them: torchmetrics' BootStrapper and scikit-learn in a loop,
for each replicate. The peers run on some classes and a few replicates, and their time is scaled; the table states this.

Rows alternate in one process, and the shortest run of each counts. Memory is that of the first call in a separate
process.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_results
from _lib.measure import Inputs, PeakMemory
from _lib.shapes import SHAPES, write_case
from _lib.tables import duration, figure, size, table
from _lib.targets import Target, targets_text

NAMES = ("videolt", "ava")
QUALITY = "good"
REPLICATES = 1_000
FEW_REPLICATES = 64
LEVEL = 0.95
NOISE = np.float32(0.3)  # of the second model's scores; those of the first have unit variance

TURNS = 5  # each row runs so often,
MORE_TURNS, SECONDS = 40, 1.0  # and up to so often within this time
PEER_REPLICATES = 2
PEER_CELLS = 1_000_000  # a peer runs on a block of adjacent classes of this size


class TwoModels(Inputs):
    """The inputs of a case, and the scores of a second model."""

    @cached_property
    def other_scores(self) -> np.ndarray:
        noise = np.random.default_rng(1).standard_normal(self.scores.shape, np.float32)
        noise *= NOISE
        noise += self.scores
        return noise

    @cached_property
    def groups(self) -> np.ndarray:
        """(C,) int64: the group of each class, head, medium or tail."""
        high, low = 500, 100
        return (self.train_counts <= high).astype(np.int64) + (self.train_counts <= low)


@dataclass(frozen=True)
class Row:
    """A row of the table: its title, its call, and the attributes of the inputs that are made before it starts."""

    title: str
    call: Callable[[TwoModels], object]
    needs: tuple[str, ...] = ("vltr",)


def _row_effects(i: TwoModels) -> object:
    from vltr_eval._base.arrays import borrow_matrix
    from vltr_eval._engine.effects import row_effects

    metrics = ("average_precision", "roc_auc", "expected_sampled_average_precision")
    scores = borrow_matrix("scores", i.scores)
    return row_effects(scores, i.positives, i.table, i.groups, metrics, threads=i.threads)


def _evaluate(i: TwoModels, interval: float | None) -> object:
    counts = i.train_counts
    return i.vltr.evaluate(i.scores, i.labels, sap="exact", train_counts=counts, interval=interval, threads=i.threads)


def _bootstrap(i: TwoModels, replicates: int, metrics: tuple[str, ...], topk: tuple[int, ...] = ()) -> object:
    """Compute the replicates of all classes, and those of the means over all and over each group."""
    result = i.vltr.bootstrap(i.scores, i.labels, replicates=replicates, metrics=metrics, topk=topk, threads=i.threads)
    return result.means({name: np.flatnonzero(i.groups == number) for number, name in enumerate(GROUPS)})


def _compare(i: TwoModels) -> object:
    return i.vltr.compare(
        i.scores, i.other_scores, labels=i.labels, train_counts=i.train_counts, sap="exact", threads=i.threads
    )


GROUPS = ("head", "medium", "tail")
TOPK = (1, 5)
AP_AND_AUC = ("average_precision", "roc_auc")
EVERYTHING = (*AP_AND_AUC, "expected_sampled_average_precision")


def rows_of(replicates: int) -> dict[str, Row]:
    few = min(FEW_REPLICATES, replicates)
    return {
        "ap": Row("AP", lambda i: i.vltr.average_precision(i.scores, i.labels, threads=i.threads)),
        "evaluate": Row("`evaluate`, exact SAP", lambda i: _evaluate(i, None)),
        "interval": Row("`evaluate`, exact SAP, `interval=0.95`", lambda i: _evaluate(i, LEVEL)),
        "effects": Row("effects of all rows on AP, ROC-AUC and SAP", _row_effects, ("positives", "table", "groups")),
        "compare": Row("`compare` of two models", _compare, ("vltr", "other_scores")),
        "bootstrap_few": Row(f"bootstrap of AP, {few} replicates", lambda i: _bootstrap(i, few, AP_AND_AUC[:1])),
        "bootstrap": Row(
            f"bootstrap of AP and ROC-AUC, {replicates:,} replicates", lambda i: _bootstrap(i, replicates, AP_AND_AUC)
        ),
        "bootstrap_all": Row(
            f"bootstrap of AP, ROC-AUC, SAP and Acc@k, {replicates:,} replicates",
            lambda i: _bootstrap(i, replicates, EVERYTHING, TOPK),
        ),
    }


@dataclass
class Case:
    """A shape, with the shortest time of each row and the memory of its first call."""

    title: str
    num_rows: int
    num_classes: int
    num_positives: int
    replicates: int
    seconds: dict[str, float] = field(default_factory=dict)
    extra_bytes: dict[str, int | None] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)

    @property
    def seconds_per_replicate(self) -> float:
        return self.seconds["bootstrap_few"] / min(FEW_REPLICATES, self.replicates)


@dataclass(frozen=True)
class Peer:
    """A peer's time for a replicate of AP of all classes, scaled from some of the classes and some replicates."""

    title: str
    seconds: float
    classes: int
    replicates: int


TARGETS = (
    Target("time that intervals add to `evaluate`, over AP: at most 1.5", lambda case: added_by_interval(case), 1.5),
    Target("`compare` over AP: at most 6", lambda case: case.seconds["compare"] / case.seconds["ap"], 6.0),
    Target("1,000 replicates of AP and ROC-AUC: at most 1.5 s", lambda case: case.seconds["bootstrap"], 1.5),
    Target("1,000 replicates of everything: at most 4 s", lambda case: case.seconds["bootstrap_all"], 4.0),
    Target("extra memory of the bootstrap: at most 128 MiB", lambda case: bootstrap_mib(case), 128.0),
)


def added_by_interval(case: Case) -> float:
    return (case.seconds["interval"] - case.seconds["evaluate"]) / case.seconds["ap"]


def bootstrap_mib(case: Case) -> float:
    extra = case.extra_bytes.get("bootstrap_all")
    return math.nan if extra is None else extra / 2**20


# Measurement


def shortest_runs(inputs: TwoModels, rows: dict[str, Row], turns: int) -> dict[str, float]:
    """Return the shortest run of each row. The rows alternate, so other load of the machine disturbs all of them."""
    best, spent, runs = dict.fromkeys(rows, math.inf), dict.fromkeys(rows, 0.0), dict.fromkeys(rows, 0)
    for turn in range(max(turns, MORE_TURNS)):
        due = [name for name in rows if turn < turns or (turns > 1 and spent[name] < SECONDS)]
        for name in due if turn % 2 else reversed(due):
            seconds = timed(inputs, rows[name])
            best[name] = min(best[name], seconds)
            spent[name] += seconds
            runs[name] += 1
        if not due:
            break
    return best


def timed(inputs: TwoModels, row: Row) -> float:
    for name in row.needs:
        getattr(inputs, name)
    start = time.perf_counter()
    row.call(inputs)
    return time.perf_counter() - start


def extra_memory(directory: str, name: str, replicates: int, threads: int, answers: multiprocessing.Queue) -> None:
    """Put the peak extra bytes of the first call of a row into a queue; runs in a process of its own."""
    inputs, row = TwoModels(directory, False, threads), rows_of(replicates)[name]
    for need in row.needs:
        getattr(inputs, need)
    with PeakMemory(anonymous=False) as memory:
        row.call(inputs)
    answers.put(memory.extra)


def memory_of(directory: str, name: str, replicates: int, threads: int) -> int | None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=extra_memory, args=(directory, name, replicates, threads, answers))
    process.start()
    process.join()
    return answers.get() if process.exitcode == 0 else None


# Peers


def torchmetrics_replicates(scores: np.ndarray, labels: np.ndarray, replicates: int, threads: int) -> None:
    """torchmetrics' BootStrapper: it holds a copy of the metric, and of all scores, for each replicate."""
    import torch
    from torchmetrics import BootStrapper
    from torchmetrics.classification import MultilabelAveragePrecision

    torch.set_num_threads(threads)
    metric = MultilabelAveragePrecision(num_labels=scores.shape[1], average=None, thresholds=None)
    peer = BootStrapper(metric, num_bootstraps=replicates, mean=False, std=False, raw=True, sampling_strategy="poisson")
    peer.update(torch.from_numpy(scores), torch.from_numpy(labels))
    peer.compute()


def sklearn_replicates(scores: np.ndarray, labels: np.ndarray, replicates: int, threads: int) -> None:
    """A loop over scikit-learn: one weighted AP for each class and replicate, with the weights of vltr."""
    from sklearn.metrics import average_precision_score

    weights = np.random.default_rng(0).poisson(1.0, (replicates, len(scores)))
    for weight in weights:
        for c in range(scores.shape[1]):
            average_precision_score(labels[:, c], scores[:, c], sample_weight=weight)


PEERS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray, int, int], None], bool]] = {
    "torchmetrics": ("torchmetrics' BootStrapper", torchmetrics_replicates, True),
    "sklearn": ("scikit-learn in a loop", sklearn_replicates, False),
}
"""Title, function and whether it uses several threads."""


def measure_peer(inputs: TwoModels, name: str, cells: int) -> Peer | None:
    """Return the time of a peer for a replicate of all classes; None if it is not installed."""
    title, function, is_threaded = PEERS[name]
    num_rows, num_classes = inputs.scores.shape
    classes = min(num_classes, max(2, cells // num_rows))
    threads = inputs.threads if is_threaded else 1
    with_positives = np.flatnonzero(inputs.labels.any(axis=0))[:classes]
    block = [np.ascontiguousarray(array[:, with_positives]) for array in (inputs.scores, inputs.labels)]
    try:
        function(block[0][:256], block[1][:256], 1, threads)  # imports are not measured
    except ImportError:
        return None
    start = time.perf_counter()
    function(*block, PEER_REPLICATES, threads)
    seconds = (time.perf_counter() - start) / PEER_REPLICATES * num_classes / len(with_positives)
    used = f"{threads} thread{'s' * (threads > 1)}"
    return Peer(f"{title} ({used})", seconds, len(with_positives), PEER_REPLICATES)


# Text


def measure_case(directory: str, name: str, args: argparse.Namespace) -> Case:
    replicates = args.replicates
    write_case(Path(directory), name, QUALITY, args.quick)
    inputs = TwoModels(directory, False, args.threads)
    case = Case(SHAPES[name].title, *inputs.scores.shape, int(inputs.labels.sum()), replicates)
    rows = rows_of(replicates)
    case.seconds = shortest_runs(inputs, rows, args.turns)
    for row in rows:
        say(f"{case.title}: memory of {row}")
        case.extra_bytes[row] = memory_of(directory, row, replicates, args.threads)
    for peer in args.peers:
        say(f"{case.title}: {peer}")
        found = measure_peer(inputs, peer, args.peer_cells)
        if found is not None:
            case.peers[peer] = found
    return case


def case_text(case: Case) -> str:
    lines = []
    for name, row in rows_of(case.replicates).items():
        extra = case.extra_bytes[name]
        ratio = figure(case.seconds[name] / case.seconds["ap"])
        lines.append([row.title, duration(case.seconds[name]), ratio, "-" if extra is None else size(extra)])
    parts = [
        f"## {case.title}",
        "",
        f"{case.num_rows:,} x {case.num_classes:,} float32, {case.num_positives:,} positives.",
        "",
        table(("", "time", "/ AP", "extra memory"), lines),
        f"Intervals add {figure(added_by_interval(case))} times the time of AP to `evaluate`.",
        "",
    ]
    if case.peers:
        ours = case.seconds_per_replicate
        lines = [["vltr bootstrap", duration(ours), "1", "all classes"]]
        for peer in case.peers.values():
            scaled = f"scaled from {peer.classes:,} classes, {peer.replicates} replicates"
            lines.append([peer.title, duration(peer.seconds), figure(peer.seconds / ours), scaled])
        parts += ["One replicate of AP of all classes:", "", table(("", "time", "/ vltr", ""), lines)]
    return "\n".join(parts)


def header(args: argparse.Namespace) -> str:
    quick = "\n**Quick run** on shrunk shapes: its ratios are not those of the real shapes.\n" if args.quick else ""
    return f"""# Intervals, bootstrap and comparison, {TODAY}

{provenance("numpy", "scikit-learn", "torch", "torchmetrics")}{args.threads} threads.
{quick}
- Times are the shortest of many runs, whose rows alternate in one process.
- Extra memory is the peak of the first call in a separate process, over imports and loaded inputs.
- The bootstrap is that of all classes, and of the means over all and over head, medium and tail.
- The second model of `compare` has the scores of the first plus normal noise of standard deviation {NOISE:g}.
- A peer runs {PEER_REPLICATES} replicates on a block of classes that have positives. Its time is scaled to all classes.
"""


def say(text: str) -> None:
    sys.stderr.write(f"bench_intervals: {text}\n")
    sys.stderr.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=",".join(NAMES), help=f"of {','.join(SHAPES)} (default: %(default)s)")
    parser.add_argument("--peers", default=",".join(PEERS), help="peers, or an empty text (default: %(default)s)")
    parser.add_argument("--replicates", type=int, default=REPLICATES)
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument("--quick", action="store_true", help="shrunk shapes and few replicates")
    parser.add_argument(
        "--out",
        nargs="?",
        type=Path,
        const=RESULTS / f"intervals-{TODAY}.md",
        help="also write the tables to this file",
    )
    args = parser.parse_args()
    names, args.peers = args.shapes.split(","), [name for name in args.peers.split(",") if name]
    for kind, given, known in (("shapes", names, SHAPES), ("peers", args.peers, PEERS)):
        for name in given:
            if name not in known:
                parser.error(f"argument --{kind}: expected names among {', '.join(known)}, got {name!r}")
    args.turns, args.peer_cells = (1, PEER_CELLS // 100) if args.quick else (TURNS, PEER_CELLS)
    if args.quick:
        args.replicates = min(args.replicates, 16)

    cases = []
    for name in names:
        with tempfile.TemporaryDirectory(prefix="vltr-intervals-") as directory:
            say(f"{SHAPES[name].title}: vltr")
            cases.append(measure_case(directory, name, args))
    parts = [header(args), *map(case_text, cases)]
    note = "They are set for VideoLT's shape, two threads and 1,000 replicates."
    parts += [targets_text(TARGETS, case, note) for name, case in zip(names, cases, strict=True) if name == "videolt"]
    text = "\n".join(parts)
    write_results(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
