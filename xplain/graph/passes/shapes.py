"""Find the shape of every tensor: by inference, and where that fails by one probe run of the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto, helper

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.graph.analysis.inference import infer_model
from xplain.graph.passes.weights import put_back
from xplain.graph.runtime import evaluate

__all__ = ["infer", "probe_missing"]

_BATCHES = (2, 3)
_EXTENTS = (64, 96)
"""A free batch and free extents take these values in the two probe runs; what differs between them is free."""


def infer(model: ModelProto) -> None:
    """Add what ONNX's own inference finds to ``value_info``."""
    inferred = infer_model(model)
    del model.graph.value_info[:]
    model.graph.value_info.extend(inferred.graph.value_info)
    _copy_outputs(model, inferred)


def _copy_outputs(model: ModelProto, inferred: ModelProto) -> None:
    """Outputs may be declared without a shape; inference then knows more."""
    for mine, theirs in zip(model.graph.output, inferred.graph.output, strict=True):
        if not mine.type.tensor_type.HasField("shape"):
            mine.CopyFrom(theirs)


def probe_missing(
    model: ModelProto,
    weights: Mapping[str, TensorProto],
    folder: str,
    notes: list[str],
    outside: Mapping[str, Array] | None = None,
) -> None:
    """Run the model twice where shapes are missing, and write down what is seen.

    Extents that are the same for two sizes of the input are taken to be fixed, the others to be free.
    """
    stated = {v.name for v in (*model.graph.value_info, *model.graph.output) if v.type.tensor_type.HasField("shape")}
    missing = [
        name
        for node in model.graph.node
        for name in node.output
        if name and name not in stated and node.op_type != "Constant"
    ]
    if not missing:
        return
    whole = put_back(model, dict(weights))
    declared = {v.name for v in whole.graph.output}
    whole.graph.output.extend(ValueInfoProto(name=name) for name in missing if name not in declared)
    try:
        seen = [evaluate(whole, _example(model, k), missing, folder, outside) for k in (0, 1)]
    except ModelError as error:
        notes.append(f"The shapes of {len(missing)} tensors are not known, and a probe failed: {error}")
        return
    known = {v.name: v for v in model.graph.value_info}
    for name, first, second in zip(missing, *seen, strict=True):
        if not isinstance(first, np.ndarray):
            continue
        dims = [a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)]
        dtype = helper.np_dtype_to_tensor_dtype(first.dtype)
        info = known.get(name) or model.graph.value_info.add()
        info.CopyFrom(helper.make_tensor_value_info(name, dtype, dims))
    notes.append(f"The shapes of {len(missing)} tensors were found by a probe run.")


def _example(model: ModelProto, k: int) -> dict[str, np.ndarray[Any, Any]]:
    """Small random inputs; free extents take the k-th probe value."""
    rng = np.random.default_rng(0)
    return {v.name: _sample(v.type, k, rng) for v in model.graph.input}


def _sample(kind: TypeProto, k: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    tensor = kind.tensor_type
    dims = [
        int(d.dim_value) if d.HasField("dim_value") else (_BATCHES[k] if axis == 0 else _EXTENTS[k])
        for axis, d in enumerate(tensor.shape.dim)
    ]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    return rng.random(dims).astype(dtype)
