"""gpu_check.py on the emulated build: every stage runs, a second visit repeats nothing, and no budget runs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from devices import EMULATED, is_deferred

ROOT = Path(__file__).parents[2]


STAGES = ("bits", "headline", "tests", "sanitizer", "training", "suite")
SANITIZER = """#!/bin/sh
# Stands for compute-sanitizer: its options, then the program.
test "$1 $3 $5" = "--tool --error-exitcode --print-limit" || exit 8
shift 6
"$@" && echo "========= ERROR SUMMARY: 0 errors"
"""


def visit(out: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools" / "gpu_check.py", "--dry-run", "--installed", "--out", out, *options]
    program = out / "bin" / "compute-sanitizer"
    program.parent.mkdir(exist_ok=True)
    program.write_text(SANITIZER)
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    words = list(map(str, command))
    return subprocess.run(words, capture_output=True, text=True, cwd=out, timeout=900, env=environment)


@pytest.fixture
def fresh(cuda):
    """Return the folder of dry runs without results, on the emulator alone: a GPU has real visits."""
    if not EMULATED:
        pytest.skip("the dry run is for the emulated build")
    if is_deferred():
        pytest.skip("stages have budgets in seconds, for which AddressSanitizer is too slow; run without DEFER")
    for file in (ROOT / "build" / "gpu").glob("gpu-dry-run.*"):
        file.unlink()


def test_a_dry_run_measures_and_the_next_one_repeats_nothing(fresh, tmp_path):
    first = visit(tmp_path, "--budget", "800", "--again", "bits")
    assert first.returncode == 0, first.stdout + first.stderr
    text = (tmp_path / "gpu-dry-run.md").read_text()
    assert "all have the same bits" in text
    assert "Dense classes: 120 x 7" in text
    assert "not measured" not in text.partition("## Targets")[2]
    assert "headline" in (tmp_path / "gpu_check.log").read_text()
    assert not list(tmp_path.glob("*.unfinished.md"))
    for found in ("1 of 1 short trainings on cpu agree", "a mixed epoch of 201 videos: ", "memcheck passed"):
        assert found in text
    stages = json.loads((tmp_path / "gpu-dry-run.json").read_text())["stages"]
    assert [(each["name"], each["status"]) for each in stages] == [(name, "passed") for name in STAGES]
    assert all("sources unknown" in each["commit"] for each in stages)

    second = visit(tmp_path)
    assert (second.returncode, "at most" in second.stderr) == (0, False)
    assert json.loads((tmp_path / "gpu-dry-run.json").read_text())["stages"] == stages


def test_a_dry_run_without_time_says_so(fresh, tmp_path):
    ended = visit(tmp_path, "--budget", "5", "--only", "tests", "sanitizer")
    assert (ended.returncode, ended.stdout.count("| **not run** |")) == (3, 2)
