"""The product of matrices in the core: exact where it can be, and bits that do not depend on threads or other rows."""

from __future__ import annotations

import numpy as np
import pytest

import vltr_eval
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow

SIMD_LEVELS = vltr_eval.build_info()["simd_available"]
# Rows, depth and columns: around the sizes of tiles, more than the 256 of a sum, the 2,048 at once, the 1,024 rows.
SHAPES = [(1, 1, 1), (2, 3, 5), (13, 256, 32), (27, 257, 33), (128, 40, 300), (30, 2100, 70), (1030, 20, 18), (0, 3, 4)]
# Several groups of columns, and rows that more threads than groups divide: above the cost that wakes the others.
SHAPES += [(65, 40, 700), (130, 300, 70)]


@pytest.fixture(params=SIMD_LEVELS)
def simd(request, monkeypatch) -> str:
    monkeypatch.setenv("VLTR_SIMD", request.param)
    return request.param


def multiply(a: np.ndarray, b: np.ndarray, *, threads: int = 2) -> np.ndarray:
    out = np.full((len(a), b.shape[1]), np.nan, np.float32)
    _core.multiply(*(borrow("array", array).core for array in (a, b, out)), threads)
    return out


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def whole(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Whole numbers, of which sums of products are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_of_whole_numbers_is_exact(simd, shape):
    rows, depth, cols = shape
    a, b = whole((rows, depth), 0), whole((depth, cols), 1)
    expected = a.astype(float) @ b.astype(float)
    for first in (a, a.T.copy().T, np.repeat(a, 2, 1)[:, ::2]):
        for second in (b, b.T.copy().T, np.repeat(b, 2, 0)[::2]):
            np.testing.assert_array_equal(multiply(first, second), expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_that_of_float64(simd, shape):
    rows, depth, cols = shape
    a, b = normal((rows, depth), 2), normal((depth, cols), 3)
    expected = a.astype(float) @ b.astype(float)
    most = np.abs(a).astype(float) @ np.abs(b).astype(float)  # each of at most depth roundings is of at most this size
    assert (np.abs(multiply(a, b) - expected) <= 2.0**-23 * min(depth, 300) * most).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_do_not_depend_on_threads_strides_or_other_rows_and_columns(simd, shape):
    rows, depth, cols = shape
    a, b = normal((rows, depth), 4), normal((depth, cols), 5)
    expected = multiply(a, b, threads=1)
    for threads in (2, 5):
        assert multiply(a, b, threads=threads).tobytes() == expected.tobytes()
    assert multiply(a.T.copy().T, b.T.copy().T).tobytes() == expected.tobytes()
    part = multiply(a[rows // 3 :], b[:, cols // 2 :].copy())
    assert part.tobytes() == expected[rows // 3 :, cols // 2 :].tobytes()
    assert multiply(b.T, a.T).T.tobytes() == expected.tobytes()


@pytest.mark.skipif("avx512" not in SIMD_LEVELS, reason="needs AVX-512")
def test_bits_of_avx2_are_those_of_avx512(monkeypatch):
    a, b = normal((50, 700), 6), normal((700, 90), 7)
    found = []
    for level in ("avx2", "avx512"):
        monkeypatch.setenv("VLTR_SIMD", level)
        found.append(multiply(a, b).tobytes())
    assert found[0] == found[1]


def test_numbers_that_are_not_finite_stay_in_their_row_and_column(simd):
    a, b = normal((20, 40), 8), normal((40, 50), 9)
    expected = multiply(a, b)
    a[3, 5], b[7, 11], b[2, 13] = np.nan, np.inf, np.nan
    found = multiply(a, b)
    assert np.isnan(found[3]).all()
    assert np.isinf(np.delete(found[:, 11], 3)).all()
    assert np.isnan(found[:, 13]).all()
    clean = np.delete(np.delete(found, 3, 0), [11, 13], 1)
    assert clean.tobytes() == np.delete(np.delete(expected, 3, 0), [11, 13], 1).tobytes()


def test_a_product_without_depth_is_zero(simd):
    assert (multiply(np.zeros((3, 0), np.float32), np.zeros((0, 4), np.float32)) == 0).all()


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), "b: expected as many rows as a has columns"),
        (np.zeros((2, 3)), np.zeros((3, 2), np.float32), "expected matrices of float32"),
        (np.zeros(3, np.float32), np.zeros((3, 2), np.float32), "expected matrices of float32"),
    ],
)
def test_other_arrays_are_refused(a, b, message):
    out = np.zeros((2, b.shape[1]), np.float32)
    with pytest.raises(ValueError, match=message):
        _core.multiply(*(borrow("array", array).core for array in (a, b, out)), 1)


def test_elements_that_are_not_aligned_are_refused():
    a = np.zeros(4 * 6 + 2, np.uint8)[2:].view(np.float32).reshape(2, 3)
    with pytest.raises(ValueError, match="tensors: expected elements at multiples of their size"):
        multiply(a, np.zeros((3, 4), np.float32))


def test_an_output_of_another_shape_or_order_is_refused():
    a, b = np.zeros((2, 3), np.float32), np.zeros((3, 4), np.float32)
    for out in (np.zeros((4, 2), np.float32), np.zeros((4, 2), np.float32).T):
        with pytest.raises(ValueError, match=r"out: expected"):
            _core.multiply(*(borrow("array", array).core for array in (a, b, out)), 1)
