"""The README says what has run on a GPU, and the files in benchmarks/results agree."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
ON_NO_GPU = "CUDA has never run on a GPU."


def test_the_readme_names_the_devices_that_have_results_and_no_others():
    found = sorted(RESULTS.glob("gpu-*.md"))
    assert (ON_NO_GPU in README) == (not found)
    named = {
        word for word in README.replace("(", " ").replace(")", " ").replace("`", " ").split() if "results/gpu-" in word
    }
    assert named == {file.relative_to(ROOT).as_posix() for file in found}


def test_results_of_a_device_are_of_a_device_and_have_both_files():
    for file in RESULTS.glob("gpu-*"):
        assert file.suffix in (".md", ".json"), file
        assert file.with_suffix(".json").exists(), file
        assert file.with_suffix(".md").exists(), file
    for file in RESULTS.glob("gpu-*.json"):
        assert json.loads(file.read_text())["machine"]["name"], f"{file} is of a dry run"
