"""Element types of tensors: which are real numbers, and what numpy calls them."""

from __future__ import annotations

from onnx import TensorProto, helper

__all__ = ["FLOAT", "FLOATS", "dtype_name"]

FLOAT = int(TensorProto.FLOAT)

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


def dtype_name(dtype: int) -> str:
    """The numpy name of an ONNX element type; ``"str"`` for text."""
    if dtype == TensorProto.STRING:
        return "str"
    return str(helper.tensor_dtype_to_np_dtype(dtype).name)
