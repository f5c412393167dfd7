"""Parts of a model as models of their own: other outputs, a start inside the graph, or a batch size set free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from xplain.core.errors import ModelError, UsageError
from xplain.graph.analysis.order import ordered, part_of
from xplain.graph.analysis.quantised import Quantised
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads, rename_reads
from xplain.graph.operators import facts_of

__all__ = ["cut", "fix_size", "free_batch", "header", "mixes_batch"]


def mixes_batch(model: ModelProto) -> str:
    """The first node that looks at the whole batch at once, as a person would call it; empty when there is none."""
    for node in model.graph.node:
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        if facts_of(node).batch or (node.op_type == "BatchNormalization" and training):
            return f"{node.op_type} (node {node.name or node.output[0]!r})"
    return ""


def cut(loaded: Loaded, model: ModelProto, outputs: Sequence[str], start: str | None = None) -> ModelProto:
    """The part of a model that leads to ``outputs``, from its inputs or from the tensor ``start`` on.

    Tensors of integers that stand for real numbers are read, and fed, as real numbers: a node at the cut turns the ones
    into the others.

    Args:
        loaded: Knows dtypes, and which integers stand for real numbers.
        model: ``loaded.model``, or an edited copy.
        outputs: Names of the tensors wanted, the model's own outputs or inner ones.
        start: Tensor that becomes the first input, in place of what makes it.

    Raises:
        ModelError: no path leads from ``start`` to the outputs.
    """
    ends = {name: loaded.quantised[name] for name in (*outputs, start) if name in loaded.quantised}
    parameters = {name for way in ends.values() for name in way.parameters}
    part = part_of(
        model,
        [_info(loaded, name) for name in outputs],
        () if start is None else [_info(loaded, start)],
        parameters,
    )
    if start is not None and not any(start in reads(node) for node in part.graph.node) and start not in outputs:
        raise ModelError(f"Nothing that {', '.join(map(repr, outputs))} needs is computed from tensor {start!r}.")
    if ends:
        _read_as_real(part.graph, ends, start)
    return part


def _read_as_real(graph: GraphProto, ends: Mapping[str, Quantised], start: str | None) -> None:
    """Let the names of these integers mean real numbers, and give the integers other names."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    names = {}
    for name in ends:
        names[name] = f"{name}/integers"
        while names[name] in taken:
            names[name] += "."
    for node in graph.node:
        rename_reads(node, names)
        for k, name in enumerate(node.output):
            node.output[k] = names.get(name, name)
    for name, way in ends.items():
        graph.node.append(way.written(name, names[name]) if name == start else way.read(names[name], name))
    nodes = ordered(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def _info(loaded: Loaded, name: str) -> ValueInfoProto:
    """A tensor without extents: what is cut out must run for any batch."""
    info = ValueInfoProto(name=name)
    info.type.tensor_type.elem_type = loaded.dtype(name) or TensorProto.FLOAT
    shape = loaded.known.shapes.get(name)
    if shape is not None:
        for _ in shape:
            info.type.tensor_type.shape.dim.add()
    return info


def fix_size(model: ModelProto, input_name: str, item: Sequence[int]) -> ModelProto:
    """A copy of a model whose input takes items of one size; extents that have the same names become it everywhere.

    What was known of the tensors in between is left out, for it is known of any size.

    Raises:
        UsageError: two axes that are one by their name would get two sizes.
    """
    fixed = ModelProto()
    fixed.CopyFrom(model)
    entry = next(entry for entry in fixed.graph.input if entry.name == input_name)
    named: dict[str, int] = {}
    batch, *dims = entry.type.tensor_type.shape.dim
    for dim, extent in zip(dims, item, strict=True):
        name = dim.dim_param
        if name and name != batch.dim_param and named.setdefault(name, extent) != extent:
            raise UsageError(f"The model calls two extents {name!r}, so they are one, not {named[name]} and {extent}.")
        dim.dim_value = extent
    for other in (*fixed.graph.input, *fixed.graph.output):
        for dim in other.type.tensor_type.shape.dim:
            if dim.dim_param in named:
                dim.dim_value = named[dim.dim_param]
    del fixed.graph.value_info[:]
    return fixed


def free_batch(loaded: Loaded, input_name: str) -> ModelProto | None:
    """A copy of a model of fixed batch size that may take any, or None where it is free already.

    The batch extent of inputs becomes free, and ``Reshape`` to a constant shape that begins with the batch keeps the
    batch instead. That is a guess at what the exporter baked in: compare the copy with the model before it is used.
    """
    known = loaded.known
    batch = next(_batch(entry) for entry in loaded.model.graph.input if entry.name == input_name)
    if batch is None:
        return None
    model = ModelProto()
    model.CopyFrom(loaded.model)
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    for entry in graph.input:
        if entry.name not in stored and _batch(entry) == batch:
            entry.type.tensor_type.shape.dim[0].dim_param = "batch"
    for entry in graph.output:
        if entry.type.HasField("tensor_type") and entry.type.tensor_type.HasField("shape"):
            for dim in entry.type.tensor_type.shape.dim[:1]:
                dim.dim_param = "batch"
    del graph.value_info[:]
    for k, node in enumerate(graph.node):
        data = node.input[0] if node.input else ""
        if node.op_type != "Reshape" or data in known.constants or known.shapes.get(data, (0,))[:1] != (batch,):
            continue
        _keep_batch(node, batch, k, loaded, model)
    return model


def _keep_batch(node: NodeProto, batch: int, number: int, loaded: Loaded, model: ModelProto) -> None:
    """Let a Reshape copy the batch extent (0) where it states it."""
    if len(node.input) < 2:  # before opset 5 the shape is an attribute
        for attribute in node.attribute:
            if attribute.name == "shape" and len(attribute.ints) > 1 and attribute.ints[0] == batch:
                attribute.ints[0] = 0
        return
    stated = loaded.known.content.get(node.input[1])
    keeps_zero = any(a.name == "allowzero" and a.i for a in node.attribute)
    if stated is None or stated.ndim != 1 or stated.size < 2 or int(stated[0]) != batch or keeps_zero:
        return
    name = f"{node.input[1]}.free.{number}"
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, *stated[1:]], dtype=np.int64), name))
    node.input[1] = name


def _batch(entry: ValueInfoProto) -> int | None:
    dims = entry.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if len(dims) and dims[0].dim_value > 0 else None


def header(model: ModelProto) -> ModelProto:
    """A model with the inputs of another and nothing else: what is needed to know how to feed it."""
    head = ModelProto()
    head.graph.input.extend(model.graph.input)
    return head
