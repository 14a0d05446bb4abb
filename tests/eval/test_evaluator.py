"""Evaluator: rows added batch by batch give the report of `evaluate` on all rows, bit for bit.

This holds for every split, budget, merge and resumed state. A refused batch changes nothing.
"""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import reference
import scipy.sparse
import torch
from cases import corner_labels, labels_by_id, make_case, slices
from devices import CudaArray, on_device, torch_on_device
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_table

from vltr_eval import Evaluator, LabelPairs, Positives, Report, evaluate, rank_table
from vltr_eval._engine import counting, row_store

NUM_CLASSES = 6
CONVENTIONS = {"sap": 4, "topk": (1, 3)}
DTYPES = [np.bool_, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float16, np.float32, np.float64]
DTYPES += [ml_dtypes.bfloat16]


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(row_store, "_LEAST_FILE", 1 << 16)


def epoch(num_rows=90, *, seed=0, levels=12, dtype=np.float32):
    """Return scores (N, C) with ties and labels (N, C) bool; classes are absent, rare, frequent or in every row."""
    scores, _ = make_case(num_rows, NUM_CLASSES, seed=seed, levels=levels)
    labels = corner_labels(num_rows, seed=seed)
    scores = np.clip(scores + labels + 20, 0, 100)
    return (scores > 20 if dtype is np.bool_ else scores).astype(dtype), labels


def at_once(scores, labels, ids=None, **options) -> Report:
    """Return the expected report: of all rows or, with ids, of the first row of each sample in id order."""
    if ids is not None:
        _, first = np.unique(ids, return_index=True)
        scores, labels = scores[first], labels[first]
    return evaluate(scores, labels, **{**CONVENTIONS, **options})


def taken(scores, labels, sizes=(), *, ids=None, device="cpu", into: Evaluator | None = None, **options) -> Evaluator:
    """Return an evaluator updated with the rows in batches of these sizes."""
    evaluator = Evaluator(NUM_CLASSES, **{**CONVENTIONS, **options}) if into is None else into
    for part in slices(len(scores), sizes):
        own_ids = None if ids is None else ids[part]
        evaluator.update(on_device(scores[part], device), on_device(labels[part], device), own_ids)
    return evaluator


def through_npz(state):
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return np.load(file)


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


STATES = {
    "dict": lambda state: state,
    "npz": through_npz,
    "pickle": lambda state: pickle.loads(pickle.dumps(state)),
    "torch": through_torch,
}


# The report of all rows


@pytest.mark.parametrize("sizes", [[], [1], [32, 32], [0, 89, 0], [7] * 12, [1] * 89])
@pytest.mark.parametrize("budget", [None, 0, 24 * 40])
def test_batches_give_the_report_of_all_rows(device, sizes, budget):
    scores, labels = epoch(seed=1)
    evaluator = taken(scores, labels, sizes, device=device, memory_budget=budget)
    assert evaluator.compute() == at_once(scores, labels)
    assert len(evaluator) == evaluator.num_rows == 90


def test_the_report_is_that_of_the_textbook():
    scores, labels = epoch(seed=2)
    report = taken(scores, labels, [11] * 8).compute()
    assert_agrees(report.classes["AP"], reference.per_class(reference.average_precision, scores, labels))
    for k in CONVENTIONS["topk"]:
        assert report.metrics()[f"Acc@{k}"] == reference.topk_accuracy(scores, labels, k)


@pytest.mark.parametrize("budget", [None, 100])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_scores_keep_their_dtype(device, dtype, budget):
    scores, labels = epoch(seed=3, dtype=dtype)
    evaluator = taken(scores, labels, [50], device=device, memory_budget=budget)
    assert evaluator.compute() == at_once(scores, labels)


def test_large_integers_are_not_rounded():
    scores, labels = epoch(seed=3, dtype=np.uint64)
    scores += np.uint64(2**64 - 200)
    for options in ({}, {"memory_budget": 0}):
        evaluator = taken(scores, labels, [50], **options)
        assert evaluator.compute() == at_once(scores, labels)
        evaluator.load_state_dict(evaluator.state_dict())
        assert evaluator.compute() == at_once(scores, labels)


@pytest.mark.parametrize("budget", [None, 100])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32])
def test_torch_batches_of_every_dtype(device, dtype, budget):
    scores, labels = epoch(seed=4)
    scores, labels = torch.tensor(scores).to(dtype), torch.tensor(labels)
    evaluator = Evaluator(NUM_CLASSES, memory_budget=budget, **CONVENTIONS)
    for part in slices(90, [40]):
        evaluator.update(torch_on_device(scores[part], device), torch_on_device(labels[part], device))
    assert evaluator.compute() == at_once(scores, labels)


def test_gradients_are_not_tracked():
    scores, labels = epoch(seed=5)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    evaluator.update(torch.tensor(scores, requires_grad=True), torch.tensor(labels))
    assert evaluator.compute() == at_once(scores, labels)


LABEL_FORMS = {
    "bool": lambda labels: labels,
    "uint8": lambda labels: labels.astype(np.uint8),
    "float64": lambda labels: labels.astype(np.float64),
    "torch": torch.tensor,
    "lists": lambda labels: [np.flatnonzero(row).tolist() for row in labels],
    "sparse": scipy.sparse.csr_matrix,
    "pairs": lambda labels: LabelPairs(*labels.shape, *np.nonzero(labels)),
    "Positives": lambda labels: Positives.from_labels(labels, *labels.shape),
}


@pytest.mark.parametrize("form", LABEL_FORMS)
def test_labels_of_every_form(device, form):
    scores, labels = epoch(seed=6)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    for part in slices(90, [1, 40]):
        evaluator.update(on_device(scores[part], device), LABEL_FORMS[form](labels[part]))
    assert evaluator.compute() == at_once(scores, labels)


def test_every_batch_may_have_labels_of_another_form():
    scores, labels = epoch(80, seed=7)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    for part, make in zip(slices(80, [10] * 7), LABEL_FORMS.values(), strict=True):
        evaluator.update(scores[part], make(labels[part]))
    assert evaluator.compute() == at_once(scores, labels)


def test_class_indices_are_labels(device):
    scores, _ = epoch(seed=8)
    classes = np.random.default_rng(8).integers(0, NUM_CLASSES, 90)
    evaluator = taken(scores, classes, [1, 40], device=device)
    assert evaluator.compute() == at_once(scores, classes)


def test_labels_may_be_on_another_device_than_scores(cuda):
    scores, labels = epoch(seed=9)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    evaluator.update(CudaArray(scores[:40]), labels[:40])
    evaluator.update(CudaArray(scores[40:60]), CudaArray(labels[40:60]))
    evaluator.update(scores[60:], CudaArray(labels[60:]))
    assert evaluator.compute() == at_once(scores, labels)


def test_batches_may_come_from_several_devices(cuda):
    scores, labels = epoch(seed=10, levels=40)
    ids = np.random.default_rng(10).integers(0, 60, 90)
    labels = labels_by_id(labels, ids)
    for budget in (None, 24 * 50):
        for own_ids in (None, ids):
            evaluator = Evaluator(NUM_CLASSES, memory_budget=budget, **CONVENTIONS)
            for i, part in enumerate(slices(90, [10] * 8)):
                device = ("cpu", cuda)[i % 2]
                part_ids = None if own_ids is None else ids[part]
                taken(scores[part], labels[part], ids=part_ids, device=device, into=evaluator)
            assert evaluator.compute() == at_once(scores, labels, own_ids)


@pytest.mark.parametrize("num_rows", [1, 30, 89, 90, 91, 5000])
@pytest.mark.parametrize("budget", [None, 24 * 40])
def test_a_known_number_of_rows_is_a_hint(device, num_rows, budget):
    scores, labels = epoch(seed=11)
    evaluator = taken(scores, labels, [20] * 4, device=device, num_rows=num_rows, memory_budget=budget)
    assert evaluator.compute() == at_once(scores, labels)


def test_batches_may_change_after_an_update():
    scores, labels = epoch(seed=12)
    batch, flags, ids = scores.copy(), labels.copy(), np.arange(90)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    evaluator.update(batch, flags, ids)
    batch[:], flags[:], ids[:] = 0, True, 0
    assert evaluator.compute() == at_once(scores, labels)


def test_conventions_are_those_of_evaluate():
    scores, labels = epoch(seed=13)
    conventions = {
        "sap": "exact",
        "seed": 7,
        "topk": None,
        "train_counts": [900, 300, 10, 50, 600, 101],
        "bounds": (400, 50),
        "class_names": list("abcdef"),
        "absent": "zero",
    }
    evaluator = Evaluator(NUM_CLASSES, threads=2, **conventions)
    evaluator.update(scores, labels)
    assert evaluator.compute() == evaluate(scores, labels, **conventions)
    defaults = Evaluator(NUM_CLASSES)
    defaults.update(scores, labels)
    assert defaults.compute() == evaluate(scores, labels)
    one_more_trial = Evaluator(NUM_CLASSES, sap=np.int64(1), seed=5, topk=iter((2,)))
    taken(scores, labels, [40], into=one_more_trial)
    for _ in range(2):
        assert one_more_trial.compute() == evaluate(scores, labels, sap=1, seed=5, topk=2)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_bit(threads):
    scores, labels = epoch(700, seed=14, levels=50)
    ids = np.random.default_rng(14).permutation(700)
    assert taken(scores, labels, [300], ids=ids, threads=threads).compute() == at_once(scores, labels, ids)


def test_updates_may_follow_compute(device):
    scores, labels = epoch(seed=15)
    evaluator = Evaluator(NUM_CLASSES, memory_budget=24 * 40, **CONVENTIONS)
    for part in slices(90, [30, 30]):
        taken(scores[part], labels[part], device=device, into=evaluator)
        for _ in range(2):
            assert evaluator.compute() == at_once(scores[: part.stop], labels[: part.stop])


def test_the_rank_table_is_that_of_all_rows():
    scores, labels = epoch(seed=16)
    evaluator = taken(scores, labels, [40], sync_on_compute=False)
    assert evaluator.sync() == evaluator.compute()
    assert_same_table(evaluator.rank_table(), rank_table(scores, labels))


def test_one_class_and_one_row():
    evaluator = Evaluator(1)
    evaluator.update([[0.5]], [1])
    assert evaluator.compute() == evaluate([[0.5]], [1])


def test_rows_without_any_label():
    scores, labels = epoch(seed=17)
    for ids in (None, np.arange(90)[::-1]):
        assert taken(scores, labels & False, [40], ids=ids).compute() == at_once(scores, labels & False)


def test_evaluators_have_a_repr():
    assert repr(taken(*epoch())) == "<Evaluator of 90 rows and 6 classes>"


# Sample ids


@pytest.mark.parametrize("budget", [None, 24 * 40])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_shuffled_samples_are_put_in_order(device, dtype, budget):
    scores, labels = epoch(seed=18)
    order = np.random.default_rng(18).permutation(90)
    evaluator = taken(scores[order], labels[order], [40], ids=order.astype(dtype), device=device, memory_budget=budget)
    assert evaluator.compute() == at_once(scores, labels)


@pytest.mark.parametrize("budget", [None, 24 * 40])
@pytest.mark.parametrize("sizes", [[], [30], [1] * 89])
def test_the_first_row_of_a_repeated_sample_is_counted(device, sizes, budget):
    scores, labels = epoch(seed=19, levels=200)
    ids = np.random.default_rng(19).integers(-20, 30, 90)
    labels = labels_by_id(labels, ids)
    evaluator = taken(scores, labels, sizes, ids=ids, device=device, memory_budget=budget)
    report = evaluator.compute()
    assert report == at_once(scores, labels, ids)
    assert report.num_rows == len(np.unique(ids)) < evaluator.num_rows == 90


def test_rows_of_one_sample_are_one_row():
    scores, labels = epoch(seed=20)
    labels = labels_by_id(labels, np.full(90, 7))
    assert taken(scores, labels, [40], ids=np.full(90, 7)).compute() == at_once(scores[:1], labels[:1])


def test_ids_use_all_64_bits():
    scores, labels = epoch(5, seed=21)
    ids = np.array([2**63 - 1, 0, -(2**63), -1, 2**63 - 1])
    labels = labels_by_id(labels, ids)
    assert taken(scores, labels, ids=ids).compute() == at_once(scores, labels, ids)


@pytest.mark.parametrize("make", [list, torch.tensor, np.asarray], ids=["list", "torch", "numpy"])
def test_ids_are_integers_of_any_library(make):
    scores, labels = epoch(seed=22)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    for part in slices(90, [0, 50]):
        evaluator.update(scores[part], labels[part], make(range(90)[::-1][part]))
    assert evaluator.compute() == at_once(scores[::-1], labels[::-1])


def test_trials_in_blocks_are_the_same_trials(device, monkeypatch):
    scores, labels = epoch(seed=40, levels=200)
    ids = np.random.default_rng(40).permutation(90)
    for at_once_draws in (1, 200):
        monkeypatch.setattr(counting, "_DRAWS_AT_ONCE", at_once_draws)
        evaluator = taken(scores, labels, [40], ids=ids, device=device, memory_budget=24 * 40, sap=7)
        assert evaluator.compute() == at_once(scores, labels, ids, sap=7)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_zeros_of_both_signs_and_infinities_are_scores(device, dtype):
    rng = np.random.default_rng(41)
    scores = rng.choice(np.array([-np.inf, -1, -0.0, 0.0, np.inf], dtype), (90, NUM_CLASSES))
    labels, ids = corner_labels(90, seed=41), rng.integers(0, 80, 90)
    for own_ids in (None, ids):
        labels = labels_by_id(labels, own_ids)
        evaluator = taken(scores, labels, [13] * 6, ids=own_ids, device=device, memory_budget=24 * 40)
        assert evaluator.compute() == at_once(scores, labels, own_ids)


# Ids that are strings


def names_of(numbers) -> np.ndarray:
    """Return strings in the order of the numbers by UTF-8 bytes; their order by UTF-16 differs."""
    starts = ["", "Z", "a\0", "a", "\u00e9", "\uffff", "\U0001f600"]
    return np.array([f"{starts[number // 13]}{number:03}" for number in np.asarray(numbers)], object)


def test_rows_are_numbered_by_the_bytes_of_strings():
    scores, labels = epoch(seed=60, levels=200)
    names = names_of(range(90))
    assert sorted(name.encode() for name in names) == [name.encode() for name in names]
    order = np.random.default_rng(60).permutation(90)
    for budget in (None, 24 * 40):
        evaluator = taken(scores[order], labels[order], [40], ids=names[order], memory_budget=budget)
        assert evaluator.compute() == at_once(scores, labels)


@pytest.mark.parametrize("sizes", [[], [30], [1] * 89])
def test_the_first_row_of_a_repeated_string_is_counted(sizes):
    scores, labels = epoch(seed=61, levels=200)
    numbers = np.random.default_rng(61).integers(0, 60, 90)
    labels = labels_by_id(labels, numbers)
    evaluator = taken(scores, labels, sizes, ids=names_of(numbers))
    assert evaluator.compute() == at_once(scores, labels, numbers)


@pytest.mark.parametrize("budget", [None, 24 * 20])
def test_evaluators_with_strings_are_merged(budget):
    scores, labels = epoch(seed=62)
    numbers = np.random.default_rng(62).integers(0, 60, 90)
    labels = labels_by_id(labels, numbers)
    several = [
        taken(scores[part], labels[part], [10], ids=names_of(numbers[part]), memory_budget=budget)
        for part in slices(90, [20, 0, 40])
    ]
    several[0].merge(*several[1:])
    assert several[0].compute() == at_once(scores, labels, numbers)


@pytest.mark.parametrize(
    ("make", "saved"),
    [
        *((np.asarray, saved) for saved in ("dict", "npz", "pickle")),
        *((torch.from_numpy, saved) for saved in ("dict", "torch", "pickle")),
    ],
)
def test_states_keep_strings(make, saved):
    scores, labels = epoch(seed=63)
    numbers = np.random.default_rng(63).integers(0, 90, 90)
    names, labels = names_of(numbers), labels_by_id(labels, numbers)
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    evaluator.update(make(scores[:50]), labels[:50], names[:50])
    state = evaluator.state_dict()
    assert state["id_bytes"].dtype in (np.uint8, torch.uint8)
    resumed = Evaluator(NUM_CLASSES, **CONVENTIONS)
    resumed.load_state_dict(STATES[saved](state))
    resumed.update(scores[50:], labels[50:], names[50:])
    assert resumed.compute() == at_once(scores, labels, numbers)


def test_a_state_with_strings_is_of_another_format():
    """A version without string ids would load the rows without them."""
    scores, labels = epoch(4)
    assert taken(scores, labels, ids=np.arange(4)).state_dict()["format"] == "vltr-eval/evaluator/1"
    assert taken(scores, labels, ids=list("abcd")).state_dict()["format"] == "vltr-eval/evaluator/2"


def test_copies_and_pickles_keep_strings():
    scores, labels = epoch(seed=64)
    names = names_of(np.arange(90)[::-1])
    evaluator = taken(scores, labels, ids=names)
    for other in (copy.copy(evaluator), copy.deepcopy(evaluator), pickle.loads(pickle.dumps(evaluator))):
        assert other.compute() == at_once(scores[::-1], labels[::-1])


@pytest.mark.parametrize("first", ["integers", "strings"])
def test_ids_of_another_kind_are_refused(first):
    scores, labels = epoch()
    ids = {"integers": np.arange(90), "strings": names_of(range(90))}
    second = ({*ids} - {first}).pop()
    evaluator, other = (taken(scores, labels, ids=ids[kind]) for kind in (first, second))
    with pytest.raises(ValueError, match=f"^ids: expected {first} as in earlier updates, got {second}$"):
        evaluator.update(scores, labels, ids[second])
    with pytest.raises(ValueError, match=r"^others: expected sample ids of one kind, got integers and strings$"):
        evaluator.merge(other)
    assert evaluator.compute() == at_once(scores, labels)


# One sample with different labels


def relabelled(make_ids):
    """Return 90 rows of 45 samples, some repeated with other labels, and the expected error."""
    scores, labels = epoch(seed=65)
    labels[45:] = labels[:45] = False
    labels[[3, 48], 1] = True
    labels[[3, 4, 50], 3] = True
    return scores, labels, make_ids(np.tile(np.arange(45), 2))


def test_a_sample_with_different_labels_is_named():
    scores, labels = epoch(4)
    labels[:] = False
    labels[0, [3, 1]] = labels[2, 1] = True
    evaluator = taken(scores, labels, [1, 2], ids=["v7", "v8", "v7", "v9"])
    sentence = (
        "ids: sample 'v7' came twice with different labels: [1, 3] and [1]; correct the labels, or give different "
        "samples different ids"
    )
    for call in (evaluator.compute, evaluator.rank_table, copy.copy(evaluator).sync):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            call()


@pytest.mark.parametrize("sizes", [[], [50], [1] * 89])
@pytest.mark.parametrize(
    ("make", "names"), [(np.asarray, ["3", "4", "5"]), (lambda ids: names_of(ids + 40), ["'a043'", "'a044'", "'a045'"])]
)
def test_three_samples_with_different_labels_are_named(sizes, make, names):
    scores, labels, ids = relabelled(make)
    labels[60, :2] = True
    first, second, third = (f"sample {name} came twice with different labels: " for name in names)
    sentence = (
        f"ids: {first}[1, 3] and [1]; {second}[3] and []; {third}[] and [3]; 4 samples in all; "
        "correct the labels, or give different samples different ids"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        taken(scores, labels, sizes, ids=ids).compute()


def test_many_different_labels_are_shortened():
    evaluator = Evaluator(20)
    labels = np.zeros((2, 20), bool)
    labels[0, 4:] = True
    evaluator.update(np.zeros((2, 20)), labels, [7, 7])
    shown = "[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, ...] (16 labels) and []; "
    with pytest.raises(ValueError, match=re.escape(f"different labels: {shown}")):
        evaluator.compute()


@given(st.lists(st.tuples(st.integers(0, 5), st.sets(st.integers(0, 2))), min_size=1, max_size=12), st.data())
def test_samples_are_refused_when_any_label_differs(samples, data):
    """This holds for any split of a sample's rows over updates."""
    evaluator = Evaluator(3, sap=None)
    sizes = data.draw(st.lists(st.integers(0, 5), max_size=4))
    for part in slices(len(samples), sizes):
        ids, labels = [f"v{number}" for number, _ in samples[part]], [own for _, own in samples[part]]
        evaluator.update(np.zeros((len(ids), 3), np.float32), labels if ids else np.zeros((0, 3)), ids)
    seen = {}
    bad = {number for number, own in samples if seen.setdefault(number, own) != own}
    if not bad:
        assert evaluator.compute().num_rows == len(seen)
        return
    with pytest.raises(ValueError, match=f"^ids: sample 'v{min(bad)}' came twice with different labels: ") as raised:
        evaluator.compute()
    assert len(bad) == 1 or f"; {len(bad)} samples in all; " in str(raised.value)


# Merges


@pytest.mark.parametrize("budget", [None, 24 * 20])
@pytest.mark.parametrize("with_ids", [False, True])
def test_merged_evaluators_give_the_report_of_all_rows(device, with_ids, budget):
    scores, labels = epoch(seed=23)
    ids = np.random.default_rng(23).integers(0, 60, 90) if with_ids else None
    labels = labels_by_id(labels, ids)
    several = [
        taken(
            scores[part],
            labels[part],
            [10],
            ids=None if ids is None else ids[part],
            device=device,
            memory_budget=budget,
        )
        for part in slices(90, [20, 0, 40])
    ]
    before = [evaluator.num_rows for evaluator in several]
    several[0].merge(*several[1:])
    assert several[0].compute() == at_once(scores, labels, ids)
    assert [evaluator.num_rows for evaluator in several[1:]] == before[1:]
    if ids is None:
        assert several[2].compute() == at_once(scores[20:60], labels[20:60])


def test_merges_into_and_of_empty_evaluators():
    scores, labels = epoch(seed=24)
    empty, full = Evaluator(NUM_CLASSES, **CONVENTIONS), taken(scores, labels)
    full.merge(empty)
    empty.merge(full, Evaluator(NUM_CLASSES))
    assert full.compute() == empty.compute() == at_once(scores, labels)
    full.merge()
    assert full.num_rows == 90


def test_an_evaluator_merges_with_itself():
    scores, labels = epoch(seed=25)
    evaluator = taken(scores, labels, [40], memory_budget=24 * 20)
    evaluator.merge(evaluator, evaluator)
    assert evaluator.compute() == at_once(np.tile(scores, (3, 1)), np.tile(labels, (3, 1)))
    same = taken(scores, labels, [40], ids=np.arange(90))
    same.merge(same)
    assert (same.num_rows, same.compute()) == (180, at_once(scores, labels))


def other_evaluators():
    scores, labels = epoch()
    return {
        "classes": (Evaluator(5), ValueError, "others: expected 6 classes, got 5"),
        "dtype": (
            taken(scores.astype(np.float64), labels),
            ValueError,
            "others: expected scores of one dtype, got float32 and float64",
        ),
        "ids": (
            taken(scores, labels, ids=np.arange(90)),
            ValueError,
            "others: expected sample ids in all evaluators or in none, got them in some",
        ),
        "a report": (evaluate(scores, labels), TypeError, "others: expected evaluators, got Report"),
    }


@pytest.mark.parametrize("what", other_evaluators())
def test_evaluators_that_do_not_fit_are_not_merged(what):
    other, error, sentence = other_evaluators()[what]
    evaluator, good = taken(*epoch()), taken(*epoch(seed=1))
    with pytest.raises(error) as raised:
        evaluator.merge(good, other)
    assert str(raised.value) == sentence
    assert evaluator.compute() == at_once(*epoch())


def test_a_merge_without_memory_changes_nothing(tmp_path, monkeypatch):
    first, second = epoch(seed=26), epoch(seed=27)
    evaluator = taken(*first, memory_budget=24 * 150, spill_dir=tmp_path, num_rows=150)
    monkeypatch.setattr(os, "posix_fallocate", no_room, raising=False)
    with pytest.raises(OSError, match="No space left on device for"):
        evaluator.merge(taken(*epoch(30)), taken(*second))
    assert evaluator.compute() == at_once(*first)
    taken(*epoch(60, seed=28), into=evaluator)
    assert evaluator.num_rows == 150


# Resets


def test_a_reset_removes_all_rows(device):
    scores, labels = epoch(seed=29)
    for options in ({}, {"num_rows": 90}, {"memory_budget": 24 * 40}, {"num_rows": 90, "memory_budget": 0}):
        evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS, **options)
        for i, dtype in enumerate((np.float32, np.float64, np.int8)):
            ids = np.arange(90)[::-1] if i == 1 else None
            taken(scores.astype(dtype), labels, [30], ids=ids, device=device, into=evaluator)
            assert evaluator.compute() == at_once(scores.astype(dtype), labels, ids)
            evaluator.reset()
            assert len(evaluator) == 0
            with pytest.raises(ValueError, match=r"^scores: expected at least one row, got none$"):
                evaluator.compute()


def test_compute_can_reset(device):
    scores, labels = epoch(seed=29)
    evaluator = taken(scores, labels, [30], device=device)
    assert evaluator.compute(reset=True) == at_once(scores, labels)
    assert len(evaluator) == 0
    scores[4, 1] = np.nan
    taken(scores, labels, [30], device=device, into=evaluator)
    with pytest.raises(ValueError, match="NaN"):
        evaluator.compute(reset=True)
    assert len(evaluator) == 90


# States


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("budget", [None, 100])
@pytest.mark.parametrize("saved", ["dict", "npz", "pickle"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.uint64, np.bool_])
def test_states_of_numpy_are_restored(device, dtype, saved, budget, with_ids):
    scores, labels = epoch(seed=30, dtype=dtype)
    ids = np.random.default_rng(30).integers(0, 70, 90) if with_ids else None
    labels = labels_by_id(labels, ids)
    own = (lambda part: None) if ids is None else ids.__getitem__
    first, second = slices(90, [50])
    evaluator = taken(scores[first], labels[first], [20], ids=own(first), device=device, memory_budget=budget)
    state = STATES[saved](evaluator.state_dict())
    resumed = taken(*epoch(seed=31))
    resumed.load_state_dict(state)
    assert resumed.compute() == at_once(scores[first], labels[first], own(first))
    taken(scores[second], labels[second], ids=own(second), device=device, into=resumed)
    assert resumed.compute() == at_once(scores, labels, ids)


@pytest.mark.parametrize("saved", ["dict", "torch", "pickle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_states_of_torch_are_restored(device, dtype, saved):
    scores, labels = epoch(seed=32)
    scores = torch.tensor(scores).to(dtype)
    evaluator = Evaluator(NUM_CLASSES, memory_budget=24 * 20, **CONVENTIONS)
    for part in slices(90, [30, 30]):
        evaluator.update(torch_on_device(scores[part], device), labels[part], np.arange(90)[part])
    state = evaluator.state_dict()
    assert all(type(value) in (str, torch.Tensor) for value in state.values())
    assert (state["scores"].dtype, state["scores"].device.type) == (dtype, "cpu")
    assert torch.equal(state["scores"], scores)
    resumed = Evaluator(NUM_CLASSES, **CONVENTIONS)
    resumed.load_state_dict(STATES[saved](state))
    assert resumed.compute() == at_once(scores, labels)
    assert isinstance(resumed.state_dict()["scores"], torch.Tensor)


@pytest.mark.parametrize("saved", STATES)
def test_states_without_rows_are_restored(saved):
    used = taken(*epoch())
    used.load_state_dict(STATES[saved](Evaluator(NUM_CLASSES).state_dict()))
    assert used.num_rows == 0
    taken(*epoch(dtype=np.int8), into=used)
    assert used.compute() == at_once(*epoch(dtype=np.int8))


def test_arrays_without_rows_are_a_state():
    state = taken(*epoch(), ids=np.arange(90)).state_dict()
    for make in (np.asarray, torch.from_numpy):
        none = {name: make(value[:0]) for name, value in state.items() if isinstance(value, np.ndarray)}
        evaluator = taken(*epoch(50))
        evaluator.load_state_dict({**state, **none})
        assert evaluator.num_rows == 0
        taken(*epoch(dtype=np.int8), into=evaluator)
        assert evaluator.compute() == at_once(*epoch(dtype=np.int8))


def test_a_state_is_a_copy():
    scores, labels = epoch(seed=33)
    evaluator = taken(scores, labels, ids=np.arange(90))
    state = evaluator.state_dict()
    resumed = Evaluator(NUM_CLASSES, **CONVENTIONS)
    resumed.load_state_dict(state)
    for name in ("scores", "rows", "classes", "ids"):
        state[name][:] = 0
    assert resumed.compute() == evaluator.compute() == at_once(scores, labels)


def test_a_state_of_other_integers_does_no_harm():
    scores, labels = epoch(seed=34)
    for rows_dtype, classes_dtype in ((np.uint64, np.uint64), (np.int32, np.uint8)):
        state = taken(scores[:50], labels[:50]).state_dict()
        state |= {"rows": state["rows"].astype(rows_dtype), "classes": state["classes"].astype(classes_dtype)}
        evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
        evaluator.load_state_dict(state)
        assert taken(scores[50:], labels[50:], into=evaluator).compute() == at_once(scores, labels)
    unlabelled = {**taken(scores[:50], labels[:50] & False).state_dict(), "rows": [], "classes": []}
    evaluator.load_state_dict(unlabelled)
    labels[:50] = False
    assert taken(scores[50:], labels[50:], into=evaluator).compute() == at_once(scores, labels)


def changed_state(**changes):
    return {**taken(*epoch(4), ids=np.arange(4)).state_dict(), **changes}


BAD_STATES = {
    "nothing": (None, TypeError, "state: expected what Evaluator.state_dict gave, got NoneType"),
    "no key": ({}, ValueError, "state: expected what Evaluator.state_dict gave, got keys "),
    "other keys": ({"a": 1, 2: 3}, ValueError, "state: expected what Evaluator.state_dict gave, got keys 2, a"),
    "another format": (
        changed_state(format="vltr-eval/evaluator/9"),
        ValueError,
        "state: expected what Evaluator.state_dict gave, got keys classes, dtype, format, ids, rows, scores",
    ),
    "another dtype": (changed_state(dtype="float16"), ValueError, "state: expected scores of float16, got float32"),
    "other classes": (
        changed_state(scores=np.zeros((4, 5), np.float32)),
        ValueError,
        "state: expected 6 classes, got scores of shape (4, 5)",
    ),
    "a number": (
        changed_state(scores=np.float32(1)),
        ValueError,
        "state: expected 6 classes, got scores of shape ()",
    ),
    "a row too far": (
        changed_state(rows=np.array([4]), classes=np.array([0])),
        ValueError,
        "labels: expected row numbers from 0 to 3, got 4",
    ),
    "a class too far": (
        changed_state(rows=np.array([1]), classes=np.array([6])),
        ValueError,
        "labels: expected class indices from 0 to 5, got 6 at row 1",
    ),
    "a label twice": (
        changed_state(rows=np.array([1, 1]), classes=np.array([2, 2])),
        ValueError,
        "labels: expected each class once a row, got class 2 twice at row 1",
    ),
    "fractions of rows": (
        changed_state(rows=np.array([1.5]), classes=np.array([2])),
        TypeError,
        "labels: expected integer rows and classes, got float64 and int64",
    ),
    "more rows than classes": (
        changed_state(rows=np.array([1, 2]), classes=np.array([2])),
        ValueError,
        "labels: expected a class for each row, got shapes (2,) and (1,)",
    ),
    "half of the strings": (
        {name: value for name, value in changed_state(id_bytes=np.zeros(4, np.uint8)).items() if name != "ids"},
        ValueError,
        "state: expected what Evaluator.state_dict gave, got keys classes, dtype, format, id_bytes, rows, scores",
    ),
    "too few ids": (
        changed_state(ids=np.arange(3)),
        ValueError,
        "ids: expected shape (4,) as scores has rows, got (3,)",
    ),
}


@pytest.mark.parametrize("what", BAD_STATES)
def test_a_bad_state_changes_nothing(what):
    state, error, sentence = BAD_STATES[what]
    evaluator = taken(*epoch())
    with pytest.raises(error) as raised:
        evaluator.load_state_dict(state)
    assert str(raised.value) == sentence
    assert evaluator.compute() == at_once(*epoch())


def test_a_state_without_memory_changes_nothing(tmp_path, monkeypatch):
    evaluator = taken(*epoch(50), memory_budget=24 * 50, spill_dir=tmp_path)
    state = taken(*epoch(90, seed=1)).state_dict()
    monkeypatch.setattr(os, "posix_fallocate", no_room, raising=False)
    with pytest.raises(OSError, match="No space left on device for"):
        evaluator.load_state_dict(state)
    assert evaluator.compute() == at_once(*epoch(50))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda evaluator: pickle.loads(pickle.dumps(evaluator))])
def test_copies_and_pickles_are_independent(device, copied):
    scores, labels = epoch(seed=35)
    options = {"train_counts": [900, 300, 10, 50, 600, 101], "absent": "zero", "num_rows": 90}
    evaluator = taken(scores[:50], labels[:50], [20], device=device, memory_budget=24 * 30, **options)
    other = copied(evaluator)
    del options["num_rows"]
    assert other.compute() == at_once(scores[:50], labels[:50], **options)
    taken(scores[50:], labels[50:], device=device, into=other)
    assert other.compute() == at_once(scores, labels, **options)
    assert evaluator.compute() == at_once(scores[:50], labels[:50], **options)
    assert copied(Evaluator(NUM_CLASSES)).num_rows == 0


KILLED = """
import pathlib, sys, time
import numpy as np
from vltr_eval import Evaluator
from vltr_eval._engine import row_store
row_store._LEAST_FILE = 1 << 16
folder = pathlib.Path(sys.argv[1])
data = np.load(folder / "data.npz")
evaluator = Evaluator(6, memory_budget=24 * 10, spill_dir=folder / "spilled")
for start in range(0, 60, 20):
    part = slice(start, start + 20)
    evaluator.update(data["scores"][part], data["labels"][part], data["ids"][part])
np.savez(folder / "state.npz", **evaluator.state_dict())
evaluator.update(data["scores"][60:], data["labels"][60:], data["ids"][60:])
print("saved", flush=True)
time.sleep(600)
"""


def test_a_killed_process_is_resumed_from_its_saved_state(tmp_path):
    scores, labels = epoch(seed=36)
    ids = np.random.default_rng(36).integers(0, 80, 90)
    labels = labels_by_id(labels, ids)
    np.savez(tmp_path / "data.npz", scores=scores, labels=labels, ids=ids)
    spilled = tmp_path / "spilled"
    spilled.mkdir()
    command = [sys.executable, "-W", "error", "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "saved\n"
            assert os.listdir(spilled) == []
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert os.listdir(spilled) == []
    resumed = Evaluator(NUM_CLASSES, memory_budget=0, spill_dir=spilled)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(state)
    assert resumed.num_rows == 60
    assert taken(scores[60:], labels[60:], ids=ids[60:], into=resumed).compute() == evaluate(
        *(rows[np.unique(ids, return_index=True)[1]] for rows in (scores, labels))
    )


# Memory


def test_memory_is_bounded_by_the_budget(tmp_path):
    num_rows, num_classes, batch_rows = 20_000, 500, 500  # 38 MiB of scores in batches of 1 MiB
    budget = 2 << 20
    rng = np.random.default_rng(37)
    tracemalloc.start()
    try:
        evaluator = Evaluator(num_classes, memory_budget=budget, spill_dir=tmp_path, num_rows=num_rows, sap=2)
        for _ in range(num_rows // batch_rows):
            evaluator.update(
                rng.random((batch_rows, num_classes), np.float32), rng.integers(0, num_classes, batch_rows)
            )
        assert tracemalloc.get_traced_memory()[1] < budget + (4 << 20)
        report = evaluator.compute()
        assert tracemalloc.get_traced_memory()[1] < budget + (8 << 20)
    finally:
        tracemalloc.stop()
    assert report.num_rows == num_rows


LIMITED = """
import resource, sys
import numpy as np
from vltr_eval import Evaluator, evaluate_batches

def batches():
    rng = np.random.default_rng(0)
    for _ in range(160):  # 1.25 MiB each, 200 MiB in all
        yield rng.random((640, 512), np.float32), rng.integers(0, 512, 640)

def filled(**options):
    evaluator = Evaluator(512, sap=2, threads=2, **options)
    for batch in batches():
        evaluator.update(*batch)
    return evaluator.compute()

evaluate_batches([next(batches())], 512, threads=2)  # what is loaded once
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + (96 << 20), resource.RLIM_INFINITY))
try:
    filled()
except MemoryError:
    print("too much")
print(filled(memory_budget=16 << 20, spill_dir=sys.argv[1]) == evaluate_batches(batches, 512, sap=2, threads=2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory that files do not back")
def test_more_than_memory_holds_is_evaluated(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.split("\n"), done.returncode) == (["too much", "True", ""], 0), done.stderr


# Errors


def no_room(file: int, offset: int, size: int) -> None:
    raise OSError(28, os.strerror(28))


def bad_updates():
    scores, labels = epoch(4)
    ids = np.arange(4)
    return {
        "a column": ((scores[:, 0], labels, ids), ValueError, "scores: expected shape (B, 6), got (4,)"),
        "fewer classes": ((scores[:, :5], labels, ids), ValueError, "scores: expected shape (B, 6), got (4, 5)"),
        "another dtype": (
            (scores.astype(np.float64), labels, ids),
            ValueError,
            "scores: expected float32 as in earlier updates, got float64",
        ),
        "complex": (
            (scores.astype(np.complex64), labels, ids),
            TypeError,
            "scores: expected a bool, integer or float dtype of at most 64 bits, got complex64",
        ),
        "text": (
            ("abc", labels, ids),
            TypeError,
            "scores: expected an array, got str; pass vltr_eval.read_scores(path).values",
        ),
        "ragged": (
            ([[1, 2], [3]], labels, ids),
            ValueError,
            "scores: expected rows of equal length, got a ragged list",
        ),
        "too few labels": ((scores, labels[:3], ids), ValueError, "labels: 3 rows, but scores has 4"),
        "soft labels": (
            (scores, labels * 0.5, ids),
            ValueError,
            "labels: expected 0 or 1, got 0.5 at row 0, class 3; soft targets have no average precision",
        ),
        "a class too far": (
            (scores, np.array([0, 1, 6, 0]), ids),
            ValueError,
            "labels: expected class indices from 0 to 5, got 6 at row 2",
        ),
        "no ids": (
            (scores, labels, None),
            ValueError,
            "ids: expected sample ids in every update or in none, got them in some",
        ),
        "too few ids": ((scores, labels, ids[:3]), ValueError, "ids: expected shape (4,) as scores has rows, got (3,)"),
        "ids in columns": (
            (scores, labels, ids[:, None]),
            ValueError,
            "ids: expected shape (4,) as scores has rows, got (4, 1)",
        ),
        "fractions as ids": ((scores, labels, ids * 1.0), TypeError, "ids: expected integers or strings, got float64"),
        "flags as ids": ((scores, labels, ids > 1), TypeError, "ids: expected integers or strings, got bool"),
        "names as ids": (
            (scores, labels, list("abcd")),
            ValueError,
            "ids: expected integers as in earlier updates, got strings",
        ),
        "huge ids": (
            (scores, labels, ids.astype(np.uint64) + np.uint64(2**63)),
            ValueError,
            f"ids: expected integers below 2**63, got {2**63 + 3}",
        ),
    }


@pytest.mark.parametrize("what", bad_updates())
def test_a_bad_update_changes_nothing(what):
    arguments, error, sentence = bad_updates()[what]
    scores, labels = epoch()
    evaluator = taken(scores, labels, ids=np.arange(90))
    with pytest.raises(error) as raised:
        evaluator.update(*arguments)
    assert str(raised.value) == sentence
    assert evaluator.num_rows == 90
    assert evaluator.compute() == at_once(scores, labels)


def test_ids_that_come_too_late_are_refused():
    scores, labels = epoch()
    evaluator = taken(scores, labels)
    with pytest.raises(ValueError, match=r"^ids: expected sample ids in every update or in none, got them in some$"):
        evaluator.update(scores, labels, np.arange(90))
    assert evaluator.compute() == at_once(scores, labels)


def test_an_empty_first_update_fixes_neither_dtype_nor_ids():
    scores, labels = epoch()
    evaluator = Evaluator(NUM_CLASSES, **CONVENTIONS)
    evaluator.update(np.empty((0, NUM_CLASSES)), [])
    evaluator.update(np.empty((0, NUM_CLASSES), np.int8), np.empty((0, NUM_CLASSES)), [])
    assert taken(scores, labels, ids=np.arange(90), into=evaluator).compute() == at_once(scores, labels)


@pytest.mark.parametrize(
    "labels", [[[0], [1]], np.ones((2, 6), bool), np.array([0, 1]), scipy.sparse.eye(2, 6), LabelPairs(2, 6, [0], [1])]
)
def test_labels_without_scores_are_refused(labels):
    evaluator = taken(*epoch())
    with pytest.raises(ValueError, match=r"^labels: 2 rows, but scores has 0$"):
        evaluator.update(np.empty((0, NUM_CLASSES), np.float32), labels)
    assert evaluator.compute() == at_once(*epoch())


def test_ids_on_a_device_are_refused(cuda):
    scores, labels = epoch()
    with pytest.raises(ValueError, match=r"^ids: expected an array in CPU memory, got one on cuda:0; pass ids\.cpu"):
        Evaluator(NUM_CLASSES).update(scores, labels, CudaArray(np.arange(90)))


def test_a_state_on_a_device_is_refused(cuda):
    state = taken(*epoch()).state_dict()
    state = {name: CudaArray(value) if isinstance(value, np.ndarray) else value for name, value in state.items()}
    with pytest.raises(ValueError, match=r"^rows: expected an array in CPU memory, got one on cuda:0; pass rows.cpu"):
        Evaluator(NUM_CLASSES).load_state_dict(state)


def test_an_update_without_memory_changes_nothing(device, tmp_path, monkeypatch):
    scores, labels = epoch()
    evaluator = taken(scores[:50], labels[:50], device=device, memory_budget=24 * 60, spill_dir=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room, raising=False)
        with pytest.raises(OSError, match=r"No space left on device for \d+ bytes of scores: "):
            taken(scores[50:], labels[50:], device=device, into=evaluator)
    assert os.listdir(tmp_path) == []
    assert evaluator.compute() == at_once(scores[:50], labels[:50])
    assert taken(scores[50:], labels[50:], device=device, into=evaluator).compute() == at_once(scores, labels)


@pytest.mark.parametrize("with_ids", [False, True])
@pytest.mark.parametrize("place", [(0, 1), (57, 4), (89, 0)])
@pytest.mark.parametrize("budget", [None, 24 * 40])
def test_nan_is_named_by_its_row_of_all_updates(device, place, budget, with_ids):
    scores, labels = epoch(seed=38)
    scores[place] = np.nan
    ids = np.arange(90)[::-1] if with_ids else None
    evaluator = taken(scores, labels, [30, 30], ids=ids, device=device, memory_budget=budget)
    sentence = f"scores: expected numbers, got NaN at row {place[0]}, class {place[1]}"
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^{sentence}$"):
            evaluator.compute()


def test_nan_of_a_negative_behind_repeated_samples_is_named(device):
    scores, labels = epoch(seed=39)
    ids = np.arange(90)
    ids[[5, 6, 20]] = 0
    labels = labels_by_id(labels, ids)
    labels[60, 2] = False
    scores[60, 2] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 60, class 2$"):
        taken(scores, labels, [30, 30], ids=ids, device=device, memory_budget=24 * 40).compute()


BAD_ARGUMENTS = {
    "num_classes": [
        (0, ValueError, "num_classes: expected an integer from 1 up, got 0"),
        (2.0, TypeError, "num_classes: expected an integer, got 2.0"),
        (True, TypeError, "num_classes: expected an integer, got True"),
    ],
    "num_rows": [
        (0, ValueError, "num_rows: expected an integer from 1 up, got 0"),
        ("9", TypeError, "num_rows: expected an integer, got '9'"),
    ],
    "memory_budget": [
        (-1, ValueError, "memory_budget: expected an integer from 0 up, got -1"),
        (1e9, TypeError, "memory_budget: expected an integer, got 1000000000.0"),
    ],
    "threads": [(0, ValueError, "threads: expected an integer from 1 to 4096, got 0")],
    "seed": [(-1, ValueError, "seed: expected an integer from 0 to 2**64 - 1, got -1")],
    "topk": [((0,), ValueError, "topk: expected positive integers, got 0")],
    "absent": [("one", ValueError, 'absent: expected "nan" or "zero", got \'one\'')],
    "class_names": [(["a"], ValueError, "class_names: 1 names, but scores has 6 classes")],
}


@pytest.mark.parametrize(
    ("name", "value", "error", "sentence"), [(name, *case) for name, cases in BAD_ARGUMENTS.items() for case in cases]
)
def test_bad_arguments_are_named(name, value, error, sentence):
    with pytest.raises(error) as raised:
        Evaluator(**{"num_classes": NUM_CLASSES, name: value})
    assert str(raised.value) == sentence


def test_more_rows_than_32_bits_count_are_refused():
    evaluator = Evaluator(1)
    rows = np.broadcast_to(np.zeros((1, 1), np.int8), (2**32, 1))
    with pytest.raises(ValueError, match=r"^scores: expected at most 4294967295 rows, got 4294967296$"):
        evaluator.update(rows, [])
    assert evaluator.num_rows == 0


# Laws


@st.composite
def streams(draw):
    """Draw scores with ties, labels, ids with repeats or none, and the sizes of batches."""
    num_rows = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.sampled_from([2, 9, 1000]))
    dtype = draw(st.sampled_from([np.int8, np.float16, np.float32, np.uint64]))
    scores = rng.integers(0, min(levels, 100), (num_rows, 4)).astype(dtype)
    labels = rng.random((num_rows, 4)) < draw(st.sampled_from([0.05, 0.3, 0.8]))
    ids = rng.integers(-3, draw(st.sampled_from([1, num_rows, 10**18])), num_rows) if draw(st.booleans()) else None
    sizes = draw(st.lists(st.integers(0, 12), max_size=6))
    return scores, labels_by_id(labels, ids), ids, sizes


@pytest.mark.any_device
@given(streams(), st.sampled_from([None, 0, 60]), st.sampled_from([None, 1, 25, 60]))
def test_no_split_changes_a_bit(stream, budget, num_rows):
    scores, labels, ids, sizes = stream
    evaluator = Evaluator(4, memory_budget=budget, num_rows=num_rows, **CONVENTIONS)
    assert taken(scores, labels, sizes, ids=ids, into=evaluator).compute() == at_once(scores, labels, ids)


@pytest.mark.any_device
@given(streams(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_no_tree_of_merges_changes_a_bit(stream, rng):
    scores, labels, ids, sizes = stream
    evaluators = []
    for part in slices(len(scores), sizes):
        evaluators.append(Evaluator(4, memory_budget=rng.choice([None, 40]), **CONVENTIONS))
        taken(scores[part], labels[part], ids=None if ids is None else ids[part], into=evaluators[-1])
    while len(evaluators) > 1:
        i = rng.randrange(len(evaluators) - 1)
        stop = rng.randint(i + 2, len(evaluators))
        evaluators[i].merge(*evaluators[i + 1 : stop])
        del evaluators[i + 1 : stop]
    assert evaluators[0].compute() == at_once(scores, labels, ids)


@given(streams(), st.data())
@settings(max_examples=40)
def test_no_compute_load_or_copy_between_updates_changes_a_bit(stream, data):
    scores, labels, ids, sizes = stream
    evaluator = Evaluator(4, memory_budget=data.draw(st.sampled_from([None, 60])), **CONVENTIONS)
    for part in slices(len(scores), sizes):
        taken(scores[part], labels[part], ids=None if ids is None else ids[part], into=evaluator)
        stop = data.draw(st.sampled_from(["compute", "load", "copy", "none"]))
        if stop == "compute" and part.stop:
            so_far = slice(part.stop)
            assert evaluator.compute() == at_once(scores[so_far], labels[so_far], None if ids is None else ids[so_far])
        elif stop == "load":
            state = evaluator.state_dict()
            evaluator = Evaluator(4, **CONVENTIONS)
            evaluator.load_state_dict(state)
        elif stop == "copy":
            evaluator = copy.deepcopy(evaluator)
    assert evaluator.compute() == at_once(scores, labels, ids)
