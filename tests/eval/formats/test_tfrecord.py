"""TFRecord files of YouTube-8M are read with the values that were written, and damaged ones are refused."""

from __future__ import annotations

import gzip
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vltr_eval
from vltr_eval._base import _core, records
from vltr_eval._base.records import Feature, crc32c, record_blocks, whole_file
from vltr_eval.formats import InputError, read_ids, read_labels, read_pair, read_scores, read_youtube8m_segments
from vltr_eval.program.cli import main

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

from tfrecord_bytes import example, feature, masked, part, record, sequence, slow_crc32c, varint, write_records

VIDEOS = {"a0": [3, 1], "b1": [], "c2": [0, 3861]}
SORTED = {name: sorted(own) for name, own in VIDEOS.items()}


def video_level(id_name: str = "id", **more) -> list[bytes]:
    return [example(**{id_name: name.encode(), "labels": labels, **more}) for name, labels in VIDEOS.items()]


def frame_level() -> list[bytes]:
    rgb, audio = [bytes([k] * 4) for k in range(3)], [bytes([k] * 2) for k in range(3)]
    return [
        sequence({"id": name.encode(), "labels": labels}, {"rgb": rgb, "audio": audio})
        for name, labels in VIDEOS.items()
    ]


def labels_of(labels) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {name: [] for name in labels.ids}
    for row, label in zip(labels.values.rows.tolist(), labels.values.classes.tolist(), strict=True):
        found[labels.ids[row]].append(label)
    return found


# Checksums


@pytest.mark.parametrize("simd", ["generic", ""])
@given(data=st.binary(max_size=100))
def test_crc32c_is_castagnolis(data, simd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLTR_SIMD", simd)
        assert _core.crc32c(data) == slow_crc32c(data)


def test_crc32c_of_the_standard_text():
    assert _core.crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4 has this polynomial


@pytest.mark.parametrize("simd", ["generic", ""])
def test_every_changed_byte_is_found(tmp_path, monkeypatch, simd):
    monkeypatch.setenv("VLTR_SIMD", simd)
    whole = b"".join(map(record, video_level()))
    path = tmp_path / "file.tfrecord"
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        with pytest.raises(InputError, match="checksum"):
            read_labels(path)


def test_every_cut_is_found(tmp_path):
    messages = list(map(record, video_level()))
    whole, ends = b"".join(messages), {0, *np.cumsum(list(map(len, messages))).tolist()}
    path = tmp_path / "file.tfrecord"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length in ends:
            assert read_labels(path).num_rows == sorted(ends).index(length)
        else:
            with pytest.raises(InputError, match=r"record \d: truncated"):
                read_labels(path)


def test_damaged_record_is_named(tmp_path):
    messages = list(map(record, video_level()))
    damaged = messages[1][:-5] + bytes([messages[1][-5] ^ 1]) + messages[1][-4:]
    path = tmp_path / "file.tfrecord"
    path.write_bytes(messages[0] + damaged + messages[2])
    with pytest.raises(InputError) as error:
        read_labels(path)
    assert str(error.value) == f"{path}: record 1: damaged: the checksum of its data is wrong"


# Labels


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("level", [video_level, frame_level, lambda: video_level("video_id")])
def test_labels_and_ids(tmp_path, level, compress):
    path = write_records(tmp_path / "train0000.tfrecord", level(), compress)
    labels = read_labels(path, num_classes=3862)
    assert labels_of(labels) == SORTED
    assert read_ids(path).tolist() == list(VIDEOS)


def test_numbers_one_by_one_are_read(tmp_path):
    """Protocol buffers before proto3 did not pack numbers, and readers have to take both forms."""
    messages = [example(packed=False, id=name.encode(), labels=own) for name, own in VIDEOS.items()]
    assert labels_of(read_labels(write_records(tmp_path / "x.tfrecord", messages))) == SORTED


def test_files_are_row_shards_and_rows_are_joined_by_id(tmp_path):
    for number, message in enumerate(video_level()):
        write_records(tmp_path / f"train{number}.tfrecord", [message])
    scores = np.random.default_rng(0).random((3, 3862), np.float32)
    order = [2, 0, 1]
    np.savez(tmp_path / "preds.npz", preds=scores[order], ids=np.array(list(VIDEOS))[order])
    pair = read_pair(tmp_path / "preds.npz", str(tmp_path / "train*.tfrecord"))
    dense = np.zeros((3, 3862), np.uint8)
    for row, own in enumerate(VIDEOS.values()):
        dense[row, own] = 1
    report = vltr_eval.evaluate(pair.scores, pair.labels, sap=15)
    assert report.to_json() == vltr_eval.evaluate(scores[order], dense[order], sap=15).to_json()


def test_class_beyond_the_scores_is_refused(tmp_path):
    path = write_records(tmp_path / "x.tfrecord", video_level())
    with pytest.raises(InputError, match="3861"):
        read_labels(path, num_classes=3861)


def test_repeated_labels_count_once(tmp_path):
    path = write_records(tmp_path / "x.tfrecord", [example(id=b"a", labels=[2, 1, 2])])
    labels = read_labels(path)
    assert labels_of(labels) == {"a": [1, 2]}
    assert labels.notes == ("x.tfrecord: 1 labels are listed twice in their record, and count once",)


def test_the_last_of_two_equal_names_counts(tmp_path):
    twice = part(1, part(1, part(1, b"labels") + part(2, feature([1]))))
    path = write_records(tmp_path / "x.tfrecord", [twice + example(id=b"a", labels=[2])])
    assert labels_of(read_labels(path)) == {"a": [2]}


def test_unknown_fields_are_skipped(tmp_path):
    unknown = varint(8 * 9) + varint(5) + varint(8 * 9 + 1) + bytes(8) + varint(8 * 9 + 5) + bytes(4) + part(9, b"x")
    path = write_records(tmp_path / "x.tfrecord", [unknown + example(id=b"a", labels=[2]) + unknown])
    assert labels_of(read_labels(path)) == {"a": [2]}


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (example(labels=[1]), "record 0: expected one id or video_id, got 0"),
        (example(id=b"a", video_id=b"b", labels=[1]), "record 0: expected one id or video_id, got 2"),
        (example(id=b"\xff", labels=[1]), "record 0: expected an id of UTF-8 text"),
        (example(id=b"a", labels=[-1]), "record 0: expected class indices from 0 up, got -1"),
        (example(id=b"a", labels=np.ones(2)), "record 0: expected labels of int64, got another kind"),
        (b"\x0a", "record 0: not a tf.Example or tf.SequenceExample"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "record 0: not a tf.Example or tf.SequenceExample"),
    ],
)
def test_wrong_records_are_refused(tmp_path, message, complaint):
    path = write_records(tmp_path / "x.tfrecord", [message])
    with pytest.raises(InputError) as error:
        read_labels(path)
    assert str(error.value) == f"{path}: {complaint}"


@given(message=st.binary(max_size=60), lists=st.booleans())
def test_any_bytes_are_safe(message, lists):
    """The core reads nothing outside a record, whatever it holds."""
    data = b"guard" + message + b"guard"
    requests = [("id", kind, lists) for kind in range(4)]
    columns, status, bad, _ = _core.parse_records(data, np.array([5]), np.array([len(message)]), requests, 1, None)
    assert status in (0, 1, 2)
    assert bad == 0
    for offset, _, values in columns if status == 0 else ():
        assert (np.diff(offset) >= 0).all()
        assert values is None or len(values) == offset[-1]


@given(
    flips=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=3),
    cut=st.integers(0, 200),
)
def test_damaged_messages_behind_right_checksums_are_read_or_refused(tmp_path_factory, flips, cut):
    message = bytearray(frame_level()[0])
    for position, value in flips:
        message[position % len(message)] = value
    path = tmp_path_factory.mktemp("any") / "x.tfrecord"
    write_records(path, [bytes(message[: max(1, cut)])])
    try:
        refusal = "" if read_labels(path).num_rows == 1 else "another number of rows"
    except InputError as error:
        refusal = str(error)
    assert refusal == "" or refusal.startswith(f"{path}: record 0: ")


# Segments


def rated(scores=(1.0, 0.0), starts=(10, 25)) -> bytes:
    context = {"id": b"a", "labels": [7], "segment_labels": [5, 6], "segment_start_times": list(starts)}
    ends = [start + 5 for start in starts]
    context |= {"segment_end_times": ends, "segment_scores": np.array(scores, np.float32)}
    return sequence(context, {"rgb": [b"1234"]})


def test_only_rated_segments_are_known(tmp_path):
    path = write_records(tmp_path / "validate0.tfrecord", [frame_level()[0], rated()])
    ratings = read_youtube8m_segments(tmp_path / "validate*.tfrecord")
    assert ratings.ids.tolist() == ["a:10", "a:25"]
    assert (ratings.classes.tolist(), ratings.scores.tolist()) == ([5, 6], [1.0, 0.0])
    labels = read_labels(path)
    assert labels.notes == (
        "validate0.tfrecord: labels are those of whole videos; the rated segments of 1 videos are not read",
    )
    with pytest.raises(InputError, match="only the rated segments are known"):
        read_labels(f"{path}::segment_labels")


def ratings_of(video: bytes, cells: list[tuple[int, int, int]]) -> bytes:
    """A record with ratings: the start of a segment, a class, and 1 or 0."""
    starts, classes, seen = zip(*cells, strict=True)
    context = {"id": video, "labels": [1], "segment_labels": list(classes), "segment_start_times": list(starts)}
    context |= {"segment_end_times": [start + 5 for start in starts], "segment_scores": np.array(seen, np.float32)}
    return sequence(context, {"rgb": [b"1234"]})


def slow_segment_ap(scores, ids, cells) -> dict[int, float]:
    """AP of each class over the segments that raters saw or did not see it in, and no others."""
    by_class: dict[int, list[tuple[float, int]]] = {}
    for video, start, c, seen in cells:
        by_class.setdefault(c, []).append((scores[ids.index(f"{video}:{start}")][c], seen))
    result = {}
    for c, ranked in by_class.items():
        ranked.sort(reverse=True)
        precisions, hits = [], 0
        for rank, (_, seen) in enumerate(ranked, 1):
            hits += seen
            precisions += [hits / rank] * seen
        result[c] = sum(precisions) / len(precisions) if precisions else float("nan")
    return result


def test_an_evaluation_of_segments_takes_rated_cells_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    cells = [
        (f"v{video}", 5 * start, c, int(rng.random() < 0.5))
        for video in range(12)
        for start in range(4)
        for c in range(3)
        if rng.random() < 0.6
    ]
    cells.append(cells[5])  # a rating that is listed twice
    for number in range(2):
        of_file = [f"v{video}" for video in range(12) if video % 2 == number]
        messages = [
            ratings_of(video.encode(), [cell[1:] for cell in cells if cell[0] == video])
            for video in of_file
            if any(cell[0] == video for cell in cells)
        ]
        write_records(tmp_path / f"validate{number}.tfrecord", [frame_level()[0], *messages])
    ids = [f"v{video}:{5 * start}" for video in range(12) for start in range(6)]
    scores = rng.permutation(3 * len(ids)).reshape(-1, 3).astype(np.float32)
    distinct = sorted(set(cells))
    options = {"ids": ids, "unknown": "unlisted", "join": "inner"}
    report = vltr_eval.evaluate(scores, "validate*.tfrecord", **options)
    expected = slow_segment_ap(scores.tolist(), ids, distinct)
    np.testing.assert_allclose(report.classes["AP"], [expected[c] for c in range(3)], rtol=1e-12)
    num_rated = len({cell[:2] for cell in cells})
    assert report.num_rows == num_rated
    assert report.num_unknown == 3 * num_rated - len(distinct)
    assert report.notes[0].startswith("validate0.tfrecord: labels are those of ")
    assert report.notes[0].endswith(" rated segments; cells without a rating are unknown")
    with pytest.raises(InputError, match=r"lacks .* of validate0.tfrecord|validate0.tfrecord.* lacks"):
        vltr_eval.evaluate(scores, "validate*.tfrecord", ids=ids, unknown="unlisted")
    np.savez(tmp_path / "preds.npz", scores=scores, ids=np.array(ids))
    arguments = ["preds.npz", "validate*.tfrecord", "--unknown", "unlisted", "--join", "inner", "--json", "out.json"]
    assert main([*arguments, "--quiet"]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["metrics"] == json.loads(report.to_json())["metrics"]


def test_files_without_ratings_or_with_two_of_a_cell_are_refused(tmp_path):
    scores = np.zeros((1, 3), np.float32)
    path = write_records(tmp_path / "a.tfrecord", [frame_level()[0]])
    with pytest.raises(InputError, match=r"a.tfrecord: expected rated segments .* got no segment_labels; give the"):
        vltr_eval.evaluate(scores, path, ids=["v:0"], unknown="unlisted")
    path = write_records(tmp_path / "b.tfrecord", [ratings_of(b"v", [(0, 2, 1), (0, 2, 0)])])
    with pytest.raises(InputError, match=r"one rating of a class in a segment, got 0 and 1 for class 2 in 'v:0'$"):
        vltr_eval.evaluate(scores, path, ids=["v:0"], unknown="unlisted")


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (rated(scores=(0.5, 1)), "expected segment_scores of 0 or 1, got 0.5"),
        (rated(scores=(1.0,)), "expected as many segment_scores as segment_labels"),
        (rated(starts=(1,)), "expected as many segment_start_times as segment_labels"),
    ],
)
def test_wrong_ratings_are_refused(tmp_path, message, complaint):
    path = write_records(tmp_path / "x.tfrecord", [frame_level()[0], message])
    with pytest.raises(InputError) as error:
        read_youtube8m_segments(path)
    assert str(error.value) == f"{path}: record 1: {complaint}"


# Features


def test_mean_features_by_name(tmp_path):
    means = np.random.default_rng(0).random((3, 5), np.float32)
    messages = [example(id=bytes([97 + row]), mean_rgb=mean) for row, mean in enumerate(means)]
    path = write_records(tmp_path / "x.tfrecord", messages)
    found = read_scores(f"{path}::mean_rgb")
    assert found.values.tobytes() == means.tobytes()
    assert found.ids.tolist() == ["a", "b", "c"]
    with pytest.raises(InputError, match="holds labels, not scores"):
        read_scores(path)
    with pytest.raises(InputError, match="record 0: expected numbers, got no such feature"):
        read_scores(f"{path}::mean_audio")


def test_bytes_of_frames_are_expanded_by_a_table(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (7, 4), np.uint8)
    message = sequence({"id": b"a"}, {"rgb": [frame.tobytes() for frame in frames]})
    block = whole_file(write_records(tmp_path / "x.tfrecord", [example(id=b"b"), message]))
    (column,) = block.parse([Feature("rgb", "bytes", in_lists=True)])
    assert column.offset.tolist() == [0, 0, 7]
    for dtype in (np.float16, np.float32):
        table = np.arange(256)[::-1].astype(dtype)
        out = np.zeros((7, 6), dtype)
        assert _core.expand_bytes(block.data, column.values, table, out[:, 1:5]) == -1
        assert (out[:, 1:5] == table[frames]).all()
        assert not out[:, [0, 5]].any()
    assert _core.expand_bytes(block.data, column.values, table, np.zeros((7, 3), np.float32)) == 0
    with pytest.raises(ValueError, match="within the data"):
        _core.expand_bytes(block.data, column.values + 10**6, table, out[:, :4])


# Compressed files


def test_compressed_files_are_read_a_block_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_BLOCK", 1000)
    messages = [example(id=b"%d" % row, labels=[row], mean_rgb=np.zeros(16)) for row in range(200)]
    path = write_records(tmp_path / "x.tfrecord.gz", messages, gzip.compress)
    blocks = list(record_blocks(path))
    assert len(blocks) > 10
    assert max(len(block.data) for block in blocks) < 4000
    assert labels_of(read_labels(path)) == {str(row): [row] for row in range(200)}
    assert len(whole_file(path).offset) == 200


def test_damaged_gzip_is_refused(tmp_path):
    whole = gzip.compress(b"".join(map(record, video_level())))
    path = tmp_path / "x.tfrecord.gz"
    for content, complaint in [
        (whole[:-9], "truncated: its gzip data have no end"),
        (whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], "not a whole gzip file, or it is damaged"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=complaint):
            read_labels(path)


def test_a_length_beyond_every_record_is_refused_at_once(tmp_path):
    length = struct.pack("<Q", 2**62)
    path = tmp_path / "x.tfrecord.gz"
    path.write_bytes(gzip.compress(length + masked(length) + bytes(100)))
    with pytest.raises(InputError, match=r"record 0: longer than any tf\.Example; damaged"):
        read_labels(path)


def test_records_of_many_sizes_are_found_in_gzip_data(tmp_path):
    path = tmp_path / "x.tfrecord.gz"
    sizes = [0, 5, 9 << 20, 1, 4 << 20, (4 << 20) - 16, 3]
    content = b""
    for size in sizes:
        length, data = struct.pack("<Q", size), bytes(size)
        crc = crc32c(data)
        mask = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
        content += length + masked(length) + data + struct.pack("<I", mask)
    path.write_bytes(gzip.compress(content))
    blocks = list(record_blocks(path))
    assert [int(size) for block in blocks for size in block.length] == sizes
    assert [block.first for block in blocks] == np.cumsum([0, *(len(block.length) for block in blocks)])[:-1].tolist()


def test_members_of_a_gzip_file_follow_each_other(tmp_path):
    messages = video_level()
    path = tmp_path / "x.tfrecord.gz"
    path.write_bytes(b"".join(gzip.compress(record(message)) for message in messages))
    assert labels_of(read_labels(path)) == SORTED


def test_the_mask_of_a_checksum():
    assert masked(b"") == b"\xd8\xea\x82\xa2"  # CRC 0, rotated and shifted
