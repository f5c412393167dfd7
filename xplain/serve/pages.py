"""The page, its files, and what it alone asks: examples, and a rectangle that is hidden by hand."""

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

from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.render.pictures import collect
from xplain.serve.asked import Asked, instance, scores_asked, strict_json
from xplain.serve.guard import Refused
from xplain.serve.house import House
from xplain.serve.served import Served
from xplain.session.lenses.see import see
from xplain.session.predictions import best

__all__ = ["examples_in", "routes"]

_FILES = ("page.css", "page.js", "panel.js", "parts.js", "items.js", "ask.js", "draw.js")
_MOST_EXAMPLES = 200
_CHANNELS = 64


def examples_in(folder: str | None) -> dict[str, Path]:
    """The pictures of a folder by name; what a caller may look at, and nothing else of the disk.

    Raises:
        PictureError: there are none.
    """
    if folder is None:
        return {}
    return {Path(one).name: Path(one) for one in collect([folder])[:_MOST_EXAMPLES]}


def routes(house: House, examples: Mapping[str, Path]) -> list[Route]:
    """The routes."""
    here = files("xplain.serve") / "page"

    async def page(_: Request) -> Response:
        return _file(here / "index.html")

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
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
        items = [instance(given[0])]
        both = partial(_both, box=body.get("box"))
        job = await house.submit(served, lambda: scores_asked(served, items, both), request.state.token)
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


def _both(items: Items, box: Any) -> Items:
    """The item as it is, and with a rectangle at zero, in the model's own units: for most cards the mean colour.

    Raises:
        UsageError: no rectangle of the item's map.
    """
    layout = items.layout
    if not isinstance(layout, Layout) or not layout.is_picture:
        raise UsageError("Only rectangles of pictures can be hidden here.")
    whole = isinstance(box, list) and len(box) == 4 and all(isinstance(n, int) and not isinstance(n, bool) for n in box)
    rows, columns = layout.plane
    fault = f'"box" is [top, left, bottom, right] within {rows} rows and {columns} columns; got {box!r:.80}.'
    if not whole or not (0 <= box[0] < box[2] <= rows and 0 <= box[1] < box[3] <= columns):
        raise UsageError(fault)
    hidden = items.x.copy()
    place: list[slice] = [slice(None)] * hidden.ndim
    place[layout.axes.index("H")], place[layout.axes.index("W")] = slice(box[0], box[2]), slice(box[1], box[3])
    hidden[tuple(place)] = 0
    return Items.joined([items, replace(items, x=hidden)])
