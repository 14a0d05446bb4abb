"""Run programs with a time limit and a log; judge how they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gpu.source import ROOT

PASSED, FAILED, CUT_SHORT, NOT_RUN = "passed", "**FAILED**", "**cut short**", "**not run**"
UNAVAILABLE = "not available"  # a program or package that the stage needs is not on this machine
_LAST_LINES = 25
_PATIENCE = 3.0  # seconds from one signal to the next


@dataclass
class Outcome:
    """The result of a stage. `summary` is for the table of stages, `detail` for a section of the stage's own."""

    status: str
    summary: str = ""
    detail: str = ""


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

    def run(self, title: str, command: list[str | Path], seconds: float, **environment: str) -> Finished:
        """Run a program for at most these seconds, and log its output."""
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
            out_of_time, output = True, end(process)
        except BaseException:
            end(process)
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


def end(process: subprocess.Popen[str]) -> str:
    """End a program and its children; return their output. An interrupt lets pytest print its summary."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=_PATIENCE)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def judged(finished: Finished, summary: str = "", detail: str = "", cut_short: bool = False) -> Outcome:
    """Return the outcome by exit status. A failure includes the last lines of the output.

    cut_short: the program itself ended early, and nothing that it did until then failed.
    """
    if finished.out_of_time:
        return Outcome(CUT_SHORT, f"{summary}; stopped, out of time" if summary else "stopped, out of time", detail)
    if cut_short:
        return Outcome(CUT_SHORT, summary, detail)
    if finished.code == 0:
        return Outcome(PASSED, summary, detail)
    return Outcome(FAILED, summary, f"{detail}\n```\n{finished.last_lines}\n```\n")
