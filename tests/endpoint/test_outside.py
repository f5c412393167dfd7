"""Numbers and texts that a server or a file says: read strictly, or refused in words; never misread, never kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from servers import Reply, V2Server, W, X, as_json, linear, scores_of, server_of

from xplain.core.errors import ModelError, NonFinite, UsageError, XplainError
from xplain.models.endpoint import open_endpoint, outside
from xplain.models.endpoint.answers import LabelSpace, score_rows
from xplain.models.endpoint.caller import _retry_after
from xplain.models.endpoint.tensors import from_list, holds

TOKEN = "s3cr3t/T0ken+abcdef=="


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        (" 12 ", 12),
        ("007", 7),
        ("²", None),
        ("١", None),
        ("1_0", None),
        ("+1", None),
        ("", None),
        ("9" * 19, None),
        ("9" * 5000, None),
        ("1.0", None),
        ("0x1", None),
        ("1\n", None),
    ],
)
def test_digits(text, number):
    assert outside.digits(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", 0.5),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_0", None),
        ("nan", None),
        ("inf", None),
        ("²", None),
        ("1" * 200, None),
        (" 1", None),
        ("0x1p3", None),
        ("", None),
    ],
)
def test_reals(text, number):
    assert outside.real(text) == number


@pytest.mark.parametrize("value", [5.9, True, None, "5", -1, 2**40, 10**400, float("inf"), float("nan"), [1], {}])
def test_what_is_no_whole_number(value):
    with pytest.raises(ModelError, match="a whole number from 0 to 2147483647 is needed"):
        outside.whole(value, "It")


def test_a_whole_number_may_be_written_as_a_real_one():
    assert outside.whole(5.0, "It") == 5


@pytest.mark.parametrize("value", [[1] * 33, "12", None, 3, [1.5], [[1]], [-2], [True]])
def test_what_is_no_shape(value):
    with pytest.raises(ModelError):
        outside.extents(value, "it")


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("3", 3.0),
        ("²", None),
        ("99999999999999999999", None),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("-5", None),
        ("", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 +9999999999", None),
    ],
)
def test_how_long_a_server_asks_to_wait(text, wait):
    assert _retry_after(text) in (wait, None if wait is None else wait)


@pytest.mark.parametrize(
    ("data", "datatype"),
    [
        ([5.21], "INT64"),
        ([0.3], "BOOL"),
        (["5"], "INT64"),
        (["5"], "FP32"),
        ([True], "FP32"),
        ([True], "INT8"),
        ([300], "UINT8"),
        ([-1], "UINT64"),
        ([2], "BOOL"),
        ([1e300], "INT64"),
        ([None], "INT64"),
        ([{}], "FP64"),
        ([10**400], "FP64"),
        ([10**30], "INT64"),
        ([[1, 2], [3]], "FP32"),
        ([1], "BYTES"),
        ([None], "BYTES"),
        ([[True, 0.5]], "FP32"),
        ("abc", "FP32"),
        (None, "FP32"),
        ({}, "INT64"),
    ],
)
def test_json_that_is_not_of_its_datatype(data, datatype):
    size = len(data) if isinstance(data, list) else 1
    with pytest.raises(ModelError, match="holds other data|elements"):
        from_list(data, datatype, [size], "It")


@pytest.mark.parametrize(
    ("data", "datatype", "values"),
    [
        ([5.0, 7], "INT64", [5, 7]),
        ([True, False], "BOOL", [True, False]),
        ([1, 0], "BOOL", [True, False]),
        ([[1], [2.5]], "FP64", [1, 2.5]),
        ([2**63], "UINT64", [2**63]),
        ([10**20], "FP64", [1e20]),
    ],
)
def test_json_that_is(data, datatype, values):
    assert from_list(data, datatype, [len(data)], "It").tolist() == values


def test_a_datatype_holds_no_narrower_one():
    assert all(holds(*pair) for pair in [("FP64", "FP32"), ("INT64", "INT32"), ("FP64", "INT32"), ("FP32", "BF16")])
    narrower = [("INT64", "FP32"), ("BOOL", "FP32"), ("FP16", "FP32"), ("FP32", "FP64"), ("INT32", "INT64")]
    assert not any(holds(*pair) for pair in [*narrower, ("BYTES", "FP32"), ("FP32", "BYTES"), ("BF16", "FP32")])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["INT64", "BOOL", "FP16", "UINT8"])
def test_the_datatype_of_an_answer_is_held_against_the_metadata(serve, binary, datatype):
    """FP32 in the metadata and INT64 in the answer: 5.21 would be read as 5."""
    handler = server_of(binary=binary)

    def other(asked):
        reply = handler(asked)
        reply.body = reply.body.replace(b'"FP32"', f'"{datatype}"'.encode()) if asked.method == "POST" else reply.body
        if asked.method == "POST" and binary:
            cut = reply.body.index(b"}]}") + 3
            reply.headers["Inference-Header-Content-Length"] = str(cut)
        return reply

    model = open_endpoint(f"{serve(other).url}/v2/models/m")
    with pytest.raises(ModelError, match=f"FP32 in the model's metadata and '{datatype}' in the answer"):
        scores_of(model)


def test_a_wider_datatype_is_taken(serve):
    handler = V2Server(
        lambda f: {"y": linear(f)["y"].astype(np.float64)}, {"x": ("FP32", [-1, 3])}, {"y": ("FP64", [-1, 2])}
    )

    def described_narrower(asked):
        reply = handler(asked)
        reply.body = reply.body.replace(b'"FP64"', b'"FP32"') if asked.method == "GET" else reply.body
        return reply

    model = open_endpoint(f"{serve(described_narrower).url}/v2/models/m")
    np.testing.assert_array_equal(scores_of(model), (X @ W.T).astype(np.float64))


ANSWERS = {
    "66 axes": lambda r: r | {"shape": [7, 2] + [1] * 64},
    "shape of reals": lambda r: r | {"shape": [7.5, 2]},
    "shape of texts": lambda r: r | {"shape": ["7", "2"]},
    "shape true": lambda r: r | {"shape": [7, True, 2]},
    "no elements": lambda r: r | {"shape": [0] + [2**31 - 1] * 8, "data": []},
    "binary_data_size abc": lambda r: r | {"parameters": {"binary_data_size": "abc"}},
    "binary_data_size 0.5": lambda r: r | {"parameters": {"binary_data_size": 0.5}},
    "binary_data_size -8": lambda r: r | {"parameters": {"binary_data_size": -8}},
    "name null": lambda r: r | {"name": None},
    "name 5": lambda r: r | {"name": 5},
    "datatype null": lambda r: r | {"datatype": None},
    "datatype a list": lambda r: r | {"datatype": ["FP32"]},
    "parameters a list": lambda r: r | {"parameters": [1]},
    "data deep": lambda r: r | {"data": json.loads("[" * 80 + "1" + "]" * 80)},
    "other classes": lambda r: r | {"shape": [2, 7]},
    "third class": lambda r: r | {"shape": [7, 3], "data": [0.0] * 21},
}


@pytest.mark.parametrize("change", ANSWERS.values(), ids=ANSWERS)
def test_answers_that_are_none(serve, change):
    handler = server_of(binary=False)

    def other(asked):
        reply = handler(asked)
        if asked.method == "POST":
            reply.body = json.dumps({"outputs": [change(json.loads(reply.body)["outputs"][0])]}).encode()
        return reply

    with pytest.raises(ModelError):
        scores_of(open_endpoint(f"{serve(other).url}/v2/models/m"))


def test_numbers_that_only_json_can_write(serve):
    handler = server_of(binary=False)

    def endless(asked):
        if asked.method != "POST":
            return handler(asked)
        body = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[7,2],"parameters":{"binary_data_size":1e999}}]}'
        return Reply(200, body, {})

    with pytest.raises(ModelError, match="binary_data_size of 'y' is inf"):
        scores_of(open_endpoint(f"{serve(endless).url}/v2/models/m"))


@pytest.mark.parametrize("announced", ["\xb2", "9" * 5000, "-1", "1_0", "0x10"])
def test_lengths_that_are_none(serve, announced):
    handler = server_of()

    def other(asked):
        reply = handler(asked)
        if asked.method == "POST":
            reply.headers["Inference-Header-Content-Length"] = announced
        return reply

    with pytest.raises(ModelError, match="bytes of JSON"):
        scores_of(open_endpoint(f"{serve(other).url}/v2/models/m"))


TENSOR = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
METADATA = {
    "batch of 0": [TENSOR | {"shape": [0, 3]}],
    "batch of 2^40": [TENSOR | {"shape": [2**40, 3]}],
    "batch of 2^30": [TENSOR | {"shape": [2**30, 3]}],
    "extent 0": [TENSOR | {"shape": [-1, 0]}],
    "shape null": [TENSOR | {"shape": None}],
    "shape of reals": [TENSOR | {"shape": [-1, 3.7]}],
    "name null": [TENSOR | {"name": None}],
    "name empty": [TENSOR | {"name": ""}],
    "name long": [TENSOR | {"name": "x" * 100_000}],
    "datatype null": [TENSOR | {"datatype": None}],
    "datatype FP8": [TENSOR | {"datatype": "FP8"}],
    "twice": [TENSOR, TENSOR],
    "none": [],
    "a text": "x",
    "null": None,
    "a list of texts": ["x"],
}


@pytest.mark.parametrize("inputs", METADATA.values(), ids=METADATA)
def test_metadata_that_are_none(serve, inputs):
    outputs = [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}]
    url = serve(lambda asked: as_json({"name": "m", "platform": "p", "inputs": inputs, "outputs": outputs})).url
    with pytest.raises(ModelError):
        open_endpoint(f"{url}/v2/models/m", binary=False)


@pytest.mark.parametrize("classes", [0, 2**30])
def test_classes_that_no_model_has(serve, classes):
    with pytest.raises(UsageError, match="number of classes"):
        open_endpoint(f"{serve(server_of(outputs={'y': ('FP32', [-1, classes])})).url}/v2/models/m")


@pytest.mark.parametrize("raw", [[["1.5"]], [[True]], [[10**400]], [[{}]], [["nan"]], "12", {"a": 1}])
def test_scores_that_are_no_numbers(raw):
    with pytest.raises(ModelError):
        score_rows(raw, 1, "It")


def test_scores_written_as_null_are_not_finite():
    with pytest.raises(NonFinite):
        score_rows([[None]], 1, "It")


@pytest.mark.parametrize("named", ["1_0", "²", "x", 0.5, float("inf"), float("nan"), 10**400, None, [], "9" * 5000, -1])
def test_classes_that_are_none(named):
    with pytest.raises(XplainError):
        LabelSpace((), 3).place(named, "It")


def test_a_name_of_two_classes_needs_its_number():
    space = LabelSpace(("crane", "owl", "crane"))
    assert (space.place("owl", "It"), space.place(2, "It"), space.place("2", "It")) == (1, 2, 2)
    with pytest.raises(ModelError, match=r"name of 2 classes \(0, 2\). Let the answer say the class by its number"):
        space.place("crane", "It")


def test_a_class_that_is_named_twice_for_one_item(serve):
    def twice(asked):
        return as_json({"tags": [{"name": "cat", "p": 0.9}, {"name": "cat", "p": 0.1}]})

    mapping = {"input": "text", "labels": ["cat", "dog"], "kind": "probabilities", "request": {"body": {"t": "$item"}}}
    mapping["response"] = {"scores": "tags[*].p", "labels": "tags[*].name"}
    model = open_endpoint(serve(twice).url, mapping=mapping)
    with pytest.raises(ModelError, match="names 'cat' twice"):
        scores_of(model, np.array(["a"], object))


@pytest.mark.parametrize(
    "change",
    [
        {"picture": {"size": [8]}},
        {"picture": {"size": ["a", "b"]}},
        {"picture": {"quality": "x"}},
        {"classes": 0},
        {"picture": {"size": [float("inf"), 8]}},
        {"picture": {"mode": []}},
        {"labels": [1, 2]},
        {"labels": 5},
        {"labels": None},
        {"classes": 2**40},
        {"request": {"headers": "x"}},
        {"request": {"query": {"a": {}}}},
        {"response": {"scores": 5}},
        {"request": {"batch": 10**30}},
        {"price": {"per_call": 1, "rows_per_call": 0}},
        {"price": {"per_row": "1e999999"}},
        {"response": {"scores": "a[" + "9" * 5000 + "]"}},
        {"input": ["picture"]},
        {"kind": {}},
    ],
)
def test_mappings_with_impossible_values(change):
    good = {"labels": ["a", "b"], "response": {"scores": "s"}, "request": {"body": {"image": "$item"}}}
    with pytest.raises(UsageError):
        open_endpoint("https://example.com/c", mapping=good | change)


def test_a_mapping_file_that_is_none(tmp_path):
    for name, content in {
        "deep": "a = " + "[" * 50_000,
        "latin": b"\xff = 1",
        "folder": None,
        "x" * 5000: None,
    }.items():
        path = tmp_path / name
        if content is None and len(name) < 200:
            path.mkdir()
        elif content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError, match="cannot be read"):
            open_endpoint("https://example.com/c", mapping=path)


@pytest.mark.parametrize("options", [{"timeout": float("inf")}, {"rate": float("inf")}, {"rate": "x"}, {"top_k": 0}])
def test_options_of_the_user_are_numbers_too(options):
    with pytest.raises(UsageError):
        open_endpoint("https://example.com/v2/models/m", **options)
