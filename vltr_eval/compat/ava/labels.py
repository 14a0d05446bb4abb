"""Label maps as the copies of AVA's official script read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["read_categories"]


def read_categories(lines: Iterable[str]) -> tuple[list[dict[str, Any]], set[int]]:
    """The categories ``{"id": 12, "name": "stand"}`` in the order of the file, and the set of their ids.

    A line with a name begins with two spaces and ``name:``, and one with an id with two spaces and ``id:`` or
    ``label_id:``. Other lines are skipped, so a file in another form has no categories.

    Raises:
        IndexError: A name is not between double quotes.
        ValueError: An id is no whole number.
    """
    categories: list[dict[str, Any]] = []
    name = ""
    for line in lines:
        if line.startswith("  name:"):
            name = line.split('"')[1]
        elif line.startswith(("  id:", "  label_id:")):
            categories.append({"id": int(line.strip().rsplit(" ", 1)[-1]), "name": name})
    return categories, {category["id"] for category in categories}
