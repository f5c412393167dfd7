"""The same question by every protocol gives the bits that ``xplain.explain`` gives."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.demo import SCENES, demo_picture
from xplain.serve import desk
from xplain.serve import running as packs


def as_array(told):
    return np.frombuffer(base64.b64decode(told["b64"]), told["dtype"]).reshape(told["shape"])


METHODS = [("grad-cam", {}), ("saliency", {}), ("rise", {"samples": 64, "cells": 4})]


@pytest.mark.parametrize(("method", "options"), METHODS)
def test_every_protocol_gives_the_same_bits(client, infer, cnn, items, method, options):
    expected = xplain.explain(cnn, items, method, seed=3, **options)
    given = {"method": method, "options": options, "seed": 3}
    plain = client.post("/api/explain", json={"model": "cnn", "instances": items.tolist(), **given}).json()
    coded = client.post(
        "/api/explain", json={"model": "cnn", "instances": items.tolist(), "encoding": "base64", **given}
    ).json()
    v1 = client.post("/v1/models/cnn:explain", json={"instances": items.tolist(), "parameters": given}).json()
    named = client.post(
        f"/v1/models/cnn.{method}:explain",
        json={"inputs": items.tolist(), "parameters": {"options": options, "seed": 3}},
    ).json()
    v2 = client.post(
        f"/v2/models/cnn.{method}/infer",
        json={
            "id": "seven",
            "parameters": {"seed": 3, **options},
            "inputs": [
                {"name": "picture", "shape": [3, 3, 16, 16], "datatype": "FP32", "data": items.ravel().tolist()}
            ],
        },
    ).json()
    raw = infer(f"/v2/models/cnn.{method}", "picture", items, {"seed": 3, **options})
    assert v2["id"] == "seven"
    told = {one["name"]: one for one in v2["outputs"]}
    for n in range(3):
        want = expected.values[n]
        explained = plain["items"][n]["explanations"][0]
        assert np.array_equal(np.asarray(explained["values"], np.float32), want)
        assert np.array_equal(as_array(coded["items"][n]["explanations"][0]["values"]), want)
        assert np.array_equal(np.asarray(v1["explanations"][n]["values"], np.float32), want)
        assert np.array_equal(np.asarray(named["explanations"][n]["values"], np.float32), want)
        assert np.array_equal(raw["saliency"][n], want)
        assert explained["label"] == expected.labels[n]
        assert explained["score"] == expected.scores[n] == raw["score"][n]
        if expected.error is not None:
            assert np.array_equal(np.asarray(explained["error"], np.float32), expected.error[n])
            assert np.array_equal(raw["error"][n], expected.error[n])
    assert np.array_equal(
        np.asarray(told["saliency"]["data"], np.float32).reshape(expected.values.shape), raw["saliency"]
    )
    assert told["label"]["data"] == list(expected.labels)


def test_scores_are_those_of_predict(client, infer, cnn, items):
    expected = xplain.predict(cnn, items)
    v1 = client.post("/v1/models/cnn:predict", json={"instances": items.tolist()}).json()["predictions"]
    assert np.array_equal(np.asarray(v1), expected)
    assert np.array_equal(infer("/v2/models/cnn", "picture", items)["scores"], expected)
    best = client.post("/api/predict", json={"model": "cnn", "instances": items.tolist()}).json()["predictions"]
    assert [one[0]["class"] for one in best] == expected.argmax(1).tolist()


def test_a_picture_by_its_bytes(client, textures):
    picture, _, label = demo_picture(next(iter(SCENES)))
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    expected = xplain.explain(textures, picture, "grad-cam", target=label)
    body = out.getvalue()
    raw = client.post(
        "/api/explain",
        params={"model": "textures", "method": "grad-cam", "target": label, "overlay": "1"},
        content=body,
        headers={"content-type": "image/png"},
    ).json()["items"][0]["explanations"][0]
    coded = client.post(
        "/v1/models/textures.grad-cam:explain",
        json={"instances": [{"b64": base64.b64encode(body).decode()}], "parameters": {"target": label}},
    ).json()["explanations"][0]
    for one in (raw, coded):
        assert np.array_equal(np.asarray(one["values"], np.float32), expected.values[0])
        assert one["target"] == label
    drawn = Image.open(io.BytesIO(base64.b64decode(raw["overlay"])))
    assert np.array_equal(np.asarray(drawn), np.asarray(expected.overlay(0)))


def test_xplains_own_client_explains_xplains_own_server(server, cnn, items):
    remote = xplain.load(f"{server.url}/v2/models/cnn")
    here, there = (xplain.explain(one, items[:1], "occlusion", patch=4, stride=4) for one in (cnn, remote))
    assert np.allclose(here.values, there.values, atol=1e-6)


def test_requests_of_many_callers_are_packed_and_keep_their_bits(server, cnn, items, monkeypatch):
    sizes = []
    asked = packs.answered

    def counted(pack, watch, **how):
        sizes.append(len(pack))
        return asked(pack, watch, **how)

    monkeypatch.setattr(desk, "answered", counted)
    expected = xplain.explain(cnn, items, "grad-cam", target=1).values
    alone = xplain.explain(cnn, items, "grad-cam").values

    def one(k):
        target = [1, None][k % 2]
        body = {"model": "cnn", "instances": [items[k % 3].tolist()], "method": "grad-cam", "target": target}
        told = httpx.post(f"{server.url}/api/explain", json=body, timeout=60).json()
        values = np.asarray(told["items"][0]["explanations"][0]["values"], np.float32)
        return np.array_equal(values, (expected if target == 1 else alone)[k % 3])

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(one, range(48)))
    assert sum(sizes) == 48
    assert len(sizes) < 48


def test_a_row_of_a_table_and_texts_of_their_kinds(client):
    for instance, why in (("a text", "takes no texts"), ({"age": 3}, "")):
        answer = client.post("/api/explain", json={"model": "cnn", "instances": [instance]})
        assert answer.status_code == 400
        assert why in answer.json()["error"]
