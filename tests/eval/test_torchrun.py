"""The program under torchrun: several processes share the rows; the output is byte for byte that of one process.

Most tests run it in the kept ranks of ranks.py with the environment of torchrun; a few run torchrun itself.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("torch")

import torch.distributed as dist
from ranks import Ranks

import vltr_eval
from vltr_eval._base.arrays import num_threads
from vltr_eval._engine.rank_table import RankTable
from vltr_eval.program.cli import main

OK, BAD_DATA, BAD_USAGE, LIMIT_NOT_MET = 0, 1, 2, 3

NUM_ROWS, NUM_CLASSES = 61, 6


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working folder with the same predictions and labels in several forms."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = rng.random((NUM_ROWS, NUM_CLASSES)) < [0.5, 0.4, 0.3, 0.2, 0.1, 0]
    labels[0, :5], labels[1] = True, False
    scores = (rng.normal(size=labels.shape) + labels).round(1).astype(np.float32)
    np.save("preds.npy", scores)
    for number, shard in enumerate(np.split(scores, [1, 40, 50])):
        np.save(f"shard_{number + 8}.npy", shard)
    np.save("labels.npy", labels)
    scipy.sparse.save_npz("labels.npz", scipy.sparse.csr_matrix(labels))
    lists = [np.flatnonzero(row).tolist() for row in labels]
    Path("labels.json").write_text(str(lists))
    np.save("counts.npy", [900, 600, 300, 200, 90, 8])
    kept = labels.any(axis=1)
    np.save("labelled.npy", scores[kept])
    Path("labels.lst").write_text(
        "".join(f"video{n} {','.join(map(str, row))}\n" for n, row in enumerate(filter(None, lists)))
    )
    np.save("indices.npy", np.argmax(labels[kept], axis=1))
    return tmp_path


# ---------------------------------------------------------------------------------------------------------------------
# In kept ranks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def launched():
    """Return processes with the environment of torchrun. Their shares of the rows differ."""
    ranks = Ranks(3, grouped=False)
    yield ranks
    ranks.stop()


def run_program(rank, size, port, folder, arguments):
    """Run the program; return the exit code, stdout and stderr."""
    os.chdir(folder)
    place = {
        "RANK": rank,
        "WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,
    }
    os.environ.update({name: str(value) for name, value in place.items()})
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main([str(argument) for argument in arguments], launched=True)
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def run(launched, folder):
    """Run the program on all ranks; return the exit codes, the stdout of rank 0, and every stderr."""

    def run_on_all(*arguments):
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        outcomes = launched.run(run_program, launched.size, store.port, str(folder), arguments)
        codes, outs, errs = zip(*outcomes, strict=True)
        assert not any(outs[1:])
        assert "Traceback" not in "".join(errs)
        assert {path.name for path in folder.iterdir() if path.name.endswith("unfinished")} == set()
        return codes, outs[0], errs

    return run_on_all


def alone(*arguments):
    """Return the output of one process."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*map(str, arguments), "--quiet"]) == OK
    return out.getvalue()


def test_program_called_by_a_rank_works_alone(folder, monkeypatch):
    """The program inherits the rank's environment; without a check it would wait for ever."""
    monkeypatch.chdir(folder)
    expected = alone("preds.npy", "labels.npy", "--json", "-")
    for name, value in {"RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert alone("preds.npy", "labels.npy", "--json", "-") == expected


@pytest.mark.parametrize("preds", ["preds.npy", "shard_*.npy", "shard_8.npy shard_9.npy shard_10.npy shard_11.npy"])
@pytest.mark.parametrize("labels", ["labels.npy", "labels.npz", "labels.json"])
def test_json_is_that_of_one_process(run, preds, labels):
    arguments = *preds.split(), labels, "--sap", 4, "--seed", 9, "--counts", "counts.npy", "--json", "-"
    codes, out, errs = run(*arguments)
    assert set(codes) == {OK}
    assert out == alone(*arguments)
    assert re.fullmatch(rf"{NUM_ROWS} x {NUM_CLASSES} float32 in .* GB/s\n", errs[0])
    assert not any(errs[1:])


@pytest.mark.parametrize("labels", ["labels.lst", "indices.npy"])
def test_labels_of_labelled_rows_may_be_lists_or_indices(run, labels):
    codes, out, _ = run("labelled.npy", labels, "--json", "-")
    assert (set(codes), out) == ({OK}, alone("labelled.npy", labels, "--json", "-"))


@pytest.mark.parametrize(
    "options", ["", "--sap exact --per-class", "--sap none --topk none", "--absent zero", "--csv -"]
)
def test_every_output_is_that_of_one_process(run, options):
    codes, out, _ = run("preds.npy", "labels.npy", "--quiet", *options.split())
    assert (set(codes), out) == ({OK}, alone("preds.npy", "labels.npy", *options.split()))


def test_files_are_those_of_one_process(run, folder):
    run("preds.npy", "labels.npy", "--json", "many.json", "--csv", "many.csv", "--save-table", "many.npz")
    alone("preds.npy", "labels.npy", "--json", "one.json", "--csv", "one.csv", "--save-table", "one.npz")
    for kind in ("json", "csv"):
        assert (folder / f"many.{kind}").read_bytes() == (folder / f"one.{kind}").read_bytes()
    many, one = RankTable.load("many.npz"), RankTable.load("one.npz")
    assert all(np.array_equal(getattr(many, name), getattr(one, name)) for name in ("thresholds", "tp", "fp", "tied"))


def test_the_page_of_several_processes_has_curves_and_says_what_it_lacks(run, folder):
    codes, _, errs = run("preds.npy", "labels.npy", "--html", "many.html")
    alone("preds.npy", "labels.npy", "--save-table", "one.npz")
    assert set(codes) == {OK}
    assert errs[0].endswith("page: many.html\n")
    scores, labels = np.load("preds.npy"), np.load("labels.npy")
    report = vltr_eval.evaluate(scores, labels)
    assert (folder / "many.html").read_text() == report.to_html(details=RankTable.load("one.npz"))
    assert "no histograms and mistakes" in (folder / "many.html").read_text()
    np.save("few.npy", scores[:2])
    np.save("few_labels.npy", labels[:2])
    codes, _, _ = run("few.npy", "few_labels.npy", "--html", "few.html")
    assert set(codes) == {OK}


def test_there_may_be_more_processes_than_rows(run):
    np.save("few.npy", np.load("preds.npy")[:2])
    np.save("few_labels.npy", np.load("labels.npy")[:2])
    codes, out, _ = run("few.npy", "few_labels.npy", "--json", "-")
    assert (set(codes), out) == ({OK}, alone("few.npy", "few_labels.npy", "--json", "-"))


def test_a_limit_that_fails_is_reported_once(run):
    codes, out, errs = run("preds.npy", "labels.npy", "--fail-under", "mAP=0.99", "--fail-under", "Acc@5=0", "--quiet")
    assert codes == (LIMIT_NOT_MET, *[OK] * (len(codes) - 1))
    assert out == alone("preds.npy", "labels.npy")
    assert errs[0].startswith("vltr-eval: mAP is ")
    assert not any(errs[1:])


BAD = {
    "NaN": "scores: expected numbers, got NaN at row 60, class 3",
    "label": "labels: expected 0 or 1, got 7 at row 60, class 3",
    "index": "labels: expected class indices from 0 to 5, got 6 at row 60",
}


def spoil(kind):
    """Put bad data in the last row, which the last rank reads; return the labels' file."""
    if kind == "NaN":
        scores = np.load("preds.npy")
        scores[60, 3] = np.nan
        np.save("preds.npy", scores)
        return "labels.npy"
    labels = np.load("labels.npy").astype(np.uint8)
    if kind == "label":
        labels[60, 3] = 7
    else:
        labels = np.argmax(labels, axis=1)
        labels[60] = 6
    np.save("bad.npy", labels)
    return "bad.npy"


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_of_one_rank_end_all(run, launched, folder, kind):
    codes, out, errs = run("preds.npy", spoil(kind), "--json", "out.json", "--quiet")
    assert set(codes) == {BAD_DATA}
    assert out == ""
    last = launched.size - 1
    for rank, err in enumerate(errs):
        by = "" if rank == last else rf"rank {last}: \w+: "
        assert re.fullmatch(rf"vltr-eval: error: {by}{re.escape(BAD[kind])}\n", err)
    assert not (folder / "out.json").exists()


def test_a_write_error_of_the_first_rank_ends_all(run):
    codes, out, errs = run("preds.npy", "labels.npy", "--json", "no_such_folder/out.json", "--quiet")
    assert set(codes) == {BAD_DATA}
    assert out == ""
    for err in errs:
        assert re.fullmatch(r"vltr-eval: error: (rank 0: OutputError: )?no_such_folder/out.json: cannot be .*\n", err)


def test_an_unreadable_file_ends_all_ranks(run):
    for arguments in (("no_such_file.npy", "labels.npy"), ("preds.npy", "labelled.npy")):
        codes, _, errs = run(*arguments, "--quiet")
        assert set(codes) == {BAD_DATA}
        assert all(re.fullmatch(r"vltr-eval: error: .*\n", err) for err in errs)
        assert len(set(errs)) == 1


def test_labels_without_positives_end_all(run):
    np.save("none.npy", np.zeros((NUM_ROWS, NUM_CLASSES), bool))
    codes, _, errs = run("preds.npy", "none.npy", "--quiet")
    assert set(codes) == {BAD_DATA}
    assert set(errs) == {"vltr-eval: error: labels: no positives in any class, so no metric is defined\n"}


def test_intervals_of_several_processes_are_those_of_one(run):
    arguments = ["preds.npy", "labels.npy", "--counts", "counts.npy", "--ci", "0.9", "--json", "-", "--quiet"]
    codes, out, errs = run(*arguments)
    assert codes == (OK, OK, OK)
    assert not any(errs)
    assert out == alone(*arguments)
    assert '"mAP_tail_se"' in out


def test_clusters_are_for_one_process(run):
    Path("videos.txt").write_text("".join(f"v{n // 3}\n" for n in range(NUM_ROWS)))
    codes, out, errs = run("preds.npy", "labels.npy", "--ci", "--clusters", "videos.txt", "--quiet")
    assert (set(codes), out) == ({BAD_DATA}, "")
    expected = "vltr-eval: error: --clusters: expected one process, which has all rows of a cluster, got 3\n"
    assert set(errs) == {expected}


def test_priors_are_for_one_process(run):
    codes, out, errs = run("preds.npy", "labels.npy", "--prior", "uniform", "--quiet")
    assert set(codes) == {BAD_DATA}
    assert out == ""
    assert set(errs) == {"vltr-eval: error: --prior: expected one process, which has all rows to weight, got 3\n"}


def test_bad_usage_exits_without_waiting(run):
    codes, _, _ = run("preds.npy", "labels.npy", "--fail-under", "nonsense=1")
    assert set(codes) == {BAD_USAGE}


@pytest.mark.parametrize(("processes", "shares"), [("1", False), ("10000", True), ("", False), ("0", False)])
def test_processes_of_one_machine_share_its_cores(monkeypatch, processes, shares):
    monkeypatch.delenv("VLTR_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cores = num_threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert num_threads() == (1 if shares else cores)
    assert num_threads(3) == 3


# ---------------------------------------------------------------------------------------------------------------------
# Under torchrun itself
# ---------------------------------------------------------------------------------------------------------------------


def torchrun(folder, *arguments):
    options = ["--standalone", "--nproc-per-node", "2", "-m", "vltr_eval"]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_torchrun_gives_the_result_of_one_process(folder):
    arguments = "shard_*.npy", "labels.json", "--counts", "counts.npy", "--sap", 3, "--json", "-"
    done = torchrun(folder, *arguments, "--save-table", "table.npz")
    assert done.returncode == OK, done.stderr
    assert done.stdout == alone(*arguments)
    expected = vltr_eval.rank_table(np.load("preds.npy"), np.load("labels.npy"))
    assert np.array_equal(RankTable.load("table.npz").fp, expected.fp)


def test_torchrun_fails_when_one_rank_does(folder):
    done = torchrun(folder, "preds.npy", spoil("NaN"), "--json", "out.json")
    assert done.returncode != OK
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("vltr-eval: ")]
    # Both ranks print the error, unless torchrun ends the second one first.
    assert f"vltr-eval: error: {BAD['NaN']}" in said or f"vltr-eval: error: rank 1: NaNScore: {BAD['NaN']}" in said
    assert len(said) == len(set(said)) <= 2
    assert not list(folder.glob("*out.json*"))


@pytest.mark.parametrize(("world_size", "torn_down"), [("1", ["torn down"]), ("2", [])])
def test_a_launched_program_ends_without_teardown(world_size, torn_down):
    """Gloo's threads can outlive a DistributedDataParallel model; one that needs Python then aborts the process."""
    program = """
import atexit
from vltr_eval._base.ranks import end_launched
class Kept:
    def __del__(self, write=__import__("os").write):
        write(1, b"torn down\\n")
kept = Kept()
atexit.register(print, "at exit")
print("result")
end_launched(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "WORLD_SIZE": world_size},
    )
    assert (done.returncode, done.stdout.splitlines()) == (LIMIT_NOT_MET, ["result", "at exit", *torn_down]), (
        done.stderr
    )
