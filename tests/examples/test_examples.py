"""Every example runs as its header says, and prints the facts it is there to show."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

import notebook_cells

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
RESULTS = "Asymmetric", "evaluated again"


def output_of(name: str, folder: Path) -> str:
    """The standard output of an example, run in an empty folder."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []  # an example leaves no files
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(number) for number in re.findall(pattern, text)]


def test_every_example_has_a_test():
    tested = {"evaluate_arrays", "validate_in_pytorch", "two_ranks", "framestack_loop", "new_method"}
    assert {path.stem for path in SCRIPTS} == tested


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_header_and_length(path):
    source = path.read_text(encoding="utf-8")
    assert f"Run: python examples/{path.name}\n" in source.split('"""')[1]
    assert len(source.splitlines()) <= 62
    assert not re.search(r"(import|from) \S*\b_[a-z]|vltr_\w+\._", source)  # public names only


def test_groups_of_a_numpy_pair(tmp_path):
    out = output_of("evaluate_arrays.py", tmp_path)
    head, medium, tail = (
        float(re.search(rf"^{group} +mAP ([\d.]+)  SAP", out, re.MULTILINE)[1]) for group in ("head", "medium", "tail")
    )
    assert head > medium > tail
    assert f"{head:.4f} 0." in out.split("\n\n")[0]  # the table has the same mean
    assert "sap:15/seed:0|groups:train>500,>100" in out


def test_validation_improves(tmp_path):
    out = output_of("validate_in_pytorch.py", tmp_path)
    means = numbers(r"  mAP ([\d.]+)", out)
    assert len(means) == 5
    assert means[0] < means[-1]


def test_two_ranks_give_the_bytes_of_one_process(tmp_path):
    out = output_of("two_ranks.py", tmp_path)
    assert sorted(numbers(r"(\d+) rows", out)) == [501, 501, 1001]  # one row is repeated
    assert len(set(numbers(r"mAP ([\d.]+)", out))) == 1
    assert "ranks whose JSON equals that of one process: 2\n" in out


def test_framestack_mixes_from_the_second_epoch_on(tmp_path):
    out = output_of("framestack_loop.py", tmp_path)
    betas = re.findall(r"last betas \[(.*)\]", out)
    assert betas[0] == "0."
    assert all(0 < float(beta) < 1 for epoch in betas[1:] for beta in epoch.split())
    means = numbers(r"validation mAP ([\d.]+)", out)
    assert means[0] < means[-1]


def test_a_class_is_trained_shown_and_evaluated(tmp_path):
    out = output_of("new_method.py", tmp_path)
    trained, again = (re.search(rf"^{start}: test mAP ([\d.]+)$", out, re.MULTILINE)[1] for start in RESULTS)
    assert trained == again
    assert re.search(r"^\| Asymmetric \| 1 \| 0\.\d+ ", out, re.MULTILINE)
    assert "  gamma_negative=4.0 (a number)\n      the power of negatives: " in out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_gives_its_stored_outputs(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    stored = notebook_cells.stored_outputs(document)
    assert all(stored)
    assert notebook_cells.without_version(notebook_cells.run_cells(document)) == notebook_cells.without_version(stored)
