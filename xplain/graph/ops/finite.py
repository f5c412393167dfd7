"""Where a number that is not finite meets a zero: what was masked away has no derivative, and 0 times infinity is none.

A model may compute such a number on purpose and drop it: it pads with -inf before a maximum, masks with -inf before a
softmax, and takes log(x) or 1 / x where a Where keeps another branch. The forward pass never shows it; a cotangent of
zero that is multiplied by it would be NaN.
"""

from __future__ import annotations

import numpy as np

from xplain.graph.build.tracer import Value
from xplain.graph.naming import reads
from xplain.graph.operators import facts_of
from xplain.graph.ops.call import NodeCall

__all__ = ["held", "may_be_infinite", "without_infinity"]


def may_be_infinite(call: NodeCall, index: int = 0) -> bool:
    """Whether an input may hold an infinity on purpose: one is stored on the way, or an operator there can make one.

    Followed back through everything but weighted operators, which would spread it over whole channels.
    """
    nodes, constants = call.context.forward.nodes, call.t.constants
    makers, node = call.context.makers, nodes[call.index]
    pending, seen = [reads(node)[index]], set[str]()
    while pending:
        name = pending.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        if name in constants:
            content = constants.get(name)
            if content is not None and content.dtype.kind == "f" and not np.isfinite(content).all():
                return True
            continue
        maker = makers.get(name)
        if maker is None:
            continue
        facts = facts_of(nodes[maker])
        if facts.partial:
            return True
        if not facts.weighted:
            pending.extend(reads(nodes[maker]))
    return False


def without_infinity(call: NodeCall, *values: Value) -> list[Value]:
    """The same values where input 0 may hold infinities, with the largest finite numbers in their place."""
    if not may_be_infinite(call):
        return list(values)
    xp = values[0].__array_namespace__()
    far = [float(xp.finfo(v.dtype).max) for v in values]
    return [xp.clip(v, -most, most) for v, most in zip(values, far, strict=True)]


def held(call: NodeCall, g: Value, passed: Value) -> Value:
    """``passed``, and zero where nothing arrived: behind a Where, the branch that was dropped."""
    return call.t.where(g.equal(0.0), 0.0, passed) if call.context.masked else passed
