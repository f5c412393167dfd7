from __future__ import annotations

import json

import numpy as np
import pytest
from nets import planted
from servers import Reply, V2Server, W, X, as_json, linear, scores_of, server_of, session_model

import xplain
from xplain.core.edits import Untouched
from xplain.core.errors import CapabilityError, ModelError, NonFinite, UnknownName, UsageError
from xplain.core.query import Peek, Score
from xplain.models.endpoint import open_endpoint


@pytest.mark.parametrize("binary", [True, False])
def test_scores_arrive_as_the_server_computed_them(serve, binary):
    handler = server_of(binary=binary)
    server = serve(handler)
    model = open_endpoint(f"{server.url}/v2/models/m", max_batch=3)
    np.testing.assert_array_equal(scores_of(model), (X @ W.T).astype(np.float64))
    assert sorted(handler.batches) == [1, 3, 3]
    sent = server.infers[0]
    assert ("inference-header-content-length" in sent.headers) == binary
    assert model.outline.facts["binary"] == binary


def test_the_outline_tells_what_the_server_told(serve):
    server = serve(server_of(inputs={"image": ("FP32", [-1, 3, 8, 9])}, outputs={"y": ("FP32", [-1, 2])}))
    outline = open_endpoint(f"{server.url}/v2/models/m", labels=["no", "yes"]).outline
    assert outline.kind == "endpoint"
    assert outline.source == f"{server.url}/v2/models/m"
    assert (outline.layout.axes, outline.layout.item) == ("NCHW", (3, 8, 9))
    assert outline.scores.classes == 2
    assert outline.labels == ("no", "yes")
    assert len(outline.digest) == 64
    assert "If they are probabilities, say so: scores='probabilities'." in outline.quirks[0]
    assert server.infers == [], "opening a model must not cost anything"


def test_the_digest_tells_versions_outputs_and_labels_apart(serve):
    url = f"{serve(server_of()).url}/v2/models/m"
    digests = {
        open_endpoint(url, **options).outline.digest
        for options in ({}, {"version": "2"}, {"labels": ["a", "b"]}, {"top_k": 1})
    }
    assert len(digests) == 4
    assert open_endpoint(url, max_batch=2, timeout=5).outline.digest in digests


def test_an_onnx_session_behind_the_server_is_explained_as_the_file_is(serve):
    proto = planted(size=16, cell=(1, 0))
    handler = V2Server(
        session_model(proto, "scores"), {"picture": ("FP32", [-1, 3, 16, 16])}, {"scores": ("FP32", [-1, 2])}
    )
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    remote = xplain.explain(open_endpoint(f"{serve(handler).url}/v2/models/m"), x, "occlusion", patch=8, stride=8)
    local = xplain.explain(proto.SerializeToString(), x, "occlusion", patch=8, stride=8)
    np.testing.assert_array_equal(remote.values, local.values)
    hit = remote.values != 0
    assert hit[:, 8:, :8].all()
    assert hit.sum() == 2 * 64
    assert remote.cost.queries == local.cost.queries == len(handler.rows)


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "UINT8", "INT64"])
@pytest.mark.parametrize("binary", [True, False])
def test_datatypes(serve, datatype, binary):
    seen = []

    def model(feeds):
        seen.append(feeds["x"])
        return linear(feeds)

    handler = server_of(model=model, inputs={"x": (datatype, [-1, 3])}, binary=binary)
    x = np.array([[0.0, 1.0, 200.0], [3.0, 4.0, 5.0]], np.float32)
    scores_of(open_endpoint(f"{serve(handler).url}/v2/models/m"), x)
    np.testing.assert_array_equal(seen[0], x)


def test_labels_that_are_numbers_do_not_rename_the_classes(serve):
    """The extension's texts name classes by index, whatever the labels look like."""
    model = open_endpoint(f"{serve(server_of()).url}/v2/models/m", top_k=2, labels=["1", "0"])
    np.testing.assert_allclose(scores_of(model), X @ W.T, atol=1e-6)


def test_whole_numbers_are_explained_as_whole_numbers(serve, tmp_path):
    seen = []

    def model(feeds):
        seen.append(feeds["ids"])
        return {"y": np.stack([(feeds["ids"] == 7).sum(axis=1), (feeds["ids"] == 9).sum(axis=1)], 1).astype(np.float32)}

    handler = server_of(model=model, inputs={"ids": ("INT64", [-1, 5])})
    ids = np.array([[1, 7, 9, 7, 3], [9, 9, 1, 1, 7]], np.int64)
    reader = open_endpoint(f"{serve(handler).url}/v2/models/m")
    a = xplain.explain(reader, ids, "ablation", target=0, cache=tmp_path)
    np.testing.assert_array_equal(a.values, ids == 7)
    assert {int(i) for batch in seen for i in batch.ravel()} == {0, 1, 3, 7, 9}


def test_bfloat16_rounds_to_nearest():
    from xplain.models.endpoint.tensors import from_bytes, to_bytes

    x = np.array([1.0, 1.00390625, 1.01171875, -3.14159, 1e-20], np.float32)
    back = from_bytes(to_bytes(x, "BF16"), "BF16", [5], "it")
    np.testing.assert_array_equal(back[:3], np.array([1.0, 1.0, 1.015625], np.float32))  # ties go to even
    np.testing.assert_allclose(back, x, rtol=2**-8)


def test_other_inputs_are_held_fixed(serve):
    def model(feeds):
        return {"y": linear({"x": feeds["x"]})["y"] * feeds["gain"]}

    handler = server_of(model=model, inputs={"x": ("FP32", [-1, 3]), "gain": ("FP32", [-1, 1])})
    url = f"{serve(handler).url}/v2/models/m"
    with pytest.raises(UsageError, match=r"has 2 inputs \(x, gain\). Say which to explain: input="):
        open_endpoint(url)
    with pytest.raises(UsageError, match=r"also needs gain; give their values: fixed=\{'gain': array\}"):
        open_endpoint(url, input="x")
    with pytest.raises(UnknownName, match="Unknown input 'gian'. Did you mean 'gain'"):
        open_endpoint(url, fixed={"gian": [1]})
    model = open_endpoint(url, fixed={"gain": [2.0]})
    np.testing.assert_allclose(scores_of(model), 2 * X @ W.T, rtol=1e-6)


def test_which_output_holds_the_scores(serve):
    outputs = {"label": ("INT64", [-1]), "probabilities": ("FP32", [-1, 2])}

    def model(feeds):
        y = linear(feeds)["y"]
        return {"label": y.argmax(axis=1), "probabilities": y}

    url = f"{serve(server_of(model=model, outputs=outputs)).url}/v2/models/m"
    found = open_endpoint(url)
    assert found.outline.scores.tensor == "probabilities"
    assert "only output of real numbers" in found.outline.scores.found
    with pytest.raises(UnknownName, match="Did you mean 'probabilities'"):
        open_endpoint(url, output="probability")
    url = f"{serve(server_of(outputs={'a': ('FP32', [-1, 2]), 'b': ('FP32', [-1, 2])})).url}/v2/models/m"
    with pytest.raises(UsageError, match=r"cannot be told among a \(float32\), b \(float32\)"):
        open_endpoint(url)


def test_a_model_that_only_decides(serve):
    def model(feeds):
        return {"label": linear(feeds)["y"].argmax(axis=1)}

    handler = server_of(model=model, outputs={"label": ("INT64", [-1])})
    url = f"{serve(handler).url}/v2/models/m"
    decided = open_endpoint(url, classes=2)
    expected = np.eye(2)[(X @ W.T).argmax(axis=1)]
    np.testing.assert_array_equal(scores_of(decided), expected)
    assert decided.outline.scores.kind == "decisions"
    a = xplain.explain(decided, X, "occlusion", patch=1, stride=1)
    assert "only decides" in a.warnings[0].text
    assert set(np.unique(a.values)) <= {-1.0, 0.0, 1.0}
    with pytest.raises(UsageError, match=r"it is not known which there are. Give labels= or classes="):
        scores_of(open_endpoint(url))


def test_decisions_by_name(serve):
    def model(feeds):
        return {"label": np.array(["no", "yes"], object)[linear(feeds)["y"].argmax(axis=1)]}

    handler = server_of(model=model, outputs={"label": ("BYTES", [-1])})
    url = f"{serve(handler).url}/v2/models/m"
    expected = np.eye(2)[(X @ W.T).argmax(axis=1)]
    np.testing.assert_array_equal(scores_of(open_endpoint(url, labels=["no", "yes"])), expected)
    with pytest.raises(ModelError, match=r"names a class that is not among the labels. Unknown label 'yes'"):
        scores_of(open_endpoint(url, labels=["no", "maybe"]))


@pytest.mark.parametrize("binary", [True, False])
def test_top_k_answers_leave_the_other_classes_unknown(serve, binary):
    wide = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    handler = server_of(
        model=lambda feeds: {"y": feeds["x"] @ wide.T},
        outputs={"y": ("FP32", [-1, 5])},
        binary=binary,
        labels=list("abcde"),
    )
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", top_k=2, labels=list("abcde"), max_batch=3)
    scores, true = scores_of(model), X @ wide.T
    assert (np.isfinite(scores).sum(axis=1) == 2).all()
    known = np.isfinite(scores)
    np.testing.assert_allclose(scores[known], true[known], atol=1e-6)
    assert "its 2 best classes only" in model.outline.scores.partial
    best, worst = int(true[0].argmax()), int(true[0].argmin())
    a = xplain.explain(model, X[:1], "occlusion", patch=1, stride=1, baseline=0.9 * X[:1])
    assert a.labels == (best,)
    with pytest.raises(
        NonFinite, match=rf"score of '{'abcde'[worst]}' is unknown for item 0 .*its 2 best classes only"
    ):
        xplain.explain(model, X[:1], "occlusion", target="abcde"[worst], patch=1, stride=1)


def test_labels_are_pinned(serve):
    handler = server_of(labels=["cat", "dog"])
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", top_k=2)
    scores_of(model)
    handler.labels = ["dog", "cat"]
    with pytest.raises(
        ModelError, match=r"calls class \d '(cat|dog)', known as '(cat|dog)'. The vendor's classes have"
    ):
        scores_of(model)


def test_a_fixed_batch_is_filled_up(serve):
    handler = server_of(inputs={"x": ("FP32", [4, 3])}, outputs={"y": ("FP32", [4, 2])})
    model = open_endpoint(f"{serve(handler).url}/v2/models/m")
    assert (model.outline.batch, model.outline.rows) == ("fixed", 4)
    np.testing.assert_array_equal(scores_of(model), (X @ W.T).astype(np.float64))
    assert handler.batches == [4, 4]


def test_large_items_go_in_small_batches(serve):
    handler = server_of()
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", max_bytes=2 * X[:1].nbytes)
    scores_of(model)
    assert sorted(handler.batches) == [1, 2, 2, 2]


def test_a_request_that_is_too_large_is_halved(serve):
    handler = server_of(before=lambda asked: as_json({"error": "big"}, 413) if len(asked.body) > 220 else None)
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", concurrency=1)
    np.testing.assert_array_equal(scores_of(model), (X @ W.T).astype(np.float64))
    assert max(handler.batches) < 7
    tiny = server_of(before=lambda asked: Reply(413))
    with pytest.raises(ModelError, match=r"refuses a request of \d+ bytes for 1 item\(s\) as too large"):
        scores_of(open_endpoint(f"{serve(tiny).url}/v2/models/m"))


def test_a_path_before_and_a_version_behind(serve):
    handler = server_of(root="/team/a")
    server = serve(handler)
    scores_of(open_endpoint(f"{server.url}/team/a/v2/models/m/versions/1/infer"))
    assert server.infers[0].path == "/team/a/v2/models/m/versions/1/infer"


def test_an_unknown_model_says_so(serve):
    with pytest.raises(ModelError, match=r"GET /v2/models/other: status 404, 'no GET /v2/models/other'"):
        open_endpoint(f"{serve(server_of()).url}/v2/models/other")


def test_metadata_that_are_none(serve):
    with pytest.raises(ModelError, match="metadata are not those of the V2 protocol"):
        open_endpoint(f"{serve(lambda asked: as_json({'name': 'm'})).url}/v2/models/m")


def test_only_scores_can_be_asked(serve):
    model = open_endpoint(f"{serve(server_of()).url}/v2/models/m")
    with pytest.raises(CapabilityError, match="answers only Score, not Peek"):
        model.answer(Peek(X, ("conv1",)))
    with pytest.raises(CapabilityError, match="only its scores can be read, nothing inside"):
        model.answer(Score(X, Untouched(), xplain.channel("conv1", 3)))
    with pytest.raises(CapabilityError, match="needs .*Sweep"):
        xplain.explain(model, X, "saliency")


BROKEN = {
    "nan": (lambda r: {**r, "outputs": [{**r["outputs"][0], "data": [float("nan")] * 14}]}, "is not strict JSON: NaN"),
    "few rows": (
        lambda r: {**r, "outputs": [{**r["outputs"][0], "shape": [6, 2], "data": [0.0] * 12}]},
        r"is \[6, 2\]; for 7 items \[7, K\] is needed",
    ),
    "shape lies": (lambda r: {**r, "outputs": [{**r["outputs"][0], "shape": [7, 3]}]}, "and holds 14 elements"),
    "negative": (
        lambda r: {**r, "outputs": [{**r["outputs"][0], "shape": [-7, -2]}]},
        "shape of .* is -7; a whole number",
    ),
    "no output": (lambda r: {**r, "outputs": []}, "Output 'y' of m is not in the answer"),
    "texts": (
        lambda r: {**r, "outputs": [{**r["outputs"][0], "data": ["a"] * 14}]},
        "says FP32 and holds other data: a text among",
    ),
    "null": (lambda r: {**r, "outputs": [{**r["outputs"][0], "data": [None] * 14}]}, "holds nan for item 0, class 0"),
    "no protocol": (lambda r: {"result": 3}, "is not one of the V2 protocol"),
    "a list": (lambda r: [r], "is not one of the V2 protocol"),
    "unknown type": (lambda r: {**r, "outputs": [{**r["outputs"][0], "datatype": "FP8"}]}, "Datatype 'FP8' is not of"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_answers_that_cannot_be_scores(serve, name):
    change, message = BROKEN[name]
    handler = server_of(binary=False)

    def broken(asked):
        reply = handler(asked)
        if asked.method == "POST":
            reply.body = json.dumps(change(json.loads(reply.body))).encode()
        return reply

    with pytest.raises((ModelError, NonFinite), match=message):
        scores_of(open_endpoint(f"{serve(broken).url}/v2/models/m"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body[:-4], r"needs 56 bytes and has 52: it was cut or padded"),
        (lambda body: body + b"1234", r"the answer has \d+ bytes where \d+ were announced"),
        (lambda body: body[:40], r"announces '\d+' bytes of JSON and has 40"),
        (lambda body: b"\xff" + body[1:], "is not strict JSON"),
        (lambda body: body.replace(b'"model_name"', b'"outputs"   '), "holds a name twice"),
        (lambda body: body[:-56] + np.full(14, np.nan, np.float32).tobytes(), "holds nan for item 0, class 0"),
    ],
)
def test_binary_answers_that_do_not_fit(serve, change, message):
    handler = server_of()

    def broken(asked):
        reply = handler(asked)
        if asked.method == "POST":
            reply.body = change(reply.body)
        return reply

    with pytest.raises((ModelError, NonFinite), match=message):
        scores_of(open_endpoint(f"{serve(broken).url}/v2/models/m"))


def test_labels_that_do_not_match_the_number_of_scores(serve):
    url = f"{serve(server_of()).url}/v2/models/m"
    with pytest.raises(UsageError, match=r"3 labels were given, but the model has 2 classes. Give one per class"):
        open_endpoint(url, labels=["a", "b", "c"])


def test_two_classes_may_share_a_name(serve):
    """The usual list of ImageNet has crane and maillot twice."""
    url = f"{serve(server_of()).url}/v2/models/m"
    model = open_endpoint(url, labels=["crane", "crane"])
    assert model.outline.labels == ("crane", "crane")
    assert xplain.explain(model, X[:1], "ablation", target=1).labels == (1,)
    with pytest.raises(UsageError, match="crane.*(0.*1|number)"):
        xplain.explain(model, X[:1], "ablation", target="crane")
