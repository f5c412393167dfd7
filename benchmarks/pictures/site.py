"""Draw the page of ``xplain page`` as the docs show it: two methods side by side, in the browser alone.

    python benchmarks/pictures/site.py FOLDER DIST [--chromium /usr/bin/chromium]

FOLDER holds real models, as for ``draw.py``, and ``images/`` (google-coral/test_data, Apache-2.0); DIST is the folder
``dist`` of onnxruntime-web. Needs playwright (extra ``browser``) and a Chromium. It writes ``docs/pictures/live.webp``.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import json
import re
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from draw import card_of
from PIL import Image

import xplain
from xplain.serve.site import write_site

OUT = Path(__file__).parents[2] / "docs" / "pictures" / "live.webp"
PICTURE, METHODS = "coral_owl.jpg", ("grad-cam", "saliency")
SIDE = 1000


def drawn(url: str, chromium: str) -> bytes:
    """The page once both maps are there."""
    from playwright.sync_api import expect, sync_playwright

    state = {"panels": [{"method": method} for method in METHODS], "example": PICTURE}
    with sync_playwright() as kit:
        browser = kit.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page: Any = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.goto(f"{url}/#{quote(json.dumps(state))}")
        expect(page.locator("#status")).to_have_text(re.compile(re.escape(PICTURE)), timeout=120_000)
        taken: bytes = page.screenshot(full_page=True)
        browser.close()
    return taken


def main(folder: Path, dist: Path, chromium: str) -> None:
    file, card = card_of(folder)
    with tempfile.TemporaryDirectory() as place:
        site = Path(place) / "site"
        model = {"mobilenet": xplain.load(file, card=card)}
        write_site(model, site, {one: {} for one in METHODS}, None, str(dist), str(folder / "images"))
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            taken = drawn(f"http://127.0.0.1:{server.server_port}", chromium)
            server.shutdown()
    picture = Image.open(io.BytesIO(taken)).convert("RGB")
    picture.resize((SIDE, round(picture.height * SIDE / picture.width)), Image.Resampling.LANCZOS).save(OUT, quality=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, metavar="FOLDER")
    parser.add_argument("dist", type=Path, metavar="DIST")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    given = parser.parse_args()
    main(given.models, given.dist, given.chromium)
