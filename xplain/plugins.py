"""What other distributions add: installing one is all it takes. Also every name that a plugin writes with.

A distribution names what it declares as entry points; the entry point's name is the public name, and what it points to
is a function declared with the decorator of its group::

    [project.entry-points."xplain.methods"]
    xgrad-cam = "xplain_xgrad_cam:xgrad_cam"

| group | decorator |
|---|---|
| ``xplain.methods`` | ``@method`` or ``@cam`` |
| ``xplain.tables`` | ``@table`` |
| ``xplain.features`` | ``@features`` |
| ``xplain.metrics`` | ``@metric`` |
| ``xplain.renderers`` | ``@renderer`` |
| ``xplain.lenses`` | ``@lens`` |
| ``xplain.attacks`` | ``@attack`` |
| ``xplain.recipes`` | ``@recipe`` |

A plugin imports from here and from ``xplain.testing`` alone; ``plugins/xplain-xgrad-cam`` is a whole one.

Listing imports nothing. The first use of a name imports its plugin; a failure names the distribution and the cause.
"""

from __future__ import annotations

from xplain.core.arrays import collapse, enlarge, namespace
from xplain.core.declaring.catalogue import Plugin
from xplain.core.declaring.options import Baseline, Fraction, Natural, NonNegative, Positive, PositiveReal, Share, Size
from xplain.core.declaring.registry import (
    METHODS,
    Paper,
    Source,
    attack,
    features,
    find,
    lens,
    method,
    metric,
    recipe,
    renderer,
    table,
)
from xplain.core.edits import Coalitions, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.fold import Max, Mean, Top, TopK
from xplain.core.lenses.scene import Again, More, Scene, Seeing, Some
from xplain.core.query import Flow, Peek, Reading, Score, Sweep, View
from xplain.core.rules import Rules, Where
from xplain.core.synthesis.attack import AttackFlow, Ended, Threat
from xplain.core.synthesis.canvas import Canvas, Cosines, Phases, Pixels
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Aimed, Objective, Term
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.cam.layers import reading as map_reading
from xplain.explainers.cam.template import cam
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.features.partition import Partition
from xplain.explainers.synthesis.climb import Climb, climbed, painted
from xplain.explainers.synthesis.optimisers import Adam, Ascent

__all__ = [
    "GROUP",
    "Adam",
    "Again",
    "Aimed",
    "Ascent",
    "AttackFlow",
    "Baseline",
    "Canvas",
    "Cell",
    "Cells",
    "Climb",
    "Coalitions",
    "Commission",
    "Cosines",
    "Ended",
    "Flow",
    "Fraction",
    "Full",
    "Max",
    "Mean",
    "More",
    "Natural",
    "NonNegative",
    "Objective",
    "Painted",
    "Painting",
    "Paper",
    "Partition",
    "Peek",
    "Phases",
    "Pixels",
    "Plugin",
    "Positive",
    "PositiveReal",
    "Ranked",
    "Reading",
    "Rules",
    "Scene",
    "Score",
    "Seeing",
    "Share",
    "Size",
    "Slope",
    "Sloped",
    "SoftGrid",
    "Some",
    "Source",
    "Sweep",
    "Term",
    "Threat",
    "Top",
    "TopK",
    "Untouched",
    "View",
    "Where",
    "Windows",
    "attack",
    "cam",
    "cells",
    "climbed",
    "collapse",
    "enlarge",
    "features",
    "fill_of",
    "find",
    "installed",
    "lens",
    "load",
    "map_layer",
    "map_reading",
    "method",
    "metric",
    "namespace",
    "painted",
    "recipe",
    "renderer",
    "table",
]

GROUP = METHODS.group


def installed() -> dict[str, Plugin]:
    """Every method that an installed distribution offers, by name; nothing is imported.

    Raises:
        UsageError: two distributions offer one name; both are named.
    """
    return METHODS.plugins()


def load(name: str | None = None) -> None:
    """Import the plugin that offers the method ``name``, or all of them; a look-up by name does it by itself.

    Raises:
        ModelError: the plugin cannot be imported; the distribution and the cause are named.
        UsageError: it declares a name that is taken, or does not declare what it offers.
    """
    METHODS.load(name)
