"""From a tracer to a file: sort, drop what nobody reads, name the outputs, put the weights back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from xplain.core.errors import ModelError
from xplain.graph.naming import reads, rename_reads, tell_apart
from xplain.graph.analysis.order import needed, ordered
from xplain.graph.build.tracer import Tracer, Value

__all__ = ["emit"]

_SMALLEST_BLOCK = 8
"""Channels that ONNX Runtime keeps side by side, at least; attention has its heads there, more seldom a multiple."""


def emit(
    tracer: Tracer,
    outputs: Mapping[str, Value],
    inputs: Sequence[str] = (),
    keep_outputs: bool = False,
    weights: Mapping[str, TensorProto] | None = None,
    given: Set[str] = frozenset(),
) -> ModelProto:
    """A finished model.

    Args:
        tracer: The graph that was built.
        outputs: Output name to value.
        inputs: Names of inputs that were added; those that nothing reads are left out.
        keep_outputs: Keep the model's own outputs, in front.
        weights: Tensors that were taken out of the model while it was worked on.
        given: Tensors that are fed instead of computed.

    Returns:
        A new model; nothing of it is shared with the tracer's.

    Raises:
        ModelError: an output has the name of an input or a weight, which would make a circle.
    """
    source, weights = tracer.model, weights or {}
    stored = {tensor.name for tensor in (*source.graph.initializer, *tracer.initializers)}
    taken = {*inputs, *given, *(entry.name for entry in source.graph.input), *stored} & outputs.keys()
    if taken:
        raise ModelError(f"An output of the graph is called {min(taken)!r}, as one of its inputs is. Rename it there.")
    named = []
    for name, value in outputs.items():
        named.append(helper.make_node("Identity", [value.name], [name], name=tracer.fresh(f"output/{name}")))
    kept = list(source.graph.output) if keep_outputs else []
    wanted = {v.name for v in kept} | set(outputs)
    made_here = [node for node in (*tracer.forward, *tracer.emitted) if given.isdisjoint(node.output)]
    nodes, live = needed(ordered([*made_here, *named]), wanted)
    tell_apart(nodes)

    model = ModelProto(ir_version=source.ir_version, producer_name="xplain")
    model.opset_import.extend(source.opset_import)
    model.metadata_props.extend(source.metadata_props)
    model.functions.extend(source.functions)
    graph = model.graph
    graph.name = source.graph.name or "explained"
    graph.node.extend(_under_their_names(nodes, outputs, {v.name for v in kept}))
    for tensor in (*source.graph.initializer, *tracer.initializers):
        if tensor.name in live:
            graph.initializer.add().CopyFrom(weights.get(tensor.name, tensor))
    # the model's own first input stays even when a sweep does not read it: callers feed it
    graph.input.extend(v for k, v in enumerate(source.graph.input) if k == 0 or keep_outputs or v.name in live)
    graph.input.extend(_info(tracer.value(name)) for name in (*inputs, *sorted(given)) if name in live)
    graph.output.extend(kept)
    graph.output.extend(_info(value, name) for name, value in outputs.items())
    declared = {v.name for v in (*graph.input, *graph.output)}
    made = [name for node in graph.node for name in node.output if name and name not in declared]
    graph.value_info.extend(_shapes(tracer, made))
    return model


def _under_their_names(nodes: Sequence[NodeProto], outputs: Mapping[str, Value], taken: set[str]) -> list[NodeProto]:
    """The nodes with outputs under their names from the start, where a node makes them, instead of by an Identity.

    ONNX Runtime (1.31) takes such an Identity away by renaming what it reads, and its fusion of a Pad then asks for the
    old name: a layer that is padded before the next convolution was refused as an invalid model.
    """
    made = {name for node in nodes for name in node.output}
    names: dict[str, str] = {}
    for name, value in outputs.items():
        if value.name in made - taken and value.name not in names and value.name not in outputs:
            names[value.name] = name
    if not names:
        return list(nodes)
    found = []
    for node in nodes:
        if node.op_type == "Identity" and len(node.input) == 1 and names.get(node.input[0]) == node.output[0]:
            continue
        if names.keys().isdisjoint((*reads(node), *node.output)):
            found.append(node)
            continue
        copy = NodeProto()
        copy.CopyFrom(node)
        rename_reads(copy, names)
        copy.output[:] = [names.get(name, name) for name in copy.output]
        found.append(copy)
    return found


def _shapes(tracer: Tracer, names: Sequence[str]) -> Iterator[ValueInfoProto]:
    """What the tracer knows of planes inside, ``[N, C, H, W]``.

    ONNX Runtime keeps its blocked layout through a product or a sum only where it sees that both sides have the same
    extents, and a free batch is the same only by its name, which its own inference loses on the way back. With the
    names written down the reorderings between convolutions go: with 8 items MobileNetV2's gradient takes 0.80 of the
    processor time, ResNet-50's 0.91. Other tensors have no such layout; said of a ViT's, too, they cost 1 to 3 %, since
    memory is then planned otherwise.
    """
    for name in names:
        shape = tracer.shapes.get(name)
        if shape is not None and len(shape) == 4 and isinstance(shape[1], int) and shape[1] % _SMALLEST_BLOCK == 0:
            yield _info(tracer.value(name))


def _info(value: Value, name: str = "") -> ValueInfoProto:
    return helper.make_tensor_value_info(name or value.name, value.dtype, value.shape)
