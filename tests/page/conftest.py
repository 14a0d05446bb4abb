"""Pages in Chromium: the browser, the files, and checks that hold for every opened page."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for tests that import pages.py by name

HAS_BROWSER = importlib.util.find_spec("playwright") is not None

# `make test` has no browser; `make test-page` has.
collect_ignore_glob = [] if HAS_BROWSER else ["test_*.py"]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def pytest_terminal_summary(terminalreporter):
    if not HAS_BROWSER:
        terminalreporter.write_line("tests/page is left out here: `make test-page` runs the tests in a browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, Path]:
    """Return the pages of the tests as files, by name."""
    from pages import all_pages

    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, html in all_pages().items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(html, encoding="utf-8")
    return found


@pytest.fixture
def open_page(browser, files) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a page by its name.

    No page may write an error to the console, raise one, or request anything but its own file.
    """
    contexts, errors, requests = [], [], []

    def opened(name: str, *, width: int = 1440, height: int = 900, scheme: str = "light", hash: str = "") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(files[name].as_uri() + hash)
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []
    own = {path.as_uri() for path in files.values()}
    assert {url.partition("#")[0] for url in requests if not url.startswith(("blob:", "data:"))} <= own


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core."""
    return (Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
