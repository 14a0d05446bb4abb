"""Tests of compressed files and of URLs: the values of the plain file, no leftovers, and one sentence for damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import pytest

from vltr_eval import evaluate
from vltr_eval._base.files import InputError
from vltr_eval.formats import copies, read_class_names, read_ids, read_labels, read_scores, split_spec
from vltr_eval.formats.sources import expand_one

SCORES = np.random.default_rng(0).random((20, 4), dtype=np.float32)
TRUTH = np.eye(20, 4, dtype=np.uint8)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


def leftovers() -> list[str]:
    return [path.name for path in Path("temporary").iterdir()]


def raise_error(error: Exception) -> None:
    raise error


def compress(kind: str, content: bytes) -> bytes:
    if kind == ".zst":
        return pytest.importorskip("zstandard").ZstdCompressor().compress(content)
    if kind == ".lz4":
        return pytest.importorskip("lz4.frame").compress(content)
    return {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[kind](content)


def complaint(spec: str, read=read_scores) -> str:
    with pytest.raises(InputError) as caught:
        read(spec)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{spec}: ")
    assert leftovers() == []
    return message.removeprefix(f"{spec}: ")


KINDS = [".gz", ".bz2", ".xz", ".zst", ".lz4"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".json"])
def test_compressed_files_have_the_values(kind, suffix):
    plain = Path(f"a{suffix}")
    if suffix == ".npy":
        np.save(plain, SCORES)
    elif suffix == ".npz":
        np.savez(plain, scores=SCORES)
    else:
        rows = SCORES.astype(float).tolist()
        plain.write_text(str(rows) if suffix == ".json" else "".join(",".join(map(repr, row)) + "\n" for row in rows))
    name = f"a{suffix}{kind}"
    Path(name).write_bytes(compress(kind, plain.read_bytes()))
    found = read_scores(name)
    np.testing.assert_array_equal(found.values, read_scores(plain).values)
    assert found.name == name
    del found
    assert leftovers() == []
    assert evaluate(name, TRUTH).to_json() == evaluate(str(plain), TRUTH).to_json()


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_and_foreign_compressed_files_are_refused(kind):
    np.save("a.npy", np.random.default_rng(1).random((100, 30)))
    whole = compress(kind, Path("a.npy").read_bytes())
    for content in (whole[: len(whole) // 2], b"text that is not compressed"):
        Path(f"a.npy{kind}").write_bytes(content)
        message = complaint(f"a.npy{kind}")
        assert "truncated" in message
    assert complaint(f"none.npy{kind}") == "no such file"


def test_the_header_bounds_a_compressed_array():
    np.save("a.npy", SCORES)
    content = Path("a.npy").read_bytes()
    Path("a.npy.gz").write_bytes(gzip.compress(content + bytes(50 << 20)))
    assert f"expected at most {len(content) + 1:,} bytes after decompression" in complaint("a.npy.gz")
    Path("a.npy.gz").write_bytes(gzip.compress(content[:-4]))
    assert "truncated: the header promises" in complaint("a.npy.gz")
    Path("a.npy.gz").write_bytes(gzip.compress(b"no array"))
    assert "not a .npy array" in complaint("a.npy.gz")


def test_the_ratio_bounds_other_files(monkeypatch):
    monkeypatch.setattr(copies, "_LEAST_LIMIT", 1000)
    Path("a.csv.xz").write_bytes(lzma.compress(bytes(10 << 20)))
    limit = copies.MAX_RATIO * Path("a.csv.xz").stat().st_size
    assert f"expected at most {limit:,} bytes after decompression" in complaint("a.csv.xz")


def test_a_full_disk_is_one_sentence(monkeypatch):
    np.save("a.npy", SCORES)
    Path("a.npy.gz").write_bytes(gzip.compress(Path("a.npy").read_bytes()))

    error = OSError(28, "No space left on device")
    monkeypatch.setattr(copies, "_pump", lambda source, *_: raise_error(copies._no_room(source, error)))
    assert "set TMPDIR to a folder on a larger disk" in complaint("a.npy.gz")


def test_other_readers_take_compressed_files():
    Path("names.txt.gz").write_bytes(gzip.compress(b"cat\ndog\n"))
    Path("ids.txt.gz").write_bytes(gzip.compress(b"v1\nv2\n"))
    Path("labels.lst.gz").write_bytes(gzip.compress(b"v1 0,1\nv2 1\n"))
    assert read_class_names("names.txt.gz").names == ("cat", "dog")
    assert read_ids("ids.txt.gz").tolist() == ["v1", "v2"]
    assert read_labels("labels.lst.gz").ids.tolist() == ["v1", "v2"]
    assert leftovers() == []


def test_progress_of_a_copy_never_falls():
    np.save("a.npy", np.zeros((100_000, 40), np.float32))
    Path("a.npy.gz").write_bytes(gzip.compress(Path("a.npy").read_bytes(), 1))
    seen: list[float] = []
    read_scores("a.npy.gz", progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 0
    assert max(seen) <= 1


# URLs


@pytest.fixture(name="memory")
def _memory():
    """A folder of fsspec's file system in memory."""
    system = fsspec.filesystem("memory")
    yield "memory://vltr"
    system.rm("/vltr", recursive=True)


def put(url: str, content: bytes) -> None:
    with fsspec.open(url, "wb") as stream:
        stream.write(content)


def test_urls_have_the_values_and_stand_in_messages(memory):
    for number in (2, 10):
        np.savez("a.npz", scores=SCORES + number, labels=TRUTH)
        put(f"{memory}/part_{number}.npz", Path("a.npz").read_bytes())
    found = read_scores(f"{memory}/part_2.npz::scores")
    np.testing.assert_array_equal(found.values, SCORES + 2)
    assert found.name == f"{memory}/part_2.npz::scores"
    shards = read_scores(f"{memory}/part_*.npz")
    assert [float(shard[0, 0]) for shard in shards.values] == [float(SCORES[0, 0] + 2), float(SCORES[0, 0] + 10)]
    assert [name.rpartition("/")[2] for name in split_spec(f"{memory}/part_*.npz")] == ["part_2.npz", "part_10.npz"]
    assert complaint(f"{memory}/none.npy") == "no such file"
    assert complaint(f"{memory}/none_*.npy") == "no file matches this pattern"
    put(f"{memory}/bad.npy", b"text")
    assert "not a .npy array" in complaint(f"{memory}/bad.npy")
    assert "cannot be read" in complaint("unknown-protocol://a/b.npy")
    assert leftovers() == []


def test_compressed_files_behind_urls(memory, tmp_path):
    np.save("a.npy", SCORES)
    packed = gzip.compress(Path("a.npy").read_bytes())
    put(f"{memory}/a.npy.gz", packed)
    Path("a.npy.gz").write_bytes(packed)
    for url in (f"{memory}/a.npy.gz", f"file://{tmp_path}/a.npy.gz", f"file://{tmp_path}/a.npy"):
        np.testing.assert_array_equal(read_scores(url).values, SCORES)
        assert expand_one(url).name == url.rpartition("/")[2]


def test_h5_and_zarr_behind_urls(memory):
    import h5py

    with h5py.File("a.h5", "w") as file:
        file["scores"] = SCORES
    put(f"{memory}/a.h5", Path("a.h5").read_bytes())
    np.testing.assert_array_equal(read_scores(f"{memory}/a.h5").values, SCORES)
    zarr = pytest.importorskip("zarr", minversion="3")
    store = zarr.storage.FsspecStore.from_url(f"{memory}/a.zarr")
    zarr.create_group(store).create_array("scores", data=SCORES)
    np.testing.assert_array_equal(read_scores(f"{memory}/a.zarr").values, SCORES)


def test_missing_fsspec_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert complaint("s3://bucket/a.npy") == 'reading it needs fsspec; pip install "vltr[fsspec]"'


def test_a_chain_of_fsspec_is_no_key():
    assert expand_one("zip://a.npy::s3://bucket/b.zip").key is None
    assert expand_one("s3://bucket/b.npz::scores").key == "scores"
