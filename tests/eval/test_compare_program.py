"""`vltr-eval compare`, saved evaluations, and the limits on drops against a baseline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vltr_eval import Evaluation, compare, evaluate
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3
COUNTS = [900, 600, 300, 200, 90, 8]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder: a baseline, a system that is better in the head, one that is worse, and their labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    rng = np.random.default_rng(0)
    labels = rng.random((120, 6)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    labels[0] = True
    base = rng.normal(size=labels.shape) + labels
    systems = {"base": base, "better": base + 0.4 * labels, "worse": base - 0.3 * labels, "noisy": base.copy()}
    systems["noisy"][:, 5] += 0.2 * rng.normal(size=len(base)) - 0.3 * labels[:, 5]
    for name, scores in systems.items():
        np.save(f"{name}.npy", scores.astype(np.float32))
    for seed in range(3):
        for name in ("a", "b"):
            Path(f"runs/{name}-{seed}").mkdir(parents=True)
            scores = base + (0.2 * labels if name == "b" else 0) + 0.3 * rng.normal(size=labels.shape)
            np.save(f"runs/{name}-{seed}/preds.npy", scores.astype(np.float32))
    np.save("labels.npy", labels)
    Path("counts.lst").write_text("".join(f"class {c} {c} {n}.0\n" for c, n in enumerate(COUNTS)))
    Path("clusters.txt").write_text("".join(f"video {row // 3}\n" for row in range(len(labels))))
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Return a function that runs the program and checks its exit code."""

    def run_program(*arguments, code=OK):
        try:
            found = main(list(map(str, arguments)))
        except SystemExit as stop:
            found = stop.code
        done = capsys.readouterr()
        assert found == code, done.err
        return done

    return run_program


def load(*names):
    return [np.load(f"{name}.npy") for name in names]


# ---------------------------------------------------------------------------------------------------------------------
# compare
# ---------------------------------------------------------------------------------------------------------------------


def test_compare_prints_the_comparison(run):
    done = run("compare", "base.npy", "better.npy", "--labels", "labels.npy", "--counts", "counts.lst")
    base, better, labels = load("base", "better", "labels")
    expected = compare(base, better, labels=labels, train_counts=COUNTS, names=["base", "better"])
    assert done.out == expected.to_text()
    assert done.err == ""


def test_options_reach_the_comparison(run):
    done = run(
        "compare", "base.npy", "better.npy", "noisy.npy", "--labels", "labels.npy", "--counts", "counts.lst",
        "--bounds", "250,50", "--topk", "2", "--absent", "zero", "--sap", "none", "--level", "0.9", "--threads", "2",
        "--class-metric", "ROC_AUC", "--clusters", "clusters.txt", "--names", "A,B,C", "--json", "-",
    )  # fmt: skip
    base, better, noisy, labels = load("base", "better", "noisy", "labels")
    expected = compare(
        base,
        better,
        noisy,
        labels=labels,
        train_counts=COUNTS,
        bounds=(250, 50),
        topk=(2,),
        absent="zero",
        sap=None,
        level=0.9,
        class_metric="ROC_AUC",
        clusters=np.arange(120) // 3,
        names=["A", "B", "C"],
    )
    assert done.out == expected.to_json()
    assert expected.num_clusters == 40


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_other_forms_go_to_stdout(run, form):
    done = run("compare", "base.npy", "better.npy", "--labels", "labels.npy", f"--{form}", "--json", "out.json")
    base, better, labels = load("base", "better", "labels")
    expected = compare(base, better, labels=labels, names=["base", "better"])
    assert done.out == getattr(expected, f"to_{form}")()
    assert Path("out.json").read_text() == expected.to_json()


def test_limit_chooses_how_many_classes_are_shown(run):
    few, none = (
        run("compare", "base.npy", "better.npy", "--labels", "labels.npy", "--limit", limit).out for limit in (2, 0)
    )
    assert len(few.partition("moved most")[2].split("\n\n")[0].splitlines()) == 1 + 1 + 2
    assert "moved most" not in none


def test_runs_of_a_system_are_one_system(run):
    bases, news = ([f"runs/{name}-{seed}/preds.npy" for seed in range(3)] for name in ("a", "b"))
    done = run("compare", "--base", *bases, "--new", *news, "--new", "better.npy", "--labels", "labels.npy")
    labels = np.load("labels.npy")
    expected = compare(bases, news, ["better.npy"], labels=labels, names=["runs/a-*/preds", "runs/b-*/preds", "better"])
    assert done.out == expected.to_text()
    assert "runs/b-*/preds (3 runs) minus runs/a-*/preds (3 runs)" in done.out
    assert expected.systems[0].of("mAP").seed_error > 0


def test_saved_evaluations_are_compared_without_labels(run):
    for name in ("base", "better"):
        run(f"{name}.npy", "labels.npy", "--counts", "counts.lst", "--save-evaluation", f"{name}.npz", "--quiet")
    done = run("compare", "base.npz", "better.npz", "--json", "-")
    base, better, labels = load("base", "better", "labels")
    expected = compare(base, better, labels=labels, train_counts=COUNTS, names=["base", "better"])
    document = json.loads(done.out)
    assert document["systems"]["better"]["means"] == json.loads(expected.to_json())["systems"]["better"]["means"]


def test_saving_an_evaluation_changes_no_report(run):
    shared = ["labels.npy", "--counts", "counts.lst", "--json", "-", "--quiet"]
    plain = run("base.npy", *shared)
    saved = run("base.npy", *shared, "--save-evaluation", "e.npz")
    assert plain.out == saved.out
    base, labels = load("base", "labels")
    found = Evaluation.load("e.npz")
    assert found.report == evaluate(base, labels, train_counts=COUNTS)
    direct = Evaluation.from_predictions(base, labels, train_counts=COUNTS)
    direct.save("direct.npz")
    assert Path("direct.npz").read_bytes() == Path("e.npz").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["base.npy"], "expected a baseline and at least one system"),
        ([], "expected a baseline and at least one system"),
        (["--base", "base.npy"], "expected a baseline and at least one system"),
        (["base.npy", "better.npy"], "the following arguments are required: --labels"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--level", "95"], "argument --level: expected a level"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--level", "x"], "argument --level: expected a number"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--limit", "-1"], "argument --limit"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--markdown", "--latex"], "not allowed with argument"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--json", "base.npy"], "base.npy is an input"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--class-metric", "F1"], "invalid choice: 'F1'"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--names", "a"], "argument --names: expected a name for"),
        (["base.npy", "better.npy", "--labels", "labels.npy", "--names", "a,a"], "--names: expected different names"),
        (["missing.npz", "base.npy"], "required: --labels, because missing.npz is no file that --save-evaluation"),
    ],
)
def test_bad_usage_of_compare_exits_2(run, arguments, sentence):
    assert sentence in run("compare", *arguments, code=BAD_USAGE).err


@pytest.mark.parametrize(
    "option",
    [
        ["--labels", "labels.npy"],
        ["--counts", "counts.lst"],
        ["--clusters", "clusters.txt"],
        ["--ids", "clusters.txt"],
        ["--columns", "0:3"],
        ["--exclude-columns", "0"],
        ["--header", "yes"],
        ["--topk", "none"],
        ["--sap", "none"],
    ],
)
def test_saved_evaluations_take_no_options_of_predictions(run, option):
    """They were ignored, so that wrong labels went unnoticed."""
    run("base.npy", "labels.npy", "--save-evaluation", "base.npz")
    run("better.npy", "labels.npy", "--save-evaluation", "better.npz")
    done = run("compare", "base.npz", "better.npz", *option, code=BAD_USAGE)
    assert f"argument {option[0]}: expected predictions to evaluate with it, got saved evaluations" in done.err


def test_labels_without_positives_are_bad_data(run):
    np.save("none.npy", np.zeros_like(np.load("labels.npy")))
    done = run("compare", "base.npy", "better.npy", "--labels", "none.npy", "--json", "found.json", code=BAD_DATA)
    assert "labels: no positives in any class" in done.err
    assert not Path("found.json").exists()


def test_an_error_names_the_system_that_has_it(run):
    scores = np.load("better.npy")
    np.save("short.npy", scores[1:])
    scores[3, 4] = np.nan
    np.save("nan.npy", scores)
    done = run("compare", "base.npy", "nan.npy", "--labels", "labels.npy", code=BAD_DATA)
    assert "error: nan: scores: expected numbers, got NaN at row 3, class 4" in done.err
    arguments = ["--base", "base.npy", "--new", "better.npy", "short.npy", "--names", "a,b", "--labels", "labels.npy"]
    assert "error: b, run 2: " in run("compare", *arguments, code=BAD_DATA).err
    done = run("compare", "base.npy", "missing.npy", "--labels", "labels.npy", code=BAD_DATA)
    assert "error: missing.npy: no such file" in done.err


def test_systems_of_other_labels_are_bad_data(run):
    labels = np.load("labels.npy")
    np.save("others.npy", ~labels)
    run("base.npy", "labels.npy", "--save-evaluation", "base.npz")
    run("base.npy", "others.npy", "--save-evaluation", "others.npz")
    done = run("compare", "base.npz", "others.npz", code=BAD_DATA)
    assert "vltr-eval: error: others: expected the labels of base" in done.err


# ---------------------------------------------------------------------------------------------------------------------
# Limits on drops
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def baseline(run):
    run("base.npy", "labels.npy", "--counts", "counts.lst", "--save-evaluation", "base.npz")
    return ["labels.npy", "--counts", "counts.lst", "--baseline", "base.npz"]


def test_a_drop_over_its_limit_exits_3(run, baseline):
    done = run("worse.npy", *baseline, "--max-drop", "mAP=0.002,mAP_tail=0.9", code=LIMIT_NOT_MET)
    (line,) = [line for line in done.err.splitlines() if line.startswith("vltr-eval: ")]
    drop = evaluate(*load("base", "labels")).metrics()["mAP"] - evaluate(*load("worse", "labels")).metrics()["mAP"]
    assert f"{drop:.6g} lower than the baseline" in line
    assert "a drop of 0.002 is allowed" in line
    run("worse.npy", *baseline, "--max-drop", f"mAP={drop + 1e-9}")
    run("worse.npy", *baseline, "--max-drop", f"mAP={drop - 1e-9}", code=LIMIT_NOT_MET)


def test_a_gain_is_no_drop(run, baseline):
    run("better.npy", *baseline, "--max-drop", "mAP=0", "--max-drop", "ROC_AUC=0")
    run("base.npy", *baseline, "--max-drop", "mAP=0,Acc@1=0,expected_SAP_head=0")


def test_a_drop_that_is_not_significant_passes_on_request(run, baseline):
    base, noisy, labels = load("base", "noisy", "labels")
    found = compare(base, noisy, labels=labels, train_counts=COUNTS).systems[0].of("mAP_tail")
    assert found.difference < -0.005
    assert found.p_value > 0.05
    limit = ["--max-drop", "mAP_tail=0.005"]
    run("noisy.npy", *baseline, *limit, code=LIMIT_NOT_MET)
    run("noisy.npy", *baseline, *limit, "--only-if-significant")
    done = run("worse.npy", *baseline, "--max-drop", "mAP=0.005", "--only-if-significant", code=LIMIT_NOT_MET)
    assert "the drop is significant" in done.err


def test_a_drop_that_no_row_has_an_effect_on_does_not_pass(run):
    labels = np.load("labels.npy")
    np.save("perfect.npy", labels.astype(np.float32))
    np.save("constant.npy", np.zeros(labels.shape, np.float32))
    run("perfect.npy", "labels.npy", "--save-evaluation", "e.npz")
    limit = ["--baseline", "e.npz", "--max-drop", "ROC_AUC=0.1", "--only-if-significant"]
    done = run("constant.npy", "labels.npy", *limit, code=LIMIT_NOT_MET)
    assert "ROC_AUC is 0.5, 0.5 lower" in done.err
    assert "the drop cannot be tested" in done.err
    run("perfect.npy", "labels.npy", *limit)


def test_an_undefined_metric_meets_no_limit(run):
    labels = np.load("labels.npy")
    labels[:, 4:] = False
    np.save("no_tail.npy", labels)
    shared = ["no_tail.npy", "--counts", "counts.lst"]
    run("base.npy", *shared, "--save-evaluation", "e.npz")
    limit = ["--baseline", "e.npz", "--max-drop", "mAP_tail=0.5", "--only-if-significant"]
    done = run("base.npy", *shared, *limit, code=LIMIT_NOT_MET)
    assert "mAP_tail is nan" in done.err


def test_summary_has_the_verdicts_and_the_comparison(run, baseline):
    limit = ["--max-drop", "mAP=0.002,mAP_tail=0.9"]
    done = run("worse.npy", *baseline, *limit, "--summary", "-", code=LIMIT_NOT_MET)
    assert done.out.startswith("## vltr-eval: 1 of 2 limits not met\n")
    assert "- **not met**: mAP is " in done.out
    assert "- ok: mAP_tail is " in done.out
    assert "| mAP | " in done.out
    run("worse.npy", *baseline, *limit, "--summary", "page.md", code=LIMIT_NOT_MET)
    assert Path("page.md").read_text() == done.out
    passed = run("better.npy", *baseline, *limit, "--summary", "-")
    assert passed.out.startswith("## vltr-eval: all limits met\n")
    alone = run("better.npy", *baseline, "--summary", "-")
    assert alone.out.startswith("## vltr-eval: comparison with the baseline\n")


def test_a_baseline_that_changes_nothing_is_noted(run, baseline):
    note = "--baseline changes nothing without --max-drop or --summary"
    assert note in run("better.npy", *baseline).err
    assert note not in run("better.npy", *baseline, "--max-drop", "mAP=0.1").err
    assert note not in run("better.npy", *baseline, "--summary", "-").err


def test_both_kinds_of_limits_are_judged(run, baseline):
    limits = ["--fail-under", "mAP=0.99", "--max-drop", "mAP=0"]
    done = run("better.npy", *baseline, *limits, code=LIMIT_NOT_MET)
    assert "under the limit of 0.99" in done.err
    assert "lower than the baseline" not in done.err


def test_an_evaluation_can_replace_its_own_baseline_only_under_another_name(run, baseline):
    done = run("better.npy", *baseline, "--save-evaluation", "base.npz", code=BAD_USAGE)
    assert "base.npz is an input" in done.err
    run("better.npy", *baseline, "--save-evaluation", "new.npz")
    assert Evaluation.load("new.npz").report.metrics()["mAP"] > Evaluation.load("base.npz").report.metrics()["mAP"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-drop", "mAP=0.1"], "argument --max-drop: give --baseline FILE as well"),
        (["--summary", "-"], "argument --summary: give --baseline FILE as well"),
        (["--only-if-significant"], "argument --only-if-significant: give --baseline FILE as well"),
        (["--baseline", "b.npz", "--only-if-significant"], "argument --only-if-significant: give --max-drop"),
        (["--baseline", "b.npz", "--max-drop", "mAP=-1"], "expected METRIC=DROP,... with drops from 0 up"),
        (["--baseline", "b.npz", "--max-drop", "mAP=2"], "expected METRIC=DROP,... with drops from 0 up to 1"),
        (["--baseline", "b.npz", "--max-drop", "mAP"], "expected METRIC=DROP,... with drops from 0 up"),
        (["--baseline", "b.npz", "--max-drop", "map=1"], "unknown metric 'map', expected one of mAP, "),
        (["--baseline", "b.npz", "--max-drop", "mAP_tail=1"], "give --counts FILE as well, which mAP_tail needs"),
        (["--baseline", "b.npz", "--max-drop", "SAP=1"], "unknown metric 'SAP', expected one of mAP, expected_SAP, "),
        (["--save-evaluation", "-"], "an evaluation is binary and needs a file"),
        (["--baseline", "b.npz", "--summary", "labels.npy"], "labels.npy is an input"),
    ],
)
def test_bad_usage_of_limits_exits_2(run, arguments, sentence):
    assert sentence in run("base.npy", "labels.npy", *arguments, code=BAD_USAGE).err


def test_a_baseline_of_other_settings_is_bad_data(run, baseline):
    done = run("base.npy", *baseline, "--topk", "1", "--max-drop", "mAP=0", code=BAD_DATA)
    assert "expected the settings of baseline, topk=(1, 5), got topk=(1,)" in done.err
    done = run("base.npy", "labels.npy", "--baseline", "labels.npy", code=BAD_DATA)
    assert "labels.npy: expected an evaluation" in done.err


def test_ranks_save_the_bytes_of_one_process(run, folder):
    pytest.importorskip("torch")
    shared = ["base.npy", "labels.npy", "--counts", "counts.lst", "--save-evaluation"]
    run(*shared, "one.npz")
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "vltr_eval", *shared, "two.npz"]
    done = subprocess.run([sys.executable, *launch], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert Path("one.npz").read_bytes() == Path("two.npz").read_bytes()
