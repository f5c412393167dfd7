"""A walk through a graph from its input on: what is known so far, and what the operators' rules may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from xplain.core.edits import Array
from xplain.graph.analysis.constants import Weights
from xplain.graph.dtypes import FLOAT
from xplain.graph.intake.bounds import known_for
from xplain.graph.nodes import Model, Node, numbers
from xplain.incremental.products import Product
from xplain.incremental.steps import Plane, Step

__all__ = ["Blocked", "Followed", "Mean", "Rule", "Stop", "Walk"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over the whole plane: the change leaves the plane and becomes a vector."""

    out: str
    source: str
    factor: float
    channels: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """An operator that could not be followed, and why."""

    node: str
    operator: str
    reason: str


@dataclass
class Followed:
    """What the walk found.

    Args:
        entry: The tensor in which the picture lies as ``[N, C, H, W]``: the input, or what a Transpose makes of it.
        channels_last: True where the input is NHWC and ``entry`` its transpose.
        planes: Extent of every tensor whose change is followed.
        shapes: Extents of all tensors for one item, where they are known.
        aliases: Tensors whose delta is another's, such as that tensor plus a constant.
        steps: In an order in which they can run.
        means: By the name of their output.
        flat: Tensors that are a followed one as a vector, by what they are of.
        products: Matrix products with such a vector, by their output.
        blocked: The operators at which the walk ended.
    """

    entry: str
    channels_last: bool
    planes: dict[str, Plane]
    shapes: dict[str, tuple[int, ...]]
    aliases: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    means: dict[str, Mean] = field(default_factory=dict)
    flat: dict[str, str] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    blocked: list[Blocked] = field(default_factory=list)

    def root(self, name: str) -> str | None:
        """The tensor whose delta this one has; None where it is not followed."""
        name = self.aliases.get(name, name)
        return name if name in self.planes else None


class Stop(Exception):
    """An operator cannot be followed; the message says why."""


class Walk:
    """One walk.

    Args:
        model: The graph.
        source: The input that is edited.
        item: Shape of one item.
        outside: Weights that are not in the model, by name.
    """

    def __init__(self, model: Model, source: str, item: tuple[int, ...], outside: Mapping[str, Array]) -> None:
        self.model, self._source = model, source
        known = known_for(model, {source: (1, *item)})
        self._shapes, self._dtypes = known.shapes, known.dtypes
        self._weights = Weights(model, outside)
        self._seen = {source}  # tensors that depend on the input
        self.found = Followed("", False, {}, self._shapes)

    def enter(self) -> bool:
        """Find the tensor in which the picture lies; False where there is none."""
        readers = [node for node in self.model.graph.node if self._source in node.input]
        turned = [n for n in readers if n.op_type == "Transpose" and numbers(n, "perm") == (0, 3, 1, 2)]
        entry = turned[0].output[0] if turned and len(readers) == 1 else self._source
        plane = self.plane(entry)
        if plane is not None:
            self.found = Followed(entry, entry != self._source, {entry: plane}, self._shapes)
        return plane is not None

    def visit(self, node: Node, rules: Mapping[str, Rule]) -> None:
        """Follow one node, or note why it cannot be."""
        found = self.found
        if not any(name in self._seen for name in node.input):
            return
        self._seen.update(name for name in node.output if name)
        if found.entry in node.output or not any(found.root(name) or name in found.flat for name in node.input):
            return  # the entry itself; or behind an operator that was not followed, or a mean
        rule = rules.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        try:
            if rule is None:
                raise Stop("it is not local, or no rule for it is known")
            rule(self, node)
        except Stop as stop:
            found.blocked.append(Blocked(node.name or node.output[0], node.op_type, str(stop)))

    # ---- what rules ask -------------------------------------------------------------------------------------

    def source(self, node: Node, k: int = 0) -> tuple[str, Plane]:
        """Delta root and plane of an input that must be followed."""
        root = self.found.root(node.input[k])
        if root is None:
            raise Stop(f"its input {node.input[k]!r} is a global value of the picture")
        return root, self.found.planes[root]

    def constant(self, node: Node, k: int) -> Array | None:
        """An input that does not depend on the picture; None where there is none."""
        return self.content(node.input[k]) if k < len(node.input) and node.input[k] else None

    def content(self, name: str) -> Array | None:
        """What a constant holds that is a setting of an operator, such as a slice's bounds."""
        if name in self._seen:
            raise Stop(f"its input {name!r} is a global value of the picture")
        value = self._weights.get(name)
        if value is None:
            raise Stop(f"its input {name!r} is not a constant that can be read")
        return value

    def plane(self, name: str) -> Plane | None:
        """Extent of a float32 tensor ``[1, C, H, W]``; None for any other."""
        shape = self._shapes.get(name)
        if shape is None or len(shape) != 4 or shape[0] != 1 or self._dtypes.get(name) != FLOAT:
            return None
        return Plane(*shape[1:]) if min(shape) > 0 else None

    def vector(self, name: str) -> int | None:
        """Elements of a float32 tensor ``[1, K]``; None for any other."""
        shape = self._shapes.get(name)
        if shape is None or len(shape) != 2 or shape[0] != 1 or self._dtypes.get(name) != FLOAT:
            return None
        return shape[1]

    def result(self, node: Node, k: int = 0) -> tuple[str, Plane]:
        """Name and plane of an output."""
        plane = self.plane(node.output[k])
        if plane is None:
            raise Stop("its output is not a float32 tensor [N, C, H, W] of known extent")
        return node.output[k], plane

    def add(self, step: Step) -> None:
        """Note a step."""
        self.found.planes[step.out] = step.plane
        self.found.steps.append(step)

    def alias(self, name: str, root: str) -> None:
        """State that a tensor's delta is another's."""
        self.found.aliases[name] = root


Rule: TypeAlias = Callable[[Walk, Node], None]
"""How one kind of operator is followed: notes steps, aliases or means, or raises ``Stop``."""
