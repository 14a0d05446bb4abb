"""Dense classes: the sort and the search give the same bits, and both agree with the witnesses."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits, assert_same_table
from sklearn.metrics import average_precision_score, roc_auc_score

from vltr_eval import (
    average_precision,
    evaluate,
    expected_sampled_average_precision,
    rank_table,
    roc_auc,
    sampled_average_precision,
)
from vltr_eval._engine.inputs import read_matrix_and_positives
from vltr_eval.metrics.rank_metrics import weighted_average_precisions

PATHS = ("search", "sort")
DTYPES = (
    *("float16", "float32", "float64", "bool"),
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
)


@pytest.fixture(params=PATHS)
def path(request, monkeypatch) -> str:
    """Force the path of all classes."""
    monkeypatch.setenv("VLTR_PATH", request.param)
    return request.param


def on_both_paths(function):
    """Return what a function returns under each path."""
    results = []
    for path in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VLTR_PATH", path)
            results.append(function())
    return results


def assert_paths_agree(scores, labels) -> None:
    searched, sorted_ = on_both_paths(lambda: rank_table(scores, labels))
    assert_same_table(sorted_, searched)
    for metric in (average_precision, roc_auc, expected_sampled_average_precision):
        of_table = getattr(searched, metric.__name__)()
        for values in on_both_paths(lambda metric=metric: metric(scores, labels)):
            assert_same_bits(values, of_table)


# The law: paths agree to the bit


@pytest.mark.parametrize("levels", [None, 2, 50])
@pytest.mark.parametrize("prevalence", [0.5, 0.02])
@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (1025, 18), (9001, 2), (300_000, 1)])
def test_paths_agree(simd, shape, prevalence, levels):
    scores, labels = make_case(*shape, seed=5, levels=levels, prevalence=prevalence)
    assert_paths_agree(scores, labels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_paths_agree_for_every_dtype(simd, dtype):
    rng = np.random.default_rng(6)
    labels = rng.random((9000, 2)) < 0.4
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        scores = rng.integers(bounds.min, bounds.max, labels.shape, kind, endpoint=True)
        scores[::3] = rng.choice(scores[:5, 0], scores[::3].shape)  # ties
        scores[0], scores[1] = bounds.min, bounds.max
    else:
        scores = (rng.normal(size=labels.shape) + labels).astype(kind)
    assert_paths_agree(scores, labels)


@pytest.mark.parametrize(
    "values",
    [
        (-np.inf, np.inf, 0.0, -0.0, 1.0, -1.0),
        (np.float32(1e-45), np.float32(-1e-45), 0.0, np.finfo(np.float32).max, np.finfo(np.float32).min),
        (0.5,),
        tuple(np.nextafter(np.float32(0.5), np.float32(1)) * np.float32(1 + i * 2**-23) for i in range(9)),
    ],
)
def test_paths_agree_on_special_values(simd, values):
    rng = np.random.default_rng(7)
    scores = rng.choice(np.array(values, np.float32), (10_000, 3))
    assert_paths_agree(scores, rng.random(scores.shape) < 0.3)
    assert_paths_agree(scores.astype(np.float64), rng.random(scores.shape) < 0.3)


def test_paths_agree_for_scores_that_crowd_in_a_narrow_range(simd):
    rng = np.random.default_rng(8)
    scores = (0.5 + 1e-4 * rng.normal(size=(30_000, 2))).astype(np.float32)
    scores[::997] = 1e30
    assert_paths_agree(scores, rng.random(scores.shape) < 0.5)


def test_paths_agree_on_corner_counts():
    labels = corner_labels(1000)
    assert_paths_agree(make_case(*labels.shape, levels=9)[0], labels)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(
    "layout", [np.ascontiguousarray, np.asfortranarray, lambda a: a[::-1], lambda a: np.repeat(a, 3, axis=1)[:, ::3]]
)
def test_layouts_and_threads_change_no_bit(path, layout, threads):
    scores, labels = make_case(20_000, 19, seed=9, prevalence=0.3)
    expected = rank_table(scores, labels, threads=1)
    reversed_rows = layout(scores)[0, 0] != scores[0, 0]
    given_labels = labels[::-1] if reversed_rows else labels
    assert_same_table(rank_table(layout(scores), given_labels, threads=threads), expected)
    assert_same_bits(average_precision(layout(scores), given_labels, threads=threads), expected.average_precision())


def test_shards_change_no_bit(path):
    scores, labels = make_case(20_000, 5, seed=10, prevalence=0.3)
    shards = [scores[:3], scores[3:1030], np.asfortranarray(scores[1030:])]
    assert_same_table(rank_table(shards, labels), rank_table(scores, labels))
    assert_same_bits(roc_auc(shards, labels), roc_auc(scores, labels))


def test_the_order_of_rows_changes_no_bit(path):
    scores, labels = make_case(20_000, 3, seed=11, levels=400, prevalence=0.3)
    order = np.random.default_rng(0).permutation(len(scores))
    assert_same_table(rank_table(scores[order], labels[order]), rank_table(scores, labels))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 4),
    st.sampled_from([None, 2, 7, 300]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_paths_agree_on_any_case(num_rows, num_classes, levels, prevalence, seed):
    assert_paths_agree(*make_case(num_rows, num_classes, seed=seed, levels=levels, prevalence=prevalence))


def test_reports_and_trials_agree():
    # Dense and sparse classes side by side, so that one scan takes both paths unless one is forced.
    scores, labels = make_case(20_000, 6, seed=12, prevalence=0.2)
    labels[:, ::2] &= np.random.default_rng(0).random((20_000, 3)) < 0.01
    counts = [900, 300, 50, 20, 1000, 7]
    chosen = evaluate(scores, labels, sap=15, train_counts=counts)
    for report in on_both_paths(lambda: evaluate(scores, labels, sap=15, train_counts=counts)):
        assert report.to_json() == chosen.to_json()
    for trials in (1, 15, 40):
        first, second = on_both_paths(lambda trials=trials: sampled_average_precision(scores, labels, trials=trials))
        assert_same_bits(first.mean, second.mean)


# Weighted AP


def make_weights(kind: str, num_rows: int) -> np.ndarray:
    rng = np.random.default_rng(15)
    return {
        "uniform": rng.random(num_rows),
        "with zeros": rng.integers(0, 3, num_rows).astype(np.float64),
        "wide": np.exp(rng.normal(0, 5, num_rows)),
        "subnormal": rng.random(num_rows) * 1e-310,
        "one heavy row": np.where(np.arange(num_rows) == num_rows // 2, 1e300, 1.0),
    }[kind]


WEIGHTS = ("uniform", "with zeros", "wide", "subnormal", "one heavy row")


def assert_paths_agree_on_weighted_ap(scores, labels, weights, threads=2) -> None:
    """weights: (N,) for one weighting, or (W, N)."""
    if weights.ndim == 1:
        results = on_both_paths(lambda: average_precision(scores, labels, sample_weight=weights, threads=threads))
    else:
        matrix, positives = read_matrix_and_positives(scores, labels, None)
        results = on_both_paths(lambda: weighted_average_precisions(matrix, positives, weights, threads=threads))
    assert_same_bits(results[1], results[0])


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("levels", [None, 2, 50])
@pytest.mark.parametrize(
    ("shape", "prevalence"), [((1, 1), 0.5), ((1025, 18), 0.02), ((9001, 2), 0.5), ((300_000, 1), 0.1)]
)
def test_paths_agree_on_weighted_ap(simd, shape, prevalence, levels, kind):
    scores, labels = make_case(*shape, seed=16, levels=levels, prevalence=prevalence)
    if kind == "one heavy row":
        labels[shape[0] // 2] = True  # else the weights of the positives round to 0, which is an error
    assert_paths_agree_on_weighted_ap(scores, labels, make_weights(kind, shape[0]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_paths_agree_on_weighted_ap_for_every_lane(simd, dtype):
    scores, labels = make_case(20_000, 3, seed=17, prevalence=0.3)
    weights = make_weights("wide", 20_000)
    assert_paths_agree_on_weighted_ap((1000 * scores).astype(dtype), labels, weights)


@pytest.mark.parametrize("weightings", [1, 2, 5, 9])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_paths_agree_on_several_weightings(threads, weightings):
    scores, labels = make_case(150_000, 2, seed=18, levels=3000, prevalence=0.3)
    labels[:, 1] &= np.random.default_rng(0).random(150_000) < 0.001  # one path for each class unless one is forced
    weights = np.stack([make_weights(WEIGHTS[i % 4], 150_000) * (i + 1) for i in range(weightings)])
    assert_paths_agree_on_weighted_ap(scores, labels, weights, threads)
    matrix, positives = read_matrix_and_positives(scores, labels, None)
    chosen = weighted_average_precisions(matrix, positives, weights, threads=threads)
    for weighting, values in zip(weights, chosen, strict=True):
        assert_same_bits(average_precision(scores, labels, sample_weight=weighting, threads=1), values)


def test_classes_without_weight_are_undefined_on_both_paths(path):
    scores, labels = make_case(9000, 3, seed=19, prevalence=0.4)
    labels[:, 2] = False
    weights = np.where(labels[:, 0], 0.0, 1.0)
    values = average_precision(scores, labels, sample_weight=weights)
    assert np.isnan(values).tolist() == [True, False, True]


def test_layouts_and_shards_change_no_bit_of_weighted_ap(path):
    scores, labels = make_case(200_000, 19, seed=20, prevalence=0.3)
    weights = make_weights("wide", 200_000)
    expected = average_precision(scores, labels, sample_weight=weights, threads=1)
    shards = [scores[:3], np.asfortranarray(scores[3:70_000]), scores[70_000:]]
    for threads in (1, 2, 5):
        for given_scores in (np.asfortranarray(scores), shards):
            assert_same_bits(average_precision(given_scores, labels, sample_weight=weights, threads=threads), expected)
    order = np.random.default_rng(0).permutation(len(scores))
    assert_same_bits(average_precision(scores[order], labels[order], sample_weight=weights[order]), expected)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 4),
    st.sampled_from([None, 2, 7, 300]),
    st.floats(0, 1),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
)
def test_paths_agree_on_weighted_ap_of_any_case(num_rows, num_classes, levels, prevalence, weightings, seed):
    scores, labels = make_case(num_rows, num_classes, seed=seed, levels=levels, prevalence=prevalence)
    weights = np.random.default_rng(seed).integers(0, 4, (weightings, num_rows)) / 3
    assert_paths_agree_on_weighted_ap(scores, labels, weights)


# The witnesses


@pytest.mark.parametrize("prevalence", [0.5, 0.1])
@pytest.mark.parametrize("levels", [None, 3, 60])
def test_dense_classes_agree_with_the_textbook(path, prevalence, levels):
    scores, labels = make_case(2000, 3, seed=13, levels=levels, prevalence=prevalence)
    table = rank_table(scores, labels)
    for c in range(3):
        assert reference.table_rows(table, c) == reference.rank_table(scores[:, c], labels[:, c])
    assert_agrees(average_precision(scores, labels), reference.per_class(reference.average_precision, scores, labels))
    assert_agrees(roc_auc(scores, labels), reference.per_class(reference.roc_auc, scores, labels))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
@pytest.mark.parametrize("prevalence", [0.5, 0.1])
def test_dense_classes_agree_with_sklearn(dtype, prevalence):
    scores, labels = make_case(60_000, 3, seed=14, levels=4000, prevalence=prevalence)
    scores = scores.astype(dtype)
    expected = [average_precision_score(labels[:, c], scores[:, c]) for c in range(3)]
    assert_agrees(average_precision(scores, labels), expected)
    assert_agrees(roc_auc(scores, labels), [roc_auc_score(labels[:, c], scores[:, c]) for c in range(3)])


@pytest.mark.parametrize("kind", ["uniform", "with zeros", "wide"])
@pytest.mark.parametrize("levels", [None, 60])
def test_weighted_ap_of_dense_classes_agrees_with_the_textbook_and_sklearn(path, levels, kind):
    scores, labels = make_case(2000, 2, seed=21, levels=levels, prevalence=0.3)
    weights = make_weights(kind, 2000)
    got = average_precision(scores, labels, sample_weight=weights)
    for c in range(2):
        assert_agrees(got[c], reference.average_precision(scores[:, c], labels[:, c], weights))
        assert_agrees(got[c], average_precision_score(labels[:, c], scores[:, c], sample_weight=weights))


@pytest.mark.parametrize(("positives", "smallest"), [(5, 0.354), (32, 0.315)])
def test_the_smallest_sap_is_the_published_one(path, positives, smallest):
    """arXiv 1904.12993, Section 4: all positives behind all negatives."""
    labels = np.zeros(1000, bool)
    labels[-positives:] = True
    assert expected_sampled_average_precision(-np.arange(1000.0), labels)[0] == pytest.approx(smallest, abs=5e-4)


# Errors


@pytest.mark.parametrize("where", [(0, 0), (1500, 2), (29_999, 1)])
def test_nan_is_named_by_its_first_place(path, where):
    scores, labels = make_case(30_000, 3, prevalence=0.3)
    scores[where] = np.nan
    scores[29_999, 2] = np.nan
    weighted = functools.partial(average_precision, sample_weight=np.ones(30_000))
    for metric in (average_precision, roc_auc, rank_table, weighted):
        with pytest.raises(ValueError, match=f"NaN at row {where[0]}, class {where[1]}"):
            metric(scores, labels)


# Large classes, with several chunks and groups


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("levels", [1, 2, 3000, None])
def test_large_classes_agree(threads, levels):
    scores, labels = make_case(400_000, 3, seed=15, prevalence=0.4)
    if levels is not None:
        scores = np.floor(np.clip((scores + 4) / 9, 0, 0.999) * np.float32(levels))
    searched = on_both_paths(lambda: rank_table(scores, labels, threads=1))[0]
    assert_same_table(rank_table(scores, labels, threads=threads), searched)
    assert_same_bits(average_precision(scores, labels, threads=threads), searched.average_precision())
    assert_same_bits(roc_auc(scores, labels, threads=threads), searched.roc_auc())


def test_groups_of_classes_agree():
    # 300,000 x 60 words are 69 MiB: more than one group.
    scores, labels = make_case(300_000, 60, seed=16, prevalence=0.1)
    searched, sorted_ = on_both_paths(lambda: average_precision(scores, labels))
    assert_same_bits(sorted_, searched)


def test_a_misspelt_path_is_refused(monkeypatch):
    monkeypatch.setenv("VLTR_PATH", "sorted")
    with pytest.raises(ValueError, match="VLTR_PATH: expected search or sort, got sorted"):
        average_precision(np.zeros(3), np.array([1, 0, 0]))


def test_scores_that_change_during_a_call_break_no_memory(monkeypatch):
    # No result is right then. The call returns, or raises the sentence that explains it.
    script = """
import sys, threading
import numpy as np, vltr_eval
rng = np.random.default_rng(0)
scores, labels = rng.random((100_000, 2), dtype=np.float32), rng.random((100_000, 2)) < 0.25
positives, stop = vltr_eval.Positives.from_labels(labels), threading.Event()
def write():
    while not stop.is_set():
        scores[:] = rng.random(scores.shape, dtype=np.float32)
writer = threading.Thread(target=write)
writer.start()
try:
    for _ in range(15):
        for call in (
            lambda: vltr_eval.average_precision(scores, positives),
            lambda: vltr_eval.rank_table(scores, positives),
            lambda: vltr_eval.average_precision(scores, positives, sample_weight=np.ones(100_000)),
            lambda: vltr_eval.sampled_average_precision(scores, positives, trials=20),
        ):
            try:
                call()
            except RuntimeError as error:
                assert "scores: expected the same values throughout the call" in str(error), error
finally:
    stop.set()
    writer.join()
"""
    monkeypatch.setenv("VLTR_PATH", "sort")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
