"""Which sum of trees a fitted estimator is: scikit-learn's forests and boosting, LightGBM's and XGBoost's.

Nothing of these libraries is imported: each is read through what it says of itself. What is not surely understood is no
sum of trees here, and the estimator is then asked as any black box.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.trees import Forest, Link, Trees

__all__ = ["reader_of"]

_FORESTS = ("RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree")
_IDENTITY = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")
_MARGINS = {"reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "rank:pairwise", "rank:ndcg", "rank:map"}


def reader_of(estimator: Any, way: str) -> Callable[[], Trees] | None:
    """How to read the trees that an estimator adds up, or None for one that is no such sum.

    Args:
        estimator: A fitted one.
        way: Which of its functions is asked, ``predict_proba``, ``decision_function``, ``predict``; ``margins`` for a
            booster that is asked for its raw scores.
    """
    name = type(estimator).__name__
    classifies = hasattr(estimator, "classes_")
    if classifies and way == "predict":
        return None  # decisions are no sum
    if hasattr(estimator, "get_booster") or hasattr(estimator, "inplace_predict"):
        return partial(_xgboost, estimator, way) if _xgboost_reads(estimator) else None
    if hasattr(estimator, "booster_") or hasattr(estimator, "num_model_per_iteration"):
        return partial(_lightgbm, estimator, way)
    if getattr(estimator, "n_outputs_", 1) != 1:
        return None
    if name.startswith(_FORESTS) and name.endswith(("Classifier", "Regressor")):
        return partial(_forest, estimator, classifies)
    if name.startswith("GradientBoosting") and hasattr(estimator, "estimators_"):
        constant = type(estimator.init_).__name__.startswith("Dummy") or isinstance(estimator.init_, str)
        return partial(_boosted, estimator, way) if constant else None
    if name.startswith("HistGradientBoosting") and getattr(estimator, "is_categorical_", None) is None:
        return partial(_histogram, estimator, way)
    return None


# ---------------------------------------------------------------------- scikit-learn


def _forest(estimator: Any, classifies: bool) -> Trees:
    """The mean of trees; a classifier's leaf holds the shares of its classes."""
    members = getattr(estimator, "estimators_", [estimator])
    forest = Forest(len(estimator.classes_) if classifies else 1)
    for member in members:
        values = np.asarray(member.tree_.value, dtype=np.float64)[:, 0, :]
        if classifies:
            values = values / values.sum(axis=1, keepdims=True)
        _grow(forest, member.tree_, values / len(members))
    return forest.grown(np.zeros(forest.outputs), covered=True)


def _grow(forest: Forest, tree: Any, values: Array) -> None:
    start = forest.plant()
    gaps = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count))
    for node in range(tree.node_count):
        left, right, cover = tree.children_left[node], tree.children_right[node], tree.weighted_n_node_samples[node]
        if left < 0:
            forest.leaf(values[node], float(cover))
        else:
            ways = (start + int(left), start + int(right))
            forest.split(int(tree.feature[node]), float(tree.threshold[node]), ways, bool(gaps[node]), float(cover))


def _boosted(estimator: Any, way: str) -> Trees:
    stages = np.asarray(estimator.estimators_, dtype=object)
    forest = Forest(stages.shape[1])
    for stage in stages:
        for k, member in enumerate(stage):
            values = np.zeros((member.tree_.node_count, forest.outputs))
            values[:, k] = estimator.learning_rate * member.tree_.value[:, 0, 0]
            _grow(forest, member.tree_, values)
    return _settled(forest.grown(np.zeros(forest.outputs), covered=True), estimator, way, str(estimator.loss))


def _histogram(estimator: Any, way: str) -> Trees:
    stages = vars(estimator)["_predictors"]  # there is no public way to its trees
    forest = Forest(len(stages[0]))
    for stage in stages:
        for k, predictor in enumerate(stage):
            start = forest.plant()
            for node in predictor.nodes:
                if node["is_leaf"]:
                    forest.leaf(np.eye(forest.outputs)[k] * node["value"], float(node["count"]))
                    continue
                ways = (start + int(node["left"]), start + int(node["right"]))
                gap = bool(node["missing_go_to_left"])
                forest.split(int(node["feature_idx"]), float(node["num_threshold"]), ways, gap, float(node["count"]))
    trees = forest.grown(np.zeros(forest.outputs), covered=True, single=False)
    return _settled(trees, estimator, way, str(estimator.loss))


def _settled(trees: Trees, estimator: Any, way: str, loss: str) -> Trees:
    """The trees of a boosting with the constant that it starts from, found by asking it about a row of zeros."""
    from dataclasses import replace

    zeros = np.zeros((1, estimator.n_features_in_))
    classifies = hasattr(estimator, "classes_")
    asked = estimator.decision_function if classifies else estimator.predict
    base = np.asarray(asked(zeros), dtype=np.float64).reshape(-1)
    link: Link = "identity"
    if way == "predict_proba":
        link = ("sigmoid" if trees.values.shape[1] == 1 else "softmax") if loss == "log_loss" else "other"
    elif not classifies and loss in ("poisson", "gamma"):
        link, base = "other", np.log(base)
    return replace(trees, base=base - trees.outputs(zeros)[0], link=link)


# ---------------------------------------------------------------------- LightGBM


def _lightgbm(estimator: Any, way: str) -> Trees:
    booster = getattr(estimator, "booster_", estimator)
    told = booster.dump_model()
    width = int(told["num_tree_per_iteration"])
    forest = Forest(width)
    trees = told["tree_info"]
    scale = width / len(trees) if told.get("average_output") else 1.0
    for one in trees:
        forest.plant()
        _branch(forest, one["tree_structure"], np.eye(width)[one["tree_index"] % width] * scale)
    objective = str(told.get("objective", "regression")).split()
    return forest.grown(np.zeros(width), covered=True, single=False, link=_link_of(objective, way))


def _link_of(objective: Sequence[str], way: str) -> Link:
    if way == "margins":
        return "identity"
    if way == "predict_proba":
        if objective[0] == "binary":
            return "sigmoid" if "sigmoid:1" in objective else "other"
        return "softmax" if objective[0] == "multiclass" else "other"
    return "identity" if objective[0] in _IDENTITY and "sqrt" not in objective else "other"


def _branch(forest: Forest, told: Mapping[str, Any], unit: Array) -> int:
    """One node and all below it; its number."""
    if "split_feature" not in told:
        return forest.leaf(unit * told["leaf_value"], float(told.get("leaf_count", 1)))
    is_set = told["decision_type"] == "=="
    threshold = 0.0 if is_set else float(told["threshold"])
    missing, gap = told["missing_type"], bool(told["default_left"])
    if is_set:
        gap = False
    elif missing == "None":
        gap = threshold >= 0  # a gap counts as 0
    node = forest.split(int(told["split_feature"]), threshold, (-1, -1), gap, float(told["internal_count"]))
    if is_set:
        forest.sets[node] = np.array([float(one) for one in str(told["threshold"]).split("||")])
    if missing == "Zero" and not is_set:
        forest.zero_gap.add(node)
    ways = tuple(_branch(forest, told[side], unit) for side in ("left_child", "right_child"))
    column, limit, _, _, left, cover = forest.nodes[node]
    forest.nodes[node] = (column, limit, ways[0], ways[1], left, cover)
    return node


# ---------------------------------------------------------------------- XGBoost


def _xgboost_reads(estimator: Any) -> bool:
    """Whether it is a sum of trees with numbers at their splits and one number at each leaf."""
    learner = _learner(estimator)
    booster = learner["gradient_booster"]
    model = booster.get("gbtree", booster).get("model", {})
    plain = all(not any(tree.get("split_type", [])) for tree in model.get("trees", []))
    wide = any(int(tree["tree_param"].get("size_leaf_vector", "1")) > 1 for tree in model.get("trees", []))
    return bool(model.get("trees")) and plain and not wide


def _learner(estimator: Any) -> dict[str, Any]:
    booster = estimator.get_booster() if hasattr(estimator, "get_booster") else estimator
    found: dict[str, Any] = json.loads(bytes(booster.save_raw("json")))["learner"]
    return found


def _xgboost(estimator: Any, way: str) -> Trees:
    learner = _learner(estimator)
    booster = learner["gradient_booster"]
    weights = booster.get("weight_drop")
    model = booster.get("gbtree", booster)["model"]
    param, objective = learner["learner_model_param"], learner["objective"]["name"]
    width = max(1, int(param.get("num_class", "0")), int(param.get("num_target", "1")))
    forest = Forest(width)
    trees, classes = model["trees"], model["tree_info"]
    most = _most(estimator, way, len(trees), model, width)
    for k, (tree, column) in enumerate(zip(trees[:most], classes[:most], strict=True)):
        start, unit = forest.plant(), np.eye(width)[column] * (weights[k] if weights else 1.0)
        left, right, split = tree["left_children"], tree["right_children"], tree["split_conditions"]
        for node, cover in enumerate(tree["sum_hessian"]):
            if left[node] < 0:
                forest.leaf(unit * split[node], cover)
            else:
                ways, gap = (start + left[node], start + right[node]), bool(tree["default_left"][node])
                forest.split(tree["split_indices"][node], float(np.float32(split[node])), ways, gap, cover)
    base = np.array([float(one) for one in str(param["base_score"]).strip("[]").split(",")])
    link: Link = "identity"
    if "logistic" in objective or "logitraw" in objective:
        base = np.log(base / (1 - base)) if "logitraw" not in objective else base
        link = "sigmoid" if way == "predict_proba" else "other"
    elif objective.startswith("multi:"):
        link = "softmax" if way == "predict_proba" else "other"
    elif objective not in _MARGINS:
        base, link = np.log(base), "other"
    link = "identity" if way == "margins" else link
    return forest.grown(np.broadcast_to(base, (width,)).copy(), covered=True, strict=True, link=link)


def _most(estimator: Any, way: str, count: int, model: Mapping[str, Any], width: int) -> int:
    """How many trees count: scikit-learn's interface stops at the best round of an early stopping."""
    try:
        best = None if way == "margins" else estimator.best_iteration
    except AttributeError:
        best = None
    if best is None:
        return count
    starts = model.get("iteration_indptr")
    return int(starts[best + 1]) if starts else (best + 1) * width
