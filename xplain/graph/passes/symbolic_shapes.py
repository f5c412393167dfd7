"""Follow shape arithmetic with named extents, where ONNX's inference gives up.

Exporters write ``reshape(x, (x.shape[0], 197, 12, 64))`` as a chain of Shape, Gather and Concat. Inference loses the
name of the free extent on the way, so that behind it nothing says that two tensors have one batch: a sum of both would
be taken for a broadcast. Here vectors of integers are followed entry by entry, each a number or a name, and what comes
out as a number is written down as a constant, which runtimes can fold into what reads it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.graph.build.tracer import Shape, Tracer
from xplain.graph.operators import facts_of

__all__ = ["settle"]

Entries: TypeAlias = tuple["int | str | None", ...]
"""A vector of integers: numbers, names of free extents, None where an entry is not known."""

_LONGEST = 64  # entries of a vector that are followed, and elements of a constant that is written down
_INTEGERS = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}


def settle(model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "") -> None:
    """Add to the shapes of a model in place, and replace what is computed from known extents by constants."""
    stated = {v.name: v for v in (*model.graph.output, *model.graph.value_info)}
    if not any(_open(v.type.tensor_type) for v in stated.values()):
        return
    walk = _Walk(model, weights, folder)
    nodes = [walk.follow(node) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    written = {name for node in nodes for name in node.output if name}
    for name in written & set(walk.tracer.shapes):
        kind = helper.make_tensor_type_proto(walk.tracer.dtypes[name], walk.tracer.shapes[name])
        info = stated.get(name) or model.graph.value_info.add(name=name)
        if info.type.WhichOneof("value") in (None, "tensor_type"):
            info.type.CopyFrom(kind)


def _open(kind: TensorProto) -> bool:
    """Whether one of its extents has neither number nor a name that a person gave."""
    return any(not d.HasField("dim_value") and _nameless(d.dim_param) for d in kind.shape.dim)


class _Walk:
    """One walk through a model in the order of its nodes."""

    def __init__(self, model: ModelProto, weights: Mapping[str, TensorProto], folder: str) -> None:
        self.tracer = Tracer(model, folder, weights)
        self._vectors: dict[str, Entries] = {}

    def follow(self, node: NodeProto) -> NodeProto:
        """Find out what can be known of a node's outputs; the node, or a constant in its place."""
        before = {name: self.tracer.shapes.get(name) for name in node.output if name}
        if all(shape is not None and not any(map(_nameless, shape)) for shape in before.values()):
            self.tracer.constants.derive(node)  # its shape is known, and says nothing new
        else:
            self.tracer.infer(node)
            for name, shape in before.items():
                self._merge(name, shape)
        if node.domain not in ("", "ai.onnx") or len(before) != 1:
            return node
        (name,) = before
        found = self._shape(node)
        if found is not None:
            self._merge(name, found)
        entries = self._entries(node)
        if entries is not None and len(entries) <= _LONGEST:
            self._vectors[name] = entries
        return self._written(node, name)

    def _merge(self, name: str, shape: Shape | None) -> None:
        """Numbers before names, names before nothing, what is there before what is new."""
        there = self.tracer.shapes.get(name)
        if there is None or shape is None or len(there) != len(shape):
            if shape is not None and there is None:
                self.tracer.shapes[name] = shape
            return
        self.tracer.shapes[name] = tuple(max(pair, key=_worth) for pair in zip(there, shape, strict=True))

    def _written(self, node: NodeProto, name: str) -> NodeProto:
        """A small constant in place of a node that computes it from extents."""
        if node.op_type == "Constant" or not node.input:
            return node
        entries, shape = self._vectors.get(name), self.tracer.shapes.get(name)
        dtype = self.tracer.dtypes.get(name)
        if entries is not None and shape is not None and len(shape) <= 1 and dtype in _INTEGERS:
            numbers = [e for e in entries if isinstance(e, int)]
            if len(numbers) < len(entries):
                return node
            value = np.array(numbers, helper.tensor_dtype_to_np_dtype(dtype)).reshape(() if not shape else -1)
            self.tracer.constants.put(name, value)
        if shape is None or not all(isinstance(d, int) for d in shape) or math.prod(map(int, shape)) > _LONGEST:  # type: ignore[arg-type]
            return node
        content = self.tracer.constants.get(name)
        if content is None:
            return node
        self.tracer.dtypes[name], self.tracer.shapes[name] = (
            helper.np_dtype_to_tensor_dtype(content.dtype),
            content.shape,
        )
        return helper.make_node("Constant", [], [name], name=node.name, value=numpy_helper.from_array(content))

    # ---- shapes -----------------------------------------------------------------------------------------------

    def _shape(self, node: NodeProto) -> Shape | None:
        """The shape of what is reshaped or expanded to a vector that is followed."""
        if node.op_type not in ("Reshape", "Expand") or len(node.input) < 2:
            return None
        source, wanted = self.tracer.shapes.get(node.input[0]), self._vector(node.input[1])
        if source is None or wanted is None:
            return None
        if node.op_type == "Expand":
            if len(source) > len(wanted):
                return None
            padded = (1,) * (len(wanted) - len(source)) + tuple(source)
            return tuple(w if w not in (1, None) else (s if s != 1 else w) for s, w in zip(padded, wanted, strict=True))
        keeps = not any(a.name == "allowzero" and a.i for a in node.attribute)
        dims = [source[k] if w == 0 and keeps and k < len(source) else w for k, w in enumerate(wanted)]
        if -1 not in dims:
            return tuple(dims)
        k = dims.index(-1)
        dims[k] = _quotient(source, [*dims[:k], *dims[k + 1 :]])
        return tuple(dims)

    # ---- vectors ----------------------------------------------------------------------------------------------

    def _vector(self, name: str) -> Entries | None:
        """The entries of an integer vector or scalar, as far as they are known."""
        if name not in self._vectors:
            shape = self.tracer.shapes.get(name)
            small = shape is not None and len(shape) <= 1 and self.tracer.dtypes.get(name) in _INTEGERS
            content = self.tracer.constants.get(name) if small else None
            if content is None or content.size > _LONGEST:
                return None
            self._vectors[name] = tuple(int(v) for v in content.ravel())
        return self._vectors[name]

    def _entries(self, node: NodeProto) -> Entries | None:
        """The entries of a node's output where it picks from vectors or joins them."""
        op, names = node.op_type, list(node.input)
        if op == "Shape" and not node.attribute:
            shape = self.tracer.shapes.get(names[0])
            return None if shape is None else tuple(shape)
        known = [self._vector(name) if name else () for name in names]
        if not known or known[0] is None or (op != "Where" and any(v is None for v in known)):
            return None
        first, *rest = (v or () for v in known)
        if op == "Cast" or (facts_of(node).repacks and op != "Reshape"):
            whole = op != "Cast" or self.tracer.dtypes.get(node.output[0]) in _INTEGERS
            return first if whole and len(self.tracer.shapes.get(node.output[0]) or ()) <= 1 else None
        if op == "Reshape":
            return first if len(rest[0]) <= 1 else None
        if op == "Concat":
            return tuple(entry for vector in (first, *rest) for entry in vector)
        if op == "Gather":
            picked = [k for k in rest[0] if isinstance(k, int) and -len(first) <= k < len(first)]
            return tuple(first[k] for k in picked) if len(picked) == len(rest[0]) else None
        if op == "Slice" and len(rest) >= 2:
            start, end, step = (_single(v) for v in (rest[0], rest[1], rest[3] if len(rest) > 3 else (1,)))
            if start is not None and end is not None and step is not None:
                return first[start : min(end, len(first)) : step]
        if op == "Equal":
            return _apart(first, rest[0])
        if op == "Where" and known[1] is not None and known[2] is not None:
            size = max(len(first), len(known[1]), len(known[2]))
            of = [v * size if len(v) == 1 else v for v in (first, known[1], known[2])]
            if all(len(v) == size for v in of):
                return tuple(None if c is None else (a if c else b) for c, a, b in zip(*of, strict=True))
        return None


def _nameless(extent: int | str | None) -> bool:
    """Whether an extent has neither number nor a name that a person gave."""
    return not isinstance(extent, int) and (extent or "unk__")[:5] == "unk__"


def _worth(extent: int | str | None) -> int:
    """Sort key of an extent: a number, then a name that a person gave, then a generated name, then nothing."""
    if extent is None:
        return 0
    if isinstance(extent, str):
        return 1 if extent.startswith("unk__") else 2
    return 3


def _single(vector: Entries) -> int | None:
    """The number that is a vector's only entry."""
    return vector[0] if len(vector) == 1 and isinstance(vector[0], int) else None


def _apart(a: Entries, b: Entries) -> Entries | None:
    """Entry by entry 1 where equal, 0 where not: an extent with a name is not negative, and equal to itself."""
    size = max(len(a), len(b))
    a, b = (v * size if len(v) == 1 else v for v in (a, b))
    if len(a) != len(b):
        return None
    found: list[int | None] = []
    for one, other in zip(a, b, strict=True):
        if one is None or other is None:
            found.append(None)
        elif isinstance(one, str) != isinstance(other, str):
            number = other if isinstance(one, str) else one
            found.append(0 if isinstance(number, int) and number < 0 else None)
        else:
            found.append(int(one == other) if isinstance(one, int) or one == other else None)
    return tuple(found)


def _quotient(source: Shape, rest: list[int | str | None]) -> int | str | None:
    """The extent that stands for the rest: the elements of ``source`` over the product of the other extents."""
    if None in source or None in rest or 0 in rest:
        return None
    names = Counter(d for d in source if isinstance(d, str))
    others = Counter(d for d in rest if isinstance(d, str))
    if others - names:
        return None
    left = list((names - others).elements())
    over, under = (math.prod(d for d in dims if isinstance(d, int)) for dims in (source, rest))
    if over % under:
        return None
    if not left:
        return over // under
    return left[0] if len(left) == 1 and over == under else None
