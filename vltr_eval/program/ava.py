"""The command ``vltr-eval ava``: detections in AVA's format."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from vltr_eval._base.terminal import ProgressBar, add_command
from vltr_eval.compat.ava import INTERPOLATIONS, PROTOCOLS, AvaSettings, evaluate
from vltr_eval.formats import read_train_counts
from vltr_eval.program.inputs import group_settings, notes_on_groups, read_stated_groups, say_notes
from vltr_eval.program.limits import judge_limits
from vltr_eval.program.options import add_counts, add_groups, add_output_options, add_sap_options, parse_share
from vltr_eval.program.outputs import Outputs, check_names, check_outputs, note


def add(commands: Any) -> None:
    description = "Frame mAP of action detections as AVA's official script computes it, and sampled AP over the boxes."
    parser = add_command(commands, "ava", run, description)
    parser.add_argument(
        "detections", metavar="DETECTIONS", help="CSV without header: video,time,x1,y1,x2,y2,class,score"
    )
    parser.add_argument("groundtruth", metavar="GROUNDTRUTH", help="CSV without header: video,time,x1,y1,x2,y2,class")
    parser.add_argument("--labelmap", metavar="FILE", help="the classes to evaluate, .pbtxt (default: all that occur)")
    parser.add_argument("--exclude", metavar="FILE", help="CSV of video,time: images to leave out")
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="official",
        help="which detections count and how they find boxes (default: official)",
    )
    parser.add_argument(
        "--iou", type=parse_share, default=0.5, metavar="X", help="overlap from which a box is found (default: 0.5)"
    )
    parser.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="voc",
        help="AP and SAP under the envelope of the precision-recall curve, or its steps (default: voc)",
    )
    add_sap_options(parser)
    add_counts(parser)
    add_groups(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    groups = read_stated_groups(args)
    settings = AvaSettings(args.sap, args.seed, iou=args.iou, **group_settings(args, groups))
    check_names(args, settings)
    check_outputs(args, args.detections, args.groundtruth, args.labelmap, args.exclude, args.counts, args.groups)
    with Outputs(args) as outputs, ProgressBar(sys.stderr, enabled=not args.quiet) as progress:
        start = time.perf_counter()
        report = evaluate(
            args.detections,
            args.groundtruth,
            labelmap=args.labelmap,
            exclude=args.exclude,
            protocol=args.protocol,
            iou=args.iou,
            interpolation=args.interpolation,
            sap=args.sap,
            seed=args.seed,
            train_counts=None if args.counts is None else read_train_counts(args.counts),
            bounds=args.bounds,
            groups=groups,
            progress=progress,
        )
        progress.wipe()
        note(args, f"{report.num_detections:,} detections in {time.perf_counter() - start:.3f} s")
        if groups is not None:
            say_notes(args, notes_on_groups({one.name: one.groups for one in groups.partitions}))
        outputs.deliver(report)
    return judge_limits(args, report)
