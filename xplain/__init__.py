"""xplain tells a person why a classifier said what it said, for any classifier they can run.

Names are loaded when they are first used, so that ``import xplain`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xplain.api import (
        attack,
        attacks,
        explain_stream,
        lenses,
        load,
        make,
        methods,
        plan,
        predict,
        probe,
        recipes,
        see,
    )
    from xplain.core.card import Card
    from xplain.core.errors import XplainError
    from xplain.core.target import Target, channel, inner, label, neuron
    from xplain.engine import Sentinel, Store
    from xplain.models.table import table
    from xplain.models.text import text
    from xplain.results.attack import Attack
    from xplain.results.attribution import Attribution
    from xplain.results.picture import Picture
    from xplain.session.compiling import compile
    from xplain.typed import explain, explain_many

__version__ = "0.1.0"

__all__ = [
    "Attack",
    "Attribution",
    "Card",
    "Picture",
    "Sentinel",
    "Store",
    "Target",
    "XplainError",
    "attack",
    "attacks",
    "channel",
    "compile",
    "explain",
    "explain_many",
    "explain_stream",
    "inner",
    "joint",
    "label",
    "lenses",
    "load",
    "make",
    "methods",
    "neuron",
    "plan",
    "predict",
    "probe",
    "recipes",
    "see",
    "table",
    "text",
]

_HOMES = {
    "Attack": "xplain.results.attack",
    "Picture": "xplain.results.picture",
    "Attribution": "xplain.results.attribution",
    "Card": "xplain.core.card",
    "Sentinel": "xplain.engine",
    "Store": "xplain.engine",
    "Target": "xplain.core.target",
    "XplainError": "xplain.core.errors",
    "attack": "xplain.api",
    "make": "xplain.api",
    "recipes": "xplain.api",
    "attacks": "xplain.api",
    "channel": "xplain.core.target",
    "compile": "xplain.session.compiling",
    "explain": "xplain.api",
    "explain_many": "xplain.api",
    "explain_stream": "xplain.api",
    "inner": "xplain.core.target",
    "joint": "xplain.models.joint",
    "label": "xplain.core.target",
    "lenses": "xplain.api",
    "load": "xplain.api",
    "methods": "xplain.api",
    "neuron": "xplain.core.target",
    "plan": "xplain.api",
    "predict": "xplain.api",
    "probe": "xplain.api",
    "see": "xplain.api",
    "table": "xplain.models.table",
    "text": "xplain.models.text",
}
_ROOMS = ("api", "audit", "core", "demo", "measure", "models", "plugins", "render", "report", "targets", "testing")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'xplain' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS, "__version__"})
