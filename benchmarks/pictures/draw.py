"""Draw the README's pictures.

    python benchmarks/pictures/draw.py [FOLDER OF REAL MODELS]

``demo.png`` needs nothing but the package. ``coffee.png`` needs a folder with ``manifest.json`` and
``imagenet/mobilenetv2_imagenet1001_fp32.onnx`` (google-coral/test_data, Apache-2.0); its picture is scikit-image's
``coffee`` (Rachel Michetti, CC0).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import xplain
from xplain import demo
from xplain.render import montage

HERE = Path(__file__).parent


def draw_demo() -> None:
    model = xplain.load(demo.demo_model_path())
    scenes = [demo.demo_picture(name) for name in demo.SCENES]
    pictures, labels = [scene[0] for scene in scenes], [scene[2] for scene in scenes]
    methods = {"occlusion": {}, "rise": {"samples": 2000}, "grad-cam": {}}
    found = [xplain.explain(model, pictures, name, target=labels, **options) for name, options in methods.items()]
    montage(found, share=False, size=160).save(HERE / "demo.png", optimize=True)


def card_of(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file of MobileNetV2 among the real models, and its card."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(m for m in manifest["models"] if m["file"].endswith("imagenet1001_fp32.onnx"))
    pre = entry["pre"]
    card = {
        "mode": pre["channels"],
        "resize_short": pre["resize_short"],
        "crop": pre["crop"],
        "scale": pre["scale"],
        "mean": pre["mean"],
        "std": pre["std"],
        "labels": (folder / entry["labels"]).read_text().splitlines(),
    }
    return folder / entry["file"], card


def draw_coffee(folder: Path) -> None:
    file, card = card_of(folder)
    model = xplain.load(file, card=card)
    methods = {
        "occlusion": {"patch": 32, "stride": 8},
        "rise": {"samples": 2000},
        "grad-cam": {},
        "guided-backprop": {},
        "integrated-gradients": {"steps": 96, "tolerance": None},
    }
    found = [xplain.explain(model, ["skimage:coffee"], name, **options) for name, options in methods.items()]
    montage(found, share=False, size=224).save(HERE / "coffee.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", type=Path, metavar="FOLDER", help="folder of real models; coffee.png too")
    models = parser.parse_args().models
    draw_demo()
    if models is not None:
        draw_coffee(models)
