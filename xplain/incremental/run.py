"""Carry a batch of masks through a plan's steps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import singledispatchmethod
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.incremental import weights
from xplain.incremental.boxes import union
from xplain.incremental.edges import edges, inner
from xplain.incremental.places import width
from xplain.incremental.plan import Plan
from xplain.incremental.products import kept
from xplain.incremental.steps import Boxes, Concat, Conv, Crop, Pair, Part, Pool, Resize, Scale, Single, Step
from xplain.native import delta
from xplain.native.delta import Around, Deltas, Load, Packed, stored

__all__ = ["Bases", "Batch", "Runner"]

Bases = Mapping[str, Array]
"""Unmasked values of one picture: ``[H, W, stored channels]``, or ``[C]`` for a mean over the plane."""


class Runner:
    """A plan with packed weights and reusable buffers.

    Args:
        plan: What is done.
        halves: Keep deltas in bfloat16.
        threads: At most so many; 0 means all.
    """

    def __init__(self, plan: Plan, *, halves: bool = False, threads: int = 0) -> None:
        self.plan, self.halves, self.threads = plan, halves, threads
        self._dtype = np.dtype(np.uint16 if halves else np.float32)
        self._packed: dict[tuple[str, str], Packed] = {}
        self._vectors: dict[tuple[str, str], Array] = {}
        self._free: list[Array] = []

    def run(
        self, spreads: Iterable[Boxes], fill: Array, bases: Bases, squares: frozenset[str] = frozenset()
    ) -> dict[str, Array]:
        """The values of the plan's frontier under each mask.

        Args:
            spreads: By batch, what ``Plan.spread`` makes of int64 ``[B, 4]`` boxes of the entry that are hidden, inside
                the plane.
            fill: What is put there, ``[H, W, stored channels]``.
            bases: The picture's unmasked values, the entry's among them.
            squares: Convolutions that go by Winograd.

        Returns:
            float32 ``[masks of all batches, C, H, W]`` by name, or as a mean's or a product's own shape.
        """
        found = [self._batch(at, fill, bases, squares) for at in spreads]
        out = {}
        for name in self.plan.frontier:
            parts = [part.pop(name) for part in found]
            product = self.plan.products.get(name)
            if product is None:
                out[name] = np.concatenate(parts)
            else:
                packed = self.weights(product.conv, "direct")
                out[name] = product.changed(packed, parts, bases[name], self.threads)
        return out

    def _batch(self, at: Boxes, fill: Array, bases: Bases, squares: frozenset[str]) -> dict[str, Any]:
        batch = Batch(self, at, bases, squares)
        batch.begin(fill)
        for number, step in enumerate(self.plan.steps):
            batch.do(step)
            batch.release(number)
        out = {name: batch.leave(name, root) for name, root in self.plan.frontier.items()}
        batch.release(len(self.plan.steps))
        return out

    def weights(self, conv: Conv, way: str) -> Packed:
        """Packed once, when first used."""
        key = conv.out, way
        if key not in self._packed:
            if way == "winograd":
                packed = weights.square(conv)
            elif way == "depthwise":
                packed = weights.per_channel(conv)
            else:
                packed = weights.direct(conv, pairs=self.halves and conv.out not in self.plan.products)
            self._packed[key] = packed
        return self._packed[key]

    def drop(self, names: Collection[str], way: str) -> None:
        """Let go of weights that will not be used this way."""
        for name in names:
            self._packed.pop((name, way), None)

    def vector(self, owner: str, role: str, values: Array) -> Array:
        """A per-channel vector, padded to the stored channels."""
        key = owner, role
        if key not in self._vectors:
            padded = delta.aligned(stored(len(values)))
            padded[: len(values)], padded[len(values) :] = values, 0
            self._vectors[key] = padded
        return self._vectors[key]

    def plane(self, step: Pair) -> Array:
        """A product's constant operand as base values."""
        key = step.out, "constant"
        if key not in self._vectors and step.constant is not None:
            self._vectors[key] = delta.channels_last(step.constant)
        return self._vectors[key]

    def take(self, size: int) -> Array:
        """A buffer of at least ``size`` elements, the smallest free one that fits."""
        for k, buffer in enumerate(self._free):
            if buffer.size >= size:
                return self._free.pop(k)
        if self._free:
            self._free.pop()  # too small for this step: let go of it, or sizes would pile up
        return delta.aligned(size, self._dtype)

    def give(self, buffer: Array) -> None:
        """Hand a buffer back."""
        self._free.append(buffer)
        self._free.sort(key=lambda b: b.size)

    def forget(self) -> None:
        """Let go of all buffers."""
        self._free.clear()


class Batch:
    """The windows and buffers of one batch of masks."""

    def __init__(self, runner: Runner, at: Mapping[str, Array], bases: Bases, squares: frozenset[str]) -> None:
        self.runner, self.at, self.bases, self.squares = runner, at, bases, squares
        self.plan, self.places = runner.plan, runner.plan.places
        self.windows: dict[str, Array] = {}  # by buffer: the windows that its pixels cover
        self.buffers: dict[str, Array] = {}
        self.shifted: dict[str, tuple[int, int]] = {}  # by cropped tensor: how far its plane is from its buffer's
        self.threads = runner.threads
        self.views: dict[str, Deltas] = {}

    def begin(self, fill: Array) -> None:
        """The edit itself."""
        entry = self.plan.entry
        self.allocate(entry)
        x = self.bases[entry]
        delta.enter(x, fill, self.deltas(entry), x.shape[2], threads=self.threads)

    # ---- buffers -----------------------------------------------------------------------------------------------

    def allocate(self, name: str) -> None:
        """Give the tensor a buffer, which it may share with others."""
        buffer = self.places.of[name].buffer
        if buffer in self.buffers:
            return
        members = self.places.members[buffer]
        box = self.at[members[0]]
        for other in members[1:]:
            box = union(box, self.at[other])
        step = width(buffer, self.plan.planes)
        sizes = box[:, 2] * box[:, 3] * step
        offsets = np.cumsum(sizes) - sizes
        self.windows[buffer] = np.concatenate([box, offsets[:, None], box[:, 3:4] * step], axis=1)
        self.buffers[buffer] = self.runner.take(int(sizes.sum()) + step)
        if self.plan.planes[buffer].channels % delta.LANE and not self.places.copied.isdisjoint(members):
            self.buffers[buffer][:] = 0  # a copy writes true channels alone; those stored past them must be zero

    def deltas(self, name: str) -> Deltas:
        """The tensor's own windows inside its buffer."""
        if name in self.views:
            return self.views[name]
        place = self.places.of[name]
        outer, step = self.windows[place.buffer], width(place.buffer, self.plan.planes)
        dy, dx = self.shifted.get(name, (0, 0))
        box = self.at[name]
        windows = np.empty_like(outer)
        windows[:, :4] = box
        rows, columns = box[:, 0] - dy - outer[:, 0], box[:, 1] - dx - outer[:, 1]
        windows[:, 4] = outer[:, 4] + rows * outer[:, 5] + columns * step + place.first
        windows[:, 5] = outer[:, 5]
        self.views[name] = Deltas(windows, self.buffers[place.buffer], step)
        return self.views[name]

    def release(self, number: int) -> None:
        """Free the buffers that no later step reads."""
        for buffer in [b for b in self.buffers if self.places.last[b] <= number]:
            self.runner.give(self.buffers.pop(buffer))

    def do(self, step: Step) -> None:
        """Run one step; what lies in a larger buffer is surrounded by zeros."""
        if isinstance(step, Crop):
            dy, dx = self.shifted.get(step.source, (0, 0))
            self.shifted[step.out] = dy + step.by[0], dx + step.by[1]
            return
        if isinstance(step, (Concat, Part)) and step.out not in self.places.copied:
            if isinstance(step, Part):
                self.shifted[step.out] = self.shifted.get(step.source, (0, 0))
            return
        self.allocate(step.out)
        out = self.deltas(step.out)
        self.act(step, out)
        place = self.places.of[step.out]
        if len(self.places.members[place.buffer]) > 1:
            outer = self.windows[place.buffer].copy()
            outer[:, 4] += place.first
            channels = stored(step.plane.channels)
            delta.clear_rim(out.windows, Deltas(outer, out.data, out.step), channels, threads=self.threads)

    # ---- steps -------------------------------------------------------------------------------------------------

    @singledispatchmethod
    def act(self, step: object, out: Deltas) -> None:
        """Fill the windows ``out``."""
        raise NotImplementedError(type(step).__name__)

    @act.register
    def _(self, step: Conv, out: Deltas) -> None:
        if step.out not in self.squares or step.depthwise:
            self.convolve("depthwise" if step.depthwise else "direct", step, out)
            return
        whole = self.at[step.out]
        within, _ = inner(self.at[step.source], whole, step.kernel, len(step.weight) * step.inputs)
        if within is whole:
            self.convolve("winograd", step, out)
            return
        self.convolve("winograd", step, _part(out, np.arange(len(whole)), within))
        masks, strips = edges(whole, within)
        if len(masks):
            self.convolve("direct", step, _part(out, masks, strips), masks)

    def convolve(self, way: str, step: Conv, out: Deltas, masks: Array | None = None) -> None:
        """Fill ``out``, windows of these masks, or of all."""
        source, residual = self.deltas(step.source), self.deltas(step.residual) if step.residual else None
        if masks is not None:
            source, residual = _of(source, masks), _of(residual, masks) if residual else None
        load = None
        if step.load is not None:
            factor = self.runner.vector(step.out, "factor", step.load.factor)
            shift = self.runner.vector(step.out, "shift", step.load.shift)
            load = Load(factor, shift, self.bases[step.load.base], step.load.act)
        packed, around = self.runner.weights(step, way), self.around(step)
        delta.conv(source, out, packed, residual=residual, around=around, load=load, threads=self.threads)

    def around(self, step: Conv | Pair) -> Around:
        """The activation that follows a step, with the values it acts on."""
        return Around(self.bases[step.base] if step.base and step.act.kind != "none" else None, step.act)

    @act.register
    def _(self, step: Pool, out: Deltas) -> None:
        delta.pool(
            step.kind,
            self.deltas(step.source),
            out,
            stored(step.plane.channels),
            step.kernel,
            step.before.extent,
            bases=(self.bases[step.value], self.bases[step.out]) if step.kind == "max" else (None, None),
            threads=self.threads,
        )

    @act.register
    def _(self, step: Single, out: Deltas) -> None:
        affine = None
        if step.affine is not None:
            affine = tuple(
                self.runner.vector(step.out, role, values)
                for role, values in zip(("factor", "shift"), step.affine, strict=True)
            )
        delta.unary(
            step.act,
            self.deltas(step.source),
            out,
            stored(step.plane.channels),
            self.bases[step.base],
            affine=(affine[0], affine[1]) if affine else None,
            slope=None if step.slope is None else self.runner.vector(step.out, "slope", step.slope),
            threads=self.threads,
        )

    @act.register
    def _(self, step: Scale, out: Deltas) -> None:
        factors = self.runner.vector(step.out, "factors", step.factors)
        delta.scale(self.deltas(step.source), out, stored(step.plane.channels), factors, threads=self.threads)

    @act.register
    def _(self, step: Pair, out: Deltas) -> None:
        second = self.deltas(step.second) if step.second else None
        values: tuple[Array | None, Array | None] = (None, None)
        if step.function == "multiply":
            other = self.bases[step.values[1]] if step.values[1] else self.runner.plane(step)
            values = self.bases[step.values[0]], other
        delta.binary(
            step.function,
            self.deltas(step.first),
            second,
            out,
            stored(step.plane.channels),
            bases=values,
            around=self.around(step),
            threads=self.threads,
        )

    @act.register
    def _(self, step: Concat, out: Deltas) -> None:
        first = 0
        for name, channels in zip(step.parts, step.channels, strict=True):
            delta.gather(self.deltas(name), _from_channel(out, first), channels, threads=self.threads)
            first += channels

    @act.register
    def _(self, step: Part, out: Deltas) -> None:
        source = _from_channel(self.deltas(step.source), step.first)
        delta.gather(source, out, step.plane.channels, threads=self.threads)

    @act.register
    def _(self, step: Resize, out: Deltas) -> None:
        delta.gather(
            self.deltas(step.source),
            out,
            stored(step.plane.channels),
            step.rows,
            step.columns,
            threads=self.threads,
        )

    def leave(self, name: str, root: str) -> Array | Deltas:
        """What the tail reads of a tensor: base + delta as a dense array.

        Of the input of a product, a copy of its deltas, because the kernel needs them contiguous.
        """
        if name in self.plan.products:
            return kept(self.deltas(root))
        mean = self.plan.means.get(name)
        if mean is None:
            return delta.leave(
                self.bases[name], self.deltas(root), self.plan.planes[root].channels, threads=self.threads
            )
        source = self.deltas(root)
        values = delta.plane_mean(self.bases[name], source, mean.channels, mean.factor, threads=self.threads)
        return values.reshape(-1, *mean.shape)


def _of(tensor: Deltas, masks: Array) -> Deltas:
    return Deltas(tensor.windows[masks], tensor.data, tensor.step)


def _part(tensor: Deltas, masks: Array, boxes: Array) -> Deltas:
    """Boxes inside the windows of some masks."""
    windows = tensor.windows[masks]
    down, right = boxes[:, 0] - windows[:, 0], boxes[:, 1] - windows[:, 1]
    windows[:, 4] += np.where(boxes[:, 2] > 0, down * windows[:, 5] + right * tensor.step, 0)
    windows[:, :4] = boxes
    return Deltas(windows, tensor.data, tensor.step)


def _from_channel(tensor: Deltas, first: int) -> Deltas:
    windows = tensor.windows.copy()
    windows[:, 4] += first
    return Deltas(windows, tensor.data, tensor.step)
