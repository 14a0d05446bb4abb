"""Published code runs on random and adversarial inputs; `conventions` has its number, or an interval around it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from published_calls import ORIGINALS

from vltr_eval import conventions

# Warnings of the originals are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

TOLERANCE = 1e-6  # originals that compute in float32


def random_input(seed, rows, classes, levels, rate, low=0.0, high=1.0):
    """Return scores that float32 holds exactly, and labels; few levels make many ties."""
    rng = np.random.default_rng(seed)
    scores = np.round((low + (high - low) * rng.integers(0, levels + 1, (rows, classes)) / levels) * 4096) / 4096
    return scores, (rng.random((rows, classes)) < rate).astype(np.int64)


def with_labels(pair, change):
    scores, labels = pair
    labels = labels.copy()
    change(labels)
    return scores, labels


def clear_class(labels):
    labels[:, 1] = 0


def fill_class(labels):
    labels[:, 1] = 1


def clear_rows(labels):
    labels[::3] = 0


INPUTS = {
    "no ties": random_input(1, 40, 5, 4096, 0.3),
    "ties": random_input(2, 40, 5, 10, 0.3),
    "many ties": random_input(3, 60, 4, 3, 0.4),
    "logits": random_input(4, 40, 5, 4096, 0.3, -8.0, 8.0),
    "saturated logits": random_input(5, 40, 5, 64, 0.3, -40.0, 40.0),
    "tied logits": random_input(6, 40, 4, 6, 0.3, -3.0, 3.0),
    "absent class": with_labels(random_input(7, 40, 5, 20, 0.3), clear_class),
    "full class": with_labels(random_input(8, 40, 5, 20, 0.3), fill_class),
    "rows without labels": with_labels(random_input(9, 40, 5, 20, 0.3), clear_rows),
    "one score": (np.full((12, 3), 0.5), random_input(10, 12, 3, 2, 0.5)[1]),
    "one class": random_input(11, 30, 1, 15, 0.4),
    "rare classes": random_input(12, 60, 8, 30, 0.06),
    "many positives": random_input(13, 40, 4, 30, 0.9),
}
INPUTS |= {f"random {seed}": random_input(100 + seed, 25, 4, (5, 50, 500)[seed % 3], 0.35) for seed in range(6)}
RESULTS = {}


def result_of(name):
    if name not in RESULTS:
        RESULTS[name] = conventions(*INPUTS[name], threads=1)
    return RESULTS[name]


def is_defined(scope, labels):
    """Whether the original takes labels: some need several classes, or positives and negatives in each."""
    counts = labels.sum(axis=0)
    if scope == "several":
        return labels.shape[1] > 1
    if scope == "multi-class":
        rows = labels.any(axis=1)
        last = labels.shape[1] - 1 - np.argmax(labels[rows][:, ::-1], axis=1)
        return labels.shape[1] > 2 and len(set(last.tolist())) == labels.shape[1]
    if scope in ("present", "both"):
        return bool((counts > 0).all()) and (scope == "present" or bool((counts < len(labels)).all()))
    return True


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("key", "original"), ORIGINALS, ids=[original for _, original in ORIGINALS])
def test_originals_have_the_number_of_their_convention(key, original, name):
    function, scope = ORIGINALS[key, original]
    scores, labels = INPUTS[name]
    value = result_of(name)[key]
    if not is_defined(scope, labels):
        assert value.why or scope in ("several", "multi-class")
        return
    number = function(scores, labels)
    if value.why.startswith("nan"):
        assert math.isnan(number)
    else:
        assert not value.why
        assert value.low - TOLERANCE <= number <= value.high + TOLERANCE
        assert value.is_interval or value.low == pytest.approx(number, abs=TOLERANCE)


# ranx compiles for more than a minute, and catboost is large, so their numbers are recorded: versions 0.3.21 and 1.2.10
# on these inputs.
RANX = {
    "ties": (0.37402876346598724, 0.5056597222222222),
    "many ties": (0.443727823752048, 0.6050925925925925),
    "random 0": (0.30659320639984616, 0.4077777777777778),
    "absent class": (0.2702142462708156, 0.36649305555555556),
}
CATBOOST = {
    "ties": (0.3609719577609306, 0.3248162769677144),
    "many ties": (0.467585564856074, 0.3319001554024846),
    "tied logits": (0.4088817341435854, 0.3343135344188252),
    "full class": (0.49973312439339884, 0.4911908220356042),
    "random 0": (0.3473069126640555, 0.28086869343697074),
}
RECORDED = {("step-unstable-zero", "rows-unstable"): RANX, ("trapezoid-error", "step-worst-zero"): CATBOOST}


@pytest.mark.parametrize(("keys", "name"), [(keys, name) for keys, numbers in RECORDED.items() for name in numbers])
def test_recorded_numbers_are_those_of_the_conventions(keys, name):
    for key, number in zip(keys, RECORDED[keys][name], strict=True):
        value = result_of(name)[key]
        assert value.low - TOLERANCE <= number <= value.high + TOLERANCE


def test_inputs_decide_between_conventions():
    """The inputs tell all conventions apart that differ: none agrees with another one on all of them."""
    groups = {}
    for key in {key for key, _ in ORIGINALS}:
        values = tuple((round(result_of(name)[key].low, 6), round(result_of(name)[key].high, 6)) for name in INPUTS)
        groups.setdefault(str(values), []).append(key)
    assert [keys for keys in groups.values() if len(keys) > 1] == []
