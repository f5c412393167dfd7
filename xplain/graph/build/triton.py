"""A compiled file in the layout that Triton Inference Server loads: ``NAME/config.pbtxt`` and ``NAME/1/model.onnx``.

Triton has no explanations of its own. A compiled file needs none: it is an ordinary model with one more output, which
Triton's ONNX Runtime backend runs. Source: Triton's model_repository.md and model_configuration.md.
"""

from __future__ import annotations

import json
import re
from typing import Any

from onnx import TensorProto

from xplain.core.errors import UsageError

__all__ = ["configuration", "repository_name"]

_TYPES = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.UINT16: "UINT16",
    TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "STRING",
    TensorProto.BFLOAT16: "BF16",
}


def repository_name(stem: str) -> str:
    """A file's name as that of a model: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:100] or "model"


def configuration(name: str, made: Any) -> str:
    """The text of ``config.pbtxt`` for a compiled file.

    The batch axis is one of the dims, with ``max_batch_size: 0``: a file's own axes are then told as they are, also
    where the batch is fixed.

    Raises:
        UsageError: a tensor of a type that Triton does not have.
    """
    defaults = {tensor.name for tensor in made.graph.initializer}
    lines = [f"name: {_quoted(name)}", 'backend: "onnxruntime"', "max_batch_size: 0"]
    for kind, entries in (("input", made.graph.input), ("output", made.graph.output)):
        told = [_tensor(one, kind == "input" and one.name in defaults) for one in entries]
        lines += [f"{kind} [", ",\n".join(told), "]"]
    return "\n".join(lines) + "\n"


def _tensor(entry: Any, optional: bool) -> str:
    kind = entry.type.tensor_type.elem_type
    if kind not in _TYPES:
        raise UsageError(
            f"Triton has no type for {entry.name!r} ({TensorProto.DataType.Name(kind)}). Compile a file whose inputs "
            "and outputs are numbers or texts."
        )
    dims = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in entry.type.tensor_type.shape.dim]
    rest = ", optional: true" if optional else ""
    if not dims:  # a number alone: Triton wants at least one extent, and is told that the file has none
        dims, rest = [1], rest + ", reshape: { shape: [] }"
    return f"  {{ name: {_quoted(entry.name)}, data_type: TYPE_{_TYPES[kind]}, dims: {dims}{rest} }}"


def _quoted(text: str) -> str:
    """A string of protobuf's text format, whose letters are UTF-8 as they are."""
    return json.dumps(text, ensure_ascii=False)
