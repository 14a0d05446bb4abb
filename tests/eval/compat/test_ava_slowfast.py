"""PySlowFast's AVA functions against recorded outputs, and against the slow reference on random files and scores."""

from __future__ import annotations

import logging
import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from ava_small import LABELMAP, write_random, write_small
from hypothesis import given
from hypothesis import strategies as st
from published import ava as published

from vltr_eval.compat.ava import slowfast

MEAN = "PascalBoxes_Precision/mAP@0.5IOU"
# SlowFast 287ec00 (slowfast/utils/ava_eval_helper.py) under numpy 2.4.6 for the small set, with the excluded frame and
# without: the mean, and the AP of the six classes.
RECORDED = {
    True: (0.3922222222222222, 0.6, 0.0, 0.6666666666666666, np.nan, 0.25, 0.4444444444444444),
    False: (0.45555555555555555, 0.7499999999999999, 0.0, 0.8333333333333333, np.nan, 0.25, 0.4444444444444444),
}
RECORDED_OF_SCORES = 0.6766666666666667  # of evaluate_ava for `model_output`


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_small(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ava")


def read(files: dict[str, str]) -> tuple:
    """Categories, ground truth, detections and excluded keys, as AVAMeter reads them."""
    categories, whitelist = slowfast.read_labelmap(files["labelmap"])
    truth = slowfast.read_csv(files["groundtruth"], whitelist)
    detections = slowfast.read_csv(files["detections"], whitelist, load_score=True)
    return categories, truth, detections, slowfast.read_exclusions(files["exclude"])


def model_output() -> tuple[np.ndarray, np.ndarray, list[list[float]]]:
    """Scores, boxes and metadata of a model for the small set: distinct scores, eight boxes."""
    corners = [
        (0.1, 0.1, 0.4, 0.88), (0.5, 0.1, 0.9, 0.9), (0.1, 0.1, 0.4, 0.9), (0.1, 0.1, 0.42, 0.9),
        (0.2, 0.2, 0.6, 0.7), (0.7, 0.7, 0.7, 0.9), (0.1, 0.1, 0.4, 0.9), (0.3, 0.3, 0.7, 0.9),
    ]  # fmt: skip
    boxes = np.array([[number % 4, *box] for number, box in enumerate(corners)], np.float32)
    metadata = [[0, 902], [0, 902], [0, 903], [0, 904], [0, 904.8], [0, 905], [0, 906], [1, 902]]
    scores = ((np.arange(8 * 80).reshape(8, 80) * 37 + 11) % 641 / 641).astype(np.float32)
    return scores, boxes, metadata


@pytest.mark.parametrize("exclude", RECORDED)
def test_results_are_those_of_the_original(small, capsys, exclude):
    categories, truth, detections, excluded = read(small)
    results = slowfast.run_evaluation(categories, truth, detections, excluded if exclude else set())
    keys = [MEAN, *(f"PascalBoxes_PerformanceByCategory/AP@0.5IOU/{name}" for name in LABELMAP.values())]
    assert list(results) == keys
    assert {type(value) for value in results.values()} == {np.float64}
    np.testing.assert_array_equal(list(results.values()), RECORDED[exclude])
    assert capsys.readouterr().out.startswith("{ 'PascalBoxes_PerformanceByCategory/AP@0.5IOU/carry': np.float64(0.")


@pytest.mark.parametrize("kind", ["numpy", "torch", "half"])
def test_scores_of_a_model_give_the_number_of_the_original(small, kind):
    scores, boxes, metadata = model_output()
    if kind != "numpy":
        torch = pytest.importorskip("torch")
        scores, boxes, metadata = (
            torch.from_numpy(scores).requires_grad_(),
            torch.from_numpy(boxes),
            torch.tensor(metadata),
        )
    if kind == "half":
        scores = scores.half()
    categories, truth, _, excluded = read(small)
    value = slowfast.evaluate_ava(
        scores, boxes, metadata, excluded, set(LABELMAP), categories,
        groundtruth=truth, video_idx_to_name=["film", "other"], name="x",
    )  # fmt: skip
    assert value == RECORDED_OF_SCORES
    assert type(value) is np.float64


def test_both_files_are_written_in_the_form_of_the_original(small, tmp_path):
    scores, boxes, metadata = model_output()
    categories, truth, _, excluded = read(small)
    options = {"groundtruth": truth, "video_idx_to_name": {0: "film", 1: "other"}}
    slowfast.evaluate_ava(scores, boxes, metadata, excluded, set(LABELMAP), categories, **options)
    lines = (tmp_path / "detections_latest.csv").read_text().splitlines()
    assert len(lines) == 8 * len(LABELMAP)
    assert lines[0] == f"film,0902,0.100,0.100,0.400,0.880,12,{scores[0, 11]:.4f}"
    assert [line.split(",")[1] for line in lines[::6]] == [
        "0902",
        "0902",
        "0903",
        "0904",
        "0905",
        "0905",
        "0906",
        "0902",
    ]
    truths = (tmp_path / "groundtruth_latest.csv").read_text().splitlines()
    assert truths[0] == "film,0902,0.100,0.100,0.400,0.900,12,1.0000"
    assert len(truths) == 13


def test_rows_of_a_frame_that_stand_apart_are_joined(small):
    scores, boxes, metadata = model_output()
    order = [0, 7, 3, 1, 4, 2, 5, 6]
    found = slowfast.get_ava_eval_data(
        scores[order], boxes[order], [metadata[i] for i in order], {12, 80}, video_idx_to_name=["film", "other"]
    )
    assert list(found[0]) == ["film,0902", "other,0902", "film,0904", "film,0905", "film,0903", "film,0906"]
    assert found[0]["film,0902"] == [boxes[i, [2, 1, 4, 3]].tolist() for i in (0, 0, 1, 1)]
    assert found[1]["film,0902"] == [12, 80, 12, 80]
    assert found[2]["film,0902"] == scores[[0, 0, 1, 1], [11, 79, 11, 79]].tolist()
    assert found[0]["film,0902"][0] is not found[0]["film,0902"][1]
    assert found[2]["never"] == []  # a defaultdict, as in the original


def test_no_box_and_no_class_give_no_frame():
    scores, boxes, metadata = model_output()
    for rows, classes in ((0, {12}), (3, set())):
        found = slowfast.get_ava_eval_data(
            scores[:rows], boxes[:rows], metadata[:rows], classes, video_idx_to_name=["film"]
        )
        assert [dict(part) for part in found] == [{}, {}, {}]


@given(seed=st.integers(0, 10**6))
def test_random_files_without_ties_give_the_result_of_the_loop(folder, seed):
    files = write_random(folder, seed)
    categories, truth, detections, excluded = read(files)
    results = slowfast.run_evaluation(categories, truth, detections, excluded)
    if np.isnan(results[MEAN]):
        return
    expected = published.official_metrics(
        files["detections"], files["groundtruth"], files["labelmap"], exclude=files["exclude"],
        whole_seconds=True, max_per_image=None, unlisted_images="false", order="file",
    )  # fmt: skip
    assert list(results) == list(expected)
    np.testing.assert_allclose(list(results.values()), list(expected.values()), rtol=0, atol=1e-12)


def test_frames_keep_their_order_and_a_second_has_four_digits(small, tmp_path):
    path = tmp_path / "b.csv"
    path.write_text('"a,b",12,0,0,1,1,3,.5\nz,0902,0,0,1,1,3,.25\n"a,b",0012,0,0,.5,1,4,.75\n')
    boxes, labels, scores = slowfast.read_csv(path, load_score=True)
    assert list(boxes.items()) == [("a,b,0012", [[0, 0, 1, 1], [0, 0, 1, 0.5]]), ("z,0902", [[0, 0, 1, 1]])]
    assert dict(labels) == {"a,b,0012": [3, 4], "z,0902": [3]}
    assert dict(scores) == {"a,b,0012": [0.5, 0.75], "z,0902": [0.25]}
    assert dict(slowfast.read_csv(path)[2]) == {"a,b,0012": [1.0, 1.0], "z,0902": [1.0]}
    assert dict(slowfast.read_csv(path, {4})[1]) == {"a,b,0012": [4]}


def test_exclusions_are_keys_or_an_empty_set(small):
    assert slowfast.read_exclusions(small["exclude"]) == {"film,0906"}
    assert slowfast.read_exclusions(None) == slowfast.read_exclusions("") == set()


def test_the_mean_counts_classes_that_are_not_listed():
    """The original's mean is over all classes up to the last category; only listed ones are printed."""
    box = [0.1, 0.1, 0.9, 0.9]
    truth = {"v,0001": [box, box]}, {"v,0001": [1, 2]}, {"v,0001": [1.0, 1.0]}
    found = {"v,0001": [box]}, {"v,0001": [2]}, {"v,0001": [0.5]}
    results = slowfast.run_evaluation([{"id": 2, "name": "sit"}], truth, found, set())
    assert results == {MEAN: 0.5, "PascalBoxes_PerformanceByCategory/AP@0.5IOU/sit": 1.0}


def test_excluded_frames_are_logged_as_in_the_original(small, caplog):
    categories, truth, detections, excluded = read(small)
    with caplog.at_level(logging.INFO):
        slowfast.run_evaluation(categories, truth, detections, excluded)
    assert [record.getMessage() for record in caplog.records] == [
        "Found excluded timestamp in ground truth: film,0906. It will be ignored.",
        "Found excluded timestamp in detections: film,0906. It will be ignored.",
        "The following classes have no ground truth examples: "
        + str(np.array([c for c in range(1, 81) if c not in {12, 14, 17, 64, 80}])),
    ]


def test_the_other_ranks_print_nothing(small, capsys, monkeypatch):
    def ranked(rank: int) -> SimpleNamespace:
        return SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: rank)

    categories, truth, detections, excluded = read(small)
    printed = []
    for rank in (0, 1, 8):
        monkeypatch.setitem(sys.modules, "torch.distributed", ranked(rank))
        slowfast.run_evaluation(categories, truth, detections, excluded)
        printed.append(bool(capsys.readouterr().out))
    assert printed == [True, False, True]


def test_files_are_evaluated_in_one_call(small, capsys):
    slowfast.evaluate_ava_from_files(small["labelmap"], small["groundtruth"], small["detections"], small["exclude"])
    assert "mAP@0.5IOU': np.float64(0.3922222222222222)" in capsys.readouterr().out


def one_frame(box: list[float], cls: int = 1, score: float = 0.5) -> tuple[dict, dict, dict]:
    return {"v,0001": [box]}, {"v,0001": [cls]}, {"v,0001": [score]}


@pytest.mark.parametrize(
    ("categories", "truth", "found", "sentence"),
    [
        ([0], one_frame([0, 0, 1, 1]), one_frame([0, 0, 1, 1]), "categories: expected ids from 1 up"),
        ([1], one_frame([0, 0, 1, 1]), one_frame([0, 0, 1, 1], score=np.nan), "got NaN in frame v,0001, class 1"),
        ([1], one_frame([1, 0, 0, 1]), one_frame([0, 0, 1, 1]), "groundtruth: expected boxes with x1 <= x2"),
        (
            [1],
            one_frame([0, 0, 1, 1]),
            ({"v,0001": [[0, 0, 1, 1]]}, {"v,0001": [1, 1]}, {"v,0001": [0.5]}),
            "detections: expected a class and a score for each box, got 2 classes and 1 boxes",
        ),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(categories, truth, found, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        slowfast.run_evaluation([{"id": c, "name": str(c)} for c in categories], truth, found, set())


def test_detections_without_area_are_dropped():
    truth = one_frame([0, 0, 1, 1])
    for corners in ([0, 0, 0, 1], [1, 0, 0, 1], [np.nan, 0, 1, 1]):
        found = {"v,0001": [corners, [0, 0, 1, 1]]}, {"v,0001": [1, 1]}, {"v,0001": [0.9, 0.5]}
        assert slowfast.run_evaluation([{"id": 1, "name": "a"}], truth, found, set())[MEAN] == 1.0


def test_missing_arguments_are_named():
    scores, boxes, metadata = model_output()
    with pytest.raises(TypeError, match=r"^groundtruth: expected"):
        slowfast.evaluate_ava(scores, boxes, metadata, set(), {12}, [{"id": 12, "name": "a"}])
    with pytest.raises(TypeError, match=r"^video_idx_to_name: expected"):
        slowfast.get_ava_eval_data(scores, boxes, metadata, {12})


@pytest.mark.parametrize("quotes", ["", '"'])
def test_boxes_without_a_score_are_an_index_error_only_where_scores_are_read(tmp_path, quotes):
    """As in the original, which reads row[7] of the classes that are kept."""
    path = tmp_path / "mixed.csv"
    lines = [
        f"{quotes}film{quotes},902,.1,.2,.4,.9,12,.5",
        "",
        "film,903,.1,.2,.4,.9,12",
        "film,904,.1,.2,.4,.9,80,.25",
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(IndexError, match=r"mixed.csv: line 3: expected a score in column 8, got 7 columns"):
        slowfast.read_csv(path, load_score=True)
    assert dict(slowfast.read_csv(path, {80}, load_score=True)[2]) == {"film,0904": [0.25]}
    assert len(slowfast.read_csv(path)[0]) == 3
    path.write_text(f"{quotes}film{quotes},1_0,.1,.2,.4,.9,12\n" * 2)  # not for the core
    with pytest.raises(IndexError, match="line 1"):
        slowfast.read_csv(path, load_score=True)


@given(
    st.lists(
        st.floats()
        | st.floats(0, 1)
        | st.integers(-10, 20_010).map(lambda k: k / 20_000)
        | st.integers(-10, 20_010).map(lambda k: math.nextafter(k / 20_000, 2))
    )
)
def test_written_scores_are_those_of_the_usual_format(values):
    numbers = np.array(values, float)
    assert slowfast._four_decimals(numbers) == [f"{value:.04f}" for value in numbers.tolist()]


def test_written_scores_of_a_model_are_those_of_its_lists(tmp_path, small):
    rng = np.random.default_rng(3)
    scores, boxes = rng.random((300, 80)), rng.normal(size=(300, 5)) * 300
    scores[rng.random(scores.shape) < 0.1] -= 0.5
    metadata = np.stack([rng.integers(0, 3, 300), rng.integers(900, 1010, 300)], 1)
    videos, classes = ["a%s", "b", "c"], {1, 12, 80, 90}
    slowfast.evaluate_ava(
        scores, boxes, metadata, {"b,0901"}, classes, read(small)[0], groundtruth=read(small)[1],
        video_idx_to_name=videos,
    )  # fmt: skip
    lists = slowfast.get_ava_eval_data(scores, boxes, metadata, classes, video_idx_to_name=videos)
    slowfast.write_results(lists, "lists.csv")
    written = (tmp_path / "detections_latest.csv").read_bytes()
    assert written == (tmp_path / "lists.csv").read_bytes()
    assert written.count(b"\n") == 900
