"""Time and size of the HTML page of a report, over the report alone and over AP, as Markdown.

    python benchmarks/bench_page.py --threads 2 --out
    python benchmarks/bench_page.py --quick             shrunk shapes, to test the benchmark

At VideoLT's shape and at 20,000 classes it measures AP, the report with intervals, the details of single classes from
the scores, and the page. Rows have ids of 16 characters, classes have names, and three columns of one's own are added
to the report. Rows of the table alternate in one process, and the shortest run of each counts.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_results
from _lib.tables import duration, figure, table
from _lib.targets import Target, targets_text

SHAPES = {"videolt": (51_239, 1_004), "classes": (10_000, 20_000)}
QUICK = {"videolt": (600, 90), "classes": (300, 400)}
LABELS_PER_ROW = 1.1
TURNS = 7
LEVEL = 0.95


class Inputs:
    """A planted model on labels with a long tail, and all that a page has of it."""

    def __init__(self, rows: int, classes: int, threads: int) -> None:
        import vltr_eval

        self.vltr, self.threads = vltr_eval, threads
        rng = np.random.default_rng(0)
        share = 1 / np.arange(1, classes + 1) ** 0.7
        self.labels = np.zeros((rows, classes), bool)
        count = int(rows * LABELS_PER_ROW)
        self.labels[rng.integers(0, rows, count), rng.choice(classes, count, p=share / share.sum())] = True
        self.scores = rng.standard_normal((rows, classes), np.float32)
        self.scores += np.float32(3) * self.labels
        self.train_counts = np.rint(2_000 * share).astype(np.int64)
        self.names = [f"a class of videos, {c}" for c in range(classes)]
        self.ids = np.array([f"videolt_{n:08d}" for n in range(rows)], object)
        self.own = {f"column {k}": tuple(rng.random(classes).tolist()) for k in range(3)}

    @cached_property
    def positives(self) -> Any:
        return self.vltr.Positives.from_labels(self.labels)

    @cached_property
    def table(self) -> Any:
        return self.vltr.rank_table(self.scores, self.positives)

    def make_report(self) -> Any:
        given = {"train_counts": self.train_counts, "class_names": self.names}
        return self.vltr.evaluate(self.scores, self.positives, interval=LEVEL, threads=self.threads, **given)

    def find_details(self) -> Any:
        from vltr_eval._base.arrays import borrow_matrix
        from vltr_eval._engine.class_details import details_of

        scores = borrow_matrix("scores", self.scores)
        return details_of(scores, self.positives, self.table, ids=self.ids, threads=self.threads)

    @cached_property
    def report(self) -> Any:
        report = self.make_report()
        return replace(report, classes=report.classes | self.own)

    @cached_property
    def details(self) -> Any:
        return self.find_details()


@dataclass(frozen=True)
class Row:
    """A row of the table: its title, its call, and the attributes of the inputs that are made before it starts."""

    title: str
    call: Callable[[Inputs], object]
    needs: tuple[str, ...] = ()


ROWS = {
    "ap": Row("AP", lambda i: i.vltr.average_precision(i.scores, i.positives, threads=i.threads), ("positives",)),
    "report": Row("report with intervals", Inputs.make_report, ("positives",)),
    "details": Row("details of classes from the scores", Inputs.find_details, ("positives", "table")),
    "json": Row("report as JSON", lambda i: i.report.to_json(), ("report",)),
    "html": Row("page", lambda i: i.report.to_html(details=i.details), ("report", "details")),
}


@dataclass
class Case:
    """A shape, with the shortest time of each row and the size of its page."""

    num_rows: int
    num_classes: int
    num_bytes: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def added_seconds(self) -> float:
        """The time that --html adds to the report."""
        return self.seconds["details"] + self.seconds["html"]


TARGETS = (
    Target("seconds that a page adds to the report: at most 0.5", lambda case: case.added_seconds, 0.5),
    Target("details of classes over AP: at most 3", lambda case: case.seconds["details"] / case.seconds["ap"], 3.0),
    Target("megabytes of the page: at most 2", lambda case: case.num_bytes / 1e6, 2.0),
)


def shortest_runs(inputs: Inputs, rows: dict[str, Row], turns: int) -> dict[str, float]:
    """Return the shortest run of each row. The rows alternate, so other load of the machine disturbs all of them."""
    best = dict.fromkeys(rows, math.inf)
    for _ in range(turns):
        for name, row in rows.items():
            for need in row.needs:
                getattr(inputs, need)
            start = time.perf_counter()
            row.call(inputs)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def measure_case(rows: int, classes: int, threads: int, turns: int) -> Case:
    inputs = Inputs(rows, classes, threads)
    case = Case(rows, classes, seconds=shortest_runs(inputs, ROWS, turns))
    case.num_bytes = len(inputs.report.to_html(details=inputs.details))
    case.parts = {"report": len(inputs.report.to_json()), **parts_of(inputs.details), "assets": asset_bytes()}
    return case


def parts_of(details: Any) -> dict[str, int]:
    """Return the bytes of the parts of the details in a page."""
    import json

    from vltr_eval.page.document import Page, page_json

    document = json.loads(page_json(Page("report", "", details=[details])))
    (one,) = document["details"]
    parts = {name: len(json.dumps(one[name])) for name in ("curves", "histograms", "mistakes")}
    return {**parts, "ids": len(json.dumps(document["ids"]))}


def asset_bytes() -> int:
    import vltr_eval.page

    folder = Path(vltr_eval.page.__file__).with_name("assets")
    return sum(path.stat().st_size for path in folder.iterdir())


def case_text(case: Case) -> str:
    lines = [
        [row.title, duration(case.seconds[name]), figure(case.seconds[name] / case.seconds["ap"])]
        for name, row in ROWS.items()
    ]
    sizes = [[name, f"{count / 1e6:.2f}"] for name, count in case.parts.items()]
    sizes.append(["whole page", f"{case.num_bytes / 1e6:.2f}"])
    parts = [
        f"## {case.num_rows:,} x {case.num_classes:,}",
        "",
        table(("", "time", "/ AP"), lines),
        f"A page adds {duration(case.added_seconds)} to the report.",
        "",
        table(("part of the file", "MB"), sizes),
    ]
    return "\n".join(parts)


def header(args: argparse.Namespace) -> str:
    quick = "\n**Quick run** on shrunk shapes: its ratios are not those of the real shapes.\n" if args.quick else ""
    return f"""# The HTML page of a report, {TODAY}

{provenance("numpy")}{args.threads} threads.
{quick}
- Times are the shortest of {args.turns} runs, whose rows alternate in one process.
- The report has intervals, names of classes and three columns of one's own; the rows have ids of 16 characters.
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=",".join(SHAPES), help=f"of {','.join(SHAPES)} (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--quick", action="store_true", help="shrunk shapes")
    parser.add_argument(
        "--out", nargs="?", type=Path, const=RESULTS / f"page-{TODAY}.md", help="also write the tables to this file"
    )
    args = parser.parse_args(arguments)
    for name in args.shapes.split(","):
        if name not in SHAPES:
            parser.error(f"argument --shapes: expected names among {', '.join(SHAPES)}, got {name!r}")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    names = args.shapes.split(",")
    cases = {}
    for name in names:
        sys.stderr.write(f"bench_page: {name}\n")
        cases[name] = measure_case(*(QUICK if args.quick else SHAPES)[name], args.threads, args.turns)
    parts = [header(args), *map(case_text, cases.values())]
    if "videolt" in cases:
        parts.append(targets_text(TARGETS, cases["videolt"], "They are set for VideoLT's shape."))
    text = "\n".join(parts)
    write_results(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
