"""Which method explains, where nobody names one: by what the model answers, what it is made of, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Sweep, View
from xplain.core.target import label
from xplain.core.trees import Ensemble
from xplain.explainers.cam.layers import map_layer
from xplain.session.fitting import called

__all__ = ["AUTO", "Choice", "choose", "entry_of"]

AUTO = "auto"
"""What stands for no method in particular."""

_EXACT = 8
"""Columns whose coalitions are all asked: 256."""
_PRECISION = 0.1


@dataclass(frozen=True, slots=True)
class Choice:
    """A method that was chosen.

    Args:
        method: Its name.
        because: Why it, in half a sentence.
        options: Options that come with the choice; those that a person gives go before them.
    """

    method: str
    because: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """One line for a person."""
        told = "".join(f", {name} {value}" for name, value in self.options.items())
        return f"{self.method}{told}: {self.because}. Name another method to choose otherwise."


def choose(model: Model, given: Mapping[str, Any], x: Array | None = None, layout: Any = None) -> Choice:
    """The method for a model, among those that take the options that were given.

    Args:
        model: The loaded model, as items are asked of it.
        given: Options of the method, by name.
        x: Items, where they were read already.
        layout: How their axes are named.
    """
    wanted = {name.replace("-", "_") for name in given}
    found = [one for one in _fitting(model, x, layout) if called(one.method).needs <= model.answers]
    return next((one for one in found if wanted <= set(called(one.method).options)), found[0])


def _fitting(model: Model, x: Array | None, layout: Any) -> Iterator[Choice]:
    """Methods for a model, the best first; at the end those that are chosen for their options alone."""
    abilities, outline = abilities_of(model), model.outline
    rows = layout.axes == "NS" if isinstance(layout, Layout) else abilities.read is not None
    codes = x is not None and x.dtype.kind in "iu"
    if Ensemble in model.answers and rows:
        yield Choice("tree-shap", "the model is a sum of trees, whose Shapley values are exact and cost nothing")
    swept = Sweep in model.answers and not rows and not codes
    if outline.joined and Sweep in model.answers:
        yield Choice("integrated-gradients", "the model has a graph, and one path goes over all inputs at once")
    if swept:
        item = tuple(x.shape[1:]) if x is not None else None if outline.layout is None else outline.layout.item
        view = None if item is None else _view(model, item, layout)
        if view is not None and _attends(view):
            yield Choice("lrp", "the model attends, and relevance goes through its attention", {"rule": "attn-lrp"})
        if view is None or _has_map(view):
            yield Choice("grad-cam", "the model has a graph and a layer with positions, one sweep sees the class")
        yield Choice("integrated-gradients", "the model has a graph, and no layer of it has positions")
    if rows and x is not None and x.ndim == 2 and x.shape[1] <= _EXACT:
        yield Choice("exact-shapley", f"{x.shape[1]} columns have few enough coalitions to ask all")
    if not swept:
        what = "rows and texts are" if rows or codes else "the model only answers scores, so it is"
        yield Choice("kernel-shap", f"{what} asked about coalitions of features", {"precision": _PRECISION})
    because = "it has the options that were given"
    yield from (Choice(name, because) for name in ("occlusion", "kernel-shap", "rise", "lrp"))


def _view(model: Model, item: tuple[int, ...], layout: Any) -> View | None:
    """One item of zeros, which is never stored, to see what lies between it and the scores."""
    blank = np.broadcast_to(np.zeros((), np.float32), (1, *item))
    view = View(blank, label(0), model.outline, read=layout)
    return view if view.lineage is not None else None


def _attends(view: View) -> bool:
    lineage = view.lineage
    return lineage is not None and bool(view.between & lineage.mixing or view.outline.attended)


def _has_map(view: View) -> bool:
    try:
        map_layer(view, "auto")
    except UsageError:
        return False
    return True


def entry_of(choice: Choice, given: Mapping[str, Any]) -> tuple[Method, dict[str, Any]]:
    """The method and its options, those that were given before those that come with the choice."""
    return called(choice.method), {**choice.options, **given}
