"""Draw the gallery, and measure what the page on methods says: all on the same items.

    python docs/site/gallery.py        # some minutes: writes docs/explanation/gallery.md, its pictures, and the table

The pictures' cause is known, so each method's share of positive values on it is measured beside its cost and the area
under its deletion curve. Methods that sample draw little here (``QUICK``), as for a first look.
"""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import xplain
from xplain import demo
from xplain.core.declaring.registry import Method
from xplain.core.errors import XplainError
from xplain.render.canvas import image, words
from xplain.render.colormap import find
from xplain.render.overlay import Style, limit_of, map_of, overlay

DOCS = Path(__file__).resolve().parents[1]
PICTURES = DOCS / "pictures"
TILE, LABEL = 112, 150

QUICK: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 32, "stride": 16},
    "rise": {"samples": 600},
    "lime": {"samples": 400, "features": "slic:50"},
    "kernel-shap": {"samples": 400, "features": "slic:50"},
    "shapley-sampling": {"samples": 600, "features": "grid:5x5"},
    "banzhaf": {"samples": 400, "features": "slic:50"},
    "partition-shap": {"samples": 400},
    "exact-shapley": {"features": "grid:3x3"},
    "qii": {"samples": 40, "features": "grid:5x5"},
    "ablation": {"features": "slic:50"},
    "anchors": {"samples": 300, "features": "grid:5x5"},
    "linear-shap": {"features": "grid:5x5"},
}


@dataclass
class Seen:
    """One method on the three pictures: maps, and what was measured; ``why`` it is not there."""

    method: Method
    maps: list[Image.Image]
    share: float = 0.0
    area: float = 0.0
    forwards: float = 0.0
    seconds: float = 0.0
    why: str = ""


def options_of(method: Method) -> dict[str, Any]:
    """Few draws, for a first look."""
    chosen = dict(QUICK.get(method.name, {}))
    if not chosen and "samples" in method.options:
        chosen["samples"] = 16
    return chosen


def look(method: Method, model: Any, scenes: list[Any]) -> Seen:
    """Explain the three pictures, and hold the maps to their causes."""
    pictures, labels = [one[0] for one in scenes], [one[2] for one in scenes]
    try:
        start = time.perf_counter()
        found = xplain.explain(model, pictures, method.name, target=labels, **options_of(method))
        seconds = time.perf_counter() - start
        drawn = [map_of(found, item) for item in range(len(scenes))]
        falls = [
            xplain.measure.curve(model, picture, found[item], "deletion", steps=16)
            for item, picture in enumerate(pictures)
        ]
    except XplainError as error:
        return Seen(
            method, [], why=str(error).replace(f"{demo.demo_model_path().parent}/", "").split(". ")[0].rstrip(".")
        )
    maps = [image(overlay(one, limit_of(one.values), find(None, one.signed), Style(line=False))) for one in drawn]
    shares = [demo.share_on_cause(one.values, scene[1]) for one, scene in zip(drawn, scenes, strict=True)]
    return Seen(
        method,
        [one.resize((TILE, TILE), Image.Resampling.LANCZOS) for one in maps],
        float(np.mean(shares)),
        float(np.mean([fall.area[0] / fall.scores[0, 0] for fall in falls])),
        (found.cost.queries + 2 * found.cost.sweeps) / len(scenes),
        seconds / len(scenes),
    )


def sheet(seen: list[Seen], name: str) -> None:
    """A row per method: its name, and its map of each picture."""
    rows = [one for one in seen if one.maps]
    paper = Image.new("RGB", (LABEL + 3 * TILE, TILE * len(rows)), "white")
    for k, one in enumerate(rows):
        paper.paste(words([one.method.name], LABEL - 8), (4, k * TILE + TILE // 2 - 8))
        for column, drawn in enumerate(one.maps):
            paper.paste(drawn, (LABEL + column * TILE, k * TILE))
    paper.save(PICTURES / name, quality=70, method=6)


def signal(entries: list[Method]) -> list[str]:
    """A signal whose bump from 20 to 29 is what the model reads; one strip per method that needs only scores."""
    x = (0.3 * np.sin(np.arange(60) / 2) + (np.arange(60) // 10 == 2)).astype(np.float32)[None]
    strips = []
    for method in entries:
        told = {"patch": 3, "stride": 1} if method.name == "occlusion" else {"features": "segments:5"}
        try:
            told |= {"samples": 300} if "samples" in method.options else {}
            found = xplain.explain(lambda v: v[:, 20:30].sum(1), x, method.name, layout="NT", **told)
        except XplainError:
            continue
        colours = find(None, found.signed).paint(found.values[0], limit_of(found.values[0]))
        strips.append((method.name, np.repeat(np.repeat(colours[None], 18, axis=0), 6, axis=1)))
    high = 60
    paper = Image.new("RGB", (LABEL + 360, high + 22 * len(strips)), "white")
    pen = ImageDraw.Draw(paper)
    pen.line([(LABEL + 6 * k + 3, 50 - 30 * float(v)) for k, v in enumerate(x[0])], (30, 30, 30), 2)
    for k, (name, strip) in enumerate(strips):
        paper.paste(words([name], LABEL - 8), (4, high + 22 * k))
        paper.paste(image(strip), (LABEL, high + 22 * k))
    paper.save(PICTURES / "gallery-signal.webp", quality=80, method=6)
    return [name for name, _ in strips]


def asked_of_rows(entries: list[Method]) -> list[str]:
    """Lines of two tables: a row of a table whose score is ``3 age - 2 rent``, and a sentence that counts words."""
    rows = {"age": [1.0, 0.0, 0.5], "rent": [1.0, 0.2, 0.1], "shoe": [1.0, 2.0, 3.0]}
    table = xplain.table(lambda t: [3 * a - 2 * r for a, r in zip(t["age"], t["rent"], strict=True)], columns=rows)
    one = {name: [values[0]] for name, values in rows.items()}
    reader = xplain.text(lambda some: [[t.count("good") - 2 * t.count("bad")] for t in some])
    lines = []
    for method in entries:
        told = {"samples": 200} if "samples" in method.options else {}
        cells = []
        for model, item, more in ((table, one, {"baseline": 0.0}), (reader, "a good film not bad", {})):
            more = {name: value for name, value in more.items() if name in method.options}
            try:
                found = xplain.explain(model, item, method.name, **told, **more)
            except XplainError:
                cells += [""] * (3 if model is table else 2)
                continue
            values = found.values[0] if model is table else found.values[0][[1, 4]]
            cells += [f"{value:+.2f}" for value in values]
        if any(cells):
            lines.append(f"| [{method.name}](../reference/methods/{slug(method)}.md) | {' | '.join(cells)} |")
    return lines


def slug(method: Method) -> str:
    return method.name.replace("+", "-plus")


_ABOUT = """Every method on the same three pictures, a table's row, a sentence and a signal, drawn by
`python docs/site/gallery.py`. The cause of each picture is known: a patch of brick on grass, of grass on brick, coins
on a cat; each is explained for the patch's texture. Red speaks for it, blue against it; maps without a sign run from
yellow to violet."""
_ROWS = """The score of the row is `3 age - 2 rent` with `age = rent = shoe = 1`; hidden columns become 0. The sentence
*a good film not bad* scores `good - 2 bad`. Empty: the method does not apply."""


def page(seen: list[Seen], rows: list[str], strips: list[str]) -> str:
    parts = ["# Gallery", _ABOUT]
    for family in dict.fromkeys(one.method.family for one in seen):
        drawn = [one for one in seen if one.method.family == family and one.maps]
        if drawn:
            names = ", ".join(f"[{one.method.name}](../reference/methods/{slug(one.method)}.md)" for one in drawn)
            parts += [f"## {family.capitalize()}", f"![{family}](../pictures/gallery-{family}.webp)", f"{names}."]
    parts += ["## A row and a sentence", _ROWS]
    parts += ["\n".join(["| method | age | rent | shoe | good | bad |", "|---|---|---|---|---|---|", *rows])]
    parts += ["## A signal", "The model adds up the moments 20 to 29.", "![Strips](../pictures/gallery-signal.webp)"]
    parts += [f"From top to bottom: {', '.join(strips)}."]
    missing = [f"* `{one.method.name}`: {one.why}." for one in seen if not one.maps]
    parts += ["## Not on these pictures", "\n".join(missing)] if missing else []
    return "\n\n".join(parts) + "\n"


def measured(seen: list[Seen]) -> str:
    """The table of the page on methods."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    lines = ["| method | on the cause | deletion area | forward passes |", "|---|---|---|---|"]
    ranked = sorted((one for one in seen if one.maps), key=lambda one: -one.share)
    lines += [f"| `{one.method.name}` | {one.share:.0%} | {one.area:.2f} | {one.forwards:,.0f} |" for one in ranked]
    told = f"Commit {commit.strip()}, xplain {xplain.__version__}, Python {platform.python_version()}."
    return "\n".join([*lines, "", told])


def main() -> None:
    model = xplain.load(demo.demo_model_path())
    scenes = [demo.demo_picture(name) for name in demo.SCENES]
    entries = [one for one in xplain.methods() if one.family != "plugin"]
    seen = []
    for method in entries:
        seen.append(look(method, model, scenes))
        print(f"{method.name:24} {seen[-1].share:.2f} {seen[-1].area:.2f} {seen[-1].forwards:8.0f} "
              f"{seen[-1].seconds:6.1f} s {seen[-1].why}", flush=True)  # fmt: skip
    for family in dict.fromkeys(one.method.family for one in seen):
        sheet([one for one in seen if one.method.family == family], f"gallery-{family}.webp")
    scored = [one for one in entries if one.family == "perturbation"]
    (DOCS / "explanation" / "gallery.md").write_text(page(seen, asked_of_rows(scored), signal(scored)))
    chosen = DOCS / "explanation" / "which-method.md"
    before, rest = chosen.read_text().split("<!-- measured: start -->")
    after = rest.split("<!-- measured: end -->")[1]
    chosen.write_text(f"{before}<!-- measured: start -->\n{measured(seen)}\n<!-- measured: end -->{after}")


if __name__ == "__main__":
    main()
