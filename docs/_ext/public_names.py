"""Links from annotations to the reference: a class may be documented under a shorter name than that of its module."""

from __future__ import annotations

import pydoc
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element) -> nodes.Element | None:
    """Link to the documented object of this name, or leave plain text if the object exists; None is a warning."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith(("vltr_eval.", "vltr_train.")):
        return None
    package, _, _ = target.partition(".")
    name = target.rpartition(".")[2]
    objects = env.get_domain("py").objects
    found = [full for full in objects if full.startswith(f"{package}.") and full.rpartition(".")[2] == name]
    if len(found) == 1 and name[:1].isupper():
        entry = objects[found[0]]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, found[0])
    return content if pydoc.locate(target) is not None else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("missing-reference", _resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
