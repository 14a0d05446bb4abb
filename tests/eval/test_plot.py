"""Figures: the values drawn are those of the reports, names are data, and files have the same bytes each time."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from vltr_eval import Evaluation, compare, evaluate, plot, rank_table
from vltr_eval._base.files import OutputError
from vltr_eval.plot import style
from vltr_eval.plot.curves import MOST_CLASSES, thinned

COUNTS = [900, 700, 300, 200, 150, 90, 40, 0]
GROUPS = ("overall", "head", "medium", "tail")
HOSTILE = (
    *("$\\frac{1}{0}$", "_hidden", "two\nlines", "\x1b[31mred", "\u202eevil", "<script>&amp;", "a" * 300, ""),
    *("\u6f14\u594f\u5c0f\u63d0\u7434", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\U0001f3bb", "\ud800", "%d {x} \\", "100 %"),
)


def make_predictions(num_classes=8, num_rows=160, lift=1.5, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < np.linspace(0.4, 0.1, num_classes)
    labels[0] = True
    return (rng.normal(size=labels.shape) + lift * labels).astype(np.float32), labels


SCORES, LABELS = make_predictions()


@pytest.fixture(scope="module")
def report():
    return evaluate(SCORES, LABELS, train_counts=COUNTS, interval=0.9, sap=3)


@pytest.fixture(scope="module")
def evaluation():
    names = [f"name {c}" for c in range(len(COUNTS))]
    return Evaluation.from_predictions(SCORES, LABELS, train_counts=COUNTS, class_names=names)


@pytest.fixture(scope="module")
def comparison():
    new = SCORES + np.float32(0.8) * LABELS * (np.arange(len(COUNTS)) > 3)
    worse = SCORES - np.float32(0.5) * LABELS
    return compare(SCORES, new, worse, labels=LABELS, train_counts=COUNTS, names=["base", "new", "worse"])


def two_systems(comparison):
    return replace(comparison, systems=comparison.systems[:1])


def texts_of(ax):
    """Draw the figure, then return all texts that it shows."""
    figure = plot.output.figure_of(ax)
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_visible()]


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def points_of(ax, color):
    """Return the points of the lines of a color that have no connecting line, in order of x."""
    lines = [line for line in ax.lines if line.get_linestyle() == "None" and to_hex(line.get_color()) == color.lower()]
    points = np.concatenate([line.get_xydata() for line in lines])
    return points[np.lexsort(points.T[::-1])]


def expected_points(x, y, mask):
    points = np.array([x, y], np.float64).T[np.array(mask)]
    return points[np.lexsort(points.T[::-1])]


def all_figures(report, evaluation, comparison):
    """Every function with the data that it takes; each takes ax=."""
    runs = [make_run()]
    pair = two_systems(comparison)
    return {
        "ap_by_train_count": lambda **how: plot.ap_by_train_count(report, intervals=True, **how),
        "sap_by_ap": lambda **how: plot.sap_by_ap(report, **how),
        "group_bars": lambda **how: plot.group_bars({"one": report, "two": report}, **how),
        "precision_recall": lambda **how: plot.precision_recall(evaluation, range(5), **how),
        "class_scatter": lambda **how: plot.class_scatter(pair, **how),
        "class_differences": lambda **how: plot.class_differences(pair, **how),
        "all_class_differences": lambda **how: plot.class_differences(pair, limit=None, **how),
        "group_outcomes": lambda **how: plot.group_outcomes(comparison, **how),
        "head_tail_trade": lambda **how: plot.head_tail_trade(comparison, **how),
        "reliability": lambda **how: plot.reliability(CALIBRATION, **how),
        "learning_curves": lambda **how: plot.learning_curves(runs, ["mAP", "mAP_tail"], **how),
    }


NAMES = (
    *("ap_by_train_count", "sap_by_ap", "group_bars", "precision_recall", "class_scatter", "class_differences"),
    *("all_class_differences", "group_outcomes", "head_tail_trade", "reliability", "learning_curves"),
)

CALIBRATION = {
    "bins": 4,
    "groups": {
        "overall": {
            "count": [9, 5, 0, 1],
            "mean_score": [0.1, 0.3, None, 0.9],
            "frequency": [0.2, 0.4, None, 1.0],
            "ECE": 0.1,
        },
        "tail": {
            "count": [1, 0, 0, 2],
            "mean_score": [0.2, None, None, 0.8],
            "frequency": [0.0, None, None, 0.5],
            "ECE": None,
        },
    },
}


def make_run(name="bce", group=None, shift=0.0, stages=(("train", 0), ("classifier", 2))):
    columns = {
        "loss": [0.9 + shift, 0.7, 0.5, 0.4],
        "mAP": [None, 0.3 + shift, None, 0.5],
        "mAP_tail": [None, 0.1, None, 0.2 + shift],
        "empty": [None, float("nan"), None, None],
    }
    run = {"name": name, "epochs": [0, 1, 2, 3], "columns": columns, "stages": [list(stage) for stage in stages]}
    return run if group is None else run | {"group": group}


# ---------------------------------------------------------------------------------------------------------------------
# The values drawn
# ---------------------------------------------------------------------------------------------------------------------


def test_points_by_train_count_are_those_of_the_report(report):
    ax = plot.ap_by_train_count(report)
    positions = np.maximum(COUNTS, style.ZERO)
    for group, mark in style.group_marks(GROUPS[1:]).items():
        mask = [name == group for name in report.classes["group"]]
        expected = expected_points(positions, report.classes["AP"], mask)
        np.testing.assert_array_equal(points_of(ax, mark.color), expected)
    assert ax.get_xscale() == "log"
    means = {group.name: group.values["mAP"] for group in report.groups}
    assert legend_of(ax) == [f"{name} {means[name]:.2f}" for name in ("tail", "medium", "head")]
    assert "0" in texts_of(ax)  # the tick of the class without training samples


def test_absent_classes_have_no_point():
    labels = LABELS.copy()
    labels[:, 2] = False
    report = evaluate(SCORES, labels, train_counts=COUNTS)
    medium = points_of(plot.ap_by_train_count(report), style.group_marks(GROUPS[1:])["medium"].color)
    assert medium[:, 0].tolist() == [150, 200]


def test_class_intervals_are_those_of_the_report(report):
    segments = [
        segment
        for lines in plot.ap_by_train_count(report, intervals=True).collections
        for segment in lines.get_segments()
    ]
    found = sorted((x, low, high) for (x, low), (_, high) in segments)
    expected = zip(np.maximum(COUNTS, style.ZERO), report.classes["AP_low"], report.classes["AP_high"], strict=True)
    assert found == sorted(tuple(map(float, row)) for row in expected)


def test_running_median_equals_a_loop():
    rng = np.random.default_rng(1)
    x, y = rng.integers(1, 40, 130).astype(float), rng.random(130)
    pairs = sorted(zip(x, y, strict=True))
    by_position = {}
    for start in range(130 - 10):
        window = pairs[start : start + 11]
        position, value = sorted(p for p, _ in window)[5], sorted(v for _, v in window)[5]
        by_position.setdefault(position, []).append(value)
    expected = [(position, statistics.median(values)) for position, values in by_position.items()]
    np.testing.assert_array_equal(np.array(plot.running_medians(x, y)).T, expected)


def test_running_median_of_many_points_has_some_of_the_windows():
    x, y = np.arange(9000.0), np.random.default_rng(0).random(9000)
    positions, medians = plot.running_medians(x, y)
    assert 500 <= len(positions) <= 1000
    window = 2 * round(9000 / 24) + 1
    for position, median in zip(positions[::50], medians[::50], strict=True):
        start = int(position) - window // 2
        assert median == statistics.median(y[start : start + window])


def test_running_median_is_drawn_for_many_classes_alone(report):
    def medians(report, **how):
        ax = plot.ap_by_train_count(report, **how)
        return [line for line in ax.lines if line.get_color() == style.BLACK], legend_of(ax)

    assert medians(report)[0] == []
    scores, labels = make_predictions(30)
    many = evaluate(scores, labels, train_counts=np.arange(30) * 31, sap=None)
    ((line,), names) = medians(many)
    expected = plot.running_medians(np.maximum(np.arange(30) * 31.0, style.ZERO), np.array(many.classes["AP"]))
    np.testing.assert_array_equal(line.get_data(), expected)
    assert names[-1] == "median"
    assert medians(many, running_median=False)[0] == []


def test_bounds_are_drawn(report):
    lines = [line for line in plot.ap_by_train_count(report).lines if to_hex(line.get_color()) == style.LIGHT.lower()]
    assert [line.get_xdata()[0] for line in lines] == [100, 500]


def test_bars_and_error_bars_are_those_of_the_report(report):
    other = evaluate(SCORES - LABELS, LABELS, train_counts=COUNTS)
    ax = plot.group_bars({"one": report, "other": other})
    heights = [[bar.get_height() for bar in bars] for bars in ax.containers if hasattr(bars, "patches")]
    assert heights == [[group.values["mAP"] for group in each.groups] for each in (report, other)]
    segments = [segment[:, 1] for lines in ax.collections for segment in lines.get_segments()]
    np.testing.assert_allclose(segments, [group.intervals["mAP"] for group in report.groups], rtol=1e-12)
    assert legend_of(ax) == ["one", "other"]
    assert [label.get_text() for label in ax.get_xticklabels()] == list(GROUPS)
    positions = [bar.get_x() for bars in ax.containers if hasattr(bars, "patches") for bar in bars]
    assert len(set(positions)) == 8


@pytest.mark.parametrize("metric", ["SAP", "expected_SAP", "ROC_AUC", "Acc@5"])
def test_bars_show_any_mean(report, metric):
    (bars,) = [bars for bars in plot.group_bars(report, metric).containers if hasattr(bars, "patches")]
    assert [bar.get_height() for bar in bars] == [group.values[metric] for group in report.groups]


def test_bars_show_chosen_groups(report):
    ax = plot.group_bars(report, groups=["tail", "head"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["tail", "head"]
    with pytest.raises(ValueError, match="groups: expected a known name, got 'tial'; did you mean tail"):
        plot.group_bars(report, groups=["tial"])


def test_many_names_of_groups_are_slanted(report):
    def rotations(**how):
        return {label.get_rotation() for label in plot.group_bars(report, **how).get_xticklabels()}

    assert rotations() == {0}
    long = replace(report, groups=tuple(replace(group, name=f"a long {group.name}") for group in report.groups))
    assert {label.get_rotation() for label in plot.group_bars(long).get_xticklabels()} == {30}
    assert rotations(ax=Figure(figsize=(1.2, 2)).subplots()) == {30}


def test_groups_without_classes_are_left_out():
    report = evaluate(SCORES, LABELS, train_counts=np.maximum(COUNTS, 101))
    assert legend_of(plot.ap_by_train_count(report))[0].startswith("medium")
    assert legend_of(plot.sap_by_ap(report)) == ["head", "medium"]
    found = compare(SCORES, SCORES + LABELS, labels=LABELS, train_counts=np.maximum(COUNTS, 101))
    with pytest.raises(ValueError, match="comparison: expected a class with positives in tail, got none"):
        plot.head_tail_trade(found)


def test_numbers_stand_on_few_bars(report):
    shown = texts_of(plot.group_bars(report))
    assert all(f"{group.values['mAP']:.3f}" in shown for group in report.groups)
    shown = texts_of(plot.group_bars([report, report, report]))
    assert not any(f"{group.values['mAP']:.3f}" in shown for group in report.groups)
    assert "report 2" in shown


def test_undefined_means_are_marked():
    labels = LABELS.copy()
    labels[:, :2] = False
    ax = plot.group_bars(evaluate(SCORES, labels, train_counts=COUNTS, interval=0.9))
    assert "-" in texts_of(ax)
    assert plot.ap_by_train_count(evaluate(SCORES, labels, train_counts=COUNTS)).get_legend() is not None


def test_sap_by_ap_has_the_values_of_the_report(report):
    ax = plot.sap_by_ap(report)
    found = np.concatenate([points_of(ax, mark.color) for mark in style.group_marks(GROUPS[1:]).values()])
    expected = list(zip(report.classes["AP"], report.classes["expected_SAP"], strict=True))
    assert sorted(map(tuple, found)) == sorted(expected)
    assert ax.get_legend() is not None
    assert plot.sap_by_ap(evaluate(SCORES, LABELS, sap=3)).get_legend() is None


def test_area_under_the_drawn_curve_is_ap(evaluation):
    classes = [1, "name 4"]
    ax = plot.precision_recall(evaluation, classes, iso_f1=False)
    for line, index in zip(ax.lines, (1, 4), strict=True):
        assert line.get_drawstyle() == "steps-pre"
        recall, precision = line.get_data()
        curve = evaluation.table.precision_recall_curve(index)
        np.testing.assert_array_equal(recall[1:], curve.recall)
        np.testing.assert_array_equal(precision[1:], curve.precision)
        assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(
            evaluation.report.classes["AP"][index], rel=1e-12
        )
    assert legend_of(ax) == [f"name {c}, AP {evaluation.report.classes['AP'][c]:.3f}" for c in (1, 4)]


def test_iso_lines_have_equal_f1(evaluation):
    ax = plot.precision_recall(evaluation, 0)
    lines = [line.get_data() for line in ax.lines if to_hex(line.get_color()) == style.LIGHT.lower()]
    assert len(lines) == 4
    for value, (recall, precision) in zip((0.2, 0.4, 0.6, 0.8), lines, strict=True):
        np.testing.assert_allclose(2 * recall * precision / (recall + precision), value, rtol=1e-12)
        assert (precision.max(), recall.max()) == (pytest.approx(1), 1)


def test_rank_tables_have_curves_of_numbered_classes():
    table = rank_table(SCORES, LABELS)
    assert legend_of(plot.precision_recall(table, [3]))[0].startswith("class 3, AP")
    names = list("abcdefgh")
    assert legend_of(plot.precision_recall(table, ["d"], names=names))[0].startswith("d, AP")


def test_thinned_curves_keep_their_ends():
    rng = np.random.default_rng(0)
    labels = rng.random((20_000, 1)) < 0.5
    curve = rank_table((labels + rng.normal(size=labels.shape)), labels).precision_recall_curve(0)
    short = thinned(curve, 100)
    assert len(short.recall) == 100
    assert (short.recall[-1], short.precision[-1]) == (curve.recall[-1], curve.precision[-1])
    assert np.max(np.diff(short.recall)) < 0.011
    known = set(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
    assert known.issuperset(zip(short.recall.tolist(), short.precision.tolist(), strict=True))
    assert thinned(curve, len(curve.recall)) is curve


def test_scatter_has_both_values_of_each_class(comparison):
    ax = plot.class_scatter(comparison, "new")
    system = comparison.systems[0]
    for group, mark in style.group_marks(GROUPS[1:]).items():
        mask = [name == group for name in system.classes["group"]]
        expected = expected_points(system.classes["base"], system.classes["new"], mask)
        np.testing.assert_array_equal(points_of(ax, mark.color), expected)
    filled = sum(
        len(line.get_xdata()) for line in ax.lines if line.get_marker() != "None" and line.get_fillstyle() == "full"
    )
    overall = next(o for o in system.outcomes(0.95) if (o.group, o.adjustment) == ("overall", "benjamini_hochberg"))
    assert filled == overall.wins + overall.losses > 0
    assert any(text.startswith(f"{overall.wins} better\n{overall.losses} worse\n") for text in texts_of(ax))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("AP of base", "AP of new")


def test_listed_differences_have_their_intervals(comparison):
    ax = plot.class_differences(comparison, "worse", limit=3)
    system = comparison.systems[1]
    classes = sorted(system.moved_most(3), key=lambda c: system.classes["difference"][c])
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"class {c}" for c in classes]
    (lines,) = ax.collections
    found = [segment[:, 0].tolist() for segment in lines.get_segments()]
    assert found == [[system.classes["low"][c], system.classes["high"][c]] for c in classes]
    points = sorted((y, x) for line in ax.lines if line.get_marker() != "None" for x, y in line.get_xydata())
    assert [x for _, x in points] == [system.classes["difference"][c] for c in classes]


@pytest.mark.parametrize("sort", ["difference", "train_count", "class"])
def test_all_differences_are_in_order(comparison, sort):
    ax = plot.class_differences(comparison, "new", limit=None, sort=sort)
    system = comparison.systems[0]
    keys = {"class": range(len(COUNTS)), **system.classes}[sort]
    classes = sorted(system.moved_most(len(COUNTS)), key=lambda c: (keys[c], c))
    line = next(line for line in ax.lines if line.get_color() == style.BLACK)
    assert line.get_ydata().tolist() == [system.classes["difference"][c] for c in classes]


@pytest.mark.parametrize("adjustment", ["holm", "benjamini_hochberg"])
def test_outcome_bars_are_shares_of_tested_classes(comparison, adjustment):
    ax = plot.group_outcomes(comparison, adjustment=adjustment)
    outcomes = [o for system in comparison.systems for o in system.outcomes(0.95) if o.adjustment == adjustment]
    for bars, part in zip(ax.containers, ("losses", "undecided", "wins"), strict=True):
        shares = [getattr(o, part) / max(o.tested, 1) for o in outcomes]
        np.testing.assert_allclose([bar.get_width() for bar in bars], shares, rtol=1e-12)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [f"{name}, {group}" for name in ("new", "worse") for group in GROUPS]


def test_trade_has_the_paired_intervals(comparison):
    ax = plot.head_tail_trade(comparison)
    for system, container in zip(comparison.systems, ax.containers, strict=True):
        head, tail = system.of("mAP_head"), system.of("mAP_tail")
        points, _, (across, up) = container.lines
        assert points.get_xydata().tolist() == [[head.difference, tail.difference]]
        np.testing.assert_allclose(across.get_segments()[0][:, 0], [head.low, head.high], rtol=1e-12)
        np.testing.assert_allclose(up.get_segments()[0][:, 1], [tail.low, tail.high], rtol=1e-12)
    assert legend_of(ax) == ["base", "new", "worse"]
    assert plot.head_tail_trade(comparison, groups=("medium", "tail")).get_xlabel() == "difference in mAP, medium"


@pytest.mark.parametrize(
    ("frequency", "corner"),
    [([0, 0.3, 1], "upper left"), ([0, 0.9, 1], "lower right"), ([1, 0.5, 0], None)],
)
def test_the_legend_of_reliability_covers_no_curve(frequency, corner):
    section = {"count": [9, 5, 1], "mean_score": [0, 0.3, 1], "frequency": frequency, "ECE": 0.1}
    ax = plot.reliability({"bins": 3, "groups": {name: section for name in ("overall", "head", "medium", "tail")}})
    ax.figure.draw_without_rendering()
    box = ax.get_legend().get_window_extent().transformed(ax.transData.inverted())
    along = np.linspace(0, 1, 500)
    curve = np.column_stack([along, np.interp(along, [0, 0.3, 1], frequency)])
    assert not np.any(np.all((curve > [box.x0, box.y0]) & (curve < [box.x1, box.y1]), axis=1))
    middle = [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]
    at = {"upper left": middle[0] < middle[1] < 1, "lower right": middle[1] < middle[0], None: middle[1] > 1}
    assert at[corner]


def test_reliability_leaves_empty_bins_out():
    ax = plot.reliability(CALIBRATION)
    overall, tail = ax.lines[1:]
    assert overall.get_xydata().tolist() == [[0.1, 0.2], [0.3, 0.4], [0.9, 1.0]]
    assert tail.get_xydata().tolist() == [[0.2, 0.0], [0.8, 0.5]]
    assert legend_of(ax) == ["overall, ECE 0.100", "tail"]


def test_learning_curves_show_runs_and_their_mean():
    runs = [make_run(f"bce {seed}", "bce", shift) for seed, shift in enumerate((0.0, 0.1))]
    ax = plot.learning_curves(runs, ["mAP", "mAP_tail"])
    drawn = [line.get_xydata().tolist() for line in ax.lines if line.get_linewidth() > style.THIN]
    assert drawn == [[[1, 0.35], [3, 0.5]], [[1, 0.1], [3, 0.25]]]
    assert bands_of(ax) == [{1: (0.3, 0.4), 3: (0.5, 0.5)}, {1: (0.1, 0.1), 3: (0.2, 0.2 + 0.1)}]
    assert legend_of(ax) == ["mAP", "tail", "mean, min to max of 2 runs"]
    stages = [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == style.THIN]
    assert stages == [1.5]
    assert {"train", "classifier"} <= set(texts_of(ax))


def bands_of(ax):
    """The lowest and the highest value of each band at its epochs."""
    found = []
    for band in ax.collections:
        corners = np.concatenate([path.vertices for path in band.get_paths()])
        values = {x: corners[corners[:, 0] == x, 1] for x in sorted(set(corners[:, 0].tolist()))}
        found.append({x: (float(y.min()), float(y.max())) for x, y in values.items()})
    return found


def test_band_of_random_runs_is_their_extremes_and_mean():
    rng, epochs = np.random.default_rng(0), list(range(7))
    losses = rng.random((5, len(epochs)))
    runs = [{"name": f"{n}", "group": "g", "epochs": epochs, "columns": {"loss": row.tolist()}}
            for n, row in enumerate(losses)]  # fmt: skip
    ax = plot.learning_curves(runs)
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), losses.mean(0))
    (band,) = bands_of(ax)
    np.testing.assert_array_equal([band[epoch][0] for epoch in epochs], losses.min(0))
    np.testing.assert_array_equal([band[epoch][1] for epoch in epochs], losses.max(0))
    assert to_hex(ax.collections[0].get_facecolor()[0][:3]) == to_hex(line.get_color())


def test_a_single_run_has_no_band():
    ax = plot.learning_curves([make_run("a"), make_run("b")])
    assert len(ax.collections) == 0
    assert legend_of(ax) == ["a", "b"]


def test_repetitions_with_one_shared_epoch_are_a_point_with_a_bar():
    runs = [{"name": f"{n}", "group": "g", "epochs": [4], "columns": {"mAP": [value]}}
            for n, value in enumerate((0.2, 0.4, 0.6))]  # fmt: skip
    ax = plot.learning_curves(runs, ["mAP"])
    assert bands_of(ax) == [{4: (0.2, 0.6)}]
    assert ax.lines[0].get_xydata().tolist() == [[4, pytest.approx(0.4)]]
    assert ax.lines[0].get_marker() == "o"


def test_legend_names_the_numbers_of_repetitions():
    runs = [make_run(f"{group} {seed}", group) for group, number in (("a", 3), ("b", 2), ("c", 1))
            for seed in range(number)]  # fmt: skip
    assert legend_of(plot.learning_curves(runs)) == ["a", "b", "c", "mean, min to max of 2 to 3 runs"]


def rate_lines(ax):
    """The epochs before which a line marks a lower learning rate, with its color."""
    lines = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and line.get_linewidth() == style.THIN]
    dotted = [line for line in lines if line._unscaled_dash_pattern[1] == (1, 1.5)]
    return [(line.get_xdata()[0] + 0.5, to_hex(line.get_color()).upper()) for line in dotted]


def with_rates(rates, name="bce", group=None, stages=()):
    columns = {"lr": rates, "loss": [1.0] * len(rates), "mAP": [0.1] * len(rates)}
    run = {"name": name, "epochs": list(range(len(rates))), "columns": columns, "stages": stages}
    return run if group is None else run | {"group": group}


@pytest.mark.parametrize(
    ("rates", "stages", "falls"),
    [
        ([1.0, 1.0, 0.1, 0.1, 0.01], (), [2, 4]),
        ([1.0, 0.1, 0.01, 0.01], (), [1, 2]),  # two steps, one after the other
        ([1.0, 0.9, 0.8, 0.7, 0.7, 0.1], (), [5]),  # gradual, then a step
        ([1.0, 0.5, 0.4, 0.3], (), []),  # gradual to the end
        ([0.1, 0.2, 0.2, 1.0], (), []),  # a rate that rises
        ([1.0, 1.0, 0.1, 0.01], [["train", 0], ["classifier", 2]], [3]),  # the stage has a line of its own
        ([1.0, None, 0.1, float("nan"), 0.1], (), [2]),
        ([1.0], (), []),
    ],
)
def test_falls_of_the_learning_rate_have_lines(rates, stages, falls):
    ax = plot.learning_curves([with_rates(rates, stages=stages)])
    assert rate_lines(ax) == [(epoch, style.GREY) for epoch in falls]
    assert ("learning rate falls" in legend_of(ax)) == bool(falls)


def test_runs_without_a_learning_rate_have_no_lines_for_it():
    assert rate_lines(plot.learning_curves([make_run(stages=())])) == []


def test_a_fall_of_one_group_alone_has_its_color():
    one, two = with_rates([1, 1, 0.1], "a"), with_rates([1, 0.1, 0.1], "b")
    shared = [with_rates([1, 1, 0.1], f"a {seed}", "a") for seed in range(2)]
    colors = [style.mark_of(number).color for number in range(2)]
    assert rate_lines(plot.learning_curves([one, two])) == [(1, colors[1]), (2, colors[0])]
    assert rate_lines(plot.learning_curves([one, two, with_rates([1, 0.1, 0.1], "c")]))[0] == (1, style.GREY)
    assert rate_lines(plot.learning_curves([*shared, with_rates([1, 1, 0.1], "b")])) == [(2, style.GREY)]


def test_every_panel_has_its_band_and_lines_and_the_first_explains_them():
    runs = [with_rates([1.0, 0.1, 0.1], f"bce {seed}", "bce") for seed in range(3)]
    first, second = plot.training_figure(runs).axes
    for ax in (first, second):
        assert len(ax.collections) == 1
        assert rate_lines(ax) == [(1, style.GREY)]
    assert legend_of(first) == ["bce", "mean, min to max of 3 runs", "learning rate falls"]
    assert second.get_legend() is None


def test_no_text_of_learning_curves_leaves_the_figure():
    groups = [f"distribution_balanced lr_steps={n}" for n in range(4)]
    runs = [with_rates([1.0, 0.1, 0.1], f"{group} {seed}", group) for group in groups for seed in range(2)]
    for width in (style.WIDTH, 6.5):
        figure = plot.training_figure(runs, width=width, title="four methods")
        figure.draw_without_rendering()
        width_px, height_px = figure.get_size_inches() * figure.dpi
        texts = [text for ax in figure.axes for text in (ax.xaxis.label, ax.yaxis.label)]
        texts += [figure._suptitle, *figure.axes[0].get_legend().get_texts()]
        boxes = [text.get_window_extent() for text in texts if text.get_text()]
        assert min(min(box.x0, box.y0) for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= width_px
        assert max(box.y1 for box in boxes) <= height_px


def test_mean_is_of_epochs_that_all_runs_have():
    short = make_run("b", "bce", 0.2)
    short = short | {"epochs": [0, 1], "columns": {"loss": [1.0, 0.5]}}
    ax = plot.learning_curves([make_run("a", "bce"), short])
    longer, mean = (line for line in ax.lines if line.get_linewidth() != style.THIN)
    assert mean.get_xydata().tolist() == [[0, 0.95], [1, 0.6]]
    assert longer.get_xydata().tolist() == [[0, 0.9], [1, 0.7], [2, 0.5], [3, 0.4]]  # thin, and all of it
    assert longer.get_linewidth() < style.THIN
    assert bands_of(ax) == [{0: (0.9, 1.0), 1: (0.5, 0.7)}]
    assert legend_of(ax) == ["bce", "mean, min to max of 2 runs"]


def test_panels_of_one_method_and_of_several():
    one, two = make_run("bce"), make_run("crt", shift=0.1, stages=())
    assert [ax.get_ylabel() for ax in plot.training_figure([one]).axes] == ["loss", "mAP"]
    axes = plot.training_figure([one, two]).axes
    assert [ax.get_ylabel() for ax in axes] == ["loss", "mAP", "mAP, tail"]
    assert legend_of(axes[0]) == ["bce", "crt"]
    figure = plot.training_figure([one], [["loss"], ["mAP_tail", "mAP_tail"]], width=5, title="a $title$")
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "mAP"]
    assert figure.get_figwidth() == 5
    assert "a $title$" in texts_of(figure)


# ---------------------------------------------------------------------------------------------------------------------
# Axes and settings of the caller
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_axes_come_back_and_no_setting_changes(report, evaluation, comparison, name):
    draw = all_figures(report, evaluation, comparison)[name]
    before = dict(matplotlib.rcParams)
    figure = Figure(figsize=(6, 3))
    left, right = figure.subplots(1, 2)
    assert draw(ax=right) is right
    assert not left.has_data()
    assert figure.get_size_inches().tolist() == [6, 3]
    own = draw()
    assert own.get_figure() is not figure
    assert own.get_figure().get_figwidth() == pytest.approx(style.WIDTH)
    texts_of(own)
    texts_of(right)
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported(tmp_path):
    code = f"""
import sys, numpy as np, vltr_eval
from vltr_eval import plot
assert "matplotlib" not in sys.modules
scores, labels = np.float32([[0.9], [0.8], [0.7]]), np.uint8([[1], [0], [1]])
plot.save(plot.group_bars(vltr_eval.evaluate(scores, labels)), {str(tmp_path / "bars.pdf")!r})
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_missing_matplotlib_is_one_sentence(report):
    code = """
import sys
sys.modules["matplotlib"] = None
from vltr_eval import plot
try:
    plot.reliability({"groups": {}})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == 'vltr_eval.plot needs matplotlib: pip install "vltr[plot]"', done.stderr


def test_settings_of_the_user_change_no_figure_but_its_fonts(report, tmp_path):
    plot.save(plot.group_bars(report), tmp_path / "a.svg")
    with matplotlib.rc_context({"axes.grid": True, "lines.linewidth": 9, "savefig.bbox": "tight", "text.usetex": True}):
        plot.save(plot.group_bars(report), tmp_path / "b.svg")
    with matplotlib.rc_context({"font.family": "monospace"}):
        plot.save(plot.group_bars(report), tmp_path / "c.svg")
    first, second, third = (Path(tmp_path, f"{name}.svg").read_bytes() for name in "abc")
    assert first == second != third


# ---------------------------------------------------------------------------------------------------------------------
# Names
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", plot.FORMATS)
def test_hostile_names_are_text(tmp_path, kind):
    """No mathtext, no lost legend entry, no line break, no warning of a missing glyph (warnings are errors)."""
    scores, labels = make_predictions(len(HOSTILE))
    names = list(HOSTILE)
    found = compare(
        scores, scores + labels, labels=labels, class_names=names, names=["$\\base$", "_new\n"], train_counts=[5] * 14
    )
    evaluation = Evaluation.from_predictions(scores, labels, class_names=names)
    axes = [
        plot.precision_recall(evaluation, range(MOST_CLASSES)),
        plot.class_differences(found),
        plot.class_scatter(found),
        plot.group_outcomes(found),
        plot.group_bars({name: evaluation.report for name in HOSTILE[:6]}),
        plot.learning_curves([make_run(name) for name in HOSTILE if name]),
    ]
    for number, ax in enumerate(axes):
        plot.save(ax, tmp_path / f"{number}.{kind}")
        shown = texts_of(ax)
        assert all("\n" not in text or "better" in text for text in shown)
    shown = [text.get_text() for text in axes[1].get_yticklabels()]
    for expected in ("$\\frac{1}{0}$", "_hidden", "two\\nlines", "\\x1b[31mred", "\\u202eevil", "<script>&amp;", "''"):
        assert expected in shown
    assert "\\u6f14\\u594f\\u5c0f..." in shown
    assert len(shown) == len(set(shown)) == len(found.systems[0].moved_most(20))
    assert legend_of(axes[0])[1].startswith("_hidden, AP ")


def test_long_names_keep_the_axes_wide(report):
    ax = plot.group_bars({"a" * 300: report, "b" * 300: report})
    plot.output.figure_of(ax).draw_without_rendering()
    assert ax.get_position().width > 0.6


def test_names_of_two_directions_keep_their_numbers_behind():
    assert style.readable("\u05e2\u05d1") == "\u200e\u05e2\u05d1"
    assert style.readable("plain") == "plain"


def test_groups_have_the_same_mark_in_every_figure():
    full, part = style.group_marks(["head", "medium", "tail", "birds"]), style.group_marks(["fish", "tail", "few"])
    assert part["tail"] == full["tail"] == style.group_marks(["few"])["few"]
    assert len({mark.color for mark in full.values()}) == len({mark.marker for mark in full.values()}) == 4
    assert part["fish"] != part["tail"]


def test_many_groups_have_marks_of_their_own():
    marks = style.group_marks([f"group {number}" for number in range(40)])
    for attribute in ("marker", "dash", "hatch"):
        assert len({(mark.color, str(getattr(mark, attribute))) for mark in marks.values()}) == 40


def drawn(ax):
    """The renderer of a figure whose parts have their places."""
    ax.figure.draw_without_rendering()
    return ax.figure._get_renderer()


def test_names_of_many_bars_do_not_overlap():
    labels = np.eye(18, dtype=np.uint8)
    groups = [f"partition {number % 9}" for number in range(18)]
    ax = plot.group_bars(evaluate(np.float32(labels), labels, sap=None, topk=None, groups=groups))
    renderer, texts = drawn(ax), ax.get_xticklabels()
    assert {text.get_rotation() for text in texts} == {30.0}
    apart = np.diff([text.get_window_extent(renderer).x1 for text in texts]) * np.sin(np.radians(30.0))
    assert min(apart) > texts[0].get_fontsize() * ax.figure.dpi / 72


def test_legend_of_many_groups_hides_no_line():
    section = {"count": [8, 2], "mean_score": [0.1, 0.9], "frequency": [0.125, 0.5], "ECE": 0.1}
    ax = plot.reliability({"bins": 2, "groups": {f"group {number}": section for number in range(12)}})
    renderer = drawn(ax)
    assert ax.get_legend().get_window_extent(renderer).y0 >= ax.get_window_extent(renderer).y1


def test_marks_differ_in_grey():
    for attribute in ("marker", "hatch"):
        assert len({getattr(mark, attribute) for mark in style.MARKS}) == len(style.MARKS)
    assert len({str(mark.dash) for mark in style.MARKS}) == len(style.MARKS)


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------

SAVE_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
import test_plot as t
report = t.evaluate(t.SCORES, t.LABELS, train_counts=t.COUNTS, interval=0.9, sap=3)
evaluation = t.Evaluation.from_predictions(t.SCORES, t.LABELS, train_counts=t.COUNTS)
new = t.SCORES + t.np.float32(0.8) * t.LABELS
comparison = t.compare(t.SCORES, new, labels=t.LABELS, train_counts=t.COUNTS)
for name, draw in t.all_figures(report, evaluation, comparison).items():
    for kind in t.plot.FORMATS:
        t.plot.save(draw(), f"{sys.argv[2]}/{name}.{kind}", dpi=60)
"""


def test_two_processes_write_the_same_bytes(tmp_path):
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": str(1000 * int(seed))}
        command = [sys.executable, "-c", SAVE_ALL, str(Path(__file__).parent), str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert len(files) == 3 * len(NAMES)
    for name in files:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


@pytest.mark.parametrize("kind", plot.FORMATS)
def test_files_have_no_date_and_no_version(report, tmp_path, kind):
    plot.save(plot.group_bars(report), tmp_path / f"figure.{kind}")
    content = (tmp_path / f"figure.{kind}").read_bytes()
    start = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[kind]
    assert content.startswith(start)
    for word in (b"CreationDate", b"Producer", b"dc:date", b"Software", matplotlib.__version__.encode()):
        assert word not in content


def test_pdf_has_truetype_fonts_of_its_width(report, tmp_path):
    plot.save(plot.group_bars(report), tmp_path / "figure.pdf")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    width, _ = map(float, re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content).groups())
    assert width == pytest.approx(72 * style.WIDTH)
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    assert any(b"BT" in zlib.decompress(stream) for stream in streams if stream.startswith(b"x"))


def test_svg_text_is_outlines(report, tmp_path):
    plot.save(plot.group_bars(report), tmp_path / "figure.svg")
    assert "<text" not in (tmp_path / "figure.svg").read_text()


def test_unknown_suffix_is_refused_before_anything_is_written(report, tmp_path):
    with pytest.raises(ValueError, match=r"path: expected a name that ends in one of \.pdf, .* got 'a\.jpg'"):
        plot.save(plot.group_bars(report), "a.jpg")
    assert not Path("a.jpg").exists()
    with pytest.raises(OutputError, match="cannot be written"):
        plot.save(plot.group_bars(report), tmp_path / "missing" / "a.pdf")


def test_failed_files_leave_the_old_one(report, tmp_path, monkeypatch):
    path = tmp_path / "figure.pdf"
    path.write_text("old")

    def fail(*_, **__):
        raise RuntimeError("stopped")

    ax = plot.group_bars(report)
    monkeypatch.setattr(plot.output.figure_of(ax), "savefig", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        plot.save(ax, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure.pdf"]
    assert path.read_text() == "old"


def test_figures_of_the_user_are_saved_whole(report, tmp_path):
    figure = Figure(figsize=(6, 3))
    part, _ = figure.subfigures(1, 2)
    ax = plot.group_bars(report, ax=part.subplots())
    plot.save(ax, tmp_path / "a.svg")
    plot.save(figure, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert b'width="432pt"' in (tmp_path / "a.svg").read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# Mistakes
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    return evaluate(SCORES, LABELS, sap=None)


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda plain: plot.ap_by_train_count(plain), "report: expected the training samples of the classes, got"),
        (lambda plain: plot.sap_by_ap(plain), "report: expected sampled AP, got a report without it"),
        (lambda plain: plot.group_bars(plain, "AP"), "metric: expected one of mAP, ROC_AUC, Acc@1, Acc@5, got 'AP'"),
        (lambda plain: plot.group_bars({}), "reports: expected at least one report, got none"),
        (lambda plain: plot.group_bars([1]), "reports: expected a Report, or several by name, got int"),
        (lambda plain: plot.reliability(plain), "report: expected calibration, got a report without it"),
        (lambda plain: plot.reliability({"groups": {"a": {}}}), "frequency and ECE, got none of the name 'count'"),
        (lambda plain: plot.reliability({"groups": [1]}), "source: expected groups with lists of numbers, one for"),
        (lambda plain: plot.precision_recall(plain, 0), "source: expected an Evaluation or a RankTable, got Report"),
        (lambda plain: plot.learning_curves([]), "runs: expected at least one run, got none"),
        (lambda plain: plot.learning_curves([make_run()], ["empty"]), "columns: expected columns with values, among"),
        (lambda plain: plot.learning_curves([make_run()], []), "columns: expected at least one column, got none"),
        (lambda plain: plot.training_figure([make_run()], width=0), "width: expected inches from 1 to 40, got 0"),
    ],
)
def test_missing_data_is_one_sentence(plain, draw, sentence):
    with pytest.raises((ValueError, TypeError), match=re.escape(sentence)):
        draw(plain)


def test_missing_intervals_are_refused():
    with pytest.raises(ValueError, match="intervals: expected a report with intervals, got one without"):
        plot.ap_by_train_count(evaluate(SCORES, LABELS, train_counts=COUNTS), intervals=True)


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (["nam 3"], "classes: expected a known name, got 'nam 3'; did you mean name 3"),
        ([8], "classes: expected indices from 0 to 7, got 8"),
        ([-1], "classes: expected indices from 0 to 7, got -1"),
        ([], "classes: expected 1 to 12 classes, whose curves can be told apart, got 0"),
        (range(13), "classes: expected 1 to 12 classes, whose curves can be told apart, got 13"),
    ],
)
def test_unknown_classes_are_refused(evaluation, classes, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        plot.precision_recall(evaluation, classes)


def test_classes_without_names_or_positives_are_refused():
    labels = LABELS.copy()
    labels[:, 3] = False
    table = rank_table(SCORES, labels)
    with pytest.raises(ValueError, match="classes: expected classes with positives, got 3, which has none"):
        plot.precision_recall(table, [3])
    with pytest.raises(ValueError, match="because the classes have no names, got 'dog'"):
        plot.precision_recall(table, ["dog"])
    with pytest.raises(ValueError, match="names: expected 8 names, one for each class, got 1"):
        plot.precision_recall(table, [0], names=["dog"])


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        (lambda c: plot.class_scatter(c), "system: expected one of new, worse, got none"),
        (lambda c: plot.class_scatter(c, "wrose"), "system: expected a known name, got 'wrose'; did you mean worse"),
        (lambda c: plot.class_differences(c, "new", sort="name"), "sort: expected one of"),
        (lambda c: plot.class_differences(c, "new", limit=0), "limit: expected a number from 1 up"),
        (lambda c: plot.group_outcomes(c, adjustment="none"), "adjustment: expected one of holm"),
        (lambda c: plot.head_tail_trade(c, groups=("head", "tial")), "expected the means mAP_head and mAP_tial, got"),
    ],
)
def test_mistakes_about_comparisons_are_one_sentence(comparison, draw, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        draw(comparison)


def test_saved_evaluations_have_differences_without_tests(evaluation):
    new = Evaluation.from_predictions(SCORES + LABELS, LABELS, train_counts=COUNTS)
    found = compare(replace(evaluation, report=replace(evaluation.report)), new)
    assert not any("better" in text for text in texts_of(plot.class_scatter(found)))
    assert len(plot.class_differences(found, limit=3).get_yticks()) == 3
    assert plot.head_tail_trade(found).has_data()
    with pytest.raises(ValueError, match="comparison: expected tests of single classes"):
        plot.group_outcomes(found)


def test_comparisons_without_groups_are_refused_by_the_trade():
    found = compare(SCORES, SCORES + LABELS, labels=LABELS)
    with pytest.raises(ValueError, match="expected the means mAP_head and mAP_tail, got Acc@1"):
        plot.head_tail_trade(found)
    with pytest.raises(ValueError, match="sort: expected training counts for the order by train_count"):
        plot.class_differences(found, sort="train_count")
    few = compare(SCORES[:12], SCORES[:12] + LABELS[:12], labels=LABELS[:12])
    with pytest.raises(ValueError, match="comparison: expected a class with at least 10 positives, got none"):
        plot.class_differences(few)
