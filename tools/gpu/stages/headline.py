"""Measure the headline table: bandwidth of the device, metrics, gathers, and peers on the device, with targets."""

from __future__ import annotations

import sys

from gpu.commands import Outcome, judged
from gpu.source import ROOT
from gpu.visit import Stage, Visit, own_limit, read_report

SCRIPT = ROOT / "benchmarks" / "bench_cuda.py"
NO_TIME = "no time left"  # in a row of its tables
ENDED_EARLY = 3  # its exit status if no row failed, but the time was too short for some


def run(visit: Visit, seconds: float) -> Outcome:
    report = visit.report_of("headline")
    command = [sys.executable, SCRIPT, "--out", report, "--seconds", own_limit(seconds), *visit.dry_option]
    finished = visit.runner.run("headline", command, seconds)
    text = read_report(report)
    reached, missed, rest = (text.count(f"| {verdict} |") for verdict in ("reached", "**not reached**", "not measured"))
    summary = f"{reached} targets reached, {missed} not, {rest} not measured"
    outcome = judged(finished, summary, text, cut_short=finished.code == ENDED_EARLY)
    outcome.amount = sum(line.startswith("| ") and NO_TIME not in line for line in text.splitlines())
    return outcome


STAGE = Stage("headline", "headline table", 130, 40, ("benchmarks/bench_cuda.py", "benchmarks/_lib"), run)
