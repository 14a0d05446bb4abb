"""Compare exact metrics over distributed ranks with the gather of torchmetrics: bytes and time.

    python benchmarks/bench_distributed.py --out        2 and 4 gloo processes, into results/distributed-DATE.md
    python benchmarks/bench_distributed.py --quick      small shapes: does the benchmark itself work?

One wrapper around the collectives of torch.distributed counts the bytes that a rank receives, for all libraries. A
linear model gives the bytes at other sizes. It is fitted to counted runs on subsets of the data, and checked against
the counted runs on all data. Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_whole
from _lib.shapes import write_case
from _lib.tables import duration, figure, size, table

WORLDS = (2, 4)
BATCH = 256
TRIALS = 15
PACKAGES = ("numpy", "torch", "torchmetrics")
_OUR_RUNS = 5
_PARTS = ((1 / 16, 1 / 8), (1 / 16, 1 / 2), (1 / 4, 1 / 8), (1 / 4, 1 / 2))  # shares of rows and classes


# The operations: (num_classes) -> an object with update(scores, labels[, ids]) and compute()


@dataclass(frozen=True)
class Operation:
    title: str
    make: Callable[[int], Any]
    runs: int = 1 + _OUR_RUNS  # on all data; the first of several is a warm-up
    with_ids: bool = False


def evaluator(**conventions: Any) -> Callable[[int], Any]:
    def make(num_classes: int) -> Any:
        from vltr_eval import Evaluator

        return Evaluator(num_classes, topk=None, **conventions)

    return make


def drop_in(num_classes: int) -> Any:
    from vltr_eval.compat.torchmetrics import MultilabelAveragePrecision

    return MultilabelAveragePrecision(num_classes, average=None)


def torchmetrics_gather(num_classes: int) -> Any:
    from torchmetrics.classification import MultilabelAveragePrecision

    return MultilabelAveragePrecision(num_classes, average=None)


OPERATIONS = {
    "ap": Operation("**`Evaluator`, AP and ROC-AUC**", evaluator(sap=None)),
    "ids": Operation("the same with sample ids", evaluator(sap=None), with_ids=True),
    "sap": Operation(f"`Evaluator`, these and SAP {TRIALS}", evaluator(sap=TRIALS)),
    "drop_in": Operation("`compat.torchmetrics`, AP", drop_in),
    "torchmetrics": Operation("torchmetrics, AP", torchmetrics_gather, runs=1),
}


# Counting, on a rank


def _gathered(rank: int, size: int, tensor_list: list, **_: Any) -> float:
    return sum(tensor.nbytes for other, tensor in enumerate(tensor_list) if other != rank)


def _reduced(rank: int, size: int, tensor: Any, **_: Any) -> float:
    return 2 * (size - 1) / size * tensor.nbytes  # of a ring; no other algorithm needs fewer


def _dealt(rank: int, size: int, output: Any, output_split_sizes: list | None = None, **_: Any) -> float:
    if not output_split_sizes:  # equal shares
        return output.nbytes * (size - 1) / size
    row = output.nbytes // max(1, len(output))
    return row * (sum(output_split_sizes) - output_split_sizes[rank])


def _nothing(rank: int, size: int, **_: Any) -> float:
    return 0.0


RECEIVED = {"all_gather": _gathered, "all_reduce": _reduced, "all_to_all_single": _dealt, "barrier": _nothing}
NOT_COUNTED = (
    *("all_gather_into_tensor", "all_gather_coalesced", "all_gather_object", "all_reduce_coalesced", "all_to_all"),
    *("batch_isend_irecv", "broadcast", "broadcast_object_list", "gather", "gather_object", "irecv", "isend", "recv"),
    *("recv_object_list", "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list"),
    *("send", "send_object_list"),
)


@dataclass
class Count:
    """Bytes that this rank received, and the number of collectives."""

    received: float = 0.0
    calls: int = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Count the collectives in a block, from any library. A collective that is not in RECEIVED raises."""
    import torch.distributed as dist
    from torch.distributed import distributed_c10d

    count = Count()
    rank, world = dist.get_rank(), dist.get_world_size()

    def counted(name: str, collective: Callable) -> Callable:
        signature = inspect.signature(collective)

        def call(*args: Any, **kwargs: Any) -> Any:
            count.received += RECEIVED[name](rank, world, **signature.bind(*args, **kwargs).arguments)
            count.calls += 1
            return collective(*args, **kwargs)

        return call

    def refused(name: str) -> Callable:
        def call(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(f"{name}: expected a collective that is counted, of {', '.join(RECEIVED)}")

        return call

    kept = {name: getattr(dist, name) for name in (*RECEIVED, *NOT_COUNTED) if hasattr(dist, name)}
    try:
        for name, collective in kept.items():
            wrapped = counted(name, collective) if name in RECEIVED else refused(name)
            for module in (dist, distributed_c10d):  # the latter for collectives that call other ones
                setattr(module, name, wrapped)
        yield count
    finally:
        for name, collective in kept.items():
            for module in (dist, distributed_c10d):
                setattr(module, name, collective)


# On a rank


def rank_main(rank: int, world: int, directory: str, parts: list[tuple[int, int]]) -> None:
    """Run every operation on every subset of the data, in step with the other ranks. Write rank-<rank>.json."""
    import torch
    import torch.distributed as dist

    warnings.simplefilter("ignore")  # torchmetrics warns of classes without positives
    torch.set_num_threads(threads_of_rank(world))
    os.environ["VLTR_NUM_THREADS"] = str(threads_of_rank(world))
    store = Path(directory, f"store-{world}")
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    scores, labels = (np.load(Path(directory, f"{name}.npy"), mmap_mode="r") for name in ("scores", "labels"))
    answers = []
    for num_rows, num_classes in parts:
        is_all = (num_rows, num_classes) == scores.shape
        for name, operation in OPERATIONS.items():
            rows = own_rows(num_rows, rank, world, operation.with_ids)
            batches = [
                [torch.from_numpy(array[batch, :num_classes]) for array in (scores, labels)]
                + ([batch] if operation.with_ids else [])
                for batch in np.split(rows, range(BATCH, len(rows), BATCH))
            ]
            runs = [run(operation, num_classes, batches) for _ in range(operation.runs if is_all else 1)]
            runs = runs[1:] or runs
            judged = judge(runs[-1]["result"], Path(directory)) if is_all else {}
            for each in runs:
                del each["result"]
            answers.append({"part": [num_rows, num_classes], "operation": name, "runs": runs, **judged})
    Path(directory, f"rank-{rank}.json").write_text(json.dumps(answers))
    dist.destroy_process_group()


def threads_of_rank(world: int) -> int:
    return max(1, num_cpus() // world)


def own_rows(num_rows: int, rank: int, world: int, dealt: bool) -> np.ndarray:
    """Return the rows of a rank. dealt: as DistributedSampler does, with repeats to make ranks even; else a block."""
    if dealt:
        return np.arange(rank, -(-num_rows // world) * world, world) % num_rows
    return np.array_split(np.arange(num_rows), world)[rank]


def run(operation: Operation, num_classes: int, batches: list[list[Any]]) -> dict[str, Any]:
    import torch.distributed as dist

    metric = operation.make(num_classes)
    with counting() as count:
        start = time.perf_counter()
        for batch in batches:
            metric.update(*batch)
        update = time.perf_counter() - start
    if count.calls:
        raise RuntimeError("update: expected no communication, got some")
    dist.barrier()
    with counting() as count:
        start = time.perf_counter()
        result = metric.compute()
        compute = time.perf_counter() - start
    return {"update": update, "compute": compute, "received": count.received, "calls": count.calls, "result": result}


def judge(result: Any, directory: Path) -> dict[str, Any]:
    """Compare with one process that has all rows: the bits of a report, or the largest difference of a class's AP."""
    from vltr_eval import Report

    expected = {name: Report.from_json((directory / f"{name}.json").read_text()) for name in ("ap", "sap")}
    if isinstance(result, Report):
        return {"same": result == expected["ap" if result.settings.sap is None else "sap"]}
    ap = np.array(expected["ap"].classes["AP"])
    return {"difference": float(np.nanmax(np.abs(result.numpy() - ap)))}


# Around the ranks


@dataclass(frozen=True)
class Counted:
    """One operation on one subset of the data, on `world` ranks."""

    part: tuple[int, int]
    world: int
    update: float  # seconds on the slowest rank, median of runs
    compute: float
    received: float  # bytes, mean over ranks
    calls: int
    remark: str


def measure_world(world: int, directory: Path, parts: list[tuple[int, int]]) -> dict[str, list[Counted]]:
    """Return, for each operation, the counts of each subset in the order of `parts`."""
    from torch.multiprocessing import spawn

    spawn(rank_main, (world, str(directory), parts), nprocs=world)
    ranks = [json.loads((directory / f"rank-{rank}.json").read_text()) for rank in range(world)]
    counted: dict[str, list[Counted]] = {name: [] for name in OPERATIONS}
    for answers in zip(*ranks, strict=True):
        runs = list(zip(*(answer["runs"] for answer in answers), strict=True))
        update, compute = (
            statistics.median(max(rank[key] for rank in of) for of in runs) for key in ("update", "compute")
        )
        received = statistics.mean(rank["received"] for rank in runs[-1])
        part, calls = tuple(answers[0]["part"]), runs[-1][0]["calls"]
        counted[answers[0]["operation"]].append(Counted(part, world, update, compute, received, calls, remark(answers)))
    return counted


def remark(answers: tuple[dict[str, Any], ...]) -> str:
    if "same" in answers[0]:
        same = all(answer["same"] for answer in answers)
        return "same bits as one process" if same else "**not the bits of one process**"
    if "difference" in answers[0]:
        return f"AP within {max(answer['difference'] for answer in answers):.1e}"
    return ""


# The model


@dataclass(frozen=True)
class Facts:
    """The sizes that determine the bytes of an evaluation. reaching: draws of a trial at or above a positive."""

    num_rows: float
    num_classes: float
    num_positives: float
    reaching: float

    @staticmethod
    def of(scores: np.ndarray, labels: np.ndarray) -> Facts:
        from vltr_eval import rank_table

        counts = rank_table(scores, labels)
        present = np.diff(counts.indptr) > 0
        fp, draws = counts.fp[counts.indptr[1:][present] - 1], counts.num_positives[present]
        reaching = float((draws * fp / counts.num_negatives[present]).sum())
        return Facts(*scores.shape, int(counts.num_positives.sum()), reaching)


Terms = dict[str, Callable[[Facts, int], float]]

_OF_RANK: Terms = {"rank": lambda f, r: r - 1}
# A quantity that is spread over R ranks is received from the other ranks: (R - 1) / R of it.
TERMS: dict[str, Terms] = {
    "ap": {
        "positive": lambda f, r: (r - 1) / r * f.num_positives,
        "class and rank": lambda f, r: (r - 1) * f.num_classes,
        **_OF_RANK,
    },
    "ids": {"row of its own": lambda f, r: (r - 1) / r * f.num_rows / r, **_OF_RANK},
    "sap": {
        "positive": lambda f, r: (r - 1) / r * f.num_positives,
        "draw that reaches a positive": lambda f, r: (r - 1) / r * TRIALS * f.reaching,
        **_OF_RANK,
    },
    "torchmetrics": {"score": lambda f, r: (r - 1) / r * f.num_rows * f.num_classes, **_OF_RANK},
}
BEYOND = {"ids": "ap", "sap": "ap"}  # operation -> the one whose bytes it needs as well


def fitted(terms: Terms, where: list[tuple[Facts, int]], received: np.ndarray) -> dict[str, float]:
    """Fit the bytes of each term by least squares of the relative deviation."""
    values = np.array([[term(*at) for term in terms.values()] for at in where])
    coefficients = np.linalg.lstsq(values / received[:, None], np.ones(len(received)), rcond=None)[0]
    return dict(zip(terms, coefficients.tolist(), strict=True))


class Model:
    """A linear model of the bytes that a rank receives, fitted to the counted runs on subsets of the data."""

    def __init__(self, facts: list[Facts], worlds: dict[int, dict[str, list[Counted]]]) -> None:
        where = [(of, world) for world in worlds for of in facts]
        counted = {
            name: np.array([run.received for found in worlds.values() for run in found[name][: len(facts)]])
            for name in TERMS
        }
        self.bytes_of = {
            name: fitted(terms, where, counted[name] - (counted[BEYOND[name]] if name in BEYOND else 0))
            for name, terms in TERMS.items()
        }

    def received(self, name: str, facts: Facts, world: int) -> float:
        terms = sum(self.bytes_of[name][of] * term(facts, world) for of, term in TERMS[name].items())
        return terms + (self.received(BEYOND[name], facts, world) if name in BEYOND else 0)

    def formulas(self) -> str:
        rows = [
            [
                OPERATIONS[name].title + (", beyond the first" if name in BEYOND else ""),
                " + ".join(f"{value:,.3g} a {term}" for term, value in of.items()),
            ]
            for name, of in self.bytes_of.items()
        ]
        return table(("", "bytes a rank receives"), rows, left=2)


YOUTUBE8M_WORLD = 64
YOUTUBE8M = Facts(6.8e6, 3_862, 3.0 * 6.8e6, 3.0 * 6.8e6)  # every draw reaches a positive: the maximum


# The tables


def counted_table(world: int, found: dict[str, list[Counted]]) -> str:
    whole = {name: of[-1] for name, of in found.items()}
    other = whole["torchmetrics"]
    rows = [
        [
            OPERATIONS[name].title,
            size(of.received),
            f"{figure(other.received / of.received)}x",
            str(of.calls),
            duration(of.update),
            duration(of.compute),
            f"{figure((other.update + other.compute) / (of.update + of.compute))}x",
            of.remark,
        ]
        for name, of in whole.items()
    ]
    head = ("", "bytes a rank receives", "fewer", "collectives", "updates", "compute", "faster", "result")
    return f"## Counted: {world} processes\n\n{table(head, rows)}"


def model_tables(model: Model, facts: Facts, worlds: dict[int, dict[str, list[Counted]]]) -> str:
    deviations = [
        [OPERATIONS[name].title]
        + [
            f"{model.received(name, facts, world) / found[name][-1].received - 1:+.2%}"
            for world, found in worlds.items()
        ]
        for name in TERMS
    ]
    received = {name: model.received(name, YOUTUBE8M, YOUTUBE8M_WORLD) for name in TERMS}
    sizes = [
        [OPERATIONS[name].title, f"{figure(ours / 1e9)} GB", f"{figure(received['torchmetrics'] / ours)}x"]
        for name, ours in received.items()
    ]
    worlds_head = ("", *(f"{world} processes" for world in worlds))
    ranks = " and by ".join(map(str, worlds))
    shape = f"{YOUTUBE8M.num_rows:,.0f} x {YOUTUBE8M.num_classes:,}"
    return f"""## Modelled: any number of ranks

Fitted to the counted runs on {len(_PARTS)} subsets of the data, by {ranks} processes. With R ranks, "a positive",
"a score", "a draw" and "a row" count (R - 1) / R of all, those of other ranks. "A class and rank" and "a rank" count
each of the R - 1 other ranks.

{model.formulas()}
Model over count on all data, which is not part of the fit:

{table(worlds_head, deviations)}
## Modelled: {YOUTUBE8M_WORLD} ranks, YouTube-8M

{shape} float32, {YOUTUBE8M.num_positives:,.0f} positives. This is the maximum for vltr: all positives of a class have
distinct scores, and every draw of SAP is at or above a positive. torchmetrics has uint8 labels here; the usual int64
labels need 7 bytes a score more. With torchmetrics, a rank must also hold all bytes that it receives.

{table(("", "bytes a rank receives", "fewer"), sizes)}"""


def header(facts: Facts, quick: bool) -> str:
    warning = "\n**Quick run** on small shapes: its ratios are not those of the real ones.\n" if quick else ""
    threads = ", ".join(f"{threads_of_rank(world)} in each of {world}" for world in WORLDS)
    shape = f"{facts.num_rows:,} x {facts.num_classes:,} float32, {facts.num_positives:,} positives"
    return f"""# Metrics over distributed ranks, {TODAY}

{provenance(*PACKAGES)}gloo over the loopback device, all processes on this machine; threads: {threads}.
{warning}
VideoLT's test shape, good model (`_lib/shapes.py`): {shape}, uint8 labels.
Each rank has a block of the rows. With ids, torch's DistributedSampler distributes them and repeats some to make the
ranks even.

- The bytes are those that a rank receives by collectives, the mean over ranks: bytes gathered from other ranks, bytes
  sent by them, and 2 (R - 1) / R of n bytes for a sum of n (a ring). A barrier counts as a collective of no bytes.
- updates: all batches of {BATCH} rows. compute: the time after a barrier. Both are those of the slowest rank, medians
  of {_OUR_RUNS} runs after a warm-up; torchmetrics has one run. faster: updates and compute together.
- The times are the work of up to {max(WORLDS)} ranks on {num_cpus()} CPUs with one memory. They do not include a
  network. The bytes are the same on any network.
- Same bits: all numbers of the report equal those of one process that has each row once.
"""


def progress(text: str) -> None:
    sys.stderr.write(f"bench_distributed: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="use small shapes, to test the benchmark itself")
    parser.add_argument("--out", nargs="?", type=Path, const=RESULTS, help="also write distributed-<date>.md there")
    args = parser.parse_args()
    from vltr_eval import evaluate

    with tempfile.TemporaryDirectory(prefix="vltr-bench-") as name:
        directory = Path(name)
        progress("making the data")
        write_case(directory, "videolt", "good", args.quick)
        scores, labels = (np.load(directory / f"{array}.npy", mmap_mode="r") for array in ("scores", "labels"))
        for file, sap in (("ap", None), ("sap", TRIALS)):
            (directory / f"{file}.json").write_text(evaluate(scores, labels, sap=sap, topk=None).to_json())
        parts = [tuple(int(share * n) for share, n in zip(shares, scores.shape, strict=True)) for shares in _PARTS]
        facts = [Facts.of(scores[:rows, :classes], labels[:rows, :classes]) for rows, classes in parts]
        whole = Facts.of(scores, labels)
        top = header(whole, args.quick)
        worlds = {}
        for world in WORLDS:
            progress(f"{world} processes")
            worlds[world] = measure_world(world, directory, [*parts, scores.shape])
    tables = [counted_table(world, found) for world, found in worlds.items()]
    text = "\n".join([top, *tables, model_tables(Model(facts, worlds), whole, worlds)])
    sys.stdout.write(text)
    if args.out:
        path = args.out / f"distributed-{'quick-' if args.quick else ''}{TODAY}.md"
        write_whole(path, text)
        progress(f"written: {path}")


if __name__ == "__main__":
    main()
