"""A model of token ids and of what says which of them count, as one of the ids alone.

    input_ids [N, T] -> Equal(pad) -> Not -> attention_mask     0 where an id is the padding's
                     -> Shape -> Expand(0) -> token_type_ids    one text, so one type

What a caller would have to feed beside the ids follows from them, so it is computed in the graph: one input is left,
and all that is known of models with one input (gradients, layers, compiling) holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from xplain.core.errors import ModelError
from xplain.graph.intake.load import Loaded
from xplain.graph.nodes import opset_of

__all__ = ["ids_alone"]

_OWN = "xplain/tokens"
_OLDEST = 11
"""The first opset whose ``Equal`` is defined for whole numbers in every runtime that reads the file."""


def ids_alone(loaded: Loaded, roles: Mapping[str, str], pad: int) -> None:
    """Compute from the ids what a model is fed beside them, in place.

    Args:
        loaded: The model.
        roles: What each input is: ``ids``, ``mask`` (1 where an id counts) or ``types`` (0 for the first text).
        pad: The id of the padding, which does not count.

    Raises:
        ModelError: an opset that is too old.
    """
    graph = loaded.model.graph
    kinds = {entry.name: entry.type.tensor_type.elem_type for entry in graph.input}
    ids = next(name for name, role in roles.items() if role == "ids")
    beside = [entry for entry in graph.input if roles.get(entry.name) in ("mask", "types")]
    if beside and opset_of(loaded.model) < _OLDEST:
        raise ModelError(
            f"{loaded.source} uses opset {opset_of(loaded.model)}; what counts among its token ids can be computed "
            f"from opset {_OLDEST} on. Export it anew."
        )
    nodes: list[NodeProto] = []
    for entry in beside:
        own, name = f"{_OWN}/{entry.name}", entry.name
        masks = roles[name] == "mask"
        number = np.array(pad if masks else 0, helper.tensor_dtype_to_np_dtype(kinds[ids if masks else name]))
        graph.initializer.append(numpy_helper.from_array(number, f"{own}/number"))
        if masks:
            nodes.append(helper.make_node("Equal", [ids, f"{own}/number"], [f"{own}/padding"]))
            nodes.append(helper.make_node("Not", [f"{own}/padding"], [f"{own}/whole"]))
            nodes.append(helper.make_node("Cast", [f"{own}/whole"], [name], to=kinds[name]))
        else:  # by the shape, for the types are the same whatever the ids are
            nodes.append(helper.make_node("Shape", [ids], [f"{own}/shape"]))
            nodes.append(helper.make_node("Expand", [f"{own}/number", f"{own}/shape"], [name]))
        graph.input.remove(entry)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
