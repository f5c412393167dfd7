"""An audit of crops of photographs by real classifiers, from plan to report, and the picture of it in the docs.

    python benchmarks/audit/photographs.py /tmp/audited --draw docs/pictures

Crops, turned and lit a little differently, of the photographs that the tests of real models use, and of scikit-image's:
a folder per photograph, whose label is the class that is on it. Every tenth crop carries another photograph's label,
and one in twenty is a copy of another file, so that there is something to be found. Every analysis is made.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import xplain

HOME = Path(os.environ.get("XPLAIN_SHARED_MODELS", Path(__file__).resolve().parents[3] / "shared" / "models"))
PHOTOGRAPHS = {
    "coral_cat_720p.jpg": "tabby",
    "coral_hot_dog.jpg": "hotdog",
    "coral_owl.jpg": "great grey owl",
    "coral_parrot.jpg": "macaw",
    "coral_dragonfly.bmp": "dragonfly",
    "coral_sunflower.bmp": "daisy",
    "triton_mug.jpg": "coffee mug",
    "triton_vulture.jpeg": "vulture",
}
MODELS = {
    "MobileNetV2": "imagenet/mobilenetv2_imagenet1001_fp32.onnx",
    "MobileNetV2-int8": "imagenet/mobilenetv2_imagenet1001_qdq.onnx",
    "SqueezeNet": "imagenet/squeezenet_fp16.onnx",
}


def crops(folder: Path, count: int, photographs: int, seed: int = 0) -> Path:
    """JPEG files in a folder per label, and ``items.csv`` with label, photograph, camera and split."""
    rng = np.random.default_rng(seed)
    sources = {name: Image.open(HOME / "images" / name).convert("RGB") for name in [*PHOTOGRAPHS][:photographs]}
    names, lines = [*sources], ["file,label,photograph,camera,split"]
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for k in range(count):
        name = names[k % len(names)]
        label = PHOTOGRAPHS[name] if k % 10 else PHOTOGRAPHS[names[(k + 3) % len(names)]]
        file = f"{k:05}.jpg"
        if k % 20 == 19:
            (folder / "photos" / file).write_bytes((folder / "photos" / f"{k - 8:05}.jpg").read_bytes())
        else:
            _crop(sources[name], rng).save(folder / "photos" / file, quality=int(rng.integers(80, 96)))
        lines.append(f"{file},{label},{name},{'A' if k % 3 else 'B'},{'train' if k >= 0.9 * count else 'test'}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return folder / "items.csv"


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    wide, high = picture.size
    share = rng.uniform(0.6, 1.0)
    w, h = int(wide * share), int(high * share)
    x, y = int(rng.integers(0, wide - w + 1)), int(rng.integers(0, high - h + 1))
    cut = picture.crop((x, y, x + w, y + h))
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    short = int(rng.integers(240, 320)) / min(cut.size)
    cut = cut.resize((round(cut.size[0] * short), round(cut.size[1] * short)), Image.Resampling.BICUBIC)
    light = np.asarray(cut, np.float32) * rng.uniform(0.8, 1.2) + rng.normal(0, 3, (cut.size[1], cut.size[0], 1))
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


def draw(page: Path, to: Path) -> None:
    """The findings of a report as ``audit.webp``, as Chromium shows them."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as kit:
        browser = kit.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1200, "height": 900})
        view.goto(page.as_uri())
        top = view.locator("#findings").evaluate("one => one.getBoundingClientRect().top + window.scrollY")
        view.set_viewport_size({"width": 1200, "height": 1500})
        view.evaluate(f"window.scrollTo(0, {top} - 20)")
        view.screenshot(path=str(to / "audit.png"))
        browser.close()
    with Image.open(to / "audit.png") as shot:
        shot.crop((0, 0, 1200, 1300)).save(to / "audit.webp", quality=60, method=6)
    (to / "audit.png").unlink()


def main() -> None:
    """Plan, run, analyse, report; each step's seconds are printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=960)
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS))
    parser.add_argument("--models", default="MobileNetV2,SqueezeNet")
    parser.add_argument("--methods", default="grad-cam;occlusion:patch=56,stride=56")
    parser.add_argument("--sample", type=int, default=40)
    parser.add_argument("--planted", type=int, default=12)
    parser.add_argument("--draw", type=Path, default=None)
    given = parser.parse_args()
    out = given.folder / "audit"
    items = crops(given.folder, given.count, given.photographs)
    models = {name: model(HOME, MODELS[name]) for name in given.models.split(",")}
    took: dict[str, float] = {}

    def step(name: str, made: Any) -> Any:
        start = time.perf_counter()
        found = made()
        took[name] = time.perf_counter() - start
        print(f"--- {name}: {took[name]:.1f} s", flush=True)
        return found

    how = {"methods": given.methods.split(";"), "root": given.folder / "photos", "labels": "column:label"}
    how |= {"sample": given.sample, "planted": given.planted}
    print(step("plan", lambda: xplain.audit.plan(models, items, out=out, **how)))
    print(step("run", lambda: xplain.audit.run(out, workers=1)))
    for one in step("analyse", lambda: xplain.audit.analyse(out)):
        print(f"{one.standing:10} {one.kind:11} {one.statement}")
    paths = step("report", lambda: xplain.audit.report(out, given.folder / "report", reviewer=""))
    print(paths[0], f"{paths[0].stat().st_size / 2**20:.2f} MiB", json.dumps({k: round(v, 1) for k, v in took.items()}))
    if given.draw is not None:
        draw(paths[0], given.draw)


def model(home: Path, file: str) -> dict[str, Any]:
    """A model with the card that the manifest beside it states."""
    known = {one["file"]: one for one in json.loads((home / "manifest.json").read_text())["models"]}[file]
    pre = known["pre"]
    labels = [line.strip() for line in (home / known["labels"]).read_text().splitlines() if line.strip()]
    card = {"mode": pre["channels"], "resize_short": pre["resize_short"], "crop": [pre["crop"]] * 2,
            "scale": pre["scale"], "mean": pre["mean"], "std": pre["std"], "labels": labels}  # fmt: skip
    return {"source": str(home / file), "card": card}


if __name__ == "__main__":
    main()
