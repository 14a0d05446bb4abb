"""A visit to a machine with a GPU: stages in the order of their value, until the budget is spent."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpu import source
from gpu.commands import CUT_SHORT, FAILED, NOT_RUN, Outcome, Runner, shows_failure
from gpu.machine import Machine
from gpu.record import Entry, Record, without_note
from gpu.wheel import EMULATED

BUDGET = 420.0  # seconds, for the whole visit
_WRITING = 10.0  # of these, reserved to end the last program and to write the results
TOOLS = ("tools/gpu", "tools/gpu_check.py")  # every stage is done for one state of these too
_ENDING = 0.25  # share of a stage's time, at most 15 s, between its program's own limit and the hard one


@dataclass
class Visit:
    """The machine, the clock, and the folders of one run of the checks.

    Attributes:
        dry: There is no GPU: the emulated build, and tiny inputs.
        folder: Where builds and temporary files go.
        reports: Where the unfinished report of a stage is, for a visit that is killed.
        commit: The commit of the tree, or of the wheel if there is no git here.
        start: When the visit began, by `time.monotonic`.
        installed: The fingerprint of the installed package that is checked in place of the tree's; else empty.
        resume: Where the stage that runs continues; empty at its start.
    """

    dry: bool
    budget: float
    folder: Path
    wheels: Path
    reports: Path
    runner: Runner
    machine: Machine
    commit: str
    start: float = field(default_factory=time.monotonic)
    installed: str = ""
    resume: str = ""

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def arch(self) -> str:
        return EMULATED if self.dry else self.machine.arch

    @property
    def dry_option(self) -> list[str]:
        return ["--dry-run"] if self.dry else []

    def seconds_left(self) -> float:
        return self.start + self.budget - _WRITING - time.monotonic()

    def report_of(self, name: str) -> Path:
        return self.reports / f"{name}.unfinished.md"

    def sources_of(self, stage: Stage) -> str:
        """Return the fingerprint of what a stage checks, of its scripts, and of the software that it checks with."""
        package = [] if self.installed else source.PACKAGE
        machine = self.machine
        software = (self.installed, machine.driver, machine.cuda, machine.torch, machine.numpy, machine.python)
        return source.digest_of(source.fingerprint((*package, *TOOLS, *stage.reads)), *software)


@dataclass(frozen=True)
class Stage:
    """A stage of a visit.

    Attributes:
        limit: The most seconds that it may take.
        least: It is not begun with less.
        reads: Its scripts, in the tree; it is done for one state of these and of the package (`Visit.sources_of`).
        run: Takes the visit and the seconds that there are.
    """

    name: str
    title: str
    limit: float
    least: float
    reads: tuple[str, ...]
    run: Callable[[Visit, float], Outcome]


def seconds_to_end(seconds: float) -> float:
    """Return how many of a program's seconds are for its end, after it was told or interrupted to end."""
    return min(15.0, _ENDING * seconds)


def own_limit(seconds: float) -> str:
    """Return the seconds that a program is told, so that it ends by itself before it is stopped."""
    return f"{seconds - seconds_to_end(seconds):.0f}"


def read_report(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def environment_of(site: Path) -> dict[str, str]:
    """Return the variables of programs that import the build."""
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    programs = [str(site / "bin"), os.environ.get("PATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PATH": os.pathsep.join(filter(None, programs)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "VLTR_REQUIRE": "cuda",  # a test that would skip CUDA is an error
    }


def run_stages(visit: Visit, record: Record, stages: Sequence[Stage], again: Sequence[str] = ()) -> None:
    """Run the stages that are not done. The record has each one's result as soon as it ends."""
    sources = {stage.name: visit.sources_of(stage) for stage in stages}
    pending = [stage for stage in stages if stage.name in again or not record.is_done(stage.name, sources[stage.name])]
    # A stage that was cut short has its most valuable part, so stages without any results come first.
    pending.sort(key=lambda stage: record.has(stage.name, sources[stage.name]))
    for stage in pending:
        seconds = min(stage.limit, visit.seconds_left())
        visit.resume = "" if stage.name in again else record.resume_of(stage.name, sources[stage.name])
        if seconds < stage.least:
            record.put_if_missing(entry_of(visit, stage, Outcome(NOT_RUN, "no time was left")))
        elif not run_one(visit, record, stage, seconds):
            return


def run_one(visit: Visit, record: Record, stage: Stage, seconds: float) -> bool:
    """Run a stage and record it. Return False if the user interrupted it."""
    say(f"{stage.title} (at most {seconds:.0f} s) ... ")
    unfinished, start, interrupted = visit.report_of(stage.name), time.monotonic(), False
    unfinished.unlink(missing_ok=True)
    try:
        outcome = stage.run(visit, seconds)
    except KeyboardInterrupt:
        report = read_report(unfinished)
        interrupted, outcome = True, Outcome(FAILED if shows_failure(report) else CUT_SHORT, "interrupted", report)
    except Exception as error:  # an error of these tools; the other stages still run
        outcome = Outcome(FAILED, f"{type(error).__name__}: {error}".replace("\n", " ")[:200], read_report(unfinished))
    if visit.resume:
        outcome = continued(record.entries[stage.name], outcome)
    record.put(entry_of(visit, stage, outcome, time.monotonic() - start))
    unfinished.unlink(missing_ok=True)
    say(f"{outcome.status}: {outcome.summary}\n")
    return not interrupted


def continued(earlier: Entry, outcome: Outcome) -> Outcome:
    """Return the outcome of a stage that went on where its earlier result ended: that of both."""
    return Outcome(
        outcome.status,
        f"{without_note(earlier.summary)}; then {outcome.summary}",
        f"{earlier.detail.strip()}\n\nContinued on {datetime.date.today().isoformat()}:\n\n{outcome.detail}",
        earlier.amount + outcome.amount,
        outcome.resume,
    )


def entry_of(visit: Visit, stage: Stage, outcome: Outcome, seconds: float = 0.0) -> Entry:
    return Entry(
        stage.name,
        stage.title,
        outcome.status,
        outcome.summary,
        outcome.detail,
        round(seconds, 1),
        datetime.date.today().isoformat(),
        visit.commit,
        visit.sources_of(stage),
        outcome.amount,
        outcome.resume,
    )


def say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
