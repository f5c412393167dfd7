"""Before rows are picked: a file that ends in NonMaxSuppression, or in ArgMax, holds what they pick from.

What is picked has another number of rows for every item, or is whole numbers: neither has a score for each row of a
batch, nor a gradient. What it was picked from has both.
"""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from xplain.core.outline import ScoreSpec
from xplain.core.targets.boxes import Boxes
from xplain.core.targets.parts import Part
from xplain.graph.dtypes import FLOATS
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads
from xplain.graph.nodes import attribute

__all__ = ["detects_of", "picked_from"]

_MAPS = 4
"""Axes of a tensor of maps."""


def _picker(loaded: Loaded) -> NodeProto | None:
    """The NonMaxSuppression, where there is one."""
    return next((node for node in loaded.model.graph.node if node.op_type == "NonMaxSuppression"), None)


def picked_from(loaded: Loaded, makers: Mapping[str, NodeProto]) -> str:
    """The tensor that all outputs of a file are picked from; empty where one holds scores itself."""
    graph = loaded.model.graph
    outputs = [entry for entry in graph.output if entry.name in makers]
    floats = [entry for entry in outputs if entry.type.tensor_type.elem_type in FLOATS]
    node = _picker(loaded)
    if node is not None and all(node.output[0] in _before(makers, entry.name) for entry in floats or outputs):
        return str(node.input[1])
    if floats:
        return ""
    for entry in outputs:
        for name in (entry.name, *_before(makers, entry.name)):
            made = makers.get(name)
            if (
                made is not None
                and made.op_type == "ArgMax"
                and len(loaded.known.shapes.get(made.input[0]) or ()) == _MAPS
            ):
                return str(made.input[0])
    return ""


def _before(makers: Mapping[str, NodeProto], name: str) -> dict[str, None]:
    """A tensor and all that it is made of, the nearest first."""
    found, waiting = {name: None}, [name]
    while waiting:
        node = makers.get(waiting.pop(0))
        for source in reads(node) if node is not None else ():
            if source and source not in found:
                found[source] = None
                waiting.append(source)
    return found


def detects_of(loaded: Loaded, spec: ScoreSpec) -> Boxes | None:
    """The rows that NonMaxSuppression picks from; None for a file without.

    Args:
        loaded: The model.
        spec: Its scores, which may be the logits of what is picked from.
    """
    node = _picker(loaded)
    if node is None:
        return None
    boxes, scores = str(node.input[0]), str(node.input[1])
    shapes = loaded.known.shapes
    behind = spec.tensor != scores and spec.link == "sigmoid" and shapes.get(spec.tensor) == shapes.get(scores)
    centre = int(attribute(node, "center_point_box", 0))
    return Boxes(
        Part(boxes),
        Part(spec.tensor if behind else scores, (), True),
        format="cxcywh" if centre else "xyxy",
        link="sigmoid" if behind else "none",
        why=f"NonMaxSuppression picks from {boxes!r} and {scores!r}",
    )
