"""The plain door: JSON or the bytes of a picture in, JSON out; jobs for what takes long.

POST /api/explain    POST /api/predict    POST /api/plan       the body is {"instances": [...], "method": ...}, or a
POST /api/jobs       GET|DELETE /api/jobs/ID                   picture (Content-Type: image/...), the rest in the
GET  /api/jobs/ID/events      server-sent events               query: ?method=rise&options={"samples":500}
GET  /api/models     GET /openapi.json     GET /metrics
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from xplain.core.declaring.wording import in_python
from xplain.core.errors import UsageError, XplainError
from xplain.render.colormap import find
from xplain.results.result import plain_values
from xplain.serve.asked import strict_json
from xplain.serve.guard import Refused
from xplain.serve.house import House, instances
from xplain.serve.job import Full, Job, Late
from xplain.serve.openapi import document
from xplain.serve.running import Answer
from xplain.serve.served import Served
from xplain.serve.telling import drawing, explanation, predictions

__all__ = ["routes"]

_COLOURS = {"signed": "blue-red", "unsigned": "heat"}

_NOT_TAKEN = ("multipart/", "audio/", "video/", "text/html", "application/pdf", "application/zip")
"""Kinds of bodies that are no JSON for sure; others are read as JSON, whatever a client calls it."""

_TYPED: dict[str, Callable[[str], Any]] = {
    "seed": int,
    "max_queries": int,
    "deadline": float,
    "overlay": lambda text: text in ("1", "true"),
    "seen": lambda text: text in ("1", "true"),
}


def routes(house: House) -> list[Route]:
    """The routes."""

    async def models(_: Request) -> Response:
        told = [_described(house, served) for served in house.models.values()]
        colours = {name: find(one, name == "signed").table.tolist() for name, one in _COLOURS.items()}
        return JSONResponse({"models": told, "colours": colours})

    async def predict(request: Request) -> Response:
        served, given, _ = await _read(house, request)
        job = await house.scores(served, given, request.state.token)
        answer = await house.answer(job, request)
        return JSONResponse({"predictions": [predictions(one, served.model.outline) for one in answer.scores]})

    async def plan(request: Request) -> Response:
        served, given, told = await _read(house, request)
        told, _ = drawing(told)
        return JSONResponse(_bill(await house.asked(served, given, told)))

    async def explain(request: Request) -> Response:
        served, given, told = await _read(house, request)
        told, how = drawing(told)
        job = await house.explanations(served, given, told, request.state.token)
        return JSONResponse(_answer(await house.answer(job, request), served, how))

    async def start(request: Request) -> Response:
        served, given, told = await _read(house, request)
        told, how = drawing(told)
        job = await house.explanations(served, given, told, request.state.token)
        job.how = how
        house.keep(job)
        where = f"/api/jobs/{job.id}"
        return JSONResponse(_state(house, job), 202, {"Location": where})

    async def look(request: Request) -> Response:
        job = house.job(request.path_params["job"], request.state.token)
        return JSONResponse(_state(house, job, whole=True))

    async def drop(request: Request) -> Response:
        job = house.job(request.path_params["job"], request.state.token)
        house.drop(job)
        return JSONResponse(_state(house, job), 202)

    async def events(request: Request) -> Response:
        job = house.job(request.path_params["job"], request.state.token)
        headers = {"X-Accel-Buffering": "no"}  # a proxy that waits for the end would hide the progress
        return StreamingResponse(_events(house, job), media_type="text/event-stream", headers=headers)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document(house.models))

    async def metrics(_: Request) -> Response:
        return Response(house.figures.page(), media_type="text/plain; version=0.0.4")

    return [
        Route("/api/models", models),
        Route("/api/predict", predict, methods=["POST"]),
        Route("/api/plan", plan, methods=["POST"]),
        Route("/api/explain", explain, methods=["POST"]),
        Route("/api/jobs", start, methods=["POST"]),
        Route("/api/jobs/{job}", look),
        Route("/api/jobs/{job}", drop, methods=["DELETE"]),
        Route("/api/jobs/{job}/events", events),
        Route("/openapi.json", openapi),
        Route("/metrics", metrics),
    ]


async def _read(house: House, request: Request) -> tuple[Served, list[Any], dict[str, Any]]:
    """The model, the items, and what else was sent."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/") or kind == "application/octet-stream":
        told = _query(request)
        served = house.model(told.pop("model", None))
        return served, [await request.body()], told
    if kind.startswith(_NOT_TAKEN):
        text = (
            f"A body of {kind[:80]} is not read here. Send JSON, or the bytes of a picture alone with Content-Type: "
            "image/jpeg, and the rest in the query."
        )
        raise Refused(415, text, "type")
    body = strict_json(await request.body())
    served = house.model(body.pop("model", None))
    return served, instances(body.pop("instances", None)), body


def _query(request: Request) -> dict[str, Any]:
    """What a query says, in the types that JSON would have."""
    told: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in told:
            raise UsageError(f"{name!r:.80} stands twice in the query; give it once.")
        try:
            if name == "options":
                told[name] = strict_json(text.encode())
            elif name == "target":
                told[name] = int(text) if text.lstrip("-").isdigit() else text
            else:
                told[name] = _TYPED[name](text) if name in _TYPED else text
        except ValueError as error:
            raise UsageError(f"{name!r} in the query is not understood: {error}.") from None
    return told


def _described(house: House, served: Served) -> dict[str, Any]:
    outline = served.model.outline
    spec = outline.explained
    return {
        "name": served.name,
        "version": served.version,
        "ready": not house.ready[served.name],
        "input": {"shape": None if spec is None else list(spec.shape), "texts": served.takes == "texts"},
        "takes": served.takes,
        "pictures": outline.takes_pictures,
        "columns": [asdict(one) for one in served.columns()],
        "usual": served.usual().method,
        "classes": outline.scores.classes,
        "labels": list(outline.labels)[:100_000],
        "layers": served.layers(),
        "methods": [
            {
                "name": entry.name,
                "summary": entry.summary,
                "sampled": entry.sampled,
                "options": {
                    name: {"default": plain_values(option.default), "help": option.doc}
                    for name, option in entry.options.items()
                },
            }
            for entry in served.methods
        ],
    }


def _bill(asked: Any) -> dict[str, Any]:
    plan = asked.plan
    money = None if plan.money is None else {"amount": str(plan.money), "currency": plan.price.currency}
    return {"queries": plan.queries, "sweeps": plan.sweeps, "calls": plan.calls, "money": money, "words": str(plan)}


def _answer(answer: Answer, served: Served, how: dict[str, Any]) -> dict[str, Any]:
    found = [
        {
            "predictions": predictions(scores, served.model.outline),
            "explanations": [explanation(one, **how) for one in item],
        }
        for item, scores in zip(answer.results, answer.scores, strict=True)
    ]
    return {"items": found, **({"partial": answer.partial} if answer.partial else {})}


def _state(house: House, job: Job, whole: bool = False) -> dict[str, Any]:
    asked = job.asked
    told: dict[str, Any] = {"id": job.id, "state": job.state, "model": asked.served.name, "method": asked.name}
    told |= {"done": job.done, "of": job.of, "plan": _bill(asked)}
    if whole and job.answer is not None:
        told["answer"] = _answer(job.answer, asked.served, job.how)
    if job.error is not None:
        told["error"] = house.without_paths(_fault(job.error))
    return told


def _fault(error: BaseException) -> dict[str, Any]:
    """What a caller is told of an error: all of one on purpose, nothing of any other."""
    if isinstance(error, XplainError):
        return error.fields(in_python)
    text = "Nothing was known by the deadline." if isinstance(error, Late) else "The request failed in the server."
    return {"kind": "ServerError", "message": error.text if isinstance(error, Full) else text}


async def _events(house: House, job: Job) -> AsyncIterator[bytes]:
    """Progress, the map so far whenever there is a new one, and the end; then no more."""
    version, shown = -1, None
    while True:
        if job.early is not None and job.early is not shown:
            shown = job.early
            yield _event("preview", job.version, _answer(shown, job.asked.served, job.how))
        if job.over:
            break
        yield _event("progress", job.version, {"state": job.state, "done": job.done, "of": job.of})
        version = await job.news(max(version, job.version))
    yield _event("end", job.version, _state(house, job, whole=True))


def _event(kind: str, number: int, value: Any) -> bytes:
    return f"event: {kind}\nid: {number}\ndata: {json.dumps(value, allow_nan=False)}\n\n".encode()
