"""Run pytest: the tests whose inputs can be on the device, and in a stage of its own the whole suite."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec

from gpu.commands import FAILED, UNAVAILABLE, Finished, Outcome, judged
from gpu.machine import jobs
from gpu.source import ROOT
from gpu.visit import Stage, Visit

MOST_PROCESSES = 8
MOST_REPORTED = 30
DRY_SELECTION = "tests/eval/test_roc_auc.py"
# Not errors here, because the libraries may be newer than the pinned ones.
ALLOWED = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")


def run_on_device(visit: Visit, seconds: float) -> Outcome:
    return run(visit, seconds, ["--device", "cuda"])


def run_whole(visit: Visit, seconds: float) -> Outcome:
    return run(visit, seconds, [])


def run(visit: Visit, seconds: float, options: list[str]) -> Outcome:
    if visit.machine.missing:
        return Outcome(UNAVAILABLE, f"this Python cannot import {', '.join(visit.machine.missing)}")
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark", *options]
    command += [word for warning in ALLOWED for word in ("-W", f"default::{warning}")]
    if find_spec("xdist") and jobs() > 2:
        command += ["-n", str(min(jobs(), MOST_PROCESSES))]
    chosen = ROOT / (DRY_SELECTION if visit.dry else "tests")
    return outcome_of(visit.runner.run("tests", [*command, chosen], seconds))


def outcome_of(finished: Finished) -> Outcome:
    """Judge a run. A test that failed before the time was over is a failure."""
    counts = re.findall(r"^=*\s*(\d+ \w+.* in [\d.]+s.*?)\s*=*$", finished.output, re.MULTILINE)
    failed = re.findall(r"^(?:FAILED|ERROR) .*$", finished.output, re.MULTILINE)
    lines = [f"- {line.replace(str(ROOT), '.')[:300]}\n" for line in failed[:MOST_REPORTED]]
    if len(failed) > MOST_REPORTED:
        lines.append(f"- and {len(failed) - MOST_REPORTED} more\n")
    outcome = judged(finished, counts[-1] if counts else "", "".join(lines))
    return Outcome(FAILED, outcome.summary, outcome.detail) if failed else outcome


ON_DEVICE = Stage("tests", "tests, inputs on the device", 90, 30, ("tests",), run_on_device)
WHOLE = Stage("suite", "tests, whole suite", 150, 45, ("tests",), run_whole)
