"""The bootstrap: the law of its weights, and each replicate against scikit-learn and against rows that are repeated."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from decimal import Decimal, getcontext
from pathlib import Path

import numpy as np
import pytest
import reference
from cases import corner_labels, make_case
from devices import DEVICES, CudaArray
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import assert_agrees, assert_same_bits
from scipy.stats import chi2, poisson
from sklearn.metrics import average_precision_score, roc_auc_score

import vltr_eval
from vltr_eval import Positives, bootstrap, bootstrap_weights
from vltr_eval._base import _core
from vltr_eval._base.arrays import borrow_matrix
from vltr_eval._base.groups import class_groups

METHODS = ("poisson", "multinomial")
METRICS = ("average_precision", "roc_auc", "expected_sampled_average_precision")

# The fixed seeds pass; another weight law would not. A fair sample falls below this once in ten thousand tests.
SIGNIFICANT = 1e-4


def clusters_of(num_rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, max(1, num_rows // 3), num_rows)


def assert_same_result(actual, expected) -> None:
    assert actual.by_class.keys() == expected.by_class.keys()
    assert actual.accuracy.keys() == expected.accuracy.keys() == actual.class_accuracy.keys()
    for name in ("by_class", "accuracy", "class_accuracy"):
        for key, values in getattr(expected, name).items():
            assert_same_bits(getattr(actual, name)[key], values)


# Weights


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x32-10 by its paper."""
    low = 2**32 - 1
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [second >> 32 ^ counter[1] ^ key[0], second & low, first >> 32 ^ counter[3] ^ key[1], first & low]
        key = [(key[0] + 0x9E3779B9) & low, (key[1] + 0xBB67AE85) & low]
    return counter


def poisson_table() -> list[int]:
    """The rounded distribution function of Poisson(1), times 2^32, below 2^32."""
    getcontext().prec = 40
    total, table = Decimal(0), []
    for k in range(20):
        total += Decimal(-1).exp() / math.factorial(k)
        table.append(int((total * 2**32).to_integral_value()))
    return [value for value in table if value < 2**32]


def textbook_weights(num_units: int, replicates: int, seed: int, method: str) -> np.ndarray:
    key, domain = [seed & 2**32 - 1, seed >> 32], int.from_bytes(b"BOOT", "big")
    weights = np.zeros((replicates, num_units), np.uint8)
    table = poisson_table()
    for r in range(replicates):
        if method == "poisson":
            for unit in range(num_units):
                word = philox([unit, r // 4, 0, domain], key)[r % 4]
                weights[r, unit] = sum(word >= value for value in table)
        else:
            for draw in range(num_units):
                words = philox([draw // 2, r, 1, domain], key)[2 * (draw % 2) :]
                weights[r, num_units * (words[0] * 2**32 + words[1]) >> 64] += 1
    return weights


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
@pytest.mark.parametrize("method", METHODS)
def test_weights_are_those_of_the_definition(simd, method, seed):
    assert_same_bits(bootstrap_weights(37, 70, seed=seed, method=method), textbook_weights(37, 70, seed, method))


def test_poisson_weights_have_their_law():
    weights = bootstrap_weights(20_000, 100, seed=1)
    counts = np.bincount(weights.ravel(), minlength=8)
    observed = np.append(counts[:7], counts[7:].sum())
    expected = weights.size * np.append(poisson.pmf(range(7), 1), poisson.sf(6, 1))
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), 7) > SIGNIFICANT


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_independent_of_each_other(method):
    """Sums over rows and over replicates have the variances of independent weights, and neighbours no correlation."""
    weights = bootstrap_weights(2_000, 2_000, seed=2, method=method).astype(float)
    of_rows = weights.sum(axis=0)
    assert chi2.sf(((of_rows - 2_000) ** 2 / 2_000).sum(), 2_000) > SIGNIFICANT
    assert chi2.cdf(((of_rows - 2_000) ** 2 / 2_000).sum(), 2_000) > SIGNIFICANT
    for first, second in ((weights[1:], weights[:-1]), (weights[:, 1:], weights[:, :-1])):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4.5 / math.sqrt(first.size)


def test_multinomial_weights_draw_as_many_rows_as_there_are():
    weights = bootstrap_weights(1_001, 300, seed=3, method="multinomial")
    assert (weights.sum(axis=1, dtype=int) == 1_001).all()
    counts = np.bincount(weights.ravel(), minlength=7)  # binomial(1001, 1 / 1001), near Poisson(1)
    chance = [math.comb(1_001, k) * (1 / 1_001) ** k * (1_000 / 1_001) ** (1_001 - k) for k in range(6)]
    expected = weights.size * np.append(chance, 1 - sum(chance))
    observed = np.append(counts[:6], counts[6:].sum())
    # Weights of one replicate have a fixed sum, so the statistic is a little below chi-square.
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), 6) > SIGNIFICANT


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", [1, 5, 63, 64, 130])
def test_later_replicates_are_a_part_of_more_replicates(method, first):
    whole = bootstrap_weights(200, 150, seed=4, method=method)
    part = bootstrap_weights(200, 150 - first, seed=4, method=method, first=first)
    assert_same_bits(part, whole[first:])


def test_poisson_weights_of_a_row_do_not_depend_on_the_number_of_rows():
    assert_same_bits(bootstrap_weights(50, 10, seed=5), bootstrap_weights(3_000, 10, seed=5)[:, :50])


@pytest.mark.parametrize("method", METHODS)
def test_rows_of_a_cluster_have_one_weight(method):
    names = np.array([f"video {i % 40:02}" for i in range(200)])
    weights = bootstrap_weights(200, 30, seed=6, method=method, clusters=names)
    of_clusters = bootstrap_weights(40, 30, seed=6, method=method)
    assert_same_bits(weights, of_clusters[:, np.arange(200) % 40])
    assert_same_bits(bootstrap_weights(200, 30, seed=6, method=method, clusters=names.tolist()), weights)
    numbers = np.arange(200) % 40 - 20
    assert_same_bits(bootstrap_weights(200, 30, seed=6, method=method, clusters=numbers), weights)


def test_weights_of_other_seeds_and_sap_draws_differ():
    weights = bootstrap_weights(500, 4, seed=0)
    assert (weights != bootstrap_weights(500, 4, seed=1)).mean() > 0.5
    assert (weights != bootstrap_weights(500, 4, seed=2**32)).mean() > 0.5


@pytest.mark.parametrize("threads", [1, 3, 7])
def test_weights_are_the_same_on_any_threads(threads):
    for method in METHODS:
        expected = bootstrap_weights(5_000, 70, method=method, threads=1)
        assert_same_bits(bootstrap_weights(5_000, 70, method=method, threads=threads), expected)


# Replicates


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("num_rows", "levels"), [(60, 3), (700, None), (700, 8)])
def test_replicates_are_sklearns_metrics_with_weights(simd, num_rows, levels, method, clustered):
    scores, labels = make_case(num_rows, 5, seed=1, levels=levels, prevalence=0.05)
    clusters = clusters_of(num_rows) if clustered else None
    result = bootstrap(scores, labels, replicates=9, seed=3, method=method, clusters=clusters)
    weights = bootstrap_weights(num_rows, 9, seed=3, method=method, clusters=clusters)
    for r, c in itertools.product(range(9), range(5)):
        label, score, weight = labels[:, c], scores[:, c], weights[r]
        ap, auc = (result.by_class[name][r, c] for name in METRICS[:2])
        if weight[label].any():
            assert_agrees(ap, average_precision_score(label, score, sample_weight=weight))
            assert_agrees(auc, roc_auc_score(label, score, sample_weight=weight))
        else:
            assert math.isnan(ap)
            assert math.isnan(auc)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_rows", [1, 2, 17, 130, 1_025])
def test_replicates_have_the_bits_of_metrics_of_repeated_rows(simd, num_rows, method):
    labels = corner_labels(num_rows, seed=2)
    scores = np.round(np.random.default_rng(0).normal(size=labels.shape) * 4 + labels).astype(np.float32)
    result = bootstrap(scores, labels, replicates=70, seed=8, method=method, metrics=METRICS, topk=(1, 3))
    weights = bootstrap_weights(num_rows, 70, seed=8, method=method)
    for r in (0, 1, 37, 63, 64, 69):
        rows = np.repeat(np.arange(num_rows), weights[r])
        if len(rows) == 0:
            assert all(np.isnan(values[r]).all() for values in result.by_class.values())
            continue
        for name in METRICS:
            expected = getattr(vltr_eval, name)(scores[rows], labels[rows])
            assert_same_bits(result.by_class[name][r], expected)
        report = vltr_eval.evaluate(scores[rows], labels[rows], topk=(1, 3))
        for k in (1, 3):
            assert_same_bits(result.accuracy[k][r], np.float64(report.metrics()[f"Acc@{k}"]))
            hit = [reference.best_label_rank(s, y) for s, y in zip(scores.tolist(), labels.tolist(), strict=True)]
            is_hit = np.array([rank is not None and rank < k for rank in hit])
            for c in range(6):
                positives = weights[r][labels[:, c]].sum(dtype=int)
                expected = weights[r][labels[:, c] & is_hit].sum(dtype=int) / positives if positives else math.nan
                assert_same_bits(result.class_accuracy[k][r, c], np.float64(expected))


@pytest.mark.parametrize("replicates", [1, 16, 17, 64, 65, 300])
def test_the_number_of_replicates_changes_none_of_them(replicates):
    """Blocks of 16, 64 and 256 replicates."""
    scores, labels = make_case(400, 40, seed=4, levels=30)
    most = bootstrap(scores, labels, replicates=300, metrics=METRICS, topk=2, threads=1)
    few = bootstrap(scores, labels, replicates=replicates, metrics=METRICS, topk=2, threads=1)
    for name in METRICS:
        assert_same_bits(few.by_class[name], most.by_class[name][:replicates])
    assert_same_bits(few.accuracy[2], most.accuracy[2][:replicates])
    assert_same_bits(few.class_accuracy[2], most.class_accuracy[2][:replicates])


def test_a_weight_of_zero_leaves_a_row_out():
    """A replicate that has no positive of a class, or no negative, is undefined there."""
    labels = np.array([[1, 1], [0, 1], [0, 1], [0, 1]], bool)
    scores = np.array([[4.0, 1], [3, 2], [2, 3], [1, 4]])
    result = bootstrap(scores, labels, replicates=64, metrics=METRICS)
    weights = bootstrap_weights(4, 64)
    has_rows, has_first = weights.any(axis=1), weights[:, 0] > 0
    assert 0 < has_first.sum() < 64
    assert (np.isnan(result.by_class["average_precision"]) == np.stack([~has_first, ~has_rows], axis=1)).all()
    assert np.isnan(result.by_class["roc_auc"][:, 1]).all()
    assert (np.isnan(result.by_class["roc_auc"][:, 0]) == ~(has_first & weights[:, 1:].any(axis=1))).all()


def test_a_class_without_positives_is_undefined():
    scores, labels = make_case(50, 3, seed=5)
    labels[:, 1] = False
    result = bootstrap(scores, labels, replicates=20, metrics=METRICS, topk=1)
    for values in (*result.by_class.values(), result.class_accuracy[1]):
        assert np.isnan(values[:, 1]).all()
    nothing = bootstrap(scores, labels & False, replicates=20, metrics=METRICS, topk=1)
    for values in (*nothing.by_class.values(), *nothing.class_accuracy.values(), *nothing.accuracy.values()):
        assert np.isnan(values).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_replicates_are_the_textbooks_metrics_of_weighted_rows(data):
    num_rows = data.draw(st.integers(1, 30))
    column = st.lists(st.integers(-3, 3), min_size=num_rows, max_size=num_rows)
    scores, labels = data.draw(column), data.draw(st.lists(st.booleans(), min_size=num_rows, max_size=num_rows))
    method, seed = data.draw(st.sampled_from(METHODS)), data.draw(st.integers(0, 2**64 - 1))
    result = bootstrap(np.array(scores), np.array(labels), replicates=3, seed=seed, method=method, metrics=METRICS)
    for r, weights in enumerate(bootstrap_weights(num_rows, 3, seed=seed, method=method).tolist()):
        repeated = [i for i, weight in enumerate(weights) for _ in range(weight)]
        rows, row_labels = [scores[i] for i in repeated], [labels[i] for i in repeated]
        textbook = (
            reference.average_precision(rows, row_labels),
            reference.roc_auc(rows, row_labels),
            reference.expected_sap_by_hypergeometric(rows, row_labels),
        )
        assert_agrees([result.by_class[name][r, 0] for name in METRICS], textbook)


# The same bits


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_threads_shards_and_instruction_sets_change_no_bit(simd, method, clustered):
    scores, labels = make_case(1_500, 40, seed=6, levels=60, prevalence=0.02)
    clusters = clusters_of(1_500) if clustered else None
    options = {"replicates": 300, "seed": 2, "method": method, "clusters": clusters, "metrics": METRICS, "topk": (1, 5)}
    expected = bootstrap(scores, labels, threads=1, **options)
    for threads in (2, 5):  # with 5, there are few classes for each
        assert_same_result(bootstrap(scores, labels, threads=threads, **options), expected)
    shards = [scores[:1], scores[1:1_100], scores[1_100:]]
    assert_same_result(bootstrap(shards, labels, **options), expected)
    assert_same_result(bootstrap(np.asfortranarray(scores), Positives.from_labels(labels), **options), expected)
    if simd != "generic":
        os.environ["VLTR_SIMD"] = "generic"  # the fixture restores it
        assert_same_result(bootstrap(scores, labels, **options), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, np.float16, np.float64])
def test_types_that_hold_the_same_order_change_no_bit(dtype):
    scores, labels = make_case(500, 20, seed=7, levels=6)
    scores -= scores.min()
    expected = bootstrap(scores, labels, replicates=80, metrics=METRICS, topk=1)
    assert_same_result(bootstrap(scores.astype(dtype), labels, replicates=80, metrics=METRICS, topk=1), expected)


def test_the_largest_integers_are_compared_exactly():
    scores = np.array([2**63 - 1, 2**63 - 2, -(2**63), 2**63 - 1, 5, 2**63 - 2])
    labels = np.array([1, 0, 1, 0, 1, 1], bool)
    order = np.array([3, 2, 0, 3, 1, 2])
    assert_same_result(bootstrap(scores, labels, replicates=40), bootstrap(order, labels, replicates=40))


@pytest.mark.parametrize("path", ["search", "sort"])
def test_dense_classes(path, monkeypatch):
    """Classes with many thresholds: a third of 5,000 rows."""
    scores, labels = make_case(5_000, 3, seed=8, prevalence=0.35)
    monkeypatch.setenv("VLTR_PATH", path)
    result = bootstrap(scores, labels, replicates=20, metrics=METRICS)
    weights = bootstrap_weights(5_000, 20)
    for r in (0, 19):
        rows = np.repeat(np.arange(5_000), weights[r])
        for name in METRICS:
            assert_same_bits(result.by_class[name][r], getattr(vltr_eval, name)(scores[rows], labels[rows]))


# Memory and long calls


def peak_growth(setup: str, call: str) -> float:
    """Run Python code in a process of its own; return by how many MiB a call raises its memory for a time."""
    code = f"""
import numpy as np, vltr_eval

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

{setup}
vltr_eval.bootstrap(scores[:50], np.eye(50, scores.shape[1]), replicates=20, threads=2)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # forgets the peak so far
before = status("VmRSS")
{call}
print(status("VmHWM") - before)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(vltr_eval.__file__).parents[1])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(run.stdout)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="this system does not reset the peak")
def test_memory_is_bounded():
    """Weights and lists would take 120 MB and 155 MB if they were made at once."""
    setup = """
rng = np.random.default_rng(0)
scores = rng.random((200_000, 200), np.float32)
rows = np.sort(rng.permuted(np.tile(np.arange(200_000, dtype=np.uint32), (200, 1)), axis=1)[:, :40])
labels = vltr_eval.Positives(200_000, 200, np.arange(201) * 40, rows.ravel())
"""
    call = 'vltr_eval.bootstrap(scores, labels, replicates=600, metrics=("average_precision",), threads=2)'
    growth = peak_growth(setup, call)
    assert 8 * 200 * 600 / 2**20 < growth < 128 + 8 * 200 * 600 / 2**20


def test_progress_rises_to_the_end():
    scores, labels = make_case(20_000, 60, seed=9, prevalence=0.01)
    seen: list[float] = []
    bootstrap(scores, labels, replicates=1_000, metrics=METRICS, topk=1, threads=1, progress=seen.append)
    assert len(seen) >= 2
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1


def test_an_error_in_progress_ends_the_call():
    scores, labels = make_case(20_000, 60, seed=9, prevalence=0.01)

    def fail(fraction: float) -> None:
        raise LookupError("from progress")

    with pytest.raises(LookupError, match=r"^from progress$"):
        bootstrap(scores, labels, replicates=2_000, progress=fail)


# Means


def test_means_and_standard_errors_are_those_of_groups():
    scores, labels = make_case(300, 12, seed=10, prevalence=0.03)
    labels[:, 3] = False
    counts = np.array([900, 800, 300, 300, 200, 150, 120, 50, 40, 30, 20, 10])
    groups = class_groups(counts)
    result = bootstrap(scores, labels, replicates=40, seed=1, metrics=METRICS, topk=(1, 3))
    means = result.means(groups)
    weights = bootstrap_weights(300, 40, seed=1)
    for r in (0, 17, 39):
        rows = np.repeat(np.arange(300), weights[r])
        report = vltr_eval.evaluate(scores[rows], labels[rows], sap="exact", topk=(1, 3), train_counts=counts)
        expected = {name: value for name, value in report.metrics().items() if not name.startswith("SAP_chance")}
        assert means.keys() == expected.keys()
        for name, value in expected.items():
            assert_same_bits(means[name][r], np.float64(value))
    errors = result.standard_errors(groups)
    assert errors.keys() == means.keys()
    for name, values in means.items():
        assert_agrees(errors[name], np.std(values[~np.isnan(values)], ddof=1))
    assert result.means().keys() == {name for name in means if not name.endswith(("_head", "_medium", "_tail"))}


def test_standard_errors_of_too_few_replicates_are_undefined():
    scores, labels = make_case(40, 3, seed=11)
    assert math.isnan(bootstrap(scores, labels, replicates=1).standard_errors()["mAP"])
    assert math.isnan(bootstrap(scores, labels & False, replicates=9).standard_errors()["mAP"])
    assert math.isnan(bootstrap(scores, labels, replicates=9).standard_errors({"none": []})["mAP_none"])


def test_two_models_are_paired():
    """Equal models have the same replicates, so their difference has no spread."""
    scores, labels = make_case(200, 6, seed=12)
    first, second = (bootstrap(scores * scale, labels, replicates=30) for scale in (1, 2))
    assert_same_result(first, second)


# Errors


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"replicates": 0}, ValueError, r"^replicates: expected an integer from 1 to 2147483647, got 0$"),
        ({"replicates": 1.5}, ValueError, r"^replicates: expected an integer from 1 to 2147483647, got 1\.5$"),
        ({"seed": -1}, ValueError, r"^seed: expected an integer from 0 to 2\*\*64 - 1, got -1$"),
        ({"method": "poison"}, ValueError, r"^method: expected a known name, got 'poison'; did you mean poisson\?$"),
        ({"metrics": ["roc"]}, ValueError, r"^metrics: expected a known name, got 'roc'; did you mean roc_auc\?$"),
        ({"metrics": ()}, ValueError, r"^metrics: expected at least one metric, or topk, got none$"),
        ({"topk": 0}, ValueError, r"^topk: expected positive integers, got 0$"),
        ({"clusters": np.arange(5)}, ValueError, r"^clusters: expected one for each row, shape \(40,\), got \(5,\)$"),
        ({"clusters": np.zeros(40)}, TypeError, r"^clusters: expected integers or text, got float64; "),
        ({"threads": 0}, ValueError, r"^threads: expected an integer from 1 to 4096, got 0$"),
    ],
)
def test_a_bad_option_is_named(options, error, sentence):
    with pytest.raises(error, match=sentence):
        bootstrap(*make_case(40, 3), **options)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((0, 5), {}, r"^num_rows: expected an integer from 1 to 4294967295, got 0$"),
        ((np.ones((3, 2)), 5), {}, r"^num_rows: expected an integer .*, got an array of shape \(3, 2\)$"),
        ((5, True), {}, r"^replicates: expected an integer from 1 to 2147483647, got True$"),
        ((5, 2), {"first": -1}, r"^first: expected an integer from 0 to 2147483645, got -1$"),
        ((5, 2), {"first": 2**31 - 1}, r"^first: expected an integer from 0 to 2147483645, got 2147483647$"),
        ((5, 2), {"method": "normal"}, r"^method: expected one of poisson, multinomial, got 'normal'$"),
        ((5, 2), {"clusters": [1, 2]}, r"^clusters: expected one for each row, shape \(5,\), got \(2,\)$"),
    ],
)
def test_a_bad_argument_of_weights_is_named(arguments, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        bootstrap_weights(*arguments, **options)


def test_the_first_nan_of_all_classes_is_named():
    scores, labels = make_case(2_000, 40, seed=13)
    scores[1_500, 2] = scores[1_200, 30] = np.nan
    with pytest.raises(ValueError, match=r"^scores: expected numbers, got NaN at row 1200, class 30$"):
        bootstrap(scores, labels, replicates=3)


def test_the_core_refuses_more_clusters_than_rows():
    matrix = borrow_matrix("scores", np.zeros((8, 1)))
    positives = np.array([0, 1]), np.zeros(1, np.uint32)
    with pytest.raises(ValueError, match=r"^clusters: "):
        _core.bootstrap(
            matrix.core, *positives, np.zeros(8, np.uint32), 2**62, 3, "poisson", 0, ["roc_auc"], None, [], 1, None
        )


@pytest.mark.skipif("cuda" not in DEVICES, reason="no device")
def test_scores_on_a_device_are_refused():
    scores, labels = make_case(20, 3)
    sentence = r"^scores: expected an array in CPU memory, got one on cuda:0; pass scores\.cpu\(\)$"
    for given_labels in (labels, CudaArray(labels)):
        with pytest.raises(ValueError, match=sentence):
            bootstrap(CudaArray(scores), given_labels)
