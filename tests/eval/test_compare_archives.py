"""Saved evaluations: the bits of predictions, the size of the file, and refusals with their reason."""

from __future__ import annotations

import json
import math
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from vltr_eval import Evaluation, compare
from vltr_eval.comparison.archive import from_planes, is_archive, to_planes
from vltr_eval.comparison.runs import compare_evaluations

COUNTS = [900, 600, 300, 90, 8]
NAMES = ["walk", "run", "swim", "fly", "dig"]
NUM_ROWS = 80


def make_systems(num_systems: int = 2, *, seed: int = 0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.random((NUM_ROWS, len(COUNTS))) < [0.4, 0.3, 0.3, 0.2, 0.05]
    labels[0] = True
    scores = [rng.normal(size=labels.shape) + (1 + 0.3 * k) * labels for k in range(num_systems)]
    return labels, [(100 * score).astype(dtype) for score in scores]


def evaluate(scores, labels, **options):
    return Evaluation.from_predictions(scores, labels, **{"train_counts": COUNTS, **options})


@pytest.fixture
def files(tmp_path):
    """Return a function that saves evaluations and gives their paths."""

    def save(*evaluations):
        paths = [tmp_path / f"{number}.npz" for number in range(len(evaluations))]
        for path, evaluation in zip(paths, evaluations, strict=True):
            evaluation.save(path)
        return paths

    return save


# ---------------------------------------------------------------------------------------------------------------------
# The same bits
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"topk": None, "sap": None}, {"absent": "zero"}, {"train_counts": None}])
def test_archives_give_the_bits_of_predictions(files, options):
    labels, (base, new) = make_systems()
    labels[:, 4] = False
    expected = compare(base, new, labels=labels, **{"train_counts": COUNTS, **options})
    paths = files(evaluate(base, labels, **options), evaluate(new, labels, **options))
    found = compare(*paths)
    assert repr(found.systems[0].means) == repr(expected.systems[0].means)  # as text, because NaN != NaN
    assert repr(found.metrics()) == repr(expected.metrics())
    assert found.signature == expected.signature
    for column in ("base", "new", "difference", "num_positives"):
        assert repr(found.systems[0].classes[column]) == repr(expected.systems[0].classes[column])


def test_an_archive_and_predictions_can_be_mixed(files):
    labels, (base, new) = make_systems()
    (path,) = files(evaluate(base, labels, topk=(1, 2), absent="zero", class_names=NAMES))
    mixed = compare(path, new, labels=labels)  # the options are those of the archive
    expected = compare(base, new, labels=labels, train_counts=COUNTS, topk=(1, 2), absent="zero", class_names=NAMES)
    assert repr(mixed.systems[0].means) == repr(expected.systems[0].means)
    assert "tests of the AP of single classes need the predictions of all systems" in mixed.to_text()
    assert not mixed.systems[0].is_tested
    assert mixed.systems[0].outcomes(0.95) == ()
    assert all(math.isnan(p) for p in mixed.systems[0].classes["p_value"])


def test_the_number_of_sap_trials_does_not_matter(files):
    labels, (base, new) = make_systems()
    paths = files(evaluate(base, labels, sap=3), evaluate(new, labels, sap="exact"))
    expected = compare(base, new, labels=labels, train_counts=COUNTS)
    assert repr(compare(*paths).metrics()) == repr(expected.metrics())
    assert compare(*paths).signature == expected.signature


def test_intervals_of_the_report_do_not_matter(files):
    labels, (base, new) = make_systems()
    clusters = np.arange(NUM_ROWS) // 2
    paths = files(
        evaluate(base, labels, clusters=clusters, interval=0.9), evaluate(new, labels, clusters=clusters, interval=None)
    )
    expected = compare(base, new, labels=labels, train_counts=COUNTS, clusters=clusters)
    assert repr(compare(*paths).metrics()) == repr(expected.metrics())
    assert compare(*paths).signature == expected.signature
    assert "|clusters:40|" in expected.signature
    assert Evaluation.load(paths[0]).report.num_clusters == NUM_ROWS // 2


def test_options_are_refused_where_nothing_is_evaluated(files):
    labels, (base, new) = make_systems()
    paths = files(evaluate(base, labels), evaluate(new, labels))
    with pytest.raises(TypeError, match=r"^topk: expected predictions to evaluate with it"):
        compare(*paths, topk=(1,))


def test_clusters_are_kept(files):
    labels, (base, new) = make_systems()
    clusters = np.random.default_rng(1).integers(0, 20, NUM_ROWS)
    paths = files(*(evaluate(scores, labels, clusters=clusters) for scores in (base, new)))
    expected = compare(base, new, labels=labels, train_counts=COUNTS, clusters=clusters)
    assert repr(compare(*paths).metrics()) == repr(expected.metrics())
    assert compare(*paths).num_clusters == expected.num_clusters == len(np.unique(clusters))
    (path,) = files(evaluate(base, labels, clusters=clusters))
    assert repr(compare(path, new, labels=labels, clusters=clusters).metrics()) == repr(expected.metrics())


def test_rows_with_ids_are_numbered_in_their_order(files):
    labels, (base, new) = make_systems()
    rng = np.random.default_rng(2)
    ids = np.array([f"video {row}" for row in rng.permutation(NUM_ROWS)], object)
    order = rng.permutation(NUM_ROWS)
    first = evaluate(base, labels, ids=ids, label_ids=ids)
    second = evaluate(new[order], labels, ids=ids[order], label_ids=ids)
    found = compare(*files(first, second))
    assert repr(found.metrics()) == repr(compare(base, new, labels=labels, train_counts=COUNTS).metrics())
    assert first.label_fingerprint == second.label_fingerprint


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint64])
def test_a_loaded_evaluation_is_the_saved_one(files, dtype):
    labels, (scores,) = make_systems(1, dtype=np.float64)
    saved = evaluate(np.clip(scores, 0, None).astype(dtype), labels, class_names=NAMES)
    (path,) = files(saved)
    found = Evaluation.load(path)
    assert found.report == saved.report
    assert found.label_fingerprint == saved.label_fingerprint
    assert list(found.effects) == list(saved.effects)
    for name, effect in saved.effects.items():
        assert np.array_equal(found.effects[name].sums, effect.sums)
        assert (found.effects[name].exponent, found.effects[name].count) == (effect.exponent, effect.count)
    for name in ("indptr", "thresholds", "tp", "fp", "tied"):
        one, other = getattr(found.table, name), getattr(saved.table, name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_saving_twice_gives_the_same_bytes(files):
    labels, (scores,) = make_systems(1)
    paths = files(evaluate(scores, labels), evaluate(scores, labels))
    assert paths[0].read_bytes() == paths[1].read_bytes()


@given(npst.arrays(np.int64, st.integers(0, 20), elements=st.integers(-(2**62), 2**62 - 1)))
def test_planes_keep_every_number(values):
    planes = to_planes(values)
    assert planes.shape == (8, len(values))
    assert np.array_equal(from_planes(planes), values)


def test_small_numbers_have_empty_high_planes():
    assert not to_planes(np.array([-100, 100, 0, 127])).any(axis=1)[1:].any()


# ---------------------------------------------------------------------------------------------------------------------
# Refusals
# ---------------------------------------------------------------------------------------------------------------------


def other_labels(labels):
    changed = labels.copy()
    changed[3, 1] ^= True
    return changed


REFUSALS = {
    "labels": (lambda s, y: evaluate(s, other_labels(y)), "expected the labels of base"),
    "rows": (lambda s, y: evaluate(s[1:], y[1:]), "expected 80 rows as base has, got 79"),
    "order": (lambda s, y: evaluate(s[::-1], y[::-1]), "are the rows in another order"),
    "classes": (lambda s, y: evaluate(s[:, 1:], y[:, 1:], train_counts=None), "expected 5 classes as base has, got 4"),
    "names": (
        lambda s, y: evaluate(s, y, class_names=["walk", "jump", "swim", "fly", "dig"]),
        "expected the classes of base, got 'jump' as class 1 instead of 'run'",
    ),
    "topk": (lambda s, y: evaluate(s, y, topk=(1,)), r"expected the settings of base, topk=\(1, 5\), got topk=\(1,\)"),
    "absent": (lambda s, y: evaluate(s, y, absent="zero"), "absent='nan', got absent='zero'"),
    "sap": (lambda s, y: evaluate(s, y, sap=None), "expected the settings of base, sap"),
    "counts": (
        lambda s, y: evaluate(s, y, train_counts=None),
        "train_counts: expected counts as with base, got none",
    ),
    "other counts": (
        lambda s, y: evaluate(s, y, train_counts=[1, 2, 3, 4, 5]),
        "train_counts: expected the training counts of base, got other ones",
    ),
    "bounds": (lambda s, y: evaluate(s, y, bounds=(700, 50)), "bounds"),
    "ids": (
        lambda s, y: evaluate(s, y, ids=np.arange(NUM_ROWS), label_ids=np.arange(NUM_ROWS)),
        "expected row ids with both systems or with none, got them with new and not with base",
    ),
    "clusters": (
        lambda s, y: evaluate(s, y, clusters=np.arange(NUM_ROWS) // 2),
        "expected clusters of rows with both systems or with none, got none with base",
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_archives_of_something_else_are_refused_with_the_reason(kind):
    labels, (base, new) = make_systems()
    make, message = REFUSALS[kind]
    reference = evaluate(base, labels, class_names=NAMES)
    with pytest.raises(ValueError, match=f"^new: .*{message}"):
        compare(reference, make(new, labels), names=["base", "new"])


def test_archives_of_other_clusters_are_refused():
    labels, (base, new) = make_systems()
    first, second = (
        evaluate(scores, labels, clusters=np.arange(NUM_ROWS) // size) for scores, size in ((base, 2), (new, 4))
    )
    with pytest.raises(ValueError, match=r"^new: expected the clusters of base, got another division .* order\?$"):
        compare(first, second, names=["base", "new"])
    with pytest.raises(ValueError, match=r"^new: expected clusters of rows .* got none with new"):
        compare(first, evaluate(new, labels), names=["base", "new"])


def test_archives_with_ids_of_other_rows_are_refused():
    labels, (base, new) = make_systems()
    first, second = (
        evaluate(scores, labels, ids=ids, label_ids=ids)
        for scores, ids in ((base, np.arange(NUM_ROWS)), (new, np.arange(NUM_ROWS) + 1))
    )
    with pytest.raises(ValueError, match=r"^new: expected the row ids of base"):
        compare_evaluations(first, second, ("base", "new"))


def test_clusters_are_refused_where_nothing_is_evaluated():
    labels, (base, new) = make_systems()
    with pytest.raises(TypeError, match=r"^clusters: expected predictions to evaluate with it"):
        compare(evaluate(base, labels), evaluate(new, labels), clusters=np.arange(NUM_ROWS) // 2)


def test_labels_are_refused_where_nothing_is_evaluated():
    labels, (base, new) = make_systems()
    with pytest.raises(TypeError, match=r"^labels: expected predictions to evaluate with it"):
        compare(evaluate(base, labels), evaluate(new, labels), labels=labels[::-1])


def rewritten(path, changes):
    """Replace members of an archive."""
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays |= changes(arrays)
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})


def facts_with(**changes):
    def change(arrays):
        facts = json.loads(arrays["facts"].tobytes()) | changes
        return {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}

    return change


DAMAGE = {
    "format": lambda arrays: {"format": np.array("vltr-eval/evaluation/9")},
    "another file": lambda arrays: {"format": np.array("vltr-eval/rank-table/1")},
    "no report": lambda arrays: {"report": None},
    "report": lambda arrays: {"report": np.frombuffer(b"{}", np.uint8)},
    "no effects": lambda arrays: {"effects": None},
    "too many effects": lambda arrays: {"effects": np.concatenate([arrays["effects"], arrays["effects"][:1]])},
    "too few effects": lambda arrays: {"effects": arrays["effects"][1:]},
    "short effects": lambda arrays: {"effects": arrays["effects"][:, :, 1:]},
    "planes": lambda arrays: {"effects": arrays["effects"][:, 1:]},
    "dtype of effects": lambda arrays: {"effects": arrays["effects"].astype(np.int64)},
    "table": lambda arrays: {"fp": np.zeros_like(arrays["fp"][:, 1:])},
    "offsets": lambda arrays: {"indptr": arrays["indptr"][:, ::-1]},
    "thresholds": lambda arrays: {"thresholds": arrays["thresholds"][:, ::-1]},
    "dtype of thresholds": lambda arrays: {"dtype": np.array("|O")},
    "rows": lambda arrays: {"num_rows": np.array(81)},
    "positives": lambda arrays: {"tp": to_planes(2 * from_planes(arrays["tp"]))},
    "fingerprint": facts_with(label_fingerprint="abc"),
    "no fingerprint": facts_with(label_fingerprint=None),
    "names of effects": facts_with(effects={"mAP_left": {"exponent": 1, "count": 1, "is_sum": False}}),
    "exponent": facts_with(effects={"mAP": {"exponent": 1.5, "count": 1, "is_sum": False}}),
    "count": facts_with(effects={"mAP": {"exponent": 1, "count": 10**400, "is_sum": False}}),
    "depth": lambda arrays: {"facts": np.frombuffer(b"[" * 100_000, np.uint8)},
    "clusters": lambda arrays: {"clusters": np.zeros((1, 8, 3), np.uint8)},
    "negative cluster": lambda arrays: {"clusters": to_planes(np.full(NUM_ROWS, -1))[None]},
    "huge cluster": lambda arrays: {"clusters": to_planes(np.arange(NUM_ROWS) << 50)[None]},
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_archive_is_refused_by_its_name(files, kind):
    labels, (scores,) = make_systems(1)
    (path,) = files(evaluate(scores, labels))
    rewritten(path, DAMAGE[kind])
    with pytest.raises(ValueError, match=r"0\.npz: expected .*damaged file"):
        Evaluation.load(path)


def test_a_pickle_is_never_opened(files):
    labels, (scores,) = make_systems(1)
    (path,) = files(evaluate(scores, labels))

    class Trap:
        def __reduce__(self):
            return pytest.fail, ("a pickle was opened",)

    rewritten(path, lambda arrays: {"facts": np.array([Trap()], object)})
    with pytest.raises(ValueError, match="damaged file"):
        Evaluation.load(path)


@pytest.mark.parametrize("cut", [10, 0.5, 0.99])
def test_a_cut_archive_is_refused(files, cut):
    labels, (scores,) = make_systems(1)
    (path,) = files(evaluate(scores, labels))
    content = path.read_bytes()
    path.write_bytes(content[: cut if cut > 1 else int(cut * len(content))])
    with pytest.raises(ValueError, match="damaged file"):
        Evaluation.load(path)


def test_other_files_are_no_archives(tmp_path):
    labels, (scores,) = make_systems(1)
    np.savez(tmp_path / "scores.npz", scores=scores)
    np.save(tmp_path / "scores.npy", scores)
    evaluate(scores, labels).table.save(tmp_path / "table.npz")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    assert not any(map(is_archive, tmp_path.iterdir()))
    with pytest.raises(FileNotFoundError):
        Evaluation.load(tmp_path / "none.npz")


def test_a_failed_save_leaves_the_old_file(files, monkeypatch):
    labels, (scores,) = make_systems(1)
    (path,) = files(evaluate(scores, labels))
    before = path.read_bytes()

    def fail(file, array, **how):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(ValueError, match="cannot be written"):
        evaluate(scores, labels, topk=None).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


# ---------------------------------------------------------------------------------------------------------------------
# Size
# ---------------------------------------------------------------------------------------------------------------------


def test_effects_of_groups_take_the_room_and_their_sum_takes_none(files):
    labels, (scores,) = make_systems(1)
    (path,) = files(evaluate(scores, labels, topk=None))
    with np.load(path) as archive:
        facts = json.loads(archive["facts"].tobytes())
        stored = [name for name, entry in facts["effects"].items() if not entry["is_sum"]]
        assert len(archive["effects"]) == len(stored)
    assert not {"mAP", "ROC_AUC", "expected_SAP"} & set(stored)
    assert {"mAP_head", "mAP_medium", "mAP_tail"} <= set(stored)


def test_an_archive_is_smaller_than_its_scores(files):
    rng = np.random.default_rng(0)
    num_rows, num_classes = 3_000, 60
    labels = rng.integers(0, num_classes, num_rows)
    scores = rng.normal(size=(num_rows, num_classes)).astype(np.float32)
    (path,) = files(Evaluation.from_predictions(scores, labels, train_counts=np.arange(num_classes) * 12))
    assert path.stat().st_size < 0.5 * scores.nbytes
