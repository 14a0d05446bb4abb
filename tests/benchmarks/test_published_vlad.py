"""The published NetVLAD and NeXtVLAD of the benchmark equal those of vltr_train, gradients included."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
import torch
from published import vlad

from vltr_train.aggregators import NetVLAD, NeXtVLAD, VideoClassifier

D, C = 16, 6


@pytest.mark.parametrize(
    ("published", "aggregator"),
    [
        (vlad.NetVLADClassifier(D, C), NetVLAD(D)),
        (vlad.NeXtVLADClassifier(D, C, dropout=0), NeXtVLAD(D, dropout=0)),
    ],
    ids=["netvlad", "nextvlad"],
)
def test_published_models_give_the_logits_and_gradients_of_ours(published, aggregator):
    ours = VideoClassifier(aggregator, C)
    weights = {key.removeprefix("aggregator."): value for key, value in ours.state_dict().items()}
    published.load_state_dict(weights)
    features = torch.randn(9, 5, D, generator=torch.Generator().manual_seed(0))
    found, expected = ours(features), published(features)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    for logits in (found, expected):
        logits.square().sum().backward()
    wanted = dict(published.named_parameters())
    for name, parameter in ours.named_parameters():
        grad = wanted[name.removeprefix("aggregator.")].grad
        size = grad.abs().max() + 1
        torch.testing.assert_close(parameter.grad / size, grad / size, rtol=1e-2, atol=1e-3)
