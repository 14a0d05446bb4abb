"""Every evaluation function takes the same options; the error for a wrong name suggests the nearest one."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

import vltr_eval
from vltr_eval import EvalOptions, EvalOptionsDict, Evaluator, distributed, evaluate, evaluate_batches
from vltr_eval._engine import results
from vltr_eval.report.names import METRICS

SCORES, LABELS = np.float32([[0.9, 0.1], [0.8, 0.7], [0.7, 0.2]]), np.uint8([[1, 0], [0, 1], [1, 0]])
DOORS = {
    "evaluate": lambda **options: evaluate(SCORES, LABELS, **options),
    "Evaluator": lambda **options: Evaluator(2, **options),
    "evaluate_batches": lambda **options: evaluate_batches([(SCORES, LABELS)], 2, **options),
    "distributed.evaluate": lambda **options: distributed.evaluate(SCORES, LABELS, **options),
}
NAMES = (
    "sap, seed, topk, train_counts, bounds, class_names, absent, interval, groups, thresholds, allow_same_set, "
    "calibration"
)


def test_keywords_have_the_names_and_types_of_the_dataclass():
    types = {name: hint.__forward_arg__ for name, hint in EvalOptionsDict.__annotations__.items()}
    assert types == {option.name: option.type for option in fields(EvalOptions)}
    assert ", ".join(types) == NAMES


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("wrong", "right"), [("top_k", "topk"), ("traincounts", "train_counts"), ("SEED", "seed"), ("bound", "bounds")]
)
def test_the_error_for_a_wrong_name_suggests_the_nearest(door, wrong, right):
    with pytest.raises(TypeError, match=rf"^{wrong}: expected one of {NAMES}, .*; did you mean {right}\?$"):
        DOORS[door](**{wrong: 1})


def test_a_name_far_from_all_has_no_suggestion():
    with pytest.raises(TypeError, match=rf"^xyz: expected one of {NAMES}, unknown, process_group, threads, progress$"):
        evaluate_batches([(SCORES, LABELS)], 2, xyz=1)


def test_other_keywords_of_the_function_are_suggested_too():
    with pytest.raises(TypeError, match=r"; did you mean label_form\?$"):
        evaluate(SCORES, LABELS, labelform="dense")
    with pytest.raises(TypeError, match=r"; did you mean process_group\?$"):
        Evaluator(2, processgroup=None)


def test_a_wrong_name_is_noticed_before_a_file_is_read(tmp_path):
    with pytest.raises(TypeError, match=r"did you mean topk\?$"):
        evaluate(tmp_path / "none.npy", tmp_path / "none.npy", topks=(1,))


def test_options_given_as_their_defaults_change_nothing():
    defaults = {option.name: option.default for option in fields(EvalOptions)}
    expected = evaluate(SCORES, LABELS)
    assert evaluate(SCORES, LABELS, **defaults) == expected
    assert evaluate_batches([(SCORES, LABELS)], 2, **defaults) == expected
    assert distributed.evaluate(SCORES, LABELS, **defaults) == expected


@pytest.mark.parametrize("function", [evaluate, Evaluator, evaluate_batches, distributed.evaluate])
def test_signatures_name_the_type_of_the_options(function):
    options = inspect.signature(function).parameters["options"]
    assert (options.kind, options.annotation) == (options.VAR_KEYWORD, "Unpack[EvalOptionsDict]")
    assert "see `EvalOptions`" in inspect.getdoc(function)


def test_options_of_reading_shards_suggest_the_nearest_name():
    with pytest.raises(TypeError, match=r"^colums: expected one of columns, .*; did you mean columns\?$"):
        vltr_eval.ShardFiles("a", "b", colums="a")


def test_every_metric_of_a_report_has_its_values():
    assert set(results._VALUES) == set(METRICS)


@pytest.mark.parametrize("function", [evaluate, Evaluator.__init__, evaluate_batches, distributed.evaluate])
def test_annotations_can_be_evaluated(function):
    assert "options" in get_type_hints(function)
