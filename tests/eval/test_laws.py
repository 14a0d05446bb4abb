"""Laws that relate results to each other for every input; hypothesis searches for counterexamples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import make_case
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from reference import assert_agrees, assert_same_bits, assert_same_table

from vltr_eval import (
    Positives,
    average_precision,
    build_info,
    evaluate,
    positive_scores,
    rank_table,
    roc_auc,
    tie_interval,
    tie_rate,
)
from vltr_eval._engine.rank_scan import rank_scan

pytestmark = pytest.mark.any_device

PER_CLASS = (
    "average_precision",
    "roc_auc",
    "expected_sampled_average_precision",
    "calibrated_average_precision",
    "tie_rate",
)


@st.composite
def cases(draw, max_rows=40, max_classes=5):
    """Draw scores (N, C) of small integers, which often tie, and labels (N, C) bool."""
    shape = (draw(st.integers(1, max_rows)), draw(st.integers(1, max_classes)))
    scores = draw(arrays.arrays(np.int8, shape, elements=st.integers(-4, 4)))
    labels = draw(arrays.arrays(bool, shape))
    return scores, labels


def everything(scores, labels, **options) -> tuple:
    """Return all results of one rank scan: table, trials, ranks."""
    positives = Positives.from_labels(labels, *labels.shape)
    result = rank_scan(scores, positives, trials=3, ranks=True, **options)
    return result.table, result.trials, result.ranks


def assert_same_everything(actual, expected) -> None:
    assert_same_table(actual[0], expected[0])
    assert_same_bits(actual[1], expected[1])
    assert_same_bits(actual[2], expected[2])


def per_class(table) -> np.ndarray:
    """Return all metrics of the table, (metrics, C)."""
    return np.stack([getattr(table, metric)() for metric in PER_CLASS] + list(table.tie_interval()))


@given(cases(), st.randoms(use_true_random=False))
def test_row_order_changes_no_bit(case, rng):
    scores, labels = case
    order = rng.sample(range(len(scores)), len(scores))
    table = rank_table(scores, labels)
    assert_same_table(rank_table(scores[order], labels[order]), table)
    assert_same_bits(everything(scores[order], labels[order])[2], everything(scores, labels)[2][order])


@given(cases(), st.data())
def test_class_order_and_choice_change_no_bit(case, data):
    scores, labels = case
    chosen = data.draw(st.lists(st.integers(0, scores.shape[1] - 1), min_size=1, max_size=8))
    assert_same_bits(
        per_class(rank_table(scores[:, chosen], labels[:, chosen])), per_class(rank_table(scores, labels))[:, chosen]
    )


MONOTONE = {
    "float32": lambda s: s.astype(np.float32),
    "scaled by a power of two": lambda s: s.astype(np.float32) * np.float32(2**-130),
    "shifted": lambda s: s.astype(np.float32) + np.float32(4096),
    "cubed": lambda s: s.astype(np.int64) ** 3,
    "exponential": lambda s: np.exp(s.astype(np.float64)),
    "infinite ends": lambda s: np.where(s >= 4, np.inf, np.where(s <= -4, -np.inf, s)).astype(np.float16),
    "the top of uint64": lambda s: np.uint64(2**64 - 5) + s.astype(np.int64).astype(np.uint64),
    "huge logits": lambda s: s.astype(np.float32) * np.float32(8e37),
    "sigmoid": lambda s: 1 / (1 + np.exp(-s.astype(np.float64))),
}


@pytest.mark.parametrize("mapping", MONOTONE.values(), ids=MONOTONE.keys())
@given(case=cases())
@settings(max_examples=25)
def test_monotonic_maps_change_no_bit(mapping, case):
    scores, labels = case
    mapped, expected = everything(mapping(scores), labels), everything(scores, labels)
    for name in ("indptr", "tp", "fp", "tied"):
        assert_same_bits(getattr(mapped[0], name), getattr(expected[0], name))
    assert_same_bits(mapped[1], expected[1])
    assert_same_bits(mapped[2], expected[2])


@given(cases())
def test_negated_scores_complement_roc_auc_and_keep_ties(case):
    scores, labels = case
    assert_agrees(roc_auc(-scores, labels), 1 - roc_auc(scores, labels))
    assert_same_bits(tie_rate(-scores, labels), tie_rate(scores, labels))


@given(cases(max_rows=20), st.integers(2, 5))
def test_repeated_data_keeps_ap_and_roc_auc(case, times):
    scores, labels = case
    table, repeated = rank_table(scores, labels), rank_table(np.tile(scores, (times, 1)), np.tile(labels, (times, 1)))
    for metric in ("average_precision", "roc_auc", "calibrated_average_precision"):
        np.testing.assert_array_max_ulp(getattr(repeated, metric)(), getattr(table, metric)(), maxulp=4)


@given(cases())
def test_values_stay_in_their_bounds(case):
    scores, labels = case
    table = rank_table(scores, labels)
    values = per_class(table)[:, table.num_positives > 0]
    values = np.where(np.isnan(values), 0.5, values)  # ROC-AUC without negatives
    assert np.all((values >= 0) & (values <= 1))
    lower, upper = tie_interval(scores, labels)
    ap = average_precision(scores, labels)
    assert np.all(np.isnan(ap) | ((lower <= ap) & (ap <= upper)))


@given(cases())
def test_raising_a_positive_never_lowers_a_metric(case):
    scores, labels = case
    raised = np.where(labels & (np.cumsum(labels, axis=0) == 1), np.int8(9), scores)  # the first positive of each class
    before, after = rank_table(scores, labels), rank_table(raised, labels)
    for metric in ("average_precision", "roc_auc", "expected_sampled_average_precision"):
        gain = getattr(after, metric)() - getattr(before, metric)()
        assert np.all(np.isnan(gain) | (gain > -1e-15))


@st.composite
def merge_trees(draw, leaves):
    """Draw a random binary tree over shuffled leaves, as nested pairs."""
    trees = draw(st.permutations(leaves))
    while len(trees) > 1:
        place = draw(st.integers(0, len(trees) - 2))
        trees[place : place + 2] = [(trees[place], trees[place + 1])]
    return trees[0]


def fold(tree, tables: list):
    if isinstance(tree, int):
        return tables[tree]
    left, right = tree
    return fold(left, tables).merge(fold(right, tables))


@given(cases(), st.data())
def test_any_merge_tree_of_any_shards_equals_the_whole(case, data):
    scores, labels = case
    places = sorted({0, *data.draw(st.lists(st.integers(1, len(scores)), max_size=4)), len(scores)})
    shards = list(itertools.starmap(slice, itertools.pairwise(places)))
    leaves = list(range(len(shards)))
    thresholds = fold(data.draw(merge_trees(leaves)), [positive_scores(scores[s], labels[s]) for s in shards])
    tables = [rank_table(scores[s], labels[s], thresholds=thresholds) for s in shards]
    whole = rank_table(scores, labels)
    assert_same_table(fold(data.draw(merge_trees(leaves)), tables), whole)
    assert_same_table(rank_table([scores[s] for s in shards], labels), whole)


@given(cases(max_rows=70, max_classes=20), st.sampled_from([1, 2, 7]))
def test_threads_change_no_bit(case, threads):
    assert_same_everything(everything(*case, threads=threads), everything(*case, threads=1))


@given(case=cases(max_rows=70, max_classes=40))
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64", "int64"])
@settings(max_examples=20)
def test_instruction_sets_change_no_bit(dtype, case):
    scores, labels = case
    results = []
    with pytest.MonkeyPatch.context() as patch:
        for level in build_info()["simd_available"]:
            patch.setenv("VLTR_SIMD", level)
            results.append(everything(scores.astype(dtype), labels))
    for result in results[1:]:
        assert_same_everything(result, results[0])


@given(cases(), st.data())
def test_dtypes_that_hold_the_same_values_change_no_bit(case, data):
    scores, labels = case
    first, second = data.draw(st.permutations(["int8", "int16", "int32", "int64", "float16", "float32", "float64"]))[:2]
    mine, other = everything(scores.astype(first), labels), everything(scores.astype(second), labels)
    assert mine[0].thresholds.tolist() == other[0].thresholds.tolist()
    for name in ("indptr", "tp", "fp", "tied"):
        assert_same_bits(getattr(mine[0], name), getattr(other[0], name))
    assert_same_bits(mine[1], other[1])
    assert_same_bits(mine[2], other[2])


@given(cases(), st.data())
def test_strides_change_no_bit(case, data):
    scores, labels = case
    steps = data.draw(st.tuples(*[st.sampled_from([-3, -2, -1, 1, 2, 3])] * 2))
    order = data.draw(st.sampled_from("CF"))
    room = np.full([n * abs(step) for n, step in zip(scores.shape, steps, strict=True)], 99, np.float32, order=order)
    view = room[:: steps[0], :: steps[1]]
    view[...] = scores
    assert_same_everything(everything(view, labels), everything(scores.astype(np.float32), labels))


@given(cases())
def test_breaking_ties_against_the_positives_keeps_ap_and_in_their_favor_raises_it(case):
    scores, labels = case
    wide = scores.astype(np.int64) * 2
    ap = average_precision(scores, labels)
    assert_same_bits(average_precision(np.where(labels, wide, wide + 1), labels), ap)
    gain = average_precision(np.where(labels, wide, wide - 1), labels) - ap
    assert np.all(np.isnan(gain) | (gain >= 0))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_and_tiles_change_no_bit_of_a_large_matrix(simd, threads):
    scores, labels = make_case(5000, 1100, seed=1, levels=200, prevalence=0.01)
    result = everything(scores, labels, threads=threads)
    assert_same_everything(result, everything([scores[:1234], scores[1234:]], labels, threads=2))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_and_instruction_sets_change_no_byte_of_a_report(simd, threads, monkeypatch):
    scores, labels = make_case(700, 30, seed=2, levels=20, prevalence=0.05)
    report = evaluate(scores, labels, threads=threads).to_json()
    monkeypatch.delenv("VLTR_SIMD")
    assert report == evaluate(scores, labels, threads=3).to_json()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_bit_of_weighted_ap(simd, threads):
    scores, labels = make_case(900, 70, seed=3, levels=50)
    weights = np.random.default_rng(4).random(900)
    order = np.random.default_rng(5).permutation(900)
    expected = average_precision(scores, labels, sample_weight=weights, threads=3)
    assert_same_bits(
        average_precision(scores[order], labels[order], sample_weight=weights[order], threads=threads), expected
    )
