"""The published loop of the FrameStack benchmark computes the same as vltr_train: loss, gradients and running AP."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from published import framestack_loop
from published.torchnet import APMeter

from vltr_eval import RunningAP
from vltr_train.data.loader import Batch
from vltr_train.data.synth import synthesize
from vltr_train.method import Task
from vltr_train.methods import find_method

B, T, D, C = 10, 12, 8, 6


def make_batch(seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    targets = np.eye(C, dtype=np.float32)[rng.integers(0, C, B)]
    targets[::3, 0] = 1
    features = rng.standard_normal((B, T, D), np.float32)
    return Batch(torch.from_numpy(features), torch.from_numpy(targets), torch.arange(B))


def make_ours(rap_source: str):
    torch.manual_seed(0)
    kind = find_method("framestack")
    config = kind.Config(dropout=0.0, train_frames=T, rap_source=rap_source)
    return kind(config, Task(C, D, np.full(C, 10), (500, 100))).train()


def make_published(ours):
    """Return the published model with the same weights."""
    model = framestack_loop.NonlinearClassifier(D, C, dropout=0.0)
    model.hidden.load_state_dict(ours.model.aggregator.hidden.state_dict())
    model.classifier.load_state_dict(ours.model.classifier.state_dict())
    return framestack_loop.Step(model, torch.optim.SGD(model.parameters(), 0.0), APMeter())


@pytest.mark.parametrize("rap_source", ["clean_train_mode", "reuse"])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_step_is_that_of_ours(rap_source, epoch, monkeypatch):
    """The first epoch is not mixed. The second is mixed by the running AP of the first."""
    ours = make_ours(rap_source)
    step = make_published(ours)
    rap = torch.linspace(0, 0.9, C)
    ours.rap.copy_(rap)
    partner = torch.tensor([3, 1, 0, 4, 2])
    monkeypatch.setattr(torch, "randperm", lambda count, **_: partner[:count])
    ours.begin_epoch(epoch, 2 * B)
    for seed in range(2):
        batch = make_batch(seed)
        expected = step(batch.features, batch.targets, rap if epoch else None)
        loss = ours(batch)
        ours.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 20.0)
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        pairs = ((step.model.hidden, ours.model.aggregator.hidden), (step.model.classifier, ours.model.classifier))
        for theirs, layer in pairs:
            torch.testing.assert_close(layer.weight.grad, theirs.weight.grad, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(layer.bias.grad, theirs.bias.grad, rtol=1e-5, atol=1e-7)
    ours.end_epoch()
    torch.testing.assert_close(ours.rap, step.meter.value(), rtol=1e-6, atol=1e-6)


def test_running_ap_of_the_same_scores():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.permutation(200 * C).reshape(200, C).astype(np.float32))  # all distinct
    targets = torch.from_numpy((rng.random((200, C)) < [0.5, 0.2, 0.1, 0.05, 0.01, 0]).astype(np.float32))
    meter, running = APMeter(), RunningAP(C, 200)
    for rows in torch.arange(200).split(64):
        meter.add(scores[rows], targets[rows])
        running.update(scores[rows], targets[rows])
    torch.testing.assert_close(meter.value(), running.compute(absent="zero").float())


def test_epochs_learn_and_say_what_they_took(tmp_path):
    made = synthesize(tmp_path, scale=0.0005, dim=D, frames=20, layout="npy", dtype="float32")
    torch.manual_seed(0)
    epochs = framestack_loop.train_epochs(
        tmp_path / "train.lst", tmp_path / "features", made.num_classes, D, epochs=3, num_frames=T, lr=1e-2
    )
    assert epochs[-1].loss < epochs[0].loss
    assert epochs[-1].rap.shape == (made.num_classes,)
    for epoch in epochs:
        assert 0.9 * epoch.seconds < sum(epoch.parts.values()) <= epoch.seconds
