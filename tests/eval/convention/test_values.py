"""Values of conventions against their definitions, written slowly: sorted columns, and loops over their rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltr_eval.convention.bins import equal_thresholds, keras_thresholds
from vltr_eval.convention.transforms import TRANSFORMS
from vltr_eval.convention.values import TIES, ClassValues

torch = pytest.importorskip("torch")

FORMATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def transformed(scores, name):
    """torch's own conversion and sigmoid."""
    tensor = torch.from_numpy(np.ascontiguousarray(scores))
    if name.startswith("sigmoid"):
        return tensor.to(FORMATS[name.partition("-")[2] or "float32"]).sigmoid().float().numpy()
    return tensor.to(FORMATS[name]).float().numpy()


def ranked(scores, labels, ties):
    """Labels in the order of the scores, and the groups that count as one point."""
    number = {"rows": 1, "reversed": -1}.get(ties, 0)
    second = {"worst": 1, "best": -1}.get(ties, 0)
    cells = [(-s, second * y, number * n, y) for n, (s, y) in enumerate(zip(scores, labels, strict=True))]
    cells.sort()
    if ties != "threshold":
        return [[y] for *_, y in cells]
    return [[y for s, *_, y in cells if s == score] for score in sorted({s for s, *_ in cells})]


def curve(scores, labels, ties="threshold"):
    """Recall and precision after each group of a class."""
    reached, hits, found = 0, 0, []
    for group in ranked(scores, labels, ties):
        reached, hits = reached + len(group), hits + sum(group)
        found.append((hits / sum(labels), hits / reached))
    return found


def step(scores, labels, ties="threshold"):
    before, area = 0.0, 0.0
    for recall, precision in curve(scores, labels, ties):
        before, area = recall, area + (recall - before) * precision
    return area


def envelope(scores, labels, ties="threshold"):
    points, before, area = curve(scores, labels, ties), 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        before, area = recall, area + (recall - before) * max(p for _, p in points[i:])
    return area


def interpolated(scores, labels, number, ties="threshold"):
    points = curve(scores, labels, ties)
    recalls = np.arange(0.0, 1.1, 0.1) if number == 11 else np.linspace(0, 1, 101)
    return np.mean([max((p for r, p in points if r >= recall), default=0.0) for recall in recalls])


def trapezoid(scores, labels):
    points = [(0.0, 1.0), *curve(scores, labels)]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))


def per_class(function, scores, labels, known, *arguments):
    found = []
    for c in range(scores.shape[1]):
        rows = known[:, c]
        column = scores[rows, c].tolist(), labels[rows, c].astype(int).tolist()
        found.append(function(*column, *arguments) if labels[rows, c].any() else np.nan)
    return found


@st.composite
def cases(draw, min_rows=1):
    shape = draw(st.integers(min_rows, 25)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.float16]))
    kind = draw(st.sampled_from(["logits", "probabilities", "levels"]))
    scores = {"logits": 12 * rng.normal(size=shape), "probabilities": rng.random(shape)}.get(kind)
    if scores is None:
        scores = rng.integers(0, 5, shape) / 4
    labels = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 0.9]))
    known = rng.random(shape) < 0.7 if draw(st.booleans()) else np.ones(shape, bool)
    return scores.astype(dtype), labels & known, known


def make(scores, labels, known):
    return ClassValues(scores, labels, mask=None if known.all() else known, threads=2)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def check_classes(values, scores, labels, known):
    for ties in TIES:
        close(values.step(ties), per_class(step, scores, labels, known, ties))
        close(values.envelope(ties), per_class(envelope, scores, labels, known, ties))
        close(values.interpolated(11, ties), per_class(interpolated, scores, labels, known, 11, ties))
    close(values.trapezoid(), per_class(trapezoid, scores, labels, known))
    assert np.array_equal(values.num_positives, labels.sum(axis=0))
    assert np.array_equal(values.num_negatives, (~labels & known).sum(axis=0))


@pytest.mark.any_device
@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_values_of_classes_are_their_definitions(case):
    check_classes(make(*case), *case)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(case=cases())
@settings(max_examples=12, deadline=None)
def test_values_after_a_transform_are_those_of_transformed_scores(name, case):
    scores, labels, known = case
    seen = TRANSFORMS[name](scores)
    values = make(*case).after(name)
    check_classes(values, seen, labels, known)
    plain = make(seen, labels, known)
    for bins in (100, 200):
        close(values.binned(bins), plain.binned(bins))
    close(values.davis_goadrich_binned(), plain.davis_goadrich_binned())
    close(values.davis_goadrich(), plain.davis_goadrich())
    close(values.padded(), plain.padded())
    for ties in TIES:
        assert values.micro(ties) == pytest.approx(plain.micro(ties), abs=1e-12, nan_ok=True)
        close(values.samples(ties), plain.samples(ties))
        close(values.top_n(2, ties), plain.top_n(2, ties))


@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_pooled_and_transposed_values_are_those_of_reshaped_scores(case):
    scores, labels, known = case
    values = make(*case)
    check_classes(values.pooled(), *(array.reshape(-1, 1) for array in case))
    check_classes(values.transposed(), *(array.T for array in case))
    for bins in (100, 200):
        close(values.pooled().binned(bins), make(*(array.reshape(-1, 1) for array in case)).binned(bins))
    assert values.micro() == pytest.approx(values.pooled().step().item(), nan_ok=True)
    close(values.samples("rows"), per_class(step, scores.T, labels.T, known.T, "rows"))


def chosen_cells(scores, labels, known, k, ties):
    """The k best known cells of each row."""
    kept = np.zeros(scores.shape, bool)
    for n, row in enumerate(scores.tolist()):
        classes = np.flatnonzero(known[n]).tolist()
        hits = labels[n].astype(int).tolist()
        second = {"reversed": [-c for c in classes], "worst": [hits[c] for c in classes]}
        second |= {"best": [-hits[c] for c in classes]}
        words = zip([-row[c] for c in classes], second.get(ties, classes), classes, strict=True)
        kept[n, [c for *_, c in sorted(words)[:k]]] = True
    return kept


@pytest.mark.parametrize("ties", TIES)
@given(case=cases(), k=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_values_of_the_best_cells_of_rows_are_their_definitions(ties, case, k):
    scores, labels, known = case
    values = make(*case)
    kept = chosen_cells(scores, labels, known, k, ties)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(per_class(step, scores, labels & kept, kept, ties)) * (labels & kept).sum(axis=0)
        close(values.top_n(k, ties), expected / labels.sum(axis=0))
    if labels.any():
        of_kept = scores[kept].tolist(), labels[kept].astype(int).tolist()
        found = step(*of_kept, ties) * sum(of_kept[1]) if sum(of_kept[1]) else 0.0
        assert values.gap(k, ties) == pytest.approx(found / labels.sum(), abs=1e-12)
    check_classes(values.top(k, ties), scores, labels & kept, kept)


@pytest.mark.any_device
@given(case=cases())
@settings(max_examples=40, deadline=None)
def test_padded_and_unlabelled_rows_are_added_and_moved(case):
    scores, labels, known = case
    values = make(*case)
    for score, positive in ((1.0, True), (0.0, False)):
        more = np.full((5, scores.shape[1]), score, scores.dtype)
        flags = np.full(more.shape, positive)
        padded = np.concatenate([scores, more]), np.concatenate([labels, flags]), np.concatenate([known, flags | True])
        close(values.padded(5, score, positive), per_class(step, *padded))
    last = scores.astype(np.float64)
    last[~labels.any(axis=1)] = -np.inf
    for ties in TIES:
        close(values.unlabelled_last(ties), per_class(step, last, labels, known, ties))


@pytest.mark.parametrize("bins", [2, 7, 100, 200, 333])
def test_equal_thresholds_are_those_of_torch(bins):
    found, expected = equal_thresholds(bins), torch.linspace(0, 1, bins).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-7)  # torch's last digit depends on the vectors of the CPU
    assert found[0] == 0
    assert found[-1] == 1


def test_inner_thresholds_of_keras_are_the_least_scores_of_their_bins():
    least = keras_thresholds(200)
    below = np.nextafter(least, np.float32(-1))
    number = np.arange(1, 199, dtype=np.float32)
    assert (np.ceil(least * np.float32(199)) - 1 >= number).all()
    assert (np.ceil(below * np.float32(199)) - 1 < number).all()


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bounds_of_transformed_values_are_neighbours_of_other_values(name, dtype):
    transform = TRANSFORMS[name]
    special = [0, -0.0, 1e38, -1e38, np.inf, -np.inf, 1e-45, -1e-45, 65504, 65520, -65520, 17, 16.6, 9, -9, -100, 100]
    scores = np.concatenate([5 * np.random.default_rng(8).normal(size=400), special]).astype(dtype)
    values, infinity = transform(scores), dtype(np.inf)
    least = transform.least(values, scores)
    assert (transform(least) >= values).all()
    assert ((transform(np.nextafter(least, -infinity)) < values) | (least == -infinity)).all()
    above, some = transform.above(values, scores)
    with np.errstate(over="ignore"):
        assert (transform(above)[some] > values[some]).all()
        assert (transform(np.nextafter(above, -infinity)) <= values)[some].all()
    assert (values[~some] == transform(np.array([infinity]))).all()


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name.startswith("sigmoid")])
def test_sigmoids_saturate_where_those_of_torch_do(name):
    scores = np.linspace(-30, 30, 4001).astype(np.float32)
    found, expected = TRANSFORMS[name](scores), transformed(scores, name)
    assert np.array_equal(found == 1, expected == 1)
    np.testing.assert_allclose(found, expected, rtol=5e-7 if name == "sigmoid" else 8e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_rounded_as_torch_rounds_them(name):
    bits = np.random.default_rng(10).integers(0, 2**32, 20_000, dtype=np.uint32)
    scores = bits.view(np.float32)
    scores = scores[~np.isnan(scores)]
    np.testing.assert_array_equal(TRANSFORMS[name](scores), transformed(scores, name))


def test_shards_and_other_dtypes_give_the_same_values():
    rng = np.random.default_rng(9)
    scores = rng.integers(0, 3, (200, 7))
    labels = rng.random(scores.shape) < 0.2
    expected = make(scores.astype(np.float64), labels, np.ones(scores.shape, bool))
    forms = {name: scores.astype(name) for name in ("int8", "uint8", "int32", "int64", "uint64")}
    forms["shards"] = [scores[:50].astype(np.float32), scores[50:].astype(np.float32)]
    forms["bfloat16"] = torch.from_numpy(scores).to(torch.bfloat16)
    for name, form in forms.items():
        found = ClassValues(form, labels)
        for method in (
            "step",
            "trapezoid",
            "samples",
            "micro",
            "binned",
            "padded",
            "davis_goadrich_binned",
            "top_n",
            "gap",
        ):
            np.testing.assert_array_equal(
                getattr(found, method)(), getattr(expected, method)(), err_msg=f"{name} {method}"
            )
        close(found.after("sigmoid").step(), expected.after("sigmoid").step())


def test_wrong_names_of_ties_and_transforms_are_refused():
    values = ClassValues(np.float32([[0.5], [0.25]]), np.uint8([[1], [0]]))
    with pytest.raises(ValueError, match="ties: expected one of threshold, rows"):
        values.step("stable")
    with pytest.raises(ValueError, match="transform: expected one of float32"):
        values.after("softmax")
    with pytest.raises(ValueError, match="points: expected 11 or 101, got 12"):
        values.interpolated(12)
    with pytest.raises(ValueError, match="k: expected at least 1, got 0"):
        values.top(0)
