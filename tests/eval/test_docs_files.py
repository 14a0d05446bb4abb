"""Source files that a page names in backquotes exist in the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {page.relative_to(ROOT / "docs").as_posix(): page for page in sorted((ROOT / "docs").rglob("*.md"))}
FOLDERS = ("csrc", "vltr_eval", "vltr_train", "tests", "benchmarks", "tools", "experiments", "examples", "docs")
SOURCE = re.compile(r"`([\w./-]+\.(?:py|cpp|hpp|cu|cuh|inl|md))`")
ELSEWHERE = {"base_main.py", "dy_main.py", "ops/losses.py", "ops/Augment.py", "VideoLT/MOVE.py", "models/models.py"}

FILES = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")}
FILES |= {path.name for path in ROOT.glob("*.*")}


@pytest.mark.parametrize("name", PAGES)
def test_named_files_exist(name):
    named = set(SOURCE.findall(PAGES[name].read_text(encoding="utf-8"))) - ELSEWHERE
    assert [file for file in sorted(named) if not any(f"/{path}".endswith(f"/{file}") for path in FILES)] == []


def test_the_page_of_training_names_the_newest_test_of_the_claims_alone():
    newest = max(path.name for path in (ROOT / "benchmarks" / "results").glob("claims-*.md"))
    named = [name for page in PAGES.values() for name in re.findall(r"claims-[\d-]+\.md", page.read_text("utf-8"))]
    assert named == [newest]
