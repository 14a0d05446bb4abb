"""SlowFast's get_map and TestMeter: recorded outputs of the original, its definition, and its quirks.

Recorded: facebookresearch/SlowFast slowfast/utils/meters.py at 287ec007 with scikit-learn 1.9.1 and torch 2.13.
"""

from __future__ import annotations

import logging

import numpy as np
import pytest
import small_inputs as small
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import slowfast as published

from vltr_eval.compat import slowfast
from vltr_eval.compat.slowfast import get_map

TEXT = f"Average precision requires a sufficient number of samples{'in a batch':>23}"
LINE = f"{TEXT} which are missing in this sample.\n"


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float32)))


# get_map


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        (small.A, small.LABELS_A, 0.8265963203463204),
        (small.B, small.LABELS_B, 0.7671182917611489),
        (small.B[::-1], small.LABELS_B[::-1], 0.7671182917611489),
        (small.C, small.LABELS_C, 0.6295965608465608),
        (sigmoid(small.C), small.LABELS_C, 0.5430886243386244),
    ],
)
def test_small_inputs_give_the_recorded_numbers(scores, labels, expected, capsys):
    found = get_map(scores, labels)
    assert isinstance(found, np.float64)
    assert found == pytest.approx(expected, abs=1e-15, rel=0)
    assert capsys.readouterr().out == ""


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 6), st.sampled_from([1, 3, 1000]))
def test_get_map_equals_the_definition(seed, num_rows, num_classes, levels):
    rng = np.random.default_rng(seed)
    scores = (rng.integers(levels, size=(num_rows, num_classes)) / levels).astype(np.float32)
    labels = (rng.random(scores.shape) < rng.random(num_classes)).astype(rng.choice(["u1", "i8", "f4", "?"]))
    assert get_map(scores, labels) == pytest.approx(published.get_map(scores, labels), abs=1e-14, rel=0)


def changed(array, value, row=0, col=0):
    array = np.array(array, float)
    array[row, col] = value
    return array


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        (changed(small.A, np.nan), small.LABELS_A),
        (changed(small.A, np.inf), small.LABELS_A),
        (small.A, small.LABELS_A * 0),
        (small.A, changed(small.LABELS_A, 2)),
        (small.A, changed(small.LABELS_A, -1)),
        (small.A, changed(small.LABELS_A, 0.5)),
        (small.A, changed(small.LABELS_A, np.nan)),
        (small.A[:5], small.LABELS_A),
        (small.A[:0], small.LABELS_A[:0]),
        (small.A[:, :0], small.LABELS_A[:, :0]),
    ],
)
def test_an_error_of_scikit_learn_is_a_line_and_0(scores, labels, capsys):
    found = get_map(scores, labels)
    assert (type(found), found) == (np.float64, 0.0)
    assert capsys.readouterr().out == LINE


def test_values_of_an_absent_class_are_not_read(capsys):
    expected = get_map(small.B, small.LABELS_B)
    for bad in (np.nan, np.inf):
        assert get_map(changed(small.B, bad, col=3), small.LABELS_B) == expected
    assert capsys.readouterr().out == ""


def test_shapes_and_types_are_those_of_the_original():
    scores, labels = small.A, small.LABELS_A
    assert get_map(scores[:, 0], labels[:, 0]) == get_map(scores[:, :1], labels[:, :1])
    assert get_map(torch.from_numpy(scores), labels) == get_map(scores, labels)
    with pytest.raises(TypeError):
        get_map(scores, torch.from_numpy(labels))
    with pytest.raises(AttributeError):
        get_map(scores.tolist(), labels)
    for columns in (2, 5):
        with pytest.raises(IndexError):
            get_map(np.ones((12, columns)), labels)


def test_get_map_logs_the_number_of_examples(caplog):
    with caplog.at_level(logging.INFO):
        get_map(small.A, small.LABELS_A)
    assert caplog.messages == ["Getting mAP for 12 examples"]


def test_names_of_the_ava_evaluation_are_found_elsewhere():
    with pytest.raises(AttributeError, match="no attribute 'get_ap'"):
        slowfast.get_ap  # noqa: B018


# TestMeter


def clips_of(seed, num_videos, num_clips, num_classes, *, multi_label, dtype=torch.float32, in_order=False):
    """Return scores, labels and ids of clips, all of them, and the labels of the videos."""
    rng = np.random.default_rng(seed)
    ids = np.arange(num_videos * num_clips) if in_order else rng.permutation(num_videos * num_clips)
    scores = torch.from_numpy(rng.normal(size=(len(ids), num_classes))).to(dtype)
    if multi_label:
        labels = torch.from_numpy(rng.random((num_videos, num_classes)) < 0.4).float()
    else:
        labels = torch.from_numpy(rng.integers(num_classes, size=num_videos))
    return scores, labels[ids // num_clips], torch.from_numpy(ids)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["sum", "max"]),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    st.booleans(),
)
def test_the_meter_has_the_bits_of_the_definition(seed, num_videos, num_clips, multi_label, method, dtype, in_order):
    clips = clips_of(seed, num_videos, num_clips, 6, multi_label=multi_label, dtype=dtype, in_order=in_order)
    meters = [module.TestMeter(num_videos, num_clips, 6, 1, multi_label, method) for module in (slowfast, published)]
    for meter in meters:
        for start in range(0, len(clips[0]), 4):
            meter.update_stats(*(array[start : start + 4] for array in clips))
        meter.finalize_metrics(ks=(1, 3))
    ours, theirs = meters
    for name in ("video_preds", "video_labels", "clip_count"):
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    assert ours.stats == theirs.stats


def test_a_sum_of_multi_label_scores_says_nothing():
    """The quirk: scores start at -1e10, where float32 has steps of 1024."""
    scores, labels = torch.from_numpy(small.A).float(), torch.from_numpy(small.LABELS_A)
    found = {}
    for method in ("sum", "max"):
        meter = slowfast.TestMeter(12, 1, 4, 1, multi_label=True, ensemble_method=method)
        meter.update_stats(scores, labels, torch.arange(12))
        meter.finalize_metrics()
        found[method] = meter.stats
    assert found["max"] == dict.fromkeys(("map", "top1_acc", "top5_acc"), "82.66") | {"split": "test_final"}
    assert found["sum"]["map"] == f"{100 * small.LABELS_A.mean():.2f}"  # the share of positives


def test_labels_of_one_video_must_agree():
    meter = slowfast.TestMeter(3, 2, 4, 1)
    scores = torch.ones(4, 4)
    with pytest.raises(AssertionError, match="clip 3"):
        meter.update_stats(scores, torch.tensor([1, 2, 1, 3]), torch.tensor([0, 2, 1, 3]))
    assert meter.clip_count.tolist() == [2, 1, 0]  # the clips before it
    with pytest.raises(AssertionError, match="clip 1"):
        meter.update_stats(scores[:1], torch.tensor([0]), torch.tensor([1]))
    meter = slowfast.TestMeter(1, 2, 4, 1)
    meter.update_stats(scores[:2], torch.tensor([0, 2]), torch.tensor([0, 1]))  # label 0 is not looked at
    assert meter.video_labels.tolist() == [2]


def test_bad_clips_and_methods_are_errors():
    meter = slowfast.TestMeter(2, 2, 3, 1, ensemble_method="mean")
    with pytest.raises(NotImplementedError, match="Ensemble Method mean is not supported"):
        meter.update_stats(torch.ones(1, 3), torch.tensor([0]), torch.tensor([0]))
    meter = slowfast.TestMeter(2, 2, 3, 1)
    for clip in (4, -5):
        with pytest.raises(IndexError):
            meter.update_stats(torch.ones(1, 3), torch.tensor([0]), torch.tensor([clip]))
    assert meter.clip_count.tolist() == [0, 0]


def test_the_meter_logs_lines_of_json(caplog):
    meter = slowfast.TestMeter(num_videos=3, num_clips=2, num_cls=6, overall_iters=10)
    with caplog.at_level(logging.INFO):
        meter.iter_tic()
        meter.data_toc()
        meter.iter_toc()
        meter.log_iter_stats(2)
        meter.update_stats(torch.eye(6)[[1, 1]], torch.tensor([1, 1]), torch.tensor([0, 1]))
        meter.finalize_metrics()
    first, warning, last = caplog.messages
    seconds = f"{meter.iter_timer.seconds():.5f}"
    assert first == f'json_stats: {{"cur_iter": "3", "eta": "0:00:00", "split": "test_iter", "time_diff": {seconds}}}'
    assert warning == "clip count Ids=tensor([[1, 2]]) = tensor([0, 0]) (should be 2)"
    assert last == 'json_stats: {"split": "test_final", "top1_acc": "33.33", "top5_acc": "100.00"}'
    assert caplog.records[1].levelno == logging.WARNING


def test_reset_removes_all_clips():
    meter = slowfast.TestMeter(2, 1, 3, 1, multi_label=True)
    meter.update_stats(torch.ones(1, 3), torch.ones(1, 3), torch.tensor([1]))
    meter.reset()
    assert meter.video_preds.eq(-1e10).all()
    assert not meter.video_labels.any()
    assert not meter.clip_count.any()


def test_masked_arrays_have_the_values_under_the_mask_as_in_scikit_learn(capsys):
    masked = np.ma.array(small.A, mask=np.arange(small.A.size).reshape(small.A.shape) % 5 == 0)
    assert get_map(masked, small.LABELS_A) == get_map(small.A, small.LABELS_A)
    assert get_map(small.A, np.ma.array(small.LABELS_A, mask=masked.mask)) == get_map(small.A, small.LABELS_A)
    assert capsys.readouterr().out == ""
