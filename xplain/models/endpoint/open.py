"""From a URL to a model: find the protocol, ask what the model is, never ask it to classify."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from xplain.core.card import Card, load_card
from xplain.core.content import fingerprint
from xplain.core.errors import ModelError, Unsafe, UsageError
from xplain.core.layout import Axes
from xplain.core.outline import Outline, ScoreSpec
from xplain.core.price import Price, money
from xplain.models.endpoint.address import Address, read_address
from xplain.models.endpoint.answers import LabelSpace
from xplain.models.endpoint.caller import Caller, Patience
from xplain.models.endpoint.codec import Codec, Facts, Kind
from xplain.models.endpoint.ledger import Ledger
from xplain.models.endpoint.mapping import Mapped, read_mapping
from xplain.models.endpoint.model import Endpoint
from xplain.models.endpoint.secrets import Auth
from xplain.models.endpoint.transport import Request, Response, Sends, Timeouts, Transport
from xplain.models.endpoint.v1 import V1
from xplain.models.endpoint.v2 import V2, read_metadata, speaks_binary
from xplain.models.outlines import settled

__all__ = ["open_endpoint"]

_V2 = re.compile(r"(?P<root>.*)(?P<model>/v2/models/[^/]+(?:/versions/[^/]+)?)(?:/infer)?")
_V1 = re.compile(r"(?P<model>.*/v1/models/[^/:]+)(?::predict)?")
_MOST_FIXED = 1024  # items that a request is filled up to without being asked
_KINDS: tuple[Kind, ...] = ("logits", "probabilities", "log-probabilities", "decisions")
_LINKS: Mapping[Kind, Literal["softmax", "none"]] = {
    "logits": "softmax",
    "probabilities": "none",
    "log-probabilities": "none",
    "decisions": "none",
}


def open_endpoint(
    url: str,
    *,
    mapping: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    card: Any = None,
    labels: Sequence[str] = (),
    classes: int | None = None,
    scores: str | None = None,
    input: str | None = None,  # noqa: A002 - the word of xplain.load
    output: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    field: str | None = None,
    top_k: int | None = None,
    binary: bool | None = None,
    text: bool = False,
    version: str = "",
    auth: str | Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
    hosts: Sequence[str] | None = None,
    allow_http: bool = False,
    ca: str | None = None,
    timeout: Any = None,
    patience: Patience | None = None,
    concurrency: int = 4,
    rate: float | None = None,
    max_batch: int = 16,
    max_bytes: int = 8 * 2**20,
    max_response: int = 64 * 2**20,
    max_calls: int | None = None,
    max_cost: Any = None,
    price: Any = None,
    ledger: str | os.PathLike[str] | None = None,
    layout: str | None = None,
) -> Endpoint:
    """A model behind a URL. Opening it asks the server for descriptions alone, which no vendor bills.

    Args:
        url: ``https://host/v2/models/m``, ``https://host/v1/models/m``, ``grpcs://host:port/v2/models/m`` (with the
            extra grpc; ``grpc://`` for this machine), or any URL with ``mapping``.
        mapping: TOML file, or the same as a dictionary, that describes another JSON service.
        card: How pictures become the model's tensors.
        labels: Class names; they may also stand in the card or the mapping.
        classes: How many classes there are, where neither server nor labels say it.
        scores: What the scores are: logits (any unbounded score), probabilities, log-probabilities, decisions.
        input: Input to explain, of several.
        output: Output to read, of several.
        fixed: Values of the other inputs.
        field: V1: where in a prediction the scores lie.
        top_k: V2: ask for so many best classes alone (classification extension); the others are unknown.
        binary: V2: send raw tensors; None does so when the server says it can.
        text: V1: the items are texts.
        version: Names the model's version where the server does not; part of what answers are remembered under.
        auth: ``"${TOKEN}"`` (a bearer token from the environment), ``{"X-Api-Key": "${KEY}"}``, or a function that
            returns headers. Secrets never enter a cache, a ledger, a message or a result.
        hosts: Hosts that may be asked, as names or patterns; None allows the one in the URL.
        allow_http: Plain http also to other machines; refused together with ``auth``.
        ca: File of a company's own certificates; TLS is always verified.
        timeout: Seconds in all, or ``{"connect": ..., "read": ..., "total": ...}``.
        patience: How often a failed call is tried again, and when to give up.
        concurrency: Requests under way at a time.
        rate: Requests per second at most.
        max_batch: Items per request at most.
        max_bytes: Bytes of items per request at most.
        max_response: Bytes of an answer beyond which it is refused.
        max_calls: Calls that may be made in the life of this object, repeated ones included.
        max_cost: Money that may be spent in the life of this object, repeated calls included.
        price: Money per item, or ``{"per_row": ..., "per_call": ..., "currency": ...}``.
        ledger: File to which a line is added for every call.
        layout: How the axes of the explained input are named, such as ``"NHWC"``.

    Raises:
        UsageError: an option that cannot be used; the message says what is accepted.
        Unsafe: an address that is not asked, or a secret where secrets are seen.
        ModelError: the server cannot be reached or does not know the model.
        MissingDependency: httpx is not installed.
    """
    _check(concurrency=concurrency, max_batch=max_batch, max_bytes=max_bytes, max_response=max_response)
    if max_calls is not None:
        _check(max_calls=max_calls)
    if top_k is not None:
        _check(top_k=top_k)
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf):
        raise UsageError(f"rate is {rate!r}; accepted: calls per second, above 0.")
    rpc = url.startswith(("grpc://", "grpcs://"))
    address = read_address("http" + url.removeprefix("grpc") if rpc else url, hosts, allow_http)
    raw = None if mapping is None else read_mapping(mapping)
    proof = Auth(auth if auth is not None else (raw or {}).get("auth") or None)
    if proof and address.scheme == "http" and allow_http:
        raise Unsafe(f"A secret is not sent in the open to {address}. Use https, or leave out auth or allow_http.")
    tariff = Price.read(price if price is not None else (raw or {}).get("price"))
    if max_cost is not None and tariff is None:
        raise UsageError("max_cost limits money, but no price is given. Say what an item costs: price=0.002.")
    caller = Caller(
        _transport(address, rpc, Timeouts.given(timeout), max_response, concurrency, ca),
        proof,
        patience or Patience(),
        Ledger(ledger),
        tariff,
        rate,
        max_calls,
        None if max_cost is None else money(max_cost, "max_cost"),
    )
    shown = load_card(card) if card is not None else None
    space = LabelSpace(labels, None)
    space = LabelSpace(space.labels or (shown.labels if shown is not None else ()), classes)
    kind = _kind(scores)
    codec: Codec
    if raw is not None:
        codec = mapped = Mapped(address.path, raw)
        space, shown = mapped.labels, shown or mapped.card
    elif found := _V2.fullmatch(address.path):
        codec = _v2(
            caller, rpc, found["root"], found["model"], space, binary,
            input=input, output=output, fixed=fixed, kind=kind, top_k=top_k,
        )  # fmt: skip
    elif rpc:
        raise UsageError(f"{url} names no model; accepted: grpcs://host:port/v2/models/NAME.")
    elif found := _V1.fullmatch(address.path):
        _describe(caller, found["model"])
        codec = V1(found["model"], space, kind=kind, field=field, text=text)
    else:
        raise UsageError(
            f"{address} names neither /v2/models/NAME nor /v1/models/NAME. For another JSON service, describe it in a "
            "mapping file: mapping='vendor.toml'; see xplain.models.endpoint.mapping."
        )
    facts = codec.facts
    if facts.rows is not None and facts.rows > max(max_batch, _MOST_FIXED):
        raise ModelError(
            f"{address} takes {facts.rows} items per request and no fewer, so every request would be filled up to that "
            f"many. Give the model a free batch axis, or allow it: max_batch={facts.rows}."
        )
    rows = min(n for n in (max_batch, facts.most, facts.rows) if n is not None)
    if tariff is not None:
        tariff = replace(tariff, rows_per_call=facts.rows or rows)
    return Endpoint(
        _outline(
            f"grpc{str(address).removeprefix('http')}" if rpc else str(address),
            facts,
            space.labels,
            shown,
            version,
            layout,
        ),
        codec,
        caller,
        price=tariff,
        rows=rows,
        most_bytes=max_bytes,
        concurrency=concurrency,
        fixed_rows=facts.rows,
    )


def _transport(
    address: Address, rpc: bool, timeouts: Timeouts, max_response: int, connections: int, ca: str | None
) -> Sends:
    if not rpc:
        return Transport(address, timeouts, max_response, connections, ca)
    from xplain.models.endpoint.rpc import RpcTransport

    return RpcTransport(address, timeouts, max_response, ca)


def _v2(
    caller: Caller, rpc: bool, root: str, model: str, labels: LabelSpace, binary: bool | None, **reading: Any
) -> V2:
    """Ask a V2 server what the model is, and whether it takes raw tensors."""
    if rpc:
        from xplain.models.endpoint.rpc import RpcV2, describe, read_description

        return RpcV2(model, read_description(caller.call(describe(model))), labels, binary=True, **reading)
    metadata = read_metadata(_describe(caller, root + model))
    if binary is None:
        try:
            binary = speaks_binary(_describe(caller, f"{root}/v2"))
        except ModelError:  # the server's own description is optional
            binary = False
    return V2(root + model, metadata, labels, binary=binary, **reading)


def _describe(caller: Caller, path: str) -> Response:
    return caller.call(Request("GET", path, {"Accept": "application/json"}))


def _outline(
    source: str, facts: Facts, labels: Sequence[str], card: Card | None, version: str, layout: str | None
) -> Outline:
    seen = Axes(facts.axes, "the axes of a picture as it is sent") if facts.axes else None
    quirks = []
    if facts.kind == "logits":
        quirks.append("Whether the endpoint's scores are logits is not known; say scores='probabilities' if they are.")
    if facts.kind == "decisions":
        quirks.append("The endpoint only decides: a score is 1 for the class decided for and 0 for the others.")
    if facts.partial:
        quirks.append(f"Scores can be unknown: {facts.partial}.")
    if facts.facts.get("lossy"):
        quirks.append("Pictures are sent as JPEG, which blurs the edge of what is hidden.")
    outline = Outline(
        source=source,
        kind="endpoint",
        digest=fingerprint(source, version, facts.identity, facts.input, facts.tensor, list(labels)),
        inputs=facts.inputs,
        input=facts.input,
        layout=None,
        scores=ScoreSpec(facts.tensor, facts.classes, facts.kind, _LINKS[facts.kind], facts.found, facts.partial),
        labels=tuple(labels),
        quirks=tuple(quirks),
        batch="free" if facts.rows is None else "fixed",
        rows=facts.rows,
        facts=facts.facts,
    )
    return settled(outline, card, layout, seen)


def _kind(scores: str | None) -> Kind | None:
    for kind in _KINDS:
        if scores == kind:
            return kind
    if scores is None:
        return None
    raise UsageError(f"scores is {scores!r}; accepted: {', '.join(_KINDS)}.")


def _check(**limits: int) -> None:
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UsageError(f"{name} is {value!r}; accepted: a whole number of at least 1.")
