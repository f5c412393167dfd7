"""Which tensors are affine functions of a graph's inputs: only linear operators lie between them."""

from __future__ import annotations

from collections.abc import Collection

from onnx import GraphProto, NodeProto, TensorProto

from xplain.graph.dtypes import FLOATS
from xplain.graph.nodes import attributes_of
from xplain.graph.operators import facts_of

__all__ = ["affine_tensors"]


def affine_tensors(graph: GraphProto, constants: Collection[str]) -> frozenset[str]:
    """Names of the tensors that depend on the graph's inputs by an affine function.

    An operator that is not known to be linear, or multiplies two tensors that both depend on the inputs, makes its
    outputs, and all that is made of them, not affine: nothing is called affine that is not.

    Args:
        graph: Nodes in order.
        constants: Tensors that are known not to depend on the inputs.
    """
    stored = {tensor.name for tensor in graph.initializer}
    affine = {entry.name: True for entry in graph.input if entry.name not in stored}
    for node in graph.node:
        live = [k for k, name in enumerate(node.input) if name in affine and name not in constants]
        inner = any(attribute.HasField("g") for attribute in node.attribute)  # may read any tensor from inside
        if not live and not inner:
            continue
        kept = not inner and all(affine[node.input[k]] for k in live) and _linear(node, live)
        for k, name in enumerate(node.output):
            # a classifier's first output is the class, not a score; a dropout's second its mask
            affine[name] = kept and (
                k == 1 if node.op_type == "LinearClassifier" else k == 0 or node.op_type == "Split"
            )
    return frozenset(name for name, yes in affine.items() if yes and name)


def _linear(node: NodeProto, live: list[int]) -> bool:
    """Whether the operator is affine in its ``live`` inputs."""
    linear = facts_of(node).linear
    given = attributes_of(node)
    if linear == "all":
        return True
    if linear == "either":
        return not {0, 1} <= set(live)
    return (
        linear == "first"
        and live == [0]
        and not given.get("training_mode", 0)
        and given.get("to", TensorProto.FLOAT) in FLOATS
        and given.get("post_transform", "NONE") == "NONE"
    )
