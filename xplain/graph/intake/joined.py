"""Several inputs as one: a graph that takes them side by side in a row, and cuts the row up itself.

    joint [N, P] -> Slice -> Reshape -> left [N, 3, H, W]
                 -> Slice -> Reshape -> right [N, 3, H, W]

So one set of players, one path and one sweep go over all of them, and nothing else has to know of several inputs. Whole
numbers that are looked up in a table, as token ids are, have no gradient and no half-way; in their place the row holds
what they become.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.segments import Segment
from xplain.graph.dtypes import FLOATS
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads
from xplain.graph.nodes import opset_of

__all__ = ["JOINT", "joined"]

JOINT = "joint"
"""The one input of the graph that is made."""

_OLDEST = 13


def joined(loaded: Loaded, names: Sequence[str], sizes: Mapping[str, Sequence[int]]) -> tuple[Segment, ...]:
    """Let a model take these inputs side by side, in place; what its row then holds.

    Args:
        loaded: The model.
        names: The inputs that are explained together; others stay as they are.
        sizes: Shapes of items, with or without the batch axis, of inputs whose size is free.

    Raises:
        UnknownName: no such input.
        UsageError: an input of text, of free size, or of whole numbers that are more than looked up.
        ModelError: an opset that is too old, or an input that is called as the row is.
    """
    source, opset, graph = loaded.source, opset_of(loaded.model), loaded.model.graph
    inputs = {entry.name: entry for entry in graph.input}
    if opset < _OLDEST:
        raise ModelError(f"{source} uses opset {opset}; inputs are joined from {_OLDEST} on. Export it anew.")
    if JOINT in inputs:
        raise ModelError(f"{source} has an input {JOINT!r} itself. Rename it.")
    segments: list[Segment] = []
    nodes: list[NodeProto] = []
    start, stated = 0, 0  # the row's width so far, and the batch that the file is made for, 0 for any
    for name in (*names, *sizes):
        if name not in inputs:
            raise unknown(f"input of {source}", name, sorted(inputs))
    for name in names:
        kind = inputs[name].type.tensor_type
        extents = _sized(kind.shape, sizes.get(name), f"Input {name!r} of {source}")
        stated = max(stated, kind.shape.dim[0].dim_value)
        target, shape, table = name, extents, None
        if kind.elem_type not in FLOATS:
            lookup = _lookup(loaded, name)
            table = _table(loaded, lookup)
            target, shape = lookup.output[0], (*extents, *table.shape[1:])
            graph.node.remove(lookup)
        segment = Segment(name, shape, start, table, extents)
        elem = TensorProto.FLOAT if table is not None else kind.elem_type
        nodes += _cut(graph, segment, target, elem)
        segments.append(segment)
        start = segment.stop
        graph.input.remove(inputs[name])
    batch = helper.make_tensor_value_info(JOINT, TensorProto.FLOAT, [stated or "N", start])
    rest = list(graph.input)
    del graph.input[:]
    graph.input.extend([batch, *rest])
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
    loaded.known.shapes[JOINT], loaded.known.dtypes[JOINT] = (stated or 1, start), TensorProto.FLOAT
    return tuple(segments)


def _sized(shape: Any, size: Sequence[int] | None, what: str) -> tuple[int, ...]:
    """The shape of an item, where it is fixed or stated."""
    known = [int(d.dim_value) for d in shape.dim[1:]]
    found = known if size is None else [int(n) for n in size][-len(known) or None :]
    if not known or 0 in found:
        told = ", ".join(str(n) if n else "?" for n in known)
        raise UsageError(
            f"{what} is [N, {told}], of no fixed size behind the batch, which joining needs.",
            advice=("Show what items are like: ", option("example", python="{name: array}"), "."),
        )
    if len(found) != len(known) or any(has not in (0, gets) for has, gets in zip(known, found, strict=True)):
        raise UsageError(f"{what} takes items of {[n or '?' for n in known]}; the example is {found}.")
    return tuple(found)


def _cut(graph: Any, segment: Segment, target: str, elem: int) -> list[NodeProto]:
    """The nodes that take an input out of the row."""
    own = f"{JOINT}/{segment.name}"
    constants = {
        "start": np.array([segment.start]), "stop": np.array([segment.stop]), "axis": np.array([1]),
        "shape": np.array([-1, *segment.shape]),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(value, f"{own}/{name}") for name, value in constants.items())
    row = helper.make_node("Slice", [JOINT, f"{own}/start", f"{own}/stop", f"{own}/axis"], [f"{own}/row"])
    whole = target if elem == TensorProto.FLOAT else f"{own}/whole"
    shaped = helper.make_node("Reshape", [f"{own}/row", f"{own}/shape"], [whole])
    if elem == TensorProto.FLOAT:
        return [row, shaped]
    return [row, shaped, helper.make_node("Cast", [whole], [target], to=elem)]


def _lookup(loaded: Loaded, name: str) -> NodeProto:
    """The one node that whole numbers go into, which looks them up."""
    readers: list[NodeProto] = [node for node in loaded.model.graph.node if name in reads(node)]
    if len(readers) == 1 and readers[0].op_type == "Gather" and list(readers[0].input)[1] == name:
        return readers[0]
    found = ", ".join(sorted({node.op_type for node in readers})) or "nothing"
    raise UsageError(
        f"Input {name!r} of {loaded.source} holds whole numbers that go into {found}, not only into one table. Leave "
        "it out and fix its value instead."
    )


def _table(loaded: Loaded, node: NodeProto) -> Array:
    """What numbers are looked up in; a large one was taken out of the graph."""
    if not any(a.name == "axis" and a.i for a in node.attribute):
        found = loaded.outside.get(node.input[0], loaded.content(node.input[0]))
        if found is not None:
            return np.asarray(found, dtype=np.float32)
    raise UsageError(f"{loaded.source} looks {node.input[1]!r} up in a table that it computes; fix its value instead.")
