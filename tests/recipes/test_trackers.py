"""Every recipe of docs/trackers.md runs as it stands there, and what the tracker stored is what the report says."""

from __future__ import annotations

import json
import os
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import vltr_eval

# Programs of the trackers that would look for a network, or that ask for consent.
os.environ |= {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_OFFLINE": "1",
}

PAGE = (Path(__file__).parents[2] / "docs" / "trackers.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
NAMES = ["playing violin", "dog", "dog", "a/b", "<b>", "never"]
NUM_CLASSES, NUM_FEATURES, BATCH = len(NAMES), 8, 8
OPTIONS = {"sap": "exact", "topk": (1, 3), "train_counts": [900, 800, 300, 200, 50, 40]}
EPOCH = 3

# Warnings of the trackers, which are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


def rows(count, seed):
    """Return features and labels; the last class never occurs, and the last batch is smaller than the others."""
    rng = np.random.default_rng(seed)
    labels = rng.random((count, NUM_CLASSES)) < 0.3
    labels[0], labels[1], labels[:, -1] = True, False, False
    return rng.normal(size=(count, NUM_FEATURES)).astype(np.float32), labels.astype(np.float32)


TRAIN, VAL = rows(40, 0), rows(50, 1)


@pytest.fixture(scope="module")
def report():
    scores = VAL[0][:, :NUM_CLASSES] + VAL[1]
    return vltr_eval.evaluate(scores, VAL[1], class_names=NAMES, interval=0.95, **OPTIONS)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the code of a section in an empty folder and gives the names it left."""
    monkeypatch.chdir(tmp_path)

    def run_section(title, **names):
        names["vltr_eval"] = vltr_eval
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(RECIPES[title], f"docs/trackers.md: {title}", "exec"), names)
        return names

    return run_section


def check_logged(found, expected, dtype=float):
    assert {name: dtype(value) for name, value in found.items()} == pytest.approx(
        {name: dtype(value) for name, value in expected.items()}, abs=0, rel=0, nan_ok=True
    )


def test_the_page_has_these_recipes():
    trackers = ["TensorBoard", "Weights & Biases", "MLflow"]
    trainers = ["Lightning", "Lightning callback", "Hugging Face Trainer", "Ignite", "Keras"]
    assert list(RECIPES) == [*trackers, *trainers]
    assert PAGE.count("```python") == len(RECIPES)


def test_the_report_has_hard_names_and_an_undefined_number(report):
    means = report.metrics("val/", per_class=True)
    assert {"val/Acc@1", "val/per_class/AP/1 dog", "val/per_class/AP/a/b"} <= means.keys()
    empty = vltr_eval.evaluate(*(array[:, [0, -1]] for array in (VAL[0], VAL[1])), train_counts=[900, 1])
    assert np.isnan(empty.metrics()["mAP_tail"])


@pytest.fixture(scope="module")
def undefined():
    """A report whose tail is an absent class, so that means are NaN."""
    scores, labels = VAL[0][:, [0, -1]], VAL[1][:, [0, -1]]
    found = vltr_eval.evaluate(scores, labels, sap=None, topk=(1,), train_counts=[900, 1], class_names=["a", "b"])
    assert np.isnan(found.metrics()["mAP_tail"])
    return found


class WithClasses:
    """A report whose `metrics` adds single classes, so that a recipe logs all names there are."""

    def __init__(self, report):
        self._report = report

    def metrics(self, prefix, **options):
        return self._report.metrics(prefix, per_class=True, **options)

    def __getattr__(self, name):
        return getattr(self._report, name)


@pytest.fixture(params=["means", "classes", "undefined"])
def logged(request, report, undefined):
    return {"means": report, "classes": WithClasses(report), "undefined": undefined}[request.param]


def test_tensorboard_stores_every_number(run, logged):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run("TensorBoard", report=logged, epoch=EPOCH)
    events = EventAccumulator("runs", size_guidance={"scalars": 0}).Reload()
    found = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    assert {(event.step, len(values)) for values in found.values() for event in values} == {(EPOCH, 1)}
    check_logged({name: values[0].value for name, values in found.items()}, logged.metrics("val/"), np.float32)


def offline_history(path):
    """Read the logged values of an offline run of W&B: records of LevelDB's log format, each a message of protobuf."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts, history = path.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        left = 2**15 - at % 2**15
        if left < 7:  # no room for a header in this block
            at += left
            continue
        size, kind = struct.unpack_from("<HB", data, at + 4)
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            record, parts = Record.FromString(parts), b""
            if record.HasField("history"):
                keys = [(list(item.nested_key) or [item.key], item.value_json) for item in record.history.item]
                history.append({key[0]: json.loads(value) for key, value in keys})
    return history


def test_weights_and_biases_stores_every_number(run, logged):
    recipe = run("Weights & Biases", report=logged, epoch=EPOCH)
    recipe["wandb"].teardown()  # wandb keeps the folder of the first run of a process
    (path,) = Path("wandb").glob("offline-run-*/*.wandb")
    (found,) = offline_history(path)
    assert found.pop("_step") == EPOCH
    check_logged({name: value for name, value in found.items() if name[0] != "_"}, logged.metrics("val/"))
    assert (path.parent / "files" / "per_class.csv").read_text(encoding="utf-8") == logged.to_csv()


def test_mlflow_stores_every_number(run, report, undefined, monkeypatch):
    assert "MLFLOW_ALLOW_FILE_STORE=true" in PAGE
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for logged in (report, WithClasses(report), undefined):  # MLflow keeps the folder of the first run of a process
        mlflow = run("MLflow", report=logged, epoch=EPOCH)["mlflow"]
        found = mlflow.MlflowClient().get_run(mlflow.last_active_run().info.run_id)
        check_logged(found.data.metrics, logged.metrics("val/", style="safe"))
        (history,) = mlflow.MlflowClient().get_metric_history(found.info.run_id, "val/Acc_at_1")
        assert history.step == EPOCH
        assert mlflow.artifacts.load_text(f"{found.info.artifact_uri}/per_class.csv") == logged.to_csv()


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, features, labels=None):
        scores = self.linear(features)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels)
        return {"loss": loss, "logits": scores}


def expected_means(model):
    with torch.no_grad():
        scores = model.linear(torch.from_numpy(VAL[0]))
    return vltr_eval.evaluate(scores, VAL[1], **OPTIONS).metrics()


def loaders():
    from torch.utils.data import DataLoader, TensorDataset

    return [DataLoader(TensorDataset(*map(torch.from_numpy, data)), batch_size=BATCH) for data in (TRAIN, VAL)]


@pytest.mark.parametrize("title", ["Lightning", "Lightning callback"])
def test_lightning_logs_each_epoch(run, title):
    import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Model()
            self.seen = []

        def training_step(self, batch):
            return self.model(*batch)["loss"]

        def validation_step(self, batch):
            return {"scores": self.model(*batch)["logits"], "labels": batch[1]}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.5)

        def on_validation_end(self):
            self.seen.append((dict(self.trainer.callback_metrics), expected_means(self.model)))

    recipe, callbacks = run(title), []
    if title == "Lightning":
        WithMetrics = recipe["WithLongTailMetrics"]

        class Module(Module, WithMetrics):  # the validation is that of the recipe
            def __init__(self):
                WithMetrics.__init__(self, NUM_CLASSES, **OPTIONS)
                self.model, self.seen = Model(), []

            def forward(self, features):
                return self.model.linear(features)

            validation_step = WithMetrics.validation_step

    else:
        callbacks = [recipe["LongTailValidation"](NUM_CLASSES, **OPTIONS)]
    checkpoint = lightning.callbacks.ModelCheckpoint("best", "best", monitor="val/mAP", mode="max")
    module = Module()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        callbacks=[*callbacks, checkpoint],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, *loaders())
    epochs = module.seen[1:]  # Lightning validates two batches before the training
    assert len(epochs) == 2
    for found, means in epochs:
        found = {name: value for name, value in found.items() if name.startswith("val/")}
        check_logged(found, {f"val/{name}": value for name, value in means.items()}, np.float32)
    assert epochs[0][1] != epochs[1][1]
    assert float(checkpoint.best_model_score) == np.float32(max(means["mAP"] for _, means in epochs))


def test_ignite_has_every_number_after_each_run(run):
    model = Model().linear.requires_grad_(False)
    recipe = run("Ignite", model=model, num_classes=NUM_CLASSES)
    validator = recipe["Engine"](lambda engine, batch: (model(batch[0]), batch[1]))
    recipe["LongTailMetric"](NUM_CLASSES, prefix="val/", **OPTIONS).attach(validator, "long_tail")
    loader = loaders()[1]
    for _ in range(2):
        found = dict(validator.run(loader).metrics)
        means = expected_means(Model())
        assert found.pop("long_tail") == found
        check_logged(found, {f"val/{name}": value for name, value in means.items()})
    default = recipe["validator"].run(loader).metrics  # as it stands in the recipe
    assert isinstance(default["long_tail"], Mapping)
    assert default["val/mAP"] == found["val/mAP"]


def test_keras_has_every_number_after_each_epoch(run):
    recipe = run("Keras")
    keras = recipe["keras"]
    assert keras.backend.backend() == "torch"
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((NUM_FEATURES,)), keras.layers.Dense(NUM_CLASSES)])
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss=loss)
    expected = []

    class Expected(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            scores = np.concatenate([self.model.predict_on_batch(inputs) for inputs, _ in batches])
            expected.append(vltr_eval.evaluate(scores, VAL[1], **OPTIONS).metrics("val_"))

    batches = [tuple(part.numpy() for part in batch) for batch in loaders()[1]]
    best = keras.callbacks.ModelCheckpoint("best.keras", monitor="val_mAP", mode="max", save_best_only=True)
    callbacks = [recipe["LongTailValidation"](batches, NUM_CLASSES, **OPTIONS), Expected(), best]
    history = model.fit(*TRAIN, batch_size=BATCH, epochs=2, verbose=0, callbacks=callbacks).history
    for epoch, means in enumerate(expected):
        check_logged({name: history[name][epoch] for name in means}, means)
    assert expected[0] != expected[1]
    assert best.best == max(means["val_mAP"] for means in expected)
    assert Path("best.keras").exists()


DATASETS = [[{"features": x, "labels": y} for x, y in zip(*part, strict=True)] for part in (TRAIN, VAL)]


def test_hugging_face_trainer_logs_each_epoch(run):
    from transformers import TrainerCallback

    expected = []

    class Expected(TrainerCallback):
        def on_evaluate(self, args, state, control, model, **others):
            expected.append(expected_means(model))

    train, val = DATASETS
    recipe = run("Hugging Face Trainer", model=Model(), train=train, val=val, num_classes=NUM_CLASSES)
    # The recipe has no options of the report, which are those of the Evaluator.
    recipe["evaluator"] = vltr_eval.Evaluator(NUM_CLASSES, sync_on_compute=False, **OPTIONS)
    trainer = recipe["trainer"]
    trainer.args.learning_rate = 0.5
    assert len(VAL[0]) % trainer.args.per_device_eval_batch_size != 0
    trainer.add_callback(Expected)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_mAP" in entry]
    assert len(logged) == len(expected) == 3
    for entry, means in zip(logged, expected, strict=True):
        check_logged({name: entry[f"eval_{name}"] for name in means}, means)
    assert logged[0]["eval_mAP"] != logged[-1]["eval_mAP"]


@pytest.mark.parametrize("is_prepared", [True, False])
def test_hugging_face_trainer_needs_a_prepared_loader(run, is_prepared):
    train, val = DATASETS
    recipe = run("Hugging Face Trainer", model=Model(), train=train, val=val, num_classes=NUM_CLASSES)
    calls = []

    def compute_metrics(batch, compute_result):
        calls.append(compute_result)
        return recipe["compute_metrics"](batch, compute_result)

    class OwnLoader(recipe["Trainer"]):
        def get_eval_dataloader(self, eval_dataset=None):
            loader = torch.utils.data.DataLoader(val, batch_size=BATCH)
            return self.accelerator.prepare(loader) if is_prepared else loader

    arguments = recipe["arguments"]
    arguments.num_train_epochs = 1
    trainer = OwnLoader(Model(), arguments, train_dataset=train, eval_dataset=val, compute_metrics=compute_metrics)
    assert ("eval_mAP" in trainer.evaluate()) == is_prepared
    recipe["evaluator"].reset()
    trainer.train()
    num_batches = -(-len(val) // BATCH)
    last_only = [False] * (num_batches - 1) + [True]
    assert calls == (last_only * 2 if is_prepared else [False] * num_batches + [True] * num_batches)
