"""``xplain serve``: what is said before the first request."""

from __future__ import annotations

import socket

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("uvicorn")


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_address_to_open_is_said_once_it_is_known(xplain, model, monkeypatch, host, address):
    """Of port 0 only the system knows which it has become."""
    from xplain.serve import app

    found = []

    async def ends(self, sockets=None):
        await self.startup_as_it_is(sockets)
        found.append(self.servers[0].sockets[0].getsockname()[1])
        self.should_exit = True

    monkeypatch.setattr(app.uvicorn.Server, "startup_as_it_is", app.uvicorn.Server.startup, raising=False)
    monkeypatch.setattr(app.uvicorn.Server, "startup", ends)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
            one.bind((host, 0))
    except OSError:
        pytest.skip(f"{host} is no address of this machine")
    ran = xplain("serve", f"net={model}", "--host", host, "--port", 0)
    assert ran.code == 0, ran.err
    assert f"Serving net at {address}{found[0]} until Ctrl-C" in ran.err


def test_an_address_that_is_taken_is_refused_and_not_said(xplain, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = xplain("serve", f"net={model}", "--port", port)
    assert ran.code == 2
    assert f"127.0.0.1:{port} cannot be listened at" in ran.err
    assert "Serving" not in ran.err


def test_a_model_of_rows_is_served_with_the_columns_of_a_table(xplain, tmp_path, monkeypatch):
    """What a command line says of columns reaches the model: numbers go where their names are, in any order."""
    from xplain.serve import app

    served = []
    monkeypatch.setattr(app, "run", lambda models, _options, _listening: served.extend(models))
    weights = numpy_helper.from_array(np.array([[1, 0], [10, 0], [100, 0]], np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["scores"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 2])]
    made = helper.make_graph(nodes, "net", inputs, outputs, [weights])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    (tmp_path / "rows.csv").write_text("id,age,pay,years\n7,1,2,3\n8,3,4,5\n9,5,6,7\n")
    given = ("serve", f"m={tmp_path / 'm.onnx'}", "--rows", tmp_path / "rows.csv", "--columns", "years,age,pay")
    assert xplain(*given).code == 0
    (one,) = served
    assert [(c.name, c.kind, c.typical) for c in one.columns()] == [
        ("years", "number", 5),
        ("age", "number", 3),
        ("pay", "number", 4),
    ]
    _, items = one.read([{"age": 2, "pay": 3, "years": 1}])
    assert items.x.tolist() == [[1, 2, 3]]
    refused = xplain(*given, "--card", "imagenet")
    assert (refused.code, "--card is for pictures and tensors" in refused.err) == (2, True)
