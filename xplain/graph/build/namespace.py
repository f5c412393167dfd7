"""The functions of the Python array API on traced values: what a rule writes, and what a traced method calls.

    xp = call.xp                       # or array_namespace(value)
    xp.where(x > 0.0, x, 0.0)          # emits a node

Only functions that can be written in ONNX operators are here; indexing and data-dependent shapes are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import TensorProto, helper

from xplain.core.errors import UsageError
from xplain.graph.build.value import Builder, Value
from xplain.graph.dtypes import FLOATS

__all__ = ["Namespace"]

_Truth: TypeAlias = bool  # inside the class ``bool`` is a dtype


class Namespace:
    """Array functions that emit nodes. Arguments may be values or plain numbers, but not all of them numbers."""

    __array_api_version__ = "2023.12"
    __name__ = "xplain.graph.build.namespace"
    float32, float64, int64, bool = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL
    pi, e, inf = np.pi, np.e, np.inf

    def __init__(self, tracer: Builder) -> None:
        self._t = tracer

    def __eq__(self, other: object) -> _Truth:
        return isinstance(other, Namespace) and other._t is self._t

    def __hash__(self) -> int:
        return id(self._t)

    # ------------------------------------------------------------------ element by element

    def _pair(self, op: str, a: Any, b: Any) -> Value:
        like = a if isinstance(a, Value) else b
        a, b = (v if isinstance(v, Value) else self._t.const(v, like.dtype) for v in (a, b))
        return self._t.emit(op, a, b)

    def maximum(self, a: Any, b: Any) -> Value:
        """The larger of two; the positive part is a Relu, which the runtime does fastest."""
        if not isinstance(b, Value) and b == 0.0 and a.dtype in FLOATS:
            return self._t.Relu(a)
        return self._pair("Max", a, b)

    def minimum(self, a: Any, b: Any) -> Value:
        """The smaller of two."""
        return self._pair("Min", a, b)

    def where(self, condition: Value, a: Any, b: Any) -> Value:
        """``a`` where true, else ``b``."""
        if not isinstance(a, Value) and not isinstance(b, Value):
            a = self._t.const(a, TensorProto.FLOAT)
        return self._t.where(condition, a, b)

    def clip(self, x: Value, min: Any = None, max: Any = None) -> Value:  # noqa: A002  (the array API's names)
        """``x`` within bounds."""
        x = x if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def equal(self, a: Value, b: Any) -> Value:
        """Element-wise equality."""
        return a.equal(b)

    def logical_and(self, a: Value, b: Value) -> Value:
        """Both."""
        return self._t.And(a, b)

    def logical_or(self, a: Value, b: Value) -> Value:
        """Either."""
        return self._t.Or(a, b)

    def logical_not(self, a: Value) -> Value:
        """Neither."""
        return self._t.Not(a)

    def isfinite(self, x: Value) -> Value:
        """Neither infinite nor NaN."""
        return self._t.Less(self._t.Abs(x), self._t.const(np.inf, x.dtype))

    def abs(self, x: Value) -> Value:
        """|x|."""
        return self._t.Abs(x)

    def sign(self, x: Value) -> Value:
        """-1, 0 or 1."""
        return self._t.Sign(x)

    def exp(self, x: Value) -> Value:
        """e^x."""
        return self._t.Exp(x)

    def log(self, x: Value) -> Value:
        """Natural logarithm."""
        return self._t.Log(x)

    def tanh(self, x: Value) -> Value:
        """Hyperbolic tangent."""
        return self._t.Tanh(x)

    def sigmoid(self, x: Value) -> Value:
        """``1 / (1 + e^-x)``; the array API has none, but where it is found it is one operator."""
        return self._t.Sigmoid(x)

    def cos(self, x: Value) -> Value:
        """Cosine of radians."""
        return self._t.Cos(x)

    def sin(self, x: Value) -> Value:
        """Sine of radians."""
        return self._t.Sin(x)

    def floor(self, x: Value) -> Value:
        """The whole number below."""
        return self._t.Floor(x)

    def sqrt(self, x: Value) -> Value:
        """Square root."""
        return self._t.Sqrt(x)

    def square(self, x: Value) -> Value:
        """x^2."""
        return x * x

    def pow(self, x: Value, p: Any) -> Value:
        """x^p."""
        return self._pair("Pow", x, p)

    def astype(self, x: Value, dtype: int) -> Value:
        """``x`` in another dtype."""
        return self._t.cast(x, dtype)

    # ------------------------------------------------------------------ over axes

    def _axes(self, x: Value, axis: Any) -> list[int]:
        if axis is None:
            return list(range(x.rank))
        return [int(a) % x.rank for a in (axis if isinstance(axis, Sequence) else (axis,))]

    def sum(self, x: Value, axis: Any = None, keepdims: _Truth = False) -> Value:
        """Sum over axes."""
        return self._t.sum(x, self._axes(x, axis), keepdims)

    def mean(self, x: Value, axis: Any = None, keepdims: _Truth = False) -> Value:
        """Mean over axes."""
        return self._t.mean(x, self._axes(x, axis), keepdims)

    def max(self, x: Value, axis: Any = None, keepdims: _Truth = False) -> Value:
        """Maximum over axes."""
        return self._t.max(x, self._axes(x, axis), keepdims)

    def min(self, x: Value, axis: Any = None, keepdims: _Truth = False) -> Value:
        """Minimum over axes."""
        return -self._t.max(-x, self._axes(x, axis), keepdims)

    def matmul(self, a: Value, b: Value) -> Value:
        """Matrix product; a constant factor takes the type of the other, of which the operator has only one."""
        a, b = (self._t.cast(v, like.dtype) if v.constant else v for v, like in ((a, b), (b, a)))
        return self._t.MatMul(a, b)

    # ------------------------------------------------------------------ shapes

    def reshape(self, x: Value, shape: Sequence[int | None]) -> Value:
        """Another shape; one extent may be -1. A free extent (None) keeps the one at its place."""
        return self._t.reshape(x, [0 if d is None else int(d) for d in shape])

    def permute_dims(self, x: Value, axes: Sequence[int]) -> Value:
        """Another order of axes."""
        return self._t.permute(x, axes)

    def expand_dims(self, x: Value, axis: int = 0) -> Value:
        """One more axis of extent 1."""
        return self._t.unsqueeze(x, [axis])

    def squeeze(self, x: Value, axis: int | Sequence[int]) -> Value:
        """Without axes of extent 1."""
        return self._t.squeeze(x, list(axis) if isinstance(axis, Sequence) else [axis])

    def concat(self, arrays: Sequence[Value], axis: int = 0) -> Value:
        """One behind the other."""
        return self._t.Concat(*arrays, axis=axis)

    def stack(self, arrays: Sequence[Value], axis: int = 0) -> Value:
        """Along a new axis."""
        return self._t.Concat(*(self._t.unsqueeze(v, [axis]) for v in arrays), axis=axis)

    def broadcast_to(self, x: Value, shape: Sequence[int]) -> Value:
        """Repeated to a shape."""
        return self._t.Expand(x, self._t.ints(*shape))

    def take_along_axis(self, x: Value, indices: Value, axis: int = -1) -> Value:
        """Elements along an axis, at indices in the shape of the result."""
        return self._t.GatherElements(x, indices, axis=axis)

    def zeros_like(self, x: Value, dtype: int | None = None) -> Value:
        """Zeros in the shape of ``x``."""
        return self._t.zeros_like(x, dtype)

    def ones_like(self, x: Value, dtype: int | None = None) -> Value:
        """Ones in the shape of ``x``."""
        return self.full_like(x, 1.0, dtype)

    def full_like(self, x: Value, fill: float, dtype: int | None = None) -> Value:
        """One number in the shape of ``x``."""
        return self._t.filled(self._t.shape_of(x), fill, x.dtype if dtype is None else dtype, x.shape)

    def asarray(self, x: Any, dtype: int | None = None) -> Value:
        """A constant, or the value itself."""
        return x if isinstance(x, Value) else self._t.const(x, TensorProto.FLOAT if dtype is None else dtype)

    def finfo(self, dtype: int) -> Any:
        """Limits of a floating dtype."""
        return np.finfo(helper.tensor_dtype_to_np_dtype(dtype))

    def isdtype(self, dtype: int, kind: str) -> _Truth:
        """Whether a dtype is of a kind; only "real floating", "integral" and "bool" are known."""
        if kind not in ("real floating", "integral", "bool"):
            raise UsageError(
                f"Kind of dtype {kind!r} is not known to traced values; use 'real floating' or 'integral'."
            )
        name = np.dtype(helper.tensor_dtype_to_np_dtype(dtype)).kind
        return name in {"real floating": "f", "integral": "iu", "bool": "b"}[kind]
