"""Tests of `vltr-eval convert`: reports have the same bytes through every pair of containers."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from vltr_eval import evaluate
from vltr_eval.formats import read_labels, read_scores, tiles
from vltr_eval.formats.content import Content, DenseRows, narrowed
from vltr_eval.formats.table import LabelPairs
from vltr_eval.formats.writers import WRITERS
from vltr_eval.program.cli import main

N, C = 60, 5
RNG = np.random.default_rng(0)
SCORES = (RNG.normal(size=(N, C)) * 3).astype(np.float32)
TRUTH = (RNG.random((N, C)) < 0.25).astype(np.uint8)
TRUTH[[0, 7, N - 1]] = 0  # rows without labels at both ends and between
INDEX = RNG.integers(0, C, N)
IDS = np.array([f"00{number}" for number in RNG.permutation(N)])
NAMES = np.array(["cat", "dog, big", 'owl "x"', "d", "\u00e9"])

SUFFIXES = [suffix for suffix in WRITERS if suffix not in (".hdf5", ".tsv")]
BARE = {".npy", ".safetensors"}  # without text ids and names


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def needs(*suffixes: str) -> None:
    for suffix in suffixes:
        if suffix in (".zarr", ".zip"):
            pytest.importorskip("zarr", minversion="3")


def convert(*arguments: object, quiet: bool = True) -> None:
    assert main(["convert", *map(str, arguments), *(["--quiet"] if quiet else [])]) == 0


def report(scores: object, labels: object) -> str:
    """The report's bytes, without the notes on the order of rows, which hold the names of the files."""
    return replace(evaluate(scores, labels), notes=()).to_json()


PAIRS = list(itertools.product(SUFFIXES, SUFFIXES))


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_scores_through_every_pair_have_the_same_report(first, second):
    needs(first, second)
    np.savez("labels.npz", labels=TRUTH, ids=IDS, class_names=NAMES)
    order = np.argsort(IDS)  # so that a lost order of rows would show
    for dtype in ("f2", "f4", "f8", "u1"):
        scores = np.clip(SCORES * 20 + 100, 0, 255).astype(dtype)
        np.savez("in.npz", scores=scores[order], ids=IDS[order], class_names=NAMES)
        convert("in.npz", f"one{dtype}{first}")
        convert(f"one{dtype}{first}", f"two{dtype}{second}")
        if BARE & {first, second}:
            expected = evaluate(scores[order], TRUTH[order]).metrics()
            assert evaluate(f"two{dtype}{second}", TRUTH[order]).metrics() == expected
            np.testing.assert_array_equal(read_scores(f"two{dtype}{second}").values, scores[order])
        else:
            assert report(f"two{dtype}{second}", "labels.npz") == report("in.npz", "labels.npz")


def write_labels(form: str) -> str:
    if form == "dense":
        np.savez("in.npz", labels=TRUTH, ids=IDS, class_names=NAMES)
    elif form == "index":
        np.savez("in.npz", labels=INDEX, ids=IDS)
    elif form == "sparse":
        m = sparse.csr_matrix(TRUTH)
        arrays = {
            "data": m.data,
            "indices": m.indices,
            "indptr": m.indptr,
            "shape": m.shape,
            "format": np.array(b"csr"),
        }
        np.savez("in.npz", **arrays, ids=IDS, class_names=NAMES)
    else:
        rows = {name: np.flatnonzero(row).tolist() for name, row in zip(IDS.tolist(), TRUTH, strict=True)}
        Path("in.json").write_text(json.dumps(rows))
        return "in.json"
    return "in.npz"


LABEL_CASES = [("sparse", *pair) for pair in PAIRS]
LABEL_CASES += [(form, suffix, suffix) for form in ("dense", "index", "lists") for suffix in SUFFIXES]


@pytest.mark.parametrize(("form", "first", "second"), LABEL_CASES)
def test_labels_through_every_pair_have_the_same_report(form, first, second):
    needs(first, second)
    np.savez("scores.npz", scores=SCORES, ids=IDS, class_names=NAMES)
    source = write_labels(form)
    total = ["--num-classes", C] if form in ("sparse", "lists") else []
    convert(source, f"one{first}", "--labels", *total)
    convert(f"one{first}", f"two{second}", "--labels", *total)
    if BARE & {first, second}:
        assert report(SCORES, f"two{second}") == report(SCORES, INDEX if form == "index" else TRUTH)
    else:
        assert report("scores.npz", f"two{second}") == report("scores.npz", source)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_small_blocks_give_the_same_file(suffix, monkeypatch):
    """Blocks end within shards and chunks."""
    needs(suffix)
    for number, part in enumerate(np.split(SCORES, [7, 7, 41])):
        np.save(f"part_{number}.npy", part)
    how = ["--chunk-rows", 9] if suffix in (".h5", ".zarr", ".zip", ".parquet", ".arrow", ".feather") else []
    for name, size in (("large", 64 << 20), ("small", 11 * C * 4)):
        monkeypatch.setattr("vltr_eval.formats.writers.BLOCK", size)
        convert("part_*.npy", f"{name}{suffix}", *how)
        shards = read_scores(f"{name}{suffix}").shards  # each batch of an Arrow file is one
        np.testing.assert_array_equal(np.concatenate([np.asarray(shard) for shard in shards]), SCORES)


def test_large_arrays_go_through_a_temporary_file(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(tiles, "IN_MEMORY", 0)
    monkeypatch.setattr(tiles, "_free_memory", lambda: 0)
    np.save("in.npy", SCORES)
    convert("in.npy", "out.pt")
    np.testing.assert_array_equal(torch.load("out.pt")["scores"].numpy(), SCORES)


def test_other_libraries_read_the_files():
    import h5py
    import pyarrow.parquet as pq
    import safetensors.numpy

    np.savez("in.npz", scores=SCORES, ids=IDS, class_names=NAMES)
    convert("in.npz", "out.h5", "--chunk-rows", 7, "--key", "val/preds")
    with h5py.File("out.h5") as file:
        assert (file["val/preds"].chunks, file["val/preds"].compression) == ((7, C), "gzip")
        assert file["val/ids"].asstr()[:].tolist() == IDS.tolist()
    convert("in.npz", "out.parquet")
    assert pq.read_table("out.parquet").column_names == ["id", *NAMES]
    convert("in.npz", "out.safetensors")
    np.testing.assert_array_equal(safetensors.numpy.load_file("out.safetensors")["scores"], SCORES)
    sparse.save_npz("labels.npz", sparse.csr_matrix(TRUTH))
    convert("labels.npz", "out.npz", "--labels")
    np.testing.assert_array_equal(sparse.load_npz("out.npz").toarray(), TRUTH)


def test_zarr_is_read_by_zarr():
    zarr = pytest.importorskip("zarr", minversion="3")
    np.save("in.npy", SCORES)
    convert("in.npy", "out.zarr", "--chunk-rows", 7)
    array = zarr.open("out.zarr", mode="r")["scores"]
    assert (array.chunks, array.metadata.zarr_format) == ((7, C), 3)
    np.testing.assert_array_equal(array[:], SCORES)


# Losses are said


def test_a_narrower_dtype_says_its_effect(capsys):
    np.save("in.npy", SCORES)
    convert("in.npy", "out.npy", "--dtype", "float16", quiet=False)
    small = np.load("out.npy")
    assert small.dtype == np.float16
    difference = np.abs(small.astype(np.float64) - SCORES)
    ties = sum(len(np.unique(column)) for column in SCORES.T) - sum(len(np.unique(column)) for column in small.T)
    said = capsys.readouterr().err
    assert f"float16 changes {np.count_nonzero(difference)} numbers by at most {difference.max():.3g}" in said
    assert f"makes {ties} new tie{'' if ties == 1 else 's'} within classes" in said
    convert("out.npy", "wide.npy", "--dtype", "float64", quiet=False)
    assert "changes" not in capsys.readouterr().err


def test_new_ties_are_those_of_numpy(monkeypatch):
    monkeypatch.setattr("vltr_eval.formats.content._COLUMNS", 8 * N * 2)
    scores = np.random.default_rng(3).integers(0, 300, (N, C)) / 300 + 100
    shards = [scores[:20], scores[20:]]
    effect = narrowed(Content("x", "scores", shards, None, None, None, scores.dtype), np.dtype(np.float16))[1]
    small = scores.astype(np.float16)
    lost = [len(set(a.tolist())) - len(set(b.tolist())) for a, b in zip(scores.T, small.T, strict=True)]
    assert effect.new_ties == sum(lost) > 0
    assert effect.changed == np.count_nonzero(small != scores)


@pytest.mark.parametrize("top", [2**53 + 1, 2**63 - 1, -(2**53) - 1, 2**64 - 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_that_a_float_does_not_hold_are_counted(dtype, top):
    scores = np.array([[top], [top - 1], [5]], np.uint64 if top >= 2**63 else np.int64)
    effect = narrowed(Content("x", "scores", [scores], None, None, None, scores.dtype), np.dtype(dtype))[1]
    rounded = [int(value) for value in scores[:, 0].astype(dtype)]
    gaps = [abs(int(value) - near) for value, near in zip(scores[:, 0], rounded, strict=True)]
    assert effect.changed == sum(gap > 0 for gap in gaps) > 0
    assert effect.largest == max(gaps)
    assert effect.new_ties == 3 - len(set(rounded))


@pytest.mark.parametrize("own", ["b ", "\ta", "a\rb"])
def test_ids_that_text_would_change_are_refused(capsys, own):
    np.savez("in.npz", scores=SCORES[:2], ids=np.array(["a", own]))
    assert main(["convert", "in.npz", "out.csv"]) == 1
    assert f"in.npz: row 1: the id {own!r} would not be read as it is again" in capsys.readouterr().err
    assert not Path("out.csv").exists()


def test_numbers_out_of_range_are_refused(capsys):
    np.save("in.npy", np.array([[1.0, 2.0], [3.0, 1e6]]))
    assert main(["convert", "in.npy", "out.npy", "--dtype", "float16"]) == 1
    assert "in.npy: row 1, class 1: 1000000.0 is beyond the range of float16" in capsys.readouterr().err
    assert not Path("out.npy").exists()


def test_content_that_a_format_cannot_hold_is_said(capsys):
    np.savez("in.npz", scores=SCORES, ids=IDS, class_names=NAMES)
    convert("in.npz", "out.npy", quiet=False)
    said = capsys.readouterr().err
    assert ".npy holds no row ids, so they are left out; rows keep their order" in said
    assert ".npy holds no class names" in said
    assert f"out.npy: {N} x {C} float32" in said
    sparse.save_npz("labels.npz", sparse.csr_matrix(TRUTH))
    convert("labels.npz", "dense.npy", "--labels", quiet=False)
    assert "written as a matrix of uint8" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("dense.npy"), TRUTH)


def test_bfloat16_is_kept_or_widened(capsys):
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(SCORES).bfloat16()
    torch.save(tensor, "in.pt")
    convert("in.pt", "out.safetensors")
    convert("out.safetensors", "out.pt")
    assert torch.equal(torch.load("out.pt")["scores"], tensor)
    convert("in.pt", "out.npy", quiet=False)
    assert ".npy has no bfloat16, so the numbers are written as float32" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load("out.npy"), tensor.float().numpy())


def test_class_names_that_would_be_misread_are_refused(capsys):
    np.savez("in.npz", scores=SCORES, class_names=["cat", "video_id", "a", "b", "c"])
    assert main(["convert", "in.npz", "out.csv"]) == 1
    assert "a column of the class 'video_id' would not be read as a class again" in capsys.readouterr().err
    convert("in.npz", "out.parquet")
    np.testing.assert_array_equal(read_scores("out.parquet").values, SCORES)


# Whole or not at all


def test_a_failed_conversion_leaves_nothing():
    pytest.importorskip("zarr", minversion="3")
    np.save("in.npy", np.ones((3, 2), np.complex64))
    for suffix in WRITERS:
        assert main(["convert", "in.npy", f"out{suffix}"]) == 1
    Path("lists.json").write_text("[[0], [1]]")
    for suffix in (".h5", ".zarr", ".zip", ".npz"):
        assert main(["convert", "lists.json", f"out{suffix}", "--labels"]) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["in.npy", "lists.json"]


def test_an_interrupted_conversion_keeps_the_old_file(monkeypatch):
    np.save("in.npy", SCORES)
    Path("out.h5").write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Content, "blocks", interrupt)
    assert main(["convert", "in.npy", "out.h5"]) == 130
    assert Path("out.h5").read_bytes() == b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["in.npy", "out.h5"]


def test_an_existing_zarr_folder_is_not_replaced(capsys):
    np.save("in.npy", SCORES)
    Path("out.zarr").mkdir()
    assert main(["convert", "in.npy", "out.zarr"]) == 1
    assert "out.zarr: cannot be written (it is there already; remove it first)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["in.npy", "in.npy"], "in.npy is an input and cannot be an output as well"),
        (["in.npy", "out.npy", "--key", "a"], "argument --key: expected an output with named arrays"),
        (["in.npy", "out.csv", "--chunk-rows", "3"], "argument --chunk-rows: expected an output with chunks"),
        (["in.npy", "out.npy", "--labels", "--dtype", "float16"], "argument --dtype: expected scores"),
        (["in.npy", "out.npy", "--num-classes", "3"], "argument --labels: give it as well"),
        (["in.npy", "s3://bucket/out.npy"], "argument OUT: expected a path, got a URL"),
    ],
)
def test_bad_usage_is_refused(arguments, sentence, capsys):
    np.save("in.npy", SCORES)
    with pytest.raises(SystemExit) as caught:
        main(["convert", *arguments])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_an_unknown_suffix_is_refused(capsys):
    np.save("in.npy", SCORES)
    assert main(["convert", "in.npy", "out.xyz"]) == 1
    assert "out.xyz: cannot write a '.xyz' file; expected one of .npy" in capsys.readouterr().err


def test_ids_and_names_of_files_go_along():
    np.save("in.npy", SCORES)
    Path("ids.txt").write_text("\n".join(IDS) + "\n")
    Path("names.json").write_text(json.dumps(NAMES.tolist()))
    convert("in.npy", "out.npz", "--ids", "ids.txt", "--class-names", "names.json")
    found = read_scores("out.npz")
    assert (found.ids.tolist(), found.class_names) == (IDS.tolist(), tuple(NAMES))


def test_dense_rows_are_those_of_scipy():
    matrix = sparse.coo_matrix(TRUTH)
    order = np.random.default_rng(0).permutation(matrix.nnz)
    rows = DenseRows(LabelPairs(N, C, matrix.row[order], matrix.col[order]), C)
    np.testing.assert_array_equal(np.concatenate([rows[:13], rows[13:14], rows[14:]]), TRUTH)


def test_other_commands_do_not_load_the_writers():
    import subprocess

    np.save("in.npy", SCORES)
    np.save("labels.npy", TRUTH)
    code = (
        "import sys; from vltr_eval.program.cli import main; main(['in.npy', 'labels.npy', '--quiet']);"
        "names = ('writers', 'content', 'copies', 'remote', 'tiles', 'hdf5', 'zarr_files', 'containers');"
        "print([n for n in names if 'vltr_eval.formats.' + n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_labels_without_a_class_keep_their_rows():
    np.save("in.npy", np.zeros((4, 3), np.uint8))
    convert("in.npy", "out.h5", "--labels")
    assert read_labels("out.h5").values.shape == (4, 3)
