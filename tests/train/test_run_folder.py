"""The folder of a run: what is read back is what was written, nothing is half there, and errors name the file."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vltr_eval
from vltr_eval._base.files import OutputError
from vltr_train.runs import run_folder
from vltr_train.runs.run_folder import RunFolder, classes_fingerprint, labels_fingerprint, run_document

torch = pytest.importorskip("torch")

DOCUMENT = {"method": "bce", "preset": None, "settings": {"lr": 0.1}, "dataset": {"name": "toy"}}


@pytest.fixture(autouse=True)
def no_tensorboard(request, monkeypatch):
    """Its import takes seconds, so only the tests that are about events have it."""
    if "events" not in request.node.name:
        monkeypatch.setattr(run_folder, "_summary_writer", lambda: None)


def label_list(*videos, num_classes=5):
    offsets = np.cumsum([0, *map(len, videos)])
    return SimpleNamespace(offsets=offsets, classes=np.concatenate(videos), num_classes=num_classes)


def files_of(folder):
    return sorted(path.name for path in folder.iterdir())


# config.json


@dataclass(frozen=True)
class Config:
    lr: float = 0.1
    lr_steps: tuple[int, ...] = (3, 4)


class Split(list):
    labels = label_list([0, 1], [2])


def test_the_document_says_what_was_run():
    splits = {"train": Split("ab"), "validate": None, "test": Split("cd")}
    dataset = SimpleNamespace(name="toy", num_classes=5, folder=Path("/data/toy"), features=None, dim=7, **splits)
    dataset.frames = SimpleNamespace(fingerprint="of the frames")
    dataset.class_names, dataset.published_counts = ("a", "b", "c", "d", "e"), None
    document = run_document(method="bce", preset="r50", config=Config(), dataset=dataset, argv=["fit", "bce:r50"])
    assert document["settings"] == {"lr": 0.1, "lr_steps": [3, 4]}
    assert document["dataset"]["videos"] == [2, 0, 2]
    assert document["dataset"]["labels"] == labels_fingerprint([Split.labels, None, Split.labels])
    assert document["versions"]["vltr"] == vltr_eval.__version__
    assert (document["dataset"]["dim"], document["dataset"]["frames"]) == (7, "of the frames")
    assert document["data"] == {"folder": "/data/toy", "features": None}
    assert document["argv"] == ["fit", "bce:r50"]
    assert json.loads(json.dumps(document)) == document
    dataset.published_counts = np.array([9, 8, 7, 6, 5])
    published = run_document(method="bce", preset="r50", config=Config(), dataset=dataset, argv=["fit", "bce:r50"])
    assert published["dataset"].keys() - document["dataset"].keys() == {"counts"}


def test_the_fingerprint_is_of_the_labels():
    lists = [label_list([0, 1], [2]), label_list([0], [1, 2]), label_list([0, 1], [3])]
    several = [
        [lists[0]],
        [lists[1]],
        [lists[2]],
        [lists[0], None],
        [None, lists[0]],
        [label_list([0, 1], [2], num_classes=6)],
    ]
    assert len({labels_fingerprint(each) for each in several}) == len(several)
    narrow = SimpleNamespace(offsets=lists[0].offsets.astype(np.int32), classes=lists[0].classes, num_classes=5)
    assert labels_fingerprint([narrow]) == labels_fingerprint([lists[0]])


def test_a_new_run_is_found_again(tmp_path):
    RunFolder.create(tmp_path / "runs" / "a", DOCUMENT)
    run = RunFolder.open(tmp_path / "runs" / "a")
    assert RunFolder.is_at(tmp_path / "runs" / "a")
    assert not RunFolder.is_at(tmp_path / "runs")
    assert {**DOCUMENT, "format": run.document["format"]} == run.document
    assert run.epochs == []
    assert not run.has_checkpoint("checkpoint")


def test_a_run_is_replaced_only_when_asked(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.append_epoch({"epoch": 1})
    run.save_checkpoint("best", {})
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        ValueError, match=r"expected a folder without a run, .*resume=True .*overwrite=True \(--overwrite\)$"
    ):
        RunFolder.create(tmp_path, DOCUMENT)
    RunFolder.create(tmp_path, {**DOCUMENT, "method": "eql"}, overwrite=True)
    assert files_of(tmp_path) == ["config.json", "notes.txt"]
    assert RunFolder.open(tmp_path).document["method"] == "eql"


def test_places_that_cannot_hold_a_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be made the folder of a run"):
        RunFolder.create(tmp_path / "file", DOCUMENT)
    with pytest.raises(
        ValueError, match=r"expected the folder of a run, got one without config\.json; check its name$"
    ):
        RunFolder.open(tmp_path)
    with pytest.raises(ValueError, match=rf"got a file; give its folder {re.escape(str(tmp_path))}$"):
        RunFolder.open(tmp_path / "file")
    with pytest.raises(ValueError, match=r"missing: expected the folder of a run, got no such folder; check its name$"):
        RunFolder.open(tmp_path / "missing")
    RunFolder.create(tmp_path / "a", DOCUMENT)
    with pytest.raises(ValueError, match=r"; give one of the 1 folders in it, such as .*a$"):
        RunFolder.open(tmp_path)
    with pytest.raises(
        ValueError, match="document: expected the keys method, preset, settings, dataset, got none named"
    ):
        RunFolder.create(tmp_path / "b", {"method": "bce"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "vltr-train/run/99"}',
        "\x00",
        '{"format": "vltr-train/run/1"}',
        '{"format": "vltr-train/run/2"}',
    ],
)
def test_a_configuration_that_is_none_of_ours(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json: expected "):
        RunFolder.open(tmp_path)


# metrics.csv


def test_epochs_may_have_different_columns(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.append_epoch({"epoch": 1, "loss": 0.1 + 0.2})
    run.append_epoch({"epoch": 2, "loss": np.float64(0.5), "mAP": math.nan, "stage": "two, three"})
    run.append_epoch({"epoch": 5, "rate": 1e-20})
    text = (tmp_path / "metrics.csv").read_text()
    assert text == 'epoch,loss,mAP,stage,rate\n1,0.30000000000000004,,,\n2,0.5,nan,"two, three",\n5,,,,1e-20\n'
    first, second, third = RunFolder.open(tmp_path).epochs
    assert (first, third) == ({"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 5, "rate": 1e-20})
    assert math.isnan(second["mAP"])


def test_a_resumed_run_has_the_lines_of_an_uninterrupted_one(tmp_path):
    lines = [{"epoch": 1, "loss": 0.7}, {"epoch": 2, "loss": 0.6, "mAP": 1 / 3}, {"epoch": 3, "x": 1, "loss": 0.5}]
    whole = RunFolder.create(tmp_path / "whole", DOCUMENT)
    killed = RunFolder.create(tmp_path / "killed", DOCUMENT)
    for line in lines:
        whole.append_epoch(line)
        killed.append_epoch(line | {"gone": line["epoch"]} if line["epoch"] > 1 else line)
    unfinished = tmp_path / "killed" / ".checkpoint.pt.0a1b2c3d.unfinished"
    unfinished.write_bytes(b"half")
    resumed = RunFolder.open(tmp_path / "killed")
    resumed.rewind(1)
    assert not unfinished.exists()
    assert resumed.epochs == lines[:1]
    for line in lines[1:]:
        resumed.append_epoch(line)
    assert (tmp_path / "killed/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


def test_a_run_resumed_before_its_first_epoch(tmp_path):
    RunFolder.create(tmp_path, DOCUMENT).append_epoch({"epoch": 0})
    RunFolder.open(tmp_path).rewind(-1)
    run = RunFolder.open(tmp_path)
    assert run.epochs == []
    run.append_epoch({"epoch": 0})


def test_epochs_come_in_their_order(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    with pytest.raises(ValueError, match=r"^values: expected the key 'epoch' among them, got loss$"):
        run.append_epoch({"loss": 1})
    run.append_epoch({"epoch": 3})
    with pytest.raises(ValueError, match=r"^epoch: expected one above 3, got 3$"):
        run.append_epoch({"epoch": 3})


@pytest.mark.parametrize("text", ["loss\n1\n", "epoch\n1,2\n", "epoch\nnan\n", "\x00\n\x00\n"])
def test_metrics_that_are_none_of_ours(tmp_path, text):
    RunFolder.create(tmp_path, DOCUMENT)
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.csv: expected lines under a header"):
        RunFolder.open(tmp_path)


# Checkpoints


def test_a_checkpoint_has_the_same_bits(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "half": torch.tensor([0.1, math.nan]).bfloat16(),
        "plain": [1, 0.1, None, True, "text", (2, b"3"), OrderedDict(a=1)],
    }
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.save_checkpoint("best", state)
    assert run.has_checkpoint("best")
    loaded = RunFolder.open(tmp_path).load_checkpoint("best")
    assert loaded.keys() == state.keys()
    assert loaded["plain"] == state["plain"]
    assert torch.equal(loaded["rng"], state["rng"])
    assert torch.equal(loaded["half"].view(torch.int16), state["half"].view(torch.int16))
    assert torch.equal(loaded["optimizer"]["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert loaded["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    torch.load(tmp_path / "best.pt", weights_only=True)


def test_the_best_weights_wait_for_their_checkpoint(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)

    def save(name, epoch):
        run.save_checkpoint(name, {"epoch": epoch})

    save("next_best", 0)
    assert not run.has_checkpoint("best")  # a training that goes on begins anew
    save("checkpoint", 0)
    save("next_best", 2)
    save("next_best", 3)
    assert run.load_checkpoint("best") == {"epoch": 0}
    run.rewind(0)  # epochs 2 and 3 were abandoned
    save("checkpoint", 4)
    assert run.load_checkpoint("best") == {"epoch": 0}
    save("next_best", 5)
    run.rewind(5)  # killed between the checkpoint and the change of the name
    assert run.load_checkpoint("best") == {"epoch": 5}
    assert files_of(tmp_path) == ["best.pt", "checkpoint.pt", "config.json", "metrics.csv"]


@pytest.mark.parametrize(
    ("value", "key_path"),
    [
        ({"a": [np.zeros(2)]}, r"state\['x'\]\['a'\]\[0\]: expected tensors and plain containers, got ndarray"),
        (np.float64(1), r"state\['x'\]: .*, got float64"),
        (torch.float32, r"state\['x'\]: .*, got dtype"),
        ({(1, object()): 1}, r"a key of state\['x'\]\[1\]: .*, got object"),
    ],
)
def test_a_state_that_would_need_code_to_read(tmp_path, value, key_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    with pytest.raises(ValueError, match=f"^{key_path}"):
        run.save_checkpoint("checkpoint", {"x": value})
    assert files_of(tmp_path) == ["config.json"]


def test_damaged_and_foreign_checkpoints(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    path = tmp_path / "checkpoint.pt"
    run.save_checkpoint("checkpoint", {"x": torch.arange(1000)})
    whole = path.read_bytes()
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    torch.save({"x": torch.ones(2)}, tmp_path / "other.pt")
    foreign = [(tmp_path / name).read_bytes() for name in ("model.pt", "other.pt")]
    truncated = [whole[:length] for length in (0, 1, 100, len(whole) // 2, len(whole) - 1)]
    for content in [*truncated, *foreign, b"not a checkpoint", b"\x80\x02}q", bytes(500)]:
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"checkpoint\.pt: expected a checkpoint of vltr-train, got a truncated or foreign"
        ):
            run.load_checkpoint("checkpoint")


def test_a_flipped_bit_is_refused_or_means_nothing(tmp_path):
    """One bit in every few bytes of the file; torch.load alone returns other weights for most of them."""
    run = RunFolder.create(tmp_path, DOCUMENT)
    state = {"method": {"weight": torch.arange(400.0)}, "mAP": 0.5, "epoch": 3}
    run.save_checkpoint("best", state)
    path = run.checkpoint_file("best")
    whole = path.read_bytes()
    damaged = 0
    for offset in range(0, len(whole), 7):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1 << offset % 8]) + whole[offset + 1 :])
        try:
            found = run.load_checkpoint("best")
        except ValueError as error:
            assert str(error).startswith(f"{path}: expected ")  # noqa: PT017
            damaged += "so the file is damaged" in str(error)
        else:  # the bit is of padding or of a date
            assert torch.equal(found["method"]["weight"], state["method"]["weight"])
            assert (found["mAP"], found["epoch"]) == (0.5, 3)
    assert damaged > 200  # the weights alone are 1,600 bytes


def test_files_of_a_killed_process_are_removed(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    names = [".best.pt.0a1b2c3d.unfinished", ".config.json.ff.unfinished", ".metrics.csv.12.unfinished"]

    def leave():
        for name in names:
            (tmp_path / name).write_bytes(b"half")
        (tmp_path / ".mine.unfinished").write_bytes(b"")

    leave()
    RunFolder.start(tmp_path, run.document, is_first=False, resume=True, overwrite=False)
    assert set(names) < set(files_of(tmp_path))  # the first rank may be at work
    RunFolder.start(tmp_path, run.document, is_first=True, resume=True, overwrite=False)
    assert files_of(tmp_path) == [".mine.unfinished", "config.json"]
    leave()
    RunFolder.create(tmp_path, DOCUMENT, overwrite=True)
    assert files_of(tmp_path) == [".mine.unfinished", "config.json"]
    (tmp_path / "config.json").unlink()
    leave()
    RunFolder.create(tmp_path, DOCUMENT)
    assert files_of(tmp_path) == [".mine.unfinished", "config.json"]


def test_classes_of_other_names_are_refused(tmp_path):
    names = ("river", "crowd", "dolls")
    run = RunFolder.create(tmp_path, DOCUMENT | {"classes": classes_fingerprint(names)})
    run.check_classes(names)
    run.check_classes(("class0000", "class0001", "class0002"))  # that data has no names of its own
    with pytest.raises(ValueError, match="expected data with the class names of the training in their order"):
        run.check_classes(("crowd", "river", "dolls"))
    RunFolder.create(tmp_path / "old", DOCUMENT).check_classes(names)


@pytest.mark.parametrize("key", ["settings", "dataset", "method", "preset"])
def test_values_of_another_type_are_refused(tmp_path, key):
    RunFolder.create(tmp_path, DOCUMENT)
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(document | {key: 3}))
    with pytest.raises(ValueError, match=rf"config\.json: expected another type of {key}, got 3$"):
        RunFolder.open(tmp_path)


def test_deeply_nested_json_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json: expected the settings of a run, got deeply nested JSON"):
        RunFolder.open(tmp_path)


def test_a_checkpoint_that_is_not_there(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    with pytest.raises(ValueError, match=r"best\.pt: expected a checkpoint, got none; finish that run with"):
        run.load_checkpoint("best")
    with pytest.raises(ValueError, match=r"^name: .* got 'checkpoints'; did you mean checkpoint\?$"):
        run.has_checkpoint("checkpoints")


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.save_checkpoint("checkpoint", {"epoch": 1})

    def full_disk(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("unexpected pos 64 vs 0\nand a trace of C++")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written \(unexpected pos 64 vs 0\)$"):
        run.save_checkpoint("checkpoint", {"epoch": 2})
    assert run.load_checkpoint("checkpoint") == {"epoch": 1}
    assert files_of(tmp_path) == ["checkpoint.pt", "config.json"]


# Predictions and reports


def test_an_epoch_that_could_not_be_written_may_be_written_again(tmp_path, monkeypatch):
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.append_epoch({"epoch": 1, "loss": 2.0})
    written = (tmp_path / "metrics.csv").read_text()

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "_write_text", fail)
        with pytest.raises(KeyboardInterrupt):
            run.append_epoch({"epoch": 2, "loss": 1.0})
    assert (tmp_path / "metrics.csv").read_text() == written
    run.append_epoch({"epoch": 2, "loss": 1.5})
    assert (tmp_path / "metrics.csv").read_text() == written + "2,1.5\n"


def test_predictions_and_report_are_what_vltr_eval_takes(tmp_path):
    generator = np.random.default_rng(0)
    preds, labels = generator.normal(size=(20, 4)), (generator.random((20, 4)) < 0.4).astype(np.float32)
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.save_predictions(torch.from_numpy(preds), torch.from_numpy(labels))
    saved_preds, saved_labels = np.load(tmp_path / "preds.npy"), np.load(tmp_path / "labels.npy")
    assert (saved_preds.dtype, saved_labels.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(saved_preds, preds.astype(np.float32))
    np.testing.assert_array_equal(saved_labels, labels)
    report = dataclasses.replace(vltr_eval.evaluate(saved_preds, saved_labels), notes=("3 rows are left out",))
    assert not run.has_report
    run.save_report(report)
    assert run.has_report
    assert RunFolder.open(tmp_path).load_report() == report
    assert (tmp_path / "report.txt").read_text() == report.to_text() + "note: 3 rows are left out\n"


def test_predictions_and_reports_that_are_none(tmp_path):
    run = RunFolder.create(tmp_path, DOCUMENT)
    with pytest.raises(ValueError, match=r"^preds: expected \(n, C\) as labels \(3, 2\), got \(2, 3\)$"):
        run.save_predictions(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(
        ValueError, match=r": expected a finished run, got one without a report; finish that run with resume=True"
    ):
        run.load_report()
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ValueError, match=r"report\.json: report: expected schema"):
        run.load_report()


# TensorBoard


def scalars_of(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "events"))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_events_have_the_numbers_of_the_epochs(tmp_path):
    pytest.importorskip("tensorboard")
    with RunFolder.create(tmp_path, DOCUMENT) as run:
        assert run.scalars_are_written
        for epoch in (1, 2, 3):
            run.append_epoch({"epoch": epoch, "loss": 0.5 * epoch, "stage": "train"})
    with RunFolder.open(tmp_path) as run:
        run.rewind(1)
        run.append_epoch({"epoch": 2, "loss": 7.0})
    assert scalars_of(tmp_path, "loss") == [(1, 0.5), (2, 7.0)]
    RunFolder.create(tmp_path, DOCUMENT, overwrite=True)
    assert list((tmp_path / "events").iterdir()) == []


def test_without_tensorboard_there_are_no_events(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    run = RunFolder.create(tmp_path, DOCUMENT)
    run.append_epoch({"epoch": 1, "loss": 0.5})
    assert not run.scalars_are_written
    assert files_of(tmp_path) == ["config.json", "metrics.csv"]
