"""The pages of docs/: their Python blocks run, and the page of the command line has every option of both programs.

`make docs` builds the site, where every warning (a broken link, a page out of the table of contents) is an error.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Blocks that need files or a trained model; they are only compiled.
NOT_RUN = {"evaluate.md": 1, "trackers.md": 9, "training/index.md": 2}

# test_readme.py runs these blocks, once with each of two import lines.
TESTED_ELSEWHERE = {"drop_ins.md"}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Return language and text of the Python blocks, in order; blocks in comments are set-up that the page hides."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page) and name_of(page) not in TESTED_ELSEWHERE], ids=name_of
)
def test_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    skipped = 0
    for language, block in blocks_of(page):
        if language == "pycon":
            test = doctest.DocTestParser().get_doctest(block, names, name_of(page), str(page), 0)
            test.globs = names  # the blocks of a page share their names
            assert "SKIP" not in block
            assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
        elif skipped < NOT_RUN.get(name_of(page), 0):
            ast.parse(block)
            skipped += 1
        else:
            exec(compile(block, str(page), "exec"), names)
    assert skipped == NOT_RUN.get(name_of(page), 0)


def help_of(package: str, *command: str, capsys) -> str:
    module = {"vltr_eval": "vltr_eval.program.cli", "vltr_train": "vltr_train.cli"}[package]
    with pytest.raises(SystemExit):
        importlib.import_module(module).main([*command, "--help"])
    return capsys.readouterr().out


def section(heading: str) -> str:
    """Return a section of the page, with its subsections."""
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    level, start = heading.count("#"), text.index(f"\n{heading}\n") + 1
    end = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(text, start + 1)
    return text[start : end.start() if end else len(text)]


PLOTS = ("train-count", "groups", "sap", "reliability", "pr", "scatter", "differences", "outcomes", "trade")

# Each command with the section that lists its options.
NAMES = {
    "vltr_eval": [
        "",
        "compare",
        "conventions",
        "thresholds",
        "topk",
        "table",
        "check",
        "convert",
        "ava",
        "doctor",
        "demo",
        *(f"plot {kind}" for kind in PLOTS),
    ],
    "vltr_train": ["", "synth", "pack", "inspect", "fit", "eval", "table", "plot", "methods", "sweep"],
}
COMMANDS = [(package, name, f"## {package.replace('_', '-')}") for package, names in NAMES.items() for name in names]


@pytest.mark.parametrize(("package", "command", "heading"), COMMANDS)
def test_page_of_the_command_line_has_every_option(package, command, heading, capsys):
    if package == "vltr_train":
        pytest.importorskip("torch")
    text = help_of(package, *command.split(), capsys=capsys)
    lines = re.findall(r"^  (-.*)$", text, re.MULTILINE)
    options = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", line.split("   ")[0])}
    assert "--help" in options
    described = set(re.findall(r"`(--[a-z][\w-]*)", section(heading)))
    assert options - described == set()
    if command:
        assert re.search(rf"`(vltr-eval )?{command}\b", section(heading))


@pytest.mark.parametrize("heading", ["## vltr-eval", "## vltr-train"])
def test_page_of_the_command_line_has_no_other_option(heading, capsys):
    if heading == "## vltr-train":
        pytest.importorskip("torch")
    taken = [(package, command) for package, command, where in COMMANDS if where == heading]
    texts = [help_of(package, *command.split(), capsys=capsys) for package, command in taken]
    known = {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", text)}
    assert set(re.findall(r"`(--[a-z][\w-]*)", section(heading))) - known == set()


NOT_METHODS = {"index", "departures", "own_methods", "synthetic_data"}


def test_every_method_has_a_page():
    methods = {path.stem for path in (DOCS.parent / "vltr_train" / "methods").glob("[!_]*.py")}
    assert {page.stem for page in (DOCS / "training").glob("*.md")} - NOT_METHODS == methods


def test_every_public_name_is_in_the_reference():
    vltr_eval = importlib.import_module("vltr_eval")
    reference = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"^\.\. auto\w+:: (\w+)$", reference, re.MULTILINE))
    assert set(vltr_eval.__all__) - documented == {"__version__", "distributed"}


def test_every_public_name_of_training_is_in_the_reference():
    pytest.importorskip("torch")
    vltr_train = importlib.import_module("vltr_train")
    reference = (DOCS / "api" / "vltr_train.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\.\. (?:auto\w+:: |currentmodule:: vltr_train\.)(\w+)$", reference, re.MULTILINE))
    assert set(vltr_train.__all__) - documented == set()
