"""Prototypes: the few items that stand for a folder as the model sees it, and those that they do not speak for."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from xplain.analyses.prototypes import Critique
from xplain.analyses.prototypes import prototypes as chosen_of
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Natural, Positive, PositiveReal, Side
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek
from xplain.explainers.see.kept import pictures_of
from xplain.explainers.see.layers import short_name
from xplain.explainers.see.positions import Positions
from xplain.explainers.see.vectors import Gathered, gathered

__all__ = ["prototypes"]

_LEAST = 3


@lens(
    "prototypes",
    needs=Peek,
    kept="one",
    paper=Paper("Kim 2016", "NIPS 2016"),
    aliases=("mmd-critic",),
    trial={"k": 2, "criticisms": 2},
)
def prototypes(
    scene: Scene,
    *,
    layer: str = "auto",
    positions: Positions = None,
    k: Positive = 8,
    criticisms: Natural = 8,
    metric: Literal["cosine", "euclidean"] = "euclidean",
    gamma: PositiveReal | None = None,
    most: Positive = 4000,
    labelled: bool = False,
    thumbnail: Side = 96,
) -> Seeing[Cells]:
    """The few items that stand for a folder in a layer's space, and those that the few do not speak for.

    Prototypes are the items whose density is most like that of all; criticisms are where the two densities differ most
    and that differ from one another: ``w(x) = mean_i k(x_i, x) - mean_{j in prototypes} k(x_j, x)``, k a Gaussian.

    Args:
        layer: The layer to read; ``auto`` is the penultimate one.
        positions: What becomes of a layer with positions, as in ``embed``.
        k: Prototypes.
        criticisms: Criticisms; fewer where all other items repeat them.
        metric: ``euclidean``, or ``cosine`` to compare directions alone.
        gamma: Of ``k(x, y) = exp(-gamma |x - y|^2)``; none for 1 over the median squared distance of two items.
        most: Items that are compared; of more, so many are drawn.
        labelled: The folder that a file lies in is its true class.
        thumbnail: Side of the pictures that are drawn.

    Returns:
        A gallery of two rows. Values are w at the item: above 0 the folder holds more like it than the prototypes say,
        below 0 fewer. ``facts`` tell the squared discrepancy after each prototype, how many items each stands for, and
        the share of items whose prototype has their class.

    Cost:
        1 evaluation per item; then N^2 D products.

    Raises:
        UsageError: fewer than 3 items, or a layer that is the same for all.

    Source:
        Kim, Khanna and Koyejo, Examples are not Enough, Learn to Criticize!, NIPS 2016.
    """
    found = yield from gathered(scene, [layer], positions, labelled=labelled, thumbnail=0 if scene.kept else thumbnail)
    ((name, vectors),) = found.vectors.items()
    if len(vectors) < _LEAST:
        raise UsageError(f"Prototypes need at least {_LEAST} items; {len(vectors)} can be read.")
    items, warnings = np.arange(len(vectors)), list(found.warnings)
    if len(vectors) > max(most, _LEAST):
        items = np.sort(scene.rng("prototypes").choice(len(vectors), max(most, _LEAST), replace=False))
        warnings.append(Caveat(f"{len(items)} of {len(vectors)} items were drawn to be compared.", "input"))
    count = min(k, len(items) - 1)
    if count < k:
        warnings.append(Caveat(f"{k} prototypes were asked for of {len(items)} items: {count} are shown.", "input"))
    chosen = chosen_of(vectors[items], count, criticisms, metric=metric, gamma=gamma)
    stands_for = np.bincount(chosen.nearest, minlength=count)
    rows = [
        ("prototypes", int(row), f"for {counted(int(stands_for[n]), 'item')}")
        for n, row in enumerate(chosen.prototypes)
    ]
    rows += [("criticisms", int(row), f"{chosen.witness[row]:+.2g}") for row in chosen.criticisms]
    if len(chosen.criticisms) < criticisms:
        told = f"{criticisms} criticisms were asked for: {len(chosen.criticisms)} are shown, and the rest is the same."
        warnings.append(Caveat(told, "input"))
    shown = [int(items[row]) for _, row, _ in rows]
    drawn = {} if found.thumbnails is None else {item: found.thumbnails[item] for item in shown}
    if scene.kept:  # the few alone are read once more
        again = yield from pictures_of(scene.kept[0], shown, thumbnail)
        drawn = {} if again.thumbnails is None else dict(zip(shown, again.thumbnails, strict=True))
        warnings += again.warnings
    return cells(
        [
            _cell(found.names[item], drawn.get(item), unit, float(chosen.witness[row]), text)
            for item, (unit, row, text) in zip(shown, rows, strict=True)
        ],
        f"What stands for {counted(len(items), 'item')} at {short_name(name)}, and what it does not speak for",
        "density of all items at this one, less that of the prototypes",
        form="rows",
        look="colour",
        about={
            "prototypes": f"squared discrepancy\n{chosen.discrepancy[-1]:.2g} to all items",
            "criticisms": "+ more than the\nprototypes say, - fewer",
        },
        facts=_facts(found, chosen, items, stands_for, metric),
        warnings=tuple(warnings),
    )


def _cell(name: str, picture: Array | None, unit: str, value: float, text: str) -> Cell:
    return Cell(unit, value, picture, name=name, caption=f"{text}\n{name}")


def _facts(found: Gathered, chosen: Critique, items: Any, stands_for: Any, metric: str) -> dict[str, Any]:
    told = {
        **found.facts,
        "metric": metric,
        "gamma": chosen.gamma,
        "items compared": len(items),
        "squared discrepancy": chosen.discrepancy.tolist(),
        "items that each stands for": stands_for.tolist(),
    }
    for kind, labels in (("predicted", found.predicted), ("true", found.truth)):
        if labels:
            own = np.asarray(labels)[items]
            told[f"prototype of one {kind} class"] = float((own[chosen.prototypes][chosen.nearest] == own).mean())
    return told
