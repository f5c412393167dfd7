"""Which sum of trees a graph is, where its scores are one: read from a ``TreeEnsemble`` of ai.onnx.ml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from xplain.core.edits import Array
from xplain.core.trees import Forest, Trees
from xplain.graph.operators import facts_of

__all__ = ["trees_in"]

_ENSEMBLES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_MODES = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF"}


def trees_in(model: ModelProto, scores: str, item: str) -> Callable[[], Trees] | None:
    """How to read the trees whose sum is tensor ``scores``, computed from input ``item``; None where it is no such sum.

    The trees must be all that there is between the two, and give the sum itself, not a function of it.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(scores)
    while node is not None and _passes(node):
        node = makers.get(node.input[0])
    if node is None or node.op_type not in _ENSEMBLES:
        return None
    fed = node.input[0]
    while fed != item and fed in makers and _passes(makers[fed]):
        fed = makers[fed].input[0]
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    plain = _text(given.get("post_transform", "NONE")) == "NONE"
    aggregates = _text(given.get("aggregate_function", "SUM")) in ("SUM", "AVERAGE")
    modes = {_text(one) for one in given.get("nodes_modes", [])}
    if fed != item or not plain or not aggregates or not modes <= _MODES:
        return None
    return partial(_read, node, given)


def _passes(node: NodeProto) -> bool:
    """Whether a node hands numbers on as they are, as may stand before the trees and behind them."""
    known = facts_of(node)
    return known.repacks or known.rounds


def _read(node: NodeProto, given: dict[str, Any]) -> Trees:
    kind = "class" if node.op_type == "TreeEnsembleClassifier" else "target"
    labels = given.get("classlabels_int64s") or given.get("classlabels_strings") or []
    outputs = len(labels) if kind == "class" else int(given.get("n_targets", 1))
    ids = np.array(given[f"{kind}_ids"], dtype=np.int64)
    weights = _numbers(given, f"{kind}_weights")
    both = kind == "class" and outputs == 2 and len(np.unique(ids)) == 1  # one number that speaks for the second class
    sure = both and bool((weights >= 0).all())  # as a probability, and so 1 less it for the first
    width = 1 if both and not sure else outputs
    scale = 1.0
    tree_ids, node_ids = (np.array(given[f"nodes_{name}"]) for name in ("treeids", "nodeids"))
    if _text(given.get("aggregate_function", "SUM")) == "AVERAGE":
        scale = 1.0 / len(np.unique(tree_ids))
    leaves: dict[tuple[int, int], Array] = {}
    for tree, number, column, weight in zip(
        given[f"{kind}_treeids"], given[f"{kind}_nodeids"], ids, weights, strict=True
    ):
        own = leaves.setdefault((tree, number), np.zeros(width))
        own += scale * weight * (np.array([-1.0, 1.0]) if sure else np.eye(width)[0 if both else column])
    forest = Forest(width)
    first: dict[int, int] = {}
    for at, tree in enumerate(tree_ids.tolist()):
        if tree not in first:
            first[tree] = at
            forest.roots.append(at)
    place = {(int(tree), int(number)): at for at, (tree, number) in enumerate(zip(tree_ids, node_ids, strict=True))}
    _plant(forest, given, place, leaves)
    base = np.zeros(width)
    found = _numbers(given, "base_values")
    if len(found) == width:
        base = base + found
    elif len(found):
        base = base + (np.array([-found[-1], found[-1]]) if sure else found[:width])
    return forest.grown(base + (np.array([1.0, 0.0]) if sure else 0.0), covered=_covered(given))


def _plant(
    forest: Forest, given: dict[str, Any], place: dict[tuple[int, int], int], leaves: dict[tuple[int, int], Array]
) -> None:
    """All nodes, in the file's order."""
    modes = [_text(one) for one in given["nodes_modes"]]
    thresholds = _numbers(given, "nodes_values")
    tracks = given.get("nodes_missing_value_tracks_true") or [0] * len(modes)
    rates = _numbers(given, "nodes_hitrates") if _covered(given) else np.zeros(len(modes))
    names = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
    rows = zip(*(given[f"nodes_{name}"] for name in names), strict=True)
    below = np.float64 if "nodes_values_as_tensor" in given else np.float32
    for at, (tree, number, column, true, false) in enumerate(rows):
        if modes[at] == "LEAF":
            forest.leaf(leaves.get((tree, number), np.zeros(forest.outputs)), float(rates[at]))
            continue
        mode, threshold = modes[at].removeprefix("BRANCH_"), float(thresholds[at])
        ways, gap = (place[tree, true], place[tree, false]), bool(tracks[at])
        if mode in ("GT", "GTE", "NEQ"):
            ways, gap = (ways[1], ways[0]), not gap
        if mode in ("LT", "GTE"):  # below a number: at most the one before it
            threshold = float(np.nextafter(below(threshold), below(-np.inf)))
        split = forest.split(int(column), threshold, ways, gap, float(rates[at]))
        if mode in ("EQ", "NEQ"):
            forest.sets[split] = np.array([threshold])


def _covered(given: dict[str, Any]) -> bool:
    """Whether the file says how many rows went where; exporters mostly write 1 everywhere."""
    rates = _numbers(given, "nodes_hitrates")
    return len(rates) > 0 and len(np.unique(rates)) > 1


def _numbers(given: dict[str, Any], name: str) -> Array:
    tensor = given.get(f"{name}_as_tensor")
    return np.asarray(given.get(name, []) if tensor is None else numpy_helper.to_array(tensor), dtype=np.float64)


def _text(given: Any) -> str:
    return given.decode("utf-8", "replace") if isinstance(given, bytes) else str(given)
