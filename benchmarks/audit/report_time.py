"""How long the report of a synthetic audit takes, and how large it is: processor time, peak memory, bytes.

    python benchmarks/audit/synthetic.py /tmp/million && python benchmarks/audit/report_time.py /tmp/million /tmp/report

``--browser CHROMIUM`` opens the page at three widths by playwright, where that is installed, and says how long it took.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import xplain.audit

WIDTHS = (1280, 820, 390)
_DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"


def opened(page: Path, browser: str) -> list[str]:
    """Milliseconds from the start of navigation until the page has been drawn, at each width."""
    from playwright.sync_api import sync_playwright

    told = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for width in WIDTHS:
            tab = chromium.new_page(viewport={"width": width, "height": 900})
            tab.goto(page.absolute().as_uri())
            wide = tab.evaluate("() => document.documentElement.scrollWidth > innerWidth")
            told.append(f"{width} px: drawn after {tab.evaluate(_DRAWN):.0f} ms{', scrolls sideways' if wide else ''}")
        chromium.close()
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audit", type=Path)
    parser.add_argument("to", type=Path)
    parser.add_argument("--browser")
    given = parser.parse_args()
    began, clock = time.process_time(), time.time()
    page, *others = xplain.audit.report(given.audit, given.to)
    spent, waited = time.process_time() - began, time.time() - clock
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = page.stat().st_size / 2**20
    rest = sum(one.stat().st_size for one in others) / 2**20
    print(f"{spent:.1f} s of processor time, {waited:.1f} s by the clock, peak {peak:.0f} MiB")
    print(f"{page.name} {size:.2f} MiB; {len(others)} other files {rest:.2f} MiB")
    for line in opened(page, given.browser) if given.browser else []:
        print(line)
