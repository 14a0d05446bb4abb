"""The frames of YouTube-8M's records are packed with the numbers of the published code."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from vltr_eval.formats import InputError
from vltr_train.cli import main
from vltr_train.data import record_frames
from vltr_train.data.dataset import open_dataset
from vltr_train.data.pack import own, pack, youtube8m
from vltr_train.data.record_frames import RecordFrames, dequantized

sys.path.insert(0, str(Path(__file__).parents[1] / "eval" / "formats"))  # importlib mode adds nothing

from tfrecord_bytes import sequence, write_records

NUM_RGB, NUM_AUDIO = 8, 3
VIDEOS = {
    "train": {"ab00": [3861, 0], "ab01": [], "ab02": [7]},
    "validate": {"cd00": [7], "cd01": [1]},
    "test": {"ef00": [], "ef01": []},
}


def bytes_of(video: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(list(video.encode()))
    count = int(rng.integers(1, 6))
    return rng.integers(0, 256, (count, NUM_RGB), np.uint8), rng.integers(0, 256, (count, NUM_AUDIO), np.uint8)


def message(video: str, labels, id_name: str = "id") -> bytes:
    rgb, audio = bytes_of(video)
    lists = {"rgb": [row.tobytes() for row in rgb], "audio": [row.tobytes() for row in audio]}
    return sequence({id_name: video.encode(), "labels": labels}, lists)


def write_all(folder: Path, *, compress=bytes, id_name: str = "id", videos=None) -> Path:
    """A file for each two videos of a split."""
    folder.mkdir()
    suffix = ".tfrecord" if compress is bytes else ".tfrecord.gz"
    for split, members in (videos or VIDEOS).items():
        messages = [message(video, labels, id_name) for video, labels in members.items()]
        for number in range(0, len(messages), 2):
            write_records(folder / f"{split}{number:04d}{suffix}", messages[number : number + 2], compress)
    return folder


def expected_frames(video: str) -> np.ndarray:
    """The published formula, a number at a time; it is computed in float32."""
    scalar, bias = np.float32(4 / 255.0), np.float32(4 / 512.0 - 2)
    rows = np.concatenate(bytes_of(video), axis=1)
    return np.array([[np.float32(value) * scalar + bias for value in row] for row in rows.tolist()], np.float32)


def test_numbers_of_bytes():
    table = dequantized()
    assert table.dtype == np.float32
    # tensorflow 2.21: Dequantize of google/youtube-8m for the bytes 0, 1, 2, 127, 128 and 255
    assert table[[0, 1, 2, 127, 128, 255]].view(np.uint32).tolist() == PUBLISHED
    stored = table.astype(np.float16)
    assert len(set(stored.tolist())) == 256
    assert np.abs(stored.astype(np.float64) - table).max() <= 0.0005


PUBLISHED = [int(word, 16) for word in ("bfff0000", "bffcfdfe", "bffafbfc", "b8000000", "3c804080", "40008000")]


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_packed_frames_are_those_of_the_records(tmp_path, dtype, compress):
    folder = write_all(tmp_path / "records", compress=compress)
    source = youtube8m(folder, folder)
    summary = pack(source, tmp_path / "packed", dtype=dtype, threads=2)
    dataset = open_dataset(tmp_path / "packed")
    ids = [*VIDEOS["train"], *VIDEOS["validate"]]
    frames = np.concatenate([expected_frames(video) for video in ids]).astype(dtype)
    np.testing.assert_array_equal(dataset.frames.frames, frames)
    assert (summary.videos, summary.frames, summary.skipped) == (5, len(frames), ())
    assert (dataset.name, len(dataset.class_names)) == ("youtube8m", 3862)
    assert dataset.train.labels.ids == tuple(VIDEOS["train"])
    assert dataset.validate.labels.ids == tuple(VIDEOS["validate"])
    assert np.flatnonzero(dataset.train_counts).tolist() == [0, 7, 3861]
    assert source.note == f"{folder}: the 2 test videos have no labels and are left out"


def test_files_of_2017_have_other_ids_and_more_classes(tmp_path):
    folder = write_all(tmp_path / "records", id_name="video_id")
    source = youtube8m(folder, folder)
    assert len(source.lists.class_names) == 4716
    assert source.lists.train.ids == tuple(VIDEOS["train"])


def test_a_class_beyond_the_number_of_classes_is_refused(tmp_path):
    folder = write_all(tmp_path / "records")
    with pytest.raises(InputError) as error:
        youtube8m(folder, folder, num_classes=3861)
    place = f"{folder}/train0000.tfrecord: record 0"
    assert str(error.value) == f"{place}: expected classes below 3,861, got 3861; give num_classes (--num-classes)"


def test_labels_of_your_own_with_frames_of_records(tmp_path):
    folder = write_all(tmp_path / "records")
    (tmp_path / "labels.csv").write_text('id,labels\nab02,"0"\nef01,"1"\n')
    pack(own(tmp_path / "labels.csv", folder), tmp_path / "packed")
    dataset = open_dataset(tmp_path / "packed")
    frames = np.concatenate([expected_frames(video) for video in ("ab02", "ef01")]).astype("float16")
    np.testing.assert_array_equal(dataset.frames.frames, frames)


def test_a_video_without_a_record_is_named_or_left_out(tmp_path):
    folder = write_all(tmp_path / "records")
    (tmp_path / "labels.csv").write_text('id,labels\nab02,"0"\nzz,"1"\n')
    source = own(tmp_path / "labels.csv", folder)
    with pytest.raises(InputError, match="zz: no such record; skip_bad=True"):
        pack(source, tmp_path / "packed")
    assert pack(source, tmp_path / "packed", skip_bad=True).skipped == (("zz", "no such record"),)


def test_frames_of_another_width_are_named_or_left_out(tmp_path):
    folder = write_all(tmp_path / "records")
    wide = sequence({"id": b"gh00", "labels": [1]}, {"rgb": [bytes(NUM_RGB), bytes(9)], "audio": [bytes(3)] * 2})
    uneven = sequence({"id": b"gh01", "labels": [1]}, {"rgb": [bytes(NUM_RGB)] * 2, "audio": [bytes(3)]})
    empty = sequence({"id": b"gh02", "labels": [1]}, {"rgb": [], "audio": []})
    path = write_records(folder / "train9999.tfrecord", [wide, uneven, empty])
    source = youtube8m(folder, folder)
    with pytest.raises(InputError) as error:
        pack(source, tmp_path / "one")
    assert str(error.value).startswith(f"{path}: record 2: expected at least one frame, got none; skip_bad")
    skipped = dict(pack(source, tmp_path / "packed", skip_bad=True).skipped)
    assert skipped == {
        "gh00": "expected 8 bytes of rgb in frame 1, got 9",
        "gh01": "expected 2 frames of audio, got 1",
        "gh02": "expected at least one frame, got none",
    }


def test_a_video_twice_is_refused(tmp_path):
    folder = write_all(tmp_path / "records")
    path = write_records(folder / "validate9.tfrecord", [message("ab00", [1])])
    with pytest.raises(InputError) as error:
        youtube8m(folder, folder)
    assert str(error.value) == f"{path}: record 0: expected each video once, got ab00 again"


def test_a_damaged_record_is_named(tmp_path):
    folder = write_all(tmp_path / "records")
    path = folder / "train0002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train0002\.tfrecord: record 0: damaged: the checksum of its data is wrong"):
        youtube8m(folder, folder)


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(record_frames, "_OPEN_FILES", 1)
    folder = write_all(tmp_path / "records", compress=gzip.compress)
    records = RecordFrames(sorted(folder.iterdir()))
    for video in [*reversed(records.ids), *records.ids]:
        np.testing.assert_array_equal(records.open(video), expected_frames(video))
        assert len(records._open) == 1


def test_records_of_several_blocks_are_found(tmp_path, monkeypatch):
    from vltr_eval._base import records as base

    monkeypatch.setattr(base, "_BLOCK", 64)
    folder = write_all(tmp_path / "records", compress=gzip.compress)
    records = RecordFrames(sorted(folder.iterdir()))
    for video in records.ids:
        np.testing.assert_array_equal(records.open(video), expected_frames(video))


def test_the_program_packs_records(tmp_path, capsys):
    folder = write_all(tmp_path / "records")
    arguments = ["pack", str(folder), str(folder), str(tmp_path / "packed"), "--format", "youtube8m", "--quiet"]
    assert main([*arguments, "--num-classes", "4000"]) == 0
    assert "5 videos" in capsys.readouterr().out
    assert len(open_dataset(tmp_path / "packed").class_names) == 4000


def test_a_folder_without_training_files_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected files train\*\.tfrecord, got none"):
        youtube8m(tmp_path, tmp_path)
