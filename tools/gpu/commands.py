"""Run programs with a time limit and a log; judge how they ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gpu.source import ROOT

PASSED, FAILED, CUT_SHORT, NOT_RUN = "passed", "**FAILED**", "**cut short**", "**not run**"
UNAVAILABLE = "not available"  # a program or package that the stage needs is not on this machine
_LAST_LINES = 25
_PATIENCE = 3.0  # seconds from one signal to the next
# The words of a failure in the reports and the output of the scripts. A later end by the time limit does not undo it.
_FAILURE = re.compile(r"\*\*(?:failed|different|(?:[\d,]+ )?differ)\*\*|^compare_devices: DIFFERENT", re.I | re.M)


@dataclass
class Outcome:
    """The result of a stage.

    Attributes:
        status: One of those above.
        summary: For the table of stages.
        detail: For a section of the stage's own.
        amount: How much was measured: of two results that were cut short, the one with more is kept.
        resume: Where the next visit continues, for a stage that can; empty for one that starts again.
    """

    status: str
    summary: str = ""
    detail: str = ""
    amount: int = 0
    resume: str = ""


@dataclass
class Finished:
    """A program that ended by itself or at its time limit."""

    code: int
    output: str
    out_of_time: bool = False
    seconds: float = 0.0

    @property
    def last_lines(self) -> str:
        """The last lines of its output, for the results."""
        lines = self.output.replace(str(ROOT), ".").replace(str(Path.home()), "~").strip().splitlines()
        return "\n".join(line[:300] for line in lines[-_LAST_LINES:])


@dataclass
class Runner:
    """Runs programs in a folder of their own, where `import vltr_eval` does not find the sources."""

    folder: Path
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self, title: str, command: list[str | Path], seconds: float, patience: float = _PATIENCE, **environment: str
    ) -> Finished:
        """Run a program for at most these seconds, and log its output.

        patience: The seconds that it then gets after an interrupt.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=self.folder,
            env=os.environ | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that `end` also reaches its children
        )
        out_of_time = False
        try:
            output, _ = process.communicate(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            out_of_time, output = True, end(process, patience)
        except BaseException:
            self._write(f"\n=== {title}, interrupted\n{end(process)}\n")
            raise
        finished = Finished(process.returncode, output, out_of_time, time.monotonic() - start)
        self._write(f"\n=== {title}: {' '.join(map(str, command))[:300]}\n{output}\n{ending(finished)}\n")
        return finished

    def _write(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)


def ending(finished: Finished) -> str:
    late = ", out of time" if finished.out_of_time else ""
    return f"=== exit status {finished.code} after {finished.seconds:.1f} s{late}"


def end(process: subprocess.Popen[str], patience: float = _PATIENCE) -> str:
    """End a program and its children; return their output. An interrupt lets pytest print its summary."""
    for number, seconds in ((signal.SIGINT, patience), (signal.SIGTERM, _PATIENCE), (signal.SIGKILL, _PATIENCE)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def shows_failure(text: str) -> bool:
    """Tell whether a report or an output states that something failed or differs."""
    return _FAILURE.search(text) is not None


def judged(finished: Finished, summary: str = "", detail: str = "", cut_short: bool = False) -> Outcome:
    """Return the outcome by exit status, and by what the program had reported if it was stopped.

    A failure, and a program that was stopped, include the last lines of the output.

    cut_short: the program itself ended early, and nothing that it did until then failed.
    """
    has_failed = shows_failure(f"{summary}\n{detail}\n{finished.output}")
    if finished.out_of_time:
        status = FAILED if has_failed else CUT_SHORT
        summary = f"{summary}; stopped, out of time" if summary else "stopped, out of time"
    elif cut_short:
        return Outcome(FAILED if has_failed else CUT_SHORT, summary, detail)
    elif finished.code == 0:
        return Outcome(PASSED, summary, detail)
    else:
        status = FAILED
    last = f"{detail}\n```\n{finished.last_lines}\n```\n" if finished.last_lines else detail
    return Outcome(status, summary, last)


def overall(statuses: Iterable[str]) -> str:
    """Return the status of several programs: a failure first, then what is missing."""
    found = set(statuses)
    if FAILED in found:
        return FAILED
    if {CUT_SHORT, NOT_RUN} & found:
        return CUT_SHORT
    return PASSED if PASSED in found else UNAVAILABLE
