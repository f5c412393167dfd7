"""The inputs of a loaded model: which there are, which one is explained, and those whose value is stated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import numpy_helper

from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import TensorSpec
from xplain.graph.analysis.constants import LARGEST
from xplain.graph.dtypes import dtype_name
from xplain.graph.intake.load import Loaded

__all__ = ["inputs_of", "put_first", "state"]


def inputs_of(loaded: Loaded) -> tuple[TensorSpec, ...]:
    """The inputs that a caller must give; weights that old exporters list among the inputs are left out.

    Raises:
        ModelError: there is none, or one is no tensor.
    """
    graph = loaded.model.graph
    stored = {tensor.name for tensor in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    found = []
    for entry in graph.input:
        if entry.name in stored:
            continue
        tensor = entry.type.tensor_type
        if not entry.type.HasField("tensor_type") or not tensor.elem_type:
            raise ModelError(f"Input {entry.name!r} of {loaded.source} is no tensor; a function can wrap such a model.")
        shape = tuple(int(d.dim_value) if d.dim_value > 0 else None for d in tensor.shape.dim)
        dims = tuple(d.dim_param if d.dim_value <= 0 else "" for d in tensor.shape.dim)
        found.append(TensorSpec(entry.name, shape, dtype_name(tensor.elem_type), dims if any(dims) else ()))
    if not found:
        raise ModelError(f"{loaded.source} has no input, so there is nothing to explain.")
    return tuple(found)


def restate(loaded: Loaded, name: str, value: Any) -> bool:
    """Give an input that may be left out another default, in place; False where there is no such input.

    Raises:
        UsageError: the value has not the input's shape, or is no number.
    """
    graph = loaded.model.graph
    if name not in loaded.defaults:
        return False
    for tensor in graph.initializer:
        if tensor.name == name:
            own = numpy_helper.to_array(tensor)
            try:
                given = np.asarray(value, own.dtype).reshape(own.shape)
            except (ValueError, TypeError):
                accepted = f"{list(own.shape)} numbers"
                raise UsageError(f"fixed[{name!r}] is {list(np.shape(value))}; accepted: {accepted}.") from None
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(given), name))
            return True
    return False


def put_first(loaded: Loaded, name: str) -> None:
    """Make ``name`` the first input: that is the one a sweep explains."""
    entries = sorted(loaded.model.graph.input, key=lambda entry: entry.name != name)
    del loaded.model.graph.input[:]
    loaded.model.graph.input.extend(entries)


def state(loaded: Loaded, values: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write small inputs whose value is the same for every item into the model, in place.

    Then a branch that one of them decides, or a shape that it gives, is known; an input that is no longer there is not
    fed.
    """
    graph = loaded.model.graph
    small = {name: value for name, value in values.items() if value.size <= LARGEST and value.dtype != object}
    kept = [entry for entry in graph.input if entry.name not in small]
    named = [entry.name for entry in graph.input if entry.name in small]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(numpy_helper.from_array(small[name], name) for name in named)
