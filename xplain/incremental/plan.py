"""A plan: how the answer to a hidden window follows from the answer to the whole picture.

The graph falls into three parts. *Head*: the runtime computes the unmasked values that the steps read, once per
picture. *Steps*: deltas go through the kernels, for many masks at once. *Tail*: from where the steps end, the runtime
computes the scores, in batches of masks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from xplain.core.edits import Array
from xplain.graph.analysis.order import needed, part_of
from xplain.graph.nodes import Model, attribute, declared
from xplain.graph.operators import facts_of
from xplain.incremental import cost
from xplain.incremental.follow import follow
from xplain.incremental.fuse import fused
from xplain.incremental.places import Places, places
from xplain.incremental.products import Product
from xplain.incremental.steps import Boxes, Conv, Plane, Step
from xplain.incremental.walk import Blocked, Followed, Mean

__all__ = ["LayerGain", "Plan", "Refused", "Way", "digest_of", "plan"]

_LARGEST = 1 << 22
"""Elements of one tensor's windows that a batch of masks may have: 16 MiB, of which a few are held at once."""

_MASKS = 24
"""Most masks that go through the steps together. ResNet-50 takes as long with 16 or 32 (within 4 %)."""

_GROUP = 192
"""Most masks that go through the tail together: VGG-16's reads 0.5 GB of weights, whatever their number."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a model cannot be answered incrementally."""

    reason: str


@dataclass(frozen=True, slots=True)
class LayerGain:
    """One step's share: cost of the whole plane over cost of the windows."""

    name: str
    kind: str
    plain: float
    incremental: float

    @property
    def gain(self) -> float:
        """How many times less."""
        return self.plain / self.incremental if self.incremental else float("inf")


@dataclass(frozen=True, slots=True)
class Way:
    """Strategy chosen for a set of masks: what it gains, which convolutions go by Winograd, masks per batch.

    Args:
        gain: Predicted cost of the plain way over that of the incremental one.
        squares: Convolutions that go by Winograd.
        layers: The same, step by step.
        savings: What Winograd saves per mask, for each of ``squares``.
        batch: Masks that should go through the steps together.
        group: Masks that should go through the tail together, a multiple of ``batch``.
    """

    gain: float
    squares: frozenset[str]
    layers: tuple[LayerGain, ...]
    savings: Mapping[str, float]
    batch: int
    group: int


@dataclass(frozen=True)
class Plan:
    """How one graph is followed, for items of one shape.

    Args:
        digest: Of the graph it was made from, weights included.
        source: The input's name.
        entry: The tensor in which the picture lies as ``[N, C, H, W]``.
        channels_last: True where the input is NHWC.
        planes: Extents of the tensors that are followed.
        steps: What is done to deltas, in order.
        frontier: Tensors at which the steps end, as name to the tensor whose delta it has.
        means: Means over the plane among them.
        products: Matrix products with the whole plane among them, which a group of masks goes through together.
        outputs: The tensors that are answered.
        head: Computes the unmasked values in ``bases``.
        bases: Their names.
        tail: Computes ``outputs`` from ``frontier``; None where these are the same.
        blocked: Operators at which the walk ended.
        plain_cost: Cost of the whole graph for one item.
        tail_cost: Cost of the tail for one item.
        tail_size: Elements of the largest tensor of one item in the tail.
    """

    digest: str
    source: str
    entry: str
    channels_last: bool
    planes: Mapping[str, Plane]
    steps: tuple[Step, ...]
    frontier: Mapping[str, str]
    means: Mapping[str, Mean]
    products: Mapping[str, Product]
    outputs: tuple[str, ...]
    head: Model
    bases: tuple[str, ...]
    tail: Model | None
    blocked: tuple[Blocked, ...]
    plain_cost: float
    tail_cost: float
    tail_size: int

    @cached_property
    def places(self) -> Places:
        """Where the tensors lie."""
        return places(self.entry, self.steps, self.planes, tuple(self.frontier.values()))

    def spread(self, boxes: Array) -> dict[str, Array]:
        """The boxes of every tensor when ``boxes`` of the entry change."""
        at = {self.entry: boxes}
        for step in self.steps:
            at[step.out] = step.reach(at)
        return at

    def way(self, boxes: Array, allowed: frozenset[str] | None = None, rows: int | None = None) -> Way:
        """Decide for masks of the entry.

        Args:
            boxes: ``[M, 4]``, all of them or a fair sample.
            allowed: Restricts Winograd to these convolutions.
            rows: How many masks there are in all, over which what is done once is spread.
        """
        at = self.spread(boxes)
        layers: list[LayerGain] = []
        savings: dict[str, float] = {}
        total = 0.0
        for step in self.steps:
            each = float(cost.step_cost(step, at).mean()) if len(boxes) else 0.0
            if isinstance(step, Conv) and step.square and (allowed is None or step.out in allowed):
                other = float(cost.winograd_cost(step, at).mean()) if len(boxes) else 0.0
                if other < 0.85 * each:
                    savings[step.out] = each - other
                    each = other
            weight = cost.DEPTHWISE if isinstance(step, Conv) and step.depthwise else 1
            weight = weight if isinstance(step, Conv) else cost.ELEMENT
            layers.append(LayerGain(step.out, type(step).__name__.lower(), float(step.dense() * weight), each))
            total += each
        for product in self.products.values():
            conv = product.conv
            each = float(cost.step_cost(conv, {**at, conv.out: conv.reach(at)}).mean()) if len(boxes) else 0.0
            layers.append(LayerGain(conv.out, "product", float(conv.dense()), each))
            total += each
        once = self.plain_cost / max(len(boxes), 1) + cost.SETUP / max(rows or len(boxes), 1)
        rest = self.tail_cost + once
        gain = self.plain_cost / max(total + rest, 1.0)
        batch = self._batch(at)
        group = batch * max(1, min(_GROUP, int(_LARGEST / max(self.tail_size, 1))) // batch)
        return Way(gain, frozenset(savings), tuple(layers), savings, batch, group)

    def _batch(self, at: Boxes) -> int:
        """Masks per batch: a large batch reads the weights once for many masks, a small one stays in the caches."""
        areas = [
            float((at[s.out][:, 2] * at[s.out][:, 3]).mean()) * s.plane.channels for s in self.steps if len(at[s.out])
        ]
        return max(4, min(_MASKS, int(_LARGEST / max([*areas, 1.0]))))


def digest_of(model: Model) -> str:
    """sha256 of a graph's structure and weights."""
    sha = hashlib.sha256()
    for node in model.graph.node:
        sha.update(node.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        sha.update(f"{tensor.name} {tensor.data_type} {list(tensor.dims)}".encode())
        # the raw bytes are hashed in place: a serialised copy of every weight would double the memory
        sha.update(tensor.raw_data if tensor.HasField("raw_data") else tensor.SerializeToString(deterministic=True))
    for opset in model.opset_import:
        sha.update(f"{opset.domain} {opset.version}".encode())
    return sha.hexdigest()


def plan(
    model: Model,
    source: str,
    item: tuple[int, ...],
    outputs: Sequence[str],
    *,
    outside: Mapping[str, Array] | None = None,
    digest: str | None = None,
) -> Plan | Refused:
    """Plan the incremental answers of a graph.

    Args:
        model: The graph, as the runtime gets it.
        source: Name of the input that is edited.
        item: Shape of one item, ``[C, H, W]`` or ``[H, W, C]``.
        outputs: Tensors that will be asked for.
        outside: Weights that are not in the model, by name.
        digest: What ``digest_of`` gives, where the caller knows another name for the content.

    Returns:
        The plan, or why there is none.
    """
    reason = _refuses(model)
    if reason is None and len([i for i in model.graph.input if i.name not in _weights(model)]) != 1:
        reason = "the model has several inputs"
    found = None if reason else follow(model, source, item, outside)
    if found is None:
        return Refused(reason or f"the input {source!r} of shape {list(item)} is not a float32 picture")
    stops = set(found.planes) | set(found.aliases) | set(found.means) | set(found.products)
    behind, _ = needed(model.graph.node, set(outputs) - stops, stops)
    read = {name for node in behind for name in node.input} | set(outputs)
    left = {name: mean.source for name, mean in found.means.items()}
    left |= {name: product.source for name, product in found.products.items()}
    frontier = {name: left.get(name) or found.root(name) for name in sorted(read & stops)}
    roots = {name: root for name, root in frontier.items() if root is not None}
    if source != found.entry and source in read:
        return Refused("the input is read both as it is and transposed")
    steps = _needed(fused(found.steps, set(roots.values())), set(roots.values()))
    if not any(isinstance(step, Conv) for step in steps):
        first = found.blocked[0] if found.blocked else None
        return Refused(
            f"no convolution can be followed: {first.operator} {first.node!r} {first.reason}"
            if first
            else "it has no convolutions"
        )
    products = {name: product for name, product in found.products.items() if name in roots}
    bases = {name for step in steps for name in step.bases} | (set(roots) - set(products))
    bases |= {product.source for product in products.values()}
    bases.discard(found.entry)
    batched: dict[str, tuple[int | str, ...]] = {name: ("N", *_extent(name, found)) for name in roots}
    late = [name for name in outputs if name not in roots]
    known = {**found.shapes, **{t.name: tuple(t.dims) for t in model.graph.initializer}}
    return Plan(
        digest=digest or digest_of(model),
        source=source,
        entry=found.entry,
        channels_last=found.channels_last,
        planes=found.planes,
        steps=tuple(steps),
        frontier=roots,
        means={name: mean for name, mean in found.means.items() if name in roots},
        products=products,
        outputs=tuple(outputs),
        head=_part(model, {source: (1, *item)}, sorted(bases)),
        bases=tuple(sorted(bases)),
        tail=_part(model, batched, late) if late else None,
        blocked=tuple(found.blocked),
        plain_cost=sum(cost.node_cost(node, known) for node in model.graph.node),
        tail_cost=sum(cost.node_cost(node, known) for node in behind),
        tail_size=max(
            math.prod(known[name][1:]) if name in known else _LARGEST
            for name in {*roots, *(name for node in behind for name in node.output if name)}
        ),
    )


def _part(model: Model, inputs: Mapping[str, tuple[int | str, ...]], outputs: Sequence[str]) -> Model:
    """The model that computes ``outputs`` from ``inputs``, float32, by extent."""
    kinds = {info.name: info for info in model.graph.output}
    given = [declared(name, extent) for name, extent in inputs.items()]
    return part_of(model, [kinds.get(name) or declared(name) for name in outputs], given)


def _refuses(model: Model) -> str | None:
    """Why no part of this model can be reused between masks; None where it can."""
    for node in model.graph.node:
        if facts_of(node).random:
            return f"operator {node.op_type} ({node.name or node.output[0]}) is random"
        if facts_of(node).control:
            return f"operator {node.op_type} ({node.name or node.output[0]}) holds a graph of its own"
        if node.op_type == "Dropout" and attribute(node, "training_mode", 0):
            return f"Dropout ({node.name or node.output[0]}) is in training mode"
    return None


def _weights(model: Model) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _extent(name: str, found: Followed) -> tuple[int, ...]:
    if name in found.means:
        return found.means[name].shape
    if name in found.products:
        return (len(found.products[name].bias),)
    return found.planes[found.aliases.get(name, name)].shape


def _needed(steps: Sequence[Step], wanted: set[str]) -> list[Step]:
    """The steps that lead to what is wanted."""
    kept: list[Step] = []
    wanted = set(wanted)
    for step in reversed(steps):
        if step.out in wanted:
            wanted.update(step.sources)
            kept.append(step)
    return kept[::-1]
