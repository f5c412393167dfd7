"""A model file brought into one form before anything is asked of it: what means the same is written the same way.

Everybody who comes later then meets one form only, and what no check of ours looks at, but a runtime might, is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from onnx import ModelProto, TensorProto

from xplain.core.declaring.wording import limit
from xplain.core.errors import ModelError, Unsafe
from xplain.graph.visit import every

__all__ = ["contradicted", "settle"]


def settle(model: ModelProto, most: int = 10**6) -> None:
    """Bring a model into one form, in place.

    | written in the file | why it goes |
    |---|---|
    | fields without a name in this version of the format | no check can see them, a newer runtime might |
    | references to another file on a tensor that is stored | left behind by tools; a runtime might follow them |
    | ``ort_config`` in the metadata | options of a session are not the file's to choose |
    | ``ai.onnx`` as a domain | it is the same as none, which is what rules are listed under |
    | inputs left out at the end of a node's list | they are the same as none; ONNX Runtime 1.31 dies of one |
    | a negative extent of a type | older exporters mean a free one |

    Args:
        model: The model.
        most: Nodes, tensors and extents together that it may hold; checks take some 15 microseconds for each.

    Raises:
        Unsafe: it holds more.
        ModelError: the file says two versions of one domain.
    """
    model.DiscardUnknownFields()
    kinds = ("TensorProto", "NodeProto", "AttributeProto", "Dimension", "FunctionProto", "ModelProto")
    for number, place in enumerate(every(model, *kinds)):
        if number > most:
            raise Unsafe(
                f"The model holds more than {most} nodes, attributes, tensors and extents, ten times limits.nodes. If "
                "you trust it, give ",
                limit("nodes"),
                ".",
            )
        message, kind = place.message, place.message.DESCRIPTOR.name
        if kind == "TensorProto":
            if message.data_location != TensorProto.EXTERNAL and message.external_data:
                message.ClearField("external_data")
        elif kind == "NodeProto":
            if message.domain == "ai.onnx":
                message.domain = ""
            while message.input and not message.input[-1]:
                message.input.pop()
        elif kind == "Dimension":
            if message.HasField("dim_value") and message.dim_value < 0:
                message.ClearField("dim_value")
        elif kind != "AttributeProto":
            if kind == "FunctionProto" and message.domain == "ai.onnx":
                message.domain = ""
            _versions(message)
    for k in reversed(range(len(model.metadata_props))):
        if model.metadata_props[k].key == "ort_config":
            del model.metadata_props[k]


def _versions(holder: ModelProto) -> None:
    """One version for each domain."""
    said: dict[str, int] = {}
    for k in reversed(range(len(holder.opset_import))):
        entry = holder.opset_import[k]
        if entry.domain == "ai.onnx":
            entry.domain = ""
        if said.setdefault(entry.domain, entry.version) != entry.version:
            raise ModelError(
                f"The model says two versions of the operators of {entry.domain or 'ai.onnx'!r}: {entry.version} and "
                f"{said[entry.domain]}. The file is damaged; export it again."
            )
        if [other.domain for other in holder.opset_import].count(entry.domain) > 1:
            del holder.opset_import[k]


def contradicted(
    model: ModelProto, shapes: Mapping[str, Sequence[int]], free: Mapping[str, Set[int]]
) -> tuple[str, ...]:
    """Forget the extents that a file declares of tensors whose nodes make another size; their names.

    Runtimes read such a declaration as a hint and go by the nodes. A sweep that believed it made a cotangent of two
    thousand million classes for a model that has three.

    Args:
        model: The model; its declarations are changed in place.
        shapes: What follows from the inputs and the nodes, by tensor, for one item.
        free: Axes of these whose extent changes with that of the inputs.
    """
    wrong = []
    for entry in (*model.graph.output, *model.graph.value_info):
        kind, found = entry.type.tensor_type, shapes.get(entry.name)
        if found is None or not kind.HasField("shape"):
            continue
        said = [int(dim.dim_value) if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        fixed = set(range(len(found))) - free.get(entry.name, frozenset())
        if len(said) != len(found) or any(said[k] not in (None, found[k]) for k in fixed):
            kind.ClearField("shape")
            wrong.append(entry.name)
    return tuple(wrong)
