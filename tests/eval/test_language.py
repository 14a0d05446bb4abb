"""Plain English: sentences of docstrings, comments and documents begin with their subject."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for pattern in (
        *("*.md", "docs/**/*.md", "findings/*.md", "benchmarks/*.md", "Makefile", "CMakeLists.txt", ".ci/run"),
        *("vltr_*/**/*.py", "tests/**/*.py", "examples/**/*.py", "findings/*.sh"),
        *("web/src/**/*.js", "web/*.mjs"),
        *("benchmarks/**/*.py", "tools/**/*.py", "experiments/**/*.py", "csrc/**/*.*"),
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix not in (".json", ".csv")
)

# The subject comes first. A clause as subject delays the verb.
INVERTED = re.compile(r"(?:What|Who|Whose|Whom|Whatever|Whoever|Of)\b[^?]*$")

# Phrases that hide the value received, or that personify data.
UNCLEAR = re.compile(r"got others\b|that there is not\b|lives nowhere", re.IGNORECASE)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of prose; code, addresses and list marks are left out."""
    text = re.sub(r"(?m)^\s*(?:>>>|\.\.\. ).*$", "", text)
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s+", text):
        prose = " ".join(paragraph.split()).lstrip("#>*-| ")
        yield from (sentence.lstrip("*`") for sentence in re.split(r"(?<=[.!?:;])\s+", prose))


def prose_of_python(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield ast.get_docstring(node) or ""
    last, block = -1, []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            if block and not (alone and token.start[0] == last + 1):
                yield "\n".join(block)
                block = []
            last = token.start[0] if alone else -1
            block.append(token.string.lstrip("#!: "))
    yield "\n".join(block)


def prose_of_lines(text: str, mark: str) -> Iterator[str]:
    """Yield blocks of comments that begin with ``mark``; a comment behind code is a block by itself."""
    block: list[str] = []
    for line in text.splitlines():
        code, found, comment = line.partition(mark)
        if found and not code.strip():
            block.append(comment.lstrip("/! "))
            continue
        if block:
            yield "\n".join(block)
            block = []
        if found and code.endswith(" "):
            yield comment.strip()
    yield "\n".join(block)


def prose_of(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from prose_of_python(text)
    elif path.suffix == ".md":
        yield re.sub(r"```.*?```|^\|.*$|^    .*$", "", text, flags=re.DOTALL | re.MULTILINE)
    elif path.suffix in (".js", ".mjs"):
        yield from prose_of_lines(re.sub(r"(?m)^(\s*)(/\*\*|\*/| \*)", r"\1//", text), "//")
    elif "csrc" in path.parts:
        yield from prose_of_lines(text, "//")
    else:
        yield from prose_of_lines(text, "#")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sentences_begin_with_their_subject(path):
    found = [sentence for prose in prose_of(path) for sentence in sentences(prose) if INVERTED.match(sentence)]
    assert not found


@pytest.mark.parametrize("path", [path for path in FILES if path != Path(__file__)], ids=lambda path: path.name)
def test_no_text_has_an_unclear_phrase(path):
    assert not UNCLEAR.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("What moves are small messages.", True),
        ("Fine so far. Who wants more reads on.", True),
        ("a list:\n- Of these, the first.", True),
        ("What moves?", False),
        ("Most of what moves is small.", False),
    ],
)
def test_an_inverted_sentence_is_found(text, is_found):
    assert any(INVERTED.match(sentence) for sentence in sentences(text)) == is_found
