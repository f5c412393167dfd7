"""What a person may name in a loaded model: its inputs, and the tensors inside."""

from __future__ import annotations

from onnx import TensorProto

from xplain.core.axes import positional
from xplain.core.errors import ModelError
from xplain.core.outline import LayerSpec, TensorSpec
from xplain.graph.analysis.affine import affine_tensors
from xplain.graph.analysis.follow import follow
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.intake.load import Loaded
from xplain.graph.ops.table import facts_of
from xplain.graph.reverse.cut import dtype_name

__all__ = ["activations_of", "inputs_of", "layers_of", "put_first", "quirks_of"]

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})


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


def put_first(loaded: Loaded, name: str) -> None:
    """Make ``name`` the first input: that is the one a sweep explains."""
    entries = sorted(loaded.model.graph.input, key=lambda entry: entry.name != name)
    del loaded.model.graph.input[:]
    loaded.model.graph.input.extend(entries)


def layers_of(loaded: Loaded) -> tuple[LayerSpec, ...]:
    """Real-valued tensors inside the model that depend on its input, in the order of evaluation.

    Integers that stand for real numbers are among them, under their own names: in a file of QOperator form they are all
    there is between the first quantiser and the last.
    """
    known = loaded.known
    affine = affine_tensors(loaded.model.graph, known.constants)
    last = _channels_last(loaded)
    found = []
    for node in loaded.model.graph.node:
        # a fused norm has the sum that it normalises as its last output
        for name in reversed(node.output) if node.op_type.startswith("Skip") else node.output:
            if not name or name in known.constants or loaded.dtype(name) not in _FLOATS:
                continue
            shape = loaded.shape(name)
            if shape is None or len(shape) >= 2:
                found.append(LayerSpec(name, node.op_type, shape or (), name in affine, name in last))
    return tuple(found)


def _channels_last(loaded: Loaded) -> frozenset[str]:
    """Tensors ``[N, H, W, C]`` of a file that a runtime laid out so, as their axes are followed; none of any other."""
    graph = loaded.model.graph
    own = any(
        n.op_type.startswith("Nhwc") or any(a.name == "channels_last" and a.i for a in n.attribute) for n in graph.node
    )
    item = loaded.known.shapes.get(graph.input[0].name, ())[1:]
    if not own or len(item) != 3:
        return frozenset()
    axes = follow(loaded, item).axes
    return frozenset(
        name
        for name, one in axes.items()
        if len(one) == 4 and positional(one[1]) and positional(one[2]) and not positional(one[3])
    )


def activations_of(loaded: Loaded) -> frozenset[str]:
    """The activations that clip; ``Relu`` also where a quantiser does the work of one."""
    graph = loaded.model.graph
    makers = {name: node for node in graph.node for name in node.output}
    live = [node for node in graph.node if not loaded.known.constants.issuperset(filter(None, node.output))]
    found = {node.op_type for node in live if facts_of(node).rectifier}
    quantisers = any(rectifies(node, makers.get, loaded.content) for node in graph.node)
    return frozenset(found | {"Relu"} if quantisers else found)


def quirks_of(loaded: Loaded, scores: str) -> list[str]:
    """What a careful user should know of this file."""
    found = [f"{check.what}: {check.found}." for check in loaded.verdict.notable]
    if any(facts_of(node).integer for node in loaded.model.graph.node):
        read = " Its layers of integers are read as the real numbers that they stand for." if loaded.quantised else ""
        found.append(
            f"The model is quantised to integers: equal scores are common, and maps are coarser in value.{read}"
        )
    if loaded.known.dtypes.get(scores) == TensorProto.FLOAT16:
        found.append("Scores are fp16, about 3 decimal digits: differences below a thousandth of a score are rounded.")
    rank = len(loaded.known.shapes.get(scores, (1, 1)))
    if rank > 2:
        found.append(f"Scores have {rank} axes; those of extent 1 are dropped.")
    return found
