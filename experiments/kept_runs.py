"""Train the runs of a comparison, several at once, and keep them: a second call continues.

Each run folder has the files of `vltr-train fit` and facts.json: training mAP, and mAP by one view of the frames.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from comparisons import PRIORS, TUNING_SEED, Comparison, Row
from verdicts import Difference, plateau_rise

import vltr_eval
from vltr_eval._base.files import PendingFile
from vltr_eval.report import EXPECTED_SAP, SAP
from vltr_train.data.dataset import Dataset, open_dataset
from vltr_train.runs.row_errors import RowErrors
from vltr_train.runs.run_folder import RunFolder
from vltr_train.runs.tables import PRINTABLE
from vltr_train.settings import settings_document

__all__ = ["KeptRun", "Results", "run_comparison", "tuning_runs"]

FACTS = "facts.json"


@dataclass(frozen=True)
class KeptRun:
    """A run of a row on the data of a seed."""

    work: Path
    comparison: Comparison
    row: Row
    rate: float
    seed: int

    @property
    def data(self) -> Path:
        return self.work / f"data-{self.seed}"

    @property
    def folder(self) -> Path:
        name = re.sub(r"\W+", "-", self.row.name.lower())
        return self.work / "runs" / f"{name}-lr{self.rate:g}-data{self.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether the run has its facts. Raises ValueError for a run with other settings."""
        if not (self.folder / FACTS).exists():
            return False
        settings = self.comparison.config_settings(self.row, self.rate, self.seed)
        wanted = settings_document(self.comparison.config(self.row, settings))
        if RunFolder.open(self.folder).document["settings"] != wanted:
            raise ValueError(f"{self.folder}: expected the settings of {self.row.name}, got other settings; remove it")
        return True

    @property
    def facts(self) -> dict[str, float]:
        return dict(json.loads((self.folder / FACTS).read_text()))

    def train(self) -> float:
        """Train on one thread, measure the facts, and return the seconds."""
        import torch

        from vltr_train.engine import fit

        torch.set_num_threads(1)
        start, data = time.perf_counter(), open_dataset(self.data)
        settings = self.comparison.config_settings(self.row, self.rate, self.seed)
        how: dict[str, Any] = {"resume": RunFolder.is_at(self.folder), "device": "cpu", "threads": 1, "quiet": True}
        try:
            method = fit(self.row.spec, data, self.folder, **how, **settings).method
            facts = _facts(method, data)
        except ValueError as error:
            if not str(error).startswith("loss:"):
                raise
            facts = {}  # too high a rate
        with PendingFile(self.folder / FACTS) as file:
            file.write_text(json.dumps(facts) + "\n")
        return time.perf_counter() - start

    @property
    def validation(self) -> float:
        """The mAP by which the checkpoint was selected; -1 if the training failed."""
        lines = RunFolder.open(self.folder).epochs
        last = lines[-1]["stage"] if lines else None
        found = [line["mAP"] for line in lines if line["stage"] == last and "mAP" in line]
        return max(found, default=-1.0) if self.facts else -1.0

    @property
    def seconds(self) -> float:
        """The time of all epochs, without evaluations."""
        return sum(line["seconds"] for line in RunFolder.open(self.folder).epochs)

    @property
    def plateau(self) -> float:
        """The relative rise of validation mAP before the rate falls, the largest of all full-length stages."""
        return max(map(plateau_rise, full_rate_phases(RunFolder.open(self.folder).epochs)), default=float("inf"))


def full_rate_phases(lines: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Return the validation mAP of each of the longest stages whose rate falls in steps, before it falls.

    The stages of AVA that judge classes for a few epochs, and that fall linearly, are not of this kind.
    """
    stages = Counter(line["stage"] for line in lines)
    phases = []
    for stage, _ in stages.items():
        of_stage = [line for line in lines if line["stage"] == stage]
        first = [line for line in of_stage if line["lr"] == of_stage[0]["lr"]]
        if len(of_stage) > len(first) > len(of_stage) / 2 or len(of_stage) == len(first) == len(lines):
            phases.append([line["mAP"] for line in first if "mAP" in line])
    return phases


def _facts(method: Any, data: Dataset) -> dict[str, float]:
    from vltr_train.aggregators import Attentive
    from vltr_train.predict import score

    facts = {"train_mAP": score(method, data.train, data).metrics()["mAP"]}
    if type(method).__name__ == "BCE" and isinstance(method.model.aggregator, Attentive):
        facts |= view_precision(method, data)
    return facts


def view_precision(method: Any, data: Dataset) -> dict[str, float]:
    """Return test mAP by all frames of a clip, and by those of one view as MOVE draws it for the labels of the video.

    The clip has as many frames as in training, evenly spaced.
    """
    import torch

    from vltr_train.data.loader import Loader
    from vltr_train.ops.frames import dynamic_frame_bounds, dynamic_frame_masks

    aggregator, length = method.model.aggregator, method.config.train_frames
    bounds = torch.from_numpy(dynamic_frame_bounds(data.train_counts, length))
    loader = Loader(data.test, batch_size=method.config.batch_size, num_frames=length, threads=1)
    logits: dict[str, list[Any]] = {"whole_mAP": [], "view_mAP": []}
    with torch.no_grad():
        for number, batch in enumerate(loader.epoch(0)):
            frames = method.model.embed(batch.features)
            masks = dynamic_frame_masks(batch.targets, bounds, length, epoch=number)
            views = aggregator.views(frames, masks[:, :2], masks[:, :2], masks[:, 3:])  # keys as `psa_key_mask=view`
            logits["view_mAP"].append(method.model.classify(views[:, 0]))
            logits["whole_mAP"].append(method.predict(batch.features))
    labels = data.test.labels.multi_hot(dtype=np.uint8)
    return {
        name: vltr_eval.evaluate(torch.cat(parts).numpy(), labels, sap=None, threads=1).metrics()["mAP"]
        for name, parts in logits.items()
    }


def run_comparison(work: Path, comparison: Comparison, jobs: int) -> None:
    """Choose the rate of each row on the tuning seed, then train each row on the data of each seed."""
    _run_all(tuning_runs(work, comparison), jobs)
    _run_all([run for seed in comparison.seeds for run in chosen_runs(work, comparison, seed)], jobs)


def tuning_runs(work: Path, comparison: Comparison) -> list[KeptRun]:
    """Return the runs on the tuning seed, of each rate."""
    rows = (row for row in comparison.rows if row.tuned_as is None)
    return [KeptRun(work, comparison, row, rate, TUNING_SEED) for row in rows for rate in comparison.rates]


def chosen_rate(work: Path, comparison: Comparison, row: Row) -> float:
    """Return the rate with the highest validation mAP on the tuning seed; of equal ones the first."""
    row = comparison.row(row.tuned_as) if row.tuned_as else row
    return max(comparison.rates, key=lambda rate: KeptRun(work, comparison, row, rate, TUNING_SEED).validation)


def chosen_runs(work: Path, comparison: Comparison, seed: int) -> list[KeptRun]:
    """Return the runs of all rows on the data of a seed, at their chosen rates."""
    return [KeptRun(work, comparison, row, chosen_rate(work, comparison, row), seed) for row in comparison.rows]


def _run_all(runs: Iterable[KeptRun], jobs: int) -> None:
    runs = list(runs)
    for run in {run.data: run for run in runs}.values():
        run.comparison.make(run.data, seed=run.seed)  # keeps an equal set
    unfinished = [run for run in runs if not run.is_finished]
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        running = {pool.submit(run.train): run for run in unfinished}
        for number, future in enumerate(as_completed(running), 1):
            say(f"{number}/{len(unfinished)}: {running[future].folder}, {future.result():.0f} s")


class Results:
    """The runs of a finished comparison at their chosen rates."""

    def __init__(self, work: Path, comparison: Comparison) -> None:
        self.work, self.comparison = work, comparison
        runs = [run for seed in comparison.seeds for run in chosen_runs(work, comparison, seed)]
        self.runs = {row.name: [run for run in runs if run.row is row] for row in comparison.rows}
        self._row_errors = RowErrors(threads=1)
        self._metrics: dict[Path, dict[str, float]] = {}

    def values(self, row: str, heading: str) -> np.ndarray:
        """Return a metric on the data of each seed, NaN of a run that diverged.

        The heading "Tail, inverse" names a class distribution too.
        """
        heading, _, prior = heading.partition(", ")
        name = f"{prior}/{PRINTABLE[heading]}" if prior else PRINTABLE[heading]
        return np.array([self._metrics_of(run)[name] if run.facts else math.nan for run in self.runs[row]])

    def difference(self, one: str, other: str, heading: str) -> Difference:
        """Return the difference of two rows. A mean under another class distribution has no error by rows."""
        by_seed = self.values(one, heading) - self.values(other, heading)
        has_errors = ", " not in heading and bool(np.isfinite(by_seed).all())
        errors = tuple(self._row_error(*runs, heading) for runs in self._pairs(one, other)) if has_errors else None
        return Difference(tuple(map(float, by_seed)), errors, self.comparison.overlap)

    def facts(self, names: Sequence[str], baseline: str) -> dict[str, float]:
        """Return the facts that decide whether a claim is testable, as means over the seeds.

        Args:
            names: The rows of the claim.
            baseline: The row that a regulariser needs to overfit.
        """
        found = {"plateau": max(map(self.plateau, names)), "overfits": self.gap(baseline)}
        if {"Agg BCE", "BCE"} <= set(self.runs):
            found["aggregators"] = float((self.values("Agg BCE", "All") - self.values("BCE", "All")).mean())
            found["views"] = self.mean_fact("Agg BCE", "view_mAP") / self.mean_fact("Agg BCE", "whole_mAP")
        return found

    def plateau(self, row: str) -> float:
        return float(np.mean([run.plateau for run in self.runs[row]]))

    def gap(self, row: str) -> float:
        """Return training minus test mAP."""
        return self.mean_fact(row, "train_mAP") - float(self.values(row, "All").mean())

    def mean_fact(self, row: str, name: str) -> float:
        return float(np.mean([run.facts.get(name, math.nan) for run in self.runs[row]]))

    def _pairs(self, one: str, other: str) -> Iterable[tuple[KeptRun, KeptRun]]:
        return zip(self.runs[one], self.runs[other], strict=True)

    def _row_error(self, one: KeptRun, other: KeptRun, heading: str) -> float:
        """The mean SAP over trials has the error of the exact SAP, from which it differs by the draw alone."""
        name = PRINTABLE[heading].replace(SAP.name, EXPECTED_SAP.name)
        sides = [[RunFolder.open(run.folder)] for run in (one, other)]
        return self._row_errors.of_difference(*sides)[name]

    def _metrics_of(self, run: KeptRun) -> dict[str, float]:
        if run.folder not in self._metrics:
            found = RunFolder.open(run.folder).load_report().metrics()
            if run.row.name in self.comparison.priors:
                found |= self._under_priors(run)
            self._metrics[run.folder] = found
        return self._metrics[run.folder]

    def _under_priors(self, run: KeptRun) -> dict[str, float]:
        data = open_dataset(run.data)
        preds, labels = RunFolder.open(run.folder).load_predictions()
        report = vltr_eval.evaluate(
            preds, labels, sap=None, prior=PRIORS, train_counts=data.train_counts, bounds=data.bounds, threads=1
        )
        return {name: value for name, value in report.metrics().items() if "/" in name}


def say(text: str) -> None:
    sys.stderr.write(f"compare_methods: {text}\n")
    sys.stderr.flush()
