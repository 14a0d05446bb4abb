"""The values of each convention on the small inputs are those that its original printed."""

from __future__ import annotations

import numpy as np
import pytest
from small_inputs import LABELS_A, LABELS_B, LABELS_C, A, B, C

from vltr_eval.convention.values import ClassValues

INPUTS = {
    "A": (A, LABELS_A),
    "B": (B, LABELS_B),
    "B reversed": (B[::-1], LABELS_B[::-1]),
    "B3": (B[:, :3], LABELS_B[:, :3]),
    "C": (C, LABELS_C),
}


def values_of(name: str) -> ClassValues:
    if name == "C after sigmoid":
        return values_of("C").after("sigmoid")
    return ClassValues(*INPUTS[name])


def zero(values):
    """Mean with absent classes as 0."""
    return np.nan_to_num(values).mean()


def dropped(values):
    """Mean of the classes that are there."""
    return np.nanmean(values)


# Method, arguments, mean, and the numbers on A, B, B reversed, B3, C and C after the sigmoid. None: not recorded, or
# the original's number depends on an unstable sort.
RECORDED = {
    "scikit-learn 1.9.1 macro": (
        "step",
        (),
        zero,
        0.82659632,
        0.57533872,
        0.57533872,
        0.76711829,
        0.62959656,
        0.54308862,
    ),
    "SlowFast get_map": ("step", (), dropped, 0.82659632, 0.76711829, 0.76711829, 0.76711829, 0.62959656, 0.54308862),
    "torchnet 0.0.4": ("step", ("rows",), zero, 0.82659632, 0.59203196, 0.61071479, 0.78937596, 0.62959659, 0.75187832),
    "Perch cmap": (
        "step",
        ("reversed",),
        dropped,
        0.82659632,
        0.81428641,
        0.78937596,
        0.81428641,
        0.62959659,
        0.58142197,
    ),
    "CatBoost 1.2.10 MAP": (
        "step",
        ("worst",),
        zero,
        0.82659632,
        0.57236253,
        0.57236253,
        0.76315004,
        0.62959656,
        0.44156085,
    ),
    "ASL without SIMD": (
        "plus_epsilon",
        (),
        zero,
        0.82659632,
        0.61071480,
        0.59203193,
        0.81428640,
        0.62959656,
        0.58142196,
    ),
    "scikit-learn micro": ("micro", (), float, 0.78519000, 0.57874654, 0.57874654, 0.72936064, 0.56592322, 0.52717938),
    "scikit-learn samples": (
        "samples",
        (),
        zero,
        0.81944444,
        0.67361111,
        0.67361111,
        0.77777778,
        0.80555556,
        0.59027778,
    ),
    "ranx 0.3.21, rows": (
        "samples",
        ("rows",),
        zero,
        0.81944444,
        0.70833333,
        0.70833333,
        0.77777778,
        0.80555556,
        0.71527778,
    ),
    "Perch map_": (
        "samples",
        ("reversed",),
        zero,
        0.81944454,
        0.67361116,
        0.67361116,
        0.77777779,
        0.80555558,
        0.72222227,
    ),
    "torcheval 0.0.7 binned": (
        "binned",
        (100,),
        zero,
        0.82389832,
        0.57533872,
        0.57533872,
        0.76711828,
        0.53984791,
        0.53892195,
    ),
    "torchmetrics 1.9.0, 200": (
        "binned",
        (200,),
        zero,
        0.82729971,
        0.57533872,
        0.57533872,
        0.76711828,
        None,
        0.53892195,
    ),
    "YouTube-8M GAP@2": ("gap", (2, "rows"), float, 0.66888401, None, None, None, 0.39740551, None),
    "YouTube-8M MAP@2": ("top_n", (2,), dropped, 0.72928571, None, None, None, 0.47222222, None),
    "AVA without SIMD": (
        "envelope",
        ("reversed",),
        dropped,
        0.82957251,
        0.81776335,
        0.79334416,
        None,
        0.70758929,
        0.65625000,
    ),
    "py-faster-rcnn 2010": ("envelope", ("rows",), dropped, 0.82957251, None, None, None, 0.70758929, 0.78779762),
    "py-faster-rcnn 2007": (
        "interpolated",
        (11, "rows"),
        zero,
        0.82596419,
        0.60075758,
        0.61115702,
        None,
        0.70884740,
        0.78612013,
    ),
    "pycocotools 2.0.11": (
        "interpolated",
        (101, "rows"),
        dropped,
        0.83042304,
        0.79482448,
        0.81839684,
        0.79482448,
        0.70794731,
        0.78855787,
    ),
    "charades_map": (
        "unlabelled_last",
        ("rows",),
        dropped,
        0.82659632,
        0.79796176,
        0.83570054,
        None,
        0.62959656,
        0.75187831,
    ),
    "BirdCLEF padded_cmap": ("padded", (5,), dropped, 0.94592958, None, None, 0.92476562, 0.67984226, 0.72828213),
    "xgboost 3.2.0 aucpr": ("davis_goadrich", (), dropped, 0.81171262, None, None, 0.78597264, 0.57178133, 0.53668758),
    "Keras 3.15.1 PR": (
        "davis_goadrich_binned",
        (),
        zero,
        0.81054437,
        0.58947945,
        0.58947945,
        0.78597260,
        0.56172794,
        0.53936273,
    ),
    "CatBoost 1.2.10 PRAUC": ("trapezoid", (), dropped, 0.81050441, None, None, 0.79464896, 0.56184358, 0.71674934),
}
NAMES = (*INPUTS, "C after sigmoid")
CASES = [
    (convention, name, number)
    for convention, (*_, recorded) in {key: (*row[:3], row[3:]) for key, row in RECORDED.items()}.items()
    for name, number in zip(NAMES, recorded, strict=True)
    if number is not None
]


@pytest.mark.parametrize(("convention", "name", "number"), CASES)
def test_values_are_those_that_the_original_printed(convention, name, number):
    method, arguments, mean, *_ = RECORDED[convention]
    found = mean(getattr(values_of(name), method)(*arguments))
    # Originals that compute in float32 print about 7 digits.
    assert found == pytest.approx(number, abs=2e-7)


# Each class alone, on A, B and C.
PER_CLASS = {
    ("step", "threshold"): (
        [0.698810, 0.800000, 0.890909, 0.916667],
        [0.687188, 0.770833, 0.843333, np.nan],
        [0.469577, 0.622024, 0.539286, 0.887500],
    ),
    ("step", "rows"): (
        [0.698810, 0.800000, 0.890909, 0.916667],
        [0.698810, 0.778409, 0.890909, np.nan],
        [0.469577, 0.622024, 0.539286, 0.887500],
    ),
    ("step", "reversed"): (
        [0.698810, 0.800000, 0.890909, 0.916667],
        [0.758617, 0.840909, 0.843333, np.nan],
        [0.469577, 0.622024, 0.539286, 0.887500],
    ),
    ("interpolated", 101, "rows"): (
        [0.711881, 0.801980, 0.891989, 0.915842],
        [0.711881, 0.780603, 0.891989, np.nan],
        [0.600000, 0.705799, 0.625000, 0.900990],
    ),
    ("davis_goadrich",): (
        [0.669302, 0.787814, 0.885628, 0.904106],
        [0.704549, 0.794977, 0.858392, np.nan],
        [0.412723, 0.537813, 0.464296, 0.872294],
    ),
    ("davis_goadrich_binned",): (
        [0.669302, 0.783141, 0.885628, 0.904106],
        [0.704549, 0.794977, 0.858392, np.nan],
        [0.550483, 0.571429, 0.625000, 0.500000],
    ),
    ("trapezoid",): (
        [0.666484, 0.787302, 0.885455, 0.902778],
        [0.720197, 0.802083, 0.861667, np.nan],
        [0.407077, 0.519345, 0.450119, 0.870833],
    ),
}


@pytest.mark.parametrize("call", PER_CLASS)
def test_each_class_has_the_value_of_its_family(call):
    method, *arguments = call
    for name, expected in zip(("A", "B", "C"), PER_CLASS[call], strict=True):
        found = getattr(values_of(name), method)(*arguments)
        np.testing.assert_allclose(found, expected, rtol=0, atol=6e-7)


@pytest.mark.parametrize(
    ("name", "bins", "number"), [("A", 100, 0.78174829), ("B", 100, 0.57874656), ("C after sigmoid", 100, 0.51750767)]
)
def test_pooled_bins_are_those_of_torchmetrics_micro(name, bins, number):
    assert values_of(name).pooled().binned(bins).item() == pytest.approx(number, abs=2e-7)


@pytest.mark.parametrize(
    ("name", "number"), [("A", 0.78306699), ("B", 0.54811633), ("C", 0.55752450), ("C after sigmoid", 0.53111255)]
)
def test_pooled_bins_are_those_of_keras_without_multi_label(name, number):
    assert values_of(name).pooled().davis_goadrich_binned().item() == pytest.approx(number, abs=2e-7)


@pytest.mark.parametrize(
    ("name", "number"), [("B", 0.46826923), ("B reversed", 0.46963713), ("C after sigmoid", 0.47877473)]
)
def test_gap_of_an_unstable_selection_lies_between_worst_and_best(name, number):
    values = values_of(name)
    assert values.gap(2, "worst") <= number <= values.gap(2, "best")
