"""A model evaluated once more inside the graph that is built: on other values, or with something behind operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from onnx import NodeProto

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.build.value import freed, same_size
from xplain.graph.naming import reads
from xplain.graph.ops.call import Forward

__all__ = ["Behind", "evaluated"]

Behind: TypeAlias = Callable[[NodeProto, str, Forward], Value | None]
"""A node of the model, one of its outputs, and the evaluation so far, to what takes its place, if anything."""


def evaluated(t: Tracer, forward: Forward, inputs: Mapping[str, Value], behind: Behind | None = None) -> Forward:
    """An evaluation once more; what does not depend on what is changed is shared with it.

    Args:
        t: The graph that is built.
        forward: The evaluation.
        inputs: Tensor name to the value that takes its place.
        behind: What takes the place of what a node makes.
    """
    names = {name: value.name for name, value in inputs.items()}
    # inference may lose the name of a free extent that passes through shape arithmetic; here it cannot have changed
    alike = all(value.shape == t.shapes.get(name) for name, value in inputs.items())
    sized = all(same_size(value.shape, t.shapes.get(name)) for name, value in inputs.items())
    nodes: list[NodeProto] = []
    for node in forward.nodes:
        if any(name in names for name in reads(node)) and not any(out in inputs for out in node.output):
            fresh = {name: t.fresh(name) for name in node.output if name}
            names.update(fresh)
            copy = t.rename(node, names, fresh)
            t.add(copy)
            for old, new in fresh.items():
                if old in t.shapes and (alike or (sized and new not in t.shapes)):
                    t.shapes[new] = t.shapes[old] if alike else freed(t.shapes[old])
                if old in t.dtypes:
                    t.dtypes[new] = t.dtypes[old]
            nodes.append(copy)
        else:
            nodes.append(node)
        for name in () if behind is None else node.output:
            before = len(t.emitted)
            placed = behind(node, name, Forward(nodes, names)) if behind is not None and name else None
            if placed is not None:
                names[name] = placed.name
                nodes += t.emitted[before:]
    return Forward(nodes, names)
