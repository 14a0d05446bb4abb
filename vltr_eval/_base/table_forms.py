"""Tables as Markdown, LaTeX and HTML. Every text of a table is data, such as the name of a class, and is escaped.

Markdown is GitHub's. LaTeX needs the package booktabs and no other. HTML has classes and no colours, so that the page
or notebook around it sets them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vltr_eval._base.text_table import BEST, NOT_WORSE, Column, Table, printable

__all__ = ["as_html", "as_latex", "as_markdown", "html_text", "latex_text", "markdown_text"]

_DAGGER, _PLUS_MINUS = "\u2020", "\u00b1"

_SPELLED = re.compile(r"(?<!\S)\+-(?=[\s:])")
"""``+-`` as a word, as in ``0.51 +- 0.02`` and ``+-: deviation``."""


# Markdown


def as_markdown(tables: Iterable[Table]) -> str:
    """Write tables as Markdown, with notes as lists."""
    return "\n".join(map(_markdown, tables))


def _markdown(table: Table) -> str:
    lines = [f"### {markdown_text(table.title)}", ""] if table.title else []
    if table.columns:
        lines.append(_markdown_row([_with_signs(markdown_text(column.heading)) for column in table.columns]))
        lines.append("|" + "|".join("---" if column.is_name else "---:" for column in table.columns) + "|")
        for number, row in enumerate(table.rows()):
            if name := table.blocks.get(number):
                lines.append(_markdown_row([_markdown_bold(markdown_text(name)), *[""] * (len(table.columns) - 1)]))
            lines.append(_markdown_row([_markdown_cell(table, number, place, cell) for place, cell in enumerate(row)]))
        lines.append("")
    lines += map(_markdown_note, table.notes)
    lines += [f"- {_MARKDOWN_SIGN[mark]}: {markdown_text(meaning)}" for mark, meaning in table.legend.items()]
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _markdown_cell(table: Table, row: int, place: int, cell: str) -> str:
    text = markdown_text(cell)
    if not table.columns[place].is_name:
        text = _with_signs(text)
    mark = table.marks.get((row, place))
    return _markdown_bold(text) if mark == BEST else text + _DAGGER * (mark == NOT_WORSE)


def _markdown_bold(text: str) -> str:
    """The text in bold. Beside a space, or around nothing, the stars would be text."""
    return f"**{text.strip()}**" if text.strip() else ""


_MARKDOWN_SIGN = {BEST: "**bold**", NOT_WORSE: _DAGGER}


def markdown_text(text: str) -> str:
    """The text with every character escaped that is a mark of Markdown or HTML inside a line.

    A ``|`` stays as it is: it is a mark in the row of a table alone.
    """
    return _MARKDOWN_LINK.sub(r"\\:", _MARKDOWN_HASH.sub(r"\\#", _MARKDOWN_MARK.sub(r"\\\g<0>", printable(text))))


_MARKDOWN_MARK = re.compile(r"[\\*_`<\[&~$]")
_MARKDOWN_HASH = re.compile(r"(?<!\S)#")  # those at the end of a heading close it
_MARKDOWN_LINK = re.compile(r":(?=//)")  # GitHub links addresses without any mark


def _markdown_note(text: str) -> str:
    """A note as an item of a list, whose text is no list, quote, rule or block of code."""
    text = _MARKDOWN_START.sub(r"\g<0>\\", _with_signs(markdown_text(text)))
    indent = len(text) - len(text.lstrip(" "))
    return "- " + "&#32;" * indent + text[indent:]


_MARKDOWN_START = re.compile(r"^ *(?=[-+>=])|^ *\d{1,9}(?=[.)](?:\s|$))")


def _with_signs(text: str) -> str:
    return _SPELLED.sub(_PLUS_MINUS, text)


# LaTeX


def as_latex(tables: Iterable[Table]) -> str:
    """Write tables as LaTeX for the package booktabs; titles and notes are comments."""
    return "\n".join(map(_latex, tables))


def _latex(table: Table) -> str:
    lines = [f"% {printable(line)}" for line in (table.title, *table.notes) if line]
    lines += [f"% {_LATEX_SIGN[mark]}: {latex_text(meaning)}" for mark, meaning in table.legend.items()]
    if table.columns:
        kinds = "".join("l" if column.is_name else "r" for column in table.columns)
        headings = [_latex_number(column.heading) for column in table.columns]
        lines += [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", _latex_row(headings), r"\midrule"]
        for number, row in enumerate(table.rows()):
            name = table.blocks.get(number)
            if name is not None and number:
                lines.append(r"\midrule")
            if name:
                lines.append(rf"\multicolumn{{{len(kinds)}}}{{l}}{{\textit{{{latex_text(name)}}}}} \\")
            lines.append(_latex_row([_latex_cell(table, number, place, cell) for place, cell in enumerate(row)]))
        lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    # The line break or rule of the line before would take a bracket or a star as its argument.
    guard = "{}" if cells[0].lstrip().startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"


def _latex_cell(table: Table, row: int, place: int, cell: str) -> str:
    text = latex_text(cell) if table.columns[place].is_name else _latex_number(cell)
    mark = table.marks.get((row, place))
    return rf"\textbf{{{text}}}" if mark == BEST else text + r"$^\dagger$" * (mark == NOT_WORSE)


_LATEX_SIGN = {BEST: r"\textbf{bold}", NOT_WORSE: r"$^\dagger$"}


def latex_text(text: str) -> str:
    """The text with every character escaped that is a command of LaTeX, and no two characters as a ligature."""
    return _LATEX_LIGATURE.sub("{}", printable(text).translate(_LATEX))


def _latex_number(text: str) -> str:
    """The escaped text of a number or a heading, whose hyphen before a digit is a minus sign."""
    return _MINUS.sub("$-$", latex_text(text)).replace(" +- ", r" $\pm$ ")


_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")
_LATEX_LIGATURE = re.compile(r"(?<=[-'`,?!])(?=[-'`,])")
_LATEX = str.maketrans(
    {character: rf"\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}"}
    | {"<": "$<$", ">": "$>$"}
)


# HTML


def as_html(tables: Iterable[Table]) -> str:
    """Write tables as HTML: a table with a caption, and its notes as paragraphs."""
    return "".join(map(_html, tables))


def _html(table: Table) -> str:
    parts = []
    if table.columns:
        caption = f"<caption>{html_text(table.title)}</caption>\n" if table.title else ""
        head = "".join(map(_html_heading, table.columns))
        parts.append(f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n")
        for number, row in enumerate(table.rows()):
            if number and number in table.blocks:
                parts.append("</tbody>\n<tbody>\n")
            if name := table.blocks.get(number):
                span = f'colspan="{len(table.columns)}"'
                parts.append(f'<tr><th class="name" scope="rowgroup" {span} dir="auto">{html_text(name)}</th></tr>\n')
            cells = "".join(_html_cell(table, number, place, cell) for place, cell in enumerate(row))
            parts.append(f"<tr>{cells}</tr>\n")
        parts.append("</tbody>\n</table>\n")
    elif table.title:
        parts.append(f"<p>{html_text(table.title)}</p>\n")
    parts += [f"<p>{_with_signs(html_text(note))}</p>\n" for note in table.notes]
    parts += [f"<p>{_HTML_SIGN[mark]}: {html_text(meaning)}</p>\n" for mark, meaning in table.legend.items()]
    return "".join(parts)


def _html_heading(column: Column) -> str:
    kind = ' class="name"' if column.is_name else ""
    if not column.heading:
        return f"<td{kind}></td>"
    return f'<th{kind} scope="col">{_with_signs(html_text(column.heading))}</th>'


def _html_cell(table: Table, row: int, place: int, cell: str) -> str:
    is_name = table.columns[place].is_name
    text = html_text(cell) if is_name else _with_signs(html_text(cell))
    mark = table.marks.get((row, place))
    text = f"<strong>{text}</strong>" if mark == BEST else text + _DAGGER * (mark == NOT_WORSE)
    kind = ' class="name" dir="auto"' if is_name else ""
    return f'<th{kind} scope="row">{text}</th>' if place == 0 else f"<td{kind}>{text}</td>"


_HTML_SIGN = {BEST: "<strong>bold</strong>", NOT_WORSE: _DAGGER}


def html_text(text: str) -> str:
    """The text with every character escaped that is a mark of HTML, in attributes as well."""
    return printable(text).translate(_HTML)


_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
