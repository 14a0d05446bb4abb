"""Numbers by flat names for loggers: prefixes, single classes, and names that every logger takes."""

from __future__ import annotations

import math
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval import compare, evaluate
from vltr_eval.report.names import plain_name

MLFLOW = re.compile(r"^[/\w.\- ]*$", re.ASCII)  # the strictest rule of its versions
NAMES = ("playing violin", "dog", "a/b", "a_b", "a b", "dog", "", "\u4e2d\u6587", "../..", "x" * 300, "1 dog", "y")
ABSENT = NAMES.index("y")
MLFLOW_LIMIT = 250


def example(num_rows=80):
    rng = np.random.default_rng(0)
    labels = rng.random((num_rows, len(NAMES))) < 0.2
    labels[0], labels[1] = True, False
    labels[:, ABSENT] = False
    return (rng.normal(size=labels.shape) + labels).astype(np.float32), labels


@pytest.fixture(scope="module")
def report():
    counts = np.arange(len(NAMES)) * 100
    return evaluate(*example(), sap="exact", topk=(1,), interval=0.95, train_counts=counts, class_names=NAMES)


@pytest.fixture(scope="module")
def comparison():
    scores, labels = example()
    new = np.float32(scores + labels)
    return compare(scores, new, new[::-1].copy(), labels=labels, class_names=NAMES, names=["base", "new", "other"])


def is_logged_by_mlflow(name):
    return MLFLOW.match(name) and len(name) <= MLFLOW_LIMIT and os.path.normpath(name) == name and name[0] != "/"


def test_a_prefix_comes_in_front_of_every_name(report, comparison):
    for found in (report, comparison):
        means = found.metrics()
        assert list(found.metrics("val/")) == [f"val/{name}" for name in means]
        np.testing.assert_array_equal(list(found.metrics("val/").values()), list(means.values()))
        assert list(found.metrics(prefix="")) == list(means)
    with pytest.raises(TypeError, match=r'^prefix: expected text such as "val/", got None$'):
        report.metrics(None)


def test_single_classes_have_all_their_numbers_but_undefined_ones(report):
    found = report.metrics("val/", per_class=True)
    means = len(report.metrics())
    # "1 dog" is both the name of a class and that of a class beside its index, so that every class has its index.
    with_index = [f"{c} {name}" if name else str(c) for c, name in enumerate(NAMES)]
    assert list(found)[:means] == list(report.metrics("val/"))
    expected = {}
    for column, values in report.classes.items():
        if column not in ("name", "group"):
            for label, value in zip(with_index, values, strict=True):
                if not math.isnan(value):
                    expected[f"val/per_class/{column}/{label}"] = value
    assert {name: value for name, value in found.items() if "per_class" in name} == expected
    assert expected[f"val/per_class/num_positives/{ABSENT} y"] == 0
    assert f"val/per_class/AP/{ABSENT} y" not in found


def test_only_classes_that_share_a_name_have_their_index():
    scores, labels = example()
    names = ("dog", "cat", "dog", " ", "a/b", "a b")
    found = evaluate(scores[:, :6], labels[:, :6], sap=None, topk=(), class_names=names)
    ends = [name.removeprefix("per_class/AP/") for name in found.metrics(per_class="AP") if "/AP/" in name]
    assert ends == ["0 dog", "cat", "2 dog", "3", "a/b", "a b"]
    ends = [name for name in found.metrics(per_class="AP", plain_names=True) if "/AP/" in name]
    assert ends == [f"per_class/AP/{end}" for end in ("0_dog", "cat", "2_dog", "_", "4_a_b", "5_a_b")]
    unnamed = evaluate(scores[:, :2], labels[:, :2], sap=None, topk=())
    assert list(unnamed.metrics(per_class="AP"))[-2:] == ["per_class/AP/0", "per_class/AP/1"]


def test_chosen_columns_come_in_the_given_order(report):
    found = report.metrics(per_class=["num_positives", "AP"])
    added = list(found)[len(report.metrics()) :]
    assert added[0].startswith("per_class/num_positives/")
    assert added[-1].startswith("per_class/AP/")
    assert len(added) == 2 * len(NAMES) - 1
    for wrong in (["AP", "group"], "A", ["class"]):
        with pytest.raises(
            ValueError, match=r"^per_class: expected True, False or columns of train_count, num_.*, got"
        ):
            report.metrics(per_class=wrong)


def test_a_comparison_has_the_numbers_of_single_classes(comparison):
    found = comparison.metrics("test/", per_class=True)
    second = comparison.systems[1]
    assert found["test/other/per_class/difference/0 playing violin"] == second.classes["difference"][0]
    assert found["test/new/per_class/num_positives/1 dog"] == comparison.systems[0].classes["num_positives"][1]
    assert all(map(is_logged_by_mlflow, comparison.metrics("test/", per_class=True, plain_names=True)))


def test_mlflow_takes_every_plain_name(report):
    found = report.metrics("val@0/", per_class=True, plain_names=True)
    assert all(map(is_logged_by_mlflow, found))
    assert len(found) == len(report.metrics(per_class=True))
    assert {"val_at_0/Acc_at_1", "val_at_0/per_class/AP/0_playing_violin"} <= found.keys()
    # MLflow's file store has a file for each name, so that no name may be a folder of another.
    folders = {name.rsplit("/", part)[0] for name in found for part in range(1, name.count("/") + 1)}
    assert not folders & found.keys()


@given(st.text(max_size=400), st.text(max_size=400))
def test_plain_names_are_safe_and_long_ones_stay_apart(one, other):
    plain = plain_name(f"mAP{one}")
    assert is_logged_by_mlflow(plain)
    assert plain_name(plain) == plain
    long, longer = ("a" * MLFLOW_LIMIT + text for text in (one, other))
    assert len(plain_name(long + "b")) == MLFLOW_LIMIT
    assert (plain_name(long + "b") == plain_name(longer + "b")) == (one == other)
    assert plain_name("a" * MLFLOW_LIMIT) == "a" * MLFLOW_LIMIT


@given(st.lists(st.text(st.sampled_from("ab 12/_\u4e2d."), max_size=4), min_size=3, max_size=3))
def test_no_class_hides_another(names):
    scores, labels = example(20)
    found = evaluate(scores[:, :3], labels[:, :3], sap=None, topk=(), class_names=names)
    for plain in (False, True):
        numbers = found.metrics(per_class="num_positives", plain_names=plain)
        assert [value for name, value in numbers.items() if "num_positives" in name] == [
            *found.classes["num_positives"]
        ]


def test_the_safe_style_and_its_older_name_give_the_same(report, comparison):
    for numbers in (report, comparison):
        safe = numbers.metrics("a@b/", per_class=True, style="safe")
        assert safe == numbers.metrics("a@b/", per_class=True, plain_names=True)
        assert all(map(is_logged_by_mlflow, safe))
        assert numbers.metrics("a@b/") == numbers.metrics("a@b/", style="as_is")
        assert not set(safe) & set(numbers.metrics("a@b/"))
        with pytest.raises(ValueError, match='style: expected "as_is" or "safe", got \'plain\''):
            numbers.metrics(style="plain")


def test_names_that_would_hide_a_metric_are_refused_by_the_argument_given():
    shares = np.ones(len(NAMES))
    found = evaluate(*example(), prior={"a!": shares, "a?": shares})
    with pytest.raises(ValueError, match=r"style: expected names that differ .*, got 'a!/mAP' and 'a\?/mAP'"):
        found.metrics(style="safe")


def test_names_with_empty_parts_are_joined():
    assert plain_name("/val//mAP/") == "val/mAP"
