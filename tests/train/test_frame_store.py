"""Frame stores: what is written is what is gathered, packed or not; writing goes on after a kill; damage is found."""

from __future__ import annotations

import contextlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval._base.files import OutputError
from vltr_eval.formats import InputError
from vltr_train.data import frame_store
from vltr_train.data.frame_store import FrameStore, StoreWriter, VideoFolder, open_video

DIM = 5
LENGTHS = (3, 1, 7, 2, 4, 9)
IDS = tuple(f"v{i}" for i in range(len(LENGTHS)))


def make_videos(lengths=LENGTHS, dtype="float32"):
    rng = np.random.default_rng(3)
    return [rng.normal(size=(length, DIM)).astype(dtype) for length in lengths]


def write_store(folder, videos, dtype="float16"):
    with StoreWriter(folder, [f"v{i}" for i in range(len(videos))], list(map(len, videos)), DIM, dtype) as writer:
        for number, frames in enumerate(videos):
            writer.write(number, frames)
        return writer.finish()


def write_files(folder, videos):
    folder.mkdir(parents=True, exist_ok=True)
    for number, frames in enumerate(videos):
        np.save(folder / f"v{number}.npy", frames)


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    source=st.sampled_from(["<f2", "<f4", "<f8", ">f4"]),
    dtype=st.sampled_from(["float16", "float32"]),
    data=st.data(),
)
def test_gathers_equal_rows_of_the_files(tmp_path_factory, lengths, source, dtype, data):
    folder = tmp_path_factory.mktemp("store")
    videos = make_videos(lengths, source)
    write_files(folder / "features", videos)
    store, files = write_store(folder, videos, dtype), VideoFolder(folder / "features")
    assert store.ids == files.ids == tuple(f"v{i}" for i in range(len(lengths)))
    assert store.lengths.tolist() == files.lengths.tolist() == lengths
    assert (store.dim, store.dtype, files.dim) == (DIM, dtype, DIM)
    rows = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=5)))
    picks = np.stack([data.draw(st.lists(st.integers(0, lengths[v] - 1), min_size=4, max_size=4)) for v in rows])
    exact = np.stack([videos[v][p] for v, p in zip(rows, picks, strict=True)])
    packed, unpacked = store.gather(rows, picks), files.gather(rows, picks)
    assert packed.dtype == unpacked.dtype == np.float32
    np.testing.assert_array_equal(packed, exact.astype(dtype).astype("float32"))
    np.testing.assert_array_equal(unpacked, exact.astype("float32"))
    for frames in (store, files):
        out = np.empty((*picks.shape, DIM), "float16")
        assert frames.gather(rows, picks, out=out, threads=1) is out
        np.testing.assert_array_equal(out, frames.gather(rows, picks, dtype="float16"))
    store.verify()


@pytest.mark.parametrize(
    ("rows", "picks", "sentence"),
    [
        ([6], [[0]], "videos: expected from 0 to 5, got 6 at row 0"),
        ([0, -1], [[0], [0]], "videos: expected from 0 to 5, got -1 at row 1"),
        ([0, 1], [[0, 1], [0, 1]], "frame_indices: expected from 0 to 0 for video 1, got 1 at row 1, column 1"),
        ([0], [[-1]], "frame_indices: expected from 0 to 2 for video 0, got -1 at row 0, column 0"),
        ([0, 1], [[0]], "videos: expected shape (1,) as frame_indices has rows, got (2,)"),
    ],
)
def test_both_kinds_refuse_the_same_picks_alike(tmp_path, rows, picks, sentence):
    write_files(tmp_path / "features", make_videos())
    for frames in (write_store(tmp_path, make_videos()), VideoFolder(tmp_path / "features")):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            frames.gather(np.array(rows), np.array(picks))
        assert str(error.value) == sentence


@pytest.mark.parametrize("frames", [np.asfortranarray, lambda frames: frames.astype(">f8").T.copy().T])
def test_frames_of_any_order_in_memory_are_written(tmp_path, frames):
    videos = make_videos()
    write_files(tmp_path / "features", [frames(video) for video in videos])
    files = [open_video(tmp_path / "features" / f"{name}.npy") for name in IDS]
    np.testing.assert_array_equal(
        write_store(tmp_path / "packed", files).frames, write_store(tmp_path / "plain", videos).frames
    )


def test_threads_write_in_any_order(tmp_path):
    videos = make_videos()
    expected = write_store(tmp_path / "a", videos)
    with StoreWriter(tmp_path / "b", IDS, LENGTHS, DIM) as writer, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: writer.write(number, videos[number]), (5, 2, 0, 4, 1, 3)))
        store = writer.finish()
    for name in ("frames.npy", "offsets.npy", "checksums.npy", "ids.txt", "store.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    np.testing.assert_array_equal(store.frames, expected.frames)
    assert len(list((tmp_path / "b").iterdir())) == 5  # nothing unfinished stays


def test_nothing_looks_whole_before_the_end(tmp_path):
    videos = make_videos()
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        writer.write(0, videos[0])
        assert not FrameStore.is_at(tmp_path)
        with pytest.raises(InputError, match=r"not a whole frame store \(no store.json\)"):
            FrameStore.open(tmp_path)
        with pytest.raises(ValueError, match="v1: expected to be written before the end"):
            writer.finish()


def test_writing_goes_on_where_it_was_durable(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_store, "_SYNC_BYTES", 1)
    videos = make_videos()
    abandoned = StoreWriter(tmp_path, IDS, LENGTHS, DIM)
    for number in (0, 1, 3):  # a writer that is neither closed nor finished, as after a kill
        abandoned.write(number, videos[number])
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        assert writer.finished == 2
        for number in range(2, len(IDS)):
            writer.write(number, videos[number])
        writer.verify()
        store = writer.finish()
    np.testing.assert_array_equal(store.frames, np.concatenate(videos).astype("float16"))
    store.verify()


def test_closing_makes_what_is_written_durable(tmp_path):
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        writer.write(0, make_videos()[0])
        assert writer.finished == 0
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        assert writer.finished == 1


@pytest.mark.parametrize(
    "other",
    [
        (("x", *IDS[1:]), LENGTHS, DIM, "float16"),
        (IDS, (4, *LENGTHS[1:]), DIM, "float16"),
        (IDS, LENGTHS, DIM + 1, "float16"),
        (IDS, LENGTHS, DIM, "float32"),
    ],
)
def test_an_unfinished_store_of_something_else_is_refused(tmp_path, other):
    StoreWriter(tmp_path, IDS, LENGTHS, DIM).close()
    with pytest.raises(OutputError, match=r"frames.npy.unfinished: is of other videos.*; remove it to start anew"):
        StoreWriter(tmp_path, *other)
    (tmp_path / "frames.npy.unfinished").unlink()
    StoreWriter(tmp_path, *other).close()


def test_a_whole_store_is_never_written_over(tmp_path):
    write_store(tmp_path, make_videos())
    with pytest.raises(OutputError, match="holds a frame store already"):
        StoreWriter(tmp_path, IDS, LENGTHS, DIM)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros((3, 4)), r"v0: expected frames of shape \(3, 5\), got \(3, 4\)"),
        (np.full((3, DIM), np.nan), "v0: expected finite features, got nan in frame 0, feature 0"),
        (np.where(np.arange(15) == 8, -np.inf, 0).reshape(3, 5), "got -inf in frame 1, feature 3"),
        (np.full((3, DIM), 7e4), "v0: expected features within float16, got 70000.0 in frame 0, feature 0"),
    ],
)
def test_frames_that_cannot_be_stored_are_refused(tmp_path, frames, sentence):
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer, pytest.raises(ValueError, match=sentence):
        writer.write(0, frames)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((IDS, LENGTHS, DIM, "bfloat16"), "dtype: expected float16 or float32, got 'bfloat16'"),
        ((IDS, LENGTHS, 0), "dim: expected at least 1, got 0"),
        ((IDS, LENGTHS[1:], DIM), r"lengths: expected one for each of at least one id, got \(5,\) for 6"),
        ((("a", "b"), (1, 0), DIM), "lengths: expected at least 1, got 0"),
        ((("a", "a"), (1, 1), DIM), "ids: expected each video once, got a twice"),
        ((("a", "b\n"), (1, 1), DIM), "ids: expected names without white space"),
    ],
)
def test_plans_that_make_no_sense_are_refused(tmp_path, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        StoreWriter(tmp_path / "new", *arguments)
    assert not (tmp_path / "new").exists()


def test_videos_left_out_leave_no_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_store, "_SYNC_BYTES", 1)
    videos = make_videos()
    writer = StoreWriter(tmp_path, IDS, LENGTHS, DIM)
    writer.leave_out(0, "blank")
    writer.write(1, videos[1])
    writer.leave_out(2, "torn")
    writer.write(3, videos[3])
    with pytest.raises(ValueError, match="v2: expected to be left out before"):
        writer.leave_out(2, "again")
    with pytest.raises(ValueError, match="v2: expected a video that is not left out"):
        writer.write(2, videos[2])
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as resumed:
        assert (resumed.finished, resumed.left_out) == (4, {0: "blank", 2: "torn"})
        resumed.write(5, videos[5])
        resumed.write(4, videos[4])
        resumed.verify()
        store = resumed.finish()
    assert store.ids == ("v1", "v3", "v4", "v5")
    np.testing.assert_array_equal(store.frames, np.concatenate([videos[i] for i in (1, 3, 4, 5)]).astype("float16"))
    store.verify()


def test_fill_reads_few_videos_ahead(tmp_path):
    videos, under_way, most = make_videos((2,) * 40), set(), []
    lock = threading.Lock()

    def read(number):
        with lock:
            under_way.add(number)
            most.append(len(under_way))
        return videos[number]

    def written(fraction):
        with lock:
            under_way.discard(round(fraction * 40) - 1)

    with StoreWriter(tmp_path, [f"v{i}" for i in range(40)], [2] * 40, DIM) as writer:
        writer.fill(read, threads=3, progress=written)
        store = writer.finish()
    assert max(most) <= 7
    np.testing.assert_array_equal(store.frames, np.concatenate(videos).astype("float16"))


def test_verify_names_the_damaged_video(tmp_path):
    store = write_store(tmp_path, make_videos())
    with open(tmp_path / "frames.npy", "r+b") as stream:
        stream.seek(128 + 2 * DIM * int(store.offsets[4]))
        stream.write(b"\xff")
    seen = []
    with pytest.raises(InputError, match=r"frames.npy: video v4 is damaged"):
        FrameStore.open(tmp_path).verify(seen.append)
    assert seen == []


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("store.json", b"{}", "damaged frame store"),
        ("store.json", b"[1]", "damaged frame store"),
        ("store.json", b'{"format": 2}', "expected format 1, got 2"),
        ("ids.txt", b"v0\nv1\n", "do not belong together"),
        ("frames.npy", b"nonsense", "damaged frame store"),
        ("offsets.npy", b"", "damaged frame store"),
        ("checksums.npy", None, r"not a whole frame store \(no checksums.npy\)"),
    ],
)
def test_a_store_that_is_not_whole_is_refused(tmp_path, name, content, sentence):
    write_store(tmp_path, make_videos())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        FrameStore.open(tmp_path)


@pytest.mark.parametrize("name", ["frames.npy", "offsets.npy", "checksums.npy"])
def test_every_damaged_header_is_one_sentence(tmp_path, name):
    """Each byte of a header is changed in turn: the parser raises a dozen types, and shapes become impossible."""
    write_store(tmp_path, make_videos())
    whole = (tmp_path / name).read_bytes()
    for offset in range(128):
        for value in (0, ord("9"), ord("("), ord("'"), 0xFF):
            if whole[offset] == value:
                continue
            (tmp_path / name).write_bytes(whole[:offset] + bytes([value]) + whole[offset + 1 :])
            with contextlib.suppress(InputError):
                store = FrameStore.open(tmp_path)
                # The byte means nothing, such as one of the padding.
                assert (store.frames.shape, store.offsets.tolist()) == ((26, DIM), [0, 3, 4, 11, 13, 17, 26])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("store.json", b"[" * 100_000, "damaged frame store"),
        ("store.json", b'{"format": 1, "dtype": [], "dim": {}, "videos": 1e999}', "damaged frame store"),
        ("ids.txt", b"\xff\xfe", "damaged frame store"),
    ],
)
def test_a_damaged_description_is_one_sentence(tmp_path, name, content, sentence):
    write_store(tmp_path, make_videos())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        FrameStore.open(tmp_path)


@pytest.mark.parametrize("name", ["ids.txt", "offsets.npy", "checksums.npy"])
def test_a_changed_index_is_never_taken_for_the_packed_one(tmp_path, name):
    write_store(tmp_path, make_videos())
    content = bytearray((tmp_path / name).read_bytes())
    content[1 if name == "ids.txt" else 128 + 8 * (name == "offsets.npy")] ^= 1  # the offset of v1: 3 becomes 2
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="has changed"):
        FrameStore.open(tmp_path)


def test_a_store_without_an_index_checksum_is_read(tmp_path):
    store = write_store(tmp_path, make_videos())
    description = json.loads((tmp_path / "store.json").read_text())
    del description["index_crc32"]
    (tmp_path / "store.json").write_text(json.dumps(description))
    assert FrameStore.open(tmp_path).ids == store.ids


@pytest.mark.parametrize("journal", ["", "[]", '{"plan": 1}', "[" * 100_000])
def test_a_damaged_journal_is_one_sentence(tmp_path, journal):
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        writer.write(0, np.zeros((LENGTHS[0], DIM)))
    (tmp_path / "journal.unfinished").write_text(journal)
    with pytest.raises(OutputError, match="remove it to start anew"):
        StoreWriter(tmp_path, IDS, LENGTHS, DIM)


@pytest.mark.parametrize(("left_out", "checksums"), [("[1]", "[]"), ('{"x": ""}', "[]"), ("{}", '["a"]'), ("{}", "3")])
def test_a_journal_of_wrong_types_is_one_sentence(tmp_path, left_out, checksums):
    with StoreWriter(tmp_path, IDS, LENGTHS, DIM) as writer:
        plan = writer._plan()
    text = f'{{"plan": "{plan}", "left_out": {left_out}, "checksums": {checksums}}}'
    (tmp_path / "journal.unfinished").write_text(text)
    with pytest.raises(OutputError, match="remove it to start anew"):
        StoreWriter(tmp_path, IDS, LENGTHS, DIM)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "..", "a\0b"])
def test_ids_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    features = tmp_path / "features"
    write_files(features, make_videos())
    np.save(tmp_path / "outside.npy", np.ones((2, DIM), "f4"))
    with pytest.raises(InputError, match=r"features: expected ids of videos inside this folder, got '"):
        VideoFolder(features, ["v0", name])
    with pytest.raises(InputError, match=r"features: expected ids of videos inside this folder, got '"):
        VideoFolder.present(features, ["v0", f"a/../{name}"])


def test_ids_may_name_a_subfolder(tmp_path):
    write_files(tmp_path / "kitchen", make_videos([3, 4]))
    write_files(tmp_path, make_videos([2]))
    assert VideoFolder.present(tmp_path, ["kitchen/v1", "kitchen/v9", "v0", "v1"]) == ("kitchen/v1", "v0")
    files = VideoFolder(tmp_path, ["kitchen/v1", "v0"])
    assert files.lengths.tolist() == [4, 2]
    np.testing.assert_array_equal(files.gather([0], [[3]])[0], np.load(tmp_path / "kitchen/v1.npy")[[3]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_gathers_of_files_name_a_frame_that_is_not_finite(tmp_path, value):
    videos = make_videos()
    videos[2][5, 1] = value
    write_files(tmp_path, videos)
    files = VideoFolder(tmp_path)
    files.gather([1, 2], [[0, 0], [4, 6]])  # the bad frame is not among these
    with pytest.raises(InputError, match=rf"v2\.npy: expected finite features, got {value} in frame 5, feature 1$"):
        files.gather([0, 2], [[0, 1], [3, 5]])
    videos[2] = videos[2].astype("f8")
    videos[2][5, 1] = 1e300
    write_files(tmp_path, videos)
    with pytest.raises(InputError, match=r"v2\.npy: expected features within float32, got 1e\+300 in frame 5"):
        files.gather([2], [[5]])


def test_a_file_with_more_than_its_header_says_is_refused(tmp_path):
    write_files(tmp_path, make_videos([3]))
    with open(tmp_path / "v0.npy", "ab") as stream:
        stream.write(bytes(4 * DIM))
    with pytest.raises(InputError, match=r"v0\.npy: expected 188 bytes, as its header says, got 208; save it again"):
        open_video(tmp_path / "v0.npy")


def test_stores_are_shown_in_one_line(tmp_path):
    store = write_store(tmp_path / "packed", make_videos())
    write_files(tmp_path / "files", make_videos())
    size = f"6 videos, 26 frames of {DIM} features"
    assert repr(store) == f"FrameStore('{tmp_path}/packed', {size}, float16)"
    assert repr(VideoFolder(tmp_path / "files")) == f"VideoFolder('{tmp_path}/files', {size}, float32)"


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(5, "f4"), r"expected frames of shape \(n, D\), got shape \(5,\)"),
        (np.zeros((2, 5), "i4"), "expected frames of float16, float32 or float64, got int32"),
        (np.zeros((0, 5), "f4"), r"expected at least one frame, got shape \(0, 5\)"),
        (np.array([[None]]), "expected frames of float16, float32 or float64, got object"),
    ],
)
def test_videos_that_cannot_be_used_are_refused(tmp_path, array, sentence):
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(InputError, match=sentence):
        open_video(tmp_path / "v.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00\x76\x00{'descr'", b"PK\x03\x04", b"text"])
def test_files_that_are_no_arrays_are_refused(tmp_path, content):
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"v.npy: not a whole .npy file"):
        open_video(tmp_path / "v.npy")


def test_truncated_videos_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 5), "f4"))
    whole = (tmp_path / "v.npy").read_bytes()
    (tmp_path / "v.npy").write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"v.npy: not a whole .npy file"):
        open_video(tmp_path / "v.npy")


def test_a_folder_names_the_first_video_that_cannot_be_used(tmp_path):
    write_files(tmp_path, make_videos())
    np.save(tmp_path / "v2.npy", np.zeros((3, DIM + 1), "f4"))
    (tmp_path / "v4.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"v2: expected 5 features a frame as most videos have, got 6, and 1 more"):
        VideoFolder(tmp_path)
    with pytest.raises(InputError, match=r"v9: no such file"):
        VideoFolder(tmp_path, ["v0", "v9"])
    assert VideoFolder(tmp_path, ["v3", "v0"]).lengths.tolist() == [2, 3]
    with pytest.raises(InputError, match="cannot be read"):
        VideoFolder(tmp_path / "none")


def test_fingerprints_are_of_the_frames(tmp_path):
    videos = make_videos([2, 3], "<f4")
    stores = [write_store(tmp_path / str(number), videos, "float32") for number in range(2)]
    videos[1][0, 0] += 1
    other = write_store(tmp_path / "other", videos, "float32")
    assert stores[0].fingerprint == stores[1].fingerprint != other.fingerprint


def test_files_of_several_dtypes_have_the_widest(tmp_path):
    for number, dtype in enumerate(["f2", "f4"]):
        write_files(tmp_path / dtype, make_videos([2], dtype))
        (tmp_path / dtype / "v0.npy").rename(tmp_path / f"v{number}.npy")
    assert VideoFolder(tmp_path).dtype == "float32"
