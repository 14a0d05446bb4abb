"""The estimate of the time of an original: parts of a call, and how its time grows with rows and classes."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vltr_eval.patching import estimates
from vltr_eval.patching.estimates import Cost, Parts, estimate


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the originals of a test move."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def estimated(clock, seconds_of, rows, classes, **options):
    sizes = []

    def prepare(kept, columns):
        def call():
            sizes.append((kept, columns))
            clock[0] += seconds_of(kept, columns)

        return call

    cost = estimate(prepare, rows, classes, **{"has_columns": True, **options})
    return cost, sizes


@pytest.mark.parametrize(
    ("fixed", "of_class", "of_cell"),
    [(0.0, 1e-3, 1e-7), (0.01, 1e-4, 1e-7), (0.05, 0.0, 1e-9), (0.0, 1e-5, 1.2e-5), (0.0, 0.0, 1e-7)],
)
@pytest.mark.parametrize("size", [(4_000, 100), (20_000, 500), (20_000, 3), (50, 500)], ids=str)
def test_a_linear_original_is_estimated_within_its_budget(clock, fixed, of_class, of_cell, size):
    def seconds(rows, columns):
        return fixed + columns * (of_class + of_cell * rows)

    cost, sizes = estimated(clock, seconds, *size)
    assert cost(*size) == pytest.approx(seconds(*size), rel=0.35)
    assert clock[0] <= estimates.BUDGET
    assert all(rows <= size[0] and columns <= size[1] for rows, columns in sizes)
    assert cost(*size) == pytest.approx(seconds(*size), rel=1e-6) or max(sizes)[0] < size[0]


def test_rows_stand_for_all_where_columns_cannot(clock):
    cost, sizes = estimated(clock, lambda rows, columns: 1e-4 * rows, 20_000, 500, has_columns=False)
    assert {columns for _, columns in sizes} == {500}
    assert cost(20_000, 500) == pytest.approx(2.0)


def test_no_estimate_is_made_of_what_is_too_slow_or_too_far(clock):
    cost, sizes = estimated(clock, lambda rows, columns: 60.0, 3_000, 500)
    assert cost is None
    assert len(sizes) == 1  # the call that was to be timed takes as long as it may
    cost = Cost([(10, 1.0), (40, 2.5)], [(4, 2.5)], 40)
    assert cost(40 * 512, 4 * 512) is not None
    assert cost(40 * 513, 4) is None
    assert cost(40, 4 * 513) is None


def test_an_original_that_raises_has_no_estimate(clock):
    def seconds(rows, columns):
        raise ValueError

    assert estimated(clock, seconds, 100, 10)[0] is None
    assert estimated(clock, lambda rows, columns: 1.0, 0, 10)[0] is None


def test_a_cost_interpolates_and_scales_by_classes():
    cost = Cost([(10, 1.0), (40, 2.5)], [(2, 2.5), (4, 4.5)], 40)
    assert cost(40, 4) == 4.5
    assert cost(40, 10) == pytest.approx(10.5)  # 0.5 of it is for any number of classes
    assert cost(25, 4) == pytest.approx(4.5 * 1.75 / 2.5)
    assert cost(100, 4) == pytest.approx(4.5 * 5.5 / 2.5)
    assert Cost([(40, 2.0)], [(2, 2.0)], 40)(40, 4) == 4.0
    assert cost(0, 4) == cost(40, 0) == 0.0
    assert Cost([(40, 2.0)], [(2, 2.0), (4, 4.0)], 40, is_pooled=True)(40, 8) > 8.0
    assert Cost([(40, 2.0)], [(4, 2.0)], 40, copying=1e-3)(40, 4) == pytest.approx(2.0 + 1e-3 * 40 * 16)


def test_parts_are_copies_spread_over_rows_and_positives():
    labels = np.zeros((100, 8), dtype=int)
    for column, count in enumerate((0, 70, 10, 60, 20, 50, 30, 40)):
        labels[:count, column] = 1
    scores = np.arange(800.0).reshape(100, 8)
    rows, chosen = labels.tolist(), labels.copy()
    for values in ([scores, labels, None], [scores.tolist(), rows, None], [scores, list(labels), None]):
        ours, theirs, other = Parts(values, 100, 8)(100, 2)
        assert np.asarray(theirs).sum(axis=0).tolist() == [20, 60]
        assert np.asarray(ours)[1].tolist() == [12.0, 11.0]
        assert other is None
    part = Parts([scores, labels], 100, 8)(10, 8)
    assert part[0][:, 0].tolist() == [80.0 * i for i in range(10)]
    for one in part:
        one[:] = -1
    assert (labels == chosen).all()
    assert scores[0, 1] == 1.0


def test_a_part_of_a_column_is_as_far_apart_as_the_column():
    matrix = np.arange(800.0).reshape(100, 8)
    (part,) = Parts([matrix[:, 3]], 100, 1)(50, 1)
    assert part.strides == matrix[:, 3].strides
    assert part.tolist() == matrix[::2, 3].tolist()
    assert not np.shares_memory(part, matrix)


def test_columns_that_are_contiguous_cost_a_copy_for_each_class():
    by_rows = np.ones((300, 40))
    by_columns = np.asfortranarray(by_rows)
    assert Parts([by_rows, by_rows], 300, 40).copying(False) == 0.0
    assert Parts([by_columns, by_rows], 300, 40).copying(False) > 0.0
    assert Parts([by_rows, by_rows], 300, 40).copying(True) > 0.0
