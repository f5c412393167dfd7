"""gRPC against a real grpcio server that speaks with google.protobuf's own messages, built from the protocol's text."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from servers import TYPES, W, X, linear, scores_of

import xplain
from xplain.core.errors import ModelError, NonFinite, Unsafe, UsageError
from xplain.models.endpoint import open_endpoint, wire
from xplain.models.endpoint.caller import Patience

grpc = pytest.importorskip("grpc")
pytest.importorskip("google.protobuf")

TRUE = (X @ W.T).astype(np.float64)
QUICK = Patience(attempts=3, first=0.001, longest=0.01)
KINDS = {
    "string": 9,
    "bytes": 12,
    "int64": 3,
    "int32": 5,
    "uint32": 13,
    "uint64": 4,
    "bool": 8,
    "float": 2,
    "double": 1,
}
MESSAGES = {
    "InferParameter": ["bool bool_param 1", "int64 int64_param 2", "string string_param 3"],
    "ParameterEntry": ["string key 1", "InferParameter value 2"],
    "Contents": [
        "bool* bool_contents 1",
        "int32* int_contents 2",
        "int64* int64_contents 3",
        "uint32* uint_contents 4",
        "uint64* uint64_contents 5",
        "float* fp32_contents 6",
        "double* fp64_contents 7",
        "bytes* bytes_contents 8",
    ],
    "Tensor": [
        "string name 1",
        "string datatype 2",
        "int64* shape 3",
        "ParameterEntry* parameters 4",
        "Contents contents 5",
    ],
    "Wanted": ["string name 1", "ParameterEntry* parameters 2"],
    "ModelInferRequest": [
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        "ParameterEntry* parameters 4",
        "Tensor* inputs 5",
        "Wanted* outputs 6",
        "bytes* raw_input_contents 7",
    ],
    "ModelInferResponse": [
        "string model_name 1",
        "string model_version 2",
        "string id 3",
        "ParameterEntry* parameters 4",
        "Tensor* outputs 5",
        "bytes* raw_output_contents 6",
    ],
    "ModelMetadataRequest": ["string name 1", "string version 2"],
    "Described": ["string name 1", "string datatype 2", "int64* shape 3"],
    "ModelMetadataResponse": [
        "string name 1",
        "string* versions 2",
        "string platform 3",
        "Described* inputs 4",
        "Described* outputs 5",
    ],
}


@pytest.fixture(scope="module")
def proto():
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="inference.proto", package="inference", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for line in fields:
            kind, field_name, number = line.split()
            many, kind = kind.endswith("*"), kind.rstrip("*")
            field = message.field.add(name=field_name, number=int(number), label=3 if many else 1)
            if kind in KINDS:
                field.type = KINDS[kind]
            else:
                field.type, field.type_name = 11, f".inference.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindFileByName("inference.proto").message_types_by_name
    return {name: message_factory.GetMessageClass(found[name]) for name in MESSAGES}


class Rpc:
    """A server; ``before`` may abort a call, ``typed`` answers in typed contents instead of raw ones."""

    def __init__(self, proto, model=linear, inputs=None, outputs=None, before=None, typed=False, change=None):
        self.proto, self.model, self.before, self.typed, self.change = proto, model, before, typed, change
        self.inputs = inputs or {"x": ("FP32", [-1, 3])}
        self.outputs = outputs or {"y": ("FP32", [-1, 2])}
        self.batches, self.metadata, self.names = [], [], []
        handlers = {
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(self.describe),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.infer),
        }
        self.server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 1500)])
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.url = f"grpc://127.0.0.1:{self.port}/v2/models/m"

    def describe(self, raw, context):
        asked = self.proto["ModelMetadataRequest"].FromString(raw)
        if asked.name != "m":
            context.abort(grpc.StatusCode.NOT_FOUND, f"no model {asked.name}")
        answer = self.proto["ModelMetadataResponse"](name="m", versions=["1", "2"], platform="test")
        for side, described in ((answer.inputs, self.inputs), (answer.outputs, self.outputs)):
            for name, (datatype, shape) in described.items():
                side.add(name=name, datatype=datatype, shape=shape)
        return answer.SerializeToString()

    def infer(self, raw, context):
        if self.before is not None:
            self.before(context)
        asked = self.proto["ModelInferRequest"].FromString(raw)
        self.names.append((asked.model_name, asked.model_version))
        self.metadata.append(dict(context.invocation_metadata()))
        feeds = {}
        for tensor, content in zip(asked.inputs, asked.raw_input_contents, strict=True):
            feeds[tensor.name] = np.frombuffer(content, TYPES[tensor.datatype]).reshape(list(tensor.shape))
        self.batches.append(len(next(iter(feeds.values()))))
        values = self.model(feeds)
        answer = self.proto["ModelInferResponse"](model_name="m")
        for wanted in asked.outputs:
            value, datatype = values[wanted.name], self.outputs[wanted.name][0]
            for entry in wanted.parameters:
                if entry.key == "classification":
                    k, datatype = entry.value.int64_param, "BYTES"
                    best = np.argsort(-value, axis=1)[:, :k]
                    value = np.array(
                        [[f"{row[i]:.6f}:{i}" for i in order] for row, order in zip(value, best, strict=True)], object
                    )
            out = answer.outputs.add(name=wanted.name, datatype=datatype, shape=value.shape)
            if datatype == "BYTES":
                texts = [str(text).encode() for text in value.reshape(-1)]
                out.contents.bytes_contents.extend(texts)
            elif self.typed:
                field = {"FP32": "fp32", "FP64": "fp64", "INT64": "int64"}[datatype]
                getattr(out.contents, f"{field}_contents").extend(value.reshape(-1).tolist())
            else:
                answer.raw_output_contents.append(np.ascontiguousarray(value).tobytes())
        sent = answer.SerializeToString()
        return self.change(sent) if self.change is not None else sent


@pytest.fixture
def rpc(proto):
    running = []

    def start(**options):
        running.append(Rpc(proto, **options))
        return running[-1]

    yield start
    for server in running:
        server.server.stop(0).wait()


@pytest.mark.parametrize("typed", [False, True])
def test_scores_arrive_as_the_server_computed_them(rpc, typed):
    server = rpc(typed=typed)
    model = xplain.load(server.url, max_batch=3, labels=["no", "yes"])
    np.testing.assert_array_equal(scores_of(model), TRUE)
    assert sorted(server.batches) == [1, 3, 3]
    assert model.outline.source == server.url
    assert model.outline.facts["version"] == "1, 2"
    assert model.outline.layout.item == (3,)
    a = xplain.explain(model, X, "occlusion", patch=1, stride=1, target="yes")
    np.testing.assert_allclose(a.values, X * W[1], atol=1e-6)


def test_a_pinned_version_and_a_price(rpc):
    server = rpc()
    model = open_endpoint(f"{server.url}/versions/2", price=0.5)
    scores_of(model)
    assert set(server.names) == {("m", "2")}
    assert str(model.spent) == "3.5"
    assert model.ledger.entries[-1].call == "POST /inference.GRPCInferenceService/ModelInfer"


@pytest.mark.parametrize(
    ("outputs", "model", "options"),
    [
        ({"y": ("FP64", [-1, 2])}, lambda f: {"y": linear(f)["y"].astype(np.float64)}, {}),
        ({"y": ("INT64", [-1])}, lambda f: {"y": linear(f)["y"].argmax(axis=1)}, {"classes": 2}),
        (
            {"y": ("BYTES", [-1])},
            lambda f: {"y": np.array(["no", "yes"], object)[linear(f)["y"].argmax(axis=1)]},
            {"labels": ["no", "yes"]},
        ),
    ],
)
@pytest.mark.parametrize("typed", [False, True])
def test_datatypes(rpc, outputs, model, options, typed):
    scores = scores_of(open_endpoint(rpc(outputs=outputs, model=model, typed=typed).url, **options))
    np.testing.assert_array_equal(scores, np.eye(2)[TRUE.argmax(axis=1)] if options else TRUE)


def test_best_classes_only(rpc):
    scores = scores_of(open_endpoint(rpc().url, top_k=1))
    assert (np.isfinite(scores).sum(axis=1) == 1).all()
    np.testing.assert_allclose(np.nanmax(scores, axis=1), TRUE.max(axis=1), atol=1e-6)


@pytest.mark.parametrize("code", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
def test_a_call_that_fails_is_tried_again(rpc, code):
    failures = [1, 2]

    def before(context):
        if failures:
            failures.pop()
            context.abort(getattr(grpc.StatusCode, code), "later")

    model = open_endpoint(rpc(before=before).url, patience=QUICK, concurrency=1)
    np.testing.assert_array_equal(scores_of(model), TRUE)
    assert [e.attempt for e in model.ledger.entries if e.rows] == [1, 2, 3]


def test_what_will_not_get_better_is_told(rpc):
    model = open_endpoint(
        rpc(before=lambda c: c.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad shape")).url, patience=QUICK
    )
    with pytest.raises(ModelError, match="ModelInfer: status 400, 'bad shape'"):
        scores_of(model)
    with pytest.raises(ModelError, match="ModelMetadata: status 404, 'no model other'"):
        open_endpoint(model.outline.source.replace("/m", "/other").replace("/otherodels", "/models"))


def test_a_slow_server_ends_by_the_total_timeout(rpc):
    model = open_endpoint(rpc(before=lambda c: time.sleep(1.5)).url, patience=Patience(attempts=1), timeout=0.3)
    with pytest.raises(ModelError, match=r"no whole answer in time \(0\.3 s\)"):
        scores_of(model)


def test_a_request_that_is_too_large_is_halved(rpc):
    server = rpc()
    wide = np.tile(X, (40, 1))  # 3360 bytes, where the server takes 1500
    model = open_endpoint(server.url, max_batch=280, concurrency=1, patience=QUICK)
    np.testing.assert_array_equal(scores_of(model, wide), np.tile(TRUE, (40, 1)))
    assert max(server.batches) == 70


def test_an_answer_beyond_the_size_limit_is_refused(rpc):
    model = open_endpoint(rpc().url, max_response=90, patience=QUICK)
    with pytest.raises(ModelError, match="the answer is larger than 90 bytes. Allow more with max_response="):
        scores_of(model, np.tile(X, (4, 1)))


def test_the_secret_travels_as_metadata_and_not_in_the_open(rpc, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", "s3cr3t-t0ken")
    server = rpc()
    scores_of(open_endpoint(server.url, auth="${VENDOR_TOKEN}"))
    assert server.metadata[0]["authorization"] == "Bearer s3cr3t-t0ken"
    with pytest.raises(Unsafe, match="Plain http to 'example.com' is refused"):
        open_endpoint("grpc://example.com:8001/v2/models/m")
    with pytest.raises(Unsafe, match="link-local"):
        open_endpoint("grpcs://169.254.169.254:8001/v2/models/m")


def test_a_dead_server_is_named(rpc):
    server = rpc()
    model = open_endpoint(server.url, patience=QUICK)
    server.server.stop(0).wait()
    with pytest.raises(ModelError, match="failed 3 times, the last time: the connection failed"):
        scores_of(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:-3], "is no ModelInferResponse: .* bytes that protobuf cannot read"),
        (lambda raw: raw + b"\x0b", "protobuf cannot read"),
        (lambda raw: raw + b"\xff\xff", "protobuf cannot read"),
        (lambda raw: raw + b"\x32\x041234", "describes 1 tensors and holds 2"),
        (lambda raw: b"", "Output 'y' of m is not in the answer"),
        (lambda raw: raw[:-4] + np.float32("nan").tobytes(), "holds nan for item 6, class 1"),
    ],
)
def test_answers_that_do_not_fit(rpc, change, message):
    with pytest.raises((ModelError, NonFinite), match=message):
        scores_of(open_endpoint(rpc(change=change).url, patience=QUICK))


def test_the_url_must_name_a_model():
    with pytest.raises(UsageError, match="names no model; accepted: grpcs://host:port/v2/models/NAME"):
        open_endpoint("grpc://127.0.0.1:8001/m")


def test_messages_agree_with_the_protocols_own(proto):
    """Field by field: what is written here is read by the protocol's messages, and the other way round."""
    shapes = [0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63)]
    inputs = [{"name": b"x", "datatype": b"FP32", "shape": shapes}]
    outputs = [{"name": b"y", "parameters": [{"key": b"classification", "value": {"whole": 3}}]}]
    raw = wire.written("ModelInferRequest", name=b"m", version=b"2", inputs=inputs, outputs=outputs, raw=[b"123"])
    read = proto["ModelInferRequest"].FromString(raw)
    assert (read.model_name, read.model_version, list(read.inputs[0].shape)) == ("m", "2", shapes)
    assert read.outputs[0].parameters[0].value.int64_param == 3
    assert list(read.raw_input_contents) == [b"123"]
    for field, ours in zip(MESSAGES["Contents"], wire._MESSAGES["Contents"].split(", "), strict=True):
        kind, name, _ = field.split()
        value = {"bytes*": [b"a", b"\xff"], "bool*": [True, False]}.get(kind, [0, 7])
        answer = proto["ModelInferResponse"](outputs=[{"contents": {name: value}}])
        got = wire.parsed("ModelInferResponse", answer.SerializeToString(), "it").outputs[0].contents
        assert list(getattr(got, ours.split()[1])) == value


def test_a_name_that_is_no_text_is_read_all_the_same(rpc):
    broken = rpc(change=lambda raw: raw.replace(b"FP32", b"FP\xff2"))
    with pytest.raises(ModelError, match="FP\ufffd2"):
        scores_of(open_endpoint(broken.url, patience=QUICK))
