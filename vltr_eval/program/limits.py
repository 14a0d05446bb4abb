"""Limits that end ``vltr-eval`` with exit code 3: on the metrics of a report, and on drops against a baseline."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.groups import DEFAULT_BOUNDS, read_bounds
from vltr_eval._base.terminal import OK
from vltr_eval._base.text_table import printable
from vltr_eval.priors.weights import NEEDS_COUNTS, PRIORS
from vltr_eval.report.names import (
    CALIBRATION_METRICS,
    SAP,
    SAP_CHANCE,
    SAP_STD,
    THRESHOLD_METRICS,
    grouped_name,
)
from vltr_eval.report.settings import Settings

if TYPE_CHECKING:
    from vltr_eval.comparison import Comparison, MeanDifference
    from vltr_eval.report.report import BaseReport

LIMIT_NOT_MET = 3


def add_fail_under(parser: argparse.ArgumentParser) -> None:
    """Add the option --fail-under."""
    parser.add_argument(
        "--fail-under",
        type=_limit,
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="exit 3 when a metric (mAP, SAP_tail, Acc@1, ...) is lower; may be repeated",
    )


def add_gate(parser: argparse.ArgumentParser) -> None:
    """Add the options that compare with a saved evaluation."""
    parser.add_argument(
        "--baseline", metavar="FILE", help="an evaluation that --save-evaluation wrote, to compare with; see --max-drop"
    )
    parser.add_argument(
        "--max-drop",
        type=_drops,
        action="extend",
        default=[],
        metavar="METRIC=DROP,...",
        help="exit 3 when a metric is lower than that of --baseline by more, as in mAP=0.002,mAP_tail=0.005",
    )
    parser.add_argument(
        "--only-if-significant",
        action="store_true",
        help="exit 3 only when such a drop is significant at the level 95 %% as well, by a paired test",
    )
    parser.add_argument(
        "--summary",
        metavar="FILE|-",
        help="write the comparison with --baseline and its verdict as Markdown; - is stdout, instead of the table",
    )


def check_fail_under(args: argparse.Namespace, settings: Settings, priors: Sequence[str]) -> None:
    """Refuse metrics in --fail-under that the report will not have."""
    for name, _ in args.fail_under:
        _check_metric(args, name, settings, priors)


def check_gate(args: argparse.Namespace, settings: Settings) -> None:
    """Refuse options of the comparison that do not fit together, and metrics that it will not have."""
    if args.baseline is None:
        for option in ("max_drop", "only_if_significant", "summary"):
            if getattr(args, option):
                args.refuse(f"argument --{option.replace('_', '-')}: give --baseline FILE as well, to compare with")
    if args.only_if_significant and not args.max_drop:
        args.refuse("argument --only-if-significant: give --max-drop METRIC=DROP as well, whose drops it tests")
    tested = [metric for metric in settings.metrics if metric not in _WITHOUT_TEST]
    known = {grouped_name(metric, group): None for group in settings.group_names for metric in tested}
    by_counts = {grouped_name(metric, group) for group in _groups_by_counts(args) for metric in tested}
    for name, _ in args.max_drop:
        if name in known:
            continue
        if args.counts is None and name in by_counts:
            args.refuse(f"argument --max-drop: give --counts FILE as well, which {name} needs")
        _refuse_unknown(args, "--max-drop", name, list(known))


# No test compares SAP of finitely many trials, and the SAP of chance depends on the labels alone.
_WITHOUT_TEST = (SAP, SAP_STD, SAP_CHANCE)


def judge_limits(args: argparse.Namespace, report: BaseReport) -> int:
    """Return the exit code that the metrics of the report give, and name those below their limits on stderr."""
    found = report.metrics()
    code = OK
    for name, limit in args.fail_under:
        if not found[name] >= limit:  # an undefined metric is below every limit
            _say(f"{name} is {found[name]:.6g}, under the limit of {limit:g}")
            code = LIMIT_NOT_MET
    return code


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric.

    Attributes:
        name: The metric.
        limit: The largest drop that is accepted.
        is_met: Whether the drop is accepted.
        sentence: The drop, its p-value and the limit, in words.
    """

    name: str
    limit: float
    is_met: bool
    sentence: str


def judge_drops(args: argparse.Namespace, comparison: Comparison) -> list[Verdict]:
    """Judge the drops of --max-drop."""
    system = comparison.systems[0]
    return [
        _verdict(system.of(name), limit, args.only_if_significant, comparison.level) for name, limit in args.max_drop
    ]


def report_drops(verdicts: Sequence[Verdict]) -> int:
    """Return the exit code that the verdicts give, and name the drops that are too large on stderr."""
    for verdict in verdicts:
        if not verdict.is_met:
            _say(verdict.sentence)
    return OK if all(verdict.is_met for verdict in verdicts) else LIMIT_NOT_MET


def summary(comparison: Comparison, verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts and the comparison as Markdown, for the page of a CI system."""
    failed = sum(not verdict.is_met for verdict in verdicts)
    title = f"{failed} of {len(verdicts)} limits not met" if failed else "all limits met"
    lines = [f"## vltr-eval: {title if verdicts else 'comparison with the baseline'}", ""]
    lines += [f"- {'ok' if verdict.is_met else '**not met**'}: {verdict.sentence}" for verdict in verdicts]
    lines += [""] if verdicts else []
    return "\n".join(lines) + "\n" + comparison.to_markdown()


def _verdict(mean: MeanDifference, limit: float, only_if_significant: bool, level: float) -> Verdict:
    drop = 0.0 - mean.difference
    if math.isnan(drop):
        return Verdict(mean.name, limit, False, f"{mean.name} is {mean.new:.6g}, and the baseline has {mean.base:.6g}")
    is_large = drop > limit
    is_tested = not math.isnan(mean.p_value)  # else no row has an effect, as between a perfect and a constant model
    is_significant = not is_tested or mean.is_significant(level)
    direction = "lower" if drop > 0 else "higher"
    sentence = (
        f"{mean.name} is {mean.new:.6g}, {abs(drop):.6g} {direction} than the baseline (p = {mean.p_value:.3g}), "
        f"and a drop of {limit:g} is allowed"
    )
    if is_large and only_if_significant:
        verdict = "cannot be tested" if not is_tested else "is significant" if is_significant else "is not significant"
        sentence += f"; the drop {verdict}"
    return Verdict(mean.name, limit, not is_large or (only_if_significant and not is_significant), sentence)


def _check_metric(args: argparse.Namespace, name: str, settings: Settings, priors: Sequence[str]) -> None:
    known = settings.metric_names(settings.group_names, priors)
    if name in known:
        return
    groups = (*settings.group_names, *_groups_by_counts(args))
    possible = PRIORS if hasattr(args, "prior") else ()
    every = replace(settings, thresholds="", calibration=1) if hasattr(args, "thresholds") else settings
    if name in every.metric_names(groups, {*priors, *possible}):
        prior = name.partition("/")[0]
        by_groups = name not in every.metric_names(settings.group_names, {*priors, *possible})
        missing = ["--counts FILE"] if args.counts is None and (by_groups or prior in NEEDS_COUNTS) else []
        missing += [f"--prior {prior}"] if prior in possible and prior not in priors else []
        for option, metrics in (("--thresholds FILE", THRESHOLD_METRICS), ("--calibration", CALIBRATION_METRICS)):
            is_missing = not set(metrics) <= set(settings.more_metrics)
            named = any(name == grouped_name(metric, group) for metric in metrics for group in groups)
            missing += [option] if named and is_missing else []
        args.refuse(f"argument --fail-under: give {' and '.join(missing)} as well, which {name} needs")
    _refuse_unknown(args, "--fail-under", name, known)


def _refuse_unknown(args: argparse.Namespace, option: str, name: str, known: Sequence[str]) -> None:
    near = nearest_name(name, known)
    ordered = sorted(known, key=lambda other: other != near)  # the nearest first
    listed = ", ".join(ordered[:_MOST_LISTED])
    if len(ordered) > _MOST_LISTED:
        listed += f" and {len(ordered) - _MOST_LISTED:,} more"
    args.refuse(f"argument {option}: unknown metric {name!r}, expected one of {listed}")


_MOST_LISTED = 100


def _groups_by_counts(args: argparse.Namespace) -> tuple[str, ...]:
    """The groups that --counts gives or would give."""
    return read_bounds(getattr(args, "bounds", None) or DEFAULT_BOUNDS).names


def _limit(text: str) -> tuple[str, float]:
    return _name_and_number(text, "METRIC=VALUE such as mAP=0.5", lambda value: value == value)


def _drops(text: str) -> list[tuple[str, float]]:
    expected = "METRIC=DROP,... with drops from 0 up to 1, such as mAP=0.002"
    return [_name_and_number(part, expected, lambda value: 0 <= value <= 1) for part in _parts(text)]


def _parts(text: str) -> list[str]:
    """Split at the commas that follow a number, because a group may have a comma in its name."""
    parts = text.split(",")
    found = [parts[0]]
    for part in parts[1:]:
        if _is_number(found[-1].rpartition("=")[2]) and "=" in found[-1]:
            found.append(part)
        else:
            found[-1] += f",{part}"
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _name_and_number(text: str, expected: str, is_valid: Callable[[float], bool]) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not is_valid(number):
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return name, number


def _say(message: str) -> None:
    sys.stderr.write(f"vltr-eval: {printable(message)}\n")  # groups may have any name
