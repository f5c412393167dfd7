"""Where a path runs from and to: between items, or between the values that a layer has for them.

At a layer, the score is taken as a function of that layer's values alone. That is a question with an answer only where
the layer lies between the item and the target, and everything real that leads there passes it. Whole numbers, such as
token ids, may also choose a mask or a position beside it; these stay as they are for the item.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.positions.lineage import Lineage
from xplain.core.query import Peek, Score, Sweep, View
from xplain.core.rules import Rules

__all__ = ["INPUT", "Path", "layer_values", "passes_through"]

INPUT = "input"
_SHOWN = 3
"""Layers that a message proposes."""


@dataclass(frozen=True, eq=False)
class Path:
    """The two ends of straight paths, and the sweeps of points between them.

    Args:
        view: The items and the target.
        at: The layer whose values the ends are, or ``input``.
        start: Where paths start, ``[1 or N, *shape]``.
        end: Where they end, ``[N, *shape]``.
    """

    view: View
    at: str
    start: Any
    end: Any

    @property
    def away(self) -> Any:
        """From start to end."""
        return self.end - self.start

    @property
    def layout(self) -> Layout:
        """How the axes of the ends are named."""
        return self.view.layout if self.at == INPUT else self.view.layout_of(self.at, self.end)

    def of(self, items: Array) -> Path:
        """These items alone."""
        start = self.start if len(self.start) == 1 else self.start[items]
        return Path(self.view.of(items), self.at, start, self.end[items])

    def sweep(self, points: Any) -> Sweep:
        """The mean gradient over points ``[N, S, *shape]``."""
        items = None if self.at == INPUT else self.view.x
        return Sweep(points, self.view.target, Rules(), (self.at,), at=self.at, items=items)

    def bottom(self) -> Score:
        """The score at the start of each path."""
        wide = np.ascontiguousarray(np.broadcast_to(self.start, self.end.shape))
        if self.at == INPUT:
            return Score(wide, Untouched(), self.view.target)
        return Score(wide, Untouched(), self.view.target, at=self.at, items=self.view.x)


def layer_values(view: View, layer: str, items: Any) -> Generator[Peek, Any, Any]:
    """A layer's values for items ``[B, *item]``; the items themselves for ``input``."""
    if layer == INPUT:
        return items
    if items is not view.x:
        items = np.broadcast_to(items, (len(items), *view.x.shape[1:]))
        if _whole(view):
            if not np.array_equal(np.rint(items), items):
                raise UsageError(
                    "The items are whole numbers, such as token ids, and so must be their baseline; give one of them, "
                    "such as ",
                    option("baseline", 0),
                    ".",
                )
            items = items.astype(view.x.dtype)
    return (yield Peek(items, (layer,)))[layer]


def passes_through(view: View, layer: str, held: bool = False) -> tuple[Caveat, ...]:
    """Whether the score can be taken as a function of a layer's values.

    Args:
        view: The items, the target and what is known of the model.
        layer: The layer, or ``input``.
        held: What whole numbers choose beside the layer may stay as it is for the item.

    Returns:
        A warning where that is so.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer does not lie between the item and the target, or not everything passes it.
    """
    if layer == INPUT:
        return ()
    view.outline.layer(layer)  # says which there are
    lineage = view.lineage
    if lineage is None:
        return ()
    name, aims = lineage.tensor(layer), view.aims(lineage)
    before = frozenset[str]().union(*(lineage.ancestors(aim) for aim in aims))
    if not lineage.descends(layer):
        raise UsageError(
            f"Layer {layer!r} does not depend on the explained input {view.outline.input!r}. {_through(view, lineage)}"
        )
    if name not in before:
        raise UsageError(f"Layer {layer!r} does not lead to target {view.target.name!r}. {_through(view, lineage)}")
    if lineage.folded(layer):
        raise UsageError(
            f"Layer {layer!r} has several rows for each item, folded into the batch, so that its values cannot be "
            f"given item by item. {_through(view, lineage)}"
        )
    if not lineage.passed_by(layer, aims):
        return ()
    if not (held and _whole(view)):
        raise UsageError(
            f"Target {view.target.name!r} depends on the input also past layer {layer!r}, so it is no function of that "
            f"layer's values. {_through(view, lineage)}"
        )
    return (
        Caveat(
            f"The model reads the input also past layer {layer!r}, as for a mask, positions or a residual. That is "
            "held as it is for the item, and the baseline changes the layer alone.",
            "baseline",
        ),
    )


def _whole(view: View) -> bool:
    return isinstance(view.x, np.ndarray) and view.x.dtype.kind in "iu"


def _through(view: View, lineage: Lineage) -> str:
    """The layers that everything passes, as far as there are some."""
    between, aims = view.between, view.aims(lineage)
    fit = [
        spec.name
        for spec in view.outline.layers
        if (name := lineage.tensor(spec.name)) in between
        and name not in aims
        and not lineage.folded(spec.name)
        and not lineage.passed_by(spec.name, aims)
    ]
    near = [*fit[:1], *fit[1:][-_SHOWN + 1 :]]
    return f"Name a layer that everything passes: {', '.join(near)}." if fit else "No layer is passed by everything."
