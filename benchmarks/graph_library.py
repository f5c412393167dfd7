"""What ``onnx-ir`` would cost in place of ``xplain.graph.analysis``: order, unused nodes, types, and the way back.

    python benchmarks/graph_library.py model.onnx ...

Milliseconds of CPU, the least of five, this package / onnx-ir. Orders are checked to be valid before they are timed,
on nodes that were shuffled, and the types that both find are compared.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir
from onnx_ir.passes import common

from xplain.graph.analysis.inference import infer_model, kind_of
from xplain.graph.analysis.order import needed, ordered
from xplain.graph.passes.weights import take_out


def least(work: Callable[[Any], Any], make: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of the fastest of five, and what came of the last."""
    best, found = float("inf"), None
    for _ in range(5):
        given = make()
        start = time.process_time()
        found = work(given)
        best = min(best, 1e3 * (time.process_time() - start))
    return best, found


def in_order(nodes: Any) -> bool:
    """Whether each node comes after those that it reads."""
    made = {name for node in nodes for name in node.output}
    seen: set[str] = set()
    for node in nodes:
        if any(name in made and name not in seen for name in node.input if name):
            return False
        seen.update(node.output)
    return True


def main(path: str) -> None:
    """One line of figures for a file."""
    model = onnx.load(path)
    light, _ = take_out(model)
    shuffled = list(light.graph.node)
    random.Random(0).shuffle(shuffled)
    mixed = onnx.ModelProto()
    mixed.CopyFrom(light)
    del mixed.graph.node[:]
    mixed.graph.node.extend(shuffled)

    def sort(one: onnx_ir.Model) -> onnx_ir.Model:
        one.graph.sort()
        return one

    rows: list[tuple[str, float, float]] = []
    own, nodes = least(ordered, lambda: shuffled)
    other, sorted_ = least(sort, lambda: onnx_ir.from_proto(mixed))
    assert in_order(nodes)
    assert in_order(onnx_ir.to_proto(sorted_).graph.node)
    rows.append(("order", own, other))
    last = {model.graph.output[0].name}
    own, _ = least(lambda given: needed(given, last), lambda: nodes)
    other, _ = least(common.RemoveUnusedNodesPass(), lambda: onnx_ir.from_proto(model))
    rows.append(("unused nodes", own, other))
    own, typed = least(infer_model, lambda: light)
    other, theirs = least(common.ShapeInferencePass(), lambda: onnx_ir.from_proto(model))
    mine = {info.name: kind_of(info.type) for info in typed.graph.value_info}
    same = {info.name: kind_of(info.type) for info in onnx_ir.to_proto(theirs.model).graph.value_info}
    assert all(mine[name][0] == kind[0] for name, kind in same.items() if name in mine)
    rows.append(("types", own, other))
    back, _ = least(onnx_ir.to_proto, lambda: theirs.model)
    told = ", ".join(f"{name} {own:.1f} / {other:.1f}" for name, own, other in rows)
    print(f"{path.rpartition('/')[2]}, {len(nodes)} nodes: {told}, back to a protobuf - / {back:.1f}")


if __name__ == "__main__":
    for file in sys.argv[1:]:
        main(file)
