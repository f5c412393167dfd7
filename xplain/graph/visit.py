"""One visitor over everything that a model file holds: each message of a kind, wherever it stands and however deep.

A tensor can stand among the initializers, in an attribute, in a branch of an ``If`` in a function in a training graph,
as the values of a sparse one, and wherever the next version of ONNX will put it. So the places are not written down
here: they follow from the descriptors of the format itself, and every check that concerns tensors, nodes or graphs
asks this visitor. It does not recur, because depth is not trusted, and its work is linear in what the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["Place", "every", "external_tensors", "texts"]


class Place(NamedTuple):
    """A message and where it stands.

    Args:
        message: The message.
        path: Names of the fields that lead to it from where the walk began, such as ``("graph", "node", "attribute")``.
        graphs: In how many graphs it lies, beyond the first.
        node: The innermost node that holds it; None outside nodes.
    """

    message: Any
    path: tuple[str, ...]
    graphs: int
    node: NodeProto | None


def every(root: Any, *kinds: str) -> Iterator[Place]:
    """Every message of these kinds in ``root``, which may be any message of a model; ``root`` itself is among them.

    Args:
        root: A model, graph, function, node, or another message.
        kinds: Names of message types, such as ``"TensorProto"``; ``"SparseTensorProto"`` is another kind, whose
            ``values`` and ``indices`` are tensors.
    """
    wanted = frozenset(kinds)
    waiting = [Place(root, (), 0, None)]
    while waiting:
        place = waiting.pop()
        message, path, graphs, node = place
        kind = message.DESCRIPTOR
        if kind.name in wanted:
            yield place
        if kind.name == "NodeProto":
            node = message
        for name, repeated, into in _ways(kind, wanted):
            if repeated:
                inside = getattr(message, name)
            elif message.HasField(name):
                inside = (getattr(message, name),)
            else:
                continue
            deeper = graphs + (into and kind.name == "AttributeProto")
            waiting.extend(Place(one, (*path, name), deeper, node) for one in inside)


def external_tensors(model: ModelProto) -> list[Place]:
    """All tensors whose content lies elsewhere."""
    return [place for place in every(model, "TensorProto") if place.message.data_location == TensorProto.EXTERNAL]


def texts() -> dict[str, tuple[tuple[str, bool], ...]]:
    """The text fields of each message type that a model can hold: name, and whether it is a list."""
    seen = {}
    waiting = [ModelProto.DESCRIPTOR]
    while waiting:
        kind = waiting.pop()
        seen[kind.name] = tuple((f.name, _repeated(f)) for f in kind.fields if f.type == f.TYPE_STRING)
        inner = (field.message_type for field in kind.fields if field.message_type is not None)
        waiting.extend(one for one in inner if one.name not in seen)
    return {name: fields for name, fields in seen.items() if fields}


@cache
def _ways(kind: Any, wanted: frozenset[str]) -> tuple[tuple[str, bool, bool], ...]:
    """Fields of a message type that can lead to one of the kinds: name, whether repeated, whether it is a graph."""
    return tuple(
        (field.name, _repeated(field), field.message_type.name == "GraphProto")
        for field in kind.fields
        if field.message_type is not None and _leads(field.message_type, wanted)
    )


def _repeated(field: Any) -> bool:
    """Whether a field is a list; protobuf before 6 has another name for that."""
    known = getattr(field, "is_repeated", None)
    return field.label == field.LABEL_REPEATED if known is None else bool(known)


def _leads(kind: Any, wanted: frozenset[str]) -> bool:
    """Whether a message of a type is of one of the kinds, or can hold one at any depth."""
    seen = {kind.full_name: kind}
    waiting = [kind]
    while waiting:
        one = waiting.pop()
        if one.name in wanted:
            return True
        for field in one.fields:
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen[inner.full_name] = inner
                waiting.append(inner)
    return False
