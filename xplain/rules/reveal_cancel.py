"""DeepLIFT with the RevealCancel rule: what raises a unit and what lowers it are followed apart.

A difference x - x0 is the sum of a positive part P and a negative part N, the sums of positive and of negative
contributions to it. A nonlinearity passes each part on as the mean of its effect before and after the other one,

    y+ = 1/2 [f(x0 + P) - f(x0)] + 1/2 [f(x0 + P + N) - f(x0 + N)],      y- likewise,

so contributions that cancel before a ReLU are still seen (Shrikumar et al. 2017, arXiv:1704.02685, section 3.5.3 and
table 2: min(a, b) = a - max(a - b, 0) credits both inputs with half of the minimum, where a gradient credits one).
Each part has its own multiplier; a weight that is negative exchanges them.

The parts of a deep convolutional net grow with every layer until they drown the difference itself. The paper's own
choice is therefore this rule behind dense layers and the rescale rule behind convolutions (section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from xplain.core.declaring.registry import table
from xplain.core.rules import Call, Cotangents, Rules, Value, Where
from xplain.rules.deeplift import PAPER, RESCALE, noise, switched
from xplain.rules.shares import negative, positive

__all__ = ["REVEAL_CANCEL", "REVEAL_CANCEL_EVERYWHERE", "RevealCancel", "Signed", "reveal_cancel"]

_AFFINE = ("scale", "move", "sum", "linear")
Parts: TypeAlias = tuple[Value, Value]


@dataclass(frozen=True, slots=True, eq=False)
class Signed:
    """A cotangent of two multipliers: ``up`` for the positive part of a difference, ``down`` for the negative part."""

    up: Value
    down: Value

    def __add__(self, other: Signed) -> Signed:
        return Signed(self.up + other.up, self.down + other.down)

    def settle(self, x: Value, x0: Value) -> Value:
        """One multiplier, chosen by the sign of the difference; exact at the model's inputs."""
        xp, by = x.__array_namespace__(), x - x0
        return xp.where(by > 0.0, self.up, xp.where(by < 0.0, self.down, (self.up + self.down) * 0.5))


def parts(call: Call, index: int, everywhere: bool) -> Parts:
    """The positive and the negative part of the difference of an input."""
    maker = call.producer(index)
    if maker is None or len(maker.outputs) > 1:
        return _split(call.inputs[index] - call.baseline().inputs[index], call.xp)
    key = ("parts", maker.name)
    if key not in call.memo:
        call.memo[key] = _parts_of(maker, everywhere)
    found: Parts = call.memo[key]
    return found


def _split(v: Value, xp: Any) -> Parts:
    return positive(v, xp), negative(v, xp)


def _revealing(call: Call, everywhere: bool) -> bool:
    """Whether the rule itself applies to an operator: an activation, by default only one behind a dense layer.

    Not where a function is not defined everywhere: one part alone may lead outside, so the rescale rule stays.
    """
    if call.kind != "slope" or call.facts.partial:
        return False
    maker = call.producer(list(call.active).index(True))
    while not everywhere and maker is not None and maker.kind in ("sum", "scale") and sum(maker.active) == 1:
        maker = maker.producer(list(maker.active).index(True))
    return everywhere or (maker is not None and maker.weighted and maker.op in ("Gemm", "MatMul"))


def _parts_of(call: Call, everywhere: bool) -> Parts:
    """The parts of an operator's output, from those of its inputs."""
    xp, before = call.xp, call.baseline()
    if _revealing(call, everywhere):
        return _revealed(call, parts(call, list(call.active).index(True), everywhere))
    if call.weighted:
        up, down = parts(call, list(call.active).index(True), everywhere)
        wp, wn = _split(call.w, xp)
        return (
            call.forward(up, wp).y + call.forward(down, wn).y,
            call.forward(up, wn).y + call.forward(down, wp).y,
        )
    if call.kind not in _AFFINE:
        return _split(call.y - before.y, xp)
    moved = []
    for which in (0, 1):
        inputs = list(call.inputs)
        for k, on in enumerate(call.active):
            if on:
                opposite = call.op == "Sub" and k == 1
                inputs[k] = before.inputs[k] + parts(call, k, everywhere)[1 - which if opposite else which]
        moved.append(_split(call.again(*inputs).y - before.y, xp))
    return moved[0][0] + moved[1][0], moved[0][1] + moved[1][1]


def _revealed(call: Call, given: Parts) -> Parts:
    """The parts of f(x), for an operator that works element by element."""
    before, where = call.baseline(), list(call.active).index(True)

    def f(v: Value) -> Value:
        inputs = list(call.inputs)
        inputs[where] = v
        return call.again(*inputs).y

    (up, down), x0, y0 = given, before.x, before.y
    above, below, both = f(x0 + up), f(x0 + down), f(x0 + up + down)
    return (above - y0 + both - below) * 0.5, (below - y0 + both - above) * 0.5


@dataclass(frozen=True, slots=True)
class RevealCancel:
    """The rule for every kind of operator; products, softmax and pooling use the rescale table's rules.

    Args:
        everywhere: Also behind convolutions.
    """

    everywhere: bool = False

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """Signed multipliers of outputs to signed multipliers of inputs."""
        signed = [v if v is None or isinstance(v, Signed) else Signed(v, v) for v in g]
        if signed[0] is None:  # of several outputs only later ones count, as of Split
            return self._both(call, signed)
        if switched(call):
            return self._settled(call, signed)
        if _revealing(call, self.everywhere):
            return self._chords(call, signed[0])
        if call.weighted:
            return self._weighted(call, signed[0])
        if call.kind == "scale":
            return self._scaled(call, signed[0])
        if call.kind in _AFFINE:
            return self._both(call, signed)
        return self._settled(call, signed)

    def _chords(self, call: Call, g: Signed) -> list[Any]:
        where = list(call.active).index(True)
        given = parts(call, where, self.everywhere)
        made = _revealed(call, given)
        pulled = []
        for m, by, to in zip((g.up, g.down), given, made, strict=True):
            small = call.xp.abs(by) <= noise(call.baseline().x, by, xp=call.xp)
            pulled.append(call.xp.where(small, call.vjp(m)[where], m * to / call.xp.where(small, 1.0, by)))
        return [Signed(*pulled) if k == where else None for k in range(len(call.inputs))]

    @staticmethod
    def _weighted(call: Call, g: Signed) -> list[Any]:
        where = list(call.active).index(True)
        same, crossed = (call.forward(call.x, part) for part in _split(call.w, call.xp))
        out = Signed(same.back(g.up) + crossed.back(g.down), same.back(g.down) + crossed.back(g.up))
        return [out if k == where else None for k in range(len(call.inputs))]

    @staticmethod
    def _scaled(call: Call, g: Signed) -> list[Any]:
        """A constant factor that is negative exchanges the parts."""
        where = list(call.active).index(True)
        up, down = call.vjp(g.up)[where], call.vjp(g.down)[where]
        keeps = call.vjp(call.xp.ones_like(call.y))[where] > 0.0
        out = Signed(call.xp.where(keeps, up, down), call.xp.where(keeps, down, up))
        return [out if k == where else None for k in range(len(call.inputs))]

    @staticmethod
    def _both(call: Call, g: Sequence[Signed | None]) -> list[Any]:
        ups = call.vjp(*[None if v is None else v.up for v in g])
        downs = call.vjp(*[None if v is None else v.down for v in g])
        out: list[Any] = []
        for k, (up, down) in enumerate(zip(ups, downs, strict=True)):
            if up is None or not call.active[k]:
                out.append(None)
            else:
                out.append(Signed(down, up) if call.op == "Sub" and k == 1 else Signed(up, down))
        return out

    @staticmethod
    def _settled(call: Call, g: Sequence[Signed | None]) -> list[Any]:
        before = call.baseline()
        single = [
            None if v is None else v.settle(y, y0) for v, y, y0 in zip(g, call.outputs, before.outputs, strict=True)
        ]
        rule = RESCALE.find(call)
        found = call.vjp(*single) if rule is None else rule(call, single)
        return [None if v is None else Signed(v, v) for v in found]


def _table(name: str, rule: RevealCancel) -> Rules:
    return Rules(name, meaning="multiplier", reference=True, opened=True, unrolled=True).on(Where(), rule)


REVEAL_CANCEL = _table("deeplift-reveal-cancel", RevealCancel())
"""RevealCancel behind dense layers, rescale behind convolutions."""


@table("reveal-cancel", method="deeplift", paper=PAPER)
def reveal_cancel() -> Rules:
    """What is positive and what is negative passes an activation apart, so that two that cancel both show."""
    return REVEAL_CANCEL


REVEAL_CANCEL_EVERYWHERE = _table("deeplift-reveal-cancel-everywhere", RevealCancel(everywhere=True))
"""RevealCancel behind every weighted layer; for shallow nets."""
