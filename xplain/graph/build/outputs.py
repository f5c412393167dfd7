"""Tensors of a graph's inside as outputs of it."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, TensorProto, helper

from xplain.core.errors import UsageError

__all__ = ["also_outputs"]


def also_outputs(model: ModelProto, tensors: Mapping[str, str]) -> dict[str, str]:
    """Let a model, changed in place, give out more of its tensors, float32.

    Args:
        model: The model.
        tensors: What each is for, and its name.

    Returns:
        What each is for, and the name of its output: its own.

    Raises:
        UsageError: there is no tensor of that name.
    """
    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    given = {one.name for one in graph.output}
    for name in dict.fromkeys(tensors.values()):
        if name not in made:
            raise UsageError(
                f"The compiled file has no tensor {name!r}: it was rewritten on the way. Name another layer; "
                "'xplain inspect --layers' lists them."
            )
        if name not in given:
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return dict(tensors)
