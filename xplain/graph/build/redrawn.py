"""A model whose weights are drawn anew: the same graph, so whatever does not change did not come from its learning.

What a layer has learnt is a constant that one of its operators reads beside the data, directly or through operators
that only rewrite it (a transpose, a cast, a dequantiser). It is found by going backwards from these operators, and
replaced where it is stored, so that whoever reads the constant reads the new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from xplain.core.edits import Array
from xplain.graph.operators import facts_of

__all__ = ["Draw", "redrawn", "weighted"]

Draw: TypeAlias = Literal["shuffle", "normal"]
"""How numbers are drawn: those of the tensor in another order, or normal ones of its mean and spread."""

def weighted(model: ModelProto) -> dict[str, tuple[str, ...]]:
    """The layers that hold weights, in order of evaluation: first output of the operator to the constants it reads.

    The gains and statistics of normalisations are left: they keep the scale of what flows, and a net without them only
    says that numbers exploded.
    """
    stored = {tensor.name for tensor in model.graph.initializer if int(np.prod(tensor.dims)) > 1}
    makers = {name: node for node in model.graph.node for name in node.output}

    def source(name: str) -> str | None:
        for _ in range(8):
            if name in stored:
                return name
            node = makers.get(name)
            if node is None or not _rewrites(node):
                return None
            name = node.input[0]
        return None

    found = {}
    for node in model.graph.node:
        places = [k for k in facts_of(node).learnt if k < len(node.input) and node.input[k]]
        tensors = [source(node.input[k]) for k in places]
        own = tuple(dict.fromkeys(name for name in tensors if name is not None))
        if own:
            found[node.output[0]] = own
    return found


def redrawn(
    model: ModelProto, outside: Mapping[str, Array], tensors: Sequence[str], seed: int, draw: Draw
) -> tuple[ModelProto, dict[str, Array]]:
    """The model, and what lies outside it, with these constants drawn anew; nothing of the given ones is changed.

    A constant's draw depends on its name and the seed alone: a layer is drawn alike whichever others are, and two
    constants of one shape never get the same numbers. Whole numbers are always put in another order, so that they
    keep to their quantisation.
    """
    wanted, made = set(tensors), ModelProto()
    made.CopyFrom(model)
    new = {name: array for name, array in outside.items() if name not in wanted}
    for name in wanted & outside.keys():
        new[name] = _drawn(outside[name], name, seed, draw)
    for tensor in made.graph.initializer:
        if tensor.name in wanted and tensor.name not in outside:
            values = _drawn(numpy_helper.to_array(tensor), tensor.name, seed, draw)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return made, new


def _rewrites(node: NodeProto) -> bool:
    """Whether a node holds the numbers of its first input, in another order, shape or type."""
    known = facts_of(node)
    return known.repacks or known.rounds or known.steps == (0, 1)


def _drawn(values: Array, name: str, seed: int, draw: Draw) -> Array:
    key = int.from_bytes(hashlib.sha256(f"{seed}/weights/{name}".encode()).digest()[:16], "little")
    rng = np.random.Generator(np.random.Philox(key=key))
    if draw == "normal" and values.dtype.kind == "f":
        wide = values.astype(np.float64)
        return np.ascontiguousarray(rng.normal(wide.mean(), wide.std(), values.shape).astype(values.dtype))
    return np.ascontiguousarray(rng.permutation(values.ravel()).reshape(values.shape))
