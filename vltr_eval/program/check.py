"""Look at scores and labels before evaluating them: what they are, what would fail, what would mislead.

Scores are read in blocks of rows, so a memory map larger than memory is fine: extra memory is O(classes + positives).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from vltr_eval._base.arrays import Matrix
from vltr_eval._base.progress import part_of
from vltr_eval._base.terminal import BAD_DATA, OK, ProgressBar, add_command
from vltr_eval._base.text_table import printable
from vltr_eval._engine.counting import Chunk, count_chunks
from vltr_eval._engine.inputs import Inputs
from vltr_eval._engine.labels import Positives
from vltr_eval._engine.results import ClassInfo
from vltr_eval.program.inputs import (
    notes_on_groups,
    read_class_info,
    read_command_inputs,
    read_scores_alone,
    read_stated_groups,
)
from vltr_eval.program.options import add_class_options, add_inputs
from vltr_eval.program.outputs import say
from vltr_eval.report.settings import Settings
from vltr_eval.report.text import shortlist

_SUMMARY = 0.5  # of the time of an inspection, roughly: the look at each score; the rest counts ties
_BLOCK_CELLS = 1 << 20  # 8 MiB of float64
_MANY_EXTREME = 0.001  # share of scores on one extreme value that a continuous model does not reach by chance
_MANY_TIED = 0.01  # share of positives tied with a negative above which mAP hangs on the tie rule

_Result = TypeVar("_Result")


@dataclass
class Inspection:
    """Facts to read, warnings, doubts whether the inputs are meant so, and problems that make an evaluation fail."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def attempt(self, action: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result | None:
        """The action's result, or None with its complaint noted as a problem."""
        try:
            return action(*arguments, **options)
        except (ValueError, TypeError, OSError, ImportError) as error:
            self.problems.append(str(error))
            return None

    def to_text(self) -> str:
        """Facts, warnings, doubts, problems and a verdict, one a line."""
        lines = [f"{topic:<12}{fact}" for topic, fact in self.facts]
        lines += [f"warning     {text}" for text in self.warnings]
        lines += [f"doubt       {text}" for text in self.doubts]
        lines += [f"problem     {text}" for text in self.problems]
        verdict = "fit for evaluation" if not self.doubts else "in doubt: an evaluation gives numbers, right or wrong"
        lines.append("verdict     " + ("an evaluation would fail" if self.problems else verdict))
        return "\n".join(lines) + "\n"


def inspect(
    read: Callable[[], Inputs],
    read_scores_alone: Callable[[], Matrix],
    read_class_info: Callable[[int, tuple[str, ...] | None], ClassInfo],
    *,
    progress: Callable[[float], None] | None = None,
) -> Inspection:
    """Inspect the inputs that an evaluation would read, going on after a problem as far as that makes sense.

    Args:
        read: Reads scores and labels as the evaluation would.
        read_scores_alone: Reads the scores where ``read`` fails, so that they can be inspected all the same.
        read_class_info: Reads counts and names of so many classes as the evaluation would.
        progress: Called with the share done.
    """
    inspection = Inspection()
    inputs = inspection.attempt(read)
    matrix = inputs.scores if inputs is not None else _attempt_quietly(read_scores_alone)
    if matrix is None:
        return inspection
    is_clean = _inspect_scores(inspection, matrix, part_of(progress, 0.0, _SUMMARY))
    if inputs is not None:
        inspection.facts += [("note", note) for note in inputs.notes]
        positives = inspection.attempt(inputs.positives)
        if positives is not None and _inspect_labels(inspection, positives) and is_clean:
            _inspect_ties(inspection, matrix, positives, part_of(progress, _SUMMARY, 1.0))
    names = None if inputs is None else inputs.class_names
    class_info = inspection.attempt(read_class_info, matrix.num_classes, names)
    if class_info is not None and class_info.train_counts is not None:
        counts = class_info.train_counts
        inspection.facts.append(("counts", f"{int(counts.min()):,} to {int(counts.max()):,} training samples a class"))
    if class_info is not None:
        inspection.facts += [("groups", sizes) for sizes in _group_sizes(class_info)]
        inspection.facts += [("note", note) for note in notes_on_groups(class_info.own_groups)]
    return inspection


_MOST_GROUPS = 12  # that are listed of a partition


def _group_sizes(class_info: ClassInfo) -> list[str]:
    """The sizes of the groups of each partition of one's own, and the classes in none of them."""
    found = []
    for partition, groups in class_info.own_groups.items():
        sizes = Counter(group for group in groups if group is not None)
        listed = [f"{printable(group)} {size:,}" for group, size in sizes.most_common(_MOST_GROUPS)]
        more = [f"{len(sizes) - _MOST_GROUPS:,} more groups"] if len(sizes) > _MOST_GROUPS else []
        without = [index for index, group in enumerate(groups) if group is None]
        rest = (
            f"; in no group: {len(without):,} of {len(groups):,} classes ({shortlist(without, 6)})" if without else ""
        )
        found.append(f"{printable(partition)}: {', '.join([*listed, *more])}{rest}")
    return found


def _attempt_quietly(action: Callable[[], _Result]) -> _Result | None:
    """The action's result, or None where it fails for a reason that has been noted already."""
    try:
        return action()
    except (ValueError, TypeError, OSError, ImportError):
        return None


@dataclass
class Sightings:
    """How often something was seen among the scores, and where first: (row, class)."""

    count: int = 0
    first: tuple[int, int] | None = None

    def add(self, found: np.ndarray, start: int) -> None:
        """Count the true cells of a block whose first row is ``start``."""
        seen = int(np.count_nonzero(found))
        if seen and self.first is None:
            row, column = divmod(int(np.argmax(found)), found.shape[1])
            self.first = (start + row, column)
        self.count += seen

    def __str__(self) -> str:
        return "none" if self.first is None else "{:,}, the first at row {}, class {}".format(self.count, *self.first)


@dataclass
class ScoreSummary:
    """Properties of the scores; num_lowest and num_highest count the scores that equal the extremes.

    Attributes:
        num_decisions: Scores that are exactly 0 or 1.
        num_zero_rows: Rows of zeros alone.
        num_constant_rows: Rows of one other value, where there are several classes.
        num_repeated_rows: Rows that equal an earlier one, constant rows aside.
    """

    nan: Sightings = field(default_factory=Sightings)
    infinite: Sightings = field(default_factory=Sightings)
    lowest: float = np.inf
    highest: float = -np.inf
    num_lowest: int = 0
    num_highest: int = 0
    constant_classes: tuple[int, ...] = ()
    num_decisions: int = 0
    num_zero_rows: int = 0
    num_constant_rows: int = 0
    num_repeated_rows: int = 0


def summarize_scores(matrix: Matrix, progress: Callable[[float], None] | None = None) -> ScoreSummary:
    """Count NaN, infinities and extreme values, in blocks of rows."""
    summary = ScoreSummary()
    low, high = np.full(matrix.num_classes, np.inf), np.full(matrix.num_classes, -np.inf)
    weights = np.random.default_rng(0).integers(1, 2**63, matrix.num_classes, np.uint64) | np.uint64(1)
    hashes: list[np.ndarray] = []
    for start, block in _row_blocks(matrix):
        summary.nan.add(np.isnan(block), start)
        summary.infinite.add(np.isinf(block), start)
        block_low, block_high = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
        _count_extremes(summary, block, float(np.fmin.reduce(block_low)), float(np.fmax.reduce(block_high)))
        np.fmin(low, block_low, out=low)
        np.fmax(high, block_high, out=high)
        summary.num_decisions += int(np.count_nonzero((block == 0) | (block == 1)))
        if matrix.num_classes > 1:
            hashes.append(_count_odd_rows(summary, block, weights))
        if progress is not None:
            progress((start + len(block)) / matrix.num_rows)
    if hashes:
        varied = np.concatenate(hashes)
        summary.num_repeated_rows = len(varied) - len(np.unique(varied))
    summary.constant_classes = tuple(np.flatnonzero(low == high).tolist())
    return summary


def _count_odd_rows(summary: ScoreSummary, block: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Count constant rows of a block, and return a 64-bit hash of each other row."""
    is_constant = (block == block[:, :1]).all(axis=1)
    summary.num_zero_rows += int(np.count_nonzero(is_constant & (block[:, 0] == 0)))
    summary.num_constant_rows += int(np.count_nonzero(is_constant & (block[:, 0] != 0)))
    bits = (block[~is_constant] + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    hashes: np.ndarray = (bits ^ (bits >> np.uint64(29))) @ weights  # modulo 2**64
    return hashes


def _row_blocks(matrix: Matrix) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, (rows, C) float64) of each block, over all shards."""
    step = max(1, _BLOCK_CELLS // matrix.num_classes)
    start = 0
    for shard in matrix.shards:
        for first in range(0, shard.shape[0], step):
            rows = shard.rows(first, min(first + step, shard.shape[0]))
            block = rows.to_numpy().astype(np.float64)
            yield start + first, block.reshape(len(block), matrix.num_classes)
        start += shard.shape[0]


def _count_extremes(summary: ScoreSummary, block: np.ndarray, lowest: float, highest: float) -> None:
    if lowest < summary.lowest:
        summary.lowest, summary.num_lowest = lowest, 0
    if highest > summary.highest:
        summary.highest, summary.num_highest = highest, 0
    summary.num_lowest += int(np.count_nonzero(block == summary.lowest))
    summary.num_highest += int(np.count_nonzero(block == summary.highest))


def _inspect_scores(inspection: Inspection, matrix: Matrix, progress: Callable[[float], None] | None) -> bool:
    """Note what the scores are, and what in them would fail or mislead; whether they can be evaluated."""
    shards = "" if len(matrix.shards) == 1 else f" in {len(matrix.shards)} shards"
    inspection.facts.append(("scores", f"{matrix.num_rows:,} x {matrix.num_classes:,} {matrix.dtype}{shards}"))
    summary = summarize_scores(matrix, progress)
    inspection.facts.append(("", f"from {summary.lowest:g} to {summary.highest:g}"))
    inspection.facts.append(("", f"NaN: {summary.nan}"))
    inspection.facts.append(("", f"infinite: {summary.infinite}"))
    if summary.nan.count:
        inspection.problems.append(f"scores: expected numbers, got NaN: {summary.nan}")
    if summary.num_decisions == matrix.num_rows * matrix.num_classes:
        inspection.doubts.append("all scores are 0 or 1: are they decisions, or were scores and labels swapped?")
    else:
        _judge_saturation(inspection, summary, matrix.num_rows * matrix.num_classes)
    for number, kind in (
        (summary.num_zero_rows, "hold zeros alone: were they never filled in?"),
        (summary.num_constant_rows, "hold one value for all classes: were they never filled in?"),
        (summary.num_repeated_rows, "repeat an earlier row exactly: were samples padded or evaluated twice?"),
    ):
        if number:
            inspection.doubts.append(f"{number:,} of {matrix.num_rows:,} rows of scores {kind}")
    if matrix.num_rows > 1 and summary.constant_classes:
        classes = summary.constant_classes
        inspection.warnings.append(f"one score for all rows {_listed(classes, matrix.num_classes)}")
    return not summary.nan.count


def _judge_saturation(inspection: Inspection, summary: ScoreSummary, num_scores: int) -> None:
    at_lowest, at_highest = summary.num_lowest / num_scores, summary.num_highest / num_scores
    inspection.facts.append(
        ("saturation", f"{at_lowest:.3%} of scores at the lowest value, {at_highest:.3%} at the highest")
    )
    share, value = max((at_lowest, summary.lowest), (at_highest, summary.highest))
    if share > _MANY_EXTREME and share * num_scores > 1:
        is_squashed = summary.lowest >= 0 and summary.highest <= 1
        cause = (
            "a sigmoid or softmax saturated, so save the logits" if is_squashed else "they were clipped or filled in"
        )
        inspection.warnings.append(f"{share:.1%} of scores are exactly {value:g}: {cause}")


def _listed(classes: Sequence[int], num_classes: int) -> str:
    return f"in {len(classes):,} of {num_classes:,} classes: {shortlist(classes)}"


def _inspect_labels(inspection: Inspection, positives: Positives) -> bool:
    """Note how the labels are spread over rows and classes; whether there are any."""
    by_class, by_row = np.asarray(positives.counts), np.asarray(positives.labels_per_row())
    absent = np.flatnonzero(by_class == 0).tolist()
    unlabelled = int(np.count_nonzero(by_row == 0))
    inspection.facts.append(("labels", f"{int(by_class.sum()):,} positives"))
    if not by_class.sum():
        inspection.problems.append("labels: no positives in any class, so no metric is defined")
        return False
    inspection.facts.append(("", f"{by_class.min():,} to {by_class.max():,} a class, mean {by_class.mean():.1f}"))
    inspection.facts.append(("", f"{by_row.min():,} to {by_row.max():,} a row, mean {by_row.mean():.2f}"))
    inspection.facts.append(("", f"rows without labels: {unlabelled or 'none'}"))
    if positives.unknown is not None:
        unknown = positives.unknown.counts
        cells = positives.num_rows * positives.num_classes
        share = f"{int(unknown.sum()):,} of {cells:,} ({unknown.sum() / cells:.1%})"
        inspection.facts.append(("", f"unknown cells: {share}, in {np.count_nonzero(unknown):,} classes"))
    inspection.facts.append(("", f"absent classes: {len(absent) or 'none'}"))
    if absent:
        inspection.warnings.append(f"no positives {_listed(absent, len(by_class))}")
    full = np.flatnonzero((positives.num_negatives == 0) & (by_class > 0)).tolist()
    if full:
        inspection.warnings.append(f"no negatives {_listed(full, len(by_class))}")
    return True


def _inspect_ties(
    inspection: Inspection, matrix: Matrix, positives: Positives, progress: Callable[[float], None] | None
) -> None:
    """Note how many positives tie with negatives and how far that could move mAP."""
    settings = Settings(sap=None, topk=())
    found = count_chunks(settings, [Chunk(matrix, positives)], matrix.num_classes, progress=progress)
    report = found.report(ClassInfo())
    lower, upper = report.mAP_tie_interval
    inspection.facts.append(("ties", f"{report.tie_rate:.2%} of positives share their score with a negative"))
    inspection.facts.append(("", f"the order of ties could move mAP within [{lower:.4f}, {upper:.4f}]"))
    if report.tie_rate > _MANY_TIED:
        is_half = matrix.dtype in ("float16", "bfloat16")
        cause = (
            f"{matrix.dtype} has few values" if is_half else "scores were rounded, or a sigmoid or softmax saturated"
        )
        inspection.warnings.append(f"{report.tie_rate:.1%} of positives are tied: {cause}")
    inspection.doubts += report.notes


def add(commands: Any) -> None:
    description = (
        "Say what is in the inputs and what in them would fail or mislead; exit 1 when an evaluation would fail."
    )
    parser = add_command(commands, "check", run, description)
    add_inputs(parser)
    add_class_options(parser)


def run(args: argparse.Namespace) -> int:
    with ProgressBar(sys.stderr, enabled=not args.quiet) as progress:

        def read() -> Inputs:
            inputs = read_command_inputs(args, lambda fraction: progress(fraction, "reading"))
            progress.restart()
            return inputs

        found = inspect(
            read,
            lambda: read_scores_alone(args),
            lambda num_classes, names: read_class_info(args, num_classes, names, read_stated_groups(args)),
            progress=progress,
        )
    sys.stdout.write(found.to_text())
    if not found.problems:
        return OK
    say(f"error: {found.problems[0]}")
    return BAD_DATA
