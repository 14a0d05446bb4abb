"""Compare short trainings on the device with those on the CPU, then measure training at full size."""

from __future__ import annotations

import sys
import time

from gpu.commands import PASSED, Outcome, judged
from gpu.source import ROOT
from gpu.visit import Stage, Visit, own_limit, read_report

COMPARISON = ROOT / "tools" / "compare_training.py"
BENCHMARK = ROOT / "benchmarks" / "bench_train_cuda.py"
DRY_COMPARISON = ("--device", "cpu", "--methods", "framestack")
SHARE = 0.4  # of the time, for the comparison


def run(visit: Visit, seconds: float) -> Outcome:
    end = time.monotonic() + seconds
    compared = compare(visit, SHARE * seconds)
    measured = measure(visit, end - time.monotonic())
    status = measured.status if compared.status == PASSED else compared.status
    return Outcome(status, f"{compared.summary}; {measured.summary}", f"{compared.detail}\n{measured.detail}")


def compare(visit: Visit, seconds: float) -> Outcome:
    command = [sys.executable, COMPARISON, *(DRY_COMPARISON if visit.dry else [])]
    finished = visit.runner.run("short trainings", command, seconds)
    summary, _, detail = finished.output.partition("\n") if finished.code in (0, 1) else ("", "", "")
    return judged(finished, summary, detail)


def measure(visit: Visit, seconds: float) -> Outcome:
    report = visit.report_of("training")
    command = [sys.executable, BENCHMARK, "--out", report, "--seconds", own_limit(seconds)]
    tiny = ["--device", "cpu", "--scale", "0.0005"] if visit.dry else []
    finished = visit.runner.run("training", [*command, *tiny], seconds)
    summary, _, detail = read_report(report).partition("\n")
    return judged(finished, summary, detail)


_READS = ("tools/compare_training.py", "benchmarks/bench_train_cuda.py", "benchmarks/_lib")
STAGE = Stage("training", "training", 100, 40, _READS, run)
