"""The README's "Switch in one line": each example holds with the new import line, and with the old one it replaces."""

from __future__ import annotations

import doctest
import importlib.util
import re
import warnings
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Switch in one line\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)[1]
SWITCHES = re.findall(r"```diff\n-(.*?)\n\+(.*?)\n```\n```pycon\n(.*?)```", SECTION, re.DOTALL)
ORIGINALS = {old.split()[1].split(".")[0]: old for old, _, _ in SWITCHES}

# Imports of the blocks above are those of one document.
SHARED = "import numpy as np, torch"


def run_example(line: str, example: str) -> doctest.TestResults:
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torcheval's own, at its import
        exec(f"{SHARED}\n{line}", names)
    test = doctest.DocTestParser().get_doctest(example, names, line, "README.md", 0)
    return doctest.DocTestRunner().run(test)


def test_every_drop_in_has_an_example():
    assert [new.split()[1].split(".")[-1] for _, new, _ in SWITCHES[:4]] == [
        "sklearn",
        "torchmetrics",
        "torcheval",
        "torchnet",
    ]
    assert len(SWITCHES) == 5


@pytest.mark.parametrize(("old", "new", "example"), SWITCHES, ids=ORIGINALS)
def test_new_line_gives_what_the_readme_says(old, new, example):
    result = run_example(new, example)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("package", sorted(set(ORIGINALS) - {"ops", "eval_util"}))
def test_old_line_gives_the_same(package):
    assert importlib.util.find_spec(package), f"{package}: expected the original to be installed"
    old, example = next((old, example) for old, _, example in SWITCHES if old == ORIGINALS[package])
    assert run_example(old, example).failed == 0


@pytest.mark.parametrize(("package", "published"), [("ops", "torchnet"), ("eval_util", "youtube8m")])
def test_definition_of_the_original_gives_the_same(package, published, monkeypatch):
    """These originals are in no registry; the benchmarks have them re-expressed from their definition."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    old, example = next((old, example) for old, _, example in SWITCHES if old == ORIGINALS[package])
    line = old.replace("ops.apmeter", "published.torchnet").replace(
        "import eval_util", f"import published.{published} as eval_util"
    )
    assert run_example(line, example).failed == 0
