"""Which methods change when a real model forgets: benchmarks/results/mprt.md.

python benchmarks/audit/mprt.py MODEL CARD PICTURES
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import xplain
from xplain.core.intervals import mean_of
from xplain.core.versions import versions
from xplain.render import pictures

METHODS = ("grad-cam", "saliency", "input-x-gradient", "lrp", "guided-backprop", "guided-grad-cam")
ORDERS = ("cascading", "bottom-up")


def main(model: str, card: str, folder: str) -> None:
    """Test every method on the pictures of a folder, and write the table."""
    found = pictures.collect([folder])
    loaded = xplain.load(model, card=card, threads=1)
    told = ", ".join(f"{name} {number}" for name, number in versions().items())
    lines = [
        "# Maps of a model that forgets",
        "",
        f"{Path(model).name}, {len(found)} pictures: each method's maps with the weights of more and more layers in",
        "another order. Spearman's correlation of the sizes in 14 x 14 cells with the model's own maps, mean and 95 %",
        f"interval over pictures. Command: `python benchmarks/audit/mprt.py MODEL CARD PICTURES` ({told}).",
        "",
    ]
    for order in ORDERS:
        rows = []
        for method in METHODS:
            began = time.process_time()
            one = xplain.measure.randomisation(loaded, found, method, order, stages=4)
            alike = " | ".join(f"{mean_of(one.alike[:, k])}" for k in range(len(one.stages)))
            entropy = f"{mean_of(one.entropy).mean:+.2f}"
            null, verdict = mean_of(one.null).mean, "yes" if one.forgets else "**no**"
            spent = time.process_time() - began
            rows.append(f"| {method} | {alike} | {null:.2f} | {entropy} | {verdict} | {spent:.1f} |")
            print(rows[-1], flush=True)
        what = "from the scores down" if order == "cascading" else "from the input up"
        stages = " | ".join(f"{stage} of {len(one.layers)}" for stage in one.stages)
        lines += [
            f"## {order}: {what}",
            "",
            f"| method | {stages} | different pictures | rise of entropy | changes | processor seconds |",
            "|---|" + "---|" * (len(one.stages) + 4),
            *rows,
            "",
        ]
    path = Path(__file__).resolve().parents[1] / "results" / "mprt.md"
    path.write_text("\n".join(lines))


if __name__ == "__main__":
    main(*sys.argv[1:4])
