"""Every form of labels gives the same positives; a bad label raises an error with its row and class."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from cases import corner_labels, make_case
from reference import assert_same_bits

from vltr_eval import (
    Evaluator,
    LabelPairs,
    Positives,
    average_precision,
    distributed,
    evaluate,
    evaluate_batches,
    rank_table,
    topk_accuracy,
)
from vltr_eval._engine.labels import rows_between

pytestmark = pytest.mark.any_device

DTYPES = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64]
DTYPES += [np.uint64, np.float16, ml_dtypes.bfloat16, np.float32, np.float64]

NUM_ROWS, NUM_CLASSES = 37, 11
DENSE = make_case(NUM_ROWS, NUM_CLASSES, seed=1)[1]
DENSE[:, 4] = False
DENSE[5] = False


def positives_of(labels, shape=(NUM_ROWS, NUM_CLASSES)) -> Positives:
    return Positives.from_labels(labels, *shape)


def assert_holds(positives: Positives, dense: np.ndarray) -> None:
    """Assert that positives have the pairs of dense labels, ascending in each class, in the documented types."""
    assert (positives.num_rows, positives.num_classes) == dense.shape
    assert_same_bits(positives.indptr, np.concatenate([[0], np.cumsum(dense.sum(axis=0))]).astype(np.int64))
    assert_same_bits(positives.rows, np.nonzero(dense.T)[1].astype(np.uint32))


def sentence(labels, num_rows=NUM_ROWS, num_classes=NUM_CLASSES, error=ValueError) -> str:
    with pytest.raises(error) as caught:
        Positives.from_labels(labels, num_rows, num_classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Forms


def unaligned(dense):
    records = np.zeros(dense.shape, [("skip", "u1"), ("label", "f4")])
    records["label"] = dense
    return records["label"]


def pairs(dense):
    rows, classes = np.nonzero(dense)
    order = np.random.default_rng(2).permutation(len(rows))
    return LabelPairs(*dense.shape, rows[order], classes[order])


FORMS = {
    "bool": lambda d: d,
    "Fortran": lambda d: np.asfortranarray(d.astype(np.float32)),
    "strided": lambda d: np.repeat(np.repeat(d, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed": lambda d: d[::-1, ::-1].astype(np.int32)[::-1, ::-1],
    "unaligned": unaligned,
    "row shards": lambda d: [d[:1], d[1:1], d[1:20], d[20:]],
    "Fortran shards": lambda d: [np.asfortranarray(d[:9]), np.asfortranarray(d[9:])],
    "csr": lambda d: sparse.csr_matrix(d),
    "csc of float": lambda d: sparse.csc_matrix(d.astype(float)),
    "coo array": lambda d: sparse.coo_array(d.astype(np.int64)),
    "explicit zeros": lambda d: sparse.csr_array(
        (np.append(d[d], False), (np.append(np.nonzero(d)[0], 5), np.append(np.nonzero(d)[1], 4))), d.shape
    ),
    "lists": lambda d: [np.flatnonzero(row).tolist() for row in d],
    "unsorted lists": lambda d: [np.flatnonzero(row)[::-1].tolist() for row in d],
    "tuples": lambda d: tuple(tuple(map(int, np.flatnonzero(row))) for row in d),
    "sets of numpy integers": lambda d: [set(np.flatnonzero(row).astype(np.int16)) for row in d],
    "pairs": pairs,
    "pairs of any width": lambda d: LabelPairs(
        len(d), None, np.nonzero(d)[0].astype(np.uint8), np.nonzero(d)[1].astype(np.uint64)
    ),
    "positives": lambda d: positives_of(d),
    "torch": lambda d: torch.tensor(d),
    "torch bfloat16": lambda d: torch.tensor(d, dtype=torch.bfloat16),
    "torch transposed": lambda d: torch.tensor(d.T.copy()).T,
}


@pytest.mark.parametrize(
    "form",
    # An unaligned array cannot be read on a device.
    [pytest.param(form, id=name, marks=[pytest.mark.host] * (name == "unaligned")) for name, form in FORMS.items()],
)
def test_every_form_is_the_same_positives(form):
    assert_holds(positives_of(form(DENSE)), DENSE)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_the_same_positives(dtype):
    for layout in ("C", "F"):
        assert_holds(positives_of(DENSE.astype(dtype, order=layout)), DENSE)


def test_minus_zero_is_no_label():
    assert_holds(positives_of(np.where(DENSE, 1.0, -0.0)), DENSE)


def test_any_byte_of_a_bool_but_zero_is_a_label():
    assert_holds(positives_of((DENSE * np.uint8(255)).view(bool)), DENSE)


@pytest.mark.parametrize("num_rows", [1, 2, 1023, 1025])
@pytest.mark.parametrize("num_classes", [1, 7, 8, 9, 127, 128, 129, 1025])
def test_dense_labels_of_any_size(num_rows, num_classes):
    rng = np.random.default_rng(num_rows * num_classes)
    labels = rng.random((num_rows, num_classes)) < 0.02
    labels[-1, -1] = labels[0, 0] = True
    for dtype in (np.uint8, np.float32):
        assert_holds(Positives.from_labels(labels.astype(dtype), *labels.shape), labels)
        assert_holds(Positives.from_labels(labels.T.astype(dtype).T, *labels.shape), labels)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_label(threads):
    labels = make_case(5000, 300, seed=3, prevalence=0.01)[1]
    assert_holds(Positives.from_labels(labels, *labels.shape, threads=threads), labels)


def test_all_or_no_rows_positive():
    labels = corner_labels(20)
    assert_holds(Positives.from_labels(labels, *labels.shape), labels)


def test_class_indices_are_one_label_a_row():
    classes = np.random.default_rng(4).integers(0, NUM_CLASSES, NUM_ROWS)
    dense = classes[:, None] == np.arange(NUM_CLASSES)
    for form in (
        classes,
        classes.astype(np.uint8),
        classes.tolist(),
        torch.tensor(classes),
        [[c] for c in classes.tolist()],
    ):
        assert_holds(positives_of(form), dense)


def test_one_class_takes_a_column():
    column = DENSE[:, 0]
    for form in (column, column.astype(np.float32), column[:, None], column.tolist()):
        assert_holds(Positives.from_labels(form, NUM_ROWS, 1), column[:, None])


@pytest.mark.host  # an unaligned array cannot be read on a device
def test_metrics_take_every_form():
    scores = make_case(NUM_ROWS, NUM_CLASSES, seed=5)[0]
    expected, accuracy = average_precision(scores, DENSE), topk_accuracy(scores, DENSE)
    for form in FORMS.values():
        assert_same_bits(average_precision(scores, form(DENSE)), expected)
        assert topk_accuracy(scores, form(DENSE)) == accuracy


def test_positives_are_not_copied():
    positives = positives_of(DENSE)
    assert positives_of(positives) is positives


def test_positives_have_their_counts():
    positives = positives_of(DENSE)
    assert_same_bits(positives.counts, DENSE.sum(axis=0))
    assert_same_bits(positives.labels_per_row(), DENSE.sum(axis=1))
    for c in range(NUM_CLASSES):
        assert_same_bits(positives.rows_of(c), np.flatnonzero(DENSE[:, c]).astype(np.uint32))


# Bad labels


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("place", [(0, 0), (36, 10), (20, 3)])
def test_a_bad_value_is_named_with_its_row_and_class(dtype, layout, place):
    labels = DENSE.astype(dtype, order=layout)
    labels[place] = 2
    value = "2.0" if np.issubdtype(dtype, np.floating) else "2"
    assert sentence(labels) == f"labels: expected 0 or 1, got {value} at row {place[0]}, class {place[1]}"


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_the_first_bad_row_is_named(threads, layout):
    labels = np.zeros((30_000, 40), np.float32, order=layout)
    labels[29_000, 0] = labels[17, 30] = labels[17, 31] = labels[18, 2] = 3
    with pytest.raises(ValueError, match=r"^labels: expected 0 or 1, got 3\.0 at row 17, class 30$"):
        Positives.from_labels(labels, *labels.shape, threads=threads)


@pytest.mark.parametrize(
    ("value", "piece"),
    [
        (0.5, "got 0.5 at row 3, class 2; soft targets have no average precision"),
        (
            -1,
            "got -1.0 at row 3, class 2; -1 often marks an unknown label, which must not count as a negative: "
            "unknown=-1 (--unknown -1) leaves such cells out; write 0 where -1 means absent",
        ),
        (
            np.nan,
            "got nan at row 3, class 2; NaN often marks an unknown label: unknown='nan' (--unknown nan) leaves such "
            "cells out",
        ),
        (np.inf, "got inf at row 3, class 2"),
        (1 + 2**-20, "got 1.0000009536743164 at row 3, class 2"),
    ],
)
def test_errors_on_bad_values_name_the_likely_cause(value, piece):
    labels = DENSE.astype(np.float32)
    labels[3, 2] = value
    assert sentence(labels) == f"labels: expected 0 or 1, {piece}"
    assert sentence([labels[:2], labels[2:]]) == f"labels: expected 0 or 1, {piece}"
    assert sentence(torch.tensor(labels)) == f"labels: expected 0 or 1, {piece}"


SWAPPED = "; the scores are all 0 or 1: were scores and labels swapped?"


@pytest.mark.host  # lists and torch tensors are in CPU memory
@pytest.mark.parametrize(
    ("scores", "labels", "advice"),
    [
        ([[0, 1], [1, 0]], [[0.25, 0.75], [1, 0]], SWAPPED),
        ([[0, 1], [1, 1]], [[0, 0.75], [1, 2.5]], SWAPPED),
        ([[False, True], [True, False]], [[0.25, 0.75], [0, 1]], SWAPPED),
        ([[0, 1], [1, 0.5]], [[0.25, 0.75], [0, 1]], "; soft targets have no average precision"),
        ([[0, np.nan], [1, 0]], [[0.25, 0.75], [0, 1]], "; soft targets have no average precision"),
        ([[0, 1], [1, 0]], [[2.5, 0.75], [0, 1]], SWAPPED),
        ([[0.5, 1], [1, 0]], [[2.5, 0.75], [0, 1]], ""),
        ([[0, 1], [1, 0]], [[2, 1], [0, 1]], ""),
    ],
)
def test_errors_suggest_swapped_scores_and_labels(scores, labels, advice):
    scores, labels = np.array(scores), np.array(labels, float)
    row, col = (int(place[0]) for place in np.nonzero((labels != 0) & (labels != 1)))
    expected = f"labels: expected 0 or 1, got {labels[row, col]} at row {row}, class {col}{advice}"
    forms = [labels, labels.tolist(), sparse.coo_matrix(labels), torch.tensor(labels)]
    for form in forms:
        calls = [
            lambda form=form: evaluate(scores, form),
            lambda form=form: average_precision(scores, form),
            lambda form=form: Evaluator(2).update(scores, form),
            lambda form=form: distributed.rank_table(scores, form),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r"^labels: ") as raised:
                call()
            assert str(raised.value) == expected
    with pytest.raises(ValueError, match=r"^batch 0: labels: ") as raised:
        evaluate_batches([(scores, labels)], 2)
    assert str(raised.value) == f"batch 0: {expected}"


def test_errors_suggest_swapped_files(tmp_path):
    truth, scores = tmp_path / "truth.npy", tmp_path / "scores.npy"
    np.save(truth, np.array([[0, 1], [1, 0]], np.float32))
    np.save(scores, np.array([[0.25, 0.75], [0.5, 0.125]], np.float32))
    expected = f"labels: expected 0 or 1, got 0.25 at row 0, class 0{SWAPPED}"
    with pytest.raises(ValueError, match=r"^labels: ") as raised:
        evaluate(truth, scores)
    assert str(raised.value) == expected


def test_bad_sparse_values_are_named():
    labels = sparse.csr_matrix(([1.0, 2.0, np.nan], ([0, 1, 2], [0, 1, 2])), DENSE.shape)
    assert sentence(labels) == "labels: expected 0 or 1, got 2.0 at row 1, class 1"


def test_a_repeated_label_is_named():
    repeated = "labels: expected each class once a row, got class 2 twice at row 1"
    assert sentence([[0], [2, 1, 2], []], 3, 3) == repeated
    assert sentence(sparse.coo_matrix(([1, 1, 1], ([0, 1, 1], [0, 2, 2])), (3, 3)), 3, 3) == repeated


@pytest.mark.parametrize(
    ("labels", "piece"),
    [
        (np.array([0, 3, 1]), "got 3 at row 1"),
        (np.array([0, 1, -1]), "got -1 at row 2"),
        (np.array([0, 2**64 - 1, 1], np.uint64), "got 18446744073709551615 at row 1"),
        ([[0], [], [1, 3]], "got 3 at row 2"),
        ([[-1], [], []], "got -1 at row 0"),
        ([[2**70], [], []], f"got {2**70} at row 0"),
        (LabelPairs(3, 3, np.array([2]), np.array([7])), "got 7 at row 2"),
        (LabelPairs(3, None, np.array([2]), np.array([7])), "got 7 at row 2"),
    ],
)
def test_a_class_out_of_range_is_named(labels, piece):
    assert sentence(labels, 3, 3) == f"labels: expected class indices from 0 to 2, {piece}"


def test_a_row_out_of_range_is_named():
    for row in (-1, 3):
        message = sentence(LabelPairs(3, 3, np.array([0, row]), np.array([1, 1])), 3, 3)
        assert message == f"labels: expected row numbers from 0 to 2, got {row}"


@pytest.mark.parametrize("value", [0.0, 1.5, True, None, "0"])
def test_lists_hold_integers_alone(value):
    assert sentence([[0], [value]], 2, 3, TypeError) == f"labels: expected lists of class indices, got {value!r}"


@pytest.mark.parametrize("form", ["bool", "csr", "lists", "pairs", "positives", "torch", "row shards"])
def test_rows_must_match_the_scores(form):
    assert (
        sentence(FORMS[form](DENSE), num_rows=NUM_ROWS + 1) == f"labels: {NUM_ROWS} rows, but scores has {NUM_ROWS + 1}"
    )


@pytest.mark.parametrize("form", ["bool", "csr", "pairs", "positives", "torch", "row shards"])
def test_classes_must_match_the_scores(form):
    assert (
        sentence(FORMS[form](DENSE), num_classes=NUM_CLASSES + 1)
        == f"labels: {NUM_CLASSES} classes, but scores has {NUM_CLASSES + 1}"
    )


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_a_column_for_many_classes_must_be_integers(dtype):
    expected = f"labels: expected integer class indices or a dense (37, 11) matrix, got (N,) of {dtype}"
    assert sentence(np.zeros(NUM_ROWS, dtype), error=TypeError) == expected


def test_errors_on_a_column_of_the_wrong_length_name_the_rows():
    assert sentence(np.zeros(5, int)) == "labels: 5 rows, but scores has 37"


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (None, TypeError, "labels: expected an array, got NoneType"),
        ("labels.npy", TypeError, "labels: expected an array, got str; pass vltr_eval.read_labels(path).values"),
        ({0: 1}, TypeError, "labels: expected an array, got dict"),
        (np.zeros((2, 3, 1)), ValueError, "labels: expected an (N, C) matrix or an (N,) column, got shape (2, 3, 1)"),
        (
            np.zeros((2, 3), complex),
            TypeError,
            "labels: expected a bool, integer or float dtype of at most 64 bits, got complex128",
        ),
        (
            np.zeros((2, 3), object),
            TypeError,
            "labels: expected a bool, integer or float dtype of at most 64 bits, got object",
        ),
        (
            [np.zeros((1, 3)), np.zeros((1, 2))],
            ValueError,
            "labels[1]: expected 3 classes of float64 as in labels[0], got 2 of float64",
        ),
    ],
)
def test_invalid_label_forms_are_refused(labels, error, message):
    assert sentence(labels, 2, 3, error) == message


def test_fractions_are_no_class_indices():
    labels = LabelPairs(2, 3, np.array([0, 1]), np.array([0.5, 1.0]))
    assert sentence(labels, 2, 3, (TypeError, ValueError)).startswith("labels: expected ")


def test_pairs_must_be_pairs():
    labels = LabelPairs(2, 3, np.array([0, 1]), np.array([1]))
    assert sentence(labels, 2, 3, (TypeError, ValueError)).startswith("labels: ")


def test_sparse_columns_are_refused():
    assert sentence(sparse.coo_array(np.array([0, 1, 0])), 3, 2, (TypeError, ValueError)).startswith("labels: ")


@pytest.mark.parametrize(
    ("indptr", "rows"),
    [
        ([0, 1, 9], [1]),
        ([0, 5, 1], [1]),
        ([0, 1, 1], [4]),
        ([0, 2, 2], [1, 1]),
        ([0, 2, 2], [2, 1]),
        ([0, 1], [1]),
        ([1, 1, 1], [1]),
        ([], []),
    ],
)
def test_inconsistent_positives_are_refused(indptr, rows):
    with pytest.raises(ValueError, match=r"^(indptr|rows): expected "):
        Positives(4, 2, np.array(indptr, np.int64), np.array(rows, np.uint32))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_rows": -1}, "num_rows: expected an integer from 0 to 4294967295, got -1"),
        ({"num_rows": 2**32}, "num_rows: expected an integer from 0 to 4294967295, got 4294967296"),
        ({"num_rows": 4.0}, "num_rows: expected an integer from 0 to 4294967295, got 4.0"),
        ({"num_classes": 1}, "indptr: expected (2,) of int64, got (3,) of int64"),
        ({"num_classes": -1, "indptr": np.zeros(0, int)}, "num_classes: expected an integer from 0 to 4294967295, "),
        ({"indptr": np.array([1, 2, 4])}, "indptr: expected offsets that rise from 0 to the number of positives, 4, "),
        ({"indptr": np.array([0, 2, 5])}, "indptr: expected offsets that rise from 0 to the number of positives, 4, "),
        ({"indptr": np.array([0, 5, 4])}, "indptr: expected offsets that rise from 0 to the number of positives, 4, "),
        ({"rows": np.uint32([0, 3, 1, 2**32 - 1])}, "rows: expected row numbers from 0 to 3, got 4294967295"),
        (
            {"rows": np.uint32([0, 3, 1, 1])},
            "rows: expected each class's rows once and ascending, got 1 after 1 in class 1",
        ),
        (
            {"rows": np.uint32([3, 0, 1, 2])},
            "rows: expected each class's rows once and ascending, got 0 after 3 in class 0",
        ),
    ],
)
def test_positives_made_by_hand_are_checked_at_once(changes, sentence):
    sound = {"num_rows": 4, "num_classes": 2, "indptr": np.array([0, 2, 4]), "rows": np.uint32([0, 3, 1, 2])}
    assert Positives(**sound).labels_per_row().tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        Positives(**(sound | changes))


@pytest.mark.parametrize(
    ("index", "row"),
    [(0, 2**32 - 1), (3, 2**32 - 1), (1, 4), (1, 0), (3, 0)],
    ids=["first", "last", "end", "twice", "falls"],
)
def test_rows_that_were_changed_after_the_checks_are_refused(index, row):
    rows = np.uint32([0, 3, 1, 2])
    positives = Positives(4, 2, np.array([0, 2, 4]), rows)
    rows[index] = row
    with pytest.raises(ValueError, match=r"^positives: expected an offset for each class"):
        rank_table(np.zeros((4, 2), np.float32), positives)


def test_positives_of_dense_labels_are_read_only():
    positives = positives_of(DENSE)
    for array in (positives.indptr, positives.rows):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True


def test_classes_without_positives_may_have_any_index():
    positives = Positives(2, 5, np.array([0, 0, 1, 1, 3, 3]), np.uint32([1, 0, 1]))
    assert [positives.rows_of(c).tolist() for c in range(5)] == [[], [1], [], [0, 1], []]


def test_dense_rows_as_lists_are_refused_with_a_hint():
    with pytest.raises(
        ValueError, match=r"^labels: expected lists of class indices, got 2 values of 0 or 1 in every row; pass"
    ):
        rank_table(np.zeros((2, 2)), [[0, 1], [1, 0]])


def test_index_arrays_as_rows_equal_lists():
    scores = np.random.default_rng(0).random((3, 4))
    lists = [[0], [1, 3], []]
    arrays = [np.array(row, np.int64) for row in lists]
    np.testing.assert_array_equal(rank_table(scores, arrays).tp, rank_table(scores, lists).tp)


# Some of the rows


KEPT = {
    "all": np.ones(NUM_ROWS, bool),
    "none": np.zeros(NUM_ROWS, bool),
    "the first": np.arange(NUM_ROWS) == 0,
    "the last": np.arange(NUM_ROWS) == NUM_ROWS - 1,
    "every other": np.arange(NUM_ROWS) % 2 == 1,
    "some": np.random.default_rng(3).random(NUM_ROWS) < 0.4,
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_positives_of_some_rows_are_those_of_their_labels(kept):
    assert_holds(positives_of(DENSE).select(kept), DENSE[kept])


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT.keys())
def test_positives_of_some_rows_of_corner_labels(kept):
    dense = corner_labels(NUM_ROWS, seed=4)
    assert_holds(positives_of(dense, dense.shape).select(kept), dense[kept])


@pytest.mark.parametrize(("start", "stop"), [(0, NUM_ROWS), (0, 1), (5, 6), (7, 30), (36, 37)])
def test_labels_between_rows_belong_to_them(start, stop):
    part = DENSE[start:stop]
    for labels in (DENSE, pairs(DENSE)):
        assert_holds(positives_of(rows_between(labels, start, stop), part.shape), part)
    classes = np.arange(NUM_ROWS) % NUM_CLASSES
    assert rows_between(classes, start, stop).tolist() == classes[start:stop].tolist()
    open_ended = LabelPairs(NUM_ROWS, None, *np.nonzero(DENSE))
    assert_holds(positives_of(rows_between(open_ended, start, stop), part.shape), part)


# Labels that have their own shape


def with_shape():
    rows, classes = np.nonzero(DENSE)
    return {
        "dense": DENSE,
        "float": DENSE.astype(np.float32),
        "torch": torch.tensor(DENSE),
        "csr": sparse.csr_matrix(DENSE),
        "coo": sparse.coo_array(DENSE),
        "shards": [DENSE[:10], DENSE[10:]],
        "pairs": LabelPairs(NUM_ROWS, NUM_CLASSES, rows, classes),
        "positives": positives_of(DENSE),
    }


@pytest.mark.parametrize("form", with_shape())
def test_labels_with_a_shape_need_no_other(form):
    labels = with_shape()[form]
    expected = positives_of(DENSE)
    for found in (
        Positives.from_labels(labels),
        Positives.from_labels(labels, num_rows=NUM_ROWS),
        Positives.from_labels(labels, num_classes=NUM_CLASSES),
    ):
        assert (found.num_rows, found.num_classes) == (NUM_ROWS, NUM_CLASSES)
        assert np.array_equal(found.indptr, expected.indptr)
        assert np.array_equal(found.rows, expected.rows)


def test_lists_and_indices_have_their_rows_and_need_the_classes():
    lists, indices = [[2], [], [0, 1]], np.array([2, 0, 1])
    for labels in (lists, indices):
        found = Positives.from_labels(labels, num_classes=4)
        assert (found.num_rows, found.num_classes) == (3, 4)
        with pytest.raises(ValueError, match=r"^num_classes: expected the number of classes, .*; pass num_classes=$"):
            Positives.from_labels(labels)
    pairs = LabelPairs(3, None, np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match=r"^num_classes: expected .* LabelPairs labels of 3 rows do not have it, got"):
        Positives.from_labels(pairs)
    assert Positives.from_labels(pairs, num_classes=2).num_rows == 3


def test_an_inferred_shape_is_checked_against_a_stated_one():
    with pytest.raises(ValueError, match=rf"^labels: {NUM_CLASSES} classes, but scores has 5$"):
        Positives.from_labels(DENSE, num_classes=5)
    with pytest.raises(ValueError, match=rf"^labels: {NUM_ROWS} rows, but scores has 5$"):
        Positives.from_labels(DENSE, num_rows=5)


@pytest.mark.parametrize("labels", [5, "labels", np.float32(1.0), None])
def test_labels_without_a_row_axis_are_refused(labels):
    with pytest.raises(TypeError, match=r"^labels: expected an array, a sparse matrix, lists, LabelPairs or Positives"):
        Positives.from_labels(labels)
