"""Guided backpropagation and deconvnet against captum, on a net with max pooling."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from reference_net import CLASSES, items, model
from test_deeplift import torch_net

import xplain
from xplain.core.keeping.content import fingerprint
from xplain.core.rules import Rules, Where
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.guided import DECONVNET, GUIDED, QUANTISERS, GuidedRelu
from xplain.rules.lrp import Epsilon
from xplain.rules.lrp_tables import epsilon


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rules", "name"), [(GUIDED, "GuidedBackprop"), (DECONVNET, "Deconvolution")])
def test_captum_agrees(rules: Rules, name: str) -> None:
    captum = pytest.importorskip("captum.attr")
    import torch

    built = build(model(), ["input"], [Seed("y")], rules)
    got = session(built.model).run(["cotangent/input"], {"x": items(), "target": CLASSES})[0]
    theirs = getattr(captum, name)(torch_net("max")).attribute(torch.tensor(items()), torch.tensor(CLASSES))
    np.testing.assert_allclose(got, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def integers(request, tmp_path_factory) -> onnx.ModelProto:
    """The reference net after static quantisation, which leaves no ReLU: the quantisers do their work."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    folder = tmp_path_factory.mktemp("integers")
    onnx.save(model(), folder / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"x": items(8)}])

        def get_next(self):
            return next(self.left, None)

    quantization.quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=quantization.QuantFormat[request.param],
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
    )
    found = onnx.load(folder / "int8.onnx")
    assert not any(node.op_type == "Relu" for node in found.graph.node)
    return found


@pytest.mark.parametrize("integers", ["QDQ", "QOperator"], indirect=True)
@pytest.mark.parametrize(("rules", "method"), [(GUIDED, "guided-backprop"), (DECONVNET, "deconvnet")])
def test_quantisers_that_took_over_a_relu_are_one(integers: onnx.ModelProto, rules: Rules, method: str) -> None:
    found = {}
    for name, net in (("float", model()), ("integers", integers)):
        built = build(net, ["input"], [Seed("y")], rules)
        assert not built.notes
        found[name] = session(built.model).run(["cotangent/input"], {"x": items(), "target": CLASSES})[0]
    assert np.corrcoef(found["float"].ravel(), found["integers"].ravel())[0, 1] > 0.95
    assert not xplain.explain(integers, items(), method).warnings
    plain = build(integers, ["input"], [Seed("y")], Rules())
    gradient = session(plain.model).run(["cotangent/input"], {"x": items(), "target": CLASSES})[0]
    assert np.corrcoef(gradient.ravel(), found["integers"].ravel())[0, 1] < 0.8


@pytest.mark.parametrize("integers", ["QDQ"], indirect=True)
@pytest.mark.parametrize("rules", [GUIDED, DECONVNET])
def test_a_relu_before_its_quantiser_rectifies_once(integers: onnx.ModelProto, rules: Rules) -> None:
    """With the ReLUs put back as nodes, nothing changes."""
    both = onnx.ModelProto()
    both.CopyFrom(integers)
    nodes = []
    for node in both.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] in ("r1", "r2", "r3", "r4"):
            nodes.append(onnx.helper.make_node("Relu", [node.input[0]], [f"{node.input[0]}/relu"]))
            node.input[0] = nodes[-1].output[0]
        nodes.append(node)
    del both.graph.node[:]
    both.graph.node.extend(nodes)
    assert sum(node.op_type == "Relu" for node in nodes) == 4
    maps = [
        session(build(net, ["input"], [Seed("y")], rules).model).run(None, {"x": items(), "target": CLASSES})
        for net in (integers, both)
    ]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_a_lower_end_that_cuts_is_a_relu() -> None:
    """Of the input, a pooling, and a sum of what is not negative nothing is cut off."""

    def node(op: str, inputs: str, output: str) -> onnx.NodeProto:
        return onnx.helper.make_node(op, inputs.split(), [output])

    nodes = [
        node("QuantizeLinear", "x s low", "q0"),
        node("DequantizeLinear", "q0 s low", "d0"),
        node("Conv", "d0 w", "c"),
        node("QuantizeLinear", "c s low", "relu"),
        node("QuantizeLinear", "c s middle", "linear"),
        node("DequantizeLinear", "relu s low", "d1"),
        node("DequantizeLinear", "linear s middle", "d2"),
        node("MaxPool", "d1", "pool"),
        node("QuantizeLinear", "pool s low", "pooled"),
        node("Add", "d1 pool", "sum"),
        node("QuantizeLinear", "sum s low", "added"),
        node("Add", "d1 d2", "mixed"),
        node("QuantizeLinear", "mixed s low", "relu2"),
        node("QuantizeLinear", "c s", "relu3"),
        node("QLinearConv", "q0 s low w s wz s low", "relu4"),
        node("QLinearConv", "q0 s low w s wz s middle", "linear2"),
        node("QLinearAdd", "relu s low relu3 s low s low", "added2"),
        node("QLinearAdd", "relu s low linear s middle s low", "relu5"),
    ]
    makers = {n.output[0]: n for n in nodes}
    content = {"low": np.array(-128, np.int8), "middle": np.array(3, np.int8)}
    found = {n.output[0] for n in nodes if rectifies(n, makers.get, content.get)}
    assert found == {"relu", "relu2", "relu3", "relu4", "relu5"}


def test_tables_are_data() -> None:
    lower_end = Where(ops=QUANTISERS, rectifies=True)
    assert (
        Rules("guided", changes="rectifier").on(Where(fact="rectifier"), GuidedRelu()).on(lower_end, GuidedRelu())
        == GUIDED
    )
    assert hash(GUIDED) != hash(DECONVNET)
    assert epsilon(epsilon=0.1) != epsilon(epsilon=0.2)
    assert epsilon(epsilon=0.1) == epsilon(epsilon=0.1)
    assert fingerprint(epsilon(epsilon=0.1)) == fingerprint(epsilon(epsilon=0.1)) != fingerprint(epsilon(epsilon=0.2))
    assert "eps=0.1" in repr(Epsilon(0.1))
