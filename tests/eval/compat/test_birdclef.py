"""BirdCLEF's metrics against their definitions over pandas and scikit-learn, and recorded numbers of the originals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.compat import birdclef

pd = pytest.importorskip("pandas")
metrics = pytest.importorskip("sklearn.metrics")

INPUTS = {"A": (A, LABELS_A), "B": (B, LABELS_B), "C": (C, LABELS_C)}
SPECIES = ["owl", "wren", "rook", "kite"]


def frames(scores, labels, columns=None):
    """A solution and a submission with row ids, as Kaggle has them."""
    columns = SPECIES[: scores.shape[1]] if columns is None else columns
    ids = [f"r{row}" for row in range(len(scores))]
    solution, submission = pd.DataFrame(labels, columns=columns), pd.DataFrame(scores, columns=columns)
    solution.insert(0, "row_id", ids)
    submission.insert(0, "row_id", ids)
    return solution, submission


def padded_reference(solution, submission, padding_factor):
    """The definition: one AP of scikit-learn for each column with ones behind it."""
    values = [
        metrics.average_precision_score(
            [*solution.iloc[:, c], *[1] * padding_factor], [*submission.iloc[:, c], *[1] * padding_factor]
        )
        for c in range(1, solution.shape[1])
    ]
    return sum(values) / len(values)


def example(rows, seed, levels=0):
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, 4))
    labels = (rng.random((rows, 4)) < [0.0, 0.2, 0.5, 0.9]).astype(int)
    return (np.round(scores * levels) / levels if levels else scores), labels


@pytest.mark.parametrize(("name", "value"), [("A", 0.94592958), ("B", 0.90190755), ("C", 0.67984226)])
def test_recorded_numbers_of_padded_cmap(name, value):
    assert birdclef.padded_cmap(*frames(*INPUTS[name])) == pytest.approx(value, abs=1e-8)
    scores, labels = INPUTS[name]
    assert birdclef.padded_cmap(labels, scores) == pytest.approx(value, abs=1e-8)  # as copies without pandas call it


@pytest.mark.parametrize("padding_factor", [0, 1, 5])
@pytest.mark.parametrize("levels", [0, 3])
@pytest.mark.parametrize("dtype", [int, bool, float])
def test_padded_cmap_is_the_mean_over_padded_columns(padding_factor, levels, dtype):
    for seed in range(5):
        scores, labels = example(30, seed, levels)
        labels[0] = 1  # without padding, an absent class would warn
        pair = frames(scores, labels.astype(dtype))
        before = [frame.copy() for frame in pair]
        found = birdclef.padded_cmap(*pair, padding_factor=padding_factor)
        assert found == pytest.approx(padded_reference(*pair, padding_factor), abs=1e-12)
        for frame, copy in zip(pair, before, strict=True):
            pd.testing.assert_frame_equal(frame, copy)


def test_padded_cmap_takes_columns_by_position():
    scores, labels = example(30, 0)
    solution, submission = frames(scores, labels)
    turned = submission[["row_id", *SPECIES[::-1]]]
    wanted = birdclef.padded_cmap(labels, scores[:, ::-1])
    assert birdclef.padded_cmap(solution, turned) == wanted != birdclef.padded_cmap(labels, scores)
    with pytest.raises(ValueError, match="submission: expected the columns of solution"):
        birdclef.padded_cmap(solution, submission.rename(columns={"owl": "lark"}))
    with pytest.raises(ValueError, match=r"^submission: expected 30 rows as solution, got 29$"):
        birdclef.padded_cmap(solution, submission[:-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_padded_cmap_refuses_what_scikit_learn_refuses(bad):
    scores, labels = example(30, 0)
    scores[2, 1] = bad
    with pytest.raises(ValueError, match=r"."):
        birdclef.padded_cmap(*frames(scores, labels))
    with pytest.raises(ValueError, match=r"."):
        birdclef.padded_cmap(*frames(example(30, 0)[0], labels * 0.5))


def test_score_is_the_mean_over_classes_with_positives():
    for seed in range(5):
        scores, labels = example(40, seed, levels=seed)
        wanted = np.mean([metrics.roc_auc_score(labels[:, c], scores[:, c]) for c in range(4) if labels[:, c].any()])
        assert not labels[:, 0].any()
        solution, submission = frames(scores, labels)
        # Columns are taken by name.
        found = birdclef.score(solution, submission[["row_id", *SPECIES[::-1]]].copy(), "row_id")
        assert found == pytest.approx(wanted, abs=1e-12)


def test_score_deletes_the_row_ids_of_the_caller():
    solution, submission = frames(*example(40, 0))
    birdclef.score(solution, submission, row_id_column_name="row_id")
    assert list(solution.columns) == list(submission.columns) == SPECIES
    with pytest.raises(KeyError, match="row_id"):
        birdclef.score(solution, submission, "row_id")


def test_score_shows_participants_what_cannot_reveal_labels():
    scores, labels = example(40, 0)
    solution, submission = frames(scores, labels)
    submission["owl"] = "high"
    with pytest.raises(birdclef.ParticipantVisibleError, match=r"Invalid submission data types found: \{'owl': "):
        birdclef.score(solution, submission, "row_id")
    with pytest.raises(birdclef.ParticipantVisibleError, match="continuous-multioutput format is not supported"):
        birdclef.score(*frames(scores, labels * 0.5), "row_id")
    scores[3, 2] = np.inf
    with pytest.raises(ValueError, match="float64"):  # a digit, so that it stays hidden
        birdclef.score(*frames(scores, labels), "row_id")
    with pytest.raises(KeyError):
        birdclef.score(*frames(scores, labels)[:1], frames(scores[:, :2], labels[:, :2])[1], "row_id")
    with pytest.raises(AssertionError, match="class with positives"):
        birdclef.score(*frames(scores, labels * 0), "row_id")


def test_a_class_of_positives_alone_follows_scikit_learn():
    scores, labels = example(40, 0)
    labels[:, 1] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = metrics.roc_auc_score(labels[:, 1:], scores[:, 1:])
        except ValueError:
            with pytest.raises(birdclef.ParticipantVisibleError):
                birdclef.score(*frames(scores, labels), "row_id")
        else:
            assert np.isnan(birdclef.score(*frames(scores, labels), "row_id")) == np.isnan(wanted)
