"""`vltr-eval ava`: the program from files to report, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from programs import run_within

from vltr_eval.compat.ava import evaluate
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3

GROUNDTRUTH = """\
film,0902,0.1,0.1,0.4,0.9,12,0
film,0902,0.5,0.1,0.9,0.9,12,1
film,0902,0.5,0.1,0.9,0.9,17,1
film,0903
film,0904,0.1,0.1,0.4,0.9,12,0
"""
DETECTIONS = """\
film,0902,0.1,0.1,0.4,0.9,12,0.9
film,0902,0.5,0.1,0.9,0.8,12,0.5
film,0902,0.5,0.1,0.9,0.9,17,0.3
film,0902,0.1,0.1,0.4,0.9,17,0.6
film,0903,0.1,0.1,0.4,0.9,12,0.7
film,0904,0.1,0.1,0.2,0.9,12,0.8
"""
LABELMAP = (
    'item {\n  name: "stand"\n  id: 12\n}\nitem {\n  name: "write"\n  id: 17\n}\nitem {\n  name: "swim"\n  id: 20\n}\n'
)
FILES = ("det.csv", "gt.csv", "--labelmap", "map.pbtxt")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, text in {"gt.csv": GROUNDTRUTH, "det.csv": DETECTIONS, "map.pbtxt": LABELMAP}.items():
        Path(name).write_text(text)
    Path("excluded.csv").write_text("film,0904\n")
    Path("counts.txt").write_text("900\n30\n3\n")
    return tmp_path


@pytest.fixture
def run(folder):
    """Run the program in the folder, within this process, and check its exit code; no traceback may ever show."""
    program = shutil.which("vltr-eval", path=str(Path(sys.executable).parent)) or shutil.which("vltr-eval")
    assert program, "the vltr-eval program is not installed beside this Python"

    def run_program(*arguments, code=OK):
        done = run_within(main, program, ["ava", *map(str, arguments)])
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run_program


def test_ava_prints_the_report_on_stdout(run):
    done = run(*FILES)
    report = evaluate("det.csv", "gt.csv", labelmap="map.pbtxt")
    assert done.stdout == report.to_text()
    assert done.stderr.startswith("6 detections in ")
    assert report.metrics()["mAP"] == pytest.approx((1 / 3 + 1 / 3 * 2 / 4 + 1 / 2) / 2)


def test_ava_takes_every_option(run):
    done = run(
        *FILES, "--exclude", "excluded.csv", "--protocol", "slowfast", "--iou", 0.3, "--interpolation", "step",
        "--sap", 4, "--seed", 9, "--counts", "counts.txt", "--bounds", "50,50", "--json", "-", "--quiet",
    )  # fmt: skip
    expected = evaluate(
        "det.csv",
        "gt.csv",
        labelmap="map.pbtxt",
        exclude="excluded.csv",
        protocol="slowfast",
        iou=0.3,
        interpolation="step",
        sap=4,
        seed=9,
        train_counts=[900, 30, 3],
        bounds=(50, 50),
    )
    assert done.stdout == expected.to_json()
    assert done.stderr == ""


def test_ava_writes_files_beside_the_table(run, folder):
    done = run(*FILES, "--sap", "exact", "--json", "r.json", "--csv", "r.csv", "--per-class")
    expected = evaluate("det.csv", "gt.csv", labelmap="map.pbtxt", sap="exact")
    assert done.stdout == expected.to_text(per_class=True)
    assert Path("r.json").read_text() == expected.to_json()
    assert Path("r.csv").read_text() == expected.to_csv()
    official = json.loads(Path("r.json").read_text())["official_metrics"]
    assert official["PascalBoxes_PerformanceByCategory/AP@0.5IOU/swim"] is None
    assert set(os.listdir(folder)) == {
        "gt.csv",
        "det.csv",
        "map.pbtxt",
        "excluded.csv",
        "counts.txt",
        "r.json",
        "r.csv",
    }


def test_ava_judges_limits(run):
    assert run(*FILES, "--fail-under", "mAP=0.5").stdout
    done = run(*FILES, "--fail-under", "mAP=0.51", "--fail-under", "SAP=0.1", code=LIMIT_NOT_MET)
    assert done.stderr.splitlines()[-1] == "vltr-eval: mAP is 0.5, under the limit of 0.51"
    assert "unknown metric 'ROC_AUC'" in run(*FILES, "--fail-under", "ROC_AUC=1", code=BAD_USAGE).stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.csv", "gt.csv"), "vltr-eval: error: nowhere.csv: No such file or directory"),
        (("map.pbtxt", "gt.csv"), "vltr-eval: error: map.pbtxt: line 1: expected 2, 7 or 8 columns, got 1"),
        (("det.csv", "gt.csv", "--labelmap", "gt.csv"), 'gt.csv: expected a label map of item { name: "..." id: N }'),
        (("det.csv", "excluded.csv"), "groundtruth: no boxes of the classes to evaluate, so no metric is defined"),
        (("det.csv", "gt.csv", "--counts", "counts.txt"), "train_counts: 3 counts, but 2 classes are evaluated"),
    ],
)
def test_bad_data_ends_in_one_sentence(run, arguments, complaint):
    done = run(*arguments, code=BAD_DATA)
    assert done.stdout == ""
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--iou", "0"), "argument --iou: expected a number above 0 and up to 1, got '0'"),
        (("--protocol", "coco"), "argument --protocol: invalid choice: 'coco'"),
        (("--csv", "gt.csv"), "gt.csv is an input and cannot be an output as well"),
        (("--sap", "few"), "argument --sap: expected a whole number from 1 to"),
    ],
)
def test_bad_usage_is_refused_before_the_work(run, arguments, complaint):
    assert complaint in run(*FILES, *arguments, code=BAD_USAGE).stderr


def test_help_of_the_program_names_the_command(run):
    assert "sampled AP" in run("--help").stdout
