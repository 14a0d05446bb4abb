"""The evaluation of PANNs against its definition, and what it prints."""

from __future__ import annotations

import re

import numpy as np
import pytest
import small_inputs

torch = pytest.importorskip("torch")

from published.panns import Evaluator as Original  # noqa: E402

from vltr_eval.compat.panns import Evaluator, forward  # noqa: E402


class Model(torch.nn.Linear):
    """Returns its input as scores."""

    def __init__(self, *extra):
        super().__init__(1, 1)
        self.extra = extra

    def forward(self, waveform):
        assert not torch.is_grad_enabled()
        assert not self.training
        outputs = {"clipwise_output": waveform, "framewise_output": waveform[:, None], "segmentwise_output": -waveform}
        return {key: value for key, value in outputs.items() if key in ("clipwise_output", *self.extra)}


def batches(scores, labels, rows=5):
    names = np.array([f"clip{i}" for i in range(len(scores))])
    return [
        {"audio_name": names[i : i + rows], "waveform": scores[i : i + rows], "target": labels[i : i + rows]}
        for i in range(0, len(scores), rows)
    ]


# Means of Evaluator of qiuqiangkong/audioset_tagging_cnn@d2f4b8c1 with scikit-learn 1.9.1. B has an absent class.
RECORDED = {"A": (0.82659632, 0.76931217), "B": (0.57533872, np.nan), "C": (0.62959656, 0.70595238)}


@pytest.mark.parametrize("name", "ABC")
@pytest.mark.filterwarnings("ignore")
def test_small_inputs_give_the_recorded_means(name):
    data = batches(getattr(small_inputs, name), getattr(small_inputs, f"LABELS_{name}"))
    found = Evaluator(Model()).evaluate(data)
    assert list(found) == ["average_precision", "auc"]
    means = [float(np.mean(values)) for values in found.values()]
    assert means == pytest.approx(RECORDED[name], abs=5e-9, nan_ok=True)


@pytest.mark.parametrize("classes", [1, 3])
def test_statistics_and_prints_are_those_of_the_definition(classes, capsys):
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=(57, classes)).astype(np.float32), rng.random((57, classes)) < 0.4
    found = Evaluator(Model("framewise_output")).evaluate(batches(scores, labels))
    mine = capsys.readouterr().out
    expected = Original(Model()).evaluate(batches(scores, labels))
    theirs = capsys.readouterr().out
    for key, values in expected.items():
        assert type(found[key]) is type(values)
        np.testing.assert_allclose(found[key], values, rtol=0, atol=1e-14)
    timeless = [re.sub(r"[\d.]+ s", "T", text) for text in (mine, theirs)]
    assert timeless[0] == timeless[1]
    assert mine.count("\n") == 12 + 2


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_forward_returns_the_rows_of_all_batches(dtype):
    scores, labels = np.arange(14).reshape(7, 2).astype(dtype), np.ones((7, 2), bool)
    model = Model("framewise_output", "segmentwise_output")
    found = forward(model, batches(scores, labels), True, True)
    assert list(found) == [
        *("audio_name", "clipwise_output", "segmentwise_output", "framewise_output", "waveform", "target")
    ]
    assert found["audio_name"].tolist() == [f"clip{i}" for i in range(7)]
    assert found["clipwise_output"].dtype == (np.float32 if dtype == "float64" else np.int64)
    assert np.array_equal(found["framewise_output"][:, 0], scores)
    assert np.array_equal(found["segmentwise_output"], -scores)
    assert found["waveform"].dtype == dtype
    assert found["target"].dtype == bool
    assert list(forward(Model(), batches(scores, labels))) == ["audio_name", "clipwise_output"]


def test_a_model_that_writes_to_its_input_leaves_the_batch():
    class Writes(Model):
        def forward(self, waveform):
            return {"clipwise_output": waveform.mul_(2)}

    data = batches(np.ones((2, 2), np.float32), np.eye(2))
    forward(Writes(), data)
    assert data[0]["waveform"].tolist() == [[1, 1], [1, 1]]


def test_batches_may_come_with_the_evaluator_and_labels_must():
    data = batches(small_inputs.A, small_inputs.LABELS_A)
    assert str(Evaluator(Model(), data).evaluate()) == str(Evaluator(Model()).evaluate(data))
    with pytest.raises(TypeError, match="data_loader: expected batches"):
        Evaluator(Model()).evaluate()
    for batch in data:
        del batch["target"]
    with pytest.raises(KeyError, match="target"):
        Evaluator(Model()).evaluate(data)
