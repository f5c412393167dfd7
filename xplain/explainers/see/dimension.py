"""Dimension: how many numbers an item is really described by, layer by layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.analyses.dimension import ESTIMATORS, dimension
from xplain.analyses.distances import deep_mds, distance_correlation, verification
from xplain.analyses.projection import principal
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Natural, Positive, Share
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.embedding import Dimensions
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek
from xplain.explainers.see.positions import Positions
from xplain.explainers.see.vectors import Gathered, gathered

__all__ = ["dimension_"]

_MOST_MAPPED = 10_000
"""Vectors that a map is learnt from; of more, so many are drawn."""


@lens("dimension", needs=Peek, kept="several", paper=Paper("Gong 2019", "arXiv:1803.09672"))
def dimension_(
    scene: Scene,
    *,
    layer: str = "auto",
    positions: Positions = None,
    k: Positive = 20,
    near: Share = 0.02,
    draws: Positive = 200,
    mds: Natural = 0,
    labelled: bool = False,
) -> Seeing[Dimensions]:
    """The intrinsic dimension of a layer's vectors by three estimators, each with an interval; a curve over several.

    Two-NN and maximum likelihood look at nearest neighbours and read low where the dimension is high; shortest paths
    on a graph of neighbours read high. What nearly repeats another item is left out first, and counted.

    Args:
        layer: Layers to read, with commas between; ``auto`` is the penultimate one. Of vectors that were
            kept, in a folder per layer, it is all of them.
        positions: What becomes of layers with positions, as in ``embed``; of each that has none nothing.
        k: Neighbours of the maximum likelihood.
        near: An item nearer to another than this share of the distance to its tenth neighbour repeats it.
        draws: Draws of an interval.
        mds: Learn a map (DeepMDS) of the last layer to so many numbers, and say how well distances, and verification
            by labels or predicted classes, survive it; 0 for none.
        labelled: The folder that a file lies in is its true class.

    Returns:
        ``Dimensions``: ``[L, 3]`` estimates with both ends of their intervals.

    Cost:
        1 evaluation per item for all layers; then some seconds for 1,000 items.

    Raises:
        UsageError: fewer than 8 distinct items.

    Source:
        Gong, Boddeti and Jain 2019; the estimators: Facco 2017, Levina and Bickel 2004, Granata and Carnevale 2016.
    """
    names = [one.strip() for one in layer.split(",") if one.strip()]
    found = yield from gathered(scene, names, positions, labelled=labelled)
    told = {name: dimension(rows, k=k, near=near, draws=draws, seed=scene.seed) for name, rows in found.vectors.items()}
    values = np.array(
        [[(e.value, e.low, e.high) for e in (one.estimates[name] for name in ESTIMATORS)] for one in told.values()]
    )
    warnings = list(found.warnings)
    for name, one in told.items():
        where = f"Layer {name}: " if len(told) > 1 else ""
        warnings += [Caveat(where + text) for text in one.warnings]
        if one.duplicates:
            every = one.points + one.duplicates
            warnings.append(Caveat(f"{where}{one.duplicates} of {every} items nearly repeat another and are left out."))
    facts: dict[str, Any] = {**found.facts, "graphs": {name: dict(one.facts) for name, one in told.items()}}
    facts.pop("width", None)
    if mds:
        name, rows = list(found.vectors.items())[-1]
        facts["map"] = _mapped(rows, mds, found, scene.seed)
    return Dimensions(
        tuple(told),
        values,
        ESTIMATORS,
        np.array([one.points for one in told.values()], np.int64),
        np.array([one.duplicates for one in told.values()], np.int64),
        np.array([one.width for one in told.values()], np.int64),
        facts,
        tuple(warnings),
    )


def _mapped(rows: Array, width: int, found: Gathered, seed: int) -> dict[str, Any]:
    """What is left at fewer numbers: by the learned map, and by principal components."""
    if width >= rows.shape[1]:
        raise UsageError(option="mds", got=width, accepted=f"1 to {rows.shape[1] - 1}, below the width of a vector")
    labels = found.truth or found.predicted
    if len(rows) > _MOST_MAPPED:
        some = np.sort(np.random.default_rng([seed, 0xD9]).permutation(len(rows))[:_MOST_MAPPED])
        rows, labels = rows[some], [labels[n] for n in some] if labels else []
    made = deep_mds(rows, width, seed=seed)
    few = {"learned map": made(rows), "principal components": principal(rows, width)[0]}
    told: dict[str, Any] = {"numbers": width, "widths": made.facts["widths"], "learnt from": len(rows)}
    told["distance correlation"] = {name: distance_correlation(rows, one) for name, one in few.items()}
    if labels and 1 < len(set(labels)) < len(labels):
        whole = {f"all {rows.shape[1]} numbers": rows, **few}
        told["verification by"] = "true labels" if found.truth else "predicted classes"
        told["accepted at 1 % false"] = {name: verification(one, labels) for name, one in whole.items()}
    return told
