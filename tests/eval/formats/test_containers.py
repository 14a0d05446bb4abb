"""Tests of .h5 and zarr: every layout gives the values of the array, and what cannot be read is one sentence.

The reference is the array that numpy wrote into the container; the library that writes it is not used to read it.
"""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vltr_eval import evaluate
from vltr_eval._base.files import InputError
from vltr_eval.formats import LabelPairs, hdf5, read_ids, read_labels, read_scores, read_train_counts, tiles

SCORES = np.random.default_rng(0).random((53, 7), dtype=np.float32)
TRUTH = (np.random.default_rng(1).random((53, 7)) < 0.3).astype(np.uint8)
IDS = [f"v{number:03d}" for number in range(53)]
NAMES = ["cat", "dog", "owl", "ibis", "newt", "\u00e9", "ox"]

LAYOUTS = {
    "contiguous": {},
    "chunks of whole rows": {"chunks": (10, 7)},
    "chunks of some columns": {"chunks": (10, 3)},
    "chunks of one column": {"chunks": (53, 1), "compression": "gzip"},
    "gzip": {"chunks": (10, 7), "compression": "gzip"},
    "shuffle and gzip": {"chunks": (10, 3), "compression": "gzip", "shuffle": True},
    "shuffle": {"chunks": (8, 4), "shuffle": True},
    "lzf": {"chunks": (10, 3), "compression": "lzf"},
    "fletcher32": {"chunks": (10, 3), "compression": "gzip", "fletcher32": True},
    "may grow": {"chunks": (10, 3), "maxshape": (None, 7), "compression": "gzip"},
}


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=["memory", "file"])
def _target(request, monkeypatch):
    """Arrays are decoded into memory, or into a temporary file as if they were large."""
    if request.param == "file":
        monkeypatch.setattr(tiles, "IN_MEMORY", -1)
        monkeypatch.setattr(tiles, "_free_memory", lambda: 0)
        monkeypatch.setattr(tiles, "BLOCK", 512)


def complaint(spec: str, read=read_scores) -> str:
    with pytest.raises(InputError) as caught:
        read(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(spec.partition("::")[0])
    return message.partition(": ")[2]


def check(spec: str, expected=SCORES, read=read_scores):
    found = read(spec)
    assert found.values.dtype == np.dtype(expected.dtype).newbyteorder("=")
    np.testing.assert_array_equal(found.values, expected)
    return found


# .h5


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", "<f2", ">f4", "<f8", ">i8"])
def test_every_h5_layout_has_the_values(layout, dtype):
    array = (SCORES * 100).astype(dtype)
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=array, **LAYOUTS[layout])
    check("a.h5", array)


@pytest.mark.usefixtures("_target")
def test_own_decoding_does_not_call_the_library(monkeypatch):
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=SCORES, chunks=(10, 3), compression="gzip", shuffle=True)
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: pytest.fail("read by h5py"))
    check("a.h5")


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 40), columns=st.integers(1, 9), height=st.integers(1, 12), width=st.integers(1, 9),
    dtype=st.sampled_from(["u1", "<f2", "<f4", ">f8"]), how=st.sampled_from([{}, {"compression": "gzip"}]),
    shuffle=st.booleans(), threads=st.sampled_from([1, 3]),
)  # fmt: skip
def test_any_chunks_have_the_values(rows, columns, height, width, dtype, how, shuffle, threads):
    array = np.arange(rows * columns).reshape(rows, columns).astype(dtype)
    with pytest.MonkeyPatch.context() as patch, h5py.File("any.h5", "w", driver="core", backing_store=True) as file:
        patch.setenv("VLTR_NUM_THREADS", str(threads))
        chunks = (min(rows, height), min(columns, width))
        file.create_dataset("scores", data=array, chunks=chunks, shuffle=shuffle, **how)
        file.close()
        check("any.h5", array)


def test_a_contiguous_array_is_mapped():
    with h5py.File("a.h5", "w") as file:
        file["scores"] = SCORES
    values = read_scores("a.h5").values
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable
    with h5py.File("a.h5", "r+") as file:
        file["scores"][0, 0] = 9
    assert values[0, 0] == 9


def test_an_array_behind_a_user_block_or_at_an_odd_offset_has_the_values():
    large = np.tile(SCORES, (10, 1))

    def offset_of(name, size, **how):
        with h5py.File(name, "w", **how) as file:
            file["bytes"], file["scores"] = np.zeros(size, np.uint8), large
            file.create_dataset("chunked", data=large, chunks=(100, 7), compression="gzip")
        with h5py.File(name) as file:
            return file["scores"].id.get_offset()

    offset_of("block.h5", 5000, userblock_size=512)
    assert any(offset_of("odd.h5", size) % 4 for size in range(5001, 5020))  # the library chooses where arrays begin
    for name in ("block.h5", "odd.h5"):
        check(f"{name}::scores", large)
        check(f"{name}::chunked", large)


def test_large_arrays_leave_memory_free(monkeypatch):
    monkeypatch.setattr(tiles, "IN_MEMORY", 0)
    monkeypatch.setattr(tiles, "_free_memory", lambda: 0)
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=SCORES, chunks=(10, 7), compression="gzip")
    assert isinstance(check("a.h5").values, np.memmap)


@pytest.mark.usefixtures("_target")
def test_chunks_that_were_never_written_are_the_fill_value():
    with h5py.File("a.h5", "w") as file:
        array = file.create_dataset("scores", (20, 7), "f4", chunks=(5, 7), fillvalue=0.25, compression="gzip")
        array[:5] = SCORES[:5]
    found = read_scores("a.h5")
    np.testing.assert_array_equal(found.values, np.concatenate([SCORES[:5], np.full((15, 7), 0.25)]))
    assert found.notes == ("a.h5: 3 of 4 chunks were never written; their cells are the fill value, 0.25",)


@pytest.mark.parametrize("how", [{}, {"chunks": (5, 7)}])
def test_an_array_that_was_never_written_is_refused(how):
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", (20, 7), "f4", **how)
    assert "created but never written" in complaint("a.h5")


def test_the_role_decides_and_ids_and_names_stand_beside():
    with h5py.File("a.h5", "w") as file:
        group = file.create_group("test")
        group["scores"], group["labels"], group["video_id"] = SCORES, TRUTH, np.array(IDS, object)
        group["class_names"] = NAMES
        group["features"] = np.zeros((53, 3, 2))
    scores, labels = check("a.h5"), check("a.h5", TRUTH, read_labels)
    for side in (scores, labels):
        assert side.ids.tolist() == IDS
        assert side.class_names == tuple(NAMES)
    assert evaluate("a.h5", "a.h5").to_json() == evaluate(SCORES, TRUTH, class_names=NAMES).to_json()
    check("a.h5::/test/scores")


def test_an_ambiguous_choice_is_refused():
    with h5py.File("a.h5", "w") as file:
        file["val/scores"], file["test/scores"] = SCORES, SCORES
    assert complaint("a.h5").endswith("pick one as FILE::KEY (found test/scores, val/scores)")
    assert complaint("a.h5::nope").startswith(":nope: no such array") or "no such array" in complaint("a.h5::nope")


def test_rows_of_audio_clips_without_a_name_are_left_out():
    target = TRUTH[:4].astype(bool)
    target[[1, 3]] = False
    with h5py.File("panns.h5", "w") as file:
        file["audio_name"] = np.array([b"Ya.wav", b"", b"Yb.wav", b""], "S20")
        file["target"], file["waveform"] = target, np.zeros((4, 5), np.int16)
    labels = read_labels("panns.h5")
    assert labels.ids.tolist() == ["Ya.wav", "Yb.wav"]
    np.testing.assert_array_equal(labels.values, target[[0, 2]])
    assert labels.notes == ("panns.h5: 2 rows without an id are left out",)
    with h5py.File("panns.h5", "r+") as file:
        file["target"][1, 2] = True
    assert complaint("panns.h5", read_labels) == "row 1: expected an id, since the row has labels, got an empty one"


@pytest.mark.parametrize("stated", ["array", "attribute"])
def test_sparse_labels_in_a_group(stated):
    rows, classes = np.nonzero(TRUTH)
    with h5py.File("a.h5", "w") as file:
        group = file.create_group("labels")
        group["data"], group["indices"] = np.ones(len(rows), np.float32), classes.astype(np.int32)
        group["indptr"] = np.concatenate([[0], np.cumsum(TRUTH.sum(1))]).astype(np.int64)
        if stated == "array":
            group["shape"] = TRUTH.shape
        else:
            group.attrs["shape"], group.attrs["encoding-type"] = TRUTH.shape, "csr_matrix"
    pairs = read_labels("a.h5").values
    assert isinstance(pairs, LabelPairs)
    assert (pairs.num_rows, pairs.num_classes) == TRUTH.shape
    np.testing.assert_array_equal(np.stack([pairs.rows, pairs.classes]), np.stack([rows, classes]))
    assert "sparse matrix can hold labels" in complaint("a.h5::labels")


def test_other_files_are_never_followed():
    with h5py.File("other.h5", "w") as file:
        file["scores"] = SCORES
    Path("raw.bin").write_bytes(SCORES.tobytes())
    virtual = h5py.VirtualLayout(SCORES.shape, "f4")
    virtual[:] = h5py.VirtualSource("other.h5", "scores", SCORES.shape)
    with h5py.File("a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/scores")
        file["soft"] = h5py.SoftLink("/link")
        file.create_virtual_dataset("virtual", virtual)
        file.create_dataset("raw", SCORES.shape, "f4", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])
        file["mine"], file["alias"] = SCORES, h5py.SoftLink("mine")
    for key in ("link", "soft"):
        assert "link is a link to another file, other.h5, which is not followed" in complaint(f"a.h5::{key}")
    assert "virtual data set" in complaint("a.h5::virtual")
    assert "data are in another file" in complaint("a.h5::raw")
    check("a.h5::mine")
    check("a.h5::alias")
    with h5py.File("only.h5", "w") as file:
        file["scores"] = h5py.ExternalLink("other.h5", "/scores")
    assert "not followed" in complaint("only.h5")


def test_groups_in_a_circle_end():
    with h5py.File("a.h5", "w") as file:
        file["group/scores"] = SCORES
        file["group/up"] = file["/"]
        file["loop"] = h5py.SoftLink("/loop")
    check("a.h5")
    assert "no such array" in complaint("a.h5::loop")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda f: f.create_dataset("scores", (3,), h5py.vlen_dtype(np.int32)), "rows of different lengths (vlen)"),
        (lambda f: f.create_dataset("scores", data=np.zeros(3, [("a", "f4"), ("b", "i4")])), "fields a, b"),
        (lambda f: f.create_dataset("scores", data=np.array([f.ref], h5py.ref_dtype)), "got references"),
        (lambda f: f.create_dataset("scores", data=np.zeros((3, 2), np.complex64)), "complex64; save its real part"),
        (lambda f: f.create_dataset("scores", data=["a", "b"]), "got text"),
    ],
)  # fmt: skip
def test_other_types_are_refused(make, sentence):
    with h5py.File("a.h5", "w") as file:
        make(file)
    message = complaint("a.h5")
    assert message.startswith(":scores: expected scores of bool") or "expected scores of bool" in message
    assert sentence in message


def test_damaged_h5_files_are_one_sentence():
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=SCORES, chunks=(10, 7), compression="gzip")
        info = file["scores"].id.get_chunk_info(2)
    whole = Path("a.h5").read_bytes()
    for content in (whole[:1000], b"", b"text", whole[: len(whole) - 100]):
        Path("b.h5").write_bytes(content)
        assert "not an .h5 file, or it is truncated or damaged" in complaint("b.h5")
    Path("b.h5").write_bytes(whole[: info.byte_offset] + bytes(info.size) + whole[info.byte_offset + info.size :])
    assert "not an .h5 file, or it is truncated or damaged" in complaint("b.h5")
    assert complaint("none.h5") == "no such file"


def test_any_damaged_byte_is_read_or_refused():
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=SCORES[:6], chunks=(3, 7), compression="gzip")
    whole = bytearray(Path("a.h5").read_bytes())
    rng, sentences = np.random.default_rng(0), []
    for position in rng.choice(len(whole), 150, replace=False):
        content = bytearray(whole)
        content[position] ^= 1 << int(rng.integers(8))
        Path("b.h5").write_bytes(content)
        try:
            read_scores("b.h5")
        except InputError as error:
            sentences.append(str(error))
    assert sentences
    assert all(sentence.startswith("b.h5") and "\n" not in sentence for sentence in sentences)


def test_a_promised_size_allocates_nothing(monkeypatch):
    with h5py.File("a.h5", "w") as file:
        array = file.create_dataset("scores", (1 << 40, 100), "f8", chunks=(1000, 100), compression="gzip")
        array[:1000] = 0
    assert "expected room for 879,609,302,220,800 bytes" in complaint("a.h5")
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", (5, 5), "f8", chunks=(1 << 14, 1 << 14), maxshape=(None, None))[:] = 0
    assert "expected chunks of at most 1024 MiB" in complaint("a.h5")


def test_a_missing_filter_is_named(monkeypatch):
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("scores", data=SCORES, chunks=(10, 7), compression="lzf")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda number: number != 32000)
    assert "is compressed by the filter lzf, which h5py lacks here; pip install hdf5plugin" in complaint("a.h5")


def test_counts_and_ids_are_read_from_h5():
    with h5py.File("a.h5", "w") as file:
        file["train_counts"] = np.arange(7)
        file["labels"], file["ids"] = TRUTH, np.arange(53)
    assert read_train_counts("a.h5").tolist() == list(range(7))
    assert read_ids("a.h5").tolist() == list(range(53))


def test_missing_h5py_is_named(monkeypatch):
    Path("a.h5").write_bytes(b"")
    monkeypatch.setattr(hdf5, "require", lambda *_: (_ for _ in ()).throw(InputError("a.h5: needs h5py")))
    assert complaint("a.h5") == "needs h5py"


# zarr


@pytest.fixture(name="zarr")
def _zarr():
    return pytest.importorskip("zarr", minversion="3")


def write_zarr(zarr, path, arrays, format=3, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.open_group(path, mode="w", zarr_format=format)
        for name, values in arrays.items():
            if isinstance(values, list):
                group.create_array(name, shape=(len(values),), dtype=str)[:] = np.array(values, object)
            else:
                group.create_array(name, shape=values.shape, dtype=values.dtype, **how)[:] = values
    return group


@pytest.mark.usefixtures("_target")
@pytest.mark.parametrize("dtype", ["?", "i1", "<u2", "<f2", ">f4", "<f8", "<i8"])
@pytest.mark.parametrize(
    ("format", "how"),
    [
        (2, {"chunks": (10, 7)}),
        (2, {"chunks": (10, 3), "compressors": None}),
        (3, {"chunks": (10, 7)}),
        (3, {"chunks": (10, 3), "compressors": None}),
        (3, {"chunks": (5, 7), "shards": (20, 7)}),
        (3, {"chunks": (53, 1)}),
    ],
)
def test_every_zarr_layout_has_the_values(zarr, format, how, dtype):
    array = (SCORES * 100).astype(dtype)
    write_zarr(zarr, "a.zarr", {"scores": array}, format, **how)
    check("a.zarr", array)
    check("a.zarr::scores", array)


@pytest.mark.parametrize("format", [2, 3])
def test_zarr_has_ids_names_and_groups(zarr, format):
    arrays = {"test/scores": SCORES, "test/labels": TRUTH, "test/ids": IDS, "test/class_names": NAMES}
    write_zarr(zarr, "a.zarr", arrays, format)
    for spec in ("a.zarr", "a.zip"):
        scores = check(spec)
        assert scores.ids.tolist() == IDS
        assert scores.class_names == tuple(NAMES)
        assert evaluate(spec, spec).to_json() == evaluate(SCORES, TRUTH, class_names=NAMES).to_json()
        shutil.make_archive("a", "zip", "a.zarr")
        break
    check("a.zip")


def test_one_zarr_array_without_a_group(zarr):
    zarr.save("a.zarr", SCORES)
    check("a.zarr")
    assert "holds one unnamed array" in complaint("a.zarr::scores")


def test_missing_zarr_chunks_are_the_fill_value(zarr):
    group = write_zarr(zarr, "a.zarr", {})
    group.create_array("scores", shape=(20, 7), dtype="f4", chunks=(5, 7), fill_value=0.25)[:5] = SCORES[:5]
    found = read_scores("a.zarr")
    np.testing.assert_array_equal(found.values, np.concatenate([SCORES[:5], np.full((15, 7), 0.25)]))
    assert found.notes == ("a.zarr: 3 of 4 chunks are missing; their cells are the fill value, 0.25",)
    metadata = Path("a.zarr/scores/.zarray")
    group = write_zarr(zarr, "a.zarr", {"scores": SCORES}, 2, chunks=(10, 7))
    stated = json.loads(metadata.read_text())
    metadata.write_text(json.dumps({**stated, "fill_value": None}))
    Path("a.zarr/scores/0.0").unlink()
    assert "1 of 6 chunks are missing and there is no fill value" in complaint("a.zarr")


def test_zarr_never_unpickles(zarr, tmp_path):
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (ran,)

    by_pickle = {"id": "pickle"}
    for compressor, filters, dtype in (
        (None, [by_pickle], "|O"),
        (by_pickle, None, "<f4"),
        (None, [by_pickle], "<f4"),
    ):
        folder = tmp_path / "a.zarr"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stated = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": dtype, "compressor": compressor}
        stated |= {"fill_value": 0, "order": "C", "filters": filters}
        (folder / ".zarray").write_text(json.dumps(stated))
        (folder / "0").write_bytes(pickle.dumps(Bomb()))
        complaint("a.zarr")
        assert not ran.exists()


def test_damaged_zarr_is_one_sentence(zarr):
    write_zarr(zarr, "a.zarr", {"scores": SCORES}, chunks=(10, 7))
    chunk = Path("a.zarr/scores/c/1/0")
    whole = chunk.read_bytes()
    for content in (whole[:20], b""):
        chunk.write_bytes(content)
        assert "truncated or damaged" in complaint("a.zarr")
    Path("a.zarr/scores/zarr.json").write_text("{")
    complaint("a.zarr")
    Path("empty.zarr").mkdir()
    assert complaint("empty.zarr") == "not a zarr array or group of format 2 or 3"
    assert complaint("none.zarr") == "no such file"
    Path("junk.zip").write_bytes(b"PKjunk")
    assert "truncated or damaged" in complaint("junk.zip")
    Path("file.zarr").write_bytes(b"text")
    assert "expected a folder, got a file" in complaint("file.zarr")


def test_zarr_chunks_larger_than_memory_are_refused(zarr):
    group = write_zarr(zarr, "a.zarr", {})
    group.create_array("scores", shape=(2, 2), dtype="f4", chunks=(1 << 20, 1 << 20))
    assert "expected chunks of at most 1024 MiB" in complaint("a.zarr")
