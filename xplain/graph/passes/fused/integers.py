"""Products of integers whose result is real, and the attention that begins with one."""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, TensorProto

from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.attention import Whole, merged
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent

__all__ = ["OPENERS", "dynamic_product"]


def dynamic_product(chain: Chain, x: str, weight: str, scale: str, zero: str, bias: str = "", out: str = "") -> str:
    """A real tensor is quantised as it comes, and multiplied in integers."""
    label = len(chain.nodes)
    q, x_scale, x_zero = chain.parts(f"integers{label} scale{label} zero{label}", "DynamicQuantizeLinear", x)
    return _product(chain, [q, weight, x_scale, scale, x_zero, zero, bias], out)


def _product(chain: Chain, operands: list[str], out: str = "") -> str:
    """``(a - za) (b - zb) sa sb + bias``."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = operands
    zeros = [a_zero, b_zero] if b_zero else [a_zero] if a_zero else []
    whole = chain("Cast", chain("MatMulInteger", a, b, *zeros), to=TensorProto.FLOAT)
    real = chain("Mul", whole, chain("Mul", a_scale, b_scale), output="" if bias else out)
    return chain("Add", real, bias, output=out) if bias else real


def _real_product(chain: Chain, operands: list[str], shapes: Shapes, out: str = "") -> str:
    """The same in integers where the left operand was quantised at run time; else both operands as real numbers."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = operands
    makers = {name: other for other in chain.model.graph.node for name in other.output}
    maker = makers.get(a)
    if maker is not None and maker.op_type == "DynamicQuantizeLinear":
        return _product(chain, operands, out)
    per_column = shapes.get(b_scale) not in ((), (1,), None)
    axis: dict[str, Any] = {"axis": len(shapes.get(b) or (0, 0)) - 1} if per_column else {}
    real = [
        chain("DequantizeLinear", a, a_scale, *([a_zero] if a_zero else [])),
        chain("DequantizeLinear", b, b_scale, *([b_zero] if b_zero else []), **axis),
    ]
    y = chain("MatMul", *real, output="" if bias else out)
    return chain("Add", y, bias, output=out) if bias else y


def _dynamic_matmul(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    a, b, scale, zero, bias = inputs(node, 5)
    dynamic_product(chain, a, b, scale, zero, bias, node.output[0])
    return True


def _integer_matmul(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    _real_product(chain, inputs(node, 7), shapes, node.output[0])
    return True


def _attention(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """One integer product makes q, k and v."""
    x, weight, bias, x_scale, scale, mask, x_zero, zero, past = inputs(node, 9)
    width = last_extent(shapes, weight)
    if width is None or attributes.get("do_rotary") or attributes.get("past_present_share_buffer"):
        return False
    whole = _real_product(chain, [x, weight, x_scale, scale, x_zero, zero, bias], shapes)
    return merged(chain, node, Whole(whole, (width // 3,) * 3, mask, past), attributes, shapes)


OPENERS: dict[str, Opener] = {
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _integer_matmul,
    "QAttention": _attention,
}
