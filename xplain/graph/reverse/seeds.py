"""Seeds: where a sweep starts, as inputs of the emitted graph, so that one session serves every class and every unit.

Each leaf of a core ``Target`` (``xplain.core.targets.leaves``) becomes one input of the graph: the numbers of its
index, int64 ``[N]`` or ``[N, k]``, or its factors, in the tensor's dtype and shape. The cotangent of its tensor is

    one-hot of the index  x  slope of the reduction over the axes left  x  factors

The first label's input is called ``target``; others are ``target_1``, ``place_2``, ``cotangent_3`` by their number.

A formula (``xplain.core.targets.formulas``) is computed by nodes of the graph, behind the tensors that it reads
(``xplain.graph.reverse.formulas``); its seed starts at what they make, one number per row, and its inputs are the
numbers of the leaves and arrays in it: ``target_0_1_0`` by their path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from xplain.core.errors import UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.target import SCORES, Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.given import Given, given_of
from xplain.core.targets.leaves import KINDS, PREDICTED, REDUCTIONS, Leaf, LeafKind
from xplain.graph.build.tracer import Shape, Tracer, Value

__all__ = ["Seed", "as_rows", "feeds_of", "kinds_of", "leaf_value", "numbers_of", "plant", "seeds_of"]

FORMULA = "formula"
"""What the tensors that formulas make, and their inputs, are called, before their numbers."""

_HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})  # of which the runtime takes no largest element


@dataclass(frozen=True, slots=True)
class Seed:
    """One term of the scalar that is pulled back.

    Args:
        tensor: The tensor it reads; of a formula, the tensor that its nodes make.
        kind: How it reads it, a name in ``xplain.core.targets.leaves.KINDS``, or ``formula``.
        input: Name of the graph input that holds its numbers; of a formula, what those of its inputs begin with.
        weight: Factor of the term.
        reads: The tensors that a formula reads.
        formula: The formula, whose numbers do not count: they are inputs.
        structure: What of the formula does.
        scores: The tensor that is read as scores, a row of them per item whatever its axes; empty for none.
    """

    tensor: str
    kind: str = "label"
    input: str = "target"
    weight: float = 1.0
    reads: tuple[str, ...] = ()
    formula: Formula | None = field(default=None, compare=False)
    structure: tuple[Any, ...] = ()
    scores: str = ""

    @property
    def way(self) -> LeafKind:
        """How leaves of its kind read their tensor."""
        return KINDS[self.kind]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors of the model that it reads."""
        return (self.tensor,) if self.formula is None else self.reads

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs of the graph that hold its numbers."""
        if self.formula is None:
            return (self.input,)
        return tuple(self.input + given.name for given in given_of(self.formula))


def seeds_of(target: Target, scores: str) -> tuple[Seed, ...]:
    """The seeds of a target; ``scores`` is the tensor that its labels read."""
    found = []
    for k, (weight, term) in enumerate(target.terms):
        if isinstance(term, Formula):
            own = term.renamed({SCORES: scores})
            name = f"{FORMULA}_{k}"
            made = f"{name}/{fingerprint(own.structure)[:8]}"  # two formulas of one place are two tensors
            rows = scores if SCORES in term.tensors else ""  # by its own name a class map is no row of scores
            found.append(Seed(made, "formula", name, float(weight), own.tensors, own, own.structure, rows))
            continue
        kind = "label" if term.kind == "predicted" else term.kind  # one graph for both: the input says which it is
        name = term.way.word + (f"_{k}" if k or kind != "label" else "")
        if term.tensor == SCORES:
            found.append(Seed(scores, kind, name, float(weight), scores=scores))
        else:
            found.append(Seed(term.tensor, kind, name, float(weight)))
    return tuple(found)


def numbers_of(target: Target, items: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What the inputs of a target's seeds hold for rows that belong to ``items`` [R]."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for seed, (_, term) in zip(seeds_of(target, SCORES), target.terms, strict=True):
        if isinstance(term, Formula):
            found |= {seed.input + given.name: given.numbers(items) for given in given_of(term)}
        else:
            found[seed.input] = Given((), term).numbers(items)
    return found


def kinds_of(model: ModelProto) -> dict[str, Any]:
    """The numpy types of a model's inputs, by name."""
    return {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}


def feeds_of(target: Target, items: np.ndarray[Any, Any], kinds: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """What to feed to an emitted model for a target.

    Args:
        target: The target, of the same terms as the one whose seeds the model was built for.
        items: int ``[R]``: which item each row of the batch belongs to; a label may differ from item to item.
        kinds: The types of the emitted model's inputs; see ``kinds_of``.
    """
    found = numbers_of(target, items)
    return {name: numbers.astype(kinds.get(name, numbers.dtype), copy=False) for name, numbers in found.items()}


def plant(
    tracer: Tracer,
    seeds: tuple[Seed, ...],
    value: Callable[[str], Value],
    given: Mapping[str, Value] | None = None,
) -> dict[str, Value]:
    """The cotangent of every tensor that a seed reads, declaring one graph input per seed.

    Args:
        tracer: The graph being built.
        seeds: Where to start.
        value: A tensor, as real numbers, in the evaluation that is walked.
        given: Values to use in place of graph inputs, by input name.

    Raises:
        UsageError: a seed's tensor does not have the shape that its kind needs.
    """
    found: dict[str, Value] = {}
    for seed in seeds:
        tensor = value(seed.tensor)
        if seed.formula is not None:
            cotangent = tracer.filled(tracer.shape_of(tensor), 1.0, tensor.dtype, tensor.shape)
        else:
            here = given is not None and seed.input in given
            read = as_rows(tracer, tensor) if seed.scores and seed.way.given else tensor
            source = (given or {})[seed.input] if here else tracer.input(seed.input, *_signature(seed.way, read))
            cotangent = _of(tracer, seed.way, read, source, find=not here)
            cotangent = cotangent if read is tensor else tracer.reshape_like(cotangent, tensor)
        cotangent = cotangent if seed.weight == 1.0 else cotangent * seed.weight
        found[seed.tensor] = found[seed.tensor] + cotangent if seed.tensor in found else cotangent
    return found


def leaf_value(t: Tracer, leaf: Leaf, tensor: Value, name: str, given: Mapping[str, Value] | None) -> Value:
    """A leaf's number in each row, ``[N]``, as nodes: the inner product of its tensor with its cotangent.

    Args:
        t: The graph being built.
        leaf: The leaf.
        tensor: The tensor that it reads.
        name: The input of the graph that holds its numbers.
        given: Values to use in place of graph inputs.
    """
    here = given is not None and name in given
    source = (given or {})[name] if here else t.input(name, *_signature(leaf.way, tensor))
    cotangent = _of(t, leaf.way, tensor, source, find=not here)
    return t.sum(tensor * cotangent, list(range(1, tensor.rank)), keepdims=False)


def as_rows(t: Tracer, scores: Value) -> Value:
    """Scores ``[N, K, 1, 1]``, or a single row ``[K]``, as ``[N, K]``, which is how targets read them."""
    dims = scores.shape
    if dims is not None and len(dims) == 2:
        return scores
    return t.unsqueeze(scores, [0]) if dims is not None and len(dims) < 2 else t.reshape(scores, [0, -1])


def _of(t: Tracer, way: LeafKind, tensor: Value, source: Value, find: bool) -> Value:
    return _flat(t, tensor, source, find) if way.flat else _cotangent(t, way, tensor, source)


def _signature(way: LeafKind, tensor: Value) -> tuple[int, Shape | None]:
    if way.given:
        return tensor.dtype, tensor.shape
    batch = tensor.shape[0] if tensor.shape else None
    return TensorProto.INT64, (batch,) if way.axes == 1 else (batch, way.axes or tensor.rank - 1)


def _one_hot(t: Tracer, index: Value, depth: Value, dtype: int, axis: int = -1) -> Value:
    # OneHot takes a negative index from the end, as Python does
    return t.emit("OneHot", index, depth, t.const(np.array([0, 1]), dtype), axis=axis)


def _flat(t: Tracer, scores: Value, target: Value, find: bool) -> Value:
    """The cotangent where all that is behind the batch is read as one axis, such as scores ``[N, K, 1, 1]``.

    ``find``: the class is the one with the largest score where the input holds ``PREDICTED``, the first of several.
    """
    dims = scores.shape
    if dims is not None and len(dims) == 2:
        flat, depth = scores, t.extent(scores, 1)
    else:  # scores [N, K, 1, 1], or a single row [K]
        flat = t.Reshape(scores, t.Concat(t.Shape(target), t.ints(-1), axis=0))
        depth = t.Gather(t.Shape(flat), t.ints(1), axis=0)
    if find:
        real = t.cast(flat, TensorProto.FLOAT) if flat.dtype in _HALVES else flat
        best = t.emit("ArgMax", real, axis=-1, keepdims=0)  # a model may drop the batch of a single row
        target = t.where(target.equal(t.const(PREDICTED, TensorProto.INT64)), best, target)
    hot = _one_hot(t, target, depth, scores.dtype)
    return t.reshape_like(hot, scores) if dims is None or len(dims) != 2 else _as(t, hot, dims)


def _cotangent(t: Tracer, way: LeafKind, tensor: Value, source: Value) -> Value:
    """The cotangent of a tensor from a leaf's numbers."""
    named = tensor.rank - 1 if way.axes is None else way.axes
    if way.axes != 0 and not 0 < named < tensor.rank:
        raise UsageError(
            f"Tensor {tensor.name!r} has shape {tensor.shape}: it has no {'units' if way.axes is None else 'channels'} "
            "besides the batch axis."
        )
    found = source if way.given else None
    for k in range(1, named + 1):
        index = source if way.axes == 1 else t.squeeze(t.slice(source, [k - 1], [k], [1]), [1])
        hot = _one_hot(t, index, t.extent(tensor, k), tensor.dtype)
        hot = t.unsqueeze(hot, [a for a in range(1, tensor.rank) if a != k])
        found = hot if found is None else found * hot
    assert found is not None
    left = tuple(range(named + 1, tensor.rank))
    if not left:
        return _as(t, found, tensor.shape)
    slope = REDUCTIONS[way.reduction].slope(tensor, left, _count(t, tensor, left))
    found = found if isinstance(slope, float) and slope == 1.0 else found * slope
    return t.expand_like(found, tensor) if found.shape != tensor.shape else found


def _count(t: Tracer, tensor: Value, axes: tuple[int, ...]) -> Any:
    """How many elements axes hold, as a number where it is known."""
    count: Any = t.count(tensor, tensor, list(axes))
    if isinstance(count, Value):
        extents = t.slice(t.Shape(tensor), [axes[0]], [2**31], [0])
        return t.cast(t.emit("ReduceProd", t.cast(extents, TensorProto.FLOAT)), tensor.dtype)
    return count


def _as(t: Tracer, v: Value, shape: Shape | None) -> Value:
    """State a shape that inference cannot see."""
    if shape is not None:
        t.shapes[v.name] = shape
    return v
