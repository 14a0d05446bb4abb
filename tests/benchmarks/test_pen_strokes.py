"""The real data set of the comparison: the pen strokes of characters, and the components that they contain."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("svg.path")
pytest.importorskip("torch")

import comparisons
import pen_strokes

from vltr_train.data.dataset import open_dataset


@pytest.fixture(scope="module")
def characters():
    return {character.name: character for character in pen_strokes.characters()}


def test_a_path_is_followed_along_its_bezier_curves():
    points = pen_strokes._points("M0,109c0-109,109-109,109,0") * 109
    # The curve from (0, 109) to (109, 109) with control points straight above its ends, at t = 1 / 2.
    np.testing.assert_allclose(points[[0, 8, 16]], [[0, 109], [54.5, 109 - 0.75 * 109], [109, 109]], atol=1e-9)


def test_frames_lie_at_equal_distances_along_all_strokes():
    across = np.array([[0.0, 0.5], [1.0, 0.5]])
    down = np.array([[0.5, 0.0], [0.5, 0.25], [0.5, 1.0]])
    found = pen_strokes.describe([across, down], num_frames=4)
    np.testing.assert_allclose(found[:, :2], [[-0.5, 0], [0.5, 0], [0, -0.5], [0, 0.5]], atol=1e-9)
    np.testing.assert_allclose(found[:, 2:4], [[1, 0], [1, 0], [0, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(found[:, 4:6], [[0.25, 0], [0.75, 1], [0.25, 0], [0.75, 1]], atol=1e-9)
    # Seen from frame 1, the frame before it is half a side to the left, and frames before the first are the first.
    np.testing.assert_allclose(found[1, 6:].reshape(8, 2)[[2, 3]], [[-0.5, 0], [-0.5, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("name", "components", "strokes"),
    [("\u6797", {"\u6728"}, 8), ("\u660e", {"\u65e5", "\u6708"}, 8), ("\u4f11", {"\u4ebb", "\u6728"}, 6)],
)
def test_components_and_strokes_are_those_of_dictionaries(characters, name, components, strokes):
    assert components <= set(characters[name].components)
    assert len(characters[name].strokes) == strokes
    assert name not in characters[name].components


def test_intervals_know_how_much_the_splits_overlap():
    shares = pen_strokes.SHARES
    assert comparisons.COMPARISONS["strokes"].overlap == pytest.approx(shares["test"] / shares["train"])
    assert sum(shares.values()) <= 1


def test_seeds_differ_in_their_splits_alone(tmp_path, monkeypatch, characters):
    few = list(characters.values())[:400]
    monkeypatch.setattr(pen_strokes, "characters", lambda: iter(few))
    sets = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(sets))
        pen_strokes.make_pen_strokes(folder, seed=seed)
        sets.append(open_dataset(folder))
    first, again, other = sets
    assert first.train.labels.ids == again.train.labels.ids != other.train.labels.ids
    assert first.frames.fingerprint == other.frames.fingerprint
    ids = [set(split.labels.ids) for split in (first.train, first.validate, first.test)]
    assert sum(map(len, ids)) == len(set.union(*ids))
    assert set.union(*ids) <= set(first.frames.ids)
    for part, share in zip(ids, (0.2, 0.15, 0.2), strict=True):
        assert abs(len(part) - share * len(first.frames.ids)) <= 1
    counts = [sum(name in character.components for character in few) for name in first.class_names]
    assert min(counts) >= pen_strokes.LEAST
    assert (np.diff(counts) <= 0).all()
