"""Draw the page of ``xplain serve`` as the docs show it: two methods side by side, a rectangle hidden by hand.

    python benchmarks/pictures/served.py FOLDER [--chromium /usr/bin/chromium]

FOLDER holds real models, as for ``draw.py``, and ``images/`` (google-coral/test_data, Apache-2.0). Needs playwright
(extra ``browser``) and a Chromium. It writes ``docs/pictures/serve.webp``.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from draw import card_of
from PIL import Image

import xplain
from xplain.serve.app import Options, application, server_of
from xplain.serve.served import served_as

OUT = Path(__file__).parents[2] / "docs" / "pictures" / "serve.webp"
PICTURE, METHODS = "coral_owl.jpg", ("grad-cam", "saliency")
SIDE = 1000


def drawn(url: str, chromium: str) -> bytes:
    """The page after a rectangle was dragged over the first map."""
    from playwright.sync_api import expect, sync_playwright

    state = {"panels": [{"method": method} for method in METHODS], "example": PICTURE}
    with sync_playwright() as kit:
        browser = kit.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.goto(f"{url}/#{quote(json.dumps(state))}")
        for place in range(len(METHODS)):
            expect(page.locator(".panel").nth(place).locator(".classes button")).to_have_count(5, timeout=60_000)
        bounds = page.locator(".map").first.bounding_box()
        side = min(bounds["width"], bounds["height"])
        page.mouse.move(bounds["x"] + 0.34 * side, bounds["y"] + 0.2 * side)
        page.mouse.down()
        page.mouse.move(bounds["x"] + 0.62 * side, bounds["y"] + 0.42 * side)
        page.mouse.up()
        expect(page.locator(".hidden-box").first).to_contain_text(re.compile("goes from"), timeout=60_000)
        taken: bytes = page.screenshot(full_page=True)
        browser.close()
    return taken


def main(folder: Path, chromium: str) -> None:
    file, card = card_of(folder)
    options = Options(port=0, examples=str(folder / "images"))
    server = server_of(application([served_as("mobilenet", xplain.load(file, card=card))], options), options)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        taken = drawn(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", chromium)
    finally:
        server.should_exit = True
        thread.join(20)
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    picture.resize((SIDE, round(picture.height * SIDE / picture.width)), Image.Resampling.LANCZOS).save(OUT, quality=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, metavar="FOLDER")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    main(given.models, given.chromium)
