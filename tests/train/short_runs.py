"""Trainings of a fraction of a second, and what tests compare of them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from vltr_train.engine import Run, fit
from vltr_train.methods import find_method
from vltr_train.runs.run_folder import RunFolder

SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "eval_every": 1,
    "batch_size": 64,
    "lr": 0.01,
    "train_frames": 8,
    "test_frames": 12,
    "seed": 3,
}
TIMES = ("seconds", "videos_per_second")


def short_settings(method: str, **changes: Any) -> dict[str, Any]:
    """Settings of a short run; other stages are short too, their batches small, their rates large, and widths small."""
    names = [entry.name for entry in fields(find_method(method.partition(":")[0]).Config)]
    stages = {name: 2 for name in names if name.endswith("_epochs") and name != "warm_epochs"}
    batches = {name: SETTINGS["batch_size"] for name in names if name.endswith("_batch_size")}
    rates = {name: SETTINGS["lr"] for name in names if name == "expert2_lr"}
    widths = {name: 32 for name in names if name == "embedding_dim"}
    return SETTINGS | stages | batches | rates | widths | changes


def short_fit(method: str, dataset: Any, folder: Path, **changes: Any) -> Run:
    """A short run on the CPU. changes: of its settings, and of how `fit` is called."""
    return fit(method, dataset, folder, **{"device": "cpu", "quiet": True} | short_settings(method, **changes))


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.csv but for times."""
    lines = RunFolder.open(folder).epochs
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, state of the optimizer, metrics and predictions are equal to the last bit."""
    assert metrics_of(one) == metrics_of(other)
    for name in ("checkpoint", "best"):
        assert same(RunFolder.open(one).load_checkpoint(name), RunFolder.open(other).load_checkpoint(name)), name
    for name in ("preds.npy", "labels.npy", "report.json", "report.txt"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


class Stopped(BaseException):
    """In the place of a signal."""


def fit_with_stops(monkeypatch: Any, place: str, method: str, dataset: Any, folder: Path, **changes: Any) -> int:
    """A short run that is stopped in every epoch once, and resumed each time; returns how often that was.

    place: "after each epoch", "before each checkpoint" (what an epoch gave has been written but for it) or "in each
    epoch", after some steps.
    """
    kind, save = find_method(method), RunFolder.save_checkpoint
    reached = set()

    def stop_once(place_reached: str, epoch: int) -> None:
        if place_reached == place and epoch not in reached:
            reached.add(epoch)
            raise Stopped

    def save_with_stops(self: RunFolder, name: str, state: dict[str, Any]) -> None:
        if name == "checkpoint":
            stop_once("before each checkpoint", state["total"])
        save(self, name, state)
        if name == "checkpoint":
            stop_once("after each epoch", state["total"])

    def forward_with_stops(self: Any, *batches: Any) -> torch.Tensor:
        steps.append(1)
        if len(steps) % 17 == 0:  # an epoch has 11 or 12
            stop_once("in each epoch", len(steps))
        return forward(self, *batches)

    steps: list[int] = []
    forward = kind.forward
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", save_with_stops)
        patch.setattr(kind, "forward", forward_with_stops)
        while True:
            try:
                short_fit(method, dataset, folder, resume=RunFolder.is_at(folder), **changes)
                return len(reached)
            except Stopped:
                pass
