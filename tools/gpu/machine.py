"""Describe the machine: its device, and what this Python can import."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from gpu import source
from gpu.commands import Runner

# Packages that the tests import besides numpy and torch. Tests of less common packages skip without them.
OF_TESTS = ("pytest", "hypothesis", "ml_dtypes", "scipy", "sklearn")

# In a separate process, so that this one holds no CUDA context.
_PROBE = """
import importlib, json, platform, sys, numpy, torch
def is_missing(name):
    try:
        importlib.import_module(name)
    except Exception:
        return True
facts = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
         "cuda": torch.version.cuda or "none", "missing": list(filter(is_missing, sys.argv[1:]))}
if torch.cuda.is_available():
    device = torch.cuda.get_device_properties(0)
    facts |= {"name": device.name, "arch": f"{device.major}{device.minor}", "memory": device.total_memory,
              "multiprocessors": device.multi_processor_count, "l2": getattr(device, "L2_cache_size", 0)}
print(json.dumps(facts))
"""


_PACKAGE = """
import json, os, vltr_eval, vltr_train
print(json.dumps([vltr_eval.__version__, *(os.path.dirname(each.__file__) for each in (vltr_eval, vltr_train))]))
"""


@dataclass
class Machine:
    """Versions, and the device if there is one. missing: packages of OF_TESTS that do not import."""

    python: str
    torch: str
    numpy: str
    cuda: str
    missing: list[str]
    name: str | None = None
    arch: str = ""
    memory: int = 0
    multiprocessors: int = 0
    l2: int = 0
    driver: str = "unknown"
    nvcc: str = "none"

    @property
    def stem(self) -> str:
        """The name of the results' files."""
        return "gpu-" + re.sub(r"[^a-z0-9]+", "-", (self.name or "dry run").lower()).strip("-")

    def describe(self) -> str:
        device = "no GPU: a dry run on the emulated build"
        if self.name:
            device = (
                f"{self.name} (sm_{self.arch}, {self.multiprocessors} multiprocessors, "
                f"{self.memory / 2**30:.0f} GiB, {self.l2 / 2**20:.0f} MiB of L2)"
            )
        return (
            f"{device}; driver {self.driver}, CUDA runtime of torch {self.cuda}, nvcc {self.nvcc}, torch {self.torch}, "
            f"numpy {self.numpy}, Python {self.python}, {jobs()} CPUs"
        )


def jobs() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def look(runner: Runner, needs_device: bool) -> Machine:
    """Describe this machine.

    Raises:
        ValueError: There is nothing to check here.
    """
    finished = runner.run("look", [sys.executable, "-c", _PROBE, *OF_TESTS], 120)
    if finished.code != 0:
        last = (finished.last_lines.splitlines() or ["nothing"])[-1]
        raise ValueError(f"expected a Python with torch and numpy, got: {last}")
    machine = Machine(**json.loads(finished.output.strip().splitlines()[-1]))
    if machine.name is None and needs_device:
        raise ValueError("torch sees no CUDA device (--dry-run needs none)")
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    machine.driver = version_of(runner, query, r"^\s*(\S+)") or "unknown"
    machine.nvcc = version_of(runner, [os.environ.get("CUDACXX", "nvcc"), "--version"], r"V([\d.]+)") or "none"
    return machine


def installed_package(runner: Runner) -> tuple[str, str]:
    """Return a description and the fingerprint of the vltr that this Python imports, its compiled core included.

    Raises:
        ValueError: It imports none.
    """
    finished = runner.run("installed package", [sys.executable, "-c", _PACKAGE], 120)
    if finished.code != 0:
        last = (finished.last_lines.splitlines() or ["nothing"])[-1]
        raise ValueError(f"--installed: expected a Python with vltr_eval and vltr_train, got: {last}")
    version, *folders = json.loads(finished.output.strip().splitlines()[-1])
    parts = []
    for folder in map(Path, folders):
        files = (file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        parts.append(source.digest_of_files(sorted(files), folder))
    return f"installed {version}, sources unknown", source.digest_of(*parts)


def version_of(runner: Runner, command: list[str], pattern: str) -> str | None:
    """Return what the pattern's group finds in a program's output; None if it is not there or fails."""
    if not shutil.which(command[0]):
        return None
    finished = runner.run(command[0], list(command), 20)
    found = re.search(pattern, finished.output)
    return found.group(1) if finished.code == 0 and found else None
