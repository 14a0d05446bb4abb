"""Compare every operation on the CPU and on the device, bit by bit: adversarial inputs, then random ones.

Planned inputs for which there is no time are those of the next visit.
"""

from __future__ import annotations

import re
import sys

from gpu.commands import CUT_SHORT, Outcome, judged
from gpu.source import ROOT
from gpu.visit import Stage, Visit, own_limit, read_report

SCRIPT = ROOT / "tools" / "compare_devices.py"
ENDED_EARLY = 3  # its exit status if nothing differed, but some planned inputs did not run


def run(visit: Visit, seconds: float) -> Outcome:
    report = visit.report_of("bits")
    skipped = int(visit.resume or 0)
    command = [sys.executable, SCRIPT, "--out", report, "--seconds", own_limit(seconds), "--skip", str(skipped)]
    finished = visit.runner.run("bits", [*command, *(["--small"] if visit.dry else [])], seconds)
    summary, _, detail = read_report(report).partition("\n")
    outcome = judged(finished, summary, detail, cut_short=finished.code == ENDED_EARLY)
    outcome.amount = int(re.sub(",", "", (re.findall(r"^[\d,]+", summary) or ["0"])[0]))
    if outcome.status == CUT_SHORT:
        outcome.resume = str(skipped + outcome.amount)
    return outcome


STAGE = Stage(
    "bits",
    "CPU against CUDA, bit by bit",
    75,
    30,
    ("tools/compare_devices.py", "tests/devices.py", "benchmarks/_lib/machine.py"),
    run,
)
