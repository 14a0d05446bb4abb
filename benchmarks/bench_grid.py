"""Compare vltr's AP with the easy numpy version, and two builds of vltr, over a grid of shapes.

    python benchmarks/bench_grid.py                     the grid (about ten minutes, 8 GiB of memory)
    python benchmarks/bench_grid.py --against FOLDER    beside another installed build, for example of `pip --target`
    python benchmarks/bench_grid.py --max-cells 1000000 --out

The grid has N rows from 10^3 to 10^7, C classes from 1 to 1,000, N C at most 10^8, and shares of positives from 1 / N
to 0.5. The table goes to stdout, progress to stderr. A last line counts the cells that are too slow.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_results
from _lib.shapes import write_dense
from _lib.tables import duration, figure, table
from _lib.worker import Worker, fastest_numpy

ROWS = tuple(10**power for power in range(3, 8))
CLASSES = (1, 10, 100, 1_000)
SHARES = (0.001, 0.01, 0.1, 0.5)  # and 1 / N, 10 / N
MAX_CELLS = 10**8

EASY_CELLS = 1_000_000  # the easy version runs on a block of columns of this size, at least one column
SECONDS = 0.1  # of a request: the operation repeats for this long
TURNS = 3  # each row is requested so often,
MORE_TURNS = 12  # and up to so often while this build is slower than the other one;
CELL_SECONDS = 20.0  # no third turn starts after this
SLOWER = 1.05  # the limit of the time over that of the other build
THAN_OTHER = "slower than the other build"
ONE_THREAD_GAIN, GAIN_CELLS = 1.7, 10**6  # the least gain of threads, over so many cells


@dataclass
class Cell:
    """One cell of the grid, with the shortest time of each row."""

    num_rows: int
    num_classes: int
    share: float
    seconds: dict[str, float] = field(default_factory=dict)
    exact_sap_was_stopped: bool = False

    @property
    def num_cells(self) -> int:
        return self.num_rows * self.num_classes

    def keep(self, row: str, seconds: float) -> None:
        self.seconds[row] = min(seconds, self.seconds.get(row, math.inf))

    def ratio(self, numerator: str, denominator: str) -> float:
        """Return the time of one row over that of another; NaN if one was not measured."""
        return self.seconds.get(numerator, math.nan) / self.seconds.get(denominator, math.nan)

    def is_slow(self) -> dict[str, bool]:
        """Return each way to be too slow, by the words of the table."""
        return {
            "slower than easy": self.ratio("ap", "easy") > 1,
            THAN_OTHER: self.ratio("ap", "other") > SLOWER,
            "threads gain little": self.num_cells > GAIN_CELLS and self.ratio("ap_one_thread", "ap") < ONE_THREAD_GAIN,
            "exact SAP slower than AP": self.ratio("exact_sap_added", "ap") > 1,
        }


def grid(max_cells: int) -> Iterator[Cell]:
    for num_rows in ROWS:
        for num_classes in CLASSES:
            if num_rows * num_classes <= max_cells:
                for share in sorted({1 / num_rows, 10 / num_rows, *SHARES}):
                    if share >= 1 / num_rows:
                        yield Cell(num_rows, num_classes, share)


def measure_cell(cell: Cell, directory: str, own: Worker, easy: Worker, other: Worker | None, threads: int) -> None:
    """Measure all rows of a cell in turns: this build and the other one follow each other, in alternating order."""
    case = {"directory": directory, "seconds": SECONDS}
    block = min(cell.num_classes, max(1, EASY_CELLS // cell.num_rows))
    rows = ["ap", "ap_one_thread", "exact_sap_added"]

    def time_own() -> None:
        answer = ask(own, "best_seconds", rows=rows, threads=threads, **case)
        for row, seconds in answer["best"].items():
            cell.keep(row, seconds)
        if answer["stopped"]:
            cell.exact_sap_was_stopped = True
            rows.remove("exact_sap_added")

    def time_other() -> None:
        if other is not None:
            cell.keep("other", ask(other, "best_seconds", rows=["ap"], threads=threads, **case)["best"]["ap"])

    start = time.monotonic()
    for turn in range(MORE_TURNS):
        if turn > 1 and time.monotonic() - start > CELL_SECONDS:
            break
        if turn >= TURNS and not cell.is_slow()[THAN_OTHER]:
            break
        for time_build in (time_own, time_other) if turn % 2 else (time_other, time_own):
            time_build()
        cell.keep("easy", ask(easy, "best_seconds_of_peer", name="easy", classes=block, **case)["best"])


def ask(worker: Worker, task: str, **arguments: object) -> dict:
    answer = worker(task, **arguments)
    if "failed" in answer:
        sys.exit(f"bench_grid: {task}: {answer['failed']}")
    return answer


def grid_table(cells: list[Cell], threads: int, has_other: bool) -> str:
    head = ["N", "C", "share", f"AP, {threads} threads", "easy / AP", "1 thread / AP", "exact SAP / AP"]
    head += ["other build", "AP / other"] * has_other + ["too slow"]
    rows = []
    for cell in cells:
        row = [f"{cell.num_rows:,}", f"{cell.num_classes:,}", f"{cell.share:g}", duration(cell.seconds["ap"])]
        row += [figure(cell.ratio("easy", "ap")), figure(cell.ratio("ap_one_thread", "ap"))]
        row += [("over " if cell.exact_sap_was_stopped else "") + figure(cell.ratio("exact_sap_added", "ap"))]
        if has_other:
            row += [duration(cell.seconds["other"]), figure(cell.ratio("ap", "other"))]
        rows.append([*row, ", ".join(words for words, slow in cell.is_slow().items() if slow)])
    return table(head, rows, left=0)


def summary(cells: list[Cell]) -> str:
    """Return how many cells are too slow, in each way."""
    counts = {words: sum(cell.is_slow()[words] for cell in cells) for words in cells[0].is_slow()}
    return f"Too slow, of {len(cells)} cells: " + "; ".join(f"{words}: {n}" for words, n in counts.items()) + ".\n"


def header(against: Path | None, other: dict | None) -> str:
    """Return the machine, the builds and the meaning of the columns. Only the name of the other folder is shown."""
    sort = "without its AVX-512 code, which is slower here" if fastest_numpy() else "with all its code for SIMD"
    builds = "" if other is None else "Other build: vltr {version}, SIMD {simd}, {compiler}.\n".format_map(other)
    written_by = provenance("numpy").replace(str(against), against.name) if against else provenance("numpy")
    return f"""# vltr_eval over a grid of shapes, {TODAY}

{written_by}{builds}
- Times are the shortest of many runs, in {TURNS} turns, in two if these take over {CELL_SECONDS:g} s. A cell that is
  slower than the other build gets more turns.
- easy: the easy numpy version of AP, one thread. It runs on a block of adjacent columns, of {EASY_CELLS:,} cells or one
  column, and its time is scaled to all columns. It uses numpy {sort}.
- exact SAP: the time of exact SAP alone, from a rank table.
- Too slow: over the easy version; over {SLOWER:g} times the other build; one thread under {ONE_THREAD_GAIN:g} times
  the time of all threads, over {GAIN_CELLS:,} cells; exact SAP over AP.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, help="folder with another vltr_eval and its compiled core")
    parser.add_argument("--max-cells", type=int, default=MAX_CELLS, help="of one matrix, N C")
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument(
        "--out", nargs="?", type=Path, const=RESULTS / f"grid-{TODAY}.md", help="also write the table to this file"
    )
    args = parser.parse_args()

    start = time.monotonic()
    with ExitStack() as stack:
        own = stack.enter_context(Worker(args.threads))
        easy = stack.enter_context(Worker(1, environment=fastest_numpy()))
        other = None if args.against is None else stack.enter_context(Worker(args.threads, build=args.against))
        built = None if other is None else ask(other, "describe_build")
        if built is not None and Path(built["folder"]) != args.against.resolve():
            parser.error(f"--against: expected a folder with vltr_eval and its core, got {args.against}")
        top = header(args.against, built)
        cells = list(grid(args.max_cells))
        for number, cell in enumerate(cells, 1):
            with tempfile.TemporaryDirectory(prefix="vltr-grid-") as directory:
                write_dense(Path(directory), cell.num_rows, cell.num_classes, cell.share)
                measure_cell(cell, directory, own, easy, other, args.threads)
            sys.stderr.write(
                f"bench_grid: {number} of {len(cells)}, {cell.num_rows:,} x {cell.num_classes:,} at {cell.share:g}: "
                f"{duration(cell.seconds['ap'])}, {time.monotonic() - start:.0f} s so far\n"
            )
            sys.stderr.flush()
    text = "\n".join([top, grid_table(cells, args.threads, other is not None), summary(cells)])
    write_results(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
