"""Do maps of a real classifier lie on the object? An audit of crops of photographs with boxes, from plan to page.

    python benchmarks/audit/boxes.py /tmp/boxed --draw docs/pictures

Boxes were drawn by hand by looking at the photographs that the tests of real models use. Crops of each, whose boxes are
cut alike, are audited by several methods; the picture for the docs is the tests of the report, as Chromium shows them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from photographs import HOME, MODELS, model
from PIL import Image

import xplain
from xplain.core.declaring.registry import METRICS
from xplain.session.measures.grading import LOCALISATION

BOXES = {
    "coral_bird.bmp": ("chickadee", (36, 77, 485, 297)),
    "coral_cat_720p.jpg": ("tabby", (130, 82, 902, 712)),
    "coral_dragonfly.bmp": ("dragonfly", (6, 8, 512, 410)),
    "coral_hot_dog.jpg": ("hotdog", (96, 80, 482, 224)),
    "coral_owl.jpg": ("great grey owl", (159, 13, 334, 373)),
    "coral_parrot.jpg": ("macaw", (147, 105, 463, 840)),
    "coral_sunflower.bmp": ("daisy", (67, 18, 426, 340)),
    "triton_mug.jpg": ("coffee mug", (263, 49, 3243, 2377)),
    "triton_vulture.jpeg": ("vulture", (45, 97, 368, 375)),
}
"""Photograph to what is on it, and its box (x0, y0, x1, y1) in pixels of the file."""


def crops(folder: Path, count: int, seed: int = 0) -> Path:
    """JPEG files, the whole photographs first, and ``boxes.csv``; its path."""
    rng = np.random.default_rng(seed)
    sources = {name: Image.open(HOME / "images" / name).convert("RGB") for name in BOXES}
    lines = ["file,xmin,ymin,xmax,ymax"]
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for k in range(count):
        name = [*BOXES][k % len(BOXES)]
        wide, high = sources[name].size
        share = 1.0 if k < len(BOXES) else rng.uniform(0.7, 1.0)
        w, h = int(wide * share), int(high * share)
        x, y = int(rng.integers(0, wide - w + 1)), int(rng.integers(0, high - h + 1))
        scale = 300 / min(w, h)
        cut = sources[name].crop((x, y, x + w, y + h)).resize((round(w * scale), round(h * scale)))
        label, (x0, y0, x1, y1) = BOXES[name]
        file = f"{label}/{k:04}.jpg"
        (folder / "photos" / label).mkdir(exist_ok=True)
        cut.save(folder / "photos" / file, quality=90)
        edges = (max(0, x0 - x), max(0, y0 - y), min(w, x1 - x), min(h, y1 - y))
        lines.append(f"{file},{','.join(f'{scale * edge:.1f}' for edge in edges)}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder / "boxes.csv"


def draw(page: Path, to: Path) -> None:
    """The first tests of a report as ``audit-boxes.webp``, as Chromium shows them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as kit:
        browser = kit.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": 1060})
        view.goto(page.as_uri())
        top = view.locator("#tests").evaluate("one => one.getBoundingClientRect().top + window.scrollY")
        view.evaluate(f"window.scrollTo(0, {top} - 20)")
        view.screenshot(path=str(to / "audit-boxes.png"))
        browser.close()
    with Image.open(to / "audit-boxes.png") as shot:
        shot.convert("RGB").save(to / "audit-boxes.webp", quality=60, method=6)
    (to / "audit-boxes.png").unlink()


def timed() -> dict[str, float]:
    """What each metric that compares takes for one map."""
    maps, mask = np.random.default_rng(0).random((1, 224, 224)).astype(np.float32), np.zeros((1, 224, 224), bool)
    mask[0, 50:150, 60:180] = True
    list(METRICS)  # fills the registry
    took = {}
    for name in LOCALISATION:
        metric = METRICS.find(name)
        start = time.process_time()
        for _ in range(5):
            metric.function(maps, mask, **metric.read_options({}))
        took[name] = round(200 * (time.process_time() - start), 1)
    return took


def main() -> None:
    """Plan, run, analyse, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=108)
    parser.add_argument("--methods", default="grad-cam;saliency;guided-backprop")
    parser.add_argument("--metrics", default="sparseness,localisation")
    parser.add_argument("--draw", type=Path, default=None)
    given = parser.parse_args()
    boxes, out = crops(given.folder, given.count), given.folder / "audit"
    models = {"MobileNetV2": model(HOME, MODELS["MobileNetV2"])}
    how = {"methods": given.methods.split(";"), "labels": "folders", "metrics": given.metrics, "truth": boxes}
    how |= {"analyses": "mass,agreement,randomisation"}
    print(xplain.audit.plan(models, given.folder / "photos", out=out, **how))
    print(xplain.audit.run(out, workers=0))
    for one in xplain.audit.analyse(out):
        print(f"{one.standing:10} {one.kind:11} {one.statement}")
    means = ", ".join(f"avg({name}) as {name}" for name in ("value", "random", "centre", "edge", "gradient"))
    query = f"select lane, metric, count(value) as n, {means} from metrics group by 1, 2 order by 2, 1"
    print(xplain.audit.open(out).sql(query).to_pandas().round(3).to_string())
    print("milliseconds of processor time a map of 224 x 224:", timed())
    page = xplain.audit.report(out, given.folder / "report")[0]
    print(page, f"{page.stat().st_size / 2**20:.2f} MiB")
    if given.draw is not None:
        draw(page, given.draw)


if __name__ == "__main__":
    main()
