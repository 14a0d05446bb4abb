"""The training loop: what a step does, which checkpoint is selected, what a run leaves, and how it is resumed."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from short_runs import SETTINGS, Stopped, assert_same_run, fit_with_stops, same, short_fit, short_settings
from torch.utils._python_dispatch import TorchDispatchMode

import vltr_eval
import vltr_eval.program.cli
from vltr_eval._base import terminal
from vltr_train import cli, engine, open_dataset
from vltr_train.context import RunContext, choose_device
from vltr_train.data.dataset import TestSplit, TrainSplit, ValSplit
from vltr_train.data.loader import Loader, derived_seed
from vltr_train.method import Task
from vltr_train.methods import all_methods, find_method
from vltr_train.predict import evaluate_run, predict
from vltr_train.runs.run_folder import RunFolder
from vltr_train.samplers import InstanceSampler
from vltr_train.schedule import describe_schedule
from vltr_train.settings import build_config


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """A short run of FrameStack."""
    return short_fit("framestack", tiny, tmp_path_factory.mktemp("run") / "framestack")


# ---------------------------------------------------------------------------------------------------------------------
# Steps
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clip_norm", "clip_scope"), [(None, "all"), (0.05, "all"), (0.05, "classifier")])
def test_weights_are_those_of_a_loop_by_hand(tiny, tmp_path, clip_norm, clip_scope):
    settings = {"lr_steps": (1, 2), "lr_decay": 0.5, "clip_norm": clip_norm, "clip_scope": clip_scope}
    done = short_fit("bce", tiny, tmp_path / "run", **settings)
    config = done.method.config
    torch.manual_seed(derived_seed(config.seed))
    method = find_method("bce")(config, Task(tiny.num_classes, tiny.dim, tiny.train_counts, tiny.bounds))
    seed = derived_seed(config.seed, 0)
    loader = Loader(tiny.train, sampler=InstanceSampler(), batch_size=64, num_frames=8, seed=seed)
    optimizer = torch.optim.Adam(method.parameters())
    for epoch, rate in enumerate((0.01, 0.005, 0.0025)):
        torch.manual_seed(derived_seed(seed, epoch, 0))
        method.train()
        optimizer.param_groups[0]["lr"] = rate
        losses, rows = 0.0, 0
        for batch in loader.epoch(epoch):
            optimizer.zero_grad()
            logits = method.model(batch.features)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.targets)
            loss.backward()
            if clip_norm is not None:
                clipped = method if clip_scope == "all" else method.model.classifier
                torch.nn.utils.clip_grad_norm_(clipped.parameters(), clip_norm)
            optimizer.step()
            losses += loss.item() * len(batch.rows)
            rows += len(batch.rows)
        line = done.folder.epochs[epoch]
        assert (line["epoch"], line["stage"], line["lr"]) == (epoch, "train", rate)
        assert line["loss"] == pytest.approx(losses / rows, rel=1e-5)  # summed in float32 there
    for name, value in method.state_dict().items():
        torch.testing.assert_close(done.folder.load_checkpoint("checkpoint")["method"][name], value)


class Waits(TorchDispatchMode):
    """Counts the operations for which the host would wait for a device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal", "masked_select")
        return function(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device(tiny, tmp_path, monkeypatch):
    """An epoch of four times the steps waits no more often. SGD, as Adam counts its steps in the host's memory."""
    kind = find_method("bce")
    monkeypatch.setattr(kind, "stages", lambda self: (self.stage(optimizer=torch.optim.SGD),))
    monkeypatch.setattr(engine._Training, "evaluate", lambda *_: ({}, False))
    monkeypatch.setattr(engine._Training, "finish", lambda _: None)
    counts = []
    for batch_size in (128, 32):
        with Waits() as waits:
            short_fit("bce", tiny, tmp_path / str(batch_size), batch_size=batch_size, epochs=1)
        counts.append(waits.count)
    assert counts[0] == counts[1] >= 1  # the loss of the epoch


@pytest.mark.parametrize("name", all_methods())
def test_no_step_waits_for_a_gpu(tiny, tmp_path, monkeypatch, gpu, name):
    kind = find_method(name)
    begin, mean_loss = kind.begin_epoch, engine._Training.mean_loss

    def begin_watched(self, epoch, num_rows):
        begin(self, epoch, num_rows)
        torch.cuda.set_sync_debug_mode("error")

    def mean_loss_unwatched(self, *sums):
        torch.cuda.set_sync_debug_mode("default")
        return mean_loss(self, *sums)

    monkeypatch.setattr(kind, "begin_epoch", begin_watched)
    monkeypatch.setattr(engine._Training, "mean_loss", mean_loss_unwatched)
    try:
        for store in ("host", "device"):
            short_fit(name, tiny, tmp_path / store, device=gpu, store=store)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("store", ["host", "device"])
def test_a_run_on_a_device_is_that_of_the_host(tiny, tmp_path, torch_device, store):
    """The same frames are drawn everywhere; without dropout nothing else is."""
    host = short_fit("bce", tiny, tmp_path / "host", dropout=0.0)
    other = short_fit("bce", tiny, tmp_path / "other", dropout=0.0, device=torch_device, store=store)
    losses = [[line["loss"] for line in run.folder.epochs] for run in (host, other)]
    assert losses[0] == pytest.approx(losses[1], rel=0 if torch_device == "cpu" else 1e-3)
    assert (torch_device != "cpu") or same(host.method.state_dict(), other.method.state_dict())


def test_threads_change_nothing(tiny, tmp_path, run):
    assert_same_run(short_fit("framestack", tiny, tmp_path / "one", threads=1).folder.path, run.folder.path)


def test_float16_scales_its_loss_and_goes_on_with_the_scale(tiny, tmp_path, monkeypatch):
    run = short_fit("bce", tiny, tmp_path / "run", precision="float16")
    assert run.folder.load_checkpoint("checkpoint")["scaler"]["scale"] > 1
    assert np.load(run.folder.path / "preds.npy").dtype == np.float32
    assert run.folder.epochs[-1]["loss"] < run.folder.epochs[0]["loss"]
    fit_with_stops(monkeypatch, "after each epoch", "bce", tiny, tmp_path / "stopped", precision="float16")
    assert_same_run(run.folder.path, tmp_path / "stopped")


def test_a_weight_that_is_frozen_stays(tiny, tmp_path):
    run = short_fit("crt", tiny, tmp_path / "crt")
    first = short_fit("bce", tiny, tmp_path / "bce")  # what the first stage is
    for name, value in first.folder.load_checkpoint("checkpoint")["method"].items():
        assert torch.equal(value, run.method.state_dict()[name]) == ("aggregator" in name), name


# ---------------------------------------------------------------------------------------------------------------------
# Selection
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def judged(monkeypatch):
    """The splits that are predicted, in order."""
    seen = []
    for name in ("score", "write_report"):
        original = getattr(engine, name)

        def spy(method, split, *rest, name=name, original=original, **how):
            seen.append((name, type(split).__name__))
            return original(method, split, *rest, **how)

        monkeypatch.setattr(engine, name, spy)
    return seen


@pytest.fixture
def scripted(monkeypatch):
    """Makes the validation mAP of each epoch."""

    class Scores:
        def __init__(self, value):
            self.value = value

        def metrics(self):
            return {"mAP": self.value}

    def script(*values):
        rest = iter(values)
        monkeypatch.setattr(engine, "score", lambda *_, **__: Scores(next(rest)))

    return script


def best_of(run) -> int:
    return run.folder.load_checkpoint("best")["epoch"]


def test_validation_selects_and_the_test_split_is_seen_at_the_end_alone(tiny, tmp_path, judged, monkeypatch):
    touched = []
    gather = type(tiny.frames).gather

    def spy(self, videos, *rest, **how):
        touched.append(np.isin(videos, tiny.test.videos).any())
        return gather(self, videos, *rest, **how)

    monkeypatch.setattr(type(tiny.frames), "gather", spy)
    run = short_fit("bce", tiny, tmp_path / "run", lr=0.1, epochs=4)
    assert judged == [("score", "ValSplit")] * 4 + [("write_report", "TestSplit")]
    assert touched == sorted(touched)
    assert any(touched)
    values = [line["mAP"] for line in run.folder.epochs]
    best = run.folder.load_checkpoint("best")
    assert (best["epoch"], best["mAP"]) == (int(np.argmax(values)), max(values))


@pytest.mark.parametrize(
    ("values", "best"),
    [((0.1, 0.5, 0.3), 1), ((0.3, 0.3, 0.2), 0), ((float("nan"), 0.0, 0.2), 2), ((float("nan"),) * 3, 0)],
)
def test_the_first_best_epoch_is_selected(tiny, tmp_path, scripted, values, best):
    scripted(*values)
    run = short_fit("bce", tiny, tmp_path / "run")
    assert best_of(run) == best
    assert [line.get("mAP") for line in run.folder.epochs] == [value if value == value else None for value in values]
    scripted(0.0)
    alone = short_fit("bce", tiny, tmp_path / "alone", epochs=best + 1, select_on="last", eval_every=99)
    assert same(run.method.state_dict(), alone.method.state_dict())
    assert (run.folder.path / "preds.npy").read_bytes() == (alone.folder.path / "preds.npy").read_bytes()


def test_the_selected_epoch_is_remembered_by_a_run_that_is_stopped(tiny, tmp_path, scripted, monkeypatch):
    scripted(0.1, 0.5, 0.3)
    run = short_fit("bce", tiny, tmp_path / "run")
    scripted(0.1, 0.5, 0.3)
    fit_with_stops(monkeypatch, "after each epoch", "bce", tiny, tmp_path / "stopped")
    assert_same_run(run.folder.path, tmp_path / "stopped")


def test_a_run_that_is_stopped_between_checkpoints_ends_with_the_same_bits(tiny, tmp_path, monkeypatch):
    how = {"epochs": 5, "checkpoint_every": 2}
    short_fit("bce", tiny, tmp_path / "run", **how)
    kind = find_method("bce")
    forward, steps = kind.forward, []

    def forward_with_stops(self, *batches):
        steps.append(1)
        if len(steps) in (17, 50):  # an epoch has 11 or 12: before the first checkpoint, and after it
            raise Stopped
        return forward(self, *batches)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "forward", forward_with_stops)
        for _ in range(2):
            with pytest.raises(Stopped):
                short_fit("bce", tiny, tmp_path / "stopped", resume=RunFolder.is_at(tmp_path / "stopped"), **how)
            assert RunFolder.open(tmp_path / "stopped").has_checkpoint("checkpoint") == (len(steps) == 50)
        short_fit("bce", tiny, tmp_path / "stopped", resume=True, **how)
    assert_same_run(tmp_path / "run", tmp_path / "stopped")


@pytest.mark.parametrize("first", [(0.3, 0.2, 0.9), (0.9,)])
def test_an_epoch_that_a_resumed_run_repeats_is_not_its_best(tiny, tmp_path, scripted, first):
    """It may go another way then: on another machine, or with other threads."""
    how = {"epochs": 5, "checkpoint_every": 2}
    scripted(*first)
    with pytest.raises(StopIteration):  # in the epoch after the best, and before the next checkpoint
        short_fit("bce", tiny, tmp_path / "run", **how)
    again = 5 - 2 * (len(first) > 2)
    scripted(*[0.2] * again)
    run = short_fit("bce", tiny, tmp_path / "run", resume=True, **how)
    best = run.folder.load_checkpoint("checkpoint")["best"]
    found = run.folder.load_checkpoint("best")
    assert {key: found[key] for key in best} == best == {"epoch": 0, "mAP": 0.3 if len(first) > 2 else 0.2}
    assert not run.folder.has_checkpoint("next_best")
    scripted(0.0)
    alone = short_fit("bce", tiny, tmp_path / "alone", epochs=1)
    assert same(run.method.state_dict(), alone.method.state_dict())


def test_the_last_stage_alone_is_selected_from(tiny, tmp_path, scripted):
    scripted(0.9, 0.9, 0.9, 0.2, 0.1)
    assert best_of(short_fit("crt", tiny, tmp_path / "run")) == 3


@pytest.mark.parametrize("settings", [{"select_on": "test"}, {"protocol": "official"}])
def test_the_test_split_selects_where_it_is_named(tiny, tmp_path, judged, settings):
    run = short_fit("bce", tiny, tmp_path / "run", **settings)
    assert judged == [("score", "TestSplit")] * 3 + [("write_report", "TestSplit")]
    values = [line["mAP"] for line in run.folder.epochs]
    assert best_of(run) == int(np.argmax(values))
    assert run.report.metrics()["mAP"] == pytest.approx(max(values), abs=1e-9)


def test_the_last_epoch_is_selected_where_that_is_wanted(tiny, tmp_path, judged, scripted):
    scripted(0.9, 0.5, 0.1)
    assert best_of(short_fit("bce", tiny, tmp_path / "run", select_on="last")) == 2
    assert judged == [("write_report", "TestSplit")]


def test_without_a_validation_split_the_last_epoch_is_selected(tiny, tmp_path, judged):
    run = short_fit("bce", dataclasses.replace(tiny, validate=None), tmp_path / "run")
    assert best_of(run) == 2
    assert judged == [("write_report", "TestSplit")]
    assert not any("mAP" in line for line in run.folder.epochs)


def test_without_a_test_split_the_report_is_on_what_selected(tiny, tmp_path, judged):
    run = short_fit("bce", dataclasses.replace(tiny, test=None), tmp_path / "run")
    assert judged[-1] == ("write_report", "ValSplit")
    assert len(np.load(run.folder.path / "preds.npy")) == len(tiny.validate)
    run = short_fit("bce", dataclasses.replace(tiny, test=None, validate=None), tmp_path / "alone", epochs=1)
    assert run.report is None
    assert not run.folder.has_report
    assert run.folder.has_checkpoint("best")


@pytest.mark.parametrize(("every", "judged_epochs"), [(1, [0, 1, 2]), (2, [1, 2]), (5, [2])])
def test_evaluation_comes_every_so_often_and_at_the_end(tiny, tmp_path, every, judged_epochs):
    run = short_fit("bce", tiny, tmp_path / "run", eval_every=every)
    assert [line["epoch"] for line in run.folder.epochs if "mAP" in line] == judged_epochs


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            lambda d: {"validate": TestSplit(*parts(d.test))},
            TypeError,
            "expected a ValSplit to select on, got TestSplit",
        ),
        (lambda d: {"validate": TrainSplit(*parts(d.train))}, TypeError, "a ValSplit to select on, got TrainSplit"),
        (lambda d: {"train": TestSplit(*parts(d.test))}, TypeError, "expected a TrainSplit to train on, got TestSplit"),
        (lambda d: {"train": ValSplit(*parts(d.validate))}, TypeError, "a TrainSplit to train on, got ValSplit"),
    ],
)
def test_splits_in_each_others_places_are_refused(tiny, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        short_fit("bce", dataclasses.replace(tiny, **changes(tiny)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def parts(split):
    return split.labels, split.videos, split.frames


def test_selecting_on_a_test_split_that_is_not_there_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"^select_on: expected a data set with a test split, got one without$"):
        short_fit("bce", dataclasses.replace(tiny, test=None), tmp_path / "run", select_on="test")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------------------------------
# The files of a run
# ---------------------------------------------------------------------------------------------------------------------


def test_a_run_folder_is_whole(run, tiny_folder):
    present = {path.name for path in run.folder.path.iterdir()}
    files = {"config.json", "metrics.csv", "checkpoint.pt", "best.pt", "preds.npy", "labels.npy"}
    assert files | {"report.json", "report.txt"} | ({"events"} if run.folder.scalars_are_written else set()) == present
    document = json.loads((run.folder.path / "config.json").read_text())
    assert (document["method"], document["preset"]) == ("framestack", None)
    assert document["settings"].items() >= SETTINGS.items()
    assert document["data"]["folder"] == str(tiny_folder.resolve())


def test_predictions_give_the_numbers_of_the_report(run, tiny):
    preds, labels = (np.load(run.folder.path / f"{name}.npy") for name in ("preds", "labels"))
    conventions = {"train_counts": tiny.train_counts, "bounds": tiny.bounds, "class_names": tiny.class_names}
    expected = vltr_eval.evaluate(preds, labels, sap=15, topk=[1, 5], absent="nan", **conventions)
    assert run.report.metrics() == expected.metrics()
    assert run.folder.load_report().metrics() == expected.metrics()
    assert (run.folder.path / "report.json").read_text() == expected.to_json()
    assert {"mAP_head", "mAP_tail", "Acc@5"} <= run.report.metrics().keys()


def test_the_other_program_accepts_predictions_and_labels(run, tiny, capsys):
    files = [str(run.folder.path / f"{name}.npy") for name in ("preds", "labels")]
    assert vltr_eval.program.cli.main([*files, "--json", "-", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.dumps(run.report.metrics()["mAP"]) in json.dumps(found)


def test_predictions_are_the_selected_methods_on_even_frames(run, tiny):
    rows, logits = predict(run.method, tiny.test)
    np.testing.assert_array_equal(rows, np.arange(len(tiny.test)))
    np.testing.assert_array_equal(np.load(run.folder.path / "preds.npy"), logits.numpy())
    method = find_method("framestack")(run.method.config, run.method.task)
    method.load_state_dict(run.folder.load_checkpoint("best")["method"])
    method.eval()
    store = tiny.frames
    for row in (0, 77, len(tiny.test) - 1):
        start, end = store.offsets[tiny.test.videos[row]], store.offsets[tiny.test.videos[row] + 1]
        picks = [k * (end - start - 1) // 11 for k in range(12)]
        clip = torch.from_numpy(store.frames[start:end][picks].astype(np.float32))
        torch.testing.assert_close(method.predict(clip[None])[0].detach(), logits[row])


def test_predicting_needs_no_gradients_and_leaves_evaluation_mode(run, tiny):
    run.method.train()
    _, logits = predict(run.method, tiny.validate)
    assert not logits.requires_grad
    assert not run.method.training


def test_a_notebook_needs_five_lines(tiny_folder, tmp_path):
    from vltr_train import fit, table

    run = fit("bce", tiny_folder, tmp_path / "run", quiet=True, device="cpu", **SETTINGS | {"epochs": 1})
    assert 0 < run.report.metrics()["mAP"] < 1
    assert table([run.folder]).startswith("method")


# ---------------------------------------------------------------------------------------------------------------------
# Evaluated again
# ---------------------------------------------------------------------------------------------------------------------


def test_a_run_is_evaluated_again_from_its_folder(run, tiny, tmp_path):
    before = {path.name: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()}
    again = evaluate_run(run.folder.path, tiny, out=tmp_path / "a" / "b", device="cpu")
    assert again.to_json() == run.report.to_json()
    for name in ("preds.npy", "labels.npy", "report.json", "report.txt"):
        assert (tmp_path / "a" / "b" / name).read_bytes() == before[name]
    of_folders = evaluate_run(RunFolder.open(run.folder.path), tiny.folder, device="cpu")
    assert of_folders.to_json() == run.report.to_json()
    validated = evaluate_run(run.folder.path, tiny, split="validate", sap=None, device="cpu", store="device")
    best = run.folder.load_checkpoint("best")
    assert validated.metrics()["mAP"] == pytest.approx(best["mAP"], abs=1e-12)
    assert {path.name: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()} == before


def test_evaluating_again_refuses_what_does_not_fit(run, tiny, tmp_path):
    with pytest.raises(ValueError, match=r"^split: expected one that the data set has, got 'test'$"):
        evaluate_run(run.folder.path, dataclasses.replace(tiny, test=None), device="cpu")
    with pytest.raises(ValueError, match=r"^split: expected one that the data set has, got 'name'$"):
        evaluate_run(run.folder.path, tiny, split="name", device="cpu")
    before = (run.folder.path / "report.json").read_bytes()
    with pytest.raises(ValueError, match=r"^out: expected a folder without a run"):
        evaluate_run(run.folder.path, tiny, split="validate", out=run.folder.path, device="cpu")
    assert (run.folder.path / "report.json").read_bytes() == before
    fewer = dataclasses.replace(tiny, class_names=tiny.class_names[:-1])
    with pytest.raises(ValueError, match=r"^train_counts: expected shape \(62,\), one a class, got \(63,\)$"):
        evaluate_run(run.folder.path, fewer, device="cpu")
    RunFolder.create(tmp_path / "new", run.folder.document).close()
    with pytest.raises(
        ValueError, match=r"best\.pt: expected a checkpoint, got none; finish that run with resume=True"
    ):
        evaluate_run(tmp_path / "new", tiny, device="cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "expected cpu, cuda or cuda:N, got 'gpu'"),
        ("mps", "expected cpu, cuda or cuda:N, got 'mps'"),
        ("cuda:99", "expected .* that PyTorch can use here, got cuda:99"),
    ],
)
def test_devices_that_are_not_there_are_named(name, message):
    with pytest.raises(ValueError, match=f"^device: {message}$"):
        choose_device(name)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "cpu, because there is no GPU"), (2, "cuda:0 to cuda:1, the GPUs")],
)
def test_a_missing_gpu_is_answered_with_those_present(monkeypatch, count, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=f"^device: expected {expected} that PyTorch can use here, got cuda:3$"):
        choose_device("cuda:3")


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    made_current = []
    monkeypatch.setattr(torch.cuda, "set_device", made_current.append)
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert [str(choose_device(name)) for name in (None, "cuda", "cuda:1", "cpu")] == [
        "cuda:2",
        "cuda:2",
        "cuda:1",
        "cpu",
    ]
    assert made_current == [2, 2, 1]


# ---------------------------------------------------------------------------------------------------------------------
# Resumed
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["framestack", "crt"])
@pytest.mark.parametrize("place", ["before each checkpoint", "in each epoch"])
def test_a_run_may_be_stopped_anywhere(tiny, tmp_path, monkeypatch, method, place):
    run = short_fit(method, tiny, tmp_path / "run")
    assert fit_with_stops(monkeypatch, place, method, tiny, tmp_path / "stopped") >= 2
    assert_same_run(run.folder.path, tmp_path / "stopped")


def test_a_resumed_stage_knows_what_earlier_ones_froze(tiny, tmp_path, monkeypatch):
    kind = find_method("crt")
    stages = kind.stages
    monkeypatch.setattr(kind, "stages", lambda self: (*stages(self), self.stage(name="more", epochs=2)))
    run = short_fit("crt", tiny, tmp_path / "run")
    assert not run.method.model.aggregator.hidden.weight.requires_grad
    assert fit_with_stops(monkeypatch, "after each epoch", "crt", tiny, tmp_path / "stopped") >= 5
    assert_same_run(run.folder.path, tmp_path / "stopped")


def test_only_a_run_can_be_resumed(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"typo: expected a run to resume, got none; .*'auto' \(--resume=auto\)$"):
        short_fit("bce", tiny, tmp_path / "typo", resume=True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"threads": 0}, {"store": "cloud"}])
def test_what_cannot_run_replaces_nothing(tiny, tmp_path, wrong):
    short_fit("bce", tiny, tmp_path / "run", epochs=1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(ValueError, match="expected"):
        short_fit("bce", tiny, tmp_path / "run", overwrite=True, **wrong)
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before


def test_batches_of_a_step_come_in_equal_numbers(tiny, tmp_path, monkeypatch):
    samplers = (InstanceSampler(), InstanceSampler(rows=np.arange(70)))
    monkeypatch.setattr(find_method("bce"), "stages", lambda self: (self.stage(samplers=samplers),))
    with pytest.raises(ValueError, match=r"samplers: expected as many batches of each in an epoch of stage 'train'"):
        short_fit("bce", tiny, tmp_path / "run")


def test_resuming_a_finished_run_only_evaluates_it(run, tiny, monkeypatch):
    before = {path.name: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()}
    monkeypatch.setattr(find_method("framestack"), "forward", None)
    again = short_fit("framestack", tiny, run.folder.path, resume=True)
    assert again.report.to_json() == run.report.to_json()
    assert {path.name: path.read_bytes() for path in run.folder.path.iterdir() if path.is_file()} == before


def test_a_run_that_is_there_is_not_touched_unless_that_is_said(tiny, tmp_path):
    first = short_fit("bce", tiny, tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    with pytest.raises(
        ValueError,
        match=r"expected a folder without a run, .*resume=True \(--resume\), .*overwrite=True \(--overwrite\)$",
    ):
        short_fit("bce", tiny, tmp_path / "run", epochs=1)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    other = short_fit("bce", tiny, tmp_path / "run", epochs=1, seed=9, overwrite=True)
    assert not same(first.method.state_dict(), other.method.state_dict())
    assert RunFolder.open(tmp_path / "run").document["settings"]["seed"] == 9


def test_resuming_with_something_else_says_what_differs(tiny, tmp_path):
    folder = tmp_path / "run"
    short_fit("bce", tiny, folder, epochs=1)
    for method, changes, message in (
        ("focal", {}, "expected method bce as in its config.json, got focal"),
        ("bce:r50", {}, "expected preset None as in its config.json, got r50"),
        ("bce", {"lr": 0.5}, r"expected settings \{'lr': 0.01\} as in its config.json, got \{'lr': 0.5\}"),
    ):
        with pytest.raises(ValueError, match=f"^{folder}: {message}$"):
            short_fit(method, tiny, folder, resume=True, **{"epochs": 1} | changes)
    rows = np.arange(100)
    test = TestSplit(tiny.test.labels.select(rows), tiny.test.videos[rows], tiny.frames)
    with pytest.raises(
        ValueError, match=r"expected dataset \{'videos': \[717, 173, 205\], 'labels': .*, got \{'videos"
    ):
        short_fit("bce", dataclasses.replace(tiny, test=test), folder, resume=True, epochs=1)


KILLED = [("framestack", "train", {"epochs": 25}), ("crt", "classifier", {"epochs": 2, "classifier_epochs": 25})]


@pytest.mark.parametrize(("method", "stage", "epochs"), KILLED, ids=["framestack", "crt"])
def test_a_killed_run_resumes_to_the_bit(tiny_folder, tmp_path, method, stage, epochs, capsys):
    """Killed for good, as soon as its first epoch of the stage is in metrics.csv: rAP, optimizer and draws go on."""
    settings = [f"{key}={value}" for key, value in short_settings(method, **epochs).items()]
    command = ["fit", method, "--data", str(tiny_folder), "--device", "cpu", "--quiet", *settings, "--out"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-m", "vltr_train", *command, str(killed)], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    metrics, until = killed / "metrics.csv", time.monotonic() + 60
    while not (metrics.exists() and f",{stage}," in metrics.read_text()):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.002)
    process.kill()
    assert process.wait() < 0
    done = RunFolder.open(killed).epochs
    assert done[-1]["stage"] == stage
    assert len(done) < sum(epochs.values()) - 1
    assert not (killed / "report.json").exists()
    assert cli.main([*command, str(whole)]) == 0
    assert cli.main([*command, str(killed), "--resume"]) == 0
    assert_same_run(whole, killed)
    if method == "framestack":
        assert RunFolder.open(killed).load_checkpoint("checkpoint")["method"]["rap"].any()
    assert capsys.readouterr().err == ""


# ---------------------------------------------------------------------------------------------------------------------
# Printed output
# ---------------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_each_epoch_is_a_line(tiny, tmp_path, capsys):
    run = short_fit("bce", tiny, tmp_path / "run", quiet=False, eval_every=2)
    stages, steps, *lines = capsys.readouterr().err.splitlines()
    assert stages == "stages: train 3 epochs"
    assert steps.startswith("lr_steps: 30, 60 never reached")
    assert len(lines) == 3
    for line, values in zip(lines, run.folder.epochs, strict=True):
        assert line.startswith(f"epoch {values['epoch']} (train): loss {values['loss']:.5f}")
        assert ("mAP" in line) == ("mAP" in values)
    short_fit("bce", tiny, tmp_path / "quiet", epochs=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("method", "changes", "stages"),
    [
        ("meid", {"epochs": 2, "expert2_epochs": 100}, "expert1 2 epochs, expert2 100 epochs; 102 epochs in all"),
        ("crt", {"epochs": 2, "classifier_epochs": 10}, "train 2 epochs, classifier 10 epochs; 12 epochs in all"),
        (
            "ava_two_stage",
            {"epochs": 2, "judge_epochs": 10, "classifier_epochs": 1},
            "judge 10 epochs, features 2 epochs, classifier 1 epoch; 13 epochs in all",
        ),
    ],
)
def test_the_stages_and_their_epochs_are_said_first(tiny, method, changes, stages):
    kind = find_method(method)
    model = kind(build_config(kind, None, changes), Task(tiny.num_classes, tiny.dim, tiny.train_counts, tiny.bounds))
    assert describe_schedule(model, model.stages(), tiny, 0)[0] == f"stages: {stages}"
    assert describe_schedule(model, model.stages(), tiny, 1)[0] == f"stages: {stages}; resumed after 1 epoch"


@pytest.mark.parametrize(
    ("method", "changes", "lines"),
    [
        ("bce", {"epochs": 61}, []),
        (
            "bce",
            {"epochs": 60},
            ["lr_steps: 60 never reached, because stage train ends after 60 epochs; its lr ends at 1e-05"],
        ),
        ("bce", {"epochs": 9, "lr_steps": ()}, []),
        (
            "ldam_drw",
            {"epochs": 20, "lr_steps": (3,)},
            ["drw_epoch: 50 is never reached, so classes are not re-weighted"],
        ),
        ("ldam_drw", {"epochs": 51, "lr_steps": (3,)}, []),
        (
            "framestack",
            {"epochs": 2, "warm_epochs": 2, "lr_steps": ()},
            ["warm_epochs: 2 of 2 epochs, so no clips are mixed"],
        ),
        ("framestack", {"epochs": 2, "lr_steps": ()}, []),
    ],
)
def test_settings_without_effect_are_said_first(tiny, method, changes, lines):
    kind = find_method(method)
    model = kind(build_config(kind, None, changes), Task(tiny.num_classes, tiny.dim, tiny.train_counts, tiny.bounds))
    assert describe_schedule(model, model.stages(), tiny, 0)[1:] == lines


@pytest.mark.parametrize(
    ("missing", "lines"),
    [
        ({"validate": None}, ["no validation split: the weights of the last epoch are used"]),
        ({"test": None}, ["no test split: the report is on the validation split"]),
        (
            {"validate": None, "test": None},
            ["no validation split: the weights of the last epoch are used", "no test split: there is no report"],
        ),
    ],
)
def test_a_missing_split_is_said_first(tiny, tmp_path, capsys, missing, lines):
    part = dataclasses.replace(tiny, **missing)
    run = short_fit("bce", part, tmp_path / "run", quiet=False, epochs=1, lr_steps=())
    assert capsys.readouterr().err.splitlines()[1:-1] == lines
    assert (run.report is None) == (lines[-1] == "no test split: there is no report")


def test_nan_in_the_features_names_its_video(tiny, tmp_path):
    """And not the learning rate."""
    features = tmp_path / "features"
    features.mkdir()
    for number, name in enumerate(tiny.frames.ids):
        start, stop = tiny.frames.offsets[number : number + 2]
        np.save(features / f"{name}.npy", tiny.frames.frames[start:stop])
    bad = tiny.train.labels.ids[7]
    frames = np.load(features / f"{bad}.npy")
    frames[:, 3] = np.nan
    np.save(features / f"{bad}.npy", frames)
    with pytest.raises(ValueError, match=rf"{bad}\.npy: expected finite features, got nan in frame \d+, feature 3$"):
        short_fit("bce", open_dataset(tiny.folder, features=features), tmp_path / "run")


def test_results_and_settings_are_shown_in_one_line(tiny, tmp_path):
    run = short_fit("framestack", tiny, tmp_path / "run", epochs=1, lr_steps=())
    found = run.report.metrics()["mAP"]
    assert repr(run) == f"Run('{tmp_path}/run', FrameStack, mAP {found:.4f})"
    assert repr(run.folder) == f"RunFolder('{tmp_path}/run', framestack, 1 epochs)"
    assert repr(run.method.config) == (
        "FrameStackConfig(epochs=1, batch_size=64, lr=0.01, lr_steps=(), train_frames=8, test_frames=12, "
        "eval_every=1, seed=3)"
    )
    assert repr(run.method.task) == f"Task({tiny.num_classes} classes, 16 features, bounds {tiny.bounds})"
    assert repr(RunContext()) == "RunContext('cpu', rank 0 of 1)"


def test_a_run_is_not_evaluated_on_other_classes(tiny, tmp_path):
    names = tuple(f"name {number}" for number in range(tiny.num_classes))
    named = dataclasses.replace(tiny, class_names=names)
    run = short_fit("bce", named, tmp_path / "run", epochs=1)
    assert evaluate_run(tmp_path / "run", named, device="cpu").metrics() == run.report.metrics()
    other = dataclasses.replace(tiny, class_names=names[::-1])
    with pytest.raises(ValueError, match=r"run: expected data with the class names of the training in their order"):
        evaluate_run(tmp_path / "run", other, device="cpu")


def test_resume_is_a_truth_value_or_auto(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"^resume: expected True, False or 'auto', got 'yes'$"):
        short_fit("bce", tiny, tmp_path / "run", resume="yes")
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_without_a_key_is_one_sentence(tiny, tmp_path):
    run = short_fit("bce", tiny, tmp_path / "run", epochs=1)
    state = run.folder.load_checkpoint("checkpoint")
    best = run.folder.load_checkpoint("best")
    for key in ("stage", "epoch", "total", "best"):
        run.folder.save_checkpoint("checkpoint", {name: value for name, value in state.items() if name != key})
        with pytest.raises(ValueError, match=rf"checkpoint\.pt: expected a checkpoint with .*, got one without {key}$"):
            short_fit("bce", tiny, tmp_path / "run", epochs=1, resume=True)
    for damaged in ({"mAP": 0.5}, {"method": 3}, {"method": {"a": 1}}):
        run.folder.save_checkpoint("best", damaged)
        with pytest.raises(ValueError, match=r"best\.pt: expected the weights of a method under the key 'method', got"):
            evaluate_run(tmp_path / "run", tiny, device="cpu")
    run.folder.save_checkpoint("best", best)
    assert evaluate_run(tmp_path / "run", tiny, device="cpu").metrics() == run.report.metrics()


def test_the_bar_shows_stage_loss_and_best(tiny, tmp_path, monkeypatch):
    for name in ("_PATIENCE", "_PAUSE"):
        monkeypatch.setattr(terminal, name, 0.0)
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    run = short_fit("bce", tiny, tmp_path / "run", quiet=False)
    shown = [text for text in screen.getvalue().split("\r") if text.startswith("[")]
    assert "train 1/3, loss " in shown[0]
    assert f"train 3/3, best mAP {run.folder.epochs[0]['mAP']:.4f}"[:24] in shown[-1]
    assert " s left, " in shown[-1]
    quiet = short_fit("bce", tiny, tmp_path / "quiet")
    assert same(run.method.state_dict(), quiet.method.state_dict())


def test_a_data_set_may_be_given_by_its_folder(tiny_folder, tmp_path):
    one = short_fit("bce", tiny_folder, tmp_path / "one", epochs=1)
    other = short_fit("bce", open_dataset(tiny_folder), tmp_path / "other", epochs=1)
    assert_same_run(one.folder.path, other.folder.path)


@pytest.mark.parametrize("method", ["bce", "framestack"])
def test_a_training_that_diverges_says_so_at_once(tiny, tmp_path, method):
    with pytest.raises(ValueError, match=r"^loss: expected a finite one, got nan in epoch 0; lower the lr, and"):
        short_fit(method, tiny, tmp_path / "run", lr=1e30, clip_norm=None, eval_every=99)
    assert not RunFolder.open(tmp_path / "run").has_checkpoint("checkpoint")


def test_a_bad_setting_leaves_no_folder(tiny, tmp_path):
    for method, changes, message in (
        ("bce", {"lrr": 1}, "setting: expected a known name, got 'lrr'; did you mean lr"),
        ("bce", {"lr": -1.0}, "lr: expected a positive number, got -1.0"),
        ("bcee", {}, "method: expected a known name, got 'bcee'; did you mean bce"),
        ("bce:r5", {}, "preset: expected a known name, got 'r5'; did you mean r50"),
        ("bce", {"store": "gpu"}, "store: expected auto, host or device, got 'gpu'"),
        ("bce", {"device": "gpu"}, "device: expected cpu, cuda or cuda:N, got 'gpu'"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            short_fit("bce" if method == "bce" else method, tiny, tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------------------------------------------------------
# Stages that judge
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def judging(monkeypatch):
    """cRT with a judgement: its second stage visits the videos of the classes that the first one found, alone.

    It notes the name and the arguments of each end of a stage, and the stage and the rows of each step.
    """
    kind = find_method("crt")
    make, stages, begin, forward = kind.__init__, kind.stages, kind.begin_stage, kind.forward
    ends, steps = [], []

    def make_with_buffer(self, config, task):
        make(self, config, task)
        self.register_buffer("found", torch.ones(task.num_classes, dtype=torch.bool))

    def stages_of_found(self):
        first, second = stages(self)
        return first, dataclasses.replace(second, samplers=(InstanceSampler(classes=self.found.numpy()),))

    def begin_and_note(self, stage):
        self.at = stage.name
        begin(self, stage)

    def end(self, stage, average_precision):
        self.train()  # whatever mode it is in, classes are judged in evaluation mode
        with pytest.raises(KeyError):
            average_precision("test")
        ends.append((stage.name, {split: average_precision(split) for split in ("train", "validate")}, self))
        if stage.name == "train":
            self.found.copy_(torch.from_numpy(ends[-1][1]["train"] > np.median(ends[-1][1]["train"])))

    def forward_and_note(self, batch):
        steps.append((self.at, batch.rows.tolist()))
        return forward(self, batch)

    for name, function in (
        ("__init__", make_with_buffer),
        ("stages", stages_of_found),
        ("begin_stage", begin_and_note),
        ("end_stage", end),
        ("forward", forward_and_note),
    ):
        monkeypatch.setattr(kind, name, function)
    return ends, steps


def test_a_stage_ends_once_with_the_ap_of_each_class(tiny, tmp_path, judging):
    ends, _ = judging
    run = short_fit("crt", tiny, tmp_path / "run")
    assert [name for name, *_ in ends] == ["train", "classifier"]
    _, found, method = ends[-1]
    assert method is run.method
    method.load_state_dict(run.folder.load_checkpoint("checkpoint")["method"])  # its last epoch
    for split in ("train", "validate"):
        rows, logits = predict(method, getattr(tiny, split))
        labels = getattr(tiny, split).labels.multi_hot(rows, dtype=np.uint8)
        expected = vltr_eval.average_precision(logits.numpy(), labels, absent="nan")
        assert found[split].dtype == np.float64
        np.testing.assert_array_equal(found[split], expected)


def test_the_next_stage_is_what_was_found(tiny, tmp_path, judging):
    ends, steps = judging
    run = short_fit("crt", tiny, tmp_path / "run")
    train = ends[0][1]["train"]
    labels = tiny.train.labels
    found = {c for c in range(tiny.num_classes) if train[c] > np.median(train)}
    expected = [
        row
        for row in range(len(labels))
        if found.intersection(labels.classes[labels.offsets[row] : labels.offsets[row + 1]].tolist())
    ]
    assert run.method.found.nonzero().flatten().tolist() == sorted(found)
    visited = [row for stage, rows in steps if stage == "classifier" for row in rows]
    assert 64 < len(expected) < len(labels) - 64  # so that batches are fewer
    dropped = len(expected) % 64 if len(expected) % 64 < 2 else 0
    assert len(visited) == 2 * (len(expected) - dropped)
    assert set(visited) <= set(expected)


def test_no_validation_split_is_no_ap(tiny, tmp_path, judging):
    ends, _ = judging
    short_fit("crt", dataclasses.replace(tiny, validate=None), tmp_path / "run", epochs=1)
    assert np.isnan(ends[0][1]["validate"]).all()
    assert ends[0][1]["validate"].shape == ends[0][1]["train"].shape == (tiny.num_classes,)
    assert not np.isnan(ends[0][1]["train"]).any()


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("after each epoch", ["train", "classifier"]),
        ("before each checkpoint", ["train", "train", "classifier", "classifier"]),
    ],
)
def test_what_a_stage_found_survives_a_stop_right_after_it(tiny, tmp_path, monkeypatch, judging, place, names):
    ends, _ = judging
    run = short_fit("crt", tiny, tmp_path / "run")
    ends.clear()
    assert fit_with_stops(monkeypatch, place, "crt", tiny, tmp_path / "stopped") == 5
    assert [name for name, *_ in ends] == names
    assert_same_run(run.folder.path, tmp_path / "stopped")
    stopped = RunFolder.open(tmp_path / "stopped").load_checkpoint("checkpoint")["method"]["found"]
    assert 0 < stopped.sum() < len(stopped)


def test_judging_changes_no_other_bit(tiny, tmp_path, monkeypatch):
    plain = short_fit("bce", tiny, tmp_path / "plain")
    monkeypatch.setattr(find_method("bce"), "end_stage", lambda self, stage, ask: [ask("train"), ask("validate")])
    judged = short_fit("bce", tiny, tmp_path / "judged")
    assert_same_run(plain.folder.path, judged.folder.path)


@pytest.mark.parametrize("is_frozen", [False, True])
def test_clipping_the_classifier_leaves_the_aggregator_alone(is_frozen):
    """Behind MOVE's aggregators there are two layers; frozen ones have no gradients to clip."""
    kind = find_method("bce")
    config = kind.Config(aggregator="psa-codebook", clip_scope="classifier")
    method = kind(config, Task(5, 4, np.arange(1, 6), (3, 1)))
    if is_frozen:
        method.freeze(method.model.aggregator.hidden)
    method.model(torch.randn(6, 3, 4)).square().sum().backward()
    before = {name: value.grad.clone() for name, value in method.named_parameters() if value.grad is not None}
    torch.nn.utils.clip_grad_norm_(method.clipped(), 1e-3)
    after = {name: value.grad for name, value in method.named_parameters() if value.grad is not None}
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    behind = {"model.aggregator.hidden.0.weight", "model.aggregator.hidden.0.bias"}
    assert moved == {"model.classifier.weight", "model.classifier.bias"} | (set() if is_frozen else behind)
    assert sum(after[name].square().sum() for name in moved).sqrt().item() == pytest.approx(1e-3, rel=1e-4)
    assert {name for name in before if "psa" in name or "codebook" in name} == before.keys() - moved


def test_frozen_modules_may_stay_in_train_mode():
    kind = find_method("bce")
    method = kind(kind.Config(aggregator="netvlad"), Task(5, 4, np.arange(1, 6), (3, 1)))
    method.freeze(method.model.aggregator, in_eval=False)
    method.train()
    assert all(module.training for module in method.modules())
    assert not any(value.requires_grad for value in method.model.aggregator.parameters())
    method.unfreeze(method.model.aggregator)
    assert all(value.requires_grad for value in method.parameters())


def test_what_is_frozen_can_be_given_back():
    kind = find_method("bce")
    method = kind(kind.Config(aggregator="netvlad"), Task(5, 4, np.arange(1, 6), (3, 1)))
    trunk, linear = method.model.aggregator, method.model.classifier
    method.train()
    method.freeze(trunk, linear)
    method.train()
    assert not any(value.requires_grad for value in method.parameters())
    method.unfreeze(trunk)
    assert all(module.training for module in trunk.modules())
    assert {value.requires_grad for value in trunk.parameters()} == {True}
    method.eval()
    method.train()
    assert all(module.training for module in trunk.modules())
    assert not linear.training
    method.model(torch.randn(6, 3, 4)).sum().backward()
    assert {value.grad is not None for value in trunk.parameters()} == {True}
    assert {value.grad is None for value in linear.parameters()} == {True}
    method.eval()
    method.unfreeze(linear)
    assert not linear.training  # as the method that it is in
    assert linear.weight.requires_grad
