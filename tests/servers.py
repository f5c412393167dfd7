"""Real servers on loopback: a V2 server written from the protocol's text, and faults on demand.

Nothing here uses the client's code, so that both sides cannot be wrong in the same way.
"""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

from xplain.core.edits import Untouched
from xplain.core.query import Score
from xplain.core.target import every_score

W = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]], np.float32)
X = (np.random.default_rng(3).integers(-16, 17, (7, 3)) / 8).astype(np.float32)  # sums that no order changes
TYPES = {"FP32": np.float32, "FP64": np.float64, "FP16": np.float16, "INT64": np.int64, "UINT8": np.uint8}


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None  # a Content-Length that lies
    drip: float = 0.0  # seconds between two bytes
    drip_headers: bool = False


class Server:
    """Answers every request with ``handler(asked) -> Reply``; remembers what was asked."""

    def __init__(self, handler, host="127.0.0.1"):
        self.asked = []
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def handle_any(self):
                if outer.stopping.is_set():
                    self.close_connection = True
                    return
                length = int(self.headers.get("Content-Length", 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                with lock:
                    outer.asked.append(asked)
                reply = handler(asked)
                if reply is None:  # hang up without a word
                    self.close_connection = True
                    return
                head = {"Content-Length": str(len(reply.body) if reply.announced is None else reply.announced)}
                lines = [f"HTTP/1.1 {reply.status} X"]
                lines += [f"{k}: {v}" for k, v in {**head, **reply.headers}.items()]
                raw = "\r\n".join(lines).encode() + b"\r\n\r\n"
                try:
                    if not reply.drip:
                        self.wfile.write(raw + reply.body)  # in one piece, or the system waits to fill a packet
                    else:
                        self.send(raw, reply.drip if reply.drip_headers else 0)
                        self.send(reply.body, reply.drip)
                except OSError:
                    self.close_connection = True
                if reply.announced not in (None, len(reply.body)):
                    self.close_connection = True

            def send(self, raw, drip):
                if not drip:
                    self.wfile.write(raw)
                    return
                for k in range(len(raw)):
                    self.wfile.write(raw[k : k + 1])
                    self.wfile.flush()
                    if outer.stopping.wait(drip):
                        raise OSError("stopped")

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - the names that http.server looks for

            def log_message(self, *_):
                pass

        self.stopping = threading.Event()
        self.http = ThreadingHTTPServer((host, 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://{host}:{self.port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def infers(self):
        return [asked for asked in self.asked if asked.method == "POST"]

    def stop(self):
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def as_json(value, status=200, **headers):
    return Reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def tensor_of(one, raw):
    """An input tensor of a V2 request, and the bytes that follow it."""
    shape, size = one["shape"], (one.get("parameters") or {}).get("binary_data_size")
    if one["datatype"] == "BYTES":
        if size is None:
            return np.array(one["data"], object).reshape(shape), raw
        texts, at = [], 0
        while at < size:
            (n,) = struct.unpack("<I", raw[at : at + 4])
            texts.append(raw[at + 4 : at + 4 + n].decode())
            at += 4 + n
        return np.array(texts, object).reshape(shape), raw[size:]
    dtype = TYPES[one["datatype"]]
    if size is None:
        return np.array(one["data"], dtype).reshape(shape), raw
    return np.frombuffer(raw[:size], dtype).reshape(shape), raw[size:]


class V2Server:
    """A handler that speaks V2 around ``model({name: array}) -> {name: array}``.

    Args:
        inputs, outputs: ``{name: (datatype, shape)}``.
        binary: Announce and use the binary tensor extension.
        before: Called with each infer request first; what it returns, if anything, is the reply.
    """

    def __init__(self, model, inputs, outputs, *, binary=True, before=None, name="m", root="", labels=None):
        self.model, self.inputs, self.outputs = model, inputs, outputs
        self.binary, self.before, self.name, self.root, self.labels = binary, before, name, root, labels
        self.rows = []
        self.batches = []
        self.lock = threading.Lock()

    def __call__(self, asked):
        base = f"{self.root}/v2/models/{self.name}"
        if asked.path == f"{self.root}/v2":
            return as_json(
                {"name": "test", "version": "1", "extensions": ["binary_tensor_data"] if self.binary else []}
            )
        if asked.path in (base, f"{base}/versions/1"):
            described = [
                [{"name": n, "datatype": t, "shape": s} for n, (t, s) in side.items()]
                for side in (self.inputs, self.outputs)
            ]
            return as_json(
                {
                    "name": self.name,
                    "versions": ["1"],
                    "platform": "onnx",
                    "inputs": described[0],
                    "outputs": described[1],
                }
            )
        if asked.path in (f"{base}/infer", f"{base}/versions/1/infer") and asked.method == "POST":
            reply = self.before(asked) if self.before is not None else None
            return reply if reply is not None else self.infer(asked)
        return as_json({"error": f"no {asked.method} {asked.path}"}, 404)

    def infer(self, asked):
        length = int(asked.headers.get("inference-header-content-length", len(asked.body)))
        request, raw = json.loads(asked.body[:length]), asked.body[length:]
        feeds = {}
        for one in request["inputs"]:
            feeds[one["name"]], raw = tensor_of(one, raw)
        assert raw == b""
        first = next(iter(feeds.values()))
        with self.lock:
            self.batches.append(len(first))
            self.rows += [row.tobytes() if first.dtype != object else str(row) for row in first]
        values, described, tail = self.model(feeds), [], b""
        for one in request["outputs"]:
            value = values[one["name"]]
            k = (one.get("parameters") or {}).get("classification")
            datatype = self.outputs[one["name"]][0]
            if k:
                value, datatype = self.best(value, k), "BYTES"
            out = {"name": one["name"], "datatype": datatype, "shape": list(value.shape)}
            if (one.get("parameters") or {}).get("binary_data"):
                if datatype == "BYTES":
                    parts = [str(text).encode() for text in value.reshape(-1)]
                    blob = b"".join(struct.pack("<I", len(part)) + part for part in parts)
                else:
                    blob = np.ascontiguousarray(value).tobytes()
                out["parameters"] = {"binary_data_size": len(blob)}
                tail += blob
            else:
                out["data"] = value.reshape(-1).tolist()
            described.append(out)
        text = json.dumps({"model_name": self.name, "outputs": described}).encode()
        headers = {"Content-Type": "application/json", "X-Request-Id": f"req-{len(self.batches)}"}
        if tail:
            headers |= {"Inference-Header-Content-Length": str(len(text)), "Content-Type": "application/octet-stream"}
        return Reply(200, text + tail, headers)

    def best(self, scores, k):
        rows = []
        for row in scores:
            order = np.argsort(-row)[:k]
            rows.append([f"{row[i]:.6f}:{i}" + (f":{self.labels[i]}" if self.labels else "") for i in order])
        return np.array(rows, object)


def session_model(proto, output):
    """The real thing behind a server: an ONNX Runtime session."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda feeds: {output: session.run([output], feeds)[0]}


def linear(feeds):
    x = next(iter(feeds.values())).astype(np.float32)
    return {"y": x @ W.T}


def server_of(**options):
    settings = {"inputs": {"x": ("FP32", [-1, 3])}, "outputs": {"y": ("FP32", [-1, 2])}} | options
    return V2Server(settings.pop("model", linear), **settings)


def scores_of(model, x=X):
    return np.asarray(model.answer(Score(x, Untouched(), every_score)))
