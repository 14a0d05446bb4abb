"""The demo set has the shape and class profile of VideoLT, and the planted skill raises the average precision."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from vltr_eval._base.files import OutputError
from vltr_eval.formats import read_class_names, read_labels, read_scores, read_train_counts
from vltr_eval.program.demo import QUALITIES, make_demo, planted_scores, write_demo


def textbook_ap(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean precision at the positives, from one sort; the scores must be distinct."""
    relevant = scores >= scores[labels].min()
    hits = labels[relevant][np.argsort(-scores[relevant])]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def group_means(demo) -> list[float]:
    """Return the mAP of the head, medium and tail classes."""
    by_class = zip(np.ascontiguousarray(demo.scores.T), np.ascontiguousarray(demo.labels.T), strict=True)
    ap = np.array([textbook_ap(scores, labels) for scores, labels in by_class])
    n = demo.train_counts
    return [float(ap[group].mean()) for group in (n > 500, (n > 100) & (n <= 500), n <= 100)]


@pytest.fixture(scope="module")
def full():
    return make_demo()


def test_full_size_has_the_profile_of_videolt(full):
    assert full.scores.shape == full.labels.shape == (51_239, 1_004)
    assert full.scores.dtype == np.float32
    assert full.labels.dtype == bool
    assert np.bincount(full.labels.sum(1)).tolist() == [0, 46_973, 3_697, 481, 80, 8]
    per_class = full.labels.sum(0)
    assert (per_class.min(), per_class.max(), per_class.sum()) == (7, 517, 56_170)

    n = full.train_counts
    assert (n.min(), n.max(), n.sum()) == (44, 1_912, 196_798)
    assert [(n > 500).sum(), ((n > 100) & (n <= 500)).sum(), (n <= 100).sum()] == [47, 617, 340]
    assert len(set(full.class_names)) == 1_004


def test_full_size_scores_are_those_of_a_good_model(full):
    head, medium, tail = group_means(full)
    assert head > medium > tail
    assert (47 * head + 617 * medium + 340 * tail) / 1_004 == pytest.approx(0.50, abs=0.01)
    assert full.scores.min() > 0
    assert full.scores.max() < 1
    column = full.scores[:, 0]
    assert len(np.unique(column)) > 0.97 * len(column), "a sigmoid that ties"


def test_full_size_scores_of_a_poor_model_let_most_negatives_survive():
    demo = make_demo(quality="poor")
    head, medium, tail = group_means(demo)
    assert head > medium > tail
    assert (47 * head + 617 * medium + 340 * tail) / 1_004 == pytest.approx(0.05, abs=0.01)
    lowest_positive = np.where(demo.labels, demo.scores, np.inf).min(0)
    assert (demo.scores >= lowest_positive).mean() > 0.7


@pytest.mark.parametrize("scale", [1e-6, 0.001, 0.02, 0.1])
def test_small_sets_keep_every_class_and_group(scale):
    demo = make_demo(scale)
    assert demo.labels.any(axis=0).all()
    assert demo.labels.any(axis=1).all()
    assert not demo.labels.all(axis=0).any()
    n = demo.train_counts
    assert min((n > 500).sum(), ((n > 100) & (n <= 500)).sum(), (n <= 100).sum()) >= 1


def test_small_set_ranks_head_above_medium_above_tail():
    for quality in QUALITIES:
        head, medium, tail = group_means(make_demo(0.05, quality=quality))
        assert head > medium > tail


def test_seed_determines_the_set():
    first, again, other = make_demo(0.01, seed=3), make_demo(0.01, seed=3), make_demo(0.01, seed=4)
    np.testing.assert_array_equal(first.scores, again.scores)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.labels != other.labels).any()
    assert (first.scores != other.scores).any()


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_impossible_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale: expected a positive number"):
        make_demo(scale)


def test_unknown_quality_is_refused():
    with pytest.raises(ValueError, match="quality: expected one of good, poor, got 'best'"):
        make_demo(0.01, quality="best")


def test_planted_scores_accept_every_form_of_positives():
    labels = np.zeros((3_000, 5), bool)
    rows, classes = np.array([0, 7, 7, 2_999]), np.array([4, 0, 1, 4])
    labels[rows, classes] = True
    dense = planted_scores(labels, 5, 2.0, seed=1)
    pairs = SimpleNamespace(num_rows=3_000, rows=rows, classes=classes)
    np.testing.assert_array_equal(planted_scores(pairs, 5, 2.0, seed=1), dense)
    by_class = SimpleNamespace(
        num_rows=3_000, num_classes=5, indptr=np.array([0, 1, 2, 2, 2, 4]), rows=np.array([7, 7, 0, 2_999], np.uint32)
    )
    where_negative = ~labels
    np.testing.assert_array_equal(planted_scores(by_class, 5, 2.0, seed=1)[where_negative], dense[where_negative])


def test_planted_scores_lift_the_positives_by_the_skill_of_their_class():
    labels = np.zeros((20_000, 2), bool)
    labels[::2] = True
    logits = planted_scores(labels, 2, np.array([1.0, 3.0]), spread=0.0, bias=-4.0).astype(np.float64)
    logits = np.log(logits / (1 - logits))
    np.testing.assert_allclose(logits[::2].mean(0) - logits[1::2].mean(0), [1.0, 3.0], atol=0.06)
    np.testing.assert_allclose(logits[1::2].mean(0), -4.0, atol=0.05)


def test_written_files_read_back(tmp_path):
    demo = write_demo(tmp_path / "new" / "demo", scale=0.01, seed=5)
    written = tmp_path / "new" / "demo"
    assert sorted(file.name for file in written.iterdir()) == [
        "class_names.txt",
        "labels.npy",
        "preds.npy",
        "train_counts.lst",
    ]
    np.testing.assert_array_equal(read_scores(written / "preds.npy").values, demo.scores)
    np.testing.assert_array_equal(read_labels(written / "labels.npy", *demo.labels.shape).values, demo.labels)
    np.testing.assert_array_equal(read_train_counts(written / "train_counts.lst"), demo.train_counts)
    assert list(read_class_names(written / "class_names.txt").names) == demo.class_names
    assert list(read_class_names(written / "train_counts.lst").names) == demo.class_names


def test_failed_write_leaves_the_old_set_and_nothing_else(tmp_path, monkeypatch):
    write_demo(tmp_path, scale=0.01)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    save = np.save

    def disk_full(file, array):
        if array.dtype == bool:
            raise OSError(28, "No space left on device")
        save(file, array)

    monkeypatch.setattr(np, "save", disk_full)
    sentence = rf"^{re.escape(str(tmp_path / 'labels.npy'))}: cannot be written \(No space left on device\)$"
    with pytest.raises(OutputError, match=sentence):
        write_demo(tmp_path, scale=0.01, seed=9)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
