"""Slices of rows: each has the bits that an evaluation of its rows alone gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import corner_labels, make_case
from hypothesis import given
from hypothesis import strategies as st
from reference import average_precision, per_class

from vltr_eval import Evaluation, Evaluator, Report, compare, distributed, evaluate, evaluate_batches
from vltr_eval._engine import slices as engine
from vltr_eval.formats.slice_files import read_slices
from vltr_eval.program.cli import main

NUM_ROWS, COUNTS = 70, [900, 600, 300, 200, 90, 8]
OPTIONS = {"train_counts": COUNTS, "groups": [*"aabbc", None], "sap": 3}


def case(num_rows=NUM_ROWS, seed=0):
    scores, _ = make_case(num_rows, 6, seed=seed, levels=12)
    labels = corner_labels(num_rows, seed=seed)
    return (scores + labels).astype(np.float32), labels


SCORES, LABELS = case()
TIMES = np.random.default_rng(0).choice(["day", "night", ""], NUM_ROWS)
CLUSTERS = np.random.default_rng(1).integers(0, 20, NUM_ROWS)


def bits(groups):
    """Return everything that groups hold, where NaN equals NaN."""
    return [
        (g.name, g.partition, g.num_classes, g.num_undefined, repr(g.values), repr(g.errors), repr(g.intervals))
        for g in groups
    ]


def assert_alone(report, of_row, scores, labels, **options):
    """Assert that each slice of the report has the bits of evaluating its rows."""
    assert [part.name for part in report.slices] == sorted({str(name) for name in of_row} - {""})
    for part in report.slices:
        rows = np.array([str(name) == part.name for name in of_row])
        own = {name: value[rows] if name == "clusters" else value for name, value in options.items()}
        assert part.num_rows == rows.sum()
        assert bits(part.groups) == bits(evaluate(scores[rows], labels[rows], **own).groups)


@given(
    st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=NUM_ROWS, max_size=NUM_ROWS).filter(any),
    st.booleans(),
    st.booleans(),
)
def test_slices_have_the_bits_of_their_rows_alone(of_row, in_runs, has_intervals):
    of_row = sorted(of_row) if in_runs else of_row
    options = OPTIONS | ({"interval": 0.9} if has_intervals else {})
    assert_alone(evaluate(SCORES, LABELS, slices=of_row, **options), of_row, SCORES, LABELS, **options)


@pytest.mark.parametrize("most_bytes", [1 << 20, 200])
@pytest.mark.parametrize("options", [{}, {"interval": 0.9}, {"interval": 0.9, "clusters": CLUSTERS}])
@pytest.mark.parametrize("layout", ["rows", "classes", "strided", "shards", "float16", "int64"])
def test_layouts_dtypes_and_copies_in_parts_change_no_bit(monkeypatch, layout, options, most_bytes):
    monkeypatch.setattr(engine, "_MOST_BYTES", most_bytes)
    scores = {
        "rows": SCORES,
        "classes": np.asfortranarray(SCORES),
        "strided": np.repeat(SCORES, 2, axis=1)[:, ::2],
        "shards": [SCORES[:1], SCORES[1:40], SCORES[40:]],
        "float16": SCORES.astype(np.float16),
        "int64": (SCORES * 8).astype(np.int64),
    }[layout]
    whole = np.concatenate(scores) if layout == "shards" else scores
    report = evaluate(scores, LABELS, slices=TIMES, **OPTIONS, **options)
    assert_alone(report, TIMES, whole, LABELS, **OPTIONS, **options)


def test_bfloat16_and_tensors_are_copied_as_they_are():
    torch = pytest.importorskip("torch")
    scores = torch.from_numpy(SCORES).to(torch.bfloat16)
    assert_alone(evaluate(scores, LABELS, slices=TIMES, **OPTIONS), TIMES, scores, LABELS, **OPTIONS)


def test_means_are_those_of_the_textbook():
    report = evaluate(SCORES, LABELS, slices=TIMES, sap=None, topk=None)
    for part in report.slices:
        rows = part.name == TIMES
        expected = np.nanmean(per_class(average_precision, SCORES[rows], LABELS[rows]))
        assert part.groups[0].values["mAP"] == pytest.approx(expected, abs=1e-12)


def test_slices_change_nothing_else():
    plain = evaluate(SCORES, LABELS, **OPTIONS)
    sliced = evaluate(SCORES, LABELS, slices=TIMES, **OPTIONS)
    document = json.loads(sliced.to_json())
    del document["slices"]
    assert document == json.loads(plain.to_json())
    assert sliced.metrics() == plain.metrics()
    assert sliced.to_csv() == plain.to_csv()


def test_json_reads_back_with_undefined_means():
    labels = LABELS.copy()
    labels[TIMES == "day"] = False
    report = evaluate(SCORES, labels, slices={"time": TIMES, "k": CLUSTERS % 3}, interval=0.9, **OPTIONS)
    again = Report.from_json(report.to_json())
    assert again == report
    assert [(part.partition, part.name, part.num_rows) for part in again.slices] == [
        (part.partition, part.name, part.num_rows) for part in report.slices
    ]
    assert np.isnan(again.slices[0].groups[0].values["mAP"])


def test_text_has_a_line_for_each_slice():
    report = evaluate(SCORES, LABELS, slices=TIMES, sap=None, topk=None)
    lines = str(report).split("by slices\n")[1].splitlines()
    assert lines[0].split() == ["rows", "classes", "mAP", "ROC-AUC"]
    assert [line.split()[0] for line in lines[1:]] == ["day", "night"]
    assert lines[1].split()[1] == str((TIMES == "day").sum())
    several = str(evaluate(SCORES, LABELS, slices={"time": TIMES, "k": CLUSTERS % 2}, sap=None, topk=None))
    assert "by time and k\n" in several
    assert "\nk:1 " in several


def test_progress_rises_to_one():
    seen = []
    evaluate(SCORES, LABELS, slices=TIMES, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


# ---------------------------------------------------------------------------------------------------------------------
# Forms, files, errors
# ---------------------------------------------------------------------------------------------------------------------

IDS = [f"v{row:03d}" for row in range(NUM_ROWS)]


def test_every_form_gives_the_same_slices(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    order = np.random.default_rng(2).permutation(NUM_ROWS)
    lines = "".join(f"{IDS[row]},{TIMES[row]}\n" for row in order)
    (tmp_path / "s.csv").write_text(f"video,slices\n{lines}other,day\n")
    (tmp_path / "s.tsv").write_text("slices\n" + "".join(f'"{time}"\n' for time in TIMES))
    (tmp_path / "s.txt").write_text("".join(f"{time}\n" for time in TIMES))
    np.save(tmp_path / "s.npy", TIMES)
    frame = pandas.DataFrame({"video": IDS, "slices": TIMES})
    forms = [
        *(tmp_path / name for name in ("s.csv", "s.tsv", "s.txt", "s.npy")),
        TIMES,
        TIMES.tolist(),
        [time or None for time in TIMES],
        {"slices": TIMES},
        dict(zip(IDS, TIMES.tolist(), strict=True)),
        pandas.Series(TIMES),
        frame.iloc[order],
        frame.set_index("video").iloc[order],
        polars.DataFrame({"video": IDS, "slices": TIMES}),
    ]
    expected = [(part.name, np.flatnonzero(part.name == TIMES).tolist()) for part in read_slices(TIMES, NUM_ROWS)]
    for form in forms:
        found = read_slices(form, NUM_ROWS, np.array(IDS, object))
        assert [(part.name, part.rows.tolist()) for part in found] == expected, form


def test_numbers_are_names_in_their_order():
    assert [part.name for part in read_slices(np.array([10, 2, 9, 2]), 4)] == ["2", "9", "10"]


@pytest.mark.parametrize(
    ("slices", "sentence"),
    [
        (["a"] * 3, "slices: expected a slice for each of the 70 evaluated rows, got 3; leave out those"),
        ([""] * NUM_ROWS, "slices: expected a slice for some row in 'slices', got none"),
        ({"v1": "a"}, "slices: expected ids of the rows of the scores to join slices by, got none; give ids="),
        ({"": TIMES}, "slices: expected a name for each partition, got an empty one"),
    ],
)
def test_wrong_slices_are_refused(slices, sentence):
    with pytest.raises(ValueError, match=r"^slices: ") as error:
        evaluate(SCORES, LABELS, slices=slices)
    assert str(error.value).startswith(sentence)


def test_a_row_without_a_line_and_a_column_of_ids_are_refused():
    ids = np.array(IDS, object)
    with pytest.raises(ValueError, match=r"^slices: expected a line for each of 70 rows, but it lacks 'v007'$"):
        read_slices({name: "a" for name in IDS if name != "v007"}, NUM_ROWS, ids)
    with pytest.raises(ValueError, match=r"^slices: expected at most 1,000 slices in 'slices', got 1,001; leave"):
        read_slices([f"{row}" for row in range(1001)], 1001)


@pytest.mark.parametrize("slices", ["none.csv", 3, [["a"]] * NUM_ROWS, [0.5, b"a"]])
def test_what_is_no_slice_is_refused(slices):
    with pytest.raises((TypeError, ValueError), match=r"^(slices|none\.csv): (expected|no such file)"):
        evaluate(SCORES, LABELS, slices=slices)


def test_streams_and_ranks_refuse_slices():
    for call in (
        lambda: Evaluator(6, slices=TIMES),
        lambda: evaluate_batches([(SCORES, LABELS)], 6, slices=TIMES),
        lambda: distributed.evaluate(SCORES, LABELS, slices=TIMES),
    ):
        with pytest.raises(TypeError, match=r"^slices: expected vltr_eval.evaluate, which has all rows of a slice"):
            call()


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons, the program
# ---------------------------------------------------------------------------------------------------------------------

OTHER = (SCORES + np.random.default_rng(1).normal(size=SCORES.shape)).astype(np.float32)


@pytest.mark.parametrize("clusters", [None, CLUSTERS])
def test_differences_on_slices_are_those_of_their_rows_alone(clusters):
    options = {"train_counts": COUNTS, "groups": OPTIONS["groups"]}
    runs = [SCORES, SCORES[:, ::-1]]
    found = compare(runs, OTHER, labels=LABELS, slices=TIMES, clusters=clusters, **options)
    assert [part.name for part in found.slices] == ["day", "night"]
    for part in found.slices:
        rows = part.name == TIMES
        own = None if clusters is None else clusters[rows]
        alone = compare([run[rows] for run in runs], OTHER[rows], labels=LABELS[rows], clusters=own, **options)
        assert repr(part.systems[0].means) == repr(alone.systems[0].means)
        assert f"{part.name}, {part.num_rows} rows: new minus base (2 runs)" in found.to_text()
        entry = json.loads(found.to_json())["slices"]["slices"][part.name]
        assert entry["systems"]["new"]["mAP"]["difference"] == alone.systems[0].of("mAP").difference
    assert "slices" not in json.loads(compare(runs, OTHER, labels=LABELS).to_json())


def test_slices_are_joined_by_the_ids_of_each_system():
    order = np.random.default_rng(3).permutation(NUM_ROWS)
    pandas = pytest.importorskip("pandas")
    names = [f"c{c}" for c in range(6)]

    def frame(values, rows):
        return pandas.DataFrame(values[rows], columns=names).assign(video_id=np.array(IDS)[rows])

    slices = pandas.DataFrame({"video_id": IDS, "time": TIMES})
    labels, rows = frame(LABELS.astype(int), slice(None)), slice(None)
    one = compare(frame(SCORES, rows), frame(OTHER, rows), labels=labels, slices=slices)
    two = compare(frame(SCORES, order), frame(OTHER, rows), labels=labels, slices=slices)
    assert repr([part.systems[0].means for part in one.slices]) == repr([part.systems[0].means for part in two.slices])


def test_saved_evaluations_have_no_slices(tmp_path):
    Evaluation.from_predictions(SCORES, LABELS).save(tmp_path / "a.npz")
    with pytest.raises(TypeError, match=r"^slices: expected predictions of all systems, got a saved evaluation"):
        compare(tmp_path / "a.npz", OTHER, labels=LABELS, slices=TIMES)
    with pytest.raises(TypeError, match=r"^slices: expected predictions to evaluate with it, got saved evaluations"):
        compare(tmp_path / "a.npz", tmp_path / "a.npz", slices=TIMES)


@pytest.fixture
def files(tmp_path):
    for name, array in (("preds", SCORES), ("other", OTHER), ("labels", LABELS)):
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    (tmp_path / "s.csv").write_text("id,time\n" + "".join(f"{IDS[row]},{TIMES[row]}\n" for row in range(NUM_ROWS)))
    return tmp_path


def test_the_program_reports_slices(files, capsys):
    preds, other, labels, ids, slices = (
        str(files / name) for name in ("preds.npy", "other.npy", "labels.npy", "ids.txt", "s.csv")
    )
    by_id = ("--ids", ids, "--label-ids", ids, "--slices", slices, "--quiet")
    assert main([preds, labels, *by_id, "--json", "-", "--save-evaluation", str(files / "e.npz")]) == 0
    report = evaluate(SCORES, LABELS, slices={"time": TIMES})
    assert capsys.readouterr().out == report.to_json()
    assert Evaluation.load(files / "e.npz").report == report
    assert main(["compare", preds, other, "--labels", labels, *by_id]) == 0
    assert "night, " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["compare", str(files / "e.npz"), str(files / "e.npz"), "--slices", slices])
    assert "argument --slices: expected predictions to evaluate with it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([preds, labels, "--slices", slices, "--csv", slices])
    assert "is an input and cannot be an output as well" in capsys.readouterr().err
