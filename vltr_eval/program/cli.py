"""The ``vltr-eval`` program: arguments in, result on stdout, everything else on stderr.

Each command is a module of this package with ``add``, which adds its parser, and ``run``.

Exit codes: 0 fine; 1 bad data, one sentence; 2 bad usage; 3 a limit (--fail-under, --max-drop) was not met.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from vltr_eval._base.arguments import nearest_name
from vltr_eval._base.terminal import answer, did_you_mean

PROGRAM = "vltr-eval"

COMMANDS = (
    *("evaluate", "compare", "conventions", "thresholds", "topk", "table", "plot", "ava", "check", "convert"),
    *("doctor", "demo"),
)
"""The commands, each the name of its module; "evaluate" is left out of command lines."""


_DASHED = {"--unknown": "-1,nan", "--unlisted": "-inf"}
"""Values that argparse takes for options, unless the option and its value are one argument."""


def main(argv: Sequence[str] | None = None, *, launched: bool = False) -> int:
    """Run the program and return its exit code; bad usage ends it by SystemExit(2), as argparse does.

    launched: whether a launcher such as torchrun started this process to be one of several. A program that is merely
    called by such a process inherits the same environment, and must not wait for the others.
    """
    command, *arguments = _with_command(list(sys.argv[1:] if argv is None else argv))
    args, others = _parser(command).parse_known_args([command, *_with_dashed(arguments)])
    if others:
        advice = did_you_mean(args.refuse.__self__, others)
        args.refuse(f"unrecognized arguments: {' '.join(others)}{advice}")
    if command == "evaluate":
        _check_command(args)
    args.launched = launched
    return answer(PROGRAM, lambda: args.run(args), debug=args.debug)


def _with_command(argv: list[str]) -> list[str]:
    """The arguments with their command first: a first positional that names none is PREDS, which are evaluated."""
    for index, argument in enumerate(argv):
        if argument in COMMANDS:
            return [argument, *argv[:index], *argv[index + 1 :]]
        if argument not in ("--quiet", "--debug"):
            break
    return ["evaluate", *argv]


def _with_dashed(arguments: list[str]) -> list[str]:
    """The arguments with ``--unknown -1,nan`` as ``--unknown=-1,nan``."""
    joined: list[str] = []
    for argument in arguments:
        if joined and argument.lower() == _DASHED.get(joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _check_command(args: argparse.Namespace) -> None:
    """Refuse a misspelt command, which would be read as a file that is not there."""
    first = args.preds[0]
    near = nearest_name(first, COMMANDS) if first.isalpha() and not os.path.exists(first) else None
    if near is not None:
        args.refuse(f"expected PREDS or a command, got {first!r}, which is neither; did you mean {near}?")


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser with one of its commands: the modules that the others need are not imported."""
    parser = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False)
    module = importlib.import_module(f"vltr_eval.program.{command}")
    module.add(parser.add_subparsers(required=True, metavar="COMMAND"))
    return parser
