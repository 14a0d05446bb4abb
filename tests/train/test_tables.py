"""Tables of runs: which runs are one line, where it stands, what is printed beside, and the four ways to write it."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

import vltr_eval
from vltr_train.method import Preset
from vltr_train.runs.run_folder import RunFolder
from vltr_train.runs.tables import FORMATS, paper_tables, table

NONE = (None,) * 6


def preset(row, printed, tables=("videolt-1",), backbone="R50", *, columns=None, data="", quoted=None, **settings):
    return Preset(
        row=row,
        tables=tables,
        backbone=backbone,
        printed=printed,
        settings=settings,
        columns=columns,
        data=data,
        quoted=quoted or {},
    )


PRESETS = {
    "framestack": {
        "r50": preset("FrameStack (FL)", (0.516, 0.683, 0.569, 0.397, 0.658, 0.834)),
        "tsm-netvlad": preset("Ours", (0.667, *NONE[1:]), ("videolt-2",), "TSM-R50", aggregator="netvlad"),
    },
    "bce": {
        "r50": preset("baseline", (0.499, 0.675, 0.553, 0.376, 0.65, 0.828), ("videolt-1", "move-1")),
        "r101": preset("baseline", (0.516, 0.687, 0.568, 0.396, None, None), backbone="R101"),
    },
}


@pytest.fixture
def make_run(tmp_path):
    def make(method="bce", preset=None, seed=0, data="videolt", labels="0123456789", videos=(9, 3, 3), **settings):
        settings = {"lr": 0.1, "lr_steps": [30, 60], "select_on": "validate", **settings, "seed": seed}
        dataset = {"name": data, "labels": labels, "videos": list(videos)}
        document = {"method": method, "preset": preset, "settings": settings, "dataset": dataset}
        run = RunFolder.create(tmp_path / str(len(list(tmp_path.iterdir()))), document)
        generator = np.random.default_rng(seed)
        labels = generator.random((40, 6)) < 0.4
        preds = (generator.normal(size=(40, 6)) + labels).astype(np.float32)
        run.save_predictions(preds, labels)
        run.save_report(vltr_eval.evaluate(preds, labels, train_counts=[900, 600, 300, 200, 50, 7]))
        return run

    return make


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_names_of_tables_come_from_the_presets():
    assert paper_tables(PRESETS) == ["move-1", "videolt-1", "videolt-2"]
    assert paper_tables({}) == []


def test_runs_of_several_seeds_are_one_line(make_run):
    runs = [make_run(seed=seed) for seed in (1, 2, 3)]
    (line,) = read(table(runs, format="csv"))
    values = [run.load_report().metrics() for run in runs]
    assert line["n"] == "3"
    for heading, metric in {"All": "mAP", "Tail": "mAP_tail", "Acc@5": "Acc@5", "exact SAP": "expected_SAP"}.items():
        assert float(line[heading]) == pytest.approx(np.mean([each[metric] for each in values]), rel=1e-12)
        assert float(line[f"{heading}_std"]) == pytest.approx(
            np.std([each[metric] for each in values], ddof=1), rel=1e-9
        )


def test_runs_are_given_by_their_folders_too(make_run):
    run = make_run()
    assert table([run.path]) == table([str(run.path)]) == table([run])


def test_what_differs_in_more_than_the_seed_is_told_apart(make_run):
    runs = [make_run(), make_run(seed=1), make_run(lr=0.2, lr_steps=[5]), make_run(preset="r50")]
    names = [(line["method"], line["n"]) for line in read(table(runs, format="csv"))]
    assert names == [("bce lr=0.1 lr_steps=30,60", "2"), ("bce lr=0.2 lr_steps=5", "1"), ("bce:r50", "1")]
    runs = [make_run(replacement=True), make_run(data="other", labels="ffffffffff", replacement=None)]
    names = [line["method"] for line in read(table(runs, format="csv"))]
    assert names == [
        "bce data=videolt labels=01234567 replacement=true",
        "bce data=other labels=ffffffff replacement=none",
    ]


def test_measured_stands_beside_printed_in_the_papers_order(make_run):
    runs = [
        make_run("mine"),
        make_run("framestack", "r50"),
        make_run("framestack", "tsm-netvlad"),
        make_run("bce", "r50"),
    ]
    lines = read(table(runs, presets=PRESETS, paper="videolt-1", format="csv"))
    assert [(line["group"], line["row"], line["method"], line["n"]) for line in lines] == [
        ("R50", "baseline", "bce:r50", "1"),
        ("R50", "FrameStack (FL)", "framestack:r50", "1"),
        ("R101", "baseline", "bce:r101", "0"),
        ("not in this table", "", "mine", "1"),
        ("not in this table", "", "framestack:tsm-netvlad", "1"),
    ]
    by_method = {line["method"]: line for line in lines}
    assert float(by_method["bce:r50"]["All"]) == runs[3].load_report().metrics()["mAP"]
    assert by_method["bce:r50"]["All_printed"] == "0.499"
    assert (by_method["bce:r101"]["All"], by_method["bce:r101"]["Acc@1_printed"]) == ("", "")
    assert by_method["mine"]["All_printed"] == ""


TEXT = """\
row              method          n     All  printed    Head  printed  Medium  printed    Tail  printed   Acc@1  printed   Acc@5  printed
[R50]
baseline         bce:r50         1  {}
FrameStack (FL)  framestack:r50  -       -    0.516       -    0.683       -    0.569       -    0.397       -    0.658       -    0.834
[R101]
baseline         bce:r101        -       -    0.516       -    0.687       -    0.568       -    0.396       -        -       -        -
measured on toy, which is not the paper's data (videolt)
checkpoints selected on: validate
"""  # noqa: E501


def test_the_text_table(make_run):
    run = make_run("bce", "r50", data="toy")
    metrics = run.load_report().metrics()
    names = ("mAP", "mAP_head", "mAP_medium", "mAP_tail", "Acc@1", "Acc@5")
    printed = (0.499, 0.675, 0.553, 0.376, 0.65, 0.828)
    numbers = "  ".join(f"{metrics[name]:.4f}    {value:.3f}" for name, value in zip(names, printed, strict=True))
    assert table([run], presets=PRESETS, paper="videolt-1") == TEXT.format(numbers)


def test_a_model_of_the_table_is_part_of_its_group():
    lines = read(table([], presets=PRESETS, paper="videolt-2", format="csv"))
    assert [(line["group"], line["row"], line["All_printed"]) for line in lines] == [
        ("TSM-R50, netvlad", "Ours", "0.667")
    ]


TWO = {"columns": ("All", "Acc@1")}
MINIKINETICS = {
    "bce": {
        "r50-mk0.01": preset("baseline", (0.466, 0.397), ("minikinetics-move-3",), data="minikinetics-0.01", **TWO),
        "r50-mk0.1": preset("baseline", (0.589, 0.573), ("minikinetics-move-3",), data="minikinetics-0.1", **TWO),
    },
    "ava_two_stage": {"r50": preset("Ours", (0.49, 0.54, None), ("ava-2",), "I3D", columns=("SAP", "SAP tail", "All"))},
}


def test_a_table_has_columns_of_its_own(make_run):
    runs = [make_run("bce", "r50-mk0.01", data="minikinetics-0.01"), make_run("mine", data="minikinetics-0.01")]
    metrics = runs[0].load_report().metrics()
    measured = (f"{metrics['mAP']:.4f}", f"{metrics['Acc@1']:.4f}")
    wanted = {"presets": MINIKINETICS, "paper": "minikinetics-move-3"}
    assert table(runs, **wanted).splitlines()[:6] == [
        "row       method          n     All  printed   Acc@1  printed",
        "[minikinetics-0.01, R50]",
        f"baseline  bce:r50-mk0.01  1  {measured[0]}    0.466  {measured[1]}    0.397",
        "[minikinetics-0.1, R50]",
        "baseline  bce:r50-mk0.1   -       -    0.589       -    0.573",
        "[not in this table]",
    ]
    assert (
        table(runs, **wanted).splitlines()[6]
        == f"          mine            1  {measured[0]}        -  {measured[1]}        -"
    )
    rows = [line for line in table(runs, **wanted, format="markdown").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {8}
    latex = table(runs, **wanted, format="latex").splitlines()
    assert [line.count("&") for line in latex if line.startswith(("row", "baseline"))] == [6, 6, 6]
    assert r"\begin{tabular}{llrrrrr}" in latex
    for line, printed in zip(read(table(runs, **wanted, format="csv")), ("0.397", "0.573", ""), strict=True):
        assert list(line)[6:] == ["All", "All_std", "All_printed", "Acc@1", "Acc@1_std", "Acc@1_printed"]
        assert line["Acc@1_printed"] == printed
    (line,) = read(table([], presets=MINIKINETICS, paper="ava-2", format="csv"))
    assert (line["SAP_printed"], line["SAP tail_printed"]) == ("0.49", "0.54")
    assert "All" not in line


def test_rows_that_a_paper_repeats_with_other_numbers():
    """It prints what it prints, and the note says what was there first; columns are those that it has of all rows."""
    repeated = ("videolt-1", "move-1", "meid-2")
    quoted = {"meid-2": (0.500, 0.665, 0.550, 0.386), "move-1": (0.495, 0.660, None, 0.381, 0.641, 0.843)}
    four = ("All", "Head", "Medium", "Tail")
    presets = {
        "meid": {"r101": preset("Ours", (0.619, 0.750, 0.661, 0.524), ("meid-2",), columns=four)},
        "mixup": {"r101": preset("mixup", (0.495, 0.660, 0.546, 0.381, 0.641, 0.824), repeated, quoted=quoted)},
        "bce": {"r101": preset("baseline", (0.516, 0.687, 0.568, 0.396, 0.663, 0.837), repeated)},
    }
    lines = read(table([], presets=presets, paper="meid-2", format="csv"))
    assert [name for name in lines[0] if name.endswith("_printed")] == [f"{heading}_printed" for heading in four]
    assert [line["All_printed"] for line in lines] == ["0.516", "0.5", "0.619"]
    assert table([], presets=presets, paper="meid-2").splitlines()[-1] == (
        "mixup:r101: videolt-1 prints All 0.495, Head 0.660, Medium 0.546, Tail 0.381"
    )
    assert table([], presets=presets, paper="move-1").splitlines()[-1] == "mixup:r101: videolt-1 prints Acc@5 0.824"
    assert "prints" not in table([], presets=presets, paper="videolt-1")


@pytest.mark.parametrize("synthetic", ["", "synthetic-"])
def test_a_run_on_another_variant_of_the_data_is_noted(make_run, synthetic):
    runs = [
        make_run("bce", "r50-mk0.01", data=f"{synthetic}minikinetics-0.01"),
        make_run("bce", "r50-mk0.1", data=f"{synthetic}minikinetics-0.05"),
    ]
    notes = table(runs, presets=MINIKINETICS, paper="minikinetics-move-3").splitlines()[5:]
    assert [note for note in notes if note.startswith("bce")] == [
        f"bce:r50-mk0.1: measured on {synthetic}minikinetics-0.05, and the row is of minikinetics-0.1"
    ]
    assert any("which is not the paper's data" in note for note in notes) == bool(synthetic)


def test_notes_tell_what_makes_runs_unlike(make_run):
    runs = [make_run(), make_run(seed=1), make_run(seed=1), make_run("eql", select_on="test")]
    notes = table(runs).splitlines()[3:]
    assert notes == [
        "measured on videolt",
        "checkpoints selected on: validate (3 of the runs), test (1 of the runs)",
        "bce: its 3 runs have 2 seeds between them",
    ]
    assert "the paper's data" not in table(runs, presets=PRESETS, paper="videolt-1")


def test_a_number_that_a_report_lacks_is_a_dash(make_run):
    run = make_run()
    labels = np.eye(4, dtype=bool)
    run.save_report(vltr_eval.evaluate(np.arange(16.0).reshape(4, 4), labels, sap=None))
    row = table([run]).splitlines()[1].split()
    assert [column for column, cell in enumerate(row) if cell == "-"] == [3, 4, 5, 8, 9]


def test_markdown_is_a_table_of_even_rows(make_run):
    runs = [make_run("bce", "r50", name="a|b"), make_run("bce", "r50", name="c", seed=4)]
    text = table(runs, presets=PRESETS, paper="videolt-1", format="markdown")
    lines = [line.replace(r"\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {16}
    assert lines[2].startswith("| **R50** |")
    assert r"bce:r50 name=a\|b" in text


def test_latex_is_escaped(make_run):
    runs = [
        make_run("cb_loss", note="50% & {x}_1^2~\\"),
        make_run("cb_loss", note="$#"),
        make_run("cb_loss", note="$#", seed=1),
    ]
    text = table(runs, format="latex")
    assert r"cb\_loss note=50\% \& \{x\}\_1\textasciicircum{}2\textasciitilde{}\textbackslash{} & 1 & 0." in text
    assert r"note=\$\# & 2 & \textbf{0." in text
    assert r" $\pm$ 0." in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\hline")] == [1, 1, 1, 0]
    assert r"\multicolumn" not in text
    assert text.splitlines()[:2] == ["% measured on videolt", "% checkpoints selected on: validate"]
    assert r"\multicolumn{15}{l}{\textit{R50}} \\" in table(runs, presets=PRESETS, paper="videolt-1", format="latex")


def test_without_a_validation_split_nothing_has_selected(make_run):
    assert "checkpoints selected on: last\n" in table([make_run(videos=(9, 0, 3))])
    assert "checkpoints selected on: test\n" in table([make_run(videos=(9, 0, 3), select_on="test")])


@pytest.mark.parametrize("format", FORMATS)
def test_no_runs_are_no_table_unless_a_paper_has_rows(format):
    with pytest.raises(ValueError, match=r"^runs: expected at least one run, got none"):
        table([], format=format)
    assert "FrameStack" in table([], presets=PRESETS, paper="videolt-1", format=format)


def test_wrong_names_and_unfinished_runs(make_run, tmp_path):
    with pytest.raises(ValueError, match=r"^paper: .* got 'videolt-3'; did you mean videolt-2 or videolt-1\?$"):
        table([], presets=PRESETS, paper="videolt-3")
    with pytest.raises(ValueError, match=r"^paper: expected none, because there is none .* got 'videolt-1'$"):
        table([], paper="videolt-1")
    with pytest.raises(ValueError, match=r"^format: expected a known name, got 'tex'; did you mean text or latex\?$"):
        table([], format="tex")
    run = make_run()
    (run.path / "report.json").unlink()
    with pytest.raises(
        ValueError, match=r": expected a finished run, got one without a report; finish that run with resume=True"
    ):
        table([run])


# Intervals


COUNTS = [900, 600, 300, 200, 50, 7]
HEADINGS = {"All": "mAP", "Head": "mAP_head", "Tail": "mAP_tail", "Acc@1": "Acc@1", "exact SAP": "expected_SAP"}


@pytest.fixture
def make_tested(make_run):
    """Make a run with predictions for the same test rows as all others of it."""

    def make(method="bce", seed=0, lift=1.0, **settings):
        run = make_run(method, seed=seed, **settings)
        labels = np.random.default_rng(99).random((40, 6)) < 0.4
        noise = np.random.default_rng(98).normal(size=(40, 6))  # rows that are hard for all methods
        noise += np.random.default_rng([seed, *method.encode()]).normal(size=(40, 6)) / 2
        preds = (noise + lift * labels).astype(np.float32)
        run.save_predictions(preds, labels)
        run.save_report(vltr_eval.evaluate(preds, labels, train_counts=COUNTS))
        return run

    return make


def effects_by_definition(run):
    """The mean without each row minus the mean, by as many evaluations: (N,) by flat name."""
    preds, labels = (np.load(run.path / f"{name}.npy") for name in ("preds", "labels"))

    def means(rows):
        report = vltr_eval.evaluate(preds[rows], labels[rows], sap="exact", train_counts=COUNTS)
        return np.array([report.metrics()[name] for name in HEADINGS.values()])

    every = np.arange(len(preds))
    effects = np.array([means(every != row) for row in every]) - means(every)
    return dict(zip(HEADINGS.values(), effects.T, strict=True))


def jackknife(effects):
    n = len(effects)
    return np.sqrt((n - 1) / n * np.sum((effects - effects.mean()) ** 2))


def test_errors_by_test_rows_are_those_of_the_jackknife(make_tested):
    lifts = {"bce": 1.0, "b": 1.4}
    runs = {name: [make_tested(name, seed=seed, lift=lift) for seed in (0, 1)] for name, lift in lifts.items()}
    base, new = read(table(runs["bce"] + runs["b"], format="csv", interval=0.95))
    effects = {name: [effects_by_definition(run) for run in each] for name, each in runs.items()}
    for heading, metric in HEADINGS.items():
        one, other = (np.mean([each[metric] for each in effects[name]], axis=0) for name in ("bce", "b"))
        assert float(base[f"{heading}_row_se"]) == pytest.approx(jackknife(one), rel=1e-9)
        assert float(new[f"{heading}_row_se"]) == pytest.approx(jackknife(other), rel=1e-9)
        assert float(new[f"{heading}_difference_row_se"]) == pytest.approx(jackknife(other - one), rel=1e-9)
        difference = float(new[f"{heading}_difference"])
        assert difference == pytest.approx(float(new[heading]) - float(base[heading]), abs=1e-12)
        seeds = np.hypot(*(float(line[f"{heading}_std"]) / np.sqrt(2) for line in (base, new)))
        assert float(new[f"{heading}_difference_seed_se"]) == pytest.approx(seeds, rel=1e-9)
        low, high = (float(new[f"{heading}_difference_{end}"]) for end in ("low", "high"))
        assert (low + high) / 2 == pytest.approx(difference, abs=1e-12)
        assert high - low > 2 * 1.9599 * np.hypot(seeds, jackknife(other - one))
        assert (float(new[f"{heading}_difference_p"]) <= 0.05) == (low >= 0 or high <= 0)
    assert (base["baseline"], new["baseline"], base["All_difference"]) == ("", "bce", "")
    assert (new["SAP_row_se"], new["SAP_difference"]) == ("", "")  # the mean over trials has a draw


def test_a_table_with_intervals_is_the_table_with_more(make_tested):
    runs = [make_tested("bce"), make_tested("b", lift=1.4)]
    without, both = table(runs).splitlines(), table(runs, interval=0.9).splitlines()
    headings = ["All", "Head", "Medium", "Tail", "Acc@1", "Acc@5", "SAP", "exact SAP"]
    assert both[0].split() == " se ".join(["method n All", *headings[1:], ""]).split()
    assert [line.split()[2] for line in both[1:3]] == [line.split()[2] for line in without[1:3]]
    note = "+-: standard deviation over seeds; se: standard error of the mean by the choice of test rows"
    assert both[3:6] == [*without[3:], note]
    blank = both.index("")
    assert both[blank + 1].split() == " p ".join(["method All", *headings[1:6], headings[7], ""]).split()
    assert both[blank + 2] == "[minus bce]"
    metrics = [run.load_report().metrics()["mAP"] for run in runs]
    assert both[blank + 3].startswith(f"b       {metrics[1] - metrics[0]:+.4f} [")
    assert both[blank + 4 :] == [
        "90 % intervals and p-values of differences, paired by test row",
        "the intervals hold the variance of test rows, and not that of training seeds",
    ]


def test_the_notes_say_whose_seeds_are_in_the_intervals(make_tested):
    several = [make_tested("bce", seed=seed) for seed in (0, 1)]
    other = [make_tested("b", seed=seed) for seed in (0, 1)]
    notes = table(several + other, interval=0.95).splitlines()[-1:]
    assert notes == ["the intervals hold the variance of test rows and of training seeds"]
    notes = table([*several, other[0]], interval=0.95).splitlines()[-2:]
    assert notes == [
        "the intervals hold the variance of test rows and of training seeds",
        "one run, so without the variance of its seeds: b",
    ]


def test_the_baseline_is_the_first_line_or_a_named_one(make_tested):
    runs = [make_tested("bce"), make_tested("b", lift=1.4), make_tested("b", lift=2.0, lr=0.2)]
    lines = read(table(runs, format="csv", interval=0.95))
    assert [line["baseline"] for line in lines] == ["", "bce", "bce"]
    named = read(table(runs, format="csv", interval=0.95, baseline="b lr=0.2"))
    assert [line["baseline"] for line in named] == ["b lr=0.2", "b lr=0.2", ""]
    assert float(named[0]["All_difference"]) == pytest.approx(float(named[0]["All"]) - float(named[2]["All"]))
    with pytest.raises(ValueError, match=r"^baseline: expected one of bce, b lr=0.1, b lr=0.2, got 'eql'$"):
        table(runs, interval=0.95, baseline="eql")
    with pytest.raises(ValueError, match=r"^baseline: expected interval beside it"):
        table(runs, baseline="b")
    with pytest.raises(ValueError, match=r"^interval: expected a level between 0 and 1"):
        table(runs, interval=95)


def test_runs_that_cannot_be_compared_are_named_with_the_reason(make_tested, make_run):
    runs = [make_tested("bce"), make_run("other rows", seed=5), make_tested("gone")]
    (runs[2].path / "preds.npy").unlink()
    text = table(runs, interval=0.95)
    assert "\n\n" not in text  # no table of differences
    notes = text.splitlines()
    (reason,) = (note for note in notes if note.startswith("other rows: not compared; "))
    assert "expected the labels of" in reason
    (reason,) = (note for note in notes if note.startswith("gone: not compared; "))
    assert reason.endswith("preds.npy: expected a file of a run, got No such file or directory")
    lines = read(table(runs, format="csv", interval=0.95))
    assert [line["All_row_se"] != "" for line in lines] == [True, True, False]
    assert [line["All_difference"] for line in lines] == ["", "", ""]


def test_both_tables_are_written_in_each_format(make_tested):
    runs = [make_tested("bce", preset="r50"), make_tested("framestack", preset="r50", lift=2.0)]
    shown = {"presets": PRESETS, "paper": "videolt-1", "interval": 0.95}
    rows = [line for line in table(runs, format="markdown", **shown).splitlines() if line.startswith("|")]
    start = next(number for number, line in enumerate(rows) if line.startswith("| method |"))
    assert {line.count("|") for line in rows[:start]} == {22}  # row, method, n, and three cells a metric
    assert {line.count("|") for line in rows[start:]} == {14}
    assert rows[start + 2].startswith("| **minus bce:r50** |")
    latex = table(runs, format="latex", **shown)
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 2
    assert r"\multicolumn{13}{l}{\textit{minus bce:r50}} \\" in latex
    assert {line.count("&") for line in latex.splitlines() if line.startswith("framestack")} == {12}


def test_damaged_predictions_are_refused(make_tested):
    run = make_tested()
    preds, labels = run.load_predictions()
    assert (preds.dtype, labels.dtype, preds.shape) == (np.float32, np.uint8, labels.shape)
    np.save(run.path / "preds.npy", preds[:3].copy())
    with pytest.raises(ValueError, match=r"expected preds.npy and labels.npy \(n, C\), got \(3, 6\) and \(40, 6\)$"):
        run.load_predictions()
    np.save(run.path / "preds.npy", np.zeros((40, 6)))
    with pytest.raises(ValueError, match=r"preds.npy: expected float32, got float64$"):
        run.load_predictions()
    for content in (b"", b"no array"):
        (run.path / "preds.npy").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"preds.npy: expected an array of numbers, got a damaged or another file$"
        ):
            run.load_predictions()


# Best values


def marks_of(text):
    """Return the marks of each row of the first Markdown table, by method and column."""
    head, _, *rows = [line.strip("| ").split(" | ") for line in text.split("\n\n")[0].splitlines()]
    found = {}
    for row in rows:
        for heading, cell in zip(head[2:], row[2:], strict=True):
            bold, dagger = cell.startswith("**") and cell.endswith("**"), cell.endswith("\u2020")
            found[row[0], heading] = "best" if bold else "not worse" if dagger else ""
    return found


def test_the_best_value_of_each_column_is_bold(make_run):
    runs = [make_run("bce"), make_run("eql", seed=1), make_run("mine", seed=2), make_run("mine", seed=3)]
    found = marks_of(table(runs, format="markdown"))
    lines = {line["method"]: line for line in read(table(runs, format="csv"))}
    for heading in ("All", "Head", "Medium", "Tail", "Acc@1", "Acc@5", "SAP", "exact SAP"):
        values = {method: float(line[heading]) for method, line in lines.items()}
        best = [method for method, value in values.items() if value == max(values.values())]
        assert [method for method in values if found[method, heading] == "best"] == best
    assert "not worse" not in found.values()
    legend = "**bold**: the highest measured value of its column, among the lines of one block on the same data"
    assert table(runs, format="markdown").endswith(f"- {legend}\n")
    assert "highest" not in table(runs)


def test_values_on_other_data_and_in_other_blocks_are_not_compared(make_run):
    runs = [make_run("bce"), make_run("eql", seed=1, labels="ffffffffff")]
    assert set(marks_of(table(runs, format="markdown")).values()) == {""}
    assert r"\textbf" not in table(runs, format="latex")
    runs = [make_run("bce", "r50"), make_run("bce", "r101"), make_run("mine", seed=1), make_run("eql", seed=2)]
    latex = table(runs, presets=PRESETS, paper="videolt-1", format="latex")
    rows = [line for line in latex.splitlines() if line.startswith("baseline")]
    assert len(rows) == 2
    assert not any("textbf" in row for row in rows)  # each is alone in its block
    assert latex.count(r"\textbf{0.") + latex.count(r"\textbf{1.") >= 6
    assert latex.count(r"\midrule") == 3


def test_a_dagger_marks_what_is_not_significantly_worse_than_the_best(make_tested):
    runs = [
        *(make_tested("bce", seed=seed) for seed in (0, 1)),
        *(make_tested("near", seed=seed, lift=2.0) for seed in (0, 1)),
        make_tested("best", lift=2.1),
    ]
    markdown, latex = (table(runs, format=form, interval=0.9) for form in ("markdown", "latex"))
    found = marks_of(markdown)
    lines = {line["method"]: line for line in read(table(runs, format="csv"))}
    seen = set()
    for heading in ("All", "Head", "Medium", "Tail", "Acc@1", "Acc@5", "exact SAP"):
        values = {method: float(line[heading]) for method, line in lines.items()}
        best = max(values, key=values.__getitem__)
        against = {line["method"]: line for line in read(table(runs, format="csv", interval=0.9, baseline=best))}
        for method, value in values.items():
            expected = "best"
            if value < values[best]:
                expected = "not worse" if float(against[method][f"{heading}_difference_p"]) > 0.1 else ""
            assert found[method, heading] == expected
            seen.add(expected)
    assert seen == {"best", "not worse", ""}
    assert "not worse" not in {mark for (_, heading), mark in found.items() if heading == "SAP"}  # it has no test
    assert "not significantly lower than that value at the level 90 %, by a paired test of both methods" in markdown
    assert latex.count(r"$^\dagger$") == markdown.count("\u2020")


def test_a_line_without_predictions_has_no_dagger(make_tested):
    runs = [make_tested("bce"), make_tested("gone"), make_tested("same", seed=0)]
    (runs[1].path / "preds.npy").unlink()
    found = marks_of(table(runs, format="markdown", interval=0.95))
    assert "not worse" not in {mark for (method, _), mark in found.items() if method == "gone"}
    assert {mark for (method, _), mark in found.items() if method == "gone"} <= {"best", ""}
