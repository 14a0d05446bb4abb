"""The table of systems: the best of each mean, and those that are not significantly worse, by pairwise comparisons."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from vltr_eval import Evaluation, compare, evaluate
from vltr_eval._base.text_table import BEST, NOT_WORSE
from vltr_eval.comparison import BestOfMean
from vltr_eval.comparison.tables import system_table

COUNTS = [900, 600, 300, 90, 8]
NAMES = ["base", "a|b_1", "[x]"]
DAGGER = "\u2020"


@pytest.fixture(scope="module")
def systems():
    """Return labels, and the runs of three systems: the second is best in most means, the third close to it."""
    rng = np.random.default_rng(3)
    labels = rng.random((80, 5)) < [0.4, 0.3, 0.3, 0.2, 0.1]
    labels[0] = True
    shared = rng.normal(size=labels.shape)

    def run(lift):
        return (shared + 0.5 * rng.normal(size=labels.shape) + lift * labels).astype(np.float32)

    return labels, [[run(lift) for _ in range(count)] for lift, count in ((1.0, 3), (1.6, 2), (1.5, 1))]


@pytest.fixture(scope="module", params=["one run", "several runs"])
def found(systems, request):
    """Return the labels, the runs of each system, and their comparison."""
    labels, runs = systems
    if request.param == "one run":
        runs = [own[:1] for own in runs]
    return labels, runs, compare(*runs, labels=labels, train_counts=COUNTS, names=NAMES)


def test_the_best_is_tested_against_each_other_as_two_systems_are(found):
    labels, runs, comparison = found
    assert len({mean.best for mean in comparison.best}) > 1
    pairs = {
        (one, other): compare(runs[one], runs[other], labels=labels, train_counts=COUNTS).systems[0]
        for one in range(3)
        for other in range(3)
        if one != other
    }
    for mean in comparison.best:
        assert mean.values[mean.best] == max(mean.values)
        for number in range(3):
            if number == mean.best:
                assert math.isnan(mean.p_values[number])
            else:
                expected = pairs[mean.best, number].of(mean.name).p_value
                assert mean.p_values[number] == pytest.approx(expected, rel=1e-12)


def test_values_and_deviations_are_those_of_the_runs(found):
    labels, runs, comparison = found
    reports = [[evaluate(one, labels, sap="exact", train_counts=COUNTS).metrics() for one in own] for own in runs]
    for mean in comparison.best:
        for number, own in enumerate(reports):
            values = [report[mean.name] for report in own]
            assert mean.values[number] == pytest.approx(np.mean(values), rel=1e-12)
            expected = None if len(own) == 1 else pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-15)
            assert mean.deviations[number] == expected


def test_saved_evaluations_have_the_same_best(systems):
    labels, runs = systems
    saved = [[Evaluation.from_predictions(one, labels, train_counts=COUNTS) for one in own] for own in runs]
    direct = compare(*runs, labels=labels, train_counts=COUNTS, names=NAMES)
    assert repr(compare(*saved, names=NAMES).best) == repr(direct.best)


def rows_of(markdown: str) -> list[list[str]]:
    """Return the cells of the first table of Markdown."""
    table = markdown.partition("\n\n|")[2].partition("\n\n")[0]
    lines = table.split("\n")
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("| "))] for line in (lines[0], *lines[2:])]


def test_the_table_of_systems_marks_by_the_p_values(found):
    _, runs, comparison = found
    markdown = comparison.to_markdown()
    assert markdown.startswith("### systems\n\n| ")
    head, *rows = rows_of(markdown)
    assert head == ["mAP", "mAP head", "mAP medium", "mAP tail", "exact SAP", "Acc@1", "Acc@5"]
    several = ["" if len(own) == 1 else f" ({len(own)} runs)" for own in runs]
    escaped = ["base", r"a\|b\_1", r"\[x]"]
    assert [row[0] for row in rows] == [name + more for name, more in zip(escaped, several, strict=True)]
    known = {mean.name: mean for mean in comparison.best}
    columns = ["mAP", "mAP_head", "mAP_medium", "mAP_tail", "expected_SAP", "Acc@1", "Acc@5"]
    seen = set()
    for place, name in enumerate(columns, 1):
        mean = known[name]
        for number, row in enumerate(rows):
            text = f"{mean.values[number]:.4f}"
            if mean.deviations[number] is not None:
                text += f" \u00b1 {mean.deviations[number]:.4f}"
            if mean.values[number] == max(mean.values):
                text, mark = f"**{text}**", BEST
            else:
                mark = NOT_WORSE if mean.p_values[number] > 0.05 else None
                text += DAGGER if mark else ""
            assert row[place] == text
            seen.add(mark)
    assert seen == {BEST, NOT_WORSE, None}
    latex = comparison.to_latex()
    assert latex.count(r"\begin{tabular}") == 3
    assert latex.count(r"\textbf{") == markdown.count("**") / 2  # in the legend, too
    assert latex.count(r"$^\dagger$") == markdown.count(DAGGER)
    assert r"a\textbar{}b\_1" in latex
    assert "\n{}[x]" in latex
    commands = set(re.findall(r"\\[a-zA-Z]+", re.sub(r"(?m)^%.*$", "", latex)))
    assert commands <= {
        *(r"\begin", r"\end", r"\toprule", r"\midrule", r"\bottomrule", r"\textbf", r"\dagger", r"\pm", r"\textbar"),
    }
    assert latex.count("{") == latex.count("}")


def test_json_has_the_best_of_three_systems_alone(systems):
    labels, runs = systems
    comparison = compare(*runs, labels=labels, train_counts=COUNTS, names=NAMES)
    document = json.loads(comparison.to_json(), parse_constant=pytest.fail)
    for mean in comparison.best:
        entry = document["best"][mean.name]
        assert entry["system"] == NAMES[mean.best]
        assert entry["p_values"] == {
            name: None if math.isnan(p) else p for name, p in zip(NAMES, mean.p_values, strict=True)
        }
        assert entry["deviations"] == dict(zip(NAMES, mean.deviations, strict=True))
    two = compare(*runs[:2], labels=labels, train_counts=COUNTS)
    assert "best" not in json.loads(two.to_json())
    assert [mean.best for mean in two.best] == [int(mean.difference > 0) for mean in two.systems[0].means]


def test_two_systems_have_the_table_for_chosen_means(systems):
    labels, runs = systems
    two = compare(*runs[:2], labels=labels, train_counts=COUNTS, names=NAMES[:2])
    assert two.to_latex().count(r"\begin{tabular}") == 1
    assert "### systems" not in two.to_markdown()
    head, *rows = rows_of(two.to_markdown(means=["ROC_AUC_tail", "mAP"]))
    assert head == ["ROC-AUC tail", "mAP"]
    assert len(rows) == 2
    assert two.to_latex(means=["mAP"]).count(r"\begin{tabular}") == 2
    with pytest.raises(ValueError, match=r"^means: expected a known name, got 'mAP_tial'; did you mean mAP_tail"):
        two.to_latex(means=["mAP", "mAP_tial"])


def mean_of(values, p_values, best=0):
    return BestOfMean("mAP", tuple(values), (None,) * len(values), best, tuple(p_values))


@pytest.mark.parametrize(
    ("mean", "level", "expected"),
    [
        (mean_of([0.5, 0.4, 0.3], [math.nan, 0.05, 0.0501]), 0.95, [BEST, None, NOT_WORSE]),
        (mean_of([0.5, 0.4, 0.3], [math.nan, 0.05, 0.11]), 0.9, [BEST, None, NOT_WORSE]),
        (mean_of([0.5, 0.5, 0.3], [math.nan, 1.0, 0.01]), 0.95, [BEST, BEST, None]),
        (mean_of([0.4, 0.5, 0.3], [math.nan, math.nan, math.nan], 1), 0.95, [None, BEST, None]),  # no row has an effect
        (mean_of([math.nan, 0.5, 0.3], [math.nan, math.nan, 0.5], 1), 0.95, [None, BEST, NOT_WORSE]),
        (mean_of([math.nan] * 3, [math.nan] * 3, None), 0.95, [None, None, None]),
    ],
)
def test_marks_follow_the_rule(mean, level, expected):
    table = system_table(["a", "b", "c"], [mean], level)
    assert [table.marks.get((row, 1)) for row in range(3)] == expected
    assert set(table.legend) == {mark for mark in expected if mark}


def test_undefined_means_have_no_best():
    labels = np.zeros((30, 3), bool)
    labels[:9, 0] = labels[20:, 1] = True
    rng = np.random.default_rng(0)
    runs = [labels + rng.normal(size=labels.shape) for _ in range(3)]
    comparison = compare(*runs, labels=labels, train_counts=[900, 300, 5])  # no positive in the tail
    (tail,) = (mean for mean in comparison.best if mean.name == "mAP_tail")
    assert tail.best is None
    assert all(map(math.isnan, tail.p_values))
    assert json.loads(comparison.to_json())["best"]["mAP_tail"]["system"] is None
    assert [row[4] for row in rows_of(comparison.to_markdown())[1:]] == ["-"] * 3


def test_undefined_means_of_several_runs_have_no_deviation():
    mean = BestOfMean("mAP", (math.nan, 0.5), (math.nan, 0.25), 1, (math.nan, math.nan))
    table = system_table(["a", "b"], [mean], 0.95)
    assert [row[1] for row in table.rows()] == ["-", "0.5000 +- 0.2500"]
