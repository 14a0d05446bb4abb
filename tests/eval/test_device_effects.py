"""Effects of rows of scores on a CUDA device have the bits of the same scores in CPU memory.

test_effects.py compares effects on any device with textbook metrics; these inputs are those that the kernels treat
differently from each other.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from cases import corner_labels, make_case
from devices import on_device
from reference import assert_same_bits

from vltr_eval import Evaluator, evaluate, rank_table
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine.effects import METRICS, class_variances, clustered_variances, paired_variances, row_effects
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.rank_table import DeviceRankTable

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]


def moved(array, device):
    return [on_device(part, device) for part in array] if isinstance(array, list) else on_device(array, device)


def effects_on(device, scores, labels, *, groups=None, metrics=METRICS, table=None):
    scores, labels = moved(scores, device), moved(labels, device)
    matrix = borrow_matrix("scores", scores)
    groups = np.arange(matrix.num_classes) % 3 if groups is None else groups
    positives = Positives.from_labels(labels, matrix.num_rows, matrix.num_classes)
    return row_effects(matrix, positives, rank_table(scores, labels) if table is None else table, groups, metrics)


def check(cuda, scores, labels, **options) -> None:
    expected = effects_on("cpu", scores, labels, **options)
    actual = effects_on(cuda, scores, labels, **options)
    assert expected.sums.any()
    assert_same_bits(actual.sums, expected.sums)
    assert_same_bits(actual.exponents, expected.exponents)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("order", "CF")
def test_every_dtype(cuda, dtype, order):
    scores, labels = make_case(300, 40, seed=1, levels=30)
    lowest = 0.0 if dtype.kind in "bu" else -100.0
    check(cuda, np.clip(scores * 4, lowest, 100).astype(dtype).copy(order), labels)


@pytest.mark.parametrize("num_rows", [5, 31, 33, 127, 129, 257, 1030])
@pytest.mark.parametrize("num_classes", [1, 31, 33, 70])
def test_any_shape(cuda, num_rows, num_classes):
    scores, labels = make_case(num_rows, num_classes, seed=2)
    labels[:4] = [[1], [0], [1], [0]]  # so that each class has effects
    check(cuda, scores, labels)


LAYOUTS = {
    "rows backwards": lambda scores: scores[::-1],
    "classes backwards": lambda scores: scores[:, ::-1],
    "classes backwards in column order": lambda scores: np.asfortranarray(scores)[:, ::-1],
    "every third row": lambda scores: np.repeat(scores, 3, 0)[::3],
    "every second class": lambda scores: np.repeat(scores, 2, 1)[:, ::2],
    "a window": lambda scores: np.pad(scores, 5)[5:-5, 5:-5],
    "one row": lambda scores: np.broadcast_to(scores[0], scores.shape),
    "one column": lambda scores: np.broadcast_to(scores[:, :1], scores.shape),
    "row shards": lambda scores: np.split(scores, [3, 3, 200]),
    "shards of several layouts": lambda scores: [scores[:90], np.asfortranarray(scores[90:])],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(cuda, layout):
    scores, labels = make_case(330, 45, seed=3, levels=60)
    check(cuda, LAYOUTS[layout](scores), labels)


@pytest.mark.parametrize("metrics", [METRICS[:1], METRICS[1:3], METRICS[:3]])
@pytest.mark.parametrize("num_groups", [1, 4, 50])
def test_metrics_and_groups(cuda, metrics, num_groups):
    scores, labels = make_case(150, 50, seed=4, levels=20)
    groups = np.random.default_rng(5).integers(0, num_groups, 50)
    check(cuda, scores, labels, metrics=metrics, groups=groups)


@pytest.mark.parametrize("levels", [None, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_thresholds_than_shared_memory_holds(cuda, dtype, levels):
    scores, labels = make_case(7000, 4, seed=6, levels=levels, prevalence=0.01)
    labels[:, 1] = np.random.default_rng(7).random(7000) < 0.6
    check(cuda, scores.astype(dtype), labels)


def test_more_classes_than_rows(cuda):
    check(cuda, *make_case(64, 2000, seed=8))


def test_extreme_scores(cuda):
    labels = corner_labels(500)
    extremes = np.float32([-np.inf, np.inf, 0, -0.0, 1e-45, -1e-45, 3.4028235e38, 1])
    check(cuda, extremes[np.random.default_rng(9).integers(0, extremes.size, labels.shape)], labels)
    integers = np.array([-(2**63), 2**63 - 1, 2**53, 2**53 + 1, 0], np.int64)
    scores = integers[np.random.default_rng(10).integers(0, integers.size, labels.shape)]
    check(cuda, scores, labels)
    check(cuda, scores.view(np.uint64), labels)


def test_chunks_have_the_effects_of_their_rows(cuda):
    scores, labels = make_case(700, 50, seed=11, levels=90)
    whole = effects_on("cpu", scores, labels)
    tables = [rank_table(scores, labels), rank_table(on_device(scores, cuda), on_device(labels, cuda))]
    assert isinstance(tables[1], DeviceRankTable)
    for table in tables:  # in CPU memory, as that of several chunks or ranks, and on the device
        for part in (slice(0, 5), slice(5, 300), slice(300, 700)):
            chunk = effects_on(cuda, scores[part], labels[part], table=table)
            assert_same_bits(chunk.sums, whole.sums[part])
            assert_same_bits(chunk.exponents, whole.exponents)


def test_positives_and_tables_of_cpu_memory_serve_scores_on_a_device(cuda):
    scores, labels = make_case(90, 12, seed=12)
    expected = effects_on("cpu", scores, labels)
    matrix = borrow_matrix("scores", on_device(scores, cuda))
    positives = Positives.from_labels(labels, 90, 12)
    actual = row_effects(matrix, positives, rank_table(scores, labels), np.arange(12) % 3, METRICS)
    assert_same_bits(actual.sums, expected.sums)


def test_progress_ends(cuda):
    scores, labels = (on_device(array, cuda) for array in make_case(90, 12, seed=13))
    matrix = borrow_matrix("scores", scores)
    fractions: list[float] = []
    positives = Positives.from_labels(labels, 90, 12)
    row_effects(matrix, positives, rank_table(scores, labels), np.arange(12), METRICS, progress=fractions.append)
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)


def test_errors_are_those_of_the_cpu(cuda):
    scores, labels = make_case(200, 40, seed=14)
    table = rank_table(scores, labels)
    nan = scores.copy()
    nan[[150, 150, 151], [33, 7, 0]] = np.nan
    nan_among_positives = np.where(labels & (np.arange(40) == 3), np.float32(np.nan), scores)
    for wrong in (nan, nan_among_positives, scores + 0.25, np.where(labels, scores, nan)):
        raised = []
        for device in ("cpu", cuda):
            with pytest.raises(ValueError) as info:  # noqa: PT011  # the sentences are compared
                effects_on(device, wrong, labels, table=table)
            raised.append((type(info.value), str(info.value)))
        assert raised[0] == raised[1]


@pytest.mark.parametrize("metric", METRICS)
def test_variances_of_a_table_on_a_device(cuda, metric):
    scores, labels = make_case(400, 30, seed=15, levels=50)
    table = rank_table(on_device(scores, cuda), on_device(labels, cuda))
    assert isinstance(table, DeviceRankTable)
    assert_same_bits(class_variances(table, metric), class_variances(rank_table(scores, labels), metric))


def test_paired_and_clustered_variances_need_cpu_memory(cuda):
    scores, labels = make_case(40, 3, seed=17)
    table, positives = rank_table(scores, labels), Positives.from_labels(labels, 40, 3)
    here, there = borrow_matrix("scores", scores), borrow_matrix("scores", on_device(scores, cuda))
    refused = r"expected an array in CPU memory, got one on cuda:0; pass {0}\.cpu\(\)"
    with pytest.raises(ValueError, match=refused.format("scores")):
        clustered_variances(there, positives, table, "roc_auc", np.arange(40))
    with pytest.raises(ValueError, match=refused.format("scores_b")):
        paired_variances(here, table, there, table, positives, "roc_auc")


def test_reports_with_intervals_have_the_same_bytes(cuda):
    scores, labels = make_case(260, 40, seed=16, levels=200)
    options = {"interval": 0.95, "topk": (1, 5), "train_counts": np.arange(40) * 20}
    expected = evaluate(scores, labels, **options).to_json()
    on_cuda = on_device(scores, cuda), on_device(labels, cuda)
    assert evaluate(*on_cuda, **options).to_json() == expected
    evaluator = Evaluator(num_classes=40, **options)
    for start in range(0, 260, 64):
        evaluator.update(*(on_device(array[start : start + 64], cuda) for array in (scores, labels)))
    assert evaluator.compute().to_json() == expected
