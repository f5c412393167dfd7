"""AttnLRP's rules against the paper's formulas, written out in numpy for one head of attention."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import xplain

TOKENS, WIDTH, CLASSES = 4, 5, 3


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    made = {name: rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) for name in "qkv"}
    return {**made, "h": rng.normal(size=(WIDTH, CLASSES)).astype(np.float32), "scale": np.float32(0.5)}


def attention(mask: bool = False) -> xplain.Model:
    """Softmax(q k^T / 2) v, the mean over tokens, a linear head; with ``mask`` the last token is never attended to."""
    stored = weights()
    scaled = "scaled"
    nodes = [
        helper.make_node("MatMul", ["x", "q"], ["xq"]),
        helper.make_node("MatMul", ["x", "k"], ["xk"]),
        helper.make_node("MatMul", ["x", "v"], ["xv"]),
        helper.make_node("Transpose", ["xk"], ["xkt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["xq", "xkt"], ["raw"]),
        helper.make_node("Mul", ["raw", "scale"], ["scaled"]),
    ]
    if mask:
        stored["mask"] = np.where(np.arange(TOKENS) == TOKENS - 1, -np.inf, 0).astype(np.float32)
        nodes.append(helper.make_node("Add", ["scaled", "mask"], ["masked"]))
        scaled = "masked"
    nodes += [
        helper.make_node("Softmax", [scaled], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "xv"], ["o"]),
        helper.make_node("ReduceMean", ["o"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "h"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return xplain.load(made, layout="NTC")


def linear(x: np.ndarray, w: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Epsilon rule without a stabiliser: x_i sum_j w_ij R_j / z_j."""
    return x * ((relevance / (x @ w)) @ w.T)


def written_out(x: np.ndarray, target: int, mask: bool) -> np.ndarray:
    """Achtibat et al. 2024, equations 8 (linear), 13 (softmax) and 15 (matrix products), for one item [T, C]."""
    w = {name: value.astype(np.float64) for name, value in weights().items()}
    q, k, v = x @ w["q"], x @ w["k"], x @ w["v"]
    logits = q @ k.T * w["scale"]
    allowed = np.arange(TOKENS) < TOKENS - mask
    exp = np.where(allowed, np.exp(logits - logits.max()), 0.0)
    a = exp / exp.sum(axis=1, keepdims=True)
    o = a @ v
    r_mean = o.mean(axis=0) * w["h"][:, target]
    r_o = o / o.sum(axis=0) * r_mean
    share = r_o / (2 * o)
    r_a, r_v = a * (share @ v.T), v * (a.T @ share)
    r_logits = np.where(allowed, logits, 0.0) * (r_a - a * r_a.sum(axis=1, keepdims=True))
    share = r_logits / (2 * (q @ k.T))
    r_q, r_k = q * (share @ k), k * (share.T @ q)
    return linear(x, w["v"], r_v) + linear(x, w["q"], r_q) + linear(x, w["k"], r_k)


def test_relevance_is_that_of_the_papers_equations() -> None:
    x = np.random.default_rng(0).normal(size=(2, TOKENS, WIDTH)).astype(np.float32)
    for mask in (False, True):
        a = xplain.explain(attention(mask), x, "lrp", rule="attn-lrp", epsilon=1e-9, target=1, channels=True)
        wanted = np.stack([written_out(item.astype(np.float64), 1, mask) for item in x])
        np.testing.assert_allclose(a.values, wanted, rtol=2e-3, atol=2e-4 * np.abs(wanted).max())


def test_queries_and_keys_get_a_share_that_the_gate_rule_leaves_out() -> None:
    x = np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    w = weights()
    values_alone = xplain.explain(attention(), x, "lrp", rule="epsilon", target=0, channels=True).values
    both = xplain.explain(attention(), x, "lrp", rule="attn-lrp", target=0, channels=True).values
    v = x[0] @ w["v"]
    assert np.isfinite(both).all()
    assert np.abs(both - values_alone).max() > 0.05 * np.abs(v).mean()
