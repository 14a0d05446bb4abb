"""Compare every operation on the CPU and on the device, bit by bit: small and adversarial inputs, then random ones."""

from __future__ import annotations

import sys

from gpu.commands import Outcome, judged
from gpu.source import ROOT
from gpu.visit import Stage, Visit, own_limit, read_report

SCRIPT = ROOT / "tools" / "compare_devices.py"
ENDED_EARLY = 3  # its exit status if nothing differed, but some planned inputs did not run


def run(visit: Visit, seconds: float) -> Outcome:
    report = visit.report_of("bits")
    command = [sys.executable, SCRIPT, "--out", report, "--seconds", own_limit(seconds)]
    finished = visit.runner.run("bits", [*command, *(["--small"] if visit.dry else [])], seconds)
    summary, _, detail = read_report(report).partition("\n")
    return judged(finished, summary, detail, cut_short=finished.code == ENDED_EARLY)


STAGE = Stage("bits", "CPU against CUDA, bit by bit", 75, 30, ("tools/compare_devices.py", "tests/devices.py"), run)
