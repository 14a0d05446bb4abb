"""Scores of every dtype, layout and library, sizes around tiles and lanes, and extreme values."""

from __future__ import annotations

import os
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import reference
import torch
from cases import corner_labels, make_case
from devices import on_device
from reference import assert_agrees, assert_same_bits, assert_same_table, table_rows
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._functional_collectives import all_gather_tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from vltr_eval import (
    Positives,
    RunningAP,
    average_precision,
    positive_scores,
    rank_table,
    roc_auc,
    sampled_average_precision,
    topk_accuracy,
)
from vltr_eval._base import _core
from vltr_eval._base.arrays import Matrix, borrow, borrow_matrix, copy_rows, empty_bits, empty_like, of_bits, to_host
from vltr_eval._engine.rank_scan import rank_scan

INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
FLOATS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
LANES = {
    np.float32: [np.bool_, *INTEGERS[:4], np.float16, ml_dtypes.bfloat16, np.float32],
    np.float64: [np.int32, np.uint32, np.float64],
}
LANES |= {np.int64: [np.int64], np.uint64: [np.uint64]}
DTYPES = [np.bool_, *INTEGERS, *FLOATS]
WIDTHS = [1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025]


def assert_counts_equal_the_textbook(scores, labels) -> None:
    """Assert that the rank table of any array equals the reference on its values as Python numbers."""
    table = rank_table(scores, labels)
    values = np.asarray(scores)
    for c in range(labels.shape[1]):
        assert table_rows(table, c) == reference.rank_table(values[:, c].tolist(), labels[:, c].tolist())


def small_integers(num_rows=90, num_classes=35, high=100, seed=1):
    """Return values that every dtype but bool holds exactly."""
    labels = make_case(num_rows, num_classes, seed=seed)[1]
    return np.random.default_rng(seed).integers(0, high, labels.shape), labels


def labels_of(labels) -> Positives:
    return Positives.from_labels(labels, *labels.shape)


# Dtypes


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values_of_any_dtype_give_equal_counts(simd, dtype):
    scores, labels = small_integers(high=2 if dtype is np.bool_ else 100)
    table, expected = rank_table(scores.astype(dtype), labels), rank_table(scores.astype(float), labels)
    for name in ("indptr", "tp", "fp", "tied"):
        assert_same_bits(getattr(table, name), getattr(expected, name))
    assert table.thresholds.tolist() == expected.thresholds.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_thresholds_come_in_a_dtype_that_holds_every_value(dtype):
    scores, labels = small_integers(high=2)
    lane = next(lane for lane, members in LANES.items() if dtype in members)
    assert rank_table(scores.astype(dtype), labels).thresholds.dtype == lane
    assert positive_scores(scores.astype(dtype), labels).scores.dtype == lane


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_values_of_any_dtype_give_equal_trials_ranks_and_weighted_ap(simd, dtype):
    scores, labels = small_integers(high=2 if dtype is np.bool_ else 100)
    results = []
    for array in (scores.astype(dtype), scores.astype(np.float64)):
        trials = sampled_average_precision(array, labels, trials=7, return_trials=True).trials
        weighted = average_precision(array, labels, sample_weight=np.arange(len(array)))
        results.append((trials, weighted, topk_accuracy(array, labels, k=range(1, 36))))
    assert_same_bits(results[0][0], results[1][0])
    assert_same_bits(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("dtype", [*INTEGERS, np.float16, ml_dtypes.bfloat16])
def test_values_of_every_dtype_are_compared_exactly(simd, dtype):
    """Random bits give every integer and every half but NaN, with subnormals and infinities."""
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 256, (3000, 6 * np.dtype(dtype).itemsize), np.uint8).view(dtype)
    with np.errstate(invalid="ignore"):
        scores = (
            np.where(np.isnan(scores.astype(float)), np.array(0, dtype), scores)
            if np.dtype(dtype).kind in "fV"
            else scores
        )
    labels = rng.random(scores.shape) < 0.1
    assert_counts_equal_the_textbook(scores, labels)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_low_precision_ties_are_ties(dtype):
    values, labels = make_case(500, 6, seed=3)
    scores = (values * 0.01 + 1).astype(dtype)
    assert len(np.unique(scores.astype(float))) < len(np.unique(values)) / 20
    assert_counts_equal_the_textbook(scores, labels)
    assert_same_table(rank_table(scores, labels), rank_table(scores.astype(np.float32), labels))


def test_uint64_near_its_maximum_is_exact(simd):
    labels = make_case(80, 20, seed=4)[1]
    scores = np.uint64(2**64 - 1) - np.random.default_rng(4).integers(0, 40, labels.shape).astype(np.uint64)
    assert len(np.unique(scores.astype(float))) < len(np.unique(scores))
    assert_counts_equal_the_textbook(scores, labels)
    scores[::3] = np.random.default_rng(5).integers(0, 3, scores[::3].shape)
    assert_counts_equal_the_textbook(scores, labels)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("num_rows", [5, 40, 700])
def test_integers_at_both_extremes_are_exact(simd, dtype, num_rows):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(num_rows)
    labels = make_case(num_rows, 40, seed=5, prevalence=0.4)[1]
    labels[:, 7] = False
    ends = np.array([info.min, info.min + 1, info.max // 2, info.max - 1, info.max], dtype)
    scores = rng.choice(ends, labels.shape)
    assert_counts_equal_the_textbook(scores, labels)
    trials = sampled_average_precision(scores, labels, trials=3, return_trials=True).trials
    shifted = np.searchsorted(ends, scores).astype(np.float32)  # the same order, far from both extremes
    assert_same_bits(trials, sampled_average_precision(shifted, labels, trials=3, return_trials=True).trials)
    assert topk_accuracy(scores, labels, k=(1, 3, 9)) == topk_accuracy(shifted, labels, k=(1, 3, 9))
    weights = rng.random(num_rows)
    assert_same_bits(
        average_precision(scores, labels, sample_weight=weights),
        average_precision(shifted, labels, sample_weight=weights),
    )


def test_large_integers_with_equal_floats_are_distinct():
    scores = np.array([[2**53], [2**53 + 1]])
    assert average_precision(scores, np.array([[0], [1]]))[0] == 1


# Extreme values


def test_minus_zero_ties_with_zero(simd):
    scores = np.array([0.0, -0.0] * 20)
    labels = np.array([1, 0, 0, 0] * 10)
    for dtype in FLOATS:
        table = rank_table(scores.astype(dtype), labels)
        assert table_rows(table, 0) == [(0, 10, 30, 30)]
        assert not np.signbit(table.thresholds[0])
        assert average_precision(-scores.astype(dtype), labels)[0] == 0.25


@pytest.mark.parametrize("dtype", FLOATS)
def test_infinities_are_scores(simd, dtype):
    rng = np.random.default_rng(6)
    scores = rng.choice([-np.inf, -1, 0, 2, np.inf], (70, 20)).astype(dtype)
    labels = make_case(70, 20, seed=7)[1]
    labels[scores == -np.inf] |= rng.random(np.count_nonzero(scores == -np.inf)) < 0.3
    assert_counts_equal_the_textbook(scores, labels)


def test_a_lowest_positive_of_minus_infinity_is_reached_by_every_row():
    scores = np.array([3, -np.inf, -np.inf, 5])
    assert table_rows(rank_table(scores, np.array([0, 1, 0, 1])), 0) == [(5, 1, 0, 0), (-np.inf, 2, 2, 1)]


def test_subnormals_are_not_flushed(simd):
    for dtype in (np.float32, np.float64, np.float16):
        tiny = np.finfo(dtype).smallest_subnormal
        scores = np.array([tiny, 0, -tiny, 2 * tiny] * 9, dtype)
        assert_counts_equal_the_textbook(scores[:, None], np.array([1, 0, 1, 0] * 9)[:, None])


@pytest.mark.parametrize("value", [0.0, 1.0, -np.inf, np.inf])
def test_constant_columns_have_ap_of_prevalence_and_auc_of_a_half(simd, value):
    labels = corner_labels(50)[:, 1:5]
    scores = np.full(labels.shape, value, np.float32)
    assert_agrees(average_precision(scores, labels), labels.mean(axis=0))
    assert_same_bits(roc_auc(scores, labels), np.full(4, 0.5))


def test_saturated_columns_are_counted_by_ties(simd):
    logits, labels = make_case(400, 9, seed=8)
    assert_counts_equal_the_textbook(
        np.where(logits > 0.5, np.float32(1), np.where(logits < -0.5, np.float32(0), logits)), labels
    )


# NaN


def named(row, col) -> str:
    return rf"^scores: expected numbers, got NaN at row {row}, class {col}$"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("place", [(0, 0), (16, 16), (69, 20), (70, 33)])
def test_nan_is_named_by_row_and_class(simd, dtype, place):
    scores, labels = make_case(71, 34, seed=9)
    scores = scores.astype(dtype)
    scores[place] = np.nan
    for labelled in (True, False):
        labels[place] = labelled
        for layout in (scores, np.asfortranarray(scores), scores[::-1].copy()[::-1], [scores[:40], scores[40:]]):
            with pytest.raises(ValueError, match=named(*place)):
                rank_table(layout, labels)


@pytest.mark.parametrize("sign", [1, -1])
def test_nan_of_either_sign_below_every_positive_is_found(simd, sign):
    """A NaN reaches no threshold, so a pass that only counts would miss it."""
    scores, labels = make_case(300, 20, seed=10)
    scores[labels] += 100
    scores[211, 13] = np.copysign(np.float32(np.nan), sign)
    labels[211, 13] = False
    with pytest.raises(ValueError, match=named(211, 13)):
        rank_table(scores, labels)


def test_nan_in_a_class_without_positives_is_found(simd):
    scores, labels = make_case(30, 5, seed=11)
    labels[:, 2] = False
    scores[29, 2] = np.nan
    for call in (rank_table, average_precision, topk_accuracy, sampled_average_precision):
        with pytest.raises(ValueError, match=named(29, 2)):
            call(scores, labels)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_first_nan_in_row_order_is_named(threads, labelled):
    scores, labels = make_case(6000, 30, seed=12)
    places = [(5990, 0), (4100, 29), (4100, 7), (5000, 3)]
    for place in places:
        scores[place], labels[place] = np.nan, labelled
    labels[5000, 3] = not labelled
    with pytest.raises(ValueError, match=named(4100, 7)):
        rank_table(scores, labels, threads=threads)


def test_nan_in_the_padding_of_a_view_is_ignored():
    scores, labels = make_case(40, 21, seed=13)
    wide = np.full((45, 64), np.nan, np.float32)
    wide[:40, :21] = scores
    assert_same_table(rank_table(wide[:40, :21], labels), rank_table(scores, labels))


def test_positive_scores_name_the_nan_of_a_positive():
    scores, labels = make_case(30, 5, seed=14)
    scores[12, 3], labels[12, 3] = np.nan, True
    with pytest.raises(ValueError, match=named(12, 3)):
        positive_scores(scores, labels)


# Layouts and libraries


def packed(scores):
    records = np.zeros(scores.shape, [("skip", "u1"), ("score", scores.dtype)])
    records["score"] = scores
    assert not records["score"].flags.aligned
    return records["score"]


def read_only(scores):
    scores = scores.copy()
    scores.flags.writeable = False
    return scores


class Exposes:
    """An array of some library that offers one protocol only."""

    def __init__(self, array, *protocols):
        for protocol in protocols:
            setattr(self, protocol, getattr(array, protocol))


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda s: np.repeat(np.repeat(s, 2, axis=0), 3, axis=1)[::2, ::3],
    "strided rows": lambda s: np.repeat(s, 3, axis=0)[::3],
    "reversed rows": lambda s: s[::-1].copy()[::-1],
    "reversed columns": lambda s: s[:, ::-1].copy()[:, ::-1],
    "reversed Fortran": lambda s: np.asfortranarray(s[::-1, ::-1])[::-1, ::-1],
    "packed records": packed,
    "read-only": read_only,
    "row shards": lambda s: [s[:1], s[1:18], s[18:18], np.asfortranarray(s[18:50]), s[50:]],
    "shards of one row": lambda s: [s[i : i + 1] for i in range(len(s))],
    "tuple of shards": lambda s: (s[:64], s[64:][::-1].copy()[::-1]),
    "empty shards at both ends": lambda s: [s[:0], s, s[:0]],
    "torch": lambda s: torch.tensor(s),
    "torch transposed": lambda s: torch.tensor(s.T.copy()).T,
    "torch strided": lambda s: torch.tensor(np.repeat(s, 2, axis=1))[:, ::2],
    "torch with gradient": lambda s: torch.tensor(s).requires_grad_(s.dtype.kind == "f") + 0,
    "torch parameter": lambda s: torch.nn.Parameter(torch.tensor(s), requires_grad=s.dtype.kind == "f"),
    "torch shards": lambda s: [torch.tensor(s[:7]), torch.tensor(s[7:])],
    "array interface": lambda s: Exposes(s, "__array_interface__"),
    "dlpack": lambda s: Exposes(s, "__dlpack__", "__dlpack_device__"),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
def test_layout_changes_no_result(simd, layout, dtype):
    scores, labels = make_case(90, 37, seed=15, levels=9)
    scores = scores.astype(dtype)
    result, expected = (rank_scan(array, labels_of(labels), trials=4, ranks=True) for array in (layout(scores), scores))
    assert_same_table(result.table, expected.table)
    assert_same_bits(result.trials, expected.trials)
    assert_same_bits(result.ranks, expected.ranks)
    weights = np.arange(90.0)
    assert_same_bits(
        average_precision(layout(scores), labels, sample_weight=weights),
        average_precision(scores, labels, sample_weight=weights),
    )


@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"]
)
def test_torch_tensors_of_every_dtype(simd, dtype):
    scores, labels = small_integers(high=2 if dtype == "bool" else 100)
    tensor = torch.tensor(scores).to(getattr(torch, dtype))
    table = rank_table(tensor, labels)
    assert_same_bits(table.fp, rank_table(scores, labels).fp)
    assert_same_bits(table.tied, rank_table(scores, labels).tied)


def test_torch_bfloat16_equals_ml_dtypes_bfloat16():
    scores, labels = make_case(200, 20, seed=16)
    tensor = torch.tensor(scores).to(torch.bfloat16)
    assert_same_table(
        rank_table(tensor.requires_grad_(), labels), rank_table(scores.astype(ml_dtypes.bfloat16), labels)
    )


def test_torch_views_with_a_pending_negation_are_refused():
    """torch keeps the imaginary part of a conjugate as a view of the original with its negative bit set."""
    values = torch.tensor([[4.0], [1.0], [3.0], [2.0]])
    view = torch.complex(torch.zeros(4, 1), values).conj().imag
    assert view.is_neg()
    labels = np.array([[1], [0], [0], [1]])
    with pytest.raises(TypeError, match=r"^scores: .* lazy negation; pass scores\.resolve_neg\(\)$"):
        rank_table(view, labels)
    assert_same_table(rank_table(view.resolve_neg(), labels), rank_table(-values.numpy(), labels))


def test_torch_tensors_on_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"^scores: expected an array in CPU memory, got a tensor on meta"):
        rank_table(torch.zeros((3, 2), device="meta"), np.zeros((3, 2)))
    with pytest.raises(
        TypeError, match=r"^scores: expected a dense tensor, got layout torch\.sparse_coo; pass scores\.to_dense\(\)$"
    ):
        rank_table(torch.zeros((3, 2)).to_sparse(), np.zeros((3, 2)))


def test_arrays_on_a_cuda_device_are_refused_without_one(monkeypatch):
    class OnCuda:
        __cuda_array_interface__ = {}  # noqa: RUF012

    monkeypatch.setattr(_core, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"^scores: expected an array in CPU memory, got one on a CUDA device; "):
        rank_table(OnCuda(), np.zeros((3, 2)))


@pytest.mark.parametrize("shape", [(3, 5), (7,), (0, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_an_array_and_a_view_of_all_of_it_are_borrowed_alike(dtype, shape):
    for order in "CF":
        array = np.zeros(shape, dtype, order)
        for writable in (True, False):
            array.flags.writeable = writable
            own, view = borrow("x", array), borrow("x", array[...])
            for field in ("address", "shape", "strides", "dtype", "device", "writable", "block"):
                assert getattr(own, field) == getattr(view, field)
            assert own.owner is array


@pytest.mark.parametrize("axis", [0, 1])
def test_broadcast_arrays_are_read_without_strides(simd, axis):
    line, labels = make_case(60, 60, seed=17, levels=7)
    view = np.broadcast_to(line[:1] if axis == 0 else line[:, :1], (60, 60))
    assert 0 in view.strides
    assert_same_table(rank_table(view, labels), rank_table(view.copy(), labels))
    point = np.broadcast_to(np.float32(3), (60, 60))
    assert_same_table(rank_table(point, labels), rank_table(point.copy(), labels))


def test_memory_maps_are_read_without_a_copy(tmp_path):
    scores, labels = make_case(200, 30, seed=18)
    np.save(tmp_path / "scores.npy", scores)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert_same_table(rank_table(mapped, labels), rank_table(scores, labels))
    assert_same_table(rank_table([mapped[:90], mapped[90:]], labels), rank_table(scores, labels))


def test_lists_of_numbers_are_arrays():
    scores, labels = make_case(9, 3, seed=19)
    assert_same_bits(average_precision(scores.tolist(), labels), average_precision(scores, labels))
    assert average_precision([0.9, 0.8, 0.7], [1, 0, 1])[0] == pytest.approx(5 / 6, abs=1e-15)


def test_inputs_are_not_changed():
    scores, labels = make_case(60, 9, seed=20)
    kept = scores.copy(), labels.copy()
    rank_scan(scores, labels_of(labels), trials=5000, ranks=True)
    average_precision(scores, labels, sample_weight=np.ones(60))
    assert_same_bits(scores, kept[0])
    assert_same_bits(labels, kept[1])


# Sizes


@pytest.mark.parametrize("num_rows", WIDTHS)
@pytest.mark.parametrize("num_classes", [1, 17])
def test_rows_around_every_width(simd, num_rows, num_classes):
    scores, labels = make_case(num_rows, num_classes, seed=num_rows, levels=60)
    assert_counts_equal_the_textbook(scores, labels)
    assert_counts_equal_the_textbook(np.asfortranarray(scores.astype(np.int64)), labels)


@pytest.mark.parametrize("num_classes", [*WIDTHS, 2049])
def test_classes_around_every_width(simd, num_classes):
    scores, labels = make_case(19, num_classes, seed=num_classes, levels=12)
    assert_counts_equal_the_textbook(scores, labels)
    assert_counts_equal_the_textbook(scores.astype(np.float64), labels)


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 1023, 1024, 1025])
def test_shards_around_every_width(simd, cut):
    scores, labels = make_case(1100, 18, seed=cut, levels=30)
    expected = rank_scan(scores, labels_of(labels), trials=3, ranks=True)
    for shards in ([scores[:cut], scores[cut:]], [scores[:cut], scores[cut : 2 * cut], scores[2 * cut :]]):
        result = rank_scan(shards, labels_of(labels), trials=3, ranks=True)
        assert_same_table(result.table, expected.table)
        assert_same_bits(result.trials, expected.trials)
        assert_same_bits(result.ranks, expected.ranks)


def test_one_row_has_ap_one_where_it_is_positive():
    assert_same_bits(average_precision(np.float32([[0.3, 0.4]]), np.array([[1, 0]])), np.array([1.0, np.nan]))


def test_scan_returns_trials_and_ranks_only_on_request():
    scores, labels = make_case(50, 7, seed=21)
    result = rank_scan([scores[:20], scores[20:]], labels_of(labels))
    assert result.trials is None
    assert result.ranks is None


# Inputs that cannot be read


@pytest.mark.parametrize(
    ("scores", "error", "sentence"),
    [
        (None, TypeError, "scores: expected an array, got NoneType"),
        ("preds.npy", ValueError, "preds.npy: no such file"),
        (3, TypeError, "scores: expected an array, got int"),
        (np.zeros(()), ValueError, "scores: expected an (N, C) matrix or an (N,) column, got shape ()"),
        (np.zeros((2, 2, 2)), ValueError, "scores: expected an (N, C) matrix or an (N,) column, got shape (2, 2, 2)"),
        (np.zeros((0, 3)), ValueError, "scores: expected at least one row and one class, got shape (0, 3)"),
        (np.zeros((3, 0)), ValueError, "scores: expected at least one row and one class, got shape (3, 0)"),
        ([np.zeros((0, 3))] * 2, ValueError, "scores: expected at least one row and one class, got shape (0, 3)"),
        ([[1, 2], [3]], ValueError, "scores: expected rows of equal length, got a ragged list"),
        (
            np.zeros((2, 2), complex),
            TypeError,
            "scores: expected a bool, integer or float dtype of at most 64 bits, got complex128",
        ),
        (
            np.zeros((2, 2), object),
            TypeError,
            "scores: expected a bool, integer or float dtype of at most 64 bits, got object",
        ),
        (
            np.zeros((2, 2), "M8[s]"),
            TypeError,
            "scores: expected a bool, integer or float dtype of at most 64 bits, got datetime64[s]",
        ),
        (
            np.zeros((2, 2), ">f4"),
            TypeError,
            "scores: expected native byte order, got >f4; pass scores.astype(scores.dtype.newbyteorder())",
        ),
        (
            [np.zeros((1, 2)), np.zeros((1, 3))],
            ValueError,
            "scores[1]: expected 2 classes of float64 as in scores[0], got 3 of float64",
        ),
        (
            [np.zeros((1, 2)), np.zeros((1, 2), np.float32)],
            ValueError,
            "scores[1]: expected 2 classes of float64 as in scores[0], got 2 of float32",
        ),
    ],
)
def test_invalid_score_matrices_are_refused(scores, error, sentence):
    with pytest.raises(error) as caught:
        rank_table(scores, np.zeros((2, 2)))
    assert str(caught.value) == sentence


def test_long_floats_are_refused():
    if np.dtype(np.longdouble).itemsize > 8:
        with pytest.raises(
            TypeError, match=r"^scores: expected a bool, integer or float dtype of at most 64 bits, got "
        ):
            rank_table(np.zeros((2, 2), np.longdouble), np.zeros((2, 2)))


def test_more_rows_than_32_bits_count_are_refused():
    scores = np.broadcast_to(np.float32(0), (2**32, 1))
    with pytest.raises(
        ValueError, match=r"^scores: expected at most 4294967295 rows, got 4294967296; evaluate shards and merge"
    ):
        rank_table(scores, np.zeros(1))


def test_inputs_that_need_a_copy_are_refused():
    with pytest.raises(
        TypeError, match=r"^scores: expected an array that can be borrowed, got Exposes.*np\.asarray\(scores\)$"
    ):
        rank_table(Exposes(np.zeros((3, 2)), "__array__"), np.eye(3, 2))


# Missing cells


def missing(name: str, count: int, first: str) -> str:
    return rf"^{name}: expected a number in every cell, got {count} missing, the first at {first}; leave out the rows "


def test_missing_cells_of_a_mask_are_refused():
    scores = np.ma.array(np.ones((3, 2)), mask=[[False, False], [False, True], [True, True]])
    with pytest.raises(ValueError, match=missing("scores", 3, "row 1, column 1")):
        rank_table(scores, np.eye(3, 2))
    with pytest.raises(ValueError, match=missing("labels", 1, "row 2, column 0")):
        rank_table(np.ones((3, 2)), np.ma.array(np.eye(3, 2), mask=[[False, False], [False, False], [True, False]]))
    with pytest.raises(ValueError, match=missing(r"scores\[1\]", 1, "row 0, column 1")):
        rank_table([np.ones((1, 2)), np.ma.array(np.ones((2, 2)), mask=[[False, True], [False, False]])], np.eye(3, 2))


@pytest.mark.parametrize("mask", [np.ma.nomask, np.zeros((30, 4), bool)], ids=["none", "all False"])
def test_masked_arrays_without_missing_cells_are_their_data(mask):
    scores, labels = make_case(30, 4, seed=9)
    assert_same_table(rank_table(np.ma.array(scores, mask=mask), labels), rank_table(scores, labels))


def test_missing_numbers_of_one_dimension_are_refused():
    with pytest.raises(ValueError, match=missing("sample_weight", 1, "row 1")):
        average_precision(np.zeros(3), [1, 0, 1], sample_weight=np.ma.array(np.ones(3), mask=[False, True, False]))
    with pytest.raises(ValueError, match=missing("sample_weight", 1, "row 2")):
        average_precision(np.zeros(3), [1, 0, 1], sample_weight=pd.Series([1, 2, None], dtype="Int64"))


def test_a_mask_that_appears_in_conversion_is_applied():
    class Variable:  # as in netCDF4
        def __array__(self, *_, **__):
            return np.ma.array(np.ones(3), mask=[True, False, False])

    with pytest.raises(ValueError, match=missing("sample_weight", 1, "row 0")):
        average_precision(np.zeros(3), [1, 0, 1], sample_weight=Variable())


def test_a_mask_in_the_array_interface_is_applied():
    values = np.ones((2, 2))
    offered = SimpleNamespace(__array_interface__=values.__array_interface__ | {"mask": np.eye(2, dtype=bool)})
    with pytest.raises(ValueError, match=missing("scores", 2, "row 0, column 0")):
        rank_table(offered, np.eye(2))


def test_nulls_of_pandas_and_arrow_are_missing_cells():
    with pytest.raises(ValueError, match=r"^scores: row 1, column a: expected a number, got a missing value$"):
        rank_table(pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [1, 2]}), np.eye(2))
    for make in (pa.array, lambda values: pa.chunked_array([values])):
        with pytest.raises(ValueError, match=r"^scores: row 1: expected a number, got a null$"):
            rank_table(make([0.5, None, 0.25]), [0, 1, 0])
        with pytest.raises(ValueError, match=missing("scores", 1, "row 1")):
            borrow("scores", make([0.5, None, 0.25]))
    scores = pa.array([0.5, 0.75, 0.25])
    assert_same_table(rank_table(scores, [0, 1, 0]), rank_table(scores.to_numpy(), [0, 1, 0]))


def test_advice_fits_the_type_of_the_input(tmp_path):
    h5py = pytest.importorskip("h5py")
    frame = pd.DataFrame({"a": [0.5, 0.25], "b": [0.0, 1.0]})
    with h5py.File(tmp_path / "scores.h5", "w") as file:
        file["scores"] = frame.to_numpy()
        for scores, call, read in (
            (frame, r".*scores\.to_numpy\(\) where all columns are classes", lambda scores: scores.to_numpy()),
            (file["scores"], r"scores\[\.\.\.\]", lambda scores: scores[...]),
        ):
            with pytest.raises(TypeError, match=rf"^scores: expected an array that can be borrowed, .*; pass {call}$"):
                borrow("scores", scores)
            assert_same_table(rank_table(read(scores), np.eye(2)), rank_table(frame.to_numpy(), np.eye(2)))


def test_errors_on_small_dtypes_name_a_wider_one():
    for dtype, wider in ((ml_dtypes.int4, "int8"), (ml_dtypes.uint4, "uint8"), (ml_dtypes.float8_e4m3fn, "float32")):
        scores = np.zeros((2, 2), dtype)
        with pytest.raises(TypeError, match=rf"^scores: .*, got {scores.dtype}; pass scores\.astype\('{wider}'\)$"):
            rank_table(scores, np.eye(2))
        rank_table(scores.astype(wider), np.eye(2))


# Tensors without memory: none of these may be read


def without_memory() -> dict[str, torch.Tensor]:
    """Return tensors that have a shape and no elements."""
    values = torch.rand(4, 3)
    emptied = torch.rand(4, 3)
    emptied.untyped_storage().resize_(0)
    with FakeTensorMode():
        fake = torch.rand(4, 3)
    return {
        "fake": fake,
        "view of a fake": fake[1:],  # has an address: the offset of its first element
        "functional": torch._to_functional_tensor(values),
        "zeros": torch._efficientzerotensor((4, 3)),
        "emptied": emptied,
    }


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("kind", ["fake", "view of a fake", "functional", "zeros", "emptied"])
def test_tensors_without_memory_are_refused(kind):
    tensor = without_memory()[kind]
    sentence = r": expected an array with memory, got \w+ of .* without any; pass one that holds numbers, outside of "
    labels = np.zeros(tensor.shape, bool)
    with pytest.raises(TypeError, match="^scores" + sentence):
        rank_table(tensor, labels)
    with pytest.raises(TypeError, match="^labels" + sentence):
        rank_table(labels, tensor)
    with pytest.raises(TypeError, match="^sample_weight" + sentence):
        average_precision(labels, labels, sample_weight=tensor)
    with pytest.raises(TypeError, match="^scores" + sentence):
        RunningAP(3, 10).update(tensor, labels)


class Wrapper(torch.Tensor):
    """A tensor that wraps another one and has no memory, like DTensor, AsyncCollectiveTensor and MaskedTensor."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(cls, values.shape, dtype=values.dtype)

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return args[0]  # detach


@pytest.mark.parametrize(
    ("method", "advice"),
    [
        ("full_tensor", r"pass scores\.full_tensor\(\)"),
        ("wait", r"pass scores\.wait\(\)"),
        ("get_mask", r"pass scores\.get_data\(\) if all of scores\.get_mask\(\) is True, else leave out .*"),
    ],
)
def test_errors_on_wrapped_tensors_name_the_unwrapping_call(method, advice):
    tensor = type("Wrapped", (Wrapper,), {method: None})(torch.rand(4, 3))
    with pytest.raises(TypeError, match=rf"^scores: expected an array with memory, got Wrapped of .*; {advice}$"):
        rank_table(tensor, np.zeros((4, 3)))


@pytest.mark.filterwarnings("ignore:The PyTorch API of MaskedTensors")
@pytest.mark.filterwarnings("ignore:.*all_gather_tensor. is deprecated")
def test_tensors_of_distributed_and_masked_are_refused(tmp_path):
    tensor = torch.rand(4, 3)
    masked = torch.masked.masked_tensor(tensor, tensor > 0.5)
    with pytest.raises(TypeError, match=r"^scores: .* got MaskedTensor .*; pass scores\.get_data\(\) if all "):
        rank_table(masked, np.zeros((4, 3)))
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "s"), 1), rank=0, world_size=1
    )
    try:
        mesh = init_device_mesh("cpu", (1,))
        sharded = distribute_tensor(tensor, mesh, [Shard(0)])
        with pytest.raises(TypeError, match=r"^scores: .* got DTensor .*; pass scores\.full_tensor\(\)$"):
            rank_table(sharded, np.zeros((4, 3)))
        assert_same_table(rank_table(sharded.full_tensor(), np.eye(4, 3)), rank_table(tensor.numpy(), np.eye(4, 3)))
        gathered = all_gather_tensor(tensor, 0, mesh)
        with pytest.raises(TypeError, match=r"^scores: .* got AsyncCollectiveTensor .*; pass scores\.wait\(\)$"):
            rank_table(gathered, np.zeros((4, 3)))
        assert_same_table(rank_table(gathered.wait(), np.eye(4, 3)), rank_table(tensor.numpy(), np.eye(4, 3)))
    finally:
        torch.distributed.destroy_process_group()


def test_tensors_inside_of_transforms_are_refused():
    def traced(tensor):
        with pytest.raises(TypeError, match=r"^scores: expected an array with memory, got Tensor .* transforms$"):
            rank_table(tensor, np.zeros(len(tensor)))
        return tensor.sum()

    torch.vmap(traced)(torch.rand(4, 3))
    torch.func.grad(traced)(torch.rand(3))


def test_tensors_with_less_memory_than_their_shape_are_refused():
    tensor = torch.rand(4, 3)
    tensor.untyped_storage().resize_(40)
    with pytest.raises(ValueError, match=r"^scores: expected elements within .* 40 bytes, got bytes 0 to 48 "):
        rank_table(tensor, np.zeros((4, 3)))
    assert borrow("scores", tensor[:3]).shape == (3, 3)


@pytest.mark.parametrize(
    ("shape", "strides", "reach"),
    [((5, 3), (24, 8), "0 to 120"), ((2, 2), (-8, 8), "-8 to 16"), ((1000, 1), (1000, 8), "0 to 999008")],
)
def test_views_outside_their_array_are_refused(shape, strides, reach):
    scores = np.lib.stride_tricks.as_strided(np.zeros(12), shape, strides)
    with pytest.raises(ValueError, match=rf"^scores: expected elements within .* 96 bytes, got bytes {reach} "):
        rank_table(scores, np.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "strides"), [((4, 3), (24, 8)), ((10, 3), (8, 8)), ((4, 3), (0, 0)), ((0, 3), (24, 8))]
)
def test_views_within_their_array_are_borrowed(shape, strides):
    view = np.lib.stride_tricks.as_strided(np.arange(12.0), shape, strides)
    assert_same_bits(borrow("scores", view).to_numpy(), view)


def test_views_of_an_array_without_elements_are_refused():
    with pytest.raises(ValueError, match=r"^scores: expected elements within its memory of 0 bytes, got bytes 0 to "):
        rank_table(np.lib.stride_tricks.as_strided(np.zeros(0), (4, 3), (0, 0)), np.zeros((4, 3)))


def test_subclasses_are_read_as_their_base_arrays():
    class Odd(np.ndarray):
        shape = property(lambda self: (100, 100))
        strides = property(lambda self: (1 << 40, 1))
        __array_interface__ = property(
            lambda self: {"data": (0, False), "shape": (9, 9), "typestr": "<f8", "version": 3}
        )

    scores, labels = make_case(20, 3, seed=11)
    assert_same_table(rank_table(scores.view(Odd), labels), rank_table(scores, labels))


@pytest.mark.parametrize("changes", [{"data": (0, False)}, {"shape": (-3, 4)}, {"strides": (8,)}])
def test_impossible_array_interfaces_are_named(changes):
    values = np.zeros((3, 4))
    offered = SimpleNamespace(__array_interface__=values.__array_interface__ | changes)
    with pytest.raises(TypeError, match=r"^scores: expected an array (that can be borrowed|with memory), got "):
        borrow("scores", offered)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_truncated_mapped_files_are_refused(tmp_path, size):
    path = tmp_path / "scores.npy"
    np.save(path, np.zeros((400, 4)))
    scores = np.load(path, mmap_mode="r")
    assert borrow("scores", scores[200:, ::2]).shape == (200, 2)
    os.truncate(path, size)
    with pytest.raises(ValueError, match=rf"^scores: expected a mapped file of at least 12928 bytes, got {size}: "):
        borrow("scores", scores[200:, ::2])


def test_columns_in_shards_equal_the_whole_column():
    scores, labels = make_case(50, 1, seed=3, levels=7)
    column = scores[:, 0]
    whole = rank_table(column, labels[:, 0])
    assert_same_table(rank_table([column[:20], column[20:]], labels[:, 0]), whole)
    assert_same_table(rank_table([column[:25, None], column[25:, None]], labels[:, 0]), whole)
    with pytest.raises(ValueError, match=r"^scores: expected one matrix or .* got a list of 2 arrays of one dimension"):
        rank_table([column[:25], column[25:]], labels[:, 0])
    with pytest.raises(
        ValueError, match=r"^scores\[1\]: expected a column of float32 as in scores\[0\], got 2 of float32$"
    ):
        rank_table([np.zeros(3, np.float32), np.zeros((3, 2), np.float32)], [0] * 6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("threads", [1, 2])
def test_flushing_of_subnormals_by_the_caller_changes_nothing(dtype, threads):
    """torch can set the processor of the calling thread to read subnormal numbers as zero."""
    smallest = np.finfo(dtype).smallest_subnormal
    scores = (np.random.default_rng(4).integers(0, 200, (2000, 3)) * smallest).astype(dtype)
    labels = np.random.default_rng(5).random((2000, 3)) < 0.1
    expected = rank_scan(scores, labels_of(labels), trials=3, ranks=True)
    assert torch.set_flush_denormal(True)
    try:
        result = rank_scan(scores, labels_of(labels), trials=3, ranks=True, threads=threads)
    finally:
        torch.set_flush_denormal(False)
    for name in ("tp", "fp", "tied"):
        np.testing.assert_array_equal(getattr(result.table, name), getattr(expected.table, name))
    np.testing.assert_array_equal(result.trials, expected.trials)
    np.testing.assert_array_equal(result.ranks, expected.ranks)


# Some of the rows


def values_of(matrix: Matrix) -> np.ndarray:
    return np.concatenate([to_host(shard).bits() for shard in matrix.shards])


RUNS = {
    "all": [(0, 60)],
    "one": [(31, 32)],
    "around the cuts": [(0, 1), (18, 23), (39, 41), (59, 60)],
    "over all cuts": [(5, 58)],
    "a whole shard": [(20, 40)],
    "in another order, twice": [(45, 60), (3, 30), (3, 4)],
}


@pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS.keys())
@pytest.mark.parametrize("cuts", [[], [20, 40], [0, 20, 20, 40], [1, 2, 3, 59]])
def test_runs_of_rows_are_views(device, cuts, runs):
    scores, labels = make_case(60, 5, seed=7, levels=9)
    whole = borrow_matrix("scores", [on_device(shard, device) for shard in np.split(scores, cuts)])
    some = whole.select(runs)
    rows = np.concatenate([np.arange(*run) for run in runs])
    assert_same_bits(values_of(some), scores[rows])
    assert some.device == whole.device
    assert {id(shard.owner) for shard in some.shards} <= {id(shard.owner) for shard in whole.shards}
    assert_same_table(
        rank_table(some, Positives.from_labels(labels[rows], len(rows), 5)), rank_table(scores[rows], labels[rows])
    )


def test_runs_of_a_strided_matrix_and_of_a_column():
    scores, _ = make_case(40, 6, seed=8)
    for view in (scores[::-2, ::3], np.asfortranarray(scores), scores[:, 2]):  # columns of different lengths
        some = borrow_matrix("scores", [view[:7], view[7:]]).select([(3, 9), (11, 15)])
        assert_same_bits(values_of(some), np.concatenate([view[3:9], view[11:15]]))


def test_no_rows_are_no_matrix():
    with pytest.raises(ValueError, match=r"^scores: expected at least one row and one class, got "):
        borrow_matrix("scores", np.zeros((3, 2))).select([(1, 1)])


# Copies


@pytest.mark.parametrize("dtype", DTYPES)
def test_copied_rows_keep_every_bit(device, dtype):
    values = np.random.default_rng(9).integers(0, 2, (30, 4)).astype(dtype)
    batch = borrow("batch", on_device(values[::3, ::-1], device))
    out = borrow("out", empty_like(batch, (10, 4), batch.dtype))
    copy_rows(batch, out)
    assert_same_bits(to_host(out).bits(), to_host(batch).bits())
    assert_same_bits(to_host(out).to_numpy(), np.ascontiguousarray(borrow("values", values).to_numpy()[::3, ::-1]))


def test_arrays_in_cpu_memory_are_not_copied_to_cpu_memory():
    array = borrow("a", np.zeros((3, 2)))
    assert to_host(array) is array


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_a_view_and_restore_the_array(dtype):
    values = np.arange(12).reshape(4, 3).astype(dtype)
    bits = borrow("a", values).bits()
    assert np.shares_memory(bits, values)
    assert bits.dtype == (np.uint16 if dtype is ml_dtypes.bfloat16 else dtype)
    again = of_bits(bits, np.dtype(dtype).name)
    assert (again.shape, again.strides, again.dtype) == (values.shape, values.strides, np.dtype(dtype).name)
    assert_same_bits(again.bits(), bits)
    room = empty_bits((4, 3), np.dtype(dtype).name)
    assert (room.shape, room.dtype) == (bits.shape, bits.dtype)


def test_bits_of_read_only_memory_cannot_be_written():
    values = np.arange(4.0)
    values.flags.writeable = False
    bits = borrow("a", values).bits()
    assert not bits.flags.writeable
    assert not of_bits(bits, "float64").writable
