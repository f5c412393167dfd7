"""A graph under construction: values with arithmetic that emit ONNX nodes, so that rules read as maths.

    t = Tracer(model)                 # a prepared ModelProto
    x = t.value("conv5")              # a tensor of the model
    y = t.Relu(x * 2.0) + 1.0         # any operator by its name; numbers become shared constants
    y.shape                           # inferred while tracing: ints, names of free dimensions, or None

Operators whose form changed between opsets (reductions, Squeeze, Split, Pad, Slice ...) are methods of their own, so a
rule is written once for every opset from 11 on. Weights are never read here: a rule flips or clips a weight by emitting
a node, the runtime folds it when it loads the file, and the file keeps one copy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

from onnx import TensorProto, helper

from xplain.core.errors import ModelError
from xplain.graph.build.emitter import Emitter
from xplain.graph.build.namespace import Namespace
from xplain.graph.nodes import attribute
from xplain.graph.build.value import Shape, Value, known

__all__ = ["Shape", "Tracer", "Value", "known"]


def _swapped(rank: int) -> list[int]:
    """The order of axes in which the last two change places."""
    return [*range(rank - 2), rank - 1, rank - 2]


class Tracer(Emitter):
    """Adds nodes to a model in the words of rules: forms that are the same for every opset, and small phrases."""

    @property
    def namespace(self) -> Namespace:
        """The functions of the array API on values of this graph."""
        return Namespace(self)

    # ------------------------------------------------------------------ forms that changed between opsets

    def _with_axes(self, op: str, x: Value, axes: Sequence[int] | Value | None, since: int, **attributes: Any) -> Value:
        if axes is None:
            return self.emit(op, x, **attributes)
        if self.opset >= since:
            return self.emit(op, x, axes if isinstance(axes, Value) else self.ints(*axes), **attributes)
        if isinstance(axes, Value):
            raise ModelError(f"{op} with axes known only at run time needs opset {since}; the model uses {self.opset}.")
        return self.emit(op, x, axes=[int(a) for a in axes], **attributes)

    def sum(self, x: Value, axes: Sequence[int] | Value | None = None, keepdims: bool = True) -> Value:
        """ReduceSum; no axes: over all of them."""
        if axes is not None and not isinstance(axes, Value) and not len(axes):
            return x
        return self._with_axes("ReduceSum", x, axes, 13, keepdims=int(keepdims))

    def mean(self, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        """ReduceMean."""
        return self._with_axes("ReduceMean", x, axes, 18, keepdims=int(keepdims)) if len(axes) else x

    def max(self, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        """ReduceMax."""
        return self._with_axes("ReduceMax", x, axes, 18, keepdims=int(keepdims)) if len(axes) else x

    def squeeze(self, x: Value, axes: Sequence[int]) -> Value:
        """Drop axes of extent 1."""
        return self._with_axes("Squeeze", x, axes, 13) if len(axes) else x

    def unsqueeze(self, x: Value, axes: Sequence[int]) -> Value:
        """Insert axes of extent 1."""
        return self._with_axes("Unsqueeze", x, axes, 13) if len(axes) else x

    def split(self, x: Value, sizes: Sequence[int] | Value, axis: int) -> tuple[Value, ...]:
        """Cut along an axis."""
        count = len(sizes) if not isinstance(sizes, Value) else int((sizes.shape or (0,))[0] or 0)
        if count == 1:
            return (x,)
        if self.opset >= 13:
            parts = self.emit_many(
                count, "Split", x, sizes if isinstance(sizes, Value) else self.ints(*sizes), axis=axis
            )
            if x.shape is not None:  # inference gives up where the sizes are known only at run time
                free = tuple(None if k == axis % x.rank else dim for k, dim in enumerate(x.shape))
                for part in parts:
                    self.shapes.setdefault(part.name, free)
            return parts
        if isinstance(sizes, Value):
            raise ModelError(f"Split with sizes known only at run time needs opset 13; the model uses {self.opset}.")
        return self.emit_many(count, "Split", x, axis=axis, split=[int(n) for n in sizes])

    def slice(self, x: Value, starts: Any, ends: Any, axes: Sequence[int], steps: Sequence[int] | None = None) -> Value:
        """``x[start:end:step]`` along each axis."""
        bounds = [v if isinstance(v, Value) else self.ints(*v) for v in (starts, ends)]
        return self.emit("Slice", x, *bounds, self.ints(*axes), *([self.ints(*steps)] if steps else []))

    def pad(self, x: Value, before: Sequence[int], after: Sequence[int], fill: float | None = None) -> Value:
        """Pad (or crop, where negative) each axis with ``fill``, zero when not given."""
        if not any((*before, *after)):
            return x
        extra = [] if fill is None else [self.const(fill, x.dtype)]
        return self.emit("Pad", x, self.ints(*before, *after), *extra)

    # ------------------------------------------------------------------ small words that rules use

    def cast(self, x: Value, dtype: int) -> Value:
        """``x`` as another dtype."""
        return x if x.dtype == dtype else self.emit("Cast", x, to=dtype)

    def step(self, condition: Value, dtype: int) -> Value:
        """1 where true, 0 where false. Cast is two to three times faster than Where or Sign in ONNX Runtime."""
        return self.emit("Cast", condition, to=dtype)

    def between(self, x: Value, low: float | None = None, high: float | None = None) -> Value:
        """1 where low < x < high, 0 elsewhere, in x's dtype; a bound that is None does not count.

        In float32 each bound is a HardSigmoid, max(0, min(1, a x + b)), whose slope ``a`` is a power of two so large
        that the two float32 numbers next to the bound differ from it by more than 1: exact but for subnormal distances
        from 0, and one pass over memory. Comparing and casting take two, and the cast is slow (times a cotangent of
        9.6 million elements on two cores: 6.5 for 11.4 ms; with two bounds 12.9 for 15.6, and 25.6 with Where).
        """
        bounds = [(bound, sign) for bound, sign in ((low, 1), (high, -1)) if bound is not None]
        if x.dtype == TensorProto.FLOAT and all(math.isfinite(bound) for bound, _ in bounds):
            found = None
            for bound, sign in bounds:
                slope = sign * 2.0 ** (126 - max(math.frexp(bound)[1], 0))
                side = self.emit("HardSigmoid", x, alpha=slope, beta=-slope * bound)
                found = side if found is None else found * side
        else:
            tests = [x > bound if sign > 0 else x < bound for bound, sign in bounds]
            found = self.step(self.And(*tests) if len(tests) > 1 else tests[0], x.dtype)
        assert found is not None, "between() without a bound"
        return found

    def where(self, condition: Value, a: Any, b: Any) -> Value:
        """``a`` where true, ``b`` elsewhere; one of them is a value, which gives the other its dtype."""
        dtype = a.dtype if isinstance(a, Value) else b.dtype
        a, b = (v if isinstance(v, Value) else self.const(v, dtype) for v in (a, b))
        return self.emit("Where", condition, a, b)

    def shape_of(self, x: Value) -> Value:
        """The shape as a vector: a constant where it is known."""
        return self.ints(*x.shape) if x.shape is not None and known(x.shape) else self.emit("Shape", x)

    def extent(self, x: Value, axis: int) -> Value:
        """One extent, as an int64 vector of one."""
        dim = x.shape[axis] if x.shape is not None else None
        if isinstance(dim, int):
            return self.ints(dim)
        return self.emit("Gather", self.emit("Shape", x), self.ints(axis % x.rank), axis=0)

    def scatter_add(self, op: str, into: Value, indices: Value, updates: Value, **attributes: Any) -> Value:
        """ScatterElements or ScatterND that adds; half precision by way of float32, as the runtime adds in no other."""
        if updates.dtype == TensorProto.FLOAT16:
            into, updates = (self.cast(v, TensorProto.FLOAT) for v in (into, updates))
            added = self.emit(op, into, indices, updates, reduction="add", **attributes)
            return self.cast(added, TensorProto.FLOAT16)
        return self.emit(op, into, indices, updates, reduction="add", **attributes)

    def reshape(self, x: Value, dims: Sequence[int]) -> Value:
        """Reshape to constant extents; 0 keeps one, -1 stands for the rest."""
        return self.emit("Reshape", x, self.ints(*dims))

    def reshape_like(self, x: Value, other: Value) -> Value:
        """``x`` with the shape of ``other``."""
        if x.shape is not None and x.shape == other.shape and None not in x.shape:
            return x
        dims = other.shape
        if dims is not None and sum(not isinstance(d, int) for d in dims) == 1 and 0 not in dims:
            target = self.ints(*(d if isinstance(d, int) else -1 for d in dims))
        else:
            target = self.shape_of(other)
        # an extent of 0 is meant, not "as before"
        empty: dict[str, Any] = {"allowzero": 1} if dims is not None and 0 in dims and self.opset >= 14 else {}
        return self.emit("Reshape", x, target, shape=dims, **empty)

    def expand_like(self, x: Value, other: Value) -> Value:
        """``x`` broadcast to the shape of ``other``."""
        if x.shape is not None and x.shape == other.shape and None not in x.shape:
            return x
        return self.emit("Expand", x, self.shape_of(other), shape=other.shape)

    def zeros_like(self, x: Value, dtype: int | None = None) -> Value:
        """Zeros with the shape of ``x``."""
        return self.filled(self.shape_of(x), 0.0, x.dtype if dtype is None else dtype, x.shape)

    def filled(self, dims: Value, fill: float, dtype: int, shape: Shape | None = None) -> Value:
        """A tensor of one number, with the extents ``dims``."""
        content = helper.make_tensor("fill", dtype, [1], [fill])
        return self.emit("ConstantOfShape", dims, value=content, shape=shape)

    def total(self, values: Sequence[Value]) -> Value:
        """The sum of values of one shape."""
        out = values[0]
        for value in values[1:]:
            out = out + value
        return out

    def swap(self, x: Value, a: int = -1, b: int = -2) -> Value:
        """``x`` with two axes swapped."""
        perm = list(range(x.rank))
        perm[a], perm[b] = perm[b], perm[a]
        return self.permute(x, perm)

    def permute(self, x: Value, perm: Sequence[int]) -> Value:
        """``x`` with its axes in another order; a product's last two change places before it, where they are free."""
        perm = [int(p) for p in perm]
        plain = list(range(len(perm)))
        if perm == plain:
            return x
        factors = self.maker(x, "MatMul", added=True) or []
        if perm == _swapped(len(perm)) and len(factors) == 2 and all(v.shape and v.rank == x.rank for v in factors):
            return self.MatMul(self.swap(factors[1]), self.swap(factors[0]))
        origin, earlier = self.turned(x)
        perm = [earlier[p] for p in perm]
        return origin if perm == plain else self.emit("Transpose", origin, perm=perm)

    def turned(self, x: Value) -> tuple[Value, list[int]]:
        """The tensor of which ``x`` is a transpose, and the order of its axes; ``x`` itself where it is none."""
        perm = list(range(x.rank))
        while (made := self.maker(x, "Transpose")) is not None:
            node = self._added.get(x.name) or self.producers[x.name]
            earlier = attribute(node, "perm", list(range(len(perm)))[::-1])
            x, perm = made[0], [int(earlier[p]) for p in perm]
        return x, perm

    def count(self, x: Value, y: Value, axes: Sequence[int]) -> float | Value:
        """How many elements of ``x`` go into one of ``y`` when ``axes`` are reduced; a number where it is known."""
        dims = [x.shape[a] for a in axes] if x.shape is not None else [None]
        if known(dims):
            product = 1
            for dim in dims:
                product = operator.mul(product, int(dim or 0))
            return float(product)
        return self.cast(self.emit("Size", x), y.dtype) / self.cast(self.emit("Size", y), y.dtype)

    def unbroadcast(self, g: Value, x: Value, y: Shape | None = None) -> Value:
        """Sum ``g`` over the axes along which ``x`` was broadcast. ``y``: its shape, if known better."""
        have, want = y if y is not None else g.shape, x.shape
        if have is not None and want is not None:
            lead = len(have) - len(want)
            pairs = list(zip(want, have[lead:], strict=True))
            # a free extent that has the same name on both sides is the same number
            if all((a == b and a is not None) or isinstance(a, int) for a, b in pairs):
                axes = [*range(lead), *(lead + i for i, (a, b) in enumerate(pairs) if a == 1 and b != 1)]
                if not axes:
                    return g
                out = self.sum(g, axes, keepdims=len(axes) > lead)
                return self.reshape_like(out, x) if lead and len(axes) > lead else out
        # found at run time: the axes where the shape of x, padded with ones in front, is 1 and that of g is not
        want_dims, have_dims = self.shape_of(x), self.emit("Shape", g)
        rank_gap = self.emit("Sub", self.emit("Shape", have_dims), self.emit("Shape", want_dims))
        padded = self.emit("Concat", self.emit("Expand", self.ints(1), rank_gap), want_dims, axis=0)
        differs = self.emit("Not", padded.equal(have_dims))
        axes_now = self.squeeze(self.emit("NonZero", differs), [0])
        if self.opset < 13:
            raise ModelError(f"Broadcasting found at run time needs opset 13; the model uses {self.opset}.")
        out = self.emit("ReduceSum", g, axes_now, keepdims=1, noop_with_empty_axes=1)
        return self.emit("Reshape", out, want_dims, shape=want)
