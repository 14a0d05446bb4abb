"""Training by several processes: the steps of one process with the same batches, and its evaluation."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from ranks import Raised, group_of
from short_runs import assert_same_run, metrics_of, short_fit, short_settings

import vltr_eval
from vltr_train import cli, open_dataset
from vltr_train.data.dataset import TestSplit
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.predict import evaluate_run, score
from vltr_train.runs.run_folder import RunFolder

SIZE = 2


@pytest.fixture(scope="module")
def ranks():
    return group_of(SIZE)


def fit_on(rank, method, data, folder, changes):
    """The weights of a rank at the end, the numbers of its report if it has one, and the rows of its running APs."""
    torch.set_num_threads(1)
    seen, kind = [], find_method(method)
    end = kind.end_epoch

    def end_and_see(self):
        if getattr(self, "_running", None) is not None:
            seen.append([np.array(part) for part in self._running.rows()])
        end(self)
        if seen:
            seen[-1].append(self.rap.numpy().copy())

    kind.end_epoch = end_and_see
    try:
        run = short_fit(method, data, folder, **changes)
    finally:
        kind.end_epoch = end
    weights = {name: value.numpy() for name, value in run.method.state_dict().items()}
    return weights, run.report and run.report.metrics(), seen


def fit_both(ranks, method, tiny, tiny_folder, folder, **changes):
    """A run by all ranks, and one by this process; what the ranks returned."""
    found = ranks.run(fit_on, method, tiny_folder, folder / "ranks", changes)
    return found, short_fit(method, tiny, folder / "alone", **changes)


def test_ranks_take_the_steps_of_one_process(ranks, tiny, tiny_folder, tmp_path):
    """Sums of gradients are rounded in another order, and Adam makes steps of whatever is left of tiny ones."""
    (first, second), alone = fit_both(ranks, "bce", tiny, tiny_folder, tmp_path, dropout=0.0, batch_size=62)
    one, many = metrics_of(tmp_path / "alone"), metrics_of(tmp_path / "ranks")
    assert [line["loss"] for line in many] == pytest.approx([line["loss"] for line in one], rel=1e-5)
    assert [line["mAP"] for line in many] == pytest.approx([line["mAP"] for line in one], abs=1e-3)
    assert [(line["epoch"], line["stage"], line["lr"]) for line in many] == [(e, "train", 0.01) for e in range(3)]
    for name, value in alone.method.state_dict().items():
        np.testing.assert_allclose(first[0][name], value.numpy(), atol=2e-4)
        np.testing.assert_array_equal(first[0][name], second[0][name])
    preds = [np.load(tmp_path / kind / "preds.npy") for kind in ("alone", "ranks")]
    np.testing.assert_allclose(*preds, atol=2e-3)
    assert first[1]["mAP"] == pytest.approx(alone.report.metrics()["mAP"], abs=1e-3)
    assert second[1] is None
    np.testing.assert_array_equal(*(np.load(tmp_path / kind / "labels.npy") for kind in ("alone", "ranks")))


@pytest.mark.parametrize("aggregator", ["nonlinear", "netvlad"])
def test_evaluation_of_ranks_is_that_of_one_process(ranks, tiny, tiny_folder, tmp_path, aggregator):
    """Also where batch statistics are each rank's own: what is judged is what is saved."""
    (first, second) = ranks.run(fit_on, "bce", tiny_folder, tmp_path / "run", {"aggregator": aggregator, "epochs": 2})
    assert same_weights(first[0], second[0])
    best = RunFolder.open(tmp_path / "run").load_checkpoint("best")
    judged = evaluate_run(tmp_path / "run", tiny, split="validate", sap=None, device="cpu").metrics()
    line = metrics_of(tmp_path / "run")[best["epoch"]]
    for name in ("mAP", "mAP_tail", "Acc@1"):
        assert line[name] == pytest.approx(judged[name], abs=1e-9)
    preds, labels = (np.load(tmp_path / "run" / f"{name}.npy") for name in ("preds", "labels"))
    conventions = {"train_counts": tiny.train_counts, "bounds": tiny.bounds}
    assert first[1] == vltr_eval.evaluate(preds, labels, sap=15, topk=[1, 5], **conventions).metrics()
    again = evaluate_run(tmp_path / "run", tiny, device="cpu").metrics()
    assert first[1]["mAP"] == pytest.approx(again["mAP"], abs=1e-9)


def same_weights(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_framestack_mixes_by_the_rap_of_all_ranks(ranks, tiny, tiny_folder, tmp_path):
    first, second = ranks.run(fit_on, "framestack", tiny_folder, tmp_path / "run", {})
    assert same_weights(first[0], second[0])
    assert first[0]["rap"].any()
    assert len(first[2]) == len(second[2]) == 3
    for (scores, labels, rap), (scores2, labels2, rap2) in zip(first[2], second[2], strict=True):
        assert abs(len(scores) - len(scores2)) <= 12  # a row a step
        joined = np.concatenate([scores, scores2]), np.concatenate([labels, labels2])
        expected = vltr_eval.average_precision(*joined, absent="zero")
        np.testing.assert_array_equal(rap, rap2)
        np.testing.assert_allclose(rap, expected, rtol=1e-6)
        np.testing.assert_array_equal(joined[1].sum(0), tiny.train_counts)  # each video once
    losses = [line["loss"] for line in metrics_of(tmp_path / "run")]
    assert losses[-1] < losses[0]


def rap_by_rows(rank, scores, labels, bounds):
    """The rAP that a rank of FrameStack computes from its share of the rows."""
    kind = find_method("framestack")
    own = slice(bounds[rank], bounds[rank + 1])
    method = kind(
        kind.Config(rap_scores="probabilities"), Task(scores.shape[1], 4, np.full(scores.shape[1], 9), (5, 2))
    )
    method.begin_epoch(1, len(scores))
    method._running.update(torch.from_numpy(scores[own]), torch.from_numpy(labels[own]))
    method.end_epoch()
    return method.rap.numpy()


def test_equal_probabilities_rank_by_rank_and_row(ranks):
    """As the published code ranks the rows of the first rank and then those of the second."""
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (60, 6)).astype(np.float32) / 4
    scores[:, 1] = rng.permutation(60)  # a class without ties, and one without positives
    labels = (rng.random((60, 6)) < 0.3).astype(np.float32)
    labels[:, 2] = 0
    expected = []
    for column, flags in zip(scores.T, labels.T, strict=True):
        ranked = flags[np.argsort(-column, kind="stable")]
        precision = np.cumsum(ranked) / np.arange(1, 61)
        expected.append((precision * ranked).sum() / max(ranked.sum(), 1))
    first, second = ranks.run(rap_by_rows, scores, labels, [0, 23, 60])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    thresholds = vltr_eval.average_precision(scores, labels, absent="zero")
    assert abs(first - thresholds).max() > 0.01


def test_crt_freezes_and_begins_anew_alike_on_all_ranks(ranks, tiny_folder, tmp_path):
    first, second = ranks.run(fit_on, "crt", tiny_folder, tmp_path / "run", {})
    assert same_weights(first[0], second[0])
    assert [line["stage"] for line in metrics_of(tmp_path / "run")] == ["train"] * 3 + ["classifier"] * 2


def test_ranks_find_the_same_head_classes(ranks, tiny_folder, tmp_path):
    """A stage ends on all ranks together, in which each has judged a part of the videos."""
    first, second = ranks.run(fit_on, "ava_two_stage", tiny_folder, tmp_path / "run", {"epochs": 1})
    assert same_weights(first[0], second[0])
    assert first[0]["by_criterion"]
    assert 0 < first[0]["head"].sum() < len(first[0]["head"])


@pytest.mark.parametrize(
    ("method", "changes", "stops"),
    [
        ("framestack", {"epochs": 3}, [2]),
        ("move", {"clusters": 4}, [1]),
        ("meid", {"expert2_epochs": 2}, [2, 3]),  # between its stages, and in the second
        ("medc", {}, [1]),  # three streams
        ("ava_two_stage", {"judge_epochs": 1, "epochs": 1, "classifier_epochs": 2}, [1, 2, 3]),
    ],
)
def test_ranks_agree_and_resume_to_the_bit(ranks, tiny_folder, tmp_path, method, changes, stops):
    """stops: how many epochs were done where both ranks stopped."""
    changes = {"epochs": 2, "eval_every": 2} | changes
    first, second = ranks.run(fit_on, method, tiny_folder, tmp_path / "whole", changes)
    assert same_weights(first[0], second[0])
    for stop in stops:
        folder = tmp_path / f"stopped-{stop}"
        ranks.run(fit_and_stop, method, tiny_folder, folder, changes, stop)
        resumed = ranks.run(fit_on, method, tiny_folder, folder, changes | {"resume": True})
        assert all(same_weights(first[0], weights) for weights, _, _ in resumed)
        assert_same_run(tmp_path / "whole", folder)
        assert first[1] == RunFolder.open(folder).load_report().metrics()


def fit_and_stop(rank, method, data, folder, changes, stop):
    """Both ranks stop at the start of an epoch, before which so many were done."""
    kind, begun = find_method(method), []
    begin = kind.begin_epoch

    def begin_or_stop(self, epoch, num_rows):
        if len(begun) == stop:
            raise KeyboardInterrupt
        begun.append(epoch)
        begin(self, epoch, num_rows)

    kind.begin_epoch = begin_or_stop
    try:
        fit_on(rank, method, data, folder, changes)
    except KeyboardInterrupt:
        return
    finally:
        kind.begin_epoch = begin
    raise AssertionError("it was not stopped")


def score_few(rank, data, folder):
    """The mAP of two test videos, of which each rank predicts one, and of one, which the last rank predicts."""
    torch.set_num_threads(1)
    dataset = open_dataset(data)
    kind = find_method("bce")
    torch.manual_seed(0)
    task = Task(dataset.num_classes, dataset.dim, dataset.train_counts, dataset.bounds)
    method = kind(kind.Config(test_frames=12), task)
    found = []
    for number in (2, 1):
        rows = np.arange(number)
        few = TestSplit(dataset.test.labels.select(rows), dataset.test.videos[rows], dataset.frames)
        found.append(score(method, few, dataset).metrics())
    return found


def test_a_rank_may_have_no_rows_to_predict(ranks, tiny_folder, tmp_path):
    one, other = ranks.run(score_few, tiny_folder, tmp_path)
    np.testing.assert_equal(one, other)
    np.testing.assert_equal(one, score_few(0, tiny_folder, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected a folder without a run"),
        ({"lr": -1.0}, "lr: expected a positive number"),
        ({"batch_size": 3, "overwrite": True}, "batch_size: expected at least 4 rows for 2 ranks, got 3 of 717 rows"),
    ],
)
def test_what_one_rank_refuses_ends_all(ranks, tiny_folder, tmp_path, changes, message):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    outcomes = ranks.outcomes(fit_on, "bce", tiny_folder, folder, changes)
    assert all(isinstance(outcome, Raised) for outcome in outcomes)
    assert all(message in outcome.message for outcome in outcomes)


def sweep_on(rank, data, folder):
    """Return the output of the program on both streams."""
    torch.set_num_threads(1)
    words = [f"{key}={value}" for key, value in short_settings("bce", epochs=1).items() if key != "seed"]
    command = ["sweep", "bce", "focal", "--data", str(data), "--runs", str(folder), "--device", "cpu", "--seeds", "1"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert cli.main([*command, *words]) == 0
    return out.getvalue(), err.getvalue()


def test_a_sweep_is_shared_and_told_once(ranks, tiny_folder, tmp_path):
    (first, said), other = ranks.run(sweep_on, tiny_folder, tmp_path)
    assert [line.split()[:2] for line in first.splitlines()[1:3]] == [["bce", "1"], ["focal", "1"]]
    assert [line.split()[0] for line in said.splitlines() if " ..." not in line] == [
        "stages:",
        "lr_steps:",
        "epoch",
    ] * 2
    assert said.count(" ...\n") == 2
    assert other == ("", "")
    assert ranks.run(sweep_on, tiny_folder, tmp_path) == [(first, ""), ("", "")]


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)]
    return subprocess.run(
        [*command, "-m", "vltr_train", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_the_program_under_torchrun(tiny, tiny_folder, tmp_path):
    settings = short_settings("bce", dropout=0.0)
    words = [f"{key}={value}" for key, value in settings.items()]
    folder = tmp_path / "ranks"
    done = torchrun("fit", "bce", "--data", tiny_folder, "--out", folder, "--device", "cpu", *words)
    assert done.returncode == 0, done.stderr
    alone = short_fit("bce", tiny, tmp_path / "alone", dropout=0.0)
    losses = [[line["loss"] for line in metrics_of(path)] for path in (folder, alone.folder.path)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert done.stdout == str(RunFolder.open(folder).load_report())
    assert [line.split(":")[0] for line in done.stderr.splitlines() if line.startswith("epoch")] == [
        f"epoch {number} (train)" for number in range(3)
    ]
    assert Path(folder, "preds.npy").exists()


KILL_ONE = """
import os, signal, sys
from vltr_eval._base.ranks import end_launched
from vltr_train import cli
from vltr_train.methods import find_method
kind, steps = find_method("bce"), []
forward = kind.forward
def die(self, *batches):
    steps.append(1)
    if os.environ["RANK"] == "1" and len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return forward(self, *batches)
kind.forward = die
end_launched(cli.main(sys.argv[1:], launched=True))
"""


def test_a_rank_killed_in_a_step_is_one_sentence(tiny_folder, tmp_path):
    """And the run goes on when all ranks are started again."""
    words = [f"{key}={value}" for key, value in short_settings("bce").items()]
    command = ["fit", "bce", "--data", tiny_folder, "--out", tmp_path / "run", "--device", "cpu", "--quiet", *words]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", KILL_ONE, *map(str, command)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    errors = [rank.communicate(timeout=100)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, -signal.SIGKILL]
    sentence = next(line for line in errors[0].splitlines() if line.startswith("vltr-train: error: "))
    assert sentence.startswith("vltr-train: error: a rank went away in a training step (")
    assert sentence.endswith("); start all ranks again with resume=True (--resume)")


def fit_auto(rank, data, folder):
    """A run that each rank starts or resumes, whichever comes first."""
    torch.set_num_threads(1)
    time.sleep(0.5 * rank)  # the other rank could have made the folder by now
    run = short_fit("bce", data, folder, epochs=1, resume="auto")
    return run.report is None


def test_ranks_agree_whether_to_resume(ranks, tiny_folder, tmp_path):
    for _ in range(2):
        assert ranks.run(fit_auto, tiny_folder, tmp_path / "run") == [False, True]
    assert len(metrics_of(tmp_path / "run")) == 1
