"""Files of AVA that do not belong together, rows that do not count, and large or damaged files."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vltr_eval.compat.ava import AvaReport, Images, evaluate
from vltr_eval.compat.ava import files as ava_files
from vltr_eval.compat.ava.files import VideoNames, read_boxes, read_images
from vltr_eval.formats import InputError

GROUNDTRUTH = """\
v1,0902,0.1,0.1,0.4,0.9,12,0
v1,0902,0.5,0.1,0.9,0.9,12,1
v1,0903
v2,0904,0.1,0.1,0.4,0.9,80,0
"""
DETECTIONS = """\
v1,0902,0.1,0.1,0.4,0.9,12,0.9
v1,0902,0.5,0.1,0.9,0.8,12,0.5
v2,0904,0.1,0.1,0.4,0.9,80,0.3
v2,0904,0.1,0.1,0.4,0.9,12,0.1
"""
LABELMAP = {12: "stand", 80: "watch"}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Evaluate the text of two files, d.csv and g.csv."""
    monkeypatch.chdir(tmp_path)

    def evaluate_text(detections: str = DETECTIONS, groundtruth: str = GROUNDTRUTH, **options) -> AvaReport:
        Path("d.csv").write_text(detections)
        Path("g.csv").write_text(groundtruth)
        return evaluate("d.csv", "g.csv", sap=None, **{"labelmap": LABELMAP, **options})

    return evaluate_text


def refused(run, *texts: str, **options) -> str:
    with pytest.raises(ValueError, match=": ") as caught:
        run(*texts, **options)
    return str(caught.value)


def renamed(text: str, change) -> str:
    return "".join(change(line.split(",", 1)[0]) + "," + line.split(",", 1)[1] for line in text.splitlines(True))


def test_files_that_belong_together_get_no_notes(run):
    report = run()
    assert report.metrics()["mAP"] == 1.0
    assert report.notes == ()


# Nothing matches


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda name: f"{name}.mp4", "v1.mp4 and v1 are equal but for the extension"),
        (lambda name: f"clips/{name}", "clips/v1 and v1 are equal but for the folder"),
        (lambda name: name.upper(), "V1 and v1 are equal but for capitals"),
        (lambda name: name.replace("v", "v00"), "v001 and v1 are equal but for leading zeros"),
        (lambda name: f" {name}", " v1 and v1 are equal but for spaces"),
        (
            lambda name: f"clips/{name.replace('v', 'V00')}.mp4",
            "clips/V001.mp4 and v1 are equal but for all of extension, folder, capitals and leading zeros",
        ),
    ],
)
@pytest.mark.parametrize("protocol", ["official", "mmaction2"])
def test_detections_of_other_names_are_refused_with_the_likely_cause(run, change, cause, protocol):
    first = change("v1")
    assert refused(run, renamed(DETECTIONS, change), protocol=protocol) == (
        "d.csv: expected boxes in the images and classes of the ground truth, got none (4 in images that the ground "
        f"truth does not list); the first is {first} at 902, in the ground truth v1 at 902; {cause}"
    )


def test_a_ground_truth_of_other_names_is_the_cause_as_well(run):
    sentence = refused(run, DETECTIONS, renamed(GROUNDTRUTH, lambda name: f"{name}.mp4"))
    assert sentence.endswith("; v1 and v1.mp4 are equal but for the extension")


def test_unlike_names_are_refused_without_a_cause(run):
    sentence = refused(run, renamed(DETECTIONS, lambda name: f"film {name}"))
    assert sentence.endswith("the first is film v1 at 902, in the ground truth v1 at 902")


def test_numbers_of_frames_in_place_of_seconds_are_refused(run):
    sentence = refused(run, DETECTIONS.replace("0902", "27060").replace("0904", "27120"))
    assert sentence.endswith("times here are 27060 to 27120 and there 902 to 904; AVA counts seconds")


def test_detections_of_other_classes_alone_are_refused(run):
    assert refused(run, DETECTIONS.replace(",12,", ",11,").replace(",80,", ",79,")) == (
        "d.csv: expected boxes in the images and classes of the ground truth, got none (4 of classes that are not "
        "evaluated (the first: class 11, line 1)); classes here are 11 to 79, those that are evaluated 12 to 80: are "
        "the ids shifted by one?"
    )
    sentence = refused(run, DETECTIONS.replace(",12,", ",5,").replace(",80,", ",7,"))
    assert sentence.endswith("classes here are 5 to 7, those that are evaluated 12 to 80")


def test_excluding_every_image_with_detections_is_refused(run):
    images = Images(["v1"], np.array([902.0]))
    assert "(2 of classes" not in refused(run, "v1,902,0,0,1,1,12,.5\n", exclude=images)
    assert refused(run, "v1,902,0,0,1,1,12,.5\n", exclude=images).endswith("got none (1 in excluded images)")
    every = Images(["v1", "v1", "v2"], np.array([902.0, 903.0, 904.0]))
    assert refused(run, exclude=every) == (
        "groundtruth: no boxes of the classes to evaluate, so no metric is defined (g.csv: 3 of 3 boxes are ignored: "
        "3 in excluded images)"
    )


def test_boxes_of_memory_are_named_by_the_argument(run, tmp_path):
    run()
    found, truth = read_boxes("d.csv"), read_boxes("g.csv")
    with pytest.raises(ValueError, match=r"^detections: expected boxes in the images"):
        evaluate(replace(found, images=Images(["w"] * 4, found.images.times)), truth)
    with pytest.raises(ValueError, match=r"^detections: box 0: expected corners from 0 to 1, as in groundtruth"):
        evaluate(replace(found, corners=found.corners * 300), truth)


# Some rows match


def test_ignored_detections_are_counted_by_reason(run):
    more = "v1,0902,0,0,1,1,3,.2\nv3,0902,0,0,1,1,12,.2\nv2,0910,0,0,1,1,12,.2\nv2,0904,0,0,1,1,80,.2\n"
    report = run(DETECTIONS + more, exclude=Images(["v1"], np.array([903.0])))
    assert report.notes == (
        "d.csv: 3 of 8 boxes are ignored: 1 of classes that are not evaluated (the first: class 3, line 5), 2 in "
        "images that the ground truth does not list",
    )
    assert report.metrics()["mAP"] == run().metrics()["mAP"]


def test_partly_renamed_detections_are_noted_with_the_cause(run):
    report = run(DETECTIONS.replace("v1", "v1.mp4"))
    assert report.notes == (
        "d.csv: 2 of 4 boxes are ignored: 2 in images that the ground truth does not list; v1.mp4 and v1 are equal but "
        "for the extension",
    )
    (note,) = run(DETECTIONS.replace("v1", "v1.mp4"), protocol="slowfast").notes
    assert note.startswith(
        "d.csv: 2 of 4 boxes match nothing: 2 in images that the ground truth does not list (they are "
    )


def test_an_exclude_list_that_matches_nothing_is_noted(run):
    assert run(exclude=Images(["v1.mp4"], np.array([902.0]))).notes == (
        "exclude: none of its 1 images is in the ground truth or the detections",
    )
    assert run(exclude=Images(["v1"], np.array([903.0]))).notes == ()


def test_negative_classes_are_left_out_and_counted(run):
    rows = "v1,0902,0.1,0.1,0.4,0.9,-1,{}\nv2,0902,0.1,0.1,0.4,0.9,-1,{}\n"
    for labelmap in (LABELMAP, None):
        report = run(DETECTIONS + rows.format(0.9, 0.8), GROUNDTRUTH + rows.format(0, 1), labelmap=labelmap)
        assert report.classes["class"] == (12, 80)
        assert report.metrics() == run(labelmap=labelmap).metrics()
        assert report.num_images == run().num_images + 1  # a row of any class lists its image
        assert [note.split(":", 1) for note in report.notes] == [
            [
                name,
                f" 2 of {total} boxes are ignored: 2 of classes that are not evaluated (the first: class -1, line 5)",
            ]
            for name, total in (("g.csv", 5), ("d.csv", 6))
        ]


# Columns of another kind


@pytest.mark.parametrize("groundtruth", [GROUNDTRUTH, GROUNDTRUTH.replace(",0\n", "\n").replace(",1\n", "\n")])
def test_swapped_files_are_refused(run, groundtruth):
    assert refused(run, groundtruth, DETECTIONS) == (
        "g.csv: line 1: expected a person's number in column 8 of a ground truth, got the score 0.9, and d.csv has no "
        "scores; were they swapped?"
    )


def test_detections_as_ground_truth_are_noted(run):
    assert run(DETECTIONS, DETECTIONS).notes == (
        "g.csv: line 1: column 8 has scores, as a file of detections; they are unused",
    )


def test_detections_without_scores_are_noted(run):
    without = "".join(line.rsplit(",", 1)[0] + "\n" for line in DETECTIONS.splitlines())
    assert run(without).notes == ("d.csv: every box has the score 1, so their order says nothing",)


PIXELS = {"0.1,0.1,0.4,0.9": "30,30,120,270", "0.5,0.1,0.9,0.9": "150,30,270,270", "0.5,0.1,0.9,0.8": "150,30,270,240"}


def in_pixels(text: str) -> str:
    for relative, pixels in PIXELS.items():
        text = text.replace(relative, pixels)
    return text


def test_pixels_beside_relative_corners_are_refused(run):
    rest = "expected corners from 0 to 1, as in {}, got x1 = 30; divide pixels by the image's width and height"
    assert refused(run, in_pixels(DETECTIONS)) == f"d.csv: line 1: {rest.format('g.csv')}"
    assert refused(run, DETECTIONS, "v1,0903\n\n" + in_pixels(GROUNDTRUTH)) == f"g.csv: line 3: {rest.format('d.csv')}"
    assert run(in_pixels(DETECTIONS), in_pixels(GROUNDTRUTH)).metrics() == run().metrics()


def test_corners_outside_the_image_are_noted(run):
    assert run(DETECTIONS + "v2,904,-.1,0,1.1,1.3,80,.1\nv2,904,-.11,0,1,1,80,.1\n").notes == (
        "d.csv: 2 of 6 boxes have a corner outside 0 to 1 by more than 0.1, the first in line 5 (y2 = 1.3)",
    )


def test_width_and_height_in_place_of_corners_are_noted_or_refused(run):
    note = (
        "boxes have no area (x2 <= x1 or y2 <= y1) and are dropped, the first in line 2 ([0.5, 0.1, 0.4, 0.7]); "
        "corners are x1, y1, x2, y2, without width and height"
    )
    sizes = DETECTIONS.replace("0.5,0.1,0.9,0.8", "0.5,0.1,0.4,0.7")
    assert run(sizes).notes == (f"d.csv: 1 of 4 {note}",)
    assert refused(run, "v1,903\n" + sizes.splitlines()[1] + "\n") == f"d.csv: 1 of 1 {note}"


@pytest.mark.parametrize(("labelmap", "of"), [(LABELMAP, "the label map"), (None, "the ground truth")])
def test_classes_from_zero_are_refused(run, labelmap, of):
    assert refused(run, DETECTIONS.replace(",12,", ",0,").replace(",80,", ",79,"), labelmap=labelmap) == (
        f"d.csv: line 1: expected a class of {of} (12 to 80), got class 0, and no box has class 80: are these indices "
        "from 0, or ids shifted by one?"
    )
    background = "v1,0902,0,0,1,1,0,.1\n"
    assert run(DETECTIONS + background).metrics() == run().metrics()


def test_a_ground_truth_from_zero_is_refused_under_a_label_map_from_one(run):
    texts = (text.replace(",12,", ",0,").replace(",80,", ",1,") for text in (DETECTIONS, GROUNDTRUTH))
    labelmap = {1: "a", 2: "b"}
    assert refused(run, *texts, labelmap=labelmap).startswith(
        "d.csv: line 1: expected a class of the label map (1 to 2)"
    )


# Reading


@pytest.mark.parametrize("name", ["d.csv", "g.csv"])
def test_an_empty_file_is_refused(run, name):
    texts = {"d.csv": DETECTIONS, "g.csv": GROUNDTRUTH, name: "\n"}
    sentence = refused(run, *texts.values())
    assert sentence == f"{name}: expected lines video,time,x1,y1,x2,y2,class, got an empty file"


def test_declared_images_without_detections_are_no_empty_file(run):
    assert run("v1,0902\n").metrics()["mAP"] == 0.0


def test_progress_counts_the_bytes_of_both_files(run):
    fractions = []
    run(progress=fractions.append)
    share = len(DETECTIONS) / len(DETECTIONS + GROUNDTRUTH)
    read = 0.7  # share of the time
    assert fractions[:2] == pytest.approx([share * read, read])
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.fixture(params=["pyarrow", "numpy"])
def small_blocks(request, monkeypatch):
    """Read with and without pyarrow, in blocks of two or three lines."""
    monkeypatch.setattr(ava_files, "_BLOCK_BYTES", 100)
    if request.param == "numpy":
        monkeypatch.setitem(sys.modules, "pyarrow", None)


def random_lines(number: int, ends: str) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(number)
    numbers = np.column_stack([rng.random((number, 5)), rng.integers(1, 80, number), rng.random(number)])
    lines = (f"v{i % 5},{','.join(map(repr, row))}{ends}" for i, row in enumerate(numbers.tolist()))
    return "".join(lines).encode(), numbers


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_blocks_give_every_bit_of_every_line(tmp_path, ends, monkeypatch):
    path = tmp_path / "d.csv"
    text, numbers = random_lines(60, ends)
    for block_bytes in (150, 151, 152, 153):  # ends of blocks at every place in a line's end
        monkeypatch.setattr(ava_files, "_BLOCK_BYTES", block_bytes)
        path.write_bytes(b"\xef\xbb\xbf" + text)
        found = read_boxes(path)
        assert found.images.videos == [f"v{i % 5}" for i in range(60)]
        columns = (found.images.times[:, None], found.corners, found.classes[:, None], found.scores[:, None])
        np.testing.assert_array_equal(np.hstack(columns), numbers)
        assert list(found.lines) == list(range(1, 61))
        assert not isinstance(found.lines, np.ndarray)


@pytest.mark.usefixtures("small_blocks")
def test_lines_of_all_widths_are_read_across_blocks(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text('v,1,0,0,1,1,3,.5\n\nw,2\n"a,b",3,0,0,1,1,4\n' * 10)
    found = read_boxes(path)
    assert found.images.videos == ["v", "a,b"] * 10
    assert found.scores.tolist() == [0.5, 1.0] * 10
    assert found.empty.videos == ["w"] * 10
    assert list(found.lines) == [4 * i + line for i in range(10) for line in (1, 4)]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"v,1,0,0,1,1\n", "line 31: expected 2, 7 or 8 columns, got 6"),
        (b"v,1,0,0,1e999,1,3,.5\n", "line 31, column 5: expected a finite number, got '1e999'"),
        (b"v,1,0,0,1,1,3,-inf\n", "line 31, column 8: expected a finite number, got '-inf'"),
        (b"v,1,0,0,1,1,3,\xff\n", "line 31: expected UTF-8 text, got binary data"),
        (
            b'v,1,0,0,1,"1,3,.5\n',
            "line 31: expected quotes around whole columns, got 'v,1,0,0,1,\"1,3,.5' (unexpected end of data)",
        ),
        (b"v,1,0,0,1,1,3.5,1\n", "line 31: expected the id of a class in column 7, got 3.5"),
        (b"v" * 200, "line 31: expected columns, got a line of over "),
    ],
)
def test_damage_behind_the_first_block_is_named_by_its_line(tmp_path, line, sentence):
    path = tmp_path / "d.csv"
    text = b"v,1,0,0,1,1,3,.5\n" * 30
    path.write_bytes(text + line + text)
    with pytest.raises(InputError) as caught:
        read_boxes(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_file_without_line_ends_is_refused_within_bounds():
    with pytest.raises(InputError, match="/dev/zero: line 1: expected columns, got a line of over 4,194,304 bytes"):
        read_boxes("/dev/zero")


def test_a_pipe_is_read_to_its_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("v,1\nw,2\n" * 20_000,))
    writer.start()
    images = read_images(path)
    writer.join()
    assert len(images) == 40_000
    assert images.videos[-1] == "w"


def test_names_of_videos_are_stored_once():
    names = VideoNames.from_names(["b", "a", "b"])
    assert (names.names, names.codes.tolist()) == (["b", "a"], [0, 1, 0])
    assert names == ["b", "a", "b"]
    assert names[1:] == ("a", "b")
    assert names != ["b", "a"]
    assert names != 3
    assert VideoNames.from_names(names) is names
    assert repr(names) == "<VideoNames of 3 rows, 2 names>"
