"""Draw docs/_static/report.png: the HTML report of the demo set in Chromium, 1,440 pixels wide, cropped.

It needs playwright, Pillow and Chromium: `make report-picture`.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import vltr_eval
from vltr_eval.program.demo import make_demo

OUT = Path(__file__).parents[1] / "docs/_static/report.png"
WIDTH, HEIGHT = 1440, 1624
FREQUENT, OTHERS = 176, 80  # colours of the palette
MOST_BYTES = 200_000


def demo_page() -> str:
    """Return the page of the demo set at full size."""
    demo = make_demo()
    report = vltr_eval.evaluate(
        demo.scores, demo.labels, train_counts=demo.train_counts, class_names=demo.class_names, interval=0.95
    )
    return report.to_html(details=vltr_eval.class_details(demo.scores, demo.labels))


def screenshot(html: str) -> bytes:
    """Return a picture of the upper part of a page."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        path.write_text(html, encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=true]")
        found: bytes = page.screenshot()
        browser.close()
    return found


def reduced(picture: Image.Image) -> Image.Image:
    """Return a picture with 256 colours: the most frequent ones as they are, and an octree of the others."""
    pixels = np.asarray(picture)
    colours, place, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent, rare = colours[order[:FREQUENT]], colours[order[FREQUENT:]]
    octree = Image.fromarray(rare[None]).quantize(OTHERS, method=Image.Quantize.FASTOCTREE).getpalette()
    palette = np.concatenate([frequent, np.reshape(octree[: 3 * OTHERS], (-1, 3))]).astype(np.int32)
    distances = ((colours[:, None].astype(np.int32) - palette) ** 2).sum(axis=2)
    found = Image.fromarray(distances.argmin(axis=1)[place].reshape(pixels.shape[:2]).astype(np.uint8))
    found.putpalette(palette.astype(np.uint8).tobytes())
    return found


def main() -> None:
    picture = Image.open(io.BytesIO(screenshot(demo_page()))).convert("RGB")
    reduced(picture).save(OUT, optimize=True)
    if OUT.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{OUT}: expected at most {MOST_BYTES:,} bytes, got {OUT.stat().st_size:,}")


if __name__ == "__main__":
    main()
