"""Run pytest: the tests whose inputs can be on the device, and in a stage of its own the whole suite.

A run that is stopped is continued by the next visit, with the files that are not done.
"""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu.commands import CUT_SHORT, FAILED, UNAVAILABLE, Finished, Outcome, judged
from gpu.machine import jobs
from gpu.source import ROOT
from gpu.visit import Stage, Visit, read_report, seconds_to_end

SCRIPT = ROOT / "tools" / "gpu_pytest.py"
MOST_PROCESSES = 8
MOST_REPORTED = 30
NO_TESTS = 5  # pytest's exit status
DRY_SELECTION = ("tests/eval/test_roc_auc.py",)
# Not errors here, because the libraries may be newer than the pinned ones.
ALLOWED = ("DeprecationWarning", "PendingDeprecationWarning", "FutureWarning")


def run_on_device(visit: Visit, seconds: float) -> Outcome:
    return run(visit, seconds, "tests", ["--device", "cuda"])


def run_whole(visit: Visit, seconds: float) -> Outcome:
    return run(visit, seconds, "suite", [])


def run(visit: Visit, seconds: float, name: str, options: list[str]) -> Outcome:
    if visit.machine.missing:
        return Outcome(UNAVAILABLE, f"this Python cannot import {', '.join(visit.machine.missing)}")
    failures, done = visit.report_of(name), visit.report_of(f"{name}.done")
    done.unlink(missing_ok=True)
    earlier = visit.resume.split()
    left = [file for file in test_files(visit.dry) if file not in earlier]
    # pytest is interrupted early enough to end its tests and to print its summary.
    patience = seconds_to_end(seconds)
    command = [*command_of(failures, done, options), *(ROOT / file for file in left)]
    finished = visit.runner.run(name, command, seconds - patience, patience)
    if finished.code == NO_TESTS and earlier:  # the files that are left have none
        finished.code = 0
    outcome = outcome_of(finished, read_report(failures))
    files = read_report(done).split()
    done.unlink(missing_ok=True)
    outcome.amount = len(files)
    if outcome.status == CUT_SHORT:
        outcome.resume = " ".join([*earlier, *files])
        outcome.summary = f"{len(files)} of {len(left)} files; {outcome.summary}"
    return outcome


def test_files(dry: bool) -> list[str]:
    found = (file.relative_to(ROOT) for file in (ROOT / "tests").rglob("test_*.py"))
    return list(DRY_SELECTION) if dry else sorted(file.as_posix() for file in found)


def command_of(failures: Path, done: Path, options: list[str]) -> list[str | Path]:
    command: list[str | Path] = [sys.executable, SCRIPT, failures, done]
    command += ["-q", "--tb=short", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    command += ["-p", "no:cacheprovider", "-p", "no:benchmark", *options]
    command += [word for warning in ALLOWED for word in ("-W", f"default::{warning}")]
    if find_spec("xdist") and jobs() > 2:
        command += ["-n", str(min(jobs(), MOST_PROCESSES))]
    return command


def outcome_of(finished: Finished, failures: str) -> Outcome:
    """Judge a run. A test that failed before the time was over is a failure.

    failures: a line for each, written as soon as the test had failed.
    """
    counts = re.findall(r"^=*\s*(\d+ \w+.* in [\d.]+s.*?)\s*=*$", finished.output, re.MULTILINE)
    failed = failures.splitlines()
    lines = [f"- {line.replace(str(ROOT), '.')[:300]}\n" for line in failed[:MOST_REPORTED]]
    if len(failed) > MOST_REPORTED:
        lines.append(f"- and {len(failed) - MOST_REPORTED} more\n")
    summary = counts[-1] if counts else f"{len(failed)} failed" if failed else ""
    outcome = judged(finished, summary, "".join(lines))
    return Outcome(FAILED, outcome.summary, outcome.detail) if failed else outcome


READS = ("tests", "tools/gpu_pytest.py")
ON_DEVICE = Stage("tests", "tests, inputs on the device", 90, 30, READS, run_on_device)
WHOLE = Stage("suite", "tests, whole suite", 150, 45, READS, run_whole)
