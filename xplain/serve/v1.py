"""KServe V1: ``{"instances": [...]}`` in; ``predictions`` out, and beside them one of ``explanations`` per instance.

    GET  /v1/models                  GET  /v1/models/M
    POST /v1/models/M:predict        POST /v1/models/M:explain

``M`` is a model, or a model and a method, ``mobilenet.rise``. What else the protocol has no place for stands in
``"parameters"``: method, options, target, seed. Source: kserve.github.io, "V1 protocol"; its explain response is any
object, so both keys are in it.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xplain.core.errors import UsageError
from xplain.serve.asked import strict_json
from xplain.serve.house import House, instances
from xplain.serve.telling import drawing, explanation

__all__ = ["routes"]


def routes(house: House) -> list[Route]:
    """The protocol's routes."""

    async def models(_: Request) -> Response:
        return JSONResponse({"models": list(house.models)})

    async def model(request: Request) -> Response:
        served, _ = house.called(request.path_params["model"])
        return JSONResponse({"name": request.path_params["model"], "ready": not house.ready[served.name]})

    async def predict(request: Request) -> Response:
        served, _ = house.called(request.path_params["model"])
        given, _ = await _body(request)
        job = await house.scores(served, given, request.state.token)
        answer = await house.answer(job, request)
        return JSONResponse({"predictions": [_scores(one) for one in answer.scores]})

    async def explain(request: Request) -> Response:
        served, method = house.called(request.path_params["model"])
        given, told = await _body(request)
        if method:
            told["method"] = method
        told, how = drawing(told)
        job = await house.explanations(served, given, told, request.state.token)
        answer = await house.answer(job, request)
        found = [[explanation(one, **how) for one in item] for item in answer.results]
        body: dict[str, Any] = {
            "predictions": [_scores(one) for one in answer.scores],
            "explanations": [item[0] if len(item) == 1 else item for item in found],
        }
        return JSONResponse(body | ({"partial": answer.partial} if answer.partial else {}))

    return [
        Route("/v1/models", models),
        Route("/v1/models/{model}:predict", predict, methods=["POST"]),
        Route("/v1/models/{model}:explain", explain, methods=["POST"]),
        Route("/v1/models/{model}", model),
    ]


async def _body(request: Request) -> tuple[list[Any], dict[str, Any]]:
    body = strict_json(await request.body())
    told = body.pop("parameters", {})
    given = body.pop("instances", body.pop("inputs", None))
    if not isinstance(told, dict):
        raise UsageError('"parameters" is an object, such as {"method": "grad-cam"}.')
    return instances(given), told | {name: value for name, value in body.items() if name != "signature_name"}


def _scores(scores: Any) -> Any:
    return None if scores is None else scores.tolist()
