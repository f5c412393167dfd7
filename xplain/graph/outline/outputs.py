"""How the outputs of a model lie to one another and to the items: which of them another is made of."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads
from xplain.graph.operators import facts_of

__all__ = ["made_of", "read_without_weights", "turned"]


def made_of(makers: Mapping[str, NodeProto], name: str) -> dict[str, bool]:
    """All tensors that a tensor is made of, and whether by way of learned weights.

    What weights are laid on are features of it; without them it is a summary, such as the largest of the scores.
    """
    found, waiting = dict[str, bool](), [(name, False)]
    while waiting:
        at, weighed = waiting.pop()
        node = makers.get(at)
        weighed = weighed or (node is not None and facts_of(node).weighted)
        for source in reads(node) if node is not None else ():
            if source and (source not in found or (weighed and not found[source])):
                found[source] = weighed
                waiting.append((source, weighed))
    return found


def read_without_weights(makers: Mapping[str, NodeProto], name: str) -> frozenset[str]:
    """A tensor, and what it is made of without learned weights: normalised features tell what the features tell."""
    found, waiting = set[str](), [name]
    while waiting:
        at = waiting.pop()
        if at and at not in found:
            found.add(at)
            node = makers.get(at)
            waiting += () if node is None or facts_of(node).weighted else reads(node)
    return frozenset(found)


def turned(loaded: Loaded, name: str) -> bool:
    """Whether an output has the items on another axis than the first, as the name of that axis says."""
    entries = {one.name: [dim.dim_param for dim in one.type.tensor_type.shape.dim] for one in loaded.model.graph.output}
    items = [dim.dim_param for dim in loaded.model.graph.input[0].type.tensor_type.shape.dim][:1]
    axes = entries.get(name, [])
    return any(items) and axes[:1] != items and items[0] in axes[1:]
