"""The command `vltr-eval conventions`: its table, its files, its answers and its errors."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import run_within
from small_inputs import LABELS_A, LABELS_B, A, B

from vltr_eval import conventions
from vltr_eval.program.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command in a folder with inputs A and B and checks its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, array in (("a", A), ("labels_a", LABELS_A), ("b", B), ("labels_b", LABELS_B)):
        np.save(f"{name}.npy", array)

    def run_command(*arguments, code=0):
        done = run_within(main, "vltr-eval", ["conventions", *map(str, arguments)])
        assert done.returncode == code, done.stderr
        return done

    return run_command


def test_the_table_is_that_of_the_library(run):
    done = run("b.npy", "labels_b.npy")
    assert done.stdout == conventions(B, LABELS_B).to_text()
    assert done.stderr == ""


def test_answers_come_before_the_table(run):
    done = run("b.npy", "labels_b.npy", "--find", "0.7671", "--find", "57.5 %", "--quiet", "--table")
    assert done.stdout == conventions(B, LABELS_B, find=["0.7671", "57.5 %"]).to_text(table=True)
    lines = done.stdout.splitlines()
    first, second = lines.index("0.7671 (rounded):"), lines.index("57.5 % (rounded as percent):")
    assert first < second < lines.index(next(line for line in lines if "convention" in line and "code" in line))
    assert lines[first + 1] == "  0.76712  step-joined-left-out: SlowFast, mmaction2, vltr_eval.evaluate"


def test_answers_stand_alone_without_the_table(run):
    done = run("b.npy", "labels_b.npy", "--find", "76.7", "--find", "57.5")
    assert done.stdout == conventions(B, LABELS_B, find=["76.7", "57.5"]).to_text()
    assert "from 76.7 to 57.5, the fewest changes:" in done.stdout.splitlines()
    assert "davis-goadrich" not in done.stdout


def test_options_reach_the_conventions(run):
    done = run("a.npy", "labels_a.npy", "--top-k", 2, "--trials", 3, "--threads", 1, "--json", "-")
    document = json.loads(done.stdout)
    expected = conventions(A, LABELS_A, top_k=2, sap=3)
    by_key = {row["key"]: row for row in document["conventions"]}
    assert document["facts"]["top_k"] == 2
    for key in ("youtube8m-map", "sampled"):
        assert by_key[key]["value"] == expected[key].value
    assert by_key["youtube8m-map"]["value"] == pytest.approx(0.72928571, abs=1e-8)


def test_files_hold_the_forms_of_the_result(run):
    done = run("b.npy", "labels_b.npy", "--json", "r.json", "--csv", "r.csv", "--definitions")
    assert done.stdout == conventions(B, LABELS_B).to_text(definitions=True)
    assert Path("r.json").read_text() == conventions(B, LABELS_B).to_json()
    lines = Path("r.csv").read_text().splitlines()
    assert [row["key"] for row in csv.DictReader(lines)] == [value.key for value in conventions(B, LABELS_B)]
    assert run("b.npy", "labels_b.npy", "--csv", "-").stdout == Path("r.csv").read_text()


def test_unknown_cells_and_names_are_read(run):
    labels = LABELS_A.astype(np.int8)
    labels[4, 0] = -1
    np.save("unknown.npy", labels)
    done = run("a.npy", "unknown.npy", "--unknown", "-1", "--json", "-")
    assert json.loads(done.stdout)["facts"]["unknown_cells"] == 1
    Path("named.csv").write_text("id,cat,dog\nx,0.9,0.2\ny,0.1,0.8\nz,0.5,0.3\n")
    Path("labels.csv").write_text("id,dog,cat\nz,0,1\ny,1,0\nx,0,1\n")
    assert json.loads(run("named.csv", "labels.csv", "--json", "-").stdout)["conventions"][0]["value"] == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", "expected a number such as 0.372, 37.2 or 37.20 %, got 'x'"),
        ("0,372", "expected a number such as 0.372, 37.2 or 37.20 %, got '0,372'"),
        ("372", "expected a number from 0 to 1, or percent up to 100, got '372'"),
    ],
)
def test_a_wrong_number_is_bad_usage(run, text, words):
    done = run("b.npy", "labels_b.npy", "--find", text, code=2)
    assert done.stderr.endswith(f"argument --find: {words}\n")


def test_wrong_data_get_one_sentence(run):
    for arguments, words in (
        (("a.npy", "b.npy"), "labels: expected 0 or 1, got "),
        (("no_such.npy", "labels_a.npy"), "no_such.npy: no such file"),
        (("a.npy", "short.npy"), "short.npy: 5 rows of labels, but the scores have 12 rows"),
        (("a.npy", "zeros.npy"), "labels: no positives in any class"),
        (("nan.npy", "labels_a.npy"), "scores: expected numbers, got NaN at row 0, class 1"),
    ):
        np.save("short.npy", LABELS_A[:5])
        np.save("zeros.npy", np.zeros_like(LABELS_A))
        np.save("nan.npy", np.where(np.arange(48).reshape(12, 4) == 1, np.nan, A))
        (line,) = run(*arguments, code=1).stderr.splitlines()
        assert words in line
    assert "is an input" in run("a.npy", "labels_a.npy", "--json", "a.npy", code=2).stderr


def test_other_commands_do_not_import_the_registry(tmp_path):
    np.save(tmp_path / "a.npy", A)
    np.save(tmp_path / "labels.npy", LABELS_A)
    code = """
import sys
from vltr_eval.program.cli import main
main(["a.npy", "labels.npy", "--quiet"])
print([name for name in sys.modules if name.startswith("vltr_eval.convention.")])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['vltr_eval.convention.side_by_side']", done.stderr
