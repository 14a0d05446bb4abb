"""The patch of classes: torchmetrics in collections, subclasses, pickles; and classes that name themselves."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import types

import pytest

import vltr_eval
from vltr_eval.patching.known import Known, Library
from vltr_eval.patching.pristine import pristine
from vltr_eval.patching.replacements import original_of

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

from torchmetrics.functional import classification as functional  # noqa: E402

ORIGINALS = {
    name: getattr(torchmetrics.classification, name) for name in ("MultilabelAveragePrecision", "MultilabelAUROC")
}
AP = "MultilabelAveragePrecision"
GENERATOR = torch.Generator().manual_seed(0)
PREDS, TARGET = torch.rand(40, 3, generator=GENERATOR), torch.randint(0, 2, (40, 3), generator=GENERATOR)


def patch(**options):
    return vltr_eval.patch(**{"only": "torchmetrics", "quiet": True, **options})


def computed(metric):
    metric.update(PREDS[:15], TARGET[:15])
    metric.update(PREDS[15:], TARGET[15:])
    return metric.compute()


def counts(patched):
    return {one.name.rpartition(".")[2]: one for one in patched.summary().functions}


def test_names_are_put_back(names_of_all_modules):
    with patch():
        pass
    before = names_of_all_modules()
    with patch():
        assert torchmetrics.classification.MultilabelAveragePrecision is not ORIGINALS[AP]
    assert names_of_all_modules() == before


def test_a_collection_computes_the_same_numbers():
    def collection():
        return torchmetrics.MetricCollection(
            {
                "ap": torchmetrics.AveragePrecision(task="multilabel", num_labels=3),  # made by a dispatcher
                "auroc": torchmetrics.classification.MultilabelAUROC(num_labels=3),
            }
        )

    expected = computed(collection())
    with patch() as patched:
        metrics = collection()
        assert isinstance(metrics["ap"], torchmetrics.classification.MultilabelAveragePrecision)
        values = computed(metrics)
        clone = metrics.clone(prefix="val_")
        clone.reset()
        assert {name.removeprefix("val_") for name in computed(clone)} == set(expected)
    for name, value in expected.items():
        assert float(values[name]) == pytest.approx(float(value), abs=1e-6)
    one = counts(patched)[AP]
    assert (one.calls, one.fallbacks) == (2, {})
    assert one.original_seconds > 0


def test_functions_compute_the_same_numbers():
    expected = functional.multilabel_average_precision(PREDS, TARGET, 3)
    binned = functional.multilabel_average_precision(PREDS, TARGET, 3, thresholds=5)
    with patch() as patched:
        assert float(functional.multilabel_average_precision(PREDS, TARGET, 3)) == pytest.approx(float(expected))
        assert functional.multilabel_average_precision(PREDS, TARGET, 3, thresholds=5) == binned
    assert counts(patched)["multilabel_average_precision"].fallbacks == {"thresholds=5": 1}


def test_thresholds_are_a_fallback_of_the_class():
    expected = computed(ORIGINALS[AP](3, thresholds=5))
    with patch() as patched:
        assert computed(torchmetrics.classification.MultilabelAveragePrecision(3, thresholds=5)) == expected
    assert counts(patched)[AP].fallbacks == {"thresholds": 1}


def test_forward_gives_the_value_of_the_batch():
    expected = float(ORIGINALS[AP](3)(PREDS, TARGET))
    with patch():
        assert float(torchmetrics.classification.MultilabelAveragePrecision(3)(PREDS, TARGET)) == pytest.approx(
            expected
        )


def test_a_subclass_extends_ours_and_outlives_the_patch():
    with patch() as patched:

        class Mine(torchmetrics.classification.MultilabelAveragePrecision):
            def compute(self):
                return super().compute() + 1

        first = computed(Mine(3))
        assert isinstance(Mine(3), torchmetrics.classification.MultilabelAveragePrecision)
        assert not isinstance(ORIGINALS[AP](3), Mine)
    assert counts(patched)[AP].calls == 1
    assert computed(Mine(3)) == first
    assert issubclass(Mine, ORIGINALS[AP])
    assert counts(patched)[AP].calls == 1


def test_objects_of_the_original_are_instances():
    old = ORIGINALS[AP](3)
    with patch():
        ours = torchmetrics.classification.MultilabelAveragePrecision
        assert isinstance(old, ours)
        assert issubclass(ORIGINALS[AP], ours)
        assert isinstance(ours(3), ORIGINALS[AP])
        assert not isinstance(old, torchmetrics.classification.MultilabelAUROC)
        assert computed(old) == computed(ORIGINALS[AP](3))


def test_the_class_looks_like_the_original():
    with patch():
        ours = torchmetrics.classification.MultilabelAveragePrecision
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            assert getattr(ours, attribute) == getattr(ORIGINALS[AP], attribute)
        assert list(inspect.signature(ours).parameters)[:2] == ["num_labels", "average"]

        class Mine(ours):
            def __init__(self, size):
                super().__init__(size)

        assert list(inspect.signature(Mine).parameters) == ["size"]


def test_pickles_load_with_and_without_the_patch():
    with patch():
        metric = torchmetrics.classification.MultilabelAveragePrecision(3, average=None)
        metric.update(PREDS, TARGET)
        value = metric.compute()
        data = pickle.dumps(metric)
        assert type(pickle.loads(data)) is torchmetrics.classification.MultilabelAveragePrecision
        assert torch.equal(copy.deepcopy(metric).compute(), value)
    late = pickle.dumps(metric)  # the patch has ended
    for text in (data, late):
        assert b"vltr" not in text.replace(b"_vltr_size", b"")
        loaded = pickle.loads(text)
        assert type(loaded) is ORIGINALS[AP]
        loaded._computed = None
        torch.testing.assert_close(loaded.compute(), value)
    with patch():
        assert torch.equal(pickle.loads(late).compute(), value)


def test_checkpoints_pass_between_ours_and_the_original():
    with patch():
        ours = torchmetrics.classification.MultilabelAveragePrecision(3)
        ours.persistent(True)
        ours.update(PREDS, TARGET)
    theirs = ORIGINALS[AP](3)
    theirs.persistent(True)
    theirs.load_state_dict(ours.state_dict())
    theirs._update_count = 1  # torchmetrics does not save it, and warns
    torch.testing.assert_close(theirs.compute(), ours.compute())


def test_verify_computes_with_the_states_of_the_metric():
    with patch(verify=True) as patched:
        computed(torchmetrics.classification.MultilabelAveragePrecision(3))
        torchmetrics.classification.MultilabelAUROC(3)(PREDS, TARGET)
    for one in patched.summary().functions:
        assert one.largest_difference < 1e-6
        assert one.disagreements == []
        assert one.original_seconds > 0


# Classes that name themselves, as published meters do


METERS = """
class Meter(object):
    def __init__(self):
        super(Meter, self).__init__()
        self.values = []

    def add(self, values):
        self.values += values

    def value(self):
        return float(sum(self.values))


class Pair(object):
    def __init__(self):
        super(Pair, self).__init__()
        self.meter = Meter()

    def add(self, values):
        self.meter.add(values)

    def value(self):
        return self.meter.value()
"""


class Ours:
    def __init__(self):
        self.total = 0.0

    def add(self, values):
        self.total += sum(values)

    def value(self):
        return self.total


@pytest.fixture
def meters(table, write_module):
    write_module("meters_of_tests", METERS)
    names = ("Meter", "Pair")
    table(
        Library(
            "mine",
            tuple(
                Known(name, f"_of_tests:{name}", "meters_of_tests", feeds=("add",), results=("value",))
                for name in names
            ),
            package="meters_of_tests",
        ),
        **{name: type(name, (Ours,), {}) for name in names},
    )
    import meters_of_tests

    return meters_of_tests


@pytest.mark.parametrize("name", ["Meter", "Pair"])
def test_a_class_that_names_itself_is_verified(meters, name):
    with vltr_eval.patch(quiet=True, verify=True) as patched:
        meter = getattr(meters, name)()
        meter.add([1, 2])
        meter.add([3])
        assert meter.value() == 6.0
    one = counts(patched)[name]
    assert (one.calls, one.cells, one.largest_difference, one.disagreements) == (1, 3, 0.0, [])


def test_a_class_with_a_subclass_that_would_fail_is_left_alone(meters):
    class Mine(meters.Meter):
        pass

    original = [meters.Meter]
    with vltr_eval.patch(quiet=True) as patched:
        assert meters.Meter is original[0]
        assert Mine().value() == 0.0
        assert type(meters.Pair().total) is float
    assert "Mine" in patched.summary().left_alone["meters_of_tests.Meter"]


def test_a_pristine_class_has_its_own_names(meters):
    original = [meters.Pair]
    assert pristine(original[0], original_of) is original[0]
    with vltr_eval.patch(quiet=True):
        twin = pristine(original[0], original_of)
        assert twin is not original[0]
        assert twin.__init__.__globals__["Pair"] is twin
        assert twin().value() == 0.0


def test_an_original_that_extends_a_replaced_class_is_verified_as_it_was(table, write_module):
    write_module("base_of_tests", METERS)
    write_module(
        "extension_of_tests",
        "from base_of_tests import Meter as Base\nclass Extension(Base):\n    def value(self):\n"
        "        return super().value() + 0.5\n",
    )

    def library(home, name):
        known = Known(name, f"_of_tests:{name}", home, feeds=("add",), results=("value",))
        return Library(home, (known,), package=home)

    table(
        library("base_of_tests", "Meter"),
        library("extension_of_tests", "Extension"),
        Meter=type("Meter", (Ours,), {"value": lambda self: -100.0}),
        Extension=type("Extension", (Ours,), {}),
    )
    with vltr_eval.patch(quiet=True, verify=True) as patched:
        from extension_of_tests import Extension

        meter = Extension()
        meter.add([1, 2])
        assert meter.value() == 3.0
    assert counts(patched)["Extension"].largest_difference == 0.5


def test_modules_without_names_are_no_obstacle(monkeypatch):
    monkeypatch.setitem(sys.modules, "none_of_tests", None)
    module = types.ModuleType("lazy_of_tests")
    module.__getattr__ = lambda name: pytest.fail(f"{name} was read")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with patch():
        pass
