"""The program ``python -m vltr_eval.patch``: a script as Python runs it, with the known functions replaced."""

from __future__ import annotations

import argparse
import ast
import atexit
import builtins
import importlib.machinery
import importlib.util
import io
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vltr_eval._base.terminal import did_you_mean
from vltr_eval.patching.known import LIBRARIES
from vltr_eval.patching.session import Patched, VersionRefused, names_of_copies, patch

PROGRAM = "python -m vltr_eval.patch"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a script or a module as Python does; it ends with the exit code or the exception of the script."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    count = _number_of_options(arguments)
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments[:count])
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{did_you_mean(parser, unknown)}")
    command = arguments[count:]
    if not command or command == ["-m"]:
        parser.error("expected SCRIPT or -m MODULE, got neither")
    if options.json is not None and not Path(options.json).absolute().parent.is_dir():
        parser.error(f"--json: expected a file in a folder that exists, got {options.json}")
    try:
        patched = patch(options.only, any_version=options.any_version, verify=options.verify, quiet=options.quiet)
    except (ValueError, VersionRefused) as error:
        parser.error(str(error).replace("only:", "--only:", 1))
    if options.json is not None:
        atexit.register(_write, patched, options.json)
    try:
        code, namespace = _of_module(command[1:]) if command[0] == "-m" else _of_script(command)
    except (OSError, ImportError) as error:
        patched.quiet = True  # nothing has run, so a summary would only hide the error
        parser.error(f"{error.strerror}: {command[0]}" if isinstance(error, OSError) else str(error))
    except SyntaxError:
        _begin_traceback(None)
        raise
    _run(code, namespace)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        PROGRAM,
        description="Run a Python script in which the metrics of other libraries are replaced by vltr's drop-ins. "
        "Calls, fallbacks to the originals and the time saved are written to stderr at the end.",
        allow_abbrev=False,
    )
    names = ", ".join(library.name for library in LIBRARIES)
    parser.add_argument("--only", metavar="NAME,...", help=f"the libraries to replace (default: all): {names}")
    parser.add_argument(
        "--any-version", action="store_true", help="replace versions too with which the drop-ins were not tested"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="call the original as well on every call, and report the largest difference and its time",
    )
    parser.add_argument("--json", metavar="FILE", help="write the summary as JSON too")
    parser.add_argument("--quiet", action="store_true", help="do not write the summary to stderr")
    options = " ".join(parser.format_usage().split()[1:])
    parser.usage = f"{options} (SCRIPT | -m MODULE) ARGS..."
    return parser


def _number_of_options(arguments: Sequence[str]) -> int:
    """Count the arguments before the script, which takes the rest whatever they are."""
    count = 0
    while count < len(arguments) and arguments[count].startswith("-") and arguments[count] != "-m":
        count += 2 if arguments[count] in ("--only", "--json") else 1
    return min(count, len(arguments))


def _write(patched: Patched, path: str) -> None:
    Path(path).write_text(patched.summary().to_json(), encoding="utf-8")


# The script, as Python prepares it


def _of_script(command: Sequence[str]) -> tuple[types.CodeType, dict[str, Any]]:
    path = Path(command[0])
    with io.open_code(str(path.absolute())) as file:
        tree = ast.parse(file.read(), command[0])
    code = compile(_looking(tree), command[0], "exec", dont_inherit=True)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = str(path.resolve().parent)  # was the current folder, because of -m
    sys.argv[:] = command
    loader = importlib.machinery.SourceFileLoader("__main__", command[0])
    return code, {"__file__": command[0], "__cached__": None, "__loader__": loader}


def _looking(tree: ast.Module) -> ast.Module:
    """Look at copies of known functions as soon as the script has defined them; its names stay as they are."""
    names = names_of_copies()
    body = []
    for node in tree.body:
        body.append(node)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            call = ast.parse("__import__('vltr_eval.patching.session').patching.session.look_at_script()").body[0]
            for part in ast.walk(call):
                ast.copy_location(part, node)
            body.append(call)
    tree.body = body
    return tree


def _of_module(command: Sequence[str]) -> tuple[types.CodeType, dict[str, Any]]:
    sys.argv[:] = ["-m", *command[1:]]
    spec = importlib.util.find_spec(command[0])
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{command[0]}.__main__")
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code(spec.name) if spec is not None and hasattr(loader, "get_code") else None
    if spec is None or code is None:
        raise ImportError(f"-m: expected a module that can be run, got {command[0]}")
    sys.argv[0] = spec.origin or command[0]
    return code, {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }


def _run(code: types.CodeType, namespace: dict[str, Any]) -> None:
    script = types.ModuleType("__main__")
    script.__dict__.update(namespace, __builtins__=builtins)
    sys.modules["__main__"] = script
    try:
        exec(code, script.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        _begin_traceback(trace)
        raise


def _begin_traceback(trace: types.TracebackType | None) -> None:
    """Show the error with this traceback, which has no frames of this program; the hook may be the script's own."""
    hook = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, _: types.TracebackType | None) -> Any:
        return hook(kind, value.with_traceback(trace), trace)

    sys.excepthook = show
