"""The plain routes in OpenAPI's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xplain.core.versions import versions
from xplain.serve.served import Served

__all__ = ["document"]


def document(models: Mapping[str, Served]) -> dict[str, Any]:
    """OpenAPI 3.1 of the plain routes, with the names of these models and of what they can be asked."""
    methods = sorted({entry.name for served in models.values() for entry in served.methods})
    asked = _object(
        {
            "model": {"enum": list(models)},
            "instances": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "description": "A picture, a tensor as nested lists, a text, or a row of a table.",
                    "anyOf": [_object({"b64": {"type": "string"}}), {"type": "array"}, {"type": "string"}, _object({})],
                },
            },
            "method": {"enum": methods},
            "options": _object({}),
            "target": {"anyOf": [{"type": kind} for kind in ("null", "integer", "string", "array")]},
            "seed": {"type": "integer", "minimum": 0},
            "max_queries": {"type": "integer", "minimum": 1},
            "deadline": {"type": "number", "exclusiveMinimum": 0},
            "preview": {"type": "boolean"},
            "overlay": {"type": "boolean"},
            "seen": {"type": "boolean"},
            "encoding": {"enum": ["json", "base64"]},
        },
        ["instances"],
    )
    picture = {"schema": {"type": "string", "format": "binary"}}
    body = {"required": True, "content": {"application/json": {"schema": asked}, "image/*": picture}}
    refused = {code: {"description": text} for code, text in _REFUSED.items()}

    def post(text: str, code: str = "200") -> dict[str, Any]:
        return {"post": {"summary": text, "requestBody": body, "responses": {code: {"description": text}, **refused}}}

    def get(text: str, **more: Any) -> dict[str, Any]:
        return {"get": {"summary": text, "responses": {"200": {"description": text}}, **more}}

    one = {"parameters": [{"name": "job", "in": "path", "required": True, "schema": {"type": "string"}}]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "xplain", "version": versions()["xplain"]},
        "security": [{}, {"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/api/models": get("The models, their labels, and what they can be asked"),
            "/api/predict": post("The best classes"),
            "/api/plan": post("What an explanation would cost; nothing is asked"),
            "/api/explain": post("Explanations"),
            "/api/jobs": post("The same as a job", "202"),
            "/api/jobs/{job}": get("How far a job is, and its answer", **one)
            | {"delete": {"summary": "Cancel it", "responses": {"202": {"description": "Cancelled"}}, **one}},
            "/api/jobs/{job}/events": get("Progress, the map so far, and the end, as server-sent events", **one),
        },
    }


_REFUSED = {
    "400": "Not understood, or not possible; the message says what is accepted",
    "401": "A token is needed",
    "413": "Too many bytes",
    "429": "The queue is full (Retry-After), or the token's evaluations are spent",
    "504": "Nothing was known by the deadline",
}


def _object(properties: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), **({"required": required} if required else {})}
