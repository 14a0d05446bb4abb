"""Coverage of the intervals and error rates of the tests, by simulation on populations in VideoLT's profile.

    python experiments/interval_coverage.py --sets 1000 --work DIR             # an hour; finished sets stay in DIR
    python experiments/interval_coverage.py --populations clusters --work DIR
    python experiments/interval_coverage.py --work DIR --report-only --out     # the tables of what DIR holds

A test set has three models. A and B are exchangeable, so each difference between them is zero in expectation: they
give the type-I errors. C is B with its positives raised in a quarter of the classes: A against C gives the coverage of
differences, and the power. The estimand is E_N: the expected metric on a test set of this size and population, taken
as the mean over all simulated sets.

Legend: N rows, C classes, P positives of a class, G clusters.
"""

from __future__ import annotations

import argparse
import ast
import functools
import math
import sys
import sysconfig
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _lib.machine import RESULTS, TODAY, provenance, write_whole
from _lib.tables import table

from vltr_eval._base.arrays import Matrix, borrow_matrix
from vltr_eval._base.long_tail import VIDEOLT_TRAIN_TAIL, even_pick, tail_counts
from vltr_eval._engine.effects import class_variances, clustered_variances, paired_variances, row_effects
from vltr_eval._engine.hits import Hits
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.mean_effects import Clusters, EffectColumns
from vltr_eval._engine.rank_scan import RankScanResult, rank_scan
from vltr_eval.intervals import benjamini_hochberg, effective_n, holm, normal_quantile, t_p_value, wilson
from vltr_eval.program.demo import make_demo
from vltr_eval.report.settings import Settings

LEVELS = 1 << 16  # of a noise table: one uint16 draws one deviate
GROUPS = ("overall", "head", "medium", "tail")
MODELS = ("A", "B", "C")
MODEL_CORRELATION = 0.8


@dataclass(frozen=True)
class Population:
    """One population of test sets.

    Attributes:
        name: As in the tables.
        title: As in the tables.
        num_rows: N.
        num_classes: C.
        scale: Expected positives of a class over those of VideoLT's test split.
        lift: Mean score of the positives of a class with 100 training samples, in standard deviations of the noise.
        row_share: Share of the noise's variance that all classes of a row have in common.
        topic_share: The same, of the classes of one topic.
        heavy: Noise of Student's t with 4 degrees of freedom, else normal.
        unlabelled: Share of the positives without their label.
        mislabelled: Wrong labels, as a share of the positives.
        cluster_rows: Rows of a cluster, which share their labels.
        purity: Share of the rows of a cluster that carry its labels.
        cluster_share: Share of each variance that the rows of a cluster have in common.
    """

    name: str
    title: str
    num_rows: int = 5_000
    num_classes: int = 1_004
    scale: float = 0.3
    lift: float = 2.8
    row_share: float = 0.1
    topic_share: float = 0.3
    heavy: bool = False
    unlabelled: float = 0.0
    mislabelled: float = 0.0
    cluster_rows: int = 1
    purity: float = 1.0
    cluster_share: float = 0.0

    @property
    def clustered(self) -> bool:
        return self.cluster_rows > 1


POPULATIONS = {
    p.name: p
    for p in (
        Population("videolt", "VideoLT's profile, normal noise"),
        Population("heavy", "heavy-tailed noise (t, 4 degrees of freedom)", heavy=True, scale=0.4),
        Population("shared", "strongly shared rows", row_share=0.4, topic_share=0.5),
        Population("noise", "label noise: 20 % unlabelled, 10 % wrong", unlabelled=0.2, mislabelled=0.1, scale=0.5),
        Population(
            "clusters",
            "clusters: 5 rows a video",
            num_rows=10_000,
            cluster_rows=5,
            purity=0.8,
            cluster_share=0.5,
            scale=0.2,
        ),
        Population("small", "a small set: 3, 37 and 20 classes", num_rows=1_000, num_classes=60, lift=1.8),
    )
}
NUM_TOPICS = 25
RAISED = 0.5  # of C's positives, in a quarter of the classes


def noise_table(heavy: bool) -> np.ndarray:
    """Return the deviates of unit variance at LEVELS equal steps of probability, (LEVELS,) float32."""
    p = (np.arange(LEVELS) + 0.5) / LEVELS
    if heavy:  # the closed form of the quantile at 4 degrees of freedom
        root = np.sqrt(4 * p * (1 - p))
        table = 2 * np.sign(p - 0.5) * np.sqrt(np.cos(np.arccos(root) / 3) / root - 1)
    else:
        normal = NormalDist()
        table = np.array([normal.inv_cdf(x) for x in p])
    return (table / np.sqrt(np.mean(table**2))).astype(np.float32)


class Planted:
    """A population with its fixed classes: frequency, topic, difficulty, group and the lift of C."""

    def __init__(self, population: Population) -> None:
        self.population = population
        rng = np.random.default_rng(20261129)  # the classes are part of the population, not of a seed
        num_classes = population.num_classes
        train = even_pick(tail_counts(VIDEOLT_TRAIN_TAIL), num_classes)
        # Classes of one topic are adjacent columns. Their frequencies are mixed.
        self.train = rng.permutation(train)
        expected = np.clip(self.train * (517 / 1_912), 7, 517) * population.scale
        clusters = population.num_rows / population.cluster_rows
        self.rate = expected / clusters  # positives a cluster, for independent rows a row
        self.topic = np.sort(np.arange(num_classes) % NUM_TOPICS)
        self.edges = np.searchsorted(self.topic, np.arange(NUM_TOPICS + 1))
        self.group = np.where(self.train > 500, 0, np.where(self.train > 100, 1, 2))
        lift = population.lift + 0.35 * np.log(self.train / 100.0) + 0.9 * rng.standard_normal(num_classes)
        self.lift = np.clip(lift, 0.5, None).astype(np.float32)
        self.spread = np.float32(0.6)
        self.bias = (0.25 * np.log(self.train / 100.0)).astype(np.float32)
        self.raised = (rng.random(num_classes) < 0.25) * np.float32(RAISED)
        self.table = noise_table(population.heavy)

    def draw(self, rng: np.random.Generator) -> TestSet:
        p = self.population
        rows, classes = self._labels(rng)
        scores = self._noise(rng)
        # Some positives are hard for every model; the rest of the spread is the model's own.
        hard = rng.standard_normal(len(rows)) * math.sqrt(MODEL_CORRELATION)
        for matrix in scores:
            own = rng.standard_normal(len(rows)) * math.sqrt(1 - MODEL_CORRELATION)
            matrix[rows, classes] += self.lift[classes] + self.spread * (hard + own).astype(np.float32)
        raised = self.raised[classes]
        seen_rows, seen_classes = rows, classes
        if p.unlabelled or p.mislabelled:
            seen = rng.random(len(rows)) >= p.unlabelled
            wrong_classes = rng.choice(classes, rng.poisson(p.mislabelled * len(classes)))
            wrong_rows = rng.integers(0, p.num_rows, len(wrong_classes))
            seen_rows = np.concatenate([rows[seen], wrong_rows])
            seen_classes = np.concatenate([classes[seen], wrong_classes])
        clean = _by_class(rows, classes, p)
        seen = _by_class(seen_rows, seen_classes, p)
        return TestSet(scores[0], scores[1], (rows, classes, raised), clean, seen)

    def _labels(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows and classes of the true positives: rows differ in their topic and in their number of labels."""
        p = self.population
        clusters = p.num_rows // p.cluster_rows
        appetite = rng.gamma(4.0, 0.25, clusters)
        home = rng.integers(0, NUM_TOPICS, clusters)
        found_rows, found_classes = [], []
        for topic in range(NUM_TOPICS):
            members = np.arange(self.edges[topic], self.edges[topic + 1])
            weight = appetite * np.where(home == topic, 8.0, 1.0) / (1 + 7 / NUM_TOPICS)
            up_to = np.cumsum(weight)
            counts = rng.poisson(self.rate[members] * up_to[-1])
            drawn = np.searchsorted(up_to, rng.random(counts.sum()) * up_to[-1], side="right")
            found_rows.append(np.minimum(drawn, clusters - 1))
            found_classes.append(np.repeat(members, counts))
        rows, classes = np.concatenate(found_rows), np.concatenate(found_classes)
        pairs = np.unique(classes * clusters + rows)
        classes, rows = pairs // clusters, pairs % clusters
        if p.cluster_rows > 1:
            rows = (rows[:, None] * p.cluster_rows + np.arange(p.cluster_rows)).ravel()
            classes = np.repeat(classes, p.cluster_rows)
            kept = rng.random(len(rows)) < p.purity
            rows, classes = rows[kept], classes[kept]
        return rows, classes

    def _noise(self, rng: np.random.Generator) -> list[np.ndarray]:
        """The noise of A and B, (N, C) float32 each: shared by row and topic, correlated between the models."""
        p = self.population
        both, own = np.float32(math.sqrt(MODEL_CORRELATION)), np.float32(math.sqrt(1 - MODEL_CORRELATION))
        cell = np.float32(math.sqrt(1 - p.row_share - p.topic_share))
        factors = [self._factors(rng) for _ in range(3)]
        topics = [both * factors[0] + own * factor for factor in factors[1:]]
        scores = [np.empty((p.num_rows, p.num_classes), np.float32) for _ in range(2)]
        common, single = self.table * (both * cell), self.table * (own * cell)
        block_rows = 5 * max(1, 60_000 // p.num_classes // 5)
        for start in range(0, p.num_rows, block_rows):
            rows = slice(start, min(start + block_rows, p.num_rows))
            size = (rows.stop - start) * p.num_classes
            shared = np.take(common, self._levels(rng, size))
            if p.cluster_share:
                # Half of the shared noise of a cell is that of its video.
                size_videos = size // p.cluster_rows
                video = np.take(common, self._levels(rng, size_videos)).reshape(-1, 1, p.num_classes)
                shared = shared.reshape(-1, p.cluster_rows, p.num_classes)
                shared *= np.float32(math.sqrt(1 - p.cluster_share))
                shared += np.float32(math.sqrt(p.cluster_share)) * video
                shared = shared.ravel()
            for matrix, topic in zip(scores, topics, strict=True):
                block = np.take(single, self._levels(rng, size))
                block += shared
                block = block.reshape(-1, p.num_classes)
                block += self.bias
                block += np.take(topic[rows], self.topic, axis=1)
                matrix[rows] = block
        return scores

    @staticmethod
    def _levels(rng: np.random.Generator, size: int) -> np.ndarray:
        return rng.bit_generator.random_raw(-(-size // 4)).view(np.uint16)[:size]

    def _factors(self, rng: np.random.Generator) -> np.ndarray:
        """The noise by row and topic, (N, topics) float32, with the share that a cluster has in common."""
        p = self.population

        def deviates(columns: int) -> np.ndarray:
            drawn = rng.standard_normal((p.num_rows, columns), np.float32)
            if p.cluster_share:
                video = rng.standard_normal((p.num_rows // p.cluster_rows, columns), np.float32)
                drawn *= np.float32(math.sqrt(1 - p.cluster_share))
                drawn += np.float32(math.sqrt(p.cluster_share)) * np.repeat(video, p.cluster_rows, axis=0)
            return drawn

        return np.float32(math.sqrt(p.row_share)) * deviates(1) + np.float32(math.sqrt(p.topic_share)) * deviates(
            NUM_TOPICS
        )


planted_once = functools.cache(Planted)


def _by_class(rows: np.ndarray, classes: np.ndarray, p: Population) -> Positives:
    pairs = np.unique(classes.astype(np.int64) * p.num_rows + rows)
    indptr = np.searchsorted(pairs, np.arange(p.num_classes + 1) * p.num_rows).astype(np.int64)
    return Positives(p.num_rows, p.num_classes, indptr, (pairs % p.num_rows).astype(np.uint32))


@dataclass(frozen=True, eq=False)
class TestSet:
    """The scores of A and B, the true positives with C's lift over B, the true labels, and the labels of the set."""

    a: np.ndarray
    b: np.ndarray
    raised: tuple[np.ndarray, np.ndarray, np.ndarray]
    clean: Positives
    seen: Positives

    def raise_b(self) -> np.ndarray:
        """Turn B into C in place."""
        rows, classes, lift = self.raised
        self.b[rows, classes] += lift
        return self.b


METRICS = {"ap": "average_precision", "auc": "roc_auc", "sap": "expected_sampled_average_precision"}
PAIRS = ("A", "B", "C", "A-B", "A-C")


def measure(planted: Planted, test_set: TestSet, *, alternatives: bool = False) -> dict[str, np.ndarray]:
    """Evaluate the three models of a set: values and variances of classes, and standard errors of group means.

    alternatives: also those of `alternative_effects`.
    """
    p, positives = planted.population, test_set.seen
    counts = positives.counts
    clusters, of_row = None, None
    found: dict[str, np.ndarray] = {"P": counts}
    if p.clustered:
        of_row = np.arange(p.num_rows) // p.cluster_rows
        clusters = Clusters(of_row, p.num_rows // p.cluster_rows)
        found["G"] = clusters.with_positives(positives)
    effects: dict[str, dict[str, np.ndarray]] = {}  # of each model, by the name of their error
    tables = {}
    for model in MODELS:
        scores = test_set.b if model == "B" else test_set.raise_b() if model == "C" else test_set.a
        matrix = borrow_matrix("scores", scores)
        scanned = rank_scan(scores, positives, ranks=True, threads=1)
        table = tables[model] = scanned.table
        printed = printed_effects(planted.group, matrix, positives, scanned, clusters)
        effects[model] = {f"{'clustered ' * p.clustered}error {name}": one for name, one in printed.items()}
        if clusters is not None:
            for name, one in plain_effects(planted.group, matrix, positives, scanned).items():
                effects[model][f"error {name}"] = one
                effects[model][f"summed error {name}"] = one.reshape(len(one), -1, p.cluster_rows).sum(2)
        elif alternatives and model != "C":
            others = alternative_effects(planted, scores, positives, scanned.ranks == 0)
            plain = plain_effects(planted.group, matrix, positives, scanned)
            others |= {f"{metric} plain": plain[metric][-1] for metric in ("ap", "auc", "acc")}
            effects[model] |= {f"error {name}": one for name, one in others.items()}
        for name, metric in METRICS.items():
            found[f"{name} {model}"] = getattr(table, metric)()
        hit = scanned.ranks[positives.rows] == 0
        found[f"hits {model}"] = np.bincount(_classes(positives), weights=hit, minlength=p.num_classes)
        labelled = scanned.ranks >= 0
        found[f"acc rows {model}"] = np.mean(scanned.ranks[labelled] == 0)
        if model == "A":
            for name, metric in METRICS.items():
                found[f"variance {name}"] = class_variances(table, metric, threads=1)
                if of_row is not None:
                    found[f"clustered variance {name}"] = clustered_variances(
                        matrix, positives, table, metric, of_row, threads=1
                    )
            if clusters is not None:
                found["clustered variance acc"] = clusters.accuracy_variances(positives, scanned.ranks == 0)
        else:
            found[f"paired variance {model}"] = paired_variances(
                borrow_matrix("scores", test_set.a), tables["A"], matrix, table, positives, METRICS["ap"],
                clusters=of_row, threads=1,
            )  # fmt: skip
        if model != "B" and (p.unlabelled or p.mislabelled):
            clean = rank_scan(scores, test_set.clean, threads=1).table
            for name, metric in METRICS.items():
                found[f"clean {name} {model}"] = getattr(clean, metric)()
    for pair in PAIRS:
        for name, one in effects[pair[-1]].items():
            of_pair = effects[pair[0]][name] - one if len(pair) > 1 else one
            found[f"{name} {pair}"] = jackknife_errors(np.atleast_2d(of_pair))
    return found


def jackknife_errors(effects: np.ndarray) -> np.ndarray:
    """As `vltr_eval.intervals.jackknife_error` along the last axis, without its exact sums."""
    return np.sqrt((effects.shape[-1] - 1) * np.var(effects, axis=-1))


def _classes(positives: Positives) -> np.ndarray:
    return np.repeat(np.arange(positives.num_classes), positives.counts)


def printed_effects(
    group: np.ndarray,
    scores: Matrix,
    positives: Positives,
    scanned: RankScanResult,
    clusters: Clusters | None = None,
) -> dict[str, np.ndarray]:
    """The effects of rows, or of clusters, on the means of reports: (4, N) each, and (1, N) for "acc rows".

    group: (C,) 0, 1 and 2 for head, medium and tail.
    """
    factors = None if clusters is None else clusters.effect_factors(positives)
    clustered = None if clusters is None else (clusters, positives)
    hits = Hits.from_ranks(scanned.ranks, positives, (1,), threads=1)
    found: dict[str, np.ndarray] = {}
    three = {name: np.flatnonzero(group == number) for number, name in enumerate(GROUPS[1:])}
    # Reports have the mean class rate of groups alone, so all classes are one group for the overall one.
    for groups, sap in (({"all": np.arange(len(group))}, None), (three, "exact")):
        settings = Settings(sap=sap, topk=(1,), bounds=(500, 100), interval=LEVEL)
        columns = EffectColumns(settings, groups, scanned.table, hits, factors, clustered)
        of_rows = columns.of_rows(scores, positives, scanned.ranks, threads=1)
        for name, mean in columns.effects(*of_rows).items():
            found[name] = (mean if clusters is None else mean.by_cluster(clusters.of_row)).values
    overall = {"ap": "mAP", "auc": "ROC_AUC", "sap": "expected_SAP", "acc": "Acc@1_all"}
    effects = {
        name: np.stack([found[flat], *(found[f"{flat.removesuffix('_all')}_{one}"] for one in three)])
        for name, flat in overall.items()
    }
    return {**effects, "acc rows": found["Acc@1"][None]}


def plain_effects(
    group: np.ndarray, scores: Matrix, positives: Positives, scanned: RankScanResult
) -> dict[str, np.ndarray]:
    """As `printed_effects` of rows, but the only positive of a class has the effect 0 on it."""
    num_rows, counts, classes = positives.num_rows, positives.counts, _classes(positives)
    of_rows = row_effects(scores, positives, scanned.table, group, list(METRICS.values()), threads=1)
    sums = dict(zip(METRICS, np.ldexp(of_rows.sums.astype(np.float64), -of_rows.exponents).T, strict=True))
    hit = scanned.ranks == 0
    of_positives = hit[positives.rows]
    rate = np.bincount(classes, weights=of_positives, minlength=len(group)) / np.maximum(counts, 1)
    effect = (rate[classes] - of_positives) / np.maximum(counts[classes] - 1, 1)
    cells = group[classes] * num_rows + positives.rows
    sums["acc"] = np.bincount(cells, weights=effect, minlength=3 * num_rows).reshape(3, -1)
    defined = np.bincount(group[counts > 0], minlength=3)
    effects = {name: np.vstack([one.sum(0) / defined.sum(), one / defined[:, None]]) for name, one in sums.items()}
    labelled = scanned.ranks >= 0
    share = np.mean(hit[labelled])
    return {**effects, "acc rows": (labelled * (share - hit) / (np.count_nonzero(labelled) - 1))[None]}


def alternative_effects(
    planted: Planted, scores: np.ndarray, positives: Positives, hit: np.ndarray
) -> dict[str, np.ndarray]:
    """Alternatives to drop-one effects on the means of the tail, (N,) each, written from the definitions in numpy.

    "scaled": influences times sqrt(P / (P - 1)), for ROC-AUC with DeLong's factors; scores have no ties. "lone": the
    same, and the only positive of a class has its exact drop-one effect: without it the class leaves the mean.
    """
    counts, num_rows = positives.counts, positives.num_rows
    sums = {metric: np.zeros(num_rows) for metric in ("ap", "auc", "acc")}
    values = {metric: np.full(positives.num_classes, np.nan) for metric in sums}
    tail = np.flatnonzero((planted.group == 2) & (counts > 0))
    for c, column in zip(tail, np.ascontiguousarray(scores[:, tail].T), strict=True):
        rows = positives.rows_of(c)
        num, others = len(rows), num_rows - len(rows)
        reached = np.searchsorted(np.sort(column[rows]), column, side="right")  # thresholds, 0 to P
        rank = reached[rows] - 1
        negatives = np.bincount(reached, minlength=num + 1) - 1
        negatives[0] += 1
        tp = np.arange(num, 0, -1.0)  # at ascending thresholds
        fp = negatives[:0:-1].cumsum()[::-1]
        factor = math.sqrt(num / max(num - 1, 1))

        precision = tp / (tp + fp)
        values["ap"][c] = precision.mean()
        of_negatives = np.concatenate([[0.0], (tp / (tp + fp) ** 2).cumsum()]) / -num
        effect = of_negatives[reached]
        effect[rows] = (precision + (fp / (tp + fp) ** 2).cumsum() - precision.mean())[rank] / num
        sums["ap"] -= factor * effect

        share_above, share_below = 1 - np.arange(num + 1) / num, 1 - fp / others
        values["auc"][c] = auc = share_below.mean()
        effect = ((share_above - auc) / math.sqrt(others * (others - 1)))[reached]
        effect[rows] = factor * (share_below[rank] - auc) / num
        sums["auc"] -= effect

        values["acc"][c] = hit[rows].mean()
        sums["acc"][rows] -= factor * (hit[rows] - hit[rows].mean()) / num
    lone = tail[counts[tail] == 1]
    lone_rows = positives.rows[positives.indptr[lone]]
    effects = {}
    for metric, of_rows in sums.items():
        effects[f"{metric} scaled"] = of_rows / len(tail)
        without = (np.nanmean(values[metric]) - values[metric][lone]) / (len(tail) - 1)
        effects[f"{metric} lone"] = of_rows / len(tail) + np.bincount(lone_rows, weights=without, minlength=num_rows)
    return effects


# ---- Sets on disk -----------------------------------------------------------------------------------------------

SETS_A_FILE = 10
WITH_ALTERNATIVES = 400  # the first sets of a population: these effects take as long as the rest


def simulate(population: Population, sets: int, seed: int, work: Path) -> None:
    """Measure sets 0 to ``sets`` of a seed, and keep every ten in a file of ``work``; files that exist are kept."""
    planted = planted_once(population)
    began, done = time.monotonic(), 0
    for first in range(0, sets, SETS_A_FILE):
        path = work / f"{population.name}-seed{seed}-{first:06d}.npz"
        if path.exists():
            continue
        found = []
        for index in range(first, min(first + SETS_A_FILE, sets)):
            test_set = planted.draw(np.random.Generator(np.random.SFC64([seed, index])))
            found.append(measure(planted, test_set, alternatives=index < WITH_ALTERNATIVES))
            done += 1
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **{key: np.stack([one[key] for one in found]).astype(np.float32) for key in found[0]})
        partial.replace(path)
        seconds = (time.monotonic() - began) / done
        sys.stderr.write(f"{population.name}: {first + len(found)} of {sets} sets, {seconds:.2f} s each\n")


def load(population: Population, seed: int, work: Path) -> dict[str, np.ndarray]:
    """Return the finished sets, each array with the sets first and NaN where not measured; empty without any."""
    parts = [dict(np.load(file)) for file in sorted(work.glob(f"{population.name}-seed{seed}-*.npz"))]
    shapes = {key: array.shape[1:] for part in parts for key, array in part.items()}
    absent = [{key: np.full((len(part["P"]), *shape), np.nan) for key, shape in shapes.items()} for part in parts]
    return {
        key: np.concatenate([{**no, **part}[key] for no, part in zip(absent, parts, strict=True)]) for key in shapes
    }


# ---- Tables -----------------------------------------------------------------------------------------------------

LEVEL = 0.95
NAMES = {"ap": "mAP", "auc": "ROC-AUC", "sap": "SAP, exact", "acc": "Acc@1, class rates", "acc rows": "Acc@1, rows"}
FORMS = {"": "of rows", "summed": "summed in clusters", "clustered": "summed, with G / (G - 1)"}
ALTERNATIVES = {
    "plain": "drop-one effects, 0 for P = 1",
    "scaled": "influences times sqrt(P / (P - 1))",
    "lone": "the same, and P = 1 leaves the mean",
}
BINS = ((5, 6), (7, 9), (10, 14), (15, 29), (30, 80), (81, 10**9))
BIN_NAMES = ("5-6", "7-9", "10-14", "15-29", "30-80", "over 80")


class Study:
    """The finished sets of one population, with the means of groups."""

    def __init__(self, population: Population, sets: dict[str, np.ndarray]) -> None:
        self.population, self.sets = population, sets
        self.planted = planted_once(population)
        self.num_sets = len(sets["P"])
        self.counts = sets["P"]
        for model in MODELS:
            rate = np.full(self.counts.shape, np.nan)
            np.divide(sets[f"hits {model}"], self.counts, out=rate, where=self.counts > 0)
            sets[f"acc {model}"] = rate
        self.clustered = population.clustered
        self._means: dict[tuple[str, str], np.ndarray] = {}
        self._one_class: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def first(self, number: int) -> Study:
        """Return the study of the first sets alone."""
        return Study(self.population, {key: values[:number] for key, values in self.sets.items()})

    def group_means(self, values: np.ndarray) -> np.ndarray:
        """(sets, classes) to (sets, groups): overall, head, medium, tail."""
        of_groups = [values[:, self.planted.group == group] for group in range(3)]
        return np.stack([np.nanmean(part, axis=1) for part in (values, *of_groups)], axis=1)

    def estimate(self, metric: str, pair: str) -> np.ndarray:
        """The mean, or the difference of two models, of each set and group."""
        if len(pair) > 1:
            return self.estimate(metric, pair[0]) - self.estimate(metric, pair[-1])
        if (metric, pair) not in self._means:
            values = self.sets[f"{metric} {pair}"]
            self._means[metric, pair] = values[:, None] if metric == "acc rows" else self.group_means(values)
        return self._means[metric, pair]

    def error(self, rule: str, pair: str, *, form: str | None = None) -> np.ndarray:
        """The standard errors of all sets; form: "clustered", "summed", "" for those of rows, or the proper one."""
        form = "clustered" * self.clustered if form is None else form
        return self.sets[f"{form} error {rule} {pair}".strip()]

    def covers(self, rule: str, pair: str, *, truth: Any = None, form: str | None = None) -> np.ndarray:
        """Whether the interval of each set and group holds E_N, the mean over the sets."""
        estimate, error = self._beside(rule, pair, form)
        truth = estimate.mean(0) if truth is None else truth
        return np.abs(estimate - truth) <= normal_quantile(LEVEL) * error

    def ratio(self, rule: str, pair: str, *, form: str | None = None) -> np.ndarray:
        """Root of the mean estimated variance over the standard deviation between sets, of each group."""
        estimate, error = self._beside(rule, pair, form)
        return np.sqrt((error**2).mean(0)) / estimate.std(0, ddof=1)

    def _beside(self, rule: str, pair: str, form: str | None) -> tuple[np.ndarray, np.ndarray]:
        """The estimates and their errors by a rule. Rules beside drop-one effects are of the tail alone."""
        metric, _, variant = rule.partition(" ")
        error = self.error(rule, pair, form=form)
        return self.estimate(metric, pair)[:, 3:] if variant in ALTERNATIVES else self.estimate(rule, pair), error

    def one_class(self, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether Wilson's interval of each set and class holds the class's E_N, its width, and its P (or G)."""
        if metric in self._one_class:
            return self._one_class[metric]
        values = self.sets[f"{metric} A"]
        size = self.sets["G"] if self.clustered else self.counts
        form = "clustered variance" if self.clustered else "variance"
        kind = {"acc": "ap" if self.clustered else "share"}.get(metric, metric)
        variance = np.zeros(values.shape) if kind == "share" else self.sets[f"{form} {metric}"]
        low, high = wilson(values, effective_n(values, variance, size, kind), LEVEL)
        truth = np.nanmean(values, axis=0)
        inside = np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high))
        self._one_class[metric] = inside, high - low, size
        return self._one_class[metric]


def percent(hits: Any) -> str:
    return f"{100 * float(np.mean(hits)):.1f}"


def four(values: np.ndarray) -> list[str]:
    """One cell a group; a metric of rows has the first only."""
    cells = [percent(values[:, i]) for i in range(values.shape[1])]
    return cells + ["-"] * (4 - len(cells))


def standard_error(share: float, sets: int) -> float:
    """The Monte Carlo standard error of a share of the sets, in percent."""
    return 100 * math.sqrt(share * (1 - share) / max(sets, 1))


def report_targets(studies: list[Study]) -> str:
    """The targets of the intervals, the range found over all populations, and the cells outside of the target."""
    rules = ("ap", "auc", "sap", "acc", "acc rows")
    found: dict[str, list[tuple[float, str]]] = {}

    def add(target: str, value: float, *where: str) -> None:
        found.setdefault(target, []).append((100 * float(value), " ".join(where)))

    for study in studies:
        name = study.population.name
        for rule in rules:
            groups = GROUPS if rule != "acc rows" else GROUPS[:1]
            for target, pair in (("means: coverage 93 to 97", "A"), ("differences: coverage 93 to 97", "A-C")):
                for group, share in zip(groups, study.covers(rule, pair).mean(0), strict=True):
                    add(target, share, name, NAMES[rule], group)
            if len(groups) > 1:
                wrong = ~study.covers(rule, "A-B", truth=0.0)
                add("type-I of the tail: 3.5 to 6", wrong[:, 3].mean(), name, NAMES[rule])
        for metric in ("ap", "auc", "sap", "acc"):
            inside, _, size = study.one_class(metric)
            for (low, high), bin_name in zip(BINS, BIN_NAMES, strict=True):
                chosen = (size >= low) & (size <= high) & ~np.isnan(inside)
                if np.count_nonzero(chosen) >= MIN_INTERVALS:
                    add("one class: coverage at least 93", np.mean(inside[chosen]), name, NAMES[metric], bin_name)
        null, _ = class_table(study, "B")
        for title, adjust in (("Holm", holm), ("Benjamini-Hochberg", benjamini_hochberg)):
            any_false = [np.any(adjust(p) <= 1 - LEVEL) for p in null]
            if any_false:
                add("class table, all classes null: any false discovery at most 6", np.mean(any_false), name, title)
    rows = []
    for target, cells in found.items():
        numbers = [float(word) for word in target.split() if word[0].isdigit()]
        low, high = {"least": (numbers[0], 100.0), "most": (0.0, numbers[-1])}.get(target.split()[-2], tuple(numbers))
        below = sorted(cell for cell in cells if cell[0] < low)
        above = sorted((cell for cell in cells if cell[0] > high), reverse=True)
        outside = [f"{share:.1f} {where}" for share, where in (*below[:6], *above[:6])]
        span = f"{min(cells)[0]:.1f} to {max(cells)[0]:.1f}"
        rows.append([target, span, str(len(cells)), str(len(below)), str(len(above)), "; ".join(outside)])
    return table(["target, %", "found", "cells", "below", "above", "outside, up to six on each side"], rows)


MIN_INTERVALS = 200


def report_means(studies: list[Study]) -> str:
    rules = ("ap", "auc", "sap", "acc", "acc rows")
    text = ""
    for title, pair in (("the means of A", "A"), ("the differences A - C", "A-C")):
        rows = []
        for study in studies:
            for rule in rules:
                ratio = study.ratio(rule, pair)
                rows.append([study.population.name, NAMES[rule], *four(study.covers(rule, pair)), f"{ratio[-1]:.2f}"])
        text += f"\n## Coverage of E_N by {title}, %\n\n"
        text += table(["population", "metric", *GROUPS, "se / sd"], rows, left=2)
    rows = []
    for study in studies:
        for rule in rules:
            wrong = ~study.covers(rule, "A-B", truth=0.0)
            rows.append([study.population.name, NAMES[rule], *four(wrong)])
    text += "\n## Type-I error at a true difference of zero (A - B), nominal 5 %\n\n"
    return text + table(["population", "metric", *GROUPS], rows, left=2)


def report_power(studies: list[Study]) -> str:
    rows = []
    z = normal_quantile(LEVEL)
    for study in studies:
        for rule in ("ap", "auc", "sap", "acc"):
            difference = np.abs(study.estimate(rule, "A-C"))
            paired = study.error(rule, "A-C")
            unpaired = np.hypot(study.error(rule, "A"), study.error(rule, "C"))
            null = np.abs(study.estimate(rule, "A-B")) > z * np.hypot(study.error(rule, "A"), study.error(rule, "B"))
            rows.append(
                [
                    study.population.name,
                    NAMES[rule],
                    f"{np.mean(study.estimate(rule, 'A-C')[:, 3]):+.4f}",
                    *(percent(difference[:, g] > z * error[:, g]) for g in (3, 1) for error in (paired, unpaired)),
                    percent(null[:, 3]),
                ]
            )
    head = ["population", "metric", "difference, tail", "tail: paired", "unpaired", "head: paired", "unpaired"]
    return table([*head, "type-I of unpaired, tail"], rows, left=2)


def report_one_class(studies: list[Study]) -> str:
    rows = []
    for study in studies:
        for metric in ("ap", "auc", "sap", "acc"):
            inside, width, size = study.one_class(metric)
            cells = []
            for low, high in BINS:
                chosen = (size >= low) & (size <= high) & ~np.isnan(inside)
                if np.count_nonzero(chosen) < MIN_INTERVALS:
                    cells.append("-")
                    continue
                of_sets = [np.mean(inside[s][chosen[s]]) for s in range(len(inside)) if chosen[s].any()]
                error = 100 * np.std(of_sets, ddof=1) / math.sqrt(len(of_sets))
                cells.append(f"{percent(inside[chosen])} +- {error:.1f} ({np.mean(width[chosen]):.2f})")
            known = ~np.isnan(inside)
            number = np.bincount(size[known].astype(np.int64))
            share = np.bincount(size[known].astype(np.int64), weights=inside[known]) / np.maximum(number, 1)
            each = [(share[p], p) for p in np.flatnonzero(number >= 1_000)]
            lowest = min(each, default=(math.nan, 0))
            rows.append([study.population.name, NAMES[metric], *cells, f"{100 * lowest[0]:.1f} at {lowest[1]}"])
    return table(["population", "metric", *BIN_NAMES, "lowest single P"], rows, left=2)


@functools.cache
def class_table(study: Study, model: str) -> tuple[np.ndarray, np.ndarray]:
    """The p-value of each class's difference between A and a model (NaN below the smallest P), and its size."""
    size = study.sets["G"] if study.clustered else study.counts
    difference = study.sets[f"ap {model}"] - study.sets["ap A"]
    error = np.sqrt(study.sets.get(f"paired variance {model}", np.full(size.shape, np.nan)))
    tested = size >= MIN_TESTED
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((difference == 0) & (error == 0), 0.0, difference / error)
    p = np.full(t.shape, np.nan)
    p[tested] = t_p_value(t[tested], size[tested] - 1)
    measured = ~np.isnan(error).all(axis=1)
    return p[measured], size[measured]


MIN_TESTED = 10


def report_class_table(studies: list[Study]) -> str:
    rows = []
    for study in studies:
        null, _ = class_table(study, "B")
        if len(null) == 0:
            continue
        mixed, _ = class_table(study, "C")
        unraised = study.planted.raised == 0
        cells = [f"{len(null):,}", f"{np.mean(np.count_nonzero(~np.isnan(null), axis=1)):.0f}"]
        cells.append(percent(null[~np.isnan(null)] <= 1 - LEVEL))
        for adjust in (holm, benjamini_hochberg):
            found = np.array([adjust(p) <= 1 - LEVEL for p in null])
            cells.append(percent(found.any(axis=1)))
        for adjust in (holm, benjamini_hochberg):
            found = np.array([adjust(p) <= 1 - LEVEL for p in mixed])
            wrong = found & unraised
            if adjust is holm:
                cells.append(percent(wrong.any(axis=1)))
            else:
                cells.append(percent(wrong.sum(1) / np.maximum(found.sum(1), 1)))
            cells.append(percent(found[:, ~unraised][~np.isnan(mixed[:, ~unraised])]))
        rows.append([study.population.name, *cells])
    head = ["population", "sets", "classes tested", "p <= .05, null", "Holm: any false, null", "BH: any false, null"]
    head += ["Holm: any false, mixed", "Holm: power", "BH: FDR, mixed", "BH: power"]
    return table(head, rows)


def accuracy_floors(study: Study) -> dict[str, np.ndarray]:
    """Other errors of the mean class rate of Acc@1 of A over the tail: (sets, 1) each."""
    tail = study.planted.group == 2
    counts, hits, rate = study.counts[:, tail], study.sets["hits A"][:, tail], study.sets["acc A"][:, tail]
    others, present = np.maximum(counts - 1, 1), counts > 0
    of_class = np.where(counts > 1, rate * (1 - rate) * counts / others**2, 0)
    z = normal_quantile(LEVEL)
    shrunk = (hits + z * z / 2) / (counts + z * z)
    floor = shrunk * (1 - shrunk) / np.maximum(counts, 1)
    pool = np.nanmean(rate, axis=1)[:, None]
    errors = {}
    for name, variance in (
        ("drop-one, 0 for P = 1, at least p~ (1 - p~) / P", np.fmax(of_class, floor)),
        ("drop-one, P = 1 from the group's rate", np.where(counts == 1, pool * (1 - pool), of_class)),
    ):
        more = np.where(present, variance - of_class, 0).sum(1) / np.count_nonzero(present, axis=1) ** 2
        errors[name] = np.sqrt(study.error("acc plain", "A")[:, 0] ** 2 + more)[:, None]
    return errors


def report_alternatives(studies: list[Study]) -> str:
    z = normal_quantile(LEVEL)
    rows = []
    for study in studies:
        if study.clustered:
            continue
        study = study.first(WITH_ALTERNATIVES)
        for metric in ("ap", "auc", "acc"):
            for variant, title in {"": "drop-one effects", **ALTERNATIVES}.items():
                rule = f"{metric} {variant}".strip()
                cells = []
                for pair in ("A", "A-B"):
                    inside = study.covers(rule, pair, truth=None if pair == "A" else 0.0)[:, -1]
                    cells += [percent(inside if pair == "A" else ~inside), f"{study.ratio(rule, pair)[-1]:.2f}"]
                rows.append([study.population.name, NAMES[metric], title, *cells])
        estimate = study.estimate("acc", "A")[:, 3:]
        for title, error in accuracy_floors(study).items():
            inside = np.abs(estimate - estimate.mean(0)) <= z * error
            ratio = np.sqrt((error**2).mean()) / estimate.std(ddof=1)
            rows.append([study.population.name, NAMES["acc"], title, percent(inside), f"{ratio:.2f}", "-", "-"])
    head = ["population", "metric", "variance", "coverage of A, %", "se / sd", "type-I of A - B, %", "se / sd"]
    return table(head, rows, left=3)


def report_weights(studies: list[Study]) -> str:
    """ROC-AUC and SAP of one class under several weights k of the binomial bound."""
    rows = []
    for study in studies:
        if study.clustered:
            continue
        for metric in ("auc", "sap"):
            values, p = study.sets[f"{metric} A"], study.counts
            truth = np.nanmean(values, axis=0)
            for k in WEIGHTS:
                n = blended_n(values, study.sets[f"variance {metric}"], p, k)
                low, high = wilson(values, np.where(p >= BINS[0][0], n, np.nan), LEVEL)
                inside = (low <= truth) & (truth <= high)
                cells = []
                for first, last in BINS:
                    chosen = (p >= first) & (p <= last) & ~np.isnan(low)
                    cells.append(f"{percent(inside[chosen])} ({np.mean((high - low)[chosen]):.2f})")
                rows.append([study.population.name, NAMES[metric], str(k), *cells])
    return table(["population", "metric", "k", *BIN_NAMES], rows, left=2)


def report_stray_positives(draws: int, seed: int) -> str:
    """One class of 2,000 rows, some of whose positives score as negatives do: as many draws as columns."""
    num_rows, rows = 2_000, []
    rng = np.random.Generator(np.random.SFC64([seed, 0]))
    for heavy in (False, True):
        noise = noise_table(heavy)
        for lift, stray in ((3.0, 0.0), (3.0, 0.02), (3.0, 0.1), (4.0, 0.05)):
            for p in (7, 20, 35, 60, 100):
                levels = rng.bit_generator.random_raw(-(-num_rows * draws // 4)).view(np.uint16)
                scores = noise[levels[: num_rows * draws]].reshape(num_rows, draws)
                scores[:p] += np.float32(lift) * (rng.random((p, draws)) >= stray)
                indptr = np.arange(draws + 1, dtype=np.int64) * p
                positives = Positives(num_rows, draws, indptr, np.tile(np.arange(p, dtype=np.uint32), draws))
                rank_table = rank_scan(scores, positives, threads=1).table
                cells = ["t4" if heavy else "normal", f"{lift:g}", f"{stray:.0%}", str(p)]
                for name, metric in METRICS.items():
                    values = getattr(rank_table, metric)()
                    variance = class_variances(rank_table, metric, threads=1)
                    n = effective_n(values, variance, np.full(draws, p), name)
                    for weighted in (
                        n,
                        *(() if name == "ap" else (blended_n(values, variance, p, k) for k in WEIGHTS)),
                    ):
                        low, high = wilson(values, weighted, LEVEL)
                        cells.append(percent((low <= values.mean()) & (values.mean() <= high)))
                rows.append(cells)
    head = ["noise", "lift", "strays", "P", "mAP"]
    head += [f"{NAMES[m]}{k}" for m in ("auc", "sap") for k in (", library", *(f", k = {k}" for k in WEIGHTS))]
    return table(head, rows)


WEIGHTS = (2, 5, 10, 20)


def blended_n(values: np.ndarray, variance: np.ndarray, p: Any, k: int) -> np.ndarray:
    """Wilson's effective size with the weight k / (P + k) of the binomial bound; P where the variance is 0."""
    spread = values * (1 - values)
    usable = (variance > 0) & (spread > 0)
    share = np.divide(variance, spread, out=np.ones(values.shape), where=usable)
    return np.where(usable, (p + k) / (p * share + k * np.maximum(share, 1 / np.maximum(p, 1))), p)


def report_open_questions(studies: list[Study], draws: int, seed: int) -> str:
    text = "\n## The tail under other variances\n\n" + report_alternatives(studies)
    text += "\n## ROC-AUC and SAP of one class: weights k of the binomial bound, coverage in % (mean width)\n\n"
    text += report_weights(studies)
    text += "\n## One class with stray positives, which score as negatives do: coverage in %\n\n"
    text += report_stray_positives(draws, seed)
    head = ["metric", "effects", *(f"A: {g}" for g in GROUPS), "se / sd", *(f"type-I: {g}" for g in GROUPS)]
    for study in studies:
        if study.clustered:
            rows = []
            for rule in ("ap", "auc", "sap", "acc", "acc rows"):
                for form, name in FORMS.items():
                    inside = study.covers(rule, "A", form=form)
                    null = ~study.covers(rule, "A-B", truth=0.0, form=form)
                    ratio = study.ratio(rule, "A", form=form)
                    rows.append([NAMES[rule], name, *four(inside), f"{ratio[-1]:.2f}", *four(null)])
            text += f"\n## {study.population.title}: effects of rows, or summed within clusters\n\n"
            text += table(head, rows, left=2)
        if "clean ap A" in study.sets:
            rows = []
            for pair in ("A", "A-C"):
                for metric in ("ap", "auc", "sap"):
                    clean = study.estimate(f"clean {metric}", pair).mean(0)
                    seen = study.estimate(metric, pair)
                    values = [f"{seen[:, 3].mean():+.4f}", f"{clean[3]:+.4f}"]
                    as_they_are = four(study.covers(metric, pair))
                    rows.append(
                        [pair, NAMES[metric], *values, *as_they_are, *four(study.covers(metric, pair, truth=clean))]
                    )
            text += f"\n## {study.population.title}: E_N under the labels as they are, and under the true labels\n\n"
            both = [f"{kind}: {g}" for kind in ("as they are", "true") for g in GROUPS]
            text += table(["", "metric", "tail, labels as they are", "tail, true labels", *both], rows, left=2)
    return text


# ---- Halves of a real test set ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Matrices:
    """Scores of two models on one test set, its labels, and the group of each class."""

    title: str
    scores: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray
    group: np.ndarray


def functions_of_python(seed: int = 0) -> Matrices:
    """A real long tail: which module of the standard library a function is from, by the names that it uses.

    One half of the functions trains a naive Bayes model and a model of cosines to the mean of each class.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    bags, modules = [], []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if {"test", "tests", "site-packages", "idle_test", "lib2to3"} & set(parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                names = [getattr(part, "id", getattr(part, "attr", None)) for part in ast.walk(node)]
                words = [zlib.crc32(name.encode()) % NUM_WORDS for name in names if isinstance(name, str)]
                if len(words) >= 5:
                    bags.append(words)
                    modules.append("/".join(parts))
    names, classes, totals = np.unique(modules, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    train = rng.random(len(bags)) < 0.5
    known = np.bincount(classes[train], minlength=len(names))
    kept = np.flatnonzero((known >= 2) & (totals - known >= 2))
    used = np.isin(classes, kept)
    classes = np.searchsorted(kept, classes[used])
    train = train[used]
    words = np.zeros((len(classes), NUM_WORDS), np.float32)
    for row, index in enumerate(np.flatnonzero(used)):
        np.add.at(words[row], bags[index], 1)
    known = np.bincount(classes[train], minlength=len(kept))
    of_class = np.zeros((len(kept), NUM_WORDS), np.float32)
    np.add.at(of_class, classes[train], words[train])
    log_odds = np.log(of_class + 0.1) - np.log((of_class + 0.1).sum(1, keepdims=True))
    bayes = words[~train] @ log_odds.T + np.log(known).astype(np.float32)
    bayes -= bayes.max(axis=1, keepdims=True)
    bayes -= np.log(np.exp(bayes).sum(axis=1, keepdims=True))  # log posteriors, which compare between rows
    weight = np.log(train.sum() / (1 + np.count_nonzero(words[train], axis=0))).astype(np.float32)
    rows = np.log1p(words) * weight
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-9
    centres = np.zeros_like(of_class)
    np.add.at(centres, classes[train], rows[train])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    cosine = rows[~train] @ centres.T
    labels = classes[~train][:, None] == np.arange(len(kept))
    group = np.where(known > 50, 0, np.where(known > 10, 1, 2))
    title = f"functions of Python's standard library by module, {len(labels):,} x {len(kept)}, real"
    return Matrices(title, (np.ascontiguousarray(bayes), np.ascontiguousarray(cosine)), labels, group)


NUM_WORDS = 4096


def demo_matrices() -> Matrices:
    """The planted set of `vltr-eval demo` at a quarter of its rows: a second model sees the same logits with noise."""
    demo = make_demo(0.25)
    logits = np.log(demo.scores) - np.log1p(-demo.scores)
    other = logits + np.random.default_rng(5).standard_normal(logits.shape, np.float32) * np.float32(0.7)
    group = np.where(demo.train_counts > 500, 0, np.where(demo.train_counts > 100, 1, 2))
    rows, classes = demo.labels.shape
    return Matrices(f"`vltr-eval demo`, {rows:,} x {classes}, synthetic", (logits, other), demo.labels, group)


def report_halves(matrices: Matrices, splits: int, seed: int) -> str:
    """The share of random halvings whose two halves differ significantly, for two models and their difference."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[np.ndarray]] = {}
    absent, lone = [], []
    tail = matrices.labels[:, matrices.group == 2]
    for _ in range(splits):
        order = rng.permutation(len(matrices.labels))
        counts = tail[order[: len(order) // 2]].sum(axis=0)
        absent.append(counts == 0)
        lone.append(counts == 1)
        halves = [half_means(matrices, np.sort(half)) for half in np.array_split(order, 2)]
        for key, (mean, errors) in halves[0].items():
            other_mean, other_errors = halves[1][key]
            found.setdefault(key, []).append((mean - other_mean) / np.hypot(errors, other_errors))
    rows = []
    for key, of_halvings in found.items():
        z, plain = np.moveaxis(np.array(of_halvings), 1, 0)
        z = np.column_stack([z, plain[:, -1]])
        differ = [percent(column) for column in (np.abs(z) > normal_quantile(LEVEL)).T]
        rows.append([key, *differ, *(f"{sd:.2f}" for sd in z.std(axis=0))])
    columns = (*GROUPS, "tail, effect 0 for P = 1")
    head = ["", *(f"differ: {g}" for g in columns), *(f"sd of z: {g}" for g in columns)]
    sizes = np.bincount(matrices.group, minlength=3)
    text = f"\n{matrices.title}; {sizes[0]} head, {sizes[1]} medium, {sizes[2]} tail classes, {splits} halvings.\n"
    text += f"A half has no positive of {percent(absent)} % of the tail classes, and one of {percent(lone)} %.\n\n"
    return text + table(head, rows)


def half_means(matrices: Matrices, rows: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Group means of some rows and their standard errors, of each model and of the difference.

    The errors are those of reports, then those of `plain_effects`: (2, 4).
    """
    positives = Positives.from_labels(matrices.labels[rows], len(rows), matrices.labels.shape[1])
    members = [np.ones(len(matrices.group), bool), *(matrices.group == group for group in range(3))]
    means, effects = [], []
    for whole in matrices.scores:
        matrix = borrow_matrix("scores", scores := whole[rows])
        scanned = rank_scan(scores, positives, ranks=True, threads=1)
        both = [rule(matrices.group, matrix, positives, scanned) for rule in (printed_effects, plain_effects)]
        effects.append({metric: np.stack([found[metric] for found in both]) for metric in METRICS})
        values = [getattr(scanned.table, metric)() for metric in METRICS.values()]
        of_groups = [np.array([np.nanmean(value[one]) for one in members]) for value in values]
        means.append(dict(zip(METRICS, of_groups, strict=True)))
    found = {}
    for metric in METRICS:
        for model, name in enumerate(MODELS[:2]):
            found[f"{NAMES[metric]}, {name}"] = (means[model][metric], jackknife_errors(effects[model][metric]))
        difference = jackknife_errors(effects[0][metric] - effects[1][metric])
        found[f"{NAMES[metric]}, A - B"] = (means[0][metric] - means[1][metric], difference)
    return found


def report(studies: list[Study], draws: int, seed: int) -> str:
    text = f"# Coverage of intervals and errors of tests, {TODAY}\n\n{provenance('numpy')}"
    rows = [
        [study.population.name, study.population.title, f"{study.num_sets:,}"]
        + [f"{standard_error(share, study.num_sets):.1f}" for share in (0.95, 0.05)]
        for study in studies
    ]
    text += "\n" + table(["population", "", "sets", "MCSE at 95 %", "MCSE at 5 %"], rows, left=2)
    text += "\n## Targets\n\n" + report_targets(studies)
    text += report_means(studies)
    text += "\n## One class: coverage +- its Monte Carlo error, % (mean width), by positives\n\n"
    text += report_one_class(studies)
    text += "\n## The class table of compare: AP, P >= 10, t(P - 1)\n\n" + report_class_table(studies)
    text += "\n## Power of the paired and of an unpaired test of A - C, %\n\n" + report_power(studies)
    return text + report_open_questions(studies, draws, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1_000, help="test sets of each population (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the test sets (default: 1)")
    parser.add_argument("--populations", nargs="+", choices=[*POPULATIONS], default=[*POPULATIONS])
    parser.add_argument("--work", type=Path, required=True, help="folder of the finished sets; a second run goes on")
    parser.add_argument("--report-only", action="store_true", help="make the tables of the finished sets")
    parser.add_argument("--out", action="store_true", help="also write benchmarks/results/interval-coverage-DATE.md")
    parser.add_argument("--draws", type=int, default=2_000, help="of one class with stray positives (default: 2000)")
    parser.add_argument(
        "--halvings", type=int, default=1_000, help="of a real and a demo set; 0 for none (default: 1000)"
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    chosen = [POPULATIONS[name] for name in arguments.populations]
    if not arguments.report_only:
        ends = [min(first + SETS_A_FILE, arguments.sets) for first in range(0, arguments.sets, SETS_A_FILE)]
        for end in ends:  # all populations have about the same number of sets when the run is stopped
            for population in chosen:
                simulate(population, end, arguments.seed, arguments.work)
    found = [(population, load(population, arguments.seed, arguments.work)) for population in chosen]
    studies = [Study(population, sets) for population, sets in found if sets]
    text = report(studies, arguments.draws, arguments.seed)
    if arguments.halvings:
        text += "\n## Halves of one test set against each other, %\n"
        for matrices in (functions_of_python(), demo_matrices()):
            text += report_halves(matrices, arguments.halvings, arguments.seed)
    sys.stdout.write(text)
    if arguments.out:
        write_whole(RESULTS / f"interval-coverage-{TODAY}.md", text)


if __name__ == "__main__":
    main()
