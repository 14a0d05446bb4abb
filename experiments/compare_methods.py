"""Compare the methods of all five papers and their baselines on synthetic sets in the shape of the papers' sets.

    make compare                                           # over an hour on two cores
    python experiments/compare_methods.py --work DIR --out # keeps the finished runs in DIR
    python experiments/compare_methods.py --work DIR --only charadeslt

The report has tables, ablations, evaluation under other class distributions, and a verdict on each paper's claims.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _lib.machine import RESULTS, TODAY, num_cpus, provenance, write_whole
from _lib.tables import table

import vltr_eval
from vltr_eval._base.groups import class_groups
from vltr_eval.intervals import t_quantile
from vltr_eval.report import EXPECTED_SAP, SAP
from vltr_eval.report.report import Report
from vltr_train.aggregators import CLUSTERED
from vltr_train.data.dataset import open_dataset
from vltr_train.data.synth import synthesize
from vltr_train.method import Preset, TrainConfig
from vltr_train.methods import find_method
from vltr_train.runs.row_errors import RowErrors
from vltr_train.runs.run_folder import RunFolder
from vltr_train.runs.tables import COLUMNS, PRINTABLE
from vltr_train.runs.tables import table as table_of_runs
from vltr_train.settings import build_config, settings_document

SEEDS = (0, 1, 2)
LEVEL = 0.95  # of intervals and tests
DATA_SEED = 1
COMMON: dict[str, Any] = {"lr": 1e-2, "batch_size": 64, "eval_every": 4, "train_frames": 30, "test_frames": 75}
CLUSTERS = 16  # in every VLAD and codebook, for 64 to 128 features; the papers have 64 for 2,048


def schedule(epochs: int) -> dict[str, Any]:
    return {**COMMON, "epochs": epochs, "lr_steps": (epochs * 7 // 12, epochs * 5 // 6)}


def method_settings(method: str, epochs: int) -> dict[str, Any]:
    """Return the settings that adapt one method to this schedule and these features."""
    return {
        "ldam_drw": {"drw_epoch": epochs // 2},
        "meid": {"expert2_epochs": epochs, "expert2_lr": COMMON["lr"] / 10},
        "medc": {"embedding_dim": 64},
        # Some 150 to 200 batches of 1,000, as in an epoch of VideoLT.
        "ava_two_stage": {"classifier_epochs": 48},
    }.get(method, {})


PRIORS = ("longtail", "uniform", "inverse")


@dataclass(frozen=True)
class Row:
    """A method or METHOD:PRESET, and its settings beside the schedule."""

    spec: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join([self.spec, *(f"{key}={value}" for key, value in self.settings.items())])

    @property
    def method(self) -> str:
        return self.spec.partition(":")[0]

    def config(self, settings: Mapping[str, Any]) -> TrainConfig:
        return build_config(find_method(self.method), self.spec.partition(":")[2] or None, settings)

    def all_settings(self, epochs: int) -> dict[str, Any]:
        settings = {**schedule(epochs), **method_settings(self.method, epochs), **self.settings}
        return settings | ({"clusters": CLUSTERS} if self.config(settings).aggregator in CLUSTERED else {})


def rows(*specs: str, **settings: Any) -> tuple[Row, ...]:
    return tuple(Row(spec, settings) for spec in specs)


@dataclass(frozen=True)
class Comparison:
    """A synthetic set, the methods to train on it, and the printed tables to show beside the measured numbers.

    Attributes:
        synth: Arguments of `synthesize`.
        ablations: Rows that only the printed tables need.
        priors: Specs to evaluate under other class distributions too.
    """

    title: str
    epochs: int
    synth: Mapping[str, Any]
    rows: tuple[Row, ...]
    papers: tuple[str, ...]
    ablations: tuple[Row, ...] = ()
    priors: tuple[str, ...] = ()

    @property
    def every_row(self) -> tuple[Row, ...]:
        return self.rows + self.ablations


COMPARISONS = {
    "videolt": Comparison(
        "VideoLT's profile",
        48,
        {"profile": "videolt", "scale": 0.02, "dim": 64, "feature_std": 2.0},
        rows("bce:r101", "focal", "ldam_drw:r101", "eql:r101", "cbs:r101", "srs:r101", "cb_loss:r101", "mixup:r101")
        + rows("crt", "framestack:r101", "bce:r101-agg", "mixup:r101-agg", "framestack:r101-agg", "move:r101")
        + rows("medc:r101", "meid:r50", "ava_two_stage"),
        papers=("videolt-1", "videolt-move-1", "videolt-move-4", "videolt-medc-2"),
        ablations=rows("bce:r101-psa", "bce:r101-codebook", "move:r101-extrapolation", "move:r101-interpolation")
        + rows("medc:r101-no-attention", "medc:r101-expert1", "medc:r101-expert2", "medc:r101-expert3")
        + rows("meid:r50-e1", "meid:r50-e1-e1")
        + rows("ava_two_stage", stage1="all"),
        priors=("bce:r101", "cbs:r101", "framestack:r101", "move:r101", "medc:r101", "meid:r50"),
    ),
    "minikinetics": Comparison(
        "Imbalanced-MiniKinetics200's profile, ratio 0.01",
        48,
        {"profile": "minikinetics", "scale": 0.2, "dim": 64, "imbalance": 0.01, "feature_std": 2.0},
        rows(
            "bce:r101-mk0.01",
            "ldam_drw",
            "eql",
            "cbs",
            "srs",
            "cb_loss",
            "mixup",
            "crt",
            "framestack:r101-mk0.01",
            "focal",
        )
        + rows("bce:r101-agg-mk0.01", "move:r101-mk0.01", "medc", "meid", "ava_two_stage"),
        papers=("minikinetics-move-3",),
    ),
    "charadeslt": Comparison(
        "CharadesLT's profile, NeXtVLAD",
        24,
        {"profile": "charadeslt", "scale": 1.0, "dim": 128, "feature_std": 2.0},
        rows("bce", "focal", "srs", "crt", "ava_two_stage", aggregator="nextvlad")
        + rows("ldam_drw:r101-charadeslt", "eql:r101-charadeslt", "cbs:r101-charadeslt", "cb_loss:r101-charadeslt")
        + rows("mixup:r101-charadeslt", "framestack:r101-charadeslt", "meid:r101-charadeslt")
        + rows("bce:r101-agg", "move:r101", "medc:r101"),
        papers=("charadeslt-meid-3",),
    ),
}


@dataclass(frozen=True)
class Claim:
    """The claim that row `one` is above row `other` in a metric."""

    text: str
    data: str
    one: str
    other: str
    metric: str
    as_printed: tuple[str, str] | None = None  # the presets in the paper's numbers, if they differ

    @property
    def printed(self) -> float | None:
        """The difference in the paper."""
        one, other = (printed(spec, self.metric) for spec in self.as_printed or (self.one, self.other))
        return None if one is None or other is None else one - other


MEID = ("meid:r50", "bce:r50")
MEID_FRAMESTACK = ("meid:r50", "framestack:r50")
ON_CHARADES = ("meid:r101-charadeslt", "cbs:r101-charadeslt")
AVA = ("ava_two_stage:i3d-ava", "bce:i3d-ava")
AVA_BALANCING = ("bce:i3d-ava", "cbs:i3d-ava")
AVA_STAGE1 = ("ava_two_stage:i3d-ava", "ava_two_stage:i3d-ava-stage1-all")

CLAIMS = {
    "FrameStack (VideoLT)": (
        Claim("mixing frames by what is known lifts the baseline", "videolt", "framestack:r101", "bce:r101", "All"),
        Claim("and its tail", "videolt", "framestack:r101", "bce:r101", "Tail"),
        Claim("and is above mixup", "videolt", "framestack:r101", "mixup:r101", "All"),
        Claim("it lifts MiniKinetics too", "minikinetics", "framestack:r101-mk0.01", "bce:r101-mk0.01", "All"),
    ),
    "MOVE": (
        Claim("its aggregators lift the baseline", "videolt", "bce:r101-agg", "bce:r101", "All"),
        Claim("extrapolation and interpolation lift that", "videolt", "move:r101", "bce:r101-agg", "All"),
        Claim("and its tail", "videolt", "move:r101", "bce:r101-agg", "Tail"),
        Claim("and are above FrameStack", "videolt", "move:r101", "framestack:r101-agg", "All"),
        Claim("and above mixup", "videolt", "move:r101", "mixup:r101-agg", "All"),
        Claim("both are needed: extrapolation", "videolt", "move:r101", "move:r101-interpolation", "All"),
        Claim("both are needed: interpolation", "videolt", "move:r101", "move:r101-extrapolation", "All"),
        Claim("on MiniKinetics it lifts AP", "minikinetics", "move:r101-mk0.01", "bce:r101-agg-mk0.01", "All"),
        Claim("and accuracy", "minikinetics", "move:r101-mk0.01", "bce:r101-agg-mk0.01", "Acc@1"),
    ),
    "MEID": (
        Claim("two experts lift the baseline", "videolt", "meid:r50", "bce:r101", "All", MEID),
        Claim("and its tail", "videolt", "meid:r50", "bce:r101", "Tail", MEID),
        Claim("and are above FrameStack", "videolt", "meid:r50", "framestack:r101", "All", MEID_FRAMESTACK),
        Claim("the second expert adds to the first", "videolt", "meid:r50", "meid:r50-e1", "All"),
        Claim("and is not a second first one", "videolt", "meid:r50", "meid:r50-e1-e1", "All"),
        Claim("on Charades above sampling by class", "charadeslt", *ON_CHARADES, "All"),
        Claim("and in the tail", "charadeslt", *ON_CHARADES, "Tail"),
    ),
    "MEDC": (
        Claim("three experts lift the baseline", "videolt", "medc:r101", "bce:r101", "All"),
        Claim("and its tail", "videolt", "medc:r101", "bce:r101", "Tail"),
        Claim("and are above FrameStack", "videolt", "medc:r101", "framestack:r101", "All"),
        Claim("together above the long-tailed one", "videolt", "medc:r101", "medc:r101-expert1", "All"),
        Claim("above the uniform one", "videolt", "medc:r101", "medc:r101-expert2", "All"),
        Claim("above the inverse one", "videolt", "medc:r101", "medc:r101-expert3", "All"),
        Claim("temporal attention helps", "videolt", "medc:r101", "medc:r101-no-attention", "All"),
        *(
            Claim(f"whatever the test distribution: {prior}", "videolt", "medc:r101", "bce:r101", f"All, {prior}")
            for prior in PRIORS
        ),
    ),
    "AVA, two stages": (
        Claim("head first lifts the tail's SAP", "videolt", "ava_two_stage", "bce:r101", "SAP tail", AVA),
        Claim("and lifts that of all", "videolt", "ava_two_stage", "bce:r101", "SAP", AVA),
        Claim("balancing alone is below in SAP", "videolt", "bce:r101", "cbs:r101", "SAP", AVA_BALANCING),
        Claim("and in AP", "videolt", "bce:r101", "cbs:r101", "All", AVA_BALANCING),
        Claim("head classes first, not all", "videolt", "ava_two_stage", "ava_two_stage stage1=all", "SAP", AVA_STAGE1),
    ),
}
"""The claims of each paper that this data can decide."""


def preset_of(spec: str) -> Preset | None:
    method, _, name = spec.partition(":")
    return find_method(method).presets.get(name)


def printed(spec: str, metric: str) -> float | None:
    """Return the number that the paper of a preset prints."""
    preset = preset_of(spec)
    columns = () if preset is None else preset.columns or tuple(COLUMNS)
    return preset.printed[columns.index(metric)] if metric in columns else None


# Training


def train(row: Row, epochs: int, data: Path, folder: Path, seed: int) -> float:
    """Train one run on one thread; return its seconds."""
    import torch

    from vltr_train.engine import fit

    torch.set_num_threads(1)
    start = time.perf_counter()
    settings = row.all_settings(epochs) | {"seed": seed}
    fit(row.spec, data, folder, resume=RunFolder.is_at(folder), device="cpu", threads=1, quiet=True, **settings)
    return time.perf_counter() - start


def run_all(work: Path, names: Sequence[str], jobs: int) -> None:
    """Make the sets and all unfinished runs, several at once."""
    todo = []
    for name in names:
        comparison, data = COMPARISONS[name], work / name / "data"
        synthesize(data, seed=DATA_SEED, **comparison.synth)  # keeps an equal set
        for seed in SEEDS:
            for row in comparison.every_row:
                todo.append((row, comparison.epochs, data, folder_of(work, name, row, seed), seed))
    todo = [run for run in todo if not is_finished(run[3], run[0], run[1], run[4])]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running = {pool.submit(train, *run): run for run in todo}
        for number, future in enumerate(as_completed(running), 1):
            row, _, data, _, seed = running[future]
            say(f"{number}/{len(todo)}: {data.parent.name} {row.name} seed {seed}, {future.result():.0f} s")


def folder_of(work: Path, name: str, row: Row, seed: int) -> Path:
    return work / name / "runs" / f"{row.name.replace(':', '-').replace(' ', '-')}-seed{seed}"


def is_finished(folder: Path, row: Row, epochs: int, seed: int) -> bool:
    """Return whether a run is finished. Raises ValueError for a run with other settings."""
    if not RunFolder.is_at(folder):
        return False
    run = RunFolder.open(folder)
    if run.document["settings"] != settings_document(row.config(row.all_settings(epochs) | {"seed": seed})):
        raise ValueError(f"{folder}: expected a run of {row.name} with its settings, got other settings; remove it")
    return run.has_report


# Results


class Results:
    """The reports of a comparison's runs."""

    def __init__(self, work: Path, name: str) -> None:
        self.comparison = COMPARISONS[name]
        self.data = open_dataset(work / name / "data")
        self._folders = {
            row.name: [folder_of(work, name, row, seed) for seed in SEEDS] for row in self.comparison.every_row
        }
        self._reports: dict[tuple[Path, bool], Report] = {}
        self._row_errors = RowErrors(threads=1)

    def runs(self, rows: Iterable[Row]) -> list[RunFolder]:
        return [RunFolder.open(folder) for row in rows for folder in self._folders[row.name]]

    def values(self, spec: str, heading: str) -> np.ndarray:
        """Return a metric for each seed. The heading "Tail, inverse" names a class distribution too."""
        heading, _, prior = heading.partition(", ")
        name = f"{prior}/{PRINTABLE[heading]}" if prior else PRINTABLE[heading]
        return np.array([self._report(path, prior != "").metrics()[name] for path in self._folders[spec]])

    def row_error(self, one: str, other: str, heading: str) -> float | None:
        """Return the standard error by test rows of the difference of two specs, of the means over their seeds.

        None under another class distribution, whose weighted means have no such error. The mean SAP over trials has
        that of the exact SAP, from which it differs by the draw alone.
        """
        if ", " in heading:
            return None
        name = PRINTABLE[heading].replace(SAP.name, EXPECTED_SAP.name)
        sides = [[RunFolder.open(folder) for folder in self._folders[spec]] for spec in (one, other)]
        return self._row_errors.of_difference(*sides)[name]

    def _report(self, path: Path, is_shifted: bool) -> Report:
        """Return the report of a run, or one of its predictions under `PRIORS`."""
        if (path, is_shifted) not in self._reports:
            self._reports[path, is_shifted] = self._shifted(path) if is_shifted else RunFolder.open(path).load_report()
        return self._reports[path, is_shifted]

    def _shifted(self, path: Path) -> Report:
        preds, labels = (np.load(path / f"{name}.npy") for name in ("preds", "labels"))
        counts, bounds = self.data.train_counts, self.data.bounds
        return vltr_eval.evaluate(preds, labels, sap=None, prior=PRIORS, train_counts=counts, bounds=bounds)


def spread(values: np.ndarray, sign: str = "") -> str:
    return f"{fmean(values):{sign}.4f} +- {stdev(values):.4f}"


def judged(differences: np.ndarray, row_error: float | None = None) -> str:
    """Return the verdict of two tests at 5 %, which both must decide.

    The first is the paired t-test over the seeds. The second adds the variance by test rows, with the degrees of
    freedom of Welch and Satterthwaite; it is left out without a row error.
    """
    mean, freedom = fmean(differences), len(differences) - 1
    seeds = stdev(differences) ** 2 / len(differences)
    needed = _half_width(seeds, freedom)
    if row_error is not None:
        both = seeds + row_error**2
        needed = max(needed, _half_width(both, freedom * (both / seeds) ** 2 if seeds > 0 else np.inf))
    if abs(mean) < needed:
        return "undecided"
    return "holds" if mean > 0 else "**the opposite**"


def _half_width(variance: float, degrees_of_freedom: float) -> float:
    return float(t_quantile(LEVEL, degrees_of_freedom)) * variance**0.5


def claims_table(results: Mapping[str, Results]) -> str:
    lines = []
    for paper, claims in CLAIMS.items():
        for claim in (claim for claim in claims if claim.data in results):
            found = results[claim.data]
            one, other = (found.values(spec, claim.metric) for spec in (claim.one, claim.other))
            row_error = found.row_error(claim.one, claim.other, claim.metric)
            by_paper = "-" if claim.printed is None else f"{claim.printed:+.3f}"
            difference = f"{claim.one} - {claim.other}"
            lines.append([paper, claim.text, claim.data, difference, claim.metric, by_paper])
            lines[-1] += [spread(one - other, "+"), "-" if row_error is None else f"{row_error:.4f}"]
            lines[-1].append(judged(one - other, row_error))
    head = ("paper", "claim", "data", "difference", "metric", "printed", "measured +- seeds", "se by rows", "")
    return table(head, lines, left=5)


def priors_table(results: Results) -> str:
    headings = [f"{heading}, {prior}" for heading in ("All", "Acc@1") for prior in PRIORS]
    head = ("", *headings)
    lines = [
        [spec, *(spread(results.values(spec, heading)) for heading in headings)] for spec in results.comparison.priors
    ]
    return table(head, lines)


def section(name: str, results: Results) -> list[str]:
    comparison, data = results.comparison, results.data
    counts, every = data.train_counts, results.runs(comparison.every_row)
    sizes = " / ".join(str(len(members)) for members in class_groups(counts, data.bounds).values())
    synth = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in comparison.synth.items())
    parts = [
        f"## {comparison.title}",
        "",
        f"`vltr-train synth data {synth} --seed {DATA_SEED}`: "
        + ", ".join(
            f"{len(getattr(data, split)):,} {split}" for split in ("train", "validate", "test") if getattr(data, split)
        )
        + f" videos of {data.num_classes} classes (head / medium / tail {sizes}), {counts.max():,} to {counts.min():,} "
        f"training videos a class, {data.frames.lengths.max()} frames of {data.dim} features. "
        f"{comparison.epochs} epochs of training.",
        "",
        beside_schedule(comparison),
        "",
        *([still_learning(results), ""] if data.validate is not None else []),
        table_of_runs(every, format="markdown", interval=LEVEL, threads=1),
    ]
    if comparison.priors:
        parts += [
            "### Under other class distributions",
            "",
            "The test set is weighted (`vltr-eval --prior`) so that its labels have the distribution of the training "
            "set, a uniform one, or that of the training set in reverse.",
            "",
            priors_table(results),
        ]
    for paper in comparison.papers:
        rows, presets = rows_of(paper, comparison)
        beside = table_of_runs(results.runs(rows), presets=presets, paper=paper, format="markdown")
        parts += [f"### Beside {paper}, as printed", "", beside]
    return parts


def still_learning(results: Results) -> str:
    """Name the rows whose validation mAP rose by over a tenth in the last epochs before the rate fell."""
    gains = {}
    for row in results.comparison.every_row:
        curves = [full_rate_precisions(run)[-2:] for run in results.runs([row])]
        before, last = np.mean(curves, axis=0) if len(curves[0]) == 2 else (1, 1)
        gains[row.name] = last / before - 1
    cut_off = [f"{name} (+{gain:.0%})" for name, gain in gains.items() if gain > 0.1]
    return (
        f"Rows that still learned when the rate first fell, by the rise of validation mAP in the "
        f"{COMMON['eval_every']} epochs before: {', '.join(cut_off) or 'none'}."
    )


def full_rate_precisions(run: RunFolder) -> list[float]:
    """Return validation mAP at the schedule's first rate, in the longest stage with that rate."""
    lines = [line for line in run.epochs if line["lr"] == COMMON["lr"]]
    (stage, _), *_ = Counter(line["stage"] for line in lines).most_common()
    return [line["mAP"] for line in lines if line["stage"] == stage and "mAP" in line]


def beside_schedule(comparison: Comparison) -> str:
    """Return the settings of single methods in addition to the common schedule."""
    methods = dict.fromkeys(row.method for row in comparison.rows)
    extra = {method: settings_text(method_settings(method, comparison.epochs)) for method in methods}
    return "In addition: " + "; ".join(f"{method} {text}" for method, text in extra.items() if text) + "."


def rows_of(paper: str, comparison: Comparison) -> tuple[list[Row], dict[str, dict[str, Preset]]]:
    """Return the rows that a table prints, and their presets."""
    rows, presets = [], {}
    for row in comparison.every_row:
        preset = preset_of(row.spec)
        if preset is not None and paper in preset.tables:
            rows.append(row)
            presets.setdefault(row.method, {})[row.spec.partition(":")[2]] = preset
    return rows, presets


def report(results: Mapping[str, Results]) -> str:
    parts = [
        HEADER.format(
            today=TODAY, provenance=provenance("torch", "numpy"), schedule=settings_text(COMMON), clusters=CLUSTERS
        )
    ]
    parts += ["## The claims of each paper", "", CLAIMS_NOTE, claims_table(results)]
    for name, one in results.items():
        parts += section(name, one)
    return "\n".join(parts)


def settings_text(settings: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for key, value in settings.items()
    )


HEADER = """# The methods compared on synthetic sets, {today}

{provenance}
Every run has `{schedule}` and the stated `epochs`. The rate falls to a tenth after 7/12 of them and again after 5/6.
VLADs and codebooks have {clusters} clusters. Three seeds train on one set. The checkpoint with the best validation mAP
(the last one without a validation split) is evaluated once on the test split. Numbers are mean +- standard deviation.
Methods of several stages have more epochs: MEID the same number for its second expert, cRT 10, and the AVA schema 10
and 48 (of 3 or 4 steps). On data of another seed, the rate was chosen for the baseline. The number of epochs and the
spread of features were chosen after a look at MOVE, which needs more steps than the baseline, and at MEID, whose
attention saturates on features many times larger than a network's. No other setting was tuned. The schedule is short,
and a method that learns more slowly gets no more epochs; the text names the rows that still learned at its end.
The data differs from the papers' data, so compare the differences of printed numbers, not the numbers themselves.
"""

CLAIMS_NOTE = """Two sources of variance stand apart. "measured" has the differences of runs with the same seed: mean +-
standard deviation over three seeds of the training. "se by rows" is the standard error of this mean by the choice of
test rows, paired by row (`docs/intervals.md`). SAP has that of its exact value, and a mean under another class
distribution has none. "printed" is the same difference in the paper.

"holds" and "the opposite" need two tests at 5 %: a t-test of the three pairs, and a test by the sum of both variances.
Without an error by rows the first decides alone. Among this many claims they decide one or two by chance. All runs have
the same training set; with other sets the differences would vary more.
"""


def say(text: str) -> None:
    sys.stderr.write(f"compare_methods: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the sets and runs; finished ones are kept")
    parser.add_argument("--only", default=",".join(COMPARISONS), help=f"of {','.join(COMPARISONS)}")
    parser.add_argument("--jobs", type=int, default=num_cpus(), help="parallel runs, each on one thread")
    parser.add_argument(
        "--out", nargs="?", type=Path, const=RESULTS, help="also write methods-<date>.md and .csv there"
    )
    args = parser.parse_args()
    names = args.only.split(",")
    for name in names:
        if name not in COMPARISONS:
            parser.error(f"argument --only: expected names among {', '.join(COMPARISONS)}, got {name!r}")
    os.environ.update(dict.fromkeys(("VLTR_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))  # for each run
    run_all(args.work, names, args.jobs)
    results = {name: Results(args.work, name) for name in names}
    text = report(results)
    sys.stdout.write(text)
    if args.out:
        write_whole(args.out / f"methods-{TODAY}.md", text)
        for name, one in results.items():
            runs = one.runs(one.comparison.every_row)
            write_whole(
                args.out / f"methods-{name}-{TODAY}.csv", table_of_runs(runs, format="csv", interval=LEVEL, threads=1)
            )


if __name__ == "__main__":
    main()
