"""The advice of endpoints' and servers' messages, followed against servers on loopback."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from docs.advice_models import brightness, linear, table
from servers import Reply, Server, X, as_json, scores_of, server_of
from servers import linear as scoring
from serving import running

import xplain
from xplain.core.errors import XplainError
from xplain.demo import demo_model_path
from xplain.models.endpoint import open_endpoint
from xplain.models.endpoint.address import Address, read_address, resolve
from xplain.models.endpoint.answers import LabelSpace
from xplain.models.endpoint.secrets import Auth
from xplain.serve.app import Options, application, run
from xplain.serve.asked import asked, strict_json
from xplain.serve.served import served_as
from xplain.serve.site import write_site
from xplain.serve.tokens import token_of, tokens_in

Told = Callable[[Callable[[], Any]], str]

SERVING: dict[str, Callable[[Told, Path], Any]] = {}
SECRET = "s3cr3t-t0ken-value-of-a-test"
MAPPED = {
    "input": "tensor",
    "classes": 2,
    "request": {"batch": 3, "body": {"rows": "$items"}},
    "response": {"items": "rows", "scores": "s"},
}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        SERVING[fragment] = case
        return case

    return keep


@contextmanager
def listening(handler: Any) -> Iterator[Server]:
    """A server that ends with the case."""
    server = Server(handler)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def variable(value: str = SECRET) -> Iterator[str]:
    """A secret in the environment, by its name as it is given."""
    os.environ["XPLAIN_ADVISED"] = value
    try:
        yield "${XPLAIN_ADVISED}"
    finally:
        del os.environ["XPLAIN_ADVISED"]


def rows_behind(asked: Any) -> Reply:
    """A JSON service of its own."""
    x = np.array(json.loads(asked.body)["rows"], np.float32)
    return as_json({"rows": [{"s": row} for row in scoring({"x": x})["y"].tolist()]})


def answered(response: httpx.Response) -> httpx.Response:
    """An answer of the server.

    Raises:
        XplainError: it refuses; with what it says.
    """
    if response.status_code >= 400:
        raise XplainError(" ".join(str(one) for one in [response.json()]))
    return response


# ---------------------------------------------------------------------- addresses and secrets


@advice("everyone on the way can read and change it. Use https, or say allow_http=True.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: read_address("http://vendor.example/v2/models/m"))
    read_address("https://vendor.example/v2/models/m")
    read_address("http://vendor.example/v2/models/m", allow_http=True)


@advice("file ([request.query]) and secrets into auth=.")
def _(told: Told, _folder: Path) -> None:
    with listening(rows_behind) as server, variable() as secret:
        told(lambda: open_endpoint(f"{server.url}/score?model=v3&key=3", mapping=MAPPED))
        query = {**MAPPED, "request": {**MAPPED["request"], "query": {"model": "v3"}}}
        scores_of(open_endpoint(f"{server.url}/score", mapping=query, auth=secret))
        assert server.asked[0].path == "/score?model=v3"
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"


@advice("user name or password; URLs end up in logs. Give secrets with auth=, from the environment")
def _(told: Told, _folder: Path) -> None:
    with listening(server_of()) as server, variable() as secret:
        told(lambda: open_endpoint(server.url.replace("//", "//ann:secret@") + "/v2/models/m"))
        scores_of(open_endpoint(f"{server.url}/v2/models/m", auth=secret))


@advice("{} leads to {}, which is not this machine. Use https.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: resolve(Address("http", "192.0.2.1", 80, "/x")))
    assert resolve(Address("https", "192.0.2.1", 443, "/x")) == ["192.0.2.1"]


@advice("its name, such as 'Bearer ${VENDOR_TOKEN}', or give a function.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: Auth({"Authorization": SECRET}))
    with variable() as secret:
        assert Auth({"Authorization": f"Bearer {secret}"}).headers() == {"Authorization": f"Bearer {SECRET}"}
    assert Auth(lambda: {"X-Key": SECRET}).headers() == {"X-Key": SECRET}


@advice("A secret is not sent in the open to {}. Use https, or leave out auth= or allow_http=.")
def _(told: Told, _folder: Path) -> None:
    with listening(server_of()) as server, variable() as secret:
        url = f"{server.url}/v2/models/m"
        told(lambda: open_endpoint(url, auth=secret, allow_http=True))
        scores_of(open_endpoint(url, allow_http=True))
        scores_of(open_endpoint(url, auth=secret))


@advice("because secrets and data would go along; give the final URL.")
def _(told: Told, _folder: Path) -> None:
    with listening(server_of()) as there:
        moved = Reply(302, b"", {"Location": f"{there.url}/v2/models/m"})
        with listening(lambda _: moved) as server:
            told(lambda: open_endpoint(f"{server.url}/v2/models/m"))
        scores_of(open_endpoint(f"{there.url}/v2/models/m"))


# ---------------------------------------------------------------------- what an answer says


@advice("Let the answer say the class by its number, or give labels that differ.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: LabelSpace(("crane", "crane"), None).place("crane", "the answer"))
    assert LabelSpace(("crane", "crane"), None).place(1, "the answer") == 1
    assert LabelSpace(("crane, bird", "crane, machine"), None).place("crane, machine", "the answer") == 1


@advice("but it is not known which there are. Give labels= or classes=.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: LabelSpace((), None).place("1", "the answer"))
    assert LabelSpace(("a", "b"), None).place("b", "the answer") == 1
    assert LabelSpace((), 2).place("1", "the answer") == 1


@advice("holds {} per item, but {} are known. Give the labels that belong to these scores.")
def _(told: Told, _folder: Path) -> None:
    with listening(rows_behind) as server:
        raw = {key: value for key, value in MAPPED.items() if key != "classes"}
        told(lambda: scores_of(open_endpoint(f"{server.url}/s", mapping={**raw, "labels": ["a", "b", "c"]})))
        scores_of(open_endpoint(f"{server.url}/s", mapping={**raw, "labels": ["a", "b"]}))


@advice("cannot be told among {}. Say it: output=.")
def _(told: Told, _folder: Path) -> None:
    both = {"y": ("FP32", [-1, 2]), "z": ("FP32", [-1, 2])}
    with listening(
        server_of(outputs=both, model=lambda feeds: {**scoring(feeds), "z": -scoring(feeds)["y"]})
    ) as server:
        url = f"{server.url}/v2/models/m"
        told(lambda: open_endpoint(url))
        np.testing.assert_array_equal(
            scores_of(open_endpoint(url, output="z")), -scores_of(open_endpoint(url, output="y"))
        )


@advice("{} also needs {}; give their values: fixed={{}: array}.")
def _(told: Told, _folder: Path) -> None:
    both = {"x": ("FP32", [-1, 3]), "s": ("FP32", [-1, 1])}
    with listening(server_of(inputs=both)) as server:
        url = f"{server.url}/v2/models/m"
        said = told(lambda: open_endpoint(url, input="x"))
        assert "fixed={'s': array}" in said
        scores_of(open_endpoint(url, input="x", fixed={"s": np.ones((1, 1), np.float32)}))


@advice("Allow more with max_response=.")
def _(told: Told, _folder: Path) -> None:
    with listening(server_of()) as server:
        url = f"{server.url}/v2/models/m"
        told(lambda: scores_of(open_endpoint(url, max_response=50)))
        scores_of(open_endpoint(url, max_response=5000))


@advice("request would be filled up to that many. Give the model a free batch axis, or allow it")
def _(told: Told, _folder: Path) -> None:
    fixed = {"inputs": {"x": ("FP32", [2000, 3])}, "outputs": {"y": ("FP32", [2000, 2])}}
    with listening(server_of(**fixed)) as server:
        url = f"{server.url}/v2/models/m"
        assert "max_batch=2000" in told(lambda: open_endpoint(url))
        scores_of(open_endpoint(url, max_batch=2000))


@advice("describe it in a mapping file: mapping='vendor.toml'; see xplain.models.endpoint.m")
def _(told: Told, folder: Path) -> None:
    file = folder / "vendor.toml"
    file.write_text(
        'input = "tensor"\nclasses = 2\n[request]\nbatch = 3\nbody = {rows = "$items"}\n'
        '[response]\nitems = "rows"\nscores = "s"\n'
    )
    with listening(rows_behind) as server:
        told(lambda: open_endpoint(f"{server.url}/score"))
        scores_of(open_endpoint(f"{server.url}/score", mapping=file))


# ---------------------------------------------------------------------- what it may cost


@advice("price is given. Say what an item costs: price=0.002.")
def _(told: Told, _folder: Path) -> None:
    with listening(server_of()) as server:
        url = f"{server.url}/v2/models/m"
        told(lambda: open_endpoint(url, max_cost=1))
        scores_of(open_endpoint(url, max_cost=1, price=0.002))


@advice("the next call, for {}, would pass max_cost={}. What was answered is kept if a cache wa")
def _(told: Told, folder: Path) -> None:
    _kept(told, folder, {"price": 0.5, "max_cost": 2.0}, {"price": 0.5})


@advice("{} calls have been made, and max_calls={} allows no more. What was answered is kep")
def _(told: Told, folder: Path) -> None:
    _kept(told, folder, {"max_calls": 4}, {})


def _kept(told: Told, folder: Path, narrow: dict[str, Any], wide: dict[str, Any]) -> None:
    """What was answered is in the cache: the second run asks for the rest alone."""
    with listening(server_of()) as server:
        how = {"max_batch": 2, "version": "1", "concurrency": 1}
        url, asks = f"{server.url}/v2/models/m", {"cache": folder / "c", "target": 0, "samples": 32, "seed": 1}
        told(lambda: xplain.explain(open_endpoint(url, **how, **narrow), X[:1], "kernel-shap", **asks))
        before = len(server.infers)
        assert before > 1
        xplain.explain(open_endpoint(url, **how, **wide), X[:1], "kernel-shap", **asks)
        again = len(server.infers) - before
        xplain.explain(open_endpoint(url, **how, **wide), X[:1], "kernel-shap", **{**asks, "cache": folder / "d"})
        assert again < len(server.infers) - before - again


# ---------------------------------------------------------------------- a server of explanations


def served(name: str = "m", model: Any = linear) -> Any:
    return served_as(name, xplain.load(model))


@advice("Models are served under names of their own; got {}. Use NAME=FILE.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: application([served(), served()]))
    application([served("a"), served("b")])


@advice("{} lets other machines ask, and there is no token. Give token=")
def _(told: Told, _folder: Path) -> None:
    told(lambda: Options(host="0.0.0.0"))
    with variable() as secret:
        assert Options(host="0.0.0.0", tokens=(token_of(secret),)).tokens
    assert not Options(host="127.0.0.1").tokens


@advice("{}:{} cannot be listened at; is another server there? Give another port=.")
def _(told: Told, _folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told(lambda: run([served()], Options(port=taken.getsockname()[1])))
    with running({"m": xplain.load(linear)}) as server:
        assert httpx.get(f"{server.url}/api/models").status_code == 200


@advice("This server does not answer to that Host. --name NAME allows it.")
def _(told: Told, _folder: Path) -> None:
    host = {"Host": "proxy.example"}
    for names in ((), ("proxy.example",)):
        with running({"m": xplain.load(linear)}, names=names) as server:
            if names:
                answered(httpx.get(f"{server.url}/api/models", headers=host))
            else:
                told(lambda server=server: answered(httpx.get(f"{server.url}/api/models", headers=host)))


@advice("{} stands twice in the query; give it once.")
def _(told: Told, folder: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(folder / "one.png")
    sent = {"content": (folder / "one.png").read_bytes(), "headers": {"content-type": "image/png"}, "timeout": 60}
    with running({"textures": xplain.load(demo_model_path())}) as server:
        place = f"{server.url}/api/predict"
        told(lambda: answered(httpx.post(f"{place}?model=textures&target=0&target=1", **sent)))
        answered(httpx.post(f"{place}?model=textures&target=1", **sent))


@advice("A model cannot be served as {}; accepted: 1 to 64 letters")
def _(told: Told, _folder: Path) -> None:
    told(lambda: served("my model"))
    served("my_model")


@advice("names a picture's file, which a server does not open. Explain it in Python")
def _(told: Told, folder: Path) -> None:
    model = xplain.load(demo_model_path())
    item = np.zeros([extent or 64 for extent in model.outline.explained.shape[1:]], np.float32)
    words = {"method": "saliency", "target": f"similar:{folder / 'one.png'}"}
    told(lambda: asked(served_as("m", model), [item], words, 60))
    asked(served_as("m", model), [item], {**words, "target": 1}, 60)


@advice("is an option of a method. Put it among the options:")
def _(told: Told, _folder: Path) -> None:
    item = np.ones(4, np.float32)
    told(lambda: asked(served(), [item], {"method": "kernel-shap", "samples": 30}, 60))
    asked(served(), [item], {"method": "kernel-shap", "options": {"samples": 30}}, 60)


@advice("The instances are of several kinds; give all as pictures, tensors, texts or rows.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: served().read([np.zeros(4), "a text"]))
    served().read([np.zeros(4), np.ones(4)])


@advice("Row {} has columns {}; row 0 has {}. Give all rows alike.")
def _(told: Told, _folder: Path) -> None:
    rows = [dict.fromkeys("abcd", 1.0), dict.fromkeys("abcd", 2.0)]
    behind = served_as("t", xplain.table(table, columns={name: [1.0, 2.0] for name in "abcd"}))
    told(lambda: behind.read([rows[0], {"a": 1.0}]))
    behind.read(rows)


@advice("A token is never written out, for others can read it there.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: token_of(SECRET))
    with variable() as secret:
        assert token_of(secret).secret == SECRET


@advice("--tokens {} holds no token; write [NAME] and token =")
def _(told: Told, folder: Path) -> None:
    _tokens(told, folder, "")


@advice("--tokens {} cannot be read: {}.")
def _(told: Told, folder: Path) -> None:
    _tokens(told, folder, "[ann\ntoken")


@advice("--tokens {}: [{}] is not understood; accepted: token =")
def _(told: Told, folder: Path) -> None:
    _tokens(told, folder, '[ann]\ntoken = "${XPLAIN_ADVISED}"\nmax_queries = 0\n')


def _tokens(told: Told, folder: Path, wrong: str) -> None:
    file = folder / "tokens.toml"
    file.write_text(wrong)
    with variable():
        told(lambda: tokens_in(file))
        file.write_text('[ann]\ntoken = "${XPLAIN_ADVISED}"\nmax_queries = 9\n')
        assert [(one.name, one.secret) for one in tokens_in(file)] == [("ann", SECRET)]


@advice("The body opens {} lists and objects; accepted: up to {}. Send fewer")
def _(told: Told, folder: Path) -> None:
    del folder
    told(lambda: strict_json(b'{"instances": [' + b"[]," * 4_000_000 + b"0]}"))
    assert strict_json(b'{"instances": [[], 0]}') == {"instances": [[], 0]}


@advice("has no card for pictures, which the page turns into its input. Give card=")
def _(told: Told, folder: Path) -> None:
    runtime = folder / "dist"
    runtime.mkdir()
    told(lambda: write_site(xplain.load(brightness), folder / "out", "grad-cam", runtime_folder=str(runtime)))
    assert xplain.load(demo_model_path()).outline.card is not None  # with one, tests/serve/test_live.py writes the page
