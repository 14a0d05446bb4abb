"""The ``vltr-train`` program: results on stdout, progress and everything else on stderr.

Exit codes: 0 fine; 1 bad data, one sentence; 2 bad usage.

Each command imports what it needs when it runs: torch takes a second, and help or a list of methods should take none.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vltr_eval._base.arguments import unknown_name
from vltr_eval._base.files import PendingFile
from vltr_eval._base.groups import checked_bounds, class_groups
from vltr_eval._base.option_types import level_type
from vltr_eval._base.ranks import current_group, launched_group
from vltr_eval._base.terminal import OK, ProgressBar, add_command, answer, did_you_mean
from vltr_eval._base.version import __version__
from vltr_eval.formats import read_class_names
from vltr_train.settings import build_config, parse_settings

if TYPE_CHECKING:
    from vltr_train.data.dataset import Dataset
    from vltr_train.data.pack import PackSource, PackSummary
    from vltr_train.method_source import FoundMethod
    from vltr_train.runs.run_folder import RunFolder

_PROGRAM = "vltr-train"
_EPILOG = """\
commands:
  synth DIR                       a data set with a planted structure
  pack LABELS FEATURES DIR        one .npy a video -> one memory-mapped array
  inspect DIR                     what a data set holds; --verify reads it all
  fit METHOD[:PRESET] --data DIR  train, evaluate, and leave a run folder
  fit FILE.py:CLASS --data DIR    the same with a method of your own
  eval RUN                        evaluate a run again
  table RUN...                    runs as a table, beside that of a paper
  plot RUN... --out FIGURE        learning curves: a figure, or a page (--html)
  methods [METHOD]                the methods, or the settings of one
  sweep METHOD... --data DIR      runs of methods over seeds, then their table

COMMAND --help says more. Under torchrun, `-m vltr_train` with fit, sweep or
eval shares each batch out.
"""


def main(argv: Sequence[str] | None = None, *, launched: bool = False) -> int:
    """Run the program and return its exit code; bad usage ends it by SystemExit(2), as argparse does.

    launched: whether a launcher such as torchrun started this process to be one of several.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(given)
    args, others = parser.parse_known_args(given)
    takes_settings = hasattr(args, "settings")
    if others and (not takes_settings or any(text.startswith("-") for text in others)):
        advice = _advice_on_option(args, others) if takes_settings else did_you_mean(args.refuse.__self__, others)
        parser.error(f"unrecognized arguments: {' '.join(others)}{advice}")
    if takes_settings:  # they and methods may stand anywhere, and argparse takes those of one position alone
        words = [*args.methods, *others]
        args.settings = list(filter(_is_setting, words))
        args.methods = [text for text in words if not _is_setting(text)]
        if not args.methods:
            parser.error(f"METHOD: expected {'one' if args.run is _fit else 'some'}, got none")
        if args.run is _fit and len(args.methods) > 1:
            got = " and ".join(args.methods)
            parser.error(f"METHOD: expected one, got {got}; a setting is KEY=VALUE, and sweep trains several methods")
    args.launched = launched
    return answer(_PROGRAM, lambda: args.run(args), debug=args.debug)


def _is_setting(word: str) -> bool:
    """Whether a word is KEY=VALUE. The path of a method's file may have "=" too: default names of run folders have."""
    return re.match(r"\w+=", word) is not None or ("=" in word and ".py" not in word)


def _advice_on_option(args: argparse.Namespace, words: list[str]) -> str:
    """The advice for an option that is none: a misspelt one, or else a setting, which is written without dashes."""
    from difflib import get_close_matches  # not above: only mistakes need it

    option = next(number for number, word in enumerate(words) if word.startswith("-"))
    key, _, value = words[option].lstrip("-").partition("=")
    near = get_close_matches(f"--{key}", args.refuse.__self__.option_strings(), 1, cutoff=0.8)
    if near:
        return f"; did you mean {near[0]}?"
    following = words[option + 1 : option + 2]
    value = value or (following[0] if following and not following[0].startswith("-") else "VALUE")
    setting = value if _is_setting(value) else f"{key.replace('-', '_')}={value}"  # --set KEY=VALUE has it whole
    return f"; a setting is written without dashes: {setting}"


# ---------------------------------------------------------------------------------------------------------------------
# Data
# ---------------------------------------------------------------------------------------------------------------------


def _synth(args: argparse.Namespace) -> int:
    from vltr_train.data.synth import synthesize

    with _bar(args) as progress:
        made = synthesize(
            args.folder,
            profile=args.profile,
            scale=args.scale,
            dim=args.dim,
            seed=args.seed,
            layout=args.layout,
            imbalance=args.imbalance,
            frames=args.frames,
            length_spread=args.length_spread,
            feature_std=args.feature_std,
            **{name: getattr(args, name) for name in _signal_names()},
            threads=args.threads,
            progress=progress,
        )
    videos = ", ".join(f"{number:,} {split}" for split, number in made.videos.items())
    _tell(f"{args.folder}: {videos} videos of {made.num_classes:,} classes, {made.frames:,} frames of {args.dim}")
    return OK


def _signal_names() -> list[str]:
    """The options of `synth` that say how frames show classes."""
    from vltr_train.data.synth_signal import SyntheticSignal

    return [entry.name for entry in fields(SyntheticSignal)]


def _pack(args: argparse.Namespace) -> int:
    from vltr_train.data.pack import pack

    source = _pack_source(args)
    with _bar(args) as progress:
        summary = pack(
            source,
            args.folder,
            dtype=args.dtype,
            skip_bad=args.skip_bad,
            published_counts=args.published_counts,
            threads=args.threads,
            progress=progress,
        )
    if summary.skipped:
        _note(args, _left_out(summary, source, args.published_counts))
    _tell(
        f"{args.folder}: {summary.videos:,} videos, {summary.frames:,} frames, {summary.bytes / 1e9:.2f} GB, verified; "
        f"{len(summary.skipped):,} videos left out"
    )
    return OK


def _pack_source(args: argparse.Namespace) -> PackSource:
    """The labels and features that the arguments name."""
    from vltr_train.data import pack

    format = args.format or ("own" if Path(args.labels).is_file() else "videolt")
    for option, allowed in _FORMAT_OPTIONS.items():
        if format not in allowed and getattr(args, option) is not None:
            name = option.replace("_", "-")
            if allowed[0] == "own":
                raise ValueError(f"--{name}: expected a labels file (--format own), got {args.labels}")
            raise ValueError(f"--{name}: expected --format {allowed[0]} beside it, got labels of the format {format}")
    source = _SOURCES[format](pack, args)
    changes = {key: value for key in ("name", "bounds") if (value := getattr(args, key)) is not None}
    if source.note:
        _note(args, source.note)
    return replace(source, lists=replace(source.lists, **changes))


def _left_out(summary: PackSummary, source: PackSource, published_counts: bool) -> str:
    """How many videos are left out, the first of them, and how that changes the groups."""
    number, some = len(summary.skipped), summary.skipped[:_SOME]
    names = "; ".join(f"{name} ({reason})" for name, reason in some)
    more = f"; and {number - len(some):,} more" if number > len(some) else ""
    lines = [f"left out {number:,} of {number + summary.videos:,} videos: {names}{more}"]
    if not {name for name, _ in summary.skipped}.isdisjoint(source.lists.train.ids):
        if published_counts:
            lines.append("head, medium and tail come from the counts of all listed training videos")
        else:
            lines.append(
                "head, medium and tail come from the training videos that were packed; "
                "--published-counts takes all that are listed"
            )
    return "\n".join(lines)


_SOME = 3  # videos that are named of those left out
_FORMAT_OPTIONS = {
    **dict.fromkeys(("validate", "test", "frame_counts"), ("own",)),
    **{"class_names": ("own", "youtube8m"), "num_classes": ("youtube8m",), "imbalance": ("minikinetics",)},
}
"""The formats of labels that have an option, where not all have it."""


# of a labels format and the module vltr_train.data.pack
_SOURCES: dict[str, Callable[[Any, argparse.Namespace], PackSource]] = {
    "videolt": lambda pack, args: pack.videolt(args.labels, args.features),
    "charades": lambda pack, args: pack.charades(args.labels, args.features),
    "charadesego": lambda pack, args: pack.charades(args.labels, args.features, name="own-charadesegolt"),
    "minikinetics": lambda pack, args: pack.minikinetics(
        args.labels, args.features, **({} if args.imbalance is None else {"imbalance": args.imbalance})
    ),
    "ava": lambda pack, args: pack.ava(args.labels, args.features),
    "youtube8m": lambda pack, args: pack.youtube8m(
        args.labels,
        args.features,
        num_classes=args.num_classes,
        class_names=None if args.class_names is None else list(read_class_names(args.class_names).names),
        threads=args.threads,
    ),
    "own": lambda pack, args: pack.own(
        args.labels,
        args.features,
        validate=args.validate,
        test=args.test,
        class_names=None if args.class_names is None else list(read_class_names(args.class_names).names),
        frame_counts=args.frame_counts,
    ),
}


def _inspect(args: argparse.Namespace) -> int:
    from vltr_train.data.frame_store import FrameStore

    dataset = _open(args)
    _tell(_described(dataset))
    if args.verify:
        if not isinstance(dataset.frames, FrameStore):
            raise ValueError("--verify: expected packed frames, which have checksums, got a file a video")
        with _bar(args) as progress:
            dataset.frames.verify(progress, args.threads)
        _tell("verified: every packed video has the bytes it was packed with")
    return OK


def _described(dataset: Dataset) -> str:
    from vltr_train.data.frame_store import FrameStore

    counts, frames = dataset.train_counts, dataset.frames
    groups = class_groups(counts, dataset.bounds)
    sizes = " / ".join(str(len(members)) for members in groups.values())
    kind = "packed" if isinstance(frames, FrameStore) else "a file a video"
    lines = [
        f"{dataset.name}: {dataset.num_classes:,} classes, head / medium / tail {sizes} "
        f"(train > {dataset.bounds[0]:g}, > {dataset.bounds[1]:g})",
        f"training videos of a class: {counts.max():,} to {counts.min():,}"
        + ", of the published set" * (dataset.published_counts is not None),
        f"frames: {kind}, {frames.dtype}, {frames.dim} features, {frames.lengths.min():,} to {frames.lengths.max():,} "
        f"a video, {frames.lengths.sum():,} in all",
    ]
    for name in ("train", "validate", "test"):
        split = getattr(dataset, name)
        if split is not None:
            labels = len(split.labels.classes)
            lines.append(f"{name}: {len(split):,} videos, {labels:,} labels, {labels / len(split):.2f} a video")
    if dataset.num_skipped:
        lines.append(f"left out for want of features: {dataset.num_skipped:,} videos")
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------------


def _fit(args: argparse.Namespace) -> int:
    (method,) = args.methods
    _check_methods(args.methods)
    from vltr_train.engine import fit

    with _ranks(args):
        found = _read_method(method)
        settings = parse_settings(found.kind.Config, args.settings)
        folder, dataset = Path(args.out or _run_name(found, settings)), _open(args)
        done = fit(found, dataset, folder, resume=args.resume, overwrite=args.overwrite, **_how(args), **settings)
        if done.report is not None:
            _tell(str(done.report))
            if not done.folder.scalars_are_written:
                _note(args, "no events for TensorBoard, which is not installed")
            _note(args, f"{folder}: predictions, labels and report; {_vltr_eval_command(folder, dataset)}")
    return OK


def _sweep(args: argparse.Namespace) -> int:
    _check_methods(args.methods)
    from vltr_train.engine import fit
    from vltr_train.runs.run_folder import RunFolder, labels_fingerprint
    from vltr_train.runs.tables import table

    done, options = [], _table_options(args)  # refused now, and not after the trainings
    with _ranks(args):
        methods = [_read_method(method) for method in dict.fromkeys(args.methods)]
        specs = [_spec(found) for found in methods]
        options["baseline"] = dict(zip(args.methods, specs, strict=False)).get(args.baseline, args.baseline)
        if options["baseline"] not in (None, *specs):
            raise unknown_name("--baseline", args.baseline, args.methods)
        dataset = _open(args)
        splits = (dataset.train, dataset.validate, dataset.test)
        labels = labels_fingerprint(None if split is None else split.labels for split in splits)
        plans = []
        for found in methods:
            settings = parse_settings(found.kind.Config, args.settings)
            if "seed" in settings:
                raise ValueError("seed: expected the seeds of a sweep by --seeds, got a setting")
            plans += [(found, settings | {"seed": seed}) for seed in args.seeds]
            build_config(found.kind, found.preset, plans[-1][1])  # raises now, and not after the trainings before it
        for found, settings in plans:
            folder = Path(args.runs, _run_name(found, settings).name)
            if not _is_done(folder, labels, found):
                _note(args, f"{folder} ...")
                fit(found, dataset, folder, resume="auto", **_how(args), **settings)
            done.append(folder)
        if current_group().rank == 0:
            runs = map(RunFolder.open, done)
            _tell(table(runs, presets=_presets(), **options))
    return OK


def _is_done(folder: Path, labels: str, found: FoundMethod) -> bool:
    """Whether a run was evaluated, on these data and with this code; where it was with others, `fit` will say so."""
    from vltr_train.method_source import check_code
    from vltr_train.runs.run_folder import RunFolder

    run = RunFolder.open(folder) if RunFolder.is_at(folder) else None
    if run is None or not run.has_report or run.value("dataset", "labels") != labels:
        return False
    check_code(found, run.document.get("code"), str(folder))
    return True


def _spec(found: FoundMethod) -> str:
    """The method and its preset, as tables write them."""
    return found.name if found.preset is None else f"{found.name}:{found.preset}"


def _run_name(found: FoundMethod, settings: dict[str, Any]) -> Path:
    """The default run folder; its name differs from that of other runs of the method."""
    others = [f"{key}={_plain(value)}" for key, value in sorted(settings.items()) if key != "seed"]
    seed = [f"seed{settings['seed']}"] if "seed" in settings else []
    return Path("runs", "-".join([_spec(found).replace(":", "-"), *others, *seed]))


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _eval(args: argparse.Namespace) -> int:
    from vltr_train.predict import evaluate_run
    from vltr_train.runs.run_folder import RunFolder

    with _ranks(args):
        run = RunFolder.open(args.folder)
        if args.data is None:
            args.data, features = _data_of(run)
            args.features = args.features or features
        dataset = _open(args)
        with _bar(args) as progress:
            report = evaluate_run(
                run,
                dataset,
                method=args.method,
                split=args.split,
                sap=args.sap,
                out=args.out,
                progress=progress,
                **_machine(args),
            )
        if report is not None:
            if run.unfinished is not None:
                _note(args, f"{run.path}: {_not_finished(run)}")
            _tell(str(report))
    return OK


def _data_of(run: RunFolder) -> tuple[str, str | None]:
    """Where the data of a run was."""
    data = run.value("data", "folder")
    if data is None:
        raise ValueError(f"{run.path}: its data set was no folder; give one by --data")
    return data, run.value("data", "features")


def _not_finished(run: RunFolder) -> str:
    """The note of a run whose training was killed."""
    from vltr_train.runs.run_folder import NO_REPORT

    return f"not finished, {run.unfinished or NO_REPORT}; finish it with --resume"


def _table(args: argparse.Namespace) -> int:
    from vltr_train.runs.run_folder import RunFolder
    from vltr_train.runs.tables import table

    runs: list[RunFolder] = []
    unfinished: list[RunFolder] = []
    for run in map(RunFolder.open, args.folders):
        (runs if run.has_report else unfinished).append(run)
    if not runs:
        unfinished[0].load_report()  # raises
    for run in unfinished:
        _note(args, f"left out {run.path}: {_not_finished(run)}")
    presets = _presets() if args.paper is not None else None
    options = _table_options(args)
    with _bar(args) as progress:
        text = table(runs, presets=presets, progress=progress, **options)
    _tell(text)
    return OK


def _table_options(args: argparse.Namespace) -> dict[str, Any]:
    if args.baseline is not None and args.ci is None:
        args.refuse("argument --baseline: give --ci as well, whose differences it is for")
    names = {"interval": args.ci, "baseline": args.baseline, "threads": args.threads}
    return {"paper": args.paper, "format": args.format, **names}


def _plot(args: argparse.Namespace) -> int:
    from vltr_train.runs.run_folder import RunFolder

    if args.out is None and args.html is None:
        args.refuse("the following arguments are required: --out or --html")
    for option in ("panel", "width", "title"):
        if args.out is None and getattr(args, option) is not None:
            args.refuse(f"argument --{option}: give --out as well, whose figure it is for")
    runs = list(map(RunFolder.open, args.folders))
    if args.out is not None:
        from vltr_eval import plot
        from vltr_train.runs.curves import training_runs

        how = {} if args.width is None else {"width": args.width}
        plot.save(plot.training_figure(training_runs(runs), args.panel or None, title=args.title, **how), args.out)
    if args.html is not None:
        from vltr_train.runs.page import training_page

        with PendingFile(args.html) as pending:
            with _bar(args) as progress:
                text = training_page(runs, threads=args.threads, progress=progress)
            pending.write_text(text)
    return OK


def _methods(args: argparse.Namespace) -> int:
    from vltr_train.methods import summaries

    if args.method is None:
        methods = summaries()
        width = max(map(len, methods))
        for name, summary in sorted(methods.items()):
            _tell(f"{name:{width}}  {summary.paper}; presets: {summary.presets}")
        tables = frozenset().union(*(summary.tables for summary in methods.values()))
        _tell(f"\ntables of papers: {', '.join(sorted(tables))}")
        return OK
    from vltr_train.setting_notes import setting_notes

    kind = _read_method(args.method).kind
    _tell((sys.modules[kind.__module__].__doc__ or "").strip())
    _tell("\nsettings:")
    for note in setting_notes(kind.Config):
        default = _plain(note.default)
        if note.default is None or isinstance(note.default, bool):
            default = default.lower()  # as the type and the settings of the command line have it
        _tell(f"  {note.name}={default} ({note.type})")
        for line in textwrap.wrap(note.text, 112, break_on_hyphens=False):
            _tell(f"      {line}")
    _tell("\npresets:")
    width = max(map(len, kind.presets), default=0) + 1
    for name, preset in kind.presets.items():
        features = f"{preset.backbone} features" + f" of {preset.data}" * bool(preset.data)
        changes = ", ".join(f"{key}={_plain(value)}" for key, value in preset.settings.items()) or "the defaults"
        _tell(f"  {name + ':':{width}} {features}, {changes}; {', '.join(preset.tables)}")
    return OK


def _check_methods(methods: Sequence[str]) -> None:
    """Refuse an unknown method before torch is imported, which takes a second."""
    from vltr_train.method_source import read_name

    for number, method in enumerate(methods):
        try:
            read_name(method)
        except ValueError as error:
            is_misspelt = str(error).endswith("?")  # did you mean ...?
            if number and method.isidentifier() and not is_misspelt:
                raise ValueError(f"{error}; a setting is KEY=VALUE") from None
            raise


def _read_method(text: str) -> FoundMethod:
    from vltr_train.method_source import resolve_method

    return resolve_method(text)


def _presets() -> dict[str, Any]:
    from vltr_train.methods import all_methods

    return {name: kind.presets for name, kind in all_methods().items()}


def _open(args: argparse.Namespace) -> Dataset:
    from vltr_train.data.dataset import open_dataset

    dataset = open_dataset(args.data, features=args.features, skip_missing=args.skip_missing)
    if dataset.num_skipped:
        groups = "the published counts" if dataset.published_counts is not None else "the videos that remain"
        _note(
            args,
            f"{args.data}: {dataset.num_skipped:,} videos without features are left out; "
            f"head, medium and tail come from {groups}",
        )
    return dataset


def _machine(args: argparse.Namespace) -> dict[str, Any]:
    return {"device": args.device, "store": args.store, "threads": args.threads}


def _how(args: argparse.Namespace) -> dict[str, Any]:
    return _machine(args) | {"quiet": args.quiet, "checkpoint_every": args.checkpoint_every}


def _ranks(args: argparse.Namespace) -> AbstractContextManager[Any]:
    """The processes of torchrun as one process group, by nccl where each has a GPU."""
    if not args.launched:
        return nullcontext()
    import torch

    on_gpu = torch.cuda.is_available() if args.device is None else args.device.startswith("cuda")
    return launched_group("nccl" if on_gpu else "gloo")


def _vltr_eval_command(folder: Path, dataset: Dataset) -> str:
    """The command that gives the report of a run again."""
    words = ["vltr-eval", str(folder / "preds.npy"), str(folder / "labels.npy"), "--sap", "15"]
    if dataset.counts_file is not None:
        words += ["--counts", str(dataset.counts_file), "--bounds", ",".join(f"{bound:g}" for bound in dataset.bounds)]
    return shlex.join(words)


# ---------------------------------------------------------------------------------------------------------------------
# Arguments
# ---------------------------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser that names an option whose value it does not take."""

    def option_strings(self) -> list[str]:
        """Return the options as they are written."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        argument, is_found, value = message.partition(": ignored explicit argument ")
        if is_found:
            option = argument.rpartition("/")[2].removeprefix("argument ")
            forms = [each for each in self.option_strings() if each == option or each.startswith(f"{option}=")]
            message = f"argument {option}: expected {' or '.join(forms)}, got {option}={value.strip(chr(39))}"
        super().error(message)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of these words. Commands that they do not give have their name alone: the options need modules."""
    parser = _Parser(
        prog=_PROGRAM,
        description="Train methods of long-tailed video recognition on frame features, and\nevaluate them exactly.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    command = next((word for word in words if not word.startswith("-")), None)
    for name, add in _COMMANDS.items():
        if name == command:
            add(commands)
        else:
            commands.add_parser(name)
    return parser


def _add_synth(commands: Any) -> None:
    from vltr_train.data.synth import PROFILES

    parser = add_command(commands, "synth", _synth, "Write a data set whose structure is planted.")
    parser.add_argument("folder", metavar="DIR")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="videolt", help="whose shape (default: videolt)")
    parser.add_argument("--scale", type=float, default=0.05, help="1 is the published size (default: 0.05)")
    parser.add_argument("--dim", type=int, default=128, help="features of a frame (default: 128)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layout", choices=("packed", "npy"), default="packed", help="one array, or a file a video")
    parser.add_argument("--imbalance", type=float, help="of minikinetics (default: 0.01)")
    parser.add_argument("--frames", type=int, help="of a video (default: those of the profile)")
    parser.add_argument(
        "--length-spread", type=float, default=0.0, metavar="STD", help="of the logarithm of lengths (default: 0)"
    )
    parser.add_argument("--feature-std", type=float, help="of the noise in a feature (default: sqrt(8192 / dim))")
    _add_signal_options(parser)
    _add_threads(parser)


def _add_signal_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of `SyntheticSignal`, with its default."""
    from vltr_train.data.synth_signal import SyntheticSignal

    for entry in fields(SyntheticSignal):
        kind, metavar, text = _SIGNAL_OPTIONS[entry.name]
        if entry.default is not None:
            text += f" (default: {_signal_text(entry.default)})"
        option = f"--{entry.name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=entry.default, metavar=metavar, help=text)


def _signal_text(value: Any) -> str:
    """A default as the command line takes it."""
    return ",".join(map(_signal_text, value)) if isinstance(value, tuple) else f"{value:g}"


def _add_pack(commands: Any) -> None:
    parser = add_command(
        commands, "pack", _pack, "Pack one .npy a video into one array. Called again, an unfinished pack goes on."
    )
    parser.add_argument("labels", metavar="LABELS", help="folder of the label lists, or a labels file: id,labels")
    parser.add_argument("features", metavar="FEATURES", help="folder of <video>.npy, or of YouTube-8M's .tfrecord")
    parser.add_argument("folder", metavar="DIR", help="where the data set shall be")
    parser.add_argument(
        "--format", choices=tuple(_SOURCES), help="of the labels (default: videolt for a folder, own for a file)"
    )
    parser.add_argument("--name", help="of the data set (default: that of the lists or the file)")
    parser.add_argument("--bounds", type=_bounds, metavar="H,L", help="head has more, tail at most (default: 500,100)")
    parser.add_argument("--class-names", metavar="FILE", help="own: one name a line (default: numbered by name)")
    parser.add_argument(
        "--num-classes", type=int, metavar="N", help="youtube8m: (default: 3862, or 4716 for the files of 2017)"
    )
    parser.add_argument("--validate", metavar="FILE", help="own: labels of the validation split")
    parser.add_argument("--test", metavar="FILE", help="own: labels of the test split")
    parser.add_argument(
        "--frame-counts",
        action=argparse.BooleanOptionalAction,
        help="own: whether lines of a list have a number of frames behind the path",
    )
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="(default: float16)")
    parser.add_argument("--imbalance", type=float, help="of minikinetics (default: 0.01)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out missing and damaged videos, and count them")
    parser.add_argument(
        "--published-counts",
        action="store_true",
        help="groups come from all listed training videos, also from those left out",
    )
    _add_threads(parser)


def _add_inspect(commands: Any) -> None:
    parser = add_command(commands, "inspect", _inspect, "Say what a data set holds.")
    parser.add_argument("data", metavar="DIR")
    _add_data_options(parser)
    parser.add_argument("--verify", action="store_true", help="read every packed video and compare its checksum")
    _add_threads(parser)


def _add_fit(commands: Any) -> None:
    parser = add_command(commands, "fit", _fit, "Train a method.")
    _add_training_options(parser, "METHOD[:PRESET]")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/METHOD...)")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--resume", action="store_true", help="go on from the last checkpoint of the run")
    # A separate option: a value that may be left out would take the METHOD behind --resume.
    there.add_argument(
        "--resume=auto", action="store_const", const="auto", dest="resume", help="the same, or start if there is no run"
    )
    there.add_argument("--overwrite", action="store_true", help="replace a run that is there")


def _add_sweep(commands: Any) -> None:
    parser = add_command(commands, "sweep", _sweep, "Train methods or presets over seeds; what is finished is kept.")
    _add_training_options(parser, "METHOD[:PRESET]...")
    parser.add_argument("--seeds", type=_seeds, default=(0, 1, 2), metavar="S,...", help="(default: 0,1,2)")
    parser.add_argument("--runs", default="runs", metavar="DIR", help="folder of the runs (default: runs)")
    _add_table_options(parser)


def _add_eval(commands: Any) -> None:
    parser = add_command(commands, "eval", _eval, "Evaluate the selected checkpoint of a run.")
    parser.add_argument("folder", metavar="RUN")
    parser.add_argument("--data", metavar="DIR", help="(default: that of the run)")
    _add_data_options(parser)
    parser.add_argument("--method", metavar="FILE.py:CLASS", help="the class of a run with a method of your own")
    parser.add_argument("--split", choices=("train", "validate", "test"), default="test", help="(default: test)")
    parser.add_argument("--sap", type=int, default=15, metavar="N", help="trials of sampled AP (default: 15)")
    parser.add_argument("--out", metavar="DIR", help="where to write preds.npy, labels.npy and the report")
    _add_machine_options(parser)


def _add_table(commands: Any) -> None:
    parser = add_command(
        commands, "table", _table, "Runs as a table; those that differ in their seed alone are one row."
    )
    parser.add_argument("folders", nargs="+", metavar="RUN")
    _add_table_options(parser)
    _add_threads(parser)


def _add_plot(commands: Any) -> None:
    parser = add_command(
        commands, "plot", _plot, "Learning curves of runs. Those that differ in their seed alone are a mean in a band."
    )
    parser.add_argument("folders", nargs="+", metavar="RUN")
    parser.add_argument("--out", type=_figure, metavar="FIGURE", help="the figure: .pdf, .svg or .png")
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="the curves as one HTML file, which needs no network; that of one evaluated run also has its report",
    )
    parser.add_argument(
        "--panel",
        type=lambda text: text.split(","),
        action="append",
        metavar="COLUMN,...",
        help="columns of metrics.csv in one panel; may be repeated (default: the loss, then mAP by group)",
    )
    parser.add_argument("--width", type=float, metavar="INCHES", help="of the figure (default: one column of a paper)")
    parser.add_argument("--title", metavar="TEXT", help="of the figure (default: none)")
    _add_threads(parser)


def _add_methods(commands: Any) -> None:
    parser = add_command(commands, "methods", _methods, "List the methods, or say all of one.")
    parser.add_argument("method", nargs="?", metavar="METHOD")


_COMMANDS: dict[str, Callable[[Any], None]] = {
    "synth": _add_synth,
    "pack": _add_pack,
    "inspect": _add_inspect,
    "fit": _add_fit,
    "eval": _add_eval,
    "table": _add_table,
    "plot": _add_plot,
    "methods": _add_methods,
    "sweep": _add_sweep,
}


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--features", metavar="DIR", help="where the frames are, if not in the data set's folder")
    parser.add_argument("--skip-missing", action="store_true", help="leave out videos without features, and count them")


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda or cuda:1 (default: a GPU where there is one)")
    parser.add_argument(
        "--store", choices=("auto", "host", "device"), default="auto", help="where frames are kept (default: auto)"
    )
    _add_threads(parser)


def _add_training_options(parser: argparse.ArgumentParser, methods: str) -> None:
    parser.usage = f"{parser.prog} {methods} --data DIR [OPTION...] [KEY=VALUE...]"
    parser.epilog = "KEY=VALUE: a setting, as `vltr-train methods METHOD` lists them, or protocol=official."
    parser.add_argument("methods", nargs="+", metavar=methods)
    parser.set_defaults(settings=[])
    parser.add_argument("--data", required=True, metavar="DIR")
    _add_data_options(parser)
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs between two checkpoints (default: 1)"
    )
    _add_machine_options(parser)


def _add_table_options(parser: argparse.ArgumentParser) -> None:
    from vltr_train.runs.tables import FORMATS

    parser.add_argument("--paper", metavar="TABLE", help="a printed table, as `methods` lists them")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=FORMATS, default="text", help="(default: text)")
    for name in ("markdown", "latex"):  # as vltr-eval has them
        form.add_argument(
            f"--{name}", action="store_const", dest="format", const=name, help=f"the same as --format {name}"
        )
    parser.add_argument(
        "--ci",
        type=level_type("RUN"),
        nargs="?",
        const=0.95,
        metavar="LEVEL",
        help="add the standard error of each mean by the choice of test rows, and the differences to the baseline with "
        "their intervals at this level (0.95 if no LEVEL follows)",
    )
    parser.add_argument(
        "--baseline", metavar="METHOD", help="for --ci: the line that others are compared with (default: the first)"
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="of the core (default: every core)")


def _bounds(text: str) -> tuple[float, float]:
    try:
        high, low = map(float, text.split(","))
        return checked_bounds((high, low))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers HIGH,LOW with HIGH >= LOW, got {text!r}") from None


def _figure(text: str) -> str:
    from vltr_eval.plot import FORMATS

    if Path(text).suffix.lower().removeprefix(".") not in FORMATS:
        suffixes = ", ".join(f".{name}" for name in FORMATS)
        raise argparse.ArgumentTypeError(f"expected a name that ends in one of {suffixes}, got {text!r}")
    return text


def _two_floats(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected two numbers LOW,HIGH, got {text!r}") from None
    return low, high


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, got {text!r}") from None


def _seeds(text: str) -> tuple[int, ...]:
    seeds = _integers(text)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"expected different seeds, got {text!r}; equal seeds train one run twice")
    return seeds


# The type, the metavar and the help of the options of `synth` that say how frames show classes
_SIGNAL_OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "signal": (float, "STD", "of a class's look"),
    "scene": (float, "STD", "of a scene"),
    "informative": (_two_floats, "LOW,HIGH", "share of frames that show a label"),
    "correlation": (float, "CORRELATION", "of the noise of neighbouring frames"),
    "video_share": (float, "SHARE", "of the variance of a look that belongs to the single video"),
    "burst_frames": (
        _integers,
        "LOW,HIGH",
        "length of a burst of frames that show a label (default: one burst holds them all)",
    ),
    "cooccurrence": (float, "SHARE", "of classes made of co-occurring visual words"),
    "motion": (float, "SHARE", "of classes in the order of frames alone"),
    "label_noise": (float, "SHARE", "of training videos whose labels are dealt anew"),
}


# ---------------------------------------------------------------------------------------------------------------------
# Words
# ---------------------------------------------------------------------------------------------------------------------


def _bar(args: argparse.Namespace) -> ProgressBar:
    return ProgressBar(sys.stderr, enabled=not args.quiet)


def _tell(text: str) -> None:
    sys.stdout.write(text.removesuffix("\n") + "\n")


def _note(args: argparse.Namespace, text: str) -> None:
    if not args.quiet and current_group().rank == 0:
        sys.stderr.write(f"{text}\n")
