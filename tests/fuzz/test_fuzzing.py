"""Tests that the fuzz harness finds planted faults: exceptions, wrong numbers, bad messages, memory, hangs, deaths."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import scipy.sparse
import torch

import vltr_eval
from vltr_eval.formats import InputError, Scores, read_scores

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode adds nothing

import fuzz_reading
import mutations
import planted
import readings
from seeds import Seed, make_seeds

ARRAY = np.array([[0.5, 0.25], [1.0, 2.0]])


@pytest.fixture
def seed(tmp_path) -> Seed:
    np.save(tmp_path / "seed.npy", ARRAY)
    return Seed("npy", ".npy", "scores", (tmp_path / "seed.npy").read_bytes(), ARRAY)


def judge(seed: Seed, folder: Path, is_mutated: bool = True) -> str:
    return fuzz_reading.judge(seed, folder / "file.npy", seed.data, Random(0), is_mutated)


def plant(monkeypatch, reader) -> None:
    monkeypatch.setitem(readings.TARGETS, "scores", reader)


def test_right_reading_passes(seed, tmp_path):
    assert judge(seed, tmp_path, is_mutated=False) == "read"


def test_wrong_number_is_found(seed, tmp_path, monkeypatch):
    plant(monkeypatch, lambda path: Scores(np.add(read_scores(path).values, [[0, 0], [0, 1]])))
    for is_mutated in (False, True):
        with pytest.raises(readings.Fault, match="other value"):
            judge(seed, tmp_path, is_mutated)


def test_refused_valid_file_is_found(seed, tmp_path, monkeypatch):
    def refuse(path):
        raise InputError(f"{path}: no")

    plant(monkeypatch, refuse)
    assert judge(seed, tmp_path) == "refused"
    with pytest.raises(readings.Fault, match="valid file is refused"):
        judge(seed, tmp_path, is_mutated=False)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("no file name", "does not begin with the file's name"),
        ("{path}: two\nlines", "not one printable line"),
        ("{path}: a \x00 in it", "not one printable line"),
        ("{path}: " + "long " * 1000, "not one printable line"),
    ],
)
def test_bad_message_is_found(message, complaint, seed, tmp_path, monkeypatch):
    def refuse(path):
        raise ValueError(message.format(path=path))

    plant(monkeypatch, refuse)
    with pytest.raises(readings.Fault, match=complaint):
        judge(seed, tmp_path)


@pytest.mark.parametrize("error", [KeyError, OverflowError, MemoryError, RecursionError])
def test_other_exception_is_found(error, seed, tmp_path, monkeypatch):
    def fail(path):
        raise error("x")

    plant(monkeypatch, fail)
    with pytest.raises(error):
        judge(seed, tmp_path)


def test_warning_about_numbers_is_found(seed, tmp_path, monkeypatch):
    plant(monkeypatch, lambda path: Scores(np.array([np.nan]).astype(np.int64)))
    with pytest.raises(RuntimeWarning):
        judge(seed, tmp_path)


def test_two_readings_that_differ_are_found():
    one, other = (Scores(ARRAY), None), (Scores(ARRAY + 1), None)
    readings.check_same(one, one)
    for left, right in ((one, other), (one, (None, "file: refused")), ((None, "file: a"), (None, "file: b"))):
        with pytest.raises(readings.Fault):
            readings.check_same(left, right)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
def test_growth_is_that_of_the_case():
    memory = fuzz_reading.Memory()
    memory.reset()
    np.ones(100 << 17)  # 100 MiB
    assert memory.growth() > 90 << 20
    memory.reset()
    np.ones(1000)
    assert memory.growth() < 10 << 20


def test_cases_repeat_by_their_number():
    seeds = [fuzz_reading.seeds_of_round(3, 0, None) for _ in range(2)]
    for case in range(200):
        one, other = (fuzz_reading.make_case(3, case, known) for known in seeds)
        if one[0].format not in ("legacy_pt", "pickle"):  # these files contain memory addresses
            assert one[1] == other[1]


def test_seeds_have_every_format():
    seeds = make_seeds(Random(0))
    assert {seed.target for seed in seeds} == set(readings.TARGETS)
    suffixes = {seed.suffix for seed in seeds}
    assert suffixes >= {".npy", ".npz", ".safetensors", ".pt", ".parquet", ".csv", ".txt", ".json", ".jsonl", ".lst"}


@pytest.mark.parametrize("seed", make_seeds(Random(1)), ids=lambda seed: seed.target + seed.suffix)
def test_mutations_change_files(seed):
    changed = [mutations.mutate(Random(number), seed.format, seed.data) for number in range(30)]
    assert sum(data != seed.data for data in changed) > 20


def _options(tmp_path: Path, **given) -> argparse.Namespace:
    usual = {"seconds": 30, "count": 20, "first": 0, "seed": 0, "only": "npy", "limit": 1, "finds": tmp_path / "finds"}
    return argparse.Namespace(**usual | given)


@pytest.mark.parametrize(("work", "reason"), [(planted.hang, "hang"), (planted.die, "death by signal 9")])
def test_end_of_worker_is_found(work, reason, tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_reading, "work", work)
    total, _ = fuzz_reading.run(_options(tmp_path, count=1))
    assert fuzz_reading.num_found(total) == 1
    assert any(name.startswith(f"FOUND {reason}") for name in total)
    assert [path.name.startswith(reason.split()[0]) for path in (tmp_path / "finds").iterdir()] == [True]


def test_short_run_reads_and_refuses(tmp_path):
    total, largest = fuzz_reading.run(_options(tmp_path, count=60, limit=20))
    assert fuzz_reading.num_found(total) == 0
    assert 0 < largest < fuzz_reading.MAX_GROWTH
    assert sum(number for name, number in total.items() if name.startswith("npy ")) == 60
    assert "60 mutated files" in fuzz_reading.summary(total, largest, 1.0)


# Two formats of one table


def _save_everywhere(folder: Path, scores: np.ndarray, labels: np.ndarray) -> dict[str, tuple[list[Path], list[Path]]]:
    """Save one table in every format, with and without class names."""
    names = [f"c_{k}" for k in range(scores.shape[1])]
    frame, dense = pd.DataFrame(scores, columns=names), pd.DataFrame(labels, columns=names)
    lists = [np.flatnonzero(row).tolist() for row in labels]
    np.save(folder / "s.npy", scores)
    np.savez(folder / "s.npz", preds=np.asfortranarray(scores))
    torch.save(torch.from_numpy(scores), folder / "s.pt")
    safetensors.numpy.save_file({"preds": scores}, folder / "s.safetensors")
    np.savetxt(folder / "s.txt", scores, fmt="%.17g")
    (folder / "s.json").write_text(json.dumps(scores.tolist()))
    (folder / "s.jsonl").write_text("\n".join(map(json.dumps, scores.tolist())))
    frame.to_csv(folder / "n.csv", index=False)
    frame.to_csv(folder / "n.tsv", index=False, sep="\t")
    frame.to_parquet(folder / "n.parquet")
    frame.to_json(folder / "n.json", orient="records", double_precision=15)
    np.save(folder / "l.npy", labels)
    scipy.sparse.save_npz(folder / "l.npz", scipy.sparse.csr_matrix(labels))
    torch.save(torch.from_numpy(labels).to_sparse(), folder / "l.pt")
    (folder / "l.json").write_text(json.dumps(lists))
    (folder / "l.jsonl").write_text("\n".join(map(json.dumps, lists)))
    dense.to_csv(folder / "m.csv", index=False)
    dense.to_parquet(folder / "m.parquet")
    return {
        "without names": (sorted(folder.glob("s.*")), sorted(folder.glob("l.*"))),
        "with names": (sorted(folder.glob("n.*")), [*sorted(folder.glob("l.*")), *sorted(folder.glob("m.*"))]),
    }


@pytest.mark.parametrize("number", range(3))
def test_all_formats_give_the_same_report(number, tmp_path):
    rng = np.random.default_rng(number)
    scores = np.round(rng.normal(size=(40, 5)), 3)  # ties, and few enough digits for every writer
    labels = (rng.random((40, 5)) < 0.3).astype(np.uint8)
    labels[0] = 1
    for score_files, label_files in _save_everywhere(tmp_path, scores, labels).values():
        reports = {
            (score_file.name, label_file.name): vltr_eval.evaluate(score_file, label_file, sap=3).to_json()
            for score_file in score_files
            for label_file in label_files
        }
        assert len(reports) > 10
        assert len(set(reports.values())) == 1, reports
