"""Calibration of probabilities: bins, ECE and Brier score, in exact integer sums."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from devices import on_device
from hypothesis import given
from hypothesis import strategies as st

import vltr_eval
from vltr_eval import Report, calibration, evaluate
from vltr_eval._base import _core
from vltr_eval._engine import calibration as sums
from vltr_eval._engine.calibration import Calibration

DTYPES = ["float16", "float32", "float64"]
ROUNDING = 2.0**-39  # the bound of docs/thresholds.md on the error of ECE and Brier score


def made(num_rows=200, num_classes=5, seed=0, dtype=np.float32):
    """Return probabilities and labels; some are 0, 1, or on the edge of a bin."""
    rng = np.random.default_rng(seed)
    labels = rng.random((num_rows, num_classes)) < np.geomspace(0.4, 0.01, num_classes)
    scores = 1 / (1 + np.exp(-(2 * labels + rng.normal(size=labels.shape))))
    special = rng.random(labels.shape)
    scores[special < 0.1] = 0
    scores[special > 0.9] = 1
    edges = (special > 0.4) & (special < 0.5)
    scores[edges] = rng.integers(0, 11, np.count_nonzero(edges)) / 10
    return scores.astype(dtype), labels


def textbook_bin(score: float, bins: int) -> int:
    """The bin k with k / bins < score <= (k + 1) / bins, in fractions; 0 is in the first."""
    return max(0, math.ceil(Fraction(score) * bins) - 1)


def textbook(scores, labels, bins):
    """ECE, Brier score, and counts, means and frequencies of the bins of some cells, by the definitions."""
    cells = [(Fraction(float(p)), int(y)) for p, y in zip(scores.ravel(), labels.ravel(), strict=True)]
    members = [[cell for cell in cells if textbook_bin(cell[0], bins) == k] for k in range(bins)]
    mean = [sum(p for p, _ in cell) / len(cell) if cell else None for cell in members]
    frequency = [Fraction(sum(y for _, y in cell), len(cell)) if cell else None for cell in members]
    ece = sum(
        Fraction(len(cell), len(cells)) * abs(share - confidence)
        for cell, confidence, share in zip(members, mean, frequency, strict=True)
        if cell
    )
    brier = sum((p - y) ** 2 for p, y in cells) / len(cells)
    return {
        "ECE": float(ece),
        "Brier": float(brier),
        "count": list(map(len, members)),
        "mean_score": [math.nan if value is None else float(value) for value in mean],
        "frequency": [math.nan if value is None else float(value) for value in frequency],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Values
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_are_those_of_the_definitions(simd, dtype, bins):
    scores, labels = made(dtype=dtype)
    if dtype == "float64":  # products with the number of bins are rounded, so the edges are decided by doubles
        scores = np.where(np.isin(scores * bins, np.arange(bins + 1)), 0.5, scores)
    found = calibration(scores, labels, bins=bins)
    for c in range(5):
        expected = textbook(scores[:, c], labels[:, c], bins)
        assert found.count[c].tolist() == expected["count"]
        assert found.ece[c] == pytest.approx(expected["ECE"], abs=ROUNDING, rel=0)
        assert found.brier[c] == pytest.approx(expected["Brier"], abs=ROUNDING, rel=0)
        np.testing.assert_allclose(found.mean_score[c], expected["mean_score"], rtol=0, atol=ROUNDING)
        np.testing.assert_array_equal(found.frequency[c], expected["frequency"])


@given(st.floats(0, 1), st.integers(1, 1000))
def test_the_bin_of_a_double_is_that_of_its_product(score, bins):
    (count,) = calibration(np.array([[score]]), np.array([[1]]), bins=bins).count
    assert np.flatnonzero(count).tolist() == [max(0, math.ceil(score * bins) - 1)]


@given(st.floats(0, 1, width=32), st.integers(1, 1000))
def test_the_bin_of_a_float32_is_exact(score, bins):
    (count,) = calibration(np.array([[score]], np.float32), np.array([[1]]), bins=bins).count
    assert np.flatnonzero(count).tolist() == [textbook_bin(score, bins)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int32", "int64", "uint64"])
def test_integers_0_and_1_are_probabilities(dtype):
    scores, labels = np.array([[0, 1], [1, 1], [0, 0]], dtype), np.array([[0, 1], [1, 0], [1, 0]])
    found = calibration(scores, labels, bins=4)
    assert found.count.tolist() == [[2, 0, 0, 1], [1, 0, 0, 2]]
    assert found.brier.tolist() == [1 / 3, 1 / 3]
    assert found.ece.tolist() == [1 / 3, 1 / 3]


def test_bfloat16_is_exact():
    torch = pytest.importorskip("torch")
    scores, labels = made()
    rounded = torch.from_numpy(scores).to(torch.bfloat16)
    expected = calibration(rounded.float().numpy(), labels)
    assert calibration(rounded, labels).sums.tolist() == expected.sums.tolist()


def test_brier_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    scores, labels = made(dtype=np.float64)
    expected = [metrics.brier_score_loss(labels[:, c], scores[:, c]) for c in range(5)]
    np.testing.assert_allclose(calibration(scores, labels).brier, expected, rtol=0, atol=1e-12)


def test_errors_are_those_of_torchmetrics_away_from_the_edges():
    """torchmetrics has the lower edge in the bin, and 1 in a bin of its own."""
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.functional.classification")
    rng = np.random.default_rng(0)
    labels = rng.random((500, 4)) < 0.2
    scores = rng.integers(1, 2**20, labels.shape) / 2**20  # no multiple of 1/15, nor 0 or 1
    found = calibration(scores, labels, bins=15).ece
    for c in range(4):
        preds = torch.from_numpy(np.ascontiguousarray(scores[:, c]))
        target = torch.from_numpy(labels[:, c].astype(np.int64))
        expected = classification.binary_calibration_error(preds, target, n_bins=15)
        assert found[c] == pytest.approx(float(expected), abs=1e-12, rel=0)


def test_calibrated_and_opposite_scores_have_the_extreme_errors():
    labels = np.arange(10)[:, None] % 2
    assert calibration(labels, labels).ece.tolist() == calibration(labels, labels).brier.tolist() == [0.0]
    assert calibration(1 - labels, labels).ece.tolist() == calibration(1 - labels, labels).brier.tolist() == [1.0]


# ---------------------------------------------------------------------------------------------------------------------
# Sums
# ---------------------------------------------------------------------------------------------------------------------


def test_order_threads_layout_and_shards_change_no_bit(simd, monkeypatch):
    scores, labels = made(num_rows=3000, num_classes=150)
    expected = calibration(scores, labels, threads=1).sums
    order = np.random.default_rng(0).permutation(3000)
    others = [
        calibration(scores, labels, threads=3),
        calibration(scores[order], labels[order]),
        calibration(np.asfortranarray(scores), labels),
        calibration(np.repeat(scores, 2, axis=1)[:, ::2], labels),
        calibration([scores[:1], scores[1:1700], np.asfortranarray(scores[1700:])], labels),
    ]
    for found in others:
        np.testing.assert_array_equal(found.sums, expected)
    parts = [calibration(scores[part], labels[part]).sums for part in (slice(0, 999), slice(999, None))]
    np.testing.assert_array_equal(Calibration(15, 3000, sum(parts)).sums, expected)
    monkeypatch.setenv("VLTR_SIMD", "generic")
    np.testing.assert_array_equal(calibration(scores, labels).sums, expected)


def test_many_rows_are_computed_with_integers_of_any_size(monkeypatch):
    scores, labels = made()
    found = calibration(scores, labels)
    expected = [found.ece.tolist(), found.brier.tolist(), found.mean_score.tolist(), found.of_classes(np.arange(5))]
    monkeypatch.setattr(sums, "_MOST_ROWS", 0)
    again = [found.ece.tolist(), found.brier.tolist(), found.mean_score.tolist(), found.of_classes(np.arange(5))]
    assert repr(again) == repr(expected)


def test_sums_above_2_to_the_63_are_exact():
    """The sums of 2^32 - 1 rows of score 1, half of them positive, which no test holds in memory."""
    rows, half = 2**32 - 1, 2**31
    high, low = divmod(rows << 40, 2**32)
    positive_high, positive_low = divmod(half << 40, 2**32)
    found = Calibration(1, rows, np.array([[rows, high, low, half, high, low, positive_high, positive_low]], np.int64))
    assert found.ece.tolist() == found.brier.tolist() == [(rows - half) / rows]
    assert found.mean_score.tolist() == [[1.0]]
    assert found.of_classes(np.array([0])).values["ECE"] == (rows - half) / rows


def test_a_device_gives_the_bits_of_the_cpu(device, monkeypatch):
    scores, labels = made(num_rows=500)
    expected = calibration(scores, labels).sums
    monkeypatch.setattr(sums, "_COPY_BYTES", 1000)
    np.testing.assert_array_equal(calibration(on_device(scores, device), on_device(labels, device)).sums, expected)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype", "shown"),
    [
        (1.5, "float32", "1.5"),
        (-0.25, "float16", "-0.25"),
        (np.nextafter(1, 2), "float64", "1.0000000000000002"),
        (-5e-324, "float64", "-5e-324"),
        (math.inf, "float32", "inf"),
        (-math.inf, "float64", "-inf"),
        (2, "int64", "2"),
        (255, "uint8", "255"),
        (2**64 - 1, "uint64", "18446744073709551615"),
        (-1, "int8", "-1"),
    ],
)
def test_a_score_outside_is_refused_with_its_place(simd, value, dtype, shown):
    scores = np.zeros((2500, 200), dtype)
    scores[2400, 3] = scores[2300, 150] = scores[2300, 199] = value
    message = rf"^scores: expected probabilities .* got {shown} at row 2300, class 150; nothing is guessed"
    for matrix in (scores, [scores[:1200], np.asfortranarray(scores[1200:])]):
        with pytest.raises(ValueError, match=message):
            calibration(matrix, np.zeros((2500, 200), np.uint8))


def test_minus_zero_is_a_probability():
    assert calibration(np.float32([[-0.0]]), np.uint8([[0]]), bins=2).count.tolist() == [[1, 0]]


def test_a_nan_is_named():
    scores, labels = made()
    scores[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 7, class 2$"):
        calibration(scores, labels)


@pytest.mark.parametrize("bins", [0, 1001, -1, 2.5, "15", True])
def test_a_number_of_bins_out_of_range_is_refused(bins):
    with pytest.raises(ValueError, match=r"^bins: expected a number of bins from 1 to 1000, got"):
        calibration(*made(), bins=bins)
    with pytest.raises(ValueError, match=r"^calibration: expected a number of bins from 1 to 1000, got"):
        evaluate(*made(), calibration=bins)


def test_the_core_refuses_arguments_that_would_leave_its_memory():
    scores, labels = made()
    positives = vltr_eval.Positives.from_labels(labels)
    matrix = vltr_eval._base.arrays.borrow_matrix("scores", scores).core
    for bins in (0, 1001):
        with pytest.raises(ValueError, match=r"^bins: "):
            _core.calibration_sums(matrix, positives.indptr, positives.rows, bins, 1, None)
    with pytest.raises(ValueError, match=r"positives"):
        _core.calibration_sums(matrix, positives.indptr, positives.rows + np.uint32(200), 5, 1, None)


def test_batches_name_the_row_of_all_rows():
    scores, labels = made()
    scores[150, 1] = 2
    batches = [(scores[part], labels[part]) for part in (slice(0, 100), slice(100, None))]
    with pytest.raises(ValueError, match=r"got 2.0 at row 150, class 1; nothing is guessed"):
        vltr_eval.evaluate_batches(batches, 5, calibration=10)


# ---------------------------------------------------------------------------------------------------------------------
# The report
# ---------------------------------------------------------------------------------------------------------------------

COUNTS = [900, 300, 300, 50, 20]
GROUPS = {"overall": [0, 1, 2, 3, 4], "head": [0], "medium": [1, 2], "tail": [3, 4]}


def test_groups_have_the_values_of_their_cells():
    scores, labels = made()
    report = evaluate(scores, labels, calibration=10, train_counts=COUNTS)
    document = json.loads(report.to_json())["calibration"]
    assert (document["bins"], list(document["groups"])) == (10, list(GROUPS))
    own = calibration(scores, labels, bins=10)
    for name, classes in GROUPS.items():
        found, expected = document["groups"][name], textbook(scores[:, classes], labels[:, classes], 10)
        assert found["count"] == expected["count"]
        for key in ("ECE", "Brier"):
            assert found[key] == pytest.approx(expected[key], abs=ROUNDING, rel=0)
        for key in ("mean_score", "frequency"):
            column = [math.nan if value is None else value for value in found[key]]
            np.testing.assert_allclose(column, expected[key], rtol=0, atol=ROUNDING)
        assert found["classwise_ECE"] == math.fsum(own.ece[classes]) / len(classes)
        suffix = "" if name == "overall" else f"_{name}"
        assert all(report.metrics()[f"{key}{suffix}"] == found[key] for key in ("ECE", "classwise_ECE", "Brier"))
    assert report.classes["ECE"] == tuple(own.ece.tolist())
    assert report.classes["Brier"] == tuple(own.brier.tolist())


def test_an_empty_group_is_undefined_and_its_bins_are_empty():
    report = evaluate(*made(), calibration=3, train_counts=[900] * 5)
    assert math.isnan(report.metrics()["ECE_tail"])
    assert report.calibration.groups["tail"].count == (0, 0, 0)
    assert Report.from_json(report.to_json()) == report


def test_a_report_survives_json():
    report = evaluate(*made(), calibration=15, train_counts=COUNTS)
    again = Report.from_json(report.to_json())
    assert again == report
    assert again.to_text(per_class=True) == report.to_text(per_class=True)
    assert "calibration in 15 bins of equal width\n" in report.to_text()
    assert "|calibration:15|" in report.signature


@pytest.mark.parametrize(
    ("name", "value"), [("bins", 4), ("groups", {}), ("groups", {"overall": {"count": [0] * 15}}), ("bins", None)]
)
def test_a_damaged_section_is_refused(name, value):
    document = json.loads(evaluate(*made(), calibration=15).to_json())
    document["calibration"][name] = value
    with pytest.raises(ValueError, match=r"^report: "):
        Report.from_json(json.dumps(document))


@pytest.mark.parametrize("bins", [14, 0, "15"])
def test_settings_with_other_bins_are_refused(bins):
    document = json.loads(evaluate(*made(), calibration=15).to_json())
    document["settings"]["calibration"] = bins
    with pytest.raises(ValueError, match=r"^report: .* bins"):
        Report.from_json(json.dumps(document))


def test_progress_rises_to_one():
    seen = []
    calibration(*made(num_rows=5000, num_classes=300), progress=seen.append)
    evaluated = []
    evaluate(*made(), calibration=5, progress=evaluated.append)
    for fractions in (seen, evaluated):
        assert fractions == sorted(fractions)
    assert evaluated[-1] == 1.0
