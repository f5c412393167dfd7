"""A secret that a server repeats, in whatever form and place, is kept, logged and shown nowhere."""

from __future__ import annotations

import base64
import json
import logging
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from servers import Reply, X, as_json, server_of

import xplain
from xplain.core.errors import XplainError
from xplain.models.endpoint import open_endpoint, outside, secrets
from xplain.models.endpoint.answers import strict_json
from xplain.models.endpoint.caller import Patience

TOKEN = "s3cr3t/T0ken+abcdef=="


FORMS = {
    "as it is": TOKEN,
    "upper case": TOKEN.upper(),
    "base64": base64.b64encode(TOKEN.encode()).decode(),
    "base64 in a pair": base64.b64encode(f"user:{TOKEN}".encode()).decode(),
    "base64 shifted": base64.b64encode(b"xy" + TOKEN.encode() + b"z").decode(),
    "base64 for addresses": base64.urlsafe_b64encode(TOKEN.encode()).decode(),
    "percent-encoded": quote(TOKEN, safe=""),
    "hexadecimal": TOKEN.encode().hex(),
    "escaped": TOKEN.replace("/", "\\/"),
}


def inner(form):
    """What of a form must not be seen: base64 letters at the ends also hold neighbours."""
    return form.strip("=")[3:-3]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_hidden_in_the_forms_in_which_it_comes_back(monkeypatch, form):
    monkeypatch.setenv("TOK", TOKEN)
    secrets.Auth("${TOK}").headers()
    assert inner(form) not in secrets.hide(f"it is {form}!")


def test_the_password_of_a_basic_proof_is_hidden(monkeypatch):
    monkeypatch.setenv("PAIR", base64.b64encode(b"user:hunter2hunter2").decode())
    secrets.Auth({"Authorization": "Basic ${PAIR}"}).headers()
    assert secrets.hide("no hunter2hunter2 here") == "no [secret] here"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"Incorrect API key: {TOKEN[:9]}***", "Incorrect API key: [secret]***"),
        (f"key ...{TOKEN[-10:]} is refused", "key ...[secret] is refused"),
        (f"{TOKEN[:12].upper()} and {TOKEN[4:14]}", "[secret] and [secret]"),
        ("the picture is too large", "the picture is too large"),
        (TOKEN[:5], TOKEN[:5]),  # five letters may be there by chance
    ],
)
def test_a_piece_of_a_secret_is_in_no_message(serve, monkeypatch, said, shown):
    monkeypatch.setenv("TOK", TOKEN)
    monkeypatch.setattr(secrets, "_KNOWN", secrets._Known())
    refused = server_of(before=lambda asked: Reply(401, as_json({"error": said}).body))
    model = open_endpoint(f"{serve(refused).url}/v2/models/m", auth="${TOK}")
    with pytest.raises(XplainError) as caught:
        xplain.predict(model, X)
    assert repr(shown) in str(caught.value)


def echo(place):
    """A V2 server that repeats the proof it was given, at one place."""
    handler = server_of(binary=False)

    def answer(asked):
        proof = asked.headers.get("authorization", "")
        reply = handler(asked)
        body = json.loads(reply.body)
        if place == "header":
            reply.headers["X-Request-Id"] = proof
        elif asked.method == "GET" and asked.path.endswith("/m"):
            if place in ("platform", "name"):
                body[place] = proof
            if place == "versions":
                body["versions"] = [proof]
            if place in ("input", "output"):
                body[f"{place}s"][0]["name"] = proof
            if place == "meta datatype":
                body["outputs"][0]["datatype"] = proof
        elif asked.method == "POST":
            if place == "error":
                return as_json({"error": f"no access for {proof}"}, 400)
            one = body["outputs"][0]
            if place == "shape":
                one["shape"] = [proof]
            if place == "datatype":
                one["datatype"] = proof
            if place == "size":
                one["parameters"] = {"binary_data_size": proof}
            if place == "key":
                body["outputs"][0] = {proof: 1}
            if place == "twins":
                return Reply(200, f'{{"{proof}": 1, "{proof}": 2}}'.encode(), {})
            if place == "length":
                reply.headers["Inference-Header-Content-Length"] = proof
            if place == "retry":
                return Reply(503, b"{}", {"Retry-After": proof})
        reply.body = json.dumps(body).encode()
        return reply

    return answer


@pytest.mark.parametrize(
    "place",
    [
        "header",
        "platform",
        "name",
        "versions",
        "input",
        "output",
        "meta datatype",
        "error",
        "shape",
        "datatype",
        "size",
        "key",
        "twins",
        "length",
        "retry",
    ],
)
def test_a_secret_that_the_server_repeats_is_kept_nowhere(serve, place, tmp_path, monkeypatch, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TOK", TOKEN)
    ledger, told = tmp_path / "ledger.jsonl", ""
    url = f"{serve(echo(place)).url}/v2/models/m"
    try:
        model = open_endpoint(url, auth="${TOK}", ledger=ledger, patience=Patience(attempts=1))
        told = repr(model.outline) + str(model.outline.facts) + repr(model) + repr(model.ledger.entries)
        result = xplain.explain(model, X[:1], "ablation", cache=tmp_path / "cache")
        result.save(tmp_path / "a.npz")
        told += repr(result) + json.dumps(result.meta())
    except XplainError as error:
        told += str(error) + repr(error) + "".join(getattr(error, "__notes__", ()))
    told += caplog.text + "".join(capsys.readouterr())
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN not in told
    assert TOKEN.encode() not in files
    assert any(record.name.startswith("httpcore") for record in caplog.records)


def test_texts_from_outside_are_read_at_one_place():
    """Whatever turns bytes of a server into text goes through ``heard``; what decodes here is ours, and is sent."""
    folder = Path(outside.__file__).parent
    found = {
        path.name: re.findall(r".*\.decode\(.*", path.read_text(encoding="utf-8"))
        for path in folder.glob("*.py")
        if path.name != "secrets.py"
    }
    ours = {"address.py": 1, "mapping.py": 1, "tensors.py": 1}  # what is sent; strict JSON is read in one other place
    assert {name: len(lines) for name, lines in found.items() if lines} == ours


def test_strict_json_hides_names_and_texts(monkeypatch):
    monkeypatch.setenv("TOK", TOKEN)
    secrets.Auth("${TOK}").headers()
    assert strict_json(json.dumps({TOKEN: [1, [TOKEN]]}).encode(), "It") == {"[secret]": [1, ["[secret]"]]}
