"""From a URL to a model: find the protocol, ask what the model is, never ask it to classify."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from xplain.core.card import load_card
from xplain.core.declaring.wording import Sentence, named, option
from xplain.core.errors import ModelError, Unsafe, UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.outline import Outline, ScoreSpec
from xplain.core.positions.layout import Axes
from xplain.core.price import Price, money
from xplain.models.endpoint.address import Address, read_address
from xplain.models.endpoint.answers import LabelSpace
from xplain.models.endpoint.caller import Allowed, Caller, Patience
from xplain.models.endpoint.codec import Codec, Facts, Kind
from xplain.models.endpoint.ledger import Ledger
from xplain.models.endpoint.mapping import Mapped, read_mapping
from xplain.models.endpoint.model import Endpoint, RequestSize
from xplain.models.endpoint.secrets import Auth
from xplain.models.endpoint.transport import Request, Response, Sends, Timeouts, Transport
from xplain.models.endpoint.v1 import V1
from xplain.models.endpoint.v2 import V2, Selection, read_metadata, speaks_binary
from xplain.models.options import EndpointOptions, options_for
from xplain.models.outlines import settled

__all__ = ["open_at", "open_endpoint"]

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


def open_endpoint(url: str, **options: Any) -> Endpoint:
    """A model behind a URL. Opening it asks the server for descriptions alone, which no vendor bills.

    Args:
        url: ``https://host/v2/models/m``, ``https://host/v1/models/m``, ``grpcs://host:port/v2/models/m`` (with the
            extra grpc; ``grpc://`` for this machine), or any URL with ``mapping``.
        options: Those of ``xplain.models.options.EndpointOptions``.

    Raises:
        UsageError: an option that cannot be used; the message says what is accepted.
        Unsafe: an address that is not asked, or a secret where secrets are seen.
        ModelError: the server cannot be reached or does not know the model.
        MissingDependency: httpx is not installed.
    """
    return open_at(url, options_for(EndpointOptions, options, url))


def open_at(url: str, options: EndpointOptions) -> Endpoint:
    """``open_endpoint`` with the options as one."""
    rpc = url.startswith(("grpc://", "grpcs://"))
    address = read_address("http" + url.removeprefix("grpc") if rpc else url, options.hosts, options.allow_http)
    mapping = None if options.mapping is None else read_mapping(options.mapping)
    tariff = Price.read(options.price if options.price is not None else (mapping or {}).get("price"))
    caller = _caller(address, rpc, options, (mapping or {}).get("auth"), tariff)
    card = load_card(options.card) if options.card is not None else None
    space = LabelSpace(options.labels, None)
    space = LabelSpace(space.labels or (card.labels if card is not None else ()), options.classes)
    kind = _kind(options.scores)
    codec: Codec
    if mapping is not None:
        codec = mapped = Mapped(address.path, mapping)
        space, card = mapped.labels, card or mapped.card
    else:
        codec = _codec(url, address, caller, space, kind, options)
    facts = codec.facts
    if facts.rows is not None and facts.rows > max(options.max_batch, _MOST_FIXED):
        raise ModelError(
            f"{address} takes {facts.rows} items per request and no fewer, so every request would be filled up to that "
            f"many. Give the model a free batch axis, or allow it: ",
            option("max_batch", facts.rows),
            ".",
        )
    rows = min(n for n in (options.max_batch, facts.most, facts.rows) if n is not None)
    if tariff is not None:
        tariff = replace(tariff, rows_per_call=facts.rows or rows)
    source = f"grpc{str(address).removeprefix('http')}" if rpc else str(address)
    outline = _outline(source, facts, space.labels, options.version)
    return Endpoint(
        settled(outline, card, options.layout, _axes(facts)),
        codec,
        caller,
        price=tariff,
        size=RequestSize(rows, options.max_bytes, facts.rows),
        concurrency=options.concurrency,
    )


def _caller(address: Address, rpc: bool, options: EndpointOptions, auth: Any, tariff: Price | None) -> Caller:
    """Who asks, how patiently, and up to which bill; ``auth`` is what the mapping says where no option does."""
    proof = Auth(options.auth if options.auth is not None else auth or None)
    if proof and address.scheme == "http" and options.allow_http:
        raise Unsafe(
            f"A secret is not sent in the open to {address}. Use https, or leave out ",
            option("auth"),
            " or ",
            option("allow_http"),
            ".",
        )
    if options.max_cost is not None and tariff is None:
        raise UsageError(
            named("max_cost"),
            " limits money, but no price is given. Say what an item costs: ",
            option("price", 0.002),
            ".",
        )
    timeouts, most_bytes = Timeouts.given(options.timeout), options.max_response
    transport: Sends
    if rpc:
        from xplain.models.endpoint.rpc import RpcTransport

        transport = RpcTransport(address, timeouts, most_bytes, options.ca)
    else:
        transport = Transport(address, timeouts, most_bytes, options.concurrency, options.ca)
    most = None if options.max_cost is None else money(options.max_cost, "max_cost")
    allowed = Allowed(options.rate, options.max_calls, most)
    return Caller(transport, proof, options.patience or Patience(), Ledger(options.ledger), tariff, allowed)


def _codec(
    url: str, address: Address, caller: Caller, labels: LabelSpace, kind: Kind | None, options: EndpointOptions
) -> Codec:
    """How the server is spoken to, by its path; it is asked what the model is.

    Raises:
        UsageError: the path names no model of a protocol that is known.
    """
    rpc = url.startswith(("grpc://", "grpcs://"))
    if found := _V2.fullmatch(address.path):
        selection = Selection(options.input, options.output, options.fixed, kind, options.top_k)
        return _v2(caller, rpc, found, labels, selection, options.binary)
    if rpc:
        raise UsageError(f"{url} names no model; accepted: grpcs://host:port/v2/models/NAME.")
    if found := _V1.fullmatch(address.path):
        _describe(caller, found["model"])
        return V1(found["model"], labels, kind=kind, field=options.field, text=options.text)
    raise UsageError(
        f"{address} names neither /v2/models/NAME nor /v1/models/NAME. For another JSON service, describe it in a "
        "mapping file: ",
        option("mapping", "vendor.toml"),
        "; see xplain.models.endpoint.mapping.",
    )


def _v2(
    caller: Caller, rpc: bool, path: re.Match[str], labels: LabelSpace, selection: Selection, binary: bool | None
) -> V2:
    """Ask a V2 server what the model is, and whether it takes raw tensors."""
    root, model = path["root"], path["model"]
    if rpc:
        from xplain.models.endpoint.rpc import RpcV2, describe, read_description

        return RpcV2(model, read_description(caller.call(describe(model))), labels, selection, binary=True)
    metadata = read_metadata(_describe(caller, root + model))
    if binary is None:
        try:
            binary = speaks_binary(_describe(caller, f"{root}/v2"))
        except ModelError:  # the server's own description is optional
            binary = False
    return V2(root + model, metadata, labels, selection, binary=binary)


def _describe(caller: Caller, path: str) -> Response:
    return caller.call(Request("GET", path, {"Accept": "application/json"}))


def _axes(facts: Facts) -> Axes | None:
    return Axes(facts.axes, "the axes of a picture as it is sent") if facts.axes else None


def _outline(source: str, facts: Facts, labels: Sequence[str], version: str) -> Outline:
    quirks: list[str] = []
    if facts.kind == "logits":
        quirks.append(
            Sentence(
                "Whether the endpoint's scores are logits is not known. If they are probabilities, say so: ",
                option("scores", "probabilities"),
                ".",
            )
        )
    if facts.kind == "decisions":
        quirks.append("The endpoint only decides: a score is 1 for the class decided for and 0 for the others.")
    if facts.partial:
        quirks.append(f"Scores can be unknown: {facts.partial}.")
    if facts.facts.get("lossy"):
        quirks.append("Pictures are sent as JPEG, which blurs the edge of what is hidden.")
    return Outline(
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


def _kind(scores: str | None) -> Kind | None:
    for kind in _KINDS:
        if scores == kind:
            return kind
    if scores is None:
        return None
    raise UsageError(option="scores", got=scores, accepted=", ".join(_KINDS))
