"""Packing: every source becomes the same data set as its files; bad videos are named; a killed packing goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from vltr_eval._base.files import OutputError
from vltr_eval.formats import InputError
from vltr_train.data import frame_store
from vltr_train.data import pack as pack_module
from vltr_train.data.dataset import open_dataset
from vltr_train.data.label_lists import MINIKINETICS_CLASS_ORDER
from vltr_train.data.pack import ava, charades, minikinetics, pack, videolt

DIM = 4
TRAIN = [f"t{i}" for i in range(12)]
TEST = [f"e{i}" for i in range(4)]


@pytest.fixture
def source(tmp_path):
    """A folder of lists in VideoLT's format, and one of features."""
    rng = np.random.default_rng(0)
    labels, features = tmp_path / "labels", tmp_path / "features"
    labels.mkdir()
    features.mkdir()
    (labels / "train.lst").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(TRAIN)))
    (labels / "test.lst").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(TEST)))
    for name in TRAIN + TEST:
        np.save(features / f"{name}.npy", rng.normal(size=(rng.integers(1, 9), DIM)).astype("f4"))
    return videolt(labels, features)


def expected_frames(source, names, dtype="float16"):
    return np.concatenate([np.load(source.features / f"{name}.npy") for name in names]).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_packed_sets_equal_their_files(tmp_path, source, dtype):
    seen = []
    summary = pack(source, tmp_path / "packed", dtype=dtype, threads=2, progress=seen.append)
    dataset = open_dataset(tmp_path / "packed")
    frames = expected_frames(source, TRAIN + TEST, dtype)
    np.testing.assert_array_equal(dataset.frames.frames, frames)
    assert (summary.videos, summary.frames, summary.bytes, summary.skipped) == (16, len(frames), frames.nbytes, ())
    assert (dataset.name, dataset.train.labels.ids, dataset.test.labels.ids) == ("labels", tuple(TRAIN), tuple(TEST))
    assert dataset.train_counts.tolist() == [4, 4, 4]
    assert seen == sorted(seen)
    assert seen[-1] == 1
    with pytest.raises(OutputError, match="holds a frame store already"):
        pack(source, tmp_path / "packed")


def spoil(source):
    """One video of each kind that cannot be packed, and why."""
    folder = source.features
    (folder / "t1.npy").unlink()
    (folder / "t2.npy").write_bytes(b"torn")
    np.save(folder / "t3.npy", np.zeros((3, DIM + 1), "f4"))
    np.save(folder / "t4.npy", np.zeros(DIM, "f4"))
    np.save(folder / "t5.npy", np.zeros((0, DIM), "f4"))
    np.save(folder / "t6.npy", np.zeros((2, DIM), "i8"))
    np.save(folder / "t7.npy", np.full((2, DIM), np.nan, "f4"))
    np.save(folder / "t8.npy", np.full((2, DIM), 1e5, "f4"))
    np.save(folder / "e0.npy", np.full((2, DIM), np.inf, "f4"))
    return {
        "t1": "no such file",
        "t2": "not a whole .npy file",
        "t3": "expected 4 features a frame as most videos have, got 5",
        "t4": "expected frames of shape (n, D), got shape (4,)",
        "t5": "expected at least one frame, got shape (0, 4)",
        "t6": "expected frames of float16, float32 or float64, got int64",
        "t7": "expected finite features, got nan in frame 0, feature 0",
        "t8": "expected features within float16, got 100000.0 in frame 0, feature 0",
        "e0": "expected finite features, got inf in frame 0, feature 0",
    }


def test_bad_videos_are_left_out_of_frames_and_lists(tmp_path, source):
    reasons = spoil(source)
    summary = pack(source, tmp_path / "packed", skip_bad=True)
    assert dict(summary.skipped).keys() == reasons.keys()
    for name, reason in summary.skipped:
        assert reason.startswith(reasons[name])
    kept = [name for name in TRAIN + TEST if name not in reasons]
    dataset = open_dataset(tmp_path / "packed")
    assert summary.videos == len(kept)
    assert dataset.frames.ids == tuple(kept)
    assert dataset.train.labels.ids + dataset.test.labels.ids == tuple(kept)
    np.testing.assert_array_equal(dataset.frames.frames, expected_frames(source, kept))
    dataset.frames.verify()


def test_the_first_bad_video_is_named(tmp_path, source):
    np.save(source.features / "t7.npy", np.full((2, DIM), np.nan, "f4"))
    with pytest.raises(ValueError, match="t7: expected finite features, got nan in frame 0, feature 0"):
        pack(source, tmp_path / "packed")
    (source.features / "t4.npy").unlink()
    (source.features / "e1.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"t4.npy: no such file, and 1 more videos cannot be packed"):
        pack(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_published_counts_are_kept_on_request(tmp_path, source):
    for name in TRAIN[:5]:
        (source.features / f"{name}.npy").unlink()
    pack(source, tmp_path / "subset", skip_bad=True)
    pack(source, tmp_path / "published", skip_bad=True, published_counts=True)
    subset, published = open_dataset(tmp_path / "subset"), open_dataset(tmp_path / "published")
    assert subset.train_counts.tolist() == [2, 2, 3]
    assert published.train_counts.tolist() == [4, 4, 4]
    assert subset.train.labels.ids == published.train.labels.ids == tuple(TRAIN[5:])
    counts = tmp_path / "published" / "count-labels-train.lst"
    counts.write_text(counts.read_text().replace("2 4.0", "2 2.0"))
    with pytest.raises(InputError, match=r"expected at least 3 for class 2 \(class0002\) as in train\.lst, got 2"):
        open_dataset(tmp_path / "published")


def test_a_split_of_which_nothing_is_left_is_refused(tmp_path, source):
    for name in TEST:
        (source.features / f"{name}.npy").unlink()
    with pytest.raises(ValueError, match=r"test.lst: none of its 4 videos has features that can be used"):
        pack(source, tmp_path / "packed", skip_bad=True)


def test_a_packing_that_was_stopped_goes_on(tmp_path, source, monkeypatch):
    monkeypatch.setattr(frame_store, "_SYNC_BYTES", 1)
    np.save(source.features / "t2.npy", np.full((2, DIM), np.nan, "f4"))

    def stop(fraction):
        if fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "packed", skip_bad=True, progress=stop)
    read = []
    open_video = frame_store.open_video
    monkeypatch.setattr(pack_module, "open_video", lambda path: read.append(path.stem) or open_video(path))
    summary = pack(source, tmp_path / "packed", skip_bad=True)
    assert sorted(read) == sorted((TRAIN + TEST)[8:])  # the last one that was finished, to compare, and the rest
    assert [name for name, _ in summary.skipped] == ["t2"]
    kept = [name for name in TRAIN + TEST if name != "t2"]
    np.testing.assert_array_equal(open_dataset(tmp_path / "packed").frames.frames, expected_frames(source, kept))


def test_a_packing_does_not_go_on_with_features_of_another_network(tmp_path, source, monkeypatch):
    monkeypatch.setattr(frame_store, "_SYNC_BYTES", 1)

    def stop(fraction):
        if fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "packed", progress=stop)
    other = tmp_path / "other"
    other.mkdir()
    for name in TRAIN + TEST:
        np.save(other / f"{name}.npy", np.load(source.features / f"{name}.npy") + 1)
    with pytest.raises(OutputError, match=r"unfinished: was begun with other frames of t8; remove it to start anew"):
        pack(videolt(tmp_path / "labels", other), tmp_path / "packed")
    assert pack(source, tmp_path / "packed").videos == 16


@pytest.mark.parametrize("name", ["labels", "elsewhere"])
def test_lists_that_are_there_are_never_replaced(tmp_path, source, name):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "validate.lst").write_text("t0 1\n")  # nor taken for a split of what is packed beside it
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    spoil(source)
    with pytest.raises(OutputError, match=f"{name}: holds label lists, which packing would replace; choose another"):
        pack(source, folder, skip_bad=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_killed_packing_goes_on(tmp_path, source):
    script = f"""
        import os, signal, time
        from vltr_train.data import frame_store
        from vltr_train.data import pack
        frame_store._SYNC_BYTES = 1
        open_video = pack.open_video
        def read(path):
            if path.stem == "t9":
                while not os.path.exists({str(tmp_path / "packed" / "journal.unfinished")!r}): time.sleep(.01)
                time.sleep(.2)
                os.kill(os.getpid(), signal.SIGKILL)
            return open_video(path)
        pack.open_video = read
        pack.pack(pack.videolt({str(tmp_path / "labels")!r}, {str(source.features)!r}), {str(tmp_path / "packed")!r})
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(InputError):
        open_dataset(tmp_path / "packed")
    before = pack(source, tmp_path / "whole")
    assert pack(source, tmp_path / "packed") == before
    for name in ("frames.npy", "offsets.npy", "checksums.npy", "ids.txt", "store.json", "train.lst", "test.lst"):
        assert (tmp_path / "packed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in (tmp_path / "packed").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


def test_what_was_written_wrongly_is_never_put_in_place(tmp_path, source, monkeypatch):
    verify = frame_store.StoreWriter.verify

    def damage_and_verify(writer, *arguments):
        with open(tmp_path / "packed" / "frames.npy.unfinished", "r+b") as stream:
            stream.seek(128)
            stream.write(b"\xff\xff")
        verify(writer, *arguments)

    monkeypatch.setattr(frame_store.StoreWriter, "verify", damage_and_verify)
    with pytest.raises(InputError, match="video t0 is damaged"):
        pack(source, tmp_path / "packed")
    assert not (tmp_path / "packed" / "frames.npy").exists()


def test_charades_has_its_own_bounds(tmp_path, source):
    own = charades(tmp_path / "labels", source.features)
    assert (own.lists.name, own.lists.bounds) == ("own-charadeslt", (100, 20))


def test_minikinetics_is_packed_with_its_classes(tmp_path):
    labels, features = tmp_path / "labels", tmp_path / "features"
    labels.mkdir()
    features.mkdir()
    largest = MINIKINETICS_CLASS_ORDER[0]
    train = [f"a{i} {largest}" for i in range(4)] + [f"b{c} {c}" for c in range(200) if c != largest]
    (labels / "train.lst").write_text("\n".join(train) + "\n")
    (labels / "val.lst").write_text("v0 57\n")
    for line in [*train, "v0 57"]:
        np.save(features / f"{line.split()[0]}.npy", np.ones((1, DIM), "f2"))
    source = minikinetics(labels, features, imbalance=0.5)
    assert source.lists.class_names[:2] == ("kinetics007", "kinetics057")
    (labels / "kinetics_val.csv").write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        + "".join(f"action {c:03d},x,0,1,val,0\n" for c in range(200))
    )
    pack(minikinetics(labels, features, imbalance=0.5), tmp_path / "packed")
    dataset = open_dataset(tmp_path / "packed")
    assert dataset.class_names[:2] == ("action 007", "action 057")
    assert (dataset.name, dataset.bounds, dataset.train_counts.max()) == ("minikinetics-0.5", (300, 40), 4)
    assert dataset.test.labels.classes.tolist() == [1]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"label\n" + b'"' + b"x" * 200_000])
def test_a_damaged_file_of_kinetics_names_is_one_sentence(tmp_path, content):
    largest = MINIKINETICS_CLASS_ORDER[0]
    (tmp_path / "train.lst").write_text(f"a {largest}\n")
    (tmp_path / "val.lst").write_text("v0 57\n")
    (tmp_path / "kinetics_val.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"kinetics_val\.csv: cannot be read as a CSV file"):
        minikinetics(tmp_path, tmp_path, imbalance=0.5)


def test_ava_boxes_are_packed(tmp_path):
    labels, features = tmp_path / "labels", tmp_path / "features"
    labels.mkdir()
    features.mkdir()
    (labels / "ava_train_v2.2.csv").write_text("v,0902,0,0,1,1,12,0\nv,0902,0,0,1,1,80,0\nv,0903,0,0,1,1,3,0\n")
    (labels / "ava_val_v2.2.csv").write_text("w,0902,0,0,1,1,80,1\n")
    for name in ("v_0902_0", "v_0903_0", "w_0902_1"):
        np.save(features / f"{name}.npy", np.ones((2, DIM), "f4"))
    assert ava(labels, features).lists.train.num_classes == 80
    assert ava(labels, features).note == (
        f"{labels}: no *for_activitynet*.pbtxt, so all 80 actions are classes, called class0000 and so on"
    )
    (labels / "ava_action_list_v2.2_for_activitynet_2019.pbtxt").write_text(
        'item {\n  name: "stand"\n  id: 12\n}\nitem {\n  name: "watch (a person)"\n  id: 80\n}\n'
    )
    pack(ava(labels, features), tmp_path / "packed")
    dataset = open_dataset(tmp_path / "packed")
    assert dataset.class_names == ("stand", "watch (a person)")
    assert dataset.train.labels.multi_hot().tolist() == [[1, 1], [0, 0]]
    official = labels / "ava_action_list_v2.2_for_activitynet_2019.pbtxt"
    official.rename(labels / "ava_action_list_v2.1_for_activitynet_2018.pbtxt.txt")
    assert ava(labels, features).lists.class_names == ("stand", "watch (a person)")
    (labels / "ava_val_v2.1.csv").write_text("")
    with pytest.raises(InputError, match=r"expected one file ava_val_v\*.csv, got 2"):
        ava(labels, features)


def test_ava_action_list_of_the_first_version_is_found_by_its_published_name(tmp_path):
    (tmp_path / "ava_train_v2.1.csv").write_text("v,0902,0,0,1,1,12,0\n")
    (tmp_path / "ava_val_v2.1.csv").write_text("w,0902,0,0,1,1,12,1\n")
    (tmp_path / "ava_action_list_v2.1_for_activitynet_2018.pbtxt.txt").write_text(
        'item {\n  name: "stand"\n  id: 12\n}\n'
    )
    assert ava(tmp_path, tmp_path).lists.class_names == ("stand",)


def test_lists_of_videolts_size_are_videolt(tmp_path, source, monkeypatch):
    assert videolt(tmp_path / "labels", source.features).lists.name == "labels"
    lists = source.lists
    monkeypatch.setattr(pack_module, "VIDEOLT_SIZE", (len(lists.class_names), len(lists.train)))
    assert videolt(tmp_path / "labels", source.features).lists.name == "videolt"
