"""Evaluation over the rows of several ranks: each rank gets the bits of one process with all rows."""

from __future__ import annotations

import os
import signal
import time

import ml_dtypes
import numpy as np
import pytest
from cases import corner_labels, make_case
from reference import assert_same_bits

pytest.importorskip("torch")

import torch
import torch.distributed as dist
from ranks import GONE, Raised, Ranks, group_of
from torch.utils.data import DistributedSampler

import vltr_eval
from vltr_eval import Evaluator, distributed, evaluate_batches
from vltr_eval._base import _core
from vltr_eval._engine import counting
from vltr_eval.report.settings import Settings

DTYPES = [np.dtype(name) if name != "bfloat16" else np.dtype(ml_dtypes.bfloat16) for name in _core.DTYPES]
NUM_ROWS, NUM_CLASSES = 203, 9


@pytest.fixture(params=[2, 4])
def ranks(request):
    """Return a process group of two ranks, then one of four."""
    return group_of(request.param)


@pytest.fixture(scope="module")
def case():
    """Return scores with ties, and labels of every frequency: absent, rare, frequent, nearly all, all."""
    scores, labels = make_case(NUM_ROWS, NUM_CLASSES, seed=1, levels=9)
    labels[:, :6] = corner_labels(NUM_ROWS, seed=2)
    return scores, labels


@pytest.fixture(scope="module")
def whole(case):
    return vltr_eval.evaluate(*case, sap=20, seed=3)


def ends_of(size: int, how: str) -> list[int]:
    """Return the end of each rank's rows; ranks have consecutive rows in rank order."""
    return {
        "even": [NUM_ROWS * rank // size for rank in range(1, size + 1)],
        "ragged": [1, 3, 150, NUM_ROWS][-size:],
        "first has none": [0, 60, 60, NUM_ROWS][:: 4 // size if size == 4 else 3],
        "last has none": [100, 150, NUM_ROWS, NUM_ROWS][-size:],
        "one has all": [0] * (size - 1) + [NUM_ROWS],
    }[how]


def local_rows(rank: int, ends: list[int]) -> slice:
    return slice(ends[rank - 1] if rank else 0, ends[rank])


def assert_same_table(table, expected) -> None:
    assert table.num_rows == expected.num_rows
    for name in ("indptr", "thresholds", "tp", "fp", "tied"):
        assert_same_bits(getattr(table, name), getattr(expected, name))


# ---------------------------------------------------------------------------------------------------------------------
# Functions that each rank runs on its rows
# ---------------------------------------------------------------------------------------------------------------------


def evaluate_local(rank, scores, labels, ends, **conventions):
    local = local_rows(rank, ends)
    return distributed.evaluate(scores[local], labels[local], **conventions)


def compute_local(rank, scores, labels, ends, ids=None, batch=32, **conventions):
    """Update once for each batch of the rank, then compute once."""
    evaluator = Evaluator(scores.shape[1], **conventions)
    local = np.arange(len(scores))[local_rows(rank, ends)]
    for start in range(0, len(local), batch):
        rows = local[start : start + batch]
        evaluator.update(scores[rows], labels[rows], None if ids is None else ids[rows])
    return evaluator.compute()


def table_of_local(rank, scores, labels, ends, ids=None):
    local = local_rows(rank, ends)
    return distributed.rank_table(scores[local], labels[local], ids=None if ids is None else ids[local])


def trials_of_local(rank, scores, labels, ends, ids=None, draws_at_once=None, **conventions):
    local = local_rows(rank, ends)
    before = counting._DRAWS_AT_ONCE
    counting._DRAWS_AT_ONCE = draws_at_once or before
    try:
        return distributed.sampled_average_precision(
            scores[local], labels[local], ids=None if ids is None else ids[local], return_trials=True, **conventions
        )
    finally:
        counting._DRAWS_AT_ONCE = before


def stream_local(rank, scores, labels, ends, batch=20):
    local = local_rows(rank, ends)
    starts = range(local.start, local.stop, batch)
    batches = [(scores[a : min(a + batch, local.stop)], labels[a : min(a + batch, local.stop)]) for a in starts]
    return evaluate_batches(batches, scores.shape[1], sap=20, seed=3)


# ---------------------------------------------------------------------------------------------------------------------
# Distributions of rows over ranks
# ---------------------------------------------------------------------------------------------------------------------

SPREADS = ("even", "ragged", "first has none", "last has none", "one has all")


@pytest.mark.parametrize("how", SPREADS)
def test_every_rank_gets_the_report_of_all_rows(ranks, case, whole, how):
    ends = ends_of(ranks.size, how)
    assert len(ends) == ranks.size
    for run in (run_evaluate, run_compute, stream_local):
        assert ranks.run(run, *case, ends) == [whole] * ranks.size


def run_evaluate(rank, scores, labels, ends):
    return evaluate_local(rank, scores, labels, ends, sap=20, seed=3)


def run_compute(rank, scores, labels, ends):
    return compute_local(rank, scores, labels, ends, sap=20, seed=3)


@pytest.mark.parametrize("how", SPREADS)
def test_every_rank_gets_the_table_of_all_rows(ranks, case, how):
    expected = vltr_eval.rank_table(*case)
    for table in ranks.run(table_of_local, *case, ends_of(ranks.size, how)):
        assert_same_table(table, expected)


@pytest.mark.parametrize("draws_at_once", [None, 1, 700])
def test_trials_draw_from_the_rows_of_all(ranks, case, draws_at_once):
    expected = vltr_eval.sampled_average_precision(*case, trials=7, seed=5, return_trials=True)
    for found in ranks.run(trials_and_seed, *case, ends_of(ranks.size, "ragged"), draws_at_once):
        for values, expected_values in zip(found, expected, strict=True):
            assert_same_bits(values, expected_values)


def trials_and_seed(rank, scores, labels, ends, draws_at_once):
    return trials_of_local(rank, scores, labels, ends, draws_at_once=draws_at_once, trials=7, seed=5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_gives_the_bits_of_one_process(ranks, case, dtype):
    scores = case[0].clip(0) if dtype.kind in "ub" else case[0]
    scores = scores.astype(dtype)
    expected = vltr_eval.evaluate(scores, case[1], sap=20, seed=3)
    ends = ends_of(ranks.size, "ragged")
    assert ranks.run(run_evaluate, scores, case[1], ends) == [expected] * ranks.size
    assert ranks.run(run_compute, scores, case[1], ends) == [expected] * ranks.size
    table = vltr_eval.rank_table(scores, case[1])
    for found in ranks.run(table_of_local, scores, case[1], ends):
        assert_same_table(found, table)


def test_extreme_scores_give_the_bits_of_one_process(ranks, case):
    for dtype in (np.float16, np.float32, np.float64):
        extremes = np.array([-np.inf, np.inf, -0.0, 0.0, np.finfo(dtype).max, np.finfo(dtype).tiny], dtype)
        scores = np.random.default_rng(3).choice(extremes, case[0].shape)
        assert_distribution_changes_nothing(ranks, scores, case[1])
    for dtype in (np.int64, np.uint64):
        extremes = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, np.iinfo(dtype).max - 1, 5], dtype)
        assert_distribution_changes_nothing(ranks, np.random.default_rng(3).choice(extremes, case[0].shape), case[1])


def assert_distribution_changes_nothing(ranks, scores, labels):
    ends = [len(scores) * rank // ranks.size for rank in range(1, ranks.size + 1)]
    assert ranks.run(run_evaluate, scores, labels, ends) == [vltr_eval.evaluate(scores, labels, sap=20, seed=3)] * len(
        ends
    )
    expected = vltr_eval.rank_table(scores, labels)
    for table in ranks.run(table_of_local, scores, labels, ends):
        assert_same_table(table, expected)


def test_a_class_may_have_positives_on_one_rank_only(ranks, case):
    labels = np.zeros((NUM_ROWS, NUM_CLASSES), bool)
    ends = ends_of(ranks.size, "even")
    for c in range(NUM_CLASSES):
        labels[local_rows(c % ranks.size, ends)][:: c + 1, c] = True
    expected = vltr_eval.evaluate(case[0], labels, sap=20, seed=3)
    assert ranks.run(run_evaluate, case[0], labels, ends) == [expected] * ranks.size


@pytest.mark.parametrize("fill", [False, True])
def test_labels_may_be_none_or_all(ranks, case, fill):
    assert_distribution_changes_nothing(ranks, case[0], np.full((NUM_ROWS, NUM_CLASSES), fill))


@pytest.mark.parametrize("num_rows", [1, 2, 3, 5])
def test_there_may_be_more_ranks_than_rows(ranks, case, num_rows):
    assert_distribution_changes_nothing(ranks, case[0][:num_rows], case[1][:num_rows])


def test_one_class_may_be_a_column(ranks, case):
    for scores, labels in ((case[0][:, 2], case[1][:, 2]), (case[0][:1, 2], case[1][:1, 2])):
        assert_distribution_changes_nothing(ranks, scores, labels)


def evaluate_shards(rank, scores, labels, ends):
    """Evaluate each rank's rows as a list of shards, some of them empty, with labels as lists."""
    local = local_rows(rank, ends)
    shards = np.split(scores[local], [0, len(scores[local]) // 3])
    return distributed.evaluate(shards, [np.flatnonzero(row).tolist() for row in labels[local]], sap=20, seed=3)


def test_a_rank_may_have_shards_and_lists(ranks, case, whole):
    for how in ("ragged", "first has none"):
        assert ranks.run(evaluate_shards, *case, ends_of(ranks.size, how)) == [whole] * ranks.size


def test_torch_tensors_give_the_bits_of_numpy_arrays(ranks, case, whole):
    tensors = map(torch.from_numpy, case)
    assert ranks.run(run_compute, *tensors, ends_of(ranks.size, "ragged")) == [whole] * ranks.size


def evaluate_conventions(rank, scores, labels, ends):
    conventions = {
        "sap": "exact",
        "topk": (2, 30),
        "train_counts": np.arange(NUM_CLASSES) * 100,
        "class_names": [f"class {c}" for c in range(NUM_CLASSES)],
        "absent": "zero",
    }
    if rank is None:
        return vltr_eval.evaluate(scores, labels, **conventions)
    report = evaluate_local(rank, scores, labels, ends, **conventions)
    return report if report == compute_local(rank, scores, labels, ends, **conventions) else None


def test_conventions_are_those_of_one_process(ranks, case):
    expected = evaluate_conventions(None, *case, None)
    assert ranks.run(evaluate_conventions, *case, ends_of(ranks.size, "ragged")) == [expected] * ranks.size


# ---------------------------------------------------------------------------------------------------------------------
# Sample ids
# ---------------------------------------------------------------------------------------------------------------------


def follow_the_sampler(rank, scores, labels, num_rows, shuffle, batch=16):
    """Evaluate an epoch of torch's DistributedSampler, which pads with repeated samples to equal counts."""
    sampler = DistributedSampler(range(num_rows), shuffle=shuffle, seed=4)
    sampler.set_epoch(2)
    evaluator = Evaluator(NUM_CLASSES, sap=20, seed=3)
    local = np.fromiter(sampler, int)
    for rows in np.split(local, range(batch, len(local), batch)):
        evaluator.update(scores[rows], labels[rows], torch.from_numpy(rows))
    table, found = evaluator.rank_table(), distributed.evaluate(scores[local], labels[local], ids=local, sap=20, seed=3)
    return len(local), table, evaluator.compute(), found


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_rows", [NUM_ROWS, NUM_ROWS - 1, 5, 2, 1])
def test_padding_of_a_sampler_is_dropped(ranks, case, shuffle, num_rows):
    scores, labels = (array[:num_rows] for array in case)
    expected = vltr_eval.evaluate(scores, labels, sap=20, seed=3)
    taken = 0
    for length, table, computed, found in ranks.run(follow_the_sampler, scores, labels, num_rows, shuffle):
        taken += length
        assert_same_table(table, vltr_eval.rank_table(scores, labels))
        assert computed == found == expected
    assert taken == -(-num_rows // ranks.size) * ranks.size


IDS = {
    "negative": lambda rng: np.arange(-100, NUM_ROWS - 100),
    "sparse": lambda rng: np.sort(rng.choice(10**12, NUM_ROWS, replace=False)),
    "huge": lambda rng: np.concatenate([[-(2**63), -(2**63) + 1], np.arange(NUM_ROWS - 3), [2**63 - 1]]),
    "unsigned": lambda rng: np.arange(2**63 - NUM_ROWS, 2**63, dtype=np.uint64),
    "small": lambda rng: np.arange(NUM_ROWS, dtype=np.uint8),
    "with an outlier": lambda rng: np.concatenate([np.arange(NUM_ROWS - 1), [2**62]]),
}


@pytest.mark.parametrize("kind", IDS)
def test_rows_are_numbered_by_their_ids(ranks, case, whole, kind):
    rng = np.random.default_rng(6)
    # Rows in any order, some of them twice, are the same set of rows as in order and once.
    rows = rng.permutation(np.concatenate([np.arange(NUM_ROWS), rng.integers(NUM_ROWS, size=40)]))
    scores, labels, ids = case[0][rows], case[1][rows], IDS[kind](rng)[rows]
    ends = [0, 30, 170, len(rows)][-ranks.size :]
    assert ranks.run(compute_ids, scores, labels, ends, ids) == [whole] * ranks.size
    expected = vltr_eval.sampled_average_precision(*case, trials=7, return_trials=True)
    for found in ranks.run(trials_of_ids, scores, labels, ends, ids):
        for values, expected_values in zip(found, expected, strict=True):
            assert_same_bits(values, expected_values)


def compute_ids(rank, scores, labels, ends, ids):
    return compute_local(rank, scores, labels, ends, ids, sap=20, seed=3)


def trials_of_ids(rank, scores, labels, ends, ids):
    return trials_of_local(rank, scores, labels, ends, ids, trials=7)


@pytest.mark.parametrize("kind", IDS)
def test_rows_of_a_single_process_are_numbered_by_their_ids(case, whole, kind):
    rng = np.random.default_rng(6)
    rows = rng.permutation(np.concatenate([np.arange(NUM_ROWS), rng.integers(NUM_ROWS, size=40)]))
    assert compute_ids(0, case[0][rows], case[1][rows], [len(rows)], IDS[kind](rng)[rows]) == whole


def test_the_copy_of_the_lowest_rank_counts_for_a_repeated_sample(ranks, case, whole):
    """The other copies may have other scores, even NaN."""
    rng = np.random.default_rng(7)
    rows = np.concatenate([np.arange(NUM_ROWS), np.arange(NUM_ROWS)])
    scores = np.concatenate([case[0], rng.normal(size=case[0].shape)]).astype(np.float32)
    labels = np.concatenate([case[1], case[1]])
    scores[NUM_ROWS:][~case[1]] = np.nan
    for ends in ([150, 300, 400, len(rows)], [NUM_ROWS, NUM_ROWS, NUM_ROWS, len(rows)], [0, 0, 0, len(rows)]):
        assert ranks.run(compute_ids, scores, labels, ends[-ranks.size :], rows) == [whole] * ranks.size


def names_of(numbers) -> list[str]:
    """Return strings of several lengths whose order by UTF-8 bytes is that of the numbers."""
    starts = ["", "Z", "a", "\u00e9" * 50, "\uffff", "\U0001f600"]
    return [f"{starts[number // 40]}{number:03}" for number in np.asarray(numbers)]


def test_rows_are_numbered_by_strings(ranks, case, whole):
    rng = np.random.default_rng(9)
    rows = rng.permutation(np.concatenate([np.arange(NUM_ROWS), rng.integers(NUM_ROWS, size=40)]))
    names = np.array(names_of(rows), object)
    for ends in ([0, 30, 170, len(rows)], [200, 200, 220, len(rows)], [0, 0, 0, len(rows)]):
        assert ranks.run(compute_ids, case[0][rows], case[1][rows], ends[-ranks.size :], names) == [whole] * ranks.size
    expected = vltr_eval.sampled_average_precision(*case, trials=7, return_trials=True)
    for found in ranks.run(trials_of_ids, case[0][rows], case[1][rows], [0, 30, 170, len(rows)][-ranks.size :], names):
        for values, expected_values in zip(found, expected, strict=True):
            assert_same_bits(values, expected_values)


@pytest.mark.parametrize("kind", ["integers", "strings"])
def test_repeated_rows_of_all_ranks_are_counted(ranks, case, kind):
    rows = np.concatenate([np.arange(NUM_ROWS), np.arange(17), np.arange(5)])
    ids = rows if kind == "integers" else np.array(names_of(rows), object)
    ends = [0, 100, NUM_ROWS + 9, len(rows)][-ranks.size :]
    assert ranks.run(count_local, case[0][rows], case[1][rows], ends, ids) == [22] * ranks.size
    first, ends = slice(NUM_ROWS), [0, 30, 170, NUM_ROWS][-ranks.size :]
    assert ranks.run(count_local, case[0], case[1], ends, ids[first]) == [0] * ranks.size


def count_local(rank, scores, labels, ends, ids):
    local = local_rows(rank, ends)
    settings = Settings(5, topk=(1,))
    return distributed._count(settings, scores[local], labels[local], ids[local], None, None, None, 1).repeated_rows


def different_labels(make_ids):
    """Evaluate all rows twice; samples 60, 7, 130 and 12 have other labels the second time, and 9 the third time."""
    rows = np.concatenate([np.arange(NUM_ROWS), np.arange(NUM_ROWS), np.arange(20)])
    labels = np.zeros((len(rows), NUM_CLASSES), bool)
    labels[:, 2] = True
    for row, label in ((60, 1), (7, 5), (130, 8), (12, 0), (NUM_ROWS + 9, 4)):
        labels[NUM_ROWS + row, label] = True
    return labels, make_ids(rows)


@pytest.mark.parametrize(
    ("make", "names"),
    [(np.asarray, ["7", "9", "12"]), (lambda rows: np.array(names_of(rows), object), ["'007'", "'009'", "'012'"])],
    ids=["integers", "strings"],
)
def test_samples_with_different_labels_are_named_on_all_ranks(ranks, make, names):
    labels, ids = different_labels(make)
    scores = np.zeros(labels.shape, np.float32)
    first, second, third = (f"sample {name} came twice with different labels: " for name in names)
    sentence = (
        f"ids: {first}[2] and [2, 5]; {second}[2] and [2, 4]; {third}[2] and [0, 2]; 5 samples in all; "
        "correct the labels, or give different samples different ids"
    )
    for ends in ([0, 150, NUM_ROWS, len(ids)], [NUM_ROWS, NUM_ROWS, 2 * NUM_ROWS, len(ids)], [0, 0, 0, len(ids)]):
        errors = ranks.errors(compute_ids, scores, labels, ends[-ranks.size :], ids)
        assert errors == [Raised("ValueError", sentence)] * ranks.size
    assert ranks.run(compute_ids, scores, labels & False, ends[-ranks.size :], ids)


def test_ids_of_two_kinds_on_ranks_are_refused(ranks, case):
    sentence = f"ids: expected one kind on all ranks, got integers on rank 0 and strings on {ranks.size - 1}"
    assert ranks.errors(compute_two_kinds, *case) == [Raised("ValueError", sentence)] * ranks.size


def compute_two_kinds(rank, scores, labels):
    ids = np.arange(NUM_ROWS) + rank * NUM_ROWS
    return distributed.evaluate(scores, labels, ids=names_of(ids % 200) if rank == dist.get_world_size() - 1 else ids)


def test_all_ranks_may_have_the_same_rows(ranks, case, whole):
    assert ranks.run(compute_all, *case) == [whole] * ranks.size


def compute_all(rank, scores, labels):
    order = np.random.default_rng(rank).permutation(len(scores))
    evaluator = Evaluator(NUM_CLASSES, sap=20, seed=3)
    evaluator.update(scores[order], labels[order], order)
    return evaluator.compute()


# ---------------------------------------------------------------------------------------------------------------------
# Evaluator on several ranks
# ---------------------------------------------------------------------------------------------------------------------


def compute_twice(rank, scores, labels):
    """Compute midway with rows on one rank only, at the end, and once more after a reset."""
    reports = []
    with Evaluator(NUM_CLASSES, sap=4) as evaluator:
        if rank == 1:
            evaluator.update(scores[:50], labels[:50])
        reports.append(evaluator.compute())
        if rank == 1:
            evaluator.update(scores[50:90], labels[50:90])
            evaluator.update(scores[:0], labels[:0])
        reports.append(evaluator.compute())
        evaluator.reset()
        if rank == 0:
            evaluator.update(scores[100:], labels[100:])
        reports.append(evaluator.compute())
    return reports


def test_compute_may_be_called_at_any_time(ranks, case):
    scores, labels = case
    expected = [vltr_eval.evaluate(scores[a:b], labels[a:b], sap=4) for a, b in ((0, 50), (0, 90), (100, NUM_ROWS))]
    assert ranks.run(compute_twice, *case) == [expected] * ranks.size


def compute_without_the_others(rank, scores, labels):
    evaluator = Evaluator(NUM_CLASSES, sync_on_compute=False, sap=4)
    rows = slice(rank, None, dist.get_world_size())
    evaluator.update(scores[rows], labels[rows])
    alone = evaluator.compute() if rank else None
    return alone, evaluator.sync()


def test_sync_on_compute_can_be_left_out(ranks, case):
    scores, labels = case
    outcomes = ranks.run(compute_without_the_others, *case)
    order = np.concatenate([np.arange(NUM_ROWS)[rank :: ranks.size] for rank in range(ranks.size)])
    whole = vltr_eval.evaluate(scores[order], labels[order], sap=4)
    for rank, (alone, synced) in enumerate(outcomes):
        rows = slice(rank, None, ranks.size)
        assert alone == (vltr_eval.evaluate(scores[rows], labels[rows], sap=4) if rank else None)
        assert synced == whole


def compute_in_a_subgroup(rank, scores, labels, members):
    group = dist.new_group(members)
    if rank not in members:
        return distributed.evaluate(scores, labels, group=group)
    position = members.index(rank)
    ends = [NUM_ROWS * position // len(members) for position in range(1, len(members) + 1)]
    local = local_rows(position, ends)
    evaluator = Evaluator(NUM_CLASSES, process_group=group, sap=20, seed=3)
    evaluator.update(scores[local], labels[local])
    found = distributed.evaluate(scores[local], labels[local], group=group, sap=20, seed=3)
    return evaluator.compute(), found


@pytest.mark.parametrize("members", [[1, 3], [0, 2, 3], [2], [0, 1, 2, 3]], ids=str)
def test_a_subgroup_evaluates_its_rows_only(case, whole, members):
    for rank, outcome in enumerate(group_of(4).outcomes(compute_in_a_subgroup, *case, members)):
        if rank in members:
            assert outcome == (whole, whole)
        else:
            assert outcome.kind == "ValueError"
            assert outcome.message.startswith("group: expected a process group with this process in it")


def compute_outside(rank, scores, labels):
    group = dist.new_group([0])
    evaluator = Evaluator(NUM_CLASSES, process_group=group)
    evaluator.update(scores, labels)
    return evaluator.compute().num_rows


def test_a_rank_outside_the_group_is_refused(case):
    first, second = group_of(2).outcomes(compute_outside, *case)
    assert first == NUM_ROWS
    assert second == Raised("ValueError", "group: expected a process group with this process in it, got one without")


# ---------------------------------------------------------------------------------------------------------------------
# Failures
# ---------------------------------------------------------------------------------------------------------------------


def fail(rank, how, scores, labels):
    """Fail on rank 1, in the loop or in the evaluation, while the others wait in compute."""
    failing = rank == 1
    scores, labels = scores.copy(), labels.astype(np.int64)
    if failing and how == "NaN":
        scores[3, 2] = np.nan
    if failing and how == "NaN of a positive":
        scores[3, 6] = np.where(labels[3, 6] == 1, np.nan, scores[3, 6])
    if failing and how == "dtype":
        scores = scores.astype(np.float64)
    num_classes = NUM_CLASSES - 1 if failing and how == "classes" else NUM_CLASSES
    conventions = {"sap": 5} if failing and how == "settings" else {}
    with Evaluator(num_classes, **conventions) as evaluator:
        for start in range(0, 60, 20):
            if failing and start == 20:
                if how == "model":
                    raise KeyError("model")
                if how == "exit":
                    raise SystemExit(7)
                if how == "label":
                    labels[25, 4] = 2
            rows = slice(start, start + 20)
            ids = np.arange(start, start + 20) if how == "ids" and failing else None
            evaluator.update(scores[rows, :num_classes], labels[rows, :num_classes], ids)
        return evaluator.compute()


TOLD = {
    "model": "KeyError: 'model'",
    "exit": "SystemExit: 7",
    "label": "ValueError: labels: expected 0 or 1, got 2 at row 5, class 4",
    "NaN": "NaNScore: scores: expected numbers, got NaN at row 3, class 2",
}


@pytest.mark.parametrize("how", TOLD)
def test_the_error_of_one_rank_is_raised_on_all(ranks, case, how):
    kind, _, message = TOLD[how].partition(": ")
    for rank, error in enumerate(ranks.errors(fail, how, *case)):
        assert error == (Raised(kind, message) if rank == 1 else Raised("RankFailure", f"rank 1: {TOLD[how]}"))
    assert_a_next_evaluation_succeeds(ranks, case)


AGREED = {
    "dtype": "scores: expected one dtype on all ranks, got float32 on rank 0 and float64 on 1",
    "classes": "settings: expected the same on all ranks, got 9 classes and ",
    "settings": "settings: expected the same on all ranks, got 9 classes and ",
    "ids": "ids: expected sample ids on all ranks or on none, got them on rank 1 and not on 0",
}


@pytest.mark.parametrize("how", AGREED)
def test_ranks_that_differ_are_refused(ranks, case, how):
    errors = ranks.errors(fail, how, *case)
    assert errors == [errors[0]] * ranks.size
    assert errors[0].kind == "ValueError"
    assert errors[0].message.startswith(AGREED[how])
    assert_a_next_evaluation_succeeds(ranks, case)


def assert_a_next_evaluation_succeeds(ranks, case):
    expected = vltr_eval.evaluate(*case, sap=20, seed=3)
    assert ranks.run(run_evaluate, *case, ends_of(ranks.size, "even")) == [expected] * ranks.size


def fail_in_a_function(rank, how, scores, labels):
    if how == "no rows":
        return distributed.evaluate(scores[:0], labels[:0])
    if rank == 0:
        {
            "labels": lambda: distributed.evaluate(scores, labels[1:]),
            "sap": lambda: distributed.evaluate(scores, labels, sap=0),
            "shape": lambda: distributed.evaluate(scores[None], labels),
            "ids": lambda: distributed.evaluate(scores, labels, ids=np.zeros(3, int)),
            "half an id": lambda: distributed.evaluate(scores, labels, ids=np.full(NUM_ROWS, 0.5)),
            "trials": lambda: distributed.sampled_average_precision(scores, labels, trials=0),
            "seed": lambda: distributed.sampled_average_precision(scores, labels, seed=-1),
            "absent": lambda: distributed.sampled_average_precision(scores, labels, absent="one"),
            "threads": lambda: distributed.rank_table(scores, labels, threads=0),
            "nothing": lambda: distributed.rank_table([], labels),
        }[how]()
    return distributed.evaluate(scores, labels)


@pytest.mark.parametrize(
    "how", ["labels", "sap", "shape", "ids", "half an id", "trials", "seed", "absent", "threads", "nothing"]
)
def test_bad_arguments_of_one_rank_end_all(ranks, case, how):
    first, *others = ranks.errors(fail_in_a_function, how, *case)
    assert first.kind in ("ValueError", "TypeError")
    assert others == [Raised("RankFailure", f"rank 0: {first.kind}: {first.message}")] * len(others)


def test_no_rows_at_all_are_an_error(ranks, case):
    errors = ranks.errors(fail_in_a_function, "no rows", *case)
    assert errors == [Raised("ValueError", "scores: expected at least one row, got none")] * ranks.size


def fail_in_the_block(rank, when, scores, labels):
    """Fail on rank 1 while the others wait for it, or at the end when they have all messages."""
    with Evaluator(NUM_CLASSES, sap=4, sync_on_compute=when != "before sync") as evaluator:
        if when == "before sync":
            if rank == 1:
                raise KeyError("model")
            evaluator.sync()
        for step in range(2):
            if (rank, step, when) == (1, 1, "in the second step"):
                raise KeyError("model")
            evaluator.update(scores, labels)
            evaluator.compute()
        if rank == 1:
            raise KeyError("model")


@pytest.mark.parametrize("when", ["in the second step", "after the result", "before sync"])
def test_an_error_in_the_block_is_raised_on_all_ranks(ranks, case, when):
    errors = ranks.errors(fail_in_the_block, when, *case)
    assert errors.pop(1) == Raised("KeyError", "'model'")
    assert errors == [Raised("RankFailure", "rank 1: KeyError: 'model'")] * (ranks.size - 1)
    assert_a_next_evaluation_succeeds(ranks, case)


def leave_early(rank, scores, labels):
    with Evaluator(NUM_CLASSES) as evaluator:
        evaluator.update(scores, labels)
        if rank != 1:
            evaluator.compute()


def test_a_rank_that_leaves_the_block_early_is_named(ranks, case):
    outcomes = ranks.outcomes(leave_early, *case)
    assert outcomes.pop(1) is None
    sentence = "rank 1: has left, and was expected to send a message"
    assert outcomes == [Raised("RankFailure", sentence)] * (ranks.size - 1)
    assert_a_next_evaluation_succeeds(ranks, case)


def fail_between_collectives(rank, scores, labels):
    def fail(*_, **__):
        raise MemoryError("no room")

    average_trials, at_once = counting.average_trials, counting._DRAWS_AT_ONCE
    counting._DRAWS_AT_ONCE = 1
    if rank == 1:
        counting.average_trials = fail
    try:
        distributed.evaluate(scores, labels, sap=3)
    finally:
        counting.average_trials, counting._DRAWS_AT_ONCE = average_trials, at_once


def test_an_error_between_collectives_is_raised_on_all_ranks(ranks, case):
    errors = ranks.errors(fail_between_collectives, *case)
    assert errors.pop(1) == Raised("MemoryError", "no room")
    assert errors == [Raised("RankFailure", "rank 1: MemoryError: no room")] * (ranks.size - 1)
    assert_a_next_evaluation_succeeds(ranks, case)


def pass_other_classes(rank, what, scores, labels):
    other = {"train_counts": np.arange(NUM_CLASSES) + rank, "class_names": [f"{rank}"] * NUM_CLASSES}
    return distributed.evaluate(scores, labels, **{what: other[what]})


@pytest.mark.parametrize("what", ["train_counts", "class_names"])
def test_ranks_must_have_equal_class_options(ranks, case, what):
    sentence = (
        "train_counts and class_names: expected the same on all ranks, got different ones on rank 0 and on rank 1"
    )
    assert ranks.errors(pass_other_classes, what, *case) == [Raised("ValueError", sentence)] * ranks.size


def fail_among_two_evaluators(rank, scores, labels):
    with Evaluator(NUM_CLASSES) as seen, Evaluator(NUM_CLASSES) as unseen:
        seen.update(scores, labels)
        seen.compute()
        if rank == 1:
            raise KeyError("model")
        unseen.update(scores, labels)
        return unseen.compute()


def test_the_error_of_one_of_two_evaluators_reaches_all_ranks(ranks, case):
    errors = ranks.errors(fail_among_two_evaluators, *case)
    assert errors.pop(1) == Raised("KeyError", "'model'")
    assert errors == [Raised("RankFailure", "rank 1: KeyError: 'model'")] * (ranks.size - 1)
    assert_a_next_evaluation_succeeds(ranks, case)


def be_killed(rank, when, scores, labels):
    """Kill rank 1 before or during its compute; the other ranks have more rows."""

    def die(*_, **__):
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    with Evaluator(NUM_CLASSES) as evaluator:
        evaluator.update(scores, labels)
        if rank == 1:
            if when == "before":
                die()
            counting.rank_scan = die
        return evaluator.compute()


@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("size", [2, 4])
def test_a_killed_rank_is_an_error_on_the_others(case, size, when):
    mortal = Ranks(size)
    outcomes = mortal.outcomes(be_killed, when, *case)
    mortal.stop()
    assert outcomes.pop(1) == GONE
    for outcome in outcomes:
        assert outcome.kind == "RankFailure"
        assert outcome.message.startswith("a rank went away without saying why (")


# ---------------------------------------------------------------------------------------------------------------------
# Communication
# ---------------------------------------------------------------------------------------------------------------------


def count_bytes(rank, scores, labels, ids, conventions):
    """Return the bytes that this rank passes to collectives; any other communication fails.

    ids: the ids of all rows; True for the row numbers, False for no ids.
    """
    ids = np.arange(len(scores)) if ids is True else ids
    moved = []
    saved = {name: getattr(dist, name) for name in dist.__dict__ if name in COLLECTIVES}
    move = saved["all_to_all_single"]

    def refuse(*_, **__):
        raise AssertionError("expected all_to_all_single alone")

    for name in saved:
        setattr(dist, name, refuse)
    dist.all_to_all_single = lambda out, sent, *sizes, **kw: moved.append(sent.nbytes) or move(out, sent, *sizes, **kw)
    try:
        rows = np.arange(rank, len(scores), dist.get_world_size())
        distributed.evaluate(scores[rows], labels[rows], ids=None if ids is False else ids[rows], **conventions)
    finally:
        for name, function in saved.items():
            setattr(dist, name, function)
    return sum(moved)


COLLECTIVES = {
    "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "all_to_all_single",
    "barrier", "broadcast", "broadcast_object_list", "gather", "gather_object", "irecv", "isend", "recv", "reduce",
    "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
}  # fmt: skip


@pytest.fixture(scope="module")
def rare():
    """Return 20,000 x 50 scores with 1,000 labels; the upper half of the rows has no label and the lowest scores."""
    rng = np.random.default_rng(8)
    scores = rng.normal(size=(20_000, 50)).astype(np.float32)
    labels = np.zeros(scores.shape, bool)
    labels[rng.integers(10_000, size=1000), rng.integers(50, size=1000)] = True
    scores[10_000:] -= 100
    return scores, labels


def test_traffic_does_not_grow_with_the_negatives(ranks, rare):
    for conventions in ({"sap": None}, {"sap": "exact", "topk": ()}):
        of_half = ranks.run(count_bytes, *(array[:10_000] for array in rare), False, conventions)
        assert ranks.run(count_bytes, *rare, False, conventions) == of_half


def test_traffic_is_a_few_bytes_a_positive(ranks, rare):
    scores, labels = rare
    positives, size = int(labels.sum()), ranks.size
    for moved in ranks.run(count_bytes, *rare, False, {"sap": None}):
        # A score of 4 bytes and two counts of each, sent and returned, and the classes' offsets and hits.
        assert moved <= 4 * positives + 2 * 3 * 4 * positives + (8 + 2 * 2 * 4) * 50 * size + 3000 * size
        assert moved < scores.nbytes / size / 20
    draws = 15 * positives
    for moved in ranks.run(count_bytes, *rare, False, {"sap": 15}):
        # The row and class of each positive come on top, and at most 4 bytes for each drawn negative.
        assert moved <= 40 * positives + 4 * draws + 24 * 50 * size + 5000 * size
        assert moved < scores.nbytes / size / 10


def test_only_labels_of_repeated_rows_are_sent(ranks, rare):
    """With ids and 100 of all rows repeated, the traffic grows by these 100 rows only."""
    scores, labels = (np.concatenate([array, array[:100]]) for array in rare)
    once = ranks.run(count_bytes, *rare, True, {"sap": None})
    twice = ranks.run(count_repeated_bytes, scores, labels, {"sap": None})
    for more, less in zip(twice, once, strict=True):
        assert more - less <= 100 * (16 + 4 * 8 + 50 * 4) + 4000 * ranks.size


def count_repeated_bytes(rank, scores, labels, conventions):
    ids = np.arange(len(scores)) % (len(scores) - 100)
    return count_bytes(rank, scores, labels, ids, conventions)


def test_sample_ids_send_a_few_bytes_a_row(ranks, rare):
    without = ranks.run(count_bytes, *rare, False, {"sap": None})
    with_ids = ranks.run(count_bytes, *rare, True, {"sap": None})
    for more, less in zip(with_ids, without, strict=True):
        assert more - less <= 16 * (20_000 / ranks.size) + 3000 * ranks.size
