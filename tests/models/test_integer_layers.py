"""Layers of files in which every activation is an integer: QOperator form, by onnxruntime's own quantiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from integer_nets import SIZE, N, correlation, integers, items, planted, raw, trunk

import xplain
from xplain.core.arrays import enlarge
from xplain.core.edits import Coalitions
from xplain.core.errors import UnknownName, UsageError
from xplain.core.query import Peek, Score, Sweep
from xplain.core.rules import Rules
from xplain.core.target import channel, inner, label, neuron

SWEPT = ("grad-cam", "grad-cam++", "layer-cam", "hires-cam", "guided-grad-cam")
MAPS = (*SWEPT, "cam", "eigen-cam", "score-cam", "ablation-cam")
LAYERS = {"r3": "c3_quantized", "s": "s_quantized"}
"""Two layers of the float model, and their names in QOperator form, where the ReLU has gone into the convolution."""


@pytest.fixture(scope="module", params=["residual", "concat", "leaky", "matmul"])
def twins(request, tmp_path_factory) -> dict[str, Any]:
    """The float model, and its two integer forms."""
    folder, model = tmp_path_factory.mktemp(request.param), trunk(request.param)
    found = {form: integers(model, form, folder, items(16)) for form in ("QDQ", "QOperator")}
    ends = [node.op_type for node in found["QOperator"].graph.node]
    assert set(ends) - {"QuantizeLinear", "DequantizeLinear", "MaxPool", "Flatten"} <= {o for o in ends if o[0] == "Q"}
    return {"form": request.param, "float": model, **found}


def doors(twins: dict[str, Any]) -> tuple[Any, Any, Any]:
    return tuple(xplain.load(twins[name]) for name in ("float", "QDQ", "QOperator"))


# ---------------------------------------------------------------------- which layers there are, and what they hold


def test_every_integer_activation_is_a_layer_under_its_own_name(twins) -> None:
    model = twins["QOperator"]
    layers = xplain.load(model).outline.layers
    assert [(layer.op, layer.name) for layer in layers] == [(n.op_type, n.output[0]) for n in model.graph.node]
    shapes = {layer.name: layer.shape for layer in layers}
    assert shapes["c2_quantized"] == shapes["p1_quantized"] == (None, 8, 16, 16)
    assert shapes["f_quantized"] == (None, 8)


def test_values_are_real_numbers(twins) -> None:
    """(integer - zero point) * scale, with both read from the file by hand."""
    model, x = twins["QOperator"], items()
    loaded = xplain.load(model)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    moved = {"p1_quantized": "r1" if twins["form"] == "leaky" else "c1", "f_quantized": "g"}
    taps = ("c1_quantized", "p1_quantized", "s_quantized", "c3_quantized", "f_quantized")
    found = loaded.answer(Peek(x, taps))
    swept = loaded.answer(Sweep(x[:, None], label(1), Rules(), taps))
    for name, whole in zip(taps, raw(model, x, list(taps)), strict=True):
        base = moved.get(name, name.removesuffix("_quantized"))
        expected = (whole.astype(np.float32) - np.float32(stored[f"{base}_zero_point"])) * stored[f"{base}_scale"]
        assert (whole.dtype, found[name].dtype) == (np.uint8, np.float32)
        np.testing.assert_array_equal(found[name], expected)
        apart = swept[name][0] != expected  # the runtime may round a float convolution's number the other way
        assert apart.mean() < 0.01
        np.testing.assert_allclose(swept[name][0], expected, atol=1.01 * float(stored[f"{base}_scale"]))


def test_the_gradient_is_that_of_the_real_numbers(twins) -> None:
    """The same in both forms, under the integers' names and under those of the numbers read from them."""
    exact, qdq, operator = doors(twins)
    x = items()
    for real, name in LAYERS.items():
        pairs = (exact, real), (qdq, f"{real}_DequantizeLinear_Output"), (qdq, f"{real}_QuantizeLinear_Output")
        found = [m.answer(Sweep(x[:, None], label(2), Rules(), (tap,)))[tap] for m, tap in (*pairs, (operator, name))]
        for mine, theirs in zip(found[2], found[1], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        for mine, theirs in zip(found[3], found[1], strict=True):
            assert correlation(mine, theirs) > 0.98
        assert correlation(found[3][1], found[0][1]) > 0.8
        both = (found[3][1] != 0) & (found[0][1] != 0)  # what rounds to the end of the range passes nothing
        assert both.mean() > 0.2
        # per unit of the real number, not per integer
        np.testing.assert_allclose(np.median(found[3][1][both] / found[0][1][both]), 1, atol=0.1)


def test_units_of_integer_layers_are_targets(twins) -> None:
    exact, _, operator = doors(twins)
    x = items()
    values = operator.answer(Peek(x, ("s_quantized",)))["s_quantized"].astype(np.float64)
    weights = np.random.default_rng(2).normal(size=values.shape[1:])
    targets = {
        channel: ((3,), values[:, 3].mean(axis=(1, 2))),
        neuron: ((2, 4, 1), values[:, 2, 4, 1]),
        inner: ((weights,), (values * weights).sum(axis=(1, 2, 3))),
    }
    for kind, (told, expected) in targets.items():
        scores = operator.answer(Score(x, Coalitions(*_whole()), kind("s_quantized", *told)))
        np.testing.assert_allclose(scores.reshape(3, 2)[:, 0], expected, rtol=1e-5)
        pairs = (exact, "s"), (operator, "s_quantized")
        one, two = (xplain.explain(m, x, "input-x-gradient", target=kind(t, *told)).values for m, t in pairs)
        assert np.abs(two).max() > 0
        assert correlation(one, two) > 0.9
        assert 0.8 < np.abs(two).sum() / np.abs(one).sum() < 1.25
    said = xplain.explain(operator, x, "saliency", target="s_quantized[2,4,1]").values
    np.testing.assert_array_equal(
        said, xplain.explain(operator, x, "saliency", target=neuron("s_quantized", 2, 4, 1)).values
    )


def _whole() -> tuple[Any, Any, Any]:
    """Nothing hidden, then everything."""
    return np.zeros((SIZE, SIZE), np.int32), np.array([[1], [0]], np.uint8), np.zeros((1, 1, 1, 1), np.float32)


# ---------------------------------------------------------------------- class activation maps


@pytest.mark.parametrize("method", MAPS)
def test_maps_agree_with_the_twins(method: str, twins) -> None:
    x = items()
    models = dict(zip(("float", "QDQ", "QOperator"), doors(twins), strict=True))
    if (method, twins["form"]) == ("cam", "residual"):  # its integer scores have a ReLU for a lower end
        for form in ("QDQ", "QOperator"):
            with pytest.raises(UsageError, match="not linear in the averages"):
                xplain.explain(models[form], x, method, target=[0, 1, 2])
        return
    found = {name: xplain.explain(m, x, method, target=[0, 1, 2]) for name, m in models.items()}
    assert found["QOperator"].notes["layer"] == "c3_quantized"
    assert found["QOperator"].resolution == found["float"].resolution
    assert np.abs(found["QOperator"].values).max() > 0
    # the runtime rounds in other places in the two forms: sums and averages differ by a step now and then
    assert correlation(found["QOperator"].values, found["QDQ"].values) > 0.99
    assert correlation(found["QOperator"].values, found["float"].values) > 0.9
    scale = np.abs(found["QOperator"].values).sum() / np.abs(found["float"].values).sum()
    assert 0.8 < scale < 1.25


def at_the_sum(method: str, twins) -> tuple[Any, Any]:
    """The layer of the sum, explained in QDQ and in QOperator form."""
    x = items()
    _, qdq, operator = doors(twins)
    one = xplain.explain(qdq, x, method, target=1, layer="s_DequantizeLinear_Output")
    return one, xplain.explain(operator, x, method, target=1, layer="s_quantized")


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "eigen-cam", "score-cam", "excitation-backprop"])
def test_a_layer_can_be_named(method: str, twins) -> None:
    one, two = at_the_sum(method, twins)
    assert two.notes["layer"] == "s_quantized"
    assert two.resolution in ((16, 16), None)
    assert correlation(one.values, two.values) > 0.99


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "lrp", "guided-backprop", "deconvnet"])
def test_attribution_to_an_integer_layer(method: str, twins) -> None:
    one, two = at_the_sum(method, twins)
    assert np.abs(one.values).max() > 0
    assert correlation(one.values, two.values) > 0.97
    assert 0.9 < np.abs(two.values).sum() / np.abs(one.values).sum() < 1.1


def test_ablation_runs_the_tail_on_real_numbers(twins) -> None:
    """Against integers of which a channel is put at its zero point, and the tail written down by hand."""
    model, x = twins["QOperator"], items()
    stored = {t.name: onnx.numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}

    def real(name: str, whole: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return (whole - stored[f"{name}_zero_point"]) * stored[f"{name}_scale"]

    seen = real("c3", raw(model, x, ["c3_quantized"])[0].astype(np.float64))
    weight = real("d", stored["d_quantized"])
    bias = 0 if twins["form"] == "matmul" else stored["db_quantized"] * stored["g_scale"] * stored["d_scale"]

    def score(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        pooled = np.rint(values.mean(axis=(2, 3)) / stored["g_scale"]) + stored["g_zero_point"]
        found = real("g", pooled.clip(0, 255)) @ weight + bias
        if twins["form"] == "residual":  # no softmax, and the scores' own lower end is a ReLU: they are read behind it
            found = real("l", (np.rint(found / stored["l_scale"]) + stored["l_zero_point"]).clip(0, 255))
        return found[:, 1]

    without = np.stack([score(np.where(np.arange(8)[:, None, None] == k, 0, seen)) for k in range(8)], axis=1)
    expected = np.einsum("nk,nkhw->nhw", score(seen)[:, None] - without, seen)
    got = xplain.explain(model, x, "ablation-cam", target=1, signed=True).values
    np.testing.assert_allclose(got, enlarge(expected, (SIZE, SIZE)), atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam", "score-cam", "ablation-cam", "cam"])
@pytest.mark.parametrize("cell", [(0, 3), (2, 1)])
def test_the_planted_cell_lights_up(method: str, cell: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    bright = np.kron(rng.random((8, 1, 4, 4)) > 0.5, np.ones((1, 1, 8, 8))).astype(np.float32)
    model = integers(planted(), "QOperator", tmp_path, bright)
    assert all(
        node.op_type.startswith("QLinear") or node.op_type in ("Flatten", "QGemm") for node in model.graph.node[1:-1]
    )
    x = np.zeros((1, 1, 32, 32), np.float32)
    row, column = cell
    x[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1
    for layer in ("auto", "c_quantized"):
        if (method, layer) == ("cam", "c_quantized"):
            continue  # its head is not linear
        values = xplain.explain(model, x, method, target=0, layer=layer).values[0]
        at = np.unravel_index(values.argmax(), values.shape)
        assert (at[0] // 8, at[1] // 8) == cell
        cells = values.reshape(4, 8, 4, 8).mean(axis=(1, 3))
        assert cells[cell] == cells.max() > 0
        far = np.abs(np.indices((4, 4)) - np.array(cell)[:, None, None]).max(axis=0) > 1
        assert np.abs(cells[far]).max() < 1e-6 * cells.max()


# ---------------------------------------------------------------------- compiled files


@pytest.mark.parametrize("method", [*SWEPT, "saliency", "lrp"])
@pytest.mark.parametrize("layer", ["auto", "s_quantized"])
def test_compiled_equals_explained(method: str, layer: str, twins) -> None:
    loaded, x = xplain.load(twins["QOperator"]), items()
    name = "input" if (method, layer) in (("saliency", "auto"), ("lrp", "auto")) else layer
    compiled = xplain.compile(loaded, method, layer=name)
    session = ort.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
    end = twins["QOperator"].graph.output[0].name
    for target in (None, 2):
        classes = np.array([-1 if target is None else target])
        outputs, values = session.run([end, "attribution"], {"x": x, "target": classes})
        expected = xplain.explain(loaded, x, method, target=target, layer=name)
        np.testing.assert_allclose(outputs, raw(twins["QOperator"], x, [end])[0], atol=0.02 * np.abs(outputs).max())
        assert np.abs(expected.values).max() > 0
        np.testing.assert_allclose(values, expected.values, rtol=1e-3, atol=1e-4 * np.abs(expected.values).max())


def test_a_unit_of_an_integer_layer_can_be_compiled_in(twins) -> None:
    loaded, x = xplain.load(twins["QOperator"]), items()
    for target in (neuron("s_quantized", 2, 4, 1), channel("c3_quantized", 1), "s_quantized[3]"):
        compiled = xplain.compile(loaded, "saliency", target=target)
        values = ort.InferenceSession(compiled.SerializeToString()).run(["attribution"], {"x": x})[0]
        expected = xplain.explain(loaded, x, "saliency", target=target).values
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# ---------------------------------------------------------------------- what cannot be had


def test_errors_say_what_can_be_had(twins) -> None:
    loaded, x = xplain.load(twins["QOperator"]), items(1)
    with pytest.raises(UnknownName, match="Did you mean 'c3_quantized'"):
        xplain.explain(loaded, x, "grad-cam", layer="c3_quantised")
    with pytest.raises(UnknownName, match="Unknown layer 'c_quantized'"):  # a weight
        xplain.explain(loaded, x, "grad-cam", layer="c_quantized")
    with pytest.raises(UsageError, match=r"'f_quantized' is \[N C:8\]: it has no positions.*c3_quantized"):
        xplain.explain(loaded, x, "grad-cam", layer="f_quantized")
    with pytest.raises(UsageError, match="needs a head that averages layer 's_quantized'"):
        xplain.explain(loaded, x, "cam", layer="s_quantized")
    with pytest.raises(UsageError, match="also past tensor 'c2_quantized'"):  # the residual goes round it
        xplain.explain(loaded, x, "ablation-cam", layer="c2_quantized")
    with pytest.raises(UsageError, match="'score-cam' cannot be compiled.*grad-cam"):
        xplain.compile(loaded, "score-cam")


def test_integers_that_stand_for_no_real_numbers_are_no_layers() -> None:
    weights = {"w": np.random.default_rng(0).integers(-9, 9, (4, 1, 3, 3)).astype(np.int8), "s": np.float32(0.1)}
    nodes = [
        N("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"]),
        N("ConvInteger", ["q", "w", "qz"], ["whole"], pads=[1] * 4),
        N("Cast", ["whole"], ["big"], to=nets.FLOAT),
        N("Mul", ["big", "s"], ["real"]),
        N("GlobalAveragePool", ["real"], ["g"]),
        N("Flatten", ["g"], ["y"]),
    ]
    model = nets.model(nodes, {"x": (nets.FLOAT, ["N", 1, 8, 8])}, {"y": (nets.FLOAT, ["N", 4])}, weights)
    loaded = xplain.load(model)
    assert [layer.name for layer in loaded.outline.layers] == ["big", "real", "g", "y"]
    x = np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32)
    assert xplain.explain(loaded, x, "grad-cam", target=0, signed=True).notes["layer"] == "real"
    with pytest.raises(UnknownName, match="Unknown layer 'whole'"):
        xplain.explain(loaded, x, "grad-cam", layer="whole")
