"""The mAP of ASL and the envelope mAP of Query2Label and SSGRL: recorded outputs, definitions in loops, and quirks.

Recorded with the files named in the module, on numpy 2.4.6 without its SIMD sort, which is stable for up to 16 rows.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import asl as published
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval import tie_interval
from vltr_eval.compat.asl import average_precision, mAP, voc12_mAP, voc_mAP

# float32 sigmoids of C; 27 of them are exactly 1
SIGMOID = (1 / (1 + np.exp(-C.astype(np.float32)))).astype(np.float32)
INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "B3": (B[:, :3], LABELS_B[:, :3]),
    "C": (C, LABELS_C),
    "C(s)": (SIGMOID, LABELS_C),
}
PERCENT = {
    "A": 82.65963184874022,
    "B": 61.07147998537745,
    "B3": 81.42863998050328,
    "C": 62.95965594378087,
    "C(s)": 58.14219564082486,
}
ONE_CLASS = {
    "A": [0.6988095228112243, 0.7999999984, 0.8909090891272726, 0.9166666636111112],
    "B": [0.7586167789616131, 0.8409090888068183, 0.8433333316466667, 0.0],
    "C": [0.46957671879409174, 0.62202380796875, 0.5392857132071428, 0.88749999778125],
}
ENVELOPE = {
    "A": 82.95725108225108,
    "B": np.nan,
    "B3": 79.3344155844156,
    "C": 70.75892857142857,
    "C(s)": 78.7797619047619,
}
WITH_SIMD = {"B": 60.17862284379583, "B3": 80.23816379172777, "C(s)": 62.031084520628085}


def written(path, scores, labels):
    np.savetxt(path, np.hstack([scores, labels]))
    return str(path)


# Recorded


@pytest.mark.parametrize("name", PERCENT)
def test_percents_are_the_recorded_ones(name):
    scores, labels = INPUTS[name]
    result = mAP(labels, scores)
    assert type(result) is np.float64
    assert result == pytest.approx(PERCENT[name], rel=1e-15)


@pytest.mark.parametrize("name", ONE_CLASS)
def test_classes_are_the_recorded_ones(name):
    scores, labels = INPUTS[name]
    results = [average_precision(scores[:, c], labels[:, c]) for c in range(4)]
    assert {type(result) for result in results} == {np.float64}
    np.testing.assert_allclose(results, ONE_CLASS[name], rtol=1e-15)


@pytest.mark.parametrize("name", WITH_SIMD)
def test_other_sorts_lie_in_the_same_tie_interval(name):
    """The same files print these numbers with numpy's AVX-512 sort."""
    scores, labels = INPUTS[name]
    low, high = (100 * np.nan_to_num(end).mean() for end in tie_interval(scores, labels))
    for value in (WITH_SIMD[name], mAP(labels, scores)):
        assert low - 1e-5 <= value <= high


@pytest.mark.parametrize("name", ENVELOPE)
def test_envelopes_are_the_recorded_ones(name, tmp_path):
    scores, labels = INPUTS[name]
    path = written(tmp_path / "scores.txt", scores, labels)
    mean, each = voc_mAP(path, scores.shape[1], return_each=True)
    assert mean == pytest.approx(ENVELOPE[name], rel=1e-15, nan_ok=True)
    assert type(voc_mAP(path, scores.shape[1])) is type(voc12_mAP(path, scores.shape[1])) is np.float64
    assert voc12_mAP(path, scores.shape[1]) == pytest.approx(ENVELOPE[name] / 100, rel=1e-15, nan_ok=True)
    assert each.shape == (scores.shape[1],)
    assert np.isnan(each).tolist() == [name == "B" and c == 3 for c in range(scores.shape[1])]


# Against the definition


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 50)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64, np.int16]))
    levels, prevalence = draw(st.sampled_from([1, 3, 2000])), draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    labels = (rng.random(shape) < prevalence).astype(draw(st.sampled_from([np.bool_, np.uint8, np.float32])))
    return rng.integers(-levels, levels, shape).astype(dtype), labels


@given(cases())
def test_means_are_those_of_the_definition(case):
    scores, labels = case
    assert mAP(labels, scores) == pytest.approx(published.mAP(labels, scores), rel=1e-13)


@given(case=cases())
def test_envelopes_are_those_of_the_definition(tmp_path_factory, case):
    scores, labels = case
    path = written(tmp_path_factory.mktemp("envelope") / "scores.txt", scores, labels)
    expected = published.voc_mAP(path, scores.shape[1])
    assert voc_mAP(path, scores.shape[1]) == pytest.approx(expected, rel=1e-13, nan_ok=True)


# Conventions


def test_files_are_read_one_after_another(tmp_path):
    """Query2Label gives one file of each process."""
    whole = written(tmp_path / "all.txt", A, LABELS_A)
    halves = [written(tmp_path / f"{n}.txt", A[n::2], LABELS_A[n::2]) for n in range(2)]
    assert voc_mAP(halves, 4) == voc_mAP([whole], 4) == voc_mAP(tmp_path / "all.txt", 4)


def test_print_options_stay_those_of_the_caller(tmp_path):
    """The originals set them for the rest of the process, which a library must not do."""
    path = written(tmp_path / "scores.txt", A, LABELS_A)
    with np.printoptions(precision=5, suppress=False):
        before = np.get_printoptions()
        for call in (voc_mAP, voc12_mAP):
            call(path, 4)
            assert np.get_printoptions() == before


def test_targets_are_positive_if_they_are_one():
    targets = np.where(LABELS_A == 1, 1, -1)
    targets[0, 1] = 2
    assert mAP(targets, A) == pytest.approx(PERCENT["A"], rel=1e-15)


def test_further_targets_are_ignored_as_published():
    assert mAP(np.pad(LABELS_A, (0, 2)), A) == pytest.approx(PERCENT["A"], rel=1e-15)


def test_nothing_has_the_value_zero():
    for shape in ((0, 3), (3, 0), (0, 0)):
        result = mAP(np.zeros(shape), np.zeros(shape))
        assert type(result) is int
        assert result == 0


# Errors


def test_missing_rows_are_index_errors():
    with pytest.raises(IndexError, match="output: expected at least one row"):
        average_precision(np.zeros(0), np.zeros(0))
    for part in (np.s_[:9], np.s_[:, :3]):
        with pytest.raises(IndexError, match=r"targets: expected at least the shape of the scores \(12, 4\)"):
            mAP(LABELS_A[part], A)


def test_nan_scores_are_errors_that_name_them(tmp_path):
    scores = A.copy()
    scores[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        mAP(LABELS_A, scores)
    with pytest.raises(ValueError, match="NaN at row 3, class 1"):
        voc_mAP(written(tmp_path / "scores.txt", scores, LABELS_A), 4)


def test_lines_that_do_not_fit_are_errors(tmp_path):
    (tmp_path / "scores.txt").write_text("0.5 1\n0.5\n")
    with pytest.raises(ValueError, match="number of columns"):
        voc_mAP(str(tmp_path / "scores.txt"), 1)


def test_masked_cells_are_errors_not_numbers():
    cells = np.zeros(A.shape, bool)
    cells[3, 1] = True
    for scores, labels in ((np.ma.array(A, mask=cells), LABELS_A), (A, np.ma.array(LABELS_A, mask=cells))):
        with pytest.raises(ValueError, match="expected a number in every cell"):
            mAP(labels, scores)
