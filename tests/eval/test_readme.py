"""README, CONTRIBUTING, CHANGELOG, CITATION.cff and docs/drop_ins.md are true.

Each code block of the README runs as printed, and each example of a drop-in holds with both import lines.
"""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


README = text_of("README.md")
DROP_INS = text_of("docs/drop_ins.md")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
TABLE = next(block for language, block in BLOCKS if not language)
SWITCHES = re.findall(r"```diff\n-([^\n]*)\n\+([^\n]*)\n```\n+```pycon\n(.*?)```", DROP_INS, re.DOTALL)
DROP_IN_NAMES = [re.search(r"vltr_eval\.compat(?:\.| import )([\w.]+)", new)[1] for _, new, _ in SWITCHES]
# Originals that are in no registry, so the benchmarks re-express their definitions
DEFINED = {path.stem for path in (ROOT / "benchmarks" / "published").glob("*.py")} & set(DROP_IN_NAMES)
# Their tests have recorded outputs of mmaction2 and SlowFast, which need more than this environment has.
PARTS_OF_AVA = {"ava.mmaction2", "ava.slowfast"}
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]

# Names that earlier blocks of the document import.
SHARED = "import numpy as np, torch"


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a line of the README in a folder, with the Python of the tests."""
    program, *arguments = shlex.split(command)
    return subprocess.run(
        [sys.executable, "-m", program.replace("-", "_"), *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )


# Form


def test_readme_is_short_and_shows_python_early():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert lines.index("```python") < 40 - 1
    assert README.count("![") == 1


def test_contributing_is_short():
    assert len(text_of("CONTRIBUTING.md").split()) <= 1_200


@pytest.mark.parametrize("page", PAGES)
def test_links_have_targets(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text_of(page))
    assert targets
    assert [target for target in targets if "//" not in target and not (ROOT / target).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    """Names in backticks with a folder or a source suffix must exist; <name> is any name, * any text."""
    named = re.findall(r"`((?:\.ci|\.github|[\w.]+/|[\w/]+\.(?=py|cpp|hpp|cu|md|toml|txt))[\w./<>*-]*)`", text_of(page))
    patterns = [re.sub(r"<\w+>", "*", name).rstrip("/") for name in named if not name.startswith(("build/", "demo/"))]
    assert [pattern for pattern in patterns if not any(ROOT.glob(pattern))] == []


# Commands


def test_readme_and_ci_call_the_same_targets():
    targets = re.search(r"^\.PHONY: (.*)$", text_of("Makefile"), re.MULTILINE)[1].split()
    commands = re.findall(r"(?:^    |`)make ([\w-]+)", README, re.MULTILINE)
    assert commands[:2] == ["demo", "test"]
    assert set(commands) <= set(targets)
    for target in ("demo", "test"):
        assert re.search(rf"^step .* make {target}\b", text_of(".ci/run"), re.MULTILINE)


def test_python_prints_the_output_in_the_readme(capsys):
    (block,) = [block for language, block in BLOCKS if language == "python"]
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] == "classes"
    assert printed[-1] == re.search(r"# ([\d.]+)$", block.rstrip())[1]
    promised = re.findall(r"# ([\d. ]+)$", block, re.MULTILINE)
    assert printed[-len(promised) :] == promised


def test_evaluation_prints_the_output_in_the_readme(tmp_path):
    commands = [command for command in COMMANDS if command.startswith("vltr-eval")]
    assert len(commands) >= 5
    done = [run(command, tmp_path) for command in commands]
    assert [result.stderr for result in done if result.returncode] == []
    assert done[1].stdout == TABLE


def test_training_runs(tmp_path):
    """Run the same commands on a tenth of the data, for one epoch."""
    commands = [command for command in COMMANDS if command.startswith("vltr-train")]
    assert len(commands) == 3
    small = {"--scale 0.05": "--scale 0.005", "epochs=20": "epochs=1"}
    done = []
    for command in commands:
        for given, used in small.items():
            command = command.replace(given, used)
        done.append(run(command, tmp_path))
    assert [result.stderr for result in done if result.returncode] == []
    assert "framestack:r101" in done[2].stdout


def test_picture_is_of_this_version():
    """`make picture` draws the committed file. Another matplotlib than that of `make test` writes other bytes."""
    matplotlib = pytest.importorskip("matplotlib")
    if f"matplotlib=={matplotlib.__version__};" not in text_of("constraints.txt"):
        pytest.skip(f"matplotlib {matplotlib.__version__} writes other bytes than that of constraints.txt")
    specification = importlib.util.spec_from_file_location("draw_picture", ROOT / "tools" / "draw_picture.py")
    tool = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(tool)
    assert tool.draw_picture() == text_of("docs/picture.svg")


# One fact in several files


def test_versions_agree():
    version = re.search(r'^version = "(.*)"$', text_of("pyproject.toml"), re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in text_of("CITATION.cff")
    assert f"\n## [{version}]" in text_of("CHANGELOG.md")
    assert f"|vltr:{version}\n" in TABLE


def test_hooks_have_the_versions_of_make_lint():
    pinned = re.findall(r'"([\w-]+==[\w.]+)"', text_of(".pre-commit-config.yaml"))
    assert pinned
    assert set(pinned) <= set(text_of("constraints.txt").split())


# Drop-ins


def run_example(line: str, example: str) -> doctest.TestResults:
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # raised by torcheval at its import
        exec(f"{SHARED}\n{line}", names)
    test = doctest.DocTestParser().get_doctest(example, names, line, "drop_ins.md", 0)
    return doctest.DocTestRunner().run(test)


def test_every_drop_in_has_an_example():
    """ava replaces a program, so its page shows the command; mmengine is replaced by a line of a configuration."""
    names = {path.stem for path in (ROOT / "vltr_eval" / "compat").iterdir() if not path.name.startswith("_")}
    assert sorted({*DROP_IN_NAMES} - PARTS_OF_AVA) == sorted(names - {"ava", "mmengine"})
    assert "`vltr-eval ava`" in DROP_INS


def test_readme_and_the_page_of_drop_ins_have_the_same_import_lines():
    (block,) = [block for language, block in BLOCKS if language == "diff"]
    assert f"```diff\n{block}```" in DROP_INS


@pytest.mark.parametrize(("old", "new", "example"), SWITCHES, ids=DROP_IN_NAMES)
def test_new_import_gives_the_output_on_the_page(old, new, example):
    result = run_example(new, example)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted(set(DROP_IN_NAMES) - DEFINED - PARTS_OF_AVA))
def test_old_import_gives_the_same_output(name):
    old, _, example = SWITCHES[DROP_IN_NAMES.index(name)]
    package = old.split()[1].split(".")[0]
    assert importlib.util.find_spec(package), f"{package}: expected the original to be installed"
    assert run_example(old, example).failed == 0


@pytest.mark.parametrize("name", sorted(DEFINED))
def test_definition_of_the_original_gives_the_same_output(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    _, new, example = SWITCHES[DROP_IN_NAMES.index(name)]
    assert run_example(new.replace("vltr_eval.compat", "published"), example).failed == 0
