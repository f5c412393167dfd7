"""Range checks of whole numbers in attributes, before C++ computes with them: axes, counts, types and the rest.

ONNX's schemas say the type of an attribute and no range, and both onnx's shape inference and ONNX Runtime compute with
what they are given: a block size of 2^62 overflows to 0 and divides, an axis of 2^63 - 1 is read from beyond a shape.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx import AttributeProto, NodeProto, TensorProto

from xplain.core.errors import ModelError
from xplain.graph.visit import Place

__all__ = ["check_attributes"]

_RANK = 64
_INT32 = 2**31 - 1
_COUNT = 2**20

_AXES = frozenset(
    {"axis", "axes", "axis_w", "batch_axis", "time_axis", "perm", "batch_dims", "quantize_axis", "gather_axis"}
)
_COUNTS = frozenset(
    {
        "blocksize", "block_size", "group", "num_groups", "groups", "num_heads", "kv_num_heads", "q_num_heads",
        "hidden_size", "head_size", "num_outputs", "kernel_shape", "strides", "dilations", "output_height",
        "output_width", "channels", "conv_index_block", "num_splits", "bits", "max_length",
    }
)  # fmt: skip
"""What is at least 1: the runtime divides by it, or makes so many."""
_AMOUNTS = frozenset({"pads", "output_padding", "sampling_ratio", "qk_matmul_output_mode", "max_gram_length"})
"""What is small, and may be 0 or a little below."""
_TYPES = frozenset({"to", "dtype", "output_dtype", "stash_type", "softmax_precision", "qk_matmul_precision"})
_DATA = frozenset({"value_int", "value_ints", "starts", "ends"})
"""What is data, or may be the largest number there is, which means \"to the end\"."""
_INTS = (AttributeProto.INT, AttributeProto.INTS)
_KNOWN_TYPES = frozenset(TensorProto.DataType.values())


def check_attributes(places: Iterable[Place]) -> None:
    """Check all whole numbers in attributes.

    Args:
        places: All nodes of a model, and its attributes, wherever they stand; others are passed over.

    Raises:
        ModelError: one is out of any sensible range, which is a damaged file, or one made to do harm.
    """
    for place in places:
        kind = place.message.DESCRIPTOR.name
        if kind == "AttributeProto" and place.message.ref_attr_name and place.node and place.path[0] != "functions":
            raise ModelError(
                f"Attribute {place.message.name!r} of node {place.node.name!r} ({place.node.op_type}) takes its value "
                "from a function's call, and is in no function. The file is damaged; export it again."
            )
        node = place.message
        if kind != "NodeProto" or node.domain == "ai.onnx.ml":
            continue
        for attribute in node.attribute:
            if attribute.type in _INTS and attribute.name not in _DATA:
                _check(node, attribute)
        if node.op_type == "Split":
            parts = next((a.i for a in node.attribute if a.name == "num_outputs"), len(node.output))
            if parts != len(node.output):
                raise _refused(node, "num_outputs", parts, f"{len(node.output)}, the number of its outputs")


def _check(node: NodeProto, attribute: AttributeProto) -> None:
    name = attribute.name
    lowest, highest = -_INT32 - 1, _INT32
    if name in _AXES:
        lowest, highest = -_RANK, _RANK
    elif name in _COUNTS:
        lowest, highest = 1, _COUNT
    elif name in _AMOUNTS:
        lowest, highest = -_COUNT, _COUNT
    elif name in _TYPES and attribute.i not in _KNOWN_TYPES:
        raise _refused(node, name, attribute.i, "the number of an element type")
    for value in (attribute.i,) if attribute.type == AttributeProto.INT else attribute.ints:
        if not lowest <= value <= highest:
            raise _refused(node, name, value, f"{lowest} to {highest}")


def _refused(node: NodeProto, name: str, value: int, accepted: str) -> ModelError:
    called = node.name or (node.output[0] if node.output else "")
    return ModelError(
        f"Node {called!r} ({node.op_type}) has {name} = {value}; accepted: {accepted}. The file is damaged, or made to "
        "do harm; export it again."
    )
