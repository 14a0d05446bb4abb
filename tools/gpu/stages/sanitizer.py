"""Run every kernel on small inputs under each tool of compute-sanitizer."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path

from gpu.commands import NOT_RUN, PASSED, UNAVAILABLE, Outcome, judged, overall
from gpu.stages import bits
from gpu.visit import Stage, Visit, own_limit

TOOLS = ("memcheck", "racecheck", "initcheck")
LEAST = 12.0  # seconds of one tool
ERRORS = 9
DRY_INPUT = "vlad"
PROGRAMS = ("compute-sanitizer", "/usr/local/cuda/bin/compute-sanitizer")


def run(visit: Visit, seconds: float) -> Outcome:
    """Give each tool an equal share of the time that the earlier ones left."""
    program = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if program is None:
        return Outcome(UNAVAILABLE, "compute-sanitizer was not found")
    end = time.monotonic() + seconds
    outcomes: dict[str, Outcome] = {}
    for number, tool in enumerate(TOOLS):
        share = (end - time.monotonic()) / (len(TOOLS) - number)
        outcomes[tool] = run_tool(visit, program, tool, share) if share >= LEAST else Outcome(NOT_RUN, "no time")
        visit.report_of("sanitizer").write_text(detail_of(outcomes))
    statuses = [outcome.status for outcome in outcomes.values()]
    return Outcome(overall(statuses), summary_of(outcomes), detail_of(outcomes), statuses.count(PASSED))


def run_tool(visit: Visit, program: str, tool: str, seconds: float) -> Outcome:
    command: list[str | Path] = [program, "--tool", tool, "--error-exitcode", str(ERRORS), "--print-limit", "20"]
    command += [sys.executable, bits.SCRIPT, "--small", "--seconds", own_limit(seconds)]
    if visit.dry:
        command += ["--only", DRY_INPUT]
    # Without torch's memory pool each tensor is a separate allocation, so an access beyond its end is an error.
    finished = visit.runner.run(tool, command, seconds, PYTORCH_NO_CUDA_MEMORY_CACHING="1")
    if "Device not supported" in finished.output:
        return Outcome(UNAVAILABLE, "the tool does not support this device here")
    errors = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: .*)", finished.output)
    compared = re.findall(r"^[\d,]+ comparisons .*$", finished.output, re.MULTILINE)
    summary = "; ".join([*errors[-1:], *compared[-1:]])
    return judged(finished, summary, cut_short=finished.code == bits.ENDED_EARLY)


def summary_of(outcomes: dict[str, Outcome]) -> str:
    return ", ".join(f"{tool} {outcome.status}" for tool, outcome in outcomes.items())


def detail_of(outcomes: dict[str, Outcome]) -> str:
    parts = [f"- {tool} {outcome.status}: {outcome.summary}\n{outcome.detail}" for tool, outcome in outcomes.items()]
    return "\n".join(parts)


STAGE = Stage("sanitizer", "compute-sanitizer", 75, 2 * LEAST, bits.STAGE.reads, run)
