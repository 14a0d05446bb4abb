"""bfloat16 beside float32: the same directions of gradients and the same mAP, and a note where it is slow."""

from __future__ import annotations

import platform

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from short_runs import short_fit

from vltr_train.data.loader import Batch
from vltr_train.method import Task
from vltr_train.methods import find_method
from vltr_train.schedule import describe_precision


def gradient(aggregator, precision):
    torch.manual_seed(0)
    kind = find_method("bce")
    method = kind(kind.Config(aggregator=aggregator, dropout=0.0), Task(9, 64, np.arange(1, 10), (5, 3)))
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(32, 10, 64, generator=generator).relu()
    targets = (torch.rand(32, 9, generator=generator) < 0.2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        method(Batch(features, targets, torch.arange(32))).backward()
    return torch.cat([value.grad.flatten() for value in method.parameters()])


@pytest.mark.parametrize("aggregator", ["nonlinear", "netvlad"])
def test_gradients_of_bfloat16_point_the_same_way(aggregator):
    exact, rounded = (gradient(aggregator, precision) for precision in ("float32", "bfloat16"))
    assert not torch.equal(exact, rounded)
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0) > 0.99


@pytest.mark.parametrize("aggregator", ["nonlinear", "netvlad"])
def test_bfloat16_trains_to_about_the_same_map(tiny, tmp_path, aggregator):
    found = {
        precision: short_fit(
            "bce", tiny, tmp_path / precision, epochs=8, eval_every=8, aggregator=aggregator, precision=precision
        )
        for precision in ("float32", "bfloat16")
    }
    exact, rounded = (run.report.metrics()["mAP"] for run in found.values())
    assert exact != rounded
    assert rounded == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize(
    ("precision", "supported", "is_noted"),
    [("float32", False, False), ("bfloat16", False, True), ("bfloat16", True, False), ("float16", False, True)],
)
def test_a_cpu_without_the_instructions_is_noted(monkeypatch, precision, supported, is_noted):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_amx_fp16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: supported, raising=False)
    note = f"precision: this CPU has no instructions for {precision}, so it may be slower than float32"
    assert describe_precision(precision, torch.device("cpu")) == [note] * is_noted
    assert describe_precision(precision, torch.device("cuda")) == []


def test_another_architecture_has_no_note(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert describe_precision("bfloat16", torch.device("cpu")) == []
