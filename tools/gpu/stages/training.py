"""Compare short trainings on the device with those on the CPU, then measure training at full size."""

from __future__ import annotations

import sys
import time

from gpu.commands import Outcome, judged, overall
from gpu.source import ROOT
from gpu.visit import Stage, Visit, own_limit, read_report

COMPARISON = ROOT / "tools" / "compare_training.py"
BENCHMARK = ROOT / "benchmarks" / "bench_train_cuda.py"
DRY_COMPARISON = ("--device", "cpu", "--methods", "framestack")
DRY_BENCHMARK = ("--device", "cpu", "--scale", "0.0005", "--methods", "bce")
ENDED_EARLY = 3  # the benchmark's exit status if nothing failed, but the time was too short for a row
NO_TIME = "no time was left"  # in a row of its tables
SHARE = 0.4  # of the time, for the comparison


def run(visit: Visit, seconds: float) -> Outcome:
    end = time.monotonic() + seconds
    compared = compare(visit, SHARE * seconds)
    measured = measure(visit, end - time.monotonic())
    return Outcome(
        overall([compared.status, measured.status]),
        f"{compared.summary}; {measured.summary}",
        f"{compared.detail}\n{measured.detail}",
        measured.amount,
    )


def compare(visit: Visit, seconds: float) -> Outcome:
    command = [sys.executable, COMPARISON, *(DRY_COMPARISON if visit.dry else [])]
    finished = visit.runner.run("short trainings", command, seconds)
    summary, _, detail = finished.output.partition("\n") if finished.code in (0, 1) else ("", "", "")
    return judged(finished, summary, detail)


def measure(visit: Visit, seconds: float) -> Outcome:
    report = visit.report_of("training")
    command = [sys.executable, BENCHMARK, "--out", report, "--seconds", own_limit(seconds)]
    finished = visit.runner.run("training", [*command, *(DRY_BENCHMARK if visit.dry else [])], seconds)
    summary, _, detail = read_report(report).partition("\n")
    outcome = judged(finished, summary, detail, cut_short=finished.code == ENDED_EARLY)
    outcome.amount = sum(line.startswith("| ") and NO_TIME not in line for line in detail.splitlines())
    return outcome


_READS = ("tools/compare_training.py", "benchmarks/bench_train_cuda.py", "benchmarks/_lib")
STAGE = Stage("training", "training", 100, 40, _READS, run)
