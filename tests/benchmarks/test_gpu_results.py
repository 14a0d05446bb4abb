"""The README says what has run on a GPU, and the committed files in benchmarks/results agree.

A visit writes its results there before they are committed, and its own tests must not fail because of them.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ON_NO_GPU = "CUDA has never run on a GPU."


def committed(folder: Path, pattern: str) -> list[Path]:
    """Return the files of a folder that are in git's last commit; skip where there is no git."""
    command = ["git", "-C", str(folder), "ls-tree", "--name-only", "HEAD", "."]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        pytest.skip("there is no git")
    if done.returncode != 0:
        pytest.skip("this is no repository")
    files = [folder / line for line in done.stdout.splitlines()]
    return sorted(file for file in files if file.match(pattern) and file.exists())


def test_results_of_a_visit_count_when_they_are_committed(tmp_path):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "gpu-a.md").write_text("old")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)
    (tmp_path / "gpu-b.md").write_text("of this visit")
    assert committed(tmp_path, "gpu-*.md") == [tmp_path / "gpu-a.md"]


def test_the_readme_names_the_devices_that_have_results_and_no_others():
    found = committed(RESULTS, "gpu-*.md")
    assert (ON_NO_GPU in README) == (not found)
    named = {
        word for word in README.replace("(", " ").replace(")", " ").replace("`", " ").split() if "results/gpu-" in word
    }
    assert named == {file.relative_to(ROOT).as_posix() for file in found}


def test_results_of_a_device_are_of_a_device_and_have_both_files():
    for file in committed(RESULTS, "gpu-*"):
        assert file.suffix in (".md", ".json"), file
        assert file.with_suffix(".json").exists(), file
        assert file.with_suffix(".md").exists(), file
    for file in committed(RESULTS, "gpu-*.json"):
        assert json.loads(file.read_text())["machine"]["name"], f"{file} is of a dry run"
