"""Every method, found by its file, learns, repeats to the bit, and resumes where it was stopped."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from short_runs import assert_same_run, fit_with_stops, metrics_of, same, short_fit, short_settings

from vltr_train.method import Method
from vltr_train.methods import all_methods
from vltr_train.settings import config_from_document, settings_document

METHODS = all_methods()


@pytest.fixture(scope="module", params=METHODS)
def method(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(method, tiny, tmp_path_factory):
    """A short run of the method."""
    return short_fit(method, tiny, tmp_path_factory.mktemp("runs") / method)


def test_configurations_round_trip_through_json(method):
    kind = METHODS[method]
    configs = [kind.Config(), kind.Config(**short_settings(method))]
    configs += [kind.Config(**preset.settings) for preset in kind.presets.values()]
    for config in configs:
        assert config_from_document(kind.Config, json.loads(json.dumps(settings_document(config)))) == config


SETTLED = {"scales"}
"""Stages that train one number a class of a frozen model: these settle within the first epoch (see test_lws)."""


def test_loss_falls_in_every_stage(run):
    losses: dict[str, list[float]] = {}
    for line in run.folder.epochs:
        losses.setdefault(line["stage"], []).append(line["loss"])
    assert list(losses) == [stage.name for stage in run.method.stages()]
    for stage, of_stage in losses.items():
        assert len(of_stage) > 1
        if stage not in SETTLED:
            assert of_stage[-1] < 0.95 * of_stage[0]


def test_predictions_are_float32_of_the_test_split(run, tiny):
    preds, labels = (np.load(run.folder.path / f"{name}.npy") for name in ("preds", "labels"))
    assert preds.dtype == np.float32
    assert np.isfinite(preds).all()
    np.testing.assert_array_equal(labels, tiny.test.labels.multi_hot(dtype=np.uint8))
    assert preds.shape == labels.shape


def test_a_seed_repeats_to_the_bit(run, method, tiny, tmp_path):
    again = short_fit(method, tiny, tmp_path / "again")
    assert_same_run(run.folder.path, again.folder.path)
    assert same(run.method.state_dict(), again.method.state_dict())


def test_seeds_differ(run, method, tiny, tmp_path):
    other = short_fit(method, tiny, tmp_path / "other", seed=4, epochs=2)
    ours, theirs = run.folder.load_checkpoint("best")["method"], other.folder.load_checkpoint("best")["method"]
    assert not any(same(value, theirs[name]) for name, value in ours.items() if name.endswith("weight"))
    assert metrics_of(run.folder.path)[0]["loss"] != metrics_of(other.folder.path)[0]["loss"]


def test_a_run_that_is_stopped_goes_on_to_the_bit(run, method, tiny, tmp_path, monkeypatch):
    stops = fit_with_stops(monkeypatch, "after each epoch", method, tiny, tmp_path / "stopped")
    assert stops == len(run.folder.epochs)
    assert_same_run(run.folder.path, tmp_path / "stopped")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("move", {}), ("framestack", {"aggregator": "netvlad"}), ("bce", {"aggregator": "nextvlad"})],
)
def test_a_run_with_vlad_that_is_stopped_goes_on_to_the_bit(name, settings, tiny, tmp_path, monkeypatch):
    """With as many clusters as make its large layer use the memory of the step before."""
    settings = {"clusters": 64, "epochs": 2} | settings
    short_fit(name, tiny, tmp_path / "whole", **settings)
    assert fit_with_stops(monkeypatch, "in each epoch", name, tiny, tmp_path / "stopped", **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_mixed_precision(method, tiny, tmp_path):
    run = short_fit(method, tiny, tmp_path / "mixed", precision="bfloat16", epochs=2)
    preds = np.load(run.folder.path / "preds.npy")
    assert all(math.isfinite(line["loss"]) for line in run.folder.epochs)
    assert all(value.dtype == torch.float32 for value in run.method.parameters())
    assert preds.dtype == np.float32
    assert len(np.unique(preds)) > 0.9 * preds.size  # bfloat16 would have some hundred values


def test_every_method_is_one():
    assert METHODS
    assert all(issubclass(kind, Method) for kind in METHODS.values())
