"""Run the code cells of a notebook, without Jupyter, and compare or store their outputs.

Run: python tests/examples/notebook_cells.py examples/evaluate.ipynb [--store]

A cell's outputs are its printed text, and the repr and HTML of its last expression. Jupyter gives the same for plain
text and short values; it breaks long reprs into lines, and magics and other rich outputs are not supported here. This
runner needs no kernel and none of the forty packages behind one.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

VERSION = re.compile(r"(?<=vltr:)[\w.+]+")


def run_cells(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Run the code cells in one namespace.

    Args:
        notebook: The parsed JSON of nbformat 4.

    Returns:
        The outputs of each code cell, in nbformat's form.

    Raises:
        Exception: Any error of a cell.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    return [
        _run_cell("".join(cell["source"]), number, names) for number, cell in enumerate(code_cells(notebook), start=1)
    ]


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def stored_outputs(notebook: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [cell["outputs"] for cell in code_cells(notebook)]


def without_version(outputs: Any) -> Any:
    """The outputs with the version of vltr blanked, because a signature has it."""
    return json.loads(VERSION.sub("X", json.dumps(outputs)))


def _run_cell(source: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value, printed, name = None, io.StringIO(), f"cell {number}"
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), names)
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data = {"text/html": value._repr_html_().splitlines(keepends=True), **data}
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a notebook and compare its outputs with the stored ones.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--store", action="store_true", help="write the outputs into the notebook")
    args = parser.parse_args()
    notebook = json.loads(args.notebook.read_text(encoding="utf-8"))
    outputs = run_cells(notebook)
    if args.store:
        for number, (cell, found) in enumerate(zip(code_cells(notebook), outputs, strict=True), start=1):
            cell.update(execution_count=number, outputs=found)
        args.notebook.write_text(json.dumps(notebook, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
        return 0
    stored = stored_outputs(notebook)
    for number, (found, expected) in enumerate(zip(outputs, stored, strict=True), start=1):
        if without_version(found) != without_version(expected):
            sys.stdout.write(f"{args.notebook}: outputs of code cell {number}: expected {expected}, got {found}\n")
            return 1
    sys.stdout.write(f"{args.notebook}: {len(outputs)} code cells give the stored outputs\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
