"""The core functions behind sampled AP over shards: listed draws, cell look-ups, and AP from counted trials.

Each is compared with a single rank scan, bit for bit, and with numpy.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from cases import corner_labels, make_case
from devices import CudaArray
from reference import assert_same_bits

from vltr_eval import Positives, positive_scores, sap_subset
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow, borrow_matrix
from vltr_eval._engine.rank_scan import rank_scan
from vltr_eval._engine.rank_table import to_compare_keys
from vltr_eval.metrics.rank_metrics import rank_table

pytestmark = pytest.mark.any_device

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]
MAX_ROWS = 2**32 - 1


def draws_of(positives: Positives) -> np.ndarray:
    """Return the (C,) draws of a trial of each class, 0 where a trial takes all negatives."""
    return np.where(positives.counts < positives.num_rows - positives.counts, positives.counts, 0)


def draw_rows(positives: Positives, first_trial: int, trials: int, seed: int, threads: int = 2) -> np.ndarray:
    return _core.draw_rows(positives.indptr, positives.rows, positives.num_rows, first_trial, trials, seed, threads)


def reached(scores, rows, classes, thresholds, threads: int = 2) -> np.ndarray:
    matrix = borrow_matrix("scores", scores)
    keys = to_compare_keys(thresholds.scores, matrix.dtype)
    return _core.count_reached(matrix.core, np.uint32(rows), np.uint32(classes), (thresholds.indptr, keys), threads)


# Draws


@pytest.mark.parametrize("threads", [1, 3])
def test_drawn_rows_are_those_of_sap_subset(simd, threads):
    labels = np.hstack([corner_labels(60, seed=1), make_case(60, 5, seed=2, prevalence=0.1)[1]])
    positives = Positives.from_labels(labels, *labels.shape)
    drawn = draw_rows(positives, 3, 4, 7, threads)
    expected = []
    for c, draws in enumerate(draws_of(positives)):
        for trial in range(3, 7) if draws else ():
            one = _core.draw_negatives(positives.rows_of(c), 60, c, trial, 7)
            subset = sap_subset(positives, c, trial, 7)
            assert_same_bits(np.sort(one), np.setdiff1d(subset, positives.rows_of(c)).astype(np.uint32))
            expected.append(one)
    assert_same_bits(drawn, np.concatenate(expected))


def test_trials_drawn_separately_equal_those_drawn_together():
    positives = Positives.from_labels(make_case(500, 7, seed=3)[1], 500, 7)
    whole = np.split(draw_rows(positives, 0, 5, 1), np.cumsum(5 * draws_of(positives))[:-1])
    for trial in range(5):
        one = np.split(draw_rows(positives, trial, 1, 1), np.cumsum(draws_of(positives))[:-1])
        for all_trials, own in zip(whole, one, strict=True):
            assert_same_bits(own, all_trials.reshape(5, -1)[trial])
    assert draw_rows(positives, 2, 0, 1).size == 0


def test_rows_may_exceed_those_of_a_shard():
    rows = np.sort(np.random.default_rng(4).choice(MAX_ROWS, 3000, replace=False)).astype(np.uint32)
    rows[-2:] = MAX_ROWS - 2, MAX_ROWS - 1
    positives = Positives(MAX_ROWS, 1, np.array([0, 3000]), rows)
    drawn = draw_rows(positives, 2**31 - 1, 1, 2**64 - 1)
    assert len(np.unique(drawn)) == 3000
    assert not np.isin(drawn, rows).any()
    assert drawn.max() < MAX_ROWS
    assert_same_bits(drawn, _core.draw_negatives(rows, MAX_ROWS, 0, 2**31 - 1, 2**64 - 1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"offset": np.array([0, 3])}, "positives"),
        ({"offset": np.empty(0, np.int64)}, "positives"),
        ({"rows": np.uint32([5, 1])}, "positives"),
        ({"num_rows": 5}, "positives"),
        ({"num_rows": -1}, "positives"),
        ({"num_rows": 2**32}, "num_rows"),
        ({"first_trial": -1}, "trials"),
        ({"trials": -1}, "trials"),
        ({"first_trial": 2**31 - 1, "trials": 2}, "trials"),
    ],
)
def test_invalid_draws_are_refused(changes, says):
    sound = {"offset": np.array([0, 2]), "rows": np.uint32([1, 5]), "num_rows": 9, "first_trial": 0, "trials": 1}
    assert _core.draw_rows(**sound, seed=0, threads=1).size == 2
    with pytest.raises(ValueError, match=says):
        _core.draw_rows(**sound | changes, seed=0, threads=1)


# Cells


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["rows", "columns", "strided", "shards"])
def test_reached_agrees_with_searchsorted(dtype, layout):
    rng = np.random.default_rng(5)
    wide, labels = make_case(150, 22, seed=6)
    values = np.abs(wide * 40) if dtype.kind in "ub" else wide * 40
    values = (values.astype(np.int64) % 2 if dtype.kind == "b" else values).astype(dtype)
    labels = labels[:, :11]
    scores = {
        "rows": values[:, :11].copy(),
        "columns": np.asfortranarray(values[:, :11]),
        "strided": values[:, ::2],
        "shards": [values[:1, :11], values[1:90, :11], values[90:, :11]],
    }[layout]
    plain = np.concatenate(scores) if layout == "shards" else scores
    thresholds = positive_scores(scores, labels)
    rows, classes = rng.integers(150, size=400), rng.integers(11, size=400)
    expected = []
    for row, c in zip(rows, classes, strict=True):
        ascending = thresholds.scores[thresholds.indptr[c] : thresholds.indptr[c + 1]][::-1]
        score = plain[row, c].astype(thresholds.scores.dtype)
        expected.append(np.searchsorted(ascending, score, side="right"))
    for threads in (1, 2):
        assert_same_bits(reached(scores, rows, classes, thresholds, threads), np.array(expected, np.uint32))


def test_many_cells_and_none(device):
    scores, labels = make_case(200, 3, seed=8)
    thresholds = positive_scores(scores, labels)
    matrix = scores if device == "cpu" else CudaArray(scores)
    rows, classes = np.divmod(np.arange(60_000) % 600, 3)
    every = reached(matrix, rows, classes, thresholds, threads=3).reshape(100, 200, 3)
    for c in range(3):
        ascending = thresholds.scores[thresholds.indptr[c] : thresholds.indptr[c + 1]][::-1]
        assert (every[:, :, c] == np.searchsorted(ascending, scores[:, c], side="right")).all()
    assert reached(matrix, [], [], thresholds).size == 0


def test_nan_reaches_nothing():
    thresholds = positive_scores(np.float32([[-np.inf], [0]]), np.uint8([[1], [1]]))
    assert reached(np.float32([[np.nan], [-np.inf]]), [0, 1], [0, 0], thresholds).tolist() == [0, 1]


@pytest.mark.parametrize(("rows", "classes"), [([4], [0]), ([0], [2]), ([0, 1], [0]), ([2**32 - 1], [0])])
def test_cells_outside_are_refused(rows, classes):
    scores, labels = make_case(4, 2)
    thresholds = positive_scores(scores, labels)
    with pytest.raises(ValueError, match="cells"):
        reached(scores, rows, classes, thresholds)
    with pytest.raises(ValueError, match="thresholds"):
        reached(scores, [0], [0], positive_scores(scores[:, :1], labels[:, :1]))


# Trials


@pytest.mark.parametrize("levels", [None, 3])
def test_counted_trials_are_those_of_a_scan(levels):
    scores, labels = make_case(120, 9, seed=9, levels=levels, prevalence=0.15)
    labels[:, :6] = corner_labels(120, seed=10)
    positives = Positives.from_labels(labels, 120, 9)
    trials, draws = 11, draws_of(positives)
    result = rank_scan(scores, positives, trials=trials, seed=12)
    table = rank_table(scores, labels)
    rows, classes = draw_rows(positives, 0, trials, 12), np.repeat(np.arange(9), trials * draws)
    counts = reached(scores, rows, classes, positive_scores(scores, labels)).astype(np.int64)
    trial = np.concatenate([np.repeat(np.arange(trials), d) for d in draws])
    gap = table.indptr[classes + 1] - counts
    hit = counts > 0
    drawn = np.bincount(trial[hit] * table.indptr[-1] + gap[hit], minlength=trials * table.indptr[-1])
    drawn = drawn.reshape(trials, -1).astype(np.int32)
    for threads in (1, 3):
        average = _core.average_trials(table.indptr, table.tp, table.fp, drawn, 120, threads)
        assert_same_bits(average, result.trials)
    assert _core.average_trials(table.indptr, table.tp, table.fp, drawn[:0], 120, 1).shape == (0, 9)


def test_invalid_counts_are_refused():
    indptr, tp, fp = np.array([0, 2]), np.array([1, 2]), np.array([0, 1])
    average = _core.average_trials(indptr, tp, fp, np.int32([[1, 1]]), 9, 1)
    assert average.tolist() == [[(1 / 2 + 2 / 4) / 2]]
    for table in (
        (np.array([0, 3]), tp, fp, np.int32([[1, 1]])),
        (indptr, tp, fp[:1], np.int32([[1, 1]])),
        (indptr, tp, fp, np.int32([[1]])),
        (indptr, tp, fp, np.int32([1, 1])),
    ):
        with pytest.raises(ValueError, match="expected"):
            _core.average_trials(*table, 9, 1)


# Rows


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_are_copied_on_the_device(cuda, dtype):
    values = (make_case(37, 13, seed=13)[0] * 50).astype(np.int64).astype(dtype)
    for source in (values, values[::-2, 1::3], np.asfortranarray(values), values[:0], values[:, 4:5]):
        batch = borrow("batch", CudaArray(source))
        out = _core.DeviceArray(source.shape, _core.DTYPES.index(batch.dtype), 0, batch.device.stream)
        _core.copy_rows(batch.core, borrow("out", out).core)
        assert_same_bits(out.to_numpy(), source)


@pytest.mark.host
def test_rows_of_other_shapes_are_refused(cuda):
    def on_cuda(array):
        return borrow("array", CudaArray(array)).core

    source, to = np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
    for unlike in (to[:2], to.astype(np.float64), to.reshape(4, 3).T, to[0]):
        with pytest.raises(ValueError, match="C order"):
            _core.copy_rows(on_cuda(source), on_cuda(unlike))
    on_cpu = borrow("array", to).core
    for pair in ((on_cuda(source), on_cpu), (on_cpu, on_cuda(to)), (on_cpu, on_cpu)):
        with pytest.raises(ValueError, match="one device"):
            _core.copy_rows(*pair)
