"""What the plain way and the incremental way would cost, in multiply-adds of a dense product.

Both ways are counted in one unit, so that their ratio says which to take on any processor. Work that is not a dense
product is weighed by what it costs relative to one, measured on AVX-512 (benchmarks/methods/incremental_occlusion.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from xplain.core.edits import Array
from xplain.graph.nodes import Node, attribute
from xplain.graph.operators import facts_of
from xplain.incremental.edges import inner
from xplain.incremental.steps import Boxes, Conv, Step

__all__ = ["DEPTHWISE", "ELEMENT", "SETUP", "STEP", "node_cost", "step_cost", "winograd_cost"]

ELEMENT = 25
"""Products in the time that one element takes to be read, changed and written."""
DEPTHWISE = 5
"""Dense products in the time of one depthwise product."""
STEP = 40_000
"""Products in the time that one step takes per mask whatever its size: scheduling, shared by a batch of masks."""
SETUP = 2_000_000_000
"""Products in the time that planning, packing weights and opening sessions take; shared by all masks of a run."""
_TRANSFORM = 8
"""Products in the time in which Winograd transforms one of a tile's 36 values."""


def node_cost(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> float:
    """Cost of one node of the plain way for one item; 0 for what runtimes fuse or only rename."""
    size = math.prod(shapes.get(node.output[0], (0,))) if node.output else 0
    if node.op_type == "Conv" and len(node.input) > 1:
        weight = shapes.get(node.input[1], (0, 0))
        depthwise = weight[1] == 1 and weight[0] > 1
        return float(size * math.prod(weight[1:])) * (DEPTHWISE if depthwise else 1) + size * ELEMENT / 4
    if node.op_type in ("Gemm", "MatMul"):
        weight = shapes.get(node.input[1], (0,))
        return float(size * (weight[-2] if len(weight) > 1 and not _transposed(node) else weight[-1]))
    return 0.0 if facts_of(node).free else float(size * ELEMENT)


def _transposed(node: Node) -> bool:
    return bool(attribute(node, "transB", 0))


def step_cost(step: Step, at: Boxes) -> Array:
    """Cost of a step under each mask, direct, float64 ``[M]``."""
    work = step.work(at)
    if isinstance(step, Conv):
        elements = at[step.out][:, 2] * at[step.out][:, 3] * step.plane.channels
        return np.asarray(work.products * (DEPTHWISE if step.depthwise else 1) + elements * ELEMENT / 4 + STEP)
    return np.asarray(work.products * float(ELEMENT) + STEP)


def winograd_cost(step: Conv, at: Boxes) -> Array:
    """The same where the step is done by Winograd's F(4x4, 3x3), edges apart."""
    box = at[step.out]
    outputs, inputs = step.weight.shape[:2]
    within, edge_taps = inner(at[step.source], box, step.kernel, inputs * outputs)
    tiles = -(-within[:, 2] // 4) * -(-within[:, 3] // 4)
    elements = box[:, 2] * box[:, 3] * outputs
    products = tiles * 36.0 * (inputs * outputs + _TRANSFORM * (inputs + outputs)) + edge_taps * inputs * outputs
    return np.asarray(products + elements * ELEMENT / 4 + STEP)
