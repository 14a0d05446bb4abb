"""Tables as Markdown, LaTeX and HTML: reference texts, and every text of a table comes back from each form."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vltr_eval._base.notebook_html import curve, folded, notebook_html
from vltr_eval._base.table_forms import as_html, as_latex, as_markdown, html_text, latex_text, markdown_text
from vltr_eval._base.text_table import BEST, NOT_WORSE, Column, Table, as_text, printable

TABLE = Table(
    "runs_of #1",
    [
        Column("method", ["base", "a|b_1", "[x] *y*"], is_name=True),
        Column("SAP +- std", ["0.9812 +- 0.0011", "0.9854 +- 0.0010", "-"]),
        Column("95 % interval", ["[-0.0700, +0.1000]", "<0.0001", "-0.5"]),
    ],
    notes=["+-: deviation of 3 seeds", "- 50 % & more"],
    blocks={0: "R50 & R101", 2: ""},
    marks={(0, 1): NOT_WORSE, (1, 1): BEST},
    legend={BEST: "the best", NOT_WORSE: "not worse at 95 %"},
)

MARKDOWN = r"""### runs\_of \#1

| method | SAP PM std | 95 % interval |
|---|---:|---:|
| **R50 \& R101** |  |  |
| base | 0.9812 PM 0.0011DG | \[-0.0700, +0.1000] |
| a\|b\_1 | **0.9854 PM 0.0010** | \<0.0001 |
| \[x] \*y\* | - | -0.5 |

- PM: deviation of 3 seeds
- \- 50 % \& more
- **bold**: the best
- DG: not worse at 95 %
""".replace("PM", "\u00b1").replace("DG", "\u2020")

LATEX = r"""% runs_of #1
% +-: deviation of 3 seeds
% - 50 % & more
% \textbf{bold}: the best
% $^\dagger$: not worse at 95 \%
\begin{tabular}{lrr}
\toprule
method & SAP $\pm$ std & 95 \% interval \\
\midrule
\multicolumn{3}{l}{\textit{R50 \& R101}} \\
base & 0.9812 $\pm$ 0.0011$^\dagger$ & [$-$0.0700, +0.1000] \\
a\textbar{}b\_1 & \textbf{0.9854 $\pm$ 0.0010} & $<$0.0001 \\
\midrule
{}[x] *y* & - & $-$0.5 \\
\bottomrule
\end{tabular}
"""

HTML = """<table>
<caption>runs_of #1</caption>
<thead><tr><th class="name" scope="col">method</th><th scope="col">SAP PM std</th><th scope="col">95 % interval</th></tr></thead>
<tbody>
<tr><th class="name" scope="rowgroup" colspan="3" dir="auto">R50 &amp; R101</th></tr>
<tr><th class="name" dir="auto" scope="row">base</th><td>0.9812 PM 0.0011DG</td><td>[-0.0700, +0.1000]</td></tr>
<tr><th class="name" dir="auto" scope="row">a|b_1</th><td><strong>0.9854 PM 0.0010</strong></td><td>&lt;0.0001</td></tr>
</tbody>
<tbody>
<tr><th class="name" dir="auto" scope="row">[x] *y*</th><td>-</td><td>-0.5</td></tr>
</tbody>
</table>
<p>PM: deviation of 3 seeds</p>
<p>- 50 % &amp; more</p>
<p><strong>bold</strong>: the best</p>
<p>DG: not worse at 95 %</p>
""".replace("PM", "\u00b1").replace("DG", "\u2020")  # fmt: skip  # noqa: E501

TEXT = """runs_of #1
method         SAP +- std       95 % interval
[R50 & R101]
base     0.9812 +- 0.0011  [-0.0700, +0.1000]
a|b_1    0.9854 +- 0.0010             <0.0001
[x] *y*                 -                -0.5
+-: deviation of 3 seeds
- 50 % & more
"""


@pytest.mark.parametrize(("form", "expected"), [(as_markdown, MARKDOWN), (as_latex, LATEX), (as_html, HTML)])
def test_a_table_has_the_reference_text(form, expected):
    assert form([TABLE]) == expected
    joint = "" if form is as_html else "\n"
    assert form([TABLE, TABLE]) == expected + joint + expected


def test_text_shows_no_marks():
    assert as_text([TABLE], width=None) == TEXT
    assert as_text([TABLE, Table("", [], ["a note"])], width=None) == TEXT + "\na note\n"


def test_a_table_of_notes_alone_has_no_table():
    notes = Table("", [], ["1. first", "    code", "=== rule"])
    assert as_markdown([notes]) == "- 1\\. first\n- &#32;&#32;&#32;&#32;code\n- \\=== rule\n"
    assert as_latex([notes]) == "% 1. first\n%     code\n% === rule\n"
    assert as_html([notes]) == "<p>1. first</p>\n<p>    code</p>\n<p>=== rule</p>\n"


# ---------------------------------------------------------------------------------------------------------------------
# Every text comes back
# ---------------------------------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(st.sampled_from("ab 01\\{}$&#_^~%<>|[]()*`'\"-+=,.:;!?/@\t\n\u202e\u00e9\u05d0"), max_size=12),
    st.sampled_from(["<script>alert(1)</script>", "x" * 300, "![a](http://b.c)", "|---|", "--", "&lt;", "\\|", "1. a"]),
    st.text(max_size=8),
)


@st.composite
def tables(draw) -> Table:
    num_rows, num_columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    cells = st.lists(TEXTS, min_size=num_rows, max_size=num_rows)
    columns = [Column(draw(TEXTS), draw(cells), is_name=True) for _ in range(num_columns)]
    blocks = draw(st.dictionaries(st.integers(0, num_rows - 1), TEXTS))
    return Table(draw(TEXTS), columns, draw(st.lists(TEXTS, max_size=2)), blocks)


def lines_of(table: Table) -> list[list[str]]:
    """The headings, the names of blocks and the rows, as a reader sees them: without spaces at the ends."""
    lines = [[column.heading for column in table.columns]]
    for number, row in enumerate(table.rows()):
        if table.blocks.get(number):
            lines.append([table.blocks[number]])
        lines.append(list(row))
    return [[signs(printable(cell)) for cell in line] for line in lines]


def signs(text: str) -> str:
    """The text without spaces at its ends; headings may have a sign for the characters ``+-``."""
    return text.replace("\u00b1", "+-").strip()


MARKDOWN_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")


def read_markdown(text: str) -> str:
    """The text that CommonMark shows; no mark in it may be without an escape."""
    bare = MARKDOWN_ESCAPE.sub("x", text)
    assert not re.search(r"[*_`<\[&~$\\]|://|(?<!\S)#", bare), text
    return MARKDOWN_ESCAPE.sub(r"\1", text)


@given(TEXTS)
def test_markdown_gives_a_text_back(text):
    assert read_markdown(markdown_text(text)) == printable(text)


@given(tables())
def test_markdown_gives_every_cell_back(table):
    rows = [line for line in as_markdown([table]).split("\n") if line.startswith("| ")]
    found = []
    for row in rows:
        cells = [cell.strip() for cell in re.findall(r"(?:\\.|[^|\\])+", row)]
        assert len(cells) == len(table.columns)
        if bold := re.fullmatch(r"\*\*(.*)\*\*", cells[0]):
            cells = [bold[1]]
        elif len(found) < len(lines_of(table)) and len(lines_of(table)[len(found)]) < len(cells):
            cells = cells[:1]  # the name of a block that is nothing but spaces
        found.append([signs(read_markdown(cell)) for cell in cells])
    assert found == lines_of(table)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_no_note_starts_a_block_of_markdown(notes):
    lines = as_markdown([Table("", [], notes)]).removesuffix("\n").split("\n")
    for line, note in zip(lines, notes, strict=False):
        text = line.removeprefix("- ")
        assert not re.match(r" |[-+>=*#]|\d{1,9}[.)](\s|$)|```|~~~", text)
        assert read_markdown(text.replace("&#32;", " ")).replace("\u00b1", "+-") == printable(note).replace(
            "\u00b1", "+-"
        )


LATEX_COMMANDS = {
    **{f"\\{char}": char for char in "&%$#_{}"},
    **{r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textbar{}": "|"},
    **{"$<$": "<", "$>$": ">", "{}": "", r"$\pm$": "+-", "$-$": "-"},
}
LATEX_TOKEN = re.compile(
    "|".join(map(re.escape, sorted(LATEX_COMMANDS, key=len, reverse=True))) + r"|[^\\&%$#_{}~^<>|]"
)


def read_latex(text: str) -> str:
    """The text that LaTeX prints; every special character must be part of a known command."""
    tokens = LATEX_TOKEN.findall(text)
    assert "".join(tokens) == text
    return "".join(LATEX_COMMANDS.get(token, token) for token in tokens)


@given(TEXTS)
def test_latex_gives_a_text_back_without_ligatures(text):
    escaped = latex_text(text)
    assert read_latex(escaped) == printable(text)
    assert not re.search(r"--|''|``|,,|[?!]`", escaped)


@given(tables())
def test_latex_gives_every_cell_back(table):
    text = as_latex([table])
    lines = text.partition("\\toprule\n")[2].partition("\\bottomrule\n")[0].split("\n")
    rows = [line.removesuffix(r" \\") for line in lines if line.endswith(r" \\")]
    assert len(rows) + lines.count(r"\midrule") + 1 == len(lines)
    found = []
    for row in rows:
        assert not re.match(r"\s*[\[*]", row), "the line break before it would take it as an argument"
        start = rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\textit{{"
        cells = [row[len(start) : -2]] if row.startswith(start) else re.split(r"(?<!\\)&", row)
        found.append([signs(read_latex(cell)) for cell in cells])
    assert found == lines_of(table)


class Reader(HTMLParser):
    """The tags of a page, and the text of each element of a table."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.lines: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_data(self, data):
        if self.lines and self.lines[-1]:
            self.lines[-1][-1] += data.strip("\n")


@given(tables())
def test_html_gives_every_cell_back(table):
    reader = Reader(as_html([table]).partition("</table>")[0])
    assert reader.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert reader.attributes <= {"class", "scope", "colspan", "dir"}
    assert [[signs(cell) for cell in line] for line in reader.lines] == lines_of(table)


@given(TEXTS)
def test_html_text_is_safe_in_attributes_too(text):
    found: list[tuple[str, str | None]] = []

    class Attributes(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found.extend(attrs)

    Attributes().feed(f'<p title="{html_text(text)}">')
    assert found == [("title", printable(text))]


# ---------------------------------------------------------------------------------------------------------------------
# Notebooks
# ---------------------------------------------------------------------------------------------------------------------


def test_a_curve_has_its_points_and_its_ends_in_words():
    text = curve("a<b", [0, 1, 3], [1.0, 0.5, 0.0])
    assert 'points="1.0,1.0 53.7,12.0 159.0,23.0"' in text
    assert 'aria-label="a&lt;b from 1 to 0"' in text
    assert text.endswith("1 to 0</p>\n")


def test_a_curve_leaves_out_what_is_not_finite_and_holds_few_points():
    assert curve("x", [0, 1], [float("nan"), float("inf")]) == ""
    assert 'points="1.0,1.0"' in curve("x", [4], [2.0])
    points = re.search(r'points="([^"]*)"', curve("x", range(100_000), [float(x % 7) for x in range(100_000)]))[1]
    assert len(points.split()) <= 101
    assert points.endswith("159.0,8.3")  # 99,999 % 7 is 4 of 6


def test_the_html_of_a_notebook_has_its_style_and_its_parts():
    text = notebook_html("a <b>", "<p>1</p>\n", folded("more & more", "<p>2</p>\n"))
    assert text.startswith('<div class="vltr">\n<style>.vltr{overflow-x:auto}.vltr table{')
    assert text.endswith(
        "</style>\n<p><strong>a &lt;b&gt;</strong></p>\n<p>1</p>\n"
        "<details>\n<summary>more &amp; more</summary>\n<p>2</p>\n</details>\n</div>\n"
    )
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert all(rule.startswith(".vltr") for rule in re.findall(r"[^{}]+(?=\{)", style))
    assert "url(" not in style
    assert not re.search(r"#[0-9a-f]{3}|:(white|black)", style), "a colour would be wrong in a light or a dark notebook"
