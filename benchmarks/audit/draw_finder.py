"""Draw the picture of the page on shortcuts: what the finder named, and what pasting it did.

python benchmarks/audit/draw_finder.py          # one seed of finder.py; a quarter of a minute of an idle core
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from finder import TESTED, TRAINED, session_of
from PIL import Image, ImageDraw
from shortcut import CLASSES, SIDE, pictures, trained

from xplain.render import canvas
from xplain.session.shortcuts.finder import shortcuts

OUT = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "shortcut.webp"
SHOWN, SIZE = 6, 112


def tile(x: np.ndarray, box: np.ndarray | None = None) -> Image.Image:
    """A picture in grey, with a box."""
    grey = np.clip((x + 0.6) / 2.2 * 255, 0, 255).astype(np.uint8)
    drawn = Image.fromarray(grey).convert("RGB").resize((SIZE, SIZE), Image.Resampling.NEAREST)
    if box is not None:
        y0, x0, y1, x1 = (box * SIZE / SIDE).tolist()
        ImageDraw.Draw(drawn).rectangle((x0, y0, x1 - 1, y1 - 1), outline=(255, 140, 0), width=2)
    return drawn


def main() -> None:
    """Find, paste, draw."""
    net = trained(pictures(TRAINED, "corner", 0, 0), 0)
    test = pictures(TESTED, "corner", 0, 1)
    paster, maps, _ = session_of(net, test.x)
    found = shortcuts(paster, maps, names=CLASSES)[0]
    print(found.standing, found.statement)
    box = np.rint(np.asarray(found.evidence["box"]) * SIDE).astype(int)
    donors = found.members[:SHOWN]
    receivers = np.flatnonzero(paster.predicted != 0)[:SHOWN]
    made = paster.paste(donors, receivers, np.tile(box, (SHOWN, 1)))
    after = paster.scored(made).argmax(axis=1)
    rows = [
        ("what the finder names", [tile(test.x[n, 0], box) for n in donors], [CLASSES[0]] * SHOWN),
        ("other classes", [tile(test.x[n, 0]) for n in receivers], [CLASSES[paster.predicted[n]] for n in receivers]),
        ("the same, pasted", [tile(one[0], box) for one in made], [CLASSES[k] for k in after]),
    ]
    drawn = []
    for name, tiles, words in rows:
        cells = [canvas.column([one, canvas.words([word], SIZE)], 2) for one, word in zip(tiles, words, strict=True)]
        drawn.append(canvas.row([canvas.words([name], 150), *cells], 8))
    canvas.column(drawn, 10).save(OUT, quality=80, method=6)
    print(OUT, OUT.stat().st_size)


if __name__ == "__main__":
    main()
