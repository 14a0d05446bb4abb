"""Synthetic sets: published statistics, the structure that is planted, and the same bytes however they are made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from vltr_eval._base.groups import class_groups
from vltr_train.data import synth
from vltr_train.data.dataset import open_dataset
from vltr_train.data.synth import PROFILES, make_world, synthesize

make_tiny = partial(synthesize, scale=0.001, dim=8, frames=6)


def group_sizes(world):
    groups = class_groups(world.split_labels("train").counts(), world.bounds)
    return [len(groups[name]) for name in ("head", "medium", "tail")]


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("profile", "videos", "labels_per_video", "most_and_fewest", "sizes", "frames"),
    [
        ("videolt", [179_334, 25_619, 51_239], 1.0974, (1_912, 44), [47, 617, 340], 150),
        ("minikinetics", [17_170, 4_999], 1.0, (399, 3), [13, 86, 101], 150),
        ("charadeslt", [2_213, 469, 1_012], 6.9, (494, 8), [41, 81, 35], 200),
        ("charadesegolt", [1_553, 764, 748], 9.6, (429, 8), [43, 89, 25], 200),
        ("ava", [211_000, 57_000], 2.4, (164_932, 96), [46, 0, 14], 36),
    ],
)
def test_full_size_has_the_published_statistics(profile, videos, labels_per_video, most_and_fewest, sizes, frames):
    world = make_world(profile, scale=1, dim=1)
    train = world.split_labels("train")
    assert [part.stop - part.start for part in world.splits.values()] == videos
    assert len(train.classes) / len(train) == pytest.approx(labels_per_video, rel=2e-3)
    assert (train.counts().max(), train.counts().min()) == most_and_fewest
    assert world.bounds == PROFILES[profile].bounds
    assert group_sizes(world) == sizes
    assert set(world.lengths.tolist()) == {frames}


@pytest.mark.parametrize("imbalance", [0.01, 0.02, 0.05, 0.1])
def test_minikinetics_has_the_published_size_at_each_imbalance(imbalance):
    size = {0.01: 17_170, 0.02: 19_995, 0.05: 25_287, 0.1: 31_152}[imbalance]
    world = make_world("minikinetics", scale=1, dim=1, imbalance=imbalance)
    assert world.name == f"synthetic-minikinetics-{imbalance}"
    assert len(world.split_labels("train")) == size
    assert (np.diff(world.split_labels("train").counts()) <= 0).all(), "class 0 is the largest"
    assert set(world.split_labels("test").counts().tolist()) <= {24, 25}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scale", [1e-6, 0.001, 0.01, 0.05])
def test_small_sets_keep_classes_and_groups(profile, scale):
    world = make_world(profile, scale=scale, dim=2)
    train, *others = (world.split_labels(split).counts() for split in world.splits)
    assert train.min() >= (3 if profile == "minikinetics" else 4)
    assert all(counts.min() >= 2 for counts in others)
    head, medium, tail = group_sizes(world)
    assert head >= 1
    assert tail >= 1
    assert medium >= (0 if profile == "ava" else 1)


def test_scaled_videolt_keeps_the_tail():
    world = make_world(scale=0.05, dim=2)
    counts = world.split_labels("train").counts()
    assert len(counts) == 225
    assert counts.max() / counts.min() == pytest.approx(43, abs=3)
    np.testing.assert_allclose(np.array(group_sizes(world)) / 225, np.array([47, 617, 340]) / 1_004, atol=0.02)


def test_frames_show_the_classes_of_their_video():
    world = make_world(scale=0.01, dim=256, seed=3)
    train = world.split_labels("train")
    means = np.stack([world.frames_of(video).mean(0) for video in range(600)])
    largest = int(train.counts().argmax())
    carries = train.multi_hot()[:600, largest] > 0
    looks = world.looks
    own = looks.ways[looks.first_way[largest] : looks.first_way[largest + 1], 0].mean(0)
    scores = (means - means.mean(0)) @ own
    assert scores[carries].mean() > scores[~carries].mean() + scores[~carries].std()


def test_frames_are_those_after_a_relu_and_few_of_them_show_a_class():
    world = make_world(scale=0.001, dim=64)
    frames = np.stack([world.frames_of(video) for video in range(40)])
    assert frames.dtype == np.float32
    assert frames.shape == (40, 150, 64)
    assert frames.min() == 0
    assert 0.5 < (frames == 0).mean() < 0.8
    energy = (frames**2).mean(2)
    shows = energy > 2 * np.median(energy)
    assert 0.02 < shows.mean() < 0.25


def test_head_classes_have_more_ways_of_looking():
    world = make_world(scale=0.01, dim=4)
    groups = class_groups(world.split_labels("train").counts(), world.bounds)
    ways = np.diff(world.looks.first_way)
    assert [set(ways[groups[name]].tolist()) for name in ("head", "medium", "tail")] == [{4}, {3}, {2}]


def test_lengths_spread_around_their_mean():
    lengths = make_world(scale=0.01, dim=1, length_spread=0.73).lengths
    assert lengths.min() >= 8
    assert lengths.max() <= 600
    assert lengths.mean() == pytest.approx(150, rel=0.1)
    assert np.median(lengths) < 130


def test_features_have_the_spread_that_is_asked_for():
    usual, asked = make_world(scale=0.001, dim=32), make_world(scale=0.001, dim=32, feature_std=2)
    np.testing.assert_allclose(usual.frames_of(3), asked.frames_of(3) * 8, rtol=1e-6)  # sqrt(8192 / 32) is 16


def test_any_video_can_be_made_alone():
    world, again, other = (make_world(scale=0.001, dim=8, seed=seed) for seed in (1, 1, 2))
    videos = range(len(world.lengths))
    with ThreadPoolExecutor(4) as pool:
        backwards = list(pool.map(again.frames_of, reversed(videos)))[::-1]
    for video in videos:
        np.testing.assert_array_equal(world.frames_of(video), backwards[video])
    assert (world.labels.classes[:50] != other.labels.classes[:50]).any()
    assert (world.frames_of(0) != other.frames_of(0)).any()
    assert (world.frames_of(0) != world.frames_of(1)).any()


def test_labels_do_not_depend_on_the_number_of_features():
    first, second = make_world(scale=0.001, dim=4).labels, make_world(scale=0.001, dim=9).labels
    np.testing.assert_array_equal(first.classes, second.classes)


@pytest.mark.parametrize("layout", ["packed", "npy"])
def test_written_set_opens_as_what_was_made(tmp_path, layout):
    made = make_tiny(tmp_path / "set", layout=layout, length_spread=0.3)
    world = make_world(scale=0.001, dim=8, frames=6, length_spread=0.3)
    data = open_dataset(tmp_path / "set")
    assert (data.name, tuple(data.bounds), data.dim) == ("synthetic-videolt", made.bounds, 8)
    assert data.num_classes == made.num_classes == 32
    for split, opened in {"train": data.train, "validate": data.validate, "test": data.test}.items():
        wanted = world.split_labels(split)
        assert opened.labels.ids == wanted.ids
        np.testing.assert_array_equal(opened.labels.classes, wanted.classes)
        assert len(opened) == made.videos[split]
    videos = np.array([0, 17])
    found = data.frames.gather(data.test.videos[videos], np.array([[0, 1, 2, 3]] * 2))
    start = world.splits["test"].start
    expected = np.stack([world.frames_of(start + video)[:4] for video in videos])
    np.testing.assert_array_equal(found, expected.astype(np.float16).astype(np.float32))


def test_minikinetics_and_ava_have_no_validation_split(tmp_path):
    for profile in ("minikinetics", "ava"):
        make_tiny(tmp_path / profile, profile=profile)
        assert open_dataset(tmp_path / profile).validate is None


def test_threads_do_not_change_the_bytes(tmp_path):
    make_tiny(tmp_path / "one", threads=1)
    make_tiny(tmp_path / "four", threads=4)
    make_tiny(tmp_path / "other", seed=1)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "four")
    assert files_of(tmp_path / "one")["frames.npy"] != files_of(tmp_path / "other")["frames.npy"]


@pytest.mark.parametrize("layout", ["packed", "npy"])
def test_stopped_writing_is_taken_up_again(tmp_path, monkeypatch, layout):
    make_tiny(tmp_path / "whole", layout=layout)
    whole, frames_of = files_of(tmp_path / "whole"), synth.SyntheticWorld.frames_of
    made = []

    def stops(world, video):
        if video == 200:
            raise KeyboardInterrupt
        made.append(video)
        return frames_of(world, video)

    monkeypatch.setattr(synth.SyntheticWorld, "frames_of", stops)
    with pytest.raises(KeyboardInterrupt):
        make_tiny(tmp_path / "set", layout=layout, threads=1)
    assert not (tmp_path / "set" / "train.lst").exists(), "an unfinished set does not open"
    made.clear()
    monkeypatch.setattr(
        synth.SyntheticWorld, "frames_of", lambda world, video: made.append(video) or frames_of(world, video)
    )
    make_tiny(tmp_path / "set", layout=layout, threads=1)
    assert 0 < len(made) < 300
    assert files_of(tmp_path / "set") == whole
    made.clear()
    make_tiny(tmp_path / "set", layout=layout)
    assert not made, "a finished set is left as it is"


def test_progress_reaches_the_end(tmp_path):
    fractions = []
    make_tiny(tmp_path / "set", progress=fractions.append)
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "kinetics"}, "profile: expected one of videolt, .*, got 'kinetics'"),
        ({"scale": 0}, "scale: expected a positive number, got 0"),
        ({"scale": float("nan")}, "scale: expected a positive number, got nan"),
        ({"dim": 0}, "dim: expected at least 1, got 0"),
        ({"frames": 0}, "frames: expected at least 1, got 0"),
        ({"profile": "minikinetics", "imbalance": 2}, "imbalance: expected above 0 to 1, got 2"),
        ({"imbalance": 0.1}, "imbalance: expected none with profile videolt, .*, got 0.1; leave it out"),
        ({"seed": -1}, r"seed: expected an integer from 0 to 2\*\*64 - 1, got -1"),
        ({"feature_std": 0}, "feature_std: expected a positive number, got 0"),
        ({"length_spread": -1}, "length_spread: expected a number from 0 up, got -1"),
        ({"layout": "zip"}, "layout: expected packed or npy, got 'zip'"),
        ({"dtype": "int8"}, "dtype: expected float16 or float32, got 'int8'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_tiny(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()


def test_another_set_is_never_overwritten(tmp_path):
    make_tiny(tmp_path / "set")
    with pytest.raises(ValueError, match="expected a new folder or the set of seed 0, got 1"):
        make_tiny(tmp_path / "set", seed=1)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "train.lst").write_text("video 0\n")
    with pytest.raises(ValueError, match="expected a new or empty folder, got one with other files"):
        make_tiny(tmp_path / "own")
    assert (tmp_path / "own" / "train.lst").read_text() == "video 0\n"


@pytest.mark.parametrize("text", ["", "[1]", "3", "[" * 100_000])
def test_a_damaged_note_of_the_origin_is_one_sentence(tmp_path, text):
    (tmp_path / "synth.json").write_text(text)
    with pytest.raises(ValueError, match=r"synth\.json: expected the settings of a synthetic set, got a damaged file$"):
        synthesize(tmp_path, scale=0.001, dim=4)
