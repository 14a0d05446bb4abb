"""A source tree without its compiled core prints the remedy, from any module or program."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vltr_eval

PACKAGE = Path(vltr_eval.__file__).parent
STARTS = ["-c", "import vltr_eval"], ["-m", "vltr_eval"], ["-c", "import vltr_eval.compat.sklearn"]


@pytest.fixture
def tree(tmp_path):
    """Return a folder with the packages, without compiled files."""
    for package in (PACKAGE, Path(__file__).parents[2] / "vltr_train"):
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    return tmp_path


def last_line(tree: Path, arguments: list[str]) -> str:
    # -S: without the import hooks of an editable install, which would import that vltr.
    env = {**os.environ, "PYTHONPATH": str(Path(np.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-S", *arguments], cwd=tree, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [*STARTS, ["-c", "import vltr_train"], ["-m", "vltr_train"]], ids=" ".join)
def test_sources_alone_print_the_remedy(tree, arguments):
    line = last_line(tree, arguments)
    assert line.startswith(
        f"ImportError: vltr_eval: expected the compiled core in {tree / 'vltr_eval' / '_base'}, got the sources"
    )
    assert "start Python in another folder" in line
    assert "pip install -e ." in line
    assert "circular" not in line


def test_a_core_of_another_python_is_named(tree):
    (tree / "vltr_eval" / "_base" / "_core.cpython-30-other.so").touch()
    line = last_line(tree, STARTS[0])
    version = ".".join(map(str, sys.version_info[:2]))
    assert f"expected a compiled core for Python {version} in" in line
    assert "got _core.cpython-30-other.so; install vltr with this Python" in line


def test_a_core_that_does_not_load_is_reported(tree):
    (tree / "vltr_eval" / "_base" / f"_core{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    line = last_line(tree, STARTS[0])
    assert line.startswith("ImportError: vltr_eval: expected a compiled core that loads, got ")
    assert "install vltr again" in line
