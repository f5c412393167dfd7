"""Convolutions and matrix products with what follows them, in the layouts that kernels like."""

from __future__ import annotations

from onnx import NodeProto

from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.activations import activate, tanh_gelu
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs

__all__ = ["OPENERS"]


def _conv(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``activation(Conv(x, w, b) + z)``."""
    kind, parameters = attributes.pop("activation", ""), list(attributes.pop("activation_params", []))
    y = chain("Conv", *node.input[:3], **attributes)
    if len(node.input) > 3 and node.input[3]:
        y = chain("Add", y, node.input[3])
    return activate(chain, y, kind, parameters, node.output[0])


def _gemm(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``activation(Gemm(a, b, c))``."""
    kind, parameters = _activation(attributes)
    y = chain("Gemm", *node.input, **attributes)
    return activate(chain, y, kind, parameters, node.output[0])


def _activation(attributes: Attributes) -> tuple[str, list[float]]:
    """Takes the activation out of the attributes, and its parameters."""
    kind = attributes.pop("activation", "")
    parameters = [attributes.pop(f"activation_{name}", None) for name in ("alpha", "beta", "gamma")]
    return kind, [p for p in parameters if p is not None]


def _matmul(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``activation(alpha a' b')``, an operand's last two axes swapped, or its first put before the last, if asked."""
    operands = []
    for name, side in zip(node.input, "AB", strict=True):
        order = _order(attributes, side, shapes.get(name))
        if order is None:
            return False
        operands.append(name if order == list(range(len(order))) else chain("Transpose", name, perm=order))
    alpha, (kind, parameters) = float(attributes.get("alpha", 1.0)), _activation(attributes)
    if attributes.get("activation_axis") is not None:
        return False
    out = "" if kind else node.output[0]
    y = chain("MatMul", *operands, output=out if alpha == 1.0 else "")
    if alpha != 1.0:
        y = chain("Mul", y, chain.number(alpha, y), output=out)
    return not kind or activate(chain, y, kind, parameters, node.output[0])


def _order(attributes: Attributes, side: str, shape: tuple[object, ...] | None) -> list[int] | None:
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


def _gemm_fast_gelu(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``gelu(x w + b)``, the GELU by tanh."""
    x, w, bias = inputs(node, 3)
    y = chain("MatMul", x, w)
    tanh_gelu(chain, chain("Add", y, bias) if bias else y, node.output[0])
    return True


def _channels_last(op: str, weights_too: bool = False) -> Opener:
    """An operator on ``[N, *spatial, C]``; its weights may lie as ``[O, *kernel, I]``."""

    def opened(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
        shape = shapes.get(node.input[0])
        rank = len(shape) if shape is not None else len(attributes.get("kernel_shape", (0, 0))) + 2
        first = [0, rank - 1, *range(1, rank - 1)]
        x, w, bias, extra = inputs(node, 4)
        kind, parameters = attributes.pop("activation", ""), list(attributes.pop("activation_params", []))
        if w and weights_too:
            w = chain("Transpose", w, perm=first)
        y = chain(op, chain("Transpose", x, perm=first), *(name for name in (w, bias) if name), **attributes)
        if extra:
            y = chain("Add", y, chain("Transpose", extra, perm=first))
        if kind:
            inner = f"{chain.prefix}/activated"
            if not activate(chain, y, kind, parameters, inner):
                return False
            y = inner
        chain("Transpose", y, perm=[0, *range(2, rank), 1], output=node.output[0])
        return True

    return opened


OPENERS: dict[str, Opener] = {
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "FusedMatMulActivation": _matmul,
    "GemmFastGelu": _gemm_fast_gelu,
    "NhwcConv": _channels_last("Conv", weights_too=True),
    "NhwcFusedConv": _channels_last("Conv"),
    "NhwcMaxPool": _channels_last("MaxPool"),
    "TransposeMatMul": _matmul,
}
