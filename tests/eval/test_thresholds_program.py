"""`vltr-eval thresholds`, and --thresholds and --calibration of an evaluation."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from vltr_eval import Thresholds, choose_thresholds, evaluate
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3

COUNTS = [900, 600, 300, 200, 90, 8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the probabilities and labels of a validation set and of a test set."""
    path = tmp_path_factory.mktemp("sets")
    for seed, name in enumerate(("val", "test")):
        rng = np.random.default_rng(seed)
        labels = rng.random((120, 6)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
        scores = 1 / (1 + np.exp(-(rng.normal(size=labels.shape) + 2 * labels)))
        np.save(path / f"{name}.npy", scores.astype(np.float32))
        np.save(path / f"{name}_labels.npy", labels)
    np.save(path / "logits.npy", np.float32(5 * scores))
    (path / "counts.lst").write_text("".join(f"class {c} {c} {n}\n" for c, n in enumerate(COUNTS)))
    return path


@pytest.fixture
def run(folder, monkeypatch, tmp_path):
    """Return a function that runs the program in the folder and checks its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for file in folder.iterdir():
        Path(file.name).symlink_to(file)

    def run_program(*arguments, code=OK):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                found = main(list(map(str, arguments)))
            except SystemExit as error:
                found = error.code
        assert found == code, err.getvalue()
        return out.getvalue(), err.getvalue()

    return run_program


VAL, TEST = ("val.npy", "val_labels.npy"), ("test.npy", "test_labels.npy")


@pytest.mark.parametrize(
    ("options", "keywords"),
    [
        ([], {}),
        (["--max", "f1", "--min-positives", 20], {"min_positives": 20}),
        (["--max", "fbeta", "--beta", 2], {"by": "fbeta", "beta": 2}),
        (["--precision-at-least", 0.9], {"by": "precision", "at_least": 0.9}),
        (["--recall-at-least", 0.9], {"by": "recall", "at_least": 0.9}),
        (["--counts", "counts.lst", "--min-positives", 30], {"min_positives": 30, "train_counts": COUNTS}),
        (["--pool", "overall", "--min-positives", 30], {"min_positives": 30, "pool_by": "overall"}),
        (
            ["--counts", "counts.lst", "--bounds", "500,50", "--min-positives", 30],
            {"min_positives": 30, "train_counts": COUNTS, "bounds": (500, 50)},
        ),
    ],
)
def test_the_file_has_the_thresholds_of_the_function(run, options, keywords):
    run("thresholds", *VAL, "--save", "thr.json", "--quiet", *options)
    assert Path("thr.json").read_text() == choose_thresholds(*VAL, **keywords).to_json()


def test_the_table_counts_the_ways_and_says_that_f1_is_optimistic(run):
    out, _ = run("thresholds", *VAL, "--save", "thr.json", "--counts", "counts.lst", "--min-positives", 20)
    lines = out.splitlines()
    chosen = Thresholds.load("thr.json")
    assert lines[0] == "120 rows, thresholds by largest F1"
    assert lines[1].split() == ["classes", "own", "pooled", "none", "OF1", "CF1", "macro", "F1"]
    ways = [str(chosen.chosen.count(how)) for how in ("own", "pooled", "none")]
    assert lines[2].split()[:5] == ["overall", "6", *ways]
    report = evaluate(*VAL, thresholds=chosen, allow_same_set=True)
    assert lines[2].split()[5:] == [f"{report.metrics()[name]:.4f}" for name in ("OF1", "CF1", "macro_F1")]
    assert [line.split()[0] for line in lines[3:6]] == ["head", "medium", "tail"]
    assert "optimistic" in lines[6]
    assert lines[7].startswith("pool tail: 2 classes with fewer than 20 positives share the threshold ")


def test_classes_that_are_never_predicted_are_listed(run):
    np.save(
        "constant.npy",
        np.full((120, 6), 0.5, np.float32) * [1, 1, 1, 0, 0, 0] + np.load("val.npy") * [0, 0, 0, 1, 1, 1],
    )
    out, _ = run("thresholds", "constant.npy", VAL[1], "--precision-at-least", 1, "--min-positives", 0)
    assert out.splitlines()[0] == "120 rows, thresholds by precision at least 1"
    assert out.splitlines()[-1] == "none: 3 classes are never predicted: 0, 1, 2"
    assert not list(Path().glob("*.json"))


def test_the_report_is_that_of_the_function(run):
    run("thresholds", *VAL, "--save", "thr.json", "--quiet")
    out, _ = run(*TEST, "--thresholds", "thr.json", "--counts", "counts.lst", "--calibration", "--json", "r.json")
    expected = evaluate(*TEST, thresholds="thr.json", train_counts="counts.lst", calibration=15)
    assert json.loads(Path("r.json").read_text())["thresholds"] == json.loads(expected.to_json())["thresholds"]
    assert Path("r.json").read_text() == expected.to_json()
    assert out == expected.to_text(width=200)


def test_one_number_is_a_threshold_of_all_classes(run):
    run(*TEST, "--thresholds", "0.5", "--json", "r.json")
    assert Path("r.json").read_text() == evaluate(*TEST, thresholds=0.5).to_json()


def test_the_labels_of_the_choice_need_an_option(run):
    run("thresholds", *VAL, "--save", "thr.json", "--quiet")
    _, err = run(*VAL, "--thresholds", "thr.json", code=BAD_DATA)
    assert "vltr-eval: error: thresholds: expected labels of another set" in err
    assert "--allow-same-set" in err
    out, err = run(*VAL, "--thresholds", "thr.json", "--allow-same-set")
    assert "chosen on these labels, so optimistic" in out
    assert "note: the thresholds were chosen on these labels" in err


def test_limits_on_the_new_metrics(run):
    run("thresholds", *VAL, "--save", "thr.json", "--quiet")
    options = ["--thresholds", "thr.json", "--calibration", 5, "--counts", "counts.lst"]
    run(*TEST, *options, "--fail-under", "OF1=0.1", "--fail-under", "macro_F1_tail=0", "--fail-under", "ECE=0")
    _, err = run(*TEST, *options, "--fail-under", "OF1=0.999", code=LIMIT_NOT_MET)
    assert "OF1 is 0." in err


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["--fail-under", "OF1=0.5"], "argument --fail-under: give --thresholds FILE as well, which OF1 needs"),
        (["--fail-under", "CF1_tail=0.5"], "give --counts FILE and --thresholds FILE as well, which CF1_tail needs"),
        (["--fail-under", "Brier=0.5"], "give --calibration as well, which Brier needs"),
        (["--thresholds", "0.5", "--fail-under", "OF1_tail=0.5"], "give --counts FILE as well, which OF1_tail needs"),
        (["--thresholds", "0.5", "--fail-under", "OF2=0.5"], "unknown metric 'OF2', expected one of OF1,"),
        (["--per-class", "--sort", "F1"], "sort: expected a column"),
        (["--allow-same-set"], "argument --allow-same-set: give --thresholds FILE as well"),
        (["--thresholds", "none.json"], "argument --thresholds: expected a file or a number, got 'none.json'"),
        (["--thresholds", "nan"], "argument --thresholds: expected a file or a number, got 'nan'"),
        (["--calibration", "0"], "expected a number of bins from 1 to 1000, got '0'"),
        (["--thresholds", "thr.json", "--json", "thr.json"], "thr.json is an input and cannot be an output as well"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_the_work(run, options, missing):
    if "thr.json" in options:
        run("thresholds", *VAL, "--save", "thr.json", "--quiet")
    out, err = run(*TEST, *options, code=BAD_USAGE)
    assert missing in err
    assert out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max", "fbeta"], "argument --beta: give --beta B as well"),
        (["--beta", "2"], "argument --beta: give it with --max fbeta"),
        (["--recall-at-least", "0.5", "--beta", "2"], "argument --beta: give it with --max fbeta, not with --recall"),
        (["--beta", "0"], "argument --beta: expected a number above 0, got '0'"),
        (["--precision-at-least", "1.2"], "expected a number above 0 and up to 1, got '1.2'"),
        (["--precision-at-least", "0.5", "--max", "f1"], "not allowed with argument"),
        (["--min-positives", "-1"], "expected a whole number from 0 up, got '-1'"),
        (["--save", "val.npy"], "val.npy is an input and cannot be an output as well"),
    ],
)
def test_options_of_the_choice_that_do_not_fit_are_refused(run, options, message):
    _, err = run("thresholds", *VAL, *options, code=BAD_USAGE)
    assert message in err


def test_a_sort_by_the_new_columns_is_known(run):
    out, _ = run(*TEST, "--thresholds", "0.5", "--calibration", 3, "--per-class", "--sort", "F1:asc", "--limit", 1)
    report = evaluate(*TEST, thresholds=0.5)
    worst = int(np.argmin(report.classes["F1"]))
    assert f"\n    {worst}  " in out


def test_calibration_before_preds_is_explained(run):
    _, err = run("--calibration", *TEST, code=BAD_USAGE)
    assert "got 'test.npy'; write --calibration=15 before PREDS" in err


def test_logits_are_refused_in_one_sentence(run):
    _, err = run("logits.npy", "test_labels.npy", "--calibration", code=BAD_DATA)
    (line,) = [line for line in err.splitlines() if "error" in line]
    assert "expected probabilities from 0 to 1 for calibration" in line
    assert "nothing is guessed" in line


def test_another_file_and_other_classes_are_refused_in_one_sentence(run):
    Path("thr.json").write_text("{}")
    _, err = run(*TEST, "--thresholds", "thr.json", code=BAD_DATA)
    assert err.startswith("vltr-eval: error: thr.json: expected thresholds that `vltr-eval thresholds --save` wrote")
    np.save("few.npy", np.load("val.npy")[:, :3])
    np.save("few_labels.npy", np.load("val_labels.npy")[:, :3])
    run("thresholds", "few.npy", "few_labels.npy", "--save", "few.json", "--quiet")
    _, err = run(*TEST, "--thresholds", "few.json", code=BAD_DATA)
    assert err == "vltr-eval: error: thresholds: 3 classes, but scores has 6\n"


def test_a_failed_choice_leaves_no_file(run):
    _, err = run("thresholds", "val.npy", "counts.lst", "--save", "thr.json", code=BAD_DATA)
    assert err.startswith("vltr-eval: error: ")
    assert not Path("thr.json").exists()


def test_a_saved_evaluation_has_its_thresholds(run):
    run(*TEST, "--thresholds", "0.5", "--save-evaluation", "e.npz", "--quiet")
    run(*TEST, "--thresholds", "0.6", "--baseline", "e.npz", "--max-drop", "mAP=0", "--quiet")


def test_thresholds_that_are_not_saved_have_a_note(run):
    sentence = "vltr-eval: note: the thresholds are not saved; add --save FILE, for --thresholds FILE on a test set\n"
    out, err = run("thresholds", *VAL)
    assert err.endswith(sentence)
    assert run("thresholds", *VAL, "--quiet") == (out, "")
    saved, err = run("thresholds", *VAL, "--save", "t.json")
    assert saved == out
    assert sentence not in err
