"""Map: a layer's space laid out in a plane, with what of it is true."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xplain.analyses.clusters import clusters
from xplain.analyses.lattice import lattice
from xplain.analyses.preservation import preservation
from xplain.analyses.projection import project
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import MaybeSide, Natural, Positive, PositiveReal
from xplain.core.declaring.registry import lens
from xplain.core.errors import UsageError
from xplain.core.lenses.embedding import Colouring, Plane, require_known
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek
from xplain.explainers.see.positions import Positions
from xplain.explainers.see.vectors import gathered

__all__ = ["map_"]

_MORE = 3.0  # times what chance keeps, from which a map says something of where groups lie


@lens("map", needs=Peek, kept="one", trial={"by": "pca", "neighbours": 2})
def map_(
    scene: Scene,
    *,
    layer: str = "auto",
    positions: Positions = None,
    by: Literal["t-sne", "pca", "umap", "pacmap"] = "t-sne",
    metric: Literal["cosine", "euclidean"] = "cosine",
    perplexity: PositiveReal = 30.0,
    neighbours: Positive = 10,
    groups: Natural = 0,
    labelled: bool = False,
    thumbnail: MaybeSide = 64,
    colour: Colouring = "none",
) -> Seeing[Plane]:
    """All items at their places in a plane: near on the map is near in the layer's space, as far as a plane allows.

    How far that is stands beside it: trustworthiness, continuity, and the share of nearest neighbours that are still
    near. Groups are made in the layer's space, not on the map, and named by the commonest label in them.

    Args:
        layer: The layer to read; ``auto`` is the penultimate one.
        positions: What becomes of a layer with positions, as in ``embed``.
        by: ``pca`` is linear and shows the largest differences; ``t-sne``, ``umap`` and ``pacmap`` show neighbourhoods:
            sizes of groups and distances between them mean little there.
        metric: ``cosine`` compares directions, ``euclidean`` lengths too.
        perplexity: Of t-SNE: about how many neighbours each item has.
        neighbours: Neighbours for which it is stated how many the map keeps; also those of UMAP and PaCMAP.
        groups: Groups that are made; 0 makes about one per 20 items, at most 24.
        labelled: The folder that a file lies in is its true class.
        thumbnail: Side of the pictures that are drawn; 0 draws points. Of vectors that were kept they are read
            once more.
        colour: What frames and points are coloured by: the predicted ``class``, the ``true`` one, ``error`` (whether
            they agree), the predicted class's ``score``, ``group``, or ``none``; the page can show each.

    Returns:
        An ``Atlas``: places ``[N, 2]``, a cell of a grid for each, groups, and how true the map is.

    Cost:
        1 evaluation per item; then the projection: a second for 400 items by t-SNE, and N^2 D products for the
        statement beside it (from 4,000 drawn items, where there are more).

    Raises:
        UsageError: fewer than 3 items (5 but for ``pca``), or a layer that is the same for all.
        MissingDependency: the projection's library is not installed.

    Source:
        Van der Maaten and Hinton 2008 (t-SNE), McInnes et al. 2018, arXiv:1802.03426 (UMAP), Wang et al. 2021 (PaCMAP);
        what a map keeps: Venna and Kaski 2001.
    """
    require_known(colour, labelled, scene.outline.scores.classes is not None)
    found = yield from gathered(scene, [layer], positions, labelled=labelled, thumbnail=thumbnail)
    (vectors,) = found.vectors.values()
    if len(vectors) < 3:
        raise UsageError(f"A map needs at least 3 items; there are {len(vectors)}.")
    near = min(neighbours, (len(vectors) - 1) // 2)
    seed = scene.seed
    plane = project(vectors, by, metric=metric, perplexity=perplexity, neighbours=neighbours, seed=seed)
    kept = preservation(vectors, plane.places, near, metric=metric, seed=seed)
    labels = found.truth or found.predicted
    made = clusters(vectors, labels, groups or None, metric=metric, seed=seed)
    cluster = np.zeros(len(vectors), np.int64)
    for number, one in enumerate(made):
        cluster[one.items] = number
    facts: dict[str, Any] = {
        **found.facts,
        "by": by,
        "library": plane.library,
        "metric": metric,
        **plane.facts,
        "neighbours": kept.k,
        "neighbours kept": kept.kept,
        "neighbours kept by chance": kept.chance,
        "trustworthiness": kept.trustworthiness,
        "continuity": kept.continuity,
        "looked from": kept.looked,
        "groups": [{"name": one.name, "items": len(one.items), "share": one.share} for one in made],
    }
    warnings = found.warnings
    if kept.kept - kept.chance < 0.1 * (1 - kept.chance):
        said = "The map keeps hardly more neighbours than chance would: read nothing from what lies near what."
        if kept.kept > _MORE * kept.chance:  # of very many items few are kept by chance
            said = f"Of the nearest items {kept.kept:.1%} are near on the map: it shows groups, not what is nearest."
        warnings += (Caveat(said),)
    if len(set(labels)) == 1:
        warnings += (Caveat(f"All items are of one class, {labels[0]!r}: colours by class say nothing."),)
    if colour == "error" and found.strange:
        colour, some = "true", ", ".join(map(repr, sorted(found.strange)[:3]))
        said = f"The model has no class {some}: nothing is right or wrong of it, so colours are those of true classes."
        warnings += (Caveat(said, "input"),)
    return Plane(
        tuple(found.names),
        plane.places,
        lattice(plane.places),
        cluster,
        tuple(one.name for one in made),
        tuple(found.predicted),
        tuple(found.truth),
        np.array(found.confidence or [np.nan] * len(vectors)),
        found.thumbnails,
        str(kept),
        facts,
        warnings,
        colour,
    )
