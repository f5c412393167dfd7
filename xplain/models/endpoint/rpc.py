"""The Open Inference Protocol V2 over gRPC: ``grpcs://host:port/v2/models/m``.

The messages stand in a table (``wire``); grpcio carries bytes and nothing is generated. Tensors are always sent raw.
Retries, limits, ledger and secrets are those of HTTP (``caller``): a gRPC status is told as the HTTP status that means
the same.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xplain.core.declaring.wording import named, option
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, ModelError, UsageError
from xplain.core.outline import TensorSpec
from xplain.models.endpoint import wire
from xplain.models.endpoint.address import Address, resolve
from xplain.models.endpoint.outside import extents
from xplain.models.endpoint.secrets import heard, hide_parts
from xplain.models.endpoint.tensors import from_bytes, from_list, to_bytes
from xplain.models.endpoint.transport import Failure, Request, Response, Timeouts
from xplain.models.endpoint.v2 import V2, Metadata, checked, spec_of

try:
    import grpc
except ImportError as error:  # pragma: no cover - the message is what matters
    raise MissingDependency("gRPC endpoints need grpcio: pip install 'xplain[grpc]'.") from error

__all__ = ["RpcTransport", "RpcV2", "describe", "read_description"]

_SERVICE = "/inference.GRPCInferenceService"
_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.ABORTED: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.DATA_LOSS: 500,
}
# field of the typed contents that holds the elements of a datatype
_CONTENTS: Mapping[str, str] = {
    "BOOL": "bools", "INT8": "ints", "INT16": "ints", "INT32": "ints", "INT64": "longs", "UINT8": "uints",
    "UINT16": "uints", "UINT32": "uints", "UINT64": "ulongs", "FP32": "floats", "FP64": "doubles",
}  # fmt: skip


class RpcTransport:
    """Sends one message at a time to one address; see ``transport.Transport`` for the arguments."""

    def __init__(self, address: Address, timeouts: Timeouts, max_response: int, ca: str | None = None) -> None:
        self._address, self._timeouts, self._max, self._ca = address, timeouts, max_response, ca
        self._channel: Any = None
        self._end: Any = None

    def send(self, request: Request, secret_headers: Mapping[str, str]) -> Response:
        """One call, once.

        Raises:
            Failure: no whole answer came.
            Unsafe: the host's name leads where nothing is sent.
        """
        call = self._open().unary_unary(request.path)  # without serialisers: bytes out, bytes in
        metadata = [(name.lower(), value) for name, value in secret_headers.items()]
        try:
            body, done = call.with_call(request.body, timeout=self._timeouts.total, metadata=metadata)
        except grpc.RpcError as error:
            return self._failed(error)
        return Response(200, _readable(done.trailing_metadata()), body)

    def close(self) -> None:
        """Close the channel."""
        if self._end is not None:
            self._end()

    def _failed(self, error: Any) -> Response:
        code, details = error.code(), hide_parts(str(error.details() or ""))
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise Failure(f"no whole answer in time ({self._timeouts.total:g} s)", sent=True) from None
        if code == grpc.StatusCode.UNAVAILABLE:
            connected = "connect" not in details.lower() and "handshake" not in details.lower()
            raise Failure(f"the connection failed: {details[:200]}", sent=connected) from None
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            if f"vs. {self._max})" in details:  # our own limit; the server's is about what was sent to it
                why = f"the answer is larger than {self._max} bytes"
                raise Failure(
                    why, sent=True, retry=False, advice=("Allow more with ", option("max_response"), ".")
                ) from None
            return Response(413, {}, b"")
        body = json.dumps({"error": details}).encode()
        return Response(_STATUS.get(code, 500), _readable(error.trailing_metadata()), body)

    def _open(self) -> Any:
        """The channel, to addresses that were checked."""
        if self._channel is None:
            ip = resolve(self._address)[0]
            target = f"ipv6:[{ip}]:{self._address.port}" if ":" in ip else f"ipv4:{ip}:{self._address.port}"
            options: list[tuple[str, Any]] = [
                ("grpc.max_receive_message_length", self._max),
                ("grpc.max_send_message_length", -1),
                ("grpc.enable_retries", 0),
                ("grpc.enable_http_proxy", 0),
                ("grpc.default_authority", f"{self._address.host}:{self._address.port}"),
            ]
            if self._address.scheme == "https":
                options.append(("grpc.ssl_target_name_override", self._address.host))
                trusted = grpc.ssl_channel_credentials(_certificates(self._ca))
                self._channel = grpc.secure_channel(target, trusted, options)
            else:
                self._channel = grpc.insecure_channel(target, options)
            self._end = weakref.finalize(self, self._channel.close)
        return self._channel


class RpcV2(V2):
    """V2 in protobuf messages; see ``v2.V2`` for the arguments."""

    def request(self, rows: Array) -> Request:
        """A ModelInferRequest for ``rows``."""
        wanted: dict[str, Any] = {"name": self.output.name.encode()}
        if self.top_k is not None:
            wanted["parameters"] = [{"key": b"classification", "value": {"whole": self.top_k}}]
        inputs, raw = [], []
        for name, tensor, datatype in self.feeds(rows):
            inputs.append({"name": name.encode(), "datatype": datatype.encode(), "shape": tensor.shape})
            raw.append(to_bytes(tensor, datatype))
        fields = {**_named(self.path), "inputs": inputs, "outputs": [wanted], "raw": raw}
        return Request("POST", f"{_SERVICE}/ModelInfer", {}, wire.written("ModelInferRequest", **fields))

    def outputs_in(self, response: Response, what: str) -> dict[str, Array]:
        """All tensors of a ModelInferResponse, raw or in typed contents.

        Raises:
            ModelError: its parts do not fit together.
        """
        answer = wire.parsed("ModelInferResponse", response.body, what)
        if answer.raw and len(answer.raw) != len(answer.outputs):
            raise ModelError(f"{what}: the answer describes {len(answer.outputs)} tensors and holds {len(answer.raw)}.")
        found = {}
        for number, one in enumerate(answer.outputs):
            name, datatype = heard(one.name), heard(one.datatype)
            shape = extents(list(one.shape), what)
            self.believed(name, datatype, what)
            if answer.raw:
                found[name] = from_bytes(answer.raw[number], datatype, shape, what)
            else:
                found[name] = _typed(one.contents, datatype, shape, what)
        return found


def describe(path: str) -> Request:
    """A ModelMetadataRequest for ``/v2/models/m[/versions/v]``."""
    return Request("GET", f"{_SERVICE}/ModelMetadata", {}, wire.written("ModelMetadataRequest", **_named(path)))


def read_description(response: Response) -> Metadata:
    """What a ModelMetadataResponse says.

    Raises:
        ModelError: it is none.
    """
    what = "The model's metadata"
    answer = wire.parsed("ModelMetadataResponse", response.body, what)
    datatypes: dict[str, str] = {}

    def side(described: Any) -> tuple[TensorSpec, ...]:
        texts = [{"name": heard(one.name), "datatype": heard(one.datatype)} for one in described]
        shapes = [list(one.shape) for one in described]
        return tuple(spec_of({**text, "shape": shape}, datatypes) for text, shape in zip(texts, shapes, strict=True))

    sides = side(answer.inputs), side(answer.outputs)
    versions = ", ".join(map(heard, answer.versions))
    return checked(Metadata(heard(answer.name), versions, heard(answer.platform), *sides, datatypes))


def _typed(contents: Any, datatype: str, shape: list[int], what: str) -> Array:
    if datatype == "BYTES":
        return from_list([heard(one) for one in contents.texts], datatype, shape, what)
    if datatype not in _CONTENTS:
        raise ModelError(f"{what} holds {datatype} outside raw contents, which the protocol does not know.")
    return from_list(list(getattr(contents, _CONTENTS[datatype])), datatype, shape, what)


def _named(path: str) -> dict[str, bytes]:
    parts = path.split("/")
    return {"name": parts[3].encode(), "version": (parts[5] if len(parts) > 5 else "").encode()}


def _readable(metadata: Any) -> dict[str, str]:
    return {key.lower(): heard(value) for key, value in metadata or () if isinstance(value, str)}


def _certificates(ca: str | None) -> bytes | None:
    if ca is None:
        return None
    try:
        return Path(ca).read_bytes()
    except OSError as error:
        raise UsageError(named("ca"), f" {ca!r} holds no certificates: {error}.") from None
