"""Join steps that a kernel can do in one pass: an affine map into weights, a sum and an activation into what comes
before, and an activation into the 1x1 convolution that alone reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from xplain.incremental.steps import Conv, Load, Pair, Scale, Single, Step
from xplain.native.delta import Activation, Kernel

__all__ = ["fused"]

_Rule: TypeAlias = "Callable[[_Steps, Step], bool]"


class _Steps:
    """Steps by what they make, and who reads it."""

    def __init__(self, steps: list[Step], kept: Collection[str]) -> None:
        self.order: list[Step] = list(steps)
        self.kept = kept  # tensors that are read outside the steps

    def maker(self, name: str) -> Step | None:
        return next((s for s in self.order if s.out == name), None)

    def only_reader(self, name: str, reader: Step) -> bool:
        if name in self.kept:
            return False
        readers = [s for s in self.order for source in s.sources if source == name]
        return len(readers) == 1 and readers[0] is reader

    def join(self, first: Step, second: Step, into: Step, at: Step) -> None:
        """Put ``into`` where ``at`` stood, and drop the two it was made of."""
        self.order = [into if s is at else s for s in self.order if s is at or s not in (first, second)]


def fused(steps: list[Step], kept: Collection[str]) -> list[Step]:
    """The same steps, fewer of them. ``kept`` names deltas that are wanted by others than the steps."""
    work = _Steps(steps, kept)
    for rule in (_scale_into_conv, _sum_into_conv, _scale_into_single, _activation_back, _activation_on_load):
        again = True
        while again:
            again = any(rule(work, step) for step in work.order)
    return work.order


def _scale_into_conv(work: _Steps, step: Step) -> bool:
    """conv, then an affine map: the factors go into the weights."""
    if not isinstance(step, Scale):
        return False
    conv = work.maker(step.source)
    if not isinstance(conv, Conv) or not work.only_reader(conv.out, step):
        return False
    weight = (conv.weight.astype(np.float64) * step.factors[:, None, None, None]).astype(np.float32)
    work.join(conv, step, replace(conv, weight=weight, out=step.out), at=step)
    return True


def _sum_into_conv(work: _Steps, step: Step) -> bool:
    """A sum whose later operand is a convolution: the other becomes its residual."""
    if not isinstance(step, Pair) or step.function != "add" or step.second is None or step.first == step.second:
        return False
    arms = [(work.maker(a), b) for a, b in ((step.first, step.second), (step.second, step.first))]
    able = [
        (work.order.index(conv), conv, other)
        for conv, other in arms
        if isinstance(conv, Conv) and conv.residual is None and work.only_reader(conv.out, step)
    ]
    if not able:
        return False
    _, conv, other = max(able, key=lambda arm: arm[0])
    work.join(conv, step, replace(conv, residual=other, out=step.out), at=step)
    return True


def _scale_into_single(work: _Steps, step: Step) -> bool:
    """An affine map whose result an element-wise function alone reads."""
    if not isinstance(step, Single) or step.affine is not None:
        return False
    scale = work.maker(step.source)
    if not isinstance(scale, Scale) or scale.shift is None or step.base != scale.out:
        return False
    if not work.only_reader(scale.out, step):
        return False
    affine = scale.factors.astype(np.float32), scale.shift.astype(np.float32)
    work.join(scale, step, replace(step, source=scale.source, base=scale.value, affine=affine), at=step)
    return True


def _activation(step: Single) -> Activation | None:
    """The activation in the form that kernels fuse, or None."""
    return step.act if step.act.kind == "clip" or (step.act.kind == "leaky" and np.isfinite(step.act.low)) else None


def _activation_back(work: _Steps, step: Step) -> bool:
    """A clip or a leaky unit after a convolution or a sum."""
    act = _activation(step) if isinstance(step, Single) and step.affine is None else None
    if act is None or not isinstance(step, Single):
        return False
    maker = work.maker(step.source)
    able = isinstance(maker, Conv) or (isinstance(maker, Pair) and maker.function != "multiply")
    if not able or not isinstance(maker, (Conv, Pair)) or maker.act.kind != "none":
        return False
    if not work.only_reader(maker.out, step):
        return False
    work.join(maker, step, replace(maker, act=act, base=step.base, out=step.out), at=maker)
    return True


def _activation_on_load(work: _Steps, step: Step) -> bool:
    """A clip or a leaky unit, with or without an affine map, that one 1x1 convolution alone reads."""
    if not isinstance(step, Conv) or step.load is not None or step.depthwise or step.kernel.flat != Kernel((1, 1)).flat:
        return False
    single = work.maker(step.source)
    act = _activation(single) if isinstance(single, Single) else None
    if act is None or not isinstance(single, Single) or not work.only_reader(single.out, step):
        return False
    channels = single.plane.channels
    factor, shift = single.affine or (np.ones(channels, np.float32), np.zeros(channels, np.float32))
    load = Load(factor, shift, act, single.base)
    work.join(single, step, replace(step, source=single.source, load=load), at=step)
    return True
