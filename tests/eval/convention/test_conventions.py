"""The conventions: laws, definitions written out slowly, answers for printed numbers, and the forms of the result."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from devices import CudaArray
from hypothesis import given, settings
from hypothesis import strategies as st
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

import vltr_eval
from vltr_eval import conventions
from vltr_eval.convention.changes import Rule
from vltr_eval.convention.definitions import CONVENTIONS, TIE_RULES
from vltr_eval.convention.printed import read_number

# ---------------------------------------------------------------------------------------------------------------------
# Definitions, written slowly: a list of (score, label) pairs, sorted in an order, and a loop
# ---------------------------------------------------------------------------------------------------------------------


def ordered(scores, labels, ties):
    rows = list(range(len(scores)))
    if ties == "reversed":
        rows.reverse()
    if ties in ("worst", "best"):
        rows.sort(key=lambda row: labels[row] if ties == "worst" else -labels[row])
    return sorted(rows, key=lambda row: -scores[row])


def points_of(scores, labels, ties):
    """Return (recall, precision) at each positive, or at each distinct score if ties are joined."""
    total, found, points = int(sum(labels)), 0, []
    if ties == "joined":
        for threshold in sorted(set(scores), reverse=True):
            reached = [row for row in range(len(scores)) if scores[row] >= threshold]
            found = sum(int(labels[row]) for row in reached)
            points.append((found / total, found / len(reached)))
        return points
    for rank, row in enumerate(ordered(scores, labels, ties), 1):
        if labels[row]:
            found += 1
            points.append((found / total, found / rank))
    return points


def slow_step(scores, labels, ties):
    area, before = 0.0, 0.0
    for recall, precision in points_of(scores, labels, ties):
        area += (recall - before) * precision
        before = recall
    return area


def slow_envelope(scores, labels, ties):
    points = points_of(scores, labels, ties)
    area, before = 0.0, 0.0
    for number, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[number:])
        before = recall
    return area


def slow_interpolated(scores, labels, ties, count):
    """The highest precision at recalls of at least i / (count - 1), with recalls as whole numbers of positives."""
    points, total = points_of(scores, labels, ties), int(sum(labels))
    # A recall of exactly i / 10 misses thresholds that the original's floats put a bit above it.
    steps = np.arange(0.0, 1.1, 0.1) if count == 11 else np.linspace(0.0, 1.0, 101)
    best = [max((p for r, p in points if round(r * total) / total >= step), default=0.0) for step in steps]
    return sum(best) / count


def slow_trapezoid(scores, labels):
    points, area = [(0.0, 1.0), *points_of(scores, labels, "joined")], 0.0
    for (r0, p0), (r1, p1) in itertools.pairwise(points):
        area += (r1 - r0) * (p0 + p1) / 2
    return area


def slow_roc(scores, labels):
    positives = [s for s, y in zip(scores, labels, strict=True) if y]
    negatives = [s for s, y in zip(scores, labels, strict=True) if not y]
    wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    return wins / (len(positives) * len(negatives))


def slow_mean(scores, labels, function, absent):
    values = [
        function(scores[:, c].tolist(), labels[:, c].tolist()) if labels[:, c].any() else absent
        for c in range(scores.shape[1])
    ]
    values = [value for value in values if value is not None]
    return sum(values) / len(values)


KEYS = {convention.key for convention in CONVENTIONS}


def slow_values(scores, labels):
    """Return the conventions that need no sigmoid, as (low, high)."""
    found = {}
    rules = {"zero": 0.0, "left-out": None, "one": 1.0}
    for ties in ("joined", "rows", "reversed", "worst"):
        for name, absent in rules.items():
            value = slow_mean(scores, labels, lambda s, y, ties=ties: slow_step(s, y, ties), absent)
            if f"step-{ties}-{name}" in KEYS:
                found[f"step-{ties}-{name}"] = (value, value)

    def ends(function, absent):
        return tuple(slow_mean(scores, labels, lambda s, y, t=t: function(s, y, t), absent) for t in ("worst", "best"))

    found["step-unstable-left-out"] = ends(slow_step, None)
    found["envelope-left-out"] = ends(slow_envelope, None)
    found["voc07"] = ends(lambda s, y, t: slow_interpolated(s, y, t, 11), 0.0)
    value = slow_mean(scores, labels, lambda s, y: slow_interpolated(s, y, "rows", 101), None)
    found["coco101"] = (value, value)
    value = slow_mean(scores, labels, slow_trapezoid, 0.5)
    found["trapezoid-half"] = (value, value)
    value = slow_step(scores.ravel().tolist(), labels.ravel().tolist(), "joined")
    found["micro"] = (value, value)
    weights = labels.sum(axis=0)
    each = [slow_step(scores[:, c], labels[:, c], "joined") if weights[c] else 0.0 for c in range(len(weights))]
    value = float(np.dot(each, weights)) / weights.sum()
    found["weighted"] = (value, value)
    for ties, absent, key in (
        ("joined", 0.0, "rows-zero"),
        ("joined", 1.0, "rows-one"),
    ):
        value = slow_mean(scores.T, labels.T, lambda s, y, ties=ties: slow_step(s, y, ties), absent)
        found[key] = (value, value)
    found["rows-unstable"] = tuple(
        slow_mean(scores.T, labels.T, lambda s, y, t=t: slow_step(s, y, t), 0.0) for t in ("worst", "best")
    )
    padded = np.concatenate([scores, np.ones((5, scores.shape[1]))])
    flags = np.concatenate([labels, np.ones((5, scores.shape[1]), int)])
    value = slow_mean(padded, flags, lambda s, y: slow_step(s, y, "joined"), 0.0)
    found["padded"] = (value, value)
    padded = np.concatenate([scores, np.zeros((5, scores.shape[1]))])
    flags = np.concatenate([labels, np.zeros((5, scores.shape[1]), int)])
    value = slow_mean(padded, flags, lambda s, y: slow_step(s, y, "joined"), None)
    found["padded-zeros"] = (value, value)
    last = np.where(labels.any(axis=1, keepdims=True), scores, -np.inf)
    found["charades-left-out"] = tuple(
        slow_mean(last, labels, lambda s, y, t=t: slow_step(s, y, t), None) for t in ("worst", "best")
    )
    kept = labels * (scores > 0)
    found["retrieval-above-zero"] = tuple(
        slow_mean(scores, kept, lambda s, y, t=t: slow_step(s, y, t), 0.0) for t in ("worst", "best")
    )
    present = [c for c in range(labels.shape[1]) if 0 < weights[c] < len(labels)]
    if present:
        value = sum(slow_roc(scores[:, c], labels[:, c]) for c in present) / len(present)
        found["roc-auc-left-out"] = (value, value)
    return found


@st.composite
def problems(draw, levels=(1, 2, 4, 50)):
    rows, classes = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level = draw(st.sampled_from(levels))
    scores = rng.integers(0, level + 1, (rows, classes)) / level
    labels = (rng.random((rows, classes)) < draw(st.sampled_from((0.1, 0.4, 0.9)))).astype(np.int64)
    if not labels.any():
        labels[0, 0] = 1
    return scores, labels


@settings(max_examples=60, deadline=None)
@given(problems())
def test_values_equal_the_slow_definitions(problem):
    result = conventions(*problem, threads=1)
    for key, (low, high) in slow_values(*problem).items():
        assert result[key].low == pytest.approx(low, abs=1e-9), key
        assert result[key].high == pytest.approx(high, abs=1e-9), key


# ---------------------------------------------------------------------------------------------------------------------
# Laws
# ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(problems(), st.integers(0, 2**32 - 1))
def test_values_obey_the_laws(problem, seed):
    scores, labels = problem
    result = conventions(scores, labels, threads=1)
    worst = result["step-unstable-left-out"]
    assert worst.low - 1e-12 <= result["step-reversed-left-out"].low <= worst.high + 1e-12
    ends = result["step-epsilon"]
    assert ends.low - 1e-7 <= result["step-rows-zero"].low <= ends.high + 1e-7
    assert ends.low - 1e-7 <= result["step-worst-zero"].low <= ends.low + 1e-7
    assert result["step-rows-one-32"].low == pytest.approx(result["step-rows-one"].low)  # fewer rows than 32
    envelope = result["envelope-left-out"]
    assert envelope.low >= worst.low - 1e-12
    assert envelope.high >= worst.high - 1e-12
    order = np.random.default_rng(seed).permutation(len(scores))
    moved = conventions(scores[order], labels[order], threads=1)
    for value in result:
        if value.convention.ties in ("joined", "worst", "unstable") and value.convention.key != "sampled":
            other = moved[value.key]
            assert other.why.partition(":")[0] == value.why.partition(":")[0]
            assert [other.low, other.high] == pytest.approx([value.low, value.high], abs=1e-9, nan_ok=True), value.key
    for value in result:
        assert not value.why or math.isnan(value.low)
        assert value.why or -1e-12 <= value.low <= value.high or value.convention.key == "d-prime"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_families_are_equal_without_ties_and_absences(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.eye(4, dtype=int), (rng.random((16, 4)) < 0.3).astype(int)])
    scores = rng.permutation(80).reshape(20, 4) / 80 + 1 / 200  # distinct numbers in the inside of 0..1
    result = conventions(scores, labels, threads=1)
    reference = result["step-joined-zero"].value
    for convention in CONVENTIONS:
        if convention.family == "step" and convention.min_positives == 1:
            if convention.key in ("difficult-misused", "charades-nan", "charades-left-out"):
                continue
            assert result[convention.key].value == pytest.approx(reference, abs=1e-7), convention.key
    assert result["micro"].value == pytest.approx(result["youtube8m-gap"].value)
    assert len({result[key].value for key in ("trapezoid-half", "trapezoid-nan", "trapezoid-error")}) == 1


def test_torch_sort_leaves_ties_of_many_rows_open():
    """torch 2.13.0 gives AP 0.33 for 20 equal scores, and row order for 16: findings/torch_sort_order_of_ties.sh."""
    for rows, is_open in ((16, False), (20, True)):
        labels = np.zeros((rows, 1), int)
        labels[: rows // 2] = 1
        result = conventions(np.zeros((rows, 1), np.float32), labels)
        value = result["step-rows-zero"]
        assert value.is_interval == is_open
        assert result["step-rows-one"].value == 1.0  # xgboost's sort is stable
        if not is_open:
            assert value.value == 1.0
            continue
        worst = np.mean(np.arange(1, 11) / np.arange(11, 21))
        assert (value.low, value.high, value.in_rows) == (pytest.approx(worst), 1.0, 1.0)
        assert math.isnan(value.value)
        assert {"step-rows-zero", "step-rows-error"} <= keys_of(result.find("0.500"), "inside the tie interval")
        assert {"step-rows-zero", "step-rows-error"} <= keys_of(result.find("1.0000"), "rounded, in row order")
        assert "(1.00000 in row order)" in result.to_text(width=None)
        assert [row["in_rows"] for row in result.rows() if row["key"] == "step-rows-zero"] == [1.0]


def test_row_order_after_a_sigmoid_is_that_of_the_squashed_scores():
    rng = np.random.default_rng(3)
    scores = (12 * rng.standard_normal((60, 4))).astype(np.float32)
    labels = (rng.random((60, 4)) < 0.3).astype(int)
    squashed = conventions(1 / (1 + np.exp(-np.float64(scores)).astype(np.float32)), labels)
    value = conventions(scores, labels)["step-rows-zero@sigmoid"]
    ends = squashed["step-rows-zero"]
    assert value.is_interval
    assert (value.low, value.high, value.in_rows) == pytest.approx((ends.low, ends.high, ends.in_rows), abs=1e-12)


def test_cut_rows_keep_their_best_scores():
    scores = np.float64([[0.9, 0.5, 0.1], [0.8, 0.7, 0.2], [0.3, 0.6, 0.4]])
    labels = np.uint8([[1, 0, 1], [0, 1, 0], [0, 0, 1]])
    result = conventions(scores, labels, top_k=2)
    assert result["youtube8m-map"].value == pytest.approx((1 + 1 + 0.5) / 3)
    # In one list: .9 hit, .8, .7 hit, .6, .5, .4 hit; four positives.
    assert result["youtube8m-gap"].value == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 4)


def test_rank_metrics_of_xgboost_count_32_rows():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 20, (50, 3)) / 20, (rng.random((50, 3)) < [0.1, 0.9, 0]).astype(int)
    values = [1.0]  # the absent class
    for c in (0, 1):
        hits = np.flatnonzero(labels[ordered(scores[:, c], labels[:, c], "rows"), c])
        values.append(sum((n + 1) / (hit + 1) for n, hit in enumerate(hits) if hit < 32) / min(len(hits), 32))
    assert conventions(scores, labels)["step-rows-one-32"].value == pytest.approx(np.mean(values))


def test_an_open_end_of_a_list_is_an_interval():
    scores, labels = np.float64([[0.5, 0.5, 0.1], [0.9, 0.1, 0.8]]), np.uint8([[1, 0, 0], [0, 1, 1]])
    value = conventions(scores, labels, top_k=1)["youtube8m-gap"]
    # The first row keeps its positive or its negative; neither .1 nor .8 is kept.
    assert (value.low, value.high) == pytest.approx((0.0, (1 / 2) / 3))


def test_unknown_cells_are_left_out_of_their_class():
    labels = LABELS_A.astype(float)
    labels[4, 0] = labels[2, 1] = -1
    known = labels >= 0
    result = conventions(A, labels, unknown=-1)
    slow = [slow_step(A[known[:, c], c], LABELS_A[known[:, c], c], "joined") for c in range(4)]
    assert result["step-joined-zero"].value == pytest.approx(np.mean(slow))
    assert result["micro"].value == pytest.approx(slow_step(A[known], LABELS_A[known], "joined"))
    by_row = [slow_step(A[n, known[n]], LABELS_A[n, known[n]], "joined") for n in range(12)]
    assert result["rows-zero"].value == pytest.approx(np.mean(by_row))
    assert result.facts["unknown_cells"] == 2


def test_shards_and_types_do_not_change_values():
    expected = conventions(A.astype(np.float32), LABELS_A)
    shards = conventions([A[:5].astype(np.float32), A[5:].astype(np.float32)], LABELS_A.astype(bool))
    assert [value.low for value in shards] == pytest.approx([value.low for value in expected], nan_ok=True)
    integers = conventions(np.int64(A * 1e4), LABELS_A)
    assert integers["step-rows-zero"].value == expected["step-rows-zero"].value
    assert integers.facts["outside"]


# ---------------------------------------------------------------------------------------------------------------------
# Number formats
# ---------------------------------------------------------------------------------------------------------------------


def test_number_formats_are_rows_only_where_they_matter():
    result = conventions(B, LABELS_B)
    assert not [value for value in result if value.variant]
    assert result.notes == ("step AP is the same after rounding to float32, float16, bfloat16",)
    assert {value.variant for value in conventions(A, LABELS_A)} == {"", "bfloat16"}
    close = np.float64([[0.5000001], [0.5], [0.2]])
    result = conventions(close, np.uint8([[1], [0], [1]]))
    assert {value.variant for value in result if value.variant} == {"float16", "bfloat16"}
    assert result["step-joined-zero@float16"].value < result["step-joined-zero"].value
    assert result.notes == ("step AP is the same after rounding to float32",)


def test_a_saturated_sigmoid_is_a_row():
    result = conventions(C, LABELS_C)
    assert result["step-rows-zero@sigmoid"].value == pytest.approx(0.75187832, abs=1e-6)
    assert result["step-joined-zero@sigmoid"].value == result["step-joined-zero-sigmoid"].value
    assert result.facts["saturated"] == 27


# ---------------------------------------------------------------------------------------------------------------------
# Printed numbers
# ---------------------------------------------------------------------------------------------------------------------


def keys_of(found, how=None):
    return {match.value.key for match in found.matches if how in (None, match.how)}


def test_a_number_without_ties_and_absences_names_the_family():
    result = conventions(A, LABELS_A)
    found = result.find("0.8266")
    assert {"step-joined-zero", "step-rows-zero", "step-epsilon", "charades-nan"} <= keys_of(found, "rounded")
    assert "No class is absent, so the rules of absent classes give one number." in found.reasons
    assert "No positive shares its score with a negative, so the rules of ties give one number." in found.reasons
    assert "All scores lie from 0 to 1, so a sigmoid for other scores is not applied." in found.reasons
    assert keys_of(result.find("81.17")) == {"davis-goadrich", "davis-goadrich-sigmoid"}
    assert keys_of(result.find("0.8105")) > keys_of(result.find("0.81054")) == {"keras"}
    assert keys_of(result.find("1.0417")) == {"d-prime"}
    assert keys_of(result.find("100.000")) == {"difficult-misused"}


def test_numbers_tell_absent_classes_and_ties_apart():
    result = conventions(B, LABELS_B)
    for number, key in {
        "0.7671": "step-joined-left-out",
        "0.8253": "step-joined-one",
        "0.5920": "step-rows-zero",
        "0.6107": "step-reversed-zero",
        "0.8420": "step-rows-one",
        "0.8143": "step-reversed-left-out",
        "0.7210": "trapezoid-half",
        "0.5895": "keras",
        "0.5724": "step-worst-zero",
    }.items():
        assert key in keys_of(result.find(number), "rounded")
        assert not keys_of(result.find(number), "rounded") & {"step-joined-zero", "micro"}
    assert keys_of(result.find("nan")) >= {"step-joined-nan", "envelope-nan", "rows-nan", "roc-auc-nan"}
    assert "step-rows-error" not in keys_of(result.find("nan"))


def test_a_number_within_a_tie_interval_says_so():
    result = conventions(B, LABELS_B)
    found = result.find("60.18")  # the original of ASL, with one sort of numpy
    assert "step-epsilon" in keys_of(found, "inside the tie interval")
    assert not keys_of(found, "rounded")
    assert any(reason.startswith("Inside a tie interval") for reason in found.reasons)


def test_truncated_digits_are_told_from_rounded_ones():
    result = conventions(A, LABELS_A)
    assert "step-joined-zero" in keys_of(result.find("0.826"), "truncated")
    assert "step-joined-zero" in keys_of(result.find("0.827"), "rounded")
    assert any("without rounding" in reason for reason in result.find("0.826").reasons)
    assert "step-joined-zero" not in keys_of(result.find("0.825"))


def test_percent_and_fraction_are_both_tried():
    result = conventions(A, LABELS_A)
    for text in ("82.66", "82.66%", "82.66 %", "0.8266", "8.266e-1", 0.8266, np.float32(0.8266)):
        found = result.find(text)
        assert "step-joined-zero" in keys_of(found, "rounded")
        (reading,) = {match.reading for match in found.matches if match.value.key == "step-joined-zero"}
        assert reading == ("fraction" if str(text).startswith(("0.", "8.266e")) else "percent")
    assert not keys_of(result.find("0.8266 %"))


def test_digits_beyond_float32_are_not_compared():
    result = conventions(A, LABELS_A)
    assert "step-joined-zero" in keys_of(result.find("0.82659626"), "rounded")  # torchmetrics
    assert "step-joined-zero" in keys_of(result.find(0.8265963203463203), "rounded")
    assert not keys_of(result.find("0.826599"), "rounded")


def test_a_number_of_no_convention_gets_the_nearest_and_causes():
    result = conventions(B, LABELS_B)
    found = result.find("0.1234")
    assert not found.matches
    assert len(found.nearest) == 3
    assert found.reasons[0].startswith("1 class of 4 without positives: if they count as 0, the mean of the others is ")
    assert "8 positives tied with a negative: another tie rule is possible." in found.reasons
    assert any(reason.startswith("A mean of the mAP of batches") for reason in found.reasons)


def test_rules_without_a_publication_are_named():
    labels = np.uint8([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 0]])
    scores = np.float64([[0.1, 0.9, 0.3], [0.4, 0.8, 0.2], [0.6, 0.3, 0.1], [0.7, 0.35, 0.5]])
    result = conventions(scores, labels)
    # Class 0: 1 / 4. Class 1: (1 / 2 + 2 / 4) / 2. Class 1 alone has two positives.
    found = result.find("0.500")
    assert any("classes with at least 2 positives: 0.5" in sentence for sentence in found.others) or found.matches
    assert [reading.value for reading in read_number("50").readings] == [50.0, 0.5]


@pytest.mark.parametrize("text", ["", "x", "0,372", "1_0", "12 percent", "37.2%%"])
def test_text_that_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=r"^find: expected a number such as 0\.372, 37\.2 or 37\.20 %, got "):
        conventions(A, LABELS_A, find=text)


@pytest.mark.parametrize("number", ["-0.1", "100.5", 101, float("inf")])
def test_numbers_that_no_mean_has_are_refused(number):
    with pytest.raises(ValueError, match=r"^find: expected a number from 0 to 1, or percent up to 100, got "):
        conventions(A, LABELS_A, find=number)


def test_values_of_another_type_are_refused():
    for value in (True, object(), b"0.3"):
        with pytest.raises(TypeError, match=r"^find: expected a number or its text, got "):
            conventions(A, LABELS_A, find=value)


# ---------------------------------------------------------------------------------------------------------------------
# The result
# ---------------------------------------------------------------------------------------------------------------------


def test_the_result_has_every_form():
    result = conventions(B, LABELS_B, find=["0.7671", "0.1"])
    document = json.loads(result.to_json())
    assert document["facts"]["absent_classes"] == 1
    assert len(document["conventions"]) == len(CONVENTIONS) == len(result)
    by_key = {row["key"]: row for row in document["conventions"]}
    assert by_key["step-joined-nan"]["value"] is None
    assert by_key["step-joined-nan"]["undefined"] == "nan: class 3 without positives"
    assert by_key["step-epsilon"]["value"] is None
    assert by_key["step-epsilon"]["low"] < by_key["step-epsilon"]["joined"] < by_key["step-epsilon"]["high"]
    assert document["found"][0]["matches"][0] == {
        "key": "step-joined-left-out",
        "how": "rounded",
        "read_as": "fraction",
    }
    rows = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [row["key"] for row in rows] == [value.key for value in result]
    assert float(rows[0]["value"]) == result["step-joined-zero"].value
    assert [row["value"] for row in rows if row["key"] == "step-epsilon"] == [""]
    assert (
        repr(result)
        == f"<Conventions of 12 rows and 4 classes: {len(result)} values, {len(result.groups())} different ones>"
    )
    with pytest.raises(KeyError):
        result["map"]
    pytest.importorskip("pandas")
    assert result.to_frame().loc["micro", "value"] == result["micro"].value


def test_text_shows_equal_values_together():
    text = conventions(A, LABELS_A).to_text()
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines[2:])
    first = next(index for index, line in enumerate(lines) if line.startswith("0.82660"))
    assert "step-joined-zero" in lines[first]
    assert sum(line.startswith("0.82660") for line in lines) == 1
    assert "torchmetrics >= 1.4.0" in conventions(A, LABELS_A).to_text(width=None)


@pytest.mark.parametrize(("scores", "labels"), [(A, LABELS_A), (B, LABELS_B), (C, LABELS_C)], ids="ABC")
def test_inputs_on_a_device_give_the_values_of_the_host(cuda, scores, labels):
    there = conventions(CudaArray(scores), CudaArray(labels), top_k=2)
    assert there.to_json() == conventions(scores, labels, top_k=2).to_json()


def test_two_numbers_are_explained_by_the_fewest_changes():
    result = conventions(B, LABELS_B)
    (change,) = result.explain("76.7", "57.5")
    assert (change.before.key, change.after.key) == ("step-joined-left-out-sigmoid", "step-joined-zero-sigmoid")
    assert str(change) == "an absent class: is left out of the mean -> counts as 0"
    (change,) = result.explain("0.57534", "0.59203")
    assert change.rules == (Rule("equal scores", TIE_RULES["joined"], TIE_RULES["torch"]),)
    (change,) = result.explain("0.605", "0.60")
    assert change.before is change.after
    assert [rule.name for rule in change.rules] == ["equal scores"]
    assert result.explain("0.767", "0.7671") == ()
    assert result.explain("0.767", "0.1") == ()


def test_logits_are_explained_by_the_sigmoid():
    result = conventions(C, LABELS_C)
    first, second = (str(result[key]) for key in ("step-joined-zero", "step-joined-zero-sigmoid"))
    rules = [str(change) for change in result.explain(first, second)]
    assert "sigmoid: no sigmoid -> a sigmoid if a score is below 0 or above 1" in rules
    assert "scores: as they are -> through a float32 sigmoid" in rules


def test_another_curve_is_explained_by_its_definition():
    result = conventions(A, LABELS_A)
    (change,) = result.explain("0.82660", str(result["voc07"]))
    assert [rule.name for rule in change.rules] == ["definition"]
    assert (change.before.key, change.after.key) == ("step-joined-zero", "voc07")


def test_answers_replace_the_table_unless_it_is_requested():
    result = conventions(B, LABELS_B, find=["76.7", "57.5"])
    text = result.to_text()
    assert text.index("76.7 (rounded as percent)") < text.index("from 76.7 to 57.5, the fewest changes:")
    assert "  an absent class: is left out of the mean -> counts as 0\n" in text
    assert "davis-goadrich" not in text
    assert "davis-goadrich" in result.to_text(table=True)
    described = result.to_text(definitions=True)
    assert "step-joined-zero: The sum" in described
    assert "keras-micro: " not in described
    (change,) = json.loads(result.to_json())["changes"]
    assert (change["from"], change["to"]) == ("76.7", "57.5")
    assert change["fewest"][0]["rules"][0]["rule"] == "an absent class"
    assert "from 76.7 to 57.5" in result._repr_html_()


def test_narrow_text_keeps_names_of_projects_readable():
    text = conventions(B, LABELS_B).to_text(width=80)
    assert "scikit-learn >= 1.1.0 +3" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "joined" in conventions(B, LABELS_B).to_text(width=None).split("convention")[0]


def test_an_interval_with_equal_digits_is_one_number():
    value = conventions(B, LABELS_B)["step-epsilon"]
    assert str(value) == "0.57236..0.63076"
    assert str(replace(value, high=value.low + 1e-9)) == "0.57236"


def test_notebooks_show_a_table():
    page = conventions(B, LABELS_B, find="0.7671")._repr_html_()
    assert page.startswith('<div class="vltr">')
    assert "step-joined-left-out" in page
    assert "<script" not in page


def test_definitions_have_their_sources():
    text = conventions(A, LABELS_A).to_text(definitions=True)
    for convention in CONVENTIONS:
        assert f"  {convention.key}: {convention.definition}" in text
        for use in convention.used_by:
            assert use.source in text


def test_progress_goes_up_to_one():
    seen = []
    conventions(A, LABELS_A, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conventions(A, LABELS_A, progress=stop)


def test_wrong_inputs_get_one_sentence():
    with pytest.raises(ValueError, match=r"^labels: no positives in any class"):
        conventions(A, np.zeros(A.shape))
    with pytest.raises(ValueError, match=r"NaN at row 1, class 2"):
        conventions(np.where(np.arange(48).reshape(12, 4) == 6, np.nan, A), LABELS_A)
    with pytest.raises(ValueError, match=r"^top_k: expected a whole number from 1, got 0"):
        conventions(A, LABELS_A, top_k=0)
    with pytest.raises(ValueError, match=r"^labels: 5 rows, but scores has 12"):
        conventions(A, LABELS_A[:5])


def test_other_calls_do_not_import_the_registry():
    code = """
import sys, numpy as np, vltr_eval
vltr_eval.evaluate(np.zeros((4, 2)), np.eye(4, 2))
print([name for name in sys.modules if name.startswith("vltr_eval.convention.")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['vltr_eval.convention.side_by_side']", done.stderr


def test_the_page_of_the_conventions_is_public():
    assert vltr_eval.conventions is conventions
    assert not (Path(vltr_eval.__file__).parent / "conventions.py").exists()
