"""mmaction2's ava_eval and the protocols of its two versions against recorded outputs and a slow reference."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from ava_small import LABELMAP, write_random, write_small
from hypothesis import given
from hypothesis import strategies as st
from published import ava as published

from vltr_eval.compat.ava import PROTOCOLS, Boxes, Images, evaluate
from vltr_eval.compat.ava.mmaction2 import ava_eval
from vltr_eval.compat.ava.ordered import average_precision
from vltr_eval.formats import InputError

MEANS = ("overall", "person_movement", "object_manipulation", "person_interaction")

# mmaction2 1.2.0 (mmaction/evaluation/functional/ava_utils.py at 4d6c9347) under numpy 2.4.6, for the small set:
# (excluded, ignore_empty_frames, custom_classes) -> the four means.
RECORDED = {
    (True, True, None): (0.6684027777777778, 0.5625, 0.6666666666666666, 0.7222222222222222),
    (True, True, (0, 12, 17)): (0.6145833333333333, 0.5625, 0.6666666666666666, np.nan),
    (True, False, None): (0.5847222222222221, 0.44999999999999996, 0.4444444444444444, 0.7222222222222222),
    (True, False, (0, 12, 17)): (0.4472222222222222, 0.44999999999999996, 0.4444444444444444, np.nan),
    (False, True, None): (0.8236111111111111, 0.8500000000000001, 1.0, 0.7222222222222222),
    (False, True, (0, 12, 17)): (0.925, 0.8500000000000001, 1.0, np.nan),
    (False, False, None): (0.7569444444444444, 0.7499999999999999, 0.8333333333333333, 0.7222222222222222),
    (False, False, (0, 12, 17)): (0.7916666666666665, 0.7499999999999999, 0.8333333333333333, np.nan),
}
# Its output for the first of these.
PRINTED = """\
==> T seconds to Reading GT results
==> T seconds to Reading Detection results
==> T seconds to Calculating TP/FP
==> T seconds to Run Evaluator
Per-class results: 
Index: 80, Action: watch: AP: 0.4444;
Index: 12, Action: stand: AP: 0.5625;
Index: 17, Action: carry: AP: 0.6667;
Index: 64, Action: fight: AP: 1.0000;
Index: 63, Action: write: AP: nan;
Overall Results: 
Overall mAP: 0.6684
Person Movement mAP: 0.5625
Object Manipulation mAP: 0.6667
Person Interaction mAP: 0.7222
Class watch AP: 0.4444
Class stand AP: 0.5625
Class carry AP: 0.6667
Class fight AP: 1.0000
Class write AP: nan
"""  # noqa: W291
# mmaction2 0.24.1 (mmaction/core/evaluation/ava_utils.py) with the excluded frames: every number that it prints.
RECORDED_0 = {
    "mAP@0.5IOU": 0.43888888888888894,
    "PerformanceByCategory/AP@0.5IOU/stand": 0.8333333333333333,
    "PerformanceByCategory/AP@0.5IOU/walk": 0.0,
    "PerformanceByCategory/AP@0.5IOU/carry": 0.6666666666666666,
    "PerformanceByCategory/AP@0.5IOU/write": np.nan,
    "PerformanceByCategory/AP@0.5IOU/fight": 0.25,
    "PerformanceByCategory/AP@0.5IOU/watch": 0.4444444444444444,
}


@pytest.fixture
def small(tmp_path):
    return write_small(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ava")


def run(files: dict[str, str], exclude: bool = True, **options) -> dict[str, float]:
    """Our function's result; the warnings of means over no class are those of the original."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return ava_eval(
            files["detections"],
            "mAP",
            files["labelmap"],
            files["groundtruth"],
            files["exclude"] if exclude else None,
            **options,
        )


@pytest.mark.parametrize("case", RECORDED, ids=str)
def test_results_are_those_of_the_original(small, case):
    exclude, ignore, classes = case
    results = run(small, exclude, ignore_empty_frames=ignore, custom_classes=None if classes is None else [*classes])
    assert tuple(results) == MEANS
    assert {type(value) for value in results.values()} == {np.float64}
    np.testing.assert_array_equal(list(results.values()), RECORDED[case])


def test_output_is_that_of_the_original(small, capsys):
    run(small)
    assert re.sub(r"==> \S+ seconds", "==> T seconds", capsys.readouterr().out) == PRINTED
    run(small, verbose=False)
    assert capsys.readouterr().out.splitlines() == PRINTED.splitlines()[4:-5]


@given(seed=st.integers(0, 10**6), ignore=st.booleans())
def test_random_files_without_ties_give_the_result_of_the_loop(folder, seed, ignore):
    files = write_random(folder, seed)
    results = run(files, verbose=False, ignore_empty_frames=ignore)
    expected = published.ava_eval(
        files["detections"], files["groundtruth"], files["labelmap"],
        exclude=files["exclude"], ignore_empty_frames=ignore,
    )  # fmt: skip
    assert list(results) == list(expected)
    np.testing.assert_allclose(list(results.values()), list(expected.values()), rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6))
def test_evaluate_has_the_means_of_the_original(folder, seed):
    files = write_random(folder, seed)
    expected = run(files, verbose=False)
    try:
        report = evaluate(**files, protocol="mmaction2-1.x", sap=None)
    except ValueError:  # files without any match, which the original gives a number
        assert np.isnan(expected["overall"]) or expected["overall"] == 0
        return
    np.testing.assert_allclose(list(report.official_metrics().values()), list(expected.values()), rtol=0, atol=1e-12)


@given(seed=st.integers(0, 10**6), levels=st.integers(1, 4))
def test_ties_stay_within_the_interval_of_evaluate(folder, seed, levels):
    files = write_random(folder, seed, levels)
    result = run(files, verbose=False)["overall"]
    try:
        report = evaluate(**files, protocol="mmaction2-1.x", sap=None)
    except ValueError:
        return
    low, high = report.mAP_tie_interval
    # Detections of a box with equal scores take it in the order of the file, or of their content: the same scores.
    assert np.isnan(result) or low - 1e-12 <= result <= high + 1e-12


def test_both_versions_have_their_names_and_numbers(small):
    options = {"labelmap": small["labelmap"], "exclude": small["exclude"], "sap": None}
    files = small["detections"], small["groundtruth"]
    assert evaluate(*files, protocol="mmaction2-0.x", **options).official_metrics() == pytest.approx(
        RECORDED_0, abs=1e-12, nan_ok=True
    )
    report = evaluate(*files, protocol="mmaction2-1.x", **options)
    assert report.official_metrics() == pytest.approx(dict(zip(MEANS, RECORDED[True, True, None], strict=True)))
    assert "|protocol:mmaction2-1.x|" in report.signature
    assert "|classes:4/6|" in report.signature


def test_the_report_says_what_version_1_does_differently(small):
    report = evaluate(**small, protocol="mmaction2-1.x", sap=2)
    names = [note.split(": ", 1)[1] for note in report.notes]
    assert any(note.startswith("the 2 boxes in excluded images count as missed") for note in names)
    assert any(note.endswith("leaves them out of means: 14") for note in names)
    assert any("1 of 14 boxes have no area" in note and "count as false positives" in note for note in names)
    assert any("1 in images without a box of the classes to evaluate" in note for note in names)
    by_class = dict(zip(report.classes["class"], report.classes["SAP"], strict=True))
    assert np.isnan(by_class[14])


def test_the_older_name_means_version_0_and_says_so(small):
    files = {name: path for name, path in small.items() if name != "labelmap"}
    one, other = (evaluate(**files, labelmap=LABELMAP, protocol=name) for name in ("mmaction2", "mmaction2-0.x"))
    assert one.official_metrics() == pytest.approx(other.official_metrics(), nan_ok=True)
    assert PROTOCOLS["mmaction2"] == PROTOCOLS["mmaction2-0.x"]
    assert one.notes[-1] == (
        "protocol mmaction2 is that of mmaction2 0.x; mmaction2 1.0.0 and later print other numbers: protocol "
        "mmaction2-1.x"
    )
    assert one.notes[:-1] == other.notes


def test_single_precision_decides_at_the_threshold():
    """0.6 - 0.3 over 0.9 - 0.3 is under one half in double precision, and not in single precision."""
    frame, none = Images(["v"], np.array([1.0])), Images([], np.array([]))
    truth, found = (Boxes(frame, np.array([[0.3, 0.3, 0.7, y2]]), np.array([1]), np.ones(1), none) for y2 in (0.9, 0.6))
    aps = [evaluate(found, truth, protocol=f"mmaction2-{v}", sap=None).metrics()["mAP"] for v in ("0.x", "1.x")]
    assert aps == [0.0, 1.0]


@pytest.mark.parametrize("protocol", ["mmaction2-1.x", None])
def test_corners_the_wrong_way_round_are_refused_by_line(small, protocol):
    with open(small["detections"], "a") as file:
        file.write("film,0905,0.6,0.2,0.2,0.7,64,0.2\n")
    with pytest.raises(ValueError, match=r"detections.csv: line 19: expected x1 <= x2 and y1 <= y2, got \[0.6, 0.2"):
        run(small) if protocol is None else evaluate(**small, protocol=protocol)


def test_reversed_boxes_of_frames_that_do_not_count_are_no_error(small):
    before = run(small)
    with open(small["detections"], "a") as file:
        file.write("film,0906,0.6,0.2,0.2,0.7,64,0.2\nfilm,0907,0.6,0.2,0.2,0.7,64,0.2\n")
    assert run(small) == pytest.approx(before)


def test_a_true_box_the_wrong_way_round_is_refused_where_it_is_compared(small):
    with open(small["groundtruth"], "a") as file:
        file.write("film,0908,0.6,0.2,0.2,0.7,64,0.2\n")
    run(small)
    with open(small["detections"], "a") as file:
        file.write("film,0908,0.1,0.2,0.2,0.7,64,0.2\n")
    with pytest.raises(ValueError, match=r"^groundtruth: expected boxes with x1 <= x2 and y1 <= y2, got \[0.6"):
        run(small)


def test_wrong_arguments_are_refused_as_in_the_original(small, tmp_path):
    with pytest.raises(AssertionError, match="result_type"):
        ava_eval(small["detections"], "mAR", small["labelmap"], small["groundtruth"], None)
    with pytest.raises(AssertionError, match=r"got \[79\] as well"):
        run(small, custom_classes=[0, 12, 79])
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match="expected boxes of the classes to evaluate, got none"):
        run({**small, "groundtruth": str(tmp_path / "empty.csv")})
    with pytest.raises(FileNotFoundError):
        run({**small, "labelmap": str(tmp_path / "nowhere")})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("film,0905", "expected 7 or 8 columns, got 2"),
        ("film,0905.5,0.2,0.2,0.6,0.7,64,0.2", "expected whole seconds in column 2, got 905.5"),
        ("film,0905,0.2,0.2,0.6,0.7,64,nan", "line 19, column 8: expected a finite number, got 'nan'"),
    ],
)
def test_lines_that_are_no_detection_are_refused(small, line, complaint):
    with open(small["detections"], "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=re.escape(complaint)) as caught:
        run(small)
    assert isinstance(caught.value, InputError) or "nan" not in line


def test_no_detection_at_all_is_nan_with_the_warnings_of_numpy(small, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        results = ava_eval(str(tmp_path / "empty.csv"), "mAP", small["labelmap"], small["groundtruth"], None)
    assert np.isnan(list(results.values())).all()


def test_average_precision_ranks_the_later_of_equal_scores_first():
    scores, found = np.array([0.5, 0.5, 0.5]), np.array([True, False, False])
    assert average_precision(scores, found, 1) == pytest.approx(1 / 3)
    assert average_precision(scores, found[::-1], 1) == 1.0
    assert average_precision(scores[:0], found[:0], 2) == 0.0
    assert np.isnan(average_precision(scores, ~found & False, 0))
    with pytest.raises(ValueError, match="expected a box for each of 2 matches, got 1"):
        average_precision(scores, ~found, 1)
