"""The HTML file of a page: style, script and document in one, and the numbers of the groups for all who run no script.

A policy in the file allows its own style and its own script, by their hashes, and no request. Names of classes and
groups are data: they are written as JSON in which nothing can end the element, or as escaped text.
"""

from __future__ import annotations

import base64
import functools
from pathlib import Path

from vltr_eval.page.document import Page, StaticTable, page_json

_ASSETS = Path(__file__).with_name("assets")

_TEMPLATE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="app">
{main}</main>
<script type="application/json" id="vltr-data">
{document}
</script>
<script>{script}</script>
<script type="text/plain" id="licences">
{licences}
</script>
</body>
</html>
"""


def render_page(page: Page) -> str:
    """Return a page as one HTML file in ASCII. The same page gives the same bytes."""
    style, script, licences = (_asset(name) for name in ("page.css", "page.js", "LICENSES.txt"))
    return _TEMPLATE.format(
        policy=content_policy(style, script),
        title=escape(page.title),
        style=style,
        main=_main(page),
        document=page_json(page),
        script=script,
        licences=licences.strip(),
    )


def content_policy(style: str, script: str) -> str:
    """Return the policy by which a browser runs this style and this script alone, and fetches nothing."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def escape(text: str) -> str:
    """Return text for HTML in ASCII. Characters that HTML cannot hold become U+FFFD."""
    import html  # not above: few programs make a page

    held = "".join(c if c in "\t\n" or (c >= " " and not _is_forbidden(c)) else "\ufffd" for c in text)
    return html.escape(held).encode("ascii", "xmlcharrefreplace").decode()


def _is_forbidden(char: str) -> bool:
    """Whether HTML has no reference for a character: controls, surrogates and noncharacters."""
    code = ord(char)
    return 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or 0xFDD0 <= code < 0xFDF0 or code & 0xFFFE == 0xFFFE


@functools.cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def _hash(text: str) -> str:
    import hashlib  # not above: it loads OpenSSL, which takes milliseconds

    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _main(page: Page) -> str:
    """The heading, the signature, the remarks and the tables."""
    parts = [f"<h1>{escape(page.title)}</h1>\n"]
    if page.signature:
        parts.append(f"<p>Signature: <code>{escape(page.signature)}</code></p>\n")
    parts += [f"<p>{escape(remark)}</p>\n" for remark in (*page.notes, *page.remarks)]
    parts += map(_table, page.tables)
    parts.append("<noscript><p>Charts and the table of the classes need JavaScript in this file.</p></noscript>\n")
    return "".join(parts)


def _table(table: StaticTable) -> str:
    """A table whose first column has names, isolated from the direction of the text around them."""
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in table.headings)
    lines = "".join(
        f'<tr><th scope="row"><bdi>{escape(name)}</bdi></th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>\n"
        for name, *cells in table.lines
    )
    caption = f"<caption>{escape(table.caption)}</caption>\n"
    return f"<table>\n{caption}<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n"
