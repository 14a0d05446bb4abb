"""The details of classes against their definitions, written with loops and sorts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vltr_eval
from vltr_eval import class_details
from vltr_eval._base.arrays import Device, borrow_matrix
from vltr_eval._engine.class_details import BINS, require_cpu

DTYPES = (
    "float32",
    "float64",
    "float16",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
)


def slow_bin(score, low, high):
    """The bin of one score: doubles for floats, the exact difference for integers."""
    if isinstance(score, int):
        place = float(score - low) * (BINS / float(high - low) if high > low else 1.0)
    else:
        unit = 1.0
        if high > low:
            if math.isinf(high - low):
                unit = 0.25
            elif high - low < 1e-300:
                unit = 2.0**600
        scale = BINS / (high * unit - low * unit) if high > low else 1.0
        place = (score * unit - low * unit) * scale
    return min(max(place, 0.0), BINS - 1.0).__floor__()


def slow_details(scores, labels, limit):
    """One class: range, histograms and lists from the definitions."""
    values = [value.item() for value in scores]
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0, 0)
    counts = {True: [0] * BINS, False: [0] * BINS}
    for value, label in zip(values, labels, strict=True):
        counts[bool(label)][slow_bin(value, low, high)] += 1
    missed = sorted((value, row) for row, value in enumerate(values) if labels[row])
    wrong = sorted((-value, row) for row, value in enumerate(values) if not labels[row])
    pad = [-1] * limit
    return (
        low,
        high,
        counts[True],
        counts[False],
        ([row for _, row in missed] + pad)[:limit],
        ([row for _, row in wrong] + pad)[:limit],
    )


def assert_as_defined(scores, labels, limit=5, **options):
    details = class_details(scores, labels, limit=limit, **options)
    histograms, mistakes = details.histograms, details.mistakes
    for c in range(scores.shape[1]):
        column = scores[:, c] if scores.dtype != bool else scores[:, c].astype(np.uint8)
        column = column.astype(np.float64) if scores.dtype.kind == "f" or scores.dtype.itemsize < 8 else column
        low, high, positives, negatives, missed, wrong = slow_details(column, labels[:, c], limit)
        assert (histograms.low[c], histograms.high[c]) == (low, high)
        assert histograms.positives[c].tolist() == positives
        assert histograms.negatives[c].tolist() == negatives
        assert mistakes.missed_rows[c].tolist() == missed
        assert mistakes.false_rows[c].tolist() == wrong
        for rows, found in ((missed, mistakes.missed_scores[c]), (wrong, mistakes.false_scores[c])):
            expected = [column[row].item() if row >= 0 else 0 for row in rows]
            assert found.tolist() == expected
    return details


def values_of(dtype, rng, shape):
    if dtype == "bool":
        return rng.random(shape) < 0.3
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        drawn = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        return np.where(rng.random(shape) < 0.2, rng.choice(np.array([info.min, info.max, 1], dtype), shape), drawn)
    drawn = rng.normal(size=shape).round(1)
    special = np.array([np.inf, -np.inf, -0.0, 0.0, np.finfo(dtype).max, np.finfo(dtype).min, 5e-324])
    return np.where(rng.random(shape) < 0.1, rng.choice(special, shape), drawn).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_details_are_those_of_the_definitions(dtype):
    rng = np.random.default_rng(DTYPES.index(dtype))
    for rows, classes in ((1, 1), (7, 3), (2500, 5), (300, 70)):
        scores = values_of(dtype, rng, (rows, classes))
        labels = rng.random((rows, classes)) < rng.choice([0.02, 0.5, 1.0])
        assert_as_defined(scores, labels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 7),
)
def test_details_of_any_doubles(rows, limit):
    scores = np.array([[score] for score, _ in rows])
    labels = np.array([[label] for _, label in rows])
    assert_as_defined(scores, labels, limit)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.booleans()), min_size=1, max_size=30))
def test_details_of_any_integers(rows):
    scores = np.array([[score] for score, _ in rows], np.int64)
    assert_as_defined(scores, np.array([[label] for _, label in rows]))


def arrays_of(details):
    histograms, mistakes = details.histograms, details.mistakes
    return [
        *(histograms.low, histograms.high, histograms.positives, histograms.negatives),
        *(mistakes.missed_rows, mistakes.missed_scores, mistakes.false_rows, mistakes.false_scores),
        *(details.curves.indptr, details.curves.thresholds, details.curves.tp, details.curves.fp),
    ]


def same_bits(one, two):
    for a, b in zip(arrays_of(one), arrays_of(two), strict=True):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("simd", ["generic", "avx2", "avx512"])
def test_threads_shards_layouts_and_instruction_sets_change_no_bit(monkeypatch, simd):
    rng = np.random.default_rng(1)
    scores = values_of("float32", rng, (5000, 131))
    labels = rng.random((5000, 131)) < 0.05
    expected = class_details(scores, labels, threads=1)
    if simd not in vltr_eval.build_info()["simd_available"]:
        pytest.skip(f"no {simd}")
    monkeypatch.setenv("VLTR_SIMD", simd)
    wide = np.zeros((5000, 300), np.float32)
    wide[:, ::2][:, :131] = scores
    for form in (
        scores,
        np.asfortranarray(scores),
        wide[:, ::2][:, :131],
        scores[::-1].copy()[::-1],
        [scores[:1], scores[1:1500], scores[1500:]],
    ):
        for threads in (1, 2, 5):
            same_bits(class_details(form, labels, threads=threads), expected)


def test_wider_types_of_the_same_values_have_the_same_details():
    rng = np.random.default_rng(2)
    scores = values_of("float16", rng, (3000, 9))
    labels = rng.random((3000, 9)) < 0.1
    narrow = class_details(scores, labels)
    for dtype in ("float32", "float64"):
        wide = class_details(scores.astype(dtype), labels)
        for a, b in zip(arrays_of(narrow), arrays_of(wide), strict=True):
            assert np.array_equal(a, b)


def test_more_classes_than_one_item_has():
    rng = np.random.default_rng(3)
    scores = rng.random((40, 2100)).astype(np.float32)
    labels = rng.random((40, 2100)) < 0.1
    details = class_details(scores, labels)
    part = class_details(scores[:, 1000:1100].copy(), labels[:, 1000:1100])
    for whole, own in zip(arrays_of(details)[:8], arrays_of(part)[:8], strict=True):
        assert np.array_equal(whole[1000:1100], own)


def test_all_scores_the_same():
    details = assert_as_defined(np.full((3000, 2), 0.5, np.float32), np.arange(6000).reshape(3000, 2) % 7 == 0)
    assert details.histograms.positives[0, 0] > 0


def test_nan_is_refused_with_its_place():
    scores = np.zeros((3000, 4), np.float32)
    scores[2000, 1] = scores[2500, 0] = np.nan
    with pytest.raises(ValueError, match="scores: expected numbers, got NaN at row 2000, class 1"):
        class_details(scores, np.zeros((3000, 4), bool))


def test_ids_name_the_rows_of_mistakes():
    scores = np.float32([[0.9], [0.8], [0.7], [0.1]])
    labels = np.uint8([[1], [0], [1], [0]])  # their rows are a, b, c, d
    given = {"ids": ["d", "c", "b", "a"], "label_ids": ["a", "b", "c", "d"], "limit": 1}
    details = class_details(scores, labels, **given)
    names = {"missed": details.mistakes.missed_rows, "false": details.mistakes.false_rows}
    assert {kind: details.ids[rows[0, 0]] for kind, rows in names.items()} == {"missed": "a", "false": "d"}
    assert set(details.ids.values()) == {"a", "d"}
    assert class_details(scores, labels).ids is None
    assert class_details(scores, labels, **given, join="position").ids is None


@pytest.mark.parametrize("limit", [0, -1, 1001, 2.0, True])
def test_a_limit_is_a_number_of_rows(limit):
    with pytest.raises(ValueError, match="limit: expected a number of rows from 1 to 1000"):
        class_details(np.zeros((2, 1), np.float32), np.eye(2, 1), limit=limit)


def test_scores_on_a_device_are_refused_with_the_remedy():
    scores = borrow_matrix("scores", np.zeros((2, 1), np.float32))
    on_device = scores._of(**{**scores.__dict__, "device": Device(0)})
    with pytest.raises(ValueError, match=r"^scores: expected scores in CPU memory .* on cuda:0; pass scores\.cpu\(\)"):
        require_cpu(on_device)


def test_progress_rises_to_one_and_an_exception_stops():
    scores = np.random.default_rng(4).random((3_000, 30)).astype(np.float32)
    labels = scores > 0.99
    seen = []
    class_details(scores, labels, progress=seen.append)
    assert seen == sorted(seen)
    assert all(0 <= fraction <= 1 for fraction in seen)
    assert seen[-1] == 1.0

    def stop(fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        class_details(scores, labels, progress=stop)
