"""The published step of the MOVE benchmark equals that of vltr_train with protocol=official."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
import bench_move
import torch
from published import move_loop

from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods import find_method, move

B, T, D, C = 9, 12, 8, 6
COUNTS = np.array([600, 300, 120, 60, 20, 5])


def make_batch() -> tuple[Batch, list[list[int]]]:
    """Make clips; every third one has two labels."""
    rng = np.random.default_rng(0)
    labels = [[int(c)] for c in rng.integers(0, C - 1, B)]
    for row in range(0, B, 3):
        labels[row].append(C - 1)
    targets = np.zeros((B, C), np.float32)
    for row, classes in enumerate(labels):
        targets[row, classes] = 1
    features = rng.standard_normal((B, T, D), np.float32)
    return Batch(torch.from_numpy(features), torch.from_numpy(targets), torch.arange(B)), labels


def make_both(counts):
    """Make vltr's method with official settings, and the published model with the same weights; no dropout."""
    torch.manual_seed(0)
    kind = find_method("move")
    ours = kind(kind.Config(**kind.official, train_frames=T, dropout=0.0), Task(C, D, counts, (500, 100))).train()
    theirs = move_loop.Model(D, C, dropout=0.0, attention_dropout=0.0)
    for module in ours.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    theirs.load_state_dict(ours.model.state_dict())
    bounds, factors = move_loop.class_constants(counts, T)
    optimizer = torch.optim.SGD(theirs.parameters(), 0.0)
    return ours, move_loop.Step(theirs, optimizer, bounds, factors, move_loop.ClassMeters(C))


@pytest.mark.parametrize("whole", [False, True], ids=["sampled", "whole"])
def test_a_step_is_that_of_ours(whole, monkeypatch):
    ours, step = make_both(COUNTS)
    batch, labels = make_batch()
    random.seed(0)
    drawn = move_loop.draw_frames(labels, step.bounds, T)
    if whole:
        drawn = [[*lists[:3], list(range(T)), list(range(T))] for lists in drawn]
    masks = torch.zeros(B, 5, T, dtype=torch.bool)
    for row, lists in enumerate(drawn):
        for mask, picks in enumerate(lists):
            masks[row, mask, picks] = True
    partner, shares = torch.tensor([3, 1, 0, 4, 2, 5, 8, 7, 6]), [0.3, 0.8]
    monkeypatch.setattr(move, "dynamic_frame_masks", lambda *_, **__: masks.clone())
    monkeypatch.setattr(torch, "randperm", lambda count, **_: partner[:count])
    sampled = iter(shares)
    sample = SimpleNamespace(sample=lambda shape: torch.tensor(next(sampled)))
    monkeypatch.setattr(move, "Beta", lambda *_, **__: sample)

    expected = step(
        batch.features, batch.targets, labels, drawn=drawn, beyond=1 + shares[0], partner=partner, share=shares[1]
    )
    ours.begin_epoch(0, B)
    loss = ours(batch)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    theirs = dict(step.model.named_parameters())
    for name, parameter in ours.model.named_parameters():
        if parameter.requires_grad:
            largest = theirs[name].grad.abs().max().item()
            assert largest > 0, name
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-5 * largest, msg=name)
        else:
            assert theirs[name].grad is None, name


def test_constants_of_classes_are_those_of_ours():
    ours, step = make_both(COUNTS)
    assert ours.bounds.tolist() == pytest.approx(step.bounds, rel=1e-12)
    torch.testing.assert_close(ours.factors, step.factors)


def test_frames_are_drawn_within_their_bounds():
    random.seed(0)
    labels, bounds = [[0], [1], [0, 1]], [3.9, 12]
    drawn = [move_loop.draw_frames(labels, bounds, T) for _ in range(200)]
    sizes = np.array([[[len(set(picks)) for picks in lists] for lists in batch] for batch in drawn])
    assert sizes.min(axis=(0, 2)).tolist() == [3, 12, 7]
    assert sizes.max(axis=(0, 2)).tolist() == [12, 12, 12]


def test_meters_of_classes():
    meters = move_loop.ClassMeters(C)
    logits = torch.tensor([[3.0, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5]])
    targets = torch.tensor([[1.0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    meters.add(logits, targets, [[0, 2], [0]])
    assert meters.hits[1].tolist() == [1, 0, 1, 0, 0, 0]
    assert meters.hits[5].tolist() == [1, 0, 1, 0, 0, 0]
    assert meters.videos.tolist() == [2, 0, 1, 0, 0, 0]
    scores = torch.sigmoid(logits)
    torch.testing.assert_close(meters.scores[:3], torch.stack([scores[:, 0].sum(), torch.tensor(0.0), scores[0, 2]]))
    torch.testing.assert_close(meters.scores_of_all, scores.sum(0))


def test_the_benchmark_times_both(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_move.py", "--quick", "--threads", "1", "--out", str(tmp_path)])
    monkeypatch.setattr(bench_move, "in_process", lambda function, *rest: function(*rest))
    bench_move.main()
    text = capsys.readouterr().out
    (written,) = tmp_path.iterdir()
    assert written.read_text() == text
    for row in bench_move.ROWS:
        assert text.count(f"| {row.title} |") == 2
