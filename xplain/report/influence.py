"""One self-contained HTML page for influence: training items for and against, and labels to look at first."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from xplain.core.edits import Array
from xplain.core.keeping.plain import brief_layer, counted
from xplain.render import canvas
from xplain.render.notebook import data_url
from xplain.render.palette import AGAINST, FOR
from xplain.report.strokes import bar, curve
from xplain.report.template import framed
from xplain.results.influence import Influence

__all__ = ["influence_page"]

_MOST, _DOUBTFUL = 6, 24
"""Items that speak for one and against it, unless the lens was asked for others, and labels that are shown."""
_SIDES = (("for", "What speaks for it", FOR), ("against", "What speaks against it", AGAINST))


def influence_page(influence: Influence, command: str = "") -> str:
    """The page as text.

    Args:
        influence: What to show.
        command: The command line that made it; printed under "To repeat this".
    """
    facts = influence.facts
    planted = counted(int(facts.get("planted wrong labels", 0)), "label")
    said = (
        f"Of {planted} exchanged on purpose, the share that is found (upwards) by the share of items "
        "that is looked at in this order. The dashed line is chance."
    )
    return framed(
        "influence.html",
        influence,
        "gallery found",
        title=f"What {counted(len(influence), 'training item')} say, by the layer behind "
        f"{brief_layer(str(facts.get('layer', '')))}",
        lead=f"{influence.method}, {influence.provenance.source or 'a model'}.",
        unit=influence.unit,
        asked=[_asked(influence, n) for n in range(len(influence.asked))],
        doubtful=[_doubtful(influence, place) for place in influence.doubtful(_DOUBTFUL)],
        curve=curve(influence.inspected, influence.discovered, said) if len(influence.inspected) else "",
        curve_said=said,
        command=command,
    )


def _asked(influence: Influence, n: int) -> dict[str, Any]:
    """One item that is asked about, and what speaks most, red for it and blue against it."""
    reach = float(np.abs(influence.influence[:, n]).max(initial=0.0))
    kept = influence.options.get("k")
    most = kept if isinstance(kept, int) else _MOST  # of these a picture is kept
    sides = []
    for (kind, heading, colour), places in zip(_SIDES, influence.speak(n, most), strict=True):
        cells = []
        for place in places:
            value = float(influence.influence[place, n])
            ends = (0.0, reach) if value > 0 else (-reach, 0.0)
            cells.append(_cell(influence, place) | {"value": f"{value:+.3g}", "bar": bar(value, 0.0, ends, colour)})
        sides.append({"kind": kind, "heading": heading, "cells": cells})
    shown = influence.asked_thumbnails
    return {
        "name": influence.asked[n],
        "called": influence.classes[n],
        "image": "" if shown is None else _image(shown[n]),
        "sides": sides,
    }


def _doubtful(influence: Influence, place: int) -> dict[str, Any]:
    agrees = influence.given[place] == influence.predicted[place]
    return _cell(influence, place) | {
        "kind": "right" if agrees else "wrong",
        "value": f"{float(influence.worth[place]):.3g}",
        "said": influence.predicted[place],
    }


def _cell(influence: Influence, place: int) -> dict[str, Any]:
    found = np.flatnonzero(influence.shown == place)
    shown = influence.thumbnails
    return {
        "name": influence.name_of(place),
        "given": influence.given[place],
        "image": _image(shown[found[0]]) if shown is not None and len(found) else "",
    }


def _image(picture: Array) -> Markup:
    return Markup(data_url(canvas.image(picture), "WEBP"))
