"""How the frames of synthetic videos show their classes: each setting does what it says, and refuses what it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from vltr_eval._base.groups import class_groups
from vltr_train.data import synth_signal
from vltr_train.data.dataset import open_dataset
from vltr_train.data.synth import make_world, synthesize
from vltr_train.data.synth_signal import COOCCURRENCE, MOTION, PLAIN, SyntheticSignal


def runs_of(where):
    """The lengths of runs of neighbouring frames."""
    return np.diff(np.flatnonzero(np.concatenate([[True], np.diff(where) > 1, [True]])))


def test_neighbouring_noise_is_correlated_with_the_variance_it_had():
    noise = np.random.default_rng(0).standard_normal((40_000, 2), dtype=np.float32)
    synth_signal._correlate(noise, 0.8)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.03)
    for column in noise.T:
        assert np.corrcoef(column[1:], column[:-1])[0, 1] == pytest.approx(0.8, abs=0.02)
        assert np.corrcoef(column[3:], column[:-3])[0, 1] == pytest.approx(0.8**3, abs=0.03)


def test_correlated_frames_reach_the_videos():
    plain, correlated = (make_world(scale=0.001, dim=64, correlation=value) for value in (0.0, 0.9))
    steps = [
        np.abs(np.diff(np.stack([world.frames_of(video) for video in range(20)]), axis=1)).mean()
        for world in (plain, correlated)
    ]
    assert steps[1] < 0.6 * steps[0]


@pytest.mark.parametrize("shares", [(0.1, 0.1), (0.5, 1.0)])
def test_informative_frames_have_the_share_that_is_asked_for(shares):
    # Without noise the frames that show a label differ from the others by its look.
    rng = np.random.default_rng(1)
    world = make_world(scale=0.001, dim=256, signal=50.0, scene=0.0, informative=shares)
    found = []
    for _ in range(60):
        frames = synth_signal.frames_of_video(100, np.array([0]), world.looks, world.signal, 1.0, rng)
        found.append((frames.max(1) > 20).mean())
    assert min(found) >= shares[0] - 1e-9
    assert max(found) <= shares[1] + 1e-9
    assert np.mean(found) == pytest.approx(np.mean(shares), abs=0.08)


def test_bursts_have_log_uniform_lengths_and_never_overlap():
    rng = np.random.default_rng(2)
    lengths = []
    for _ in range(400):
        where = synth_signal._shown_frames(3_000, 120, (2, 32), rng)
        assert len(where) == 120
        assert (np.diff(where) > 0).all()
        assert where[0] >= 0
        assert where[-1] < 3_000
        lengths += runs_of(where).tolist()
    # Bursts that meet make a longer run, and the last one is cut to fit, so only the middle of the law is compared.
    short, long = (np.mean([low <= length < high for length in lengths]) for low, high in ((3, 8), (8, 21)))
    assert short == pytest.approx(long, rel=0.25)  # log-uniform: ratios of 8/3 and 21/8 are alike
    assert len(runs_of(synth_signal._shown_frames(100, 30, None, rng))) == 1


def test_cooccurring_classes_have_the_same_words_in_other_pairs():
    world = make_world(scale=0.01, dim=16, cooccurrence=1.0)
    looks, counts = world.looks, world.split_labels("train").counts()
    pairs, kinds = synth_signal.pairs_of_kinds(counts, 1.0, 0.0)
    assert len(pairs) == len(counts) // 2
    assert set(kinds[pairs].ravel().tolist()) == {COOCCURRENCE}
    for one, other in pairs:
        first, second = (looks.ways[looks.first_way[label], :2] for label in (one, other))
        np.testing.assert_allclose(first.sum(0), second.sum(0), atol=1e-4)  # a + b + c + d
        assert np.abs(first - second).max() > 0.1
        assert np.abs(first - second[::-1]).max() > 0.1


def test_words_of_a_pair_have_one_mean_frame_before_the_relu_and_two_after_it():
    """A sum over the two parts and a large noise stands for the mean over frames."""
    world = make_world(scale=0.01, dim=64, cooccurrence=1.0)
    looks = world.looks
    (one, other), *_ = synth_signal.pairs_of_kinds(world.split_labels("train").counts(), 1.0, 0.0)[0]
    noise = np.random.default_rng(3).standard_normal((20_000, 1, 64), dtype=np.float32) - synth_signal.THRESHOLD
    frames = [noise + looks.ways[looks.first_way[label], :2] for label in (one, other)]
    before, after = ([values(each).mean((0, 1)) for each in frames] for values in (np.asarray, lambda z: z.clip(0)))
    np.testing.assert_allclose(before[0], before[1], atol=1e-4)
    assert np.abs(after[0] - after[1]).max() > 0.1


def test_bursts_that_meet_make_a_longer_run():
    rng = np.random.default_rng(4)
    longest = max(runs_of(synth_signal._shown_frames(60, 45, (2, 5), rng)).max() for _ in range(20))
    assert longest > 5
    assert (runs_of(synth_signal._shown_frames(3_000, 45, (5, 5), rng)) % 5 == 0).all()


def test_motion_classes_show_the_same_frames_in_opposite_order():
    """In each way of looking, also if the two classes are of two groups, which have different numbers of ways."""
    world = make_world(scale=0.01, dim=16, motion=0.5)
    looks, counts = world.looks, world.split_labels("train").counts()
    pairs, kinds = synth_signal.pairs_of_kinds(counts, 0.0, 0.5)
    assert len(pairs) == pytest.approx(len(counts) / 4, abs=1)
    assert sorted(set(kinds.tolist())) == [PLAIN, MOTION]
    groups = class_groups(counts, world.bounds)
    assert any(np.isin(pair, groups["head"]).sum() == 1 for pair in pairs), "a pair of head and medium"
    for one, other in pairs:
        first, second = (looks.ways[looks.first_way[label] : looks.first_way[label + 1]] for label in (one, other))
        np.testing.assert_array_equal(first, second[:, ::-1])
    steps = synth_signal._parts_shown(np.arange(10), MOTION, np.random.default_rng(0))
    assert (np.diff(steps) % synth_signal.PARTS == 1).all()


def test_a_pair_of_two_groups_leaves_the_looks_of_other_classes():
    """The ways that a pair in motion gives up are dropped after all draws."""
    counts = np.array([40, 39, 20, 19])
    groups = {"head": np.array([0]), "tail": np.array([], int)}
    plain, moving = (
        synth_signal.draw_looks(groups, counts, 8, SyntheticSignal(motion=share), np.random.default_rng(5))
        for share in (0.0, 0.5)
    )
    assert np.diff(plain.first_way).tolist() == [4, 3, 3, 3]
    assert np.diff(moving.first_way).tolist() == [3, 3, 3, 3]
    assert moving.kinds.tolist() == [MOTION, MOTION, PLAIN, PLAIN]
    np.testing.assert_array_equal(moving.scenes, plain.scenes)
    np.testing.assert_array_equal(moving.ways[-6:, 0], plain.ways[-6:, 0])


def test_kinds_are_spread_evenly_along_the_tail():
    counts = np.arange(1_000, 0, -1)
    pairs, kinds = synth_signal.pairs_of_kinds(counts, 0.25, 0.25)
    assert [int((kinds == kind).sum()) for kind in (PLAIN, COOCCURRENCE, MOTION)] == [500, 250, 250]
    assert (np.abs(np.diff(pairs)) == 1).all()
    for third in np.array_split(kinds, 3):
        assert (third == MOTION).mean() == pytest.approx(0.25, abs=0.02)


def test_label_noise_deals_labels_out_anew_and_keeps_every_count(tmp_path):
    clean, noisy = (make_world(scale=0.01, dim=4, label_noise=share) for share in (0.0, 0.3))
    train = noisy.splits["train"]
    assert [labels.counts().tolist() for labels in (noisy.labels, noisy.shown)] == [clean.labels.counts().tolist()] * 2
    np.testing.assert_array_equal(noisy.shown.classes, clean.labels.classes)
    differs = [
        noisy.labels.select(np.array([row])).classes.tolist() != noisy.shown.select(np.array([row])).classes.tolist()
        for row in range(len(noisy.labels))
    ]
    assert np.mean(differs[train]) == pytest.approx(0.3, abs=0.03)
    assert not any(differs[train.stop :])
    np.testing.assert_array_equal(clean.frames_of(5), noisy.frames_of(5))
    synthesize(tmp_path / "set", scale=0.001, dim=4, frames=4, label_noise=0.3)
    written = make_world(scale=0.001, dim=4, frames=4, label_noise=0.3).split_labels("train")
    np.testing.assert_array_equal(open_dataset(tmp_path / "set").train.labels.classes, written.classes)


def test_signal_is_part_of_what_a_folder_is_for(tmp_path):
    tiny = {"scale": 0.001, "dim": 4, "frames": 4, "informative": (0.5, 1.0)}
    synthesize(tmp_path / "set", **tiny)
    synthesize(tmp_path / "set", **tiny)
    with pytest.raises(ValueError, match=r"the set of informative \[0\.5, 1\.0\], got \[0\.03, 0\.2\]"):
        synthesize(tmp_path / "set", scale=0.001, dim=4, frames=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"signal": 0.0}, "signal: expected a positive number, got 0.0"),
        ({"signal": float("nan")}, "signal: expected a positive number, got nan"),
        ({"scene": -1.0}, "scene: expected a number from 0 up, got -1.0"),
        ({"informative": (0.0, 0.5)}, r"informative: expected two rising shares above 0 to 1, got \(0.0, 0.5\)"),
        ({"informative": (0.5, 0.2)}, "informative: expected two rising shares"),
        ({"correlation": 1.0}, "correlation: expected from 0 to below 1, got 1.0"),
        ({"video_share": 1.5}, "video_share: expected from 0 to 1, got 1.5"),
        ({"burst_frames": (0, 3)}, r"burst_frames: expected two rising numbers of frames from 1 up, got \(0, 3\)"),
        ({"cooccurrence": 0.6, "motion": 0.6}, "cooccurrence, motion: expected shares that sum to at most 1"),
        ({"label_noise": -0.1}, "label_noise: expected from 0 to 1, got -0.1"),
    ],
)
def test_a_signal_that_does_not_fit_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        SyntheticSignal(**arguments)
    with pytest.raises(ValueError, match=message):
        synthesize(tmp_path / "set", scale=0.001, dim=4, **arguments)
    assert not (tmp_path / "set").exists()
