"""The `vltr-eval` program: its output on stdout and stderr, its files, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs import run_within

from vltr_eval import evaluate
from vltr_eval._base.terminal import ProgressBar, wants_style
from vltr_eval.program.cli import main
from vltr_eval.report.report import Report

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3

NUM_ROWS, NUM_CLASSES = 40, 6


@pytest.fixture(scope="session")
def program():
    found = shutil.which("vltr-eval", path=str(Path(sys.executable).parent)) or shutil.which("vltr-eval")
    assert found, "the vltr-eval program is not installed beside this Python"
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with small inputs: six classes, rows with several labels and with none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    rng = np.random.default_rng(0)
    labels = rng.random((NUM_ROWS, NUM_CLASSES)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]
    labels[0], labels[1] = True, False
    np.save("labels.npy", labels)
    np.save("preds.npy", (rng.normal(size=labels.shape) + 2 * labels).astype(np.float32))
    Path("counts.lst").write_text("".join(f"class {c} {c} {n}.0\n" for c, n in enumerate([900, 600, 300, 200, 90, 8])))
    Path("names.txt").write_text("".join(f"class {c}\n" for c in range(NUM_CLASSES)))
    return tmp_path


@pytest.fixture
def run(program, folder):
    """Return a function that runs the program in the folder and checks its exit code; a traceback is a failure.

    The program runs within this process, but in one of its own if an environment is given.
    """

    def run_program(*arguments, code=OK, env=None):
        words = list(map(str, arguments))
        if env is None:
            done = run_within(main, program, words)
        else:
            done = subprocess.run(
                [program, *words], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
            )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr or "--debug" in arguments
        return done

    return run_program


def _inputs():
    return np.load("preds.npy"), np.load("labels.npy")


def _only_line(text):
    (line,) = text.splitlines()
    return line


# ---------------------------------------------------------------------------------------------------------------------
# Results
# ---------------------------------------------------------------------------------------------------------------------


def test_evaluate_prints_the_report_on_stdout(run):
    done = run("preds.npy", "labels.npy")
    assert done.stdout == evaluate(*_inputs()).to_text()
    assert "\033" not in done.stdout
    assert _only_line(done.stderr).startswith("40 x 6 float32 in ")
    assert done.stderr.rstrip().endswith(" GB/s")


def test_quiet_prints_only_the_result(run):
    done = run("preds.npy", "labels.npy", "--quiet")
    assert done.stdout
    assert done.stderr == ""


def test_options_reach_the_report(run):
    done = run(
        "preds.npy", "labels.npy", "--sap", 4, "--seed", 9, "--topk", "2,3", "--counts", "counts.lst",
        "--bounds", "250,50", "--class-names", "names.txt", "--absent", "zero", "--threads", 2, "--json", "-",
    )  # fmt: skip
    expected = evaluate(
        *_inputs(),
        sap=4,
        seed=9,
        topk=(2, 3),
        train_counts=[900, 600, 300, 200, 90, 8],
        bounds=(250, 50),
        class_names=[f"class {c}" for c in range(NUM_CLASSES)],
        absent="zero",
    )
    assert Report.from_json(done.stdout) == expected
    assert [group.num_classes for group in expected.groups] == [6, 3, 2, 1]


def test_prior_adds_a_table_below_the_report(run):
    np.savetxt("deployed.txt", shares := [0.5, 0.25, 0.125, 0.0625, 0.0625, 0])
    done = run(
        "preds.npy", "labels.npy", "--counts", "counts.lst", "--prior", "uniform,inverse", "--prior", "deployed.txt"
    )
    expected = evaluate(
        *_inputs(),
        train_counts=[900, 600, 300, 200, 90, 8],
        prior={"uniform": "uniform", "inverse": "inverse", "deployed": shares},
    )
    assert done.stdout == expected.to_text()
    assert "under other class distributions" in done.stdout
    counts = run("preds.npy", "labels.npy", "--prior", "counts.lst", "--json", "-")
    assert Report.from_json(counts.stdout).metrics()["counts/mAP"] == pytest.approx(
        evaluate(*_inputs(), prior=[900, 600, 300, 200, 90, 8]).metrics()["given/mAP"], abs=1e-12
    )


def test_limits_accept_priors(run):
    value = evaluate(*_inputs(), prior="uniform").metrics()["uniform/mAP"]
    run("preds.npy", "labels.npy", "--prior", "uniform", "--fail-under", f"uniform/mAP={value}")
    done = run(
        "preds.npy",
        "labels.npy",
        "--prior",
        "uniform",
        "--fail-under",
        f"uniform/mAP={value + 1e-4}",
        code=LIMIT_NOT_MET,
    )
    assert "uniform/mAP is " in done.stderr
    run("preds.npy", "labels.npy", "--fail-under", "uniform/mAP=0", code=BAD_USAGE)


@pytest.mark.parametrize(
    ("prior", "sentence"),
    [
        (["longtail"], "argument --prior: longtail needs the training samples of each class, --counts FILE"),
        (["uniform,inverse"], "argument --prior: inverse needs the training samples of each class, --counts FILE"),
        (
            ["tail"],
            "argument --prior: expected longtail, uniform, inverse or a file, got 'tail'; there is no such file",
        ),
        (["uniform,"], "argument --prior: expected names or files, got 'uniform,'"),
        (["uniform", "--prior", "uniform"], "argument --prior: expected different names, got uniform twice"),
        (
            ["./uniform.npy"],
            "argument --prior: expected a file of another name than longtail, uniform, inverse, got './uniform.npy'",
        ),
        (["counts.lst", "--json", "counts.lst"], "counts.lst is an input and cannot be an output as well"),
    ],
)
def test_wrong_priors_are_bad_usage(run, prior, sentence):
    done = run("preds.npy", "labels.npy", "--prior", *prior, code=BAD_USAGE)
    assert sentence in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("1\n2\n", "prior.txt: 2 shares, but the scores have 6 classes"),
        ("1\n2\n3\n4\n5\n-6\n", "prior.txt: expected finite numbers >= 0, got -6.0 for class 5"),
        ("0\n0\n0\n0\n0\n0\n", "prior.txt: expected a share above 0 for some class, got none"),
    ],
)
def test_wrong_files_of_priors_are_bad_data(run, lines, sentence):
    Path("prior.txt").write_text(lines)
    done = run("preds.npy", "labels.npy", "--prior", "prior.txt", code=BAD_DATA)
    assert sentence in _only_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(("sap", "value"), [("exact", "exact"), ("none", None), ("1", 1)])
def test_sap_may_be_exact_or_none(run, sap, value):
    done = run("preds.npy", "labels.npy", "--sap", sap, "--topk", "none", "--json", "-")
    assert Report.from_json(done.stdout) == evaluate(*_inputs(), sap=value, topk=())


def test_per_class_adds_a_line_for_each_class(run):
    plain = run("preds.npy", "labels.npy").stdout
    wide = {"COLUMNS": "120"}
    done = run("preds.npy", "labels.npy", "--per-class", "--class-names", "names.txt", env=wide).stdout
    assert len(done.splitlines()) == len(plain.splitlines()) + 1 + 1 + NUM_CLASSES
    assert "class 5" in done.splitlines()[-1]


def test_json_on_stdout_replaces_the_table(run):
    done = run("preds.npy", "labels.npy", "--json", "-", "--counts", "counts.lst")
    document = json.loads(done.stdout)
    assert document["metrics"]["mAP_tail"] == document["classes"]["AP"][4] / 2 + document["classes"]["AP"][5] / 2


def test_csv_on_stdout_replaces_the_table(run):
    done = run("preds.npy", "labels.npy", "--csv", "-")
    assert done.stdout == evaluate(*_inputs()).to_csv()


def test_files_are_written_beside_the_table(run, folder):
    before = set(os.listdir(folder))
    done = run("preds.npy", "labels.npy", "--json", "r.json", "--csv", "r.csv", "--save-table", "r.table")
    expected = evaluate(*_inputs())
    assert done.stdout == expected.to_text()
    assert (folder / "r.json").read_text() == expected.to_json()
    assert (folder / "r.csv").read_text() == expected.to_csv()
    assert set(os.listdir(folder)) - before == {"r.json", "r.csv", "r.table"}


def test_json_of_two_runs_is_the_same_bytes(run, folder):
    run("preds.npy", "labels.npy", "--json", "one.json", "--threads", 1)
    run("preds.npy", "labels.npy", "--json", "two.json", "--threads", 2, env={"VLTR_SIMD": "generic"})
    assert (folder / "one.json").read_bytes() == (folder / "two.json").read_bytes()


def test_outputs_replace_older_files_and_keep_links(run, folder):
    (folder / "real.json").write_text("old")
    (folder / "link.json").symlink_to("real.json")
    run("preds.npy", "labels.npy", "--json", "link.json")
    assert (folder / "link.json").is_symlink()
    assert json.loads((folder / "real.json").read_text())


@pytest.mark.skipif(not os.path.exists("/dev/stderr"), reason="no /dev/stderr on this system")
def test_outputs_may_be_devices(run):
    assert json.loads(run("preds.npy", "labels.npy", "--quiet", "--json", "/dev/stderr", env={}).stderr)


def test_a_saved_table_gives_the_same_report_without_the_scores(run):
    run("preds.npy", "labels.npy", "--save-table", "run.npz")
    done = run("table", "run.npz", "--counts", "counts.lst", "--json", "-")
    found = Report.from_json(done.stdout)
    expected = evaluate(*_inputs(), sap="exact", topk=(), train_counts=[900, 600, 300, 200, 90, 8])
    assert found.metrics() == expected.metrics()
    assert found.classes == expected.classes
    assert found.rows_without_labels is None
    plain = replace(evaluate(*_inputs(), sap="exact", topk=()), rows_without_labels=None)
    assert run("table", "run.npz", "--per-class").stdout == plain.to_text(per_class=True)


def test_absent_classes_are_listed_and_may_count_as_zero(run, folder):
    preds, labels = _inputs()
    labels[:, [1, 4]] = False
    np.save("labels.npy", labels)
    assert "absent: no positives in 2 of 6 classes, left out of means: 1, 4" in run("preds.npy", "labels.npy").stdout
    done = run("preds.npy", "labels.npy", "--absent", "zero", "--json", "-")
    found = Report.from_json(done.stdout)
    assert found.absent_classes == [1, 4]
    assert found.classes["AP"][1] == found.classes["SAP"][4] == 0
    assert found.metrics()["mAP"] == pytest.approx(evaluate(preds, labels).metrics()["mAP"] * 4 / 6, abs=1e-12)


def test_several_files_are_row_shards(run, folder):
    preds, _ = _inputs()
    whole = run("preds.npy", "labels.npy", "--json", "-").stdout
    bounds = [0, 3, 4, 9, 10, 17, 20, 21, 25, 30, 33, NUM_ROWS]  # eleven shards: part_10 sorts before part_2 as text
    for place in range(11):
        np.save(f"part_{place}.npy", preds[bounds[place] : bounds[place + 1]])
    assert run("part_*.npy", "labels.npy", "--json", "-").stdout == whole
    natural = [f"part_{place}.npy" for place in range(11)]
    assert run(*natural, "labels.npy", "--json", "-").stdout == whole
    done = run(*sorted(natural), "labels.npy", "--json", "-")
    assert done.stdout != whole
    assert "part_10.npy comes before part_2.npy" in done.stderr
    assert run(*natural, "labels.npy").stderr.count("\n") == 1


def test_labels_may_be_class_indices(run, folder):
    preds, _ = _inputs()
    indices = np.arange(NUM_ROWS) % NUM_CLASSES
    np.save("indices.npy", indices)
    done = run("preds.npy", "indices.npy", "--json", "-")
    assert Report.from_json(done.stdout) == evaluate(preds, indices)


def test_one_class_is_evaluated(run, folder):
    preds, labels = _inputs()
    np.save("preds.npy", preds[:, :1])
    np.save("labels.npy", labels[:, :1])
    found = Report.from_json(run("preds.npy", "labels.npy", "--json", "-").stdout)
    assert found.num_classes == 1
    assert found.metrics()["mAP"] == evaluate(preds, labels).classes["AP"][0]


def test_one_row_is_evaluated(run, folder):
    preds, labels = _inputs()
    np.save("preds.npy", preds[:1])
    np.save("labels.npy", labels[:1])
    found = Report.from_json(run("preds.npy", "labels.npy", "--json", "-").stdout)
    assert found.metrics()["mAP"] == 1
    assert np.isnan(found.metrics()["ROC_AUC"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int64"])
def test_score_dtypes_are_compared_without_conversion(run, dtype):
    preds, labels = _inputs()
    preds = (preds * 10).astype(dtype)
    np.save("preds.npy", preds)
    done = run("preds.npy", "labels.npy", "--json", "-")
    assert Report.from_json(done.stdout) == evaluate(preds, labels)
    assert f" {dtype} in " in done.stderr


# ---------------------------------------------------------------------------------------------------------------------
# Limits
# ---------------------------------------------------------------------------------------------------------------------


def test_a_limit_that_holds_prints_nothing(run):
    done = run("preds.npy", "labels.npy", "--fail-under", "mAP=0.1", "--quiet")
    assert done.stderr == ""


def test_a_limit_that_fails_exits_3_after_writing(run, folder):
    done = run(
        "preds.npy", "labels.npy", "--counts", "counts.lst", "--quiet", "--json", "r.json",
        "--fail-under", "mAP=0.01", "--fail-under", "mAP_tail=1.01", "--fail-under", "Acc@1=2",
        code=LIMIT_NOT_MET,
    )  # fmt: skip
    found = Report.from_json((folder / "r.json").read_text()).metrics()
    assert done.stderr.splitlines() == [
        f"vltr-eval: mAP_tail is {found['mAP_tail']:.6g}, under the limit of 1.01",
        f"vltr-eval: Acc@1 is {found['Acc@1']:.6g}, under the limit of 2",
    ]
    assert done.stdout


def test_an_undefined_metric_fails_every_limit(run):
    done = run(
        "preds.npy", "labels.npy", "--counts", "counts.lst", "--bounds", "5000,0", "--quiet",
        "--fail-under", "mAP_head=0", code=LIMIT_NOT_MET,
    )  # fmt: skip
    assert done.stderr == "vltr-eval: mAP_head is nan, under the limit of 0\n"


def test_a_saved_table_has_limits_too(run):
    run("preds.npy", "labels.npy", "--save-table", "run.npz")
    run("table", "run.npz", "--fail-under", "mAP=1.5", code=LIMIT_NOT_MET)
    run("table", "run.npz", "--fail-under", "expected_SAP=0.1")


# ---------------------------------------------------------------------------------------------------------------------
# Bad usage
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "the following arguments are required: PREDS, LABELS"),
        (["preds.npy"], "the following arguments are required: LABELS"),
        (["preds.npy", "labels.npy", "--saps", "3"], "unrecognized arguments: --saps"),
        (["preds.npy", "labels.npy", "--sap", "0"], "argument --sap: expected a whole number from 1 to 2147483647"),
        (["preds.npy", "labels.npy", "--sap", "all"], "argument --sap: expected a whole number from 1 to 2147483647"),
        (["preds.npy", "labels.npy", "--sap", "99999999999"], "to 2147483647, got '99999999999'"),
        (["preds.npy", "labels.npy", "--seed", "-1"], "argument --seed: expected an integer from 0 to 2**64 - 1"),
        (
            ["preds.npy", "labels.npy", "--seed", f"{10**23}"],
            "argument --seed: expected an integer from 0 to 2**64 - 1",
        ),
        (["preds.npy", "labels.npy", "--seed", "one"], "argument --seed: expected a whole number, got 'one'"),
        (["preds.npy", "labels.npy", "--topk", "1,0"], "argument --topk: expected a whole number from 1 up, got '0'"),
        (["preds.npy", "labels.npy", "--topk", "5,5"], "argument --topk: expected different numbers"),
        (["preds.npy", "labels.npy", "--bounds", "100,500"], "argument --bounds: expected HIGH,LOW with HIGH >= LOW"),
        (["preds.npy", "labels.npy", "--bounds", "100"], "argument --bounds: expected HIGH,LOW"),
        (["preds.npy", "labels.npy", "--bounds", "fewshot"], "or one of videolt, few-shot, lvis, got 'fewshot'"),
        (["preds.npy", "labels.npy", "--bounds", "9,-1"], "argument --bounds: expected HIGH,LOW with HIGH >= LOW"),
        (["preds.npy", "labels.npy", "--absent", "skip"], "argument --absent: invalid choice: 'skip'"),
        (["preds.npy", "labels.npy", "--threads", "0"], "argument --threads: expected an integer from 1 to 4096"),
        (["preds.npy", "labels.npy", "--threads", "100000"], "argument --threads: expected an integer from 1 to 4096"),
        (["preds.npy", "labels.npy", "--fail-under", "mAP"], "argument --fail-under: expected METRIC=VALUE"),
        (["preds.npy", "labels.npy", "--fail-under", "mAP=nan"], "argument --fail-under: expected METRIC=VALUE"),
        (["preds.npy", "labels.npy", "--fail-under", "map=0.5"], "unknown metric 'map', expected one of mAP, SAP, "),
        (["preds.npy", "labels.npy", "--fail-under", "mAP_tail=0.5"], "argument --fail-under: give --counts FILE as"),
        (["preds.npy", "labels.npy", "--sap", "none", "--fail-under", "SAP=0.5"], "unknown metric 'SAP'"),
        (["preds.npy", "labels.npy", "--json", "-", "--csv", "-"], "two outputs cannot both go to -"),
        (["preds.npy", "labels.npy", "--json", "a", "--csv", "./a"], "two outputs cannot both go to ./a"),
        (["preds.npy", "labels.npy", "--json", "preds.npy"], "preds.npy is an input and cannot be an output as well"),
        (["preds.npy", "labels.npy", "--save-table", "-"], "a rank table is binary and needs a file"),
        (["table"], "the following arguments are required: FILE"),
        (["table", "run.npz", "--sap", "3"], "unrecognized arguments: --sap 3"),
        (["check", "preds.npy"], "the following arguments are required: LABELS"),
        (["doctor", "who"], "unrecognized arguments: who"),
        (["demo"], "the following arguments are required: DIR"),
        (["demo", "here", "--quality", "bad"], "argument --quality: invalid choice: 'bad'"),
    ],
)
def test_bad_usage_exits_2(run, arguments, sentence):
    done = run(*arguments, code=BAD_USAGE)
    assert sentence in done.stderr
    assert done.stderr.startswith("usage: vltr-eval")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["pack.npz::scores", "pack.npz::labels", "--save-table"], "pack.npz"),
        (["preds.npy", "pack.npz::labels", "--csv"], "./pack.npz"),
        (["part_*.npy", "labels.npy", "--json"], "part_1.npy"),
        (["part_*.npy", "labels.npy", "--csv"], "link.csv"),
        (["part_1.npy", "part_2.npy", "labels.npy", "--json"], "part_2.npy"),
        (["preds.npy", "labels.npy", "--counts", "count?.lst", "--json"], "counts.lst"),
    ],
)
def test_an_input_is_never_overwritten(run, folder, arguments, output):
    preds, labels = _inputs()
    np.savez("pack.npz", scores=preds, labels=labels)
    np.save("part_1.npy", preds[:20])
    np.save("part_2.npy", preds[20:])
    Path("link.csv").symlink_to("part_2.npy")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = run(*arguments, output, code=BAD_USAGE)
    assert f"{output} is an input and cannot be an output as well" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    run(*arguments, "part_3.new")


def test_help_and_version(run):
    text = run("--help").stdout
    for option in ("--sap", "--seed", "--counts", "--bounds", "--topk", "--class-names", "--absent", "--fail-under"):
        assert option in text
    assert "--prior" in text
    for command in ("table", "check", "doctor", "demo"):
        assert f"vltr-eval {command}" in text
        assert run(command, "--help").stdout.startswith(f"usage: vltr-eval {command}")
    assert run("--version").stdout.startswith("vltr-eval 0.")
    assert max(map(len, run("--help", env={"COLUMNS": "80"}).stdout.splitlines())) <= 80


def test_a_command_name_is_a_command_and_a_path_is_a_file(run, folder):
    shutil.copy("preds.npy", "check.npy")
    os.mkdir("check")
    shutil.copy("preds.npy", "check/part_1.npy")
    assert run("--quiet", "check", "check.npy", "labels.npy").stdout.endswith("fit for evaluation\n")
    assert run("./check/part_1.npy", "labels.npy").stdout == evaluate(*_inputs()).to_text()
    assert run("check/*.npy", "labels.npy").stdout == evaluate(*_inputs()).to_text()


# ---------------------------------------------------------------------------------------------------------------------
# Bad data: one sentence on stderr, exit code 1, nothing on stdout, no file written
# ---------------------------------------------------------------------------------------------------------------------


class _Unpickled:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return open, ("unpickled", "w")


def _truncate(name, size=200):
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[:size])


def _change(name, change):
    array = np.load(name)
    np.save(name, array if (changed := change(array)) is None else changed)


def _put(row, column, value):
    def change(array):
        array = array.astype(np.result_type(array, type(value)))
        array[row, column] = value
        return array

    return change


BAD_DATA_CASES = {
    "missing preds": (lambda: os.remove("preds.npy"), ["preds.npy"]),
    "missing labels": (lambda: os.remove("labels.npy"), ["labels.npy"]),
    "preds is a folder": (lambda: (os.remove("preds.npy"), os.mkdir("preds.npy")), ["preds.npy"]),
    "empty file": (lambda: Path("preds.npy").write_bytes(b""), ["preds.npy"]),
    "foreign file": (lambda: Path("preds.npy").write_text("hello"), ["preds.npy"]),
    "truncated header": (lambda: _truncate("preds.npy", 20), ["preds.npy"]),
    "truncated data": (lambda: _truncate("preds.npy"), ["preds.npy"]),
    "truncated labels": (lambda: _truncate("labels.npy"), ["labels.npy"]),
    "complex scores": (lambda: _change("preds.npy", lambda a: a.astype(np.complex64)), ["complex64"]),
    "words as scores": (lambda: _change("preds.npy", lambda a: a.astype(str)), ["preds.npy", "dtype", "str"]),
    "three dimensions": (lambda: _change("preds.npy", lambda a: a[None]), ["(1, 40, 6)"]),
    "object scores": (
        lambda: np.save("preds.npy", np.array([[_Unpickled()]], object), allow_pickle=True),
        ["preds.npy", "object"],
    ),
    "object labels": (
        lambda: np.save("labels.npy", np.array([[_Unpickled()]], object), allow_pickle=True),
        ["labels.npy", "object"],
    ),
    "nan": (lambda: _change("preds.npy", _put(12, 3, np.nan)), ["NaN", "row 12", "class 3"]),
    "fewer rows of labels": (lambda: _change("labels.npy", lambda a: a[:-1]), ["39 rows", "40 rows"]),
    "more classes in labels": (lambda: _change("labels.npy", lambda a: np.hstack([a, a])), ["12", "6"]),
    "label two": (lambda: _change("labels.npy", _put(7, 2, 2)), ["labels", "row 7", "class 2"]),
    "soft label": (lambda: _change("labels.npy", _put(7, 2, 0.5)), ["labels", "row 7", "class 2", "0.5"]),
    "nan label": (lambda: _change("labels.npy", _put(7, 2, np.nan)), ["labels", "row 7", "class 2"]),
    "no rows": (
        lambda: (_change("preds.npy", lambda a: a[:0]), _change("labels.npy", lambda a: a[:0])),
        ["scores: expected at least one row and one class, got shape (0, 6)"],
    ),
    "no classes": (
        lambda: (_change("preds.npy", lambda a: a[:, :0]), _change("labels.npy", lambda a: a[:, :0])),
        ["scores: expected at least one row and one class, got shape (40, 0)"],
    ),
    "no positives": (lambda: _change("labels.npy", np.zeros_like), ["labels: no positives in any class"]),
    "huge class index": (
        lambda: np.save("labels.npy", np.r_[np.zeros(NUM_ROWS - 1, int), 10**15]),
        ["labels", "row 39", str(10**15)],
    ),
    "negative class index": (lambda: np.save("labels.npy", np.r_[-1, np.zeros(NUM_ROWS - 1, int)]), ["row 0", "-1"]),
}


@pytest.mark.parametrize("case", BAD_DATA_CASES)
def test_bad_data_prints_one_sentence(run, folder, case):
    spoil, words = BAD_DATA_CASES[case]
    spoil()
    before = sorted(os.listdir(folder))
    done = run("preds.npy", "labels.npy", "--json", "r.json", "--csv", "r.csv", "--save-table", "t.npz", code=BAD_DATA)
    line = _only_line(done.stderr)
    assert line.startswith("vltr-eval: error: ")
    for word in words:
        assert word in line
    assert done.stdout == ""
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize("case", BAD_DATA_CASES)
def test_check_reports_the_errors_of_evaluation(run, folder, case):
    spoil, _ = BAD_DATA_CASES[case]
    spoil()
    done = run("check", "preds.npy", "labels.npy", code=BAD_DATA)
    assert done.stdout.endswith("an evaluation would fail\n")
    assert "problem" in done.stdout
    assert _only_line(done.stderr).startswith("vltr-eval: error: ")
    assert not (folder / "unpickled").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.lst", "a 0\n" * (NUM_ROWS - 1) + "b 99999999999999999999\n", ["labels.lst", "99999999999999999999"]),
        ("labels.lst", "a 0\n" * (NUM_ROWS - 1) + "b one\n", ["labels.lst", "one"]),
        ("labels.lst", "a 0\n", ["labels.lst", "1 row", "40 rows"]),
        ("labels.json", "[[0], [1]", ["labels.json"]),
        ("labels.txt2", "0\n", ["labels.txt2"]),
    ],
)
def test_bad_label_files_print_one_sentence(run, name, content, words):
    Path(name).write_text(content)
    line = _only_line(run("preds.npy", name, code=BAD_DATA).stderr)
    for word in words:
        assert word in line


def test_shards_that_disagree_print_one_sentence(run):
    np.save("part_1.npy", np.zeros((30, 6), np.float32))
    np.save("part_2.npy", np.zeros((10, 5), np.float32))
    line = _only_line(run("part_*.npy", "labels.npy", code=BAD_DATA).stderr)
    assert "part_2.npy" in line
    assert "no_such_*.npy" in _only_line(run("no_such_*.npy", "labels.npy", code=BAD_DATA).stderr)


def test_bad_class_files_print_one_sentence(run):
    for option, good in (("--counts", "counts.lst"), ("--class-names", "names.txt")):
        run("preds.npy", "labels.npy", option, good)
        assert "no_such" in _only_line(run("preds.npy", "labels.npy", option, "no_such.txt", code=BAD_DATA).stderr)
        short = Path("short" + Path(good).suffix)
        short.write_text("".join(Path(good).read_text().splitlines(keepends=True)[:-1]))
        line = _only_line(run("preds.npy", "labels.npy", option, short, code=BAD_DATA).stderr)
        assert "5" in line
        assert "6" in line


@pytest.mark.parametrize("option", ["--json", "--csv", "--save-table"])
@pytest.mark.parametrize("place", ["no_such_folder/out", "a_folder", "preds.npy/out"])
def test_unwritable_output_is_found_before_the_work(run, folder, option, place):
    os.mkdir("a_folder")
    _change("preds.npy", _put(0, 0, np.nan))  # an error as well, but a later one
    before = sorted(os.listdir(folder))
    done = run("preds.npy", "labels.npy", option, place, code=BAD_DATA)
    line = _only_line(done.stderr)
    assert line.startswith(f"vltr-eval: error: {place}: cannot be written (")
    assert done.stdout == ""
    assert sorted(os.listdir(folder)) == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_full_disk_prints_one_sentence(run):
    done = run("preds.npy", "labels.npy", "--quiet", "--json", "/dev/full", code=BAD_DATA)
    assert "/dev/full: cannot be written (No space left on device)" in _only_line(done.stderr)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps([1, 2])])
def test_an_invalid_table_prints_one_sentence(run, content):
    Path("foreign.npz").write_bytes(content)
    assert "foreign.npz" in _only_line(run("table", "foreign.npz", code=BAD_DATA).stderr)


def test_files_of_other_formats_are_no_tables(run):
    assert "no_such.npz" in _only_line(run("table", "no_such.npz", code=BAD_DATA).stderr)
    np.savez("other.npz", scores=np.zeros(3))
    assert "other.npz" in _only_line(run("table", "other.npz", code=BAD_DATA).stderr)
    assert "preds.npy" in _only_line(run("table", "preds.npy", code=BAD_DATA).stderr)


@pytest.mark.parametrize(("switch", "value"), [("VLTR_SIMD", "foo"), ("VLTR_NUM_THREADS", "many")])
def test_a_bad_environment_variable_prints_one_sentence(run, folder, switch, value):
    env = {switch: value}
    before = sorted(os.listdir(folder))
    done = run("preds.npy", "labels.npy", "--json", "r.json", code=BAD_DATA, env=env)
    assert _only_line(done.stderr).startswith(f"vltr-eval: error: {switch}: expected ")
    assert f"got '{value}'" in done.stderr
    assert sorted(os.listdir(folder)) == before
    assert run("--version", env=env).stdout == run("--version").stdout
    code = "import vltr_eval; print(vltr_eval.__version__)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, check=True)


def test_arrays_are_evaluated_without_modules_that_take_time(folder):
    """Other inputs, other outputs and mistakes need them."""
    unneeded = {
        *("concurrent.futures", "csv", "difflib", "email", "glob", "hashlib", "json", "random", "shlex", "tempfile"),
        *(
            "threading",
            "zipfile",
            "base64",
            "vltr_eval.page.document",
            "vltr_eval.page.template",
            "vltr_eval.report.page",
        ),
    }
    code = f"""
import sys, argparse, dataclasses, numpy, pathlib
others = {unneeded} - set(sys.modules)
from vltr_eval.program.cli import main
code = main(["preds.npy", "labels.npy", "--sap", "15", "--counts", "counts.lst", "--per-class", "--quiet"])
print(code, *sorted(others & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0", done.stderr


def test_an_empty_file_of_scores_is_named(run):
    Path("preds.csv").write_text("")
    assert "preds.csv: scores: expected at least one row" in _only_line(
        run("preds.csv", "labels.npy", code=BAD_DATA).stderr
    )


def test_a_wrong_option_gets_the_nearest_one(run):
    for wrong, right in (("--save-tabel", "--save-table"), ("--treads=2", "--threads"), ("--jsno", "--json")):
        done = run("preds.npy", "labels.npy", wrong, code=BAD_USAGE)
        assert done.stderr.endswith(f"unrecognized arguments: {wrong}; did you mean {right}?\n")
    done = run("preds.npy", "labels.npy", "--zzz", code=BAD_USAGE)
    assert done.stderr.endswith("unrecognized arguments: --zzz\n")


def test_a_wrong_command_gets_the_nearest_one(run):
    for wrong, right in (("tabel", "table"), ("comapre", "compare"), ("treshold", "thresholds")):
        done = run(wrong, "labels.npy", code=BAD_USAGE)
        assert done.stderr.endswith(f"got {wrong!r}, which is neither; did you mean {right}?\n")
    assert run("tables.npy", "labels.npy", code=BAD_DATA).stderr == "vltr-eval: error: tables.npy: no such file\n"
    Path("tabel").write_text("")
    assert "did you mean" not in run("tabel", "labels.npy", code=BAD_DATA).stderr


def test_a_saved_evaluation_is_no_predictions(run):
    run("preds.npy", "labels.npy", "--save-evaluation", "saved.npz")
    done = run("saved.npz", "labels.npy", code=BAD_USAGE)
    assert (
        "saved.npz: expected predictions, got a file of --save-evaluation; `vltr-eval table saved.npz`" in done.stderr
    )


def test_debug_shows_the_traceback(run):
    assert "Traceback" in run("no_such.npy", "labels.npy", "--debug", code=BAD_DATA, env={}).stderr
    assert "Traceback" in run("--debug", "table", "no_such.npz", code=BAD_DATA, env={}).stderr


# ---------------------------------------------------------------------------------------------------------------------
# check, doctor, demo
# ---------------------------------------------------------------------------------------------------------------------


def test_check_describes_good_inputs(run):
    _, labels = _inputs()
    done = run("check", "preds.npy", "labels.npy", "--counts", "counts.lst", "--class-names", "names.txt")
    assert done.stdout.startswith("scores      40 x 6 float32\n")
    assert f"{labels.sum()} positives" in done.stdout
    assert f"rows without labels: {(~labels.any(axis=1)).sum()}\n" in done.stdout
    assert "NaN: none" in done.stdout
    assert "8 to 900 training samples a class" in done.stdout
    assert done.stdout.endswith("fit for evaluation\n")
    assert done.stderr == ""


def test_check_counts_nan_and_infinities_over_shards(run):
    preds, _ = _inputs()
    preds[5, 1], preds[33, 2], preds[35, 0] = np.inf, np.nan, np.nan
    np.save("part_1.npy", preds[:20])
    np.save("part_2.npy", preds[20:])
    done = run("check", "part_*.npy", "labels.npy", code=BAD_DATA)
    assert "40 x 6 float32 in 2 shards" in done.stdout
    assert "infinite: 1, the first at row 5, class 1" in done.stdout
    assert "NaN: 2, the first at row 33, class 2" in done.stdout
    assert "scores: expected numbers, got NaN: 2, the first at row 33, class 2" in done.stderr


def test_check_warns_of_saturation_ties_and_odd_classes(run):
    rng = np.random.default_rng(0)
    scores = np.float32(1 / (1 + np.exp(-40 * rng.normal(size=(500, 4)))))
    scores[:, 3] = 0.25
    labels = rng.random((500, 4)) < 0.3
    labels[:, 1], labels[:, 2] = False, True
    np.save("preds.npy", scores)
    np.save("labels.npy", labels)
    done = run("check", "preds.npy", "labels.npy")
    assert "of scores are exactly 1: a sigmoid or softmax saturated" in done.stdout
    assert "of positives are tied" in done.stdout
    assert "one score for all rows in 1 of 4 classes: 3" in done.stdout
    assert "no positives in 1 of 4 classes: 1" in done.stdout
    assert "no negatives in 1 of 4 classes: 2" in done.stdout
    assert "no better than the 0.5 of random scores" in done.stdout
    assert "verdict     in doubt" in done.stdout


def test_check_collects_several_problems(run):
    _change("preds.npy", _put(0, 0, np.nan))
    _change("labels.npy", lambda a: a[:-1])
    done = run("check", "preds.npy", "labels.npy", "--counts", "no_such.lst", code=BAD_DATA)
    assert done.stdout.count("\nproblem ") == 3


def test_doctor_prints_the_installed_versions(run):
    done = run("doctor", env={"VLTR_NUM_THREADS": "1"})
    facts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert facts["numpy"] == np.__version__
    assert facts["VLTR_NUM_THREADS"] == "1"
    assert facts["self-check"] == "ok"
    assert "core simd" in done.stdout
    assert "core cuda" in done.stdout


@pytest.mark.parametrize(("switch", "value"), [("VLTR_SIMD", "foo"), ("VLTR_NUM_THREADS", "many")])
def test_doctor_finds_a_bad_switch(run, switch, value):
    other = {"VLTR_SIMD": "VLTR_NUM_THREADS", "VLTR_NUM_THREADS": "VLTR_SIMD"}[switch]
    done = run("doctor", code=BAD_DATA, env={switch: value, other: ""})
    facts = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "BAD: expected" in facts[switch]
    assert f"got '{value}'" in facts[switch]
    assert "BAD" not in facts[other]
    assert f"FAILED: {switch}: expected" in facts["self-check"]


def test_demo_writes_a_set_that_evaluates(run, folder):
    done = run("demo", "set", "--scale", "0.002", "--seed", "3")
    files = done.stdout.split()
    assert [Path(file).name for file in files] == ["preds.npy", "labels.npy", "train_counts.lst", "class_names.txt"]
    assert all((folder / file).is_file() for file in files)
    preds, labels, counts, names = files
    table = run(preds, labels, "--counts", counts, "--class-names", names).stdout
    assert [line.split()[0] for line in table.splitlines()[1:5]] == ["overall", "head", "medium", "tail"]
    assert run("demo", "set", "--scale", "0.002", "--quiet").stderr == ""


def test_demo_refuses_an_impossible_set(run, folder):
    assert "scale" in _only_line(run("demo", "set", "--scale", "-1", code=BAD_DATA).stderr)
    assert _only_line(run("demo", "preds.npy", "--scale", "0.002", code=BAD_DATA).stderr)


# ---------------------------------------------------------------------------------------------------------------------
# Terminals
# ---------------------------------------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bold_is_for_terminals_without_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_style(_Terminal())
    assert not wants_style(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_style(_Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_style(_Terminal())


def test_the_program_is_bold_on_a_terminal(program, folder):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    subprocess.run([program, "preds.npy", "labels.npy", "--quiet"], stdout=theirs, check=True, env=env, cwd=folder)
    os.close(theirs)
    assert os.read(ours, 1 << 16).startswith(b"\033[1m")
    os.close(ours)


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock by one that changes only when a test sets it."""
    now = [100.0]
    monkeypatch.setattr("vltr_eval._base.terminal.time.monotonic", lambda: now[0])
    return now


def test_progress_shows_after_two_seconds_and_leaves_nothing(clock):
    terminal = _Terminal()
    with ProgressBar(terminal) as progress:
        clock[0] += 1.9
        progress(0.2)
        assert terminal.getvalue() == ""
        clock[0] += 2.1
        progress(0.4)
        assert terminal.getvalue().startswith("\r[################....")
        assert " 40%, 6 s left" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")


def test_progress_of_a_later_phase_does_not_decrease(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    with ProgressBar(terminal) as progress:
        clock[0] += 3.0
        for fraction in (0.1, 0.8, 0.0, 0.5, 0.9):
            progress(fraction)
    shown = re.findall(r"(\d+)%", terminal.getvalue())
    assert shown == ["10", "80", "80", "80", "90"]


@pytest.mark.parametrize(("stream", "enabled"), [(io.StringIO(), True), (_Terminal(), False)])
def test_progress_is_for_terminals_and_not_for_quiet(clock, stream, enabled):
    with ProgressBar(stream, enabled=enabled) as progress:
        clock[0] += 60
        progress(0.5)
    assert stream.getvalue() == ""


def test_ctrl_c_ends_the_work_at_once_and_leaves_no_file(program, folder):
    rng = np.random.default_rng(0)
    np.save("preds.npy", rng.random((4000, 20)))
    np.save("labels.npy", rng.random((4000, 20)) < 0.1)
    before = sorted(os.listdir(folder))
    command = [program, "preds.npy", "labels.npy", "--sap", "60000", "--json", "r.json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while sorted(os.listdir(folder)) == before:  # until the output file is created
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        stdout, stderr = process.communicate(timeout=30)
    assert time.monotonic() - sent < 5  # a second on an idle machine
    assert process.returncode == 130
    assert stderr == "vltr-eval: interrupted\n"
    assert stdout == ""
    assert sorted(os.listdir(folder)) == before


def test_a_closed_pipe_is_no_error(program, folder):
    done = subprocess.run(
        f"{program} preds.npy labels.npy --quiet --json - | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert done.stdout == "{"
    assert done.stderr == ""
