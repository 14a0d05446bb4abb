"""The provenance of a result (machine, versions, command), and how its file is written."""

from __future__ import annotations

import datetime
import os
import platform
import re
import shlex
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TODAY = datetime.date.today().isoformat()


def cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def num_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def versions(*packages: str) -> str:
    """Return one line with the versions of Python and of each package."""
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def provenance(*packages: str) -> str:
    """Return lines with the command, the machine and the versions of a result."""
    from vltr_eval import build_info

    build = build_info()
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name
    command = shlex.join(["python", name, *sys.argv[1:]])
    return f"""Written by `{command}`.
{cpu_model()}, {num_cpus()} CPUs available; SIMD {build["simd"]}, {build["compiler"]}.
Load of the machine before the first run: {load()} (0 is best).
{versions("vltr", *packages)}.
"""


def process_start() -> float:
    """Return when this process began, by `time.monotonic`, so that a time limit includes its imports.

    Where the system does not tell, the time is that of the call.
    """
    now = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - age if 0.0 <= age < 600.0 else now  # some sandboxes state a start of 0


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: a reader sees all of it or the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_results(text: str, file: Path | None) -> None:
    """Print the results, and write them to a file if one is given."""
    sys.stdout.write(text)
    if file:
        write_whole(file, text)
