from __future__ import annotations

import json

import numpy as np
import pytest
from servers import W, X, as_json, scores_of

import xplain
from xplain.core.errors import ModelError, NonFinite, UsageError
from xplain.models.endpoint import open_endpoint

TRUE = (X @ W.T).astype(np.float64)


def speaking(predict):
    def handler(asked):
        if asked.method == "GET":
            return as_json({"name": "m", "ready": True})
        assert asked.path == "/v1/models/m:predict"
        x = np.array(json.loads(asked.body)["instances"], np.float32)
        return as_json({"predictions": predict(x)})

    return handler


@pytest.mark.parametrize("url", ["/v1/models/m", "/v1/models/m:predict"])
def test_predictions_are_scores(serve, url):
    server = serve(speaking(lambda x: (x @ W.T).tolist()))
    model = open_endpoint(server.url + url, max_batch=3, labels=["no", "yes"])
    np.testing.assert_array_equal(scores_of(model), TRUE)
    assert len(server.infers) == 3
    a = xplain.explain(model, X, "occlusion", patch=1, stride=1, target="yes")
    np.testing.assert_allclose(a.values, X * W[1], atol=1e-6)


def test_scores_in_a_field(serve):
    server = serve(speaking(lambda x: [{"out": {"p": row}} for row in (x @ W.T).tolist()]))
    np.testing.assert_array_equal(scores_of(open_endpoint(f"{server.url}/v1/models/m", field="out.p")), TRUE)
    with pytest.raises(ModelError, match="The list of predictions has nothing at 'out.q': 'q' is not there"):
        scores_of(open_endpoint(f"{server.url}/v1/models/m", field="out.q"))


def test_decisions(serve):
    server = serve(speaking(lambda x: (x @ W.T).argmax(axis=1).tolist()))
    model = open_endpoint(f"{server.url}/v1/models/m", scores="decisions", classes=2)
    np.testing.assert_array_equal(scores_of(model), np.eye(2)[TRUE.argmax(axis=1)])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ([[1, 2]], ModelError, r"is \[1, 2\]; for 7 items"),
        ([[1, 2]] * 6 + [[1]], ModelError, "is not a table of numbers with one row per item"),
        ([["a", "b"]] * 7, ModelError, "is not a table of numbers"),
        ([[None, 1]] * 7, NonFinite, "holds nan for item 0, class 0"),
        ("text", ModelError, "holds no list of predictions"),
        ([[]] * 7, ModelError, r"is \[7, 0\]"),
    ],
)
def test_predictions_that_are_none(serve, answer, kind, message):
    with pytest.raises(kind, match=message):
        scores_of(open_endpoint(f"{serve(speaking(lambda x: answer)).url}/v1/models/m"))


def test_another_path_needs_a_mapping(serve):
    with pytest.raises(UsageError, match=r"names neither /v2/models/NAME nor /v1/models/NAME.*mapping='vendor.toml'"):
        open_endpoint(f"{serve(lambda asked: as_json({})).url}/classify")
