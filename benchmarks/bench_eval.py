"""Benchmark vltr_eval, each peer and one plain read (the floor): time and peak extra memory, as Markdown.

    python benchmarks/bench_eval.py                     all shapes, both model qualities, all peers (about half an hour)
    python benchmarks/bench_eval.py --quick             shrunk shapes, a first look in a minute or two
    python benchmarks/bench_eval.py --shapes videolt --threads 2 --out

The tables go to stdout, progress to stderr. _lib/shapes.py has the shapes, _lib/peers.py the peers, and _lib/measure.py
makes one measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _lib.machine import RESULTS, TODAY, cpu_model, load, num_cpus, versions, write_whole
from _lib.peers import PEERS
from _lib.shapes import QUALITIES, SHAPES, write_case
from _lib.tables import figure

HERE = Path(__file__).resolve().parent
PEER_TIMEOUT = 1_800  # seconds; a slower peer is stopped, and its row states this

# Row name -> its title in the table. A name that ends in "_mapped" is the same operation on memory-mapped inputs.
OUR_ROWS = {
    "floor": "floor: plain read of the scores",
    "ap": "**vltr AP**",
    "ap_positives": "vltr AP, labels prepared (`Positives`)",
    "evaluate": "vltr `evaluate`, SAP 15 (everything)",
    "sap_many": "vltr SAP, 1,000 trials",
    "floor_mapped": "floor, memory-mapped",
    "ap_mapped": "vltr AP, memory-mapped",
    "evaluate_mapped": "vltr `evaluate`, memory-mapped",
}


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

    title: str
    facts: dict
    rows: dict[str, Row]

    def ratio(self, numerator: str, denominator: str) -> float | None:
        """Return the time of one row over that of another; None if either was not measured."""
        over, under = (self.rows[name].time if name in self.rows else None for name in (numerator, denominator))
        return over / under if over and under else None

    def mapped_extra_mib(self) -> float | None:
        """Return the larger peak of anonymous memory of AP and evaluate on memory-mapped inputs, in MiB."""
        extras = [row.extra_bytes for name, row in self.rows.items() if name.endswith("_mapped")]
        return max((extra / 2**20 for extra in extras if extra is not None), default=None)


@dataclass(frozen=True)
class Target:
    """A target of the project for the VideoLT shape, good model, two threads."""

    title: str
    value: Callable[[Case], float | None]
    limit: float
    at_least: bool
    unit: str

    def verdict(self, case: Case) -> str:
        value = self.value(case)
        if value is None:
            return "not measured"
        reached = value > self.limit if self.at_least else value <= self.limit
        return f"{figure(value)}{self.unit} {'reached' if reached else '**not reached**'}"


TARGETS = (
    Target("scikit-learn / AP, over 100x", lambda c: c.ratio("sklearn", "ap"), 100, True, "x"),
    Target("numpy positives only / AP, over 20x", lambda c: c.ratio("numpy", "ap"), 20, True, "x"),
    Target("AP / floor, at most 4x", lambda c: c.ratio("ap", "floor"), 4, False, "x"),
    Target("evaluate / AP, at most 1.5x", lambda c: c.ratio("evaluate", "ap"), 1.5, False, "x"),
    Target("SAP 1,000 / AP, under 10x", lambda c: c.ratio("sap_many", "ap"), 10, False, "x"),
    Target("extra memory when mapped, under 64 MiB", Case.mapped_extra_mib, 64, False, " MiB"),
)


def measure_case(directory: Path, name: str, quality: str, args: argparse.Namespace) -> Case:
    """Make the data of one case in a directory and measure every row of its table."""
    title = f"{'Quick: ' if args.quick else ''}{SHAPES[name].title}, {quality} model"
    _progress(f"{title}: making the data")
    write_case(directory, name, quality, args.quick)
    measure = Measurement(directory, args.threads)
    facts = measure("describe_case")
    _stop_if_failed(title, facts)

    rows: dict[str, Row] = {}
    for suffix in ("", "_mapped"):
        names = [row for row in OUR_ROWS if row.endswith("_mapped") == bool(suffix)]
        operations = [row.removesuffix("_mapped") for row in names]
        _progress(f"{title}: vltr{suffix.replace('_', ', ')}")
        request = {"mapped": bool(suffix), "threads": args.threads}
        timing = measure("time_ours", rows=operations, min_runs=args.runs, **request)
        _stop_if_failed(title, timing)
        for row, operation in zip(names, operations, strict=True):
            rows[row] = Row(OUR_ROWS[row], timing["seconds"][operation])
            if operation != "floor":
                memory = measure("memory_of_ours", rows=[operation], **request)
                _stop_if_failed(title, memory)
                rows[row].extra_bytes = memory["extra_bytes"]
    for peer in args.peers:
        _progress(f"{title}: {PEERS[peer].title}")
        answer = measure("measure_peer", name=peer, threads=args.threads, max_seconds=10.0 if args.quick else 60.0)
        rows[peer] = _peer_row(peer, answer, facts["num_classes"], args.threads)
    return Case(title, facts, rows)


def _stop_if_failed(title: str, answer: dict) -> None:
    """Exit if a measurement of vltr failed: nothing is left to compare with. A peer that fails loses only its row."""
    if "failed" in answer:
        sys.exit(f"bench_eval: {title}: {answer['failed']}")


@dataclass(frozen=True)
class Measurement:
    """Run one task of _lib/measure.py on one case in a separate process."""

    directory: Path
    threads: int

    def __call__(self, task: str, **arguments: object) -> dict:
        request = json.dumps({"task": task, "directory": str(self.directory), **arguments})
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        command = [sys.executable, "-m", "_lib.measure", request]
        try:
            done = subprocess.run(
                command,
                cwd=HERE,
                env=os.environ | limits,
                capture_output=True,
                text=True,
                timeout=PEER_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"stopped after {PEER_TIMEOUT} s"}
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"ended by signal {-done.returncode}"])[-1]
            return {"failed": f"failed: {reason.replace(str(self.directory), '').replace('|', '/')[:120]}"}
        return json.loads(done.stdout.strip().splitlines()[-1])


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
        "| | time | middle half (runs) | / AP | / floor | GB/s | extra MiB | max AP difference | remark |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, row in case.rows.items():
        cells = [row.title, "-", "-", "-", "-", "-", "-", "-", row.remark]
        if row.time:
            cells[1] = _time(row.time)
            cells[2] = _spread(row.seconds)
            cells[3] = _optional(case.ratio(name, "ap"))
            cells[4] = _optional(case.ratio(name, "floor"))
            cells[5] = figure(facts["num_bytes"] / row.time / 1e9)
            cells[6] = "-" if row.extra_bytes is None else f"{row.extra_bytes / 2**20:,.1f}"
            cells[7] = "-" if row.difference is None else f"{row.difference:.1e}"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary_table(cases: list[Case]) -> str:
    """Return the table of targets for every measured case."""
    head = "| | " + " | ".join(target.title for target in TARGETS) + " |"
    rule = "|---|" + "---|" * len(TARGETS)
    rows = [f"| {case.title} | " + " | ".join(t.verdict(case) for t in TARGETS) + " |" for case in cases]
    note = "The targets are set for the VideoLT shape, good model, two threads; the other rows are for comparison."
    return "\n".join(["## Targets", "", note, "", head, rule, *rows]) + "\n"


def header(threads: int, quick: bool) -> str:
    """Return the machine, the versions, and the meaning of the columns."""
    from vltr_eval._base import _core

    build = _core.build_info()
    warning = "\n\n**Quick run** on shrunk shapes that fit in caches: its ratios are not those of the real shapes."
    return f"""# vltr_eval benchmark, {TODAY}

{cpu_model()}, {num_cpus()} CPUs available, {threads} threads used; SIMD {build["simd"]}, {build["compiler"]}.
Load of the machine before the first run: {load()} (0 is best; the torch peers are very slow if a core is not free).
{versions("vltr", "numpy", "scikit-learn", "torch", "torchmetrics", "torcheval")}.{warning if quick else ""}

- time: median after a warm-up. Rows of vltr and the floor alternate in one process. A peer warms up on 256 rows and
  runs once, more often if it is fast. A peer that would take over a minute runs on a block of classes ("scaled").
- / AP and / floor: the time over that of "vltr AP" and of the plain read.
- GB/s: bytes of the score matrix over the time.
- extra MiB: peak resident memory of one call in a separate process, over imports and loaded inputs. On memory-mapped
  rows it is the peak of anonymous memory (RssAnon, sampled every ms): mapped pages are page cache that can be dropped.
- max AP difference: the largest difference from the AP of vltr, over the measured classes that have positives.
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


def _names(known: object) -> Callable[[str], list[str]]:
    """Return an argparse type for names from `known`, separated by commas; "none" is the empty list."""

    def parse(text: str) -> list[str]:
        names = [] if text == "none" else text.split(",")
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
    parser.add_argument("--shapes", type=_names(SHAPES), default=list(SHAPES), help=f"of {','.join(SHAPES)}")
    parser.add_argument("--qualities", type=_names(QUALITIES), default=list(QUALITIES), help="of good,poor")
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
    for name in args.shapes:
        for quality in args.qualities:
            # The largest case needs 2 GiB on disk, so each is deleted before the next is written.
            with tempfile.TemporaryDirectory(prefix="vltr-bench-") as directory:
                cases.append(measure_case(Path(directory), name, quality, args))
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
