"""Write the operators into which ONNX Runtime fuses several (com.microsoft) as the standard operators they stand for.

A file that the runtime optimised and saved, or that its transformer optimiser wrote, then has every rule table: a
guided rule finds the ReLU inside ``FusedConv``, LRP and DeepLIFT see the softmax inside ``Attention``. The emitted file
is standard again. Operators that stay are those of one machine's memory layout (com.microsoft.nchwc), which no other
machine can run either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, helper, numpy_helper

from xplain.graph.passes.attention import open_attention, open_embedding, open_multi_head
from xplain.graph.passes.chain import Chain, attributes_of
from xplain.graph.passes.dequantise import open_one
from xplain.graph.tracer import Shape, Tracer, opset_of

__all__ = ["open_fused", "opened"]

_CAST_LIKE, _GELU = 15, 20
"""The first opsets that have these operators."""

Opener: TypeAlias = Callable[[Chain, NodeProto, dict[str, Any], Mapping[str, Shape]], bool]
"""``(chain, node, its attributes, known shapes) -> done``; False leaves the node as it is."""


def open_fused(model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "") -> None:
    """Replace fused operators in place; those in a form that is not known stay, and have no rule."""
    if not any(_opener(node) for node in model.graph.node):
        return
    # shapes behind a fused operator are not known before it is opened, so each node is inferred as its turn comes
    tracer = Tracer(model, folder, weights)
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        opener = _opener(node)
        chain = Chain(model, f"{node.output[0]}/opened")
        before = len(model.graph.initializer)
        if opener is None or not opener(chain, node, attributes_of(node), tracer.shapes):
            chain.nodes = [node]
        for tensor in model.graph.initializer[before:]:
            tracer.shapes[tensor.name], tracer.dtypes[tensor.name] = tuple(tensor.dims), tensor.data_type
            tracer.constants.put(tensor.name, numpy_helper.to_array(tensor))
        for part in chain.nodes:
            if any(name not in tracer.shapes for name in part.output):
                tracer.infer(part)
        nodes.extend(chain.nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _write_down(model, tracer)


def opened(
    node: NodeProto, imports: Sequence[OperatorSetIdProto], shapes: Mapping[str, Shape]
) -> tuple[list[NodeProto], list[TensorProto]]:
    """The standard nodes that a fused or integer operator stands for, and their constants; none where it is neither.

    For whoever must know the shapes behind it: ONNX does not describe these operators.
    """
    scratch = ModelProto(opset_import=imports)
    nodes = open_one(scratch, node, shapes)
    opener = _opener(node)
    if not nodes and opener is not None:
        chain = Chain(scratch, f"{node.output[0]}/opened")
        nodes = chain.nodes if opener(chain, node, attributes_of(node), shapes) else []
    return nodes, list(scratch.graph.initializer)


def _write_down(model: ModelProto, tracer: Tracer) -> None:
    """Keep what was inferred: later inference cannot see through operators that stayed."""
    stated = {v.name for v in (*model.graph.value_info, *model.graph.output, *model.graph.input)}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in stated and name in tracer.shapes:
                model.graph.value_info.append(
                    helper.make_tensor_value_info(name, tracer.dtypes[name], tracer.shapes[name])
                )


def _opener(node: NodeProto) -> Opener | None:
    if node.domain == "com.microsoft" or node.op_type == "SimplifiedLayerNormalization":
        return _OPEN.get(node.op_type)
    return None


def number(chain: Chain, value: float, like: str) -> str:
    """A number in the precision of a tensor; models that stay at an old opset are in float32."""
    if opset_of(chain.model) < _CAST_LIKE:
        return chain.const(value, np.float32)
    return chain("CastLike", chain.const(value, np.float32), like)


def _activate(chain: Chain, x: str, kind: str, parameters: list[float], out: str) -> bool:
    """The activation at the end of a fused operator."""
    if kind in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign"):
        chain(kind, x, output=out)
    elif kind == "Clip":
        chain("Clip", x, *(number(chain, bound, x) for bound in parameters[:2]), output=out)
    elif kind in ("LeakyRelu", "Elu", "ThresholdedRelu"):
        chain(kind, x, output=out, **({"alpha": parameters[0]} if parameters else {}))
    elif kind == "HardSigmoid":
        chain(kind, x, output=out, **dict(zip(("alpha", "beta"), parameters, strict=False)))
    else:
        return False
    return True


def _conv(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """``activation(Conv(x, w, b) + z)``."""
    kind, parameters = attributes.pop("activation", ""), list(attributes.pop("activation_params", []))
    y = chain("Conv", *node.input[:3], **attributes)
    if len(node.input) > 3 and node.input[3]:
        y = chain("Add", y, node.input[3])
    return _activate(chain, y, kind, parameters, node.output[0])


def _gemm(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """``activation(Gemm(a, b, c))``."""
    kind = attributes.pop("activation", "")
    parameters = [attributes.pop(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")]
    y = chain("Gemm", *node.input, **attributes)
    return _activate(chain, y, kind, [p for p in parameters if p is not None], node.output[0])


def _matmul(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """``alpha a' b'``, each operand with its last two axes swapped, or its first put before the last, if asked."""
    operands = []
    for name, side in zip(node.input, "AB", strict=True):
        order = _order(attributes, side, shapes.get(name))
        if order is None:
            return False
        operands.append(name if order == list(range(len(order))) else chain("Transpose", name, perm=order))
    alpha = float(attributes.get("alpha", 1.0))
    if alpha == 1.0:
        chain("MatMul", *operands, output=node.output[0])
    else:
        y = chain("MatMul", *operands)
        chain("Mul", y, number(chain, alpha, y), output=node.output[0])
    return True


def _order(attributes: dict[str, Any], side: str, shape: Shape | None) -> list[int] | None:
    """How the axes of an operand are permuted; None where its rank is not known but matters."""
    batch, swap = (bool(attributes.get(f"{what}{side}", 0)) for what in ("transBatch", "trans"))
    if not batch and not swap:
        return []
    if shape is None:
        return None
    order = list(range(len(shape)))
    if batch and len(order) > 2:
        order = [*order[1:-1], 0, order[-1]]
    return [*order[:-2], order[-1], order[-2]] if swap and len(order) > 1 else order


def gelu(chain: Chain, x: str, out: str) -> None:
    """``x / 2 (1 + erf(x / sqrt 2))``: one operator from opset 20 on, before that the parts that exporters write."""
    if opset_of(chain.model) >= _GELU:
        chain("Gelu", x, output=out)
        return
    inside = chain("Erf", chain("Div", x, number(chain, float(np.sqrt(2.0)), x)))
    product = chain("Mul", x, chain("Add", inside, number(chain, 1.0, x)))
    chain("Mul", product, number(chain, 0.5, x), output=out)


def _tanh_gelu(chain: Chain, x: str, out: str) -> None:
    """``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``."""
    if opset_of(chain.model) >= _GELU:
        chain("Gelu", x, output=out, approximate="tanh")
        return
    cube = chain("Mul", chain("Mul", chain("Mul", x, x), x), number(chain, 0.044715, x))
    inside = chain("Mul", chain("Add", x, cube), number(chain, float(np.sqrt(2.0 / np.pi)), x))
    product = chain("Mul", x, chain("Add", chain("Tanh", inside), number(chain, 1.0, x)))
    chain("Mul", product, number(chain, 0.5, x), output=out)


def _curve(form: Callable[[Chain, str, str], None]) -> Opener:
    def opened(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
        biased = len(node.input) > 1 and node.input[1] != ""
        x = chain("Add", node.input[0], node.input[1]) if biased else node.input[0]
        form(chain, x, node.output[0])
        return True

    return opened


def _quick(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """``x sigmoid(alpha x)``."""
    x, alpha = node.input[0], float(attributes.get("alpha", 1.702))
    scaled = x if alpha == 1.0 else chain("Mul", x, number(chain, alpha, x))
    chain("Mul", x, chain("Sigmoid", scaled), output=node.output[0])
    return True


def _skip_norm(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """``LayerNorm(x + skip + bias)``; the sum is an output too, the residual stream goes on from it."""
    total = _summed(chain, node, bias=4)
    beta = [node.input[3]] if len(node.input) > 3 and node.input[3] else []
    epsilon = float(attributes.get("epsilon", 1e-12))
    norm = helper.make_node(
        "LayerNormalization", [total, node.input[2], *beta], node.output[:3], axis=-1, epsilon=epsilon
    )
    chain.nodes.append(norm)
    return True


def _summed(chain: Chain, node: NodeProto, bias: int) -> str:
    """``x + skip + bias``, called as the node's fourth output where somebody reads that.

    The bias is added where it was before fusion, to the matrix product: there it takes its part of the relevance.
    """
    x, skip = node.input[:2]
    shift = node.input[bias] if bias < len(node.input) else ""
    if shift:
        products = {o for other in chain.model.graph.node if "MatMul" in other.op_type for o in other.output}
        if skip in products and x not in products:
            skip = chain("Add", skip, shift)
        else:
            x = chain("Add", x, shift)
    return chain("Add", x, skip, output=node.output[3] if len(node.output) > 3 else "")


def _skip_root_norm(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    if any(node.output[1:3]):
        return False
    total = _summed(chain, node, bias=3)
    _root_norm(chain, total, node.input[2], attributes, node.output[0])
    return True


def _simplified(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    rank = len(shapes[node.input[0]]) if node.input[0] in shapes else None
    last = attributes.get("axis", -1) == -1 or (rank is not None and attributes["axis"] == rank - 1)
    if any(node.output[1:]) or not last:
        return False
    _root_norm(chain, node.input[0], node.input[1], attributes, node.output[0])
    return True


def _root_norm(chain: Chain, x: str, scale: str, attributes: dict[str, Any], out: str) -> None:
    """``s x / sqrt(mean(x^2) + eps)`` over the last axis."""
    mean = chain("ReduceMean", chain("Mul", x, x), chain.const([-1]))
    length = chain("Sqrt", chain("Add", mean, number(chain, float(attributes.get("epsilon", 1e-5)), x)))
    chain("Mul", chain("Div", x, length), scale, output=out)


def _dynamic_matmul(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """The float operand is quantised as it comes, and multiplied in integers."""
    a, b, scale, zero, bias = [*node.input, *[""] * 5][:5]
    quantised, a_scale, a_zero = (f"{chain.prefix}/{part}" for part in ("integers", "scale", "zero"))
    chain.nodes.append(
        helper.make_node("DynamicQuantizeLinear", [a], [quantised, a_scale, a_zero], name=f"{chain.prefix}/quantise")
    )
    _integer_product(chain, [quantised, b, a_scale, scale, a_zero, zero, bias], node.output[0])
    return True


def _integer_product(chain: Chain, inputs: list[str], out: str) -> None:
    """``(a - za) (b - zb) sa sb + bias``."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = inputs
    zeros = [a_zero, b_zero] if b_zero else [a_zero] if a_zero else []
    whole = chain("Cast", chain("MatMulInteger", a, b, *zeros), to=TensorProto.FLOAT)
    real = chain("Mul", whole, chain("Mul", a_scale, b_scale), output="" if bias else out)
    if bias:
        chain("Add", real, bias, output=out)


def _integer_matmul(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """As above where the operand was quantised at run time; else both operands as real numbers."""
    inputs = [*node.input, *[""] * 7][:7]
    makers = {name: other for other in chain.model.graph.node for name in other.output}
    maker = makers.get(inputs[0])
    if maker is not None and maker.op_type == "DynamicQuantizeLinear":
        _integer_product(chain, inputs, node.output[0])
        return True
    a, b, a_scale, b_scale, a_zero, b_zero, bias = inputs
    per_column = shapes.get(b_scale) not in ((), (1,), None)
    axis: dict[str, Any] = {"axis": len(shapes.get(b) or (0, 0)) - 1} if per_column else {}
    real = [
        chain("DequantizeLinear", a, a_scale, *([a_zero] if a_zero else [])),
        chain("DequantizeLinear", b, b_scale, *([b_zero] if b_zero else []), **axis),
    ]
    y = chain("MatMul", *real, output="" if bias else node.output[0])
    if bias:
        chain("Add", y, bias, output=node.output[0])
    return True


def _channels_last(op: str) -> Opener:
    """An operator on ``[N, *spatial, C]``."""

    def opened(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
        shape = shapes.get(node.input[0])
        rank = len(shape) if shape is not None else len(attributes.get("kernel_shape", (0, 0))) + 2
        first = chain("Transpose", node.input[0], perm=[0, rank - 1, *range(1, rank - 1)])
        inputs = [first, *node.input[1:]]
        if op == "Conv":  # weights lie as [O, *kernel, I]
            inputs[1] = chain("Transpose", inputs[1], perm=[0, rank - 1, *range(1, rank - 1)])
        y = chain(op, *inputs, **attributes)
        chain("Transpose", y, perm=[0, *range(2, rank), 1], output=node.output[0])
        return True

    return opened


_OPEN: dict[str, Opener] = {
    "Attention": open_attention,
    "BiasGelu": _curve(gelu),
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "EmbedLayerNormalization": open_embedding,
    "FastGelu": _curve(_tanh_gelu),
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _curve(gelu),
    "MatMulIntegerToFloat": _integer_matmul,
    "MultiHeadAttention": open_multi_head,
    "NhwcConv": _channels_last("Conv"),
    "NhwcMaxPool": _channels_last("MaxPool"),
    "QuickGelu": _quick,
    "SimplifiedLayerNormalization": _simplified,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_root_norm,
    "TransposeMatMul": _matmul,
}
