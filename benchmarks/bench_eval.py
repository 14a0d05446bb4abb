"""Benchmark vltr_eval, each peer and one plain read (the floor): time and peak extra memory, as Markdown.

    python benchmarks/bench_eval.py                     all shapes, both model qualities, all peers (about an hour)
    python benchmarks/bench_eval.py --quick             shrunk shapes, a first look in a minute or two
    python benchmarks/bench_eval.py --shapes videolt,dense --threads 2 --out

The tables go to stdout, progress to stderr. _lib/shapes.py has the shapes, _lib/peers.py the peers, and _lib/measure.py
the operations of vltr. bench_grid.py compares two builds over a grid of shapes.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from _lib.machine import RESULTS, TODAY, cpu_model, load, num_cpus, versions, write_whole
from _lib.peers import PEERS
from _lib.shapes import DENSE_QUALITY, GROUPS, QUALITIES, SHAPES, Shape, write_case
from _lib.tables import figure, table
from _lib.worker import Workers, fastest_numpy

# Row name -> its title in the table. A name that ends in "_mapped" is the same operation on memory-mapped inputs.
# _lib/measure.py defines the operations.
OUR_ROWS = {
    "floor": "floor: plain read of the scores",
    "ap": "**vltr AP**",
    "ap_positives": "vltr AP, labels prepared (`Positives`)",
    "ap_one_thread": "vltr AP, 1 thread",
    "ap_weighted": "vltr AP, weighted rows",
    "roc_auc": "**vltr ROC-AUC**",
    "exact_sap_added": "vltr exact SAP alone, from a rank table",
    "exact_sap": "vltr exact SAP",
    "sap": "vltr SAP, 15 trials",
    "sap_many": "vltr SAP, 1,000 trials",
    "evaluate": "vltr `evaluate`, SAP 15 (everything)",
    "floor_mapped": "floor, memory-mapped",
    "ap_mapped": "vltr AP, memory-mapped",
    "evaluate_mapped": "vltr `evaluate`, memory-mapped",
}


@dataclass(frozen=True)
class Limits:
    """Limits of the time of one case."""

    ours: Mapping[str, float]  # seconds; see `time_ours`
    peer: float  # seconds; a slower peer runs on some of the classes
    without_memory: frozenset[str]  # operations whose memory is not measured


LIMITS = Limits({"enough": 0.5, "most": 20.0, "bearable": 60.0}, 60.0, frozenset({"floor"}))
QUICK_LIMITS = Limits({"enough": 0.05, "most": 1.0, "bearable": 3.0}, 3.0, frozenset(OUR_ROWS) - {"ap"})


@dataclass
class Row:
    """One measured row. A row without seconds has only its remark."""

    title: str
    seconds: list[float] = field(default_factory=list)
    extra_bytes: int | None = None
    difference: float | None = None
    remark: str = ""

    @property
    def time(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


@dataclass
class Case:
    """One shape in one model quality, measured."""

    name: str  # of the shape
    quality: str
    title: str
    facts: dict
    rows: dict[str, Row]

    @property
    def shape(self) -> Shape:
        return SHAPES[self.name]

    @property
    def num_cells(self) -> int:
        return self.facts["num_rows"] * self.facts["num_classes"]

    def ratio(self, numerator: str, denominator: str) -> float | None:
        """Return the time of one row over that of another; None if either was not measured."""
        over, under = (self.rows[name].time if name in self.rows else None for name in (numerator, denominator))
        return over / under if over and under else None

    def lead(self, peer: str, name: str) -> float | None:
        """Return how many times a row is faster than a peer's function for the same metric."""
        return self.ratio(f"{peer}_auc" if name.endswith("auc") else peer, name)

    def mapped_extra_mib(self) -> float | None:
        """Return the larger peak of anonymous memory of AP and evaluate on memory-mapped inputs, in MiB."""
        extras = [row.extra_bytes for name, row in self.rows.items() if name.endswith("_mapped")]
        return max((extra / 2**20 for extra in extras if extra is not None), default=None)


@dataclass(frozen=True)
class Target:
    """A target of the project: a value, its limit, and the cases that it is set for."""

    title: str
    value: Callable[[Case], float | None]
    limit: float
    at_least: bool
    unit: str
    is_set_for: Callable[[Case], bool]

    def is_reached(self, case: Case) -> bool | None:
        value = self.value(case)
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit

    def verdict(self, case: Case) -> str:
        value, reached = self.value(case), self.is_reached(case)
        if value is None:
            return "not measured"
        return f"{figure(value)}{self.unit}" if reached else f"**{figure(value)}{self.unit}**"


def _is_videolt(case: Case) -> bool:
    return (case.name, case.quality) == ("videolt", "good")


def _is_dense(case: Case) -> bool:
    return case.shape.is_dense


def _is_any(case: Case) -> bool:
    return True


def _is_large(case: Case) -> bool:
    return case.num_cells > 1_000_000


def _is(*names: str) -> Callable[[Case], bool]:
    return lambda case: case.name in names


def _at_least(title: str, numerator: str, denominator: str, limit: float, where: Callable[[Case], bool]) -> Target:
    title = f"{title}, at least {limit:g}x"
    return Target(title, lambda case: case.ratio(numerator, denominator), limit, True, "x", where)


def _at_most(title: str, numerator: str, denominator: str, limit: float, where: Callable[[Case], bool]) -> Target:
    title = f"{title}, at most {limit:g}x"
    return Target(title, lambda case: case.ratio(numerator, denominator), limit, False, "x", where)


TARGETS = (
    _at_least("scikit-learn / AP", "sklearn", "ap", 100, _is_videolt),
    _at_least("numpy positives only / AP", "numpy", "ap", 20, _is_videolt),
    _at_most("AP / floor", "ap", "floor", 2.5, _is_videolt),
    _at_most("evaluate / AP", "evaluate", "ap", 1.5, _is_videolt),
    _at_most("SAP 1,000 / AP", "sap_many", "ap", 10, _is_videolt),
    Target("extra memory when mapped, at most 64 MiB", Case.mapped_extra_mib, 64, False, " MiB", _is_videolt),
    _at_least("scikit-learn / AP", "sklearn", "ap", 40, _is("10m-0.5")),
    _at_least("scikit-learn / ROC-AUC", "sklearn_auc", "roc_auc", 40, _is("10m-0.5")),
    _at_least("easy numpy / AP", "easy", "ap", 5, _is("10m-0.5")),
    _at_least("easy numpy / ROC-AUC", "easy_auc", "roc_auc", 5, _is("10m-0.5")),
    _at_most("AP / np.sort of the columns", "ap", "sort", 1, _is("1mx100-0.1")),
    _at_least("easy numpy / AP", "easy", "ap", 1, _is_any),
    _at_least("1 thread / AP, over 10^6 cells", "ap_one_thread", "ap", 1.7, _is_large),
    _at_most("AP of weighted rows / AP", "ap_weighted", "ap", 2, _is_any),
    _at_most("exact SAP alone / AP", "exact_sap_added", "ap", 1, _is_any),
    _at_most("SAP 15 / AP", "sap", "ap", 2, _is_dense),
    _at_most("SAP 1,000 / AP", "sap_many", "ap", 20, _is_dense),
    _at_most("evaluate / AP", "evaluate", "ap", 3, _is_dense),
)


def measure_case(directory: Path, name: str, quality: str, args: argparse.Namespace, workers: Workers) -> Case:
    """Make the data of one case in a directory and measure every row of its table."""
    shape = SHAPES[name]
    title = shape.case_title(quality)
    limits = QUICK_LIMITS if args.quick else LIMITS
    _progress(f"{title}: making the data")
    write_case(directory, name, quality, args.quick)

    measure = partial(workers, directory=directory)
    facts = measure("describe_case")
    _stop_if_failed(title, facts)

    rows: dict[str, Row] = {}
    for suffix in ("", "_mapped"):
        names = [row for row in OUR_ROWS if row.endswith("_mapped") == bool(suffix)]
        operations = [row.removesuffix("_mapped") for row in names]
        _progress(f"{title}: vltr{suffix.replace('_', ', ')}")
        request = {"mapped": bool(suffix), "threads": args.threads}
        timing = measure("time_ours", rows=operations, min_runs=args.runs, limits=limits.ours, **request)
        _stop_if_failed(title, timing)
        for row, operation in zip(names, operations, strict=True):
            remark = timing["remarks"].get(operation, "")
            rows[row] = Row(OUR_ROWS[row], timing["seconds"][operation], remark=remark)
            if operation not in limits.without_memory and not remark:
                memory = measure("memory_of_ours", row=operation, **request)
                _stop_if_failed(title, memory)
                rows[row].extra_bytes = memory["extra_bytes"]
    for peer in args.peers:
        if shape.is_dense and not PEERS[peer].on_dense:
            continue
        _progress(f"{title}: {PEERS[peer].title}")
        request = {"name": peer, "threads": args.threads, "max_seconds": limits.peer}
        answer = measure("measure_peer", environment=fastest_numpy(), **request)
        rows[peer] = _peer_row(peer, answer, facts["num_classes"], args.threads)
    return Case(name, quality, title, facts, rows)


def _stop_if_failed(title: str, answer: dict) -> None:
    """Exit if a measurement of vltr failed: nothing is left to compare with. A peer that fails loses only its row."""
    if "failed" in answer:
        sys.exit(f"bench_eval: {title}: {answer['failed']}")


def _peer_row(name: str, answer: dict, num_classes: int, threads: int) -> Row:
    peer = PEERS[name]
    used = threads if peer.threaded else 1
    row = Row(f"{peer.title} ({used} thread{'s' if used > 1 else ''})")
    if "missing" in answer:
        row.remark = "not installed"
    elif "failed" in answer:
        row.remark = answer["failed"]
    else:
        row.seconds, row.extra_bytes, row.difference = answer["seconds"], answer["extra_bytes"], answer["difference"]
        if answer["classes"] < num_classes:
            row.remark = f"scaled from {answer['classes']:,} classes (memory is theirs)"
    return row


def case_table(case: Case) -> str:
    """Return the Markdown section of one case."""
    facts = case.facts
    lines = [
        f"## {case.title}",
        "",
        f"{facts['num_rows']:,} x {facts['num_classes']:,} float32 ({facts['num_bytes'] / 2**20:,.1f} MiB), "
        f"{facts['num_positives']:,} positives, mAP {facts['map']:.3f}; "
        f"{facts['survivors']:.0%} of the negatives score above the lowest positive of their class.",
        "",
        "| | time | middle half (runs) | / AP | / floor | sklearn / | easy / | GB/s | extra MiB | max difference | |",
        "|---|" + "---:|" * 9 + "---|",
    ]
    for name, row in case.rows.items():
        cells = [row.title, *"-" * 9, row.remark]
        if row.time:
            cells[1] = _time(row.time)
            cells[2] = _spread(row.seconds)
            cells[3] = _optional(case.ratio(name, "ap"))
            cells[4] = _optional(case.ratio(name, "floor"))
            cells[5] = _optional(case.lead("sklearn", name))
            cells[6] = _optional(case.lead("easy", name))
            cells[7] = figure(facts["num_bytes"] / row.time / 1e9)
            cells[8] = "-" if row.extra_bytes is None else f"{row.extra_bytes / 2**20:,.1f}"
            cells[9] = "-" if row.difference is None else f"{row.difference:.1e}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary_table(cases: list[Case]) -> str:
    """Return the table of targets: one line for each, with its value in every measured case that it is set for."""
    lines = []
    for target in TARGETS:
        chosen = [case for case in cases if target.is_set_for(case)]
        if chosen:
            reached = sum(target.is_reached(case) is True for case in chosen)
            verdict = "reached" if reached == len(chosen) else f"**not reached** ({reached} of {len(chosen)})"
            values = "; ".join(f"{case.title}: {target.verdict(case)}" for case in chosen)
            lines.append((target.title, verdict, values))
    note = "The targets are set for two threads. A value in bold does not reach its target."
    return "\n".join(["## Targets", "", note, "", table(("", "", "values"), lines, left=3)])


def header(threads: int, quick: bool) -> str:
    """Return the machine, the versions, and the meaning of the columns."""
    from vltr_eval._base import _core

    build = _core.build_info()
    warning = (
        "\n\n**Quick run** on shrunk shapes that fit in caches: its ratios are not those of the real shapes, and its "
        "memory is that of warm calls."
    )
    sort = "without its AVX-512 code, which is slower here" if fastest_numpy() else "with all its code for SIMD"
    return f"""# vltr_eval benchmark, {TODAY}

{cpu_model()}, {num_cpus()} CPUs available, {threads} threads used; SIMD {build["simd"]}, {build["compiler"]}.
Load of the machine before the first run: {load()} (0 is best; the torch peers are very slow if a core is not free).
{versions("vltr", "numpy", "scikit-learn", "torch", "torchmetrics", "torcheval")}.{warning if quick else ""}

- time: median after a warm-up. Rows of vltr and the floor alternate in one process. A peer warms up on 256 rows and
  runs up to five times, more often if it is fast, and once if it is slow. A peer that would take over a minute runs on
  a block of classes ("scaled").
- / AP and / floor: the time over that of "vltr AP" and of the plain read.
- sklearn / and easy /: the time of that peer's AP, or ROC-AUC beside a ROC-AUC, over the time of the row. The peers use
  one thread. Peers use numpy {sort}.
- GB/s: bytes of the score matrix over the time.
- extra MiB: peak resident memory of one call in a separate process, over imports and loaded inputs. On memory-mapped
  rows it is the peak of anonymous memory (RssAnon, sampled every ms): mapped pages are page cache that can be dropped.
- max difference: the largest difference from vltr, over the measured classes that have positives.
"""


def _results_name(threads: int, quick: bool) -> str:
    machine = re.sub(r"\(\w+\)|@.*|\bCPU\b", "", cpu_model()).lower()
    machine = re.sub(r"[^a-z0-9]+", "-", machine).strip("-")
    return f"{machine}-{threads}-threads{'-quick' if quick else ''}-{TODAY}.md"


def _time(seconds: float) -> str:
    return f"{figure(seconds)} s" if seconds >= 1 else f"{figure(seconds * 1e3)} ms"


def _optional(value: float | None) -> str:
    return "-" if value is None else figure(value)


def _spread(seconds: list[float]) -> str:
    if len(seconds) < 2:
        return "one run"
    low, high = np.quantile(seconds, [0.25, 0.75])
    return f"{_time(low)} to {_time(high)} ({len(seconds)})"


def _progress(text: str) -> None:
    sys.stderr.write(f"bench_eval: {text}\n")
    sys.stderr.flush()


def _names(known: object, groups: Mapping[str, tuple[str, ...]] | None = None) -> Callable[[str], list[str]]:
    """Return an argparse type for names from `known` or of groups, separated by commas; "none" is the empty list."""

    def parse(text: str) -> list[str]:
        parts = [] if text == "none" else text.split(",")
        names = [name for part in parts for name in (groups or {}).get(part, (part,))]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected names among {', '.join(known)} or none, got {unknown[0]!r}")
        return names

    return parse


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shapes",
        type=_names(SHAPES, GROUPS),
        default=list(SHAPES),
        help=f"of {','.join(SHAPES)}, or the groups {','.join(GROUPS)}",
    )
    parser.add_argument("--qualities", type=_names(QUALITIES), default=list(QUALITIES), help="of good,poor (tail only)")
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=f"of {','.join(PEERS)}, or none")
    parser.add_argument("--quick", action="store_true", help="use shrunk shapes, to test the benchmark itself")
    parser.add_argument("--threads", type=_positive, default=num_cpus(), help="for vltr, the floor and torch")
    parser.add_argument("--runs", type=_positive, default=9, help="runs of each row of vltr, at least")
    parser.add_argument(
        "--out", nargs="?", type=Path, const=RESULTS, help="also write <machine>-<date>.md in this directory"
    )
    args = parser.parse_args()
    try:
        import vltr_eval._base._core  # noqa: F401
    except ImportError as error:
        parser.exit(1, f"bench_eval: vltr_eval is not installed in this environment ({error})\n")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)  # fails before the measurements if the folder cannot be written

    top = header(args.threads, args.quick)
    sys.stdout.write(top + "\n")
    cases = []
    chosen = [
        (name, q) for name in args.shapes for q in SHAPES[name].qualities if q in (*args.qualities, DENSE_QUALITY)
    ]
    with Workers(args.threads, keep=args.quick) as workers:
        for name, quality in chosen:
            # The largest case needs 2 GiB on disk, so each is deleted before the next is written.
            with tempfile.TemporaryDirectory(prefix="vltr-bench-") as directory:
                cases.append(measure_case(Path(directory), name, quality, args, workers))
            sys.stdout.write(case_table(cases[-1]) + "\n")
            sys.stdout.flush()
    summary = summary_table(cases)
    sys.stdout.write(summary)
    if args.out:
        path = args.out / _results_name(args.threads, args.quick)
        write_whole(path, "\n".join([top, summary, *map(case_table, cases)]))
        _progress(f"written: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
