"""Whether a class's map lies on its own object: two photographs side by side, and each one's class explained.

    python benchmarks/methods/feedback.py MODEL CARD PICTURES [--pairs 12]

The class is the one that the model says of a photograph alone, and the photograph is cropped to its middle. Told is the
share of a map's mass in the half of its own photograph, and how often its peak lies there once it is blurred, by
method: half of it would be chance. Targets are the class's logit, or that less the logsumexp of others (``smooth``).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

import xplain
from xplain.targets import Margin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import bench

METHODS = {"saliency": {}, "guided-backprop": {}, "grad-cam": {}}
ROUNDS = (1, 2, 4, 10)
BLUR = 6 / 224  # sigma, in sides of the map


def half(path: Path, side: int) -> Image.Image:
    """The middle of a photograph, half as wide as high."""
    picture = Image.open(path).convert("RGB")
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    return (
        picture.crop((left, top, left + edge, top + edge))
        .resize((side, side))
        .crop((side // 4, 0, 3 * side // 4, side))
    )


def main() -> None:
    """Print one row per method."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "card"):
        words.add_argument(name)
    words.add_argument("pictures", type=Path)
    words.add_argument("--pairs", type=int, default=12)
    given = words.parse_args()
    model = xplain.load(given.model, card=given.card, threads=1)
    side = 320
    files = sorted(given.pictures.iterdir())
    halves = {path: half(path, side) for path in files}
    pairs = list(itertools.combinations(files, 2))
    pairs = [pairs[k] for k in np.random.default_rng(0).permutation(len(pairs))[: given.pairs]]
    said = {path: int(xplain.predict(model, [np.array(halves[path])])[0].argmax()) for path in files}
    methods = [(name, name, options) for name, options in METHODS.items()]
    methods += [(f"feedback, {k} rounds", "feedback", {"rounds": k}) for k in ROUNDS]
    asked = [(f"{name}, {aim}", method, how, aim) for aim in ("logit", "smooth") for name, method, how in methods]
    shares: dict[str, list[float]] = {name: [] for name, *_ in asked}
    peaks: dict[str, list[bool]] = {name: [] for name, *_ in asked}
    scores: dict[str, list[float]] = {name: [] for name, *_ in asked}
    for one, other in pairs:
        both = Image.new("RGB", (side, side))
        both.paste(halves[one], (0, 0))
        both.paste(halves[other], (side // 2, 0))
        for place, path in enumerate((one, other)):
            for name, method, options, aim in asked:
                target = said[path] if aim == "logit" else Margin(said[path], smooth=True)
                found = xplain.explain(model, np.array(both), method, target=target, **options)
                mass = np.abs(found.values[0]) if method != "grad-cam" else np.maximum(found.values[0], 0)
                middle = mass.shape[1] // 2
                own = mass[:, :middle] if place == 0 else mass[:, middle:]
                shares[name].append(float(own.sum() / mass.sum()) if mass.any() else float("nan"))
                peak = gaussian_filter(mass, BLUR * middle * 2).argmax() % mass.shape[1]
                peaks[name].append((peak < middle) == (place == 0))
                if method == "feedback":
                    scores[name].append(float(found.each["through the gates"][0]))
    rows = [
        {
            "method": name,
            "own half, median": float(np.nanmedian(one)),
            "above one half": float(np.mean(np.array(one) > 0.5)),
            "peak in it": float(np.mean(peaks[name])),
            "score through the gates": float(np.median(scores[name])) if scores[name] else "",
            "empty maps": int(np.isnan(one).sum()),
        }
        for name, one in shares.items()
    ]
    note = (
        f"`{Path(given.model).name}`, {len(pairs)} pairs, two classes each. Command: `python "
        f"benchmarks/methods/feedback.py MODEL CARD PICTURES --pairs {given.pairs}`."
    )
    bench.save(f"feedback-{Path(given.model).stem.partition('_')[0]}", rows, note)


if __name__ == "__main__":
    main()
