"""The page, its files, and what it alone asks: examples, a layer's channels, and what is hidden by hand."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.core.query import Model
from xplain.serve.asked import Asked, hidden_asked, instance, scores_asked, strict_json
from xplain.serve.guard import Refused
from xplain.serve.house import House
from xplain.serve.served import Served
from xplain.session.by_hand import plane_of
from xplain.session.lenses.see import see
from xplain.session.predictions import best

__all__ = ["routes"]

_FILES = ("page.css", "page.js", "panel.js", "options.js", "hand.js", "parts.js", "items.js", "ask.js", "draw.js")
_SHARED = ("address.js", "controls.js")
_CHANNELS = 64


def routes(house: House, examples: Mapping[str, Path]) -> list[Route]:
    """The routes."""
    here = files("xplain.serve") / "page"

    async def page(_: Request) -> Response:
        return _file(here / "index.html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in (*_FILES, *_SHARED):
            raise Refused(404, "There is no such file.", "unknown")
        return _file(here / name)

    async def listed(_: Request) -> Response:
        return JSONResponse({"examples": list(examples)})

    async def example(request: Request) -> Response:
        path = examples.get(request.path_params["name"])
        if path is None:
            raise Refused(404, "There is no such example.", "unknown")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        return Response(path.read_bytes(), media_type=kind)

    async def hide(request: Request) -> Response:
        body = strict_json(await request.body())
        served = house.model(body.get("model"))
        given = body.get("instances")
        if not isinstance(given, list) or len(given) != 1:
            raise UsageError('"instances" is a list of the one item in which something is hidden.')
        place = partial(_hidden, box=body.get("box"), parts=body.get("parts"))
        item = instance(given[0])
        job = await house.submit(served, lambda: hidden_asked(served, item, place), request.state.token)
        answer = await house.answer(job, request)
        scores = np.stack([one for one in answer.scores if one is not None])
        told = best(scores, served.model.outline, 1)
        which = body.get("class", told[0][0]["class"])
        if isinstance(which, bool) or not isinstance(which, int) or not 0 <= which < scores.shape[1]:
            raise UsageError(f'"class" is {which!r:.80}; accepted: a class number of the model.')
        pairs = zip(scores, told, strict=True)
        states = [{"score": float(one[which]), "best": first[0]["label"]} for one, first in pairs]
        return JSONResponse({"name": served.model.outline.label_name(which), "before": states[0], "after": states[1]})

    async def activations(request: Request) -> Response:
        body = strict_json(await request.body())
        served = house.model(body.get("model"))
        given = body.get("instances")
        if not isinstance(given, list) or len(given) != 1:
            raise UsageError('"instances" is a list of the one item that a layer is shown of.')
        layer, item = body.get("layer", "auto"), instance(given[0])
        if not isinstance(layer, str) or isinstance(item, str):
            raise UsageError('"layer" is the name of a layer, and the item a picture or a tensor.')

        def read() -> Asked:
            return replace(scores_asked(served, [item]), task=lambda: _grid(served, item, layer))

        answer = await house.answer(await house.submit(served, read, request.state.token), request)
        return Response(answer.drawn, media_type="image/png")

    return [
        Route("/", page),
        Route("/api/activations", activations, methods=["POST"]),
        Route("/static/{name}", static),
        Route("/api/examples", listed),
        Route("/api/examples/{name}", example),
        Route("/api/hide", hide, methods=["POST"]),
    ]


def _grid(served: Served, item: Any, layer: str) -> bytes:
    """The most active channels of a layer, as a PNG."""
    gallery = see(served.model, "activations", [item], layer=layer, k=_CHANNELS, sort="largest")
    out = io.BytesIO()
    gallery.render("sheet").save(out, "PNG")
    return out.getvalue()


def _file(path: Any) -> Response:
    kind = mimetypes.guess_type(path.name)[0] or "text/plain"
    return Response(path.read_bytes(), media_type=kind, headers={"cache-control": "no-cache"})


def _hidden(model: Model, items: Items, box: Any, parts: Any) -> Array:
    """The positions of an item that are hidden: a rectangle of a picture, or parts of what has no picture.

    Raises:
        UsageError: no rectangle, or no parts, of the item's map.
    """
    plane = plane_of(model, items)
    hidden = np.zeros(plane, bool)
    rows, columns = plane
    if rows > 1 or (isinstance(items.layout, Layout) and items.layout.is_picture):
        if not _whole(box) or len(box) != 4 or not (0 <= box[0] < box[2] <= rows and 0 <= box[1] < box[3] <= columns):
            raise UsageError(
                f'"box" is [top, left, bottom, right] within {rows} rows and {columns} columns; got {box!r:.80}.'
            )
        hidden[box[0] : box[2], box[1] : box[3]] = True
        return hidden
    if not _whole(parts) or not parts or not all(0 <= one < hidden.size for one in parts):
        raise UsageError(
            f'"parts" is a list of the numbers of what is hidden, from 0 to {hidden.size - 1}, in the order of the '
            f'explanation\'s values; got {parts!r:.80}. A rectangle, "box", is hidden of pictures alone.'
        )
    hidden.reshape(-1)[parts] = True
    return hidden


def _whole(given: Any) -> bool:
    """Whether something is a list of whole numbers."""
    return isinstance(given, list) and all(isinstance(n, int) and not isinstance(n, bool) for n in given)
