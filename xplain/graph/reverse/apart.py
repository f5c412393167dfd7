"""What a sweep computes from the baseline alone, as a graph of its own, whose answer is kept while the baseline stays.

Rules that compare two forward passes read the second one at nearly every layer. It does not depend on the item, so a
thousand items that are compared with one baseline need it once. The graph is cut where what depends on the baseline
alone is read by what depends on the item too.
"""

from __future__ import annotations

from collections.abc import Mapping

from xplain.graph.analysis.order import needed, ordered
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.naming import reads

__all__ = ["from_baseline"]


def from_baseline(tracer: Tracer, outputs: Mapping[str, Value], baseline: str, others: set[str]) -> list[str]:
    """The tensors that are computed from the baseline alone and read by something that is not.

    Args:
        tracer: The graph that was built.
        outputs: What it returns.
        baseline: The input that holds the baseline.
        others: All its other inputs.
    """
    wanted = {value.name for value in outputs.values()}
    nodes, _ = needed(ordered([*tracer.forward, *tracer.emitted]), wanted)
    alone, mixed = {baseline}, set(others)
    cut: dict[str, None] = {}
    for node in nodes:
        read = reads(node)
        if not mixed.isdisjoint(read):
            mixed.update(node.output)
            cut.update((name, None) for name in read if name in alone and name != baseline)
        elif not alone.isdisjoint(read):
            alone.update(node.output)
    return list(cut)
