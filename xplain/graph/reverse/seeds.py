"""Seeds: where a sweep starts, as inputs of the emitted graph, so that one session serves every class and every unit.

A core ``Target`` is a weighted sum of terms. Each term becomes one input of the graph:

| term | input | cotangent of its tensor |
|---|---|---|
| ``Label`` | int64 ``[N]``, a class per item | one-hot over the flattened scores ``[N, K]`` |
| ``Channel`` | int64 ``[N]``, a channel per item | one-hot over channels, divided by the number of positions |
| ``Neuron`` | int64 ``[N, rank - 1]``, a place per item | one-hot at the place |
| ``Inner`` | the tensor's dtype and shape, one per item | the input itself |

The first label's input is called ``target``; others are ``target_1``, ``place_2``, ``cotangent_3`` by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, TensorProto, helper

from xplain.core.errors import UsageError
from xplain.core.target import SCORES, Channel, Inner, Label, Neuron, Target
from xplain.graph.build.tracer import Shape, Tracer, Value

__all__ = ["Seed", "feeds_of", "plant", "seeds_of"]

_WORDS = {"label": "target", "channel": "channel", "neuron": "place", "inner": "cotangent"}


@dataclass(frozen=True, slots=True)
class Seed:
    """One term of the scalar that is pulled back.

    Args:
        tensor: The tensor it reads.
        kind: How it reads it.
        input: Name of the graph input that says which class, channel, place or cotangent.
        weight: Factor of the term.
    """

    tensor: str
    kind: Literal["label", "channel", "neuron", "inner"] = "label"
    input: str = "target"
    weight: float = 1.0


def seeds_of(target: Target, scores: str) -> tuple[Seed, ...]:
    """The seeds of a target; ``scores`` is the tensor that its labels read."""
    found = []
    for k, (weight, term) in enumerate(target.terms):
        kind: Literal["label", "channel", "neuron", "inner"]
        kind = {Label: "label", Channel: "channel", Neuron: "neuron", Inner: "inner"}[type(term)]  # type: ignore[assignment]
        name = _WORDS[kind] + (f"_{k}" if k or kind != "label" else "")
        found.append(Seed(scores if term.tensor == SCORES else term.tensor, kind, name, float(weight)))
    return tuple(found)


def feeds_of(target: Target, items: np.ndarray[Any, Any], model: ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    """What to feed to an emitted model for a target.

    Args:
        target: The target, of the same terms as the one whose seeds the model was built for.
        items: int ``[R]``: which item each row of the batch belongs to; a label may differ from item to item.
        model: The emitted model.
    """
    feeds = {}
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in model.graph.input}
    kinds = {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    for seed, (_, term) in zip(seeds_of(target, ""), target.terms, strict=True):
        rows = len(items)
        if isinstance(term, Inner):
            given = np.asarray(term.cotangent, dtype=kinds.get(seed.input))
            shared = given.ndim < ranks.get(seed.input, given.ndim)
            feeds[seed.input] = np.broadcast_to(given, (rows, *given.shape)) if shared else given[items]
        elif isinstance(term, Neuron):
            feeds[seed.input] = np.tile(np.array(term.index, dtype=np.int64), (rows, 1))
        elif isinstance(term.index, int):
            feeds[seed.input] = np.full(rows, term.index, dtype=np.int64)
        else:
            feeds[seed.input] = np.asarray(term.index, dtype=np.int64)[items]
    return feeds


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
        if given is not None and seed.input in given:
            source = given[seed.input]
        else:
            source = tracer.input(seed.input, *_signature(seed, tensor))
        cotangent = _KINDS[seed.kind](tracer, tensor, source)
        cotangent = cotangent if seed.weight == 1.0 else cotangent * seed.weight
        found[seed.tensor] = found[seed.tensor] + cotangent if seed.tensor in found else cotangent
    return found


def _signature(seed: Seed, tensor: Value) -> tuple[int, Shape | None]:
    if seed.kind == "inner":
        return tensor.dtype, tensor.shape
    batch = tensor.shape[0] if tensor.shape else None
    return TensorProto.INT64, (batch,) if seed.kind != "neuron" else (batch, tensor.rank - 1)


def _one_hot(t: Tracer, index: Value, depth: Value, dtype: int, axis: int = -1) -> Value:
    # OneHot takes a negative index from the end, as Python does
    return t.emit("OneHot", index, depth, t.const(np.array([0, 1]), dtype), axis=axis)


def _label(t: Tracer, scores: Value, target: Value) -> Value:
    dims = scores.shape
    if dims is not None and len(dims) == 2:
        depth = t.extent(scores, 1)
    else:  # scores [N, K, 1, 1], or a single row [K]
        flat = t.Reshape(scores, t.Concat(t.Shape(target), t.ints(-1), axis=0))
        depth = t.Gather(t.Shape(flat), t.ints(1), axis=0)
    hot = _one_hot(t, target, depth, scores.dtype)
    return t.reshape_like(hot, scores) if dims is None or len(dims) != 2 else _as(t, hot, dims)


def _channel(t: Tracer, tensor: Value, channel: Value) -> Value:
    if tensor.rank < 2:
        raise UsageError(f"Tensor {tensor.name!r} has shape {tensor.shape}: it has no channels.")
    hot = _one_hot(t, channel, t.extent(tensor, 1), tensor.dtype)
    axes = list(range(2, tensor.rank))
    if not axes:
        return hot
    positions: Any = t.count(tensor, tensor, axes)
    if isinstance(positions, Value):
        plane = t.emit("ReduceProd", t.cast(t.slice(t.Shape(tensor), [2], [2**31], [0]), TensorProto.FLOAT))
        positions = t.cast(plane, tensor.dtype)
    return t.expand_like(t.unsqueeze(hot, axes) / positions, tensor)


def _neuron(t: Tracer, tensor: Value, place: Value) -> Value:
    found: Value | None = None
    for k in range(1, tensor.rank):
        index = t.squeeze(t.slice(place, [k - 1], [k], [1]), [1])
        hot = _one_hot(t, index, t.extent(tensor, k), tensor.dtype)
        hot = t.unsqueeze(hot, [a for a in range(1, tensor.rank) if a != k])
        found = hot if found is None else found * hot
    if found is None:
        raise UsageError(f"Tensor {tensor.name!r} has shape {tensor.shape}: it has no units besides the batch axis.")
    return _as(t, found, tensor.shape)


def _inner(t: Tracer, tensor: Value, cotangent: Value) -> Value:
    return t.expand_like(cotangent, tensor) if cotangent.shape != tensor.shape else cotangent


def _as(t: Tracer, v: Value, shape: Shape | None) -> Value:
    """State a shape that inference cannot see."""
    if shape is not None:
        t.shapes[v.name] = shape
    return v


_KINDS = {"label": _label, "channel": _channel, "neuron": _neuron, "inner": _inner}
