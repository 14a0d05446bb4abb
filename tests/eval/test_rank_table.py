"""The rank table: its content, its metrics, its files, and merges of the tables of shards."""

from __future__ import annotations

import functools
import math
import random
import re
import stat
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from hypothesis import given
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits, assert_same_table, table_rows
from sklearn.metrics import precision_recall_curve as sklearn_curve

import vltr_eval
from vltr_eval import Positives, PositiveScores, RankTable, positive_scores, rank_table
from vltr_eval._base.files import OutputError
from vltr_eval._engine.rank_table import exact_sums, mean_of_defined, means_of_defined

pytestmark = pytest.mark.any_device

# Content


def assert_table_equals_the_textbook(table, scores, labels) -> None:
    assert table.num_rows == len(scores)
    for c in range(table.num_classes):
        assert table_rows(table, c) == reference.rank_table(
            reference.numbers(scores[:, c]), reference.numbers(labels[:, c])
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (130, 70), (1500, 20)])
@pytest.mark.parametrize("levels", [None, 3, 40])
def test_table_equals_the_textbook(simd, shape, levels):
    scores, labels = make_case(*shape, seed=1, levels=levels)
    assert_table_equals_the_textbook(rank_table(scores, labels), scores, labels)


@pytest.mark.parametrize("num_rows", [1, 2, 15, 16, 17, 300])
def test_table_equals_the_textbook_for_any_number_of_positives(simd, num_rows):
    labels = corner_labels(num_rows, seed=2)
    for levels in (None, 4):
        scores, _ = make_case(*labels.shape, seed=3, levels=levels)
        assert_table_equals_the_textbook(rank_table(scores, labels), scores, labels)


@pytest.mark.parametrize("positives", [15, 16, 17, 255, 256, 257, 4095, 4096, 4097])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_table_equals_the_textbook_around_the_widths_of_its_search_tree(simd, positives, dtype):
    rng = np.random.default_rng(positives)
    scores = rng.permutation(9000)[:, None].astype(dtype)
    labels = np.zeros((9000, 1), bool)
    labels[rng.permutation(9000)[:positives]] = True
    assert_table_equals_the_textbook(rank_table(scores, labels), scores, labels)


def test_table_has_the_documented_types():
    table = rank_table(*make_case(30, 4))
    assert {name: getattr(table, name).dtype.name for name in ("indptr", "thresholds", "tp", "fp", "tied")} == {
        "indptr": "int64",
        "thresholds": "float32",
        "tp": "int64",
        "fp": "int64",
        "tied": "int64",
    }
    assert table.num_classes == 4


def test_counts_of_both_sides():
    labels = corner_labels(20)
    table = rank_table(make_case(*labels.shape)[0], labels)
    assert_same_bits(table.num_positives, labels.sum(axis=0))
    assert_same_bits(table.num_negatives, 20 - labels.sum(axis=0))


# Precision and recall


@pytest.mark.parametrize("levels", [None, 5])
def test_curve_agrees_with_sklearn(levels):
    """scikit-learn has a point at every score; the rank table has those at the scores of positives."""
    scores, labels = make_case(200, 3, seed=4, levels=levels)
    for c, curve in enumerate(vltr_eval.precision_recall_curve(scores, labels)):
        precision, recall, thresholds = sklearn_curve(labels[:, c], scores[:, c])
        place = {threshold: i for i, threshold in enumerate(thresholds.tolist())}
        at = [place[threshold] for threshold in curve.thresholds.tolist()]
        assert_agrees(curve.precision, precision[at])
        assert_agrees(curve.recall, recall[at])
        assert curve.recall[-1] == 1
        assert np.all(np.diff(curve.thresholds) < 0)
        assert np.all(np.diff(curve.recall) > 0)


def test_curve_of_an_absent_class_is_empty():
    assert [len(part) for part in rank_table(np.zeros(3), np.zeros(3)).precision_recall_curve(0)] == [0, 0, 0]


@pytest.mark.parametrize("class_index", [-1, 2])
def test_curve_refuses_a_class_out_of_range(class_index):
    with pytest.raises(IndexError, match=rf"^class_index: expected 0 to 1, got {class_index}$"):
        rank_table(np.zeros((3, 2)), np.zeros((3, 2))).precision_recall_curve(class_index)


@pytest.mark.parametrize("level", [0, 0.1, 0.5, 0.75, 1])
@pytest.mark.parametrize("levels", [None, 6])
def test_precision_at_recall_and_recall_at_precision_search_the_curve(level, levels):
    labels = corner_labels(80, seed=5)
    scores, _ = make_case(*labels.shape, seed=6, levels=levels)
    curves = vltr_eval.precision_recall_curve(scores, labels)
    precision = [max(c.precision[c.recall >= level], default=0) if len(c.recall) else np.nan for c in curves]
    recall = [max(c.recall[c.precision >= level], default=0) if len(c.recall) else np.nan for c in curves]
    assert_same_bits(vltr_eval.precision_at_recall(scores, labels, recall=level), np.array(precision, float))
    assert_same_bits(vltr_eval.recall_at_precision(scores, labels, precision=level), np.array(recall, float))


def test_recall_at_an_unreached_precision_is_zero():
    assert vltr_eval.recall_at_precision(np.array([2, 1]), np.array([0, 1]), precision=0.9)[0] == 0


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_levels_outside_0_to_1_are_refused(level):
    table = rank_table(np.array([2, 1]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"^recall: expected a number from 0 to 1, got "):
        table.precision_at_recall(level)
    with pytest.raises(ValueError, match=r"^precision: expected a number from 0 to 1, got "):
        table.recall_at_precision(level)


# Ties


def test_tie_rate_counts_positives_that_equal_a_negative():
    labels = corner_labels(50, seed=7)
    scores, _ = make_case(*labels.shape, seed=8, levels=12)
    expected = []
    for s, y in zip(scores.T, labels.T, strict=True):
        negatives = set(s[~y].tolist())
        tied = [score in negatives for score in s[y].tolist()]
        expected.append(sum(tied) / len(tied) if tied else np.nan)
    assert_same_bits(vltr_eval.tie_rate(scores, labels), np.array(expected))


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=7))
def test_tie_interval_is_the_range_over_every_order(rows):
    scores, labels = zip(*rows, strict=True)
    lower, upper = vltr_eval.tie_interval(np.array(scores), np.array(labels))
    if not any(labels):
        assert np.isnan([lower[0], upper[0]]).all()
        return
    values = [*reference.ap_of_every_order(scores, labels), reference.average_precision(scores, labels)]
    assert_agrees([lower[0], upper[0]], [min(values), max(values)])


def test_tie_interval_without_ties_is_ap():
    scores, labels = make_case(200, 4, seed=9)
    lower, upper = vltr_eval.tie_interval(scores, labels)
    ap = vltr_eval.average_precision(scores, labels)
    assert_agrees(lower, ap)
    assert_agrees(upper, ap)


def test_tie_interval_holds_ap():
    scores, labels = make_case(400, 6, seed=10, levels=5)
    lower, upper = vltr_eval.tie_interval(scores, labels)
    ap = vltr_eval.average_precision(scores, labels)
    assert np.all((lower <= ap) & (ap <= upper) & (lower < upper))


@pytest.mark.parametrize("positives", [1024, 1025, 200_000])
def test_tie_interval_of_many_positives_at_one_score(positives):
    """Up to 1,024 terms are added one by one, and there is a closed form for more."""
    negatives = 150_000
    counts = [np.array([count], np.int64) for count in (positives, negatives, negatives)]
    table = RankTable(positives + negatives, np.array([0, 1]), np.array([0.5]), *counts)
    lower, upper = table.tie_interval()
    inverses = math.fsum(1 / rank for rank in range(negatives + 1, negatives + positives + 1))
    assert_agrees(lower, [1 - negatives * inverses / positives])
    assert_agrees(upper, [1.0])


def test_tie_interval_is_the_readers_own_array(table):
    before = [values.copy() for values in (*table.tie_interval(), table.tied_positives(), table.tie_rate())]
    for values in (*table.tie_interval(), table.tied_positives(), table.tie_rate()):
        values[:] = -1
    for values, expected in zip((*table.tie_interval(), table.tied_positives(), table.tie_rate()), before, strict=True):
        assert_same_bits(values, expected)


def test_statistics_are_those_of_single_metrics(table):
    statistics = table.statistics
    assert_same_bits(statistics.average_precision, table.average_precision())
    assert_same_bits(statistics.roc_auc, table.roc_auc())
    assert_same_bits(statistics.sampled_average_precision_chance, table.sampled_average_precision_chance())


@pytest.mark.parametrize(("column", "value"), [("tp", -1), ("fp", 61), ("tied", -(2**63)), ("indptr", 10**9)])
def test_statistics_refuse_columns_that_are_no_table(table, column, value):
    columns = {name: getattr(table, name).copy() for name in ("indptr", "thresholds", "tp", "fp", "tied")}
    columns[column][-1] = value
    with pytest.raises(ValueError, match=r"^table: expected "):
        RankTable(table.num_rows, *columns.values()).tie_interval()


# Exact sums


FLOATS = st.floats(-1e300, 1e300)


@given(st.lists(st.lists(FLOATS | st.sampled_from([1.0, 2.0**-53, -(2.0**-53), 2.0**-106, 5e-324, 0.0]))))
def test_exact_sums_are_those_of_fsum(lists):
    indptr = np.cumsum([0, *map(len, lists)])
    sums = exact_sums(np.array([value for values in lists for value in values], np.float64), indptr)
    assert_same_bits(sums + 0.0, np.array([math.fsum(values) for values in lists]) + 0.0)  # -0 is 0


@given(st.lists(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=3, max_size=3), max_size=4))
def test_means_of_rows_are_those_of_each_row(rows):
    values = np.array(rows, np.float64).reshape(-1, 3)
    assert_same_bits(means_of_defined(values), np.array([mean_of_defined(row) for row in values], np.float64))


def test_exact_sums_refuse_offsets_that_do_not_fit():
    for indptr in ([0, 4], [1, 3], [0, 2, 1, 3], []):
        with pytest.raises(ValueError, match=r"^offset: expected offsets that rise from 0 to the number of values$"):
            exact_sums(np.zeros(3), np.array(indptr, np.int64))


# Saving


@pytest.fixture
def table():
    return rank_table(*make_case(60, 5, seed=11, levels=6))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint64, np.float16, np.bool_])
def test_saved_table_loads_unchanged(tmp_path, dtype):
    scores, labels = make_case(60, 5, seed=12, levels=6)
    labels[:, 2] = False
    table = rank_table(np.abs(scores).astype(dtype), labels)
    table.save(tmp_path / "table.npz")
    assert_same_table(RankTable.load(tmp_path / "table.npz"), table)


def test_save_leaves_one_ordinary_file(tmp_path, table):
    path = tmp_path / "sub.dir" / "table"
    path.parent.mkdir()
    table.save(str(path))
    table.save(str(path))
    assert [file.name for file in path.parent.iterdir()] == ["table"]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_failed_save_leaves_the_old_file(tmp_path, table, monkeypatch):
    path = tmp_path / "table.npz"
    table.save(path)
    before = path.read_bytes()

    def fail(file, array, **how):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(OutputError, match="disk full"):
        table.save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_save_into_a_missing_folder_names_the_file(tmp_path, table):
    with pytest.raises(OutputError, match="nowhere"):
        table.save(tmp_path / "nowhere" / "table.npz")


def test_load_of_a_missing_file_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        RankTable.load(tmp_path / "none.npz")


def refused(path) -> str:
    """Return the error message of a file that must be refused."""
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: expected ") as caught:
        RankTable.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no table", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04N."])
def test_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "table.npz"
    path.write_bytes(content)
    assert "rank table" in refused(path)


def test_foreign_arrays_are_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "arrays.npz", scores=np.arange(3))
    np.savez(tmp_path / "later.npz", format=np.array("vltr-eval/rank-table/2"))
    np.savez(tmp_path / "objects.npz", format=np.array("vltr-eval/rank-table/1"), num_rows=np.array([None]))
    for name in ("array.npy", "arrays.npz", "later.npz", "objects.npz"):
        refused(tmp_path / name)


def test_every_truncation_is_refused(tmp_path, table):
    path = tmp_path / "table.npz"
    table.save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        refused(path)


def test_every_flipped_byte_is_refused_or_harmless(tmp_path, table):
    path = tmp_path / "table.npz"
    table.save(path)
    whole = path.read_bytes()
    surprises = {}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert_same_table(RankTable.load(path), table)  # the byte was a date or similar
        except Exception as error:
            if type(error) is not ValueError or not str(error).startswith(f"{path}: expected "):
                surprises[place] = repr(error)
    assert not surprises


def fields(table) -> dict:
    return {name: getattr(table, name).copy() for name in ("indptr", "thresholds", "tp", "fp", "tied")}


def set_item(name, place, value):
    def damage(arrays):
        arrays[name][place] = value

    return damage


def replace(name, function):
    def damage(arrays):
        arrays[name] = function(arrays[name])

    return damage


DAMAGES = {
    "offsets beyond the end": set_item("indptr", -1, 10**6),
    "offsets from one": set_item("indptr", 0, 1),
    "offsets that fall": set_item("indptr", 1, 10**6),
    "negative offset": set_item("indptr", 1, -5),
    "no offsets": replace("indptr", lambda a: a[:0]),
    "offsets of rank two": replace("indptr", lambda a: a[None]),
    "offsets of rank zero": replace("indptr", lambda a: a[0]),
    "float offsets": replace("indptr", lambda a: a.astype(float)),
    "32-bit counts": replace("tp", lambda a: a.astype(np.int32)),
    "a count too few": replace("fp", lambda a: a[:-1]),
    "counts of rank two": replace("tied", lambda a: a[:, None]),
    "negative count": set_item("fp", 0, -1),
    "positives that fall": set_item("tp", 0, 10**6),
    "more positives than rows": set_item("tp", -1, 10**6),
    "more negatives than rows": set_item("fp", -1, 10**6),
    "negatives that fall": set_item("fp", 0, 40),
    "more ties than negatives at a threshold": replace("tied", lambda a: np.repeat(10, len(a))),
    "more ties than negatives": set_item("tied", -1, 10**6),
    "thresholds that rise": replace("thresholds", lambda a: np.arange(len(a), dtype=a.dtype)),
    "a threshold of NaN": set_item("thresholds", 0, np.nan),
    "thresholds of rank two": replace("thresholds", lambda a: a[:, None]),
    "thresholds of rank zero": replace("thresholds", lambda a: a[0]),
    "text thresholds": replace("thresholds", lambda a: a.astype(str)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_inconsistent_tables_are_refused(tmp_path, table, damage):
    arrays = fields(table)
    damage(arrays)
    path = tmp_path / "table.npz"
    np.savez(path, format=np.array("vltr-eval/rank-table/1"), num_rows=np.array(table.num_rows), **arrays)
    refused(path)


@pytest.mark.parametrize(
    "num_rows", [np.array(-1), np.array(3), np.array([60, 60]), np.array("many"), np.array(60.5), np.array(60.0)]
)
def test_impossible_row_counts_are_refused(tmp_path, table, num_rows):
    path = tmp_path / "table.npz"
    np.savez(path, format=np.array("vltr-eval/rank-table/1"), num_rows=num_rows, **fields(table))
    refused(path)


@pytest.mark.parametrize("num_rows", [2**53 + 1, 2**62, 2**63 - 1])
def test_more_rows_than_metrics_can_count_are_refused(tmp_path, table, num_rows):
    path = tmp_path / "table.npz"
    promising = RankTable(num_rows, *fields(table).values())
    promising.save(path)
    assert refused(path) == f"{path}: expected a rank table of at most 9007199254740992 rows, got {num_rows}"
    with pytest.raises(ValueError, match=r"^table: expected at most 2\^53 rows, and counts for each threshold from 0 "):
        promising.average_precision()


def unaligned(array: np.ndarray) -> np.ndarray:
    view = np.frombuffer(b"-" + array.tobytes(), array.dtype, offset=1)
    assert not view.flags.aligned
    return view


def test_unaligned_arrays_are_read_exactly(table):
    """The undefined-behaviour sanitizer also runs this test and reports unaligned reads."""
    scores, labels = make_case(60, 5, seed=11, levels=6)
    positives = Positives.from_labels(labels, 60, 5)
    positives = Positives(60, 5, unaligned(positives.indptr), unaligned(positives.rows))
    assert_same_table(rank_table(scores, positives), table)
    thresholds = PositiveScores(unaligned(table.indptr), unaligned(table.thresholds))
    assert_same_table(rank_table(scores, positives, thresholds=thresholds), table)
    moved = RankTable(60, *(unaligned(array) for array in fields(table).values()))
    for metric in ("average_precision", "roc_auc", "expected_sampled_average_precision"):
        assert_same_bits(getattr(moved, metric)(), getattr(table, metric)())


@pytest.mark.parametrize("positives", [1, 10**6, 2**51])
def test_metrics_of_a_table_with_the_most_rows_are_fast(tmp_path, positives):
    """Use one threshold that all positives and half of the negatives reach; the file has a few hundred bytes."""
    path, counts = tmp_path / "table.npz", np.array([positives])
    negatives = 2**53 - positives
    whole = RankTable(2**53, np.array([0, 1]), np.float32([0.5]), counts, np.array([negatives // 2]), counts * 0)
    whole.save(path)
    table = RankTable.load(path)
    rows = 2 * positives
    harmonic = 1.5 if positives == 1 else math.log(rows) + 0.5772156649015329 + 1 / (2 * rows)
    chance = ((positives - 1) / (rows - 1) * (rows - harmonic) + harmonic) / rows
    assert table.sampled_average_precision_chance()[0] == pytest.approx(chance, rel=1e-13)
    # Half of the P draws are expected to reach the threshold: P / (P + P / 2), corrected for their variance.
    exact = 0.75 if positives == 1 else 2 / 3 * (1 + (0.25 / positives) / 2.25)
    assert table.expected_sampled_average_precision()[0] == pytest.approx(exact, rel=1e-9)
    assert table.average_precision()[0] == positives / (positives + negatives // 2)


def rewrite(path, change) -> None:
    """Rewrite the members of a zip: change(name, content) returns the new bytes, or None to drop the member."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if (changed := change(name, content)) is not None:
                archive.writestr(name, changed)


def huge(name: str, content: bytes) -> bytes:
    """Make the header of `fp` claim 2^40 numbers; the content stays."""
    return content.replace(b"(", b"(1099511627776", 1) if name == "fp.npy" else content


MEMBERS = {
    "without magic": lambda name, content: b"abc" if name == "tp.npy" else content,
    "empty": lambda name, content: b"" if name == "thresholds.npy" else content,
    "not there": lambda name, content: None if name == "tied.npy" else content,
    "larger than its header says": lambda name, content: content + bytes(8) if name == "fp.npy" else content,
    "smaller than its header says": lambda name, content: content[:-8] if name == "fp.npy" else content,
    "of far more than it has": huge,
    "of a broken header": lambda name, content: content.replace(b"descr", b"desc(") if name == "tp.npy" else content,
}


@pytest.mark.parametrize("change", MEMBERS.values(), ids=MEMBERS.keys())
def test_damaged_members_are_refused(tmp_path, table, change):
    path = tmp_path / "table.npz"
    table.save(path)
    rewrite(path, change)
    assert refused(path) == (
        f"{path}: expected a rank table (an .npz that RankTable.save wrote), got another or a damaged file"
    )


def test_members_of_other_compression_are_refused(tmp_path, table):
    path = tmp_path / "table.npz"
    table.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert "rank table" in refused(path)


# Merging


def cut(num_rows: int, rng: random.Random) -> list[slice]:
    """Return random row shards that cover all rows."""
    places = sorted(rng.sample(range(1, num_rows), rng.randint(0, min(5, num_rows - 1)))) if num_rows > 1 else []
    return [slice(a, b) for a, b in zip([0, *places], [*places, num_rows], strict=True)]


def merge_in_any_tree(parts: list, rng: random.Random):
    """Merge two or three tables at a time in random order, until one is left."""
    parts = list(parts)
    while len(parts) > 1:
        rng.shuffle(parts)
        size = rng.randint(2, 3)
        parts = [parts[0].merge(*parts[1:size]), *parts[size:]]
    return parts[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint64])
@pytest.mark.parametrize("seed", range(8))
def test_merged_shards_are_the_table_of_the_whole(dtype, seed):
    rng = random.Random(seed)
    scores, labels = make_case(rng.randint(1, 90), 7, seed=seed, levels=5, prevalence=0.15)
    scores = np.abs(scores).astype(dtype)
    shards = cut(len(scores), rng)
    thresholds = merge_in_any_tree([positive_scores(scores[s], labels[s]) for s in shards], rng)
    tables = [rank_table(scores[s], labels[s], thresholds=thresholds) for s in shards]
    assert_same_table(merge_in_any_tree(tables, rng), rank_table(scores, labels))


def test_merged_positive_scores_are_those_of_the_whole():
    scores, labels = make_case(80, 6, seed=13, levels=5)
    whole = positive_scores(scores, labels)
    parts = [positive_scores(scores[i::3], labels[i::3]) for i in range(3)]
    for merged in (
        parts[0].merge(*parts[1:]),
        functools.reduce(PositiveScores.merge, reversed(parts)),
        whole.merge(whole),
    ):
        assert_same_bits(merged.indptr, whole.indptr)
        assert_same_bits(merged.scores, whole.scores)
    table = rank_table(scores, labels)
    assert_same_bits(whole.scores, table.thresholds)
    assert_same_bits(whole.indptr, table.indptr)


def test_merge_of_no_other_table_changes_nothing(table):
    assert_same_table(table.merge(), table)


def test_merge_refuses_tables_of_different_thresholds(table):
    other = rank_table(*make_case(60, 5, seed=14))
    with pytest.raises(
        ValueError, match=r"^others: expected tables counted against the same thresholds, got different ones; "
    ):
        table.merge(other)


def test_merge_refuses_positive_scores_that_do_not_fit():
    scores, labels = make_case(20, 3)
    ours = positive_scores(scores, labels)
    for other in (positive_scores(scores[:, :2], labels[:, :2]), positive_scores(scores.astype(float), labels)):
        with pytest.raises(ValueError, match=r"^others: expected 3 classes of float32, got "):
            ours.merge(other)


def test_thresholds_must_fit_the_scores():
    scores, labels = make_case(20, 3)
    with pytest.raises(ValueError, match=r"^thresholds: 3 classes, but scores has 2$"):
        rank_table(scores[:, :2], labels[:, :2], thresholds=positive_scores(scores, labels))
    with pytest.raises(
        TypeError,
        match=r"^thresholds: expected float64 for float64 scores, got float32; were all shards of one dtype\?$",
    ):
        rank_table(scores.astype(float), labels, thresholds=positive_scores(scores, labels))


@pytest.mark.parametrize(
    ("indptr", "scores"),
    [([0, 1, 10**9], [1]), ([0, -5, 1], [1]), ([0, 5, 1], [1]), ([0, 1, 1], ["nan"]), ([0, 2, 2], [1, 3])],
    ids=["beyond the end", "negative", "falling", "NaN", "rising scores"],
)
def test_thresholds_that_do_not_fit_together_are_refused(indptr, scores):
    """This runs in a separate process, because an unchecked value may crash it."""
    code = f"""
import numpy as np, vltr_eval
thresholds = vltr_eval.PositiveScores(np.array({indptr}), np.array({scores}).astype(np.float32))
try:
    vltr_eval.rank_table(np.zeros((4, 2), np.float32), np.eye(4, 2), thresholds=thresholds)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("thresholds: expected ")


def test_thresholds_that_miss_a_positive_are_refused():
    """Thresholds of another shard alone would lose positives of this one, so every count would be wrong."""
    scores, labels = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1, 0, 1, 0])
    with pytest.raises(ValueError, match=r"^thresholds: expected "):
        rank_table(scores[2:], labels[2:], thresholds=positive_scores(scores[:2], labels[:2]))


def test_a_shard_counted_against_all_thresholds_keeps_its_metrics():
    """Extra thresholds change no metric of a shard, even above its best score."""
    scores, labels = make_case(90, 7, seed=15, levels=9, prevalence=0.1)
    thresholds = positive_scores(scores, labels)
    for shard in (slice(0, 30), slice(30, 31), slice(31, 90)):
        alone = rank_table(scores[shard], labels[shard])
        against_all = rank_table(scores[shard], labels[shard], thresholds=thresholds)
        for metric in (
            "average_precision",
            "roc_auc",
            "expected_sampled_average_precision",
            "calibrated_average_precision",
            "tie_rate",
        ):
            assert_agrees(getattr(against_all, metric)(), getattr(alone, metric)())
        assert_agrees(against_all.tie_interval(), alone.tie_interval())
        assert_agrees(against_all.precision_at_recall(0.5), alone.precision_at_recall(0.5))
        assert_agrees(against_all.recall_at_precision(0.5), alone.recall_at_precision(0.5))


def test_saved_file_is_a_plain_npz(tmp_path, table):
    table.save(tmp_path / "table.npz")
    with zipfile.ZipFile(tmp_path / "table.npz") as file:
        assert {name.removesuffix(".npy") for name in file.namelist()} == {"format", "num_rows", *fields(table)}


def test_thresholds_without_a_score_between_others_are_refused():
    scores, labels = np.array([[5.0], [3.0], [4.0]]), np.array([[1], [1], [0]])
    for known in ([3.0], [5.0], [6.0, 3.0]):
        partial = PositiveScores(np.array([0, len(known)]), np.array(known))
        with pytest.raises(
            ValueError, match=r"^thresholds: expected the scores of all positives, .* in class 0; merge"
        ):
            rank_table(scores, labels, thresholds=partial)


def test_roc_auc_of_many_merged_shards_is_exact():
    one = RankTable(
        2**32 - 2,
        *(
            np.array(a, t)
            for a, t in (
                ([0, 1], np.int64),
                ([0.5], np.float64),
                ([2**31 - 1], np.int64),
                ([0], np.int64),
                ([0], np.int64),
            )
        ),
    )
    assert one.merge(one, one).roc_auc()[0] == 1.0


# Some of its thresholds


def test_a_table_of_all_thresholds_is_the_same(table):
    assert_same_table(table.select(np.ones(len(table.tp), bool)), table)


def test_thresholds_that_no_positive_has_are_left_out():
    scores, labels = make_case(90, 6, seed=15, levels=9)
    labels[:, 2] = False
    rows = np.arange(90) % 3 > 0
    counted = rank_table(scores[rows], labels[rows], thresholds=positive_scores(scores, labels))
    kept = counted.positives_at() > 0
    assert not kept.all()
    assert_same_table(counted.select(kept), rank_table(scores[rows], labels[rows]))


def test_a_table_without_thresholds_has_no_positives(table):
    none = table.select(np.zeros(len(table.tp), bool))
    assert none.num_positives.tolist() == [0] * table.num_classes
    assert np.isnan(none.average_precision()).all()
