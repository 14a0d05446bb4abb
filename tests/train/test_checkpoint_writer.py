"""Checkpoints that a thread writes: nothing half written, nothing changed meanwhile, and no error without notice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

pytest.importorskip("torch")

import torch
from short_runs import assert_same_run, same, short_fit, short_settings

from vltr_eval._base.files import OutputError
from vltr_train.runs.checkpoint_writer import CheckpointWriter
from vltr_train.runs.run_folder import RunFolder

DOCUMENT = {"method": "bce", "preset": None, "settings": {}, "dataset": {}}


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", DOCUMENT)


@pytest.fixture
def gate(monkeypatch):
    """Holds the thread back, before it writes anything, until the event is set."""
    event, save = threading.Event(), RunFolder.save_checkpoint

    def wait_and_save(self, name, state):
        assert event.wait(30)
        save(self, name, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", wait_and_save)
    return event


def trained():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.randn(8, 5)).square().sum().backward()
    optimizer.step()
    return model, optimizer


def test_later_steps_change_nothing_that_is_written(folder, gate):
    model, optimizer = trained()
    before, _ = trained()
    with CheckpointWriter(folder) as writer:
        writer.save(checkpoint={"method": model.state_dict(), "optimizer": optimizer.state_dict()})
        optimizer.step()
        model(torch.randn(8, 5))
        gate.set()
    saved = folder.load_checkpoint("checkpoint")
    assert same(saved["method"], before.state_dict())
    assert not same(saved["method"], model.state_dict())
    assert float(saved["optimizer"]["state"][0]["step"]) == 1
    assert saved["method"]._metadata == model.state_dict()._metadata


def test_a_device_state_is_copied_before_the_next_step(folder, torch_device):
    values = torch.arange(1 << 20, dtype=torch.float32, device=torch_device)
    with CheckpointWriter(folder) as writer:
        for number in range(3):
            writer.save(checkpoint={"x": values})
            values.add_(1)
            writer.wait()
            assert torch.equal(folder.load_checkpoint("checkpoint")["x"], torch.arange(1 << 20).float() + number)


def test_weights_of_two_checkpoints_are_copied_once(folder, gate):
    model, optimizer = trained()
    model.tied = model[0].weight
    writer = CheckpointWriter(folder)
    writer.save(best={"method": model.state_dict()}, checkpoint={"method": model.state_dict()})
    first = {id(value): value.data_ptr() for value in writer._snapshot._memory.values()}
    assert len(first) == len(model.state_dict()) - 1
    gate.set()
    writer.save(checkpoint={"method": model.state_dict()})
    assert {id(value): value.data_ptr() for value in writer._snapshot._memory.values()} == first
    writer.wait()
    loaded = folder.load_checkpoint("checkpoint")["method"]
    assert loaded["tied"].data_ptr() == loaded["0.weight"].data_ptr()
    assert optimizer.state


def test_one_snapshot_at_a_time_exists(folder, gate):
    writer = CheckpointWriter(folder)
    writer.save(checkpoint={"x": torch.zeros(3)})
    threading.Timer(0.3, gate.set).start()
    start = time.monotonic()
    writer.save(checkpoint={"x": torch.ones(3)})
    assert time.monotonic() - start > 0.2
    writer.wait()
    assert folder.load_checkpoint("checkpoint")["x"].sum() == 3


def test_a_failed_write_is_raised_once_and_loses_nothing(folder, monkeypatch):
    writer = CheckpointWriter(folder)
    writer.save(checkpoint={"epoch": 1})
    writer.wait()

    def fail(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        writer.save(best={"epoch": 2}, checkpoint={"epoch": 2})
        with pytest.raises(OutputError, match=r"best\.pt: cannot be written \(no space left\)$"):
            writer.wait()
    writer.check()
    assert folder.load_checkpoint("checkpoint") == {"epoch": 1}
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoint.pt", "config.json"]


def test_values_that_need_code_are_refused_before_the_thread(folder):
    writer = CheckpointWriter(folder)
    with pytest.raises(ValueError, match=r"^state\['x'\]: expected tensors and plain containers, got object$"):
        writer.save(checkpoint={"x": object()})
    assert writer._thread is None


def test_an_error_of_the_training_waits_for_the_write(folder, gate):
    writer = CheckpointWriter(folder)
    threading.Timer(0.2, gate.set).start()

    def interrupted():
        with writer:
            writer.save(checkpoint={"epoch": 3})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert folder.load_checkpoint("checkpoint") == {"epoch": 3}


def test_a_second_interrupt_abandons_the_write(folder, monkeypatch):
    writer = CheckpointWriter(folder)
    writer.save(checkpoint={"epoch": 1})
    writer.wait()
    started, go_on, save = threading.Event(), threading.Event(), torch.save

    def slow(state, path):
        save(state, path)
        started.set()
        assert go_on.wait(30)

    monkeypatch.setattr(torch, "save", slow)

    def interrupt():
        raise KeyboardInterrupt

    def interrupted_twice():
        with writer:
            writer.save(best={"epoch": 2}, checkpoint={"epoch": 2})
            assert started.wait(30)
            monkeypatch.setattr(writer._thread, "join", interrupt)
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice()
    go_on.set()
    threading.Thread.join(writer._thread, 30)
    assert folder.load_checkpoint("checkpoint") == {"epoch": 1}
    assert sorted(path.name for path in folder.path.iterdir()) == ["checkpoint.pt", "config.json"]


@pytest.mark.parametrize("error", [None, ValueError("of the training")])
def test_a_first_interrupt_of_the_wait_still_waits(folder, gate, monkeypatch, error):
    writer, waits = CheckpointWriter(folder), []

    def interrupt_first(*_):
        waits.append(1)
        if len(waits) == 1:
            raise KeyboardInterrupt
        gate.set()
        threading.Thread.join(writer._thread, 30)

    def run():
        with writer:
            writer.save(checkpoint={"epoch": 3})
            monkeypatch.setattr(writer._thread, "join", interrupt_first)
            if error is not None:
                raise error

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(waits) == 2
    assert folder.load_checkpoint("checkpoint") == {"epoch": 3}


def test_a_failed_write_after_an_error_of_the_training_is_told(folder, monkeypatch, capsys):
    def fail(state, path):
        raise RuntimeError("no space left")

    def run():
        with CheckpointWriter(folder) as writer:
            writer.save(checkpoint={"epoch": 1})
            raise ValueError("loss")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(ValueError, match=r"^loss$"):
        run()
    told = capsys.readouterr().err
    assert told.startswith("The last checkpoint was not saved: ")
    assert told.endswith("checkpoint.pt: cannot be written (no space left)\n")


# In a training


@pytest.mark.parametrize("every", [2, 5])
def test_rarer_checkpoints_give_the_same_run(tiny, tmp_path, monkeypatch, every):
    written, save = [], RunFolder.save_checkpoint

    def note(self, name, state):
        written.append((name, state.get("total")))
        save(self, name, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", note)
    one = short_fit("bce", tiny, tmp_path / "one")
    written.clear()
    other = short_fit("bce", tiny, tmp_path / "other", checkpoint_every=every)
    assert [total for name, total in written if name == "checkpoint"] == ([2, 3] if every == 2 else [3])
    assert_same_run(one.folder.path, other.folder.path)


def test_the_end_of_a_stage_keeps_no_optimizer(tiny, tmp_path, monkeypatch):
    kept, save = [], RunFolder.save_checkpoint

    def note(self, name, state):
        if name == "checkpoint":
            kept.append("optimizer" in state)
        save(self, name, state)

    monkeypatch.setattr(RunFolder, "save_checkpoint", note)
    short_fit("crt", tiny, tmp_path / "run")
    assert kept == [True, True, False, True, False]


def test_a_checkpoint_frequency_below_one_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"^checkpoint_every: expected at least 1, got 0$"):
        short_fit("bce", tiny, tmp_path / "run", checkpoint_every=0)
    assert not (tmp_path / "run").exists()


WIDE = {"aggregator": "netvlad", "clusters": 32, "epochs": 6}  # 6 MiB a checkpoint, so that a kill can meet its write


def command(tiny_folder, out, **settings):
    words = [f"{key}={value}" for key, value in short_settings("framestack", **WIDE | settings).items()]
    return [
        *(sys.executable, "-m", "vltr_train", "fit", "framestack", "--data", str(tiny_folder)),
        *("--device", "cpu", "--quiet", "--resume=auto", "--out", str(out), *words),
    ]


def run_of(words):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def run_to_end(words):
    process = run_of(words)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error


STUCK = """
import io, sys, time, torch
from vltr_train import cli
save = torch.save
def save_half(state, path):
    content = io.BytesIO()
    save(state, content)
    path.write_bytes(content.getvalue()[: content.tell() // 2])
    (path.parent / "stuck").touch()
    time.sleep(120)
torch.save = save_half
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_kill_while_the_thread_writes_leaves_a_whole_checkpoint(tiny_folder, tmp_path):
    """Killed within a write, and at random moments; the run that is resumed has the bits of one never killed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_to_end(command(tiny_folder, whole))
    words = command(tiny_folder, killed)
    rng = random.Random(5)
    for is_stuck in (False, True, False):
        process = run_of([sys.executable, "-c", STUCK, *words[3:]] if is_stuck else words)
        sign, until = "stuck" if is_stuck else ".checkpoint.pt.*.unfinished", time.monotonic() + 60
        while process.poll() is None and not list(killed.glob(sign)):
            assert time.monotonic() < until
            time.sleep(0.001)
        time.sleep(0 if is_stuck else rng.random() * 0.02)
        process.kill()
        process.wait()
        process.stderr.close()
        if is_stuck:
            assert list(killed.glob(".*.unfinished"))  # the write was cut off
            (killed / "stuck").unlink()
        if (killed / "checkpoint.pt").exists():
            RunFolder.open(killed).load_checkpoint("checkpoint", ("method", "total"))
    run_to_end(words)
    assert_same_run(whole, killed)
    assert not list(killed.glob(".*.unfinished"))


FULL = """
import resource, sys
from vltr_train.methods import find_method
from vltr_train import cli
kind = find_method("framestack")
begin = kind.begin_epoch
def begin_with_full_disk(self, epoch, num_rows):
    if epoch == 2:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    begin(self, epoch, num_rows)
kind.begin_epoch = begin_with_full_disk
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_disk_that_fills_ends_the_run_with_one_sentence(tiny_folder, tmp_path):
    """By a limit of the size of files, which the kernel enforces as it does a full disk."""
    words = command(tiny_folder, tmp_path / "full")
    process = run_of([sys.executable, "-c", textwrap.dedent(FULL), *words[3:]])
    _, error = process.communicate(timeout=120)
    assert process.returncode not in (0, -signal.SIGXFSZ)
    assert error.count("\n") == 1
    assert "checkpoint.pt: cannot be written (" in error or "best.pt: cannot be written (" in error
    assert RunFolder.open(tmp_path / "full").load_checkpoint("checkpoint")["total"] in (
        1,
        2,
    )  # the limit may meet the second one
    run_to_end(command(tiny_folder, tmp_path / "full"))
    run_to_end(command(tiny_folder, tmp_path / "whole"))
    assert_same_run(tmp_path / "whole", tmp_path / "full")
