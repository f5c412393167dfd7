"""The live page in a real browser: pictures a second of the fake camera, by WebAssembly and by WebGPU.

    xplain page MODEL.onnx --card CARD -o site --runtime DIST
    python benchmarks/serve/live.py site [--seconds 20] [--chromium /usr/bin/chromium]

Needs playwright (extra ``browser``) and a Chromium. The page is served with COOP and COEP, so that WebAssembly has
threads. WebGPU is tried by SwiftShader, Chromium's own on the processor: it says whether the way works, not how fast a
GPU is; the page itself takes whichever its warm-up finds faster, and what it told of both stands in the table.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import bench

CAMERA = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WAYS = {
    "WebAssembly alone": ["--disable-features=WebGPU", "--disable-webgpu"],
    "WebGPU by SwiftShader offered": [
        *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"),
        *("--use-vulkan=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    ],
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files with the headers that threads need."""

    def log_message(self, *_: object) -> None:
        pass

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def measured(kit: Any, chromium: str, flags: list[str], url: str, seconds: float) -> dict[str, object]:
    """What the page says in one browser: how its warm-up went, and how many pictures a second it explains then."""
    from playwright.sync_api import expect

    browser = kit.chromium.launch(executable_path=chromium, args=[*CAMERA, *flags])
    try:
        page = browser.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        expect(page.locator("#status")).to_have_text("Ready.", timeout=180_000)
        adapter = page.evaluate("navigator.gpu ? navigator.gpu.requestAdapter().then(a => a !== null) : false")
        told = page.locator(".summary").inner_text()
        page.locator("#camera").click()
        rates, text = [], ""
        for _ in range(max(2, round(seconds))):
            page.wait_for_timeout(1000)
            text = page.locator("#status").inner_text()
            if "pictures a second" in text:
                rates.append(float(text.split()[0]))
        half = sorted(rates[len(rates) // 3 :])  # the first seconds warm up
        return {
            "adapter": "yes" if adapter else "no",
            "warm-up": told.split(". ")[1] if ". " in told else told,
            "pictures a second": half[len(half) // 2] if half else text,
            "errors": len(wrong),
        }
    finally:
        browser.close()


def main() -> None:
    """Measure and write the table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--dry", action="store_true", help="print the table and do not keep it")
    given = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(given.site))
    rows = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as kit:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/"
        for name, flags in WAYS.items():
            rows.append({"browser": name, **measured(kit, given.chromium, flags, url, given.seconds)})
        server.shutdown()
    if given.dry:
        print(bench.table(rows))
    else:
        bench.save(
            "live", rows, f"{given.seconds:g} s each of Chromium's fake camera; the model and method of the site."
        )


if __name__ == "__main__":
    main()
