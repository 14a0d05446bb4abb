"""The results of all visits to one kind of device: a file that the next visit continues, and Markdown for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from _lib.machine import write_whole

from gpu.commands import CUT_SHORT, FAILED, NOT_RUN, PASSED, UNAVAILABLE
from gpu.machine import Machine

_NOTE = "; a later visit measured "


@dataclass(frozen=True)
class Entry:
    """The result of one stage.

    Attributes:
        commit: The commit that it checked, for people.
        sources: The fingerprint of the sources and the software that it checked.
        amount: See `Outcome`.
        resume: See `Outcome`.
    """

    name: str
    title: str
    status: str
    summary: str
    detail: str
    seconds: float
    date: str
    commit: str
    sources: str
    amount: int = 0
    resume: str = ""


def entry_from(stored: dict[str, Any]) -> Entry:
    """Return a stored entry. Keys of other versions of these tools are left out.

    Raises:
        TypeError: A key is missing.
    """
    known = {each.name for each in fields(Entry)}
    return Entry(**{key: value for key, value in stored.items() if key in known})


def with_note(summary: str, note: str) -> str:
    """Return the summary with this note in place of an earlier one."""
    return f"{without_note(summary)}{_NOTE}{note}"


def without_note(summary: str) -> str:
    return summary.partition(_NOTE)[0]


@dataclass
class Record:
    """The latest result of each stage, written whole into every folder after each change."""

    machine: Machine
    build: str
    folders: Sequence[Path]
    order: Sequence[str]
    entries: dict[str, Entry] = field(default_factory=dict)

    def load(self) -> None:
        """Read the results of earlier visits, from the first folder that has some.

        A file that cannot be read counts as none. It is renamed, so that the next results do not replace it.
        """
        for folder in self.folders:
            file = folder / f"{self.machine.stem}.json"
            if not file.exists():
                continue
            try:
                found = [entry_from(each) for each in json.loads(file.read_text(encoding="utf-8"))["stages"]]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                damaged = file.replace(file.with_suffix(".damaged"))
                reason = f"{type(error).__name__}: {error}"
                sys.stderr.write(f"gpu_check: earlier results do not count, now {damaged}: {reason}\n")
                continue
            self.entries = {entry.name: entry for entry in found}
            return

    def has(self, name: str, sources: str) -> bool:
        """Tell whether the stage has measured anything of these sources."""
        entry = self.entries.get(name)
        return entry is not None and entry.sources == sources and entry.status not in (NOT_RUN, UNAVAILABLE)

    def is_done(self, name: str, sources: str) -> bool:
        return self.has(name, sources) and self.entries[name].status != CUT_SHORT

    def resume_of(self, name: str, sources: str) -> str:
        """Return where the stage continues, empty at its start."""
        entry = self.entries.get(name)
        return entry.resume if entry is not None and entry.sources == sources and entry.status == CUT_SHORT else ""

    def put(self, entry: Entry) -> None:
        """Record a result. One that continues an earlier one contains it; one with less of the same does not count."""
        earlier = self.entries.get(entry.name)
        is_partial = entry.status in (NOT_RUN, UNAVAILABLE, CUT_SHORT)
        if is_partial and self.has(entry.name, entry.sources) and entry.amount <= earlier.amount:
            entry = replace(earlier, summary=with_note(earlier.summary, f"less, {entry.date}"))
        self.entries[entry.name] = entry
        self.write()

    def put_if_missing(self, entry: Entry) -> None:
        """Record that a stage did not run, unless it has results of an earlier visit, of any sources."""
        earlier = self.entries.get(entry.name)
        if earlier is None or earlier.status == NOT_RUN:
            self.put(entry)

    def write(self) -> None:
        facts = asdict(self.machine) | {"build": self.build}
        stages = [asdict(self.entries[name]) for name in self.order if name in self.entries]
        data = json.dumps({"machine": facts, "stages": stages}, indent=1) + "\n"
        for folder in self.folders:
            write_whole(folder / f"{self.machine.stem}.json", data)
            write_whole(folder / f"{self.machine.stem}.md", self.markdown())

    def exit_status(self, names: Sequence[str]) -> int:
        """Return 0 if these stages passed, 1 if one failed, 3 if the time or a program was missing for one."""
        found = {self.entries[name].status if name in self.entries else NOT_RUN for name in names}
        return 1 if FAILED in found else 0 if found <= {PASSED} else 3

    def table(self) -> str:
        """Return the table of stages, with the commit that each result is of."""
        lines = ["| stage | result | seconds | date | commit | |", "|---|---|---:|---|---|---|"]
        for entry in (self.entries[name] for name in self.order if name in self.entries):
            cells = [entry.title, entry.status, f"{entry.seconds:.0f}", entry.date, entry.commit]
            lines.append(f"| {' | '.join([*cells, entry.summary.replace('|', '/')])} |")
        return "\n".join(lines) + "\n"

    def markdown(self) -> str:
        parts = [
            f"# GPU check, {self.machine.name or 'dry run'}\n",
            f"{self.machine.describe()}. Build of the last visit: {self.build}. Written by `tools/gpu_check.py` after "
            "each stage; a later visit repeats a stage if the package, its scripts, torch or the driver changed.\n",
            self.table(),
        ]
        for entry in (self.entries[name] for name in self.order if name in self.entries):
            if entry.detail.strip():
                parts.append(f"# {entry.title}\n\n{entry.detail.strip()}\n")
        return "\n".join(parts)
