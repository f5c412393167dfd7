"""Activations that ONNX Runtime has as one operator, with the bias that goes in front of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from xplain.graph.nodes import opset_of
from xplain.graph.operators import parameters_of
from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent

__all__ = ["OPENERS", "activate", "silu", "tanh_gelu"]

_GELU = 20
"""The first opset that has it."""


def activate(chain: Chain, x: str, kind: str, parameters: list[float], out: str) -> bool:
    """The activation at the end of a fused operator; none where it is not named."""
    names = parameters_of(kind)
    if kind == "":
        chain("Identity", x, output=out)
    elif kind == "Clip":
        chain("Clip", x, *(chain.number(bound, x) for bound in parameters[:2]), output=out)
    elif names is not None:
        chain(kind, x, output=out, **dict(zip(names, parameters, strict=False)))
    return kind in ("", "Clip") or names is not None


def _gelu(chain: Chain, x: str, out: str = "") -> str:
    """``x / 2 (1 + erf(x / sqrt 2))``: one operator from opset 20 on, before that the parts that exporters write."""
    if opset_of(chain.model) >= _GELU:
        return chain("Gelu", x, output=out)
    inside = chain("Erf", chain("Div", x, chain.number(np.sqrt(2.0), x)))
    product = chain("Mul", x, chain("Add", inside, chain.number(1.0, x)))
    return chain("Mul", product, chain.number(0.5, x), output=out)


def tanh_gelu(chain: Chain, x: str, out: str = "") -> str:
    """``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``."""
    if opset_of(chain.model) >= _GELU:
        return chain("Gelu", x, output=out, approximate="tanh")
    cube = chain("Mul", chain("Mul", chain("Mul", x, x), x), chain.number(0.044715, x))
    inside = chain("Mul", chain("Add", x, cube), chain.number(np.sqrt(2.0 / np.pi), x))
    product = chain("Mul", x, chain("Add", chain("Tanh", inside), chain.number(1.0, x)))
    return chain("Mul", product, chain.number(0.5, x), output=out)


def silu(chain: Chain, x: str, out: str = "") -> str:
    """``x sigmoid(x)``."""
    return chain("Mul", x, chain("Sigmoid", x), output=out)


def _curve(form: Callable[[Chain, str, str], str]) -> Opener:
    def opened(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
        x, bias = inputs(node, 2)
        form(chain, chain("Add", x, bias) if bias else x, node.output[0])
        return True

    return opened


def _quick(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``x sigmoid(alpha x)``."""
    x, alpha = node.input[0], float(attributes.get("alpha", 1.702))
    scaled = x if alpha == 1.0 else chain("Mul", x, chain.number(alpha, x))
    chain("Mul", x, chain("Sigmoid", scaled), output=node.output[0])
    return True


def _scaled_silu(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``silu(s x)``, the scale an input or an attribute."""
    x, scale = inputs(node, 2)
    factor = chain("CastLike", scale, x) if scale else chain.number(float(attributes.get("alpha", 1.0)), x)
    silu(chain, chain("Mul", x, factor), node.output[0])
    return True


def _split_gelu(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``l gelu(r)``, l and r the halves of ``x + bias``."""
    x, bias = inputs(node, 2)
    width = last_extent(shapes, x) or last_extent(shapes, bias)
    if width is None:
        return False
    total = chain("Add", x, bias) if bias else x
    left, right = chain.parts("left right", "Split", total, chain.const([width // 2, width // 2]), axis=-1)
    chain("Mul", left, _gelu(chain, right), output=node.output[0])
    return True


def _bias_softmax(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``softmax(x + bias)`` over all axes from ``axis`` on together."""
    x, bias = inputs(node, 2)
    rank, axis = len(shapes[x]) if x in shapes else None, int(attributes.get("axis", 1))
    total = chain("Add", x, bias)
    if axis == -1 or (rank is not None and axis % rank == rank - 1):
        chain("Softmax", total, axis=-1, output=node.output[0])
    else:
        flat = chain("Softmax", chain("Flatten", total, axis=axis), axis=-1)
        chain("Reshape", flat, chain("Shape", x), output=node.output[0])
    return True


def _bias_add(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``x + bias + skip``."""
    x, bias, skip = inputs(node, 3)
    chain("Add", chain("Add", x, bias), skip, output=node.output[0])
    return True


def _gated_add(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``x + g y``."""
    x, y, gate = inputs(node, 3)
    chain("Add", x, chain("Mul", y, gate), output=node.output[0])
    return True


OPENERS: dict[str, Opener] = {
    "BiasAdd": _bias_add,
    "BiasGelu": _curve(_gelu),
    "BiasSoftmax": _bias_softmax,
    "BiasSplitGelu": _split_gelu,
    "FastGelu": _curve(tanh_gelu),
    "GatedAdd": _gated_add,
    "Gelu": _curve(_gelu),
    "QuickGelu": _quick,
    "ScaledSiLU": _scaled_silu,
}
