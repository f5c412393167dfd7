"""Concept relevance propagation: what of the relevance goes through some channels of a layer, on the input."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.arrays import collapse
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, RuleOf, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.core.target import inner
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.relevance.lrp import lost, table_of

__all__ = ["crp"]


class _Units:
    """Numbers of channels, parted by commas."""

    accepts = "numbers of channels, parted by commas: 12,40"
    invalid: tuple[Any, ...] = (3.5, True, "a")

    def read(self, value: Any) -> tuple[int, ...]:
        if isinstance(value, str):
            value = [int(part) for part in value.split(",") if part.strip()]
        if isinstance(value, (bool, float)) or not isinstance(value, (list, tuple, int, np.integer)):
            raise ValueError
        given = [value] if isinstance(value, (int, np.integer)) else list(value)
        if not all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) and one >= 0 for one in given):
            raise ValueError
        return tuple(dict.fromkeys(int(one) for one in given))


Units: TypeAlias = Annotated[Any, _Units()]


@method(
    "crp",
    needs=Sweep,
    paper=Paper("Achtibat 2023", "doi:10.1038/s42256-023-00711-8"),
    unit="share of the {score} through the channels",
    aliases=("concept-relevance-propagation",),
    traceable=False,
)
def crp(
    view: View,
    *,
    layer: str = "auto",
    concepts: Units = (),
    most: Positive = 1,
    rule: Annotated[str, RuleOf("lrp")] = "epsilon-plus-flat",
    channels: bool = False,
) -> Flow:
    """Layer-wise relevance propagation through some channels of a layer alone: where the item shows these concepts.

    Relevance comes down to the layer as in ``lrp``; there that of all other channels is set to zero,
    ``R'[c] = R[c] if c is a concept else 0``, and what is left goes on to the input by the same rules. The maps of all
    channels add up to the map of ``lrp``, as far as everything passes the layer.

    Args:
        layer: The layer; ``auto`` takes the one that class activation maps read, or the last one before it where that
            one's channels are the classes themselves.
        concepts: Its channels, or units of a dense layer; left out, the ``most`` most relevant ones of each item.
        most: How many of the most relevant channels are taken.
        rule: As in ``lrp``; a table's own options follow its name: ``gamma:gamma=0.5``.
        channels: Keep the input's channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed. ``each`` holds ``concepts``, the channels that were taken, most relevant first;
        ``relevance of concepts``, what came down to each; ``relevance``, what of that arrived at the input; and
        ``relevance of the layer``, what came down to all channels.

    Cost:
        2 sweeps per item.

    Differs from the paper:
        A channel's examples are not searched for here: ``xplain see patches`` shows what excites it.

    Raises:
        UnknownName: no such layer.
        UsageError: the layer has no channels, or not so many.

    Source:
        Achtibat et al., From Attribution Maps to Human-Understandable Explanations through Concept Relevance
        Propagation, Nature Machine Intelligence 2023.
    """
    if layer != "auto":
        view.outline.layer(layer)  # says which there are
    name = _inner(view) if layer == "auto" else layer
    rules = table_of(view, rule, {})
    answer = yield Sweep(view.x[:, None], view.target, rules, (name,))
    value, relevance = (np.asarray(one, dtype=np.float64) for one in answer[name])
    axis = _channel_axis(view, name, relevance)
    count = relevance.shape[axis]
    if max(concepts, default=-1) >= count:
        raise UsageError(option="concepts", got=max(concepts), accepted=f"channels of {name!r}, 0 to {count - 1}")
    of_each = relevance.sum(axis=tuple(k for k in range(1, relevance.ndim) if k != axis))  # [N, C]
    taken = [concepts or tuple(np.argsort(-one, kind="stable")[:most].tolist()) for one in of_each]
    kept = np.zeros(of_each.shape)
    for row, some in zip(kept, taken, strict=True):
        row[list(some)] = 1.0
    kept = kept.reshape([len(kept) if k == 0 else count if k == axis else 1 for k in range(relevance.ndim)])
    # a sweep of relevance starts with seed times value, so the seed is relevance by value; none comes to a value of 0
    seed = np.divide(relevance * kept, value, out=np.zeros_like(relevance), where=value != 0)
    lower = yield Sweep(view.x[:, None], inner(name, seed, per_item=True), rules)
    found = np.asarray(lower["input"][1])
    arrived = found.reshape(len(found), -1).sum(axis=1, dtype=np.float64)
    told = {
        "concepts": [tuple(int(c) for c in some) for some in taken],
        "relevance of concepts": [[float(one[c]) for c in some] for one, some in zip(of_each, taken, strict=True)],
        "relevance": arrived,
        "relevance of the layer": of_each.sum(axis=1),
    }
    which = f"channel{'s' if len(concepts) > 1 else ''} {', '.join(map(str, concepts))}"
    began = (of_each * kept.reshape(of_each.shape)).sum(axis=1)
    return Reading(
        found if channels else collapse(found, view.layout),
        notes={"layer": name, "rule": rule},
        each=told,
        unit=f"share of the {{score}} through {which}" if concepts else None,
        warnings=lost(arrived, began, "input", "relevance of these channels"),
    )


def _inner(view: View) -> str:
    """The last layer with positions whose channels are not the classes: a map per class has no concepts to tell."""
    last = map_layer(view, "auto").name
    classes, layers = view.outline.scores.classes, [spec.name for spec in view.outline.layers]
    for name in reversed(layers[: layers.index(last) + 1]):
        try:
            found = map_layer(view, name).grid
        except UsageError:
            continue  # it has no positions, or lies beside the way
        if found.shape[found.channel] != classes:
            return name
    return last


def _channel_axis(view: View, name: str, values: Array) -> int:
    """The axis of a layer's channels; of units in a dense layer."""
    if values.ndim == 2:
        return 1
    axis = view.layout_of(name, values).channel_axis
    if axis is None:
        raise UsageError(
            f"Layer {name!r} is {list(values.shape[1:])} per item, and which axis are its channels is not known. Give ",
            option("layer"),
            " another, such as a convolution.",
        )
    return axis
