"""Which tensors of integers stand for real numbers, and for which: ``real = (integer - zero point) * scale``.

A quantiser says so of what it writes, and an operator that only moves or chooses elements leaves it so. In a file of
QOperator form (QLinearConv, QLinearAdd ...) every activation is such a tensor, so these are the layers that a person
sees there, and names. Whoever asks for one gets real numbers; its cotangent is that of the real numbers already, see
``xplain.graph.ops.quantised``.

What ``DynamicQuantizeLinear`` writes is left out: operators on whole numbers read it, whose cotangents are of the
integers, and the float tensor that it reads is there to be named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from onnx import NodeProto, helper

from xplain.graph.nodes import attributes_of
from xplain.graph.operators import facts_of

__all__ = ["Quantised", "quantised_tensors"]


@dataclass(frozen=True, slots=True)
class Quantised:
    """How a tensor of integers is read.

    Args:
        scale: Tensor with the real number that one step stands for.
        zero: Tensor with the integer that stands for 0; empty for 0 itself.
        axis: Axis along which scales differ; None where one serves all.
        domain: Operator set whose quantiser wrote it; onnxruntime's own knows more integer types in old opsets.
        kind: Integer type that the quantiser was told to write where it has no zero point; 0 for uint8.
    """

    scale: str
    zero: str = ""
    axis: int | None = None
    domain: str = ""
    kind: int = 0

    @property
    def parameters(self) -> list[str]:
        """The tensors of scale and zero point."""
        return [self.scale, self.zero] if self.zero else [self.scale]

    @property
    def along(self) -> dict[str, Any]:
        """The attribute ``axis`` where it matters."""
        return {} if self.axis is None else {"axis": self.axis}

    def read(self, integers: str, real: str) -> NodeProto:
        """The node that turns integers into real numbers."""
        return helper.make_node(
            "DequantizeLinear", [integers, *self.parameters], [real], name=real, domain=self.domain, **self.along
        )

    def written(self, real: str, integers: str) -> NodeProto:
        """The node that turns real numbers into integers; those that were read come back as they were."""
        told: dict[str, Any] = {"output_dtype": self.kind} if self.kind else {}
        return helper.make_node(
            "QuantizeLinear",
            [real, *self.parameters],
            [integers],
            name=integers,
            domain=self.domain,
            **self.along,
            **told,
        )


def quantised_tensors(nodes: Iterable[NodeProto], shape: Callable[[str], Sequence[Any] | None]) -> dict[str, Quantised]:
    """The tensors of integers that stand for real numbers, as far as the nodes tell.

    Args:
        nodes: In order.
        shape: The extents of a tensor; None where they are not known.
    """
    found: dict[str, Quantised] = {}
    made: set[str] = set()
    for node in nodes:
        kept = _own(node, shape) or _kept(node, found, made)
        if kept is not None:
            found.update((name, kept) for name in (node.output if node.op_type == "Split" else node.output[:1]) if name)
        made.update(node.output)
    return found


def _own(node: NodeProto, shape: Callable[[str], Sequence[Any] | None]) -> Quantised | None:
    """What an operator that writes integers says of them."""
    at = facts_of(node).scale
    if at is None or at >= len(node.input) or not node.input[at]:  # QGemm without a scale writes real numbers
        return None
    given = attributes_of(node)
    if given.get("block_size"):
        return None
    scale, zero = node.input[at], node.input[at + 1] if at + 1 < len(node.input) else ""
    if node.op_type != "QuantizeLinear":
        return Quantised(scale, zero)
    axis = None if shape(scale) in ((), (1,)) else int(given.get("axis", 1))
    return Quantised(scale, zero, axis, node.domain, 0 if zero else int(given.get("output_dtype", 0)))


def _kept(node: NodeProto, found: Mapping[str, Quantised], made: Set[str]) -> Quantised | None:
    """The scale and zero point that all inputs of an operator that only moves them share, or None; constants agree."""
    steps = facts_of(node).steps
    names = [] if steps is None else node.input[slice(*steps)]
    ways = {found.get(name) for name in names if name in made}
    kept = ways.pop() if len(ways) == 1 else None
    return kept if kept is not None and kept.axis is None else None
