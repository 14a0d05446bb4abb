"""Fingerprints of source code, by which a copied function is recognised whatever its file, layout and comments."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence

# Fields that follow from the position in the tree, or that differ between versions of Python for the same code.
_LEFT_OUT = {"ctx", "kind", "type_comment", "type_ignores"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definitions_of(source: str) -> dict[str, Definition]:
    """Return the functions and classes that a module defines at its top level, the last one of each name."""
    return {node.name: node for node in ast.parse(source).body if isinstance(node, _DEFINITIONS)}


def fingerprint(definitions: dict[str, Definition], names: Sequence[str]) -> str | None:
    """Return the sha256 of the code of these functions and classes; None if one of them is missing.

    Docstrings, comments and formatting do not count. Everything else does: names, arguments, defaults and constants.

    Example:
        >>> one = definitions_of("def double(x):\\n    'Twice.'\\n    return 2 * x")
        >>> two = definitions_of("def double( x ):  # a copy\\n    return (2*x)")
        >>> fingerprint(one, ["double"]) == fingerprint(two, ["double"])
        True
    """
    if not all(name in definitions for name in names):
        return None
    code = "\n".join(_normalised(definitions[name]) for name in names)
    return hashlib.sha256(code.encode()).hexdigest()


def _normalised(node: object) -> str:
    """Return a node as text that is the same for each version of Python."""
    if isinstance(node, list):
        return "[" + ",".join(map(_normalised, node)) + "]"
    if not isinstance(node, ast.AST):
        return f"{type(node).__name__}:{node!r}"
    fields = {name: getattr(node, name, None) for name in node._fields if name not in _LEFT_OUT}
    if isinstance(node, (*_DEFINITIONS, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = node.body[1:]
    if isinstance(node, ast.JoinedStr):  # Python 3.12 has empty texts between the values
        fields["values"] = [value for value in node.values if not (isinstance(value, ast.Constant) and not value.value)]
    return type(node).__name__ + "(" + ",".join(f"{k}={_normalised(v)}" for k, v in fields.items() if v) + _falsy(node)


def _falsy(node: ast.AST) -> str:
    """Close a node. A constant is shown even where it is zero or empty, which other fields are not."""
    if isinstance(node, (ast.Constant, ast.MatchSingleton)) and not node.value:
        return f"value={_normalised(node.value)})"
    return ")"
