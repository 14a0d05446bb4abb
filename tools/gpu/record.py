"""The results of all visits to one kind of device: a file that the next visit continues, and Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from _lib.machine import write_whole

from gpu.commands import CUT_SHORT, FAILED, NOT_RUN, UNAVAILABLE
from gpu.machine import Machine


@dataclass(frozen=True)
class Entry:
    """The result of one stage. sources: the fingerprint of what it checked; commit: for people."""

    name: str
    title: str
    status: str
    summary: str
    detail: str
    seconds: float
    date: str
    commit: str
    sources: str


@dataclass
class Record:
    """The latest result of each stage, written whole into every folder after each change."""

    machine: Machine
    build: str
    folders: Sequence[Path]
    order: Sequence[str]
    entries: dict[str, Entry] = field(default_factory=dict)

    def load(self) -> None:
        """Read the results of earlier visits, from the first folder that has some."""
        for folder in self.folders:
            file = folder / f"{self.machine.stem}.json"
            if file.exists():
                self.entries = {each["name"]: Entry(**each) for each in json.loads(file.read_text())["stages"]}
                return

    def has(self, name: str, sources: str) -> bool:
        """Tell whether the stage has measured anything of these sources."""
        entry = self.entries.get(name)
        return entry is not None and entry.sources == sources and entry.status not in (NOT_RUN, UNAVAILABLE)

    def is_done(self, name: str, sources: str) -> bool:
        return self.has(name, sources) and self.entries[name].status != CUT_SHORT

    def put(self, entry: Entry) -> None:
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
        """Return 0 if these stages are done and none failed, 1 if one failed, 3 if time is missing for one."""
        found = [self.entries[name].status if name in self.entries else NOT_RUN for name in names]
        return 1 if FAILED in found else 3 if {NOT_RUN, CUT_SHORT} & set(found) else 0

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
            "each stage; a later visit repeats a stage if the package or the scripts of the stage have changed.\n",
            self.table(),
        ]
        for entry in (self.entries[name] for name in self.order if name in self.entries):
            if entry.detail.strip():
                parts.append(f"# {entry.title}\n\n{entry.detail.strip()}\n")
        return "\n".join(parts)
