"""A region of a photograph that is painted in, while all around it stays: what recipes of canvases share for that."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.declaring.registry import Source
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas import Canvas, Pixels
from xplain.core.synthesis.canvas_within import Inlaid
from xplain.core.synthesis.commission import Commission
from xplain.core.synthesis.objective import Aimed, Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.explainers.synthesis.features import as_pixels

__all__ = ["REGION", "inlaid", "inside", "region_told"]

REGION = (
    Source("on", "a photograph that is painted in, as the model sees it", fitted=True, single=True),
    Source(
        "within",
        "where in that photograph: 'top,left,bottom,right' in its pixels, or a picture of its size, white where it is "
        "painted",
        single=True,
        region_of="on",
    ),
)
"""The sources of a recipe that can paint within a region."""


def inside(commission: Commission) -> bool:
    """Whether a region of a photograph is to be painted.

    Raises:
        UsageError: a photograph without a region.
    """
    if "on" in commission.pictures and "within" not in commission.pictures:
        raise UsageError(
            "It has to be said where in the photograph is painted. Give ", option("within", "10,20,90,120"), "."
        )
    return "on" in commission.pictures


def inlaid(commission: Commission, canvas: Canvas) -> Canvas:
    """The canvas, laid into the photograph where there is one."""
    if not inside(commission):
        return canvas
    (under,), (mask,) = commission.pictures["on"], commission.pictures["within"]
    return Inlaid.of(canvas, under, mask, commission.count)


def region_told(commission: Commission) -> Generator[Query, Answer, dict[str, Any]]:
    """What a result says of the region, as ``Painted`` takes it: where it lies, and what the target was before.

    Asks one value of each target, and nothing where all of the picture is painted.
    """
    if not inside(commission):
        return {}
    (under,), (mask,) = commission.pictures["on"], commission.pictures["within"]
    rows, columns = (np.flatnonzero(mask[0].max(axis=axis) > 0) for axis in (1, 0))
    high, wide = mask.shape[1:]
    region = (
        f"rows {rows[0]} to {rows[-1]} and columns {columns[0]} to {columns[-1]} of {high} x {wide} pixels, "
        f"{mask.mean():.0%} of the photograph {commission.names['on'][0]!r}; the rest is as it was"
    )
    before = np.repeat(under[None].astype(np.float32), commission.count, axis=0)
    canvas = Pixels((high, wide), commission.channels)
    goal = Objective((Aimed(target=commission.aimed),))
    found: Sloped = yield Slope(before, canvas, goal, ink=commission.ink, gradient=False)
    return {"notes": {"painted within": region}, "each": {"target before": found.value}, "original": as_pixels(before)}
