"""Element types of tensors: which are real numbers, how far integers reach, and what numpy calls them."""

from __future__ import annotations

from onnx import TensorProto, helper

__all__ = ["FLOAT", "FLOATS", "RANGES", "dtype_name"]

FLOAT = int(TensorProto.FLOAT)

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})

RANGES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT4: (-8, 7),
}
"""The least and the largest integer of each type that quantisers write."""


def dtype_name(dtype: int) -> str:
    """The numpy name of an ONNX element type; ``"str"`` for text."""
    if dtype == TensorProto.STRING:
        return "str"
    return str(helper.tensor_dtype_to_np_dtype(dtype).name)
