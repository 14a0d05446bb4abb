"""Text of reports: table width, order and number of classes, notes, names for loggers, and reprs."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import run_within

import vltr_eval
from vltr_eval._base.terminal import as_called, text_width
from vltr_eval._base.text_table import Column, display_width, printable, shortened, text_table
from vltr_eval._evaluate import evaluate
from vltr_eval.program.cli import main
from vltr_eval.report.names import RANKS, plain_name
from vltr_eval.report.report import Report

TRAIN_COUNTS = [900, 700, 300, 200, 101, 100, 60, 10]
NAMES = ["swim", "run", "jump", "d", "e", "f", "g", "h"]
PROGRAM = [sys.executable, "-m", "vltr_eval"]


def example(num_rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (N, 8) of a fair model, and labels; class 2 has no positives."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, 8)) < 0.2
    labels[0] = True
    labels[:, 2] = False
    return (rng.normal(size=labels.shape) + 1.5 * labels).astype(np.float32), labels


@pytest.fixture(scope="module")
def report():
    return evaluate(*example(), train_counts=TRAIN_COUNTS, class_names=NAMES, prior=("longtail", "inverse"))


def tables_of(text: str) -> list[str]:
    """Return the lines of the tables of a report, without its sentences."""
    kept = [line for line in text.splitlines() if not re.match(r"\S+: |ties|[\d,]+ (rows|of)|not shown|under", line)]
    return [line for line in kept if line]


def class_rows(text: str) -> list[list[str]]:
    lines = text.splitlines()
    first = next(place for place, line in enumerate(lines) if line.split()[:1] == ["class"])
    return [line.split() for line in lines[first + 1 :] if line[:5].strip().isdigit()]


# Width


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_no_line_of_a_table_is_wider_than_requested(report, width):
    lines = tables_of(report.to_text(per_class=True, width=width))
    assert len(lines) == 5 + 4 + 9
    assert max(map(display_width, lines)) <= width


def test_the_standard_table_shows_every_column_at_80(report):
    heading, overall = report.to_text().splitlines()[:2]
    assert heading.split() == ["classes", "undef", "mAP", "SAP+-std", "exact", "chance", "ROC-AUC", "Acc@1", "Acc@5"]
    means = report.metrics()
    spread = f"{means['SAP']:.4f}+-{means['SAP_std']:.4f}"
    shown = [f"{means[name]:.4f}" for name in ("mAP", "expected_SAP", "SAP_chance", "ROC_AUC", "Acc@1", "Acc@5")]
    assert overall.split() == ["overall", "8", "1", shown[0], spread, *shown[1:]]
    assert "not shown" not in report.to_text()


def test_columns_are_dropped_by_rank_and_listed(report):
    text = report.to_text(width=60)
    heading = text.splitlines()[0].split()
    assert heading == ["classes", "undef", "mAP", "SAP+-std", "Acc@1", "Acc@5"]
    line = next(line for line in text.splitlines() if line.startswith("not shown"))
    full = int(re.search(r"COLUMNS=(\d+)", line)[1])
    assert line == f"not shown at 60 columns: chance SAP, exact SAP, ROC-AUC; set COLUMNS={full}, or see the JSON"
    assert "not shown" not in report.to_text(width=full).split("\n\n")[0]
    assert "not shown" in report.to_text(width=full - 1).split("\n\n")[0]
    narrow = report.to_text(width=1).split("\n\n")[0]
    assert narrow.splitlines()[0].split() == ["mAP"]
    assert narrow.splitlines()[-1].startswith(
        "not shown at 1 columns: chance SAP, exact SAP, ROC-AUC, undefined, Acc@5, Acc@1, classes, SAP +- std;"
    )
    assert next(iter(RANKS)) == "AP"


def test_ava_tables_fit_80_columns(tmp_path):
    from vltr_eval.compat.ava import evaluate as evaluate_ava

    (tmp_path / "gt.csv").write_text("v,902,0,0,1,1,1\nv,903,0,0,1,1,2\n")
    (tmp_path / "det.csv").write_text("v,902,0,0,1,1,1,.9\nv,903,0,0,1,1,2,.8\n")
    found = evaluate_ava(tmp_path / "det.csv", tmp_path / "gt.csv", sap=2)
    text = found.to_text(per_class=True)
    assert max(map(len, tables_of(text))) <= 80
    assert [heading.split()[-2:] for heading in text.splitlines() if "chance" in heading] == [["exact", "chance"]] * 2
    assert found.settings.class_columns(["name"]) == list(found.classes)
    assert json.loads(found.to_json())["notes"] == []


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("\u4e2d\u6587", 4), ("e\u0301", 1), ("\uff21", 2), ("\uac00a", 3), ("a\u200db", 2), ("", 0)],
)
def test_display_width_counts_terminal_cells(text, width):
    assert display_width(text) == width


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("\u4e2d\u6587\u5b57\u7b26", 8, "\u4e2d\u6587\u5b57\u7b26"),
        ("\u4e2d\u6587\u5b57\u7b26", 7, "\u4e2d\u6587..."),
        ("\u4e2d\u6587\u5b57\u7b26", 6, "\u4e2d..."),  # 5 cells: a wide character is not halved
        ("e\u0301e\u0301e\u0301e\u0301e\u0301", 4, "e\u0301..."),
        ("abcdef", 5, "ab..."),
        ("abcdef", 2, ".."),
    ],
)
def test_names_are_cut_by_cells_with_an_ellipsis(text, width, expected):
    assert shortened(text, width) == expected
    assert display_width(shortened(text, width)) <= width


def test_control_characters_are_escaped():
    assert printable("a\x1b[31m\nb\u202ec\u200d\u4e2d") == "a\\x1b[31m\\nb\\u202ec\u200d\u4e2d"


def test_wide_names_keep_the_columns_aligned():
    names = ["\u4e2d\u6587", "plain", "e\u0301t\u0301", "\x1b[2J", "a\nb", "\uac00\ub098\ub2e4", "\u202ex", "h"]
    text = evaluate(*example(), sap=None, topk=(), class_names=names).to_text(per_class=True)
    rows = text.split("\n\n")[-1].splitlines()
    assert len(rows) == 1 + 8
    assert len(set(map(display_width, rows))) == 1
    assert text.isprintable() is False
    assert "".join(text.split("\n")).replace("\u0301", "").isprintable()


def test_long_names_take_the_remaining_width():
    names = [f"a very long name of the class with index {c}, longer than any line of a terminal is" for c in range(8)]
    text = evaluate(*example(), sap=None, topk=(), class_names=names).to_text(per_class=True)
    rows = text.split("\n\n")[-1].splitlines()
    assert {len(row) for row in rows} == {80}
    assert "not shown" not in text
    assert " 0 a very long name of the class with index 0" in rows[1]
    full = evaluate(*example(), sap=None, topk=(), class_names=names).to_text(per_class=True, width=None)
    assert all(name in full for name in names)


def test_a_name_is_shortened_before_a_column_is_dropped():
    name, value = Column("name", ["x" * 40], is_name=True), Column("value", ["1.0000"], rank=1)
    assert text_table([name, value], width=30).splitlines() == ["name".ljust(23) + "  value", "x" * 20 + "... 1.0000"]
    assert text_table([name, value], width=20).splitlines()[:2] == ["name", "x" * 17 + "..."]


NAMES_OF_GROUPS = ["mAP", *(f"expected_SAP_topic:{group}" for group in ("many tails", "many heads", "few"))]


def test_names_that_would_become_the_same_are_cut_in_the_middle():
    columns = [Column("", NAMES_OF_GROUPS, is_name=True), Column("value", ["1.0000"] * 4)]
    assert text_table(columns, width=30).splitlines()[1:] == [
        "mAP                     1.0000",
        "expected_S...many tails 1.0000",
        "expected_S...many heads 1.0000",
        "expected_SAP_topic:few  1.0000",
    ]
    # Names that differ where they are kept are cut at their ends.
    assert text_table(columns, width=35).splitlines()[2].startswith("expected_SAP_topic:many t...")


@given(
    st.lists(st.text(st.sampled_from("ab\u4e2de\u0301\u200d"), min_size=1, max_size=30), min_size=1, max_size=6),
    st.integers(1, 30),
)
def test_names_cut_anywhere_fit_and_stay_as_different_as_those_cut_at_their_ends(names, width):
    table = text_table([Column("", names, is_name=True), Column("n", list("123456")[: len(names)])], width=width + 2)
    shown = [line[:-1].rstrip() for line in table.splitlines()[1:]]
    width = max(width, 16)
    assert all(display_width(name) <= width for name in shown)
    assert len(set(shown)) >= len({shortened(name, width) for name in names})


def test_undefined_values_are_dashes_in_text_alone(report):
    row = class_rows(report.to_text(per_class=True, width=None))[2]
    assert row == ["2", "jump", "medium", "300", "0", *["-"] * 7]
    assert all("nan" not in line for line in tables_of(report.to_text(per_class=True)))
    assert report.to_csv().splitlines()[3].split(",")[6] == ""
    assert json.loads(report.to_json())["classes"]["AP"][2] is None
    one_trial = evaluate(*example(), sap=1).to_text(width=None).splitlines()[1]
    assert "+-" not in one_trial
    assert "nan" not in one_trial


@pytest.mark.parametrize(("columns", "width"), [("132", 132), ("40", 40), (None, 80), ("0", 80), ("wide", 80)])
def test_width_of_stdout_comes_from_columns_or_is_80(monkeypatch, columns, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    code = "from vltr_eval._base.terminal import text_width; print(text_width())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(width)


@pytest.mark.parametrize(("cells", "shown"), [(101, True), (60, False)])
def test_a_terminal_sets_the_width(tmp_path, monkeypatch, cells, shown):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    monkeypatch.delenv("COLUMNS", raising=False)
    scores, labels = example()
    np.save(tmp_path / "preds.npy", scores)
    np.save(tmp_path / "labels.npy", labels)
    if not hasattr(termios, "tcsetwinsize"):
        pytest.skip("setting the size of a terminal needs Python 3.11")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, cells))
    subprocess.run([*PROGRAM, "preds.npy", "labels.npy", "--quiet"], stdout=theirs, check=True, cwd=tmp_path)
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert ("chance SAP  ROC-AUC" in text) == shown
    assert ("not shown at 60 columns" in text) != shown


def test_text_width_is_positive():
    assert text_width() > 0


# Order and number of classes


def ids(report: Report, sort: str | None, limit: int | None = None) -> list[int]:
    return [int(row[0]) for row in class_rows(report.to_text(per_class=True, sort=sort, limit=limit))]


def test_classes_sort_by_a_column_with_undefined_last(report):
    ap = report.classes["AP"]
    ascending = sorted((c for c in range(8) if c != 2), key=lambda c: ap[c])
    assert ids(report, "AP:asc") == [*ascending, 2]
    assert ids(report, "AP") == ids(report, "AP:desc") == [*ascending[::-1], 2]
    assert ids(report, "train_count:asc") == [7, 6, 5, 4, 3, 2, 1, 0]
    assert ids(report, "name") == sorted(range(8), key=lambda c: NAMES[c])
    assert ids(report, "name:desc") == sorted(range(8), key=lambda c: NAMES[c])[::-1]
    assert ids(report, None) == ids(report, "class") == list(range(8))
    assert ids(report, "class:desc") == list(range(8))[::-1]
    shifted = report.classes["inverse/AP"]
    assert ids(report, "inverse/AP")[0] == max((c for c in range(8) if c != 2), key=lambda c: shifted[c])


@pytest.mark.parametrize("sort", ["num_positives", "num_positives:asc"])
def test_equal_values_stay_in_the_order_of_classes(report, sort):
    equal = replace(report, classes={**report.classes, "num_positives": (3, 1, 3, 1, 3, 1, 3, 1)})
    expected = [0, 2, 4, 6, 1, 3, 5, 7]
    assert ids(equal, sort) == (expected if sort == "num_positives" else [1, 3, 5, 7, 0, 2, 4, 6])


def test_a_limit_shows_the_first_lines_and_counts_the_rest(report):
    assert ids(report, "AP:asc", 3) == ids(report, "AP:asc")[:3]
    text = report.to_text(per_class=True, limit=3)
    assert text.endswith("\n5 of 8 classes left out by the limit\n")
    assert "left out by the limit" not in report.to_text(per_class=True, limit=8)
    assert ids(report, None, 100) == list(range(8))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"sort": "ap"},
            r"sort: expected a column, COLUMN:asc or COLUMN:desc, got 'ap'; did you mean AP\? the columns",
        ),
        ({"sort": "AP:down"}, "got 'AP:down'; .*the columns are class, name, group, train_count, num_positives"),
        ({"sort": "train"}, "did you mean train_count"),
        ({"sort": ""}, "sort: expected a column"),
        ({"limit": 0}, "limit: expected a number of classes from 1 up, got 0"),
        ({"limit": True}, "limit: expected a number of classes from 1 up, got True"),
        ({"limit": 2.0}, "limit: expected a number of classes from 1 up, got 2.0"),
    ],
)
def test_wrong_order_or_limit_is_refused(report, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        report.to_text(per_class=True, **options)
    with pytest.raises(ValueError, match="expected per_class=True beside it"):
        report.to_text(**options)


def test_settings_list_the_columns_of_the_report(report):
    assert report.settings.class_columns(["name", "group", "train_count"], ["longtail", "inverse"]) == [
        "class",
        *report.classes,
    ]
    plain = evaluate(*example(), sap=None, topk=())
    assert plain.settings.class_columns() == ["class", *plain.classes]


# Notes


def test_notes_are_in_json_and_at_the_end_of_str():
    plain = evaluate(*example())
    assert plain.notes == ()
    assert str(plain) == plain.to_text()
    noted = replace(plain, notes=("row 3 was odd", "so was row 5"))
    assert str(noted) == plain.to_text() + "note: row 3 was odd\nnote: so was row 5\n"
    assert noted.to_text() == plain.to_text()
    document = json.loads(noted.to_json())
    assert document["notes"] == ["row 3 was odd", "so was row 5"]
    assert list(document)[:5] == ["schema", "version", "signature", "settings", "notes"]
    assert Report.from_json(noted.to_json()) == noted != plain


def test_a_report_without_notes_in_its_json_is_read():
    plain = evaluate(*example())
    document = json.loads(plain.to_json())
    assert document.pop("notes") == []
    assert Report.from_json(json.dumps(document)) == plain


@pytest.mark.parametrize("value", ["words", [3], [None], {"a": 1}, None, 3])
def test_notes_that_are_not_text_are_refused(value):
    document = json.loads(evaluate(*example()).to_json())
    document["notes"] = value
    with pytest.raises(ValueError, match="report: expected the values of schema"):
        Report.from_json(json.dumps(document))


# Names for loggers

MLFLOW = re.compile(r"^[/\w.\- ]*$", re.ASCII)  # the strictest rule of its versions; 3.17 allows ":" too


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("mAP_tail", "mAP_tail"),
        ("Acc@1_tail", "Acc_at_1_tail"),
        ("inverse/Acc@5", "inverse/Acc_at_5"),
        ("a:b c/mAP", "a_b_c/mAP"),
        ("\u4e2d/mAP", "_/mAP"),
        ("../mAP", "__/mAP"),
        ("v1.2-x/mAP", "v1.2-x/mAP"),
    ],
)
def test_plain_names_follow_the_rule_of_mlflow(name, plain):
    assert plain_name(name) == plain
    assert MLFLOW.match(plain)
    assert os.path.normpath(plain) == plain  # MLflow refuses names that are not normalized paths


def test_plain_metrics_have_the_same_values(report):
    plain, own = report.metrics(plain_names=True), report.metrics()
    assert [plain_name(name) for name in own] == list(plain)
    np.testing.assert_array_equal(list(plain.values()), list(own.values()))
    assert plain["Acc_at_1_tail"] == own["Acc@1_tail"]


def test_plain_names_that_would_hide_a_metric_are_refused():
    shares = np.ones(8)
    found = evaluate(*example(), prior={"a!": shares, "a?": shares})
    with pytest.raises(ValueError, match=r"plain_names: expected names that differ .*, got 'a!/mAP' and 'a\?/mAP'"):
        found.metrics(plain_names=True)
    assert len(found.metrics()) == 8 + 2 * 3


# Reprs


def test_reprs_are_one_short_line(report):
    from vltr_eval._engine.results import EvaluationCounts
    from vltr_eval.report.settings import Settings

    scores, labels = example()
    table = vltr_eval.rank_table(scores, labels)
    expected = {
        table: f"<RankTable of 200 rows and 8 classes, {labels.sum()} positives at {len(table.thresholds)} thresholds>",
        vltr_eval.positive_scores(scores, labels): (
            f"<PositiveScores of 8 classes, {len(table.thresholds)} distinct float32 scores>"
        ),
        vltr_eval.Positives.from_labels(labels, 200, 8): (
            f"<Positives of 200 rows and 8 classes, {labels.sum()} positives>"
        ),
        vltr_eval.LabelPairs(3, None, np.arange(2), np.arange(2)): (
            "<LabelPairs of 3 rows and an unknown number of classes, 2 pairs>"
        ),
        EvaluationCounts(Settings("exact"), table): "<EvaluationCounts of 200 rows and 8 classes, 0 SAP trials>",
    }
    for value, text in expected.items():
        assert repr(value) == text
    curve = table.precision_recall_curve(0)
    assert repr(curve) == f"<PrecisionRecallCurve of {len(curve.recall)} thresholds>"
    sampled = vltr_eval.sampled_average_precision(scores, labels, trials=2, return_trials=True)
    assert repr(sampled) == f"<SampledAP of 8 classes, mean {np.nanmean(sampled.mean):.4f}, trials 2 kept>"
    weights = vltr_eval.prior_weights(labels, "uniform")
    assert repr(weights).startswith("<PriorWeights of 200 rows and 8 classes, total_variation=")
    for value in (*expected, curve, sampled, weights, *report.groups, *report.prior_results):
        assert len(repr(value)) < 120
        assert "\n" not in repr(value)


# The program


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the program in a folder with inputs, and check its exit code.

    It runs within this process, but by `python -m vltr_eval` if an environment is given.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    scores, labels = example()
    np.save(tmp_path / "preds.npy", scores)
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "counts.txt").write_text("".join(f"{count}\n" for count in TRAIN_COUNTS))

    def run_program(*arguments, code=0, program=PROGRAM, env=None):
        if env is None:
            done = run_within(main, "vltr-eval", list(arguments))
        else:
            done = subprocess.run(
                [*program, *arguments], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **env}
            )
        assert done.returncode == code, done.stderr
        return done

    return run_program


def test_program_sorts_and_limits_the_text_alone(run, tmp_path):
    done = run("preds.npy", "labels.npy", "--per-class", "--sort", "AP:asc", "--limit", "2", "--csv", "all.csv")
    expected = evaluate(*example())
    assert done.stdout == expected.to_text(per_class=True, sort="AP:asc", limit=2)
    assert (tmp_path / "all.csv").read_text() == expected.to_csv()


def test_program_fits_the_table_to_columns(run):
    done = run("preds.npy", "labels.npy", env={"COLUMNS": "60"})
    assert done.stdout == evaluate(*example()).to_text(width=60)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--per-class", "--sort", "ap"],
            "argument --sort: expected a column, COLUMN:asc or COLUMN:desc, got 'ap'; did",
        ),
        (["--per-class", "--sort", "train_count"], "argument --sort: expected a column"),
        (["--sort", "AP"], "argument --sort: give --per-class as well"),
        (["--limit", "3"], "argument --limit: give --per-class as well"),
        (["--per-class", "--limit", "0"], "argument --limit: expected a whole number from 1 up, got '0'"),
        (["--fail-under", "mAP_tail=0"], "argument --fail-under: give --counts FILE as well, which mAP_tail needs"),
        (["--fail-under", "uniform/mAP=0"], "argument --fail-under: give --prior uniform as well, which uniform/mAP"),
        (
            ["--fail-under", "inverse/Acc@1_head=0"],
            "give --counts FILE and --prior inverse as well, which inverse/Acc@1_head needs",
        ),
        (
            ["--counts", "counts.txt", "--fail-under", "SAPtail=0"],
            "unknown metric 'SAPtail', expected one of SAP_tail, mAP, SAP, ",
        ),
        (["--fail-under", "roc_auc=0"], "unknown metric 'roc_auc', expected one of ROC_AUC, mAP, "),
    ],
)
def test_wrong_names_are_refused_before_the_evaluation(run, arguments, sentence):
    done = run("preds.npy", "labels.npy", *arguments, code=2)
    assert sentence in done.stderr
    assert done.stdout == ""


def test_program_accepts_every_column_to_sort_by(run):
    options = ["--per-class", "--counts", "counts.txt", "--prior", "uniform", "--quiet"]
    expected = evaluate(*example(), train_counts=TRAIN_COUNTS, prior="uniform")
    for column in ("train_count", "tie_rate", "uniform/effective_positives", "num_negatives:asc"):
        done = run("preds.npy", "labels.npy", *options, "--sort", column)
        assert done.stdout == expected.to_text(per_class=True, sort=column)


@pytest.mark.parametrize("column", ["class:desc", "name", "num_false_positives", "train_count:asc", "AP_tie_lower"])
def test_ava_sorts_and_limits_as_well(run, tmp_path, column):
    from vltr_eval.compat.ava import evaluate as evaluate_ava

    (tmp_path / "gt.csv").write_text("v,902,0,0,1,1,1\nv,903,0,0,1,1,2\n")
    (tmp_path / "det.csv").write_text("v,902,0,0,1,1,1,.9\nv,903,0,0,1,1,1,.8\n")
    (tmp_path / "two.txt").write_text("900\n30\n")
    options = ["--counts", "two.txt", "--per-class", "--sort", column, "--limit", "1", "--quiet"]
    found = evaluate_ava(tmp_path / "det.csv", tmp_path / "gt.csv", train_counts=[900, 30])
    done = run("ava", "det.csv", "gt.csv", *options)
    assert done.stdout == found.to_text(per_class=True, sort=column, limit=1)
    assert done.stdout.endswith("\n1 of 2 classes left out by the limit\n")
    assert "argument --sort: " in run("ava", "det.csv", "gt.csv", "--per-class", "--sort", "ROC_AUC", code=2).stderr


def test_the_command_that_demo_prints_works_when_pasted(run, tmp_path, monkeypatch):
    program = shutil.which("vltr-eval", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("vltr-eval is not installed beside this Python")
    (tmp_path / "bin").symlink_to(Path(program).parent)
    elsewhere = {"PATH": os.defpath}
    ways = [
        (["bin/vltr-eval"], elsewhere, "bin/vltr-eval"),
        ([program], {"PATH": str(Path(program).parent)}, "vltr-eval"),
    ]
    for way, env, expected in ways:
        said = run("demo", "set", "--scale", "0.002", program=way, env=env).stderr
        command = shlex.split(said.partition("now try: ")[2])
        assert command[0] == expected
        assert run(program=["/usr/bin/env", *command], env=env).stdout.startswith(" ")
    said = run("demo", "set", "--scale", "0.002", env=elsewhere).stderr
    assert shlex.split(said.partition("now try: ")[2])[:3] == [sys.executable, "-m", "vltr_eval"]


def test_a_program_called_from_python_has_its_plain_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", [os.path.join("somewhere", "pytest", "__main__.py")])
    assert as_called("vltr-eval") == ["vltr-eval"]


def test_doctor_prints_why_there_is_no_device(run):
    from vltr_eval._base import _core

    (line,) = [line for line in run("doctor").stdout.splitlines() if line.startswith("core devices")]
    value = line.removeprefix("core devices").strip()
    count = _core.device_count()
    assert value == (str(count) if count else f"none: {_core.why_no_device()}")
    assert count or len(value) > len("none: ")


# Scores at chance


@pytest.fixture(scope="module")
def demo():
    from vltr_eval.program.demo import make_demo

    return make_demo(0.02)


def test_rows_in_another_order_are_noted(demo):
    order = np.random.default_rng(0).permutation(len(demo.scores))
    shuffled = evaluate(demo.scores[order], demo.labels, sap=None)
    (note,) = shuffled.notes
    assert note.startswith(f"the mean ROC-AUC {shuffled.metrics()['ROC_AUC']:.4f} is no better than the 0.5 of random")
    assert "in the same order?" in note
    columns = np.random.default_rng(0).permutation(demo.scores.shape[1])
    assert "in the same order?" in evaluate(demo.scores[:, columns], demo.labels, sap=None).notes[0]
    assert note in str(shuffled)
    assert json.loads(shuffled.to_json())["notes"] == [note]


def test_scores_of_the_wrong_sign_are_noted(demo):
    (note,) = evaluate(-demo.scores, demo.labels, sap=None).notes
    assert "far below the 0.5 of random scores: does a higher score mean a surer prediction?" in note


@pytest.mark.parametrize("quality", ["good", "poor"])
def test_models_better_than_chance_are_not_noted(quality):
    from vltr_eval.program.demo import make_demo

    demo = make_demo(0.02, quality=quality)
    assert evaluate(demo.scores, demo.labels, sap=None).notes == ()
    evaluator = vltr_eval.Evaluator(demo.scores.shape[1], sap=None)
    evaluator.update(demo.scores, demo.labels)
    assert evaluator.compute().notes == ()


def test_constant_scores_are_noted(demo):
    assert "no better than" in evaluate(np.zeros_like(demo.scores), demo.labels, sap=None).notes[0]


def test_few_labels_are_not_noted():
    """Two classes of ten positives have a standard error above .05 for any scores."""
    labels = np.zeros((1000, 2), bool)
    labels[:10, 0] = labels[10:20, 1] = True
    for seed in range(20):
        assert evaluate(np.random.default_rng(seed).random(labels.shape), labels, sap=None).notes == ()
    assert evaluate(np.zeros((4, 2)), np.eye(4, 2), sap=None).notes == ()
    assert evaluate(np.zeros((4, 2)), np.zeros((4, 2)), sap=None).notes == ()
    assert evaluate(np.zeros((4, 2)), np.ones((4, 2)), sap=None).notes == ()


def test_a_mean_three_standard_errors_above_half_is_never_noted():
    """The ROC-AUC of the one class is set exactly, by the number of negatives below each positive."""
    positives, negatives = 100, 1000
    error = math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
    labels = np.arange(positives + negatives) < positives
    for beaten in range(500, 1000):
        auc = beaten / negatives
        scores = np.concatenate([np.full(positives, beaten - 0.5), np.arange(negatives)])
        assert bool(evaluate(scores, labels, sap=None, topk=None).notes) == (auc <= 0.5 + 3 * error), auc
