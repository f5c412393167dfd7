"""What a rule on axes is given: one node, and what is known of the axes of the tensors before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onnx import NodeProto

from xplain.core.edits import Array
from xplain.core.positions import axes as ax
from xplain.core.positions.axes import Axes
from xplain.core.positions.lineage import Pick
from xplain.graph.intake.bounds import Known
from xplain.graph.nodes import attribute
from xplain.graph.operators import channels_last, facts_of
from xplain.graph.stated import numbers_of

__all__ = ["Call", "Trail"]


@dataclass(eq=False)
class Trail:
    """What was found on the way through a graph.

    Args:
        known: Shapes and small constants of the graph.
        axes: By tensor that descends from the item, its axes; None where they are not known.
        parents: By such a tensor, those of its node's inputs that descend from the item.
        picks: Tokens that are read on, or averaged.
        mixing: Tensors that are matrices of attention.
    """

    known: Known
    axes: dict[str, Axes | None] = field(default_factory=dict)
    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    picks: list[Pick] = field(default_factory=list)
    mixing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Call:
    """One node with what is known of its tensors."""

    node: NodeProto
    trail: Trail

    @property
    def op(self) -> str:
        """What it computes, on real numbers or on the integers that stand for them."""
        return facts_of(self.node).like or str(self.node.op_type)

    def given(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return attribute(self.node, name, default)

    def name(self, k: int) -> str:
        """The k-th input; empty where there is none."""
        return self.node.input[k] if 0 <= k < len(self.node.input) else ""

    def axes(self, k: int) -> Axes | None:
        """The axes of an input that descends from the item."""
        return self.trail.axes.get(self.name(k))

    def shape(self, k: int) -> tuple[int, ...] | None:
        """The shape of an input."""
        return self.trail.known.shapes.get(self.name(k))

    def content(self, k: int) -> Array | None:
        """What a small constant input holds."""
        return self.trail.known.content.get(self.name(k))

    def numbers(self, k: int, attribute: str) -> list[int] | None:
        """A setting of whole numbers, an input or an attribute."""
        return numbers_of(self.node, k, attribute, self.trail.known.content.get)

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.trail.known.shapes[self.node.output[0]]

    @property
    def last(self) -> bool:
        """Whether it is an operator of a runtime on ``[N, H, W, C]``."""
        return channels_last(self.node)

    @property
    def own(self) -> Axes:
        """The axes of the first input."""
        found = self.axes(0)
        if found is None:
            raise ValueError("the first input does not descend from the item")
        return found

    @property
    def live(self) -> list[Axes]:
        """The axes of all inputs that descend from the item."""
        return [axes for k in range(len(self.node.input)) if (axes := self.axes(k)) is not None]

    def note(self, axis: int, index: int | None) -> None:
        """Say that of a token axis one element is read on, or a mean."""
        axes = self.axes(0)
        if axes is not None and ax.positional(axes[axis]):
            self.trail.picks.append(Pick(self.node.output[0], ax.extent_of(axes[axis]), index))
