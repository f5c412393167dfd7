"""The Open Inference Protocol V2 over REST, with binary tensors and the classification extension.

    GET  /v2      /v2/health/live      /v2/health/ready      /v2/models/M[/versions/V][/ready]
    POST /v2/models/M[/versions/V]/infer            /explain is the same address under the name that some servers use

The protocol has no explanations, so every pair of a model and a method is a model of its own: ``mobilenet`` answers
``scores``, ``mobilenet.rise`` answers ``saliency``, ``error``, ``score`` and ``label``. Options of the method, and
``target`` and ``seed``, are parameters of the request. Any V2 client can ask.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.versions import versions
from xplain.models.endpoint.outside import digits, extents, name_of, whole
from xplain.models.endpoint.tensors import DTYPES, from_bytes, from_list, to_bytes, to_list
from xplain.serve.asked import strict_json
from xplain.serve.house import House
from xplain.serve.running import Answer
from xplain.serve.served import Served

__all__ = ["routes"]

_LENGTH = "inference-header-content-length"
_OURS = ("target", "seed", "max_queries", "deadline")
_OF_SERVERS = ("binary_data_output", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers")


def routes(house: House) -> list[Route]:
    """The protocol's routes."""

    async def server(_: Request) -> Response:
        extensions = ["binary_tensor_data", "classification"]
        return JSONResponse({"name": "xplain", "version": versions()["xplain"], "extensions": extensions})

    async def live(_: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(_: Request) -> Response:
        why = {name: text for name, text in house.ready.items() if text}
        return JSONResponse({"ready": not why, **({"waiting": why} if why else {})}, 503 if why else 200)

    async def model_ready(request: Request) -> Response:
        served, _ = _found(house, request)
        why = house.ready[served.name]
        name = request.path_params["model"]
        return JSONResponse({"name": name, "ready": not why}, 503 if why else 200)

    async def metadata(request: Request) -> Response:
        served, method = _found(house, request)
        return JSONResponse(_metadata(request.path_params["model"], served, method))

    async def infer(request: Request) -> Response:
        served, method = _found(house, request)
        asked, raw = _split(await request.body(), request.headers.get(_LENGTH))
        given, told = _items(house, served, asked, raw), _parameters(asked)
        wanted = _wanted(asked, served, method)
        if method:
            job = await house.explanations(served, given, {**told, "method": method}, request.state.token)
        else:
            job = await house.scores(served, given, request.state.token)
        outputs = _outputs(await house.answer(job, request), served, method)
        return _response(request.path_params["model"], served, asked, outputs, wanted)

    model = "/v2/models/{model}"
    both = (model, model + "/versions/{version}")
    return [
        Route("/v2", server),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        *(Route(f"{one}/ready", model_ready) for one in both),
        *(Route(f"{one}/{verb}", infer, methods=["POST"]) for one in both for verb in ("infer", "explain")),
        *(Route(one, metadata) for one in both),
    ]


def _found(house: House, request: Request) -> tuple[Served, str]:
    served, method = house.called(request.path_params["model"])
    version = request.path_params.get("version", served.version)
    if version != served.version:
        raise unknown(f"version of model {served.name!r}:", version[:80], [served.version])
    return served, method


def _metadata(name: str, served: Served, method: str) -> dict[str, Any]:
    outline = served.model.outline
    spec, classes = outline.explained, outline.scores.classes
    shape = [-1] if spec is None else [-1, *(extent or -1 for extent in spec.shape[1:])]
    shape = [-1, len(served.columns()) or -1] if served.takes == "rows" else shape
    takes = "BYTES" if served.takes == "texts" else _datatype(np.dtype((spec.dtype if spec else "") or "float32"))
    items = {"name": _input(served), "datatype": takes, "shape": [-1] if served.takes == "texts" else shape}
    if not method:
        outputs = [{"name": "scores", "datatype": "FP64", "shape": [-1, classes or -1]}]
    else:
        sampled = served.method(method).sampled
        names = {"saliency": "FP32", **({"error": "FP32"} if sampled else {}), "score": "FP64", "label": "INT64"}
        free = {"score": [-1], "label": [-1]}
        outputs = [{"name": one, "datatype": kind, "shape": free.get(one, [-1, -1, -1])} for one, kind in names.items()]
    return {
        "name": name,
        "versions": [served.version],
        "platform": "xplain",
        "inputs": [items],
        "outputs": outputs,
    }


def _input(served: Served) -> str:
    return served.model.outline.input or "input"


def _datatype(dtype: np.dtype[Any]) -> str:
    return next((name for name, kind in DTYPES.items() if np.dtype(kind) == dtype.newbyteorder("<")), "FP32")


def _split(body: bytes, announced: str | None) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the raw tensors behind it."""
    length = len(body) if announced is None else digits(announced)
    if length is None or length > len(body):
        raise UsageError(f"Inference-Header-Content-Length does not fit a body of {len(body)} bytes.")
    return strict_json(body[:length]), body[length:]


def _items(house: House, served: Served, asked: Mapping[str, Any], raw: bytes) -> list[Any]:
    """The items in the request's only input."""
    inputs = asked.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise UsageError(f'"inputs" is a list of one tensor here, {_input(served)!r}.')
    one, what = inputs[0], "The input"
    try:
        name, datatype = name_of(one.get("name"), what), name_of(one.get("datatype"), what)
        if name != _input(served):
            raise unknown("input", name, [_input(served)])
        shape = extents(one.get("shape"), what)
        if datatype == "BYTES":  # each an item: too many are not even read
            house.bound(math.prod(shape))
        size = (one.get("parameters") or {}).get("binary_data_size")
        if size is None:
            tensor = from_list(one.get("data"), datatype, shape, what)
            size = 0
        else:
            size = whole(size, f"{what}'s binary_data_size", most=2**40)
            tensor = from_bytes(raw[:size], datatype, shape, what)
    except (ModelError, AttributeError) as error:
        raise UsageError(str(error)) from None
    if size != len(raw):
        raise UsageError(f"The body has {len(raw)} bytes of tensors where {size} were announced.")
    if tensor.ndim == 0:
        raise UsageError("The input has no axis of items; its shape is [N, ...].")
    if datatype == "BYTES":
        return [str(one) for one in tensor.reshape(-1)]
    return list(np.asarray(tensor))


def _parameters(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the parameters of a request say: our own by name, the others are the method's options."""
    given = asked.get("parameters") or {}
    if not isinstance(given, dict):
        raise UsageError('"parameters" is an object, such as {"target": 3, "samples": 500}.')
    told = {name: value for name, value in given.items() if name in _OURS}
    options = {name: value for name, value in given.items() if name not in (*_OURS, *_OF_SERVERS)}
    return told | {"options": options}


def _wanted(asked: Mapping[str, Any], served: Served, method: str) -> dict[str, dict[str, Any]]:
    """The outputs that a request wants, with the parameters of each; all where it names none."""
    known = [one["name"] for one in _metadata("", served, method)["outputs"]]
    given = asked.get("outputs") or [{"name": name} for name in known]
    both = asked.get("parameters") or {}
    wanted = {}
    for one in given if isinstance(given, list) else [None]:
        if not isinstance(one, dict) or one.get("name") not in known:
            raise unknown("output", str(one.get("name") if isinstance(one, dict) else one)[:80], known)
        told = one.get("parameters") or {}
        if not isinstance(told, dict):
            raise UsageError('"parameters" of an output is an object.')
        wanted[one["name"]] = {"binary_data": both.get("binary_data_output") is True, **told}
    return wanted


def _outputs(answer: Answer, served: Served, method: str) -> dict[str, tuple[str, Array]]:
    """Every output with its datatype."""
    if not method:
        scores = [one for one in answer.scores if one is not None]
        if len(scores) < len(answer.scores):
            raise UsageError(f"Model {served.name!r} has no class scores; ask one of its methods with a target.")
        return {"scores": ("FP64", np.stack(scores))}
    each = [item[0] for item in answer.results]
    if any(len(item) > 1 for item in answer.results):
        raise UsageError("V2 tells one target per item; ask for one class, not for the top few.")
    if len({one.values.shape for one in each}) > 1:
        raise UsageError("The explanations have different shapes, which one tensor cannot hold; send one item at once.")
    found = {"saliency": ("FP32", np.concatenate([one.values for one in each]))}
    errors = [one.error for one in each if one.error is not None]
    if errors:
        found["error"] = ("FP32", np.concatenate(errors))
    labels = [one.labels[0] if one.labels else -1 for one in each]
    found["score"] = ("FP64", np.concatenate([one.scores for one in each]))
    found["label"] = ("INT64", np.asarray(labels, np.int64))
    return found


def _response(
    name: str,
    served: Served,
    asked: Mapping[str, Any],
    outputs: Mapping[str, tuple[str, Array]],
    wanted: Mapping[str, dict[str, Any]],
) -> Response:
    told: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for output, how in wanted.items():
        if output not in outputs:
            continue
        datatype, tensor = outputs[output]
        if how.get("classification"):
            datatype, tensor = "BYTES", _classified(tensor, how["classification"], served)
        one: dict[str, Any] = {"name": output, "datatype": datatype, "shape": list(tensor.shape)}
        if how["binary_data"] is True:
            raw.append(to_bytes(tensor, datatype))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            one["data"] = to_list(tensor, datatype)
        told.append(one)
    body: dict[str, Any] = {"model_name": name, "model_version": served.version, "outputs": told}
    if isinstance(asked.get("id"), str):
        body["id"] = asked["id"][:256]
    text = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    if not raw:
        return Response(text, media_type="application/json")
    return Response(
        b"".join([text, *raw]),
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(text))},
    )


def _classified(scores: Array, count: Any, served: Served) -> Array:
    """The best classes of each row as texts ``value:index:label``."""
    try:
        most = whole(count, "classification", least=1)
    except ModelError as error:
        raise UsageError(str(error)) from None
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :most]
    outline = served.model.outline
    rows = [
        [f"{row[k]}:{k}:{outline.label_name(int(k))}" for k in best] for row, best in zip(scores, order, strict=True)
    ]
    return np.asarray(rows, dtype=object)
