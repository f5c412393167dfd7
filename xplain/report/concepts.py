"""One self-contained HTML page for concepts: bars with intervals, crops, and pictures in the concepts' colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from xplain.core.keeping.plain import brief_layer, counted
from xplain.render import canvas
from xplain.render.concepts import COLOURED, TWO_SIDED, concept_colours, painted
from xplain.render.notebook import data_url
from xplain.report.strokes import bar, swatch
from xplain.report.template import framed
from xplain.results.concepts import Concepts

__all__ = ["concepts_page"]

_SIDE = 224
"""Pixels of a picture's side."""


def concepts_page(concepts: Concepts, command: str = "") -> str:
    """The page as text.

    Args:
        concepts: What to show.
        command: The command line that made it; printed under "To repeat this".
    """
    facts, colours = concepts.facts, concept_colours(concepts)
    layer, called = str(facts.get("layer", "")), str(facts.get("class", "a class"))
    lost = facts.get("share of squares not in the concepts, of pictures")
    over = counted(int(facts.get("importance estimated over", 0)), "picture")
    reading = (
        f"Importance is the total Sobol index of the score over {over}: the share "
        f"of its variance that is lost without the concept. The effect is in {concepts.unit}. Intervals are of 95 %. "
        "Below a crop stands how much of the concept it holds."
    )
    return framed(
        "concepts.html",
        concepts,
        "gallery found",
        title=f"What {called} is made of at {brief_layer(layer)}",
        lead=f"{counted(len(concepts), 'concept')} of {counted(len(concepts.items), 'picture')}, {concepts.method}, "
        f"{concepts.provenance.source or 'a model'}, layer {layer}."
        + ("" if lost is None else f" {float(lost):.0%} of the layer's squares are in none of the concepts."),
        reading=reading,
        concepts=[_concept(concepts, n, colours[n]) for n in range(len(concepts))],
        pictures=[
            {"name": concepts.items[int(item)], "image": Markup(data_url(painted(concepts, p, _SIDE, colours)))}
            for p, item in enumerate(concepts.shown_items)
        ],
        others=len({name.partition(".")[0] for name in concepts.names}) > COLOURED,
        command=command,
    )


def _concept(concepts: Concepts, n: int, colour: tuple[int, int, int]) -> dict[str, Any]:
    """What one concept is worth, and its crops."""
    error, spread = TWO_SIDED * concepts.error, TWO_SIDED * concepts.effect_error
    value, lost = float(concepts.importance[n]), -concepts.effect
    ends = float(min(0.0, (lost - spread).min())), float(max(0.0, (lost + spread).max()))
    split = "." in concepts.names[n]
    return {
        "swatch": swatch(colour),
        "name": concepts.names[n],
        "layer": brief_layer(concepts.layers[n]) if split else "",
        "coloured": not split and len({one.partition(".")[0] for one in concepts.names[: n + 1]}) <= COLOURED,
        "importance": f"{value:.3f} ± {error[n]:.3f}",
        "importance_bar": bar(value, float(error[n]), (0.0, float((concepts.importance + error).max())), colour),
        "effect": f"{lost[n]:+.3g} ± {spread[n]:.2g}",
        "effect_bar": bar(float(lost[n]), float(spread[n]), ends, colour),
        "crops": [_crop(concepts, n, int(k)) for k in np.flatnonzero(np.isfinite(concepts.crop_values[n]))],
    }


def _crop(concepts: Concepts, n: int, k: int) -> dict[str, Any]:
    y0, x0, y1, x1 = (int(edge) for edge in concepts.crop_boxes[n, k])
    name = concepts.items[int(concepts.crop_items[n, k])]
    return {
        "name": name,
        "title": f"{name}, y {y0} to {y1}, x {x0} to {x1}",
        "image": Markup(data_url(canvas.image(concepts.crops[n, k]))),
        "value": f"{concepts.crop_values[n, k]:.3g}",
    }
