"""AVA's frame mAP against the slow reference and hand-made cases, rule by rule; sampled AP over boxes; the files."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import ava as published

from vltr_eval.compat.ava import PROTOCOLS, Boxes, Images, Protocol, evaluate
from vltr_eval.compat.ava.files import read_boxes, read_images
from vltr_eval.formats import InputError
from vltr_eval.formats.label_map import read_labelmap

TOLERANCE = 1e-9
LABELMAP = {1: "stand", 2: "sit", 4: "hold"}
PROTOCOL_FIELDS = ("whole_seconds", "max_per_image", "unlisted_images", "order", "second_choice")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ava")
    (folder / "map.pbtxt").write_text(
        "".join(f'item {{\n  name: "{name}"\n  id: {c}\n}}\n' for c, name in LABELMAP.items())
    )
    return folder


@pytest.fixture
def boxes(folder):
    """Boxes from the rows of a CSV."""

    def read(*rows: str) -> Boxes:
        path = folder / "rows.csv"
        path.write_text("".join(f"{row}\n" for row in rows))
        return read_boxes(path)

    return read


def mean_ap(detections: Boxes, groundtruth: Boxes, **options) -> float:
    return evaluate(detections, groundtruth, labelmap={1: "stand"}, sap=None, **options).metrics()["mAP"]


# ---------------------------------------------------------------------------------------------------------------------
# Against the reference
# ---------------------------------------------------------------------------------------------------------------------


def random_case(seed: int, *, levels: int | None = None) -> tuple[list[str], list[str], list[str]]:
    """Lines of detections, ground truth and exclusions; scores differ unless there are ``levels`` of them."""
    rng = np.random.default_rng(seed)
    grid = np.arange(11) / 10
    times = ["902", "0902.000000", "902.5", "903", "904.25"]

    def image() -> str:
        return f"{rng.choice(['film', 'other film'])},{rng.choice(times)}"

    def corners() -> np.ndarray:
        """Corners of a large box, so that boxes of an image overlap; sometimes of a small one, perhaps without area."""
        if rng.random() < 0.8:
            return np.concatenate([rng.choice(grid[:4], 2), rng.choice(grid[-4:], 2)])
        return np.sort(rng.choice(grid, (2, 2)), axis=0).ravel()

    truth = [(image(), tuple(corners()), int(rng.integers(1, 5))) for _ in range(rng.integers(1, 25))]
    truth.append((image(), tuple(corners()), 1))
    truth.sort(key=lambda row: row[1])  # so that the reference too takes the smaller of boxes of equal overlap
    groundtruth = [f"{key},{','.join(map(str, box))},{c},1" for key, box, c in truth]
    groundtruth += [image() for _ in range(rng.integers(3))]
    number = int(rng.integers(1, 60))
    scores = rng.permutation(number) / max(number, 1) if levels is None else rng.integers(0, levels, number) / levels
    detections = []
    for score in scores:
        key, box, c = truth[rng.integers(len(truth))]
        if rng.random() < 0.4:
            key, box, c = image(), tuple(rng.choice(grid, 4)), int(rng.integers(1, 5))
        box = np.array(box) + rng.choice([0, 0, 0.05, -0.05], 4)
        detections.append(f"{key},{','.join(f'{x:.2f}' for x in box)},{c},{score:.6f}")
    return detections, groundtruth, [image() for _ in range(rng.integers(3))]


def write(folder: Path, **files: list[str]) -> dict[str, str]:
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
    return {name: str(folder / f"{name}.csv") for name in files}


def both(folder: Path, protocol: Protocol, iou: float = 0.5) -> tuple[dict[str, float], dict[str, float]]:
    """Our results and the reference's for the files in the folder."""
    names = (folder / "detections.csv", folder / "groundtruth.csv")
    options = {"labelmap": str(folder / "map.pbtxt"), "exclude": str(folder / "exclude.csv"), "iou": iou}
    ours = evaluate(*names, protocol=protocol, sap=None, **options).official_metrics()
    fields = {name: getattr(protocol, name) for name in PROTOCOL_FIELDS}
    if protocol == PROTOCOLS["mmaction2"]:
        fields["prefixes"] = ("", "")
    return ours, published.official_metrics(*map(str, names), **options, **fields)


PROTOCOLS_TO_COMPARE = {
    **{name: protocol for name, protocol in PROTOCOLS.items() if name != "mmaction2-1.x"},  # compared below
    "cap of 3": Protocol(max_per_image=3),
    "second choice": Protocol(second_choice=True),
    "second choice in order of the file": replace(PROTOCOLS["slowfast"], second_choice=True),
}


def has_matches(folder: Path, protocol: Protocol, labelmap=LABELMAP) -> bool:
    """Whether an evaluation of the files in the folder has boxes, and detections that it does not ignore."""
    truth, found = (read_boxes(folder / f"{name}.csv") for name in ("groundtruth", "detections"))

    def keys(images: Images) -> list[tuple[str, float]]:
        return [(v, int(t) if protocol.whole_seconds else round(t, 6)) for v, t in images_of(images)]

    excluded = set(keys(read_images(folder / "exclude.csv")))
    listed = {*keys(truth.images), *keys(truth.empty)}
    boxes = any(k not in excluded and c in labelmap for k, c in zip(keys(truth.images), truth.classes, strict=True))
    counts = [
        k not in excluded and c in labelmap and k in listed
        for k, c in zip(keys(found.images), found.classes, strict=True)
    ]
    wanted = [
        k not in excluded and c in labelmap and (k in listed or protocol.unlisted_images == "false")
        for k, c in zip(keys(found.images), found.classes, strict=True)
    ]
    x1, y1, x2, y2 = found.corners.T
    return boxes and any(counts) and bool(((x1 < x2) & (y1 < y2) & wanted).any())


def images_of(images: Images) -> list[tuple[str, float]]:
    return list(zip(images.videos, images.times, strict=True))


@pytest.mark.parametrize("name", PROTOCOLS_TO_COMPARE)
@given(seed=st.integers(0, 10**6), iou=st.sampled_from([0.5, 0.3]))
def test_equals_the_original_without_ties(folder, name, seed, iou):
    protocol = PROTOCOLS_TO_COMPARE[name]
    detections, groundtruth, exclude = random_case(seed)
    write(folder, detections=detections, groundtruth=groundtruth, exclude=exclude)
    if has_matches(folder, protocol):
        ours, theirs = both(folder, protocol, iou)
        assert list(ours) == list(theirs)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=0, atol=TOLERANCE)


@given(seed=st.integers(0, 10**6))
def test_order_of_rows_changes_nothing(folder, seed):
    detections, groundtruth, _ = random_case(seed, levels=3)
    rng = np.random.default_rng(seed)
    reports = []
    for _ in range(2):
        files = write(folder, detections=detections, groundtruth=groundtruth, exclude=[])
        if not has_matches(folder, PROTOCOLS["official"], {1, 2, 3, 4}):
            return
        del files["exclude"]
        report = evaluate(**files, protocol=Protocol(max_per_image=4), sap=3)
        reports.append(replace(report, notes=()))  # these name lines
        rng.shuffle(detections)
        rng.shuffle(groundtruth)
    assert reports[0] == reports[1]


@given(seed=st.integers(0, 10**6))
def test_original_with_ties_is_within_the_tie_interval(folder, seed):
    detections, groundtruth, _ = random_case(seed, levels=3)
    write(folder, detections=detections, groundtruth=groundtruth, exclude=[])
    protocol = Protocol(max_per_image=None)
    if not has_matches(folder, protocol):
        return
    ours, theirs = both(folder, protocol)
    report = evaluate(folder / "detections.csv", folder / "groundtruth.csv", labelmap=LABELMAP, protocol=protocol)
    mean_of_ours, *of_ours = ours.values()
    mean_of_theirs, *of_theirs = theirs.values()
    lower, upper = report.mAP_tie_interval
    assert lower == pytest.approx(mean_of_ours, abs=TOLERANCE)  # threshold by threshold is the worst order
    assert lower - TOLERANCE <= mean_of_theirs <= upper + TOLERANCE
    columns = (report.classes[name] for name in ("AP_tie_lower", "AP_tie_upper"))
    for low, high, own, other in zip(*columns, of_ours, of_theirs, strict=True):
        assert np.isnan(other) or low - TOLERANCE <= min(own, other) <= max(own, other) <= high + TOLERANCE


def test_tie_interval_by_steps_holds_every_order(boxes):
    truth = boxes("v,1,0,0,.2,.2,1", "v,1,.4,.4,.8,.8,1", "v,2,0,0,1,1,1")
    tied = ["v,1,0,0,.2,.2,1,.5", "v,1,.4,.4,.8,.8,1,.5", "v,2,0,0,.1,.1,1,.5", "v,2,0,0,.1,.2,1,.5"]
    report = evaluate(boxes(*tied), truth, interpolation="step", sap=None)
    # Three boxes of which one is missed; a tie of two hits and two false positives, in every order.
    orders = {hits for hits in itertools.permutations([1, 1, 0, 0])}
    values = [sum(sum(hits[:i]) / i for i in range(1, 5) if hits[i - 1]) / 3 for hits in orders]
    assert report.mAP_tie_interval == pytest.approx((min(values), max(values)), abs=TOLERANCE)
    assert report.metrics()["mAP"] == pytest.approx(2 / 3 * 2 / 4, abs=TOLERANCE)
    assert report.tie_rate == pytest.approx(2 / 3)


# ---------------------------------------------------------------------------------------------------------------------
# The protocol, rule by rule
# ---------------------------------------------------------------------------------------------------------------------

ONE = "v,902,0,0,.5,.5,1"
FAR = "v,902,.6,.6,.9,.9,1"


def test_times_name_images_to_six_decimals(boxes):
    assert mean_ap(boxes("v,0902.0000001,0,0,.5,.5,1,.9"), boxes(ONE)) == 1.0
    assert mean_ap(boxes("v,902.000002,0,0,.5,.5,1,.9", f"{FAR},.8"), boxes(ONE)) == 0.0
    assert mean_ap(boxes("v,902.9,0,0,.5,.5,1,.9"), boxes(ONE), protocol="mmaction2") == 1.0


def test_classes_outside_the_label_map_do_not_use_up_the_cap(boxes):
    others = [f"v,902,0,0,.5,.5,2,{0.9 + i / 1000}" for i in range(60)]
    assert mean_ap(boxes(*others, f"{ONE},.1"), boxes(ONE)) == 1.0
    with_them = evaluate(boxes(*others, f"{ONE},.1"), boxes(ONE), sap=None)  # no label map: they count
    assert with_them.classes["AP"][0] == 0.0


def test_fifty_best_detections_of_an_image_count(boxes):
    better = [f"v,902,.6,.6,.9,.{90 + i},1,{0.5 + i / 1000}" for i in range(9)]
    better += [f"v,902,.6,.6,.9,.9,1,{0.6 + i / 1000}" for i in range(40)]
    assert mean_ap(boxes(*better, f"{ONE},.1"), boxes(ONE)) == pytest.approx(1 / 50)
    assert mean_ap(boxes(*better, f"{FAR},.3", f"{ONE},.1"), boxes(ONE)) == 0.0
    assert mean_ap(boxes(*better, f"{FAR},.3", f"{ONE},.1"), boxes(ONE), protocol="mmaction2") == pytest.approx(1 / 51)


def test_smaller_box_stays_where_scores_tie_at_the_cap(boxes):
    both_orders = [f"{FAR},.5", f"{ONE},.5"], [f"{ONE},.5", f"{FAR},.5"]
    for rows in both_orders:
        assert mean_ap(boxes(*rows), boxes(ONE), protocol=Protocol(max_per_image=1)) == 1.0
        assert mean_ap(boxes(*rows), boxes(FAR), protocol=Protocol(max_per_image=1)) == 0.0


@pytest.mark.parametrize("corners", ["0,0,0,.5", ".5,0,.1,.5", "0,.5,.5,.5", "0,.5,.5,.1"])
def test_detections_without_area_are_dropped(boxes, corners):
    assert mean_ap(boxes(f"v,902,{corners},1,.9", f"{ONE},.1"), boxes(ONE)) == 1.0


def test_a_true_box_without_area_is_missed(boxes):
    assert mean_ap(boxes(f"{ONE},.9"), boxes(ONE, "v,902,.1,.1,.1,.9,1")) == 0.5


def test_a_true_box_the_wrong_way_round_is_refused(boxes):
    truth = boxes("v,1", ONE, "v,902,.5,0,.1,.9,1")
    with pytest.raises(ValueError, match=r"^groundtruth: box 1: expected x1 <= x2 and y1 <= y2, got \[0.5, 0.0, 0.1"):
        mean_ap(boxes(f"{ONE},.9"), truth)


def test_detections_in_unlisted_images_are_ignored(boxes):
    found = boxes("v,903,0,0,.5,.5,1,.9", f"{ONE},.1")
    assert mean_ap(found, boxes(ONE)) == 1.0
    assert mean_ap(found, boxes(ONE, "v,903")) == 0.5  # listed, without boxes
    assert mean_ap(found, boxes(ONE, "v,903,0,0,1,1,77")) == 0.5  # listed, by a box of another class
    assert mean_ap(found, boxes(ONE), protocol="mmaction2") == 0.5


def test_excluded_images_are_left_out_of_both(boxes):
    found = boxes("v,903,0,0,.5,.5,1,.9", f"{ONE},.1")
    truth = boxes(ONE, "v,903,.6,.6,.9,.9,1")
    excluded = Images(["v"], np.array([903.0]))
    assert mean_ap(found, truth) == pytest.approx(0.25)
    assert mean_ap(found, truth, exclude=excluded) == 1.0
    assert mean_ap(found, truth, exclude=excluded, protocol="slowfast") == 1.0


def test_a_box_is_found_from_the_overlap_on(boxes):
    half = boxes("v,902,0,0,.25,.5,1,.9")
    assert mean_ap(half, boxes(ONE)) == 1.0
    assert mean_ap(half, boxes(ONE), iou=0.51) == 0.0


def test_a_box_is_found_once(boxes):
    assert mean_ap(boxes(f"{ONE},.9", f"{ONE},.8", f"{FAR},.7"), boxes(ONE, FAR)) == pytest.approx((1 + 2 / 3) / 2)


def test_only_the_second_choice_looks_beyond_the_nearest_box(boxes):
    truth = boxes("v,902,0,0,.5,.5,1", "v,902,0,0,.5,.6,1")
    found = boxes("v,902,0,0,.5,.5,1,.9", "v,902,0,0,.5,.54,1,.8")
    assert mean_ap(found, truth) == 0.5
    assert mean_ap(found, truth, protocol=Protocol(second_choice=True)) == 1.0


def test_order_of_the_file_decides_who_takes_a_box_in_slowfast(boxes):
    found = boxes("v,902,0,0,.5,.4,1,.1", f"{ONE},.9")
    assert mean_ap(found, boxes(ONE)) == 1.0
    assert mean_ap(found, boxes(ONE), protocol="slowfast") == 0.5


def test_classes_without_boxes_are_nan_and_without_detections_zero(boxes):
    report = evaluate(boxes(f"{ONE},.9"), boxes(ONE, "v,902,0,0,1,1,2"), labelmap=LABELMAP, sap=15)
    np.testing.assert_array_equal(report.classes["AP"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(report.classes["SAP"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(report.classes["expected_step_SAP"], [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(report.classes["step_SAP_chance"], [1.0, 0.0, np.nan])
    assert report.metrics()["mAP"] == 0.5
    assert report.absent_classes == [4]


def test_no_detections_at_all_are_zero(boxes):
    assert mean_ap(boxes(), boxes(ONE)) == 0.0


def test_precision_is_the_upper_envelope(boxes):
    found = boxes("v,902,.6,0,.9,.1,1,.9", f"{ONE},.8", f"{FAR},.7")
    assert mean_ap(found, boxes(ONE, FAR)) == pytest.approx(2 / 3)
    assert mean_ap(found, boxes(ONE, FAR), interpolation="step") == pytest.approx((1 / 2 + 2 / 3) / 2)


# ---------------------------------------------------------------------------------------------------------------------
# Sampled AP
# ---------------------------------------------------------------------------------------------------------------------


def pool(num_boxes: int, hits: list[float], false: list[float]) -> tuple[Boxes, Boxes]:
    """Detections and ground truth of one class: scores of found boxes and of false positives, the rest is missed."""
    times = np.arange(float(max(num_boxes, len(false))))
    unit, aside = np.array([0, 0, 0.5, 0.5]), np.array([0.6, 0.6, 0.9, 0.9])

    def rows(images: np.ndarray, corners: np.ndarray, scores: np.ndarray) -> Boxes:
        classes = np.ones(len(images), np.int64)
        return Boxes(Images(["v"] * len(images), images), corners, classes, scores, Images(["v"] * len(times), times))

    corners = np.concatenate([np.tile(unit, (len(hits), 1)), np.tile(aside, (len(false), 1))])
    images = np.concatenate([times[: len(hits)], times[: len(false)]])
    truth = rows(times[:num_boxes], np.tile(unit, (num_boxes, 1)), np.ones(num_boxes))
    return rows(images, corners, np.array([*hits, *false], float)), truth


def values(num_boxes: int, hits: list[float], false: list[float], **options) -> dict[str, float]:
    return evaluate(*pool(num_boxes, hits, false), protocol=Protocol(max_per_image=None), **options).metrics()


def step_ap(num_boxes: int, hits: list[float], false: list[float]) -> float:
    precision = [sum(h >= s for h in hits) / sum(d >= s for d in (*hits, *false)) for s in hits]
    return sum(precision) / num_boxes


@pytest.mark.parametrize(
    ("num_boxes", "hits", "false"),
    [
        (2, [0.9, 0.4], [0.95, 0.5, 0.3, 0.2, 0.1]),
        (3, [0.9], [0.95, 0.9, 0.5, 0.5, 0.1]),
        (3, [0.5, 0.5], [0.5, 0.4, 0.6, 0.5]),
        (4, [0.3, 0.2], [0.5, 0.1]),
    ],
)
def test_exact_step_sap_is_the_mean_over_all_draws(num_boxes, hits, false):
    draws = list(itertools.combinations(false, min(num_boxes, len(false))))
    expected = np.mean([step_ap(num_boxes, hits, drawn) for drawn in draws])
    assert values(num_boxes, hits, false, sap="exact")["expected_step_SAP"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("missed", [0, 5])
def test_sampled_mean_converges_to_the_exact_value_by_steps(missed):
    rng = np.random.default_rng(missed)
    hits, false = rng.normal(1, 1, 20).tolist(), rng.normal(0, 1, 300).tolist()
    found = values(20 + missed, hits, false, sap=4000, interpolation="step")
    standard_error = found["SAP_std"] / np.sqrt(4000)
    assert abs(found["SAP"] - found["expected_step_SAP"]) < 4 * standard_error
    assert standard_error < 2e-3
    assert values(20 + missed, hits, false, sap=200)["SAP"] > found["SAP"]  # the envelope is above the steps


def envelope_ap(num_boxes: int, hits: list[float], false: list[float]) -> float:
    """The best precision at the score of each found box or below, over all boxes."""
    precision = {s: sum(h >= s for h in hits) / sum(d >= s for d in (*hits, *false)) for s in hits}
    return sum(max(precision[other] for other in hits if other <= s) for s in hits) / num_boxes


@pytest.mark.parametrize(
    ("num_boxes", "hits", "false"),
    [(3, [0.9, 0.6, 0.55], [0.95, 0.7, 0.6, 0.3, 0.2]), (4, [0.8, 0.5, 0.5], [0.9, 0.6, 0.5, 0.5, 0.7, 0.1])],
)
def test_sampled_mean_by_the_envelope_converges_to_the_mean_over_all_draws(num_boxes, hits, false):
    expected = np.mean([envelope_ap(num_boxes, hits, drawn) for drawn in itertools.combinations(false, num_boxes)])
    found = values(num_boxes, hits, false, sap=4000)
    assert found["SAP_std"] > 0
    assert abs(found["SAP"] - expected) < 4 * found["SAP_std"] / np.sqrt(4000)
    assert found["mAP"] == pytest.approx(envelope_ap(num_boxes, hits, false), abs=1e-12)


def test_chance_is_the_mean_over_all_orders():
    num_boxes, found, drawn = 4, 3, 4
    means = [
        step_ap(num_boxes, [order[i] for i in range(found)], order[found:])
        for order in itertools.permutations(range(found + drawn))
    ]
    got = values(num_boxes, [0.9, 0.8, 0.7], list(np.linspace(0, 1, 9)), sap="exact")["step_SAP_chance"]
    assert got == pytest.approx(np.mean(means), abs=1e-12)


def test_found_boxes_ranked_last_reach_what_the_paper_has_to_beat():
    """The paper reports 0.232 for a class of 32 boxes, so boxes that it missed must count."""
    false = np.linspace(1, 2, 1000).tolist()
    last = np.linspace(0, 0.5, 32).tolist()
    by_steps = values(32, last, false, sap=15, interpolation="step")
    assert by_steps["SAP"] == by_steps["expected_step_SAP"] == pytest.approx(0.315, abs=5e-4)
    assert values(32, last, false, sap=15)["SAP"] == pytest.approx(0.5)
    large = values(3000, np.linspace(0, 0.5, 3000).tolist(), np.linspace(1, 2, 4000).tolist(), sap="exact")
    assert large["expected_step_SAP"] == pytest.approx(1 - np.log(2), abs=1e-3)
    assert values(32, last[:16], false, sap=15)["SAP"] < 0.232


def test_missed_boxes_stay_in_the_denominator():
    for interpolation in ("voc", "step"):
        all_found = values(2, [0.9, 0.8], [0.5] * 10, sap=15, interpolation=interpolation)
        half_missed = values(4, [0.9, 0.8], [0.5] * 10, sap=15, interpolation=interpolation)
        for name in ("mAP", "SAP", "expected_step_SAP"):
            assert (all_found[name], half_missed[name]) == pytest.approx((1.0, 0.5))


def test_all_false_positives_are_drawn_where_there_are_few():
    found = values(3, [0.9, 0.2], [0.5, 0.1], sap=5)
    assert (found["SAP"], found["SAP_std"]) == (found["mAP"], 0.0)
    assert values(3, [0.9, 0.2], [], sap=5)["SAP"] == pytest.approx(2 / 3)


def test_a_file_without_low_scores_has_a_lower_sampled_ap():
    hits, false = [0.9, 0.6], np.linspace(0, 0.7, 200)
    whole, cut = (values(2, hits, false[false >= limit].tolist(), sap="exact") for limit in (0, 0.5))
    assert whole["mAP"] == cut["mAP"]
    assert whole["expected_step_SAP"] > cut["expected_step_SAP"] + 0.1


def test_draws_depend_on_seed_and_class_alone():
    rng = np.random.default_rng(5)
    detections, truth = pool(10, rng.random(10).tolist(), rng.random(200).tolist())
    both_classes = [
        replace(part, classes=np.repeat([1, 2], len(part)), **doubled(part)) for part in (detections, truth)
    ]
    report = evaluate(*both_classes, sap=15)
    first, second = report.classes["SAP"]
    assert first != second
    assert report.classes["AP"][0] == report.classes["AP"][1]
    assert evaluate(detections, truth, sap=15).classes["SAP"] == (first,)
    assert evaluate(*both_classes, sap=15, seed=1).classes["SAP"][0] != first


def doubled(part: Boxes) -> dict:
    images = Images([*part.images.videos, *part.images.videos], np.tile(part.images.times, 2))
    return {"images": images, "corners": np.tile(part.corners, (2, 1)), "scores": np.tile(part.scores, 2)}


def test_models_with_the_same_boxes_are_compared_on_the_same_draws():
    rng = np.random.default_rng(6)
    hits, false = rng.random(10), rng.random(200)
    one, truth = pool(10, hits.tolist(), false.tolist())
    other, _ = pool(10, hits.tolist(), (false + rng.normal(0, 1e-3, 200)).tolist())
    noise = evaluate(one, truth, sap=1).metrics()["SAP"] - evaluate(one, truth, sap=1, seed=1).metrics()["SAP"]
    change = evaluate(one, truth, sap=1).metrics()["SAP"] - evaluate(other, truth, sap=1).metrics()["SAP"]
    assert abs(change) < abs(noise) / 3


# ---------------------------------------------------------------------------------------------------------------------
# Report and arguments
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def report(boxes):
    truth = boxes(ONE, FAR, "v,903,0,0,1,1,2", "v,904,0,0,1,1,2")
    found = boxes(f"{ONE},.9", "v,902,0,0,1,1,1,.9", "v,903,0,0,1,1,2,.7")
    return evaluate(found, truth, labelmap=LABELMAP, sap=2, train_counts=[900, 7, 30], bounds=(100, 100))


def test_groups_come_from_train_counts(report):
    assert [(group.name, group.num_classes) for group in report.groups] == [
        ("overall", 3),
        ("head", 1),
        ("medium", 0),
        ("tail", 2),
    ]
    metrics = report.metrics()
    assert metrics["mAP_head"] == 0.25
    assert np.isnan(metrics["mAP_medium"])
    assert metrics["mAP_tail"] == 0.5  # of the one class that has boxes
    assert metrics["SAP"] == pytest.approx((metrics["SAP_head"] + metrics["SAP_tail"]) / 2)


def test_official_names_hold_every_class(report):
    assert report.official_metrics() == pytest.approx(
        {
            "PascalBoxes_Precision/mAP@0.5IOU": 0.375,
            "PascalBoxes_PerformanceByCategory/AP@0.5IOU/stand": 0.25,
            "PascalBoxes_PerformanceByCategory/AP@0.5IOU/sit": 0.5,
            "PascalBoxes_PerformanceByCategory/AP@0.5IOU/hold": np.nan,
        },
        nan_ok=True,
    )


def test_json_holds_everything(report):
    document = json.loads(report.to_json())
    assert document["schema"] == "vltr-eval/ava/1"
    assert document["settings"]["protocol"]["max_per_image"] == 50
    assert document["classes"]["AP"] == [0.25, 0.5, None]
    assert document["metrics"]["mAP"] == document["official_metrics"]["PascalBoxes_Precision/mAP@0.5IOU"] == 0.375
    assert (document["num_images"], document["num_detections"], document["num_boxes"]) == (3, 3, 4)


def test_text_says_what_was_left_out(report):
    text = report.to_text(per_class=True)
    assert "absent: no boxes in 1 of 3 classes, left out of means: 4" in text
    assert "ties: 25.00% of boxes were found with the score of a false positive" in text
    assert report.signature in text
    assert len(text.splitlines()) == len(str(report).splitlines()) + 5
    assert repr(report) == f"<AvaReport mAP=0.3750 {report.signature}>"


def test_csv_has_a_line_for_each_class(report, tmp_path):
    lines = report.to_csv().splitlines()
    assert lines[0].startswith("class,name,group,train_count,num_boxes,num_found,num_false_positives,AP,SAP,")
    assert lines[3].startswith("4,hold,tail,30,0,0,0,,")
    assert report.to_csv(tmp_path / "r.csv") is None
    assert (tmp_path / "r.csv").read_text() == report.to_csv()


def test_signature_names_the_protocol(boxes):
    def protocol(value):
        return evaluate(boxes(f"{ONE},.9"), boxes(ONE), protocol=value, sap="exact").signature.split("|")[1]

    assert protocol("slowfast") == "protocol:slowfast"
    assert protocol(PROTOCOLS["mmaction2"]) == "protocol:mmaction2"
    assert protocol(Protocol(second_choice=True)) == "protocol:official,second_choice=True"


def test_equal_input_gives_equal_reports(boxes):
    one, other = (evaluate(boxes(f"{ONE},.9"), boxes(ONE), sap=sap) for sap in (2, 3))
    assert one == evaluate(boxes(f"{ONE},.9"), boxes(ONE), sap=2)
    assert hash(one) == hash(evaluate(boxes(f"{ONE},.9"), boxes(ONE), sap=2))
    assert one != other
    assert one != "report"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"protocol": "coco"},
            "protocol: expected a Protocol or one of ('official', 'slowfast', 'mmaction2', "
            "'mmaction2-0.x', 'mmaction2-1.x'), got 'coco'",
        ),
        ({"iou": 0.0}, "iou: expected a number above 0 and up to 1, got 0.0"),
        ({"interpolation": "101"}, "interpolation: expected one of ('voc', 'step'), got '101'"),
        ({"sap": 0}, 'sap: expected a number of trials from 1 to 2147483647, "exact" or None, got 0'),
        ({"train_counts": [1, 2]}, "train_counts: 2 counts, but 1 classes are evaluated"),
        (
            {"labelmap": {7: "swim"}},
            "groundtruth: no boxes of the classes to evaluate, so no metric is defined (groundtruth: 1 of 1 boxes are "
            "ignored: 1 of classes that are not evaluated (the first: class 1, box 0))",
        ),
        ({"labelmap": {1: "a", 2: "a"}}, "labelmap: expected another name for each class, got ['a', 'a']"),
        ({"labelmap": {}}, "labelmap: expected at least one class, got none"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(boxes, options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        evaluate(boxes(f"{ONE},.9"), boxes(ONE), **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_per_image": 0}, "max_per_image: expected a whole number from 1 or None, got 0"),
        ({"order": "random"}, "order: expected one of ('score', 'file'), got 'random'"),
        ({"unlisted_images": "drop"}, "unlisted_images: expected one of ('ignore', 'false'), got 'drop'"),
    ],
)
def test_bad_protocols_are_refused_in_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Protocol(**options)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"corners": np.zeros((2, 4))}, "corners: expected finite numbers of shape (1, 4), got shape (2, 4)"),
        ({"corners": np.array([[0, 0, np.nan, 1]])}, "corners: expected finite numbers of shape (1, 4), got nan"),
        ({"classes": np.array([1, 2])}, "classes: expected finite numbers of shape (1,), got shape (2,)"),
        ({"scores": np.array([-np.inf])}, "scores: expected finite numbers of shape (1,), got -inf"),
    ],
)
def test_boxes_that_do_not_fit_are_refused_in_one_sentence(boxes, columns, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        replace(boxes(f"{ONE},.9"), **columns)
    with pytest.raises(ValueError, match=r"^times: expected finite numbers of shape \(1,\), got shape \(2,\)$"):
        Images(["v"], np.array([1.0, 2.0]))


# ---------------------------------------------------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------------------------------------------------


def test_boxes_are_read_with_and_without_scores(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text('film,0902,0.1,.2,0.3,4e-1,12\n"film",903.5,0,0,1,1,7,0.25\n\nother,0904\n')
    found = read_boxes(path)
    assert found.images.videos == ["film", "film"]
    assert found.images.times.tolist() == [902.0, 903.5]
    assert found.corners.tolist() == [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]]
    assert found.classes.tolist() == [12, 7]
    assert found.scores.tolist() == [1.0, 0.25]
    assert images_of(found.empty) == [("other", 904.0)]
    assert len(found) == 2


def test_lines_may_end_as_on_windows(tmp_path):
    path = tmp_path / "b.csv"
    path.write_bytes(b"\xef\xbb\xbffilm,902,0,0,1,1,7,0.25\r\nfilm,903\r\n")
    found = read_boxes(path)
    assert (found.images.videos, found.empty.videos) == (["film"], ["film"])


def test_quoted_names_may_have_commas(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text('"a,b",902,0,0,1,1,7,0.25\nplain,"902",0,0,1,1,7\n\n"say ""hi"", you","903"\n')
    found = read_boxes(path)
    assert images_of(found.images) == [("a,b", 902.0), ("plain", 902.0)]
    assert found.scores.tolist() == [0.25, 1.0]
    assert images_of(found.empty) == [('say "hi", you', 903.0)]


def test_an_empty_file_has_no_boxes(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text("")
    assert len(read_boxes(path)) == len(read_images(path)) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("v,1,0,0,1,1,3,.5\nv,1,0,0,1,1\n", "line 2: expected 2, 7 or 8 columns, got 6"),
        ("v,1,0,0,1,1,3,.5\n\nv,1,0,0,x,1,3,.5\n", "line 3, column 5: expected a finite number, got 'x'"),
        ("v,1,0,0,1,1,3,nan\n", "line 1, column 8: expected a finite number, got 'nan'"),
        ("v,1,0,0,1,1,3,\n", "line 1, column 8: expected a finite number, got ''"),
        ("v,2\nv,inf\n", "line 2, column 2: expected a finite number, got 'inf'"),
        ("v,\n", "line 1: expected 2, 7 or 8 columns, got 1"),
        ("v, \n", "line 1, column 2: expected a finite number, got ' '"),
        ('v,1,0,0,"1,0",1,3,.5\n', "line 1: expected 2, 7 or 8 columns, got 9"),
        ('v,1\n\n"v,1\n', "line 3: expected quotes around whole columns, got '\"v,1' (unexpected end of data)"),
        ("v,1,0,0,1,1,3.5,.5\n", "line 1: expected the id of a class in column 7, got 3.5"),
        ("v,1,0,0,1,1,2147483648\n", "line 1: expected the id of a class in column 7, got 2.14748e+09"),
        ("video,time,x1,y1,x2,y2,class\n", "line 1, column 2: expected a finite number, got 'time'"),
    ],
)
def test_bad_boxes_are_refused_by_line(tmp_path, text, complaint):
    path = tmp_path / "b.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_boxes(path)
    assert str(caught.value) == f"{path}: {complaint}"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "b.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected UTF-8 text, got binary data"):
        read_boxes(path)


def test_excluded_images_have_two_columns(tmp_path):
    path = tmp_path / "excluded.csv"
    path.write_text("film,0902\nfilm,0903\n")
    assert images_of(read_images(path)) == [("film", 902.0), ("film", 903.0)]
    path.write_text("film,0902\nfilm,0903,1\n")
    with pytest.raises(InputError, match=r"line 2: expected 2 columns, got 3$"):
        read_images(path)


@pytest.mark.parametrize(
    "text",
    [
        'item {\n  name: "stand"\n  id: 12\n}\nitem {\n  name: "sit (on a \'chair\')"\n  id: 11\n}\n',
        "label {\n name: 'stand'\n label_id: 12\n label_type: PERSON_MOVEMENT\n}\n"
        "label{name:\"sit (on a 'chair')\" label_id:11}",
    ],
)
def test_label_maps_are_read_by_id(tmp_path, text):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    assert list(read_labelmap(path).items()) == [(11, "sit (on a 'chair')"), (12, "stand")]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stand\nsit\n", 'expected a label map of item { name: "..." id: N }, got none'),
        ('item { name: "a" id: 1 }\n\nitem {\n}', "line 3: expected a class with name and id, got item { }"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }\n', "line 2: class 1 is listed twice"),
    ],
)  # fmt: skip
def test_bad_label_maps_are_refused_by_line(tmp_path, text, complaint):
    path = tmp_path / "map.pbtxt"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_labelmap(path)
    assert str(caught.value) == f"{path}: {complaint}"
