"""Neighbours: which items a model sees as alike, beside those that are alike pixel by pixel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xplain.analyses.neighbours import nearest, recall
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import MaybeSide, Positive
from xplain.core.declaring.registry import lens
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import Near
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek
from xplain.explainers.see.positions import Positions
from xplain.explainers.see.vectors import gathered

__all__ = ["neighbours"]


@lens("neighbours", needs=Peek, kept="one", trial={"k": 2})
def neighbours(
    scene: Scene,
    *,
    layer: str = "auto",
    positions: Positions = None,
    k: Positive = 5,
    metric: Literal["cosine", "euclidean"] = "cosine",
    labelled: bool = False,
    pixels: MaybeSide = 32,
    thumbnail: MaybeSide = 64,
) -> Seeing[Near]:
    """The items nearest to each in a layer's space, beside those nearest pixel by pixel.

    Where the two differ the model has learnt what pixels do not say; where they agree it has not. Of vectors that were
    kept pictures are read once more, where they lay, to be compared and drawn.

    Args:
        layer: The layer to read; ``auto`` is the penultimate one.
        positions: What becomes of a layer with positions, as in ``embed``.
        k: Neighbours of each; of fewer items all others.
        metric: ``cosine`` compares directions, ``euclidean`` lengths too. Pixels are always compared by Euclid.
        labelled: The folder that a file lies in is its true class.
        pixels: Side of the pictures that are compared pixel by pixel; 0 compares none.
        thumbnail: Side of the pictures that are drawn; 0 draws none.

    Returns:
        ``Neighbours``: their places among the items ``[N, k]``, and distances.

    Cost:
        1 evaluation per item; then N^2 D products, up to 100,000 items; above, an index of usearch's, whose recall is
        stated.

    Raises:
        UsageError: one item alone, or a layer that is the same for all.

    Source:
        Krizhevsky, Sutskever and Hinton 2012, figure 4: pictures nearest in the last hidden layer.
    """
    found = yield from gathered(scene, [layer], positions, labelled=labelled, thumbnail=thumbnail, pixels=pixels)
    (vectors,) = found.vectors.values()
    if len(vectors) < 2:
        raise UsageError(f"Neighbours need at least 2 items; {len(vectors)} can be read.")
    warnings = list(found.warnings)
    if k > len(vectors) - 1:
        there = f"there {'is' if len(vectors) == 2 else 'are'} {counted(len(vectors) - 1, 'other item')}"
        warnings.append(Caveat(f"{k} neighbours were asked for, and {there}: these are all.", "input"))
    near = nearest(vectors, k, metric=metric)
    flat, flat_far = np.zeros((len(vectors), 0), np.int64), np.zeros((len(vectors), 0))
    facts: dict[str, Any] = {**found.facts, "metric": metric, "exact": near.exact}
    if found.pixels is not None:
        if (found.pixels[1:] == found.pixels[0]).all():
            raise UsageError(
                f"All items are equal at {pixels} x {pixels} pixels, so none is nearer than another by these. Compare "
                "larger pictures, or none: ",
                option("pixels", 0),
                ".",
            )
        by_pixels = nearest(found.pixels, k)
        flat, flat_far = by_pixels.index, by_pixels.distance
        both = (near.index[:, :, None] == flat[:, None, :]).any(axis=2).mean()
        facts |= {"pixels compared at": pixels, "neighbours in common with pixels": float(both)}
    if not near.exact:
        facts["share of the nearest that were found"] = recall(vectors, near)
    for name, labels in (("predicted", found.predicted), ("true", found.truth)):
        if labels:
            facts[f"of one {name} class"] = {"features": _agreeing(labels, near.index)}
            if flat.size:
                facts[f"of one {name} class"]["pixels"] = _agreeing(labels, flat)
    copies = int((near.distance[:, 0] <= 1e-12).sum())
    if copies:
        warnings.append(Caveat(f"{copies} items have a neighbour with exactly the same vector: copies are among them."))
    return Near(
        tuple(found.names),
        near.index,
        near.distance,
        flat,
        flat_far,
        tuple(found.predicted),
        tuple(found.truth),
        found.thumbnails,
        facts,
        tuple(warnings),
    )


def _agreeing(labels: list[str], near: Array) -> float:
    """The share of neighbours that have their item's label."""
    names = np.asarray(labels)
    return float((names[near] == names[:, None]).mean())
