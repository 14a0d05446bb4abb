"""Groups of one's own: means over their members, every form and file, errors, comparisons, streams and ranks."""

from __future__ import annotations

import json
import math
import unicodedata

import numpy as np
import pytest
from cases import corner_labels, make_case
from hypothesis import given
from hypothesis import strategies as st
from ranks import group_of
from reference import average_precision, numbers, per_class, roc_auc

import vltr_eval
from vltr_eval import Evaluation, Evaluator, Report, compare, distributed, evaluate, evaluate_batches
from vltr_eval._engine import counting, mean_effects
from vltr_eval.formats.group_files import read_group_file, read_groups
from vltr_eval.program.cli import main

NAMES = ["cat", "dog", "elk", "ant", "bee", "cod"]
COUNTS = [900, 600, 300, 200, 90, 8]
GENUS = ["pet", "pet", None, "insect", "insect", "a|b,c=d"]
SIZE = ["small", "large", "large", "small", None, "large"]
MEMBERS = {"pet": [0, 1], "insect": [3, 4], "a|b,c=d": [5]}
PARTITIONS = {"genus": GENUS, "size": SIZE}
FLAT = {
    **{f"genus:{name}": members for name, members in MEMBERS.items()},
    "size:small": [0, 3],
    "size:large": [1, 2, 5],
}
OF_COUNTS = {"head": [0, 1], "medium": [2, 3], "tail": [4, 5]}


def case(num_rows=90, seed=0, levels=12):
    scores, _ = make_case(num_rows, len(NAMES), seed=seed, levels=levels)
    labels = corner_labels(num_rows, seed=seed)
    labels[:, 0] = labels[:, 2]  # the first class of the case has no positives
    labels[:4] = False
    return (scores + labels).astype(np.float32), labels


SCORES, LABELS = case()


def hostile():
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(lambda name: name.strip())


# ---------------------------------------------------------------------------------------------------------------------
# Means
# ---------------------------------------------------------------------------------------------------------------------


def test_means_are_those_of_the_members():
    report = evaluate(SCORES, LABELS, train_counts=COUNTS, groups=PARTITIONS, topk=(1, 2))
    means, columns = report.metrics(), report.classes
    trials = vltr_eval.sampled_average_precision(SCORES, LABELS, return_trials=True).trials
    ap, auc = per_class(average_precision, SCORES, LABELS), per_class(roc_auc, SCORES, LABELS)
    assert [(group.name, group.partition) for group in report.groups] == [
        ("overall", ""),
        *((name, "") for name in OF_COUNTS),
        *((name, name.partition(":")[0]) for name in FLAT),
    ]
    for name, members in {**OF_COUNTS, **FLAT}.items():
        assert means[f"mAP_{name}"] == pytest.approx(np.nanmean(ap[members]), abs=1e-12)
        assert means[f"ROC_AUC_{name}"] == pytest.approx(
            np.nanmean(auc[members]) if not np.isnan(auc[members]).all() else math.nan, abs=1e-12, nan_ok=True
        )
        for metric in ("expected_SAP", "SAP_chance", "Acc@1", "Acc@2"):
            assert means[f"{metric}_{name}"] == pytest.approx(np.nanmean(np.array(columns[metric])[members]), abs=1e-12)
        of_trials = np.nanmean(trials[:, members], axis=1)
        assert means[f"SAP_{name}"] == pytest.approx(of_trials.mean(), abs=1e-12)
        assert means[f"SAP_std_{name}"] == pytest.approx(of_trials.std(ddof=1), abs=1e-12)
    assert (columns["genus"], columns["size"]) == (tuple(GENUS), tuple(SIZE))
    assert [group.num_classes for group in report.groups[4:]] == list(map(len, FLAT.values()))


def test_one_partition_has_plain_names_and_needs_no_counts():
    report = evaluate(SCORES, LABELS, groups=GENUS, sap=None, topk=None)
    assert list(report.metrics()) == ["mAP", "ROC_AUC"] + [f"{m}_{g}" for g in MEMBERS for m in ("mAP", "ROC_AUC")]
    assert report.classes["groups"] == tuple(GENUS)
    assert report.groups[1].partition == "groups"
    assert "|groups:groups(3)|" in report.signature


def test_own_groups_change_no_other_number():
    for options in ({"interval": 0.9}, {"interval": 0.9, "clusters": np.arange(90) // 4}):
        plain = evaluate(SCORES, LABELS, train_counts=COUNTS, prior="uniform", **options)
        own = evaluate(SCORES, LABELS, train_counts=COUNTS, prior="uniform", groups=PARTITIONS, **options)
        means, columns = own.metrics(), own.classes
        assert {name: repr(means[name]) for name in plain.metrics()} == {k: repr(v) for k, v in plain.metrics().items()}
        assert {name: repr(columns[name]) for name in plain.classes} == {k: repr(v) for k, v in plain.classes.items()}


def test_json_reads_back_and_other_reports_have_no_new_keys():
    own = evaluate(SCORES, LABELS, train_counts=COUNTS, bounds="few-shot", groups=PARTITIONS, interval=0.9)
    again = Report.from_json(own.to_json())
    assert again == own
    assert again.groups[-1].partition == "size"
    assert again.settings == own.settings
    document = json.loads(evaluate(SCORES, LABELS, train_counts=COUNTS).to_json())
    assert {"partitions", "preset"}.isdisjoint(document["settings"])
    assert set(document["groups"]["head"]) == {"num_classes", "num_undefined"}
    assert "slices" not in document


@pytest.mark.parametrize(
    "damage",
    [
        lambda document: document["settings"].update(preset="oltr"),
        lambda document: document["settings"].update(preset=[100, 19]),
        lambda document: document["settings"].update(partitions={"genus": ["genus:pet"]}),
        lambda document: document["settings"].update(partitions=3),
        lambda document: document["groups"]["size:small"].update(partition="genus"),
        lambda document: document["classes"].update(size=["small", "huge", *[None] * 4]),
        lambda document: document["classes"].update(size=[1] * 6),
        lambda document: document["classes"].pop("size"),
    ],
)
def test_damaged_groups_in_json_are_refused(damage):
    document = json.loads(evaluate(SCORES, LABELS, groups=PARTITIONS, train_counts=COUNTS, bounds="few-shot").to_json())
    damage(document)
    with pytest.raises(ValueError, match=r"^report: "):
        Report.from_json(json.dumps(document))


@pytest.mark.parametrize(("preset", "names"), [("few-shot", ("many", "medium", "few")), ("lvis", ("f", "c", "r"))])
def test_presets_name_the_groups_everywhere(preset, names, tmp_path, capsys):
    report = evaluate(SCORES, LABELS, train_counts=COUNTS, bounds=preset, interval=0.9, prior="uniform")
    for name in names:
        assert {f"mAP_{name}", f"SAP_std_{name}", f"mAP_{name}_se", f"uniform/mAP_{name}"} <= set(report.metrics())
    assert f"({preset})|" in report.signature
    assert set(report.classes["group"]) <= set(names)
    assert names[0] in report.to_text()
    saved = tmp_path / "saved.npz"
    Evaluation.from_predictions(SCORES, LABELS, train_counts=COUNTS, bounds=preset).save(saved)
    found = compare(saved, SCORES[:, ::-1], labels=LABELS).systems[0]
    assert f"mAP_{names[-1]}" in [mean.name for mean in found.means]
    with pytest.raises(ValueError, match="expected the settings of"):
        compare(saved, SCORES, labels=LABELS, bounds=report.settings.bounds)


def test_videolt_is_the_default():
    named, plain = (evaluate(SCORES, LABELS, train_counts=COUNTS, **b).to_json() for b in ({"bounds": "videolt"}, {}))
    assert named == plain


def test_priors_have_the_means_of_own_groups():
    report = evaluate(SCORES, LABELS, prior="uniform", groups=GENUS)
    for name, members in MEMBERS.items():
        values = np.array(report.classes["uniform/AP"])[members]
        assert report.metrics()[f"uniform/mAP_{name}"] == pytest.approx(np.nanmean(values), abs=1e-12)


@given(st.lists(st.none() | hostile(), min_size=6, max_size=6).filter(any), hostile())
def test_names_are_data(groups, partition):
    try:
        report = evaluate(SCORES, LABELS, groups={partition: groups}, sap=None, topk=None, interval=0.9)
    except ValueError as error:
        if str(error).startswith("groups: expected"):  # a name that reports have
            return
        raise
    assert Report.from_json(report.to_json()) == report
    assert report.signature.count("|") == 6
    assert report.signature.isprintable()
    text = report.to_text(per_class=True)
    assert {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")} - set("\u200c\u200d") == {
        "\n"
    }
    names = {group.strip() for group in groups if group is not None} - {""}
    assert {group.name for group in report.groups[1:]} == names


# ---------------------------------------------------------------------------------------------------------------------
# Forms and files
# ---------------------------------------------------------------------------------------------------------------------


def write_files(folder):
    """Return files of the two partitions in every format, and one of a single partition in class order."""
    order = [3, 0, 5, 2, 1, 4]
    rows = [(NAMES[c], GENUS[c] or "", SIZE[c] or "") for c in order]
    quoted = "class,genus,size\n" + "".join(f'{name},"{genus}",{size}\n' for name, genus, size in rows)
    by_index = "class_index\tgenus\tsize\n" + "".join(f"{c}\t{GENUS[c] or ''}\t{SIZE[c] or ''}\n" for c in order)
    by_class = {part: {NAMES[c]: groups[c] for c in order if groups[c]} for part, groups in PARTITIONS.items()}
    contents = {"named.csv": quoted, "index.tsv": by_index, "both.json": json.dumps(by_class)}
    for name, text in contents.items():
        (folder / name).write_text(text)
    (folder / "order.txt").write_text("".join(f"{group or ''}\n" for group in GENUS))
    return [folder / name for name in contents], folder / "order.txt"


def test_every_form_gives_the_same_report(tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    options = {"class_names": NAMES, "train_counts": COUNTS, "topk": None, "sap": None}
    expected = evaluate(SCORES, LABELS, groups=PARTITIONS, **options)
    files, in_order = write_files(tmp_path)
    columns = {"class": NAMES, **PARTITIONS}
    frame = pandas.DataFrame(columns)
    forms = [
        *files,
        *map(str, files),
        {"genus": dict(zip(NAMES, GENUS, strict=True)), "size": np.array(SIZE, object)},
        {"genus": pandas.Series(GENUS, NAMES), "size": {number: size for number, size in enumerate(SIZE)}},
        frame,
        frame.set_index("class").iloc[::-1],
        polars.DataFrame(columns),
        read_group_file(files[0]),
    ]
    for form in forms:
        assert evaluate(SCORES, LABELS, groups=form, **options) == expected
    one = evaluate(SCORES, LABELS, groups=GENUS, **options)
    for form in (in_order, {name: genus for name, genus in zip(NAMES, GENUS, strict=True) if genus}, np.array(GENUS)):
        assert evaluate(SCORES, LABELS, groups=form, **options) == one


def test_parquet_gives_the_same_groups(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"class": NAMES, **PARTITIONS}).to_parquet(tmp_path / "groups.parquet", index=False)
    found = read_groups(read_group_file(tmp_path / "groups.parquet"), 6, NAMES)
    assert found == {"genus": tuple(GENUS), "size": tuple(SIZE)}


@given(st.permutations(range(6)))
def test_the_order_of_the_lines_changes_nothing(order):
    forms = [
        {NAMES[c]: GENUS[c] for c in order},
        {str(c): GENUS[c] for c in order},
        {c + 1: GENUS[c] for c in order},  # from 1, because all of 1 to C are there
    ]
    assert [read_groups(form, 6, NAMES)["groups"] for form in forms] == [tuple(GENUS)] * 3


def test_numbers_are_names_and_classes_may_be_called_by_numbers():
    assert read_groups([0, 1.0, np.nan, np.int64(2)], 4) == {"groups": ("0", "1", None, "2")}
    assert read_groups({"2": "a", "0": "b"}, 3, ["2", "1", "0"]) == {"groups": ("a", None, "b")}
    assert read_groups({"2": "a", "0": "b"}, 3, ["x", "y", "z"]) == {"groups": ("b", None, "a")}


def test_a_column_called_group_does_not_replace_that_of_the_counts(tmp_path):
    (tmp_path / "g.csv").write_text("class,group\n" + "".join(f"{c},g{c % 2}\n" for c in range(6)))
    classes = evaluate(SCORES, LABELS, train_counts=COUNTS, groups=tmp_path / "g.csv").classes
    assert classes["groups"] == ("g0", "g1") * 3
    assert classes["group"][0] == "head"


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        (["a"] * 5, "groups: 5 groups, but the scores have 6 classes"),
        ([None] * 6, "groups: expected a group for some class in 'groups', got none"),
        ({"": ["a"] * 6}, "groups: expected a name for each partition, got an empty one"),
        ({"cow": "a"}, "groups: expected the classes of class_names by name, but it lacks 'cow'; did you mean 'cod'"),
        ({6: "a"}, "groups: class index 6, but the scores have 6 classes"),
        ({"AP": GENUS}, "groups: expected a partition whose name no other column of the per-class table has, got 'AP'"),
        ({"x/share": GENUS}, "groups: expected a partition whose name no other column of the per-class table"),
        *(
            (
                ["a"] * 5 + [name],
                f"groups: expected names that give every mean a name of its own, got the group '{name}'",
            )
            for name in ("overall", "head", "tail", "low", "se", "std", "chance")
        ),
        (["x", "x_se", *"abcd"], "groups: expected names that give every mean a name of its own, got the group 'x_se'"),
        ({"a": ["b:c", *"12345"], "a:b": ["c", *"12345"]}, "groups: expected names that give every mean"),
    ],
)
def test_wrong_groups_are_refused(groups, sentence):
    with pytest.raises(ValueError, match=r"expected|but the scores|cannot read|not JSON") as error:
        evaluate(SCORES, LABELS, class_names=NAMES, train_counts=COUNTS, groups=groups)
    assert str(error.value).startswith(sentence)


def test_head_is_a_name_like_others_without_counts():
    report = evaluate(SCORES, LABELS, groups=["head", "head", "tail", "tail", "medium", None])
    assert report.metrics()["mAP_tail"] == pytest.approx(np.mean(per_class(average_precision, SCORES, LABELS)[2:4]))


@pytest.mark.parametrize("groups", ["abcdef", [["a"]] * 6, 3])
def test_groups_that_are_no_text_are_refused(groups):
    with pytest.raises(TypeError, match=r"^groups: expected"):
        Evaluator(6, groups=groups)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("g.csv", "", "expected a header and lines below it, got 0 lines"),
        ("g.csv", "class\ncat\n", "expected a column of classes and one for each partition, got 'class'"),
        ("g.csv", "cat,pet\ndog,pet\n", "expected a header such as class,genus in the first line, got the class 'cat'"),
        ("g.csv", "0,pet\n1,pet\n", "expected a header such as class,genus in the first line, got the class '0'"),
        ("g.csv", "class,a,a\ncat,1,2\n", "expected columns of different names, got 'a' twice"),
        ("g.csv", "class,a\ncat,1,2\n", "line 2: expected 2 fields as in the header, got 3"),
        ("g.csv", 'class,a\ncat,"1', "expected a text table, got a damaged one"),
        ("g.csv", "class,a\ncat,x\ncat,y\n", "expected each class once, got 'cat' twice"),
        ("g.txt", "a\nb\n", "2 groups, but the scores have 6 classes"),
        ("g.txt", "", "expected a group for some class in 'groups', got none"),
        ("g.npy", "", "cannot read groups from a '.npy' file"),
        ("g.json", "{}", "expected a group for some class in 'groups', got none"),
        ("g.json", "[", "not JSON"),
    ],
)
def test_wrong_files_are_refused(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"expected|but the scores|cannot read|not JSON") as error:
        read_groups(read_group_file(tmp_path / name), 6, NAMES)
    assert sentence in str(error.value)
    assert str(error.value).startswith(str(tmp_path / name))


def test_named_lines_without_names_in_the_evaluation(tmp_path):
    write_files(tmp_path)
    in_order = {name: GENUS[c] for c, name in enumerate(NAMES)}
    with pytest.raises(
        ValueError, match=r"^groups: expected class names to match 'cat', 'dog', 'elk' and 3 more, got n"
    ):
        evaluate(SCORES, LABELS, groups=in_order)


# ---------------------------------------------------------------------------------------------------------------------
# Errors of the means
# ---------------------------------------------------------------------------------------------------------------------


def jackknife_errors(metric, scores, labels) -> dict[str, float]:
    """Return the jackknife error of the mean over each group, by dropping every row once."""

    def means(rows):
        values = per_class(metric, scores[rows], labels[rows])
        return [np.nanmean(values[members]) for members in FLAT.values()]

    n = len(scores)
    without = np.array([means(np.delete(np.arange(n), row)) for row in range(n)])
    return dict(zip(FLAT, np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)), strict=True))


@pytest.mark.parametrize(("name", "metric"), [("mAP", average_precision), ("ROC_AUC", roc_auc)])
def test_errors_on_overlapping_partitions_are_those_of_dropping_rows(name, metric):
    scores, labels = case(24, seed=3, levels=6)
    labels[:, 5] = False
    labels[5:9, 5] = True
    labels[:, 4] = np.arange(24) % 3 == 0
    means = evaluate(scores, labels, groups=PARTITIONS, train_counts=COUNTS, interval=0.9).metrics()
    for group, error in jackknife_errors(metric, scores, labels).items():
        assert means[f"{name}_{group}_se"] == pytest.approx(error, abs=1e-11)


@pytest.mark.parametrize("clusters", [None, np.arange(90) // 3])
def test_passes_of_few_groups_give_the_bits_of_one(monkeypatch, clusters):
    groups = {"many": [f"g{c}" for c in range(6)], "size": SIZE}
    options = {"train_counts": COUNTS, "groups": groups, "interval": 0.9, "clusters": clusters}
    whole = evaluate(SCORES, LABELS, **options)
    kept = Evaluation.from_predictions(SCORES, LABELS, **options)
    monkeypatch.setattr(mean_effects, "_MOST_BYTES", 1)
    seen = []
    monkeypatch.setattr(
        counting, "EffectColumns", lambda *a, **k: seen.append(len(a[1])) or mean_effects.EffectColumns(*a, **k)
    )
    assert evaluate(SCORES, LABELS, **options) == whole
    assert seen == [3] + [1] * 8
    again = Evaluation.from_predictions(SCORES, LABELS, **options)
    assert {name: effect.sums.tolist() for name, effect in again.effects.items()} == {
        name: effect.sums.tolist() for name, effect in kept.effects.items()
    }
    assert again.report == whole


def test_effects_of_hundreds_of_groups_are_not_kept_without_need():
    scores, labels = make_case(40, 300, seed=4)
    settings, class_info = vltr_eval.EvalOptions(interval=0.9, groups=[f"g{c}" for c in range(300)]).checked(300)
    matrix = vltr_eval._engine.inputs.borrow_matrix("scores", scores)
    chunk = counting.Chunk(matrix, vltr_eval.Positives.from_labels(labels))
    counts = counting.count_chunks(settings, [chunk], 300, class_info=class_info)
    assert set(counts.effects) == {"mAP", "expected_SAP", "ROC_AUC", "Acc@1", "Acc@5"}
    assert len(counts.errors) == 300 * 5


def test_more_effects_than_can_be_kept_are_refused(monkeypatch):
    monkeypatch.setattr(counting, "_MOST_KEPT", 8 * 90 * 5 * 2)
    with pytest.raises(ValueError, match=r"^groups: expected at most 2 groups of one's own .* got 3; leave partitions"):
        Evaluation.from_predictions(SCORES, LABELS, groups=GENUS)


# ---------------------------------------------------------------------------------------------------------------------
# Comparisons, streams, ranks
# ---------------------------------------------------------------------------------------------------------------------

OTHER = (SCORES + np.random.default_rng(1).normal(size=SCORES.shape)).astype(np.float32)


def test_saved_evaluations_compare_as_predictions(tmp_path):
    options = {"train_counts": COUNTS, "bounds": "lvis", "groups": PARTITIONS, "class_names": NAMES}
    for name, scores in (("a", SCORES), ("b", OTHER)):
        kept = Evaluation.from_predictions(scores, LABELS, **options)
        kept.save(tmp_path / f"{name}.npz")
        loaded = Evaluation.load(tmp_path / f"{name}.npz")
        assert loaded.report == kept.report
        assert list(loaded.effects) == list(kept.effects)
        for mean, effect in kept.effects.items():
            assert (loaded.effects[mean].exponent, loaded.effects[mean].count) == (effect.exponent, effect.count)
            np.testing.assert_array_equal(loaded.effects[mean].sums, effect.sums, strict=True)
    found = compare(SCORES, OTHER, labels=LABELS, **options)
    for systems in ((tmp_path / "a.npz", tmp_path / "b.npz"), (tmp_path / "a.npz", OTHER)):
        labels = None if len({type(system) for system in systems}) == 1 else LABELS
        assert repr(compare(*systems, labels=labels).systems[0].means) == repr(found.systems[0].means)
    names = [mean.name for mean in found.systems[0].means]
    assert [name for name in names if name.startswith("mAP")] == [
        "mAP",
        "mAP_f",
        "mAP_c",
        "mAP_r",
        *(f"mAP_{g}" for g in FLAT),
    ]


def test_outcomes_follow_the_groups_of_the_report():
    found = compare(SCORES, OTHER, labels=LABELS, train_counts=COUNTS, bounds="few-shot", groups=PARTITIONS).systems[0]
    outcomes = [one for one in found.outcomes(0.95) if one.adjustment == "holm"]
    p_values, differences = np.array(found.classes["holm"]), np.array(found.classes["difference"])
    expected = {"overall": range(6), "many": range(4), "medium": [4], "few": [5], **FLAT}
    assert [one.group for one in outcomes] == list(expected)
    for one in outcomes:
        members = np.array(expected[one.group])
        tested = members[~np.isnan(p_values[members])]
        decided = tested[p_values[tested] <= 0.05]
        assert (one.tested, one.wins, one.losses) == (
            len(tested),
            int((differences[decided] > 0).sum()),
            int((differences[decided] <= 0).sum()),
        )


def test_evaluations_of_other_groups_are_not_compared(tmp_path):
    Evaluation.from_predictions(SCORES, LABELS, groups=GENUS).save(tmp_path / "a.npz")
    Evaluation.from_predictions(OTHER, LABELS, groups=GENUS[::-1]).save(tmp_path / "b.npz")
    Evaluation.from_predictions(OTHER, LABELS).save(tmp_path / "c.npz")
    for other in ("b", "c"):
        with pytest.raises(
            ValueError, match=rf"^{other}: groups: expected the groups of one's own of a, got other ones"
        ):
            compare(tmp_path / "a.npz", tmp_path / f"{other}.npz")


def test_evaluator_and_streams_give_the_report_of_one_matrix():
    options = {"train_counts": COUNTS, "bounds": "few-shot", "groups": PARTITIONS, "interval": 0.9}
    expected = evaluate(SCORES, LABELS, **options)
    parts = [(SCORES[first:last], LABELS[first:last]) for first, last in ((0, 7), (7, 50), (50, 90))]
    evaluator = Evaluator(6, **options)
    for part in parts:
        evaluator.update(*part)
    assert evaluator.compute() == expected
    assert evaluate_batches(parts, 6, **options) == expected


def evaluate_share(rank, options, stop):
    rows = slice(stop) if rank == 0 else slice(stop, None)
    return distributed.evaluate(SCORES[rows], LABELS[rows], **options).to_json()


def evaluate_other_groups(rank):
    groups = [*"aabbcc"] if rank == 0 else [*"abbbcc"]
    return distributed.evaluate(SCORES, LABELS, groups=groups)


def test_ranks_give_the_report_of_one_process():
    options = {"train_counts": COUNTS, "bounds": "few-shot", "groups": PARTITIONS, "interval": 0.9}
    found = group_of(2).outcomes(evaluate_share, options, 33)
    assert found == [evaluate(SCORES, LABELS, **options).to_json()] * 2
    for outcome in group_of(2).outcomes(evaluate_other_groups):
        assert outcome.message.endswith("got different ones on rank 0 and on rank 1; groups must be the same too")


# ---------------------------------------------------------------------------------------------------------------------
# The program
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "preds.npy", SCORES)
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    (tmp_path / "counts.txt").write_text("\n".join(map(str, COUNTS)))
    write_files(tmp_path)
    return tmp_path


def run(files, *words):
    return main([str(files / word) if (files / str(word)).exists() else str(word) for word in words])


GIVEN = ("preds.npy", "labels.npy", "--class-names", "names.txt", "--groups", "named.csv", "--quiet")


def test_the_program_reports_own_groups(files, capsys):
    assert run(files, *GIVEN, "--counts", "counts.txt", "--bounds", "few-shot", "--json", "-") == 0
    options = {"train_counts": COUNTS, "class_names": NAMES, "bounds": "few-shot", "groups": files / "named.csv"}
    assert capsys.readouterr().out == evaluate(SCORES, LABELS, **options).to_json()


def test_limits_know_the_names_of_groups(files, capsys):
    assert run(files, *GIVEN, "--fail-under", "mAP_genus:a|b,c=d=0.999999") == 3
    assert "mAP_genus:a|b,c=d is" in capsys.readouterr().err
    assert run(files, *GIVEN, "--save-evaluation", str(files / "e.npz")) == 0
    gate = (*GIVEN, "--baseline", "e.npz", "--max-drop")
    assert run(files, *gate, "mAP_genus:a|b,c=d=0.1,mAP_size:small=0,mAP=0") == 0
    for option in (("--fail-under", "mAP_bird=0"), ("--baseline", "none.npz", "--max-drop", "mAP_bird=0")):
        with pytest.raises(SystemExit) as stop:
            run(files, "none.npy", *GIVEN[1:], *option)
        assert stop.value.code == 2
        assert "unknown metric 'mAP_bird', expected one of mAP" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(files, *GIVEN, "--bounds", "lvis", "--fail-under", "mAP_r=0")
    assert "give --counts FILE as well, which mAP_r needs" in capsys.readouterr().err


def test_lines_of_classes_show_and_sort_by_partitions(files, capsys):
    assert run(files, *GIVEN, "--per-class", "--sort", "genus", "--sap", "none") == 0
    lines = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert lines[0].split()[:4] == ["class", "name", "genus", "size"]
    assert [line.split()[1] for line in lines[1:]] == ["cod", "ant", "bee", "cat", "dog", "elk"]
    assert lines[-1].split()[2] == "-"
    assert run(files, *GIVEN, "--csv", "-") == 0
    assert capsys.readouterr().out.splitlines()[3].startswith("2,elk,,large,")


def test_a_saved_table_has_own_groups_too(files, capsys):
    assert (
        run(files, *GIVEN, "--save-table", str(files / "t.npz"), "--sap", "exact", "--topk", "none", "--json", "-") == 0
    )
    expected = json.loads(capsys.readouterr().out)["metrics"]
    assert run(files, "table", "t.npz", *GIVEN[2:], "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == expected


def test_tables_of_comparisons_escape_names(files, capsys):
    np.save(files / "other.npy", OTHER)
    words = ("compare", "preds.npy", "other.npy", "--labels", "labels.npy", *GIVEN[2:])
    assert run(files, *words, "--markdown") == 0
    assert "| mAP\\_genus:a\\|b,c=d |" in capsys.readouterr().out
    assert run(files, *words, "--latex", "--bounds", "lvis", "--counts", "counts.txt") == 0
    out = capsys.readouterr().out
    assert "\nmAP\\_genus:a\\textbar{}b,c=d & " in out
    assert "\nmAP\\_r & " in out


def test_check_lists_the_sizes_of_groups(files, capsys):
    assert run(files, "check", *GIVEN) == 0
    out = capsys.readouterr().out
    assert "groups      genus: pet 2, insect 2, a|b,c=d 1; in no group: 1 of 6 classes (2)" in out
    assert "groups      size: large 3, small 2; in no group: 1 of 6 classes (4)" in out


def test_a_file_of_groups_is_no_output(files, capsys):
    with pytest.raises(SystemExit):
        run(files, *GIVEN, "--json", "named.csv")
    assert "is an input and cannot be an output as well" in capsys.readouterr().err


def test_detections_have_own_groups():
    from vltr_eval.compat.ava import Boxes, Images
    from vltr_eval.compat.ava import evaluate as evaluate_ava

    images, none = Images(["film"] * 3, np.array([902.0] * 3)), Images([], np.array([]))
    boxes = np.array([[0.1, 0.1, 0.4, 0.9], [0.5, 0.1, 0.9, 0.9], [0.2, 0.2, 0.6, 0.6]])
    moved = np.array([[0, 0, 0.01, 0], [0.4, 0, 0.4, 0], [0, 0, 0, 0]])
    truth = Boxes(images, boxes, np.array([12, 12, 17]), np.ones(3), none)
    found = Boxes(images, boxes + moved, np.array([12, 12, 17]), np.array([0.9, 0.8, 0.7]), none)
    labelmap = {12: "stand", 17: "write", 20: "sing"}
    for groups in ({"stand": "body", "write": "hand"}, {12: "body", 17: "hand"}, ["body", "hand", None]):
        report = evaluate_ava(found, truth, labelmap=labelmap, sap=None, groups=groups)
        assert report.metrics() == {"mAP": 0.75, "mAP_body": 0.5, "mAP_hand": 1.0}
        assert report.classes["groups"] == ("body", "hand", None)


def test_scores_of_one_class_have_a_group():
    assert evaluate(SCORES[:, 1], LABELS[:, 1], groups=["a"]).metrics()["mAP_a"] == pytest.approx(
        average_precision(numbers(SCORES[:, 1]), numbers(LABELS[:, 1]))
    )


@pytest.mark.parametrize("command", ["evaluate", "table", "compare", "thresholds", "check"])
def test_groups_that_may_be_class_names_have_a_note(files, capsys, command):
    sentence = "note: groups: each class is a group of its own; is the file a list of class names?\n"
    assert run(files, "preds.npy", "labels.npy", "--save-table", str(files / "t.npz"), "--quiet") == 0
    np.save(files / "other.npy", OTHER)
    words = {
        "evaluate": ("preds.npy", "labels.npy"),
        "table": ("table", "t.npz"),
        "compare": ("compare", "preds.npy", "other.npy", "--labels", "labels.npy"),
        "thresholds": ("thresholds", "preds.npy", "labels.npy"),
        "check": ("check", "preds.npy", "labels.npy"),
    }[command]
    (files / "pairs.txt").write_text("a\na\nb\nb\nc\nc\n")
    (files / "some.txt").write_text("a\nb\nc\nd\ne\n\n")  # the last class is in no group

    def told(*options):
        capsys.readouterr()
        assert run(files, *words, *options) == 0
        found = capsys.readouterr()
        return found.out.replace("note        ", "note: ") if command == "check" else found.err

    assert told("--groups", "names.txt").count(sentence) == 1
    assert sentence not in told("--groups", "pairs.txt")
    assert sentence not in told("--groups", "some.txt")
    assert sentence not in told()
    if command != "check":
        assert sentence not in told("--groups", "names.txt", "--quiet")
