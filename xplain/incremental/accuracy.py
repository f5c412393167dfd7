"""Which convolutions may go by Winograd without the answer losing accuracy.

Winograd's transforms cost a few bits. Deltas are smaller than the activations that the plain way multiplies, so they
can often afford it. Whether they can is measured on the picture at hand: on the windows of a few masks, errors against
float64 of the direct way, of Winograd, and of a plain float32 product over the whole activations. With e the root mean
square error of a layer and a that of its activations, layers are taken, best saving per error first, while
``sum (e_ours / a)^2 <= sum (max(e_plain, e_direct) / a)^2`` over all candidates: a layer whose direct way already errs
more than the plain one, because its window holds nearly nothing but the fill, takes nothing from the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from xplain.core.edits import Array
from xplain.incremental import weights
from xplain.incremental.run import Bases, Batch, Runner
from xplain.incremental.steps import Conv, Pair
from xplain.native import delta
from xplain.native.delta import Activation, Deltas, stored

__all__ = ["LayerError", "affordable", "measure"]

_PIXELS = 24  # per mask
_CHANNELS = 48


@dataclass(frozen=True, slots=True)
class LayerError:
    """Root mean square errors of one convolution against float64, relative to its activations."""

    direct: float
    square: float
    plain: float


def affordable(errors: Mapping[str, LayerError], savings: Mapping[str, float]) -> frozenset[str]:
    """The convolutions that may go by Winograd; ``savings`` is what each would save, in any unit."""
    budget = sum(max(e.plain, e.direct) ** 2 for e in errors.values())
    used = sum(e.direct**2 for e in errors.values())
    more = {name: max(e.square**2 - e.direct**2, 0.0) for name, e in errors.items()}
    chosen = set()
    for name in sorted(errors, key=lambda n: (more[n] / max(savings[n], 1e-30), n)):
        if used + more[name] <= budget:
            used += more[name]
            chosen.add(name)
    return frozenset(chosen)


def measure(
    runner: Runner, boxes: Array, fill: Array, bases: Bases, candidates: Collection[str]
) -> dict[str, LayerError]:
    """Errors of the candidates on the windows of a few masks; arguments as in ``Runner.run``."""
    batch = Batch(runner, runner.plan.spread(boxes), bases, frozenset(candidates))
    batch.begin(fill)
    makers = {step.out: step for step in runner.plan.steps}
    errors = {}
    for number, step in enumerate(runner.plan.steps):
        if isinstance(step, Conv) and step.out in candidates:
            found = _layer(batch, step, _unmasked(step.source, makers, bases))
            if found is not None:
                errors[step.out] = found
        batch.do(step)
        batch.release(number)
    batch.release(len(runner.plan.steps))
    return errors


def _unmasked(name: str, makers: Mapping[str, object], bases: Bases) -> Array | None:
    """A tensor's unmasked values, from those of what its activation acts on; None where they are not at hand."""
    if name in bases:
        return bases[name]
    maker = makers.get(name)
    if isinstance(maker, (Conv, Pair)) and maker.base in bases and maker.base is not None:
        return _activated(bases[maker.base], maker.act)
    return None


def _activated(values: Array, act: Activation) -> Array:
    if act.kind == "leaky":
        return np.where(values < 0, values * np.float32(act.low), values)
    return np.clip(values, act.low, act.high) if act.kind == "clip" else values


def _layer(batch: Batch, step: Conv, unmasked: Array | None) -> LayerError | None:
    source, box = batch.deltas(step.source), batch.at[step.out]
    channels = np.linspace(0, len(step.weight) - 1, min(len(step.weight), _CHANNELS)).astype(int)
    few = np.ascontiguousarray(step.weight[channels])
    weight = few.reshape(len(few), -1).T
    some = replace(step, weight=few, plane=replace(step.plane, channels=len(few)))
    outs = {way: _convolved(batch, some, source, box, way) for way in ("direct", "winograd")}
    squares, count = np.zeros(4), 0
    for m in np.flatnonzero(box[:, 2]):
        height, across = int(box[m, 2]), int(box[m, 3])
        at = np.linspace(0, height * across - 1, min(height * across, _PIXELS)).astype(int)
        rows, columns = box[m, 0] + at // across, box[m, 1] + at % across
        changed = _patches(_dense(batch, step.source, source, int(m)), rows, columns)
        whole = changed if unmasked is None else changed + _patches(unmasked[..., : step.inputs], rows, columns)
        exact = weights.product(changed.astype(np.float64), weight.astype(np.float64))
        values = weights.product(whole.astype(np.float64), weight.astype(np.float64))
        got = {way: out[m].reshape(-1, stored(len(few)))[at][:, : len(few)] for way, out in outs.items()}
        squares += [
            ((got["direct"] - exact) ** 2).sum(),
            ((got["winograd"] - exact) ** 2).sum(),
            # in one piece: BLAS sums small pieces in another order than the runtime sums its products, with less error
            ((whole @ weight - values) ** 2).sum(),
            (values**2).sum(),
        ]
        count += exact.size
    if not count or squares[3] == 0:
        return None
    direct, square, plain = np.sqrt(squares[:3] / squares[3])
    return LayerError(float(direct), float(square), float(plain))


def _convolved(batch: Batch, step: Conv, source: Deltas, box: Array, way: str) -> list[Array]:
    """The bare convolution of each mask, ``[pixels * channels]``."""
    channels = stored(step.plane.channels)
    sizes = box[:, 2] * box[:, 3] * channels
    ends = np.cumsum(sizes)
    windows = np.concatenate([box, (ends - sizes)[:, None], box[:, 3:4] * channels], axis=1)
    out = Deltas(windows, np.empty(max(int(ends[-1]), 1), np.float32), channels)
    packed = weights.square(step) if way == "winograd" else weights.direct(step)
    delta.conv(source, out, packed, threads=batch.threads)
    return [out.data[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _dense(batch: Batch, name: str, source: Deltas, mask: int) -> Array:
    """One mask's deltas over the whole plane, ``[H, W, C]``."""
    plane = batch.plan.planes[name]
    out = np.zeros((plane.height, plane.width, plane.channels), np.float32)
    y, x, h, w, offset, pitch = (int(v) for v in source.windows[mask])
    if h:
        item = source.data.itemsize
        view = np.lib.stride_tricks.as_strided(
            source.data[offset:], (h, w, plane.channels), (pitch * item, source.step * item, item)
        )
        out[y : y + h, x : x + w] = view
    return out


def _patches(values: Array, rows: Array, columns: Array) -> Array:
    """The 3x3 neighbourhoods of pixels, ``[P, C * 9]`` in the order of the weights, zero past the border."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    around = [padded[rows + dy, columns + dx] for dy in range(3) for dx in range(3)]
    return np.stack(around, axis=2).reshape(len(rows), -1)
