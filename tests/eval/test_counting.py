"""Counting reports the number of repeated rows, and its progress."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cases import labels_by_id, make_case, slices

from vltr_eval import Positives, evaluate, evaluate_batches
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._engine import counting
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.results import ClassInfo, share_of_counting
from vltr_eval._engine.sample_ids import read_ids
from vltr_eval.report.settings import Settings

NUM_CLASSES = 6


def parts_of(num_rows=90, sizes=(), ids=None) -> list[Chunk]:
    scores, labels = make_case(num_rows, NUM_CLASSES, seed=1, levels=12)
    if ids is not None:
        labels = labels_by_id(labels, np.array(ids))
    return [
        Chunk(
            borrow_matrix("scores", scores[part]),
            Positives.from_labels(labels[part], part.stop - part.start, NUM_CLASSES),
            None if ids is None else read_ids(ids[part], part.stop - part.start),
            part.start,
        )
        for part in slices(num_rows, sizes)
    ]


@pytest.mark.parametrize("sizes", [[], [30, 30]])
@pytest.mark.parametrize(
    ("ids", "repeated"),
    [
        (None, 0),
        (list(range(90)), 0),
        (list(range(90))[::-1], 0),
        (list(range(80)) + list(range(10)), 10),
        ([f"v{row // 3}" for row in range(90)], 60),
    ],
    ids=["no ids", "in order", "in reverse", "ten twice", "all three times"],
)
def test_repeated_rows_are_counted(sizes, ids, repeated):
    found = count_chunks(Settings(3), parts_of(sizes=sizes, ids=ids), NUM_CLASSES)
    assert (found.repeated_rows, found.table.num_rows) == (repeated, 90 - repeated)


# Progress


def assert_rises_to_one(fractions: list[float]) -> None:
    assert all(0 <= fraction <= 1 for fraction in fractions)
    assert all(one <= other for one, other in itertools.pairwise(fractions))
    assert fractions[-1] == 1


@pytest.mark.parametrize("sap", [None, 3])
@pytest.mark.parametrize("sizes", [[], [10] * 8])
def test_progress_of_parts_rises_to_one(sizes, sap):
    seen = []
    chunks = parts_of(sizes=sizes)
    found = count_chunks(Settings(sap), chunks, NUM_CLASSES, progress=seen.append)
    assert_rises_to_one(seen)
    np.testing.assert_array_equal(found.table.tp, count_chunks(Settings(sap), chunks, NUM_CLASSES).table.tp)


def test_progress_covers_both_passes_and_the_trials(monkeypatch):
    monkeypatch.setattr(counting, "_DRAWS_AT_ONCE", 1)  # one trial at a time
    seen = []

    def report(fraction: float) -> None:
        seen.append(fraction)

    count_chunks(Settings(8), parts_of(sizes=[10] * 8), NUM_CLASSES, progress=report)
    assert_rises_to_one(seen)
    distinct = set(seen)
    assert len([fraction for fraction in distinct if fraction < counting._FIRST_PASS]) >= 8
    assert len([fraction for fraction in distinct if counting._SECOND_PASS < fraction < 1]) >= 8 * 9


def test_progress_of_a_long_second_pass_is_shown():
    scores = np.broadcast_to(np.float32(1), (2**19, 256))
    labels = Positives(2**19, 256, np.arange(257), np.arange(256, dtype=np.uint32))
    chunk = Chunk(borrow_matrix("scores", scores), labels)
    seen = []
    count_chunks(Settings(None), [chunk] * 8, 256, threads=1, progress=seen.append)
    assert_rises_to_one(seen)
    assert len({fraction for fraction in seen if counting._FIRST_PASS < fraction < 1}) >= 4


@pytest.mark.parametrize("sap", [None, 3])
def test_progress_of_a_stream_rises_to_one(sap):
    scores, labels = make_case(90, NUM_CLASSES, seed=2)
    batches = [(scores[part], labels[part]) for part in slices(90, [20] * 4)]
    seen = []
    report = evaluate_batches(batches, NUM_CLASSES, sap=sap, progress=seen.append)
    assert_rises_to_one(seen)
    assert report == evaluate_batches(batches, NUM_CLASSES, sap=sap)


@pytest.mark.parametrize("sap", [None, 3, "exact"])
@pytest.mark.parametrize("call", ["evaluate", "batches", "report"])
def test_progress_of_counting_and_report_rises_to_one(call, sap):
    scores, labels = make_case(90, NUM_CLASSES, seed=2)
    seen = []
    if call == "evaluate":
        evaluate(scores, labels, sap=sap, progress=seen.append)
    elif call == "batches":
        evaluate_batches([(scores, labels)] * 2, NUM_CLASSES, sap=sap, progress=seen.append)
    else:
        found = count_chunks(Settings(sap), parts_of(sizes=[10] * 8), NUM_CLASSES)
        found.report(ClassInfo(), seen.append)
    assert_rises_to_one(seen)
    assert seen.count(1) == 1


def test_progress_of_a_report_follows_that_of_counting():
    """Expected SAP is slow with many positives, so it has a share of the progress."""
    scores, labels = make_case(90, NUM_CLASSES, seed=2)
    seen = []
    evaluate(scores, labels, sap="exact", progress=seen.append)
    assert share_of_counting(Settings("exact")) in seen
    assert 0.3 < share_of_counting(Settings("exact")) < share_of_counting(Settings(None)) < 1


def test_an_error_in_progress_ends_the_count():
    def fail(fraction: float) -> None:
        raise LookupError("from progress")

    with pytest.raises(LookupError, match=r"^from progress$"):
        count_chunks(Settings(None), parts_of(sizes=[30]), NUM_CLASSES, progress=fail)
