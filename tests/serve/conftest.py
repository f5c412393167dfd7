"""A server around small models, and clients."""

from __future__ import annotations

import json

import httpx
import nets
import numpy as np
import pytest
from serving import running

import xplain
from xplain.demo import demo_model_path

SIDE = 16
TYPES = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64}


@pytest.fixture(scope="session")
def cnn():
    return xplain.load(nets.cnn())


@pytest.fixture(scope="session")
def textures():
    return xplain.load(demo_model_path())


@pytest.fixture(scope="session")
def server(cnn, textures):
    with running({"cnn": cnn, "textures": textures}) as one:
        yield one


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as one:
        yield one


@pytest.fixture
def items():
    return np.random.default_rng(7).random((3, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def infer(client):
    """A V2 client of a few lines, written from the protocol's text: binary tensors both ways."""

    def ask(path, name, array, parameters=None):
        raw = np.ascontiguousarray(array, "<f4").tobytes()
        size = {"binary_data_size": len(raw)}
        tensor = {"name": name, "shape": list(array.shape), "datatype": "FP32", "parameters": size}
        head = json.dumps(
            {"parameters": {**(parameters or {}), "binary_data_output": True}, "inputs": [tensor]}
        ).encode()
        length = {"Inference-Header-Content-Length": str(len(head))}
        answer = client.post(f"{path}/infer", content=head + raw, headers=length)
        assert answer.status_code == 200, answer.text
        at, found = int(answer.headers["Inference-Header-Content-Length"]), {}
        for one in json.loads(answer.content[:at])["outputs"]:
            part = answer.content[at : at + one["parameters"]["binary_data_size"]]
            found[one["name"]] = np.frombuffer(part, TYPES[one["datatype"]]).reshape(one["shape"])
            at += len(part)
        assert at == len(answer.content)
        return found

    return ask
