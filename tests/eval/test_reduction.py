"""Rows that are views of one video become one row: exact, and with the same bits in any order and on any ranks."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import subprocess
import sys

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import run_within
from ranks import Ranks, group_of

import vltr_eval
from vltr_eval import (
    Evaluation,
    Evaluator,
    InputError,
    Report,
    choose_thresholds,
    compare,
    distributed,
    evaluate,
    evaluate_batches,
    reduce_rows,
)
from vltr_eval.program.cli import main

HOWS = ("mean", "max", "sum", "logmeanexp")
FLOATS = (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)
INTS = (np.bool_, np.int8, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
NUM_CLASSES = 5


def plain_reduce(values, how):
    """Reduce the views of one cell as a textbook does."""
    values = [float(value) for value in values]
    if how == "max":
        return max(values)
    if how in ("mean", "sum"):
        return math.fsum(values) / (len(values) if how == "mean" else 1)
    largest = max(values)
    if math.isinf(largest):
        return largest
    return largest + math.log(math.fsum(math.exp(value - largest) for value in values) / len(values))


def plain_rows(scores, ids, how, dtype):
    """Reduce all rows slowly: videos in the order of their first row."""
    names = list(dict.fromkeys(ids.tolist()))
    rows = [[plain_reduce(scores[ids == name, c].tolist(), how) for c in range(scores.shape[1])] for name in names]
    return names, np.array(rows).astype(dtype)


def made(num_rows, num_videos, dtype=np.float32, seed=0, spread=8):
    """Return scores of very different size, and an id for each row."""
    rng = np.random.default_rng(seed)
    if dtype in INTS:
        scores = rng.integers(0, 2 if dtype is np.bool_ else 100, (num_rows, NUM_CLASSES))
    else:
        spread = 3 if dtype is np.float16 else spread
        scores = rng.normal(size=(num_rows, NUM_CLASSES)) * 10.0 ** rng.integers(-spread, 4, (num_rows, NUM_CLASSES))
    return scores.astype(dtype), rng.integers(0, num_videos, num_rows)


def labels_of(ids, seed=1):
    """Return (N, C) labels that are those of the video of each row."""
    table = np.random.default_rng(seed).random((int(ids.max()) + 1, NUM_CLASSES)) < 0.4
    table[: min(NUM_CLASSES, len(table))] |= np.eye(min(NUM_CLASSES, len(table)), NUM_CLASSES, dtype=bool)
    return table[ids]


def same_bits(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def result_dtype(dtype, how):
    if how == "max":
        return np.dtype(dtype)
    narrow = np.dtype(dtype).itemsize <= 2 or dtype is np.float32
    return np.dtype(np.float32 if narrow else np.float64)


# The values


@pytest.mark.parametrize("how", ["mean", "max", "sum"])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_reduced_scores_are_those_of_exact_sums(dtype, how):
    scores, ids = made(60, 9, dtype)
    found = reduce_rows(scores, ids, how)
    names, expected = plain_rows(scores, ids, how, result_dtype(dtype, how))
    assert (found.ids.tolist(), found.scores.dtype) == (names, expected.dtype)
    assert same_bits(found.scores, expected)
    assert found.num_views.tolist() == [int((ids == name).sum()) for name in names]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTS])
def test_logmeanexp_is_that_of_exact_arithmetic(dtype):
    scores, ids = made(60, 9, dtype)
    _, expected = plain_rows(scores, ids, "logmeanexp", np.float64)
    found = reduce_rows(scores, ids, "logmeanexp").scores
    assert found.dtype == result_dtype(dtype, "logmeanexp")
    tolerance = 1e-14 if found.dtype == np.float64 else 1e-7
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("spread", [12, 25, 200])
def test_sums_are_exact_over_the_whole_range_of_doubles(spread):
    scores, ids = made(80, 4, np.float64, spread=spread)
    scores[ids == 1] *= -1
    for how in ("mean", "sum"):
        assert same_bits(reduce_rows(scores, ids, how).scores, plain_rows(scores, ids, how, np.float64)[1])


def test_sums_cancel_exactly():
    scores = np.float32([[1e30], [1.0], [-1e30], [2.0**-149], [-1.0]])
    assert reduce_rows(scores, [0] * 5, "sum").scores.tolist() == [[2.0**-149]]


def test_the_mean_of_the_largest_doubles_does_not_overflow():
    largest = np.finfo(np.float64).max
    scores = np.array([[largest, largest], [largest, -largest], [largest, largest], [largest, -largest]])
    for order in (range(4), (1, 3, 0, 2)):
        assert reduce_rows(scores[list(order)], [0] * 4).scores.tolist() == [[largest, 0.0]]
        assert reduce_rows(scores[list(order)], [0] * 4, "sum").scores.tolist() == [[math.inf, 0.0]]


def test_large_integers_are_added_without_rounding():
    scores = np.array([[2**62 + 1], [2**62 + 3], [-(2**63)]], np.int64)
    assert reduce_rows(scores, [0, 0, 0], "sum").scores.tolist() == [[4.0]]
    assert reduce_rows(scores[:2], [0, 0], "max").scores.tolist() == [[2**62 + 3]]


def test_infinities_are_ordered_like_numbers():
    scores = np.float32([[np.inf, -np.inf, -np.inf], [1.0, -np.inf, 2.0]])
    expected = {"mean": [np.inf, -np.inf, -np.inf], "sum": [np.inf, -np.inf, -np.inf], "max": [np.inf, -np.inf, 2.0]}
    for how, row in expected.items():
        assert reduce_rows(scores, [7, 7], how).scores.tolist() == [row]
    found = reduce_rows(scores, [7, 7], "logmeanexp").scores[0]
    assert found[:2].tolist() == [np.inf, -np.inf]
    assert found[2] == np.float32(2.0 - math.log(2))


def test_max_puts_plus_zero_above_minus_zero():
    for column in ([0.0, -0.0], [-0.0, 0.0]):
        assert not np.signbit(reduce_rows(np.float32(column)[:, None], [0, 0], "max").scores[0, 0])


def test_a_video_of_many_views_is_exact():
    scores = np.random.default_rng(0).random((70_000, 3)).astype(np.float16)
    for how in ("mean", "sum"):
        _, expected = plain_rows(scores, np.zeros(len(scores), np.int64), how, np.float32)
        assert same_bits(reduce_rows(scores, np.zeros(len(scores), np.int64), how).scores, expected)


# Laws


@pytest.mark.parametrize("how", HOWS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_neither_order_nor_shards_nor_threads_change_a_bit(how, data):
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    num_rows = data.draw(st.integers(1, 40))
    scores, ids = made(num_rows, 5, dtype, seed=data.draw(st.integers(0, 99)), spread=20)
    expected = reduce_rows(scores, ids, how, threads=1)
    order = np.array(data.draw(st.permutations(range(num_rows))))
    cuts = sorted(data.draw(st.lists(st.integers(1, num_rows), max_size=3)))
    shuffled = scores[order]
    shards = [part for part in np.split(shuffled, cuts) if len(part)]
    shards = [np.asfortranarray(part) if number % 2 else part for number, part in enumerate(shards)]
    found = reduce_rows(shards, ids[order], how, threads=2)
    position = {name: row for row, name in enumerate(found.ids.tolist())}
    rows = [position[name] for name in expected.ids.tolist()]
    assert same_bits(found.scores[rows], expected.scores)


@pytest.mark.parametrize("level", vltr_eval.build_info()["simd_available"])
@pytest.mark.parametrize("how", HOWS)
def test_every_instruction_set_gives_the_same_bits(how, level, monkeypatch):
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.int64):
        scores, ids = made(50, 7, dtype, spread=20)
        monkeypatch.setenv("VLTR_SIMD", "generic")
        expected = reduce_rows(scores, ids, how).scores
        monkeypatch.setenv("VLTR_SIMD", level)
        assert same_bits(reduce_rows(scores, ids, how).scores, expected)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [*FLOATS, np.int8])
def test_one_view_is_the_identity(dtype, how):
    scores, _ = made(20, 1, dtype)
    found = reduce_rows(scores, np.arange(20), how)
    assert np.array_equal(found.scores.astype(np.float64), scores.astype(np.float64))
    assert np.array_equal(reduce_rows(np.repeat(scores, 3, axis=0), np.repeat(np.arange(20), 3), "max").scores, scores)


def test_max_commutes_with_a_rising_function():
    scores, ids = made(60, 6, np.float64, spread=2)
    assert same_bits(
        reduce_rows(np.arctan(scores), ids, "max").scores, np.arctan(reduce_rows(scores, ids, "max").scores)
    )


def test_torch_scores_give_a_torch_tensor():
    scores, ids = made(20, 4)
    found = reduce_rows(torch.from_numpy(scores), torch.from_numpy(ids)).scores
    assert isinstance(found, torch.Tensor)
    assert same_bits(found.numpy(), reduce_rows(scores, ids).scores)
    halves = reduce_rows(torch.from_numpy(scores).bfloat16(), ids, "max").scores
    assert halves.dtype == torch.bfloat16


def test_the_views_of_a_mapped_file_are_not_copied(tmp_path):
    code = f"""
import numpy as np, resource, vltr_eval
scores = np.lib.format.open_memmap("{tmp_path}/s.npy", "w+", np.float32, (12_000, 1_000))
scores[:] = 0.5
del scores
scores = np.load("{tmp_path}/s.npy", mmap_mode="r")
vltr_eval.reduce_rows(scores[:300], np.arange(300) // 30)
import tracemalloc
tracemalloc.start()
found = vltr_eval.reduce_rows(scores, np.arange(12_000) // 30)
print(tracemalloc.get_traced_memory()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 6_000_000  # the scores have 48 MB


# SlowFast's meter, the loop of the community


def slowfast_meter(scores, labels, clip_ids, num_clips, method):
    """Return the video scores of TestMeter as its test loop fills them, clip by clip, in batches of one."""
    num_videos = len(scores) // num_clips
    video = torch.zeros(num_videos, scores.shape[1])
    if method == "max":
        video -= 1e10  # its start value for multi-label tests
    for row, clip in enumerate(clip_ids):
        number = int(clip) // num_clips
        if method == "sum":
            video[number] += scores[row]
        else:
            video[number] = torch.max(video[number], scores[row])
    return video


@pytest.mark.parametrize("method", ["sum", "max"])
def test_thirty_views_agree_with_the_meter_of_slowfast(method):
    rng = np.random.default_rng(3)
    num_clips, num_videos = 30, 12
    clip_ids = rng.permutation(num_clips * num_videos)
    scores = torch.from_numpy(rng.random((len(clip_ids), NUM_CLASSES), dtype=np.float32))
    expected = slowfast_meter(scores, None, clip_ids, num_clips, method)
    found = reduce_rows(scores, clip_ids // num_clips, method)
    ordered = found.scores[np.argsort(found.ids)]
    if method == "max":
        assert same_bits(ordered, expected)
    else:
        np.testing.assert_allclose(ordered, expected, rtol=1e-6)  # the meter rounds after each clip
        mean = reduce_rows(scores, clip_ids // num_clips).scores
        np.testing.assert_allclose(found.scores / 30, mean, rtol=1e-6)


def test_a_start_value_does_not_absorb_scores():
    """SlowFast starts its multi-label sums at -1e10 in float32, where no score changes them (issues 191 and 511)."""
    scores = torch.rand(30, NUM_CLASSES)
    absorbed = torch.full((NUM_CLASSES,), -1e10)
    for row in scores:
        absorbed += row
    assert len(set(absorbed.tolist())) == 1
    assert len(set(reduce_rows(scores, [0] * 30, "sum").scores[0].tolist())) == NUM_CLASSES


# evaluate and its files


def case(num_videos=40, views=6, seed=0):
    rng = np.random.default_rng(seed)
    videos = rng.permutation(np.repeat(np.arange(num_videos), views))
    labels = labels_of(videos)
    scores = (rng.normal(size=(len(videos), NUM_CLASSES)) + 1.5 * labels).astype(np.float32)
    return scores, labels, videos


@pytest.mark.parametrize("how", HOWS)
def test_evaluate_is_the_evaluation_of_reduced_rows(how):
    scores, labels, videos = case()
    reduced = reduce_rows(scores, videos, how, labels)
    expected = evaluate(reduced.scores, reduced.labels)
    report = evaluate(scores, labels, ids=videos, reduce=how)
    assert report.metrics() == expected.metrics()
    assert report.num_rows == 40
    assert report.notes[0] == f"240 rows became 40 videos by {how}: 6 views each"
    assert f"|reduce:{how}|" in report.signature
    assert Report.from_json(report.to_json()) == report
    assert "reduce" not in json.loads(expected.to_json())["settings"]


def test_the_report_says_how_unequal_the_views_are():
    scores, labels, videos = case()
    report = evaluate(scores[:-1], labels[:-1], ids=videos[:-1], reduce="mean")
    assert report.notes[0] == "239 rows became 40 videos by mean: 5 to 6 views each"


def test_labels_may_have_one_row_for_each_video_in_any_order():
    scores, labels, videos = case()
    names = np.array([f"v{number}" for number in videos], object)
    distinct, first = np.unique(videos, return_index=True)
    label_ids = [f"v{number}" for number in distinct]
    expected = evaluate(scores, labels, ids=names, reduce="mean")
    found = evaluate(scores, labels[first], ids=names, label_ids=label_ids, reduce="mean")
    assert found == expected
    shuffled = np.random.default_rng(5).permutation(len(videos))
    assert evaluate(scores, labels[shuffled], ids=names, label_ids=names[shuffled], reduce="mean") == expected


def test_inner_leaves_out_the_videos_of_one_side():
    scores, labels, videos = case()
    kept = videos < 30
    distinct, first = np.unique(videos[kept], return_index=True)
    arguments = {"ids": videos, "label_ids": [*distinct.tolist(), 99], "reduce": "mean"}
    own = np.concatenate([labels[kept][first], labels[:1]])
    with pytest.raises(InputError, match=r"join='inner' \(--join inner\) evaluates the rows that both have$"):
        evaluate(scores, own, **arguments)
    found = evaluate(scores, own, **arguments, join="inner")
    assert found.metrics() == evaluate(scores[kept], labels[kept], ids=videos[kept], reduce="mean").metrics()
    assert found.notes[0].startswith("10 scored videos have no labels and are left out: 10 ids (")
    assert found.notes[1].startswith("1 labelled videos have no scores and are left out: 1 id ('99')")


def test_other_functions_reduce_as_well():
    scores, labels, videos = case()
    reduced = reduce_rows(scores, videos, "mean", labels)
    expected = Evaluation.from_predictions(reduced.scores, reduced.labels, topk=None)
    found = Evaluation.from_predictions(scores, labels, ids=videos, reduce="mean", topk=None)
    assert found.report.metrics() == expected.report.metrics()
    difference = compare(scores, scores * 2 - labels, labels=labels, ids=videos, reduce="mean").systems[0].of("mAP")
    other = compare(reduced.scores, reduce_rows(scores * 2 - labels, videos).scores, labels=reduced.labels)
    assert difference.difference == pytest.approx(other.systems[0].of("mAP").difference, abs=1e-12)
    thresholds = choose_thresholds(scores, labels, ids=videos, reduce="mean", pool_by="overall")
    assert np.array_equal(
        thresholds.values, choose_thresholds(reduced.scores, reduced.labels, pool_by="overall").values
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    scores, labels, videos = case()
    np.save(tmp_path / "scores.npy", scores)
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "ids.txt").write_text("".join(f"v{video}\n" for video in videos))
    lines = {video: ";".join(map(str, np.flatnonzero(row))) for video, row in zip(videos, labels, strict=True)}
    (tmp_path / "videos.csv").write_text("id,labels\n" + "".join(f"v{video},{row}\n" for video, row in lines.items()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(*arguments):
    return run_within(main, "vltr-eval", list(arguments))


def test_the_program_reduces_files(folder):
    done = program("scores.npy", "labels.npy", "--ids", "ids.txt", "--reduce", "mean", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert "note: 240 rows became 40 videos by mean: 6 views each" in done.stderr
    scores, labels, videos = case()
    assert (
        json.loads(done.stdout)["metrics"]
        == json.loads(evaluate(scores, labels, ids=videos, reduce="mean").to_json())["metrics"]
    )
    by_video = program("scores.npy", "videos.csv", "--ids", "ids.txt", "--reduce", "mean", "--json", "-")
    assert by_video.stdout == done.stdout


def test_the_program_says_what_it_needs(folder):
    done = program("scores.npy", "labels.npy", "--reduce", "mean")
    assert done.returncode == 1
    expected = "reduce: expected ids that name the video of each row of scores.npy, got none; give ids= (--ids)"
    assert expected in done.stderr
    np.save("few.npy", np.load("labels.npy")[:40])
    done = program("scores.npy", "few.npy", "--ids", "ids.txt", "--reduce", "mean")
    assert "few.npy: 40 rows of labels without ids, but the scores have 240 rows of 40 videos" in done.stderr
    assert program("scores.npy", "labels.npy", "--reduce", "median").returncode == 2


def test_the_program_compares_reduced_predictions(folder):
    np.save("new.npy", np.load("scores.npy") + np.load("labels.npy"))
    options = ["--labels", "labels.npy", "--ids", "ids.txt", "--reduce", "mean", "--json", "-"]
    done = program("compare", "scores.npy", "new.npy", *options)
    assert done.returncode == 0, done.stderr
    assert "reduce:mean" in done.stdout


# Unknown labels


def unknown_case():
    """Return scores, labels with -1 for an unknown cell, and the video of each row; and the labels of each video."""
    scores, labels, videos = case()
    hidden = np.random.default_rng(3).random((40, NUM_CLASSES)) < 0.3
    marked = np.where(hidden[videos], -1, labels.astype(np.int8)).astype(np.int8)
    order = list(dict.fromkeys(videos.tolist()))
    by_video = np.stack([marked[videos == video][0] for video in order])
    return scores, marked, videos, np.array(order), by_video


@pytest.mark.parametrize("how", HOWS)
def test_unknown_cells_are_those_of_the_video(how):
    scores, marked, videos, order, by_video = unknown_case()
    reduced = reduce_rows(scores, videos, how, marked, unknown=-1)
    expected = evaluate(reduce_rows(scores, videos, how).scores, by_video, unknown=-1)
    assert evaluate(reduced.scores, reduced.labels) == expected
    known, labels, ids = marked >= 0, np.maximum(marked, 0), [f"v{video}" for video in order]
    names = np.array([f"v{video}" for video in videos], object)
    few, row_of = by_video >= 0, np.array([order.tolist().index(video) for video in videos])
    unknown = [np.nonzero(cells < 0) for cells in (marked, by_video)]
    for own, options in (
        (marked, {"unknown": -1}),
        (np.where(known, marked, np.nan), {"unknown": "nan"}),
        (labels, {"mask": known}),
        (labels, {"mask": unknown[0]}),
        (labels, {"mask": scipy.sparse.coo_array(~known)}),
        (np.maximum(by_video, 0), {"mask": few, "label_ids": ids}),
        (np.maximum(by_video, 0), {"mask": unknown[1], "label_ids": ids}),
        (np.maximum(by_video, 0), {"mask": few[row_of], "label_ids": ids}),
        (np.maximum(by_video, 0), {"mask": scipy.sparse.coo_array(~few[row_of]), "label_ids": ids}),
        (labels, {"mask": pd.DataFrame(few, ids).rename_axis("id").reset_index()}),
    ):
        found = evaluate(scores, own, ids=names, reduce=how, **options)
        assert found.metrics() == expected.metrics()
        assert found.num_unknown == expected.num_unknown == (by_video < 0).sum()
        assert found.classes == expected.classes
    assert f"|unknown:{(by_video < 0).sum()}|" in found.signature


def test_a_few_unknown_cells_of_many_classes_are_lists():
    scores = np.zeros((1000, 3), np.float32)
    ids = np.arange(1000) // 2
    reduced = reduce_rows(scores, ids, labels=[[0]] * 1000, mask=([4, 5], [2, 2]))
    assert reduced.labels.unknown.bits is None
    assert [cells.tolist() for cells in reduced.labels.unknown.pairs()] == [[2], [2]]


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_views_that_differ_in_what_they_know_are_refused_by_id(share):
    scores, ids = np.zeros((40, 3), np.float32), np.arange(40) // 4
    labels = np.where(np.random.default_rng(0).random((10, 3)) < share, -1, 1)[ids]
    labels[8:12] = [1, 0, 1]
    labels[11, 1] = -1
    sentence = (
        r"^labels: expected the same labels for all views of a video, but 2 has \[0, 2\] at row 8 and "
        r"\[0, 2\] and unknown \[1\] at row 11; correct the labels"
    )
    evaluator = Evaluator(3, reduce="max")
    evaluator.update(scores, labels, ids, unknown=-1)
    for call in (
        lambda: reduce_rows(scores, ids, labels=labels, unknown=-1),
        lambda: evaluate(scores, labels, ids=ids, reduce="max", unknown=-1),
        lambda: evaluate(scores, np.abs(labels), ids=ids, reduce="max", mask=labels >= 0),
        evaluator.compute,
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


def test_masks_that_do_not_fit_the_views_are_refused():
    scores, ids = np.zeros((6, 2), np.float32), ["a", "a", "a", "b", "b", "b"]
    arguments = {"ids": ids, "label_ids": ["a", "b"], "reduce": "mean"}
    mask = np.ones((6, 2), bool)
    mask[4, 1] = False
    for differing in (mask, scipy.sparse.coo_array(~mask)):
        with pytest.raises(
            InputError, match=r"^mask: expected the same known cells .* but those of 1 id \('b'\) differ"
        ):
            evaluate(scores, [[0], [1]], mask=differing, **arguments)
    with pytest.raises(
        InputError, match=r"^mask: 5 rows of a mask without ids, but the labels have 2 rows; give a mask"
    ):
        evaluate(scores, [[0], [1]], mask=mask[:5], **arguments)
    with pytest.raises(InputError, match=r"^mask: a mask of 1 classes, but the scores have 2 classes$"):
        evaluate(scores, [[0], [1]], mask=mask[:, :1], **arguments)
    only_a = pd.DataFrame({"id": ["a"], "0": [True], "1": [True]})
    with pytest.raises(InputError, match=r"lacks 1 id \('b'\) of scores; a mask must have every row$"):
        evaluate(scores, [[0], [1]], mask=only_a, **arguments)


def test_the_program_reduces_labels_with_unknown_cells(folder):
    scores, marked, videos, _, _ = unknown_case()
    np.save("marked.npy", marked)
    np.save("known.npy", marked >= 0)
    np.save("plain.npy", np.maximum(marked, 0))
    options = ["--ids", "ids.txt", "--reduce", "mean", "--json", "-"]
    done = program("scores.npy", "marked.npy", "--unknown", "-1", *options)
    assert done.returncode == 0, done.stderr
    expected = evaluate(scores, marked, ids=videos, reduce="mean", unknown=-1)
    found = json.loads(done.stdout)
    assert found["metrics"] == json.loads(expected.to_json())["metrics"]
    assert found["num_unknown"] == expected.num_unknown
    masked = program("scores.npy", "plain.npy", "--unknown", "known.npy", *options)
    assert json.loads(masked.stdout)["metrics"] == found["metrics"]


# Bad input


def test_views_with_different_labels_are_refused_by_id():
    scores, ids = np.zeros((4, 2), np.float32), ["a", "b", "a", "b"]
    sentence = (
        r"^labels: expected the same labels for all views of a video, but 'b' has \[0\] at row 1 and \[0, 1\] at row 3"
        r"; correct the labels, or give different videos different ids$"
    )
    for call in (
        lambda: reduce_rows(scores, ids, labels=[[1], [0], [1], [0, 1]]),
        lambda: evaluate(scores, [[1], [0], [1], [0, 1]], ids=ids, reduce="max"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("how", HOWS)
def test_the_first_nan_is_named_by_row_and_class(how, dtype, sign):
    scores, ids = made(30, 4, dtype)
    scores[[17, 22], 3] = np.copysign(np.nan, sign)
    scores[17, 4] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 17, class 3$"):
        reduce_rows(scores, ids, how)


@pytest.mark.parametrize("how", ["mean", "sum"])
def test_infinities_of_both_signs_have_no_sum(how):
    scores = np.float32([[0, np.inf], [0, 1], [0, -np.inf]])
    with pytest.raises(
        ValueError, match=rf"^scores: expected a {how} of each video, but the views of 'x' have inf and"
    ):
        reduce_rows(scores, ["x", "y", "x"], how)
    assert reduce_rows(scores, ["x", "y", "x"], "max").scores.tolist() == [[0, np.inf], [0, 1]]


def test_bad_arguments_are_refused_in_one_sentence():
    scores = np.zeros((3, 2), np.float32)
    with pytest.raises(ValueError, match=r"^how: expected one of mean, max, sum, logmeanexp, got 'median'$"):
        reduce_rows(scores, [0, 0, 0], "median")
    with pytest.raises(ValueError, match=r"^reduce: expected one of mean, max, sum, logmeanexp, got 'median'$"):
        evaluate(scores, [[0]] * 3, ids=[0, 0, 0], reduce="median")
    with pytest.raises(ValueError, match=r"^ids: expected shape \(3,\) as scores has rows, got \(2,\)$"):
        reduce_rows(scores, [0, 0])
    with pytest.raises(ValueError, match=r"^reduce: expected ids that name the video of each row of scores, got none"):
        evaluate(scores, [[0]] * 3, reduce="mean")
    with pytest.raises(InputError, match=r"got join='position' \(--join position\), which leaves ids out"):
        evaluate(scores, [[0]] * 3, ids=[0, 0, 0], reduce="mean", join="position")
    with pytest.raises(TypeError, match=r"^reduce: expected vltr_eval.evaluate or Evaluator, .* got evaluate_batches"):
        evaluate_batches([(scores, [[0]] * 3)], 2, reduce="mean")


# Batches and ranks


def fed(scores, labels, ids, order, how, num_batches=4, **options):
    evaluator = Evaluator(NUM_CLASSES, reduce=how, **options)
    for rows in np.array_split(order, num_batches):
        evaluator.update(scores[rows], labels[rows], ids[rows])
    return evaluator


@pytest.mark.parametrize("how", HOWS)
def test_batches_in_any_order_give_the_same_report(how):
    scores, labels, videos = case()
    expected = fed(scores, labels, videos, np.arange(240), how, 1).compute()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(240)
        assert fed(scores, labels, videos, order, how, 7).compute() == expected
    by_id = np.argsort(videos, kind="stable")
    assert expected == evaluate(scores[by_id], labels[by_id], ids=videos[by_id], reduce=how)


def test_an_evaluator_of_views_can_be_merged_saved_and_spilled(tmp_path):
    scores, labels, videos = case()
    expected = fed(scores, labels, videos, np.arange(240), "mean").compute()
    one = fed(scores, labels, videos, np.arange(100), "mean")
    one.merge(fed(scores, labels, videos, np.arange(100, 240), "mean"))
    assert one.compute() == expected
    again = Evaluator(NUM_CLASSES, reduce="mean")
    again.load_state_dict(one.state_dict())
    assert again.compute() == expected
    assert (
        fed(scores, labels, videos, np.arange(240), "mean", memory_budget=0, spill_dir=tmp_path).compute() == expected
    )
    assert one.rank_table().num_rows == 40


def test_an_evaluator_of_views_needs_ids_and_one_label_set_a_video():
    evaluator = Evaluator(2, reduce="mean")
    with pytest.raises(ValueError, match=r"^ids: expected the video of each row, because reduce is given, got None$"):
        evaluator.update(np.zeros((1, 2), np.float32), [[0]])
    evaluator.update(np.zeros((1, 2), np.float32), [[0]], ["a"])
    evaluator.update(np.zeros((1, 2), np.float32), [[1]], ["a"])
    with pytest.raises(ValueError, match=r"'a' has \[0\] at row 0 and \[1\] at row 1"):
        evaluator.compute()


def dealt(rank, size, num_rows, deal):
    """Return the rows of one rank: in turn, in blocks, at random, or all on the last one."""
    rows = np.arange(num_rows)
    if deal == "in turn":
        return rows[rank::size]
    if deal == "blocks":
        return np.array_split(rows, size)[rank]
    if deal == "random":
        return rows[np.random.default_rng(9).integers(0, size, num_rows) == rank]
    return rows if rank == size - 1 else rows[:0]


def run_rank(rank, size, scores, labels, videos, deal, how, with_names, unknown=None):
    rows = dealt(rank, size, len(scores), deal)
    ids = np.array([f"v{video}" for video in videos], object) if with_names else videos
    evaluator = Evaluator(NUM_CLASSES, reduce=how)
    evaluator.update(scores[rows], labels[rows], ids[rows], unknown=unknown)
    report = evaluator.compute()
    other = distributed.evaluate(scores[rows], labels[rows], ids=ids[rows], reduce=how, unknown=unknown)
    return report.to_json(), other.to_json()


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("deal", ["in turn", "blocks", "random", "last"])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_give_the_bits_of_one_process(size, deal, how):
    scores, labels, videos = case()
    for with_names in (False, True):
        ids = np.array([f"v{video}" for video in videos], object) if with_names else videos
        expected = fed(scores, labels, ids, np.arange(240), how, 1).compute().to_json()
        found = group_of(size).run(run_rank, size, scores, labels, videos, deal, how, with_names)
        assert found == [(expected, expected)] * size


@pytest.mark.parametrize("how", ["mean", "max"])
@pytest.mark.parametrize("deal", ["in turn", "random", "last"])
@pytest.mark.parametrize("share", [0.002, 0.3])
def test_ranks_reduce_unknown_cells_as_one_process_does(deal, how, share):
    scores, labels, videos = case()
    hidden = np.random.default_rng(3).random((40, NUM_CLASSES)) < share
    hidden[7, 2] = True
    marked = np.where(hidden[videos], -1, labels.astype(np.int8))
    one = Evaluator(NUM_CLASSES, reduce=how)
    one.update(scores, marked, videos, unknown=-1)
    expected = one.compute()
    assert expected.num_unknown == hidden.sum()
    expected = expected.to_json()
    found = group_of(2).run(run_rank, 2, scores, marked, videos, deal, how, False, -1)
    assert found == [(expected, expected)] * 2


def test_ranks_refuse_views_that_differ_in_what_they_know():
    scores, labels, videos = case()
    marked = labels.astype(np.int8)
    rows = np.flatnonzero(videos == 3)
    marked[rows[0], 1] = -1
    for found in group_of(2).errors(run_rank, 2, scores, marked, videos, "in turn", "mean", True, -1):
        assert "labels: expected the same labels for all views of a video, but 'v3' has" in found.message
        assert "and unknown [1]" in found.message


def test_ranks_refuse_different_labels_and_nan_together():
    scores, labels, videos = case()
    wrong = labels.copy()
    row = int(np.flatnonzero(videos == 3)[0])
    wrong[row] = ~wrong[row]
    for found in group_of(2).errors(run_rank, 2, scores, wrong, videos, "in turn", "mean", True):
        assert "labels: expected the same labels for all views of a video, but 'v3' has" in found.message
    scores[101, 2] = np.nan
    for how in ("mean", "max"):
        for found in group_of(2).errors(run_rank, 2, scores, labels, videos, "in turn", how, False):
            assert "got NaN at row 50, class 2" in found.message


def run_program(rank, size, port, folder, labels="labels.npy", options=()):
    os.chdir(folder)
    place = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()}, TORCHELASTIC_USE_AGENT_STORE="True")
    arguments = ["scores.npy", labels, "--ids", "ids.txt", "--reduce", "mean", "--json", "-", *options]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main(arguments, launched=True)
    return code, out.getvalue()


@pytest.mark.parametrize(("labels", "options"), [("labels.npy", ()), ("marked.npy", ("--unknown", "-1"))])
def test_the_program_on_several_ranks_has_the_output_of_one_process(folder, labels, options):
    np.save("marked.npy", unknown_case()[1])
    ranks = Ranks(2, grouped=False)
    try:
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        found = ranks.run(run_program, 2, store.port, str(folder), labels, options)
    finally:
        ranks.stop()
    done = program("scores.npy", labels, "--ids", "ids.txt", "--reduce", "mean", "--json", "-", *options)
    assert done.returncode == 0, done.stderr
    assert found == [(0, done.stdout), (0, "")]
