"""Metrics of ranked lists, against loops over dictionaries, a full matrix, and YouTube-8M's calculator."""

from __future__ import annotations

import json
import math

import list_reference as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltr_eval import Positives, topk_accuracy
from vltr_eval.compat.youtube8m import calculate_gap
from vltr_eval.formats import LabelPairs, Labels
from vltr_eval.ranked_lists import (
    RankedLists,
    evaluate_topk,
    global_average_precision,
    propensities,
    topk_metrics,
)

NUM_CLASSES = 6


@st.composite
def cases(draw):
    """Rows of scored classes, and labels; few values, so that there are ties."""
    row = st.dictionaries(st.integers(0, NUM_CLASSES - 1), st.integers(-2, 3).map(float), max_size=NUM_CLASSES)
    rows = draw(st.lists(row, min_size=1, max_size=6))
    own = st.sets(st.integers(0, NUM_CLASSES - 1), max_size=4)
    return rows, [draw(own) for _ in rows]


def lists_of(rows):
    return RankedLists.from_lists(*reference.lists_of(rows), NUM_CLASSES)


WEIGHTS = [1.0, 2.0, 2.0, 3.5, 7.0, 1.25]


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 8))
def test_metrics_agree_with_loops(case, k):
    rows, labels = case
    found = topk_metrics(lists_of(rows), labels, k=k, propensity=1 / np.array(WEIGHTS))
    expected = reference.topk(rows, labels, k, WEIGHTS)
    for name, value in expected.items():
        assert found[name][k] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(1, 7))
def test_pooled_average_precision_agrees_with_loops(case, depth):
    rows, labels = case
    found = global_average_precision(lists_of(rows), labels, depth=depth)
    assert found == pytest.approx(reference.pooled(rows, labels, depth), abs=1e-12, nan_ok=True)
    everything = global_average_precision(lists_of(rows), labels, depth=None)
    assert everything == pytest.approx(reference.pooled(rows, labels, 99), abs=1e-12, nan_ok=True)


def matrix(seed: int, num_rows: int = 80, num_classes: int = 25):
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < 0.1
    return (labels + rng.normal(size=labels.shape)).round(1).astype(np.float32), labels


def top_k(scores, k):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return RankedLists.from_arrays(order, np.take_along_axis(scores, order, axis=1), scores.shape[1])


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_is_that_of_the_matrix(seed):
    scores, labels = matrix(seed)
    found = topk_metrics(top_k(scores, 10), labels, k=(1, 5, 10))["Acc"]
    assert found == topk_accuracy(scores, labels, k=(1, 5, 10))


@pytest.mark.parametrize("seed", range(3))
def test_gap_is_that_of_the_starter_code(seed):
    """No score occurs twice at the end of a list, where the calculator's choice could differ."""
    rng = np.random.default_rng(seed)
    labels = rng.random((70, 40)) < 0.1
    scores = rng.permutation(labels.size).reshape(labels.shape) / labels.size + labels * 0.2
    expected = calculate_gap(scores, labels.astype(float), top_k=20)
    assert global_average_precision(top_k(scores, 30), labels) == pytest.approx(expected, abs=1e-13)
    assert expected > 0.1


def test_gap_by_hand():
    """Pairs in order: 0.9 hit, 0.8 miss, 0.7 hit, 0.6 miss; four labels, of which two are listed."""
    lists = RankedLists.from_arrays([[0, 1], [1, 2]], [[0.9, 0.6], [0.7, 0.8]], 4)
    assert global_average_precision(lists, [{0, 3}, {1, 3}]) == pytest.approx((1 + 2 / 3) / 4)


def test_equal_scores_rank_by_the_lower_class():
    lists = RankedLists.from_arrays([[3, 1, 2]], [[0.5, 0.5, 0.5]], 4)
    assert lists.classes.tolist() == [1, 2, 3]
    assert topk_metrics(lists, [{1}], k=1)["P"] == {1: 1.0}
    assert topk_metrics(lists, [{3}], k=1)["P"] == {1: 0.0}


def test_rows_without_labels_are_left_out_and_short_lists_are_counted():
    lists = RankedLists.from_arrays([[0, 1], [1, -1], [2, 0]], [[0.9, 0.1], [0.8, 0.0], [0.7, 0.6]], 3)
    report = evaluate_topk(lists, [{0}, {1}, set()], k=(1, 2))
    assert report.metrics()["P@1"] == 1.0
    assert report.metrics()["P@2"] == 0.5
    safe = report.metrics("val/", style="safe")
    assert list(safe) == [f"val/{name}".replace("@", "_at_") for name in report.metrics()]
    with pytest.raises(ValueError, match="style"):
        report.metrics(style="plain")
    assert report.counts["unlabelled_rows"] == 1
    assert report.counts["lists_shorter_than_2"] == 1
    assert "1 rows without labels are left out" in report.to_text()
    assert "1 lists are shorter than 2" in report.to_text()


def test_no_labels_at_all_are_undefined():
    lists = RankedLists.from_arrays([[0, 1]], [[0.9, 0.1]], 3)
    report = evaluate_topk(lists, [set()], train_counts=[9, 9, 9], num_train_rows=20)
    values = {name: value for name, value in report.metrics().items()}
    assert len(values) > 20
    assert all(math.isnan(value) for value in values.values())
    assert set(json.loads(report.to_json())["metrics"].values()) == {None}


def test_unknown_cells_of_positives_are_left_out():
    labels = np.int8([[1, 0, -1], [0, -1, 1], [-1, 1, 0]])
    positives = Positives.from_labels(labels, unknown=-1)
    lists = RankedLists.from_arrays([[2, 0], [1, 2], [0, 1]], [[0.9, 0.5], [0.8, 0.7], [0.6, 0.5]], num_classes=3)
    assert topk_metrics(lists, positives, k=1)["Acc"] == {1: 1.0}  # 0 if the unknown cells were negatives
    more = evaluate_topk(lists, positives, unknown=LabelPairs(3, 3, np.array([0, 1]), np.array([2, 0])))
    assert more.counts["unknown_cells"] == 4  # one of them is in both


def test_a_class_far_below_zero_is_refused():
    with pytest.raises(ValueError, match="lists: expected class indices from 0 to 2147483646, got -4294967295"):
        RankedLists.from_arrays([[1 - 2**32, 0]], [[0.9, 0.5]])


def test_unknown_cells_leave_list_and_labels():
    lists = RankedLists.from_arrays([[0, 1, 2]], [[0.9, 0.8, 0.7]], 4)
    unknown = LabelPairs(1, 4, np.array([0, 0]), np.array([0, 3]))
    found = topk_metrics(lists, [{1, 3}], k=(1, 2), unknown=unknown)
    assert found["P"] == {1: 1.0, 2: 0.5}
    assert found["recall"] == {1: 1.0, 2: 1.0}
    assert evaluate_topk(lists, [{1, 3}], unknown=unknown).counts["unknown_cells"] == 2


def test_propensities_are_those_of_the_formula():
    counts, rows = [0, 3, 1000], 5000
    scale = (math.log(rows) - 1) * (2.6 + 1) ** 0.6
    expected = [1 / (1 + scale * math.exp(-0.6 * math.log(count + 2.6))) for count in counts]
    assert propensities(counts, rows, a=0.6, b=2.6).tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_train_rows": 2}, "num_train_rows: expected at least 3"),
        ({"num_train_rows": 9, "a": 0.0}, "a and b: expected positive"),
    ],
)
def test_parameters_of_propensities_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        propensities([1, 2], **arguments)


@pytest.mark.parametrize("wrong", [0.0, 1.5, math.nan])
def test_a_propensity_is_a_probability(wrong):
    lists = RankedLists.from_arrays([[0, 1]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"propensity: expected numbers above 0 and up to 1, got .* for class 1"):
        topk_metrics(lists, [{0, 1}], propensity=np.array([0.5, wrong]))


def test_groups_average_their_classes():
    scores, labels = matrix(5)
    counts = np.r_[np.full(5, 900), np.full(8, 200), np.full(12, 7)]
    report = evaluate_topk(top_k(scores, 6), labels, k=3, train_counts=counts, num_train_rows=4000)
    found = report.metrics()
    for group, members in {"head": slice(0, 5), "medium": slice(5, 13), "tail": slice(13, 25)}.items():
        for name in ("AP_lower", "AP_upper", "ROC_AUC_lower", "ROC_AUC_upper"):
            mean = np.nanmean(report.classes[name][members])
            key = f"m{name}_{group}" if name.startswith("AP") else f"{name}_{group}"
            assert found[key] == pytest.approx(mean, abs=1e-13)
        hits = [
            [c in found_classes for c in np.flatnonzero(own)]
            for own, found_classes in zip(labels, np.argsort(-scores, axis=1, kind="stable")[:, :3], strict=True)
        ]
        assert sum(map(len, hits)) == labels.sum()
        recall = np.nanmean(report.classes["recall@3"][members])
        assert found[f"macro_recall@3_{group}"] == pytest.approx(recall, abs=1e-13)
    assert "groups:500,100" in report.signature
    assert "psp:A0.55/B1.5/N4000" in report.signature


def test_recall_of_classes_counts_their_own_rows():
    lists = RankedLists.from_arrays([[0, 1], [1, 0], [2, 0]], [[3.0, 1.0]] * 3, 4)
    report = evaluate_topk(lists, [{0}, {0}, {1}], k=(1, 2))
    assert report.classes["recall@1"][:2].tolist() == [0.5, 0.0]
    assert report.classes["recall@2"][:2].tolist() == [1.0, 0.0]
    assert np.isnan(report.classes["recall@1"][2:]).all()
    assert report.metrics()["macro_recall@1"] == 0.25


def test_labels_are_joined_by_id():
    lists = RankedLists.from_arrays([[0], [1], [2]], [[0.9], [0.8], [0.7]], 3, ids=np.array(["a", "b", "c"], object))
    labels = Labels(
        LabelPairs(2, 3, np.array([0, 1]), np.array([2, 0])), ids=np.array(["c", "a"], object), name="labels.csv"
    )
    report = evaluate_topk(lists, labels, join="inner")
    assert report.counts["rows"] == 2
    assert report.metrics()["P@1"] == 1.0
    assert any("1 scored rows have no labels" in note for note in report.notes)
    with pytest.raises(ValueError, match=r"labels.csv lacks 1 id \('b'\)"):
        evaluate_topk(lists, labels)


def test_lists_without_scores_have_metrics_of_ranks_alone():
    report = evaluate_topk(RankedLists.from_arrays([[2, 0], [1, 2]], num_classes=3), [{0}, {1}], k=(1, 2))
    assert report.metrics()["P@1"] == 0.5
    assert report.pooled == {}
    assert "mAP_lower" not in report.metrics()
    assert "scores:none" in report.signature


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: RankedLists.from_arrays([[0, 5]], [[1.0, 2.0]], 5),
            "row 0: expected class indices from 0 to 4, got 5",
        ),
        (
            lambda: RankedLists.from_arrays([[0, 1], [4, 4]], [[1, 2], [1, 2]]),
            "row 1: expected each class once, got class 4",
        ),
        (
            lambda: RankedLists.from_arrays([[0, 1]], [[1.0, np.nan]]),
            "row 0: expected numbers as scores, got NaN for class 1",
        ),
        (lambda: RankedLists.from_arrays([[-2]], [[1.0]]), "row 0: expected class indices from 0 up, got -2"),
        (lambda: RankedLists.from_arrays([0], [1.0]), "expected .N, k. integers"),
        (lambda: RankedLists.from_arrays([[0]], [[1.0, 2.0]]), "scores: expected the shape of classes"),
        (lambda: RankedLists.from_lists([0, 2], [0], [1.0]), "expected .2,. integer classes"),
        (lambda: RankedLists.from_lists([0, 2, 1], [0], [1.0]), "expected offsets that rise from 0, got 2 before 1"),
        (lambda: RankedLists.from_lists([0, 1], [0], [2**60]), "expected integer scores up to 2..53"),
        (lambda: RankedLists.from_lists([0, 1], [0], [1j]), "float or integer dtype"),
        (lambda: RankedLists.from_csr(np.eye(2)), "matrix: expected a scipy.sparse matrix in CSR form, got ndarray"),
    ],
)
def test_bad_lists_are_one_sentence(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_the_first_bad_row_is_named_by_any_threads():
    classes = np.tile(np.arange(3), (9000, 1))
    classes[[4000, 7000]] = 1
    for threads in (1, 4):
        with pytest.raises(ValueError, match="row 4000: expected each class once"):
            RankedLists.from_lists(np.arange(9001) * 3, classes.ravel(), np.ones(27000), 3, threads=threads)


def test_no_rows_are_undefined():
    empty = LabelPairs(0, 3, np.zeros(0, np.int64), np.zeros(0, np.int64))
    report = evaluate_topk(RankedLists.from_lists([0], [], [], 3), empty)
    assert all(math.isnan(value) for value in report.metrics().values())
    assert report.to_text().startswith("0 rows, 3 classes, no pairs, 0 labels")


def test_progress_rises_to_the_end():
    scores, labels = matrix(7, 4000, 60)
    seen = []
    evaluate_topk(top_k(scores, 12), labels, progress=seen.append)
    assert seen == sorted(seen)
    assert all(0 <= fraction <= 1 for fraction in seen)


def test_an_error_of_progress_ends_the_call():
    def stop(fraction):
        raise KeyboardInterrupt

    rng = np.random.default_rng(0)
    classes = np.tile(np.arange(100), 30_000)  # sorting them takes a thread several times 50 ms
    scores = rng.random(len(classes))
    with pytest.raises(KeyboardInterrupt):
        RankedLists.from_lists(np.arange(30_001) * 100, classes, scores, 100, threads=1, progress=stop)


def test_half_precision_scores_are_compared_exactly():
    lists = RankedLists.from_arrays([[0, 1]], np.float16([[0.1, 0.10004]]), 2)
    assert lists.scores.dtype == np.float32
    assert lists.classes.tolist() == [1, 0]


@pytest.mark.parametrize("other", ["labels", "train_counts"])
def test_another_number_of_classes_is_an_error(other):
    lists = RankedLists.from_arrays([[0]], [[1.0]], 3)
    arguments = {"labels": np.ones((1, 3), np.uint8)} | {
        other: np.ones((1, 4), np.uint8) if other == "labels" else [1] * 4
    }
    with pytest.raises(ValueError, match="4 classes, but lists have 3"):
        evaluate_topk(lists, **arguments)
