"""Exact metrics over the ranks of a distributed run: bytes and time, ours against torchmetrics' gather.

    python benchmarks/bench_distributed.py --out        2 and 4 gloo processes, into results/distributed-DATE.md
    python benchmarks/bench_distributed.py --quick      small shapes: does the benchmark itself work?

Counted: the bytes that every collective of torch.distributed gives a rank, by wrapping the collectives themselves, the
same wrapper for all. Modelled: the bytes at other sizes, by a line through counted runs on parts of the data, which is
checked against the counted runs on all of it. Tables go to stdout, progress to stderr.
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


# What is measured: (num_classes) -> something with update(scores, labels[, ids]) and compute()


@dataclass(frozen=True)
class Operation:
    title: str
    make: Callable[[int], Any]
    runs: int = 1 + _OUR_RUNS  # on all of the data; the first of several is a warm-up
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
    return 2 * (size - 1) / size * tensor.nbytes  # of a ring; other algorithms give a rank as much or more


def _dealt(rank: int, size: int, output: Any, output_split_sizes: list | None = None, **_: Any) -> float:
    if output_split_sizes is None:
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
    """What this rank received, and by how many collectives."""

    received: float = 0.0
    calls: int = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Counts the collectives of a block, whatever library calls them; one that is not known how to count raises."""
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
            for module in (dist, distributed_c10d):  # the latter for those that call one another
                setattr(module, name, wrapped)
        yield count
    finally:
        for name, collective in kept.items():
            for module in (dist, distributed_c10d):
                setattr(module, name, collective)


# On a rank


def rank_main(rank: int, world: int, directory: str, parts: list[tuple[int, int]]) -> None:
    """Every operation on every part of the data, in step with the other ranks; writes rank-<rank>.json."""
    import torch
    import torch.distributed as dist

    warnings.simplefilter("ignore")  # torchmetrics', of classes without positives in a part
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
    """The rows of a rank: a block, or as DistributedSampler deals them out, which repeats some to make ranks even."""
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
    """Against one process with all rows: the same bits, of a report, or the largest difference of a class's AP."""
    from vltr_eval import Report

    expected = {name: Report.from_json((directory / f"{name}.json").read_text()) for name in ("ap", "sap")}
    if isinstance(result, Report):
        return {"same": result == expected["ap" if result.settings.sap is None else "sap"]}
    ap = np.array(expected["ap"].classes["AP"])
    return {"difference": float(np.nanmax(np.abs(result.numpy() - ap)))}


# Around the ranks


@dataclass(frozen=True)
class Counted:
    """One operation on one part of the data by so many ranks."""

    part: tuple[int, int]
    world: int
    update: float  # seconds, of the slowest rank, median of runs
    compute: float
    received: float  # bytes, mean of ranks
    calls: int
    remark: str


def measure_world(world: int, directory: Path, parts: list[tuple[int, int]]) -> dict[str, list[Counted]]:
    """By operation, what each part took, in their order."""
    from torch.multiprocessing import spawn

    spawn(rank_main, (world, str(directory), parts), nprocs=world)
    ranks = [json.loads((directory / f"rank-{rank}.json").read_text()) for rank in range(world)]
    found: dict[str, list[Counted]] = {name: [] for name in OPERATIONS}
    for answers in zip(*ranks, strict=True):
        runs = list(zip(*(answer["runs"] for answer in answers), strict=True))
        update, compute = (
            statistics.median(max(own[key] for own in of) for of in runs) for key in ("update", "compute")
        )
        received = statistics.mean(own["received"] for own in runs[-1])
        part, calls = tuple(answers[0]["part"]), runs[-1][0]["calls"]
        found[answers[0]["operation"]].append(Counted(part, world, update, compute, received, calls, remark(answers)))
    return found


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
    """What the bytes of an evaluation depend on. reaching: of draws of a trial, those at or above a positive."""

    num_rows: float
    num_classes: float
    num_positives: float
    reaching: float

    @staticmethod
    def of(scores: np.ndarray, labels: np.ndarray) -> Facts:
        from vltr_eval import rank_table

        found = rank_table(scores, labels)
        present = np.diff(found.indptr) > 0
        fp, draws = found.fp[found.indptr[1:][present] - 1], found.num_positives[present]
        reaching = float((draws * fp / found.num_negatives[present]).sum())
        return Facts(*scores.shape, int(found.num_positives.sum()), reaching)


Terms = dict[str, Callable[[Facts, int], float]]

_OF_RANK: Terms = {"rank": lambda f, r: r - 1}
# What grows with the number of all of something comes from the other ranks: (R - 1) / R of it.
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
BEYOND = {"ids": "ap", "sap": "ap"}  # whose terms are for what comes on top


def fitted(terms: Terms, where: list[tuple[Facts, int]], received: np.ndarray) -> dict[str, float]:
    """Bytes for each term: least squares of the relative deviation."""
    values = np.array([[term(*at) for term in terms.values()] for at in where])
    coefficients = np.linalg.lstsq(values / received[:, None], np.ones(len(received)), rcond=None)[0]
    return dict(zip(terms, coefficients.tolist(), strict=True))


class Model:
    """Bytes that a rank receives, by lines through the counted runs on parts of the data."""

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
        own = sum(self.bytes_of[name][of] * term(facts, world) for of, term in TERMS[name].items())
        return own + (self.received(BEYOND[name], facts, world) if name in BEYOND else 0)

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
YOUTUBE8M = Facts(6.8e6, 3_862, 3.0 * 6.8e6, 3.0 * 6.8e6)  # every draw reaches a positive: the most there can be


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

Fitted to the counted runs on {len(_PARTS)} parts of the data, by {ranks} processes. Of R ranks: "a positive",
"a score", "a draw", "a row": (R - 1) / R of them all, which are those of others; "a class and rank", "a rank": for each
of the R - 1 others.

{model.formulas()}
Model over count on all of the data, to which it was not fitted:

{table(worlds_head, deviations)}
## Modelled: {YOUTUBE8M_WORLD} ranks, YouTube-8M

{shape} float32, {YOUTUBE8M.num_positives:,.0f} positives. The most that ours could take: no two positives of a class
with one score, and every draw of SAP at or above some positive. torchmetrics with uint8 labels: int64 ones, the usual,
are 7 bytes a score more. What a rank receives there it must also hold.

{table(("", "bytes a rank receives", "fewer"), sizes)}"""


def header(facts: Facts, quick: bool) -> str:
    warning = "\n**Quick run** on small shapes: its ratios are not those of the real ones.\n" if quick else ""
    threads = ", ".join(f"{threads_of_rank(world)} in each of {world}" for world in WORLDS)
    shape = f"{facts.num_rows:,} x {facts.num_classes:,} float32, {facts.num_positives:,} positives"
    return f"""# Metrics over distributed ranks, {TODAY}

{provenance(*PACKAGES)}gloo over the loopback device, all processes on this machine; threads: {threads}.
{warning}
VideoLT's test shape, good model (`shapes.py`): {shape}, uint8 labels.
Rows are dealt out in blocks; with ids as torch's DistributedSampler does, which repeats some to make the ranks even.

- Counted are the bytes that collectives give a rank, the mean over ranks: what it gathers from others, what others send
  it, and 2 (R - 1) / R of n bytes for a sum of n (a ring). Barriers count as a collective of no bytes.
- updates: all batches of {BATCH} rows; compute: from a barrier on. Both of the slowest rank; medians of {_OUR_RUNS}
  runs after a warm-up, but one run of torchmetrics. faster: of both together.
- These times are the work of the ranks, up to {max(WORLDS)} of them on {num_cpus()} CPUs with one memory.
  Of a network's time they say nothing. The bytes are the same on any.
- Same bits: all numbers of the report equal those of one process with all rows, each once.
"""


def progress(text: str) -> None:
    sys.stderr.write(f"bench_distributed: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small shapes: tests the benchmark itself")
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
