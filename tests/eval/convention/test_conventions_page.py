"""docs/conventions.md shows the registry. VLTR_UPDATE_DOCS=1 writes its tables anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vltr_eval.convention.definitions import ABSENT_RULES, CONVENTIONS, FAMILIES, SQUASH_RULES, TIE_RULES

PAGE = Path(__file__).parents[3] / "docs" / "conventions.md"
HEADS = {"rules": "## Rules", "conventions": "## Conventions"}


def escaped(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def tables_of_rules():
    lines = []
    for title, rules in (
        ("An absent class", ABSENT_RULES),
        ("Equal scores", TIE_RULES),
        ("Sigmoid", SQUASH_RULES),
    ):
        lines += [f"| {title} | meaning |", "|---|---|"]
        lines += [f"| {name} | {meaning} |" for name, meaning in rules.items()]
        lines.append("")
    return lines


def tables_of_conventions():
    lines = []
    for family, heading in FAMILIES.items():
        lines += [f"### {heading}", "", "| name | definition | absent class | ties | sigmoid | used by |"]
        lines.append("|---|---|---|---|---|---|")
        for convention in CONVENTIONS:
            if convention.family == family:
                uses = "<br>".join(
                    escaped(f"{use.name}: {use.source}{', percent' * use.percent}{f' ({use.note})' * bool(use.note)}")
                    for use in convention.used_by
                )
                cells = (convention.definition, convention.absent, convention.ties, convention.squash)
                lines.append(f"| `{convention.key}` | " + " | ".join(map(escaped, cells)) + f" | {uses} |")
        lines.append("")
    return lines


def parts_of(text):
    """Return where each generated part starts and ends; it ends at the next heading of level 2."""
    found = {}
    for name in HEADS:
        mark = f"<!-- {name}: written by tests/eval/convention/test_conventions_page.py -->\n"
        start = text.index(mark) + len(mark)
        end = re.compile(r"^## ", re.MULTILINE).search(text, start)
        found[name] = (start, end.start() if end else len(text))
    return found


def test_the_page_shows_the_registry():
    made = {"rules": tables_of_rules(), "conventions": tables_of_conventions()}
    if os.environ.get("VLTR_UPDATE_DOCS"):
        for name, lines in made.items():
            text = PAGE.read_text(encoding="utf-8")
            start, end = parts_of(text)[name]
            rest = text[end:]
            PAGE.write_text(text[:start] + "\n" + "\n".join(lines).rstrip() + "\n" + ("\n" if rest else "") + rest)
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in made.items():
        start, end = parts_of(text)[name]
        shown = text[start:end].strip()
        assert shown == "\n".join(lines).strip(), "VLTR_UPDATE_DOCS=1 writes docs/conventions.md anew"


def test_the_page_names_every_convention():
    text = PAGE.read_text(encoding="utf-8")
    for convention in CONVENTIONS:
        assert f"| `{convention.key}` |" in text
