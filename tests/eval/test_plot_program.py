"""`vltr-eval plot`: every kind of figure, from every input that it takes, and its mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from vltr_eval import Evaluation, compare, evaluate, plot, rank_table
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE = 0, 1, 2
COUNTS = [900, 600, 300, 200, 90, 8]
NAMES = ["zero", "one", "two", "three", "four", "$five$"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with the predictions of two systems, their labels, and what is known of the classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.random((120, 6)) < [0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    labels[0] = True
    base = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    np.save("base.npy", base)
    np.save("new.npy", base + np.float32(0.5) * labels * (np.arange(6) > 2))
    np.save("labels.npy", labels)
    Path("counts.lst").write_text(
        "".join(f"{name} {c} {n}.0\n" for c, (name, n) in enumerate(zip(NAMES, COUNTS, strict=True)))
    )
    Path("names.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Return a function that runs `vltr-eval plot`, checks its exit code and returns the figure or the message."""

    def run_program(*arguments, code=OK, out="figure.svg"):
        try:
            found = main(["plot", *map(str, arguments), *(["--out", out] if out else [])])
        except SystemExit as stop:
            found = stop.code
        done = capsys.readouterr()
        assert found == code, done.err
        assert done.out == ""
        if code == OK:
            assert done.err == ""
            return Path(out).read_bytes()
        assert not Path(out or "figure.svg").exists()
        return done.err.splitlines()[-1]

    return run_program


def saved(ax, out="expected.svg"):
    plot.save(ax, out)
    return Path(out).read_bytes()


def load(*names):
    return [np.load(f"{name}.npy") for name in names]


def save_inputs(**options):
    """Save the report, the evaluation and the rank table of both systems."""
    labels = np.load("labels.npy")
    for name in ("base", "new"):
        evaluation = Evaluation.from_predictions(
            np.load(f"{name}.npy"), labels, train_counts=COUNTS, class_names=NAMES, **options
        )
        evaluation.save(f"{name}.npz")
        Path(f"{name}.json").write_text(evaluation.report.to_json())
        evaluation.table.save(f"{name}-table.npz")
    return evaluation.report


# ---------------------------------------------------------------------------------------------------------------------
# Figures
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", plot.FORMATS)
def test_figures_of_predictions_equal_those_of_the_library(run, kind):
    base, labels = load("base", "labels")
    report = evaluate(base, labels, train_counts=COUNTS, class_names=NAMES, bounds=(250, 50), interval=0.95)
    known = ["base.npy", "labels.npy", "--counts", "counts.lst", "--bounds", "250,50"]
    out, expected = f"figure.{kind}", f"expected.{kind}"
    assert run("train-count", *known, "--intervals", out=out) == saved(
        plot.ap_by_train_count(report, intervals=True), expected
    )
    assert run("groups", *known, "--ci", "0.95", out=out) == saved(plot.group_bars(report), expected)
    assert run("sap", *known, out=out) == saved(plot.sap_by_ap(report), expected)


@pytest.mark.parametrize("metric", ["SAP", "Acc@3", "ROC_AUC", "expected_SAP"])
def test_metrics_of_bars_are_evaluated(run, metric):
    base, labels = load("base", "labels")
    report = evaluate(base, labels, topk=(3,))
    assert run("groups", "base.npy", "labels.npy", "--metric", metric) == saved(plot.group_bars(report, metric))


def test_absent_classes_are_as_the_option_says(run):
    base, labels = load("base", "labels")
    labels[:, 0] = False
    np.save("labels.npy", labels)
    report = evaluate(base, labels, absent="zero", sap=None)
    assert run("groups", "base.npy", "labels.npy", "--absent", "zero") == saved(plot.group_bars(report))


def test_saved_evaluations_and_reports_are_drawn(run):
    save_inputs(interval=0.9)
    reports = {name: Evaluation.load(f"{name}.npz").report for name in ("base", "new")}
    for file in ("new.npz", "new.json"):
        assert run("train-count", file, "--intervals") == saved(plot.ap_by_train_count(reports["new"], intervals=True))
        assert run("sap", file) == saved(plot.sap_by_ap(reports["new"]))
        assert run("groups", file) == saved(plot.group_bars(reports["new"]))
    assert run("groups", "base.json", "new.npz") == saved(plot.group_bars(reports))
    renamed = dict(zip(("A", "B"), reports.values(), strict=True))
    assert run("groups", "base.json", "new.npz", "--names", "A,B") == saved(plot.group_bars(renamed))


@pytest.mark.parametrize(
    "inputs",
    [["new.npz"], ["new-table.npz", "--class-names", "names.txt"], ["new.npy", "labels.npy", "--counts", "counts.lst"]],
)
def test_curves_are_drawn_by_name_and_number(run, inputs):
    save_inputs()
    new, labels = load("new", "labels")
    table = rank_table(new, labels)
    expected = plot.precision_recall(table, [1, 5, 3], names=NAMES, iso_f1=False)
    known = [*inputs, "--class-names", "names.txt"] if "labels.npy" in inputs else inputs
    assert run("pr", *known, "--classes", "one,$five$,3", "--no-iso-f1") == saved(expected)


def test_curves_of_classes_without_names_have_numbers(run):
    new, labels = load("new", "labels")
    expected = saved(plot.precision_recall(rank_table(new, labels), [1, 2]))
    assert run("pr", "new.npy", "labels.npy", "--classes", "1,2") == expected


def test_comparisons_are_drawn(run):
    base, new, labels = load("base", "new", "labels")
    found = compare(base, new, labels=labels, train_counts=COUNTS, names=["base", "new"], level=0.9)
    known = ["base.npy", "new.npy", "--labels", "labels.npy", "--counts", "counts.lst", "--level", "0.9"]
    assert run("scatter", *known) == saved(plot.class_scatter(found))
    assert run("differences", *known) == saved(plot.class_differences(found))
    assert run("differences", *known, "--limit", "all", "--sort", "class") == saved(
        plot.class_differences(found, limit=None, sort="class")
    )
    assert run("outcomes", *known) == saved(plot.group_outcomes(found))
    assert run("trade", *known) == saved(plot.head_tail_trade(found))


def test_one_of_several_systems_is_drawn(run):
    base, new, labels = load("base", "new", "labels")
    found = compare(base, new, base, labels=labels, names=["a", "b", "c"])
    known = ["base.npy", "new.npy", "base.npy", "--labels", "labels.npy", "--names", "a,b,c"]
    assert run("scatter", *known, "--system", "b") == saved(plot.class_scatter(found, "b"))
    assert run("differences", *known, "--system", "b", "--limit", 3) == saved(
        plot.class_differences(found, "b", limit=3)
    )
    assert "system: expected one of b, c, got none" in run("scatter", *known, code=BAD_DATA, out="other.svg")


def test_saved_evaluations_are_compared(run):
    save_inputs()
    found = compare("base.npz", "new.npz")
    assert run("trade", "base.npz", "new.npz") == saved(plot.head_tail_trade(found))
    message = run("outcomes", "base.npz", "new.npz", code=BAD_DATA, out="other.svg")
    assert "comparison: expected tests of single classes, got a comparison of saved evaluations" in message


def test_reliability_is_read_from_the_report(run):
    save_inputs()
    section = {
        "bins": 2,
        "groups": {"overall": {"count": [3, 1], "mean_score": [0.2, 0.9], "frequency": [0, 1], "ECE": 0.2}},
    }
    document = json.loads(Path("new.json").read_text())
    Path("calibrated.json").write_text(json.dumps({**document, "calibration": section}))
    assert run("reliability", "calibrated.json") == saved(plot.reliability(section))
    assert "report: expected calibration, got a report" in run("reliability", "new.npz", code=BAD_DATA, out="b.svg")


def test_reliability_of_predictions(run):
    scores, labels = load("new", "labels")
    np.save("probabilities.npy", 1 / (1 + np.exp(-scores)))
    report = evaluate("probabilities.npy", labels, train_counts=COUNTS, calibration=15)
    found = run("reliability", "probabilities.npy", "labels.npy", "--counts", "counts.lst")
    assert found == saved(plot.reliability(report))
    assert "expected probabilities" in run("reliability", "new.npy", "labels.npy", code=BAD_DATA, out="other.svg")


def test_width_and_title_are_of_the_figure(run):
    save_inputs()
    content = run("groups", "new.npz", "--width", 5, "--title", "Cost in $ and _")
    assert b'width="360pt"' in content
    assert content != run("groups", "new.npz", "--width", 5)


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train-count", "base.npy", "labels.npy"], "arguments are required: --counts, because predictions have no"),
        (
            ["train-count", "base.npy"],
            "INPUT: expected PREDS LABELS, a saved evaluation or a report, got base.npy alone",
        ),
        (["train-count", "base.npz", "new.npz"], "INPUT: expected one evaluation, got 2"),
        (
            ["groups", "base.npz", "--counts", "counts.lst"],
            "argument --counts: expected predictions to evaluate with it",
        ),
        (["groups", "base.json", "--ci"], "argument --ci: expected predictions to evaluate with it, got saved ones"),
        (["groups", "base.npz", "new.npz", "--names", "a"], "argument --names: expected a name for each of 2"),
        (["pr", "base.json", "--classes", "1"], "base.json: expected predictions, a saved evaluation or a"),
        (["pr", "base.npz"], "arguments are required: --classes"),
        (["pr", "base.npz", "--classes", "1", "--counts", "counts.lst"], "argument --counts: expected predictions"),
        (["scatter", "base.npy", "new.npy"], "arguments are required: --labels, because base.npy is no file"),
        (["scatter", "base.npz"], "expected a baseline and at least one system"),
        (["differences", "base.npz", "new.npz", "--limit", "0"], "argument --limit: expected a whole number from 1"),
        (["pie", "base.npz"], "argument KIND: invalid choice: 'pie'"),
        (["groups", "base.npz", "--bins", "3"], "unrecognized arguments: --bins 3"),
    ],
)
def test_bad_usage_of_plot_exits_2(run, arguments, sentence):
    save_inputs()
    assert sentence in run(*arguments, code=BAD_USAGE)


@pytest.mark.parametrize("out", ["figure.jpg", "figure", "svg"])
def test_unknown_suffix_is_bad_usage(run, out):
    message = run("groups", "base.npy", "labels.npy", out=out, code=BAD_USAGE)
    assert f"argument --out: expected a name that ends in one of .pdf, .svg, .png, got {out!r}" in message


def test_inputs_are_not_overwritten(run, capsys):
    save_inputs()
    text = Path("base.json").read_text()
    Path("base.svg").write_text(text)
    with pytest.raises(SystemExit):
        main(["plot", "groups", "base.svg", "--out", "base.svg"])
    assert "base.svg is an input and cannot be an output as well" in capsys.readouterr().err
    assert Path("base.svg").read_text() == text


def test_a_kind_is_required(folder, capsys):
    with pytest.raises(SystemExit):
        main(["plot"])
    assert "the following arguments are required: KIND" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["groups", "base.npz", "--metric", "mApp"], "metric: expected one of mAP, SAP, SAP_std, expected_SAP,"),
        (["groups", "base.npy", "labels.npy", "--metric", "AP"], "metric: expected one of mAP, SAP, SAP_std,"),
        (["groups", "base.npz", "--width", "0"], "width: expected inches from 1 to 40, got 0"),
        (["pr", "base.npz", "--classes", "onne"], "classes: expected a known name, got 'onne'; did you mean one"),
        (["pr", "base.npz", "--classes", "6"], "classes: expected indices from 0 to 5, got 6"),
        (["train-count", "base.npz", "--intervals"], "intervals: expected a report with intervals, got one without"),
        (["pr", "labels.npy", "--classes", "1"], "labels.npy: expected a rank table"),
        (["groups", "base.npy", "missing.npy"], "missing.npy"),
        (["groups", "broken.json"], "broken.json: report: expected JSON"),
    ],
)
def test_bad_data_of_plot_is_one_sentence(run, arguments, sentence):
    save_inputs()
    Path("broken.json").write_text('{"schema": "vltr-eval/report/1",')
    assert sentence in run(*arguments, code=BAD_DATA)


def test_unwritable_figures_are_found_before_the_work(run):
    assert "missing/a.svg: cannot be written" in run(
        "groups", "base.npy", "no-labels.npy", out="missing/a.svg", code=BAD_DATA
    )


def test_program_without_matplotlib_says_how_to_install_it(folder):
    code = """
import sys
sys.modules["matplotlib"] = None
from vltr_eval.program.cli import main
sys.exit(main(["plot", "groups", "base.npy", "labels.npy", "--out", "a.svg"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == BAD_DATA
    assert done.stderr == 'vltr-eval: error: vltr_eval.plot needs matplotlib: pip install "vltr[plot]"\n'


def test_help_of_plot_needs_no_matplotlib(folder):
    code = """
import sys
from vltr_eval.program.cli import main
try:
    main(["plot", "pr", "--help"])
except SystemExit:
    print("matplotlib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"
