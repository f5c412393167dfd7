"""Whether a model puts the items of a batch together, so that the answer for one follows from the others beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import NodeProto

from xplain.core.positions.axes import Axis
from xplain.graph.intake.load import Loaded
from xplain.graph.outline.follow import follow
from xplain.graph.stated import axes_across

__all__ = ["puts_items_together"]


def puts_items_together(loaded: Loaded, scores: str, item: Sequence[int]) -> str:
    """The first node on the way to the scores that goes over the axis of the items; empty where none is seen to.

    Means, sums, maxima, cumulated sums, softmaxes and choices along that axis are seen. Graphs inside nodes are not
    looked into. Axes are followed only where a node may go over the first one.
    """
    nodes = list(_over_the_first(loaded))
    if not nodes:
        return ""
    lineage = follow(loaded, item)
    for node in nodes:
        axes = lineage.axes.get(node.input[0])
        if axes and _items(axes[0]) and scores in lineage.behind(node.output[0]):
            return f"{node.op_type} (node {node.name or node.output[0]!r})"
    return ""


def _over_the_first(loaded: Loaded) -> Iterator[NodeProto]:
    for node in loaded.model.graph.node:
        shape = loaded.shape(node.input[0]) if node.input else None
        if (
            shape
            and node.output[0] not in loaded.known.constants
            and 0 in axes_across(node, len(shape), loaded.content)
        ):
            yield node


def _items(axis: Axis) -> bool:
    """Whether an axis is that of the items, alone or with others folded into it."""
    return any(part.base.kind == "items" for part in axis)
