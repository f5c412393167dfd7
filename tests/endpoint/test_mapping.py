from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from servers import Reply, W, X, as_json, scores_of

import xplain
from xplain.core.edits import Untouched
from xplain.core.errors import ModelError, NonFinite, UnknownName, UsageError
from xplain.core.query import Score
from xplain.core.target import every_score
from xplain.models.endpoint import open_endpoint
from xplain.models.endpoint.fields import FieldPath

RED = np.zeros((16, 16, 3), np.uint8)
RED[4:8, 8:12] = (250, 30, 20)


def redness(picture):
    pixels = np.asarray(picture.convert("RGB"), np.float64)
    red = float((pixels[..., 0] - pixels[..., 1]).mean())
    return {"red": red, "grey": 10.0, "blue": -red}


def tags(picture, best=3):
    ranked = sorted(redness(picture).items(), key=lambda pair: -pair[1])[:best]
    return {"result": {"tags": [{"name": name, "confidence": score} for name, score in ranked]}}


def picture_of(asked):
    """The picture in a request: JSON with base64, a form, or the body itself."""
    kind = asked.headers["content-type"]
    if kind == "application/json":
        return Image.open(io.BytesIO(base64.b64decode(json.loads(asked.body)["image"])))
    if kind.startswith("multipart/form-data"):
        boundary = re.search("boundary=(.*)", kind)[1].encode()
        parts = asked.body.split(b"--" + boundary)
        assert parts[-1] == b"--\r\n"
        fields = {
            re.search(b'name="(.*?)"', head)[1].decode(): body[:-2]
            for head, body in (part.split(b"\r\n\r\n", 1) for part in parts[1:-1])
        }
        assert fields["detail"] == b"all"
        return Image.open(io.BytesIO(fields["upload"]))
    return Image.open(io.BytesIO(asked.body))


def service(asked):
    return as_json(tags(picture_of(asked)))


TOML = """
input = "picture"
labels = ["red", "grey", "blue"]
[picture]
size = [16, 16]
[request]
query = {model = "v3", lang = "a b"}
headers = {X-Plan = "basic"}
ENCODING
[response]
scores = "result.tags[*].confidence"
labels = "result.tags[*].name"
"""
ENCODINGS = {
    "json": 'body = {image = "$item", detail = "all"}',
    "multipart": 'encoding = "multipart"\nfield = "upload"\nform = {detail = "all"}',
    "raw": 'encoding = "raw"',
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_pictures_in_any_encoding(serve, tmp_path, encoding):
    file = tmp_path / "vendor.toml"
    file.write_text(TOML.replace("ENCODING", ENCODINGS[encoding]))
    server = serve(service)
    model = open_endpoint(f"{server.url}/classify", mapping=file)
    a = xplain.explain(model, RED, "occlusion", target="red", patch=4, stride=4)
    assert (a.values[0, 4:8, 8:12] > 10).all(), "the red square is what counts"
    assert np.count_nonzero(a.values) == 16
    assert server.asked[0].path == "/classify?model=v3&lang=a+b"
    assert server.asked[0].headers["x-plan"] == "basic"
    true = tags(Image.fromarray(RED))["result"]["tags"][0]["confidence"]
    assert a.scores[0] == pytest.approx(true)


def test_png_is_exact_and_jpeg_says_that_it_is_not(serve):
    seen = []

    def handler(asked):
        seen.append(np.asarray(picture_of(asked)))
        return service(asked)

    url = f"{serve(handler).url}/classify"
    raw = {
        "labels": ["red", "grey", "blue"],
        "request": {"body": {"image": "$item"}},
        "response": {"scores": "result.tags[*].confidence", "labels": "result.tags[*].name"},
    }
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    xplain.predict(open_endpoint(url, mapping=raw), noise)
    np.testing.assert_array_equal(seen[0], noise)
    lossy = open_endpoint(url, mapping={**raw, "picture": {"format": "jpeg", "quality": 90}})
    assert "sent as JPEG, which blurs the edge" in " ".join(lossy.outline.quirks)
    xplain.predict(lossy, noise)
    assert not np.array_equal(seen[1], noise)
    assert seen[1].shape == noise.shape


def test_tensors_in_batches(serve):
    def handler(asked):
        x = np.array(json.loads(asked.body)["data"]["rows"], np.float32)
        return as_json({"rows": [{"s": row} for row in (x @ W.T).tolist()]})

    raw = {
        "input": "tensor",
        "classes": 2,
        "request": {"batch": 3, "body": {"data": {"rows": "$items", "v": [1, "$items "]}}},
        "response": {"items": "rows", "scores": "s"},
    }
    server = serve(handler)
    model = open_endpoint(f"{server.url}/score", mapping=raw)
    np.testing.assert_array_equal(scores_of(model), (X @ W.T).astype(np.float64))
    assert len(server.infers) == 3


def test_texts_and_decisions(serve):
    def handler(asked):
        text = json.loads(asked.body)["q"]
        assert text.startswith("classify: ")
        return as_json({"answer": {"class": "good" if "good" in text else "bad"}})

    raw = {
        "input": "text",
        "labels": ["bad", "good"],
        "request": {"body": {"q": "classify: $item"}},
        "response": {"label": "answer.class"},
    }
    model = open_endpoint(f"{serve(handler).url}/t", mapping=raw)
    texts = np.array(["a good one", "a poor one"], object)
    np.testing.assert_array_equal(model.answer(Score(texts, Untouched(), every_score)), [[0, 1], [1, 0]])


def test_price_and_secret_from_the_file(serve, monkeypatch):
    monkeypatch.setenv("VENDOR_KEY", "k-12345")
    server = serve(service)
    raw = {
        "labels": ["red", "grey", "blue"],
        "auth": {"X-Api-Key": "${VENDOR_KEY}"},
        "price": {"per_call": 0.002, "currency": "USD"},
        "request": {"body": {"image": "$item"}},
        "response": {"scores": "result.tags[*].confidence", "labels": "result.tags[*].name"},
    }
    model = open_endpoint(f"{server.url}/c", mapping=raw)
    bill = xplain.plan(model, RED, "occlusion", patch=4, stride=4)
    assert str(bill) == "17 evaluations; 17 calls; 0.034 USD, retries not counted"
    assert server.asked == []
    a = xplain.explain(model, RED, "occlusion", patch=4, stride=4, max_cost=0.034)
    assert (a.cost.money, a.cost.currency) == (0.034, "USD")
    assert len(server.asked) == 17
    assert server.asked[0].headers["x-api-key"] == "k-12345"
    dearer = {**raw, "price": {"per_call": 9}, "auth": {"X-Api-Key": "${HOME}"}}
    assert open_endpoint(f"{server.url}/c", mapping=dearer).outline.digest == model.outline.digest


GOOD = {
    "input": "tensor",
    "labels": ["a", "b"],
    "request": {"body": {"x": "$item"}},
    "response": {"scores": "s[*].v", "labels": "s[*].n"},
}


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"inputs": "tensor"}, UnknownName, "Unknown key in the mapping's file: 'inputs'. Did you mean 'input'"),
        ({"request": {"bodi": 1}}, UnknownName, r"key in the mapping's \[request\]: 'bodi'. Did you mean 'body'"),
        ({"input": "video"}, UsageError, "input is 'video'; accepted: picture, tensor, text"),
        ({"kind": "odds"}, UsageError, "kind is 'odds'; accepted: logits"),
        ({"request": 3}, UsageError, "'request' is 3; a section"),
        ({"request": {"batch": 0}}, UsageError, "request.batch is 0; accepted: a whole number"),
        ({"request": {"batch": 4}}, UsageError, "response.items must say where the list lies"),
        ({"request": {"encoding": "raw"}}, UsageError, "'raw' sends one picture or text at a time"),
        ({"request": {"encoding": "xml"}}, UsageError, "encoding is 'xml'; accepted: json, multipart, raw"),
        ({"response": {}}, UsageError, "needs either scores or label"),
        ({"response": {"scores": "s", "label": "l"}}, UsageError, "needs either scores or label"),
        ({"response": {"scores": "s[*"}}, UsageError, r"Field path 's\[\*' cannot be read at '\[\*'"),
        ({"labels": []}, UsageError, "so it must list them"),
        ({"labels": "abc"}, UsageError, "labels are 'abc'; accepted: a list of names"),
        ({"labels": ["a", "b", "c"], "classes": 2}, UsageError, "3 labels were given, but the model has 2 classes"),
        ({"kind": "decisions"}, UsageError, "decisions are read from response.label"),
    ],
)
def test_mappings_that_cannot_be_used(change, kind, message):
    with pytest.raises(kind, match=message):
        open_endpoint("https://example.com/c", mapping=GOOD | change)


def test_a_mapping_file_that_is_none(tmp_path):
    with pytest.raises(UsageError, match="mapping file .* cannot be read: there is no such file"):
        open_endpoint("https://example.com/c", mapping=tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("input = ")
    with pytest.raises(UsageError, match="mapping file .* cannot be read: Invalid value"):
        open_endpoint("https://example.com/c", mapping=tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ({"s": [{"v": 1, "n": "c"}]}, ModelError, "names a class that is not among the labels"),
        ({"s": [{"v": 1}]}, ModelError, r"nothing at 's\[\*\].n': 'n' is not there"),
        ({"s": "none"}, ModelError, r"nothing at 's\[\*\].v': '\[\*\]' is not there"),
        ({"s": [{"v": None, "n": "a"}]}, NonFinite, "holds nan"),
        ({"s": [{"v": "0.5x", "n": "a"}]}, ModelError, "is not a table of numbers"),
    ],
)
def test_answers_that_do_not_fit_the_mapping(serve, answer, kind, message):
    model = open_endpoint(f"{serve(lambda asked: as_json(answer)).url}/c", mapping=GOOD)
    with pytest.raises(kind, match=message):
        scores_of(model)


def test_scores_without_labels_must_be_as_many_as_the_labels(serve):
    raw = GOOD | {"response": {"scores": "s"}}
    model = open_endpoint(f"{serve(lambda asked: as_json({'s': [1, 2, 3]})).url}/c", mapping=raw)
    with pytest.raises(ModelError, match="is 3|holds 3 scores per item, but 2 labels are known"):
        scores_of(model)


def test_an_answer_that_is_no_json(serve):
    model = open_endpoint(f"{serve(lambda asked: Reply(200, b'<html>')).url}/c", mapping=GOOD)
    with pytest.raises(ModelError, match="The answer is not strict JSON"):
        scores_of(model)
    deep = open_endpoint(f"{serve(lambda asked: Reply(200, b'[' * 200_000)).url}/c", mapping=GOOD)
    with pytest.raises(ModelError, match="The answer is not strict JSON"):
        scores_of(deep)


VALUE = {"a": [{"b": 1, "c-d": [5, 6]}, {"b": 2, "c-d": [7, 8]}], "x y": {"": 3}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a[*].b", [1, 2]),
        ("a[-1].b", 2),
        ("a[*].c-d[1]", [6, 8]),
        ("a[*].c-d[*]", [[5, 6], [7, 8]]),
        ('"x y".""', 3),
        ("", VALUE),
    ],
)
def test_field_paths(path, found):
    assert FieldPath(path).find(VALUE, "it") == found


@pytest.mark.parametrize("path", [".a", "a..b", "a[", "a[1.5]", "a b", "a['x']", "__import__('os')"])
def test_field_paths_that_are_none(path):
    with pytest.raises(UsageError, match="cannot be read at"):
        FieldPath(path)
