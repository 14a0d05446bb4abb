"""Coverage of the intervals and error rates of the tests, by simulation on populations in VideoLT's profile.

    python experiments/interval_coverage.py --sets 1000 --work DIR             # hours; finished sets stay in DIR
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
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vltr_eval._base.long_tail import VIDEOLT_TRAIN_TAIL, even_pick, tail_counts
from vltr_eval._engine.labels import Positives

LEVELS = 1 << 16  # of a noise table: one uint16 draws one deviate
GROUPS = ("overall", "head", "medium", "tail")
MODELS = ("A", "B", "C")
MODEL_CORRELATION = 0.8


@dataclass(frozen=True)
class Population:
    """One population of test sets.

    name, title: as in the tables. num_rows, num_classes: of a set. scale: expected positives of a class over those of
    VideoLT's test split. row_share, topic_share: of the noise's variance, by row and by (row, topic). heavy: noise of
    Student's t with 4 degrees of freedom, else normal. unlabelled: share of the positives without their label.
    mislabelled: wrong labels, as a share of the positives. cluster_rows: rows of a cluster that share their labels, up
    to ``purity``, and ``cluster_share`` of each variance.
    """

    name: str
    title: str
    num_rows: int = 10_000
    num_classes: int = 1_004
    scale: float = 0.3
    row_share: float = 0.1
    topic_share: float = 0.3
    heavy: bool = False
    unlabelled: float = 0.0
    mislabelled: float = 0.0
    cluster_rows: int = 1
    purity: float = 1.0
    cluster_share: float = 0.0


POPULATIONS = {
    p.name: p
    for p in (
        Population("videolt", "VideoLT's profile, normal noise"),
        Population("heavy", "heavy-tailed noise (t, 4 degrees of freedom)", heavy=True, scale=0.4),
        Population("shared", "strongly shared rows", row_share=0.4, topic_share=0.5),
        Population("noise", "label noise: 20 % unlabelled, 10 % wrong", unlabelled=0.2, mislabelled=0.1, scale=0.5),
        Population("clusters", "clusters: 5 rows a video", cluster_rows=5, purity=0.8, cluster_share=0.5, scale=0.5),
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
        lift = 2.8 + 0.35 * np.log(self.train / 100.0) + 0.9 * rng.standard_normal(num_classes)
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

    alternatives: also the errors from `scaled_influences`, which take longer than the rest.
    """
    p, positives = planted.population, test_set.seen
    counts = positives.counts
    clusters = np.arange(p.num_rows) // p.cluster_rows if p.cluster_rows > 1 else None
    found: dict[str, np.ndarray] = {"P": counts}
    if clusters is not None:
        pairs = np.unique(_classes(positives) * p.num_rows + clusters[positives.rows])
        found["G"] = np.bincount(pairs // p.num_rows, minlength=p.num_classes)
    defined = np.array([np.count_nonzero((counts > 0) & (planted.group == group)) for group in range(3)])
    effects: dict[str, dict[str, np.ndarray]] = {}
    tables = {}
    for model in MODELS:
        scores = test_set.b if model == "B" else test_set.raise_b() if model == "C" else test_set.a
        matrix = borrow_matrix("scores", scores)
        scanned = rank_scan(scores, positives, ranks=True, threads=1)
        table = tables[model] = scanned.table
        rows = row_effects(matrix, positives, table, planted.group, list(METRICS.values()), threads=1)
        sums = np.ldexp(rows.sums.astype(np.float64), -rows.exponents)
        effects[model] = {name: sums[:, :, i].T for i, name in enumerate(METRICS)}
        effects[model] |= accuracy_effects(planted, positives, scanned.ranks == 0)
        if alternatives:
            effects[model] |= scaled_influences(scores, positives, planted.group)
        for name, metric in METRICS.items():
            found[f"{name} {model}"] = getattr(table, metric)()
        hit = scanned.ranks[positives.rows] == 0
        found[f"hits {model}"] = np.bincount(_classes(positives), weights=hit, minlength=p.num_classes)
        labelled = scanned.ranks >= 0
        found[f"acc rows {model}"] = np.mean(scanned.ranks[labelled] == 0)
        if model == "A":
            for name, metric in METRICS.items():
                found[f"variance {name}"] = class_variances(table, metric, threads=1)
                if clusters is not None:
                    found[f"clustered variance {name}"] = clustered_variances(
                        matrix, positives, table, metric, clusters, threads=1
                    )
            if p.unlabelled or p.mislabelled:
                clean = rank_scan(scores, test_set.clean, threads=1).table
                for name, metric in METRICS.items():
                    found[f"clean {name}"] = getattr(clean, metric)()
        else:
            found[f"paired variance {model}"] = paired_variances(
                borrow_matrix("scores", test_set.a), tables["A"], matrix, table, positives, METRICS["ap"],
                clusters=clusters, threads=1,
            )  # fmt: skip
    for pair in PAIRS:
        for name in effects["A"]:
            of_rows = effects[pair[0]][name] - (effects[pair[-1]][name] if len(pair) > 1 else 0)
            of_means = np.vstack([of_rows.sum(0) / defined.sum(), of_rows / defined[:, None]])
            if name == "acc rows":
                of_means = of_rows
            found[f"error {name} {pair}"] = jackknife_errors(of_means)
            if clusters is not None:
                by_cluster = of_means.reshape(len(of_means), -1, p.cluster_rows).sum(2)
                found[f"clustered error {name} {pair}"] = jackknife_errors(by_cluster)
    return found


def jackknife_errors(effects: np.ndarray) -> np.ndarray:
    """As `vltr_eval.intervals.jackknife_error` of each row of (M, N), without its exact sums."""
    n = effects.shape[1]
    return np.sqrt((n - 1) * np.var(effects, axis=1))


def _classes(positives: Positives) -> np.ndarray:
    return np.repeat(np.arange(positives.num_classes), positives.counts)


def accuracy_effects(planted: Planted, positives: Positives, hit: np.ndarray) -> dict[str, np.ndarray]:
    """Drop-one effects on Acc@1: sums of class rates by group (3, N), and the share of labelled rows (1, N).

    "acc scaled" has influences times sqrt(P / (P - 1)) instead, the textbook's unbiased variance of a share.
    """
    classes, counts = _classes(positives), positives.counts
    rate = np.bincount(classes, weights=hit[positives.rows], minlength=positives.num_classes) / np.maximum(counts, 1)
    residual = rate[classes] - hit[positives.rows]
    group = planted.group[classes]
    others = np.maximum(counts - 1, 1)
    effects = {}
    for name, factor in (("acc", 1 / others), ("acc scaled", 1 / np.sqrt(np.maximum(counts, 1) * others))):
        where = group * positives.num_rows + positives.rows
        sums = np.bincount(where, weights=residual * factor[classes], minlength=3 * positives.num_rows)
        effects[name] = sums.reshape(3, -1)
    labelled = np.zeros(positives.num_rows, bool)
    labelled[positives.rows] = True
    share = np.mean(hit[labelled])
    effects["acc rows"] = (labelled * (share - hit) / (np.count_nonzero(labelled) - 1))[None]
    return effects


def scaled_influences(scores: np.ndarray, positives: Positives, group: np.ndarray) -> dict[str, np.ndarray]:
    """Influences times sqrt(P / (P - 1)) (DeLong's factors for ROC-AUC), summed by group: (3, N) each, without ties.

    Alternatives to drop-one effects, written from the definitions in numpy.
    """
    sums = {name: np.zeros((3, positives.num_rows)) for name in ("ap scaled", "auc scaled")}
    for first in range(0, positives.num_classes, 64):
        block = np.ascontiguousarray(scores[:, first : first + 64].T)
        for c, column in enumerate(block, first):
            rows = positives.rows_of(c)
            num, others = len(rows), len(column) - len(rows)
            if num == 0:
                continue
            reached = np.searchsorted(np.sort(column[rows]), column, side="right")  # 0 to P; index of a positive + 1
            rank = reached[rows]
            negatives = np.bincount(reached, minlength=num + 1) - 1  # by the thresholds that they reach
            negatives[0] += 1
            tp = np.arange(num, 0, -1.0)  # at ascending thresholds
            fp = negatives[:0:-1].cumsum()[::-1]
            factor = math.sqrt(num / max(num - 1, 1))

            per_negative = np.concatenate([[0.0], (tp / (tp + fp) ** 2).cumsum()]) / -num
            precision = tp / (tp + fp)
            per_positive = (precision + (fp / (tp + fp) ** 2).cumsum() - precision.mean()) / num
            effect = per_negative[reached]
            effect[rows] = per_positive[rank - 1]
            sums["ap scaled"][group[c]] += factor * effect

            share_above = (num - np.arange(num + 1)) / num
            share_below = 1 - fp / others
            auc = share_below.mean()
            effect = ((share_above - auc) / math.sqrt(others * (others - 1)))[reached]
            effect[rows] = factor * (share_below[rank - 1] - auc) / num
            sums["auc scaled"][group[c]] += effect
    return sums


# ---- Sets on disk -----------------------------------------------------------------------------------------------

SETS_A_FILE = 10


def simulate(population: Population, sets: int, seed: int, work: Path) -> None:
    """Measure sets 0 to ``sets`` of a seed, and keep every ten in a file of ``work``; files that exist are kept."""
    planted = Planted(population)
    began, done = time.monotonic(), 0
    for first in range(0, sets, SETS_A_FILE):
        path = work / f"{population.name}-seed{seed}-{first:06d}.npz"
        if path.exists():
            continue
        found = []
        for index in range(first, min(first + SETS_A_FILE, sets)):
            test_set = planted.draw(np.random.Generator(np.random.SFC64([seed, index])))
            found.append(measure(planted, test_set))
            done += 1
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez(file, **{key: np.stack([one[key] for one in found]).astype(np.float32) for key in found[0]})
        partial.replace(path)
        seconds = (time.monotonic() - began) / done
        print(f"{population.name}: {first + len(found)} of {sets} sets, {seconds:.2f} s each", file=sys.stderr)


def load(population: Population, seed: int, work: Path) -> dict[str, np.ndarray]:
    """Return the finished sets, each array with the sets first; empty without any."""
    files = sorted(work.glob(f"{population.name}-seed{seed}-*.npz"))
    parts = [dict(np.load(file)) for file in files]
    return {key: np.concatenate([part[key] for part in parts]).astype(np.float64) for key in parts[0]} if parts else {}


# ---- Tables -----------------------------------------------------------------------------------------------------

LEVEL = 0.95
NAMES = {"ap": "mAP", "auc": "ROC-AUC", "sap": "SAP, exact", "acc": "Acc@1, class rates", "acc rows": "Acc@1, rows"}
BINS = ((5, 6), (7, 9), (10, 14), (15, 29), (30, 80), (81, 10**9))


class Study:
    """The finished sets of one population, with the means of groups."""

    def __init__(self, population: Population, sets: dict[str, np.ndarray]) -> None:
        self.population, self.sets = population, sets
        self.planted = Planted(population)
        self.num_sets = len(sets["P"])
        self.counts = sets["P"]
        for model in MODELS:
            rate = np.full(self.counts.shape, np.nan)
            np.divide(sets[f"hits {model}"], self.counts, out=rate, where=self.counts > 0)
            sets[f"acc {model}"] = rate
        self.clustered = population.cluster_rows > 1

    def group_means(self, values: np.ndarray) -> np.ndarray:
        """(sets, classes) to (sets, groups): overall, head, medium, tail."""
        of_groups = [values[:, self.planted.group == group] for group in range(3)]
        return np.stack([np.nanmean(part, axis=1) for part in (values, *of_groups)], axis=1)

    def estimate(self, metric: str, pair: str) -> np.ndarray:
        """The mean, or the difference of two models, of each set and group."""
        if len(pair) > 1:
            return self.estimate(metric, pair[0]) - self.estimate(metric, pair[-1])
        values = self.sets[f"{metric} {pair}"]
        return values[:, None] if metric == "acc rows" else self.group_means(values)

    def error(self, rule: str, pair: str, *, clustered: bool | None = None) -> np.ndarray:
        form = "clustered error" if (self.clustered if clustered is None else clustered) else "error"
        return self.sets[f"{form} {rule} {pair}"]

    def covers(self, rule: str, pair: str, *, truth: Any = None, clustered: bool | None = None) -> np.ndarray:
        """Whether the interval of each set and group holds E_N, the mean over the sets."""
        metric = rule.removesuffix(" scaled")
        estimate = self.estimate(metric, pair)
        truth = estimate.mean(0) if truth is None else truth
        return np.abs(estimate - truth) <= normal_quantile(LEVEL) * self.error(rule, pair, clustered=clustered)

    def ratio(self, rule: str, pair: str) -> np.ndarray:
        """Root of the mean estimated variance over the standard deviation between sets, of each group."""
        estimate = self.estimate(rule.removesuffix(" scaled"), pair)
        return np.sqrt((self.error(rule, pair) ** 2).mean(0)) / estimate.std(0, ddof=1)

    def one_class(self, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Whether Wilson's interval of each set and class holds the class's E_N, its width, and its P (or G)."""
        values = self.sets[f"{metric} A"]
        size = self.sets["G"] if self.clustered else self.counts
        form = "clustered variance" if self.clustered else "variance"
        kind = "share" if metric == "acc" else metric
        variance = np.zeros(values.shape) if metric == "acc" else self.sets[f"{form} {metric}"]
        low, high = wilson(values, effective_n(values, variance, size, kind), LEVEL)
        truth = np.nanmean(values, axis=0)
        inside = np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high))
        return inside, high - low, size


def percent(hits: Any) -> str:
    return f"{100 * float(np.mean(hits)):.1f}"


def four(values: np.ndarray) -> list[str]:
    """One cell a group; a metric of rows has the first only."""
    cells = [percent(values[:, i]) for i in range(values.shape[1])]
    return cells + ["-"] * (4 - len(cells))


def standard_error(share: float, sets: int) -> float:
    """The Monte Carlo standard error of a share of the sets, in percent."""
    return 100 * math.sqrt(share * (1 - share) / max(sets, 1))


def report_means(studies: list[Study]) -> str:
    rules = ("ap", "auc", "sap", "acc", "acc rows")
    text = ""
    for title, pair in (("the means of A", "A"), ("the differences A - C", "A-C")):
        rows = []
        for study in studies:
            for rule in rules:
                ratio = study.ratio(rule, pair)
                rows.append(
                    [study.population.name, NAMES[rule], *four(study.covers(rule, pair)), f"{ratio[-1]:.2f}"]
                )
        text += f"\n### Coverage of E_N by {title}, %\n\n"
        text += table(["population", "metric", *GROUPS, "se / sd"], rows, left=2)
    rows = []
    for study in studies:
        for rule in rules:
            wrong = ~study.covers(rule, "A-B", truth=0.0)
            rows.append([study.population.name, NAMES[rule], *four(wrong)])
    text += "\n### Type-I error at a true difference of zero (A - B), nominal 5 %\n\n"
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
                if np.count_nonzero(chosen) < 200:
                    cells.append("-")
                    continue
                of_sets = [np.mean(inside[s][chosen[s]]) for s in range(len(inside)) if chosen[s].any()]
                error = 100 * np.std(of_sets, ddof=1) / math.sqrt(len(of_sets))
                cells.append(f"{percent(inside[chosen])} +- {error:.1f} ({np.mean(width[chosen]):.2f})")
            each = [
                (np.mean(inside[chosen]), p)
                for p in range(5, 201)
                if np.count_nonzero(chosen := (size == p) & ~np.isnan(inside)) >= 1_000
            ]
            lowest = min(each, default=(math.nan, 0))
            rows.append([study.population.name, NAMES[metric], *cells, f"{100 * lowest[0]:.1f} at {lowest[1]}"])
    names = [f"{low}-{high}" if high < 10**9 else f"{low}-" for low, high in BINS]
    return table(["population", "metric", *names, "lowest single P"], rows, left=2)


def class_table(study: Study, model: str) -> tuple[np.ndarray, np.ndarray]:
    """The p-value of each class's difference between A and a model (NaN below the smallest P), and its size."""
    size = study.sets["G"] if study.clustered else study.counts
    difference = study.sets[f"ap {model}"] - study.sets["ap A"]
    error = np.sqrt(study.sets[f"paired variance {model}"])
    tested = size >= MIN_TESTED
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where((difference == 0) & (error == 0), 0.0, difference / error)
    p = np.full(t.shape, np.nan)
    p[tested] = t_p_value(t[tested], size[tested] - 1)
    return p, size


MIN_TESTED = 10


def report_class_table(studies: list[Study]) -> str:
    rows = []
    for study in studies:
        null, _ = class_table(study, "B")
        mixed, _ = class_table(study, "C")
        unraised = study.planted.raised == 0
        cells = [f"{np.mean(np.count_nonzero(~np.isnan(null), axis=1)):.0f}"]
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
    head = ["population", "classes tested", "p <= .05, null", "Holm: any false, null", "BH: any false, null"]
    head += ["Holm: any false, mixed", "Holm: power", "BH: FDR, mixed", "BH: power"]
    return table(head, rows)


def accuracy_floors(study: Study, model: str) -> dict[str, np.ndarray]:
    """Errors of the mean class rate of Acc@1 under other rules for the variance of one class: (sets, groups)."""
    hits, counts = study.sets[f"hits {model}"], study.counts
    rate = study.sets[f"acc {model}"]
    others = np.maximum(counts - 1, 1)
    trials = np.maximum(counts, 1)
    jackknife = np.where(counts > 1, rate * (1 - rate) * counts / others**2, 0)
    scaled = np.where(counts > 1, rate * (1 - rate) / others, 0)
    z = normal_quantile(LEVEL)
    shrunk = (hits + z * z / 2) / (counts + z * z)
    floor = shrunk * (1 - shrunk) / trials
    errors = {}
    for name, base, rule in (
        ("drop-one + Wilson floor", "acc", lambda pool: np.fmax(jackknife, floor)),
        ("scaled + Wilson floor", "acc scaled", lambda pool: np.fmax(scaled, floor)),
        ("scaled, P = 1 from the group", "acc scaled", lambda pool: np.where(counts == 1, pool * (1 - pool), scaled)),
    ):
        of_class = jackknife if base == "acc" else scaled
        columns = []
        for group, plain in zip((None, 0, 1, 2), study.error(base, model).T, strict=True):
            members = np.ones(counts.shape[1], bool) if group is None else study.planted.group == group
            pool = np.nanmean(rate[:, members], axis=1)[:, None]
            extra = np.where(counts > 0, rule(pool) - of_class, 0)[:, members].sum(1)
            columns.append(np.sqrt(plain**2 + extra / np.count_nonzero(counts[:, members] > 0, axis=1) ** 2))
        errors[name] = np.stack(columns, axis=1)
    return errors


def report_open_questions(studies: list[Study]) -> str:
    z = normal_quantile(LEVEL)
    rows = []
    for study in studies:
        for rule, name in (("auc", "drop-one"), ("auc scaled", "DeLong's factors")):
            cells = four(study.covers(rule, "A")) + four(study.covers(rule, "A-B", truth=0.0))
            rows.append([study.population.name, name, *cells, f"{study.ratio(rule, 'A')[-1]:.2f}"])
    head = ["population", "rule", *(f"A: {g}" for g in GROUPS), *(f"A - B: {g}" for g in GROUPS), "se / sd, tail"]
    text = "\n### ROC-AUC of groups: drop-one effects, or influences with DeLong's factors\n\n"
    text += table(head, rows, left=2)
    rows = []
    for study in studies:
        for rule, name in (("acc", "drop-one"), ("acc scaled", "sqrt(P / (P - 1))")):
            cells = four(study.covers(rule, "A")) + four(study.covers(rule, "A-B", truth=0.0))
            rows.append([study.population.name, name, *cells, f"{study.ratio(rule, 'A')[-1]:.2f}"])
        estimate = study.estimate("acc", "A")
        if not study.clustered:
            for name, error in accuracy_floors(study, "A").items():
                inside = np.abs(estimate - estimate.mean(0)) <= z * error
                ratio = np.sqrt((error[:, 3] ** 2).mean()) / estimate[:, 3].std(ddof=1)
                rows.append([study.population.name, name, *four(inside), "-", "-", "-", "-", f"{ratio:.2f}"])
    text += "\n### Mean class rate of Acc@1: drop-one effects, or other variances of a class\n\n"
    text += table(head, rows, left=2)
    for study in studies:
        if study.clustered:
            rows = []
            for rule in ("ap", "auc", "sap", "acc", "acc rows"):
                for form, clustered in (("rows", False), ("clusters", True)):
                    inside = study.covers(rule, "A", clustered=clustered)
                    null = study.covers(rule, "A-B", truth=0.0, clustered=clustered)
                    rows.append([NAMES[rule], form, *four(inside), *four(null)])
            text += f"\n### {study.population.title}: effects of rows, or summed within clusters\n\n"
            text += table(["metric", *head[1:-1]], rows, left=2)
        if "clean ap" in study.sets:
            rows = []
            for metric in ("ap", "auc", "sap"):
                clean = study.group_means(study.sets[f"clean {metric}"]).mean(0)
                seen = study.estimate(metric, "A")
                shift = (seen.mean(0) - clean) / seen.std(0, ddof=1)
                rows.append([NAMES[metric], "labels as they are", *four(study.covers(metric, "A")), ""])
                inside = study.covers(metric, "A", truth=clean)
                rows.append([NAMES[metric], "true labels", *four(inside), ", ".join(f"{x:+.1f}" for x in shift)])
            text += f"\n### {study.population.title}: E_N of which labels\n\n"
            text += table(["metric", "E_N under", *GROUPS, "bias in standard deviations"], rows, left=2)
    return text
