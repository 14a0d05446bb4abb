"""Facts of this installation: versions, the compiled core, the machine, and a check of its results."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from vltr_eval._base.arrays import num_threads
from vltr_eval._base.build import build_info, devices
from vltr_eval._base.terminal import BAD_DATA, OK, add_command
from vltr_eval._base.version import __version__
from vltr_eval._evaluate import evaluate

_OPTIONAL = ("pandas", "scipy", "torch", "ml_dtypes", "pyarrow")
_SWITCHES: dict[str, Callable[[], object]] = {
    "VLTR_NUM_THREADS": num_threads,
    "VLTR_SIMD": build_info,
}  # and what reads each of them


def diagnose() -> tuple[str, bool]:
    """Return the facts as aligned text, and whether the core computes a known result."""
    works, verdict = _self_check()
    lines = [*_installation(), *_core(), *_switches(), *_machine(), ("self-check", verdict)]
    width = max(len(name) for name, _ in lines) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in lines), works


def _installation() -> Iterator[tuple[str, str]]:
    yield "vltr", f"{__version__} in {Path(__file__).parents[1]}"
    yield "python", f"{platform.python_version()} at {sys.executable}"
    yield "numpy", np.__version__
    for package in _OPTIONAL:
        # Looked up, not imported: torch alone takes seconds.
        found = importlib.util.find_spec(package) is not None
        yield package, metadata.version(package) if found else "not installed (optional)"


def _core() -> Iterator[tuple[str, str]]:
    try:
        facts = build_info()
    except ValueError as error:  # a bad switch
        facts = {"build": f"unknown ({error})"}
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        yield f"core {name}", text
    yield "core devices", devices()


def _switches() -> Iterator[tuple[str, str]]:
    for name, read in _SWITCHES.items():
        text = os.environ.get(name, "not set")
        try:
            read()
        except ValueError as error:
            complaint = str(error)
            text = f"BAD: {complaint.removeprefix(f'{name}: ')}" if complaint.startswith(f"{name}: ") else text
        yield name, text


def _machine() -> Iterator[tuple[str, str]]:
    yield "system", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "cpu", _cpu_name()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpus", f"{usable} usable of {os.cpu_count()}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = (line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
            return next(names, "") or platform.processor() or "unknown"
    except OSError:
        return platform.processor() or "unknown"


def _self_check() -> tuple[bool, str]:
    """Evaluate a ranking worked out by hand: N P N N P N, best first, has AP 0.45 and exact SAP 2/3."""
    scores = np.array([[6], [5], [4], [3], [2], [1]], np.float32)
    labels = np.array([[0], [1], [0], [0], [1], [0]], np.uint8)
    try:
        metrics = evaluate(scores, labels, sap="exact", topk=()).metrics()
    except (ValueError, RuntimeError) as error:
        return False, f"FAILED: {error}"
    found = (metrics["mAP"], metrics["expected_SAP"])
    works = np.allclose(found, (0.45, 2 / 3), rtol=0, atol=1e-12)
    return works, "ok" if works else f"FAILED: expected AP 0.45 and exact SAP 0.666667, got {found}"


def add(commands: Any) -> None:
    add_command(commands, "doctor", run, "Describe this installation and verify its results.")


def run(args: argparse.Namespace) -> int:
    text, works = diagnose()
    sys.stdout.write(text)
    return OK if works else BAD_DATA
